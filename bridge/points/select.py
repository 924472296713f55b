"""Which data record feeds which point.

A record is named by what it says: quantity, function, storage number, tariff, subunit, and the
modifiers of its VIFEs. Its position in the telegram and its power of ten say nothing: a meter that
adds a record, or changes its range, moves nothing.
"""

from __future__ import annotations

import datetime
import itertools
import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from bridge.mbus.dif import Function
from bridge.mbus.record import DataRecord
from bridge.mbus.values import PartialDate
from bridge.points.reading import Fault, Kind
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

# What must not be offered to everybody on the network.
SECRET_QUANTITIES = frozenset(
    {
        Quantity.PASSWORD,
        Quantity.SECURITY_KEY,
        Quantity.ACCESS_CODE_USER,
        Quantity.ACCESS_CODE_OPERATOR,
        Quantity.ACCESS_CODE_SYSTEM_OPERATOR,
        Quantity.ACCESS_CODE_DEVELOPER,
    }
)

_MEANINGLESS = frozenset({Quantity.UNKNOWN, Quantity.MANUFACTURER_SPECIFIC, Quantity.ANY})
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
        for word, number in (
            ("storage", self.storage),
            ("tariff", self.tariff),
            ("subunit", self.subunit),
        ):
            if number:
                parts.append(f"{word}-{number}")
        return "-".join(parts).lower()


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[^\W_]+", text))


@dataclass(frozen=True, slots=True)
class Selector:
    """How a point names its record; None means that it does not matter.

    ``modifiers`` None takes only a record without any, unless ``vib`` says them: a limit, or the
    count of its exceeds, must never stand in for the value itself.

    ``dib`` and ``vib`` are the bytes themselves, for records that no words describe. ``ordinal``
    counts from 1 among the records that fit, for meters that send the same thing several times;
    ``count`` is how many of them there were when the point was made.

    ``like`` are the bytes (DIB and VIB) that the record of a found point had. They tell it from
    others that say the same in another range; ``alone`` says that there were none, so that a meter
    which changes its range is followed.
    """

    quantity: Quantity | None = None
    function: Function | None = Function.INSTANTANEOUS
    storage: int | None = 0
    tariff: int | None = 0
    subunit: int | None = 0
    modifiers: tuple[str, ...] | None = None
    unit_text: str | None = None
    dib: bytes | None = None
    vib: bytes | None = None
    ordinal: int | None = None
    count: int | None = None
    like: bytes | None = None
    alone: bool = False

    @classmethod
    def found(cls, record: DataRecord, ordinal: int, count: int, *, alone: bool) -> Selector:
        """The selector of a point that is made for one record of an answer."""
        identity = Identity.of(record)
        return cls(
            quantity=identity.quantity,
            function=identity.function,
            storage=identity.storage,
            tariff=identity.tariff,
            subunit=identity.subunit,
            modifiers=identity.modifiers,
            unit_text=identity.unit_text,
            ordinal=ordinal,
            count=count,
            like=record.dib + record.vib,
            alone=alone,
        )

    def fits(self, record: DataRecord) -> bool:
        # Written out, what differs most first: each answer is held against each of its points.
        wanted = self.modifiers
        if wanted is None and self.vib is None:
            wanted = ()
        return (
            self.quantity in (None, record.quantity)
            and self.storage in (None, record.storage)
            and self.tariff in (None, record.tariff)
            and wanted in (None, record.modifiers)
            and self.function in (None, record.function)
            and self.subunit in (None, record.subunit)
            and self.unit_text in (None, record.unit_text)
            and self.dib in (None, record.dib)
            and self.vib in (None, record.vib)
        )

    def among(self, records: Sequence[DataRecord]) -> list[DataRecord]:
        """All records that fit; of a found point, those with the bytes that it was made for."""
        fitting = [record for record in records if self.fits(record)]
        if self.like is None:
            return fitting
        same = [record for record in fitting if record.dib + record.vib == self.like]
        return same if same or not self.alone else fitting


def select(selector: Selector, records: Sequence[DataRecord]) -> DataRecord | Fault:
    """The one record that a selector names, or why there is none."""
    fitting = selector.among(records)
    if not fitting:
        return Fault.RECORD_MISSING
    if selector.count is not None and len(fitting) != selector.count:
        # Which of several equal records is gone, or new, nobody can say.
        return Fault.AMBIGUOUS
    if selector.ordinal is not None:
        if selector.ordinal > len(fitting):
            return Fault.RECORD_MISSING
        return fitting[selector.ordinal - 1]
    return fitting[0] if len(fitting) == 1 else Fault.AMBIGUOUS


@dataclass(frozen=True, slots=True)
class Found:
    """A record worth offering, with the name and the selector that a point for it has."""

    name: str
    selector: Selector
    record: DataRecord
    kind: Kind


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


def find(
    records: Sequence[DataRecord],
    known: Mapping[str, Selector] = MappingProxyType({}),
    *,
    all_storages: bool,
) -> list[Found]:
    """The points that a meter's answer offers by itself, and that are not known yet.

    Args:
        records: the data records of one whole answer.
        known: the selectors of points that were found before, by name.
        all_storages: also those of the past (storage number above 0).
    """
    claimed: set[int] = set()
    for selector in known.values():
        record = select(selector, records)
        # As long as it is open which record is whose, none of them is a new one.
        mine = selector.among(records) if isinstance(record, Fault) else [record]
        claimed.update(map(id, mine))
    found: list[Found] = []
    taken = set(known)
    for identity, group in _groups(records, all_storages=all_storages).items():
        keys = Counter(record.dib + record.vib for record in group)
        seen: Counter[bytes] = Counter()
        for record in group:
            key = record.dib + record.vib
            seen[key] += 1
            kind = kind_of(record)
            if kind is None or id(record) in claimed:
                continue
            name = _free_name(identity.slug(), taken)
            taken.add(name)
            selector = Selector.found(record, seen[key], keys[key], alone=len(keys) == 1)
            found.append(Found(name=name, selector=selector, record=record, kind=kind))
    return found


def _groups(
    records: Iterable[DataRecord], *, all_storages: bool
) -> dict[Identity, list[DataRecord]]:
    """The records worth offering; together those that say the same."""
    groups: dict[Identity, list[DataRecord]] = {}
    for record in records:
        if record.quantity in _MEANINGLESS or record.quantity in SECRET_QUANTITIES:
            continue
        if record.storage and not all_storages:
            continue
        groups.setdefault(Identity.of(record), []).append(record)
    return groups


def _free_name(slug: str, taken: Container[str]) -> str:
    names = (slug if n == 1 else f"{slug}-{n}" for n in itertools.count(1))
    return next(name for name in names if name not in taken)
