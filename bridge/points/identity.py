"""Whether the meter that answers is the one whose values are served.

A damaged telegram in 256 passes its checksum, so another identity is believed only when it comes
twice. Then it is an exchanged meter. If the user accepts such (`OnExchange.ACCEPT`) and it is of
the same kind, it takes over the objects of the old one; a water meter's count is never shown as a
heat meter's, until the bridge is started again. Under `OnExchange.HOLD` nothing of it is shown
until the user says so, across restarts too: the ledger has who it was.
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

    def judge(self, address: SecondaryAddress | None, *, suspect: bool = False) -> Whose:
        """Whose an answer is.

        Args:
            address: the one in its header; None for a header without one.
            suspect: the line shows damage, so that even the first identity has to come twice.
        """
        strangers, self._strangers = self._strangers, 0
        if address is None:
            return Whose.OURS
        if address == self.current:
            self._welcome_back(address)
            self._keep(address)
            return Whose.OURS
        is_new = not self.is_known
        if self.current is None and self._is_meant(address):
            certain = not suspect or address == self._newcomer
            if str(address) == self._kept or (is_new and certain):
                self._welcome_back(address)
                self.current = address
                return Whose.OURS
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
        if (reason := self._objection(address)) is not None:
            self._held = True
            log.warning(
                "%s: %s answers in the place of %s; its values are not served: %s",
                self._plan.name,
                address,
                self._old,
                reason,
            )
            return Whose.FOREIGN
        when = "" if self.current is not None else " while the bridge did not run"
        log.warning(
            "%s: the meter was exchanged%s, %s for %s", self._plan.name, when, address, self._old
        )
        self._take(address)
        return Whose.EXCHANGED

    def accept(self) -> bool:
        """Take the newcomer that is held back for ours. False where there is none."""
        address = self.newcomer
        if address is None:
            return False
        log.warning("%s: %s is accepted in the place of %s", self._plan.name, address, self._old)
        self._take(address)
        return True

    @property
    def _old(self) -> str:
        return str(self.current or self._kept or self._plan.address)

    def _objection(self, address: SecondaryAddress) -> str | None:
        """Why a newcomer is not taken for ours, and what to do."""
        old = self.current
        if not self._is_meant(address):
            return f"the file names {self._plan.address}; write the new one's secondary address"
        if self._plan.on_exchange is OnExchange.HOLD and self._is_certain:
            return (
                f"write secondary: {address} for this meter, or on_exchange: accept, if it was "
                "exchanged"
            )
        if old is not None and self._is_certain and address.device_type != old.device_type:
            return (
                "it measures something else; start the bridge again if that is right, or name its "
                "own meter in the file"
            )
        return None

    @property
    def _is_certain(self) -> bool:
        """Whether the old identity came twice itself: what came once may have been damaged."""
        return self._kept is not None

    def _is_meant(self, address: SecondaryAddress) -> bool:
        return _is_meant(self._plan.address, str(address))

    def _take(self, address: SecondaryAddress) -> None:
        self.current, self._newcomer, self._held = address, None, False
        self._keep(address)

    def _welcome_back(self, address: SecondaryAddress) -> None:
        if self._held:
            log.info("%s: %s answers again", self._plan.name, address)
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


def _is_meant(wanted: str, identity: str) -> bool:
    """Whether a meter that answered may be the one that the file names by secondary address."""
    if not wanted:
        return True
    try:
        return parse_secondary(wanted).matches(parse_secondary(identity))
    except AddressError:
        return True  # a damaged header's, kept by mistake: whoever answers is held against it
