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

KNOWN: dict[tuple[str, int], str] = {}

# Its units, scaled to ours, and what one of its units is in ours.
UNITS = {
    "Wh": (Unit.WATT_HOUR, 1),
    "J": (Unit.JOULE, 1),
    "W": (Unit.WATT, 1),
    "m^3": (Unit.CUBIC_METRE, 1),
    "m^3/h": (Unit.CUBIC_METRE_PER_HOUR, 1),
    "kg": (Unit.KILOGRAM, 1),
    "s": (Unit.SECOND, 1),
    "°C": (Unit.CELSIUS, 1),
    "K": (Unit.KELVIN, 1),
    "V": (Unit.VOLT, 1),
    "A": (Unit.AMPERE, 1),
    "Units for H.C.A.": (Unit.HCA, 1),
}
FUNCTIONS = {
    "Instantaneous value": "instantaneous",
    "Maximum value": "maximum",
    "Minimum value": "minimum",
    "Value during error state": "error",
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
        return f"value {record.value} ({record.invalid}), not {texts['Value']}"
    return ""


def same_value(record: DataRecord, text: str, unit: str) -> bool:
    match record.value:
        case Decimal():
            # It prints six digits behind the point, of a double.
            number = Decimal(text) * UNITS.get(unit, (None, 1))[1]
            return abs(number - record.value) <= max(Decimal("5e-7"), abs(record.value) / 10**14)
        case datetime.datetime():
            return record.value.isoformat() == text.removesuffix("Z")
        case bytes():
            return record.value == bytes.fromhex(text)
        case None:
            return False
        case _:
            return str(record.value) == text


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
