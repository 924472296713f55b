"""A simulated bus, the bridge, and a BACnet client that reads it over a real UDP socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.bridge import Bridge
from bridge.bacnet.client import Browser, ObjectValue
from bridge.config.load import load_text
from bridge.sim.bus import SimulatedBus
from bridge.sim.server import TcpServer, serve_pty, serve_tcp
from bridge.sim.site import demo_meters

INSTANCE = 260_002


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def site_text(bus_port: str, udp_port: int, *, extra: str = "") -> str:
    return f"""
device: {{instance: {INSTANCE}, name: Under test}}
bacnet: {{address: 127.0.0.1/8, port: {udp_port}}}
buses:
  cellar:
    port: {bus_port}
    baudrate: 38400
    every: 1s
    {extra}
    meters:
      cold-water: {{address: 1}}
      heat: {{address: 4, points: {{energy: {{quantity: energy}}, power: {{quantity: power}}}}}}
      room: {{secondary: 54020671}}
"""


@dataclass
class House:
    bridge: Bridge
    bus: SimulatedBus
    browser: Browser
    address: str

    async def see(self) -> dict[str, ObjectValue]:
        """Everything, as a BMS reads it."""
        device = await self.browser.find(self.address)
        assert device.instance == INSTANCE
        return {value.name: value async for value in self.browser.read_objects(device)}

    async def see_until(
        self, wanted: Callable[[dict[str, ObjectValue]], bool], seconds: float = 10.0
    ) -> dict[str, ObjectValue]:
        seen: dict[str, ObjectValue] = {}
        try:
            async with asyncio.timeout(seconds):
                while not wanted(seen := await self.see()):
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"it did not come to that in {seconds} s; last seen: {seen}")
        return seen


def fast_bus() -> SimulatedBus:
    return SimulatedBus(demo_meters(baudrate=38400), baudrate=38400)


@asynccontextmanager
async def house(bus: SimulatedBus, bus_port: str, *, extra: str = "") -> AsyncIterator[House]:
    udp_port = free_udp_port()
    site = load_text(site_text(bus_port, udp_port, extra=extra), Path("site.yaml"))
    bridge = Bridge(site, state=None)
    stop = asyncio.Event()
    await bridge.start()
    running = asyncio.create_task(bridge.run(stop))
    try:
        async with Browser("127.0.0.1", timeout=1.0) as browser:
            yield House(bridge, bus, browser, f"127.0.0.1:{udp_port}")
    finally:
        stop.set()
        await running


@pytest.fixture
async def served() -> AsyncIterator[tuple[House, TcpServer]]:
    bus = fast_bus()
    server = await serve_tcp(bus)
    try:
        async with house(bus, server.url) as built:
            yield built, server
    finally:
        await server.close()


def is_read(name: str) -> Callable[[dict[str, ObjectValue]], bool]:
    return lambda seen: name in seen and seen[name].reliability == "no-fault-detected"


def fault_of(name: str, reliability: str) -> Callable[[dict[str, ObjectValue]], bool]:
    return lambda seen: name in seen and seen[name].reliability == reliability


def changed(before: dict[str, ObjectValue], name: str) -> Callable[[dict[str, ObjectValue]], bool]:
    return lambda seen: seen[name].value != before[name].value


async def test_what_the_meters_say_is_what_a_bms_reads(served: tuple[House, TcpServer]) -> None:
    built, _ = served
    seen = await built.see_until(lambda s: is_read("room.secondary-address")(s))
    seen = await built.see_until(is_read("heat.energy"))
    assert seen["heat.energy"].units == "kilowatt-hours"
    assert isinstance(seen["heat.energy"].value, Decimal)
    assert seen["heat.energy"].value > 0
    assert seen["heat.answering"].value is True
    assert seen["cold-water.volume"].units == "cubic-meters"
    assert seen["room.secondary-address"].value == "54020671-ELV-32-1B"
    for value in seen.values():
        assert value.error == ""
        assert value.status_flags is not None
        assert not value.status_flags.fault, value


async def test_a_silent_meter_is_in_fault_alone_and_comes_back(
    served: tuple[House, TcpServer],
) -> None:
    built, _ = served
    before = await built.see_until(is_read("heat.energy"))
    await built.see_until(is_read("cold-water.volume"))
    silence = built.bus.add_fault("silence:heat-1")
    seen = await built.see_until(fault_of("heat.energy", "communication-failure"))
    assert seen["heat.energy"].value == before["heat.energy"].value, "the last good value stays"
    assert seen["heat.answering"].value is False
    flags = seen["heat.energy"].status_flags
    assert flags is not None
    assert flags.fault
    last = seen["cold-water.last-read"].value
    seen = await built.see_until(lambda s: s["cold-water.last-read"].value != last)
    assert seen["cold-water.volume"].reliability == "no-fault-detected"
    assert seen["room.answering"].value is True
    built.bus.remove_fault(silence)
    seen = await built.see_until(is_read("heat.energy"), seconds=20)
    assert seen["heat.answering"].value is True


async def test_damaged_answers_never_become_values(served: tuple[House, TcpServer]) -> None:
    built, _ = served
    before = await built.see_until(is_read("heat.energy"))
    fault = built.bus.add_fault("checksum:heat-1")
    seen = await built.see_until(fault_of("heat.energy", "communication-failure"))
    assert seen["heat.energy"].value == before["heat.energy"].value
    built.bus.remove_fault(fault)
    await built.see_until(is_read("heat.energy"), seconds=20)


async def test_another_meters_answer_is_not_taken(served: tuple[House, TcpServer]) -> None:
    built, _ = served
    before = await built.see_until(is_read("heat.energy"))
    built.bus.add_fault("wrong-meter:heat-1")
    seen = await built.see_until(fault_of("heat.energy", "communication-failure"))
    assert seen["heat.energy"].value == before["heat.energy"].value


async def test_a_converter_that_echoes_hides_nothing(served: tuple[House, TcpServer]) -> None:
    built, _ = served
    built.bus.add_fault("echo")
    await built.see_until(is_read("heat.energy"))
    await built.see_until(is_read("room.secondary-address"))


async def test_an_unplugged_gateway_is_in_fault_and_back_by_itself(
    served: tuple[House, TcpServer],
) -> None:
    built, server = served
    before = await built.see_until(is_read("heat.energy"))
    await server.unplug()
    seen = await built.see_until(fault_of("heat.energy", "communication-failure"))
    assert seen["heat.energy"].value == before["heat.energy"].value
    seen = await built.see_until(fault_of("heat.answering", "communication-failure"))
    await server.plug()
    await built.see_until(is_read("heat.energy"), seconds=20)
    await built.see_until(is_read("cold-water.volume"), seconds=20)


async def test_a_pseudo_terminal_that_goes_and_comes_is_reopened(tmp_path: Path) -> None:
    bus = fast_bus()
    server = await serve_pty(bus, path=tmp_path / "meter-bus")
    try:
        async with house(bus, str(server.path), extra="parity: none") as built:
            await built.see_until(is_read("heat.energy"))
            await server.unplug()
            await built.see_until(fault_of("heat.energy", "communication-failure"))
            await server.plug()
            await built.see_until(is_read("heat.energy"), seconds=20)
    finally:
        await server.close()


async def test_a_restart_moves_no_identifier_and_forgets_no_object(tmp_path: Path) -> None:
    """The first run finds what the meters say; the second has no bus at all."""
    bus = fast_bus()
    server = await serve_tcp(bus)
    text = site_text(server.url, free_udp_port())
    site = load_text(text, tmp_path / "site.yaml")
    seen: list[dict[str, str]] = []
    for plugged in (True, False):
        if not plugged:
            await server.unplug()
        bridge = Bridge(site, state=tmp_path / "state")
        await bridge.start()
        stop = asyncio.Event()
        running = asyncio.create_task(bridge.run(stop))
        async with Browser("127.0.0.1", timeout=1.0) as browser:
            built = House(bridge, bus, browser, f"127.0.0.1:{site.bacnet.port}")
            if plugged:
                seen_once = await built.see_until(is_read("room.secondary-address"))
                # What was found is kept when a second answer has confirmed it.
                for meter in ("cold-water", "heat", "room"):
                    await built.see_until(changed(seen_once, f"{meter}.last-read"))
            objects = await built.see()
            seen.append({name: value.identifier for name, value in objects.items()})
        stop.set()
        await running
    await server.close()
    assert len(seen[0]) > 20
    assert seen[0] == seen[1]
