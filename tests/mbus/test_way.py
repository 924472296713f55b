"""Meters that want to be read in their own way, simulated on a line in virtual time."""

from __future__ import annotations

import datetime as dt
import random
from collections import deque
from collections.abc import Sequence
from functools import partial

import pytest

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.control import BROADCAST, CI_APPLICATION_RESET, CI_DATA_SEND
from bridge.mbus.link import Damage, Link, Silent, Timing, timing_of
from bridge.mbus.readout import Complete, End, Failed, Memory, Readout, Trouble
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.way import Nke, RawBytes, UserData, WakeUp, Way
from bridge.sim.bus import SimulatedBus
from bridge.sim.clock import SimulatedClock
from bridge.sim.meter import Content, Quirks, SimulatedMeter

NOON = dt.datetime(2026, 3, 9, 12, 0)
RESET = UserData(CI_APPLICATION_RESET)
SELECT_50 = UserData(CI_APPLICATION_RESET, b"\x50")
USUAL = Way()


class Clocked:
    """Telegrams of one record each: the volume in the first is the seconds since noon."""

    def __init__(self, count: int = 1, page: int = 1) -> None:
        self.count = count
        self.page = page

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        seconds = int((when - NOON).total_seconds())
        return [
            b"\x04\x13" + seconds.to_bytes(4, "little") + bytes((0x01, 0xFD, 0x08, page))
            for page in range(self.page, self.page + self.count)
        ]


def meter(
    name: str = "one",
    primary: int = 1,
    number: str = "11111111",
    *,
    quirks: Quirks | None = None,
    telegrams: int = 1,
    baudrate: int = 2400,
    fabrication: str | None = None,
    delay: float = 0.04,
    page: int = 1,
) -> SimulatedMeter:
    return SimulatedMeter(
        name,
        Clocked(telegrams, page),
        primary=primary,
        secondary=SecondaryAddress(number, "KAM", 1, 4),
        answer_delay=delay,
        baudrate=baudrate,
        fabrication_number=fabrication,
        quirks=quirks,
        selectable={0x50: Clocked(page=0x50)},
    )


class Segment:
    """A line, a link, and the time that both live by."""

    def __init__(
        self, *meters: SimulatedMeter, faults: Sequence[str] = (), latency: float = 0.02
    ) -> None:
        self.now = 100.0
        self.bus = SimulatedBus(meters, faults=faults, clock=SimulatedClock(NOON), seed=3)
        assert self.bus.clock.at(self.now) == NOON
        self.timing = Timing(latency=latency)
        self.link = Link(self.timing)
        self.memories: dict[object, Memory] = {}
        self.sent: list[bytes] = []
        # A network may hold back all that comes until some time, and then deliver it in order.
        self.held_until = 0.0
        self._held: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._taken_at = self.now

    def pass_time(self, until: float) -> None:
        """Nobody asks; what comes is heard."""
        while (data := self._next(until)) is not None:
            self.link.receive(data[0], self.now, data[1])

    def read(
        self,
        address: int | SecondaryAddress,
        way: Way = USUAL,
        *,
        memory: Memory | None = None,
        probe: bool = False,
    ) -> End:
        if memory is None:
            memory = self.memories.setdefault((address, way.fabrication), Memory())
        self.link.set_timing(timing_of(self.timing, way))
        self.bus.set_baudrate(self.link.timing.baudrate)
        decode = partial(decode_telegram, formats=memory.formats)
        readout = Readout(self.link, address, decode, way=way, memory=memory, probe=probe)
        readout.start(self.now)
        end: End | None = None
        while end is None:
            if request := readout.to_send():
                self.sent.append(request)
                self.bus.receive(request, self.now)
            assert readout.deadline is not None
            received = self._next(readout.deadline)
            if received is not None:
                end = readout.receive(received[0], self.now, received[1])
            end = end or readout.wake(self.now)
        assert self.link.missing == readout.missing == 0
        return end

    def _next(self, until: float) -> tuple[bytes, tuple[int, ...]] | None:
        """Let time pass up to what the line brings next, or to ``until``."""
        until = max(until, self.now)
        while True:
            if self._held and self.now >= self.held_until:
                return self._held.popleft()
            due = self.bus.due(self._taken_at, 0.004)
            times = [until]
            if due is not None:
                times.append(max(due[0], self.now))
            if self._held:
                times.append(max(self.held_until, self.now))
            self.now = min(times)
            if due is not None and due[0] <= self.now:
                self._taken_at = self.now
                data, broken = self.bus.take_received(self.now)
                if data:
                    self._held.append((data, broken))
                    continue
            if self._held and self.now >= self.held_until:
                continue
            if self.now >= until:
                return None


def complete(end: End) -> Complete:
    assert isinstance(end, Complete), end
    return end


def failed(end: End) -> Failed:
    assert isinstance(end, Failed), end
    return end


def pages(end: End) -> list[str]:
    return [str(each.records[1].value) for each in complete(end).telegrams]


def number_of(telegram: Telegram) -> str:
    assert telegram.header is not None
    assert telegram.header.address is not None
    return telegram.header.address.identification


def is_nke(frame: bytes) -> bool:
    return frame[0] == 0x10 and frame[1] == 0x40


# A meter that gives no data before an application reset (Sontex 531).


def test_a_meter_that_wants_an_application_reset_is_read_with_one_and_not_without() -> None:
    segment = Segment(meter(quirks=Quirks(reset_first=True), telegrams=2))
    assert failed(segment.read(1)).trouble is Trouble.NO_ANSWER
    way = Way(before=(RESET,))
    for _ in range(3):
        assert pages(segment.read(1, way)) == ["1", "2"]
    assert len(segment.bus.meters["one"].resets) == 3


def test_snd_ud_and_req_ud2_share_one_fcb() -> None:
    segment = Segment(meter(quirks=Quirks(reset_first=True)))
    way = Way(before=(RESET,))
    complete(segment.read(1, way))
    assert [frame.hex(" ").upper() for frame in segment.sent] == [
        "10 40 01 41 16",
        "68 03 03 68 73 01 50 C4 16",
        "10 5B 01 5C 16",
    ]
    # It acknowledges, and has one telegram: the FCB goes on.
    segment.sent.clear()
    complete(segment.read(1, way))
    assert [frame[1] if frame[0] == 0x10 else frame[4] for frame in segment.sent] == [0x73, 0x5B]


def test_a_subcode_chooses_the_telegram_at_each_readout() -> None:
    segment = Segment(meter())
    assert pages(segment.read(1, Way(before=(SELECT_50,)))) == [str(0x50)]
    assert pages(segment.read(1)) == [str(0x50)]
    assert pages(segment.read(1, Way(before=(RESET,)))) == ["1"]


def test_behind_a_selection_the_preparations_go_to_253() -> None:
    segment = Segment(meter("other", 2, "22222222"), meter(quirks=Quirks(reset_first=True)))
    way = Way(before=(RESET, SELECT_50))
    for _ in range(2):
        assert pages(segment.read(parse_secondary("11111111"), way)) == [str(0x50)]
    assert segment.bus.meters["other"].resets == []
    assert segment.bus.meters["one"].resets == [None, 0x50] * 2
    assert [frame[4] for frame in segment.sent if frame[0] == 0x68] == [0x53, 0x73, 0x53] * 2
    assert [frame[1] for frame in segment.sent if frame[0] == 0x10] == [0x7B] * 2


def test_a_meter_that_obeys_without_an_e5_is_asked_all_the_same() -> None:
    segment = Segment(meter(quirks=Quirks(reset_first=True, obeys_in_silence=True)))
    way = Way(before=(RESET,))
    assert pages(segment.read(1, way)) == ["1"]
    assert segment.memories[1, None].acknowledges is False
    segment.sent.clear()
    age = segment.now
    assert pages(segment.read(1, way)) == ["1"]
    # SND_NKE, for who does not acknowledge may have heard or not; one try; one request.
    assert [len(frame) for frame in segment.sent] == [5, 9, 5]
    assert segment.now - age < 1.0


def seconds_of(telegram: Telegram) -> float:
    return int.from_bytes(telegram.records[0].data, "little")


@pytest.mark.parametrize("telegrams", [1, 2])
@pytest.mark.parametrize("nke", list(Nke))
def test_after_lost_answers_no_old_telegram_is_taken(nke: Nke, telegrams: int) -> None:
    for lost in range(1, 6):
        for deaf in range(1, 4):
            segment = Segment(meter(telegrams=telegrams))
            complete(segment.read(1, Way(nke=nke)))
            segment.bus.add_fault(f"silence:one:next-{lost}")  # it says it, and believes it heard
            segment.read(1, Way(nke=nke))
            segment.pass_time(segment.now + 600)
            segment.bus.clear_faults()
            segment.bus.add_fault(f"deaf:one:next-{deaf}")
            end = segment.read(1, Way(nke=nke))
            if isinstance(end, Failed):  # SND_NKE came through in the end, and REQ_UD2 not
                end = segment.read(1, Way(nke=nke))
            assert pages(end) == ["1", "2"][:telegrams]
            assert abs(seconds_of(complete(end).telegrams[0]) - (segment.now - 100)) < 5


@pytest.mark.parametrize("deaf", range(1, 6))
@pytest.mark.parametrize("silent", [False, True])
def test_whatever_a_prepared_meter_misses_no_old_telegram_is_taken(deaf: int, silent: bool) -> None:
    for first in range(2):
        quirks = Quirks(obeys_in_silence=silent)
        segment = Segment(meter(quirks=quirks))
        way = Way(before=(SELECT_50,))
        for _ in range(1 + first):
            complete(segment.read(1, way))
        for _ in range(4):
            segment.pass_time(segment.now + 600)
            segment.bus.add_fault(f"deaf:one:next-{deaf}")
            end = segment.read(1, way)
            if isinstance(end, Complete):
                assert abs(seconds_of(end.telegrams[0]) - (segment.now - 100)) < 5


def test_a_dead_meter_with_preparations_costs_three_tries() -> None:
    segment = Segment(meter())
    end = failed(segment.read(9, Way(before=(RESET,))))
    assert end.effort.tries == 3
    assert end.detail == "no answer to 3 tries"


def test_raw_bytes_go_out_as_they_are_and_their_answer_is_dropped() -> None:
    segment = Segment(meter())
    raw = RawBytes(bytes.fromhex("10 7B 01 7C 16"))
    for _ in range(2):
        segment.sent.clear()
        end = complete(segment.read(1, Way(before=(raw,))))
        assert pages(end) == ["1"]
        assert segment.sent == [
            bytes.fromhex("10 40 01 41 16"),
            raw.data,
            bytes.fromhex("10 7B 01 7C 16"),
        ]
        assert end.effort.damage == {}
        segment.pass_time(segment.now + 60)
        assert abs(seconds_of(end.telegrams[0]) - (segment.now - 160)) < 3


def test_raw_bytes_that_nobody_answers_cost_one_window() -> None:
    segment = Segment(meter())
    began = segment.now
    complete(segment.read(1, Way(before=(RawBytes(b"\x00\x01\x02"),))))
    took = segment.now - began
    segment = Segment(meter())
    began = segment.now
    complete(segment.read(1))
    assert took - (segment.now - began) == pytest.approx(
        segment.timing.window + 3 * 11 / 2400, abs=0.02
    )


# SND_NKE


def test_a_pause_after_snd_nke_suits_a_meter_that_is_deaf_after_it() -> None:
    segment = Segment(meter(quirks=Quirks(deaf_after_nke=3.5)))
    assert failed(segment.read(1, memory=Memory())).trouble is Trouble.NO_ANSWER
    segment.pass_time(segment.now + 60)
    end = complete(segment.read(1, Way(pause=3.6), memory=Memory()))
    assert (end.effort.tries, end.effort.silences) == (2, 0)


def test_a_pause_holds_after_the_selection_too() -> None:
    address = parse_secondary("11111111")
    straight, patient = Segment(meter()), Segment(meter())
    complete(straight.read(address))
    complete(patient.read(address, Way(pause=0.5)))
    assert patient.now - straight.now == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("nke", "frames"), [("auto", 1), ("always", 3), ("never", 0)])
def test_snd_nke_is_sent_first_always_or_never_where_the_way_says_so(nke: Nke, frames: int) -> None:
    segment = Segment(meter())
    for _ in range(3):
        complete(segment.read(1, Way(nke=Nke(nke))))
    assert sum(map(is_nke, segment.sent)) == frames


def test_without_snd_nke_nothing_is_fetched_twice_from_a_meter_that_answers() -> None:
    segment = Segment(meter(telegrams=2))
    for requests in (4, 2, 2):  # at first contact nobody knows whether it is a repetition
        segment.sent.clear()
        assert pages(segment.read(1, Way(nke=Nke.NEVER))) == ["1", "2"]
        assert len(segment.sent) == requests


# Secondary addresses


def test_the_enhanced_selection_tells_two_meters_of_one_number_apart() -> None:
    segment = Segment(
        meter("first", 0, "11111111", fabrication="61234567"),
        meter("second", 0, "11111111", fabrication="61234568", telegrams=2),
    )
    mask = parse_secondary("11111111")
    assert pages(segment.read(mask, Way(fabrication="61234567"))) == ["1"]
    assert pages(segment.read(mask, Way(fabrication="61234568"))) == ["1", "2"]
    assert pages(segment.read(mask, Way(fabrication="FFFFFF67"))) == ["1"]
    assert segment.sent[0] == bytes.fromhex(
        "68 11 11 68 53 FD 52 11 11 11 11 FF FF FF FF 0C 78 67 45 23 61 96 16"
    )
    assert failed(segment.read(mask, Way(fabrication="99999999"))).trouble is Trouble.NO_ANSWER


@pytest.mark.parametrize(
    ("mask", "name"),
    [
        ("1FFFFFFF", "11111111"),
        ("FFFFFFF2", "22222222"),
        ("2222FFFF-KAM-01-04", "22222222"),
        ("1FFFFFF1-FFF-FF-04", "11111111"),
    ],
)
def test_wildcards_in_a_part_of_the_address(mask: str, name: str) -> None:
    segment = Segment(meter("one", 0, "11111111"), meter("two", 0, "22222222"))
    for _ in range(2):
        end = complete(segment.read(parse_secondary(mask)))
        assert number_of(end.telegrams[0]) == name


ONE, TWO = parse_secondary("11111111-KAM-01-04"), parse_secondary("22222222-KAM-01-04")


def selections(segment: Segment) -> int:
    return sum(frame[:1] == b"\x68" and frame[6] == 0x52 for frame in segment.sent)


def test_a_selection_that_stands_is_not_sent_again() -> None:
    segment = Segment(
        meter("one", 0, "11111111"), meter("two", 0, "22222222"), meter("p", 3, "33333333")
    )
    for _ in range(5):
        complete(segment.read(ONE))
        complete(segment.read(3))  # a primary address has nothing to do with it
        segment.pass_time(segment.now + 30)
    assert selections(segment) == 1
    assert number_of(complete(segment.read(TWO)).telegrams[0]) == "22222222"
    assert number_of(complete(segment.read(ONE)).telegrams[0]) == "11111111"
    assert selections(segment) == 3


@pytest.mark.parametrize(
    "ending", ["time", "connection", "baudrate", "nke", "broadcast", "raw", "failure"]
)
def test_a_selection_ends(ending: str) -> None:
    segment = Segment(meter("one", 0, "11111111"), meter("p", 3, "33333333"))
    complete(segment.read(ONE))
    link = segment.link
    assert link.selection_stands(ONE, segment.now)
    assert not link.selection_stands(ONE, segment.now, fabrication="00000001")
    match ending:
        case "time":
            segment.pass_time(segment.now + 61)
        case "connection":
            link.forget_selection()
        case "baudrate":
            failed(segment.read(3, Way(baudrate=300)))
        case "nke" | "broadcast":
            link.normalise(253 if ending == "nke" else BROADCAST, segment.now, tries=1)
            drain(segment)
        case "raw":
            complete(segment.read(3, Way(before=(RawBytes(b"\x10\x40\xfd\x3d\x16"),))))
        case _:
            failed(segment.read(parse_secondary("99999999")))
    assert not link.selection_stands(ONE, segment.now)
    complete(segment.read(ONE))
    assert selections(segment) == (3 + 2 if ending == "failure" else 2)


def drain(segment: Segment) -> None:
    link = segment.link
    while link.deadline is not None:
        segment.bus.receive(link.to_send(), segment.now)
        received = segment._next(link.deadline)
        if received is not None:
            link.receive(received[0], segment.now, received[1])
        link.wake(segment.now)


def test_a_meter_with_several_telegrams_is_selected_each_time() -> None:
    segment = Segment(meter("one", 0, "11111111", telegrams=2))
    for _ in range(2):
        assert pages(segment.read(ONE)) == ["1", "2"]
    assert selections(segment) == 2


def test_a_selection_that_has_ended_unknown_to_us_costs_one_try() -> None:
    segment = Segment(meter("one", 0, "11111111"))
    complete(segment.read(ONE))
    segment.bus.meters["one"].selected = False  # a power cut
    segment.sent.clear()
    end = complete(segment.read(ONE))
    assert (end.effort.tries, end.effort.silences) == (3, 1)
    assert [len(frame) for frame in segment.sent] == [5, 17, 5]
    segment.sent.clear()
    complete(segment.read(ONE))
    assert [len(frame) for frame in segment.sent] == [5]


def test_a_dead_meter_costs_three_tries_also_where_its_selection_stood() -> None:
    segment = Segment(meter("one", 0, "11111111"))
    complete(segment.read(ONE))
    segment.bus.add_fault("silence")
    end = failed(segment.read(ONE))
    assert (end.effort.tries, end.detail) == (3, "selection: no answer to 3 tries")


# Telegrams


@pytest.mark.parametrize(
    ("wanted", "kept", "fetched", "leaves_rest"),
    [
        ({1}, ["1"], 1, True),
        ({1, 3}, ["1", "3"], 3, True),
        ({2}, ["2"], 2, True),
        ({4}, ["4"], 4, False),
        ({1, 9}, ["1"], 4, False),
    ],
)
def test_nothing_is_fetched_behind_the_last_telegram_that_is_wanted(
    wanted: set[int], kept: list[str], fetched: int, leaves_rest: bool
) -> None:
    segment = Segment(meter(telegrams=4))
    for _ in range(2):
        segment.sent.clear()
        end = complete(segment.read(1, Way(telegrams=frozenset(wanted))))
        assert pages(end) == kept
        assert (end.repeats, end.leaves_rest) == (False, leaves_rest)
        assert len(segment.sent) == 1 + fetched


def test_what_was_left_behind_is_passed_over_where_nothing_sets_the_meter_back() -> None:
    segment = Segment(meter(telegrams=3))
    for _ in range(3):
        end = complete(segment.read(1, Way(telegrams=frozenset({1}), nke=Nke.NEVER)))
        assert pages(end) == ["1"]
    assert not any(map(is_nke, segment.sent))


def test_a_meter_without_the_telegrams_that_are_wanted_is_a_failure_that_says_so() -> None:
    segment = Segment(meter(telegrams=2))
    end = failed(segment.read(1, Way(telegrams=frozenset({3}))))
    assert (end.trouble, end.detail) == (
        Trouble.UNREADABLE,
        "after 2 telegrams: the meter sends 2 telegrams, and none of those to keep",
    )


def test_a_meter_that_ignores_the_fcb_gives_its_only_telegram_fresh() -> None:
    segment = Segment(meter(quirks=Quirks(ignores_fcb=True)))
    for _ in range(3):
        segment.pass_time(segment.now + 60)
        end = complete(segment.read(1))
        assert not end.repeats
        assert abs(seconds_of(end.telegrams[0]) - (segment.now - 100)) < 2


@pytest.mark.parametrize("quirks", [Quirks(endless=True), Quirks(ignores_fcb=True, endless=True)])
def test_a_meter_that_announces_more_for_ever_is_stopped(quirks: Quirks) -> None:
    segment = Segment(meter(quirks=quirks))
    for _ in range(2):
        segment.pass_time(segment.now + 0.2)
        end = complete(segment.read(1))
        assert len(end.telegrams) <= 2  # the second where its clock went on meanwhile
        assert end.repeats


def test_a_meter_that_ignores_the_fcb_and_has_more_gives_its_first_telegram() -> None:
    segment = Segment(meter(quirks=Quirks(ignores_fcb=True), telegrams=3))
    end = complete(segment.read(1))
    assert set(pages(end)) == {"1"}
    assert end.repeats


# Lines of their own


def test_a_meter_at_another_baud_rate_of_one_segment() -> None:
    segment = Segment(meter(), meter("slow", 2, "22222222", baudrate=300))
    for _ in range(2):
        assert pages(segment.read(2, Way(baudrate=300))) == ["1"]
        assert pages(segment.read(1)) == ["1"]
    assert failed(segment.read(2)).trouble is Trouble.NO_ANSWER


def test_a_slow_meter_is_waited_for_where_its_way_says_so() -> None:
    segment = Segment(meter(delay=1.5))
    assert failed(segment.read(1, memory=Memory())).trouble is Trouble.NO_ANSWER
    segment.pass_time(segment.now + 10)
    end = complete(segment.read(1, Way(timeout=2.0), memory=Memory()))
    assert end.effort.silences == 0
    dead = Segment(meter())
    assert failed(dead.read(9, Way(tries=5))).effort.tries == 5
    assert timing_of(Timing(timeout=1.0, latency=0.1), Way()) == Timing(timeout=1.0, latency=0.1)


def test_a_sleeping_meter_is_woken_by_a_row_of_bytes() -> None:
    wake_up = WakeUp()
    segment = Segment(meter(quirks=Quirks(wake_up=wake_up)))
    assert failed(segment.read(1)).trouble is Trouble.NO_ANSWER
    for count, awake in ((400, False), (528, True)):  # 2.2 s of 10 bits at 2400 baud
        segment.bus.receive(bytes((wake_up.byte,)) * count, segment.now)
        segment.pass_time(segment.now + count * 11 / 2400 + wake_up.pause)
        assert isinstance(segment.read(1), Complete) is awake
    segment.pass_time(segment.now + 11)
    assert isinstance(segment.read(1), Failed)


def test_a_freeze_is_broadcast_and_the_counters_stay_in_storage_1() -> None:
    segment = Segment(meter(quirks=Quirks(freezes=True)), meter("two", 2, "22222222"))
    for _ in range(2):
        segment.pass_time(segment.now + 50)
        frozen_at = segment.now
        freeze = bytes.fromhex("48 FE 0B")
        segment.link.send_data(BROADCAST, CI_DATA_SEND, freeze, segment.now, tries=1)
        drain(segment)
        segment.pass_time(segment.now + 300)
        telegram = complete(segment.read(1, Way(nke=Nke.ALWAYS))).telegrams[0]
        first = telegram.records[0]
        assert first.storage == 1
        assert abs(int.from_bytes(first.data, "little") - (frozen_at - 100)) < 2
        assert [record.storage for record in telegram.records] == [1, 0, 0]
    assert [r.storage for r in complete(segment.read(2)).telegrams[0].records] == [0, 0]


# Parity


@pytest.mark.parametrize("fault", ["parity", "hidden-flip", "bit-flip", "break"])
def test_a_character_that_was_hit_damages_its_frame(fault: str) -> None:
    segment = Segment(meter())
    complete(segment.read(1))
    segment.bus.add_fault(f"{fault}:one:next-1")
    end = complete(segment.read(1))
    assert end.effort.tries == 2
    if fault != "break":  # a run of bytes that begin no frame is noise
        assert sum(end.effort.damage.values()) == 1
    if fault in ("parity", "hidden-flip"):
        assert end.effort.damage in ({Damage.PARITY: 1}, {Damage.NOISE: 1}, {Damage.LENGTH: 1})


def test_with_parity_no_flipped_bit_ever_reaches_a_value() -> None:
    segment = Segment(meter(telegrams=2), faults=["hidden-flip:0.5", "bit-flip:0.1", "parity:0.1"])
    taken = 0
    for _ in range(150):
        end = segment.read(1)
        if isinstance(end, Complete):
            taken += 1
            assert pages(end) == ["1", "2"]
            assert abs(seconds_of(end.telegrams[0]) - (segment.now - 100)) < 10
        segment.pass_time(segment.now + 20)
    assert taken > 50


# Late answers


@pytest.mark.parametrize("seed", range(12))
def test_a_late_answer_is_never_taken_for_another_meters_and_never_old(seed: int) -> None:
    """A network that stalls for seconds; wildcards that do not tell the meters apart."""
    dice = random.Random(seed)
    segment = Segment(
        meter("a", 1, "11111111", fabrication="00000001"),
        meter("b", 2, "22222222", fabrication="00000002", telegrams=2),
        meter("c", 3, "33333333", fabrication="00000003"),
        meter("d", 4, "44444444", telegrams=3),
        meter("e", 0, "55555555", fabrication="00000005", page=0x20),
        meter("f", 0, "55555555", fabrication="00000006", page=0x30),
        faults=["silence:0.1"],
        latency=0.1,
    )
    wild = parse_secondary("FFFFFFFF")
    twins = parse_secondary("55555555")
    asked: list[tuple[int | SecondaryAddress, Way, str]] = [
        (twins, Way(fabrication="00000005"), "55555555"),
        (twins, Way(fabrication="00000006"), "55555555"),
        (wild, Way(fabrication="00000001"), "11111111"),
        (wild, Way(fabrication="00000002"), "22222222"),
        (wild, Way(fabrication="00000003"), "33333333"),
        (1, Way(), "11111111"),
        (2, Way(before=(SELECT_50,)), "22222222"),
        (4, Way(), "44444444"),
        (parse_secondary("44444444"), Way(), "44444444"),
        (parse_secondary("33333333-KAM-01-04"), Way(), "33333333"),
    ]
    taken = 0
    for _ in range(300):
        if dice.random() < 0.4:
            segment.held_until = segment.now + dice.uniform(0.0, 4.0)
        address, way, number = dice.choice(asked)
        end = segment.read(address, way)
        if isinstance(end, Complete):
            taken += 1
            assert {number_of(telegram) for telegram in end.telegrams} == {number}
            if number == "55555555":
                assert pages(end) == ["32" if way.fabrication == "00000005" else "48"]
            # No older than an answer can be late.
            assert all(segment.now - 100 - seconds_of(telegram) < 15 for telegram in end.telegrams)
        if dice.random() < 0.2:
            segment.pass_time(segment.now + dice.choice((1, 600)))
    assert taken > 60


def test_a_meter_behind_a_dead_one_is_read_at_the_cost_of_a_try() -> None:
    wild = parse_secondary("FFFFFFFF")
    segment = Segment(meter("b", 2, "22222222", fabrication="00000002"))
    failed(segment.read(wild, Way(fabrication="00000001")))
    end = complete(segment.read(wild, Way(fabrication="00000002")))
    assert end.effort.tries <= 2 + 3
    # Where the number tells them apart, nothing is lost.
    failed(segment.read(parse_secondary("11111111")))
    assert complete(segment.read(parse_secondary("22222222"))).effort.tries == 2


def test_a_memory_that_lost_its_step_begins_with_snd_nke() -> None:
    segment = Segment(meter())
    complete(segment.read(1))
    segment.memories[1, None].lose_step()
    segment.sent.clear()
    complete(segment.read(1))
    assert is_nke(segment.sent[0])


def test_nobody_answers_a_broadcast() -> None:
    segment = Segment(meter())
    segment.link.send_data(BROADCAST, CI_DATA_SEND, b"\x48\xfe\x0b", segment.now, tries=1)
    assert segment.link.to_send()
    assert segment.link.deadline is not None
    outcome = segment.link.wake(segment.link.deadline)
    assert outcome == Silent(BROADCAST)
