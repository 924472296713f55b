"""Counters that survive a restart, and what the log says of a bus."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

import pytest

from bridge.app.health import Health
from bridge.mbus.link import Damage, Effort
from bridge.points.history import History
from bridge.polling.engine import MeterSettings, Segment, SegmentSettings
from bridge.transport import make_transport


class Deaf:
    """A listener to whom nothing matters."""

    def meter_answered(self, meter: str, telegrams: object, at: float) -> None: ...
    def meter_failed(self, meter: str, failure: object, at: float) -> None: ...
    def segment_changed(self, segment: str, connected: bool, detail: str) -> None: ...


def segment() -> Segment:
    port = "tcp://127.0.0.1:9"
    return Segment(
        SegmentSettings("cellar", port),
        [MeterSettings("heat", 5)],
        Deaf(),
        transport=make_transport(port),
    )


class Counting(History):
    """Counts what is written."""

    writes = 0

    def keep_counters(self, name: str, counters: Mapping[str, int]) -> None:
        self.writes += 1
        super().keep_counters(name, counters)


def test_counters_go_on_after_a_restart() -> None:
    keeper = Counting(None)
    first = segment()
    health = Health({"cellar": first}, keeper)
    heat = first.statistics.meters["heat"]
    heat.reads, heat.failures = 7, 2
    heat.add(Effort(tries=12, silences=3, damage=Counter({Damage.CHECKSUM: 4})), 1.0)
    first.statistics.reads = 7
    health.keep()
    assert keeper.writes == 2
    health.keep()  # nothing has changed
    assert keeper.writes == 2

    second = segment()
    Health({"cellar": second}, keeper)
    heat = second.statistics.meters["heat"]
    assert (heat.reads, heat.failures, heat.tries, heat.silences) == (7, 2, 12, 3)
    assert heat.damage == {Damage.CHECKSUM: 4}
    assert second.statistics.reads == 7
    keeper.close()


@pytest.mark.parametrize(
    ("reads", "failures", "level"),
    [(100, 0, logging.DEBUG), (100, 2, logging.INFO), (90, 10, logging.WARNING)],
)
def test_the_log_speaks_up_as_a_bus_is_ill(
    reads: int, failures: int, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = History(None)
    bus = segment()
    bus.statistics.reads = 1000  # of an earlier run: not of this hour
    health = Health({"cellar": bus}, keeper, lambda _: (7, 1))
    bus.statistics.reads += reads
    bus.statistics.failures += failures
    bus.statistics.busy_time += 36.0
    bus.statistics.wire_time += 35.64
    with caplog.at_level(logging.DEBUG):
        health.say(3600.0)
    (record,) = caplog.records
    assert record.levelno == level
    assert f"{reads} readouts, {failures} failed" in record.getMessage()
    assert "bus load 1.0%, of that 99.0% wire time" in record.getMessage()
    assert "; 7 values asked for again, 1 of them damage" in record.getMessage()
    assert vars(record)["segment"] == "cellar"
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        health.say(3600.0)
    assert "0 readouts, 0 failed" in caplog.records[0].getMessage()
    keeper.close()


def test_a_bus_that_comes_back_goes_on_counting_and_its_past_is_not_of_this_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeper = History(None)
    buses = {"cellar": segment()}
    health = Health(buses, keeper)
    buses["cellar"].statistics.reads = 9995
    buses["cellar"].statistics.meters["heat"].reads = 9995
    health.say(3600.0)
    buses["cellar"] = again = segment()
    again.statistics.reads = again.statistics.meters["heat"].reads = 5
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        health.say(3600.0)
    assert "5 readouts, 0 failed" in caplog.records[0].getMessage()
    health.keep()
    assert again.statistics.reads == again.statistics.meters["heat"].reads == 10_000
    assert keeper.counters("meter:heat")["reads"] == 10_000
    keeper.close()


def test_a_meter_that_moves_to_another_bus_is_never_counted_twice() -> None:
    keeper = History(None)
    buses = {"cellar": segment()}
    health = Health(buses, keeper)
    buses["cellar"].statistics.meters["heat"].reads = 100
    buses["attic"] = segment()
    for _ in range(3):  # the first one lets go of it after its turn
        health.keep()
    del buses["cellar"].statistics.meters["heat"]
    health.keep()
    assert buses["attic"].statistics.meters["heat"].reads == 100
    assert keeper.counters("meter:heat")["reads"] == 100
    keeper.close()
