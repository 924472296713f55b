"""One meter's points: what its answers, and its silences, make of them.

A meter's answers have the same records in the same order for months. Which of them feeds which
point is worked out when that changes (`bridge.points.select`), and not for each answer.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum, auto
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.dif import Function
from bridge.mbus.errors import AddressError
from bridge.mbus.header import PERMANENT_ERROR
from bridge.mbus.record import DataRecord, RecordHeader
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram
from bridge.mbus.values import PartialDate
from bridge.mbus.vif import EXACT
from bridge.mbus.vife import OVERFLOW, UNDERFLOW
from bridge.points.explain import (
    METER,
    Doubt,
    can_be_said,
    explain,
    wrong_kind,
    wrong_unit,
)
from bridge.points.known import (
    TEXT_QUANTITIES,
    Known,
    bytes_of,
    from_json,
    imagine,
    kind_of,
    known_records,
    ordinal_of,
    places,
    to_json,
)
from bridge.points.ledger import Feed, Ledger, LedgerError
from bridge.points.reading import Fault, Kind, Point, Reading, Value
from bridge.points.select import Selector, Settled, claimed_by, find, hold, settle
from bridge.points.store import Store
from bridge.units import NO_UNITS, Quantity, Unit, convert, convertible, default_unit, usual_unit

log = logging.getLogger(__name__)

# Points that every meter has; a user's point cannot take these names.
ANSWERING = "answering"
LAST_READ = "last-read"
SECONDARY_ADDRESS = "secondary-address"

# What the user, and nobody else, can put right; it is said in the log.
_TO_BE_CONFIGURED = frozenset(
    {Fault.RECORD_MISSING, Fault.AMBIGUOUS, Fault.WRONG_UNIT, Fault.WRONG_KIND}
)

# So many bytes of what cannot be decoded are shown.
_BYTES_SHOWN = 16

# Of so many points in one answer the log tells what is wrong; the others it names.
_TOLD_IN_FULL = 3

# Which records a meter sends goes to the disk so often and then once an hour: some change by turns.
_SENT_BURST = 10
_SENT_EVERY = 3600.0  # seconds
_MOST_SENT = 1000  # records


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


@dataclass(slots=True)
class _Fed:
    """A point, and what feeds it.

    ``kept`` is what the ledger has of ``settled``. ``source`` is the place of its record in the
    present layout, or why there is none. Of a plain number there, ``shift`` is the power of ten to
    the point's unit; ``step`` is its resolution.
    """

    plan: PointPlan
    name: str  # in full
    found: bool = False
    settled: Settled | None = None
    kept: Settled | None = None
    source: int | Fault = Fault.RECORD_MISSING
    shift: int | None = None
    step: Decimal | None = None
    said: Fault | None = None  # of those to be configured, what the log has told

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


class _Gap(Enum):
    """What is lacking in an answer."""

    UNDECODED = auto()  # some bytes could not be decoded
    EMPTY = auto()  # there is no record


class Outlook(NamedTuple):
    """What is to be expected of a point: the key of its record, as far as known, and any doubt."""

    point: str
    key: str
    doubt: Doubt | None


class MeterPoints:
    """Turns the answers of one meter into readings of its points."""

    def __init__(self, plan: MeterPlan, store: Store, ledger: Ledger) -> None:
        self.plan = plan
        self._store = store
        self._ledger = ledger
        self._points: dict[str, _Fed] = {}
        self._identity: SecondaryAddress | None = None  # of the meter whose values are served
        self._newcomer: SecondaryAddress | None = None  # who answered in its place, last time
        self._kept_identity: str | None = None  # as the ledger has it
        self._answered: float | None = None  # by the monotonic clock
        self._layout: list[RecordHeader] | None = None  # of the last answer
        self._open = True  # there is something that the next answer may settle or confirm
        self._sent: str | None = None  # as the ledger has it
        self._sent_writes = 0
        self._sent_since: float | None = None  # by the monotonic clock
        self._trouble: Fault | None = None  # of the meter as a whole, as the log has told it
        self._gap: _Gap | None = None  # in its answers, as the log has told it

    @property
    def identity(self) -> SecondaryAddress | None:
        """Who answers, as its header says; None while that is not known."""
        return self._identity

    def offer(self) -> None:
        """Put all points that are known by now into the store, each as never read."""
        plan = self.plan
        about = plan.description or f"meter {plan.name}"
        self._add(
            ANSWERING, Kind.BOOLEAN, f"{about}: whether it answered when it was last asked", ""
        )
        self._add(LAST_READ, Kind.DATE_TIME, f"{about}: when it was last read", "")
        self._add(SECONDARY_ADDRESS, Kind.TEXT, f"{about}: its secondary address", plan.address)
        self._sent = self._ledger.sent(plan.name)
        self._kept_identity = self._ledger.identity(plan.name)
        if self._kept_identity is not None and not _is_meant(plan.address, self._kept_identity):
            self._kept_identity = None  # the user wrote another one into the file
        feeds = self._ledger.feeds(plan.name)
        if plan.points is None:
            for fed in self._remembered(feeds):
                if plan.all_storages or not fed.plan.selector.storage:
                    self._offer_point(fed)
            return
        for point in plan.points:
            fed = _Fed(point, self._full(point.name))
            feed = feeds.get(point.name)
            if feed is not None and feed.selector == point.selector.to_json():
                fed.settled = fed.kept = _settled_of(feed)
            self._offer_point(fed)

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
            fault = _FAULTS_OF_SECURITY[unread]
            self._tell_trouble(fault, _REMEDIES_OF_SECURITY[fault])
            self._fail_all(fault)
            return []
        self._put(LAST_READ, datetime.datetime.fromtimestamp(at), at)
        records = [record for telegram in telegrams for record in telegram.records]
        undecoded = _undecoded(telegrams)
        self._tell_gap(undecoded, empty=not records)
        new = self._map(records, now)
        own_fault = None
        if any(t.header and t.header.status & PERMANENT_ERROR for t in telegrams):
            own_fault = Fault.METER_ERROR
        self._tell_trouble(
            own_fault,
            "its values are in fault for as long as it does; its display or manual says more",
        )
        put = self._store.put
        doubtful: list[_Fed] = []
        for fed in self._points.values():
            source = fed.source
            if isinstance(source, Fault):
                fault = source
            else:
                record = records[source]
                value = record.value
                if fed.shift is not None and type(value) is Decimal and record.invalid is None:
                    number = EXACT.scaleb(value, fed.shift) if fed.shift else value
                    put(fed.name, Reading(number, at, own_fault, fed.step))
                    if fed.said is not None:
                        doubtful.append(fed)
                    continue
                outcome = _read(fed, record)
                if not isinstance(outcome, Fault):
                    put(fed.name, Reading(outcome, at, own_fault, fed.step))
                    if fed.said is not None:
                        doubtful.append(fed)
                    continue
                fault = outcome
            self._store.fail(fed.name, fault)
            if fault is not fed.said and (fed.said or fault in _TO_BE_CONFIGURED):
                doubtful.append(fed)
        if doubtful:
            self._tell_doubts(doubtful, records, undecoded)
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
        for fed in self._points.values():
            if self._store.reading(fed.name).fault is None:
                self._store.fail(fed.name, Fault.TOO_OLD)
                changed = True
        return changed

    def _is_ours(self, telegram: Telegram, at: float) -> bool:
        """Whether the meter that answers is the one whose values are served.

        A damaged telegram in 256 passes its checksum, so another identity is believed only when it
        comes twice. Then it is an exchanged meter, and takes over its objects, if it is of the
        same kind; a water meter's count is never shown as a heat meter's, until the bridge is
        started again. At the first answer after a start it is the ledger that tells who it was.
        """
        header = telegram.header
        address = None if header is None else header.address
        if address is None:
            return True
        if address == self._identity:
            self._newcomer = None
            self._keep_identity(address)
            self._put(SECONDARY_ADDRESS, str(address), at)
            return True
        if self._identity is None and self._kept_identity in (None, str(address)):
            self._identity, self._newcomer = address, None
            self._put(SECONDARY_ADDRESS, str(address), at)
            return True
        name = self.plan.name
        old = self._identity or self._kept_identity
        same_kind = self._identity is None or address.device_type == self._identity.device_type
        if address != self._newcomer:
            self._newcomer = address
            log.warning(
                "%s: %s answers in the place of %s; its values are held back until %s",
                name,
                address,
                old,
                "it answers again"
                if same_kind
                else "the bridge is started again: it measures something else",
            )
            return False
        if not same_kind:
            return False
        when = "" if self._identity is not None else " while the bridge did not run"
        log.warning("%s: the meter was exchanged%s, %s for %s", name, when, address, old)
        self._identity, self._newcomer = address, None
        self._keep_identity(address)
        self._put(SECONDARY_ADDRESS, str(address), at)
        # What the old one sent beside a record says nothing of the new one's.
        for fed in self._points.values():
            if fed.settled is not None and not fed.found:
                fed.settled = fed.settled._replace(beside=frozenset())
        self._layout = None
        return True

    def _keep_identity(self, address: SecondaryAddress) -> None:
        """Write to the ledger who answers, having answered twice."""
        text = str(address)
        if text == self._kept_identity:
            return
        try:
            self._ledger.keep_identity(self.plan.name, text)
        except LedgerError as error:
            log.error("%s: %s", self.plan.name, error)
            return
        self._kept_identity = text

    def _map(self, records: Sequence[DataRecord], now: float) -> list[str]:
        """Work out which record feeds which point, where that may have changed.

        Returns:
            The names of points that were found in this answer for the first time.
        """
        # A meter's records are the very same objects from answer to answer, but for their values.
        layout = [record.header for record in records]
        again = layout == self._layout
        if again and not self._open:
            return []
        # Until all is worked out: were it left half done, the next answer must begin anew.
        self._layout = None
        self._open = False
        sent = known_records(records)
        places = {known.key: place for place, known in enumerate(sent)}
        agreed: list[_Fed] = []
        for fed in self._points.values():
            before, now_fed = fed.settled, self._follow(fed, sent)
            if isinstance(now_fed, Fault):
                fed.source = now_fed
                continue
            self._prepare(fed, records, places)
            if now_fed == before:
                agreed.append(fed)
        self._keep_feeds(agreed)
        new = self._find(sent, records, places) if self.plan.points is None else []
        self._keep_sent(sent, now, again=again)
        self._open = self._open or any(fed.is_open for fed in self._points.values())
        self._layout = layout
        return new

    def _follow(self, fed: _Fed, sent: Sequence[Known]) -> Settled | Fault:
        """Settle what feeds a point in this answer."""
        before, now = fed.settled, fed.outcome(sent)
        if isinstance(now, Fault):
            return now
        if before is not None and now.key != before.key:
            log.warning(
                "%s: is fed by %s from now on: the meter no longer sends %s, and nothing else fits",
                fed.name,
                now.key,
                before.key,
            )
        fed.settled = now
        return now

    def _prepare(self, fed: _Fed, records: Sequence[DataRecord], places: Mapping[str, int]) -> None:
        """Note what is the same for every answer of this layout, of a point that is settled."""
        assert fed.settled is not None
        place = places[fed.settled.key]
        fed.source, fed.shift, fed.step = place, None, None
        record, plan = records[place], fed.plan
        unit = plan.unit or NO_UNITS
        if plan.kind is not Kind.NUMBER or record.quantity in TEXT_QUANTITIES:
            return
        if not can_be_said(record.unit, record.quantity, unit):
            return
        step = _in_unit(record.step, record.unit, plan)
        fed.step = None if step is None else step.copy_abs()
        one = _in_unit(Decimal(1), record.unit, plan)
        if one is not None and one.is_finite() and one.normalize().as_tuple()[:2] == (0, (1,)):
            fed.shift = one.adjusted()

    def _find(
        self, sent: Sequence[Known], records: Sequence[DataRecord], places: Mapping[str, int]
    ) -> list[str]:
        claimed: set[str] = set()
        for fed in self._points.values():
            if fed.settled is not None and isinstance(fed.source, Fault):
                claimed |= claimed_by(fed.settled, fed.plan.selector, sent)
            elif fed.settled is not None:
                claimed.add(fed.settled.key)
        new: list[_Fed] = []
        for found in find(sent, self._points, claimed, all_storages=self.plan.all_storages):
            known = found.known
            # A number that is invalid now, of a broken sensor, say, is a number all the same; what
            # another kind of value will be, only a valid one tells.
            if known.kind is None or (
                known.kind is not Kind.NUMBER and records[places[known.key]].invalid is not None
            ):
                self._open = True
                continue
            number = known.kind is Kind.NUMBER
            unit = unit_of(known.unit, known.identity.quantity) if number else NO_UNITS
            plan = PointPlan(found.name, found.selector, known.kind, unit)
            new.append(_Fed(plan, self._full(found.name), True, found.settled))
        if not new:
            return []
        # One write for all the objects that come of it.
        try:
            with self._ledger.transaction():
                for fed in new:
                    self._offer_point(fed)
        except LedgerError as error:
            # What is offered stays so; what is not has another chance with the next answer.
            log.error("%s: %s", self.plan.name, error)
            self._open = True
        new = [fed for fed in new if fed.plan.name in self._points]
        for fed in new:
            self._prepare(fed, records, places)
        return [fed.name for fed in new]

    def _keep_feeds(self, agreed: Sequence[_Fed]) -> None:
        """Write to the ledger what two answers agree on: one alone may have been damaged."""
        news = [
            (fed, fed.settled)
            for fed in agreed
            if fed.is_kept and fed.settled is not None and fed.settled != fed.kept
        ]
        if not news:
            return
        meter = self.plan.name
        try:
            with self._ledger.transaction():
                for fed, settled in news:
                    if fed.found and fed.kept is None:
                        self._ledger.remember(meter, fed.plan.name, _plan_to_json(fed.plan))
                    selector = fed.plan.selector.to_json()
                    beside = tuple(sorted(settled.beside))
                    feed = Feed(selector, settled.key, settled.equals, beside)
                    self._ledger.feed(meter, fed.plan.name, feed)
        except LedgerError as error:
            # Where it cannot be written the values go on.
            log.error("%s: %s", meter, error)
            return
        for fed, settled in news:
            fed.kept = settled

    def _keep_sent(self, sent: Sequence[Known], now: float, *, again: bool) -> None:
        """Write to the ledger what the meter sends, where that has changed and stays so."""
        text = to_json(sent[:_MOST_SENT])
        if text == self._sent:
            return
        if self._sent_since is None:
            self._sent_since = now
        budget = _SENT_BURST + (now - self._sent_since) / _SENT_EVERY
        if not again or self._sent_writes >= budget:
            self._open = True
            return
        try:
            self._ledger.keep_sent(self.plan.name, text)
        except LedgerError as error:
            log.error("%s: %s", self.plan.name, error)
            self._open = True
            return
        self._sent = text
        self._sent_writes += 1

    def outlook(self, sent: Sequence[Known] | None = None, *, meter: str = METER) -> list[Outlook]:
        """What is to be expected of each point, without asking the meter; call it after `offer`.

        Args:
            sent: the records that such a meter sends; None for what the ledger has of this one.
            meter: whose they are, in words.
        """
        if sent is None:
            sent = self.known
        return [self._expect(fed, sent, meter) for fed in self._points.values()]

    def faults(self) -> Iterator[Fault]:
        """Why its values are in fault, once for each that is."""
        for fed in self._points.values():
            fault = self._store.reading(fed.name).fault
            if fault is not None:
                yield fault

    @property
    def known(self) -> list[Known] | None:
        """The records that the meter sends, as the ledger has them; None where it has none."""
        if self._sent is None:
            return None
        try:
            return from_json(self._sent)
        except (KeyError, ValueError, TypeError):
            return None  # another version wrote it; the meter's next answer replaces it

    def _expect(self, fed: _Fed, sent: Sequence[Known] | None, meter: str) -> Outlook:
        name, selector = fed.plan.name, fed.plan.selector
        if sent is None and selector.key is not None:
            record = imagine(bytes_of(selector.key))
            known = None if record is None else Known.of(record, selector.key)
            doubt = None if known is None else _misfit(fed.plan, known, ())
            return Outlook(name, selector.key, doubt)
        if sent is None:
            return Outlook(name, fed.settled.key if fed.settled else "", None)
        now = fed.outcome(sent)
        if isinstance(now, Fault):
            return Outlook(
                name, "", _doubt(fed, explain(now, selector, fed.settled, sent, meter=meter))
            )
        known = next(known for known in sent if known.key == now.key)
        return Outlook(name, now.key, _misfit(fed.plan, known, sent))

    def _tell_doubts(
        self, doubtful: Sequence[_Fed], records: Sequence[DataRecord], undecoded: str
    ) -> None:
        """Say what has begun to be wrong with the configuration, and what no longer is, once."""
        sent = known_records(records)
        begun: list[_Fed] = []
        for fed in doubtful:
            fault = self._store.reading(fed.name).fault
            if fault in _TO_BE_CONFIGURED:
                fed.said = fault
                begun.append(fed)
            elif fed.said is not None:
                log.info("%s: its record is there again, and right", fed.name)
                fed.said = None
        for fed in begun[:_TOLD_IN_FULL]:
            log.warning("%s: %s", fed.name, self._doubt_of(fed, sent, undecoded))
        if rest := begun[_TOLD_IN_FULL:]:
            log.warning(
                "%s: %d more points are in fault for such reasons: %s",
                self.plan.name,
                len(rest),
                ", ".join(fed.plan.name for fed in rest),
            )

    def _doubt_of(self, fed: _Fed, sent: Sequence[Known], undecoded: str) -> Doubt:
        if isinstance(fed.source, Fault):
            selector, settled = fed.plan.selector, fed.settled
            doubt = explain(fed.source, selector, settled, sent, undecoded=undecoded)
            missing = fed.source is Fault.RECORD_MISSING
            return doubt if undecoded and missing else _doubt(fed, doubt)
        known = sent[fed.source]
        return _misfit(fed.plan, known, sent) or wrong_kind(known, fed.plan.kind, sent)

    def _tell_trouble(self, trouble: Fault | None, remedy: str = "") -> None:
        """Say what is wrong with the meter as a whole when it begins, and when it ends."""
        if trouble is self._trouble:
            return
        if trouble is not None:
            log.warning("%s: %s; %s", self.plan.name, trouble.value, remedy)
        elif self._trouble is not None:
            log.info("%s: no longer: %s", self.plan.name, self._trouble.value)
        self._trouble = trouble

    def _tell_gap(self, undecoded: str, *, empty: bool) -> None:
        """Say what is lacking in the meter's answers when that begins, and when it ends."""
        gap = _Gap.UNDECODED if undecoded else _Gap.EMPTY if empty else None
        if gap is self._gap:
            return
        name = self.plan.name
        if gap is _Gap.UNDECODED:
            log.warning(
                "%s: its answer holds what cannot be decoded: %s; what is whole is used",
                name,
                undecoded,
            )
        elif gap is _Gap.EMPTY:
            log.warning("%s: answered without any record; see with `read` what it says", name)
        elif self._gap is _Gap.UNDECODED:
            log.info("%s: all of its answer can be decoded again", name)
        else:
            log.info("%s: its answer has records again", name)
        self._gap = gap

    def _remembered(self, feeds: Mapping[str, Feed]) -> Iterator[_Fed]:
        """The points that were found before, as the ledger has them."""
        texts = self._ledger.remembered(self.plan.name)
        old = {name: key for name, text in texts.items() if (key := _key_from_version_0(text))}
        for name, text in texts.items():
            try:
                plan = _plan_from_json(name, text)
            except (KeyError, ValueError, TypeError) as error:
                log.warning(
                    "%s: the ledger holds a point %s that this version does not understand (%r); "
                    "it is left out until the meter tells it again",
                    self.plan.name,
                    name,
                    error,
                )
                continue
            feed = feeds.get(name)
            if feed is not None and feed.selector == plan.selector.to_json():
                settled = _settled_of(feed)
                kept: Settled | None = settled
            elif name in old:
                settled, kept = old[name], None
                others = {each.key for other, each in old.items() if other != name}
                settled = settled._replace(beside=frozenset(others))
            else:
                continue  # it was the user's own meanwhile; the meter's next answer brings it
            yield _Fed(plan, self._full(name), True, settled, kept)

    def _offer_point(self, fed: _Fed) -> None:
        point = fed.plan
        quantity = point.selector.quantity
        if point.unit is None:
            usual = default_unit(quantity) if quantity and point.kind is Kind.NUMBER else NO_UNITS
            point = fed.plan = replace(point, unit=usual)
        self._points[point.name] = fed
        self._store.add(
            Point(
                name=fed.name,
                meter=self.plan.name,
                kind=point.kind,
                unit=point.unit or NO_UNITS,
                description=point.description or self._describe(fed),
                source=_source(fed),
                object_type=point.object_type,
                instance=point.instance,
                cov_increment=point.cov_increment,
            )
        )

    def _describe(self, fed: _Fed) -> str:
        about = self.plan.description or self.plan.name
        return f"{about}: {_source(fed)}"

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
        for fed in self._points.values():
            self._store.fail(fed.name, fault)

    def _full(self, name: str) -> str:
        return f"{self.plan.name}.{name}"


# Reasons that the codec gives for a record's missing value, where BACnet has a word of its own.
_FAULTS_OF_RECORD_ERRORS = {OVERFLOW: Fault.OVER_RANGE, UNDERFLOW: Fault.UNDER_RANGE}

_FAULTS_OF_SECURITY = {
    Security.NO_KEY: Fault.NO_KEY,
    Security.WRONG_KEY: Fault.WRONG_KEY,
    Security.NOT_AUTHENTIC: Fault.WRONG_KEY,
    Security.NO_ADDRESS: Fault.NO_KEY,
    Security.TRUNCATED: Fault.DAMAGED,
    Security.DAMAGED: Fault.DAMAGED,
    Security.UNSUPPORTED: Fault.UNSUPPORTED_ENCRYPTION,
}


_REMEDIES_OF_SECURITY = {
    Fault.NO_KEY: "ask the supplier for its AES-128 key, and write key: {file: ...} for the meter",
    Fault.WRONG_KEY: "check the key against the supplier's list",
    Fault.DAMAGED: "its encrypted telegram is cut short; check the wiring",
    Fault.UNSUPPORTED_ENCRYPTION: "set the meter to profile A or B of OMS, if it can be set",
}


def _read(fed: _Fed, record: DataRecord) -> Value | Fault:
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
        number = _in_unit(value, record.unit, fed.plan)
        return Fault.INVALID if number is None else number
    return Fault.WRONG_KIND if isinstance(value, PartialDate) else value


def _as_text(record: DataRecord) -> str:
    """A text, or a number that names something with its leading zeros."""
    if record.text is not None:
        return record.text
    value = record.value
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _in_unit(value: Decimal | None, unit: Unit, plan: PointPlan) -> Decimal | None:
    """What the meter says, scaled, in the point's unit. A bare count has no unit to turn."""
    if value is None:
        return None
    if plan.scale != 1:
        value = EXACT.multiply(value, plan.scale)
    offered = plan.unit or NO_UNITS
    return convert(value, unit, offered) if convertible(unit, offered) else value


def _is_meant(wanted: str, identity: str) -> bool:
    """Whether a meter that answered may be the one that the file names by secondary address."""
    if not wanted:
        return True
    try:
        return parse_secondary(wanted).matches(parse_secondary(identity))
    except AddressError:
        return True  # a damaged header's, kept by mistake: whoever answers is held against it


def _undecoded(telegrams: Sequence[Telegram]) -> str:
    """What of an answer cannot be decoded, in words; empty where all can be."""
    errors = [(n, error) for n, each in enumerate(telegrams, 1) for error in each.errors]
    if not errors:
        return ""
    number, error = errors[0]
    place = f"telegram {number}, " if len(telegrams) > 1 else ""
    shown = error.data[:_BYTES_SHOWN].hex().upper() + "…" * (len(error.data) > _BYTES_SHOWN)
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{place}byte {error.offset}: {error.reason}: {shown}{more}"


def _doubt(fed: _Fed, doubt: Doubt) -> Doubt:
    """The remedy for a point that nobody wrote is to write it."""
    if not fed.found:
        return doubt
    return Doubt(doubt.message, "name the point in the file, with the record that it is to have")


def _misfit(plan: PointPlan, known: Known, sent: Sequence[Known]) -> Doubt | None:
    """Why a record cannot feed a point that names it."""
    if known.kind is not plan.kind:
        return wrong_kind(known, plan.kind, sent)
    unit = plan.unit or NO_UNITS
    if plan.kind is Kind.NUMBER and not can_be_said(known.unit, known.identity.quantity, unit):
        return wrong_unit(known, unit)
    return None


def unit_of(unit: Unit, quantity: Quantity) -> str:
    """The unit in which a number is offered, unless the user says another."""
    usual = default_unit(quantity)
    # Of durations, the quantity knows which unit is natural: an operating time in hours.
    if unit is Unit.SECOND and convertible(unit, usual):
        return usual
    return usual_unit(unit)


def _source(fed: _Fed) -> str:
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


def _settled_of(feed: Feed) -> Settled:
    return Settled(feed.record, feed.equals, frozenset(feed.beside))


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
            "own_unit": selector.unit,
            "unit_text": selector.unit_text,
        }
    )


def _plan_from_json(name: str, text: str) -> PointPlan:
    fields = json.loads(text)
    own_unit = fields.get("own_unit")  # version 0 of the ledger did not have it
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
            unit=None if own_unit is None else Unit(own_unit),
            unit_text=fields["unit_text"],
        ),
    )


def _key_from_version_0(text: str) -> Settled | None:
    """What fed a found point in version 0 of the ledger: bytes, and an ordinal among equals."""
    try:
        fields = json.loads(text)
        block, ordinal, equals = fields["like"].upper(), fields["ordinal"], fields["count"]
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return Settled(block if ordinal == 1 else f"{block}#{ordinal}", equals)
