"""The bridge itself: segments are polled, points take what comes, the BACnet device shows it."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bridge.app.plan import meter_plan, meter_settings, meters_of, segment_settings
from bridge.bacnet.server import BacnetDevice, DeviceSettings, ForeignSettings
from bridge.config.model import Site
from bridge.errors import BridgeError
from bridge.mbus.address import SecondaryAddress
from bridge.mbus.telegram import Telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPoints
from bridge.points.reading import Fault
from bridge.points.store import Store
from bridge.polling.engine import Failure, FailureKind, Segment
from bridge.transport import make_transport

log = logging.getLogger(__name__)

# How often values are looked at for their age, in seconds: the most by which one is late in fault.
AGE_CHECK = 1.0

# Seconds until a bus whose polling has ended in an error is polled again.
RESTART_PAUSE = 10.0

# A connection that is lost within so many seconds, nobody having answered, was never ours.
HELD_BY_ANOTHER = 5.0

LEDGER_FILE = "ledger.sqlite"

_FAULTS = {
    FailureKind.NO_CONNECTION: Fault.NO_CONNECTION,
    FailureKind.NO_ANSWER: Fault.NO_ANSWER,
    FailureKind.DAMAGED: Fault.DAMAGED,
    FailureKind.FOREIGN_METER: Fault.FOREIGN_METER,
    FailureKind.APPLICATION_ERROR: Fault.REFUSED,
    FailureKind.UNREADABLE: Fault.DAMAGED,
    FailureKind.INTERNAL: Fault.INTERNAL,
}

# The meter answered all the same.
_WITHOUT_DATA = {FailureKind.BUSY, FailureKind.APPLICATION_ERROR, FailureKind.UNREADABLE}


class StateError(BridgeError):
    """The folder for what must survive a restart cannot be used."""


@dataclass
class FirstRound:
    """Which meters were heard of since the start, for the message that says so.

    ``answered`` counts those that answered with data.
    """

    waiting: set[str]
    answered: int = 0
    without_data: list[str] = field(default_factory=list)  # answered, and said no values
    failed: list[str] = field(default_factory=list)


class Bridge:
    """One site at work. Belongs to the event loop that starts it."""

    def __init__(self, site: Site, *, state: Path | None) -> None:
        """Plan everything; open nothing but the ledger.

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
        self.store = Store()
        self._meters: dict[str, MeterPoints] = {}
        self._first_round = FirstRound({name for _, name, _, _ in meters_of(site)})
        self._segments: dict[str, Segment] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._places = {name: (bus, meter.where) for bus, name, _, meter in meters_of(site)}
        self._owners: dict[tuple[str, SecondaryAddress], str] = {}  # who answered so, on which bus
        self._twins: set[frozenset[str]] = set()  # pairs that are said to be one meter
        self._connected_at: dict[str, float] = {}  # of each bus, while nobody has answered on it
        self._held: set[str] = set()  # buses that are said to be in other hands
        self.on_first_round: Callable[[FirstRound], None] | None = None
        with ExitStack() as resources:
            if state is not None:
                resources.enter_context(_lock(state))
            ledger = Ledger(None if state is None else state / LEDGER_FILE)
            resources.callback(ledger.close)
            self._build(site, ledger)
            self._resources = resources.pop_all()

    def _build(self, site: Site, ledger: Ledger) -> None:
        for _, name, bus, meter in meters_of(site):
            self._meters[name] = MeterPoints(meter_plan(name, bus, meter), self.store, ledger)
        for bus_name, bus in site.buses.items():
            settings = segment_settings(bus_name, bus)
            self._segments[bus_name] = Segment(
                settings,
                [meter_settings(name, bus, meter) for name, meter in bus.meters.items()],
                self,
                transport=make_transport(
                    settings.port, baudrate=settings.baudrate, parity=settings.parity
                ),
            )
        with ledger.transaction():
            for points in self._meters.values():
                points.offer()
        self.device = BacnetDevice(_device_settings(site), self.store, ledger)

    async def start(self) -> None:
        """Bring up the BACnet device, then begin to poll.

        Raises:
            BridgeError: the device's address or port cannot be had.
        """
        try:
            await self.device.start()
        except BaseException:
            await self.stop()
            raise
        for name, segment in self._segments.items():
            self._tasks.append(asyncio.create_task(_keep_running(segment), name=f"bus {name}"))
        self._tasks.append(asyncio.create_task(self._watch_age(), name="age"))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, having started; then end cleanly."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait(
                {stopping, *self._tasks}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopping}:
                # No task of ours ends by itself. Better to end than to run on without one.
                task.result()
                raise BridgeError(f"the task {task.get_name()!r} ended by itself")
        finally:
            stopping.cancel()
            await self.stop()

    async def stop(self) -> None:
        """End polling, close the ports, take the device off the network."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.device.stop()
        self._resources.close()

    # What the segments tell

    def meter_answered(self, meter: str, telegrams: tuple[Telegram, ...], at: float) -> None:
        new = self._meters[meter].answered(telegrams, at, time.monotonic())
        if new:
            log.info("%s: found %d new points in its answer", meter, len(new))
        log.debug("%s: read, %d records", meter, sum(len(t.records) for t in telegrams))
        self._look_for_twin(meter)
        bus, _ = self._places[meter]
        self._connected_at.pop(bus, None)
        self._held.discard(bus)
        self._heard_of(meter, None)

    def meter_failed(self, meter: str, failure: Failure, at: float) -> None:
        if failure.kind is FailureKind.BUSY:
            # It answers, but has no fresh data now, as battery meters do that are asked too often.
            # What it said last stays good until it is too old.
            self._meters[meter].busy(at)
        else:
            self._meters[meter].failed(_FAULTS[failure.kind], at)
        self._heard_of(meter, failure.kind)

    def segment_changed(self, segment: str, connected: bool, detail: str) -> None:
        """The segment has logged it; its meters hear of it one by one, when their turn comes."""
        now = time.monotonic()
        if connected:
            self._connected_at[segment] = now
            return
        since = self._connected_at.pop(segment, None)
        if since is None or now - since > HELD_BY_ANOTHER or segment in self._held:
            return
        self._held.add(segment)
        log.warning(
            "%s: the connection was lost at once (%s); does another program use the bus, another "
            "bridge perhaps? Most gateways take one client at a time",
            segment,
            detail,
        )

    def faults(self) -> Counter[Fault]:
        """How many of the meters' values are in fault now, by the reason."""
        faults: Counter[Fault] = Counter()
        for points in self._meters.values():
            faults.update(points.faults())
        return faults

    def _look_for_twin(self, meter: str) -> None:
        """Say, once, when two meters of the file turn out to be one on the bus."""
        identity = self._meters[meter].identity
        if identity is None:
            return
        bus, where = self._places[meter]
        other = self._owners.setdefault((bus, identity), meter)
        if other != meter and self._meters[other].identity != identity:
            self._owners[bus, identity] = meter  # the other one was exchanged since
            return
        pair = frozenset((meter, other))
        if other == meter or pair in self._twins:
            return
        self._twins.add(pair)
        log.warning(
            "%s (%s) and %s (%s) answer as one and the same meter, %s; remove one of the two from "
            "the file, or, if these are two meters, give one of them another secondary address",
            other,
            self._places[other][1],
            meter,
            where,
            identity,
        )

    def _heard_of(self, meter: str, failure: FailureKind | None) -> None:
        first = self._first_round
        if meter not in first.waiting:
            return
        first.waiting.discard(meter)
        if failure is None:
            first.answered += 1
        elif failure in _WITHOUT_DATA:
            first.without_data.append(meter)
        else:
            first.failed.append(meter)
        if not first.waiting and self.on_first_round is not None:
            self.on_first_round(first)

    async def _watch_age(self) -> None:
        while True:
            await asyncio.sleep(AGE_CHECK)
            now = time.monotonic()
            for name, points in self._meters.items():
                try:
                    if points.expire(now):
                        log.warning("%s: its values are now too old, and in fault", name)
                except Exception:
                    # The others' values grow old as well, and must be marked.
                    log.exception("%s: an error in the bridge, looking at its age", name)


async def _keep_running(segment: Segment) -> None:
    """Poll a bus; should that end in a mistake of ours, begin anew, and let the others be."""
    while True:
        try:
            await segment.run()
        except Exception:
            log.exception("%s: polling has ended in an error", segment.settings.name)
        await asyncio.sleep(RESTART_PAUSE)


def _lock(state: Path) -> IO[bytes]:
    """Make the folder, and keep every other bridge out of it for as long as the file is open."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("ab")
    except FileExistsError as error:
        raise StateError(
            f"{state}: there is a file where the folder for the bridge's state belongs; move it "
            "away, or name another place in the configuration, state:"
        ) from error
    except OSError as error:
        raise StateError(
            f"{state}: the folder for the bridge's state cannot be used ({error.strerror}); give "
            "the user that runs the bridge the right to write there, or name another place in the "
            "configuration, state:"
        ) from error
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
