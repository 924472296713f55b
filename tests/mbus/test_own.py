"""What a maker's own codes in a record mean."""

from __future__ import annotations

from decimal import Decimal

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.frame import LongFrame
from bridge.mbus.own import own_meaning, without_false_values
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import decode_telegram
from bridge.mbus.walk import decode_records

# ABB's B series: behind its own VIFEs stands a record error, 15 for "no data available".
B23 = SecondaryAddress("12345678", "ABB", 0x20, 0x02)
HEADER = bytes.fromhex("78 56 34 12 42 04 20 02 05 00 00 00")
MULTICAL = SecondaryAddress("12345678", "KAM", 0x34, 0x04)


def records_of(content: str, header: bytes = HEADER) -> list[DataRecord]:
    telegram = decode_telegram(LongFrame(0x08, 5, 0x72, header + bytes.fromhex(content)))
    assert telegram.errors == ()
    return list(telegram.records)


def test_a_makers_record_error_leaves_no_value() -> None:
    # Power of L2 of a meter with one phase, and a frequency that was not measured.
    power, frequency = records_of("04 A9 FF 82 15 00 00 00 00  02 FF D9 15 00 00")
    assert (power.value, power.invalid) == (None, "no data available")
    assert (frequency.value, frequency.invalid) == (None, "no data available")
    assert power.data == bytes(4)


def test_a_makers_code_without_an_error_leaves_the_value() -> None:
    power, frequency = records_of("04 A9 FF 82 00 10 27 00 00  02 FF D9 00 8C 13")
    assert (power.value, power.invalid) == (Decimal("100.00"), None)
    assert frequency.value == 5004


def test_the_same_bytes_of_another_maker_are_a_number() -> None:
    other = HEADER[:4] + bytes.fromhex("2D 2C") + HEADER[6:]
    (record,) = records_of("04 A9 FF 82 15 00 00 00 00", other)
    assert (record.value, record.invalid) == (Decimal(0), None)


def test_the_error_counts_again_when_the_layout_is_remembered() -> None:
    for number in range(5):
        (power,) = records_of(f"04 A9 FF 82 15 0{number} 00 00 00")
        assert (power.value, power.invalid) == (None, "no data available")


def test_records_without_own_codes_are_the_same_ones() -> None:
    found = decode_records(bytes.fromhex("04 13 01 00 00 00"))
    assert not found.own_codes
    assert without_false_values(found, B23) is found


def test_flags_are_named_whatever_number_their_pattern_would_be() -> None:
    # Kamstrup's information code, FF 22: in 32 bits the lowest integer, so no value by the book.
    (lowest,) = decode_records(bytes.fromhex("04 FF 22 00 00 00 80")).records
    assert (lowest.value, lowest.invalid) == (None, "lowest integer")
    (one,) = decode_records(bytes.fromhex("04 FF 22 01 00 00 80")).records
    few = own_meaning(lowest, MULTICAL)
    more = own_meaning(one, MULTICAL)
    assert few is not None
    assert more is not None
    assert len(more.modifiers) >= len(few.modifiers)
    assert set(few.modifiers) < set(more.modifiers)


def test_a_meter_without_an_address_has_no_own_codes_that_are_known() -> None:
    (record,) = decode_records(bytes.fromhex("02 FF D9 15 00 00")).records
    assert own_meaning(record, None) is None
