"""Where words go: results to stdout, messages to stderr."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from bridge.errors import BridgeError

_log = logging.getLogger("bridge.cli")


class OutputError(BridgeError):
    """Stdout takes no more: a full disk, most likely."""


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # whoever reads has seen enough, which is no error
    except OSError as error:
        # What is still in the buffer would fail once more at the end of Python.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"the output cannot be written: {error.strerror}") from error


class _Stdout(io.TextIOBase):
    """``sys.stdout``, with errors that a user can read."""

    def write(self, text: str) -> int:
        with _explained():
            try:
                return sys.stdout.write(text)
            except UnicodeEncodeError:
                # A terminal of another age: better an escape than half of the output.
                encoding = sys.stdout.encoding
                return sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        with _explained():
            sys.stdout.flush()

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def fileno(self) -> int:
        return sys.stdout.fileno()


_stdout = cast(IO[str], _Stdout())

# What meters and devices say is shown as it is, brackets and colons too: no markup, no emoji.
# Width and colour follow the terminal; in a pipe or a file a row is one line, however long.
out = Console(
    file=_stdout,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000,
    highlight=False,
    markup=False,
    emoji=False,
)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

_GAP = 2  # columns between two columns of a table
_NARROW_GAP = 1  # where even folded words leave no room for more
# Where the terminal is narrow, these fold, the first ones first: texts between words, bytes between
# bytes, and a number never, since half a number misleads.
_FOLDING = ("bytes", "from", "reliability", "modifiers", "quantity", "name", "value")
_BYTES = "bytes"
_VALUE = "value"
_NARROWEST_BYTES = 8


class Rows:
    """A table as all commands show it: no lines, as narrow as its content."""

    def __init__(self, *titles: str) -> None:
        self._titles = titles
        self._rows: list[tuple[Sequence[str], str | None]] = []

    def add(self, *cells: str, style: str | None = None) -> None:
        """Add a row; ``style`` is one of rich's, as ``red``."""
        self._rows.append((tuple(_printable(cell) for cell in cells), style))

    def show(self) -> None:
        """Print the table. A column that is empty in every row but for its title is left out."""
        shown = [i for i, _ in enumerate(self._titles) if any(row[i] for row, _ in self._rows)]
        widths = self._widths(shown)
        folded = [
            ([_fold(self._titles[i], row[i], widths[i]) for i in shown], style)
            for row, style in self._rows
        ]
        gaps = len(shown) - 1
        gap = _GAP if sum(widths.values()) + _GAP * gaps <= out.width else _NARROW_GAP
        made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
        made.width = gap * gaps
        for n, i in enumerate(shown):
            lines = [self._titles[i], *(line for row, _ in folded for line in row[n].splitlines())]
            # Said outright: where the table is too wide all the same, rich would cut values off.
            width = max(map(cell_len, lines))
            made.width += width
            right = self._titles[i] == _VALUE
            made.add_column(self._titles[i], width=width, justify="right" if right else "left")
        for row, style in folded:
            made.add_row(*row, style=style)
        if out.is_terminal:
            out.print(made, crop=False)
            return
        with out.capture() as captured:
            out.print(made, crop=False)
        for line in captured.get().splitlines():
            out.print(line.rstrip(), soft_wrap=True)

    def _widths(self, shown: Iterable[int]) -> dict[int, int]:
        widths = {
            i: max(cell_len(text) for text in (self._titles[i], *(row[i] for row, _ in self._rows)))
            for i in shown
        }
        excess = sum(widths.values()) + _GAP * (len(widths) - 1) - out.width
        for title in _FOLDING:
            if excess > 0 and title in self._titles and (i := self._titles.index(title)) in widths:
                narrowest = max(_narrowest(title, row[i]) for row, _ in self._rows)
                narrowed = min(widths[i], max(narrowest, cell_len(title), widths[i] - excess))
                excess -= widths[i] - narrowed
                widths[i] = narrowed
        return widths


def _printable(text: str) -> str:
    """A meter may send any character as text; a line end or an escape would break the table."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _narrowest(title: str, text: str) -> int:
    """How many columns a cell needs at the least, so that nothing breaks where it must not."""
    if title == _BYTES:
        return min(cell_len(text), _NARROWEST_BYTES)
    if title == _VALUE and re.match(r"-?\d", text):
        return cell_len(text)
    words = text.split() if title == _VALUE else re.split(r"(?<=-)|\s+", text)
    return max(map(cell_len, words), default=0)


def _fold(title: str, text: str, width: int) -> str:
    """Broken at blanks and hyphens, as ``main-water.secondary-`` ``address``; bytes stay whole."""
    if cell_len(text) <= width:
        return text
    if title == _BYTES:
        text = " ".join(
            group if len(group) <= width else " ".join(textwrap.wrap(group, width // 2 * 2))
            for group in text.split()
        )
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=title != _VALUE))


def write(text: str) -> None:
    """Print machine-readable text as it is."""
    _stdout.write(text if text.endswith("\n") else text + "\n")
    _stdout.flush()


class _Voice:
    """How the user is told something."""

    by_log = False


def say_by_log(wanted: bool) -> None:
    """Let `say` speak through the log, for whom reads stderr line by line."""
    _Voice.by_log = wanted


def say(text: str, level: int = logging.INFO) -> None:
    """Tell the user something, on stderr: broken between words on a terminal, else one line.

    ``level`` is what it has in the log, where the log is for programs.
    """
    if not _Voice.by_log:
        err.print(text, soft_wrap=not err.is_terminal)
        return
    for line in filter(None, map(str.strip, text.splitlines())):
        _log.log(level, "%s", line)


def command_name() -> str:
    """How this program was called, so that a hint can be typed as it stands."""
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{_typed(sys.executable)} -m bridge"
    return _typed(sys.argv[0])


def _typed(program: str) -> str:
    """The shortest text that calls a program from here."""
    path = Path(program).absolute()
    if shutil.which(path.name) == str(path):
        return path.name
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
