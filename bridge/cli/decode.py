"""``decode``: what bytes say."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from bridge.cli.errors import UsageError
from bridge.cli.names import counted
from bridge.cli.options import KeyFile, TelegramFormat, TelegramFormatOption, key_of
from bridge.cli.output import say
from bridge.cli.summary import Summary
from bridge.cli.telegrams import Recording, show
from bridge.errors import BridgeError
from bridge.mbus.address import SecondaryAddress, parse_address
from bridge.mbus.compact import Formats
from bridge.mbus.errors import FrameError, MBusError
from bridge.mbus.frame import (
    OVERHEAD,
    SHORT_LENGTH,
    SHORT_START,
    Ack,
    Frame,
    LongFrame,
    ShortFrame,
    take_frame,
)
from bridge.mbus.telegram import Telegram, decode_telegram

_STDIN = "-"
# A file of a folder that may hold telegrams by its name; another may by its content, if it is no
# larger than many days of a bus are in hex.
_SUFFIXES = (".hex", ".bin")
_LARGEST = 4_000_000  # bytes


class InputError(BridgeError):
    """What was given is no telegram."""


class HexError(InputError, UsageError):
    """What stands on the command line is neither hex digits nor a file."""


class Source(NamedTuple):
    """Where bytes come from: the command line (``text``), stdin, or a file."""

    name: str
    path: Path | None = None
    text: str = ""


def decode(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE|FOLDER",
            help="Frames as hex digits; files with such, or with the bytes; folders of files "
            "(those named .hex or .bin, and others that hold hex digits); - for stdin.",
        ),
    ],
    key: KeyFile = None,
    meter: Annotated[
        str | None,
        typer.Option(
            "--meter",
            metavar="ADDRESS",
            help="Whose telegrams they are, 12345678-KAM-1B-04 in full: an encrypted one with a "
            "short header does not tell.",
        ),
    ] = None,
    format: TelegramFormatOption = TelegramFormat.TEXT,
) -> None:
    """Decode telegrams from bytes: every record, with exact values.

    Telegrams of one answer are numbered. After a folder comes a summary. The exit status is 0 if
    all was decoded; 1 if a file holds no whole frame, or a telegram has something that could not be
    decoded; 2 if a file is not there.

    Examples:

      mbus-bacnet decode telegram.hex --format json
      mbus-bacnet decode 68131368080573785634120A00E97E01000000350100003C16
      mbus-bacnet decode recordings/ --format csv > records.csv
      cat telegrams.hex | mbus-bacnet decode -
    """
    decoder = _Decoder(key_of(key), _meter(meter))
    has_folder = any(map(os.path.isdir, what))
    summary = Summary()
    sources = list(_sources(what, summary))
    named = len(sources) > 1 or has_folder
    recordings: list[Recording] = []
    status = 0
    for source in sources:
        telegrams: list[Telegram] = []
        problems: list[str] = []
        prefix = f"{source.name}: " if named else ""
        try:
            telegrams, problems = decoder.decode(source, prefix)
        except InputError as error:
            if not named:
                raise
            problems = [str(error)]
            status = max(status, 2 if isinstance(error, HexError) else 1)
        for problem in problems:
            say(f"mbus-bacnet: {'' if source.name in problem else prefix}{problem}")
        if problems or not all(map(_is_decoded, telegrams)):
            status = max(status, 1)
        recordings.append(Recording(telegrams, source.name if named else "", problems))
        summary.add(telegrams, problems)
    show(recordings, format, summary if has_folder else None)
    if status:
        raise typer.Exit(status)


def _meter(text: str | None) -> SecondaryAddress | None:
    if text is None:
        return None
    address = parse_address(text)
    if not isinstance(address, SecondaryAddress) or address.is_wildcard:
        raise HexError(
            f"--meter {text}: the whole secondary address is needed, like 12345678-KAM-1B-04"
        )
    return address


def _is_decoded(telegram: Telegram) -> bool:
    """Whether all of it was read. An application error and an alarm are what the meter says."""
    return (
        not telegram.errors or telegram.application_error is not None or telegram.alarm is not None
    )


def _sources(what: list[str], summary: Summary) -> Iterator[Source]:
    """What the command line names; the files of a folder each, in their order."""
    # A long row of hex digits is no name of a file to os.path, where Path would complain.
    paths = [each for each in what if not _is_hex(each) or os.path.exists(each)]
    if not paths or (len(what) > 1 and all(_is_hex(each) for each in what)):
        yield Source("", text=" ".join(what))
        return
    if len(paths) < len(what):
        odd = next(each for each in what if not _is_hex(each))
        raise HexError(f"{odd!r} stands among hex digits and is none; give hex digits or files")
    for each in paths:
        path = Path(each)
        if each == _STDIN:
            yield Source("stdin")
        elif path.is_dir():
            yield from _files_of(path, summary)
        else:
            yield Source(each, path)


def _files_of(folder: Path, summary: Summary) -> Iterator[Source]:
    try:
        files = sorted(each for each in folder.iterdir() if each.is_file())
    except OSError as error:
        raise HexError(f"{folder} cannot be read: {error.strerror}") from error
    for path in files:
        if path.suffix.lower() in _SUFFIXES or _holds_hex(path):
            yield Source(str(path), path)
        else:
            summary.passed_over += 1


def _holds_hex(path: Path) -> bool:
    try:
        if path.stat().st_size > _LARGEST:
            return False
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return bool(_digits(text)) and _is_hex(text)


class _Decoder:
    """Decodes sources one after the other; what a meter told of its formats is remembered."""

    def __init__(self, key: bytes | None, meter: SecondaryAddress | None) -> None:
        self._key = key
        self._meter = meter
        self._formats: dict[int, Formats] = {}

    def decode(self, source: Source, prefix: str) -> tuple[list[Telegram], list[str]]:
        """The telegrams of a source, and what is wrong with it; the rest is told on stderr.

        Raises:
            InputError: there is not one frame in it, or it cannot be read.
        """
        frames = _frames(_bytes_of(source), prefix)
        telegrams: list[Telegram] = []
        problems: list[str] = []
        for frame in frames:
            match frame:
                case LongFrame():
                    formats = self._formats.setdefault(frame.address, Formats())
                    try:
                        telegrams.append(
                            decode_telegram(frame, self._key, meter=self._meter, formats=formats)
                        )
                    except MBusError as error:
                        problems.append(str(error))
                case ShortFrame():
                    say(f"{prefix}short frame: C {frame.control:02X}, address {frame.address}")
                case Ack():
                    say(f"{prefix}acknowledgement: E5")
        if not frames:
            raise InputError("there is no whole frame in these bytes")
        return telegrams, problems


def _bytes_of(source: Source) -> bytes:
    if source.path is not None:
        data = _read(source.path)
    elif source.text:
        return _bytes(source.text)
    else:
        data = sys.stdin.buffer.read()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    # Every frame but E5 ends with 16, which no text has.
    is_text = all(each.isprintable() or each.isspace() for each in text)
    return _bytes(text) if is_text else data


def _is_hex(text: str) -> bool:
    return re.search(r"[^0-9A-Fa-f]", _digits(text)) is None


def _digits(text: str) -> str:
    """Hex digits without what people put between them; a line's rest after # is a comment."""
    return re.sub(r"0[xX]|[\s,;:]", "", re.sub(r"#.*", "", text))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise HexError(
            f"{str(path)!r} is neither hex digits nor a file that is there; give bytes as "
            "68 1F 1F 68 ... 16, or the path of a file with such"
        ) from None
    except OSError as error:
        raise HexError(f"{path} cannot be read: {error.strerror}") from error


def _bytes(text: str) -> bytes:
    digits = _digits(text)
    odd = re.search(r"[^0-9A-Fa-f]", digits)
    if odd:
        raise InputError(f"{odd.group()!r} is no hex digit; bytes read 68 1F 1F 68 ... 16")
    if len(digits) % 2:
        raise InputError(f"{len(digits)} hex digits make no whole bytes: one is missing")
    return bytes.fromhex(digits)


def _frames(data: bytes, prefix: str) -> list[Frame]:
    """The frames in a recording; what belongs to none is told on stderr."""
    buffer = bytearray(data)
    frames: list[Frame] = []
    noise = bytearray()
    reason = ""

    def tell_noise() -> None:
        if noise:
            count = counted(len(noise), "byte")
            say(f"{prefix}{count} of no frame ({reason}): {noise.hex(' ').upper()}")
            noise.clear()

    while buffer:
        before = buffer[0]
        try:
            frame = take_frame(buffer)
        except FrameError as error:
            reason = reason if noise else str(error)
            noise.append(before)
            continue
        if frame is None:
            # Perhaps only a false start: a whole frame may yet begin inside it.
            reason = reason if noise else f"a frame that ends too early, {_missing(buffer)}"
            noise.append(buffer.pop(0))
        elif noise and isinstance(frame, Ack):
            noise.append(before)  # E5 among bytes of no frame is a byte like any other
        else:
            tell_noise()
            frames.append(frame)
    tell_noise()
    return frames


def _missing(begun: bytearray) -> str:
    if begun[0] == SHORT_START:
        whole = SHORT_LENGTH
    elif len(begun) > 1:
        whole = begun[1] + OVERHEAD
    else:
        return "after its first byte"
    return f"with {len(begun)} of {whole} bytes"
