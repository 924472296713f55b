"""A port to a simulated bus without an operating system between, for an event loop that jumps."""

from __future__ import annotations

import asyncio

from bridge.sim.bus import SimulatedBus
from bridge.sim.line import wire_time
from bridge.transport.base import (
    Line,
    Parity,
    Received,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.pace import Pace
from scripts.benchmarks.harm import Dice, Struck

NAME = "memory"

# Seconds between two lots that arrive; less than any master takes for a gap in a frame.
LOT_SECONDS = 0.05

# Seconds between two lots that are taken of an answer: so long that there is one.
_WHOLE = 1e9


class MemoryPort:
    """The master's end of a simulated bus.

    Args:
        bus: served by nobody else.
        harm: what becomes of the answers; None for nothing.
        guards_parity: whether characters with a wrong parity are marked.
    """

    def __init__(
        self, bus: SimulatedBus, *, harm: Dice | None = None, guards_parity: bool = False
    ) -> None:
        self.bus = bus
        self.harm = harm
        self.line = Line(bus.baudrate, "even" if guards_parity else "none")
        self.pace = Pace()
        self.round_trip: float | None = None
        self.guards_parity = guards_parity
        self.name = NAME
        self.opened = 0
        self.refuses: str | None = None  # why it cannot be opened now
        self._problem: str | None = "the port is not open"
        self._connection = 0  # what comes late on an old one is lost
        self._data = bytearray()
        self._broken: list[int] = []
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = float("-inf")
        self._taken_at = float("-inf")

    async def open(self) -> None:
        if self.refuses is not None:
            raise TransportOpenError(NAME, self.refuses, "Wait")
        self.opened += 1
        self._connection += 1
        self._problem = None
        self._data.clear()
        self._broken.clear()

    async def close(self) -> None:
        self.drop("closed")

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        self.bus.set_baudrate(baudrate)
        self.line = Line(baudrate, parity)

    async def write(self, data: bytes) -> None:
        self._check()
        self.bus.receive(data, asyncio.get_running_loop().time())
        self._answer()

    async def read(self, *, not_before: float | None = None) -> Received:
        loop = asyncio.get_running_loop()
        self._not_before = loop.time() if not_before is None else not_before
        while not self._data or loop.time() < self._not_before:
            self._check()
            self._reader = loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.discard_input()

    def discard_input(self) -> Received:
        received = Received(bytes(self._data), tuple(self._broken))
        self._data.clear()
        self._broken.clear()
        return received

    def drop(self, problem: str) -> None:
        """The connection is gone, with all that was under way."""
        if self._problem is None:
            self._problem = problem
            self._connection += 1
        self._wake()

    def _check(self) -> None:
        if self._problem is not None:
            raise TransportLostError(NAME, self._problem)

    def _answer(self) -> None:
        """Hand on what the bus will say to what it has just heard.

        It is taken ahead of its time, so that the line can harm an answer as a whole; the lots
        arrive when they would.
        """
        loop = asyncio.get_running_loop()
        bus = self.bus
        while (due := bus.due(self._taken_at, _WHOLE)) is not None:
            end = self._taken_at = due[0]
            if data := bus.take(end):
                struck = Struck(data) if self.harm is None else self.harm.strike(data)
                self._send(struck, end + struck.delay - wire_time(len(data), bus.baudrate))
            if bus.take_drop(end):
                loop.call_at(end, self.drop, "dropped")

    def _send(self, struck: Struck, begin: float) -> None:
        """Let characters arrive that are on the line from ``begin`` on."""
        loop, baudrate = asyncio.get_running_loop(), self.bus.baudrate
        count = max(1, int(LOT_SECONDS / wire_time(1, baudrate)))
        first = 0
        while first < len(struck.data):
            # The first character stands alone: with it an answer has begun.
            last = min(len(struck.data), first + count) if first else 1
            broken = [place for place in struck.broken if first <= place < last]
            lot = struck.data[first:last], [place - first for place in broken]
            at = begin + wire_time(last, baudrate)
            loop.call_at(at, self._arrive, *lot, self._connection)
            first = last

    def _arrive(self, data: bytes, broken: list[int], connection: int) -> None:
        if connection != self._connection:
            return
        if self.guards_parity:
            self._broken += (len(self._data) + place for place in broken)
        self._data += data
        if self._not_before <= asyncio.get_running_loop().time():
            self._wake()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._not_before, self._wake)

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
