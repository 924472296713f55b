"""The last reading of each point, and who hears of a change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from bridge.errors import BridgeError
from bridge.points.reading import NEVER_READ, Fault, Point, Reading

log = logging.getLogger(__name__)


class DuplicatePointError(BridgeError):
    """Two points would have one name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is a point {name} already")
        self.name = name


class Watcher(Protocol):
    """Hears what happens in a `Store`, at once and in order, in the caller's task."""

    def point_added(self, point: Point, reading: Reading) -> None: ...

    def point_removed(self, point: Point) -> None: ...

    def reading_changed(self, point: Point, reading: Reading) -> None: ...


class Store:
    """All points of the device. Belongs to one event loop; nothing here waits."""

    def __init__(self) -> None:
        self._points: dict[str, Point] = {}
        self._readings: dict[str, Reading] = {}
        self._watchers: list[Watcher] = []

    @property
    def points(self) -> Mapping[str, Point]:
        return MappingProxyType(self._points)

    def __iter__(self) -> Iterator[tuple[Point, Reading]]:
        for name, point in self._points.items():
            yield point, self._readings[name]

    def reading(self, name: str) -> Reading:
        return self._readings[name]

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of all points there are, and from now on of every change."""
        self._watchers.append(watcher)
        for point, reading in self:
            watcher.point_added(point, reading)

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.remove(watcher)

    def add(self, point: Point, reading: Reading = NEVER_READ) -> None:
        """Offer a point from now on.

        Raises:
            DuplicatePointError: the name is taken.
        """
        if point.name in self._points:
            raise DuplicatePointError(point.name)
        self._points[point.name] = point
        self._readings[point.name] = reading
        self._tell(lambda watcher: watcher.point_added(point, reading))

    def remove(self, name: str) -> None:
        point = self._points.pop(name)
        del self._readings[name]
        self._tell(lambda watcher: watcher.point_removed(point))

    def put(self, name: str, reading: Reading) -> None:
        """Take a new reading, good or not."""
        if self._readings[name] == reading:
            return
        self._readings[name] = reading
        point = self._points[name]
        self._tell(lambda watcher: watcher.reading_changed(point, reading))

    def _tell(self, what: Callable[[Watcher], None]) -> None:
        for watcher in self._watchers:
            try:
                what(watcher)
            except Exception:
                # The next point's reading must be taken all the same: left out, it would stay
                # what it was, and look fresh.
                log.exception("a watcher of the points failed")

    def fail(self, name: str, fault: Fault) -> None:
        """Mark a point's reading as not to be trusted; the last good value stays."""
        self.put(name, replace(self._readings[name], fault=fault))
