"""``decode``: what bytes say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import Format, FormatOption, KeyFile, key_of
from bridge.cli.output import say
from bridge.cli.telegrams import show
from bridge.errors import BridgeError
from bridge.mbus.errors import FrameError
from bridge.mbus.frame import Ack, Frame, LongFrame, ShortFrame, take_frame
from bridge.mbus.telegram import Telegram, decode_telegram


class InputError(BridgeError):
    """What was given is no telegram."""


def decode(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX...|FILE", help="Frames as hex digits, or a file with such; - for stdin."
        ),
    ],
    key: KeyFile = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Decode telegrams from bytes: every record, with exact values.

    Examples: mbus-bacnet decode telegram.hex, or
    mbus-bacnet decode 68 13 13 68 08 05 73 78 56 34 12 0A 00 E9 7E 01 00 00 00 35 01 00 00 3C 16
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
    if what == ["-"]:
        return typer.get_text_stream("stdin").read()
    if len(what) == 1 and (path := Path(what[0])).exists():
        try:
            return path.read_text(encoding="ascii")
        except UnicodeDecodeError:
            return path.read_bytes().hex()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return " ".join(what)


def _bytes(text: str) -> bytes:
    """Hex digits with whatever people put between them; a line's rest after # is a comment."""
    text = re.sub(r"#.*", "", text)
    digits = re.sub(r"0[xX]|[\s,;:]", "", text)
    odd = re.search(r"[^0-9A-Fa-f]", digits)
    if odd:
        raise InputError(
            f"{odd.group()!r} is no hex digit, and there is no file of this name; give bytes as "
            "68 1F 1F 68 ... 16, or the path of a file with such"
        )
    if len(digits) % 2:
        raise InputError(f"{len(digits)} hex digits make no whole bytes: one is missing")
    return bytes.fromhex(digits)


def _frames(data: bytes) -> list[Frame]:
    buffer = bytearray(data)
    frames: list[Frame] = []
    noise, first = bytearray(), None
    while buffer:
        before = buffer[0]
        try:
            frame = take_frame(buffer)
        except FrameError as error:
            first = first or error
            noise.append(before)
            continue
        if frame is None:
            # Perhaps only a false start: a whole frame may yet begin inside it.
            say(f"the frame ends too early: {len(buffer)} bytes are there")
            noise.append(buffer.pop(0))
            continue
        frames.append(frame)
    if noise:
        reason = f" ({first})" if first else ""
        say(f"{len(noise)} bytes belong to no frame{reason}: {noise.hex(' ').upper()}")
    return frames
