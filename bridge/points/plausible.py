"""Whether a value can be believed at once, or is asked for once more.

An M-Bus frame is guarded by one byte, the sum of the others: of damaged frames one in 256 passes,
and a value in it is wrong in a byte or more. So each point is held against what is known of it: a
counter does not run backwards, nor faster than it ever did; a temperature lies where temperatures
can. What does not fit is read again at once, and two or three readings decide:

- a second reading that is equal: the meter says so, and it is believed;
- a second one that fits what was believed before: the first was damaged;
- a clock that went on as the time did between the two: the same;
- else a third. Of three numbers the one in the middle is taken: if one of the three at most was
  damaged, the middle one lies between the other two or is one of them, and so within what the meter
  really said. Of other values two must be equal, or the point is in doubt until they are; one that
  is never the same, turn after turn on a line without damage, is believed as it comes.

A value beyond what its quantity can be, or beyond what the user allows, is not believed when it is
confirmed either: the sensor is broken, and the point is over or under range, with the last good
value. One beyond the meter's nominal size is believed then: meters are overloaded, and sizes are
written down wrongly.

On a line that shows damage every changed value goes this way, fitting or not. All here is pure:
times are told, nothing is read and nothing is written.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from bridge.points.nature import ANY, Nature
from bridge.points.reading import Fault, Value

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR
WEEK = 7 * DAY

# A counter may run so many times as fast as it ever did. It is read in intervals of some length,
# over which its rate is a mean: the shorter the next one, the more of a peak it shows.
FASTER = 4

# So many steps of its resolution any number may move: a meter rounds, and renews in lumps.
STEPS = 10

# Of a floating-point number, which has no steps: so much of it. A REAL32 holds 24 bits.
FRACTION = Decimal("1e-6")

# Two first readings that differ by no more than this part of their size confirm each other.
NEAR = Decimal("0.01")

# Until a counter was watched for a day and a night, its greatest rate is not known. It may then
# run as fast as if it had come to its present count within a week, which few ever did; one that
# is fresh from the factory is asked for in vain once or twice.
LEARNING = DAY
FILLED_WITHIN = WEEK

# Some meters renew a count once an hour only: what seems to come in one second took up to that.
RENEWED_WITHIN = HOUR

# A measured value may go beyond the range that it was seen in by half of its width; where it has
# hardly moved yet, by a tenth of its size.
WIDENED_BY = Decimal("0.5")
WIDENED_AT_LEAST_BY = Decimal("0.1")

# A counter overflows at the end of the digits that its display has, these at the least, or of the
# bits in which it is sent.
FEWEST_DIGITS = 5

# So much a meter's clock may differ from the time that went by: summer time, and being set.
CLOCK_SET_BY = HOUR + 300

# Who was asked in vain so often is not what was thought: a counter that runs backwards every few
# days, a stored value that changes more often than once a day, a text that is another at each read.
IN_VAIN = 3
BACK_WITHIN = WEEK
OFTEN = 20 * HOUR

READINGS = 3  # as many decide
MOST_READINGS = 5  # on a line that shows damage, where the middle one of three does not fit


@dataclass(slots=True)
class Doubts:
    """How often values of a meter were doubted, and what came of it."""

    begun: int = 0
    confirmed: int = 0  # the meter said the same again
    refuted: int = 0  # the first reading was damaged
    undecided: int = 0  # there was no second reading, or no two agreed


class Said(NamedTuple):
    """One reading: the value, and when, by the wall clock and by the monotonic one."""

    value: Value
    at: float
    now: float


class Weighed(NamedTuple):
    """What became of a reading.

    ``said`` is what is believed from now on, which may be an earlier reading. Else ``fault`` says
    why none is, and None that another reading is wanted. ``refuted`` says that the first reading
    was damaged. ``note`` is for the log.
    """

    said: Said | None = None
    fault: Fault | None = None
    refuted: bool = False
    note: str = ""


_ASKED_AGAIN = Weighed()


class Watch:
    """What is known of one point's value, and what of it is in doubt."""

    __slots__ = (
        "_backwards",
        "_began",
        "_bits",
        "_ceiling",
        "_changed",
        "_floor",
        "_greatest",
        "_hard",
        "_highest",
        "_hurried",
        "_largest_rate",
        "_largest_value",
        "_lowest",
        "_nature",
        "_out",
        "_slack",
        "_step",
        "_told",
        "_turned",
        "_turned_back",
        "_undecided",
        "exhausted",
        "last",
        "pending",
        "read",
    )

    def __init__(self) -> None:
        self.last: Value | None = None  # believed
        self.read = 0.0  # when, by the monotonic clock
        self.pending: list[Said] = []  # in doubt
        self.exhausted = False  # three readings did not decide; the next turn's goes on
        self._told = Nature.FREE  # by the record; what it turned out to be is below
        self._turned: Nature | None = None
        self._nature = Nature.FREE
        self._hard = ANY
        self._step: Decimal | None = None
        self._bits: int | None = None
        self._slack = 0.0
        self._largest_rate: float | None = None
        self._largest_value: Decimal | None = None
        self._out: Fault | None = None  # confirmed to be beyond the bounds
        self.forget()

    @property
    def nature(self) -> Nature:
        """How the value moves, as far as known by now."""
        return self._nature

    @property
    def in_doubt(self) -> bool:
        """Whether another reading would decide about the last one."""
        return bool(self.pending) and not self.exhausted

    def drop(self, before: float = math.inf) -> None:
        """Leave undecided what is in doubt: the next reading is held against what is believed.

        Args:
            before: only where the latest reading in doubt was earlier, by the monotonic clock.
        """
        if self.pending and self.pending[-1].now < before:
            self.pending = []
            self.exhausted = False

    def forget(self) -> None:
        """Begin anew: another meter feeds the point."""
        self.last = None
        self.pending = []
        self.exhausted = False
        self._began = 0.0
        self._changed: float | None = None
        self._greatest: float | None = None  # rate, a second
        self._lowest: Decimal | None = None
        self._highest: Decimal | None = None
        self._backwards = 0
        self._turned_back: float | None = None
        self._hurried = 0
        self._undecided = 0
        self._turned = None
        self._nature = self._told
        self._out = None
        self._floor, self._ceiling = self._hard

    def bound(
        self,
        nature: Nature,
        *,
        hard: tuple[Decimal, Decimal] = ANY,
        step: Decimal | None = None,
        bits: int | None = None,
        largest_rate: float | None = None,
        largest_value: Decimal | None = None,
    ) -> None:
        """Say what is known of the point by its record and by the user.

        Args:
            nature: how its value moves.
            hard: beyond these, both included, nothing is believed however often it is said.
            step: its resolution; None for a floating-point number.
            bits: in which it is sent, where that is a binary integer.
            largest_rate: of a counter, in its unit a second.
            largest_value: of flow or power, either way.
        """
        if nature is not self._told:
            self._told, self._turned = nature, None
        self._nature = self._turned or nature
        self._hard = hard
        self._step = step
        self._bits = bits
        self._largest_rate = largest_rate
        self._largest_value = largest_value
        self._widen()

    def restore(self, value: Value, read: float, *, known_time: bool) -> None:
        """Take what an earlier run believed.

        Args:
            value: the value.
            read: when it was read, by this run's monotonic clock.
            known_time: False where that is a guess, the wall clock having been set back.
        """
        self.last = value
        self.read = read if known_time else read - FILLED_WITHIN
        self._began = self.read
        if isinstance(value, Decimal):
            self._lowest = self._highest = value
            self._widen()

    def settles(self, value: Value, now: float, *, suspect: bool) -> bool:
        """Whether a reading is believed at once; if so, it is noted. `weigh` it otherwise.

        Args:
            value: what was read.
            now: when, by the monotonic clock.
            suspect: nothing new is believed at once.
        """
        if self.pending or self._out is not None:
            return False
        if value == self.last:
            self.read = now
            return True
        if suspect or not self._fits(value, now):
            return False
        self._believe(value, now)
        return True

    def recall(self, said: Said) -> None:
        """Hold the next reading against an earlier one, where nothing else is known."""
        if self.last is None and not self.pending:
            self.pending = [said]

    def is_near(self, value: Value) -> bool:
        """Whether a value is what the reading before may have become within seconds.

        False where there is none before.
        """
        return bool(self.pending) and self._are_near(self.pending[-1].value, value)

    def _are_near(self, before: Value, value: Value) -> bool:
        if isinstance(value, Decimal) and isinstance(before, Decimal):
            far = abs(value - before)
            return far <= max(abs(value) * NEAR, STEPS * (self._step or Decimal(0)))
        return value == before or _runs_on(before, value, MINUTE)

    def weigh(self, said: Said, *, suspect: bool, vouched: bool = False) -> Weighed:
        """Decide about a reading that is not believed at once, with those before it.

        Args:
            said: the reading, later than all before.
            suspect: nothing but two equal readings, or the middle one of three, is believed.
            vouched: a code in the telegram proves that it is what the meter said.
        """
        value, pending = said.value, self.pending
        if vouched:
            return self._decide(said)
        if not pending:
            side = self._beyond(value)
            if side is not None and side is self._out:
                return Weighed(fault=side)
            if value == self.last or (not suspect and self._fits(value, said.now)):
                return self._decide(said)
            self.pending = [said]
            return _ASKED_AGAIN
        if (
            any(each.value == value for each in pending)
            or value == self.last
            or (not suspect and self._fits(value, said.now))
        ):
            return self._decide(said, refuted=self._was_damaged(pending[0], said))
        readings = [*pending, said]
        if len(readings) < READINGS:
            self.pending = readings
            return _ASKED_AGAIN
        middle = median(readings)
        # It may have jumped; or two of three were damaged, which on a bad line does happen. What
        # counts, or stands, is rarely another within seconds: two of five should be equal. What is
        # measured moves by little.
        if (
            suspect
            and middle is not None
            and len(readings) < MOST_READINGS
            and (
                len(readings) % 2 == 0
                or self._nature in (Nature.COUNTER, Nature.STEADY, Nature.CLOCK)
                or not self._fits(middle.value, middle.now)
                or not all(self._are_near(each.value, middle.value) for each in readings)
            )
        ):
            self.pending = readings
            return _ASKED_AGAIN
        if middle is not None:
            return self._decide(middle, refuted=self._was_damaged(pending[0], middle))
        self._undecided += not suspect
        if not suspect and self._undecided >= IN_VAIN:
            self._turn(Nature.FREE)
            note = "it is never the same at two readings, and is believed as it comes from now on"
            return self._decide(said)._replace(note=note)
        self.pending = readings[1:]
        self.exhausted = True
        return Weighed(fault=Fault.DOUBTED)

    def _was_damaged(self, first: Said, believed: Said) -> bool:
        """Whether the first reading cannot be what the meter said, by the one that is believed."""
        if self._are_near(first.value, believed.value):
            return False
        if self.last is None:
            return self._nature in (Nature.COUNTER, Nature.STEADY)  # others do move in seconds
        fits = believed.value == self.last or self._fits(believed.value, believed.now)
        return fits and not self._fits(first.value, first.now)

    def _decide(self, said: Said, *, refuted: bool = False) -> Weighed:
        self.pending = []
        self.exhausted = False
        self._undecided = 0
        self._out = self._beyond(said.value)
        if self._out is not None:
            return Weighed(fault=self._out, refuted=refuted)
        if said.value == self.last:
            self.read = said.now
            return Weighed(said, refuted=refuted)
        if self._fits(said.value, said.now):
            self._believe(said.value, said.now)
            return Weighed(said, refuted=refuted)
        note = self._learn(said.value, said.now)
        return Weighed(said, refuted=refuted, note=note)

    def _beyond(self, value: Value) -> Fault | None:
        if not isinstance(value, Decimal):
            return None
        low, high = self._hard
        return Fault.UNDER_RANGE if value < low else Fault.OVER_RANGE if value > high else None

    def _fits(self, value: Value, now: float) -> bool:
        """Whether a new value, which is not the last one, needs no second reading."""
        last, nature = self.last, self._nature
        if isinstance(value, Decimal):
            if not self._floor <= value <= self._ceiling:
                return False
            if nature is not Nature.COUNTER or not isinstance(last, Decimal):
                return last is None or nature is not Nature.STEADY
            grown = float(value - last)
            if grown < 0:
                # A meter that tells it in larger steps from now on has dropped digits.
                dropped = self._step is not None and last - value < self._step
                return dropped or self._overflows(last, value, now)
            return grown <= self._allowed(last, now)
        if last is None or nature is Nature.FREE:
            return True
        return nature is Nature.CLOCK and _runs_on(last, value, now - self.read)

    def _elapsed(self, now: float) -> float:
        """Over how many seconds a counter may have come to what it is, at the least."""
        elapsed = now - self.read
        if elapsed >= RENEWED_WITHIN:
            return elapsed
        since = now - (self._began if self._changed is None else self._changed)
        return since if since < RENEWED_WITHIN else RENEWED_WITHIN

    def _rate(self, last: Decimal, now: float) -> float:
        """How fast a counter may run, in its unit a second."""
        greatest, largest = self._greatest, self._largest_rate
        rate = 0.0 if greatest is None else FASTER * greatest
        if greatest is None or now - self._began < LEARNING:
            rate = max(rate, abs(float(last)) / FILLED_WITHIN) if largest is None else largest
        return rate if largest is None or rate < largest else largest

    def _allowed(self, last: Decimal, now: float) -> float:
        return self._rate(last, now) * self._elapsed(now) + self._slack

    def _overflows(self, last: Decimal, value: Decimal, now: float) -> bool:
        """Whether a counter began anew at zero, having come to the end of its digits."""
        step = self._step
        if not step or last <= 0 or value < 0:
            return False
        count = int(last / step)
        tops = [10 ** len(str(count))] if count >= 10 ** (FEWEST_DIGITS - 1) else []
        if self._bits is not None:
            tops += (1 << self._bits - 1, 1 << self._bits)  # the first is that of a signed number
        allowed = self._allowed(last, now)
        return any(0 < float(top * step - last) <= allowed - float(value) for top in tops)

    def _believe(self, value: Value, now: float) -> None:
        """Take a value that fits."""
        last = self.last
        if isinstance(value, Decimal):
            if last is None:
                self._began = now
                self._lowest = self._highest = value
                self._widen()
            elif self._nature is Nature.COUNTER and isinstance(last, Decimal):
                grown, elapsed = float(value - last), self._elapsed(now)
                if elapsed > 0 and grown > elapsed * (self._greatest or 0.0):
                    self._greatest = grown / elapsed
            elif self._nature is Nature.MEASURED:
                self._stretch(value)
        if last is not None:
            self._changed = now
        self.last = value
        self.read = now

    def _learn(self, value: Value, now: float) -> str:
        """Take a value that does not fit, and yet is what the meter says; what the log is told."""
        last, note = self.last, ""
        if isinstance(value, Decimal) and isinstance(last, Decimal):
            if self._nature is Nature.COUNTER:
                note = self._learn_counter(last, value, now)
            else:
                self._stretch(value)
        elif isinstance(value, Decimal):
            self._began = now
            self._lowest = self._highest = value
            self._widen()
        if self._nature is Nature.STEADY:
            hurried = self._changed is not None and now - self._changed < OFTEN
            self._hurried = self._hurried + 1 if hurried else 0
            if self._hurried >= IN_VAIN:
                is_number = isinstance(value, Decimal)
                self._turn(Nature.MEASURED if is_number else Nature.FREE)
        self._changed = now
        self.last = value
        self.read = now
        return note

    def _learn_counter(self, last: Decimal, value: Decimal, now: float) -> str:
        grown, elapsed = float(value - last), self._elapsed(now)
        if grown > 0:
            rate = grown / elapsed if elapsed > 0 else 0.0
            known = self._rate(last, now)
            # Not all of it at once: one jump, of a meter that was out of work for a while, say,
            # must not allow every other for ever.
            self._greatest = max(self._greatest or 0.0, min(rate, known) if known else rate)
            if self._largest_rate is not None and rate > self._largest_rate:
                self._largest_rate = FASTER * self._largest_rate
            return ""
        again = self._turned_back is not None and now - self._turned_back < BACK_WITHIN
        self._backwards = self._backwards + 1 if again else 1
        self._began = self._turned_back = now
        went = f"from {as_text(last)} to {as_text(value)}"
        note = f"the counter went back {went}: the meter says so twice"
        if self._backwards >= IN_VAIN:
            self._lowest, self._highest = value, last
            self._turn(Nature.MEASURED)
            note += "; it does so often, and is taken for a measured value from now on"
        return note

    def _turn(self, nature: Nature) -> None:
        self._nature = self._turned = nature
        self._widen()

    def _stretch(self, value: Decimal) -> None:
        if self._lowest is None or value < self._lowest:
            self._lowest = value
        elif self._highest is None or value > self._highest:
            self._highest = value
        else:
            return
        self._widen()

    def _widen(self) -> None:
        """Work out between what a value is believed at once."""
        low, high = self._hard
        lowest, highest = self._lowest, self._highest
        step = self._step
        if step is not None:
            self._slack = STEPS * float(step)
        elif isinstance(self.last, Decimal):
            self._slack = float(FRACTION * abs(self.last))
        largest = self._largest_value
        if largest is not None:
            low = max(low, -largest if lowest is None else min(-largest, lowest))
            high = min(high, largest if highest is None else max(largest, highest))
        if self._nature is Nature.MEASURED and lowest is not None and highest is not None:
            by = max(
                WIDENED_BY * (highest - lowest),
                WIDENED_AT_LEAST_BY * max(abs(lowest), abs(highest)),
                STEPS * step if step is not None else Decimal(0),
            )
            low, high = max(low, lowest - by), min(high, highest + by)
        self._floor, self._ceiling = low, high


def median(readings: list[Said]) -> Said | None:
    """The reading in the middle, of an odd number; None where there is no order among them."""
    values = [each.value for each in readings]
    if len({type(value) for value in values}) != 1 or isinstance(values[0], str | bool):
        return None
    try:
        return sorted(readings, key=_value_of)[len(readings) // 2]
    except TypeError:
        return None  # times with and without a zone


def _value_of(said: Said) -> Decimal | datetime.date | datetime.time:
    assert not isinstance(said.value, str | bool)
    return said.value


def as_text(value: Value) -> str:
    """A value as the log shows it."""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)


def _runs_on(last: Value, value: Value, elapsed: float) -> bool:
    """Whether a date or time went on as the time did, but for summer time and being set."""
    if isinstance(last, datetime.datetime) and isinstance(value, datetime.datetime):
        if (last.tzinfo is None) is not (value.tzinfo is None):
            return False
        return abs((value - last).total_seconds() - elapsed) <= CLOCK_SET_BY
    if isinstance(last, datetime.datetime) or isinstance(value, datetime.datetime):
        return False
    if isinstance(last, datetime.date) and isinstance(value, datetime.date):
        return abs((value - last).days * DAY - elapsed) <= DAY + CLOCK_SET_BY
    if isinstance(last, datetime.time) and isinstance(value, datetime.time):
        off = (_seconds_of(value) - _seconds_of(last) - elapsed) % DAY
        return min(off, DAY - off) <= CLOCK_SET_BY
    return False


def _seconds_of(time: datetime.time) -> float:
    return time.hour * HOUR + time.minute * 60 + time.second
