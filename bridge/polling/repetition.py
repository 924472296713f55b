"""Keeps what repeats itself from filling a log."""

from __future__ import annotations

from dataclasses import dataclass

AGAIN_AFTER = 3600.0  # seconds

_LIMIT = 1000  # texts; there are a few, unless one has a number in it


@dataclass(slots=True)
class _Said:
    at: float
    kept_back: int = 0


class Repetition:
    """What was said lately: a text is said once, and then again at most once an hour. Pure."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def say(self, text: str, now: float) -> str | None:
        """What to log; None where the same was said less than an hour ago.

        A text that is said again tells how often it was kept back.
        """
        said = self._said.pop(text, None)
        if said is not None and now < said.at + AGAIN_AFTER:
            said.kept_back += 1
            self._said[text] = said
            return None
        self._said[text] = _Said(now)
        while len(self._said) > _LIMIT:
            del self._said[next(iter(self._said))]  # the one longest not heard
        if said is None or not said.kept_back:
            return text
        return f"{text} ({said.kept_back}× more since this was last said)"

    def forget(self) -> None:
        """All is well again: what comes now is new."""
        self._said.clear()
