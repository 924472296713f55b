"""How the buses and their meters have been: kept over a restart, and said where it is bad."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from bridge.mbus.link import Damage
from bridge.polling.engine import Segment
from bridge.polling.statistics import SegmentStatistics, Tally

log = logging.getLogger(__name__)

# How often the counters are written, in seconds: so much of them a sudden end may cost.
KEEP_EVERY = 60.0
# How often the log tells how a bus has been, in seconds.
SAY_EVERY = 3600.0
# Of the readouts in that time, so many may fail before it is a warning.
ILL = 0.05


class Keeper(Protocol):
    """Where counters survive; see `bridge.points.history.History`."""

    def keep_counters(self, name: str, counters: Mapping[str, int]) -> None: ...

    def counters(self, name: str) -> Mapping[str, int]: ...


class _Seen(NamedTuple):
    """What the counters of a bus were when it was last spoken of."""

    reads: int = 0
    failures: int = 0
    tries: int = 0
    silences: int = 0
    damage: int = 0
    losses: int = 0
    busy: float = 0.0
    wire: float = 0.0

    @classmethod
    def of(cls, now: SegmentStatistics) -> _Seen:
        return cls(
            now.reads,
            now.failures,
            now.tries,
            now.silences,
            now.damage.total(),
            now.connection_losses,
            now.busy_time,
            now.wire_time,
        )

    def without(self, other: _Seen) -> _Seen:
        return _Seen(
            self.reads - other.reads,
            self.failures - other.failures,
            self.tries - other.tries,
            self.silences - other.silences,
            self.damage - other.damage,
            self.losses - other.losses,
            self.busy - other.busy,
            self.wire - other.wire,
        )


class Health:
    """Looks after the statistics of all buses.

    Args:
        segments: by name, as they come and go.
        keeper: keeps the counters.
        doubts: of a bus by its name, how many values were asked for again since the start, and how
            many of those were damaged.
    """

    def __init__(
        self,
        segments: Mapping[str, Segment],
        keeper: Keeper,
        doubts: Callable[[str], tuple[int, int]] = lambda _: (0, 0),
    ) -> None:
        self._segments = segments
        self._keeper = keeper
        self._doubts = doubts
        self._doubted: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, _Seen] = {}
        self._kept: dict[str, dict[str, int]] = {}
        self._tallies: dict[str, Tally] = {}
        # Those that have what an earlier run counted, by their id. A meter that moves to another
        # bus has two for a moment.
        self._restored: dict[int, Tally] = {}
        for name, segment in segments.items():
            self._restore_all(name, segment)
            self._seen[name] = _Seen.of(segment.statistics)

    async def run(self) -> None:
        """Keep and say, for ever."""
        loop = asyncio.get_running_loop()
        say_at = loop.time() + SAY_EVERY
        while True:
            await asyncio.sleep(KEEP_EVERY)
            for name in list(self._segments):
                if (segment := self._segments.get(name)) is not None:
                    self._keep_all(name, segment)
                await asyncio.sleep(0)  # with many buses all this takes its time
            if loop.time() >= say_at:
                say_at += SAY_EVERY
                self.say(SAY_EVERY)

    def keep(self) -> None:
        """Write down what has changed."""
        for name, segment in self._segments.items():
            self._keep_all(name, segment)

    def say(self, seconds: float) -> None:
        """Tell the log how each bus was in the ``seconds`` since it was last told."""
        for name, segment in self._segments.items():
            statistics = segment.statistics
            self._restore_all(name, segment)
            now, before = _Seen.of(statistics), self._seen.get(name, _Seen())
            self._seen[name] = now
            reads, failures = now.reads - before.reads, now.failures - before.failures
            damage = now.damage - before.damage
            losses = now.losses - before.losses
            busy = now.busy - before.busy
            share = (now.wire - before.wire) / busy if busy > 0 else 1.0
            text = (
                f"{reads} readouts, {failures} failed; {now.tries - before.tries} requests, of "
                f"them {now.silences - before.silences} silent; {damage} damaged"
                f"{_kinds(statistics) if damage else ''}; connection lost {losses} times; "
                f"bus load {busy / seconds:.1%}, of that {share:.1%} wire time"
            )
            (begun, refuted), doubted = self._doubts(name), self._doubted.get(name, (0, 0))
            self._doubted[name] = begun, refuted
            if begun > doubted[0]:
                text += (
                    f"; {begun - doubted[0]} values asked for again, {refuted - doubted[1]} of "
                    "them damage that had passed the checksum"
                )
            if statistics.suspect:
                text += "; every new value is asked for again, since the line shows damage"
            total = reads + failures
            ill = losses > 0 or (total > 0 and failures > ILL * total)
            log.log(
                logging.WARNING if ill else logging.INFO if failures or damage else logging.DEBUG,
                "%s: in the last hour %s",
                name,
                text,
                extra={
                    "segment": name,
                    "readouts": reads,
                    "failures": failures,
                    "damage": damage,
                    "connection_losses": losses,
                    "load": round(busy / seconds, 4),
                },
            )

    def _keep_all(self, name: str, segment: Segment) -> None:
        self._restore_all(name, segment)
        self._keep(f"bus:{name}", segment.statistics)
        for meter, tally in segment.statistics.meters.items():
            self._keep(f"meter:{meter}", tally)

    def _restore_all(self, name: str, segment: Segment) -> None:
        """Let what is new go on from what was kept: also what a new configuration brought back."""
        statistics = segment.statistics
        counted = _Seen.of(statistics)
        if self._restore(f"bus:{name}", statistics):
            # What it has counted by itself was not told yet.
            self._seen[name] = _Seen.of(statistics).without(counted)
        for meter, tally in statistics.meters.items():
            self._restore(f"meter:{meter}", tally)

    def _restore(self, name: str, tally: Tally) -> bool:
        """True where it was new."""
        if id(tally) in self._restored:
            return False
        if (before := self._tallies.get(name)) is not None:
            self._keep(name, before)
        self._tallies[name] = self._restored[id(tally)] = tally
        kept = dict(self._keeper.counters(name))
        self._kept[name] = kept
        tally.restore(kept)
        return True

    def _keep(self, name: str, tally: Tally) -> None:
        counters = tally.counters()
        if counters != self._kept.get(name):
            self._keeper.keep_counters(name, counters)
            self._kept[name] = counters


def _kinds(statistics: SegmentStatistics) -> str:
    """What kinds of damage there have been since the counters began."""
    kinds = ", ".join(f"{Damage(kind)} {count}" for kind, count in statistics.damage.most_common(3))
    return f" (so far {kinds})"
