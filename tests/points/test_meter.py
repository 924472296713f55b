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
    for _ in range(2):
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


def test_a_meter_that_was_exchanged_while_the_bridge_was_stopped_is_believed_when_it_comes_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger(None)
    first = House(planned(ENERGY), ledger)
    for _ in range(2):
        first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    again = House(planned(ENERGY), ledger)
    assert again.meter.identity is None
    again.meter.answered(answer_of(OTHER_HEAT, "0C 06 01 00 00 00"), AT + 1, NOW + 1)
    assert again.reading("energy") == Reading(None, None, Fault.FOREIGN_METER)
    assert again.meter.identity is None
    again.meter.answered(answer_of(OTHER_HEAT, "0C 06 02 00 00 00"), AT + 2, NOW + 2)
    assert again.reading("energy") == Reading(Decimal(2), AT + 2, None)
    assert again.meter.identity == OTHER_HEAT
    assert messages(caplog) == [
        f"WARNING heat-1: {OTHER_HEAT} answers in the place of {HEAT}; its values are held back "
        "until it answers again",
        f"WARNING heat-1: the meter was exchanged while the bridge did not run, {OTHER_HEAT} for "
        f"{HEAT}",
    ]
    caplog.clear()
    House(planned(ENERGY), ledger).meter.answered(answer_of(OTHER_HEAT, "0C 06 02 00 00 00"), 1, 1)
    assert messages(caplog) == []


def test_a_restart_takes_a_meter_of_another_kind_when_it_comes_twice() -> None:
    ledger = Ledger(None)
    first = House(planned(ENERGY), ledger)
    for _ in range(2):
        first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    again = House(planned(ENERGY), ledger)
    for n in range(2):
        again.meter.answered(answer_of(WATER, "0C 06 01 00 00 00"), AT + n, NOW + n)
    assert again.reading("secondary-address").value == str(WATER)


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


# A point and its key


def test_a_point_is_fed_by_the_key_that_its_selector_came_down_to() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for place in ("04 06 01 00 00 00  0C 06 79 56 34 12", "0C 06 79 56 34 12  04 06 01 00 00 00"):
        house.meter.answered(answer(place), AT, NOW)
        assert house.reading("energy") == Reading(Decimal(12345679), AT, None)


def test_several_records_that_fit_at_first_are_in_doubt_until_the_user_says_which() -> None:
    house = House(planned(ENERGY))
    both = answer("0C 06 78 56 34 12  04 06 01 00 00 00")
    house.meter.answered(both, AT, NOW)
    house.meter.answered(both, AT, NOW)
    assert house.reading("energy") == Reading(None, None, Fault.AMBIGUOUS)
    named = replace(ENERGY, selector=Selector(key="0406"), unit="kilowatt-hours")
    chosen = House(planned(named))
    chosen.meter.answered(both, AT, NOW)
    assert chosen.reading("energy").value == Decimal(1)


def test_a_change_of_range_is_followed_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for _ in range(3):
        house.meter.answered(answer("0C 07 67 45 23 01"), AT, NOW)
    assert house.reading("energy") == Reading(Decimal(12345670), AT, None)
    assert house.reading("energy").resolution == 10
    assert [record.getMessage() for record in caplog.records] == [
        "heat-1.energy: is fed by 0C07 from now on: the meter no longer sends 0C06, and nothing "
        "else fits"
    ]


def test_a_restart_maps_the_same(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = House(planned(ENERGY), ledger)
    for _ in range(2):
        first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    ledger.close()
    again = House(planned(ENERGY), Ledger(tmp_path / "ledger"))
    again.meter.answered(answer("04 06 01 00 00 00  0C 06 79 56 34 12"), AT, NOW)
    assert again.reading("energy") == Reading(Decimal(12345679), AT, None)


def test_what_was_sent_beside_the_record_is_never_it_after_a_restart_either(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    first = House(planned(ENERGY), ledger)
    first.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for _ in range(2):
        first.meter.answered(answer("04 06 01 00 00 00  0C 06 79 56 34 12"), AT, NOW)
    ledger.close()
    again = House(planned(ENERGY), Ledger(tmp_path / "ledger"))
    again.meter.answered(answer("04 06 01 00 00 00"), AT, NOW)
    assert again.reading("energy") == Reading(None, None, Fault.RECORD_MISSING)


def test_one_answer_alone_settles_nothing_for_ever(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    House(planned(ENERGY), ledger).meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert ledger.feeds("heat-1") == {}


def test_another_selector_is_held_against_the_meter_anew() -> None:
    ledger = Ledger(None)
    house = House(planned(ENERGY), ledger)
    told = answer("0C 06 78 56 34 12  4C 06 01 00 00 00")
    house.meter.answered(told, AT, NOW)
    house.meter.answered(told, AT, NOW)
    changed = replace(ENERGY, selector=Selector(quantity=Quantity.ENERGY, storage=1))
    again = House(planned(changed), ledger)
    again.meter.answered(told, AT, NOW)
    assert again.reading("energy").value == Decimal(1)


def test_a_found_point_that_sends_the_same_twice_later_is_in_doubt_and_brings_no_new_one() -> None:
    house = House(FOUND)
    for _ in range(2):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.meter.answered(answer("0C 06 01 00 00 00  0C 06 78 56 34 12"), AT, NOW) == []
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.AMBIGUOUS)


def test_keys_count_on_over_the_telegrams_of_one_answer() -> None:
    house = House(FOUND)
    house.meter.answered(answer("02 FD 48 E6 00") + answer("02 FD 48 E7 00"), AT, NOW)
    assert house.reading("voltage").value == Decimal("23.0")
    assert house.reading("voltage-2").value == Decimal("23.1")


def test_an_exchanged_meter_is_mapped_anew_where_it_sends_something_else() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.answered(answer("0C 06 78 56 34 12  04 06 01 00 00 00"), AT, NOW)
    # What the old one sent beside its record may well be the new one's.
    for n in range(2):
        house.meter.answered(answer_of(OTHER_HEAT, "04 06 E8 03 00 00"), AT + n, NOW + n)
    assert house.reading("energy") == Reading(Decimal(1000), AT + 1, None)


def test_points_that_the_ledger_has_from_an_older_version_keep_their_records(
    tmp_path: Path,
) -> None:
    words = (
        '{"kind": "number", "unit": "volts", "quantity": "voltage", "function": "instantaneous",'
        ' "storage": 0, "tariff": 0, "subunit": 0, "modifiers": [], "unit_text": "",'
    )
    with closing(sqlite3.connect(tmp_path / "ledger", isolation_level=None)) as old:
        # As the version before 1 wrote it.
        old.execute(
            "CREATE TABLE objects ("
            " object_type TEXT NOT NULL, instance INTEGER NOT NULL, name TEXT NOT NULL,"
            " PRIMARY KEY (object_type, instance), UNIQUE (object_type, name)) STRICT"
        )
        old.execute(
            "CREATE TABLE found ("
            " meter TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL,"
            " PRIMARY KEY (meter, name)) STRICT"
        )
        old.execute("INSERT INTO objects VALUES ('analog-input', 7, 'heat-1.voltage')")
        old.executemany(
            "INSERT INTO found VALUES (?, ?, ?)",
            [
                (
                    "heat-1",
                    "voltage",
                    words + '"ordinal": 1, "count": 2, "like": "02fd48", "alone": false}',
                ),
                (
                    "heat-1",
                    "voltage-2",
                    words + '"ordinal": 2, "count": 2, "like": "02fd48", "alone": false}',
                ),
                (
                    "heat-1",
                    "voltage-3",
                    words + '"ordinal": 1, "count": 1, "like": "04fd48", "alone": false}',
                ),
                ("heat-1:counts", "u", "2"),
            ],
        )
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.instance("analog-input", "heat-1.voltage") == 7
    assert ledger.remembered("heat-1:counts") == {}
    house = House(FOUND, ledger)
    told = answer("04 FD 48 E8 00 00 00  02 FD 48 E6 00  02 FD 48 E7 00")
    for _ in range(2):
        assert house.meter.answered(told, AT, NOW) == []
    values = [house.reading(name).value for name in ("voltage", "voltage-2", "voltage-3")]
    assert values == [Decimal("23.0"), Decimal("23.1"), Decimal("23.2")]
    # Of the two equal ones one goes: neither takes the third one's place, nor the other's.
    house.meter.answered(answer("04 FD 48 E8 00 00 00  02 FD 48 E7 00"), AT, NOW)
    assert house.reading("voltage").fault is Fault.AMBIGUOUS
    assert house.reading("voltage-2").fault is Fault.AMBIGUOUS
    ledger.close()
    feeds = Ledger(tmp_path / "ledger").feeds("heat-1")
    assert {name: feed.record for name, feed in feeds.items()} == {
        "voltage": "02FD48",
        "voltage-2": "02FD48#2",
        "voltage-3": "04FD48",
    }


def test_a_mistake_of_ours_halfway_does_not_outlive_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    with monkeypatch.context() as patch:
        patch.setattr("bridge.points.meter.hold", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            house.meter.answered(answer("04 13 01 00 00 00  0C 06 01 00 00 00"), AT, NOW)
    house.meter.answered(answer("04 13 01 00 00 00  0C 06 79 56 34 12"), AT, NOW)
    assert house.reading("energy") == Reading(Decimal(12345679), AT, None)


def test_a_point_that_was_the_users_own_meanwhile_is_found_anew() -> None:
    ledger = Ledger(None)
    told = answer("0C 06 78 56 34 12  4C 06 01 00 00 00")
    stored = replace(ENERGY, selector=Selector(quantity=Quantity.ENERGY, storage=1))
    for plan in (FOUND, planned(stored)):
        house = House(plan, ledger)
        house.meter.answered(told, AT, NOW)
        house.meter.answered(told, AT, NOW)
    assert house.reading("energy").value == Decimal(1)
    again = House(FOUND, ledger)
    again.meter.answered(told, AT, NOW)
    assert again.reading("energy").value == Decimal(12345678)


# What the log says


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_record_that_is_missing_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(planned(ENERGY))
    for records in ("4C 06 01 00 00 00", "4C 06 02 00 00 00", "0C 06 78 56 34 12"):
        house.meter.answered(answer(records), AT, NOW)
    assert messages(caplog) == [
        "WARNING heat-1.energy: names no record of this meter; the closest is 4C06 (energy, "
        "storage 1, in Wh); write storage: 1 if 4C06 is meant, or remove the point",
        "INFO heat-1.energy: its record is there again, and right",
    ]


def test_what_cannot_be_decoded_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    volume = PointPlan("volume", Selector(quantity=Quantity.VOLUME), Kind.NUMBER)
    house = House(planned(ENERGY, volume))
    house.meter.answered(answer("04 13 01 00 00 00  0C 06 78 56 34 12"), AT, NOW)
    for cut in ("04 13 02 00 00 00  0C 06 79 56", "04 13 03 00 00 00  0C 06 79"):
        house.meter.answered(answer(cut), AT, NOW)
    assert house.reading("volume").value == Decimal("0.003")
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.RECORD_MISSING)
    house.meter.answered(answer("04 13 04 00 00 00  0C 06 80 56 34 12"), AT, NOW)
    assert messages(caplog) == [
        "WARNING heat-1: its answer holds what cannot be decoded: byte 18: premature end of "
        "record: 0C067956; what is whole is used",
        "WARNING heat-1.energy: this meter no longer sends 0C06, which fed it; it sends volume; "
        "perhaps it is in what could not be decoded: byte 18: premature end of record: 0C067956",
        "INFO heat-1: all of its answer can be decoded again",
        "INFO heat-1.energy: its record is there again, and right",
    ]


def test_of_a_found_point_that_was_cut_it_is_not_said_to_name_it_in_the_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(FOUND)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    house.meter.answered(answer("04 13 01 00 00 00") + answer("0C 06 79 56"), AT, NOW)
    cut = "telegram 2, byte 12: premature end of record: 0C067956"
    assert messages(caplog)[0].endswith(f"cannot be decoded: {cut}; what is whole is used")
    assert messages(caplog)[1].endswith(f"; perhaps it is in what could not be decoded: {cut}")


def test_an_answer_without_any_record_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(FOUND)
    for records in ("", "", "0C 06 78 56 34 12"):
        house.meter.answered(answer(records), AT, NOW)
    assert messages(caplog) == [
        "WARNING heat-1: answered without any record; see with `read` what it says",
        "INFO heat-1: its answer has records again",
    ]


def test_a_point_that_names_a_profile_is_told_its_base_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    profile = PointPlan("history", Selector(key="8D04931F"), Kind.NUMBER)
    house = House(planned(profile))
    house.meter.answered(answer("84 04 13 02 00 00 00  8D 04 93 1F 04 02 1B 22 22"), AT, NOW)
    (message,) = messages(caplog)
    assert message.endswith("; write record: 840413 for 840413 (volume, storage 8, in m3)")


def test_a_unit_that_does_not_fit_is_said(caplog: pytest.LogCaptureFixture) -> None:
    house = House(planned(replace(ENERGY, unit="cubic-meters")))
    for _ in range(3):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    (message,) = messages(caplog)
    assert message.startswith(
        "WARNING heat-1.energy: its record is 0C06 (energy, in Wh), which cannot be said in "
        "cubic-meters; write unit: "
    )


def test_a_doubt_about_a_found_point_says_to_write_it(caplog: pytest.LogCaptureFixture) -> None:
    house = House(FOUND)
    house.meter.answered(answer("02 FD 48 E6 00  02 FD 48 E7 00"), AT, NOW)
    house.meter.answered(answer("02 FD 48 E7 00"), AT, NOW)
    assert len(messages(caplog)) == 2
    assert messages(caplog)[0] == (
        "WARNING heat-1.voltage: names 02FD48, which this meter sent 2 times and now sends once: "
        "nobody can say which of them it is; name the point in the file, with the record that it "
        "is to have"
    )


def test_many_points_in_fault_do_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    points = [replace(ENERGY, name=f"energy-{n}") for n in range(30)]
    House(planned(*points)).meter.answered(answer("04 13 01 00 00 00"), AT, NOW)
    assert len(messages(caplog)) == 4
    assert messages(caplog)[-1].startswith("WARNING heat-1: 27 more points are in fault for such")


def test_a_permanent_error_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(planned(ENERGY))
    for status in (0x08, 0x18, 0x08, 0x00):
        house.meter.answered(answer("0C 06 78 56 34 12", status=status), AT, NOW)
    begun, ended = messages(caplog)
    assert begun.startswith("WARNING heat-1: the meter reports a permanent error; ")
    assert ended == "INFO heat-1: no longer: the meter reports a permanent error"


def test_a_missing_key_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    house = House(planned(ENERGY))
    block = "DF E2 A7 82 14 6D 15 13 58 1C D2 F8 3F 39 04 0C"
    for _ in range(3):
        house.meter.answered(answer(block, configuration=0x0510), AT, NOW)
    (message,) = messages(caplog)
    assert message.startswith("WARNING heat-1: encrypted, and there is no key; ")


# What the ledger has for `check`


def test_what_a_meter_sends_is_kept_when_two_answers_agree_and_not_written_again() -> None:
    ledger = Ledger(None)
    house = House(planned(ENERGY), ledger)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.meter.known is None
    house.meter.answered(answer("0C 06 79 56 34 12"), AT, NOW)
    assert house.meter.known is not None
    assert [known.key for known in house.meter.known] == ["0C06"]
    writes: list[str] = []
    ledger._connection.set_trace_callback(writes.append)
    for n in range(10):
        house.meter.answered(answer(f"0C 06 {n:02} 56 34 12"), AT, NOW + n)
    assert writes == []


def test_records_that_come_and_go_are_soon_written_once_an_hour_at_most() -> None:
    ledger = Ledger(None)
    house = House(planned(ENERGY), ledger)
    one, other = answer("0C 06 78 56 34 12"), answer("0C 06 78 56 34 12  04 13 01 00 00 00")
    writes: list[str] = []
    ledger._connection.set_trace_callback(writes.append)
    for n in range(0, 7200, 60):
        for told in (one, one, other, other):
            house.meter.answered(told, AT, NOW + n)
    assert len([write for write in writes if " sent " in write]) == 12


def test_what_is_to_be_expected_of_a_point_is_told_without_the_meter() -> None:
    ledger = Ledger(None)
    house = House(planned(ENERGY), ledger)
    told = answer("0C 06 78 56 34 12  02 FD 48 E6 00  02 FD 48 E7 00")
    house.meter.answered(told, AT, NOW)
    house.meter.answered(told, AT, NOW)
    voltage = PointPlan("u", Selector(quantity=Quantity.VOLTAGE), Kind.NUMBER)
    again = House(planned(ENERGY, voltage, replace(ENERGY, name="e", unit="volts")), ledger)
    energy, u, e = again.meter.outlook()
    assert (energy.point, energy.key, energy.doubt) == ("energy", "0C06", None)
    assert u.key == ""
    assert u.doubt is not None
    assert u.doubt.message.startswith("names 2 records of this meter: 02FD48 (voltage, in V), ")
    assert e.key == "0C06"
    assert e.doubt is not None
    assert "cannot be said in volts" in e.doubt.message


def test_of_a_meter_that_nobody_knows_nothing_is_said() -> None:
    house = House(planned(ENERGY))
    (energy,) = house.meter.outlook()
    assert energy == ("energy", "", None)


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
    house.meter.answered(answer("0C 78 05 76 00 00"), AT, NOW)
    assert house.reading("fabrication-number").value == "00007605"
