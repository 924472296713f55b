"""Compact profiles: a series of values in one data record (EN 13757-3, annex F).

A profile follows a base value, a record of the same VIF and storage number, and a time, a date
record of that storage number. It says how far apart its values are, and each of them as a number or
as the increment to the one before. `unfold` makes values with their times of it.
"""

from __future__ import annotations

import calendar
import datetime
from bisect import bisect
from collections.abc import Hashable, Iterator, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

from bridge.mbus.dif import LENGTHS, DataField
from bridge.mbus.record import DataRecord, RecordHeader
from bridge.mbus.values import Decoded, Value, decode_value
from bridge.mbus.vif import EXACT, Coding, Vib
from bridge.units import Quantity

# The labels of VIFE 1F, 13 and 1E.
FORWARD = "compact profile"
INVERSE = "inverse compact profile"
REGISTERS = "compact profile with register numbers"
_PROFILES = (FORWARD, INVERSE, REGISTERS)

_PREAMBLE = 2  # spacing control and spacing value
_HALF_MONTH, _MONTH = 253, 254
_LAST_NUMBER = 250


class Increments(IntEnum):
    """What the elements are: bits 7 and 6 of the spacing control byte."""

    ABSOLUTE = 0
    POSITIVE = 1
    NEGATIVE = 2
    SIGNED = 3


class SpacingUnit(IntEnum):
    """What the spacing counts: bits 5 and 4 of the spacing control byte."""

    SECONDS = 0
    MINUTES = 1
    HOURS = 2
    DAYS = 3


_SECONDS = {SpacingUnit.SECONDS: 1, SpacingUnit.MINUTES: 60, SpacingUnit.HOURS: 3600}
# Spacing value 254: a period of the calendar, in months.
_MONTHS = {SpacingUnit.DAYS: 1, SpacingUnit.HOURS: 3, SpacingUnit.MINUTES: 6}

Moment = datetime.date | datetime.datetime


class Entry(NamedTuple):
    """One value of a profile, in the unit of its record.

    ``time`` is None where it cannot be told; ``value`` is None where there is none, and then
    ``invalid`` says why. ``register`` is the number of the register, where the profile numbers
    them: the storage number, and one more from entry to entry.
    """

    time: Moment | None
    value: Value
    invalid: str | None = None
    register: int | None = None


class Profile(NamedTuple):
    """A profile unfolded.

    ``record`` is the profile as it came: its quantity, unit, storage number and so on are those of
    the values. ``entries`` stand in the order of the elements, behind the base value if there is
    one; those of an inverse profile go back in time. ``problems`` tell what is missing or wrong.
    """

    record: DataRecord
    base: DataRecord | None
    entries: tuple[Entry, ...]
    problems: tuple[str, ...] = ()


def unfold(records: Sequence[DataRecord]) -> tuple[Profile, ...]:
    """The compact profiles among these records.

    Args:
        records: of a whole answer, in the order in which they came: base value and time of a
            profile may be in an earlier telegram.
    """
    kinds = [(n, kind) for n, record in enumerate(records) if (kind := _kind(record)) is not None]
    if not kinds:
        return ()
    answer = _Answer(records)
    return tuple(_unfold(answer, n, kind) for n, kind in kinds)


def _kind(record: DataRecord) -> str | None:
    if record.header.data_field is not DataField.VARIABLE:
        return None
    return next((label for label in record.modifiers if label in _PROFILES), None)


class _Answer:
    """The records of a whole answer, by what a profile looks for in them."""

    def __init__(self, records: Sequence[DataRecord]) -> None:
        self.records = records
        # Where such records stand, in order. Profiles are many where they are at all, so nobody
        # goes through the answer for each of them.
        self._bases: dict[Hashable, list[int]] = {}
        self._times: dict[Hashable, list[int]] = {}
        for n, record in enumerate(records):
            header = record.header
            self._bases.setdefault(_alike(header, header.meaning.modifiers), []).append(n)
            if _is_time(header.meaning):
                self._times.setdefault(header.storage, []).append(n)
                self._times.setdefault(_registers(header), []).append(n)

    def base_of(self, place: int, kind: str) -> DataRecord | None:
        """The base value of the profile at this place."""
        header = self.records[place].header
        others = tuple(label for label in header.meaning.modifiers if label != kind)
        return self._nearest(self._bases.get(_alike(header, others)), place)

    def time_of(self, place: int) -> DataRecord | None:
        """The time of the profile's storage number, best that of its tariff and subunit too."""
        header = self.records[place].header
        own = self._times.get(_registers(header)) or self._times.get(header.storage)
        return self._nearest(own, place)

    def _nearest(self, places: Sequence[int] | None, place: int) -> DataRecord | None:
        """The nearest record before the profile, or else the first behind it."""
        if not places:
            return None
        return self.records[places[max(bisect(places, place) - 1, 0)]]


def _alike(header: RecordHeader, modifiers: tuple[str, ...]) -> Hashable:
    meaning = header.meaning
    what = meaning.quantity, meaning.unit, meaning.unit_text, modifiers
    return _registers(header), header.function, what


def _registers(header: RecordHeader) -> tuple[int, int, int]:
    return header.storage, header.tariff, header.subunit


def _is_time(meaning: Vib) -> bool:
    return meaning.quantity in (Quantity.DATE, Quantity.DATE_TIME) and not meaning.modifiers


def _unfold(answer: _Answer, place: int, kind: str) -> Profile:
    record, base = answer.records[place], answer.base_of(place, kind)
    if record.value is None:
        return Profile(record, base, (), (record.invalid or "no data",))
    payload = record.data[1:]
    if len(payload) < _PREAMBLE:
        return Profile(record, base, (), ("it ends before its spacing",))
    increments, unit = Increments(payload[0] >> 6), SpacingUnit(payload[0] >> 4 & 3)
    data_field, spacing = DataField(payload[0] & 0x0F), payload[1]
    length = LENGTHS[data_field]
    if not length:
        return Profile(record, base, (), (f"elements of data field {data_field:X}",))
    count, left_over = divmod(len(payload) - _PREAMBLE, length)
    ends = range(_PREAMBLE + length, len(payload) + 1, length)
    elements = [payload[end - length : end] for end in ends]
    start, problems = _start(record, answer.time_of(place), unit, spacing)
    if spacing and not _is_defined(unit, spacing):
        problems.append(f"reserved spacing {spacing} with unit {unit:d}")
        start = None
    if left_over:
        problems.append(f"{left_over} bytes behind {count} elements")
    if base is None and increments is not Increments.ABSOLUTE:
        problems.append("no base value")
    direction = -1 if kind == INVERSE else 1
    values = list(_values(record.header.meaning, base, data_field, increments, direction, elements))
    first = 0 if base is not None else 1
    entries: list[Entry] = []
    for n, (value, invalid) in enumerate(values, start=first):
        time = start if n == 0 else _moved(start, unit, spacing, n * direction)
        register = record.storage + n if kind == REGISTERS else None
        entries.append(Entry(time, value, invalid, register))
    return Profile(record, base, tuple(entries), tuple(problems))


def _start(
    profile: DataRecord, record: DataRecord | None, unit: SpacingUnit, spacing: int
) -> tuple[Moment | None, list[str]]:
    """The time of the base value as its record tells it, and why there is none."""
    time = None if record is None else record.value
    if spacing == 0:  # an array: its values have no times
        return (time if isinstance(time, datetime.date) else None), []
    if record is None:
        return None, [f"no time of storage number {profile.storage}"]
    if not isinstance(time, datetime.date):
        return None, [f"the time of storage number {profile.storage} is no point in time"]
    if spacing <= _LAST_NUMBER and unit in _SECONDS and not isinstance(time, datetime.datetime):
        return None, [f"{time} has no time of day, and the values are {unit.name.lower()} apart"]
    return time, []


def _is_defined(unit: SpacingUnit, spacing: int) -> bool:
    if spacing == _HALF_MONTH:
        return unit is SpacingUnit.DAYS
    return spacing <= _LAST_NUMBER or (spacing == _MONTH and unit in _MONTHS)


def _moved(start: Moment | None, unit: SpacingUnit, spacing: int, steps: int) -> Moment | None:
    if start is None or spacing == 0:
        return None
    if spacing == _MONTH:
        return add_months(start, steps * _MONTHS[unit])
    if spacing == _HALF_MONTH:
        return add_half_months(start, steps)
    if unit is SpacingUnit.DAYS:
        return start + datetime.timedelta(days=steps * spacing)
    return start + datetime.timedelta(seconds=steps * spacing * _SECONDS[unit])


def add_months(moment: Moment, months: int) -> Moment:
    """The same day so many months later.

    From the last day of a month it is the last day of another, as meters store their months: from
    28 February to 31 March.
    """
    years, month = divmod(moment.month - 1 + months, 12)
    last = calendar.monthrange(moment.year + years, month + 1)[1]
    day = last if _is_last_day(moment) else min(moment.day, last)
    return moment.replace(year=moment.year + years, month=month + 1, day=day)


def add_half_months(moment: Moment, halves: int) -> Moment:
    """So many half months later: from the 1st to the 16th, from the 15th to the last day."""
    months, odd = divmod(halves, 2)
    if not odd:
        return add_months(moment, months)
    if _is_last_day(moment):
        return add_months(moment.replace(day=15), months + 1)
    if moment.day > 15:
        return add_months(moment.replace(day=moment.day - 15), months + 1)
    later = add_months(moment, months)
    last = calendar.monthrange(later.year, later.month)[1]
    return later.replace(day=last if moment.day == 15 else min(moment.day + 15, last))


def _is_last_day(moment: Moment) -> bool:
    return moment.day == calendar.monthrange(moment.year, moment.month)[1]


def _values(
    meaning: Vib,
    base: DataRecord | None,
    data_field: DataField,
    increments: Increments,
    direction: int,
    elements: Sequence[bytes],
) -> Iterator[Decoded]:
    """The base value where there is one, and a value for each element."""
    if base is not None:
        yield base.value, base.invalid
    if increments is Increments.ABSOLUTE:
        coding = Coding.SIGNED if base is None else base.header.meaning.coding
        absolute = meaning._replace(coding=coding)
        for element in elements:
            yield decode_value(data_field, element, absolute)
        return
    # A correction by a constant is in the base value, and in no difference.
    coding = Coding.SIGNED if increments is Increments.SIGNED else Coding.UNSIGNED
    difference = meaning._replace(coding=coding, offset=None)
    if increments is Increments.NEGATIVE:
        direction = -direction
    value, reason = _beginning(base)
    for element in elements:
        if value is not None:
            step, reason = decode_value(data_field, element, difference)
            if not isinstance(step, Decimal):
                value = None
            elif increments is not Increments.SIGNED and step < 0:
                value, reason = None, f"an increment below zero: {step}"
            else:
                value = EXACT.add(value, step) if direction > 0 else EXACT.subtract(value, step)
            yield value, reason
            if value is None:
                reason = "after an increment that is not known"
        else:
            yield None, reason


def _beginning(base: DataRecord | None) -> tuple[Decimal | None, str | None]:
    if base is None:
        return None, "no base value"
    if not isinstance(base.value, Decimal):
        return None, "the base value is no number"
    return base.value, None
