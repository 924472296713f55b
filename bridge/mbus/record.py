"""Data records, and the walk over DIB, VIB and data (EN 13757-3, 6.2).

One bad record costs that record. Where its end is known the walk goes on behind it; where it is
not, the rest is kept as it came, with its offset and the reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple, overload

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
    bcd_digits,
    decode_value,
    encode_bcd,
    encode_date_f,
    encode_date_g,
    encode_date_i,
    encode_int,
    encode_real,
    encode_text,
    encode_time_j,
    is_counted,
    is_variable_bcd,
    scaled,
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


class RecordHeader(NamedTuple):
    """A data record without its data: what DIB and VIB say (EN 13757-3, 6.2: DRH).

    ``dib`` and ``vib`` are the bytes as they came. ``ordinal`` counts records with the same DIB and
    VIB in one telegram, from 1. ``own_codes`` says that codes of the maker's own are among them.
    ``step`` is the least by which an integer or BCD value can change,
    in ``meaning.unit``; a real, a date or a text has no such thing.
    """

    dib: bytes
    vib: bytes
    data_field: DataField
    function: Function
    storage: int
    tariff: int
    subunit: int
    meaning: Vib
    ordinal: int = 1
    step: Decimal | None = None
    own_codes: bool = False

    @property
    def key(self) -> str:
        """DIB and VIB in hex, as ``0C06``; the second equal one in a telegram is ``0C06#2``."""
        text = (self.dib + self.vib).hex().upper()
        return text if self.ordinal == 1 else f"{text}#{self.ordinal}"


class DataRecord(NamedTuple):
    """One data record: one value of a telegram.

    ``data`` are its bytes as they came; of variable length, they begin with the LVAR byte.
    ``value`` is in ``unit``, which has no power of ten (Wh, m3, s); it is None where the meter has
    none, and then ``invalid`` says why. Bytes that have no other meaning (containers, profiles)
    stay bytes, as on the wire. ``header`` is the same for all records of this kind: a meter's next
    answer brings new data under the same headers.
    """

    header: RecordHeader
    data: bytes
    value: Value
    invalid: str | None = None

    @property
    def dib(self) -> bytes:
        """DIF and DIFEs, as they came."""
        return self.header.dib

    @property
    def vib(self) -> bytes:
        """VIF and VIFEs, as they came, with the text of a plain-text VIF."""
        return self.header.vib

    @property
    def function(self) -> Function:
        """Instantaneous value, maximum, minimum, or value during an error state."""
        return self.header.function

    @property
    def storage(self) -> int:
        """The storage number, 0 (the present) to 2 ** 41 - 1."""
        return self.header.storage

    @property
    def tariff(self) -> int:
        """The tariff, 0 (the total) to 2 ** 20 - 1."""
        return self.header.tariff

    @property
    def subunit(self) -> int:
        """The subunit of the device, 0 to 1023."""
        return self.header.subunit

    @property
    def quantity(self) -> Quantity:
        """What is measured, as the VIF says."""
        return self.header.meaning.quantity

    @property
    def unit(self) -> Unit:
        """The unit of ``value``."""
        return self.header.meaning.unit

    @property
    def unit_text(self) -> str:
        """The text of a plain-text VIF that names no unit of ours."""
        return self.header.meaning.unit_text

    @property
    def modifiers(self) -> tuple[str, ...]:
        """The labels of the combinable VIFEs, in their order."""
        return self.header.meaning.modifiers

    @property
    def ordinal(self) -> int:
        """Which of the records with this DIB and VIB in the telegram, from 1."""
        return self.header.ordinal

    @property
    def step(self) -> Decimal | None:
        """The least by which the value can change, in ``unit``; None where that is not known."""
        return self.header.step

    @property
    def key(self) -> str:
        """DIB and VIB in hex, as ``0C06``; the second equal one in a telegram is ``0C06#2``."""
        return self.header.key

    @property
    def text(self) -> str | None:
        """A text, or the digits of a number that names something, with its leading zeros.

        None where the value is neither: a measured value, a date, bytes.
        """
        if isinstance(self.value, str):
            return self.value
        meaning = self.header.meaning
        if not isinstance(self.value, Decimal) or meaning.unit:
            return None
        if meaning.coding not in (Coding.UNSIGNED, Coding.ADDRESS):
            return None
        digits = bcd_digits(self.header.data_field, self.data)
        return digits if digits is not None and digits.isdecimal() else str(self.value)

    @property
    def summer_time(self) -> bool | None:
        """Whether the meter's clock shows summer time (types F and I); None for other data."""
        coding, data = self.header.meaning.coding, self.data
        if self.value is None or coding is not Coding.TIME_POINT:
            return None
        if self.header.data_field is DataField.INT32:
            return bool(data[1] & 0x80)
        if self.header.data_field is DataField.INT48:
            return bool(data[0] & 0x40)
        return None


class DataRecords(Sequence[DataRecord]):
    """The data records of a telegram, in columns: a `DataRecord` is made when one is looked at.

    ``headers``, ``values`` and ``reasons`` (why there is no value) are of one length. Who wants
    some values only, of a telegram whose headers are known, need not look at any record.
    """

    __slots__ = ("_content", "_cut", "_records", "headers", "reasons", "values")

    def __init__(
        self,
        headers: tuple[RecordHeader, ...],
        values: tuple[Value, ...],
        reasons: tuple[str | None, ...],
        content: bytes,
        cut: Callable[[bytes], tuple[bytes, ...]],
    ) -> None:
        """``cut`` gives the data of each record out of ``content``."""
        self.headers = headers
        self.values = values
        self.reasons = reasons
        self._content = content
        self._cut = cut
        self._records: tuple[DataRecord, ...] | None = None

    @classmethod
    def of(cls, records: Iterable[DataRecord]) -> DataRecords:
        """Records that were made one by one."""
        made = tuple(records)
        data = tuple(record.data for record in made)
        return cls(
            tuple(record.header for record in made),
            tuple(record.value for record in made),
            tuple(record.invalid for record in made),
            b"",
            lambda _: data,
        )

    def without(self, reasons: Mapping[int, str]) -> DataRecords:
        """The same records, but at these places no value, with the reason."""
        return DataRecords(
            self.headers,
            tuple(None if n in reasons else value for n, value in enumerate(self.values)),
            tuple(reasons.get(n, reason) for n, reason in enumerate(self.reasons)),
            self._content,
            self._cut,
        )

    def _all(self) -> tuple[DataRecord, ...]:
        if self._records is None:
            data = self._cut(self._content)
            rows = zip(self.headers, data, self.values, self.reasons, strict=True)
            self._records = tuple(DataRecord(*row) for row in rows)
        return self._records

    def __len__(self) -> int:
        return len(self.headers)

    def __iter__(self) -> Iterator[DataRecord]:
        return iter(self._all())

    @overload
    def __getitem__(self, place: int) -> DataRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[DataRecord]: ...
    def __getitem__(self, place: int | slice) -> DataRecord | Sequence[DataRecord]:
        return self._all()[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DataRecords | tuple):
            return self._all() == tuple(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())

    def __repr__(self) -> str:
        return f"DataRecords({list(self._all())!r})"


NO_RECORDS = DataRecords.of(())


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
    """What a walk found. ``manufacturer_data`` is None where there is no DIF 0F or 1F.

    ``own_codes`` says that some record has codes of the maker's own.
    """

    records: DataRecords
    errors: tuple[RecordError, ...]
    manufacturer_data: bytes | None
    more_records_follow: bool
    own_codes: bool = False


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
    records, ambiguous = walk(data, offset)
    if not records.errors or not ambiguous:
        return records
    for reading in (_Reading(False, False), _Reading(True, True), _Reading(False, True)):
        other, _ = walk(data, offset, reading)
        if not other.errors and all(record.value is not None for record in other.records):
            return other
    return records


def walk(data: bytes, offset: int = 0, reading: _Reading = _USUAL) -> tuple[Records, bool]:
    """All records in one way of reading, and whether there is another way to read them."""
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
            return _found(records, errors, data[offset + 1 :], more), ambiguous
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
    return _found(records, errors, None, False), ambiguous


def _found(
    records: list[DataRecord], errors: list[RecordError], own: bytes | None, more: bool
) -> Records:
    own_codes = any(record.header.own_codes for record in records)
    return Records(DataRecords.of(records), tuple(errors), own, more, own_codes)


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
    extent = _measure(bytes((DataField.NO_DATA,)) + vib, 0, _USUAL)
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
    number = EXACT.subtract(value, vib.offset or 0)
    return number if vib.scale is None else number / vib.scale


def _whole(value: Decimal | int, vib: Vib) -> int:
    number = int(_raw(value, vib).to_integral_value())
    if scaled(Decimal(number), vib) != value:
        step = "" if vib.scale is None else f" of {vib.scale} {vib.unit}"
        raise EncodeError(f"{value} {vib.unit} is no whole number{step}")
    return number
