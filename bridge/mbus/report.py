"""Telegrams for programs: JSON, and the rows of a CSV file."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import simplejson

from bridge.mbus.address import SecondaryAddress, manufacturer_name
from bridge.mbus.makers import maker_name, model_name
from bridge.mbus.own import own_meaning
from bridge.mbus.profile import Entry, Profile
from bridge.mbus.record import DataRecord
from bridge.mbus.security import Security
from bridge.mbus.telegram import Header, Telegram
from bridge.mbus.values import PartialDate, Value
from bridge.mbus.words import (
    command_of,
    device_type_name,
)


class PlainDecimal(Decimal):
    """A `Decimal` that is never written with an exponent: 123000, not 1.23E+5."""

    def __str__(self) -> str:
        return format(self, "f")


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
        "records": [_record(record, telegram.meter) for record in telegram.records],
        "more_records_follow": telegram.more_records_follow,
        "manufacturer_data": None
        if telegram.manufacturer_data is None
        else hex_of(telegram.manufacturer_data),
        "errors": [
            {"offset": error.offset, "reason": error.reason, "data": hex_of(error.data)}
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
            "data": hex_of(command.data),
        }
    if telegram.security is not Security.PLAIN:
        report["security"] = telegram.security.name.lower()
    if telegram.application_error is not None:
        report["application_error"] = str(telegram.application_error)
        report["application_error_code"] = telegram.application_error.code
    if telegram.alarm is not None:
        report["alarm"] = hex_of(telegram.alarm)
    if telegram.message_counter is not None:
        report["message_counter"] = telegram.message_counter
    if telegram.notes:
        report["notes"] = list(telegram.notes)
    if telegram.format is not None:
        report["format"] = {
            "signature": str(telegram.format),
            "records": [hex_of(head) for head in telegram.format.heads],
        }
    if own := own_profiles(telegram, profiles):
        report["profiles"] = [_profile(profile) for profile in own.values()]
    return report


def own_profiles(telegram: Telegram, profiles: Sequence[Profile] | None) -> dict[int, Profile]:
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
        "value": plain_value(entry.value),
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
        "dib": hex_of(record.dib),
        "vib": hex_of(record.vib),
        "data": hex_of(record.data),
        "function": str(record.function),
        "storage": record.storage,
        "tariff": record.tariff,
        "subunit": record.subunit,
        "quantity": str(record.quantity),
        "unit": _unit(record),
        "value": plain_value(record.value),
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
            "value": plain_value(own.value),
            "invalid": own.invalid,
            "modifiers": list(own.modifiers),
            "source": own.source,
        }
    return report


def _unit(record: DataRecord) -> str:
    # The bytes of a profile or a container are no number of anything.
    return "" if isinstance(record.value, bytes) else record.unit_text or str(record.unit)


def plain_value(value: Value) -> PlainDecimal | str | None:
    """A value as JSON has it: every digit of a number, ISO 8601, hex digits of bytes."""
    match value:
        case Decimal():
            return PlainDecimal(value)
        case bytes():
            return hex_of(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case PartialDate():
            return str(value)
        case _:
            return value


def hex_of(data: bytes) -> str:
    """Hex digits in upper case."""
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
    meter = "" if telegram.meter is None else str(telegram.meter)
    own = own_profiles(telegram, profiles)
    for place, record in enumerate(telegram.records):
        row = CsvRow(
            file,
            number,
            telegram.address,
            meter,
            record.key,
            hex_of(record.dib),
            hex_of(record.vib),
            hex_of(record.data),
            str(record.function),
            record.storage,
            record.tariff,
            record.subunit,
            str(record.quantity),
            "; ".join(record.modifiers),
            # Bytes stand among the data already; as a value, digits of hex look like a number.
            "" if isinstance(record.value, bytes) else _exact(record.value),
            _unit(record),
            record.invalid or "",
            "",
        )
        yield row
        for entry in own[place].entries if place in own else ():
            yield row._replace(
                data="",
                storage=record.storage if entry.register is None else entry.register,
                value=_exact(entry.value),
                unit=record.unit_text or str(record.unit),
                invalid=entry.invalid or "",
                time="" if entry.time is None else entry.time.isoformat(),
            )


def _exact(value: Value) -> str:
    plain = plain_value(value)
    return "" if plain is None else str(plain)
