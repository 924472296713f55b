"""Telegrams cut, split, in noise and mutated; and values to bytes and back.

`scripts/fuzz` does in number what stands here for every change.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mbus.address import parse_secondary
from bridge.mbus.control import CI_FIXED, DIRECTION, FUNCTION, RSP_UD
from bridge.mbus.dif import LENGTHS, DataField, Function
from bridge.mbus.encode import encode_record
from bridge.mbus.errors import ChecksumError, FrameError, HeaderError, StopError
from bridge.mbus.frame import Frame, LongFrame, ShortFrame, take_frame
from bridge.mbus.layout import Layouts
from bridge.mbus.link import Answered, Link, Outcome, Timing
from bridge.mbus.record import Records
from bridge.mbus.security import Security
from bridge.mbus.telegram import decode_telegram
from bridge.mbus.values import Value
from bridge.mbus.walk import decode_records
from bridge.sim.meter import Content, SimulatedMeter
from scripts.fuzzing.check import Checker, check_nothing_lost, odds_of_a_checksum, time_limit
from scripts.fuzzing.mutate import Mutator, seeds

OWN = Path(__file__).parent.parent / "vectors"
SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "telegrams"


def telegrams_of(folder: Path) -> dict[str, bytes]:
    return {path.stem: bytes.fromhex(path.read_text()) for path in sorted(folder.glob("*.hex"))}


OURS, THEIRS = telegrams_of(OWN), telegrams_of(SHARED)
WHOLE = [
    *((pytest.param(data, id=name), data) for name, data in OURS.items()),
    *((pytest.param(data, id=f"shared-{name}"), data) for name, data in THEIRS.items()),
]
if not THEIRS:
    absent = pytest.mark.skip(reason="no recorded telegrams in ../shared")
    WHOLE.append((pytest.param(b"", id="shared", marks=absent), b""))

every_telegram = pytest.mark.parametrize("data", [param for param, _ in WHOLE])

# Each byte that begins something, and heads of frames that will never come.
NOISE = (
    "E5",
    "E5 E5",
    "68",
    "68 68",
    "10",
    "10 40",
    "16",
    "FF",
    "00",
    "00 00 00 00 00 00",
    "68 FF",
    "68 03 03 10",
    "10 7B 05 80 17",
    "FF 00 10 68 E5 16",
)
# False starts that a receiver has to believe for a while.
BELIEVED = ("68 FF FF", "68 FF FF 68", "68 F0 F0 68 08 01 72", "68 80 80 68 08 05")


def taken(buffer: bytearray) -> list[Frame]:
    """The frames in a buffer, looked for byte by byte; what may become one stays."""
    frames: list[Frame] = []
    while buffer:
        try:
            frame = take_frame(buffer)
        except FrameError:
            continue
        if frame is None:
            break
        frames.append(frame)
    return frames


def long_frames(frames: Iterable[Frame]) -> list[LongFrame]:
    return [frame for frame in frames if isinstance(frame, LongFrame)]


def frame_of(data: bytes) -> LongFrame:
    frame = take_frame(bytearray(data))
    assert isinstance(frame, LongFrame)
    return frame


@every_telegram
def test_a_telegram_cut_at_any_byte_wants_more_bytes_and_is_the_same_with_them(
    data: bytes,
) -> None:
    whole = frame_of(data)
    for cut in range(len(data)):
        buffer = bytearray(data[:cut])
        assert take_frame(buffer) is None
        assert buffer == data[:cut]
        buffer += data[cut:]
        assert take_frame(buffer) == whole
        assert not buffer


@every_telegram
def test_a_telegram_that_comes_byte_by_byte_is_there_with_its_last_byte(data: bytes) -> None:
    buffer = bytearray()
    for byte in data[:-1]:
        buffer.append(byte)
        assert take_frame(buffer) is None
    buffer.append(data[-1])
    assert take_frame(buffer) == frame_of(data)
    assert not buffer


@every_telegram
def test_noise_before_a_telegram_costs_nothing_of_it(data: bytes) -> None:
    for noise in NOISE:
        line = bytes.fromhex(noise) + data
        assert long_frames(taken(bytearray(line))) == [frame_of(data)], noise
        # A byte at a time, too: what is noise must not depend on how the bytes are cut.
        buffer, frames = bytearray(), list[Frame]()
        for byte in line:
            buffer.append(byte)
            frames += taken(buffer)
        assert long_frames(frames) == [frame_of(data)], noise


@every_telegram
def test_noise_behind_a_telegram_stays_behind_it(data: bytes) -> None:
    for noise in (*NOISE, *BELIEVED):
        behind = bytes.fromhex(noise)
        buffer = bytearray(data + behind)
        assert take_frame(buffer) == frame_of(data)
        assert buffer == behind


@every_telegram
def test_a_false_start_with_a_big_length_gives_way_to_the_telegram_within(data: bytes) -> None:
    for start in BELIEVED:
        line = bytes.fromhex(start) + data
        # More bytes must come, or there are too many already, and then it is seen to be false.
        assert long_frames(taken(bytearray(line))) in ([], [frame_of(data)]), start
        assert long_frames(taken(bytearray(line + bytes(261)))) == [frame_of(data)], start


@every_telegram
def test_one_wrong_byte_is_always_seen(data: bytes) -> None:
    for place in range(1, len(data)):
        for wrong in (data[place] ^ 0x01, data[place] ^ 0x80, data[place] + 1 & 0xFF):
            damaged = bytearray(data)
            damaged[place] = wrong
            if 4 <= place < len(data) - 1:
                with pytest.raises(ChecksumError):
                    take_frame(damaged)
            elif place == len(data) - 1:
                with pytest.raises(StopError):
                    take_frame(damaged)
            else:
                with pytest.raises(FrameError):
                    take_frame(damaged)


@every_telegram
def test_of_user_data_cut_at_any_byte_the_whole_records_survive(data: bytes) -> None:
    # A meter whose memory ends too early: the frame is sound, its content is cut.
    whole = frame_of(data)
    says = decode_telegram(whole)
    if whole.ci == CI_FIXED:
        return  # cut short it is another kind of telegram
    for cut in range(len(whole.data)):
        frame = LongFrame(whole.control, whole.address, whole.ci, whole.data[:cut])
        if cut < 12:
            with pytest.raises(HeaderError):
                decode_telegram(frame)
            continue
        telegram = decode_telegram(frame)
        if telegram.security is not Security.PLAIN:
            # An old meter's signature: with too few records to tell, it may mean encryption.
            assert [error.data for error in telegram.errors] == [frame.data[12:]]
            continue
        assert telegram.records == says.records[: len(telegram.records)]
        found = Records(
            telegram.records,
            telegram.errors,
            telegram.manufacturer_data,
            telegram.more_records_follow,
        )
        check_nothing_lost(frame.data, 12, found)
        assert [error.reason for error in telegram.errors] in ([], ["premature end of record"])


# The link layer: what a master makes of it.

TIMING = Timing(baudrate=2400)
REQUEST = bytes.fromhex("10 7B FE 79 16")


def is_answer(data: bytes) -> bool:
    control = frame_of(data).control
    return not control & DIRECTION and control & (0x80 | FUNCTION) == RSP_UD


# A telegram that a master sent, or one of radio, is no answer to anybody.
ANSWERS = [param for param, data in WHOLE if not data or is_answer(data)]
every_answer = pytest.mark.parametrize("data", ANSWERS)


def asked() -> Link:
    """A link that has asked the only meter on the line, at time 0."""
    link = Link(TIMING)
    link.request_data(254, now=0.0)
    assert link.to_send() == REQUEST
    return link


def told(link: Link, parts: Sequence[bytes]) -> Outcome | None:
    """Hand the parts to the link, 10 ms apart, and let time pass if it still waits."""
    now = 0.03
    for part in parts:
        outcome = link.receive(part, now)
        if outcome is not None:
            return outcome
        now += 0.01
    deadline = link.deadline
    assert deadline is not None
    return link.wake(deadline)


@every_answer
def test_the_echo_of_a_request_is_dropped_wherever_it_is_cut(data: bytes) -> None:
    frame = frame_of(data)
    line = REQUEST + data
    for cut in range(len(line)):
        outcome = told(asked(), [line[:cut], line[cut:]] if cut else [line])
        assert isinstance(outcome, Answered)
        assert outcome.frame == frame
        assert not outcome.effort.damage


@every_answer
def test_the_echo_and_the_answer_may_come_byte_by_byte(data: bytes) -> None:
    line = REQUEST + data
    outcome = told(asked(), [line[n : n + 1] for n in range(len(line))])
    assert isinstance(outcome, Answered)
    assert outcome.frame == frame_of(data)


@every_answer
def test_a_master_finds_the_answer_in_noise(data: bytes) -> None:
    for noise in (*NOISE, *BELIEVED):
        outcome = told(asked(), [bytes.fromhex(noise) + data])
        assert isinstance(outcome, Answered), noise
        assert outcome.frame == frame_of(data)


# Values to bytes and back.

FUNCTIONS = st.sampled_from(Function)
STORAGES = st.one_of(st.sampled_from((0, 1, 2, 31, 32, 2**41 - 1)), st.integers(0, 2**41 - 1))
TARIFFS = st.one_of(st.sampled_from((0, 1, 3, 4, 2**20 - 1)), st.integers(0, 2**20 - 1))
SUBUNITS = st.one_of(st.sampled_from((0, 1, 2, 1023)), st.integers(0, 1023))

INTEGERS = (
    *(DataField.INT8, DataField.INT16, DataField.INT24),
    *(DataField.INT32, DataField.INT48, DataField.INT64),
)
DIGITS = (DataField.BCD2, DataField.BCD4, DataField.BCD6, DataField.BCD8, DataField.BCD12)

# VIB, and what one of the meter's own numbers is in the unit without a power of ten.
SCALES = {
    "03": "1",  # Wh
    "06": "1000",
    "07": "10000",
    "0F": "10000000",  # J
    "13": "0.001",  # m3
    "10": "0.000001",
    "17": "10",
    "22": "3600",  # h
    "2B": "1",  # W
    "3B": "0.001",  # m3/h
    "59": "0.01",  # Celsius
    "5F": "1",
    "69": "0.01",  # bar
    "FD 48": "0.1",  # V
    "FD 5C": "1",  # A
    "FB 00": "100000",  # MWh
    "93 3B": "0.001",  # m3, forward flow only
    "86 70": "0.001",  # Wh, times 10 ** -6
    "FC 03 48 52 25 74": "0.01",  # %RH, in the text
}


def numbers(field: DataField) -> st.SearchStrategy[int]:
    length = LENGTHS[field]
    if field in DIGITS:
        return st.integers(1 - 10 ** (2 * length - 1), 10 ** (2 * length) - 1)
    return st.integers(1 - (1 << 8 * length - 1), (1 << 8 * length - 1) - 1)


@st.composite
def counted(draw: st.DrawFn) -> tuple[bytes, Decimal, DataField]:
    """A number as a meter counts it, and what it is in the unit of its VIB."""
    field = draw(st.sampled_from(INTEGERS + DIGITS))
    vib, scale = draw(st.sampled_from(sorted(SCALES.items())))
    return bytes.fromhex(vib), draw(numbers(field)) * Decimal(scale), field


DATES = st.dates(datetime.date(1981, 1, 1), datetime.date(2080, 12, 31))
CLOCKS = st.times().map(lambda time: time.replace(microsecond=0))


@st.composite
def dated(draw: st.DrawFn) -> tuple[bytes, Value, DataField]:
    """A date, a time, or both, in the types G, J, F and I."""
    date, clock = draw(DATES), draw(CLOCKS)
    to_the_second = datetime.datetime.combine(date, clock)
    types: tuple[tuple[bytes, Value, DataField], ...] = (
        (b"\x6c", date, DataField.INT16),
        (b"\x6d", clock, DataField.INT24),
        (b"\x6d", to_the_second.replace(second=0), DataField.INT32),
        (b"\x6d", to_the_second, DataField.INT48),
    )
    return draw(st.sampled_from(types))


@st.composite
def real(draw: st.DrawFn) -> tuple[bytes, Decimal, DataField]:
    """A real of six digits, which 32 bits hold exactly enough."""
    digits, exponent = draw(st.integers(-999_999, 999_999)), draw(st.integers(-6, 3))
    vib = draw(st.sampled_from((b"\x2b", b"\xfd\x5c", b"\x5f", b"\x03")))
    return vib, Decimal(digits).scaleb(exponent), DataField.REAL32


TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
VARIABLE = st.one_of(
    st.tuples(st.sampled_from((b"\xfd\x10", b"\xfd\x11")), TEXTS, st.just(DataField.VARIABLE)),
    st.tuples(
        st.just(b"\x03"), st.integers(1 - 2**100, 2**100).map(Decimal), st.just(DataField.VARIABLE)
    ),
)
NOTHING = st.tuples(
    st.sampled_from((b"\x13", b"\x06", b"\x5b", b"\xfd\x48")),
    st.none(),
    st.sampled_from((*INTEGERS, *DIGITS, DataField.REAL32, DataField.VARIABLE)),
)


@given(
    st.one_of(counted(), dated(), real(), VARIABLE, NOTHING),
    FUNCTIONS,
    STORAGES,
    TARIFFS,
    SUBUNITS,
)
@settings(max_examples=500)
def test_what_a_meter_writes_is_what_is_read(
    said: tuple[bytes, Value, DataField],
    function: Function,
    storage: int,
    tariff: int,
    subunit: int,
) -> None:
    vib, value, field = said
    data = encode_record(
        vib,
        value,
        field,
        function=function,
        storage=storage,
        tariff=tariff,
        subunit=subunit,
    )
    found = decode_records(data)
    (record,) = found.records
    assert found.errors == ()
    assert record.value == value
    assert type(record.value) is type(value)
    assert (record.invalid is None) == (value is not None)
    assert record.header.data_field is field
    assert record.function is function
    assert (record.storage, record.tariff, record.subunit) == (storage, tariff, subunit)
    assert record.dib + record.vib + record.data == data


class Said:
    """A readout of one telegram."""

    def __init__(self, records: bytes) -> None:
        self.records = records

    def telegrams(self, when: datetime.datetime) -> Sequence[Content]:
        return [self.records]


@given(st.lists(st.tuples(st.one_of(counted(), dated(), real(), VARIABLE), STORAGES), max_size=5))
@settings(max_examples=150)
def test_a_simulated_meter_says_what_it_was_told(
    said: list[tuple[tuple[bytes, Value, DataField], int]],
) -> None:
    records = b"".join(
        encode_record(vib, value, field, storage=storage) for (vib, value, field), storage in said
    )
    if len(records) > 240:
        return
    secondary = parse_secondary("12345678-TST-01-04")
    meter = SimulatedMeter("m", Said(records), primary=5, secondary=secondary)
    answer = meter.hear(ShortFrame(0x7B, 5), 0.0, datetime.datetime(2026, 3, 9, 12))
    assert answer is not None
    telegram = decode_telegram(frame_of(answer.data))
    assert telegram.errors == ()
    assert [record.value for record in telegram.records] == [value for (_, value, _), _ in said]
    assert [record.storage for record in telegram.records] == [storage for _, storage in said]


@given(st.lists(counted(), min_size=1, max_size=6), st.data())
@settings(max_examples=150)
def test_a_remembered_layout_reads_what_a_fresh_walk_reads(
    said: list[tuple[bytes, Decimal, DataField]], draw: st.DataObject
) -> None:
    layouts = Layouts()
    blocks = [encode_record(vib, value, field) for vib, value, field in said]
    for _ in range(2):
        layouts.read(b"".join(blocks))
    changed = b"".join(
        block[: -LENGTHS[field]] + draw.draw(st.binary(min_size=size, max_size=size))
        for block, (_, _, field) in zip(blocks, said, strict=True)
        for size in (LENGTHS[field],)
    )
    assert layouts.read(changed) == decode_records(changed)
    assert len(layouts) == 1


def test_thousands_of_mutated_telegrams_end_in_telegrams_and_errors_of_the_codec() -> None:
    mutator, checker = Mutator(seeds(), 20), Checker(20)
    for _ in range(4000):
        mutant = mutator.mutant()
        with time_limit(5.0):
            checker.check(mutant)
    damaged = checker.counts["damaged in place"]
    assert checker.counts["damaged in place, and read"] <= odds_of_a_checksum(damaged)
    # What is looked for must have been there to be seen.
    assert checker.counts["records"] > 10_000
    assert checker.counts["record errors"] > 1000
    assert checker.counts["layouts with other data"] > 50
    assert checker.counts["compact frames"] > 10
    assert damaged > 50


@pytest.mark.parametrize("lvar", [0xC1, 0xC2, 0xC4, 0xC9, 0xD4])
def test_variable_length_digits_of_a_telegram_that_breaks_off_stay_as_they_are(lvar: int) -> None:
    """Old meters have twice the bytes; a telegram that breaks off must not look like one."""
    digits = bytes.fromhex("42 15 85 82 04 13 10 20 99")[: lvar & 0x0F]
    whole = b"\x0d\x13" + bytes((lvar,)) + digits + bytes.fromhex("04 13 10 20 00 00 02 5A C8 00")
    first = decode_records(whole).records[0]
    for end in range(3 + len(digits), len(whole)):
        found = decode_records(whole[:end])
        assert found.records[0] == first, whole[:end].hex()
