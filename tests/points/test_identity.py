from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPlan, MeterPoints, OnExchange, PointPlan, Taken
from bridge.points.reading import Fault, Kind, Point, Reading
from bridge.points.select import Selector
from bridge.points.store import Keeper, Store
from bridge.units import Quantity

HEAT = parse_secondary("12345678-KAM-1B-04")
AT, NOW = 1_790_000_000.0, 100.0


def answer(records: str, *, status: int = 0, configuration: int = 0) -> list[Telegram]:
    header = encode_header(HEAT, 5, status, configuration)
    return [decode_telegram(LongFrame(0x08, 2, 0x72, header + bytes.fromhex(records)))]


def planned(*points: PointPlan, max_age: float = 60.0) -> MeterPlan:
    return MeterPlan(name="heat-1", address="", max_age=max_age, points=points)


ENERGY = PointPlan("energy", Selector(quantity=Quantity.ENERGY), Kind.NUMBER)
FOUND = MeterPlan(name="heat-1", address="", max_age=60.0)


class House:
    """A meter's points over a store and a ledger of their own."""

    def __init__(
        self, plan: MeterPlan, ledger: Ledger | None = None, keeper: Keeper | None = None
    ) -> None:
        self.store = Store(keeper)
        self.meter = MeterPoints(plan, self.store, ledger or Ledger(None))
        self.meter.offer()

    def reading(self, name: str) -> Reading:
        return self.store.reading(f"heat-1.{name}")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


OTHER_HEAT = parse_secondary("87654321-KAM-1B-04")
WATER = parse_secondary("12345678-KAM-1B-07")


def answer_of(meter: SecondaryAddress, records: str) -> list[Telegram]:
    data = encode_header(meter, 5) + bytes.fromhex(records)
    return [decode_telegram(LongFrame(0x08, 2, 0x72, data))]


def settled(plan: MeterPlan, ledger: Ledger | None = None) -> House:
    """A house whose meter has answered twice, so that it is known who it is."""
    house = House(plan, ledger)
    for n in (-2, -1):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT + n, NOW + n)
    return house


DOUBTED = Taken([], ["heat-1.secondary-address"])
STRANGE = answer_of(OTHER_HEAT, "0C 06 02 00 00 00")


def test_another_identity_is_asked_once_more_at_once_and_until_then_nothing_changes() -> None:
    house = settled(planned(ENERGY))
    assert house.meter.answered(STRANGE, AT, NOW) == DOUBTED
    assert house.reading("energy") == Reading(Decimal(12345678), AT - 1, None)
    assert house.reading("answering").value is True
    house.meter.answered(answer("0C 06 79 56 34 12"), AT + 1, NOW + 1)
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 1, None), "it was damage"


def test_an_exchanged_meter_is_believed_when_it_answers_twice_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(planned(ENERGY))
    house.meter.answered(STRANGE, AT, NOW)
    assert house.meter.answered(STRANGE, AT + 1, NOW + 1) == ([], [])
    assert house.reading("energy") == Reading(Decimal(2), AT + 1, None)
    assert house.reading("secondary-address").value == str(OTHER_HEAT)
    assert messages(caplog) == [f"WARNING heat-1: the meter was exchanged, {OTHER_HEAT} for {HEAT}"]


def test_another_identity_that_cannot_be_asked_again_is_a_foreign_meter_until_the_next_turn() -> (
    None
):
    house = settled(planned(ENERGY))
    house.meter.answered(STRANGE, AT, NOW)
    house.meter.undecided(AT)
    assert house.reading("energy") == Reading(Decimal(12345678), AT - 1, Fault.FOREIGN_METER)
    assert house.reading("answering").value is False
    house.meter.answered(STRANGE, AT + 60, NOW + 60)
    assert house.reading("energy") == Reading(Decimal(2), AT + 60, None)


def test_strangers_that_are_never_the_same_are_not_asked_without_end() -> None:
    house = settled(planned(ENERGY))
    doubted = [
        house.meter.answered(
            answer_of(parse_secondary(f"0000000{n}-KAM-1B-04"), "0C 06 02 00 00 00"), AT, NOW
        ).doubted
        for n in range(6)
    ]
    assert [len(names) for names in doubted] == [1, 0, 1, 0, 1, 0]
    assert house.reading("energy").fault is Fault.FOREIGN_METER
    assert house.reading("answering").value is False


def test_a_meter_of_another_kind_never_serves_its_values_under_the_old_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(planned(ENERGY))
    for n in range(5):
        house.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
    assert house.reading("energy") == Reading(Decimal(12345678), AT - 1, Fault.FOREIGN_METER)
    assert house.reading("secondary-address").value == str(HEAT)
    assert house.reading("answering").value is False
    (message,) = messages(caplog)
    assert f"it measures something else; write secondary: {WATER} for this meter" in message


def test_who_answered_once_only_is_outvoted_by_who_answers_twice() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for n in (1, 2):
        house.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
    assert house.reading("energy") == Reading(Decimal(1), AT + 2, None)


def test_a_meter_that_was_exchanged_while_the_bridge_was_stopped_is_believed_when_it_comes_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(None)
    settled(planned(ENERGY), ledger)
    again = House(planned(ENERGY), ledger)
    assert again.meter.identity is None
    assert again.meter.answered(STRANGE, AT + 1, NOW + 1) == DOUBTED
    assert again.meter.identity is None
    again.meter.answered(STRANGE, AT + 2, NOW + 2)
    assert again.reading("energy") == Reading(Decimal(2), AT + 2, None)
    assert again.meter.identity == OTHER_HEAT
    assert messages(caplog) == [
        f"WARNING heat-1: the meter was exchanged while the bridge did not run, {OTHER_HEAT} for "
        f"{HEAT}",
    ]
    caplog.clear()
    House(planned(ENERGY), ledger).meter.answered(STRANGE, 1, 1)
    assert messages(caplog) == []


HELD = replace(planned(ENERGY), on_exchange=OnExchange.HOLD)


def test_an_exchange_that_is_held_serves_nothing_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(HELD)
    doubted = [house.meter.answered(STRANGE, AT + n, NOW + n).doubted for n in range(4)]
    assert [len(names) for names in doubted] == [1, 0, 0, 0]
    assert house.reading("energy") == Reading(Decimal(12345678), AT - 1, Fault.FOREIGN_METER)
    assert house.reading("answering").value is False
    assert house.reading("secondary-address").value == str(HEAT)
    assert house.meter.newcomer == OTHER_HEAT
    assert messages(caplog) == [
        f"WARNING heat-1: {OTHER_HEAT} answers in the place of {HEAT}; its values are not served: "
        f"write secondary: {OTHER_HEAT} for this meter, or on_exchange: accept, if it was exchanged"
    ]


def test_an_exchange_is_held_across_restarts() -> None:
    ledger = Ledger(None)
    settled(HELD, ledger)
    for _ in range(2):
        again = House(HELD, ledger)
        for n in range(3):
            again.meter.answered(STRANGE, AT + n, NOW + n)
        assert again.reading("energy") == Reading(None, None, Fault.FOREIGN_METER)
    assert ledger.identity("heat-1") == str(HEAT)


def test_an_exchange_that_is_accepted_is_served_from_the_next_answer_on() -> None:
    ledger = Ledger(None)
    house = settled(HELD, ledger)
    assert not house.meter.accept_exchange()
    house.meter.answered(STRANGE, AT, NOW)
    assert not house.meter.accept_exchange(), "it may have been damage"
    house.meter.answered(STRANGE, AT + 1, NOW + 1)
    assert house.meter.accept_exchange()
    assert house.meter.newcomer is None
    assert house.meter.answered(STRANGE, AT + 2, NOW + 2) == ([], [])
    assert house.reading("energy") == Reading(Decimal(2), AT + 2, None)
    assert ledger.identity("heat-1") == str(OTHER_HEAT)


def test_an_exchange_is_accepted_by_the_new_address_in_the_file() -> None:
    ledger = Ledger(None)
    settled(HELD, ledger)
    again = House(replace(HELD, address=str(OTHER_HEAT)), ledger)
    again.meter.answered(STRANGE, AT, NOW)
    assert again.reading("energy") == Reading(Decimal(2), AT, None)


def test_a_held_meter_that_goes_again_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    house = settled(HELD)
    for n in range(3):
        house.meter.answered(STRANGE, AT + n, NOW + n)
    house.meter.answered(answer("0C 06 79 56 34 12"), AT + 9, NOW + 9)
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 9, None)
    assert messages(caplog)[-1] == f"INFO heat-1: {HEAT} answers again"


def test_the_header_must_name_the_meter_that_the_file_names() -> None:
    house = House(replace(planned(ENERGY), address=str(HEAT)))
    for n in range(4):
        house.meter.answered(STRANGE, AT + n, NOW + n)
    assert house.reading("energy") == Reading(None, None, Fault.FOREIGN_METER)
    assert house.meter.identity is None


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_meter_of_another_kind_is_refused_after_a_restart_too(restarts: int) -> None:
    ledger = Ledger(None)
    settled(planned(ENERGY), ledger)
    for _ in range(restarts):
        again = House(planned(ENERGY), ledger)
        for n in range(3):
            again.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
        assert again.reading("energy") == Reading(None, None, Fault.FOREIGN_METER)
    assert ledger.identity("heat-1") == str(HEAT)


def test_a_meter_of_another_kind_is_served_once_the_file_names_it() -> None:
    ledger = Ledger(None)
    settled(planned(ENERGY), ledger)
    again = House(replace(planned(ENERGY), address=str(WATER)), ledger)
    for n in range(2):
        again.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
    assert again.reading("secondary-address").value == str(WATER)
    assert again.reading("energy") == Reading(Decimal(1), AT + 1, None)


def test_a_meter_that_the_file_names_by_another_address_is_taken_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(None)
    first = House(replace(planned(ENERGY), address="12345678"), ledger)
    for _ in range(2):
        first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    again = House(replace(planned(ENERGY), address="87654321"), ledger)
    again.meter.answered(answer_of(OTHER_HEAT, "0C 06 02 00 00 00"), AT, NOW)
    assert again.reading("energy") == Reading(Decimal(2), AT, None)
    assert messages(caplog) == []


def test_one_damaged_answer_after_a_restart_changes_nothing() -> None:
    ledger = Ledger(None)
    first = House(planned(ENERGY), ledger)
    for _ in range(2):
        first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    again = House(planned(ENERGY), ledger)
    again.meter.answered(answer_of(OTHER_HEAT, "0C 06 01 00 00 00"), AT, NOW)
    again.meter.answered(answer("0C 06 79 56 34 12"), AT, NOW)
    assert again.reading("energy") == Reading(Decimal(12345679), AT, None)
    assert ledger.identity("heat-1") == str(HEAT)


def test_on_a_suspect_line_even_the_first_identity_has_to_come_twice() -> None:
    house = House(planned(ENERGY))
    told = answer("0C 06 78 56 34 12")
    assert house.meter.answered(STRANGE, AT, NOW, suspect=True) == DOUBTED, "it was damaged"
    assert house.meter.answered(told, AT + 1, NOW + 1, suspect=True) == DOUBTED
    assert house.meter.identity is None
    house.meter.answered(told, AT + 2, NOW + 2, suspect=True)
    assert house.meter.identity == HEAT
    assert house.reading("secondary-address").value == str(HEAT)


def test_on_a_suspect_line_another_identity_has_to_come_three_times() -> None:
    house = settled(planned(ENERGY))
    for n in range(2):
        assert house.meter.answered(STRANGE, AT + n, NOW + n, suspect=True) == DOUBTED
        assert house.meter.identity == HEAT
    house.meter.answered(STRANGE, AT + 2, NOW + 2, suspect=True)
    assert house.meter.identity == OTHER_HEAT
    # What it sends has to come twice as well; both answers count.
    house.meter.answered(STRANGE, AT + 3, NOW + 3, suspect=True)
    assert house.reading("energy") == Reading(Decimal(2), AT + 3, None)


def test_the_same_damage_twice_in_the_identity_is_no_exchange_on_a_suspect_line() -> None:
    house = settled(planned(ENERGY))
    for n in range(2):
        house.meter.answered(STRANGE, AT + n, NOW + n, suspect=True)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT + 2, NOW + 2, suspect=True)
    assert house.meter.identity == HEAT
    for n in range(3, 5):
        assert house.meter.answered(STRANGE, AT + n, NOW + n, suspect=True) == DOUBTED
    assert house.meter.identity == HEAT


def test_another_identity_is_counted_on_in_the_next_turn() -> None:
    house = settled(planned(ENERGY))
    for n in range(2):
        house.meter.answered(STRANGE, AT + n, NOW + n, suspect=True)
    house.meter.undecided(AT + 2)
    assert house.reading("energy").fault is Fault.FOREIGN_METER
    house.meter.answered(STRANGE, AT + 60, NOW + 60, suspect=True)
    assert house.meter.identity == OTHER_HEAT


# Two meters at one address


def heard(house: House, who: str, *, since: float = 0.0) -> str:
    """What is served after each answer of the old meter (A) or the new one (B), an hour apart."""
    served = ""
    for n, each in enumerate(who):
        at = since + 3600 * n
        told = answer("0C 06 78 56 34 12") if each == "A" else STRANGE
        house.meter.answered(told, AT + at, NOW + at)
        reading = house.reading("energy")
        served += "!" if reading.fault else "B" if reading.value == 2 else "A"
    return served


BOTH = (
    "both answer at this address; give one of them another address, or name the one that is meant "
    "by its secondary address"
)


def test_of_two_meters_that_answer_by_turns_neither_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(planned(ENERGY))
    assert heard(house, "AABBBAAABBBA") == "AAAB" + "B" + "!" * 7
    assert house.reading("energy") == Reading(Decimal(2), AT + 4 * 3600, Fault.FOREIGN_METER)
    assert house.reading("answering").value is False
    assert messages(caplog) == [
        f"WARNING heat-1: the meter was exchanged, {OTHER_HEAT} for {HEAT}",
        f"WARNING heat-1: {HEAT} answers in the place of {OTHER_HEAT}; the values of neither are "
        f"served: {BOTH}",
    ]


def test_a_stranger_that_came_and_went_is_no_exchange_when_it_comes_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(planned(ENERGY))
    assert heard(house, "BABABBAB") == "AAAAA!!!"
    (message,) = messages(caplog)
    assert message.endswith(BOTH)


def test_a_meter_that_comes_back_after_a_week_is_an_exchange() -> None:
    house = settled(planned(ENERGY))
    assert heard(house, "BB") == "AB"
    assert heard(house, "AA", since=8 * 86400) == "BA"


def test_two_meters_at_one_address_are_looked_at_anew_after_a_restart() -> None:
    ledger = Ledger(None)
    assert heard(settled(planned(ENERGY), ledger), "BBA") == "AB!"
    assert heard(House(planned(ENERGY), ledger), "BBAAB") == "BBBA!"


def test_the_one_that_the_file_names_is_served_and_the_other_one_is_not() -> None:
    house = settled(replace(planned(ENERGY), address=str(HEAT)))
    assert heard(house, "ABBABBA") == "AA!AA!A"


def test_under_hold_the_old_one_of_two_is_served_and_the_log_hears_of_the_other_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = settled(HELD)
    assert heard(house, "BBABBABBA") == "A!AA!AA!A"
    assert len(messages(caplog)) == 2, "once as held, once as one of two"


def test_an_address_that_is_accepted_again_and_again_is_the_users_wish() -> None:
    house = settled(HELD)
    heard(house, "BB")
    assert house.meter.accept_exchange()
    assert heard(house, "BAA") == "BB!"
    assert house.meter.accept_exchange()
    assert heard(house, "A") == "A"


def test_who_answers_is_on_record_when_it_changes_and_before_its_values() -> None:
    kept: list[list[str]] = []

    class Recorder:
        def last(self, point: Point) -> Reading | None:
            return None

        def keep(self, meter: str, readings: Mapping[str, Reading]) -> None:
            kept.append([f"{name} {reading.value}" for name, reading in readings.items()])

    house = House(planned(ENERGY), keeper=Recorder())
    heard(house, "AABB")
    assert kept == [
        [f"heat-1.secondary-address {HEAT}"],
        ["heat-1.energy 12345678.000"],
        ["heat-1.energy 12345678.000"],
        [f"heat-1.secondary-address {OTHER_HEAT}"],
        ["heat-1.energy 2.000"],
    ]


def test_a_stranger_is_counted_anew_after_a_turn_without_an_answer() -> None:
    house = settled(planned(ENERGY))
    assert house.meter.answered(STRANGE, AT, NOW) == DOUBTED
    house.meter.failed(Fault.NO_ANSWER, AT + 1)
    other = answer_of(parse_secondary("00000001-KAM-1B-04"), "0C 06 02 00 00 00")
    assert house.meter.answered(other, AT + 2, NOW + 2) == DOUBTED
