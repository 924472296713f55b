"""A simulated bus where a master finds one: behind a TCP gateway, or at a serial port.

The clock is the event loop's. An answer's characters are handed out in small lots while they come
in, against absolute times; the last one exactly when the wire would have delivered it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import termios
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from bridge.sim.bus import SimulatedBus
from bridge.sim.errors import SimError

# Seconds between two lots while characters come in; converters make as much or more of it.
PACE_SECONDS = 0.004

# asyncio wakes up to this much late (epoll counts whole milliseconds), and a last character must
# not be late: the drive wakes earlier, and lets the loop turn until it is time.
EARLY_SECONDS = 0.0011

_READ_SIZE = 4096

_SPEEDS = {
    termios.B300: 300,
    termios.B600: 600,
    termios.B1200: 1200,
    termios.B2400: 2400,
    termios.B4800: 4800,
    termios.B9600: 9600,
    termios.B19200: 19200,
    termios.B38400: 38400,
}
_SPEED_CODES = {baudrate: code for code, baudrate in _SPEEDS.items()}

Clients = Literal["one", "newest", "shared"]


class BusServer(Protocol):
    """What `serve_tcp` and `serve_pty` have in common."""

    async def unplug(self) -> None:
        """Drop every connection, and be gone."""

    async def plug(self) -> None:
        """Be there again, at the same place."""

    async def close(self) -> None:
        """End for good."""


class _Drive:
    """Moves bytes between a bus and whoever is connected, in time."""

    def __init__(
        self,
        bus: SimulatedBus,
        deliver: Callable[[bytes], None],
        drop: Callable[[], None],
        pace: float,
        early: float,
    ) -> None:
        self._bus = bus
        self._deliver = deliver
        self._drop = drop
        self._pace = pace
        self._early = early
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._taken_at = self._loop.time()

    def receive(self, data: bytes) -> None:
        """The master's bytes have come to the converter."""
        self._bus.receive(data, self._loop.time())
        self._schedule()

    def stop(self) -> None:
        """Wake no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        self.stop()
        due = self._bus.due(self._taken_at, self._pace)
        if due is None:
            return
        at, exact = due
        if exact:
            self._handle = self._loop.call_at(at - self._early, self._turn, at)
        else:
            self._handle = self._loop.call_at(at, self._work)

    def _turn(self, at: float) -> None:
        """A last character is there at ``at``: now, or in a moment."""
        if self._loop.time() < at:
            self._handle = self._loop.call_soon(self._turn, at)
        else:
            self._work()

    def _work(self) -> None:
        now = self._taken_at = self._loop.time()
        if data := self._bus.take(now):
            self._deliver(data)
        if self._bus.take_drop(now):
            self._drop()
        self._schedule()


class _Delay:
    """Hands items on after a fixed time, in their order."""

    def __init__(self, seconds: float, hand_on: Callable[[bytes], None]) -> None:
        self._seconds = seconds
        self._hand_on = hand_on
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[bytes] = deque()

    def put(self, data: bytes) -> None:
        if not self._seconds:
            self._hand_on(data)
            return
        self._under_way.append(data)
        self._loop.call_later(self._seconds, self._arrive)

    def _arrive(self) -> None:
        # Timers of one instant may come in any order; the items behind them do not.
        if self._under_way:
            self._hand_on(self._under_way.popleft())

    def clear(self) -> None:
        """What is under way is lost."""
        self._under_way.clear()


class _Client(asyncio.Protocol):
    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self.transport: asyncio.Transport | None = None
        self._inward = _Delay(server.latency, server.from_client)
        self._outward = _Delay(server.latency, self._write)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        if self in self._server.clients:
            self._inward.put(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.transport = None
        self._inward.clear()
        self._outward.clear()
        self._server.left(self)

    def deliver(self, data: bytes) -> None:
        self._outward.put(data)

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class TcpServer:
    """A transparent gateway: what a client sends goes to the bus, what the bus says to the client.

    Made by `serve_tcp`. ``port`` is the port it listens on, and keeps while unplugged; ``clients``
    are those connected; ``refused`` counts those that were one too many.
    """

    def __init__(
        self,
        bus: SimulatedBus,
        host: str,
        port: int,
        latency: float,
        policy: Clients,
        pace: float,
        early: float,
    ) -> None:
        self.bus = bus
        self.host = host
        self.port = port
        self.latency = latency
        self.refused = 0
        self.clients: list[_Client] = []
        self._policy = policy
        self._drive = _Drive(bus, self._deliver, self.drop_connections, pace, early)
        self._server: asyncio.Server | None = None
        self._silent = False

    @property
    def url(self) -> str:
        """What a master opens."""
        return f"tcp://{self.host}:{self.port}"

    async def plug(self) -> None:
        """Listen; after `unplug`, at the same port as before.

        Raises:
            SimError: the port is taken, or not ours to take.
        """
        self._silent = False
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Client(self), self.host, self.port)
        except OSError as error:
            raise SimError(
                f"cannot listen on {self.host}:{self.port}: {error.strerror or error}; "
                "choose another port, or 0 for a free one"
            ) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def unplug(self, *, silent: bool = False) -> None:
        """Drop every connection and listen no more, until `plug`.

        Args:
            silent: nothing is dropped and nobody is told, as with a cable pulled elsewhere: bytes
                of both directions are lost.
        """
        if silent:
            self._silent = True
            return
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.drop_connections()
        await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    async def close(self) -> None:
        """End for good."""
        await self.unplug()
        self._drive.stop()
        self.bus.is_served = False

    def drop_connections(self) -> None:
        """Drop every connection; clients may come again at once."""
        gone, self.clients = self.clients, []
        for client in gone:
            client.abort()

    def joined(self, client: _Client) -> None:
        """A client has connected."""
        if self.clients and self._policy == "one":
            self.refused += 1
            client.abort()
            return
        if self._policy == "newest":
            self.drop_connections()
        self.clients.append(client)

    def left(self, client: _Client) -> None:
        """A client is gone."""
        if client in self.clients:
            self.clients.remove(client)

    def from_client(self, data: bytes) -> None:
        """A client's bytes have arrived, latency and all."""
        if not self._silent:
            self._drive.receive(data)

    def _deliver(self, data: bytes) -> None:
        if not self._silent:
            for client in self.clients:
                client.deliver(data)


class PtyServer:
    """A level converter at a serial port.

    Made by `serve_pty`. ``path`` is what a master opens; it stays the same when the port was
    unplugged and is there again. Linux pseudo terminals have no parity: masters use 8N1.
    """

    def __init__(
        self, bus: SimulatedBus, path: Path | None, follow: bool, pace: float, early: float
    ) -> None:
        self.bus = bus
        self._directory = None if path is not None else Path(tempfile.mkdtemp(prefix="mbus-"))
        self.path = path if path is not None else Path(str(self._directory)) / "port"
        self.lost = 0  # bytes that nobody read while the port's buffer was full
        self._follow = follow
        self._drive = _Drive(bus, self._deliver, self._drop, pace, early)
        self._loop = asyncio.get_running_loop()
        self._ends: tuple[int, int] | None = None

    async def plug(self) -> None:
        """Make the port; after `unplug`, at the same path as before.

        Raises:
            SimError: the path is taken, or cannot be made.
        """
        if self._ends is None:
            self._open()

    async def unplug(self) -> None:
        """Remove the port; who has it open reads an error or an end."""
        self._close()

    async def close(self) -> None:
        """End for good."""
        await self.unplug()
        self._drive.stop()
        self.bus.is_served = False
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _drop(self) -> None:
        """What a dropped connection is at a serial port: gone, and there again."""
        self._close()
        self._open()

    def _open(self) -> None:
        # Our end stays with us; holding theirs too keeps the port alive between two masters.
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        _set_speed(theirs, self.bus.baudrate)
        os.set_blocking(ours, False)
        try:
            self.path.symlink_to(os.ttyname(theirs))
        except OSError as error:
            os.close(ours)
            os.close(theirs)
            raise SimError(
                f"cannot make the port {self.path}: {error.strerror or error}; choose another path"
            ) from error
        self._ends = ours, theirs
        self._loop.add_reader(ours, self._readable, ours)

    def _close(self) -> None:
        if self._ends is None:
            return
        ours, theirs = self._ends
        self._ends = None
        self._loop.remove_reader(ours)
        os.close(theirs)
        os.close(ours)
        self.path.unlink(missing_ok=True)

    def _readable(self, ours: int) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(ours, _READ_SIZE)
            if self._follow:
                self._follow_speed(ours)
            self._drive.receive(data)

    def _follow_speed(self, ours: int) -> None:
        # Linux shows the master of the pair the speed that was set at the other end.
        baudrate = _SPEEDS.get(termios.tcgetattr(ours)[5])
        if baudrate is not None:
            self.bus.set_baudrate(baudrate)

    def _deliver(self, data: bytes) -> None:
        if self._ends is None:
            return
        written = 0
        with contextlib.suppress(BlockingIOError):
            written = os.write(self._ends[0], data)
        self.lost += len(data) - written


def _set_speed(descriptor: int, baudrate: int) -> None:
    attributes = termios.tcgetattr(descriptor)
    attributes[4] = attributes[5] = _SPEED_CODES[baudrate]
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)


async def serve_tcp(
    bus: SimulatedBus,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    latency: float = 0.0,
    clients: Clients = "one",
    pace: float = PACE_SECONDS,
    early: float = EARLY_SECONDS,
) -> TcpServer:
    """Put a bus behind a transparent TCP gateway.

    Args:
        bus: served by nobody else.
        host: where to listen.
        port: 0 for a free one, told by ``port`` of the result.
        latency: seconds that every byte takes in each direction, on top of the wire.
        clients: "one" closes the connection of a second client at once, as real gateways do;
            "newest" closes the first one's instead; "shared" lets all speak and hear.
        pace: seconds between two lots of an answer's bytes.
        early: seconds by which the event loop may wake late. So much earlier it is woken for the
            end of an answer, and turns until it is time; 0 for one that waits to the microsecond,
            as with `selectors.SelectSelector`, which suits many buses in one process.

    Raises:
        SimError: the port cannot be had, or the bus is served already.
    """
    _claim(bus)
    server = TcpServer(bus, host, port, latency, clients, pace, early)
    try:
        await server.plug()
    except SimError:
        bus.is_served = False
        raise
    return server


async def serve_pty(
    bus: SimulatedBus,
    path: Path | None = None,
    *,
    follow_baudrate: bool = True,
    pace: float = PACE_SECONDS,
    early: float = EARLY_SECONDS,
) -> PtyServer:
    """Put a bus at a pseudo terminal.

    Args:
        bus: served by nobody else.
        path: where to make the port (a symbolic link, which must not exist yet); None for one in a
            new directory, told by ``path`` of the result.
        follow_baudrate: the bus takes the baud rate that a master sets, as a real converter does.
        pace: seconds between two lots of an answer's bytes.
        early: seconds by which the event loop may wake late. So much earlier it is woken for the
            end of an answer, and turns until it is time; 0 for one that waits to the microsecond,
            as with `selectors.SelectSelector`, which suits many buses in one process.

    Raises:
        SimError: the path cannot be made, or the bus is served already.
    """
    _claim(bus)
    server = PtyServer(bus, path, follow_baudrate, pace, early)
    try:
        await server.plug()
    except SimError:
        await server.close()
        raise
    return server


def _claim(bus: SimulatedBus) -> None:
    if bus.is_served:
        raise SimError("this bus has its converter already; a second one needs a bus of its own")
    bus.is_served = True
