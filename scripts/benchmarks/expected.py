"""What a BMS must read of recorded telegrams, worked out from the bytes beside the bridge.

The codec decodes the file; from there on nothing of the bridge is used but the factors between
units: the names of the objects, the rounding and the choice of the object's type are done anew
here, so that a mistake there is a difference and not an agreement.
"""

from __future__ import annotations

import datetime
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path

from bridge.bacnet.client import BrowsedValue, ObjectValue
from bridge.mbus.frame import LongFrame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.values import PartialDate
from bridge.sim.meter import SimulatedMeter
from bridge.sim.recorded import parse_recording, recorded_meter
from bridge.units import (
    NO_UNITS,
    Quantity,
    Unit,
    convert,
    convertible,
    default_unit,
    usual_unit,
)

PERMANENT_ERROR = 0x08  # of the status byte, EN 13757-3, table 8

# Numbers that name something, which no REAL can hold.
NAMING = frozenset(
    {
        Quantity.FABRICATION_NUMBER,
        Quantity.IDENTIFICATION,
        Quantity.MANUFACTURER,
        Quantity.PARAMETER_SET,
        Quantity.MODEL_VERSION,
        Quantity.HARDWARE_VERSION,
        Quantity.FIRMWARE_VERSION,
        Quantity.SOFTWARE_VERSION,
        Quantity.CUSTOMER_LOCATION,
        Quantity.CUSTOMER,
        Quantity.SUPPLIER_INFORMATION,
        Quantity.OPERATOR_DATA,
    }
)
SECRET = frozenset(
    {
        Quantity.PASSWORD,
        Quantity.SECURITY_KEY,
        Quantity.ACCESS_CODE_USER,
        Quantity.ACCESS_CODE_OPERATOR,
        Quantity.ACCESS_CODE_SYSTEM_OPERATOR,
        Quantity.ACCESS_CODE_DEVELOPER,
    }
)

# In what people count durations: a tariff period in days, say.
DURATIONS = {
    quantity: default_unit(quantity)
    for quantity in Quantity
    if default_unit(quantity) != NO_UNITS and convertible(Unit.SECOND, default_unit(quantity))
}

_PART = re.compile(r"-(\d+)-of-\d+$")

# How an object says that its meter has no valid value.
INVALID = frozenset({"no-sensor", "over-range", "under-range"})

# The objects that every meter has besides its records.
OWN_OBJECTS = ("answering", "last-read", "secondary-address")


@dataclass(frozen=True, slots=True)
class Recording:
    """One meter: its name, its telegrams in their order, and the files that they are from."""

    name: str
    paths: tuple[Path, ...]
    frames: tuple[LongFrame, ...]

    @property
    def telegrams(self) -> tuple[Telegram, ...]:
        return tuple(decode_telegram(frame) for frame in self.frames)


def recordings(paths: Iterable[Path]) -> list[Recording]:
    """One meter for each file; ``NAME-1-of-2`` and ``NAME-2-of-2`` are one.

    Raises:
        SimError: a file is no recording.
    """
    parts: dict[str, list[Path]] = {}
    for path in sorted(paths):
        parts.setdefault(_PART.sub("", path.stem), []).append(path)
    return [
        Recording(
            name,
            tuple(files),
            tuple(f for path in files for f in parse_recording(path.read_text("ascii"))),
        )
        for name, files in parts.items()
    ]


def simulated(recorded: Sequence[Recording], *, baudrate: int) -> list[SimulatedMeter]:
    """The meters that play them, at the primary addresses from 1 on."""
    return [
        recorded_meter(each.name, each.frames, primary=number, baudrate=baudrate, seed=1)
        for number, each in enumerate(recorded, start=1)
    ]


@dataclass(frozen=True, slots=True)
class Expected:
    """An object that must be there, and what it must show; ``number`` counts the meter's records.

    ``value`` of a number is the exact one in ``units``, before it is rounded to REAL.
    """

    name: str
    number: int
    record: DataRecord
    object_type: str
    value: Decimal | str | datetime.date | datetime.time | datetime.datetime
    units: str
    reliability: str


@dataclass(frozen=True, slots=True)
class Left:
    """A record that has nothing to show, and why; ``name`` is that of its object, if it has one."""

    meter: str
    name: str
    number: int
    record: DataRecord
    reason: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """All that one meter's telegrams come to. ``count`` is the number of records."""

    recording: Recording
    objects: tuple[Expected, ...]
    left: tuple[Left, ...]
    count: int


def expectation(recording: Recording) -> Expectation:
    """What the objects of a meter must show, and which of its records have none."""
    telegrams = recording.telegrams
    records = [record for telegram in telegrams for record in telegram.records]
    permanent_error = any(t.header and t.header.status & PERMANENT_ERROR for t in telegrams)
    reliability = "process-error" if permanent_error else "no-fault-detected"
    objects: list[Expected] = []
    left: list[Left] = []
    words_seen: Counter[str] = Counter()
    for number, record in enumerate(records):
        words = object_words(record)
        words_seen[words] += 1
        count = words_seen[words]
        name = f"{recording.name}.{words}" if count == 1 else f"{recording.name}.{words}-{count}"
        reason = reason_for_none(record)
        if reason:
            left.append(Left(recording.name, name, number, record, reason))
            continue
        object_type, value, units = shown(record)
        objects.append(Expected(name, number, record, object_type, value, units, reliability))
    return Expectation(recording, tuple(objects), tuple(left), len(records))


def reason_for_none(record: DataRecord) -> str:
    """Why there is no object for a record; empty where there must be one."""
    if record.quantity in SECRET:
        return "secret: a password or a key has no place on the network"
    if record.quantity is Quantity.MANUFACTURER_SPECIFIC:
        return "the manufacturer's own VIF: nobody else knows what it means"
    if record.quantity is Quantity.UNKNOWN:
        return "a VIF that no table has"
    if record.quantity is Quantity.ANY:
        return "the VIF stands for any"
    if record.invalid is not None or record.value is None:
        return f"no value: {record.invalid}"
    if isinstance(record.value, bytes):
        return "bytes without a meaning that an object could show"
    return ""


def object_words(record: DataRecord) -> str:
    """The part of an object's name that comes from its record."""
    own = record.unit_text or str(record.unit)
    words = [own if record.quantity is Quantity.USER_DEFINED and own else str(record.quantity)]
    words += record.modifiers
    words.append({"instantaneous": "", "error": "in error"}.get(record.function, record.function))
    words += [
        f"{word} {number}"
        for word, number in (
            ("storage", record.storage),
            ("tariff", record.tariff),
            ("subunit", record.subunit),
        )
        if number
    ]
    return "-".join(re.findall(r"[^\W_]+", " ".join(words))).lower()


def shown(
    record: DataRecord,
) -> tuple[str, Decimal | str | datetime.date | datetime.time | datetime.datetime, str]:
    """Object type, exact value, and units; of a record that has a value."""
    value = record.value
    if isinstance(value, Decimal) and record.quantity not in NAMING:
        units = usual_unit(record.unit)
        if record.unit is Unit.SECOND and record.quantity in DURATIONS:
            units = DURATIONS[record.quantity]
        return "analog-input", convert(value, record.unit, units), units
    match value:
        case Decimal():
            # With the zeros in front, where the coding has them.
            return "characterstring-value", record.text or format(value, "f"), ""
        case str() | PartialDate():
            return "characterstring-value", str(value), ""
        case datetime.datetime():
            return "datetime-value", value, ""
        case datetime.date():
            return "date-value", value, ""
        case datetime.time():
            return "time-value", value, ""
    raise ValueError(f"no object can show {value!r}")


def nearest_real(value: Decimal) -> bytes:
    """The four octets of the REAL (IEEE 754 binary32) that is nearest; ties go to even."""
    start = struct.unpack(">i", struct.pack(">f", float(abs(value))))[0]
    candidates = [bits for bits in (start - 1, start, start + 1) if bits >= 0]
    best = min(candidates, key=lambda bits: (abs(_real(bits) - abs(value)), bits & 1))
    sign = 0x80000000 if value < 0 else 0
    return struct.pack(">I", best | sign)


def _real(bits: int) -> Decimal:
    return Decimal(struct.unpack(">f", struct.pack(">i", bits))[0])


def loses_digits(expected: Expected) -> bool:
    """Whether REAL cannot say the number that the meter says."""
    if not isinstance(expected.value, Decimal):
        return False
    # No meter has more than 14 digits; what is behind them comes from the change of units.
    value = Context(prec=14).create_decimal(expected.value).normalize()
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    real = Decimal(struct.unpack(">f", nearest_real(value))[0])
    return real.quantize(Decimal(1).scaleb(exponent)) != value


def difference(expected: Expected, seen: ObjectValue | None) -> str:
    """What is wrong with an object; empty where nothing is."""
    if seen is None:
        return "there is no such object"
    if seen.error:
        return f"it cannot be read: {seen.error}"
    object_type = seen.identifier.partition(",")[0]
    if object_type != expected.object_type:
        return f"it is a {object_type}, not a {expected.object_type}"
    if seen.reliability != expected.reliability:
        return f"its reliability is {seen.reliability}, not {expected.reliability}"
    if seen.status_flags is None or seen.status_flags.fault != (
        expected.reliability != "no-fault-detected"
    ):
        return f"its status flags are {seen.status_flags}"
    if seen.units != expected.units:
        return f"it is in {seen.units}, not in {expected.units}"
    if not same(expected.value, seen.value):
        return f"it shows {seen.value!s}, not {expected.value!s}"
    return ""


def same(
    exact: Decimal | str | datetime.date | datetime.time | datetime.datetime, seen: BrowsedValue
) -> bool:
    """Whether a BMS reads what the meter says, a number rounded once."""
    if isinstance(exact, Decimal):
        return isinstance(seen, Decimal) and struct.pack(">f", float(seen)) == nearest_real(exact)
    return type(seen) is type(exact) and seen == exact


def fault_difference(left: Left, seen: ObjectValue | None) -> str:
    """What is wrong with the object of a record that has nothing to show; it may have none."""
    if seen is None:
        return ""
    if left.record.invalid is None:
        return f"there must be no such object: {left.reason}"
    if seen.value not in (None, "") or seen.reliability not in INVALID:
        return f"it shows {seen.value!s}, {seen.reliability}; but {left.reason}"
    return ""


def own_differences(
    recording: Recording, seen: Mapping[str, ObjectValue], began: datetime.datetime
) -> list[str]:
    """What is wrong with the three objects that every meter has."""
    wrong: list[str] = []
    found = {word: seen.get(f"{recording.name}.{word}") for word in OWN_OBJECTS}
    for word, value in found.items():
        if value is None:
            wrong.append(f"{recording.name}.{word}: there is no such object")
        elif value.reliability != "no-fault-detected":
            wrong.append(f"{value.name}: its reliability is {value.reliability}")
    if wrong:
        return wrong
    answering, last_read, address = (found[word] for word in OWN_OBJECTS)
    assert answering is not None
    assert last_read is not None
    assert address is not None
    if answering.value is not True:
        wrong.append(f"{answering.name}: it shows {answering.value}")
    now = datetime.datetime.now()
    # BACnet's time has hundredths of a second.
    earliest = began - datetime.timedelta(seconds=0.01)
    if not isinstance(last_read.value, datetime.datetime) or not (
        earliest <= last_read.value <= now
    ):
        wrong.append(f"{last_read.name}: it shows {last_read.value}, now is {now}")
    header = recording.telegrams[0].header
    wanted = str(header.address) if header is not None and header.address is not None else ""
    if address.value != wanted:
        wrong.append(f"{address.name}: it shows {address.value}, not {wanted}")
    return wrong


def unexpected(expectations: Iterable[Expectation], seen: Mapping[str, ObjectValue]) -> list[str]:
    """The names of objects that no record and no meter accounts for."""
    accounted = {f"{each.recording.name}.{word}" for each in expectations for word in OWN_OBJECTS}
    for each in expectations:
        accounted.update(expected.name for expected in each.objects)
        accounted.update(left.name for left in each.left)
    return sorted(set(seen) - accounted)
