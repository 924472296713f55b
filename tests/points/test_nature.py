from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.mbus.dif import Function
from bridge.points.nature import (
    ANY,
    BOUNDS,
    Nature,
    Nominal,
    bounds_of,
    largest_rate,
    largest_value,
    nature_of,
)
from bridge.points.reading import Kind
from bridge.units import Quantity, default_unit


@pytest.mark.parametrize(
    ("quantity", "unit", "modifiers", "nature"),
    [
        (Quantity.ENERGY, "kilowatt-hours", (), Nature.COUNTER),
        (Quantity.VOLUME, "cubic-meters", ("backward",), Nature.COUNTER),
        (Quantity.ENERGY, "kilowatt-hours", ("L1",), Nature.COUNTER),
        (Quantity.OPERATING_TIME, "hours", (), Nature.COUNTER),
        (Quantity.DIMENSIONLESS, "cubic-meters", (), Nature.COUNTER),
        (Quantity.DIMENSIONLESS, "no-units", (), Nature.MEASURED),
        (Quantity.VOLUME, "cubic-meters", ("per hour",), Nature.MEASURED),
        (Quantity.VOLUME, "cubic-meters", ("lower limit",), Nature.STEADY),
        (Quantity.POWER, "kilowatts", (), Nature.MEASURED),
        (Quantity.POWER, "kilowatts", ("upper limit",), Nature.STEADY),
        (Quantity.ERROR_FLAGS, "no-units", (), Nature.STEADY),
        (Quantity.ACCESS_NUMBER, "no-units", (), Nature.FREE),
    ],
)
def test_how_a_number_moves_follows_from_what_its_record_says(
    quantity: Quantity, unit: str, modifiers: tuple[str, ...], nature: Nature
) -> None:
    assert nature_of(Kind.NUMBER, quantity, unit, modifiers=modifiers) is nature


def test_a_stored_value_is_steady_and_a_maximum_is_no_counter() -> None:
    energy, unit = Quantity.ENERGY, "kilowatt-hours"
    assert nature_of(Kind.NUMBER, energy, unit, storage=1) is Nature.STEADY
    maximum = nature_of(Kind.NUMBER, energy, unit, function=Function.MAXIMUM)
    assert maximum is Nature.MEASURED


def test_a_bare_count_that_goes_into_an_accumulator_is_a_counter() -> None:
    count = Quantity.DIMENSIONLESS
    assert nature_of(Kind.NUMBER, count, "no-units", counts=True) is Nature.COUNTER


def test_texts_are_steady_and_dates_go_with_the_time() -> None:
    assert nature_of(Kind.TEXT, Quantity.FABRICATION_NUMBER, "no-units") is Nature.STEADY
    assert nature_of(Kind.DATE_TIME, Quantity.DATE_TIME, "no-units") is Nature.CLOCK
    assert nature_of(Kind.DATE, Quantity.DATE, "no-units", storage=1) is Nature.STEADY


@pytest.mark.parametrize(
    ("quantity", "unit", "low", "high"),
    [
        (Quantity.FLOW_TEMPERATURE, "degrees-celsius", "-100", "500"),
        (Quantity.FLOW_TEMPERATURE, "degrees-fahrenheit", "-148", "932"),
        (Quantity.VOLTAGE, "kilovolts", "-2000", "2000"),
        (Quantity.ON_TIME, "days", "0", "37037.03703703703703703703704"),
        (Quantity.DIMENSIONLESS, "power-factor", "-1", "1"),
    ],
)
def test_bounds_are_in_the_unit_in_which_the_value_is_offered(
    quantity: Quantity, unit: str, low: str, high: str
) -> None:
    assert bounds_of(quantity, unit, ()) == (Decimal(low), Decimal(high))


def test_what_a_modifier_makes_something_else_of_has_no_bounds() -> None:
    assert bounds_of(Quantity.FREQUENCY, "hertz", ("relative deviation",)) == ANY


@pytest.mark.parametrize("row", BOUNDS)
def test_every_row_has_a_range_and_a_reason(row: tuple[str, str, object, object, str]) -> None:
    low, high, _, _, reason = row
    assert Decimal(low) < Decimal(high)
    assert reason


@pytest.mark.parametrize("quantity", {each for row in BOUNDS for each in row.quantities})
def test_every_quantity_of_the_table_has_bounds_in_its_usual_unit(quantity: Quantity) -> None:
    assert bounds_of(quantity, default_unit(quantity), ()) != ANY


def test_a_meters_size_bounds_its_counters_and_what_it_measures() -> None:
    size = Nominal(flow=Decimal("2.5"), power=Decimal(100))
    assert largest_value(size, "liters-per-hour") == 5000
    assert largest_value(size, "megawatts") == Decimal("0.2")
    assert largest_value(size, "bars") is None
    assert largest_rate(size, "cubic-meters") == pytest.approx(5 / 3600)
    assert largest_rate(size, "kilowatt-hours") == pytest.approx(200 / 3600)
    assert largest_rate(Nominal(), "kilowatt-hours") is None
