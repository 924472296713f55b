"""One meter's points: what its answers, and its silences, make of them."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.dif import Function
from bridge.mbus.header import PERMANENT_ERROR
from bridge.mbus.record import DataRecord
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram
from bridge.mbus.values import PartialDate
from bridge.mbus.vif import EXACT
from bridge.mbus.vife import OVERFLOW, UNDERFLOW
from bridge.points.ledger import Ledger, LedgerError
from bridge.points.reading import Fault, Kind, Point, Reading, Value
from bridge.points.select import Selector, find, kind_of, select
from bridge.points.store import Store
from bridge.units import NO_UNITS, Quantity, Unit, convert, convertible, default_unit, usual_unit

log = logging.getLogger(__name__)

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
        self._unconfirmed: set[str] = set()  # found once, and not in the ledger yet
        self._identity: SecondaryAddress | None = None  # of the meter whose values are served
        self._newcomer: SecondaryAddress | None = None  # who answered in its place, last time
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
            planned = tuple(
                point
                for point in self._remembered()
                if plan.all_storages or not point.selector.storage
            )
        counts = self._ledger.remembered(self._counts)
        for point in planned:
            count = counts.get(point.name)
            if point.selector.ordinal is not None and count is not None:
                point = replace(point, selector=replace(point.selector, count=int(count)))
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
        self._put(ANSWERING, True, at)
        if not self._is_ours(telegrams[0], at):
            self._fail_all(Fault.FOREIGN_METER)
            return []
        unread = next((t.security for t in telegrams if t.encrypted_unread), None)
        if unread is not None:
            self._fail_all(_FAULTS_OF_SECURITY[unread])
            return []
        self._put(LAST_READ, datetime.datetime.fromtimestamp(at), at)
        records = [record for telegram in telegrams for record in telegram.records]
        new = self._find(records) if self.plan.points is None else []
        self._count_equals(records)
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
                self._store.put(name, Reading(outcome.value, at, fault, outcome.resolution))
        # Last: were it set above, and something went wrong since, old values would look fresh.
        self._answered = now
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

    def _is_ours(self, telegram: Telegram, at: float) -> bool:
        """Whether the meter that answers is the one whose values are served.

        A damaged telegram in 256 passes its checksum, so another identity is believed only when it
        comes twice. Then it is an exchanged meter, and takes over its objects, if it is of the
        same kind; a water meter's count is never shown as a heat meter's.
        """
        header = telegram.header
        address = None if header is None else header.address
        if address is None:
            return True
        if self._identity is None:
            self._identity = address
        if address == self._identity:
            self._newcomer = None
            self._put(SECONDARY_ADDRESS, str(address), at)
            return True
        name = self.plan.name
        same_kind = address.device_type == self._identity.device_type
        if address != self._newcomer:
            self._newcomer = address
            log.warning(
                "%s: %s answers in the place of %s; its values are held back until %s",
                name,
                address,
                self._identity,
                "it answers again"
                if same_kind
                else "the bridge is started again: it measures something else",
            )
            return False
        if not same_kind:
            return False
        log.warning("%s: the meter was exchanged, %s for %s", name, address, self._identity)
        self._identity, self._newcomer = address, None
        self._put(SECONDARY_ADDRESS, str(address), at)
        return True

    def _read(self, point: PointPlan, records: Sequence[DataRecord]) -> _Outcome | Fault:
        record = select(point.selector, records)
        if isinstance(record, Fault):
            return record
        if record.invalid is not None or record.value is None:
            return _FAULTS_OF_RECORD_ERRORS.get(record.invalid or "", Fault.INVALID)
        if kind_of(record) is not point.kind:
            return Fault.WRONG_KIND
        value = record.value
        if point.kind is Kind.TEXT:
            text = format(value, "f") if isinstance(value, Decimal) else str(value)
            return _Outcome(text, None)
        if isinstance(value, Decimal):
            return _number(record, value, point)
        if isinstance(value, bytes | PartialDate):
            return Fault.WRONG_KIND
        return _Outcome(value, None)

    def _find(self, records: Sequence[DataRecord]) -> list[str]:
        known = {name: point.selector for name, point in self._points.items()}
        new: list[PointPlan] = []
        confirmed = [
            name
            for name in self._unconfirmed
            if not isinstance(select(known[name], records), Fault)
        ]
        for found in find(records, known, all_storages=self.plan.all_storages):
            # A number that is invalid now, of a broken sensor, say, is a number all the same; what
            # another kind of value will be, only a valid one tells.
            if found.record.invalid is None or found.kind is Kind.NUMBER:
                unit = _unit_of(found.record) if found.kind is Kind.NUMBER else NO_UNITS
                new.append(PointPlan(found.name, found.selector, found.kind, unit))
        if new:
            # One write for all the objects that come of it.
            try:
                with self._ledger.transaction():
                    for point in new:
                        self._offer_point(point)
            except LedgerError as error:
                # What is offered stays so; what is not has another chance with the next answer.
                log.error("%s: %s", self.plan.name, error)
                new = [point for point in new if point.name in self._points]
            self._unconfirmed.update(point.name for point in new)
        # One answer alone may have been damaged.
        texts = {name: _plan_to_json(self._points[name]) for name in confirmed}
        if texts and self._keep(self.plan.name, texts):
            self._unconfirmed.difference_update(confirmed)
        return [self._full(point.name) for point in new]

    @property
    def _counts(self) -> str:
        """Where the ledger keeps how many records fitted a point with an ordinal."""
        return f"{self.plan.name}:counts"

    def _count_equals(self, records: Sequence[DataRecord]) -> None:
        """Note, once, among how many equal records a user's ordinal counts.

        When one of them goes, the others move up; without the count they would be taken for it.
        """
        counts: dict[str, str] = {}
        for name, point in self._points.items():
            selector = point.selector
            if selector.ordinal is None or selector.count is not None:
                continue
            count = len(selector.among(records))
            if count >= selector.ordinal:
                self._points[name] = replace(point, selector=replace(selector, count=count))
                counts[name] = str(count)
        if counts:
            self._keep(self._counts, counts)

    def _keep(self, key: str, texts: Mapping[str, str]) -> bool:
        """Write to the ledger, all at once; where it cannot be written the values go on."""
        try:
            with self._ledger.transaction():
                for name, text in texts.items():
                    self._ledger.remember(key, name, text)
        except LedgerError as error:
            log.error("%s: %s", self.plan.name, error)
            return False
        return True

    def _remembered(self) -> Iterator[PointPlan]:
        for name, text in self._ledger.remembered(self.plan.name).items():
            try:
                yield _plan_from_json(name, text)
            except (KeyError, ValueError, TypeError) as error:
                log.warning(
                    "%s: the ledger holds a point %s that this version does not understand (%r); "
                    "it is left out until the meter tells it again",
                    self.plan.name,
                    name,
                    error,
                )

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


class _Outcome(NamedTuple):
    """A point's value, and the step in which it can change; see `Reading`."""

    value: Value
    resolution: Decimal | None


def _number(record: DataRecord, value: Decimal, point: PointPlan) -> _Outcome | Fault:
    unit = point.unit or NO_UNITS
    step = record.step
    value = EXACT.multiply(value, point.scale)
    step = None if step is None else EXACT.multiply(step, abs(point.scale))
    if convertible(record.unit, unit):
        step = None if step is None else convert(step, record.unit, unit)
        return _Outcome(convert(value, record.unit, unit), step)
    if record.unit is Unit.NONE and default_unit(record.quantity) == NO_UNITS:
        # A bare count (a pulse adapter's, say) is in whatever unit the user says.
        return _Outcome(value, step)
    return Fault.WRONG_UNIT


def _unit_of(record: DataRecord) -> str:
    """The unit in which a found number is offered."""
    usual = default_unit(record.quantity)
    # Of durations, the quantity knows which unit is natural: an operating time in hours.
    if record.unit is Unit.SECOND and convertible(record.unit, usual):
        return usual
    return usual_unit(record.unit)


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
            "like": None if selector.like is None else selector.like.hex(),
            "alone": selector.alone,
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
            like=bytes.fromhex(fields["like"]),
            alone=fields["alone"],
        ),
    )
