"""``history``: for billing, so every digit counts."""

from __future__ import annotations

import csv
import os
import sqlite3
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import simplejson

from bridge.points.history import DAY, History
from bridge.points.reading import Fault, Kind, Point, Reading

if TYPE_CHECKING:
    from tests.cli.conftest import Program

SITE = """\
device: {instance: 260001, name: Metering}
bacnet: {address: 127.0.0.1/8}
buses:
  basement:
    port: tcp://127.0.0.1:1
    meters:
      main-water: {address: 1}
      heat-1: {address: 5, points: {energy: {quantity: energy}, power: {quantity: power}}}
"""

# By UTC 2026-10-31 23:00:00 and every 15 minutes from then on.
FIRST = 1_793_487_600.0

ENERGY = Point("heat-1.energy", "heat-1", Kind.NUMBER, "kilowatt-hours")
NOTE = Point("heat-1.note", "heat-1", Kind.TEXT)
VOLUME = Point("main-water.volume", "main-water", Kind.NUMBER, "cubic-meters")
GONE = Point("old-gas.volume", "old-gas", Kind.NUMBER, "cubic-meters")


def keep(history: History, point: Point, value: Decimal | str, at: float) -> None:
    history.last(point)
    history.keep(point.meter, {point.name: Reading(value, at, None)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    return tmp_path


@pytest.fixture
def written(folder: Path) -> Path:
    """A site with a history, as its bridge left it."""
    history = History(folder / "site.state" / "history.sqlite")
    for number in range(8):
        at = FIRST + 900 * number
        keep(history, ENERGY, Decimal("45.120") + number, at)
        keep(history, VOLUME, Decimal("1E+1"), at + 1)
    keep(history, NOTE, 'a "quoted", note\x1b[2J', FIRST + 7200)
    keep(history, GONE, Decimal(3), FIRST - DAY)
    history.close()
    return folder


def run(program: Program, folder: Path, *arguments: str) -> list[str]:
    done = program.run("history", "site.yaml", *arguments, cwd=folder)
    assert done.status == 0, done
    assert done.err == ""
    return done.out.splitlines()


def test_csv_has_every_digit_local_time_and_the_unit(program: Program, written: Path) -> None:
    rows = list(csv.reader(run(program, written, "--format", "csv", "--meter", "heat-1")))
    assert rows[0] == ["time", "meter", "point", "value", "unit", "fault"]
    local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(FIRST))
    assert rows[1][0] == f"{local[:-2]}:{local[-2:]}"
    assert rows[1][1:] == ["heat-1", "energy", "45.120", "kilowatt-hours", ""]
    assert rows[-1][1:] == ["heat-1", "note", 'a "quoted", note\x1b[2J', "", ""]
    assert len(rows) == 1 + 8 + 1


def test_rows_come_in_the_order_of_time_and_between_two_times(
    program: Program, written: Path
) -> None:
    rows = run(program, written)
    assert len(rows) == 18
    assert rows == sorted(rows)
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(FIRST + 900))
    until = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(FIRST + 2700))
    some = run(program, written, "--from", since, "--to", until, "--point", "energy")
    assert [row.split()[3:] for row in some] == [
        ["46.120", "kilowatt-hours"],
        ["47.120", "kilowatt-hours"],
    ]


def test_the_last_reading_of_each_point(program: Program, written: Path) -> None:
    rows = run(program, written, "--last")
    assert [row.split()[1:4] for row in rows] == [
        ["heat-1", "energy", "52.120"],
        ["heat-1", "note", "a"],
        ["main-water", "volume", "10"],
        ["old-gas", "volume", "3"],
    ]
    assert "\x1b" not in "".join(rows), "no escape reaches a terminal"


def test_json_is_one_array_of_exact_numbers(program: Program, written: Path) -> None:
    done = program.run("history", "site.yaml", "--format", "json", cwd=written)
    rows = simplejson.loads(done.out, use_decimal=True)
    assert len(rows) == 18
    assert rows[0]["meter"] == "old-gas"
    assert '"value": 10, "unit": "cubic-meters"' in done.out
    assert '"value": 45.120, "unit": "kilowatt-hours"' in done.out
    empty = program.run("history", "site.yaml", "-f", "json", "--from", "0s", cwd=written)
    assert simplejson.loads(empty.out) == []


def test_a_point_by_its_short_or_its_full_name_of_several_meters(
    program: Program, written: Path
) -> None:
    both = run(program, written, "--last", "--point", "volume")
    assert [row.split()[1] for row in both] == ["main-water", "old-gas"]
    full = run(program, written, "--last", "--point", "heat-1.energy", "--point", "old-gas.volume")
    assert [row.split()[1] for row in full] == ["heat-1", "old-gas"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--meter", "heat-l"], "there is no meter heat-l"),
        (["--meter", "heat-l"], "did you mean heat-1?"),
        (["--point", "enrgy"], "did you mean energy?"),
        (["--point", "heat-1.enrgy"], "did you mean heat-1.energy?"),
        (["--meter", "heat-1", "--point", "volume"], "no point volume of heat-1"),
        (["--from", "yesterday"], "'yesterday' is no time; write 2026-11-01"),
        (["--from", "2026-11-02", "--to", "2026-11-01"], "--from is not before --to"),
        (["--last", "--from", "2d"], "--last goes without --from and --to"),
    ],
)
def test_what_cannot_be_meant_is_said_with_a_suggestion(
    program: Program, written: Path, arguments: list[str], words: str
) -> None:
    done = program.run("history", "site.yaml", *arguments, cwd=written)
    assert done.status == 2
    assert done.out == ""
    assert words in done.err


def test_where_nothing_was_found_it_says_so(program: Program, written: Path) -> None:
    done = program.run("history", "site.yaml", "--from", "5m", "-f", "csv", cwd=written)
    assert (done.status, done.out) == (0, "time,meter,point,value,unit,fault\r\n")
    assert done.err.startswith("No readings fit")
    known = program.run("history", "site.yaml", "--point", "power", cwd=written)
    assert (known.status, known.out) == (0, ""), "the file has it, and it was never read"


def test_a_site_that_never_ran_has_none(program: Program, folder: Path) -> None:
    done = program.run("history", "site.yaml", cwd=folder)
    assert done.status == 1
    assert "there is no history yet" in done.err
    assert [each.name for each in folder.iterdir()] == ["site.yaml"]


def test_while_the_bridge_writes_another_user_reads(program: Program, written: Path) -> None:
    history = History(written / "site.state" / "history.sqlite")
    keep(history, ENERGY, Decimal("99.5"), FIRST + DAY)
    state = written / "site.state"
    before = sorted(each.name for each in state.iterdir())
    if os.geteuid() == 0:
        for each in state.iterdir():
            os.chown(each, 65534, 65534)
            each.chmod(0o644)
        os.chown(state, 65534, 65534)
    state.chmod(0o755)
    done = program.run("history", "site.yaml", "--last", rights=False, cwd=written)
    history.close()
    assert done.status == 0, done.err
    assert "99.5 kilowatt-hours" in done.out
    assert before == ["history.sqlite", "history.sqlite-shm", "history.sqlite-wal"]
    closed = program.run("history", "site.yaml", "--last", rights=False, cwd=written)
    assert closed.out == done.out
    assert [each.name for each in state.iterdir()] == ["history.sqlite"]


def test_a_file_that_may_not_be_read_is_said_with_its_remedy(
    program: Program, written: Path
) -> None:
    file = written / "site.state" / "history.sqlite"
    file.chmod(0)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    done = program.run("history", "site.yaml", rights=False, cwd=written)
    assert done.status == 1
    assert "give yourself the right to read it" in done.err


def test_a_reader_that_has_seen_enough_is_no_error_to_show(program: Program, folder: Path) -> None:
    history = History(folder / "site.state" / "history.sqlite")
    for number in range(3000):
        keep(history, ENERGY, Decimal(number), FIRST + number)
    history.close()
    done = program.shell(f"mbus-bacnet history {folder}/site.yaml | head -1")
    assert len(done.out.splitlines()) == 1
    assert done.err == ""


def test_a_value_that_came_with_an_error_of_the_meter_says_so(
    program: Program, folder: Path
) -> None:
    history = History(folder / "site.state" / "history.sqlite")
    history.last(ENERGY)
    history.keep("heat-1", {ENERGY.name: Reading(Decimal(7), FIRST, Fault.METER_ERROR)})
    history.close()
    for which in ((), ("--last",)):
        (text,) = run(program, folder, *which)
        assert text.endswith("7 kilowatt-hours  (the meter reports a permanent error)")
        (row,) = simplejson.loads("".join(run(program, folder, *which, "-f", "json")))
        assert row["fault"] == "the meter reports a permanent error"
    rows = list(csv.reader(run(program, folder, "-f", "csv")))
    assert rows[1][3:] == ["7", "kilowatt-hours", "the meter reports a permanent error"]


def test_the_state_folder_does_where_the_file_has_an_error(program: Program, written: Path) -> None:
    (written / "site.yaml").write_text(SITE + "nonsense: 1\n")
    refused = program.run("history", "site.yaml", cwd=written)
    assert refused.status == 2
    assert "nonsense" in refused.err
    assert "history site.state" in refused.err
    by_folder = program.run("history", "site.state", "--meter", "heat-1", "--last", cwd=written)
    assert (by_folder.status, by_folder.err) == (0, "")
    by_file = program.run(
        "history", "site.state/history.sqlite", "--meter", "heat-1", "--last", cwd=written
    )
    assert by_file.out == by_folder.out
    assert "52.120 kilowatt-hours" in by_file.out
    wrong = program.run("history", "site.state", "--meter", "heat-2", cwd=written)
    assert "did you mean heat-1" in wrong.err


def test_what_a_fault_of_the_disk_damaged_is_left_out_and_counted(
    program: Program, written: Path
) -> None:
    with closing(sqlite3.connect(written / "site.state" / "history.sqlite")) as file:
        file.execute("UPDATE answers SET body = CAST(x'7b2231223a22b1' AS TEXT) WHERE id = 1")
        file.execute("UPDATE answers SET at = 1e300 WHERE id = 3")
        file.commit()
    done = program.run("history", "site.yaml", cwd=written)
    assert done.status == 0, done
    assert len(done.out.splitlines()) == 16
    assert "2 readings could not be read, and are left out" in done.err
