from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.objects import planned_objects
from bridge.app.plan import (
    max_age_of,
    meter_plan,
    meter_settings,
    meters_of,
    segment_settings,
    way_of,
)
from bridge.config.check import RESERVED_POINTS
from bridge.config.load import load_text
from bridge.config.model import Site
from bridge.mbus.address import SecondaryAddress
from bridge.mbus.dif import Function
from bridge.mbus.way import Nke, RawBytes, UserData, WakeUp, Way
from bridge.points.ledger import Ledger
from bridge.points.meter import ANSWERING, LAST_READ, SECONDARY_ADDRESS
from bridge.points.plan import OnExchange
from bridge.points.reading import Kind
from bridge.points.select import Selector
from bridge.polling.billing import Billing, Occasion, Period
from bridge.units import Quantity

SITE = """
device: {instance: 5}
bacnet: {address: 127.0.0.1/8}
buses:
  cellar:
    port: tcp://127.0.0.1:9
    baudrate: 9600
    every: 5m
    meters:
      water:
        address: 1
        points:
          volume: {quantity: volume, scale: 0.1, unit: liters, object: large-analog-value,
                   instance: 7}
          peak: {quantity: power, function: maximum, storage: 1, tariff: 2, subunit: 3}
          odd: {dif: "02", vif: "FF68", unit: volts}
          due: {quantity: date, storage: 1}
          second: {quantity: voltage, ordinal: 2}
          keyed: {record: 0C06#2}
          clock: {record: 046D}
          litres: {vif: "13"}
      gas:
        secondary: 12345678-ITW-14-03
        every: 24h
        between: "02:00-04:00"
        key: {env: GAS_KEY}
      fast: {address: 3, every: continuous, max_age: 90s, points: all}
"""


def load(tmp_path: Path) -> Site:
    return load_text(SITE, tmp_path / "site.yaml")


def test_what_the_user_wrote_is_what_the_bus_gets(tmp_path: Path) -> None:
    settings = segment_settings("cellar", load(tmp_path).buses["cellar"])
    assert (settings.name, settings.port, settings.baudrate) == (
        "cellar",
        "tcp://127.0.0.1:9",
        9600,
    )
    assert settings.latency is None, "the usual one of such a port"


def test_a_meter_is_polled_as_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAS_KEY", "00112233445566778899AABBCCDDEEFF")
    bus = load(tmp_path).buses["cellar"]
    gas = meter_settings("gas", bus, bus.meters["gas"])
    assert gas.address == SecondaryAddress("12345678", "ITW", 0x14, 0x03)
    assert gas.every == 86400
    assert gas.window == (datetime.time(2), datetime.time(4))
    assert gas.key == bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    assert "FF" not in repr(gas), "a key is never shown"
    water = meter_settings("water", bus, bus.meters["water"])
    assert (water.address, water.every, water.key) == (1, 300, None)


def test_a_value_may_miss_one_round_and_one_retry(tmp_path: Path) -> None:
    bus = load(tmp_path).buses["cellar"]
    assert max_age_of(bus, bus.meters["water"]) == 2 * 300 + 60
    assert max_age_of(bus, bus.meters["fast"]) == 90


def test_a_point_names_its_record(tmp_path: Path) -> None:
    bus = load(tmp_path).buses["cellar"]
    plan = meter_plan("water", bus, bus.meters["water"])
    assert plan.points is not None
    points = {point.name: point for point in plan.points}
    assert points["volume"].selector == Selector(quantity=Quantity.VOLUME)
    assert (points["volume"].scale, points["volume"].unit) == (Decimal("0.1"), "liters")
    assert points["peak"].selector == Selector(
        quantity=Quantity.POWER, function=Function.MAXIMUM, storage=1, tariff=2, subunit=3
    )
    assert points["odd"].selector == Selector(
        function=None, storage=None, tariff=None, subunit=None, dib=b"\x02", vib=b"\xff\x68"
    )
    assert points["due"].kind is Kind.DATE
    assert points["second"].selector.ordinal == 2


def test_a_point_by_its_bytes_is_of_the_kind_and_unit_that_they_say(tmp_path: Path) -> None:
    bus = load(tmp_path).buses["cellar"]
    plan = meter_plan("water", bus, bus.meters["water"])
    assert plan.points is not None
    points = {point.name: point for point in plan.points}
    assert points["keyed"].selector == Selector(key="0C06#2")
    assert (points["keyed"].kind, points["keyed"].unit) == (Kind.NUMBER, "kilowatt-hours")
    assert points["clock"].kind is Kind.DATE_TIME
    assert (points["litres"].kind, points["litres"].unit) == (Kind.NUMBER, "cubic-meters")
    assert (points["odd"].kind, points["odd"].unit) == (Kind.NUMBER, "volts")


def test_no_user_can_take_the_name_of_a_point_that_every_meter_has() -> None:
    # Two floors that must not know each other both name them.
    assert {ANSWERING, LAST_READ, SECONDARY_ADDRESS} <= set(RESERVED_POINTS)


def test_check_and_run_give_an_object_the_same_identifier(tmp_path: Path) -> None:
    site = load(tmp_path)
    objects = {each.point.name: each for each in planned_objects(site, Ledger(None))}
    volume = objects["water.volume"]
    assert (volume.object_type, volume.instance) == ("large-analog-value", 7)
    assert objects["water.due"].object_type == "date-value"
    assert objects["gas.answering"].object_type == "binary-input"
    assert {name for name in objects if name.startswith("fast.")} == {
        "fast.answering",
        "fast.last-read",
        "fast.secondary-address",
    }
    assert len(meters_of(site)) == 3


ODD_SITE = """
device: {instance: 5}
bacnet: {address: 127.0.0.1/8}
buses:
  cellar:
    port: /dev/ttyUSB0
    every: 5m
    min_gap: 2m
    connection: release
    on_exchange: hold
    wake_up: {byte: 55, for: 1s}
    billing: {at: weekly fri 06:30, freeze: "480E13"}
    meters:
      usual: {address: 1}
      odd:
        secondary: 12345678
        fabrication: 2018335F
        min_gap: 1h
        priority: high
        baudrate: 300
        timeout: 2s
        tries: 5
        nke: always
        pause: 500ms
        before: [application-reset, select 50, data 08 13, raw 107B017C16]
        wake_up: none
        telegrams: [1, 3]
        on_exchange: accept
        nominal_flow: 2.5
        nominal_power: 100
        points: {flow: {quantity: volume-flow, min_value: -1, max_value: 5.5}}
  attic:
    port: tcp://127.0.0.1:9
    wake_up: {parity: none}
    billing: {at: monthly 31 00:00}
    meters:
      remote: {address: 1, baudrate: 2400}
  roof:
    port: tcp://127.0.0.1:8
    billing: {at: yearly 02-29 12:00, freeze: none}
"""


def odd_site(tmp_path: Path) -> Site:
    return load_text(ODD_SITE, tmp_path / "site.yaml")


def test_a_meter_without_a_word_is_read_as_the_standard_says(tmp_path: Path) -> None:
    bus = load(tmp_path).buses["cellar"]
    assert way_of(bus, bus.meters["water"]) == Way()
    water = meter_settings("water", bus, bus.meters["water"])
    assert (water.way, water.minimum_gap, water.priority) == (Way(), 0.0, False)
    settings = segment_settings("cellar", bus)
    assert (settings.release, settings.billing) == (False, None)


def test_a_meter_is_read_in_every_way_that_was_written(tmp_path: Path) -> None:
    bus = odd_site(tmp_path).buses["cellar"]
    odd = meter_settings("odd", bus, bus.meters["odd"])
    assert odd.way == Way(
        nke=Nke.ALWAYS,
        pause=0.5,
        before=(
            UserData(0x50),
            UserData(0x50, b"\x50"),
            UserData(0x51, b"\x08\x13"),
            RawBytes(bytes.fromhex("10 7B 01 7C 16")),
        ),
        telegrams=frozenset({1, 3}),
        fabrication="2018335F",
        baudrate=300,
        timeout=2.0,
        tries=5,
        wake_up=None,
    )
    assert (odd.minimum_gap, odd.priority) == (3600.0, True)
    usual = meter_settings("usual", bus, bus.meters["usual"])
    assert usual.way == Way(wake_up=WakeUp(byte=0x55, duration=1.0, parity="none", pause=0.05))
    assert (usual.minimum_gap, usual.priority) == (120.0, False)


def test_a_gateway_that_cannot_change_its_line_is_not_asked_to(tmp_path: Path) -> None:
    bus = odd_site(tmp_path).buses["attic"]
    way = way_of(bus, bus.meters["remote"])
    assert way.baudrate is None, "it is the rate of the bus already"
    assert way.wake_up == WakeUp(parity="even")


def test_a_bus_is_released_and_read_for_billing_as_it_was_written(tmp_path: Path) -> None:
    buses = odd_site(tmp_path).buses
    cellar = segment_settings("cellar", buses["cellar"])
    assert cellar.release
    assert cellar.billing == Billing(
        Occasion(Period.WEEKLY, datetime.time(6, 30), weekday=4), bytes.fromhex("48 0E 13")
    )
    attic = segment_settings("attic", buses["attic"])
    assert attic.billing == Billing(Occasion(Period.MONTHLY, day=31), bytes.fromhex("48 FE 0B"))
    roof = segment_settings("roof", buses["roof"])
    assert roof.billing == Billing(
        Occasion(Period.YEARLY, datetime.time(12), day=29, month=2), freeze=None
    )


def test_what_a_meter_can_say_is_told_to_its_points(tmp_path: Path) -> None:
    bus = odd_site(tmp_path).buses["cellar"]
    odd = meter_plan("odd", bus, bus.meters["odd"])
    assert odd.on_exchange is OnExchange.ACCEPT
    assert (odd.nominal_flow, odd.nominal_power) == (Decimal("2.5"), Decimal(100))
    assert odd.points is not None
    (flow,) = odd.points
    assert (flow.min_value, flow.max_value) == (Decimal(-1), Decimal("5.5"))
    usual = meter_plan("usual", bus, bus.meters["usual"])
    assert usual.on_exchange is OnExchange.HOLD
    assert (usual.nominal_flow, usual.nominal_power) == (None, None)


def test_values_may_be_as_old_as_the_gap_of_their_meter_makes_them(tmp_path: Path) -> None:
    bus = odd_site(tmp_path).buses["cellar"]
    assert max_age_of(bus, bus.meters["usual"]) == 2 * 300 + 60
    assert max_age_of(bus, bus.meters["odd"]) == 2 * 3600 + 60


@pytest.mark.parametrize(
    ("keys", "hours"),
    [
        ("every: 15m", 0.5),
        ('every: 15m, between: "02:00-04:00"', 22.5),  # it is not asked for 22 hours
        ('every: 24h, between: "02:00-04:00"', 48.0),
        ('every: 24h, between: "22:00-01:00"', 48.0),
        ("every: 15m, max_age: 1h", 1.0),
    ],
)
def test_a_value_is_not_too_old_while_its_window_is_shut(
    keys: str, hours: float, tmp_path: Path
) -> None:
    site = load_text(
        f"""
device: {{instance: 1}}
bacnet: {{address: 127.0.0.1/8}}
buses: {{b: {{port: /dev/ttyUSB0, meters: {{m: {{address: 1, {keys}}}}}}}}}
""",
        tmp_path / "site.yaml",
    )
    bus = site.buses["b"]
    assert max_age_of(bus, bus.meters["m"]) == pytest.approx(hours * 3600, abs=61)
