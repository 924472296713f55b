"""BACnet/IP's sockets (ASHRAE 135, annex J): bound once, exclusively, and released for sure.

bacpypes3 binds with SO_REUSEPORT and retries for ever, so that a second program on the port or an
address that does not exist go unnoticed. It also takes every datagram to 127.x.x.x on its own port
for one to itself. `UdpServer` stands in the place of its datagram server.
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import logging
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from bacpypes3.comm import Server, bind
from bacpypes3.ipv4.bvll import BVLLCodec
from bacpypes3.ipv4.service import BIPForeign, BIPNormal, UDPMultiplexer
from bacpypes3.pdu import PDU, IPv4Address, LocalBroadcast, LocalStation

from bridge.bacnet.errors import AddressError, BacnetError, NotOurAddressError, PortTakenError

logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 47808

# An NPDU of 1497 octets (ASHRAE 135, table 6-1) and the longest header of a BVLC message that
# carries one, Forwarded-NPDU's. UDP would bring 65 507, and work for seconds in one of them.
LONGEST_DATAGRAM: Final = 1497 + 10
# Datagrams that wait to be worked off. A burst beyond that is a flood: its rest is dropped, as any
# UDP receiver may do, and counted.
MOST_IN_PROCESS: Final = 1000
# The kernel's default holds some 277 small datagrams, a tenth of a second of a busy head-end.
RECEIVE_BUFFER: Final = 1 << 20

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_SIOCGIFNETMASK = 0x891B


def parse_interface(text: str) -> ipaddress.IPv4Interface:
    """An address of this machine with its subnet, from "192.168.1.10/24" or "192.168.1.10".

    Without a prefix length it is asked of the operating system.

    Raises:
        AddressError: the text is no IPv4 address, or the prefix length cannot be found out.
        NotOurAddressError: no interface has the address.
    """
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise AddressError(
            f"{text!r} is no IPv4 address with a prefix length, as 192.168.1.10/24"
        ) from error
    if interface.ip == ipaddress.IPv4Address(0):
        raise AddressError(
            "a BACnet device needs the one address that its broadcasts come from; 0.0.0.0 is "
            "none: write the address of the interface, as 192.168.1.10/24"
        )
    if "/" in text:
        return interface
    if interface.ip.is_loopback:
        return ipaddress.IPv4Interface(f"{interface.ip}/8")
    return ipaddress.IPv4Interface(f"{interface.ip}/{_netmask(interface.ip)}")


def parse_station(text: str) -> Any:
    """A station from "host" or "host:port".

    Raises:
        AddressError: it is neither.
    """
    host, _, port = text.partition(":")
    try:
        number = int(port) if port else DEFAULT_PORT
        if not 0 < number < 65_536:
            raise ValueError(text)
        return IPv4Address((str(ipaddress.IPv4Address(host)), number))
    except ValueError as error:
        raise AddressError(
            f"{text!r} is no address of a device: write it as 192.168.1.10 or 192.168.1.10:47808"
        ) from error


def _netmask(address: ipaddress.IPv4Address) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name[:15].encode())
            try:
                found = fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24]
                if found == address.packed:
                    return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFNETMASK, request)[20:24])
            except OSError:
                continue  # an interface without an IPv4 address
    _bind(str(address), 0).close()  # says so where the address is not ours at all
    raise AddressError(f"write the prefix length too, as {address}/24: it cannot be found out")


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A non-blocking UDP socket.

    Raises:
        PortTakenError, NotOurAddressError, BacnetError: see their messages.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        match error.errno:
            case errno.EADDRINUSE:
                raise PortTakenError(host, port) from error
            case errno.EADDRNOTAVAIL:
                raise NotOurAddressError(host) from error
            case errno.EACCES:
                raise BacnetError(
                    f"UDP port {port} of {host} may not be used without rights; choose a port "
                    "above 1023 (47808 is BACnet's)"
                ) from error
        raise BacnetError(f"UDP port {port} of {host} cannot be used: {error}") from error
    return bound


@dataclass(frozen=True, slots=True)
class Sockets:
    """Bound sockets: ours alone, and those that hear broadcasts together with other programs."""

    unicast: socket.socket
    broadcast: tuple[socket.socket, ...]
    interface: ipaddress.IPv4Interface
    broadcast_to: tuple[str, int] | None

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.unicast.getsockname()
        return host, port

    def close(self) -> None:
        for bound in (self.unicast, *self.broadcast):
            bound.close()


def bind_device(interface: ipaddress.IPv4Interface, port: int) -> Sockets:
    """The sockets of a device. Port 0 takes any free one.

    Raises:
        PortTakenError: another program has the port.
        NotOurAddressError: no interface has the address.
        BacnetError: the operating system refuses for another reason.
    """
    unicast = _bind(str(interface.ip), port)
    port = unicast.getsockname()[1]
    if interface.network.prefixlen >= 31:  # a link without broadcasts
        return Sockets(unicast, (), interface, None)
    to = (str(interface.network.broadcast_address), port)
    try:
        # Shared: every device of this machine in the same subnet must hear a broadcast. The
        # kernel gives it to each of them; the unicast socket remains ours alone.
        broadcast = _bind(*to, shared=True)
    except BacnetError:
        unicast.close()
        raise
    return Sockets(unicast, (broadcast,), interface, to)


def bind_client(interface: ipaddress.IPv4Interface, port: int = DEFAULT_PORT) -> Sockets:
    """The sockets of a client: any free port, and an ear for I-Am that come as a broadcast.

    Raises:
        NotOurAddressError: no interface has the address.
        BacnetError: the operating system refuses for another reason.
    """
    unicast = _bind(str(interface.ip), 0)
    if interface.network.prefixlen >= 31:
        return Sockets(unicast, (), interface, None)
    to = (str(interface.network.broadcast_address), port)
    try:
        return Sockets(unicast, (_bind(*to, shared=True),), interface, to)
    except BacnetError as error:
        # A program that does not share it. Most devices answer to our own port anyway.
        logger.debug("broadcasts are not heard: %s", error)
        return Sockets(unicast, (), interface, to)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, server: UdpServer, destination: Any) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server = server
        self._destination = destination

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.received(data, addr, self._destination)

    def error_received(self, exc: Exception) -> None:
        # ICMP's "nobody there", or a network that is down. Who waits for an answer has a timer.
        logger.debug("a datagram could not be delivered: %s", exc)

    def connection_lost(self, exc: Exception | None) -> None:
        logger.debug("socket closed: %s", exc or "as asked")
        if not self.closed.done():
            self.closed.set_result(None)


class UdpServer(Server):
    """Carries datagrams between the sockets and bacpypes3's layers."""

    def __init__(self, sockets: Sockets) -> None:
        super().__init__()
        self.address = sockets.address
        self.dropped = 0  # datagrams that are too long, or came while too many were waiting
        self.failed = 0  # datagrams that ended in an exception
        self._sockets = sockets
        self._receivers: list[_Receiver] = []
        self._transports: list[asyncio.DatagramTransport] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._reported: set[str] = set()

    async def open(self) -> None:
        """Begin to listen."""
        local = IPv4Address(self.address)
        for bound in (self._sockets.unicast, *self._sockets.broadcast):
            destination = local if bound is self._sockets.unicast else LocalBroadcast()
            await self._listen(bound, _Receiver(self, destination))

    async def _listen(self, bound: socket.socket, receiver: _Receiver) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: receiver, sock=bound)
        self._transports.append(transport)
        self._receivers.append(receiver)

    async def close(self) -> None:
        """Release the sockets. Afterwards the port is free."""
        for transport in self._transports:
            transport.close()
        for task in self._tasks:
            task.cancel()
        for receiver in self._receivers:
            await receiver.closed
        self._sockets.close()
        self._transports.clear()

    def received(self, data: bytes, addr: tuple[str, int], destination: Any) -> None:
        if addr == self.address:
            return  # our own broadcast
        if len(data) > LONGEST_DATAGRAM or len(self._tasks) >= MOST_IN_PROCESS:
            self.dropped += 1
            return
        pdu = PDU(data, source=IPv4Address(addr), destination=destination)
        task = asyncio.get_running_loop().create_task(self.response(pdu))
        self._tasks.add(task)
        task.add_done_callback(self._worked_off)

    def _worked_off(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        self.failed += 1
        # Whoever sends rubbish can send a lot of it: each sort is told once.
        sort = f"{type(error).__name__}: {error}"[:80]
        level = logging.DEBUG if sort in self._reported else logging.WARNING
        if len(self._reported) < 100:
            self._reported.add(sort)
        logger.log(
            level,
            "a datagram made no sense (%s)",
            sort,
            exc_info=error if level > logging.DEBUG else None,
        )

    async def indication(self, pdu: Any) -> None:
        """Send a datagram down to the wire."""
        if not self._transports or self._transports[0].is_closing():
            return
        destination = pdu.pduDestination
        if isinstance(destination, LocalBroadcast):
            if self._sockets.broadcast_to is None:
                return
            to = self._sockets.broadcast_to
        elif isinstance(destination, IPv4Address):
            to = destination.addrTuple
        elif isinstance(destination, LocalStation):
            to = IPv4Address(destination).addrTuple
        else:
            raise TypeError(f"no place to send to: {destination!r}")
        self._transports[0].sendto(bytes(pdu.pduData), to)


class NormalLink(BIPNormal):
    """The virtual link layer of a device in the BMS's own subnet."""

    def __init__(self, server: UdpServer) -> None:
        super().__init__()
        _stack_up(self, server)


class ForeignLink(BIPForeign):
    """The virtual link layer of a device that a BBMD forwards broadcasts to (J.5)."""

    def __init__(self, server: UdpServer, bbmd: str, ttl: int) -> None:
        super().__init__()
        _stack_up(self, server)
        self.register(IPv4Address(bbmd), ttl)

    async def end(self) -> None:
        """Give up the registration, and every timer with it."""
        self.unregister()
        for handle in (
            self._registration_handle,
            self._registration_timeout_handle,
            self._reregistration_timeout_handle,
        ):
            if handle is not None:
                handle.cancel()
        # The library tells the BBMD in a task of its own, which needs a turn before the socket
        # goes.
        await asyncio.sleep(0)


def _stack_up(link: Any, server: UdpServer) -> None:
    multiplexer = UDPMultiplexer()
    bind(link, BVLLCodec(), multiplexer.annexJ)
    bind(multiplexer, server)
