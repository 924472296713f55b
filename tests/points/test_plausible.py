from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bridge.points.nature import Nature
from bridge.points.plausible import DAY, HOUR, WEEK, Said, Watch, Weighed, median
from bridge.points.reading import Fault, Value

EVERY = 900.0  # seconds between two turns
AGAIN = 1.0  # seconds until the second reading of a turn


class Line:
    """A point's readings one after the other, and what is believed."""

    def __init__(self, nature: Nature, *, suspect: bool = False, step: str = "1") -> None:
        self.watch = Watch()
        self.watch.bound(nature, step=Decimal(step))
        self.suspect = suspect
        self.now = 0.0

    def read(self, value: Value | int, after: float = EVERY) -> Value | Fault | None:
        """What is believed after one reading; None while it is in doubt."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        self.now += after
        if self.watch.settles(value, self.now, suspect=self.suspect):
            return value
        weighed = self.weigh(value)
        return weighed.fault if weighed.said is None else weighed.said.value

    def weigh(self, value: Value) -> Weighed:
        return self.watch.weigh(Said(value, self.now, self.now), suspect=self.suspect)

    def run(self, *values: Value | int, after: float = EVERY) -> None:
        for value in values:
            assert self.read(value, after) == value


def test_a_counter_that_goes_its_way_is_believed_at_once() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010, 100_010, 100_030, 100_033, 100_090)


@pytest.mark.parametrize(
    ("damaged", "why"),
    [(99_000, "it would run backwards"), (165_566, "it would have run too fast")],
)
def test_a_counter_that_cannot_be_is_asked_for_again_and_was_damaged(
    damaged: int, why: str
) -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010, 100_020)
    assert line.read(damaged) is None, why
    assert line.watch.in_doubt
    assert line.watch.last == 100_020
    assert line.read(100_030, AGAIN) == 100_030
    assert not line.watch.in_doubt


def test_a_second_reading_that_fits_says_that_the_first_was_damaged() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010)
    line.read(90_000)
    assert line.weigh(Decimal(100_010)).refuted


def test_a_counter_that_really_went_back_is_believed_when_it_says_so_twice() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010)
    assert line.read(50) is None
    line.now += AGAIN
    weighed = line.weigh(Decimal(50))
    assert weighed.said is not None
    assert weighed.said.value == 50
    assert weighed.note == "the counter went back from 100010 to 50: the meter says so twice"
    assert not weighed.refuted
    line.run(55, 60)


def test_a_counter_that_goes_back_every_day_is_a_measured_value() -> None:
    line = Line(Nature.COUNTER)
    line.run(1000, 1010)
    for _ in range(3):
        assert line.read(line_back := 900, DAY / 2) is None
        assert line.read(line_back, AGAIN) == line_back
        if line.watch.nature is Nature.COUNTER:
            line.read(1000)
            line.read(1000, AGAIN)
    assert line.watch.nature is Nature.MEASURED
    line.run(1000, 900, 950, 1000)


@pytest.mark.parametrize(
    ("last", "new", "bits"),
    [
        *((99_999_995, 3, None), (999_999_900, 50, 32), (99_999, 0, 32)),
        *((2**31 - 20, 10, 32), (2**32 - 20, 10, 32), (65_530, 9, 16), (32_767, 9, 16)),
    ],
)
def test_a_counter_at_the_end_of_its_digits_begins_anew(
    last: int, new: int, bits: int | None
) -> None:
    line = Line(Nature.COUNTER)
    line.watch.bound(Nature.COUNTER, step=Decimal(1), bits=bits)
    line.run(last - 40, last - 20, last)
    line.run(new, new + 10)


@pytest.mark.parametrize(("last", "new"), [(50_000_000, 3), (99_999_995, 90_000_000), (9998, 1)])
def test_any_other_way_back_is_doubted(last: int, new: int) -> None:
    line = Line(Nature.COUNTER)
    line.run(last - 20, last - 10, last)
    assert line.read(new) is None


def test_the_first_change_of_an_old_counter_may_be_large_and_that_of_a_new_one_not() -> None:
    old, new = Line(Nature.COUNTER), Line(Nature.COUNTER)
    old.run(1_000_000, 1_001_000)
    new.run(5, 14)
    assert new.read(200) is None


def test_a_rate_is_not_mistaken_where_a_meter_renews_its_count_once_an_hour() -> None:
    line = Line(Nature.COUNTER)
    for hour in range(48):
        for _ in range(60):
            line.run(10_000_000 + hour * 5000, after=HOUR / 60)


def test_a_faster_run_that_is_confirmed_lets_the_next_one_pass() -> None:
    line = Line(Nature.COUNTER)
    line.run(*range(10_000, 12_000, 10))
    assert line.now > DAY
    assert line.read(12_100) is None
    assert line.read(12_100, AGAIN) == 12_100
    line.run(12_200, 12_300)


def test_a_meters_size_bounds_its_rate() -> None:
    line = Line(Nature.COUNTER)
    line.watch.bound(Nature.COUNTER, step=Decimal(1), largest_rate=1.0)
    line.run(10_000_000, 10_000_900)
    assert line.read(10_002_700) is None


def test_a_measured_value_may_leave_its_range_by_half_of_its_width() -> None:
    line = Line(Nature.MEASURED)
    line.run(1000, 1050, 1000, 1100, 990)
    assert line.read(5000) is None
    assert line.read(1001, AGAIN) == 1001
    assert line.read(5000) is None
    assert line.read(5000, AGAIN) == 5000
    line.run(1000, 4000, 6000)


def test_of_three_readings_that_differ_the_middle_one_is_believed() -> None:
    line = Line(Nature.MEASURED)
    line.run(1000)
    assert line.read(5000) is None
    assert line.read(65_000, AGAIN) is None
    assert line.read(5010, AGAIN) == 5010


def test_the_middle_reading_keeps_the_time_at_which_it_was_read() -> None:
    early = Said(Decimal(5), 1.0, 1.0)
    assert median([Said(Decimal(4), 0.0, 0.0), early, Said(Decimal(9), 2.0, 2.0)]) == early


@pytest.mark.parametrize(
    ("values", "fault"), [((600, 600), Fault.OVER_RANGE), ((-101, -101), Fault.UNDER_RANGE)]
)
def test_what_cannot_be_is_in_fault_once_it_is_confirmed(
    values: tuple[int, int], fault: Fault
) -> None:
    line = Line(Nature.MEASURED)
    line.watch.bound(Nature.MEASURED, hard=(Decimal(-100), Decimal(500)), step=Decimal(1))
    line.run(20)
    assert line.read(values[0]) is None
    assert line.read(values[1], AGAIN) is fault
    assert line.watch.last == 20
    assert line.read(values[1]) is fault, "and it is not asked for again"
    assert not line.watch.in_doubt
    line.run(20, 21)


def test_what_is_beyond_the_meters_size_is_believed_once_it_is_confirmed() -> None:
    line = Line(Nature.MEASURED)
    line.watch.bound(Nature.MEASURED, step=Decimal(1), largest_value=Decimal(5))
    assert line.read(7) is None
    assert line.read(7, AGAIN) == 7
    line.run(7, 6)


def test_a_stored_value_that_changes_is_asked_for_again() -> None:
    line = Line(Nature.STEADY)
    line.run(100, 100)
    assert line.read(200) is None
    assert line.read(200, AGAIN) == 200


def test_a_stored_value_that_changes_all_the_time_is_not_asked_for_for_ever() -> None:
    line = Line(Nature.STEADY)
    line.run(1000)
    asked = 0
    for value in range(1001, 1050):
        if line.read(value, HOUR) is None:
            asked += 1
            line.read(value, AGAIN)
    assert asked <= 5


def test_of_texts_two_must_be_equal() -> None:
    line = Line(Nature.STEADY)
    line.run("one")
    assert line.read("two") is None
    assert line.read("three", AGAIN) is None
    assert line.read("four", AGAIN) is Fault.DOUBTED
    assert not line.watch.in_doubt, "it is not asked for without end"
    assert line.read("four") == "four"
    line.run("four")


def test_a_text_that_is_never_the_same_is_believed_as_it_comes_after_three_turns() -> None:
    line = Line(Nature.STEADY)
    line.run("one")
    told = [line.read(f"n {n}", AGAIN) for n in range(4)]
    assert told == [None, None, Fault.DOUBTED, Fault.DOUBTED]
    weighed = line.weigh("another")
    assert weighed.said is not None
    assert weighed.said.value == "another"
    assert "believed as it comes from now on" in weighed.note
    assert line.watch.nature is Nature.FREE
    line.run("one more", "and one more")


def test_a_text_that_is_the_same_once_in_between_is_watched_on() -> None:
    line = Line(Nature.STEADY)
    line.run("one")
    for turn in range(3):
        told = [line.read(f"{turn} {n}", AGAIN) for n in range(4)]
        assert told == [None, None, Fault.DOUBTED, Fault.DOUBTED]
        assert line.read(f"{turn} 3", AGAIN) == f"{turn} 3"
    assert line.watch.nature is Nature.STEADY


def test_a_text_that_is_never_the_same_stays_in_doubt_on_a_suspect_line() -> None:
    line = Line(Nature.STEADY, suspect=True)
    told = [line.read(f"n {n}", AGAIN) for n in range(20)]
    assert set(told[2:]) == {Fault.DOUBTED}


NOON = datetime.datetime(2026, 3, 28, 12)


def test_a_minute_that_only_damage_has_added_is_outvoted_on_a_suspect_line() -> None:
    line = Line(Nature.CLOCK, suspect=True)
    assert line.read(NOON) is None
    assert line.read(NOON + datetime.timedelta(minutes=1), AGAIN) is None
    assert line.read(NOON, AGAIN) == NOON


@pytest.mark.parametrize(
    ("nature", "before", "first", "second", "refuted"),
    [
        (Nature.COUNTER, 100_000, 900, 100_001, True),
        (Nature.COUNTER, None, 900, 100_001, True),
        (Nature.COUNTER, None, 100_000, 100_001, False),
        (Nature.MEASURED, None, 900, 200, False),
        (Nature.MEASURED, 200, 900, 201, True),
        (Nature.MEASURED, 200, 204, 202, False),
        (Nature.STEADY, None, 900, 200, True),
    ],
)
def test_damage_is_said_to_be_proven_where_nothing_else_explains_it(
    nature: Nature, before: int | None, first: int, second: int, refuted: bool
) -> None:
    line = Line(nature)
    if before is not None:
        line.run(before)
    line.suspect = True
    assert line.read(first) is None
    line.suspect = False
    line.now += AGAIN
    assert line.weigh(Decimal(second)).refuted is refuted


def test_a_reading_in_doubt_is_left_out_when_it_is_older_than_wanted() -> None:
    line = Line(Nature.STEADY)
    line.run(100)
    line.read(200)
    line.watch.drop(line.now)
    assert line.watch.in_doubt
    line.watch.drop(line.now + 1)
    assert not line.watch.in_doubt


def test_a_clock_goes_on_and_is_doubted_where_it_leaps() -> None:
    line = Line(Nature.CLOCK)
    noon = datetime.datetime(2026, 3, 28, 12)
    quarter = datetime.timedelta(minutes=15)
    line.run(noon, noon + quarter, noon + 2 * quarter + datetime.timedelta(hours=1))
    assert line.read(noon + datetime.timedelta(days=300)) is None
    later = noon + datetime.timedelta(hours=1) + 4 * quarter
    assert line.read(later, AGAIN) == later


def test_days_and_times_of_day_go_on_over_midnight() -> None:
    days, times = Line(Nature.CLOCK), Line(Nature.CLOCK)
    days.run(datetime.date(2026, 3, 31), datetime.date(2026, 4, 1))
    assert days.read(datetime.date(2027, 4, 1)) is None
    times.run(datetime.time(23, 50), datetime.time(0, 5))
    assert times.read(datetime.time(12, 0)) is None


def test_on_a_suspect_line_every_changed_value_is_asked_for_again() -> None:
    line = Line(Nature.MEASURED, suspect=True)
    assert line.read(1000) is None, "also one that was never read"
    assert line.read(1000, AGAIN) == 1000
    line.run(1000, 1000)
    assert line.read(1001) is None
    assert line.read(1000, AGAIN) == 1000


def test_what_a_code_proves_is_not_doubted() -> None:
    line = Line(Nature.COUNTER)
    line.run(1000)
    weighed = line.watch.weigh(Said(Decimal(5), 1.0, 1.0), suspect=False, vouched=True)
    assert weighed.said is not None
    assert weighed.said.value == 5


def test_a_value_of_an_earlier_run_is_held_against_the_first_answer() -> None:
    line = Line(Nature.COUNTER)
    line.watch.restore(Decimal(100_000), -HOUR, known_time=True)
    assert line.read(50_000) is None
    assert line.read(100_010, AGAIN) == 100_010


def test_after_an_outage_of_unknown_length_a_counter_may_have_run_for_a_week() -> None:
    line = Line(Nature.COUNTER)
    line.watch.restore(Decimal(100_000), 0.0, known_time=False)
    assert line.read(190_000) == 190_000
    assert line.now < WEEK


def test_what_fed_the_point_before_says_nothing_of_another_meter() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010)
    line.watch.forget()
    line.run(3, 5)


# What the meter really said, reading after reading: how each differs from the one before.
CHANGES = {
    Nature.COUNTER: st.integers(0, 50),
    Nature.MEASURED: st.integers(-300, 300),
    Nature.STEADY: st.sampled_from([0, 0, 0, 0, 0, 40]),
}


@given(data=st.data(), nature=st.sampled_from(list(CHANGES)), start=st.integers(0, 10**8))
def test_on_a_suspect_line_nothing_is_believed_that_lies_outside_what_the_meter_said(
    data: st.DataObject, nature: Nature, start: int
) -> None:
    """One of three consecutive readings at most is damaged, in any way."""
    line = Line(nature, suspect=True)
    truth = start
    since_damage = 2
    said: list[int] = []  # by the meter, since something was last believed
    damaged: set[int] = set()
    for _ in range(data.draw(st.integers(1, 25))):
        truth += data.draw(CHANGES[nature])
        said.append(truth)
        shown = truth
        if since_damage >= 2 and data.draw(st.booleans()):
            shown, since_damage = data.draw(st.integers(-(2**31), 2**31)), 0
            assume(shown != line.watch.last)  # that changes nothing
            assume(shown not in damaged)  # the same damage within seconds is taken for the truth
            damaged.add(shown)
        else:
            since_damage += 1
        believed = line.read(shown, AGAIN if line.watch.in_doubt else EVERY)
        assert not isinstance(believed, Fault)
        if believed is not None:
            assert isinstance(believed, Decimal)
            assert min(said) <= believed <= max(said)
            said = [truth]


@given(data=st.data(), start=st.integers(10_000, 10**8))
def test_a_counter_never_believes_what_it_cannot_have_counted(
    data: st.DataObject, start: int
) -> None:
    """On a line that was quiet until now, damage that no rule sees is at least small.

    The few counts before an overflow are left out: there, zero is near.
    """
    assume(10 ** len(str(start)) - start > 3000)
    line = Line(Nature.COUNTER)
    truth = start
    since_damage = 2
    for _ in range(200):
        truth += 10
        line.run(truth)  # two days without damage
    for _ in range(data.draw(st.integers(1, 30))):
        truth += data.draw(st.integers(0, 10))
        shown = truth
        if since_damage >= 2 and data.draw(st.booleans()):
            shown, since_damage = data.draw(st.integers(0, 2**31)), 0
        else:
            since_damage += 1
        believed = line.read(shown, AGAIN if line.watch.in_doubt else EVERY)
        if believed is not None:
            assert isinstance(believed, Decimal)
            assert abs(believed - truth) <= 4 * 10 * 4 + 10


def test_on_a_suspect_line_a_middle_one_that_does_not_fit_is_asked_for_up_to_five_times() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000, 100_010)
    line.suspect = True
    assert line.read(5) is None
    assert line.read(2_000_000, AGAIN) is None
    assert line.read(3_000_000, AGAIN) is None, "two of three were damaged, at the least"
    assert line.watch.in_doubt
    assert line.read(100_020, AGAIN) is None
    assert line.read(100_020, AGAIN) == 100_020


def test_of_five_readings_that_differ_the_middle_one_is_believed() -> None:
    line = Line(Nature.MEASURED)
    line.run(1000)
    line.suspect = True
    assert [line.read(n, AGAIN) for n in (5000, 60_000, 5010, 5030)] == [None] * 4
    assert line.read(5020, AGAIN) == 5020


def test_a_value_is_near_the_reading_before_within_a_hundredth_or_ten_steps() -> None:
    watch = Watch()
    watch.bound(Nature.MEASURED, step=Decimal(1))
    assert not watch.is_near(Decimal(0)), "there is none before"
    watch.recall(Said(Decimal(10_000), 0.0, 0.0))
    near = [n for n in (9_899, 9_901, 10_000, 10_101, 10_102) if watch.is_near(Decimal(n))]
    assert near == [9_901, 10_000, 10_101]
    watch.forget()
    watch.recall(Said(Decimal(20), 0.0, 0.0))
    assert watch.is_near(Decimal(30))
    assert not watch.is_near(Decimal(31))


def test_a_text_is_near_an_equal_one_and_a_clock_near_one_that_went_on() -> None:
    text, clock = Watch(), Watch()
    text.recall(Said("one", 0.0, 0.0))
    assert text.is_near("one")
    assert not text.is_near("two")
    noon = datetime.datetime(2026, 3, 28, 12)
    clock.recall(Said(noon, 0.0, 0.0))
    assert clock.is_near(noon + datetime.timedelta(minutes=1))
    assert not clock.is_near(noon + datetime.timedelta(days=1))


def test_what_was_held_back_is_recalled_only_where_nothing_is_known() -> None:
    line = Line(Nature.COUNTER)
    line.run(100_000)
    line.watch.recall(Said(Decimal(5), 1.0, 1.0))
    assert not line.watch.pending
