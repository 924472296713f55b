from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPlan, MeterPoints, PointPlan
from bridge.points.plausible import Doubts
from bridge.points.reading import Fault, Kind, Point, Reading
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

# What is doubted of an answer with other records than ever.
HELD_BACK = ["heat-1.last-read"]


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
    for _ in range(2):  # other records have to come twice
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
    taken = house.meter.answered(answer("0C 06 78 56 34 12  4C 06 01 00 00 00"), AT, NOW)
    assert taken == (["heat-1.energy"], [])
    assert house.reading("energy").value == Decimal(12345678)
    assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == ([], HELD_BACK)
    assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == ([], [])


def test_a_number_that_is_invalid_at_first_is_an_object_in_fault_and_no_secret() -> None:
    house = House(FOUND)
    assert house.meter.answered(answer("0C 06 EE EE EE EE"), AT, NOW).new == ["heat-1.energy"]
    assert house.reading("energy") == Reading(None, None, Fault.INVALID)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    assert house.reading("energy").value == Decimal(12345678)


def test_a_ledger_that_is_locked_at_the_first_answer_costs_one_round(tmp_path: Path) -> None:
    house = House(FOUND, Ledger(tmp_path / "ledger"))
    with closing(sqlite3.connect(tmp_path / "ledger", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW) == ([], [])
        assert house.reading("answering").value is True
        other.execute("ROLLBACK")
    assert house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW).new == ["heat-1.energy"]


def test_a_record_that_comes_later_becomes_a_point_then() -> None:
    house = House(FOUND)
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    told = answer("0C 13 01 00 00 00  0C 06 79 56 34 12")
    assert house.meter.answered(told, AT, NOW) == ([], HELD_BACK)
    assert house.meter.answered(told, AT, NOW) == (["heat-1.volume"], [])
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
    for _ in range(2):
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
    for _ in range(2):
        house.meter.answered(answer("02 FD 48 E7 00"), AT, NOW)
    assert house.reading("u") == Reading(Decimal("23.0"), AT, Fault.AMBIGUOUS)
    again = House(planned(point), ledger)
    again.meter.answered(answer("02 FD 48 E7 00"), AT, NOW)
    assert again.reading("u").fault is Fault.AMBIGUOUS


OTHER_HEAT = parse_secondary("87654321-KAM-1B-04")


def answer_of(meter: SecondaryAddress, records: str) -> list[Telegram]:
    data = encode_header(meter, 5) + bytes.fromhex(records)
    return [decode_telegram(LongFrame(0x08, 2, 0x72, data))]


# A point and its key


def test_a_point_is_fed_by_the_key_that_its_selector_came_down_to() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for place in ("04 06 01 00 00 00  0C 06 79 56 34 12", "0C 06 79 56 34 12  04 06 01 00 00 00"):
        for _ in range(2):
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
    for _ in range(3):
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
    both = answer("0C 06 01 00 00 00  0C 06 78 56 34 12")
    assert house.meter.answered(both, AT, NOW) == ([], HELD_BACK)
    assert house.meter.answered(both, AT, NOW) == ([], [])
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.AMBIGUOUS)


def test_keys_count_on_over_the_telegrams_of_one_answer() -> None:
    house = House(FOUND)
    house.meter.answered(answer("02 FD 48 E6 00") + answer("02 FD 48 E7 00"), AT, NOW)
    assert house.reading("voltage").value == Decimal("23.0")
    assert house.reading("voltage-2").value == Decimal("23.1")


def test_an_exchanged_meter_is_mapped_anew_where_it_sends_something_else() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for _ in range(2):
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
        assert house.meter.answered(told, AT, NOW) == ([], [])
    values = [house.reading(name).value for name in ("voltage", "voltage-2", "voltage-3")]
    assert values == [Decimal("23.0"), Decimal("23.1"), Decimal("23.2")]
    # Of the two equal ones one goes: neither takes the third one's place, nor the other's.
    for _ in range(2):
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
    house.meter.answered(answer("04 13 01 00 00 00  0C 06 01 00 00 00"), AT, NOW)
    with monkeypatch.context() as patch:
        patch.setattr("bridge.points.fed.hold", lambda *_: 1 / 0)
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
    for _ in range(2):
        house.meter.answered(answer("0C 78 05 76 00 00"), AT, NOW)
    assert house.reading("fabrication-number").value == "00007605"


# Other records than ever


VOLUME = PointPlan("volume", Selector(quantity=Quantity.VOLUME), Kind.NUMBER)
PLAIN = "0B 61 34 12 00  0C 06 78 56 34 12"  # a temperature difference, and energy
# The same with one bit more in the DIF: a difference of the error state, and energy.
HIT = "2B 61 34 12 00  0C 06 78 56 34 12"


def test_a_dif_that_was_damaged_once_brings_no_point_and_no_value() -> None:
    house = House(FOUND)
    assert house.meter.answered(answer(PLAIN), AT, NOW).new == [
        "heat-1.temperature-difference",
        "heat-1.energy",
    ]
    points = list(house.store.points)
    assert house.meter.answered(answer(HIT), AT + 60, NOW + 60) == ([], HELD_BACK)
    assert house.reading("energy").read_at == AT, "nothing in it is believed"
    assert house.meter.answered(answer(PLAIN), AT + 61, NOW + 61) == ([], [])
    assert list(house.store.points) == points
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 61, None)
    assert house.reading("temperature-difference").fault is None


def test_a_damaged_dif_does_not_feed_a_point_that_names_what_it_seems_to_be() -> None:
    named = PointPlan("error", Selector(key="2B61"), Kind.NUMBER)
    house = House(planned(ENERGY, named))
    house.meter.answered(answer(PLAIN), AT, NOW)
    house.meter.answered(answer(HIT), AT + 60, NOW + 60)
    house.meter.answered(answer(PLAIN), AT + 61, NOW + 61)
    assert house.reading("error") == Reading(None, None, Fault.RECORD_MISSING)


@pytest.mark.parametrize(("suspect", "more"), [(False, 1), (True, 4)])
def test_two_sets_of_records_by_turns_cost_one_reading_more_and_four_on_a_suspect_line(
    suspect: bool, more: int
) -> None:
    house = House(planned(ENERGY))
    sets = ("0C 06 78 56 34 12", "0C 13 01 00 00 00  0C 06 78 56 34 12")
    again = 0
    for n in range(40):
        taken = house.meter.answered(answer(sets[n % 2]), AT + n, NOW + n, suspect=suspect)
        again += bool(taken.doubted)
    assert again == more
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 39, None)


def test_a_point_that_is_in_one_of_two_sets_of_records_is_served_when_that_comes() -> None:
    house = House(planned(ENERGY, VOLUME))
    for n in range(4):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
        house.meter.answered(answer(f"0C 13 {n:02} 00 00 00  0C 06 78 56 34 12"), AT + n, NOW + n)
    assert house.reading("volume") == Reading(Decimal("0.003"), AT + 3, None)


def test_records_that_are_never_the_same_are_taken_the_third_time_on_a_plain_line() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    strange = [f"02 {vif:02X} 00 00  0C 06 79 56 34 12" for vif in (0x12, 0x13, 0x14)]
    doubted = [
        house.meter.answered(answer(records), AT + n, NOW + n).doubted
        for n, records in enumerate(strange, 60)
    ]
    assert doubted == [HELD_BACK, HELD_BACK, []]
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 62, None)


def test_other_records_that_cannot_be_read_again_are_in_doubt_until_they_come_again() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    other = answer("0C 06 79 56 34 12  0C 13 01 00 00 00")
    assert house.meter.answered(other, AT + 60, NOW + 60).doubted == HELD_BACK
    house.meter.undecided(AT + 60)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.DOUBTED)
    assert house.meter.answered(other, AT + 120, NOW + 120) == ([], [])
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 120, None)


def test_other_records_that_wait_for_their_second_reading_leave_the_values_as_they_are() -> None:
    house = House(planned(ENERGY, max_age=90_000.0))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    other = answer("0C 06 79 56 34 12  0C 13 01 00 00 00")
    assert house.meter.answered(other, AT + 60, NOW + 60).doubted == HELD_BACK
    house.meter.expire(NOW + 86_400)
    assert house.reading("energy") == Reading(Decimal(12345678), AT, None)
    assert house.meter.answered(other, AT + 86_400, NOW + 86_400) == ([], [])
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 86_400, None)


def test_a_turn_without_an_answer_ends_what_was_held_back_in_it() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    for n, records in enumerate(("0B 06 78 56 34", "0A 06 78 56", "09 06 78"), 60):
        taken = house.meter.answered(answer(records), AT + n, NOW + n, suspect=True)
        assert taken.doubted == HELD_BACK
        house.meter.failed(Fault.NO_ANSWER, AT + n)


def test_records_that_are_never_the_same_cost_no_second_reading_from_the_third_on() -> None:
    house = House(planned(ENERGY))
    strange = [f"02 {vif:02X} 00 00  0C 06 79 56 34 12" for vif in range(0x10, 0x18)]
    doubted = [
        house.meter.answered(answer(records), AT + n, NOW + n).doubted
        for n, records in enumerate(strange, 60)
    ]
    assert doubted == [[], HELD_BACK, HELD_BACK, [], [], [], [], []]
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 67, None)


# Records by turns


def by_turns(
    turns: int, *, suspect: bool, records: tuple[str, ...] = ("04 06 {:02X}", "04 13 {:02X}")
) -> tuple[House, list[int], list[set[Fault | None]]]:
    """A meter with energy in every other answer, and volume in those between, every 900 s.

    The house, how often it was read in each turn, and what was wrong with its values then. A value
    counts up with each turn.
    """
    house = House(planned(ENERGY, VOLUME, max_age=2000.0))
    answers = 0
    reads: list[int] = []
    faults: list[set[Fault | None]] = []
    for turn in range(turns):
        now = 900.0 * turn
        reads.append(0)
        again = True
        while again and reads[-1] < 7:
            told = records[answers % len(records)].format(turn) + " 00 00 00"
            taken = house.meter.answered(answer(told), AT + now, NOW + now, suspect=suspect)
            again = bool(taken.doubted)
            answers += 1
            reads[-1] += 1
            now += 1
        house.meter.expire(NOW + 900 * turn + 890)
        faults.append({house.reading(name).fault for name in ("energy", "volume")})
    return house, reads, faults


def test_a_point_whose_record_comes_every_other_turn_is_not_in_fault_between() -> None:
    _, reads, faults = by_turns(20, suspect=False)
    assert reads[4:] == [1] * 16
    assert faults[4:] == [{None}] * 16


def test_points_that_come_by_turns_are_served_on_a_suspect_line() -> None:
    house, reads, faults = by_turns(20, suspect=True)
    assert max(reads[3:]) <= 4, "each value twice"
    assert faults[3:] == [{None}] * 17
    for name in ("energy", "volume"):
        read_at = house.reading(name).read_at
        assert read_at is not None
        assert read_at >= AT + 19 * 900


def test_a_point_that_comes_by_turns_grows_too_old_when_its_record_stays_away() -> None:
    house, _, _ = by_turns(10, suspect=False)
    volume = answer("04 13 0A 00 00 00")
    seen = []
    for turn in range(10, 50):
        house.meter.answered(volume, AT + 900 * turn, NOW + 900 * turn)
        house.meter.expire(NOW + 900 * turn + 890)
        seen.append(house.reading("energy").fault)
    assert seen[0] is None
    assert seen[1] is Fault.TOO_OLD
    assert seen[-1] is Fault.RECORD_MISSING, "it will not come any more"
    assert seen.index(Fault.RECORD_MISSING) >= 30


def test_a_record_that_is_gone_for_good_is_missing_at_once() -> None:
    house = House(planned(ENERGY, VOLUME))
    for n in range(3):
        house.meter.answered(answer("0C 06 78 56 34 12  0C 13 01 00 00 00"), AT + n, NOW + n)
    for n in (60, 61):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT + n, NOW + n)
    assert house.reading("volume").fault is Fault.RECORD_MISSING


def test_a_reading_in_doubt_waits_an_hour_at_most_for_its_record() -> None:
    house, _, _ = by_turns(10, suspect=False)
    at = 10 * 900.0
    house.meter.answered(answer("04 06 FF 00 00 7F"), AT + at, NOW + at)
    volume = answer("04 13 0A 00 00 00")
    assert house.meter.answered(volume, AT + at + 1, NOW + at + 1).doubted == ["heat-1.energy"]
    house.meter.undecided(AT + at + 1)
    assert house.reading("energy").fault is Fault.DOUBTED
    at += 3700
    assert not house.meter.answered(volume, AT + at, NOW + at).doubted


def test_an_error_of_the_meter_marks_the_points_that_come_by_turns_too() -> None:
    house, _, _ = by_turns(10, suspect=False)
    at = 10 * 900.0
    house.meter.answered(answer("04 06 0A 00 00 00", status=0x08), AT + at, NOW + at)
    assert house.reading("energy").fault is Fault.METER_ERROR
    assert house.reading("volume").fault is Fault.METER_ERROR


def test_other_records_that_a_code_proves_are_taken_at_once() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    (other,) = answer("0C 06 79 56 34 12  0C 13 01 00 00 00")
    proven = other._replace(security=Security.DECRYPTED, message_counter=7)
    assert house.meter.answered([proven], AT + 60, NOW + 60, suspect=True) == ([], [])
    assert house.reading("energy") == Reading(Decimal(12345679), AT + 60, None)


def test_what_the_old_meter_said_is_not_held_against_the_new_one() -> None:
    house = House(planned(ENERGY, VOLUME))
    for _ in range(2):
        house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    both = "0C 06 79 56 34 12  0C 13 01 00 00 00"
    house.meter.answered(answer(both), AT + 60, NOW + 60)  # held back
    house.meter.undecided(AT + 60)
    for n in (120, 121):
        house.meter.answered(answer_of(OTHER_HEAT, both), AT + n, NOW + n)
    assert house.reading("volume") == Reading(Decimal("0.001"), AT + 121, None)
    assert house.meter.doubts.refuted == house.meter.doubts.confirmed == 0


# The first answer where no parity guards the line


def first_readings(*values: str) -> tuple[House, list[int]]:
    """A house that was told the values in turn, and how many points were doubted after each."""
    house = House(planned(ENERGY))
    doubted = [
        len(
            house.meter.answered(
                answer(f"0C 06 {value}"), AT + n, NOW + n, first=house.meter.is_new
            ).doubted
        )
        for n, value in enumerate(values)
    ]
    return house, doubted


def test_the_first_value_is_believed_when_it_comes_twice() -> None:
    house, doubted = first_readings("78 56 34 12", "78 56 34 12")
    assert doubted == [1, 0]
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 1, None)


def test_before_that_nothing_is_served_and_no_point_is_found() -> None:
    house = House(FOUND)
    taken = house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW, first=True)
    assert taken == ([], ["heat-1.secondary-address"])
    assert house.meter.is_new
    assert "heat-1.energy" not in house.store.points
    house.meter.undecided(AT)
    taken = house.meter.answered(answer("0C 06 78 56 34 12"), AT + 60, NOW + 60, first=True)
    assert taken == (["heat-1.energy"], [])
    assert not house.meter.is_new
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 60, None)


@pytest.mark.parametrize("damaged", [0, 1])
def test_first_values_that_differ_are_read_a_third_time(damaged: int) -> None:
    values = ["78 56 34 12"] * 3
    values[damaged] = "78 56 34 92"
    house, doubted = first_readings(*values)
    assert doubted == [1, 1, 0]
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 2, None)


def test_of_first_counts_that_differ_two_must_be_equal() -> None:
    house, doubted = first_readings("78 56 34 12", "78 56 34 02", "78 56 34 92", "78 56 34 12")
    assert doubted == [1, 1, 1, 0]
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 3, None)


def test_a_first_value_that_moves_by_a_hundredth_is_not_read_a_third_time() -> None:
    house, doubted = first_readings("78 56 34 12", "78 56 46 12")  # 1 % would be 123456
    assert doubted == [1, 0]
    assert house.reading("energy") == Reading(Decimal(12465678), AT + 1, None)


def test_a_value_that_was_not_in_the_first_answer_is_read_twice_as_well() -> None:
    house, doubted = first_readings("EE EE EE EE", "78 56 34 12", "78 56 34 12")
    assert doubted == [1, 1, 0]
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 2, None)


def test_a_first_answer_without_an_identity_is_read_twice_as_well() -> None:
    house = House(planned(ENERGY))
    told = [decode_telegram(LongFrame(0x08, 2, 0x78, bytes.fromhex("0C 06 78 56 34 12")))]
    assert house.meter.answered(told, AT, NOW, first=True) == ([], HELD_BACK)
    assert house.reading("energy").fault is Fault.NEVER_READ
    assert house.meter.answered(told, AT + 1, NOW + 1, first=True) == ([], [])
    assert house.reading("energy") == Reading(Decimal(12345678), AT + 1, None)


# Values in doubt


POWER = PointPlan("power", Selector(quantity=Quantity.POWER), Kind.NUMBER, "watts")


def energy(count: int) -> list[Telegram]:
    return answer("04 06" + count.to_bytes(4, "little").hex())


def known_house(**changes: Any) -> House:
    """A heat meter that was read for some hours."""
    house = House(planned(replace(ENERGY, **changes), max_age=3600.0))
    for n in range(-9, 1):
        house.meter.answered(energy(1000 + n), AT + 900 * n, NOW + 900 * n)
    return house


def test_a_count_that_cannot_be_is_not_believed_and_asked_for_again() -> None:
    house = known_house()
    taken = house.meter.answered(energy(900), AT + 900, NOW + 900)
    assert taken == ([], ["heat-1.energy"])
    assert house.reading("energy") == Reading(Decimal(1000), AT, None), "as it was"
    assert house.meter.answered(energy(1001), AT + 901, NOW + 901) == ([], [])
    assert house.reading("energy") == Reading(Decimal(1001), AT + 901, None)
    assert house.meter.doubts == Doubts(begun=1, refuted=1)


def test_a_count_that_is_said_twice_is_believed_and_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = known_house()
    for n in (900, 901):
        house.meter.answered(energy(900), AT + n, NOW + n)
    assert house.reading("energy") == Reading(Decimal(900), AT + 901, None)
    assert house.meter.doubts == Doubts(begun=1, confirmed=1)
    (record,) = caplog.records
    assert record.getMessage() == (
        "heat-1.energy: the counter went back from 1000 to 900: the meter says so twice"
    )


def test_what_cannot_be_asked_again_is_in_doubt_until_the_next_turn() -> None:
    house = known_house()
    house.meter.answered(energy(900), AT + 900, NOW + 900)
    house.meter.undecided(AT + 900)
    assert house.reading("energy") == Reading(Decimal(1000), AT, Fault.DOUBTED)
    assert house.meter.doubts == Doubts(begun=1, undecided=1)
    house.meter.answered(energy(900), AT + 1800, NOW + 1800)
    assert house.reading("energy") == Reading(Decimal(900), AT + 1800, None)


def test_a_point_that_was_never_read_stays_so_while_it_is_in_doubt() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(energy(900), AT, NOW, suspect=True)
    assert house.reading("energy") == Reading(None, None, Fault.NEVER_READ)
    house.meter.undecided(AT)
    assert house.reading("energy") == Reading(None, None, Fault.DOUBTED)


def test_readings_that_are_not_in_doubt_are_taken_at_once() -> None:
    house = House(planned(ENERGY, POWER))
    count, power = "04 06 E8 03 00 00", "02 2B 64 00"
    house.meter.answered(answer(count + power), AT, NOW)
    house.meter.answered(answer("04 06 01 00 00 00" + power), AT + 60, NOW + 60)
    assert house.reading("energy") == Reading(Decimal(1000), AT, None)
    assert house.reading("power") == Reading(Decimal(100), AT + 60, None)
    assert house.reading("last-read").value == datetime.datetime.fromtimestamp(AT + 60)


def test_a_doubted_value_grows_old_while_others_are_fresh() -> None:
    house = House(planned(ENERGY, POWER, max_age=60))
    house.meter.answered(answer("04 06 E8 03 00 00  02 2B 64 00"), AT, NOW)
    house.meter.answered(answer("04 06 01 00 00 00  02 2B 64 00"), AT + 50, NOW + 50)
    assert house.meter.expire(NOW + 61)
    assert house.reading("energy") == Reading(Decimal(1000), AT, Fault.TOO_OLD)
    assert house.reading("power").fault is None
    assert house.meter.expire(NOW + 111)
    assert house.reading("power").fault is Fault.TOO_OLD


@pytest.mark.parametrize(
    ("limits", "fault"),
    [
        ({"max_value": Decimal(2000)}, Fault.OVER_RANGE),
        ({"min_value": Decimal(4000)}, Fault.UNDER_RANGE),
    ],
)
def test_what_is_beyond_what_the_user_allows_is_in_fault_once_it_is_confirmed(
    limits: dict[str, Any], fault: Fault
) -> None:
    house = House(planned(replace(ENERGY, **limits)))
    assert house.meter.answered(energy(3000), AT, NOW).doubted
    assert not house.meter.answered(energy(3000), AT + 1, NOW + 1).doubted
    assert house.reading("energy") == Reading(None, None, fault)
    assert not house.meter.answered(energy(3001), AT + 60, NOW + 60).doubted


def test_the_size_of_a_meter_bounds_its_flow() -> None:
    flow = PointPlan("flow", Selector(quantity=Quantity.VOLUME_FLOW), Kind.NUMBER)
    house = House(replace(planned(flow), nominal_flow=Decimal("2.5")))
    assert not house.meter.answered(answer("02 3B 88 13"), AT, NOW).doubted  # 5 m3/h
    assert house.meter.answered(answer("02 3B 89 13"), AT + 60, NOW + 60).doubted


def test_values_that_always_move_are_not_read_without_end_on_a_suspect_line() -> None:
    house = House(planned(ENERGY, POWER))
    reads = []
    n = 0
    for _ in range(4):
        reads.append(0)
        doubted = ["at first"]
        while doubted:
            n += 1
            reads[-1] += 1
            now = answer(f"04 06 {n:02X} 00 00 00  02 2B {n * 7 % 250:02X} 00")
            doubted = house.meter.answered(now, AT + n, NOW + n, suspect=True).doubted
        assert house.reading("power").fault is None
    assert reads == [5, 5, 5, 5], "of a count no two were equal"


def test_what_came_under_another_name_confirms_nothing() -> None:
    house = House(planned(ENERGY))
    right, name_damaged = energy(1000), answer_of(OTHER_HEAT, "04 06 01 00 00 00")
    for n, told in enumerate((right, name_damaged, right, right, energy(1))):
        house.meter.answered(told, AT + n, NOW + n, suspect=True)
    assert house.reading("energy").value in (None, Decimal(1000)), "1 was never said"


def test_on_a_suspect_line_a_point_is_found_when_its_record_comes_twice() -> None:
    house = House(FOUND)
    told = answer("0C 06 78 56 34 12")
    assert house.meter.answered(told, AT, NOW, suspect=True) == ([], ["heat-1.secondary-address"])
    taken = house.meter.answered(told, AT + 1, NOW + 1, suspect=True)
    assert taken == (["heat-1.energy"], []), "both answers count"
    assert house.reading("energy").value == Decimal(12345678)
    assert house.meter.answered(told, AT + 2, NOW + 2, suspect=True) == ([], [])
    assert house.reading("energy").value == Decimal(12345678)


def test_answers_that_never_have_the_same_records_are_in_doubt_on_a_suspect_line() -> None:
    house = House(planned(ENERGY))
    house.meter.answered(answer("0C 06 78 56 34 12"), AT, NOW)
    strange = [answer("0B 06 78 56 34"), answer("0A 06 78 56"), answer("09 06 78")]
    doubted = [
        house.meter.answered(told, AT + n, NOW + n, suspect=True).doubted
        for n, told in enumerate(strange, 60)
    ]
    assert doubted == [HELD_BACK, HELD_BACK, []], "and no more in this turn"
    assert house.reading("energy") == Reading(Decimal(12345678), AT, Fault.DOUBTED)


@pytest.mark.parametrize(
    ("fault", "value", "why"),
    [
        (Fault.REFUSED, True, None),
        (Fault.UNREADABLE, True, None),
        (Fault.NO_ANSWER, False, None),
        (Fault.FOREIGN_METER, False, None),
        (Fault.DAMAGED, False, None),
        (Fault.NO_CONNECTION, None, Fault.NO_CONNECTION),
        (Fault.INTERNAL, None, Fault.INTERNAL),
    ],
)
def test_it_answers_where_something_came_that_was_its_own(
    fault: Fault, value: bool | None, why: Fault | None
) -> None:
    house = House(planned(ENERGY))
    house.meter.failed(fault, AT)
    assert house.reading("answering").value is value
    assert house.reading("answering").fault is why


class Kept:
    """A keeper that remembers what it was given, and what an earlier run read."""

    def __init__(self, earlier: Mapping[str, Reading] = MappingProxyType({})) -> None:
        self.earlier = earlier
        self.calls: list[tuple[str, list[str]]] = []

    def last(self, point: Point) -> Reading | None:
        return self.earlier.get(point.name)

    def keep(self, meter: str, readings: Mapping[str, Reading]) -> None:
        self.calls.append((meter, list(readings)))


def test_the_readings_of_an_answer_are_kept_in_one_go() -> None:
    kept = Kept()
    meter = MeterPoints(planned(ENERGY, POWER), Store(kept), Ledger(None))
    meter.offer()
    meter.answered(answer("04 06 E8 03 00 00  02 2B 64 00"), AT, NOW)
    assert kept.calls == [
        ("heat-1", ["heat-1.secondary-address"]),
        ("heat-1", ["heat-1.energy", "heat-1.power"]),
    ]


def resumed(read_at: float, **changes: Any) -> tuple[MeterPoints, Store]:
    """A meter whose energy an earlier run read last, as the bridge starts at AT."""
    kept = Kept({"heat-1.energy": Reading(Decimal(1000), read_at, None)})
    store = Store(kept)
    meter = MeterPoints(planned(replace(ENERGY, **changes), POWER, max_age=60), store, Ledger(None))
    meter.offer(AT, NOW)
    return meter, store


def test_after_a_restart_the_last_value_is_served_with_the_age_that_it_has() -> None:
    meter, store = resumed(AT - 50)
    assert store.reading("heat-1.energy") == Reading(Decimal(1000), AT - 50, None)
    assert store.reading("heat-1.last-read").value == datetime.datetime.fromtimestamp(AT - 50)
    assert not meter.expire(NOW + 10)
    assert meter.expire(NOW + 10.1)
    assert store.reading("heat-1.energy") == Reading(Decimal(1000), AT - 50, Fault.TOO_OLD)


@pytest.mark.parametrize("read_at", [AT - 61, AT + 1])
def test_a_value_that_is_too_old_or_of_the_future_is_in_fault_at_once(read_at: float) -> None:
    _, store = resumed(read_at)
    assert store.reading("heat-1.energy") == Reading(Decimal(1000), read_at, Fault.TOO_OLD)


def test_a_fresh_answer_makes_no_old_value_look_fresh() -> None:
    meter, store = resumed(AT - 50)
    meter.answered(answer("04 06 01 00 00 00  02 2B 64 00"), AT + 5, NOW + 5)
    assert meter.expire(NOW + 11)
    assert store.reading("heat-1.energy").fault is Fault.TOO_OLD
    assert store.reading("heat-1.power").fault is None


def test_the_first_answer_after_a_restart_is_held_against_the_last_one_before() -> None:
    meter, store = resumed(AT - 50)
    taken = meter.answered(answer("04 06 01 00 00 00  02 2B 64 00"), AT + 5, NOW + 5)
    assert taken.doubted == ["heat-1.energy"]
    meter.answered(answer("04 06 E9 03 00 00  02 2B 64 00"), AT + 6, NOW + 6)
    assert store.reading("heat-1.energy") == Reading(Decimal(1001), AT + 6, None)


def test_a_value_of_an_earlier_run_that_the_user_no_longer_allows_is_in_fault() -> None:
    _, store = resumed(AT - 50, max_value=Decimal(999))
    assert store.reading("heat-1.energy") == Reading(Decimal(1000), AT - 50, Fault.OVER_RANGE)


@given(data=st.data())
def test_two_damaged_readings_of_three_bring_no_wrong_value_on_a_suspect_line(
    data: st.DataObject,
) -> None:
    house = known_house()
    for n in (900, 901):
        house.meter.answered(energy(1001), AT + n, NOW + n, suspect=True)
    assert house.reading("energy") == Reading(Decimal(1001), AT + 901, None)
    wild = st.one_of(st.integers(0, 900), st.integers(100_000, 2**31 - 1))
    damaged = data.draw(st.lists(wild, min_size=2, max_size=2, unique=True))
    first = data.draw(st.permutations([1002, *damaged]))
    reads = 0
    for count in [*first, 1002, 1002]:
        reads += 1
        now = 1800 + reads
        if not house.meter.answered(energy(count), AT + now, NOW + now, suspect=True).doubted:
            break
    assert house.reading("energy").value in (Decimal(1001), Decimal(1002))
    assert reads <= 5


STORED = PointPlan("stored", Selector(quantity=Quantity.ENERGY, storage=1), Kind.NUMBER)
FLOW = PointPlan("flow-temperature", Selector(quantity=Quantity.FLOW_TEMPERATURE), Kind.NUMBER)


class Truth(NamedTuple):
    """What a meter says at one time."""

    energy: int
    stored: int
    power: int
    temperature: int

    @property
    def data(self) -> bytes:
        """Its answer, from the header on."""
        return encode_header(HEAT, 5) + b"".join(
            bytes.fromhex(block) + value.to_bytes(length, "little")
            for block, length, value in (
                ("04 06", 4, self.energy),
                ("44 06", 4, self.stored),
                ("04 2B", 4, self.power),
                ("02 5A", 2, self.temperature),
            )
        )

    def value(self, point: str) -> Decimal:
        by_name = {  # any other point is none of this meter's
            "energy": Decimal(self.energy),
            "stored": Decimal(self.stored),
            "energy-storage-1": Decimal(self.stored),
            "power": Decimal(self.power).scaleb(-3),
            "flow-temperature": Decimal(self.temperature).scaleb(-1),
        }
        return by_name[point]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), found=st.booleans())
def test_no_value_reaches_the_store_that_the_meter_did_not_say(
    data: st.DataObject, found: bool
) -> None:
    """On a line that shows damage; of three consecutive answers one at most is damaged anywhere."""
    plan = FOUND if found else planned(ENERGY, STORED, replace(POWER, unit=None), FLOW)
    house = House(replace(plan, all_storages=True))
    draw = data.draw
    truth = Truth(draw(st.integers(0, 10**6)), 500, draw(st.integers(0, 9000)), 200)
    said: list[Truth] = []
    before: dict[str, tuple[object, int]] = {}  # and how often the meter had answered by then
    since_damage, now = 2, 0.0
    for _ in range(draw(st.integers(1, 8))):
        now += 60
        for _ in range(6):
            now += 1
            truth = Truth(
                truth.energy + draw(st.integers(0, 5)),
                truth.stored + draw(st.sampled_from([0, 0, 0, 100])),
                draw(st.integers(0, 9000)),
                truth.temperature + draw(st.integers(-2, 2)),
            )
            said.append(truth)
            shown = bytearray(truth.data)
            since_damage += 1
            if since_damage > 2 and draw(st.booleans()):
                since_damage = 0
                for place in draw(st.lists(st.integers(0, len(shown) - 1), min_size=2, max_size=4)):
                    shown[place] = draw(st.integers(0, 255))
            telegram = decode_telegram(LongFrame(0x08, 2, 0x72, bytes(shown)))
            taken = house.meter.answered([telegram], AT + now, NOW + now, suspect=True)
            if not taken.doubted:
                break
            if draw(st.integers(0, 9)) == 0:
                house.meter.undecided(AT + now)
                break
        for point, reading in house.store:
            name = point.name.removeprefix("heat-1.")
            if name in ("answering", "last-read"):
                continue
            if name == "secondary-address":
                assert reading.value in (None, str(HEAT))
                continue
            known, since = before.get(name, (None, 0))
            if reading.value is None or (reading.value, reading.read_at) == known:
                continue
            before[name] = (reading.value, reading.read_at), len(said) - 1
            values = [each.value(name) for each in said[since:]]
            assert isinstance(reading.value, Decimal)
            assert min(values) <= reading.value <= max(values)


@pytest.mark.parametrize(
    ("changes", "doubted"),
    [
        ({"security": Security.DECRYPTED, "message_counter": 7}, []),
        (
            {
                "security": Security.DECRYPTED,
                "message_counter": 7,
                "notes": ("authentication code not checked",),
            },
            ["heat-1.energy"],
        ),
        ({"security": Security.DECRYPTED}, ["heat-1.energy"]),
    ],
)
def test_what_an_authentication_code_proves_needs_no_second_reading(
    changes: dict[str, Any], doubted: list[str]
) -> None:
    house = known_house()
    (telegram,) = energy(900)
    taken = house.meter.answered([telegram._replace(**changes)], AT + 900, NOW + 900, suspect=True)
    assert taken.doubted == doubted
    assert house.reading("energy").value == (1000 if doubted else 900)
