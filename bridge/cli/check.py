"""``check``: what the file means, without touching a bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import simplejson

from bridge.cli.names import counted, short_object
from bridge.cli.options import Config, Format, FormatOption
from bridge.cli.output import Rows, out, say, write
from bridge.config.load import load_with_warnings
from bridge.config.model import Bus, Site
from bridge.config.timing import bus_load, cycle_time
from bridge.config.values import format_duration
from bridge.points.ledger import Ledger
from bridge.points.meter import ANSWERING, LAST_READ, SECONDARY_ADDRESS

if TYPE_CHECKING:
    from bridge.app.objects import PlannedObject

# EN 13757-2: what a meter draws, in unit loads; most draw one.
UNIT_LOADS_OF_A_METER = 1


def check(config: Config, format: FormatOption = Format.TEXT) -> None:
    """Read the site's file as run would, and show what comes of it.

    Every error with its line and its remedy; else every object that a BMS will see, the record that
    feeds it where the meter has answered before, the load of each bus, how long one round on it
    takes, and which share of the time that is. No bus is touched, and nothing is written.

    Example:

      mbus-bacnet check site.yaml
    """
    from bridge.app.bridge import LEDGER_FILE
    from bridge.app.objects import planned_objects

    site, _, source = load_with_warnings(config)
    ledger = Ledger.copy_of(site.state / LEDGER_FILE if site.state is not None else None)
    objects = planned_objects(site, ledger, source)
    warnings = source.found
    if format is Format.JSON:
        write(
            simplejson.dumps(
                {
                    "warnings": [str(warning) for warning in warnings],
                    "buses": [_bus_as_json(name, bus) for name, bus in site.buses.items()],
                    "objects": [_object_as_json(each) for each in objects],
                },
                use_decimal=True,
                ensure_ascii=False,
            )
        )
        return
    _show_objects(objects)
    _show_open_meters(site, objects, ledger)
    for name, bus in site.buses.items():
        out.print(
            f"bus {name}: {counted(len(bus.meters), 'meter')}, "
            f"{counted(len(bus.meters) * UNIT_LOADS_OF_A_METER, 'unit load')}, "
            f"about {cycle_time(bus):.1f} s a cycle at {bus.baudrate} baud, "
            f"busy {_percent(bus_load(bus))} of the time"
        )
    for warning in warnings:
        say(str(warning))
    say(f"{config}: no errors, {counted(len(warnings), 'warning')}")


def _show_objects(objects: list[PlannedObject]) -> None:
    rows = Rows("object", "name", "unit", "record", "from")
    for each in objects:
        rows.add(
            short_object(each.object_type, each.instance),
            each.point.name,
            each.point.unit if each.point.unit != "no-units" else "",
            each.record,
            each.point.source,
        )
    rows.show()


def _show_open_meters(site: Site, objects: list[PlannedObject], ledger: Ledger) -> None:
    """Say which meters will tell their points by themselves, and which have told none."""
    own = {ANSWERING, LAST_READ, SECONDARY_ADDRESS}
    known = {each.point.meter for each in objects if each.point.name.split(".")[-1] not in own}
    waiting = [
        name
        for bus in site.buses.values()
        for name, meter in bus.meters.items()
        if isinstance(meter.points, str) and name not in known
    ]
    silent = [name for name in waiting if ledger.sent(name) is None]
    if silent:
        out.print(f"points found in the first answer: {', '.join(silent)}")
    if told := [name for name in waiting if name not in silent]:
        out.print(f"no points found in the answers: {', '.join(told)}")


def _percent(share: float) -> str:
    """A share as people say it; what is little, but there, is not nothing."""
    return f"{share:.0%}".replace("%", " %") if share >= 0.01 else "less than 1 %"


def _bus_as_json(name: str, bus: Bus) -> dict[str, Any]:
    return {
        "name": name,
        "port": bus.port,
        "baudrate": bus.baudrate,
        "meters": len(bus.meters),
        "unit_loads": len(bus.meters) * UNIT_LOADS_OF_A_METER,
        "cycle_seconds": round(cycle_time(bus), 3),
        "load": round(bus_load(bus), 4),
        "every": format_duration(bus.every),
    }


def _object_as_json(each: PlannedObject) -> dict[str, Any]:
    return {
        "object": f"{each.object_type},{each.instance}",
        "name": each.point.name,
        "kind": each.point.kind.value,
        "unit": each.point.unit,
        "description": each.point.description,
        "record": each.record or None,
        "source": each.point.source,
    }
