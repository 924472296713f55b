"""The BACnet device that the bridge is: started, fed by the store, stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from bacpypes3.basetypes import AddressBinding, DeviceStatus, Segmentation
from bacpypes3.constructeddata import ListOf
from bacpypes3.primitivedata import CharacterString, ObjectIdentifier, ObjectType

from bridge import __version__
from bridge.bacnet.errors import BacnetError, PointRefusedError
from bridge.bacnet.objects import (
    Accumulator,
    Device,
    NetworkPort,
    PointObject,
    class_of,
    reserve_chosen,
)
from bridge.bacnet.properties import Scale, choose_scale
from bridge.bacnet.services import DeviceApplication
from bridge.bacnet.stack import MAX_APDU, TransactionSettings
from bridge.bacnet.udp import (
    DEFAULT_PORT,
    ForeignLink,
    NormalLink,
    UdpServer,
    bind_device,
    parse_interface,
    parse_station,
)
from bridge.points.ledger import INSTANCES, Ledger, LedgerError
from bridge.points.reading import Point, Reading
from bridge.points.store import Store

logger = logging.getLogger(__name__)

# ASHRAE keeps 999 for itself and gives it to no vendor, so nobody else's objects are taken for
# ours. Who ships a product puts their own identifier into the settings.
UNASSIGNED_VENDOR: Final = 999

# Under this name the ledger keeps the scales of accumulators. A colon is in no meter's name.
_SCALES: Final = "bacnet:scale"


@dataclass(frozen=True, slots=True)
class ForeignSettings:
    """Where to register as a foreign device; ``bbmd`` is "host" or "host:port", ttl in seconds."""

    bbmd: str
    ttl: int = 300


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """Who the device is and where it is found.

    ``instance``: 0 to 4194302. ``address``: of one interface of this machine, with its prefix
    length, as "192.168.1.10/24". ``port``: 1 to 65535, or 0 for any free one.
    """

    instance: int
    name: str
    address: str = "127.0.0.1/8"
    port: int = DEFAULT_PORT
    description: str = ""
    location: str = ""
    serial_number: str = ""
    vendor_name: str = "mbus-bacnet"
    vendor_identifier: int = UNASSIGNED_VENDOR
    model_name: str = "mbus-bacnet"
    foreign: ForeignSettings | None = None
    most_subscriptions: int = 20_000


class BacnetDevice:
    """One BACnet/IP device. Its objects are the points of a store, as they come and go."""

    def __init__(self, settings: DeviceSettings, store: Store, ledger: Ledger) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._application: DeviceApplication | None = None
        self._server: UdpServer | None = None
        self._link: NormalLink | ForeignLink | None = None
        self._objects: dict[str, PointObject] = {}
        self._scales: dict[str, Scale] = {}
        self._without_scale: set[str] = set()
        self._starting = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and UDP port that the device listens at, once started."""
        if self._server is None:
            raise BacnetError("the BACnet device is not started")
        return self._server.address

    async def start(self) -> None:
        """Bind, offer all points of the store, and announce the device once (I-Am).

        Raises:
            PortTakenError: another program has the UDP port.
            NotOurAddressError: the address belongs to no interface of this machine.
            AddressError: the address is none.
            PointRefusedError: a point asks for what no object here can do.
            LedgerError: an instance is taken, or the ledger cannot be written.
            BacnetError: the settings are wrong, or the operating system refuses.
        """
        settings = self._settings
        if not 0 <= settings.instance < INSTANCES:
            raise BacnetError(
                f"device instance {settings.instance} is not between 0 and {INSTANCES - 1}"
            )
        interface = parse_interface(settings.address)
        if settings.foreign is not None:
            parse_station(settings.foreign.bbmd)
        sockets = bind_device(interface, settings.port)
        foreign = settings.foreign
        transactions = TransactionSettings()
        server = UdpServer(sockets)
        application: DeviceApplication | None = None
        try:
            device = self._device_object(transactions)
            application = DeviceApplication(
                transactions, device, most_subscriptions=settings.most_subscriptions
            )
            application.add_object(
                NetworkPort(
                    f"{settings.name}: network port",
                    sockets.address,
                    interface,
                    MAX_APDU,
                    (foreign.bbmd, foreign.ttl) if foreign is not None else None,
                )
            )
            self._application = application
            self._scales = {
                name: _parse_scale(text) for name, text in self._ledger.remembered(_SCALES).items()
            }
            self._watch()
        except BaseException:
            self._application = None
            self._objects.clear()
            self._without_scale.clear()
            sockets.close()
            raise
        await server.open()
        self._server = server
        if foreign is None:
            self._link = NormalLink(server)
        else:
            self._link = ForeignLink(server, foreign.bbmd, foreign.ttl)
        application.attach(self._link, server.address)
        application.i_am()
        logger.debug(
            "BACnet device %d (%s) at %s:%d with %d objects",
            settings.instance,
            settings.name,
            *server.address,
            len(application.objectIdentifier),
        )

    async def stop(self) -> None:
        """End all subscriptions and release the UDP port. May be called at any time."""
        application, server, link = self._application, self._server, self._link
        self._application = self._server = self._link = None
        if application is not None:
            self._store.unwatch(self)
            application.subscriptions.close()
        self._objects.clear()
        self._without_scale.clear()
        if isinstance(link, ForeignLink):
            await link.end()
        if server is not None:
            await server.close()

    # What the store tells: see `bridge.points.store.Watcher`.

    def point_added(self, point: Point, reading: Reading) -> None:
        try:
            self._add(point, reading)
        except (BacnetError, LedgerError) as error:
            # At the start the user is there to read it. Later, one point that cannot be offered
            # must not end the polling of the meter that brought it.
            if self._starting:
                raise
            logger.error("not offered: %s", error)

    def point_removed(self, point: Point) -> None:
        self._without_scale.discard(point.name)
        removed = self._objects.pop(point.name, None)
        if removed is not None and self._application is not None:
            self._application.delete_object(removed)

    def reading_changed(self, point: Point, reading: Reading) -> None:
        known = self._objects.get(point.name)
        if known is not None:
            known.update(reading)
        elif point.name in self._without_scale:
            self.point_added(point, reading)

    def _watch(self) -> None:
        self._starting = True
        try:
            with self._ledger.transaction():
                reserve_chosen(self._store.points, self._ledger)
                try:
                    self._store.watch(self)
                except BaseException:
                    self._store.unwatch(self)
                    raise
        finally:
            self._starting = False

    def _add(self, point: Point, reading: Reading) -> None:
        application = self._application
        if application is None:
            return
        if point.name in application.objectName:
            raise PointRefusedError(
                point.name, "an object of the device itself has this name; choose another"
            )
        object_class = class_of(point)
        instance = self._ledger.instance(object_class.object_type, point.name, point.instance)
        if issubclass(object_class, Accumulator):
            scale = self._scale(point, reading)
            if scale is None:
                # Without a first value nobody knows its scale, and a BMS reads that once, when
                # it is set up. Better no object yet than one whose counts change their meaning.
                self._without_scale.add(point.name)
                return
            self._without_scale.discard(point.name)
            made: PointObject = Accumulator(point, instance, reading, scale)
        else:
            made = object_class(point, instance, reading)
        application.add_object(made)
        self._objects[point.name] = made

    def _scale(self, point: Point, reading: Reading) -> Scale | None:
        known = self._scales.get(point.name)
        if known is not None:
            return known
        value = reading.value
        if not isinstance(value, Decimal) or not value.is_finite():
            return None
        scale = choose_scale(value, reading.resolution)
        self._ledger.remember(_SCALES, point.name, f"{scale.exponent} {scale.maximum}")
        self._scales[point.name] = scale
        return scale

    def _device_object(self, transactions: TransactionSettings) -> Device:
        settings = self._settings
        optional = {
            name: CharacterString(text)
            for name, text in (
                ("description", settings.description),
                ("location", settings.location),
                ("serialNumber", settings.serial_number),
            )
            if text
        }
        return Device(
            revision=lambda: self._application.database_revision if self._application else 0,
            services=DeviceApplication.services_supported(),
            objectIdentifier=ObjectIdentifier((ObjectType("device"), settings.instance)),
            objectName=CharacterString(settings.name),
            systemStatus=DeviceStatus(DeviceStatus.operational),
            vendorName=CharacterString(settings.vendor_name),
            vendorIdentifier=settings.vendor_identifier,
            modelName=CharacterString(settings.model_name),
            firmwareRevision=CharacterString(__version__),
            applicationSoftwareVersion=CharacterString(__version__),
            protocolVersion=1,
            protocolRevision=22,
            maxApduLengthAccepted=transactions.maxApduLengthAccepted,
            segmentationSupported=Segmentation(transactions.segmentationSupported),
            maxSegmentsAccepted=transactions.maxSegmentsAccepted,
            apduTimeout=transactions.apduTimeout,
            apduSegmentTimeout=transactions.apduSegmentTimeout,
            numberOfApduRetries=transactions.numberOfApduRetries,
            deviceAddressBinding=ListOf(AddressBinding)([]),
            **optional,
        )


def _parse_scale(text: str) -> Scale:
    exponent, maximum = text.split()
    return Scale(int(exponent), int(maximum))
