from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.dif import DataField, Function
from bridge.mbus.encode import encode_record
from bridge.mbus.errors import EncodeError
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.walk import decode_records

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
