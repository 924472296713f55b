"""Use over time: counters are the integrals of their flows, at any instant."""

from __future__ import annotations

import datetime as dt

import pytest

from bridge.sim.demand import EPOCH, HEATING, Demand, Drift, half_year, outdoors, winter

INSTANTS = [
    dt.datetime(2024, 1, 1),
    dt.datetime(2024, 12, 29, 23, 59),
    dt.datetime(2026, 3, 9, 7, 37, 21),
    dt.datetime(2031, 8, 17, 3, 0, 1),
]


@pytest.mark.parametrize("when", INSTANTS)
def test_a_counter_is_the_integral_of_its_flow(when: dt.datetime) -> None:
    use = Demand(2.0, day=HEATING, weekend=0.7, year=winter(0.5), ripple=0.9, seed="x")
    step = dt.timedelta(seconds=1)
    middle = (use.rate(when + n * step + step / 2) for n in range(2000))
    summed = sum(middle) / 3600
    counted = use.total(when + 2000 * step) - use.total(when)
    assert counted == pytest.approx(summed, rel=1e-4)


def test_the_mean_over_a_year_is_what_was_asked_for() -> None:
    use = Demand(2.0, day=HEATING, year=winter(0.8), seed="x")
    year = dt.timedelta(weeks=52)
    assert use.total(EPOCH + year) / (year.total_seconds() / 3600) == pytest.approx(2.0)


def test_counters_never_run_backwards_and_flow_stays_within_its_peak() -> None:
    use = Demand(2.0, year=winter(1.0), ripple=0.9, seed="x")
    begin = dt.datetime(2026, 2, 1)
    moments = [begin + dt.timedelta(minutes=7 * n) for n in range(1500)]
    totals = [use.total(moment) for moment in moments]
    assert totals == sorted(totals)
    assert all(0 <= use.rate(moment) <= use.peak for moment in moments)


def test_two_tariffs_are_parts_of_one_use() -> None:
    day, night, whole = (
        Demand(3.0, hours=hours, seed="x") for hours in (range(6, 22), range(6), None)
    )
    noon, early = dt.datetime(2026, 3, 9, 12, 5), dt.datetime(2026, 3, 9, 2, 5)
    assert (day.rate(noon), night.rate(noon)) == (whole.rate(noon), 0)
    assert (day.rate(early), night.rate(early)) == (0, whole.rate(early))


def test_heating_and_cooling_halves_of_the_year_never_meet() -> None:
    cold, warm = half_year(cold=True), half_year(cold=False)
    assert all(first == 0 or second == 0 for first, second in zip(cold, warm, strict=True))
    assert cold[2] > 0 == cold[28]


def test_temperatures_drift_around_their_middle() -> None:
    drift = Drift(21.0, (1.0, 24.0), (0.5, 7.0), seed="x")
    values = [drift.at(EPOCH + dt.timedelta(minutes=10 * n)) for n in range(2000)]
    assert 19.5 <= min(values) < 20.2 < 21.8 < max(values) <= 22.5
    assert outdoors(dt.datetime(2026, 1, 20)) < 8 < 14 < outdoors(dt.datetime(2026, 7, 20))
