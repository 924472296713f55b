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
from typing import Any

import serial
from serial.tools import list_ports

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
from bridge.transport.parmrk import MarkedStream
from bridge.transport.thread import in_thread

_logger = logging.getLogger(__name__)

OPEN_TIMEOUT = 10.0  # seconds; a driver in good health needs milliseconds
# Seconds for a change of the line: what was written must leave first, 261 bytes at 300 baud.
_LINE_TIMEOUT = 20.0

_READ_SIZE = 4096
_GONE = "the port is gone: unplugged, or its driver was removed"

_RATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400)
_SPEEDS = {rate: getattr(termios, f"B{rate}") for rate in _RATES}
_IFLAG, _CFLAG, _ISPEED, _OSPEED = 0, 2, 4, 5  # where they are in what tcgetattr returns

# How errors of the wire are heard (`bridge.transport.parmrk`). INPCK also where there is no parity:
# without it Linux marks breaks, but no character whose stop bit is wrong (drivers/tty/n_tty.c).
_MARKING = termios.INPCK | termios.PARMRK
_NOT_MARKING = termios.IGNPAR | termios.IGNBRK | termios.BRKINT | termios.ISTRIP

_REMEDY_OF_PARITY = (
    "A pseudo terminal has no parity, and a few adapters neither: write `parity: none`"
)
_REMEDY_OF_RATE = "M-Bus knows 300, 600, 1200, 2400, 4800, 9600, 19200 and 38400"


class SerialTransport:
    """A serial port with 8 data bits and 1 stop bit, whose errors are heard.

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
        self._bus_line = self._line = Line(baudrate, parity)
        self._open_timeout = open_timeout
        self._inbox = Inbox(name)
        self._marked = MarkedStream()
        self._switching: asyncio.Future[None] | None = None
        self._opening: asyncio.Future[serial.Serial] | None = None
        self._port: serial.Serial | None = None
        self._room: asyncio.Future[None] | None = None  # a write waits for it

    @property
    def name(self) -> str:
        return self._name

    @property
    def line(self) -> Line:
        return self._line

    @property
    def guards_parity(self) -> bool:
        # No open port has this parity whose driver has refused it. A pseudo terminal does.
        return self._line.parity == "even"

    @property
    def round_trip(self) -> float | None:
        return None

    @property
    def pace(self) -> Pace:
        return self._inbox.pace

    async def open(self) -> None:
        await self.close()
        self._line = self._bus_line
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
        self._marked.reset()
        asyncio.get_running_loop().add_reader(port.fileno(), self._readable)

    async def _open_in_thread(self) -> serial.Serial:
        # A USB adapter that hangs makes even a non-blocking open wait. Where an earlier one still
        # does, it must end first: else each attempt would leave one more thread behind.
        if self._opening is not None:
            await asyncio.wait({self._opening})
        opening = self._opening = in_thread(
            partial(_open_port, self._name, self._bus_line), unwanted=_close_port
        )
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        self._inbox.check()
        line, before = Line(baudrate, parity), self._line
        if line == before:
            return
        if baudrate not in _SPEEDS:
            raise TransportLineError(self._name, _no_rate(baudrate), _REMEDY_OF_RATE)
        self._line = line  # also where this is cancelled: the thread will do it
        try:
            async with asyncio.timeout(_LINE_TIMEOUT):
                await self._switch_in_thread(line)
        except TimeoutError:
            self._lose(f"the port does not take its settings within {_LINE_TIMEOUT:g} s")
        except TransportLineError:
            self._line = before
            raise
        except (OSError, termios.error) as error:
            self._lose(f"{_GONE} ({error.args[-1]})")
        self._inbox.check()

    async def _switch_in_thread(self, line: Line) -> None:
        # The kernel has no way to wait for the last character but to block. One change at a time:
        # that of a reader who was cancelled ends first.
        if self._switching is not None:
            await asyncio.wait({self._switching})
        if self._port is None:
            return
        # A number of its own, because the port may be closed meanwhile.
        descriptor = os.dup(self._port.fileno())
        self._switching = in_thread(partial(_switch_and_close, self._name, descriptor, line))
        # Nobody may be left to hear how it ended.
        self._switching.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(self._switching)

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
            received = self._marked.decode(data)
            if received.data:
                self._inbox.put(*received)
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

    async def read(self, *, not_before: float | None = None) -> Received:
        if not_before is not None and not self._inbox:
            self._inbox.check()
            await self._rest(not_before)
            received = self.discard_input()
            if received.data:
                return received
        return await self._inbox.read()

    async def _rest(self, until: float) -> None:
        """Leave what comes to the kernel for a while."""
        loop = asyncio.get_running_loop()
        port = self._port
        if port is not None:
            loop.remove_reader(port.fileno())
        try:
            await asyncio.sleep(until - loop.time())
        finally:
            if port is not None and self._port is port:
                loop.add_reader(port.fileno(), self._readable)

    def discard_input(self) -> Received:
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


def _switch_and_close(name: str, descriptor: int, line: Line) -> None:
    """Set the line once all that was written has left, and close ``descriptor``; in a thread.

    Raises:
        TransportLineError: the port cannot; it is as it was.
        OSError, termios.error: it is gone.
    """
    try:
        before = termios.tcgetattr(descriptor)
        try:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, _with_line(before, line))
            after = termios.tcgetattr(descriptor)
        except termios.error as error:
            if error.args[0] != errno.EINVAL:
                raise
            after = before
        wrong_rate = after[_OSPEED] != _SPEEDS[line.baudrate]
        wrong_parity = _parity_of(after) != line.parity
        if wrong_rate or wrong_parity:
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
        if wrong_parity:
            raise TransportLineError(name, _no_parity(line.parity), _REMEDY_OF_PARITY)
        if wrong_rate:
            raise TransportLineError(name, _no_rate(line.baudrate), _REMEDY_OF_RATE)
    finally:
        os.close(descriptor)


def _with_line(attributes: list[Any], line: Line) -> list[Any]:
    changed = list(attributes)
    changed[_CFLAG] &= ~(termios.PARENB | termios.PARODD)
    if line.parity == "even":
        changed[_CFLAG] |= termios.PARENB
    changed[_ISPEED] = changed[_OSPEED] = _SPEEDS[line.baudrate]
    return changed


def _parity_of(attributes: list[Any]) -> Parity:
    return "even" if attributes[_CFLAG] & termios.PARENB else "none"


def _open_port(name: str, line: Line) -> serial.Serial:
    """Open the port; runs in a thread.

    Raises:
        TransportOpenError: it cannot be opened as wanted.
    """
    baudrate, parity = line
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
    if parity == "even" and _parity_of(attributes) != parity:
        raise _parity_error(name)  # some drivers take the setting and ignore it
    attributes[_IFLAG] |= _MARKING
    attributes[_IFLAG] &= ~_NOT_MARKING
    termios.tcsetattr(port.fileno(), termios.TCSANOW, attributes)
    # What came in between, from the opening on, bears no marks.
    termios.tcflush(port.fileno(), termios.TCIFLUSH)
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
        return TransportOpenError(name, _no_rate(baudrate), _REMEDY_OF_RATE)
    return TransportOpenError(
        name, f"the port cannot be opened ({error})", "`dmesg` may say what its driver thinks"
    )


def _parity_error(name: str) -> TransportOpenError:
    return TransportOpenError(name, _no_parity("even"), _REMEDY_OF_PARITY)


def _no_parity(parity: Parity) -> str:
    return f"the port refuses {parity} parity" if parity == "even" else "the port insists on parity"


def _no_rate(baudrate: int) -> str:
    return f"the port cannot do {baudrate} baud"


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
