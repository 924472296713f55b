from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.objects import planned_objects
from bridge.app.plan import max_age_of, meter_plan, meter_settings, meters_of, segment_settings
from bridge.config.check import RESERVED_POINTS
from bridge.config.load import load_text
from bridge.config.model import Site
from bridge.mbus.address import SecondaryAddress
from bridge.mbus.dif import Function
from bridge.points.ledger import Ledger
from bridge.points.meter import ANSWERING, LAST_READ, SECONDARY_ADDRESS
from bridge.points.reading import Kind
from bridge.points.select import Selector
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
