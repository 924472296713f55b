"""One conversation over a transport, with the clock of the loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence

import pytest

from bridge.mbus.address import parse_secondary
from bridge.mbus.link import Acknowledged, Link, Silent, Timing
from bridge.mbus.readout import Complete, Failed, Memory, Trouble
from bridge.polling.session import (
    BrokenOffError,
    exchange,
    hear_leftovers,
    read_meter,
    usual_latency,
)
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import Content, Quirks, SimulatedMeter
from bridge.sim.server import serve_tcp
from bridge.transport import PortError, TransportLostError, make_transport
from bridge.transport.base import Inbox

NKE_5 = bytes.fromhex("10 40 05 45 16")
REQ_5 = bytes.fromhex("10 7B 05 80 16")
# A cold water meter, 20183344-TST-0A-16, at address 5: volume 123.456 m3.
WATER_5 = bytes.fromhex(
    "68 15 15 68 08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 E0 16"
)
TIMING = Timing(baudrate=38400)  # an answer window of 59 ms


class Answering:
    """A port behind which each request has its answer, after ``delay`` seconds."""

    def __init__(self, answers: dict[bytes, bytes], *, delay: float = 0.005) -> None:
        self.answers = answers
        self.delay = delay
        self.written: list[bytes] = []
        self.inbox = Inbox("test")
        self.inbox.reset()

    @property
    def name(self) -> str:
        return "test"

    async def open(self) -> None:
        self.inbox.reset()

    async def write(self, data: bytes) -> None:
        self.inbox.check()
        self.written.append(data)
        if answer := self.answers.get(data):
            asyncio.get_running_loop().call_later(self.delay, self.inbox.put, answer)

    async def read(self) -> bytes:
        return await self.inbox.read()

    def discard_input(self) -> bytes:
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
