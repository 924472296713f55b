"""The master's exchange, with bytes in the open and time passed in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mbus.address import parse_secondary
from bridge.mbus.control import NETWORK_LAYER
from bridge.mbus.errors import LinkBusyError
from bridge.mbus.frame import LongFrame
from bridge.mbus.link import (
    Acknowledged,
    Answered,
    Damage,
    Damaged,
    Effort,
    Link,
    Outcome,
    Passed,
    Silent,
    Timing,
    timing_of,
)
from bridge.mbus.way import Way

TIMING = Timing(baudrate=2400)

REQ_5_FCB_1 = bytes.fromhex("10 7B 05 80 16")
REQ_5_FCB_0 = bytes.fromhex("10 5B 05 60 16")
NKE_5 = bytes.fromhex("10 40 05 45 16")

# A cold water meter, 20183344-TST-0A-16, with primary address 5, and one with address 6.
WATER_5 = bytes.fromhex(
    "68 15 15 68 08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 E0 16"
)
WATER_6 = bytes.fromhex(
    "68 15 15 68 08 06 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 E1 16"
)
# Another meter with address 5: 61234567-TST-0A-16.
OTHER_5 = bytes.fromhex(
    "68 15 15 68 08 05 72 67 45 23 61 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00 61 16"
)


def asked(address: int = 5, *, tries: int | None = None, timing: Timing = TIMING) -> Link:
    """A link that has sent REQ_UD2 at time 0."""
    link = Link(timing)
    link.request_data(address, now=0.0, tries=tries)
    assert link.to_send()
    return link


def deadline(link: Link) -> float:
    assert link.deadline is not None
    return link.deadline


def wait(link: Link) -> Outcome | None:
    """Let time pass until the next deadline."""
    return link.wake(deadline(link))


def test_the_window_is_the_standards() -> None:
    # 330 bit times and 50 ms, and one character so that its end can be seen (2400 baud).
    assert TIMING.window == pytest.approx(0.1875 + 11 / 2400)
    assert Timing(baudrate=300).window == pytest.approx(1.15 + 11 / 300)


def test_a_timeout_stretches_the_window_and_never_shortens_it() -> None:
    assert Timing(baudrate=2400, timeout=2.0).window == 2.0
    assert Timing(baudrate=300, timeout=0.2).window == Timing(baudrate=300).window
    assert Timing(timeout=2.0, latency=0.5).window == 2.5


def test_a_request_is_answered() -> None:
    link = Link(TIMING)
    link.request_data(5, now=0.0)
    assert link.to_send() == REQ_5_FCB_1
    assert link.to_send() == b""
    answered = link.receive(WATER_5, now=0.2)
    assert isinstance(answered, Answered)
    assert answered.frame == LongFrame(0x08, 5, 0x72, WATER_5[7:-2])
    assert link.deadline is None


def test_an_answer_may_come_byte_by_byte() -> None:
    link = asked()
    for position, byte in enumerate(WATER_5[:-1]):
        assert link.receive(bytes((byte,)), now=0.1 + position * 0.04) is None
        assert link.wake(now=0.1 + position * 0.04) is None
    assert isinstance(link.receive(WATER_5[-1:], now=1.2), Answered)


def test_the_end_is_known_from_the_length_not_from_silence() -> None:
    link = asked()
    assert link.receive(WATER_5[:10], now=0.15) is None
    # Longer than the answer window, but not longer than converters need.
    assert link.wake(now=0.25) is None
    assert isinstance(link.receive(WATER_5[10:], now=0.25), Answered)


def test_the_fcb_toggles_with_each_answer() -> None:
    link = asked()
    link.receive(WATER_5, now=0.2)
    link.request_data(5, now=0.2)
    assert link.to_send() == REQ_5_FCB_0
    link.receive(WATER_5, now=0.4)
    link.request_data(5, now=0.4)
    assert link.to_send() == REQ_5_FCB_1


def test_each_address_has_an_fcb_of_its_own() -> None:
    link = asked(5)
    link.receive(WATER_5, now=0.2)
    link.request_data(6, now=0.2)
    assert link.to_send() == bytes.fromhex("10 7B 06 81 16")
    link.receive(WATER_6, now=0.4)
    link.request_data(5, now=0.4)
    assert link.to_send() == REQ_5_FCB_0


def test_a_lost_answer_is_asked_for_again_with_the_same_fcb() -> None:
    link = asked()
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_1
    assert isinstance(link.receive(WATER_5, now=0.5), Answered)


def test_a_meter_is_silent_after_three_tries() -> None:
    link = asked()
    sent = 1
    while (outcome := wait(link)) is None:
        assert link.to_send() == REQ_5_FCB_1
        sent += 1
        assert sent < 10
    assert outcome == Silent(5)
    assert outcome.effort.tries == outcome.effort.silences == sent == 3


def test_a_silent_meter_costs_the_standards_window_and_the_request_for_each_try() -> None:
    link = asked(tries=1)
    # 5 characters of request, 330 bit times, 50 ms, and one character to be seen.
    assert link.deadline == pytest.approx((5 * 11 + 330 + 11) / 2400 + 0.05)
    assert link.wake(deadline(link) - 0.001) is None
    assert wait(link) == Silent(5)
    link.request_data(6, now=1.0)  # and the next meter's request leaves at once
    assert link.to_send() == bytes.fromhex("10 7B 06 81 16")


def test_the_fcb_stays_after_silence() -> None:
    link = asked(tries=1)
    wait(link)
    link.request_data(5, now=1.0)
    assert link.to_send() == REQ_5_FCB_1


def test_one_exchange_at_a_time() -> None:
    link = asked()
    with pytest.raises(LinkBusyError):
        link.normalise(6, now=0.1)


@pytest.mark.parametrize(
    "noise", ["00", "FE FE FE", "68", "10", "68 13 13", "68 68 68", "10 08 05"]
)
def test_noise_before_an_answer_is_passed_over(noise: str) -> None:
    link = asked()
    outcome = link.receive(bytes.fromhex(noise) + WATER_5, now=0.2)
    if outcome is None:  # the noise looks like the head of something longer, until silence
        outcome = wait(link)
    assert isinstance(outcome, Answered)
    assert outcome.frame.data == WATER_5[7:-2]
    assert outcome.effort.tries == 1


def test_noise_before_an_answer_is_passed_over_byte_by_byte() -> None:
    link = asked()
    outcome = None
    for position, byte in enumerate(b"\x68\x00\xe5\x10" + WATER_5):
        assert outcome is None
        outcome = link.receive(bytes((byte,)), now=0.1 + position * 0.005)
    assert isinstance(outcome, Answered)


def test_a_wrong_checksum_is_counted_and_asked_again_after_an_idle_line() -> None:
    link = asked()
    broken = bytearray(WATER_5)
    broken[20] ^= 0x01
    assert link.receive(bytes(broken), now=0.2) is None
    # The frame is whole: no patience for a gap, also where a network would need it.
    assert deadline(link) == pytest.approx(0.2 + 33 / 2400)
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_1
    outcome = link.receive(WATER_5, now=0.8)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.CHECKSUM: 1}
    assert outcome.effort.silences == 0


def test_bytes_behind_a_broken_frame_are_waited_for_as_after_any_gap() -> None:
    link = asked(timing=replace(TIMING, latency=0.5))
    broken = WATER_5[:-2] + b"\x00\x16"
    assert link.receive(broken, now=0.8) is None
    assert deadline(link) == pytest.approx(0.8 + 33 / 2400)
    assert link.receive(b"\x68\x15", now=0.805) is None
    assert deadline(link) == pytest.approx(0.805 + link.timing.gap)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (WATER_5[:-2] + b"\x00\x16", Damage.CHECKSUM),
        (WATER_5[:-1] + b"\x17", Damage.STOP),
        (b"\x68\x13\x12" + WATER_5[3:], Damage.LENGTH),
        (WATER_5[:15], Damage.TRUNCATED),
        (b"\x00\xfe\xfd", Damage.NOISE),
        (WATER_6, Damage.FOREIGN),
        (bytes.fromhex("10 0B 05 10 16"), Damage.UNEXPECTED),
    ],
)
def test_damage_is_told_by_kind(answer: bytes, kind: Damage) -> None:
    link = asked(tries=1)
    assert link.receive(answer, now=0.15) is None
    outcome = wait(link)
    assert isinstance(outcome, Damaged)
    assert outcome.kinds == ((kind, 1),)


def test_damage_that_is_recovered_from_does_not_make_a_silent_meter() -> None:
    link = asked(tries=2)
    assert link.receive(b"\x00", now=0.1) is None
    assert wait(link) is None
    assert wait(link) == Damaged(5, ((Damage.NOISE, 1),))


def test_an_echo_is_dropped() -> None:
    link = asked()
    outcome = link.receive(REQ_5_FCB_1 + WATER_5, now=0.2)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {}
    assert outcome.effort.wire_time == pytest.approx(0.2)  # the echo took none of it


def test_an_echo_alone_is_silence() -> None:
    link = asked(tries=1)
    for position, byte in enumerate(REQ_5_FCB_1):
        assert link.receive(bytes((byte,)), now=0.005 * position) is None
    assert wait(link) == Silent(5)


def test_the_echo_of_a_selection_is_dropped() -> None:
    link = Link(TIMING)
    link.select(parse_secondary("61234567-TST-08-04"), now=0.0)
    selection = link.to_send()
    assert selection == bytes.fromhex("68 0B 0B 68 53 FD 52 67 45 23 61 74 52 08 04 A4 16")
    assert link.receive(selection, now=0.08) is None
    assert link.receive(b"\xe5", now=0.12) == Acknowledged(NETWORK_LAYER)


def test_another_meters_answer_is_dropped_and_the_right_one_still_taken() -> None:
    link = asked()
    assert link.receive(WATER_6, now=0.15) is None
    outcome = link.receive(WATER_5, now=0.3)
    assert isinstance(outcome, Answered)
    assert outcome.frame.address == 5
    assert outcome.effort.damage == {Damage.FOREIGN: 1}


def test_who_answers_instead_is_said_when_it_happens_in_every_try() -> None:
    link = asked(tries=2)
    link.receive(WATER_6, now=0.15)
    assert wait(link) is None
    now = deadline(link) - 0.01
    link.receive(WATER_6, now)
    assert wait(link) == Damaged(5, ((Damage.FOREIGN, 2),), "address 6")


def test_a_late_answer_of_the_meter_before_is_not_taken_for_this_ones() -> None:
    link = asked(6, tries=1)
    assert wait(link) == Silent(6)
    link.request_data(5, now=0.3)
    link.to_send()
    assert link.receive(WATER_6, now=0.35) is None
    outcome = link.receive(WATER_5, now=0.5)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.LATE: 1}


def test_what_came_before_a_request_is_not_its_answer_and_holds_it_back() -> None:
    link = asked(tries=1)
    assert wait(link) == Silent(5)
    assert link.receive(WATER_5, now=1.0) is None  # late, and nobody's
    assert link.unasked == len(WATER_5)
    link.request_data(5, now=1.0)
    assert link.to_send() == b""  # the line must be idle first
    assert link.deadline == pytest.approx(1.0 + 33 / 2400)
    assert link.receive(b"\x16", now=1.01) is None
    assert link.deadline == pytest.approx(1.01 + 33 / 2400)
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_1


def test_after_a_late_answer_the_answer_to_the_repetition_is_let_pass() -> None:
    link = asked()
    assert wait(link) is None  # the second try goes out
    link.to_send()
    now = deadline(link) - 0.1
    assert isinstance(link.receive(WATER_5, now), Answered)  # to which of the two tries?
    link.request_data(5, now)
    assert link.to_send() == b""
    assert link.receive(WATER_5, now + 0.1) is None  # the other one
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_0


def test_an_answer_that_is_certainly_late_stretches_the_window() -> None:
    # A gateway that collects the telegram: at 2400 baud its 27 bytes take 124 ms.
    link = asked()
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_1
    outcome = link.receive(WATER_5, now=0.25)
    assert isinstance(outcome, Answered)
    assert outcome.effort.answer_delay == pytest.approx(0.25 - (5 + 27) * 11 / 2400)
    assert link.stretch == pytest.approx(1.1 * 0.25 - TIMING.window)
    link.request_data(5, now=2.0)
    assert deadline(link) >= 2.25


def test_an_answer_to_a_repetition_stretches_nothing() -> None:
    link = asked()
    now = deadline(link)
    assert link.wake(now) is None
    assert isinstance(link.receive(WATER_5, now + (5 + 27) * 11 / 2400), Answered)
    assert link.stretch == 0.0


def test_the_window_does_not_grow_without_end() -> None:
    link = Link(TIMING)
    now = 0.0
    for _ in range(100):
        link.request_data(5, now)
        now = deadline(link)
        assert link.wake(now) is None  # the second try
        assert isinstance(link.receive(WATER_5, now), Answered)
        now += 10.0
    assert 1.0 < link.stretch <= 261 * 11 / 2400 + 1.0


def test_no_rest_is_taken_after_a_retry_that_damage_has_caused() -> None:
    link = asked()
    link.receive(b"\x00", now=0.1)
    wait(link)
    link.to_send()
    now = deadline(link) - 0.05
    assert isinstance(link.receive(WATER_5, now), Answered)
    link.request_data(5, now)
    assert link.to_send() == REQ_5_FCB_0


def test_e5_in_reply_to_a_request_says_that_there_is_nothing_to_send() -> None:
    link = asked()
    assert link.receive(b"\xe5", now=0.1) is None  # it may be the first byte of something else
    outcome = wait(link)
    assert outcome == Acknowledged(5)
    link.request_data(5, now=1.0)
    assert link.to_send() == REQ_5_FCB_0


def test_a_late_e5_before_the_answer_is_dropped() -> None:
    link = asked()
    assert link.receive(b"\xe5", now=0.05) is None
    outcome = link.receive(WATER_5, now=0.2)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.LATE: 1}


@pytest.mark.parametrize("size", [1, 2, 3, 25])
def test_an_answer_whose_first_byte_became_e5_is_damaged(size: int) -> None:
    link = asked(tries=1)
    broken = b"\xe5" + WATER_5[1:]
    for start in range(0, len(broken), size):
        assert link.receive(broken[start : start + size], now=0.1 + start * 0.005) is None
    assert isinstance(wait(link), Damaged)


def test_an_e5_inside_a_broken_answer_acknowledges_nothing() -> None:
    link = asked(tries=1)
    broken = bytearray(WATER_5)
    broken[0] = 0x60
    broken[-1] = 0xE5
    for position, byte in enumerate(broken):
        assert link.receive(bytes((byte,)), now=0.1 + position * 0.005) is None
    assert isinstance(wait(link), Damaged)


def test_snd_nke_sets_the_fcb_back() -> None:
    link = asked()
    link.receive(WATER_5, now=0.2)
    link.normalise(5, now=0.2)
    assert link.to_send() == NKE_5
    assert link.receive(b"\xe5", now=0.3) == Acknowledged(5)
    link.request_data(5, now=0.3)
    assert link.to_send() == REQ_5_FCB_1


def test_snd_nke_is_not_answered_by_a_late_telegram() -> None:
    link = Link(TIMING)
    link.normalise(5, now=0.0)
    assert link.receive(WATER_5, now=0.1) is None
    outcome = link.receive(b"\xe5", now=0.2)
    assert isinstance(outcome, Acknowledged)
    assert outcome.effort.damage == {Damage.LATE: 1}


def test_an_e5_after_noise_is_taken_when_nothing_follows() -> None:
    link = Link(TIMING)
    link.normalise(5, now=0.0)
    assert link.receive(b"\xfe\xe5", now=0.1) is None
    assert wait(link) == Acknowledged(5)


def test_a_selection_sets_the_fcb_of_253_back() -> None:
    link = Link(TIMING)
    for now in (0.0, 2.0):
        link.select(parse_secondary("20183344"), now=now)
        link.to_send()
        assert link.receive(b"\xe5", now=now + 0.1) == Acknowledged(NETWORK_LAYER)
        link.request_data(NETWORK_LAYER, now=now + 0.1)
        assert link.to_send() == bytes.fromhex("10 7B FD 78 16")
        # A selected meter answers with its own primary address.
        assert isinstance(link.receive(WATER_5, now=now + 0.3), Answered)


def test_behind_253_only_the_selected_meter_counts() -> None:
    link = Link(TIMING)
    mask = parse_secondary("2018334F")
    link.request_data(NETWORK_LAYER, now=0.0, identity=mask)
    assert link.receive(OTHER_5, now=0.1) is None
    assert isinstance(link.receive(WATER_5, now=0.2), Answered)


def test_snd_ud_uses_and_toggles_the_fcb() -> None:
    link = Link(TIMING)
    link.send_data(5, 0x50, b"\x50", now=0.0)
    assert link.to_send() == bytes.fromhex("68 04 04 68 73 05 50 50 18 16")
    assert link.receive(b"\xe5", now=0.1) == Acknowledged(5)
    link.send_data(5, 0x50, b"", now=0.1)
    assert link.to_send() == bytes.fromhex("68 03 03 68 53 05 50 A8 16")


def test_an_exchange_that_is_given_up_tells_what_it_has_cost() -> None:
    link = asked()
    assert link.receive(WATER_5[:10], now=0.1) is None
    effort = link.abandon(now=0.2)
    assert (effort.tries, effort.bytes_sent, effort.bytes_received) == (1, 5, 10)
    assert link.deadline is None
    assert link.abandon(now=0.3) == Effort()


def test_trailing_bytes_are_counted_and_the_line_must_rest() -> None:
    link = asked()
    outcome = link.receive(WATER_5 + b"\x00\x00", now=0.2)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.TRAILING: 1}
    link.request_data(5, now=0.2)
    assert link.to_send() == b""


def test_a_true_frame_inside_a_truncated_one_is_found() -> None:
    link = asked(tries=1)
    # The head of a long telegram, and then the meter started anew.
    assert link.receive(bytes.fromhex("68 F0 F0 68 08 05 72") + WATER_5, now=0.2) is None
    outcome = wait(link)
    assert isinstance(outcome, Answered)
    assert outcome.effort.damage == {Damage.TRUNCATED: 1}


def test_a_babbling_line_ends_the_exchange_all_the_same() -> None:
    link = asked()
    now = 0.0
    outcome = None
    while outcome is None:
        now += 0.01
        assert now < 20.0
        outcome = link.receive(b"\x00", now) or link.wake(now)
        link.to_send()
    assert outcome == Damaged(5, ((Damage.NOISE, 3),))


def test_an_abandoned_exchange_lets_its_answer_pass() -> None:
    link = asked()
    link.abandon(now=0.05)
    assert link.deadline is None
    link.request_data(6, now=0.05)
    assert link.to_send() == b""
    assert link.receive(WATER_5, now=0.2) is None


def test_what_an_exchange_costs_is_counted() -> None:
    link = asked()
    # The last byte comes 100 ms after the meter could have begun without a delay.
    now = (5 + len(WATER_5)) * 11 / 2400 + 0.1
    outcome = link.receive(WATER_5, now)
    assert isinstance(outcome, Answered)
    effort = outcome.effort
    assert (effort.bytes_sent, effort.bytes_received) == (5, len(WATER_5))
    assert effort.answer_delay == pytest.approx(0.1)
    assert effort.wire_time == pytest.approx(now)


def test_efforts_add_up() -> None:
    link = asked(tries=2)
    link.receive(b"\x00", now=0.1)
    wait(link)
    outcome = wait(link)
    assert outcome is not None
    total = outcome.effort + replace(outcome.effort, answer_delay=0.2)
    assert total.tries == 4
    assert total.damage == {Damage.NOISE: 2}
    assert total.answer_delay == 0.2


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.one_of(
                st.binary(max_size=40),
                st.sampled_from([WATER_5, WATER_6, b"\xe5", REQ_5_FCB_1, WATER_5[:9], b"\x68\xff"]),
            ),
            st.floats(min_value=0.0, max_value=0.4),
        ),
        max_size=60,
    ),
    service=st.sampled_from(["request", "normalise", "select"]),
    baudrate=st.sampled_from([300, 2400, 38400]),
)
def test_random_bytes_at_random_times_never_raise_and_always_end(
    steps: list[tuple[bytes, float]], service: str, baudrate: int
) -> None:
    timing = Timing(baudrate=baudrate)
    link = Link(timing)
    now = 0.0
    if service == "request":
        link.request_data(5, now)
    elif service == "normalise":
        link.normalise(5, now)
    else:
        link.select(parse_secondary("20183344"), now)
    longest = timing.characters(261)
    # Request, window, a frame stretched by gaps, and a rest, for each try.
    bound = 3 * (timing.characters(17) + 2 * timing.window + 3 * longest + timing.gap + 1.0)
    outcome: Outcome | None = None
    for data, pause in steps:
        end = now + pause
        while outcome is None and link.deadline is not None and link.deadline <= end:
            now = max(now, link.deadline)
            outcome = link.wake(now)
            link.to_send()
        now = end
        outcome = outcome or link.receive(data, now)
        if outcome is not None:
            break
    while outcome is None:
        now = max(now, deadline(link))
        outcome = link.wake(now)
        link.to_send()
    assert now <= bound
    assert link.deadline is None
    if isinstance(outcome, Answered):
        assert (outcome.frame.address, outcome.frame.control & 0x4F) == (5, 0x08)


def test_a_meter_may_have_a_timing_of_its_own() -> None:
    bus = Timing(baudrate=2400, timeout=0.4, latency=0.1, tries=3)
    assert timing_of(bus, Way()) == bus
    assert timing_of(bus, Way(baudrate=300)) == Timing(300, 0.4, 0.1, 3)
    assert timing_of(bus, Way(timeout=2.0, tries=1)) == Timing(2400, 2.0, 0.1, 1)


def test_another_timing_keeps_the_fcb_the_stretch_and_the_rest() -> None:
    link = asked()
    link.stretch = 0.3
    with pytest.raises(LinkBusyError):
        link.set_timing(Timing(baudrate=300))
    link.receive(WATER_5 + b"\x00", now=0.2)
    link.set_timing(Timing(baudrate=300))
    assert link.timing == Timing(baudrate=300)
    link.request_data(5, now=0.2)
    assert link.to_send() == b""  # the line rests
    assert link.deadline == pytest.approx(0.2 + 33 / 2400)
    assert wait(link) is None
    assert link.to_send() == REQ_5_FCB_0
    needed = 5 * 11 / 300 + Timing(baudrate=300).window + 0.3
    assert link.deadline == pytest.approx(0.2 + 33 / 2400 + needed)


def test_a_rest_holds_the_next_frame_back_also_on_a_line_that_babbles() -> None:
    link = Link(TIMING)
    link.rest(until=3.5)
    link.rest(until=2.0)
    link.request_data(5, now=0.0)
    assert link.deadline == 3.5
    for hundredth in range(1, 350):
        link.receive(b"\x00", now=hundredth / 100)
        assert deadline(link) >= 3.5
        assert link.to_send() == b""
    assert link.wake(now=deadline(link)) is None
    assert link.to_send() == REQ_5_FCB_1


def test_raw_bytes_are_sent_once_and_pass_when_the_answer_is_there() -> None:
    link = Link(TIMING)
    link.send_raw(5, REQ_5_FCB_1, now=0.0)
    assert link.to_send() == REQ_5_FCB_1
    assert link.receive(REQ_5_FCB_1 + WATER_5[:9], now=0.1) is None  # the echo is none
    outcome = link.receive(WATER_5[9:], now=0.2)
    assert outcome == Passed(5)
    assert outcome is not None
    assert (outcome.effort.tries, outcome.effort.damage) == (1, {})
    link.request_data(5, now=0.3)
    assert link.to_send() == REQ_5_FCB_1


@pytest.mark.parametrize("answer", [b"", b"\xe5", b"\x00\xff", WATER_5[:12], WATER_5 + b"\x00"])
def test_raw_bytes_pass_whatever_comes(answer: bytes) -> None:
    link = Link(TIMING)
    link.send_raw(5, b"\x01\x02\x03", now=0.0)
    link.to_send()
    outcome = link.receive(answer, now=0.1) or wait(link)
    assert outcome == Passed(5)
    assert outcome is not None
    assert outcome.effort.damage == {}


def test_the_fcb_toggles_also_after_a_snd_ud_that_nobody_acknowledged() -> None:
    link = Link(TIMING)
    link.send_data(255, 0x51, bytes.fromhex("48 FE 0B"), now=0.0, tries=1)
    assert link.to_send() == bytes.fromhex("68 06 06 68 73 FF 51 48 FE 0B 14 16")
    assert wait(link) == Silent(255)
    link.send_data(255, 0x51, bytes.fromhex("48 FE 0B"), now=1.0, tries=1)
    assert link.to_send() == bytes.fromhex("68 06 06 68 53 FF 51 48 FE 0B F4 16")
