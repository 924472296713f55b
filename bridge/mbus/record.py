"""Data records, and the walk over DIB, VIB and data (EN 13757-3, 6.2).

One bad record costs that record. Where its end is known the walk goes on behind it; where it is
not, the rest is kept as it came, with its offset and the reason.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from bridge.mbus.dif import (
    EXTENSION,
    FILLER,
    GLOBAL_READOUT,
    LENGTHS,
    MANUFACTURER_DATA,
    MAXIMUM_DIFES,
    MORE_RECORDS_FOLLOW,
    DataField,
    Function,
    decode_dib,
    encode_dib,
)
from bridge.mbus.errors import EncodeError
from bridge.mbus.values import (
    PartialDate,
    Value,
    decode_value,
    encode_bcd,
    encode_date_f,
    encode_date_g,
    encode_date_i,
    encode_int,
    encode_real,
    encode_text,
    encode_time_j,
    is_variable_bcd,
    variable_length,
)
from bridge.mbus.vif import (
    CODE,
    EXACT,
    MAXIMUM_VIFES,
    PLAIN_TEXT,
    Coding,
    Vib,
    decode_vib,
)
from bridge.units import Quantity, Unit


@dataclass(frozen=True, slots=True)
class DataRecord:
    """One data record: one value of a telegram.

    ``dib``, ``vib`` and ``data`` are its bytes as they came; of variable length, ``data`` begins
    with the LVAR byte. ``value`` is in ``unit``, which has no power of ten (Wh, m3, s); it is None
    where the meter has none, and then ``invalid`` says why. Bytes that have no other meaning
    (containers, profiles) stay bytes, as on the wire. ``unit_text`` is the text of a plain-text
    VIF that names no unit of ours. ``modifiers`` are the labels of the combinable VIFEs, in their
    order. ``ordinal`` counts records with the same DIB and VIB in one telegram, from 1. ``step`` is
    the least by which an integer or BCD value can change, in ``unit``; a real has no such thing.
    """

    dib: bytes
    vib: bytes
    data: bytes
    function: Function
    storage: int
    tariff: int
    subunit: int
    quantity: Quantity
    unit: Unit
    value: Value
    modifiers: tuple[str, ...] = ()
    invalid: str | None = None
    ordinal: int = 1
    unit_text: str = ""
    step: Decimal | None = None

    @property
    def key(self) -> str:
        """DIB and VIB in hex, as ``0C06``; the second equal one in a telegram is ``0C06#2``."""
        text = (self.dib + self.vib).hex().upper()
        return text if self.ordinal == 1 else f"{text}#{self.ordinal}"


@dataclass(frozen=True, slots=True)
class RecordError:
    """Bytes of a telegram that could not be read.

    ``offset`` counts from the first byte after the CI field, ``data`` are the bytes as they came.
    """

    offset: int
    reason: str
    data: bytes

    def __str__(self) -> str:
        return f"byte {self.offset}: {self.reason}: {self.data.hex().upper()}"


_ONE = Decimal(1)


class Records(NamedTuple):
    """What a walk found. ``manufacturer_data`` is None where there is no DIF 0F or 1F."""

    records: tuple[DataRecord, ...]
    errors: tuple[RecordError, ...]
    manufacturer_data: bytes | None
    more_records_follow: bool


class _Reading(NamedTuple):
    """Two places where the standard can be read in two ways, and meters do."""

    text_first: bool = True  # the text of a plain-text VIF stands before its VIFEs
    doubled: bool = False  # variable-length BCD has two bytes for each that LVAR counts


class _Extent(NamedTuple):
    """Where the parts of a record end, and the codes of its VIB without the text."""

    dib_end: int
    vib_end: int
    end: int
    codes: bytes
    text: str


class _CutShortError(Exception):
    """The telegram ends within a record."""


class _UnreadableError(Exception):
    """The end of a record cannot be known."""


def decode_records(data: bytes, offset: int = 0) -> Records:
    """All records of ``data`` from ``offset`` on.

    Where a telegram cannot be read to its end and has a plain-text VIF or variable-length BCD,
    the other way to read these is tried; it is taken if it reads the whole telegram and finds a
    value in every record, which chance seldom does.
    """
    records, ambiguous = _walk(data, offset, _Reading())
    if not records.errors or not ambiguous:
        return records
    for reading in (_Reading(False, False), _Reading(True, True), _Reading(False, True)):
        other, _ = _walk(data, offset, reading)
        if not other.errors and all(record.value is not None for record in other.records):
            return other
    return records


def _walk(data: bytes, offset: int, reading: _Reading) -> tuple[Records, bool]:
    records: list[DataRecord] = []
    errors: list[RecordError] = []
    seen: dict[bytes, int] = {}
    ambiguous = False
    end = len(data)
    while offset < end:
        dif = data[offset]
        if dif == FILLER:
            offset += 1
            continue
        if dif in (MANUFACTURER_DATA, MORE_RECORDS_FOLLOW):
            more = dif == MORE_RECORDS_FOLLOW
            found = Records(tuple(records), tuple(errors), data[offset + 1 :], more)
            return found, ambiguous
        try:
            if dif & 0x0F == DataField.SPECIAL:
                raise _UnreadableError(_special(dif))
            extent = _measure(data, offset, reading)
        except _CutShortError:
            errors.append(RecordError(offset, "premature end of record", data[offset:]))
            break
        except _UnreadableError as error:
            errors.append(RecordError(offset, str(error), data[offset:]))
            break
        dib, vib = data[offset : extent.dib_end], data[extent.dib_end : extent.vib_end]
        content = data[extent.vib_end : extent.end]
        ambiguous = ambiguous or _is_ambiguous(dib, vib, content)
        reason = _too_long(dib, extent.codes)
        if reason is None:
            block = dib + vib
            ordinal = seen[block] = seen.get(block, 0) + 1
            records.append(_record(dib, vib, content, extent, ordinal))
        else:
            errors.append(RecordError(offset, reason, data[offset : extent.end]))
        offset = extent.end
    return Records(tuple(records), tuple(errors), None, False), ambiguous


def _special(dif: int) -> str:
    if dif == GLOBAL_READOUT:
        return "a request for a global readout, in an answer"
    return f"reserved DIF {dif:02X}"


def _too_long(dib: bytes, codes: bytes) -> str | None:
    # One DIFE 00 more may follow the ten: a mark for register numbers (EN 13757-3, 6.3.5).
    difes = len(dib) - 1
    if difes > MAXIMUM_DIFES + 1 or (difes > MAXIMUM_DIFES and dib[-1] != 0):
        return f"{difes} DIFEs, where 10 may be"
    if len(codes) - 1 > MAXIMUM_VIFES:
        return f"{len(codes) - 1} VIFEs, where 10 may be"
    return None


def _is_ambiguous(dib: bytes, vib: bytes, content: bytes) -> bool:
    return vib[0] == PLAIN_TEXT | EXTENSION or (
        dib[0] & 0x0F == DataField.VARIABLE and is_variable_bcd(content[0])
    )


def _measure(data: bytes, offset: int, reading: _Reading) -> _Extent:
    dib_end = _chain_end(data, offset)
    vib_start = dib_end
    if vib_start >= len(data):
        raise _CutShortError
    data_field = data[offset] & 0x0F
    if data[vib_start] & CODE != PLAIN_TEXT:
        vib_end = _chain_end(data, vib_start)
        end = _data_end(data, vib_end, data_field, reading)
        return _Extent(dib_end, vib_end, end, data[vib_start:vib_end], "")
    found: _Extent | None = None
    orders = (reading.text_first, not reading.text_first)
    for text_first in orders if data[vib_start] & EXTENSION else (True,):
        try:
            vib_end, codes, text = _measure_text(data, vib_start, text_first=text_first)
            end = _data_end(data, vib_end, data_field, reading)
        except _CutShortError:
            continue
        extent = _Extent(dib_end, vib_end, end, codes, text)
        # A text that nobody can read is no text: then its length was a VIFE.
        if text.isprintable() and len(codes) - 1 <= MAXIMUM_VIFES:
            return extent
        found = found or extent
    if found is None:
        raise _CutShortError
    return found


def _measure_text(data: bytes, start: int, *, text_first: bool) -> tuple[int, bytes, str]:
    """End, codes and text of a plain-text VIB (EN 13757-3, annex C.2).

    The standard has the text behind the VIFEs; most meters have it behind the VIF.
    """
    chain_end = _chain_end(data, start)
    length_at = start + 1 if text_first else chain_end
    if length_at >= len(data):
        raise _CutShortError
    text_end = length_at + 1 + data[length_at]
    if text_end > len(data):
        raise _CutShortError
    text = data[length_at + 1 : text_end][::-1].decode("latin-1")
    if not text_first:
        return text_end, data[start:chain_end], text
    if not data[start] & EXTENSION:
        return text_end, data[start : start + 1], text
    vib_end = _chain_end(data, text_end)
    return vib_end, data[start : start + 1] + data[text_end:vib_end], text


def _chain_end(data: bytes, offset: int) -> int:
    """The offset behind a chain of bytes, each but the last with its extension bit set."""
    try:
        while data[offset] & EXTENSION:
            offset += 1
    except IndexError:
        raise _CutShortError from None
    return offset + 1


def _data_end(data: bytes, offset: int, data_field: int, reading: _Reading) -> int:
    end = offset + LENGTHS[data_field]
    if data_field == DataField.VARIABLE:
        if offset >= len(data):
            raise _CutShortError
        length = variable_length(data[offset], doubled=reading.doubled)
        if length is None:
            raise _UnreadableError(f"reserved LVAR {data[offset]:02X}")
        end = offset + 1 + length
    if end > len(data):
        raise _CutShortError
    return end


def _record(dib: bytes, vib: bytes, data: bytes, extent: _Extent, ordinal: int) -> DataRecord:
    data_field, function, storage, tariff, subunit = decode_dib(dib)
    says = decode_vib(extent.codes, extent.text)
    value, invalid = decode_value(data_field, data, says)
    counted = isinstance(value, Decimal) and data_field != DataField.REAL32
    return DataRecord(
        dib,
        vib,
        data,
        function,
        storage,
        tariff,
        subunit,
        says.quantity,
        says.unit,
        value,
        says.modifiers,
        invalid,
        ordinal,
        says.unit_text,
        (says.scale or _ONE) if counted else None,
    )


def encode_record(
    vib: bytes,
    value: Value | int,
    data_field: int = DataField.INT32,
    *,
    function: Function = Function.INSTANTANEOUS,
    storage: int = 0,
    tariff: int = 0,
    subunit: int = 0,
) -> bytes:
    """A data record, the inverse of what `decode_records` does with it.

    Args:
        vib: VIF and VIFEs. A plain-text VIF has its text in the place where meters have it, behind
            the VIF.
        value: in the unit without power of ten that the VIB's quantity has (Wh, m3, s); None for
            the pattern that says "no value".
        data_field: one that can hold the value; for text and bytes, VARIABLE.
        function: and the others are what the DIB shall say.

    Raises:
        EncodeError: the value does not fit, or has more digits than the VIB's power of ten lets
            the meter say.
    """
    dib = encode_dib(data_field, function, storage, tariff, subunit)
    extent = _measure(bytes((DataField.NO_DATA,)) + vib, 0, _Reading())
    return dib + vib + _encode_data(DataField(data_field), value, decode_vib(*extent[3:]))


def _encode_data(data_field: DataField, value: Value | int, vib: Vib) -> bytes:
    length = LENGTHS[data_field]
    if data_field is DataField.VARIABLE:
        return _encode_variable(value, vib)
    if value is None:
        return _no_value(data_field, vib)
    if isinstance(value, (datetime.date, datetime.time, PartialDate)):
        data = _encode_time_point(value, length)
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, str):
        raise EncodeError(f"a text wants the data field VARIABLE, not {data_field.name}")
    elif data_field is DataField.REAL32:
        data = encode_real(_raw(value, vib))
    else:
        number = _whole(value, vib)
        if data_field >= DataField.BCD2:
            data = encode_bcd(number, length)
        else:
            data = encode_int(number, length, signed=vib.coding is Coding.SIGNED)
    if len(data) != length:
        raise EncodeError(f"{data_field.name} has {length} bytes, and the value {len(data)}")
    return data


def _encode_variable(value: Value | int, vib: Vib) -> bytes:
    if value is None:
        return b"\xe0"  # a number of no bytes
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, bytes):
        return bytes((len(value),)) + value
    if isinstance(value, (Decimal, int)):
        number = _whole(value, vib)
        signed = vib.coding is Coding.SIGNED
        length = max(1, number.bit_length() // 8 + 1)
        if length > 15:
            raise EncodeError(f"{number} does not fit in 15 bytes")
        return bytes((0xE0 + length,)) + encode_int(number, length, signed=signed)
    raise EncodeError(f"{value} has no coding of variable length")


def _encode_time_point(value: datetime.date | datetime.time | PartialDate, length: int) -> bytes:
    if isinstance(value, datetime.time):
        return encode_time_j(value)
    if length == 2 and not isinstance(value, datetime.datetime):
        return encode_date_g(value)
    if not isinstance(value, (datetime.datetime, PartialDate)):
        raise EncodeError(f"{value} is a date without a time, which wants the data field INT16")
    return encode_date_f(value) if length == 4 else encode_date_i(value)


def _no_value(data_field: DataField, vib: Vib) -> bytes:
    length = LENGTHS[data_field]
    if data_field is DataField.REAL32:
        return bytes.fromhex("0000C07F")
    if data_field < DataField.SELECTION and vib.coding is Coding.SIGNED and length:
        return bytes(length - 1) + b"\x80"
    return b"\xff" * length


def _raw(value: Decimal | int, vib: Vib) -> Decimal:
    """The number that the meter has to send; it may need to be rounded by a real."""
    if vib.scale is None:
        return Decimal(value)
    return Decimal(value) / vib.scale


def _whole(value: Decimal | int, vib: Vib) -> int:
    number = int(_raw(value, vib).to_integral_value())
    if vib.scale is not None and EXACT.multiply(Decimal(number), vib.scale) != value:
        raise EncodeError(f"{value} {vib.unit} is no whole number of {vib.scale} {vib.unit}")
    if vib.scale is None and number != value:
        raise EncodeError(f"{value} {vib.unit} is no whole number")
    return number
