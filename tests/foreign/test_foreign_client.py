"""A client of another BACnet stack, in another language, reads the bridge."""

from __future__ import annotations

import asyncio
import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.bacnet.server import BacnetDevice, DeviceSettings
from bridge.points.ledger import Ledger
from bridge.points.reading import Fault, Kind, Point, Reading
from bridge.points.store import Store

HERE = Path(__file__).parent
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "@bacnet-js" / "client").is_dir(),
        reason="the foreign client is not installed: npm ci --prefix tests/foreign",
    ),
]


class Foreign:
    """The foreign client at work, event by event."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def next(self, event: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            line = await self._process.stdout.readline()
        seen: dict[str, Any] = json.loads(line)
        assert seen["event"] == event, seen
        return seen

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(10):
            assert await self._process.wait() == 0


async def test_another_stack_discovers_reads_and_hears_of_a_change_and_of_a_fault() -> None:
    assert NODE is not None
    store = Store()
    store.add(
        Point("heat-1.energy", "heat-1", Kind.NUMBER, "kilowatt-hours", instance=1),
        Reading(Decimal("1234.5"), 1_000.0, None),
    )
    store.add(
        Point("heat-1.answering", "heat-1", Kind.BOOLEAN, instance=2), Reading(True, 1_000.0, None)
    )
    store.add(
        Point("heat-1.address", "heat-1", Kind.TEXT, instance=3),
        Reading("12345678-KAM-1B-04", 1_000.0, None),
    )
    store.add(Point("heat-1.flow", "heat-1", Kind.NUMBER, "cubic-meters-per-hour", instance=4))
    device = BacnetDevice(DeviceSettings(260_001, "Building A", port=0), store, Ledger(None))
    await device.start()
    host, port = device.address
    process = await asyncio.create_subprocess_exec(
        NODE,
        str(HERE / "browse.js"),
        f"{host}:{port}",
        "260001",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    foreign = Foreign(process)
    try:
        assert (await foreign.next("i-am"))["instance"] == 260_001
        listed = await foreign.next("object-list")
        assert listed["objects"] == ["8,260001", "56,1", "0,1", "3,2", "40,3", "0,4"]
        energy = await foreign.next("object")
        assert energy == {
            "event": "object",
            "object": "0,1",
            "name": "heat-1.energy",
            "value": 1234.5,
            "units": 19,
            "reliability": 0,
            "flags": [0],
        }
        assert (await foreign.next("object"))["value"] == 1
        assert (await foreign.next("object"))["value"] == "12345678-KAM-1B-04"
        flow = await foreign.next("object")
        assert flow["value"] == "NaN"
        assert flow["reliability"] == 12  # communication-failure
        assert flow["flags"] == [FAULT]
        await foreign.next("subscribed")
        notification = await foreign.next("notification")
        assert notification["value"] == 1234.5

        store.put("heat-1.energy", Reading(Decimal("1235.5"), 2_000.0, None))
        notification = await foreign.next("notification")
        assert notification["object"] == "0,1"
        assert notification["value"] == 1235.5
        assert notification["flags"] == [0]

        store.fail("heat-1.energy", Fault.NO_ANSWER)
        notification = await foreign.next("notification")
        assert notification["value"] == 1235.5
        assert notification["flags"] == [FAULT]
        await foreign.end()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await device.stop()


# Second of the four bits, as the foreign client keeps them: lowest bit first in an octet.
FAULT = 0b0010
