"""A transparent gateway: the bytes of the bus over a TCP connection."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from bridge.transport.base import (
    Inbox,
    Line,
    Parity,
    Received,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.pace import Pace
from bridge.transport.thread import in_thread

CONNECT_TIMEOUT = 10.0  # seconds; a gateway behind a mobile network needs some of them

# A name may have several addresses. If the first is dead, the next is tried beside it after a
# while (RFC 8305); not after its 250 ms, because a slow gateway that takes one client at a time
# must not see a second connection while it accepts the first.
_NEXT_ADDRESS = 2.0  # seconds

# A gateway that loses its power says nothing. After 20 s of quiet the kernel asks it, and gives
# up after three questions without an answer; what was sent must be acknowledged within 20 s.
_KEEPALIVE_IDLE = 20  # seconds
_KEEPALIVE_INTERVAL = 5  # seconds
_KEEPALIVE_COUNT = 3
_USER_TIMEOUT = 20_000  # milliseconds

_CLOSED = "the gateway has closed the connection"
_READ_SIZE = 65536

# Where Linux has the round trip in its struct tcp_info (linux/tcp.h): tcpi_rtt and tcpi_rttvar,
# both in microseconds.
_TCP_INFO_RTT = struct.Struct("=68xII")


class NetworkTransport:
    """What all ports behind a TCP connection have in common; `open` is each one's own.

    Args:
        name: the port as the user wrote it.
        host: name or address of the gateway.
        port: TCP port, 1 to 65535.
        line: how the wire behind the gateway is spoken.
        connect_timeout: seconds, for each step to a gateway: its name, the connection, settings.
    """

    def __init__(
        self, name: str, host: str, port: int, line: Line, *, connect_timeout: float
    ) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._line = line
        self._connect_timeout = connect_timeout
        self._inbox = Inbox(name)
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def line(self) -> Line:
        return self._line

    @property
    def round_trip(self) -> float | None:
        return None if self._connection is None else self._connection.round_trip

    @property
    def pace(self) -> Pace:
        return self._inbox.pace

    async def _connect(self) -> Connection:
        """Connect; what comes goes into `_received`.

        Raises:
            TransportOpenError: that cannot be done.
        """
        await self.close()
        # Before, not after: a gateway may speak, or hang up, the moment it has accepted.
        self._inbox.reset()
        try:
            self._connection = await connect(
                self._name,
                self._host,
                self._port,
                timeout=self._connect_timeout,
                received=self._received,
                lost=self._lost,
            )
        except BaseException:
            self._inbox.lose("the port is not open")
            raise
        return self._connection

    def _received(self, data: bytes) -> None:
        self._inbox.put(data)

    def _lost(self, problem: str) -> None:
        self._inbox.lose(problem)

    def _connected(self) -> Connection:
        self._inbox.check()
        if self._connection is None:
            raise TransportLostError(self._name, "the port is not open")
        return self._connection

    async def write(self, data: bytes) -> None:
        self._connected().write(data)

    async def read(self, *, not_before: float | None = None) -> Received:
        if not_before is not None and not self._inbox:
            await self._connected().rest(not_before)
            received = self.discard_input()
            if received.data:
                return received
        return await self._inbox.read()

    def discard_input(self) -> Received:
        if self._connection is not None:
            self._connection.pull()
        return self._inbox.take()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lost("the port is closed")


class TcpTransport(NetworkTransport):
    """A connection to ``host:port``. One client at a time is what most gateways take.

    Args:
        name: the port as the user wrote it.
        host: name or address of the gateway.
        port: TCP port, 1 to 65535.
        baudrate: what the gateway is set to, as the user says; nothing here can see or change it.
        parity: likewise. Characters whose parity is wrong are the gateway's secret.
        connect_timeout: seconds for the lookup of a name, and once more for the connection.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        baudrate: int = 2400,
        parity: Parity = "even",
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        super().__init__(name, host, port, Line(baudrate, parity), connect_timeout=connect_timeout)

    @property
    def guards_parity(self) -> bool:
        return False

    async def open(self) -> None:
        await self._connect()

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        self._connected()
        if Line(baudrate, parity) != self._line:
            raise TransportLineError(
                self._name,
                f"a transparent gateway cannot be switched to {baudrate} baud, parity {parity}",
                "Give all meters of this bus the line that the gateway is set to, or let the "
                "gateway speak RFC 2217 and write rfc2217:// in place of tcp://",
            )


class Connection(asyncio.Protocol):
    """Hands bytes on as they come. What comes after `close` is nobody's."""

    def __init__(self, received: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        self._received = received
        self._lost = lost
        self.transport: asyncio.Transport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._closed:
            self._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self._lost(_CLOSED if exc is None else f"the connection broke: {exc}")

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    async def rest(self, until: float) -> None:
        """Leave what comes to the kernel, up to a time of the loop's clock."""
        if self.transport is not None:
            self.transport.pause_reading()
        try:
            await asyncio.sleep(until - asyncio.get_running_loop().time())
        finally:
            if self.transport is not None:
                self.transport.resume_reading()

    def pull(self) -> None:
        """Hand on what the kernel has already and the loop has not seen yet."""
        transport = self.transport
        if transport is None or self._closed or transport.is_closing():
            return
        try:
            data = os.read(transport.get_extra_info("socket").fileno(), _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.connection_lost(error)
            transport.abort()
            return
        if data:  # else the other side has closed; the loop will see that as well
            self._received(data)

    @property
    def round_trip(self) -> float | None:
        """Seconds: the smoothed round trip and four times its variation; None if unknown."""
        if self.transport is None or self._closed or not hasattr(socket, "TCP_INFO"):
            return None
        sock = self.transport.get_extra_info("socket")
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_RTT.size)
        except OSError:  # it is being closed
            return None
        if len(info) < _TCP_INFO_RTT.size:
            return None
        smoothed, variation = _TCP_INFO_RTT.unpack(info)
        return (smoothed + 4 * variation) / 1e6 if smoothed else None

    def close(self) -> None:
        self._closed = True
        if self.transport is not None:
            # Not close(): that one waits for a peer that may never take the last bytes.
            self.transport.abort()


_Address = tuple[socket.AddressFamily, Any]  # what a socket is made of, what it connects to


async def connect(
    name: str,
    host: str,
    port: int,
    *,
    timeout: float,
    received: Callable[[bytes], None],
    lost: Callable[[str], None],
) -> Connection:
    """Connect to the first address of ``host`` that accepts.

    ``timeout`` is in seconds, for the lookup of a name and once more for the connection.

    Raises:
        TransportOpenError: none does; the message tells a refusal from silence and so on.
    """
    try:
        async with asyncio.timeout(timeout):
            addresses = await _resolve(host, port)
    except TimeoutError:
        raise TransportOpenError(
            name,
            f"the name {host} cannot be resolved in time ({timeout:g} s)",
            "Does the DNS server of this machine answer? The IP address in its place needs none",
        ) from None
    except socket.gaierror as error:
        raise TransportOpenError(
            name,
            f"the name {host} cannot be resolved ({error.strerror})",
            "Check the spelling and the DNS server, or write the IP address",
        ) from None
    try:
        async with asyncio.timeout(timeout):
            sock = await _first_to_accept(addresses, min(_NEXT_ADDRESS, timeout / len(addresses)))
    except TimeoutError:
        raise TransportOpenError(
            name,
            f"{host} does not answer within {timeout:g} s",
            "Is it switched on and its address right? A firewall on the way also looks like this",
        ) from None
    except OSError as error:
        raise _open_error(name, host, port, error) from None
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(received, lost), sock=sock
        )
    except BaseException:
        sock.close()
        raise
    return connection


async def _resolve(host: str, port: int) -> list[_Address]:
    """The addresses of ``host``, at least one.

    Raises:
        socket.gaierror: it has none.
    """
    find = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        # An address is taken as it is: this asks no server and cannot wait.
        infos = find(flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
    except UnicodeError:
        # Python encodes the name before it asks anybody, and so finds an empty or overlong part.
        raise socket.gaierror(socket.EAI_NONAME, "it is no host name") from None
    except socket.gaierror:
        infos = await in_thread(find)
    return list(dict.fromkeys((info[0], info[4]) for info in infos))


async def _first_to_accept(addresses: Iterable[_Address], pause: float) -> socket.socket:
    """Try one address after the other, each ``pause`` seconds after the one before or on its end.

    Raises:
        OSError: none accepts; that of the last one, but rather a refusal: somebody is there.
    """
    left = deque(addresses)
    attempts: list[asyncio.Task[socket.socket]] = []
    running: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("no address")
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while left or running:
            if left:
                attempts.append(asyncio.create_task(_connect_socket(*left.popleft())))
                running.add(attempts[-1])
            done, running = await asyncio.wait(
                running, timeout=pause if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    winner = attempt
                    return attempt.result()
                if not isinstance(error, OSError):
                    raise error
                if not isinstance(failure, ConnectionRefusedError):
                    failure = error
    finally:
        for attempt in attempts:
            attempt.cancel()
        for attempt, end in zip(
            attempts, await asyncio.gather(*attempts, return_exceptions=True), strict=True
        ):
            if attempt is not winner and isinstance(end, socket.socket):
                end.close()
    raise failure


async def _connect_socket(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        _set_options(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT),
    ):
        if hasattr(socket, option):  # not every POSIX system has them all
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _open_error(name: str, host: str, port: int, error: OSError) -> TransportOpenError:
    if error.errno == errno.ECONNREFUSED:
        return TransportOpenError(
            name,
            f"{host} refuses connections to port {port}",
            "Is the port number right, the gateway in TCP server mode, and no other client "
            "connected? Most gateways take one at a time",
        )
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN):
        return TransportOpenError(
            name,
            f"{host} cannot be reached ({error.strerror})",
            "Check the address, the netmask and the default route of this machine, and the cable "
            "of the gateway",
        )
    return TransportOpenError(
        name, f"no connection to {host} port {port} ({error})", "Check the address and the network"
    )
