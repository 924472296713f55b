"""The simulated segment, in a process of its own, with a note of when each request came.

Events go to stdout, one JSON object a line: ``ready`` with the port, ``first-request``, and at
SIGTERM ``end`` with all that was counted. Times are of the monotonic clock, which all processes
of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bridge.mbus.control import FCB, REQ_UD2, SND_NKE
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import SimulatedMeter
from bridge.sim.server import PtyServer, TcpServer, serve_pty, serve_tcp
from scripts.benchmarks.expected import recordings, simulated

WATCH_SECONDS = 0.02
STALL_SECONDS = 0.005


class MeasuredBus(SimulatedBus):
    """A bus that notes for each request how long the line had been free before it came.

    ``gaps`` has a row for each request but the first: when it came, how many seconds the line was
    free before it, and how many of them passed before the simulator itself had handed out the
    last byte of the answer.
    """

    def __init__(self, meters: Sequence[SimulatedMeter], baudrate: int) -> None:
        super().__init__(meters, baudrate=baudrate, seed=1)
        self.gaps: list[tuple[float, float, float]] = []
        self.requests: Counter[str] = Counter()
        self.busy: defaultdict[str, float] = defaultdict(
            float
        )  # seconds of wire time, by what was asked
        self.repeated = 0
        self.first_at: float | None = None
        self.last_at = 0.0
        self.busy_until_last = 0.0
        self._handed_out_at = 0.0
        self._kind = ""
        self._last_to: dict[int, bytes] = {}

    def receive(self, data: bytes, now: float) -> None:
        busy = self.statistics.busy_seconds
        if self.first_at is None:
            self.first_at = now
            _tell("first-request", at=now)
        else:
            gap = (now - self.last_at) - (busy - self.busy_until_last)
            reaction = now - self._handed_out_at
            self.gaps.append((now, gap, gap - reaction))
            self.busy[self._kind] += busy - self.busy_until_last
        self.last_at, self.busy_until_last = now, busy
        self._kind = "other"
        if len(data) == 5:
            self._kind = {SND_NKE: "SND_NKE", REQ_UD2: "REQ_UD2"}.get(data[1] & ~FCB, "other")
            self.repeated += self._last_to.get(data[2]) == data
            self._last_to[data[2]] = data
        self.requests[self._kind] += 1
        super().receive(data, now)

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


def _tell(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()


async def serve(paths: list[Path], baudrate: int, *, pty: bool) -> None:
    """Serve recordings until SIGTERM."""
    bus = MeasuredBus(simulated(recordings(paths), baudrate=baudrate), baudrate)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server: PtyServer | TcpServer = await (serve_pty(bus) if pty else serve_tcp(bus))
    _tell("ready", port=str(server.path) if isinstance(server, PtyServer) else server.url)
    stalls: list[tuple[float, float]] = []
    watch = asyncio.create_task(watch_stalls(stalls))
    await stop.wait()
    watch.cancel()
    await server.close()
    _tell(
        "end",
        first_at=bus.first_at,
        last_at=bus.last_at,
        busy=bus.busy_until_last,
        busy_by_kind=bus.busy,
        gaps=bus.gaps,
        requests=bus.requests,
        repeated=bus.repeated,
        stalls=stalls,
        statistics=asdict(bus.statistics),
    )


if __name__ == "__main__":
    asyncio.run(
        serve(
            [Path(each) for each in sys.argv[3:]],
            int(sys.argv[2]),
            pty=sys.argv[1] == "pty",
        )
    )
