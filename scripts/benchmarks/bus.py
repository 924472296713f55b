"""Simulated segments, in a process of their own, with a note of when each request came.

Events go to stdout, one JSON object a line: ``ready`` with the ports, ``first-request`` of each
segment, ``first-round`` once all meters were asked, and at SIGTERM ``end`` with all that was
counted, by then and (``marked``) by the last SIGUSR1. Times are of the monotonic clock, which all
processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import selectors
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bridge.mbus.control import FCB, REQ_UD2, SND_NKE
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import SimulatedMeter
from bridge.sim.server import PACE_SECONDS, PtyServer, TcpServer, serve_pty, serve_tcp
from scripts.benchmarks.expected import recordings, simulated

WATCH_SECONDS = 0.02
STALL_SECONDS = 0.005


class MeasuredBus(SimulatedBus):
    """A bus that notes for each request how long the line had been free before it came.

    ``gaps`` has a row for each request but the first: when it came, how many seconds the line was
    free before it, how many of them passed before the simulator itself had handed out the last
    byte of the answer, and the address of the request before.
    """

    def __init__(
        self, meters: Sequence[SimulatedMeter], baudrate: int, faults: Sequence[str], number: int
    ) -> None:
        super().__init__(meters, baudrate=baudrate, seed=number + 1, faults=faults)
        self.number = number
        self.gaps: list[tuple[float, float, float, int]] = []
        self.requests: Counter[str] = Counter()
        self.busy: defaultdict[str, float] = defaultdict(
            float
        )  # seconds of wire time, by what was asked
        self.repeated = 0
        self.first_at: float | None = None
        self.last_at = 0.0
        self.busy_until_last = 0.0
        self.unasked = {meter.primary for meter in meters}
        self.marked: dict[str, float] = {}
        self._handed_out_at = 0.0
        self._kind = ""
        self._address = -1
        self._last_to: dict[int, bytes] = {}

    def receive(self, data: bytes, now: float) -> None:
        busy = self.statistics.busy_seconds
        if self.first_at is None:
            self.first_at = now
            tell("first-request", at=now, segment=self.number)
        else:
            gap = (now - self.last_at) - (busy - self.busy_until_last)
            reaction = now - self._handed_out_at
            self.gaps.append((now, gap, gap - reaction, self._address))
            self.busy[self._kind] += busy - self.busy_until_last
        self.last_at, self.busy_until_last = now, busy
        self._kind, self._address = "other", -1
        if len(data) == 5:
            self._address = data[2]
            self.unasked.discard(data[2])
            self._kind = {SND_NKE: "SND_NKE", REQ_UD2: "REQ_UD2"}.get(data[1] & ~FCB, "other")
            self.repeated += self._last_to.get(data[2]) == data
            self._last_to[data[2]] = data
        self.requests[self._kind] += 1
        super().receive(data, now)

    def mark(self) -> None:
        """Remember what was counted until now."""
        self.marked = {
            "last_at": self.last_at,
            "busy": self.busy_until_last,
            "repeated": self.repeated,
            "answers": self.statistics.answers,
        }

    def take(self, now: float) -> bytes:
        heard = super().take(now)
        if heard:
            self._handed_out_at = now
        return heard


async def watch_stalls(stalls: list[tuple[float, float]]) -> None:
    """Note when this process was not run in time: what the machine costs, and not the bridge."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + WATCH_SECONDS
        await asyncio.sleep(WATCH_SECONDS)
        if (late := loop.time() - due) > STALL_SECONDS:
            stalls.append((due, late))


async def watch_first_round(buses: Sequence[MeasuredBus]) -> None:
    """Tell when all meters were asked."""
    waiting = list(buses)
    while waiting:
        await asyncio.sleep(WATCH_SECONDS)
        waiting = [bus for bus in waiting if bus.unasked]
    tell("first-round")


def tell(event: str, **facts: object) -> None:
    """Say one event."""
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be simulated.

    Args:
        paths: the recordings; each segment has a meter for each.
        baudrate: of all.
        pty: at a pseudo terminal, and not behind TCP.
        latency: seconds that each byte takes in each direction; TCP only.
        faults: what goes wrong, on each segment.
        segments: how many.
        pace: seconds between two lots of an answer's bytes.
    """

    paths: tuple[str, ...]
    baudrate: int
    pty: bool = False
    latency: float = 0.0
    faults: tuple[str, ...] = ()
    segments: int = 1
    pace: float = PACE_SECONDS


async def serve(order: Order) -> None:
    """Serve recordings until SIGTERM."""
    recorded = recordings(map(Path, order.paths))
    buses = [
        MeasuredBus(simulated(recorded, baudrate=order.baudrate), order.baudrate, order.faults, n)
        for n in range(order.segments)
    ]
    for bus in buses:
        bus.mark()
    gc.freeze()  # thousands of meters, which need not be looked through again and again
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: [bus.mark() for bus in buses])
    servers: list[PtyServer | TcpServer] = []
    for bus in buses:
        if order.pty:
            servers.append(await serve_pty(bus, pace=order.pace, early=0.0))
        else:
            servers.append(await serve_tcp(bus, latency=order.latency, pace=order.pace, early=0.0))
    tell(
        "ready",
        ports=[str(each.path) if isinstance(each, PtyServer) else each.url for each in servers],
    )
    stalls: list[tuple[float, float]] = []
    watches = [
        asyncio.create_task(watch_stalls(stalls)),
        asyncio.create_task(watch_first_round(buses)),
    ]
    await stop.wait()
    for watch in watches:
        watch.cancel()
    for server in servers:
        await server.close()
    tell("end", segments=[_told(bus) for bus in buses], stalls=stalls)


def _told(bus: MeasuredBus) -> dict[str, object]:
    return {
        "first_at": bus.first_at,
        "last_at": bus.last_at,
        "busy": bus.busy_until_last,
        "marked": bus.marked,
        "busy_by_kind": bus.busy,
        "gaps": bus.gaps,
        "requests": bus.requests,
        "repeated": bus.repeated,
        "statistics": asdict(bus.statistics),
    }


def precise_loop() -> asyncio.AbstractEventLoop:
    """A loop that wakes to the microsecond, where epoll counts whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(serve(Order(**json.loads(sys.argv[1]))))
