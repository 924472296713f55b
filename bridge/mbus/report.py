"""A telegram for people and programs: JSON, and the rows of a text table."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import simplejson

from bridge.mbus.address import manufacturer_name
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Header, Telegram
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.vif import EXACT
from bridge.units import Unit


class PlainDecimal(Decimal):
    """A `Decimal` that is never written with an exponent: 123000, not 1.23E+5."""

    def __str__(self) -> str:
        return format(self, "f")


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


def to_dict(telegram: Telegram) -> dict[str, Any]:
    """The telegram as plain data. Numbers are int or `PlainDecimal`.

    ``application_error``, ``alarm``, ``message_counter`` and ``notes`` are there only where the
    telegram has any.
    """
    report: dict[str, Any] = {
        "control": f"{telegram.control:02X}",
        "address": telegram.address,
        "ci": f"{telegram.ci:02X}",
        "header": None
        if telegram.header is None
        else _header(telegram.header, telegram.encryption),
        "records": [_record(record) for record in telegram.records],
        "more_records_follow": telegram.more_records_follow,
        "manufacturer_data": None
        if telegram.manufacturer_data is None
        else _hex(telegram.manufacturer_data),
        "errors": [
            {"offset": error.offset, "reason": error.reason, "data": _hex(error.data)}
            for error in telegram.errors
        ],
    }
    if telegram.application_error is not None:
        report["application_error"] = str(telegram.application_error)
    if telegram.alarm is not None:
        report["alarm"] = _hex(telegram.alarm)
    if telegram.message_counter is not None:
        report["message_counter"] = telegram.message_counter
    if telegram.notes:
        report["notes"] = list(telegram.notes)
    return report


def to_json(telegram: Telegram, *, indent: int | None = None) -> str:
    """The telegram as one JSON object; its numbers have all the digits that the meter sent."""
    return simplejson.dumps(to_dict(telegram), use_decimal=True, ensure_ascii=False, indent=indent)


def _header(header: Header, encryption: str) -> dict[str, Any]:
    address = header.address
    code = None if address is None else address.device_type
    manufacturer = None if address is None else address.manufacturer
    return {
        "identification": None if address is None else address.identification,
        "manufacturer": None if manufacturer is None else manufacturer_name(manufacturer),
        "version": None if address is None else address.version,
        "device_type": None if code is None else device_type_name(code),
        "device_type_code": code,
        "access_number": header.access_number,
        "status": header.status,
        "configuration": f"{header.configuration:04X}",
        "encryption": encryption,
    }


def _record(record: DataRecord) -> dict[str, Any]:
    return {
        "dib": _hex(record.dib),
        "vib": _hex(record.vib),
        "function": str(record.function),
        "storage": record.storage,
        "tariff": record.tariff,
        "subunit": record.subunit,
        "quantity": str(record.quantity),
        "unit": record.unit_text or str(record.unit),
        "value": _value(record.value),
        "modifiers": list(record.modifiers),
        "invalid": record.invalid,
    }


def _value(value: Value) -> PlainDecimal | str | None:
    match value:
        case Decimal():
            return PlainDecimal(value)
        case bytes():
            return _hex(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case PartialDate():
            return str(value)
        case _:
            return value


def _hex(data: bytes) -> str:
    return data.hex().upper()


class TextRow(NamedTuple):
    """One record as a line of a table. ``data`` are all its bytes, in hex."""

    function: str
    place: str  # storage number / tariff / subunit
    quantity: str
    value: str
    data: str


# Units as operators read them on the meter's display: symbol, and its power of ten.
_READABLE: dict[Unit, tuple[str, int]] = {
    Unit.WATT_HOUR: ("kWh", 3),
    Unit.JOULE: ("MJ", 6),
    Unit.CALORIE: ("Mcal", 6),
    Unit.WATT: ("kW", 3),
    Unit.JOULE_PER_HOUR: ("MJ/h", 6),
    Unit.CUBIC_METRE: ("m³", 0),
    Unit.CUBIC_METRE_PER_HOUR: ("m³/h", 0),
    Unit.CUBIC_FOOT: ("ft³", 0),
    Unit.CELSIUS: ("°C", 0),
    Unit.FAHRENHEIT: ("°F", 0),
    Unit.FAHRENHEIT_DIFFERENCE: ("°F", 0),
    Unit.DEGREE: ("°", 0),
}
_DURATIONS = ((86400, "d"), (3600, "h"), (60, "min"))


def to_rows(telegram: Telegram) -> list[TextRow]:
    """The records as rows of a text table."""
    return [
        TextRow(
            str(record.function),
            f"{record.storage}/{record.tariff}/{record.subunit}",
            ", ".join((str(record.quantity), *record.modifiers)),
            readable_value(record),
            _hex(record.dib + record.vib + record.data),
        )
        for record in telegram.records
    ]


def readable_value(record: DataRecord) -> str:
    """The value of a record with a unit, as a person reads it: ``45120 kWh``, ``3 h``."""
    if record.value is None:
        return f"none: {record.invalid}"
    if not isinstance(record.value, Decimal):
        return str(_value(record.value))
    number, symbol = record.value, record.unit_text or str(record.unit)
    if record.unit is Unit.SECOND:
        for seconds, name in _DURATIONS:
            if number and EXACT.remainder(number, seconds) == 0:
                return f"{format(EXACT.divide(number, seconds), 'f')} {name}"
    if record.unit in _READABLE:
        symbol, power = _READABLE[record.unit]
        if power:
            text = format(EXACT.scaleb(number, -power), "f")
            return f"{text.rstrip('0').rstrip('.') if '.' in text else text} {symbol}"
    return f"{format(number, 'f')} {symbol}".rstrip()
