from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.config.base import Model
from bridge.config.model import Bacnet, Bus, Device, Meter, Point, Site
from bridge.units import Quantity


def every_model() -> list[type[Model]]:
    found: list[type[Model]] = []
    waiting: list[type[Model]] = [Model]
    while waiting:
        children = [
            child
            for child in waiting.pop().__subclasses__()
            if child.__module__.startswith("bridge.config.")
        ]
        found += children
        waiting += children
    return found


def test_every_key_says_what_it_means() -> None:
    for model in every_model():
        for key, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{key}"


def test_models_are_made_in_python_with_plain_values() -> None:
    site = Site(
        device=Device(instance=1),
        bacnet=Bacnet(address="127.0.0.1/8"),
        buses={"b": Bus(port="tcp://127.0.0.1:1", every=0.0, meters={"m": Meter(address=1)})},
    )
    bus = site.buses["b"]
    assert bus.every_of(bus.meters["m"]) == 0.0
    assert bus.meters["m"].where == "1"
    assert Meter(secondary="12345678").where == "12345678"


def test_nothing_of_a_site_can_be_changed() -> None:
    bus = Bus(port="/dev/ttyUSB0", meters={"m": Meter(address=1)})
    with pytest.raises(ValidationError, match="frozen"):
        bus.port = "/dev/ttyUSB1"
    with pytest.raises(TypeError, match="does not support item assignment"):
        bus.meters["n"] = Meter(address=2)  # type: ignore[index]


def test_a_site_can_be_dumped() -> None:
    bus = Bus(port="/dev/ttyUSB0", meters={"m": Meter(address=1, points={"p": Point(vif=b"\x13")})})
    dumped = bus.model_dump()
    assert dumped["meters"]["m"]["points"]["p"]["vif"] == b"\x13"


def test_what_contradicts_itself_makes_no_model() -> None:
    with pytest.raises(ValidationError, match="primary and a secondary"):
        Meter(address=1, secondary="12345678")
    with pytest.raises(ValidationError, match="both quantity and vif"):
        Point(quantity=Quantity.VOLUME, vif=b"\x13")
