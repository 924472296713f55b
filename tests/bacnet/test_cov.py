"""Change of value, as a subscriber sees it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from bacpypes3.pdu import IPv4Address
from bacpypes3.primitivedata import ObjectIdentifier, Unsigned

from bridge.bacnet.cov import MOST_OUTSTANDING, Key, Subscriptions
from bridge.bacnet.server import BacnetDevice
from bridge.points.reading import Fault, Kind, Point, Reading
from bridge.points.store import Store

if TYPE_CHECKING:
    from tests.bacnet.conftest import Peer

TEMPERATURE = "heat-1.flow-temperature"
# SubscribeCOV (5), process 9, analog-input 1: unconfirmed, confirmed, cancelled
SUBSCRIBE = "02 05 01 05 09 09 1c 00 00 00 01"
UNCONFIRMED = f"{SUBSCRIBE} 29 00 39 00"
CONFIRMED = f"{SUBSCRIBE} 29 01 39 00"
# Process 9, device 1234, analog-input 1, for ever
ABOUT = "09 09 1c 02 00 04 d2 2c 00 00 00 01 39 00"
READ = "02 05 01 0c 0c 00 00 00 01 19 55"


def reading(value: str) -> Reading:
    return Reading(Decimal(value), 2_000.0, None)


def values(present_value: str, flags: str) -> str:
    return f"4e 09 55 2e 44 {present_value} 2f 09 6f 2e 82 04 {flags} 2f 4f"


async def test_a_subscriber_is_told_at_once_and_of_each_change_by_the_increment(
    peer: Peer, store: Store
) -> None:
    assert await peer.ask(UNCONFIRMED) == "20 01 05"
    assert await peer.next() == f"10 02 {ABOUT} {values('41 ac 00 00', '00')}"
    store.put(TEMPERATURE, reading("21.9"))  # less than 0.5 away
    assert await peer.silent()
    store.put(TEMPERATURE, reading("22.0"))
    assert await peer.next() == f"10 02 {ABOUT} {values('41 b0 00 00', '00')}"


async def test_a_meter_that_fails_is_told_and_its_return_too(peer: Peer, store: Store) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    store.fail(TEMPERATURE, Fault.NO_ANSWER)
    assert await peer.next() == f"10 02 {ABOUT} {values('41 ac 00 00', '40')}"
    store.fail(TEMPERATURE, Fault.TOO_OLD)  # the same to a BMS
    assert await peer.silent()
    store.put(TEMPERATURE, reading("21.5"))
    assert await peer.next() == f"10 02 {ABOUT} {values('41 ac 00 00', '00')}"


async def test_what_a_bms_writes_is_told_too(peer: Peer) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    peer.send("02 05 02 0f 0c 00 00 00 01 19 51 3e 11 3f")
    answers = {await peer.next(), await peer.next()}
    assert answers == {"20 02 0f", f"10 02 {ABOUT} {values('41 ac 00 00', '10')}"}
    peer.send("02 05 03 0f 0c 00 00 00 01 19 55 3e 44 42 c8 00 00 3f")
    answers = {await peer.next(), await peer.next()}
    assert answers == {"20 03 0f", f"10 02 {ABOUT} {values('42 c8 00 00', '10')}"}


async def test_a_first_value_after_none_is_told(peer: Peer, store: Store) -> None:
    store.add(Point("new", "m", Kind.NUMBER, instance=7))
    await peer.ask("02 05 01 05 09 09 1c 00 00 00 07 29 00 39 00")
    assert "44 7f c0 00 00" in await peer.next()
    store.put("new", reading("1"))
    assert "44 3f 80 00 00" in await peer.next()


async def test_a_step_of_exactly_the_increment_is_told_although_real_rounds(
    peer: Peer, store: Store
) -> None:
    store.add(Point("volume", "m", Kind.NUMBER, "cubic-meters", instance=7), reading("561.080"))
    await peer.ask("02 05 01 05 09 09 1c 00 00 00 07 29 00 39 00")
    await peer.next()
    for step in range(1, 50):
        store.put("volume", reading(str(Decimal("561.080") + step * Decimal("0.001"))))
        assert (await peer.next()).startswith("10 02")


async def test_several_changes_in_one_turn_come_to_one_notification(
    peer: Peer, store: Store
) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    for value in ("30", "40", "50"):
        store.put(TEMPERATURE, reading(value))
    assert await peer.next() == f"10 02 {ABOUT} {values('42 48 00 00', '00')}"
    assert await peer.silent()


async def test_a_binary_input_is_told_by_any_change(peer: Peer, store: Store) -> None:
    await peer.ask("02 05 01 05 09 09 1c 00 c0 00 01 29 00 39 00")
    assert "09 55 2e 91 01 2f" in await peer.next()
    store.put("heat-1.answering", Reading(False, 2_000.0, None))
    assert "09 55 2e 91 00 2f" in await peer.next()


async def test_a_subscription_ends_by_its_lifetime_and_says_what_is_left(
    peer: Peer, store: Store
) -> None:
    await peer.ask(f"{SUBSCRIBE} 29 00 39 01")
    assert "2c 00 00 00 01 39 01" in await peer.next()
    await asyncio.sleep(1.1)
    store.put(TEMPERATURE, reading("80"))
    assert await peer.silent()


async def test_a_subscription_is_cancelled_and_cancelling_nothing_is_fine(
    peer: Peer, store: Store
) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    for _ in range(2):
        assert await peer.ask(SUBSCRIBE) == "20 01 05"
    store.put(TEMPERATURE, reading("80"))
    assert await peer.silent()


async def test_renewing_makes_an_unconfirmed_subscription_a_confirmed_one(peer: Peer) -> None:
    await peer.ask(UNCONFIRMED)
    assert (await peer.next()).startswith("10 02")
    await peer.ask(CONFIRMED)
    notification = await peer.next()
    assert notification.startswith("02 65")  # a confirmed request
    assert f"01 {ABOUT}" in notification
    peer.send(f"20 {notification.split()[2]} 01", reply=False)
    assert await peer.silent()


async def test_an_object_that_goes_takes_its_subscriptions_along(peer: Peer, store: Store) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    store.remove(TEMPERATURE)
    answer = await peer.ask("02 05 01 0c 0c 02 00 04 d2 19 98")
    assert answer.endswith("19 98 3e 3f")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("02 05 01 05 09 09 1c 00 00 00 63 29 00 39 00", "50 01 05 91 01 91 1f"),  # unknown
        ("02 05 01 05 09 09 1c 02 00 04 d2 29 00 39 00", "50 01 05 91 01 91 2d"),  # the device
        ("02 05 01 05 09 09 1c 00 00 00 01 39 00", "60 01 05"),  # a lifetime alone
    ],
)
async def test_a_subscription_that_cannot_be_is_refused(
    peer: Peer, request_: str, answer: str
) -> None:
    assert await peer.ask(request_) == answer


async def test_active_subscriptions_are_listed(peer: Peer) -> None:
    await peer.ask(UNCONFIRMED)
    await peer.next()
    answer = await peer.ask("02 05 01 0c 0c 02 00 04 d2 19 98")
    station = f"7f 00 00 01 {peer.port.to_bytes(2).hex(' ')}"
    assert answer == (
        f"30 01 0c 0c 02 00 04 d2 19 98 3e 0e 0e 1e 21 00 65 06 {station} 1f 0f 19 09 0f"
        " 1e 0c 00 00 00 01 19 55 1f 29 00 39 00 4c 3f 00 00 00 3f"
    )


async def test_there_is_a_limit_and_it_says_so(peer: Peer) -> None:
    for process in range(500):
        peer.send(f"02 05 01 05 0a {process.to_bytes(2).hex()} 1c 00 00 00 01 29 00 39 00")
        if process % 50 == 49:
            for _ in range(100):
                await peer.next()
    answer = await peer.ask("02 05 01 05 0a ff ff 1c 00 00 00 01 29 00 39 00")
    assert answer == "50 01 05 91 03 91 13"  # resources, no-space-to-add-list-element


async def test_a_subscriber_who_is_off_does_not_hang_the_device(
    device: BacnetDevice, peer: Peer, store: Store
) -> None:
    # bacpypes3 looks for a free invoke id for ever once 256 are outstanding.
    for process in range(400):
        peer.send(f"02 05 01 05 0a {process.to_bytes(2).hex()} 1c 00 00 00 01 29 01 39 00")
        if process % 50 == 49:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    came = [peer.came.get_nowait()[6:].hex(" ") for _ in range(peer.came.qsize())]
    assert sum(apdu.startswith("20 01 05") for apdu in came) == 400
    notifications = [apdu for apdu in came if apdu.startswith("02 65")]
    assert len(notifications) == MOST_OUTSTANDING
    assert (await peer.ask(READ)).startswith("30 01")
    # As it confirms, the others follow.
    for apdu in notifications:
        peer.send(f"20 {apdu.split()[2]} 01", reply=False)
    for _ in notifications:
        assert (await peer.next()).startswith("02 65")


async def test_many_subscriptions_are_listed_without_holding_up_anybody(
    device: BacnetDevice, peer: Peer
) -> None:
    application = device._application
    assert application is not None
    monitored = next(iter(device._objects.values()))
    for process in range(450):
        key = Key(IPv4Address(("127.0.0.9", 47808)), process, monitored.objectIdentifier)
        application.subscriptions.subscribe(key, monitored, confirmed=False, lifetime=0)
    await asyncio.sleep(0.2)
    peer.send("02 75 01 0c 0c 02 00 04 d2 19 98")
    peer.send(f"02 75 02 {READ[9:]}")
    assert (await peer.next()).startswith("30 02")
    application.subscriptions.cancel(key)  # while they are listed
    assert (await peer.next()).startswith("3c 01 00 02 0c 0c 02 00 04 d2 19 98 3e 0e 0e 1e")
    # Who takes no segments costs no more than what one datagram holds.
    assert await peer.ask("00 05 03 0c 0c 02 00 04 d2 19 98") == "71 03 04"


async def test_a_value_that_cannot_be_notified_ends_nothing_for_others_and_is_logged_once(
    peer: Peer, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(Point("text", "m", Kind.TEXT, instance=2), Reading("good", 2_000.0, None))
    await peer.ask("02 05 01 05 09 09 1c 0a 00 00 02 29 00 39 00")
    await peer.next()
    await peer.ask(UNCONFIRMED)
    await peer.next()
    for bad, good in (("\ud800", "30"), ("\ud801", "40")):
        store.put("text", Reading(bad, 2_000.0, None))
        store.put(TEMPERATURE, reading(good))
        assert (await peer.next()).startswith(f"10 02 {ABOUT}")
    assert caplog.text.count("values of characterstring-value,2 cannot be notified") == 1
    store.put("text", Reading("well", 2_000.0, None))
    assert "77 65 6c 6c" in await peer.next()


class Counter:
    """An object that counts, and can be subscribed to."""

    cov_increment = None
    cov_threshold = 0.0

    def __init__(self, instance: int) -> None:
        self.objectIdentifier = ObjectIdentifier(("accumulator", instance))
        self.count = 0

    def cov_values(self) -> tuple[tuple[str, Any], ...]:
        return (("presentValue", Unsigned(self.count)),)


class Line:
    """A sender whose confirmations come when the test says so."""

    def __init__(self) -> None:
        self.sent: dict[int, asyncio.Future[Any]] = {}

    def request(self, apdu: Any) -> asyncio.Future[Any]:
        instance = apdu.monitoredObjectIdentifier[1]
        assert instance not in self.sent, "sent again before it was confirmed"
        self.sent[instance] = asyncio.get_running_loop().create_future()
        return self.sent[instance]

    async def confirm(self, instance: int) -> None:
        self.sent.pop(instance).set_result(None)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_turn_goes_to_the_next_who_can_use_it() -> None:
    line = Line()
    subscriptions = Subscriptions(line, ObjectIdentifier(("device", 1)), 100)
    counters = [Counter(number) for number in range(MOST_OUTSTANDING + 2)]
    subscriber = IPv4Address(("127.0.0.9", 47808))
    for each in counters[:MOST_OUTSTANDING]:
        key = Key(subscriber, 1, each.objectIdentifier)
        subscriptions.subscribe(key, each, confirmed=True, lifetime=0)
    await asyncio.sleep(0.01)
    assert len(line.sent) == MOST_OUTSTANDING
    # The first ones change while they are on their way, before others come.
    for each in counters[:4]:
        each.count += 1
        subscriptions.object_changed(each)
    await asyncio.sleep(0.01)
    for each in counters[MOST_OUTSTANDING:]:
        key = Key(subscriber, 1, each.objectIdentifier)
        subscriptions.subscribe(key, each, confirmed=True, lifetime=0)
    await asyncio.sleep(0.01)
    await line.confirm(7)
    assert set(line.sent) == {0, 1, 2, 3, 4, 5, 6, 8}
    await line.confirm(6)
    assert set(line.sent) == {0, 1, 2, 3, 4, 5, 8, 9}
    await line.confirm(0)  # and the newest value of the first follows
    assert set(line.sent) == {0, 1, 2, 3, 4, 5, 8, 9}
    subscriptions.close()
