"""What a meter sends, by key: the records of a whole answer, without their values.

A record's key is its DIB and VIB bytes and, where the meter sends the same twice, its ordinal among
equals: ``0C06``, ``0C06#2``; a stored counter of the fixed data structure, which has no DIB, is
``E9/1`` (`DataRecord.key`). Over the telegrams of one answer it counts on: what
the first telegram sends once and the second twice is ``0C06``, ``0C06#2`` and ``0C06#3``.
"""

from __future__ import annotations

import datetime
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from bridge.mbus.dif import EXTENSION, LENGTHS, DataField, Function
from bridge.mbus.record import DataRecord
from bridge.mbus.values import PartialDate
from bridge.mbus.walk import decode_records
from bridge.points.reading import Kind
from bridge.units import Quantity, Unit

# Numbers that name something. REAL holds 24 bits, so an eight-digit number would be another one.
TEXT_QUANTITIES = frozenset(
    {
        Quantity.FABRICATION_NUMBER,
        Quantity.IDENTIFICATION,
        Quantity.MANUFACTURER,
        Quantity.PARAMETER_SET,
        Quantity.MODEL_VERSION,
        Quantity.HARDWARE_VERSION,
        Quantity.FIRMWARE_VERSION,
        Quantity.SOFTWARE_VERSION,
        Quantity.CUSTOMER_LOCATION,
        Quantity.CUSTOMER,
        Quantity.SUPPLIER_INFORMATION,
        Quantity.OPERATOR_DATA,
    }
)
_DATE_QUANTITIES = {Quantity.DATE: Kind.DATE, Quantity.DATE_TIME: Kind.DATE_TIME}


@dataclass(frozen=True, slots=True)
class Identity:
    """All that a record says of itself but its value and its scale."""

    quantity: Quantity
    function: Function
    storage: int
    tariff: int
    subunit: int
    modifiers: tuple[str, ...]
    unit: Unit
    unit_text: str

    @classmethod
    def of(cls, record: DataRecord) -> Identity:
        return cls(
            quantity=record.quantity,
            function=record.function,
            storage=record.storage,
            tariff=record.tariff,
            subunit=record.subunit,
            modifiers=record.modifiers,
            unit=record.unit if record.quantity is Quantity.USER_DEFINED else Unit.NONE,
            unit_text=record.unit_text,
        )

    def slug(self) -> str:
        """A name for a point: ``energy``, ``power-maximum-storage-1``."""
        own_words = self.quantity is Quantity.USER_DEFINED and _slug(self.unit_text or self.unit)
        parts = [own_words or self.quantity.value, *map(_slug, self.modifiers)]
        if self.function is not Function.INSTANTANEOUS:
            parts.append("in-error" if self.function is Function.ERROR else self.function.value)
        parts += (f"{word}-{number}" for word, number in places(self))
        return "-".join(parts).lower()

    def words(self) -> str:
        """What it is, for a person: ``power, maximum, storage 1``."""
        parts = [self.quantity.value.replace("-", " "), *self.modifiers]
        if self.unit_text:
            parts.append(f'"{self.unit_text}"')
        if self.function is not Function.INSTANTANEOUS:
            parts.append(self.function.value)
        parts += (f"{word} {number}" for word, number in places(self))
        return ", ".join(parts)


class _Placed(Protocol):
    """What has the three numbers of a DIB; None where one of them does not matter."""

    @property
    def storage(self) -> int | None: ...
    @property
    def tariff(self) -> int | None: ...
    @property
    def subunit(self) -> int | None: ...


def places(of: _Placed) -> Iterator[tuple[str, int]]:
    """The numbers of a DIB that are not the usual 0, each with its word."""
    for word, number in (("storage", of.storage), ("tariff", of.tariff), ("subunit", of.subunit)):
        if number:
            yield word, number


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[^\W_]+", text))


@dataclass(frozen=True, slots=True)
class Known:
    """One record that a meter sends: its key, what it says of itself, its unit, its kind.

    ``kind`` is None where no point could offer it, as bytes.
    """

    key: str
    identity: Identity
    unit: Unit
    kind: Kind | None

    @classmethod
    def of(cls, record: DataRecord, key: str) -> Known:
        return cls(key, Identity.of(record), record.unit, kind_of(record))

    @property
    def block(self) -> str:
        """The key without the ordinal: what records that are equal have in common."""
        return block_of(self.key)

    @property
    def ordinal(self) -> int:
        return ordinal_of(self.key)

    @property
    def dib(self) -> bytes:
        return split_block(bytes_of(self.key))[0]

    @property
    def vib(self) -> bytes:
        return split_block(bytes_of(self.key))[1]


def block_of(key: str) -> str:
    """``0C06#2`` without its ordinal."""
    return key.partition("#")[0]


def ordinal_of(key: str) -> int:
    """The ordinal of a key, from 1."""
    return int(key.partition("#")[2] or 1)


def bytes_of(key: str) -> bytes:
    """The bytes of DIB and VIB in a key: those of ``0C06#2`` are 0C 06, that of ``E9/1`` is E9."""
    return bytes.fromhex(block_of(key).partition("/")[0])


def split_block(block: bytes) -> tuple[bytes, bytes]:
    """DIB and VIB: the DIB ends with its first byte without extension bit.

    A counter of the fixed structure has no DIB, and one byte in place of a VIB.
    """
    if len(block) < 2:
        return b"", block
    end = next((n for n, byte in enumerate(block, 1) if not byte & EXTENSION), len(block))
    return block[:end], block[end:]


def known_records(records: Iterable[DataRecord]) -> list[Known]:
    """The records of one whole answer, in its order, each with the key that it has in there."""
    seen: Counter[str] = Counter()
    known: list[Known] = []
    for record in records:
        block = block_of(record.key)
        seen[block] += 1
        key = block if seen[block] == 1 else f"{block}#{seen[block]}"
        known.append(Known.of(record, key))
    return known


def imagine(block: bytes) -> DataRecord | None:
    """The record that a DIB and VIB would head, with zeros for its data; None where it is none."""
    field = block[0] & 0x0F
    length = 1 if field == DataField.VARIABLE else LENGTHS[field]  # an LVAR of 0: an empty text
    found = decode_records(block + bytes(length))
    if found.errors or len(found.records) != 1:
        return None
    (record,) = found.records
    return record if record.dib + record.vib == block else None


def kind_of(record: DataRecord) -> Kind | None:
    """What sort of point a record feeds, or None where no point could offer it."""
    if isinstance(record.value, bytes):
        return None
    if record.quantity in TEXT_QUANTITIES:
        return Kind.TEXT
    match record.value:
        case Decimal():
            return Kind.NUMBER
        case str():
            return Kind.TEXT
        case datetime.datetime():
            return Kind.DATE_TIME
        case datetime.date():
            return Kind.DATE
        case datetime.time():
            return Kind.TIME
        case PartialDate():
            return Kind.TEXT
        case None:
            return kind_of_quantity(record.quantity)
        case _:
            return None


def kind_of_quantity(quantity: Quantity) -> Kind:
    """What sort of point a quantity usually makes, while no record was seen."""
    if quantity in TEXT_QUANTITIES:
        return Kind.TEXT
    return _DATE_QUANTITIES.get(quantity, Kind.NUMBER)


# For the ledger


def to_json(known: Sequence[Known]) -> str:
    """What a meter sends, as the ledger keeps it: a list of lists."""
    return json.dumps(
        [
            [
                *(each.key, each.identity.quantity, each.identity.function),
                *(each.identity.storage, each.identity.tariff, each.identity.subunit),
                *(each.identity.modifiers, each.unit, each.identity.unit_text, each.kind),
            ]
            for each in known
        ],
        separators=(",", ":"),
    )


def from_json(text: str) -> list[Known]:
    """The inverse of `to_json`; what another version called by words unknown here is left out."""
    known: list[Known] = []
    for key, quantity, function, storage, tariff, subunit, modifiers, unit, own, kind in json.loads(
        text
    ):
        if not (_has(Quantity, quantity) and _has(Unit, unit) and _has(Function, function)):
            continue
        identity = Identity(
            quantity=Quantity(quantity),
            function=Function(function),
            storage=storage,
            tariff=tariff,
            subunit=subunit,
            modifiers=tuple(modifiers),
            unit=Unit(unit) if quantity == Quantity.USER_DEFINED else Unit.NONE,
            unit_text=own,
        )
        known.append(Known(key, identity, Unit(unit), Kind(kind) if _has(Kind, kind) else None))
    return known


def _has(words: type[StrEnum], word: object) -> bool:
    return word in words.__members__.values()
