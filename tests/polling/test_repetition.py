"""What is said, and what is kept back."""

from __future__ import annotations

from bridge.polling.repetition import Repetition


def test_the_same_is_said_once_an_hour_with_a_count() -> None:
    lately = Repetition()
    said = [lately.say("closed", now) for now in range(0, 3 * 3600, 60)]
    assert [line for line in said if line is not None] == [
        "closed",
        "closed (59× more since this was last said)",
        "closed (59× more since this was last said)",
    ]


def test_two_reasons_in_turn_are_two_lines_an_hour() -> None:
    lately = Repetition()
    said = [lately.say(text, 60.0 * minute) for minute in range(59) for text in ("closed", "reset")]
    assert [line for line in said if line is not None] == ["closed", "reset"]


def test_what_has_not_happened_for_an_hour_has_no_count() -> None:
    lately = Repetition()
    assert lately.say("closed", 0.0) == "closed"
    assert lately.say("closed", 3600.0) == "closed"


def test_after_all_was_well_everything_is_new() -> None:
    lately = Repetition()
    lately.say("closed", 0.0)
    lately.forget()
    assert lately.say("closed", 1.0) == "closed"


def test_texts_that_never_repeat_fill_no_memory() -> None:
    lately = Repetition()
    for number in range(5000):
        assert lately.say(f"error {number}", 0.0) == f"error {number}"
    assert lately.say("error 4999", 1.0) is None
    assert lately.say("error 0", 1.0) == "error 0"
