"""Compact and format frames. The first bytes are the example of EN 13757-3, annex G."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.address import SecondaryAddress, encode_secondary
from bridge.mbus.compact import (
    CompactError,
    Format,
    Formats,
    decode_format,
    encode_compact,
    encode_format,
    expand,
)
from bridge.mbus.crc import checksum
from bridge.mbus.dif import DataField
from bridge.mbus.encode import encode_record
from bridge.mbus.errors import EncodeError
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.security import Security, configuration_mode_5, encrypt_mode_5
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.walk import decode_records

FULL = bytes.fromhex("02 02 D2 04 02 15 2E 16 02 2A 34 23")
FORMAT = bytes.fromhex("08 31 3B 02 02 02 15 02 2A")
COMPACT = bytes.fromhex("31 3B 42 A6 D2 04 2E 16 34 23")
VALUES = [Decimal("123.4"), Decimal("567.8"), Decimal("901.2")]
METER = SecondaryAddress("51000902", "TST", 0x21, 4)
KEY = bytes.fromhex("00112233445566778899AABBCCDDEEFF")


def telegram(ci: int, data: bytes, formats: Formats | None = None) -> Telegram:
    return decode_telegram(LongFrame(0x08, 1, ci, data), formats=formats)


def values(decoded: Telegram) -> list[object]:
    return [record.value for record in decoded.records]


def reasons(decoded: Telegram) -> list[str]:
    return [error.reason for error in decoded.errors]


def test_after_its_format_frame_a_compact_frame_can_be_read() -> None:
    formats = Formats()
    told = telegram(0x69, FORMAT, formats)
    assert told.format == Format(0x3B31, (b"\x02\x02", b"\x02\x15", b"\x02\x2a"))
    assert str(told.format) == "3B31"
    assert (len(told.records), told.errors, told.unreadable) == (0, (), False)
    compact = telegram(0x79, COMPACT, formats)
    assert values(compact) == VALUES
    assert [record.key for record in compact.records] == ["0202", "0215", "022A"]
    assert compact.errors == ()


def test_after_a_full_frame_a_compact_frame_can_be_read() -> None:
    formats = Formats()
    full = telegram(0x78, FULL, formats)
    compact = telegram(0x79, COMPACT, formats)
    assert compact.records == full.records
    assert values(compact) == VALUES


def test_a_compact_frame_of_another_moment_has_its_own_values() -> None:
    formats = Formats()
    telegram(0x78, FULL, formats)
    later = bytes.fromhex("02 02 D3 04 02 15 2F 16 02 2A 00 80")
    decoded = telegram(0x79, encode_compact(decode_records(later)), formats)
    assert values(decoded) == [Decimal("123.5"), Decimal("567.9"), None]
    assert decoded.records[2].invalid == "lowest integer"


@pytest.mark.parametrize("formats", [None, Formats()])
def test_a_format_that_is_not_known_is_said_and_no_value_is_invented(
    formats: Formats | None,
) -> None:
    decoded = telegram(0x79, COMPACT, formats)
    assert decoded.records == ()
    assert decoded.unreadable
    assert reasons(decoded) == [
        "compact frame of format 3B31, which is not known yet: "
        "no full frame and no format frame has told it"
    ]
    assert decoded.errors[0].data == COMPACT


def test_a_wrong_checksum_of_the_full_frame_costs_all_values() -> None:
    formats = Formats()
    telegram(0x69, FORMAT, formats)
    damaged = bytearray(COMPACT)
    damaged[4] ^= 1
    decoded = telegram(0x79, bytes(damaged), formats)
    assert decoded.records == ()
    assert decoded.unreadable
    assert reasons(decoded) == [
        "compact frame of format 3B31: checksum A642, but the full frame gives 9DD1"
    ]
    assert decoded.errors[0].data == bytes(damaged)


@pytest.mark.parametrize("data", [COMPACT[:-1], COMPACT + b"\x00", COMPACT[:4]])
def test_data_that_do_not_fit_their_format_are_not_read(data: bytes) -> None:
    formats = Formats()
    telegram(0x69, FORMAT, formats)
    decoded = telegram(0x79, data, formats)
    assert decoded.records == ()
    assert reasons(decoded) == ["compact frame of format 3B31, which its data do not fit"]


def test_fillers_behind_the_data_are_no_data() -> None:
    formats = Formats()
    telegram(0x69, FORMAT + b"\x2f\x2f", formats)
    assert values(telegram(0x79, COMPACT + b"\x2f\x2f\x2f", formats)) == VALUES


def test_a_compact_frame_that_ends_before_its_data_is_told() -> None:
    assert reasons(telegram(0x79, b"\x31\x3b")) == [
        "a compact frame of 2 bytes, where 4 stand before the data"
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a format frame of 0 bytes ends before its list does"),
        ("08 31 3B 02 02 02 15 02", "a format frame of 8 bytes ends before its list does"),
        ("01 31 3B", "a format frame of 3 bytes ends before its list does"),
        ("08 31 3B 02 02 02 15 02 2A 00", "1 bytes behind the list of a format frame"),
        ("08 32 3B 02 02 02 15 02 2A", "format frame of format 3B32, but its list is 3B31"),
        ("08 31 3B 02 02 02 15 02 2B", "format frame of format 3B31, but its list is 0654"),
    ],
)
def test_a_format_frame_that_contradicts_itself_is_not_believed(text: str, reason: str) -> None:
    formats = Formats()
    decoded = telegram(0x69, bytes.fromhex(text), formats)
    assert decoded.format is None
    assert decoded.unreadable
    assert reasons(decoded) == [reason]
    assert len(formats) == 0


@pytest.mark.parametrize("block", ["02", "82", "02 95", "3F 13", "0F 02 13", "0C 7C 03 41", "8C"])
def test_a_list_that_is_none_of_dibs_and_vibs_is_refused(block: str) -> None:
    listed = bytes.fromhex(block)
    data = bytes((len(listed) + 2,)) + checksum(listed).to_bytes(2, "little") + listed
    with pytest.raises(CompactError, match="none of DIBs and VIBs"):
        decode_format(data)


@pytest.mark.parametrize(
    "full",
    [
        "04 7C 03 48 52 25 2A 00 00 00",  # a plain-text unit, %RH
        "02 FC 03 48 52 25 74 44 0D",  # the text before the VIFE, as most meters have it
        "02 FC 74 03 48 52 25 44 0D",  # the text behind the VIFE, as the standard has it
        "0D FD 3B 05 01 02 03 04 05 01 13 07",  # variable length, with a record behind it
        "0D 13 C2 34 12 01 13 07",  # BCD of variable length
        "0D 78 C2 44 33 56 34 01 13 07",  # the same with twice the bytes, as some meters have it
        "81 80 40 13 07 8C 80 10 06 00 00 00 00",  # DIFEs
        "04 13 07 00 00 00 0F 01 02 03",  # the manufacturer's data
        "04 13 07 00 00 00 1F",  # more records follow
        "00 13 01 13 07",  # a record without data
    ],
)
def test_every_kind_of_record_comes_back_from_a_compact_frame(full: str) -> None:
    records = decode_records(bytes.fromhex(full))
    assert records.errors == ()
    data = encode_compact(records)
    by_full, by_format = Formats(), Formats()
    by_full.learn_from(records)
    by_format.learn(decode_format(encode_format(records)))
    for formats in (by_full, by_format):
        assert expand(data, formats) == bytes.fromhex(full)
        assert decode_records(expand(data, formats)) == records


def test_the_manufacturers_data_may_be_part_of_the_format_or_not() -> None:
    records = decode_records(bytes.fromhex("01 13 07 0F 55"))
    formats = Formats()
    formats.learn_from(records)
    without = encode_compact(decode_records(bytes.fromhex("01 13 09")))
    assert expand(without, formats) == bytes.fromhex("01 13 09")
    assert expand(encode_compact(records), formats) == bytes.fromhex("01 13 07 0F 55")


def test_a_frame_with_an_error_teaches_no_format() -> None:
    formats = Formats()
    formats.learn_from(decode_records(bytes.fromhex("01 13 07 3F 00")))
    formats.learn_from(decode_records(b""))
    assert len(formats) == 0


def test_a_memory_of_formats_is_bounded_and_forgets_the_one_not_used_for_longest() -> None:
    formats = Formats(most=3)
    frames = [decode_records(bytes((0x01, vif, 0x07))) for vif in range(0x10, 0x14)]
    for records in frames[:3]:
        formats.learn_from(records)
    assert expand(encode_compact(frames[0]), formats)
    for _ in range(5):
        formats.learn_from(frames[3])
    assert len(formats) == 3
    assert [
        bool(formats.find(int.from_bytes(encode_compact(f)[:2], "little"))) for f in frames
    ] == [
        *(True, False, True),
        True,
    ]
    for n in range(200):
        formats.learn_from(decode_records(bytes((0x81, n & 0x7F, 0x10 + n % 8, 0x07))))
    assert len(formats) == 3


def test_compact_and_format_frames_have_headers_too() -> None:
    formats = Formats()
    header = encode_header(METER, 7, 0x10)
    telegram(0x6B, header + FORMAT, formats)
    long = telegram(0x73, header + COMPACT, formats)
    assert long.header is not None
    assert (long.header.address, long.header.status) == (METER, 0x10)
    assert values(long) == VALUES
    short = telegram(0x7B, encode_header(None, 8) + COMPACT, formats)
    assert values(short) == VALUES
    assert telegram(0x6A, encode_header(None, 8) + FORMAT).format == long_format()


def long_format() -> Format:
    return decode_format(FORMAT)


def test_errors_within_a_compact_frame_are_those_of_the_full_one() -> None:
    # Eleven DIFEs: a record that is left out, and an error at byte 3 of the full frame.
    full = bytes.fromhex("01 13 07 81 81 81 81 81 81 81 81 81 81 81 01 13 05")
    formats = Formats()
    heads = (b"\x01\x13", full[3:-1])
    formats.learn(Format(checksum(b"".join(heads)), heads))
    signature = checksum(b"".join(heads)).to_bytes(2, "little")
    data = signature + checksum(full).to_bytes(2, "little") + b"\x07\x05"
    decoded = telegram(0x79, data, formats)
    assert values(decoded) == [Decimal("0.007")]
    (error,) = decoded.errors
    assert (error.offset, error.data) == (3, full[3:])


def test_encrypted_compact_and_format_frames_are_decrypted_first() -> None:
    formats = Formats()
    for ci, content in ((0x6B, FORMAT), (0x73, COMPACT)):
        encrypted = encrypt_mode_5(content, KEY, encode_secondary(METER), 5)
        header = encode_header(METER, 5, 0, configuration_mode_5(encrypted))
        frame = LongFrame(8, 1, ci, header + encrypted)
        locked = decode_telegram(frame, formats=formats)
        assert (locked.security, len(locked.records)) == (Security.NO_KEY, 0)
        decoded = decode_telegram(frame, KEY, formats=formats)
        assert decoded.security is Security.DECRYPTED
        assert decoded.errors == ()
    assert values(decoded) == VALUES


def test_an_encrypted_full_frame_teaches_its_format() -> None:
    formats = Formats()
    encrypted = encrypt_mode_5(FULL, KEY, encode_secondary(METER), 5)
    header = encode_header(METER, 5, 0, configuration_mode_5(encrypted))
    decode_telegram(LongFrame(8, 1, 0x72, header + encrypted), KEY, formats=formats)
    assert values(telegram(0x79, COMPACT, formats)) == VALUES


def test_a_compact_frame_with_junk_for_a_configuration_is_read_where_its_checksum_fits() -> None:
    formats = Formats()
    header = encode_header(METER, configuration=0xB627)
    told = telegram(0x6B, header + FORMAT, formats)
    assert told.format is not None
    assert told.notes == ("configuration field B627, yet not encrypted",)
    assert values(telegram(0x73, header + COMPACT, formats)) == VALUES
    assert telegram(0x73, header + COMPACT).security is Security.UNSUPPORTED


def test_ci_73_with_16_bytes_is_the_fixed_structure_and_else_a_compact_frame() -> None:
    fixed = telegram(0x73, bytes.fromhex("78563412 0A 00 E9 7E 01000000 35010000"))
    assert values(fixed) == [Decimal("0.001"), Decimal("0.135")]
    compact = telegram(0x73, encode_header(METER) + COMPACT)
    assert "compact frame of format 3B31" in reasons(compact)[0]


def test_what_has_no_format_is_refused() -> None:
    with pytest.raises(EncodeError, match="reserved DIF 3F"):
        encode_compact(decode_records(b"\x3f"))
    with pytest.raises(EncodeError, match="254 bytes, where 253 can be told"):
        encode_format(decode_records(bytes.fromhex("01 13 07") * 127))


RECORDS = st.lists(
    st.one_of(
        st.builds(
            lambda vif, number, storage: encode_record(
                bytes((vif,)), Decimal(number) / 1000, DataField.INT32, storage=storage
            ),
            st.just(0x13),
            st.integers(-(2**31) + 1, 2**31 - 1),
            st.integers(0, 1000),
        ),
        st.builds(
            lambda text: encode_record(b"\xfd\x0c", text, DataField.VARIABLE),
            st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
        ),
        st.builds(lambda data: bytes((0x0A, 0x5A)) + data, st.binary(min_size=2, max_size=2)),
    ),
    min_size=1,
    max_size=10,
)


@given(RECORDS, st.booleans())
def test_full_frame_to_format_and_compact_frame_and_back(records: list[bytes], full: bool) -> None:
    content = b"".join(records)
    found = decode_records(content)
    formats = Formats()
    if full:
        telegram(0x78, content, formats)
    else:
        assert telegram(0x69, encode_format(found), formats).format is not None
    decoded = telegram(0x79, encode_compact(found), formats)
    assert decoded.errors == ()
    assert decoded.records == found.records


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_random_frames_end_in_a_telegram_and_an_accepted_checksum_is_right(
    told: bytes, data: bytes
) -> None:
    formats = Formats()
    telegram(0x69, FORMAT, formats)
    telegram(0x69, told, formats)
    decoded = telegram(0x79, b"\x31\x3b" + data, formats)
    assert decoded.unreadable == (not decoded.records)
