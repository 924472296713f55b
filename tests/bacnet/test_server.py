"""The device as a BMS meets it: bytes on a UDP socket."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bridge.bacnet.errors import (
    AddressError,
    BacnetError,
    NotOurAddressError,
    PointRefusedError,
    PortTakenError,
)
from bridge.bacnet.server import BacnetDevice, DeviceSettings, ForeignSettings
from bridge.points.ledger import InstanceTakenError, Ledger, preferred_instance
from bridge.points.reading import Fault, Kind, Point, Reading
from bridge.points.store import Store

if TYPE_CHECKING:
    from tests.bacnet.conftest import Peer

    Connect = Callable[[tuple[str, int]], Awaitable[Peer]]

TEMPERATURE = "heat-1.flow-temperature"
# ReadProperty (12) of analog-input 1, without the property
READ = "02 05 01 0c 0c 00 00 00 01"
PRESENT_VALUE = "19 55"
STATUS_FLAGS = "19 6f"
RELIABILITY = "19 67"
OUT_OF_SERVICE = "19 51"
# WriteProperty (15) to analog-input 1
WRITE = "02 05 02 0f 0c 00 00 00 01"


def reading(value: str) -> Reading:
    return Reading(Decimal(value), 2_000.0, None)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_value_is_read(peer: Peer) -> None:
    answer = await peer.ask(f"{READ} {PRESENT_VALUE}")
    assert answer == "30 01 0c 0c 00 00 00 01 19 55 3e 44 41 ac 00 00 3f"  # 21.5


async def test_values_and_flags_of_several_objects_are_read_in_one_request(peer: Peer) -> None:
    answer = await peer.ask(
        "02 05 01 0e 0c 00 00 00 01 1e 09 55 09 6f 1f 0c 00 c0 00 01 1e 09 55 1f"
    )
    assert answer == (
        "30 01 0e 0c 00 00 00 01 1e 29 55 4e 44 41 ac 00 00 4f 29 6f 4e 82 04 00 4f 1f"
        " 0c 00 c0 00 01 1e 29 55 4e 91 01 4f 1f"
    )


async def test_a_failed_meter_keeps_its_value_and_says_communication_failure(
    peer: Peer, store: Store
) -> None:
    store.fail(TEMPERATURE, Fault.NO_ANSWER)
    assert (await peer.ask(f"{READ} {PRESENT_VALUE}")).endswith("3e 44 41 ac 00 00 3f")
    assert (await peer.ask(f"{READ} {RELIABILITY}")).endswith("3e 91 0c 3f")
    assert (await peer.ask(f"{READ} {STATUS_FLAGS}")).endswith("3e 82 04 40 3f")


async def test_what_was_never_read_is_no_number(peer: Peer, store: Store) -> None:
    store.add(Point("new", "m", Kind.NUMBER, instance=7))
    answer = await peer.ask("02 05 01 0c 0c 00 00 00 07 19 55")
    assert answer.endswith("3e 44 7f c0 00 00 3f")


async def test_several_values_of_which_one_was_never_read_come_in_one_answer(
    peer: Peer, store: Store
) -> None:
    store.add(Point("new", "m", Kind.NUMBER, instance=7))
    wide = Point("wide", "m", Kind.NUMBER, object_type="large-analog-value", instance=7)
    store.add(wide)
    answer = await peer.ask("02 05 01 0e 0c 00 00 00 07 1e 09 55 1f 0c 0b 80 00 07 1e 09 55 1f")
    assert answer == (
        "30 01 0e 0c 00 00 00 07 1e 29 55 4e 44 7f c0 00 00 4f 1f"
        " 0c 0b 80 00 07 1e 29 55 4e 55 08 7f f8 00 00 00 00 00 00 4f 1f"
    )


async def test_the_cov_increment_is_the_meter_s_step_however_round_its_first_value(
    peer: Peer, store: Store
) -> None:
    read_increment = "02 05 01 0c 0c 00 00 00 07 19 16"
    store.add(Point("flow", "m", Kind.NUMBER, instance=7))
    # A REAL32 has no step.
    store.put("flow", reading("0.0"))
    assert (await peer.ask(read_increment)).endswith("3e 44 3a 83 12 6f 3f")  # 0.001
    store.put("flow", Reading(Decimal("0"), 3_000.0, None, resolution=Decimal("0.25")))
    assert (await peer.ask(read_increment)).endswith("3e 44 3e 80 00 00 3f")
    store.fail("flow", Fault.NO_ANSWER)
    assert (await peer.ask(read_increment)).endswith("3e 44 3e 80 00 00 3f")


async def test_what_the_user_chose_is_the_cov_increment_whatever_the_meter_s_step(
    peer: Peer, store: Store
) -> None:
    stepped = Reading(Decimal("22"), 2_000.0, None, resolution=Decimal("0.01"))
    store.put(TEMPERATURE, stepped)
    assert (await peer.ask(f"{READ} 19 16")).endswith("3e 44 3f 00 00 00 3f")  # 0.5


@pytest.mark.parametrize(
    ("step", "first", "then", "scale", "count"),
    [
        (None, "6.0", "6.7", "fd", "22 1a 2c"),  # a REAL32: 6 700 x 10^-3
        ("0.01", "6", "6.7", "fe", "22 02 9e"),  # 670 x 10^-2
        (
            "0.2777777777777777777777777778",  # MJ, asked for in kWh
            "1388888.888888888888888888889",
            "1388889.166666666666666666667",
            "ff",
            "23 d3 ed 7c",  # 13 888 892 x 10^-1
        ),
    ],
)
async def test_an_accumulator_s_scale_follows_the_meter_s_step_however_round_its_first_value(
    peer: Peer, store: Store, step: str | None, first: str, then: str, scale: str, count: str
) -> None:
    point = Point("count", "m", Kind.NUMBER, object_type="accumulator", instance=3)
    resolution = None if step is None else Decimal(step)
    store.add(point)
    for value in (first, then):
        store.put("count", Reading(Decimal(value), 2_000.0, None, resolution))
    assert (await peer.ask("02 05 01 0c 0c 05 c0 00 03 19 bb")).endswith(f"3e 19 {scale} 3f")
    assert (await peer.ask("02 05 01 0c 0c 05 c0 00 03 19 55")).endswith(f"3e {count} 3f")
    assert (await peer.ask("02 05 01 0c 0c 05 c0 00 03 19 67")).endswith("3e 91 00 3f")


async def test_a_date_that_bacnet_cannot_say_leaves_the_last_one_and_is_over_range(
    peer: Peer, store: Store
) -> None:
    store.add(
        Point("day", "m", Kind.DATE, instance=4), Reading(datetime.date(2026, 2, 28), 0, None)
    )
    store.put("day", Reading(datetime.date(2243, 6, 1), 2_000.0, None))
    read = "02 05 01 0c 0c 0a 80 00 04"
    assert (await peer.ask(f"{read} {PRESENT_VALUE}")).endswith("3e a4 7e 02 1c 06 3f")
    assert (await peer.ask(f"{read} {RELIABILITY}")).endswith("3e 91 02 3f")


async def test_a_value_that_cannot_be_encoded_costs_itself_only_and_is_logged_once(
    peer: Peer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(Point("text", "m", Kind.TEXT, instance=2), Reading("\ud800", 2_000.0, None))
    broken = "0a 00 00 02"
    for _ in range(2):
        answer = await peer.ask(f"02 05 01 0c 0c {broken} 19 55")
        assert answer == "50 01 0c 91 00 91 19"  # device, operational-problem
        answer = await peer.ask(
            f"02 05 01 0e 0c {broken} 1e 09 55 09 67 1f 0c 00 00 00 01 1e 09 55 1f"
        )
        assert answer == (
            f"30 01 0e 0c {broken} 1e 29 55 5e 91 00 91 19 5f 29 67 4e 91 00 4f 1f"
            " 0c 00 00 00 01 1e 29 55 4e 44 41 ac 00 00 4f 1f"
        )
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [
        "present-value of characterstring-value,2 cannot be told" in each.message for each in told
    ] == [True]


async def test_a_point_found_while_running_is_there_and_a_removed_one_is_not(
    peer: Peer, store: Store
) -> None:
    revision = await peer.ask("02 05 01 0c 0c 02 00 04 d2 19 9b")
    store.add(Point("new", "m", Kind.NUMBER, instance=7), reading("1"))
    assert (await peer.ask("02 05 02 0c 0c 00 00 00 07 19 55")).startswith("30 02")
    assert (await peer.ask("02 05 01 0c 0c 02 00 04 d2 19 9b")) != revision
    store.remove("new")
    assert await peer.ask("02 05 03 0c 0c 00 00 00 07 19 55") == "50 03 0c 91 01 91 1f"
    assert (await peer.ask("02 05 01 0c 0c 02 00 04 d2 19 9b")) == revision


@pytest.mark.parametrize(
    "request_",
    [
        f"{WRITE} {PRESENT_VALUE} 3e 44 42 c8 00 00 3f",
        f"{WRITE} {RELIABILITY} 3e 91 00 3f",
        f"{WRITE} 19 4d 3e 75 03 00 61 62 3f",  # object-name
        f"{WRITE} 19 75 3e 91 13 3f",  # units
        f"{WRITE} 19 16 3e 44 00 00 00 00 3f",  # cov-increment
        "02 05 02 0f 0c 02 00 04 d2 19 4b 3e c4 02 00 10 e1 3f",  # the device's own identifier
    ],
)
async def test_nothing_may_be_written_in_service(peer: Peer, request_: str) -> None:
    assert await peer.ask(request_) == "50 02 0f 91 02 91 28"  # property, write-access-denied


async def test_out_of_service_lets_a_bms_try_values_and_returns_to_the_meter(
    peer: Peer, store: Store
) -> None:
    assert await peer.ask(f"{WRITE} {OUT_OF_SERVICE} 3e 11 3f") == "20 02 0f"
    assert await peer.ask(f"{WRITE} {PRESENT_VALUE} 3e 44 42 c8 00 00 3f") == "20 02 0f"
    assert await peer.ask(f"{WRITE} {RELIABILITY} 3e 91 02 3f") == "20 02 0f"
    store.put(TEMPERATURE, reading("30"))
    assert (await peer.ask(f"{READ} {PRESENT_VALUE}")).endswith("3e 44 42 c8 00 00 3f")
    assert (await peer.ask(f"{READ} {STATUS_FLAGS}")).endswith("3e 82 04 50 3f")
    assert await peer.ask(f"{WRITE} {OUT_OF_SERVICE} 3e 10 3f") == "20 02 0f"
    assert (await peer.ask(f"{READ} {PRESENT_VALUE}")).endswith("3e 44 41 f0 00 00 3f")
    assert (await peer.ask(f"{READ} {STATUS_FLAGS}")).endswith("3e 82 04 00 3f")


async def test_back_in_service_what_was_never_read_is_no_number_again(
    peer: Peer, store: Store
) -> None:
    store.add(Point("new", "m", Kind.NUMBER, instance=7))
    write = "02 05 02 0f 0c 00 00 00 07"
    for value in (
        f"{OUT_OF_SERVICE} 3e 11 3f",
        f"{PRESENT_VALUE} 3e 44 42 28 00 00 3f",  # 42
        f"{RELIABILITY} 3e 91 00 3f",
    ):
        assert await peer.ask(f"{write} {value}") == "20 02 0f"
    assert await peer.ask(f"{write} {OUT_OF_SERVICE} 3e 10 3f") == "20 02 0f"
    read = "02 05 01 0c 0c 00 00 00 07"
    assert (await peer.ask(f"{read} {PRESENT_VALUE}")).endswith("3e 44 7f c0 00 00 3f")
    assert (await peer.ask(f"{read} {RELIABILITY}")).endswith("3e 91 0c 3f")


async def test_back_in_service_the_last_good_count_returns_though_the_meter_fails(
    peer: Peer, store: Store
) -> None:
    point = Point("volume", "m", Kind.NUMBER, "cubic-meters", object_type="accumulator", instance=3)
    store.add(point, Reading(Decimal("0.725"), 2_000.0, None))
    write = "02 05 02 0f 0c 05 c0 00 03"
    assert await peer.ask(f"{write} {OUT_OF_SERVICE} 3e 11 3f") == "20 02 0f"
    store.put("volume", Reading(Decimal("0.726"), 2_000.0, None))  # comes unseen, and counts
    store.put("volume", Reading(Decimal("-0.001"), 2_000.0, None))
    assert await peer.ask(f"{write} {PRESENT_VALUE} 3e 23 01 86 9f 3f") == "20 02 0f"  # 99 999
    assert await peer.ask(f"{write} {OUT_OF_SERVICE} 3e 10 3f") == "20 02 0f"
    read = "02 05 01 0c 0c 05 c0 00 03"
    assert (await peer.ask(f"{read} {PRESENT_VALUE}")).endswith("3e 22 02 d6 3f")  # 726
    assert (await peer.ask(f"{read} {RELIABILITY}")).endswith("3e 91 03 3f")  # under-range


async def test_a_proprietary_reliability_may_be_written_and_one_beyond_may_not(peer: Peer) -> None:
    await peer.ask(f"{WRITE} {OUT_OF_SERVICE} 3e 11 3f")
    assert await peer.ask(f"{WRITE} {RELIABILITY} 3e 92 ff ff 3f") == "20 02 0f"  # 65 535
    answer = await peer.ask(f"{WRITE} {RELIABILITY} 3e 93 01 11 70 3f")  # 70 000
    assert answer == "50 02 0f 91 02 91 25"  # value-out-of-range
    assert (await peer.ask(f"{READ} {RELIABILITY}")).endswith("3e 92 ff ff 3f")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (f"{PRESENT_VALUE} 3e 75 03 00 61 62 3f", "91 02 91 09"),  # a text: invalid-data-type
        (f"{PRESENT_VALUE} 3e 00 3f", "91 02 91 09"),  # Null
        (f"{PRESENT_VALUE} 3e 44 7f 80 00 00 3f", "91 02 91 25"),  # infinite: value-out-of-range
        ("1a 02 00 3e 21 01 3f", "91 02 91 20"),  # property 512: unknown-property
        (f"{PRESENT_VALUE} 29 01 3e 44 42 c8 00 00 3f", "91 02 91 32"),  # not an array
    ],
)
async def test_a_write_that_makes_no_sense_is_told_why(peer: Peer, value: str, error: str) -> None:
    await peer.ask(f"{WRITE} {OUT_OF_SERVICE} 3e 11 3f")
    assert await peer.ask(f"{WRITE} {value}") == f"50 02 0f {error}"


async def test_who_has_finds_an_object_by_its_name(peer: Peer) -> None:
    name = TEMPERATURE.encode()
    text = f"3d {len(name) + 1:02x} 00 {name.hex()}"
    peer.send(f"10 07 {text}", reply=False)
    assert (await peer.next()).startswith("10 01 c4 02 00 04 d2 c4 00 00 00 01 75")


async def test_who_is_is_answered_within_its_range_only(peer: Peer) -> None:
    peer.send("10 08 0a 04 d2 1a 04 d2", reply=False)  # 1234 to 1234
    assert await peer.next() == "10 00 c4 02 00 04 d2 22 05 c4 91 00 22 03 e7"
    peer.send("10 08 09 00 19 05", reply=False)
    peer.send("10 08 09 05", reply=False)  # half a range
    assert await peer.silent()


async def test_the_device_says_i_am_once_at_its_start_and_hears_broadcasts(store: Store) -> None:
    port = free_port()
    broadcasts = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    broadcasts.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    broadcasts.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    broadcasts.bind(("127.255.255.255", port))
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    asker.bind(("127.0.0.3", 0))
    for each in (broadcasts, asker):
        each.setblocking(False)
    loop = asyncio.get_running_loop()
    device = BacnetDevice(DeviceSettings(1234, "A", port=port), store, Ledger(None))
    await device.start()
    try:
        async with asyncio.timeout(2):
            i_am = await loop.sock_recv(broadcasts, 100)
            assert i_am.hex(" ") == (
                "81 0b 00 19 01 20 ff ff 00 ff 10 00 c4 02 00 04 d2 22 05 c4 91 00 22 03 e7"
            )
            await loop.sock_sendto(
                asker, bytes.fromhex("81 0b 00 08 01 00 10 08"), ("127.255.255.255", port)
            )
            answer = await loop.sock_recv(asker, 100)
            assert answer.hex(" ")[12:].endswith("10 00 c4 02 00 04 d2 22 05 c4 91 00 22 03 e7")
    finally:
        await device.stop()
        broadcasts.close()
        asker.close()


async def test_an_occupied_port_is_said_at_once_with_what_to_do(
    device: BacnetDevice, store: Store
) -> None:
    second = BacnetDevice(DeviceSettings(5, "B", port=device.address[1]), store, Ledger(None))
    with pytest.raises(PortTakenError, match=r"UDP port \d+ of 127\.0\.0\.1 is taken") as caught:
        await second.start()
    assert "choose another" in str(caught.value)


async def test_an_address_that_is_not_ours_is_said_at_once(store: Store) -> None:
    device = BacnetDevice(DeviceSettings(5, "B", address="192.0.2.1/24"), store, Ledger(None))
    with pytest.raises(NotOurAddressError, match=r"192\.0\.2\.1"):
        await device.start()
    nonsense = BacnetDevice(DeviceSettings(5, "B", address="eth0"), store, Ledger(None))
    with pytest.raises(AddressError, match=r"192\.168\.1\.10/24"):
        await nonsense.start()


async def test_stop_releases_the_port_and_start_works_again(store: Store) -> None:
    device = BacnetDevice(DeviceSettings(5, "B", port=free_port()), store, Ledger(None))
    for _ in range(2):
        await device.start()
        await device.stop()
    await device.stop()
    with pytest.raises(BacnetError):
        _ = device.address


async def test_an_instance_that_the_user_chose_goes_before_one_that_follows_from_a_name() -> None:
    by_name = preferred_instance("a")
    store = Store()
    store.add(Point("a", "m", Kind.NUMBER), reading("1"))
    store.add(Point("b", "m", Kind.NUMBER, instance=by_name), reading("2"))
    ledger = Ledger(None)
    device = BacnetDevice(DeviceSettings(5, "B", port=0), store, ledger)
    await device.start()
    await device.stop()
    assert ledger.instance("analog-input", "b") == by_name
    assert ledger.instance("analog-input", "a") == by_name + 1


async def test_the_start_is_told_by_who_starts_the_device(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device = BacnetDevice(DeviceSettings(5, "B", port=0), store, Ledger(None))
    await device.start()
    await device.stop()
    assert caplog.records == []


async def test_an_instance_that_is_taken_stops_the_start_and_frees_the_port(store: Store) -> None:
    store.add(Point("other", "m", Kind.NUMBER, instance=1))
    port = free_port()
    device = BacnetDevice(DeviceSettings(5, "B", port=port), store, Ledger(None))
    with pytest.raises(InstanceTakenError):
        await device.start()
    store.remove("other")
    await device.start()
    await device.stop()


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (Point("p", "m", Kind.NUMBER, object_type="binary-input"), "choose one of: analog-input"),
        (Point("Building A", "m", Kind.NUMBER), "choose another"),
    ],
)
async def test_a_point_that_cannot_be_offered_stops_the_start(point: Point, message: str) -> None:
    store = Store()
    store.add(point)
    device = BacnetDevice(DeviceSettings(5, "Building A", port=0), store, Ledger(None))
    with pytest.raises(PointRefusedError, match=message):
        await device.start()


async def test_a_point_that_cannot_be_offered_later_ends_nothing(
    device: BacnetDevice, store: Store, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(Point("p", "m", Kind.NUMBER, object_type="binary-input"))
    store.put("p", reading("1"))
    assert "choose one of: analog-input" in caplog.text
    assert (await peer.ask(f"{READ} {PRESENT_VALUE}")).startswith("30 01")


async def test_an_accumulator_appears_with_its_first_value_and_keeps_its_scale(
    connect: Connect,
) -> None:
    ledger = Ledger(None)
    point = Point("volume", "m", Kind.NUMBER, "cubic-meters", object_type="accumulator", instance=3)
    read_scale = "02 05 01 0c 0c 05 c0 00 03 19 bb"
    read_value = "02 05 01 0c 0c 05 c0 00 03 19 55"
    for first, then in (("561.080", "562"), ("563", "563.5")):
        store = Store()
        store.add(point)
        device = BacnetDevice(DeviceSettings(5, "B", port=0), store, ledger)
        await device.start()
        peer = await connect(device.address)
        if first == "561.080":
            assert await peer.ask(read_value) == "50 01 0c 91 01 91 1f"
        store.put("volume", reading(first))
        assert (await peer.ask(read_scale)).endswith("3e 19 fd 3f")  # integer-scale -3
        store.put("volume", reading(then))
        count = int(Decimal(then) * 1000)
        assert (await peer.ask(read_value)).endswith(f"3e 23 {count.to_bytes(3).hex(' ')} 3f")
        await device.stop()


async def test_a_foreign_device_registers_with_its_bbmd(store: Store) -> None:
    bbmd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bbmd.bind(("127.0.0.9", 0))
    bbmd.setblocking(False)
    foreign = ForeignSettings(f"127.0.0.9:{bbmd.getsockname()[1]}", ttl=120)
    device = BacnetDevice(DeviceSettings(5, "B", port=0, foreign=foreign), store, Ledger(None))
    loop = asyncio.get_running_loop()
    await device.start()
    try:
        async with asyncio.timeout(2):
            data, source = await loop.sock_recvfrom(bbmd, 100)
            assert data.hex(" ") == "81 05 00 06 00 78"  # Register-Foreign-Device, 120 s
            await loop.sock_sendto(bbmd, bytes.fromhex("81 00 00 06 00 00"), source)
            # The I-Am of the start follows, for the BBMD to distribute.
            assert (await loop.sock_recv(bbmd, 100)).hex(" ").startswith("81 09 00 19 01 20 ff ff")
    finally:
        await device.stop()
        data = await asyncio.wait_for(loop.sock_recv(bbmd, 100), 2)
        assert data.hex(" ") == "81 05 00 06 00 00"  # and gives it up
        bbmd.close()
