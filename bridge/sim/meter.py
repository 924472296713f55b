"""A meter: the slave's half of the conversation, and the telegrams it has to tell.

EN 13757-2, 5.7 and 5.8 (link layer of a slave), EN 13757-7, 8.4 (secondary addressing) and
EN 13757-3, 7 to 9 (application). No port and no clock: a meter is told which frame it heard and
when, and says what it answers and after which time.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.mbus.address import SecondaryAddress, decode_secondary, encode_secondary
from bridge.mbus.compact import encode_compact
from bridge.mbus.control import (
    ACD,
    BROADCAST,
    CI_ALARM_NONE,
    CI_APPLICATION_RESET,
    CI_BAUDRATES,
    CI_COMPACT_LONG,
    CI_DATA_SEND,
    CI_RESPONSE_LONG,
    CI_SELECT,
    FCB,
    FCV,
    LAST_ADDRESS,
    NETWORK_LAYER,
    REQ_UD1,
    REQ_UD2,
    RSP_UD,
    SND_NKE,
    SND_UD,
    TEST,
)
from bridge.mbus.dif import Function
from bridge.mbus.frame import Ack, Frame, LongFrame, ShortFrame, encode_frame
from bridge.mbus.values import decode_date_f, decode_date_i
from bridge.mbus.walk import decode_records
from bridge.mbus.way import WakeUp
from bridge.sim.errors import SimError
from bridge.sim.line import BAUDRATES, earliest_answer, latest_answer
from bridge.units import Quantity

STAYS_AWAKE_SECONDS = 10.0

# What "freeze" takes: what counts up.
_COUNTED = frozenset(
    {Quantity.ENERGY, Quantity.VOLUME, Quantity.MASS, Quantity.HEAT_COST_ALLOCATION}
)

ACK = encode_frame(Ack())
MORE_RECORDS_FOLLOW = 0x1F
_STORAGE_1 = 0x40  # in a DIF

# EN 13757-3 leaves the time to the meter: 2 to 10 minutes without a valid frame at a new baud rate
# and it is back at the old one.
REVERT_SECONDS = 120.0

_BAUDRATE_OF_CI = {ci: baudrate for baudrate, ci in CI_BAUDRATES.items()}


@dataclass(frozen=True, slots=True)
class Quirks:
    """Where a meter leaves the standard.

    Args:
        ignores_fcb: each REQ_UD2 gets the first telegram anew, whatever its FCB.
        endless: the last telegram too says that more follow, and the first comes again.
        deaf_after_nke: seconds for which a SND_NKE makes it deaf.
        answers_address_zero: the A field of its answers is 0, whatever its address.
        sleeps_after: seconds without a frame to it, after which it misses the next one.
        acknowledges_deselection: it answers a SND_NKE to 253 that deselects it.
        no_class_1: it does not answer a REQ_UD1.
        keeps_position: a SND_NKE does not bring it back to its first telegram.
        compact: each telegram that it has told in full it tells in a compact frame from then on,
            up to an application reset.
        reset_first: it says nothing to REQ_UD2 before an application reset, with a subcode or
            without; when it has told all, it wants another one.
        obeys_in_silence: it does what a SND_UD says, and sends no E5.
        wake_up: it hears nothing before such a preamble at its baud rate, and sleeps again
            ``sleeps_after`` seconds after a frame to it, 10 where that is None.
        freezes: "freeze" to any VIF (``48 FE 0B``) copies its counters into storage 1.
    """

    ignores_fcb: bool = False
    endless: bool = False
    deaf_after_nke: float = 0.0
    answers_address_zero: bool = False
    sleeps_after: float | None = None
    acknowledges_deselection: bool = False
    no_class_1: bool = False
    keeps_position: bool = False
    compact: bool = False
    reset_first: bool = False
    obeys_in_silence: bool = False
    wake_up: WakeUp | None = None
    freezes: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes for the line, ``delay`` seconds after the end of the request."""

    data: bytes
    delay: float


Content = bytes | LongFrame
"""One telegram: records, which get a header and where due DIF 1F; or a frame as it is, which gets
the meter's primary address only."""


class Readout(Protocol):
    """What a meter knows, as a pure function of its own local time."""

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        """The telegrams of one answer, in their order."""


class SimulatedMeter:
    """One slave on the bus.

    Args:
        name: how faults, descriptions and tests call it; no colon in it.
        readout: what it has to tell.
        primary: its primary address, 0 to 250; 0 is a meter that nobody configured.
        secondary: its secondary address, without wildcards.
        model: its type, for a description.
        baudrate: 300 to 38400; it hears nothing at another one.
        answer_delay: seconds from the end of a request to its answer; None for one between the
            standard's limits, drawn from the seed.
        jitter: how much the delay varies, as a part of it.
        fabrication_number: 8 digits, for the enhanced selection; None for its identification.
        status: the status byte of its header.
        alarm: 8 flags for a REQ_UD1; None for no alarm.
        clock_offset: how far its clock is ahead.
        quirks: where it leaves the standard.
        selectable: by the subcode of an application reset what it tells after it instead of
            ``readout``, up to the next reset.
        seed: for the delay, its variation, and the first access number.

    Raises:
        SimError: an address or the baud rate cannot be.
    """

    def __init__(
        self,
        name: str,
        readout: Readout,
        *,
        primary: int = 0,
        secondary: SecondaryAddress | None = None,
        model: str = "",
        baudrate: int = 2400,
        answer_delay: float | None = None,
        jitter: float = 0.05,
        fabrication_number: str | None = None,
        status: int = 0,
        alarm: int | None = None,
        clock_offset: dt.timedelta = dt.timedelta(),
        quirks: Quirks | None = None,
        selectable: Mapping[int, Readout] | None = None,
        seed: int = 0,
    ) -> None:
        if not name or ":" in name:
            raise SimError(f"{name!r} cannot name a meter: it is empty or has a colon")
        if not 0 <= primary <= LAST_ADDRESS:
            raise SimError(f"{name}: {primary} is no primary address, 0 to {LAST_ADDRESS}")
        if baudrate not in BAUDRATES:
            raise SimError(f"{name}: {baudrate} is no baud rate of M-Bus: {BAUDRATES}")
        if secondary is not None and "F" in secondary.identification:
            raise SimError(f"{name}: {secondary} has a wildcard; a meter's own address has none")
        self.name = name
        self.readout = readout
        self.primary = primary
        self.secondary = secondary
        self.model = model
        self.baudrate = baudrate
        self.fabrication_number = fabrication_number
        self.status = status
        self.alarm = alarm
        self.clock_offset = clock_offset
        self.quirks = quirks if quirks is not None else Quirks()
        self.jitter = jitter
        self.notes: tuple[str, ...] = ()
        self.resets: list[int | None] = []  # subcodes of application resets, None without one
        self._random = random.Random(f"{seed}/{name}")
        shortest, longest = earliest_answer(baudrate), latest_answer(baudrate)
        self.answer_delay = (
            answer_delay
            if answer_delay is not None
            else self._random.uniform(shortest, 0.5 * longest)
        )
        self.access_number = self._random.randrange(256)
        self.selected = False
        self._selectable = dict(selectable or {})
        self._chosen: Readout | None = None  # by an application reset with a subcode
        self._is_reset = False  # and has not told all since
        self._frozen: dict[int, bytes] = {}  # records, by the position of their telegram
        self._position = 0
        self._content: Sequence[Content] = ()
        self._told: set[int] = set()  # positions of telegrams that it need not tell in full again
        # For each link (its own address, 253, 254): the last request with its FCB, and the answer.
        self._last: dict[int, tuple[ShortFrame | LongFrame, bytes]] = {}
        self._deaf_until = float("-inf")
        self._awake_since: float | None = None
        self._unconfirmed: tuple[float, int] | None = None

    def __repr__(self) -> str:
        return f"SimulatedMeter({self.name!r}, primary={self.primary}, secondary={self.secondary})"

    def listens_at(self, now: float) -> int:
        """The baud rate at which it hears at ``now``."""
        if self._unconfirmed is not None and now - self._unconfirmed[0] > REVERT_SECONDS:
            self.baudrate = self._unconfirmed[1]
            self._unconfirmed = None
        return self.baudrate

    def is_asked(self, frame: Frame) -> bool:
        """Whether a master that sends this frame may expect an answer of this meter."""
        if isinstance(frame, Ack):
            return False
        if frame.address != NETWORK_LAYER:
            return frame.address in (self.primary, TEST)
        if isinstance(frame, LongFrame) and frame.ci == CI_SELECT:
            return self._fits(frame.data)
        return self.selected and frame.control != SND_NKE

    def hear(self, frame: Frame, now: float, when: dt.datetime) -> Answer | None:
        """A frame came over the line, at this meter's baud rate.

        Args:
            frame: what it heard; to whom it goes is for the meter to see.
            now: seconds of the bus's clock, the end of the frame.
            when: the local time.

        Returns:
            Its answer, or None for silence.
        """
        if now < self._deaf_until or isinstance(frame, Ack):
            return None
        self._unconfirmed = None  # a valid frame came at the new baud rate: it stays
        if not self._is_for_me(frame.address):
            return None
        awake = self._awake_since
        sleeps_after = self.quirks.sleeps_after
        if sleeps_after is None and self.quirks.wake_up is not None:
            sleeps_after = STAYS_AWAKE_SECONDS
        asleep = sleeps_after is not None and (awake is None or now - awake > sleeps_after)
        if not asleep or self.quirks.wake_up is None:
            self._awake_since = now
        if asleep:
            return None
        own = when + self.clock_offset
        if isinstance(frame, ShortFrame):
            data = self._short(frame, now, own)
        else:
            data = self._long(frame, now, own)
        if not data or frame.address == BROADCAST:
            return None
        return Answer(data, self._delay())

    def hear_run(self, byte: int, seconds: float, now: float) -> None:
        """The master has sent this byte over and over for so long, at this meter's baud rate."""
        wanted = self.quirks.wake_up
        # A timer of a few per cent is all that such a meter has.
        if wanted is not None and byte == wanted.byte and seconds >= 0.95 * wanted.duration:
            self._awake_since = now

    def telegram(self, when: dt.datetime) -> bytes:
        """Its first telegram at that local time, as a frame; changes nothing in the meter."""
        contents = self.readout.telegrams(when + self.clock_offset)
        return self._respond(contents, 0, self.access_number)

    def frames(self, when: dt.datetime) -> tuple[bytes, ...]:
        """All telegrams of an answer at that local time, as frames; changes nothing."""
        contents = self.readout.telegrams(when + self.clock_offset)
        return tuple(
            self._respond(contents, position, self.access_number + position & 0xFF)
            for position in range(len(contents))
        )

    def _is_for_me(self, address: int) -> bool:
        # 253 is for all: who is not selected must still hear a selection that ends another's.
        return address in (self.primary, NETWORK_LAYER, TEST, BROADCAST)

    def _delay(self) -> float:
        varied = self.answer_delay * (1 + self.jitter * self._random.uniform(-1, 1))
        return max(varied, earliest_answer(self.baudrate))

    def _short(self, frame: ShortFrame, now: float, own: dt.datetime) -> bytes:
        if frame.address == NETWORK_LAYER and not self.selected:
            return b""
        if frame.control == SND_NKE:
            return self._normalise(frame.address, now)
        match frame.control & ~FCB:
            case request if request == REQ_UD2:
                if self.quirks.ignores_fcb:
                    self._position = 0
                    return self._next_telegram(own)
                return self._once(frame, lambda: self._next_telegram(own))
            case request if request == REQ_UD1 and not self.quirks.no_class_1:
                return self._once(frame, self._class_1)
        return b""

    def _normalise(self, address: int, now: float) -> bytes:
        if address == BROADCAST:
            self._last.clear()
        self._last.pop(address, None)
        if not self.quirks.keeps_position:
            self._position = 0
        if self.quirks.deaf_after_nke:
            self._deaf_until = now + self.quirks.deaf_after_nke
        if address == NETWORK_LAYER:
            self.selected = False
            return ACK if self.quirks.acknowledges_deselection else b""
        return ACK

    def _once(self, frame: ShortFrame | LongFrame, work: Callable[[], bytes]) -> bytes:
        """Do what a request asks, or say again what was said where its FCB did not change.

        A request that differs in more than its FCB is always a new one: masters that never
        toggle are common, and no meter takes a REQ_UD2 for a repeated SND_UD.
        """
        last = self._last.get(frame.address)
        if last is not None and last[0] == frame:
            return last[1]
        answer = work()
        # Of all that came over this link only the last one can be a repetition.
        self._last[frame.address] = (frame, answer)
        return answer

    def _class_1(self) -> bytes:
        if self.alarm is None:
            return ACK
        return encode_frame(
            LongFrame(RSP_UD, self._address_field(), CI_ALARM_NONE, bytes((self.alarm,)))
        )

    def _next_telegram(self, own: dt.datetime) -> bytes:
        if self._position == 0 or self._position >= len(self._content):
            if self.quirks.reset_first and not self._is_reset:
                return b""
            self._is_reset = False
            # One answer is one moment, however many telegrams it takes to tell.
            self._position = 0
            self._content = self._now_telling.telegrams(own)
        self.access_number = self.access_number + 1 & 0xFF
        answer = self._respond(self._content, self._position, self.access_number)
        if self.quirks.compact:
            self._told.add(self._position)
        self._position = (self._position + 1) % max(1, len(self._content))
        return answer

    @property
    def _now_telling(self) -> Readout:
        return self.readout if self._chosen is None else self._chosen

    def _address_field(self) -> int:
        return 0 if self.quirks.answers_address_zero else self.primary

    def _respond(self, contents: Sequence[Content], position: int, access_number: int) -> bytes:
        """The telegram at ``position`` as a frame; E5 where there is nothing to tell."""
        if position >= len(contents):
            return ACK
        content = contents[position]
        if isinstance(content, LongFrame):
            return encode_frame(content._replace(address=self._address_field()))
        if self.secondary is None:
            raise SimError(f"{self.name} has no secondary address to put into a header")
        # In front: a maker's own data at the end have no length.
        content = self._frozen.get(position, b"") + content
        more = position + 1 < len(contents) or self.quirks.endless
        ci, payload = CI_RESPONSE_LONG, content + bytes((MORE_RECORDS_FOLLOW,)) * more
        if position in self._told:
            ci, payload = CI_COMPACT_LONG, encode_compact(decode_records(payload))
        return encode_frame(
            LongFrame(
                RSP_UD | (ACD if self.alarm is not None else 0),
                self._address_field(),
                ci,
                encode_secondary(self.secondary)
                + bytes((access_number, self.status, 0, 0))
                + payload,
            )
        )

    def _long(self, frame: LongFrame, now: float, own: dt.datetime) -> bytes:
        # C 53 and 73 by the standard; 43 and 63 (FCV 0) from some masters.
        if frame.control & ~FCB not in (SND_UD, SND_UD & ~FCV):
            return b""
        if frame.ci == CI_SELECT:
            return self._select(frame.data) if frame.address == NETWORK_LAYER else b""
        if frame.address == NETWORK_LAYER and not self.selected:
            return b""
        if frame.control & FCV:
            return self._once(frame, lambda: self._execute(frame, now, own))
        return self._execute(frame, now, own)

    def _select(self, data: bytes) -> bytes:
        self.selected = self._fits(data)
        if not self.selected:
            return b""
        self._last.pop(NETWORK_LAYER, None)
        self._position = 0
        return ACK

    def _fits(self, data: bytes) -> bool:
        if len(data) < 8 or self.secondary is None:
            return False
        mask, own = decode_secondary(data[:8]), self.secondary
        # The fixed structure names neither manufacturer nor version: what it lacks fits any mask.
        known = SecondaryAddress(
            own.identification,
            own.manufacturer if own.manufacturer is not None else mask.manufacturer,
            own.version if own.version is not None else mask.version,
            own.device_type if own.device_type is not None else mask.device_type,
        )
        if not mask.matches(known):
            return False
        rest = data[8:]
        if rest[:2] != b"\x0c\x78" or len(rest) != 6:
            return not rest
        number = self.fabrication_number or own.identification
        digits = rest[:1:-1].hex().upper()
        return all(mask in ("F", digit) for mask, digit in zip(digits, number, strict=True))

    def _execute(self, frame: LongFrame, now: float, own: dt.datetime) -> bytes:
        """SND_UD that this meter obeys. What it does not know it acknowledges and leaves be."""
        if frame.ci == CI_APPLICATION_RESET:
            self._position = 0
            self._told.clear()
            self._is_reset = True
            subcode = frame.data[0] if frame.data else None
            self.resets.append(subcode)
            self._chosen = None if subcode is None else self._selectable.get(subcode)
        elif frame.ci in _BAUDRATE_OF_CI:
            # The acknowledgement still goes at the old rate: the bus sends it at the request's.
            self._unconfirmed = (now, self.baudrate)
            self.baudrate = _BAUDRATE_OF_CI[frame.ci]
        elif frame.ci == CI_DATA_SEND:
            self._write(frame.data, own)
        return b"" if self.quirks.obeys_in_silence else ACK

    def _write(self, data: bytes, own: dt.datetime) -> None:
        """The one record of a write that it knows: its addresses, its clock, or "freeze"."""
        record, value = data[:2], data[2:]
        match record, len(value):
            case b"\x01\x7a", 1 if value[0] <= LAST_ADDRESS:
                self.primary = value[0]
            case b"\x0c\x79", 4 if self.secondary is not None:
                self._rename(value + encode_secondary(self.secondary)[4:])
            case b"\x07\x79", 8:
                self._rename(value)
            case b"\x04\x6d", 4:
                self._set_clock(decode_date_f(value)[0], own)
            case b"\x06\x6d", 6:
                self._set_clock(decode_date_i(value)[0], own)
            case b"\x48\xfe", 1 if value == b"\x0b" and self.quirks.freezes:
                self._freeze(own)

    def _freeze(self, own: dt.datetime) -> None:
        self._frozen.clear()
        for position, content in enumerate(self._now_telling.telegrams(own)):
            if isinstance(content, bytes):
                self._frozen[position] = b"".join(
                    bytes((record.dib[0] | _STORAGE_1, *record.dib[1:])) + record.vib + record.data
                    for record in decode_records(content).records
                    if record.quantity in _COUNTED
                    and record.storage == 0
                    and record.function is Function.INSTANTANEOUS
                )

    def _rename(self, address: bytes) -> None:
        wanted = decode_secondary(address)
        if "F" not in wanted.identification:
            self.secondary = wanted

    def _set_clock(self, wanted: object, own: dt.datetime) -> None:
        if isinstance(wanted, dt.datetime):
            self.clock_offset += wanted - own
