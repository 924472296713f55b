"""Frames, damaged frames and noise in a recording, and the texts that it may be."""

from __future__ import annotations

import codecs
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.recording import Noise, Piece, Problem, Whole, is_recording, pieces, text_of
from bridge.mbus.frame import Ack, LongFrame, ShortFrame, encode_frame

LONG = bytes.fromhex("68 04 04 68 08 01 70 08 81 16")
SHORT = bytes.fromhex("10 5B 01 5C 16")


def told(data: bytes) -> list[str]:
    """Each piece in a few words."""
    return [_told(piece) for piece in pieces(data)]


def _told(piece: Piece) -> str:
    match piece:
        case Problem():
            return f"{piece.kind} {piece.offset}+{len(piece.data)}"
        case Noise():
            return f"noise {piece.size}"
        case Whole():
            return f"{type(piece.frame).__name__} {piece.offset}+{len(piece.data)}"


def test_frames_stand_where_they_are() -> None:
    assert told(LONG + SHORT + b"\xe5\xe5" + LONG) == [
        "LongFrame 0+10",
        "ShortFrame 10+5",
        "Ack 15+2",
        "LongFrame 17+10",
    ]


@pytest.mark.parametrize(
    ("data", "pieces_of_it"),
    [
        # checksum, stop, end
        ("68 04 04 68 08 01 70 08 82 16", ["damaged frame: wrong checksum 0+10"]),
        ("68 04 04 68 08 01 70 08 81 17", ["damaged frame: wrong stop character 0+10"]),
        ("68 04 04 68 08 01 70 08", ["damaged frame: ends too early 0+8"]),
        ("68 04", ["damaged frame: ends too early 0+2"]),
        # One byte of the beginning, if the end is right
        ("68 05 04 68 08 01 70 08 81 16", ["damaged frame: lengths that differ 0+10"]),
        ("68 04 04 69 08 01 70 08 81 16", ["damaged frame: wrong second start character 0+10"]),
        ("68 05 04 68 08 01 70 08 81 17", ["noise 10"]),
        ("68 04 04 69 08 01 70 08 81 17", ["noise 10"]),
        # short frames
        ("10 5B 01 5D 16", ["damaged frame: wrong checksum 0+5"]),
        ("10 5B 01 5C 17", ["damaged frame: wrong stop character 0+5"]),
        ("10 5B 01", ["damaged frame: ends too early 0+3"]),
        # What no master says, and what stands in noise
        ("10 00 01 05 16", ["noise 5"]),
        ("00 10 5B 01", ["noise 4"]),
        ("00 10 4F 01 00 16", ["noise 6"]),
        ("00 10 7B 01 00 16", ["noise 1", "damaged frame: wrong checksum 1+5"]),
        ("FF E5 00", ["noise 3"]),
        ("", []),
    ],
)
def test_a_damaged_frame_is_told_from_noise(data: str, pieces_of_it: list[str]) -> None:
    assert told(bytes.fromhex(data)) == pieces_of_it


def test_a_good_frame_inside_a_false_one_is_found() -> None:
    assert told(b"\x68\xf7\xf7\x68\x08" + LONG) == [
        "damaged frame: ends too early 0+5",
        "LongFrame 5+10",
    ]
    damaged = LONG[:-2] + b"\x82\x16"
    assert told(LONG[:7] + damaged + damaged + LONG) == [
        "damaged frame: wrong stop character 0+7",
        "damaged frame: wrong checksum 7+10",
        "damaged frame: wrong checksum 17+10",
        "LongFrame 27+10",
    ]


def test_a_problem_says_where_and_what() -> None:
    _, problem = pieces(SHORT + LONG[:-1] + b"\x17")
    assert isinstance(problem, Problem)
    reason = "damaged frame, 0x17 stands where the stop character 0x16 should"
    assert str(problem) == f"byte 5: {reason}: 68 04 04 68 08 01 70 08 81 17"
    assert problem.to_dict() == {"offset": 5, "reason": reason, "data": "68040468080170088117"}
    assert str(Problem("there is nothing")) == "there is nothing"


@pytest.mark.parametrize("byte", ["00", "10", "68", "E5", "16"])
def test_much_noise_is_told_in_few_words_and_soon(byte: str) -> None:
    begun = time.process_time()
    noise = list(pieces(b"\x00" + bytes.fromhex(byte) * 500_000))
    assert time.process_time() - begun < 10
    if byte != "68":
        (only,) = noise
        assert isinstance(only, Noise)
        assert str(only).startswith("500001 bytes of no frame (0x00 stands where a start")
        assert str(only).endswith(" and 499969 more")


_FRAMES = st.one_of(
    st.builds(Ack),
    st.builds(ShortFrame, st.integers(0, 255), st.integers(0, 255)),
    st.builds(
        LongFrame,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 255),
        st.binary(max_size=252),
    ),
)


@given(st.lists(_FRAMES, max_size=5))
def test_frames_alone_are_all_found(frames: list[LongFrame]) -> None:
    found = list(pieces(b"".join(map(encode_frame, frames))))
    assert all(isinstance(piece, Whole) for piece in found)
    longs = [each for each in frames if isinstance(each, LongFrame)]
    assert [p.frame for p in found if isinstance(p, Whole) and isinstance(p.frame, LongFrame)] == (
        longs
    )


@given(st.lists(st.sampled_from((b"\x68", b"\x10", b"\xe5", b"\x16", b"\x04", LONG, SHORT))))
def test_every_byte_is_in_one_piece(parts: list[bytes]) -> None:
    data = b"".join(parts)
    sizes = [each.size if isinstance(each, Noise) else len(each.data) for each in pieces(data)]
    assert sum(sizes) == len(data)
    places = [each.offset for each in pieces(data) if not isinstance(each, Noise)]
    assert places == sorted(places, key=lambda place: place or 0)


DIGITS = "E5 # Zähler\r\n"


@pytest.mark.parametrize(
    "data",
    [
        DIGITS.encode(),
        codecs.BOM_UTF8 + DIGITS.encode(),
        codecs.BOM_UTF16_LE + DIGITS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + DIGITS.encode("utf-16-be"),
        DIGITS.encode("iso-8859-1"),
    ],
    ids=["UTF-8", "UTF-8 with BOM", "UTF-16", "UTF-16, big end first", "ISO 8859-1"],
)
def test_a_text_may_have_the_encodings_of_windows(data: bytes) -> None:
    assert text_of(data) == DIGITS


@pytest.mark.parametrize(
    "data", [LONG, SHORT, b"\xe5", b"\xe5\xe5", b"\xff\xfe" + LONG, b"\xff\xfe"]
)
def test_bytes_are_no_text(data: bytes) -> None:
    assert text_of(data) in (None, "")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (LONG.hex(), True),
        (f"# a meter\n{SHORT.hex(':')}", True),
        ("FF FF " + LONG.hex(" "), True),
        ("68 04 05 68", True),
        ("E5", True),
        ("2024", False),
        ("1024", False),
        ("2024 68", False),
        ("Read on a Tuesday.", False),
        ("", False),
    ],
)
def test_a_text_is_a_recording_if_a_frame_may_be_in_it(text: str, is_one: bool) -> None:
    assert is_recording(text) is is_one
