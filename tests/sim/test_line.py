"""The two wires: when characters arrive, and what several senders make of each other."""

from __future__ import annotations

import pytest

from bridge.sim.line import Line, Transmission, earliest_answer, latest_answer, wire_time

CHARACTER = 11 / 2400


def everything(line: Line) -> bytes:
    return line.take(1e6)


def test_the_times_are_those_of_the_standard() -> None:
    assert wire_time(5, 2400) == pytest.approx(0.0229, abs=1e-4)
    assert earliest_answer(2400) == pytest.approx(0.00458, abs=1e-5)
    assert latest_answer(2400) == pytest.approx(0.1875)
    assert latest_answer(300) == pytest.approx(1.15)


def test_characters_are_heard_when_their_stop_bit_is_over() -> None:
    line = Line()
    line.add(Transmission(10.0, 2400, bytes.fromhex("10 5B 01 5C 16")))
    assert line.take(10.0 + 0.99 * CHARACTER) == b""
    assert line.take(10.0 + 1.01 * CHARACTER) == bytes.fromhex("10")
    assert line.take(10.0 + 3.5 * CHARACTER) == bytes.fromhex("5B 01")
    assert line.take(10.0 + 5 * CHARACTER) == bytes.fromhex("5C 16")
    assert line.is_idle


def test_the_end_of_an_answer_is_due_exactly() -> None:
    line = Line()
    line.add(Transmission(10.0, 2400, bytes(3)))
    first, last = line.due(9.0, pace=0.004), line.due(10.011, pace=0.004)
    assert first is not None
    assert last is not None
    assert first[0] == pytest.approx(10.0 + CHARACTER)
    assert last[0] == pytest.approx(10.0 + 3 * CHARACTER)
    assert [exact for _, exact in (first, last)] == [False, True]


def test_nothing_is_due_on_an_idle_line() -> None:
    assert Line().due(0.0, pace=0.004) is None


def test_senders_that_begin_together_are_the_and_of_their_bytes() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, bytes.fromhex("68 0F F0")))
    line.add(Transmission(1.0, 2400, bytes.fromhex("E5 3C")))
    # The tail of the longer one comes through.
    assert everything(line) == bytes((0x68 & 0xE5, 0x0F & 0x3C, 0xF0))


def test_equal_answers_that_begin_together_look_like_one() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, b"\xe5"))
    line.add(Transmission(1.0, 2400, b"\xe5"))
    assert everything(line) == b"\xe5"


def test_answers_that_do_not_overlap_are_heard_one_after_the_other() -> None:
    line = Line()
    line.add(Transmission(2.0, 2400, b"\xe5"))
    line.add(Transmission(1.0, 2400, b"\xe5"))
    assert everything(line) == b"\xe5\xe5"


def test_answers_that_overlap_in_part_are_garbage() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, b"\xe5"))
    # Three bits later: start, E5 from its lowest bit on, parity, stop are
    #   0 1 0 1 0 0 1 1 1 1 1
    #         0 1 0 1 0 0 1 1 1 1 1
    # and together, after the start bit, 1 0 0 0 0 1 0 0: 21.
    line.add(Transmission(1.0 + 3 / 2400, 2400, b"\xe5"))
    assert everything(line)[:1] == bytes.fromhex("21")


def test_a_collision_is_heard_the_same_in_one_go_and_step_by_step() -> None:
    def collision() -> Line:
        line = Line()
        line.add(Transmission(1.0, 2400, bytes.fromhex("68 1F 1F 68 08 02 72 78 56 34 12 16")))
        line.add(Transmission(1.0071, 2400, bytes.fromhex("68 15 15 68 08 03 72 16")))
        line.add(Transmission(1.2, 2400, bytes.fromhex("E5")))
        return line

    line, heard = collision(), b""
    for step in range(400):
        heard += line.take(1.0 + step / 1000)
    assert heard == everything(collision())
    assert heard.endswith(b"\xe5")
    assert line.is_idle


def test_a_converter_that_sends_does_not_hear() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, bytes.fromhex("01 02 03 04")))
    line.mute(1.0 + 1.2 * CHARACTER, 1.0 + 1.8 * CHARACTER)
    assert everything(line) == bytes.fromhex("01 03 04")


def test_long_after_the_clock_began_no_character_is_lost_or_heard_twice() -> None:
    line, heard = Line(), b""
    begin = 40e6  # a machine that is up for more than a year
    sent = bytes(range(200))
    line.add(Transmission(begin, 38400, sent))
    for step in range(600):
        heard += line.take(begin + step * 1e-4)
    assert heard == sent


def test_a_wrong_parity_bit_is_heard_and_nothing_else_changes() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, bytes.fromhex("10 5B 01 5C 16"), (0, 3)))
    assert line.take_received(1.0 + 2.5 * CHARACTER) == (bytes.fromhex("10 5B"), (0,))
    assert line.take_received(2.0) == (bytes.fromhex("01 5C 16"), (1,))


def test_senders_that_meet_are_heard_by_their_parity() -> None:
    line = Line()
    # 01 and 03 in one place: the data are 01, the parity bits 1 and 0.
    line.add(Transmission(1.0, 2400, bytes.fromhex("01 0F")))
    line.add(Transmission(1.0, 2400, bytes.fromhex("03 0F")))
    assert line.take_received(2.0) == (bytes.fromhex("01 0F"), (0,))


def test_a_stop_bit_that_is_low_is_a_framing_error() -> None:
    line = Line()
    line.add(Transmission(1.0, 2400, b"\xff"))
    line.add(Transmission(1.0 + 9.8 / 2400, 2400, b"\x00"))
    assert line.take_received(1.0 + 11.5 / 2400)[1] == (0,)


def test_a_wrong_parity_is_heard_also_in_a_collision() -> None:
    def heard(wrong: tuple[int, ...]) -> tuple[bytes, tuple[int, ...]]:
        line = Line()
        line.add(Transmission(1.0, 2400, b"\xe5\x16", wrong))
        line.add(Transmission(1.0, 2400, b"\xe5\x16", wrong))
        return line.take_received(2.0)

    assert heard(()) == (b"\xe5\x16", ())
    assert heard((1,)) == (b"\xe5\x16", (1,))
