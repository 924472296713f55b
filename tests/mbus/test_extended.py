"""The extended link layer, which radio puts before a telegram."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.crc import checksum
from bridge.mbus.errors import TelegramError
from bridge.mbus.extended import Extended, decode_extended
from bridge.mbus.frame import LongFrame
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram, decode_telegram

WATER = bytes.fromhex("72 67452361 7452 08 07 31 18 0000 0C 13 56 34 12 00")
SHORT = bytes.fromhex("20 31")  # communication control, access number
OTHER_END = bytes.fromhex("7452 12345678 01 31")


def telegram(ci: int, data: bytes, key: bytes | None = None) -> Telegram:
    return decode_telegram(LongFrame(0x08, 1, ci, data), key)


def secured(before: bytes, content: bytes, session: str = "11 22 33 04") -> bytes:
    return before + bytes.fromhex(session) + checksum(content).to_bytes(2, "little") + content


@pytest.mark.parametrize(
    ("ci", "data"),
    [
        (0x8C, SHORT + WATER),
        (0x8D, secured(SHORT, WATER)),
        (0x8E, SHORT + OTHER_END + WATER),
        (0x8F, secured(SHORT + OTHER_END, WATER)),
    ],
)
def test_an_extended_link_layer_is_skipped(ci: int, data: bytes) -> None:
    decoded = telegram(ci, data)
    plain = telegram(0x72, WATER[1:])
    assert decoded == plain
    assert [str(record.value) for record in decoded.records] == ["123.456"]


def test_its_checksum_must_fit() -> None:
    # The checksum of the whole content, least significant byte first.
    good = bytes.fromhex("20 31 11 22 33 04 F7 F0 78 01 13 07")
    assert len(telegram(0x8D, good).records) == 1
    bad = good[:-1] + b"\x08"
    decoded = telegram(0x8D, bad)
    assert decoded.records == ()
    assert decoded.unreadable
    (error,) = decoded.errors
    assert error.reason == "the checksum of the extended link layer does not fit"
    assert error.data == bad


@pytest.mark.parametrize(
    ("session", "method"),
    [
        ("11 22 33 24", "AES-128-CTR"),
        ("11 22 33 44", "reserved method 2"),
        ("11 22 33 E4", "reserved method 7"),
    ],
)
def test_what_it_has_encrypted_is_not_read(session: str, method: str) -> None:
    for ci, before in ((0x8D, SHORT), (0x8F, SHORT + OTHER_END)):
        data = secured(before, WATER, session)
        decoded = telegram(ci, data, bytes(16))
        assert (decoded.security, len(decoded.records)) == (Security.UNSUPPORTED, 0)
        assert decoded.encryption == f"extended link layer, {method}"
        assert decoded.ci == ci
        (error,) = decoded.errors
        assert error.reason == "encrypted by the extended link layer, which is not supported"
        assert error.data == data


def test_an_authentication_layer_may_stand_behind_it() -> None:
    # CEN/TR 17167:2018, F.3, with an extended link layer before its AFL.
    afl = bytes.fromhex(
        "90 0F002C25B30A0000AF5D74DF73A600D9 72785634129315330375002007109058475F4BC91DF878B80A"
        "1B0F98B629024AAC727942BFC549233C0140829B93"
    )
    decoded = telegram(0x8C, SHORT + afl, bytes(range(16)))
    assert decoded.security is Security.DECRYPTED
    assert decoded.message_counter == 0xAB3
    assert [str(record.value) for record in decoded.records] == [
        *("28504.27", "2008-05-31 23:50:00", "0"),
    ]


def test_a_layer_too_many_is_named_and_not_decoded() -> None:
    decoded = telegram(0x8C, SHORT + b"\x8c" + SHORT + WATER)
    assert [error.reason for error in decoded.errors] == [
        "CI 8C (extended link layer) is not decoded"
    ]
    afl = bytes.fromhex("90 02 00 00")
    decoded = telegram(0x8C, SHORT + afl + afl + WATER)
    assert [error.reason for error in decoded.errors] == [
        "CI 90 (authentication and fragmentation layer) is not decoded"
    ]


@pytest.mark.parametrize(("ci", "length"), [(0x8C, 2), (0x8D, 8), (0x8E, 10), (0x8F, 16)])
def test_a_frame_that_ends_within_it_is_an_error(ci: int, length: int) -> None:
    for size in range(length + 1):
        with pytest.raises(TelegramError, match="ends within its extended link layer"):
            decode_extended(ci, bytes(size))
    assert decode_extended(ci, bytes(length) + b"\x78").content == b"\x78"


@given(st.sampled_from([0x8C, 0x8D, 0x8E, 0x8F]), st.binary(min_size=1, max_size=60))
def test_whatever_it_carries_comes_back(ci: int, content: bytes) -> None:
    before = SHORT if ci < 0x8E else SHORT + OTHER_END
    data = secured(before, content) if ci in (0x8D, 0x8F) else before + content
    assert decode_extended(ci, data) == Extended("none", True, content)
