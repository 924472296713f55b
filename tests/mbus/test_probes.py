"""Probes: one line of bytes and what they must say, for every row of every table of EN 13757.

What the lines of ``probes/`` expect was written from the tables of the standard and not from ours.
Each record goes through a whole frame, with a known record before it and another behind it: one
that is measured wrongly shows.
"""

from __future__ import annotations

import datetime
import re
import struct
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet

from bridge.mbus.address import manufacturer_name, parse_secondary
from bridge.mbus.compact import Formats
from bridge.mbus.dif import DataField, Function
from bridge.mbus.errors import (
    ChecksumError,
    FrameError,
    LengthError,
    StartError,
    StopError,
    TelegramError,
)
from bridge.mbus.frame import Ack, Frame, LongFrame, ShortFrame, encode_frame, take_frame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import ApplicationError, Telegram, decode_telegram
from bridge.mbus.values import PartialDate
from bridge.mbus.words import device_type_name

PROBES = Path(__file__).parent / "probes"

LONG_HEADER = bytes.fromhex("67 45 23 61 74 52 08 04 31 00 00 00")
SHORT_HEADER = bytes.fromhex("31 00 00 00")
BEFORE, BEHIND = bytes.fromhex("01 13 05"), bytes.fromhex("01 14 06")

# How many lines each file has: a probe that is lost is a failure.
COUNTS = {
    "alarms.txt": 36,
    "application-errors.txt": 777,
    "control-information.txt": 256,
    "data-fields.txt": 484,
    "dates.txt": 447,
    "device-types.txt": 64,
    "difes.txt": 97,
    "fixed.txt": 212,
    "frames.txt": 198,
    "headers.txt": 357,
    "nasty.txt": 60,
    "profiles.txt": 25,
    "record-errors.txt": 190,
    "security.txt": 64,
    "telegrams.txt": 91,
    "variable-length.txt": 474,
    "vif-ef.txt": 130,
    "vif-fb.txt": 379,
    "vif-fd.txt": 538,
    "vif-primary.txt": 620,
    "vif-text.txt": 23,
    "vife.txt": 679,
    "walks.txt": 217,
}

# Probes that the decoder fails, and what it does wrong. Whoever mends it takes the line out.
FAULTS: dict[str, str] = {}


class Probe(NamedTuple):
    """A line of a file, in its columns."""

    file: str
    line: int
    columns: tuple[str, ...]


def lines(file: str) -> list[Probe]:
    text = (PROBES / file).read_text(encoding="utf-8")
    return [
        Probe(file, number, tuple(column.strip() for column in line.split(" | ")))
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.startswith("#")
    ]


def probes(*files: str) -> list[ParameterSet]:
    return [
        pytest.param(
            probe,
            id=f"{file}:{probe.line}",
            marks=[
                pytest.mark.xfail(reason=reason, strict=True)
                for start, reason in FAULTS.items()
                if probe.columns[0].startswith(start)
            ],
        )
        for file in files
        for probe in lines(file)
    ]


def said(ci: int, data: bytes, control: int = 0x08) -> Telegram:
    """What a meter says with these user data, sent as a frame and received as bytes."""
    buffer = bytearray(encode_frame(LongFrame(control, 5, ci, data)))
    frame = take_frame(buffer)
    assert isinstance(frame, LongFrame)
    assert not buffer
    return decode_telegram(frame)


# Records

FUNCTIONS = {
    Function.INSTANTANEOUS: "inst",
    Function.MAXIMUM: "max",
    Function.MINIMUM: "min",
    Function.ERROR: "err",
}

# What the reasons for "no value" are called in the files, and how ours may begin.
REASONS = {"no date": "(all ones|no date.*|no time.*)"}

RECORD_FILES = (
    "vif-primary.txt",
    "vif-fd.txt",
    "vif-fb.txt",
    "vif-ef.txt",
    "vif-text.txt",
    "vife.txt",
    "record-errors.txt",
    "data-fields.txt",
    "variable-length.txt",
    "difes.txt",
    "dates.txt",
    "nasty.txt",
)


def value_said(record: DataRecord, wanted: str) -> str:
    """The record's value, in the words of the files; ``wanted`` says in which of them."""
    value = record.value
    if value is None:
        return f"none: {record.invalid}"
    if isinstance(value, Decimal):
        text = format(value, "f")
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        text = "0" if text == "-0" else text
        if wanted.startswith("real "):
            text = "real " + struct.pack("<f", value).hex(" ").upper()
    elif isinstance(value, bytes):
        text = f"bytes {value.hex(' ').upper()}"
    elif isinstance(value, str):
        text = f'"{value}"'
    elif isinstance(value, PartialDate):
        text = str(value)
    else:
        text = value.isoformat()
    if wanted.count('"') >= 2 and (wanted.count('"') == 4 or not wanted.startswith('"')):
        text += f' "{record.text}"'
    if isinstance(value, datetime.datetime) and record.summer_time:
        text += " summer time"
    return text


def fits(found: str, wanted: str) -> bool:
    """Whether a value is the wanted one: "*" is any, "none" any reason, "none: X" a reason X."""
    if wanted == "*":
        return True
    if wanted == "none":
        return found.startswith("none: ")
    if wanted.startswith("none: "):
        reason = wanted.removeprefix("none: ")
        return bool(re.fullmatch(f"none: {REASONS.get(reason, re.escape(reason))}", found))
    return found == wanted


def columns_said(record: DataRecord, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """A record in the columns of the files, where ``wanted`` has a "*" with "*" too."""
    value = value_said(record, wanted[4])
    found = (
        (record.dib + record.vib + record.data).hex(" ").upper(),
        f"{FUNCTIONS[record.function]} {record.storage}/{record.tariff}/{record.subunit}",
        record.quantity.value,
        f'"{record.unit_text}"' if record.unit_text else record.unit.value or "-",
        wanted[4] if fits(value, wanted[4]) else value,
        "; ".join(record.modifiers) or "-",
    )
    return tuple("*" if want == "*" else have for have, want in zip(found, wanted, strict=True))


@pytest.mark.parametrize("probe", probes(*RECORD_FILES))
def test_a_record_says_what_the_standard_says_it_does(probe: Probe) -> None:
    telegram = said(0x72, LONG_HEADER + BEFORE + bytes.fromhex(probe.columns[0]) + BEHIND)
    assert telegram.errors == ()
    before, record, behind = telegram.records
    assert columns_said(record, probe.columns) == probe.columns
    assert (before.value, behind.value) == (Decimal("0.005"), Decimal("0.06"))
    assert (record.value is None) == (record.invalid is not None)


# The walk over the records


@pytest.mark.parametrize("probe", probes("walks.txt"))
def test_a_telegram_ends_where_the_standard_says_and_loses_nothing(probe: Probe) -> None:
    text, keys, errors, rest, more = probe.columns
    telegram = said(0x72, LONG_HEADER + bytes.fromhex(text.replace("-", "")))
    found = [record.key for record in telegram.records]
    wanted = keys.replace("-", "").split()
    if wanted[-1:] == ["*"]:
        assert len(found) == len(wanted)
        found[-1] = "*"
    assert found == wanted
    manufacturer_data = {"-": None, "empty": b""}.get(rest)
    if rest not in ("-", "empty"):
        manufacturer_data = bytes.fromhex(rest)
    assert telegram.manufacturer_data == manufacturer_data
    assert telegram.more_records_follow is (more == "yes")
    if errors == "-":
        assert telegram.errors == ()
        return
    (error,) = telegram.errors
    head, _, data = errors.partition(": ")
    offset, word = head.split(" ", 1)
    assert error.offset == int(offset) + len(LONG_HEADER)
    assert word in error.reason
    assert error.data == bytes.fromhex(data)


# Frames


def frames_in(data: bytes) -> list[str]:
    """What `take_frame` finds, in the words of the file."""
    buffer, found, junk = bytearray(data), list[str](), 0
    while buffer:
        left = len(buffer)
        try:
            frame = take_frame(buffer)
        except FrameError as error:
            assert len(buffer) == left - 1
            if isinstance(error, StartError) and "second" not in str(error):
                junk += 1
                continue
            words = "second start" if isinstance(error, StartError) else FRAME_ERRORS[type(error)]
        else:
            words = frame_said(frame)
        if junk:
            found.append(f"junk {junk}")
            junk = 0
        found.append(words)
        if words == "more":
            return found
    return [*found, f"junk {junk}"] if junk else found


FRAME_ERRORS = {LengthError: "length", ChecksumError: "checksum", StopError: "stop"}


def frame_said(frame: Frame | None) -> str:
    if frame is None:
        return "more"
    if isinstance(frame, Ack):
        return "ack"
    if isinstance(frame, ShortFrame):
        return f"short {frame.control:02X} {frame.address:02X}"
    body = bytes((frame.control, frame.address, frame.ci)) + frame.data
    return f"long {body.hex(' ').upper()}"


@pytest.mark.parametrize("probe", probes("frames.txt"))
def test_bytes_on_the_wire_are_the_frames_of_the_standard(probe: Probe) -> None:
    text, wanted = probe.columns
    found = frames_in(bytes.fromhex(text.replace("-", "")))
    assert ("; ".join(found) or "nothing") == wanted


# CI fields, headers, the fixed data structure, application errors and alarms

HEADERS = {"long": LONG_HEADER, "short": SHORT_HEADER, "none": b"", "*": b""}
CONTENT = bytes.fromhex("AA BB CC DD EE")


@pytest.mark.parametrize("probe", probes("control-information.txt"))
def test_a_ci_field_has_its_header_and_its_kind_of_content_or_is_named_and_kept(
    probe: Probe,
) -> None:
    ci, header, kind, words = probe.columns
    content = BEFORE if kind == "records" else CONTENT
    if kind == "layer":
        with pytest.raises(TelegramError):
            said(int(ci, 16), b"")
        return
    telegram = said(int(ci, 16), HEADERS[header] + content)
    assert telegram.ci == int(ci, 16)
    if header in ("long", "short"):
        assert telegram.header is not None
        assert telegram.header.access_number == 0x31
        assert (telegram.header.address is None) is (header == "short")
    if kind == "records":
        assert [record.value for record in telegram.records] == [Decimal("0.005")]
        return
    assert telegram.records == ()
    (error,) = telegram.errors
    if kind == "error":
        assert telegram.application_error == ApplicationError(CONTENT[0], CONTENT[1:])
    elif kind == "alarm":
        assert telegram.alarm == CONTENT
    elif kind == "raw":
        assert f"CI {ci}" in error.reason
        assert words.replace("-", "").lower() in error.reason.lower()
        assert error.data.endswith(CONTENT)


@pytest.mark.parametrize("probe", probes("headers.txt"))
def test_a_header_says_who_and_in_which_state(probe: Probe) -> None:
    text, identity, access_number, status, configuration = probe.columns
    for ci, header in ((0x72, bytes.fromhex(text)), (0x7A, bytes.fromhex(text)[8:])):
        telegram = said(ci, header + BEFORE)
        found = telegram.header
        assert found is not None
        assert found.access_number == int(access_number)
        assert found.status == int(status, 16)
        assert found.configuration == int(configuration, 16)
        assert [record.value for record in telegram.records] == [Decimal("0.005")]
        if ci == 0x7A:
            assert found.address is None
            continue
        address = found.address
        assert address is not None
        assert address.manufacturer is not None
        maker = manufacturer_name(address.manufacturer)
        numbers = f"{address.version:02X}, {address.device_type:02X}"
        assert f"{address.identification}, {maker}, {numbers}" == identity


@pytest.mark.parametrize("probe", probes("device-types.txt"))
def test_a_device_type_has_the_name_of_the_standard(probe: Probe) -> None:
    code, words = probe.columns
    name = device_type_name(int(code, 16)).lower()
    for word in words.lower().split():
        assert word in name


@pytest.mark.parametrize("probe", probes("fixed.txt"))
def test_a_fixed_data_structure_has_two_counters(probe: Probe) -> None:
    text, head, *counters = probe.columns
    telegram = said(0x73, bytes.fromhex(text))
    header = telegram.header
    assert telegram.errors == ()
    assert header is not None
    assert header.address is not None
    address = header.address
    assert (address.manufacturer, address.version) == (None, None)
    medium = head.rpartition(", ")[2]
    found = f"{address.identification}, {header.access_number:02X}, {header.status:02X}, {medium}"
    assert found == head
    device_type = FIXED_MEDIA.get(medium, int(medium, 16))
    assert address.device_type == device_type
    for record, counter in zip(telegram.records, counters, strict=True):
        wanted = tuple(counter.split(", "))
        value = "none" if record.value is None else value_said(record, wanted[2])
        says = (record.quantity.value, record.unit.value or "-", value, str(record.storage))
        assert tuple("*" if w == "*" else s for s, w in zip(says, wanted, strict=True)) == wanted


# Media of the fixed structure that are other numbers among the device types: reserved, and those
# of mode 2, which differ in the order of bytes alone.
FIXED_MEDIA: dict[str, int] = {"9": 0x0F, "A": 3, "B": 4, "C": 6, "D": 7, "E": 8, "F": 0x0F}


@pytest.mark.parametrize("probe", probes("application-errors.txt"))
def test_an_application_error_is_said_in_words(probe: Probe) -> None:
    ci, text, words = probe.columns
    data = bytes.fromhex(text.replace("-", ""))
    header = {"70": b"", "6E": SHORT_HEADER, "6F": LONG_HEADER}[ci]
    telegram = said(int(ci, 16), header + data)
    error = telegram.application_error
    assert error == ApplicationError(data[0] if data else None, data[1:])
    assert error is not None
    assert words == "*" or words in error.text
    assert telegram.records == ()
    assert (telegram.header is None) is (ci == "70")


@pytest.mark.parametrize("probe", probes("alarms.txt"))
def test_an_alarm_has_the_flags_of_its_meter(probe: Probe) -> None:
    ci, text = probe.columns
    data = bytes.fromhex(text.replace("-", "")) if len(probe.columns) == 2 else b""
    header = {"71": b"", "74": SHORT_HEADER, "75": LONG_HEADER}[ci]
    telegram = said(int(ci, 16), header + data)
    assert telegram.alarm == data
    assert telegram.records == ()
    assert telegram.application_error is None


@pytest.mark.parametrize("control", [0x08, 0x18, 0x28, 0x38])
def test_the_flags_of_the_c_field_are_kept_and_cost_nothing(control: int) -> None:
    telegram = said(0x72, LONG_HEADER + BEFORE, control)
    assert telegram.control == control
    assert (telegram.access_demand, telegram.data_flow_control) == (
        control in (0x28, 0x38),
        control in (0x18, 0x38),
    )
    assert not telegram.from_master
    assert len(telegram.records) == 1


@pytest.mark.parametrize("control", [0x40, 0x49, 0x53, 0x73, 0x5A, 0x7A, 0x5B, 0x7B])
def test_what_a_master_sends_is_no_answer(control: int) -> None:
    telegram = said(0x51, bytes.fromhex("04 6D 05 0E 49 33"), control)
    assert telegram.from_master
    assert telegram.records == ()
    assert (telegram.access_demand, telegram.data_flow_control) == (False, False)


# Whole telegrams


def short_records(telegram: Telegram) -> str:
    """The records as "0C13 123.456 m3"; of the fixed structure, "volume 1 m3"."""
    parts = []
    for record in telegram.records:
        value = value_said(record, "").split(": ")[0]
        name = record.key if record.dib else record.quantity.value
        unit = record.unit.value or record.unit_text or "-"
        dated = isinstance(record.value, (str, datetime.date))
        parts.append(f"{name} {value}" if dated else f"{name} {value} {unit}")
    return "; ".join(parts) or "-"


@pytest.mark.parametrize("probe", probes("telegrams.txt"))
def test_a_telegram_is_read_through_its_layers(probe: Probe) -> None:
    sent, records, says = probe.columns
    formats = Formats()
    telegram: Telegram | None = None
    for text in sent.split(" / "):
        data = bytes.fromhex(text)
        buffer = bytearray(encode_frame(LongFrame(0x08, 5, data[0], data[1:])))
        frame = take_frame(buffer)
        assert isinstance(frame, LongFrame)
        try:
            telegram = decode_telegram(frame, formats=formats)
        except TelegramError:
            assert says.endswith("refused")
            return
    assert telegram is not None
    assert says != "refused"
    assert short_records(telegram) == records
    if says == "-":
        assert telegram.errors == ()
    for word in says.split("; "):
        if word.startswith("unreadable"):
            assert telegram.unreadable
            assert telegram.errors
        elif word.startswith("identification "):
            assert telegram.header is not None
            assert f"identification {telegram.header.address}" == word
        elif word.startswith("application error "):
            error = telegram.application_error
            assert error is not None
            code = "none" if error.code is None else f"{error.code:02X}"
            assert f"application error {code}" == word
        elif word.startswith("alarm "):
            assert telegram.alarm == bytes.fromhex(word.removeprefix("alarm "))
        elif word.startswith("format "):
            assert f"format {telegram.format}" == word


@pytest.mark.parametrize("probe", probes("security.txt"))
def test_an_encrypted_telegram_is_read_with_its_key_and_only_so(probe: Probe) -> None:
    text, keys, state, records = probe.columns
    key_text, _, name = keys.partition(" @")
    buffer = bytearray.fromhex(text)
    frame = take_frame(buffer)
    assert isinstance(frame, LongFrame)
    key = None if key_text == "-" else bytes.fromhex(key_text)
    try:
        telegram = decode_telegram(frame, key, meter=parse_secondary(name) if name else None)
    except TelegramError:
        assert state == "not DECRYPTED"
        return
    if state.startswith("not "):
        assert telegram.security.name != state.removeprefix("not ")
    else:
        assert telegram.security.name == state
    assert short_records(telegram) == records
    if telegram.encrypted_unread:
        assert telegram.errors
        assert telegram.header is not None or frame.ci == 0x90


@pytest.mark.parametrize("probe", probes("profiles.txt"))
def test_a_compact_profile_is_a_series(probe: Probe) -> None:
    text, wanted = probe.columns
    telegram = said(0x72, LONG_HEADER + bytes.fromhex(text))
    if wanted == "no profile":
        assert telegram.profiles == ()
        return
    (profile,) = telegram.profiles
    found = []
    for entry in profile.entries:
        value = "none" if entry.value is None else format(entry.value, "f")
        value = value.rstrip("0").rstrip(".") if "." in value else value
        found.append(("none" if entry.time is None else entry.time.isoformat(), value))
    pairs = [tuple(entry.split(" ")) for entry in wanted.split("; ")]
    assert len(found) == len(pairs)
    for (time, value), (time_wanted, value_wanted) in zip(found, pairs, strict=True):
        assert value == value_wanted
        assert time_wanted in ("*", time)


# The telegrams that the reference works out, record by record, where it is at hand

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "mbus.md"

TELEGRAM = re.compile(r"^`(68[0-9A-F]{20,}16)`$", re.MULTILINE)
# In a table, or in a line: bytes, function, storage/tariff/subunit, quantity, value.
RECORDS = re.compile(
    r"^\| (?P<bytes>[0-9A-F]{4,}) \| (?P<function>inst|max|min|err) \| (?P<place>[\d/]+) "
    r"\| [^|]* \| (?P<value>[^|]*) \|$"
    r"|`(?P<bytes2>[0-9A-F]{4,})` (?P<function2>inst|max|min|err) (?P<place2>[\d/]+) "
    r"[^=·`]* = (?P<value2>[^·`\n]*)",
    re.MULTILINE,
)
# How many of ours the reference's units are.
FACTORS = {
    "h": Decimal(3600),
    "varh": Decimal("0.001"),
    "var": Decimal("0.001"),
    "VA": Decimal("0.001"),
}


class Worked(NamedTuple):
    """A telegram of the reference, and its records: bytes, function, place and value."""

    frame: str
    records: tuple[tuple[str, str, str, str], ...]


def worked() -> list[ParameterSet]:
    if not REFERENCE.exists():
        skip = pytest.mark.skip(reason="the shared reference is not here")
        return [pytest.param(Worked("", ()), marks=skip, id="reference")]
    text = REFERENCE.read_text(encoding="utf-8").partition("## 6. Worked telegrams")[2]
    found = []
    for section in text.partition("### Short and special")[0].split("\n### ")[1:]:
        match = TELEGRAM.search(section)
        assert match is not None
        records = tuple(
            (
                row["bytes"] or row["bytes2"],
                row["function"] or row["function2"],
                row["place"] or row["place2"],
                (row["value"] or row["value2"]).strip(),
            )
            for row in RECORDS.finditer(section)
        )
        name = section.partition("\n")[0]
        found.append(pytest.param(Worked(match[1], records), id=name.replace(" ", "-")))
    return found


def agrees(record: DataRecord, wanted: str) -> bool:
    """Whether a value is the one that the reference writes, in its units."""
    value = record.value
    if value is None:
        return "invalid" in wanted or wanted in ("no data", "–")
    if isinstance(value, datetime.datetime):
        minutes = value.isoformat(timespec="minutes")
        return wanted.startswith((minutes, value.isoformat()))
    if isinstance(value, (datetime.date, str)):
        return wanted.startswith(str(value))
    if isinstance(value, bytes):
        return wanted.startswith(value.hex().upper())
    assert isinstance(value, Decimal)
    number, unit, *_ = (*wanted.split(" "), "")
    near = abs(Decimal(number) * FACTORS.get(unit, Decimal(1)) - value)
    # The reference gives a real ten digits.
    return near == 0 or (record.dib[0] & 0x0F == DataField.REAL32 and near < Decimal("1e-6"))


@pytest.mark.parametrize("telegram", worked())
def test_a_telegram_of_the_reference_says_record_by_record_what_it_should(
    telegram: Worked,
) -> None:
    frame = take_frame(bytearray.fromhex(telegram.frame))
    assert isinstance(frame, LongFrame)
    found = decode_telegram(frame)
    assert found.errors == ()
    assert len(found.records) == len(telegram.records)
    for record, (text, function, place, value) in zip(found.records, telegram.records, strict=True):
        assert (record.dib + record.vib + record.data).hex().upper() == text
        assert FUNCTIONS[record.function] == function
        assert f"{record.storage}/{record.tariff}/{record.subunit}" == place
        assert agrees(record, value), (text, value)


def test_no_probe_is_lost() -> None:
    assert {path.name: len(lines(path.name)) for path in PROBES.glob("*.txt")} == COUNTS
