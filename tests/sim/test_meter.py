"""The slave's half of the conversation, frame by frame, without a bus."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.compact import Formats
from bridge.mbus.frame import LongFrame, ShortFrame, take_frame
from bridge.mbus.telegram import decode_telegram
from bridge.sim.errors import SimError
from bridge.sim.line import earliest_answer
from bridge.sim.meter import REVERT_SECONDS, Content, Quirks, SimulatedMeter

NOON = dt.datetime(2026, 3, 9, 12, 0)
ADDRESS = parse_secondary("12345678-KAM-1B-04")
E5 = bytes.fromhex("E5")

NKE_5 = "10 40 05 45 16"
REQ_5_SET = "10 7B 05 80 16"
REQ_5_CLEAR = "10 5B 05 60 16"
NKE_253 = "10 40 FD 3D 16"
REQ_253_SET = "10 7B FD 78 16"
REQ_253_CLEAR = "10 5B FD 58 16"


class Pages:
    """Telegrams of one record each: volume 1, 2, 3 ... litres, and a minute that moves."""

    def __init__(self, count: int) -> None:
        self.count = count

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        return [
            bytes((0x01, 0x13, page, 0x01, 0x74, when.minute)) for page in range(1, self.count + 1)
        ]


def meter(pages: int = 1, quirks: Quirks | None = None, primary: int = 5) -> SimulatedMeter:
    return SimulatedMeter(
        "m", Pages(pages), primary=primary, secondary=ADDRESS, answer_delay=0.03, quirks=quirks
    )


class Volume:
    """One record: a volume that moves with the minute."""

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:
        return [bytes((0x02, 0x13, when.minute, 0x01))]


def ask(meter: SimulatedMeter, request: str, now: float = 0.0, when: dt.datetime = NOON) -> bytes:
    frame = take_frame(bytearray.fromhex(request))
    assert frame is not None, "the test's own request is whole"
    answer = meter.hear(frame, now, when)
    return b"" if answer is None else answer.data


def send(
    meter: SimulatedMeter, address: int, ci: int, data: str = "", control: int = 0x73
) -> bytes:
    answer = meter.hear(LongFrame(control, address, ci, bytes.fromhex(data)), 0.0, NOON)
    return b"" if answer is None else answer.data


def telegram(data: bytes) -> LongFrame:
    frame = take_frame(bytearray(data))
    assert isinstance(frame, LongFrame)
    return frame


def page(data: bytes) -> int:
    return telegram(data).data[14]


def test_snd_nke_is_acknowledged() -> None:
    assert ask(meter(), NKE_5) == E5


def test_a_request_for_another_meter_gets_no_answer() -> None:
    assert ask(meter(), "10 40 06 46 16") == b""


def test_a_readout_is_a_whole_frame_with_a_long_header() -> None:
    m = meter()
    m.access_number = 0x2A
    assert ask(m, REQ_5_SET) == bytes.fromhex(
        "68 15 15 68 08 05 72 78 56 34 12 2D 2C 1B 04 2B 00 00 00 01 13 01 01 74 00 C0 16"
    )


def test_the_same_fcb_repeats_the_telegram_byte_for_byte() -> None:
    m = meter(pages=3)
    ask(m, NKE_5)
    first = ask(m, REQ_5_SET)
    later = NOON + dt.timedelta(minutes=7)
    assert ask(m, REQ_5_SET, when=later) == first


def test_a_toggled_fcb_goes_on_to_the_next_telegram_and_then_begins_anew() -> None:
    m = meter(pages=3)
    ask(m, NKE_5)
    answers = [ask(m, request) for request in (REQ_5_SET, REQ_5_CLEAR, REQ_5_SET, REQ_5_CLEAR)]
    assert [page(answer) for answer in answers] == [1, 2, 3, 1]
    assert [telegram(answer).data[-1] == 0x1F for answer in answers] == [True, True, False, True]


def test_the_telegrams_of_one_answer_tell_of_one_moment() -> None:
    m = meter(pages=2)
    first = ask(m, REQ_5_SET, when=NOON)
    second = ask(m, REQ_5_CLEAR, when=NOON + dt.timedelta(minutes=1))
    third = ask(m, REQ_5_SET, when=NOON + dt.timedelta(minutes=2))
    assert [telegram(data).data[17] for data in (first, second, third)] == [0, 0, 2]


def test_the_access_number_counts_new_answers_only() -> None:
    m = meter(pages=2)
    m.access_number = 0xFE
    answers = [ask(m, request) for request in (REQ_5_SET, REQ_5_SET, REQ_5_CLEAR, REQ_5_SET)]
    assert [telegram(answer).data[8] for answer in answers] == [0xFF, 0xFF, 0x00, 0x01]


def test_after_snd_nke_either_fcb_gets_the_first_telegram() -> None:
    m = meter(pages=2)
    ask(m, REQ_5_SET)
    ask(m, NKE_5)
    assert page(ask(m, REQ_5_SET)) == 1
    ask(m, NKE_5)
    assert page(ask(m, REQ_5_CLEAR)) == 1


def test_a_selection_by_secondary_address_opens_253() -> None:
    m = meter()
    assert ask(m, REQ_253_SET) == b""
    assert send(m, 0xFD, 0x52, "78 56 34 12 2D 2C 1B 04", control=0x53) == E5
    # The answer carries the meter's own primary address.
    assert telegram(ask(m, REQ_253_SET)).address == 5


@pytest.mark.parametrize("control", [0x53, 0x73, 0x43, 0x63])
def test_a_selection_is_heard_with_every_c_field_that_masters_use(control: int) -> None:
    assert send(meter(), 0xFD, 0x52, "78 56 34 12 FF FF FF FF", control=control) == E5


@pytest.mark.parametrize(
    ("mask", "fits"),
    [
        ("FF FF FF FF FF FF FF FF", True),
        ("FF FF FF 1F FF FF FF FF", True),
        ("FF FF FF 2F FF FF FF FF", False),
        ("F8 FF FF FF FF FF FF FF", True),
        ("78 56 34 12 2D 2C FF FF", True),
        ("78 56 34 12 2E 2C FF FF", False),
        ("78 56 34 12 FF FF 1C FF", False),
        ("78 56 34 12 FF FF FF 07", False),
    ],
)
def test_wildcards_in_a_selection(mask: str, fits: bool) -> None:
    assert (send(meter(), 0xFD, 0x52, mask) == E5) is fits


def test_a_selection_that_does_not_fit_deselects() -> None:
    m = meter()
    send(m, 0xFD, 0x52, "FF FF FF FF FF FF FF FF")
    assert send(m, 0xFD, 0x52, "99 FF FF FF FF FF FF FF") == b""
    assert ask(m, REQ_253_SET) == b""


def test_snd_nke_to_253_deselects_without_an_answer() -> None:
    m = meter()
    send(m, 0xFD, 0x52, "FF FF FF FF FF FF FF FF")
    assert ask(m, NKE_253) == b""
    assert ask(m, REQ_253_SET) == b""


def test_a_selection_clears_the_fcb_of_253() -> None:
    m = meter(pages=2)
    for _ in range(2):
        send(m, 0xFD, 0x52, "78 56 34 12 2D 2C 1B 04")
        assert page(ask(m, REQ_253_SET)) == 1
        assert page(ask(m, REQ_253_CLEAR)) == 2


def test_an_enhanced_selection_asks_for_the_fabrication_number() -> None:
    m = meter()
    m.fabrication_number = "61234567"
    anyone = "FF FF FF FF FF FF FF FF"
    assert send(m, 0xFD, 0x52, f"{anyone} 0C 78 67 45 23 61") == E5
    assert send(m, 0xFD, 0x52, f"{anyone} 0C 78 F7 FF FF 6F") == E5
    assert send(m, 0xFD, 0x52, f"{anyone} 0C 78 68 45 23 61") == b""


def test_everybody_answers_254_with_an_address_of_their_own() -> None:
    assert ask(meter(), "10 40 FE 3E 16") == E5
    assert telegram(ask(meter(), "10 7B FE 79 16")).address == 5


def test_a_broadcast_is_obeyed_in_silence() -> None:
    m = meter()
    assert send(m, 0xFF, 0x51, "01 7A 09") == b""
    assert m.primary == 9


def test_req_ud1_says_that_there_is_no_alarm_or_which() -> None:
    m = meter(primary=9)
    assert ask(m, "10 5A 09 63 16") == E5
    m.alarm = 0x04
    ask(m, "10 40 09 49 16")
    assert ask(m, "10 7A 09 83 16") == bytes.fromhex("68 04 04 68 08 09 71 04 86 16")
    # A meter with an alarm asks for that request: ACD.
    assert telegram(ask(m, "10 7B 09 84 16")).control == 0x28


def test_an_application_reset_begins_at_the_first_telegram_and_is_noted() -> None:
    m = meter(pages=3)
    ask(m, REQ_5_SET)
    assert send(m, 5, 0x50, control=0x53) == E5
    assert page(ask(m, REQ_5_SET)) == 1
    send(m, 5, 0x50, "50")
    assert m.resets == [None, 0x50]


def test_a_repeated_snd_ud_is_acknowledged_and_not_done_twice() -> None:
    m = meter()
    assert [send(m, 5, 0x50), send(m, 5, 0x50)] == [E5, E5]
    assert m.resets == [None]
    assert send(m, 5, 0x50, control=0x53) == E5
    assert m.resets == [None, None]


def test_a_new_primary_address_holds_at_once() -> None:
    m = meter(primary=0)
    assert send(m, 0, 0x51, "01 7A 08") == E5
    assert ask(m, "10 40 00 40 16") == b""
    assert telegram(ask(m, "10 7B 08 83 16")).address == 8


def test_a_primary_address_above_250_is_not_taken() -> None:
    m = meter()
    send(m, 5, 0x51, "01 7A FB")
    assert m.primary == 5


def test_the_secondary_address_can_be_written_in_part_and_whole() -> None:
    m = meter()
    send(m, 5, 0x51, "0C 79 11 22 33 44")
    assert str(m.secondary) == "44332211-KAM-1B-04"
    send(m, 5, 0x51, "07 79 78 56 34 12 74 52 08 06")
    assert str(m.secondary) == "12345678-TST-08-06"


def test_the_clock_can_be_set() -> None:
    m = meter()
    send(m, 5, 0x51, "04 6D 05 0E 49 33")  # 2026-03-09 14:05
    assert m.clock_offset == dt.timedelta(hours=2, minutes=5)
    assert telegram(ask(m, REQ_5_SET)).data[17] == 5


def test_a_new_baud_rate_holds_from_the_acknowledgement_on_and_is_given_up_in_silence() -> None:
    m = meter()
    assert send(m, 5, 0xBD) == E5
    assert m.listens_at(1.0) == 9600
    assert m.listens_at(REVERT_SECONDS + 1.0) == 2400


def test_a_new_baud_rate_stays_once_a_frame_came_at_it() -> None:
    m = meter()
    send(m, 5, 0xBD)
    ask(m, NKE_5, now=1.0)
    assert m.listens_at(REVERT_SECONDS + 1.0) == 9600


def test_the_delay_varies_a_little_and_never_below_eleven_bit_times() -> None:
    m = SimulatedMeter("m", Pages(1), secondary=ADDRESS, answer_delay=0.1, jitter=0.1)
    nke = ShortFrame(0x40, 0)
    answers = [m.hear(nke, 0.0, NOON) for _ in range(50)]
    delays = [answer.delay for answer in answers if answer is not None]
    assert 0.09 <= min(delays) < 0.095 < 0.105 < max(delays) <= 0.11
    fast = SimulatedMeter("m", Pages(1), secondary=ADDRESS, answer_delay=0.0)
    answer = fast.hear(nke, 0.0, NOON)
    assert answer is not None
    assert answer.delay == earliest_answer(2400)


def test_the_same_seed_makes_the_same_meter() -> None:
    def first(seed: int) -> tuple[float, int]:
        m = SimulatedMeter("m", Pages(1), secondary=ADDRESS, seed=seed)
        return m.answer_delay, m.access_number

    assert first(3) == first(3)
    assert first(3) != first(4)


def test_a_meter_that_ignores_fcb_always_sends_its_first_telegram() -> None:
    m = meter(pages=2, quirks=Quirks(ignores_fcb=True))
    assert [page(ask(m, request)) for request in (REQ_5_SET, REQ_5_CLEAR, REQ_5_CLEAR)] == [1, 1, 1]


def test_an_endless_meter_always_says_that_more_follows() -> None:
    m = meter(quirks=Quirks(endless=True))
    answers = [ask(m, request) for request in (REQ_5_SET, REQ_5_CLEAR, REQ_5_SET)]
    assert [page(answer) for answer in answers] == [1, 1, 1]
    assert all(telegram(answer).data[-1] == 0x1F for answer in answers)


def test_a_meter_may_be_deaf_for_a_time_after_snd_nke() -> None:
    m = meter(quirks=Quirks(deaf_after_nke=3.5))
    assert ask(m, NKE_5, now=10.0) == E5
    assert ask(m, REQ_5_SET, now=13.4) == b""
    assert ask(m, REQ_5_SET, now=13.6) != b""


def test_a_meter_may_sleep_through_the_first_request() -> None:
    m = meter(quirks=Quirks(sleeps_after=60.0))
    assert ask(m, NKE_5, now=0.0) == b""
    assert ask(m, NKE_5, now=0.2) == E5
    assert ask(m, NKE_5, now=61.0) == b""


def test_a_meter_may_answer_with_address_zero() -> None:
    assert telegram(ask(meter(quirks=Quirks(answers_address_zero=True)), REQ_5_SET)).address == 0


def test_a_meter_may_keep_its_place_over_a_snd_nke() -> None:
    m = meter(pages=2, quirks=Quirks(keeps_position=True))
    ask(m, REQ_5_SET)
    ask(m, NKE_5)
    assert page(ask(m, REQ_5_SET)) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"primary": 251}, "251 is no primary address"),
        ({"baudrate": 1000}, "1000 is no baud rate"),
        ({"secondary": SecondaryAddress("1234567F")}, "wildcard"),
    ],
)
def test_a_meter_that_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SimError, match=message):
        SimulatedMeter("m", Pages(1), **settings)  # type: ignore[arg-type]


def test_a_compact_meter_tells_its_telegram_in_full_once() -> None:
    quirks = Quirks(compact=True)
    simulated = SimulatedMeter(
        "m", Volume(), primary=5, secondary=ADDRESS, answer_delay=0.03, quirks=quirks
    )
    formats = Formats()
    cis: list[int] = []
    for minute, request in ((1, REQ_5_SET), (2, REQ_5_CLEAR), (3, REQ_5_SET)):
        frame = take_frame(bytearray(ask(simulated, request, when=NOON.replace(minute=minute))))
        assert isinstance(frame, LongFrame)
        cis.append(frame.ci)
        telegram = decode_telegram(frame, formats=formats)
        assert [record.data for record in telegram.records] == [bytes((minute, 1))]
        assert telegram.header is not None
        assert telegram.header.address == ADDRESS
    assert cis == [0x72, 0x73, 0x73]
    # An application reset: from the beginning.
    ask(simulated, "68 03 03 68 53 05 50 A8 16")
    assert ask(simulated, REQ_5_CLEAR)[6] == 0x72


def test_a_meter_may_want_an_application_reset_before_it_tells_anything() -> None:
    m = meter(pages=2, quirks=Quirks(reset_first=True))
    assert ask(m, REQ_5_SET) == b""
    for _ in range(2):
        assert send(m, 5, 0x50, control=0x53) == E5
        assert page(ask(m, REQ_5_SET)) == 1
        assert page(ask(m, REQ_5_CLEAR)) == 2
        assert page(ask(m, REQ_5_CLEAR)) == 2  # a repetition is no new request
        assert ask(m, REQ_5_SET) == b""


def test_a_subcode_chooses_what_a_meter_tells_up_to_the_next_reset() -> None:
    m = SimulatedMeter("m", Pages(3), primary=5, secondary=ADDRESS, selectable={0x50: Volume()})
    assert telegram(ask(m, REQ_5_SET)).data[12:] == bytes.fromhex("01 13 01 01 74 00 1F")
    send(m, 5, 0x50, "50")
    for request in (REQ_5_SET, REQ_5_CLEAR):
        assert telegram(ask(m, request)).data[12:] == bytes.fromhex("02 13 00 01")
    send(m, 5, 0x50)
    assert page(ask(m, REQ_5_SET)) == 1


def test_a_meter_may_obey_without_an_e5() -> None:
    m = meter(quirks=Quirks(obeys_in_silence=True))
    assert send(m, 5, 0x51, "01 7A 07") == b""
    assert m.primary == 7
    assert ask(m, "10 40 07 47 16") == E5


def test_a_freeze_keeps_the_counters_of_that_moment_in_storage_1() -> None:
    m = meter(pages=2, quirks=Quirks(freezes=True))
    assert send(m, 0xFF, 0x51, "48 FE 0B") == b""
    later = NOON + dt.timedelta(minutes=9)
    answers = [ask(m, request, when=later) for request in (REQ_5_SET, REQ_5_CLEAR)]
    assert [telegram(data).data[12:] for data in answers] == [
        bytes.fromhex("41 13 01 01 13 01 01 74 09 1F"),
        bytes.fromhex("41 13 02 01 13 02 01 74 09"),
    ]
    assert telegram(ask(meter(), REQ_5_SET)).data[12:] == bytes.fromhex("01 13 01 01 74 00")
    deaf_to_it = meter()
    send(deaf_to_it, 0xFF, 0x51, "48 FE 0B")
    assert telegram(ask(deaf_to_it, REQ_5_SET)).data[12:14] == bytes.fromhex("01 13")
