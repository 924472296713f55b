"""Encrypted telegrams: the examples of OMS Vol. 2 annex N and CEN/TR 17167, and two of our own."""

from __future__ import annotations

from decimal import Decimal

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.address import SecondaryAddress, encode_secondary
from bridge.mbus.errors import EncodeError, KeyLengthError, TelegramError
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.header import encode_header
from bridge.mbus.security import (
    Security,
    configuration_mode_5,
    decode_afl,
    derive_key,
    encrypt_mode_5,
    initial_vector,
)
from bridge.mbus.telegram import Telegram, decode_telegram

COUNTING = bytes(range(16))
DOUBLED = bytes.fromhex("00112233445566778899AABBCCDDEEFF")

# OMS annex N.5.4: a heat cost allocator on the wire, one block encrypted, the rest in clear.
HCA = (
    "682C2C6808FD7288776655934455080004100500DFE2A782146D1513581CD2F83F39040CFD10785634120C7844332211"
    "2616"
)
# Our own: a heat meter, two blocks.
HEAT = (
    "682F2F6808037202090051745221045A002005CBE277F4EF86CC56C9312E94DBAAE98D037B977A288E16183AF68183F0"
    "11E1DB0D16"
)
# CEN/TR 17167:2018, F.3: mode 7 with AFL, on the wire.
GAS_7 = (
    "6841416808FD900F002C25B30A0000AF5D74DF73A600D972785634129315330375002007109058475F4BC91DF878B80A"
    "1B0F98B629024AAC727942BFC549233C0140829B93E716"
)
# Our own: the heat meter in mode 7.
HEAT_7 = (
    "684141680803900F002C25D20400006C3A713EF757BF517202090051745221045B00200710965F512D24FDF86993B2B6"
    "26A47992095D3A421DD86B86F70FE7FA91DFE73ADFB316"
)


def frame_of(text: str) -> LongFrame:
    frame = take_frame(bytearray.fromhex(text))
    assert isinstance(frame, LongFrame)
    return frame


def values(telegram: Telegram) -> list[str]:
    return [f"{record.value!s} {record.unit}".strip() for record in telegram.records]


GAS_VALUES = ["28504.27 m3", "2008-05-31 23:50:00", "0"]
HEAT_VALUES = ["45120000 Wh", "2213.30 m3", "12500 W", "71.2 Cel", "45.5 Cel"]
HCA_VALUES = ["1234 HCA", "2007-04-30", "23456 HCA", "12345678", "11223344"]


@pytest.mark.parametrize(
    ("text", "key", "mode", "expected"),
    [
        (HCA, COUNTING, "mode 5", HCA_VALUES),
        (HEAT, DOUBLED, "mode 5", HEAT_VALUES),
        (GAS_7, COUNTING, "mode 7", GAS_VALUES),
        (HEAT_7, DOUBLED, "mode 7", HEAT_VALUES),
    ],
)
def test_with_its_key_a_telegram_can_be_read(
    text: str, key: bytes, mode: str, expected: list[str]
) -> None:
    telegram = decode_telegram(frame_of(text), key)
    assert (telegram.encryption, telegram.security) == (mode, Security.DECRYPTED)
    assert telegram.errors == ()
    assert values(telegram) == expected


@pytest.mark.parametrize("text", [HCA, HEAT, GAS_7, HEAT_7])
@pytest.mark.parametrize(
    ("key", "security"), [(None, Security.NO_KEY), (bytes(16), Security.WRONG_KEY)]
)
def test_without_its_key_a_telegram_has_a_header_and_no_values(
    text: str, key: bytes | None, security: Security
) -> None:
    telegram = decode_telegram(frame_of(text), key)
    assert telegram.header is not None
    assert telegram.security is security
    assert telegram.encrypted_unread
    assert telegram.records == ()
    assert [error.reason for error in telegram.errors] == [security.value]


def test_a_short_header_wants_to_know_whose_telegram_it_is() -> None:
    # OMS annex N.2.1, as it comes by radio: CI 7A, ACC 2A, two blocks.
    data = bytes.fromhex(
        "2A 00 20 25 5923C95AAA26D1B2E7493B013EC4A6F6D3529B520EDFF0EA6DEFC99D6D69EBF3"
    )
    key = bytes.fromhex("0102030405060708090A0B0C0D0E0F11")
    frame = LongFrame(0x44, 1, 0x7A, data)
    assert decode_telegram(frame, key).security is Security.NO_ADDRESS
    telegram = decode_telegram(frame, key, meter=SecondaryAddress("12345678", "ELS", 0x33, 3))
    assert values(telegram) == GAS_VALUES
    assert telegram.notes == ("decrypted with an address that the telegram does not confirm",)
    # A part of its address would make a vector that fits nobody.
    telegram = decode_telegram(frame, key, meter=SecondaryAddress("12345678"))
    assert telegram.security is Security.NO_ADDRESS


def test_mode_7_with_a_short_header_wants_to_know_it_too() -> None:
    frame = frame_of(HEAT_7)
    inner = frame.data[16:]
    # The header without its address. The code was made over the long one, so it is left away.
    data = bytes.fromhex("07 00 28 20 D2040000 7A") + inner[9:]
    unknown = decode_telegram(LongFrame(8, 3, 0x90, data), DOUBLED)
    assert unknown.security is Security.NO_ADDRESS
    meter = SecondaryAddress("51000902", "TST", 0x21, 4)
    assert values(decode_telegram(LongFrame(8, 3, 0x90, data), DOUBLED, meter=meter)) == HEAT_VALUES


def test_the_initial_vector_begins_with_the_manufacturer() -> None:
    address = bytes.fromhex("88776655 9344 55 08")
    assert initial_vector(address, 0).hex().upper() == "93448877665555080000000000000000"


def test_keys_of_mode_7_are_derived_from_counter_and_identification() -> None:
    counter, identification = bytes.fromhex("B30A0000"), bytes.fromhex("78563412")
    for purpose, derived in (
        ("00", "ECCF39D475D730B8284FDFDC1995D52F"),
        ("01", "C9CD19FF5A9AAD5A6BBDA13BD2C4C7AD"),
        ("10", "A9D4883E284217CAA4B6325F75B48444"),
        ("11", "AE001B2FED6E042C3E6C4D8833D4BE1D"),
    ):
        key = derive_key(COUNTING, bytes.fromhex(purpose), counter, identification)
        assert key.hex().upper() == derived


def test_mode_7_tells_its_message_counter() -> None:
    assert decode_telegram(frame_of(GAS_7), COUNTING).message_counter == 0xAB3
    assert decode_telegram(frame_of(HEAT_7), DOUBLED).message_counter == 1234


def test_a_changed_authentic_telegram_is_not_believed() -> None:
    frame = frame_of(HEAT_7)
    changed = bytearray(frame.data)
    changed[-1] ^= 1  # in the last block: the check bytes stay right
    telegram = decode_telegram(
        LongFrame(frame.control, frame.address, 0x90, bytes(changed)), DOUBLED
    )
    assert telegram.security is Security.NOT_AUTHENTIC
    assert telegram.records == ()


def test_a_key_of_another_length_is_an_error_without_the_key_in_it() -> None:
    with pytest.raises(KeyLengthError, match=r"16 bytes .*this one has 3") as raised:
        decode_telegram(frame_of(HEAT), b"key")
    assert "key'" not in str(raised.value)


def test_a_key_does_not_hinder_the_reading_of_a_plain_telegram() -> None:
    data = encode_header(SecondaryAddress("12345678", "KAM", 1, 4)) + bytes.fromhex("01 13 07")
    telegram = decode_telegram(LongFrame(8, 1, 0x72, data), DOUBLED)
    assert telegram.security is Security.PLAIN
    assert len(telegram.records) == 1


@pytest.mark.parametrize(
    ("mode", "method"),
    [
        (1, "the manufacturer's own"),
        (2, "DES-CBC"),
        (3, "DES-CBC with the header as vector"),
        (4, "AES-128-CBC without a vector"),
        (8, "AES-128-CTR"),
        (9, "AES-128-GCM"),
        (10, "AES-128-CCM"),
        (13, "TLS"),
        (15, "specific usage"),
    ],
)
@pytest.mark.parametrize("key", [None, DOUBLED])
def test_another_mode_is_named_and_not_read(mode: int, method: str, key: bytes | None) -> None:
    meter = SecondaryAddress("12345678", "KAM", 1, 4)
    header = encode_header(meter, 7, 0x10, configuration=mode << 8 | 0x10)
    telegram = decode_telegram(LongFrame(8, 1, 0x72, header + bytes(range(100, 116))), key)
    assert telegram.security is Security.UNSUPPORTED
    assert telegram.encryption == f"mode {mode}"
    assert telegram.errors[0].reason == f"security mode {mode} ({method}) is not supported"
    assert telegram.header is not None
    assert (telegram.header.address, telegram.header.status) == (meter, 0x10)


@pytest.mark.parametrize("mode", [6, 11, 12, 14])
def test_a_reserved_mode_has_no_name(mode: int) -> None:
    header = encode_header(SecondaryAddress("12345678", "KAM", 1, 4), configuration=mode << 8)
    telegram = decode_telegram(LongFrame(8, 1, 0x72, header + bytes(range(100, 116))))
    assert telegram.errors[0].reason == f"security mode {mode} is not supported"


def test_the_mode_has_five_bits() -> None:
    # Mode 21 is 5 in its four lowest bits: no mode 5, and nothing that was ever defined.
    header = encode_header(SecondaryAddress("12345678", "KAM", 1, 4), configuration=0x1510)
    telegram = decode_telegram(LongFrame(8, 1, 0x72, header + bytes(range(100, 116))), DOUBLED)
    assert telegram.encryption == "mode 21"


def test_fewer_blocks_than_announced_are_told() -> None:
    header = encode_header(SecondaryAddress("12345678", "KAM", 1, 4), configuration=0x0520)
    telegram = decode_telegram(LongFrame(8, 1, 0x72, header + bytes(range(100, 116))), DOUBLED)
    assert telegram.security is Security.TRUNCATED
    assert telegram.errors[0].reason == "2 encrypted blocks, but only 16 bytes"


def test_what_an_adapter_has_decrypted_is_read_as_it_is() -> None:
    header = encode_header(SecondaryAddress("12345678", "KAM", 1, 4), configuration=0x0510)
    plain = bytes.fromhex("2F2F 0C13 56341200 2F2F2F2F2F2F2F2F")
    for key in (None, DOUBLED):
        telegram = decode_telegram(LongFrame(8, 1, 0x72, header + plain), key)
        assert values(telegram) == ["123.456 m3"]
        assert telegram.notes == ("configuration field 0510, yet not encrypted",)


def test_mode_5_or_7_without_a_block_is_no_encryption() -> None:
    meter = SecondaryAddress("12345678", "KAM", 1, 4)
    for configuration, extension in ((0x0500, b""), (0x0700, b"\x10")):
        data = encode_header(meter, configuration=configuration) + extension
        telegram = decode_telegram(LongFrame(8, 1, 0x72, data + bytes.fromhex("01 13 07")))
        assert values(telegram) == ["0.007 m3"]


def test_a_counter_of_mode_7_can_stand_in_the_telegram_itself() -> None:
    # The same block as vector HEAT_7 would have, without AFL: Z bit set, counter behind the CFE.
    inner = decode_afl(frame_of(HEAT_7).data)
    data = bytearray(inner.content[1:])
    data[11] |= 0x20
    data[13:13] = bytes.fromhex("D2040000")
    telegram = decode_telegram(LongFrame(8, 3, 0x72, bytes(data)), DOUBLED)
    assert values(telegram) == HEAT_VALUES
    assert telegram.message_counter == 1234


def test_mode_7_without_any_counter_says_what_is_missing() -> None:
    inner = decode_afl(frame_of(HEAT_7).data)
    telegram = decode_telegram(LongFrame(8, 3, 0x72, inner.content[1:]), DOUBLED)
    assert telegram.security is Security.UNSUPPORTED
    assert telegram.errors[0].reason == "the message counter is missing"


def test_mode_7_with_another_key_derivation_or_fewer_blocks_is_not_read() -> None:
    frame = frame_of(HEAT_7)
    layer, telegram = frame.data[:16], bytearray(frame.data[16:])
    telegram[13] = 0x00  # CFE: a key that lasts
    other = decode_telegram(LongFrame(8, 3, 0x90, layer + bytes(telegram)), DOUBLED)
    assert other.errors[0].reason == "another key derivation than KDF-A"
    telegram[13] = 0x50  # CFE: a byte of key version before the blocks, and it is missing
    other = decode_telegram(LongFrame(8, 3, 0x90, layer + bytes(telegram)), DOUBLED)
    assert other.security is Security.TRUNCATED


def test_an_authentication_code_of_another_length_than_announced_is_not_believed() -> None:
    frame = frame_of(HEAT_7)
    data = bytearray(frame.data)
    data[3] = 0x24  # MCL: a code of 4 bytes, where 8 follow
    telegram = decode_telegram(LongFrame(8, 3, 0x90, bytes(data)), DOUBLED)
    assert telegram.security is Security.NOT_AUTHENTIC


def test_an_authentication_code_that_is_announced_and_missing_is_not_believed() -> None:
    frame = frame_of(HEAT_7)
    data = bytes((7,)) + frame.data[1:8] + frame.data[16:]
    telegram = decode_telegram(LongFrame(8, 3, 0x90, data), DOUBLED)
    assert telegram.security is Security.NOT_AUTHENTIC


@pytest.mark.parametrize(
    ("announced", "length"), [(0x23, 2), (0x24, 4), (0x25, 8), (0x26, 12), (0x27, 16)]
)
def test_an_authentication_code_may_be_cut_to_every_length_of_the_standard(
    announced: int, length: int
) -> None:
    content = frame_of(HEAT_7).data[16:]
    counter = bytes.fromhex("D2040000")
    # Not by our own code: the whole CMAC over MCL, counter and content, by the library.
    cmac = CMAC(AES128(bytes.fromhex("E252D6999952E30C1E2CD39396FBE8EE")))
    cmac.update(bytes((announced,)) + counter + content)
    code = cmac.finalize()[:length]
    layer = bytes((7 + length, 0x00, 0x2C, announced)) + counter + code
    telegram = decode_telegram(LongFrame(8, 3, 0x90, layer + content), DOUBLED)
    assert values(telegram) == HEAT_VALUES
    wrong = layer[:-1] + bytes((layer[-1] ^ 1,))
    telegram = decode_telegram(LongFrame(8, 3, 0x90, wrong + content), DOUBLED)
    assert telegram.security is Security.NOT_AUTHENTIC


@pytest.mark.parametrize("announced", [0x20, 0x28, 0x29])
def test_another_authentication_than_by_cmac_is_said(announced: int) -> None:
    data = bytearray(frame_of(HEAT_7).data)
    data[3] = announced
    telegram = decode_telegram(LongFrame(8, 3, 0x90, bytes(data)), DOUBLED)
    assert telegram.security is Security.UNSUPPORTED
    assert telegram.errors[0].reason == "another authentication than AES-CMAC"


def test_a_key_version_stands_before_the_blocks() -> None:
    content = bytearray(decode_afl(frame_of(HEAT_7).data).content)
    content[13] |= 0x40  # CFE: V
    content[14:14] = b"\x01"
    data = bytes.fromhex("07 00 28 20 D2040000") + content
    assert values(decode_telegram(LongFrame(8, 3, 0x90, data), DOUBLED)) == HEAT_VALUES


def test_a_plain_telegram_with_an_authentication_code_is_checked_where_there_is_a_key() -> None:
    inner = b"\x72" + encode_header(SecondaryAddress("51000902", "TST", 0x21, 4))
    inner += bytes.fromhex("01 13 07")
    counter = bytes.fromhex("D2040000")
    cmac = CMAC(AES128(bytes.fromhex("E252D6999952E30C1E2CD39396FBE8EE")))
    cmac.update(b"\x25" + counter + inner)
    layer = bytes.fromhex("0F 00 2C 25") + counter + cmac.finalize()[:8]
    telegram = decode_telegram(LongFrame(8, 3, 0x90, layer + inner), DOUBLED)
    assert values(telegram) == ["0.007 m3"]
    assert (telegram.notes, telegram.message_counter) == ((), 1234)
    changed = inner[:-1] + b"\x08"
    telegram = decode_telegram(LongFrame(8, 3, 0x90, layer + changed), DOUBLED)
    assert (telegram.security, len(telegram.records)) == (Security.NOT_AUTHENTIC, 0)


def test_junk_that_announces_more_blocks_than_there_are_is_no_encryption() -> None:
    records = bytes.fromhex("0C13 56341200 0B3B 120000 025A 1501 025E C800")
    for configuration in (0x05F0, 0x07F0):
        meter = SecondaryAddress("12345678", "KAM", 1, 4)
        data = encode_header(meter, configuration=configuration) + records
        telegram = decode_telegram(LongFrame(8, 1, 0x72, data))
        assert telegram.security is Security.PLAIN
        assert len(telegram.records) == 4


def test_a_plain_telegram_with_an_authentication_code_is_read_with_a_note() -> None:
    layer = frame_of(HEAT_7).data[:16]
    inner = b"\x72" + encode_header(SecondaryAddress("12345678", "KAM", 1, 4))
    telegram = decode_telegram(LongFrame(8, 3, 0x90, layer + inner + bytes.fromhex("01 13 07")))
    assert values(telegram) == ["0.007 m3"]
    assert telegram.notes == ("authentication code not checked",)


@pytest.mark.parametrize("data", ["", "0F", "0F 00 2C 25", "02 00 3C", "00", "02 00 2C 72"])
def test_an_afl_that_cannot_be_is_an_error(data: str) -> None:
    with pytest.raises(TelegramError, match="AFL"):
        decode_afl(bytes.fromhex(data))


def test_a_fragment_is_told_and_not_read() -> None:
    telegram = decode_telegram(LongFrame(8, 1, 0x90, bytes.fromhex("02 00 40 72 01")))
    assert telegram.security is Security.UNSUPPORTED
    assert "fragment" in telegram.errors[0].reason


@given(
    st.binary(min_size=1, max_size=100).map(lambda text: bytes((0x0D, 0x78, len(text))) + text),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 255),
)
def test_what_was_encrypted_can_be_read(record: bytes, key: bytes, access_number: int) -> None:
    meter = SecondaryAddress("51000902", "TST", 0x21, 4)
    encrypted = encrypt_mode_5(record, key, encode_secondary(meter), access_number)
    header = encode_header(meter, access_number, 0, configuration_mode_5(encrypted))
    telegram = decode_telegram(LongFrame(8, 1, 0x72, header + encrypted), key)
    assert telegram.security is Security.DECRYPTED
    (decoded,) = telegram.records
    assert decoded.dib + decoded.vib + decoded.data == record


def test_what_cannot_be_encrypted_is_refused() -> None:
    address = encode_secondary(SecondaryAddress("12345678", "KAM", 1, 4))
    assert len(encrypt_mode_5(bytes(238), DOUBLED, address, 0)) == 240
    with pytest.raises(EncodeError, match="238"):
        encrypt_mode_5(bytes(239), DOUBLED, address, 0)
    with pytest.raises(KeyLengthError):
        encrypt_mode_5(b"", b"short", address, 0)


def test_the_energy_of_an_encrypted_telegram_is_exact() -> None:
    energy = decode_telegram(frame_of(HEAT), DOUBLED).records[0]
    assert energy.value == Decimal(45_120_000)


def test_a_damaged_block_is_seen_where_records_come_out_that_cannot_be() -> None:
    """No code vouches for mode 5: what does not read to its end is not believed at all."""
    frame = frame_of(HEAT)
    garbled, believed = 0, 0
    for bit in range(8 * 32):
        data = bytearray(frame.data)
        data[12 + bit // 8] ^= 1 << bit % 8
        telegram = decode_telegram(LongFrame(8, 3, 0x72, bytes(data)), DOUBLED)
        if telegram.security is Security.DECRYPTED:
            believed += 1
            assert telegram.errors == ()
        else:
            garbled += 1
            assert telegram.security in (Security.WRONG_KEY, Security.DAMAGED)
            assert len(telegram.records) == 0
            assert telegram.header is not None
    # One changed block in some thirteen still reads as records; a checksum sees a single bit first.
    assert believed <= 20
    assert garbled >= 236


def test_an_error_behind_the_encrypted_part_costs_that_record_only() -> None:
    frame = frame_of(HCA)
    telegram = decode_telegram(frame._replace(data=frame.data + b"\x04\x13\x01"), bytes(range(16)))
    assert telegram.security is Security.DECRYPTED
    assert len(telegram.records) == 5
    assert len(telegram.errors) == 1


def test_mode_7_without_a_code_is_read_with_a_note() -> None:
    frame = frame_of(HEAT_7)
    # The same AFL without its code: MCL and message counter alone.
    layer = bytes.fromhex("07 00 28 25 D2 04 00 00")
    telegram = decode_telegram(frame._replace(data=layer + frame.data[16:]), DOUBLED)
    assert telegram.security is Security.DECRYPTED
    assert telegram.notes == ("authentication code not checked",)
