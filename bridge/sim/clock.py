"""The meters' time: a date that runs with the bus, at its own speed."""

from __future__ import annotations

import datetime as dt

from bridge.sim.errors import SimError


class SimulatedClock:
    """Turns seconds of a monotonic clock into the meters' local time.

    Args:
        start: the local time, without a zone, at the first moment that is asked for.
        speed: how many simulated seconds pass in one; more than 0.

    Raises:
        SimError: the speed is not above 0, or ``start`` has a zone.
    """

    def __init__(self, start: dt.datetime | None = None, speed: float = 1.0) -> None:
        if not speed > 0:
            raise SimError(f"a speed of {speed:g}: simulated time only runs forward")
        if start is not None and start.tzinfo is not None:
            raise SimError("meters know local time only: start must have no time zone")
        self.start = start if start is not None else dt.datetime.now().replace(microsecond=0)
        self.speed = speed
        self._origin: float | None = None

    def at(self, now: float) -> dt.datetime:
        """The meters' local time at ``now``, seconds of the monotonic clock."""
        if self._origin is None:
            self._origin = now
        return self.start + dt.timedelta(seconds=(now - self._origin) * self.speed)
