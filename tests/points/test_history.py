"""The history: exact, on record when it says so, and never in the way of the readings."""

from __future__ import annotations

import datetime
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.points import database
from bridge.points import history as history_module
from bridge.points.history import DAY, History
from bridge.points.reading import Fault, Kind, Point, Reading, Value
from bridge.points.records import VERSION, HistoryError, Row, decode_value, encode_value

ROOT = Path(__file__).parents[2]

ENERGY = Point("heat-1.energy", "heat-1", Kind.NUMBER, "kilowatt-hours")
POWER = Point("heat-1.power", "heat-1", Kind.NUMBER, "kilowatts")
VOLUME = Point("water.volume", "water", Kind.NUMBER, "cubic-meters")
AT = 1_800_000_000.25

PATIENCE = 20.0  # seconds, on a machine with much else to do


def reading(value: Value, at: float = AT) -> Reading:
    return Reading(value, at, None, Decimal("0.001") if isinstance(value, Decimal) else None)


def opened(path: Path, *points: Point, keep: float = 400 * DAY, max_size: int = 10**9) -> History:
    history = History(path, keep=keep, max_size=max_size)
    for point in points:
        history.last(point)
    return history


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks a hundred times a second."""
    monkeypatch.setattr(history_module, "PASS", 0.01)


VALUES: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.NUMBER: st.decimals(allow_nan=False),
    Kind.TEXT: st.text(),
    Kind.BOOLEAN: st.booleans(),
    Kind.DATE: st.dates(),
    Kind.TIME: st.times(),
    Kind.DATE_TIME: st.datetimes(),
}


@pytest.mark.parametrize("kind", Kind)
def test_every_value_comes_back_as_it_was(kind: Kind) -> None:
    @settings(deadline=None, max_examples=50)
    @given(value=VALUES[kind])
    def comes_back(value: Value) -> None:
        again = decode_value(kind, encode_value(value))
        assert type(again) is type(value)
        assert again == value
        if isinstance(value, Decimal) and isinstance(again, Decimal):
            assert again.as_tuple() == value.as_tuple()

    comes_back()


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(list(Kind)).flatmap(lambda kind: VALUES[kind]), max_size=8))
def test_whatever_was_kept_is_the_last_value_of_the_next_run(
    tmp_path: Path, values: list[Value]
) -> None:
    kinds = {Decimal: Kind.NUMBER, str: Kind.TEXT, bool: Kind.BOOLEAN, datetime.date: Kind.DATE}
    kinds |= {datetime.time: Kind.TIME, datetime.datetime: Kind.DATE_TIME}
    points = [Point(f"m.{n}", "m", kinds[type(value)]) for n, value in enumerate(values)]
    path = tmp_path / f"{time.monotonic_ns()}.sqlite"
    history = opened(path, *points)
    history.keep("m", {p.name: reading(v) for p, v in zip(points, values, strict=True)})
    history.close()
    again = History(path)
    assert [again.last(point) for point in points] == [reading(value) for value in values]
    again.close()


def test_a_last_value_has_its_time_and_its_resolution(path: Path) -> None:
    history = opened(path, ENERGY)
    assert history.last(ENERGY) is None
    history.keep("heat-1", {"heat-1.energy": reading(Decimal("45.120"))})
    history.close()
    again = History(path)
    last = again.last(ENERGY)
    again.close()
    assert last == Reading(Decimal("45.120"), AT, None)
    assert last is not None
    assert str(last.value) == "45.120"
    assert last.resolution == Decimal("0.001")


def test_another_unit_is_another_value_and_old_ones_keep_theirs(path: Path) -> None:
    megawatts = Point("heat-1.energy", "heat-1", Kind.NUMBER, "megawatt-hours")
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal("45120"), 1.0)})
    assert history.last(megawatts) is None
    history.keep("heat-1", {"heat-1.energy": reading(Decimal("45.121"), 2.0)})
    assert list(history.readings()) == [
        Row(1.0, "heat-1", "heat-1.energy", Decimal("45120"), "kilowatt-hours"),
        Row(2.0, "heat-1", "heat-1.energy", Decimal("45.121"), "megawatt-hours"),
    ]
    history.close()
    with History.open_to_read(path) as records:
        assert [row.unit for row in records.last()] == ["megawatt-hours"]


def test_a_value_of_another_record_or_factor_is_not_this_points(path: Path) -> None:
    before = replace(ENERGY, origin="5 0C06 1")
    after = replace(ENERGY, origin="5 0C06 0.1")
    with closing(opened(path, before)) as history:
        history.keep("heat-1", {ENERGY.name: reading(Decimal(7))})
    with closing(opened(path)) as history:
        assert history.last(after) is None
        history.keep("heat-1", {ENERGY.name: reading(Decimal("0.8"), AT + 1)})
        assert [row.value for row in history.readings()] == [Decimal(7), Decimal("0.8")]
    with closing(opened(path)) as history:
        last = history.last(before)
        assert last is not None
        assert last.value == Decimal(7)


def test_a_reading_with_a_fault_is_not_written_down(path: Path) -> None:
    history = opened(path, ENERGY, POWER)
    bad = Reading(Decimal(1), AT, Fault.DOUBTED)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(2)), "heat-1.power": bad})
    assert [row.point for row in history.readings()] == ["heat-1.energy"]
    assert history.last(POWER) is None
    history.close()


def test_readings_come_in_the_order_of_time_by_meter_point_and_time(path: Path) -> None:
    history = opened(path, ENERGY, VOLUME, POWER)
    for at in (5.0, 3.0, 4.0):  # the clock was set back
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), at)})
        history.keep("water", {"water.volume": reading(Decimal(2), at + 0.5)})
    everything = list(history.readings())
    assert [row.at for row in everything] == [3.0, 3.5, 4.0, 4.5, 5.0, 5.5]
    assert [row.at for row in history.readings(meter="water")] == [3.5, 4.5, 5.5]
    assert [row.at for row in history.readings(meter=["water", "heat-1"])] == [
        row.at for row in everything
    ]
    assert [row.at for row in history.readings(point="heat-1.energy")] == [3.0, 4.0, 5.0]
    assert list(history.readings(point="heat-1.power")) == []
    assert [row.at for row in history.readings(since=3.5, until=5.0)] == [3.5, 4.0, 4.5]
    history.close()


def test_many_readings_are_taken_from_the_file_in_lots(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.points.records._LOT", 4)
    monkeypatch.setattr("bridge.points.records._SMALLEST_LOT", 2)
    history = opened(path, ENERGY, VOLUME)
    for number in range(25):
        at = float(number // 3)  # several at one time
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), at)})
        history.keep("water", {"water.volume": reading(Decimal(number), at)})
    rows = list(history.readings())
    history.close()
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    for point in (ENERGY, VOLUME):
        assert [row.value for row in rows if row.point == point.name] == [
            Decimal(number) for number in range(25)
        ]


def test_counters_are_there_again(path: Path) -> None:
    history = History(path)
    history.keep_counters("meter heat-1", {"tries": 12, "silences": 1})
    history.keep_counters("meter heat-1", {"tries": 13, "silences": 1})
    assert history.counters("meter water") == {}
    history.close()
    again = History(path)
    assert again.counters("meter heat-1") == {"tries": 13, "silences": 1}
    again.close()


def test_without_a_file_the_memory_has_the_last_values() -> None:
    history = History(None)
    history.last(ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1))})
    history.keep_counters("bus", {"tries": 1})
    assert history.last(ENERGY) == reading(Decimal(1))
    assert list(history.readings()) == []
    assert history.counters("bus") == {"tries": 1}
    history.close()


# What is kept, and for how long


def test_what_is_too_old_is_deleted_and_last_values_stay(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "EVEN", 0.0)
    now = time.time()
    history = opened(path, ENERGY, POWER, keep=DAY)
    history.keep("heat-1", {"heat-1.power": reading(Decimal(7), now - 2 * DAY)})
    for number in range(5):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), now - 2 * DAY)})
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(9), now)})
    history.close()
    again = opened(path, ENERGY, POWER, keep=DAY)
    wait_until(lambda: len(list(again.readings())) == 1)
    again.close()
    last = History(path)
    assert last.last(ENERGY) == reading(Decimal(9), now)
    assert last.last(POWER) == reading(Decimal(7), now - 2 * DAY)
    last.close()


def test_a_clock_that_was_just_set_deletes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "PASS", 0.01)
    history = opened(path, ENERGY, keep=DAY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), time.time())})
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    time.sleep(0.2)
    assert len(list(history.readings())) == 1
    history.close()


def test_keep_0_has_last_values_only(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "APART", 10)
    history = opened(path, ENERGY, keep=0)
    for number in range(20):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number))})
    wait_until(lambda: len(list(history.readings())) < 10)
    history.close()
    again = History(path)
    assert again.last(ENERGY) == reading(Decimal(19))
    again.close()


def test_beyond_the_largest_size_the_oldest_go_and_the_file_shrinks(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "LOG_SIZE", 100_000)
    text = Point("heat-1.text", "heat-1", Kind.TEXT)
    history = opened(path, text)
    for number in range(1500):
        history.keep("heat-1", {"heat-1.text": reading("x" * 1000, AT + number)})
    history.close()
    before = path.stat().st_size
    assert before > 1_500_000
    again = opened(path, text, max_size=500_000)
    wait_until(lambda: path.stat().st_size < 700_000)
    kept = [row.at for row in again.readings()]
    again.close()
    assert kept == [AT + number for number in range(1500 - len(kept), 1500)]
    assert 50 < len(kept) < 500
    assert check(path) == "ok"


def check(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
        return str(said)


# What may happen to the file


def asides(path: Path) -> list[Path]:
    return [
        each
        for each in path.parent.glob("*.damaged-*")
        if each.suffix.startswith(".damaged") and not each.name.endswith(("-wal", "-shm"))
    ]


@pytest.mark.parametrize(
    "content", [b"no database, but long enough " * 100, b"SQLite format 3\0xxx"]
)
def test_a_file_that_is_no_database_is_set_aside_and_the_bridge_runs_on(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1))})
    assert len(list(history.readings())) == 1
    history.close()
    (aside,) = asides(path)
    assert aside.read_bytes() == content
    (record,) = caplog.records
    assert f"set aside as {aside.name}" in record.getMessage()


def test_a_history_of_another_program_or_a_later_version_is_set_aside(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = opened(path, ENERGY)
    history.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(HistoryError, match="a later version of this program wrote the history"):
        History.open_to_read(path)
    opened(path, ENERGY).close()
    assert "a later version of this program wrote it" in caplog.text
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(HistoryError, match="this is no history"):
        History.open_to_read(path)
    opened(path, ENERGY).close()
    assert "a database of another program" in caplog.text
    assert len(asides(path)) == 2


def overwrite(path: Path, table: str) -> None:
    """Fill the first page of a table with nonsense."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def test_last_values_are_taken_out_of_a_damaged_file(
    path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal("45.120"))})
    history.close()
    overwrite(path, "answers_of_meter")
    again = History(path)
    assert again.last(ENERGY) == reading(Decimal("45.120"))
    assert list(again.readings()) == []
    again.close()
    assert len(asides(path)) == 1
    assert "1 last values could be kept" in caplog.text
    third = History(path)
    assert third.last(ENERGY) == reading(Decimal("45.120"))
    third.close()


def test_a_file_that_is_damaged_while_in_use_is_replaced_and_what_waited_is_written(
    path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    history = opened(path, ENERGY, VOLUME)
    history.keep("water", {"water.volume": reading(Decimal(7))})
    overwrite(path, "answers_of_meter")
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), 1.0)})
    wait_until(lambda: not history.waiting and len(asides(path)) == 1)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(2), 2.0)})
    assert [row.at for row in history.readings()] == [1.0, 2.0]
    history.close()
    again = History(path)
    assert again.last(VOLUME) == reading(Decimal(7)), "the memory had it"
    again.close()
    assert check(path) == "ok"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_once_and_nothing_is_lost(
    small_disk: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "history.sqlite"
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(0), 0.0)})
    filler = small_disk / "filler"
    with suppress(OSError):
        filler.write_bytes(b"x" * 2_000_000)  # as much as there is room for
    for number in range(1, 300):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), float(number))})
    wait_until(lambda: history.waiting > 200)
    assert history.last(ENERGY) == reading(Decimal(299), 299.0)
    time.sleep(0.1)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, said
    assert "make room on the disk" in said[0]
    filler.unlink()
    wait_until(lambda: history.waiting == 0)
    assert [row.at for row in history.readings()] == [float(number) for number in range(300)]
    history.close()
    assert "can be written down again" in caplog.records[-1].getMessage()
    assert "none is lost" in caplog.records[-1].getMessage()
    assert check(path) == "ok"


def test_what_there_is_no_place_for_is_counted_and_said(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history_module, "QUEUE", 10)
    monkeypatch.setattr(history_module, "PASS", 0.05)
    path.parent.joinpath("history.sqlite").mkdir()  # what cannot be opened
    history = opened(path, ENERGY)
    for number in range(15):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), float(number))})
    assert (history.waiting, history.lost) == (10, 5)
    assert history.last(ENERGY) == reading(Decimal(14), 14.0)
    path.rmdir()
    wait_until(lambda: history.waiting == 0)
    assert [row.at for row in history.readings()] == [float(number) for number in range(5, 15)]
    history.close()
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert "give the user that runs the bridge the right to write it" in said[0]
    assert "there is no place for more" in said[1]
    assert "15 answers had to wait, and 5 of them are lost" in said[2]
    assert asides(path) == []


def test_a_file_that_somebody_removes_is_written_again_from_what_is_open(
    path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    state = path.parent / "state"
    history = opened(state / path.name, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), 1.0)})
    for each in state.iterdir():
        each.unlink()
    state.rmdir()
    wait_until(lambda: (state / path.name).exists() and "can be written down again" in caplog.text)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(2), 2.0)})
    wait_until(lambda: not history.waiting)
    assert [row.at for row in history.readings()] == [1.0, 2.0]
    history.close()
    assert check(state / path.name) == "ok"


def test_while_another_process_writes_answers_wait(path: Path, quick: None) -> None:
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), 1.0)})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        for number in range(2, 5):
            history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), float(number))})
        assert time.monotonic() - began < 1.0
        assert history.waiting
        other.execute("ROLLBACK")
    wait_until(lambda: not history.waiting)
    assert [row.at for row in history.readings()] == [1.0, 2.0, 3.0, 4.0]
    history.close()
    assert asides(path) == []


def test_only_wrong_bytes_are_damage() -> None:
    full, damaged = sqlite3.OperationalError(), sqlite3.DatabaseError()
    full.sqlite_errorname, damaged.sqlite_errorname = "SQLITE_FULL", "SQLITE_CORRUPT_INDEX"
    assert not database.is_damage(full)
    assert database.is_damage(damaged)
    assert not database.is_damage(sqlite3.OperationalError("without a code"))


def test_it_can_be_read_while_it_is_written_and_when_it_is_closed(path: Path) -> None:
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), 1.0)})
    with History.open_to_read(path) as records:
        rows = records.readings()
        assert next(rows).at == 1.0
        assert records.meters() == ["heat-1"]
        assert [known.key.name for known in records.points()] == ["heat-1.energy"]
    history.close()
    with History.open_to_read(path) as records:
        assert [row.at for row in records.readings()] == [1.0]
        again = opened(path, ENERGY)
        again.keep("heat-1", {"heat-1.energy": reading(Decimal(2), 2.0)})
        assert [row.at for row in records.readings()] == [1.0, 2.0]
        assert [row.at for row in records.last()] == [2.0]
        again.close()
    with pytest.raises(HistoryError, match="there is no history yet"):
        History.open_to_read(path.with_name("missing"))


def test_a_log_that_was_cut_off_costs_its_end_and_nothing_else(path: Path) -> None:
    """As after a power cut, which takes what the disk had not got yet."""
    history = opened(path, ENERGY)
    for number in range(40):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), float(number))})
    whole, written = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    history.close()
    random, found = Random(4), set()
    for number in range(12):
        copy = path.with_name(f"copy-{number}")
        copy.write_bytes(whole)
        cut = random.randrange(len(written))
        Path(f"{copy}-wal").write_bytes(written[:cut] + random.randbytes(4096))
        again = opened(copy, ENERGY)
        kept = [row.at for row in again.readings()]
        assert kept == [float(at) for at in range(len(kept))]
        last = again.last(ENERGY)
        assert (None if last is None else last.read_at) == (kept[-1] if kept else None)
        again.close()
        assert check(copy) == "ok"
        found.add(len(kept))
    assert len(found) > 5
    assert asides(path) == []


# A writer that says on stdout what is on record; the last line may be cut.
WRITER = """
import sys
from decimal import Decimal
from pathlib import Path
from bridge.points import history as module
from bridge.points.reading import Kind, Point, Reading

module.PASS, module.LOG_SIZE, module.APART = 0.01, 50_000, 20  # all that it does, all the time
history = module.History(Path(sys.argv[1]))
points = [Point(f"m{n % 3}.p{n}", f"m{n % 3}", Kind.NUMBER) for n in range(12)]
for point in points:
    last = history.last(point)
start = 0 if last is None else int(last.read_at)
print("found", start, flush=True)
for number in range(start + 1, 10**9):
    at = float(number)
    for meter in ("m0", "m1", "m2"):
        mine = [point for point in points if point.meter == meter]
        history.keep(meter, {each.name: Reading(Decimal(number), at, None) for each in mine})
    print("kept", number, flush=True)
"""


def test_what_was_kept_survives_a_kill_at_any_moment(path: Path) -> None:
    random, kept = Random(4), 0
    for _ in range(10):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert writer.stdout is not None
        _, found = writer.stdout.readline().split()
        assert kept <= int(found) <= kept + 1, "the last value was there again"
        time.sleep(random.uniform(0.0, 0.3))
        writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().splitlines(keepends=True)
        writer.wait()
        writer.stdout.close()
        whole = [line for line in lines if line.endswith("\n")]
        kept = int(whole[-1].split()[1]) if whole else int(found)
        with History.open_to_read(path) as records:
            for meter in ("m0", "m1", "m2"):
                rows = list(records.readings(meter=meter))
                numbers = sorted({int(row.at) for row in rows})
                assert numbers in (list(range(1, kept + 1)), list(range(1, kept + 2)))
                found_of = Counter(int(row.at) for row in rows)
                # Twice where the one who was killed had come further with this meter.
                assert set(found_of.values()) <= {4, 8}, "an answer is whole, or not there"
                assert all(row.value == Decimal(int(row.at)) for row in rows)
        assert check(path) == "ok"
    assert kept > 10


# What a fault of the disk leaves


@pytest.fixture
def ten(path: Path) -> Path:
    """Ten answers of one meter, of which the first five are kept apart."""
    history = opened(path, ENERGY)
    for number in range(10):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), AT + number)})
    history.close()
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE meta SET value = 5 WHERE name = 'upto'")
        file.execute("DELETE FROM last")
        file.commit()
    return path


def damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA writable_schema = ON")
        file.execute("PRAGMA ignore_check_constraints = ON")
        file.execute(statement)
        file.commit()


NO_UTF_8 = "CAST(x'7b2231223a2231b17d' AS TEXT)"


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE answers SET body = {NO_UTF_8} WHERE id = 8",
        "UPDATE answers SET body = '[' WHERE id = 8",
        "UPDATE answers SET body = replace(body, '\"7\"', '\"1\"') WHERE id = 8",
        "UPDATE answers SET at = 1e300 WHERE id = 8",
        "UPDATE answers SET at = -9e15 WHERE id = 8",
        "UPDATE answers SET at = 9e999 WHERE id = 8",
        f"INSERT INTO last VALUES (1, {NO_UTF_8})",
        'INSERT INTO last VALUES (1, \'{"1":[1e999,"5"],"2":[null,1],"x":3}\')',
        f"INSERT INTO counters VALUES ('bus:x', {NO_UTF_8})",
        "INSERT INTO points VALUES (7, 'b', 'number', 'x', '', 1, CAST(x'b1' AS TEXT))",
        "INSERT INTO points VALUES (7, CAST(x'b1' AS TEXT), 'number', 'x', '', 1, '1e999')",
        "UPDATE meta SET value = 99 WHERE name = 'upto'",
        "UPDATE meta SET name = 'uptp'",
    ],
)
def test_one_bad_row_leaves_all_others_and_the_bridge_runs_on(
    ten: Path, statement: str, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(ten, statement)
    monkeypatch.setattr(history_module, "APART", 1)  # the thread looks through it, too
    history = opened(ten, ENERGY)
    assert history.last(ENERGY) == reading(Decimal(9), AT + 9)
    for number in (10, 11):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), AT + number)})
    wait_until(lambda: history._not_apart == 0)
    found = [row.value for row in history.readings()]
    assert len(found) in (11, 12)
    assert found == sorted(set(found)), "no digit is another"
    history.close()
    assert asides(ten) == []
    again = opened(ten, ENERGY)
    assert again.last(ENERGY) == reading(Decimal(11), AT + 11)
    again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE sqlite_schema SET sql = replace(sql, 'body', CAST(x'b1' AS TEXT))",
        "UPDATE sqlite_schema SET sql = replace(sql, 'origin', 'orkgin')",
        "UPDATE sqlite_schema SET name = 'answerz', tbl_name = 'answerz' WHERE name = 'answers'",
        "UPDATE sqlite_schema SET sql = replace(sql, 'TABLE', 'TBALE')",
    ],
)
def test_a_damaged_schema_is_set_aside(ten: Path, statement: str) -> None:
    damage(ten, statement)
    history = opened(ten, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(10), AT + 10)})
    assert [row.value for row in history.readings()] == [Decimal(10)]
    history.close()
    assert len(asides(ten)) == 1


def test_an_index_that_differs_from_its_table_is_damage(
    path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), AT)})
    history.close()
    data = path.read_bytes()
    first = data.rindex(b"heat-1")  # the table's, or its index's: one of the two
    path.write_bytes(data[:first] + b"heat-7" + data[first + 6 :])
    again = opened(path, ENERGY, VOLUME)
    again.keep("heat-1", {"heat-1.energy": reading(Decimal(2), AT + 1)})
    again.keep("heat-7", {"water.volume": reading(Decimal(3), AT + 2)})
    wait_until(lambda: not again.waiting)
    assert [row.value for row in again.readings()][-2:] == [Decimal(2), Decimal(3)]
    again.close()


def test_a_header_of_a_later_sqlite_is_damage(ten: Path, quick: None) -> None:
    data = bytearray(ten.read_bytes())
    data[18] = 0x82  # the write version: the file is then taken for read-only
    ten.write_bytes(data)
    history = opened(ten, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(10), AT + 10)})
    wait_until(lambda: not history.waiting)
    history.close()
    assert len(asides(ten)) == 1


def test_a_value_that_came_with_an_error_of_the_meter_is_kept_with_it(path: Path) -> None:
    history = opened(path, ENERGY)
    ill = replace(reading(Decimal(5)), fault=Fault.METER_ERROR)
    history.keep("heat-1", {"heat-1.energy": ill})
    (row,) = history.readings()
    assert (row.value, row.fault) == (Decimal(5), Fault.METER_ERROR)
    history.close()
    again = History(path)
    assert again.last(ENERGY) == ill
    again.close()


# A disk that is full, or was made read-only, when the bridge starts


def no_writing(folder: Path, *, allow: bool = False) -> None:
    how = "rw" if allow else "ro"
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


@pytest.mark.parametrize("log", ["merged", "with its index", "without its index"])
@pytest.mark.parametrize("trouble", ["read-only", "full"])
def test_a_disk_that_cannot_be_written_at_the_start_costs_nothing(
    small_disk: Path, trouble: str, log: str, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "history.sqlite"
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1))})
    history.keep_counters("bus:x", {"reads": 5})
    history._wake.set()
    wait_until(lambda: not history._new_counters)
    if log != "merged":
        ends = ("", "-wal", "-shm") if log == "with its index" else ("", "-wal")
        saved = {end: Path(f"{path}{end}").read_bytes() for end in ends}
    history.close()
    if log != "merged":
        for end, data in saved.items():
            Path(f"{path}{end}").write_bytes(data)
    filler = small_disk / "filler"
    if trouble == "full":
        with suppress(OSError):
            filler.write_bytes(b"x" * 2_000_000)
    else:
        no_writing(small_disk)
    again = opened(path, ENERGY)
    assert again.last(ENERGY) == reading(Decimal(1))
    assert again.counters("bus:x") == {"reads": 5}
    for number in range(2, 400):
        again.keep("heat-1", {"heat-1.energy": reading(Decimal(number), AT + number)})
    wait_until(lambda: again.waiting > 0)
    assert "readings cannot be written down" in caplog.text
    if trouble == "full":
        filler.unlink()
    else:
        no_writing(small_disk, allow=True)
    wait_until(lambda: not again.waiting)
    assert len(list(again.readings())) == 399
    again.close()
    third = opened(path, ENERGY)
    assert third.last(ENERGY) == reading(Decimal(399), AT + 399)
    assert third.counters("bus:x") == {"reads": 5}
    third.close()
    assert asides(path) == []


# Age, and clocks


def fill(path: Path, times: list[float]) -> None:
    opened(path, ENERGY).close()
    history = opened(path, ENERGY)
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), times[0])})
    history.close()
    with closing(sqlite3.connect(path)) as file:
        (body,) = file.execute("SELECT body FROM answers").fetchone()
        rows = [(at, body) for at in times[1:]]
        file.executemany("INSERT INTO answers (meter, at, body) VALUES (1, ?, ?)", rows)
        file.execute("UPDATE meta SET value = (SELECT max(id) FROM answers)")
        file.commit()


def test_a_clock_that_is_a_year_ahead_when_the_bridge_starts_deletes_nothing(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    fill(path, [now - each * 3600 for each in range(5 * 24, 0, -1)])
    monkeypatch.setattr(time, "time", lambda: now + 365 * DAY)
    history = opened(path, ENERGY, keep=30 * DAY)
    history._even_since -= DAY / 2
    history.keep("heat-1", {"heat-1.energy": reading(Decimal(1), now + 365 * DAY)})
    time.sleep(0.2)
    assert len(list(history.readings())) == 5 * 24 + 1
    history._even_since -= DAY  # if it shows that for a day, it is so
    wait_until(lambda: len(list(history.readings())) < 3)
    history.close()


def test_a_bridge_that_starts_anew_every_night_deletes_what_is_too_old(
    path: Path, quick: None
) -> None:
    now = time.time()
    fill(path, [now - each * 3600 for each in range(5 * 24, 0, -1)])
    history = opened(path, ENERGY, keep=3 * DAY)
    wait_until(lambda: len(list(history.readings())) < 3 * 24 + 1)
    history.close()


def test_readings_of_the_future_do_not_keep_old_ones_from_being_deleted(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    ahead = [now + 80 * 365 * DAY + each for each in range(2100)]
    old = [now - 900 * DAY + each for each in range(300)]
    fill(path, [*ahead, *old, now - 1.5 * DAY])
    history = opened(path, ENERGY)
    wait_until(lambda: len(list(history.readings())) == 2101)
    history.close()


def test_a_number_is_never_given_twice_however_much_is_deleted(
    path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "APART", 2)
    history = opened(path, ENERGY, keep=0)
    for number in range(30):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), AT + number)})
        history._wake.set()
        time.sleep(0.01)
    history.close()
    again = opened(path, ENERGY)
    assert again.last(ENERGY) == reading(Decimal(29), AT + 29)
    again.close()


def test_last_readings_are_of_one_moment(path: Path) -> None:
    history = opened(path, ENERGY)
    for number in range(5):
        history.keep("heat-1", {"heat-1.energy": reading(Decimal(number), AT + number)})
    file = history._file
    assert file is not None
    records = History.open_to_read(path)
    execute = records._rows

    def rows(statement: str, values: tuple[object, ...] = ()) -> list[object]:
        found = execute(statement, values)
        if "FROM last" in statement and (apart := file.look_for_last(100)):
            file.keep_apart(apart)
        return found

    records._rows = rows  # type: ignore[method-assign]
    assert [row.value for row in records.last()] == [Decimal(4)]
    records.close()
    history.close()
