"""What the answers tell of a line: how long its way is, and whether it damages frames. Pure."""

from __future__ import annotations

from collections import deque

from bridge.mbus.link import Damage, Effort

# Damage inside a frame. One broken frame in 256 passes the checksum, so where some were caught,
# others may not have been. What stands before or behind a sound frame says nothing of that:
# converters that add a character to each answer are common.
_INSIDE = frozenset({Damage.LENGTH, Damage.CHECKSUM, Damage.STOP, Damage.TRUNCATED, Damage.PARITY})

# A line that has shown damage is suspect for so many sound answers. If one frame in 100 000 is
# damaged, it is suspect a fifth of the time; at more than one in 20 000, nearly always.
SUSPECT_FOR = 20_000

# The way's share of an answer's delay is taken from the fastest of so many answers.
_ANSWERS = 64
_ENOUGH = 16
_TWICE = 2.0
_LEAST_LATENCY = 0.05  # seconds; a gateway may collect characters for some 10 ms


class Trust:
    """Whether the line has shown damage inside frames lately."""

    def __init__(self) -> None:
        self._suspect_for = 0

    def note(self, effort: Effort) -> None:
        """Take what a conversation has met."""
        if _INSIDE & effort.damage.keys():
            self._suspect_for = SUSPECT_FOR
        elif self._suspect_for and effort.answer_delay is not None:
            self._suspect_for -= 1

    @property
    def shows_damage(self) -> bool:
        return self._suspect_for > 0


class LatencyEstimate:
    """How many seconds the way to the bus and back adds, by what the answers show.

    An answer's delay is the meter's own, of which nothing is known but the standard's limits, and
    the way's. The fastest meter's delay is more than the way's, and twice that is on the safe side:
    what is late all the same is asked for again, heard, and stretches the window (`Link.stretch`).

    Args:
        usual: seconds to expect before enough is known; what is learnt is never more.
    """

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._delays: deque[float] = deque(maxlen=_ANSWERS)

    def note(self, effort: Effort) -> None:
        """Take what a conversation has met."""
        if effort.answer_delay is not None:
            self._delays.append(effort.answer_delay)

    @property
    def latency(self) -> float:
        if len(self._delays) < _ENOUGH:
            return self._usual
        return min(self._usual, max(_LEAST_LATENCY, _TWICE * min(self._delays)))
