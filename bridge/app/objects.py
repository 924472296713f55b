"""The objects that a site has before any meter was asked, and what is to be expected of them."""

from __future__ import annotations

from typing import NamedTuple

from bridge.app.plan import meter_plan, meters_of
from bridge.bacnet.objects import class_of, reserve_chosen
from bridge.config.model import Meter, Site
from bridge.config.templates import names, template
from bridge.config.tree import Source
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.telegram import decode_telegram
from bridge.points.known import Known, known_records
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPoints
from bridge.points.reading import Point
from bridge.points.store import Store


class PlannedObject(NamedTuple):
    """An object as `check` lists it.

    ``record`` is the key of the data record that feeds it, as far as that can be known.
    """

    object_type: str
    instance: int
    point: Point
    record: str = ""


def planned_objects(
    site: Site, ledger: Ledger, source: Source | None = None
) -> list[PlannedObject]:
    """Every object that is known from the configuration and the ledger, meter by meter.

    How each point names its record is held against the records that its meter sent last, as the
    ledger has them; and of a meter that never answered, against its template's telegram.

    Args:
        site: the configuration.
        ledger: identifiers, points and records of earlier runs.
        source: takes a warning, with its line, for each point whose record is in doubt.

    Raises:
        PointRefusedError: a point asks for what no object can do.
        LedgerError: the configuration asks for an instance that belongs to another point.
    """
    store = Store()
    records: dict[str, str] = {}
    with ledger.transaction():
        for bus_name, name, bus, meter in meters_of(site):
            points = MeterPoints(meter_plan(name, bus, meter), store, ledger)
            points.offer()
            _foresee(points, meter, ("buses", bus_name, "meters", name), records, source)
        offered = list(store.points.values())
        reserve_chosen(store.points, ledger)
        return [
            PlannedObject(
                kind := class_of(point).object_type,
                ledger.instance(kind, point.name, point.instance),
                point,
                records.get(point.name, ""),
            )
            for point in offered
        ]


def _foresee(
    points: MeterPoints,
    meter: Meter,
    path: tuple[str, ...],
    records: dict[str, str],
    source: Source | None,
) -> None:
    """Note the record of each of a meter's points, and warn of those that are in doubt."""
    sent, whose = points.known, "this meter"
    proved = sent is None and meter.model in names()
    if proved and meter.model is not None:
        sent, whose = _proof(meter.model), f"the telegram that proves {meter.model}"
    for point, key, doubt in points.outlook(sent, meter=whose):
        records[f"{path[-1]}.{point}"] = key
        here = (*path, "points", point)
        if doubt is None or source is None or isinstance(meter.points, str):
            continue
        if source.has(here):
            source.warn(here, doubt.message, doubt.remedy)
        elif not proved:  # a template's own points are right for its own telegram
            source.warn(here, f"{meter.model}'s point {point} {doubt.message}", doubt.remedy)


def _proof(model: str) -> list[Known]:
    frame = take_frame(bytearray(template(model).proof.telegram))
    assert isinstance(frame, LongFrame)  # a test holds every template to it
    return known_records(decode_telegram(frame).records)
