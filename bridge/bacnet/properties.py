"""A reading as a BMS sees it: present-value, reliability, status-flags. Pure functions.

The one place where a `Decimal` becomes a REAL or a Double, rounded once.
"""

from __future__ import annotations

import datetime
import math
import struct
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bridge.points.reading import Fault, Reading


class Reliability(IntEnum):
    """BACnetReliability (ASHRAE 135, clause 21), as far as a meter can bring it about."""

    NO_FAULT_DETECTED = 0
    NO_SENSOR = 1
    OVER_RANGE = 2
    UNDER_RANGE = 3
    UNRELIABLE_OTHER = 7
    PROCESS_ERROR = 8
    CONFIGURATION_ERROR = 10
    COMMUNICATION_FAILURE = 12


RELIABILITY: Final = MappingProxyType(
    {
        Fault.NEVER_READ: Reliability.COMMUNICATION_FAILURE,
        Fault.NO_CONNECTION: Reliability.COMMUNICATION_FAILURE,
        Fault.NO_ANSWER: Reliability.COMMUNICATION_FAILURE,
        Fault.DAMAGED: Reliability.COMMUNICATION_FAILURE,
        Fault.UNREADABLE: Reliability.COMMUNICATION_FAILURE,
        Fault.TOO_OLD: Reliability.COMMUNICATION_FAILURE,
        Fault.FOREIGN_METER: Reliability.COMMUNICATION_FAILURE,
        Fault.RECORD_MISSING: Reliability.CONFIGURATION_ERROR,
        Fault.AMBIGUOUS: Reliability.CONFIGURATION_ERROR,
        Fault.WRONG_UNIT: Reliability.CONFIGURATION_ERROR,
        Fault.WRONG_KIND: Reliability.CONFIGURATION_ERROR,
        Fault.NO_KEY: Reliability.CONFIGURATION_ERROR,
        Fault.WRONG_KEY: Reliability.CONFIGURATION_ERROR,
        Fault.UNSUPPORTED_ENCRYPTION: Reliability.CONFIGURATION_ERROR,
        Fault.INVALID: Reliability.NO_SENSOR,
        Fault.OVER_RANGE: Reliability.OVER_RANGE,
        Fault.UNDER_RANGE: Reliability.UNDER_RANGE,
        Fault.REFUSED: Reliability.PROCESS_ERROR,
        Fault.METER_ERROR: Reliability.PROCESS_ERROR,
        Fault.DOUBTED: Reliability.UNRELIABLE_OTHER,
        Fault.INTERNAL: Reliability.UNRELIABLE_OTHER,
    }
)


class StatusFlags(NamedTuple):
    """BACnetStatusFlags, in the order of its bits. Nothing here is ever overridden by hand."""

    in_alarm: bool
    fault: bool
    overridden: bool
    out_of_service: bool


def status_flags(
    reliability: Reliability, *, out_of_service: bool = False, in_alarm: bool = False
) -> StatusFlags:
    """The flags that follow from the other properties (ASHRAE 135, 12.2.7)."""
    fault = reliability is not Reliability.NO_FAULT_DETECTED
    return StatusFlags(in_alarm, fault, overridden=False, out_of_service=out_of_service)


PresentValue = float | int | bool | str | datetime.date | datetime.time | datetime.datetime


@dataclass(frozen=True, slots=True)
class State:
    """What an object shows. ``present_value`` None: go on showing what you show."""

    present_value: PresentValue | None
    reliability: Reliability


# What a numeric object shows before anything good was ever read. Zero would be a number like any
# other: trend logs keep it whatever the flags say, and the first real count then looks like the
# consumption of one interval. NaN is a legal REAL (ASHRAE 135, 20.2.6); head-ends show it as
# "no value" or leave the sample out, which is the truth.
NEVER_READ: Final = math.nan

# The largest count of a 12-digit BCD register, the widest that an M-Bus counter commonly has.
LARGEST_COUNT: Final = 999_999_999_999
# What head-ends with 32 bits for an Unsigned can hold.
LARGEST_32_BIT_COUNT: Final = 0xFFFF_FFFF
# How often the count that a meter begins with must fit in, so that it does not end up beyond.
_ROOM_TO_GROW = 1000
# The step of a meter's value where its coding has none (a REAL32). Small enough that nothing is
# held back, and no promise of more.
UNKNOWN_STEP: Final = Decimal("0.001")

# BACnet's year is an octet that counts from 1900, of which 255 means "unspecified" (20.2.12).
_FIRST_YEAR, _LAST_YEAR = 1900, 2154


def to_real(value: Decimal) -> float:
    """The REAL (IEEE 754 binary32) nearest to a decimal, as a float; ties go to even.

    Raises:
        OverflowError: no finite REAL is near.
    """
    # Rounding to a double and then to a single may err by one step where the double falls just
    # half-way between two singles. Rounding to odd first cannot (Boldo and Melquiond, 2008).
    double = to_double(value)
    if Decimal(double) != value and not struct.pack(">d", double)[-1] & 1:
        double = math.nextafter(double, math.inf if value > Decimal(double) else -math.inf)
    rounded: float = struct.unpack(">f", struct.pack(">f", double))[0]
    return rounded


def to_double(value: Decimal) -> float:
    """The Double nearest to a decimal.

    Raises:
        OverflowError: no finite Double is near.
    """
    double = float(value)
    if not math.isfinite(double):
        raise OverflowError(f"{value} is beyond what a Double can hold")
    return double


@dataclass(frozen=True, slots=True)
class Scale:
    """How an accumulator counts: present-value x 10^``exponent`` is the value in its units.

    ``maximum`` is its max-pres-value.
    """

    exponent: int
    maximum: int


def choose_scale(value: Decimal, resolution: Decimal | None) -> Scale:
    """The scale in which a meter counts, chosen once, at its first value.

    It is the largest power of ten that is not above the meter's ``resolution`` (see `Reading`), so
    that no digit of the meter is lost; or a larger one where the count would be beyond
    `LARGEST_COUNT`, soon where the step is none of the meter's own. How many digits the value has
    just now does not matter: 6.0 may be followed by 6.7.

    The maximum has 32 bits where the value leaves room to grow tenfold, since some head-ends
    read no more; otherwise it is the largest count of a 12-digit register.
    """
    step = UNKNOWN_STEP if resolution is None else resolution
    exponent = step.adjusted()
    is_the_meters = resolution is not None and step == Decimal(1).scaleb(exponent)
    room = 1 if is_the_meters else _ROOM_TO_GROW
    while abs(value).scaleb(-exponent) * room > LARGEST_COUNT:
        exponent += 1
    fits = abs(value).scaleb(-exponent) * 10 <= LARGEST_32_BIT_COUNT
    return Scale(exponent, LARGEST_32_BIT_COUNT if fits else LARGEST_COUNT)


def default_cov_increment(reading: Reading) -> Decimal:
    """The COV increment where the user wrote none: the step in which the meter tells its value."""
    return UNKNOWN_STEP if reading.resolution is None else reading.resolution


def real_state(reading: Reading) -> State:
    """For objects whose present-value is REAL."""
    return _number_state(reading, single=True)


def double_state(reading: Reading) -> State:
    """For objects whose present-value is Double."""
    return _number_state(reading, single=False)


def count_state(reading: Reading, scale: Scale) -> State:
    """For accumulators, whose present-value is Unsigned.

    A count beyond the maximum is a fault rather than a wrap: who divides by the interval would
    take the step back to zero for consumption.
    """
    reliability = _reliability(reading)
    if not isinstance(reading.value, Decimal) or not reading.value.is_finite():
        return _without_number(reading, reliability)
    count = int(reading.value.scaleb(-scale.exponent).to_integral_value(ROUND_HALF_EVEN))
    if count < 0:
        return State(None, _worst(reliability, Reliability.UNDER_RANGE))
    if count > scale.maximum:
        return State(None, _worst(reliability, Reliability.OVER_RANGE))
    return State(count, reliability)


def plain_state(reading: Reading, kind: type[PresentValue]) -> State:
    """For objects that show the value as it is: texts, dates, times, yes and no."""
    reliability = _reliability(reading)
    if reading.value is None:
        return State(None, reliability)
    # A datetime is a date to isinstance, but not to a BMS.
    if type(reading.value) is not kind:
        return State(None, _worst(reliability, Reliability.CONFIGURATION_ERROR))
    return State(reading.value, reliability)


def date_state(reading: Reading, kind: type[datetime.date]) -> State:
    """For dates, and for moments, which become local time.

    A year that BACnet cannot say is out of range: a damaged record, or a meter's "never".
    """
    state = plain_state(reading, kind)
    value = state.present_value
    if not isinstance(value, datetime.date):
        return state
    if _FIRST_YEAR <= value.year <= _LAST_YEAR and isinstance(value, datetime.datetime):
        value = value.astimezone().replace(tzinfo=None) if value.tzinfo is not None else value
    if value.year > _LAST_YEAR:
        return State(None, _worst(state.reliability, Reliability.OVER_RANGE))
    if value.year < _FIRST_YEAR:
        return State(None, _worst(state.reliability, Reliability.UNDER_RANGE))
    return State(value, state.reliability)


def _number_state(reading: Reading, *, single: bool) -> State:
    reliability = _reliability(reading)
    value = reading.value
    if not isinstance(value, Decimal) or not value.is_finite():
        return _without_number(reading, reliability)
    try:
        return State(to_real(value) if single else to_double(value), reliability)
    except OverflowError:
        beyond = Reliability.OVER_RANGE if value > 0 else Reliability.UNDER_RANGE
        return State(None, _worst(reliability, beyond))


def _without_number(reading: Reading, reliability: Reliability) -> State:
    if reading.value is None:
        return State(None, reliability)
    why = (
        Reliability.NO_SENSOR
        if isinstance(reading.value, Decimal)
        else Reliability.CONFIGURATION_ERROR
    )
    return State(None, _worst(reliability, why))


def _reliability(reading: Reading) -> Reliability:
    if reading.fault is not None:
        return RELIABILITY[reading.fault]
    if reading.value is None:
        return Reliability.COMMUNICATION_FAILURE
    return Reliability.NO_FAULT_DETECTED


def _worst(known: Reliability, found: Reliability) -> Reliability:
    # What is wrong on the way goes before what is wrong with the last value.
    return found if known is Reliability.NO_FAULT_DETECTED else known
