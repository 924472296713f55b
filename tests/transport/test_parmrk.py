"""The marks that a terminal driver writes between the bytes."""

from __future__ import annotations

import random

import pytest

from bridge.transport.base import Received
from bridge.transport.parmrk import MarkedStream


def marked(data: bytes, broken: set[int]) -> bytes:
    """What the driver makes of it (POSIX.1-2024, 11.2.2)."""
    raw = bytearray()
    for position, byte in enumerate(data):
        if position in broken:
            raw += bytes((0xFF, 0x00, byte))
        elif byte == 0xFF:
            raw += b"\xff\xff"
        else:
            raw.append(byte)
    return bytes(raw)


@pytest.mark.parametrize(
    ("raw", "data", "broken"),
    [
        ("68 13 13 68", "68 13 13 68", ()),
        ("FF FF 16", "FF 16", ()),
        ("E5 FF 00 13 16", "E5 13 16", (1,)),
        ("FF 00 FF FF FF", "FF FF", (0,)),
        ("10 FF 00 00", "10 00", (1,)),  # a break
        ("FF 00 10 FF 00 5B", "10 5B", (0, 1)),
        ("FF FF FF FF FF FF", "FF FF FF", ()),
        ("00 00", "00 00", ()),
        ("FF 13 16", "FF 13 16", (0, 1)),  # no driver writes this
    ],
)
def test_marks_are_taken_out_again(raw: str, data: str, broken: tuple[int, ...]) -> None:
    assert MarkedStream().decode(bytes.fromhex(raw)) == Received(bytes.fromhex(data), broken)


def test_a_mark_may_be_split_between_two_reads() -> None:
    stream = MarkedStream()
    assert stream.decode(b"\x10\xff") == Received(b"\x10")
    assert stream.decode(b"\x00") == Received(b"")
    assert stream.decode(b"\x5b\x05") == Received(b"\x5b\x05", (0,))
    assert stream.decode(b"\xff") == Received(b"")
    assert stream.decode(b"\xff\x16") == Received(b"\xff\x16")


def test_a_stream_that_begins_anew_owes_nothing_to_the_old_one() -> None:
    stream = MarkedStream()
    stream.decode(b"\xff\x00")
    stream.reset()
    assert stream.decode(b"\x5b") == Received(b"\x5b")


def test_any_bytes_with_any_marks_split_anywhere_come_back() -> None:
    dice = random.Random(4)
    for _ in range(3000):
        # Mostly of the bytes that mean something to the driver.
        data = bytes(dice.choice((0x00, 0xFF, dice.randrange(256))) for _ in range(40))
        broken = {position for position in range(len(data)) if dice.random() < dice.random() / 2}
        raw = marked(data, broken)
        stream = MarkedStream()
        heard, places, position = b"", [], 0
        while position < len(raw):
            size = dice.randint(1, 9)
            received = stream.decode(raw[position : position + size])
            places += [len(heard) + place for place in received.broken]
            heard += received.data
            position += size
        assert (heard, places) == (data, sorted(broken))
