"""How much of the wall time is what no master can avoid: requests, meters' delays, telegrams.

Each way to a bus at each baud rate, one after the other; with the values of all objects judged at
the end of each, as `scripts.benchmarks.segment` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from scripts.benchmarks import segment

ROUND_TRIP = 0.02  # seconds of the way there and back, where there is a latency

BAUDRATES = (2400, 9600)

# What is to be reached, by the baud rate.
GOALS = {2400: 0.99, 9600: 0.98}


class Way(NamedTuple):
    """How the bus is reached; ``latency`` in seconds, of each direction."""

    name: str
    pty: bool = False
    latency: float = 0.0


WAYS = (
    Way("pseudo terminal", pty=True),
    Way("TCP"),
    Way("TCP, 20 ms", latency=ROUND_TRIP / 2),
)


class Row(NamedTuple):
    """One measurement. ``goal`` is a share."""

    way: str
    baudrate: int
    unavoidable: float
    goal: float
    wire: float
    reaction: float
    cpu: float
    is_right: bool
    result: segment.Result


async def measure(
    paths: Sequence[Path],
    *,
    seconds: float,
    baudrates: Sequence[int] = BAUDRATES,
    ways: Sequence[Way] = WAYS,
) -> list[Row]:
    """Each way at each baud rate for so many seconds.

    Raises:
        BenchError: something did not start or end as it should.
    """
    rows: list[Row] = []
    for baudrate in baudrates:
        for way in ways:
            result = await segment.measure(
                paths,
                baudrate=baudrate,
                seconds=seconds,
                pty=way.pty,
                latency=way.latency,
                looks=0,
            )
            rows.append(
                Row(
                    way=way.name,
                    baudrate=baudrate,
                    unavoidable=result.unavoidable,
                    goal=GOALS.get(baudrate, 0.0),
                    wire=result.wire_share,
                    reaction=result.free["from the last byte handed out, median"] - 2 * way.latency,
                    cpu=result.cpu / result.seconds,
                    is_right=result.is_right,
                    result=result,
                )
            )
    return rows


def report(rows: Sequence[Row]) -> str:
    """The figures for people."""
    first = rows[0].result
    lines = [
        f"{first.meters} meters, {first.seconds:.0f} s each",
        "",
        f"{'':18}{'baud':>6}{'unavoidable':>13}{'goal':>7}{'wire alone':>12}{'reaction':>11}"
        f"{'CPU':>8}{'cycles':>8}{'repeated':>10}  values",
    ]
    lines += [
        f"{row.way:18}{row.baudrate:6}{row.unavoidable:13.2%}{row.goal:7.0%}{row.wire:12.2%}"
        f"{row.reaction * 1000:8.2f} ms{row.cpu:8.2%}{row.result.cycles:8}"
        f"{row.result.repeated:10}  {'right' if row.is_right else 'DIFFER'}"
        for row in rows
    ]
    lines += [
        "",
        "Unavoidable: requests, the meters' own delays and telegrams, and the way there and back;",
        "of the wall time. Reaction: from the last byte to the next request, median, without the",
        "way. CPU: of one core, with a log of every reading.",
    ]
    return "\n".join(lines)
