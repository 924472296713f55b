"""The records of a telegram as rows of a text table, as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.own import own_meaning
from bridge.mbus.profile import Profile
from bridge.mbus.record import DataRecord
from bridge.mbus.report import hex_of, own_profiles, plain_value
from bridge.mbus.telegram import Telegram
from bridge.mbus.values import Value
from bridge.mbus.vif import EXACT, exponent_of
from bridge.mbus.words import readable_reason
from bridge.units import Unit


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
    own = own_profiles(telegram, profiles)
    storage, tariff, subunit = (
        any(getattr(record, name) for record in records)
        for name in ("storage", "tariff", "subunit")
    )
    rows: list[TextRow] = []
    for place, record in enumerate(records):
        profile = own.get(place)
        quantity, modifiers, value = _words(record, telegram.meter)
        rows.append(
            TextRow(
                " ".join(hex_of(part) for part in (record.dib, record.vib, record.data) if part),
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
        return f"{plain_value(number)} {shown.sign}".rstrip()
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
