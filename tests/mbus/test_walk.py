from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.record import RecordError
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.walk import decode_records, head_end
from bridge.units import Quantity, Unit


def test_equal_records_are_numbered_from_the_second_on() -> None:
    records = decode_records(bytes.fromhex("01 13 05 01 14 06 01 13 07 01 13 08")).records
    assert [record.key for record in records] == ["0113", "0114", "0113#2", "0113#3"]
    assert [record.ordinal for record in records] == [1, 1, 2, 3]


def test_fillers_are_skipped_wherever_they_stand() -> None:
    found = decode_records(bytes.fromhex("2F 2F 01 13 05 2F 01 14 06 2F 2F"))
    assert [record.key for record in found.records] == ["0113", "0114"]
    assert found.errors == ()


@pytest.mark.parametrize(("dif", "more"), [("0F", False), ("1F", True)])
def test_manufacturer_data_end_the_records(dif: str, more: bool) -> None:
    found = decode_records(bytes.fromhex("01 13 05" + dif + "01 14 06"))
    assert len(found.records) == 1
    assert found.manufacturer_data == bytes.fromhex("01 14 06")
    assert found.more_records_follow is more
    assert decode_records(bytes.fromhex(dif)).manufacturer_data == b""


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("3F 01 02", "reserved DIF 3F"),
        ("4F", "reserved DIF 4F"),
        ("8F 01", "reserved DIF 8F"),
        ("FF", "reserved DIF FF"),
        ("7F 7E", "a request for a global readout, in an answer"),
        ("0D 13 CA 01", "reserved LVAR CA"),
        ("0D 13 F8 00 00 80 3F", "reserved LVAR F8"),
        ("04", "premature end of record"),
        ("84 80", "premature end of record"),
        ("04 93", "premature end of record"),
        ("04 13 01 02 03", "premature end of record"),
        ("0D 13", "premature end of record"),
        ("0D 78 05 41 42", "premature end of record"),
        ("02 7C", "premature end of record"),
        ("02 7C 05 41", "premature end of record"),
        ("02 FC 13 48 52 25 74 B4 16", "premature end of record"),
    ],
)
def test_a_record_without_a_known_end_costs_the_rest_and_nothing_before_it(
    rest: str, reason: str
) -> None:
    found = decode_records(bytes.fromhex("01 13 05" + rest))
    assert [record.value for record in found.records] == [Decimal("0.005")]
    assert found.errors == (RecordError(3, reason, bytes.fromhex(rest)),)


def test_a_record_with_too_many_difes_or_vifes_costs_that_record_only() -> None:
    too_many_difes = "84" + "81" * 10 + "01 13 01 02 03 04"
    too_many_vifes = "04 93" + "BC" * 10 + "3C 01 02 03 04"
    found = decode_records(bytes.fromhex(too_many_difes + "01 13 05" + too_many_vifes + "01 14 06"))
    assert [record.key for record in found.records] == ["0113", "0114"]
    assert [error.reason for error in found.errors] == [
        "11 DIFEs, where 10 may be",
        "11 VIFEs, where 10 may be",
    ]
    assert [error.offset for error in found.errors] == [0, 20]


def test_ten_difes_and_a_mark_for_register_numbers_are_read() -> None:
    found = decode_records(bytes.fromhex("81" + "80" * 10 + "00 13 05"))
    assert found.errors == ()
    assert found.records[0].storage == 0


def test_a_record_without_data_has_no_value_and_says_so() -> None:
    for text in ("00 13", "08 13", "0D 13 C0", "0D 13 E0"):
        (record,) = decode_records(bytes.fromhex(text)).records
        assert (record.value, record.invalid) == (None, "no data")


@pytest.mark.parametrize(
    ("text", "unit", "unit_text", "value"),
    [
        ("02 7C 03 48 52 25 D4 11", Unit.RELATIVE_HUMIDITY, "", "4564"),
        ("02 7C 02 57 50 D4 11", Unit.NONE, "PW", "4564"),
        ("02 7C 02 01 02 D4 11", Unit.NONE, "\x02\x01", "4564"),
        ("02 FC 02 01 02 74 D4 11", Unit.NONE, "\x02\x01", "45.64"),
        ("02 7C 02 43 B0 D4 11", Unit.CELSIUS, "", "4564"),
        ("02 FC 03 48 52 25 74 D4 11", Unit.RELATIVE_HUMIDITY, "", "45.64"),
        ("02 FC 74 03 48 52 25 D4 11", Unit.RELATIVE_HUMIDITY, "", "45.64"),
    ],
)
def test_a_plain_text_unit_is_read_before_and_after_its_vifes(
    text: str, unit: Unit, unit_text: str, value: str
) -> None:
    found = decode_records(bytes.fromhex(text))
    assert found.errors == ()
    (record,) = found.records
    assert record.quantity is Quantity.USER_DEFINED
    assert (record.unit, record.unit_text) == (unit, unit_text)
    assert record.value == Decimal(value)
    assert (record.dib + record.vib + record.data).hex(" ").upper() == text


def test_where_both_places_could_hold_a_text_the_telegram_that_ends_well_decides() -> None:
    # With the text first, 12 is its length, the 33 bytes behind it are a text and four records, and
    # D4 11 is the beginning of a fifth.
    text = bytes.fromhex("02 FC 12 20" + "41" * 32 + "D4 11")
    found = decode_records(text)
    assert found.errors == ()
    (record,) = found.records
    assert (record.unit_text, record.modifiers) == ("A" * 32, ("average",))
    assert record.value == 4564


def test_bcd_of_old_meters_with_two_bytes_for_each_is_read_if_nothing_else_fits() -> None:
    found = decode_records(bytes.fromhex("0D 13 C2 78 56 39 17 01 FD 08 07"))
    assert found.errors == ()
    assert [record.value for record in found.records] == [Decimal("17395.678"), Decimal(7)]


def test_containers_are_bytes_as_on_the_wire() -> None:
    (record,) = decode_records(bytes.fromhex("0D FD 3B 03 01 02 03")).records
    assert record.value == b"\x01\x02\x03"


def test_a_long_number_is_a_number_where_it_counts_and_digits_where_it_does_not() -> None:
    number = bytes(range(16))
    (counter,) = decode_records(b"\x0d\x13\xf0" + number).records
    assert counter.value == Decimal("20011376718272490338853433276725592.320")
    (version,) = decode_records(b"\x0d\xfd\x0c\xf0" + number).records
    assert version.value == "0F0E0D0C0B0A09080706050403020100"


def test_the_largest_number_is_exact() -> None:
    largest = b"\xff" * 63 + b"\x7f"
    (record,) = decode_records(b"\x0d\x10\xf6" + largest).records
    assert isinstance(record.value, Decimal)
    assert format(record.value, "f").replace(".", "") == str(2**511 - 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("02 6C 3F 3C", datetime.date(2025, 12, 31)),
        ("04 6D 05 0E 49 33", datetime.datetime(2026, 3, 9, 14, 5)),
        ("06 6D 1E 05 2E 49 33 0B", datetime.datetime(2026, 3, 9, 14, 5, 30)),
        ("03 6D 1E 05 0E", datetime.time(14, 5, 30)),
        ("02 6D 3F 3C", datetime.date(2025, 12, 31)),
        ("04 FD 30 05 0E 49 33", datetime.datetime(2026, 3, 9, 14, 5)),
        ("02 FD 70 3F 3C", datetime.date(2025, 12, 31)),
        ("02 EC 7E E1 F1", PartialDate(None, 1, 1)),
        ("0D 6D 05 01 02 03 04 05", bytes.fromhex("01 02 03 04 05")),  # type M, like a text
        ("0D 6D 04 36 32 30 32", "2026"),
        ("0D 6D E5 01 02 03 04 05", bytes.fromhex("01 02 03 04 05")),  # type M
        ("04 6C 05 0E 49 33", bytes.fromhex("05 0E 49 33")),
        ("0C 6D 05 0E 49 33", bytes.fromhex("05 0E 49 33")),
        ("04 FD 72 05 0E 49 33", bytes.fromhex("05 0E 49 33")),  # type K
    ],
)
def test_a_date_has_the_type_of_its_length(text: str, value: Value) -> None:
    (record,) = decode_records(bytes.fromhex(text)).records
    assert record.value == value


def test_eight_bytes_of_identification_are_a_secondary_address() -> None:
    (record,) = decode_records(bytes.fromhex("07 79 67 45 23 61 74 52 08 04")).records
    assert record.value == "61234567-TST-08-04"


@given(st.binary(max_size=250))
def test_random_bytes_are_records_and_errors_and_every_byte_is_in_one_of_them(data: bytes) -> None:
    found = decode_records(data)
    kept = sum(len(r.dib) + len(r.vib) + len(r.data) for r in found.records)
    kept += sum(len(error.data) for error in found.errors)
    if found.manufacturer_data is not None:
        kept += 1 + len(found.manufacturer_data)
    assert kept <= len(data)
    assert len(data) - kept <= data.count(0x2F)
    for record in found.records:
        assert (record.value is None) == (record.invalid is not None)
        if isinstance(record.value, Decimal):
            assert record.value.is_finite()


@pytest.mark.parametrize(
    ("text", "text_first", "end"),
    [
        ("0C 06 78 56 34 12", True, 2),
        ("84 10 FD 48 01 00", True, 4),
        ("02 7C 03 48 52 25 D4 11", True, 6),
        ("02 FC 03 48 52 25 74 D4 11", True, 7),
        ("02 FC 74 03 48 52 25 D4 11", False, 7),
        ("02 FC 74 03 48 52 25 D4 11", True, None),  # 74 is taken for the length of the text
        ("0C 06", True, 2),  # a head without data
        ("0C", True, None),
        ("8C", True, None),
        ("0C 86", True, None),
        ("0C 7C 03 41", True, None),
    ],
)
def test_the_head_of_a_record_ends_behind_its_vib(
    text: str, text_first: bool, end: int | None
) -> None:
    assert head_end(bytes.fromhex(text), 0, text_first=text_first) == end
    behind = head_end(b"\x2f" + bytes.fromhex(text), 1, text_first=text_first)
    assert behind == (None if end is None else end + 1)
