"""Data records as a meter writes them: the bytes of DIB and VIB as in its manual, and a value."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from bridge.mbus.dif import EXTENSION, LENGTHS, DataField
from bridge.mbus.values import (
    encode_bcd,
    encode_date_f,
    encode_date_g,
    encode_date_i,
    encode_int,
    encode_real,
    encode_text,
)
from bridge.sim.errors import SimError

# A real carries six digits; a meter that sends one rounds to what it measures.
_REAL_PLACES = 2

ONE = Decimal(1)

_BCD = frozenset((DataField.BCD2, DataField.BCD4, DataField.BCD6, DataField.BCD8, DataField.BCD12))
_INTEGER = frozenset(
    (
        *(DataField.INT8, DataField.INT16, DataField.INT24),
        *(DataField.INT32, DataField.INT48, DataField.INT64),
    )
)


@dataclass(frozen=True, slots=True)
class Record:
    """One data record, and what it says.

    Args:
        head: DIB and VIB.
        data: the bytes of the value.
        value: in the VIF's unit without its power of ten; None where the bytes say "no value".
    """

    head: bytes
    data: bytes
    value: Decimal | str | dt.date | dt.datetime | None

    def __bytes__(self) -> bytes:
        return self.head + self.data


def number(head: str, value: float, exponent: int = 0, *, factor: Decimal = ONE) -> Record:
    """A number, rounded to what the record can say; a register that is full begins anew.

    Args:
        head: DIB and VIB, as ``"04 13"``; the DIF says how it is coded.
        value: in the unit without the power of ten.
        exponent: the power of ten of VIF and VIFEs together.
        factor: what the VIF's unit is beside that, as 3600 for hours.

    Raises:
        SimError: the DIF is none of a number.
        EncodeError: a negative number or a real does not fit.
    """
    block = bytes.fromhex(head)
    field = DataField(block[0] & 0x0F)
    scaled = value / (10**exponent * float(factor))
    if field is DataField.REAL32:
        real = Decimal(repr(round(scaled, _REAL_PLACES)))
        return Record(block, encode_real(real), real.scaleb(exponent) * factor)
    whole, length = round(scaled), LENGTHS[field]
    if field in _BCD:
        whole = whole % 10 ** (2 * length) if whole > 0 else whole
        data = encode_bcd(whole, length)
    elif field in _INTEGER:
        whole = whole % (1 << 8 * length - 1) if whole > 0 else whole
        data = encode_int(whole, length)
    else:
        raise SimError(f"{head}: no number has this data field")
    return Record(block, data, Decimal(whole).scaleb(exponent) * factor)


def date(head: str, value: dt.date) -> Record:
    """A date, type G."""
    return Record(bytes.fromhex(head), encode_date_g(value), value)


def date_time(head: str, value: dt.datetime) -> Record:
    """A date and time: type I where the DIF has six bytes, else type F."""
    block = bytes.fromhex(head)
    if block[0] & 0x0F == DataField.INT48:
        exact = value.replace(microsecond=0)
        return Record(block, encode_date_i(exact), exact)
    exact = value.replace(second=0, microsecond=0)
    return Record(block, encode_date_f(exact), exact)


def text(head: str, value: str) -> Record:
    """A text of variable length."""
    return Record(bytes.fromhex(head), encode_text(value), value)


def nothing(head: str) -> Record:
    """A record that says it has no value: all ones."""
    block = bytes.fromhex(head)
    return Record(block, b"\xff" * LENGTHS[block[0] & 0x0F], None)


def stored(head: str, storage: int) -> str:
    """The same DIB and VIB for another storage number: ``stored("04 06", 9)`` is C4 04 06.

    ``head`` has a DIF without DIFE.
    """
    block = bytes.fromhex(head)
    dib = [block[0] & ~0x40 | (storage & 1) << 6]
    storage >>= 1
    while storage:
        dib[-1] |= EXTENSION
        dib.append(storage & 0x0F)
        storage >>= 4
    return (bytes(dib) + block[1:]).hex()
