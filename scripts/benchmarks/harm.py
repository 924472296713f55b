"""What a bad line does to the characters of an answer, by dice.

A character has eight data bits and even parity. A receiver that guards the parity marks each
character in which an odd number of bits is wrong; one that does not takes all as they come.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from bridge.mbus.errors import FrameError
from bridge.mbus.frame import LongFrame, encode_frame, take_frame


class Harm(StrEnum):
    """The kinds of damage."""

    FLIP = "one bit"
    PAIR = "two bits"
    TWINS = "two bits of one column"  # one up and one down: the checksum does not see it
    BURST = "a burst"
    CUT = "cut"
    HEADLESS = "begin lost"
    MERGED = "merged with another answer"
    FOREIGN = "another meter's answer"
    LATE = "late"
    TWICE = "bytes twice"
    NOISE = "noise"


# How often each is, of all damage. Twins pass every checksum, so they are made frequent.
WEIGHTS = {
    Harm.FLIP: 15,
    Harm.PAIR: 15,
    Harm.TWINS: 10,
    Harm.BURST: 15,
    Harm.CUT: 10,
    Harm.HEADLESS: 5,
    Harm.MERGED: 8,
    Harm.FOREIGN: 6,
    Harm.LATE: 6,
    Harm.TWICE: 4,
    Harm.NOISE: 6,
}

LONGEST_BURST = 8  # characters
_RECENT = 3
LATEST = 4.0  # seconds that an answer comes late, at most


class Struck(NamedTuple):
    """What comes of an answer: bytes, the positions of wrong parity, and how late it comes."""

    data: bytes
    broken: tuple[int, ...] = ()
    delay: float = 0.0


class Dice:
    """The dice.

    Args:
        share: of the answers that are damaged, 0 to 1.
        seed: the same seed and answers give the same damage.

    Attributes:
        struck: damaged answers by kind.
        passed: of them, those that hold a frame with a right checksum that no meter sent, by kind.
        unmarked: of these, those in which no character has a wrong parity.
    """

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self.answers = 0
        self.struck: Counter[Harm] = Counter()
        self.passed: Counter[Harm] = Counter()
        self.unmarked: Counter[Harm] = Counter()
        self._random = random.Random(f"harm/{seed}")
        self._kinds = list(WEIGHTS)
        self._weights = list(WEIGHTS.values())
        self._others: dict[int, bytes] = {}  # the last answer of each address, as it was sent
        self._recent: deque[tuple[Harm, bytes, Struck]] = deque(maxlen=_RECENT)

    def strike(self, answer: bytes) -> Struck:
        """What arrives of one answer."""
        dice = self._random
        self.answers += len(answer) > 1
        if len(answer) > 5:
            self._others[answer[5]] = answer
        if dice.random() >= self.share:
            return Struck(answer)
        kind = dice.choices(self._kinds, self._weights)[0]
        struck = _HARMS[kind](self, answer)
        self.struck[kind] += 1
        self._recent.append((kind, answer, struck))
        if _false_frame(struck.data, answer, self._others):
            self.passed[kind] += 1
            self.unmarked[kind] += not struck.broken
        return struck

    def recently(self) -> str:
        """The last damage that was done, for a report."""
        return " | ".join(
            f"{kind}: {answer.hex()} -> {struck.data.hex()}, wrong parity at {struck.broken}"
            for kind, answer, struck in self._recent
        )

    def _flipped(self, answer: bytes, places: list[tuple[int, int]]) -> Struck:
        """Bits 0 to 7 are data, 8 is the parity."""
        data = bytearray(answer)
        wrong: Counter[int] = Counter()
        for place, bit in places:
            wrong[place] += 1
            if bit < 8:
                data[place] ^= 1 << bit
        return Struck(bytes(data), tuple(sorted(n for n, count in wrong.items() if count % 2)))

    def _flip(self, answer: bytes) -> Struck:
        dice = self._random
        return self._flipped(answer, [(dice.randrange(len(answer)), dice.randrange(9))])

    def _pair(self, answer: bytes) -> Struck:
        bits = self._random.sample(range(9 * len(answer)), 2)
        return self._flipped(answer, [divmod(bit, 9) for bit in bits])

    def _twins(self, answer: bytes) -> Struck:
        dice = self._random
        # From the C field up to the last data: what the checksum counts.
        inside = range(4, len(answer) - 2)
        for bit in dice.sample(range(8), 8):
            ones = [place for place in inside if answer[place] >> bit & 1]
            zeros = [place for place in inside if not answer[place] >> bit & 1]
            if ones and zeros:
                return self._flipped(answer, [(dice.choice(ones), bit), (dice.choice(zeros), bit)])
        return self._pair(answer)

    def _burst(self, answer: bytes) -> Struck:
        dice = self._random
        first = dice.randrange(len(answer))
        last = min(len(answer), first + dice.randint(2, LONGEST_BURST))
        places = [(n, b) for n in range(first, last) for b in range(9) if dice.random() < 0.5]
        return self._flipped(answer, places)

    def _cut(self, answer: bytes) -> Struck:
        return Struck(answer[: self._random.randrange(len(answer))])

    def _headless(self, answer: bytes) -> Struck:
        return Struck(answer[self._random.randint(1, len(answer)) :])

    def _merged(self, answer: bytes) -> Struck:
        """The begin of one answer, and some or all of another one."""
        dice, other = self._random, self._other(answer)
        begin = answer[: dice.randint(1, len(answer))]
        if dice.random() < 0.5:
            return Struck(begin + other)
        return Struck(begin + other[dice.randrange(len(other)) :])

    def _foreign(self, answer: bytes) -> Struck:
        return Struck(self._other(answer))

    def _late(self, answer: bytes) -> Struck:
        return Struck(answer, delay=self._random.uniform(0.05, LATEST))

    def _twice(self, answer: bytes) -> Struck:
        dice = self._random
        cut = dice.randrange(len(answer))
        return Struck(answer[: cut + dice.randint(1, 5)] + answer[cut:])

    def _noise(self, answer: bytes) -> Struck:
        dice = self._random
        place = dice.choice((0, len(answer), dice.randint(0, len(answer))))
        noise = dice.randbytes(dice.randint(1, 5))
        broken = tuple(place + n for n in range(len(noise)) if dice.random() < 0.5)
        return Struck(answer[:place] + noise + answer[place:], broken)

    def _other(self, answer: bytes) -> bytes:
        others = [each for each in self._others.values() if each[5:6] != answer[5:6]]
        return self._random.choice(others) if others else answer


_HARMS: dict[Harm, Callable[[Dice, bytes], Struck]] = {
    Harm.FLIP: Dice._flip,
    Harm.PAIR: Dice._pair,
    Harm.TWINS: Dice._twins,
    Harm.BURST: Dice._burst,
    Harm.CUT: Dice._cut,
    Harm.HEADLESS: Dice._headless,
    Harm.MERGED: Dice._merged,
    Harm.FOREIGN: Dice._foreign,
    Harm.LATE: Dice._late,
    Harm.TWICE: Dice._twice,
    Harm.NOISE: Dice._noise,
}


def _false_frame(data: bytes, answer: bytes, others: dict[int, bytes]) -> bool:
    """Whether a receiver finds a whole frame in it that nobody sent."""
    if data == answer:
        return False
    left = bytearray(data)
    while left:
        try:
            frame = take_frame(left)
        except FrameError:
            continue
        if frame is None:
            # What looks like a start may be none; a true one may stand behind it.
            del left[0]
        elif isinstance(frame, LongFrame) and encode_frame(frame) not in others.values():
            return True
    return False
