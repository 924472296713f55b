"""A device on loopback, and a peer that speaks to it in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import cast

import pytest

from bridge.bacnet.server import BacnetDevice, DeviceSettings
from bridge.points.ledger import Ledger
from bridge.points.reading import Kind, Point, Reading
from bridge.points.store import Store


class Peer(asyncio.DatagramProtocol):
    """A BACnet/IP peer that knows nothing: it sends what it is told and shows what comes."""

    def __init__(self, device: tuple[str, int]) -> None:
        self.device = device
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.put_nowait(data)

    @property
    def port(self) -> int:
        port: int = self.transport.get_extra_info("sockname")[1]
        return port

    def send(self, apdu: str, *, reply: bool = True) -> None:
        """An APDU in hex, in an NPDU and an Original-Unicast-NPDU."""
        data = bytes.fromhex(apdu)
        length = (len(data) + 6).to_bytes(2, "big")
        npci = b"\x01\x04" if reply else b"\x01\x00"
        self.transport.sendto(b"\x81\x0a" + length + npci + data, self.device)

    async def next(self, within: float = 2.0) -> str:
        """The next APDU that came, in hex."""
        async with asyncio.timeout(within):
            data = await self.came.get()
        assert data[:2] == b"\x81\x0a"
        assert int.from_bytes(data[2:4], "big") == len(data)
        assert data[4] == 1
        assert data[5] & 0xF8 == 0
        return data[6:].hex(" ")

    async def ask(self, apdu: str) -> str:
        self.send(apdu)
        return await self.next()

    async def silent(self, seconds: float = 0.15) -> bool:
        await asyncio.sleep(seconds)
        return self.came.empty()


async def _connect(device: tuple[str, int], host: str = "127.0.0.1") -> Peer:
    _, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Peer(device), local_addr=(host, 0)
    )
    return peer


@pytest.fixture
def store() -> Store:
    store = Store()
    store.add(
        Point(
            "heat-1.flow-temperature",
            "heat-1",
            Kind.NUMBER,
            "degrees-celsius",
            description="Flow",
            source="heat-1, 0A 5A",
            instance=1,
            cov_increment=Decimal("0.5"),
        ),
        Reading(Decimal("21.5"), 1_000.0, None),
    )
    store.add(
        Point("heat-1.answering", "heat-1", Kind.BOOLEAN, instance=1), Reading(True, 1_000.0, None)
    )
    return store


@pytest.fixture
async def device(store: Store) -> AsyncIterator[BacnetDevice]:
    settings = DeviceSettings(1234, "Building A", port=0, most_subscriptions=500)
    device = BacnetDevice(settings, store, Ledger(None))
    await device.start()
    yield device
    await device.stop()


@pytest.fixture
async def peer(device: BacnetDevice) -> AsyncIterator[Peer]:
    peer = await _connect(device.address)
    yield peer
    peer.transport.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[tuple[str, int]], Awaitable[Peer]]]:
    """A function that makes peers of a device; they are closed in the end."""
    peers: list[Peer] = []

    async def make(device: tuple[str, int]) -> Peer:
        peers.append(await _connect(device))
        return peers[-1]

    yield make
    for each in peers:
        each.transport.close()
