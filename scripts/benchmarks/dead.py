"""One dead meter among the others: what it costs at first, and once it is only looked for."""

from __future__ import annotations

import asyncio
import socket
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from scripts.benchmarks.bus import Order
from scripts.benchmarks.expected import recordings
from scripts.benchmarks.process import BenchError, free_port
from scripts.benchmarks.running import running_bridge, running_bus, site_text

# The first of the recordings is dead: its address is 1.
DEAD = 1

# Requests to the dead meter that lie closer together are tries of one turn, in seconds.
ONE_TURN = 2.0


@dataclass
class Turn:
    """One turn of the dead meter: when it began, from the first request on; what it cost."""

    at: float
    tries: int
    cost: float  # seconds of the bus


@dataclass
class Result:
    """What was found; times in seconds."""

    baudrate: int
    every: str
    meters: int
    seconds: float
    cycle: float = 0.0  # from one turn of the first living meter to the next, median
    turns: list[Turn] = field(default_factory=list)
    window: float = 0.0
    cost: float = 0.0
    later_window: float = 0.0  # the last half
    later_cost: float = 0.0

    @property
    def share(self) -> float:
        """What the dead meter takes of the wall time."""
        return self.cost / self.window

    @property
    def later_share(self) -> float:
        """The same in the last half."""
        return self.later_cost / self.later_window


async def measure(
    paths: Sequence[Path], *, baudrate: int, every: str, seconds: float, pty: bool = False
) -> Result:
    """One run.

    Raises:
        BenchError: something did not start or end as it should.
    """
    meters = recordings(paths)
    dead = meters[DEAD - 1].name
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        order = Order(tuple(map(str, paths)), baudrate, pty=pty, faults=(f"deaf:{dead}",))
        async with running_bus(order) as bus:
            ports = (await bus.event("ready"))["ports"]
            site = Path(folder) / "site.yaml"
            site.write_text(
                site_text(
                    ports,
                    free_port(socket.SOCK_DGRAM),
                    baudrate,
                    [each.name for each in meters],
                    every=every,
                )
            )
            async with running_bridge(site, Path(folder) / "log"):
                await bus.event("first-request")
                await asyncio.sleep(seconds)
            told = (await bus.finish())["segments"][0]
    result = Result(baudrate, every, len(meters), seconds)
    _count(result, told)
    return result


def _count(result: Result, told: dict[str, Any]) -> None:
    """What the line tells: a row for each request, with the address of the one before it."""
    first, last = told["first_at"], told["last_at"]
    result.window = last - first
    times = [first, *(row[0] for row in told["gaps"])]
    asked: dict[int, list[tuple[float, float]]] = {}  # each address: when, until the next request
    for (begin, end), row in zip(pairwise(times), told["gaps"], strict=True):
        asked.setdefault(row[3], []).append((begin - first, end - begin))
    tries = asked.get(DEAD, [])
    if len(tries) < 2:
        raise BenchError(f"the dead meter was asked {len(tries)} times only")
    # With an interval, the last try of a turn is followed by a pause: it cost what the first did.
    longest = float("inf") if result.every == "continuous" else tries[0][1]
    for at, lasted in tries:
        cost = min(lasted, longest)
        if result.turns and at - result.turns[-1].at < ONE_TURN:
            result.turns[-1].tries += 1
            result.turns[-1].cost += cost
        else:
            result.turns.append(Turn(at, 1, cost))
    half = result.window / 2
    result.cost = sum(turn.cost for turn in result.turns)
    result.later_window = half
    result.later_cost = sum(turn.cost for turn in result.turns if turn.at >= half)
    rounds = [at for at, _ in asked.get(DEAD + 1, [])]
    turns = [at for before, at in pairwise(rounds) if at - before > ONE_TURN]
    result.cycle = statistics.median(b - a for a, b in pairwise(turns)) if turns[1:] else 0.0


def report(results: Sequence[Result]) -> str:
    """The figures for people."""
    return "\n\n".join(map(_report, results))


def _report(r: Result) -> str:
    first = r.turns[0]
    later = [turn.cost for turn in r.turns[1:]]
    lines = [
        f"{r.meters} meters at {r.baudrate} baud, one of them dead, every {r.every}; "
        f"{r.seconds:g} s",
        f"  its first turn          {first.tries} tries, {first.cost * 1000:.0f} ms",
        f"  its later turns         {len(later)}"
        + (
            f", {statistics.median(later) * 1000:.0f} ms each; pauses "
            + " ".join(f"{b.at - a.at:.0f}" for a, b in pairwise(r.turns))
            + " s"
            if later
            else ""
        ),
        f"  of the wall time        {r.share:.3%}; in the last half {r.later_share:.3%}",
        f"  a round takes           {r.cycle:.2f} s",
    ]
    return "\n".join(lines)
