"""The data of a record: integers, BCD, reals, dates, variable length (EN 13757-3, annex A and 6.3).

`decode_value` gives the value and, where there is none, the reason. Nothing is ever rounded: a
number is a `Decimal` of all the digits that the meter sent. The ``encode_`` functions are the other
way round, for simulated meters, for commands, and for tests.
"""

from __future__ import annotations

import datetime
import math
import struct
from dataclasses import dataclass
from decimal import Decimal

from bridge.mbus.address import decode_secondary
from bridge.mbus.dif import LENGTHS, DataField, is_bcd
from bridge.mbus.errors import EncodeError
from bridge.mbus.vif import EXACT, Coding, Vib, exponent_of
from bridge.units import Quantity, Unit


@dataclass(frozen=True, slots=True)
class PartialDate:
    """A date, or a date and time, that stands for many: None is "every".

    A meter says so of a due date that comes again every year, for one. ``str`` writes the open
    parts as X, after ISO 8601-2 (unspecified digits): ``XXXX-12-31``, ``XXXX-XX-01T00:XX``.
    """

    year: int | None
    month: int | None
    day: int | None
    hour: int | None = None
    minute: int | None = None
    second: int | None = None
    with_time: bool = False
    with_seconds: bool = False

    def __str__(self) -> str:
        text = f"{_part(self.year, 4)}-{_part(self.month, 2)}-{_part(self.day, 2)}"
        if self.with_time:
            text += f"T{_part(self.hour, 2)}:{_part(self.minute, 2)}"
        if self.with_seconds:
            text += f":{_part(self.second, 2)}"
        return text


def _part(number: int | None, width: int) -> str:
    return "X" * width if number is None else f"{number:0{width}d}"


TimePoint = datetime.date | datetime.time | datetime.datetime | PartialDate
Value = Decimal | str | bytes | TimePoint | None
Decoded = tuple[Value, str | None]  # the value, or None and why there is none

NO_DATA: Decoded = (None, "no data")

# LVAR, the first byte of variable-length data (EN 13757-3, table 9).
_LVAR_TEXT_LAST = 0xBF
_LVAR_BCD = 0xC0
_LVAR_NEGATIVE_BCD = 0xD0
_LVAR_BCD_MOST = 9  # C0 to C9 and D0 to D9
_LVAR_BINARY = 0xE0
LVAR_LONG_BINARY = 0xF0  # of the integers of 16 to 64 bytes
_LVAR_LONG_LENGTHS = {0xF0: 16, 0xF1: 20, 0xF2: 24, 0xF3: 28, 0xF4: 32, 0xF5: 48, 0xF6: 64}


def variable_length(lvar: int, *, doubled: bool = False) -> int | None:
    """How many bytes follow the LVAR byte; None where it is reserved.

    ``doubled`` reads C1 to C9 and D1 to D9 the way of some old meters, with two bytes where the
    standard has one.
    """
    if lvar <= _LVAR_TEXT_LAST:
        return lvar
    if lvar >= LVAR_LONG_BINARY:
        return _LVAR_LONG_LENGTHS.get(lvar)
    count = lvar & 0x0F
    if lvar >= _LVAR_BINARY:
        return count
    if count > _LVAR_BCD_MOST:
        return None
    return 2 * count if doubled else count


def is_variable_bcd(lvar: int) -> bool:
    """Whether an LVAR byte announces BCD digits, whose length old meters count otherwise."""
    return _LVAR_BCD < lvar < _LVAR_BINARY and lvar & 0x0F > 0


def decode_value(data_field: int, data: bytes, vib: Vib) -> Decoded:
    """The data of a record to its value, in ``vib.unit``.

    Args:
        data_field: what the DIF says of length and coding.
        data: all its bytes, with the LVAR byte where there is one.
        vib: what the VIB says.

    Returns:
        The value and None, or None and the reason in a few words.
    """
    if vib.error is not None:
        return None, vib.error
    if data_field == DataField.VARIABLE:
        return _decode_variable(data, vib)
    if not data:
        return NO_DATA
    coding = vib.coding
    if coding is Coding.RAW:
        return data, None
    if coding is Coding.DATE or coding is Coding.TIME_POINT:
        return _decode_time_point(data_field, data, coding)
    if data_field >= DataField.BCD2:
        # A number that names something is never negative, so its F is no sign.
        number, reason = decode_bcd(data, signed=coding is Coding.SIGNED)
    elif data_field == DataField.REAL32:
        number, reason = decode_real(data)
    elif coding is Coding.ADDRESS and len(data) == 8:
        return str(decode_secondary(data)), None
    else:
        number, reason = decode_int(data, coding)
    return None if number is None else scaled(number, vib), reason


def scaled(number: Decimal, vib: Vib) -> Decimal:
    """What the meter counts, in the unit of the VIB."""
    if vib.scale is not None:
        number = EXACT.multiply(number, vib.scale)
    return number if vib.offset is None else EXACT.add(number, vib.offset)


_OF_UNKNOWN_MEANING = frozenset(
    {Quantity.USER_DEFINED, Quantity.UNKNOWN, Quantity.MANUFACTURER_SPECIFIC, Quantity.ANY}
)


def _names_something(vib: Vib) -> bool:
    return vib.unit is Unit.NONE and (
        vib.coding is Coding.UNSIGNED or vib.quantity in _OF_UNKNOWN_MEANING
    )


def is_counted(data_field: int, lvar: int, vib: Vib) -> bool:
    """Whether the data of such a record are a number that goes up and down by whole steps.

    ``lvar`` is the first byte of data of variable length.
    """
    if vib.coding in (Coding.RAW, Coding.DATE, Coding.TIME_POINT) or vib.error is not None:
        return False
    if data_field == DataField.VARIABLE:
        is_name = lvar >= LVAR_LONG_BINARY and _names_something(vib)
        return lvar >= _LVAR_BCD and not is_name
    if data_field == DataField.INT64 and vib.coding is Coding.ADDRESS:
        return False
    return data_field != DataField.REAL32 and LENGTHS[data_field] > 0


def decode_int(data: bytes, coding: Coding = Coding.SIGNED) -> tuple[Decimal | None, str | None]:
    """Types B, C and D: an integer of 1 to 64 bytes, least significant first."""
    if coding is Coding.SIGNED:
        number = int.from_bytes(data, "little", signed=True)
        if number < 0 and number == -1 << 8 * len(data) - 1:
            return None, "lowest integer"
        return Decimal(number), None
    number = int.from_bytes(data, "little")
    if coding is not Coding.BITS and number == (1 << 8 * len(data)) - 1:
        return None, "all ones"
    return Decimal(number), None


def bcd_digits(data_field: int, data: bytes) -> str | None:
    """All BCD digits of a record's data, with leading zeros; None where the data are no BCD."""
    if is_bcd(data_field):
        return data[::-1].hex()
    if data_field == DataField.VARIABLE and is_variable_bcd(data[0]):
        return data[:0:-1].hex()
    return None


def decode_bcd(data: bytes, *, signed: bool = True) -> tuple[Decimal | None, str | None]:
    """Type A: two digits a byte, least significant byte first.

    With ``signed``, F as the most significant digit is a minus sign.
    """
    digits = data[::-1].hex()
    if digits.isdecimal():
        return Decimal(digits), None
    if signed and digits[0] == "f" and digits[1:].isdecimal():
        return Decimal(-int(digits[1:])), None
    return None, f"BCD {digits.upper()}"


_REAL = struct.Struct("<f")
_SMALLEST_NORMAL_REAL = 1.1754943508222875e-38  # IEEE 754, binary32


def decode_real(data: bytes) -> tuple[Decimal | None, str | None]:
    """Type H: an IEEE 754 real of 32 bits, least significant byte first.

    The decimal is the one with the fewest digits that, rounded to the nearest, gives the same 32
    bits again: 6.4175, where all digits of the binary number would be 6.41750001907348...; those
    beyond the ninth are no measurement of anything.
    """
    (real,) = _REAL.unpack(data)
    if not math.isfinite(real):
        return None, "NaN" if math.isnan(real) else "infinite"
    text = _shortest(real, data)
    number = Decimal(text) if real else Decimal(0)  # -0 is 0
    # A large one comes as 1.23e+08, and shall not read like that.
    if "e+" in text and exponent_of(number) > 0:
        return EXACT.quantize(number, Decimal(1)), None
    return number, None


def _shortest(real: float, data: bytes) -> str:
    """The decimal with the fewest digits that is nearest to no other real than this one."""
    # Every decimal of 6 digits survives binary32, and 9 tell any two reals apart. What a meter has
    # measured seldom has more than 6; what it has computed nearly always has 8 or 9.
    text = f"{real:.7g}"
    if _REAL.pack(float(text)) == data:
        digits = 6 if abs(real) >= _SMALLEST_NORMAL_REAL else 1  # subnormal ones hold fewer
        while _REAL.pack(float(f"{real:.{digits}g}")) != data:
            digits += 1
        return f"{real:.{digits}g}"
    text = f"{real:.8g}"
    return text if _REAL.pack(float(text)) == data else f"{real:.9g}"


def decode_text(data: bytes) -> str:
    """ISO 8859-1, last character first on the wire."""
    return data[::-1].decode("latin-1")


def _decode_variable(data: bytes, vib: Vib) -> Decoded:
    lvar, content = data[0], data[1:]
    if vib.coding is Coding.RAW:
        return content, None
    if lvar <= _LVAR_TEXT_LAST:
        text = decode_text(content)
        is_time = vib.coding is Coding.DATE or vib.coding is Coding.TIME_POINT
        # Type M, whose layout is not known, comes like a text.
        return (content if is_time and not text.isprintable() else text), None
    if vib.coding is Coding.DATE or vib.coding is Coding.TIME_POINT:
        return content, None
    if not content:
        return NO_DATA
    if lvar < _LVAR_BINARY:
        number, reason = decode_bcd(content, signed=False)
        if number is not None and lvar >= _LVAR_NEGATIVE_BCD:
            number = EXACT.minus(number)
    elif lvar >= LVAR_LONG_BINARY and _names_something(vib):
        # A number this long that counts nothing is a version, a signature or a key: digits.
        return content[::-1].hex().upper(), None
    else:
        number, reason = decode_int(content, vib.coding)
    return None if number is None else scaled(number, vib), reason


# Dates. EN 13757-3, annex A: G has two bytes, F four, I six, J three.
_EVERY_YEAR = 127
_EVERY_MONTH = 15
_EVERY_DAY = 0
_EVERY_HOUR = 31
_EVERY_MINUTE = 63
_LAST_YEAR = 99
_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0)  # by the month's four bits
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}  # months, in days
_INVALID = 0x80
_BINARY_FIELDS = (DataField.INT16, DataField.INT24, DataField.INT32, DataField.INT48)


def _decode_time_point(data_field: int, data: bytes, coding: Coding) -> Decoded:
    if data_field not in _BINARY_FIELDS or (coding is Coding.DATE and len(data) != 2):
        return data, None  # no type of this length: kept as it is
    match len(data):
        case 2:
            return decode_date_g(data)
        case 3:
            return decode_time_j(data)
        case 4:
            return decode_date_f(data)
        case _:
            return decode_date_i(data)


def decode_date_g(data: bytes) -> tuple[datetime.date | PartialDate | None, str | None]:
    """Type G, two bytes: a date. Years 0 to 80 are 2000 to 2080, 81 to 99 are 1981 to 1999."""
    value = usual_date_g(data)
    if value is not None:
        return value, None
    if data == b"\xff\xff":
        return None, "all ones"
    return _date(data[0], data[1], _century(data[1] >> 4 << 3 | data[0] >> 5, 0))


def usual_date_g(data: bytes) -> datetime.date | None:
    """Type G where it is one day, and not a 29 February; else None."""
    low, high = data
    digits, month, day = high >> 4 << 3 | low >> 5, high & 0x0F, low & 0x1F
    if digits > _LAST_YEAR or not 0 < day <= _DAYS[month]:
        return None
    return datetime.date(2000 + digits if digits <= 80 else 1900 + digits, month, day)


def decode_date_f(
    data: bytes,
) -> tuple[datetime.datetime | PartialDate | None, str | None]:
    """Type F, four bytes: a date and time, to the minute.

    The summer time bit says only which clock the meter shows; the value is that clock's.
    """
    value = usual_date_f(data)
    if value is not None:
        return value, None
    minute, hour, low, high = data
    if minute & _INVALID:
        return None, "marked invalid"
    year = _century(high >> 4 << 3 | low >> 5, hour >> 5 & 3)
    date, reason = _date(low, high, year)
    return _date_time(date, reason, hour & 0x1F, minute & 0x3F, None)


def usual_date_f(data: bytes) -> datetime.datetime | None:
    """Type F where it is one point in time, and not on a 29 February; else None.

    Nearly all are, and this takes half as long to find out.
    """
    minute, hour, low, high = data
    digits, month, day = high >> 4 << 3 | low >> 5, high & 0x0F, low & 0x1F
    hundreds, hour = hour & 0x60, hour & 0x1F
    if minute > 59 or hour > 23 or digits > _LAST_YEAR or not 0 < day <= _DAYS[month]:
        return None
    year = 1900 + digits + (hundreds >> 5) * 100 if hundreds or digits > 80 else 2000 + digits
    return datetime.datetime(year, month, day, hour, minute)


def decode_date_i(
    data: bytes,
) -> tuple[datetime.datetime | PartialDate | None, str | None]:
    """Type I, six bytes: a date and time, to the second.

    Day of week, week, leap year and summer time are in the data, and not part of the value.
    """
    if data[1] & _INVALID:
        return None, "marked invalid"
    year = data[4] >> 4 << 3 | data[3] >> 5
    date, reason = _date(data[3], data[4], _century(year, 0))
    return _date_time(date, reason, data[2] & 0x1F, data[1] & 0x3F, data[0] & 0x3F)


def decode_time_j(data: bytes) -> tuple[datetime.time | None, str | None]:
    """Type J, three bytes: a time of day, to the second."""
    if data == b"\xff\xff\xff":
        return None, "all ones"
    hour, minute, second = data[2] & 0x1F, data[1] & 0x3F, data[0] & 0x3F
    if hour > 23 or minute > 59 or second > 59:
        return None, f"no time: {hour:02d}:{minute:02d}:{second:02d}"
    return datetime.time(hour, minute, second), None


def _century(year: int, hundreds: int) -> int:
    """The two digits of a year, 0 to 127, and the hundreds since 1900 to a year."""
    if hundreds == 0 and year <= 80:
        return 2000 + year
    return 1900 + 100 * hundreds + year


def _date(low: int, high: int, year: int) -> tuple[datetime.date | PartialDate | None, str | None]:
    day, month = low & 0x1F, high & 0x0F
    year_digits = high >> 4 << 3 | low >> 5
    if day == 0 and month == 0:
        return None, "no date"
    impossible = f"no date: {year_digits:02d}-{month:02d}-{day:02d}"
    every_year, every_month = year_digits == _EVERY_YEAR, month == _EVERY_MONTH
    if (year_digits > _LAST_YEAR and not every_year) or (not 1 <= month <= 12 and not every_month):
        return None, impossible
    if every_year or every_month or day == _EVERY_DAY:
        if day > _LONGEST.get(month, 31):
            return None, impossible
        return PartialDate(
            None if every_year else year,
            None if every_month else month,
            None if day == _EVERY_DAY else day,
        ), None
    try:
        return datetime.date(year, month, day), None
    except ValueError:
        return None, impossible


def _date_time(
    date: datetime.date | PartialDate | None,
    reason: str | None,
    hour: int,
    minute: int,
    second: int | None,
) -> tuple[datetime.datetime | PartialDate | None, str | None]:
    if date is None:
        return None, reason
    every_hour, every_minute = hour == _EVERY_HOUR, minute == _EVERY_MINUTE
    every_second = second == _EVERY_MINUTE
    if (
        (hour > 23 and not every_hour)
        or (minute > 59 and not every_minute)
        or (second is not None and second > 59 and not every_second)
    ):
        clock = f"{hour:02d}:{minute:02d}" + ("" if second is None else f":{second:02d}")
        return None, f"no time: {clock}"
    if isinstance(date, PartialDate) or every_hour or every_minute or every_second:
        return PartialDate(
            date.year,
            date.month,
            date.day,
            None if every_hour else hour,
            None if every_minute else minute,
            None if every_second else second,
            with_time=True,
            with_seconds=second is not None,
        ), None
    return datetime.datetime(date.year, date.month, date.day, hour, minute, second or 0), None


def encode_int(number: int, length: int, *, signed: bool = True) -> bytes:
    """Types B and C: an integer of ``length`` bytes.

    Raises:
        EncodeError: it does not fit.
    """
    try:
        return number.to_bytes(length, "little", signed=signed)
    except OverflowError as error:
        raise EncodeError(f"{number} does not fit in {length} bytes") from error


def encode_bcd(number: int, length: int) -> bytes:
    """Type A: ``length`` bytes of two digits; a minus sign costs the most significant digit.

    Raises:
        EncodeError: it does not fit.
    """
    width = 2 * length
    digits = f"{number:0{width}d}" if number >= 0 else f"f{-number:0{width - 1}d}"
    if len(digits) > width:
        raise EncodeError(f"{number} does not fit in {width} BCD digits")
    return bytes.fromhex(digits)[::-1]


def encode_real(number: Decimal | float) -> bytes:
    """Type H: the real of 32 bits that is nearest to the number.

    Raises:
        EncodeError: it is beyond the largest.
    """
    try:
        return _REAL.pack(float(number))
    except OverflowError as error:
        raise EncodeError(f"{number} is too large for a real of 32 bits") from error


def encode_text(text: str) -> bytes:
    """ISO 8859-1, last character first, with the LVAR byte before it.

    Raises:
        EncodeError: more than 191 characters, or one that ISO 8859-1 has not.
    """
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise EncodeError(f"{text!r} cannot be written in ISO 8859-1") from error
    if len(data) > _LVAR_TEXT_LAST:
        raise EncodeError(f"a text has {_LVAR_TEXT_LAST} characters at most, not {len(data)}")
    return bytes((len(data),)) + data[::-1]


def _date_bytes(date: datetime.date | PartialDate, first: int, last: int) -> tuple[int, int]:
    year = _EVERY_YEAR if date.year is None else date.year % 100
    if date.year is not None and not first <= date.year <= last:
        raise EncodeError(f"the year {date.year} is outside {first} to {last}")
    month = _EVERY_MONTH if date.month is None else date.month
    day = _EVERY_DAY if date.day is None else date.day
    return day | (year & 7) << 5, month | year >> 3 << 4


def encode_date_g(date: datetime.date | PartialDate) -> bytes:
    """Type G: a date of the years 1981 to 2080; open parts become "every".

    Raises:
        EncodeError: another year.
    """
    return bytes(_date_bytes(date, 1981, 2080))


def encode_date_f(date: datetime.datetime | PartialDate, *, summer_time: bool = False) -> bytes:
    """Type F: a date and time of the years 1981 to 2299, to the minute.

    Raises:
        EncodeError: another year.
    """
    low, high = _date_bytes(date, 1981, 2299)
    hundreds = 0 if date.year is None else (date.year - 1900) // 100
    hour = _EVERY_HOUR if date.hour is None else date.hour
    minute = _EVERY_MINUTE if date.minute is None else date.minute
    return bytes((minute, hour | hundreds << 5 | _INVALID * summer_time, low, high))


def encode_date_i(date: datetime.datetime | PartialDate, *, summer_time: bool = False) -> bytes:
    """Type I: a date and time of the years 1981 to 2080, to the second, with weekday and week.

    Raises:
        EncodeError: another year.
    """
    low, high = _date_bytes(date, 1981, 2080)
    weekday = week = leap = 0
    if isinstance(date, datetime.datetime):
        _, week, weekday = date.isocalendar()
        leap = date.year % 4 == 0
    second = _EVERY_MINUTE if date.second is None else date.second
    minute = _EVERY_MINUTE if date.minute is None else date.minute
    hour = _EVERY_HOUR if date.hour is None else date.hour
    return bytes(
        (second | summer_time << 6 | leap << 7, minute, hour | weekday << 5, low, high, week)
    )


def encode_time_j(time: datetime.time) -> bytes:
    """Type J: a time of day, to the second."""
    return bytes((time.second, time.minute, time.hour))
