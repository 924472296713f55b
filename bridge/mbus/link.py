"""The master's half of the link layer: what to send, how long to wait, what an answer is.

EN 13757-2, 5.7 (C field, FCB) and 4.3, 5.5 (timing, tries); IEC 60870-5-2. Nothing here knows a
port or a clock: times are seconds of any monotonic clock, passed in as ``now``.

How an answer of an earlier request is kept from being taken for one to the present request:

1. Whoever drives the link hands it everything that came since (``receive``) before a request
   begins. Nothing that comes between two requests is kept, and while such bytes flow, the next
   request waits until the line has been idle for 33 bit times.
2. An answer that follows a silent try may be the late answer to that try, and then the answer to
   the repetition comes too. The line rests for one answer window, so that it ends there. Where
   it was certainly late, the window grows.
3. An RSP_UD must name the primary address that was asked, and behind 253 the meter that was
   selected; an RSP_UD in place of an E5, or an E5 before an RSP_UD, is dropped.
4. What names nobody is dropped once for each answer that is still owed from the last ten seconds
   (`bridge.mbus.late`), and the request repeated, at no cost of a try: an E5 to SND_NKE or SND_UD,
   or to a selection that has wildcards in its number or goes by fabrication number, where an
   earlier E5 did not come; behind such a selection an RSP_UD that fits the meter asked before as
   well, and behind any one that names nobody; and a telegram, byte by byte the one before, which
   could pass for the next of a series.

What remains: a late answer of the very meter that is asked again is taken. It is true, and a few
seconds old. With a primary address, that its header names the right meter is for the caller to
see; another meter with the same primary address is known by that alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from bridge.mbus.address import SecondaryAddress, encode_selection
from bridge.mbus.control import (
    BROADCAST,
    CI_SELECT,
    DIRECTION,
    FCB,
    FUNCTION,
    LAST_ADDRESS,
    NETWORK_LAYER,
    REQ_UD2,
    RSP_UD,
    SND_NKE,
    SND_UD,
    TEST,
)
from bridge.mbus.errors import LinkBusyError
from bridge.mbus.frame import Ack, Frame, LongFrame, ShortFrame, encode_frame
from bridge.mbus.incoming import Fragment, Incoming
from bridge.mbus.late import Asked, Owed, identity_of, may_be_of, names_one
from bridge.mbus.outcome import (
    Acknowledged,
    Answered,
    Damage,
    Damaged,
    Effort,
    Outcome,
    Passed,
    Silent,
)
from bridge.mbus.timing import LONGEST_FRAME, Timing, timing_of

__all__ = [
    "Acknowledged",
    "Answered",
    "Damage",
    "Damaged",
    "Effort",
    "Link",
    "Outcome",
    "Passed",
    "Silent",
    "Timing",
    "timing_of",
]

# For how long a selection is trusted to stand while nobody speaks to the meter.
SELECTION_SECONDS = 60.0


class _Service(Enum):
    """What was sent, as far as it decides what an answer means."""

    NORMALISE = "SND_NKE"
    SELECT = "selection"
    DATA = "SND_UD"
    REQUEST = "REQ_UD2"
    RAW = "bytes as they are"


_KEEPING_SELECTION = frozenset({_Service.SELECT, _Service.DATA, _Service.REQUEST})
_ENDING_SELECTION = frozenset({_Service.SELECT, _Service.RAW})


@dataclass(slots=True)
class _Exchange:
    """One request, its repetitions, and what is known of the answer so far."""

    service: _Service
    address: int
    request: bytes
    tries_left: int
    identity: SecondaryAddress | None
    who: Asked
    names_one: bool  # no other meter can answer, or be taken for the one that does
    deadline: float
    settle_limit: float  # how long a babbling line can hold the next frame back
    listening: bool = False  # else the line must rest first
    # Of the present try:
    sent_at: float = 0.0
    sent_before_at: float = 0.0  # the try before
    window_end: float = 0.0
    limit: float = 0.0
    heard: bool = False
    broken: Damage | None = None  # why the bytes since the last sound frame are none
    ended: bool = False  # they fill a frame to its stop character; only its checksum is wrong
    acknowledged: bool = False  # an E5 came, but it is not sure yet that it is one
    foreign_here: bool = False
    unpaid_here: bool = True  # nothing came that was its answer, or what is left of one
    # Of all tries:
    foreign_tries: int = 0
    foreign: str | None = None
    after_silence: bool = False
    tries: int = 0
    silences: int = 0
    owed: int = 0  # tries whose answer may yet come
    damage: Counter[Damage] = field(default_factory=Counter)
    bytes_received: int = 0
    echoed: int = 0  # of them, our own


class Link:
    """The master of one bus: one exchange at a time.

    Begin one, write what ``to_send`` gives, ``receive`` what was read, ``wake`` the link at
    ``deadline``. The last two return what the exchange came to, once it is over. Each exchange
    ends, whatever the line brings.
    """

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self.unasked = 0  # bytes that came while no answer was awaited
        self.stretch = 0.0  # seconds that answers were seen to need beyond the window
        self._exchange: _Exchange | None = None
        # The FCB of the next frame with FCV, by address; set after SND_NKE (EN 13757-2, 5.7.4).
        # 253 has one of its own.
        self._next_fcb: dict[int, bool] = {}
        self._incoming = Incoming()
        self._outgoing = b""
        self._rest_until = float("-inf")  # no frame before
        self._heard_at = float("-inf")
        self._asked: int | None = None  # whose answer may still come late
        self._asked_before: int | None = None
        self._owed = Owed()
        self._selection = b""  # the user data of the last one that was sent
        self._selected_until = float("-inf")

    @property
    def timing(self) -> Timing:
        """How long things take at present; see `set_timing`."""
        return self._timing

    def set_timing(self, timing: Timing) -> None:
        """Another baud rate, another meter's patience, a latency that was learnt.

        The FCB of each address, the stretch of the window and the rest of the line stay. A
        selection does not, where the baud rate changes: who was selected hears no more.

        Raises:
            LinkBusyError: an exchange goes on.
        """
        if self._exchange is not None:
            raise LinkBusyError(self._exchange.address)
        if timing.baudrate != self._timing.baudrate:
            self.forget_selection()
        self._timing = timing

    @property
    def missing(self) -> int:
        """Characters still to come of the long frame whose head has come; 0 where none has."""
        return self._incoming.missing

    @property
    def deadline(self) -> float | None:
        """When to ``wake`` the link at the latest; None while there is no exchange."""
        return None if self._exchange is None else self._exchange.deadline

    def normalise(self, address: int, now: float, *, tries: int | None = None) -> None:
        """SND_NKE: the meter forgets its FCB, and the next one here is 1. E5 is the answer.

        Sent to 253 it deselects, and often nobody answers; to 255 nobody does.

        Raises:
            LinkBusyError: another exchange goes on.
        """
        request = encode_frame(ShortFrame(SND_NKE, address))
        self._begin(_Service.NORMALISE, address, request, now, tries)

    def select(
        self,
        mask: SecondaryAddress,
        now: float,
        *,
        fabrication: str | None = None,
        tries: int | None = None,
    ) -> None:
        """Select the meter that ``mask`` fits; E5 is the answer. It is at address 253 then.

        Args:
            mask: with wildcards or without.
            now: the time.
            fabrication: fabrication number as well, 8 digits with F for any: the enhanced
                selection.
            tries: instead of the usual number.

        Raises:
            LinkBusyError: another exchange goes on.
            AddressError: the fabrication number has another form.
        """
        # FCB 0, as all masters send it: the selection itself clears the FCB of 253.
        selection = encode_selection(mask, fabrication)
        frame = LongFrame(SND_UD, NETWORK_LAYER, CI_SELECT, selection)
        request = encode_frame(frame)
        self._begin(_Service.SELECT, NETWORK_LAYER, request, now, tries, mask, selection)

    def selection_stands(
        self, mask: SecondaryAddress, now: float, *, fabrication: str | None = None
    ) -> bool:
        """Whether the last selection was this one, and nothing has ended it since.

        It ends with another selection, SND_NKE to 253, 254 or 255, bytes sent as they are, a
        failure or another meter's answer at 253, another baud rate, 60 s without an answer, and
        `forget_selection`.
        """
        return now < self._selected_until and self._selection == encode_selection(mask, fabrication)

    def forget_selection(self) -> None:
        """Whoever was selected may not be any more, as after a new connection."""
        self._selected_until = float("-inf")

    def send_data(
        self, address: int, ci: int, data: bytes, now: float, *, tries: int | None = None
    ) -> None:
        """SND_UD with up to 252 bytes of user data; E5 is the answer, but to 255 nobody answers.

        The FCB toggles also where no E5 came: who obeyed and said nothing would take the next
        frame with the same FCB for a repetition. Who heard nothing may now take the next frame for
        one; SND_NKE or a selection just before makes sure that either FCB is new to it.

        Raises:
            LinkBusyError: another exchange goes on.
            LengthError: more than 252 bytes.
        """
        frame = LongFrame(SND_UD | self._fcb(address), address, ci, data)
        self._begin(_Service.DATA, address, encode_frame(frame), now, tries)

    def request_data(
        self,
        address: int,
        now: float,
        *,
        identity: SecondaryAddress | None = None,
        tries: int | None = None,
    ) -> None:
        """REQ_UD2; RSP_UD is the answer, or E5 from a meter that has nothing to send.

        Args:
            address: 0 to 250, 253 or 254.
            now: the time.
            identity: what the header of the answer must fit where it names its meter; an answer
                that does not is another meter's, and dropped.
            tries: instead of the usual number.

        Raises:
            LinkBusyError: another exchange goes on.
        """
        request = encode_frame(ShortFrame(REQ_UD2 | self._fcb(address), address))
        self._begin(_Service.REQUEST, address, request, now, tries, identity)

    def send_raw(self, address: int, data: bytes, now: float) -> None:
        """Bytes as they are, once. The outcome is `Passed`, when an answer or the time for it is
        over; ``address`` is whose they are, for `LinkBusyError` and the outcome.

        Raises:
            LinkBusyError: another exchange goes on.
        """
        self._begin(_Service.RAW, address, data, now, 1)

    def rest(self, until: float) -> None:
        """No frame goes out before ``until``; the next exchange waits."""
        self._rest_until = max(self._rest_until, until)

    def abandon(self, now: float) -> Effort:
        """Forget the exchange that goes on, if one does, and say what it has cost.

        Its answer may yet come, so the line rests for a while.
        """
        exchange = self._exchange
        if exchange is None:
            return Effort()
        exchange.owed += exchange.unpaid_here
        effort = self._end(exchange, now, answer=None)
        self._outgoing = b""
        self._rest_until = max(self._rest_until, now + self._window)
        return effort

    def to_send(self) -> bytes:
        """What to write now; empty where there is nothing."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes, now: float, broken: Sequence[int] = ()) -> Outcome | None:
        """Take what was read; also while no exchange goes on.

        Args:
            data: the characters.
            now: the time.
            broken: the places in ``data``, in their order, of characters that came with a parity
                or framing error. A frame that holds one is damaged, whatever its checksum says.
        """
        if not data:
            return None
        self._heard_at = now
        exchange = self._exchange
        if exchange is None or not exchange.listening:
            self._hear_unasked(len(data), now)
            return None
        exchange.bytes_received += len(data)
        exchange.ended = False
        if exchange.acknowledged:
            # More follows: the E5 was the end of something else, or a byte of a broken frame.
            exchange.acknowledged = False
            self._damage(exchange, Damage.LATE)
        self._incoming.add(data, broken)
        outcome = self._take_frames(exchange, now)
        if outcome is None:
            exchange.deadline = exchange.window_end
            if len(self._incoming) or exchange.broken is not None or exchange.acknowledged:
                exchange.deadline = max(exchange.window_end, now + self.timing.gap)
            if exchange.ended:
                # Nothing more is due: the line needs its rest, and no patience for a gap.
                exchange.deadline = now + self.timing.idle
            exchange.deadline = min(exchange.deadline, exchange.limit)
        return outcome

    def wake(self, now: float) -> Outcome | None:
        """Tell the link the time; it acts where its deadline has come."""
        exchange = self._exchange
        if exchange is None or now < exchange.deadline:
            return None
        if not exchange.listening:
            self._transmit(exchange, now)
            return None
        if exchange.acknowledged:
            owed = exchange.service is _Service.REQUEST and self._owed.takes_acknowledgement(now)
            if not owed:
                return self._acknowledge(exchange, now)
            exchange.acknowledged = False
            self._take_debt(exchange)
            if now < exchange.window_end:
                exchange.deadline = exchange.window_end
                return None
        if len(self._incoming):
            outcome = self._search_remains(exchange, now)
            if outcome is not None:
                return outcome
        return self._end_try(exchange, now)

    def _begin(
        self,
        service: _Service,
        address: int,
        request: bytes,
        now: float,
        tries: int | None,
        identity: SecondaryAddress | None = None,
        selection: bytes | None = None,
    ) -> None:
        if self._exchange is not None:
            raise LinkBusyError(self._exchange.address)
        longest = self.timing.characters(LONGEST_FRAME)
        if selection is not None:
            self._selection = selection
        if service in _ENDING_SELECTION or (
            service is _Service.NORMALISE and address in (NETWORK_LAYER, TEST, BROADCAST)
        ):
            self.forget_selection()
        who = self._selection if address == NETWORK_LAYER else address
        self._exchange = _Exchange(
            service=service,
            address=address,
            request=request,
            tries_left=self.timing.tries if tries is None else tries,
            identity=identity,
            who=who,
            names_one=names_one(who, identity),
            deadline=self._rest_until,
            settle_limit=max(now, self._rest_until) + self._window + longest,
        )
        if address != self._asked:
            self._asked, self._asked_before = address, self._asked
        if now >= self._rest_until:
            self._transmit(self._exchange, now)

    def _fcb(self, address: int) -> int:
        return FCB if self._next_fcb.get(address, True) else 0

    def _transmit(self, exchange: _Exchange, now: float) -> None:
        timing = self.timing
        exchange.tries_left -= 1
        exchange.tries += 1
        exchange.listening = True
        exchange.heard = exchange.foreign_here = exchange.acknowledged = False
        exchange.ended = False
        exchange.unpaid_here = True
        exchange.broken = None
        exchange.sent_before_at, exchange.sent_at = exchange.sent_at, now
        exchange.window_end = now + timing.characters(len(exchange.request)) + self._window
        exchange.deadline = exchange.window_end
        exchange.limit = exchange.window_end + 1.25 * timing.characters(LONGEST_FRAME) + timing.gap
        self._incoming.clear()
        self._outgoing = exchange.request

    def _hear_unasked(self, count: int, now: float) -> None:
        self.unasked += count
        rest_until = max(self._rest_until, now + self.timing.idle)
        exchange = self._exchange
        if exchange is None:
            self._rest_until = rest_until
        else:
            exchange.deadline = min(max(exchange.deadline, rest_until), exchange.settle_limit)

    def _take_frames(self, exchange: _Exchange, now: float) -> Outcome | None:
        while (taken := self._incoming.take()) is not None:
            if isinstance(taken, Fragment):
                exchange.heard = True
                exchange.ended = exchange.ended or taken.ends
                self._break(exchange, taken.kind)
                continue
            outcome = self._judge(exchange, taken, now)
            if outcome is not None:
                return outcome
        return None

    def _break(self, exchange: _Exchange, kind: Damage) -> None:
        # A wrong checksum makes the search go on inside the frame, where nothing counts.
        if exchange.broken in (None, Damage.NOISE):
            exchange.broken = kind

    def _search_remains(self, exchange: _Exchange, now: float) -> Outcome | None:
        """The line fell silent inside a frame. Was its start false, and a true one within?"""
        exchange.heard = True
        self._break(exchange, Damage.TRUNCATED)
        while len(self._incoming):
            self._incoming.drop()
            outcome = self._take_frames(exchange, now)
            if outcome is not None:
                return outcome
        exchange.acknowledged = False  # an E5 among remains is none
        return None

    def _judge(self, exchange: _Exchange, frame: Frame, now: float) -> Outcome | None:
        if not isinstance(frame, Ack) and frame.control & DIRECTION:
            self._note_broken(exchange)
            if encode_frame(frame) == exchange.request:
                exchange.echoed += len(exchange.request)
            else:
                self._damage(exchange, Damage.UNEXPECTED)
            return None
        if exchange.service is _Service.RAW:
            # Whatever it is: the meter has said what it says.
            return None if len(self._incoming) else self._pass(exchange, now)
        if isinstance(frame, Ack):
            return self._judge_ack(exchange, now)
        self._note_broken(exchange)
        if isinstance(frame, ShortFrame) or frame.control & (0x80 | FUNCTION) != RSP_UD:
            self._damage(exchange, Damage.UNEXPECTED)
            return None
        if exchange.service is not _Service.REQUEST:
            self._drop_late(exchange, frame, now)
            return None
        if exchange.address <= LAST_ADDRESS and frame.address != exchange.address:
            if frame.address == self._asked_before:
                self._drop_late(exchange, frame, now)
            else:
                self._damage(exchange, Damage.FOREIGN)
            self._note_foreign(exchange, f"address {frame.address}")
            return None
        if exchange.identity is not None and not may_be_of(exchange.identity, frame):
            self._damage(exchange, Damage.FOREIGN)
            self._owed.pay(frame, now)
            self._note_foreign(exchange, str(identity_of(frame)))
            return None
        if self._owed.takes_telegram(frame, exchange.who, exchange.identity, now):
            self._take_debt(exchange)
            exchange.unpaid_here = True  # its own answer is still on the way
            return None
        return self._answer(exchange, frame, now)

    def _judge_ack(self, exchange: _Exchange, now: float) -> Outcome | None:
        request = exchange.service is _Service.REQUEST
        if len(self._incoming):
            # An E5 stands alone. With bytes right behind it, it belongs to a broken frame.
            exchange.heard = True
            if request and exchange.broken is None:
                self._damage(exchange, Damage.LATE)
            else:
                exchange.broken = exchange.broken or Damage.NOISE
            return None
        if request:
            # It must be sure: what follows may turn out to be an RSP_UD, or the rest of one whose
            # first byte was hit. Inside broken bytes it means nothing.
            exchange.heard = True
            exchange.acknowledged = exchange.broken is None
            return None
        # Behind 253 the telegram itself will say whether the right meter was selected.
        certain = exchange.service is _Service.SELECT and exchange.names_one
        if not certain and self._owed.takes_acknowledgement(now):
            self._note_broken(exchange)
            self._take_debt(exchange)
            return None
        if exchange.broken is not None:
            exchange.acknowledged = True  # if nothing follows
            return None
        return self._acknowledge(exchange, now)

    def _acknowledge(self, exchange: _Exchange, now: float) -> Acknowledged:
        self._note_broken(exchange)
        if exchange.service in (_Service.NORMALISE, _Service.SELECT):
            self._next_fcb[exchange.address] = True
        else:
            self._toggle(exchange.address)
        effort = self._end(exchange, now, answer=1)
        self._rest_after(exchange, now, answer=1)
        return Acknowledged(exchange.address, effort)

    def _pass(self, exchange: _Exchange, now: float) -> Passed:
        exchange.damage.clear()  # whatever came, nothing was expected
        if exchange.heard:
            self._rest_until = max(self._rest_until, self._heard_at + self.timing.idle)
        return Passed(exchange.address, self._end(exchange, now, answer=None))

    def _answer(self, exchange: _Exchange, frame: LongFrame, now: float) -> Answered:
        self._toggle(exchange.address)
        if len(self._incoming):
            self._damage(exchange, Damage.TRAILING)
            self._rest_until = max(self._rest_until, now + self.timing.idle)
        length = len(frame.data) + 9
        if exchange.names_one:
            self._owed.forgive_acknowledgements()
        effort = self._end(exchange, now, answer=length, answered=frame)
        self._rest_after(exchange, now, answer=length)
        return Answered(exchange.address, frame, effort)

    def _end_try(self, exchange: _Exchange, now: float) -> Outcome | None:
        if exchange.service is _Service.RAW:
            return self._pass(exchange, now)
        self._note_broken(exchange)
        exchange.owed += exchange.unpaid_here
        exchange.after_silence = not exchange.heard
        exchange.silences += not exchange.heard
        exchange.foreign_tries += exchange.foreign_here
        # Deadlines lie far enough behind the last byte, but for the limit of a try.
        rest_until = self._heard_at + self.timing.idle if exchange.heard else now
        if exchange.tries_left > 0:
            if rest_until > now:
                exchange.listening = False
                exchange.deadline = rest_until
                exchange.settle_limit = now + self.timing.characters(LONGEST_FRAME)
            else:
                self._transmit(exchange, now)
            return None
        self._rest_until = max(self._rest_until, rest_until)
        silent = exchange.silences == exchange.tries
        kinds = tuple(sorted(exchange.damage.items()))
        foreign = exchange.foreign if exchange.foreign_tries == exchange.tries else None
        if exchange.service is _Service.DATA:
            self._toggle(exchange.address)
        effort = self._end(exchange, now, answer=None)
        if silent:
            return Silent(exchange.address, effort)
        return Damaged(exchange.address, kinds, foreign, effort)

    def _rest_after(self, exchange: _Exchange, now: float, *, answer: int) -> None:
        """Let the answer to the repetition pass, if the one that came was not it."""
        if exchange.after_silence:
            characters = self.timing.characters(len(exchange.request) + answer)
            passed = max(now, exchange.sent_at + characters) + self._window
            self._rest_until = max(self._rest_until, passed)

    def _end(
        self,
        exchange: _Exchange,
        now: float,
        *,
        answer: int | None,
        answered: LongFrame | None = None,
    ) -> Effort:
        """The exchange is over; ``answer`` is the length of its answer in characters."""
        self._note_owed(exchange, now, answered)
        if exchange.address == NETWORK_LAYER and exchange.service in _KEEPING_SELECTION:
            lasts = answer is not None and Damage.FOREIGN not in exchange.damage
            selects = exchange.service is _Service.SELECT
            if lasts and (selects or now < self._selected_until):
                self._selected_until = now + SELECTION_SECONDS
            else:
                self.forget_selection()
        timing = self.timing
        sent = len(exchange.request) * exchange.tries
        delay = None
        if answer is not None:
            characters = timing.characters(len(exchange.request) + answer)
            delay = now - exchange.sent_at - characters
            if exchange.after_silence and delay < -timing.characters(1):
                # Nothing is that fast: this is the answer to the try before.
                delay = now - exchange.sent_before_at - characters
                self._stretch_to(now - exchange.sent_before_at)
            delay = max(0.0, delay)
        self._exchange = None
        self._incoming.clear()
        return Effort(
            tries=exchange.tries,
            silences=exchange.silences,
            damage=exchange.damage,
            bytes_sent=sent,
            bytes_received=exchange.bytes_received,
            # An echo comes while we send, and takes no time of its own.
            wire_time=timing.characters(sent + exchange.bytes_received - exchange.echoed)
            + (delay or 0.0),
            answer_delay=delay,
        )

    def _note_owed(self, exchange: _Exchange, now: float, answered: LongFrame | None) -> None:
        """Remember how many of its tries may yet be answered."""
        if exchange.service is _Service.RAW or exchange.address == BROADCAST:
            return
        if exchange.service is _Service.REQUEST:
            self._owed.note(
                exchange.who,
                now,
                identity=exchange.identity,
                telegrams=exchange.owed,
                repeated=answered,
            )
        elif exchange.service is not _Service.NORMALISE or exchange.address != NETWORK_LAYER:
            self._owed.note(exchange.who, now, acknowledgements=exchange.owed)

    @property
    def _window(self) -> float:
        return self.timing.window + self.stretch

    def _stretch_to(self, needed: float) -> None:
        """An answer took ``needed`` seconds to come; the next ones shall find the window open.

        A gateway that collects a telegram before it passes it on adds the telegram's whole time,
        which is bounded, and so is this.
        """
        stretch = 1.1 * needed - self.timing.window
        bound = self.timing.characters(LONGEST_FRAME) + 1.0
        self.stretch = min(max(self.stretch, stretch), bound)

    def _toggle(self, address: int) -> None:
        self._next_fcb[address] = not self._next_fcb.get(address, True)

    def _damage(self, exchange: _Exchange, kind: Damage) -> None:
        exchange.heard = True
        exchange.damage[kind] += 1

    def _note_broken(self, exchange: _Exchange) -> None:
        """A run of broken bytes is over: it counts once."""
        if exchange.broken is not None:
            exchange.unpaid_here = exchange.broken is Damage.NOISE and exchange.unpaid_here
            self._damage(exchange, exchange.broken)
            exchange.broken = None

    def _take_debt(self, exchange: _Exchange) -> None:
        """What came may be owed from before, so it is dropped, and this try costs nothing."""
        self._damage(exchange, Damage.LATE)
        exchange.tries_left += 1
        exchange.unpaid_here = False  # else one debt would make another, for ever

    def _drop_late(self, exchange: _Exchange, frame: LongFrame, now: float) -> None:
        self._damage(exchange, Damage.LATE)
        self._owed.pay(frame, now)

    def _note_foreign(self, exchange: _Exchange, who: str) -> None:
        exchange.foreign_here = True
        exchange.foreign = who
