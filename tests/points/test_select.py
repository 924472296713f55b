from __future__ import annotations

import pytest

from bridge.mbus.dif import Function
from bridge.mbus.walk import decode_records
from bridge.points.known import Known, known_records
from bridge.points.reading import Fault, Kind
from bridge.points.select import Found, Selector, Settled, claimed_by, find, hold, settle
from bridge.units import Quantity


def sent(text: str) -> list[Known]:
    """The records of one telegram, with the keys that they have in it."""
    found = decode_records(bytes.fromhex(text))
    assert not found.errors
    return known_records(found.records)


def key_of(selector: Selector, records: list[Known]) -> str | Fault:
    settled = settle(selector, records)
    return settled.key if isinstance(settled, Settled) else settled


def settled(selector: Selector, records: list[Known]) -> Settled:
    outcome = settle(selector, records)
    assert isinstance(outcome, Settled)
    return outcome


VOLUMES = sent("04 13 7B 00 00 00   44 13 7A 00 00 00   04 93 3C 01 00 00 00")
VOLUME = Selector(quantity=Quantity.VOLUME)
ENERGY = Selector(quantity=Quantity.ENERGY)
VOLTAGE = Selector(quantity=Quantity.VOLTAGE)


def test_a_record_is_found_by_what_it_says() -> None:
    assert key_of(VOLUME, VOLUMES) == "0413"
    assert key_of(Selector(quantity=Quantity.VOLUME, storage=1), VOLUMES) == "4413"


def test_who_names_no_modifiers_means_the_record_without_any() -> None:
    assert key_of(VOLUME, VOLUMES) == "0413"
    backward = VOLUMES[2].identity.modifiers
    assert key_of(Selector(quantity=Quantity.VOLUME, modifiers=backward), VOLUMES) == "04933C"


def test_a_limit_never_stands_in_for_the_value_itself() -> None:
    temperature = Selector(quantity=Quantity.FLOW_TEMPERATURE)
    # The number of exceeds of the lower limit, and the limit.
    assert settle(temperature, sent("01 DA 41 03")) is Fault.RECORD_MISSING
    assert settle(temperature, sent("02 DA 40 F4 01")) is Fault.RECORD_MISSING
    assert key_of(Selector(vib=bytes.fromhex("DA 41")), sent("01 DA 41 03")) == "01DA41"


def test_a_record_that_there_is_not_is_said() -> None:
    assert settle(Selector(quantity=Quantity.POWER), VOLUMES) is Fault.RECORD_MISSING


def test_several_that_fit_are_nobodys_guess() -> None:
    twice = sent("02 FD 48 E6 00   02 FD 48 E7 00")
    assert settle(VOLTAGE, twice) is Fault.AMBIGUOUS
    assert key_of(Selector(quantity=Quantity.VOLTAGE, ordinal=2), twice) == "02FD48#2"
    third = Selector(quantity=Quantity.VOLTAGE, ordinal=3)
    assert settle(third, twice) is Fault.RECORD_MISSING


def test_bytes_name_what_no_words_describe() -> None:
    odd = sent("02 FF 68 05 00   02 FF 69 06 00")
    assert key_of(Selector(vib=bytes.fromhex("FF 69")), odd) == "02FF69"


def test_a_key_names_one_record_outright() -> None:
    twice = sent("02 FD 48 E6 00   02 FD 48 E7 00")
    assert settle(Selector(key="02FD48"), twice) == Settled("02FD48", 2)
    assert settle(Selector(key="02FD48#2"), twice) == Settled("02FD48#2", 2)
    assert settle(Selector(key="02FD48#3"), twice) is Fault.RECORD_MISSING


# Once settled


def test_a_settled_point_is_not_put_in_doubt_by_a_record_that_comes_later() -> None:
    before = settled(ENERGY, sent("0C 06 78 56 34 12"))
    later = sent("04 06 01 00 00 00   0C 06 79 56 34 12")
    assert settle(ENERGY, later) is Fault.AMBIGUOUS
    assert hold(before, ENERGY, later) == Settled("0C06", 1, frozenset({"0406"}))


@pytest.mark.parametrize(
    ("later", "key"),
    [
        ("0C 07 67 45 23 01", "0C07"),  # another range
        ("0E 06 78 56 34 12 00 00", "0E06"),  # another data field
    ],
)
def test_a_meter_that_changes_its_range_is_followed(later: str, key: str) -> None:
    before = settled(ENERGY, sent("0C 06 78 56 34 12   04 13 01 00 00 00"))
    assert hold(before, ENERGY, sent(f"04 13 01 00 00 00   {later}")) == Settled(key)


def test_a_range_may_change_to_and_fro() -> None:
    first = settled(ENERGY, sent("0C 06 78 56 34 12"))
    second = hold(first, ENERGY, sent("0C 07 67 45 23 01"))
    assert isinstance(second, Settled)
    assert hold(second, ENERGY, sent("0C 06 78 56 34 12")) == first


def test_a_record_that_was_sent_beside_the_old_one_is_another_one() -> None:
    first = settled(ENERGY, sent("0C 06 78 56 34 12"))
    both = hold(first, ENERGY, sent("0C 06 78 56 34 12   04 06 01 00 00 00"))
    assert isinstance(both, Settled)
    assert hold(both, ENERGY, sent("04 06 01 00 00 00")) is Fault.RECORD_MISSING
    # What is new may be it all the same.
    moved = hold(both, ENERGY, sent("04 06 01 00 00 00   0C 07 67 45 23 01"))
    assert moved == Settled("0C07", 1, frozenset({"0406"}))


def test_where_several_new_ones_could_be_it_nobody_guesses() -> None:
    first = settled(ENERGY, sent("0C 06 78 56 34 12"))
    outcome = hold(first, ENERGY, sent("0C 07 67 45 23 01   04 06 01 00 00 00"))
    assert outcome is Fault.AMBIGUOUS


def test_a_record_that_does_not_say_the_same_is_no_substitute() -> None:
    first = settled(ENERGY, sent("0C 06 78 56 34 12"))
    assert hold(first, ENERGY, sent("4C 06 01 00 00 00")) is Fault.RECORD_MISSING


@pytest.mark.parametrize("now", ["02 FD 48 E6 00", " 02 FD 48 E6 00" * 3])
@pytest.mark.parametrize("ordinal", [1, 2])
def test_of_equal_records_none_may_go_or_come(ordinal: int, now: str) -> None:
    selector = Selector(quantity=Quantity.VOLTAGE, ordinal=ordinal)
    before = settled(selector, sent("02 FD 48 E6 00   02 FD 48 E7 00"))
    assert hold(before, selector, sent(now)) is Fault.AMBIGUOUS


def test_equal_records_change_their_range_together() -> None:
    selector = Selector(quantity=Quantity.VOLTAGE, ordinal=2)
    before = settled(selector, sent("02 FD 48 E6 00   02 FD 48 E7 00"))
    tens = "02 FD 49 17 00"
    assert hold(before, selector, sent(f"{tens} {tens}")) == Settled("02FD49#2", 2)
    assert hold(before, selector, sent(tens)) is Fault.AMBIGUOUS


def test_a_key_that_the_user_wrote_is_never_another_one() -> None:
    selector = Selector(key="0C06")
    before = settled(selector, sent("0C 06 78 56 34 12"))
    assert hold(before, selector, sent("0C 07 67 45 23 01")) is Fault.RECORD_MISSING
    assert hold(before, selector, sent("0C 06 01 00 00 00" * 2)) is Fault.AMBIGUOUS


# Points that are found


def found(records: list[Known], *, all_storages: bool = False) -> list[Found]:
    return find(records, all_storages=all_storages)


def test_found_points_are_named_by_what_they_say_and_never_by_their_place() -> None:
    telegram = sent("0C 06 78 56 34 12   1B 2B 00 21 00   8C 10 06 01 00 00 00   02 FD 48 E6 00")
    names = [each.name for each in found(telegram, all_storages=True)]
    assert names == ["energy", "power-maximum", "energy-tariff-1", "voltage"]
    assert {each.name for each in found(telegram[::-1], all_storages=True)} == set(names)


def test_what_belongs_to_the_past_is_found_only_when_asked_for() -> None:
    assert [each.name for each in found(VOLUMES)] == ["volume", "volume-backward"]
    assert len(found(VOLUMES, all_storages=True)) == 3


def test_equal_records_are_told_apart_by_their_count_or_not_at_all() -> None:
    twice = sent("02 FD 48 E6 00   02 FD 48 E7 00")
    one, other = found(twice)
    assert (one.name, other.name) == ("voltage", "voltage-2")
    assert (one.settled.key, other.settled.key) == ("02FD48", "02FD48#2")
    # One is gone now. Whose is the other?
    for each in (one, other):
        assert hold(each.settled, each.selector, twice[:1]) is Fault.AMBIGUOUS


def test_records_that_differ_in_their_bytes_are_told_apart_whatever_their_order() -> None:
    one, other = found(sent("04 13 01 00 00 00   0C 16 00 05 00 00"))
    assert (one.name, other.name) == ("volume", "volume-2")
    cubic_metres_first = sent("0C 16 00 05 00 00   04 13 01 00 00 00")
    assert hold(one.settled, one.selector, cubic_metres_first) == one.settled
    assert hold(other.settled, other.selector, cubic_metres_first) == other.settled
    alone = cubic_metres_first[:1]
    assert hold(one.settled, one.selector, alone) is Fault.RECORD_MISSING
    assert hold(other.settled, other.selector, alone) == other.settled


def test_a_record_that_comes_in_between_gets_a_name_of_its_own_and_moves_nobody() -> None:
    known = found(sent("02 FD 48 E6 00   04 13 01 00 00 00"))
    after = sent("0C 16 00 05 00 00   02 FD 48 E6 00   04 13 01 00 00 00")
    claimed = set().union(*(claimed_by(each.settled, each.selector, after) for each in known))
    assert claimed == {"02FD48", "0413"}
    new = find(after, [each.name for each in known], claimed, all_storages=False)
    assert [(each.name, each.settled.key) for each in new] == [("volume-2", "0C16")]


def test_what_is_left_of_equal_records_is_no_new_point() -> None:
    twice = sent("02 FD 48 E6 00   02 FD 48 E7 00")
    for each in found(twice):
        assert claimed_by(each.settled, each.selector, twice[:1]) == {"02FD48"}


def test_every_found_point_finds_its_own_record_again() -> None:
    everything = sent(
        "0C 78 05 76 00 21   04 6D 05 0E 49 33   42 6C 3F 3C   0C 06 78 56 34 12"
        " 02 FD 48 E6 00   02 FD 48 E7 00   84 40 14 00 01 00 00   3B 3B 12 00 00"
    )
    points = found(everything, all_storages=True)
    assert len(points) == len(everything)
    for each in points:
        assert hold(each.settled, each.selector, everything) == each.settled
        assert each.settled.key == each.known.key


def test_dates_are_dates() -> None:
    points = found(sent("04 6D 05 0E 49 33   02 6C 3F 3C"))
    assert [(each.name, each.known.kind) for each in points] == [
        ("date-time", Kind.DATE_TIME),
        ("date", Kind.DATE),
    ]


def test_secrets_and_what_means_nothing_are_not_offered() -> None:
    # A password (FD 16), a manufacturer's own VIF, and a VIFE that makes the data its maker's.
    assert found(sent("04 FD 16 D2 04 00 00   02 FF 68 05 00"), all_storages=True) == []


def test_a_function_is_part_of_the_name() -> None:
    points = found(sent("2B 2B 01 00 00   3B 2B 01 00 00"), all_storages=True)
    assert [each.name for each in points] == ["power-minimum", "power-in-error"]
    assert points[0].selector.function is Function.MINIMUM


def test_a_meters_own_words_name_a_point() -> None:
    # Plain text "cust. ID", reversed on the wire.
    points = found(sent("0D 7C 08 44 49 20 2E 74 73 75 63 02 42 41"))
    assert [(each.name, each.known.kind) for each in points] == [("cust-id", Kind.TEXT)]


def test_the_same_selector_is_the_same_text() -> None:
    assert Selector(quantity=Quantity.ENERGY).to_json() == '{"quantity": "energy"}'
    assert Selector(vib=b"\xfd\x48", storage=1).to_json() == '{"storage": 1, "vib": "fd48"}'
    assert Selector(quantity=Quantity.ENERGY, storage=0) == ENERGY
