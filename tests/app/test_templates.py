"""Each meter template is proved by its telegram, from the bytes to the readings."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app.plan import meter_plan
from bridge.config.load import load_text
from bridge.config.templates import names, template
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.telegram import decode_telegram
from bridge.points.ledger import Ledger
from bridge.points.meter import MeterPoints
from bridge.points.store import Store

SITE = """
device: {{instance: 5}}
bacnet: {{address: 127.0.0.1/8}}
buses: {{cellar: {{port: "tcp://127.0.0.1:9", meters: {{m: {{address: 1, model: {name}}}}}}}}}
"""


@pytest.mark.parametrize("name", names())
def test_a_template_makes_of_its_telegram_what_it_says(name: str) -> None:
    proof = template(name).proof
    bus = load_text(SITE.format(name=name), Path("site.yaml")).buses["cellar"]
    frame = take_frame(bytearray(proof.telegram))
    assert isinstance(frame, LongFrame)
    store = Store()
    meter = MeterPoints(meter_plan("m", bus, bus.meters["m"]), store, Ledger(None))
    meter.offer()
    meter.answered([decode_telegram(frame)], at=0.0, now=0.0)
    faults = {point.name: reading.fault for point, reading in store if reading.fault is not None}
    assert faults == {}
    assert proof.values.keys() == template(name).points.keys()
    for point, text in proof.values.items():
        value = store.reading(f"m.{point}").value
        if isinstance(value, Decimal):
            assert value == Decimal(text), point
        elif isinstance(value, datetime.date | datetime.time):
            assert value.isoformat() == text, point
        else:
            assert value == text, point
