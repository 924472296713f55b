"""Recorded telegrams on a simulated bus: every record that has a value is an object that shows it.

The same at true wire speed, with each part in a process of its own, and with figures:
``scripts/bench segment``.
"""

from __future__ import annotations

import asyncio
import datetime
import socket
import struct
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.bridge import Bridge
from bridge.app.readings import FirstRound
from bridge.bacnet.client import Browser, ObjectValue
from bridge.config.load import load_text
from bridge.sim.bus import SimulatedBus
from bridge.sim.server import serve_tcp
from scripts.benchmarks.expected import (
    difference,
    expectation,
    fault_difference,
    nearest_real,
    own_differences,
    recordings,
    simulated,
    unexpected,
)
from scripts.benchmarks.running import site_text

BAUDRATE = 38400
RECORDINGS = recordings((Path(__file__).parent / "vectors").glob("*.hex"))
EXPECTED = {each.name: expectation(each) for each in RECORDINGS}


@dataclass(frozen=True)
class Look:
    """What a BMS has read, by the names of the objects; ``began`` is when the bridge started."""

    objects: dict[str, ObjectValue]
    began: datetime.datetime


@pytest.fixture(scope="module")
def look() -> Look:
    """All objects after the first round."""
    return asyncio.run(one_round())


async def one_round() -> Look:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        udp_port = probe.getsockname()[1]
    bus = SimulatedBus(simulated(RECORDINGS, baudrate=BAUDRATE), baudrate=BAUDRATE)
    server = await serve_tcp(bus)
    names = [each.name for each in RECORDINGS]
    text = site_text([server.url], udp_port, BAUDRATE, names)
    bridge = Bridge(load_text(text, Path("site.yaml")), state=None)
    rounds: asyncio.Future[FirstRound] = asyncio.get_running_loop().create_future()
    bridge.on_first_round = rounds.set_result
    stop = asyncio.Event()
    began = datetime.datetime.now()
    await bridge.start()
    running = asyncio.create_task(bridge.run(stop))
    try:
        async with asyncio.timeout(20):
            first = await rounds
        assert first.failed == []
        async with Browser("127.0.0.1", timeout=2.0) as browser:
            device = await browser.find(f"127.0.0.1:{udp_port}")
            objects = {value.name: value async for value in browser.read_objects(device)}
        return Look(objects, began)
    finally:
        stop.set()
        await running
        await server.close()


@pytest.mark.parametrize("name", EXPECTED)
def test_every_record_with_a_value_is_an_object_that_shows_it(look: Look, name: str) -> None:
    wanted = EXPECTED[name]
    seen = look.objects
    problems = {each.name: difference(each, seen.get(each.name)) for each in wanted.objects}
    problems |= {each.name: fault_difference(each, seen.get(each.name)) for each in wanted.left}
    assert {name: problem for name, problem in problems.items() if problem} == {}
    assert own_differences(wanted.recording, seen, look.began) == []


def test_there_is_no_object_that_no_record_accounts_for(look: Look) -> None:
    assert unexpected(EXPECTED.values(), look.objects) == []


@pytest.mark.parametrize(
    ("name", "record", "value", "units"),
    [
        ("electricity.energy", "0E 03 89 67 45 23 01 00", "123456.789", "kilowatt-hours"),
        ("electricity.power-L1", "04 A9 FC 01 40 E2 01 00", "1.23456", "kilowatts"),
        ("electricity.power-L2", "04 A9 FC 02 D7 F6 FF FF", "-0.02345", "kilowatts"),
        ("electricity.reactive-energy", "04 FB 82 75 FF 2A 01 00", "7654.3",
         "kilovolt-ampere-hours-reactive"),
    ],
)  # fmt: skip
def test_some_of_them_with_their_bytes(
    look: Look, name: str, record: str, value: str, units: str
) -> None:
    recording = EXPECTED[name.partition(".")[0]].recording
    assert bytes.fromhex(record) in recording.frames[0].data
    seen = look.objects[name.lower()]
    assert seen.units == units
    assert isinstance(seen.value, Decimal)
    assert struct.pack(">f", float(seen.value)) == struct.pack(">f", float(value))


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("0", "00 00 00 00"),
        ("1", "3F 80 00 00"),
        ("-0.1", "BD CC CC CD"),
        ("16777217", "4B 80 00 00"),  # half-way between two REALs: the even one
        ("16777219", "4B 80 00 02"),
        # Rounded to a Double first, it would be half-way, and then be rounded down.
        ("1.000000059604644775390626", "3F 80 00 01"),
        ("1e-46", "00 00 00 00"),
    ],
)
def test_what_a_number_must_be_as_a_real_is_right_itself(value: str, octets: str) -> None:
    assert nearest_real(Decimal(value)) == bytes.fromhex(octets)
