"""An event loop whose clock jumps: a month on a simulated bus takes minutes.

Nothing waits. Where a loop would sleep until its next timer, the clock is set to that time. Only
timers and what lives in the memory of this process may be used in it: no socket, no thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

START = 1000.0  # seconds; what the clock shows at first


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting it moves the clock, and it looks at no descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen")
        if timeout > 0:
            self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which a day takes a moment."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer is due within this time. After a hundred days the clock's own step is larger than
        # the nanosecond of a real loop, and a clock that stands would never come to the timer.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a clock that jumps; it starts at `START`."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
