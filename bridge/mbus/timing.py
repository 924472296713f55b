"""How long things take on a bus (EN 13757-2, 4.3 and 5.5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bridge.mbus.way import Way

BITS = 11  # of a character: start, 8 data, parity, stop (EN 13757-2, 5.2)
LONGEST_FRAME = 261  # characters
IDLE_BITS = 33  # of idle line after an error, before the next frame (EN 13757-2, 5.5)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take on one bus.

    Args:
        baudrate: 300 to 38400.
        timeout: seconds from the end of a request to the first byte of its answer. The standard's
            330 bit times and 50 ms where None, and at least that: this stretches, for meters
            slower than the standard allows, and never shortens.
        latency: seconds that the way to the bus and back adds: a USB adapter, a network.
        tries: how often a request goes out before its meter counts as silent (EN 13757-2: 3).
        hold_up: seconds for which a network may hold up a part of a frame, once and again; None for
            the latency. A segment of TCP that is lost takes some 0.3 s to come anew, however quick
            all others are.
    """

    baudrate: int = 2400
    timeout: float | None = None
    latency: float = 0.0
    tries: int = 3
    hold_up: float | None = None

    def characters(self, count: int) -> float:
        """Seconds that ``count`` characters take on the wire."""
        return count * BITS / self.baudrate

    @property
    def window(self) -> float:
        """Seconds from the end of a request in which the answer must begin."""
        # EN 13757-2: no later than 330 bit times and 50 ms. The first character must be whole to
        # be noticed, so its time is added.
        standard = (330 + BITS) / self.baudrate + 0.05
        return max(standard, self.timeout or 0.0) + self.latency

    @property
    def idle(self) -> float:
        """Seconds of idle line that the standard demands after an error."""
        return IDLE_BITS / self.baudrate

    @property
    def gap(self) -> float:
        """Seconds without a byte after which a frame that has begun will not end any more.

        FT 1.2 knows no gaps in a frame, but converters hand bytes on in bursts, up to 100 ms apart,
        and networks twice their latency.
        """
        return 0.1 + self.idle + 2 * (self.latency if self.hold_up is None else self.hold_up)


def timing_of(timing: Timing, way: Way) -> Timing:
    """The timing of one meter: the bus's, and what its way says otherwise."""
    return replace(
        timing,
        baudrate=timing.baudrate if way.baudrate is None else way.baudrate,
        timeout=timing.timeout if way.timeout is None else way.timeout,
        tries=timing.tries if way.tries is None else way.tries,
    )
