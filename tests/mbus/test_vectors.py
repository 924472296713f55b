"""Our own telegrams against what they say; see tests/vectors/README.md."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.units import Unit

VECTORS = Path(__file__).parent.parent / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.hex"))

# The texts give durations as people do; a record has seconds.
DURATIONS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def telegram_of(name: str) -> Telegram:
    buffer = bytearray.fromhex((VECTORS / f"{name}.hex").read_text())
    frame = take_frame(buffer)
    assert isinstance(frame, LongFrame)
    assert not buffer
    return decode_telegram(frame)


def said(record: DataRecord) -> list[str]:
    """A record in the words of the texts, without its value."""
    quantity = str(record.quantity)
    if record.modifiers:
        quantity += f" [{', '.join(record.modifiers)}]"
    place = f"{record.function} {record.storage}/{record.tariff}/{record.subunit}"
    return [(record.dib + record.vib + record.data).hex().upper(), place, quantity]


def assert_value(record: DataRecord, text: str) -> None:
    if text.startswith("none: "):
        assert (record.value, record.invalid) == (None, text.removeprefix("none: "))
        return
    assert record.invalid is None
    number, _, unit = text.partition(" ")
    match record.value:
        case Decimal():
            factor = DURATIONS.get(unit, 1)
            assert record.value == Decimal(number) * factor
            assert record.unit == (Unit.SECOND if unit in DURATIONS else unit)
        case datetime.datetime():
            assert record.value == datetime.datetime.fromisoformat(text)
        case bytes():
            assert record.value == bytes.fromhex(text)
        case _:
            assert str(record.value) == text


@pytest.mark.parametrize("name", NAMES)
def test_a_telegram_says_what_its_text_says(name: str) -> None:
    telegram = telegram_of(name)
    _, header_line, *lines = (VECTORS / f"{name}.txt").read_text().splitlines()
    assert telegram.errors == ()
    more = lines[-1] == "1F | more records follow"
    assert telegram.more_records_follow == more
    if lines[-1].endswith(" | manufacturer data"):
        assert telegram.manufacturer_data == bytes.fromhex(lines[-1].split()[0])[1:]
    else:
        assert telegram.manufacturer_data == (b"" if more else None)
    lines = [line for line in lines if line.count(" | ") == 3]
    assert len(telegram.records) == len(lines) > 0
    for record, line in zip(telegram.records, lines, strict=True):
        *words, value = line.split(" | ")
        assert said(record) == words
        assert_value(record, value)
    header = dict(part.split("=") for part in header_line.split())
    assert telegram.header is not None
    assert telegram.header.address is not None
    assert telegram.address == int(header["A"])
    assert str(telegram.header.address) == "-".join(
        header[part] for part in ("id", "mfr", "ver", "med")
    )
    assert telegram.header.access_number == int(header["acc"], 16)
    assert telegram.header.status == int(header["st"], 16)
    assert telegram.header.configuration == int(header["cfg"], 16)
