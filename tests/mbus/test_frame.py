from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.errors import ChecksumError, FrameError, LengthError, StartError, StopError
from bridge.mbus.frame import Ack, Frame, LongFrame, ShortFrame, encode_frame, take_frame

BYTE = st.integers(0, 255)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.just(Ack()),
    st.builds(ShortFrame, BYTE, BYTE),
    st.builds(LongFrame, BYTE, BYTE, BYTE, st.binary(max_size=252)),
)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("E5", Ack()),
        ("10 40 FD 3D 16", ShortFrame(0x40, 253)),
        ("10 7B 01 7C 16", ShortFrame(0x7B, 1)),
        ("68 03 03 68 53 01 BD 11 16", LongFrame(0x53, 1, 0xBD)),
        ("68 04 04 68 08 09 70 08 89 16", LongFrame(0x08, 9, 0x70, b"\x08")),
    ],
)
def test_each_kind_of_frame_is_read_and_written(text: str, frame: Frame) -> None:
    data = bytes.fromhex(text)
    buffer = bytearray(data)
    assert take_frame(buffer) == frame
    assert buffer == b""
    assert encode_frame(frame) == data


@given(FRAMES, st.binary(max_size=20))
def test_what_was_written_is_read_and_what_follows_it_stays(frame: Frame, rest: bytes) -> None:
    buffer = bytearray(encode_frame(frame) + rest)
    assert take_frame(buffer) == frame
    assert buffer == rest


@given(FRAMES)
def test_every_part_of_a_frame_waits_for_more_and_stays_in_the_buffer(frame: Frame) -> None:
    data = encode_frame(frame)
    for length in range(len(data)):
        buffer = bytearray(data[:length])
        assert take_frame(buffer) is None
        assert buffer == data[:length]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("16", StartError),
        ("68 02", LengthError),
        ("68 04 05", LengthError),
        ("68 03 03 10", StartError),
        ("68 03 03 68 53 01 BD 12 16", ChecksumError),
        ("68 03 03 68 53 01 BD 11 17", StopError),
        ("10 40 FD 3E 16", ChecksumError),
        ("10 40 FD 3D 10", StopError),
    ],
)
def test_what_cannot_be_a_frame_is_an_error_at_once_and_costs_one_byte(
    text: str, error: type[FrameError]
) -> None:
    buffer = bytearray.fromhex(text)
    with pytest.raises(error):
        take_frame(buffer)
    assert buffer == bytes.fromhex(text)[1:]


def test_a_true_frame_inside_a_false_one_is_found() -> None:
    buffer = bytearray.fromhex("68 10 40 FD 3D 16")
    with pytest.raises(LengthError):
        take_frame(buffer)
    assert take_frame(buffer) == ShortFrame(0x40, 253)


def test_an_error_carries_its_facts() -> None:
    with pytest.raises(ChecksumError, match="0x3e, but bytes add up to 0x3d") as raised:
        take_frame(bytearray.fromhex("10 40 FD 3E 16"))
    assert (raised.value.sent, raised.value.counted) == (0x3E, 0x3D)


def test_a_frame_holds_252_bytes_and_not_one_more() -> None:
    assert len(encode_frame(LongFrame(8, 1, 0x72, bytes(252)))) == 261
    with pytest.raises(LengthError):
        encode_frame(LongFrame(8, 1, 0x72, bytes(253)))


@given(st.binary(max_size=600))
def test_random_bytes_end_in_frames_and_frame_errors_and_nothing_worse(data: bytes) -> None:
    buffer = bytearray(data)
    left = len(buffer)
    while buffer:
        try:
            if take_frame(buffer) is None:
                break
        except FrameError:
            assert len(buffer) == left - 1
        assert len(buffer) < left
        left = len(buffer)
