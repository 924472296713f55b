"""Whether the meter that answers is the one whose values are served.

A damaged telegram in 256 passes its checksum, so another identity is believed only when it comes
twice. Then it is an exchanged meter. If the user accepts such (`OnExchange.ACCEPT`) and it is of
the same kind, it takes over the objects of the old one; a water meter's count is never shown as a
heat meter's, across restarts too, until the file names the new one: the ledger has who it was.
Under `OnExchange.HOLD` nothing of any other meter is shown until the user says so.

Who was exchanged does not come back. Where it does within a week, there are two meters at one
address, and one or the other is heard, as it happens. Nobody can tell which of them is meant: the
values of neither are served.
"""

from __future__ import annotations

import logging
from enum import Enum, auto

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.errors import AddressError
from bridge.points.ledger import Ledger, LedgerError
from bridge.points.plan import MeterPlan, OnExchange

log = logging.getLogger(__name__)


# On a line that shows damage, the same damage may come twice; another identity comes so often.
TIMES_ON_A_BAD_LINE = 3

# Who answered here, and did not any more, is another meter if it answers again so soon (seconds).
WEEK = 7 * 24 * 3600.0

# So many of those are remembered; the oldest may have been damage.
_REMEMBERED = 16

_BOTH = (
    "both answer at this address; give one of them another address, or name the one that is meant "
    "by its secondary address"
)


class Whose(Enum):
    """Whose an answer is."""

    OURS = auto()
    EXCHANGED = auto()  # of a new meter, which is ours from now on
    DOUBTED = auto()  # another one's, or damaged: a second answer tells
    FOREIGN = auto()  # another one's


class MeterIdentity:
    """Who the meter is, by the headers of its answers."""

    def __init__(self, plan: MeterPlan, ledger: Ledger) -> None:
        self._plan = plan
        self._ledger = ledger
        self.current: SecondaryAddress | None = None  # whose values are served
        self._strangers = 0  # who answered in its place, each for the first time, in a row
        self._newcomer: SecondaryAddress | None = None  # who answered in its place, last time
        self._seen = 0  # how often in a row
        self._held = False  # the newcomer came twice, and is not accepted
        self._kept: str | None = None  # as the ledger has it
        # When they answered last before the meter that is ours did, by the monotonic clock.
        self._former: dict[str, float] = {}  # those that were ours once
        self._strange: dict[str, float] = {}  # those that never were
        self._both = False  # two meters answer by turns: none is served
        self._told: set[tuple[str, str]] = set()  # who is not served, and why, as the log has it

    def offer(self) -> None:
        """Read from the ledger who it was before."""
        self._kept = self._ledger.identity(self._plan.name)
        if self._kept is not None and not _is_meant(self._plan.address, self._kept):
            self._kept = None  # the user wrote another one into the file

    @property
    def is_known(self) -> bool:
        """Whether anybody is known to be the meter, so that others are foreign."""
        return self.current is not None or self._kept is not None

    @property
    def in_doubt(self) -> bool:
        """Whether the last answer was another one's, for the first time."""
        return self._strangers > 0

    def leave(self) -> None:
        """There is no second answer now: the next one may be the second."""
        self._strangers = 0

    @property
    def newcomer(self) -> SecondaryAddress | None:
        """Who waits to be accepted; None where nobody does."""
        return self._newcomer if self._held else None

    def judge(
        self, address: SecondaryAddress | None, now: float, *, suspect: bool = False
    ) -> Whose:
        """Whose an answer is.

        Args:
            address: the one in its header; None for a header without one.
            now: when it came, by the monotonic clock.
            suspect: the line shows damage, so that even the first identity has to come twice.
        """
        strangers, self._strangers = self._strangers, 0
        if address is None:
            return Whose.OURS
        if self._both:
            return Whose.FOREIGN
        if address == self.current:
            self._welcome_back(address, now)
            self._keep(address)
            return Whose.OURS
        is_new = not self.is_known
        if self.current is None and self._is_meant(address):
            certain = not suspect or address == self._newcomer
            if str(address) == self._kept or (is_new and certain):
                self._welcome_back(address, now)
                self.current = address
                return Whose.OURS
        if self._is_accepting and _is_recent(self._former, address, now):
            # Once is enough: damage does not happen to say who it was before.
            return self._refuse(address, _BOTH)
        if address != self._newcomer:
            self._newcomer, self._held, self._seen = address, False, 1
            if strangers > is_new:
                return Whose.FOREIGN  # never the same one: the next turn may tell more
            self._strangers = strangers + 1
            log.log(
                logging.DEBUG if is_new else logging.INFO,
                "%s: %s answers%s; it is asked once more",
                self._plan.name,
                address,
                f" in the place of {self._old}" if self._old else "",
            )
            return Whose.DOUBTED
        if self._held:
            return Whose.FOREIGN
        self._seen += 1
        if suspect and self._seen < TIMES_ON_A_BAD_LINE:
            self._strangers = strangers + 1
            return Whose.DOUBTED
        if (reason := self._objection(address, now)) is not None:
            return self._refuse(address, reason)
        when = "" if self.current is not None else " while the bridge did not run"
        log.warning(
            "%s: the meter was exchanged%s, %s for %s", self._plan.name, when, address, self._old
        )
        self._take(address, now)
        return Whose.EXCHANGED

    def accept(self) -> bool:
        """Take the newcomer that is held back for ours. False where there is none."""
        address = self.newcomer
        if address is None:
            return False
        log.warning("%s: %s is accepted in the place of %s", self._plan.name, address, self._old)
        self._take(address)
        self._former.clear()
        self._strange.clear()
        return True

    def _refuse(self, address: SecondaryAddress, reason: str) -> Whose:
        """Serve nothing of it, and say so once."""
        self._newcomer, self._held = address, True
        self._both = reason is _BOTH and self._is_accepting
        if (str(address), reason) not in self._told:
            self._told.add((str(address), reason))
            log.warning(
                "%s: %s answers in the place of %s; %s: %s",
                self._plan.name,
                address,
                self._old,
                "the values of neither are served" if self._both else "its values are not served",
                reason,
            )
        return Whose.FOREIGN

    @property
    def _old(self) -> str:
        return str(self.current or self._kept or self._plan.address)

    @property
    def _is_accepting(self) -> bool:
        """Whether an exchanged meter is served without a word of the user's."""
        return self._plan.on_exchange is OnExchange.ACCEPT

    def _objection(self, address: SecondaryAddress, now: float) -> str | None:
        """Why a newcomer is not taken for ours, and what to do."""
        if not self._is_meant(address):
            return f"the file names {self._plan.address}; write the new one's secondary address"
        if _is_recent(self._strange, address, now) or _is_recent(self._former, address, now):
            return _BOTH
        if not self._is_accepting and self._is_certain:
            return (
                f"write secondary: {address} for this meter, or on_exchange: accept, if it was "
                "exchanged"
            )
        old = self.current or _parsed(self._kept)
        if old is not None and self._is_certain and address.device_type != old.device_type:
            return (
                f"it measures something else; write secondary: {address} for this meter, if that "
                "is right, or name its own meter in the file"
            )
        return None

    @property
    def _is_certain(self) -> bool:
        """Whether the old identity came twice itself: what came once may have been damaged."""
        return self._kept is not None

    def _is_meant(self, address: SecondaryAddress) -> bool:
        return _is_meant(self._plan.address, str(address))

    def _take(self, address: SecondaryAddress, now: float | None = None) -> None:
        if now is not None and self._is_certain:
            _remember(self._former, self._old, now)
        self.current, self._newcomer, self._held, self._both = address, None, False, False
        self._keep(address)

    def _welcome_back(self, address: SecondaryAddress, now: float) -> None:
        stranger = self._newcomer
        if stranger is not None and stranger != address:
            if self._held and str(stranger) not in self._strange:
                log.info("%s: %s answers again", self._plan.name, address)
            _remember(self._strange, str(stranger), now)
        self._newcomer, self._held = None, False

    def _keep(self, address: SecondaryAddress) -> None:
        """Write to the ledger who answers, having answered twice."""
        text = str(address)
        if text == self._kept:
            return
        try:
            self._ledger.keep_identity(self._plan.name, text)
        except LedgerError as error:
            log.error("%s: %s", self._plan.name, error)
            return
        self._kept = text


def _remember(who: dict[str, float], address: str, now: float) -> None:
    who.pop(address, None)
    who[address] = now
    while len(who) > _REMEMBERED:
        del who[next(iter(who))]


def _is_recent(who: dict[str, float], address: SecondaryAddress, now: float) -> bool:
    at = who.get(str(address))
    return at is not None and now - at < WEEK


def _parsed(kept: str | None) -> SecondaryAddress | None:
    """Who the ledger has; None for nobody, and for a damaged header's, kept by mistake."""
    try:
        return None if kept is None else parse_secondary(kept)
    except AddressError:
        return None


def _is_meant(wanted: str, identity: str) -> bool:
    """Whether a meter that answered may be the one that the file names by secondary address."""
    if not wanted:
        return True
    try:
        return parse_secondary(wanted).matches(parse_secondary(identity))
    except AddressError:
        return True  # a damaged header's, kept by mistake: whoever answers is held against it
