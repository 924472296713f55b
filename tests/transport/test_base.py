"""The inbox that all transports share, and the names of ports."""

from __future__ import annotations

import asyncio

import pytest

from bridge.transport import (
    Port,
    PortError,
    PortKind,
    Received,
    TransportError,
    TransportLostError,
    make_transport,
    parse_port,
)
from bridge.transport.base import Inbox
from bridge.transport.rfc2217 import Rfc2217Transport
from bridge.transport.serial import SerialTransport
from bridge.transport.tcp import TcpTransport


def opened() -> Inbox:
    inbox = Inbox("bus")
    inbox.reset()
    return inbox


async def test_a_reader_gets_what_has_come_and_what_will_come() -> None:
    inbox = opened()
    inbox.put(b"\x68\x13")
    inbox.put(b"\x13")
    assert await inbox.read() == Received(b"\x68\x13\x13")
    reading = asyncio.ensure_future(inbox.read())
    await asyncio.sleep(0)
    assert not reading.done()
    inbox.put(b"\x68")
    assert await reading == Received(b"\x68")


async def test_a_cancelled_read_loses_nothing() -> None:
    inbox = opened()
    reading = asyncio.ensure_future(inbox.read())
    await asyncio.sleep(0)
    inbox.put(b"\xe5")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert inbox.take() == Received(b"\xe5")


async def test_what_came_before_a_loss_can_still_be_read() -> None:
    inbox = opened()
    inbox.put(b"\xe5")
    inbox.lose("unplugged")
    inbox.lose("closed")
    assert await inbox.read() == Received(b"\xe5")
    with pytest.raises(TransportLostError, match=r"^bus: unplugged$"):
        await inbox.read()


async def test_a_loss_wakes_the_reader() -> None:
    inbox = opened()
    reading = asyncio.ensure_future(inbox.read())
    await asyncio.sleep(0)
    inbox.lose("unplugged")
    with pytest.raises(TransportLostError):
        await reading


def test_a_babbling_line_fills_no_memory() -> None:
    inbox = Inbox("bus", limit=4)
    inbox.reset()
    inbox.put(b"\x00\x01\x02\x03\x04\x05")
    assert inbox.take() == Received(b"\x02\x03\x04\x05")


async def test_broken_characters_keep_their_places_among_what_waits() -> None:
    inbox = opened()
    inbox.put(b"\x68\x13")
    inbox.put(b"\x13\x00\x08", (1,))
    inbox.put(b"\x00", (0,))
    assert await inbox.read() == Received(b"\x68\x13\x13\x00\x08\x00", (3, 5))
    inbox.put(b"\xe5")
    assert inbox.take() == Received(b"\xe5", ())


def test_broken_characters_are_forgotten_with_the_oldest() -> None:
    inbox = Inbox("bus", limit=4)
    inbox.reset()
    inbox.put(b"\x00\x01\x02\x03\x04\x05", (1, 3))
    inbox.put(b"\x06", (0,))
    assert inbox.take() == Received(b"\x03\x04\x05\x06", (0, 3))


def test_all_that_waits_can_be_spoilt() -> None:
    inbox = opened()
    inbox.put(b"\x68\x13")
    inbox.spoil()
    inbox.put(b"\x13")
    assert inbox.take() == Received(b"\x68\x13\x13", (0, 1))


def test_each_connection_has_its_own_pace() -> None:
    inbox = opened()
    pace = inbox.pace
    inbox.reset()
    assert inbox.pace is not pace


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("/dev/ttyUSB0", Port(PortKind.SERIAL, "/dev/ttyUSB0")),
        ("tcp://10.0.0.7:10001", Port(PortKind.TCP, "10.0.0.7", 10001)),
        ("tcp://gateway.local:10001/", Port(PortKind.TCP, "gateway.local", 10001)),
        ("tcp://[::1]:10001", Port(PortKind.TCP, "::1", 10001)),
        ("rfc2217://10.0.0.7:4001", Port(PortKind.RFC2217, "10.0.0.7", 4001)),
    ],
)
def test_a_port_is_known_by_its_name(text: str, port: Port) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ttyUSB0", "is no port"),
        ("", "is no port"),
        ("tcp://10.0.0.7", "names no TCP port"),
        ("tcp://10.0.0.7:0", "names no TCP port"),
        ("tcp://:10001", "names no host"),
        ("tcp://10.0.0.7:70000", "is no port"),
        ("tcp://10.0.0.7:ten", "is no port"),
        ("udp://10.0.0.7:10001", "begins with udp://"),
        ("tcp://10.0.0.7:10001/bus", "says more than host and port"),
        ("tcp://user@10.0.0.7:10001", "says more than host and port"),
    ],
)
def test_what_is_no_port_is_told_how_one_looks(text: str, says: str) -> None:
    with pytest.raises(PortError, match=says) as caught:
        parse_port(text)
    assert "a port is /dev/ttyUSB0, tcp://host:port or rfc2217://host:port" in str(caught.value)
    assert isinstance(caught.value, TransportError)


def test_each_kind_of_port_has_its_transport() -> None:
    assert isinstance(make_transport("/dev/ttyUSB0"), SerialTransport)
    assert isinstance(make_transport("tcp://10.0.0.7:10001"), TcpTransport)
    assert isinstance(make_transport("rfc2217://10.0.0.7:4001"), Rfc2217Transport)
    assert make_transport("tcp://10.0.0.7:10001").name == "tcp://10.0.0.7:10001"
