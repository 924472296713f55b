"""What polling has cost and brought, counted since the start; for health, logs and pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from bridge.mbus.link import Damage, Effort


class FailureKind(StrEnum):
    """Why a meter could not be read."""

    NO_CONNECTION = "no connection to the bus"
    NO_ANSWER = "the meter does not answer"
    DAMAGED = "only damaged answers came"
    FOREIGN_METER = "another meter answers at this address"
    BUSY = "the meter has nothing to send now"
    APPLICATION_ERROR = "the meter reports an application error"
    UNREADABLE = "its answer cannot be read"
    INTERNAL = "an error in the bridge"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a meter could not be read; ``detail`` says more, in a few words."""

    kind: FailureKind
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})" if self.detail else str(self.kind)


@dataclass(slots=True)
class Tally:
    """Sums. Times are in seconds.

    ``wire_time`` is what no master can avoid: 11 bit times for every byte both ways, and the
    meters' answer delays. ``busy_time`` is what the conversations took. The share of the first in
    the second is how well the bus was used.
    """

    reads: int = 0
    failures: int = 0
    tries: int = 0
    silences: int = 0
    damage: Counter[Damage] = field(default_factory=Counter)
    bytes_sent: int = 0
    bytes_received: int = 0
    wire_time: float = 0.0
    busy_time: float = 0.0

    def add(self, effort: Effort, duration: float) -> None:
        self.tries += effort.tries
        self.silences += effort.silences
        self.damage += effort.damage
        self.bytes_sent += effort.bytes_sent
        self.bytes_received += effort.bytes_received
        self.wire_time += effort.wire_time
        self.busy_time += duration


@dataclass(slots=True)
class MeterStatistics(Tally):
    """One meter.

    ``last_success`` is a wall-clock time (seconds since 1970). ``last_failure`` is None while the
    meter answers. ``answer_delay`` and ``duration`` are of the last conversation that came to its
    end, in seconds.
    """

    last_success: float | None = None
    last_failure: Failure | None = None
    answer_delay: float | None = None
    duration: float = 0.0


@dataclass(slots=True)
class SegmentStatistics(Tally):
    """One bus, and its meters by name.

    ``stretch`` is by how many seconds the answer window has grown, because answers came late.
    """

    connected: bool = False
    connections: int = 0
    connection_failures: int = 0
    connection_losses: int = 0
    unasked_bytes: int = 0
    stretch: float = 0.0
    exceptions: int = 0
    meters: dict[str, MeterStatistics] = field(default_factory=dict)

    @property
    def cycle_time(self) -> float:
        """Seconds of the bus that one turn of every meter takes, by each one's last turn."""
        return sum(meter.duration for meter in self.meters.values())
