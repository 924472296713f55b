"""When the next look at a line is worth it: while a frame comes, its end is known long before.

A character takes 4.6 ms at 2400 baud, and converters hand on each as it comes. Waking for each of
them costs more than all that is done with the frame. Pure.
"""

from __future__ import annotations

import math

# Seconds before the expected end at which the looks begin again, and the share of the time until
# then: clocks of meters differ by some parts in a thousand, and an event loop wakes a millisecond
# late. The next request must follow the last character at once.
_EARLY = 0.003
_EARLY_SHARE = 0.005
_LEAST_REST = 0.008  # seconds; less saves nothing
_LONG_REST = 0.05  # seconds; with a look half way

# What more than the wire could bring means: a gateway that collects characters, or another baud
# rate than the user says. Networks may delay one lot more than another.
_TOO_FAST = 1.2
_JITTER = 0.03  # seconds
_BURST = 0.1  # seconds; converters hand on what they have at least so often
_STRIKES = 3  # frames in a row; a single one may be this program's own fault, that was held up


class Pace:
    """How the bytes of one connection come.

    Where more comes in a while than the wire can have brought, nothing can be foretold, and each
    lot is taken as it comes: for the rest of that frame, and after three such frames in a row for
    good.
    """

    def __init__(self) -> None:
        self._strikes = 0
        self._missing = 0
        self._end = math.inf  # of the frame that comes, by the lot that had the least delay
        self._first_at = 0.0
        self._first_missing = 0
        self._looked = False  # half way
        self._hurried = False  # more came of it than the wire can have brought

    @property
    def keeps(self) -> bool:
        """Whether frames come at the pace of the wire, as far as is known."""
        return self._strikes < _STRIKES

    def forget(self) -> None:
        """A request leaves: what comes from now on belongs to nothing that came."""
        self._missing = 0

    def next_look(self, missing: int, now: float, character: float) -> float | None:
        """Say it after each lot that was read.

        Args:
            missing: characters of the present frame that are still to come; 0 if nobody knows.
            now: when the lot was read.
            character: seconds that the wire takes for one.

        Returns:
            The time until which there is nothing to be seen; None where that is now.
        """
        if missing > self._missing:
            self._end = math.inf
            self._first_at, self._first_missing = now, missing
            self._looked = self._hurried = False
        before, self._missing = self._missing, missing
        if not (before or missing) or self._hurried or not self.keeps:
            return None
        self._end = min(self._end, now + missing * character)
        if now + missing * character > self._end + _BURST:
            return None  # it lags behind, and may have broken off: that must be noticed
        came = self._first_missing - missing
        if came:
            elapsed = now - self._first_at
            if came * character > _TOO_FAST * elapsed + _JITTER:
                self._hurried = True
                self._strikes += 1
                return None
            if self._looked:
                self._strikes = 0
            # The meter's clock may be a little faster than ours.
            character = min(character, elapsed / came)
        left = min(self._end, now + missing * character) - now
        rest = left - _EARLY - _EARLY_SHARE * left
        if rest < _LEAST_REST:
            return None
        if rest > _LONG_REST and not self._looked:
            self._looked = True
            rest /= 2
        return now + rest
