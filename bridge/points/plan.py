"""What a meter and its points are to be, as the user asked for it or as it was found."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from bridge.points.reading import Kind
from bridge.points.select import Selector


class OnExchange(StrEnum):
    """What is done when another meter of the same kind answers for good."""

    ACCEPT = "accept"  # its values are served under the old name
    HOLD = "hold"  # they are not, until the user says so


@dataclass(frozen=True, slots=True)
class PointPlan:
    """A point as the user asked for it, or as it was found.

    ``scale`` multiplies what the meter says, before the unit is converted; it puts right a pulse
    adapter that was set up wrongly. ``unit`` None means the usual one of the quantity. A value
    below ``min_value`` or above ``max_value``, both in the point's unit, is asked for again and
    then in fault; None means no such limit.
    """

    name: str
    selector: Selector
    kind: Kind
    unit: str | None = None
    scale: Decimal = Decimal(1)
    description: str = ""
    object_type: str | None = None
    instance: int | None = None
    cov_increment: Decimal | None = None
    min_value: Decimal | None = None
    max_value: Decimal | None = None


@dataclass(frozen=True, slots=True)
class MeterPlan:
    """What one meter offers.

    ``address`` is the secondary address that the user wrote, or empty; ``where`` the address by
    which it is asked. ``points`` None means that the meter's own answer decides: what is current,
    or with ``all_storages`` also what it stored. ``max_age`` is in seconds; a value older than that
    is in fault, however well it was read. ``nominal_flow`` (m3/h) and ``nominal_power`` (kW) say
    how large it is; what goes beyond twice that is asked for again.
    """

    name: str
    address: str
    max_age: float
    points: tuple[PointPlan, ...] | None = None
    all_storages: bool = False
    description: str = ""
    on_exchange: OnExchange = OnExchange.ACCEPT
    nominal_flow: Decimal | None = None
    nominal_power: Decimal | None = None
    where: str = ""
