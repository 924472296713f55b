"""The two wires: who sends when, and what a converter at the other end hears.

A character is 11 bits long (EN 13757-2, 5.2: start, eight data bits from the lowest, even parity,
stop). A slave pulls the line to 0 by its current, so several at once overlay as a logical AND of
their bits; the converter's receiver then makes characters of what is left, with its usual
sampling in the middle of each bit. Slaves that begin together are a plain AND of their
characters; slaves that do not are what a real collision is: garbage, or two answers in a row.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass

CHARACTER_BITS = 11
_PARITY_BIT = 9  # of them, from 0

BAUDRATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400)

# Bits are compared in time; this many seconds are no difference. A bit at 38400 baud has 2.6e-5.
_EPSILON = 1e-8


def wire_time(count: int, baudrate: int) -> float:
    """Seconds that ``count`` characters take on the wire."""
    return count * CHARACTER_BITS / baudrate


def earliest_answer(baudrate: int) -> float:
    """Seconds from the end of a request to the first bit of an answer, at least.

    EN 13757-2, 5.4: 11 bit times.
    """
    return 11 / baudrate


def latest_answer(baudrate: int) -> float:
    """Seconds from the end of a request to the first bit of an answer, at most.

    EN 13757-2, 5.4: 330 bit times and 50 ms.
    """
    return 330 / baudrate + 0.05


@dataclass(frozen=True, slots=True, order=True)
class Transmission:
    """Characters that one sender puts on the line without a gap, from ``start`` on.

    ``wrong`` are the places of those that go out with a wrong parity bit, in their order.
    """

    start: float
    baudrate: int
    data: bytes
    wrong: tuple[int, ...] = ()

    @property
    def character(self) -> float:
        """Seconds that one character takes."""
        return CHARACTER_BITS / self.baudrate

    @property
    def end(self) -> float:
        """When the last stop bit is over."""
        return self.start + wire_time(len(self.data), self.baudrate)

    def overlaps(self, start: float, end: float) -> bool:
        """Whether something of it is on the line between ``start`` and ``end``."""
        return self.start < end and start < self.end

    def is_low(self, at: float) -> bool:
        """Whether this sender pulls the line to 0 at that time."""
        position = (at - self.start) * self.baudrate
        if position < 0:
            return False
        index, bit = divmod(int(position), CHARACTER_BITS)
        return index < len(self.data) and not self._level(index, bit)

    def _level(self, index: int, bit: int) -> int:
        level = _level(self.data[index], bit)
        return level ^ 1 if bit == _PARITY_BIT and index in self.wrong else level

    def next_low(self, at: float) -> float | None:
        """The first time from ``at`` on when this sender pulls the line to 0; None for never."""
        if at <= self.start:
            return self.start if self.data else None
        position = int((at - self.start + _EPSILON) * self.baudrate)
        for bit in range(position, len(self.data) * CHARACTER_BITS):
            index, offset = divmod(bit, CHARACTER_BITS)
            if not self._level(index, offset):
                return max(at, self.start + bit / self.baudrate)
        return None


def _level(byte: int, bit: int) -> int:
    if bit == 0:
        return 0
    if bit <= 8:
        return byte >> (bit - 1) & 1
    return byte.bit_count() & 1 if bit == _PARITY_BIT else 1


class Line:
    """All that the slaves send, and what the converter's receiver makes of it.

    Times are seconds of one monotonic clock. What was taken is gone; nothing may be added before
    a time up to which was taken.
    """

    def __init__(self) -> None:
        self._sent: list[Transmission] = []  # in the order of their start
        self._heard_until = -math.inf  # the receiver has made characters up to here
        self._deaf: list[tuple[float, float]] = []

    def add(self, transmission: Transmission) -> None:
        """Somebody will send."""
        if transmission.data:
            insort(self._sent, transmission)

    def mute(self, start: float, end: float) -> None:
        """The converter itself sends then and hears nothing of what was added: half duplex."""
        if any(each.overlaps(start, end) for each in self._sent):
            self._deaf.append((start, end))

    @property
    def is_idle(self) -> bool:
        """Whether nothing more will be heard."""
        return not self._sent

    def take(self, now: float) -> bytes:
        """The characters that are complete at ``now``, as the receiver understands them."""
        return self.take_received(now)[0]

    def take_received(self, now: float) -> tuple[bytes, tuple[int, ...]]:
        """The same, and the places of those with a wrong parity or stop bit."""
        heard = bytearray()
        broken: list[int] = []
        while self._sent:
            first = self._sent[0]
            if self._is_alone(first):
                start = max(first.start, self._heard_until)
                begun = round((start - first.start) / first.character)
                done = int((now - first.start) / first.character + _EPSILON * first.baudrate)
                if done <= begun:
                    break
                broken += [
                    len(heard) + place - begun for place in first.wrong if begun <= place < done
                ]
                heard += first.data[begun:done]
                self._heard_until = first.start + min(done, len(first.data)) * first.character
            else:
                character = self._next_character()
                if character is None:
                    self._sent = [each for each in self._sent if each.end > now + _EPSILON]
                    break
                byte, begin, end, sound = character
                if end > now + _EPSILON:
                    break
                # Half a stop bit is enough for a receiver; then it waits for the next start bit.
                self._heard_until = end - 0.5 / first.baudrate
                if not self._is_deaf(begin, end):
                    if not sound:
                        broken.append(len(heard))
                    heard.append(byte)
            self._forget()
        return bytes(heard), tuple(broken)

    def due(self, after: float, pace: float) -> tuple[float, bool] | None:
        """When to take again, if something was taken at ``after``.

        Args:
            after: seconds; what is complete until then was taken.
            pace: seconds between two takes while characters keep coming.

        Returns:
            The time, and whether it is the end of what is being sent, which must not be late; or
            None while nobody sends.
        """
        if not self._sent:
            return None
        first = self._sent[0]
        if self._is_alone(first):
            step = max(after, first.start) + max(pace, first.character)
            return (step, False) if step < first.end else (first.end, True)
        character = self._next_character()
        if character is None:
            return max(each.end for each in self._sent), False
        return character[2], True

    def _is_alone(self, first: Transmission) -> bool:
        if len(self._sent) > 1 and self._sent[1].start < first.end - _EPSILON:
            return False
        # After a collision the receiver may be in the middle of a character.
        shift = (max(first.start, self._heard_until) - first.start) / first.character
        if abs(shift - round(shift)) > 1e-6:
            return False
        return not self._is_deaf(max(first.start, self._heard_until), first.end)

    def _is_deaf(self, begin: float, end: float) -> bool:
        return any(start < end - _EPSILON and begin < stop - _EPSILON for start, stop in self._deaf)

    def _next_character(self) -> tuple[int, float, float, bool] | None:
        """The next character: its value, its begin, its end, and whether parity and stop bit fit.

        None when the line stays high.
        """
        at = self._heard_until
        while True:
            lows = [
                (low, each.baudrate)
                for each in self._sent
                if (low := each.next_low(at)) is not None
            ]
            if not lows:
                return None
            start, baudrate = min(lows)
            bit = 1 / baudrate
            if self._is_low(start + 0.5 * bit):
                break
            at = start + 0.5 * bit  # a glitch and no start bit
        byte = 0
        for index in range(8):
            if not self._is_low(start + (index + 1.5) * bit):
                byte |= 1 << index
        parity = not self._is_low(start + (_PARITY_BIT + 0.5) * bit)
        stop = not self._is_low(start + (CHARACTER_BITS - 0.5) * bit)
        sound = parity == bool(byte.bit_count() & 1) and stop
        return byte, start, start + CHARACTER_BITS * bit, sound

    def _is_low(self, at: float) -> bool:
        return any(each.is_low(at) for each in self._sent)

    def _forget(self) -> None:
        until = self._heard_until
        self._sent = [each for each in self._sent if each.end > until + _EPSILON]
        self._deaf = [span for span in self._deaf if self._sent and span[1] > until]
