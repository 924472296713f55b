"""Telegrams in the normalized XML form of the C library libmbus, for tools that read it.

Elements, their order, indentation and wording are that library's: they are the interface. The
values are ours, and so differ where that library is at odds with EN 13757-3:

- What the meter says is no value is an empty ``Value``; an ``Invalid`` after it says why. That
  library makes numbers of error digits, and dates of what is no date.
- A number has all digits that the meter sent, and at least six behind the point. A real has the
  fewest digits that give its 32 bits again, where that library has the six of a double.
- An integer of 16 bytes or more without a unit of ours is hex digits in pairs, as it writes it.
- VIFEs count, and all tables: what it calls ``Reserved`` or leaves empty has our quantity's name.
  A value is in the unit that ``Unit`` says; flows are always in m^3/h, months stay months.
- ``Modifier``, after the value, is what a combinable VIFE adds, one element each; that library
  leaves it out, so that a volume backwards looks like a volume.
- ``Error`` in ``SlaveInformation`` says what could not be read; it is that library's element for
  an application error, where it gives up for all else. ``Alarm`` has the flags of an alarm,
  ``Command`` is what a master said, and ``Format`` the signature of a format frame with DIB and VIB
  of each of its records.
- Characters beyond ASCII are character references, right in every encoding. That library declares
  ISO 8859-1 and writes UTF-8.

The telegrams of one answer are one ``MBusData`` with the first one's header, records numbered on,
and ``frame`` telling which telegram, as that library does in its other form. Several answers are
an ``MBusDataList`` of such.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple
from xml.sax.saxutils import escape

from bridge.mbus.address import SecondaryAddress, manufacturer_name
from bridge.mbus.dif import DataField, Function
from bridge.mbus.fixed import HISTORIC, UNIT
from bridge.mbus.makers import product_name
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import ApplicationError, Telegram
from bridge.mbus.values import LVAR_LONG_BINARY, PartialDate
from bridge.mbus.vif import EXACT, exponent_of
from bridge.mbus.words import command_of, format_text, is_fixed
from bridge.units import Quantity, Unit

_DECLARATION = '<?xml version="1.0" encoding="ISO-8859-1"?>'
_DECIMALS = 6  # behind the point, at the least: C prints %f so

_FUNCTIONS = {
    Function.INSTANTANEOUS: "Instantaneous value",
    Function.MAXIMUM: "Maximum value",
    Function.MINIMUM: "Minimum value",
    Function.ERROR: "Value during error state",
}

# What is not here has our own symbol.
_UNITS = {
    Unit.CUBIC_METRE: "m^3",
    Unit.CUBIC_METRE_PER_HOUR: "m^3/h",
    Unit.CUBIC_FOOT: "feet^3",
    Unit.US_GALLON: "American gallon",
    Unit.US_GALLON_PER_MINUTE: "American gallon/min",
    Unit.US_GALLON_PER_HOUR: "American gallon/h",
    Unit.CELSIUS: "°C",
    Unit.FAHRENHEIT: "°F",
    Unit.FAHRENHEIT_DIFFERENCE: "°F",
    Unit.DEGREE: "°",
    Unit.HCA: "Units for H.C.A.",
    Unit.CURRENCY: "Currency units",
    Unit.BAUD: "Baud",
    Unit.BIT_TIME: "Bittimes",
}
_NO_UNIT = "-"  # of dates, and of units that are a text and so stand as the quantity
_DATES = (Quantity.DATE, Quantity.DATE_TIME)

# What is not here has our own name.
_QUANTITIES = {
    Quantity.ENERGY: "Energy",
    Quantity.VOLUME: "Volume",
    Quantity.MASS: "Mass",
    Quantity.ON_TIME: "On time",
    Quantity.OPERATING_TIME: "Operating time",
    Quantity.POWER: "Power",
    Quantity.VOLUME_FLOW: "Volume flow",
    Quantity.MASS_FLOW: "Mass flow",
    Quantity.FLOW_TEMPERATURE: "Flow temperature",
    Quantity.RETURN_TEMPERATURE: "Return temperature",
    Quantity.TEMPERATURE_DIFFERENCE: "Temperature difference",
    Quantity.EXTERNAL_TEMPERATURE: "External temperature",
    Quantity.PRESSURE: "Pressure",
    Quantity.DATE: "Time point (date)",
    Quantity.DATE_TIME: "Time point (date & time)",
    Quantity.HEAT_COST_ALLOCATION: "H.C.A.",
    Quantity.AVERAGING_DURATION: "Averaging Duration",
    Quantity.ACTUALITY_DURATION: "Actuality Duration",
    Quantity.FABRICATION_NUMBER: "Fabrication No",
    Quantity.IDENTIFICATION: "(Enhanced) Identification",
    Quantity.BUS_ADDRESS: "Bus Address",
    Quantity.ANY: "Any VIF",
    Quantity.MANUFACTURER_SPECIFIC: "Manufacturer specific",
    Quantity.UNKNOWN: "Unknown",
    Quantity.CREDIT: "Credit",
    Quantity.DEBIT: "Debit",
    Quantity.ACCESS_NUMBER: "Access Number (transmission count)",
    Quantity.DEVICE_TYPE: "Medium",
    Quantity.MANUFACTURER: "Manufacturer",
    Quantity.PARAMETER_SET: "Parameter set identification",
    Quantity.MODEL_VERSION: "Model / Version",
    Quantity.HARDWARE_VERSION: "Hardware version",
    Quantity.FIRMWARE_VERSION: "Firmware version",
    Quantity.SOFTWARE_VERSION: "Software version",
    Quantity.CUSTOMER_LOCATION: "Customer location",
    Quantity.CUSTOMER: "Customer",
    Quantity.ACCESS_CODE_USER: "Access Code User",
    Quantity.ACCESS_CODE_OPERATOR: "Access Code Operator",
    Quantity.ACCESS_CODE_SYSTEM_OPERATOR: "Access Code System Operator",
    Quantity.ACCESS_CODE_DEVELOPER: "Access Code Developer",
    Quantity.PASSWORD: "Password",
    Quantity.ERROR_FLAGS: "Error flags",
    Quantity.ERROR_MASK: "Error mask",
    Quantity.DIGITAL_OUTPUT: "Digital Output",
    Quantity.DIGITAL_INPUT: "Digital Input",
    Quantity.BAUDRATE: "Baudrate",
    Quantity.RESPONSE_DELAY: "Response delay time",
    Quantity.RETRY: "Retry",
    Quantity.FIRST_STORAGE_NUMBER: "First storage # for cyclic storage",
    Quantity.LAST_STORAGE_NUMBER: "Last storage # for cyclic storage",
    Quantity.STORAGE_BLOCK_SIZE: "Size of storage block",
    Quantity.STORAGE_INTERVAL: "Storage interval",
    Quantity.DURATION_SINCE_READOUT: "Duration since last readout",
    Quantity.TARIFF_PERIOD: "Period of tariff",
    Quantity.DIMENSIONLESS: "Dimensionless",
    Quantity.VOLTAGE: "Voltage",
    Quantity.CURRENT: "Current",
    Quantity.RESET_COUNTER: "Reset counter",
    Quantity.CUMULATION_COUNTER: "Cumulation counter",
    Quantity.CONTROL_SIGNAL: "Control signal",
    Quantity.DAY_OF_WEEK: "Day of week",
    Quantity.WEEK_NUMBER: "Week number",
    Quantity.DAY_CHANGE_TIME: "Time point of day change",
    Quantity.PARAMETER_ACTIVATION: "State of parameter activation",
    Quantity.SUPPLIER_INFORMATION: "Special supplier information",
    Quantity.DURATION_SINCE_CUMULATION: "Duration since last cumulation",
    Quantity.BATTERY_OPERATING_TIME: "Operating time battery",
    Quantity.BATTERY_CHANGE_DATE: "Date and time of battery change",
    Quantity.TEMPERATURE_LIMIT: "Cold / Warm Temperature Limit",
    Quantity.CUMULATIVE_MAXIMUM_POWER: "Cumul count max power",
}

# By device type; what is not here is reserved to that library.
_MEDIA = {
    0x00: "Other",
    0x01: "Oil",
    0x02: "Electricity",
    0x03: "Gas",
    0x04: "Heat: Outlet",
    0x05: "Steam",
    0x06: "Warm water (30-90°C)",
    0x07: "Water",
    0x08: "Heat Cost Allocator",
    0x09: "Compressed Air",
    0x0A: "Cooling load meter: Outlet",
    0x0B: "Cooling load meter: Inlet",
    0x0C: "Heat: Inlet",
    0x0D: "Heat / Cooling load meter",
    0x0E: "Bus/System",
    0x0F: "Unknown Medium",
    0x10: "Irrigation Water",
    0x11: "Water Logger",
    0x12: "Gas Logger",
    0x13: "Gas Converter",
    0x14: "Calorific value",
    0x15: "Hot water (>90°C)",
    0x16: "Cold water",
    0x17: "Dual water",
    0x18: "Pressure",
    0x19: "A/D Converter",
    0x1A: "Smoke Detector",
    0x1B: "Ambient Sensor",
    0x1C: "Gas Detector",
    0x20: "Breaker: Electricity",
    0x21: "Valve: Gas or Water",
    0x25: "Customer Unit: Display Device",
    0x28: "Waste Water",
    0x29: "Garbage",
    0x30: "Service Unit",
    0x36: "Radio Converter: System",
    0x37: "Radio Converter: Meter",
}
_LAST_RESERVED_MEDIUM = 0x3F

# Of the fixed data structure, by the four bits of its medium.
_FIXED_MEDIA = (
    *("Other", "Oil", "Electricity", "Gas", "Heat", "Steam", "Hot Water", "Water"),
    *("H.C.A.", "Reserved", "Gas Mode 2", "Heat Mode 2", "Hot Water Mode 2", "Water Mode 2"),
    *("H.C.A. Mode 2", "Reserved"),
)


class _FixedUnits(NamedTuple):
    """Nine codes from ``first`` on: each of three units once, tenfold, and a hundredfold."""

    first: int
    units: tuple[str, str, str]


_FIXED_UNITS = (
    _FixedUnits(0x02, ("Wh", "kWh", "MWh")),
    _FixedUnits(0x0B, ("kJ", "MJ", "GJ")),
    _FixedUnits(0x14, ("W", "kW", "MW")),
    _FixedUnits(0x1D, ("kJ/h", "MJ/h", "GJ/h")),
    _FixedUnits(0x26, ("ml", "l", "m^3")),
    _FixedUnits(0x2F, ("ml/h", "l/h", "m^3/h")),
)
_FIXED_UNIT = {
    0x00: "h,m,s",
    0x01: "D,M,Y",
    0x38: "1e-3 °C",
    0x39: "units for HCA",
    0x3A: "reserved",
    0x3B: "reserved",
    0x3C: "reserved",
    0x3D: "reserved",
    HISTORIC: "reserved but historic",
    0x3F: "without units",
} | {
    row.first + 3 * n + power: f"{('', '10 ', '100 ')[power]}{unit}"
    for row in _FIXED_UNITS
    for n, unit in enumerate(row.units)
    for power in range(3)
}

# Application errors as that library words them; others have our words.
_ERRORS = {
    0x00: "Unspecified error",
    0x01: "Unimplemented CI-Field",
    0x02: "Buffer too long, truncated",
    0x03: "Too many records",
    0x04: "Premature end of record",
    0x05: "More than 10 DIFE's",
    0x06: "More than 10 VIFE's",
    0x08: "Application too busy for handling readout request",
    0x09: "Too many readouts (for slaves with limited readouts per time)",
}


def to_xml(answers: Sequence[Sequence[Telegram]], names: Sequence[str] = ()) -> str:
    """Answers of meters, each of its telegrams in their order, as one XML document in ASCII.

    Args:
        answers: one or more; none makes an empty list.
        names: where each came from; an attribute ``file`` in a list of answers.
    """
    if len(answers) == 1 and not names:
        lines = [_DECLARATION, *_answer(answers[0])]
    else:
        files = names or [""] * len(answers)
        lines = [_DECLARATION, "<MBusDataList>", ""]
        for answer, file in zip(answers, files, strict=True):
            lines += _answer(answer, file)
            lines.append("")
        lines.append("</MBusDataList>")
    return "\n".join(lines).encode("ascii", "xmlcharrefreplace").decode("ascii") + "\n"


def _answer(telegrams: Sequence[Telegram], file: str = "") -> Iterator[str]:
    yield f'<MBusData file="{_escaped(file)}">' if file else "<MBusData>"
    yield ""
    yield "    <SlaveInformation>"
    yield from _elements(_slave_information(telegrams))
    yield "    </SlaveInformation>"
    yield ""
    number = 0
    for frame, telegram in enumerate(telegrams):
        for elements in _records(telegram):
            place = f' frame="{frame}"' if len(telegrams) > 1 else ""
            yield f'    <DataRecord id="{number}"{place}>'
            yield from _elements(elements)
            yield "    </DataRecord>"
            yield ""
            number += 1
    yield "</MBusData>"


_Elements = Iterable[tuple[str, str]]


def _elements(elements: _Elements) -> Iterator[str]:
    for name, text in elements:
        yield f"        <{name}>{_escaped(text)}</{name}>"


def _escaped(text: str) -> str:
    # XML can hold no control character but tabulator and line ends; that library makes all blanks.
    clean = "".join(each if each.isprintable() or each == "\xa0" else " " for each in text)
    return escape(clean, {'"': "&quot;"})


def _slave_information(telegrams: Sequence[Telegram]) -> Iterator[tuple[str, str]]:
    first = next((each for each in telegrams if each.header is not None), None)
    if first is not None and first.header is not None:
        header = first.header
        fixed = is_fixed(first)
        if header.address is not None:
            yield from _meter(header.address, _fixed_medium(first) if fixed else None)
        yield "AccessNumber", str(header.access_number)
        yield "Status", f"{header.status:02X}"
        if not fixed:
            yield "Signature", f"{header.configuration:04X}"
    for telegram in telegrams:
        if telegram.application_error is not None:
            yield "Error", _error(telegram.application_error)
        elif telegram.alarm is not None:
            yield "Alarm", telegram.alarm.hex(" ").upper()
        elif (command := command_of(telegram)) is not None:
            yield "Command", str(command)
        else:
            for error in telegram.errors:
                yield "Error", str(error)
        if telegram.format is not None:
            yield "Format", format_text(telegram.format)


def _meter(address: SecondaryAddress, fixed_medium: str | None) -> Iterator[tuple[str, str]]:
    yield "Id", address.identification.lstrip("0") or "0"
    if fixed_medium is not None:
        yield "Medium", fixed_medium
        return
    if address.manufacturer is not None:
        yield "Manufacturer", manufacturer_name(address.manufacturer)
    if address.version is not None:
        yield "Version", str(address.version)
    yield "ProductName", product_name(address) or ""
    if address.device_type is not None:
        yield "Medium", _medium(address.device_type)


def _medium(device_type: int) -> str:
    if device_type in _MEDIA:
        return _MEDIA[device_type]
    if device_type <= _LAST_RESERVED_MEDIUM:
        return "Reserved"
    return f"Unknown medium (0x{device_type:02x})"


def _error(error: ApplicationError) -> str:
    return _ERRORS.get(error.code or 0x00, f"Unknown error (0x{error.code or 0:02X})")


def _records(telegram: Telegram) -> Iterator[_Elements]:
    if is_fixed(telegram):
        for record in telegram.records:
            yield _counter(record, telegram.records[0])
        return
    for record in telegram.records:
        yield _record(record)
    if telegram.manufacturer_data is not None:
        more = telegram.more_records_follow
        yield (
            ("Function", "More records follow" if more else "Manufacturer specific"),
            ("StorageNumber", "0"),
            ("Unit", ""),
            ("Quantity", ""),
            ("Value", telegram.manufacturer_data.hex(" ").upper()),
        )


def _record(record: DataRecord) -> Iterator[tuple[str, str]]:
    yield "Function", _FUNCTIONS[record.function]
    yield "StorageNumber", str(record.storage)
    if len(record.dib) > 1:
        yield "Tariff", str(record.tariff)
        yield "Device", str(record.subunit)
    unit, quantity = _unit_and_quantity(record)
    yield "Unit", unit
    yield "Quantity", quantity
    yield "Value", _value(record)
    if record.invalid is not None:
        yield "Invalid", record.invalid
    for modifier in record.modifiers:
        yield "Modifier", modifier


def _unit_and_quantity(record: DataRecord) -> tuple[str, str]:
    unit = _UNITS.get(record.unit, str(record.unit))
    if record.quantity is Quantity.USER_DEFINED:
        return _NO_UNIT, record.unit_text or unit
    quantity = _QUANTITIES.get(record.quantity, str(record.quantity))
    return _NO_UNIT if record.quantity in _DATES else unit, quantity


def _value(record: DataRecord) -> str:
    match record.value:
        case None:
            return ""
        case Decimal() | str() if _is_long(record):
            return record.data[:0:-1].hex(" ").upper()
        case Decimal():
            return _number(record.value)
        case bytes():
            return record.value.hex(" ").upper()
        case str():
            return record.value
        case datetime.datetime():
            return f"{record.value.isoformat()}Z"
        case PartialDate(with_time=True):
            return f"{record.value}{'' if record.value.with_seconds else ':00'}Z"
        case datetime.date() | datetime.time():
            return record.value.isoformat()
        case _:
            return str(record.value)


def _number(number: Decimal) -> str:
    if -exponent_of(number) < _DECIMALS:
        number = EXACT.quantize(number, Decimal(1).scaleb(-_DECIMALS))
    return format(number, "f")


def _is_long(record: DataRecord) -> bool:
    """Whether it is an integer of 16 bytes or more, which is written in hex digits."""
    variable = record.header.data_field is DataField.VARIABLE
    return variable and not record.unit and record.data[0] >= LVAR_LONG_BINARY


def _fixed_medium(telegram: Telegram) -> str:
    low, high = (record.vib[0] >> 6 for record in telegram.records)
    return _FIXED_MEDIA[low | high << 2]


def _counter(record: DataRecord, first: DataRecord) -> Iterator[tuple[str, str]]:
    """A counter of the fixed data structure: the meter's digits, in the meter's own unit."""
    code = record.vib[0] & UNIT
    if code == HISTORIC:
        code = first.vib[0] & UNIT
    yield "Function", "Stored value" if record.storage else "Actual value"
    yield "Unit", _FIXED_UNIT[code]
    value = record.value
    if isinstance(value, Decimal):
        number = EXACT.divide(value, record.step or Decimal(1))
        yield "Value", format(EXACT.to_integral_exact(number), "f")
    else:
        yield "Value", value[::-1].hex().upper() if isinstance(value, bytes) else ""
    if record.invalid is not None:
        yield "Invalid", record.invalid
