"""From what the user wrote to what each floor needs: numbers and strings become addresses,
selectors, settings."""

from __future__ import annotations

from decimal import Decimal

from bridge.config.billing import Billing as BillingKeys
from bridge.config.keys import read_key
from bridge.config.model import Bus, Meter, Point, Site
from bridge.config.ways import Connection, Preparation, Priority, Step
from bridge.config.ways import WakeUp as WakeUpKeys
from bridge.mbus.address import SecondaryAddress, parse_address
from bridge.mbus.control import CI_APPLICATION_RESET, CI_DATA_SEND
from bridge.mbus.dif import DataField, Function
from bridge.mbus.way import Nke, RawBytes, UserData, WakeUp, Way
from bridge.mbus.way import Preparation as WayPreparation
from bridge.points.known import bytes_of, imagine, kind_of, kind_of_quantity
from bridge.points.meter import unit_of
from bridge.points.plan import MeterPlan, OnExchange, PointPlan
from bridge.points.reading import Kind
from bridge.points.select import Selector
from bridge.polling.billing import STANDARD_FREEZE, Billing, Occasion, Period
from bridge.polling.engine import MeterSettings, SegmentSettings
from bridge.polling.schedule import DAY, RETRY_LAST, shut_for
from bridge.units import NO_UNITS

# A meter that is read continuously is late when it was not read for this long, in seconds.
CONTINUOUS_MAX_AGE = 300.0


def meter_address(meter: Meter) -> int | SecondaryAddress:
    return parse_address(meter.where)


def max_age_of(bus: Bus, meter: Meter) -> float:
    """How old a value may become before it is in fault, in seconds.

    Two intervals and a retry, and the time for which its window keeps the meter from being read.
    """
    if meter.max_age is not None:
        return meter.max_age
    interval = bus.interval_of(meter)
    usual = 2 * interval + RETRY_LAST if interval else CONTINUOUS_MAX_AGE
    # Of a meter that is read once a day the two intervals hold that time already.
    shut = shut_for(meter.between)
    return usual if usual > DAY + shut else usual + shut


def way_of(bus: Bus, meter: Meter) -> Way:
    """How a meter is read, where that is not as the standard has it."""
    return Way(
        nke=Nke(meter.nke.value),
        pause=meter.pause,
        before=tuple(_preparation(each) for each in meter.before),
        telegrams=None if meter.telegrams == "all" else frozenset(meter.telegrams),
        fabrication=meter.fabrication,
        baudrate=meter.baudrate if meter.baudrate != bus.baudrate else None,
        timeout=meter.timeout,
        tries=meter.tries,
        wake_up=_wake_up(bus, bus.wake_up_of(meter)),
    )


def _preparation(preparation: Preparation) -> WayPreparation:
    match preparation.step:
        case Step.APPLICATION_RESET | Step.SELECT:
            return UserData(CI_APPLICATION_RESET, preparation.data)
        case Step.DATA:
            return UserData(CI_DATA_SEND, preparation.data)
        case Step.RAW:
            return RawBytes(preparation.data)


def _wake_up(bus: Bus, wake_up: WakeUpKeys | None) -> WakeUp | None:
    if wake_up is None:
        return None
    # A transparent gateway has the parity that it was set to, whatever it is asked for.
    parity = bus.parity if bus.is_transparent else wake_up.parity
    return WakeUp(wake_up.byte, wake_up.duration, parity.value, wake_up.pause)


def segment_settings(name: str, bus: Bus) -> SegmentSettings:
    return SegmentSettings(
        name=name,
        port=bus.port,
        baudrate=bus.baudrate,
        parity=bus.parity.value,
        timeout=bus.timeout,
        latency=bus.latency,
        tries=bus.tries,
        release=bus.connection is Connection.RELEASE,
        billing=_billing(bus.billing) if bus.billing is not None else None,
    )


def _billing(billing: BillingKeys) -> Billing:
    when = billing.at
    occasion = Occasion(Period(when.period.value), when.at, when.day, when.weekday, when.month)
    if isinstance(billing.freeze, bytes):
        return Billing(occasion, billing.freeze)
    return Billing(occasion, STANDARD_FREEZE if billing.freeze == "standard" else None)


def meter_settings(name: str, bus: Bus, meter: Meter) -> MeterSettings:
    """How and when a meter is polled.

    Raises:
        KeyTextError: its key cannot be read.
    """
    return MeterSettings(
        name=name,
        address=meter_address(meter),
        every=bus.every_of(meter),
        window=meter.between,
        key=read_key(meter.key) if meter.key is not None else None,
        way=way_of(bus, meter),
        minimum_gap=bus.min_gap_of(meter),
        priority=meter.priority is Priority.HIGH,
    )


def meter_plan(name: str, bus: Bus, meter: Meter) -> MeterPlan:
    """What a meter offers."""
    points = meter.points
    return MeterPlan(
        name=name,
        address=str(meter_address(meter)) if meter.secondary else "",
        max_age=max_age_of(bus, meter),
        points=None
        if isinstance(points, str)
        else tuple(_point_plan(point_name, point) for point_name, point in points.items()),
        all_storages=points == "all",
        description=meter.description,
        on_exchange=OnExchange(bus.on_exchange_of(meter).value),
        nominal_flow=meter.nominal_flow,
        nominal_power=meter.nominal_power,
        where=_where(meter),
    )


def _where(meter: Meter) -> str:
    """The address of a meter, so written that no other meter's is the same."""
    where = str(meter_address(meter))
    return where if meter.fabrication is None else f"{where} fabrication {meter.fabrication}"


def _point_plan(name: str, point: Point) -> PointPlan:
    kind, unit = _kind_and_unit(point)
    return PointPlan(
        name=name,
        selector=_selector(point),
        kind=kind,
        unit=unit if point.unit is None else point.unit,
        scale=Decimal(point.scale),
        description=point.description,
        object_type=point.object.value if point.object is not None else None,
        instance=point.instance,
        cov_increment=point.cov_increment,
        min_value=point.min_value,
        max_value=point.max_value,
    )


def _kind_and_unit(point: Point) -> tuple[Kind, str | None]:
    """What sort of value a point has, and in which unit, where the user does not say; None for the
    usual one of the quantity."""
    if point.quantity is not None:
        return kind_of_quantity(point.quantity), None
    if point.record is not None:
        block = bytes_of(point.record)
    else:
        # Where the bytes of the DIB are not given, most are integers.
        block = (point.dif or bytes((DataField.INT32,))) + (point.vif or b"")
    record = imagine(block)
    kind = None if record is None else kind_of(record)
    if record is None or kind is None:
        return Kind.NUMBER, NO_UNITS
    if kind is not Kind.NUMBER:
        return kind, NO_UNITS
    return kind, unit_of(record.unit, record.quantity)


def _selector(point: Point) -> Selector:
    if point.record is not None:
        return Selector(key=point.record)
    if point.dif is not None:
        # The bytes say all that the words would.
        return Selector(
            quantity=point.quantity,
            function=None,
            storage=None,
            tariff=None,
            subunit=None,
            modifiers=point.modifiers,
            ordinal=point.ordinal,
            dib=point.dif,
            vib=point.vif,
        )
    return Selector(
        quantity=point.quantity,
        function=Function(point.function.value),
        storage=point.storage,
        tariff=point.tariff,
        subunit=point.subunit,
        modifiers=point.modifiers,
        ordinal=point.ordinal,
        vib=point.vif,
    )


def meters_of(site: Site) -> list[tuple[str, str, Bus, Meter]]:
    """Every meter with the names of its bus and its own, in the file's order."""
    return [
        (bus_name, name, bus, meter)
        for bus_name, bus in site.buses.items()
        for name, meter in bus.meters.items()
    ]
