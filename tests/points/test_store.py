from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest

from bridge.errors import BridgeError
from bridge.points.history import History
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


class Memory:
    """A keeper that notes what it was asked, among what watchers heard."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.earlier: dict[str, Reading] = {}
        self.error: Exception | None = None

    def last(self, point: Point) -> Reading | None:
        if self.error is not None:
            raise self.error
        return self.earlier.get(point.name)

    def keep(self, meter: str, readings: Mapping[str, Reading]) -> None:
        if self.error is not None:
            raise self.error
        self.heard.events += [("kept", name, reading) for name, reading in readings.items()]


POWER = replace(ENERGY, name="heat-1.power", unit="kilowatts")


def test_readings_are_kept_before_anybody_hears_of_them() -> None:
    heard = Heard()
    store = Store(Memory(heard))
    store.add(ENERGY)
    store.add(POWER)
    store.watch(heard)
    heard.events.clear()
    bad = Reading(None, None, Fault.RECORD_MISSING)
    store.put_all("heat-1", {"heat-1.energy": GOOD, "heat-1.power": bad}, 1_800_000_000.0)
    assert heard.events == [
        ("kept", "heat-1.energy", GOOD),
        ("changed", "heat-1.energy", GOOD),
        ("changed", "heat-1.power", bad),
    ]


def test_what_was_read_before_is_there_again_but_never_before_what_is_known() -> None:
    memory = Memory(Heard())
    memory.earlier["heat-1.energy"] = GOOD
    store = Store(memory)
    store.add(ENERGY)
    assert store.reading("heat-1.energy") == GOOD
    store.remove("heat-1.energy")
    known = Reading(Decimal(1), 1.0, Fault.TOO_OLD)
    store.add(ENERGY, known)
    assert store.reading("heat-1.energy") == known


def test_an_error_of_the_keeper_is_said_once_counted_and_keeps_nothing_from_being_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory(Heard())
    store = Store(memory)
    memory.error = BridgeError("no room")
    store.add(ENERGY)
    assert store.reading("heat-1.energy") == NEVER_READ
    for number in range(3):
        reading = replace(GOOD, value=Decimal(number))
        store.put_all("heat-1", {"heat-1.energy": reading}, 1_800_000_000.0)
        assert store.reading("heat-1.energy") == reading
    memory.error = ValueError("another")
    store.put_all("heat-1", {"heat-1.energy": GOOD}, 1_800_000_000.0)
    memory.error = None
    store.put_all("heat-1", {"heat-1.energy": GOOD}, 1_800_000_000.0)
    store.put_all("heat-1", {"heat-1.energy": GOOD}, 1_800_000_000.0)
    assert store.keeper_errors == 5
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert "no room" in said[0]
    assert "ValueError: another" in said[1]
    assert said[2].startswith("readings are kept again")


def test_two_points_of_one_name_are_refused() -> None:
    store = Store()
    store.add(ENERGY)
    with pytest.raises(DuplicatePointError, match=r"heat-1\.energy"):
        store.add(ENERGY)


def test_what_is_taken_away_and_put_back_as_it_was_was_never_away() -> None:
    store, heard = Store(), Heard()
    store.add(ENERGY)
    store.put(ENERGY.name, GOOD)
    store.fail(ENERGY.name, Fault.NO_ANSWER)
    store.watch(heard)
    heard.events.clear()
    with store.replacing():
        store.remove(ENERGY.name)
        assert ENERGY.name not in store.points
        store.add(ENERGY)
    assert heard.events == []
    assert store.reading(ENERGY.name) == Reading(GOOD.value, GOOD.read_at, Fault.NO_ANSWER)


def test_what_comes_back_as_another_is_another() -> None:
    store, heard = Store(), Heard()
    store.add(ENERGY)
    store.put(ENERGY.name, GOOD)
    store.watch(heard)
    heard.events.clear()
    with store.replacing():
        store.remove(ENERGY.name)
        store.add(replace(ENERGY, origin="another record"))
    assert heard.events == [("removed", ENERGY.name, None), ("added", ENERGY.name, NEVER_READ)]


def test_what_does_not_come_back_is_gone_also_where_something_fails() -> None:
    store, heard = Store(), Heard()
    store.add(ENERGY)
    store.watch(heard)
    heard.events.clear()
    with pytest.raises(KeyError), store.replacing():
        _remove_twice(store)
    assert heard.events == [("removed", ENERGY.name, None)]
    store.add(ENERGY)
    store.remove(ENERGY.name)
    assert heard.events[-1] == ("removed", ENERGY.name, None)


def _remove_twice(store: Store) -> None:
    store.remove(ENERGY.name)
    store.remove(ENERGY.name)


def test_a_value_that_came_with_an_error_of_the_meter_is_kept_and_one_in_doubt_is_not() -> None:
    history = History(None)
    store = Store(history)
    ill = replace(GOOD, fault=Fault.METER_ERROR)
    points = [Point(f"heat-1.{name}", "heat-1", Kind.NUMBER) for name in ("energy", "power")]
    for point in points:
        store.add(point)
    doubted = replace(GOOD, fault=Fault.DOUBTED)
    store.put_all("heat-1", {"heat-1.energy": ill, "heat-1.power": doubted}, 1_800_000_000.0)
    again = Store(history)
    for point in points:
        again.add(point)
    assert again.reading("heat-1.energy") == ill
    assert again.reading("heat-1.power") == NEVER_READ
    history.close()
