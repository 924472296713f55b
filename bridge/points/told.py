"""What the log is told of a meter: what is wrong when it begins, and when it ends; not in between.

Some meters are in and out of a trouble with every answer, as one whose telegram is whole every
other time. Of those the log hears once an hour.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import Enum, auto

from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram
from bridge.points.explain import Doubt, can_be_said, explain, wrong_kind, wrong_unit
from bridge.points.fed import Fed
from bridge.points.known import Known, known_records
from bridge.points.plan import PointPlan
from bridge.points.plausible import as_text
from bridge.points.reading import Fault, Kind, Value
from bridge.units import NO_UNITS

log = logging.getLogger(__name__)

# What the user, and nobody else, can put right; it is said in the log.
TO_BE_CONFIGURED = frozenset(
    {Fault.RECORD_MISSING, Fault.AMBIGUOUS, Fault.WRONG_UNIT, Fault.WRONG_KIND}
)

# So many bytes of what cannot be decoded are shown.
_BYTES_SHOWN = 16

# Of so many points in one answer the log tells what is wrong; the others it names.
_TOLD_IN_FULL = 3

# The same trouble is told again after so many seconds.
QUIET = 3600.0


class _Gap(Enum):
    """What is lacking in an answer."""

    UNDECODED = auto()  # some bytes could not be decoded
    EMPTY = auto()  # there is no record


class Told:
    """What the log knows of one meter."""

    def __init__(self, meter: str) -> None:
        self._meter = meter
        self._trouble: Fault | None = None  # of the meter as a whole
        self._gap: _Gap | None = None  # in its answers
        self._gap_told: float | None = None  # when that last began, by the monotonic clock
        self._refuted_told: float | None = None  # when a damaged value was last told
        self._refuted = 0  # since then

    def trouble(self, trouble: Fault | None, remedy: str = "") -> None:
        """Say what is wrong with the meter as a whole when it begins, and when it ends."""
        if trouble is self._trouble:
            return
        if trouble is not None:
            log.warning("%s: %s; %s", self._meter, trouble.value, remedy)
        elif self._trouble is not None:
            log.info("%s: no longer: %s", self._meter, self._trouble.value)
        self._trouble = trouble

    def gap(self, undecoded: str, now: float, *, empty: bool) -> None:
        """Say what is lacking in the meter's answers when that begins, and when it ends.

        Args:
            undecoded: what cannot be decoded, in words; empty where all can.
            now: by the monotonic clock.
            empty: there is no record.
        """
        gap = _Gap.UNDECODED if undecoded else _Gap.EMPTY if empty else None
        if gap is self._gap:
            return
        name = self._meter
        if gap is not None and self._gap_told is not None and now - self._gap_told < QUIET:
            return
        if gap is not None:
            self._gap_told = now
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

    def refuted(self, fed: Fed, damaged: Value, now: float, believed: Value) -> None:
        """Say that damage passed the checksum: once an hour, with how often since.

        Args:
            fed: whose value.
            damaged: what was read first.
            now: when that turned out, by the monotonic clock.
            believed: what was read then, and is believed.
        """
        self._refuted += 1
        if self._refuted_told is not None and now - self._refuted_told < QUIET:
            return
        more = self._refuted - 1
        log.info(
            "%s: %s was read, and %s when it was read again: the first seems to have been damaged "
            "on the line, with a checksum that fits by chance; it was not used (record %s)%s",
            fed.name,
            as_text(damaged),
            as_text(believed),
            "unknown" if fed.settled is None else fed.settled.key,
            f"; {more} more of this meter's since this was last said" if more else "",
        )
        self._refuted_told, self._refuted = now, 0

    def points(
        self,
        doubtful: Sequence[tuple[Fed, Fault | None]],
        records: Sequence[DataRecord],
        undecoded: str,
        now: float,
    ) -> None:
        """Say what has begun to be wrong with the configuration, and what no longer is, once.

        Args:
            doubtful: points with what is wrong with each now.
            records: those of the answer.
            undecoded: what of it cannot be decoded, in words.
            now: by the monotonic clock.
        """
        begun: list[Fed] = []
        for fed, fault in doubtful:
            if fault in TO_BE_CONFIGURED:
                if fed.said_at is not None and now - fed.said_at < QUIET:
                    continue
                fed.said, fed.said_at = fault, now
                begun.append(fed)
            elif fed.said is not None:
                log.info("%s: its record is there again, and right", fed.name)
                fed.said = None
        sent = known_records(records) if begun else []
        for fed in begun[:_TOLD_IN_FULL]:
            log.warning("%s: %s", fed.name, _doubt_of(fed, sent, undecoded))
        if rest := begun[_TOLD_IN_FULL:]:
            log.warning(
                "%s: %d more points are in fault for such reasons: %s",
                self._meter,
                len(rest),
                ", ".join(fed.plan.name for fed in rest),
            )


def _doubt_of(fed: Fed, sent: Sequence[Known], undecoded: str) -> Doubt:
    if isinstance(fed.source, Fault):
        selector, settled = fed.plan.selector, fed.settled
        doubt = explain(fed.source, selector, settled, sent, undecoded=undecoded)
        missing = fed.source is Fault.RECORD_MISSING
        return doubt if undecoded and missing else for_found(fed, doubt)
    known = sent[fed.source]
    return misfit(fed.plan, known, sent) or wrong_kind(known, fed.plan.kind, sent)


def undecoded_of(telegrams: Sequence[Telegram]) -> str:
    """What of an answer cannot be decoded, in words; empty where all can be."""
    errors = [(n, error) for n, each in enumerate(telegrams, 1) for error in each.errors]
    if not errors:
        return ""
    number, error = errors[0]
    place = f"telegram {number}, " if len(telegrams) > 1 else ""
    shown = error.data[:_BYTES_SHOWN].hex().upper() + "…" * (len(error.data) > _BYTES_SHOWN)
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{place}byte {error.offset}: {error.reason}: {shown}{more}"


def for_found(fed: Fed, doubt: Doubt) -> Doubt:
    """The remedy for a point that nobody wrote is to write it."""
    if not fed.found:
        return doubt
    return Doubt(doubt.message, "name the point in the file, with the record that it is to have")


def misfit(plan: PointPlan, known: Known, sent: Sequence[Known]) -> Doubt | None:
    """Why a record cannot feed a point that names it."""
    if known.kind is not plan.kind:
        return wrong_kind(known, plan.kind, sent)
    unit = plan.unit or NO_UNITS
    if plan.kind is Kind.NUMBER and not can_be_said(known.unit, known.identity.quantity, unit):
        return wrong_unit(known, unit)
    return None
