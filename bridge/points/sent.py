"""Which records a meter sends, as the ledger keeps it for `check`."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bridge.points.known import Known, from_json, to_json
from bridge.points.ledger import Ledger, LedgerError

log = logging.getLogger(__name__)

# It goes to the disk so often and then once an hour: some meters change it by turns.
_BURST = 10
_EVERY = 3600.0  # seconds
_MOST = 1000  # records


class Sent:
    """What the ledger has of one meter's records."""

    def __init__(self, meter: str, ledger: Ledger) -> None:
        self._meter = meter
        self._ledger = ledger
        self._text: str | None = None  # as the ledger has it
        self._writes = 0
        self._since: float | None = None  # the first of them, by the monotonic clock

    def offer(self) -> None:
        """Read what there is of earlier runs."""
        self._text = self._ledger.sent(self._meter)

    @property
    def known(self) -> list[Known] | None:
        """The records; None where the ledger has none."""
        if self._text is None:
            return None
        try:
            return from_json(self._text)
        except (KeyError, ValueError, TypeError):
            return None  # another version wrote it; the meter's next answer replaces it

    def keep(self, sent: Sequence[Known], now: float, *, again: bool) -> bool:
        """Write down what the meter sends, where that has changed and stays so.

        Args:
            sent: the records of an answer.
            now: by the monotonic clock.
            again: the answer before had the same.

        Returns:
            False where it is to be tried with the next answer again.
        """
        text = to_json(sent[:_MOST])
        if text == self._text:
            return True
        if self._since is None:
            self._since = now
        budget = _BURST + (now - self._since) / _EVERY
        if not again or self._writes >= budget:
            return False
        try:
            self._ledger.keep_sent(self._meter, text)
        except LedgerError as error:
            log.error("%s: %s", self._meter, error)
            return False
        self._text = text
        self._writes += 1
        return True
