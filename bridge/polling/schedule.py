"""Whose turn it is, given the time. Pure.

Each meter has a grid of its own: times ``every`` seconds apart, shifted against the others' so
that a bus with sixty meters works evenly and not in one burst each quarter of an hour. A turn
that was missed is not made up for: the next one is the next time of the grid.

Intervals are of the monotonic clock (``now``), windows of the wall clock (``local``).
"""

from __future__ import annotations

import datetime
import itertools
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from bridge.polling.statistics import FailureKind

DAY = 86400.0

# A readout that failed is tried again soon, and a meter that stays away is looked for at these
# times. One look costs one silent try (0.2 s at 2400 baud), so a return is noticed within a minute.
RETRY_FIRST = 5.0  # seconds after the first failure; doubled with each further one
RETRY_LAST = 60.0

# A meter that answers, but will not be read now, spares its battery: it gets time.
REFUSED_SHARE = 0.25  # of its interval
REFUSED_FIRST = 3600.0  # seconds, at most, after the first refusal; doubled with each further one
REFUSED_LEAST = 60.0

# All looks together may take this share of the bus from the meters that answer.
PROBE_SHARE = 0.02

# Who waits for so long, in seconds, has every second turn, whoever else is to go first.
LATE = 30.0

# Shifts by the golden ratio stay even, however many meters there are, and a meter that is added
# moves nobody else.
_GOLDEN = 0.6180339887498949

Window = tuple[datetime.time, datetime.time]


class _Setback(Enum):
    """What a failure says about the next try."""

    SILENT = auto()  # nothing was there to be disturbed: look again soon
    REFUSED = auto()  # it was there, and asks to be left alone
    SPOILT = auto()  # it may be there, and answer in vain: each try may cost its battery


_SETBACKS = {
    FailureKind.NO_CONNECTION: _Setback.SILENT,
    FailureKind.NO_ANSWER: _Setback.SILENT,
    FailureKind.BUSY: _Setback.REFUSED,
    FailureKind.APPLICATION_ERROR: _Setback.REFUSED,
    FailureKind.UNREADABLE: _Setback.REFUSED,
    FailureKind.DAMAGED: _Setback.SPOILT,
    FailureKind.FOREIGN_METER: _Setback.SPOILT,
    FailureKind.WRONG_LINE: _Setback.REFUSED,
    FailureKind.INTERNAL: _Setback.SPOILT,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """When a meter wants its turns.

    ``every`` is in seconds; 0 means whenever the bus is free. ``window`` is a part of the day, in
    local time, from the first up to before the second; it may lie over midnight. ``minimum_gap``
    is in seconds: so long is a meter that has answered left alone, whoever asks. A meter of
    ``priority`` goes before the others; one that is read continuously gets every second turn.
    """

    name: str
    every: float
    window: Window | None = None
    minimum_gap: float = 0.0
    priority: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """``probe`` says that the meter has been silent: look with one try whether it is back."""

    name: str
    probe: bool = False


@dataclass(slots=True)
class _Entry:
    plan: Plan
    order: int
    anchor: float  # a time of its grid
    offset: float  # seconds from the opening of its window to its turn
    due: float
    failures: int = 0  # in a row
    setback: _Setback | None = None  # the last failure's
    setbacks: int = 0  # of this kind, in a row
    silent: bool = False  # it is only looked for, and no longer counted on
    missed: bool = False  # the bus was not there when its turn came
    held: bool = False  # its window was closed when its turn came
    not_before: float = -math.inf  # its minimum gap, since it was last heard


class Schedule:
    """The turns on one bus.

    All meters are due at the start. Ask ``next_turn``; then tell how it went: ``answered``,
    ``failed`` or ``passed``. Where it gives no turn, ``next_change`` tells when to ask again.
    """

    def __init__(self, plans: Iterable[Plan], now: float, local: datetime.datetime) -> None:
        self._entries: dict[str, _Entry] = {}
        self._order = itertools.count()
        self._asked_for: deque[str] = deque()
        self._probe_after = now
        self._pushed = False  # the last turn went before those that wait
        self._last: str | None = None  # who had the last turn
        for plan in plans:
            self.add(plan, now, local)

    def add(self, plan: Plan, now: float, local: datetime.datetime) -> None:
        """One meter more. It is due at once.

        Raises:
            ValueError: there is one of that name already.
        """
        if plan.name in self._entries:
            raise ValueError(f"two meters are named {plan.name}")
        order = next(self._order)
        offset = _offset(plan, order)
        anchor = _anchor(plan, offset, now, local)
        self._entries[plan.name] = _Entry(plan, order, anchor, offset, due=now)

    def remove(self, name: str) -> None:
        """One meter less.

        Raises:
            KeyError: there is no such meter.
        """
        del self._entries[name]
        if name in self._asked_for:
            self._asked_for.remove(name)

    def change(self, plan: Plan, now: float, local: datetime.datetime) -> None:
        """Other intervals for a meter. What is known of it, and its minimum gap, stay.

        Raises:
            KeyError: there is no such meter.
        """
        entry = self._entries[plan.name]
        since_heard = entry.not_before - entry.plan.minimum_gap
        entry.plan = plan
        entry.offset = _offset(plan, entry.order)
        entry.anchor = _anchor(plan, entry.offset, now, local)
        entry.due = min(entry.due, _next_on_grid(entry, now))
        entry.not_before = since_heard + plan.minimum_gap

    def heard(self, name: str, at: float) -> None:
        """A meter was read at that time, by an earlier run: its minimum gap counts from there.

        Raises:
            KeyError: there is no such meter.
        """
        entry = self._entries[name]
        entry.not_before = at + entry.plan.minimum_gap

    def read_now(self, name: str, now: float) -> float:
        """Put a meter at the head of the queue, whatever its interval and its window.

        Returns:
            Seconds for which its minimum gap still holds it back; 0 where it is next.

        Raises:
            KeyError: there is no such meter.
        """
        entry = self._entries[name]
        if name not in self._asked_for:
            self._asked_for.append(name)
        return max(0.0, entry.not_before - now)

    def set_due(self, name: str, now: float) -> None:
        """A meter is due, as its window and gap allow.

        Raises:
            KeyError: there is no such meter.
        """
        self._entries[name].due = min(self._entries[name].due, now)

    def read_all(self, now: float) -> None:
        """All meters are due, in the order of the file; each as its window and gap allow."""
        for entry in self._entries.values():
            entry.due = min(entry.due, now)

    def next_turn(self, now: float, local: datetime.datetime) -> Turn | None:
        """Whose turn it is; None where it is nobody's."""
        asked = next((n for n in self._asked_for if self._entries[n].not_before <= now), None)
        if asked is not None and not self._pushed:
            return Turn(asked)
        self._hold(now, local)
        ready = [
            entry
            for entry in self._entries.values()
            if entry.due <= now and entry.not_before <= now and _until_turn(entry, local) <= 0
        ]
        # Those that have waited longest come first; at the same time, in the order of the file.
        chosen = [entry for entry in ready if not entry.silent]
        silent = [entry for entry in ready if entry.silent]
        if silent and (not chosen or now >= self._probe_after):
            chosen = silent
        if asked is not None and not any(entry.due < now - LATE for entry in chosen):
            return Turn(asked)
        if not chosen:
            return None
        if self._pushed:
            late = [e for e in chosen if not e.plan.priority and e.due < now - LATE]
            chosen = late or chosen
        entry = min(chosen, key=self._urgency)
        if entry.held:
            # The grid was askew to the wall clock; from here on it lies right again.
            entry.anchor = now + _until_turn(entry, local)
            entry.held = False
        return Turn(entry.plan.name, probe=entry.silent)

    def next_change(self, now: float, local: datetime.datetime) -> float | None:
        """When there may be a turn, on the clock of ``now``; None where there are no meters.

        Never more than a minute ahead where a window must open: the wall clock may be set.
        """
        self._hold(now, local)
        times = [max(self._entries[name].not_before, now) for name in self._asked_for]
        for entry in self._entries.values():
            until_turn = 0.0 if entry.due > now else min(_until_turn(entry, local), 60.0)
            times.append(max(entry.due, entry.not_before, now + max(until_turn, 0.0)))
        return min(times, default=None)

    def answered(self, name: str, now: float) -> None:
        """The meter was read."""
        entry = self._take(name)
        entry.not_before = now + entry.plan.minimum_gap
        entry.failures = entry.setbacks = 0
        entry.setback = None
        entry.silent = False
        entry.due = _next_on_grid(entry, now)

    def failed(self, name: str, now: float, kind: FailureKind, *, took: float = 0.0) -> None:
        """The meter was not read. ``took`` is how many seconds of the bus that has cost."""
        entry = self._take(name)
        if entry.silent:
            self._probe_after = now + took / PROBE_SHARE
        setback = _SETBACKS[kind]
        if setback is not _Setback.SILENT:
            entry.not_before = now + entry.plan.minimum_gap
        entry.failures += 1
        entry.setbacks = entry.setbacks + 1 if setback is entry.setback else 1
        entry.setback = setback
        entry.silent = setback is _Setback.SILENT and entry.failures > 1
        entry.due = now + _pause(entry)
        if entry.plan.every > 0 and not entry.silent:
            entry.due = min(entry.due, _next_on_grid(entry, now))
        if setback is _Setback.REFUSED:
            entry.due = max(entry.due, now + REFUSED_LEAST)

    def passed(self, name: str, now: float, *, heard: bool = False) -> None:
        """The meter had its turn, but the bus was not there."""
        entry = self._take(name)
        if heard:
            entry.not_before = now + entry.plan.minimum_gap
        entry.due = _next_on_grid(entry, now) if entry.plan.every > 0 else now + RETRY_LAST
        entry.missed = True

    def resume(self, now: float) -> None:
        """The bus is back: whoever was passed over is due, one after the other.

        Nobody else is: a gateway that hangs up every minute must not empty a battery.
        """
        for entry in self._entries.values():
            if entry.missed:
                entry.missed = False
                entry.due = min(entry.due, now)

    def _hold(self, now: float, local: datetime.datetime) -> None:
        """Whose turn comes while its window is closed waits for its own place in the window.

        Else all such meters would be read in one burst when it opens. That is not only the first
        night: whenever the wall clock was set, or changed to summer time, the grid lies askew.
        """
        for entry in self._entries.values():
            if entry.due <= now and not _is_open(entry.plan.window, local.time()):
                entry.held = True

    def _take(self, name: str) -> _Entry:
        self._pushed = name in self._asked_for or self._entries[name].plan.priority
        if name in self._asked_for:
            self._asked_for.remove(name)
        entry = self._entries[name]
        entry.missed = entry.held = False
        self._last = name
        return entry

    def _urgency(self, entry: _Entry) -> tuple[int, float, int]:
        rank = 0 if entry.plan.priority else 1
        if rank == 0 and entry.plan.every <= 0 and entry.plan.name == self._last:
            rank = 2  # it is always due, and would leave the others nothing
        return rank, entry.due, entry.order


def _pause(entry: _Entry) -> float:
    """Seconds from a failure to the next try, before the grid is looked at."""
    every = entry.plan.every
    if entry.setback is _Setback.REFUSED:
        return min(every * REFUSED_SHARE, REFUSED_FIRST) * _doubled(entry.setbacks)
    if entry.setback is _Setback.SPOILT:
        return min(RETRY_FIRST * _doubled(entry.setbacks), every or RETRY_LAST)
    return min(RETRY_FIRST * _doubled(entry.failures), RETRY_LAST)


def _doubled(times: int) -> float:
    return 2.0 ** min(times - 1, 30)


def _offset(plan: Plan, order: int) -> float:
    shift = order * _GOLDEN % 1.0
    if plan.window is None:
        return shift * plan.every
    # In the first half of the window, so that the second half is left where the bus is slow.
    return shift * min(plan.every, _length(plan.window) / 2) // 1


def _anchor(plan: Plan, offset: float, now: float, local: datetime.datetime) -> float:
    return now + offset - (0.0 if plan.window is None else _since_open(plan.window, local))


def _next_on_grid(entry: _Entry, now: float) -> float:
    every = entry.plan.every
    if every <= 0:
        return now
    # A turn that came a moment before its time must not be followed by another at its time.
    steps = (now + every * 1e-6 - entry.anchor) // every + 1
    return entry.anchor + steps * every


def _seconds(time: datetime.time) -> float:
    return time.hour * 3600.0 + time.minute * 60.0 + time.second + time.microsecond / 1e6


def _is_open(window: Window | None, time: datetime.time) -> bool:
    if window is None:
        return True
    first, last = window
    if first < last:
        return first <= time < last
    return time >= first or time < last


def _until_turn(entry: _Entry, local: datetime.datetime) -> float:
    """Seconds until a meter that is due may be read, by its window; 0 or less: now."""
    window = entry.plan.window
    if window is None:
        return 0.0
    if not _is_open(window, local.time()):
        return DAY - _since_open(window, local) + entry.offset
    return entry.offset - _since_open(window, local) if entry.held else 0.0


def _since_open(window: Window, local: datetime.datetime) -> float:
    return (_seconds(local.time()) - _seconds(window[0])) % DAY


def shut_for(window: Window | None) -> float:
    """Seconds of each day in which a meter may not be read."""
    return 0.0 if window is None else DAY - _length(window)


def _length(window: Window) -> float:
    return (_seconds(window[1]) - _seconds(window[0])) % DAY or DAY
