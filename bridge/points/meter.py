"""One meter's points: what its answers, and its silences, make of them.

A meter's answers have the same records in the same order for months. Which of them feeds which
point is worked out when that changes (`bridge.points.select`), and not for each answer. Whose
answer it is tells `bridge.points.identity`; whether a value can be believed, `bridge.points.
plausible`: what is in doubt is asked for again, and until that is decided a point stays as it was.

Some meters answer with several sets of records by turns. A point whose record is in another set
than the one that came stays as it was too, and grows older; in doubt, it waits for its record.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.header import PERMANENT_ERROR
from bridge.mbus.record import DataRecord, RecordHeader
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram
from bridge.mbus.vif import EXACT
from bridge.points.explain import METER
from bridge.points.fed import Fed, read, source_of
from bridge.points.found import plan_to_json, remembered, settled_of
from bridge.points.identity import MeterIdentity, Whose
from bridge.points.known import Known, known_records
from bridge.points.layouts import Layouts
from bridge.points.ledger import Feed, Ledger, LedgerError
from bridge.points.outlook import Outlook, expect
from bridge.points.plan import MeterPlan, OnExchange, PointPlan
from bridge.points.plausible import Doubts, Said
from bridge.points.reading import Fault, Kind, Point, Reading, Value
from bridge.points.select import Settled, claimed_by, find
from bridge.points.sent import Sent
from bridge.points.store import Store
from bridge.points.told import TO_BE_CONFIGURED, Told, undecoded_of
from bridge.units import NO_UNITS, Quantity, Unit, convertible, default_unit, usual_unit

__all__ = ["MeterPlan", "MeterPoints", "OnExchange", "Outlook", "PointPlan", "Taken", "unit_of"]

log = logging.getLogger(__name__)

# Points that every meter has; a user's point cannot take these names.
ANSWERING = "answering"
LAST_READ = "last-read"
SECONDARY_ADDRESS = "secondary-address"

# It was the meter that answered, though with nothing that can be used.
_ANSWERED = frozenset({Fault.REFUSED, Fault.UNREADABLE})
# Nobody knows whether the meter would have answered.
_NOT_ASKED = frozenset({Fault.NO_CONNECTION, Fault.INTERNAL})


# So many answers of a turn may be held back for their records, before that is a fault.
MOST_HELD = 2

# A reading in doubt, whose record did not come again, is left out after so many seconds, or after
# the meter's ``max_age`` where that is longer.
DOUBT_LAPSE = 3600.0


class Taken(NamedTuple):
    """What became of an answer.

    ``new`` are the points that were found in it for the first time, ``doubted`` those that want
    the meter to be read once more, at once: their values are not believed yet. Full names.
    """

    new: list[str]
    doubted: list[str]


class MeterPoints:
    """Turns the answers of one meter into readings of its points."""

    def __init__(self, plan: MeterPlan, store: Store, ledger: Ledger) -> None:
        self.plan = plan
        self.doubts = Doubts()
        self._store = store
        self._ledger = ledger
        self._points: dict[str, Fed] = {}
        self._identity = MeterIdentity(plan, ledger)
        self._told = Told(plan.name)
        self._look_at: float | None = None  # by then no value is too old, by the monotonic clock
        self._asked = False  # for another reading, of values in doubt
        self._lacking: set[str] = set()  # whose record no answer of this turn had
        self._first = False  # nothing was known of the meter when this turn began
        self._layout: list[RecordHeader] | None = None  # of the last answer
        self._layouts = Layouts()
        self._before: _Before | None = None
        self._open = True  # there is something that the next answer may settle or confirm
        self._sent = Sent(plan.name, ledger)

    @property
    def identity(self) -> SecondaryAddress | None:
        """Who answers, as its header says; None while that is not known."""
        return self._identity.current

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever read of it, in this run or an earlier one."""
        return self._layout is None and all(
            self._store.reading(fed.name).read_at is None for fed in self._points.values()
        )

    @property
    def newcomer(self) -> SecondaryAddress | None:
        """Who answers in the meter's place and waits to be accepted; None where nobody does."""
        return self._identity.newcomer

    def offer(self, at: float = 0.0, now: float = 0.0) -> None:
        """Put all points that are known by now into the store, as never read or as last read.

        A reading of an earlier run that the store has is served with the age that it has; where
        that is above the meter's ``max_age``, or in the future, it is in fault at once.

        Args:
            at: wall-clock time, seconds since 1970.
            now: the same moment by the monotonic clock.
        """
        plan = self.plan
        about = plan.description or f"meter {plan.name}"
        self._add(
            ANSWERING, Kind.BOOLEAN, f"{about}: whether it answered when it was last asked", ""
        )
        self._add(LAST_READ, Kind.DATE_TIME, f"{about}: when it was last read", "")
        self._add(SECONDARY_ADDRESS, Kind.TEXT, f"{about}: its secondary address", plan.address)
        self._sent.offer()
        self._identity.offer()
        if plan.points is None:
            for fed in remembered(self._ledger, plan.name):
                if plan.all_storages or not fed.plan.selector.storage:
                    self._offer_point(fed, at, now)
        else:
            feeds = self._ledger.feeds(plan.name)
            for point in plan.points:
                fed = Fed(point, self._full(point.name))
                feed = feeds.get(point.name)
                if feed is not None and feed.selector == point.selector.to_json():
                    fed.settled = fed.kept = settled_of(feed)
                self._offer_point(fed, at, now)
        self._say_last_read()

    def withdraw(self) -> None:
        """Take all of the meter's points out of the store."""
        for name in (ANSWERING, LAST_READ, SECONDARY_ADDRESS, *self._points):
            self._store.remove(self._full(name))
        self._points.clear()

    def answered(
        self,
        telegrams: Sequence[Telegram],
        at: float,
        now: float,
        *,
        suspect: bool = False,
        first: bool = False,
    ) -> Taken:
        """Take a whole answer.

        Where something is doubted, read the meter again and bring that answer too; if that cannot
        be, or fails, call `undecided`. Three readings always decide, so this comes to an end.

        Args:
            telegrams: all telegrams of the answer, in order.
            at: wall-clock time at which the answer was complete, seconds since 1970.
            now: the same moment by the monotonic clock, for the age: clocks are set, ages are not.
            suspect: the line shows damage, and no parity guards it. Nothing new is then believed
                until a second reading confirms it, but what a code in the telegram proves.
            first: nothing is known of the meter that this answer could be held against, and no
                parity guards the line: it is read twice, or a third time where the two differ.
        """
        header = telegrams[0].header
        vouched = all(map(_is_vouched, telegrams))
        suspect, first = suspect and not vouched, first and not vouched
        unproven = suspect or first
        answering = None if header is None else header.address
        whose = self._identity.judge(answering, now, suspect=unproven)
        records = [record for telegram in telegrams for record in telegram.records]
        # A meter's records are the very same objects from answer to answer, but for their values.
        layout = [record.header for record in records]
        if whose is Whose.DOUBTED:
            if not self._identity.is_known:
                self._layouts.note(layout)  # the second answer confirms both
                self._before = _Before(answering, records, layout, at, now)
            return Taken([], [self._full(SECONDARY_ADDRESS)])
        self._put(ANSWERING, whose is not Whose.FOREIGN, at)
        if whose is Whose.FOREIGN:
            self._fail_all(Fault.FOREIGN_METER)
            return Taken([], [])
        if whose is Whose.EXCHANGED:
            self._begin_anew()
        if answering is not None:
            self._say_who(str(answering), at)
        unread = next((t.security for t in telegrams if t.encrypted_unread), None)
        if unread is not None:
            fault = _FAULTS_OF_SECURITY[unread]
            self._told.trouble(fault, _REMEDIES_OF_SECURITY[fault])
            self._fail_all(fault)
            return Taken([], [])
        if not self._layouts.takes(layout, suspect=unproven, vouched=vouched):
            self._before = _Before(answering, records, layout, at, now)
            return self._hold(at)
        self._put(LAST_READ, datetime.datetime.fromtimestamp(at), at)
        undecoded = undecoded_of(telegrams)
        self._told.gap(undecoded, now, empty=not records)
        new = self._map(records, layout, at, now)
        own_fault = None
        if any(t.header and t.header.status & PERMANENT_ERROR for t in telegrams):
            own_fault = Fault.METER_ERROR
        self._told.trouble(
            own_fault,
            "its values are in fault for as long as it does; its display or manual says more",
        )
        self._recall(answering, layout)
        answer = _Answer(records, at, now, own_fault, undecoded, suspect, vouched, first)
        return Taken(new, self._take(answer))

    def _recall(self, who: SecondaryAddress | None, layout: list[RecordHeader]) -> None:
        """The answer before was the same meter's, had these records too, and was held back.

        Its values count now.
        """
        before, self._before = self._before, None
        if before is None or before.who != who or before.layout != layout:
            return
        for fed in self._points.values():
            if isinstance(fed.source, Fault):
                continue
            value = read(fed, before.records[fed.source])
            if not isinstance(value, Fault):
                fed.watch.recall(Said(value, before.at, before.now))

    def _take(self, answer: _Answer) -> list[str]:
        """Take the values of an answer that is ours; the points that are in doubt then."""
        records, at, now, own_fault, _, suspect, vouched, first = answer
        was_asked, self._asked = self._asked, False
        lacked, lacking = self._lacking, set[str]()
        self._first = first or (self._first and was_asked)
        readings: dict[str, Reading] = {}
        failing: list[tuple[Fed, Fault]] = []
        said: list[tuple[Fed, Fault | None]] = []
        doubted: list[str] = []
        all_taken = True
        for fed in self._points.values():
            source, watch = fed.source, fed.watch
            if isinstance(source, Fault):
                outcome: Value | Fault = source
            else:
                record = records[source]
                value = record.value
                if fed.shift is not None and type(value) is Decimal and record.invalid is None:
                    outcome = EXACT.scaleb(value, fed.shift) if fed.shift else value
                else:
                    outcome = read(fed, record)
            if isinstance(outcome, Fault):
                if source is Fault.RECORD_MISSING:
                    lacking.add(fed.name)
                    watch.drop(now - max(DOUBT_LAPSE, self.plan.max_age))
                    if self._layouts.comes_by_turns(fed.layout):
                        # It stays as it is, and grows older.
                        all_taken = False
                        if own_fault is not None:
                            failing.append((fed, own_fault))
                        if watch.in_doubt:
                            doubted.append(fed.name)
                        continue
                else:
                    watch.drop()
                failing.append((fed, outcome))
                if outcome is not fed.said and (fed.said or outcome in TO_BE_CONFIGURED):
                    said.append((fed, outcome))
                continue
            if fed.said is not None:
                said.append((fed, None))
            unsure = self._first and watch.last is None
            if watch.settles(outcome, now, suspect=suspect or unsure):
                readings[fed.name] = Reading(outcome, at, own_fault, fed.step)
                continue
            doubtful = suspect or (unsure and not watch.is_near(outcome))
            asked = was_asked and fed.name not in lacked
            decided = self._weigh(fed, Said(outcome, at, now), doubtful, vouched, asked)
            if isinstance(decided, Fault):
                failing.append((fed, decided))
                continue
            all_taken = all_taken and decided is not None and decided.now == now
            if decided is not None:
                readings[fed.name] = Reading(decided.value, decided.at, own_fault, fed.step)
            elif watch.in_doubt:
                doubted.append(fed.name)
        self._store.put_all(self.plan.name, readings, at)
        for fed, fault in failing:
            self._store.fail(fed.name, fault)
        if said:
            self._told.points(said, records, answer.undecoded, now)
        self._asked, self._lacking = bool(doubted), lacking & lacked if was_asked else lacking
        # Last: were it set above, and something went wrong since, old values would look fresh.
        if all_taken or self._look_at is None:
            self._look_at = now + self.plan.max_age if all_taken else now
        return doubted

    def _weigh(
        self, fed: Fed, said: Said, suspect: bool, vouched: bool, was_asked: bool
    ) -> Said | Fault | None:
        """What is to be believed of a reading that is in doubt, or was; None for nothing yet."""
        watch, doubts = fed.watch, self.doubts
        first = watch.pending[0] if watch.pending else None
        weighed = watch.weigh(said, suspect=suspect, vouched=vouched)
        if weighed.note:
            log.warning("%s: %s", fed.name, weighed.note)
        if weighed.said is None and weighed.fault is None and first is None:
            if was_asked:
                # What was read a moment ago was believed then. Were it doubted now, a meter with
                # many moving values would be read without end.
                watch.drop()
                return None
            doubts.begun += 1
        elif weighed.fault is Fault.DOUBTED:
            doubts.undecided += 1
        elif first is not None and not watch.pending:
            if weighed.refuted:
                doubts.refuted += 1
                believed = weighed.said or said
                self._told.refuted(fed, first.value, said.now, believed.value)
            else:
                doubts.confirmed += 1
        return weighed.said or weighed.fault

    def undecided(self, at: float) -> None:
        """What was doubted could not be read again: it is in fault until the next answer.

        Args:
            at: wall-clock time, seconds since 1970.
        """
        self._asked = False
        was_stranger = self._identity.in_doubt
        self._identity.leave()
        was_held = self._layouts.in_doubt or was_stranger
        self._layouts.leave()
        if was_stranger and self._identity.is_known:
            self._put(ANSWERING, False, at)
            self._fail_all(Fault.FOREIGN_METER)
            return
        for fed in self._points.values():
            fault = self._store.reading(fed.name).fault
            in_doubt = was_held and fault in (None, Fault.NEVER_READ)
            if in_doubt or fed.watch.in_doubt:
                self.doubts.undecided += 1
                self._store.fail(fed.name, Fault.DOUBTED)

    def accept_exchange(self) -> bool:
        """Serve the values of the meter that waits to be accepted, from its next answer on.

        Returns:
            False where no meter waits.
        """
        if not self._identity.accept():
            return False
        self._begin_anew()
        return True

    def failed(self, fault: Fault, at: float) -> None:
        """The meter was asked, and gave nothing that can be used.

        Args:
            fault: why. After `Fault.REFUSED` and `Fault.UNREADABLE` the meter is said to answer;
                after `Fault.NO_CONNECTION` and `Fault.INTERNAL` nobody knows.
            at: wall-clock time, seconds since 1970.
        """
        self._asked = False
        if fault in _NOT_ASKED:
            self._store.fail(self._full(ANSWERING), fault)
        else:
            self._put(ANSWERING, fault in _ANSWERED, at)
        self._identity.leave()
        self._layouts.leave()
        self._fail_all(fault)

    def busy(self, at: float) -> None:
        """The meter answered, but has nothing to say now. Its values grow older, and no more."""
        self._put(ANSWERING, True, at)

    def expire(self, now: float) -> bool:
        """Mark what has become too old, by the monotonic clock. True where something has."""
        if self._look_at is None or now <= self._look_at:
            return False
        changed = False
        next_look: float | None = None
        for fed in self._points.values():
            if self._store.reading(fed.name).fault is not None:
                continue
            until = fed.watch.read + self.plan.max_age
            if now > until:
                self._store.fail(fed.name, Fault.TOO_OLD)
                changed = True
            elif next_look is None or until < next_look:
                next_look = until
        self._look_at = next_look
        return changed

    def _begin_anew(self) -> None:
        """Forget what the old meter sent: it says nothing of the new one's."""
        for fed in self._points.values():
            fed.watch.forget()
            fed.layout = None
            if fed.settled is not None and not fed.found:
                fed.settled = fed.settled._replace(beside=frozenset())
        self._layout = None
        self._lacking = set()
        self._layouts = Layouts()
        self._before = None

    def _hold(self, at: float) -> Taken:
        """Believe nothing of an answer with other records than ever: they have to come twice."""
        if self._layouts.held > MOST_HELD:
            self.undecided(at)
            return Taken([], [])
        return Taken([], [self._full(LAST_READ)])

    def _map(
        self,
        records: Sequence[DataRecord],
        layout: list[RecordHeader],
        at: float,
        now: float,
    ) -> list[str]:
        """Work out which record feeds which point, where that may have changed.

        Returns:
            The names of points that were found in this answer for the first time.
        """
        again = layout == self._layout
        if again and not self._open:
            return []
        # Until all is worked out: were it left half done, the next answer must begin anew.
        self._layout = None
        self._open = False
        sent = known_records(records)
        places = {known.key: place for place, known in enumerate(sent)}
        agreed: list[Fed] = []
        for fed in self._points.values():
            before, now_fed = fed.settled, self._follow(fed, sent)
            if isinstance(now_fed, Fault):
                fed.source = now_fed
                continue
            fed.layout = self._layouts.last
            self._prepare(fed, records, places)
            if now_fed == before:
                agreed.append(fed)
        self._keep_feeds(agreed)
        new = self._find(sent, records, places, at, now) if self.plan.points is None else []
        kept = self._sent.keep(sent, now, again=again)
        self._open = self._open or not kept or any(fed.is_open for fed in self._points.values())
        self._layout = layout
        return new

    def _follow(self, fed: Fed, sent: Sequence[Known]) -> Settled | Fault:
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

    def _prepare(self, fed: Fed, records: Sequence[DataRecord], places: Mapping[str, int]) -> None:
        assert fed.settled is not None
        place = places[fed.settled.key]
        fed.prepare(records[place], place, self.plan)

    def _find(
        self,
        sent: Sequence[Known],
        records: Sequence[DataRecord],
        places: Mapping[str, int],
        at: float,
        now: float,
    ) -> list[str]:
        claimed: set[str] = set()
        for fed in self._points.values():
            if fed.settled is not None and isinstance(fed.source, Fault):
                claimed |= claimed_by(fed.settled, fed.plan.selector, sent)
            elif fed.settled is not None:
                claimed.add(fed.settled.key)
        new: list[Fed] = []
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
            new.append(Fed(plan, self._full(found.name), True, found.settled))
        if not new:
            return []
        # One write for all the objects that come of it.
        try:
            with self._ledger.transaction():
                for fed in new:
                    self._offer_point(fed, at, now)
        except LedgerError as error:
            # What is offered stays so; what is not has another chance with the next answer.
            log.error("%s: %s", self.plan.name, error)
            self._open = True
        new = [fed for fed in new if fed.plan.name in self._points]
        for fed in new:
            fed.layout = self._layouts.last
            self._prepare(fed, records, places)
        return [fed.name for fed in new]

    def _keep_feeds(self, agreed: Sequence[Fed]) -> None:
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
                        self._ledger.remember(meter, fed.plan.name, plan_to_json(fed.plan))
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

    def outlook(self, sent: Sequence[Known] | None = None, *, meter: str = METER) -> list[Outlook]:
        """What is to be expected of each point, without asking the meter; call it after `offer`.

        Args:
            sent: the records that such a meter sends; None for what the ledger has of this one.
            meter: whose they are, in words.
        """
        if sent is None:
            sent = self.known
        return [expect(fed, sent, meter) for fed in self._points.values()]

    def faults(self) -> Iterator[Fault]:
        """Why its values are in fault, once for each that is."""
        for fed in self._points.values():
            fault = self._store.reading(fed.name).fault
            if fault is not None:
                yield fault

    @property
    def known(self) -> list[Known] | None:
        """The records that the meter sends, as the ledger has them; None where it has none."""
        return self._sent.known

    def _offer_point(self, fed: Fed, at: float, now: float) -> None:
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
                source=source_of(fed),
                object_type=point.object_type,
                instance=point.instance,
                cov_increment=point.cov_increment,
                origin=f"{self.plan.where} {point.selector.to_json()} {point.scale.normalize()}",
            )
        )
        self._resume(fed, at, now)

    def _resume(self, fed: Fed, at: float, now: float) -> None:
        """Serve what an earlier run read, as old as it is."""
        reading = self._store.reading(fed.name)
        if reading.value is None or reading.read_at is None:
            return
        age = at - reading.read_at
        fault = fed.beyond(reading.value)
        if fault is None:
            fed.watch.restore(reading.value, now - max(age, 0.0), known_time=age >= 0)
            if 0 <= age <= self.plan.max_age:
                until = now - age + self.plan.max_age
                self._look_at = until if self._look_at is None else min(until, self._look_at)
                return
            fault = Fault.TOO_OLD
        self._store.fail(fed.name, fault)

    def _say_last_read(self) -> None:
        """An earlier run's last answer is the newest of what it read."""
        if self._store.reading(self._full(LAST_READ)).value is not None:
            return  # it was this run's
        times = [self._store.reading(fed.name).read_at for fed in self._points.values()]
        known = [time for time in times if time is not None]
        if known:
            newest = max(known)
            self._put(LAST_READ, datetime.datetime.fromtimestamp(newest), newest)

    def _describe(self, fed: Fed) -> str:
        about = self.plan.description or self.plan.name
        return f"{about}: {source_of(fed)}"

    def _add(self, name: str, kind: Kind, description: str, source: str) -> None:
        self._store.add(
            Point(
                name=self._full(name),
                meter=self.plan.name,
                kind=kind,
                description=description,
                source=source,
                origin=self.plan.where if name == SECONDARY_ADDRESS else "",
            )
        )

    def _say_who(self, address: str, at: float) -> None:
        """Whose the values are from now on belongs on record with them."""
        if self._store.reading(self._full(SECONDARY_ADDRESS)).value == address:
            self._put(SECONDARY_ADDRESS, address, at)
            return
        reading = Reading(value=address, read_at=at, fault=None)
        self._store.put_all(self.plan.name, {self._full(SECONDARY_ADDRESS): reading}, at)

    def _put(self, name: str, value: Value, at: float) -> None:
        self._store.put(self._full(name), Reading(value=value, read_at=at, fault=None))

    def _fail_all(self, fault: Fault) -> None:
        for fed in self._points.values():
            self._store.fail(fed.name, fault)

    def _full(self, name: str) -> str:
        return f"{self.plan.name}.{name}"


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


class _Answer(NamedTuple):
    """An answer of our meter, and what is known of it as a whole."""

    records: Sequence[DataRecord]
    at: float
    now: float
    own_fault: Fault | None
    undecoded: str
    suspect: bool
    vouched: bool
    first: bool


class _Before(NamedTuple):
    """An answer that was held back until another one has the same records.

    ``who`` answered, by its header.
    """

    who: SecondaryAddress | None
    records: Sequence[DataRecord]
    layout: list[RecordHeader]
    at: float
    now: float


def _is_vouched(telegram: Telegram) -> bool:
    """Whether an authentication code proves that the telegram is as the meter sent it."""
    return (
        telegram.security is Security.DECRYPTED
        and telegram.message_counter is not None
        and not telegram.notes
    )


def unit_of(unit: Unit, quantity: Quantity) -> str:
    """The unit in which a number is offered, unless the user says another."""
    usual = default_unit(quantity)
    # Of durations, the quantity knows which unit is natural: an operating time in hours.
    if unit is Unit.SECOND and convertible(unit, usual):
        return usual
    return usual_unit(unit)
