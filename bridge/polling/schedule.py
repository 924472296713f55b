"""Whose turn it is, given the time. Pure.

Each meter has a grid of its own: times ``every`` seconds apart, shifted against the others' so
that a bus with sixty meters works evenly and not in one burst each quarter of an hour. A turn
that was missed is not made up for: the next one is the next time of the grid.

Intervals are of the monotonic clock (``now``), windows of the wall clock (``local``).
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

DAY = 86400.0

# A readout that failed is tried again soon, and a meter that stays away is looked for at these
# times. One look costs one silent try (0.2 s at 2400 baud), so a return is noticed within a minute.
RETRY_FIRST = 5.0  # seconds after the first failure; doubled with each further one
RETRY_LAST = 60.0

# All looks together may take this share of the bus from the meters that answer.
PROBE_SHARE = 0.02

# Shifts by the golden ratio stay even, however many meters there are, and a meter that is added
# moves nobody else.
_GOLDEN = 0.6180339887498949

Window = tuple[datetime.time, datetime.time]


@dataclass(frozen=True, slots=True)
class Plan:
    """When a meter wants its turns.

    ``every`` is in seconds; 0 means whenever the bus is free. ``window`` is a part of the day, in
    local time, from the first up to before the second; it may lie over midnight.
    """

    name: str
    every: float
    window: Window | None = None


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
    due: float
    failures: int = 0  # in a row
    silent: bool = False  # the last failure was that nobody answered
    missed: bool = False  # the bus was not there when its turn came


class Schedule:
    """The turns on one bus.

    All meters are due at the start. Ask ``next_turn``; then tell how it went: ``answered``,
    ``failed`` or ``passed``. Where it gives no turn, ``next_change`` tells when to ask again.
    """

    def __init__(self, plans: Iterable[Plan], now: float, local: datetime.datetime) -> None:
        self._entries: dict[str, _Entry] = {}
        for order, plan in enumerate(plans):
            if plan.name in self._entries:
                raise ValueError(f"two meters are named {plan.name}")
            anchor = _anchor(plan, order, now, local)
            self._entries[plan.name] = _Entry(plan, order, anchor, due=now)
        self._asked_for: deque[str] = deque()
        self._probe_after = now

    def read_now(self, name: str) -> None:
        """Put a meter at the head of the queue, whatever its interval and its window.

        Raises:
            KeyError: there is no such meter.
        """
        if name not in self._entries:
            raise KeyError(name)
        if name not in self._asked_for:
            self._asked_for.append(name)

    def next_turn(self, now: float, local: datetime.datetime) -> Turn | None:
        """Whose turn it is; None where it is nobody's."""
        if self._asked_for:
            return Turn(self._asked_for[0])
        ready = [
            entry
            for entry in self._entries.values()
            if entry.due <= now and _is_open(entry.plan.window, local.time())
        ]
        # Those that have waited longest come first; at the same time, in the order of the file.
        alive = [entry for entry in ready if not entry.silent]
        silent = [entry for entry in ready if entry.silent]
        if silent and (not alive or now >= self._probe_after):
            return Turn(min(silent, key=_urgency).plan.name, probe=True)
        if alive:
            return Turn(min(alive, key=_urgency).plan.name)
        return None

    def next_change(self, now: float, local: datetime.datetime) -> float | None:
        """When there may be a turn, on the clock of ``now``; None where there are no meters.

        Never more than a minute ahead where a window must open: the wall clock may be set.
        """
        if self._asked_for:
            return now
        times = []
        for entry in self._entries.values():
            time = max(entry.due, now)
            if not _is_open(entry.plan.window, local.time()):
                time = max(time, now + min(_until_open(entry.plan.window, local), 60.0))
            times.append(time)
        return min(times, default=None)

    def answered(self, name: str, now: float) -> None:
        """The meter was read."""
        entry = self._take(name)
        entry.failures = 0
        entry.silent = False
        entry.due = _next_on_grid(entry, now)

    def failed(self, name: str, now: float, *, silent: bool, took: float = 0.0) -> None:
        """The meter was not read. ``took`` is how many seconds of the bus that has cost."""
        entry = self._take(name)
        if entry.silent:
            self._probe_after = now + took / PROBE_SHARE
        entry.failures += 1
        entry.silent = silent and entry.failures > 1
        retry = min(RETRY_FIRST * 2.0 ** min(entry.failures - 1, 10), RETRY_LAST)
        entry.due = now + retry
        if not entry.silent and entry.plan.every > 0:
            entry.due = min(entry.due, _next_on_grid(entry, now))

    def passed(self, name: str, now: float) -> None:
        """The meter had its turn, but the bus was not there."""
        entry = self._take(name)
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

    def is_silent(self, name: str) -> bool:
        """Whether the meter is only looked for, and no longer counted on."""
        return self._entries[name].silent

    def _take(self, name: str) -> _Entry:
        if name in self._asked_for:
            self._asked_for.remove(name)
        entry = self._entries[name]
        entry.missed = False
        return entry


def _urgency(entry: _Entry) -> tuple[float, int]:
    return entry.due, entry.order


def _anchor(plan: Plan, order: int, now: float, local: datetime.datetime) -> float:
    shift = order * _GOLDEN % 1.0
    if plan.window is None:
        return now + shift * plan.every
    # In the first half of the window, so that the second half is left where the bus is slow.
    length = (_seconds(plan.window[1]) - _seconds(plan.window[0])) % DAY or DAY
    since_open = (_seconds(local.time()) - _seconds(plan.window[0])) % DAY
    return now - since_open + shift * min(plan.every, length / 2)


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


def _until_open(window: Window | None, local: datetime.datetime) -> float:
    if window is None or _is_open(window, local.time()):
        return 0.0
    return (_seconds(window[0]) - _seconds(local.time())) % DAY
