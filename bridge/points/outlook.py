"""What is to be expected of a point, without asking its meter: for `check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bridge.points.explain import Doubt, explain
from bridge.points.fed import Fed
from bridge.points.known import Known, bytes_of, imagine
from bridge.points.reading import Fault
from bridge.points.told import for_found, misfit


class Outlook(NamedTuple):
    """What is to be expected of a point: the key of its record, as far as known, and any doubt."""

    point: str
    key: str
    doubt: Doubt | None


def expect(fed: Fed, sent: Sequence[Known] | None, meter: str) -> Outlook:
    """What is to be expected of a point.

    Args:
        fed: the point.
        sent: the records that its meter sends; None where nobody knows.
        meter: whose they are, in words.
    """
    name, selector = fed.plan.name, fed.plan.selector
    if sent is None and selector.key is not None:
        record = imagine(bytes_of(selector.key))
        known = None if record is None else Known.of(record, selector.key)
        doubt = None if known is None else misfit(fed.plan, known, ())
        return Outlook(name, selector.key, doubt)
    if sent is None:
        return Outlook(name, fed.settled.key if fed.settled else "", None)
    now = fed.outcome(sent)
    if isinstance(now, Fault):
        return Outlook(
            name, "", for_found(fed, explain(now, selector, fed.settled, sent, meter=meter))
        )
    known = next(known for known in sent if known.key == now.key)
    return Outlook(name, now.key, misfit(fed.plan, known, sent))
