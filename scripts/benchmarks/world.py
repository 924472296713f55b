"""A bus with everything that is between a wire and a point, on a clock that jumps.

Simulated meters on a bad line, the engine that polls them, and the points that take their answers;
without a BACnet device, and without a disk.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from bridge.app.readings import Readings
from bridge.mbus.telegram import Telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPlan
from bridge.points.store import Store
from bridge.polling.engine import Segment
from bridge.polling.settings import MeterSettings, SegmentSettings
from bridge.polling.statistics import Failure
from bridge.sim.bus import SimulatedBus
from bridge.sim.clock import SimulatedClock
from bridge.sim.line import latest_answer
from bridge.sim.meter import SimulatedMeter
from bridge.sim.site import make_meter
from scripts.benchmarks.harm import Dice
from scripts.benchmarks.memory_port import MemoryPort
from scripts.benchmarks.truth import Truth, Witness
from scripts.benchmarks.virtual import START

BUS = "basement"
BEGIN = dt.datetime(2026, 1, 12, 6, 0)

# Those that differ most in what they send and how; a room sensor's day of values is slow to make.
KINDS = (
    "cold-water",
    "warm-water",
    "gas",
    "heat-two-telegrams",
    "heat-with-tariffs",
    "heat-and-cooling",
    "cooling",
    "electricity",
    "heat-cost",
    "pulse",
)


def make_meters(count: int, *, baudrate: int, seed: int) -> list[SimulatedMeter]:
    """Meters of all kinds in turn, at the primary addresses from 1 on.

    Some of these kinds take longer than the standard allows at a high baud rate; here they do not.
    """
    made = [
        make_meter(
            f"{KINDS[n % len(KINDS)]}-{n + 1}",
            KINDS[n % len(KINDS)],
            primary=n + 1,
            number=f"{10_000_000 + 7919 * (n + 1):08}",
            baudrate=baudrate,
            seed=seed,
        )
        for n in range(count)
    ]
    for meter in made:
        meter.answer_delay = min(meter.answer_delay, 0.9 * latest_answer(baudrate))
    return made


class World:
    """One bus at work. Make it in the event loop that runs it.

    Args:
        meters: how many.
        every: seconds between two readings of each; 0 for without pause.
        harm: what becomes of answers.
        guards_parity: whether the port marks characters with a wrong parity.
        baudrate: of all.
        seed: for values and delays.
        judge: look at every value that reaches a point.

    Attributes:
        read: how often each meter was read.
        failures: by their kind.
        doubts: how often a meter was asked again because something in its answer was in doubt.
    """

    def __init__(
        self,
        meters: int,
        every: float,
        *,
        harm: Dice | None = None,
        guards_parity: bool = False,
        baudrate: int = 2400,
        seed: int = 1,
        faults: Sequence[str] = (),
        judge: bool = True,
    ) -> None:
        loop = asyncio.get_running_loop()
        made = make_meters(meters, baudrate=baudrate, seed=seed)
        self.clock = SimulatedClock(BEGIN)
        self.clock.at(START)
        self.bus = SimulatedBus(made, baudrate=baudrate, clock=self.clock, seed=seed, faults=faults)
        self.port = MemoryPort(self.bus, harm=harm, guards_parity=guards_parity)
        self.store = Store()
        self.ledger = Ledger(None)
        self.read: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.doubts = 0
        self.on_reading: Callable[[str, float], None] | None = None
        self._loop = loop
        plans = [MeterPlan(each.name, "", max_age=float("inf")) for each in made]
        self.witnesses: dict[str, Witness] = {}
        self.truth: Truth | None = None
        if judge:
            self.witnesses = {
                plan.name: Witness(meter, plan, BEGIN)
                for meter, plan in zip(made, plans, strict=True)
            }
            recent = str if harm is None else harm.recently
            self.truth = Truth(list(self.witnesses.values()), loop.time, recent)
            self.store.watch(self.truth)
        wall_clock = partial(self._wall_clock, loop)
        self.readings = Readings(
            self.store, self.ledger, monotonic=loop.time, wall_clock=wall_clock
        )
        for plan, meter in zip(plans, made, strict=True):
            self.readings.add(plan, BUS, str(meter.primary))
        self.segment = Segment(
            SegmentSettings(BUS, "/dev/memory", baudrate, "even" if guards_parity else "none"),
            [MeterSettings(each.name, each.primary, every) for each in made],
            self,
            transport=self.port,
            wall_clock=wall_clock,
            jitter=lambda: 0.0,
        )
        self.readings.attach(BUS, self)

    @staticmethod
    def _wall_clock(loop: asyncio.AbstractEventLoop) -> float:
        return BEGIN.timestamp() + loop.time() - START

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Poll as long as the context lasts."""
        task = asyncio.create_task(self.segment.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.ledger.close()

    # What the points ask of the segment

    def is_suspect(self, meter: str) -> bool:
        return self.segment.is_suspect(meter)

    @property
    def guarded(self) -> bool:
        return self.segment.guarded

    def minimum_gap(self, meter: str) -> float:
        return self.segment.minimum_gap(meter)

    def read_now(self, meter: str) -> float:
        self.doubts += 1
        return self.segment.read_now(meter)

    # What the segment tells

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        if witness := self.witnesses.get(meter):
            witness.reading_made()
        self.readings.meter_answered(meter, telegrams, at)
        self.read[meter] += 1
        if self.on_reading is not None:
            self.on_reading(meter, self._loop.time())

    def meter_failed(self, meter: str, failure: Failure, at: float) -> None:
        self.failures[failure.kind] += 1
        self.readings.meter_failed(meter, failure, at)

    def segment_changed(self, segment: str, connected: bool, detail: str) -> None:
        self.readings.segment_changed(segment, connected, detail)
