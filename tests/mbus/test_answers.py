"""Telegrams of one answer."""

from __future__ import annotations

import pytest

from bridge.mbus.answers import to_answers
from bridge.mbus.frame import LongFrame
from bridge.mbus.telegram import Telegram, decode_telegram


def telegram_of(text: str) -> Telegram:
    return decode_telegram(LongFrame(8, 1, 0x72, bytes.fromhex(text)))


def test_telegrams_of_one_answer_stand_together() -> None:
    first = telegram_of("78563412 2D2C 07 07 05 00 0000 0413 01000000 1F")
    next_one = telegram_of("78563412 2D2C 07 07 06 00 0000 4413 01000000 1F")
    last = telegram_of("78563412 2D2C 07 07 06 00 0000 0413 02000000")
    other = telegram_of("79563412 2D2C 07 07 06 00 0000 0413 02000000")
    assert to_answers([]) == []
    assert to_answers([first, next_one, last, last]) == [[first, next_one, last], [last]]
    assert to_answers([first, other]) == [[first], [other]]
    moved = last._replace(address=2)
    assert to_answers([first, moved]) == [[first], [moved]]
    nameless = decode_telegram(LongFrame(8, 1, 0x78, bytes.fromhex("0413 02000000")))
    assert to_answers([first, nameless, last]) == [[first, nameless], [last]]
    busy = decode_telegram(LongFrame(8, 1, 0x70, b"\x08"))
    assert to_answers([first, busy]) == [[first], [busy]]


@pytest.mark.parametrize(
    ("access", "answers"), [("FF", 1), ("00", 1), ("01", 2), ("FE", 2), ("7F", 2)]
)
def test_the_access_number_stays_in_an_answer_or_is_one_more(access: str, answers: int) -> None:
    first = telegram_of("78563412 2D2C 07 07 FF 00 0000 0413 01000000 1F")
    last = telegram_of(f"78563412 2D2C 07 07 {access} 00 0000 4413 02000000")
    assert len(to_answers([first, last])) == answers


def test_a_first_telegram_recorded_again_and_again_is_many_answers() -> None:
    same = [telegram_of(f"78563412 2D2C 07 07 {n:02X} 00 0000 0413 01000000 1F") for n in range(9)]
    assert to_answers(same) == [[each] for each in same]
    days = [telegram_of(f"78563412 2D2C 07 07 {n:02X} 00 0000 0413 {n:08X} 1F") for n in range(9)]
    assert to_answers(days) == [[each] for each in days]
    empty = [telegram_of("78563412 2D2C 07 07 05 00 0000 1F")] * 3
    assert to_answers(empty) == [[each] for each in empty]


def test_an_answer_has_16_telegrams_at_most() -> None:
    pages = [
        telegram_of(f"78563412 2D2C 07 07 {n:02X} 00 0000 84{n % 16:02X}13 01000000 1F")
        for n in range(20)
    ]
    # Storage numbers come again after 16.
    assert [len(answer) for answer in to_answers(pages)] == [16, 4]
