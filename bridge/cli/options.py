"""Arguments and options that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.config.keys import read_key
from bridge.config.model import Key
from bridge.config.values import BAUDRATES, Parity


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def _baudrate(value: int) -> int:
    if value not in BAUDRATES:
        choices = ", ".join(str(rate) for rate in BAUDRATES)
        raise typer.BadParameter(f"{value} is no M-Bus baud rate; choose one of {choices}.")
    return value


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
        metavar="SECONDS",
        min=0.01,
        max=60,
        help="Seconds to wait for an answer to begin; the standard's, by the baud rate, if unset.",
    ),
]

Latency = Annotated[
    float | None,
    typer.Option(
        "--latency",
        metavar="SECONDS",
        min=0,
        max=60,
        help="Seconds that converter, gateway and network add, there and back; the usual for such "
        "a port, if unset.",
    ),
]

FormatOption = Annotated[
    Format, typer.Option("--format", "-f", metavar="text|json", help="What stdout shows.")
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
    return None if path is None else read_key(Key(file=path))
