from __future__ import annotations

from decimal import Decimal

import pytest

from bridge import units
from bridge.units import (
    OFFERED,
    Quantity,
    Unit,
    UnitError,
    convert,
    convertible,
    default_unit,
    usual_unit,
)


@pytest.mark.parametrize(
    ("value", "unit", "offered", "said"),
    [
        ("561.080", Unit.CUBIC_METRE, "cubic-meters", "561.080"),
        ("561.080", Unit.CUBIC_METRE, "liters", "561080"),
        ("16777217", Unit.WATT_HOUR, "kilowatt-hours", "16777.217"),
        ("16777217", Unit.WATT_HOUR, "watt-hours", "16777217"),
        ("1E+9", Unit.JOULE, "gigajoules", "1"),
        ("1", Unit.WATT_HOUR, "joules", "3600"),
        ("3600000", Unit.JOULE, "kilowatt-hours", "1"),
        ("3600", Unit.SECOND, "hours", "1"),
        ("90", Unit.SECOND, "minutes", "1.5"),
        ("2.5", Unit.BAR, "kilopascals", "250"),
        ("7200000", Unit.JOULE_PER_HOUR, "kilowatts", "2"),
        ("-12.5", Unit.CELSIUS, "degrees-celsius", "-12.5"),
    ],
)
def test_a_conversion_is_exact(value: str, unit: Unit, offered: str, said: str) -> None:
    assert convert(Decimal(value), unit, offered) == Decimal(said)


def test_a_shift_of_the_decimal_point_keeps_every_digit_the_meter_has() -> None:
    assert str(convert(Decimal("561.080"), Unit.CUBIC_METRE, "cubic-meters")) == "561.080"
    long = Decimal("12345678901234567890.123456789012345")
    shifted = Decimal("12345678901234567.890123456789012345")
    assert convert(long, Unit.WATT_HOUR, "kilowatt-hours") == shifted


def test_what_measures_something_else_is_refused() -> None:
    assert not convertible(Unit.WATT_HOUR, "cubic-meters")
    with pytest.raises(UnitError, match="Wh cannot be said in cubic-meters"):
        convert(Decimal(1), Unit.WATT_HOUR, "cubic-meters")


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_of_a_record_has_an_offered_unit_that_fits(unit: Unit) -> None:
    assert convertible(unit, usual_unit(unit))


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_has_an_offered_unit(quantity: Quantity) -> None:
    assert default_unit(quantity) in OFFERED


def test_factors_are_exact_decimals() -> None:
    assert all(measure.factor > 0 for measure in units.OFFERED.values())
    assert OFFERED["kilowatt-hours"].factor == 3_600_000
