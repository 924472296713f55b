from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.crc import checksum


@pytest.mark.parametrize(
    ("text", "crc"),
    [("", 0xFFFF), ("31 32 33 34 35 36 37 38 39", 0xC2B7), ("02 02 02 15 02 2A", 0x3B31)],
)
def test_the_checksum_is_the_crc_of_the_standard(text: str, crc: int) -> None:
    assert checksum(bytes.fromhex(text)) == crc


@given(st.binary(max_size=80))
def test_the_table_of_the_checksum_does_what_its_polynomial_does(data: bytes) -> None:
    register = int.from_bytes(data + b"\0\0")
    for bit in range(8 * len(data) + 15, 15, -1):
        if register >> bit & 1:
            register ^= 0x13D65 << bit - 16
    assert checksum(data) == register ^ 0xFFFF
