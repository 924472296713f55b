"""When all meters of a bus are read at one time."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.polling.billing import LATEST, Billing, Calendar, Occasion, Period


def moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("occasion", "before", "then"),
    [
        (Occasion(Period.HOURLY), "2026-03-09 12:00", "2026-03-09 13:00"),
        (Occasion(Period.HOURLY, datetime.time(0, 15)), "2026-03-09 23:20", "2026-03-10 00:15"),
        (Occasion(Period.DAILY), "2026-03-09 00:00", "2026-03-10 00:00"),
        (Occasion(Period.DAILY, datetime.time(6)), "2026-03-09 05:59:59.9", "2026-03-09 06:00"),
        (Occasion(Period.WEEKLY, weekday=0), "2026-11-22 22:00", "2026-11-23 00:00"),
        (Occasion(Period.WEEKLY, weekday=6), "2026-11-22 22:00", "2026-11-29 00:00"),
        (Occasion(Period.MONTHLY), "2026-12-01 00:00", "2027-01-01 00:00"),
        (Occasion(Period.MONTHLY, day=31), "2026-01-31 00:00", "2026-02-28 00:00"),
        (Occasion(Period.MONTHLY, day=31), "2028-02-01 00:00", "2028-02-29 00:00"),
        (Occasion(Period.YEARLY), "2026-03-09 00:00", "2027-01-01 00:00"),
        (Occasion(Period.YEARLY, day=29, month=2), "2026-01-01 00:00", "2026-02-28 00:00"),
        (Occasion(Period.YEARLY, day=29, month=2), "2028-01-01 00:00", "2028-02-29 00:00"),
    ],
)
def test_the_next_occasion_follows_from_the_calendar(
    occasion: Occasion, before: str, then: str
) -> None:
    assert occasion.after(moment(before)) == moment(then)


@given(
    st.builds(
        Occasion,
        st.sampled_from(Period),
        st.times().map(lambda time: time.replace(microsecond=0)),
        st.integers(1, 31),
        st.integers(0, 6),
        st.integers(1, 12),
    ),
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2099, 1, 1)),
)
def test_the_next_occasion_is_later_and_no_other_lies_between(
    occasion: Occasion, before: datetime.datetime
) -> None:
    then = occasion.after(before)
    assert then > before
    assert occasion.after(then - datetime.timedelta(seconds=1)) == then
    middle = before + (then - before) / 2
    if middle < then:
        assert occasion.after(middle) == then


def test_an_occasion_comes_once_also_where_the_clock_is_set_back() -> None:
    calendar = Calendar(Billing(Occasion(Period.DAILY)), moment("2026-03-09 12:00"))
    assert calendar.until(moment("2026-03-09 23:00")) == 3600.0
    assert calendar.late(moment("2026-03-09 23:59:59")) is None
    assert calendar.late(moment("2026-03-10 00:00:02")) == 2.0
    assert calendar.late(moment("2026-03-10 00:00:03")) == 3.0  # until it was dealt with
    calendar.take(moment("2026-03-10 00:00:03"))
    assert calendar.late(moment("2026-03-09 23:59:59")) is None
    assert calendar.late(moment("2026-03-10 00:00:02")) is None
    assert calendar.next == moment("2026-03-11 00:00")


def test_occasions_that_were_slept_through_are_not_made_up_for() -> None:
    calendar = Calendar(Billing(Occasion(Period.DAILY)), moment("1970-01-01 00:05"))
    late = calendar.late(moment("2026-03-10 12:00"))
    assert late is not None
    assert late > LATEST
    calendar.take(moment("2026-03-10 12:00"))
    assert calendar.next == moment("2026-03-11 00:00")


def test_a_clock_that_was_far_ahead_at_first_keeps_nothing_back() -> None:
    calendar = Calendar(Billing(Occasion(Period.DAILY)), moment("2026-06-09 12:00"))
    assert calendar.late(moment("2026-03-09 12:00")) is None
    assert calendar.next == moment("2026-03-10 00:00")
