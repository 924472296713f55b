"""Which data record feeds which point.

A record is named by what it says: quantity, function, storage number, tariff, subunit, and the
modifiers of its VIFEs. Its position in the telegram and its power of ten say nothing: a meter that
adds a record, or changes its range, moves nothing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

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

    ``dib`` and ``vib`` are the bytes themselves, for records that no words describe. ``ordinal``
    counts from 1 among the records that fit, for meters that send the same thing several times;
    ``count`` is how many of them there were when the point was made.
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

    def fits(self, record: DataRecord) -> bool:
        return all(
            wanted is None or wanted == present
            for wanted, present in (
                (self.quantity, record.quantity),
                (self.function, record.function),
                (self.storage, record.storage),
                (self.tariff, record.tariff),
                (self.subunit, record.subunit),
                (self.modifiers, record.modifiers),
                (self.unit_text, record.unit_text),
                (self.dib, record.dib),
                (self.vib, record.vib),
            )
        )


def select(selector: Selector, records: Sequence[DataRecord]) -> DataRecord | Fault:
    """The one record that a selector names, or why there is none."""
    fitting = [record for record in records if selector.fits(record)]
    if selector.modifiers is None and len(fitting) > 1:
        # "power" beside "power of phase L1": who says nothing of phases means the first.
        plain = [record for record in fitting if not record.modifiers]
        fitting = plain or fitting
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


def find(records: Iterable[DataRecord], *, all_storages: bool) -> list[Found]:
    """The points that a meter's answer offers by itself.

    Args:
        records: the data records of one whole answer.
        all_storages: also those of the past (storage number above 0).
    """
    groups: dict[Identity, list[DataRecord]] = {}
    for record in records:
        if record.quantity in _MEANINGLESS or record.quantity in SECRET_QUANTITIES:
            continue
        if record.storage and not all_storages:
            continue
        groups.setdefault(Identity.of(record), []).append(record)
    found: list[Found] = []
    taken: set[str] = set()
    for identity, group in groups.items():
        for ordinal, record in enumerate(group, start=1):
            kind = kind_of(record)
            if kind is None:
                continue
            name = identity.slug() if ordinal == 1 else f"{identity.slug()}-{ordinal}"
            if name in taken:
                # Modifiers that differ only in signs the slug drops; the bytes tell them apart.
                name = f"{name}-{record.dib.hex()}{record.vib.hex()}"
            taken.add(name)
            found.append(
                Found(
                    name=name,
                    selector=Selector(
                        quantity=identity.quantity,
                        function=identity.function,
                        storage=identity.storage,
                        tariff=identity.tariff,
                        subunit=identity.subunit,
                        modifiers=identity.modifiers,
                        unit_text=identity.unit_text,
                        ordinal=ordinal,
                        count=len(group),
                    ),
                    record=record,
                    kind=kind,
                )
            )
    return found
