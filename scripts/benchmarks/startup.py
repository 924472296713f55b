"""How long it takes from the command to the first BACnet answer, and what the process holds.

Three states of the byte code: all compiled; ours not (a fresh clone, whose environment is
installed); and nothing at all, not even the standard library. The disk's cache is warm in each.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import struct
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.app.demo import INSTANCE as DEMO_INSTANCE
from bridge.bacnet.client import Browser
from scripts.benchmarks.process import (
    COMMAND,
    BenchError,
    cpu_seconds,
    end,
    free_port,
    memory,
)

ROOT = Path(__file__).parents[2]
INSTANCE = 260_004
POINTS = 37  # of each meter; with its own three, 40 objects
ASK_EVERY = 0.01  # seconds
LIMIT = 120.0

_QUANTITIES = ("energy", "volume", "power", "volume-flow", "flow-temperature", "return-temperature")


@dataclass(frozen=True, slots=True)
class Start:
    """One way to start, the medians of its runs; seconds and bytes."""

    what: str
    code: str
    objects: int
    first_answer: float
    slowest: float
    cpu: float
    memory: int
    memory_peak: int
    first_value: float | None = None


def object_count_request(instance: int) -> bytes:
    """ReadProperty object-list[0] of a device, in a BVLC unicast; invoke ID 1."""
    identifier = struct.pack(">I", 8 << 22 | instance)
    service = b"\x00\x05\x01\x0c\x0c" + identifier + b"\x19\x4c\x29\x00"
    return struct.pack(">BBH", 0x81, 0x0A, 6 + len(service)) + b"\x01\x04" + service


def object_count(answer: bytes) -> int | None:
    """The number in the ComplexACK to it; None where it is another datagram."""
    apdu = answer[6:]
    if apdu[:1] != b"\x30" or apdu[2:3] != b"\x0c":
        return None
    start = apdu.find(b"\x3e") + 1
    length = apdu[start] & 0x07
    return int.from_bytes(apdu[start + 1 : start + 1 + length], "big")


def many_text(objects: int, udp_port: int, tcp_port: int) -> tuple[str, int]:
    """A site with at least that many objects, each named in the file; and how many they are."""
    meters = -(-objects // (POINTS + 3))
    lines = [
        f"device: {{instance: {INSTANCE}, name: Many objects}}",
        f"bacnet: {{address: 127.0.0.1/8, port: {udp_port}}}",
        "buses:",
    ]
    for number in range(meters):
        if number % 250 == 0:
            # Nobody listens there: meters that answer would be another measurement.
            lines += [f"  bus-{number // 250}:", f"    port: tcp://127.0.0.1:{tcp_port}"]
            lines += ["    every: 15m", "    meters:"]
        lines += [f"      meter-{number}:", f"        address: {number % 250 + 1}"]
        lines += ["        points:"]
        lines += [
            f"          p{point}: {{quantity: {_QUANTITIES[point % 6]}, storage: {point // 6}}}"
            for point in range(POINTS)
        ]
    return "\n".join(lines) + "\n", meters * (POINTS + 3)


async def measure(objects: int, runs: int) -> list[Start]:
    """All ways to start, one after the other."""
    results: list[Start] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for state, prepare in _code_states(folder):
            results.append(await _several(runs, "demonstration", state, prepare, _Demo()))
        many = _Many(folder, objects)
        results.append(
            await _several(runs, "new site", "compiled", _code_states(folder)[0][1], many)
        )
        many.keep_state = True
        for state, prepare in _code_states(folder):
            results.append(await _several(runs, "known site", state, prepare, many))
    return results


def _code_states(folder: Path) -> list[tuple[str, Callable[[], Path]]]:
    """How much byte code there is, and what makes it so: gives the folder that holds it."""
    cache = folder / "code"
    ours = cache / str(ROOT).lstrip("/")

    def without_ours() -> Path:
        for part in ("bridge", "scripts"):
            shutil.rmtree(ours / part, ignore_errors=True)
        return cache

    def without_any() -> Path:
        shutil.rmtree(cache, ignore_errors=True)
        return cache

    return [
        ("compiled", lambda: cache),
        ("ours not compiled", without_ours),
        ("nothing compiled", without_any),
    ]


class _Demo:
    """The demonstration."""

    instance = DEMO_INSTANCE
    waits_for_value = True

    def __init__(self) -> None:
        self.port = 0

    def arguments(self) -> list[str]:
        self.port = free_port(socket.SOCK_DGRAM)
        return ["run", "--demo", "--port", str(self.port)]


class _Many:
    """A site with many objects; ``keep_state`` keeps the ledger of the run before."""

    instance = INSTANCE
    waits_for_value = False

    def __init__(self, folder: Path, objects: int) -> None:
        self.keep_state = False
        self.port = 0
        self.expected = 0
        self._folder = folder
        self._objects = objects

    def arguments(self) -> list[str]:
        self.port = free_port(socket.SOCK_DGRAM)
        closed = free_port(socket.SOCK_STREAM)
        text, self.expected = many_text(self._objects, self.port, closed)
        site = self._folder / "many.yaml"
        site.write_text(text)
        if not self.keep_state:
            shutil.rmtree(self._folder / "many.state", ignore_errors=True)
        return ["run", str(site)]


async def _several(
    runs: int, what: str, state: str, prepare: Callable[[], Path], kind: _Demo | _Many
) -> Start:
    if state == "compiled":
        await _once(what, state, prepare(), kind)  # which compiles
    found = [await _once(what, state, prepare(), kind) for _ in range(runs)]
    values = [each.first_value for each in found if each.first_value is not None]
    return Start(
        what,
        state,
        found[0].objects,
        statistics.median(each.first_answer for each in found),
        max(each.first_answer for each in found),
        statistics.median(each.cpu for each in found),
        int(statistics.median(each.memory for each in found)),
        max(each.memory_peak for each in found),
        statistics.median(values) if values else None,
    )


async def _once(what: str, state: str, cache: Path, kind: _Demo | _Many) -> Start:
    arguments = kind.arguments()
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, env=environment, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        objects = await _first_answer(process, kind)
        first = time.monotonic() - began
        cpu, held = cpu_seconds(process.pid), memory(process.pid)
        if isinstance(kind, _Many) and objects < kind.expected:
            raise BenchError(f"{objects} objects, not {kind.expected}")
        value = await _first_value(kind, began) if kind.waits_for_value else None
    finally:
        await end(process)
    return Start(what, state, objects, first, first, cpu, held.resident, held.peak, value)


async def _first_answer(process: Process, kind: _Demo | _Many) -> int:
    """Ask until there is an answer; how many objects it tells."""
    request = object_count_request(kind.instance)
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        asker.bind(("127.0.0.1", 0))
        limit = loop.time() + LIMIT
        while loop.time() < limit:
            if process.returncode is not None:
                raise BenchError(f"the bridge ended with status {process.returncode}")
            await loop.sock_sendto(asker, request, ("127.0.0.1", kind.port))
            try:
                async with asyncio.timeout(ASK_EVERY):
                    count = object_count(await loop.sock_recv(asker, 1500))
            except TimeoutError:
                continue
            if count is not None:
                return count
    raise BenchError(f"no answer within {LIMIT:g} s")


async def _first_value(kind: _Demo | _Many, began: float) -> float:
    async with Browser("127.0.0.1", port=kind.port) as browser:
        device = await browser.find(f"127.0.0.1:{kind.port}")
        while time.monotonic() - began < LIMIT:
            async for value in browser.read_objects(device):
                number = value.identifier.startswith("analog-input")
                if number and value.reliability == "no-fault-detected":
                    return time.monotonic() - began
            await asyncio.sleep(ASK_EVERY)
    raise BenchError(f"no value within {LIMIT:g} s")


def report(results: Sequence[Start]) -> str:
    """The figures for people."""
    lines = [
        f"Python {sys.version.split()[0]}; seconds from the command to the first answer, medians",
        "",
        f"{'':14}{'byte code':19}{'objects':>8}{'answer':>9}{'slowest':>9}{'CPU':>8}"
        f"{'MiB':>8}{'peak':>8}{'first value':>13}",
    ]
    for each in results:
        value = f"{each.first_value:13.2f}" if each.first_value is not None else ""
        lines.append(
            f"{each.what:14}{each.code:19}{each.objects:8}{each.first_answer:9.2f}"
            f"{each.slowest:9.2f}{each.cpu:8.2f}{each.memory / 2**20:8.1f}"
            f"{each.memory_peak / 2**20:8.1f}{value}"
        )
    return "\n".join(lines)
