"""Our units as BACnetEngineeringUnits, and back to a text for people."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

# ASHRAE 135, clause 21, BACnetEngineeringUnits. bacpypes3 has no name for 47925 and misspells 247;
# the numbers travel all the same.
NUMBERS: Final = MappingProxyType(
    {
        "no-units": 95,
        "watt-hours": 18,
        "kilowatt-hours": 19,
        "megawatt-hours": 146,
        "joules": 16,
        "kilojoules": 17,
        "megajoules": 126,
        "gigajoules": 47925,
        "cubic-meters": 80,
        "liters": 82,
        "milliliters": 197,
        "cubic-feet": 79,
        "us-gallons": 83,
        "kilograms": 39,
        "grams": 195,
        "seconds": 73,
        "minutes": 72,
        "hours": 71,
        "days": 70,
        "weeks": 69,
        "months": 68,
        "years": 67,
        "watts": 47,
        "milliwatts": 132,
        "kilowatts": 48,
        "megawatts": 49,
        "joules-per-hour": 247,
        "cubic-meters-per-hour": 135,
        "cubic-meters-per-minute": 165,
        "cubic-meters-per-second": 85,
        "liters-per-hour": 136,
        "liters-per-minute": 88,
        "liters-per-second": 87,
        "us-gallons-per-minute": 89,
        "us-gallons-per-hour": 192,
        "kilograms-per-hour": 44,
        "kilograms-per-minute": 43,
        "kilograms-per-second": 42,
        "degrees-celsius": 62,
        "degrees-fahrenheit": 64,
        "delta-degrees-kelvin": 121,
        "delta-degrees-fahrenheit": 120,
        "bars": 55,
        "millibars": 134,
        "pascals": 53,
        "kilopascals": 54,
        "volts": 5,
        "millivolts": 124,
        "kilovolts": 6,
        "amperes": 3,
        "milliamperes": 2,
        "hertz": 27,
        "volt-ampere-hours-reactive": 242,
        "kilovolt-ampere-hours-reactive": 243,
        "megavolt-ampere-hours-reactive": 244,
        "volt-amperes-reactive": 11,
        "kilovolt-amperes-reactive": 12,
        "megavolt-amperes-reactive": 13,
        "volt-ampere-hours": 239,
        "kilovolt-ampere-hours": 240,
        "megavolt-ampere-hours": 241,
        "volt-amperes": 8,
        "kilovolt-amperes": 9,
        "megavolt-amperes": 10,
        "degrees-phase": 14,
        "percent-relative-humidity": 29,
        "percent": 98,
        "power-factor": 15,
    }
)

# What an operator reads on a meter's display.
_SYMBOLS: Final = MappingProxyType(
    {
        "no-units": "",
        "watt-hours": "Wh",
        "kilowatt-hours": "kWh",
        "megawatt-hours": "MWh",
        "joules": "J",
        "kilojoules": "kJ",
        "megajoules": "MJ",
        "gigajoules": "GJ",
        "cubic-meters": "m³",
        "liters": "l",
        "milliliters": "ml",
        "kilograms": "kg",
        "grams": "g",
        "seconds": "s",
        "minutes": "min",
        "hours": "h",
        "days": "d",
        "watts": "W",
        "milliwatts": "mW",
        "kilowatts": "kW",
        "megawatts": "MW",
        "cubic-meters-per-hour": "m³/h",
        "liters-per-hour": "l/h",
        "liters-per-minute": "l/min",
        "liters-per-second": "l/s",
        "degrees-celsius": "°C",
        "degrees-fahrenheit": "°F",
        "delta-degrees-kelvin": "K",
        "bars": "bar",
        "millibars": "mbar",
        "pascals": "Pa",
        "kilopascals": "kPa",
        "volts": "V",
        "millivolts": "mV",
        "kilovolts": "kV",
        "amperes": "A",
        "milliamperes": "mA",
        "hertz": "Hz",
        "kilovolt-ampere-hours-reactive": "kvarh",
        "kilovolt-amperes-reactive": "kvar",
        "kilovolt-ampere-hours": "kVAh",
        "kilovolt-amperes": "kVA",
        "percent-relative-humidity": "%RH",
        "percent": "%",
    }
)


def engineering_units(unit: str) -> int:
    """The number of a unit of `bridge.units.OFFERED` in BACnetEngineeringUnits."""
    return NUMBERS[unit]


def symbol(unit: str) -> str:
    """The short form of a unit's BACnet name ("kWh"), or the name itself where there is none."""
    return _SYMBOLS.get(unit, unit)
