"""What every port to a bus can do, whatever it is made of."""

from __future__ import annotations

import asyncio
from typing import Protocol

from bridge.errors import BridgeError


class TransportError(BridgeError):
    """Root of everything that this floor raises."""


class TransportOpenError(TransportError):
    """A port cannot be opened. The message says what is wrong, where, and what to do.

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

    async def open(self) -> None:
        """Open the port; what came before is forgotten.

        Raises:
            TransportOpenError: it cannot be opened; the message says what to do.
        """

    async def write(self, data: bytes) -> None:
        """Hand bytes to the port. Returns when the port has them, not when the wire had them.

        Raises:
            TransportLostError: the port is gone.
        """

    async def read(self) -> bytes:
        """Wait for bytes; at least one. Cancelled, it loses nothing.

        Raises:
            TransportLostError: the port is gone, and what came before was read.
        """

    def discard_input(self) -> bytes:
        """Take what has come already, without waiting; empty where nothing has."""

    async def close(self) -> None:
        """Close the port, at once. Closing a closed one does nothing."""


class Inbox:
    """The bytes that have come and wait for the one reader.

    A line that babbles while nobody reads must not fill the memory of a gateway: beyond ``limit``
    bytes the oldest are forgotten. An M-Bus answer has 261 bytes at most.
    """

    def __init__(self, port: str, *, limit: int = 65536) -> None:
        self._port = port
        self._limit = limit
        self._bytes = bytearray()
        self._lost: TransportLostError | None = TransportLostError(port, "the port is not open")
        self._reader: asyncio.Future[None] | None = None

    def reset(self) -> None:
        """The port was opened: from now on bytes come."""
        self._bytes.clear()
        self._lost = None

    def put(self, data: bytes) -> None:
        self._bytes += data
        if len(self._bytes) > self._limit:
            del self._bytes[: -self._limit]
        self._wake()

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

    async def read(self) -> bytes:
        while not self._bytes:
            self.check()
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def take(self) -> bytes:
        data = bytes(self._bytes)
        self._bytes.clear()
        return data

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
