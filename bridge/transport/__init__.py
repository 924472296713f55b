"""The only floor that opens a port to a bus."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from bridge.transport.base import (
    Line,
    Parity,
    Received,
    Transport,
    TransportError,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.rfc2217 import Rfc2217Transport
from bridge.transport.serial import SerialTransport
from bridge.transport.tcp import CONNECT_TIMEOUT, TcpTransport

__all__ = [
    "Line",
    "Parity",
    "Port",
    "PortError",
    "PortKind",
    "Received",
    "Transport",
    "TransportError",
    "TransportLineError",
    "TransportLostError",
    "TransportOpenError",
    "make_transport",
    "parse_port",
]


class PortKind(StrEnum):
    """How the bus is reached."""

    SERIAL = "serial"
    TCP = "tcp"
    RFC2217 = "rfc2217"


class PortError(TransportError):
    """A text that names no port; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Port:
    """What a port's name says.

    ``host`` is the device file of a serial port, else the name or address of the gateway;
    ``number`` is its TCP port, 1 to 65535, and 0 for a serial port.
    """

    kind: PortKind
    host: str
    number: int = 0


_FORMS = "a port is /dev/ttyUSB0, tcp://host:port or rfc2217://host:port"


def parse_port(text: str) -> Port:
    """``/dev/ttyUSB0``, ``tcp://host:port`` or ``rfc2217://host:port`` to what it means.

    Raises:
        PortError: it is none of them.
    """
    text = text.strip()
    if "://" not in text:
        if not text.startswith("/"):
            raise PortError(f"{text!r} is no port: {_FORMS}")
        return Port(PortKind.SERIAL, text)
    try:
        parts = urlsplit(text)
        number = parts.port
    except ValueError as error:
        raise PortError(f"{text!r} is no port ({error}): {_FORMS}") from None
    if parts.scheme not in (PortKind.TCP, PortKind.RFC2217):
        raise PortError(f"{text!r} begins with {parts.scheme}://, which is unknown: {_FORMS}")
    if not parts.hostname:
        raise PortError(f"{text!r} names no host: {_FORMS}")
    if not number:
        raise PortError(f"{text!r} names no TCP port from 1 to 65535: {_FORMS}")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise PortError(f"{text!r} says more than host and port: {_FORMS}")
    return Port(PortKind(parts.scheme), parts.hostname, number)


def make_transport(
    port: str,
    *,
    baudrate: int = 2400,
    parity: Parity = "even",
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Transport:
    """The transport for a port, not opened yet.

    Args:
        port: as `parse_port` takes it.
        baudrate: of the bus, 300 to 38400. A ``tcp://`` gateway has its own setting, and this
            should say the same.
        parity: of the bus; likewise.
        connect_timeout: seconds, for each step to a gateway: its name, the connection, settings.

    Raises:
        PortError: ``port`` names none.
    """
    parsed = parse_port(port)
    if parsed.kind is PortKind.SERIAL:
        return SerialTransport(parsed.host, baudrate=baudrate, parity=parity)
    if parsed.kind is PortKind.TCP:
        network: type[TcpTransport | Rfc2217Transport] = TcpTransport
    else:
        network = Rfc2217Transport
    return network(
        port,
        parsed.host,
        parsed.number,
        baudrate=baudrate,
        parity=parity,
        connect_timeout=connect_timeout,
    )
