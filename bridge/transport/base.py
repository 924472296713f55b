"""What every port to a bus can do, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from bridge.errors import BridgeError
from bridge.transport.pace import Pace

Parity = Literal["even", "none"]


class Line(NamedTuple):
    """How the wire is spoken: ``baudrate`` 300 to 38400, 8 data bits, 1 stop bit."""

    baudrate: int
    parity: Parity


class Received(NamedTuple):
    """Bytes of the bus; ``broken`` are the positions, in order, of those that came with a parity or
    framing error, as far as the port tells."""

    data: bytes
    broken: tuple[int, ...] = ()


class TransportError(BridgeError):
    """Root of everything that this floor raises."""


class _RemediableError(TransportError):
    """What the user can do something about. The message says what is wrong, where, and what to do.

    Attributes:
        port: the port as the user wrote it.
        problem: what is wrong.
        remedy: what can be done about it.
    """

    def __init__(self, port: str, problem: str, remedy: str) -> None:
        super().__init__(f"{port}: {problem}. {remedy}")
        self.port = port
        self.problem = problem
        self.remedy = remedy


class TransportOpenError(_RemediableError):
    """A port cannot be opened."""


class TransportLineError(_RemediableError):
    """A port cannot be switched to another baud rate or parity; it is as it was, and open."""


class TransportLostError(TransportError):
    """A port that was open is gone: unplugged, closed by the other side, or never opened."""

    def __init__(self, port: str, problem: str) -> None:
        super().__init__(f"{port}: {problem}")
        self.port = port
        self.problem = problem


class Transport(Protocol):
    """A port to a bus: bytes go out, bytes come in. Belongs to one event loop and one reader.

    A port can be opened again after it was lost or closed.
    """

    @property
    def name(self) -> str:
        """The port as the user wrote it, for messages."""

    @property
    def line(self) -> Line:
        """How the wire is spoken now. Behind a transparent gateway, as the user says it is."""

    @property
    def guards_parity(self) -> bool:
        """Whether each character with a wrong parity is marked as broken, now."""

    @property
    def round_trip(self) -> float | None:
        """Seconds that the network takes there and back: the kernel's smoothed estimate and four
        times its variation, which few of them exceed (RFC 6298, 2). None without a network, while
        the port is not open, and where the system does not tell.

        An acknowledgement that the gateway delays (up to 0.2 s with most) is part of it.
        """

    @property
    def pace(self) -> Pace:
        """How bytes come; a new one with each opening."""

    async def open(self) -> None:
        """Open the port, its line as it was made; what came before is forgotten.

        Raises:
            TransportOpenError: it cannot be opened; the message says what to do.
        """

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        """Speak otherwise from now on: once what was written has left, as far as the port knows.

        Raises:
            TransportLineError: the port cannot, as a transparent gateway; the line is as it was.
            TransportLostError: the port is gone.
        """

    async def write(self, data: bytes) -> None:
        """Hand bytes to the port. Returns when the port has them, not when the wire had them.

        Raises:
            TransportLostError: the port is gone.
        """

    async def read(self, *, not_before: float | None = None) -> Received:
        """Wait for bytes; at least one. Cancelled, it loses nothing.

        Args:
            not_before: a time of the loop's clock until which nothing is wanted. Bytes wait in
                the kernel, and nobody is woken for each lot of them; the loss of the port is
                noticed then at the latest.

        Raises:
            TransportLostError: the port is gone, and what came before was read.
        """

    def discard_input(self) -> Received:
        """Take what has come already, without waiting; empty where nothing has."""

    async def close(self) -> None:
        """Close the port, at once. Closing a closed one does nothing."""


class Inbox:
    """The bytes that have come and wait for the one reader.

    A line that babbles while nobody reads must not fill the memory of a gateway: beyond ``limit``
    bytes the oldest are forgotten. An M-Bus answer has 261 bytes at most.
    """

    def __init__(self, port: str, *, limit: int = 65536) -> None:
        self.pace = Pace()
        self._port = port
        self._limit = limit
        self._bytes = bytearray()
        self._broken: list[int] = []  # positions in ``_bytes``
        self._lost: TransportLostError | None = TransportLostError(port, "the port is not open")
        self._reader: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._bytes)

    def reset(self) -> None:
        """The port was opened: from now on bytes come."""
        self.pace = Pace()
        self._clear()
        self._lost = None

    def put(self, data: bytes, broken: Sequence[int] = ()) -> None:
        """Bytes have come; ``broken`` are positions in ``data``."""
        self._broken += [len(self._bytes) + position for position in broken]
        self._bytes += data
        surplus = len(self._bytes) - self._limit
        if surplus > 0:
            del self._bytes[:surplus]
            self._broken = [each - surplus for each in self._broken if each >= surplus]
        self._wake()

    def spoil(self) -> None:
        """All that waits is broken."""
        self._broken = list(range(len(self._bytes)))

    def lose(self, problem: str) -> None:
        """The port is gone; only the first reason counts."""
        if self._lost is None:
            self._lost = TransportLostError(self._port, problem)
        self._wake()

    def check(self) -> None:
        """Raise TransportLostError where the port is gone."""
        if self._lost is not None:
            # A new one each time: an exception that is raised again drags its old traceback along.
            raise TransportLostError(self._lost.port, self._lost.problem)

    async def read(self) -> Received:
        while not self._bytes:
            self.check()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def take(self) -> Received:
        received = Received(bytes(self._bytes), tuple(self._broken))
        self._clear()
        return received

    def _clear(self) -> None:
        self._bytes.clear()
        self._broken.clear()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
