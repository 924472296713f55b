"""A point, the record that feeds it, and the value that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from bridge.mbus.dif import LENGTHS, DataField, Function
from bridge.mbus.record import DataRecord
from bridge.mbus.values import PartialDate
from bridge.mbus.vif import EXACT
from bridge.mbus.vife import OVERFLOW, UNDERFLOW
from bridge.points.explain import can_be_said
from bridge.points.known import TEXT_QUANTITIES, Known, kind_of, ordinal_of, places
from bridge.points.layouts import KnownLayout
from bridge.points.nature import (
    Nominal,
    bounds_of,
    largest_rate,
    largest_value,
    nature_of,
)
from bridge.points.plan import MeterPlan, PointPlan
from bridge.points.plausible import Watch
from bridge.points.reading import Fault, Kind, Value
from bridge.points.select import Settled, hold, settle
from bridge.units import NO_UNITS, Unit, convert, convertible

# Reasons that the codec gives for a record's missing value, where BACnet has a word of its own.
_FAULTS_OF_RECORD_ERRORS = {OVERFLOW: Fault.OVER_RANGE, UNDERFLOW: Fault.UNDER_RANGE}

_BITS = {
    field: 8 * LENGTHS[field]
    for field in (
        *(DataField.INT8, DataField.INT16, DataField.INT24),
        *(DataField.INT32, DataField.INT48, DataField.INT64),
    )
}


@dataclass(slots=True)
class Fed:
    """A point, and what feeds it.

    ``kept`` is what the ledger has of ``settled``. ``source`` is the place of its record in the
    present layout, or why there is none. Of a plain number there, ``shift`` is the power of ten to
    the point's unit; ``step`` is its resolution. ``watch`` knows what of its values was believed.
    """

    plan: PointPlan
    name: str  # in full
    found: bool = False
    settled: Settled | None = None
    kept: Settled | None = None
    source: int | Fault = Fault.RECORD_MISSING
    shift: int | None = None
    step: Decimal | None = None
    watch: Watch = field(default_factory=Watch)
    layout: KnownLayout | None = None  # in which its record was, last
    said: Fault | None = None  # of those to be configured, what the log has told
    said_at: float | None = None  # when, by the monotonic clock

    @property
    def is_open(self) -> bool:
        """Whether the next answer may confirm what feeds it, so that the ledger keeps it."""
        return self.is_kept and isinstance(self.source, int) and self.settled != self.kept

    @property
    def is_kept(self) -> bool:
        """Whether the ledger keeps what feeds it; a key that the user wrote is in the file."""
        return self.plan.selector.key is None

    def outcome(self, sent: Sequence[Known]) -> Settled | Fault:
        """What feeds the point in an answer, or why nothing does."""
        if self.settled is None:
            return settle(self.plan.selector, sent)
        return hold(self.settled, self.plan.selector, sent)

    def beyond(self, value: Value) -> Fault | None:
        """Why a value is none that the user allows."""
        if not isinstance(value, Decimal):
            return None
        low, high = self.plan.min_value, self.plan.max_value
        if low is not None and value < low:
            return Fault.UNDER_RANGE
        return Fault.OVER_RANGE if high is not None and value > high else None

    def prepare(self, record: DataRecord, place: int, meter: MeterPlan) -> None:
        """Note what is the same for every answer in which this record feeds the point."""
        self.source, self.shift, self.step = place, None, None
        plan = self.plan
        unit = plan.unit or NO_UNITS
        number = plan.kind is Kind.NUMBER and record.quantity not in TEXT_QUANTITIES
        if number and can_be_said(record.unit, record.quantity, unit):
            step = in_unit(record.step, record.unit, plan)
            self.step = None if step is None else step.copy_abs()
            one = in_unit(Decimal(1), record.unit, plan)
            if one is not None and one.is_finite() and one.normalize().as_tuple()[:2] == (0, (1,)):
                self.shift = one.adjusted()
        self._watch(record, unit, Nominal(meter.nominal_flow, meter.nominal_power))

    def _watch(self, record: DataRecord, unit: str, nominal: Nominal) -> None:
        plan = self.plan
        low, high = bounds_of(record.quantity, unit, record.modifiers)
        if plan.min_value is not None:
            low = max(low, plan.min_value)
        if plan.max_value is not None:
            high = min(high, plan.max_value)
        self.watch.bound(
            nature_of(
                plan.kind,
                record.quantity,
                unit,
                function=record.function,
                storage=record.storage,
                modifiers=record.modifiers,
                counts=plan.object_type == "accumulator",
            ),
            hard=(low, high),
            step=self.step,
            bits=_BITS.get(record.header.data_field),
            largest_rate=largest_rate(nominal, unit),
            largest_value=largest_value(nominal, unit),
        )


def read(fed: Fed, record: DataRecord) -> Value | Fault:
    """A point's value out of its record, or why there is none."""
    value, kind = record.value, fed.plan.kind
    if record.invalid is not None or value is None:
        return _FAULTS_OF_RECORD_ERRORS.get(record.invalid or "", Fault.INVALID)
    if kind_of(record) is not kind or isinstance(value, bytes):
        return Fault.WRONG_KIND
    if kind is Kind.TEXT:
        return _as_text(record)
    if isinstance(value, Decimal):
        if not can_be_said(record.unit, record.quantity, fed.plan.unit or NO_UNITS):
            return Fault.WRONG_UNIT
        number = in_unit(value, record.unit, fed.plan)
        return Fault.INVALID if number is None else number
    return Fault.WRONG_KIND if isinstance(value, PartialDate) else value


def _as_text(record: DataRecord) -> str:
    """A text, or a number that names something with its leading zeros."""
    if record.text is not None:
        return record.text
    value = record.value
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def in_unit(value: Decimal | None, unit: Unit, plan: PointPlan) -> Decimal | None:
    """What the meter says, scaled, in the point's unit. A bare count has no unit to turn."""
    if value is None:
        return None
    if plan.scale != 1:
        value = EXACT.multiply(value, plan.scale)
    offered = plan.unit or NO_UNITS
    return convert(value, unit, offered) if convertible(unit, offered) else value


def source_of(fed: Fed) -> str:
    """What a point's record is, for a description."""
    selector, settled = fed.plan.selector, fed.settled
    if selector.key is not None:
        return f"record {selector.key}"
    words: list[str] = []
    if selector.function not in (None, Function.INSTANTANEOUS):
        words.append(str(selector.function))
    if selector.quantity is not None:
        words.append(selector.quantity.value.replace("-", " "))
    words += selector.modifiers or ()
    words += (f"{word} {number}" for word, number in places(selector))
    if selector.dib is not None:
        words.append(f"DIB {selector.dib.hex(' ').upper()}")
    if selector.vib is not None:
        words.append(f"VIB {selector.vib.hex(' ').upper()}")
    if selector.ordinal is not None:
        words.append(f"number {selector.ordinal}")
    elif fed.found and settled is not None and settled.equals > 1:
        words.append(f"number {ordinal_of(settled.key)}")
    return " ".join(words)
