from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.mbus.fixed import UNITS, Row, decode_fixed, spread
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.units import Quantity, Unit


def telegram_of(text: str) -> Telegram:
    frame = take_frame(bytearray.fromhex(text))
    assert isinstance(frame, LongFrame)
    return decode_telegram(frame)


def test_bcd_counters_of_a_water_meter_actual_and_historic() -> None:
    telegram = telegram_of("68131368080573785634120A00E97E01000000350100003C16")
    assert telegram.header is not None
    assert telegram.header.address is not None
    assert telegram.header.address.identification == "12345678"
    assert telegram.header.address.device_type == 7
    assert telegram.header.access_number == 0x0A
    actual, historic = telegram.records
    assert (actual.quantity, actual.unit) == (Quantity.VOLUME, Unit.CUBIC_METRE)
    assert (actual.value, actual.storage) == (Decimal("0.001"), 0)
    assert (historic.value, historic.storage) == (Decimal("0.135"), 1)
    assert [record.key for record in telegram.records] == ["E9", "7E/1"]


def test_binary_counters_of_a_heat_meter() -> None:
    telegram = telegram_of("68131368080673114700002101055740E2010057000000D116")
    energy, power = telegram.records
    assert (energy.quantity, energy.unit) == (Quantity.ENERGY, Unit.WATT_HOUR)
    assert energy.value == Decimal(123_456_000)
    assert (power.quantity, power.unit) == (Quantity.POWER, Unit.WATT)
    assert power.value == Decimal(87_000)


def test_bit_1_of_the_status_says_that_the_counters_are_stored_ones() -> None:
    data = bytes.fromhex("78563412 0A 02 E9 69 01000000 35010000")
    header, records = decode_fixed(data)
    assert header.status == 2
    assert [record.storage for record in records] == [1, 1]
    assert [record.key for record in records] == ["E9/1", "69/1"]


@pytest.mark.parametrize(
    ("status", "units", "keys"),
    [
        ("00", "E9 E9", ["E9", "E9#2"]),
        ("02", "E9 E9", ["E9/1", "E9/1#2"]),
        ("00", "E9 7E", ["E9", "7E/1"]),
        ("00", "7E 7E", ["7E", "7E/1"]),  # 3E means nothing for counter 1, and is not stored
        ("02", "7E 7E", ["7E/1", "7E/1#2"]),
    ],
)
def test_the_key_of_a_stored_counter_is_another_one(
    status: str, units: str, keys: list[str]
) -> None:
    data = bytes.fromhex(f"78563412 0A {status} {units} 01000000 35010000")
    assert [record.key for record in decode_fixed(data)[1]] == keys


def test_a_binary_counter_can_be_negative_and_the_lowest_number_is_none() -> None:
    _, (negative, none) = decode_fixed(bytes.fromhex("78563412 0A 01 E9 69 FFFFFFFF 00000080"))
    assert negative.value == Decimal("-0.001")
    assert (none.value, none.invalid) == (None, "lowest integer")


def test_digits_above_9_are_no_number_and_f_is_no_sign() -> None:
    _, (first, second) = decode_fixed(bytes.fromhex("78563412 0A 00 E9 69 010000F0 0A000000"))
    assert (first.value, first.invalid) == (None, "BCD F0000001")
    assert (second.value, second.invalid) == (None, "BCD 0000000A")


def test_media_of_mode_2_send_the_most_significant_byte_first() -> None:
    # Medium D: water, mode 2. Low bits 01 in the first byte, high bits 11 in the second.
    header, (first, _) = decode_fixed(bytes.fromhex("78563412 0A 00 69 E9 00001234 00000000"))
    assert header.address is not None
    assert header.address.device_type == 7
    assert first.value == Decimal("1.234")


@pytest.mark.parametrize(
    ("unit", "quantity", "symbol", "one"),
    [
        ("02", "energy", "Wh", "1"),
        ("05", "energy", "Wh", "1000"),
        ("0A", "energy", "Wh", "100000000"),
        ("0B", "energy", "J", "1000"),
        ("13", "energy", "J", "100000000000"),
        ("14", "power", "W", "1"),
        ("1C", "power", "W", "100000000"),
        ("1D", "power", "J/h", "1000"),
        ("25", "power", "J/h", "100000000000"),
        ("26", "volume", "m3", "0.000001"),
        ("2C", "volume", "m3", "1"),
        ("2E", "volume", "m3", "100"),
        ("2F", "volume-flow", "m3/h", "0.000001"),
        ("35", "volume-flow", "m3/h", "1"),
        ("37", "volume-flow", "m3/h", "100"),
        ("38", "unknown", "Cel", "0.001"),
        ("39", "heat-cost-allocation", "HCA", "1"),
        ("3A", "unknown", "", "1"),
        ("3F", "dimensionless", "", "1"),
    ],
)
def test_a_raw_one_is_what_the_table_of_units_says(
    unit: str, quantity: str, symbol: str, one: str
) -> None:
    _, (first, second) = decode_fixed(
        bytes.fromhex(f"78563412 0A 00 {unit} {unit} 01000000 01000000")
    )
    assert (first.quantity, first.unit) == (quantity, symbol)
    assert isinstance(first.value, Decimal)
    assert format(first.value, "f") == one
    assert (first.ordinal, second.ordinal) == (1, 2)


def test_a_time_or_date_is_kept_as_its_bytes() -> None:
    _, (time, date) = decode_fixed(bytes.fromhex("78563412 0A 00 00 01 01020304 05060708"))
    assert (time.quantity, time.value) == (Quantity.DATE_TIME, bytes.fromhex("01020304"))
    assert (date.quantity, date.value) == (Quantity.DATE, bytes.fromhex("05060708"))


def test_the_table_has_all_64_units_and_none_twice() -> None:
    assert sorted(spread(UNITS)) == list(range(64))
    with pytest.raises(ValueError, match="0x05 stands in two rows"):
        spread((Row(0x02, 0x0A, Quantity.ENERGY), Row(0x05, 0x05, Quantity.POWER)))


def test_ci_73_with_fewer_bytes_is_no_compact_frame_and_has_no_header_to_believe() -> None:
    telegram = telegram_of("68121268080173939291901000056931650000690000" + "3F16")
    assert telegram.records == ()
    assert telegram.header is None
    assert telegram.unreadable
    assert telegram.errors[0].reason == (
        "CI 73 (fixed data structure) is not decoded: it wants 16 bytes, but there are 15"
    )


def test_most_significant_byte_first_the_counters_are_the_same() -> None:
    usual = telegram_of("68131368080573785634120A00E97E01000000350100003C16")
    data = bytes.fromhex("12345678 0A 00 E9 7E 00000001 00000135")
    telegram = decode_telegram(LongFrame(8, 5, 0x77, data))
    assert telegram.header == usual.header
    assert telegram.records == usual.records
    assert telegram.notes == (
        "most significant byte first, a withdrawn variant; data are shown in the usual order",
    )


def test_media_of_mode_2_are_not_turned_twice() -> None:
    usual = decode_telegram(
        LongFrame(8, 5, 0x73, bytes.fromhex("78563412 0A 00 69 E9 00001234 00000000"))
    )
    telegram = decode_telegram(
        LongFrame(8, 5, 0x77, bytes.fromhex("12345678 0A 00 69 E9 00001234 00000000"))
    )
    assert telegram.records == usual.records
    assert telegram.records[0].value == Decimal("1.234")
