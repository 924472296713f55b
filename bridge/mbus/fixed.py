"""The fixed data structure: two counters of old water and heat meters (EN 13757-3:2004, 5).

Withdrawn, and still in the cellars: identification number, access number, status, and two
counters, each with a byte that tells its unit and half of the medium.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.dif import DataField, Function
from bridge.mbus.header import Header
from bridge.mbus.record import DataRecord, DataRecords, RecordHeader
from bridge.mbus.values import decode_bcd, decode_int, scaled
from bridge.mbus.vif import Coding, Vib, scale_of
from bridge.units import Quantity, Unit

FIXED_LENGTH = 16

# Status: the first two bits are other ones than in the variable structure.
BINARY = 0x01  # counters are signed integers, else BCD
STORED = 0x02  # counters are those of a fixed date, else the actual ones

UNIT = 0x3F
HISTORIC = 0x3E  # counter 2: the unit of counter 1, but stored


class Row(NamedTuple):
    """Unit codes ``first`` to ``last``; each is ten times the one before."""

    first: int
    last: int
    quantity: Quantity
    unit: Unit = Unit.NONE
    exponent: int = 0
    raw: bool = False  # no number: the bytes are kept


# EN 13757-3:2004, table 3.
UNITS = (
    Row(0x00, 0x00, Quantity.DATE_TIME, raw=True),  # hours, minutes, seconds
    Row(0x01, 0x01, Quantity.DATE, raw=True),  # day, month, year
    Row(0x02, 0x0A, Quantity.ENERGY, Unit.WATT_HOUR, 0),
    Row(0x0B, 0x13, Quantity.ENERGY, Unit.JOULE, 3),
    Row(0x14, 0x1C, Quantity.POWER, Unit.WATT, 0),
    Row(0x1D, 0x25, Quantity.POWER, Unit.JOULE_PER_HOUR, 3),
    Row(0x26, 0x2E, Quantity.VOLUME, Unit.CUBIC_METRE, -6),
    Row(0x2F, 0x37, Quantity.VOLUME_FLOW, Unit.CUBIC_METRE_PER_HOUR, -6),
    Row(0x38, 0x38, Quantity.UNKNOWN, Unit.CELSIUS, -3),  # nobody says of what
    Row(0x39, 0x39, Quantity.HEAT_COST_ALLOCATION, Unit.HCA),
    # Reserved; 3E means nothing for counter 1.
    *(Row(code, code, Quantity.UNKNOWN) for code in range(0x3A, 0x3F)),
    Row(0x3F, 0x3F, Quantity.DIMENSIONLESS),
)

# EN 13757-3:2004, table 4: medium to the device type of the variable structure. Those of "mode 2"
# send their counters most significant byte first.
_MODE_2 = 0x0A
_RESERVED_MEDIUM = 0x0F
MEDIA = {
    0x0: 0x00,  # other
    0x1: 0x01,  # oil
    0x2: 0x02,  # electricity
    0x3: 0x03,  # gas
    0x4: 0x04,  # heat
    0x5: 0x05,  # steam
    0x6: 0x06,  # hot water
    0x7: 0x07,  # water
    0x8: 0x08,  # heat cost allocator
    0x9: 0x0F,  # reserved
    0xA: 0x03,  # gas, mode 2
    0xB: 0x04,  # heat, mode 2
    0xC: 0x06,  # hot water, mode 2
    0xD: 0x07,  # water, mode 2
    0xE: 0x08,  # heat cost allocator, mode 2
    0xF: 0x0F,  # reserved
}


def spread(rows: tuple[Row, ...]) -> dict[int, Row]:
    """Give every code its own row. Two rows that claim one code are a bug."""
    table: dict[int, Row] = {}
    for row in rows:
        for n, code in enumerate(range(row.first, row.last + 1)):
            if code in table:
                raise ValueError(f"unit {code:#04x} stands in two rows")
            table[code] = row._replace(first=code, last=code, exponent=row.exponent + n)
    return table


_UNITS = spread(UNITS)


def reversed_fixed(data: bytes) -> bytes:
    """The 16 bytes after CI 77 as they would stand after CI 73, least significant byte first."""
    counters = (data[8:12], data[12:16])
    if _is_mode_2(data):
        return data[3::-1] + data[4:16]  # these come most significant byte first anyway
    return data[3::-1] + data[4:8] + b"".join(counter[::-1] for counter in counters)


def _medium(data: bytes) -> int:
    return data[6] >> 6 | data[7] >> 6 << 2


def _is_mode_2(data: bytes) -> bool:
    return _MODE_2 <= _medium(data) < _RESERVED_MEDIUM


def decode_fixed(data: bytes) -> tuple[Header, DataRecords]:
    """The 16 bytes after CI 73.

    The records have no DIB, and their byte of type and unit as VIB. A counter of a fixed date has
    storage number 1.
    """
    status = data[5]
    units = [data[6] & UNIT, data[7] & UNIT]
    stored = [bool(status & STORED)] * 2
    if units[1] == HISTORIC:
        units[1], stored[1] = units[0], True
    records = tuple(
        _counter(
            data[6 + n : 7 + n],
            data[8 + 4 * n : 12 + 4 * n],
            _UNITS[units[n]],
            binary=bool(status & BINARY),
            reverse=_is_mode_2(data),
            storage=int(stored[n]),
        )
        for n in (0, 1)
    )
    if records[0].key == records[1].key:
        second = records[1]._replace(header=records[1].header._replace(ordinal=2))
        records = (records[0], second)
    address = SecondaryAddress(data[3::-1].hex().upper(), device_type=MEDIA[_medium(data)])
    return Header(address, data[4], status, 0), DataRecords.of(records)


def _counter(
    vib: bytes, data: bytes, row: Row, *, binary: bool, reverse: bool, storage: int
) -> DataRecord:
    header = _header(vib, row, binary, storage)
    if row.raw:
        return DataRecord(header, data, data)
    ordered = data[::-1] if reverse else data
    number, invalid = decode_int(ordered) if binary else decode_bcd(ordered, signed=False)
    return DataRecord(
        header, data, None if number is None else scaled(number, header.meaning), invalid
    )


@lru_cache(maxsize=1024)
def _header(vib: bytes, row: Row, binary: bool, storage: int) -> RecordHeader:
    scale = scale_of(Decimal(1), row.exponent)
    coding = Coding.RAW if row.raw else Coding.SIGNED
    return RecordHeader(
        b"",
        vib,
        DataField.INT32 if binary else DataField.BCD8,
        Function.INSTANTANEOUS,
        storage,
        0,
        0,
        Vib(row.quantity, row.unit, "", scale, coding, (), None),
        step=None if row.raw else scale or Decimal(1),
    )
