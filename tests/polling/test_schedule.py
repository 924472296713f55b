"""Whose turn it is, with both clocks passed in."""

from __future__ import annotations

import datetime
from collections import Counter
from functools import partial
from itertools import pairwise

import pytest

from bridge.polling.schedule import Plan, Schedule, Turn
from bridge.polling.statistics import FailureKind

NOON = datetime.datetime(2026, 3, 9, 12, 0)
NIGHT = (datetime.time(2), datetime.time(4))
OVER_MIDNIGHT = (datetime.time(22), datetime.time(1))


def wall(now: float, start: datetime.datetime = NOON) -> datetime.datetime:
    """The local time when the monotonic clock, 0 at ``start``, stands at ``now``."""
    return start + datetime.timedelta(seconds=now)


def simulate(
    schedule: Schedule,
    until: float,
    *,
    took: float = 0.5,
    start: datetime.datetime = NOON,
    dead: frozenset[str] = frozenset(),
    dead_took: float = 0.6,
    kind: FailureKind = FailureKind.NO_ANSWER,
    jumps: dict[float, float] | None = None,
) -> list[tuple[float, str]]:
    """Give turns up to ``until``; each takes ``took`` seconds, and a probe a third of the other.

    The ``dead`` fail for the reason of ``kind``. ``jumps`` are steps of the wall clock, in seconds,
    by the time at which somebody sets it.
    """
    now, turns = 0.0, []
    while now < until:
        set_by = sum(step for time, step in (jumps or {}).items() if time <= now)
        local = wall(now + set_by, start)
        turn = schedule.next_turn(now, local)
        if turn is None:
            change = schedule.next_change(now, local)
            assert change is not None
            assert change > now
            now = change
            continue
        turns.append((now, turn.name))
        if turn.name in dead:
            cost = dead_took / 3 if turn.probe else dead_took
            now += cost
            schedule.failed(turn.name, now, kind, took=cost)
        else:
            now += took
            schedule.answered(turn.name, now)
    return turns


def times_of(turns: list[tuple[float, str]], name: str) -> list[float]:
    return [time for time, meter in turns if meter == name]


def test_all_meters_are_read_at_the_start_in_the_order_of_the_file() -> None:
    schedule = Schedule([Plan(name, 900.0) for name in "abc"], 0.0, NOON)
    assert simulate(schedule, 1.5) == [(0.0, "a"), (0.5, "b"), (1.0, "c")]


def test_each_meter_keeps_its_interval() -> None:
    schedule = Schedule([Plan("a", 60.0), Plan("b", 600.0)], 0.0, NOON)
    turns = simulate(schedule, 3600.0)
    assert len(times_of(turns, "a")) in (60, 61)
    assert len(times_of(turns, "b")) in (6, 7)
    later = times_of(turns, "a")[1:]
    gaps = [after - before for before, after in pairwise(later)]
    assert max(gaps) <= 60.6  # it waits for the other meter at most
    assert times_of(turns, "a")[-1] == pytest.approx(3540.0, abs=1.0)  # and nothing drifts


def test_turns_are_spread_over_the_interval() -> None:
    schedule = Schedule([Plan(f"m{number}", 900.0) for number in range(60)], 0.0, NOON)
    turns = [time - 900.0 for time, _ in simulate(schedule, 1800.0) if time >= 900.0]
    assert len(turns) == 60
    # Sixty meters in a quarter of an hour: none of 15 minutes has more than 6 of them.
    for minute in range(15):
        count = sum(1 for time in turns if minute * 60 <= time < (minute + 1) * 60)
        assert count in range(2, 7)


def test_a_bus_that_cannot_keep_up_serves_all_meters_alike() -> None:
    plans = [Plan(f"m{number}", 5.0) for number in range(20)]
    turns = simulate(Schedule(plans, 0.0, NOON), 600.0, took=1.0)
    counts = {plan.name: len(times_of(turns, plan.name)) for plan in plans}
    assert max(counts.values()) - min(counts.values()) <= 2


def test_continuous_meters_take_turns_without_a_pause() -> None:
    schedule = Schedule([Plan("a", 0.0), Plan("b", 0.0)], 0.0, NOON)
    turns = simulate(schedule, 10.0)
    assert turns == [(number * 0.5, "ab"[number % 2]) for number in range(20)]


def test_a_continuous_meter_leaves_the_others_their_turns() -> None:
    schedule = Schedule([Plan("always", 0.0), Plan("minutely", 60.0)], 0.0, NOON)
    turns = simulate(schedule, 600.0)
    assert len(times_of(turns, "minutely")) == 11


def test_a_turn_that_was_missed_is_not_made_up_for() -> None:
    schedule = Schedule([Plan("a", 60.0)], 0.0, NOON)
    schedule.answered("a", 0.5)
    assert schedule.next_turn(600.0, wall(600.0)) == Turn("a")
    schedule.answered("a", 600.5)
    assert schedule.next_turn(601.0, wall(601.0)) is None
    assert schedule.next_change(601.0, wall(601.0)) == pytest.approx(660.0)


def test_a_window_is_kept() -> None:
    schedule = Schedule([Plan("a", 86400.0, NIGHT), Plan("b", 3600.0, NIGHT)], 0.0, NOON)
    turns = simulate(schedule, 3 * 86400.0)
    assert all(2 <= wall(time).hour < 4 for time, _ in turns)
    assert len(times_of(turns, "a")) == 3
    assert len(times_of(turns, "b")) in (6, 7, 8, 9)


def test_a_window_may_lie_over_midnight() -> None:
    turns = simulate(Schedule([Plan("a", 600.0, OVER_MIDNIGHT)], 0.0, NOON), 86400.0)
    hours = {wall(time).hour for time, _ in turns}
    assert hours == {22, 23, 0}
    assert len(turns) in (18, 19)


def test_meters_of_one_window_are_spread_over_its_first_half() -> None:
    plans = [Plan(f"m{number}", 86400.0, NIGHT) for number in range(30)]
    schedule = Schedule(plans, 0.0, NOON)
    turns = [time for time, _ in simulate(schedule, 2 * 86400.0) if time >= 86400.0]
    assert len(turns) == 30
    assert max(turns) - min(turns) > 1800.0
    assert all(2 <= wall(time).hour < 3 for time in turns)


def minutes_of_day(times: list[float]) -> list[int]:
    """How many of these local times lie in each minute, for the minutes that have any."""
    return sorted(Counter(int(time % 86400.0 // 60) for time in times).values())


# At 13:00 of the second day: set by seconds, minutes, hours. Then summer time, that begins at 2:00
# and ends at 3:00 of the second night.
@pytest.mark.parametrize(
    ("at", "step"),
    [
        *((25.0, step) for step in (5.0, -5.0, 600.0, -600.0, 7.3 * 3600.0, -7.3 * 3600.0)),
        (38.0, 3600.0),
        (39.0, -3600.0),
    ],
)
def test_a_wall_clock_that_is_set_moves_no_crowd_to_the_opening(at: float, step: float) -> None:
    plans = [Plan(f"m{number}", 86400.0, NIGHT) for number in range(30)]
    schedule = Schedule(plans, 0.0, NOON)
    turns = simulate(schedule, 6 * 86400.0, jumps={at * 3600.0: step})
    for night in range(6):
        local = [43200.0 + time + (step if time >= at * 3600.0 else 0.0) for time, _ in turns]
        tonight = [
            time for time in local if night * 86400.0 <= time - 43200.0 < (night + 1) * 86400.0
        ]
        assert all(2 <= time % 86400.0 / 3600.0 < 4 for time in tonight)
        assert max(minutes_of_day(tonight), default=0) <= 3
    # Where the clock jumps over hours, the night after may come too early for a day's interval.
    assert set(Counter(name for _, name in turns).values()) == {5 if step > 3600.0 else 6}


def test_a_clock_that_is_set_into_a_window_lets_those_go_whose_place_is_past() -> None:
    plans = [Plan(f"m{number}", 86400.0, NIGHT) for number in range(30)]
    start = datetime.datetime(1970, 1, 1, 6, 0)
    schedule = Schedule(plans, 0.0, start)
    # Ten minutes later it is half past two; half of the places are past, the others are kept.
    turns = simulate(schedule, 7200.0, start=start, jumps={600.0: 73200.0})
    assert len(turns) == 30
    early = [time for time, _ in turns if time < 700.0]
    assert len(early) in (14, 15, 16)
    later = [time + 73200.0 for time, _ in turns if time >= 700.0]
    assert max(minutes_of_day(later)) <= 3


def test_a_request_from_outside_does_not_cost_the_turn_in_the_window() -> None:
    schedule = Schedule([Plan("a", 86400.0, NIGHT)], 0.0, NOON)
    assert schedule.next_turn(0.0, NOON) is None
    schedule.read_now("a", 0.0)
    schedule.answered("a", 1.0)
    assert [time for time, _ in simulate(schedule, 86400.0)] == [pytest.approx(14 * 3600.0)]


def test_the_opening_of_a_window_is_looked_for_every_minute() -> None:
    # The wall clock may be set meanwhile.
    schedule = Schedule([Plan("a", 3600.0, NIGHT)], 0.0, NOON)
    assert schedule.next_turn(0.0, NOON) is None
    assert schedule.next_change(0.0, NOON) == 60.0
    almost = datetime.datetime(2026, 3, 9, 1, 59, 50)
    assert schedule.next_change(0.0, almost) == pytest.approx(10.0)


def test_a_request_from_outside_goes_first_whatever_the_window() -> None:
    schedule = Schedule([Plan("a", 60.0), Plan("b", 60.0, NIGHT)], 0.0, NOON)
    schedule.read_now("b", 0.0)
    schedule.read_now("b", 0.0)
    assert schedule.next_change(0.0, NOON) == 0.0
    assert schedule.next_turn(0.0, NOON) == Turn("b")
    schedule.answered("b", 0.5)
    assert schedule.next_turn(0.5, wall(0.5)) == Turn("a")


def test_a_request_for_an_unknown_meter_is_an_error() -> None:
    with pytest.raises(KeyError):
        Schedule([], 0.0, NOON).read_now("a", 0.0)


def test_two_meters_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="two meters are named a"):
        Schedule([Plan("a", 1.0), Plan("a", 2.0)], 0.0, NOON)


def test_a_readout_that_failed_once_is_tried_again_soon_with_all_tries() -> None:
    schedule = Schedule([Plan("a", 900.0)], 0.0, NOON)
    schedule.failed("a", 1.0, FailureKind.NO_ANSWER, took=0.6)
    assert schedule.next_turn(5.9, wall(5.9)) is None
    assert schedule.next_turn(6.0, wall(6.0)) == Turn("a")
    schedule.answered("a", 6.5)
    assert schedule.next_change(6.5, wall(6.5)) == pytest.approx(900.0)


def test_a_silent_meter_is_looked_for_ever_more_rarely_but_at_least_each_minute() -> None:
    schedule = Schedule([Plan("a", 900.0)], 0.0, NOON)
    turns = simulate(schedule, 3600.0, dead=frozenset("a"))
    assert schedule.next_turn(3700.0, wall(3700.0)) == Turn("a", probe=True)
    gaps = [after - before for (before, _), (after, _) in pairwise(turns)]
    assert gaps[:5] == pytest.approx([5.6, 10.6, 20.2, 40.2, 60.2])
    assert max(gaps) == pytest.approx(60.2)


def test_a_meter_that_is_back_has_its_interval_again() -> None:
    schedule = Schedule([Plan("a", 900.0)], 0.0, NOON)
    simulate(schedule, 300.0, dead=frozenset("a"))
    schedule.answered("a", 300.0)
    assert schedule.next_change(300.0, wall(300.0)) == pytest.approx(900.0)
    assert schedule.next_turn(900.0, wall(900.0)) == Turn("a")


def test_damage_makes_no_silent_meter() -> None:
    schedule = Schedule([Plan("a", 900.0)], 0.0, NOON)
    for now in (1.0, 10.0, 30.0):
        schedule.failed("a", now, FailureKind.DAMAGED, took=1.0)
    assert schedule.next_turn(50.0, wall(50.0)) == Turn("a")


@pytest.mark.parametrize(
    "kind", [FailureKind.BUSY, FailureKind.APPLICATION_ERROR, FailureKind.UNREADABLE]
)
def test_a_meter_that_refuses_is_given_time(kind: FailureKind) -> None:
    refusing = partial(simulate, dead=frozenset("a"), kind=kind)
    daily = Schedule([Plan("a", 86400.0)], 0.0, NOON)
    turns = [time for time, _ in refusing(daily, 3 * 86400.0)]
    hours = [round((after - before) / 3600.0) for before, after in pairwise(turns)]
    assert hours == [1, 2, 4, 8, 9, 24]  # and then its own interval
    quarterly = Schedule([Plan("a", 900.0)], 0.0, NOON)
    turns = [time for time, _ in refusing(quarterly, 3600.0)]
    assert turns == pytest.approx([0.0, 225.6, 676.2, 900.0, 1800.0, 2700.0], abs=0.1)


@pytest.mark.parametrize("every", [0.0, 10.0])
def test_a_meter_that_refuses_has_a_minute_at_least(every: float) -> None:
    schedule = Schedule([Plan("a", every)], 0.0, NOON)
    turns = simulate(schedule, 300.0, dead=frozenset("a"), kind=FailureKind.BUSY)
    assert [time for time, _ in turns] == pytest.approx([0.0, 60.6, 121.2, 181.8, 242.4])


@pytest.mark.parametrize(
    "kind", [FailureKind.DAMAGED, FailureKind.FOREIGN_METER, FailureKind.INTERNAL]
)
def test_answers_in_vain_are_asked_for_ever_more_rarely_up_to_the_interval(
    kind: FailureKind,
) -> None:
    in_vain = partial(simulate, dead=frozenset("a"), kind=kind)
    daily = times_of(in_vain(Schedule([Plan("a", 86400.0)], 0.0, NOON), 864000.0), "a")
    gaps = [after - before for before, after in pairwise(daily)]
    assert gaps[:4] == pytest.approx([5.6, 10.6, 20.6, 40.6])
    assert len([time for time in daily if time >= 86400.0]) == 9
    always = times_of(in_vain(Schedule([Plan("a", 0.0)], 0.0, NOON), 600.0), "a")
    assert max(after - before for before, after in pairwise(always)) == pytest.approx(60.6)


def test_a_meter_that_was_silent_for_long_and_then_refuses_is_given_its_first_pause() -> None:
    schedule = Schedule([Plan("a", 86400.0)], 0.0, NOON)
    simulate(schedule, 5000.0, dead=frozenset("a"))
    schedule.failed("a", 5000.0, FailureKind.BUSY, took=0.5)
    assert schedule.next_change(5000.0, wall(5000.0)) == pytest.approx(8600.0)
    schedule.failed("a", 8600.0, FailureKind.DAMAGED, took=0.5)
    assert schedule.next_change(8600.0, wall(8600.0)) == pytest.approx(8605.0)


def test_silent_meters_take_two_per_cent_of_a_busy_bus() -> None:
    dead = frozenset(f"dead{number}" for number in range(50))
    plans = [Plan("a", 0.0), *(Plan(name, 900.0) for name in sorted(dead))]
    schedule = Schedule(plans, 0.0, NOON)
    turns = [turn for turn in simulate(schedule, 1200.0, dead=dead) if turn[0] >= 600.0]
    reads = len(times_of(turns, "a"))
    assert reads * 0.5 >= 0.975 * 600.0
    assert len(turns) > reads


def test_meters_that_were_passed_over_are_read_when_the_bus_is_back() -> None:
    schedule = Schedule([Plan("a", 900.0), Plan("b", 0.0)], 0.0, NOON)
    schedule.passed("a", 0.0)
    schedule.passed("b", 0.0)
    assert schedule.next_turn(1.0, wall(1.0)) is None
    schedule.resume(2.0)
    assert schedule.next_turn(2.0, wall(2.0)) == Turn("a")


def test_meters_that_missed_nothing_wait_for_their_time_when_the_bus_is_back() -> None:
    schedule = Schedule([Plan("a", 900.0), Plan("b", 900.0)], 0.0, NOON)
    schedule.answered("a", 0.5)
    schedule.passed("b", 1.0)
    schedule.resume(2.0)
    assert schedule.next_turn(2.0, wall(2.0)) == Turn("b")
    schedule.answered("b", 2.5)
    schedule.resume(3.0)
    assert schedule.next_turn(3.0, wall(3.0)) is None


def test_without_meters_there_are_no_turns() -> None:
    schedule = Schedule([], 0.0, NOON)
    assert schedule.next_turn(0.0, NOON) is None
    assert schedule.next_change(0.0, NOON) is None


def test_a_meter_that_has_answered_is_left_alone_for_its_minimum_gap_whoever_asks() -> None:
    schedule = Schedule([Plan("a", 60.0, minimum_gap=900.0)], 0.0, NOON)
    schedule.answered("a", 0.5)
    assert schedule.read_now("a", 100.5) == 800.0
    assert schedule.next_turn(100.5, wall(100.5)) is None
    assert schedule.next_change(100.5, wall(100.5)) == 900.5
    assert schedule.next_turn(900.5, wall(900.5)) == Turn("a")
    assert schedule.read_now("a", 900.5) == 0.0


def test_the_minimum_gap_begins_with_whatever_the_meter_has_sent() -> None:
    schedule = Schedule([Plan("a", 900.0, minimum_gap=600.0)], 0.0, NOON)
    schedule.failed("a", 1.0, FailureKind.NO_ANSWER)
    assert schedule.read_now("a", 2.0) == 0.0  # nobody was there to be spared
    schedule.failed("a", 3.0, FailureKind.DAMAGED)
    assert schedule.read_now("a", 3.0) == 600.0


def test_a_request_that_must_wait_holds_nobody_up() -> None:
    plans = [Plan("a", 900.0, minimum_gap=600.0), Plan("b", 0.0)]
    schedule = Schedule(plans, 0.0, NOON)
    schedule.answered("a", 0.0)
    schedule.read_now("a", 1.0)
    schedule.read_now("b", 1.0)
    assert schedule.next_turn(1.0, wall(1.0)) == Turn("b")


def test_a_meter_of_priority_goes_first() -> None:
    plans = [Plan(f"m{number}", 60.0) for number in range(5)]
    schedule = Schedule([*plans, Plan("main", 60.0, priority=True)], 0.0, NOON)
    assert simulate(schedule, 1.0)[0] == (0.0, "main")
    # Also on a bus that cannot keep up: it is the others that wait.
    plans = [Plan(f"m{number}", 5.0) for number in range(20)]
    turns = simulate(Schedule([*plans, Plan("main", 5.0, priority=True)], 0, NOON), 600.0, took=1.0)
    gaps = [after - before for before, after in pairwise(times_of(turns, "main"))]
    assert max(gaps) <= 6.0


def test_a_continuous_meter_of_priority_takes_every_second_turn() -> None:
    plans = [Plan("a", 0.0), Plan("main", 0.0, priority=True), Plan("b", 0.0)]
    turns = simulate(Schedule(plans, 0.0, NOON), 60.0)
    assert [name for _, name in turns[:6]] == ["main", "a", "main", "b", "main", "a"]


def test_all_are_due_when_all_are_to_be_read() -> None:
    plans = [Plan("a", 900.0), Plan("night", 900.0, NIGHT), Plan("b", 900.0)]
    schedule = Schedule(plans, 0.0, NOON)
    simulate(schedule, 60.0)
    schedule.read_all(61.0)
    assert schedule.next_turn(61.0, wall(61.0)) == Turn("a")
    schedule.answered("a", 62.0)
    assert schedule.next_turn(62.0, wall(62.0)) == Turn("b")
    schedule.answered("b", 63.0)
    assert schedule.next_turn(63.0, wall(63.0)) is None  # it sleeps outside its window


def test_meters_come_and_go_without_a_change_for_the_others() -> None:
    plans = [Plan(name, 300.0) for name in "abc"]
    still, changed = Schedule(plans, 0.0, NOON), Schedule(plans, 0.0, NOON)
    for schedule in (still, changed):
        simulate(schedule, 2.0)
    changed.remove("b")
    changed.add(Plan("d", 300.0), 2.0, wall(2.0))
    changed.change(Plan("c", 60.0), 2.0, wall(2.0))
    assert changed.next_turn(2.0, wall(2.0)) == Turn("d")
    changed.answered("d", 2.5)
    after = simulate(changed, 3600.0)
    before = times_of(simulate(still, 3600.0), "a")
    assert times_of(after, "a") == pytest.approx(before, abs=1.0)
    assert times_of(after, "b") == []
    assert len(times_of(after, "c")) == pytest.approx(3600 / 60, abs=1)
    assert len(times_of(after, "d")) == pytest.approx(3600 / 300, abs=1)


def test_what_a_meter_has_failed_at_is_not_forgotten_with_a_new_interval() -> None:
    schedule = Schedule([Plan("a", 900.0, minimum_gap=600.0)], 0.0, NOON)
    schedule.answered("a", 10.0)
    schedule.change(Plan("a", 60.0, minimum_gap=300.0), 20.0, wall(20.0))
    assert schedule.read_now("a", 20.0) == 290.0


def test_who_has_waited_long_gets_every_second_turn() -> None:
    plans = [Plan("a", 0.0, priority=True), Plan("b", 0.0, priority=True), Plan("c", 60.0)]
    turns = simulate(Schedule(plans, 0.0, NOON), 3600.0)
    assert len(times_of(turns, "c")) >= 38  # one a minute, and a wait of half a minute at most
    eight = [Plan(f"p{number}", 10.0, priority=True) for number in range(8)]
    turns = simulate(Schedule([*eight, Plan("c", 60.0)], 0.0, NOON), 3600.0, took=1.5)
    assert len(times_of(turns, "c")) >= 38


def test_requests_without_end_starve_nobody() -> None:
    schedule = Schedule([Plan("asked", 900.0), Plan("other", 60.0)], 0.0, NOON)
    now, turns = 0.0, []
    while now < 3600.0:
        schedule.read_now("asked", now)
        turn = schedule.next_turn(now, wall(now))
        assert turn is not None
        now += 0.5
        schedule.answered(turn.name, now)
        turns.append(turn.name)
    assert turns.count("other") >= 38


def test_a_meter_that_was_heard_before_the_connection_broke_has_its_gap() -> None:
    schedule = Schedule([Plan("a", 60.0, minimum_gap=900.0)], 0.0, NOON)
    schedule.passed("a", 1.0, heard=True)
    schedule.resume(2.0)
    assert schedule.next_turn(2.0, wall(2.0)) is None
    assert schedule.read_now("a", 2.0) == 899.0
