"""One meter's whole answer, however many telegrams it takes.

EN 13757-3, 6.2 and annex on multi-telegram readout: a telegram whose records end with DIF 1F has a
successor, which a REQ_UD2 with the other FCB fetches. Pure, as the link below it.

When SND_NKE is sent first, and why. SND_NKE costs a frame, an E5 and a meter's delay, and a master
that keeps the FCB needs it only where master and meter may disagree about what comes next:

- at first contact: the meter may remember the FCB of an earlier master, and repeat what it had
  prepared for it;
- after a fault: we cannot know which of our requests the meter has heard;
- before each readout of a meter that has more than one telegram: some keep their place between
  readouts, and would begin with the telegram after the last one. It must begin at the first;
- not before the next readout of a meter whose only telegram came well: the other FCB asks it for
  fresh data, and the place is certain.

A secondary address is selected for each readout, which clears the FCB of 253 at both ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.compact import Formats
from bridge.mbus.control import (
    CI_FIXED,
    CI_REVERSED,
    CI_REVERSED_FIXED,
    NETWORK_LAYER,
    HeaderKind,
    ci_row,
)
from bridge.mbus.errors import TelegramError
from bridge.mbus.fixed import FIXED_LENGTH
from bridge.mbus.frame import LongFrame
from bridge.mbus.link import Acknowledged, Answered, Damaged, Effort, Link, Outcome, Silent
from bridge.mbus.telegram import ApplicationError, Telegram

MAXIMUM_TELEGRAMS = 16

# Application errors after which a later request may do better: too busy, too many readouts.
_BUSY = frozenset({0x08, 0x09})


class Trouble(StrEnum):
    """Why a readout brought nothing."""

    NO_ANSWER = "no answer"
    DAMAGED = "damaged"
    FOREIGN_METER = "foreign meter"
    BUSY = "busy"  # it answers, but has nothing to send now
    APPLICATION_ERROR = "application error"
    UNREADABLE = "unreadable"  # its data cannot be told from what it sent, as a format not known


@dataclass(slots=True)
class Memory:
    """What is known of a meter from readout to readout. It changes with each.

    ``in_step`` means that meter and master agree on the FCB, and that the first telegram comes
    next. ``answers_nke`` is False for a meter that sends no E5 to SND_NKE, but answers REQ_UD2.
    ``formats`` are those that it has told, by which compact frames are read.
    """

    in_step: bool = False
    answers_nke: bool = True
    formats: Formats = field(default_factory=Formats)


@dataclass(frozen=True, slots=True)
class Complete:
    """The whole answer: 1 to 16 telegrams.

    ``repeats`` is True where the meter announced one more telegram and then sent an old one again,
    or was stopped at the limit: it has said all that it says.
    """

    telegrams: tuple[Telegram, ...]
    repeats: bool
    effort: Effort


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or not the whole of it; ``detail`` is a sentence for a log."""

    trouble: Trouble
    detail: str
    effort: Effort


End = Complete | Failed


class Readout:
    """Reads one meter over a `Link`; driven as a link is.

    Args:
        link: without an exchange of its own at present.
        address: primary (0 to 250, 254), or secondary, also with wildcards.
        decode: makes a telegram of a frame; a `TelegramError` means damage.
        memory: what earlier readouts of this meter left; None for first contact.
        probe: only look, with one try, whether the meter is there; read it if so.
        maximum: telegrams, at most.
    """

    def __init__(
        self,
        link: Link,
        address: int | SecondaryAddress,
        decode: Callable[[LongFrame], Telegram],
        *,
        memory: Memory | None = None,
        probe: bool = False,
        maximum: int = MAXIMUM_TELEGRAMS,
    ) -> None:
        self._link = link
        self._selection = address if isinstance(address, SecondaryAddress) else None
        self._address = NETWORK_LAYER if isinstance(address, SecondaryAddress) else address
        self._identity = self._selection
        self._decode = decode
        self._memory = Memory() if memory is None else memory
        self._probe = probe
        self._maximum = maximum
        self._telegrams: list[Telegram] = []
        self._seen: set[tuple[int, bytes]] = set()
        self._effort = Effort()
        self._asking = False  # REQ_UD2 is out, no longer SND_NKE or the selection
        self._nke_unanswered = False

    @property
    def deadline(self) -> float | None:
        return self._link.deadline

    def start(self, now: float) -> None:
        """Begin.

        Raises:
            LinkBusyError: the link has an exchange going on.
        """
        tries = self._link.timing.tries
        if self._selection is not None:
            self._link.select(self._selection, now, tries=1 if self._probe else tries)
        elif self._memory.in_step:
            self._request(now, 1 if self._probe else tries)
        elif self._memory.answers_nke:
            # One try less: if SND_NKE stays without an answer, the last one is a REQ_UD2.
            self._link.normalise(self._address, now, tries=1 if self._probe else max(1, tries - 1))
        elif self._probe:
            self._request(now, 1)
        else:
            self._link.normalise(self._address, now, tries=1)
        # Until this readout has ended well, nothing is certain; also when it is broken off.
        self._memory.in_step = False

    def to_send(self) -> bytes:
        return self._link.to_send()

    def receive(self, data: bytes, now: float) -> End | None:
        outcome = self._link.receive(data, now)
        return None if outcome is None else self._go_on(outcome, now)

    def wake(self, now: float) -> End | None:
        outcome = self._link.wake(now)
        return None if outcome is None else self._go_on(outcome, now)

    def abandon(self, now: float) -> Effort:
        """Break off, and say what it has all cost."""
        self._effort += self._link.abandon(now)
        return self._effort

    def _request(self, now: float, tries: int) -> None:
        self._asking = True
        self._link.request_data(self._address, now, identity=self._identity, tries=tries)

    def _go_on(self, outcome: Outcome, now: float) -> End | None:
        self._effort += outcome.effort
        if not self._asking:
            return self._prepared(outcome, now)
        if isinstance(outcome, Answered):
            return self._answered(outcome.frame, now)
        if isinstance(outcome, Acknowledged):
            if self._nke_unanswered:
                # It was for SND_NKE, and late: the meter is there, and has not been asked yet.
                self._nke_unanswered = False
                self._request(now, self._link.timing.tries)
                return None
            return self._fail(Trouble.BUSY, "the meter answers that it has nothing to send")
        return self._unanswered(outcome)

    def _prepared(self, outcome: Outcome, now: float) -> End | None:
        """SND_NKE or the selection has come to an end."""
        tries = self._link.timing.tries
        if isinstance(outcome, Acknowledged):
            if self._selection is None:
                self._memory.answers_nke = True
            self._request(now, tries)
            return None
        if self._selection is not None:
            return self._unanswered(outcome)
        if isinstance(outcome, Silent):
            if self._probe or tries == 1:
                return self._unanswered(outcome)
            # There are meters that answer REQ_UD2 alone. They get a look before being given up.
            self._nke_unanswered = True
            self._request(now, 1 if self._memory.answers_nke else tries)
            return None
        self._request(now, tries)
        return None

    def _answered(self, frame: LongFrame, now: float) -> End | None:
        if self._nke_unanswered:
            self._memory.answers_nke = False
            self._nke_unanswered = False
        content = _without_access_number(frame)
        if content in self._seen:
            if not self._telegrams:
                return self._only_format()
            return self._complete(repeats=True)
        self._seen.add(content)
        try:
            telegram = self._decode(frame)
        except TelegramError as error:
            return self._fail(Trouble.DAMAGED, f"the content is no telegram: {error}")
        if telegram.application_error is not None:
            return self._application_error(telegram.application_error)
        if telegram.unreadable:
            return self._fail(Trouble.UNREADABLE, telegram.errors[0].reason)
        if telegram.format is not None:
            if len(self._seen) > self._maximum:
                return self._only_format()
            # How to read the telegram that comes next.
            self._request(now, self._link.timing.tries)
            return None
        self._telegrams.append(telegram)
        if not telegram.more_records_follow:
            return self._complete(repeats=False)
        if len(self._telegrams) == self._maximum:
            return self._complete(repeats=True)
        if telegram.header is not None and telegram.header.address is not None:
            # All telegrams of one answer are of one meter. Only the number is compared: version
            # and device type differ between the telegrams of some heat meters.
            self._identity = SecondaryAddress(telegram.header.address.identification)
        self._request(now, self._link.timing.tries)
        return None

    def _complete(self, *, repeats: bool) -> Complete:
        self._memory.in_step = len(self._seen) == 1 and not repeats
        return Complete(tuple(self._telegrams), repeats, self._effort)

    def _only_format(self) -> Failed:
        return self._fail(Trouble.UNREADABLE, "the meter sends its format again, and no data")

    def _application_error(self, error: ApplicationError) -> Failed:
        trouble = Trouble.BUSY if error.code in _BUSY else Trouble.APPLICATION_ERROR
        return self._fail(trouble, f"the meter reports: {error.text}")

    def _unanswered(self, outcome: Outcome) -> Failed:
        if isinstance(outcome, Damaged):
            if outcome.foreign is not None:
                return self._fail(
                    Trouble.FOREIGN_METER, f"another meter answers: {outcome.foreign}"
                )
            kinds = ", ".join(f"{kind} {count}×" for kind, count in outcome.kinds)
            return self._fail(Trouble.DAMAGED, f"what came was no answer: {kinds}")
        # A SND_NKE that nobody answered was a try as well.
        tries = (self._effort if self._nke_unanswered else outcome.effort).tries
        return self._fail(
            Trouble.NO_ANSWER, f"no answer to {tries} {'try' if tries == 1 else 'tries'}"
        )

    def _fail(self, trouble: Trouble, detail: str) -> Failed:
        if self._telegrams:
            count = len(self._telegrams)
            detail = f"after {count} {'telegram' if count == 1 else 'telegrams'}: {detail}"
        elif self._selection is not None and not self._asking:
            detail = f"selection: {detail}"
        return Failed(trouble, detail, self._effort)


def _without_access_number(frame: LongFrame) -> tuple[int, bytes]:
    """What two telegrams are compared by: the access number counts even where all else repeats."""
    if len(frame.data) == FIXED_LENGTH and frame.ci in (CI_FIXED, CI_REVERSED_FIXED):
        position = 4
    elif frame.ci == CI_REVERSED:
        position = 8
    else:
        header = ci_row(frame.ci).header
        if header is HeaderKind.NONE:
            return frame.ci, frame.data
        position = 8 if header is HeaderKind.LONG else 0
    return frame.ci, frame.data[:position] + frame.data[position + 1 :]
