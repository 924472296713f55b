"""A bus behind a TCP gateway and at a pseudo terminal, in real time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import termios
import time
import tty
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from bridge.mbus.address import SecondaryAddress
from bridge.sim.bus import SimulatedBus
from bridge.sim.errors import SimError
from bridge.sim.meter import Content, SimulatedMeter
from bridge.sim.server import TcpServer, serve_pty, serve_tcp

NKE_1 = bytes.fromhex("10 40 01 41 16")
REQ_1 = bytes.fromhex("10 7B 01 7C 16")
DELAY = 0.02


class Volume:
    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        return (bytes.fromhex("04 13 0A 00 00 00 04 06 7F 11 00 00 02 5B 30 00 02 5F 20 00"),)


def make_bus(*faults: str, baudrate: int = 9600) -> SimulatedBus:
    meter = SimulatedMeter(
        "one",
        Volume(),
        primary=1,
        secondary=SecondaryAddress("11111111", "KAM", 1, 4),
        answer_delay=DELAY,
        jitter=0.0,
        baudrate=baudrate,
    )
    return SimulatedBus([meter], baudrate=baudrate, faults=faults)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes, length: int, within: float = 2.0) -> bytes:
        self.writer.write(request)
        return await asyncio.wait_for(self.reader.readexactly(length), within)


@contextlib.asynccontextmanager
async def connected(server: TcpServer) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("baudrate", [2400, 9600])
async def test_an_answer_over_tcp_takes_what_the_wire_takes(baudrate: int) -> None:
    bus = make_bus(baudrate=baudrate)
    length = len(bus.meters["one"].telegram(dt.datetime(2026, 3, 9)))
    wire = (len(REQ_1) + length) * 11 / baudrate + DELAY
    server = await serve_tcp(bus)
    taken = []
    async with connected(server) as client:
        for _ in range(5):
            begin = time.perf_counter()
            await client.ask(REQ_1, length)
            taken.append(time.perf_counter() - begin)
    await server.close()
    assert min(taken) >= wire, "an answer never comes before the wire has delivered it"
    # The quickest of five: another process may have had the processor in one of them.
    assert min(taken) < wire * 1.03


async def test_latency_is_added_in_each_direction() -> None:
    server = await serve_tcp(make_bus(), latency=0.05)
    async with connected(server) as client:
        begin = time.perf_counter()
        assert await client.ask(NKE_1, 1) == b"\xe5"
        taken = time.perf_counter() - begin
    await server.close()
    wire = 6 * 11 / 9600 + DELAY
    assert wire + 0.1 <= taken < wire + 0.15


async def test_an_answer_comes_in_parts_as_the_wire_delivers_it() -> None:
    bus = make_bus(baudrate=2400)
    length = len(bus.meters["one"].telegram(dt.datetime(2026, 3, 9)))
    server = await serve_tcp(bus)
    async with connected(server) as client:
        client.writer.write(REQ_1)
        parts: list[bytes] = []
        while len(b"".join(parts)) < length:
            parts.append(await asyncio.wait_for(client.reader.read(1000), 2.0))
    await server.close()
    assert len(parts) > length / 4


async def test_a_second_client_is_turned_away() -> None:
    server = await serve_tcp(make_bus())
    async with connected(server) as first, connected(server) as second:
        assert await first.ask(NKE_1, 1) == b"\xe5"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await second.ask(NKE_1, 1)
        assert await first.ask(NKE_1, 1) == b"\xe5"
    assert server.refused == 1
    await server.close()


async def test_the_newest_client_may_take_the_place_of_the_first() -> None:
    server = await serve_tcp(make_bus(), clients="newest")
    async with connected(server) as first:
        assert await first.ask(NKE_1, 1) == b"\xe5"
        async with connected(server) as second:
            assert await second.ask(NKE_1, 1) == b"\xe5"
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await first.ask(NKE_1, 1)
    await server.close()


async def test_clients_that_share_hear_each_others_answers() -> None:
    server = await serve_tcp(make_bus(), clients="shared")
    async with connected(server) as first, connected(server) as second:
        await asyncio.sleep(0.01)
        assert await first.ask(NKE_1, 1) == b"\xe5"
        assert await second.ask(b"", 1) == b"\xe5"
    await server.close()


async def test_a_gateway_goes_and_comes_back_at_its_port() -> None:
    server = await serve_tcp(make_bus())
    port = server.port
    async with connected(server) as client:
        assert await client.ask(NKE_1, 1) == b"\xe5"
        await server.unplug()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.ask(NKE_1, 1)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, port)
    await server.plug()
    assert server.port == port
    async with connected(server) as client:
        assert await client.ask(NKE_1, 1) == b"\xe5"
    await server.close()


async def test_a_cable_can_be_pulled_without_anybody_being_told() -> None:
    server = await serve_tcp(make_bus())
    async with connected(server) as client:
        await server.unplug(silent=True)
        with pytest.raises(TimeoutError):
            await client.ask(NKE_1, 1, within=0.1)
        await server.plug()
        assert await client.ask(NKE_1, 1) == b"\xe5"
    await server.close()


async def test_a_drop_ends_the_connection_and_the_next_one_works() -> None:
    server = await serve_tcp(make_bus("drop:next-1"))
    async with connected(server) as client:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.ask(REQ_1, 200)
    async with connected(server) as client:
        assert await client.ask(NKE_1, 1) == b"\xe5"
    await server.close()


async def test_a_port_that_is_taken_says_what_to_do() -> None:
    server = await serve_tcp(make_bus())
    second = make_bus()
    with pytest.raises(
        SimError, match=rf"cannot listen on 127.0.0.1:{server.port}: .*another port"
    ):
        await serve_tcp(second, port=server.port)
    other = await serve_tcp(second)
    await other.close()
    await server.close()


async def test_a_bus_has_one_converter() -> None:
    bus = make_bus()
    server = await serve_tcp(bus)
    with pytest.raises(SimError, match="converter already"):
        await serve_tcp(bus)
    await server.close()
    again = await serve_tcp(bus)
    await again.close()


class Port:
    """A serial port as a master opens it: raw, at a baud rate, no waiting."""

    def __init__(self, path: Path, speed: int = termios.B9600) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.descriptor)
        attributes = termios.tcgetattr(self.descriptor)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self.descriptor, termios.TCSANOW, attributes)

    async def ask(self, request: bytes, seconds: float = 0.3) -> bytes:
        os.write(self.descriptor, request)
        heard, end = b"", time.monotonic() + seconds
        while not heard and time.monotonic() < end:
            await asyncio.sleep(0.005)
            with contextlib.suppress(BlockingIOError):
                heard += os.read(self.descriptor, 1000)
        return heard

    def close(self) -> None:
        os.close(self.descriptor)


async def test_a_pseudo_terminal_answers_and_follows_the_baud_rate(tmp_path: Path) -> None:
    bus = make_bus()
    server = await serve_pty(bus, tmp_path / "port")
    port = Port(server.path)
    assert await port.ask(NKE_1) == b"\xe5"
    port.close()
    port = Port(server.path, termios.B2400)
    assert await port.ask(NKE_1, seconds=0.15) == b""
    assert bus.baudrate == 2400
    port.close()
    await server.close()
    assert not server.path.is_symlink()


async def test_a_pseudo_terminal_goes_and_comes_back_at_its_path() -> None:
    server = await serve_pty(make_bus())
    port = Port(server.path)
    assert await port.ask(NKE_1) == b"\xe5"
    await server.unplug()
    with pytest.raises(OSError, match="error"):
        os.write(port.descriptor, NKE_1)
    port.close()
    with pytest.raises(FileNotFoundError):
        Port(server.path)
    await server.plug()
    port = Port(server.path)
    assert await port.ask(NKE_1) == b"\xe5"
    port.close()
    await server.close()
    assert not server.path.parent.exists()


async def test_a_drop_takes_a_pseudo_terminal_away_and_brings_it_back() -> None:
    server = await serve_pty(make_bus("drop:next-1"))
    port = Port(server.path)
    assert await port.ask(REQ_1) != b""
    await asyncio.sleep(0.1)
    with pytest.raises(OSError, match="error"):
        os.write(port.descriptor, NKE_1)
    port.close()
    port = Port(server.path)
    assert await port.ask(NKE_1) == b"\xe5"
    port.close()
    await server.close()


async def test_a_path_that_is_taken_says_what_to_do(tmp_path: Path) -> None:
    taken = tmp_path / "port"
    taken.write_text("")
    with pytest.raises(SimError, match=r"cannot make the port .*port: File exists; choose another"):
        await serve_pty(make_bus(), taken)
    assert taken.read_text() == ""
    assert taken.exists()
