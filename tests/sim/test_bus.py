"""A whole segment in fake time: wire time, collisions, baud rates, and what goes wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.errors import FrameError
from bridge.mbus.frame import LongFrame, encode_frame, take_frame
from bridge.mbus.way import WakeUp
from bridge.sim.bus import SimulatedBus
from bridge.sim.clock import SimulatedClock
from bridge.sim.errors import SimError
from bridge.sim.meter import Content, Quirks, SimulatedMeter

NOON = dt.datetime(2026, 3, 9, 12, 0)
PACE = 0.004
DELAY = 0.03
SELECT_ALL = "68 0B 0B 68 53 FD 52 FF FF FF FF FF FF FF FF 9A 16"


class Ten:
    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        return (bytes.fromhex("04 13 0A 00 00 00 04 06 7F 11 00 00"),)


def meter(
    name: str, primary: int, number: str, delay: float = DELAY, baudrate: int = 2400
) -> SimulatedMeter:
    return SimulatedMeter(
        name,
        Ten(),
        primary=primary,
        secondary=SecondaryAddress(number, "KAM", 1, 4),
        answer_delay=delay,
        jitter=0.0,
        baudrate=baudrate,
    )


def bus(*faults: str, meters: Sequence[SimulatedMeter] = (), baudrate: int = 2400) -> SimulatedBus:
    return SimulatedBus(
        meters or [meter("one", 1, "11111111"), meter("two", 2, "22222222")],
        baudrate=baudrate,
        faults=faults,
        clock=SimulatedClock(NOON),
        seed=7,
    )


def drain(bus: SimulatedBus, now: float) -> tuple[bytes, float]:
    """All that comes from now on, and when the last of it came."""
    heard, last = b"", now
    while (due := bus.due(now, PACE)) is not None:
        now = due[0]
        if data := bus.take(now):
            heard, last = heard + data, now
        if bus.take_drop(now):
            break
    return heard, last


def ask(bus: SimulatedBus, request: str, now: float = 100.0) -> bytes:
    bus.receive(bytes.fromhex(request), now)
    return drain(bus, now)[0]


def request(address: int, fcb: bool = True) -> str:
    control = 0x7B if fcb else 0x5B
    return bytes((0x10, control, address, control + address & 0xFF, 0x16)).hex()


def is_telegram(data: bytes) -> bool:
    try:
        return isinstance(take_frame(bytearray(data)), LongFrame)
    except FrameError:
        return False


@pytest.mark.parametrize("baudrate", [300, 2400, 9600])
def test_an_answer_takes_request_delay_and_telegram(baudrate: int) -> None:
    b = bus(meters=[meter("one", 1, "11111111", baudrate=baudrate)], baudrate=baudrate)
    b.receive(bytes.fromhex(request(1)), 100.0)
    heard, at = drain(b, 100.0)
    assert is_telegram(heard)
    delay = max(DELAY, 11 / baudrate)
    assert at - 100.0 == pytest.approx((5 + len(heard)) * 11 / baudrate + delay, abs=1e-6)


def test_the_statistics_count_the_time_that_no_master_can_avoid() -> None:
    b = bus()
    answer = ask(b, request(1))
    ask(b, request(9), now=101.0)
    statistics = b.statistics
    assert (statistics.requests, statistics.answers, statistics.silences) == (2, 1, 1)
    assert (statistics.bytes_from_master, statistics.bytes_to_master) == (10, len(answer))
    assert statistics.request_seconds == pytest.approx(10 * 11 / 2400)
    assert statistics.delay_seconds == pytest.approx(DELAY)
    assert statistics.busy_seconds == pytest.approx((10 + len(answer)) * 11 / 2400 + DELAY)


def test_bytes_that_come_while_the_wire_is_busy_wait_for_it() -> None:
    b = bus()
    b.receive(bytes.fromhex("10 40"), 100.0)
    b.receive(bytes.fromhex("01 41 16"), 100.001)
    heard, at = drain(b, 100.001)
    assert heard == b"\xe5"
    assert at - 100.0 == pytest.approx(6 * 11 / 2400 + DELAY, abs=1e-6)


def test_a_frame_with_a_pause_inside_is_no_frame() -> None:
    b = bus()
    b.receive(bytes.fromhex("10 40"), 100.0)
    b.receive(bytes.fromhex("01 41 16"), 100.5)
    assert drain(b, 100.5)[0] == b""


def test_noise_before_a_request_does_not_hide_it() -> None:
    assert ask(bus(), "FF 00 68 10 40 01 41 16") == b"\xe5"


def test_a_damaged_request_gets_no_answer() -> None:
    assert ask(bus(), "10 40 01 42 16") == b""


def test_a_meter_does_not_hear_another_baud_rate() -> None:
    b = bus(meters=[meter("slow", 1, "11111111", baudrate=300)])
    assert ask(b, "10 40 01 41 16") == b""
    b.set_baudrate(300)
    assert ask(b, "10 40 01 41 16", now=101.0) == b"\xe5"


def test_a_changed_baud_rate_is_acknowledged_at_the_old_one() -> None:
    b = bus()
    assert ask(b, "68 03 03 68 53 01 BD 11 16") == b"\xe5"
    assert ask(b, "10 40 01 41 16", now=101.0) == b""
    b.set_baudrate(9600)
    assert ask(b, "10 40 01 41 16", now=102.0) == b"\xe5"


def test_two_meters_that_answer_at_once_give_one_clean_e5_and_a_damaged_telegram() -> None:
    b = bus()
    assert ask(b, SELECT_ALL) == b"\xe5"
    heard = ask(b, "10 7B FD 78 16", now=101.0)
    one = encode_frame_of(b.meters["one"])
    two = encode_frame_of(b.meters["two"])
    assert heard == bytes(first & second for first, second in zip(one, two, strict=True))
    assert not is_telegram(heard)


def encode_frame_of(meter: SimulatedMeter) -> bytes:
    frame = take_frame(bytearray(meter.telegram(NOON)))
    assert isinstance(frame, LongFrame)
    return encode_frame(frame)


def test_two_meters_with_different_delays_are_a_collision_in_the_very_selection() -> None:
    b = bus(meters=[meter("one", 1, "11111111"), meter("two", 2, "22222222", delay=DELAY + 0.002)])
    assert ask(b, SELECT_ALL) != b"\xe5"


def test_two_meters_far_apart_in_time_give_two_answers() -> None:
    b = bus(meters=[meter("one", 1, "11111111"), meter("two", 2, "22222222", delay=0.09)])
    assert ask(b, SELECT_ALL) == b"\xe5\xe5"


def test_a_meter_that_sends_does_not_hear_and_the_converter_neither() -> None:
    b = bus()
    b.receive(bytes.fromhex(request(1)), 100.0)
    heard = b.take(100.15)
    b.receive(bytes.fromhex("10 40 01 41 16"), 100.15)
    heard += drain(b, 100.15)[0]
    # The answer lacks what came while the master sent, and SND_NKE was not heard.
    assert not is_telegram(heard)
    whole = len(encode_frame_of(b.meters["one"]))
    assert whole - 7 <= len(heard) <= whole - 5


def test_a_second_request_sent_right_behind_the_first_drowns_its_answer() -> None:
    b = bus(meters=[meter("one", 1, "11111111", delay=0.006)])
    assert ask(b, "10 40 01 41 16 10 40 01 41 16") == b""


def test_silence_loses_the_answer_and_the_meter_does_not_know() -> None:
    b = bus("silence:one:next-1")
    assert ask(b, request(1)) == b""
    access_number = b.meters["one"].access_number
    assert is_telegram(ask(b, request(1), now=101.0))
    assert b.meters["one"].access_number == access_number


def test_a_deaf_meter_does_not_go_on_to_its_next_telegram() -> None:
    b = bus("deaf:one:next-1")
    access_number = b.meters["one"].access_number
    assert ask(b, request(1)) == b""
    assert b.meters["one"].access_number == access_number


def test_a_fault_of_one_meter_leaves_the_others_alone() -> None:
    b = bus("silence:one")
    assert ask(b, request(1)) == b""
    assert is_telegram(ask(b, request(2), now=101.0))


def test_faults_are_switched_at_run_time() -> None:
    b = bus()
    fault = b.add_fault("silence:22222222")
    assert b.faults == (fault,)
    assert fault.meter == "two"
    assert ask(b, request(2)) == b""
    b.remove_fault(fault)
    assert is_telegram(ask(b, request(2), now=101.0))
    b.add_fault("silence")
    assert ask(b, request(2, fcb=False), now=102.0) == b""
    b.clear_faults()
    assert is_telegram(ask(b, request(2, fcb=False), now=103.0))


@pytest.mark.parametrize(
    ("fault", "same"),
    [("noise-before=3", slice(3, None)), ("noise-after=3", slice(None, -3))],
)
def test_noise_around_an_answer(fault: str, same: slice) -> None:
    clean = ask(bus(), request(1))
    noisy = ask(bus(fault), request(1))
    assert len(noisy) == len(clean) + 3
    assert noisy[same] == clean


def test_noise_inside_an_answer() -> None:
    clean = ask(bus(), request(1))
    noisy = ask(bus("noise-inside=2"), request(1))
    assert len(noisy) == len(clean) + 2
    assert (noisy[0], noisy[-1]) == (0x68, 0x16)
    assert not is_telegram(noisy)


def test_truncation_ends_the_answer() -> None:
    clean = ask(bus(), request(1))
    assert ask(bus("truncation=12"), request(1)) == clean[:12]
    assert len(ask(bus("truncation"), request(1))) < len(clean)


def test_a_wrong_checksum_and_nothing_else() -> None:
    clean, wrong = ask(bus(), request(1)), ask(bus("checksum"), request(1))
    assert [i for i, (a, b) in enumerate(zip(clean, wrong, strict=True)) if a != b] == [
        len(clean) - 2
    ]


def test_a_flipped_bit_is_seen_by_the_frame() -> None:
    clean, wrong = ask(bus(), request(1)), ask(bus("bit-flip"), request(1))
    assert sum((a ^ b).bit_count() for a, b in zip(clean, wrong, strict=True)) == 1
    assert not is_telegram(wrong)


def test_a_hidden_flip_passes_the_checksum() -> None:
    clean, wrong = ask(bus(), request(1)), ask(bus("hidden-flip"), request(1))
    assert sum((a ^ b).bit_count() for a, b in zip(clean, wrong, strict=True)) == 2
    assert is_telegram(wrong)


def test_bytes_that_come_twice() -> None:
    clean, doubled = ask(bus(), request(1)), ask(bus("duplicate=2"), request(1))
    assert len(clean) < len(doubled) <= len(clean) + 2
    assert any(
        doubled == clean[: cut + n] + clean[cut:] for cut in range(len(clean)) for n in (1, 2)
    )


def test_another_meters_telegram_comes_instead() -> None:
    b = bus("wrong-meter:one")
    frame = take_frame(bytearray(ask(b, request(1))))
    assert isinstance(frame, LongFrame)
    assert frame.address == 2
    assert frame.data[:4] == bytes.fromhex("22222222")


def test_a_meter_alone_on_the_line_is_replaced_by_one_that_is_not_there() -> None:
    b = bus("wrong-meter", meters=[meter("one", 1, "11111111")])
    frame = take_frame(bytearray(ask(b, request(1))))
    assert isinstance(frame, LongFrame)
    assert frame.data[:4] == bytes.fromhex("10111111")


def test_a_late_answer_comes_after_the_standards_time() -> None:
    b = bus("late=0.5:one")
    b.receive(bytes.fromhex("10 40 01 41 16"), 100.0)
    heard, at = drain(b, 100.0)
    assert heard == b"\xe5"
    # Request, 330 bit times and 50 ms, half a second, one character.
    assert at - 100.0 == pytest.approx(6 * 11 / 2400 + 0.1875 + 0.5, abs=1e-6)
    assert b.statistics.busy_seconds == pytest.approx(5 * 11 / 2400)


def test_a_break_is_a_run_of_zeros() -> None:
    assert ask(bus("break=9"), request(1)) == bytes(9)


def test_an_echo_comes_before_the_answer_and_takes_its_own_time() -> None:
    b = bus("echo")
    b.receive(bytes.fromhex("10 40 01 41 16"), 100.0)
    assert b.take(100.0 + 2.5 * 11 / 2400) == bytes.fromhex("10 40")
    assert drain(b, 100.012)[0] == bytes.fromhex("01 41 16 E5")


def test_chatter_answers_for_everybody() -> None:
    assert ask(bus("chatter=254"), "10 40 63 A3 16") == b"\xfe" * 8


def test_a_drop_cuts_the_answer_and_the_connection() -> None:
    b = bus("drop:one:next-1")
    whole = len(encode_frame_of(b.meters["one"]))
    b.receive(bytes.fromhex(request(1)), 100.0)
    heard, at = drain(b, 100.0)
    assert len(heard) == whole // 2
    assert at - 100.0 == pytest.approx((5 + whole // 2) * 11 / 2400 + DELAY, abs=1e-6)
    assert not b.take_drop(200.0), "once"


def test_a_probability_is_kept_and_the_same_for_the_same_seed() -> None:
    def silences() -> list[bool]:
        b = bus("silence:0.3")
        return [ask(b, "10 40 01 41 16", now=100.0 + n) == b"" for n in range(400)]

    assert 80 < sum(silences()) < 160
    assert silences() == silences()


def test_next_n_is_over_after_n() -> None:
    b = bus("silence:next-2")
    assert [ask(b, "10 40 01 41 16", now=100.0 + n) for n in range(3)] == [b"", b"", b"\xe5"]
    assert b.faults == ()


def test_a_fault_of_a_meter_that_is_not_there_is_refused() -> None:
    with pytest.raises(SimError, match="there is no meter 'heat-7' here, but one, two"):
        bus("silence:heat-7")


def test_a_fault_at_an_address_that_two_meters_share_is_refused() -> None:
    twins = [meter("one", 1, "11111111"), meter("two", 1, "22222222")]
    with pytest.raises(SimError, match="several meters: one, two"):
        bus("silence:1", meters=twins)


def test_two_meters_with_one_name_are_refused() -> None:
    with pytest.raises(SimError, match="two meters have the name one"):
        bus(meters=[meter("one", 1, "11111111"), meter("one", 2, "22222222")])


def test_simulated_time_runs_at_its_speed() -> None:
    clock = SimulatedClock(NOON, speed=3600)
    assert clock.at(50.0) == NOON
    assert clock.at(51.5) == NOON + dt.timedelta(minutes=90)
    with pytest.raises(SimError, match="only runs forward"):
        SimulatedClock(NOON, speed=0)


def received(b: SimulatedBus) -> tuple[bytes, tuple[int, ...]]:
    """The answer to a REQ_UD2 to meter 1, and which of its characters have a wrong parity."""
    b.receive(bytes.fromhex(request(1)), 100.0)
    return b.take_received(110.0)


@pytest.mark.parametrize(
    ("fault", "wrong"), [("bit-flip", 1), ("hidden-flip", 2), ("parity", 1), ("break=9", 9)]
)
def test_what_is_hit_on_the_wire_has_a_wrong_parity(fault: str, wrong: int) -> None:
    clean, none = received(bus())
    assert none == ()
    data, places = received(bus(fault))
    assert len(places) == wrong
    if fault == "parity":
        assert data == clean
    elif not fault.startswith("break"):
        changed = [i for i, (a, b) in enumerate(zip(clean, data, strict=True)) if a != b]
        assert list(places) == changed


@pytest.mark.parametrize(
    "fault", ["truncation=9", "checksum", "duplicate=2", "wrong-meter", "echo"]
)
def test_what_is_not_hit_on_the_wire_has_its_parity(fault: str) -> None:
    assert received(bus(fault))[1] == ()


def test_half_of_all_noise_has_a_wrong_parity() -> None:
    places = received(bus("noise-before=200"))[1]
    assert 70 < len(places) < 130
    assert max(places) < 200
    assert received(bus("noise-before=200"))[1] == places


def test_a_request_may_begin_at_the_very_end_of_an_answer() -> None:
    b = bus()
    now = 100.0
    for step in range(300):
        b.receive(bytes.fromhex(request(1, fcb=step % 2 == 0)), now)
        heard, now = drain(b, now)
        assert is_telegram(heard)


def test_a_row_of_bytes_at_the_right_rate_wakes_a_meter() -> None:
    quirks = Quirks(wake_up=WakeUp(byte=0x55, duration=1.0))
    sleeper = meter("one", 1, "11111111")
    sleeper.quirks = quirks
    b = bus(meters=[sleeper])
    assert ask(b, "10 40 01 41 16") == b""
    for row, now, woken in (
        ("55" * 240, 200.0, True),
        ("55" * 200, 300.0, False),
        ("AA" * 240, 400.0, False),
        ("55" * 120 + "00" + "55" * 120, 500.0, False),
    ):
        b.receive(bytes.fromhex(row), now)
        assert (ask(b, "10 40 01 41 16", now + 1.2) == b"\xe5") is woken
    # In two parts without a gap, and then it stays awake for a while.
    b.receive(b"\x55" * 120, 600.0)
    b.receive(b"\x55" * 120, 600.55)
    assert ask(b, "10 40 01 41 16", 601.2) == b"\xe5"
    assert ask(b, "10 40 01 41 16", 611.0) == b"\xe5"
    assert ask(b, "10 40 01 41 16", 622.0) == b""
