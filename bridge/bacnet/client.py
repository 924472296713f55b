"""The other side: what a BMS sees of a device. For ``mbus-bacnet browse``, and for tests.

Reads any BACnet/IP device, as well as it allows: the object list whole where it can segment, else
by index; properties by ReadPropertyMultiple, in smaller batches or one by one where it must be.
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import asyncio
import contextlib
import datetime
import math
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from bacpypes3.apdu import (
    AbortPDU,
    AbortReason,
    ErrorPDU,
    ErrorRejectAbortNack,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectPDU,
    WhoIsRequest,
)
from bacpypes3.basetypes import (
    EngineeringUnits,
    PropertyIdentifier,
    PropertyReference,
    ReadAccessSpecification,
    Scale,
    Segmentation,
)
from bacpypes3.basetypes import Reliability as ReliabilityCode
from bacpypes3.constructeddata import SequenceOf
from bacpypes3.pdu import GlobalBroadcast, IPv4Address
from bacpypes3.primitivedata import (
    BitString,
    Boolean,
    CharacterString,
    Date,
    Double,
    Enumerated,
    ObjectIdentifier,
    ObjectType,
    Real,
    TagList,
    Time,
)

from bridge.bacnet.errors import BrowseError
from bridge.bacnet.properties import StatusFlags
from bridge.bacnet.stack import CODEC_TRIPS, StackApplication, TransactionSettings
from bridge.bacnet.udp import (
    DEFAULT_PORT,
    NormalLink,
    UdpServer,
    bind_client,
    parse_interface,
    parse_station,
)
from bridge.bacnet.units import NUMBERS

BATCH: Final = 20
# Seconds after the first answer in which a second device of the same instance shows itself.
OTHERS_FOLLOW: Final = 0.2

_UNIT_NAMES: Final = MappingProxyType({number: name for name, number in NUMBERS.items()})
_BINARY_TYPES: Final = frozenset({"binary-input", "binary-output", "binary-value"})

BrowsedValue = Decimal | bool | str | datetime.date | datetime.time | datetime.datetime | None


@dataclass(frozen=True, slots=True)
class DeviceFound:
    """A device that answered; ``address`` is "host:port"."""

    instance: int
    address: str
    max_apdu: int
    segmentation: str
    vendor: int
    station: Any = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ObjectValue:
    """One object as a BMS sees it.

    ``identifier`` is "analog-input,4711"; ``value`` None where there is none, or where it is not
    a number (NaN); ``units`` BACnet's name ("kilowatt-hours"), empty where there are none;
    ``reliability`` as "no-fault-detected", empty where the object has none. ``error`` says why
    an object could not be read at all.
    """

    identifier: str
    name: str
    value: BrowsedValue
    units: str
    reliability: str
    status_flags: StatusFlags | None
    description: str
    error: str = ""


class _ClientApplication(StackApplication):
    served = MappingProxyType({"IAmRequest": 0})

    def __init__(self, settings: TransactionSettings) -> None:
        super().__init__(settings)
        self.heard: asyncio.Queue[Any] = asyncio.Queue()

    async def do_IAmRequest(self, apdu: Any) -> None:  # noqa: N802
        self.heard.put_nowait(apdu)


class Browser:
    """A BACnet/IP client on a UDP port of its own. Use it with ``async with``."""

    def __init__(
        self,
        address: str = "127.0.0.1",
        *,
        port: int = DEFAULT_PORT,
        timeout: float = 2.0,
        tries: int = 2,
    ) -> None:
        """
        Args:
            address: of the interface to use, as "192.168.1.5/24" or "192.168.1.5".
            port: where broadcasts go, and where those of others are heard.
            timeout: seconds until a request is asked again.
            tries: how often, at most, a request is asked.
        """
        self._interface = parse_interface(address)
        self._port = port
        self._timeout = timeout
        self._tries = tries
        self._server: UdpServer | None = None
        self._application: _ClientApplication | None = None

    async def __aenter__(self) -> Self:
        self._server = UdpServer(bind_client(self._interface, self._port))
        await self._server.open()
        milliseconds = int(self._timeout * 1000)
        self._application = _ClientApplication(
            TransactionSettings(
                numberOfApduRetries=self._tries - 1,
                apduTimeout=milliseconds,
                apduSegmentTimeout=milliseconds,
            )
        )
        self._application.attach(NormalLink(self._server), self._server.address)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            await self._server.close()

    async def discover(
        self,
        target: str | None = None,
        *,
        low: int | None = None,
        high: int | None = None,
        timeout: float | None = None,
    ) -> list[DeviceFound]:
        """Ask Who-Is, and wait for who answers.

        Args:
            target: "host" or "host:port" of one device, which is asked alone; None asks all in
                the subnet by broadcast.
            low, high: only device instances from ``low`` to ``high``.
            timeout: seconds to wait; one device that is asked alone ends it with its answer.

        Returns:
            The devices by instance; none where nobody answered.

        Raises:
            AddressError: ``target`` is no IPv4 address.
        """
        wait = self._timeout if timeout is None else timeout
        if target is None:
            return await self._who_is(GlobalBroadcast(), low, high, wait, settle=wait)
        for _ in range(self._tries):
            found = await self._who_is(parse_station(target), low, high, wait, settle=0)
            if found:
                return found
        return []

    async def _who_is(
        self, station: Any, low: int | None, high: int | None, wait: float, *, settle: float
    ) -> list[DeviceFound]:
        """Ask once. Ends ``wait`` seconds later, or ``settle`` seconds after the first answer."""
        application = self._started()
        request = WhoIsRequest(destination=station)
        if low is not None or high is not None:
            request.deviceInstanceRangeLowLimit = low or 0
            request.deviceInstanceRangeHighLimit = 4_194_303 if high is None else high
        found: dict[tuple[int, str], DeviceFound] = {}
        while not application.heard.empty():
            application.heard.get_nowait()  # an answer to an earlier question
        application.request(request)
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(end) as limit:
                while True:
                    device = _found(await application.heard.get())
                    if _within(device.instance, low, high):
                        if not found:
                            limit.reschedule(min(end, loop.time() + settle))
                        found[device.instance, device.address] = device
        return [found[key] for key in sorted(found)]

    async def find(self, device: str, *, timeout: float | None = None) -> DeviceFound:
        """The device that a user names: by its instance number, or as "host" or "host:port".

        Raises:
            BrowseError: nobody answers, or several devices have the instance.
        """
        if device.isdecimal():
            instance = int(device)
            wait = self._timeout if timeout is None else timeout
            found = await self._who_is(
                GlobalBroadcast(), instance, instance, wait, settle=OTHERS_FOLLOW
            )
            how = f"has the instance {instance} in the subnet {self._interface.network}"
        else:
            found = await self.discover(device, timeout=timeout)
            how = f"answers at {device}"
        if not found:
            raise BrowseError(
                f"no BACnet device {how}; check that it runs, that no firewall drops UDP, and "
                f"that --address ({self._interface.ip}) is in its network"
            )
        if device.isdecimal() and len(found) > 1:
            addresses = " and ".join(each.address for each in found)
            raise BrowseError(
                f"several devices have the instance {device}: {addresses}; give each its own, and "
                "meanwhile name the one you mean by its address"
            )
        return found[0]

    async def object_list(self, device: DeviceFound) -> list[tuple[str, int]]:
        """The objects of a device, as (object type, instance), in the device's order.

        Raises:
            BrowseError: the device does not answer, or refuses.
        """
        return [(str(kind), instance) for kind, instance in await self._identifiers(device)]

    async def read_objects(self, device: DeviceFound) -> AsyncIterator[ObjectValue]:
        """All objects but the device's own and its network ports, one after the other.

        Raises:
            BrowseError: the device does not answer any more, or refuses the object list.
        """
        passed_over = (ObjectType.device, ObjectType.networkPort)
        wanted = [
            each for each in await self._identifiers(device) if int(each[0]) not in passed_over
        ]
        reader = _Reader(self._started(), device)
        for start in range(0, len(wanted), BATCH):
            for value in await reader.read(wanted[start : start + BATCH]):
                yield value

    async def _identifiers(self, device: DeviceFound) -> list[Any]:
        reader = _Reader(self._started(), device)
        identifier = ObjectIdentifier((ObjectType.device, device.instance))
        who = f"device {device.instance} at {device.address}"
        try:
            try:
                tags = await reader.property(identifier, PropertyIdentifier.objectList)
                return [ObjectIdentifier(_decode(tag)) for tag in tags]
            except _RefusedError as refusal:
                if not refusal.too_long:
                    raise
            return await reader.object_list_by_index(identifier)
        except _RefusedError as refusal:
            raise BrowseError(f"{who} does not tell its objects: {refusal}") from refusal
        except CODEC_TRIPS as nonsense:
            raise BrowseError(f"{who} sends an object list that is none: {nonsense}") from nonsense

    def _started(self) -> _ClientApplication:
        if self._application is None:
            raise BrowseError("use the browser with 'async with'")
        return self._application


class _RefusedError(Exception):
    """A device's Error, Reject or Abort."""

    def __init__(self, answer: Any) -> None:
        super().__init__(_why(answer))
        # The answer does not fit into what the device can send, or we can take.
        self.too_long = isinstance(answer, AbortPDU) and answer.apduAbortRejectReason in (
            AbortReason.bufferOverflow,
            AbortReason.segmentationNotSupported,
            AbortReason.apduTooLong,
            AbortReason.outOfResources,
        )
        self.unknown_service = isinstance(answer, RejectPDU)


def _why(answer: Any) -> str:
    if isinstance(answer, ErrorPDU):
        return f"{getattr(answer, 'errorClass', '?')}: {getattr(answer, 'errorCode', '?')}"
    return str(answer.apduAbortRejectReason)


_WANTED: Final = (
    PropertyIdentifier.objectName,
    PropertyIdentifier.presentValue,
    PropertyIdentifier.units,
    PropertyIdentifier.description,
    PropertyIdentifier.reliability,
    PropertyIdentifier.statusFlags,
)
# Without it, an accumulator's present-value is a count of nobody knows what.
_WANTED_OF_ACCUMULATOR: Final = (*_WANTED, PropertyIdentifier.scale)


def _wanted(identifier: Any) -> tuple[Any, ...]:
    accumulator = int(identifier[0]) == ObjectType.accumulator
    return _WANTED_OF_ACCUMULATOR if accumulator else _WANTED


class _Reader:
    """Reads one device, and learns what it can."""

    def __init__(self, application: _ClientApplication, device: DeviceFound) -> None:
        self._application = application
        self._device = device
        self._batch = BATCH
        self._multiple = True

    async def _ask(self, request: Any) -> Any:
        """Raises _RefusedError, and BrowseError where no answer comes."""
        request.pduDestination = self._device.station
        try:
            answer = await self._application.request(request)
        except ErrorRejectAbortNack as nack:
            answer = nack
        if isinstance(answer, AbortPDU) and answer.apduAbortRejectReason == AbortReason.noResponse:
            raise BrowseError(
                f"device {self._device.instance} at {self._device.address} does not answer any "
                "more; check the network, and whether it still runs"
            )
        if isinstance(answer, ErrorRejectAbortNack):
            raise _RefusedError(answer)
        return answer

    async def property(self, identifier: Any, name: int, index: int | None = None) -> Any:
        """The application tags of one property's value. Raises as ``_ask`` does."""
        request = ReadPropertyRequest(
            objectIdentifier=identifier, propertyIdentifier=PropertyIdentifier(name)
        )
        if index is not None:
            request.propertyArrayIndex = index
        return _tags((await self._ask(request)).propertyValue)

    async def object_list_by_index(self, identifier: Any) -> list[Any]:
        """Raises as ``_ask`` does."""
        tags = await self.property(identifier, PropertyIdentifier.objectList, 0)
        found = []
        for index in range(1, int(_decode(tags[0])) + 1):
            tags = await self.property(identifier, PropertyIdentifier.objectList, index)
            found.append(ObjectIdentifier(_decode(tags[0])))
        return found

    async def read(self, identifiers: Sequence[Any]) -> list[ObjectValue]:
        """What ``identifiers`` show, in their order."""
        values: list[ObjectValue] = []
        rest = list(identifiers)
        while rest:
            if not self._multiple:
                values += [await self._read_one_by_one(each) for each in rest]
                break
            part = rest[: self._batch]
            try:
                values += await self._read_part(part)
            except _RefusedError as refusal:
                if len(part) > 1 and not refusal.unknown_service:
                    self._batch = max(1, len(part) // 2)
                else:
                    self._multiple = False
                continue
            del rest[: len(part)]
        return values

    async def _read_part(self, identifiers: Sequence[Any]) -> list[ObjectValue]:
        specifications = [
            ReadAccessSpecification(
                objectIdentifier=each,
                listOfPropertyReferences=[
                    PropertyReference(propertyIdentifier=PropertyIdentifier(name))
                    for name in _wanted(each)
                ],
            )
            for each in identifiers
        ]
        answer = await self._ask(
            ReadPropertyMultipleRequest(
                listOfReadAccessSpecs=SequenceOf(ReadAccessSpecification)(specifications)
            )
        )
        read: dict[Any, dict[int, Any]] = {}
        errors: dict[Any, str] = {}
        for result in answer.listOfReadAccessResults:
            properties = read.setdefault(result.objectIdentifier, {})
            for element in result.listOfResults:
                choice = element.readResult
                if choice.propertyValue is not None:
                    properties[int(element.propertyIdentifier)] = _tags(choice.propertyValue)
                elif int(element.propertyIdentifier) == PropertyIdentifier.objectName:
                    error = choice.propertyAccessError
                    errors[result.objectIdentifier] = f"{error.errorClass}: {error.errorCode}"
        return [
            _object_value(each, read.get(each, {}), errors.get(each, "")) for each in identifiers
        ]

    async def _read_one_by_one(self, identifier: Any) -> ObjectValue:
        properties: dict[int, Any] = {}
        error = ""
        for name in _wanted(identifier):
            try:
                properties[int(name)] = await self.property(identifier, name)
            except _RefusedError as refusal:
                if name == PropertyIdentifier.objectName:
                    error = str(refusal)
        return _object_value(identifier, properties, error)


def _within(instance: int, low: int | None, high: int | None) -> bool:
    return (low is None or instance >= low) and (high is None or instance <= high)


def _found(apdu: Any) -> DeviceFound:
    station = apdu.pduSource
    try:
        address = "{}:{}".format(*IPv4Address(station).addrTuple)
    except ValueError:
        address = str(station)  # behind a router
    return DeviceFound(
        instance=int(apdu.iAmDeviceIdentifier[1]),
        address=address,
        max_apdu=int(apdu.maxAPDULengthAccepted),
        segmentation=str(Segmentation(apdu.segmentationSupported)),
        vendor=int(apdu.vendorID),
        station=station,
    )


def _tags(value: Any) -> list[Any]:
    return list(value.tagList.tagList)[1:-1]  # between the opening and the closing tag


def _decode(tag: Any) -> Any:
    return tag.app_to_object()


def _text(tags: Sequence[Any] | None) -> str:
    return str(_decode(tags[0])) if tags else ""


def _object_value(identifier: Any, properties: dict[int, Any], error: str) -> ObjectValue:
    object_type = str(identifier[0])
    units = properties.get(PropertyIdentifier.units)
    reliability = properties.get(PropertyIdentifier.reliability)
    flags = properties.get(PropertyIdentifier.statusFlags)
    try:
        return ObjectValue(
            identifier=f"{object_type},{identifier[1]}",
            name=_text(properties.get(PropertyIdentifier.objectName)),
            value=_scaled(
                _value(object_type, properties.get(PropertyIdentifier.presentValue)),
                properties.get(PropertyIdentifier.scale),
            ),
            units=_unit_name(int(_decode(units[0]))) if units else "",
            reliability=str(ReliabilityCode(int(_decode(reliability[0])))) if reliability else "",
            status_flags=_flags(_decode(flags[0])) if flags else None,
            description=_text(properties.get(PropertyIdentifier.description)),
            error=error,
        )
    except CODEC_TRIPS as nonsense:
        return ObjectValue(
            f"{object_type},{identifier[1]}", "", None, "", "", None, "", f"nonsense: {nonsense}"
        )


def _unit_name(number: int) -> str:
    return _UNIT_NAMES.get(number) or str(EngineeringUnits(number))


def _flags(bits: Any) -> StatusFlags:
    # As a plain bit string, which has as many bits as the device sent.
    padded = [bool(bit) for bit in bits][:4]
    return StatusFlags(*padded, *[False] * (4 - len(padded)))


def _value(object_type: str, tags: Sequence[Any] | None) -> BrowsedValue:
    if not tags:
        return None
    values = [_decode(tag) for tag in tags]
    if len(values) == 2 and isinstance(values[0], Date) and isinstance(values[1], Time):
        if values[0].is_special or values[1].is_special:
            return None
        return datetime.datetime.combine(values[0].date, values[1].time)
    value = values[0]
    if isinstance(value, Double):  # which is a Real to the library
        return None if math.isnan(value) else Decimal(repr(float(value)))
    if isinstance(value, Real):
        return shortest_real(float(value))
    if isinstance(value, Enumerated):
        binary = object_type in _BINARY_TYPES and int(value) in (0, 1)
        return bool(int(value)) if binary else Decimal(int(value))
    if isinstance(value, Boolean):
        return bool(value)
    if isinstance(value, Date):
        return None if value.is_special else value.date
    if isinstance(value, Time):
        return None if value.is_special else value.time
    if isinstance(value, CharacterString):
        return str(value)
    if isinstance(value, int):
        return Decimal(int(value))
    if isinstance(value, BitString):
        return "".join(str(int(bit)) for bit in value)
    return str(value)


def _scaled(value: BrowsedValue, scale: Sequence[Any] | None) -> BrowsedValue:
    """An accumulator's count in its units (ASHRAE 135, 12.1)."""
    if not scale or not isinstance(value, Decimal):
        return value
    choice = Scale.decode(TagList(list(scale)))
    if choice.integerScale is not None:
        return value.scaleb(int(choice.integerScale))
    factor = shortest_real(float(choice.floatScale))
    return None if factor is None else value * factor


def shortest_real(value: float) -> Decimal | None:
    """The decimal with the fewest digits that is this REAL: 561.08, not 561.0800170898438.

    None for NaN.
    """
    if math.isnan(value):
        return None
    if math.isinf(value):
        return Decimal(value)
    packed = struct.pack(">f", value)
    for digits in range(1, 9):
        text = f"{value:.{digits}g}"
        if _packed(float(text)) == packed:
            return Decimal(text) + 0
    return Decimal(f"{value:.9g}")


def _packed(value: float) -> bytes | None:
    try:
        return struct.pack(">f", value)
    except OverflowError:  # rounded up beyond the largest REAL
        return None
