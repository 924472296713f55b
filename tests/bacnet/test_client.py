"""The browsing side, against our own device at its best and at its least."""

from __future__ import annotations

import asyncio
import datetime
import struct
import time
from decimal import Decimal
from types import MappingProxyType

import pytest
from bacpypes3.basetypes import Segmentation
from hypothesis import given
from hypothesis import strategies as st

from bridge.bacnet.client import Browser, ObjectValue, shortest_real
from bridge.bacnet.errors import BrowseError, NotOurAddressError
from bridge.bacnet.properties import StatusFlags
from bridge.bacnet.server import BacnetDevice, DeviceSettings
from bridge.bacnet.services import DeviceApplication
from bridge.bacnet.stack import TransactionSettings
from bridge.points.ledger import Ledger
from bridge.points.reading import Fault, Kind, Point, Reading
from bridge.points.store import Store

NOTHING_WRONG = StatusFlags(False, False, False, False)


def target(device: BacnetDevice) -> str:
    return "{}:{}".format(*device.address)


async def read_all(device: BacnetDevice) -> list[ObjectValue]:
    async with Browser(timeout=1) as browser:
        found = await browser.find(target(device))
        return [value async for value in browser.read_objects(found)]


@pytest.fixture
def every_kind(store: Store) -> None:
    for name, kind, object_type, value in (
        ("count", Kind.NUMBER, "accumulator", Decimal("561.080")),
        ("exact", Kind.NUMBER, "large-analog-value", Decimal("123456789.123")),
        ("text", Kind.TEXT, None, "Zähler"),
        ("moment", Kind.DATE_TIME, None, datetime.datetime(2026, 2, 28, 12, 30, 15, 120_000)),
        ("day", Kind.DATE, None, datetime.date(2026, 2, 28)),
        ("hour", Kind.TIME, None, datetime.time(12, 30)),
    ):
        store.add(Point(name, "m", kind, object_type=object_type), Reading(value, 0.0, None))
    store.add(Point("never", "m", Kind.NUMBER, "gigajoules"))
    store.add(Point("no-date", "m", Kind.DATE_TIME))


@pytest.mark.usefixtures("every_kind")
async def test_every_kind_of_value_comes_back_as_it_was_put(device: BacnetDevice) -> None:
    values = {each.name: each for each in await read_all(device)}
    assert values["heat-1.flow-temperature"] == ObjectValue(
        identifier="analog-input,1",
        name="heat-1.flow-temperature",
        value=Decimal("21.5"),
        units="degrees-celsius",
        reliability="no-fault-detected",
        status_flags=NOTHING_WRONG,
        description="Flow",
    )
    assert values["heat-1.answering"].value is True
    assert values["count"].value == Decimal("561.080")
    assert values["exact"].value == Decimal("123456789.123")
    assert values["text"].value == "Zähler"
    assert values["moment"].value == datetime.datetime(2026, 2, 28, 12, 30, 15, 120_000)
    assert values["day"].value == datetime.date(2026, 2, 28)
    assert values["hour"].value == datetime.time(12, 30)
    assert values["no-date"].value is None
    assert values["never"].value is None
    assert values["never"].units == "gigajoules"
    assert values["never"].reliability == "communication-failure"
    assert values["never"].status_flags == StatusFlags(False, True, False, False)


@pytest.mark.usefixtures("every_kind")
async def test_a_device_that_can_do_little_reads_the_same(
    device: BacnetDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await read_all(device)
    application = device._application
    assert application is not None
    application.asap.device_object = TransactionSettings(
        segmentationSupported=Segmentation.noSegmentation
    )
    assert await read_all(device) == expected
    less = {k: v for k, v in DeviceApplication.served.items() if "Multiple" not in k}
    monkeypatch.setattr(DeviceApplication, "served", MappingProxyType(less))
    assert await read_all(device) == expected


async def test_three_hundred_objects_without_segmentation_are_read_by_index_in_batches(
    device: BacnetDevice, store: Store
) -> None:
    for number in range(300):
        store.add(Point(f"p{number}", "m", Kind.NUMBER, description="x" * 40))
    application = device._application
    assert application is not None
    application.asap.device_object = TransactionSettings(
        segmentationSupported=Segmentation.noSegmentation
    )
    assert len(await read_all(device)) == 302


async def test_a_device_is_found_by_its_instance_range_only(device: BacnetDevice) -> None:
    async with Browser(timeout=0.2, tries=1) as browser:
        found = await browser.discover(target(device), low=1000, high=2000)
        assert [each.instance for each in found] == [1234]
        assert found[0].address == target(device)
        assert found[0].max_apdu == 1476
        assert found[0].segmentation == "segmented-both"
        assert await browser.discover(target(device), low=2000) == []


async def test_a_device_is_found_by_its_instance_with_a_broadcast(
    device: BacnetDevice,
) -> None:
    async with Browser("127.0.0.4", port=device.address[1], timeout=0.5) as browser:
        assert (await browser.find("1234")).address == target(device)


async def test_a_device_that_has_answered_is_not_waited_for(device: BacnetDevice) -> None:
    began = time.monotonic()
    async with Browser("127.0.0.4", port=device.address[1], timeout=10) as browser:
        await browser.find("1234")
    assert time.monotonic() - began < 1


async def test_two_devices_of_one_instance_are_both_named(
    device: BacnetDevice, store: Store
) -> None:
    settings = DeviceSettings(1234, "B", address="127.0.0.2/8", port=device.address[1])
    second = BacnetDevice(settings, store, Ledger(None))
    await second.start()
    async with Browser("127.0.0.4", port=device.address[1], timeout=2) as browser:
        with pytest.raises(BrowseError) as caught:
            await browser.find("1234")
    await second.stop()
    assert target(device) in str(caught.value)
    assert "127.0.0.2:" in str(caught.value)


async def test_nobody_there_is_said_in_time_with_what_to_check() -> None:
    began = time.monotonic()
    async with Browser(timeout=0.2, tries=2) as browser:
        with pytest.raises(BrowseError, match=r"answers at 127\.0\.0\.77.*check that it runs"):
            await browser.find("127.0.0.77")
        with pytest.raises(BrowseError, match="has the instance 4194000"):
            await browser.find("4194000")
    assert time.monotonic() - began < 2


async def test_a_device_that_falls_silent_is_an_error_and_no_hang(
    device: BacnetDevice, store: Store
) -> None:
    for number in range(40):
        store.add(Point(f"p{number}", "m", Kind.NUMBER))
    async with Browser(timeout=0.2, tries=2) as browser:
        found = await browser.find(target(device))
        values = browser.read_objects(found)
        await anext(values)
        await device.stop()
        async with asyncio.timeout(3):
            with pytest.raises(BrowseError, match="does not answer any more"):
                [each async for each in values]


async def test_a_fault_is_seen(device: BacnetDevice, store: Store) -> None:
    store.fail("heat-1.flow-temperature", Fault.WRONG_KEY)
    value = (await read_all(device))[0]
    assert value.value == Decimal("21.5")
    assert value.reliability == "configuration-error"


async def test_a_browser_needs_an_address_of_this_machine() -> None:
    with pytest.raises(NotOurAddressError, match=r"192\.0\.2\.1"):
        async with Browser("192.0.2.1/24"):
            pass


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_decimal_is_still_the_same_real(real: float) -> None:
    shortest = shortest_real(real)
    assert shortest is not None
    assert struct.pack(">f", float(shortest)) == struct.pack(">f", real + 0.0 or 0.0)
    assert shortest_real(struct.unpack(">f", struct.pack(">f", 561.08))[0]) == Decimal("561.08")
