from __future__ import annotations

from decimal import Decimal

import pytest

from bridge.points.reading import NEVER_READ, Fault, Kind, Point, Reading
from bridge.points.store import DuplicatePointError, Store

ENERGY = Point(name="heat-1.energy", meter="heat-1", kind=Kind.NUMBER, unit="kilowatt-hours")
GOOD = Reading(value=Decimal("45.120"), read_at=1_800_000_000.0, fault=None)


class Heard:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, Reading | None]] = []

    def point_added(self, point: Point, reading: Reading) -> None:
        self.events.append(("added", point.name, reading))

    def point_removed(self, point: Point) -> None:
        self.events.append(("removed", point.name, None))

    def reading_changed(self, point: Point, reading: Reading) -> None:
        self.events.append(("changed", point.name, reading))


def test_a_new_point_was_never_read() -> None:
    store = Store()
    store.add(ENERGY)
    assert store.reading("heat-1.energy") == Reading(None, None, Fault.NEVER_READ)


def test_a_watcher_hears_of_what_was_there_before_it_came() -> None:
    store, heard = Store(), Heard()
    store.add(ENERGY)
    store.watch(heard)
    assert heard.events == [("added", "heat-1.energy", NEVER_READ)]


def test_a_watcher_hears_each_change_once() -> None:
    store, heard = Store(), Heard()
    store.watch(heard)
    store.add(ENERGY)
    store.put("heat-1.energy", GOOD)
    store.put("heat-1.energy", GOOD)
    store.remove("heat-1.energy")
    assert heard.events == [
        ("added", "heat-1.energy", NEVER_READ),
        ("changed", "heat-1.energy", GOOD),
        ("removed", "heat-1.energy", None),
    ]


def test_a_failure_keeps_the_last_good_value_and_its_time() -> None:
    store = Store()
    store.add(ENERGY)
    store.put("heat-1.energy", GOOD)
    store.fail("heat-1.energy", Fault.NO_ANSWER)
    assert store.reading("heat-1.energy") == Reading(GOOD.value, GOOD.read_at, Fault.NO_ANSWER)


def test_who_stops_watching_hears_no_more() -> None:
    store, heard = Store(), Heard()
    store.watch(heard)
    store.unwatch(heard)
    store.add(ENERGY)
    assert heard.events == []


def test_two_points_of_one_name_are_refused() -> None:
    store = Store()
    store.add(ENERGY)
    with pytest.raises(DuplicatePointError, match=r"heat-1\.energy"):
        store.add(ENERGY)
