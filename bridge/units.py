"""Quantities and units: what a meter measures, and in which units the bridge can offer it.

`Quantity` and `Unit` are what a data record says (EN 13757-3, VIF tables), free of its power of
ten. `OFFERED` lists the units in which a value can be offered to a BMS, by their BACnet names
(ASHRAE 135, BACnetEngineeringUnits). Every conversion is decimal.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from enum import StrEnum
from typing import NamedTuple

from bridge.errors import BridgeError


class UnitError(BridgeError):
    """A value in one unit was to be said in another that measures something else."""


class Quantity(StrEnum):
    """What a data record is about. The values are the words of the configuration file."""

    # Primary table
    ENERGY = "energy"
    VOLUME = "volume"
    MASS = "mass"
    ON_TIME = "on-time"
    OPERATING_TIME = "operating-time"
    POWER = "power"
    VOLUME_FLOW = "volume-flow"
    MASS_FLOW = "mass-flow"
    FLOW_TEMPERATURE = "flow-temperature"
    RETURN_TEMPERATURE = "return-temperature"
    TEMPERATURE_DIFFERENCE = "temperature-difference"
    EXTERNAL_TEMPERATURE = "external-temperature"
    PRESSURE = "pressure"
    DATE = "date"
    DATE_TIME = "date-time"
    HEAT_COST_ALLOCATION = "heat-cost-allocation"
    AVERAGING_DURATION = "averaging-duration"
    ACTUALITY_DURATION = "actuality-duration"
    FABRICATION_NUMBER = "fabrication-number"
    IDENTIFICATION = "identification"
    BUS_ADDRESS = "bus-address"
    USER_DEFINED = "user-defined"  # the unit is a text in the telegram
    ANY = "any"
    MANUFACTURER_SPECIFIC = "manufacturer-specific"
    UNKNOWN = "unknown"
    # FD table
    CREDIT = "credit"
    DEBIT = "debit"
    ACCESS_NUMBER = "access-number"
    DEVICE_TYPE = "device-type"
    MANUFACTURER = "manufacturer"
    PARAMETER_SET = "parameter-set"
    MODEL_VERSION = "model-version"
    HARDWARE_VERSION = "hardware-version"
    FIRMWARE_VERSION = "firmware-version"
    SOFTWARE_VERSION = "software-version"
    CUSTOMER_LOCATION = "customer-location"
    CUSTOMER = "customer"
    ACCESS_CODE_USER = "access-code-user"
    ACCESS_CODE_OPERATOR = "access-code-operator"
    ACCESS_CODE_SYSTEM_OPERATOR = "access-code-system-operator"
    ACCESS_CODE_DEVELOPER = "access-code-developer"
    PASSWORD = "password"
    ERROR_FLAGS = "error-flags"
    ERROR_MASK = "error-mask"
    SECURITY_KEY = "security-key"
    DIGITAL_OUTPUT = "digital-output"
    DIGITAL_INPUT = "digital-input"
    BAUDRATE = "baudrate"
    RESPONSE_DELAY = "response-delay"
    RETRY = "retry"
    REMOTE_CONTROL = "remote-control"
    FIRST_STORAGE_NUMBER = "first-storage-number"
    LAST_STORAGE_NUMBER = "last-storage-number"
    STORAGE_BLOCK_SIZE = "storage-block-size"
    TARIFF_DESCRIPTOR = "tariff-descriptor"
    STORAGE_INTERVAL = "storage-interval"
    OPERATOR_DATA = "operator-data"
    TIME_POINT_SECOND = "time-point-second"
    DURATION_SINCE_READOUT = "duration-since-readout"
    TARIFF_START = "tariff-start"
    TARIFF_DURATION = "tariff-duration"
    TARIFF_PERIOD = "tariff-period"
    DIMENSIONLESS = "dimensionless"
    DATA_CONTAINER = "data-container"
    TRANSMISSION_PERIOD = "transmission-period"
    VOLTAGE = "voltage"
    CURRENT = "current"
    RESET_COUNTER = "reset-counter"
    CUMULATION_COUNTER = "cumulation-counter"
    CONTROL_SIGNAL = "control-signal"
    DAY_OF_WEEK = "day-of-week"
    WEEK_NUMBER = "week-number"
    DAY_CHANGE_TIME = "day-change-time"
    PARAMETER_ACTIVATION = "parameter-activation"
    SUPPLIER_INFORMATION = "supplier-information"
    DURATION_SINCE_CUMULATION = "duration-since-cumulation"
    BATTERY_OPERATING_TIME = "battery-operating-time"
    BATTERY_CHANGE_DATE = "battery-change-date"
    RF_LEVEL = "rf-level"
    DAYLIGHT_SAVING = "daylight-saving"
    LISTENING_WINDOW = "listening-window"
    REMAINING_BATTERY_LIFE = "remaining-battery-life"
    STOP_COUNTER = "stop-counter"
    MANUFACTURER_CONTAINER = "manufacturer-container"
    SELECTED_APPLICATION = "selected-application"
    MOISTURE = "moisture"
    # FB table
    REACTIVE_ENERGY = "reactive-energy"
    APPARENT_ENERGY = "apparent-energy"
    COEFFICIENT_OF_PERFORMANCE = "coefficient-of-performance"
    REACTIVE_POWER = "reactive-power"
    APPARENT_POWER = "apparent-power"
    RELATIVE_HUMIDITY = "relative-humidity"
    PHASE_VOLTAGE_VOLTAGE = "phase-voltage-voltage"
    PHASE_VOLTAGE_CURRENT = "phase-voltage-current"
    FREQUENCY = "frequency"
    RATING_FACTOR = "rating-factor"
    OUTPUT_RATING_FACTOR = "output-rating-factor"
    COUPLING_FACTOR = "coupling-factor"
    COUPLING_FACTOR_ROOM = "coupling-factor-room"
    COUPLING_FACTOR_HEATER = "coupling-factor-heater"
    LOW_TEMPERATURE_FACTOR = "low-temperature-factor"
    DISPLAY_SCALING_FACTOR = "display-scaling-factor"
    TEMPERATURE_LIMIT = "temperature-limit"
    CUMULATIVE_MAXIMUM_POWER = "cumulative-maximum-power"


class Unit(StrEnum):
    """The unit of a data record's value, plain ASCII, without its power of ten."""

    NONE = ""
    WATT_HOUR = "Wh"
    JOULE = "J"
    CALORIE = "cal"
    CUBIC_METRE = "m3"
    CUBIC_FOOT = "ft3"
    US_GALLON = "gal"
    KILOGRAM = "kg"
    SECOND = "s"
    MONTH = "month"
    YEAR = "year"
    WATT = "W"
    JOULE_PER_HOUR = "J/h"
    CUBIC_METRE_PER_HOUR = "m3/h"
    US_GALLON_PER_MINUTE = "gal/min"
    US_GALLON_PER_HOUR = "gal/h"
    KILOGRAM_PER_HOUR = "kg/h"
    CELSIUS = "Cel"
    FAHRENHEIT = "degF"
    KELVIN = "K"
    FAHRENHEIT_DIFFERENCE = "deltaF"
    BAR = "bar"
    HCA = "HCA"
    CURRENCY = "currency"
    VOLT = "V"
    AMPERE = "A"
    HERTZ = "Hz"
    KILOVAR_HOUR = "kvarh"
    KILOVAR = "kvar"
    KILOVOLT_AMPERE_HOUR = "kVAh"
    KILOVOLT_AMPERE = "kVA"
    DEGREE = "deg"
    RELATIVE_HUMIDITY = "%RH"
    PERCENT = "%"
    BAUD = "Bd"
    BIT_TIME = "bit"
    DBM = "dBm"


class _Family(NamedTuple):
    """How a unit measures: 1 of it is ``factor`` of the family's own unit."""

    name: str
    factor: Decimal


_MEASURES: dict[Unit, _Family] = {
    unit: _Family(family, Decimal(factor))
    for unit, family, factor in (
        (Unit.NONE, "number", "1"),
        (Unit.HCA, "number", "1"),
        (Unit.CURRENCY, "number", "1"),
        (Unit.BAUD, "number", "1"),
        (Unit.BIT_TIME, "number", "1"),
        (Unit.DBM, "number", "1"),
        (Unit.WATT_HOUR, "energy", "3600"),
        (Unit.JOULE, "energy", "1"),
        (Unit.CALORIE, "energy", "4.1868"),
        (Unit.CUBIC_METRE, "volume", "1"),
        (Unit.CUBIC_FOOT, "volume", "0.028316846592"),
        (Unit.US_GALLON, "volume", "0.003785411784"),
        (Unit.KILOGRAM, "mass", "1"),
        (Unit.SECOND, "time", "1"),
        (Unit.MONTH, "calendar", "1"),
        (Unit.YEAR, "calendar", "12"),
        (Unit.WATT, "power", "3600"),
        (Unit.JOULE_PER_HOUR, "power", "1"),
        (Unit.CUBIC_METRE_PER_HOUR, "volume flow", "1"),
        (Unit.US_GALLON_PER_MINUTE, "volume flow", "0.22712470704"),
        (Unit.US_GALLON_PER_HOUR, "volume flow", "0.003785411784"),
        (Unit.KILOGRAM_PER_HOUR, "mass flow", "1"),
        (Unit.CELSIUS, "temperature, Celsius", "1"),
        (Unit.FAHRENHEIT, "temperature, Fahrenheit", "1"),
        (Unit.KELVIN, "temperature difference", "1"),
        (Unit.FAHRENHEIT_DIFFERENCE, "temperature difference, Fahrenheit", "1"),
        (Unit.BAR, "pressure", "100000"),
        (Unit.VOLT, "voltage", "1"),
        (Unit.AMPERE, "current", "1"),
        (Unit.HERTZ, "frequency", "1"),
        (Unit.KILOVAR_HOUR, "reactive energy", "1000"),
        (Unit.KILOVAR, "reactive power", "1000"),
        (Unit.KILOVOLT_AMPERE_HOUR, "apparent energy", "1000"),
        (Unit.KILOVOLT_AMPERE, "apparent power", "1000"),
        (Unit.DEGREE, "angle", "1"),
        (Unit.RELATIVE_HUMIDITY, "humidity", "1"),
        (Unit.PERCENT, "percent", "1"),
    )
}

NO_UNITS = "no-units"

# Units in which a value can be offered, by their BACnet names.
OFFERED: dict[str, _Family] = {
    name: _Family(family, Decimal(factor))
    for name, family, factor in (
        (NO_UNITS, "number", "1"),
        ("watt-hours", "energy", "3600"),
        ("kilowatt-hours", "energy", "3600e3"),
        ("megawatt-hours", "energy", "3600e6"),
        ("joules", "energy", "1"),
        ("kilojoules", "energy", "1e3"),
        ("megajoules", "energy", "1e6"),
        ("gigajoules", "energy", "1e9"),
        ("cubic-meters", "volume", "1"),
        ("liters", "volume", "1e-3"),
        ("milliliters", "volume", "1e-6"),
        ("cubic-feet", "volume", "0.028316846592"),
        ("us-gallons", "volume", "0.003785411784"),
        ("kilograms", "mass", "1"),
        ("grams", "mass", "1e-3"),
        ("seconds", "time", "1"),
        ("minutes", "time", "60"),
        ("hours", "time", "3600"),
        ("days", "time", "86400"),
        ("weeks", "time", "604800"),
        ("months", "calendar", "1"),
        ("years", "calendar", "12"),
        ("watts", "power", "3600"),
        ("milliwatts", "power", "3.6"),
        ("kilowatts", "power", "3600e3"),
        ("megawatts", "power", "3600e6"),
        ("joules-per-hour", "power", "1"),
        ("cubic-meters-per-hour", "volume flow", "1"),
        ("cubic-meters-per-minute", "volume flow", "60"),
        ("cubic-meters-per-second", "volume flow", "3600"),
        ("liters-per-hour", "volume flow", "1e-3"),
        ("liters-per-minute", "volume flow", "60e-3"),
        ("liters-per-second", "volume flow", "3.6"),
        ("us-gallons-per-minute", "volume flow", "0.22712470704"),
        ("us-gallons-per-hour", "volume flow", "0.003785411784"),
        ("kilograms-per-hour", "mass flow", "1"),
        ("kilograms-per-minute", "mass flow", "60"),
        ("kilograms-per-second", "mass flow", "3600"),
        ("degrees-celsius", "temperature, Celsius", "1"),
        ("degrees-fahrenheit", "temperature, Fahrenheit", "1"),
        ("delta-degrees-kelvin", "temperature difference", "1"),
        ("delta-degrees-fahrenheit", "temperature difference, Fahrenheit", "1"),
        ("bars", "pressure", "100000"),
        ("millibars", "pressure", "100"),
        ("pascals", "pressure", "1"),
        ("kilopascals", "pressure", "1000"),
        ("volts", "voltage", "1"),
        ("millivolts", "voltage", "1e-3"),
        ("kilovolts", "voltage", "1e3"),
        ("amperes", "current", "1"),
        ("milliamperes", "current", "1e-3"),
        ("hertz", "frequency", "1"),
        ("volt-ampere-hours-reactive", "reactive energy", "1"),
        ("kilovolt-ampere-hours-reactive", "reactive energy", "1e3"),
        ("megavolt-ampere-hours-reactive", "reactive energy", "1e6"),
        ("volt-amperes-reactive", "reactive power", "1"),
        ("kilovolt-amperes-reactive", "reactive power", "1e3"),
        ("megavolt-amperes-reactive", "reactive power", "1e6"),
        ("volt-ampere-hours", "apparent energy", "1"),
        ("kilovolt-ampere-hours", "apparent energy", "1e3"),
        ("megavolt-ampere-hours", "apparent energy", "1e6"),
        ("volt-amperes", "apparent power", "1"),
        ("kilovolt-amperes", "apparent power", "1e3"),
        ("megavolt-amperes", "apparent power", "1e6"),
        ("degrees-phase", "angle", "1"),
        ("percent-relative-humidity", "humidity", "1"),
        ("percent", "percent", "1"),
        ("power-factor", "number", "1"),
    )
}

# One unit for each record unit, chosen once: a meter that changes its exponent at run time moves
# nothing. The kilo- units are what operators read on the meter's own display.
_USUAL: dict[Unit, str] = {
    Unit.WATT_HOUR: "kilowatt-hours",
    Unit.JOULE: "megajoules",
    Unit.CALORIE: "megajoules",
    Unit.CUBIC_METRE: "cubic-meters",
    Unit.CUBIC_FOOT: "cubic-feet",
    Unit.US_GALLON: "us-gallons",
    Unit.KILOGRAM: "kilograms",
    Unit.SECOND: "hours",
    Unit.MONTH: "months",
    Unit.YEAR: "years",
    Unit.WATT: "kilowatts",
    Unit.JOULE_PER_HOUR: "kilowatts",
    Unit.CUBIC_METRE_PER_HOUR: "cubic-meters-per-hour",
    Unit.US_GALLON_PER_MINUTE: "us-gallons-per-minute",
    Unit.US_GALLON_PER_HOUR: "us-gallons-per-hour",
    Unit.KILOGRAM_PER_HOUR: "kilograms-per-hour",
    Unit.CELSIUS: "degrees-celsius",
    Unit.FAHRENHEIT: "degrees-fahrenheit",
    Unit.KELVIN: "delta-degrees-kelvin",
    Unit.FAHRENHEIT_DIFFERENCE: "delta-degrees-fahrenheit",
    Unit.BAR: "bars",
    Unit.VOLT: "volts",
    Unit.AMPERE: "amperes",
    Unit.HERTZ: "hertz",
    Unit.KILOVAR_HOUR: "kilovolt-ampere-hours-reactive",
    Unit.KILOVAR: "kilovolt-amperes-reactive",
    Unit.KILOVOLT_AMPERE_HOUR: "kilovolt-ampere-hours",
    Unit.KILOVOLT_AMPERE: "kilovolt-amperes",
    Unit.DEGREE: "degrees-phase",
    Unit.RELATIVE_HUMIDITY: "percent-relative-humidity",
    Unit.PERCENT: "percent",
}


# The same for a quantity, where no record was seen yet. What is not here has no unit.
_USUAL_OF_QUANTITY: dict[Quantity, str] = {
    quantity: name
    for name, quantities in (
        ("kilowatt-hours", (Quantity.ENERGY,)),
        ("cubic-meters", (Quantity.VOLUME,)),
        ("kilograms", (Quantity.MASS,)),
        ("kilowatts", (Quantity.POWER, Quantity.CUMULATIVE_MAXIMUM_POWER)),
        ("cubic-meters-per-hour", (Quantity.VOLUME_FLOW,)),
        ("kilograms-per-hour", (Quantity.MASS_FLOW,)),
        (
            "degrees-celsius",
            (
                Quantity.FLOW_TEMPERATURE,
                Quantity.RETURN_TEMPERATURE,
                Quantity.EXTERNAL_TEMPERATURE,
                Quantity.TEMPERATURE_LIMIT,
            ),
        ),
        ("delta-degrees-kelvin", (Quantity.TEMPERATURE_DIFFERENCE,)),
        ("bars", (Quantity.PRESSURE,)),
        ("volts", (Quantity.VOLTAGE,)),
        ("amperes", (Quantity.CURRENT,)),
        ("hertz", (Quantity.FREQUENCY,)),
        ("kilovolt-ampere-hours-reactive", (Quantity.REACTIVE_ENERGY,)),
        ("kilovolt-amperes-reactive", (Quantity.REACTIVE_POWER,)),
        ("kilovolt-ampere-hours", (Quantity.APPARENT_ENERGY,)),
        ("kilovolt-amperes", (Quantity.APPARENT_POWER,)),
        ("degrees-phase", (Quantity.PHASE_VOLTAGE_VOLTAGE, Quantity.PHASE_VOLTAGE_CURRENT)),
        ("percent-relative-humidity", (Quantity.RELATIVE_HUMIDITY,)),
        ("percent", (Quantity.MOISTURE,)),
        ("minutes", (Quantity.AVERAGING_DURATION,)),
        ("seconds", (Quantity.ACTUALITY_DURATION,)),
        (
            "hours",
            (
                Quantity.ON_TIME,
                Quantity.OPERATING_TIME,
                Quantity.STORAGE_INTERVAL,
                Quantity.DURATION_SINCE_READOUT,
                Quantity.TARIFF_DURATION,
                Quantity.TARIFF_PERIOD,
                Quantity.TRANSMISSION_PERIOD,
                Quantity.DURATION_SINCE_CUMULATION,
                Quantity.BATTERY_OPERATING_TIME,
                Quantity.REMAINING_BATTERY_LIFE,
            ),
        ),
    )
    for quantity in quantities
}


def default_unit(quantity: Quantity) -> str:
    """The unit in which a quantity is offered when nobody named one, and none was seen."""
    return _USUAL_OF_QUANTITY.get(quantity, NO_UNITS)


def usual_unit(unit: Unit) -> str:
    """The unit in which a value is offered when nobody asked for another."""
    return _USUAL.get(unit, NO_UNITS)


def convertible(unit: Unit, offered: str) -> bool:
    """Whether a record in ``unit`` can be said in ``offered``."""
    return _MEASURES[unit].name == OFFERED[offered].name


def convert(value: Decimal, unit: Unit, offered: str) -> Decimal:
    """Say ``value`` in an offered unit.

    Powers of ten only shift the decimal point, so the meter's digits stay as they are. Between
    families of factors (J to Wh) the result has 28 digits.

    Raises:
        UnitError: the two measure different things.
    """
    source, target = _MEASURES[unit], OFFERED[offered]
    if source.name != target.name:
        raise UnitError(f"a value in {unit or 'no unit'} cannot be said in {offered}")
    with localcontext(prec=28) as context:
        ratio = source.factor / target.factor
        _, digits, exponent = ratio.normalize().as_tuple()
        if digits == (1,) and isinstance(exponent, int):
            context.prec = 400  # the longest number of a telegram has 64 bytes
            return value.scaleb(exponent)
        return value * source.factor / target.factor
