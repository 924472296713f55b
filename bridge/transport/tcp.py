"""A transparent gateway: the bytes of the bus over a TCP connection."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from bridge.transport.base import Inbox, TransportLostError, TransportOpenError

CONNECT_TIMEOUT = 10.0  # seconds; a gateway behind a mobile network needs some of them

# A gateway that loses its power says nothing. After 20 s of quiet the kernel asks it, and gives
# up after three questions without an answer; what was sent must be acknowledged within 20 s.
_KEEPALIVE_IDLE = 20  # seconds
_KEEPALIVE_INTERVAL = 5  # seconds
_KEEPALIVE_COUNT = 3
_USER_TIMEOUT = 20_000  # milliseconds

_CLOSED = "the gateway has closed the connection"


class TcpTransport:
    """A connection to ``host:port``. One client at a time is what most gateways take."""

    def __init__(
        self, name: str, host: str, port: int, *, connect_timeout: float = CONNECT_TIMEOUT
    ) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._connect_timeout = connect_timeout
        self._inbox = Inbox(name)
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        return self._name

    async def open(self) -> None:
        await self.close()
        # Before, not after: a gateway may speak, or hang up, the moment it has accepted.
        self._inbox.reset()
        try:
            self._connection = await connect(
                self._name,
                self._host,
                self._port,
                timeout=self._connect_timeout,
                received=self._inbox.put,
                lost=self._inbox.lose,
            )
        except BaseException:
            self._inbox.lose("the port is not open")
            raise

    async def write(self, data: bytes) -> None:
        self._inbox.check()
        if self._connection is None:
            raise TransportLostError(self._name, "the port is not open")
        self._connection.write(data)

    async def read(self) -> bytes:
        return await self._inbox.read()

    def discard_input(self) -> bytes:
        return self._inbox.take()

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._inbox.lose("the port is closed")


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

    def close(self) -> None:
        self._closed = True
        if self.transport is not None:
            # Not close(): that one waits for a peer that may never take the last bytes.
            self.transport.abort()


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

    Raises:
        TransportOpenError: none does; the message tells a refusal from silence and so on.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout):
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            failure: OSError | None = None
            # One by one: create_connection would fold the errors of several addresses into one
            # text that nobody can tell apart.
            for address in dict.fromkeys(info[4][0] for info in infos):
                try:
                    _, connection = await loop.create_connection(
                        lambda: Connection(received, lost), str(address), port
                    )
                except OSError as error:
                    failure = error
                    continue
                _set_options(connection)
                return connection
    except TimeoutError:
        raise TransportOpenError(
            name,
            f"{host} does not answer within {timeout:g} s",
            "Is it switched on and its address right? A firewall on the way also looks like this",
        ) from None
    except socket.gaierror as error:
        raise TransportOpenError(
            name,
            f"the name {host} cannot be resolved ({error.strerror})",
            "Check the spelling and the DNS server, or write the IP address",
        ) from None
    raise _open_error(name, host, port, failure or OSError("no address")) from None


def _set_options(connection: Connection) -> None:
    sock: socket.socket | None = (
        None if connection.transport is None else connection.transport.get_extra_info("socket")
    )
    if sock is None:
        return  # it has hung up already; the first read will say so
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
