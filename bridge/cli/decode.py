"""``decode``: what bytes say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.errors import UsageError
from bridge.cli.names import counted
from bridge.cli.options import Format, FormatOption, KeyFile, key_of
from bridge.cli.output import say
from bridge.cli.telegrams import show
from bridge.errors import BridgeError
from bridge.mbus.errors import FrameError
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


class InputError(BridgeError):
    """What was given is no telegram."""


class HexError(InputError, UsageError):
    """What stands on the command line is neither hex digits nor a file."""


def decode(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE",
            help="Frames as hex digits, or files with such, or with the bytes; - for stdin.",
        ),
    ],
    key: KeyFile = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Decode telegrams from bytes: every record, with exact values.

    Examples:

      mbus-bacnet decode telegram.hex --format json
      mbus-bacnet decode 68131368080573785634120A00E97E01000000350100003C16
      cat telegrams.hex | mbus-bacnet decode -
    """
    meter_key = key_of(key)
    frames = _frames(_bytes(_text(what)))
    telegrams: list[Telegram] = []
    for frame in frames:
        match frame:
            case LongFrame():
                telegrams.append(decode_telegram(frame, meter_key))
            case ShortFrame():
                say(f"short frame: C {frame.control:02X}, address {frame.address}")
            case Ack():
                say("acknowledgement: E5")
    show(telegrams, format)
    if not frames:
        raise InputError("there is no whole frame in these bytes")


def _text(what: list[str]) -> str:
    """The text of the files, of stdin, or of the command line itself."""
    if what == ["-"]:
        return _as_text(sys.stdin.buffer.read())
    files = [Path(each) for each in what if not _is_hex(each) or Path(each).is_file()]
    if not files or (len(what) > 1 and all(_is_hex(each) for each in what)):
        return " ".join(what)
    if len(files) < len(what):
        odd = next(each for each in what if not _is_hex(each))
        raise HexError(f"{odd!r} stands among hex digits and is none; give hex digits or files")
    return "\n".join(_as_text(_read(path)) for path in files)


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


def _as_text(data: bytes) -> str:
    """Hex digits as they are, and a recording of the bytes themselves as hex digits."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data.hex()
    # Every frame but E5 ends with 16, which no text has.
    return text if all(each.isprintable() or each.isspace() for each in text) else data.hex()


def _bytes(text: str) -> bytes:
    digits = _digits(text)
    odd = re.search(r"[^0-9A-Fa-f]", digits)
    if odd:
        raise InputError(f"{odd.group()!r} is no hex digit; bytes read 68 1F 1F 68 ... 16")
    if len(digits) % 2:
        raise InputError(f"{len(digits)} hex digits make no whole bytes: one is missing")
    return bytes.fromhex(digits)


def _frames(data: bytes) -> list[Frame]:
    """The frames in a recording; what belongs to none is told on stderr."""
    buffer = bytearray(data)
    frames: list[Frame] = []
    noise = bytearray()
    reason = ""

    def tell_noise() -> None:
        if noise:
            say(f"{counted(len(noise), 'byte')} of no frame ({reason}): {noise.hex(' ').upper()}")
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
