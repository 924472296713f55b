"""Telegrams of real meters against what the C library libmbus says of them.

Its word is a second opinion, not the truth: where the two differ the standard wins, and the
difference stands in KNOWN with its reason.
"""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.mbus.errors import MBusError
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.units import Unit

SHARED = Path(__file__).parents[3] / "shared" / "vectors"
TELEGRAMS = sorted((SHARED / "telegrams").glob("*.hex"))
DAMAGED = sorted((SHARED / "damaged").glob("*.hex"))

needs_telegrams = pytest.mark.skipif(not TELEGRAMS, reason="no recorded telegrams in ../shared")
needs_damaged = pytest.mark.skipif(not DAMAGED, reason="no damaged telegrams in ../shared")

_BCD = "error digits: it makes numbers of BCD digits above 9"
_NO_DATE = "no date: day and month are 0, which it writes as 2000-00-00"
KNOWN = {
    ("ACW_Itron-BM-plus-m", 2): _NO_DATE,
    ("ELS_Elster-F96-Plus", 4): _BCD,
    ("ELS_Elster-F96-Plus", 5): _BCD,
    ("REL-Relay-Padpuls2", 1): "the meter marks its clock as invalid, which it does not look at",
    ("abb_f95", 2): _BCD,
    ("abb_f95", 3): _BCD,
    ("sen_pollutherm", 2): "VIF 7B, which no table has: it leaves the record empty",
    ("siemens_water", 3): _NO_DATE,
    ("siemens_wfh21", 3): _NO_DATE,
}

# In the folder of damaged telegrams, and nothing is wrong with it.
WELL_FORMED = ["svm_f22_telegram2"]  # all its data are the manufacturer's

# Its units, scaled to ours, and what one of its units is in ours.
UNITS = {
    "Wh": (Unit.WATT_HOUR, Decimal(1)),
    "J": (Unit.JOULE, Decimal(1)),
    "W": (Unit.WATT, Decimal(1)),
    "m^3": (Unit.CUBIC_METRE, Decimal(1)),
    "m^3/h": (Unit.CUBIC_METRE_PER_HOUR, Decimal(1)),
    "kg": (Unit.KILOGRAM, Decimal(1)),
    "s": (Unit.SECOND, Decimal(1)),
    "Â°C": (Unit.CELSIUS, Decimal(1)),  # UTF-8 in a file that says ISO 8859-1
    "K": (Unit.KELVIN, Decimal(1)),
    "V": (Unit.VOLT, Decimal(1)),
    "A": (Unit.AMPERE, Decimal(1)),
    "Units for H.C.A.": (Unit.HCA, Decimal(1)),
    "kWh": (Unit.WATT_HOUR, Decimal(1000)),  # of the fixed data structure
    "l": (Unit.CUBIC_METRE, Decimal("0.001")),
}
FUNCTIONS = {
    "Instantaneous value": "instantaneous",
    "Maximum value": "maximum",
    "Minimum value": "minimum",
    "Value during error state": "error",
    "Actual value": "instantaneous",  # of the fixed data structure
}


def decoded(path: Path) -> Telegram:
    buffer = bytearray.fromhex(path.read_text())
    frame = take_frame(buffer)
    assert isinstance(frame, LongFrame)
    assert not buffer
    return decode_telegram(frame)


def differences(record: DataRecord, opinion: ElementTree.Element) -> str:
    """In a few words what the two say differently; empty where they agree."""
    texts = {child.tag: (child.text or "") for child in opinion}
    if not texts:
        return "it says nothing"
    if FUNCTIONS[texts["Function"]] != record.function:
        return f"function {record.function}, not {texts['Function']}"
    if "StorageNumber" in texts and int(texts["StorageNumber"]) != record.storage:
        return f"storage {record.storage}, not {texts['StorageNumber']}"
    if int(texts.get("Tariff", record.tariff)) != record.tariff:
        return f"tariff {record.tariff}, not {texts['Tariff']}"
    if int(texts.get("Device", record.subunit)) != record.subunit:
        return f"subunit {record.subunit}, not {texts['Device']}"
    unit = texts["Unit"]
    if unit in UNITS and UNITS[unit][0] != record.unit:
        return f"unit {record.unit}, not {unit}"
    if not same_value(record, texts["Value"], unit):
        return f"value {record.value!s} ({record.invalid}), not {texts['Value']}"
    return ""


def same_value(record: DataRecord, text: str, unit: str) -> bool:
    """Whether a value is the one that it prints; of a 16-byte number it prints hex digits."""
    match record.value:
        case Decimal():
            # It prints six digits behind the point, of a double.
            number = Decimal(text) * (UNITS[unit][1] if unit in UNITS else 1)
            return abs(number - record.value) <= max(Decimal("5e-7"), abs(record.value) / 10**14)
        case datetime.datetime():
            return record.value.isoformat() == text.removesuffix("Z")
        case None:
            return False
        case _:
            return str(record.value) in (text, text.replace(" ", ""))


@needs_telegrams
@pytest.mark.parametrize("path", TELEGRAMS, ids=lambda path: path.stem)
def test_every_record_has_the_value_that_libmbus_finds(path: Path) -> None:
    telegram = decoded(path)
    root = ElementTree.parse(path.with_suffix(".xml")).getroot()
    opinions = [
        opinion
        for opinion in root.iter("DataRecord")
        if opinion.findtext("Function") not in ("Manufacturer specific", "More records follow")
    ]
    assert telegram.errors == ()
    assert len(telegram.records) == len(opinions)
    for number, (record, opinion) in enumerate(zip(telegram.records, opinions, strict=True)):
        difference = differences(record, opinion)
        expected = (path.stem, number) in KNOWN
        assert bool(difference) == expected, f"record {number}: {difference}"


@needs_telegrams
@pytest.mark.parametrize("path", TELEGRAMS, ids=lambda path: path.stem)
def test_every_header_says_what_libmbus_finds(path: Path) -> None:
    telegram = decoded(path)
    opinion = ElementTree.parse(path.with_suffix(".xml")).getroot().find("SlaveInformation")
    assert opinion is not None
    assert telegram.header is not None
    assert telegram.header.address is not None
    address = telegram.header.address
    assert address.identification == opinion.findtext("Id", "").zfill(8)
    assert telegram.header.access_number == int(opinion.findtext("AccessNumber", ""))
    assert telegram.header.status == int(opinion.findtext("Status", ""), 16)
    if opinion.find("Manufacturer") is not None:
        # It makes letters of every word, so 0000 becomes @@@.
        manufacturer = opinion.findtext("Manufacturer", "").replace("@@@", "0000")
        assert address.manufacturer == manufacturer
        assert address.version == int(opinion.findtext("Version", ""))


@needs_telegrams
def test_the_list_of_known_differences_names_telegrams_that_exist() -> None:
    assert {name for name, _ in KNOWN} <= {path.stem for path in TELEGRAMS}


@needs_damaged
@pytest.mark.parametrize("path", DAMAGED, ids=lambda path: path.stem)
def test_a_damaged_telegram_is_an_error_or_has_errors(path: Path) -> None:
    buffer = bytearray(int(byte, 16) for byte in path.read_text().split())
    try:
        frame = take_frame(buffer)
        if frame is None:
            return  # cut short: more bytes must come, and none will
        assert isinstance(frame, LongFrame)
        telegram = decode_telegram(frame)
    except MBusError:
        return
    assert bool(telegram.errors) == (path.stem not in WELL_FORMED)
    for error in telegram.errors:
        assert error.reason
        assert frame.data[error.offset :].startswith(error.data)
