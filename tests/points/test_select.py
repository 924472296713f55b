from __future__ import annotations

from decimal import Decimal

from bridge.mbus.dif import Function
from bridge.mbus.record import DataRecord, decode_records
from bridge.points.reading import Fault, Kind
from bridge.points.select import Selector, find, select
from bridge.units import Quantity


def records(text: str) -> tuple[DataRecord, ...]:
    found = decode_records(bytes.fromhex(text))
    assert not found.errors
    return found.records


VOLUMES = records("04 13 7B 00 00 00   44 13 7A 00 00 00   04 93 3C 01 00 00 00")


def test_a_record_is_found_by_what_it_says() -> None:
    now = select(Selector(quantity=Quantity.VOLUME), VOLUMES)
    assert isinstance(now, DataRecord)
    assert now.value == Decimal("0.123")
    before = select(Selector(quantity=Quantity.VOLUME, storage=1), VOLUMES)
    assert isinstance(before, DataRecord)
    assert before.value == Decimal("0.122")


def test_who_names_no_modifiers_means_the_record_without_any() -> None:
    backward = VOLUMES[2]
    assert select(Selector(quantity=Quantity.VOLUME), VOLUMES) is VOLUMES[0]
    chosen = Selector(quantity=Quantity.VOLUME, modifiers=backward.modifiers)
    assert select(chosen, VOLUMES) is backward


def test_a_limit_never_stands_in_for_the_value_itself() -> None:
    temperature = Selector(quantity=Quantity.FLOW_TEMPERATURE)
    # The number of exceeds of the lower limit, and the limit.
    assert select(temperature, records("01 DA 41 03")) is Fault.RECORD_MISSING
    assert select(temperature, records("02 DA 40 F4 01")) is Fault.RECORD_MISSING
    assert select(Selector(vib=bytes.fromhex("DA 41")), records("01 DA 41 03")) is not None


def test_a_meter_that_adds_records_and_changes_its_range_moves_nothing() -> None:
    later = records("0C 06 78 56 34 12   04 15 07 00 00 00   44 13 7A 00 00 00")
    found = select(Selector(quantity=Quantity.VOLUME), later)
    assert isinstance(found, DataRecord)
    assert found.value == Decimal("0.7")


def test_a_record_that_is_gone_is_said() -> None:
    assert select(Selector(quantity=Quantity.POWER), VOLUMES) is Fault.RECORD_MISSING


def test_several_that_fit_are_nobodys_guess() -> None:
    twice = records("02 FD 48 E6 00   02 FD 48 E7 00")
    voltage = Selector(quantity=Quantity.VOLTAGE)
    assert select(voltage, twice) is Fault.AMBIGUOUS
    second = select(Selector(quantity=Quantity.VOLTAGE, ordinal=2), twice)
    assert second is twice[1]
    third = Selector(quantity=Quantity.VOLTAGE, ordinal=3)
    assert select(third, twice) is Fault.RECORD_MISSING


def test_bytes_name_what_no_words_describe() -> None:
    odd = records("02 FF 68 05 00   02 FF 69 06 00")
    selector = Selector(vib=bytes.fromhex("FF 69"))
    assert select(selector, odd) is odd[1]


def test_found_points_are_named_by_what_they_say_and_never_by_their_place() -> None:
    telegram = "0C 06 78 56 34 12   1B 2B 00 21 00   8C 10 06 01 00 00 00   02 FD 48 E6 00"
    names = [found.name for found in find(records(telegram), all_storages=True)]
    assert names == ["energy", "power-maximum", "energy-tariff-1", "voltage"]
    reversed_records = records(telegram)[::-1]
    assert {found.name for found in find(reversed_records, all_storages=True)} == set(names)


def test_what_belongs_to_the_past_is_found_only_when_asked_for() -> None:
    assert [found.name for found in find(VOLUMES, all_storages=False)] == [
        "volume",
        "volume-backward",
    ]
    assert len(find(VOLUMES, all_storages=True)) == 3


def test_equal_records_are_told_apart_by_their_count_or_not_at_all() -> None:
    twice = records("02 FD 48 E6 00   02 FD 48 E7 00")
    one, other = find(twice, all_storages=False)
    assert (one.name, other.name) == ("voltage", "voltage-2")
    assert select(other.selector, twice) is twice[1]
    # One is gone now. Whose is the other?
    assert select(one.selector, twice[:1]) is Fault.AMBIGUOUS
    assert select(other.selector, twice[:1]) is Fault.AMBIGUOUS


def test_records_that_differ_in_their_bytes_are_told_apart_whatever_their_order() -> None:
    litres_first = records("04 13 01 00 00 00   0C 16 00 05 00 00")
    one, other = find(litres_first, all_storages=False)
    assert (one.name, other.name) == ("volume", "volume-2")
    cubic_metres_first = records("0C 16 00 05 00 00   04 13 01 00 00 00")
    assert select(one.selector, cubic_metres_first) is cubic_metres_first[1]
    assert select(other.selector, cubic_metres_first) is cubic_metres_first[0]
    assert select(one.selector, cubic_metres_first[:1]) is Fault.RECORD_MISSING


def test_a_lone_record_is_followed_when_the_meter_changes_its_range() -> None:
    (one,) = find(records("04 13 01 00 00 00"), all_storages=False)
    larger = records("04 15 01 00 00 00")
    assert select(one.selector, larger) is larger[0]


def test_a_record_that_comes_in_between_gets_a_name_of_its_own_and_moves_nobody() -> None:
    before = records("02 FD 48 E6 00   04 13 01 00 00 00")
    known = {one.name: one.selector for one in find(before, all_storages=False)}
    after = records("0C 16 00 05 00 00   02 FD 48 E6 00   04 13 01 00 00 00")
    assert [one.name for one in find(after, known, all_storages=False)] == ["volume-2"]
    assert select(known["volume"], after) is after[2]


def test_what_is_left_of_equal_records_is_no_new_point() -> None:
    twice = records("02 FD 48 E6 00   02 FD 48 E7 00")
    known = {one.name: one.selector for one in find(twice, all_storages=False)}
    assert find(twice[:1], known, all_storages=False) == []


def test_every_found_point_finds_its_own_record_again() -> None:
    everything = records(
        "0C 78 05 76 00 21   04 6D 05 0E 49 33   42 6C 3F 3C   0C 06 78 56 34 12"
        " 02 FD 48 E6 00   02 FD 48 E7 00   84 40 14 00 01 00 00   3B 3B 12 00 00"
    )
    found = find(everything, all_storages=True)
    assert len(found) == len(everything)
    assert all(select(one.selector, everything) is one.record for one in found)


def test_a_number_that_names_something_is_a_text() -> None:
    (number,) = find(records("0C 78 05 76 00 21"), all_storages=False)
    assert (number.name, number.kind) == ("fabrication-number", Kind.TEXT)


def test_dates_are_dates() -> None:
    found = find(records("04 6D 05 0E 49 33   02 6C 3F 3C"), all_storages=False)
    assert [(one.name, one.kind) for one in found] == [
        ("date-time", Kind.DATE_TIME),
        ("date", Kind.DATE),
    ]


def test_secrets_and_what_means_nothing_are_not_offered() -> None:
    # A password (FD 16), a manufacturer's own VIF, and a VIFE that makes the data its maker's.
    assert find(records("04 FD 16 D2 04 00 00   02 FF 68 05 00"), all_storages=True) == []


def test_a_function_is_part_of_the_name() -> None:
    names = [
        found.name for found in find(records("2B 2B 01 00 00   3B 2B 01 00 00"), all_storages=True)
    ]
    assert names == ["power-minimum", "power-in-error"]
    assert find(records("2B 2B 01 00 00"), all_storages=True)[0].selector.function is (
        Function.MINIMUM
    )


def test_a_meters_own_words_name_a_point() -> None:
    # Plain text "cust. ID", reversed on the wire.
    found = find(records("0D 7C 08 44 49 20 2E 74 73 75 63 02 42 41"), all_storages=False)
    assert [(one.name, one.kind) for one in found] == [("cust-id", Kind.TEXT)]
