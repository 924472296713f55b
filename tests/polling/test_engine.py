"""A segment at work: on a clock that jumps, and over TCP and a pseudo terminal in real time."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import pty
import re
import selectors
import statistics
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from bridge.mbus.address import SecondaryAddress, decode_secondary
from bridge.mbus.errors import FrameError
from bridge.mbus.frame import Frame, LongFrame, ShortFrame, encode_frame, take_frame
from bridge.mbus.link import Damage
from bridge.mbus.telegram import Telegram
from bridge.polling.billing import Billing, Occasion, Period
from bridge.polling.engine import (
    Failure,
    FailureKind,
    MeterSettings,
    Segment,
    SegmentSettings,
    UnknownMeterError,
)
from bridge.transport import Line, Parity, Received, TransportOpenError, make_transport
from bridge.transport.base import Inbox
from bridge.transport.pace import Pace

T = TypeVar("T")

# A cold water meter, 20183344-TST-0A-16: volume 123.456 m3. The primary address is put in below.
WATER = bytes.fromhex("44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00")
# A heat meter, 61234567-TST-08-04, in two telegrams; the first ends in DIF 1F.
HEAT_1 = bytes.fromhex("67 45 23 61 74 52 08 04 31 00 00 00 04 07 2F 1C 00 00 1F")
HEAT_2 = bytes.fromhex("67 45 23 61 74 52 08 04 32 00 00 00 42 6C 3F 3C")
HEAT_ADDRESS = SecondaryAddress("61234567", "TST", 8, 4)


@dataclass
class ScriptedMeter:
    """Answers with its telegrams in turn, minding the FCB; ``alive`` switches it off."""

    primary: int
    telegrams: tuple[bytes, ...] = (WATER,)
    secondary: SecondaryAddress | None = None
    alive: bool = True
    damaged: bool = False
    delay: float = 0.03
    selected: bool = False
    position: int = 0
    last_fcb: bool | None = None
    asked: int = 0

    def answer(self, frame: Frame) -> bytes:
        if not self.alive:
            return b""
        if isinstance(frame, LongFrame):
            return self._user_data(frame)
        if not isinstance(frame, ShortFrame) or not self._is_meant(frame.address):
            return b""
        self.asked += 1
        if frame.control == 0x40:
            self.last_fcb, self.position = None, 0
            return b"\xe5"
        fcb = bool(frame.control & 0x20)
        if self.last_fcb is not None and fcb != self.last_fcb:
            self.position = (self.position + 1) % len(self.telegrams)
        self.last_fcb = fcb
        answer = encode_frame(LongFrame(0x08, self.primary, 0x72, self.telegrams[self.position]))
        return answer[:-2] + b"\x00\x16" if self.damaged else answer

    def _user_data(self, frame: LongFrame) -> bytes:
        if frame.address == 253 and frame.ci == 0x52:
            mask = decode_secondary(frame.data)
            self.selected = self.secondary is not None and mask.matches(self.secondary)
            if self.selected:
                self.last_fcb, self.position = None, 0
                return b"\xe5"
        return b""

    def _is_meant(self, address: int) -> bool:
        return address == self.primary or (address == 253 and self.selected)


@dataclass
class ScriptedBus:
    """What the wire does with a request: who answers, what, and after how many seconds."""

    meters: list[ScriptedMeter]
    baudrate: int = 2400
    requests: list[bytes] = field(default_factory=list)

    def characters(self, count: int) -> float:
        return count * 11 / self.baudrate

    def ask(self, request: bytes) -> tuple[float, bytes]:
        """The delay of the answer's first byte from the start of the request, and the answer."""
        self.requests.append(request)
        try:
            frame = take_frame(bytearray(request))
        except FrameError:
            return 0.0, b""
        if frame is None:
            return 0.0, b""
        for meter in self.meters:
            answer = meter.answer(frame)
            if answer:
                return self.characters(len(request)) + meter.delay, answer
        return 0.0, b""


class MemoryTransport:
    """A port to a scripted bus, without an operating system in between."""

    def __init__(self, bus: ScriptedBus) -> None:
        self.bus = bus
        self.opened = 0
        self.closed = 0
        self.refuses: str | None = None
        self.forgets_after: float | None = None  # seconds of quiet; noticed with the next request
        self.breaks = 0  # every so many-th request is broken off within its answer
        self.written_at: list[float] = []
        self._opened_at = 0.0
        self._inbox = Inbox("memory")
        self.guards_parity = False
        self.round_trip: float | None = None
        self.line = Line(bus.baudrate, "none")

    @property
    def name(self) -> str:
        return "memory"

    @property
    def pace(self) -> Pace:
        return self._inbox.pace

    async def open(self) -> None:
        if self.refuses is not None:
            raise TransportOpenError("memory", self.refuses, "Wait")
        self.opened += 1
        self._opened_at = asyncio.get_running_loop().time()
        self._inbox.reset()

    async def write(self, data: bytes) -> None:
        self._inbox.check()
        loop = asyncio.get_running_loop()
        quiet = loop.time() - max(self._opened_at, *self.written_at[-1:], 0.0)
        self.written_at.append(loop.time())
        if self.forgets_after is not None and quiet > self.forgets_after:
            self.drop("forgotten")
            return
        delay, answer = self.bus.ask(data)
        for position, byte in enumerate(answer, start=1):
            loop.call_later(delay + self.bus.characters(position), self._inbox.put, bytes((byte,)))
        if len(answer) > 1 and self.breaks and len(self.written_at) % self.breaks == 0:
            loop.call_later(delay + self.bus.characters(len(answer)) / 2, self.drop)

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        self._inbox.check()
        self.line = Line(baudrate, parity)

    async def read(self, *, not_before: float | None = None) -> Received:
        if not_before is not None and not self._inbox:
            await asyncio.sleep(not_before - asyncio.get_running_loop().time())
        return await self._inbox.read()

    def discard_input(self) -> Received:
        return self._inbox.take()

    async def close(self) -> None:
        self.closed += 1
        self._inbox.lose("closed")

    def babble(self, data: bytes) -> None:
        self._inbox.put(data)

    def drop(self, problem: str = "unplugged") -> None:
        self._inbox.lose(problem)


@dataclass
class Diary:
    """A listener that writes everything down, with the time of the loop."""

    answered: list[tuple[float, str, tuple[Telegram, ...]]] = field(default_factory=list)
    failed: list[tuple[float, str, Failure]] = field(default_factory=list)
    changes: list[tuple[bool, str]] = field(default_factory=list)
    event: asyncio.Event = field(default_factory=asyncio.Event)

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        self.answered.append((asyncio.get_running_loop().time(), meter, telegrams))
        self.event.set()

    def meter_failed(self, meter: str, failure: Failure, at: float) -> None:
        self.failed.append((asyncio.get_running_loop().time(), meter, failure))
        self.event.set()

    def segment_changed(self, segment: str, connected: bool, detail: str) -> None:
        self.changes.append((connected, detail))
        self.event.set()

    def answers_of(self, meter: str) -> list[float]:
        return [time for time, name, _ in self.answered if name == meter]

    def failures_of(self, meter: str) -> list[tuple[float, Failure]]:
        return [(time, failure) for time, name, failure in self.failed if name == meter]


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting it moves the clock; so only timers and in-memory things may be used."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "nothing is left that could ever happen"
            self.now += max(timeout, 0.0)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which a day takes a moment."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a clock that jumps; it starts at 1000 s."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


NOON = datetime.datetime(2026, 3, 9, 12, 0).timestamp()
SETTINGS = SegmentSettings("basement", "/dev/memory", latency=0.0)


@asynccontextmanager
async def running(segment: Segment) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(segment.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def poll(
    meters: list[ScriptedMeter],
    settings: list[MeterSettings],
    story: Callable[[Segment, Diary, MemoryTransport], Awaitable[None]],
    *,
    segment_settings: SegmentSettings = SETTINGS,
    prepare: Callable[[MemoryTransport], None] = lambda transport: None,
) -> tuple[Segment, Diary, MemoryTransport]:
    """Run a segment on a clock that jumps while ``story`` goes on."""

    async def main() -> tuple[Segment, Diary, MemoryTransport]:
        loop = asyncio.get_running_loop()
        transport, diary = MemoryTransport(ScriptedBus(meters)), Diary()
        prepare(transport)
        segment = Segment(
            segment_settings,
            settings,
            diary,
            transport=transport,
            wall_clock=lambda: NOON + loop.time() - 1000.0,
            jitter=lambda: 0.0,
        )
        async with running(segment):
            await story(segment, diary, transport)
        return segment, diary, transport

    return run_virtual(main())


def sleep(seconds: float) -> Callable[[Segment, Diary, MemoryTransport], Awaitable[None]]:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(seconds)

    return story


def volumes(telegrams: tuple[Telegram, ...]) -> list[str]:
    return [str(record.value) for telegram in telegrams for record in telegram.records]


def test_meters_are_read_and_their_telegrams_handed_on() -> None:
    meters = [ScriptedMeter(5), ScriptedMeter(8, (HEAT_1, HEAT_2))]
    _, diary, transport = poll(
        meters, [MeterSettings("water", 5, 60.0), MeterSettings("heat", 8, 60.0)], sleep(5.0)
    )
    assert [name for _, name, _ in diary.answered] == ["water", "heat"]
    assert volumes(diary.answered[0][2]) == ["123.456"]
    assert len(diary.answered[1][2]) == 2
    assert diary.failed == []
    assert diary.changes == [(True, "connected to memory")]
    assert transport.closed >= 1


def test_a_secondary_address_is_selected() -> None:
    meters = [ScriptedMeter(0, (HEAT_1, HEAT_2), HEAT_ADDRESS), ScriptedMeter(0)]
    _, diary, _ = poll(meters, [MeterSettings("heat", HEAT_ADDRESS, 60.0)], sleep(5.0))
    assert [len(telegrams) for _, _, telegrams in diary.answered] == [2]


def test_the_next_request_leaves_when_the_last_byte_has_come() -> None:
    meters = [ScriptedMeter(number) for number in range(1, 4)]
    settings = [MeterSettings(f"m{number}", number, 0.0) for number in range(1, 4)]
    segment, _, _ = poll(meters, settings, sleep(60.0))
    tally = segment.statistics
    assert tally.reads > 250
    # On this clock nothing takes time but the wire and the meters.
    assert tally.wire_time == pytest.approx(tally.busy_time, rel=1e-6)
    assert tally.busy_time == pytest.approx(60.0, abs=0.5)


def test_a_dead_meter_costs_its_tries_and_then_almost_nothing() -> None:
    meters = [ScriptedMeter(1), ScriptedMeter(2, alive=False)]
    settings = [MeterSettings("alive", 1, 0.0), MeterSettings("dead", 2, 0.0)]
    segment, diary, _ = poll(meters, settings, sleep(600.0))
    failures = diary.failures_of("dead")
    assert failures[0][1] == Failure(FailureKind.NO_ANSWER, "no answer to 3 tries")
    # Nobody waits longer than three answer windows, and a probe is one.
    gaps = [after - before for before, after in pairwise(diary.answers_of("alive"))]
    one_try = 0.1875 + 6 * 11 / 2400
    read = segment.statistics.meters["alive"].duration
    assert max(gaps) == pytest.approx(3 * one_try + read, abs=0.01)
    late = [time for time, _ in failures if time > 1300.0]
    assert len(late) == 5  # once a minute, in the last 300 seconds
    share = segment.statistics.meters["alive"].busy_time / segment.statistics.busy_time
    assert share > 0.99


def test_a_meter_that_returns_is_noticed_within_a_minute() -> None:
    meter = ScriptedMeter(2, alive=False)

    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(1000.0)
        assert diary.answered == []
        meter.alive = True
        await asyncio.sleep(61.0)
        assert len(diary.answered) == 1

    poll([meter], [MeterSettings("m", 2, 900.0)], story)


def test_damage_is_counted_by_kind() -> None:
    segment, diary, _ = poll(
        [ScriptedMeter(5, damaged=True)], [MeterSettings("m", 5, 900.0)], sleep(4.0)
    )
    assert [failure.kind for _, _, failure in diary.failed] == [FailureKind.DAMAGED]
    meter = segment.statistics.meters["m"]
    assert meter.damage == {Damage.CHECKSUM: 3}
    assert meter.last_failure == diary.failed[0][2]
    assert (meter.reads, meter.failures, meter.silences) == (0, 1, 0)


def test_success_is_counted() -> None:
    segment, _, _ = poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], sleep(4.0))
    meter = segment.statistics.meters["m"]
    # SND_NKE and E5, REQ_UD2 and a telegram of 27 bytes.
    assert (meter.tries, meter.bytes_sent, meter.bytes_received) == (2, 10, 28)
    assert meter.answer_delay == pytest.approx(0.03)
    assert meter.last_success == pytest.approx(NOON + meter.duration)
    assert meter.last_failure is None
    assert segment.statistics.cycle_time == meter.duration
    assert (meter.reads, segment.statistics.reads, segment.statistics.connections) == (1, 1, 1)


def test_a_request_from_outside_is_served_at_once() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        assert len(diary.answered) == 1
        segment.read_now("m")
        await asyncio.sleep(0.5)
        assert len(diary.answered) == 2
        with pytest.raises(UnknownMeterError, match="no meter other on the bus basement"):
            segment.read_now("other")

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], story)


def test_a_window_is_that_of_the_wall_clock() -> None:
    window = (datetime.time(12, 10), datetime.time(12, 20))
    _, diary, _ = poll([ScriptedMeter(5)], [MeterSettings("m", 5, 86400.0, window)], sleep(7200.0))
    (time,) = diary.answers_of("m")
    assert 1000.0 + 600.0 <= time < 1000.0 + 1200.0


def test_while_there_is_no_connection_each_turn_is_told() -> None:
    def prepare(transport: MemoryTransport) -> None:
        transport.refuses = "unplugged"

    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(400.0)
        assert {failure.kind for _, _, failure in diary.failed} == {FailureKind.NO_CONNECTION}
        assert [time for time, _ in diary.failures_of("a")] == [1000.0, 1150.0, 1300.0]
        assert diary.changes == [(False, "memory: unplugged. Wait")]
        assert not segment.statistics.connected
        # 0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303 and 363 s
        assert segment.statistics.connection_failures == 12
        transport.refuses = None
        await asyncio.sleep(61.0)
        assert diary.changes[-1] == (True, "connected to memory")
        assert {name for _, name, _ in diary.answered} == {"a", "b"}

    meters = [ScriptedMeter(1), ScriptedMeter(2)]
    settings = [MeterSettings("a", 1, 150.0), MeterSettings("b", 2, 0.0)]
    poll(meters, settings, story, prepare=prepare)


def test_a_port_that_is_lost_in_a_conversation_is_opened_again() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.04)
        transport.drop()
        await asyncio.sleep(2.0)
        assert transport.opened == 2
        (failed,) = diary.failed
        assert failed[2] == Failure(FailureKind.NO_CONNECTION, "memory: unplugged")
        assert diary.changes == [
            (True, "connected to memory"),
            (False, "memory: unplugged"),
            (True, "connected to memory"),
        ]
        assert diary.answered[-1][0] > failed[0]
        assert segment.statistics.connection_losses == 1

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 0.0)], story)


def test_a_port_that_is_lost_between_two_turns_is_noticed_at_once() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        transport.refuses = "still unplugged"
        transport.drop()
        await asyncio.sleep(0.1)
        assert not segment.statistics.connected
        assert [detail for _, detail in diary.changes] == [
            "connected to memory",
            "memory: unplugged",
            "memory: still unplugged. Wait",
        ]

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], story)


def test_a_gateway_that_accepts_and_hangs_up_is_not_called_in_a_loop() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        for _ in range(600):
            await asyncio.sleep(0.1)
            transport.drop()
        assert transport.opened < 10

    poll([ScriptedMeter(5, alive=False)], [MeterSettings("m", 5, 900.0)], story)


def test_a_gateway_that_hangs_up_when_idle_costs_no_readings() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        for _ in range(10):
            await asyncio.sleep(30.0)
            transport.drop()
        await asyncio.sleep(5.0)
        assert len(diary.answered) == 1
        assert transport.opened == 11

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], story)


def test_a_connection_that_was_forgotten_while_idle_costs_no_reading() -> None:
    def prepare(transport: MemoryTransport) -> None:
        transport.forgets_after = 1.5

    segment, diary, transport = poll(
        [ScriptedMeter(5), ScriptedMeter(6)],
        [MeterSettings("a", 5, 3.0), MeterSettings("b", 6, 3.0)],
        sleep(60.0),
        prepare=prepare,
    )
    assert transport.opened > 15
    assert diary.failed == []
    assert len(diary.answers_of("a")) in (19, 20, 21)
    assert len(diary.answers_of("b")) in (19, 20, 21)
    # The requests that went nowhere are in the sums all the same.
    meters = segment.statistics.meters
    assert meters["a"].tries + meters["b"].tries == len(transport.bus.requests) + (
        segment.statistics.connection_losses
    )


def test_a_connection_that_was_forgotten_and_cannot_be_had_again_costs_the_reading() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        transport.forgets_after = 1.5
        transport.refuses = "switched off"
        await asyncio.sleep(60.0)
        assert [failure for _, failure in diary.failures_of("m")] == [
            Failure(FailureKind.NO_CONNECTION, "memory: switched off. Wait")
        ]
        transport.refuses = None
        await asyncio.sleep(61.0)
        assert len(diary.answered) == 3

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 60.0)], story)


def test_a_request_that_kills_each_connection_is_made_twice_and_then_counts() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        transport.forgets_after = 0.0
        opened = transport.opened
        await asyncio.sleep(50.5)
        assert [failure for _, failure in diary.failures_of("m")] == [
            Failure(FailureKind.NO_CONNECTION, "memory: forgotten")
        ]
        assert transport.opened == opened + 1

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 60.0)], story)


def test_a_conversation_that_was_broken_off_is_counted() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(0.2)  # in the midst of the telegram
        transport.drop()
        await asyncio.sleep(0.1)  # it is noticed when the telegram should have ended
        meter = segment.statistics.meters["m"]
        assert (meter.tries, meter.bytes_sent, meter.failures) == (2, 10, 1)
        assert meter.bytes_received > 5
        assert meter.busy_time == pytest.approx(0.2, abs=0.05)
        assert segment.statistics.busy_time == meter.busy_time

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], story)


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def test_a_gateway_that_hangs_up_as_its_habit_is_not_worth_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        for _ in range(500):
            await asyncio.sleep(10.5)
            transport.drop()

    with caplog.at_level(logging.DEBUG, logger="bridge.polling.engine"):
        _, diary, _ = poll([ScriptedMeter(5)], [MeterSettings("m", 5, 7.0)], story)
    assert diary.failed == []
    assert lines(caplog) == ["basement: connected to memory"]
    assert "basement: not connected: memory: unplugged" in lines(caplog, logging.DEBUG)


def test_a_gateway_that_breaks_off_answers_is_said_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def prepare(transport: MemoryTransport) -> None:
        transport.breaks = 5

    with caplog.at_level(logging.INFO, logger="bridge.polling.engine"):
        _, diary, _ = poll(
            [ScriptedMeter(5)], [MeterSettings("m", 5, 10.0)], sleep(2.5 * 3600.0), prepare=prepare
        )
    assert len(diary.failed) > 100
    said = lines(caplog)
    assert said[:3] == [
        "basement: connected to memory",
        "basement: broke off an answer: memory: unplugged",
        "basement: connected to memory",
    ]
    assert len(said) == 7
    assert re.fullmatch(r"basement: broke off .* \(\d+× more since .*\)", said[-2])


def test_a_gateway_that_hangs_up_at_once_is_said_once_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        while asyncio.get_running_loop().time() < 1000.0 + 2.5 * 3600.0:
            await asyncio.sleep(0.3)
            transport.drop("closed" if transport.opened % 2 else "reset by peer")

    meters = [MeterSettings("a", 5, 900.0), MeterSettings("b", 6, 900.0)]
    with caplog.at_level(logging.INFO, logger="bridge.polling.engine"):
        _, diary, _ = poll([], meters, story)
    assert {failure.kind for _, _, failure in diary.failed} == {FailureKind.NO_CONNECTION}
    assert sorted(line.split(" (")[0] for line in lines(caplog)) == sorted(
        3
        * [
            "basement: connected to memory",
            "basement: not connected: memory: closed",
            "basement: not connected: memory: reset by peer",
        ]
    )


def test_an_outage_and_its_end_are_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        for _ in range(2):
            await asyncio.sleep(300.0)
            transport.refuses = "no route"
            transport.drop()
            await asyncio.sleep(300.0)
            transport.refuses = None
        await asyncio.sleep(300.0)

    with caplog.at_level(logging.INFO, logger="bridge.polling.engine"):
        poll([ScriptedMeter(5)], [MeterSettings("m", 5, 60.0)], story)
    outage = ["basement: not connected: memory: no route. Wait", "basement: connected to memory"]
    assert lines(caplog) == ["basement: connected to memory", *outage, *outage]


def test_a_silent_meter_is_said_once_though_the_port_comes_and_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        for _ in range(10):
            await asyncio.sleep(200.0)
            transport.refuses = "no route"
            transport.drop()
            await asyncio.sleep(100.0)
            transport.refuses = None

    meters = [MeterSettings("dead", 6, 10.0), MeterSettings("m", 5, 10.0)]
    with caplog.at_level(logging.INFO, logger="bridge.polling.engine"):
        poll([ScriptedMeter(5)], meters, story)
    assert [line for line in lines(caplog) if "dead" in line] == [
        "basement: dead: the meter does not answer (no answer to 3 tries)"
    ]


def test_bytes_that_nobody_asked_for_are_counted_and_answer_nothing() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        transport.babble(bytes.fromhex("68 03 03 68 08 05 78 85 16"))
        await asyncio.sleep(1.0)
        assert segment.statistics.unasked_bytes == 9
        assert len(diary.answered) == 1

    poll([ScriptedMeter(5)], [MeterSettings("m", 5, 900.0)], story)


class Clumsy(Diary):
    """A listener with a mistake: it cannot take the results of one meter."""

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        if meter == "a":
            raise ZeroDivisionError("a mistake")
        super().meter_answered(meter, telegrams, at)


def test_a_mistake_in_handling_one_meter_stops_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> tuple[Segment, Clumsy]:
        diary = Clumsy()
        settings = [
            MeterSettings("a", 1, 60.0),
            MeterSettings("bad-key", 3, 60.0, key=b"too short"),
            MeterSettings("b", 2, 60.0),
        ]
        meters = [ScriptedMeter(1), ScriptedMeter(2), ScriptedMeter(3)]
        transport = MemoryTransport(ScriptedBus(meters))
        segment = Segment(SETTINGS, settings, diary, transport=transport)
        async with running(segment):
            await asyncio.sleep(3.0)
        return segment, diary

    segment, diary = run_virtual(main())
    assert [name for _, name, _ in diary.answered] == ["b"]
    kinds = {name: failure.kind for _, name, failure in diary.failed}
    assert kinds["a"] is FailureKind.INTERNAL
    assert segment.statistics.exceptions == sum(
        1 for record in caplog.records if record.exc_info is not None
    )
    assert segment.statistics.meters["a"].last_failure == Failure(
        FailureKind.INTERNAL, "ZeroDivisionError('a mistake')"
    )


class Broken(MemoryTransport):
    """A port with a mistake in it."""

    async def open(self) -> None:
        self.opened += 1
        if self.opened == 1:
            raise RuntimeError("a mistake")
        self.opened += 1
        await super().open()


def test_a_mistake_on_a_bus_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Diary:
        diary = Diary()
        transport = Broken(ScriptedBus([ScriptedMeter(5)]))
        segment = Segment(SETTINGS, [MeterSettings("m", 5)], diary, transport=transport)
        async with running(segment):
            await asyncio.sleep(5.0)
        return diary

    diary = run_virtual(main())
    assert "m" in [name for _, name, _ in diary.answered]
    assert diary.changes[0] == (False, "an error in the bridge: RuntimeError('a mistake')")
    assert any(record.exc_info for record in caplog.records)


def test_the_log_says_a_failure_once_and_the_return(caplog: pytest.LogCaptureFixture) -> None:
    meter = ScriptedMeter(5, alive=False)

    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(300.0)
        meter.alive = True
        await asyncio.sleep(100.0)

    with caplog.at_level(logging.INFO, logger="bridge.polling.engine"):
        poll([meter], [MeterSettings("m", 5, 900.0)], story)
    assert [record.getMessage() for record in caplog.records] == [
        "basement: connected to memory",
        "basement: m: the meter does not answer (no answer to 3 tries)",
        "basement: m answers again",
    ]


def test_a_key_is_never_shown() -> None:
    settings = MeterSettings("m", 5, key=bytes.fromhex("000102030405060708090A0B0C0D0E0F"))
    assert "0" + "1" not in repr(settings)


def test_cancelling_ends_it_cleanly_and_closes_the_port() -> None:
    async def main() -> MemoryTransport:
        transport = MemoryTransport(ScriptedBus([ScriptedMeter(5)]))
        segment = Segment(SETTINGS, [MeterSettings("m", 5, 0.0)], Diary(), transport=transport)
        task = asyncio.create_task(segment.run())
        await asyncio.sleep(10.04)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not segment.statistics.connected
        assert len(asyncio.all_tasks()) == 1
        return transport

    assert run_virtual(main()).closed == 1


class Gateway:
    """The scripted bus behind a transparent gateway, at the speed of its wire."""

    def __init__(self, bus: ScriptedBus) -> None:
        self.bus = bus
        self.connections: list[asyncio.StreamWriter] = []
        self.last_byte: float | None = None
        self.pauses: list[float] = []  # from the last byte of an answer to the next request
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.drop()
            await asyncio.sleep(0.01)

    def drop(self) -> None:
        while self.connections:
            self.connections.pop().transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        self.connections.append(writer)
        with suppress(ConnectionError):
            while request := await reader.read(512):
                began = loop.time()
                if self.last_byte is not None:
                    self.pauses.append(began - self.last_byte)
                delay, answer = self.bus.ask(request)
                # In steps of eight characters, as a gateway collects them.
                for start in range(0, len(answer), 8):
                    part = answer[start : start + 8]
                    due = began + delay + self.bus.characters(start + len(part))
                    await asyncio.sleep(due - loop.time())
                    self.last_byte = loop.time()
                    writer.write(part)
        writer.close()


async def until(diary: Diary, reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5.0):
        while not reached():
            diary.event.clear()
            await diary.event.wait()


def with_gap(gap: float) -> MeterSettings:
    return MeterSettings("m", 5, 60.0, minimum_gap=gap)


def test_no_request_from_outside_reads_a_meter_before_its_minimum_gap() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        wait = segment.read_now("m")
        assert 280.0 < wait < 300.0
        await asyncio.sleep(wait - 1.0)
        assert len(diary.answered) == 1
        await asyncio.sleep(2.0)
        assert len(diary.answered) == 2

    poll([ScriptedMeter(5)], [with_gap(300.0)], story)


def test_the_minimum_gap_counts_from_before_the_start() -> None:
    async def main() -> Diary:
        transport, diary = MemoryTransport(ScriptedBus([ScriptedMeter(5)])), Diary()
        segment = Segment(SETTINGS, [with_gap(300.0)], diary, transport=transport)
        segment.heard("m", 100.0)
        async with running(segment):
            await asyncio.sleep(198.0)
            assert diary.answered == []
            await asyncio.sleep(3.0)
        return diary

    assert len(run_virtual(main()).answered) == 1


def test_a_port_is_released_while_nobody_has_a_turn() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(10.0)
        assert not segment.statistics.connected
        assert (transport.opened, transport.closed) == (1, 1)
        assert segment.read_now("m") == 0.0
        await asyncio.sleep(1.0)
        assert len(diary.answered) == 2
        await asyncio.sleep(120.0)
        assert len(diary.answered) >= 3
        assert [connected for connected, _ in diary.changes].count(False) == 0
        assert segment.statistics.connection_losses == 0

    poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 60.0)],
        story,
        segment_settings=replace(SETTINGS, release=True),
    )


def test_a_shared_port_that_is_in_other_hands_for_a_while_costs_no_reading() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(50.0)
        transport.refuses = "in other hands"
        await asyncio.sleep(30.0)
        assert diary.failed == []
        transport.refuses = None
        await asyncio.sleep(6.0)
        assert len(diary.answered) == 2
        transport.refuses = "in other hands"
        await asyncio.sleep(120.0)
        assert {failure.kind for _, _, failure in diary.failed} == {FailureKind.NO_CONNECTION}

    poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 60.0)],
        story,
        segment_settings=replace(SETTINGS, release=True),
    )


def test_a_billing_read_survives_a_connection_that_was_forgotten() -> None:
    at = Occasion(Period.DAILY, datetime.datetime.fromtimestamp(NOON + 900).time())

    def prepare(transport: MemoryTransport) -> None:
        transport.forgets_after = 300.0

    _, diary, transport = poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 86400.0)],
        sleep(920.0),
        segment_settings=replace(SETTINGS, billing=Billing(at)),
        prepare=prepare,
    )
    assert len(diary.answered) == 2
    assert transport.opened == 2
    freezes = [request for request in transport.bus.requests if request[5:6] == b"\xff"]
    assert len(freezes) == 1


def test_an_answer_of_the_old_address_is_not_the_new_ones() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(0.2)  # in the midst of its first telegram
        segment.apply(SETTINGS, [MeterSettings("a", 6, 900.0)])
        await asyncio.sleep(2.0)
        assert len(diary.answered) == 1
        assert diary.answered[0][2][0].address == 6

    poll([ScriptedMeter(5), ScriptedMeter(6)], [MeterSettings("a", 5, 900.0)], story)


def test_a_meter_that_is_new_on_a_bus_keeps_its_minimum_gap() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(1.0)
        moved = replace(with_gap(300.0), name="moved", address=6)
        segment.apply(SETTINGS, [*segment.meters, moved], heard={"moved": 100.0})
        await asyncio.sleep(190.0)
        assert diary.answers_of("moved") == []
        await asyncio.sleep(20.0)
        assert len(diary.answers_of("moved")) == 1

    poll([ScriptedMeter(5), ScriptedMeter(6)], [MeterSettings("a", 5, 900.0)], story)


def test_quick_meters_do_not_make_the_bus_impatient_with_a_slow_one() -> None:
    slow = ScriptedMeter(6, delay=0.4)
    _, diary, _ = poll(
        [ScriptedMeter(5), slow],
        [MeterSettings("quick", 5, 0.0), MeterSettings("slow", 6, 60.0)],
        sleep(3600.0),
        segment_settings=SegmentSettings("b", "tcp://gateway:10001"),
    )
    assert diary.failures_of("slow") == []
    assert len(diary.answers_of("slow")) == pytest.approx(60, abs=2)
    assert slow.asked <= len(diary.answers_of("slow")) + 3


def test_a_port_is_held_for_meters_that_are_read_without_a_pause() -> None:
    _, _, transport = poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 0.0)],
        sleep(60.0),
        segment_settings=replace(SETTINGS, release=True),
    )
    assert transport.opened == 1


def test_at_the_time_of_billing_all_are_frozen_and_read() -> None:
    quarter_past = Occasion(Period.DAILY, datetime.datetime.fromtimestamp(NOON + 900).time())

    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(890.0)
        assert len(diary.answered) == 2
        await asyncio.sleep(15.0)
        assert [name for _, name, _ in diary.answered[2:]] == ["a", "b"]
        assert diary.answered[2][0] == pytest.approx(1900.0, abs=1.0)

    _, _, transport = poll(
        [ScriptedMeter(5), ScriptedMeter(6)],
        [MeterSettings("a", 5, 86400.0), MeterSettings("b", 6, 86400.0)],
        story,
        segment_settings=replace(SETTINGS, billing=Billing(quarter_past)),
    )
    freeze = bytes.fromhex("68 06 06 68 73 FF 51 48 FE 0B 14 16")
    assert transport.bus.requests.count(freeze) == 1
    # Then each is read anew: one FCB for all addresses could make it repeat itself.
    again = transport.bus.requests[transport.bus.requests.index(freeze) + 1 :]
    assert [request[:3] for request in again] == [
        bytes((0x10, control, address)) for address in (5, 6) for control in (0x40, 0x7B)
    ]


def test_a_billing_that_was_missed_is_said_and_reads_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at = Occasion(Period.DAILY, datetime.datetime.fromtimestamp(NOON + 900).time())

    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(600.0)
        transport.refuses = "in other hands"
        transport.drop()
        await asyncio.sleep(1200.0)
        transport.refuses = None
        await asyncio.sleep(120.0)
        assert len(diary.answered) == 1

    with caplog.at_level(logging.INFO):
        poll(
            [ScriptedMeter(5)],
            [MeterSettings("m", 5, 86400.0)],
            story,
            segment_settings=replace(SETTINGS, billing=Billing(at)),
        )
    assert any("billing read of" in line and "was missed" in line for line in lines(caplog))


def test_a_line_that_has_shown_damage_is_suspect_where_no_parity_guards_it() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        assert not segment.is_suspect("m")
        meter.damaged = True
        await asyncio.sleep(5.0)
        assert segment.is_suspect("m")
        assert not segment.statistics.suspect  # it may be the meter's own wire
        transport.guards_parity = True
        assert not segment.is_suspect("m")

    meter = ScriptedMeter(5)
    poll([meter], [MeterSettings("m", 5, 0.0)], story)


def test_the_way_is_learnt_from_the_answers_and_silence_costs_less_then() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        assert segment.statistics.latency == 0.0
        await asyncio.sleep(30.0)
        assert segment.statistics.latency == pytest.approx(0.06, abs=0.01)

    poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 0.0)],
        story,
        segment_settings=SegmentSettings("b", "tcp://gateway:10001"),
    )


def test_what_the_user_says_of_the_way_is_not_learnt_otherwise() -> None:
    segment, _, _ = poll(
        [ScriptedMeter(5)],
        [MeterSettings("m", 5, 0.0)],
        sleep(30.0),
        segment_settings=SegmentSettings("b", "tcp://gateway:10001", latency=0.3),
    )
    assert segment.statistics.latency == 0.3


def test_a_changed_configuration_disturbs_nobody_else() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(30.0)
        before = len(transport.bus.requests)
        b = MeterSettings("b", 6, 60.0)
        segment.apply(SETTINGS, [MeterSettings("a", 5, 60.0), b, MeterSettings("d", 8, 60.0)])
        await asyncio.sleep(1.0)
        # The new one is read at once; the others' turns have not come.
        assert {request[2] for request in transport.bus.requests[before:]} == {8}
        assert [meter.name for meter in segment.meters] == ["a", "b", "d"]
        assert set(segment.statistics.meters) == {"a", "b", "d"}
        with pytest.raises(UnknownMeterError):
            segment.read_now("c")
        await asyncio.sleep(300.0)
        gaps = [later - time for time, later in pairwise(diary.answers_of("a")[1:])]
        assert gaps == pytest.approx([60.0] * len(gaps), abs=1.0)
        assert diary.answers_of("c")[-1] < 1030.0
        assert transport.opened == 1

    poll(
        [ScriptedMeter(number) for number in (5, 6, 7, 8)],
        [MeterSettings(name, 5 + place, 60.0) for place, name in enumerate("abc")],
        story,
    )


def test_a_meter_that_moves_to_another_address_is_read_there_at_once() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(30.0)
        segment.apply(SETTINGS, [MeterSettings("a", 6, 900.0)])
        await asyncio.sleep(1.0)
        # First contact: SND_NKE, and then the first telegram.
        assert transport.bus.requests[-2:] == [
            encode_frame(ShortFrame(0x40, 6)),
            encode_frame(ShortFrame(0x7B, 6)),
        ]

    poll([ScriptedMeter(5), ScriptedMeter(6)], [MeterSettings("a", 5, 900.0)], story)


def test_another_port_is_taken_between_two_turns() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        await asyncio.sleep(0.1)  # in the midst of the first telegram
        other = MemoryTransport(ScriptedBus([ScriptedMeter(5)]))
        segment.apply(SETTINGS, [MeterSettings("a", 5, 60.0)], other)
        await asyncio.sleep(1.0)
        assert len(diary.answered) == 1
        assert diary.failed == []
        assert (transport.opened, other.opened) == (1, 1)
        await asyncio.sleep(60.0)
        assert len(diary.answered) == 2
        assert other.bus.requests

    poll([ScriptedMeter(5)], [MeterSettings("a", 5, 60.0)], story)


def test_a_changed_configuration_is_taken_over_while_the_port_cannot_be_opened() -> None:
    async def story(segment: Segment, diary: Diary, transport: MemoryTransport) -> None:
        transport.refuses = "in other hands"
        transport.drop()
        await asyncio.sleep(60.0)
        other = MemoryTransport(ScriptedBus([ScriptedMeter(5)]))
        segment.apply(SETTINGS, [MeterSettings("a", 5, 60.0)], other)
        await asyncio.sleep(1.0)
        assert other.opened == 1
        assert segment.statistics.connected

    poll([ScriptedMeter(5)], [MeterSettings("a", 5, 60.0)], story)


async def test_a_bus_behind_tcp_is_read_and_opened_again_after_a_drop() -> None:
    gateway, diary = Gateway(ScriptedBus([ScriptedMeter(5)], baudrate=38400)), Diary()
    async with gateway.serving() as name:
        settings = SegmentSettings("b", name, baudrate=38400, latency=0.05)
        segment = Segment(
            settings, [MeterSettings("m", 5, 0.0)], diary, transport=make_transport(name)
        )
        async with running(segment):
            await until(diary, lambda: len(diary.answered) >= 2)
            gateway.drop()
            await until(diary, lambda: len(diary.changes) == 3)
            assert [connected for connected, _ in diary.changes] == [True, False, True]
            count = len(diary.answered)
            await until(diary, lambda: len(diary.answered) >= count + 2)
    assert segment.statistics.connections == 2


async def test_a_bus_on_a_pseudo_terminal_is_read() -> None:
    bus = ScriptedBus([ScriptedMeter(5)], baudrate=38400)
    diary = Diary()
    loop = asyncio.get_running_loop()
    controller, port = pty.openpty()
    tty.setraw(port)
    name = os.ttyname(port)

    def serve() -> None:
        delay, answer = bus.ask(os.read(controller, 512))
        loop.call_later(delay + bus.characters(len(answer)), os.write, controller, answer)

    loop.add_reader(controller, serve)
    settings = SegmentSettings("b", name, baudrate=38400, parity="none", latency=0.05)
    transport = make_transport(name, baudrate=38400, parity="none")
    segment = Segment(settings, [MeterSettings("m", 5, 0.0)], diary, transport=transport)
    async with running(segment):
        await until(diary, lambda: len(diary.answered) >= 3)
        loop.remove_reader(controller)
        os.close(controller)
        os.close(port)
        await until(diary, lambda: not segment.statistics.connected)
    assert volumes(diary.answered[0][2]) == ["123.456"]


async def test_little_time_passes_between_an_answer_and_the_next_request(
    record_property: Callable[[str, object], None],
) -> None:
    """Three meters at 2400 baud and wire speed: what the engine adds to the wire's own time."""
    bus = ScriptedBus([ScriptedMeter(number, delay=0.012) for number in (1, 2, 3)])
    gateway, diary = Gateway(bus), Diary()
    meters = [MeterSettings(f"m{number}", number, 0.0) for number in (1, 2, 3)]
    async with gateway.serving() as name:
        settings = SegmentSettings("b", name, latency=0.05)
        async with running(Segment(settings, meters, diary, transport=make_transport(name))):
            await until(diary, lambda: len(diary.answered) >= 4)
    pause = statistics.median(gateway.pauses)
    record_property("pause_ms", round(pause * 1000, 3))
    # From the last byte leaving the gateway to the next request arriving there, sockets and
    # decoding included; a busy machine may take longer now and then.
    assert pause < 0.01
