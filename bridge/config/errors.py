"""What is wrong with a configuration: where, what, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bridge.errors import BridgeError

# More than anybody reads; a file that is no configuration at all would fill the terminal.
_PRINTED = 100

Path = tuple[str | int, ...]


class Severity(StrEnum):
    """An error stops the start; a warning is said, and the site works."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful, in a configuration file.

    ``line`` and ``column`` count from 1 and are 0 where the file as a whole is meant. ``key`` is
    the path of the key (``buses.basement.baudrate``), empty for the file as a whole. ``message``
    says what is wrong, ``remedy`` what would be right; both are one line of plain text.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    remedy: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f"{self.key}: " if self.key else ""
        severity = "warning: " if self.severity is Severity.WARNING else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: {severity}{key}{self.message}{remedy}"


class ConfigError(BridgeError):
    """A configuration cannot be used; ``problems`` holds all that is wrong, in file order.

    Warnings that were found on the way stand among them. As text: one line a problem.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_PRINTED]]
        if len(self.problems) > _PRINTED:
            lines.append(f"… and {len(self.problems) - _PRINTED} more")
        super().__init__("\n".join(lines))


def key_path(path: Path) -> str:
    """``("buses", "basement", "meters", "a.b", 0)`` as ``buses.basement.meters."a.b"[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        name = part if re.fullmatch(r"[\w-]{1,60}", part) else f'"{printable(part)}"'
        text += f".{name}" if text else name
    return text


def printable(text: str, limit: int = 60) -> str:
    """The text on one line, without anything that could confuse a terminal or a log."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(text: str, limit: int = 60) -> str:
    """A value as an error message shows it: a plain word as it is, all else in quotes."""
    if len(text) <= limit and re.fullmatch(r"[\w.:/+-]+", text):
        return text
    return f'"{printable(text, limit)}"'
