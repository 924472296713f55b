from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from bridge.mbus.address import parse_secondary
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


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_record_that_is_missing_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(planned(ENERGY))
    other = "0C 06 78 56 34 12"  # other records have to come twice
    for records in ("4C 06 01 00 00 00", "4C 06 02 00 00 00", other, other):
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
    cut = "04 13 02 00 00 00  0C 06 79 56"  # other records have to come twice
    for told in (cut, cut, "04 13 03 00 00 00  0C 06 79"):
        house.meter.answered(answer(told), AT, NOW)
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
    for _ in range(2):
        house.meter.answered(answer("04 13 01 00 00 00") + answer("0C 06 79 56"), AT, NOW)
    cut = "telegram 2, byte 12: premature end of record: 0C067956"
    assert messages(caplog)[0].endswith(f"cannot be decoded: {cut}; what is whole is used")
    assert messages(caplog)[1].endswith(f"; perhaps it is in what could not be decoded: {cut}")


def test_an_answer_without_any_record_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(FOUND)
    for records in ("", "", "0C 06 78 56 34 12", "0C 06 78 56 34 12"):
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
    for _ in range(2):
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


def test_what_is_whole_and_cut_by_turns_is_said_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(planned(ENERGY))
    for n in range(0, 7200, 60):
        cut = n // 60 % 2
        records = (
            "04 13 01 00 00 00  0C 06 78 56 34" if cut else "04 13 01 00 00 00  0C 06 78 56 34 12"
        )
        house.meter.answered(answer(records), AT + n, NOW + n)
    said = [message.split(": ")[0] for message in messages(caplog)]
    assert said == [
        *("WARNING heat-1", "WARNING heat-1.energy", "INFO heat-1", "INFO heat-1.energy"),
        *("WARNING heat-1", "INFO heat-1"),
    ], "that the record comes by turns is known by then"


def test_damage_that_passed_the_checksum_is_said_once_an_hour_with_what_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    house = House(planned(ENERGY))
    for n, records in enumerate(["0C 06 78 56 34 12", "0C 06 78 56 34 02"] * 40):
        house.meter.answered(answer(records), AT + n * 60, NOW + n * 60)
    assert messages(caplog) == [
        "INFO heat-1.energy: 2345678 was read, and 12345678 when it was read again: the first "
        "seems to have been damaged on the line, with a checksum that fits by chance; it was not "
        "used (record 0C06)",
        "INFO heat-1.energy: 2345678 was read, and 12345678 when it was read again: the first "
        "seems to have been damaged on the line, with a checksum that fits by chance; it was not "
        "used (record 0C06); 29 more of this meter's since this was last said",
    ]
    assert house.meter.doubts.refuted == 39
