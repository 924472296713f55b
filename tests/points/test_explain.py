from __future__ import annotations

import pytest

from bridge.mbus.dif import Function
from bridge.mbus.walk import decode_records
from bridge.points.explain import explain, wrong_kind, wrong_unit
from bridge.points.known import Known, known_records
from bridge.points.reading import Fault
from bridge.points.select import Selector, Settled, hold, settle
from bridge.units import Quantity


def sent(text: str) -> list[Known]:
    return known_records(decode_records(bytes.fromhex(text)).records)


METER = sent(
    "0C 06 78 56 34 12   04 06 01 00 00 00   4C 06 01 00 00 00   8C 10 13 01 00 00 00"
    " 04 93 3C 01 00 00 00   02 FD 48 E6 00   02 FD 48 E7 00"
)


@pytest.mark.parametrize(
    ("selector", "message", "remedy"),
    [
        (
            Selector(quantity=Quantity.ENERGY),
            "names 2 records of this meter: 0C06 (energy, in Wh), 0406 (energy, in Wh), which "
            "differ in nothing but their bytes",
            "write record: 0C06 or record: 0406 in place of quantity",
        ),
        (
            Selector(quantity=Quantity.VOLTAGE, subunit=None),
            "names 2 records of this meter: 02FD48 (voltage, in V), 02FD48#2 (voltage, in V), "
            "which differ in nothing but their order",
            "write record: 02FD48 or record: 02FD48#2 in place of quantity",
        ),
        (
            Selector(quantity=Quantity.ENERGY, storage=None),
            "names 3 records of this meter: 0C06 (energy, in Wh), 0406 (energy, in Wh), 4C06 "
            "(energy, storage 1, in Wh)",
            "write record: 0C06, record: 0406 or record: 4C06 in place of quantity",
        ),
        (
            Selector(quantity=Quantity.VOLUME),
            "names no record of this meter; the closest are 8C1013 (volume, tariff 1, in m3), "
            "04933C (volume, backward, in m3)",
            "write tariff: 1 if 8C1013 is meant, or remove the point",
        ),
        (
            Selector(quantity=Quantity.ENERGY, storage=2),
            "names no record of this meter; the closest are 0C06 (energy, in Wh), 0406 (energy, "
            "in Wh), 4C06 (energy, storage 1, in Wh)",
            "remove storage if 0C06 is meant, or remove the point",
        ),
        (
            Selector(quantity=Quantity.POWER),
            "names no record of this meter; it sends energy, volume, voltage",
            "name one of its records, or remove the point",
        ),
        (
            Selector(key="0C06#2"),
            "this meter sends no record 0C06#2; the closest are 0C06 (energy, in Wh), 0406 "
            "(energy, in Wh), 4C06 (energy, storage 1, in Wh)",
            "write record: 0C06 if 0C06 is meant, or remove the point",
        ),
        (
            Selector(quantity=Quantity.VOLTAGE, ordinal=3),
            "names the record number 3 of those that fit, and this meter sends 2: 02FD48 "
            "(voltage, in V), 02FD48#2 (voltage, in V)",
            "write record: 02FD48 or record: 02FD48#2 in place of ordinal",
        ),
    ],
)
def test_it_says_which_records_come_into_question_and_what_to_write(
    selector: Selector, message: str, remedy: str
) -> None:
    fault = settle(selector, METER)
    assert isinstance(fault, Fault)
    assert explain(fault, selector, None, METER) == (message, remedy)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (
            "0C 06 78 56 34 12   0C 06 01 00 00 00",
            "names 0C06, which this meter sent once and now sends 2 times: nobody can say which "
            "of them it is",
        ),
        (
            "0C 07 78 56 34 12   0E 06 01 00 00 00 00 00",
            "this meter no longer sends 0C06, and 2 others could be it: 0C07 (energy, in Wh), "
            "0E06 (energy, in Wh), which differ in nothing but their bytes",
        ),
        (
            "4C 06 78 56 34 12",
            "this meter no longer sends 0C06, which fed it; the closest is 4C06 (energy, storage "
            "1, in Wh)",
        ),
    ],
)
def test_of_a_settled_point_it_says_what_has_become_of_its_record(now: str, message: str) -> None:
    selector, before, after = Selector(quantity=Quantity.ENERGY), Settled("0C06"), sent(now)
    fault = hold(before, selector, after)
    assert isinstance(fault, Fault)
    assert explain(fault, selector, before, after).message == message


POWERS = sent("0B 2D 01 00 00   9B 10 2D 02 00 00   CB 10 AD 3C 03 00 00   9B 10 3B 01 00 00")


@pytest.mark.parametrize(
    ("selector", "remedy"),
    [
        (
            Selector(quantity=Quantity.POWER, function=Function.MAXIMUM),
            "write tariff: 1 if 9B102D is meant, or remove the point",
        ),
        (
            Selector(quantity=Quantity.POWER, modifiers=("backward",)),
            "write storage: 1, tariff: 1 if CB10AD3C is meant, or remove the point",
        ),
        (Selector(key="1B2D"), "write record: 9B102D if 9B102D is meant, or remove the point"),
        # Nothing agrees: it is said in full what would be shown.
        (
            Selector(quantity=Quantity.VOLUME_FLOW),
            "write function: maximum, tariff: 1 if 9B103B is meant, or remove the point",
        ),
    ],
)
def test_what_agrees_in_function_and_modifiers_is_closer_than_what_agrees_in_numbers(
    selector: Selector, remedy: str
) -> None:
    assert explain(Fault.RECORD_MISSING, selector, None, POWERS).remedy == remedy


@pytest.mark.parametrize(
    "selector",
    [
        Selector(quantity=Quantity.POWER, function=Function.MAXIMUM),
        Selector(quantity=Quantity.POWER, modifiers=("backward",)),
        Selector(key="1B2D"),
    ],
)
def test_no_remedy_makes_a_present_value_of_a_maximum_or_a_limit(selector: Selector) -> None:
    doubt = explain(Fault.RECORD_MISSING, selector, None, sent("0B 2D 01 00 00"))
    assert doubt.message.endswith("the closest is 0B2D (power, in W)")
    assert doubt.remedy == "name one of its records, or remove the point"


@pytest.mark.parametrize(
    ("settled", "remedy"),
    [
        (None, "{perhaps}; or write storage: 1 if 4C06 is meant"),
        (Settled("0C06"), "{perhaps}"),
    ],
)
def test_a_record_that_may_be_in_what_was_cut_is_no_reason_to_remove_its_point(
    settled: Settled | None, remedy: str
) -> None:
    selector, rest = Selector(quantity=Quantity.ENERGY), sent("4C 06 01 00 00 00")
    cut = "byte 6: premature end of record: 0C061000"
    doubt = explain(Fault.RECORD_MISSING, selector, settled, rest, undecoded=cut)
    perhaps = f"perhaps it is in what could not be decoded: {cut}"
    assert doubt.remedy == remedy.format(perhaps=perhaps)


def test_a_meter_that_sends_nothing_is_said() -> None:
    doubt = explain(Fault.RECORD_MISSING, Selector(quantity=Quantity.ENERGY), None, [])
    assert doubt.message == "names no record of this meter: it sends none at all"


def test_a_unit_that_does_not_fit_has_its_others_named() -> None:
    doubt = wrong_unit(METER[0], "cubic-meters")
    assert (
        doubt.message == "its record is 0C06 (energy, in Wh), which cannot be said in cubic-meters"
    )
    assert "kilowatt-hours" in doubt.remedy


def test_another_kind_of_value_is_said() -> None:
    (date,) = sent("02 6C 3F 3C")
    assert str(wrong_kind(date, "number")) == (
        "its record 026C (date) holds a date, and the point is made for a number; write record: "
        "026C in place of what names it, or name another record"
    )


PROFILE = "8D 04 93 1F 04 02 1B 22 22"  # of the volume with storage number 8


@pytest.mark.parametrize(
    ("others", "remedy"),
    [
        (
            "04 13 01 00 00 00   84 04 13 02 00 00 00   84 14 13 03 00 00 00",
            "write record: 840413 for 840413 (volume, storage 8, in m3)",
        ),
        ("04 13 01 00 00 00", "name another record, or remove the point"),
    ],
)
def test_a_profile_cannot_be_a_point_but_its_base_value_can(others: str, remedy: str) -> None:
    known = sent(f"{others} {PROFILE}")
    assert wrong_kind(known[-1], "number", known) == (
        "its record 8D04931F (volume, compact profile, storage 8, in m3) holds a row of bytes: a "
        "profile or a container cannot be a point",
        remedy,
    )
