"""Codes in words."""

from __future__ import annotations

import pytest

from bridge.mbus.words import DEVICE_TYPES, device_type_name, service_of, status_words


def test_device_types_have_words() -> None:
    assert [device_type_name(code) for code in (0x02, 0x04, 0x07, 0x16)] == [
        "electricity",
        "heat",
        "water",
        "cold water",
    ]
    assert device_type_name(0x7E) == "reserved"
    assert all(0 <= code < 255 for code in DEVICE_TYPES)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0x00, []),
        (0x01, ["application busy"]),
        (0x02, ["application error"]),
        (0x03, ["abnormal condition or alarm"]),
        (0x14, ["power low", "temporary error"]),
        (0x88, ["permanent error", "manufacturer's bits 80"]),
    ],
)
def test_the_status_byte_in_words(status: int, words: list[str]) -> None:
    assert status_words(status) == words


def test_the_manufacturers_bits_have_names_where_they_are_known() -> None:
    names = {5: "valve closed", 7: "tamper"}
    assert status_words(0xE4, names) == [
        "power low",
        "valve closed",
        "tamper",
        "manufacturer's bits 40",
    ]
    assert status_words(0x04, names) == ["power low"]


def test_the_status_of_the_fixed_data_structure_has_other_bits() -> None:
    assert status_words(0x07, fixed=True) == [
        "binary counters",
        "stored at a fixed date",
        "power low",
    ]


@pytest.mark.parametrize(
    ("control", "service"),
    [
        (0x40, "SND_NKE"),
        (0x49, "REQ_SKE"),
        (0x5B, "REQ_UD2"),
        (0x7B, "REQ_UD2"),
        (0x5A, "REQ_UD1"),
        (0x7A, "REQ_UD1"),
        (0x60, None),  # the FCB counts only where the FCV says so
        (0x08, None),
    ],
)
def test_a_short_frame_asks_for_a_service(control: int, service: str | None) -> None:
    assert service_of(control) == service
