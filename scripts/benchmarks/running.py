"""What a measurement at true wire speed needs: simulated segments, a bridge, its configuration."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.benchmarks.bus import Order
from scripts.benchmarks.process import COMMAND, BenchError, end

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "vectors" / "telegrams"
OWN = ROOT / "tests" / "vectors"
FIRST = 20
INSTANCE = 260_003
BUS = "recorded"


def default_paths(directory: Path | None) -> list[Path]:
    """The files that are played: the first 20 of a folder, or all of our own."""
    if directory is None and not SHARED.is_dir():
        return sorted(OWN.glob("*.hex"))
    paths = sorted((directory or SHARED).glob("*.hex"))[:FIRST]
    if not paths:
        raise BenchError(f"{directory}: there are no .hex files")
    return paths


def site_text(
    ports: Sequence[str],
    udp_port: int,
    baudrate: int,
    names: Sequence[str],
    *,
    every: str = "continuous",
    points: str = "all",
) -> str:
    """The configuration, as a user would write it: the same meters on each bus.

    Of several buses the names are numbered, of one they are as they are.
    """
    lines = [
        f"device: {{instance: {INSTANCE}, name: Recorded telegrams}}",
        f"bacnet: {{address: 127.0.0.1/8, port: {udp_port}}}",
        "buses:",
    ]
    for bus, port in enumerate(ports, start=1):
        head = f"{bus}-" if len(ports) > 1 else ""
        lines += [
            f"  {head}{BUS}:",
            f"    port: {port}",
            f"    baudrate: {baudrate}",
            # A pseudo terminal has no parity.
            f"    parity: {'even' if port.startswith('tcp:') else 'none'}",
            f"    every: {every}",
            "    meters:",
            *(
                f'      "{head}{name}": {{address: {number}, points: {points}}}'
                for number, name in enumerate(names, start=1)
            ),
        ]
    return "\n".join([*lines, ""])


class Bus:
    """The process with the simulated segments."""

    def __init__(self, process: Process, segments: int) -> None:
        self.process = process
        self.segments = segments
        self.ending = False

    async def finish(self) -> dict[str, Any]:
        """End it; what it has counted.

        Raises:
            BenchError: it does not end, or does not tell.
        """
        self.ending = True
        self.process.terminate()
        told = await self.event("end")
        await self.process.wait()
        return told

    def mark(self) -> None:
        """Let it remember what it has counted until now."""
        self.process.send_signal(signal.SIGUSR1)

    async def event(self, name: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait for an event of that name.

        Raises:
            BenchError: it did not come.
        """
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                async for line in self.process.stdout:
                    told: dict[str, Any] = json.loads(line)
                    if told["event"] == name:
                        return told
        except TimeoutError:
            raise BenchError(f"the simulated bus did not say {name} in {seconds:g} s") from None
        raise BenchError("the simulated bus has ended")


@asynccontextmanager
async def running_bus(order: Order) -> AsyncIterator[Bus]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scripts.benchmarks.bus",
        json.dumps(asdict(order)),
        stdout=PIPE,
        limit=1 << 28,
    )
    bus = Bus(process, order.segments)
    try:
        yield bus
    finally:
        if not bus.ending:
            await end(process)


@asynccontextmanager
async def running_bridge(site: Path, log: Path, *, verbose: bool = True) -> AsyncIterator[Process]:
    """Run the bridge; its messages go to ``log``.

    Raises:
        BenchError: it ended otherwise than with status 0.
    """
    options = ["--verbose"] if verbose else []
    with log.open("wb") as messages:
        process = await asyncio.create_subprocess_exec(
            COMMAND, *options, "run", str(site), stderr=messages
        )
    try:
        yield process
    finally:
        status = await end(process, 30.0)
    if status != 0:
        raise BenchError(f"the bridge ended with status {status}:\n{_last_words(log)}")


def _last_words(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-10:])
