"""The services that a device executes: reading, writing, subscribing, being found.

They stand in the place of bacpypes3's own where those go wrong: everything is writable there, one
unknown object in a ReadPropertyMultiple for ALL spoils the whole answer, a wrong datatype comes
back as a protocol error, and the wildcard instance is not known.
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final

from bacpypes3.apdu import ComplexAckPDU, SimpleAckPDU
from bacpypes3.basetypes import PropertyIdentifier, ServicesSupported
from bacpypes3.constructeddata import Array
from bacpypes3.errors import (
    ExecutionError,
    MissingRequiredParameter,
    ObjectError,
    ParameterOutOfRange,
    PropertyError,
)
from bacpypes3.primitivedata import ObjectType, Unsigned

from bridge.bacnet.answers import (
    Answer,
    Turns,
    Work,
    closing,
    context_identifier,
    context_unsigned,
    error_octets,
    opening,
)
from bridge.bacnet.cov import Key, Subscriptions
from bridge.bacnet.stack import CODEC_TRIPS, StackApplication, TransactionSettings

logger = logging.getLogger(__name__)

WILDCARD_INSTANCE: Final = 4_194_303
# No head-end means a longer one; "for ever" is 0.
LONGEST_LIFETIME: Final = 10 * 365 * 86_400

_SETS: Final = MappingProxyType(
    {
        int(PropertyIdentifier.all): "all_properties",
        int(PropertyIdentifier.required): "required_properties",
        int(PropertyIdentifier.optional): "optional_properties",
    }
)


class DeviceApplication(StackApplication):
    """The application of one BACnet device: its objects, and what is done with them."""

    served = MappingProxyType(
        {
            "ReadPropertyRequest": ServicesSupported.readProperty,
            "ReadPropertyMultipleRequest": ServicesSupported.readPropertyMultiple,
            "WritePropertyRequest": ServicesSupported.writeProperty,
            "SubscribeCOVRequest": ServicesSupported.subscribeCOV,
            "WhoIsRequest": ServicesSupported.whoIs,
            "WhoHasRequest": ServicesSupported.whoHas,
        }
    )

    def __init__(
        self, settings: TransactionSettings, device: Any, *, most_subscriptions: int
    ) -> None:
        super().__init__(settings)
        self.subscriptions = Subscriptions(self, device.objectIdentifier, most_subscriptions)
        self._turns = Turns()
        self._reported: set[tuple[Any, int]] = set()  # properties that cannot be told
        self._revision = 0
        self.add_object(device)

    @property
    def database_revision(self) -> int:
        """Changes whenever an object comes, goes or is another, and only then.

        It follows from the identifiers and names of the objects there are, whatever their order,
        so that it is the same after a restart without anything being kept.
        """
        return self._revision

    def add_object(self, obj: Any) -> None:
        super().add_object(obj)
        self._objects_changed(obj)

    def delete_object(self, obj: Any) -> None:
        super().delete_object(obj)
        self.subscriptions.object_gone(obj.objectIdentifier)
        self._objects_changed(obj)

    def _objects_changed(self, obj: Any) -> None:
        object_type, instance = obj.objectIdentifier
        self._revision ^= zlib.crc32(f"{int(object_type)},{instance},{obj.objectName}".encode())
        self.device_object.forget_object_list()

    def object_changed(self, obj: Any) -> None:
        """A value of one of our objects is another: tell who asked to be told."""
        self.subscriptions.object_changed(obj)

    def find(self, object_identifier: Any) -> Any:
        """The object of that identifier.

        Raises:
            ObjectError: there is none.
        """
        object_type, instance = object_identifier
        if object_type == ObjectType.device and instance == WILDCARD_INSTANCE:
            return self.device_object  # ASHRAE 135, 15.5
        found = self.objectIdentifier.get(object_identifier)
        if found is None:
            raise ObjectError("unknownObject")
        return found

    # bacpypes3 calls these by the name of the request's class.

    async def do_ReadPropertyRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 15.5."""
        obj = self.find(apdu.objectIdentifier)
        identifier, index = apdu.propertyIdentifier, apdu.propertyArrayIndex
        answer = Answer(apdu)
        answer.add(context_identifier(0, obj.objectIdentifier))
        answer.add(context_unsigned(1, identifier))
        if index is not None:
            answer.add(context_unsigned(2, index))
        answer.add(opening(3))
        async with self._turns.work() as work:
            await self._add_value(answer, work, obj, identifier, index)
        answer.add(closing(3))
        await self._acknowledge(apdu, answer)

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 15.7. An unknown object fails where it is asked for, and nowhere else."""
        answer = Answer(apdu)
        anything_known = False
        async with self._turns.work() as work:
            for specification in apdu.listOfReadAccessSpecs:
                identifier = specification.objectIdentifier
                obj = None
                try:
                    obj = self.find(identifier)
                    identifier = obj.objectIdentifier
                    anything_known = True
                except ObjectError as error:
                    logger.debug("%s is asked for: %s", identifier, error)
                answer.add(context_identifier(0, identifier) + opening(1))
                for reference in specification.listOfPropertyReferences:
                    for each, index in _referred(obj, reference):
                        await self._add_element(answer, work, obj, each, index)
                answer.add(closing(1))
        if not anything_known:
            raise ObjectError("unknownObject")
        await self._acknowledge(apdu, answer)

    async def _add_element(
        self, answer: Answer, work: Work, obj: Any, identifier: Any, index: int | None
    ) -> None:
        """One property of a ReadAccessResult: its value, or what is wrong with it."""
        answer.add(context_unsigned(2, identifier))
        if index is not None:
            answer.add(context_unsigned(3, index))
        begin = len(answer)
        try:
            if obj is None:
                raise ObjectError("unknownObject")
            answer.add(opening(4))
            await self._add_value(answer, work, obj, identifier, index)
            answer.add(closing(4))
        except ExecutionError as error:
            answer.cut(begin)
            octets = error_octets(error.errorClass, error.errorCode)
            answer.add(opening(5) + octets + closing(5))
        await work.breathe()

    async def _add_value(
        self, answer: Answer, work: Work, obj: Any, identifier: Any, index: int | None
    ) -> None:
        """Raises ExecutionError; what was added of the value is the caller's to take back."""
        try:
            for octets in obj.encoded(identifier.attr, index):
                answer.add(octets)
                await work.breathe()
        except ExecutionError:
            raise
        except CODEC_TRIPS as error:
            what = (obj.objectIdentifier, int(identifier))
            if what not in self._reported:
                self._reported.add(what)
                logger.error(
                    "%s of %s cannot be told: %r", identifier, what[0], error, exc_info=error
                )
            raise ExecutionError(errorClass="device", errorCode="operationalProblem") from error

    async def _acknowledge(self, request: Any, answer: Answer) -> None:
        ack = ComplexAckPDU(context=request)
        ack.put_data(answer.octets)
        await self.response(ack)

    async def do_WritePropertyRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 15.9. What may be written, the object decides: as a rule, nothing."""
        obj = self.find(apdu.objectIdentifier)
        identifier = apdu.propertyIdentifier
        datatype = obj.get_property_type(identifier)
        if datatype is None or not obj.has(identifier.attr):
            raise PropertyError("unknownProperty")
        index = apdu.propertyArrayIndex
        if index is not None and not issubclass(datatype, Array):
            raise PropertyError("propertyIsNotAnArray")
        if identifier.attr not in obj.writable():
            raise PropertyError("writeAccessDenied")
        if index is not None:
            datatype = Unsigned if index == 0 else datatype._subtype
        try:
            value = apdu.propertyValue.cast_out(datatype)
        except CODEC_TRIPS as error:
            logger.debug("write to %s of %s: %r", identifier, apdu.objectIdentifier, error)
            raise PropertyError("invalidDataType") from error
        obj.write(identifier.attr, value)
        await self.response(SimpleAckPDU(context=apdu))

    async def do_SubscribeCOVRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 13.14."""
        key = Key(
            apdu.pduSource, int(apdu.subscriberProcessIdentifier), apdu.monitoredObjectIdentifier
        )
        confirmed, lifetime = apdu.issueConfirmedNotifications, apdu.lifetime
        if confirmed is None:
            if lifetime is not None:
                raise MissingRequiredParameter("issueConfirmedNotifications")
            self.subscriptions.cancel(key)
            await self.response(SimpleAckPDU(context=apdu))
            return
        obj = self.find(apdu.monitoredObjectIdentifier)
        if not hasattr(obj, "cov_values"):
            raise ExecutionError(errorClass="object", errorCode="optionalFunctionalityNotSupported")
        seconds = int(lifetime or 0)
        if seconds > LONGEST_LIFETIME:
            raise ExecutionError(errorClass="services", errorCode="parameterOutOfRange")
        self.subscriptions.subscribe(key, obj, confirmed=bool(confirmed), lifetime=seconds)
        await self.response(SimpleAckPDU(context=apdu))

    async def do_WhoIsRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 16.10. Nonsense in it is dropped: there is nobody to tell."""
        try:
            await super().do_WhoIsRequest(apdu)
        except (MissingRequiredParameter, ParameterOutOfRange) as error:
            logger.debug("Who-Is from %s: %s", apdu.pduSource, error)

    async def do_WhoHasRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 16.9. Nonsense in it is dropped: there is nobody to tell."""
        try:
            await super().do_WhoHasRequest(apdu)
        except (MissingRequiredParameter, ParameterOutOfRange) as error:
            logger.debug("Who-Has from %s: %s", apdu.pduSource, error)


def _referred(obj: Any, reference: Any) -> Iterable[tuple[Any, int | None]]:
    """The properties, and array indexes, that a reference of a ReadPropertyMultiple stands for."""
    identifier = reference.propertyIdentifier
    named = _SETS.get(int(identifier))
    if named is None or obj is None:
        return ((identifier, reference.propertyArrayIndex),)
    return ((each, None) for each in getattr(obj, named)())
