"""A meter on a simulated bus changes what it sends, and the bridge is started again meanwhile."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.bridge import Bridge
from bridge.app.objects import planned_objects
from bridge.config.load import load_text_with_warnings
from bridge.mbus.address import parse_secondary
from bridge.points.ledger import Ledger
from bridge.points.reading import Fault, Reading
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import Content, SimulatedMeter
from bridge.sim.server import TcpServer, serve_tcp

ENERGY = "0C 06 78 56 34 12"  # 12345678 kWh
LATER = "0C 06 79 56 34 12"
TENS = "0C 07 68 45 23 01"  # 1234568 x 10 kWh
OTHER = "04 06 01 00 00 00"  # energy as well: of another stage of the meter, say


class Changing:
    """What a meter sends, one text for a telegram, until it is told otherwise."""

    def __init__(self, *telegrams: str) -> None:
        self.says = telegrams

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        return [bytes.fromhex(text) for text in self.says]


def site(port: str, udp_port: int, points: str) -> str:
    return f"""
device: {{instance: 5}}
bacnet: {{address: 127.0.0.1/8, port: {udp_port}}}
buses:
  cellar:
    port: {port}
    baudrate: 38400
    every: continuous
    meters:
      heat-1:
        address: 1
        points: {points}
"""


NAMED = "{energy: {quantity: energy}}"


class Cellar:
    """A simulated bus with one meter, and bridges over it, one after the other."""

    def __init__(self, server: TcpServer, meter: Changing, folder: Path) -> None:
        self.meter = meter
        self._server = server
        self._folder = folder
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self._udp_port = probe.getsockname()[1]

    @asynccontextmanager
    async def bridge(self, points: str = NAMED) -> AsyncIterator[Bridge]:
        text = site(self._server.url, self._udp_port, points)
        loaded = load_text_with_warnings(text, self._folder / "site.yaml")
        bridge = Bridge(loaded.site, state=self._folder / "state")
        stop = asyncio.Event()
        await bridge.start()
        running = asyncio.create_task(bridge.run(stop))
        try:
            yield bridge
        finally:
            stop.set()
            await running

    def check(self, points: str = NAMED) -> tuple[dict[str, str], list[str]]:
        """The records of the points, and the warnings, as `check` would show them."""
        text = site("tcp://127.0.0.1:9", self._udp_port, points)
        loaded = load_text_with_warnings(text, self._folder / "site.yaml")
        ledger = Ledger.copy_of(self._folder / "state" / "ledger.sqlite")
        objects = planned_objects(loaded.site, ledger, loaded.source)
        records = {each.point.name: each.record for each in objects if each.record}
        said = [str(each) for each in loaded.source.found if "heat-1" in each.key]
        return records, said


@pytest.fixture
async def cellar(tmp_path: Path) -> AsyncIterator[Cellar]:
    meter = Changing(ENERGY)
    simulated = SimulatedMeter(
        "heat-1",
        meter,
        primary=1,
        secondary=parse_secondary("12345678-KAM-1B-04"),
        baudrate=38400,
        answer_delay=0.01,
    )
    server = await serve_tcp(SimulatedBus([simulated], baudrate=38400))
    yield Cellar(server, meter, tmp_path)
    await server.close()


async def until(bridge: Bridge, name: str, holds: Callable[[Reading], bool]) -> Reading:
    """Wait until a point's reading is as it should be."""
    try:
        async with asyncio.timeout(10):
            while name not in bridge.store.points or not holds(bridge.store.reading(name)):
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"{name} stayed {bridge.store.points and bridge.store.reading(name)}")
    return bridge.store.reading(name)


async def answers(bridge: Bridge, name: str = "heat-1.last-read", count: int = 2) -> None:
    """Wait for some more answers of the meter."""
    for _ in range(count):
        last = bridge.store.reading(name).read_at
        await until(bridge, name, lambda reading, last=last: reading.read_at != last)  # type: ignore[misc]


def shows(value: int) -> Callable[[Reading], bool]:
    return lambda reading: reading.fault is None and reading.value == Decimal(value)


def is_in(fault: Fault) -> Callable[[Reading], bool]:
    return lambda reading: reading.fault is fault


async def test_a_meter_that_adds_a_record_moves_nothing_not_even_by_a_restart(
    cellar: Cellar,
) -> None:
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", shows(12345678))
        await answers(bridge)
        cellar.meter.says = (f"{OTHER} {LATER}",)
        await until(bridge, "heat-1.energy", shows(12345679))
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", shows(12345679))
    assert cellar.check() == ({"heat-1.energy": "0C06"}, [])


async def test_a_change_of_range_is_followed_and_outlives_a_restart(
    cellar: Cellar, caplog: pytest.LogCaptureFixture
) -> None:
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", shows(12345678))
        await answers(bridge)
        cellar.meter.says = (TENS,)
        await until(bridge, "heat-1.energy", shows(12345680))
        await answers(bridge, count=3)
    assert caplog.text.count("is fed by 0C07 from now on") == 1
    async with cellar.bridge() as bridge:
        cellar.meter.says = (f"{TENS} {OTHER}",)
        await until(bridge, "heat-1.energy", shows(12345680))
        await answers(bridge, count=3)
    records, warnings = cellar.check()
    assert (records, warnings) == ({"heat-1.energy": "0C07"}, [])


async def test_a_record_that_comes_twice_is_in_doubt_until_it_comes_once(
    cellar: Cellar, caplog: pytest.LogCaptureFixture
) -> None:
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", shows(12345678))
        await answers(bridge)
        cellar.meter.says = (f"{ENERGY} {LATER}",)
        await until(bridge, "heat-1.energy", is_in(Fault.AMBIGUOUS))
        assert bridge.store.reading("heat-1.energy").value == Decimal(12345678)
        await answers(bridge)
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", is_in(Fault.AMBIGUOUS))
        assert bridge.faults() == {Fault.AMBIGUOUS: 1}
        cellar.meter.says = (LATER,)
        await until(bridge, "heat-1.energy", shows(12345679))
    assert "which this meter sent once and now sends 2 times" in caplog.text


async def test_a_key_takes_one_of_two_equal_records_of_different_telegrams(cellar: Cellar) -> None:
    cellar.meter.says = (ENERGY, LATER)
    points = "{first: {record: 0C06}, second: {record: 0C06#2}, any: {quantity: energy}}"
    async with cellar.bridge(points) as bridge:
        await until(bridge, "heat-1.first", shows(12345678))
        await until(bridge, "heat-1.second", shows(12345679))
        await until(bridge, "heat-1.any", is_in(Fault.AMBIGUOUS))
        await answers(bridge)
    records, warnings = cellar.check(points)
    assert records == {"heat-1.first": "0C06", "heat-1.second": "0C06#2"}
    assert len(warnings) == 1
    assert ".points.any: names 2 records of this meter: 0C06 (energy, in Wh), 0C06#2" in warnings[0]


async def test_found_points_stay_what_they_are(cellar: Cellar) -> None:
    async with cellar.bridge("current") as bridge:
        await until(bridge, "heat-1.energy", shows(12345678))
        await answers(bridge)
        cellar.meter.says = (f"{OTHER} {LATER}",)
        await until(bridge, "heat-1.energy-2", shows(1))
        await until(bridge, "heat-1.energy", shows(12345679))
        await answers(bridge)
        cellar.meter.says = (OTHER,)
        await until(bridge, "heat-1.energy", is_in(Fault.RECORD_MISSING))
    async with cellar.bridge("current") as bridge:
        await until(bridge, "heat-1.energy-2", shows(1))
        await until(bridge, "heat-1.energy", is_in(Fault.RECORD_MISSING))
        await answers(bridge)
    records, _ = cellar.check("current")
    assert records == {"heat-1.energy-2": "0406"}


async def test_another_selector_in_the_file_is_asked_anew(cellar: Cellar) -> None:
    async with cellar.bridge() as bridge:
        await until(bridge, "heat-1.energy", shows(12345678))
        await answers(bridge)
    cellar.meter.says = (f"{ENERGY} 4C 06 01 00 00 00",)
    async with cellar.bridge("{energy: {quantity: energy, storage: 1}}") as bridge:
        await until(bridge, "heat-1.energy", shows(1))
