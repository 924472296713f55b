"""``scripts/bench``: exit status 0 all right, 1 something differs or could not be measured."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.options import Baudrate, Format, FormatOption
from bridge.errors import BridgeError
from scripts.benchmarks import decode as decoding
from scripts.benchmarks import segment as segments
from scripts.benchmarks import startup as startups
from scripts.benchmarks.commands import bus_app
from scripts.benchmarks.process import BenchError
from scripts.benchmarks.running import default_paths as recorded_paths
from scripts.benchmarks.variants import OWN, SHARED, default_paths

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(bus_app, name="bus")


@app.command()
def segment(
    seconds: Annotated[float, typer.Option(min=1, help="From the first request on.")] = 300.0,
    baudrate: Baudrate = 2400,
    telegrams: Annotated[
        Path | None, typer.Option(help="Folder with .hex files; the first 20 are played.")
    ] = None,
    pty: Annotated[bool, typer.Option("--pty", help="A pseudo terminal, not TCP.")] = False,
    looks: Annotated[
        int, typer.Option(min=0, help="How often all objects are read before the end.")
    ] = 9,
    format: FormatOption = Format.TEXT,
) -> None:
    """Recorded telegrams at true wire speed: is every record an object with the right value?"""
    result = asyncio.run(
        segments.measure(
            recorded_paths(telegrams),
            baudrate=baudrate,
            seconds=seconds,
            pty=pty,
            looks=looks,
        )
    )
    _show(asdict(result) if format is Format.JSON else segments.report(result))
    if not result.is_right:
        raise typer.Exit(1)


@app.command()
def startup(
    objects: Annotated[int, typer.Option(min=100, help="How many objects.")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    format: FormatOption = Format.TEXT,
) -> None:
    """From the command to the first BACnet answer, and what the process holds then."""
    results = asyncio.run(startups.measure(objects, runs))
    if format is Format.JSON:
        _show([asdict(result) for result in results])
    else:
        _show(startups.report(results))


@app.command()
def decode(
    telegrams: Annotated[
        Path | None, typer.Option(help="Folder with .hex files; the recorded ones if unset.")
    ] = None,
    variants: Annotated[int, typer.Option(min=8, help="Of each telegram, in each round.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="How often all decoders take turns.")] = 9,
    seed: Annotated[int, typer.Option(help="Where the values are drawn from.")] = 1,
    each: Annotated[bool, typer.Option("--each", help="Show each telegram's times.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Telegrams a second, all values as exact decimals, beside pyMeterBus and pymbusparser."""
    paths = default_paths(telegrams)
    if telegrams is None and paths[0].parent == OWN:
        sys.stderr.write(f"scripts/bench: no {SHARED}, so the telegrams are those of {OWN}\n")
    result = decoding.measure(paths, variants=variants, rounds=rounds, seed=seed)
    if format is Format.JSON:
        _show(asdict(result))
    else:
        _show(decoding.report(result, each=each))


def _show(what: object) -> None:
    sys.stdout.write((what if isinstance(what, str) else json.dumps(what, default=str)) + "\n")


if __name__ == "__main__":
    try:
        app(prog_name="scripts/bench")
    except (BenchError, BridgeError) as error:
        sys.stderr.write(f"scripts/bench: {error}\n")
        sys.exit(1)
