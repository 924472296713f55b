"""The measurements of the bus, each in a short version: on processes, and on a clock that jumps."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.mbus.frame import LongFrame, encode_frame
from bridge.points.meter import MeterPlan
from bridge.points.reading import Kind, Point
from scripts.benchmarks import damage, dead, many, month, share
from scripts.benchmarks.__main__ import app
from scripts.benchmarks.harm import WEIGHTS, Dice, Harm
from scripts.benchmarks.running import OWN, ROOT
from scripts.benchmarks.truth import Witness
from scripts.benchmarks.virtual import START, run_virtual
from scripts.benchmarks.world import BEGIN, make_meters

PATHS = sorted(OWN.glob("*.hex"))[:6]
QUICK = 38400  # baud

ANSWER = encode_frame(LongFrame(0x08, 5, 0x72, bytes.fromhex("0C 13 56 34 12 00") * 4))
OTHER = encode_frame(LongFrame(0x08, 7, 0x72, bytes.fromhex("0C 06 11 22 33 00") * 3))


@pytest.fixture(autouse=True)
def _from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that are started import from there."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_share_of_what_no_master_can_avoid() -> None:
    ways = (share.WAYS[0], share.WAYS[2])
    rows = asyncio.run(share.measure(PATHS, seconds=2.0, baudrates=[QUICK], ways=ways))
    assert [row.way for row in rows] == ["pseudo terminal", "TCP, 20 ms"]
    for row in rows:
        assert row.is_right, row.result.differences
        assert 0.2 < row.unavoidable <= 1.0
    # Most of the time is the way's: it is counted.
    assert rows[1].wire < 0.9 * rows[1].unavoidable
    text = share.report(rows)
    assert "pseudo terminal" in text
    assert "DIFFER" not in text


def test_a_dead_meter_has_its_turns_counted() -> None:
    result = asyncio.run(dead.measure(PATHS, baudrate=QUICK, every="continuous", seconds=8.0))
    first, *later = result.turns
    assert first.tries == 3
    assert first.cost > 3 * 0.05  # 50 ms and 330 bit times, three times
    assert len(later) == 1  # after five seconds, once more in full; then with one try
    assert 0 < result.share < 0.9
    assert "3 tries" in dead.report([result])


def test_many_segments_have_a_share_each() -> None:
    result = asyncio.run(many.measure(PATHS, segments=3, baudrate=2400, seconds=3.0, simulators=2))
    assert len(result.shares) == 3
    assert all(0.5 < each <= 1.001 for each in result.shares)
    assert result.answers > 3
    assert result.bridge_cpu > 0
    assert len(result.simulator_cpu) == 2
    assert result.objects > 20
    assert result.latencies["worst"] >= result.latencies["median"] > 0
    assert "3 segments over TCP" in many.report(result)


@pytest.mark.parametrize("parity", [False, True])
def test_damage_is_done_and_no_wrong_value_reaches_a_point(parity: bool) -> None:
    result = damage.measure(1500, share=0.3, parity=parity, seed=3)
    assert result.is_right, result.wrong
    assert result.telegrams >= 1500
    assert set(result.struck) == set(map(str, Harm))
    assert sum(result.passed.values()) > 10
    # What passes the checksum has a character with a wrong parity; but for rare doubles.
    assert sum(result.unmarked.values()) <= 1
    assert result.values["told"] > 1000
    assert ("parity" in result.damage) is parity
    assert result.doubts > 0
    assert "wrong values            0" in damage.report([result])


def test_a_few_hours_of_the_month() -> None:
    result = month.measure(0.25, seed=1)
    assert result.is_right
    assert result.due > 20 * 4 * 5
    assert result.drops > 30
    assert result.silences > 20
    assert set(result.resident) == {"0.25"}
    assert "lost                    0" in month.report(result)


def test_the_commands_show_text_and_json() -> None:
    runner = CliRunner()
    told = runner.invoke(app, ["bus", "month", "--days", "0.1"])
    assert told.exit_code == 0
    assert "readings due" in told.output
    command = ["bus", "damage", "--telegrams", "300", "--parity", "--format", "json"]
    told = runner.invoke(app, command)
    assert told.exit_code == 0
    (result,) = json.loads(told.output)
    assert result["parity"] is True
    assert result["telegrams"] >= 300


def test_on_the_clock_that_jumps_a_day_takes_a_moment() -> None:
    async def a_day() -> float:
        await asyncio.sleep(86400.0)
        return asyncio.get_running_loop().time()

    assert run_virtual(a_day()) == pytest.approx(START + 86400.0)


def test_where_nothing_can_happen_any_more_the_clock_does_not_stand_still() -> None:
    async def for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="nothing is left"):
        run_virtual(for_ever())


def test_each_kind_of_harm_does_something(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in Harm:
        dice = Dice(0.0, seed=1)
        dice.strike(OTHER)
        dice.share = 1.0
        monkeypatch.setattr(dice, "_kinds", [kind])
        monkeypatch.setattr(dice, "_weights", [1])
        struck = [dice.strike(ANSWER) for _ in range(50)]
        assert dice.struck == {kind: 50}
        assert any(each.data != ANSWER or each.delay or each.broken for each in struck)


def test_two_flips_in_one_column_pass_the_checksum_and_not_the_parity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = Dice(1.0, seed=1)
    monkeypatch.setattr(dice, "_kinds", [Harm.TWINS])
    monkeypatch.setattr(dice, "_weights", [1])
    struck = [dice.strike(ANSWER) for _ in range(100)]
    assert {len(each.broken) for each in struck} == {2}
    # The checksum does not see them; where one is in the address, another meter seems to speak.
    assert dice.passed[Harm.TWINS] == 100
    assert dice.unmarked.total() == 0


def test_all_kinds_of_harm_have_a_weight() -> None:
    assert set(WEIGHTS) == set(Harm)


def test_a_value_that_the_meter_told_is_right_and_another_is_not() -> None:
    (meter,) = make_meters(1, baudrate=2400, seed=1)
    witness = Witness(meter, MeterPlan(meter.name, "", max_age=60.0), BEGIN)
    point = Point("cold-water-1.volume", "cold-water-1", Kind.NUMBER, "cubic-meters")
    meter.readout.telegrams(BEGIN)
    meter.readout.telegrams(BEGIN + dt.timedelta(days=1))
    witness.reading_made()
    first, last = (
        next(r.value for part in part_of for r in part if r.head == bytes.fromhex("04 13"))
        for part_of in (
            meter.readout.records(BEGIN),  # type: ignore[attr-defined]
            meter.readout.records(BEGIN + dt.timedelta(days=1)),  # type: ignore[attr-defined]
        )
    )
    assert witness.judge(point, first)[0] == "told"
    assert witness.judge(point, (first + last) / 2)[0] == "between"
    verdict, told = witness.judge(point, last + Decimal("0.001"))
    assert verdict == "wrong"
    assert str(last) in told
    stray = Point("cold-water-1.energy", "cold-water-1", Kind.NUMBER, "kilowatt-hours")
    assert witness.judge(stray, Decimal(1)) == ("wrong", ("no such record",))


def test_a_due_reading_that_was_not_made_is_lost() -> None:
    slots = month.Slots(900.0)
    for at in (0.0, 300.0, 1200.0, 1201.0, 3005.0):  # due at 2100: nothing
        slots.note("m", START + at)
    slots.finish(["m"], START + 5000.0)  # due at 3900: nothing
    assert (slots.made, slots.extra, slots.lost) == (3, 1, 2)
    assert slots.latest == pytest.approx(5.0)
    slots.finish(["never read"], START + 5000.0)
    assert slots.lost == 2 + 5


def test_the_recordings_are_there() -> None:
    assert len(PATHS) == 6
    assert all(isinstance(each, Path) for each in PATHS)


def test_the_clock_that_jumps_comes_to_its_timers_after_a_year_too() -> None:
    async def main() -> float:
        await asyncio.sleep(365 * 86400.0)
        for _ in range(1000):
            await asyncio.sleep(0.1)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(START + 365 * 86400.0 + 100.0)
