"""The walk over DIB, VIB and data (EN 13757-3, 6.2).

One bad record costs that record. Where its end is known the walk goes on behind it; where it is
not, the rest is kept as it came, with its offset and the reason.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
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
)
from bridge.mbus.record import DataRecord, DataRecords, RecordError, RecordHeader, Records
from bridge.mbus.values import (
    Value,
    decode_value,
    is_counted,
    is_variable_bcd,
    variable_length,
)
from bridge.mbus.vif import MAXIMUM_VIFES, PLAIN_TEXT, decode_vib
from bridge.mbus.vife import CODE
from bridge.units import Quantity

_ONE = Decimal(1)


class _Reading(NamedTuple):
    """Two places where the standard can be read in two ways, and meters do."""

    text_first: bool = True  # the text of a plain-text VIF stands before its VIFEs
    doubled: bool = False  # variable-length BCD has two bytes for each that LVAR counts


_USUAL = _Reading()


class _Extent(NamedTuple):
    """Where the parts of a record end, and the codes of its VIB without the text."""

    dib_end: int
    vib_end: int
    end: int
    codes: bytes
    text: str
    told_by_data: bool = False


_PREMATURE_END = "premature end of record"


class _CutShortError(Exception):
    """The telegram ends within a record."""


class _TextTooLongError(_CutShortError):
    """The telegram has fewer bytes than the text of a plain-text VIF."""


class _UnreadableError(Exception):
    """The end of a record cannot be known."""


def decode_records(data: bytes, offset: int = 0) -> Records:
    """All records of ``data`` from ``offset`` on.

    Where a telegram cannot be read to its end and has a plain-text VIF or variable-length BCD,
    the other way to read these is tried. It is taken if it reads the whole telegram and finds
    nothing strange in it, which chance seldom does; and of a telegram that only breaks off, with
    good records before, if it finds more of them.
    """
    return read_otherwise(walk(data, offset), data, offset)


def read_otherwise(usual: Walk, data: bytes, offset: int) -> Records:
    """What `decode_records` says, after the usual walk over the same bytes."""
    records = usual.records
    if not records.errors or not usual.ambiguous:
        return records
    for reading in (_Reading(False, False), _Reading(True, True), _Reading(False, True)):
        other = walk(data, offset, reading).records
        if other.errors or not _makes_sense(other, doubled=reading.doubled):
            continue
        if (
            reading.doubled
            and _only_breaks_off(records)
            and len(other.records) <= len(records.records)
        ):
            continue
        return other
    return records


def _makes_sense(found: Records, *, doubled: bool) -> bool:
    records = found.records
    if not doubled:
        return None not in records.values
    return all(
        is_ordinary(header, value) or header.meaning.quantity is Quantity.USER_DEFINED
        for header, value in zip(records.headers, records.values, strict=True)
    )


def _only_breaks_off(found: Records) -> bool:
    return found.errors[0].reason == _PREMATURE_END and all(
        map(is_ordinary, found.records.headers, found.records.values)
    )


_ODD_QUANTITIES = (
    Quantity.UNKNOWN,
    Quantity.ANY,
    Quantity.MANUFACTURER_SPECIFIC,
    Quantity.USER_DEFINED,
)


def is_ordinary(header: RecordHeader, value: Value) -> bool:
    """Whether a meter may well have sent such a record, and bytes of chance hardly look like it."""
    meaning = header.meaning
    return (
        value is not None
        and meaning.quantity not in _ODD_QUANTITIES
        and not isinstance(value, bytes)
        and header.storage < 4096
        and header.function is not Function.ERROR
        and (not meaning.modifiers or _is_ordinary_refinement(meaning.modifiers))
    )


def _is_ordinary_refinement(modifiers: tuple[str, ...]) -> bool:
    return len(modifiers) <= 3 and not any(
        modifier.startswith(("reserved", "manufacturer")) for modifier in modifiers
    )


class Walk(NamedTuple):
    """What a walk came to.

    ``ambiguous``: there is another way to read some record. ``told_by_data``: bytes that are data
    in the end had a say in where a record ends.
    """

    records: Records
    ambiguous: bool
    told_by_data: bool


def walk(data: bytes, offset: int = 0, reading: _Reading = _USUAL) -> Walk:
    """All records in one way of reading."""
    records: list[DataRecord] = []
    errors: list[RecordError] = []
    seen: dict[bytes, int] = {}
    ambiguous = told_by_data = False
    end = len(data)
    own: bytes | None = None
    more = False
    while offset < end:
        dif = data[offset]
        if dif == FILLER:
            offset += 1
            continue
        if dif in (MANUFACTURER_DATA, MORE_RECORDS_FOLLOW):
            own, more = data[offset + 1 :], dif == MORE_RECORDS_FOLLOW
            break
        try:
            if dif & 0x0F == DataField.SPECIAL:
                raise _UnreadableError(_special(dif))
            extent = _measure(data, offset, reading)
        except _CutShortError:
            errors.append(RecordError(offset, _PREMATURE_END, data[offset:]))
            break
        except _UnreadableError as error:
            errors.append(RecordError(offset, str(error), data[offset:]))
            break
        dib, vib = data[offset : extent.dib_end], data[extent.dib_end : extent.vib_end]
        content = data[extent.vib_end : extent.end]
        ambiguous = ambiguous or _is_ambiguous(dib, vib, content)
        told_by_data = told_by_data or extent.told_by_data
        reason = _too_long(dib, extent.codes)
        if reason is None:
            block = dib + vib
            ordinal = seen[block] = seen.get(block, 0) + 1
            records.append(_record(dib, vib, content, extent, ordinal))
        else:
            errors.append(RecordError(offset, reason, data[offset : extent.end]))
        offset = extent.end
    own_codes = any(record.header.own_codes for record in records)
    found = Records(DataRecords.of(records), tuple(errors), own, more, own_codes)
    return Walk(found, ambiguous, told_by_data)


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
    told_by_data = False
    orders = (reading.text_first, not reading.text_first)
    for text_first in orders if data[vib_start] & EXTENSION else (True,):
        try:
            vib_end, codes, text = _measure_text(data, vib_start, text_first=text_first)
            end = _data_end(data, vib_end, data_field, reading)
        except _TextTooLongError:
            continue
        except _CutShortError:
            told_by_data = True
            continue
        extent = _Extent(dib_end, vib_end, end, codes, text, told_by_data)
        # A text that nobody can read is no text: then its length was a VIFE. To find that out,
        # one may have read on into what are data in the other order.
        if text.isprintable() and len(codes) - 1 <= MAXIMUM_VIFES:
            return extent
        found = found or extent
        told_by_data = True
    if found is None:
        raise _CutShortError
    return found._replace(told_by_data=True)


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
        raise _TextTooLongError
    text = data[length_at + 1 : text_end][::-1].decode("latin-1")
    if not text_first:
        return text_end, data[start:chain_end], text
    if not data[start] & EXTENSION:
        return text_end, data[start : start + 1], text
    vib_end = _chain_end(data, text_end)
    return vib_end, data[start : start + 1] + data[text_end:vib_end], text


def head_end(data: bytes, offset: int, *, text_first: bool) -> int | None:
    """The offset behind DIB and VIB of the record that begins at ``offset``.

    None where the data end within them. ``text_first`` says where the text of a plain-text VIF
    stands: before its VIFEs, or behind them.
    """
    try:
        vib = _chain_end(data, offset)
        if vib < len(data) and data[vib] & CODE == PLAIN_TEXT:
            return _measure_text(data, vib, text_first=text_first)[0]
        return _chain_end(data, vib)
    except _CutShortError:
        return None


def vib_parts(vib: bytes) -> tuple[bytes, str]:
    """The codes of a whole VIB without the text of a plain-text VIF, and that text."""
    extent = _measure(bytes((DataField.NO_DATA,)) + vib, 0, _USUAL)
    return extent.codes, extent.text


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


@lru_cache(maxsize=4096)
def record_header(
    dib: bytes, vib: bytes, codes: bytes, text: str, lvar: int, ordinal: int
) -> RecordHeader:
    """What DIB and VIB say.

    Args:
        dib: DIF and DIFEs.
        vib: all bytes of the VIB.
        codes: the VIB without the text of a plain-text VIF, ``text``.
        lvar: the first byte of data of variable length; of others, anything.
        ordinal: which of the records with this DIB and VIB it is.
    """
    data_field, function, storage, tariff, subunit = decode_dib(dib)
    meaning = decode_vib(codes, text)
    step = (meaning.scale or _ONE) if is_counted(data_field, lvar, meaning) else None
    own_codes = meaning.quantity is Quantity.MANUFACTURER_SPECIFIC or any(
        modifier.startswith("manufacturer") for modifier in meaning.modifiers
    )
    place = storage, tariff, subunit
    return RecordHeader(dib, vib, data_field, function, *place, meaning, ordinal, step, own_codes)


def _record(dib: bytes, vib: bytes, data: bytes, extent: _Extent, ordinal: int) -> DataRecord:
    lvar = data[0] if dib[0] & 0x0F == DataField.VARIABLE else 0
    header = record_header(dib, vib, extent.codes, extent.text, lvar, ordinal)
    value, invalid = decode_value(header.data_field, data, header.meaning)
    return DataRecord(header, data, value, invalid)
