"""Rows of a text table."""

from __future__ import annotations

import pytest

from bridge.mbus.frame import LongFrame
from bridge.mbus.table import readable_value, to_rows
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.walk import decode_records


def telegram_of(text: str) -> Telegram:
    return decode_telegram(LongFrame(8, 1, 0x72, bytes.fromhex(text)))


WATER = telegram_of("78563412 2D2C 07 07 05 00 0000 0413 C88F0800")


# A volume of 100.000 m3 at the end of 2025, and what was used in each of the three months after.
PROFILE = telegram_of(
    "45331820 7452 0A 07 12 00 00008204 6C 3F3C  8C04 13 00001000  8D04 931F 08 72FE F302 A701 D100"
)


# A Saia-Burgess ALE3, whose VIFEs behind FF name the phase, and whose VIF FF 13 is the tariff.
PHASES = telegram_of("55000019 434C 16 02 05 00 0000  02FDC9FF01 DF00  01FF13 04  01FF14 00")


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("04 06 40 B0 00 00", "45120 kWh"),
        ("04 03 39 30 00 00", "12.345 kWh"),
        ("04 2B 61 00 00 00", "0.097 kW"),
        ("04 13 C8 8F 08 00", "561.096 m³"),
        ("02 5A 6D 00", "10.9 °C"),
        ("04 22 03 00 00 00", "3 h"),
        ("04 22 30 00 00 00", "48 h"),
        ("04 23 30 00 00 00", "48 d"),
        ("02 71 5A 00", "90 min"),
        ("05 22 00 00 48 42", "180000 s"),  # a real says nothing of the meter's own unit
        ("01 74 20", "32 s"),
        ("04 20 00 00 00 00", "0 s"),
        ("02 FD 17 00 00", "0"),
        ("02 7C 02 57 50 D4 11", "4564 PW"),
        ("02 6C 3F 3C", "2025-12-31"),
        ("0C 78 78 56 04 00", "00045678"),
        ("0D 7C 02 57 50 02 42 41", "AB PW"),
        ("0A 5A EE EE", "no value: BCD digits EEEE"),
        ("05 5B 00 00 C0 7F", "no value: NaN"),
    ],
)
def test_a_person_reads_a_value_with_a_usual_unit(record: str, text: str) -> None:
    (decoded,) = decode_records(bytes.fromhex(record)).records
    assert readable_value(decoded) == text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("0C 05 20 01 00 00", "12.0 kWh"),  # the meter counts 0.1 kWh
        ("0C 07 23 01 00 00", "1230 kWh"),
        ("04 04 00 00 00 00", "0.00 kWh"),
        ("04 13 C0 8F 08 00", "561.088 m³"),
        ("04 13 E0 8F 08 00", "561.120 m³"),
        ("05 2B 00 00 48 42", "0.05 kW"),  # a real: its zeros say nothing
        ("05 2B 00 00 00 00", "0 kW"),
    ],
)
def test_a_number_has_the_digits_that_the_meter_has_in_every_unit(record: str, text: str) -> None:
    (decoded,) = decode_records(bytes.fromhex(record)).records
    assert readable_value(decoded) == text


def test_a_row_has_bytes_meaning_and_value() -> None:
    telegram = telegram_of("78563412 2D2C 07 07 05 00 0000 D4 11 93 3C 01 00 00 00")
    (row,) = to_rows(telegram)
    assert row == ("D411 933C 01000000", "maximum", "3", "1", "", "volume", "backward", "0.001 m³")


def test_what_no_record_has_is_no_column() -> None:
    (row,) = to_rows(WATER)
    assert (row.storage, row.tariff, row.subunit, row.modifiers) == ("", "", "", "")


def test_the_values_of_a_profile_stand_below_it() -> None:
    rows = to_rows(PROFILE)
    assert [row.value for row in rows[1:3]] == ["100.000 m³", "4 values"]
    assert [(row.modifiers, row.value) for row in rows[3:]] == [
        ("2025-12-31", "100.000 m³"),
        ("2026-01-31", "100.755 m³"),
        ("2026-02-28", "101.178 m³"),
        ("2026-03-31", "101.387 m³"),
    ]
    assert all(row.data == row.quantity == "" for row in rows[3:])


def test_what_the_makers_own_codes_mean_stands_in_brackets_in_the_table() -> None:
    rows = [(row.quantity, row.modifiers, row.value) for row in to_rows(PHASES)]
    assert rows == [
        ("voltage", "manufacturer VIFE 01 (L1)", "223 V"),
        ("manufacturer-specific (active tariff)", "manufacturer VIFE 13", "4"),
        ("manufacturer-specific", "manufacturer VIFE 14", "0"),
    ]


def test_the_longest_duration_is_told_without_rounding() -> None:
    (record,) = decode_records(b"\x0d\x23\xf6" + b"\xff" * 63 + b"\x7f").records
    assert readable_value(record) == f"{2**511 - 1} d"
