"""Change-of-value subscriptions (ASHRAE 135, 13.1 and 13.14).

In the place of bacpypes3's own: that one tells no change of reliability or out-of-service, looks
through all objects for every notification, hangs for good once 256 confirmed ones are outstanding
to a subscriber who is off, and keeps no limit.

Notifications are gathered: several changes of an object within one turn of the event loop, or
while a subscriber has not confirmed the one before, come to one notification with the latest
values. A few are sent in each turn, so that a segment that fails as a whole holds up nobody.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from bacpypes3.apdu import ConfirmedCOVNotificationRequest, UnconfirmedCOVNotificationRequest
from bacpypes3.basetypes import (
    COVSubscription,
    DeviceAddress,
    ObjectPropertyReference,
    PropertyIdentifier,
    PropertyValue,
    Recipient,
    RecipientProcess,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import SequenceOf
from bacpypes3.errors import ExecutionError

from bridge.bacnet.stack import CODEC_TRIPS

logger = logging.getLogger(__name__)

# Confirmed notifications on their way to one subscriber. Its invoke ids are 256 in all, and a
# head-end that lost its network must not cost more than this.
MOST_OUTSTANDING: Final = 8
# Notifications sent before the event loop gets its turn: about 5 ms.
MOST_AT_ONCE: Final = 10

_PropertyValues = SequenceOf(PropertyValue)


class Monitored(Protocol):
    """An object that can be subscribed to."""

    objectIdentifier: Any  # noqa: N815

    @property
    def cov_increment(self) -> float | None:
        """The COV increment; None: the type has none, any change counts."""

    @property
    def cov_threshold(self) -> float:
        """The increment, less what the rounding of the values may have taken of it."""

    def cov_values(self) -> tuple[tuple[str, Any], ...]:
        """Property and value as they are notified, present-value and status-flags first."""


class Sender(Protocol):
    """What sends a request; a confirmed one gives a future that fails where no ack comes."""

    def request(self, apdu: Any) -> asyncio.Future[Any]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """What makes a subscription one of its own (13.14.1)."""

    subscriber: Any
    process: int
    object_identifier: Any


class Subscription:
    """One subscriber's interest in one object."""

    def __init__(self, key: Key, monitored: Monitored) -> None:
        self.key = key
        self.monitored = monitored
        self.confirmed = False
        self.expires: float | None = None  # on the event loop's clock; None: never
        self.timer: asyncio.TimerHandle | None = None
        self.told: tuple[Any, ...] | None = None  # the values last notified

    def concerns(self, values: tuple[Any, ...]) -> bool:
        """Whether ``values`` differ enough from what was told last (13.1.2)."""
        if self.told is None or self.told[1:] != values[1:]:
            return True
        before, now = self.told[0], values[0]
        if self.monitored.cov_increment is None or before == now:
            return bool(before != now)
        if math.isnan(before) or math.isnan(now):
            return math.isnan(before) != math.isnan(now)
        return bool(abs(now - before) >= self.monitored.cov_threshold)

    def remaining(self, now: float) -> int:
        """Seconds left; 0 where it never ends."""
        return 0 if self.expires is None else max(1, int(self.expires - now))


class Subscriptions:
    """All subscriptions of a device."""

    def __init__(self, sender: Sender, device: Any, most: int) -> None:
        """``device`` is our device's object identifier, ``most`` the number of subscriptions."""
        self._sender = sender
        self._device = device
        self._most = most
        self._subscriptions: dict[Key, Subscription] = {}
        self._by_object: dict[Any, dict[Key, Subscription]] = {}
        self._due: dict[Key, Subscription] = {}
        self._waiting: dict[Any, dict[Key, Subscription]] = {}
        self._outstanding: dict[Any, set[Key]] = {}
        self._sending: asyncio.Handle | None = None
        self._reported: set[Any] = set()  # objects whose values cannot be told

    def __len__(self) -> int:
        return len(self._subscriptions)

    def subscribe(self, key: Key, monitored: Monitored, *, confirmed: bool, lifetime: int) -> None:
        """Begin or renew a subscription; it is told the present values soon.

        Args:
            lifetime: seconds; 0 for ever.

        Raises:
            ExecutionError: there are too many, RESOURCES, NO_SPACE_TO_ADD_LIST_ELEMENT.
        """
        subscription = self._subscriptions.get(key)
        if subscription is None:
            if len(self._subscriptions) >= self._most:
                logger.warning("%s asks for more than %d subscriptions", key.subscriber, self._most)
                raise ExecutionError(errorClass="resources", errorCode="noSpaceToAddListElement")
            subscription = Subscription(key, monitored)
            self._subscriptions[key] = subscription
            self._by_object.setdefault(key.object_identifier, {})[key] = subscription
        elif subscription.timer is not None:
            subscription.timer.cancel()
            subscription.timer = None
        self._waiting.get(key.subscriber, {}).pop(key, None)
        subscription.confirmed = confirmed
        subscription.told = None
        subscription.expires = None
        if lifetime > 0:
            loop = asyncio.get_running_loop()
            subscription.expires = loop.time() + lifetime
            subscription.timer = loop.call_later(lifetime, self.cancel, key)
        self._make_due(subscription)

    def cancel(self, key: Key) -> None:
        """End a subscription; that there is none is fine (13.14)."""
        subscription = self._subscriptions.pop(key, None)
        if subscription is None:
            return
        if subscription.timer is not None:
            subscription.timer.cancel()
        of_object = self._by_object[key.object_identifier]
        del of_object[key]
        if not of_object:
            del self._by_object[key.object_identifier]
        waiting = self._waiting.get(key.subscriber)
        if waiting is not None:
            waiting.pop(key, None)
        if self._due.pop(key, None) is not None:
            self._let_next(key.subscriber)

    def object_gone(self, object_identifier: Any) -> None:
        """End all subscriptions to an object."""
        for key in tuple(self._by_object.get(object_identifier, ())):
            self.cancel(key)

    def object_changed(self, monitored: Monitored) -> None:
        """See who must be told of an object's present values."""
        subscriptions = self._by_object.get(monitored.objectIdentifier)
        if not subscriptions:
            return
        values = _values(monitored)
        for subscription in subscriptions.values():
            if subscription.concerns(values):
                self._make_due(subscription)

    def close(self) -> None:
        """End all of them."""
        for key in tuple(self._subscriptions):
            self.cancel(key)
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def active(self) -> Iterator[Any]:
        """The members of active-cov-subscriptions, each a BACnetCOVSubscription.

        Subscriptions may come and go while they are listed.
        """
        now = asyncio.get_running_loop().time()
        for each in tuple(self._subscriptions.values()):
            yield self._describe(each, now)

    def _describe(self, subscription: Subscription, now: float) -> Any:
        key = subscription.key
        address = DeviceAddress(
            networkNumber=key.subscriber.addrNet or 0, macAddress=key.subscriber.addrAddr
        )
        description = COVSubscription(
            recipient=RecipientProcess(
                recipient=Recipient(address=address), processIdentifier=key.process
            ),
            monitoredPropertyReference=ObjectPropertyReference(
                objectIdentifier=key.object_identifier,
                propertyIdentifier=PropertyIdentifier.presentValue,
            ),
            issueConfirmedNotifications=subscription.confirmed,
            timeRemaining=subscription.remaining(now),
        )
        if subscription.monitored.cov_increment is not None:
            description.covIncrement = subscription.monitored.cov_increment
        return description

    def _make_due(self, subscription: Subscription) -> None:
        self._due[subscription.key] = subscription
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_soon(self._send_some)

    def _send_some(self) -> None:
        self._sending = None
        for _ in range(min(MOST_AT_ONCE, len(self._due))):
            subscription = self._due.pop(next(iter(self._due)))
            try:
                self._send(subscription)
            except CODEC_TRIPS as error:
                self._untold(subscription, error)
        if self._due:
            self._sending = asyncio.get_running_loop().call_soon(self._send_some)

    def _send(self, subscription: Subscription) -> None:
        key = subscription.key
        outstanding = self._outstanding.get(key.subscriber, set())
        if subscription.confirmed and (key in outstanding or len(outstanding) >= MOST_OUTSTANDING):
            self._waiting.setdefault(key.subscriber, {})[key] = subscription
            return
        named = subscription.monitored.cov_values()
        subscription.told = tuple(value for _, value in named)
        form = (
            ConfirmedCOVNotificationRequest
            if subscription.confirmed
            else UnconfirmedCOVNotificationRequest
        )
        notification = form(
            subscriberProcessIdentifier=key.process,
            initiatingDeviceIdentifier=self._device,
            monitoredObjectIdentifier=key.object_identifier,
            timeRemaining=subscription.remaining(asyncio.get_running_loop().time()),
            listOfValues=_PropertyValues(
                [
                    PropertyValue(propertyIdentifier=name, value=AnyValue(value))
                    for name, value in named
                ]
            ),
            destination=key.subscriber,
        )
        future = self._sender.request(notification)
        if subscription.confirmed:
            self._outstanding.setdefault(key.subscriber, set()).add(key)
            future.add_done_callback(lambda done: self._confirmed(key, done))

    def _untold(self, subscription: Subscription, error: Exception) -> None:
        """One object's values cannot be put into octets. The others' can."""
        key = subscription.key
        if key.object_identifier not in self._reported:
            self._reported.add(key.object_identifier)
            logger.error(
                "values of %s cannot be notified: %r", key.object_identifier, error, exc_info=error
            )
        self._let_next(key.subscriber)

    def _confirmed(self, key: Key, done: asyncio.Future[Any]) -> None:
        if not done.cancelled() and done.exception() is not None:
            # It has been asked for several times by now. The next change is tried again, until
            # the subscription ends.
            logger.info("%s did not confirm a notification: %s", key.subscriber, done.exception())
        outstanding = self._outstanding.get(key.subscriber)
        if outstanding is None:
            return
        outstanding.discard(key)
        if not outstanding:
            del self._outstanding[key.subscriber]
        self._let_next(key.subscriber)

    def _let_next(self, subscriber: Any) -> None:
        """Those that waited longest have their turn with this subscriber, while there is room.

        What is itself on its way cannot be sent yet, and would use up the turn for nothing.
        """
        waiting = self._waiting.get(subscriber)
        if waiting is None:
            return
        outstanding = self._outstanding.get(subscriber, set())
        ready = (key for key in waiting if key not in outstanding)
        for key in tuple(islice(ready, MOST_OUTSTANDING - len(outstanding))):
            self._make_due(waiting.pop(key))
        if not waiting:
            del self._waiting[subscriber]


def _values(monitored: Monitored) -> tuple[Any, ...]:
    return tuple(value for _, value in monitored.cov_values())
