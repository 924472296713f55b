"""Serial ports, on pseudo terminals: one end is the port, the other the bus."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pty
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

from bridge.transport.base import TransportLostError, TransportOpenError
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
    assert await transport.read() == b"\xe5"
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
        received += await transport.read()
    assert received == everything
    await transport.close()


async def test_the_speed_is_set(terminal: Terminal) -> None:
    transport = SerialTransport(terminal.name, baudrate=9600, parity="none")
    await transport.open()
    assert termios.tcgetattr(terminal.port)[4:6] == [termios.B9600, termios.B9600]
    await transport.close()


async def test_what_came_unasked_can_be_discarded(terminal: Terminal) -> None:
    transport = transport_on(terminal)
    await transport.open()
    os.write(terminal.controller, b"\x00\x00")
    assert transport.discard_input() == b"\x00\x00"
    assert transport.discard_input() == b""
    await transport.close()


async def test_what_came_before_the_port_was_opened_is_forgotten(terminal: Terminal) -> None:
    os.write(terminal.controller, b"\x00\x00")
    transport = transport_on(terminal)
    await transport.open()
    os.write(terminal.controller, b"\xe5")
    assert await transport.read() == b"\xe5"
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
        assert await transport.read() == b"\xe5"
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
