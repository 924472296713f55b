"""What the buses tell becomes readings: doubt, second readings, meters that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from bridge.app.readings import MOST_SECOND_READS, Readings
from bridge.mbus.address import parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPlan
from bridge.points.reading import Fault
from bridge.points.store import Store
from bridge.polling.engine import Failure, FailureKind


@dataclass
class Bus:
    """A segment as far as it is asked."""

    suspect: bool = False
    guarded: bool = True
    gap: float = 0.0
    asked: list[str] = field(default_factory=list)

    def is_suspect(self, meter: str) -> bool:
        return self.suspect

    def minimum_gap(self, meter: str) -> float:
        return self.gap

    def read_now(self, meter: str) -> float:
        self.asked.append(meter)
        return self.gap


@dataclass
class Site:
    """One meter on one bus, and a clock."""

    bus: Bus
    store: Store
    readings: Readings
    now: float = 0.0

    def answers(self, energy: str) -> None:
        self.now += 60.0
        self.readings.meter_answered("heat", answer(energy), 1e9 + self.now)

    def energy(self) -> tuple[object, Fault | None]:
        reading = self.store.reading("heat.energy")
        return reading.value, reading.fault


def answer(energy: str) -> tuple[Telegram, ...]:
    """A heat meter's energy, eight digits of kWh."""
    counter = bytes.fromhex(energy)[::-1]
    header = encode_header(parse_secondary("12345678-KAM-1B-04"), 5)
    return (decode_telegram(LongFrame(0x08, 5, 0x72, header + b"\x0c\x06" + counter)),)


@pytest.fixture
def site() -> Iterator[Site]:
    ledger = Ledger(None)
    store, bus = Store(), Bus()
    made = Site(bus, store, Readings(store, ledger, monotonic=lambda: made.now))
    made.readings.attach("cellar", bus)
    made.readings.add(MeterPlan("heat", "", max_age=900.0), "cellar", "5")
    yield made
    ledger.close()


def test_a_value_in_doubt_is_asked_for_at_once_and_shown_when_it_is_confirmed(site: Site) -> None:
    site.answers("00100000")
    site.answers("00100001")
    site.answers("00900001")  # a jump
    assert site.bus.asked == ["heat"]
    assert site.energy() == (Decimal(100001), None)
    site.answers("00900001")
    assert site.bus.asked == ["heat"]
    assert site.energy() == (Decimal(900001), None)


def test_damage_that_passed_its_checksum_never_shows(site: Site) -> None:
    site.answers("00100000")
    site.answers("00100001")
    site.answers("00900001")
    site.answers("00100001")
    assert site.energy() == (Decimal(100001), None)


def test_a_doubt_about_a_meter_that_shall_be_left_alone_is_settled_when_its_gap_is_over(
    site: Site,
) -> None:
    site.answers("00100000")
    site.answers("00100001")
    site.bus.gap = 600.0
    site.answers("00900001")
    assert site.bus.asked == ["heat"]  # the schedule has it wait
    assert site.energy() == (Decimal(100001), None)
    site.now += 600.0
    site.answers("00900001")
    assert site.energy() == (Decimal(900001), None)
    assert site.bus.asked == ["heat"]


def test_a_battery_meter_on_a_suspect_line_is_not_read_at_each_gap_for_ever(site: Site) -> None:
    site.bus.suspect, site.bus.gap = True, 900.0
    turns = 40
    for number in range(turns):
        before = len(site.bus.asked)
        site.answers(f"{100000 + number * 7:08d}")
        while len(site.bus.asked) > before:  # what the schedule does with it
            before = len(site.bus.asked)
            site.answers(f"{100000 + number * 7:08d}")
    assert len(site.bus.asked) <= 2 * turns
    assert site.energy() == (Decimal(100000 + 7 * (turns - 1)), None)


def test_a_doubt_ends_in_a_fault_where_the_meter_falls_silent(site: Site) -> None:
    site.answers("00100000")
    site.answers("00100001")
    site.answers("00900001")
    site.readings.meter_failed("heat", Failure(FailureKind.NO_ANSWER), 1e9 + site.now)
    assert site.energy() == (Decimal(100001), Fault.NO_ANSWER)


def test_a_doubt_waits_while_the_meter_has_nothing_to_send(site: Site) -> None:
    site.answers("00100000")
    site.answers("00100001")
    site.answers("00900001")
    site.readings.meter_failed("heat", Failure(FailureKind.BUSY), 1e9 + site.now)
    assert site.energy() == (Decimal(100001), None)
    site.answers("00900001")
    assert site.energy() == (Decimal(900001), None)


def test_on_a_suspect_line_nothing_new_is_believed_before_it_comes_twice(site: Site) -> None:
    site.bus.suspect = True
    site.answers("00100000")
    assert site.bus.asked == ["heat"]
    assert "heat.energy" not in site.store.points or site.energy()[1] is Fault.NEVER_READ
    for _ in range(3):
        site.answers("00100000")
    assert site.energy() == (Decimal(100000), None)
    asked = len(site.bus.asked)
    site.answers("00100000")  # it has not moved: nothing to doubt
    assert len(site.bus.asked) == asked


def test_a_meter_that_never_says_the_same_is_not_asked_for_ever(site: Site) -> None:
    site.bus.suspect = True
    for number in range(40):
        site.answers(f"{number * 7919 % 90000000:08d}")
    # Its own turns are among the forty.
    assert len(site.bus.asked) < 40
    assert MOST_SECOND_READS < 10


def test_who_was_removed_may_still_answer(site: Site) -> None:
    site.answers("00100000")
    site.readings.remove("heat")
    site.answers("00100001")
    site.readings.meter_failed("heat", Failure(FailureKind.NO_ANSWER), 1e9)
    assert list(site.store.points) == []
    assert list(site.readings) == []


def test_how_long_ago_a_meter_was_read_is_by_the_wall_clock() -> None:
    store, ledger, wall = Store(), Ledger(None), [1e9]
    readings = Readings(store, ledger, monotonic=lambda: 0.0, wall_clock=lambda: wall[0])
    readings.attach("cellar", Bus())
    readings.add(MeterPlan("heat", "", max_age=900.0), "cellar", "5")
    assert readings.read_ago("heat") is None
    readings.meter_answered("heat", answer("00100000"), 1e9)
    wall[0] += 30.0
    assert readings.read_ago("heat") == 30.0
    wall[0] -= 60.0
    assert readings.read_ago("heat") is None
    ledger.close()
