from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.dif import DataField, Function
from bridge.mbus.encode import encode_record
from bridge.mbus.errors import EncodeError
from bridge.mbus.record import RecordError
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.walk import decode_records
from bridge.units import Quantity, Unit


def test_a_record_keeps_its_bytes_and_has_a_key() -> None:
    records = decode_records(bytes.fromhex("0C 06 27 04 85 02 04 13 01 00 00 00")).records
    assert [(r.dib, r.vib, r.data) for r in records] == [
        (b"\x0c", b"\x06", bytes.fromhex("27 04 85 02")),
        (b"\x04", b"\x13", bytes.fromhex("01 00 00 00")),
    ]
    assert [record.key for record in records] == ["0C06", "0413"]


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


PLACES = st.fixed_dictionaries(
    {
        "function": st.sampled_from(Function),
        "storage": st.integers(0, 1000),
        "tariff": st.integers(0, 20),
        "subunit": st.integers(0, 20),
    }
)


@given(
    st.sampled_from(["03", "06", "0E", "13", "16", "3B", "5A", "FB 01", "FD 48", "93 75", "22"]),
    st.sampled_from([DataField.INT32, DataField.BCD8, DataField.INT64, DataField.VARIABLE]),
    st.integers(-9_999_999, 99_999_999),
    PLACES,
)
def test_every_number_that_was_encoded_comes_back(
    vib_text: str, data_field: DataField, raw: int, place: dict[str, int]
) -> None:
    vib = bytes.fromhex(vib_text)
    (one,) = decode_records(b"\x01" + vib + b"\x01").records
    assert isinstance(one.value, Decimal)
    value = raw * one.value
    encoded = encode_record(vib, value, data_field, **place)  # type: ignore[arg-type]
    found = decode_records(encoded)
    assert found.errors == ()
    (record,) = found.records
    assert record.value == value
    assert (record.dib + record.vib + record.data) == encoded
    assert {name: getattr(record, name) for name in place} == place


@pytest.mark.parametrize(
    ("vib", "value", "data_field"),
    [
        ("6C", datetime.date(2025, 12, 31), DataField.INT16),
        ("6D", datetime.datetime(2026, 3, 9, 14, 5), DataField.INT32),
        ("6D", datetime.datetime(2026, 3, 9, 14, 5, 30), DataField.INT48),
        ("6D", datetime.time(14, 5, 30), DataField.INT24),
        ("EC 7E", PartialDate(None, 12, 31), DataField.INT16),
        ("78", "7TST0377001234", DataField.VARIABLE),
        ("FD 3B", b"\x01\x02\x03", DataField.VARIABLE),
        ("5A", Decimal("21.5"), DataField.REAL32),
        ("FC 03 48 52 25 74", Decimal("45.64"), DataField.INT16),
        ("6E", Decimal(4_000_000_000), DataField.INT32),
    ],
)
def test_every_kind_of_value_comes_back(vib: str, value: Value, data_field: DataField) -> None:
    (record,) = decode_records(encode_record(bytes.fromhex(vib), value, data_field)).records
    assert record.value == value
    assert record.invalid is None


@pytest.mark.parametrize(
    ("vib", "data_field", "reason"),
    [
        ("13", DataField.INT32, "lowest integer"),
        ("13", DataField.BCD8, "BCD FFFFFFFF"),
        ("13", DataField.REAL32, "NaN"),
        ("6E", DataField.INT32, "all ones"),
        ("6C", DataField.INT16, "all ones"),
        ("6D", DataField.INT32, "marked invalid"),
        ("13", DataField.NO_DATA, "no data"),
        ("FD 3A", DataField.VARIABLE, "no data"),
    ],
)
def test_no_value_is_encoded_as_the_pattern_that_says_so(
    vib: str, data_field: DataField, reason: str
) -> None:
    encoded = encode_record(bytes.fromhex(vib), None, data_field)
    (record,) = decode_records(encoded).records
    assert (record.value, record.invalid) == (None, reason)


@pytest.mark.parametrize(
    ("vib", "value", "data_field"),
    [
        ("13", Decimal("0.0001"), DataField.INT32),
        ("03", Decimal("0.5"), DataField.INT32),
        ("13", Decimal(100_000), DataField.BCD8),
        ("13", "text", DataField.INT32),
        ("6D", datetime.date(2025, 12, 31), DataField.INT32),
        ("13", b"\x01\x02", DataField.INT32),
        ("6D", datetime.date(2025, 12, 31), DataField.VARIABLE),
        ("03", Decimal(2**127), DataField.VARIABLE),
    ],
)
def test_what_a_record_cannot_say_is_refused(vib: str, value: Value, data_field: DataField) -> None:
    with pytest.raises(EncodeError):
        encode_record(bytes.fromhex(vib), value, data_field)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("0C 78 07 20 18 00", "00182007"),
        ("0E FD 10 01 00 00 00 00 00", "000000000001"),
        ("0D 78 C4 07 20 18 00", "00182007"),
        ("04 78 07 00 00 00", "7"),  # a binary one has no zeros to lose
        ("0D FD 11 05 4F 4C 4C 45 48", "HELLO"),
        ("07 79 78 56 34 12 2D 2C 1B 04", "12345678-KAM-1B-04"),
        ("0C 06 07 20 18 00", None),  # a measured value has no leading zeros
        ("0C 78 DD DD DD DD", None),
        ("02 6C 3F 3C", None),
    ],
)
def test_what_names_something_keeps_its_leading_zeros(content: str, text: str | None) -> None:
    (record,) = decode_records(bytes.fromhex(content)).records
    assert record.text == text


@pytest.mark.parametrize(
    ("content", "summer_time"),
    [
        ("04 6D 05 0E 49 33", False),
        ("04 6D 05 8E 49 33", True),
        ("06 6D 1E 05 2E 49 33 0B", False),
        ("06 6D 5E 05 2E 49 33 0B", True),
        ("02 6C 3F 3C", None),
        ("03 6D 1E 05 0E", None),
        ("04 6D 85 8E 49 33", None),  # marked invalid
        ("04 13 05 8E 49 33", None),
    ],
)
def test_a_date_and_time_says_whether_its_clock_shows_summer_time(
    content: str, summer_time: bool | None
) -> None:
    (record,) = decode_records(bytes.fromhex(content)).records
    assert record.summer_time is summer_time


def test_the_step_of_a_record_is_known_without_its_value() -> None:
    (record,) = decode_records(bytes.fromhex("0C 14 DD DD DD DD")).records
    assert record.value is None
    assert record.step == Decimal("0.01")
