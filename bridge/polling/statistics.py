"""What polling has cost and brought, counted since the start; for health, logs and pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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
    WRONG_LINE = "the port cannot be set as the meter needs it"
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

    def counters(self) -> dict[str, int]:
        """All that only ever grows, by name, to be kept over a restart."""
        damage = {f"{_DAMAGE}{kind.value}": count for kind, count in self.damage.items()}
        return {name: getattr(self, name) for name in _COUNTERS} | damage

    def restore(self, counters: Mapping[str, int]) -> None:
        """Go on counting from what an earlier run has kept; names that are unknown are left out."""
        for name in _COUNTERS:
            setattr(self, name, getattr(self, name) + counters.get(name, 0))
        for kind in Damage:
            if count := counters.get(f"{_DAMAGE}{kind.value}", 0):
                self.damage[kind] += count


_COUNTERS = ("reads", "failures", "tries", "silences", "bytes_sent", "bytes_received")
_DAMAGE = "damage:"


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

    ``stretch`` is by how many seconds the answer window has grown, because answers came late;
    ``latency`` the seconds that are given to the way to the bus and back, ``round_trip`` those that
    the network alone takes, where that is known. ``suspect`` says that a damaged answer may pass
    for a sound one.
    """

    connected: bool = False
    connections: int = 0
    connection_failures: int = 0
    connection_losses: int = 0
    unasked_bytes: int = 0
    stretch: float = 0.0
    latency: float = 0.0
    round_trip: float | None = None
    suspect: bool = False
    exceptions: int = 0
    meters: dict[str, MeterStatistics] = field(default_factory=dict)

    @property
    def cycle_time(self) -> float:
        """Seconds of the bus that one turn of every meter takes, by each one's last turn."""
        return sum(meter.duration for meter in self.meters.values())
