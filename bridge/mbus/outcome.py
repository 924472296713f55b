"""What an exchange came to, what was wrong with what the line brought, and what it all cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.mbus.frame import LongFrame


class Damage(StrEnum):
    """What can be wrong with what the line brings."""

    NOISE = "noise"  # bytes that begin no frame
    LENGTH = "length"  # the head of a long frame contradicts itself
    CHECKSUM = "checksum"
    STOP = "stop"  # no stop character where the frame ends
    PARITY = "parity"  # a character of the frame came with a wrong parity or stop bit
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


@dataclass(frozen=True, slots=True)
class Passed:
    """Bytes went out as they are, and the time for an answer is over; what came was dropped."""

    address: int
    effort: Effort = field(default_factory=Effort, compare=False)


Outcome = Acknowledged | Answered | Silent | Damaged | Passed
