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
from types import MappingProxyType
from typing import Any, Final

from bacpypes3.apdu import (
    ReadPropertyACK,
    ReadPropertyMultipleACK,
    SimpleAckPDU,
)
from bacpypes3.basetypes import (
    ErrorType,
    PropertyIdentifier,
    ReadAccessResult,
    ReadAccessResultElement,
    ReadAccessResultElementChoice,
    ServicesSupported,
)
from bacpypes3.constructeddata import Any as AnyValue
from bacpypes3.constructeddata import Array
from bacpypes3.errors import (
    ExecutionError,
    MissingRequiredParameter,
    ObjectError,
    ParameterOutOfRange,
    PropertyError,
)
from bacpypes3.primitivedata import ObjectType, Unsigned

from bridge.bacnet.cov import Key, Subscriptions
from bridge.bacnet.stack import DECODER_TRIPS, StackApplication, TransactionSettings

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
        value = await _read(obj, apdu.propertyIdentifier, apdu.propertyArrayIndex)
        await self.response(
            ReadPropertyACK(
                objectIdentifier=obj.objectIdentifier,
                propertyIdentifier=apdu.propertyIdentifier,
                propertyArrayIndex=apdu.propertyArrayIndex,
                propertyValue=value,
                context=apdu,
            )
        )

    async def do_ReadPropertyMultipleRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 15.7. An unknown object fails where it is asked for, and nowhere else."""
        results = []
        anything_known = False
        for specification in apdu.listOfReadAccessSpecs:
            identifier = specification.objectIdentifier
            obj = None
            try:
                obj = self.find(identifier)
                identifier = obj.objectIdentifier
                anything_known = True
            except ObjectError as error:
                logger.debug("%s is asked for: %s", identifier, error)
            elements: list[Any] = []
            for reference in specification.listOfPropertyReferences:
                elements += await _read_reference(obj, reference)
            results.append(ReadAccessResult(objectIdentifier=identifier, listOfResults=elements))
        if not anything_known:
            raise ObjectError("unknownObject")
        await self.response(ReadPropertyMultipleACK(listOfReadAccessResults=results, context=apdu))

    async def do_WritePropertyRequest(self, apdu: Any) -> None:  # noqa: N802
        """ASHRAE 135, 15.9. What may be written, the object decides: as a rule, nothing."""
        obj = self.find(apdu.objectIdentifier)
        identifier = apdu.propertyIdentifier
        datatype = obj.get_property_type(identifier)
        if datatype is None or getattr(obj, identifier.attr, None) is None:
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
        except DECODER_TRIPS as error:
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


async def _read(obj: Any, identifier: Any, index: int | None) -> Any:
    try:
        value = await obj.read_property(identifier, index)
    except AttributeError as error:
        raise PropertyError("unknownProperty") from error
    if value is None:
        raise PropertyError("unknownProperty")
    return value


async def _read_reference(obj: Any, reference: Any) -> list[Any]:
    identifier, index = reference.propertyIdentifier, reference.propertyArrayIndex
    named = _SETS.get(int(identifier))
    if named is None or obj is None:
        return [await _read_element(obj, identifier, index)]
    return [await _read_element(obj, each, None) for each in getattr(obj, named)()]


async def _read_element(obj: Any, identifier: Any, index: int | None) -> Any:
    result = ReadAccessResultElementChoice()
    try:
        if obj is None:
            raise ObjectError("unknownObject")
        result.propertyValue = AnyValue(await _read(obj, identifier, index))
    except ExecutionError as error:
        result.propertyAccessError = ErrorType(
            errorClass=error.errorClass, errorCode=error.errorCode
        )
    return ReadAccessResultElement(
        propertyIdentifier=identifier, propertyArrayIndex=index, readResult=result
    )
