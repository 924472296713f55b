"""Our RFC 2217 client against the server side of pyserial, which is not ours."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import serial
from serial.rfc2217 import PortManager

from bridge.transport.base import (
    Line,
    Received,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.rfc2217 import Rfc2217Transport, Telnet

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240


class Server:
    """A terminal server: pyserial's half of the protocol, and a port that echoes."""

    def __init__(self) -> None:
        self.port: Any = serial.serial_for_url("loop://")
        self.writer: asyncio.StreamWriter | None = None
        self.received = bytearray()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        peer: Any = writer  # all that is asked of it is a method write
        manager = PortManager(self.port, peer)
        with suppress(ConnectionError):
            while data := await reader.read(1024):
                payload = b"".join(manager.filter(data))
                self.received += payload
                writer.write(b"".join(manager.escape(payload)))
        writer.close()


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await asyncio.sleep(0.02)


def transport_to(port: int, *, timeout: float = 2.0, baudrate: int = 9600) -> Rfc2217Transport:
    return Rfc2217Transport(
        f"rfc2217://127.0.0.1:{port}",
        "127.0.0.1",
        port,
        baudrate=baudrate,
        connect_timeout=timeout,
    )


async def test_the_port_of_the_server_is_set_and_every_byte_passes() -> None:
    server = Server()
    everything = bytes(range(256)) * 2
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        assert (server.port.baudrate, server.port.bytesize) == (9600, 8)
        assert (server.port.parity, server.port.stopbits) == ("E", 1)
        await transport.write(everything)
        received = b""
        while len(received) < len(everything):
            received += (await transport.read()).data
        assert received == everything == server.received
        await transport.close()


async def test_the_line_can_be_changed_and_is_the_bus_s_own_after_each_opening() -> None:
    server = Server()
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        await transport.set_line(baudrate=300, parity="none")
        assert transport.line == Line(300, "none")
        assert (server.port.baudrate, server.port.parity) == (300, "N")
        await transport.set_line(baudrate=2400, parity="even")
        assert (server.port.baudrate, server.port.parity) == (2400, "E")
        await transport.open()
        assert transport.line == Line(9600, "even")
        assert (server.port.baudrate, server.port.parity) == (9600, "E")
        await transport.close()
        with pytest.raises(TransportLostError):
            await transport.set_line(baudrate=300, parity="even")


async def test_a_line_that_the_server_refuses_is_told_and_the_old_one_is_there() -> None:
    server = Server()

    class Fixed(type(server.port)):  # type: ignore[misc]
        parity = property(lambda self: "E", lambda self, value: None)

    server.port.__class__ = Fixed
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        with pytest.raises(TransportLineError, match="refuses parity none"):
            await transport.set_line(baudrate=300, parity="none")
        assert transport.line == Line(9600, "even")
        assert server.port.baudrate == 9600
        await transport.set_line(baudrate=300, parity="even")
        assert server.port.baudrate == 300
        await transport.close()


async def test_a_server_that_does_not_confirm_a_line_is_not_waited_for_for_ever() -> None:
    server = Server()
    async with serving(server.serve) as port:
        transport = transport_to(port, timeout=0.2)
        await transport.open()
        assert server.writer is not None
        server.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(TransportLineError, match="does not confirm 300 baud, parity even"):
            await transport.set_line(baudrate=300, parity="even")
        assert transport.line == Line(9600, "even")
        server.writer.transport.abort()
        await transport.close()


def line_state(bits: int) -> bytes:
    return bytes((IAC, SB, 44, 106, bits, IAC, SE))


async def test_what_comes_around_an_error_of_the_line_is_broken_until_the_next_request() -> None:
    server = Server()
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        assert not transport.guards_parity  # the server may tell, or not
        transport.discard_input()
        assert server.writer is not None
        server.writer.write(b"\x68\x03\x03")
        server.writer.write(line_state(0x60))  # what was sent is out: no error
        await asyncio.sleep(0.05)
        assert transport.discard_input() == Received(b"\x68\x03\x03")
        server.writer.write(b"\x68\x08")
        await asyncio.sleep(0.05)
        server.writer.write(line_state(0x04))
        server.writer.write(b"\x05")
        await asyncio.sleep(0.05)
        assert transport.discard_input() == Received(b"\x68\x08\x05", (0, 1, 2))
        server.writer.write(b"\x72")
        assert await transport.read() == Received(b"\x72", (0,))
        await transport.write(b"\xe5")  # which it echoes
        assert await transport.read() == Received(b"\xe5")
        await transport.close()


async def test_bytes_wait_in_the_kernel_for_who_does_not_want_them_yet() -> None:
    server = Server()
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        loop = asyncio.get_running_loop()
        await transport.write(b"\x68\xff\xff")
        began = loop.time()
        assert await transport.read(not_before=began + 0.05) == Received(b"\x68\xff\xff")
        assert loop.time() - began >= 0.05
        assert transport.round_trip is not None
        await transport.close()


async def test_a_server_that_hangs_up_is_noticed_at_once() -> None:
    server = Server()
    async with serving(server.serve) as port:
        transport = transport_to(port)
        await transport.open()
        transport.discard_input()
        assert server.writer is not None
        server.writer.close()
        async with asyncio.timeout(1.0):
            with pytest.raises(TransportLostError, match="has closed the connection"):
                await transport.read()
        with pytest.raises(TransportLostError):
            await transport.write(b"\x10")
        await transport.close()


async def test_a_plain_gateway_is_told_from_a_server() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with serving(serve) as port:
        with pytest.raises(TransportOpenError) as caught:
            await transport_to(port, timeout=0.1).open()
    assert f"write tcp://127.0.0.1:{port}" in caught.value.remedy


async def test_a_server_that_knows_only_telnet_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(bytes((IAC, DONT, 44)))
        await reader.read()
        writer.close()

    async with serving(serve) as port:
        with pytest.raises(TransportOpenError, match="speaks Telnet, but not RFC 2217"):
            await transport_to(port).open()


async def test_a_server_that_refuses_a_setting_is_told() -> None:
    server = Server()

    class Fixed(type(server.port)):  # type: ignore[misc]
        parity = property(lambda self: "N", lambda self, value: None)

    server.port.__class__ = Fixed
    async with serving(server.serve) as port:
        with pytest.raises(TransportOpenError, match="refuses parity even"):
            await transport_to(port).open()


async def test_a_server_that_hangs_up_while_it_is_set_is_told() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async with serving(serve) as port:
        with pytest.raises(TransportOpenError, match="hangs up while the port is being set"):
            await transport_to(port).open()


def test_each_thing_is_said_once_so_that_negotiation_ends() -> None:
    telnet = Telnet()
    telnet.start()
    said = telnet.to_send()
    assert bytes((IAC, WILL, 44)) in said
    for _ in range(3):
        assert telnet.receive(bytes((IAC, DO, 44, IAC, WILL, 1, IAC, DO, 24))) == b""
    assert telnet.to_send() == bytes((IAC, DONT, 1, IAC, WONT, 24))
    assert telnet.agreed == {44}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_commands_may_be_split_anywhere(size: int) -> None:
    telnet = Telnet()
    stream = (
        b"\x68\xff\xff\x13"
        + bytes((IAC, SB, 44, 101, 0, 0, 9, 96, IAC, SE))
        + b"\x10"
        + bytes((IAC, SB, 44, 107, IAC, IAC, IAC, SE, IAC, 241))
        + b"\x16"
    )
    payload = b"".join(
        telnet.receive(stream[start : start + size]) for start in range(0, len(stream), size)
    )
    assert payload == b"\x68\xff\x13\x10\x16"
    assert telnet.settings == {1: b"\x00\x00\x09\x60", 7: b"\xff"}


def test_a_command_without_an_end_fills_no_memory() -> None:
    telnet = Telnet()
    payload = telnet.receive(bytes((IAC, SB)) + bytes(5000))
    assert len(payload) > 3000


def test_settings_are_escaped() -> None:
    telnet = Telnet()
    telnet.set(1, (0xFF).to_bytes(4, "big"))
    assert re.search(rb"\x00\x00\x00\xff\xff\xff\xf0$", telnet.to_send())
