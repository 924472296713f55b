"""Rules across the file: what each key allows by itself, and the whole does not."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from ipaddress import IPv4Interface
from pathlib import Path
from typing import NamedTuple

from bridge.config.check_ways import check_ways, is_interval_broken
from bridge.config.errors import Path as KeyPath
from bridge.config.errors import quoted
from bridge.config.keys import KeyTextError, parse_key
from bridge.config.model import SELECTING, Bus, Key, Meter, Point, Site
from bridge.config.templates import names, template
from bridge.config.timing import ask_time, cycle_time
from bridge.config.tree import Source
from bridge.config.values import CONTINUOUS, ObjectType, format_duration
from bridge.units import NO_UNITS, OFFERED, Quantity, default_unit

# Points that the bridge makes for every meter.
RESERVED_POINTS = ("answering", "last-read", "secondary-address", "read-now", "status")

# EN 13757-2: a level converter is built for up to so many unit loads.
_UNIT_LOADS = 250

# Quantities that only grow, and units in which eight digits of them are soon needed.
_COUNTERS = frozenset(
    {
        Quantity.ENERGY,
        Quantity.VOLUME,
        Quantity.MASS,
        Quantity.REACTIVE_ENERGY,
        Quantity.APPARENT_ENERGY,
    }
)
_FINE_UNITS = {
    "watt-hours": "kilowatt-hours",
    "joules": "megajoules",
    "kilojoules": "megajoules",
    "liters": "cubic-meters",
    "milliliters": "cubic-meters",
    "grams": "kilograms",
    "volt-ampere-hours-reactive": "kilovolt-ampere-hours-reactive",
    "volt-ampere-hours": "kilovolt-ampere-hours",
}
# Quantities that an accumulator cannot count: they fall as well.
_COUNTABLE = _COUNTERS | {
    Quantity.ON_TIME,
    Quantity.OPERATING_TIME,
    Quantity.DIMENSIONLESS,
    Quantity.RESET_COUNTER,
    Quantity.CUMULATION_COUNTER,
    Quantity.HEAT_COST_ALLOCATION,
}


class _Place(NamedTuple):
    path: KeyPath
    name: str  # of the meter, for messages


def check(site: Site, source: Source) -> None:
    """Note in ``source`` what contradicts itself across the file, and what is doubtful.

    The site may lack what was wrong in itself: those keys are known to ``source`` as broken.
    """
    _check_network(site, source)
    _check_ports(site, source)
    _check_names(site, source)
    _check_instances(site, source)
    for bus_name, bus in _buses(site):
        path: KeyPath = ("buses", bus_name)
        _check_addresses(bus, path, source)
        _check_load(bus, path, source)
        for meter_name, meter in bus.meters.items():
            _check_meter(bus, meter, (*path, "meters", meter_name), source)
    check_ways(site, source)


def _buses(site: Site) -> Iterator[tuple[str, Bus]]:
    # A site in which `buses` itself is wrong has None there.
    return iter((site.buses or {}).items())


def _meters(site: Site) -> Iterator[tuple[KeyPath, str, Meter]]:
    for bus_name, bus in _buses(site):
        for name, meter in bus.meters.items():
            yield ("buses", bus_name, "meters", name), name, meter


def _points(meter: Meter) -> Iterator[tuple[str, Point]]:
    if not isinstance(meter.points, str):
        yield from meter.points.items()


def _check_network(site: Site, source: Source) -> None:
    if not source.is_broken(("buses",)) and not site.buses:
        source.error(
            ("buses",), "there is no bus", "write one: basement: {port: /dev/ttyUSB0, meters: ...}"
        )
    path: KeyPath = ("bacnet", "address")
    if site.bacnet is None or source.is_broken(path):
        return
    interface = IPv4Interface(site.bacnet.address)
    if interface.ip.is_loopback:
        source.warn(
            path,
            f"{interface.ip} is this machine alone: no BMS can reach it",
            "write the address of the port to the BACnet network, unless this is a trial",
        )
    foreign = site.bacnet.foreign
    if foreign is not None and not source.is_broken(("bacnet", "foreign", "bbmd")):
        host = foreign.bbmd.partition(":")[0]
        if host == str(interface.ip):
            source.error(
                ("bacnet", "foreign", "bbmd"),
                f"{host} is the bridge itself",
                "write the address of the BBMD in the BMS's subnet",
            )


def _check_ports(site: Site, source: Source) -> None:
    seen: dict[str, KeyPath] = {}
    for name, bus in _buses(site):
        path: KeyPath = ("buses", name, "port")
        if bus.port is None or source.is_broken(path):
            continue
        port = bus.port
        # /dev/serial/by-id/… and /dev/ttyUSB0 may be the same adapter.
        port = os.path.realpath(posixpath.normpath(port)) if port[0] == "/" else port.casefold()
        address = port.partition("://")[2] or port
        first = seen.setdefault(address, path)
        if first != path:
            source.error(
                path,
                f"{bus.port} is the port of {first[1]} too (line {source.line(first)})",
                "give each bus a port of its own, or put the meters under one bus",
            )


def _check_names(site: Site, source: Source) -> None:
    seen: dict[str, KeyPath] = {}
    for path, name, meter in _meters(site):
        first = seen.setdefault(_folded(name), path)
        if first != path:
            there = f"a meter of {first[1]} in line {source.line(first)}"
            same = "has this name" if first[-1] == name else f"is called {first[-1]}"
            source.error(
                path,
                f"{there} {same} too (this is line {source.line(path)})",
                "give each meter a name that no other has, on whichever bus; "
                "upper and lower case do not count",
            )
        points: dict[str, KeyPath] = {}
        for point_name, _ in _points(meter):
            here = (*path, "points", point_name)
            if _folded(point_name) in RESERVED_POINTS:
                source.error(
                    here,
                    f"every meter has a point {_folded(point_name)} of the bridge's own",
                    f"choose another name, like meter-{_folded(point_name)}",
                )
            first = points.setdefault(_folded(point_name), here)
            if first != here:
                source.error(
                    here,
                    f"the point {first[-1]} in line {source.line(first)} differs only in case",
                    "give each point of a meter a name of its own",
                )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _check_instances(site: Site, source: Source) -> None:
    seen: dict[tuple[ObjectType, int], KeyPath] = {}
    for path, _, meter in _meters(site):
        for name, point in _points(meter):
            here: KeyPath = (*path, "points", name, "instance")
            if point.instance is None or source.is_broken(here):
                continue
            kind = point.object or ObjectType.ANALOG_INPUT
            first = seen.setdefault((kind, point.instance), here)
            if first != here:
                source.error(
                    here,
                    f"{kind} {point.instance} is {first[3]}'s {first[5]} already "
                    f"(line {source.line(first)})",
                    "choose another instance, or leave it out for one that never moves",
                )


def _check_addresses(bus: Bus, path: KeyPath, source: Source) -> None:
    primary: dict[int, _Place] = {}
    exact: dict[tuple[str, str | None], _Place] = {}
    masks: list[tuple[str, _Place]] = []
    for name, meter in bus.meters.items():
        here = (*path, "meters", name)
        if meter.address is not None:
            place = _Place((*here, "address"), name)
            first = primary.setdefault(meter.address, place)
            if first is not place:
                source.error(
                    place.path,
                    f"{first.name} has the primary address {meter.address} on this bus too "
                    f"(line {source.line(first.path)})",
                    "set another address in one of the meters, or use their secondary addresses",
                )
        if meter.secondary is not None:
            place = _Place((*here, "secondary"), name)
            first = exact.setdefault((meter.secondary, meter.fabrication), place)
            if first is not place:
                source.error(
                    place.path,
                    f"{first.name} has the secondary address {meter.secondary} too "
                    f"(line {source.line(first.path)})",
                    "remove one of the two meters, or correct its address; fabrication tells apart "
                    "meters that share one",
                )
            else:
                masks.append((_full_mask(meter.secondary, meter.fabrication), place))
    _check_overlaps(masks, source)


def _check_overlaps(masks: list[tuple[str, _Place]], source: Source) -> None:
    """Warn of masks that one and the same meter could answer to."""
    seen: list[tuple[str, _Place]] = []
    wild: list[tuple[str, _Place]] = []
    # Whole numbers meet only their equals and the wild ones: 250 meters make no 31 000 pairs.
    by_number: dict[str, list[tuple[str, _Place]]] = {}
    for mask, place in masks:
        number = mask[:8]
        is_wild = "F" in number
        earlier = seen if is_wild else [*by_number.get(number, ()), *wild]
        first = next((other for each, other in earlier if _could_be_one(mask, each)), None)
        if first is not None:
            source.warn(
                place.path,
                f"one meter could answer to this and to {first.name} "
                f"(line {source.line(first.path)})",
                "write both secondary addresses in full: 12345678-KAM-1B-04",
            )
        seen.append((mask, place))
        (wild if is_wild else by_number.setdefault(number, [])).append((mask, place))


def _full_mask(secondary: str, fabrication: str | None) -> str:
    """Identification, manufacturer, version, device type and fabrication number, fixed in length,
    F for any."""
    identification, *rest = secondary.split("-")
    manufacturer, version, device_type = rest or ("FFFF", "FF", "FF")
    if manufacturer in ("FFF", "FFFF"):
        manufacturer = "FFFF"
    return f"{identification}{manufacturer:_<4}{version}{device_type}{fabrication or 'F' * 8}"


def _could_be_one(mask: str, other: str) -> bool:
    digits = (*range(8), *range(16, 24))
    pieces = [(mask[i], other[i]) for i in digits]
    pieces += [(mask[8:12], other[8:12]), (mask[12:14], other[12:14]), (mask[14:16], other[14:16])]
    return all(a == b or set(a) == {"F"} or set(b) == {"F"} for a, b in pieces)


def _check_load(bus: Bus, path: KeyPath, source: Source) -> None:
    if not bus.meters:
        if not source.is_broken((*path, "meters")):
            source.warn(path, "the bus has no meters", "write them under meters")
        return
    if len(bus.meters) > _UNIT_LOADS:
        source.warn(
            (*path, "meters"),
            f"{len(bus.meters)} meters are more than a level converter can feed",
            f"check that yours is built for more than {_UNIT_LOADS} unit loads",
        )
    timed = {
        name: meter
        for name, meter in bus.meters.items()
        if bus.every_of(meter) != CONTINUOUS
        and not is_interval_broken(meter, (*path, "meters", name), source)
    }
    cycle = cycle_time(bus)
    load = sum(ask_time(bus, meter) / bus.interval_of(meter) for meter in timed.values())
    if load <= 1 or source.is_broken((*path, "baudrate")):
        return
    # Say it where the interval was written: at the bus, or at the shortest meter.
    name, shortest = min(timed.items(), key=lambda item: bus.interval_of(item[1]))
    own = shortest.every is not None
    interval = format_duration(bus.interval_of(shortest))
    place: KeyPath = (*path, "meters", name, "every") if own else (*path, "every")
    source.warn(
        place,
        f"at {bus.baudrate} baud the {len(bus.meters)} meters of {path[1]} take about "
        f"{_seconds(cycle)} to read, and cannot keep to {interval}",
        f"write {format_duration(_rounder(cycle))} or more"
        + (", or raise the baud rate if the meters allow" if bus.baudrate < 9600 else ""),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _rounder(seconds: float) -> float:
    """The next interval up that a person would write, with a fifth of the bus to spare."""
    wanted = seconds * 1.25
    for step in (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600):
        if wanted <= step:
            return float(step)
    return -(-wanted // 3600) * 3600


def _check_meter(bus: Bus, meter: Meter, path: KeyPath, source: Source) -> None:
    if meter.key is not None and not source.is_broken((*path, "key")):
        _check_key(meter.key, (*path, "key"), source)
    interval = bus.interval_of(meter)
    if (
        meter.max_age is not None
        and meter.max_age < interval
        and not is_interval_broken(meter, path, source)
    ):
        source.warn(
            (*path, "max_age"),
            f"values of this meter are in fault before it is read again: it is read every "
            f"{format_duration(interval)}",
            f"write {format_duration(2 * interval)} or more, or leave it out",
        )
    if meter.secondary is not None and set(meter.secondary[:8]) == {"F"}:
        source.warn(
            (*path, "secondary"),
            "every number fits this address: any meter may answer, or several at once",
            "write the eight digits on the meter",
        )
    _check_template(meter, path, source)
    for name, point in _points(meter):
        _check_point(point, (*path, "points", name), source)
    _check_twins(meter, path, source)


def _check_twins(meter: Meter, path: KeyPath, source: Source) -> None:
    """Warn of points that can only name the same record, and offer it in the same way."""
    seen: dict[tuple[object, ...], str] = {}
    for name, point in _points(meter):
        here: KeyPath = (*path, "points", name)
        if any(source.is_broken((*here, key)) for key in (*SELECTING, "record")):
            continue
        what = (
            *(getattr(point, key) for key in SELECTING if key != "modifiers"),
            point.modifiers or (),
            point.record,
            *(point.unit or (point.quantity and default_unit(point.quantity)), point.scale),
            point.object or ObjectType.ANALOG_INPUT,
        )
        first = seen.setdefault(what, name)
        if first == name:
            continue
        there = (*path, "points", first)
        place = f"line {source.line(there)}" if source.has(there) else f"model {meter.model}"
        source.warn(
            here,
            f"names the same record as {first} ({place}), and offers it in the same way",
            "remove one of the two, or write what tells them apart: storage, tariff, subunit, "
            "function",
        )


def _check_template(meter: Meter, path: KeyPath, source: Source) -> None:
    if meter.model not in names() or meter.secondary is None or "-" not in meter.secondary:
        return
    known = template(meter.model)
    _, manufacturer, _, device_type = meter.secondary.split("-")
    if (manufacturer not in ("FFF", "FFFF", *known.manufacturer)) or (
        device_type not in ("FF", *known.device_types)
    ):
        source.warn(
            (*path, "model"),
            f"{meter.model} is made by {' or '.join(known.manufacturer)}, with device type "
            f"{' or '.join(known.device_types)}; {meter.secondary} says otherwise",
            "check which meter it is, or remove model to have all that it tells",
        )


def _check_key(key: Key, path: KeyPath, source: Source) -> None:
    if key.env is not None and not source.is_broken((*path, "env")):
        text = os.environ.get(key.env)
        if text is None:
            source.warn(
                (*path, "env"),
                f"the environment variable {key.env} is not set here",
                "set it for the service that runs the bridge",
            )
        else:
            _check_key_text(text, (*path, "env"), source)
    if key.file is None or source.is_broken((*path, "file")):
        return
    place = (*path, "file")
    name = quoted(str(key.file), limit=500)
    try:
        mode = key.file.stat().st_mode
        text = _read_start(key.file)
    except FileNotFoundError:
        source.error(place, f"there is no file {name}", "make it, with the key in "
                     "32 hex digits, and mode 600")  # fmt: skip
    except IsADirectoryError:
        source.error(place, f"{name} is a folder", "name the file in it")
    except UnicodeDecodeError:
        source.error(place, "the file holds no text", "write the key in 32 hex digits")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no such path"
        source.error(
            place,
            f"{name} cannot be read ({why})",
            "give the user that runs the bridge the right to read it",
        )
    else:
        if mode & 0o004:
            source.warn(
                place,
                f"everybody on this machine can read {name}",
                f"run chmod 600 {name}",
            )
        _check_key_text(text, place, source)


def _read_start(file: Path) -> str:
    if not file.is_file() and not file.is_dir():
        raise OSError(None, "not a plain file")
    with file.open(encoding="ascii") as stream:
        return stream.read(1000)


def _check_key_text(text: str, path: KeyPath, source: Source) -> None:
    try:
        parse_key(text)
    except KeyTextError as error:
        source.error(path, str(error), "an AES-128 key is 32 hex digits, and nothing else")


def _check_point(point: Point, path: KeyPath, source: Source) -> None:
    limits = [key for key in ("low_limit", "high_limit") if getattr(point, key) is not None]
    if limits and not any(source.is_broken((*path, key)) for key in limits):
        source.warn(
            (*path, limits[0]),
            "this version reports no alarms of its own yet, and leaves limits out",
            "let the BMS watch the value",
        )
    quantity = point.quantity
    if quantity is None or source.is_broken((*path, "unit")):
        return
    usual = default_unit(quantity)
    unit = point.unit or usual
    if not point.modifiers and usual != NO_UNITS and not _same_family(unit, usual):
        # A modifier can make a count or a duration of any quantity.
        source.error(
            (*path, "unit"),
            f"{quantity} cannot be said in {unit}",
            f"choose {_others(usual)}",
        )
        return
    if point.object is ObjectType.ACCUMULATOR:
        if quantity not in _COUNTABLE:
            source.warn(
                (*path, "object"),
                f"an accumulator counts what only grows; {quantity} also falls",
                "use analog-input or large-analog-value",
            )
        return
    if point.object is ObjectType.LARGE_ANALOG_VALUE or quantity not in _COUNTERS:
        return
    if unit in _FINE_UNITS:
        source.warn(
            (*path, "unit" if source.has((*path, "unit")) else "quantity"),
            f"an analog-input is a REAL: above 16 777 216 {unit} it loses whole numbers",
            f"use unit: {_FINE_UNITS[unit]}, or object: large-analog-value",
        )
    elif abs(point.scale) >= 10 or len(point.scale.normalize().as_tuple().digits) > 4:
        source.warn(
            (*path, "scale"),
            f"an analog-input is a REAL with seven digits, which a counter times "
            f"{_short(point.scale)} soon has",
            "use object: large-analog-value, or a larger unit",
        )


def _short(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _family(unit: str) -> str:
    # Degrees Celsius and Fahrenheit cannot be converted here, but which one the meter tells is
    # not known before it is asked; months are counted, not measured, and stand for times.
    family = OFFERED[unit].name.partition(",")[0]
    return "time" if family == "calendar" else family


def _same_family(unit: str, other: str) -> bool:
    return _family(unit) == _family(other)


def _others(usual: str) -> str:
    units = [unit for unit in OFFERED if _same_family(unit, usual)]
    return units[0] if len(units) == 1 else f"{', '.join(units[:-1])} or {units[-1]}"
