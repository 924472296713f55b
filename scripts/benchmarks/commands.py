"""``scripts/bench bus``: the bus mastered, each claim with its figure."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.options import Baudrate, Format, FormatOption
from scripts.benchmarks import damage as damages
from scripts.benchmarks import dead as dead_meters
from scripts.benchmarks import kill as kills
from scripts.benchmarks import many as many_segments
from scripts.benchmarks import month as months
from scripts.benchmarks import share as shares
from scripts.benchmarks.running import default_paths

bus_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The bus, mastered: at the limit of the wire, for years.",
)

Telegrams = Annotated[
    Path | None, typer.Option(help="Folder with .hex files; the first 20 are played.")
]
Seed = Annotated[int, typer.Option(help="Where all that is random is drawn from.")]


@bus_app.command()
def share(
    seconds: Annotated[float, typer.Option(min=1, help="For each way and baud rate.")] = 300.0,
    baudrate: Annotated[
        list[int] | None, typer.Option("--baudrate", "-b", help="2400 and 9600 if unset.")
    ] = None,
    telegrams: Telegrams = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """The share of the wall time that no master can avoid, at a pseudo terminal and over TCP."""
    rows = asyncio.run(
        shares.measure(
            default_paths(telegrams), seconds=seconds, baudrates=baudrate or shares.BAUDRATES
        )
    )
    show([row._asdict() for row in rows], shares.report(rows), format)
    _judge(row.is_right for row in rows)


@bus_app.command()
def dead(
    seconds: Annotated[float, typer.Option(min=5, help="For each of the two runs.")] = 600.0,
    baudrate: Baudrate = 2400,
    every: Annotated[str, typer.Option(help="The interval of the second run.")] = "60s",
    telegrams: Telegrams = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """What one dead meter costs the others, polled without pause and in an interval."""
    paths = default_paths(telegrams)
    results = [
        asyncio.run(dead_meters.measure(paths, baudrate=baudrate, every=each, seconds=seconds))
        for each in ("continuous", every)
    ]
    show(results, dead_meters.report(results), format)


@bus_app.command()
def many(
    segments: Annotated[int, typer.Option(min=1, help="Each with a meter for each file.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, help="After the first round.")] = 600.0,
    baudrate: Baudrate = 2400,
    simulators: Annotated[int, typer.Option(min=1, help="Processes with the segments.")] = 2,
    points: Annotated[str, typer.Option(help="current or all.")] = "current",
    telegrams: Telegrams = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Hundreds of segments in one bridge: each one's share, and what the process costs."""
    result = asyncio.run(
        many_segments.measure(
            default_paths(telegrams),
            segments=segments,
            baudrate=baudrate,
            seconds=seconds,
            simulators=simulators,
            points=points,
        )
    )
    show(result, many_segments.report(result), format)


@bus_app.command()
def damage(
    telegrams: Annotated[int, typer.Option(min=100, help="In each run.")] = 1_000_000,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of the answers.")] = 0.3,
    parity: Annotated[
        bool | None,
        typer.Option("--parity/--no-parity", help="Whether the port guards it; both if unset."),
    ] = None,
    seed: Seed = 1,
    format: FormatOption = Format.TEXT,
) -> None:
    """Telegrams with random damage: how many wrong values reach a point?"""
    with _quiet():
        results = [
            damages.measure(telegrams, share=share, parity=each, seed=seed)
            for each in ((False, True) if parity is None else (parity,))
        ]
    show(results, damages.report(results), format)
    _judge(result.is_right for result in results)


@bus_app.command()
def month(
    days: Annotated[float, typer.Option(min=0.1, help="Simulated.")] = 30.0,
    seed: Seed = 1,
    trace: Annotated[
        bool, typer.Option("--trace", help="Count what Python allocates; takes longer.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """A month with silences, damage and lost connections: which readings were not made?"""
    with _quiet():
        result = months.measure(days, seed=seed, trace=trace)
    show(result, months.report(result), format)
    _judge([result.is_right])


@bus_app.command()
def kill(
    kills_wanted: Annotated[
        int, typer.Option("--kills", min=1, help="How often the bridge is killed.")
    ] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, help="A life, at most.")] = 5.0,
    seed: Seed = 1,
    format: FormatOption = Format.TEXT,
) -> None:
    """SIGKILL at random moments, and a disk that fills: is everything there afterwards?"""
    result = asyncio.run(kills.measure(kills_wanted, seconds, seed=seed))
    show(result, kills.report(result), format)
    _judge([result.is_right])


def show(what: Any, text: str, format: Format) -> None:
    """Print a result: as JSON, or its report."""
    shown = text
    if format is Format.JSON:
        rows = [_plain(each) for each in what] if isinstance(what, Sequence) else _plain(what)
        shown = json.dumps(rows, default=_plain)
    sys.stdout.write(shown + "\n")


def _plain(what: Any) -> Any:
    if is_dataclass(what) and not isinstance(what, type):
        return asdict(what)
    return what if isinstance(what, dict) else str(what)


def _judge(right: Any) -> None:
    if not all(right):
        raise typer.Exit(1)


@contextmanager
def _quiet() -> Iterator[None]:
    """A bad line fills the log of a simulated year; the figures say it all."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
