"""How much of something is used, and when: the same answer for the same instant, always.

A counter must be the integral of its flow, at any instant that somebody asks for, without running
through all instants before. So the use of a week is a table of 15-minute values with known sums, a
year weighs its 52 weeks, and inside a quarter of an hour the flow ripples around its value with
a mean of nothing. Floats do here: a meter's register rounds to its own digits.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Sequence
from itertools import accumulate

# A Monday. A year of 52 weeks drifts against the calendar by 1.25 days a year: no matter here.
EPOCH = dt.datetime(2024, 1, 1)

_HOUR = 3600.0
_SLOTS_AN_HOUR = 4
_SLOT = _HOUR / _SLOTS_AN_HOUR
_SLOTS = 7 * 24 * _SLOTS_AN_HOUR
_WEEK = _SLOTS * _SLOT
_WEEKS = 52

HOUSEHOLD = (1, 1, 1, 1, 2, 5, 12, 16, 12, 8, 7, 8, 9, 7, 6, 6, 8, 11, 14, 14, 11, 8, 5, 2)
HEATING = (5, 5, 5, 6, 9, 14, 15, 14, 12, 11, 10, 9, 9, 9, 9, 10, 11, 12, 12, 12, 11, 9, 7, 5)
OFFICE = (2, 2, 2, 2, 2, 3, 5, 9, 13, 15, 15, 15, 14, 15, 15, 14, 13, 10, 7, 4, 3, 3, 2, 2)
AFTERNOON = (3, 3, 2, 2, 2, 2, 3, 5, 8, 11, 13, 14, 15, 16, 16, 15, 14, 12, 9, 7, 6, 5, 4, 3)
EVENING = (0, 0, 0, 0, 0, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 8, 12, 9, 3, 0, 0)

EVEN = (1.0,) * _WEEKS


def winter(depth: float) -> tuple[float, ...]:
    """Weights of the weeks: most in January, least in July; a depth of 1 leaves July nothing."""
    return tuple(1 + depth * math.cos(2 * math.pi * (week - 2) / _WEEKS) for week in range(_WEEKS))


def half_year(*, cold: bool) -> tuple[float, ...]:
    """Weights of the weeks: something in the cold half of the year only, or in the warm one."""
    wave = winter(1.0)
    return tuple(max(0.0, weight - 1) if cold else max(0.0, 1 - weight) for weight in wave)


class Demand:
    """Use over time.

    Args:
        mean: over a year, in any unit per hour.
        day: weights of the 24 hours.
        weekend: weight of Saturday and Sunday against the other days.
        year: weights of 52 weeks.
        ripple: how far the flow leaves its value within a quarter of an hour, up to 1.
        hours: the hours of the day that count, for a tariff; None for all. Others have no use.
        seed: any text.
    """

    def __init__(
        self,
        mean: float,
        *,
        day: Sequence[float] = HOUSEHOLD,
        weekend: float = 1.0,
        year: Sequence[float] = EVEN,
        ripple: float = 0.1,
        hours: range | None = None,
        seed: str = "",
    ) -> None:
        dice = random.Random(f"demand/{seed}")
        weights = [
            day[slot // _SLOTS_AN_HOUR % 24]
            * (weekend if slot >= 5 * 24 * _SLOTS_AN_HOUR else 1.0)
            * dice.uniform(0.8, 1.2)
            for slot in range(_SLOTS)
        ]
        # Scaled before the hours are picked: two tariffs are parts of one use.
        scale = mean * _SLOTS / sum(weights)
        self._week = [
            weight * scale if hours is None or slot // _SLOTS_AN_HOUR % 24 in hours else 0.0
            for slot, weight in enumerate(weights)
        ]
        self._year = [weight * _WEEKS / sum(year) for weight in year]
        self._waves = [dice.choice((2, 3, 5, 7)) for _ in range(_SLOTS)]
        self._ripple = ripple
        self._before_slot = [0.0, *accumulate(self._week)]
        self._before_week = [0.0, *accumulate(self._year)]

    @property
    def peak(self) -> float:
        """What `rate` never exceeds."""
        return max(self._week) * max(self._year) * (1 + self._ripple)

    def rate(self, when: dt.datetime) -> float:
        """The use at that instant, per hour."""
        _, week, slot, part = _place(when)
        angle = 2 * math.pi * self._waves[slot] * part
        return self._week[slot] * self._year[week] * (1 + self._ripple * math.sin(angle))

    def total(self, when: dt.datetime) -> float:
        """All use from the epoch to that instant."""
        year, week, slot, part = _place(when)
        angle = 2 * math.pi * self._waves[slot]
        within = part + self._ripple * (1 - math.cos(angle * part)) / angle
        of_week = self._before_slot[slot] + self._week[slot] * within
        weeks = year * self._before_week[-1] + self._before_week[week]
        return (weeks * self._before_slot[-1] + self._year[week] * of_week) / _SLOTS_AN_HOUR


def _place(when: dt.datetime) -> tuple[int, int, int, float]:
    """Year since the epoch, week of it, slot of that, and the part of the slot that is over."""
    weeks, seconds = divmod((when - EPOCH).total_seconds(), _WEEK)
    year, week = divmod(int(weeks), _WEEKS)
    slot = min(int(seconds / _SLOT), _SLOTS - 1)
    return year, week, slot, seconds / _SLOT - slot


class Drift:
    """A value that wanders around its middle: temperatures, voltages.

    Args:
        middle: around what.
        waves: amplitude and period in hours of each.
        seed: any text.
    """

    def __init__(self, middle: float, *waves: tuple[float, float], seed: str = "") -> None:
        dice = random.Random(f"drift/{seed}")
        self._middle = middle
        self._waves = [(high, period, dice.uniform(0, 2 * math.pi)) for high, period in waves]

    def at(self, when: dt.datetime) -> float:
        """The value at that instant."""
        hours = (when - EPOCH).total_seconds() / _HOUR
        return self._middle + sum(
            high * math.sin(2 * math.pi * hours / period + phase)
            for high, period, phase in self._waves
        )


def outdoors(when: dt.datetime) -> float:
    """Temperature out there, in degrees Celsius: a year, a day, and some weather."""
    hours = (when - EPOCH).total_seconds() / _HOUR
    year = -9.5 * math.cos(2 * math.pi * (hours / 24 - 20) / 365.25)
    day = 3.5 * math.sin(2 * math.pi * (hours - 9) / 24)
    weather = 2.5 * math.sin(2 * math.pi * hours / 127) + 1.5 * math.sin(2 * math.pi * hours / 53)
    return 10.5 + year + day + weather
