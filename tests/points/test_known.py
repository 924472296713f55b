from __future__ import annotations

import pytest

from bridge.mbus.fixed import decode_fixed
from bridge.mbus.walk import decode_records
from bridge.points.known import (
    Known,
    block_of,
    bytes_of,
    from_json,
    imagine,
    kind_of,
    known_records,
    ordinal_of,
    split_block,
    to_json,
)
from bridge.points.reading import Fault, Kind
from bridge.points.select import Selector, Settled, hold, settle
from bridge.units import Quantity, Unit


def sent(*telegrams: str) -> list[Known]:
    """The records of one answer, of however many telegrams."""
    return known_records(
        record for text in telegrams for record in decode_records(bytes.fromhex(text)).records
    )


def keys(known: list[Known]) -> list[str]:
    return [each.key for each in known]


def test_a_key_counts_on_over_the_telegrams_of_one_answer() -> None:
    first = "0C 78 05 76 00 21   02 FD 48 E6 00"
    second = "0C 78 05 76 00 21   02 FD 48 E7 00   02 FD 48 E8 00"
    assert keys(sent(first, second)) == [
        "0C78",
        "02FD48",
        "0C78#2",
        "02FD48#2",
        "02FD48#3",
    ]


def test_a_key_comes_apart_into_its_parts() -> None:
    assert (block_of("02FD48#12"), ordinal_of("02FD48#12")) == ("02FD48", 12)
    assert (block_of("02FD48"), ordinal_of("02FD48")) == ("02FD48", 1)
    assert (block_of("E9/1#2"), ordinal_of("E9/1#2")) == ("E9/1", 2)
    assert bytes_of("02FD48#12") == b"\x02\xfd\x48"
    assert bytes_of("E9/1#2") == bytes_of("E9") == b"\xe9"
    assert split_block(bytes.fromhex("8C 90 10 FD 48")) == (b"\x8c\x90\x10", b"\xfd\x48")


def test_what_a_meter_sends_is_kept_word_for_word() -> None:
    known = sent(
        "0C 06 78 56 34 12   94 10 93 3C 01 00 00 00   04 6D 05 0E 49 33"
        " 0D 7C 08 44 49 20 2E 74 73 75 63 02 42 41   02 FD 48 E6 00   02 FD 48 E7 00"
    )
    assert from_json(to_json(known)) == known


def test_what_another_version_called_otherwise_is_left_out() -> None:
    text = to_json(sent("0C 06 78 56 34 12   04 13 01 00 00 00"))
    assert keys(from_json(text.replace('"energy"', '"enthalpy"'))) == ["0413"]


@pytest.mark.parametrize(
    ("block", "quantity", "unit", "kind"),
    [
        ("0C06", Quantity.ENERGY, Unit.WATT_HOUR, Kind.NUMBER),
        ("046D", Quantity.DATE_TIME, Unit.NONE, Kind.DATE_TIME),
        ("426C", Quantity.DATE, Unit.NONE, Kind.DATE),
        ("036D", Quantity.DATE_TIME, Unit.NONE, Kind.TIME),
        ("0C78", Quantity.FABRICATION_NUMBER, Unit.NONE, Kind.TEXT),
        ("0DFD11", Quantity.CUSTOMER, Unit.NONE, Kind.TEXT),
    ],
)
def test_dib_and_vib_tell_what_a_record_will_be(
    block: str, quantity: Quantity, unit: Unit, kind: Kind
) -> None:
    record = imagine(bytes.fromhex(block))
    assert record is not None
    assert (record.quantity, record.unit, kind_of(record)) == (quantity, unit, kind)


@pytest.mark.parametrize("block", ["0F", "0C", "0C86", "0C0601"])
def test_bytes_that_head_no_record_are_none(block: str) -> None:
    assert imagine(bytes.fromhex(block)) is None


def test_a_counter_of_the_fixed_structure_that_becomes_a_stored_one_is_no_longer_it() -> None:
    # Identification, access number, status, medium and units (litres), two counters.
    now = "78 56 34 12   0A 00   E9 7E   01 00 00 00   35 01 00 00"
    volume = Selector(quantity=Quantity.VOLUME)
    counters = known_records(decode_fixed(bytes.fromhex(now))[1])
    first = settle(volume, counters)
    assert isinstance(first, Settled)
    assert first.key == "E9"
    stored = known_records(decode_fixed(bytes.fromhex(now.replace("0A 00", "0A 02")))[1])
    assert (keys(counters), keys(stored)) == (["E9", "7E/1"], ["E9/1", "7E/1"])
    assert hold(first, volume, stored) is Fault.RECORD_MISSING
    by_key = Selector(key="E9")
    named = settle(by_key, counters)
    assert named == Settled("E9")
    assert hold(named, by_key, stored) is Fault.RECORD_MISSING
    assert settle(Selector(key="E9/1"), stored) == Settled("E9/1")
    assert [(known.dib, known.vib) for known in stored] == [(b"", b"\xe9"), (b"", b"\x7e")]
