"""Rules about how and when meters are read."""

from __future__ import annotations

from bridge.config.errors import Path
from bridge.config.model import Bus, Meter, Site
from bridge.config.templates import names, template
from bridge.config.tree import Source
from bridge.config.values import CONTINUOUS, format_duration
from bridge.config.ways import Priority, Step, WakeUp

# What most makers size the batteries of these for, in seconds between two readouts.
_BATTERY_GAP = 900.0
# EN 13757-3, device types of meters that have no other supply.
_ON_BATTERY = {
    "03": "gas meter",
    "06": "water meter",
    "07": "water meter",
    "08": "heat cost allocator",
    "15": "water meter",
    "16": "water meter",
}


def check_ways(site: Site, source: Source) -> None:
    """Note what is wrong or doubtful in how the meters of a site are read."""
    for bus_name, bus in (site.buses or {}).items():
        path: Path = ("buses", bus_name)
        _check_wake_up(bus, bus.wake_up, path, source)
        _check_priority(bus, path, source)
        _check_billing(site, bus, path, source)
        for name, meter in bus.meters.items():
            here = (*path, "meters", name)
            _check_baudrate(bus, meter, here, source)
            _check_wake_up(bus, meter.wake_up, here, source)
            _check_nke(meter, here, source)
            _check_raw(meter, here, source)
            _check_gap(bus, meter, here, source)
            _check_battery(bus, meter, here, source)


def _check_baudrate(bus: Bus, meter: Meter, path: Path, source: Source) -> None:
    port = (*path[:2], "port")
    if bus.port is None or source.is_broken(port) or not bus.is_transparent:
        return
    if meter.baudrate is not None and meter.baudrate != bus.baudrate:
        source.error(
            (*path, "baudrate"),
            f"{bus.port} is a transparent gateway, whose baud rate cannot be changed for one meter",
            "remove it, and set the meter to the rate of its bus; or reach the bus by "
            "rfc2217://host:port, if the gateway knows that, or by a serial port",
        )


def _check_wake_up(bus: Bus, wake_up: object, path: Path, source: Source) -> None:
    here = (*path, "wake_up", "parity")
    if (
        isinstance(wake_up, WakeUp)
        and bus.port is not None
        and not source.is_broken((*path[:2], "port"))
        and bus.is_transparent
        and source.has(here)
        and wake_up.parity is not bus.parity
    ):
        source.warn(
            here,
            f"{bus.port} is a transparent gateway, which sends everything with a parity of its own",
            "remove it, or reach the bus by rfc2217://host:port, if the gateway knows that, or by "
            "a serial port",
        )


def _check_nke(meter: Meter, path: Path, source: Source) -> None:
    if meter.secondary is not None and source.has((*path, "nke")):
        source.warn(
            (*path, "nke"),
            "a meter with a secondary address is selected, and gets no SND_NKE",
            "remove it; timeout, tries and pause hold for the selection too",
        )


def _check_raw(meter: Meter, path: Path, source: Source) -> None:
    """Warn of frames in which a digit is wrong: nobody would answer them, or say why."""
    for place, each in enumerate(meter.before):
        content = _frame_content(each.data) if each.step is Step.RAW else None
        if content is None or (right := sum(content) & 0xFF) == each.data[-2]:
            continue
        source.warn(
            (*path, "before", place) if source.has((*path, "before")) else (*path, "model"),
            f"{each.data.hex().upper()} is a frame with the checksum {each.data[-2]:02X}, but its "
            f"bytes add up to {right:02X}",
            f"correct the byte that is wrong, or end it with {right:02X}16",
        )


def _frame_content(data: bytes) -> bytes | None:
    """What the checksum of a frame is about (EN 13757-2, 5.4); None where these bytes are none."""
    if len(data) == 5 and data[0] == 0x10 and data[4] == 0x16:
        return data[1:3]
    if len(data) >= 9 and data[0] == data[3] == 0x68 and data[-1] == 0x16:
        return data[4:-2] if data[1] == data[2] == len(data) - 6 else None
    return None


def _check_gap(bus: Bus, meter: Meter, path: Path, source: Source) -> None:
    every, gap = bus.every_of(meter), bus.min_gap_of(meter)
    if every == CONTINUOUS or gap <= every or is_interval_broken(meter, path, source):
        return
    # Say it where it was written: the template's gap is the reason last of all.
    own = [key for key in ("min_gap", "every", "model") if source.has((*path, key))]
    if meter.min_gap is not None and own:
        place = (*path, own[0])
    elif meter.every is not None:
        place = (*path, "every")
    else:
        place = (*path[:2], "min_gap")
    source.warn(
        place,
        f"what is to be read every {format_duration(every)} is read every "
        f"{format_duration(gap)}: min_gap is longer",
        f"write every: {format_duration(gap)}, or a shorter min_gap",
    )


def _check_battery(bus: Bus, meter: Meter, path: Path, source: Source) -> None:
    what = _battery_meter(meter)
    interval = bus.interval_of(meter)
    if what is None or bus.min_gap_of(meter) or interval >= _BATTERY_GAP:
        return
    if is_interval_broken(meter, path, source) or source.is_broken((*path, "min_gap")):
        return
    often = "all the time" if interval == CONTINUOUS else f"every {format_duration(interval)}"
    source.warn(
        (*path, "every") if meter.every is not None else path,
        f"a {what} that is read {often} may use up its battery, or answer no more",
        "write min_gap: 15m, or the shortest time that its maker allows",
    )


def _battery_meter(meter: Meter) -> str | None:
    """What a meter is that lives on its battery; None where it does not, or nobody knows."""
    if meter.secondary is not None and "-" in meter.secondary:
        return _ON_BATTERY.get(meter.secondary.rpartition("-")[2])
    if meter.model not in names():
        return None
    found = {_ON_BATTERY.get(each) for each in template(meter.model or "").device_types}
    return found.pop() if len(found) == 1 else None


def _check_priority(bus: Bus, path: Path, source: Source) -> None:
    meters = bus.meters.values()
    if len(meters) < 2 or any(meter.priority is not Priority.HIGH for meter in meters):
        return
    source.warn(
        (*path, "meters", next(iter(bus.meters)), "priority"),
        f"all meters of {path[1]} have a high priority, so that none goes before another",
        "keep it for the few that must be read in time",
    )


def _check_billing(site: Site, bus: Bus, path: Path, source: Source) -> None:
    billing = bus.billing
    if billing is None or source.is_broken((*path, "billing")):
        return
    history = site.history
    if history is not None and history.keep == 0 and not source.is_broken(("history", "keep")):
        source.warn(
            (*path, "billing"),
            "readings for billing are not kept: history has keep: 0s",
            "write history: {keep: 400d}, unless the BMS keeps them",
        )
    if billing.freeze == "none" or any(_may_offer_stored(meter) for meter in bus.meters.values()):
        return
    if bus.meters:
        source.warn(
            (*path, "billing"),
            f"the meters of {path[1]} are told to keep their counters under storage 1, and no "
            "point offers it",
            "write points: all, or a point with storage: 1; or freeze: none to read them alone",
        )


def _may_offer_stored(meter: Meter) -> bool:
    if isinstance(meter.points, str):
        return meter.points == "all"
    return any(
        point.storage or point.dif is not None or point.record is not None
        for point in meter.points.values()
    )


def is_interval_broken(meter: Meter, path: Path, source: Source) -> bool:
    """Whether nobody knows how often a meter is to be read, since what says so is wrong."""
    own = source.is_broken((*path, "every"))
    return own or (meter.every is None and source.is_broken((*path[:2], "every")))
