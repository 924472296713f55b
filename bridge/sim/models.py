"""The meters of the demonstration: eleven makes, with the records that such meters have.

Identification numbers and values are invented; the order, coding and resolution of the records
are those of the types named. Each readout is a pure function of the meter's local time: counters
are the integrals of the flows and powers beside them, temperatures follow the season and the day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from bridge.sim.demand import (
    AFTERNOON,
    EPOCH,
    EVENING,
    HEATING,
    OFFICE,
    Demand,
    Drift,
    half_year,
    outdoors,
    winter,
)
from bridge.sim.meter import Content
from bridge.sim.records import Record, date, date_time, nothing, number, stored, text

# What one cubic metre of water carries for each kelvin, in Wh; at 50 degrees Celsius or so.
HEAT_CAPACITY = 1150.0

HOUR = Decimal(3600)
DAY = Decimal(86400)
TWO_TO_MINUS_12 = Decimal("0.000244140625")

Telegrams = tuple[tuple[Record, ...], ...]


class ModelReadout:
    """Telegrams made of records that are computed for each instant.

    Args:
        records: the records of each telegram at a local time.
        before: bytes before the first record of the first telegram (fillers, DIF 2F).
        after: bytes behind the last record of the last one (DIF 0F and the manufacturer's data).
    """

    def __init__(
        self,
        records: Callable[[dt.datetime], Telegrams],
        *,
        before: str = "",
        after: str = "",
    ) -> None:
        self.records = records
        self._before = bytes.fromhex(before)
        self._after = bytes.fromhex(after)

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        """The telegrams of one answer, in their order."""
        contents = [b"".join(map(bytes, records)) for records in self.records(when)]
        contents[0] = self._before + contents[0]
        contents[-1] += self._after
        return contents


class Identity(NamedTuple):
    """What distinguishes one meter of a type from the next."""

    seed: str
    number: str  # the identification number, 8 digits

    def fabrication(self, head: str = "0C 78") -> Record:
        """The fabrication number, which is the identification number here."""
        return number(head, int(self.number))


def last_due_date(when: dt.datetime) -> dt.date:
    """The end of the last whole year."""
    return dt.date(when.year - 1, 12, 31)


def month_end(when: dt.datetime, back: int) -> dt.date:
    """The last day of a month that is over; ``back`` 1 is the latest one."""
    months = when.year * 12 + when.month - back
    return dt.date(months // 12, months % 12 + 1, 1) - dt.timedelta(days=1)


def closing(day: dt.date) -> dt.datetime:
    """The instant at which the registers of a day are stored: its end."""
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(days=1)


def age(when: dt.datetime) -> float:
    """Seconds since the epoch, when these meters were put in."""
    return (when - EPOCH).total_seconds()


class Register(NamedTuple):
    """A counter over a demand: what it showed at the epoch, and what was used since."""

    start: float
    demand: Demand

    def at(self, when: dt.datetime) -> float:
        """What it shows."""
        return self.start + self.demand.total(when)


class Circuit(NamedTuple):
    """A heating or cooling circuit: power and flow rise and fall together."""

    energy: Register  # Wh, over a power in W
    volume_start: float  # m3 at the epoch
    idle_flow: float  # m3/h without any demand
    flow_share: float  # m3/h for each W
    return_temperature: Drift  # degrees Celsius

    def power(self, when: dt.datetime) -> float:
        """In W."""
        return self.energy.demand.rate(when)

    def flow(self, when: dt.datetime) -> float:
        """In m3/h."""
        return self.idle_flow + self.flow_share * self.power(when)

    @property
    def peak_flow(self) -> float:
        """In m3/h."""
        return self.idle_flow + self.flow_share * self.energy.demand.peak

    def difference(self, when: dt.datetime) -> float:
        """Between flow and return, in K: what power and flow leave it to be."""
        return self.power(when) / (HEAT_CAPACITY * self.flow(when))

    def volume(self, when: dt.datetime) -> float:
        """In m3."""
        used = self.idle_flow * age(when) / 3600
        return self.volume_start + used + self.flow_share * self.energy.demand.total(when)


def cold_water(own: Identity) -> ModelReadout:
    """A pulse module on a cold water meter (ACW, Cyble)."""
    water = Register(1204.0, Demand(0.42, weekend=1.15, ripple=0.6, seed=own.seed))

    def records(when: dt.datetime) -> Telegrams:
        return (
            (
                own.fabrication(),
                text("0D 7C 08 44 49 20 2E 74 73 75 63", "RISER A1"),  # "cust. ID"
                date_time("04 6D", when),
                number(
                    "02 7C 09 65 6D 69 74 20 2E 74 61 62", max(0.0, 4000 - age(when) / 86400)
                ),  # "bat. time"
                number("04 13", water.at(when), -3),
                number("04 93 3C", 0.012, -3),
                number("44 13", water.at(closing(last_due_date(when))), -3),
            ),
        )

    return ModelReadout(records, after="0F 00 01 1F")


def warm_water(own: Identity) -> ModelReadout:
    """A compact warm water meter (EFE, WaterStar)."""
    use = Demand(0.18, weekend=1.2, year=winter(0.15), ripple=0.7, seed=own.seed)
    water = Register(388.0, use)

    def records(when: dt.datetime) -> Telegrams:
        due, month = last_due_date(when), month_end(when, 1)
        return (
            (
                own.fabrication("04 78"),
                date_time("04 6D", when),
                number("04 13", water.at(when), -3),
                number("44 13", water.at(closing(due)), -3),
                number("84 01 13", water.at(closing(month)), -3),
                date("42 6C", due),
                date("82 01 6C", month),
                number("04 3B", use.rate(when), -3),
                number("14 3B", use.peak, -3),
                number("02 23", age(when), factor=DAY),
                number("01 FD 17", 0),
                number("04 90 28", 0.001, -6),
            ),
        )

    return ModelReadout(records)


def gas(own: Identity) -> ModelReadout:
    """A diaphragm gas meter that tells the value of the last full hour (LGB, G350)."""
    gas_used = Register(9120.0, Demand(1.6, day=HEATING, year=winter(0.8), seed=own.seed))

    def records(when: dt.datetime) -> Telegrams:
        hour = when.replace(minute=0, second=0, microsecond=0)
        return (
            (
                number("4C 13", gas_used.at(hour), -3),
                date_time("46 6D", hour),
                text("0D 78", f"G0021{own.number}22"),
                number("89 40 FD 1A", 1),
                number("01 FD 17", 0),
                number("01 FD 67", 15),
            ),
        )

    return ModelReadout(records, before="2F 2F")


def heat_two_telegrams(own: Identity) -> ModelReadout:
    """A heat meter with a second telegram for due date and months (SVM, F22)."""
    circuit = Circuit(
        energy=Register(96_200e3, Demand(21e3, day=HEATING, year=winter(0.85), seed=own.seed)),
        volume_start=4480.0,
        idle_flow=0.15,
        flow_share=0.03e-3,
        return_temperature=Drift(38.0, (2.5, 24.0), (1.5, 131.0), seed=own.seed),
    )
    pulses = [Register(51.0 * n, Demand(0.01 * n, seed=f"{own.seed}/{n}")) for n in (1, 2)]

    def now(when: dt.datetime) -> tuple[Record, ...]:
        cold, difference = circuit.return_temperature.at(when), circuit.difference(when)
        return (
            number("04 06", circuit.energy.at(when), 3),
            number("04 14", circuit.volume(when), -2),
            number("84 40 14", circuit.volume(when), -2),
            number("02 5A", cold + difference, -1),
            number("02 5E", cold, -1),
            number("02 62", difference, -1),
            number("04 22", age(when), factor=HOUR),
            number("04 26", age(when) - 7 * 3600, factor=HOUR),
            number("04 3B", circuit.flow(when), -3),
            number("04 2C", circuit.power(when), 1),
            date_time("04 6D", when),
            number("84 40 6E", pulses[0].at(when)),
            number("84 80 40 6E", pulses[1].at(when)),
        )

    def history(when: dt.datetime) -> Iterator[Record]:
        due = last_due_date(when)
        yield date("42 6C", due)
        yield number("44 06", circuit.energy.at(closing(due)), 3)
        yield number("44 14", circuit.volume(closing(due)), -2)
        for back in (1, 2, 3):
            month, storage = month_end(when, back), 7 + back
            yield date(stored("02 6C", storage), month)
            yield number(stored("04 06", storage), circuit.energy.at(closing(month)), 3)

    return ModelReadout(lambda when: (now(when), tuple(history(when))), after="0F 01 00 16")


def heat_with_tariffs(own: Identity) -> ModelReadout:
    """A heat meter with tariffs and two pulse inputs in one long telegram (KAM, Multical)."""
    circuit = Circuit(
        energy=Register(311_000e3, Demand(64e3, day=HEATING, year=winter(0.8), seed=own.seed)),
        volume_start=15_300.0,
        idle_flow=0.4,
        flow_share=0.022e-3,
        return_temperature=Drift(41.0, (2.0, 24.0), (2.0, 97.0), seed=own.seed),
    )
    inputs = [Register(210.0 * n, Demand(0.09, seed=f"{own.seed}/{n}")) for n in (1, 2)]

    def counters(when: dt.datetime, storage: int) -> Iterator[Record]:
        energy = circuit.energy.at(when)
        yield number(stored("04 06", storage), energy, 3)
        yield number(stored("04 14", storage), circuit.volume(when), -2)

    def parts(when: dt.datetime, due: bool) -> Iterator[Record]:
        first = "C4" if due else "84"
        yield number(f"{first} 10 06", 0.31 * circuit.energy.at(when), 3)
        yield number(f"{first} 20 06", 0.69 * circuit.energy.at(when), 3)
        yield number(f"{first} 40 14", inputs[0].at(when), -2)
        yield number(f"{first} 80 40 14", inputs[1].at(when), -2)

    def records(when: dt.datetime) -> Telegrams:
        cold, difference = circuit.return_temperature.at(when), circuit.difference(when)
        due = last_due_date(when)
        end = closing(due)
        peak = circuit.energy.demand.peak
        return (
            (
                own.fabrication(),
                *counters(when, 0),
                number("04 22", age(when), factor=HOUR),
                number("04 59", cold + difference, -2),
                number("04 5D", cold, -2),
                number("04 61", difference, -2),
                number("04 2D", circuit.power(when), 2),
                number("14 2D", peak, 2),
                number("04 3B", circuit.flow(when), -3),
                number("14 3B", circuit.peak_flow, -3),
                *parts(when, due=False),
                date_time("04 6D", when),
                *counters(end, 1),
                number("54 2D", peak, 2),
                number("54 3B", circuit.peak_flow, -3),
                *parts(end, due=True),
                date("42 6C", due),
            ),
        )

    return ModelReadout(records, after="0F 00 00 00 00 44 28 01 00")


def heat_and_cooling(own: Identity) -> ModelReadout:
    """A meter for both, in BCD, with cooling energy as tariff 1 (LUG, Ultraheat T550)."""
    flow_back = Drift(27.0, (1.0, 24.0), (0.7, 83.0), seed=own.seed)
    heating = Circuit(
        energy=Register(
            48_100e3, Demand(9e3, day=HEATING, year=half_year(cold=True), seed=own.seed)
        ),
        volume_start=7204.0,
        idle_flow=0.2,
        flow_share=0.06e-3,
        return_temperature=flow_back,
    )
    # Never both at once: the water that cools is counted with that which heats.
    cooling = Circuit(
        energy=Register(
            22_500e3,
            Demand(6e3, day=AFTERNOON, year=half_year(cold=False), seed=f"{own.seed}/cooling"),
        ),
        volume_start=0.0,
        idle_flow=0.0,
        flow_share=0.06e-3,
        return_temperature=flow_back,
    )

    def records(when: dt.datetime) -> Telegrams:
        due = last_due_date(when)
        end = closing(due)
        power = heating.power(when) - cooling.power(when)
        flow = heating.flow(when) + cooling.flow(when)
        cold, difference = flow_back.at(when), power / (HEAT_CAPACITY * flow)
        return (
            (
                number("09 74", 4),
                number("09 70", 60),
                number("0C 06", heating.energy.at(when), 3),
                number("8C 10 06", cooling.energy.at(when), 3),
                number("0C 14", heating.volume(when) + cooling.volume(when), -2),
                number("0B 2D", power, 2),
                number("0B 3B", flow, -3),
                number("0A 5A", cold + difference, -1),
                number("0A 5E", cold, -1),
                number("0B 61", difference, -2),
                number("4C 06", heating.energy.at(end), 3),
                number("CC 10 06", cooling.energy.at(end), 3),
                number("4C 14", heating.volume(end) + cooling.volume(end), -2),
                date("42 6C", due),
                own.fabrication(),
                number("9B 10 2D", heating.energy.demand.peak, 2),
                number("9B 10 3B", heating.peak_flow, -3),
                number("0C 22", age(when), factor=HOUR),
                number("3C 22", 2 * 3600, factor=HOUR),
                date_time("04 6D", when),
            ),
        )

    return ModelReadout(records, after="0F 01 00 00 02 18")


def cooling(own: Identity) -> ModelReadout:
    """A chilled water meter that sends reals (AMT, Calec)."""
    circuit = Circuit(
        energy=Register(
            71_000e3,
            Demand(38e3, day=OFFICE, weekend=0.6, year=winter(-0.7), seed=own.seed),
        ),
        volume_start=11_020.0,
        idle_flow=1.5,
        flow_share=0.13e-3,
        return_temperature=Drift(12.4, (0.6, 24.0), (0.3, 61.0), seed=own.seed),
    )

    def records(when: dt.datetime) -> Telegrams:
        warm = circuit.return_temperature.at(when)
        return (
            (
                number("03 06", circuit.energy.at(when), 3),
                number("03 15", circuit.volume(when), -1),
                number("05 2E", circuit.power(when), 3),
                number("05 3D", circuit.flow(when), -1),
                number("05 5B", warm - circuit.difference(when), 0),
                number("05 5F", warm, 0),
            ),
        )

    return ModelReadout(records)


def electricity(own: Identity) -> ModelReadout:
    """A three-phase electricity meter with two tariffs (EMU, Professional)."""
    phases = [
        Demand(mean, day=OFFICE, weekend=0.5, ripple=0.15, seed=f"{own.seed}/L{n}")
        for n, mean in enumerate((3100.0, 2700.0, 3600.0), start=1)
    ]
    # The same seeds: what is used from 6 to 22 o'clock, and all else.
    by_day = [
        Demand(
            mean, day=OFFICE, weekend=0.5, ripple=0.15, hours=range(6, 22), seed=f"{own.seed}/L{n}"
        )
        for n, mean in enumerate((3100.0, 2700.0, 3600.0), start=1)
    ]
    voltages = [
        Drift(230.5, (2.0, 24.0), (1.2, 0.7), (0.6, 0.11), seed=f"{own.seed}/U{n}")
        for n in (1, 2, 3)
    ]
    frequency = Drift(50.0, (0.06, 0.05), seed=own.seed)
    factor = Drift(0.96, (0.02, 12.0), (0.01, 0.9), seed=own.seed)
    # Reactive power is that part of the power, all the time.
    reactive = 0.24

    def records(when: dt.datetime) -> Telegrams:
        powers = [phase.rate(when) for phase in phases]
        volts = [voltage.at(when) for voltage in voltages]
        total = 812_000e3 + sum(phase.total(when) for phase in phases)
        day = 590_000e3 + sum(phase.total(when) for phase in by_day)
        cosine = factor.at(when)
        currents = [power / (volt * cosine) for power, volt in zip(powers, volts, strict=True)]
        lines = ("01", "02", "03")
        return (
            (
                number("8E 10 03", day),
                number("8E 20 03", total - day),
                number("04 2B", sum(powers)),
                *(number(f"04 A9 FC {n}", p, -2) for n, p in zip(lines, powers, strict=True)),
                *(number(f"02 FD C8 FC {n}", u, -1) for n, u in zip(lines, volts, strict=True)),
                *(number(f"03 FD D9 FC {n}", i, -3) for n, i in zip(lines, currents, strict=True)),
                number("02 FB 2E", frequency.at(when), -1),
                number("02 FD BA 73", cosine, -3),
                number("04 FB 82 75", reactive * total / 1000, -1),
                number("04 FB 14", reactive * sum(powers) / 1000, -3),
                number("04 FB 34", sum(powers) / cosine / 1000, -3),
                number("01 FF 13", 0),
            ),
        )

    return ModelReadout(records)


def heat_cost_allocator(own: Identity) -> ModelReadout:
    """An allocator on a radiator, behind a wired adapter (QDS, Q caloric)."""
    units = Register(0.0, Demand(0.21, day=HEATING, year=winter(1.0), seed=own.seed))

    def records(when: dt.datetime) -> Telegrams:
        due, month = last_due_date(when), month_end(when, 1)
        room = 20.6 + 0.06 * outdoors(when)
        warmth = units.demand.rate(when) * 60
        return (
            (
                number("0B 6E", units.at(when) - units.at(closing(due))),
                date("42 6C", due),
                number("4B 6E", units.at(closing(due))),
                number("8B 04 6E", units.at(closing(month))),
                date("82 04 6C", month),
                number("02 66", room, -1),
                number("02 5A", min(70.0, room + warmth), -1),
                nothing("32 6C"),
                number("02 FB 68", 1.125, factor=TWO_TO_MINUS_12),
            ),
        )

    return ModelReadout(records)


def pulse_adapter(own: Identity) -> ModelReadout:
    """A pulse adapter on a garden's water meter (REL, PadPuls)."""
    water = Register(77.0, Demand(0.05, day=EVENING, year=winter(-1.0), seed=own.seed))

    def records(when: dt.datetime) -> Telegrams:
        due = last_due_date(when)
        return (
            (
                number("0C 13", water.at(when), -3),
                date_time("04 6D", when),
                date("42 6C", due),
                number("4C 13", water.at(closing(due)), -3),
                date("42 EC 7E", dt.date(when.year, 12, 31)),
            ),
        )

    return ModelReadout(records, after="0F 05 00 01 00")


def room_sensor(own: Identity) -> ModelReadout:
    """A room sensor with the last day's extremes, and hours in a second telegram (ELV, CMa)."""
    warmth = Drift(21.6, (0.9, 24.0), (0.4, 67.0), (0.1, 1.3), seed=own.seed)
    damp = Drift(44.0, (4.0, 24.0), (5.0, 151.0), (0.8, 1.7), seed=f"{own.seed}/humidity")
    humidity = "FC 03 48 52 25 74"  # "%RH", times 0.01

    def of_day(when: dt.datetime, what: Drift) -> list[float]:
        return [what.at(when - dt.timedelta(minutes=15 * n)) for n in range(97)]

    def now(when: dt.datetime) -> Iterator[Record]:
        humid, warm = of_day(when, damp), of_day(when, warmth)
        yield number("01 FD 1B", 0)
        yield number(f"02 {humidity}", humid[0], -2)
        yield number(f"22 {humidity}", min(humid), -2)
        yield number(f"12 {humidity}", max(humid), -2)
        yield number("02 65", warm[0], -2)
        yield number("22 65", min(warm), -2)
        yield number("12 65", max(warm), -2)
        yield number("01 72", 24 * 3600, factor=HOUR)
        yield number("42 65", sum(warm[:4]) / 4, -2)
        yield number("82 01 65", sum(warm) / len(warm), -2)
        yield own.fabrication()
        yield number("03 FD 0F", 0x040002)

    def hours(when: dt.datetime) -> Iterator[Record]:
        hour = when.replace(minute=0, second=0, microsecond=0)
        yield date_time("84 04 6D", hour)
        for back in range(8):
            then = hour - dt.timedelta(hours=back)
            yield number(stored("02 65", 8 + back), warmth.at(then), -2)

    return ModelReadout(lambda when: (tuple(now(when)), tuple(hours(when))))
