"""What simulated meters told, and whether what a point shows is of it.

The meters' records are kept beside the line, with the values that went into their bytes. A value
that reaches a point is right if the meter told it in the reading that brought it or in one of the
two before, or if it is a number or a time between what was told in these: where a value was in
doubt, the middle one of three readings is shown. If some of these were of no use, the three may lie
further apart; so a value is also right, though counted as an earlier one, if all this holds of what
the meter told since the point last took a value.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import decode_telegram
from bridge.points.known import known_records
from bridge.points.ledger import Ledger
from bridge.points.meter import ANSWERING, LAST_READ, SECONDARY_ADDRESS, MeterPlan, MeterPoints
from bridge.points.reading import Kind, Point, Reading, Value
from bridge.points.store import Store
from bridge.sim.meter import SimulatedMeter
from bridge.sim.models import ModelReadout, Telegrams
from bridge.units import Unit, convert, convertible
from scripts.benchmarks.process import BenchError

READINGS = 3  # the one that brought a value, and the two before
KEPT = 64  # answers of each meter that are remembered


@dataclass(frozen=True, slots=True)
class Wrong:
    """A value that no meter told; ``at`` is in seconds of the loop."""

    point: str
    value: str
    told: tuple[str, ...]
    at: float
    before: str = ""  # what the line had brought last

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.point}: {self.value}, told {', '.join(self.told)}" + (
            f"; {self.before}" if self.before else ""
        )


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a point's value stands in an answer, and what its number is in."""

    place: int
    kind: Kind
    unit: Unit
    offered: str
    text: str  # of a text, which these meters never change


class Witness:
    """Hears what one meter tells, and knows what its points must show.

    Args:
        meter: with a `ModelReadout`.
        plan: what the bridge is told of it.
        when: a local time, for a first answer that shows which points there are.

    Raises:
        BenchError: its points cannot be traced to its records.
    """

    def __init__(self, meter: SimulatedMeter, plan: MeterPlan, when: dt.datetime) -> None:
        self.meter = meter
        self.sources = _sources(meter, plan, when)
        self.own = {f"{meter.name}.{word}" for word in (ANSWERING, LAST_READ, SECONDARY_ADDRESS)}
        self._told: deque[tuple[int, list[Value | None]]] = deque(maxlen=KEPT)
        self._count = 0  # of answers told
        self._readings: deque[int] = deque([0] * READINGS, maxlen=READINGS)
        self._taken: dict[str, int] = {}  # by point: how many had been told when it took a value
        readout = meter.readout
        assert isinstance(readout, ModelReadout)
        readout.records = self._listening(readout.records)

    def _listening(
        self, inner: Callable[[dt.datetime], Telegrams]
    ) -> Callable[[dt.datetime], Telegrams]:
        def records(when: dt.datetime) -> Telegrams:
            telegrams = inner(when)
            self._count += 1
            values = [record.value for part in telegrams for record in part]
            self._told.append((self._count, values))
            return telegrams

        return records

    def reading_made(self) -> None:
        """The bridge has made a reading of the meter's latest answer."""
        self._readings.append(self._count)

    def judge(self, point: Point, value: Value | None) -> tuple[str, tuple[str, ...]]:
        """How a value compares with what was told, and that: "told", "between", "earlier" or
        "wrong"."""
        if point.name in self.own:
            if point.name.endswith(SECONDARY_ADDRESS) and value != str(self.meter.secondary):
                return "wrong", (str(self.meter.secondary),)
            return "own", ()
        source = self.sources.get(point.name)
        if source is None:
            return "wrong", ("no such record",)
        if source.kind is Kind.TEXT:
            return ("told", ()) if value == source.text else ("wrong", (source.text,))
        first = self._readings[0]
        since, self._taken[point.name] = self._taken.get(point.name, 0), self._count
        told: list[Value | None] = []
        for number, values in reversed(self._told):
            if number < first:
                break
            told.append(_shown(values[source.place], source))
            if told[-1] == value:
                return "told", ()
        if _lies_between(value, told):
            return "between", ()
        # Further back: since the point took its present value, that one included.
        earlier = [
            _shown(values[source.place], source) for number, values in self._told if number >= since
        ]
        if value in earlier or _lies_between(value, earlier):
            return "earlier", ()
        return "wrong", tuple(map(str, told))


class Truth:
    """Watches a store, and judges each value that reaches it.

    Attributes:
        judged: values by what they were: as `Witness.judge` says, or "own", of the bridge itself.
        wrong: those that no meter told.
        strays: points of which no answer told anything.
        faults: how often a point went into each.
    """

    def __init__(
        self,
        witnesses: Sequence[Witness],
        clock: Callable[[], float],
        before: Callable[[], str] = str,
    ) -> None:
        self.judged: Counter[str] = Counter()
        self.wrong: list[Wrong] = []
        self.strays: list[str] = []
        self.faults: Counter[str] = Counter()
        self._witnesses = {each.meter.name: each for each in witnesses}
        self._clock = clock
        self._before = before
        self._seen: dict[str, tuple[Value | None, float | None]] = {}

    def point_added(self, point: Point, reading: Reading) -> None:
        witness = self._witnesses[point.meter]
        if point.name not in witness.sources and point.name not in witness.own:
            self.strays.append(f"{self._clock():.1f} s: {point.name}; {self._before()}")
        self._judge(point, reading)

    def point_removed(self, point: Point) -> None:
        self._seen.pop(point.name, None)

    def reading_changed(self, point: Point, reading: Reading) -> None:
        if reading.fault is not None:
            self.faults[reading.fault] += 1
        self._judge(point, reading)

    def _judge(self, point: Point, reading: Reading) -> None:
        shown = reading.value, reading.read_at
        if reading.read_at is None or shown == self._seen.get(point.name):
            return
        self._seen[point.name] = shown
        verdict, told = self._witnesses[point.meter].judge(point, reading.value)
        self.judged[verdict] += 1
        if verdict == "wrong":
            fault = "" if reading.fault is None else f" ({reading.fault})"
            self.wrong.append(
                Wrong(point.name, f"{reading.value}{fault}", told, self._clock(), self._before())
            )


def _lies_between(value: Value | None, told: Sequence[Value | None]) -> bool:
    """Whether it is a number or a time, and between others of its kind."""
    if isinstance(value, Decimal):
        numbers = [each for each in told if isinstance(each, Decimal)]
        return bool(numbers) and min(numbers) <= value <= max(numbers)
    if isinstance(value, dt.datetime):
        times = [each for each in told if isinstance(each, dt.datetime)]
        return bool(times) and min(times) <= value <= max(times)
    return False


def _shown(value: Value | None, source: _Source) -> Value | None:
    if isinstance(value, Decimal) and source.kind is Kind.NUMBER:
        return convert(value, source.unit, source.offered) if source.offered else value
    return value


def _sources(meter: SimulatedMeter, plan: MeterPlan, when: dt.datetime) -> dict[str, _Source]:
    """Each point's record, by an answer that no line has touched."""
    records = _decoded(meter, when)
    store, ledger = Store(), Ledger(None)
    points = MeterPoints(plan, store, ledger)
    points.offer()
    frames = [take_frame(bytearray(frame)) for frame in meter.frames(when)]
    telegrams = [decode_telegram(frame) for frame in frames if isinstance(frame, LongFrame)]
    for n in range(2):  # the ledger keeps what two answers agree on
        points.answered(telegrams, float(n), float(n))
    places = {known.key: place for place, known in enumerate(known_records(records))}
    sources: dict[str, _Source] = {}
    for name, feed in ledger.feeds(meter.name).items():
        point = store.points[f"{meter.name}.{name}"]
        place = places[feed.record]
        unit, text = records[place].unit, ""
        offered = point.unit if convertible(unit, point.unit) else ""
        if point.kind is Kind.TEXT:
            text = str(store.reading(point.name).value)
        sources[point.name] = _Source(place, point.kind, unit, offered, text)
    if not sources:
        raise BenchError(f"{meter.name} has no points")
    ledger.close()
    return sources


def _decoded(meter: SimulatedMeter, when: dt.datetime) -> list[DataRecord]:
    """The records of an answer; as many as the meter put into it, with their values.

    Raises:
        BenchError: they are not, so a value's place tells nothing.
    """
    readout = meter.readout
    assert isinstance(readout, ModelReadout)
    frames = [take_frame(bytearray(frame)) for frame in meter.frames(when)]
    decoded = [
        record
        for frame in frames
        if isinstance(frame, LongFrame)
        for record in decode_telegram(frame).records
    ]
    told = [record for part in readout.records(when) for record in part]
    for own, record in zip(told, decoded, strict=True):
        if own.head != record.dib + record.vib:
            raise BenchError(f"{meter.name}: {own.head.hex()} is decoded as another record")
    return decoded
