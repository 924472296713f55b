"""Layouts remembered: what a meter said once where, its next answer says there again.

A meter sends the same data records from readout to readout; only the data in them change. What DIB
and VIB say, and where each record stands, is a `Layout`. It is told by the bytes that are no data,
so a telegram either has a layout byte for byte or it has another one. With the layout at hand all
integers of a telegram are unpacked at once, all BCD digits are cut out at once, and scaled at once.

What is remembered never changes what a telegram says: `read_records` gives what
`bridge.mbus.walk.decode_records` gives, only sooner. No data are remembered.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import Enum
from itertools import repeat
from operator import is_, itemgetter
from typing import Any

from bridge.mbus.dif import FILLER, LENGTHS, DataField, is_bcd
from bridge.mbus.record import DataRecords, RecordHeader, Records
from bridge.mbus.values import Value, decode_value, usual_date_f, usual_date_g
from bridge.mbus.vif import EXACT, Coding
from bridge.mbus.walk import read_otherwise, walk

_Place = tuple[int, int]  # first byte of the data of a record, and the one behind the last
_Fingerprint = tuple[int, int, int]  # length, mask, and the masked bytes as a number

_ONE = Decimal(1)
_CODES = {  # of the struct module
    DataField.INT8: "b",
    DataField.INT16: "h",
    DataField.INT32: "i",
    DataField.INT64: "q",
}
_multiply = EXACT.multiply


class _Kind(Enum):
    """How the data of a record are read. The order is that in which a `Layout` reads them."""

    INTEGER = "at once, by the struct module"
    ODD_INTEGER = "an integer whose length the struct module does not have"
    DIGITS = "at once, as decimal digits"
    OTHER = "one by one"


class Layout:
    """Where the data of each record stand in a telegram, and how to read them all.

    Args:
        records: what a walk over ``data`` found, without errors and with one record at least.
        data: the bytes that it walked over.
    """

    def __init__(self, records: Records, data: bytes) -> None:
        headers = tuple(record.header for record in records.records)
        places = _places(records, data)
        self.mask = _mask(records, places, data)
        self.masked = int.from_bytes(data) & self.mask
        self._headers = headers
        self._all_valid = (None,) * len(headers)
        self._more_records_follow = records.more_records_follow
        self._own_data_at = (
            None
            if records.manufacturer_data is None
            else len(data) - len(records.manufacturer_data)
        )
        self._own_codes = records.own_codes
        self._cut = _cutter(places)

        # Each kind of data has a way of its own to be read: all integers in one call, all BCD
        # digits in another, the rest one by one. Their values come in this order.
        kinds = [_kind_of(header) for header in headers]
        integers, odd, digits, others = (
            [n for n, kind in enumerate(kinds) if kind is wanted] for wanted in _Kind
        )
        order = integers + odd + digits + others
        self._unpack = _unpacker([(headers[n], places[n]) for n in integers], len(data))
        self._odd = tuple(
            (slice(*places[n]), headers[n].meaning.coding is Coding.SIGNED) for n in odd
        )
        self._digits = (
            _cutter([_digits_place(places[n], len(data)) for n in digits]) if digits else None
        )
        self._scales = tuple(headers[n].meaning.scale or _ONE for n in integers + odd + digits)
        # The numbers that mean "no value". One of them may be an ordinary one in another record.
        self._reserved = tuple(_reserved(headers[n]) for n in integers + odd)
        self._suspects = frozenset(self._reserved) - {None}
        self._others = tuple((_reader(headers[n]), slice(*places[n])) for n in others)
        self._ways = tuple((headers[n], slice(*places[n])) for n in order)
        self._sort: Callable[[tuple[Any, ...]], tuple[Any, ...]] = tuple
        if order != sorted(order):
            self._sort = itemgetter(*sorted(range(len(order)), key=order.__getitem__))

    def read(self, data: bytes) -> Records:
        """The records of data that have this layout."""
        numbers: tuple[int, ...] = self._unpack(data)
        for cut, signed in self._odd:
            numbers += (int.from_bytes(data[cut], "little", signed=signed),)
        gaps: list[int] = []  # where there may be no value
        if not self._suspects.isdisjoint(numbers):
            gaps = [n for n, reserved in enumerate(self._reserved) if numbers[n] == reserved]
        if self._digits is not None:
            # Of the whole telegram, last byte first: so a number reads from left to right.
            digits = self._digits(data[::-1].hex())
            try:
                numbers += tuple(map(int, digits))
            except ValueError:  # a digit above 9 is a sign, or says that there is no value
                decimal = [text.isdecimal() for text in digits]
                gaps += [n for n, good in enumerate(decimal, len(numbers)) if not good]
                numbers += tuple(
                    int(text) if good else 0 for text, good in zip(digits, decimal, strict=True)
                )
        values: tuple[Value, ...] = tuple(map(_multiply, numbers, self._scales))
        if self._others:
            others = tuple([read(data[cut]) for read, cut in self._others])
            # By identity: to ask a decimal whether it equals None takes longer than to make it.
            if True in map(is_, others, repeat(None)):
                gaps += [n for n, value in enumerate(others, len(values)) if value is None]
            values += others
        reasons: tuple[str | None, ...] = self._all_valid
        if gaps:
            values, reasons = self._look_closer(data, gaps, values)
        found = DataRecords(self._headers, self._sort(values), reasons, data, self._cut)
        own = None if self._own_data_at is None else data[self._own_data_at :]
        return Records(found, (), own, self._more_records_follow, self._own_codes)

    def _look_closer(
        self, data: bytes, gaps: list[int], values: tuple[Value, ...]
    ) -> tuple[tuple[Value, ...], tuple[str | None, ...]]:
        """Read one by one what may be no value: the values again, and the reasons, sorted."""
        known = list(values)
        reasons: list[str | None] = [None] * len(values)
        for n in gaps:
            header, cut = self._ways[n]
            known[n], reasons[n] = decode_value(header.data_field, data[cut], header.meaning)
        return tuple(known), self._sort(tuple(reasons))


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


def _kind_of(header: RecordHeader) -> _Kind:
    meaning = header.meaning
    if (
        meaning.error is not None
        or meaning.offset is not None
        or meaning.coding not in (Coding.SIGNED, Coding.UNSIGNED, Coding.BITS)
    ):
        return _Kind.OTHER
    if header.data_field in _CODES:
        return _Kind.INTEGER
    if header.data_field in (DataField.INT24, DataField.INT48):
        return _Kind.ODD_INTEGER
    return _Kind.DIGITS if is_bcd(header.data_field) else _Kind.OTHER


def _reserved(header: RecordHeader) -> int | None:
    """The integer that means "no value" in such a record."""
    bits = 8 * LENGTHS[header.data_field]
    match header.meaning.coding:
        case Coding.SIGNED:
            return -1 << bits - 1
        case Coding.UNSIGNED:
            return (1 << bits) - 1
        case _:
            return None


def _reader(header: RecordHeader) -> Callable[[bytes], Value]:
    """How the data of such a record are read by themselves; None where one has to look closer."""
    if header.meaning.error is None and header.meaning.coding in (Coding.DATE, Coding.TIME_POINT):
        if header.data_field is DataField.INT16:
            return usual_date_g
        if header.data_field is DataField.INT32 and header.meaning.coding is Coding.TIME_POINT:
            return usual_date_f
    return lambda data: decode_value(header.data_field, data, header.meaning)[0]


def _unpacker(
    records: list[tuple[RecordHeader, _Place]], length: int
) -> Callable[[bytes], tuple[Any, ...]]:
    layout, offset = "<", 0
    for header, (first, end) in records:
        code = _CODES[header.data_field]
        if header.meaning.coding is not Coding.SIGNED:
            code = code.upper()
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


class Layouts:
    """The layouts seen, up to ``most``; then the oldest is forgotten.

    A layout is made when it is seen for the second time: noise and one-off telegrams make none.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._seen: dict[_Fingerprint, None] = {}
        self._made: dict[_Fingerprint, Layout] = {}
        # Those that bytes of this length may have, the one that fitted last in front.
        self._candidates: dict[int, list[Layout]] = {}

    def __len__(self) -> int:
        """How many layouts are remembered."""
        return len(self._made)

    def read(self, data: bytes, offset: int = 0) -> Records:
        """All records of ``data`` from ``offset`` on, as `bridge.mbus.walk.decode_records` does."""
        tail = data[offset:]
        if candidates := self._candidates.get(len(tail)):
            number = int.from_bytes(tail)
            for layout in candidates:
                if number & layout.mask == layout.masked:
                    if layout is not candidates[0]:
                        candidates.remove(layout)
                        candidates.insert(0, layout)
                    return layout.read(tail)
        found = walk(data, offset)
        if found.records.errors:
            # What is read in another way than the first depends on the values too.
            return read_otherwise(found, data, offset)
        if found.records.records and not found.told_by_data:
            self._remember(found.records, tail)
        return found.records

    def _remember(self, records: Records, data: bytes) -> None:
        mask = _mask(records, _places(records, data), data)
        fingerprint = (len(data), mask, int.from_bytes(data) & mask)
        if fingerprint not in self._seen:
            self._seen[fingerprint] = None
            if len(self._seen) > self._most:
                del self._seen[next(iter(self._seen))]
            return
        del self._seen[fingerprint]
        layout = self._made[fingerprint] = Layout(records, data)
        self._candidates.setdefault(len(data), []).insert(0, layout)
        if len(self._made) > self._most:
            self._forget(next(iter(self._made)))

    def _forget(self, fingerprint: _Fingerprint) -> None:
        self._candidates[fingerprint[0]].remove(self._made.pop(fingerprint))


_layouts = Layouts()

# All records of data from an offset on, as `decode_records` gives them, only sooner.
read_records = _layouts.read
