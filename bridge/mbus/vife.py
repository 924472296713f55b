"""The combinable VIFEs: what refines a VIF (EN 13757-3, 6.4.7, tables 15 to 18).

They may come in any order and number. Factors multiply; labels gather; some change what the value
itself is: a count, a duration, a point in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import Enum
from typing import NamedTuple


class Effect(Enum):
    """What a combinable VIFE does to the value."""

    LABEL = "is told about"
    FACTOR = "is multiplied"
    OFFSET = "is corrected by a constant"
    COUNT = "is a count, without the VIF's unit"
    DURATION = "is a duration"
    TIME_POINT = "is a date, or a date and time"
    BYTES = "is a sequence of bytes"
    UNSIGNED = "is of type C"
    BITS = "is of type D"
    NON_METRIC = "is in units that are not metric"


class Row(NamedTuple):
    """A row of the table: codes ``first`` to ``first`` + 2 ** ``bits`` - 1, all with one label."""

    first: int
    bits: int
    label: str
    effect: Effect = Effect.LABEL
    exponent: int = 0  # of a factor or an offset: power of ten at n = 0
    duration: Decimal = Decimal(1)  # of a duration: its unit in seconds


CODE = 0x7F  # of a VIF or VIFE, without the extension bit
EXTENSION_TABLE = 0x7C  # the next VIFE is from the extension table
MANUFACTURER_SPECIFIC = 0x7F  # the VIF, and the VIFE: all codes after it are the maker's own


def durations(first: int, label: str) -> Iterator[Row]:
    """Four rows, one for each nn: seconds, minutes, hours, days."""
    for nn, seconds in enumerate((1, 60, 3600, 86400)):
        yield Row(first + nn, 0, label, Effect.DURATION, duration=Decimal(seconds))


# EN 13757-3, table 15. From 00 to 1C a slave reports record errors, see RECORD_ERRORS.
COMBINABLE = (
    Row(0x12, 0, "average"),
    Row(0x13, 0, "inverse compact profile", Effect.BYTES),
    Row(0x14, 0, "relative deviation"),
    Row(0x1D, 0, "standard conform data content"),
    Row(0x1E, 0, "compact profile with register numbers", Effect.BYTES),
    Row(0x1F, 0, "compact profile", Effect.BYTES),
    Row(0x20, 0, "per second"),
    Row(0x21, 0, "per minute"),
    Row(0x22, 0, "per hour"),
    Row(0x23, 0, "per day"),
    Row(0x24, 0, "per week"),
    Row(0x25, 0, "per month"),
    Row(0x26, 0, "per year"),
    Row(0x27, 0, "per revolution or measurement"),
    Row(0x28, 0, "per input pulse on channel 0"),
    Row(0x29, 0, "per input pulse on channel 1"),
    Row(0x2A, 0, "per output pulse on channel 0"),
    Row(0x2B, 0, "per output pulse on channel 1"),
    Row(0x2C, 0, "per litre"),
    Row(0x2D, 0, "per m3"),
    Row(0x2E, 0, "per kg"),
    Row(0x2F, 0, "per K"),
    Row(0x30, 0, "per kWh"),
    Row(0x31, 0, "per GJ"),
    Row(0x32, 0, "per kW"),
    Row(0x33, 0, "per K l"),
    Row(0x34, 0, "per V"),
    Row(0x35, 0, "per A"),
    Row(0x36, 0, "times s"),
    Row(0x37, 0, "times s per V"),
    Row(0x38, 0, "times s per A"),
    Row(0x39, 0, "start", Effect.TIME_POINT),
    Row(0x3A, 0, "uncorrected"),
    Row(0x3B, 0, "forward"),
    Row(0x3C, 0, "backward"),
    Row(0x3D, 0, "non-metric", Effect.NON_METRIC),
    Row(0x3E, 0, "base conditions"),
    Row(0x3F, 0, "OBIS declaration"),
    Row(0x40, 0, "lower limit"),
    Row(0x41, 0, "number of exceeds of lower limit", Effect.COUNT),
    Row(0x42, 0, "begin of first exceed of lower limit", Effect.TIME_POINT),
    Row(0x43, 0, "end of first exceed of lower limit", Effect.TIME_POINT),
    Row(0x46, 0, "begin of last exceed of lower limit", Effect.TIME_POINT),
    Row(0x47, 0, "end of last exceed of lower limit", Effect.TIME_POINT),
    Row(0x48, 0, "upper limit"),
    Row(0x49, 0, "number of exceeds of upper limit", Effect.COUNT),
    Row(0x4A, 0, "begin of first exceed of upper limit", Effect.TIME_POINT),
    Row(0x4B, 0, "end of first exceed of upper limit", Effect.TIME_POINT),
    Row(0x4E, 0, "begin of last exceed of upper limit", Effect.TIME_POINT),
    Row(0x4F, 0, "end of last exceed of upper limit", Effect.TIME_POINT),
    *durations(0x50, "duration of first exceed of lower limit"),
    *durations(0x54, "duration of last exceed of lower limit"),
    *durations(0x58, "duration of first exceed of upper limit"),
    *durations(0x5C, "duration of last exceed of upper limit"),
    *durations(0x60, "duration of first"),
    *durations(0x64, "duration of last"),
    Row(0x68, 0, "during exceed of lower limit"),
    Row(0x69, 0, "leakage"),
    Row(0x6A, 0, "begin of first", Effect.TIME_POINT),
    Row(0x6B, 0, "end of first", Effect.TIME_POINT),
    Row(0x6C, 0, "during exceed of upper limit"),
    Row(0x6D, 0, "overflow"),
    Row(0x6E, 0, "begin of last", Effect.TIME_POINT),
    Row(0x6F, 0, "end of last", Effect.TIME_POINT),
    Row(0x70, 3, "", Effect.FACTOR, -6),  # E111 0nnn
    Row(0x78, 2, "", Effect.OFFSET, -3),  # E111 10nn
    Row(0x7D, 0, "", Effect.FACTOR, 3),
    Row(0x7E, 0, "future"),
)

# EN 13757-3, table 16: extension of the combinable VIFEs, after VIFE FC.
EXTENDED = (
    Row(0x01, 0, "L1"),
    Row(0x02, 0, "L2"),
    Row(0x03, 0, "L3"),
    Row(0x04, 0, "N"),
    Row(0x05, 0, "L1-L2"),
    Row(0x06, 0, "L2-L3"),
    Row(0x07, 0, "L3-L1"),
    Row(0x08, 0, "quadrant 1"),
    Row(0x09, 0, "quadrant 2"),
    Row(0x0A, 0, "quadrant 3"),
    Row(0x0B, 0, "quadrant 4"),
    Row(0x0C, 0, "delta between import and export"),
    Row(0x0D, 0, "non-metric", Effect.NON_METRIC),
    Row(0x0E, 0, "secondary sensor"),
    Row(0x0F, 0, "higher resolution"),
    Row(0x10, 0, "absolute"),
    Row(0x11, 0, "", Effect.UNSIGNED),
    Row(0x12, 0, "", Effect.BITS),
    Row(0x13, 0, "end", Effect.TIME_POINT),
    Row(0x14, 0, "to meter"),
    Row(0x15, 0, "from meter"),
)

OVERFLOW = "data overflow"
UNDERFLOW = "data underflow"

# EN 13757-3, table 17: record errors, from slave to master. 00 is none.
RECORD_ERRORS = {
    0x01: "too many DIFEs",
    0x02: "storage number not implemented",
    0x03: "subunit not implemented",
    0x04: "tariff not implemented",
    0x05: "function not implemented",
    0x06: "data class not implemented",
    0x07: "data size not implemented",
    0x0B: "too many VIFEs",
    0x0C: "illegal VIF group",
    0x0D: "illegal VIF exponent",
    0x0E: "VIF and DIF do not match",
    0x0F: "action not implemented",
    0x15: "no data available",
    0x16: OVERFLOW,
    0x17: UNDERFLOW,
    0x18: "data error",
    0x1C: "premature end of record",
}
LAST_RECORD_ERROR = 0x1C


def spread(rows: Iterable[Row]) -> dict[int, Row]:
    """Give every code its own row. Two rows that claim one code are a bug."""
    table: dict[int, Row] = {}
    for row in rows:
        for n in range(1 << row.bits):
            code = row.first + n
            if code in table:
                raise ValueError(f"VIFE {code:#04x} stands in two rows")
            table[code] = row._replace(first=code, bits=0, exponent=row.exponent + n)
    return table


_COMBINABLE, _EXTENDED = spread(COMBINABLE), spread(EXTENDED)


class Refinement(NamedTuple):
    """What all VIFEs of a record say together.

    ``effect`` is what the value itself becomes, LABEL where it stays what the VIF says.
    ``exponent`` is the power of ten of all factors. ``offset`` is the sum of all additive
    corrections, in the unit of the VIF without its power of ten; None where there is none.
    ``duration`` is the unit of a duration, in seconds. ``error`` is the record error.
    """

    modifiers: tuple[str, ...]
    effect: Effect
    exponent: int
    duration: Decimal
    error: str | None
    offset: Decimal | None = None


_NOTHING = Refinement((), Effect.LABEL, 0, Decimal(1), None)


def decode_vifes(vifes: bytes) -> Refinement:
    """All combinable VIFEs of a record, as a slave sends them, to what they say together."""
    if not vifes:
        return _NOTHING
    modifiers: list[str] = []
    effect, exponent, duration, error = Effect.LABEL, 0, Decimal(1), None
    offset: Decimal | None = None
    codes = iter(vifes)
    for vife in codes:
        code = vife & CODE
        if code == MANUFACTURER_SPECIFIC:
            own = [f"manufacturer VIFE {rest & CODE:02X}" for rest in codes]
            # Alone it still says that this is not the plain quantity.
            modifiers += own or ["manufacturer specific"]
            break
        row = _COMBINABLE.get(code)
        if code == EXTENSION_TABLE:
            extended = next(codes, None)
            row = None if extended is None else _EXTENDED.get(extended & CODE)
            if row is None:
                modifiers.append(
                    "reserved VIFE FC" if extended is None else f"reserved VIFE FC {extended:02X}"
                )
                continue
        if row is None:
            if code == 0:
                continue
            if code <= LAST_RECORD_ERROR:
                error = RECORD_ERRORS.get(code, f"reserved record error {code:02X}")
            else:
                modifiers.append(f"reserved VIFE {code:02X}")
            continue
        if row.label:
            modifiers.append(row.label)
        if row.effect is Effect.FACTOR:
            exponent += row.exponent
        elif row.effect is Effect.OFFSET:
            constant = Decimal(1).scaleb(row.exponent)
            offset = constant if offset is None else offset + constant
            modifiers.append(f"additive correction {constant}")
        elif row.effect is not Effect.LABEL:
            effect, duration = row.effect, row.duration
    return Refinement(tuple(modifiers), effect, exponent, duration, error, offset)
