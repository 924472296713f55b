"""Telegrams with random damage: how many pass the checksum, and how many values are wrong then."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.benchmarks.harm import Dice, Harm
from scripts.benchmarks.virtual import START, run_virtual
from scripts.benchmarks.world import World

METERS = 10
EVERY = 900.0
STEP = 6 * 3600.0  # seconds of virtual time between two looks at the count

_SHOWN = 40


@dataclass
class Result:
    """What was found; times in seconds."""

    parity: bool
    share: float
    seed: int
    telegrams: int = 0  # answers of meters, but for the single E5
    struck: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)  # with a right checksum that is a lie
    unmarked: dict[str, int] = field(default_factory=dict)  # of these, without a wrong parity
    readings: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    damage: dict[str, int] = field(default_factory=dict)  # as the engine counts it
    doubts: int = 0
    values: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)
    days: float = 0.0  # of virtual time
    seconds: float = 0.0  # of ours

    @property
    def is_right(self) -> bool:
        """Whether values were told, and none was wrong."""
        return not self.wrong and bool(self.values.get("told"))


def measure(telegrams: int, *, share: float, parity: bool, seed: int) -> Result:
    """One run, with a line that harms ``share`` of the answers (0 to 1)."""
    return run_virtual(_measure(telegrams, share, parity, seed))


async def _measure(telegrams: int, share: float, parity: bool, seed: int) -> Result:
    began = time.monotonic()
    dice = Dice(share, seed)
    world = World(METERS, EVERY, harm=dice, guards_parity=parity, baudrate=9600, seed=seed)
    assert world.truth is not None
    async with world.running():
        while dice.answers < telegrams:  # noqa: ASYNC110 - on this clock nothing waits
            await asyncio.sleep(min(STEP, (telegrams - dice.answers) / METERS * EVERY))
    counted = world.segment.statistics
    return Result(
        parity=parity,
        share=share,
        seed=seed,
        telegrams=dice.answers,
        struck=_named(dice.struck),
        passed=_named(dice.passed),
        unmarked=_named(dice.unmarked),
        readings=world.read.total(),
        failures=dict(world.failures),
        damage={str(kind): count for kind, count in counted.damage.items()},
        doubts=world.doubts,
        values=dict(world.truth.judged),
        wrong=[str(each) for each in world.truth.wrong],
        strays=world.truth.strays,
        faults=dict(world.truth.faults),
        days=(asyncio.get_running_loop().time() - START) / 86400,
        seconds=time.monotonic() - began,
    )


def _named(counts: Counter[Harm]) -> dict[str, int]:
    return {str(kind): counts[kind] for kind in Harm if counts[kind]}


def report(results: Sequence[Result]) -> str:
    """The figures for people."""
    return "\n\n".join(map(_report, results))


def _report(r: Result) -> str:
    struck, passed = sum(r.struck.values()), sum(r.passed.values())
    lines = [
        f"{r.telegrams} telegrams in {r.days:.0f} days, {struck} answers damaged, "
        f"{'with' if r.parity else 'without'} parity, seed {r.seed}; {r.seconds:.0f} s",
        f"  passed the checksum     {passed}; of them no wrong parity {sum(r.unmarked.values())}",
        *(
            f"    {kind:<26}{count:>9} damaged {r.passed.get(kind, 0):>7} passed "
            f"{r.unmarked.get(kind, 0):>7} with right parity"
            for kind, count in r.struck.items()
        ),
        f"  as the engine counts    {_list(r.damage)}",
        f"  readings, failures      {r.readings}, {_list(r.failures) or 'none'}",
        f"  answers doubted         {r.doubts}",
        f"  values                  {_list(r.values)}",
        f"  points went in fault    {_list(r.faults) or 'never'}",
        f"  wrong values            {len(r.wrong)}",
        *(f"    {each}" for each in r.wrong[:_SHOWN]),
        f"  points too many         {len(r.strays)}",
        *(f"    {each}" for each in r.strays[:_SHOWN]),
    ]
    return "\n".join(lines)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in counts.items())
