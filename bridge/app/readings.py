"""What the buses tell becomes readings of points."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.telegram import Telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import LAST_READ, MeterPlan, MeterPoints
from bridge.points.reading import Fault
from bridge.points.store import Store
from bridge.polling.engine import Failure, FailureKind
from bridge.polling.repetition import Repetition

log = logging.getLogger(__name__)

# A connection that is lost within so many seconds, nobody having answered, was never ours.
HELD_BY_ANOTHER = 5.0
HELD_TIMES = 2  # once may be chance

# A second reading that has to wait for longer than this, in seconds, is said.
WORTH_SAYING = 10.0

# A doubted value is asked for again so often in one turn, at most. Five readings tell the most
# doubtful value, and records or an identity that are new want one or two before.
MOST_SECOND_READS = 6

_FAULTS = {
    FailureKind.NO_CONNECTION: Fault.NO_CONNECTION,
    FailureKind.NO_ANSWER: Fault.NO_ANSWER,
    FailureKind.DAMAGED: Fault.DAMAGED,
    FailureKind.FOREIGN_METER: Fault.FOREIGN_METER,
    FailureKind.APPLICATION_ERROR: Fault.REFUSED,
    FailureKind.UNREADABLE: Fault.UNREADABLE,
    FailureKind.WRONG_LINE: Fault.NO_CONNECTION,
    FailureKind.INTERNAL: Fault.INTERNAL,
}

# The meter answered all the same.
_WITHOUT_DATA = {FailureKind.BUSY, FailureKind.APPLICATION_ERROR, FailureKind.UNREADABLE}


class Bus(Protocol):
    """What is asked of a `Segment`."""

    def is_suspect(self, meter: str) -> bool: ...

    @property
    def guarded(self) -> bool: ...

    def minimum_gap(self, meter: str) -> float: ...

    def read_now(self, meter: str) -> float: ...


@dataclass
class FirstRound:
    """Which meters were heard of since the start, for the message that says so.

    ``answered`` counts those that answered with data.
    """

    waiting: set[str]
    answered: int = 0
    without_data: list[str] = field(default_factory=list)  # answered, and said no values
    failed: list[str] = field(default_factory=list)


class _Place(NamedTuple):
    bus: str
    where: str  # the address, as the file has it


class Readings:
    """The meters of all buses, and their points. It listens to the segments.

    Args:
        store: takes the points and their readings.
        ledger: remembers what must not move.
        monotonic: the clock by which readings grow old.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._meters: dict[str, MeterPoints] = {}
        self._places: dict[str, _Place] = {}
        self._buses: dict[str, Bus] = {}
        self._owners: dict[tuple[str, SecondaryAddress], str] = {}  # who answered so, on which bus
        self._twins: set[frozenset[str]] = set()  # pairs that are said to be one meter
        self._connected_at: dict[str, float] = {}  # of each bus, while nobody has answered on it
        self._held: set[str] = set()  # buses that are said to be in other hands
        self._second_reads: Counter[str] = Counter()  # of each meter, in this turn
        self._said = Repetition()
        self._short: Counter[str] = Counter()  # of each bus, connections in a row lost at once
        self._first_round = FirstRound(set())
        self.on_first_round: Callable[[FirstRound], None] | None = None

    # The meters

    def attach(self, name: str, bus: Bus) -> None:
        """A bus that meters are on; before the first of them answers."""
        self._buses[name] = bus

    def detach(self, name: str) -> None:
        """A bus that has ended; its meters are removed one by one."""
        del self._buses[name]

    def add(self, plan: MeterPlan, bus: str, where: str, *, first_round: bool = True) -> None:
        """Offer a meter's points.

        Args:
            plan: what it offers.
            bus: the name of its bus.
            where: its address there, for messages.
            first_round: whether the message about the first round waits for it.
        """
        meter = self._meters[plan.name] = MeterPoints(plan, self._store, self._ledger)
        self._places[plan.name] = _Place(bus, where)
        if first_round:
            self._first_round.waiting.add(plan.name)
        meter.offer(self._wall_clock(), self._monotonic())

    def remove(self, name: str) -> None:
        """Take a meter's points back."""
        self._meters.pop(name).withdraw()
        self._places.pop(name)
        self._second_reads.pop(name, None)
        self._owners = {key: owner for key, owner in self._owners.items() if owner != name}
        self._twins = {pair for pair in self._twins if name not in pair}
        self._first_round.waiting.discard(name)

    def plan_of(self, name: str) -> MeterPlan:
        """What a meter offers."""
        return self._meters[name].plan

    def place_of(self, name: str) -> tuple[str, str]:
        """The bus of a meter, and its address there."""
        return self._places[name]

    def read_ago(self, name: str) -> float | None:
        """Seconds since a meter was last read, by this run or an earlier one; None for never.

        By the wall clock: None also where that reading would lie in the future.
        """
        at = self._store.reading(f"{name}.{LAST_READ}").read_at
        ago = None if at is None else self._wall_clock() - at
        return ago if ago is not None and ago >= 0 else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._meters)

    def doubts(self, bus: str) -> tuple[int, int]:
        """How many values of a bus's meters were doubted, and how many of those were damaged."""
        of = [self._meters[name].doubts for name, place in self._places.items() if place.bus == bus]
        return sum(each.begun for each in of), sum(each.refuted for each in of)

    def faults(self) -> Counter[Fault]:
        """How many of the meters' values are in fault now, by the reason."""
        faults: Counter[Fault] = Counter()
        for points in self._meters.values():
            faults.update(points.faults())
        return faults

    def expire(self) -> None:
        """Mark what has become too old."""
        now = self._monotonic()
        for name, points in self._meters.items():
            try:
                if points.expire(now):
                    self._say_once(logging.WARNING, name, "its values are now too old, in fault")
            except Exception:
                # The others' values grow old as well, and must be marked.
                log.exception("%s: an error in the bridge, looking at its age", name)

    # What the segments tell: see `bridge.polling.engine.Listener`.

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        points = self._meters.get(meter)
        if points is None:
            log.debug("%s: answered, and is not in the file any more", meter)
            return
        place = self._places[meter]
        bus = self._buses[place.bus]
        # A meter that shall be left alone between two readouts is believed after the first of all.
        spared = points.is_new and bus.minimum_gap(meter) > 0
        first = points.is_new and not bus.guarded and not spared
        taken = points.answered(
            telegrams,
            at,
            self._monotonic(),
            suspect=bus.is_suspect(meter) and not spared,
            first=first,
        )
        if taken.new:
            log.info(
                "%s: found %d new points in its answer",
                meter,
                len(taken.new),
                extra={"segment": place.bus, "meter": meter},
            )
        log.debug("%s: read, %d records", meter, sum(len(t.records) for t in telegrams))
        if taken.doubted:
            self._read_again(meter, points, bus, at)
        else:
            self._second_reads.pop(meter, None)
            self._heard_of(meter, None)
        self._look_for_twin(meter)
        self._connected_at.pop(place.bus, None)
        self._short.pop(place.bus, None)
        self._held.discard(place.bus)

    def meter_failed(self, meter: str, failure: Failure, at: float) -> None:
        points = self._meters.get(meter)
        if points is None:
            return
        self._second_reads.pop(meter, None)
        if failure.kind is FailureKind.BUSY:
            # It answers, but has no fresh data now, as battery meters do that are asked too often.
            # What it said last stays good until it is too old, and a doubt waits for its next turn.
            points.busy(at)
        else:
            points.failed(_FAULTS[failure.kind], at)
        self._heard_of(meter, failure.kind)

    def segment_changed(self, segment: str, connected: bool, detail: str) -> None:
        """The segment has logged it; its meters hear of it one by one, when their turn comes."""
        now = self._monotonic()
        if connected:
            self._connected_at[segment] = now
            return
        since = self._connected_at.pop(segment, None)
        if since is None or now - since > HELD_BY_ANOTHER or segment in self._held:
            return
        self._short[segment] += 1
        if self._short[segment] < HELD_TIMES:
            return
        self._held.add(segment)
        log.warning(
            "%s: the connection was lost at once (%s); does another program use the bus, another "
            "bridge perhaps? Most gateways take one client at a time",
            segment,
            detail,
            extra={"segment": segment},
        )

    def _read_again(self, meter: str, points: MeterPoints, bus: Bus, at: float) -> None:
        """A value is in doubt: the meter is read again, as soon as its minimum gap allows.

        Until then the last good value stands, with the age that it has.
        """
        self._second_reads[meter] += 1
        if self._second_reads[meter] <= MOST_SECOND_READS:
            wait = bus.read_now(meter)
            if wait >= WORTH_SAYING:
                self._say_once(
                    logging.INFO,
                    meter,
                    "what it says is in doubt; it is read again when its minimum gap is over",
                )
            return
        del self._second_reads[meter]
        points.undecided(at)
        self._say_once(
            logging.WARNING,
            meter,
            "what it says is in doubt: no two of several readings agree; is the line disturbed?",
        )
        self._heard_of(meter, None)

    def _say_once(self, level: int, meter: str, text: str) -> None:
        """Say it to the log, and for an hour not again."""
        line = self._said.say(f"{meter}: {text}", self._monotonic())
        if line is not None:
            log.log(level, "%s", line, extra={"meter": meter})

    def _look_for_twin(self, meter: str) -> None:
        """Say, once, when two meters of the file turn out to be one on the bus."""
        identity = self._meters[meter].identity
        if identity is None:
            return
        bus, where = self._places[meter]
        other = self._owners.setdefault((bus, identity), meter)
        if other != meter and self._meters[other].identity != identity:
            self._owners[bus, identity] = meter  # the other one was exchanged since
            return
        pair = frozenset((meter, other))
        if other == meter or pair in self._twins:
            return
        self._twins.add(pair)
        log.warning(
            "%s (%s) and %s (%s) answer as one and the same meter, %s; remove one of the two from "
            "the file, or, if these are two meters, give one of them another secondary address",
            other,
            self._places[other].where,
            meter,
            where,
            identity,
            extra={"segment": bus, "meter": meter},
        )

    def _heard_of(self, meter: str, failure: FailureKind | None) -> None:
        first = self._first_round
        if meter not in first.waiting:
            return
        first.waiting.discard(meter)
        if failure is None:
            first.answered += 1
        elif failure in _WITHOUT_DATA:
            first.without_data.append(meter)
        else:
            first.failed.append(meter)
        if not first.waiting and self.on_first_round is not None:
            self.on_first_round(first)
