"""Points as BACnet objects, the device object and its network port.

The age of a value: no standard property of an analog-input tells it (value-change-time belongs to
the accumulator, and is about corrections by hand, ASHRAE 135, 12.1), and a property of our own
would be read by no head-end. So it stands in an object of its own beside the values, the meter's
"last read" (datetime-value), which every head-end can read, show and trend: a value without fault
was read then, and one that was not says so by its reliability.
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import datetime
import ipaddress
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from bacpypes3 import object as standard
from bacpypes3.basetypes import (
    BinaryPV,
    DateTime,
    EngineeringUnits,
    EventState,
    HostNPort,
    ObjectTypesSupported,
    PropertyIdentifier,
    StatusFlags,
)
from bacpypes3.basetypes import Reliability as ReliabilityCode
from bacpypes3.basetypes import (
    Scale as ScaleChoice,
)
from bacpypes3.constructeddata import Array, ArrayOf
from bacpypes3.errors import PropertyError
from bacpypes3.primitivedata import (
    Boolean,
    CharacterString,
    Date,
    Integer,
    ObjectIdentifier,
    ObjectType,
    Real,
    Time,
    Unsigned,
)

from bridge.bacnet.answers import application_identifier, application_octets
from bridge.bacnet.errors import PointRefusedError
from bridge.bacnet.properties import (
    NEVER_READ,
    Reliability,
    Scale,
    State,
    count_state,
    date_state,
    default_cov_increment,
    double_state,
    plain_state,
    real_state,
    status_flags,
)
from bridge.bacnet.units import engineering_units
from bridge.points.ledger import Ledger
from bridge.points.reading import Kind, Point, Reading
from bridge.units import NO_UNITS

_IN_SERVICE = frozenset({"outOfService"})
_WHILE_OUT_OF_SERVICE = frozenset({"outOfService", "presentValue", "reliability"})
_NOT_IN_PROPERTY_LIST = frozenset({"objectName", "objectType", "objectIdentifier", "propertyList"})
_ALWAYS_REQUIRED = frozenset({"objectIdentifier", "objectName", "objectType"})
_PropertyList = ArrayOf(PropertyIdentifier)
# Standard numbers and proprietary ones (ASHRAE 135, clause 23).
_LARGEST_RELIABILITY = 65_535


class LocalObject:
    """What all our objects share: made fast, read in full, written to by exception only.

    Comes before one of bacpypes3's plain object classes. Those set each of some sixty properties
    of an object to None one by one; here the class has the None, and an object what it is given.
    """

    _elements: ClassVar[Mapping[str, Any]]
    _required: ClassVar[tuple[str, ...]]
    # Properties that are never put together as a value, but told by ``encoded`` alone.
    in_pieces: ClassVar[frozenset[str]] = frozenset()

    objectIdentifier: Any  # noqa: N815
    objectName: Any  # noqa: N815
    _app: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in getattr(cls, "_elements", ()):
            if not hasattr(cls, name):
                setattr(cls, name, None)

    def __init__(self, **properties: Any) -> None:
        object.__setattr__(self, "_app", None)
        self._put(**properties)

    def _put(self, **properties: Any) -> None:
        """Set properties to values of their own datatypes, telling nobody."""
        for name, value in properties.items():
            element = self._elements[name]
            object.__setattr__(
                self, name, value if type(value) is element else element(element.cast(value))
            )

    def has(self, name: str) -> bool:
        """Whether the object has a property."""
        if name not in self._elements:
            return False
        if name in self.in_pieces or isinstance(getattr(type(self), name), property):
            return True  # without working it out
        return getattr(self, name) is not None

    def encoded(self, name: str, index: int | None) -> Iterable[bytes]:
        """The value of a property, or one element of an array, in octets.

        In as many pieces as suits; between two of them, others may have their turn.

        Raises:
            PropertyError: there is no such property or element.
        """
        if not self.has(name):
            raise PropertyError("unknownProperty")
        value = getattr(self, name)
        if index is not None:
            if not issubclass(self._elements[name], Array):
                raise PropertyError("propertyIsNotAnArray")
            if index > len(value):
                raise PropertyError("invalidArrayIndex")
            value = Unsigned(len(value)) if index == 0 else value[index - 1]
        return (application_octets(value),)

    def writable(self) -> frozenset[str]:
        """The properties that a BMS may write now. An object that has any has ``write`` too."""
        return frozenset()

    @property
    def propertyList(self) -> Any:  # noqa: N802
        """All properties there are but four (ASHRAE 135, 12.1.1)."""
        return _PropertyList(
            [
                PropertyIdentifier(name)
                for name in self._elements
                if name not in _NOT_IN_PROPERTY_LIST and self.has(name)
            ]
        )

    def all_properties(self) -> list[Any]:
        """What ALL stands for (15.7)."""
        return [
            PropertyIdentifier(name)
            for name in self._elements
            if name != "propertyList" and self.has(name)
        ]

    def required_properties(self) -> list[Any]:
        """What REQUIRED stands for."""
        required = _ALWAYS_REQUIRED.union(*(getattr(c, "_required", ()) for c in type(self).mro()))
        return [each for each in self.all_properties() if each.attr in required]

    def optional_properties(self) -> list[Any]:
        """What OPTIONAL stands for."""
        required = set(self.required_properties())
        return [each for each in self.all_properties() if each not in required]


class PointObject(LocalObject):
    """One point. Follows its readings while in service; a BMS may take it out of service."""

    object_type: ClassVar[str]
    kind: ClassVar[Kind]

    presentValue: Any  # noqa: N815
    reliability: Any
    outOfService: Any  # noqa: N815

    def __init__(self, point: Point, instance: int, reading: Reading, **properties: Any) -> None:
        super().__init__(
            objectIdentifier=ObjectIdentifier((ObjectType(self.object_type), instance)),
            objectName=CharacterString(point.name),
            description=CharacterString(point.description or point.source),
            presentValue=self._nothing(),
            eventState=EventState(EventState.normal),
            reliability=ReliabilityCode(int(Reliability.COMMUNICATION_FAILURE)),
            outOfService=Boolean(False),
            **properties,
        )
        # What the meter's side has to show, whatever a BMS writes meanwhile.
        self._metered: Any = self.presentValue
        self._metered_reliability: Any = self.reliability
        self.update(reading)

    def _state(self, reading: Reading) -> State:
        """What a reading comes to in this object."""
        raise NotImplementedError

    def _nothing(self) -> Any:
        """The present-value before anything good was ever read."""
        raise NotImplementedError

    def _encode(self, value: Any) -> Any:
        """A `PresentValue` in the datatype of present-value."""
        return self._elements["presentValue"](value)

    def update(self, reading: Reading) -> None:
        """Show a new reading, and tell who subscribed."""
        state = self._state(reading)
        self._metered_reliability = ReliabilityCode(int(state.reliability))
        if state.present_value is not None:
            self._metered = self._encode(state.present_value)
        if not self.outOfService:
            self._show_metered()

    def _show_metered(self) -> None:
        self._put(presentValue=self._metered, reliability=self._metered_reliability)
        self._changed()

    def _changed(self) -> None:
        if self._app is not None:
            self._app.object_changed(self)

    @property
    def statusFlags(self) -> Any:  # noqa: N802
        """Follows from reliability and out-of-service (ASHRAE 135, 12.2.7)."""
        flags = status_flags(
            Reliability.NO_FAULT_DETECTED
            if self.reliability == ReliabilityCode.noFaultDetected
            else Reliability.UNRELIABLE_OTHER,
            out_of_service=bool(self.outOfService),
        )
        return StatusFlags([int(flag) for flag in flags])

    # Out-of-service is the standard's way to try out a BMS's reactions (12.2.10): it takes the
    # object off its meter, and present-value and reliability may be written. Everything else
    # comes from the configuration, the COV increment too: what is written over the network would
    # be lost with the next start, and nobody would know why.

    def writable(self) -> frozenset[str]:
        return _WHILE_OUT_OF_SERVICE if self.outOfService else _IN_SERVICE

    def write(self, name: str, value: Any) -> None:
        """Take what a BMS wrote to one of ``writable``.

        Raises:
            PropertyError: the value is none that the object can have.
        """
        if name == "presentValue":
            self._check(value)
        elif name == "reliability" and int(value) > _LARGEST_RELIABILITY:
            raise PropertyError("valueOutOfRange")
        self._put(**{name: value})
        if name == "outOfService" and not value:
            self._show_metered()
        else:
            self._changed()

    def _check(self, value: Any) -> None:
        """Raises PropertyError where a BMS may not write such a present-value."""

    @property
    def cov_increment(self) -> float | None:
        return None

    @property
    def cov_threshold(self) -> float:
        return 0.0

    def cov_values(self) -> tuple[tuple[str, Any], ...]:
        """Present-value and status-flags (ASHRAE 135, table 13-1)."""
        return ("presentValue", self.presentValue), ("statusFlags", self.statusFlags)


class NumberObject(PointObject):
    """What analog-input and large-analog-value have in common."""

    kind = Kind.NUMBER
    covIncrement: Any  # noqa: N815

    def __init__(self, point: Point, instance: int, reading: Reading, **properties: Any) -> None:
        self._increment_chosen = point.cov_increment is not None
        self._increment = (
            default_cov_increment(reading) if point.cov_increment is None else point.cov_increment
        )
        super().__init__(
            point,
            instance,
            reading,
            units=EngineeringUnits(engineering_units(point.unit)),
            covIncrement=self._elements["covIncrement"](float(self._increment)),
            **properties,
        )

    def update(self, reading: Reading) -> None:
        increment = default_cov_increment(reading)
        if not self._increment_chosen and increment != self._increment:
            self._increment = increment
            self._put(covIncrement=self._elements["covIncrement"](float(increment)))
        super().update(reading)

    def _nothing(self) -> Any:
        return self._encode(NEVER_READ)

    def _check(self, value: Any) -> None:
        if not math.isfinite(value):
            raise PropertyError("valueOutOfRange")

    def _rounding(self) -> float:
        """The distance from the present value to the next that can be said."""
        raise NotImplementedError

    @property
    def cov_increment(self) -> float | None:
        return float(self.covIncrement)

    @property
    def cov_threshold(self) -> float:
        # A step of exactly the increment must not get lost because both ends are rounded.
        return float(self.covIncrement) - self._rounding()


class AnalogInput(NumberObject, standard.AnalogInputObject):
    object_type = "analog-input"

    def __init__(self, point: Point, instance: int, reading: Reading) -> None:
        super().__init__(point, instance, reading, deviceType=CharacterString(point.source))

    def _state(self, reading: Reading) -> State:
        return real_state(reading)

    def _rounding(self) -> float:
        return math.ulp(self.presentValue) * 2.0**29  # a REAL has 29 bits less than a Double


class LargeAnalogValue(NumberObject, standard.LargeAnalogValueObject):
    object_type = "large-analog-value"

    def _state(self, reading: Reading) -> State:
        return double_state(reading)

    def _rounding(self) -> float:
        return math.ulp(self.presentValue)


class Accumulator(PointObject, standard.AccumulatorObject):
    """A counter without rounding: present-value x 10^scale, in its units."""

    object_type = "accumulator"
    kind = Kind.NUMBER

    def __init__(self, point: Point, instance: int, reading: Reading, scale: Scale) -> None:
        self._scale = scale
        super().__init__(
            point,
            instance,
            reading,
            deviceType=CharacterString(point.source),
            units=EngineeringUnits(engineering_units(point.unit)),
            scale=ScaleChoice(integerScale=Integer(scale.exponent)),
            maxPresValue=Unsigned(scale.maximum),
        )

    def _state(self, reading: Reading) -> State:
        return count_state(reading, self._scale)

    def _nothing(self) -> Any:
        return Unsigned(0)

    def _check(self, value: Any) -> None:
        if value > self._scale.maximum:
            raise PropertyError("valueOutOfRange")


class BinaryInput(PointObject, standard.BinaryInputObject):
    object_type = "binary-input"
    kind = Kind.BOOLEAN

    def __init__(self, point: Point, instance: int, reading: Reading) -> None:
        super().__init__(
            point,
            instance,
            reading,
            deviceType=CharacterString(point.source),
            polarity="normal",
            activeText=CharacterString("yes"),
            inactiveText=CharacterString("no"),
        )

    def _state(self, reading: Reading) -> State:
        return plain_state(reading, bool)

    def _nothing(self) -> Any:
        return BinaryPV(BinaryPV.inactive)

    def _encode(self, value: Any) -> Any:
        return BinaryPV(BinaryPV.active if value else BinaryPV.inactive)

    def _check(self, value: Any) -> None:
        if value not in (BinaryPV.active, BinaryPV.inactive):
            raise PropertyError("valueOutOfRange")


class CharacterStringValue(PointObject, standard.CharacterStringValueObject):
    object_type = "characterstring-value"
    kind = Kind.TEXT

    def _state(self, reading: Reading) -> State:
        return plain_state(reading, str)

    def _nothing(self) -> Any:
        return CharacterString("")


# All octets "unspecified" (ASHRAE 135, 20.2.12): no date, no time, and no lie.
_UNSPECIFIED = (255, 255, 255, 255)


class DateTimeValue(PointObject, standard.DateTimeValueObject):
    object_type = "datetime-value"
    kind = Kind.DATE_TIME

    def __init__(self, point: Point, instance: int, reading: Reading) -> None:
        super().__init__(point, instance, reading, isUTC=Boolean(False))

    def _state(self, reading: Reading) -> State:
        return date_state(reading, datetime.datetime)

    def _nothing(self) -> Any:
        return DateTime(date=Date(_UNSPECIFIED), time=Time(_UNSPECIFIED))

    def _encode(self, value: Any) -> Any:
        return DateTime(date=_date(value), time=_time(value))


class DateValue(PointObject, standard.DateValueObject):
    object_type = "date-value"
    kind = Kind.DATE

    def _state(self, reading: Reading) -> State:
        return date_state(reading, datetime.date)

    def _nothing(self) -> Any:
        return Date(_UNSPECIFIED)

    def _encode(self, value: Any) -> Any:
        return _date(value)


class TimeValue(PointObject, standard.TimeValueObject):
    object_type = "time-value"
    kind = Kind.TIME

    def _state(self, reading: Reading) -> State:
        return plain_state(reading, datetime.time)

    def _nothing(self) -> Any:
        return Time(_UNSPECIFIED)

    def _encode(self, value: Any) -> Any:
        return _time(value)


def _date(value: datetime.date) -> Any:
    return Date((value.year - 1900, value.month, value.day, value.isoweekday()))


def _time(value: datetime.time | datetime.datetime) -> Any:
    return Time((value.hour, value.minute, value.second, value.microsecond // 10_000))


_CLASSES: tuple[type[PointObject], ...] = (
    AnalogInput,
    LargeAnalogValue,
    Accumulator,
    BinaryInput,
    CharacterStringValue,
    DateTimeValue,
    DateValue,
    TimeValue,
)
OBJECT_CLASSES: Final[Mapping[str, type[PointObject]]] = MappingProxyType(
    {each.object_type: each for each in _CLASSES}
)
# The usual object of each kind: the first in the list above.
_USUAL: Final = MappingProxyType({each.kind: each for each in reversed(_CLASSES)})


def reserve_chosen(points: Mapping[str, Point], ledger: Ledger) -> None:
    """Give the instances that the user chose, before another point comes to one of them.

    Raises:
        PointRefusedError: a point asks for what no object here can do.
        InstanceTakenError: two points ask for one instance, or one that belongs to a third.
        LedgerError: the ledger cannot be written.
    """
    wanted = {
        (class_of(point).object_type, name): point.instance
        for name, point in points.items()
        if point.instance is not None
    }
    ledger.reserve(wanted, present=points)


def class_of(point: Point) -> type[PointObject]:
    """Which object carries a point.

    Raises:
        PointRefusedError: none here can, or not as asked for.
    """
    if point.object_type is None:
        return _USUAL[point.kind]
    chosen = OBJECT_CLASSES.get(point.object_type)
    if chosen is None or chosen.kind is not point.kind:
        fitting = ", ".join(each.object_type for each in _CLASSES if each.kind is point.kind)
        raise PointRefusedError(
            point.name,
            f"a {point.kind} cannot be a {point.object_type}; choose one of: {fitting}",
        )
    if point.kind is not Kind.NUMBER and point.unit != NO_UNITS:
        raise PointRefusedError(point.name, f"a {point.kind} has no unit, so not {point.unit}")
    return chosen


class Device(LocalObject, standard.DeviceObject):
    """The device object (ASHRAE 135, 12.11)."""

    in_pieces = frozenset({"objectList", "activeCovSubscriptions"})

    def __init__(self, *, revision: Callable[[], int], services: Any, **properties: Any) -> None:
        """``revision`` tells the database-revision, ``services`` are those that are served."""
        types = ObjectTypesSupported([])
        for name in (*OBJECT_CLASSES, "device", "network-port"):
            types[int(ObjectType(name))] = 1
        self._revision = revision
        self._identifiers: list[bytes] = []  # of all objects, encoded; empty: not yet
        self._object_list = b""
        super().__init__(
            protocolServicesSupported=services, protocolObjectTypesSupported=types, **properties
        )

    def forget_object_list(self) -> None:
        """An object came or went."""
        self._identifiers = []

    def encoded(self, name: str, index: int | None) -> Iterable[bytes]:
        if name == "objectList":
            return (self._encoded_object_list(index),)
        if name == "activeCovSubscriptions" and index is None:
            return self._encoded_subscriptions()
        return super().encoded(name, index)

    def _encoded_object_list(self, index: int | None) -> bytes:
        """Kept until it changes: a BMS that reads it by index reads it ten thousand times."""
        if not self._identifiers:
            self._identifiers = [
                application_identifier(each) for each in self._app.objectIdentifier
            ]
            self._object_list = b"".join(self._identifiers)
        if index is None:
            return self._object_list
        if index == 0:
            return application_octets(Unsigned(len(self._identifiers)))
        if index > len(self._identifiers):
            raise PropertyError("invalidArrayIndex")
        return self._identifiers[index - 1]

    def _encoded_subscriptions(self) -> Iterator[bytes]:
        for each in self._app.subscriptions.active():
            yield application_octets(each)

    @property
    def databaseRevision(self) -> Any:  # noqa: N802
        return Unsigned(self._revision())

    @property
    def localDate(self) -> Any:  # noqa: N802
        return Date.now()

    @property
    def localTime(self) -> Any:  # noqa: N802
        return Time.now()

    @property
    def utcOffset(self) -> Any:  # noqa: N802
        """Minutes that standard time is west of UTC: negative in Europe (12.11)."""
        return Integer(time.timezone // 60)

    @property
    def daylightSavingsStatus(self) -> Any:  # noqa: N802
        return Boolean(time.localtime().tm_isdst > 0)


class NetworkPort(LocalObject, standard.NetworkPortObject):
    """The one port of a BACnet/IP device (ASHRAE 135, 12.56)."""

    def __init__(
        self,
        name: str,
        address: tuple[str, int],
        interface: ipaddress.IPv4Interface,
        max_apdu: int,
        foreign: tuple[str, int] | None,
    ) -> None:
        host, port = address
        packed = ipaddress.IPv4Address(host).packed
        properties: dict[str, Any] = {"bacnetIPMode": "normal"}
        if foreign is not None:
            bbmd, ttl = foreign
            properties = {
                "bacnetIPMode": "foreign",
                "fdBBMDAddress": HostNPort(bbmd),
                "fdSubscriptionLifetime": ttl,
            }
        super().__init__(
            objectIdentifier=ObjectIdentifier((ObjectType("network-port"), 1)),
            objectName=CharacterString(name),
            reliability=ReliabilityCode(ReliabilityCode.noFaultDetected),
            outOfService=Boolean(False),
            networkType="ipv4",
            protocolLevel="bacnet-application",
            networkNumber=0,
            networkNumberQuality="unknown",
            changesPending=Boolean(False),
            macAddress=packed + port.to_bytes(2, "big"),
            apduLength=Unsigned(max_apdu),
            linkSpeed=Real(0.0),  # unknown
            ipAddress=packed,
            bacnetIPUDPPort=port,
            ipSubnetMask=interface.netmask.packed,
            **properties,
        )

    @property
    def statusFlags(self) -> Any:  # noqa: N802
        return StatusFlags([0, 0, 0, 0])
