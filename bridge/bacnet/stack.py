"""bacpypes3's application layer, made fit for a device that runs for years.

What bacpypes3 0.0.110 does wrong in its transactions is put right here, by subclasses; nothing of
the library is patched. The other corrections: sockets in ``udp``, services in ``services``,
subscriptions in ``cov``, properties in ``objects``.

- a confirmed request that cannot be decoded gets a Reject, not silence (ASHRAE 135, 5.4.5.1, 18.9)
- a reserved maximum APDU code does not leave its transaction behind for ever
- a segment fits the client's maximum APDU with its header, and an Ethernet frame with all headers
- the first segment is sent again when it gets lost, and a repeated request disturbs nothing
- a negative segment-ack after the last segment sends the rest again; answers may have more than
  256 segments; windows of 0 and above 127 are refused (5.4.5.3, 18.10)
- the number of transactions, and the size of a segmented request, have limits
- services that are not served get a Reject, whatever the library has half of
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final

from bacpypes3.apdu import (
    APDU,
    AbortPDU,
    AbortReason,
    APCISequence,
    ComplexAckPDU,
    ConfirmedRequestPDU,
    RejectPDU,
    RejectReason,
    SegmentAckPDU,
    confirmed_request_types,
)
from bacpypes3.app import Application
from bacpypes3.appservice import (
    ABORTED,
    COMPLETED,
    IDLE,
    ApplicationServiceAccessPoint,
    ServerSSM,
)
from bacpypes3.basetypes import Segmentation, ServicesSupported
from bacpypes3.comm import bind
from bacpypes3.errors import RejectException
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import IPv4Address

logger = logging.getLogger(__name__)

# The largest APDU of BACnet/IP (ASHRAE 135, table 6-1): what we accept.
MAX_APDU: Final = 1476
# What we send: 1500 octets of Ethernet less IP (20), UDP (8), BVLC (4) and a routed NPCI (up to
# 24). Larger ones would travel as fragments, which firewalls like to drop.
MAX_APDU_SENT: Final = 1444
# Octets of a ComplexACK's header, plain and as a segment (20.1.5).
ACK_HEADER: Final = 3
SEGMENT_HEADER: Final = 5

MOST_TRANSACTIONS: Final = 500
# A ReadPropertyMultiple for the values of 1 000 objects. The library's time to decode one grows
# with the square of its length: a quarter of a second for this, four for 65 536 octets.
LARGEST_REQUEST: Final = 16_384
_RESERVED_MAX_APDU = 6
_MAX_APDU_480 = 3
_LARGEST_WINDOW = 127

# What the library runs into where octets make no sense, or a value cannot be said in octets.
CODEC_TRIPS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RejectException,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class TransactionSettings:
    """How transactions run, by the names that bacpypes3 asks a device object for. Times in ms."""

    numberOfApduRetries: int = 3  # noqa: N815
    apduTimeout: int = 3000  # noqa: N815
    apduSegmentTimeout: int = 2000  # noqa: N815
    segmentationSupported: Any = Segmentation.segmentedBoth  # noqa: N815
    maxSegmentsAccepted: int = 64  # noqa: N815
    maxApduLengthAccepted: int = MAX_APDU  # noqa: N815


class ServerTransaction(ServerSSM):
    """One confirmed request that we answer."""

    maxApduLengthAccepted: int  # noqa: N815
    initialSequenceNumber: int  # noqa: N815
    actualWindowSize: int | None  # noqa: N815

    async def indication(self, apdu: Any) -> None:
        if self.state == IDLE and apdu.apduMaxResp >= _RESERVED_MAX_APDU:
            apdu.apduMaxResp = _MAX_APDU_480
        try:
            if self.state == IDLE and apdu.apduSeg and not 1 <= apdu.apduWin <= _LARGEST_WINDOW:
                self.invokeID = apdu.apduInvokeID
                await self._give_up(AbortReason.windowSizeOutOfRange)
                return
            await super().indication(apdu)
        finally:
            if self.state == IDLE and self in self.ssmSAP.serverTransactions:
                self.ssmSAP.serverTransactions.remove(self)

    async def request(self, apdu: Any) -> None:
        """Decode a request that is complete, and give it to the application."""
        if not isinstance(apdu, AbortPDU):
            if apdu.apduService not in confirmed_request_types:
                await self._reject(RejectReason.unrecognizedService)
                return
            try:
                apdu = APCISequence.decode(apdu)
            except AttributeError as error:  # how the library says that a parameter is missing
                logger.debug("request without a parameter: %s", error)
                await self._reject(RejectReason.missingRequiredParameter)
                return
            except CODEC_TRIPS as error:
                logger.debug("request cannot be decoded: %r", error)
                await self._reject(RejectReason.invalidTag)
                return
        apdu.pduSource = self.pdu_address
        apdu.pduDestination = None
        await self.ssmSAP.sap_request(apdu)

    async def _reject(self, reason: int) -> None:
        self.set_state(COMPLETED)
        await self.response(RejectPDU(self.invokeID, reason))

    async def _give_up(self, reason: int) -> None:
        await self.response(self.abort(reason))

    async def segmented_request(self, apdu: Any) -> None:
        if (
            isinstance(apdu, ConfirmedRequestPDU)
            and len(self.segmentAPDU.pduData) + len(apdu.pduData) > LARGEST_REQUEST
        ):
            await self._give_up(AbortReason.bufferOverflow)
            return
        await super().segmented_request(apdu)

    async def confirmation(self, apdu: Any) -> None:
        """Send the application's answer, in segments where it must be."""
        if isinstance(apdu, ComplexAckPDU):
            room = min(self.maxApduLengthAccepted, MAX_APDU_SENT)
            whole = len(apdu.pduData) <= room - ACK_HEADER
            # The library cuts the data to this size and puts the header on top.
            self.maxApduLengthAccepted = room - (ACK_HEADER if whole else SEGMENT_HEADER)
        await super().confirmation(apdu)

    # While the segments go out, initialSequenceNumber counts them from 0 without wrapping; on the
    # wire they are numbered modulo 256.

    async def segmented_response(self, apdu: Any) -> None:
        if isinstance(apdu, ConfirmedRequestPDU):
            return  # the client repeats itself; its answer is on the way
        if not isinstance(apdu, SegmentAckPDU):
            await super().segmented_response(apdu)
            return
        if not 1 <= apdu.apduWin <= _LARGEST_WINDOW:
            await self._give_up(AbortReason.windowSizeOutOfRange)
            return
        ahead = (apdu.apduSeq - self.initialSequenceNumber) % 256
        if ahead >= (self.actualWindowSize or 1):  # a duplicate ack
            self.restart_timer(self.segmentTimeout)
            return
        acked = self.initialSequenceNumber + ahead
        if acked >= self.segmentCount - 1:
            self.set_state(COMPLETED)
            return
        self.actualWindowSize = apdu.apduWin
        self.initialSequenceNumber = acked + 1
        self.segmentRetryCount = 0
        await self._fill_window()

    async def segmented_response_timeout(self) -> None:
        if self.segmentRetryCount >= self.numberOfApduRetries:
            self.set_state(ABORTED)
            return
        self.segmentRetryCount += 1
        await self._fill_window()

    async def _fill_window(self) -> None:
        first = self.initialSequenceNumber
        for index in range(first, min(first + (self.actualWindowSize or 1), self.segmentCount)):
            await self.response(self.get_segment(index))
        self.restart_timer(self.segmentTimeout)


class AccessPoint(ApplicationServiceAccessPoint):
    """Finds the transaction that a datagram belongs to."""

    async def confirmation(self, pdu: Any) -> None:
        data = pdu.pduData
        if not data:
            return
        if data[0] >> 4 != ConfirmedRequestPDU.pduType:
            await super().confirmation(pdu)
            return
        apdu = APDU.decode(pdu)
        for transaction in self.serverTransactions:
            if transaction.invokeID == apdu.apduInvokeID and (
                transaction.pdu_address == apdu.pduSource
            ):
                break
        else:
            transaction = ServerTransaction(self, apdu.pduSource)
            if len(self.serverTransactions) >= MOST_TRANSACTIONS:
                busy = AbortPDU(True, apdu.apduInvokeID, AbortReason.outOfResources)
                busy.pduDestination = apdu.pduSource
                await self.request(busy)
                return
            self.serverTransactions.append(transaction)
        await transaction.indication(apdu)


class StackApplication(Application):
    """An application that serves what its class names in ``served``, and nothing else.

    ``served`` maps the class name of a request to its bit of protocol-services-supported.
    """

    served: ClassVar[Mapping[str, int]] = MappingProxyType({})

    def __init__(self, settings: TransactionSettings) -> None:
        super().__init__()
        # A plain object: the library asks for six settings at every request, and a device object
        # takes its time to answer.
        self.asap = AccessPoint(settings, self.device_info_cache)
        self.nsap = NetworkServiceAccessPoint()
        self.nse = NetworkServiceElement()
        bind(self.nse, self.nsap)
        bind(self, self.asap, self.nsap)

    def attach(self, link: Any, address: tuple[str, int]) -> None:
        """Talk through a link layer from now on."""
        self.nsap.bind(link, address=IPv4Address(address))

    async def indication(self, apdu: Any) -> None:
        if type(apdu).__name__ in self.served:
            await super().indication(apdu)
        elif isinstance(apdu, ConfirmedRequestPDU):
            await self.response(RejectPDU(reason=RejectReason.unrecognizedService, context=apdu))

    async def response(self, apdu: Any) -> None:
        if isinstance(apdu, AbortPDU):
            apdu.apduSrv = True  # who answers is the server (20.1.9.1)
        await super().response(apdu)

    @classmethod
    def services_supported(cls) -> Any:
        """The value of protocol-services-supported: exactly what is served."""
        bits = ServicesSupported([])
        for bit in cls.served.values():
            bits[bit] = 1
        return bits
