"""DIF and DIFE: coding, function, storage number, tariff, subunit (EN 13757-3, 6.3).

DIF: bit 7 a DIFE follows, bit 6 lowest bit of the storage number, bits 5-4 function, bits 3-0
data field. DIFE: bit 7 another one follows, bit 6 subunit, bits 5-4 tariff, bits 3-0 storage
number; each further DIFE is worth more.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import NamedTuple

from bridge.mbus.errors import EncodeError

EXTENSION = 0x80
MAXIMUM_DIFES = 10

# Special DIFs, all with data field F.
MANUFACTURER_DATA = 0x0F  # the rest belongs to the manufacturer
MORE_RECORDS_FOLLOW = 0x1F  # the same, and the next telegram goes on
FILLER = 0x2F
GLOBAL_READOUT = 0x7F  # a request; has no business in an answer


class Function(StrEnum):
    """What kind of value it is (EN 13757-3, table 5)."""

    INSTANTANEOUS = "instantaneous"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ERROR = "error"  # the value during an error state


FUNCTIONS = (Function.INSTANTANEOUS, Function.MAXIMUM, Function.MINIMUM, Function.ERROR)


class DataField(IntEnum):
    """Length and coding of the data (EN 13757-3, table 4)."""

    NO_DATA = 0x0
    INT8 = 0x1
    INT16 = 0x2
    INT24 = 0x3
    INT32 = 0x4
    REAL32 = 0x5
    INT48 = 0x6
    INT64 = 0x7
    SELECTION = 0x8
    BCD2 = 0x9
    BCD4 = 0xA
    BCD6 = 0xB
    BCD8 = 0xC
    VARIABLE = 0xD
    BCD12 = 0xE
    SPECIAL = 0xF


# Bytes of data for each data field. VARIABLE is told by its first byte, SPECIAL is no record.
LENGTHS = (0, 1, 2, 3, 4, 4, 6, 8, 0, 1, 2, 3, 4, 0, 6, 0)


def is_bcd(data_field: int) -> bool:
    """Whether the data are BCD digits in a number that the DIF tells."""
    return DataField.BCD2 <= data_field <= DataField.BCD8 or data_field == DataField.BCD12


class Dib(NamedTuple):
    """What a DIB says. Storage number up to 41 bits, tariff up to 20, subunit up to 10."""

    data_field: DataField
    function: Function
    storage: int
    tariff: int
    subunit: int


@lru_cache(maxsize=4096)
def decode_dib(dib: bytes) -> Dib:
    """A whole DIB, DIF first, to what it says.

    More than 10 DIFEs are the caller's business. A last DIFE 00, which marks the storage number
    as a register number (EN 13757-3, 6.3.5), changes nothing.
    """
    dif = dib[0]
    storage, tariff, subunit = dif >> 6 & 1, 0, 0
    for n, dife in enumerate(dib[1:]):
        storage |= (dife & 0x0F) << 1 + 4 * n
        tariff |= (dife >> 4 & 3) << 2 * n
        subunit |= (dife >> 6 & 1) << n
    return Dib(DataField(dif & 0x0F), FUNCTIONS[dif >> 4 & 3], storage, tariff, subunit)


def encode_dib(
    data_field: int,
    function: Function = Function.INSTANTANEOUS,
    storage: int = 0,
    tariff: int = 0,
    subunit: int = 0,
) -> bytes:
    """The shortest DIB that says this.

    Raises:
        EncodeError: it would need more than 10 DIFEs, or a number is negative.
    """
    if min(storage, tariff, subunit) < 0:
        raise EncodeError("storage number, tariff and subunit are never negative")
    dib = [DataField(data_field) | FUNCTIONS.index(function) << 4 | (storage & 1) << 6]
    storage >>= 1
    while storage or tariff or subunit:
        dib[-1] |= EXTENSION
        dib.append((subunit & 1) << 6 | (tariff & 3) << 4 | storage & 0x0F)
        storage, tariff, subunit = storage >> 4, tariff >> 2, subunit >> 1
    if len(dib) > 1 + MAXIMUM_DIFES:
        raise EncodeError(f"this needs {len(dib) - 1} DIFEs, and a DIB has 10 at most")
    return bytes(dib)
