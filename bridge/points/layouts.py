"""Which records a meter sends: known layouts, and new ones, which have to come twice. Pure.

Damage that passes the checksum can hit a DIF or VIF, and then a record seems to be another one,
with the value of the old one. Nothing in the value tells. But a meter sends the same records for
years, or a few sets of them by turns; so an answer with other records than ever is read once more.
"""

from __future__ import annotations

from collections import deque

from bridge.mbus.record import RecordHeader

Layout = list[RecordHeader]

# So many sets of records by turns are more than any meter is known to have.
_KNOWN = 16
_STRANGE = 8

# Of so many readings in a row, each with other records than ever, the last is taken for what it is:
# the meter does that. Not so on a line that shows damage.
_PATIENCE = 3


class Layouts:
    """What one meter's answers have looked like."""

    def __init__(self) -> None:
        self._known: deque[Layout] = deque(maxlen=_KNOWN)
        self._strange: deque[Layout] = deque(maxlen=_STRANGE)
        self._held = 0  # in a row

    @property
    def in_doubt(self) -> bool:
        """Whether the last answer was not taken."""
        return self._held > 0

    @property
    def held(self) -> int:
        """How many answers in a row were not taken."""
        return self._held

    def leave(self) -> None:
        """There is no second reading now; the next one may be it."""
        self._held = 0

    def note(self, layout: Layout) -> None:
        """Remember a layout that nobody has confirmed; its next coming does."""
        if layout not in self._strange:
            self._strange.append(layout)

    def takes(self, layout: Layout, *, suspect: bool, vouched: bool) -> bool:
        """Whether an answer with these records may be used.

        Args:
            layout: its records, in order.
            suspect: the line shows damage, or nothing is known of the meter: also the first layout
                has to come twice.
            vouched: a code in the telegram proves that it is what the meter said.
        """
        if layout in self._known:
            self._held = 0
            return True
        is_first = not self._known and not suspect
        tired = not suspect and self._held >= _PATIENCE - 1
        if vouched or is_first or tired or layout in self._strange:
            if layout in self._strange:
                self._strange.remove(layout)
            self._known.append(layout)
            self._held = 0
            return True
        self._held += 1
        self._strange.append(layout)
        return False
