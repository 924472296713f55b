"""The demonstration's segment: which meters hang on it, and a description of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.words import device_type_name
from bridge.sim import models
from bridge.sim.meter import SimulatedMeter
from bridge.sim.models import Identity, ModelReadout


class Model(NamedTuple):
    """A type of meter.

    Args:
        title: as its maker calls it.
        manufacturer, version, device_type: as in its header.
        build: makes a readout for one meter.
        answer_delay: seconds that such a meter takes to answer; they differ by what feeds them.
    """

    title: str
    manufacturer: str
    version: int
    device_type: int
    build: Callable[[Identity], ModelReadout]
    answer_delay: float


MODELS: dict[str, Model] = {
    "cold-water": Model("Cyble", "ACW", 0x14, 0x16, models.cold_water, 0.048),
    "warm-water": Model("WaterStar", "EFE", 0x00, 0x06, models.warm_water, 0.062),
    "gas": Model("G350", "LGB", 0x40, 0x03, models.gas, 0.071),
    "heat-two-telegrams": Model("F22", "SVM", 0x09, 0x04, models.heat_two_telegrams, 0.120),
    "heat-with-tariffs": Model("Multical", "KAM", 0x08, 0x04, models.heat_with_tariffs, 0.033),
    "heat-and-cooling": Model("Ultraheat T550", "LUG", 0x04, 0x0D, models.heat_and_cooling, 0.140),
    "cooling": Model("Calec", "AMT", 0x34, 0x0A, models.cooling, 0.026),
    "electricity": Model("Professional", "EMU", 0x10, 0x02, models.electricity, 0.055),
    "heat-cost": Model("Q caloric", "QDS", 0x35, 0x08, models.heat_cost_allocator, 0.081),
    "pulse": Model("PadPuls", "REL", 0x41, 0x07, models.pulse_adapter, 0.018),
    "room": Model("CMa", "ELV", 0x32, 0x1B, models.room_sensor, 0.022),
}

_DEMO = (
    ("cold-water", "cold-water", 1, "20414711"),
    ("warm-water", "warm-water", 2, "30817355"),
    ("gas", "gas", 3, "12407719"),
    ("heat-1", "heat-two-telegrams", 4, "01117342"),
    ("heat-2", "heat-with-tariffs", 5, "65203918"),
    ("heat-cool", "heat-and-cooling", 6, "66190042"),
    ("cooling", "cooling", 7, "41370285"),
    ("electricity", "electricity", 8, "00731946"),
    ("heat-cost", "heat-cost", 9, "48220917"),
    ("garden", "pulse", 10, "22050813"),
    # Nobody gave it a primary address: it is read by its secondary one.
    ("room", "room", 0, "54020671"),
)


def make_meter(
    name: str, model: str, *, primary: int, number: str, baudrate: int = 2400, seed: int = 1
) -> SimulatedMeter:
    """One meter of a type in `MODELS`.

    Args:
        name: its name on the bus.
        model: a key of `MODELS`.
        primary: 0 to 250.
        number: its identification number, 8 digits.
        baudrate: 300 to 38400.
        seed: with the name, for its values and its delays.

    Raises:
        KeyError: there is no such model.
    """
    kind = MODELS[model]
    return SimulatedMeter(
        name,
        kind.build(Identity(f"{seed}/{name}", number)),
        primary=primary,
        secondary=SecondaryAddress(number, kind.manufacturer, kind.version, kind.device_type),
        model=kind.title,
        baudrate=baudrate,
        answer_delay=kind.answer_delay,
        seed=seed,
    )


def demo_meters(*, baudrate: int = 2400, seed: int = 1) -> list[SimulatedMeter]:
    """The meters of the demonstration: eleven, of as many makes; the same ones for the same seed.

    All but the last have a primary address of their own. The last, ``room``, is at 0 as it came
    from the factory.
    """
    return [
        make_meter(name, model, primary=primary, number=number, baudrate=baudrate, seed=seed)
        for name, model, primary, number in _DEMO
    ]


def describe(meters: Iterable[SimulatedMeter]) -> list[dict[str, str | int | list[str] | None]]:
    """What the segment holds, ready for JSON: one object a meter."""
    return [
        {
            "name": meter.name,
            "primary": meter.primary,
            "secondary": None if meter.secondary is None else str(meter.secondary),
            "make": None if meter.secondary is None else meter.secondary.manufacturer,
            "model": meter.model,
            "medium": medium(meter),
            "baudrate": meter.baudrate,
            "notes": list(meter.notes),
        }
        for meter in meters
    ]


def description(meters: Iterable[SimulatedMeter]) -> str:
    """The same as a table for a terminal, one line a meter."""
    head = ("NAME", "PRIMARY", "SECONDARY", "MAKE", "MEDIUM", "MODEL", "")
    rows = [head]
    for each in describe(meters):
        notes = each["notes"]
        rows.append(
            (
                str(each["name"]),
                str(each["primary"]),
                str(each["secondary"] or "-"),
                str(each["make"] or "-"),
                str(each["medium"]),
                str(each["model"]),
                "; ".join(notes) if isinstance(notes, list) else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def medium(meter: SimulatedMeter) -> str:
    """What it measures, by its device type."""
    code = None if meter.secondary is None else meter.secondary.device_type
    return "unknown" if code is None else device_type_name(code)
