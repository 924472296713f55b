"""One conversation over a transport, with the clock of the loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence

import pytest

from bridge.mbus.address import parse_secondary
from bridge.mbus.link import Acknowledged, Damage, Link, Silent, Timing
from bridge.mbus.readout import Complete, Failed, Memory, Trouble
from bridge.mbus.way import WakeUp, Way
from bridge.polling.session import (
    BrokenOffError,
    broadcast,
    exchange,
    hear_leftovers,
    read_meter,
    usual_latency,
)
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import Content, Quirks, SimulatedMeter
from bridge.sim.server import serve_tcp
from bridge.transport import (
    Line,
    Parity,
    PortError,
    Received,
    TransportLineError,
    TransportLostError,
    make_transport,
)
from bridge.transport.base import Inbox
from bridge.transport.pace import Pace

NKE_5 = bytes.fromhex("10 40 05 45 16")
REQ_5 = bytes.fromhex("10 7B 05 80 16")
# A cold water meter, 20183344-TST-0A-16, at address 5: volume 123.456 m3.
WATER_5 = bytes.fromhex(
    "68 15 15 68 08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 E0 16"
)
TIMING = Timing(baudrate=38400)  # an answer window of 59 ms
BUS_LINE = Line(38400, "even")


class Answering:
    """A port behind which each request has its answer, after ``delay`` seconds."""

    def __init__(self, answers: dict[bytes, bytes], *, delay: float = 0.005) -> None:
        self.answers = answers
        self.delay = delay
        self.written: list[bytes] = []
        self.rests = 0
        self.inbox = Inbox("test")
        self.inbox.reset()
        self.line = BUS_LINE
        self.written_on: list[Line] = []  # the line of each of ``written``
        self.switchable = True
        self.guards_parity = True
        self.round_trip: float | None = None

    @property
    def name(self) -> str:
        return "test"

    @property
    def pace(self) -> Pace:
        return self.inbox.pace

    async def open(self) -> None:
        self.line = BUS_LINE
        self.inbox.reset()

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        self.inbox.check()
        await asyncio.sleep(0)
        if not self.switchable:
            raise TransportLineError("test", "the line is what it is", "Leave it")
        self.line = Line(baudrate, parity)

    async def write(self, data: bytes) -> None:
        self.inbox.check()
        self.written.append(data)
        self.written_on.append(self.line)
        if answer := self.answers.get(data):
            asyncio.get_running_loop().call_later(self.delay, self.inbox.put, answer)

    async def read(self, *, not_before: float | None = None) -> Received:
        if not_before is not None and not self.inbox:
            self.rests += 1
            await asyncio.sleep(not_before - asyncio.get_running_loop().time())
        return await self.inbox.read()

    def discard_input(self) -> Received:
        return self.inbox.take()

    async def close(self) -> None:
        self.inbox.lose("closed")


async def test_a_meter_is_read() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    end = await read_meter(transport, Link(TIMING), 5)
    assert isinstance(end, Complete)
    assert [str(record.value) for record in end.telegrams[0].records] == ["123.456"]
    assert transport.written == [NKE_5, REQ_5]


async def test_a_meter_that_is_not_there_costs_its_windows() -> None:
    transport = Answering({})
    began = time.monotonic()
    end = await read_meter(transport, Link(TIMING), parse_secondary("20183344"))
    assert isinstance(end, Failed)
    assert end.trouble is Trouble.NO_ANSWER
    assert len(transport.written) == 3
    assert time.monotonic() - began >= 3 * TIMING.window


async def test_what_came_before_is_not_taken_for_the_answer() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    transport.inbox.put(b"\xe5" + WATER_5[:11])
    link = Link(TIMING)
    end = await read_meter(transport, link, 5)
    assert isinstance(end, Complete)
    assert link.unasked == 12
    assert end.effort.damage == {}


async def test_one_exchange_can_be_driven_alone() -> None:
    transport = Answering({NKE_5: b"\xe5"})
    link = Link(TIMING)
    loop = asyncio.get_running_loop()
    hear_leftovers(transport, link)
    link.normalise(5, loop.time())
    assert await exchange(transport, link) == Acknowledged(5)
    link.normalise(6, loop.time(), tries=1)
    assert await exchange(transport, link) == Silent(6)


async def test_an_answer_counts_that_came_while_the_loop_was_held_up() -> None:
    transport = Answering({NKE_5: b"\xe5"}, delay=0.04)
    link = Link(TIMING)
    link.normalise(5, asyncio.get_running_loop().time(), tries=1)
    # Between the answer, due at 40 ms, and the deadline, at 60 ms, the loop does something else.
    asyncio.get_running_loop().call_later(0.02, time.sleep, 0.1)
    assert await exchange(transport, link) == Acknowledged(5)


async def test_a_lost_port_ends_the_conversation_and_frees_the_link() -> None:
    transport = Answering({})
    link = Link(TIMING)
    asyncio.get_running_loop().call_later(0.01, transport.inbox.lose, "unplugged")
    with pytest.raises(TransportLostError, match="unplugged"):
        await read_meter(transport, link, 5)
    assert link.deadline is None
    await transport.open()
    transport.answers = {NKE_5: b"\xe5", REQ_5: WATER_5}
    assert isinstance(await read_meter(transport, link, 5), Complete)


async def test_a_conversation_that_is_broken_off_tells_what_it_has_cost() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5[:11]})
    asyncio.get_running_loop().call_later(0.03, transport.inbox.lose, "unplugged")
    with pytest.raises(BrokenOffError, match=r"^test: unplugged$") as caught:
        await read_meter(transport, Link(TIMING), 5)
    effort = caught.value.effort
    assert (effort.tries, effort.bytes_sent, effort.bytes_received) == (2, 10, 12)


async def test_a_cancelled_conversation_frees_the_link() -> None:
    link = Link(TIMING)
    reading = asyncio.ensure_future(read_meter(Answering({}), link, 5))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert link.deadline is None


def test_the_usual_latency_is_that_of_the_kind_of_port() -> None:
    assert usual_latency("/dev/ttyUSB0") < 0.1 <= usual_latency("tcp://10.0.0.7:10001")
    with pytest.raises(PortError):
        usual_latency("nonsense")


class Counter:
    """A volume that counts the readouts, in litres, and a temperature."""

    def __init__(self) -> None:
        self.litres = 0

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        self.litres += 1
        return (bytes((0x04, 0x13, self.litres, 0, 0, 0)) + bytes.fromhex("02 5A 15 02"),)


@pytest.mark.parametrize("address", [7, "51000902"])
async def test_a_meter_that_answers_in_compact_frames_is_read_over_tcp(address: int | str) -> None:
    meter = SimulatedMeter(
        "compact",
        Counter(),
        primary=7,
        secondary=parse_secondary("51000902-TST-21-04"),
        baudrate=9600,
        answer_delay=0.01,
        quirks=Quirks(compact=True),
    )
    where = parse_secondary(address) if isinstance(address, str) else address
    server = await serve_tcp(SimulatedBus([meter], baudrate=9600))
    try:
        transport = make_transport(f"tcp://{server.host}:{server.port}")
        await transport.open()
        link, memory = Link(Timing(baudrate=9600, latency=0.2)), Memory()
        seen: list[tuple[int, list[str]]] = []
        for _ in range(3):
            end = await read_meter(transport, link, where, memory=memory)
            assert isinstance(end, Complete)
            (telegram,) = end.telegrams
            seen.append((telegram.ci, [str(record.value) for record in telegram.records]))
        # Who comes new knows no format: that is said, and no value is missing for another reason.
        stranger = await read_meter(transport, link, where)
        await transport.close()
    finally:
        await server.close()
    assert seen == [
        (0x72, ["0.001", "53.3"]),
        (0x73, ["0.002", "53.3"]),
        (0x73, ["0.003", "53.3"]),
    ]
    assert isinstance(stranger, Failed)
    assert stranger.trouble is Trouble.UNREADABLE
    assert "which is not known yet" in stranger.detail


RESET_ALL = bytes.fromhex("68 03 03 68 73 FF 50 C2 16")
OTHER_LINE = Way(baudrate=9600, timeout=0.2)


async def test_a_meter_with_a_line_of_its_own_is_read_on_it_and_the_bus_s_comes_back() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    link = Link(TIMING)
    timings: list[Timing] = []
    asyncio.get_running_loop().call_later(0.003, lambda: timings.append(link.timing))
    assert isinstance(await read_meter(transport, link, 5, way=OTHER_LINE), Complete)
    assert transport.written_on == [Line(9600, "even")] * 2
    assert timings == [Timing(baudrate=9600, timeout=0.2)]
    assert (transport.line, link.timing) == (BUS_LINE, TIMING)


async def test_where_a_meter_has_the_bus_s_line_nothing_is_switched() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    transport.switchable = False
    way = Way(baudrate=38400, timeout=0.2)
    assert isinstance(await read_meter(transport, Link(TIMING), 5, way=way), Complete)


async def test_the_line_comes_back_after_a_cancelled_conversation() -> None:
    transport, link = Answering({}), Link(TIMING)
    reading = asyncio.ensure_future(read_meter(transport, link, 5, way=OTHER_LINE))
    await asyncio.sleep(0.02)
    assert transport.line == Line(9600, "even")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (transport.line, link.timing, link.deadline) == (BUS_LINE, TIMING, None)


async def test_a_port_lost_on_another_line_tells_what_the_conversation_has_cost() -> None:
    transport, link = Answering({}), Link(TIMING)
    asyncio.get_running_loop().call_later(0.02, transport.inbox.lose, "unplugged")
    with pytest.raises(BrokenOffError, match="unplugged") as caught:
        await read_meter(transport, link, 5, way=OTHER_LINE)
    assert caught.value.effort.bytes_sent == 5
    assert link.timing == TIMING
    await transport.open()
    assert transport.line == BUS_LINE


async def test_a_port_that_is_lost_before_the_first_request_breaks_the_conversation_off() -> None:
    transport, link = Answering({}), Link(TIMING)
    transport.inbox.lose("unplugged")
    for way in (OTHER_LINE, Way(wake_up=WakeUp(duration=0.01))):
        with pytest.raises(BrokenOffError, match="unplugged"):
            await read_meter(transport, link, 5, way=way)
    assert link.timing == TIMING


async def test_a_port_that_cannot_be_switched_says_so_and_sends_nothing() -> None:
    transport, link = Answering({}), Link(TIMING)
    transport.switchable = False
    for way in (OTHER_LINE, Way(wake_up=WakeUp(duration=0.01))):
        with pytest.raises(TransportLineError):
            await read_meter(transport, link, 5, way=way)
    assert transport.written == []
    assert (transport.line, link.timing, link.deadline) == (BUS_LINE, TIMING, None)


async def test_a_port_that_cannot_be_switched_back_is_lost_to_its_bus() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    asyncio.get_running_loop().call_later(0.002, setattr, transport, "switchable", False)
    with pytest.raises(BrokenOffError, match="test: not switched back: the line is what it is"):
        await read_meter(transport, Link(TIMING), 5, way=OTHER_LINE)
    with pytest.raises(TransportLostError, match="closed"):
        await transport.read()


async def test_a_meter_is_woken_before_it_is_asked() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5, b"\x55" * 192: b"\x55" * 192})
    link = Link(TIMING)
    loop = asyncio.get_running_loop()
    began = loop.time()
    way = Way(wake_up=WakeUp(duration=0.05, pause=0.03))  # 192 characters of ten bits
    assert isinstance(await read_meter(transport, link, 5, way=way), Complete)
    assert loop.time() - began >= 0.08
    assert transport.written == [b"\x55" * 192, NKE_5, REQ_5]
    assert transport.written_on == [Line(38400, "none"), BUS_LINE, BUS_LINE]
    assert link.unasked == 0  # the echo is nobody's news


async def test_a_meter_can_be_woken_on_its_own_line_with_its_own_parity() -> None:
    transport = Answering({NKE_5: b"\xe5", REQ_5: WATER_5})
    wake_up = WakeUp(byte=0xAA, duration=0.011, parity="even", pause=0.0)
    way = Way(baudrate=9600, wake_up=wake_up)
    assert isinstance(await read_meter(transport, Link(TIMING), 5, way=way), Complete)
    assert transport.written[0] == b"\xaa" * 10
    assert transport.written_on == [Line(9600, "even")] * 3
    assert transport.line == BUS_LINE


async def test_the_line_comes_back_where_waking_is_cancelled() -> None:
    transport, link = Answering({}), Link(TIMING)
    way = Way(baudrate=9600, wake_up=WakeUp(duration=60.0))
    reading = asyncio.ensure_future(read_meter(transport, link, 5, way=way))
    await asyncio.sleep(0.02)
    assert transport.line == Line(9600, "none")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert transport.line == BUS_LINE


async def test_a_broadcast_is_written_and_the_line_rests_for_an_answer_window() -> None:
    transport, link = Answering({}), Link(TIMING)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await broadcast(transport, link, 0x50, b"")
    assert transport.written == [RESET_ALL]
    assert loop.time() - began >= TIMING.window
    assert link.deadline is None


async def test_characters_with_a_parity_error_damage_the_answer() -> None:
    class Port(Answering):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            if data == REQ_5:
                broken = (20,) if len(self.written) == 2 else ()
                asyncio.get_running_loop().call_later(0.005, self.inbox.put, WATER_5, broken)

    transport = Port({NKE_5: b"\xe5"})
    end = await read_meter(transport, Link(TIMING), 5)
    assert isinstance(end, Complete)
    assert transport.written == [NKE_5, REQ_5, REQ_5]
    assert end.effort.damage == {Damage.PARITY: 1}


# A telegram of 94 characters, 0.43 s at 2400 baud: volume and 16 times a temperature.
LONG_5 = bytes.fromhex("08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00")
LONG_5 += bytes.fromhex("02 5A 15 02") * 16
LONG_5 = bytes((0x68, len(LONG_5), len(LONG_5), 0x68)) + LONG_5 + bytes((sum(LONG_5) & 0xFF, 0x16))


class Wire(Answering):
    """A port that brings each answer character by character, as the wire does."""

    def __init__(self, answers: dict[bytes, bytes], *, character: float) -> None:
        super().__init__(answers)
        self.line = Line(2400, "even")
        self.character = character
        self.ends: list[float] = []
        self.looks = 0

    async def write(self, data: bytes) -> None:
        self.written.append(data)
        loop = asyncio.get_running_loop()
        begin = loop.time() + 0.005 + len(data) * 11 / 2400
        answer = self.answers.get(data, b"")
        for number, byte in enumerate(answer, start=1):
            loop.call_at(begin + number * self.character, self.inbox.put, bytes((byte,)))
        self.ends.append(begin + len(answer) * self.character)

    async def read(self, *, not_before: float | None = None) -> Received:
        self.looks += 1
        return await super().read(not_before=not_before)


async def test_nobody_looks_while_a_frame_cannot_be_complete() -> None:
    transport = Wire({NKE_5: b"\xe5", REQ_5: LONG_5}, character=11 / 2400)
    end = await read_meter(transport, Link(Timing()), 5)
    assert isinstance(end, Complete)
    assert transport.rests == 3  # for the head, to half way, and on from there
    assert transport.looks <= 14  # of 92 lots
    assert asyncio.get_running_loop().time() - transport.ends[-1] < 0.02


async def test_a_frame_that_breaks_off_is_noticed_half_way() -> None:
    transport = Wire({NKE_5: b"\xe5", REQ_5: LONG_5[:9]}, character=11 / 2400)
    link = Link(Timing(tries=1))
    loop = asyncio.get_running_loop()
    end = await read_meter(transport, link, 5)
    assert isinstance(end, Failed)
    assert end.trouble is Trouble.DAMAGED
    assert loop.time() - transport.ends[-1] < 0.25 + link.timing.gap


async def test_a_line_faster_than_it_is_said_to_be_is_not_slowed_down_for_long() -> None:
    transport = Wire({NKE_5: b"\xe5", REQ_5: LONG_5}, character=11 / 9600)
    link = Link(Timing())
    late: list[float] = []
    loop = asyncio.get_running_loop()
    for _ in range(5):
        assert isinstance(await read_meter(transport, link, 5), Complete)
        late.append(loop.time() - transport.ends[-1])
    assert max(late) < 0.2
    assert max(late[3:]) < 0.05
