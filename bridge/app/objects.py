"""The objects that a site has before any meter was asked."""

from __future__ import annotations

from typing import NamedTuple

from bridge.app.plan import meter_plan, meters_of
from bridge.bacnet.objects import class_of, reserve_chosen
from bridge.config.model import Site
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPoints
from bridge.points.reading import Point
from bridge.points.store import Store


class PlannedObject(NamedTuple):
    """An object as `check` lists it."""

    object_type: str
    instance: int
    point: Point


def planned_objects(site: Site, ledger: Ledger) -> list[PlannedObject]:
    """Every object that is known from the configuration and the ledger, meter by meter.

    Raises:
        PointRefusedError: a point asks for what no object can do.
        LedgerError: the configuration asks for an instance that belongs to another point.
    """
    store = Store()
    with ledger.transaction():
        for _, name, bus, meter in meters_of(site):
            MeterPoints(meter_plan(name, bus, meter), store, ledger).offer()
        points = list(store.points.values())
        reserve_chosen(store.points, ledger)
        return [
            PlannedObject(
                kind := class_of(point).object_type,
                ledger.instance(kind, point.name, point.instance),
                point,
            )
            for point in points
        ]
