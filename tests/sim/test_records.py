"""Data records as a meter writes them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from bridge.mbus.errors import EncodeError
from bridge.sim.errors import SimError
from bridge.sim.records import Record, date, date_time, nothing, number, stored, text


@pytest.mark.parametrize(
    ("record", "wire", "value"),
    [
        (number("0C 13", 123.4561, -3), "0C 13 56 34 12 00", Decimal("123.456")),
        (number("04 06", 72150e3, 3), "04 06 D6 19 01 00", Decimal(72150000)),
        (number("0B 3B", -0.012, -3), "0B 3B 12 00 F0", Decimal("-0.012")),
        (number("02 65", -5.12, -2), "02 65 00 FE", Decimal("-5.12")),
        (number("05 3E", 12.75), "05 3E 00 00 4C 41", Decimal("12.75")),
        (number("04 22", 7200, factor=Decimal(3600)), "04 22 02 00 00 00", Decimal(7200)),
        (text("0D 78", "7TST"), "0D 78 04 54 53 54 37", "7TST"),
        (date("42 6C", dt.date(2025, 12, 31)), "42 6C 3F 3C", dt.date(2025, 12, 31)),
        (nothing("42 6C"), "42 6C FF FF", None),
    ],
)
def test_values_become_bytes(record: Record, wire: str, value: object) -> None:
    assert bytes(record) == bytes.fromhex(wire)
    assert record.value == value


def test_a_time_point_is_cut_to_what_its_type_can_say() -> None:
    moment = dt.datetime(2026, 3, 9, 14, 5, 30, 250)
    assert date_time("04 6D", moment).value == dt.datetime(2026, 3, 9, 14, 5)
    # 2E: hour 14, and century bits that say 2000.
    assert bytes(date_time("04 6D", moment)) == bytes.fromhex("04 6D 05 2E 49 33")
    assert date_time("06 6D", moment).value == dt.datetime(2026, 3, 9, 14, 5, 30)
    assert bytes(date_time("06 6D", moment)) == bytes.fromhex("06 6D 1E 05 2E 49 33 0B")


def test_a_full_register_begins_anew() -> None:
    assert number("0C 13", 100_000.001, -3).value == Decimal("0.001")
    assert bytes(number("02 22", 32769)) == bytes.fromhex("02 22 01 00")


def test_what_is_too_far_below_zero_is_refused() -> None:
    with pytest.raises(EncodeError):
        number("0A 65", -1000)


def test_a_text_is_no_number() -> None:
    with pytest.raises(SimError, match="no number has this data field"):
        number("0D 78", 1)


@pytest.mark.parametrize(
    ("storage", "head"), [(0, "0406"), (1, "4406"), (8, "840406"), (9, "c40406"), (33, "c4800106")]
)
def test_the_same_record_for_another_storage_number(storage: int, head: str) -> None:
    assert stored("04 06", storage) == head
