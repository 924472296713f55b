"""A level converter on a serial port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import grp
import logging
import os
import stat
import termios
from functools import partial
from typing import Literal

import serial
from serial.tools import list_ports

from bridge.transport.base import Inbox, TransportLostError, TransportOpenError
from bridge.transport.thread import in_thread

Parity = Literal["even", "none"]

_logger = logging.getLogger(__name__)

OPEN_TIMEOUT = 10.0  # seconds; a driver in good health needs milliseconds

_READ_SIZE = 4096
_GONE = "the port is gone: unplugged, or its driver was removed"


class SerialTransport:
    """A serial port with 8 data bits and 1 stop bit.

    Args:
        name: the device, as ``/dev/ttyUSB0``.
        baudrate: 300 to 38400.
        parity: ``even`` is the standard's (EN 13757-2, 5.4); ``none`` is for converters that want
            8N1, and for pseudo terminals, which have no parity.
        open_timeout: seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        baudrate: int = 2400,
        parity: Parity = "even",
        open_timeout: float = OPEN_TIMEOUT,
    ) -> None:
        self._name = name
        self._baudrate = baudrate
        self._parity: Parity = parity
        self._open_timeout = open_timeout
        self._inbox = Inbox(name)
        self._opening: asyncio.Future[serial.Serial] | None = None
        self._port: serial.Serial | None = None
        self._room: asyncio.Future[None] | None = None  # a write waits for it

    @property
    def name(self) -> str:
        return self._name

    async def open(self) -> None:
        await self.close()
        try:
            async with asyncio.timeout(self._open_timeout):
                port = await self._open_in_thread()
        except TimeoutError:
            raise TransportOpenError(
                self._name,
                f"the port does not open within {self._open_timeout:g} s",
                "Its adapter or driver hangs: unplug it and plug it in again; `dmesg` may say more",
            ) from None
        self._port = port
        self._inbox.reset()
        asyncio.get_running_loop().add_reader(port.fileno(), self._readable)

    async def _open_in_thread(self) -> serial.Serial:
        # A USB adapter that hangs makes even a non-blocking open wait. Where an earlier one still
        # does, it must end first: else each attempt would leave one more thread behind.
        if self._opening is not None:
            await asyncio.wait({self._opening})
        opening = self._opening = in_thread(
            partial(_open_port, self._name, self._baudrate, self._parity), unwanted=_close_port
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    def _readable(self) -> None:
        if self._port is None:
            return
        try:
            data = os.read(self._port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(f"{_GONE} ({error.strerror})")
            return
        if data:
            self._inbox.put(data)
        else:
            # The port waits for at least one byte (VMIN is 1), so this is a hangup, not a lull.
            self._lose(_GONE)

    def _lose(self, problem: str) -> None:
        self._release()
        self._inbox.lose(problem)

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            self._inbox.check()
            if self._port is None:
                raise TransportLostError(self._name, "the port is not open")
            try:
                left = left[os.write(self._port.fileno(), left) :]
            except BlockingIOError:
                await self._writable(self._port.fileno())
            except OSError as error:
                self._lose(f"{_GONE} ({error.strerror})")

        self._inbox.check()

    async def _writable(self, descriptor: int) -> None:
        loop = asyncio.get_running_loop()
        self._room = loop.create_future()
        loop.add_writer(descriptor, self._end_wait)
        try:
            await self._room
        finally:
            self._room = None
            if self._port is not None:  # else `_release` has done it, and the number may be reused
                loop.remove_writer(descriptor)

    def _end_wait(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def read(self) -> bytes:
        return await self._inbox.read()

    def discard_input(self) -> bytes:
        if self._port is not None:
            self._readable()  # what the kernel has and the loop has not seen yet
        return self._inbox.take()

    async def close(self) -> None:
        self._release()
        self._inbox.lose("the port is closed")

    def _release(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(port.fileno())
        loop.remove_writer(port.fileno())
        self._end_wait()
        _close_port(port)


def _close_port(port: serial.Serial) -> None:
    # Bytes that the other side never took would let the kernel wait up to 30 s for them.
    with contextlib.suppress(termios.error):
        termios.tcflush(port.fileno(), termios.TCIOFLUSH)
    with contextlib.suppress(OSError):  # what is unplugged cannot be closed properly
        port.close()


def _close_unwanted(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        _close_port(opening.result())


def _open_port(name: str, baudrate: int, parity: Parity) -> serial.Serial:
    """Open the port; runs in a thread.

    Raises:
        TransportOpenError: it cannot be opened as wanted.
    """
    try:
        port = serial.Serial(
            name,
            baudrate=baudrate,
            bytesize=serial.EIGHTBITS,
            parity=serial.PARITY_EVEN if parity == "even" else serial.PARITY_NONE,
            stopbits=serial.STOPBITS_ONE,
            timeout=0,
            inter_byte_timeout=0,  # sets VMIN to 1, which tells "nothing yet" from a hangup
            exclusive=True,
        )
    except (OSError, termios.error, ValueError) as error:
        raise _open_error(name, baudrate, parity, error) from None
    try:
        _set_up(port, name, parity)
    except (OSError, termios.error) as error:
        _close_port(port)
        raise _open_error(name, baudrate, parity, error) from None
    except TransportOpenError:
        _close_port(port)
        raise
    return port


def _set_up(port: serial.Serial, name: str, parity: Parity) -> None:
    attributes = termios.tcgetattr(port.fileno())
    if parity == "even":
        if not attributes[2] & termios.PARENB:
            raise _parity_error(name)  # some drivers take the setting and ignore it
        # A byte whose parity or stop bit is wrong is read as 00, so that no checksum fits it.
        attributes[0] |= termios.INPCK
        attributes[0] &= ~termios.IGNPAR
        termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    # The lock of pyserial binds only programs that ask for it.
    fcntl.ioctl(port.fileno(), termios.TIOCEXCL)
    try:
        # An FTDI adapter hands bytes on every 16 ms, or every millisecond with this.
        port.set_low_latency_mode(True)
    except (ValueError, OSError, NotImplementedError) as error:
        _logger.debug("%s: no low latency mode (%s)", name, error)


def _open_error(name: str, baudrate: int, parity: Parity, error: Exception) -> TransportOpenError:
    # pyserial hides the number of an error in its text when the error is not an OSError.
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return TransportOpenError(name, "there is no such port", _ports_here())
    if number in (errno.EACCES, errno.EPERM):
        return TransportOpenError(name, "this user may not open the port", _permission(name))
    if number in (errno.EBUSY, errno.EAGAIN):
        return TransportOpenError(
            name,
            "another program uses the port",
            f"Find it with `fuser -v {name}` and end it; a bus has one master",
        )
    if number == errno.EINVAL and parity == "even":
        return _parity_error(name)
    if number == errno.EISDIR or not _is_terminal(name):
        return TransportOpenError(name, "this is no serial port", _ports_here())
    if isinstance(error, ValueError) or number == errno.EINVAL:
        return TransportOpenError(
            name,
            f"the port cannot do {baudrate} baud",
            "M-Bus knows 300, 600, 1200, 2400, 4800, 9600, 19200 and 38400",
        )
    return TransportOpenError(
        name, f"the port cannot be opened ({error})", "`dmesg` may say what its driver thinks"
    )


def _parity_error(name: str) -> TransportOpenError:
    return TransportOpenError(
        name,
        "the port refuses even parity",
        "A pseudo terminal has no parity, and a few adapters neither: write `parity: none`",
    )


def _is_terminal(name: str) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return True  # nothing is known against it
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


def _ports_here() -> str:
    ports = sorted(port.device for port in list_ports.comports())
    if not ports:
        return "This machine has no serial port at present; is the adapter plugged in?"
    return f"The ports of this machine: {', '.join(ports)}"


def _permission(name: str) -> str:
    group, may_read = _group_of(name)
    if not may_read or group == "root":
        return f"Only its owner may: `ls -l {name}` shows who that is"
    return (
        f"Its group is {group}: `sudo usermod -aG {group} $USER`, then log in again "
        f"(for a service: SupplementaryGroups={group})"
    )


def _group_of(name: str) -> tuple[str, bool]:
    """The group of a device file, and whether it may open it."""
    try:
        status = os.stat(name)
        return grp.getgrgid(status.st_gid).gr_name, bool(status.st_mode & stat.S_IRGRP)
    except (OSError, KeyError):
        return "dialout", True  # what it is nearly everywhere
