"""Arguments and options that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.config.keys import KeyTextError, read_key
from bridge.config.model import Key
from bridge.config.values import BAUDRATES, Parity, format_duration, parse_duration


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class LogFormat(StrEnum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


class TelegramFormat(StrEnum):
    """How telegrams are shown."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"
    XML = "xml"


def _baudrate(value: int) -> int:
    if value not in BAUDRATES:
        choices = ", ".join(str(rate) for rate in BAUDRATES)
        raise typer.BadParameter(f"{value} is no M-Bus baud rate; choose one of {choices}.")
    return value


def _seconds(lowest: float, highest: float) -> Callable[[str], float]:
    """A reader of durations: ``5s``, ``500ms``; a number alone is seconds."""

    def read(text: str) -> float:
        plain = re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text)
        seconds = float(text) if plain else parse_duration(text)
        if seconds is None:
            raise typer.BadParameter(f"{text!r} is no duration; write it like 5s, 500ms or 2.")
        if not lowest <= seconds <= highest:
            raise typer.BadParameter(
                f"{text} is too {'short' if seconds < lowest else 'long'}; choose "
                f"{format_duration(lowest)} to {format_duration(highest)}."
            )
        return seconds

    return read


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The site's YAML file.")]

Port = Annotated[
    str,
    typer.Argument(
        metavar="PORT",
        help="/dev/ttyUSB0, tcp://host:port (a transparent gateway) or rfc2217://host:port.",
    ),
]

Address = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS",
        help="A primary address (0 to 250), or a secondary one: 12345678, or "
        "12345678-KAM-1B-04 in full, with F as the wildcard digit.",
    ),
]

Baudrate = Annotated[
    int,
    typer.Option(
        "--baudrate", "-b", metavar="RATE", callback=_baudrate, help="Baud rate, 300 to 38400."
    ),
]

ParityOption = Annotated[
    Parity,
    typer.Option(
        "--parity",
        metavar="even|none",
        help="The standard says even (8E1); some converters want none.",
    ),
]

Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="TIME",
        parser=_seconds(0.01, 60),
        help="How long to wait for an answer to begin, like 5s or 500ms; the standard's time, by "
        "the baud rate, if unset.",
    ),
]

Latency = Annotated[
    float | None,
    typer.Option(
        "--latency",
        metavar="TIME",
        parser=_seconds(0, 60),
        help="What converter, gateway and network add, there and back, like 200ms; the usual for "
        "such a port, if unset.",
    ),
]

FormatOption = Annotated[
    Format, typer.Option("--format", "-f", metavar="text|json", help="What stdout shows.")
]

TelegramFormatOption = Annotated[
    TelegramFormat,
    typer.Option("--format", "-f", metavar="text|json|csv|xml", help="What stdout shows."),
]

Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log every reading, not only what changes.")
]

LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        metavar="text|json",
        help="How the log on stderr is written: json is one object a line.",
    ),
]

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="File with the meter's AES-128 key, 32 hex digits."),
]


def key_of(path: Path | None) -> bytes | None:
    """The key in a file, or None where no file was named.

    Raises:
        KeyTextError: it cannot be read, or is no key.
    """
    if path is None:
        return None
    try:
        return read_key(Key(file=path))
    except KeyTextError as error:
        if str(path) in str(error):
            raise
        raise KeyTextError(f"the key file {path} is of no use: {error}") from None
