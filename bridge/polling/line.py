"""What the answers tell of a line: how long its way is, and whether it damages frames. Pure."""

from __future__ import annotations

from collections import deque

from bridge.mbus.link import Damage, Effort

# Damage inside a frame. One broken frame in 256 passes the checksum, so where some were caught,
# others may not have been. What stands before or behind a sound frame says nothing of that:
# converters that add a character to each answer are common.
_INSIDE = frozenset({Damage.LENGTH, Damage.CHECKSUM, Damage.STOP, Damage.TRUNCATED, Damage.PARITY})

# A meter whose answers were damaged is suspect for so many sound ones of its own, and a line on
# which that happened to two meters for so many of all. If one frame in 100 000 is damaged, a line
# is suspect a fifth of the time; at more than one in 20 000, nearly always.
METER_SUSPECT_FOR = 1_000
SUSPECT_FOR = 20_000

# What is learnt of the way is the slowest of so many answers, and nothing before there are enough.
_ANSWERS = 64
_ENOUGH = 16
_TWICE = 2.0
_LEAST_LATENCY = 0.05  # seconds; a gateway may collect characters for some 10 ms


class Trust:
    """Whose answers may be damaged unnoticed: those of meters and lines that have shown damage.

    One meter whose answers are always damaged, because two share its address or its own wire is
    bad, says nothing of the others. A second one does.
    """

    def __init__(self) -> None:
        self._meters: dict[str, int] = {}  # for how many more answers each one is suspect
        self._line = 0

    def note(self, meter: str, effort: Effort) -> None:
        """Take what a conversation with a meter has met."""
        if _INSIDE & effort.damage.keys():
            self._meters[meter] = METER_SUSPECT_FOR
            if len(self._meters) > 1:
                self._line = SUSPECT_FOR
        elif effort.answer_delay is not None:
            self._line = max(0, self._line - 1)
            left = self._meters.get(meter, 0)
            if left > 1:
                self._meters[meter] = left - 1
            elif left:
                del self._meters[meter]

    def forget(self, meter: str) -> None:
        """A meter that is there no more."""
        self._meters.pop(meter, None)

    def is_suspect(self, meter: str) -> bool:
        return self._line > 0 or meter in self._meters

    @property
    def line_is_suspect(self) -> bool:
        return self._line > 0


class LatencyEstimate:
    """How many seconds to give the way to one meter, by the slowest of its last answers.

    That delay is the meter's own and the way's. Twice it, above the time that the standard gives
    the meter anyway, is on the safe side; what is late all the same makes all of it forgotten.

    Args:
        usual: seconds to expect before enough is known; what is learnt is never more.
    """

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._delays: deque[float] = deque(maxlen=_ANSWERS)

    def note(self, effort: Effort) -> None:
        """Take what a conversation has met.

        Of one with a silent try nobody knows which request was answered, or whether the answers
        have begun to come late: what was learnt is forgotten.
        """
        if effort.silences or effort.answer_delay is None:
            self._delays.clear()
        else:
            self._delays.append(effort.answer_delay)

    @property
    def latency(self) -> float:
        if len(self._delays) < _ENOUGH:
            return self._usual
        return min(self._usual, max(_LEAST_LATENCY, _TWICE * max(self._delays)))
