"""Telegrams for people and programs: JSON, and the rows of a text table and of a CSV file."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import simplejson

from bridge.mbus.address import SecondaryAddress, decode_secondary, manufacturer_name
from bridge.mbus.compact import Format
from bridge.mbus.control import CI_SELECT, ci_row
from bridge.mbus.header import (
    ABNORMAL_CONDITION,
    APPLICATION_BUSY,
    APPLICATION_FAILURE,
    APPLICATION_STATUS,
    PERMANENT_ERROR,
    POWER_LOW,
    TEMPORARY_ERROR,
)
from bridge.mbus.makers import maker_name, model_name
from bridge.mbus.own import own_meaning
from bridge.mbus.profile import Entry, Profile
from bridge.mbus.readout import MAXIMUM_TELEGRAMS
from bridge.mbus.record import DataRecord
from bridge.mbus.security import Security
from bridge.mbus.telegram import Header, Telegram
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.vif import (
    EXACT,
    exponent_of,
)
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


# EN 13757-3, table 9; and of the fixed data structure, EN 13757-3:2004, 5.
_APPLICATION_STATUS = {
    APPLICATION_BUSY: "application busy",
    APPLICATION_FAILURE: "application error",
    ABNORMAL_CONDITION: "abnormal condition or alarm",
}
_FIXED_STATUS = ((0x01, "binary counters"), (0x02, "stored at a fixed date"))
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


def to_answers(telegrams: Iterable[Telegram]) -> list[list[Telegram]]:
    """Telegrams of one recording in their order, those of one answer together.

    An answer goes on with the next telegram of the same meter as long as the meter says that more
    records follow, up to 16 telegrams. The access number stays or is one more. A telegram that
    repeats an earlier one, or has the records of the first and is not the last, is the beginning of
    another answer: meters are often recorded without what follows the first telegram.
    """
    answers: list[list[Telegram]] = []
    for telegram in telegrams:
        if answers and _goes_on(answers[-1], telegram):
            answers[-1].append(telegram)
        else:
            answers.append([telegram])
    return answers


def _goes_on(answer: Sequence[Telegram], telegram: Telegram) -> bool:
    before = answer[-1]
    return (
        before.more_records_follow
        and _holds_data(telegram)
        and len(answer) < MAXIMUM_TELEGRAMS
        and before.address == telegram.address
        and all(_is_of_one_meter(each, telegram) for each in answer)
        and _is_next(before.header, telegram.header)
        and not _begins_again(answer[0], telegram)
        and _without_access_number(telegram) not in map(_without_access_number, answer)
    )


def _holds_data(telegram: Telegram) -> bool:
    others = (telegram.format, telegram.application_error, telegram.alarm)
    return not telegram.from_master and all(each is None for each in others)


def _is_of_one_meter(one: Telegram, other: Telegram) -> bool:
    first, second = _address(one), _address(other)
    if first is None or second is None:
        return True
    # Version and device type differ between the telegrams of some heat meters.
    return (first.identification, first.manufacturer) == (
        second.identification,
        second.manufacturer,
    )


def _is_next(before: Header | None, header: Header | None) -> bool:
    """By the access number, where both have one."""
    if before is None or header is None:
        return True
    return (header.access_number - before.access_number) % 256 <= 1


def _begins_again(first: Telegram, telegram: Telegram) -> bool:
    return (
        telegram.more_records_follow
        and bool(first.records)
        and [record.key for record in first.records] == [record.key for record in telegram.records]
    )


def _without_access_number(telegram: Telegram) -> Telegram:
    header = telegram.header
    return (
        telegram if header is None else telegram._replace(header=header._replace(access_number=0))
    )


def format_text(told: Format) -> str:
    """What a format frame tells: its signature, then DIB and VIB of each record."""
    return f"{told}: {' '.join(map(_hex, told.heads))}"


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


_SECONDARY_LENGTH = 8


def _address(telegram: Telegram) -> SecondaryAddress | None:
    return None if telegram.header is None else telegram.header.address


def _address_text(telegram: Telegram) -> str:
    """The meter's own address; empty in a telegram that does not tell it."""
    address = _address(telegram)
    return "" if address is None else str(address)


def to_dict(telegram: Telegram, profiles: Sequence[Profile] | None = None) -> dict[str, Any]:
    """The telegram as plain data. Numbers are int or `PlainDecimal`.

    ``from_master``, ``command``, ``access_demand``, ``data_flow_control``, ``application_error``
    with its ``application_error_code``, ``alarm``, ``security``, ``message_counter``, ``notes``,
    ``format``, ``profiles`` and ``unreadable`` are there only where the telegram has any; so are,
    of a record, ``text``, where a number has leading zeros, ``summer_time``, and ``own_meaning``,
    where what the maker's own codes mean is known.

    Args:
        telegram: the telegram.
        profiles: those of the whole answer, where it has several telegrams.
    """
    command = command_of(telegram)
    report: dict[str, Any] = {
        "control": f"{telegram.control:02X}",
        "address": telegram.address,
        "ci": f"{telegram.ci:02X}",
        "header": None
        if telegram.header is None
        else _header(telegram.header, telegram.encryption),
        "records": [_record(record, _address(telegram)) for record in telegram.records],
        "more_records_follow": telegram.more_records_follow,
        "manufacturer_data": None
        if telegram.manufacturer_data is None
        else _hex(telegram.manufacturer_data),
        "errors": [
            {"offset": error.offset, "reason": error.reason, "data": _hex(error.data)}
            for error in (telegram.errors if command is None else ())
        ],
    }
    for name in ("from_master", "access_demand", "data_flow_control", "unreadable"):
        if getattr(telegram, name):
            report[name] = True
    if command is not None:
        report["command"] = {
            "name": command.name,
            "meter": None if command.meter is None else str(command.meter),
            "data": _hex(command.data),
        }
    if telegram.security is not Security.PLAIN:
        report["security"] = telegram.security.name.lower()
    if telegram.application_error is not None:
        report["application_error"] = str(telegram.application_error)
        report["application_error_code"] = telegram.application_error.code
    if telegram.alarm is not None:
        report["alarm"] = _hex(telegram.alarm)
    if telegram.message_counter is not None:
        report["message_counter"] = telegram.message_counter
    if telegram.notes:
        report["notes"] = list(telegram.notes)
    if telegram.format is not None:
        report["format"] = {
            "signature": str(telegram.format),
            "records": [_hex(head) for head in telegram.format.heads],
        }
    if own := _own_profiles(telegram, profiles):
        report["profiles"] = [_profile(profile) for profile in own.values()]
    return report


def _own_profiles(telegram: Telegram, profiles: Sequence[Profile] | None) -> dict[int, Profile]:
    """The profiles whose record is in this telegram, by its place there."""
    found = telegram.profiles if profiles is None else profiles
    # A telegram makes its records but once, so each is the very one that was unfolded.
    of_records = {id(profile.record): profile for profile in found}
    return {
        place: of_records[id(record)]
        for place, record in enumerate(telegram.records if found else ())
        if id(record) in of_records
    }


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "key": profile.record.key,
        "base": None if profile.base is None else profile.base.key,
        "values": [_entry(entry) for entry in profile.entries],
        "problems": list(profile.problems),
    }


def _entry(entry: Entry) -> dict[str, Any]:
    report: dict[str, Any] = {
        "time": None if entry.time is None else entry.time.isoformat(),
        "value": _value(entry.value),
        "invalid": entry.invalid,
    }
    if entry.register is not None:
        report["register"] = entry.register
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
        "maker": None if manufacturer is None else maker_name(manufacturer),
        "model": None if address is None else model_name(address),
        "version": None if address is None else address.version,
        "device_type": None if code is None else device_type_name(code),
        "device_type_code": code,
        "access_number": header.access_number,
        "status": header.status,
        "configuration": f"{header.configuration:04X}",
        "encryption": encryption,
    }


def _record(record: DataRecord, address: SecondaryAddress | None) -> dict[str, Any]:
    report: dict[str, Any] = {
        "key": record.key,
        "dib": _hex(record.dib),
        "vib": _hex(record.vib),
        "data": _hex(record.data),
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
    if isinstance(record.value, Decimal) and record.text not in (None, f"{record.value:f}"):
        report["text"] = record.text
    if record.summer_time is not None:
        report["summer_time"] = record.summer_time
    if (own := own_meaning(record, address)) is not None:
        report["own_meaning"] = {
            "name": own.name,
            "unit": None if own.unit is None else str(own.unit),
            "value": _value(own.value),
            "invalid": own.invalid,
            "modifiers": list(own.modifiers),
            "source": own.source,
        }
    return report


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


class CsvRow(NamedTuple):
    """One record as a line of a CSV file; the names of the columns are those of the fields.

    ``telegram`` counts the telegrams of a file, from 1. ``address`` is the primary address,
    ``meter`` the secondary one, empty where the telegram does not tell it. ``modifiers`` are joined
    by semicolons. ``value`` has every digit, and is empty where ``invalid`` says why. ``time`` is
    that of a value of a profile: each is a line of its own, below the line of the profile, and has
    no ``data``.
    """

    file: str
    telegram: int
    address: int
    meter: str
    key: str
    dib: str
    vib: str
    data: str
    function: str
    storage: int
    tariff: int
    subunit: int
    quantity: str
    modifiers: str
    value: str
    unit: str
    invalid: str
    time: str


def to_csv_rows(
    telegram: Telegram, number: int, file: str = "", profiles: Sequence[Profile] | None = None
) -> Iterator[CsvRow]:
    """The records of a telegram, which is the file's ``number``-th."""
    meter = _address_text(telegram)
    own = _own_profiles(telegram, profiles)
    for place, record in enumerate(telegram.records):
        row = CsvRow(
            file,
            number,
            telegram.address,
            meter,
            record.key,
            _hex(record.dib),
            _hex(record.vib),
            _hex(record.data),
            str(record.function),
            record.storage,
            record.tariff,
            record.subunit,
            str(record.quantity),
            "; ".join(record.modifiers),
            _exact(record.value),
            record.unit_text or str(record.unit),
            record.invalid or "",
            "",
        )
        yield row
        for entry in own[place].entries if place in own else ():
            yield row._replace(
                data="",
                storage=record.storage if entry.register is None else entry.register,
                value=_exact(entry.value),
                invalid=entry.invalid or "",
                time="" if entry.time is None else entry.time.isoformat(),
            )


def _exact(value: Value) -> str:
    plain = _value(value)
    return "" if plain is None else str(plain)


class TextRow(NamedTuple):
    """One record as a line of a table.

    ``data`` are DIB, VIB and data in hex, with a blank between them. Storage number, tariff and
    subunit are empty in all rows where they are 0 in all.
    """

    data: str
    function: str
    storage: str
    tariff: str
    subunit: str
    quantity: str
    modifiers: str
    value: str


class Shown(NamedTuple):
    """How people read a unit on a meter's display: its sign, and its power of ten."""

    sign: str
    power: int = 0


_READABLE: dict[Unit, Shown] = {
    Unit.WATT_HOUR: Shown("kWh", 3),
    Unit.JOULE: Shown("MJ", 6),
    Unit.CALORIE: Shown("Mcal", 6),
    Unit.WATT: Shown("kW", 3),
    Unit.JOULE_PER_HOUR: Shown("MJ/h", 6),
    Unit.CUBIC_METRE: Shown("m³"),
    Unit.CUBIC_METRE_PER_HOUR: Shown("m³/h"),
    Unit.CUBIC_FOOT: Shown("ft³"),
    Unit.CELSIUS: Shown("°C"),
    Unit.FAHRENHEIT: Shown("°F"),
    Unit.FAHRENHEIT_DIFFERENCE: Shown("°F"),
    Unit.DEGREE: Shown("°"),
}
_DURATIONS = ((86400, "d"), (3600, "h"), (60, "min"))


def to_rows(telegram: Telegram, profiles: Sequence[Profile] | None = None) -> list[TextRow]:
    """The records as rows of a text table; the values of a profile below it, with their times."""
    records = telegram.records
    own = _own_profiles(telegram, profiles)
    storage, tariff, subunit = (
        any(getattr(record, name) for record in records)
        for name in ("storage", "tariff", "subunit")
    )
    rows: list[TextRow] = []
    for place, record in enumerate(records):
        profile = own.get(place)
        quantity, modifiers, value = _words(record, _address(telegram))
        rows.append(
            TextRow(
                " ".join(_hex(part) for part in (record.dib, record.vib, record.data) if part),
                str(record.function),
                str(record.storage) if storage else "",
                str(record.tariff) if tariff else "",
                str(record.subunit) if subunit else "",
                quantity,
                modifiers,
                value if profile is None else _said(profile),
            )
        )
        rows += () if profile is None else _profile_rows(profile)
    return rows


def _words(record: DataRecord, address: SecondaryAddress | None) -> tuple[str, str, str]:
    """Quantity, modifiers and value; what only the maker says stands in brackets."""
    quantity, modifiers = str(record.quantity), ", ".join(record.modifiers)
    value = readable_value(record)
    own = own_meaning(record, address)
    if own is None:
        return quantity, modifiers, value
    if own.name:
        quantity += f" ({own.name})"
    if own.modifiers:
        modifiers = f"{modifiers} ({', '.join(own.modifiers)})".lstrip()
    if own.invalid is not None:
        value = _no_value(own.invalid)
    elif own.value is not None and own.unit is not None:
        value = f"{own.value:f} {_READABLE.get(own.unit, Shown(str(own.unit))).sign}".rstrip()
    return quantity, modifiers, value


def _said(profile: Profile) -> str:
    """What stands in place of a profile's bytes."""
    count = len(profile.entries)
    return "; ".join((f"{count} value{'' if count == 1 else 's'}", *profile.problems))


def _profile_rows(profile: Profile) -> Iterator[TextRow]:
    record = profile.base or profile.record
    for entry in profile.entries:
        time = "" if entry.time is None else entry.time.isoformat()
        register = "" if entry.register is None else str(entry.register)
        said = _no_value(entry.invalid) if entry.value is None else _readable(entry.value, record)
        yield TextRow("", "", register, "", "", "", time, said)


def readable_value(record: DataRecord) -> str:
    """The value of a record with a unit, as a person reads it: ``45120 kWh``, ``3 h``.

    A number has as many digits behind the point as the meter has, in every unit; one that names
    something has its leading zeros. A duration is in the meter's own unit.
    """
    if record.value is None:
        return _no_value(record.invalid)
    if isinstance(record.value, Decimal) and record.text is not None:
        return f"{record.text} {record.unit_text}".rstrip()
    return _readable(record.value, record)


def _no_value(reason: str | None) -> str:
    return f"no value: {readable_reason(reason or '')}"


def _readable(number: Value, record: DataRecord) -> str:
    """A value of this kind of record."""
    step = record.step
    shown = _READABLE.get(record.unit, Shown(record.unit_text or str(record.unit)))
    if not isinstance(number, Decimal):
        return f"{_value(number)} {shown.sign}".rstrip()
    if record.unit is Unit.SECOND and step is not None:
        for seconds, sign in _DURATIONS:
            if EXACT.remainder(step, seconds) == 0 == EXACT.remainder(number, seconds):
                number, step = EXACT.divide(number, seconds), EXACT.divide(step, seconds)
                shown = Shown(sign)
                break
    return f"{_digits(number, step, shown.power)} {shown.sign}".rstrip()


def _digits(number: Decimal, step: Decimal | None, power: int) -> str:
    """The number over ten to the power, with the digits behind the point that its step has."""
    # A real has no step, and its zeros say nothing.
    last = min((_last(each) for each in (number, step) if each), default=power)
    places = max(0, power - last)
    return format(EXACT.quantize(EXACT.scaleb(number, -power), Decimal(1).scaleb(-places)), "f")


def _last(number: Decimal) -> int:
    """The power of ten of the last digit that is no zero."""
    return exponent_of(number.normalize(EXACT))


def readable_reason(reason: str) -> str:
    """Why there is no value, for people: ``BCD digits DDDDDDDD``."""
    return re.sub(r"^BCD (?=[0-9A-F]+$)", "BCD digits ", reason)
