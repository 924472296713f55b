"""What is lost, damaged or moved is found: else the figures would mean nothing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.points.history import HISTORY_FILE, History
from bridge.points.reading import Kind, Point, Reading
from scripts.benchmarks import kill

AT = 1_800_000_000.125
VOLUME = Point("water.volume", "water", Kind.NUMBER, "cubic-meters")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    history = History(tmp_path / HISTORY_FILE)
    history.last(VOLUME)
    history.keep("water", {VOLUME.name: Reading(Decimal("0.1"), AT, None)})
    history.close()
    return tmp_path


def seen(at: float, value: float) -> kill._Seen:
    made = kill._Seen()
    made.times["water"], made.values["water.volume"] = {at}, {value}
    return made


def test_what_is_on_record_is_as_bacnet_said_it(state: Path) -> None:
    # A BACnet time has hundredths, a REAL 32 bits.
    assert kill._check(state, seen(1_800_000_000.12, 0.10000000149011612)) == []


def test_what_is_missing_is_found(state: Path) -> None:
    wrong = kill._check(state, seen(AT + 1, 0.2))
    assert wrong == [
        f"water: what was read at {AT + 1} is not on record",
        "water.volume: the value 0.2 is not on record",
    ]
    (state / HISTORY_FILE).unlink()
    assert kill._check(state, seen(AT, 0.1)) == ["there is no history"]


def test_a_file_that_was_set_aside_is_found(state: Path) -> None:
    (state / f"{HISTORY_FILE}.damaged-20261122-230057").touch()
    assert "set aside" in kill._check(state, kill._Seen())[0]


def test_a_short_run_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "SETTLED", 2)
    result = asyncio.run(kill.measure(1, 0.5, full_for=0))
    assert result.is_right, result.wrong
    assert result.kills == 1
    assert result.objects > 100
    assert kill.report(result).endswith("nothing lost, nothing damaged, nothing moved")
