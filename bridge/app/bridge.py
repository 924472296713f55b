"""The bridge itself: segments are polled, points take what comes, the BACnet device shows it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

from bridge.app.health import Health
from bridge.app.objects import planned_objects
from bridge.app.plan import meter_plan, meter_settings, meters_of, segment_settings
from bridge.app.readings import FirstRound, Readings
from bridge.bacnet.server import BacnetDevice, DeviceSettings, ForeignSettings
from bridge.config.model import Bus, Site
from bridge.errors import BridgeError
from bridge.points.history import HISTORY_FILE, History
from bridge.points.ledger import Ledger, LedgerError
from bridge.points.plan import MeterPlan
from bridge.points.reading import Fault
from bridge.points.store import Store
from bridge.polling.engine import Segment
from bridge.polling.settings import MeterSettings, SegmentSettings
from bridge.transport import Transport, make_transport

log = logging.getLogger(__name__)

# How often values are looked at for their age, in seconds: the most by which one is late in fault.
AGE_CHECK = 1.0

# Seconds until a bus whose polling has ended in an error is polled again.
RESTART_PAUSE = 10.0

# How often the ledger is brought to the disk, in seconds: what a power cut takes at most.
LEDGER_SYNC = 3.0

# How many new objects before the youngest are looked through for garbage, and how many such looks
# before the older ones are. There is little garbage that is not freed at once.
GC_THRESHOLD = (20_000, 50, 100)

LEDGER_FILE = "ledger.sqlite"


class StateError(BridgeError):
    """The folder for what must survive a restart cannot be used."""


class ReloadError(BridgeError):
    """A changed configuration cannot be applied; the one from before goes on."""


class _Changes(NamedTuple):
    """Meters, by what a changed configuration does to them; some have other points then."""

    removed: list[str]
    changed: list[str]
    added: list[str]
    of_points: list[str]

    def said(self) -> list[str]:
        named = (("removed", self.removed), ("changed", self.changed), ("added", self.added))
        return [f"meter {name} {what}" for what, names in named for name in names]


class Bridge:
    """One site at work. Belongs to the event loop that starts it."""

    def __init__(self, site: Site, *, state: Path | None) -> None:
        """Plan everything; open nothing but the ledger and the history.

        Args:
            site: the configuration.
            state: folder for what must survive a restart; made where it is missing. None keeps it
                in memory, which suits a demonstration.

        Raises:
            KeyTextError: the key of a meter cannot be read.
            LedgerError: the ledger cannot be used.
            StateError: the folder cannot be used, or another bridge uses it.
        """
        self.site = site
        self._state = state
        self._segments: dict[str, Segment] = {}
        # What each segment was last told to be; it takes that over when its turn has ended.
        self._told: dict[str, tuple[SegmentSettings, list[MeterSettings]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._died: asyncio.Future[None] | None = None
        self.on_first_round: Callable[[FirstRound], None] | None = None  # every meter was heard of
        with ExitStack() as resources:
            if state is not None:
                resources.enter_context(_lock(state))
            self._ledger = Ledger(None if state is None else state / LEDGER_FILE)
            resources.callback(self._ledger.close)
            self._history = History(
                None if state is None else state / HISTORY_FILE,
                keep=site.history.keep,
                max_size=site.history.max_size,
            )
            resources.callback(self._history.close)
            self.store = Store(self._history)
            self.readings = Readings(self.store, self._ledger)
            self.readings.on_first_round = self._settled
            self._build(site)
            self._resources = resources.pop_all()

    def _build(self, site: Site) -> None:
        for bus_name, bus in site.buses.items():
            self._add_segment(segment_settings(bus_name, bus), _meters(bus))
        with self._ledger.transaction():
            for bus_name, name, bus, meter in meters_of(site):
                self.readings.add(meter_plan(name, bus, meter), bus_name, meter.where)
        for segment in self._segments.values():
            self._tell_when_read(segment)
        self.device = BacnetDevice(_device_settings(site), self.store, self._ledger)
        self.health = Health(self._segments, self._history, self.readings.doubts)

    async def start(self) -> None:
        """Bring up the BACnet device, then begin to poll.

        Raises:
            BridgeError: the device's address or port cannot be had.
        """
        self._died = asyncio.get_running_loop().create_future()
        try:
            await self.device.start()
        except BaseException:
            await self.stop()
            raise
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLD)
        for name, segment in self._segments.items():
            self._begin(f"bus {name}", _keep_running(segment))
        self._begin("age", self._watch_age())
        self._begin("health", self.health.run())
        self._begin("ledger", self._sync_ledger())

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, having started; then end cleanly."""
        assert self._died is not None, "start comes first"
        stopping: asyncio.Future[Any] = asyncio.create_task(stop.wait(), name="stop")
        try:
            await asyncio.wait({stopping, self._died}, return_when=asyncio.FIRST_COMPLETED)
            if self._died.done():
                self._died.result()
        finally:
            stopping.cancel()
            await self.stop()

    async def stop(self) -> None:
        """End polling, close the ports, take the device off the network."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.device.stop()
        self.health.keep()
        self._resources.close()

    async def reload(self, site: Site) -> list[str]:
        """Go on by a changed configuration, without disturbing what is the same in it.

        Args:
            site: checked already.

        Returns:
            What was changed, in words.

        Raises:
            ReloadError: it cannot be applied; nothing was changed.
        """
        try:
            # Everything that may be refused is refused here, on a copy.
            planned_objects(site, Ledger.copy_of(self._ledger.path))
            meters = {name: _meters(bus) for name, bus in site.buses.items()}
        except BridgeError as error:
            raise ReloadError(str(error)) from error
        if site.state != self.site.state and self._state is not None:
            raise ReloadError(
                f"state: is another folder now ({site.state}); that takes a new start"
            )
        said: list[str] = []
        await self._change_device(site, said)
        self._history.set_limits(keep=site.history.keep, max_size=site.history.max_size)
        gone = self._segments.keys() - site.buses.keys()
        for name in gone:
            await self._end_segment(name)
            said.append(f"bus {name} removed")
        # From here to the end nothing waits: no answer comes between the points and the buses.
        changes = self._change_meters(site)
        said += changes.said()
        for name in gone:
            self.readings.detach(name)
        for name, bus in site.buses.items():
            self._change_segment(segment_settings(name, bus), meters[name], changes, said)
        self.site = site
        return said

    def _change_segment(
        self,
        settings: SegmentSettings,
        meters: list[MeterSettings],
        changes: _Changes,
        said: list[str],
    ) -> None:
        name = settings.name
        names = {meter.name for meter in meters}
        segment = self._segments.get(name)
        if segment is None:
            segment = self._add_segment(settings, meters)
            self._tell_when_read(segment)
            self._begin(f"bus {name}", _keep_running(segment))
            said.append(f"bus {name} added")
            return
        before, told = self._told[name]
        due = names & set(changes.of_points)
        if (settings, meters) == (before, told) and not due:
            return
        new = names - {meter.name for meter in told}
        transport = _transport(settings) if settings.line != before.line else None
        segment.apply(settings, meters, transport, due=due, heard=self._read_ago(new))
        if (settings, meters) != (before, told):
            said.append(f"bus {name} changed")
        self._told[name] = settings, meters

    def _tell_when_read(self, segment: Segment) -> None:
        """Of a segment that has not run yet: minimum gaps count from the last readout."""
        for meter, ago in self._read_ago([each.name for each in segment.meters]).items():
            segment.heard(meter, ago)

    def _read_ago(self, meters: Collection[str]) -> dict[str, float]:
        """How long ago meters were read, as far as they were."""
        agos = {name: self.readings.read_ago(name) for name in meters}
        return {name: ago for name, ago in agos.items() if ago is not None}

    async def _change_device(self, site: Site, said: list[str]) -> None:
        settings = _device_settings(site)
        if settings == _device_settings(self.site):
            return
        old = self.device
        await old.stop()
        device = BacnetDevice(settings, self.store, self._ledger)
        try:
            await device.start()
        except BridgeError as error:
            await old.start()
            raise ReloadError(f"the BACnet device cannot be changed: {error}") from error
        self.device = device
        said.append("BACnet device changed; who had subscribed must do so again")

    def _change_meters(self, site: Site) -> _Changes:
        """Take meters away, and offer others; points that are the same are not touched."""
        plans = {
            name: (meter_plan(name, bus, meter), bus_name, meter.where)
            for bus_name, name, bus, meter in meters_of(site)
        }
        before = {
            name: (self.readings.plan_of(name), *self.readings.place_of(name))
            for name in self.readings
        }
        changes = _Changes(
            removed=[name for name in before if name not in plans],
            changed=[name for name in plans if name in before and plans[name] != before[name]],
            added=[name for name in plans if name not in before],
            of_points=[
                name
                for name in plans
                if name in before and _points(plans[name][0]) != _points(before[name][0])
            ],
        )
        try:
            with self.store.replacing(), self._ledger.transaction():
                for name in (*changes.removed, *changes.changed):
                    self.readings.remove(name)
                for name in (*changes.changed, *changes.added):
                    self.readings.add(*plans[name], first_round=False)
        except LedgerError as error:
            # What is offered stays so; the ledger takes it when it can be written again.
            log.error("%s", error)
        return changes

    def _add_segment(self, settings: SegmentSettings, meters: list[MeterSettings]) -> Segment:
        segment = Segment(settings, meters, self.readings, transport=_transport(settings))
        self._segments[settings.name] = segment
        self._told[settings.name] = settings, meters
        self.readings.attach(settings.name, segment)
        return segment

    async def _end_segment(self, name: str) -> None:
        task = self._tasks.pop(f"bus {name}")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del self._segments[name], self._told[name]

    def faults(self) -> Counter[Fault]:
        """How many of the meters' values are in fault now, by the reason."""
        return self.readings.faults()

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = self._tasks[name] = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """No task of ours ends by itself. Better to end than to run on without one."""
        if task.cancelled() or self._died is None or self._died.done():
            return
        error = task.exception()
        if error is None:
            error = BridgeError(f"the task {task.get_name()!r} ended by itself")
        self._died.set_exception(error)

    def _settled(self, first: FirstRound) -> None:
        # What there is now stays for years. Looked through for garbage again and again, the objects
        # of 4 000 meters held up the event loop for 0.8 s each time.
        gc.freeze()
        if self.on_first_round is not None:
            self.on_first_round(first)

    async def _sync_ledger(self) -> None:
        while True:
            await asyncio.sleep(LEDGER_SYNC)
            self._ledger.try_to_return()
            await asyncio.to_thread(self._ledger.sync)

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(AGE_CHECK)
            self.readings.expire()


async def _keep_running(segment: Segment) -> None:
    """Poll a bus; should that end in a mistake of ours, begin anew, and let the others be."""
    while True:
        try:
            await segment.run()
        except Exception:
            log.exception("%s: polling has ended in an error", segment.settings.name)
        await asyncio.sleep(RESTART_PAUSE)


def _points(plan: MeterPlan) -> tuple[object, ...]:
    return plan.points, plan.all_storages


def _meters(bus: Bus) -> list[MeterSettings]:
    return [meter_settings(name, bus, meter) for name, meter in bus.meters.items()]


def _transport(settings: SegmentSettings) -> Transport:
    return make_transport(settings.port, baudrate=settings.baudrate, parity=settings.parity)


# A folder that was written before, and cannot be now for such a reason, is served all the same.
_UNWRITABLE = frozenset(
    {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EPERM}
)


def _lock(state: Path) -> IO[bytes]:
    """Make the folder, and keep every other bridge out of it for as long as the file is open."""
    path = state / "lock"
    lock: IO[bytes]
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = path.open("ab")
    except FileExistsError as error:
        raise StateError(
            f"{state}: there is a file where the folder for the bridge's state belongs; move it "
            "away, or name another place in the configuration, state:"
        ) from error
    except OSError as error:
        if error.errno not in _UNWRITABLE or not os.access(state / LEDGER_FILE, os.R_OK):
            raise StateError(
                f"{state}: the folder for the bridge's state cannot be used ({error.strerror}); "
                "give the user that runs the bridge the right to write there, or name another "
                "place in the configuration, state:"
            ) from error
        try:
            lock = path.open("rb")  # a lock needs no right to write
        except OSError:
            log.error(
                "%s: no lock can be made there (%s): nothing keeps a second bridge out of it",
                state,
                error.strerror,
            )
            return Path(os.devnull).open("rb")
    try:
        # The kernel lets go of it whatever ends the process.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StateError(
            f"{state}: another bridge runs with this state; end it first, or give each its own "
            "(state: in the configuration)"
        ) from error
    return lock


def _device_settings(site: Site) -> DeviceSettings:
    foreign = site.bacnet.foreign
    return DeviceSettings(
        instance=site.device.instance,
        name=site.device.name,
        location=site.device.location,
        description=site.device.description,
        address=site.bacnet.address,
        port=site.bacnet.port,
        foreign=ForeignSettings(foreign.bbmd, foreign.ttl) if foreign is not None else None,
    )
