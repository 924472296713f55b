"""What codes of a telegram mean in words: device types, status, commands, reasons."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress, decode_secondary
from bridge.mbus.compact import Format
from bridge.mbus.control import (
    CI_SELECT,
    FCB,
    FCV,
    REQ_SKE,
    REQ_UD1,
    REQ_UD2,
    SND_NKE,
    ci_row,
)
from bridge.mbus.fixed import BINARY, STORED
from bridge.mbus.header import (
    ABNORMAL_CONDITION,
    APPLICATION_BUSY,
    APPLICATION_FAILURE,
    APPLICATION_STATUS,
    PERMANENT_ERROR,
    POWER_LOW,
    TEMPORARY_ERROR,
)
from bridge.mbus.telegram import Telegram

# EN 13757-7, table 13. What is not here is reserved.
DEVICE_TYPES = {
    0x00: "other",
    0x01: "oil",
    0x02: "electricity",
    0x03: "gas",
    0x04: "heat",
    0x05: "steam",
    0x06: "warm water",
    0x07: "water",
    0x08: "heat cost allocator",
    0x09: "compressed air",
    0x0A: "cooling, outlet",
    0x0B: "cooling, inlet",
    0x0C: "heat, inlet",
    0x0D: "heat and cooling",
    0x0E: "bus or system component",
    0x0F: "unknown",
    0x10: "irrigation water",
    0x11: "water data logger",
    0x12: "gas data logger",
    0x13: "gas converter",
    0x14: "calorific value",
    0x15: "hot water",
    0x16: "cold water",
    0x17: "hot and cold water",
    0x18: "pressure",
    0x19: "A/D converter",
    0x1A: "smoke detector",
    0x1B: "room sensor",
    0x1C: "gas detector",
    0x1D: "carbon monoxide alarm",
    0x1E: "heat alarm",
    0x1F: "sensor device",
    0x20: "breaker",
    0x21: "valve",
    0x25: "customer unit",
    0x28: "waste water",
    0x29: "garbage",
    0x2A: "carbon dioxide",
    0x30: "service tool",
    0x31: "communication controller",
    0x32: "unidirectional repeater",
    0x33: "bidirectional repeater",
    0x36: "radio converter, system side",
    0x37: "radio converter, meter side",
    0x38: "bus converter, meter side",
}


def device_type_name(device_type: int) -> str:
    """The device type 0 to 255 in words."""
    return DEVICE_TYPES.get(device_type, "reserved")


# EN 13757-3, table 9; and of the fixed data structure, EN 13757-3:2004, 5.
_APPLICATION_STATUS = {
    APPLICATION_BUSY: "application busy",
    APPLICATION_FAILURE: "application error",
    ABNORMAL_CONDITION: "abnormal condition or alarm",
}
_FIXED_STATUS = ((BINARY, "binary counters"), (STORED, "stored at a fixed date"))
_STATUS = (
    (POWER_LOW, "power low"),
    (PERMANENT_ERROR, "permanent error"),
    (TEMPORARY_ERROR, "temporary error"),
)
_MANUFACTURER_STATUS = 0xE0


def status_words(
    status: int, own: Mapping[int, str] | None = None, *, fixed: bool = False
) -> list[str]:
    """What the status byte of a header says; empty where it says that all is well.

    Args:
        status: 0 to 255.
        own: what the manufacturer's bits, 5 to 7, mean where that is known.
        fixed: whether it is that of the fixed data structure, whose two lowest bits are others.
    """
    if fixed:
        words = [word for bit, word in _FIXED_STATUS if status & bit]
    else:
        application = status & APPLICATION_STATUS
        words = [_APPLICATION_STATUS[application]] if application else []
    words += [word for bit, word in _STATUS if status & bit]
    names = {1 << bit: name for bit, name in (own or {}).items()}
    words += [name for bit, name in names.items() if status & bit]
    if unknown := status & _MANUFACTURER_STATUS & ~sum(names):
        words.append(f"manufacturer's bits {unknown:02X}")
    return words


def is_fixed(telegram: Telegram) -> bool:
    """Whether it has the fixed data structure: two counters, which have no DIB."""
    return bool(telegram.records) and not any(record.dib for record in telegram.records)


def format_text(told: Format) -> str:
    """What a format frame tells: its signature, then DIB and VIB of each record."""
    return f"{told}: {' '.join(head.hex().upper() for head in told.heads)}"


_SHORT_FRAMES = {SND_NKE: "SND_NKE", REQ_SKE: "REQ_SKE", REQ_UD1: "REQ_UD1", REQ_UD2: "REQ_UD2"}


def service_of(control: int) -> str | None:
    """What a master asks for with a short frame, by its C field; None where it is no request."""
    return _SHORT_FRAMES.get(control & ~FCB if control & FCV else control)


_SECONDARY_LENGTH = 8


class Command(NamedTuple):
    """What a master sent to a meter: ``name`` is that of its CI field.

    ``meter`` is whom a selection selects, with wildcards; ``data`` is all behind the CI field.
    """

    ci: int
    name: str
    meter: SecondaryAddress | None
    data: bytes

    def __str__(self) -> str:
        if self.meter is not None:
            return f"selection of {self.meter} (CI {self.ci:02X})"
        data = f", with {self.data.hex(' ').upper()}" if self.data else ""
        return f"command of a master: {self.name} (CI {self.ci:02X}){data}"


def command_of(telegram: Telegram) -> Command | None:
    """The command that a telegram is; None where a meter sent it, or it could not be read."""
    if not telegram.from_master or telegram.encrypted_unread or telegram.unreadable:
        return None
    data = b"".join(error.data for error in telegram.errors)
    selects = telegram.ci == CI_SELECT and len(data) == _SECONDARY_LENGTH
    meter = decode_secondary(data) if selects else None
    return Command(telegram.ci, ci_row(telegram.ci).name, meter, data)


def readable_reason(reason: str) -> str:
    """Why there is no value, for people: ``BCD digits DDDDDDDD``."""
    return re.sub(r"^BCD (?=[0-9A-F]+$)", "BCD digits ", reason)
