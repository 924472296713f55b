"""Bytes to frames, and back (EN 13757-2, 5: frame format FT 1.2 of IEC 60870-5-1).

Three outcomes stay three: here it is, more bytes must come (None), never (`FrameError`).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from bridge.mbus.errors import ChecksumError, LengthError, StartError, StopError

SINGLE = 0xE5
SHORT_START = 0x10
LONG_START = 0x68
STOP = 0x16

SHORT_LENGTH = 5
_HEAD = struct.Struct("7B")  # of a long frame: 68 L L 68 C A CI
OVERHEAD = 6  # what a long frame has beside the L bytes: four before them, two after
MAXIMUM_DATA = 252  # L is one byte and counts C, A and CI too


@dataclass(frozen=True, slots=True)
class Ack:
    """The single character E5."""


class ShortFrame(NamedTuple):
    """C and A field, each 0 to 255."""

    control: int
    address: int


class LongFrame(NamedTuple):
    """C, A and CI field, each 0 to 255, and up to 252 bytes of user data.

    Without user data it is what the standard calls a control frame.
    """

    control: int
    address: int
    ci: int
    data: bytes = b""


Frame = Ack | ShortFrame | LongFrame


def encode_frame(frame: Frame) -> bytes:
    """The frame as it goes over the wire.

    Raises:
        LengthError: more than 252 bytes of user data.
        ValueError: a field outside 0 to 255.
    """
    if isinstance(frame, Ack):
        return bytes((SINGLE,))
    if isinstance(frame, ShortFrame):
        body = bytes((frame.control, frame.address))
        return bytes((SHORT_START,)) + body + bytes((sum(body) & 0xFF, STOP))
    body = bytes((frame.control, frame.address, frame.ci)) + frame.data
    length = len(body)
    if len(frame.data) > MAXIMUM_DATA:
        raise LengthError(length)
    return bytes((LONG_START, length, length, LONG_START)) + body + bytes((sum(body) & 0xFF, STOP))


def take_frame(buffer: bytearray) -> Frame | None:
    """Remove one frame from the front of ``buffer``.

    Returns:
        The frame, or None where more bytes must come; then the buffer is as it was.

    Raises:
        FrameError: the buffer begins with what cannot become a frame. The first byte is gone, so
            that another call looks from the next one on: a true frame may begin inside a false
            one.
    """
    if not buffer:
        return None
    try:
        return _take_long(buffer) if buffer[0] == LONG_START else _take_short(buffer)
    except (StartError, LengthError, ChecksumError, StopError):
        del buffer[0]
        raise


def _take_short(buffer: bytearray) -> Ack | ShortFrame | None:
    start = buffer[0]
    if start == SINGLE:
        del buffer[0]
        return Ack()
    if start == SHORT_START:
        if len(buffer) < SHORT_LENGTH:
            return None
        control, address, sent, stop = buffer[1:SHORT_LENGTH]
        _check(stop, sent, control + address)
        del buffer[:SHORT_LENGTH]
        return ShortFrame(control, address)
    raise StartError(start)


def _take_long(buffer: bytearray) -> LongFrame | None:
    if len(buffer) < _HEAD.size:
        _judge(buffer[:4])
        return None
    _, length, again, second, control, address, ci = _HEAD.unpack_from(buffer)
    if length < 3 or again != length or second != LONG_START:
        _judge(buffer[:4])
    total = length + OVERHEAD
    if len(buffer) < total:
        return None
    data = bytes(buffer[7 : total - 2])
    _check(buffer[total - 1], buffer[total - 2], control + address + ci + _sum(data))
    del buffer[:total]
    return LongFrame(control, address, ci, data)


def _judge(head: bytearray) -> None:
    """Raise what is wrong with the first four bytes, if anything is."""
    # Each byte is judged as soon as it is there: a false start must not wait for 261 bytes.
    if len(head) > 1 and head[1] < 3:
        raise LengthError(head[1])
    if len(head) > 2 and head[2] != head[1]:
        raise LengthError(head[1], head[2])
    if len(head) > 3 and head[3] != LONG_START:
        raise StartError(head[3], second=True)


def _sum(data: bytes) -> int:
    # The lower half of Adler-32 is one more than the sum of the bytes, as long as that is below
    # 65520: five times as fast as adding them up in Python, for the 255 there can be.
    return (zlib.adler32(data) & 0xFFFF) - 1


def _check(stop: int, sent: int, counted: int) -> None:
    # A wrong stop says that the length is wrong, and then the checksum says nothing.
    if stop != STOP:
        raise StopError(stop)
    if sent != counted & 0xFF:
        raise ChecksumError(sent=sent, counted=counted & 0xFF)
