from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.control import HeaderKind
from bridge.mbus.errors import EncodeError
from bridge.mbus.header import Header, decode_header, encode_header

METER = SecondaryAddress("61234567", "TST", 8, 4)


def test_a_long_header_has_twelve_bytes() -> None:
    data = bytes.fromhex("67 45 23 61 74 52 08 04 31 18 20 05")
    header = Header(METER, access_number=0x31, status=0x18, configuration=0x0520)
    assert decode_header(data, HeaderKind.LONG) == header
    assert encode_header(METER, 0x31, 0x18, 0x0520) == data


def test_a_short_header_has_four_bytes_and_no_address() -> None:
    data = bytes.fromhex("31 18 20 05")
    assert decode_header(data, HeaderKind.SHORT) == Header(None, 0x31, 0x18, 0x0520)
    assert encode_header(None, 0x31, 0x18, 0x0520) == data
    assert decode_header(data, HeaderKind.NONE) is None


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535))
def test_every_header_comes_back(access_number: int, status: int, configuration: int) -> None:
    data = encode_header(METER, access_number, status, configuration)
    header = Header(METER, access_number, status, configuration)
    assert decode_header(data, HeaderKind.LONG) == header


def test_a_header_with_numbers_that_do_not_fit_is_refused() -> None:
    with pytest.raises(EncodeError):
        encode_header(METER, access_number=256)
    with pytest.raises(EncodeError):
        encode_header(METER, configuration=65536)
