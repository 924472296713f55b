from __future__ import annotations

import datetime
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPlan, MeterPoints, PointPlan
from bridge.points.reading import Fault, Kind, Reading
from bridge.points.select import Selector
from bridge.points.store import Store
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

    def __init__(self, plan: MeterPlan, ledger: Ledger | None = None) -> None:
        self.store = Store()
        self.meter = MeterPoints(plan, self.store, ledger or Ledger(None))
        self.meter.offer()

    def reading(self, name: str) -> Reading:
        return self.store.reading(f"heat-1.{name}")


def test_every_meter_tells_of_itself() -> None:
    house = House(planned())
    assert list(house.store.points) == [
        "heat-1.answering",
        "heat-1.last-read",
        "heat-1.secondary-address",
    ]
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.reading("answering") == Reading(True, AT, None)
    assert house.reading("last-read").value == datetime.datetime.fromtimestamp(AT)
    assert house.reading("secondary-address").value == "12345678-KAM-1B-04"


def test_a_value_has_the_meters_digits_in_the_unit_of_its_quantity() -> None:
    house = House(planned(ENERGY))
    assert house.store.points["heat-1.energy"].unit == "kilowatt-hours"
    house.meter.answered(answer("0C 05 78 56 34 12"), AT, NOW)  # 12345678 x 100 Wh
    assert house.reading("energy") == Reading(Decimal("1234567.8"), AT, None)


def test_the_scale_comes_before_the_unit() -> None:
    point = replace(ENERGY, scale=Decimal("0.1"), unit="megawatt-hours")
    house = House(planned(point))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.reading("energy").value == Decimal("1234.5678")


def test_a_bare_number_is_in_whatever_unit_the_user_says() -> None:
    point = PointPlan(
        "water",
        Selector(quantity=Quantity.DIMENSIONLESS),
        Kind.NUMBER,
        "cubic-meters",
        Decimal("0.01"),
    )
    house = House(planned(point))
    house.meter.answered(answer("04 FD 3A D2 04 00 00"), AT, NOW)
    assert house.reading("water").value == Decimal("12.34")


def test_a_unit_that_measures_something_else_is_a_fault_and_no_number() -> None:
    house = House(planned(replace(ENERGY, unit="cubic-meters")))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.reading("energy") == Reading(None, None, Fault.WRONG_UNIT)


@pytest.mark.parametrize(
    ("records", "fault"),
    [
        ("04 13 01 00 00 00", Fault.RECORD_MISSING),
        ("0C 06 EE EE EE EE", Fault.INVALID),
        ("04 06 00 00 00 80", Fault.INVALID),
        ("04 86 16 01 00 00 00", Fault.OVER_RANGE),
        ("04 86 17 01 00 00 00", Fault.UNDER_RANGE),
        ("0C 06 01 00 00 00 0C 06 01 00 00 00", Fault.AMBIGUOUS),
        ("0D 06 02 41 42", Fault.WRONG_KIND),
    ],
)
def test_a_bad_record_keeps_the_last_good_value_and_says_why(records: str, fault: Fault) -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.answered(answer(records), AT + 60, NOW + 60)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, fault)
    assert house.reading("answering").value is True


def test_a_silent_meter_has_its_values_in_fault_and_does_not_answer() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.failed(Fault.NO_ANSWER, AT + 60)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.NO_ANSWER)
    assert house.reading("answering") == Reading(False, AT + 60, None)
    assert house.reading("last-read").value == datetime.datetime.fromtimestamp(AT)
    house.meter.answered(answer("0C 06 79 56 34 12"), AT + 120, NOW + 120)
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 120, None)
    assert house.reading("answering").value is True


def test_without_a_bus_nobody_knows_whether_the_meter_answers() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.failed(Fault.NO_CONNECTION, AT + 60)
    assert house.reading("answering") == Reading(True, AT, Fault.NO_CONNECTION)
    assert house.reading("energy").fault is Fault.NO_CONNECTION


def test_a_busy_meter_answers_and_its_values_grow_older() -> None:
    house = House(planned(ENERGY, max_age=60))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.busy(AT + 30)
    assert house.reading("energy").fault is None
    house.meter.busy(AT + 61)
    assert house.meter.expire(NOW + 61)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.TOO_OLD)


def test_a_value_is_too_old_after_its_time_whatever_the_wall_clock_says() -> None:
    house = House(planned(ENERGY, max_age=60))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert not house.meter.expire(NOW + 60)
    assert house.reading("energy").fault is None
    assert house.meter.expire(NOW + 60.1)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.TOO_OLD)
    assert not house.meter.expire(NOW + 70), "it was said already"


def test_a_permanent_error_of_the_meter_marks_fresh_values() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12", status=0x08), AT, NOW)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.METER_ERROR)


def test_an_encrypted_answer_without_a_key_is_said_and_nothing_in_it_believed() -> None:
    house = House(planned(ENERGY))
    block = "DF E2 A7 82 14 6D 15 13 58 1C D2 F8 3F 39 04 0C"
    house.meter.answered(answer(block, configuration=0x0510), AT, NOW)
    assert house.reading("energy") == Reading(None, None, Fault.NO_KEY)
    assert house.reading("answering").value is True


def test_points_that_nobody_named_are_found_in_the_first_answer() -> None:
    house = House(FOUND)
    new = house.meter.answered(answer("0C 06 78 56 34 12  4C 06 01 00 00 00"), AT, NOW)
    assert new == ["heat-1.energy"]
    assert house.reading("energy").value == Decimal(12345678)
    assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == []


def test_a_number_that_is_invalid_at_first_is_an_object_in_fault_and_no_secret() -> None:
    house = House(FOUND)
    assert house.meter.answered(answer("0C 06 EE EE EE EE"), AT, NOW) == ["heat-1.energy"]
    assert house.reading("energy") == Reading(None, None, Fault.INVALID)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.reading("energy").value == Decimal(12345678)


def test_a_ledger_that_is_locked_at_the_first_answer_costs_one_round(tmp_path: Path) -> None:
    house = House(FOUND, Ledger(tmp_path / "ledger"))
    with closing(sqlite3.connect(tmp_path / "ledger", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == []
        assert house.reading("answering").value is True
        other.execute("ROLLBACK")
    assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == ["heat-1.energy"]


def test_a_record_that_comes_later_becomes_a_point_then() -> None:
    house = House(FOUND)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    new = house.meter.answered(answer("0C 13 01 00 00 00  0C 06 79 56 34 12"), AT, NOW)
    assert new == ["heat-1.volume"]
    assert house.reading("energy").value == Decimal(12345679)


def test_found_points_are_there_after_a_restart_before_the_meter_answers(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = House(FOUND, ledger)
    told = answer("0C 06 78 56 34 12  02 FD 48 E6 00  02 FD 48 E7 00")
    first.meter.answered(told, AT, NOW)
    first.meter.answered(told, AT, NOW)
    ledger.close()
    again = House(FOUND, Ledger(tmp_path / "ledger"))
    assert again.store.points == first.store.points
    assert again.reading("voltage-2") == Reading(None, None, Fault.NEVER_READ)
    again.meter.failed(Fault.NO_ANSWER, AT)
    assert again.reading("voltage-2").fault is Fault.NO_ANSWER


def test_a_point_is_kept_only_when_a_second_answer_confirms_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    house = House(FOUND, ledger)
    house.meter.answered(answer("0C 06 78 56 34 12  04 13 01 00 00 00"), AT, NOW)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert list(ledger.remembered("heat-1")) == ["energy"]


def test_a_ledger_that_cannot_be_written_costs_no_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(tmp_path / "ledger")
    house = House(FOUND, ledger)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    with closing(sqlite3.connect(tmp_path / "ledger", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        house.meter.answered(answer("0C 06 79 56 34 12"), AT, NOW)
        assert house.reading("energy") == Reading(Decimal(12345679), AT, None)
        assert "is a second bridge running" in caplog.text
        other.execute("ROLLBACK")
    house.meter.answered(answer("0C 06 80 56 34 12"), AT, NOW)
    assert list(ledger.remembered("heat-1")) == ["energy"]


def test_what_another_version_wrote_into_the_ledger_is_left_out_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(None)
    ledger.remember("heat-1", "energy", '{"kind": "colour"}')
    house = House(FOUND, ledger)
    assert "energy" not in house.store.points
    assert "does not understand" in caplog.text


def test_an_ordinal_counts_among_as_many_as_there_were(tmp_path: Path) -> None:
    point = PointPlan("u", Selector(quantity=Quantity.VOLTAGE, ordinal=1), Kind.NUMBER)
    ledger = Ledger(tmp_path / "ledger")
    house = House(planned(point), ledger)
    house.meter.answered(answer("02 FD 48 E6 00  02 FD 48 E7 00"), AT, NOW)
    assert house.reading("u").value == Decimal("23.0")
    house.meter.answered(answer("02 FD 48 E7 00"), AT, NOW)
    assert house.reading("u") == Reading(Decimal("23.0"), AT, Fault.AMBIGUOUS)
    again = House(planned(point), ledger)
    again.meter.answered(answer("02 FD 48 E7 00"), AT, NOW)
    assert again.reading("u").fault is Fault.AMBIGUOUS


OTHER_HEAT = parse_secondary("87654321-KAM-1B-04")
WATER = parse_secondary("12345678-KAM-1B-07")


def answer_of(meter: SecondaryAddress, records: str) -> list[Telegram]:
    data = encode_header(meter, 5) + bytes.fromhex(records)
    return [decode_telegram(LongFrame(0x08, 2, 0x72, data))]


def test_another_identity_is_believed_only_when_it_comes_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.answered(answer_of(OTHER_HEAT, "0C 06 01 00 00 00"), AT + 1, NOW + 1)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.FOREIGN_METER)
    house.meter.answered(answer("0C 06 79 56 34 12"), AT + 2, NOW + 2)
    assert house.reading("energy").fault is None, "it was damage"
    house.meter.answered(answer_of(OTHER_HEAT, "0C 06 01 00 00 00"), AT + 3, NOW + 3)
    house.meter.answered(answer_of(OTHER_HEAT, "0C 06 02 00 00 00"), AT + 4, NOW + 4)
    assert house.reading("energy") == Reading(Decimal(2), AT + 4, None)
    assert house.reading("secondary-address").value == str(OTHER_HEAT)
    assert "the meter was exchanged" in caplog.text


def test_a_meter_of_another_kind_never_serves_its_values_under_the_old_name() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for n in range(5):
        house.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.FOREIGN_METER)
    assert house.reading("secondary-address").value == str(HEAT)


@pytest.mark.parametrize(
    ("records", "scale", "resolution"),
    [
        ("0C 05 00 00 00 00", "1", "0.1"),
        ("04 06 0A 00 00 00", "1", "1"),
        ("04 06 0A 00 00 00", "0.5", "0.5"),
        ("05 06 00 00 C0 40", "1", None),
    ],
)
def test_the_resolution_is_the_codings_and_not_the_first_values(
    records: str, scale: str, resolution: str | None
) -> None:
    house = House(planned(replace(ENERGY, scale=Decimal(scale))))
    house.meter.answered(answer(records), AT, NOW)
    expected = None if resolution is None else Decimal(resolution)
    assert house.reading("energy").resolution == expected


def test_a_meter_that_is_withdrawn_leaves_nothing() -> None:
    house = House(FOUND)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.withdraw()
    assert not house.store.points


def test_a_text_keeps_all_digits_of_a_number() -> None:
    house = House(FOUND)
    house.meter.answered(answer("0C 78 05 76 00 21"), AT, NOW)
    assert house.reading("fabrication-number").value == "21007605"
