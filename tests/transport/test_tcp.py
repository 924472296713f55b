"""A transparent gateway, over real sockets."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from bridge.transport.base import (
    Line,
    Received,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.tcp import TcpTransport


class Peer:
    """A gateway that takes connections and does as told."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.connected = asyncio.Event()
        self.received = bytearray()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.connected.set()
        while data := await reader.read(100):
            self.received += data
        writer.close()

    async def writer(self) -> asyncio.StreamWriter:
        await self.connected.wait()
        return self.writers[-1]


@asynccontextmanager
async def peer() -> AsyncIterator[Peer]:
    gateway = Peer()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    gateway.port = server.sockets[0].getsockname()[1]
    yield gateway
    server.close()
    for writer in gateway.writers:
        writer.close()
    await asyncio.sleep(0.01)


def transport_to(port: int, host: str = "127.0.0.1", timeout: float = 1.0) -> TcpTransport:
    return TcpTransport(f"tcp://{host}:{port}", host, port, connect_timeout=timeout)


async def test_bytes_go_out_and_come_in() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        await transport.write(bytes.fromhex("10 7B 05 80 16"))
        (await gateway.writer()).write(b"\xe5")
        assert await transport.read() == Received(b"\xe5")
        assert gateway.received == bytes.fromhex("10 7B 05 80 16")
        await transport.close()


async def test_frames_leave_without_delay_and_dead_peers_are_noticed() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        connection = transport._connection
        assert connection is not None
        assert connection.transport is not None
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        await transport.close()


async def test_what_came_unasked_can_be_discarded() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        (await gateway.writer()).write(b"\x00\x00")
        await asyncio.sleep(0.05)
        assert transport.discard_input() == Received(b"\x00\x00")
        assert transport.discard_input() == Received(b"")
        await transport.close()


async def test_what_the_loop_has_not_seen_yet_can_be_discarded_too() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        (await gateway.writer()).write(b"\x00\x00")
        time.sleep(0.02)  # noqa: ASYNC251 - the loop sees nothing meanwhile
        assert transport.discard_input() == Received(b"\x00\x00")
        await transport.close()


async def test_bytes_wait_in_the_kernel_for_who_does_not_want_them_yet() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        writer = await gateway.writer()
        loop = asyncio.get_running_loop()
        for number in range(5):
            loop.call_later(0.01 * number, writer.write, bytes((number,)))
        began = loop.time()
        assert await transport.read(not_before=began + 0.1) == Received(bytes(range(5)))
        assert 0.1 <= loop.time() - began < 0.2
        loop.call_later(0.02, writer.write, b"\xe5")
        assert await transport.read(not_before=loop.time() + 0.01) == Received(b"\xe5")
        await transport.close()


async def test_what_waits_already_is_given_at_once() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        (await gateway.writer()).write(b"\xe5")
        await asyncio.sleep(0.02)
        async with asyncio.timeout(1.0):
            later = asyncio.get_running_loop().time() + 60.0
            assert await transport.read(not_before=later) == Received(b"\xe5")
        await transport.close()


async def test_a_rest_that_is_cancelled_loses_nothing() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await transport.read(not_before=asyncio.get_running_loop().time() + 60.0)
        (await gateway.writer()).write(b"\xe5")
        assert await transport.read() == Received(b"\xe5")
        await transport.close()


@pytest.mark.parametrize("abort", [False, True])
async def test_a_connection_lost_during_a_rest_is_noticed_at_its_end(abort: bool) -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        writer = await gateway.writer()
        loop = asyncio.get_running_loop()
        if abort:
            # Closed with a linger time of zero, the kernel says so with RST.
            linger = struct.pack("ii", 1, 0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(b"\x68")
        loop.call_later(0.02, writer.transport.abort if abort else writer.close)
        async with asyncio.timeout(1.0):
            assert await transport.read(not_before=loop.time() + 0.05) == Received(b"\x68")
            with pytest.raises(TransportLostError, match="broke" if abort else "has closed"):
                await transport.read(not_before=loop.time() + 0.05)
        await transport.close()


async def test_closing_during_a_rest_is_noticed_at_its_end() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(transport.read(not_before=loop.time() + 0.05))
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(TransportLostError, match="the port is closed"):
            await reading


async def test_the_kernel_tells_the_round_trip() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        assert transport.round_trip is None
        await transport.open()
        assert transport.round_trip is not None
        assert 0 < transport.round_trip < 0.5
        await transport.close()
        assert transport.round_trip is None


async def test_a_transparent_gateway_cannot_be_switched() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        assert transport.line == Line(2400, "even")
        assert not transport.guards_parity
        await transport.set_line(baudrate=2400, parity="even")
        others: list[Line] = [Line(300, "even"), Line(2400, "none")]
        for baudrate, parity in others:
            with pytest.raises(TransportLineError, match="cannot be switched to") as caught:
                await transport.set_line(baudrate=baudrate, parity=parity)
            assert "write rfc2217://" in caught.value.remedy
        await transport.close()


async def test_a_gateway_that_hangs_up_is_noticed_at_once() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        (await gateway.writer()).close()
        async with asyncio.timeout(1.0):
            with pytest.raises(TransportLostError, match="the gateway has closed the connection"):
                await transport.read()
        with pytest.raises(TransportLostError):
            await transport.write(b"\x10")
        await transport.open()  # and it can be opened again
        await transport.write(b"\x10")
        await transport.close()


async def test_a_connection_that_breaks_is_noticed() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        (await gateway.writer()).transport.abort()
        with pytest.raises(TransportLostError):
            await transport.read()
        await transport.close()


async def test_a_gateway_that_accepts_and_hangs_up_is_lost_not_open() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    transport = transport_to(server.sockets[0].getsockname()[1])
    await transport.open()
    with pytest.raises(TransportLostError):
        await transport.read()
    await transport.close()
    server.close()


async def test_a_port_that_is_not_open_says_so() -> None:
    transport = transport_to(1)
    with pytest.raises(TransportLostError, match="the port is not open"):
        await transport.read()
    with pytest.raises(TransportLostError, match="the port is not open"):
        await transport.write(b"\x10")
    await transport.close()


async def test_closing_ends_a_waiting_read() -> None:
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        reading = asyncio.ensure_future(transport.read())
        await asyncio.sleep(0)
        await transport.close()
        with pytest.raises(TransportLostError, match="the port is closed"):
            await reading


async def test_a_refused_connection_says_what_to_check() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(TransportOpenError) as caught:
            await transport_to(port).open()
    assert caught.value.problem == f"127.0.0.1 refuses connections to port {port}"
    assert "Most gateways take one at a time" in caught.value.remedy


class Names:
    """Stands in for the resolver: knows some names; others hang until ``answer`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: list[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.answer = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(
        self, host: str, port: int, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            return self._real(host, port, family, type, proto, flags)
        self.asked.append(host)
        if host not in self.known:
            self.answer.wait()
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            info
            for address in self.known[host]
            for info in self._real(address, port, type=type, flags=socket.AI_NUMERICHOST)
        ]


async def test_a_name_that_cannot_be_resolved_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch).answer.set()
    with pytest.raises(
        TransportOpenError, match=r"the name gateway\.invalid cannot be resolved \("
    ):
        await transport_to(10001, "gateway.invalid").open()


async def test_a_text_that_can_be_no_name_says_so() -> None:
    with pytest.raises(TransportOpenError, match=r"cannot be resolved \(it is no host name"):
        await transport_to(10001, "gateway..local").open()


async def test_a_name_that_nobody_resolves_is_told_from_a_gateway_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch)
    with pytest.raises(TransportOpenError, match="cannot be resolved in time") as told:
        await transport_to(10001, "gateway.test", timeout=0.1).open()
    assert "DNS" in told.value.remedy
    names.answer.set()
    await asyncio.sleep(0.05)  # the late answer is nobody's


def test_names_that_nobody_resolves_hold_up_neither_an_address_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = Names(monkeypatch)

    async def main() -> None:
        dead = [
            asyncio.ensure_future(transport_to(10001, f"gw{number}.test", timeout=60.0).open())
            for number in range(40)  # more than an executor has threads, on any machine
        ]
        async with peer() as gateway:
            await asyncio.sleep(0.05)
            transport = transport_to(gateway.port)
            await transport.open()
            await transport.close()
        for opening in dead:
            opening.cancel()
        await asyncio.gather(*dead, return_exceptions=True)

    began = time.monotonic()
    asyncio.run(main())
    names.answer.set()
    assert time.monotonic() - began < 2.0
    assert len(names.asked) == 40


async def test_an_address_is_looked_up_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch)
    async with peer() as gateway:
        transport = transport_to(gateway.port)
        await transport.open()
        await transport.close()
    assert names.asked == []


@contextmanager
def deaf_port(host: str) -> Iterator[int]:
    """A port whose queue is full: the kernel ignores who wants to connect."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind((host, 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((host, port))
        yield port


async def test_an_address_that_does_not_answer_keeps_no_other_of_that_name_from_being_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Names(monkeypatch, gateway_test=["127.0.0.2", "127.0.0.3", "127.0.0.1"])
    with deaf_port("127.0.0.2") as port:  # at 127.0.0.3 nobody is
        server = await asyncio.start_server(Peer().serve, "127.0.0.1", port)
        transport = transport_to(port, "gateway.test", timeout=0.6)
        await transport.open()
        await transport.close()
        server.close()
        await asyncio.sleep(0.01)


async def test_of_several_reasons_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, gateway_test=["127.0.0.1", "127.0.0.2"])

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        number = errno.ECONNREFUSED if address[0] == "127.0.0.1" else errno.EHOSTUNREACH
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    with pytest.raises(TransportOpenError, match="refuses connections"):
        await transport_to(10001, "gateway.test").open()


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH])
async def test_a_host_without_a_way_to_it_says_so(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sock_connect(*_: object) -> None:
        raise OSError(number, "No route to host")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect)
    with pytest.raises(TransportOpenError, match="cannot be reached") as caught:
        await transport_to(10001).open()
    assert "default route" in caught.value.remedy


async def test_a_gateway_that_does_not_answer_ends_the_attempt() -> None:
    with (
        deaf_port("127.0.0.1") as port,
        pytest.raises(TransportOpenError, match=r"does not answer within 0\.2 s"),
    ):
        await transport_to(port, timeout=0.2).open()
