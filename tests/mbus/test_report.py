from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import decode_records
from bridge.mbus.report import (
    DEVICE_TYPES,
    PlainDecimal,
    device_type_name,
    readable_value,
    to_dict,
    to_json,
    to_rows,
)
from bridge.mbus.telegram import Telegram, decode_telegram


def telegram_of(text: str) -> Telegram:
    return decode_telegram(LongFrame(8, 1, 0x72, bytes.fromhex(text)))


WATER = telegram_of("78563412 2D2C 07 07 05 00 0000 0413 C88F0800")


def test_a_telegram_becomes_this_json() -> None:
    assert to_json(WATER) == (
        '{"control": "08", "address": 1, "ci": "72", "header": {"identification": "12345678", '
        '"manufacturer": "KAM", "version": 7, "device_type": "water", "device_type_code": 7, '
        '"access_number": 5, "status": 0, "configuration": "0000", "encryption": "none"}, '
        '"records": [{"dib": "04", "vib": "13", "function": "instantaneous", "storage": 0, '
        '"tariff": 0, "subunit": 0, "quantity": "volume", "unit": "m3", "value": 561.096, '
        '"modifiers": [], "invalid": null}], "more_records_follow": false, '
        '"manufacturer_data": null, "errors": []}'
    )


@pytest.mark.parametrize(
    ("record", "number"),
    [
        ("0413 E0 8F 08 00", "561.120"),
        ("0C06 23 01 00 00", "123000"),
        ("0413 00 00 00 00", "0.000"),
        ("0410 01 00 00 00", "0.000001"),
        ("04FD40 01 00 00 00", "0.000000001"),
        ("04FB0F 01 00 00 00", "100000000"),
        ("053E 28 6B 6E 4E", "1000000000"),
        ("0B3B 12 00 F0", "-0.012"),
    ],
)
def test_a_number_has_all_its_digits_and_no_exponent(record: str, number: str) -> None:
    telegram = telegram_of("78563412 2D2C 07 07 05 00 0000" + record)
    assert f'"value": {number},' in to_json(telegram)
    # Whoever writes the JSON of the dictionary himself gets the same.
    assert f'"value": {number},' in simplejson.dumps(to_dict(telegram), use_decimal=True)


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ("02 6C 3F 3C", "2025-12-31"),
        ("04 6D 05 0E 49 33", "2026-03-09T14:05:00"),
        ("06 6D 1E 05 2E 49 33 0B", "2026-03-09T14:05:30"),
        ("03 6D 1E 05 0E", "14:05:30"),
        ("02 6C FF FC", "XXXX-12-31"),
        ("0D FD 11 05 4F 4C 4C 45 48", "HELLO"),
        ("0D FD 3B 03 01 AB FF", "01ABFF"),
        ("02 6C FF FF", None),
    ],
)
def test_other_values_are_strings_or_null(record: str, value: str | None) -> None:
    telegram = telegram_of("78563412 2D2C 07 07 05 00 0000" + record)
    (entry,) = simplejson.loads(to_json(telegram))["records"]
    assert entry["value"] == value
    assert (entry["invalid"] is None) == (value is not None)


def test_errors_and_manufacturer_data_are_told() -> None:
    report = to_dict(telegram_of("78563412 2D2C 07 07 05 00 0000 0413 01"))
    assert report["errors"] == [
        {"offset": 12, "reason": "premature end of record", "data": "041301"}
    ]
    report = to_dict(telegram_of("78563412 2D2C 07 07 05 00 0000 1F AB"))
    assert (report["manufacturer_data"], report["more_records_follow"]) == ("AB", True)


def test_what_a_telegram_has_beside_data_is_there_only_if_it_has_it() -> None:
    usual = set(to_dict(WATER))
    busy = to_dict(decode_telegram(LongFrame(8, 1, 0x70, b"\x08")))
    assert set(busy) - usual == {"application_error"}
    assert busy["header"] is None
    alarm = to_dict(decode_telegram(LongFrame(8, 1, 0x71, b"\x04")))
    assert set(alarm) - usual == {"alarm"}
    assert alarm["alarm"] == "04"


def test_a_note_and_a_message_counter_are_told() -> None:
    junk = telegram_of("78563412 2D2C 07 07 05 00 FFFF 0413 01000000")
    assert to_dict(junk)["notes"] == ["configuration field FFFF, yet not encrypted"]
    assert to_dict(replace(WATER, message_counter=7))["message_counter"] == 7


def test_a_short_header_has_no_names() -> None:
    report = to_dict(decode_telegram(LongFrame(8, 1, 0x7A, bytes.fromhex("05 10 0000"))))
    assert report["header"] == {
        "identification": None,
        "manufacturer": None,
        "version": None,
        "device_type": None,
        "device_type_code": None,
        "access_number": 5,
        "status": 16,
        "configuration": "0000",
        "encryption": "none",
    }


def test_a_not_unique_address_has_the_name_of_its_manufacturer() -> None:
    report = to_dict(telegram_of("78563412 2DAC 07 07 05 00 0000"))
    assert report["header"]["manufacturer"] == "KAM"


def test_device_types_have_words() -> None:
    assert [device_type_name(code) for code in (0x02, 0x04, 0x07, 0x16)] == [
        "electricity",
        "heat",
        "water",
        "cold water",
    ]
    assert device_type_name(0x7E) == "reserved"
    assert all(0 <= code < 255 for code in DEVICE_TYPES)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("04 06 40 B0 00 00", "45120 kWh"),
        ("04 03 39 30 00 00", "12.345 kWh"),
        ("04 2B 61 00 00 00", "0.097 kW"),
        ("04 13 C8 8F 08 00", "561.096 m³"),
        ("02 5A 6D 00", "10.9 °C"),
        ("04 22 03 00 00 00", "3 h"),
        ("04 22 30 00 00 00", "2 d"),
        ("01 74 20", "32 s"),
        ("04 20 00 00 00 00", "0 s"),
        ("02 FD 17 00 00", "0"),
        ("02 7C 02 57 50 D4 11", "4564 PW"),
        ("02 6C 3F 3C", "2025-12-31"),
        ("0A 5A EE EE", "none: BCD EEEE"),
    ],
)
def test_a_person_reads_a_value_with_a_usual_unit(record: str, text: str) -> None:
    (decoded,) = decode_records(bytes.fromhex(record)).records
    assert readable_value(decoded) == text


def test_a_row_has_function_place_quantity_value_and_bytes() -> None:
    telegram = telegram_of("78563412 2D2C 07 07 05 00 0000 D4 11 93 3C 01 00 00 00")
    (row,) = to_rows(telegram)
    assert row == ("maximum", "3/1/0", "volume, backward", "0.001 m³", "D411933C01000000")


def test_a_plain_decimal_is_a_decimal() -> None:
    assert str(PlainDecimal("1.23E+5")) == "123000"
    assert PlainDecimal("1.23E+5") == Decimal(123_000)


@given(st.binary(max_size=240))
def test_whatever_a_telegram_holds_can_be_told(records: bytes) -> None:
    telegram = decode_telegram(LongFrame(8, 1, 0x78, records))
    report = simplejson.loads(to_json(telegram), use_decimal=True)
    rows = to_rows(telegram)
    assert len(report["records"]) == len(rows) == len(telegram.records)
    for record, entry in zip(telegram.records, report["records"], strict=True):
        if isinstance(record.value, Decimal):
            assert entry["value"] == record.value


def test_the_longest_duration_is_told_without_rounding() -> None:
    (record,) = decode_records(b"\x0d\x23\xf6" + b"\xff" * 63 + b"\x7f").records
    assert readable_value(record) == f"{2**511 - 1} d"


def test_a_whole_frame_from_the_bus_becomes_json() -> None:
    frame = take_frame(bytearray.fromhex("68131368080573785634120A00E97E01000000350100003C16"))
    assert isinstance(frame, LongFrame)
    report = simplejson.loads(to_json(decode_telegram(frame)), use_decimal=True)
    assert report["ci"] == "73"
    assert report["header"]["device_type"] == "water"
    assert report["header"]["manufacturer"] is None
    assert [record["value"] for record in report["records"]] == [
        Decimal("0.001"),
        Decimal("0.135"),
    ]
