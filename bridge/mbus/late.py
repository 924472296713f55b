"""Answers that were asked for and did not come: if one does yet, whose is it?

An RSP_UD names its meter, as a rule: by the A field where a primary address was asked, by the
number in its header behind 253. What is kept here serves where it does not: a meter selected by a
mask with wildcards in its number, a header without an address, and E5, which names nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bridge.mbus.address import SecondaryAddress, decode_secondary
from bridge.mbus.control import CI_FIXED, HeaderKind, ci_row
from bridge.mbus.fixed import FIXED_LENGTH
from bridge.mbus.frame import LongFrame

# How late an answer can come. A packet that a network has lost comes 0.2, 0.6, 1.4, 3 s late, as
# TCP doubles its patience; no meter that is read at all needs longer.
OWED_SECONDS = 10.0

_PLAIN_SELECTION = 8  # bytes of user data; with a fabrication number they are 14

Asked = int | bytes
"""Who was asked: a primary address, or the user data of the selection behind 253."""


def identity_of(frame: LongFrame) -> SecondaryAddress | None:
    """What the header says of its meter; None where there is no header with an address."""
    # EN 13757-3: CI 73 with 16 bytes is the fixed structure, whose header has the number alone.
    if frame.ci == CI_FIXED and len(frame.data) == FIXED_LENGTH:
        return SecondaryAddress(frame.data[3::-1].hex().upper())
    long_header = ci_row(frame.ci).header is HeaderKind.LONG
    if long_header and len(frame.data) >= HeaderKind.LONG.value:
        return decode_secondary(frame.data[:8])
    return None


def may_be_of(mask: SecondaryAddress, frame: LongFrame) -> bool:
    """Whether nothing in the header speaks against a meter that ``mask`` fits."""
    identity = identity_of(frame)
    if identity is None:
        return True
    if frame.ci == CI_FIXED and len(frame.data) == FIXED_LENGTH:
        return SecondaryAddress(mask.identification).matches(identity)
    return mask.matches(identity)


def names_one(who: Asked, mask: SecondaryAddress | None) -> bool:
    """Whether an answer that names its meter can be told from another meter's.

    By a primary address it can; behind 253 where ``mask`` has a whole number. But an enhanced
    selection is there for meters that share a number, and no header has a fabrication number.
    """
    if isinstance(who, int):
        return True
    return mask is not None and "F" not in mask.identification and len(who) <= _PLAIN_SELECTION


@dataclass(slots=True)
class _Debt:
    who: Asked
    identity: SecondaryAddress | None
    until: float
    acknowledgements: int
    telegrams: int
    repeated: LongFrame | None  # what these telegrams say again, where that is known


class Owed:
    """The answers that are still owed, each for `OWED_SECONDS`."""

    def __init__(self) -> None:
        self._debts: list[_Debt] = []

    def note(
        self,
        who: Asked,
        now: float,
        *,
        identity: SecondaryAddress | None = None,
        acknowledgements: int = 0,
        telegrams: int = 0,
        repeated: LongFrame | None = None,
    ) -> None:
        """An exchange is over, and so many of its tries got no answer."""
        self._debts = list(self._live(now))
        if acknowledgements or telegrams:
            until = now + OWED_SECONDS
            self._debts.append(_Debt(who, identity, until, acknowledgements, telegrams, repeated))

    def forgive_acknowledgements(self) -> None:
        """A meter has answered that named itself: an E5 of before will not come any more."""
        for debt in self._debts:
            debt.acknowledgements = 0

    def takes_acknowledgement(self, now: float) -> bool:
        """Whether an E5 may be an earlier one that was owed; then it counts as come."""
        for debt in self._live(now):
            if debt.acknowledgements:
                debt.acknowledgements -= 1
                return True
        return False

    def takes_telegram(
        self, frame: LongFrame, who: Asked, identity: SecondaryAddress | None, now: float
    ) -> bool:
        """Whether an answer that fits ``who`` may be one owed before; then it counts as come.

        Args:
            frame: the answer.
            who: who is asked now.
            identity: what the answer's header must fit.
            now: the time.
        """
        certain = names_one(who, identity) and (
            isinstance(who, int) or identity_of(frame) is not None
        )
        for debt in self._live(now):
            if not debt.telegrams:
                continue
            if debt.who == who:
                # Of this very meter: then only the repetition of a telegram that is known already.
                takes = frame == debt.repeated
            else:
                takes = not certain and _may_be_for(debt, frame)
            if takes:
                debt.telegrams -= 1
                return True
        return False

    def pay(self, frame: LongFrame, now: float) -> None:
        """This late answer has come, and was known as such."""
        for debt in self._live(now):
            if debt.telegrams and _may_be_for(debt, frame):
                debt.telegrams -= 1
                return

    def _live(self, now: float) -> Iterator[_Debt]:
        return (debt for debt in self._debts if now < debt.until)


def _may_be_for(debt: _Debt, frame: LongFrame) -> bool:
    if isinstance(debt.who, int):
        return frame.address == debt.who
    return debt.identity is None or may_be_of(debt.identity, frame)
