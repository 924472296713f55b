"""VIF and VIFE, as tables: what a value is, its unit, its power of ten (EN 13757-3, 6.4).

A row of a table reads like the line in the standard, so that a reviewer can lay the two side by
side. ``spread`` gives every code its own row and refuses a table that contradicts itself. The
combinable VIFEs, which refine what the VIF says, are in `bridge.mbus.vife`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal, Inexact
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from bridge.mbus.vife import CODE, MANUFACTURER_SPECIFIC, Effect, decode_vifes
from bridge.units import Quantity, Unit

MAXIMUM_VIFES = 10

# The longest number has 64 bytes, 155 digits; the largest real has 39 and the widest scale 40 more.
# Nothing here may ever round, so rounding is an exception.
EXACT = Context(prec=512, traps=[Inexact])

PLAIN_TEXT = 0x7C  # the VIF whose unit is a text


class Coding(Enum):
    """How the bits of an integer are meant (EN 13757-3, annex A)."""

    SIGNED = "type B"  # the lowest number means: no value
    UNSIGNED = "type C"  # all ones mean: no value
    BITS = "type D"  # every pattern is a value
    DATE = "type G"
    TIME_POINT = "type F, G, I or J, by length"
    RAW = "bytes"
    ADDRESS = "a secondary address where it has 8 bytes, else type C"


class Row(NamedTuple):
    """A row of a VIF table: codes ``first`` to ``first`` + 2 ** ``bits`` - 1."""

    first: int  # lowest code of the row
    bits: int  # how many low bits are n
    quantity: Quantity
    unit: Unit = Unit.NONE
    exponent: int = 0  # power of ten at n = 0
    factor: Decimal = Decimal(1)  # what the standard's unit is in ours
    coding: Coding = Coding.SIGNED


MINUTE = Decimal(60)
HOUR = Decimal(3600)
DAY = Decimal(86400)
KILO, MEGA, GIGA = Decimal(10**3), Decimal(10**6), Decimal(10**9)
TWO_TO_MINUS_12 = Decimal("0.000244140625")


def durations(first: int, quantity: Quantity) -> Iterator[Row]:
    """Four rows, one for each nn: seconds, minutes, hours, days."""
    for nn, factor in enumerate((Decimal(1), MINUTE, HOUR, DAY)):
        yield Row(first + nn, 0, quantity, Unit.SECOND, factor=factor)


def long_durations(first: int, quantity: Quantity) -> Iterator[Row]:
    """Four rows, one for each nn: hours, days, months, years."""
    yield Row(first, 0, quantity, Unit.SECOND, factor=HOUR)
    yield Row(first + 1, 0, quantity, Unit.SECOND, factor=DAY)
    yield Row(first + 2, 0, quantity, Unit.MONTH)
    yield Row(first + 3, 0, quantity, Unit.YEAR)


_Q, _U, _C = Quantity, Unit, Coding

# EN 13757-3, table 10, primary VIFs: E is the extension bit, n the low bits.
PRIMARY = (
    Row(0x00, 3, _Q.ENERGY, _U.WATT_HOUR, -3),  # E000 0nnn
    Row(0x08, 3, _Q.ENERGY, _U.JOULE, 0),  # E000 1nnn
    Row(0x10, 3, _Q.VOLUME, _U.CUBIC_METRE, -6),  # E001 0nnn
    Row(0x18, 3, _Q.MASS, _U.KILOGRAM, -3),  # E001 1nnn
    *durations(0x20, _Q.ON_TIME),  # E010 00nn
    *durations(0x24, _Q.OPERATING_TIME),  # E010 01nn
    Row(0x28, 3, _Q.POWER, _U.WATT, -3),  # E010 1nnn
    Row(0x30, 3, _Q.POWER, _U.JOULE_PER_HOUR, 0),  # E011 0nnn
    Row(0x38, 3, _Q.VOLUME_FLOW, _U.CUBIC_METRE_PER_HOUR, -6),  # E011 1nnn
    Row(0x40, 3, _Q.VOLUME_FLOW, _U.CUBIC_METRE_PER_HOUR, -7, MINUTE),  # E100 0nnn, m3/min
    Row(0x48, 3, _Q.VOLUME_FLOW, _U.CUBIC_METRE_PER_HOUR, -9, HOUR),  # E100 1nnn, m3/s
    Row(0x50, 3, _Q.MASS_FLOW, _U.KILOGRAM_PER_HOUR, -3),  # E101 0nnn
    Row(0x58, 2, _Q.FLOW_TEMPERATURE, _U.CELSIUS, -3),  # E101 10nn
    Row(0x5C, 2, _Q.RETURN_TEMPERATURE, _U.CELSIUS, -3),  # E101 11nn
    Row(0x60, 2, _Q.TEMPERATURE_DIFFERENCE, _U.KELVIN, -3),  # E110 00nn
    Row(0x64, 2, _Q.EXTERNAL_TEMPERATURE, _U.CELSIUS, -3),  # E110 01nn
    Row(0x68, 2, _Q.PRESSURE, _U.BAR, -3),  # E110 10nn
    Row(0x6C, 0, _Q.DATE, coding=_C.DATE),  # E110 1100
    Row(0x6D, 0, _Q.DATE_TIME, coding=_C.TIME_POINT),  # E110 1101
    Row(0x6E, 0, _Q.HEAT_COST_ALLOCATION, _U.HCA, coding=_C.UNSIGNED),  # E110 1110
    *durations(0x70, _Q.AVERAGING_DURATION),  # E111 00nn
    *durations(0x74, _Q.ACTUALITY_DURATION),  # E111 01nn
    Row(0x78, 0, _Q.FABRICATION_NUMBER, coding=_C.UNSIGNED),  # E111 1000
    Row(0x79, 0, _Q.IDENTIFICATION, coding=_C.ADDRESS),  # E111 1001
    Row(0x7A, 0, _Q.BUS_ADDRESS, coding=_C.UNSIGNED),  # E111 1010
    Row(0x7C, 0, _Q.USER_DEFINED),  # E111 1100
    Row(0x7E, 0, _Q.ANY),  # E111 1110
    Row(MANUFACTURER_SPECIFIC, 0, _Q.MANUFACTURER_SPECIFIC),  # E111 1111
)

# EN 13757-3, table 12: main VIFE-code extension, after VIF FD.
FD = (
    Row(0x00, 2, _Q.CREDIT, _U.CURRENCY, -3),  # E000 00nn
    Row(0x04, 2, _Q.DEBIT, _U.CURRENCY, -3),  # E000 01nn
    Row(0x08, 0, _Q.ACCESS_NUMBER, coding=_C.UNSIGNED),
    Row(0x09, 0, _Q.DEVICE_TYPE, coding=_C.UNSIGNED),
    Row(0x0A, 0, _Q.MANUFACTURER, coding=_C.UNSIGNED),
    Row(0x0B, 0, _Q.PARAMETER_SET, coding=_C.UNSIGNED),
    Row(0x0C, 0, _Q.MODEL_VERSION, coding=_C.UNSIGNED),
    Row(0x0D, 0, _Q.HARDWARE_VERSION, coding=_C.UNSIGNED),
    Row(0x0E, 0, _Q.FIRMWARE_VERSION, coding=_C.UNSIGNED),
    Row(0x0F, 0, _Q.SOFTWARE_VERSION, coding=_C.UNSIGNED),
    Row(0x10, 0, _Q.CUSTOMER_LOCATION, coding=_C.UNSIGNED),
    Row(0x11, 0, _Q.CUSTOMER, coding=_C.UNSIGNED),
    Row(0x12, 0, _Q.ACCESS_CODE_USER, coding=_C.UNSIGNED),
    Row(0x13, 0, _Q.ACCESS_CODE_OPERATOR, coding=_C.UNSIGNED),
    Row(0x14, 0, _Q.ACCESS_CODE_SYSTEM_OPERATOR, coding=_C.UNSIGNED),
    Row(0x15, 0, _Q.ACCESS_CODE_DEVELOPER, coding=_C.UNSIGNED),
    Row(0x16, 0, _Q.PASSWORD, coding=_C.UNSIGNED),
    Row(0x17, 0, _Q.ERROR_FLAGS, coding=_C.BITS),
    Row(0x18, 0, _Q.ERROR_MASK, coding=_C.BITS),
    Row(0x19, 0, _Q.SECURITY_KEY, coding=_C.RAW),
    Row(0x1A, 0, _Q.DIGITAL_OUTPUT, coding=_C.BITS),
    Row(0x1B, 0, _Q.DIGITAL_INPUT, coding=_C.BITS),
    Row(0x1C, 0, _Q.BAUDRATE, _U.BAUD, coding=_C.UNSIGNED),
    Row(0x1D, 0, _Q.RESPONSE_DELAY, _U.BIT_TIME, coding=_C.UNSIGNED),
    Row(0x1E, 0, _Q.RETRY, coding=_C.UNSIGNED),
    Row(0x1F, 0, _Q.REMOTE_CONTROL, coding=_C.BITS),
    Row(0x20, 0, _Q.FIRST_STORAGE_NUMBER, coding=_C.UNSIGNED),
    Row(0x21, 0, _Q.LAST_STORAGE_NUMBER, coding=_C.UNSIGNED),
    Row(0x22, 0, _Q.STORAGE_BLOCK_SIZE, coding=_C.UNSIGNED),
    Row(0x23, 0, _Q.TARIFF_DESCRIPTOR, coding=_C.UNSIGNED),
    *durations(0x24, _Q.STORAGE_INTERVAL),  # E010 01nn
    Row(0x28, 0, _Q.STORAGE_INTERVAL, _U.MONTH),
    Row(0x29, 0, _Q.STORAGE_INTERVAL, _U.YEAR),
    Row(0x2A, 0, _Q.OPERATOR_DATA),
    Row(0x2B, 0, _Q.TIME_POINT_SECOND, _U.SECOND),
    *durations(0x2C, _Q.DURATION_SINCE_READOUT),  # E010 11nn
    Row(0x30, 0, _Q.TARIFF_START, coding=_C.TIME_POINT),
    Row(0x31, 0, _Q.TARIFF_DURATION, _U.SECOND, factor=MINUTE),  # E011 00nn, nn = 1 to 3
    Row(0x32, 0, _Q.TARIFF_DURATION, _U.SECOND, factor=HOUR),
    Row(0x33, 0, _Q.TARIFF_DURATION, _U.SECOND, factor=DAY),
    *durations(0x34, _Q.TARIFF_PERIOD),  # E011 01nn
    Row(0x38, 0, _Q.TARIFF_PERIOD, _U.MONTH),
    Row(0x39, 0, _Q.TARIFF_PERIOD, _U.YEAR),
    Row(0x3A, 0, _Q.DIMENSIONLESS),
    Row(0x3B, 0, _Q.DATA_CONTAINER, coding=_C.RAW),
    *durations(0x3C, _Q.TRANSMISSION_PERIOD),  # E011 11nn
    Row(0x40, 4, _Q.VOLTAGE, _U.VOLT, -9),  # E100 nnnn
    Row(0x50, 4, _Q.CURRENT, _U.AMPERE, -12),  # E101 nnnn
    Row(0x60, 0, _Q.RESET_COUNTER),
    Row(0x61, 0, _Q.CUMULATION_COUNTER),
    Row(0x62, 0, _Q.CONTROL_SIGNAL),
    Row(0x63, 0, _Q.DAY_OF_WEEK),
    Row(0x64, 0, _Q.WEEK_NUMBER),
    Row(0x65, 0, _Q.DAY_CHANGE_TIME),
    Row(0x66, 0, _Q.PARAMETER_ACTIVATION, coding=_C.BITS),
    Row(0x67, 0, _Q.SUPPLIER_INFORMATION),
    *long_durations(0x68, _Q.DURATION_SINCE_CUMULATION),  # E110 10pp
    *long_durations(0x6C, _Q.BATTERY_OPERATING_TIME),  # E110 11pp
    Row(0x70, 0, _Q.BATTERY_CHANGE_DATE, coding=_C.TIME_POINT),
    Row(0x71, 0, _Q.RF_LEVEL, _U.DBM),
    Row(0x72, 0, _Q.DAYLIGHT_SAVING, coding=_C.RAW),  # type K
    Row(0x73, 0, _Q.LISTENING_WINDOW, coding=_C.RAW),  # type L
    Row(0x74, 0, _Q.REMAINING_BATTERY_LIFE, _U.SECOND, factor=DAY),
    Row(0x75, 0, _Q.STOP_COUNTER),
    Row(0x76, 0, _Q.MANUFACTURER_CONTAINER, coding=_C.RAW),
)

# EN 13757-3, table 13: second level, after VIF FD and VIFE FD.
FD_FD = (
    Row(0x00, 0, _Q.SELECTED_APPLICATION, coding=_C.UNSIGNED),
    Row(0x02, 0, _Q.REMAINING_BATTERY_LIFE, _U.MONTH),
    Row(0x03, 0, _Q.REMAINING_BATTERY_LIFE, _U.YEAR),
    Row(0x3E, 0, _Q.MOISTURE, _U.PERCENT),
)

# EN 13757-3, table 14: alternate VIFE-code extension, after VIF FB.
FB = (
    Row(0x00, 1, _Q.ENERGY, _U.WATT_HOUR, -1, MEGA),  # E000 000n, MWh
    Row(0x02, 1, _Q.REACTIVE_ENERGY, _U.KILOVAR_HOUR, 0),  # E000 001n
    Row(0x04, 1, _Q.APPARENT_ENERGY, _U.KILOVOLT_AMPERE_HOUR, 0),  # E000 010n
    Row(0x06, 0, _Q.COEFFICIENT_OF_PERFORMANCE, _U.NONE, -1),
    Row(0x08, 1, _Q.ENERGY, _U.JOULE, -1, GIGA),  # E000 100n, GJ
    Row(0x0C, 2, _Q.ENERGY, _U.CALORIE, -1, MEGA),  # E000 11nn, Mcal
    Row(0x10, 1, _Q.VOLUME, _U.CUBIC_METRE, 2),  # E001 000n
    Row(0x14, 2, _Q.REACTIVE_POWER, _U.KILOVAR, -3),  # E001 01nn
    Row(0x18, 1, _Q.MASS, _U.KILOGRAM, 2, KILO),  # E001 100n, t
    Row(0x1A, 1, _Q.RELATIVE_HUMIDITY, _U.RELATIVE_HUMIDITY, -1, coding=_C.UNSIGNED),  # E001 101n
    Row(0x20, 0, _Q.VOLUME, _U.CUBIC_FOOT, 0),
    Row(0x21, 0, _Q.VOLUME, _U.CUBIC_FOOT, -1),
    # Gallons and Fahrenheit: withdrawn in 2004 and 2018, still sent by the meters of before.
    Row(0x22, 0, _Q.VOLUME, _U.US_GALLON, -1),
    Row(0x23, 0, _Q.VOLUME, _U.US_GALLON, 0),
    Row(0x24, 0, _Q.VOLUME_FLOW, _U.US_GALLON_PER_MINUTE, -3),
    Row(0x25, 0, _Q.VOLUME_FLOW, _U.US_GALLON_PER_MINUTE, 0),
    Row(0x26, 0, _Q.VOLUME_FLOW, _U.US_GALLON_PER_HOUR, 0),
    Row(0x28, 1, _Q.POWER, _U.WATT, -1, MEGA),  # E010 100n, MW
    Row(0x2A, 0, _Q.PHASE_VOLTAGE_VOLTAGE, _U.DEGREE, -1),
    Row(0x2B, 0, _Q.PHASE_VOLTAGE_CURRENT, _U.DEGREE, -1),
    Row(0x2C, 2, _Q.FREQUENCY, _U.HERTZ, -3),  # E010 11nn
    Row(0x30, 1, _Q.POWER, _U.JOULE_PER_HOUR, -1, GIGA),  # E011 000n, GJ/h
    Row(0x34, 2, _Q.APPARENT_POWER, _U.KILOVOLT_AMPERE, -3),  # E011 01nn
    Row(0x58, 2, _Q.FLOW_TEMPERATURE, _U.FAHRENHEIT, -3),  # E101 10nn
    Row(0x5C, 2, _Q.RETURN_TEMPERATURE, _U.FAHRENHEIT, -3),  # E101 11nn
    Row(0x60, 2, _Q.TEMPERATURE_DIFFERENCE, _U.FAHRENHEIT_DIFFERENCE, -3),  # E110 00nn
    Row(0x64, 2, _Q.EXTERNAL_TEMPERATURE, _U.FAHRENHEIT, -3),  # E110 01nn
    Row(0x68, 0, _Q.RATING_FACTOR, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # K
    Row(0x69, 0, _Q.OUTPUT_RATING_FACTOR, _U.WATT, coding=_C.UNSIGNED),  # Kq
    Row(0x6A, 0, _Q.COUPLING_FACTOR, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # Kc
    Row(0x6B, 0, _Q.COUPLING_FACTOR_ROOM, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # Kcr
    Row(0x6C, 0, _Q.COUPLING_FACTOR_HEATER, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # Kch
    Row(0x6D, 0, _Q.LOW_TEMPERATURE_FACTOR, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # Kt
    Row(0x6E, 0, _Q.DISPLAY_SCALING_FACTOR, factor=TWO_TO_MINUS_12, coding=_C.UNSIGNED),  # KD
    Row(0x70, 2, _Q.TEMPERATURE_LIMIT, _U.FAHRENHEIT, -3),  # E111 00nn
    Row(0x74, 2, _Q.TEMPERATURE_LIMIT, _U.CELSIUS, -3),  # E111 01nn
    Row(0x78, 3, _Q.CUMULATIVE_MAXIMUM_POWER, _U.WATT, -3),  # E111 1nnn
)


def spread(rows: Iterable[Row]) -> dict[int, Row]:
    """Give every code its own row. Two rows that claim one code are a bug."""
    table: dict[int, Row] = {}
    for row in rows:
        for n in range(1 << row.bits):
            code = row.first + n
            if code in table:
                raise ValueError(f"VIF {code:#04x} stands in two rows")
            if code > CODE:
                raise ValueError(f"VIF {code:#04x} does not fit in seven bits")
            table[code] = row._replace(first=code, bits=0, exponent=row.exponent + n)
    return table


# By what stands before the true VIF to name its table.
_TABLES = {
    b"": spread(PRIMARY),
    b"\xfd": spread(FD),
    b"\xfd\xfd": spread(FD_FD),
    b"\xfb": spread(FB),
    b"\xef": {},  # nothing is allocated there
}
_UNKNOWN = Row(0, 0, Quantity.UNKNOWN)

# Texts of plain-text VIFs that name one of our units, unscaled.
_TEXT_UNITS = {str(unit): unit for unit in Unit} | {
    "°C": Unit.CELSIUS,
    "m³": Unit.CUBIC_METRE,
    "m³/h": Unit.CUBIC_METRE_PER_HOUR,
    "m3/h": Unit.CUBIC_METRE_PER_HOUR,
    "% RH": Unit.RELATIVE_HUMIDITY,
}


class Vib(NamedTuple):
    """What a VIB says.

    ``scale`` is what one of the meter's own units is in ``unit``; None is one. ``offset`` is what
    is added to the scaled number, in ``unit``; None is nothing. ``unit_text`` is the text of a
    plain-text VIF that names none of our units. ``error`` is the record error that the meter
    reports in place of a value.
    """

    quantity: Quantity
    unit: Unit
    unit_text: str
    scale: Decimal | None
    coding: Coding
    modifiers: tuple[str, ...]
    error: str | None
    offset: Decimal | None = None


@lru_cache(maxsize=4096)
def decode_vib(codes: bytes, text: str = "") -> Vib:
    """VIF and VIFEs, without the text of a plain-text VIF, to what they say.

    Unknown codes are never an error: the quantity is then `Quantity.UNKNOWN` and the number stays
    as the meter sent it.
    """
    row, vifes = _find_row(codes)
    if row.quantity is Quantity.MANUFACTURER_SPECIFIC:
        modifiers = tuple(f"manufacturer VIFE {vife & CODE:02X}" for vife in vifes)
        return Vib(row.quantity, row.unit, "", None, row.coding, modifiers, None)
    unit, unit_text = row.unit, ""
    if row.quantity is Quantity.USER_DEFINED:
        unit = _TEXT_UNITS.get(text, Unit.NONE)
        unit_text = "" if unit else text
    refined = decode_vifes(vifes)
    coding, exponent, factor = row.coding, row.exponent, row.factor
    error = refined.error
    offset = None if refined.offset is None else EXACT.multiply(refined.offset, factor)
    match refined.effect:
        # The value is no quantity of the VIF any more: neither its unit, its power of ten, nor a
        # constant in it applies.
        case Effect.COUNT:
            unit, unit_text, coding, exponent, factor = _U.NONE, "", _C.SIGNED, 0, Decimal(1)
            offset = None
        case Effect.DURATION:
            unit, unit_text, coding, exponent = _U.SECOND, "", _C.SIGNED, 0
            factor, offset = refined.duration, None
        case Effect.TIME_POINT:
            unit, unit_text, coding, exponent, factor = _U.NONE, "", _C.TIME_POINT, 0, Decimal(1)
            offset = None
        case Effect.BYTES:
            coding = Coding.RAW
        case Effect.UNSIGNED:
            coding = Coding.UNSIGNED
        case Effect.BITS:
            unit, unit_text, coding, exponent, factor = _U.NONE, "", _C.BITS, 0, Decimal(1)
            offset = None
        case Effect.NON_METRIC if unit:
            # Volumes in gallons or feet, by a table of an annex that is not at hand: the number
            # is no cubic metres, and nothing is better than something wrong.
            unit = Unit.NONE
            error = error or "in non-metric units, whose size is not known"
    return Vib(
        row.quantity,
        unit,
        unit_text,
        scale_of(factor, exponent + refined.exponent),
        coding,
        refined.modifiers,
        error,
        offset,
    )


def split_vib(codes: bytes) -> tuple[bytes, bytes]:
    """The VIF with what names its table before it (FD, FD FD, FB or EF), and the VIFEs after it.

    Args:
        codes: a VIB of at least one byte, without the text of a plain-text VIF.
    """
    length = 1
    while codes[:length] in _TABLES and length < len(codes):
        length += 1
    return codes[:length], codes[length:]


def _find_row(codes: bytes) -> tuple[Row, bytes]:
    """The row of the true VIF, and the VIFEs after it."""
    vif, vifes = split_vib(codes)
    table = _TABLES[vif[:-1]]
    # Where nothing is allocated, nobody knows what the VIFEs mean.
    return table.get(vif[-1] & CODE, _UNKNOWN), vifes if table else b""


def scale_of(factor: Decimal, exponent: int) -> Decimal | None:
    """``factor`` times ten to the ``exponent``; None is one."""
    # A positive exponent becomes zeros, so that 123000 never reads 1.23E+5; and a minute's 60 times
    # 10^-7 has no zero behind the 6, which the meter never sent.
    scale = EXACT.scaleb(factor, exponent).normalize(EXACT)
    if exponent_of(scale) > 0:
        scale = EXACT.quantize(scale, Decimal(1))
    return None if scale == 1 else scale


def exponent_of(number: Decimal) -> int:
    """The power of ten of a finite number's last digit."""
    return int(number.as_tuple().exponent)
