"""The fuzz run itself: does it see what it looks for?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import NO_RECORDS, DataRecord, DataRecords, Records
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.walk import decode_records
from scripts.fuzzing import check as checking
from scripts.fuzzing.check import (
    Checker,
    FuzzError,
    HangError,
    check_nothing_lost,
    check_record,
    odds_of_a_checksum,
    other_data,
    spans,
    time_limit,
)
from scripts.fuzzing.mutate import Mutant, Mutator, framed, made_up, seeds
from scripts.fuzzing.runs import Progress, caches, check, judge, replay, reproducer, run

RECORDS = bytes.fromhex("0C 06 27 04 85 02 2F 0D 13 C2 34 12 84 4F 0F AB CD")
WATER = bytes.fromhex("08 05 72 44 33 18 20 74 52 0A 16 11 00 00 00 0C 13 56 34 12 00")


def test_the_same_seed_gives_the_same_telegrams() -> None:
    first, second = Mutator(seeds(), 5), Mutator(seeds(), 5)
    assert [first.mutant() for _ in range(200)] == [second.mutant() for _ in range(200)]
    other = Mutator(seeds(), 6)
    assert [first.mutant() for _ in range(20)] != [other.mutant() for _ in range(20)]


def test_a_made_up_telegram_is_a_frame_and_most_are_read_to_their_end() -> None:
    random = Random(1)
    read = 0
    for _ in range(200):
        frame = take_frame(bytearray(framed(made_up(random))))
        assert isinstance(frame, LongFrame)
        read += not decode_telegram(frame, bytes(range(16))).errors
    assert read > 100


def test_every_byte_of_a_walk_is_told() -> None:
    found = decode_records(RECORDS)
    assert list(spans(RECORDS, 0, found)) == [
        ("head", 0, 2),
        ("data", 2, 6),
        ("filler", 6, 7),
        ("head", 7, 10),  # with the LVAR byte
        ("data", 10, 12),
        ("error", 12, 17),
    ]


@pytest.mark.parametrize(
    "found",
    [
        Records(NO_RECORDS, (), None, False),
        decode_records(RECORDS)._replace(errors=()),
        decode_records(RECORDS)._replace(
            records=DataRecords.of(decode_records(RECORDS).records[1:])
        ),
        decode_records(bytes.fromhex("0C 06 27 04 85 02")),
    ],
)
def test_a_lost_byte_is_seen(found: Records) -> None:
    with pytest.raises(FuzzError, match="are nowhere"):
        check_nothing_lost(RECORDS, 0, found)


def test_other_data_leave_the_layout_as_it_is() -> None:
    found = decode_records(RECORDS[:12])
    random = Random(1)
    for _ in range(100):
        changed = other_data(RECORDS[:12], 0, found, random)
        keys = [record.key for record in decode_records(changed).records]
        assert keys == ["0C06", "0D13"]


def test_a_value_and_a_reason_at_once_are_seen() -> None:
    (record,) = decode_records(bytes.fromhex("01 13 05")).records
    check_record(record)
    for value, reason in ((record.value, "all ones"), (None, None), (None, "")):
        with pytest.raises(FuzzError):
            check_record(DataRecord(record.header, record.data, value, reason))


def hang(seconds: float) -> None:
    with time_limit(seconds):
        while True:
            pass


def test_what_hangs_is_ended() -> None:
    with pytest.raises(HangError):
        hang(0.05)


def test_a_foreign_exception_is_a_finding_that_can_be_replayed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(frame: LongFrame, key: bytes | None = None, **_: object) -> Telegram:
        raise KeyError(frame.ci)

    mutant = Mutant(framed(WATER), whole=True)
    assert check(Checker(1), mutant) == ""
    monkeypatch.setattr(checking, "decode_telegram", broken)
    failure = check(Checker(1), mutant)
    assert "KeyError: 114" in failure
    path = tmp_path / "finding.txt"
    path.write_text(reproducer(mutant, failure, seed=1, number=0))
    assert "KeyError: 114" in replay(path)
    monkeypatch.undo()
    assert replay(path) == ""


def test_a_frame_with_one_wrong_byte_that_is_read_is_a_finding() -> None:
    failure = check(Checker(1), Mutant(framed(WATER), whole=False, touched=1))
    assert "a frame with one wrong byte is read" in failure


def test_what_is_remembered_has_an_end() -> None:
    assert caches()
    for name, (size, most) in caches().items():
        assert size <= most, name


def test_a_run_that_grows_or_reads_too_much_damage_is_judged() -> None:
    counts = Counter({"damaged in place": 2560, "damaged in place, and read": 10})
    good = Progress(0, 5_000_000, counts, resident=100 << 20, early=95 << 20)
    assert judge([good]) == []
    grown = Progress(1, 5_000_000, counts, resident=200 << 20, early=95 << 20)
    (problem,) = judge([good, grown])
    assert problem.startswith("process 1 has grown from 95.0 MiB")
    read = Progress(0, 10, Counter({**counts, "damaged in place, and read": 500}), 0)
    (problem,) = judge([read])
    assert problem == "500 of 2560 damaged frames were read: more than by chance"
    assert odds_of_a_checksum(0) == 1


class Line:
    """What a process tells."""

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def send(self, progress: Progress, /) -> None:
        self.told.append(progress)


def test_a_process_tells_what_it_has_done() -> None:
    line = Line()
    run(0, 300, 3, line)
    last = line.told[-1]
    assert (last.done, last.finished, last.failure) == (300, True, "")
    assert last.counts["telegrams"] == 300
    assert last.early > 0
    assert last.resident > 0
