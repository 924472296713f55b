"""One task for each bus: whose turn it is, read it, hand on what came."""

from __future__ import annotations

import asyncio
import datetime
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from bridge.errors import BridgeError
from bridge.mbus.address import SecondaryAddress
from bridge.mbus.link import Effort, Link, Timing
from bridge.mbus.readout import MAXIMUM_TELEGRAMS, Complete, Memory, Trouble
from bridge.mbus.telegram import Telegram
from bridge.polling.repetition import Repetition
from bridge.polling.schedule import Plan, Schedule, Turn, Window
from bridge.polling.session import BrokenOffError, read_meter, usual_latency
from bridge.polling.statistics import (
    Failure,
    FailureKind,
    MeterStatistics,
    SegmentStatistics,
)
from bridge.transport import Parity, Transport, TransportError

__all__ = [
    "Failure",
    "FailureKind",
    "Listener",
    "MeterSettings",
    "Segment",
    "SegmentSettings",
    "UnknownMeterError",
]

_logger = logging.getLogger(__name__)

BACKOFF_FIRST = 1.0  # seconds between attempts to open a port
BACKOFF_LAST = 60.0
# A connection that brought an answer, or lasted this long, is opened again at once. Many gateways
# hang up when nothing is said for a while.
LASTING = 10.0

_KINDS = {
    Trouble.NO_ANSWER: FailureKind.NO_ANSWER,
    Trouble.DAMAGED: FailureKind.DAMAGED,
    Trouble.FOREIGN_METER: FailureKind.FOREIGN_METER,
    Trouble.BUSY: FailureKind.BUSY,
    Trouble.APPLICATION_ERROR: FailureKind.APPLICATION_ERROR,
    Trouble.UNREADABLE: FailureKind.UNREADABLE,
}


class UnknownMeterError(BridgeError):
    """A meter was named that is not on this bus."""

    def __init__(self, segment: str, meter: str) -> None:
        super().__init__(f"there is no meter {meter} on the bus {segment}")
        self.segment = segment
        self.meter = meter


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """A meter to be read.

    Args:
        name: unique on its bus, and in what the listener hears.
        address: primary (0 to 250) or secondary.
        every: seconds between two readouts; 0 means as often as the bus allows.
        window: the part of the day, in local time, in which the meter may be read.
        key: its AES-128 key, 16 bytes; never shown.
        maximum_telegrams: how many telegrams to take of one answer.
    """

    name: str
    address: int | SecondaryAddress
    every: float = 900.0
    window: Window | None = None
    key: bytes | None = field(default=None, repr=False)
    maximum_telegrams: int = MAXIMUM_TELEGRAMS


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """A bus.

    Args:
        name: for the listener and the log.
        port: as `bridge.transport.parse_port` takes it.
        baudrate: 300 to 38400.
        parity: ``even``, or ``none``.
        timeout: seconds to the first byte of an answer, where the standard's 330 bit times and
            50 ms are too short for a meter; else None.
        latency: seconds that the way to the bus and back adds; None for what is usual.
        tries: how often to ask before a meter counts as silent.
    """

    name: str
    port: str
    baudrate: int = 2400
    parity: Parity = "even"
    timeout: float | None = None
    latency: float | None = None
    tries: int = 3

    @property
    def timing(self) -> Timing:
        latency = usual_latency(self.port) if self.latency is None else self.latency
        return Timing(self.baudrate, self.timeout, latency, self.tries)


class Listener(Protocol):
    """Hears what happens on a bus, in order, in the event loop. Nothing here may wait.

    ``at`` is a wall-clock time, in seconds since 1970.
    """

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        """All telegrams of one answer; ``at`` is when the last byte came."""

    def meter_failed(self, meter: str, failure: Failure, at: float) -> None:
        """The meter had its turn, and was not read. Said each time."""

    def segment_changed(self, segment: str, connected: bool, detail: str) -> None:
        """The port was opened or lost; while it cannot be opened, each new reason."""


class Segment:
    """Polls the meters of one bus until it is cancelled.

    Args:
        settings: the bus.
        meters: those on it, in the order in which they are first read.
        listener: hears of every result.
        transport: the port, not open yet. It belongs to the segment, which closes it.
        wall_clock: seconds since 1970, for time stamps and windows. All else runs by the clock of
            the event loop.
        jitter: numbers from 0 to 1, so that many buses behind one router do not reconnect at once.
    """

    def __init__(
        self,
        settings: SegmentSettings,
        meters: Iterable[MeterSettings],
        listener: Listener,
        *,
        transport: Transport,
        wall_clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.statistics = SegmentStatistics()
        self._meters = {meter.name: meter for meter in meters}
        self._memories = {name: Memory() for name in self._meters}
        self._listener = listener
        self._transport = transport
        self._wall_clock = wall_clock
        self._jitter = jitter
        self._link = Link(settings.timing)
        self._schedule: Schedule | None = None
        self._asked_for: list[str] = []
        self._wake = asyncio.Event()
        self._backoff = 0.0
        self._connected_at = 0.0
        self._useful = False  # bytes came on the present connection
        self._detail: str | None = None  # why there was no connection, the last time
        self._is_news = True  # in the log: the first connection, or one after a loss that was said
        # The log: the states of the port, anew after each time that it was good for something;
        # and breaks within an answer, which may come every few seconds on such a port as well.
        self._states = Repetition()
        self._breaks = Repetition()
        self._failures_said: dict[str, FailureKind] = {}  # of each meter, since it last answered
        for name in self._meters:
            self.statistics.meters[name] = MeterStatistics()

    async def run(self) -> None:
        """Open the port, read the meters in turn, open it again when it is lost; for ever."""
        loop = asyncio.get_running_loop()
        plans = [Plan(meter.name, meter.every, meter.window) for meter in self._meters.values()]
        self._schedule = Schedule(plans, loop.time(), self._local())
        for name in self._asked_for:
            self._schedule.read_now(name)
        try:
            while True:
                try:
                    await self._connect(self._schedule)
                    await self._poll(self._schedule)
                except BrokenOffError as error:
                    self._disconnected(str(error), spoilt=error.effort.bytes_received > 0)
                except TransportError as error:
                    self._disconnected(str(error))
                except Exception as error:
                    # A mistake of ours on one bus must not end it; it is logged, and seen.
                    _logger.exception("%s: an error in the bridge", self.settings.name)
                    self.statistics.exceptions += 1
                    self._disconnected(f"an error in the bridge: {error!r}")
                await self._transport.close()
        finally:
            self.statistics.connected = False
            await self._transport.close()

    def read_now(self, meter: str) -> None:
        """Read a meter next, whatever its interval and window; the listener hears the result.

        Raises:
            UnknownMeterError: it is not on this bus.
        """
        if meter not in self._meters:
            raise UnknownMeterError(self.settings.name, meter)
        if self._schedule is None:
            self._asked_for.append(meter)
        else:
            self._schedule.read_now(meter)
        self._wake.set()

    async def _connect(self, schedule: Schedule) -> None:
        """Open the port after the pause that past failures call for.

        Raises:
            TransportOpenError: it cannot be opened.
        """
        loop = asyncio.get_running_loop()
        if self._backoff > 0:
            pause = self._backoff * (1.0 - 0.25 * self._jitter())
            await self._pass_turns(schedule, loop.time() + pause)
        self._backoff = min(max(2 * self._backoff, BACKOFF_FIRST), BACKOFF_LAST)
        try:
            await self._transport.open()
        except TransportError:
            self.statistics.connection_failures += 1
            raise
        self.statistics.connected = True
        self.statistics.connections += 1
        self._connected_at = loop.time()
        self._useful = False
        schedule.resume(loop.time())
        state = f"connected to {self._transport.name}"
        if self._is_news:
            self._log_once(logging.INFO, self._states, state)
        else:
            _logger.debug("%s: %s", self.settings.name, state)
        self._is_news = False
        self._tell_segment(True, state)

    def _disconnected(self, detail: str, *, spoilt: bool = False) -> None:
        """There is no connection, or none any more; ``spoilt`` where an answer had begun."""
        lost = self.statistics.connected
        if lost:
            self.statistics.connected = False
            self.statistics.connection_losses += 1
            if asyncio.get_running_loop().time() - self._connected_at >= LASTING:
                self._backoff = 0.0
        if not self._useful:
            said = self._log_once(logging.WARNING, self._states, f"not connected: {detail}")
        elif spoilt:
            said = self._log_once(logging.WARNING, self._breaks, f"broke off an answer: {detail}")
        else:
            # Many gateways hang up when nothing is said for a while. Whether this is more than
            # such a habit, the next attempt to open the port will show, right now.
            said = False
            _logger.debug("%s: not connected: %s", self.settings.name, detail)
        self._is_news = self._is_news or said
        self._useful = False
        if lost or detail != self._detail:
            self._detail = detail
            self._tell_segment(False, detail)

    def _log_once(self, level: int, lately: Repetition, text: str) -> bool:
        """Log a state of the port, unless it was said lately; whether it was logged."""
        line = lately.say(text, asyncio.get_running_loop().time())
        if line is None:
            _logger.debug("%s: %s", self.settings.name, text)
        else:
            _logger.log(level, "%s: %s", self.settings.name, line)
        return line is not None

    async def _pass_turns(self, schedule: Schedule, until: float) -> None:
        """There is no bus until ``until``: whoever has a turn hears so."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < until:
            self._wake.clear()
            local = self._local()
            while (turn := schedule.next_turn(now, local)) is not None:
                schedule.passed(turn.name, now)
                self._fail(turn.name, Failure(FailureKind.NO_CONNECTION, self._detail or ""))
            change = schedule.next_change(now, local)
            wake_at = until if change is None else min(change, until)
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _poll(self, schedule: Schedule) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            now, local = loop.time(), self._local()
            turn = schedule.next_turn(now, local)
            if turn is None:
                await self._idle(schedule.next_change(now, local))
            else:
                await self._take_turn(schedule, turn)

    async def _idle(self, until: float | None) -> None:
        """Wait for the next turn. What the line says meanwhile is heard, and so is its loss."""
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(self._transport.read())
        waking = asyncio.ensure_future(self._wake.wait())
        timeout = None if until is None else max(0.0, until - loop.time())
        try:
            await asyncio.wait(
                {reading, waking}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            reading.cancel()
            waking.cancel()
            await asyncio.gather(reading, waking, return_exceptions=True)
        if not reading.cancelled():
            self._link.receive(reading.result(), loop.time())
            self.statistics.unasked_bytes = self._link.unasked

    async def _take_turn(self, schedule: Schedule, turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        name = turn.name
        meter = self._meters[name]
        began = loop.time()
        try:
            end = await read_meter(
                self._transport,
                self._link,
                meter.address,
                key=meter.key,
                memory=self._memories[name],
                probe=turn.probe,
                maximum=meter.maximum_telegrams,
            )
        except BrokenOffError as error:
            self._count(name, error.effort, loop.time() - began)
            # Gateways and routers forget a connection on which nothing is said for a while, and
            # the first request finds out. Then nothing is wrong with the bus: the turn is not
            # taken, and comes again on a new connection; if that cannot be had, it is passed.
            if not self._useful or error.effort.bytes_received:
                schedule.passed(name, loop.time())
                self._fail(name, Failure(FailureKind.NO_CONNECTION, str(error)))
            raise
        except Exception as error:
            # One meter's telegram that trips us up must not keep the others from being read.
            _logger.exception("%s: an error in the bridge, reading %s", self.settings.name, name)
            self.statistics.exceptions += 1
            schedule.failed(name, loop.time(), FailureKind.INTERNAL, took=loop.time() - began)
            self._fail(name, Failure(FailureKind.INTERNAL, repr(error)))
            return
        now = loop.time()
        self._count(name, end.effort, now - began)
        self.statistics.meters[name].duration = now - began
        if end.effort.bytes_received:
            self._backoff = 0.0  # this connection is good for something
            self._useful = True
            self._states.forget()
        if isinstance(end, Complete):
            schedule.answered(name, now)
            self._succeed(name, end.telegrams)
        else:
            kind = _KINDS[end.trouble]
            schedule.failed(name, now, kind, took=now - began)
            self._fail(name, Failure(kind, end.detail))

    def _count(self, name: str, effort: Effort, duration: float) -> None:
        meter = self.statistics.meters[name]
        self.statistics.add(effort, duration)
        self.statistics.unasked_bytes = self._link.unasked
        if self._link.stretch > self.statistics.stretch:
            _logger.warning(
                "%s: answers come late; the answer window is %.0f ms longer from now on. "
                "`latency` or `timeout` would say so from the start",
                self.settings.name,
                self._link.stretch * 1000,
            )
            self.statistics.stretch = self._link.stretch
        meter.add(effort, duration)
        if effort.answer_delay is not None:
            meter.answer_delay = effort.answer_delay

    def _succeed(self, name: str, telegrams: tuple[Telegram, ...]) -> None:
        at = self._wall_clock()
        meter = self.statistics.meters[name]
        if self._failures_said.pop(name, None) is not None:
            _logger.info("%s: %s answers again", self.settings.name, name)
        meter.reads += 1
        meter.last_success = at
        meter.last_failure = None
        self.statistics.reads += 1
        self._tell(name, lambda: self._listener.meter_answered(name, telegrams, at))

    def _fail(self, name: str, failure: Failure) -> None:
        at = self._wall_clock()
        meter = self.statistics.meters[name]
        level = logging.DEBUG
        # That there is no connection the bus says, once for all its meters.
        if failure.kind not in (FailureKind.NO_CONNECTION, self._failures_said.get(name)):
            level = logging.WARNING
            self._failures_said[name] = failure.kind
        _logger.log(level, "%s: %s: %s", self.settings.name, name, failure)
        meter.failures += 1
        meter.last_failure = failure
        self.statistics.failures += 1
        self._tell(name, lambda: self._listener.meter_failed(name, failure, at))

    def _tell_segment(self, connected: bool, detail: str) -> None:
        name = self.settings.name
        self._tell(None, lambda: self._listener.segment_changed(name, connected, detail))

    def _tell(self, meter: str | None, call: Callable[[], None]) -> None:
        # Not now but right after: the next request leaves first, and what the listener does with
        # a result happens while the wire is busy. The loop keeps the order.
        asyncio.get_running_loop().call_soon(self._call, meter, call)

    def _call(self, meter: str | None, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            _logger.exception(
                "%s: an error in the bridge, handing on %s",
                self.settings.name,
                "the state of the bus" if meter is None else f"a result of {meter}",
            )
            self.statistics.exceptions += 1
            if meter is not None:
                self._mark_failed(meter, Failure(FailureKind.INTERNAL, repr(error)))

    def _mark_failed(self, name: str, failure: Failure) -> None:
        """A result could not be handed on. The listener may yet be able to hear that."""
        meter = self.statistics.meters[name]
        meter.failures += 1
        meter.last_failure = failure
        self.statistics.failures += 1
        try:
            self._listener.meter_failed(name, failure, self._wall_clock())
        except Exception:
            _logger.exception("%s: %s cannot even be marked as failed", self.settings.name, name)

    def _local(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._wall_clock())
