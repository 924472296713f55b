"""Recorded telegrams with other values in them, and a very short measurement."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from scripts.benchmarks.decode import OURS, measure, ours, report
from scripts.benchmarks.process import BenchError
from scripts.benchmarks.variants import (
    OWN,
    Real,
    Variant,
    default_paths,
    difference,
    recording,
    recordings,
    variant,
)

OWN_PATHS = sorted(OWN.glob("*.hex"))


def own(name: str) -> bytes:
    return bytes.fromhex((OWN / f"{name}.hex").read_text())


def test_every_variant_says_what_was_written_into_it() -> None:
    random = Random(1)
    for each in recordings(OWN_PATHS):
        for number in range(20):
            made = variant(each, random, number)
            assert difference(ours(made.data), made) == "", each.name


def test_no_two_variants_are_the_same_and_all_have_the_layout_of_the_recording() -> None:
    each = recording("heat", own("heat-1-of-2"))
    random = Random(1)
    made = [variant(each, random, number).data for number in range(50)]
    assert len(set(made)) == 50
    assert {len(data) for data in made} == {len(each.data)}
    assert {data[15] for data in made} == {0x31 + number for number in range(50)}
    # The first record: DIF, VIF, four bytes of data; the second one begins behind it.
    assert {data[19:21] for data in made} == {bytes.fromhex("04 78")}
    assert {data[25:27] for data in made} == {bytes.fromhex("04 07")}
    assert len({data[21:25] for data in made}) == 50


def test_each_kind_of_record_is_written_anew() -> None:
    kinds = {place.kind for each in recordings(OWN_PATHS) for place in each.places}
    assert kinds >= {"bcd", "signed", "time", "text", "bytes"}


def test_what_a_meter_marks_as_invalid_stays_so() -> None:
    each = recording("invalid", own("invalid-values"))
    made = variant(each, Random(1), 0)
    kept = [n for n, value in enumerate(each.values) if value is None]
    assert kept
    assert all(made.values[n] is None for n in kept)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((), "0 records, not 2"),
        ((Decimal(2), Decimal("6.4175")), "record 0: Decimal('2'), not Decimal('1')"),
        ((1.0, Decimal("6.4175")), "record 0: 1.0, not Decimal('1')"),
        ((Decimal(1), datetime.date(2026, 1, 1)), "record 1: "),
        ((Decimal(1), Decimal("6.4176")), "record 1: "),
        ((Decimal(1), Decimal("6.4175")), ""),
    ],
)
def test_a_wrong_value_is_seen(values: tuple[object, ...], told: str) -> None:
    six = Real(bytes.fromhex("29 5C CD 40"), Decimal(1), Decimal(0))  # 6.4175
    assert difference(values, Variant(b"", (Decimal(1), six))).startswith(told)


def test_a_folder_without_telegrams_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no \.hex files"):
        default_paths(tmp_path)
    (tmp_path / "short.hex").write_text("10 40 FD 3D 16")
    with pytest.raises(BenchError, match="not one whole long frame"):
        recordings(default_paths(tmp_path))


# pyMeterBus is of a time when some things were not deprecated yet.
@pytest.mark.filterwarnings("default")
def test_a_short_measurement_has_all_its_figures() -> None:
    result = measure(OWN_PATHS[:3], variants=8, rounds=2)
    assert result.telegrams == 3
    # Four of the eight variants in the round that warms up and in each other one.
    assert result.checked == 3 * 4 * 3
    assert result.rates[OURS] > 0
    assert set(result.microseconds) == {path.stem for path in OWN_PATHS[:3]}
    for comparison in result.comparisons:
        assert len(comparison.ratios) == 2
        assert comparison.ratio > 0
    assert {sight.decoder for sight in result.sights} == set(result.rates)
    text = report(result, each=True)
    assert text.startswith("3 telegrams of ")
    assert "Telegrams a second" in text
