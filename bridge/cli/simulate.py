"""``simulate``: a bus with meters that do not exist."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.errors import UsageError
from bridge.cli.options import Baudrate, Format, FormatOption
from bridge.cli.output import command_name, say, write
from bridge.sim.bus import SimulatedBus
from bridge.sim.clock import SimulatedClock
from bridge.sim.errors import SimError
from bridge.sim.faults import MEANING
from bridge.sim.recorded import recorded_meters
from bridge.sim.server import PtyServer, TcpServer, serve_pty, serve_tcp
from bridge.sim.site import demo_meters, describe, description


def simulate(
    recorded: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help="Recorded telegrams in hex, one file a meter; the demonstration's meters if none.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="NUMBER", min=0, max=65535, help="TCP port; 0 for a free one.")
    ] = 10001,
    pty: Annotated[
        bool, typer.Option("--pty", help="A pseudo terminal in place of a TCP port.")
    ] = False,
    baudrate: Baudrate = 2400,
    latency: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, max=10, help="What the network adds, each way."),
    ] = 0.0,
    speed: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            min=0.001,
            help="How fast the meters' own time runs; 60: an hour a minute.",
        ),
    ] = 1.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="What goes wrong, as KIND[=VALUE][:METER][:HOW]: for one meter or all; always, "
            "with odds (0.05) or a few times (next-3). May be given several times. "
            f"Kinds: {', '.join(MEANING)}.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="NUMBER", help="The same seed, the same meters and values.")
    ] = 1,
    format: FormatOption = Format.TEXT,
) -> None:
    """Simulate a bus with many meters, at true wire speed.

    The meters are the demonstration's, or play recorded telegrams; they misbehave on request.

    Examples:

      mbus-bacnet simulate
      mbus-bacnet simulate --pty --fault silence:gas --fault noise:0.05
      mbus-bacnet simulate --port 0 --baudrate 9600 water.hex heat.hex
    """
    meters = (
        recorded_meters(recorded, baudrate=baudrate, seed=seed)
        if recorded
        else demo_meters(baudrate=baudrate, seed=seed)
    )
    try:
        bus = SimulatedBus(
            meters,
            baudrate=baudrate,
            faults=fault or (),
            clock=SimulatedClock(speed=speed),
            seed=seed,
        )
    except SimError as error:
        raise UsageError(str(error)) from error
    if format is Format.JSON:
        write(json.dumps(describe(meters)))
    else:
        write(description(meters))
    asyncio.run(_serve(bus, host, port, latency, pty=pty))


async def _serve(bus: SimulatedBus, host: str, port: int, latency: float, *, pty: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server: PtyServer | TcpServer
    example = next(iter(bus.meters.values())).primary
    if pty:
        server = await serve_pty(bus)
        say(f"\nThe bus is at {server.path}, {bus.baudrate} baud. A pseudo terminal has no parity:")
        rate = "" if bus.baudrate == 2400 else f" --baudrate {bus.baudrate}"
        say(f"  {command_name()} read {server.path} {example} --parity none{rate}")
    else:
        server = await serve_tcp(bus, host, port, latency=latency)
        say(f"\nThe bus is at {server.url}, {bus.baudrate} baud, for one client at a time:")
        say(f"  {command_name()} read {server.url} {example}")
    say("Ctrl-C ends it.")
    await stop.wait()
    await server.close()
    used = bus.statistics
    say(
        f"The line was busy for {used.busy_seconds:.1f} s: {used.requests} requests, "
        f"{used.answers} answers, {used.bytes_from_master + used.bytes_to_master} bytes."
    )
