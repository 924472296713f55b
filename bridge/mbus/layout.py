"""Layouts remembered: what a meter said once where, its next answer says there again.

A meter sends the same data records from readout to readout; only the data in them change. What DIB
and VIB say, and where each record stands, is a `Layout`. It is told by the bytes that are no data,
so a telegram either has a layout byte for byte or it has another one. With the layout at hand all
integers of a telegram are unpacked at once, all BCD digits are cut out at once, and scaled at once.

What is remembered never changes what a telegram says: `read_records` gives what
`bridge.mbus.record.decode_records` gives, only sooner. No data are remembered.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from operator import itemgetter
from typing import Any

from bridge.mbus.dif import FILLER, DataField, is_bcd
from bridge.mbus.record import DataRecord, RecordHeader, Records, decode_records, walk
from bridge.mbus.values import Decoded, Value, decode_value
from bridge.mbus.vif import EXACT, Coding

_Place = tuple[int, int]  # first byte of the data of a record, and the one behind the last
_Look = tuple[int, bytes]  # length and first two bytes
_Fingerprint = tuple[int, int]  # mask, and the masked bytes as a number

_ONE = Decimal(1)
_SIGNED = {
    DataField.INT8: "b",
    DataField.INT16: "h",
    DataField.INT32: "i",
    DataField.INT64: "q",
}
_multiply = EXACT.multiply
_new_record: Callable[[tuple[Any, ...]], DataRecord] = partial(tuple.__new__, DataRecord)


class Layout:
    """Where the data of each record stand in a telegram, and how to read them all.

    Args:
        records: what a walk over ``data`` found, without errors and with one record at least.
        data: the bytes that it walked over.
    """

    def __init__(self, records: Records, data: bytes) -> None:
        self.headers = tuple(record.header for record in records.records)
        self.look: _Look = (len(data), data[:2])
        self._places = _places(records, data)
        self._more_records_follow = records.more_records_follow
        self._own_data_at = (
            None
            if records.manufacturer_data is None
            else len(data) - len(records.manufacturer_data)
        )
        self.mask = _mask(records, self._places, data)
        self.masked = int.from_bytes(data) & self.mask
        self._cut = _cutter(self._places)
        self._valid = (None,) * len(self.headers)
        integers = [n for n, header in enumerate(self.headers) if _is_integer(header)]
        digits = [n for n, header in enumerate(self.headers) if _is_digits(header)]
        numbers = integers + digits
        others = [n for n in range(len(self.headers)) if n not in numbers]
        self._unpack = _unpacker(self.headers, self._places, integers, len(data))
        # A number that means "no value" in one of the codings may be one in another: look closer.
        self._suspects = frozenset(
            value for n in integers if (value := _no_value(self.headers[n])) is not None
        )
        # In the digits of the whole telegram, last byte first, a number reads from left to right.
        self._digits = _cutter([_digits_place(self._places[n], len(data)) for n in digits])
        self._has_digits = bool(digits)
        self._scales = tuple(self.headers[n].meaning.scale or _ONE for n in numbers)
        self._others = tuple(
            partial(_decode, self.headers[n], slice(*self._places[n])) for n in others
        )
        order = sorted(range(len(self.headers)), key=(numbers + others).__getitem__)
        self._sort = _picker(order)

    def read(self, data: bytes) -> Records:
        """The records of data that have this layout."""
        try:
            numbers = self._unpack(data)
            if self._has_digits:
                numbers += tuple(map(int, self._digits(data[::-1].hex())))
        except ValueError:  # a digit above 9: a sign, or no value
            return self._records(data, *self._read_each(data))
        if not self._suspects.isdisjoint(numbers):
            return self._records(data, *self._read_each(data))
        values: tuple[Value, ...] = tuple(map(_multiply, numbers, self._scales))
        invalid: tuple[str | None, ...] = self._valid
        if self._others:
            decoded = [decode(data) for decode in self._others]
            values += tuple(value for value, _ in decoded)
            if any(reason is not None for _, reason in decoded):
                reasons = (*(None for _ in numbers), *(reason for _, reason in decoded))
                invalid = self._sort(reasons)
        return self._records(data, self._sort(values), invalid)

    def _read_each(self, data: bytes) -> tuple[tuple[Value, ...], tuple[str | None, ...]]:
        decoded = [
            _decode(header, slice(*place), data)
            for header, place in zip(self.headers, self._places, strict=True)
        ]
        return tuple(value for value, _ in decoded), tuple(reason for _, reason in decoded)

    def _records(
        self, data: bytes, values: tuple[Value, ...], invalid: tuple[str | None, ...]
    ) -> Records:
        rows = zip(self.headers, self._cut(data), values, invalid, strict=True)
        own = None if self._own_data_at is None else data[self._own_data_at :]
        return Records(tuple(map(_new_record, rows)), (), own, self._more_records_follow)


def _places(records: Records, data: bytes) -> list[_Place]:
    places: list[_Place] = []
    offset = 0
    for record in records.records:
        while data[offset] == FILLER:
            offset += 1
        offset += len(record.dib) + len(record.vib)
        places.append((offset, offset + len(record.data)))
        offset += len(record.data)
    return places


def _mask(records: Records, places: Iterable[_Place], data: bytes) -> int:
    """All ones where the layout stands, zeros where the data do."""
    mask = bytearray(b"\xff" * len(data))
    for record, (first, end) in zip(records.records, places, strict=True):
        # The LVAR byte tells a length, so it is layout.
        first += record.header.data_field is DataField.VARIABLE
        mask[first:end] = bytes(end - first)
    if records.manufacturer_data:
        mask[-len(records.manufacturer_data) :] = bytes(len(records.manufacturer_data))
    return int.from_bytes(mask)


def _is_plain_number(header: RecordHeader) -> bool:
    meaning = header.meaning
    return (
        meaning.error is None
        and meaning.offset is None
        and meaning.coding in (Coding.SIGNED, Coding.UNSIGNED, Coding.BITS)
    )


def _is_integer(header: RecordHeader) -> bool:
    return header.data_field in _SIGNED and _is_plain_number(header)


def _is_digits(header: RecordHeader) -> bool:
    return is_bcd(header.data_field) and _is_plain_number(header)


def _no_value(header: RecordHeader) -> int | None:
    bits = 8 * struct.calcsize(_SIGNED[header.data_field])
    match header.meaning.coding:
        case Coding.SIGNED:
            return -1 << bits - 1
        case Coding.UNSIGNED:
            return (1 << bits) - 1
        case _:
            return None


def _unpacker(
    headers: tuple[RecordHeader, ...], places: list[_Place], numbers: list[int], length: int
) -> Callable[[bytes], tuple[Any, ...]]:
    layout, offset = "<", 0
    for n in numbers:
        code = _SIGNED[headers[n].data_field]
        if headers[n].meaning.coding is not Coding.SIGNED:
            code = code.upper()
        first, end = places[n]
        layout += f"{first - offset}x{code}"
        offset = end
    return struct.Struct(f"{layout}{length - offset}x").unpack


def _digits_place(place: _Place, length: int) -> _Place:
    first, end = place
    return 2 * (length - end), 2 * (length - first)


def _cutter(places: list[_Place]) -> Callable[[Any], tuple[Any, ...]]:
    """A function that cuts all places out of bytes, or of a text."""
    cuts = [slice(*place) for place in places]
    if len(cuts) > 1:
        return itemgetter(*cuts)
    return lambda whole: tuple(whole[cut] for cut in cuts)


def _picker(order: list[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return itemgetter(*order) if len(order) > 1 else tuple


def _decode(header: RecordHeader, cut: slice, data: bytes) -> Decoded:
    return decode_value(header.data_field, data[cut], header.meaning)


class Layouts:
    """The layouts seen, up to ``most``; then the oldest is forgotten.

    A layout is made when it is seen for the second time: noise and one-off telegrams make none.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._seen: dict[_Fingerprint, None] = {}
        self._made: dict[_Fingerprint, Layout] = {}
        # Those that bytes of this length and with these first two may have.
        self._candidates: dict[_Look, list[Layout]] = {}

    def __len__(self) -> int:
        """How many layouts are remembered."""
        return len(self._made)

    def read(self, data: bytes, offset: int = 0) -> Records:
        """All records of ``data`` from ``offset`` on, as `decode_records` gives them."""
        tail = data[offset:]
        candidates = self._candidates.get((len(tail), tail[:2]))
        if candidates is not None:
            number = int.from_bytes(tail)
            for layout in candidates:
                if number & layout.mask == layout.masked:
                    return layout.read(tail)
        records, _ = walk(tail)
        if records.errors:
            # What is read in another way than the first depends on the values too.
            return decode_records(data, offset)
        if records.records:
            self._remember(records, tail)
        return records

    def _remember(self, records: Records, data: bytes) -> None:
        mask = _mask(records, _places(records, data), data)
        fingerprint = (mask, int.from_bytes(data) & mask)
        if fingerprint not in self._seen:
            self._seen[fingerprint] = None
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]
            return
        del self._seen[fingerprint]
        layout = self._made[fingerprint] = Layout(records, data)
        self._candidates.setdefault(layout.look, []).insert(0, layout)
        if len(self._made) > self._most:
            self._forget(next(iter(self._made)))

    def _forget(self, fingerprint: _Fingerprint) -> None:
        layout = self._made.pop(fingerprint)
        candidates = self._candidates[layout.look]
        candidates.remove(layout)
        if not candidates:
            del self._candidates[layout.look]


_layouts = Layouts()


def read_records(data: bytes, offset: int = 0) -> Records:
    """All records of ``data`` from ``offset`` on, as `decode_records` gives them, only sooner."""
    return _layouts.read(data, offset)
