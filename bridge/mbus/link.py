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
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from bridge.mbus.address import SecondaryAddress, decode_secondary, encode_secondary
from bridge.mbus.control import (
    CI_FIXED,
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
    HeaderKind,
    ci_row,
)
from bridge.mbus.errors import (
    ChecksumError,
    FrameError,
    LengthError,
    LinkBusyError,
    StopError,
)
from bridge.mbus.fixed import FIXED_LENGTH
from bridge.mbus.frame import (
    OVERHEAD,
    Ack,
    Frame,
    LongFrame,
    ShortFrame,
    encode_frame,
    take_frame,
)

BITS = 11  # of a character: start, 8 data, parity, stop (EN 13757-2, 5.2)
LONGEST_FRAME = 261  # characters
IDLE_BITS = 33  # of idle line after an error, before the next frame (EN 13757-2, 5.5)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take on one bus.

    Args:
        baudrate: 300 to 38400.
        timeout: seconds from the end of a request to the first byte of its answer. The standard's
            330 bit times and 50 ms where None, and at least that: this stretches, for meters
            slower than the standard allows, and never shortens.
        latency: seconds that the way to the bus and back adds: a USB adapter, a network.
        tries: how often a request goes out before its meter counts as silent (EN 13757-2: 3).
    """

    baudrate: int = 2400
    timeout: float | None = None
    latency: float = 0.0
    tries: int = 3

    def characters(self, count: int) -> float:
        """Seconds that ``count`` characters take on the wire."""
        return count * BITS / self.baudrate

    @property
    def window(self) -> float:
        """Seconds from the end of a request in which the answer must begin."""
        # EN 13757-2: no later than 330 bit times and 50 ms. The first character must be whole to
        # be noticed, so its time is added.
        standard = (330 + BITS) / self.baudrate + 0.05
        return max(standard, self.timeout or 0.0) + self.latency

    @property
    def idle(self) -> float:
        """Seconds of idle line that the standard demands after an error."""
        return IDLE_BITS / self.baudrate

    @property
    def gap(self) -> float:
        """Seconds without a byte after which a frame that has begun will not end any more.

        FT 1.2 knows no gaps in a frame, but converters hand bytes on in bursts, up to 100 ms apart,
        and networks twice their latency.
        """
        return 0.1 + self.idle + 2 * self.latency


class Damage(StrEnum):
    """What can be wrong with what the line brings."""

    NOISE = "noise"  # bytes that begin no frame
    LENGTH = "length"  # the head of a long frame contradicts itself
    CHECKSUM = "checksum"
    STOP = "stop"  # no stop character where the frame ends
    TRUNCATED = "truncated"  # the frame stopped coming
    TRAILING = "trailing"  # more bytes after the answer
    FOREIGN = "foreign"  # another meter's answer
    LATE = "late"  # an answer to an earlier request
    UNEXPECTED = "unexpected"  # a sound frame that answers nothing


@dataclass(frozen=True, slots=True)
class Effort:
    """What an exchange has cost.

    ``wire_time`` is the time in seconds that no master can avoid: 11 bit times for every byte both
    ways, and the delay of each answer. ``answer_delay`` is the last such delay, in seconds from
    the end of the request; behind a network it contains the network's.
    """

    tries: int = 0
    silences: int = 0
    damage: Counter[Damage] = field(default_factory=Counter)
    bytes_sent: int = 0
    bytes_received: int = 0
    wire_time: float = 0.0
    answer_delay: float | None = None

    def __add__(self, other: Effort) -> Effort:
        return Effort(
            tries=self.tries + other.tries,
            silences=self.silences + other.silences,
            damage=self.damage + other.damage,
            bytes_sent=self.bytes_sent + other.bytes_sent,
            bytes_received=self.bytes_received + other.bytes_received,
            wire_time=self.wire_time + other.wire_time,
            answer_delay=self.answer_delay if other.answer_delay is None else other.answer_delay,
        )


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """E5. In reply to REQ_UD2 it says that the meter has nothing to send."""

    address: int
    effort: Effort = field(default_factory=Effort, compare=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """RSP_UD, from the meter that was asked."""

    address: int
    frame: LongFrame
    effort: Effort = field(default_factory=Effort, compare=False)


@dataclass(frozen=True, slots=True)
class Silent:
    """No try brought a single byte, but perhaps our own echo."""

    address: int
    effort: Effort = field(default_factory=Effort, compare=False)


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes came, but no answer among them.

    ``kinds`` counts what was wrong. ``foreign`` names the other meter where in every try another
    one answered: "address 7", or its secondary address.
    """

    address: int
    kinds: tuple[tuple[Damage, int], ...]
    foreign: str | None = None
    effort: Effort = field(default_factory=Effort, compare=False)


Outcome = Acknowledged | Answered | Silent | Damaged


class _Service(Enum):
    """What was sent, as far as it decides what an answer means."""

    NORMALISE = "SND_NKE"
    SELECT = "selection"
    DATA = "SND_UD"
    REQUEST = "REQ_UD2"


@dataclass(slots=True)
class _Exchange:
    """One request, its repetitions, and what is known of the answer so far."""

    service: _Service
    address: int
    request: bytes
    tries_left: int
    identity: SecondaryAddress | None
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
    # Of all tries:
    foreign_tries: int = 0
    foreign: str | None = None
    after_silence: bool = False
    tries: int = 0
    silences: int = 0
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
        self.timing = timing
        self.unasked = 0  # bytes that came while no answer was awaited
        self.stretch = 0.0  # seconds that answers were seen to need beyond the window
        self._exchange: _Exchange | None = None
        # The FCB of the next frame with FCV, by address; set after SND_NKE (EN 13757-2, 5.7.4).
        # 253 has one of its own.
        self._next_fcb: dict[int, bool] = {}
        self._buffer = bytearray()
        self._outgoing = b""
        self._rest_until = float("-inf")  # no frame before
        self._heard_at = float("-inf")
        self._asked: int | None = None  # whose answer may still come late
        self._asked_before: int | None = None

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

    def select(self, mask: SecondaryAddress, now: float, *, tries: int | None = None) -> None:
        """Select the meter that ``mask`` fits; E5 is the answer. It is at address 253 then.

        Raises:
            LinkBusyError: another exchange goes on.
        """
        # FCB 0, as all masters send it: the selection itself clears the FCB of 253.
        frame = LongFrame(SND_UD, NETWORK_LAYER, CI_SELECT, encode_secondary(mask))
        self._begin(_Service.SELECT, NETWORK_LAYER, encode_frame(frame), now, tries)

    def send_data(
        self, address: int, ci: int, data: bytes, now: float, *, tries: int | None = None
    ) -> None:
        """SND_UD with up to 252 bytes of user data; E5 is the answer.

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

    def abandon(self, now: float) -> Effort:
        """Forget the exchange that goes on, if one does, and say what it has cost.

        Its answer may yet come, so the line rests for a while.
        """
        exchange = self._exchange
        if exchange is None:
            return Effort()
        effort = self._end(exchange, now, answer=None)
        self._outgoing = b""
        self._rest_until = now + self._window
        return effort

    def to_send(self) -> bytes:
        """What to write now; empty where there is nothing."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes, now: float) -> Outcome | None:
        """Take what was read; also while no exchange goes on."""
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
        self._buffer += data
        outcome = self._take_frames(exchange, now)
        if outcome is None:
            exchange.deadline = exchange.window_end
            if self._buffer or exchange.broken is not None or exchange.acknowledged:
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
            return self._acknowledge(exchange, now)
        if self._buffer:
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
    ) -> None:
        if self._exchange is not None:
            raise LinkBusyError(self._exchange.address)
        longest = self.timing.characters(LONGEST_FRAME)
        exchange = self._exchange = _Exchange(
            service=service,
            address=address,
            request=request,
            tries_left=self.timing.tries if tries is None else tries,
            identity=identity,
            deadline=self._rest_until,
            settle_limit=now + self._window + longest,
        )
        if address != self._asked:
            self._asked, self._asked_before = address, self._asked
        if now >= self._rest_until:
            self._transmit(exchange, now)

    def _fcb(self, address: int) -> int:
        return FCB if self._next_fcb.get(address, True) else 0

    def _transmit(self, exchange: _Exchange, now: float) -> None:
        timing = self.timing
        exchange.tries_left -= 1
        exchange.tries += 1
        exchange.listening = True
        exchange.heard = exchange.foreign_here = exchange.acknowledged = False
        exchange.ended = False
        exchange.broken = None
        exchange.sent_before_at, exchange.sent_at = exchange.sent_at, now
        exchange.window_end = now + timing.characters(len(exchange.request)) + self._window
        exchange.deadline = exchange.window_end
        exchange.limit = exchange.window_end + 1.25 * timing.characters(LONGEST_FRAME) + timing.gap
        self._buffer.clear()
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
        while True:
            length = len(self._buffer)
            announced = self._buffer[1] + OVERHEAD if length > 1 else 0
            try:
                frame = take_frame(self._buffer)
            except FrameError as error:
                exchange.heard = True
                if isinstance(error, ChecksumError) and length == announced:
                    exchange.ended = True
                # A wrong checksum makes the search go on inside the frame, where nothing counts.
                if exchange.broken in (None, Damage.NOISE):
                    exchange.broken = _kind(error)
                continue
            if frame is None:
                return None
            outcome = self._judge(exchange, frame, now)
            if outcome is not None:
                return outcome

    def _search_remains(self, exchange: _Exchange, now: float) -> Outcome | None:
        """The line fell silent inside a frame. Was its start false, and a true one within?"""
        exchange.heard = True
        if exchange.broken in (None, Damage.NOISE):
            exchange.broken = Damage.TRUNCATED
        while self._buffer:
            del self._buffer[0]
            outcome = self._take_frames(exchange, now)
            if outcome is not None:
                return outcome
        exchange.acknowledged = False  # an E5 among remains is none
        return None

    def _judge(self, exchange: _Exchange, frame: Frame, now: float) -> Outcome | None:
        if isinstance(frame, Ack):
            return self._judge_ack(exchange, now)
        if frame.control & DIRECTION:
            self._note_broken(exchange)
            if encode_frame(frame) == exchange.request:
                exchange.echoed += len(exchange.request)
            else:
                self._damage(exchange, Damage.UNEXPECTED)
            return None
        if isinstance(frame, ShortFrame) or frame.control & (0x80 | FUNCTION) != RSP_UD:
            self._note_broken(exchange)
            self._damage(exchange, Damage.UNEXPECTED)
            return None
        self._note_broken(exchange)
        if exchange.service is not _Service.REQUEST:
            self._damage(exchange, Damage.LATE)
            return None
        if exchange.address <= LAST_ADDRESS and frame.address != exchange.address:
            late = frame.address == self._asked_before
            self._damage(exchange, Damage.LATE if late else Damage.FOREIGN)
            self._note_foreign(exchange, f"address {frame.address}")
            return None
        if exchange.identity is not None and not _fits(exchange.identity, frame):
            self._damage(exchange, Damage.FOREIGN)
            self._note_foreign(exchange, str(_identity(frame)))
            return None
        return self._answer(exchange, frame, now)

    def _judge_ack(self, exchange: _Exchange, now: float) -> Outcome | None:
        if self._buffer:
            # An E5 stands alone. With bytes right behind it, it belongs to a broken frame.
            exchange.heard = True
            exchange.broken = exchange.broken or Damage.NOISE
            return None
        if exchange.service is _Service.REQUEST:
            # It must be sure: what follows may turn out to be an RSP_UD, or the rest of one whose
            # first byte was hit. Inside broken bytes it means nothing.
            exchange.heard = True
            exchange.acknowledged = exchange.broken is None
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

    def _answer(self, exchange: _Exchange, frame: LongFrame, now: float) -> Answered:
        self._toggle(exchange.address)
        if self._buffer:
            self._damage(exchange, Damage.TRAILING)
            self._rest_until = now + self.timing.idle
        length = len(frame.data) + 9
        effort = self._end(exchange, now, answer=length)
        self._rest_after(exchange, now, answer=length)
        return Answered(exchange.address, frame, effort)

    def _end_try(self, exchange: _Exchange, now: float) -> Outcome | None:
        self._note_broken(exchange)
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

    def _end(self, exchange: _Exchange, now: float, *, answer: int | None) -> Effort:
        """The exchange is over; ``answer`` is the length of its answer in characters."""
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
        self._buffer.clear()
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
            self._damage(exchange, exchange.broken)
            exchange.broken = None

    def _note_foreign(self, exchange: _Exchange, who: str) -> None:
        exchange.foreign_here = True
        exchange.foreign = who


def _kind(error: FrameError) -> Damage:
    if isinstance(error, ChecksumError):
        return Damage.CHECKSUM
    if isinstance(error, StopError):
        return Damage.STOP
    if isinstance(error, LengthError):
        return Damage.LENGTH
    return Damage.NOISE


def _identity(frame: LongFrame) -> SecondaryAddress | None:
    """What the header says of its meter; None where there is no header with an address."""
    # EN 13757-3: CI 73 with 16 bytes is the fixed structure, whose header has the number alone.
    if frame.ci == CI_FIXED and len(frame.data) == FIXED_LENGTH:
        return SecondaryAddress(frame.data[3::-1].hex().upper())
    long_header = ci_row(frame.ci).header is HeaderKind.LONG
    if long_header and len(frame.data) >= HeaderKind.LONG.value:
        return decode_secondary(frame.data[:8])
    return None


def _fits(mask: SecondaryAddress, frame: LongFrame) -> bool:
    identity = _identity(frame)
    if identity is None:
        return True  # nothing speaks against it
    if frame.ci == CI_FIXED and len(frame.data) == FIXED_LENGTH:
        return SecondaryAddress(mask.identification).matches(identity)
    return mask.matches(identity)
