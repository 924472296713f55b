from bacpypes3.basetypes import EngineeringUnits

from bridge.bacnet.units import NUMBERS, engineering_units, symbol
from bridge.units import OFFERED


def test_every_unit_that_is_offered_has_a_number() -> None:
    assert set(NUMBERS) == set(OFFERED)
    assert len(set(NUMBERS.values())) == len(NUMBERS)


def test_the_names_are_those_of_the_library_where_it_has_them() -> None:
    unnamed = {
        name for name, number in NUMBERS.items() if EngineeringUnits._enum_map.get(name) != number
    }
    assert unnamed == {"gigajoules", "joules-per-hour"}  # missing, and misspelt


def test_the_heat_meter_s_units_have_the_standard_s_numbers() -> None:
    assert engineering_units("kilowatt-hours") == 19
    assert engineering_units("gigajoules") == 47925
    assert engineering_units("cubic-meters") == 80


def test_a_unit_reads_as_on_the_meter() -> None:
    assert symbol("cubic-meters-per-hour") == "m³/h"
    assert symbol("degrees-phase") == "degrees-phase"
