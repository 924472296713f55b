"""The demonstration: what its meters say is what their models mean, at any instant."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest

from bridge.mbus.address import encode_secondary
from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.sim.meter import SimulatedMeter
from bridge.sim.models import ModelReadout, month_end
from bridge.sim.site import MODELS, demo_meters, describe, description
from bridge.units import Quantity

INSTANTS = [
    dt.datetime(2024, 2, 29, 23, 59, 59),
    dt.datetime(2026, 1, 1),
    dt.datetime(2026, 1, 14, 7, 33, 12),
    dt.datetime(2026, 7, 14, 15, 33, 12),
    dt.datetime(2035, 10, 28, 2, 30),
]
NAMES = [meter.name for meter in demo_meters()]


def named(name: str) -> SimulatedMeter:
    return next(meter for meter in demo_meters() if meter.name == name)


def telegrams(meter: SimulatedMeter, when: dt.datetime) -> list[Telegram]:
    found = []
    for data in meter.frames(when):
        frame = take_frame(bytearray(data))
        assert isinstance(frame, LongFrame)
        found.append(decode_telegram(frame))
    return found


def value(meter: SimulatedMeter, when: dt.datetime, key: str) -> Decimal:
    for telegram in telegrams(meter, when):
        for record in telegram.records:
            if record.key == key:
                assert isinstance(record.value, Decimal)
                return record.value
    raise AssertionError(f"{meter.name} has no record {key}")


@pytest.mark.parametrize("when", INSTANTS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_telegram_decodes_to_the_values_of_its_model(name: str, when: dt.datetime) -> None:
    meter = named(name)
    assert isinstance(meter.readout, ModelReadout)
    meant = meter.readout.records(when)
    decoded = telegrams(meter, when)
    assert len(decoded) == len(meant)
    for telegram, records in zip(decoded, meant, strict=True):
        assert telegram.errors == ()
        assert telegram.header is not None
        assert telegram.header.address == meter.secondary
        assert [record.value for record in telegram.records] == [each.value for each in records]
        assert [record.dib + record.vib for record in telegram.records] == [
            each.head for each in records
        ]
    assert [telegram.more_records_follow for telegram in decoded] == [
        *[True] * (len(decoded) - 1),
        False,
    ]


def test_there_are_eight_meters_or_more_of_six_makes_and_media() -> None:
    held = describe(demo_meters())
    assert len(held) >= 8
    assert len({each["make"] for each in held}) >= 6
    assert len({each["medium"] for each in held}) >= 6
    assert {each.model for each in demo_meters()} == {model.title for model in MODELS.values()}


def test_names_and_addresses_are_unique() -> None:
    meters = demo_meters()
    assert len({meter.name for meter in meters}) == len(meters)
    assert len({meter.primary for meter in meters}) == len(meters)
    assert len({str(meter.secondary) for meter in meters}) == len(meters)


def test_the_same_seed_makes_the_same_values_and_another_seed_others() -> None:
    when = INSTANTS[2]

    def said(seed: int) -> list[tuple[bytes, ...]]:
        return [meter.frames(when) for meter in demo_meters(seed=seed)]

    assert said(1) == said(1)
    assert all(first != second for first, second in zip(said(1), said(2), strict=True))


@pytest.mark.parametrize(
    ("name", "counter", "flow"),
    [("warm-water", "0413", "043B"), ("heat-2", "0406", "042D"), ("electricity", None, "042B")],
)
def test_a_counter_moves_by_its_flow(name: str, counter: str | None, flow: str) -> None:
    meter, when = named(name), dt.datetime(2026, 1, 14, 8, 0)
    later = when + dt.timedelta(hours=24)
    if counter is None:
        used = sum(
            value(meter, later, key) - value(meter, when, key) for key in ("8E1003", "8E2003")
        )
    else:
        used = value(meter, later, counter) - value(meter, when, counter)
    flows = [value(meter, when + dt.timedelta(minutes=5 * n), flow) for n in range(288)]
    assert float(used) == pytest.approx(float(sum(flows)) / 12, rel=0.06)


def test_power_flow_and_temperatures_of_a_heat_meter_belong_together() -> None:
    meter, when = named("heat-2"), INSTANTS[2]
    power, flow = value(meter, when, "042D"), value(meter, when, "043B")
    difference = value(meter, when, "0461")
    assert value(meter, when, "0459") - value(meter, when, "045D") == pytest.approx(
        difference, abs=Decimal("0.01")
    )
    assert float(power) == pytest.approx(float(flow * difference) * 1150, rel=0.01)


def test_the_heat_and_cooling_meter_cools_in_summer() -> None:
    winter, summer = INSTANTS[2], INSTANTS[3]
    assert value(named("heat-cool"), winter, "0B2D") > 0 > value(named("heat-cool"), summer, "0B2D")


def test_values_differ_in_kind() -> None:
    quantities = {
        record.quantity
        for meter in demo_meters()
        for telegram in telegrams(meter, INSTANTS[2])
        for record in telegram.records
    }
    assert {
        *(Quantity.ENERGY, Quantity.VOLUME, Quantity.POWER, Quantity.VOLUME_FLOW),
        *(Quantity.FLOW_TEMPERATURE, Quantity.VOLTAGE, Quantity.CURRENT, Quantity.FREQUENCY),
        *(Quantity.REACTIVE_ENERGY, Quantity.HEAT_COST_ALLOCATION, Quantity.DATE_TIME),
    } <= quantities


def test_month_ends_go_back_over_the_turn_of_the_year() -> None:
    when = dt.datetime(2026, 2, 3)
    assert [month_end(when, back) for back in (1, 2, 3)] == [
        dt.date(2026, 1, 31),
        dt.date(2025, 12, 31),
        dt.date(2025, 11, 30),
    ]


def test_the_description_names_every_meter_for_people_and_for_programs() -> None:
    meters = demo_meters()
    lines = description(meters).splitlines()
    assert len(lines) == len(meters) + 1
    assert lines[4].split() == [
        *("heat-1", "4", "01117342-SVM-09-04", "SVM", "heat", "F22"),
    ]
    assert json.loads(json.dumps(describe(meters)))[0] == {
        "name": "cold-water",
        "primary": 1,
        "secondary": "20414711-ACW-14-16",
        "make": "ACW",
        "model": "Cyble",
        "medium": "cold water",
        "baudrate": 2400,
        "notes": [],
    }


def test_no_telegram_is_one_of_a_real_meter() -> None:
    # Identification numbers that stand in the recorded telegrams this project is tested with.
    recorded = {"12345678", "54000834", "14839120", "12082058", "01006089", "21050076", "70112345"}
    own = {encode_secondary(m.secondary)[3::-1].hex() for m in demo_meters() if m.secondary}
    assert not own & recorded
