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
- before each readout that is prepared by raw bytes, or by SND_UD that this meter does not
  acknowledge: nobody knows which FCB it has seen, and it must not take REQ_UD2 for a repetition
  and say again what it said long ago;
- not before the next readout of a meter whose only telegram came well: the other FCB asks it for
  fresh data, and the place is certain.

A way can say that it always goes first, or never. At first contact and after a fault, where it is
not sent or nobody answers it, the first answer may be a repetition of a telegram that is an
interval old, or older. It is dropped, with those that follow in its series, and the meter, whose
FCB is known now, is asked for another.

A secondary address is selected for each readout, which clears the FCB of 253 at both ends; but not
again where the selection still stands and the meter is in step, with a single telegram and without
preparations. If such a meter is silent it is selected after all.

SND_UD and REQ_UD2 share the FCB of their address: after SND_NKE (next FCB: 1) comes SND_UD with
FCB 1, then REQ_UD2 with FCB 0. After raw bytes REQ_UD2 has FCB 1, so a SND_UD or REQ_UD2 among
them is best sent with FCB 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

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
from bridge.mbus.way import MAXIMUM_TELEGRAMS, Nke, RawBytes, UserData, Way

__all__ = [
    "MAXIMUM_TELEGRAMS",
    "Complete",
    "End",
    "Failed",
    "Memory",
    "Readout",
    "Trouble",
]

_USUAL = Way()

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

    ``in_step`` means that meter and master agree on the FCB, and that the first telegram surely
    comes next; ``ended_well`` that they agree on the FCB and nothing was left behind.
    ``answers_nke`` is False for a meter that sends no E5 to SND_NKE, but answers REQ_UD2.
    ``acknowledges`` says whether it sends E5 to SND_UD; None while that is not known.
    ``formats`` are those that it has told, by which compact frames are read.
    """

    in_step: bool = False
    ended_well: bool = False
    answers_nke: bool = True
    acknowledges: bool | None = None
    formats: Formats = field(default_factory=Formats)

    def lose_step(self) -> None:
        """The meter has heard frames of others, as a broadcast: which FCB it waits for is open."""
        self.in_step = self.ended_well = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The whole answer: 1 to 16 telegrams, or those of them that the way keeps.

    ``repeats`` is True where the meter announced one more telegram and then sent an old one again,
    or was stopped at the limit: it has said all that it says. ``leaves_rest`` is True where it
    announced more telegrams than the way wants.
    """

    telegrams: tuple[Telegram, ...]
    repeats: bool
    effort: Effort
    leaves_rest: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or not the whole of it; ``detail`` is a sentence for a log."""

    trouble: Trouble
    detail: str
    effort: Effort


End = Complete | Failed


class _Step(Enum):
    GREET = auto()  # SND_NKE or the selection is out
    PREPARE = auto()
    ASK = auto()


class Readout:
    """Reads one meter over a `Link`; driven as a link is.

    Args:
        link: without an exchange of its own at present, and with the timing of this meter
            (`timing_of`, ``Link.set_timing``).
        address: primary (0 to 250, 254), or secondary, also with wildcards.
        decode: makes a telegram of a frame; a `TelegramError` means damage.
        way: how the meter wants to be read. Its ``wake_up``, ``baudrate`` and ``timeout`` are the
            caller's to see to.
        memory: what earlier readouts of this meter left; None for first contact.
        probe: only look, with one try, whether the meter is there; read it if so.
    """

    def __init__(
        self,
        link: Link,
        address: int | SecondaryAddress,
        decode: Callable[[LongFrame], Telegram],
        *,
        way: Way = _USUAL,
        memory: Memory | None = None,
        probe: bool = False,
    ) -> None:
        self._link = link
        self._selection = address if isinstance(address, SecondaryAddress) else None
        self._address = NETWORK_LAYER if isinstance(address, SecondaryAddress) else address
        self._identity = self._selection
        self._decode = decode
        self._way = way
        self._memory = Memory() if memory is None else memory
        self._probe = probe
        self._tries = link.timing.tries if way.tries is None else way.tries
        self._kept: list[Telegram] = []
        self._count = 0  # telegrams fetched
        self._seen: set[tuple[int, bytes]] = set()
        self._effort = Effort()
        self._step = _Step.GREET
        self._prepared = 0  # of the way's preparations
        self._heard = False  # the meter is there
        self._fcb_cleared = False  # by SND_NKE, the selection or an answer, in this readout
        self._uncertain = False  # whether its next answer is a new one
        self._nke_unanswered = False
        self._unacknowledged = False  # SND_UD was
        self._spent = 0  # tries of those two, where an E5 was to be expected
        self._trusting = False  # REQ_UD2 is out to a selection of an earlier readout

    @property
    def deadline(self) -> float | None:
        return self._link.deadline

    @property
    def missing(self) -> int:
        """Characters still to come of the long frame whose head has come; 0 where none has."""
        return self._link.missing

    def start(self, now: float) -> None:
        """Begin.

        Raises:
            LinkBusyError: the link has an exchange going on.
            AddressError: the way's fabrication number has another form.
        """
        memory, way = self._memory, self._way
        if self._selection is not None:
            stands = self._link.selection_stands(self._selection, now, fabrication=way.fabrication)
            if stands and memory.in_step and not way.before:
                self._trusting = True
                self._request(now, 1)
            else:
                self._select(now, 1 if self._probe else self._tries)
        elif self._needs_nke():
            self._normalise(now)
        else:
            self._go_on_preparing(now)
        self._uncertain = not memory.ended_well
        # Until this readout has ended well, nothing is certain; also when it is broken off.
        memory.in_step = memory.ended_well = False

    def to_send(self) -> bytes:
        return self._link.to_send()

    def receive(self, data: bytes, now: float, broken: Sequence[int] = ()) -> End | None:
        """Take what was read, as ``Link.receive`` does."""
        outcome = self._link.receive(data, now, broken)
        return None if outcome is None else self._go_on(outcome, now)

    def wake(self, now: float) -> End | None:
        outcome = self._link.wake(now)
        return None if outcome is None else self._go_on(outcome, now)

    def abandon(self, now: float) -> Effort:
        """Break off, and say what it has all cost."""
        self._effort += self._link.abandon(now)
        return self._effort

    def _needs_nke(self) -> bool:
        if self._way.nke is not Nke.AUTO:
            return self._way.nke is Nke.ALWAYS
        return not self._memory.in_step or any(
            isinstance(each, RawBytes) or self._memory.acknowledges is not True
            for each in self._way.before
        )

    def _normalise(self, now: float) -> None:
        # If SND_NKE stays without an answer, SND_UD is tried and the last try is a REQ_UD2.
        later = 1 + any(isinstance(each, UserData) for each in self._way.before)
        tries = max(1, self._tries - later)
        if self._probe or not self._memory.answers_nke:
            tries = 1
        if self._probe and not self._memory.answers_nke:
            self._go_on_preparing(now)
            return
        self._link.normalise(self._address, now, tries=tries)

    def _select(self, now: float, tries: int) -> None:
        assert self._selection is not None
        self._step = _Step.GREET
        fabrication = self._way.fabrication
        self._link.select(self._selection, now, fabrication=fabrication, tries=tries)

    def _go_on_preparing(self, now: float) -> None:
        """Send the next preparation, or where all are sent, ask."""
        preparations = self._way.before
        if self._prepared == len(preparations):
            self._request(now, self._patience())
            return
        self._step = _Step.PREPARE
        preparation = preparations[self._prepared]
        self._prepared += 1
        if isinstance(preparation, RawBytes):
            self._link.send_raw(self._address, preparation.data, now)
            return
        # Who is not known to acknowledge is not waited for any longer, and who did not answer
        # SND_NKE gets no more than a look.
        waits = self._memory.acknowledges and (self._heard or not self._nke_unanswered)
        tries = self._patience() if waits else 1
        self._link.send_data(self._address, preparation.ci, preparation.data, now, tries=tries)

    def _patience(self) -> int:
        """The tries that the next request deserves."""
        if self._heard:
            return self._tries
        return 1 if self._probe else max(1, self._tries - self._spent)

    def _request(self, now: float, tries: int) -> None:
        self._step = _Step.ASK
        self._link.request_data(self._address, now, identity=self._identity, tries=tries)

    def _go_on(self, outcome: Outcome, now: float) -> End | None:
        self._effort += outcome.effort
        if isinstance(outcome, Acknowledged | Answered):
            self._heard = True
        if self._trusting:
            self._trusting = False
            if not isinstance(outcome, Acknowledged | Answered):
                # It may be selected no more, or not there: that is what a selection is for.
                self._select(now, 1 if self._probe else max(1, self._tries - 1))
                return None
        if self._step is _Step.GREET:
            return self._greeted(outcome, now)
        if self._step is _Step.PREPARE:
            self._after_preparation(outcome, now)
            return None
        if isinstance(outcome, Answered):
            return self._answered(outcome.frame, now)
        if isinstance(outcome, Acknowledged):
            if self._nke_unanswered:
                # It was for SND_NKE, and late: the meter is there, and has not been asked yet.
                self._nke_unanswered = False
                self._request(now, self._tries)
                return None
            return self._fail(Trouble.BUSY, "the meter answers that it has nothing to send")
        return self._unanswered(outcome)

    def _greeted(self, outcome: Outcome, now: float) -> End | None:
        """SND_NKE or the selection has come to an end."""
        if isinstance(outcome, Acknowledged):
            self._uncertain = False
            self._fcb_cleared = True
            if self._selection is None:
                self._memory.answers_nke = True
            self._pause(now)
        elif self._selection is not None:
            return self._unanswered(outcome)
        elif isinstance(outcome, Silent):
            if self._probe or self._tries == 1:
                return self._unanswered(outcome)
            # There are meters that answer REQ_UD2 alone. They get a look before being given up.
            self._nke_unanswered = True
            if self._memory.answers_nke:
                self._spent += outcome.effort.tries
            else:
                self._pause(now)
        else:
            self._heard = True  # something is there
        self._go_on_preparing(now)
        return None

    def _pause(self, now: float) -> None:
        if self._way.pause:
            self._link.rest(now + self._way.pause)

    def _after_preparation(self, outcome: Outcome, now: float) -> None:
        if isinstance(self._way.before[self._prepared - 1], UserData):
            if isinstance(outcome, Acknowledged):
                self._memory.acknowledges = True
            else:
                self._unacknowledged = True
                # If it was not heard, the FCB that comes next is that of the readout before.
                self._uncertain = self._uncertain or not self._fcb_cleared
                if self._memory.acknowledges is not False:
                    self._spent += outcome.effort.tries
        self._go_on_preparing(now)

    def _answered(self, frame: LongFrame, now: float) -> End | None:
        if self._nke_unanswered:
            self._memory.answers_nke = False
            self._nke_unanswered = False
        if self._unacknowledged:
            self._memory.acknowledges = False
            self._unacknowledged = False
        content = _without_access_number(frame)
        if content in self._seen:
            if self._uncertain:
                self._begin_anew(now)
                return None
            if not self._count:
                return self._only_format()
            if self._effort.silences:
                # It may be a late answer to a repetition, and no sign that this was all.
                return self._fail(Trouble.DAMAGED, "a telegram came twice, perhaps late")
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
        if self._uncertain:
            more = telegram.more_records_follow or telegram.format is not None
            if not more or len(self._seen) > self._way.maximum:
                self._begin_anew(now)
            else:
                self._request(now, self._tries)
            return None
        if telegram.format is not None:
            if len(self._seen) > self._way.maximum:
                return self._only_format()
            # How to read the telegram that comes next.
            self._request(now, self._tries)
            return None
        self._count += 1
        wanted = self._way.telegrams
        if wanted is None or self._count in wanted:
            self._kept.append(telegram)
        if not telegram.more_records_follow:
            return self._complete(repeats=False)
        if wanted is not None and self._count >= max(wanted, default=0):
            return self._complete(repeats=False, leaves_rest=True)
        if self._count == self._way.maximum:
            return self._complete(repeats=True)
        if telegram.header is not None and telegram.header.address is not None:
            # All telegrams of one answer are of one meter. Only the number is compared: version
            # and device type differ between the telegrams of some heat meters.
            self._identity = SecondaryAddress(telegram.header.address.identification)
        self._request(now, self._tries)
        return None

    def _begin_anew(self, now: float) -> None:
        """What came may be old; from here on the meter's FCB and place are known."""
        self._uncertain = False
        self._fcb_cleared = True
        self._seen.clear()
        self._prepared = 0
        self._go_on_preparing(now)

    def _complete(self, *, repeats: bool, leaves_rest: bool = False) -> End:
        self._memory.ended_well = not leaves_rest
        self._memory.in_step = len(self._seen) == 1 and not repeats and not leaves_rest
        if not self._kept:
            some = "1 telegram" if self._count == 1 else f"{self._count} telegrams"
            return self._fail(
                Trouble.UNREADABLE, f"the meter sends {some}, and none of those to keep"
            )
        return Complete(tuple(self._kept), repeats, self._effort, leaves_rest)

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
        # Where nothing was heard at all, what was sent before was a try as well.
        tries = (outcome.effort if self._heard else self._effort).tries
        return self._fail(
            Trouble.NO_ANSWER, f"no answer to {tries} {'try' if tries == 1 else 'tries'}"
        )

    def _fail(self, trouble: Trouble, detail: str) -> Failed:
        if self._count:
            count = self._count
            detail = f"after {count} {'telegram' if count == 1 else 'telegrams'}: {detail}"
        elif self._step is _Step.PREPARE:
            detail = f"preparation: {detail}"
        elif self._selection is not None and self._step is _Step.GREET:
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
