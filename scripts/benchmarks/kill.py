"""What a BMS has read survives: SIGKILL at random moments, and a disk that fills.

The installed command runs on a simulated bus, with a client that reads all its objects again and
again. What the client has seen must be on record afterwards, whatever ended the bridge:

- each time at which a meter was last read, as an answer in the history (no gap);
- each value, among those of its point in the history;
- each identifier, the same in every run;
- both files whole (``PRAGMA integrity_check``), and none set aside;
- in the next run, the last reading of each meter, at least as new, from the first look on.
"""

from __future__ import annotations

import asyncio
import datetime
import resource
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from bridge.bacnet.client import Browser
from bridge.errors import BridgeError
from bridge.points.history import HISTORY_FILE, PASS, History
from bridge.sim.bus import SimulatedBus
from bridge.sim.server import serve_tcp
from bridge.sim.site import demo_meters
from scripts.benchmarks.process import COMMAND, BenchError, end, free_port

INSTANCE = 260_006
BAUDRATE = 38_400
FIRST_KILL = 0.2  # seconds after the start, at the earliest
LIMIT = 60.0  # seconds for anything that must come
CLOCK = 0.011  # seconds: a BACnet time has hundredths
SMALL_DISK = 2_000_000  # bytes
FULL_FOR = 5.0  # seconds
SETTLED = 4  # answers that the client has seen of each meter, before the first kill
LAST_READ = ".last-read"

_SITE = """\
device: {{instance: {instance}, name: To be killed}}
bacnet: {{address: 127.0.0.1/8, port: {port}}}
state: {state}
buses:
  cellar:
    port: {bus}
    baudrate: {baudrate}
    every: continuous
    meters:
{meters}
"""


@dataclass
class Result:
    """What was found; ``wrong`` says what must not be."""

    kills: int = 0
    before_answer: int = 0  # of them, those before the first answer to the client
    looks: int = 0  # sweeps of all objects
    objects: int = 0
    times_seen: int = 0  # different times of last readings, over all meters
    values_seen: int = 0  # different values, over all points
    answers: int = 0  # in the history, at the end
    history_bytes: int = 0
    start_median: float = 0.0  # seconds to the first answer
    wrong: list[str] = field(default_factory=list)
    disk: str = ""  # how it was filled
    full_seen: int = 0  # readings that the client saw while the disk was full
    full_lost: int = 0  # and that were not on record when there was room again

    @property
    def is_right(self) -> bool:
        """Whether nothing was lost, damaged or moved."""
        return not self.wrong and not self.full_lost


class _Seen:
    """What the client has seen, over all runs."""

    def __init__(self) -> None:
        self.identifiers: dict[str, str] = {}
        self.times: dict[str, set[float]] = {}  # by meter
        self.values: dict[str, set[float]] = {}  # by point
        self.wrong: list[str] = []
        self.looks = 0

    async def look(self, browser: Browser, address: str, *, first: bool) -> None:
        """Read everything once."""
        device = await browser.find(address, timeout=0.2)
        before = {meter: max(times) for meter, times in self.times.items()}
        async for each in browser.read_objects(device):
            if each.error:
                continue
            known = self.identifiers.setdefault(each.name, each.identifier)
            if known != each.identifier:
                self.wrong.append(f"{each.name} moved from {known} to {each.identifier}")
            if each.name.endswith(LAST_READ):
                self._look_at_time(each.name, each.value, before if first else {})
            elif isinstance(each.value, Decimal) and each.reliability == "no-fault-detected":
                self.values.setdefault(each.name, set()).add(_real(float(each.value)))
        self.looks += 1

    def _look_at_time(self, name: str, value: object, before: dict[str, float]) -> None:
        meter = name.removesuffix(LAST_READ)
        if isinstance(value, datetime.datetime):
            at = value.timestamp()
            self.times.setdefault(meter, set()).add(at)
            if at < before.get(meter, at) - CLOCK:
                self.wrong.append(f"{name} went back, from {before[meter]} to {at}")
        elif meter in before:
            self.wrong.append(f"{name} was {before[meter]}, and is {value} after the start")


async def measure(
    kills: int, seconds: float, *, seed: int = 1, full_for: float = FULL_FOR
) -> Result:
    """Kill the bridge so many times, then fill its disk.

    Args:
        kills: how often.
        seconds: the longest time from the first answer (or, in one of four, from the start) to
            the kill.
        seed: of the random moments.
        full_for: how long the disk stays full, in seconds; 0 leaves that out.

    Raises:
        BenchError: the bridge does not start, or gives no answer.
    """
    random, result, seen = Random(seed), Result(), _Seen()
    bus = SimulatedBus(demo_meters(baudrate=BAUDRATE), baudrate=BAUDRATE)
    server = await serve_tcp(bus)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-kill-") as name:
            folder = Path(name)
            starts = []
            await _settle(folder, server.url, seen)
            for _ in range(kills):
                started = await _one_life(folder, server.url, seen, random, seconds)
                result.kills += 1
                if started is None:
                    result.before_answer += 1
                else:
                    starts.append(started)
                result.wrong += _check(folder / "state", seen)
            result.start_median = sorted(starts)[len(starts) // 2] if starts else 0.0
            result.answers, result.history_bytes = _size(folder / "state")
            result.looks, result.objects = seen.looks, len(seen.identifiers)
            result.times_seen = sum(map(len, seen.times.values()))
            result.values_seen = sum(map(len, seen.values.values()))
            if full_for:
                await _fill(folder, server.url, result, full_for)
    finally:
        await server.close()
    return result


def _write_site(folder: Path, state: Path, bus: str) -> tuple[Path, str]:
    port = free_port(socket.SOCK_DGRAM)
    meters = "\n".join(
        f"      {meter.name}: {{secondary: {meter.secondary}}}"
        if not meter.primary
        else f"      {meter.name}: {{address: {meter.primary}}}"
        for meter in demo_meters(baudrate=BAUDRATE)
    )
    site = folder / "site.yaml"
    site.write_text(
        _SITE.format(
            instance=INSTANCE, port=port, state=state, bus=bus, baudrate=BAUDRATE, meters=meters
        )
    )
    return site, f"127.0.0.1:{port}"


@asynccontextmanager
async def _running(site: Path, errors: int = DEVNULL) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        COMMAND, "run", str(site), stdout=DEVNULL, stderr=errors
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _client(address: str) -> Browser:
    # Nobody answers after a kill, and that should be noticed soon.
    return Browser("127.0.0.1", port=int(address.partition(":")[2]), timeout=0.5, tries=1)


async def _settle(folder: Path, bus: str, seen: _Seen) -> None:
    """Let the bridge read each meter a few times, then kill it.

    Which points a meter has is on record when two of its answers agree: one alone may be damaged.
    """
    site, address = _write_site(folder, folder / "state", bus)
    meters, limit = len(demo_meters()), time.monotonic() + 2 * LIMIT
    async with _running(site), _client(address) as browser:
        while len(seen.times) < meters or min(map(len, seen.times.values())) < SETTLED:
            if time.monotonic() > limit:
                raise BenchError(f"not every meter was read {SETTLED} times in {2 * LIMIT:g} s")
            try:
                await seen.look(browser, address, first=False)
            except BridgeError:
                await asyncio.sleep(0.02)


async def _one_life(
    folder: Path, bus: str, seen: _Seen, random: Random, seconds: float
) -> float | None:
    """Start, look, kill. How long it took to the first answer; None where none came."""
    site, address = _write_site(folder, folder / "state", bus)
    from_start = random.random() < 0.25
    life = random.uniform(FIRST_KILL, seconds)
    began = time.monotonic()
    started: float | None = None
    async with (
        _running(site) as process,
        _client(address) as browser,
    ):
        loop = asyncio.get_running_loop()
        killed = asyncio.Event()

        def kill() -> None:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            killed.set()

        # In the middle of a look, as likely as not: what it has read by then counts.
        timer = loop.call_later(life if from_start else LIMIT, kill)
        while not killed.is_set():
            if process.returncode is not None:
                raise BenchError(f"the bridge ended with status {process.returncode}")
            try:
                await seen.look(browser, address, first=started is None)
            except BridgeError:
                await asyncio.sleep(0.02)
                continue
            if started is None:
                started = time.monotonic() - began
                if not from_start:
                    timer.cancel()
                    timer = loop.call_later(life, kill)
    if started is None and not from_start:
        raise BenchError(f"no answer within {LIMIT:g} s")
    return started


def _check(state: Path, seen: _Seen) -> list[str]:
    """What is missing or damaged, after a kill."""
    wrong, seen.wrong = seen.wrong, []
    if not (state / HISTORY_FILE).exists():
        return wrong + (["there is no history"] if seen.times else [])
    for path in state.glob("*.sqlite"):
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as file:
            (said,) = file.execute("PRAGMA integrity_check").fetchone()
        if said != "ok":
            wrong.append(f"{path.name}: {said}")
    wrong += [f"{path.name} was set aside" for path in state.glob("*.damaged-*")]
    times, values = _on_record(state)
    for meter, at_times in seen.times.items():
        missing = at_times - times.get(meter, set())
        wrong += [
            f"{meter}: what was read at {at} is not on record"
            for at in missing
            if not any(abs(at - each) < CLOCK for each in times.get(meter, ()))
        ]
    for point, numbers in seen.values.items():
        missing_values = numbers - values.get(point, set())
        wrong += [f"{point}: the value {value} is not on record" for value in missing_values]
    return wrong


def _on_record(state: Path) -> tuple[dict[str, set[float]], dict[str, set[float]]]:
    """Times by meter, values by point, each as BACnet says it."""
    times: dict[str, set[float]] = {}
    values: dict[str, set[float]] = {}
    with History.open_to_read(state / HISTORY_FILE) as records:
        for row in records.readings():
            times.setdefault(row.meter, set()).add(row.at)
            if isinstance(row.value, Decimal):
                values.setdefault(row.point, set()).add(_real(float(row.value)))
    return times, values


def _real(number: float) -> float:
    """As a BACnet REAL, which has 32 bits."""
    (rounded,) = struct.unpack(">f", struct.pack(">f", number))
    return float(rounded)


def _size(state: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(f"{(state / HISTORY_FILE).as_uri()}?mode=ro", uri=True)) as file:
        (answers,) = file.execute("SELECT count(*) FROM answers").fetchone()
    return int(answers), sum(path.stat().st_size for path in state.glob(f"{HISTORY_FILE}*"))


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A file system with little room on ``folder``; False where mounting is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    with suppress(OSError):
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            try:
                yield True
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            return
    yield False


async def _fill(folder: Path, bus: str, result: Result, full_for: float) -> None:
    """Fill the disk under a running bridge, make room again, kill it, and look."""
    disk, seen = folder / "disk", _Seen()
    with _small_disk(disk) as is_small:
        site, address = _write_site(folder, disk / "state", bus)
        async with (
            _running(site, PIPE) as process,
            _client(address) as browser,
        ):
            said = asyncio.create_task(_said(process))
            await _look_for(seen, browser, address, 3.0)
            before = {meter: set(times) for meter, times in seen.times.items()}
            make_room = _fill_disk(disk, process.pid, is_small=is_small)
            result.disk = "a small file system" if is_small else "a limit on the size of files"
            await _look_for(seen, browser, address, full_for)
            make_room()
            result.full_seen = sum(
                len(times - before.get(meter, set())) for meter, times in seen.times.items()
            )
            # The bridge looks every few seconds.
            await _look_for(seen, browser, address, 2 * PASS)
            status = await end(process)
            words = await said
        if status:
            result.wrong.append(f"after the disk was full the bridge ended with status {status}")
        if words.count("cannot be written down") != 1 or "written down again" not in words:
            result.wrong.append(f"the log did not say once that the disk was full: {words!r}")
        lost = _check(disk / "state", seen)
        result.full_lost = len(lost)
        result.wrong += lost


def _fill_disk(disk: Path, process: int, *, is_small: bool) -> Any:
    """Fill it; what is returned makes room again."""
    if is_small:
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 1024)
        return filler.unlink
    # Files may not grow any more. Python lets the signal pass, so that writing fails.
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (4096, hard))
    return lambda: resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))


async def _said(process: Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode()


async def _look_for(seen: _Seen, browser: Browser, address: str, seconds: float) -> None:
    """Look for so long, from the first answer on."""
    until, limit = 0.0, time.monotonic() + LIMIT
    while not until or time.monotonic() < until:
        try:
            await seen.look(browser, address, first=False)
        except BridgeError:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(0.02)
            continue
        until = until or time.monotonic() + seconds


def report(result: Result) -> str:
    """The figures for people."""
    lines = [
        f"{result.kills} kills, {result.before_answer} of them before the first answer; "
        f"{result.start_median:.2f} s from the start to the first answer (median)",
        f"{result.looks} looks at {result.objects} objects: {result.times_seen} different times of "
        f"reading and {result.values_seen} different values seen",
        f"{result.answers} answers in the history, {result.history_bytes / 1e6:.1f} MB",
        *(
            [
                f"disk full ({result.disk}): {result.full_seen} readings served meanwhile, "
                f"{result.full_lost} of all that was seen not on record afterwards"
            ]
            if result.disk
            else []
        ),
        "",
        *(result.wrong[:20] or ["nothing lost, nothing damaged, nothing moved"]),
    ]
    if len(result.wrong) > 20:
        lines.append(f"and {len(result.wrong) - 20} more")
    return "\n".join(lines)
