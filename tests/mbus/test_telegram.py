from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.compact import Formats
from bridge.mbus.control import CI_RESPONSE_LONG, RSP_UD
from bridge.mbus.dif import DataField
from bridge.mbus.encode import encode_record
from bridge.mbus.errors import HeaderError, MBusError, TelegramError
from bridge.mbus.frame import LongFrame, encode_frame, take_frame
from bridge.mbus.header import Header, encode_header
from bridge.mbus.telegram import ApplicationError, Security, Telegram, decode_telegram

CI = st.integers(0, 255) | st.sampled_from(
    [*(0x72, 0x78, 0x7A, 0x73, 0x90, 0x6F), *(0x69, 0x79, 0x76, 0x77, 0x8C, 0x8D)]
)
METER = SecondaryAddress("61234567", "TST", 8, 4)


def telegram_of(text: str) -> Telegram:
    frame = take_frame(bytearray.fromhex(text))
    assert isinstance(frame, LongFrame)
    return decode_telegram(frame)


def test_a_long_header_names_the_meter() -> None:
    data = bytes.fromhex("67452361 7452 08 04 31 18 0000 01 13 07")
    telegram = decode_telegram(LongFrame(RSP_UD, 5, 0x72, data))
    assert telegram.header == Header(METER, 0x31, 0x18, 0)
    assert [record.key for record in telegram.records] == ["0113"]
    assert telegram.security is Security.PLAIN
    assert not telegram.encrypted_unread


def test_a_short_header_has_no_address_and_no_header_is_none() -> None:
    short = decode_telegram(LongFrame(8, 5, 0x7A, bytes.fromhex("31 00 0000 01 13 07")))
    assert short.header == Header(None, 0x31, 0, 0)
    assert [record.key for record in short.records] == ["0113"]
    none = decode_telegram(LongFrame(8, 5, 0x78, bytes.fromhex("01 13 07")))
    assert none.header is None
    assert none.records == short.records


def test_a_header_that_is_cut_short_is_an_error() -> None:
    with pytest.raises(HeaderError, match="CI 72 wants a header of 12 bytes, but there are 5"):
        telegram_of("68080868 08 02 72 78 56 34 12 24 B4 16")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("68040468080970088916", ApplicationError(8), "application error 08: application too busy"),
        ("680303680801707916", ApplicationError(None), "application error: unspecified error"),
        ("68040468080170078016", ApplicationError(7), "application error 07: reserved"),
    ],
)
def test_an_application_error_is_no_data(text: str, error: ApplicationError, words: str) -> None:
    telegram = telegram_of(text)
    assert telegram.application_error == error
    assert str(telegram.application_error) == words
    assert telegram.records == ()
    assert [entry.reason for entry in telegram.errors] == [words]


def test_an_application_error_with_a_header_names_the_meter() -> None:
    data = encode_header(METER, 7) + b"\x09"
    telegram = decode_telegram(LongFrame(8, 5, 0x6F, data))
    assert telegram.header is not None
    assert telegram.header.address == METER
    assert telegram.application_error == ApplicationError(9)
    assert telegram.application_error.text == "too many readouts"


def test_an_alarm_is_no_data() -> None:
    telegram = telegram_of("68040468080971048616")
    assert telegram.alarm == b"\x04"
    assert telegram.records == ()
    assert [entry.reason for entry in telegram.errors] == ["alarm"]


@pytest.mark.parametrize(
    ("ci", "name"),
    [
        (0x50, "application reset"),
        (0x51, "data send"),
        (0x5B, "command"),
        (0x66, "response of the selected application"),
        (0x7C, "DLMS response"),
        (0x7F, "OBIS response"),
        (0x80, "transport layer without application"),
        (0x81, "network layer"),
        (0x8A, "transport layer without application"),
        (0xA0, "manufacturer specific"),
        (0xB7, "manufacturer specific"),
        (0xBB, "set baud rate"),
        (0x00, "reserved"),
        (0xFF, "reserved"),
    ],
)
def test_another_ci_field_is_named_and_its_bytes_are_kept(ci: int, name: str) -> None:
    data = bytes.fromhex("01 13 07")
    telegram = decode_telegram(LongFrame(8, 5, ci, data))
    assert telegram.records == ()
    (error,) = telegram.errors
    assert error.reason == f"CI {ci:02X} ({name}) is not decoded"
    assert error.data == data


def test_a_fixed_data_structure_of_another_length_says_which_it_wants() -> None:
    (error,) = decode_telegram(LongFrame(8, 5, 0x77, bytes.fromhex("01 13 07"))).errors
    assert error.reason.endswith("is not decoded: it wants 16 bytes, but there are 3")


@pytest.mark.parametrize("ci", [0x5B, 0x68, 0x7C, 0x7E, 0x80, 0x8B, 0x9F, 0xC2])
def test_another_ci_field_keeps_its_header(ci: int) -> None:
    data = encode_header(METER, 7, 0x18) + bytes.fromhex("01 13 07")
    telegram = decode_telegram(LongFrame(8, 5, ci, data))
    assert telegram.header == Header(METER, 7, 0x18, 0)
    assert telegram.records == ()
    assert telegram.errors[0].data == data


def test_every_ci_field_gives_a_telegram_with_something_to_say() -> None:
    data = encode_header(METER) + bytes.fromhex("01 13 07 01 13 08")
    for ci in set(range(256)) - {0x90}:
        telegram = decode_telegram(LongFrame(8, 5, ci, data))
        assert telegram.records or telegram.errors
    with pytest.raises(TelegramError, match="AFL"):
        decode_telegram(LongFrame(8, 5, 0x90, data))


@pytest.mark.parametrize(
    ("control", "demand", "flow"),
    [(0x08, False, False), (0x28, True, False), (0x18, False, True), (0x38, True, True)],
)
def test_the_c_field_of_a_meter_tells_what_it_wants(control: int, demand: bool, flow: bool) -> None:
    telegram = decode_telegram(LongFrame(control, 5, 0x78, bytes.fromhex("01 13 07")))
    assert not telegram.from_master
    assert (telegram.access_demand, telegram.data_flow_control) == (demand, flow)
    assert len(telegram.records) == 1


@pytest.mark.parametrize("control", [0x53, 0x73, 0x43, 0x63])
@pytest.mark.parametrize(
    ("ci", "name"),
    [
        (0x51, "data send"),
        (0x52, "selection of slave"),
        (0x72, "response"),
        (0x73, "compact frame"),
    ],
)
def test_a_command_of_a_master_is_never_taken_for_an_answer(
    control: int, ci: int, name: str
) -> None:
    data = bytes.fromhex("01 7A 05 00 00 00 00 00 00 00 00 00 00 00 00 00")
    telegram = decode_telegram(LongFrame(control, 5, ci, data))
    assert telegram.from_master
    assert not telegram.access_demand
    assert not telegram.data_flow_control
    assert telegram.records == ()
    (error,) = telegram.errors
    assert error.reason == f"of a master, CI {ci:02X} ({name}) is not decoded"
    assert error.data == data


@pytest.mark.parametrize("control", [0x44, 0x46])
def test_what_a_meter_sends_by_radio_is_no_command(control: int) -> None:
    telegram = decode_telegram(LongFrame(control, 5, 0x78, bytes.fromhex("01 13 07")))
    assert not telegram.from_master
    assert len(telegram.records) == 1


def test_most_significant_byte_first_is_read_with_a_note() -> None:
    # The same meter and values as in the usual order: 67452361 7452 08 04 31 18 0000.
    reversed_ = bytes.fromhex(
        "61234567 5274 08 04 31 18 0000"
        "0C 13 00 12 34 56  04 6D 11 41 20 00  0D FD 11 03 41 42 43  02 5A 80 00  05 2B 3F 80 00 00"
        "0F 01 02"
    )
    usual = bytes.fromhex(
        "67452361 7452 08 04 31 18 0000"
        "0C 13 56 34 12 00  04 6D 00 20 41 11  0D FD 11 03 43 42 41  02 5A 00 80  05 2B 00 00 80 3F"
        "0F 01 02"
    )
    telegram = decode_telegram(LongFrame(8, 5, 0x76, reversed_))
    expected = decode_telegram(LongFrame(8, 5, 0x72, usual))
    assert telegram.header == expected.header == Header(METER, 0x31, 0x18, 0)
    assert telegram.records == expected.records
    assert [str(record.value) for record in telegram.records[:3]] == [
        *("123.456", "2010-01-01 00:00:00", "ABC"),
    ]
    assert telegram.records[3].invalid == "lowest integer"
    assert telegram.manufacturer_data == b"\x01\x02"
    assert telegram.notes == (
        "most significant byte first, a withdrawn variant; data are shown in the usual order",
    )
    assert telegram.errors == ()


def test_an_error_in_a_reversed_telegram_has_its_offset_and_bytes() -> None:
    data = bytes.fromhex("61234567 5274 08 04 31 18 0000 01 13 07 04 13 00 01")
    telegram = decode_telegram(LongFrame(8, 5, 0x76, data))
    assert len(telegram.records) == 1
    (error,) = telegram.errors
    assert (error.offset, error.data) == (15, bytes.fromhex("04 13 00 01"))
    with pytest.raises(HeaderError):
        decode_telegram(LongFrame(8, 5, 0x76, data[:11]))


def test_offsets_of_errors_count_from_the_byte_after_the_ci_field() -> None:
    data = encode_header(METER) + bytes.fromhex("01 13 07 3F 01")
    (error,) = decode_telegram(LongFrame(8, 5, 0x72, data)).errors
    assert (error.offset, error.data) == (15, b"\x3f\x01")
    assert str(error) == "byte 15: reserved DIF 3F: 3F01"


def test_junk_in_the_configuration_field_is_no_encryption() -> None:
    # FFFF stands for mode 31, which nothing can mean; B627 for mode 22.
    for word in (0xFFFF, 0xB627):
        data = encode_header(METER, configuration=word) + bytes.fromhex("0C13 56341200 0B3B 120000")
        telegram = decode_telegram(LongFrame(8, 5, 0x72, data))
        assert telegram.security is Security.PLAIN
        assert telegram.encryption == "none"
        assert len(telegram.records) == 2
        assert telegram.errors == ()
        assert telegram.notes == (f"configuration field {word:04X}, yet not encrypted",)


def test_junk_that_could_mean_encryption_needs_four_ordinary_records() -> None:
    records = bytes.fromhex("0C13 56341200 0B3B 120000 025A 1501 025E C800")
    header = encode_header(METER, configuration=0x0A00)
    assert len(decode_telegram(LongFrame(8, 5, 0x72, header + records)).records) == 4
    fewer = decode_telegram(LongFrame(8, 5, 0x72, header + records[:-4]))
    assert fewer.records == ()
    assert fewer.security is Security.UNSUPPORTED
    assert fewer.encryption == "mode 10"
    assert fewer.encrypted_unread


@given(CI, st.binary(max_size=252), st.none() | st.just(bytes(16)))
def test_random_bytes_end_in_a_telegram_or_an_mbus_error_and_nothing_worse(
    ci: int, data: bytes, key: bytes | None
) -> None:
    try:
        telegram = decode_telegram(LongFrame(RSP_UD, 1, ci, data), key, formats=Formats())
    except MBusError:
        return
    for record in telegram.records:
        assert (record.value is None) == (record.invalid is not None)
    for error in telegram.errors:
        assert error.reason


@given(
    st.builds(
        SecondaryAddress,
        st.from_regex(r"[0-9]{8}", fullmatch=True),
        st.from_regex(r"[A-Z]{3}", fullmatch=True),
        st.integers(0, 254),
        st.integers(0, 254),
    ),
    st.integers(0, 255),
    st.integers(0, 255),
    st.lists(st.integers(-(2**31) + 1, 2**31 - 1), max_size=20),
)
def test_every_telegram_that_was_encoded_comes_back(
    meter: SecondaryAddress, access_number: int, status: int, counters: list[int]
) -> None:
    data = encode_header(meter, access_number, status)
    data += b"".join(
        encode_record(b"\x06", counter * 1000, DataField.INT32, storage=storage)
        for storage, counter in enumerate(counters)
    )
    buffer = bytearray(encode_frame(LongFrame(RSP_UD, 1, CI_RESPONSE_LONG, data)))
    frame = take_frame(buffer)
    assert isinstance(frame, LongFrame)
    telegram = decode_telegram(frame)
    assert telegram.header == Header(meter, access_number, status, 0)
    assert [(r.storage, r.value) for r in telegram.records] == [
        (storage, Decimal(counter * 1000)) for storage, counter in enumerate(counters)
    ]
