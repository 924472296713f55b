"""Hundreds of segments in one bridge: does each still get its own bus's limit?

The bridge has one process, the segments have others. A BACnet client asks for one property every
50 ms: what its answers take beyond the quickest one is how long the bridge's event loop let them
wait, and the others that shared the processors with it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import statistics
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks.bus import Order
from scripts.benchmarks.expected import recordings
from scripts.benchmarks.process import BenchError, cpu_seconds, free_port, memory
from scripts.benchmarks.running import INSTANCE, Bus, running_bridge, running_bus, site_text
from scripts.benchmarks.startup import object_count, object_count_request

ASK_EVERY = 0.05  # seconds
PATIENCE = 10.0  # seconds until a question counts as lost

_INVOKE_ID = 8  # where it stands in the question: behind BVLC, NPDU and two octets

# Seconds between two lots of an answer's bytes: packetising gateways wait as long, or longer. The
# last lot is handed out at the end of the answer all the same.
PACE = 0.04

_WORSE = re.compile(r"^.*(?:WARNING|ERROR|CRITICAL).*$", re.MULTILINE)


@dataclass
class Result:
    """What was found; times in seconds, sizes in bytes, CPU as a share of one core."""

    segments: int
    meters: int  # in all
    baudrate: int
    processors: int
    simulators: int
    seconds: float
    started: float = 0.0  # from the command to the first request
    first_round: float = 0.0  # from there until all meters were asked
    objects: int = 0
    # From then on:
    window: float = 0.0
    shares: list[float] = field(default_factory=list)  # of each segment, in their order
    own_shares: list[float] = field(default_factory=list)  # without what the simulator was late
    answers: int = 0
    repeated: int = 0
    bridge_cpu: float = 0.0
    simulator_cpu: list[float] = field(default_factory=list)
    first_round_cpu: float = 0.0
    memory: int = 0
    memory_peak: int = 0
    latencies: dict[str, float] = field(default_factory=dict)
    first_latencies: dict[str, float] = field(default_factory=dict)
    lost_questions: int = 0
    simulator_stalls: float = 0.0  # the longest time that a simulator was not run
    messages: list[str] = field(default_factory=list)  # of the bridge's log, warnings and worse


class Asker:
    """Asks the bridge how many objects it has, again and again, and notes how long it takes."""

    def __init__(self, port: int) -> None:
        self.times: list[float] = []
        self.lost = 0
        self.objects = 0
        self._port = port

    async def run(self) -> None:
        """Ask until cancelled."""
        loop = asyncio.get_running_loop()
        request = object_count_request(INSTANCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.setblocking(False)
            asker.bind(("127.0.0.1", 0))
            number = 0
            while True:
                number = number % 255 + 1
                begin = time.perf_counter()
                question = request[:_INVOKE_ID] + bytes((number,)) + request[_INVOKE_ID + 1 :]
                await loop.sock_sendto(asker, question, ("127.0.0.1", self._port))
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self._hear(asker, number)
                except TimeoutError:
                    self.lost += 1
                took = time.perf_counter() - begin
                self.times.append(took)
                await asyncio.sleep(max(0.0, ASK_EVERY - took))

    async def _hear(self, asker: socket.socket, number: int) -> None:
        """Wait for the answer to that question; one to a question before does not count."""
        loop = asyncio.get_running_loop()
        while True:
            answer = await loop.sock_recv(asker, 1500)
            # Of the answer's APDU the second octet: clause 20.1.5.
            if (count := object_count(answer)) is not None and answer[7] == number:
                self.objects = count
                return

    def figures(self) -> dict[str, float]:
        """Of the times since the last call."""
        times, self.times = sorted(self.times), []
        if not times:
            return {}
        return {
            "quickest": times[0],
            "median": statistics.median(times),
            "99 of 100 below": times[int(len(times) * 0.99)],
            "worst": times[-1],
            "questions": float(len(times)),
        }


async def measure(
    paths: Sequence[Path],
    *,
    segments: int,
    baudrate: int,
    seconds: float,
    simulators: int = 2,
    points: str = "current",
) -> Result:
    """One run; ``seconds`` count from the end of the first round.

    Raises:
        BenchError: something did not start or end as it should.
    """
    meters = recordings(paths)
    result = Result(
        segments, segments * len(meters), baudrate, len(os.sched_getaffinity(0)), simulators, 0.0
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with _simulated(paths, segments, baudrate, simulators) as buses:
            ports = [port for bus in buses for port in (await bus.event("ready", 60.0))["ports"]]
            udp_port = free_port(socket.SOCK_DGRAM)
            site, log = Path(folder) / "site.yaml", Path(folder) / "log"
            names = [each.name for each in meters]
            site.write_text(site_text(ports, udp_port, baudrate, names, points=points))
            began = time.monotonic()
            async with running_bridge(site, log, verbose=False) as bridge:
                first = await _first_requests(buses, segments)
                result.started = first - began
                asker = Asker(udp_port)
                asking = asyncio.create_task(asker.run())
                try:
                    await _watch(result, buses, bridge, asker, seconds)
                finally:
                    asking.cancel()
            told = [await bus.finish() for bus in buses]
        _count(result, told)
        result.messages = _WORSE.findall(log.read_text())
    return result


@asynccontextmanager
async def _simulated(
    paths: Sequence[Path], segments: int, baudrate: int, simulators: int
) -> AsyncIterator[list[Bus]]:
    """As many processes, which share the segments."""
    async with AsyncExitStack() as stack:
        buses: list[Bus] = []
        for number in range(simulators):
            count = (segments + number) // simulators
            order = Order(tuple(map(str, paths)), baudrate, segments=count, pace=PACE)
            buses.append(await stack.enter_async_context(running_bus(order)))
        yield buses


async def _first_requests(buses: Sequence[Bus], segments: int) -> float:
    """Wait until each segment was asked something; when the first of them was."""
    times = [
        float((await bus.event("first-request", 120.0))["at"])
        for bus in buses
        for _ in range(bus.segments)
    ]
    if len(times) != segments:
        raise BenchError(f"{len(times)} segments were asked, not {segments}")
    return min(times)


async def _watch(
    result: Result, buses: Sequence[Bus], bridge: Process, asker: Asker, seconds: float
) -> None:
    began, cpu = time.monotonic(), cpu_seconds(bridge.pid)
    for bus in buses:
        await bus.event("first-round", 600.0)
    result.first_round = time.monotonic() - began
    result.first_round_cpu = (cpu_seconds(bridge.pid) - cpu) / result.first_round
    result.first_latencies = asker.figures()
    for bus in buses:
        bus.mark()
    simulators = [bus.process.pid for bus in buses]
    before = [cpu_seconds(pid) for pid in (bridge.pid, *simulators)]
    began = time.monotonic()
    await asyncio.sleep(seconds)
    result.seconds = time.monotonic() - began
    after = [cpu_seconds(pid) for pid in (bridge.pid, *simulators)]
    used = [(b - a) / result.seconds for a, b in zip(before, after, strict=True)]
    result.bridge_cpu, result.simulator_cpu = used[0], used[1:]
    result.memory, result.memory_peak = memory(bridge.pid)
    result.latencies = asker.figures()
    result.lost_questions = asker.lost
    result.objects = asker.objects


def _count(result: Result, told: Sequence[dict[str, Any]]) -> None:
    for end in told:
        result.simulator_stalls = max(
            [result.simulator_stalls, *(late for _, late in end["stalls"])]
        )
        for segment in end["segments"]:
            marked = segment["marked"]
            window = segment["last_at"] - marked["last_at"]
            busy = segment["busy"] - marked["busy"]
            late = sum(row[2] for row in segment["gaps"] if row[0] > marked["last_at"])
            result.window = max(result.window, window)
            result.shares.append(busy / window)
            result.own_shares.append(busy / (window - late))
            result.answers += segment["statistics"]["answers"] - marked["answers"]
            result.repeated += segment["repeated"] - marked["repeated"]


def report(r: Result) -> str:
    """The figures for people."""
    lines = [
        f"{r.segments} segments over TCP, {r.meters} meters at {r.baudrate} baud; {r.processors} "
        f"processors for the bridge and {r.simulators} processes with the segments",
        "",
        "Start",
        f"  to the first request    {r.started:.1f} s",
        f"  first round             {r.first_round:.1f} s, CPU {r.first_round_cpu:.0%}; "
        f"{r.objects} objects",
        f"  BACnet meanwhile        {_latencies(r.first_latencies)}",
        "",
        f"From then on, {r.seconds:.0f} s",
        f"  telegrams               {r.answers}, {r.answers / r.seconds:.0f} a second; repeated "
        f"requests {r.repeated}",
        f"  share of each segment   {_shares(r.shares)}",
        f"  the simulator's lateness taken out: {_shares(r.own_shares)}",
        f"  CPU of the bridge       {r.bridge_cpu:.1%} of one core, "
        f"{r.bridge_cpu * r.seconds / max(1, r.answers) * 1e6:.0f} µs a telegram",
        f"  CPU of the simulators   {' '.join(f'{cpu:.1%}' for cpu in r.simulator_cpu)}; not run "
        f"for {r.simulator_stalls * 1000:.0f} ms once at the longest",
        f"  memory                  {r.memory / 2**20:.0f} MiB, peak {r.memory_peak / 2**20:.0f}",
        f"  BACnet                  {_latencies(r.latencies)}; lost {r.lost_questions}",
        f"  in the log              {len(r.messages)} warnings or worse",
        *(f"    {message}" for message in r.messages[:10]),
    ]
    return "\n".join(lines)


def _shares(shares: Sequence[float]) -> str:
    return (
        f"least {min(shares):.2%}, median {statistics.median(shares):.2%}, most {max(shares):.2%}"
    )


def _latencies(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{key} {value * 1000:.1f} ms" for key, value in figures.items() if key != "questions"
    )
