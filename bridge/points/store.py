"""The last reading of each point, and who hears of a change."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Protocol

from bridge.errors import BridgeError
from bridge.points.reading import KEPT_FAULTS, NEVER_READ, Fault, Point, Reading

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


class Keeper(Protocol):
    """Remembers readings across restarts; `bridge.points.history.History` does."""

    def last(self, point: Point) -> Reading | None:
        """The last good reading of an earlier run, exactly; None where there is none."""

    def keep(self, meter: str, readings: Mapping[str, Reading]) -> None:
        """Write down the good readings of one answer, by the full names of their points.

        They are on record when this returns: whoever hears of them afterwards has seen nothing
        that the end of the process could take back.
        """


def _tell_removed(point: Point, watcher: Watcher) -> None:
    watcher.point_removed(point)


class Store:
    """All points of the device. Belongs to one event loop; nothing here waits."""

    def __init__(self, keeper: Keeper | None = None) -> None:
        """A store without points.

        Args:
            keeper: remembers readings across restarts; None where that is not wanted. Whatever
                fails in it is logged, and keeps no reading from being served.
        """
        self.keeper_errors = 0  # calls of the keeper that failed, since the start
        self._keeper = keeper
        self._keeper_error: str | None = None  # as the log has told it
        self._points: dict[str, Point] = {}
        self._readings: dict[str, Reading] = {}
        self._watchers: list[Watcher] = []
        self._parked: dict[str, tuple[Point, Reading]] | None = None

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

        Args:
            point: the point.
            reading: what is known of it. Where it was never read, an earlier run may have.

        Raises:
            DuplicatePointError: the name is taken.
        """
        if point.name in self._points:
            raise DuplicatePointError(point.name)
        parked = None if self._parked is None else self._parked.pop(point.name, None)
        if parked is not None and parked[0] == point:
            self._points[point.name], self._readings[point.name] = parked
            return
        if parked is not None:
            self._tell(partial(_tell_removed, parked[0]))
        earlier = self._last(point)
        if earlier is not None and reading == NEVER_READ:
            reading = earlier
        self._points[point.name] = point
        self._readings[point.name] = reading
        self._tell(lambda watcher: watcher.point_added(point, reading))

    def remove(self, name: str) -> None:
        """Offer a point no more.

        Raises:
            KeyError: there is no such point.
        """
        point, reading = self._points.pop(name), self._readings.pop(name)
        if self._parked is not None:
            self._parked[name] = point, reading
            return
        self._tell(partial(_tell_removed, point))

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """A point that is removed inside, and added again as it was, was never away.

        It keeps its reading, faults and all, and no watcher hears of it.
        """
        parked = self._parked = {}
        try:
            yield
        finally:
            self._parked = None
            for point, _ in parked.values():
                self._tell(partial(_tell_removed, point))

    def put(self, name: str, reading: Reading) -> None:
        """Take a new reading, good or not."""
        if self._readings[name] == reading:
            return
        self._readings[name] = reading
        point = self._points[name]
        self._tell(lambda watcher: watcher.reading_changed(point, reading))

    def put_all(self, meter: str, readings: Mapping[str, Reading], at: float) -> None:
        """Take the readings of one answer: the good ones are on record before anybody hears.

        So are those that came with a fault of `KEPT_FAULTS`.

        Args:
            meter: whose answer it is.
            readings: by the full names of points, good or not.
            at: wall-clock time of the answer, seconds since 1970.
        """
        kept = {
            name: reading
            for name, reading in readings.items()
            if reading.fault is None or reading.fault in KEPT_FAULTS
        }
        if kept:
            self._keep(meter, kept, at)
        for name, reading in readings.items():
            self.put(name, reading)

    def _last(self, point: Point) -> Reading | None:
        if self._keeper is None:
            return None
        try:
            return self._keeper.last(point)
        except Exception as error:  # noqa: BLE001 - whatever it is, the point must be offered
            self._keeper_failed(f"what {point.name} was last", error)
            return None

    def _keep(self, meter: str, good: Mapping[str, Reading], at: float) -> None:
        if self._keeper is None:
            return
        try:
            self._keeper.keep(meter, good)
        except Exception as error:  # noqa: BLE001 - whatever it is, the readings must be served
            when = datetime.datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
            self._keeper_failed(f"the readings of {meter} at {when}", error)
            return
        if self._keeper_error is not None:
            log.warning("readings are kept again (it was: %s)", self._keeper_error)
            self._keeper_error = None

    def _keeper_failed(self, what: str, error: Exception) -> None:
        self.keeper_errors += 1
        words = f"{type(error).__name__}: {error}"
        if words == self._keeper_error:
            return
        self._keeper_error = words
        log.error(
            "%s could not be kept (%s); readings are served all the same. This is said once, and "
            "again when it is over",
            what,
            words,
            exc_info=not isinstance(error, BridgeError),
        )

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
