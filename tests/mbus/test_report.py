from __future__ import annotations

from decimal import Decimal

import pytest
import simplejson
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.crc import checksum
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.report import PlainDecimal, to_csv_rows, to_dict, to_json
from bridge.mbus.table import to_rows
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.words import command_of, format_text


def telegram_of(text: str) -> Telegram:
    return decode_telegram(LongFrame(8, 1, 0x72, bytes.fromhex(text)))


WATER = telegram_of("78563412 2D2C 07 07 05 00 0000 0413 C88F0800")


def test_a_telegram_becomes_this_json() -> None:
    assert to_json(WATER) == (
        '{"control": "08", "address": 1, "ci": "72", "header": {"identification": "12345678", '
        '"manufacturer": "KAM", "maker": "Kamstrup", "model": null, "version": 7, '
        '"device_type": "water", "device_type_code": 7, '
        '"access_number": 5, "status": 0, "configuration": "0000", "encryption": "none"}, '
        '"records": [{"key": "0413", "dib": "04", "vib": "13", "data": "C88F0800", '
        '"function": "instantaneous", "storage": 0, "tariff": 0, "subunit": 0, '
        '"quantity": "volume", "unit": "m3", "value": 561.096, '
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
    assert set(busy) - usual == {"application_error", "application_error_code"}
    assert busy["application_error_code"] == 8
    assert busy["header"] is None
    alarm = to_dict(decode_telegram(LongFrame(8, 1, 0x71, b"\x04")))
    assert set(alarm) - usual == {"alarm"}
    assert alarm["alarm"] == "04"


def test_a_note_and_a_message_counter_are_told() -> None:
    junk = telegram_of("78563412 2D2C 07 07 05 00 FFFF 0413 01000000")
    assert to_dict(junk)["notes"] == ["configuration field FFFF, yet not encrypted"]
    assert to_dict(WATER._replace(message_counter=7))["message_counter"] == 7


def test_a_short_header_has_no_names() -> None:
    report = to_dict(decode_telegram(LongFrame(8, 1, 0x7A, bytes.fromhex("05 10 0000"))))
    assert report["header"] == {
        "identification": None,
        "manufacturer": None,
        "maker": None,
        "model": None,
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


# A volume of 100.000 m3 at the end of 2025, and what was used in each of the three months after.
PROFILE = telegram_of(
    "45331820 7452 0A 07 12 00 00008204 6C 3F3C  8C04 13 00001000  8D04 931F 08 72FE F302 A701 D100"
)


def test_json_has_the_values_of_a_profile() -> None:
    (profile,) = to_dict(PROFILE)["profiles"]
    assert (profile["key"], profile["base"], profile["problems"]) == ("8D04931F", "8C0413", [])
    assert profile["values"][1] == {
        "time": "2026-01-31",
        "value": Decimal("100.755"),
        "invalid": None,
    }


def test_csv_has_a_line_for_each_record_and_each_value_of_a_profile() -> None:
    rows = list(to_csv_rows(PROFILE, 2, "a.hex"))
    assert len(rows) == 3 + 4
    assert rows[1]._asdict() == {
        "file": "a.hex",
        "telegram": 2,
        "address": 1,
        "meter": "20183345-TST-0A-07",
        "key": "8C0413",
        "dib": "8C04",
        "vib": "13",
        "data": "00001000",
        "function": "instantaneous",
        "storage": 8,
        "tariff": 0,
        "subunit": 0,
        "quantity": "volume",
        "modifiers": "",
        "value": "100.000",
        "unit": "m3",
        "invalid": "",
        "time": "",
    }
    # The bytes of the profile are among the data; no spreadsheet shall take them for a number.
    assert (rows[2].data, rows[2].value, rows[2].unit) == ("0872FEF302A701D100", "", "")
    assert rows[6]._replace(data=rows[2].data, value="", unit="", time="") == rows[2]
    assert (rows[6].data, rows[6].value, rows[6].unit) == ("", "101.387", "m3")
    assert rows[6].time == "2026-03-31"


def test_csv_says_why_there_is_no_value() -> None:
    (row,) = to_csv_rows(telegram_of("78563412 2D2C 07 07 05 00 0000 0C06DDDDDDDD"), 1)
    assert (row.value, row.unit, row.invalid) == ("", "Wh", "BCD DDDDDDDD")


def test_a_record_tells_its_summer_time_and_its_leading_zeros() -> None:
    telegram = telegram_of(
        "78563412 2D2C 07 07 05 00 0000046D 058E4933  046D 050E4933  0C78 78560400  0413 01000000"
    )
    summer, winter, number, volume = to_dict(telegram)["records"]
    assert (summer["summer_time"], winter["summer_time"]) == (True, False)
    assert (number["value"], number["text"]) == (45678, "00045678")
    assert not {"summer_time", "text"} & set(volume)


# A Saia-Burgess ALE3, whose VIFEs behind FF name the phase, and whose VIF FF 13 is the tariff.
PHASES = telegram_of("55000019 434C 16 02 05 00 0000  02FDC9FF01 DF00  01FF13 04  01FF14 00")


def test_what_the_makers_own_codes_mean_stands_beside_them() -> None:
    voltage, tariff, unknown = to_dict(PHASES)["records"]
    assert voltage["modifiers"] == ["manufacturer VIFE 01"], "what selects it stays as it is"
    assert voltage["own_meaning"] == {
        "name": "",
        "unit": None,
        "value": None,
        "invalid": None,
        "modifiers": ["L1"],
        "source": "sbc-ale3",
    }
    assert tariff["own_meaning"] == {
        "name": "active tariff",
        "unit": "",
        "value": 4,
        "invalid": None,
        "modifiers": [],
        "source": "sbc-ale3",
    }
    assert "own_meaning" not in unknown


def test_the_makers_unit_and_record_error_count_where_they_are_known() -> None:
    # An ABB B23: VIF FF 59 is the frequency in 0.01 Hz; the last VIFE is a record error.
    abb = telegram_of("78563412 4204 20 02 05 00 0000  02FFD900 8C13  02FFD915 0000")
    assert [row.value for row in to_rows(abb)] == ["50.04 Hz", "no value: no data available"]
    (frequency, missing) = to_dict(abb)["records"]
    assert (frequency["own_meaning"]["value"], frequency["own_meaning"]["unit"]) == (
        Decimal("50.04"),
        "Hz",
    )
    assert missing["own_meaning"]["invalid"] == "no data available"


def test_a_masters_command_is_named_and_is_no_error() -> None:
    selection = decode_telegram(LongFrame(0x53, 253, 0x52, bytes.fromhex("78563412 FFFF FF FF")))
    assert str(command_of(selection)) == "selection of 12345678 (CI 52)"
    report = to_dict(selection)
    assert report["errors"] == []
    assert report["command"] == {
        "name": "selection of slave",
        "meter": "12345678",
        "data": "78563412FFFFFFFF",
    }
    sent = decode_telegram(LongFrame(0x73, 1, 0x51, bytes.fromhex("01 7A 05")))
    assert str(command_of(sent)) == "command of a master: data send (CI 51), with 01 7A 05"
    assert command_of(WATER) is None


def test_what_became_of_an_encryption_is_told() -> None:
    # EN 13757-7, 7.6.5: mode 5, one block.
    telegram = telegram_of("78563412 2D2C 07 07 05 00 1005 00112233445566778899AABBCCDDEEFF")
    assert to_dict(telegram)["security"] == "no_key"
    assert "security" not in to_dict(WATER)


def test_what_the_link_says_is_told() -> None:
    user_data = bytes.fromhex("78563412 2D2C 07 07 05 00 0000")
    assert (
        to_dict(decode_telegram(LongFrame(0x38, 1, 0x72, user_data))).items()
        >= {
            "access_demand": True,
            "data_flow_control": True,
        }.items()
    )
    assert to_dict(decode_telegram(LongFrame(0x53, 1, 0x51, b"")))["from_master"] is True


def test_a_format_frame_tells_its_records() -> None:
    # EN 13757-3, G: one record, 0413.
    block = bytes.fromhex("0413")
    content = bytes((4,)) + checksum(block).to_bytes(2, "little") + block
    report = to_dict(decode_telegram(LongFrame(8, 1, 0x69, content)))
    told = decode_telegram(LongFrame(8, 1, 0x69, content)).format
    assert told is not None
    assert format_text(told) == f"{checksum(block):04X}: 0413"
    assert report["format"] == {"signature": f"{checksum(block):04X}", "records": ["0413"]}


def test_a_plain_decimal_is_a_decimal() -> None:
    assert str(PlainDecimal("1.23E+5")) == "123000"
    assert PlainDecimal("1.23E+5") == Decimal(123_000)


@given(st.binary(max_size=240))
def test_whatever_a_telegram_holds_can_be_told(records: bytes) -> None:
    telegram = decode_telegram(LongFrame(8, 1, 0x78, records))
    report = simplejson.loads(to_json(telegram), use_decimal=True)
    rows = to_rows(telegram)
    assert len(report["records"]) == len(telegram.records)
    assert len(rows) == len(list(to_csv_rows(telegram, 1))) >= len(telegram.records)
    for record, entry in zip(telegram.records, report["records"], strict=True):
        if isinstance(record.value, Decimal):
            assert entry["value"] == record.value


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
