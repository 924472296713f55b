"""The points that a meter's own answers brought, as the ledger keeps them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

from bridge.mbus.dif import Function
from bridge.points.fed import Fed
from bridge.points.ledger import Feed, Ledger
from bridge.points.plan import PointPlan
from bridge.points.reading import Kind
from bridge.points.select import Selector, Settled
from bridge.units import OFFERED, Quantity, Unit

log = logging.getLogger(__name__)


def remembered(ledger: Ledger, meter: str) -> Iterator[Fed]:
    """The points that were found before, as the ledger has them."""
    texts, feeds = ledger.remembered(meter), ledger.feeds(meter)
    old = {name: key for name, text in texts.items() if (key := _key_from_version_0(text))}
    for name, text in texts.items():
        try:
            plan = plan_from_json(name, text)
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            log.warning(
                "%s: the ledger holds a point %s that this version does not understand (%r); "
                "it is left out until the meter tells it again",
                meter,
                name,
                error,
            )
            continue
        feed = feeds.get(name)
        if feed is not None and feed.selector == plan.selector.to_json():
            settled = settled_of(feed)
            kept: Settled | None = settled
        elif name in old:
            settled, kept = old[name], None
            others = {each.key for other, each in old.items() if other != name}
            settled = settled._replace(beside=frozenset(others))
        else:
            continue  # it was the user's own meanwhile; the meter's next answer brings it
        yield Fed(plan, f"{meter}.{name}", True, settled, kept)


def settled_of(feed: Feed) -> Settled:
    return Settled(feed.record, feed.equals, frozenset(feed.beside))


def plan_to_json(point: PointPlan) -> str:
    selector = point.selector
    return json.dumps(
        {
            "kind": point.kind,
            "unit": point.unit,
            "quantity": selector.quantity,
            "function": selector.function,
            "storage": selector.storage,
            "tariff": selector.tariff,
            "subunit": selector.subunit,
            "modifiers": selector.modifiers,
            "own_unit": selector.unit,
            "unit_text": selector.unit_text,
        }
    )


def plan_from_json(name: str, text: str) -> PointPlan:
    """The plan again.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: no plan of ours.
    """
    fields = json.loads(text)
    unit = fields["unit"]
    if unit is not None and unit not in OFFERED:
        raise ValueError(f"{unit!r} is no unit of a point")
    own_unit = fields.get("own_unit")  # version 0 of the ledger did not have it
    return PointPlan(
        name=name,
        kind=Kind(fields["kind"]),
        unit=unit,
        selector=Selector(
            quantity=Quantity(fields["quantity"]),
            function=Function(fields["function"]),
            storage=fields["storage"],
            tariff=fields["tariff"],
            subunit=fields["subunit"],
            modifiers=tuple(fields["modifiers"]),
            unit=None if own_unit is None else Unit(own_unit),
            unit_text=fields["unit_text"],
        ),
    )


def _key_from_version_0(text: str) -> Settled | None:
    """What fed a found point in version 0 of the ledger: bytes, and an ordinal among equals."""
    try:
        fields = json.loads(text)
        block, ordinal, equals = fields["like"].upper(), fields["ordinal"], fields["count"]
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return Settled(block if ordinal == 1 else f"{block}#{ordinal}", equals)
