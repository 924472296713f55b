"""One meter's points: what its answers, and its silences, make of them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from bridge.mbus.dif import Function
from bridge.mbus.header import PERMANENT_ERROR
from bridge.mbus.record import DataRecord
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram
from bridge.mbus.values import PartialDate
from bridge.mbus.vife import OVERFLOW, UNDERFLOW
from bridge.points.ledger import Ledger
from bridge.points.reading import Fault, Kind, Point, Reading, Value
from bridge.points.select import Selector, find, kind_of, select
from bridge.points.store import Store
from bridge.units import NO_UNITS, Quantity, Unit, convert, convertible, default_unit, usual_unit

# Points that every meter has; a user's point cannot take these names.
ANSWERING = "answering"
LAST_READ = "last-read"
SECONDARY_ADDRESS = "secondary-address"


@dataclass(frozen=True, slots=True)
class PointPlan:
    """A point as the user asked for it, or as it was found.

    ``scale`` multiplies what the meter says, before the unit is converted; it puts right a pulse
    adapter that was set up wrongly. ``unit`` None means the usual one of the quantity.
    """

    name: str
    selector: Selector
    kind: Kind
    unit: str | None = None
    scale: Decimal = Decimal(1)
    description: str = ""
    object_type: str | None = None
    instance: int | None = None
    cov_increment: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """What one meter offers.

    ``points`` None means that the meter's own answer decides: what is current, or with
    ``all_storages`` also what it stored. ``max_age`` is in seconds; a value older than that is in
    fault, however well it was read.
    """

    name: str
    address: str
    max_age: float
    points: tuple[PointPlan, ...] | None = None
    all_storages: bool = False
    description: str = ""


class MeterPoints:
    """Turns the answers of one meter into readings of its points."""

    def __init__(self, plan: MeterPlan, store: Store, ledger: Ledger) -> None:
        self.plan = plan
        self._store = store
        self._ledger = ledger
        self._points: dict[str, PointPlan] = {}
        self._answered: float | None = None  # by the monotonic clock

    def offer(self) -> None:
        """Put all points that are known by now into the store, each as never read."""
        plan = self.plan
        about = plan.description or f"meter {plan.name}"
        self._add(
            ANSWERING, Kind.BOOLEAN, f"{about}: whether it answered when it was last asked", ""
        )
        self._add(LAST_READ, Kind.DATE_TIME, f"{about}: when it was last read", "")
        self._add(SECONDARY_ADDRESS, Kind.TEXT, f"{about}: its secondary address", plan.address)
        planned = plan.points
        if planned is None:
            remembered = self._ledger.remembered(plan.name)
            planned = tuple(_plan_from_json(name, text) for name, text in remembered.items())
            if not plan.all_storages:
                planned = tuple(point for point in planned if not point.selector.storage)
        for point in planned:
            self._offer_point(point)

    def withdraw(self) -> None:
        """Take all of the meter's points out of the store."""
        for name in (ANSWERING, LAST_READ, SECONDARY_ADDRESS, *self._points):
            self._store.remove(self._full(name))
        self._points.clear()

    def answered(self, telegrams: Sequence[Telegram], at: float, now: float) -> list[str]:
        """Take a whole answer.

        Args:
            telegrams: all telegrams of the answer, in order.
            at: wall-clock time at which the answer was complete, seconds since 1970.
            now: the same moment by the monotonic clock, for the age: clocks are set, ages are not.

        Returns:
            The names of points that were found in this answer for the first time.
        """
        first = telegrams[0]
        self._put(ANSWERING, True, at)
        if first.header is not None and first.header.address is not None:
            self._put(SECONDARY_ADDRESS, str(first.header.address), at)
        unread = next((t.security for t in telegrams if t.encrypted_unread), None)
        if unread is not None:
            self._fail_all(_FAULTS_OF_SECURITY[unread])
            return []
        self._answered = now
        self._put(LAST_READ, datetime.datetime.fromtimestamp(at), at)
        records = [record for telegram in telegrams for record in telegram.records]
        new = self._find(records) if self.plan.points is None else []
        permanent_error = any(
            telegram.header is not None and telegram.header.status & PERMANENT_ERROR
            for telegram in telegrams
        )
        for point in self._points.values():
            name = self._full(point.name)
            outcome = self._read(point, records)
            if isinstance(outcome, Fault):
                self._store.fail(name, outcome)
            else:
                fault = Fault.METER_ERROR if permanent_error else None
                self._store.put(name, Reading(value=outcome, read_at=at, fault=fault))
        return new

    def failed(self, fault: Fault, at: float) -> None:
        """The meter was asked, and gave nothing that can be used."""
        if fault is not Fault.NO_CONNECTION:
            self._put(ANSWERING, False, at)
        else:
            self._store.fail(self._full(ANSWERING), fault)
        self._fail_all(fault)

    def busy(self, at: float) -> None:
        """The meter answered, but has nothing to say now. Its values grow older, and no more."""
        self._put(ANSWERING, True, at)

    def expire(self, now: float) -> bool:
        """Mark what has become too old, by the monotonic clock. True where something has."""
        if self._answered is None or now - self._answered <= self.plan.max_age:
            return False
        changed = False
        for name in self._points:
            full = self._full(name)
            if self._store.reading(full).fault is None:
                self._store.fail(full, Fault.TOO_OLD)
                changed = True
        return changed

    def _read(self, point: PointPlan, records: Sequence[DataRecord]) -> Value | Fault:
        record = select(point.selector, records)
        if isinstance(record, Fault):
            return record
        if record.invalid is not None or record.value is None:
            return _FAULTS_OF_RECORD_ERRORS.get(record.invalid or "", Fault.INVALID)
        if kind_of(record) is not point.kind:
            return Fault.WRONG_KIND
        value = record.value
        if point.kind is Kind.TEXT:
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        if isinstance(value, Decimal):
            value *= point.scale
            unit = point.unit or NO_UNITS
            if convertible(record.unit, unit):
                return convert(value, record.unit, unit)
            # A bare number (a pulse adapter's, say) is in whatever unit the user says.
            return value if record.unit is Unit.NONE else Fault.WRONG_UNIT
        if isinstance(value, bytes | PartialDate):
            return Fault.WRONG_KIND
        return value

    def _find(self, records: Sequence[DataRecord]) -> list[str]:
        new: list[str] = []
        with self._ledger.transaction():
            for found in find(records, all_storages=self.plan.all_storages):
                if found.name in self._points or found.record.invalid is not None:
                    continue
                unit = usual_unit(found.record.unit) if found.kind is Kind.NUMBER else NO_UNITS
                point = PointPlan(
                    name=found.name, selector=found.selector, kind=found.kind, unit=unit
                )
                self._ledger.remember(self.plan.name, point.name, _plan_to_json(point))
                self._offer_point(point)
                new.append(self._full(point.name))
        return new

    def _offer_point(self, point: PointPlan) -> None:
        quantity = point.selector.quantity
        if point.unit is None:
            usual = default_unit(quantity) if quantity and point.kind is Kind.NUMBER else NO_UNITS
            point = replace(point, unit=usual)
        self._points[point.name] = point
        self._store.add(
            Point(
                name=self._full(point.name),
                meter=self.plan.name,
                kind=point.kind,
                unit=point.unit or NO_UNITS,
                description=point.description or self._describe(point),
                source=_source(point.selector),
                object_type=point.object_type,
                instance=point.instance,
                cov_increment=point.cov_increment,
            )
        )

    def _describe(self, point: PointPlan) -> str:
        about = self.plan.description or self.plan.name
        return f"{about}: {_source(point.selector)}"

    def _add(self, name: str, kind: Kind, description: str, source: str) -> None:
        self._store.add(
            Point(
                name=self._full(name),
                meter=self.plan.name,
                kind=kind,
                description=description,
                source=source,
            )
        )

    def _put(self, name: str, value: Value, at: float) -> None:
        self._store.put(self._full(name), Reading(value=value, read_at=at, fault=None))

    def _fail_all(self, fault: Fault) -> None:
        for name in self._points:
            self._store.fail(self._full(name), fault)

    def _full(self, name: str) -> str:
        return f"{self.plan.name}.{name}"


# Reasons that the codec gives for a record's missing value, where BACnet has a word of its own.
_FAULTS_OF_RECORD_ERRORS = {OVERFLOW: Fault.OVER_RANGE, UNDERFLOW: Fault.UNDER_RANGE}

_FAULTS_OF_SECURITY = {
    Security.NO_KEY: Fault.NO_KEY,
    Security.WRONG_KEY: Fault.WRONG_KEY,
    Security.NOT_AUTHENTIC: Fault.WRONG_KEY,
    Security.TRUNCATED: Fault.DAMAGED,
    Security.UNSUPPORTED: Fault.UNSUPPORTED_ENCRYPTION,
}


def _source(selector: Selector) -> str:
    """A selector in words, for a description."""
    words: list[str] = []
    if selector.function not in (None, Function.INSTANTANEOUS):
        words.append(str(selector.function))
    if selector.quantity is not None:
        words.append(selector.quantity.value.replace("-", " "))
    words += selector.modifiers or ()
    for word, number in (
        ("storage", selector.storage),
        ("tariff", selector.tariff),
        ("subunit", selector.subunit),
    ):
        if number:
            words.append(f"{word} {number}")
    if selector.dib is not None:
        words.append(f"DIB {selector.dib.hex(' ').upper()}")
    if selector.vib is not None:
        words.append(f"VIB {selector.vib.hex(' ').upper()}")
    if selector.ordinal is not None and (selector.count or 2) > 1:
        words.append(f"number {selector.ordinal}")
    return " ".join(words)


def _plan_to_json(point: PointPlan) -> str:
    selector = point.selector
    return json.dumps(
        {
            "kind": point.kind,
            "unit": point.unit,
            "quantity": selector.quantity,
            "function": selector.function,
            "storage": selector.storage,
            "tariff": selector.tariff,
            "subunit": selector.subunit,
            "modifiers": selector.modifiers,
            "unit_text": selector.unit_text,
            "ordinal": selector.ordinal,
            "count": selector.count,
        }
    )


def _plan_from_json(name: str, text: str) -> PointPlan:
    fields = json.loads(text)
    return PointPlan(
        name=name,
        kind=Kind(fields["kind"]),
        unit=fields["unit"],
        selector=Selector(
            quantity=Quantity(fields["quantity"]),
            function=Function(fields["function"]),
            storage=fields["storage"],
            tariff=fields["tariff"],
            subunit=fields["subunit"],
            modifiers=tuple(fields["modifiers"]),
            unit_text=fields["unit_text"],
            ordinal=fields["ordinal"],
            count=fields["count"],
        ),
    )
