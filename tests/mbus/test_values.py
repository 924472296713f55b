from __future__ import annotations

import datetime
import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.errors import EncodeError
from bridge.mbus.values import (
    PartialDate,
    decode_bcd,
    decode_date_f,
    decode_date_g,
    decode_date_i,
    decode_int,
    decode_real,
    decode_text,
    decode_time_j,
    encode_bcd,
    encode_date_f,
    encode_date_g,
    encode_date_i,
    encode_int,
    encode_real,
    encode_text,
    encode_time_j,
    variable_length,
)
from bridge.mbus.vif import Coding


def test_bcd_has_a_minus_sign_in_its_highest_digit() -> None:
    assert decode_bcd(bytes.fromhex("12 00 F0")) == (Decimal(-12), None)
    assert decode_bcd(bytes.fromhex("56 34 12 00")) == (Decimal(123456), None)
    assert decode_bcd(bytes.fromhex("F5")) == (Decimal(-5), None)


@pytest.mark.parametrize("data", ["AB 12", "EE EE", "DD DD DD DD", "FF FF FF", "0F", "FF", "12 E0"])
def test_other_bcd_digits_than_decimal_ones_are_no_number(data: str) -> None:
    value, reason = decode_bcd(bytes.fromhex(data))
    assert value is None
    assert reason == "BCD " + bytes.fromhex(data)[::-1].hex().upper()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6, 8, 64])
def test_the_lowest_integer_and_all_ones_are_no_value(length: int) -> None:
    lowest = bytes(length - 1) + b"\x80"
    assert decode_int(lowest) == (None, "lowest integer")
    assert decode_int(lowest, Coding.UNSIGNED) == (Decimal(1 << 8 * length - 1), None)
    ones = b"\xff" * length
    assert decode_int(ones) == (Decimal(-1), None)
    assert decode_int(ones, Coding.UNSIGNED) == (None, "all ones")
    assert decode_int(ones, Coding.BITS) == (Decimal((1 << 8 * length) - 1), None)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("29 5C CD 40", "6.4175"),
        ("00 00 4C 41", "12.75"),
        ("00 75 28 47", "43125"),
        ("CD CC CC 3D", "0.1"),
        ("00 00 80 3F", "1"),
        ("00 00 00 00", "0"),
        ("FF FF 7F 7F", "340282350000000000000000000000000000000"),
        ("01 00 00 00", "0.000000000000000000000000000000000000000000001"),
        ("28 6B 6E 4E", "1000000000"),
    ],
)
def test_a_real_is_the_shortest_decimal_that_reads_back(data: str, text: str) -> None:
    value, reason = decode_real(bytes.fromhex(data))
    assert value is not None
    assert (format(value, "f"), reason) == (text, None)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_real_reads_back(real: float) -> None:
    data = struct.pack("<f", real)
    value, reason = decode_real(data)
    assert value is not None
    assert reason is None
    assert encode_real(value) == (data if real else bytes(4))  # -0 is 0
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent <= 0


@pytest.mark.parametrize(
    ("real", "reason"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")]
)
def test_a_real_that_is_no_number_is_no_value(real: float, reason: str) -> None:
    assert decode_real(struct.pack("<f", real)) == (None, reason)


@pytest.mark.parametrize(
    ("data", "date"),
    [
        ("3F 3C", datetime.date(2025, 12, 31)),
        ("5C 32", datetime.date(2026, 2, 28)),
        ("E1 F7", PartialDate(None, 7, 1)),
        ("21 AF", PartialDate(1981, None, 1)),
        ("01 A1", datetime.date(2080, 1, 1)),
        ("61 C1", datetime.date(1999, 1, 1)),
        ("E0 FF", PartialDate(None, None, None)),
    ],
)
def test_type_g_is_a_date(data: str, date: datetime.date | PartialDate) -> None:
    assert decode_date_g(bytes.fromhex(data)) == (date, None)
    assert encode_date_g(date) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("FF FF", "all ones"),
        ("00 00", "no date"),
        ("1E 02", "no date: 00-02-30"),
        ("01 0D", "no date: 00-13-01"),
        ("81 C1", "no date: 100-01-01"),
    ],
)
def test_an_impossible_date_is_no_value(data: str, reason: str) -> None:
    assert decode_date_g(bytes.fromhex(data)) == (None, reason)


@pytest.mark.parametrize(
    ("data", "date"),
    [
        ("05 0E 49 33", datetime.datetime(2026, 3, 9, 14, 5)),
        ("32 37 1F 15", datetime.datetime(2008, 5, 31, 23, 50)),
        ("0C 15 A8 22", datetime.datetime(2021, 2, 8, 21, 12)),
        ("05 8E 49 33", datetime.datetime(2026, 3, 9, 14, 5)),  # summer time
        ("3F 1F E1 F1", PartialDate(None, 1, 1, None, None, with_time=True)),
        ("00 00 E0 FF", PartialDate(None, None, None, 0, 0, with_time=True)),
    ],
)
def test_type_f_is_a_date_and_time(data: str, date: datetime.datetime | PartialDate) -> None:
    assert decode_date_f(bytes.fromhex(data)) == (date, None)


@pytest.mark.parametrize("data", ["85 00 41 31", "FF FF FF FF", "3C 00 41 31", "00 18 41 31"])
def test_a_marked_or_impossible_time_is_no_value(data: str) -> None:
    value, reason = decode_date_f(bytes.fromhex(data))
    assert value is None
    assert reason


def test_type_i_is_a_date_and_time_to_the_second() -> None:
    data = bytes.fromhex("1E 05 2E 49 33 0B")
    assert decode_date_i(data) == (datetime.datetime(2026, 3, 9, 14, 5, 30), None)
    assert encode_date_i(datetime.datetime(2026, 3, 9, 14, 5, 30)) == data
    assert decode_date_i(bytes.fromhex("1E 85 2E 49 33 0B")) == (None, "marked invalid")
    assert decode_date_i(bytes.fromhex("3C 05 2E 49 33 0B")) == (None, "no time: 14:05:60")
    every = PartialDate(2026, 3, 9, 14, None, None, with_time=True, with_seconds=True)
    assert decode_date_i(bytes.fromhex("3F 3F 2E 49 33 0B")) == (every, None)


def test_type_j_is_a_time_of_day() -> None:
    assert decode_time_j(bytes.fromhex("1E 05 0E")) == (datetime.time(14, 5, 30), None)
    assert encode_time_j(datetime.time(14, 5, 30)) == bytes.fromhex("1E 05 0E")
    assert decode_time_j(bytes.fromhex("FF FF FF")) == (None, "all ones")
    assert decode_time_j(bytes.fromhex("3C 05 0E")) == (None, "no time: 14:05:60")


def test_open_parts_of_a_date_are_written_as_x() -> None:
    assert str(PartialDate(None, 12, 31)) == "XXXX-12-31"
    assert str(PartialDate(2026, None, None, with_time=True)) == "2026-XX-XXTXX:XX"
    every = PartialDate(2026, 1, None, 3, 4, None, with_time=True, with_seconds=True)
    assert str(every) == "2026-01-XXT03:04:XX"


@given(st.dates(datetime.date(1981, 1, 1), datetime.date(2080, 12, 31)))
def test_every_date_comes_back(date: datetime.date) -> None:
    assert decode_date_g(encode_date_g(date)) == (date, None)


@given(st.datetimes(datetime.datetime(1981, 1, 1), datetime.datetime(2299, 12, 31)))
def test_every_minute_comes_back(date: datetime.datetime) -> None:
    date = date.replace(second=0, microsecond=0)
    assert decode_date_f(encode_date_f(date)) == (date, None)


@given(st.datetimes(datetime.datetime(1981, 1, 1), datetime.datetime(2080, 12, 31)))
def test_every_second_comes_back(date: datetime.datetime) -> None:
    date = date.replace(microsecond=0)
    assert decode_date_i(encode_date_i(date)) == (date, None)


@given(st.binary(min_size=6, max_size=6))
def test_any_bytes_are_a_date_or_none_with_a_reason(data: bytes) -> None:
    for value, reason in (
        decode_date_g(data[:2]),
        decode_time_j(data[:3]),
        decode_date_f(data[:4]),
        decode_date_i(data),
    ):
        assert (value is None) == (reason is not None)


@given(st.integers(-(10**11) + 1, 10**12 - 1))
def test_every_bcd_number_comes_back(number: int) -> None:
    assert decode_bcd(encode_bcd(number, 6)) == (Decimal(number), None)


@given(st.integers(-(2**47) + 1, 2**47 - 1))
def test_every_integer_comes_back(number: int) -> None:
    assert decode_int(encode_int(number, 6)) == (Decimal(number), None)


@given(st.text(st.characters(max_codepoint=255), max_size=191))
def test_every_latin_1_text_comes_back(text: str) -> None:
    data = encode_text(text)
    assert data[0] == len(text)
    assert decode_text(data[1:]) == text


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EncodeError, match="8 BCD digits"):
        encode_bcd(100_000_000, 4)
    with pytest.raises(EncodeError, match="8 BCD digits"):
        encode_bcd(-10_000_000, 4)
    with pytest.raises(EncodeError, match="2 bytes"):
        encode_int(32768, 2)
    with pytest.raises(EncodeError, match="191"):
        encode_text("x" * 192)
    with pytest.raises(EncodeError, match="8859-1"):
        encode_text("€")
    with pytest.raises(EncodeError, match="2081"):
        encode_date_g(datetime.date(2081, 1, 1))
    with pytest.raises(EncodeError, match="too large"):
        encode_real(Decimal("1e39"))


@pytest.mark.parametrize(
    ("lvar", "length"),
    [(0x00, 0), (0xBF, 191), (0xC0, 0), (0xC9, 9), (0xCA, None), (0xD9, 9), (0xDF, None),
     (0xE0, 0), (0xEF, 15), (0xF0, 16), (0xF4, 32), (0xF5, 48), (0xF6, 64), (0xF7, None),
     (0xFF, None)],
)  # fmt: skip
def test_lvar_counts_as_the_standard_says(lvar: int, length: int | None) -> None:
    assert variable_length(lvar) == length
