from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.address import (
    SecondaryAddress,
    decode_manufacturer,
    decode_secondary,
    encode_manufacturer,
    encode_secondary,
    encode_selection,
    manufacturer_name,
    parse_address,
    parse_secondary,
)
from bridge.mbus.errors import AddressError

METER = SecondaryAddress("61234567", "TST", 8, 4)


def test_a_secondary_address_goes_over_the_wire_as_in_a_selection() -> None:
    data = bytes.fromhex("67 45 23 61 74 52 08 04")
    assert encode_secondary(METER) == data
    assert decode_secondary(data) == METER
    assert str(METER) == "61234567-TST-08-04"


def test_wildcards_go_over_the_wire_as_ones() -> None:
    mask = SecondaryAddress("6FFFFFFF")
    data = bytes.fromhex("FF FF FF 6F FF FF FF FF")
    assert encode_secondary(mask) == data
    assert decode_secondary(data) == mask
    assert str(mask) == "6FFFFFFF"


@given(st.binary(min_size=8, max_size=8))
def test_any_eight_bytes_are_an_address_and_go_out_as_they_came_in(data: bytes) -> None:
    address = decode_secondary(data)
    assert encode_secondary(address) == data
    assert parse_secondary(str(address)) == address


@pytest.mark.parametrize(
    ("word", "letters"),
    [(0x2C2D, "KAM"), (0x0421, "AAA"), (0x6B5A, "ZZZ"), (0x5274, "TST")],
)
def test_a_manufacturer_has_three_letters(word: int, letters: str) -> None:
    assert decode_manufacturer(word) == letters
    assert encode_manufacturer(letters) == word


def test_a_word_without_letters_stays_four_hex_digits() -> None:
    assert decode_manufacturer(0x0000) == "0000"
    assert encode_manufacturer("0000") == 0
    assert manufacturer_name("0000") == "0000"


def test_a_not_unique_address_keeps_its_bit_and_has_the_same_name() -> None:
    assert decode_manufacturer(0xAC2D) == "AC2D"
    assert encode_manufacturer("AC2D") == 0xAC2D
    assert manufacturer_name("AC2D") == "KAM"


@pytest.mark.parametrize(
    "mask",
    ["61234567", "6F234F67", "FFFFFFFF", "61234567-TST-FF-FF", "61234567-FFF-08-04"],
)
def test_a_mask_matches_the_meter_it_is_made_for(mask: str) -> None:
    assert parse_secondary(mask).is_wildcard
    assert parse_secondary(mask).matches(METER)


@pytest.mark.parametrize(
    "mask",
    ["61234568", "7FFFFFFF", "61234567-KAM-FF-FF", "61234567-TST-09-04", "61234567-TST-08-06"],
)
def test_a_mask_does_not_match_another_meter(mask: str) -> None:
    assert not parse_secondary(mask).matches(METER)


def test_a_full_address_is_no_wildcard_and_matches_itself_only() -> None:
    assert not METER.is_wildcard
    assert METER.matches(METER)
    assert not METER.matches(SecondaryAddress("61234567", "TST", 8, None))


def test_numbers_are_primary_and_eight_digits_secondary_addresses() -> None:
    assert parse_address("0") == 0
    assert parse_address(" 250 ") == 250
    assert parse_address("12345678") == SecondaryAddress("12345678")
    assert parse_address("12345678-kam-1b-04") == SecondaryAddress("12345678", "KAM", 0x1B, 4)
    assert parse_address("12345678-FFF-FF-04") == SecondaryAddress("12345678", device_type=4)


@pytest.mark.parametrize(
    "text",
    ["", "251", "999", "-1", "1234", "123456789", "1234567G", "12345678-KAM", "12345678-KA-1B-04",
     "12345678-KAM-1-04", "12345678-KAM-1B-04-", "٣"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_right_forms(text: str) -> None:
    with pytest.raises(AddressError, match="12345678-KAM-1B-04"):
        parse_address(text)


@pytest.mark.parametrize(
    ("identification", "manufacturer", "version"),
    [("1234567", "KAM", 1), ("12345678", "kam", 1), ("12345678", "KAM", 255)],
)
def test_an_address_that_cannot_be_is_never_built(
    identification: str, manufacturer: str, version: int
) -> None:
    with pytest.raises(AddressError):
        SecondaryAddress(identification, manufacturer, version)


def test_a_manufacturer_of_another_form_is_refused() -> None:
    with pytest.raises(AddressError, match="3 capital letters"):
        encode_manufacturer("KA")


def test_an_address_has_eight_bytes() -> None:
    with pytest.raises(AddressError, match="not 7"):
        decode_secondary(bytes(7))


def test_an_enhanced_selection_adds_the_fabrication_number() -> None:
    mask = parse_secondary("12345678-KAM-1B-04")
    assert encode_selection(mask) == bytes.fromhex("78 56 34 12 2D 2C 1B 04")
    assert encode_selection(mask, "6123456F") == bytes.fromhex(
        "78 56 34 12 2D 2C 1B 04 0C 78 6F 45 23 61"
    )


@pytest.mark.parametrize("number", ["1234567", "123456789", "1234567X", ""])
def test_a_fabrication_number_has_eight_digits(number: str) -> None:
    with pytest.raises(AddressError, match="is no fabrication number: it has 8 digits"):
        encode_selection(SecondaryAddress("FFFFFFFF"), number)
