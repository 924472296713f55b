"""Which records a meter sends: known layouts, and new ones, which have to come twice. Pure.

Damage that passes the checksum can hit a DIF or VIF, and then a record seems to be another one,
with the value of the old one. Nothing in the value tells. But a meter sends the same records for
years, or a few sets of them by turns; so an answer with other records than ever is read once more.

Some meters never send the same records twice: a list of events, say, that has a record for each.
On a plain line such a meter is known for one after three new layouts in a row, and from then on
they are taken as they come. On a line that shows damage they never are: there it cannot be told
from damage.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bridge.mbus.record import RecordHeader

Layout = list[RecordHeader]

# So many sets of records by turns are more than any meter is known to have.
_KNOWN = 16
_STRANGE = 8

# Of so many readings in a row, each with other records than ever, the last is taken for what it is:
# the meter does that. Not so on a line that shows damage.
_PATIENCE = 3

# What came once is forgotten after so many answers: the same damage may come twice, in years.
_LAPSE = 100

# A set of records that is sent by turns comes again within so many answers; on a line that shows
# damage some of them are asked for twice.
_TURN = 2 * _KNOWN


@dataclass(slots=True, eq=False)
class KnownLayout:
    """One set of records that a meter sends.

    ``seen`` is in which of its answers, last; ``returned`` says that it came again, another one
    having been taken meanwhile.
    """

    layout: Layout
    seen: int
    returned: bool = False


class Layouts:
    """What one meter's answers have looked like."""

    def __init__(self) -> None:
        self._answers = 0
        self._known: deque[KnownLayout] = deque(maxlen=_KNOWN)
        self._strange: deque[tuple[Layout, int]] = deque(maxlen=_STRANGE)  # and in which answer
        self.last: KnownLayout | None = None  # the last one that was taken
        self._held = 0  # in a row, in this turn
        self._new = 0  # in a row, on a plain line, over turns
        self._restless = False  # hardly ever the same
        self._settled = 0  # answers in a row with known records

    @property
    def in_doubt(self) -> bool:
        """Whether the last answer was not taken."""
        return self._held > 0

    @property
    def held(self) -> int:
        """How many answers in a row were not taken, in this turn."""
        return self._held

    def leave(self) -> None:
        """There is no second reading now; the next one may be it."""
        self._held = 0

    def note(self, layout: Layout) -> None:
        """Remember a layout that nobody has confirmed; its next coming does."""
        if not self._is_strange(layout):
            self._strange.append((layout, self._answers))

    def comes_by_turns(self, known: KnownLayout | None) -> bool:
        """Whether a meter that sent other records just now is going to send these again."""
        return (
            known is not None
            and known is not self.last
            and known.returned
            and self._answers - known.seen <= _TURN
        )

    def takes(self, layout: Layout, *, suspect: bool, vouched: bool) -> bool:
        """Whether an answer with these records may be used.

        Args:
            layout: its records, in order.
            suspect: the line shows damage, or nothing is known of the meter: also the first layout
                has to come twice.
            vouched: a code in the telegram proves that it is what the meter said.
        """
        self._answers += 1
        last = self.last
        if last is None or last.layout != layout:
            known = next((each for each in self._known if each.layout == layout), None)
            if known is None:
                return self._takes_new(layout, suspect=suspect, vouched=vouched)
            known.returned = True
            last = known
        self._take(last)
        self._settled += 1
        if self._settled >= _LAPSE:
            self._restless = False
        return True

    def _takes_new(self, layout: Layout, *, suspect: bool, vouched: bool) -> bool:
        self._settled = 0
        if vouched or self._is_confirmed(layout, suspect) or (not self._known and not suspect):
            self._learn(layout)
            return True
        if not suspect:
            self._new += 1
            self._restless = self._restless or self._new >= _PATIENCE
            if self._restless:
                self._learn(layout)
                return True
        self._held += 1
        self._strange.append((layout, self._answers))
        return False

    def _learn(self, layout: Layout) -> None:
        self._strange = deque(
            (each for each in self._strange if each[0] != layout), maxlen=_STRANGE
        )
        known = KnownLayout(layout, self._answers)
        self._known.append(known)
        self._take(known)

    def _take(self, known: KnownLayout) -> None:
        known.seen = self._answers
        self.last = known
        self._held = self._new = 0

    def _is_confirmed(self, layout: Layout, suspect: bool) -> bool:
        """Whether it came often enough.

        Few bits are a DIF's or VIF's. On a line that shows damage, the same one of them is hit
        again within some hundred answers, but not in the next one, nor a third time.
        """
        if not self._is_strange(layout):
            return False
        if not suspect or not self._known:
            return True
        times = [answer for each, answer in self._strange if each == layout]
        return len(times) > 1 or times[-1] == self._answers - 1

    def _is_strange(self, layout: Layout) -> bool:
        """Whether it came once before, not long ago."""
        while self._strange and self._answers - self._strange[0][1] > _LAPSE:
            self._strange.popleft()
        return any(each == layout for each, _ in self._strange)
