from __future__ import annotations

import datetime
from decimal import Decimal

import pytest

from bridge.mbus.record import DataRecord
from bridge.mbus.vife import OVERFLOW, UNDERFLOW, Effect, Row, decode_vifes, spread
from bridge.mbus.walk import decode_records
from bridge.units import Quantity, Unit


def record_of(text: str) -> DataRecord:
    found = decode_records(bytes.fromhex(text))
    assert found.errors == ()
    (record,) = found.records
    return record


def test_factors_multiply() -> None:
    assert record_of("02 93 75 E8 03").value == Decimal("0.1000")  # 1 l x 10^-1
    assert record_of("02 93 7D E8 03").value == Decimal("1000")  # 1 l x 10^3
    assert record_of("02 93 F0 F0 7D E8 03").value == Decimal("0.000000001000")


def test_labels_gather_in_their_order() -> None:
    record = record_of("04 A9 BC FC 01 D2 04 00 00")
    assert record.modifiers == ("backward", "L1")
    assert record.value == Decimal("12.34")


@pytest.mark.parametrize(
    ("vife", "label"),
    [
        ("12", "average"),
        ("22", "per hour"),
        ("3A", "uncorrected"),
        ("3B", "forward"),
        ("3C", "backward"),
        ("3E", "base conditions"),
        ("40", "lower limit"),
        ("48", "upper limit"),
        ("69", "leakage"),
        ("6D", "overflow"),
        ("7E", "future"),
        ("FC 05", "L1-L2"),
        ("FC 10", "absolute"),
        ("44", "reserved VIFE 44"),
        ("FC 7F", "reserved VIFE FC 7F"),
        ("7C", "reserved VIFE FC"),
    ],
)
def test_a_label_changes_nothing_but_the_label(vife: str, label: str) -> None:
    record = record_of("02 93" + vife + "E8 03")
    assert record.modifiers == (label,)
    assert (record.value, record.unit) == (Decimal("1.000"), Unit.CUBIC_METRE)


@pytest.mark.parametrize("vife", ["41", "49"])
def test_a_number_of_exceeds_is_a_count_and_not_bar(vife: str) -> None:
    record = record_of("01 E9" + vife + "04")
    assert (record.quantity, record.unit) == (Quantity.PRESSURE, Unit.NONE)
    assert str(record.value) == "4"


@pytest.mark.parametrize(
    ("vife", "seconds"),
    [("50", 3), ("55", 180), ("5A", 10800), ("5F", 259200), ("60", 3), ("67", 259200)],
)
def test_a_duration_of_an_exceed_is_seconds_and_not_bar(vife: str, seconds: int) -> None:
    record = record_of("02 E9" + vife + "03 00")
    assert (record.value, record.unit) == (Decimal(seconds), Unit.SECOND)


@pytest.mark.parametrize("vife", ["39", "42", "43", "46", "47", "4A", "4F", "6A", "6F", "FC 13"])
def test_a_point_in_time_is_a_date_whatever_the_vif_counts(vife: str) -> None:
    assert record_of("02 93" + vife + "3F 3C").value == datetime.date(2025, 12, 31)
    record = record_of("04 AB" + vife + "05 0E 49 33")
    assert record.value == datetime.datetime(2026, 3, 9, 14, 5)
    assert record.unit is Unit.NONE


def test_the_limit_dates_name_first_and_last_lower_and_upper() -> None:
    labels = {code: decode_vifes(bytes((code,))).modifiers[0] for code in (0x42, 0x47, 0x4A, 0x4F)}
    assert labels == {
        0x42: "begin of first exceed of lower limit",
        0x47: "end of last exceed of lower limit",
        0x4A: "begin of first exceed of upper limit",
        0x4F: "end of last exceed of upper limit",
    }


def test_type_c_and_type_d_change_the_sign() -> None:
    assert record_of("01 AB 3B FE").value == -2
    assert record_of("01 AB FC 11 FE").value == 254
    assert record_of("01 AB FC 11 FF").invalid == "all ones"
    assert record_of("01 AB FC 12 FF").value == 255


@pytest.mark.parametrize(
    ("vife", "reason"),
    [
        ("02", "storage number not implemented"),
        ("08", "reserved record error 08"),
        ("15", "no data available"),
        ("16", OVERFLOW),
        ("17", UNDERFLOW),
        ("18", "data error"),
        ("1C", "premature end of record"),
    ],
)
def test_a_record_error_is_the_reason_why_there_is_no_value(vife: str, reason: str) -> None:
    for text in (f"00 93 {vife}", f"02 93 {vife} 00 00", f"04 FD C8 {vife} 01 00 00 00"):
        record = record_of(text)
        assert (record.value, record.invalid) == (None, reason)


def test_record_error_00_is_none() -> None:
    record = record_of("02 93 00 E8 03")
    assert (record.value, record.modifiers, record.invalid) == (Decimal("1.000"), (), None)


def test_a_number_in_units_of_unknown_size_is_no_value() -> None:
    record = record_of("02 93 3D E8 03")
    assert (record.value, record.unit) == (None, Unit.NONE)
    assert record.invalid == "in non-metric units, whose size is not known"


def test_vifes_of_the_manufacturer_are_told_as_they_are() -> None:
    assert record_of("04 FF 21 05 00 00 00").modifiers == ("manufacturer VIFE 21",)
    record = record_of("04 A9 FF 81 00 D2 04 00 00")
    assert record.modifiers == ("manufacturer VIFE 01", "manufacturer VIFE 00")
    assert (record.quantity, record.value) == (Quantity.POWER, Decimal("12.34"))


def test_a_profile_is_bytes() -> None:
    record = record_of("8D 04 93 1F 08 72 FE F3 02 A7 01 D1 00")
    assert record.value == bytes.fromhex("72 FE F3 02 A7 01 D1 00")
    assert record.modifiers == ("compact profile",)


def test_a_table_that_contradicts_itself_is_refused() -> None:
    rows = (Row(0x70, 3, "", Effect.FACTOR, -6), Row(0x74, 0, "twice"))
    with pytest.raises(ValueError, match="0x74 stands in two rows"):
        spread(rows)


@pytest.mark.parametrize(
    ("record", "value", "unit", "label"),
    [
        ("02 93 7B E8 03", "2.000", Unit.CUBIC_METRE, "additive correction 1"),
        ("02 93 78 E8 03", "1.001", Unit.CUBIC_METRE, "additive correction 0.001"),
        ("02 DA 79 C8 00", "20.01", Unit.CELSIUS, "additive correction 0.01"),
        # The unit of the VIF is the megawatt hour, so a tenth of it is 100 kWh.
        ("01 FB 81 7A 02", "2100000", Unit.WATT_HOUR, "additive correction 0.1"),
        # A cubic metre a minute is sixty an hour.
        ("01 C7 7B 02", "180", Unit.CUBIC_METRE_PER_HOUR, "additive correction 1"),
    ],
)
def test_an_additive_correction_is_added_in_the_unit_of_the_vif(
    record: str, value: str, unit: Unit, label: str
) -> None:
    said = record_of(record)
    assert said.value == Decimal(value)
    assert said.unit is unit
    assert said.modifiers == (label,)


def test_corrections_multiply_first_and_add_then() -> None:
    assert record_of("02 93 F9 73 E8 03").value == Decimal("0.011")
    assert record_of("02 93 F3 F9 7A E8 03").value == Decimal("0.111")


def test_a_count_and_a_duration_are_not_corrected_by_a_constant_of_another_unit() -> None:
    assert record_of("01 E9 C1 7B 04").value == 4
    assert record_of("01 E9 DA 7B 04").value == 4 * 3600
