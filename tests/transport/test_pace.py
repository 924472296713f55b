"""When the next look at a line is worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bridge.transport.pace import Pace

CHARACTER = 11 / 2400  # 4.58 ms


@dataclass
class Frame:
    """A long frame of ``length`` characters that begins at ``start``; what was seen of it when."""

    length: int
    start: float = 100.0
    character: float = CHARACTER
    delay: float = 0.0  # of the way

    @property
    def end(self) -> float:
        return self.start + self.length * self.character + self.delay

    def come(self, now: float) -> int:
        return min(
            self.length, max(0, int((now - self.delay - self.start) / self.character + 1e-6))
        )

    def looks(self, pace: Pace, *, lots: float = 0.004) -> Iterator[tuple[float, int]]:
        """Look when the pace says, or when the next lot with news comes, until all is there."""
        now, seen = self.start, 0
        not_before = now
        while seen < self.length:
            now = max(now + lots, not_before)
            while self.come(now) == seen:
                now += lots
            seen = self.come(now)
            missing = self.length - seen if seen >= 4 else 0
            yield now, seen
            not_before = pace.next_look(missing, now, CHARACTER) or now


def looks_at(frame: Frame, pace: Pace | None = None) -> list[float]:
    return [now for now, _ in frame.looks(Pace() if pace is None else pace)]


@pytest.mark.parametrize("length", [12, 50, 137, 261])
@pytest.mark.parametrize("speed", [0.98, 0.995, 1.0, 1.005, 1.02])
def test_a_frame_takes_few_looks_and_its_end_is_seen_at_once(length: int, speed: float) -> None:
    frame = Frame(length, character=CHARACTER / speed)
    times = looks_at(frame)
    assert times[-1] - frame.end <= 0.004 + 1e-6  # the lot in which it comes
    # Four for its head; the clock of a slow meter makes the last ones more.
    assert len(times) <= 4 + 5 + (1 - min(speed, 1.0)) * length * 1.5


def test_nothing_is_foretold_before_the_head_has_come() -> None:
    assert Pace().next_look(0, 100.0, CHARACTER) is None


def test_the_first_look_is_half_way_and_the_second_a_little_before_the_end() -> None:
    pace = Pace()
    half = pace.next_look(200, 100.0, CHARACTER)
    assert half == pytest.approx(100.0 + 100 * CHARACTER, abs=0.01)
    assert half is not None
    last = pace.next_look(100, 100.0 + 100 * CHARACTER, CHARACTER)
    assert last is not None
    assert 0.003 <= 100.0 + 200 * CHARACTER - last <= 0.01


def test_a_few_characters_are_worth_no_rest() -> None:
    assert Pace().next_look(2, 100.0, CHARACTER) is None


def test_the_lot_with_the_least_delay_says_when_the_frame_ends() -> None:
    pace = Pace()
    pace.next_look(200, 100.05, CHARACTER)  # held up on the way by 50 ms
    last = pace.next_look(100, 100.0 + 100 * CHARACTER, CHARACTER)
    assert last is not None
    assert last < 100.0 + 200 * CHARACTER


def test_a_frame_that_has_broken_off_is_watched_from_the_first_look_on() -> None:
    pace = Pace()
    half = pace.next_look(200, 100.0, CHARACTER)
    assert half is not None
    assert pace.next_look(190, half, CHARACTER) is None


def hasty(length: int) -> Frame:
    """At 9600 baud, where the user says 2400."""
    return Frame(length, character=CHARACTER / 4)


def test_a_line_that_is_faster_than_it_should_be_is_slowed_down_three_times_at_most() -> None:
    pace = Pace()
    late = []
    for _ in range(5):
        frame = hasty(200)
        late.append(looks_at(frame, pace)[-1] - frame.end)
    assert [each > 0.1 for each in late] == [True, True, True, False, False]
    assert late[-1] <= 0.004 + 1e-6
    assert not pace.keeps


def test_one_hasty_frame_is_forgiven() -> None:
    pace = Pace()
    for make in (hasty, hasty, Frame, hasty, hasty, Frame):
        typed: Callable[[int], Frame] = make
        looks_at(typed(200), pace)
    assert pace.keeps


def test_a_gateway_that_hands_on_whole_telegrams_is_not_waited_for() -> None:
    pace = Pace()
    for _ in range(5):
        assert pace.next_look(0, 100.0, CHARACTER) is None
    assert pace.keeps
