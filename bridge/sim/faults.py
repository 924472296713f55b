"""What goes wrong on a bus, on request: for one meter or all, always, sometimes, or the next time.

As a text, for the command line: ``KIND[=VALUE][:METER][:HOW]``. METER is a name, a primary address
or an identification number; without one, all meters. HOW is a probability (``0.05`` or ``5%``) or a
count (``next-3``); without one, always.

    silence:heat-1          heat-1 never answers
    noise:0.05              noise in one answer of twenty, whoever answers
    checksum:3:0.1          one answer of ten of the meter at primary address 3
    late=2.5:next-1         the next answer comes 2.5 s after its time
"""

from __future__ import annotations

import difflib
import random
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from bridge.mbus.frame import LONG_START, STOP
from bridge.sim.errors import SimError


class FaultKind(StrEnum):
    """The ways to misbehave; the values are the words of the command line."""

    SILENCE = "silence"
    DEAF = "deaf"
    NOISE = "noise"
    NOISE_BEFORE = "noise-before"
    NOISE_INSIDE = "noise-inside"
    NOISE_AFTER = "noise-after"
    TRUNCATION = "truncation"
    CHECKSUM = "checksum"
    BIT_FLIP = "bit-flip"
    HIDDEN_FLIP = "hidden-flip"
    PARITY = "parity"
    DUPLICATE = "duplicate"
    WRONG_METER = "wrong-meter"
    LATE = "late"
    BREAK = "break"
    DROP = "drop"
    ECHO = "echo"
    CHATTER = "chatter"


class _Meaning(NamedTuple):
    text: str
    value: str | None = None  # what VALUE says; None: the kind takes none
    whole_bus: bool = False  # it is the converter's, no meter's


MEANING: dict[FaultKind, _Meaning] = {
    FaultKind.SILENCE: _Meaning("the answer is lost; the meter believes that it was sent"),
    FaultKind.DEAF: _Meaning("the meter does not hear the request"),
    FaultKind.NOISE: _Meaning("random bytes before, inside or after the answer", "bytes"),
    FaultKind.NOISE_BEFORE: _Meaning("random bytes before the answer", "bytes"),
    FaultKind.NOISE_INSIDE: _Meaning("random bytes inside the answer", "bytes"),
    FaultKind.NOISE_AFTER: _Meaning("random bytes after the answer", "bytes"),
    FaultKind.TRUNCATION: _Meaning("the answer ends too early", "bytes that come through"),
    FaultKind.CHECKSUM: _Meaning("the checksum is wrong"),
    FaultKind.BIT_FLIP: _Meaning("one bit of the answer is wrong"),
    FaultKind.HIDDEN_FLIP: _Meaning("two bits of the answer are wrong, and its checksum fits"),
    FaultKind.PARITY: _Meaning("the parity bit of one character is wrong"),
    FaultKind.DUPLICATE: _Meaning("bytes of the answer come twice", "bytes"),
    FaultKind.WRONG_METER: _Meaning("another meter's telegram comes instead"),
    FaultKind.LATE: _Meaning("the answer comes too late", "seconds after its time"),
    FaultKind.BREAK: _Meaning("a run of zero bytes comes instead of the answer", "bytes"),
    FaultKind.DROP: _Meaning("the connection ends in the middle of the answer"),
    FaultKind.ECHO: _Meaning("the converter sends the master's bytes back", None, True),
    FaultKind.CHATTER: _Meaning("the converter answers every request", "byte it sends", True),
}

# A late answer misses a master that adds a whole second to the standard's time.
LATE_SECONDS = 1.5

_USER_DATA = 7  # where it begins in a long frame

# A character on the wire: its eight bits, and this bit where its parity does not fit them.
_WRONG_PARITY = 0x100


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave.

    Args:
        kind: what happens.
        meter: the meter's name; None for every meter.
        probability: above 0, up to 1: how often.
        count: how many times from now on; None for ever.
        value: the kind's number, see `MEANING`; None for a random or usual one.

    Raises:
        SimError: a number is out of range, or the kind does not take it.
    """

    kind: FaultKind
    meter: str | None = None
    probability: float = 1.0
    count: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        meaning = MEANING[self.kind]
        if not 0 < self.probability <= 1:
            raise SimError(f"{self.kind}: a probability is above 0 and up to 1")
        if self.count is not None and self.count < 1:
            raise SimError(f"{self.kind}: next-{self.count} would never happen")
        if meaning.whole_bus and self.meter is not None:
            raise SimError(f"{self.kind} is the converter's fault, not that of {self.meter}")
        if self.value is not None:
            if meaning.value is None:
                raise SimError(f"{self.kind} takes no value")
            if self.value < 0:
                raise SimError(f"{self.kind}={self.value:g}: {meaning.value} cannot be negative")
            if self.kind is FaultKind.CHATTER and self.value > 255:
                raise SimError(f"{self.kind}={self.value:g}: a byte goes up to 255")

    def __str__(self) -> str:
        parts = [self.kind if self.value is None else f"{self.kind}={self.value:g}"]
        if self.meter is not None:
            parts.append(self.meter)
        if self.count is not None:
            parts.append(f"next-{self.count}")
        elif self.probability != 1:
            # Always with a point, so that it cannot be read as an address.
            parts.append(f"{self.probability:.6f}".rstrip("0"))
        return ":".join(parts)


_COUNT = re.compile(r"next-(\d+)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_PROBABILITY = re.compile(r"[01]?\.\d+|1\.")
_FORM = "KIND[=VALUE][:METER][:HOW], as silence:heat-1, noise:0.05, checksum:3:10%, late=2:next-1"


def parse_fault(text: str) -> Fault:
    """The text form to a fault; the meter in it is not looked up.

    Raises:
        SimError: it has another form; the message says what would be right.
    """
    head, *rest = (part.strip() for part in text.strip().split(":"))
    word, has_value, number = head.partition("=")
    kind = _parse_kind(word.strip())
    value: float | None = None
    if has_value:
        try:
            value = float(number)
        except ValueError:
            raise SimError(f"{text!r}: {number!r} is no number; a fault reads {_FORM}") from None
    fault = Fault(kind, value=value)
    if rest and (how := _parse_how(rest[-1])) is not None:
        fault = replace(fault, probability=how[0], count=how[1])
        rest.pop()
    if len(rest) > 1 or "" in rest:
        raise SimError(f"{text!r} is no fault: it reads {_FORM}")
    return replace(fault, meter=rest[0]) if rest else fault


def _parse_kind(word: str) -> FaultKind:
    try:
        return FaultKind(word)
    except ValueError:
        near = difflib.get_close_matches(word, list(FaultKind), n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SimError(
            f"{word!r} is no kind of fault; {hint}there are {', '.join(FaultKind)}"
        ) from None


def _parse_how(text: str) -> tuple[float, int | None] | None:
    """Probability and count; None where this must be a meter."""
    if found := _COUNT.fullmatch(text):
        return 1.0, int(found[1])
    if found := _PERCENT.fullmatch(text):
        return float(found[1]) / 100, None
    if _PROBABILITY.fullmatch(text):
        return float(text), None
    return None


class Faults:
    """The faults that are switched on, and the dice.

    Args:
        seed: the same seed, faults and questions give the same outcome.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(f"faults/{seed}")
        self._parity = random.Random(f"parity/{seed}")
        self._left: dict[Fault, int | None] = {}

    @property
    def active(self) -> tuple[Fault, ...]:
        """What is switched on and not used up."""
        return tuple(self._left)

    def add(self, fault: Fault) -> None:
        """Switch on; one that is on already begins to count anew."""
        self._left[fault] = fault.count

    def remove(self, fault: Fault) -> None:
        """Switch off; nothing happens where it is not on."""
        self._left.pop(fault, None)

    def clear(self) -> None:
        """Switch all off."""
        self._left.clear()

    def strike(self, meter: str | None) -> dict[FaultKind, Fault]:
        """Throw the dice for one answer of a meter, or (None) for one request at the converter."""
        hit: dict[FaultKind, Fault] = {}
        for fault in tuple(self._left):
            if MEANING[fault.kind].whole_bus is not (meter is None):
                continue
            if fault.meter not in (None, meter):
                continue
            if fault.probability < 1 and self.random.random() >= fault.probability:
                continue
            hit[fault.kind] = fault
            left = self._left[fault]
            if left == 1:
                del self._left[fault]
            elif left is not None:
                self._left[fault] = left - 1
        return hit

    def damage(self, answer: bytes, faults: dict[FaultKind, Fault]) -> bytes:
        """What arrives of an answer that these faults struck; those of time and silence apart."""
        return self.damage_characters(answer, faults)[0]

    def damage_characters(
        self, answer: bytes, faults: dict[FaultKind, Fault]
    ) -> tuple[bytes, tuple[int, ...]]:
        """The same, and the places of the characters whose parity is wrong.

        A bit that is hit on the wire makes the parity of its character wrong, a second one in it
        makes it right again. Half of all noise has a wrong parity; a break has no stop bits.
        """
        characters = list(answer)
        for kind, fault in faults.items():
            characters = self._damage(characters, kind, fault.value)
        return (
            bytes(character & 0xFF for character in characters),
            tuple(place for place, character in enumerate(characters) if character & _WRONG_PARITY),
        )

    def _damage(self, answer: list[int], kind: FaultKind, value: float | None) -> list[int]:
        if not answer:
            return answer
        dice = self.random
        if kind is FaultKind.NOISE:
            kind = dice.choice(
                (FaultKind.NOISE_BEFORE, FaultKind.NOISE_INSIDE, FaultKind.NOISE_AFTER)
            )
        few = int(value) if value is not None else dice.randint(1, 5)
        match kind:
            case FaultKind.NOISE_BEFORE:
                return self._noise(few) + answer
            case FaultKind.NOISE_AFTER:
                return answer + self._noise(few)
            case FaultKind.NOISE_INSIDE:
                cut = dice.randint(1, max(1, len(answer) - 1))
                return answer[:cut] + self._noise(few) + answer[cut:]
            case FaultKind.TRUNCATION:
                return answer[: few if value is not None else dice.randrange(len(answer))]
            case FaultKind.CHECKSUM:
                return _wrong_checksum(answer)
            case FaultKind.BIT_FLIP:
                return _flip(answer, dice.randrange(len(answer)), dice.randrange(8))
            case FaultKind.HIDDEN_FLIP:
                return _flip_hidden(answer, dice)
            case FaultKind.PARITY:
                return _change(answer, dice.randrange(len(answer)), _WRONG_PARITY)
            case FaultKind.DUPLICATE:
                cut = dice.randrange(len(answer))
                return answer[: cut + few] + answer[cut:]
            case FaultKind.BREAK:
                return [_WRONG_PARITY] * (int(value) if value is not None else 20)
            case _:
                return answer

    def _noise(self, count: int) -> list[int]:
        return [
            byte | self._parity.choice((0, _WRONG_PARITY)) for byte in self.random.randbytes(count)
        ]


def _change(characters: list[int], index: int, bits: int) -> list[int]:
    return [*characters[:index], characters[index] ^ bits, *characters[index + 1 :]]


def _flip(characters: list[int], index: int, bit: int) -> list[int]:
    """Flip a bit on the wire, where the parity bit stays as it was."""
    return _change(characters, index, 1 << bit | _WRONG_PARITY)


def _wrong_checksum(answer: list[int]) -> list[int]:
    # A single character has no checksum; a wrong bit in it is what comes nearest.
    if len(answer) < 2:
        return _flip(answer, 0, 0)
    # It is the meter that counts wrong: what it sends has its parity.
    return [*answer[:-2], answer[-2] & _WRONG_PARITY | answer[-2] + 1 & 0xFF, answer[-1]]


def _flip_hidden(answer: list[int], dice: random.Random) -> list[int]:
    """Flip one bit up and the same bit of another byte down: their sum stays as it was.

    Only user data (from behind the CI field on) are touched, so that the frame stays a frame. What
    has none, or bytes that are all the same, stay as they are.
    """
    if answer[:1] != [LONG_START] or answer[-1:] != [STOP]:
        return answer
    places = range(_USER_DATA, len(answer) - 2)
    for bit in dice.sample(range(8), 8):
        ones = [place for place in places if answer[place] >> bit & 1]
        zeros = [place for place in places if not answer[place] >> bit & 1]
        if ones and zeros:
            return _flip(_flip(answer, dice.choice(ones), bit), dice.choice(zeros), bit)
    return answer
