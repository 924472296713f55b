"""A month on a bus with silences, damage and lost connections: which readings were not made?"""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass, field

from scripts.benchmarks.harm import Dice
from scripts.benchmarks.process import memory
from scripts.benchmarks.virtual import START, run_virtual
from scripts.benchmarks.world import World

METERS = 20
EVERY = 900.0
SILENCE = 0.05  # of the answers get lost
DAMAGE = 0.01  # of the answers
DROP_EVERY = 240.0  # seconds from one loss of the connection to the next, on average
AWAY_SHARE = 0.1  # of the losses after which nobody listens for a while
AWAY_LONGEST = 30.0  # seconds

DAY = 86400.0
_PAUSE = 120.0  # seconds: who is read again sooner is asked a second time, and not due
_LOOKS = (1, 10, 20, 30)  # days


@dataclass
class Result:
    """What was found; times in seconds, sizes in bytes."""

    days: float
    meters: int
    every: float
    seed: int
    due: int = 0
    made: int = 0
    lost: int = 0  # due, and not made within half an interval
    latest: float = 0.0  # the most by which a reading was late, behind its due time
    extra: int = 0  # readings besides
    drops: int = 0
    connections: int = 0
    silences: int = 0  # tries without an answer
    damaged: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)  # at the end of each such day
    allocated: dict[str, int] = field(default_factory=dict)  # by Python alone
    values: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)  # points that no record of a meter accounts for
    seconds: float = 0.0

    @property
    def is_right(self) -> bool:
        """Whether nothing is lost and nothing wrong."""
        return self.due > 0 and not self.lost and not self.wrong


class Slots:
    """Due readings, and which of them were made, for each meter.

    The times at which a meter is due lie ``every`` seconds apart; the first reading after a pause
    shows where, once the round at the start is over. A reading belongs to the due time that is
    nearest.
    """

    def __init__(self, every: float) -> None:
        self.made = self.lost = self.extra = 0
        self.latest = 0.0
        self._every = every
        self._read_at: dict[str, float] = {}
        self._anchor: dict[str, float] = {}
        self._last: dict[str, int] = {}

    def note(self, meter: str, now: float) -> None:
        """A meter was read."""
        before, self._read_at[meter] = self._read_at.get(meter, now), now
        if meter not in self._anchor:
            if now - before < _PAUSE:
                return
            self._anchor[meter], self._last[meter] = now, -1
        anchor, last = self._anchor[meter], self._last[meter]
        slot = math.floor((now - anchor) / self._every + 0.5)
        if slot <= last:
            self.extra += 1
            return
        self.lost += slot - last - 1
        self.made += 1
        self._last[meter] = slot
        late = now - (anchor + slot * self._every)
        if late < 0:
            # The reading that showed the due times was itself late.
            self._anchor[meter] += late
        else:
            self.latest = max(self.latest, late)

    def finish(self, meters: Iterable[str], now: float) -> None:
        """The end: what is due by then and was not made is lost, too."""
        for meter in meters:
            if meter not in self._anchor:
                self.lost += int((now - START) // self._every)
                continue
            slot = math.floor((now - self._anchor[meter]) / self._every - 0.5)
            self.lost += max(0, slot - self._last[meter])


def measure(days: float, *, seed: int, trace: bool = False) -> Result:
    """One run; with ``trace`` what Python has allocated is counted, which takes three times as
    long."""
    if trace:
        tracemalloc.start()
    try:
        return run_virtual(_measure(days, seed, trace=trace))
    finally:
        if trace:
            tracemalloc.stop()


async def _measure(days: float, seed: int, *, trace: bool) -> Result:
    began = time.monotonic()
    dice = Dice(DAMAGE, seed)
    world = World(METERS, EVERY, harm=dice, seed=seed, faults=[f"silence:{SILENCE:.6f}"])
    assert world.truth is not None
    slots = Slots(EVERY)
    world.on_reading = slots.note
    result = Result(days, METERS, EVERY, seed)
    loop = asyncio.get_running_loop()
    end = START + days * DAY
    async with world.running():
        dropping = asyncio.create_task(_drop(world, result, random.Random(f"drops/{seed}")))
        for look in sorted({min(float(day), days) for day in (*_LOOKS, days)}):
            await asyncio.sleep(START + look * DAY - loop.time())
            result.resident[f"{look:g}"] = memory(os.getpid()).resident
            if trace:
                result.allocated[f"{look:g}"] = tracemalloc.get_traced_memory()[0]
        dropping.cancel()
    slots.finish(world.bus.meters, end)
    counted = world.segment.statistics
    result.made, result.lost, result.extra = slots.made, slots.lost, slots.extra
    result.due = slots.made + slots.lost
    result.latest = slots.latest
    result.connections = counted.connections
    result.silences = counted.silences
    result.damaged = dice.struck.total()
    result.failures = dict(world.failures)
    result.values = dict(world.truth.judged)
    result.wrong = [str(each) for each in world.truth.wrong]
    result.strays = world.truth.strays
    result.seconds = time.monotonic() - began
    return result


async def _drop(world: World, result: Result, dice: random.Random) -> None:
    """Lose the connection now and then; sometimes the gateway is away for a while."""
    while True:
        await asyncio.sleep(dice.expovariate(1 / DROP_EVERY))
        result.drops += 1
        away = dice.random() < AWAY_SHARE
        world.port.refuses = "nobody listens" if away else None
        world.port.drop("the gateway hung up")
        if away:
            await asyncio.sleep(dice.uniform(1.0, AWAY_LONGEST))
            world.port.refuses = None


def report(r: Result) -> str:
    """The figures for people."""
    lines = [
        f"{r.days:g} days, {r.meters} meters every {r.every:g} s, seed {r.seed}; {r.seconds:.0f} s",
        f"  the line                {r.silences} silences, {r.damaged} damaged answers, "
        f"{r.drops} losses of the connection, {r.connections} connections",
        f"  readings due            {r.due}",
        f"  made                    {r.made}, {r.latest:.1f} s late at the most; {r.extra} besides",
        f"  lost                    {r.lost}",
        f"  failures on the way     {_list(r.failures) or 'none'}",
        f"  values                  {_list(r.values)}",
        f"  wrong values            {len(r.wrong)}",
        *(f"    {each}" for each in r.wrong[:20]),
        f"  points too many         {len(r.strays)}",
        *(f"    {each}" for each in r.strays[:20]),
        "  memory                  "
        + ", ".join(f"day {day}: {size / 2**20:.1f} MiB" for day, size in r.resident.items()),
    ]
    if r.allocated:
        lines.append(
            "  of it Python's objects  "
            + ", ".join(f"day {day}: {size / 2**20:.2f} MiB" for day, size in r.allocated.items())
        )
    return "\n".join(lines)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in counts.items())
