"""Frames out of what came, and the characters that came broken."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mbus.address import parse_secondary
from bridge.mbus.control import NETWORK_LAYER
from bridge.mbus.frame import Ack, LongFrame, ShortFrame, encode_frame
from bridge.mbus.incoming import Fragment, Incoming
from bridge.mbus.link import Acknowledged, Answered, Damage, Damaged, Link, Outcome, Timing

# A cold water meter, 20183344-TST-0A-16, with primary address 5.
WATER_5 = bytes.fromhex(
    "68 15 15 68 08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 E0 16"
)
REQ_5 = bytes.fromhex("10 7B 05 80 16")
E5 = b"\xe5"


def taken(data: bytes, broken: tuple[int, ...]) -> list[object]:
    incoming = Incoming()
    incoming.add(data, broken)
    found: list[object] = []
    while (each := incoming.take()) is not None:
        found.append(each if isinstance(each, Fragment) else encode_frame(each))
    return found


@pytest.mark.parametrize("place", range(len(WATER_5)))
def test_a_broken_character_damages_the_frame_it_stands_in(place: int) -> None:
    assert taken(WATER_5, (place,)) == [Fragment(Damage.PARITY, ends=True)]


def test_broken_characters_around_a_frame_do_not_hurt_it() -> None:
    noise = Fragment(Damage.NOISE)
    assert taken(b"\xfe\x00" + WATER_5 + b"\xff\x16", (0, 1, 29, 30)) == [
        *(noise, noise),
        WATER_5,
        *(noise, noise),
    ]


def test_a_broken_frame_before_a_sound_one_is_damaged_alone() -> None:
    assert taken(WATER_5 + REQ_5 + WATER_5 + E5, (26, 60)) == [
        *(Fragment(Damage.PARITY), REQ_5, WATER_5),
        E5,
    ]
    assert taken(WATER_5 + REQ_5 + WATER_5 + E5, (27, 59)) == [
        *(WATER_5, Fragment(Damage.PARITY), WATER_5),
        Fragment(Damage.PARITY),
    ]


def test_what_a_broken_character_says_of_the_length_is_heard_to_its_contradiction() -> None:
    hit = b"\x68\x17" + WATER_5[2:]
    first = taken(hit, (1,))[0]
    assert first == Fragment(Damage.PARITY)
    assert taken(hit, ())[0] == Fragment(Damage.LENGTH)


def test_the_characters_still_to_come_are_known_from_the_head_on() -> None:
    incoming = Incoming()
    missing = []
    for byte in b"\x00" + WATER_5:
        incoming.add(bytes((byte,)))
        incoming.take()
        missing.append(incoming.missing)
    assert missing == [0, 0, 0, 0, *range(23, -1, -1)]
    incoming.add(REQ_5[:4])
    assert incoming.missing == 0


def test_what_is_forgotten_takes_its_marks_along() -> None:
    incoming = Incoming()
    incoming.add(WATER_5[:5], (2, 4))
    incoming.clear()
    incoming.add(b"\x68" + WATER_5, (0,))
    incoming.drop()
    frame = incoming.take()
    assert isinstance(frame, LongFrame)
    assert len(incoming) == 0


# The stream as a whole

PARTS = st.one_of(
    st.sampled_from([WATER_5, REQ_5, E5, WATER_5[:9], WATER_5[3:], b"\x68\xff", b"\x10"]),
    st.binary(max_size=6),
    st.binary(max_size=20).map(lambda data: encode_frame(LongFrame(0x08, 5, 0x78, data))),
)


def begun(service: str) -> Link:
    link = Link(Timing())
    if service == "request":
        link.request_data(5, 0.0, tries=1)
    elif service == "normalise":
        link.normalise(5, 0.0, tries=1)
    else:
        link.select(parse_secondary("20183344"), 0.0, tries=1)
    link.to_send()
    return link


def told(service: str, data: bytes, broken: frozenset[int], cuts: list[int]) -> tuple[Outcome, int]:
    """What an exchange comes to, and how much of the stream it took for it."""
    link = begun(service)
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    for begin, end in pairwise(edges):
        places = [place - begin for place in sorted(broken) if begin <= place < end]
        outcome = link.receive(data[begin:end], 0.1, places)
        if outcome is not None:
            return outcome, end
    while True:
        assert link.deadline is not None
        outcome = link.wake(link.deadline)
        if outcome is not None:
            return outcome, len(data)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), parts=st.lists(PARTS, min_size=1, max_size=6))
def test_any_split_of_the_stream_gives_the_same_outcome(
    data: st.DataObject, parts: list[bytes]
) -> None:
    stream = b"".join(parts)
    if not stream:
        return
    broken = data.draw(st.frozensets(st.integers(0, len(stream) - 1), max_size=4))
    cuts = data.draw(st.lists(st.integers(0, 300), max_size=30))
    whole, _ = told("request", stream, broken, [])
    pieces, end = told("request", stream, broken, cuts)
    assert pieces == whole
    if isinstance(whole, Answered):
        # What stands behind the answer may count as trailing; what stands before it not.
        before = dict(whole.effort.damage)
        before.pop(Damage.TRAILING, None)
        after = dict(pieces.effort.damage)
        after.pop(Damage.TRAILING, None)
        assert after == before
        assert end <= len(stream)


@settings(max_examples=400, deadline=None)
@given(
    data=st.data(),
    parts=st.lists(PARTS, min_size=1, max_size=6),
    service=st.sampled_from(["request", "normalise", "select"]),
)
def test_no_frame_with_a_broken_character_is_an_answer(
    data: st.DataObject, parts: list[bytes], service: str
) -> None:
    stream = b"".join(parts)
    if not stream:
        return
    broken = data.draw(st.frozensets(st.integers(0, len(stream) - 1), min_size=1, max_size=8))
    cuts = data.draw(st.lists(st.integers(0, 300), max_size=30))
    outcome, end = told(service, stream, broken, cuts)
    if isinstance(outcome, Answered):
        sound = encode_frame(outcome.frame)
    elif isinstance(outcome, Acknowledged):
        sound = E5
    else:
        return
    # Somewhere in what was taken it stands, without a broken character in it.
    assert any(
        stream.startswith(sound, begin) and broken.isdisjoint(range(begin, begin + len(sound)))
        for begin in range(end)
    )


@pytest.mark.parametrize("service", ["normalise", "select", "request"])
def test_a_broken_e5_is_none(service: str) -> None:
    outcome, _ = told(service, E5, frozenset({0}), [])
    assert isinstance(outcome, Damaged)
    assert outcome.kinds == ((Damage.PARITY, 1),)
    assert outcome.address == (NETWORK_LAYER if service == "select" else 5)


def test_a_frame_with_a_broken_character_is_asked_for_again_after_an_idle_line() -> None:
    link = Link(Timing())
    link.request_data(5, 0.0)
    link.to_send()
    assert link.receive(WATER_5[:20], 0.1, (7,)) is None
    assert link.missing == 7
    assert link.receive(WATER_5[20:], 0.2) is None
    assert link.deadline == pytest.approx(0.2 + 33 / 2400)
    assert link.wake(0.22) is None
    assert link.to_send() == REQ_5
    outcome = link.receive(WATER_5, 0.4)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.PARITY: 1}


def test_frames_of_all_kinds_come_out_as_they_are() -> None:
    incoming = Incoming()
    incoming.add(E5 + REQ_5)
    assert incoming.take() == Ack()
    assert incoming.take() == ShortFrame(0x7B, 5)
    assert incoming.take() is None
