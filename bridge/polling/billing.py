"""Readings of all meters of a bus at one set time, for billing. Pure.

At the occasion the meters are told to freeze their counters, by one broadcast that nobody answers
(EN 13757-3, annex on the synchronisation of readings), and then read one after the other.
"""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass
from enum import StrEnum

# A record of any VIF, with the action "freeze", into storage 1. Few meters know it; of those that
# do, many want their maker's own record instead.
STANDARD_FREEZE = bytes.fromhex("48FE0B")


class Period(StrEnum):
    """How often."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, slots=True)
class Occasion:
    """A time that comes again and again, in local time.

    Args:
        period: how often.
        at: time of day; of an hourly one only the minute and the second count.
        day: of the month, 1 to 31; a shorter month has its last day instead. Monthly and yearly.
        weekday: 0 is Monday. Weekly.
        month: 1 to 12. Yearly.
    """

    period: Period
    at: datetime.time = datetime.time()
    day: int = 1
    weekday: int = 0
    month: int = 1

    def after(self, moment: datetime.datetime) -> datetime.datetime:
        """The first time after ``moment``, which is in local time without a zone; so is this."""
        if self.period is Period.HOURLY:
            this = moment.replace(minute=self.at.minute, second=self.at.second, microsecond=0)
            return this if this > moment else this + datetime.timedelta(hours=1)
        if self.period in (Period.DAILY, Period.WEEKLY):
            this = datetime.datetime.combine(moment.date(), self.at)
            step = 1
            if self.period is Period.WEEKLY:
                this += datetime.timedelta(days=(self.weekday - moment.weekday()) % 7)
                step = 7
            return this if this > moment else this + datetime.timedelta(days=step)
        year, month = moment.year, moment.month
        if self.period is Period.YEARLY:
            month = self.month
        this = self._in(year, month)
        if this > moment:
            return this
        if self.period is Period.YEARLY:
            return self._in(year + 1, month)
        return self._in(year + month // 12, month % 12 + 1)

    def _in(self, year: int, month: int) -> datetime.datetime:
        day = min(self.day, calendar.monthrange(year, month)[1])
        return datetime.datetime.combine(datetime.date(year, month, day), self.at)


@dataclass(frozen=True, slots=True)
class Billing:
    """When all meters are read at once, and what is broadcast before.

    ``freeze`` are the record bytes of the broadcast (SND_UD to 255, CI 51); None where the meters
    keep their own due date and need none.
    """

    when: Occasion
    freeze: bytes | None = STANDARD_FREEZE


# A freeze so many seconds after its time is still the reading of that time; a later one is not.
LATEST = 600.0

_DAY = 86400.0
_LONGEST = {
    Period.HOURLY: 3600.0,
    Period.DAILY: _DAY,
    Period.WEEKLY: 7 * _DAY,
    Period.MONTHLY: 31 * _DAY,
    Period.YEARLY: 366 * _DAY,
}


class Calendar:
    """Which occasions of a billing have come.

    Args:
        billing: whose.
        local: the present local time; what was before is not made up for.
    """

    def __init__(self, billing: Billing, local: datetime.datetime) -> None:
        self._when = billing.when
        self.next = self._when.after(local)

    def late(self, local: datetime.datetime) -> float | None:
        """By how many seconds the occasion is past that has come; None where none has."""
        late = (local - self.next).total_seconds()
        if late < -2 * _LONGEST[self._when.period]:
            self.next = self._when.after(local)  # the clock was far ahead when it was found
        return None if late < 0 else late

    def take(self, local: datetime.datetime) -> None:
        """The occasion that has come is dealt with. It does not come again if the clock is set
        back over it."""
        self.next = self._when.after(local)

    def until(self, local: datetime.datetime) -> float:
        """Seconds to the next occasion, by the wall clock as it goes now; 0 or more."""
        return max(0.0, (self.next - local).total_seconds())
