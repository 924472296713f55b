"""One task for each bus: whose turn it is, read it, hand on what came."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from bridge.errors import BridgeError
from bridge.mbus.control import CI_DATA_SEND
from bridge.mbus.link import Effort, Link
from bridge.mbus.readout import Complete, Memory, Trouble
from bridge.mbus.telegram import Telegram
from bridge.polling.billing import LATEST, Calendar
from bridge.polling.line import LatencyEstimate, Trust
from bridge.polling.repetition import Repetition
from bridge.polling.schedule import Schedule, Turn
from bridge.polling.session import BrokenOffError, broadcast, read_meter
from bridge.polling.settings import MeterSettings, SegmentSettings
from bridge.polling.statistics import (
    Failure,
    FailureKind,
    MeterStatistics,
    SegmentStatistics,
)
from bridge.transport import Transport, TransportError, TransportLineError

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
# A port that is released between turns stays open for shorter pauses than this, in seconds.
RELEASE_PAUSE = 2.0
# Where the port is shared with other clients, it may be theirs for so long before a turn is lost.
RELEASE_GRACE = 30.0
RELEASE_BACKOFF = 5.0  # seconds between attempts to open it
# While the bus idles, the wall clock is looked at so often, in seconds: it may be set.
CLOCK_CHECK = 60.0

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
class _Change:
    """A configuration to go on by."""

    settings: SegmentSettings
    meters: dict[str, MeterSettings]
    transport: Transport | None
    due: frozenset[str]
    heard: dict[str, float]


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
        self._meters: dict[str, MeterSettings] = {}
        self._memories: dict[str, Memory] = {}
        self._listener = listener
        self._transport = transport
        self._wall_clock = wall_clock
        self._jitter = jitter
        self._link = Link(settings.timing)
        self._trust = Trust()
        self._estimates: dict[str, LatencyEstimate] = {}
        self._schedule: Schedule | None = None
        self._calendar: Calendar | None = None
        self._asked_for: list[str] = []
        self._heard_ago: dict[str, float] = {}
        self._change: _Change | None = None  # a new configuration, for the end of this turn
        self._wake = asyncio.Event()
        self._backoff = 0.0
        self._connected_at = 0.0
        self._refused_since = math.inf  # the port could not be opened since then
        self._useful = False  # bytes came on the present connection
        self._detail: str | None = None  # why there was no connection, the last time
        self._owes_news = False  # that it is there was said lately, and then that it is not
        self._is_news = True  # in the log: the first connection, or one after a loss that was said
        # The log: the states of the port, anew after each time that it was good for something;
        # and breaks within an answer, which may come every few seconds on such a port as well.
        self._states = Repetition()
        self._breaks = Repetition()
        self._failures_said: dict[str, FailureKind] = {}  # of each meter, since it last answered
        for meter in meters:
            self._add(meter)

    @property
    def meters(self) -> list[MeterSettings]:
        """Those that are polled, in the order of the file."""
        return list(self._meters.values())

    def is_suspect(self, meter: str) -> bool:
        """Whether a damaged answer of a meter may pass for a sound one.

        It or its line has shown damage lately, and characters with a wrong parity are not marked.
        """
        return self._trust.is_suspect(meter) and not self.guarded

    @property
    def guarded(self) -> bool:
        """Whether characters with a wrong parity are marked."""
        return self._transport.guards_parity

    def minimum_gap(self, meter: str) -> float:
        """Seconds for which a meter is left alone when it has answered.

        Raises:
            UnknownMeterError: it is not on this bus.
        """
        if meter not in self._meters:
            raise UnknownMeterError(self.settings.name, meter)
        return self._meters[meter].minimum_gap

    async def run(self) -> None:
        """Open the port, read the meters in turn, open it again when it is lost; for ever."""
        loop = asyncio.get_running_loop()
        plans = [meter.plan for meter in self._meters.values()]
        schedule = self._schedule = Schedule(plans, loop.time(), self._local())
        self._set_calendar()
        for name, ago in self._heard_ago.items():
            schedule.heard(name, loop.time() - ago)
        self._heard_ago.clear()
        for name in self._asked_for:
            schedule.read_now(name, loop.time())
        try:
            while True:
                try:
                    await self._connect(schedule)
                    await self._poll(schedule)
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
                self.statistics.connected = False
                self._adopt(schedule)
        finally:
            self.statistics.connected = False
            await self._transport.close()

    def heard(self, meter: str, ago: float) -> None:
        """Before it runs: the meter was read ``ago`` seconds ago, for its minimum gap.

        Raises:
            UnknownMeterError: it is not on this bus.
        """
        if meter not in self._meters:
            raise UnknownMeterError(self.settings.name, meter)
        self._heard_ago[meter] = ago

    def read_now(self, meter: str) -> float:
        """Read a meter next, whatever its interval and window; the listener hears the result.

        Returns:
            Seconds for which the meter's minimum gap still holds it back; 0 where it is next.

        Raises:
            UnknownMeterError: it is not on this bus.
        """
        if meter not in self._meters:
            raise UnknownMeterError(self.settings.name, meter)
        wait = 0.0
        if self._schedule is None:
            self._asked_for.append(meter)
        else:
            wait = self._schedule.read_now(meter, asyncio.get_running_loop().time())
        self._wake.set()
        return wait

    def apply(
        self,
        settings: SegmentSettings,
        meters: Iterable[MeterSettings],
        transport: Transport | None = None,
        *,
        due: Collection[str] = (),
        heard: Mapping[str, float] | None = None,
    ) -> None:
        """Go on by a changed configuration, from the end of the present turn on.

        Meters whose settings are the same keep their turns, and what is known of them. One that is
        new, or is to be read in another way, is due at once.

        Args:
            settings: of the same bus.
            meters: all of its meters.
            transport: the port to use from then on, not open yet, where `SegmentSettings.line` has
                changed; else None.
            due: names of those that are to be read at the next occasion, whose points are new.
            heard: for meters that are new here, how many seconds ago they were read, for their
                minimum gap.
        """
        before = self._change  # that was not taken over yet
        if transport is None and before is not None:
            transport = before.transport
        self._change = _Change(
            settings,
            {meter.name: meter for meter in meters},
            transport,
            frozenset(due) | (before.due if before else frozenset()),
            {**(before.heard if before else {}), **(heard or {})},
        )
        self._wake.set()

    def _adopt(self, schedule: Schedule) -> None:
        """Take over a changed configuration, if there is one; the port must be closed by then."""
        change, self._change = self._change, None
        if change is None:
            return
        now, local = asyncio.get_running_loop().time(), self._local()
        if change.settings != self.settings:
            same_billing = change.settings.billing == self.settings.billing
            self.settings = change.settings
            self._estimates.clear()
            self._link.set_timing(self.settings.timing)
            if not same_billing:
                self._set_calendar()
        for name in self._meters.keys() - change.meters.keys():
            schedule.remove(name)
            self._forget(name)
        for name, meter in change.meters.items():
            old = self._meters.get(name)
            if old is None:
                self._add(meter)
                schedule.add(meter.plan, now, local)
                if name in change.heard:
                    schedule.heard(name, now - change.heard[name])
            elif meter != old:
                self._meters[name] = meter
                if meter.plan != old.plan:
                    schedule.change(meter.plan, now, local)
                if (meter.address, meter.key, meter.way) != (old.address, old.key, old.way):
                    self._memories[name] = Memory()  # nothing is known of it any more
                    self._estimates.pop(name, None)
                    schedule.set_due(name, now)
        for name in change.due & self._meters.keys():
            schedule.set_due(name, now)
        # The order of the file is that of the first round, and of lists.
        self._meters = {name: self._meters[name] for name in change.meters}
        if change.transport is not None:
            self._transport = change.transport
            self._backoff = 0.0
            self._is_news = True
            self._states.forget()

    def _add(self, meter: MeterSettings) -> None:
        self._meters[meter.name] = meter
        self._memories[meter.name] = Memory()
        self.statistics.meters[meter.name] = MeterStatistics()

    def _forget(self, name: str) -> None:
        del self._meters[name], self._memories[name], self.statistics.meters[name]
        self._estimates.pop(name, None)
        self._trust.forget(name)
        self._failures_said.pop(name, None)

    def _set_calendar(self) -> None:
        billing = self.settings.billing
        self._calendar = None if billing is None else Calendar(billing, self._local())

    async def _connect(self, schedule: Schedule) -> None:
        """Open the port after the pause that past failures call for.

        Raises:
            TransportOpenError: it cannot be opened.
        """
        loop = asyncio.get_running_loop()
        if self._backoff > 0:
            pause = self._backoff * (1.0 - 0.25 * self._jitter())
            await self._pass_turns(schedule, loop.time() + pause)
        self._adopt(schedule)
        longest = RELEASE_BACKOFF if self.settings.release else BACKOFF_LAST
        self._backoff = min(max(2 * self._backoff, BACKOFF_FIRST), longest)
        try:
            await self._transport.open()
        except TransportError:
            self.statistics.connection_failures += 1
            self._refused_since = min(self._refused_since, loop.time())
            raise
        self._refused_since = math.inf
        self.statistics.connected = True
        self.statistics.connections += 1
        self._connected_at = loop.time()
        self._useful = False
        self._link.forget_selection()
        schedule.resume(loop.time())
        state = f"connected to {self._transport.name}"
        self._owes_news = False
        if self._is_news:
            self._owes_news = not self._log_once(logging.INFO, self._states, state)
        else:
            self._log(logging.DEBUG, state)
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
            self._log(logging.DEBUG, f"not connected: {detail}")
        self._is_news = self._is_news or said
        self._useful = False
        if lost or detail != self._detail:
            self._detail = detail
            self._tell_segment(False, detail)

    def _log_once(self, level: int, lately: Repetition, text: str) -> bool:
        """Log a state of the port, unless it was said lately; whether it was logged."""
        line = lately.say(text, asyncio.get_running_loop().time())
        if line is None:
            self._log(logging.DEBUG, text)
        else:
            self._log(level, line)
        return line is not None

    def _log(self, level: int, text: str, **facts: str) -> None:
        """One line, and what a machine may want of it as fields."""
        name = self.settings.name
        _logger.log(level, "%s: %s", name, text, extra={"segment": name, **facts})

    async def _pass_turns(self, schedule: Schedule, until: float) -> None:
        """There is no bus until ``until``: whoever has a turn hears so."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < until and self._change is None:
            self._wake.clear()
            local = self._local()
            if self.settings.release and now < self._refused_since + RELEASE_GRACE:
                # Another client has its turn; ours can wait a little, and is not lost.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(min(until, now + BACKOFF_FIRST)):
                        await self._wake.wait()
                continue
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
        """Give turns until the port is to be released, or another one taken.

        Raises:
            TransportLostError: the port is gone.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._change is not None:
                if self._change.transport is not None:
                    return
                self._adopt(schedule)
            await self._mind_billing(schedule)
            now, local = loop.time(), self._local()
            turn = schedule.next_turn(now, local)
            if turn is not None:
                await self._take_turn(schedule, turn)
                continue
            until = self._next_change(schedule, now, local)
            if self.settings.release and (until is None or until - now > RELEASE_PAUSE):
                await self._stay_away(schedule)
                return
            await self._idle(until)

    def _next_change(
        self, schedule: Schedule, now: float, local: datetime.datetime
    ) -> float | None:
        until = schedule.next_change(now, local)
        if self._calendar is None:
            return until
        billing = now + min(self._calendar.until(local), CLOCK_CHECK)
        return billing if until is None else min(until, billing)

    async def _stay_away(self, schedule: Schedule) -> None:
        """Leave the port to other clients until somebody has a turn."""
        await self._transport.close()
        self.statistics.connected = False
        self._backoff = 0.0
        self._log(logging.DEBUG, "released the port")
        loop = asyncio.get_running_loop()
        while self._change is None:
            self._wake.clear()
            now, local = loop.time(), self._local()
            if schedule.next_turn(now, local) is not None:
                return
            if self._calendar is not None and self._calendar.until(local) <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._next_change(schedule, now, local)):
                    await self._wake.wait()

    async def _mind_billing(self, schedule: Schedule) -> None:
        """Where the time of a billing has come: freeze, and let all meters be read.

        Raises:
            TransportLostError: the port is gone.
        """
        billing, calendar = self.settings.billing, self._calendar
        if billing is None or calendar is None:
            return
        occasion = calendar.next
        late = calendar.late(self._local())
        if late is None:
            return
        when = occasion.isoformat(" ", "minutes")
        if late - self._summer_time() > LATEST:
            calendar.take(self._local())
            self._log(
                logging.WARNING,
                f"the billing read of {when} was missed: there was no bus, or the clock was set; "
                "the meters' own due dates tell what they counted",
            )
            return
        if billing.freeze is not None:
            await broadcast(self._transport, self._link, CI_DATA_SEND, billing.freeze)
            # A meter with one FCB for all addresses could take the next request for a repetition.
            for memory in self._memories.values():
                memory.lose_step()
        calendar.take(self._local())  # not before: the port may have been lost
        schedule.read_all(asyncio.get_running_loop().time())
        frozen = "" if billing.freeze is None else "frozen, "
        self._log(logging.INFO, f"billing read of {when}: {frozen}{len(self._meters)} meters due")

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
            received = reading.result()
            self._link.receive(received.data, loop.time(), received.broken)
            self.statistics.unasked_bytes = self._link.unasked

    async def _take_turn(self, schedule: Schedule, turn: Turn) -> None:
        loop = asyncio.get_running_loop()
        name = turn.name
        meter = self._meters[name]
        began = loop.time()
        # Of a single try nobody could tell that its answer was only late.
        self._set_latency(None if turn.probe else self._estimate(name).latency)
        try:
            end = await read_meter(
                self._transport,
                self._link,
                meter.address,
                way=meter.way,
                key=meter.key,
                memory=self._memories[name],
                probe=turn.probe,
            )
        except BrokenOffError as error:
            self._count(name, error.effort, loop.time() - began)
            # Gateways and routers forget a connection on which nothing is said for a while, and
            # the first request finds out. Then nothing is wrong with the bus: the turn is not
            # taken, and comes again on a new connection; if that cannot be had, it is passed.
            if not self._useful or error.effort.bytes_received:
                heard = error.effort.bytes_received > 0
                schedule.passed(name, loop.time(), heard=heard)
                self._fail(name, Failure(FailureKind.NO_CONNECTION, str(error)))
            raise
        except TransportLineError as error:
            schedule.failed(name, loop.time(), FailureKind.WRONG_LINE, took=loop.time() - began)
            self._fail(name, Failure(FailureKind.WRONG_LINE, str(error)))
            return
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
            if self._owes_news:
                # That it was lost was said last.
                self._owes_news = False
                self._log(logging.INFO, f"connected to {self._transport.name}")
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
        self._trust.note(name, effort)
        self.statistics.suspect = self._trust.line_is_suspect and not self.guarded
        self._learn_latency(name, effort)
        if self._link.stretch > self.statistics.stretch:
            self._log(
                logging.WARNING,
                f"answers come late; the answer window is {self._link.stretch * 1000:.0f} ms "
                "longer from now on. `latency` or `timeout` would say so from the start",
            )
            self.statistics.stretch = self._link.stretch
        meter.add(effort, duration)
        if effort.answer_delay is not None:
            meter.answer_delay = effort.answer_delay

    def _estimate(self, name: str) -> LatencyEstimate:
        return self._estimates.setdefault(name, LatencyEstimate(self.settings.timing.latency))

    def _learn_latency(self, name: str, effort: Effort) -> None:
        """Silent meters are waited for no longer than the way to the bus demands."""
        self._estimate(name).note(effort)
        self.statistics.latency = self._link.timing.latency
        self.statistics.round_trip = self._transport.round_trip

    def _set_latency(self, learnt: float | None) -> None:
        """Give the way to the bus what was learnt of it; None for what is usual or configured."""
        timing = self.settings.timing
        if learnt is not None and self.settings.latency is None:
            timing = replace(timing, latency=learnt, hold_up=timing.latency)
        if timing != self._link.timing:
            self._link.set_timing(timing)

    def _summer_time(self) -> float:
        """By how many seconds local time was set forward in the last two hours, as each spring."""
        now = self._wall_clock()
        offsets = [
            datetime.datetime.fromtimestamp(at).astimezone().utcoffset() for at in (now, now - 7200)
        ]
        after, before = (offset or datetime.timedelta() for offset in offsets)
        return max(0.0, (after - before).total_seconds())

    def _succeed(self, name: str, telegrams: tuple[Telegram, ...]) -> None:
        at = self._wall_clock()
        meter = self.statistics.meters[name]
        if self._failures_said.pop(name, None) is not None:
            self._log(logging.INFO, f"{name} answers again", meter=name)
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
        self._log(level, f"{name}: {failure}", meter=name, kind=failure.kind.name.lower())
        meter.failures += 1
        meter.last_failure = failure
        self.statistics.failures += 1
        self._tell(name, lambda: self._listener.meter_failed(name, failure, at))

    def _is_superseded(self, meter: MeterSettings) -> bool:
        """Whether its name stands for another meter by now, or for none here."""
        meters = self._meters if self._change is None else self._change.meters
        new = meters.get(meter.name)
        return new is None or (new.address, new.way.fabrication) != (
            meter.address,
            meter.way.fabrication,
        )

    def _tell_segment(self, connected: bool, detail: str) -> None:
        name = self.settings.name
        self._tell(None, lambda: self._listener.segment_changed(name, connected, detail))

    def _tell(self, meter: str | None, call: Callable[[], None]) -> None:
        # Not now but right after: the next request leaves first, and what the listener does with
        # a result happens while the wire is busy. The loop keeps the order.
        asked = None if meter is None else self._meters[meter]
        asyncio.get_running_loop().call_soon(self._call, asked, call)

    def _call(self, asked: MeterSettings | None, call: Callable[[], None]) -> None:
        if asked is not None and self._is_superseded(asked):
            # The configuration was changed meanwhile: this is no more what the name stands for.
            return
        try:
            call()
        except Exception as error:
            _logger.exception(
                "%s: an error in the bridge, handing on %s",
                self.settings.name,
                "the state of the bus" if asked is None else f"a result of {asked.name}",
            )
            self.statistics.exceptions += 1
            if asked is not None and asked.name in self.statistics.meters:
                self._mark_failed(asked.name, Failure(FailureKind.INTERNAL, repr(error)))

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
