"""How the value of a quantity moves, and between what it can lie: tables, with their reasons."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple

from bridge.mbus.dif import Function
from bridge.points.reading import Kind
from bridge.units import OFFERED, Quantity, Unit, convert, convertible

_HOUR = 3600.0

# A meter may run at twice its nominal size: EN 1434 and the old classes of water meters have an
# upper limit of twice the permanent flow; ISO 4064 has 1.25.
OVERLOAD = 2


class Nature(Enum):
    """How a point's value moves."""

    COUNTER = auto()  # up, and no faster than it can
    MEASURED = auto()  # within a range
    STEADY = auto()  # hardly ever: what is stored, settings, flags, texts
    CLOCK = auto()  # with the time, or hardly ever
    FREE = auto()  # as it likes


_COUNTED = frozenset(
    {
        Quantity.ENERGY,
        Quantity.REACTIVE_ENERGY,
        Quantity.APPARENT_ENERGY,
        Quantity.VOLUME,
        Quantity.MASS,
        Quantity.HEAT_COST_ALLOCATION,
        Quantity.ON_TIME,
        Quantity.OPERATING_TIME,
        Quantity.BATTERY_OPERATING_TIME,
        Quantity.RESET_COUNTER,
        Quantity.CUMULATION_COUNTER,
    }
)
# A bare count becomes one of these by the unit that the user gives it.
_COUNTED_UNITS = frozenset({"energy", "volume", "mass", "reactive energy", "apparent energy"})

_MEASURED = frozenset(
    {
        Quantity.POWER,
        Quantity.REACTIVE_POWER,
        Quantity.APPARENT_POWER,
        Quantity.VOLUME_FLOW,
        Quantity.MASS_FLOW,
        Quantity.FLOW_TEMPERATURE,
        Quantity.RETURN_TEMPERATURE,
        Quantity.EXTERNAL_TEMPERATURE,
        Quantity.TEMPERATURE_DIFFERENCE,
        Quantity.PRESSURE,
        Quantity.VOLTAGE,
        Quantity.CURRENT,
        Quantity.FREQUENCY,
        Quantity.PHASE_VOLTAGE_VOLTAGE,
        Quantity.PHASE_VOLTAGE_CURRENT,
        Quantity.RELATIVE_HUMIDITY,
        Quantity.MOISTURE,
        Quantity.COEFFICIENT_OF_PERFORMANCE,
        Quantity.DIMENSIONLESS,
        Quantity.USER_DEFINED,
    }
)

# These are another number at every answer, and nobody takes them for a measured value.
_FREE = frozenset(
    {
        Quantity.ACCESS_NUMBER,
        Quantity.ACTUALITY_DURATION,
        Quantity.DURATION_SINCE_READOUT,
        Quantity.DURATION_SINCE_CUMULATION,
        Quantity.TIME_POINT_SECOND,
        Quantity.RF_LEVEL,
    }
)

# Modifiers with which a record is of the same nature as without (EN 13757-3, tables 15 and 16).
_HARMLESS = frozenset(
    {"forward", "backward", "uncorrected", "base conditions", "non-metric"}
    | {"L1", "L2", "L3", "N", "L1-L2", "L2-L3", "L3-L1"}
    | {f"quadrant {n}" for n in range(1, 5)}
)


class Bound(NamedTuple):
    """Between what a quantity lies, in a unit, and why nothing beyond it is real."""

    low: str
    high: str
    unit: Unit
    quantities: tuple[Quantity, ...]
    reason: str


_TEMPERATURES = (
    Quantity.FLOW_TEMPERATURE,
    Quantity.RETURN_TEMPERATURE,
    Quantity.EXTERNAL_TEMPERATURE,
    Quantity.TEMPERATURE_LIMIT,
)

# Wide on purpose: what lies beyond is a broken sensor, or damage, and never a strange installation.
BOUNDS = (
    Bound("-100", "500", Unit.CELSIUS, _TEMPERATURES, "steam in pipes, winters anywhere"),
    Bound("-148", "932", Unit.FAHRENHEIT, _TEMPERATURES, "the same"),
    Bound(
        *("-600", "600", Unit.KELVIN, (Quantity.TEMPERATURE_DIFFERENCE,)),
        "between two temperatures that can be",
    ),
    Bound(
        *("-1080", "1080", Unit.FAHRENHEIT_DIFFERENCE, (Quantity.TEMPERATURE_DIFFERENCE,)),
        "the same",
    ),
    Bound(
        *("-5", "105", Unit.RELATIVE_HUMIDITY, (Quantity.RELATIVE_HUMIDITY,)),
        "0 to 100, and what sensors are off by",
    ),
    Bound("-5", "105", Unit.PERCENT, (Quantity.MOISTURE,), "the same"),
    Bound("0", "1000", Unit.HERTZ, (Quantity.FREQUENCY,), "mains have 16.7 to 400 Hz"),
    Bound("-2e6", "2e6", Unit.VOLT, (Quantity.VOLTAGE,), "the highest lines have 1.15 MV"),
    Bound("-1e6", "1e6", Unit.AMPERE, (Quantity.CURRENT,), "smelters take half of it"),
    Bound(
        *("-360", "360", Unit.DEGREE),
        (Quantity.PHASE_VOLTAGE_VOLTAGE, Quantity.PHASE_VOLTAGE_CURRENT),
        "a full turn",
    ),
    Bound("-1.1", "1000", Unit.BAR, (Quantity.PRESSURE,), "a vacuum; hydraulics reach 700 bar"),
    Bound("-1e6", "1e6", Unit.CUBIC_METRE_PER_HOUR, (Quantity.VOLUME_FLOW,), "a river"),
    Bound("-1e9", "1e9", Unit.KILOGRAM_PER_HOUR, (Quantity.MASS_FLOW,), "the same river"),
    Bound("-1e11", "1e11", Unit.WATT, (Quantity.POWER,), "a country"),
    Bound(
        *("0", "3.2e9", Unit.SECOND),
        (Quantity.ON_TIME, Quantity.OPERATING_TIME, Quantity.BATTERY_OPERATING_TIME),
        "100 years",
    ),
    Bound("-200", "100", Unit.DBM, (Quantity.RF_LEVEL,), "noise; a transmitter of 10 MW"),
)
POWER_FACTOR = (Decimal(-1), Decimal(1))

ANY = (Decimal("-Infinity"), Decimal("Infinity"))


class Nominal(NamedTuple):
    """What the user says of a meter's size; None where nothing is said."""

    flow: Decimal | None = None  # m3/h
    power: Decimal | None = None  # kW


def nature_of(
    kind: Kind,
    quantity: Quantity,
    unit: str,
    *,
    function: Function = Function.INSTANTANEOUS,
    storage: int = 0,
    modifiers: tuple[str, ...] = (),
    counts: bool = False,
) -> Nature:
    """How a value moves, by what its record says and by what the user makes of it.

    Args:
        kind: of the point.
        quantity: of the record.
        unit: in which the point is offered.
        function: of the record.
        storage: of the record.
        modifiers: of the record.
        counts: the user wants it in an accumulator.
    """
    if storage:
        return Nature.STEADY
    if kind in (Kind.DATE, Kind.TIME, Kind.DATE_TIME):
        return Nature.CLOCK
    if kind is not Kind.NUMBER:
        return Nature.STEADY
    if quantity in _FREE:
        return Nature.FREE
    plain = _HARMLESS.issuperset(modifiers)
    is_rate = any(word == "average" or word.startswith("per ") for word in modifiers)
    counted = quantity in _COUNTED or (
        quantity is Quantity.DIMENSIONLESS and (counts or OFFERED[unit].name in _COUNTED_UNITS)
    )
    if counted and plain and function is Function.INSTANTANEOUS:
        return Nature.COUNTER
    if (quantity in _MEASURED or counted) and (plain or is_rate):
        return Nature.MEASURED
    return Nature.STEADY


def bounds_of(quantity: Quantity, unit: str, modifiers: tuple[str, ...]) -> tuple[Decimal, Decimal]:
    """Between what a value can lie at all, in the unit in which it is offered."""
    if unit == "power-factor":
        return POWER_FACTOR
    if _HARMLESS.issuperset(modifiers) or modifiers == ("average",):
        for row in BOUNDS:
            if quantity in row.quantities and convertible(row.unit, unit):
                low, high = Decimal(row.low), Decimal(row.high)
                return convert(low, row.unit, unit), convert(high, row.unit, unit)
    return ANY


def largest_rate(nominal: Nominal, unit: str) -> float | None:
    """How fast a counter of a meter of this size may run, in its unit a second."""
    if nominal.flow is not None and convertible(Unit.CUBIC_METRE, unit):
        return float(OVERLOAD * convert(nominal.flow, Unit.CUBIC_METRE, unit)) / _HOUR
    if nominal.power is not None and convertible(Unit.WATT_HOUR, unit):
        return float(OVERLOAD * convert(nominal.power * 1000, Unit.WATT_HOUR, unit)) / _HOUR
    return None


def largest_value(nominal: Nominal, unit: str) -> Decimal | None:
    """How large flow or power of a meter of this size may be, either way, in the unit."""
    if nominal.flow is not None and convertible(Unit.CUBIC_METRE_PER_HOUR, unit):
        return OVERLOAD * convert(nominal.flow, Unit.CUBIC_METRE_PER_HOUR, unit)
    if nominal.power is not None and convertible(Unit.WATT, unit):
        return OVERLOAD * convert(nominal.power * 1000, Unit.WATT, unit)
    return None
