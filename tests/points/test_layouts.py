from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mbus.frame import LongFrame
from bridge.mbus.telegram import decode_telegram
from bridge.points.layouts import Layout, Layouts


def layout(records: str) -> Layout:
    """The headers of the records of one answer."""
    telegram = decode_telegram(LongFrame(0x08, 2, 0x78, bytes.fromhex(records)))
    return [record.header for record in telegram.records]


ENERGY = layout("0C 06 78 56 34 12")
BOTH = layout("0C 06 78 56 34 12  0C 13 01 00 00 00")
# Many that differ: volumes of one, two and more storages.
MANY = [layout(" ".join(f"{0x02 | n % 2 << 6:02X} 13 00 00" for n in range(k))) for k in range(12)]


def takes(layouts: Layouts, told: Layout, *, suspect: bool = False, vouched: bool = False) -> bool:
    return layouts.takes(told, suspect=suspect, vouched=vouched)


def test_the_first_records_are_taken_at_once_on_a_plain_line_and_the_second_time_else() -> None:
    assert takes(Layouts(), ENERGY)
    layouts = Layouts()
    assert not takes(layouts, ENERGY, suspect=True)
    assert layouts.in_doubt
    assert takes(layouts, ENERGY, suspect=True)
    assert not layouts.in_doubt


def test_a_value_makes_no_other_layout() -> None:
    layouts = Layouts()
    assert takes(layouts, ENERGY)
    assert takes(layouts, layout("0C 06 79 56 34 12"))
    assert takes(layouts, layout("0C 06 EE EE EE EE"))


@pytest.mark.parametrize("suspect", [False, True])
def test_other_records_are_held_back_until_they_come_again(suspect: bool) -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    assert not takes(layouts, BOTH, suspect=suspect)
    assert takes(layouts, ENERGY, suspect=suspect), "the known ones are fine meanwhile"
    assert not layouts.in_doubt
    # On a bad line the same bit may be hit again: there they come thrice, or twice in a row.
    assert takes(layouts, BOTH, suspect=suspect) is not suspect
    assert takes(layouts, BOTH, suspect=suspect)
    assert takes(layouts, ENERGY, suspect=suspect)


def test_the_same_records_in_another_order_are_other_ones() -> None:
    layouts = Layouts()
    takes(layouts, BOTH)
    assert not takes(layouts, layout("0C 13 01 00 00 00  0C 06 78 56 34 12"))


def test_what_a_code_proves_is_taken_and_known_from_then_on() -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    assert takes(layouts, BOTH, vouched=True)
    assert takes(layouts, BOTH, suspect=True)


def test_a_plain_line_takes_the_third_of_three_that_are_all_new_and_all_from_then_on() -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    assert [takes(layouts, told) for told in MANY[:6]] == [False, False, True, True, True, True]
    assert takes(layouts, ENERGY)
    assert takes(layouts, MANY[6])


@pytest.mark.parametrize("turn", [1, 2])
def test_the_third_new_one_is_taken_in_whichever_turn_it_comes(turn: int) -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    taken = []
    for n, told in enumerate(MANY[:5]):
        taken.append(takes(layouts, told))
        if n % turn == 0:
            layouts.leave()
            assert not layouts.in_doubt
    assert taken == [False, False, True, True, True]


def test_without_a_second_reading_the_next_one_confirms() -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    assert not takes(layouts, MANY[0])
    layouts.leave()
    assert takes(layouts, MANY[0])


def test_a_restless_meter_is_none_any_more_after_a_hundred_answers_that_are_known() -> None:
    layouts = Layouts()
    for told in MANY[:4]:
        takes(layouts, told)
    for _ in range(100):
        assert takes(layouts, ENERGY)
    assert takes(layouts, MANY[5])
    for _ in range(101):
        assert takes(layouts, ENERGY)
    assert not takes(layouts, MANY[6])


def test_a_restless_meter_is_held_back_on_a_suspect_line() -> None:
    layouts = Layouts()
    for told in MANY[:6]:
        takes(layouts, told)
    assert not takes(layouts, MANY[7], suspect=True)
    assert takes(layouts, MANY[7], suspect=True)


@pytest.mark.parametrize(("between", "taken"), [(99, True), (100, False)])
def test_what_came_once_is_forgotten_after_a_hundred_answers(between: int, taken: bool) -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    assert not takes(layouts, BOTH)
    for _ in range(between):
        takes(layouts, ENERGY)
    assert takes(layouts, BOTH) is taken


def test_records_come_by_turns_once_they_came_back_and_until_they_stay_away() -> None:
    layouts = Layouts()
    assert not layouts.comes_by_turns(layouts.last)
    takes(layouts, ENERGY)
    first = layouts.last
    for _ in range(2):
        takes(layouts, BOTH)
    assert layouts.last is not first
    assert not layouts.comes_by_turns(first), "it may be gone for good"
    takes(layouts, ENERGY)
    assert not layouts.comes_by_turns(first), "it is there"
    for _ in range(32):
        takes(layouts, BOTH)
        assert layouts.comes_by_turns(first)
    takes(layouts, BOTH)
    assert not layouts.comes_by_turns(first)


def test_a_layout_that_was_noted_is_confirmed_by_its_next_coming() -> None:
    layouts = Layouts()
    layouts.note(ENERGY)
    assert not layouts.in_doubt
    assert takes(layouts, ENERGY, suspect=True)


def test_what_came_once_long_ago_is_forgotten() -> None:
    layouts = Layouts()
    takes(layouts, ENERGY)
    for told in MANY:
        takes(layouts, told, suspect=True)
    assert not takes(layouts, MANY[0], suspect=True)
    assert takes(layouts, ENERGY, suspect=True)


@given(turns=st.lists(st.integers(0, 4), max_size=60), suspect=st.booleans())
def test_a_few_layouts_by_turns_are_all_taken_once_each_came_twice_or_thrice(
    turns: list[int], suspect: bool
) -> None:
    layouts = Layouts()
    came = [0] * 5
    for n in turns:
        came[n] += 1
        taken = takes(layouts, MANY[n], suspect=suspect)
        if came[n] >= (3 if suspect else 2):
            assert taken
        assert layouts.in_doubt is not taken


@given(turns=st.lists(st.integers(0, len(MANY) - 1), max_size=60))
def test_on_a_suspect_line_nothing_is_taken_before_it_came_twice(turns: list[int]) -> None:
    layouts = Layouts()
    came: set[int] = set()
    for n in turns:
        taken = takes(layouts, MANY[n], suspect=True)
        assert n in came or not taken
        came.add(n)


@given(turns=st.lists(st.integers(0, len(MANY) - 1), max_size=60))
def test_a_plain_line_takes_the_third_at_the_latest(turns: list[int]) -> None:
    layouts = Layouts()
    in_a_row = 0
    for n in turns:
        in_a_row = 0 if takes(layouts, MANY[n]) else in_a_row + 1
        assert in_a_row < 3
        assert layouts.held == in_a_row
