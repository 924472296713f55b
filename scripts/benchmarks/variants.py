"""Recorded telegrams with other values in them: the same layout, read by read, as a meter sends it.

A decoder that is measured on one telegram over and over may remember the whole of it. Here every
telegram is another one: the data of each record are drawn anew over all that they can hold, the
access number goes on, the checksum is right. BCD digits stay digits, dates stay dates, texts stay
texts, and what the meter marked as invalid stays so. What was written is known without decoding
it, so whatever a decoder makes of it can be held against it.
"""

from __future__ import annotations

import datetime
import string
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path
from random import Random
from typing import NamedTuple

from bridge.mbus.dif import DataField
from bridge.mbus.errors import MBusError
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram, decode_telegram
from scripts.benchmarks.process import BenchError

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "vectors" / "telegrams"
OWN = ROOT / "tests" / "vectors"

_START = 4  # bytes of a long frame before its C field
_END = 2  # checksum and stop
_CONTENT = _START + 3  # behind C, A and CI
# Where the access number stands behind the CI field.
_ACCESS_NUMBERS = {0x72: 8, 0x73: 4, 0x76: 8, 0x77: 4, 0x7A: 0}
_EXACT = Context(prec=200)
_TEXT = string.ascii_letters + string.digits


class Place(NamedTuple):
    """Bytes of a telegram that can be written anew; ``first`` to ``last`` are offsets in the frame.

    ``record`` counts from 0 and is None for manufacturer data. A number of the meter means
    ``number * scale + addend``.
    """

    record: int | None
    first: int
    last: int
    kind: str
    scale: Decimal = Decimal(1)
    addend: Decimal = Decimal(0)


@dataclass(frozen=True)
class Recording:
    """A recorded telegram; ``values`` are those that it has as it came."""

    name: str
    data: bytes
    places: tuple[Place, ...]
    values: tuple[object, ...]
    access_number: int | None  # its offset in the frame


class Variant(NamedTuple):
    """A whole frame, and what its records have to say."""

    data: bytes
    values: tuple[object, ...]


class Real(NamedTuple):
    """What a real has to say: any decimal that is this real and no other."""

    data: bytes
    scale: Decimal
    addend: Decimal


def default_paths(folder: Path | None) -> list[Path]:
    """The .hex files of a folder; without one, the shared telegrams, or our own where they are not.

    Raises:
        BenchError: there is none.
    """
    for each in (SHARED, OWN) if folder is None else (folder,):
        if paths := sorted(each.glob("*.hex")):
            return paths
    raise BenchError(f"no .hex files in {folder or SHARED}")


def recordings(paths: Iterable[Path]) -> list[Recording]:
    """Each telegram that is one whole long frame.

    Raises:
        BenchError: one is not.
    """
    return [recording(path.stem, bytes.fromhex(path.read_text())) for path in paths]


def recording(name: str, data: bytes) -> Recording:
    """Finds out what of a telegram can be written anew.

    A number is tried with 0, 1 and 12 in its place; only where the record follows in a straight
    line is it known what any other number means.

    Raises:
        BenchError: it is not one whole long frame, or cannot be decoded.
    """
    telegram = decoded(name, data)
    places: list[Place] = []
    position = _CONTENT
    for number, record in enumerate(telegram.records):
        block = record.dib + record.vib + record.data
        if not record.dib:
            # The fixed data structure: the units of both counters stand before the first one.
            block = record.data
            position = max(position, _CONTENT + 8)
        found = data.find(block, position)
        if found < 0:
            continue
        position = found + len(block)
        place = _place(name, data, record, number, position)
        if place is not None:
            places.append(place)
    if telegram.manufacturer_data and data[:-_END].endswith(telegram.manufacturer_data):
        last = len(data) - _END
        places.append(Place(None, last - len(telegram.manufacturer_data), last, "bytes"))
    offset = _ACCESS_NUMBERS.get(telegram.ci)
    return Recording(
        name,
        data,
        tuple(places),
        tuple(record.value for record in telegram.records),
        None if offset is None or len(data) <= _CONTENT + offset + _END else _CONTENT + offset,
    )


def decoded(name: str, data: bytes) -> Telegram:
    """The telegram in a frame.

    Raises:
        BenchError: it is not one whole long frame, or cannot be decoded.
    """
    buffer = bytearray(data)
    try:
        frame = take_frame(buffer)
        if isinstance(frame, LongFrame) and not buffer:
            return decode_telegram(frame)
    except MBusError as error:
        raise BenchError(f"{name}: {error}") from error
    raise BenchError(f"{name}: not one whole long frame")


def _place(name: str, data: bytes, record: DataRecord, number: int, last: int) -> Place | None:
    variable = record.dib[:1] and record.dib[0] & 0x0F == DataField.VARIABLE
    first = last - len(record.data) + (1 if variable else 0)
    if first == last:
        return None
    match record.value:
        case Decimal():
            for kind in ("real", "bcd", "signed", "unsigned"):
                place = _line(name, data, Place(number, first, last, kind))
                if place is not None:
                    return place
            return None
        case datetime.date() | datetime.time():
            return Place(number, first, last, "time")
        case str() if variable and data[first - 1] == last - first:
            return Place(number, first, last, "text")
        case str() if variable and record.value == data[first:last][::-1].hex().upper():
            return Place(number, first, last, "digits")
        case bytes():
            return Place(number, first, last, "bytes")
        case _:
            return None


def _line(name: str, data: bytes, place: Place) -> Place | None:
    """The place with its scale and addend; None where the record is of another kind."""
    length = place.last - place.first
    if place.kind == "real" and length != 4:
        return None
    results: list[Decimal] = []
    for number in (0, 1, 12, -2 if place.kind == "signed" else 13):
        content = _number_bytes(place.kind, number, length)
        changed = data[: place.first] + content + data[place.last :]
        records = decoded(name, _with_checksum(bytearray(changed))).records
        value = records[place.record or 0].value
        if not isinstance(value, Decimal):
            return None
        results.append(value)
    zero, one, twelve, other = results
    scale = one - zero
    rest = -2 if place.kind == "signed" else 13
    if twelve != zero + 12 * scale or other != zero + rest * scale or not scale:
        return None
    return place._replace(scale=scale, addend=zero)


def _number_bytes(kind: str, number: int, length: int) -> bytes:
    match kind:
        case "real":
            return struct.pack("<f", number)
        case "bcd":
            return bytes.fromhex(f"{number:0{2 * length}d}")[::-1]
        case _:
            return number.to_bytes(length, "little", signed=number < 0)


def _with_checksum(frame: bytearray) -> bytes:
    frame[-2] = sum(frame[_START:-_END]) & 0xFF
    return bytes(frame)


def variant(of: Recording, random: Random, number: int) -> Variant:
    """The ``number``-th telegram of the meter, with other values."""
    frame = bytearray(of.data)
    values = list(of.values)
    for place in of.places:
        content, value = _drawn(place, random)
        frame[place.first : place.last] = content
        if place.record is not None:
            values[place.record] = value
    if of.access_number is not None:
        frame[of.access_number] = (of.data[of.access_number] + number) & 0xFF
    return Variant(_with_checksum(frame), tuple(values))


def _drawn(place: Place, random: Random) -> tuple[bytes, object]:
    length = place.last - place.first
    match place.kind:
        case "bytes":
            content = random.randbytes(length)
            return content, content
        case "digits":
            content = random.randbytes(length)
            return content, content[::-1].hex().upper()
        case "text":
            text = "".join(random.choices(_TEXT, k=length))
            return text.encode("latin-1")[::-1], text
        case "time":
            return _drawn_time(length, random)
        case "real":
            # All 24 bits of the mantissa, and the size of what meters measure.
            content = struct.pack("<f", random.uniform(-1, 1) * 10 ** random.randint(-3, 7))
            return content, Real(content, place.scale, place.addend)
        case "bcd":
            number = random.randrange(10 ** (2 * length))
            content = _number_bytes("bcd", number, length)
        case "signed":
            # The lowest one says "no value".
            most = 1 << 8 * length - 1
            number = random.randrange(1 - most, most)
            content = number.to_bytes(length, "little", signed=True)
        case _:
            # All ones say "no value".
            number = random.randrange((1 << 8 * length) - 1)
            content = number.to_bytes(length, "little")
    product = _EXACT.multiply(Decimal(number), place.scale)
    return content, _EXACT.add(product, place.addend)


def _drawn_time(length: int, random: Random) -> tuple[bytes, object]:
    """Types G, F, I and J, by their length (EN 13757-3, annex A)."""
    year, month, day = random.randint(2001, 2079), random.randint(1, 12), random.randint(1, 28)
    hour, minute, second = random.randrange(24), random.randrange(60), random.randrange(60)
    low, high = day | (year % 100 & 7) << 5, month | year % 100 >> 3 << 4
    match length:
        case 2:
            return bytes((low, high)), datetime.date(year, month, day)
        case 3:
            return bytes((second, minute, hour)), datetime.time(hour, minute, second)
        case 4:
            time = datetime.datetime(year, month, day, hour, minute)
            return bytes((minute, hour, low, high)), time
        case _:
            time = datetime.datetime(year, month, day, hour, minute, second)
            return bytes((second, minute, hour, low, high, 0)), time


def difference(found: Iterable[object], expected: Variant) -> str:
    """In a few words where decoded values are not those that were written; empty if they are."""
    values = tuple(found)
    if len(values) != len(expected.values):
        return f"{len(values)} records, not {len(expected.values)}"
    for number, (value, right) in enumerate(zip(values, expected.values, strict=True)):
        if isinstance(right, Real):
            if not isinstance(value, Decimal) or _real(value, right) != right.data:
                return f"record {number}: {value!r}, not the real {right.data.hex()}"
        elif value != right or type(value) is not type(right):
            return f"record {number}: {value!r}, not {right!r}"
    return ""


def _real(value: Decimal, real: Real) -> bytes:
    number = _EXACT.divide(_EXACT.subtract(value, real.addend), real.scale)
    return struct.pack("<f", float(number))
