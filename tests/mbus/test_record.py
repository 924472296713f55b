from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.mbus.walk import decode_records


def test_a_record_keeps_its_bytes_and_has_a_key() -> None:
    records = decode_records(bytes.fromhex("0C 06 27 04 85 02 04 13 01 00 00 00")).records
    assert [(r.dib, r.vib, r.data) for r in records] == [
        (b"\x0c", b"\x06", bytes.fromhex("27 04 85 02")),
        (b"\x04", b"\x13", bytes.fromhex("01 00 00 00")),
    ]
    assert [record.key for record in records] == ["0C06", "0413"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("0C 78 07 20 18 00", "00182007"),
        ("0E FD 10 01 00 00 00 00 00", "000000000001"),
        ("0D 78 C4 07 20 18 00", "00182007"),
        ("04 78 07 00 00 00", "7"),  # a binary one has no zeros to lose
        ("0D FD 11 05 4F 4C 4C 45 48", "HELLO"),
        ("07 79 78 56 34 12 2D 2C 1B 04", "12345678-KAM-1B-04"),
        ("0C 06 07 20 18 00", None),  # a measured value has no leading zeros
        ("0C 78 DD DD DD DD", None),
        ("02 6C 3F 3C", None),
    ],
)
def test_what_names_something_keeps_its_leading_zeros(content: str, text: str | None) -> None:
    (record,) = decode_records(bytes.fromhex(content)).records
    assert record.text == text


@pytest.mark.parametrize(
    ("content", "summer_time"),
    [
        ("04 6D 05 0E 49 33", False),
        ("04 6D 05 8E 49 33", True),
        ("06 6D 1E 05 2E 49 33 0B", False),
        ("06 6D 5E 05 2E 49 33 0B", True),
        ("02 6C 3F 3C", None),
        ("03 6D 1E 05 0E", None),
        ("04 6D 85 8E 49 33", None),  # marked invalid
        ("04 13 05 8E 49 33", None),
    ],
)
def test_a_date_and_time_says_whether_its_clock_shows_summer_time(
    content: str, summer_time: bool | None
) -> None:
    (record,) = decode_records(bytes.fromhex(content)).records
    assert record.summer_time is summer_time


def test_the_step_of_a_record_is_known_without_its_value() -> None:
    (record,) = decode_records(bytes.fromhex("0C 14 DD DD DD DD")).records
    assert record.value is None
    assert record.step == Decimal("0.01")
