"""Late answers: whose they are, and what they are not taken for."""

from __future__ import annotations

import pytest

from bridge.mbus.address import parse_secondary
from bridge.mbus.control import NETWORK_LAYER
from bridge.mbus.frame import LongFrame, encode_frame
from bridge.mbus.late import OWED_SECONDS, Owed, identity_of, may_be_of, names_one
from bridge.mbus.link import Acknowledged, Answered, Damage, Damaged, Link, Outcome, Timing

# Cold water meters, 20183344-TST-0A-16 and 61234567-TST-0A-16; both have primary address 0.
WATER_A = bytes.fromhex(
    "68 15 15 68 08 00 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 DB 16"
)
WATER_B = bytes.fromhex(
    "68 15 15 68 08 00 72 67 45 23 61 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 5C 16"
)
# A volume without a header.
BARE = bytes.fromhex("68 07 07 68 08 00 78 02 13 11 22 C8 16")
E5 = b"\xe5"
WINDOW = Timing().window


class Line:
    """A link, and the answers that come to its frames."""

    def __init__(self) -> None:
        self.link = Link(Timing())
        self.now = 0.0

    def hear(self, *answers: bytes) -> Outcome:
        """What the exchange comes to when its frames are answered so; then nobody answers."""
        left = list(answers)
        outcome: Outcome | None = None
        while outcome is None:
            if self.link.to_send() and left:
                answer = left.pop(0)
                self.now += 0.1
                outcome = self.link.receive(answer, self.now)
                continue
            assert self.link.deadline is not None
            self.now = max(self.now, self.link.deadline)
            outcome = self.link.wake(self.now)
        assert left == []
        return outcome

    def select(self, mask: str, *answers: bytes, fabrication: str | None = None) -> Outcome:
        self.link.select(parse_secondary(mask), self.now, fabrication=fabrication)
        return self.hear(*answers)

    def request(self, mask: str, *answers: bytes) -> Outcome:
        self.link.request_data(NETWORK_LAYER, self.now, identity=parse_secondary(mask))
        return self.hear(*answers)

    def normalise(self, address: int, *answers: bytes) -> Outcome:
        self.link.normalise(address, self.now)
        return self.hear(*answers)


def frame_of(outcome: Outcome) -> bytes:
    assert isinstance(outcome, Answered), outcome
    return encode_frame(outcome.frame)


def damage(outcome: Outcome) -> dict[Damage, int]:
    return dict(outcome.effort.damage)


def test_an_answer_that_is_owed_is_dropped_where_it_fits_the_next_meter_too() -> None:
    line = Line()
    line.select("FFFFFFFF", E5, fabrication="00000001")
    line.request("FFFFFFFF")  # three tries, and silence
    line.select("FFFFFFFF", b"", b"", E5, fabrication="00000002")
    outcome = line.request("FFFFFFFF", WATER_A, WATER_A, WATER_A, WATER_B)
    assert frame_of(outcome) == WATER_B
    assert damage(outcome) == {Damage.LATE: 3}


def test_two_meters_of_one_number_are_not_told_apart_by_it() -> None:
    line = Line()
    line.select("20183344", E5, fabrication="00000001")
    line.request("20183344", b"", WATER_A)
    line.select("20183344", E5, fabrication="00000002")
    outcome = line.request("20183344", WATER_A, WATER_A)
    assert isinstance(outcome, Answered)
    assert damage(outcome) == {Damage.LATE: 1}


def test_an_answer_that_names_the_right_meter_is_taken_at_once() -> None:
    line = Line()
    line.select("20183344", E5)
    line.request("20183344")
    line.select("61234567", WATER_A + E5)
    outcome = line.request("61234567", WATER_A + WATER_B)
    assert frame_of(outcome) == WATER_B
    assert outcome.effort.tries == 1
    assert damage(outcome) == {Damage.FOREIGN: 1}


def test_an_answer_that_names_nobody_is_dropped_as_often_as_one_is_owed() -> None:
    line = Line()
    line.select("20183344", E5)
    line.request("20183344", b"", WATER_A)  # one try of two was not answered
    line.select("61234567", E5)
    outcome = line.request("61234567", BARE, BARE)
    assert frame_of(outcome) == BARE
    assert damage(outcome) == {Damage.LATE: 1}


def test_a_late_answer_that_came_in_the_wait_for_an_e5_is_owed_no_more() -> None:
    line = Line()
    line.select("20183344", E5)
    line.request("20183344", b"", WATER_A)
    line.link.select(parse_secondary("61234567"), line.now)
    assert line.hear(WATER_A) == Damaged(NETWORK_LAYER, ((Damage.LATE, 1),))
    line.select("61234567", E5)
    assert damage(line.request("61234567", BARE)) == {}


def test_nothing_is_owed_for_ever() -> None:
    line = Line()
    line.select("FFFFFFFF", E5, fabrication="00000001")
    line.request("FFFFFFFF")
    line.now += OWED_SECONDS
    line.select("FFFFFFFF", E5, fabrication="00000002")
    assert damage(line.request("FFFFFFFF", WATER_B)) == {}


def test_the_repetition_of_a_telegram_does_not_pass_for_the_next_one() -> None:
    line = Line()
    line.select("20183344", E5)
    assert frame_of(line.request("20183344", b"", WATER_A)) == WATER_A
    second = encode_frame(
        LongFrame(0x08, 0, 0x72, WATER_A[7:15] + bytes.fromhex("12000000 02137700"))
    )
    outcome = line.request("20183344", WATER_A, second)
    assert frame_of(outcome) == second
    assert damage(outcome) == {Damage.LATE: 1}


def test_an_e5_that_is_owed_does_not_say_that_the_next_meter_has_heard() -> None:
    line = Line()
    line.link.normalise(5, 0.0, tries=1)
    line.hear()
    outcome = line.normalise(6, E5, E5)  # the first may be that of meter 5
    assert outcome == Acknowledged(6)
    assert (outcome.effort.tries, damage(outcome)) == (2, {Damage.LATE: 1})
    line.link.normalise(5, line.now, tries=1)
    line.hear()
    line.link.send_data(6, 0x50, b"", line.now)
    assert line.hear(E5, E5).effort.tries == 2


def test_an_e5_to_a_selection_is_taken_for_the_telegram_will_tell() -> None:
    line = Line()
    line.select("20183344")
    assert line.select("61234567", E5).effort.tries == 1
    assert line.select("6FFFFFFF", E5, E5, E5, E5).effort.tries == 4


def test_a_meter_that_names_itself_ends_the_wait_for_an_old_e5() -> None:
    line = Line()
    line.normalise(5)
    line.link.request_data(0, line.now)
    line.hear(WATER_A)
    assert line.normalise(6, E5).effort.tries == 1


def test_nobody_owes_an_answer_to_a_frame_for_all() -> None:
    line = Line()
    line.link.normalise(NETWORK_LAYER, line.now, tries=1)
    line.hear()
    line.link.send_data(255, 0x51, b"\x48\xfe\x0b", line.now, tries=1)
    line.hear()
    assert line.normalise(6, E5).effort.tries == 1


def test_a_damaged_answer_is_owed_no_more() -> None:
    line = Line()
    line.select("FFFFFFFF", E5, fabrication="00000001")
    broken = WATER_A[:-2] + b"\x00\x16"
    line.request("FFFFFFFF", broken, broken, broken)
    line.select("FFFFFFFF", E5, fabrication="00000002")
    assert line.request("FFFFFFFF", WATER_B).effort.tries == 1


@pytest.mark.parametrize(
    ("mask", "data", "fits"),
    [
        ("20183344-TST-0A-16", WATER_A, True),
        ("20183344-TST-0B-16", WATER_A, False),
        ("2018334F", WATER_A, True),
        ("61234567", WATER_A, False),
        ("61234567", BARE, True),
    ],
)
def test_what_a_header_says_of_its_meter(mask: str, data: bytes, fits: bool) -> None:
    frame = LongFrame(data[4], data[5], data[6], data[7:-2])
    assert may_be_of(parse_secondary(mask), frame) is fits
    assert (identity_of(frame) is None) is (data is BARE)


def test_a_mask_without_wildcards_in_its_number_names_one() -> None:
    plain, enhanced = bytes(8), bytes(14)
    assert names_one(plain, parse_secondary("20183344"))
    assert not names_one(plain, parse_secondary("2018334F"))
    assert not names_one(plain, None)
    assert not names_one(enhanced, parse_secondary("20183344"))
    assert names_one(5, None)


def test_an_answer_to_a_primary_address_behind_253_is_known_by_it() -> None:
    owed = Owed()
    owed.note(5, 0.0, telegrams=1)
    at_5, at_0 = LongFrame(0x08, 5, 0x78, b"\x02"), LongFrame(0x08, 0, 0x78, b"\x02")
    mask = parse_secondary("61234567")
    assert not owed.takes_telegram(at_0, b"selection", mask, 1.0)
    assert owed.takes_telegram(at_5, b"selection", mask, 1.0)
    assert not owed.takes_telegram(at_5, b"selection", mask, 1.0)
