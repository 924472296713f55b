"""The whole conversation with a meter: first contact, several telegrams, and what goes wrong."""

from __future__ import annotations

from functools import partial

import pytest

from bridge.mbus.address import SecondaryAddress, parse_secondary
from bridge.mbus.errors import HeaderError
from bridge.mbus.frame import LongFrame
from bridge.mbus.link import Link, Timing
from bridge.mbus.readout import Complete, End, Failed, Memory, Readout, Trouble
from bridge.mbus.telegram import decode_telegram
from bridge.mbus.way import Nke, Way

# A heat meter, 61234567-TST-08-04 with primary address 8, in two telegrams: the first ends in 1F.
HEAT_1 = bytes.fromhex(
    "685D5D680808726745236174520804310000000478875DA60304072F1C000004151EFF0000042DB8000000142D65"
    "020000043B1C07000002594B1C025D9F110261AC0A042291A30000342203000000844014D204000044074E1B0000"
    "426C3F3C1F8416"
)
HEAT_2 = bytes.fromhex(
    "683F3F6808087267452361745208043200000082046C5C32840407BE1B0000C2046C5F31C40407651B000082056C"
    "3F3C8405074E1B000004FF21050000000F0102AABBB616"
)
HEAT = parse_secondary("61234567-TST-08-04")

NKE_8 = bytes.fromhex("10 40 08 48 16")
REQ_8_FCB_1 = bytes.fromhex("10 7B 08 83 16")
REQ_8_FCB_0 = bytes.fromhex("10 5B 08 63 16")
SELECT_HEAT = bytes.fromhex("68 0B 0B 68 53 FD 52 67 45 23 61 74 52 08 04 A4 16")
REQ_253_FCB_1 = bytes.fromhex("10 7B FD 78 16")
REQ_253_FCB_0 = bytes.fromhex("10 5B FD 58 16")
E5 = b"\xe5"
# EN 13757-3, annex G: the same three values in full, their format, and in a compact frame.
FULL_8 = bytes.fromhex("68 0F 0F 68 08 08 78 02 02 D2 04 02 15 2E 16 02 2A 34 23 40 16")
FORMAT_8 = bytes.fromhex("68 0C 0C 68 08 08 69 08 31 3B 02 02 02 15 02 2A 34 16")
COMPACT_8 = bytes.fromhex("68 0D 0D 68 08 08 79 31 3B 42 A6 D2 04 2E 16 34 23 4E 16")

# What a script says instead of an answer.
SILENCE = b""
USUAL = Way()


def changed(frame: bytes, position: int, *values: int) -> bytes:
    """The frame with other bytes at ``position``, and the checksum that belongs to them."""
    new = bytearray(frame)
    new[position : position + len(values)] = bytes(values)
    new[-2] = sum(new[4:-2]) & 0xFF
    return bytes(new)


ONE_TELEGRAM = changed(HEAT_1, len(HEAT_1) - 3, 0x0F)  # the same, and no more follows

OLD_TELEGRAM = changed(ONE_TELEGRAM, 15, 0x30)  # with the access number before


class Script:
    """A meter that answers as written: pairs of the request to expect and the answer to give."""

    def __init__(self, *pairs: tuple[bytes, bytes]) -> None:
        self.link = Link(Timing(baudrate=2400))
        self.now = 0.0
        self.pairs = list(pairs)

    def then(self, *pairs: tuple[bytes, bytes]) -> None:
        assert self.pairs == []
        self.pairs = list(pairs)

    def play(
        self,
        address: int | SecondaryAddress = 8,
        *,
        memory: Memory | None = None,
        probe: bool = False,
        way: Way = USUAL,
    ) -> End:
        memory = Memory() if memory is None else memory
        decode = partial(decode_telegram, formats=memory.formats)
        readout = Readout(self.link, address, decode, way=way, memory=memory, probe=probe)
        readout.start(self.now)
        end: End | None = None
        while end is None:
            request = readout.to_send()
            if request:
                expected, answer = self.pairs.pop(0)
                assert request.hex(" ") == expected.hex(" ")
                if answer:
                    self.now += 0.1
                    end = readout.receive(answer, self.now)
                    continue
            assert readout.deadline is not None
            self.now = max(self.now, readout.deadline)
            end = readout.wake(self.now)
        assert self.pairs == []
        return end


def complete(end: End) -> Complete:
    assert isinstance(end, Complete), end
    return end


def failed(end: End) -> Failed:
    assert isinstance(end, Failed), end
    return end


def test_first_contact_begins_with_snd_nke_and_all_telegrams_are_fetched() -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, HEAT_2))
    end = complete(script.play())
    assert [len(telegram.records) for telegram in end.telegrams] == [14, 7]
    assert not end.repeats
    assert end.effort.tries == 3


def test_a_meter_with_one_telegram_is_asked_without_snd_nke_from_then_on() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(memory=memory))
    script.then((REQ_8_FCB_0, ONE_TELEGRAM))
    complete(script.play(memory=memory))
    script.then((REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(memory=memory))


def test_a_meter_with_several_telegrams_is_set_back_each_time() -> None:
    memory = Memory()
    conversation = ((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, HEAT_2))
    script = Script(*conversation)
    complete(script.play(memory=memory))
    script.then(*conversation)
    complete(script.play(memory=memory))


def test_after_a_fault_snd_nke_comes_first() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(memory=memory))
    script.then(*[(REQ_8_FCB_0, SILENCE)] * 3)
    assert failed(script.play(memory=memory)).trouble is Trouble.NO_ANSWER
    script.then((NKE_8, E5), (REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(memory=memory))


def test_a_readout_that_was_broken_off_is_a_fault_too() -> None:
    memory = Memory(in_step=True, ended_well=True)
    link = Link(Timing())
    readout = Readout(link, 8, decode_telegram, memory=memory)
    readout.start(0.0)
    link.abandon(0.1)
    assert not memory.in_step
    assert not memory.ended_well


def test_a_lost_second_telegram_is_asked_for_with_the_same_fcb() -> None:
    script = Script(
        (NKE_8, E5), (REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, SILENCE), (REQ_8_FCB_0, HEAT_2)
    )
    end = complete(script.play())
    assert len(end.telegrams) == 2
    assert end.effort.silences == 1


def test_an_answer_without_its_second_telegram_is_no_answer() -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), *[(REQ_8_FCB_0, SILENCE)] * 3)
    end = failed(script.play())
    assert end.trouble is Trouble.NO_ANSWER
    assert end.detail == "after 1 telegram: no answer to 3 tries"


def test_a_dead_meter_costs_three_tries() -> None:
    script = Script((NKE_8, SILENCE), (NKE_8, SILENCE), (REQ_8_FCB_1, SILENCE))
    end = failed(script.play())
    assert end.trouble is Trouble.NO_ANSWER
    assert end.effort.tries == end.effort.silences == 3
    assert script.now == pytest.approx(3 * (0.1875 + 6 * 11 / 2400))


def test_a_probe_of_a_dead_meter_costs_one_try() -> None:
    script = Script((NKE_8, SILENCE))
    assert failed(script.play(probe=True)).effort.tries == 1


def test_a_probe_that_is_answered_becomes_a_readout() -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, SILENCE), (REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(probe=True))


def test_a_meter_that_knows_no_snd_nke_is_read_all_the_same() -> None:
    memory = Memory()
    # Its first answer may be what it said to another master, long ago.
    twice = ((REQ_8_FCB_1, OLD_TELEGRAM), (REQ_8_FCB_0, ONE_TELEGRAM))
    script = Script((NKE_8, SILENCE), (NKE_8, SILENCE), *twice)
    assert access_numbers(script.play(memory=memory)) == [0x31]
    assert not memory.answers_nke
    script.then((REQ_8_FCB_1, ONE_TELEGRAM))
    complete(script.play(memory=memory))
    script.then(*[(REQ_8_FCB_0, SILENCE)] * 3)
    failed(script.play(memory=memory))
    script.then((REQ_8_FCB_0, SILENCE))
    failed(script.play(memory=memory, probe=True))
    script.then(
        (NKE_8, SILENCE),
        (REQ_8_FCB_0, SILENCE),
        (REQ_8_FCB_0, OLD_TELEGRAM),
        (REQ_8_FCB_1, ONE_TELEGRAM),
    )
    assert access_numbers(script.play(memory=memory)) == [0x31]


def test_a_series_that_may_be_old_is_passed_over_to_its_end() -> None:
    script = Script(
        *((NKE_8, SILENCE), (NKE_8, SILENCE)),
        *((REQ_8_FCB_1, HEAT_2), (REQ_8_FCB_0, HEAT_1), (REQ_8_FCB_1, HEAT_2)),
    )
    assert access_numbers(script.play()) == [0x31, 0x32]
    # Or, where it never ends, to its repetition.
    script = Script(
        *((REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, HEAT_1)),
        *((REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, HEAT_1)),
    )
    end = complete(script.play(way=Way(nke=Nke.NEVER)))
    assert (len(end.telegrams), end.repeats) == (1, True)


def access_numbers(end: End) -> list[int]:
    numbers = [each.header and each.header.access_number for each in complete(end).telegrams]
    return [number for number in numbers if number is not None]


def test_a_meter_that_repeats_its_telegram_for_ever_is_stopped() -> None:
    again = changed(HEAT_1, 15, 0x32)  # only the access number has moved on
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, again))
    end = complete(script.play(memory=memory))
    assert len(end.telegrams) == 1
    assert end.repeats
    assert not memory.in_step


def test_sixteen_telegrams_are_enough() -> None:
    telegrams = [changed(HEAT_1, 21, number) for number in range(16)]
    requests = [REQ_8_FCB_1, REQ_8_FCB_0] * 8
    script = Script((NKE_8, E5), *zip(requests, telegrams, strict=True))
    end = complete(script.play())
    assert len(end.telegrams) == 16
    assert end.repeats


def test_all_telegrams_must_be_of_one_meter() -> None:
    other = changed(HEAT_2, 7, 0x99)
    script = Script((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), *[(REQ_8_FCB_0, other)] * 3)
    end = failed(script.play())
    assert end.trouble is Trouble.FOREIGN_METER
    assert end.detail == "after 1 telegram: another meter answers: 61234599-TST-08-04"


def test_the_version_may_differ_between_telegrams() -> None:
    other = changed(HEAT_2, 13, 0x09)
    script = Script((NKE_8, E5), (REQ_8_FCB_1, HEAT_1), (REQ_8_FCB_0, other))
    assert len(complete(script.play()).telegrams) == 2


def test_a_secondary_address_is_selected_and_read_at_253() -> None:
    script = Script((SELECT_HEAT, E5), (REQ_253_FCB_1, HEAT_1), (REQ_253_FCB_0, HEAT_2))
    assert len(complete(script.play(HEAT)).telegrams) == 2
    # And selected again: another meter may have been, meanwhile.
    script.then((SELECT_HEAT, E5), (REQ_253_FCB_1, HEAT_1), (REQ_253_FCB_0, HEAT_2))
    complete(script.play(HEAT))


def test_a_selection_that_nobody_acknowledges_is_no_answer() -> None:
    script = Script(*[(SELECT_HEAT, SILENCE)] * 3)
    end = failed(script.play(HEAT))
    assert end.trouble is Trouble.NO_ANSWER
    assert end.detail == "selection: no answer to 3 tries"


def test_a_meter_that_was_not_selected_is_a_foreign_one() -> None:
    other = changed(HEAT_1, 7, 0x99)
    script = Script((SELECT_HEAT, E5), *[(REQ_253_FCB_1, other)] * 3)
    end = failed(script.play(HEAT))
    assert end.trouble is Trouble.FOREIGN_METER
    assert end.detail == "another meter answers: 61234599-TST-08-04"


def test_an_e5_in_place_of_a_telegram_says_that_the_meter_has_nothing() -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, E5))
    assert failed(script.play()).trouble is Trouble.BUSY


def test_a_late_e5_for_snd_nke_does_not_say_that_the_meter_has_nothing() -> None:
    script = Script(
        (NKE_8, SILENCE),
        (NKE_8, SILENCE),
        (REQ_8_FCB_1, E5),  # the late one, as one was owed
        (REQ_8_FCB_1, OLD_TELEGRAM),  # or is it? Nobody knows
        (REQ_8_FCB_0, ONE_TELEGRAM),
    )
    complete(script.play())


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ("68 04 04 68 08 08 70 08 88 16", Trouble.BUSY),
        ("68 04 04 68 08 08 70 01 81 16", Trouble.APPLICATION_ERROR),
        ("68 03 03 68 08 08 70 80 16", Trouble.APPLICATION_ERROR),
    ],
)
def test_an_application_error_is_told(answer: str, trouble: Trouble) -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, bytes.fromhex(answer)))
    end = failed(script.play())
    assert end.trouble is trouble
    assert end.detail.startswith("the meter reports: ")


def test_damage_is_told_by_kind() -> None:
    broken = HEAT_1[:-2] + b"\x00\x16"
    script = Script((NKE_8, E5), *[(REQ_8_FCB_1, broken)] * 3)
    end = failed(script.play())
    assert end.trouble is Trouble.DAMAGED
    assert end.detail == "what came was no answer: checksum 3×"


def test_a_frame_that_holds_no_telegram_is_damage() -> None:
    short = bytes.fromhex("68 05 05 68 08 08 72 01 02 85 16")
    with pytest.raises(HeaderError):
        decode_telegram(LongFrame(0x08, 8, 0x72, b"\x01\x02"))
    script = Script((NKE_8, E5), (REQ_8_FCB_1, short))
    assert failed(script.play()).trouble is Trouble.DAMAGED


def values(end: End) -> list[str]:
    return [str(record.value) for each in complete(end).telegrams for record in each.records]


THREE = ["123.4", "567.8", "901.2"]


def test_after_a_full_frame_a_meter_may_answer_in_compact_ones() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, FULL_8))
    assert values(script.play(memory=memory)) == THREE
    script.then((REQ_8_FCB_0, COMPACT_8))
    assert values(script.play(memory=memory)) == THREE
    script.then((REQ_8_FCB_1, COMPACT_8))
    assert values(script.play(memory=memory)) == THREE


def test_a_format_frame_is_no_answer_and_the_next_telegram_is_asked_for() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, FORMAT_8), (REQ_8_FCB_0, COMPACT_8))
    end = complete(script.play(memory=memory, way=Way(maximum=1)))
    assert len(end.telegrams) == 1
    assert values(end) == THREE
    # What this meter says first nobody can know: it is set back.
    script.then((NKE_8, E5), (REQ_8_FCB_1, COMPACT_8))
    assert values(script.play(memory=memory)) == THREE


def test_a_compact_frame_of_a_format_that_is_not_known_is_a_failure_that_says_so() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, COMPACT_8))
    end = failed(script.play(memory=memory))
    assert end.trouble is Trouble.UNREADABLE
    assert end.detail == (
        "compact frame of format 3B31, which is not known yet: "
        "no full frame and no format frame has told it"
    )
    # Another meter's formats are another meter's.
    script.then((NKE_8, E5), (REQ_8_FCB_1, FULL_8))
    complete(script.play(memory=Memory()))
    script.then((NKE_8, E5), (REQ_8_FCB_1, COMPACT_8))
    failed(script.play(memory=memory))


def test_a_damaged_compact_frame_is_a_failure() -> None:
    memory = Memory()
    script = Script((NKE_8, E5), (REQ_8_FCB_1, FULL_8))
    complete(script.play(memory=memory))
    script.then((REQ_8_FCB_0, changed(COMPACT_8, 11, 0xD3)))
    end = failed(script.play(memory=memory))
    assert end.trouble is Trouble.UNREADABLE
    assert "checksum A642" in end.detail


def test_a_meter_that_sends_its_format_and_nothing_else_is_stopped() -> None:
    script = Script((NKE_8, E5), (REQ_8_FCB_1, FORMAT_8), (REQ_8_FCB_0, FORMAT_8))
    end = failed(script.play())
    assert (end.trouble, end.detail) == (
        Trouble.UNREADABLE,
        "the meter sends its format again, and no data",
    )
    other = bytes.fromhex("68 08 08 68 08 08 69 04 7A FD 02 13 09 16")
    script = Script((NKE_8, E5), (REQ_8_FCB_1, FORMAT_8), (REQ_8_FCB_0, other))
    assert failed(script.play(way=Way(maximum=1))).trouble is Trouble.UNREADABLE
