"""What bacpypes3 does wrong below the services, and we must not."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from bridge.bacnet.server import BacnetDevice
from bridge.points.reading import Kind, Point, Reading
from bridge.points.store import Store

if TYPE_CHECKING:
    from tests.bacnet.conftest import Peer

READ = "02 05 01 0c 0c 00 00 00 01 19 55"
# ReadProperty of the device's object-list, with room for a segment in the second octet
OBJECT_LIST = "0c 0c 02 00 04 d2 19 4c"
DEVICE = "02 05 01 0c 0c 02 00 04 d2"
WILDCARD = "02 05 01 0c 0c 02 3f ff ff"


def transactions(device: BacnetDevice) -> int:
    application = device._application
    assert application is not None
    return len(application.asap.serverTransactions)


@pytest.fixture
def many(store: Store) -> None:
    for number in range(1000):
        store.add(
            Point(f"p{number}", "m", Kind.NUMBER, instance=1000 + number),
            Reading(Decimal(number), 0.0, None),
        )


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ("02 05 01 0c 0c 00 00 00", "04"),  # cut off: invalid-tag
        ("02 05 01 0c 0c 00 00 00 01", "05"),  # no property: missing-required-parameter
        ("02 05 01 1a 0c 00 00 00 01 19 83", "09"),  # ReadRange: unrecognized-service
        ("02 05 01 10 0c 00 00 00 01 1e 09 55 2e 44 00 00 00 00 2f 1f", "09"),  # WPM
        ("02 05 01 7f", "09"),  # a service that is none
    ],
)
async def test_a_request_that_cannot_be_served_gets_a_reject(
    device: BacnetDevice, peer: Peer, request_: str, reason: str
) -> None:
    assert await peer.ask(request_) == f"60 01 {reason}"
    assert transactions(device) == 0


async def test_a_reserved_maximum_apdu_leaves_no_transaction_behind(
    device: BacnetDevice, peer: Peer
) -> None:
    for code in range(6, 16):
        assert (await peer.ask(f"02 {code:02x} {READ[6:]}")).startswith("30 01")
    assert transactions(device) == 0


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("code", "longest"), [(0, 50), (1, 128), (2, 206), (3, 480), (4, 1024), (5, 1444)]
)
async def test_a_segment_fits_the_client_with_its_header(
    peer: Peer, code: int, longest: int
) -> None:
    peer.send(f"02 7{code} 01 {OBJECT_LIST}")  # more than 64 segments accepted
    body = await collect(peer)
    assert max(peer_length for peer_length, _ in body) == longest
    assert len(b"".join(data for _, data in body)) == 8 + 1004 * 5 + 1


async def collect(peer: Peer, window: int = 4) -> list[tuple[int, bytes]]:
    """Length and data of all segments of an answer, confirmed a window at a time."""
    segments: list[tuple[int, bytes]] = []
    while True:
        apdu = bytes.fromhex(await peer.next())
        assert apdu[0] & 0xF8 == 0x38
        assert apdu[2] == len(segments) % 256
        segments.append((len(apdu), apdu[5:]))
        more = apdu[0] & 0x04
        if (len(segments) - 1) % window == 0 or not more:
            peer.send(f"40 {apdu[1]:02x} {apdu[2]:02x} {window:02x}", reply=False)
        if not more:
            return segments


async def test_an_answer_may_have_more_than_256_segments(
    device: BacnetDevice, peer: Peer, store: Store
) -> None:
    for number in range(2500):
        store.add(Point(f"p{number}", "m", Kind.NUMBER))
    peer.send(f"02 70 01 {OBJECT_LIST}")
    segments = await collect(peer, window=20)
    assert len(segments) > 256
    assert len(b"".join(data for _, data in segments)) == 8 + 2504 * 5 + 1
    await asyncio.sleep(0.05)
    assert transactions(device) == 0


@pytest.mark.usefixtures("many")
async def test_a_first_segment_that_got_lost_is_sent_again(
    device: BacnetDevice, peer: Peer
) -> None:
    peer.send(f"02 75 01 {OBJECT_LIST}")
    first = await peer.next()
    peer.send(f"02 75 01 {OBJECT_LIST}")  # the client asks again meanwhile
    assert await peer.silent()
    assert await peer.next(within=3) == first
    peer.send("40 01 00 04", reply=False)
    assert (await peer.next()).startswith("3c 01 01 04 0c")


@pytest.mark.usefixtures("many")
async def test_a_negative_ack_after_the_last_segment_sends_the_rest_again(peer: Peer) -> None:
    peer.send(f"02 75 01 {OBJECT_LIST}")
    await peer.next()
    peer.send("40 01 00 04", reply=False)
    segments = [bytes.fromhex(await peer.next()) for _ in range(3)]
    assert segments[-1][0] & 0x04 == 0
    peer.send("42 01 01 04", reply=False)  # only segment 1 came
    again = [bytes.fromhex(await peer.next()) for _ in range(2)]
    assert [each[2] for each in again] == [2, 3]
    peer.send("40 01 03 04", reply=False)
    assert await peer.silent()


@pytest.mark.usefixtures("many")
async def test_a_window_of_nothing_is_refused(device: BacnetDevice, peer: Peer) -> None:
    peer.send(f"02 75 01 {OBJECT_LIST}")
    await peer.next()
    peer.send("40 01 00 00", reply=False)
    assert await peer.next() == "71 01 07"  # window-size-out-of-range
    assert await peer.ask("0e 75 02 00 00 0c 0c 00 00 00 01 19 55") == "71 02 07"
    assert transactions(device) == 0


async def test_an_answer_too_long_for_a_client_without_segments_is_an_abort(
    peer: Peer, store: Store
) -> None:
    for number in range(20):
        store.add(Point(f"p{number}", "m", Kind.NUMBER))
    assert await peer.ask(f"00 00 01 {OBJECT_LIST}") == "71 01 04"


@contextlib.asynccontextmanager
async def nothing_waits(seconds: float) -> AsyncIterator[None]:
    """Fails where the event loop had no turn for so long."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - began)

    beating = asyncio.create_task(beat())
    yield
    beating.cancel()
    assert longest < seconds


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("header", "abort"),
    [
        ("00 05", "71 01 04"),  # no segments: segmentation-not-supported
        ("02 45", "71 01 0b"),  # 16 segments: apdu-too-long
        ("02 75", "71 01 01"),  # any number of segments: buffer-overflow
    ],
)
async def test_a_datagram_that_asks_for_the_object_list_700_times_holds_up_nobody(
    device: BacnetDevice, peer: Peer, header: str, abort: str
) -> None:
    async with nothing_waits(0.3):
        answer = await peer.ask(f"{header} 01 0e 0c 02 00 04 d2 1e {'09 4c' * 690} 1f")
    assert answer == abort
    assert transactions(device) == 0


@pytest.mark.usefixtures("many")
async def test_who_asks_for_everything_of_many_objects_holds_up_nobody(peer: Peer) -> None:
    everything = " ".join(f"0c 00 00 {1000 + n:04x} 1e 09 08 1f" for n in range(150))
    async with nothing_waits(0.3):
        peer.send(f"02 75 01 0e {everything}")
        peer.send(f"02 75 02 {READ[9:]}")
        assert (await peer.next()).startswith("30 02")  # does not wait for the long one
        assert (await peer.next()).startswith("3c 01 00")


@pytest.mark.usefixtures("many")
async def test_an_object_list_is_that_of_now(peer: Peer, store: Store) -> None:
    await peer.ask(f"{DEVICE} 19 4c 29 01")
    store.add(Point("new", "m", Kind.NUMBER, instance=7))
    assert (await peer.ask(f"{DEVICE} 19 4c 29 00")).endswith("3e 22 03 ed 3f")
    answer = await peer.ask(f"{DEVICE} 19 4c 2a 03 ed")
    assert answer.endswith("3e c4 00 00 00 07 3f")
    store.remove("new")
    assert await peer.ask(f"{DEVICE} 19 4c 2a 03 ed") == "50 01 0c 91 02 91 2a"


async def test_a_datagram_longer_than_any_of_bacnet_ip_is_dropped(
    device: BacnetDevice, peer: Peer
) -> None:
    peer.send(f"02 75 01 0e 0c 02 00 04 d2 1e {'09 4c' * 4000} 1f")
    assert await peer.silent()
    assert device._server is not None
    assert device._server.dropped == 1


async def test_a_segmented_request_is_served_and_an_endless_one_is_not(
    device: BacnetDevice, peer: Peer
) -> None:
    assert await peer.ask("0e 75 01 00 02 0c 0c 00 00") == "41 01 00 02"
    assert await peer.ask("0a 75 01 01 02 0c 00 01 19 55") == "41 01 01 02"
    assert (await peer.next()).startswith("30 01 0c")
    filling = "00" * 1400
    assert (await peer.ask(f"0e 75 02 00 01 0c {filling}")).startswith("41 02")
    for number in range(1, 60):
        answer = await peer.ask(f"0e 75 02 {number:02x} 01 0c {filling}")
        if answer.startswith("71"):
            assert answer == "71 02 01"  # buffer-overflow
            break
    assert transactions(device) == 0


async def test_the_wildcard_instance_is_the_device(peer: Peer) -> None:
    answer = await peer.ask(f"{WILDCARD} 19 4b")
    assert answer == "30 01 0c 0c 02 00 04 d2 19 4b 3e c4 02 00 04 d2 3f"
    answer = await peer.ask("02 05 01 0e 0c 02 3f ff ff 1e 09 4b 1f")
    assert answer == "30 01 0e 0c 02 00 04 d2 1e 29 4b 4e c4 02 00 04 d2 4f 1f"


def bits_set(answer: str) -> set[int]:
    """The numbers of the bits that are 1 in a property that is a long bit string."""
    value = bytes.fromhex(answer.split(" 3e ")[1].removesuffix(" 3f"))
    assert value[0] == 0x85
    octets = value[3:]
    return {n for n in range(len(octets) * 8) if octets[n // 8] >> (7 - n % 8) & 1}


async def test_only_what_is_served_is_announced(peer: Peer) -> None:
    # Bits 5, 12, 14, 15 and 33, 34: subscribe-cov, read and write, who-has and who-is.
    answer = await peer.ask(f"{DEVICE} 19 61")
    assert bits_set(answer) == {5, 12, 14, 15, 33, 34}


async def test_the_object_types_there_can_be_are_announced(peer: Peer) -> None:
    assert bits_set(await peer.ask(f"{DEVICE} 19 60")) == {0, 3, 8, 23, 40, 42, 44, 46, 50, 56}


async def test_the_property_list_leaves_out_what_the_standard_leaves_out(peer: Peer) -> None:
    answer = await peer.ask("02 05 01 0c 0c 00 00 00 01 1a 01 73")
    value = bytes.fromhex(answer.split(" 3e ")[1].removesuffix(" 3f"))
    numbers = set(value[1::2])  # each is 91 nn; the few above 255 are not at issue
    assert {85, 103, 111, 117, 28, 22, 36, 81} <= numbers
    assert not numbers & {75, 77, 79}


async def test_all_of_an_object_is_read_beside_one_that_does_not_exist(peer: Peer) -> None:
    answer = await peer.ask("02 05 01 0e 0c 00 00 00 63 1e 09 08 1f 0c 00 00 00 01 1e 09 08 1f")
    assert answer.startswith("30 01 0e 0c 00 00 00 63 1e 29 08 5e 91 01 91 1f 5f 1f")
    assert "29 55 4e 44 41 ac 00 00 4f" in answer
    assert "29 83" not in answer


@pytest.mark.parametrize("object_", ["00 00 00 01", "00 c0 00 01", "02 00 04 d2", "0e 00 00 01"])
async def test_every_property_in_the_list_can_be_read(peer: Peer, object_: str) -> None:
    everything = await peer.ask(f"02 75 01 0e 0c {object_} 1e 09 08 1f")
    assert everything.startswith("30 01 0e")
    assert " 5e 91" not in everything  # no property access error
    for chosen in ("69", "50"):  # REQUIRED and OPTIONAL
        assert (await peer.ask(f"02 75 01 0e 0c {object_} 1e 09 {chosen} 1f")).startswith("30")


async def test_the_object_list_is_read_by_index(peer: Peer) -> None:
    assert (await peer.ask(f"{DEVICE} 19 4c 29 00")).endswith("3e 21 04 3f")
    assert (await peer.ask(f"{DEVICE} 19 4c 29 03")).endswith("3e c4 00 00 00 01 3f")
    assert await peer.ask(f"{DEVICE} 19 4c 29 05") == "50 01 0c 91 02 91 2a"


async def test_rubbish_reaches_the_log_once_and_ends_nothing(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(20):
        peer.transport.sendto(bytes.fromhex("81 0a 00 07 01 04 f0"), peer.device)
        peer.transport.sendto(bytes.fromhex("81 0a 00"), peer.device)
        peer.transport.sendto(b"", peer.device)
    assert (await peer.ask(READ)).startswith("30 01")
    told = [record.message for record in caplog.records if "made no sense" in record.message]
    assert 1 <= len(told) == len(set(told)) <= 3


async def test_three_thousand_damaged_datagrams_end_nothing(
    device: BacnetDevice, peer: Peer
) -> None:
    dice = random.Random(5)
    valid = bytes.fromhex(READ)
    for number in range(3_000):
        damaged = bytearray(valid + dice.randbytes(dice.randrange(8)))
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        peer.send(damaged.hex())
        if number % 100 == 0:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    while not peer.came.empty():
        peer.came.get_nowait()
    assert (await peer.ask(f"02 05 fa {READ[9:]}")).startswith("30 fa")
    assert transactions(device) < 100
