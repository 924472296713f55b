"""The header between the CI field and the data records (EN 13757-7, 5)."""

from __future__ import annotations

from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress, decode_secondary, encode_secondary
from bridge.mbus.control import HeaderKind
from bridge.mbus.errors import EncodeError

# The status byte (EN 13757-3, table 9). Bits 1-0 are one number, the others stand alone; 5 to 7
# are the manufacturer's.
APPLICATION_STATUS = 0x03
APPLICATION_BUSY = 1
APPLICATION_FAILURE = 2
ABNORMAL_CONDITION = 3
POWER_LOW = 0x04
PERMANENT_ERROR = 0x08
TEMPORARY_ERROR = 0x10


class Header(NamedTuple):
    """Who sent a telegram, and in which state.

    ``address`` is None in a short header; in the fixed data structure it has neither manufacturer
    nor version. ``access_number`` and ``status`` are bytes, ``configuration`` (old name:
    signature) is a word.
    """

    address: SecondaryAddress | None
    access_number: int
    status: int
    configuration: int


def decode_header(data: bytes, kind: HeaderKind) -> Header | None:
    """The header at the front of the user data; the caller sees to it that it is all there."""
    if kind is HeaderKind.NONE:
        return None
    if kind is HeaderKind.LONG:
        return Header(decode_secondary(data[:8]), data[8], data[9], data[11] << 8 | data[10])
    return Header(None, data[0], data[1], data[3] << 8 | data[2])


def reversed_header(data: bytes) -> bytes:
    """A long header whose fields came most significant byte first, in the usual order."""
    return data[3::-1] + data[5:3:-1] + data[6:10] + data[11:9:-1]


def encode_header(
    address: SecondaryAddress | None,
    access_number: int = 0,
    status: int = 0,
    configuration: int = 0,
) -> bytes:
    """A long header, 12 bytes; without an address a short one, 4 bytes.

    Raises:
        EncodeError: a number does not fit its field.
    """
    try:
        tail = bytes((access_number, status)) + configuration.to_bytes(2, "little")
    except (ValueError, OverflowError) as error:
        raise EncodeError(
            f"access number {access_number}, status {status} or configuration {configuration} "
            "does not fit in its field"
        ) from error
    return tail if address is None else encode_secondary(address) + tail
