"""A point, and what was last read for it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from bridge.units import NO_UNITS


class Kind(StrEnum):
    """What sort of value a point has; it decides which BACnet object can carry it."""

    NUMBER = "number"  # Decimal
    TEXT = "text"  # str
    BOOLEAN = "boolean"  # bool
    DATE = "date"  # datetime.date
    TIME = "time"  # datetime.time
    DATE_TIME = "date-time"  # datetime.datetime, local time of the meter, or of the bridge


class Fault(StrEnum):
    """Why a reading must not be taken as the present state of the world."""

    NEVER_READ = "never read"
    NO_CONNECTION = "no connection to the bus"
    NO_ANSWER = "the meter does not answer"
    DAMAGED = "only damaged answers came"
    UNREADABLE = "the meter's answer cannot be read"
    TOO_OLD = "too old"
    RECORD_MISSING = "the meter sends no such record"
    AMBIGUOUS = "several records fit"
    WRONG_UNIT = "the record is in a unit that cannot be converted"
    WRONG_KIND = "the record holds another kind of value"
    NO_KEY = "encrypted, and there is no key"
    WRONG_KEY = "the key does not fit"
    UNSUPPORTED_ENCRYPTION = "encrypted by a method that is not supported"
    INVALID = "the meter says that it has no valid value"
    OVER_RANGE = "above its range, or the meter reports an overflow"
    UNDER_RANGE = "below its range, or the meter reports an underflow"
    DOUBTED = "doubted: a second reading did not confirm it"
    REFUSED = "the meter answers with an error instead of data"
    METER_ERROR = "the meter reports a permanent error"
    FOREIGN_METER = "another meter answers at this address"
    INTERNAL = "an error in the bridge"


# The value was read all the same, as the meter says it: it is kept, with the fault beside it.
KEPT_FAULTS = (Fault.METER_ERROR,)

Value = Decimal | str | bool | datetime.date | datetime.time | datetime.datetime


@dataclass(frozen=True, slots=True)
class Point:
    """One value that the bridge offers.

    ``name`` is unique in the device and never changes; what a BMS knows the point by follows from
    it. ``unit`` is a key of `bridge.units.OFFERED`. ``object_type`` is the BACnet name of an
    object type, or None for the usual one of the kind. ``instance`` is the one that the user
    wrote, or None. ``source`` says in a few words where the value comes from ("heat-1, 0C 06").
    ``origin`` says all that the value is made of: which meter, which record, which factor. Where
    that changes, values of before are not this point's.
    """

    name: str
    meter: str
    kind: Kind
    unit: str = NO_UNITS
    description: str = ""
    source: str = ""
    object_type: str | None = None
    instance: int | None = None
    cov_increment: Decimal | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a point: the last good value, when it was read, and what is wrong now.

    ``value`` stays the last good one while ``fault`` is set, and is None only where nothing good
    was ever read. ``read_at`` is the wall-clock time (seconds since 1970) at which ``value`` was
    read. ``resolution`` is the smallest step that the meter can tell, in the point's unit: it
    follows from the record's coding, not from the digits of one value. None where the coding has
    no step (a floating-point number) or there is no number.
    """

    value: Value | None
    read_at: float | None
    fault: Fault | None
    resolution: Decimal | None = field(default=None, compare=False)


NEVER_READ = Reading(value=None, read_at=None, fault=Fault.NEVER_READ)
