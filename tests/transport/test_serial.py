"""Serial ports, on pseudo terminals: one end is the port, the other the bus."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import serial

from bridge.transport.base import (
    Line,
    Received,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.serial import SerialTransport


@dataclass
class Terminal:
    controller: int
    port: int
    name: str

    def unplug(self) -> None:
        os.close(self.controller)
        os.close(self.port)
        self.controller = self.port = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    controller, port = pty.openpty()
    tty.setraw(port)
    made = Terminal(controller, port, os.ttyname(port))
    yield made
    for descriptor in (made.controller, made.port):
        if descriptor >= 0:
            os.close(descriptor)


def transport_on(terminal: Terminal) -> SerialTransport:
    return SerialTransport(terminal.name, parity="none")


async def test_bytes_go_out_and_come_in(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    await transport.write(bytes.fromhex("10 7B 05 80 16"))
    assert os.read(terminal.controller, 100) == bytes.fromhex("10 7B 05 80 16")
    os.write(terminal.controller, b"\xe5")
    assert await transport.read() == Received(b"\xe5")
    await transport.close()


async def test_every_byte_passes_as_it_is(terminal: Terminal) -> None:
    everything = bytes(range(256))
    transport = transport_on(terminal)
    await transport.open()
    await transport.write(everything)
    assert os.read(terminal.controller, 300) == everything
    os.write(terminal.controller, everything)
    received = b""
    while len(received) < 256:
        received += (await transport.read()).data
    assert received == everything
    await transport.close()


@pytest.mark.parametrize("size", [1, 2, 5, 256])
async def test_the_marks_of_the_kernel_are_taken_out_however_the_bytes_come(
    terminal: Terminal, size: int
) -> None:
    stream = b"\xff\xff\xff\x00\x13\xff\x00\xff\xfe" * 7
    transport = transport_on(terminal)
    await transport.open()
    received = b""
    for start in range(0, len(stream), size):
        os.write(terminal.controller, stream[start : start + size])
        came = await transport.read()
        received += came.data
        assert came.broken == ()
    received += transport.discard_input().data
    assert received == stream
    await transport.close()


async def test_the_kernel_is_told_to_mark_errors(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    flags = termios.tcgetattr(terminal.port)[0]
    wanted = termios.INPCK | termios.PARMRK
    assert flags & wanted == wanted
    assert not flags & (termios.IGNPAR | termios.IGNBRK | termios.BRKINT | termios.ISTRIP)
    os.write(terminal.controller, b"\xff")
    assert select.select([terminal.port], [], [], 1.0)[0]
    assert os.read(terminal.port, 10) == b"\xff\xff"  # as it comes without the decoder
    await transport.close()


async def test_a_marked_character_is_broken(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pseudo terminal has no parity, so what the driver of a real port writes is played.
    transport = transport_on(terminal)
    await transport.open()
    lots = iter([b"\x68\x13\xff", b"\x00\x13\x68\xff\xff", b"\xff\x00\x00"])
    monkeypatch.setattr("bridge.transport.serial.os.read", lambda descriptor, size: next(lots))
    assert transport.discard_input() == Received(b"\x68\x13")
    assert transport.discard_input() == Received(b"\x13\x68\xff", (0,))
    assert transport.discard_input() == Received(b"\x00", (0,))
    monkeypatch.undo()
    await transport.close()


def test_even_parity_guards_and_none_does_not() -> None:
    assert SerialTransport("/dev/ttyUSB0").guards_parity
    assert not SerialTransport("/dev/ttyUSB0", parity="none").guards_parity


async def test_the_line_can_be_changed_and_is_the_bus_s_own_after_each_opening(
    terminal: Terminal,
) -> None:
    transport = SerialTransport(terminal.name, baudrate=2400, parity="none")
    await transport.open()
    os.write(terminal.controller, b"\x01")
    await transport.write(b"\x10")  # which nobody takes
    await transport.set_line(baudrate=300, parity="none")
    assert transport.line == Line(300, "none")
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B300, termios.B300]
    assert await transport.read() == Received(b"\x01")
    os.write(terminal.controller, b"\xff")
    assert await transport.read() == Received(b"\xff")  # the marks are still there
    await transport.open()
    assert transport.line == Line(2400, "none")
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B2400, termios.B2400]
    await transport.close()


async def test_a_line_that_the_port_cannot_have_is_refused_and_nothing_has_changed(
    terminal: Terminal,
) -> None:
    transport = transport_on(terminal)
    await transport.open()
    for _ in range(2):
        with pytest.raises(TransportLineError, match="the port refuses even parity") as caught:
            await transport.set_line(baudrate=9600, parity="even")
        assert "write `parity: none`" in caught.value.remedy
    with pytest.raises(TransportLineError, match="the port cannot do 1234 baud"):
        await transport.set_line(baudrate=1234, parity="none")
    assert transport.line == Line(2400, "none")
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B2400, termios.B2400]
    await transport.close()
    with pytest.raises(TransportLostError):
        await transport.set_line(baudrate=9600, parity="none")


async def test_a_change_of_the_line_that_is_cancelled_comes_before_the_one_back(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = termios.tcsetattr

    def slowly(descriptor: int, when: int, attributes: list[Any]) -> None:
        time.sleep(0.05)
        real(descriptor, when, attributes)

    transport = transport_on(terminal)
    await transport.open()
    monkeypatch.setattr("bridge.transport.serial.termios.tcsetattr", slowly)
    changing = asyncio.ensure_future(transport.set_line(baudrate=300, parity="none"))
    await asyncio.sleep(0.01)
    changing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await changing
    await transport.set_line(baudrate=2400, parity="none")
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B2400, termios.B2400]
    await transport.close()


async def test_a_port_that_is_unplugged_while_its_line_is_changed_is_lost(
    terminal: Terminal,
) -> None:
    transport = transport_on(terminal)
    await transport.open()
    terminal.unplug()
    with pytest.raises(TransportLostError, match="the port is gone"):
        await transport.set_line(baudrate=300, parity="none")


async def test_bytes_wait_in_the_kernel_for_who_does_not_want_them_yet(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    loop = asyncio.get_running_loop()
    for number in range(5):
        loop.call_later(0.01 * number, os.write, terminal.controller, bytes((number,)))
    began = loop.time()
    assert await transport.read(not_before=began + 0.1) == Received(bytes(range(5)))
    assert 0.1 <= loop.time() - began < 0.2
    loop.call_later(0.02, os.write, terminal.controller, b"\xe5")
    assert await transport.read(not_before=loop.time() + 0.01) == Received(b"\xe5")
    await transport.close()


async def test_a_rest_that_is_cancelled_loses_nothing(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await transport.read(not_before=asyncio.get_running_loop().time() + 60.0)
    os.write(terminal.controller, b"\xe5")
    assert await transport.read() == Received(b"\xe5")
    await transport.close()


async def test_a_port_unplugged_during_a_rest_is_noticed_at_its_end(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    loop = asyncio.get_running_loop()
    loop.call_later(0.02, terminal.unplug)
    with pytest.raises(TransportLostError, match="the port is gone"):
        await transport.read(not_before=loop.time() + 0.05)


async def test_the_speed_is_set(terminal: Terminal) -> None:
    transport = SerialTransport(terminal.name, baudrate=9600, parity="none")
    await transport.open()
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B9600, termios.B9600]
    await transport.close()


async def test_what_came_unasked_can_be_discarded(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    os.write(terminal.controller, b"\x00\x00")
    assert transport.discard_input() == Received(b"\x00\x00")
    assert transport.discard_input() == Received(b"")
    await transport.close()


async def test_what_came_before_the_port_was_opened_is_forgotten(terminal: Terminal) -> None:
    os.write(terminal.controller, b"\x00\x00")
    transport = transport_on(terminal)
    await transport.open()
    os.write(terminal.controller, b"\xe5")
    assert await transport.read() == Received(b"\xe5")
    await transport.close()


async def test_a_port_that_is_unplugged_is_noticed_at_once(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    reading = asyncio.ensure_future(transport.read())
    await asyncio.sleep(0)
    terminal.unplug()
    async with asyncio.timeout(1.0):
        with pytest.raises(TransportLostError, match="the port is gone: unplugged"):
            await reading
    with pytest.raises(TransportLostError):
        await transport.write(b"\x10")
    await transport.close()


async def test_a_write_to_an_unplugged_port_notices_it_too(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    terminal.unplug()
    with pytest.raises(TransportLostError, match="the port is gone"):
        await transport.write(b"\x10")


async def test_a_port_that_takes_no_more_is_waited_for_without_blocking(
    terminal: Terminal,
) -> None:
    transport = transport_on(terminal)
    await transport.open()
    flood = bytes(65536)
    writing = asyncio.ensure_future(transport.write(flood))
    await asyncio.sleep(0.02)
    assert not writing.done()
    os.set_blocking(terminal.controller, False)
    taken = 0
    async with asyncio.timeout(2.0):
        while taken < len(flood):
            with contextlib.suppress(BlockingIOError):
                taken += len(os.read(terminal.controller, 65536))
            await asyncio.sleep(0)
    await writing
    await transport.close()


async def test_a_waiting_write_ends_when_the_port_is_closed(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    writing = asyncio.ensure_future(transport.write(bytes(65536)))
    await asyncio.sleep(0.02)
    await transport.close()
    with pytest.raises(TransportLostError, match="the port is closed"):
        await writing


async def test_a_port_can_be_opened_again(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    for _ in range(2):
        await transport.open()
        os.write(terminal.controller, b"\xe5")
        assert await transport.read() == Received(b"\xe5")
        await transport.close()
        with pytest.raises(TransportLostError, match="the port is closed"):
            await transport.read()


@pytest.mark.parametrize("again", [1, 2])
async def test_even_parity_is_refused_by_a_pseudo_terminal(terminal: Terminal, again: int) -> None:
    # The first time the setting is ignored, the second time it is an error.
    for _ in range(again):
        with pytest.raises(TransportOpenError, match="the port refuses even parity") as caught:
            await SerialTransport(terminal.name).open()
    assert "write `parity: none`" in caught.value.remedy


async def test_a_port_that_another_program_uses_is_told(terminal: Terminal) -> None:
    first = transport_on(terminal)
    await first.open()
    with pytest.raises(TransportOpenError, match="another program uses the port") as caught:
        await transport_on(terminal).open()
    assert f"fuser -v {terminal.name}" in caught.value.remedy
    await first.close()
    second = transport_on(terminal)
    await second.open()
    await second.close()


class KnownPort:
    device = "/dev/ttyUSB7"


async def test_a_missing_port_is_told_with_those_that_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.transport.serial.list_ports.comports", lambda: [KnownPort()])
    with pytest.raises(TransportOpenError, match="there is no such port") as caught:
        await SerialTransport("/dev/ttyUSB99").open()
    assert caught.value.remedy == "The ports of this machine: /dev/ttyUSB7"
    assert str(caught.value).startswith("/dev/ttyUSB99: there is no such port. ")


async def test_where_there_is_no_port_at_all_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.transport.serial.list_ports.comports", list)
    with pytest.raises(TransportOpenError, match="is the adapter plugged in"):
        await SerialTransport("/dev/ttyUSB99").open()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
async def test_a_port_without_permission_names_the_group_and_the_command(
    number: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may open everything, so the refusal is played.
    def refuse(*_: object, **__: object) -> object:
        raise serial.SerialException(number, "Permission denied")

    monkeypatch.setattr("bridge.transport.serial.serial.Serial", refuse)
    monkeypatch.setattr("bridge.transport.serial._group_of", lambda name: ("dialout", True))
    with pytest.raises(TransportOpenError, match="this user may not open the port") as caught:
        await transport_on(terminal).open()
    assert "Its group is dialout: `sudo usermod -aG dialout $USER`" in caught.value.remedy
    monkeypatch.setattr("bridge.transport.serial._group_of", lambda name: ("root", False))
    with pytest.raises(TransportOpenError, match="Only its owner may"):
        await transport_on(terminal).open()


@pytest.mark.parametrize("kind", ["file", "folder", "null"])
async def test_what_is_no_serial_port_is_told(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    name = {"file": str(tmp_path / "file"), "folder": str(tmp_path), "null": "/dev/null"}[kind]
    with pytest.raises(TransportOpenError, match="this is no serial port"):
        await SerialTransport(name).open()


async def test_a_port_whose_opening_was_cancelled_is_not_left_open(terminal: Terminal) -> None:
    opening = asyncio.ensure_future(transport_on(terminal).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    transport = transport_on(terminal)
    async with asyncio.timeout(2.0):
        while True:
            try:
                await transport.open()
            except TransportOpenError:  # busy, while the thread is at it
                await asyncio.sleep(0.01)
            else:
                break
    await transport.close()


class HangingDriver:
    """Opens a port only after ``go``, as an adapter that hangs does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.began = 0
        self.opened: list[serial.Serial] = []
        self._real = serial.Serial
        monkeypatch.setattr("bridge.transport.serial.serial.Serial", self.open)

    def open(self, *arguments: Any, **settings: Any) -> serial.Serial:
        self.began += 1
        self.go.wait()
        self.opened.append(self._real(*arguments, **settings))
        return self.opened[-1]


async def test_a_port_that_hangs_is_told_and_leaves_one_thread_however_often_it_is_tried(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = HangingDriver(monkeypatch)
    transport = SerialTransport(terminal.name, parity="none", open_timeout=0.05)
    for _ in range(3):
        with pytest.raises(TransportOpenError, match=r"does not open within 0\.05 s") as caught:
            await transport.open()
        await transport.close()
    assert "unplug it" in caught.value.remedy
    assert driver.began == 1
    driver.go.set()
    await transport.open()
    assert [port.is_open for port in driver.opened] == [False, True]  # the late one is not left
    await transport.close()


def test_ports_that_hang_hold_up_neither_the_others_nor_the_end(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = HangingDriver(monkeypatch)

    async def main() -> None:
        hanging = [asyncio.ensure_future(transport_on(terminal).open()) for _ in range(40)]
        await asyncio.sleep(0.05)
        assert driver.began == 40
        for opening in hanging:
            opening.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 2.0
    driver.go.set()
    for thread in threading.enumerate():
        if thread.daemon:
            thread.join(1.0)
