from __future__ import annotations

import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.points import ledger as ledger_module
from bridge.points.ledger import (
    INSTANCES,
    VERSION,
    Feed,
    InstanceTakenError,
    Ledger,
    LedgerError,
    preferred_instance,
)


def test_an_instance_follows_from_the_name_alone() -> None:
    one, other = Ledger(None), Ledger(None)
    other.instance("analog-input", "another.point")
    assert one.instance("analog-input", "heat-1.energy") == 171181
    assert other.instance("analog-input", "heat-1.energy") == 171181


def test_object_types_number_for_themselves() -> None:
    ledger = Ledger(None)
    first = ledger.instance("analog-input", "heat-1.energy")
    assert ledger.instance("binary-input", "heat-1.energy") == first


@given(names=st.lists(st.text(min_size=1), unique=True, max_size=30), seed=st.integers())
def test_the_order_in_which_points_come_changes_nothing(names: list[str], seed: int) -> None:
    one, other = Ledger(None), Ledger(None)
    forwards = {name: one.instance("analog-input", name) for name in names}
    random.Random(seed).shuffle(names)
    assert {name: other.instance("analog-input", name) for name in names} == forwards


@settings(deadline=None)
@given(names=st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_no_two_points_share_an_instance_however_crowded(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "INSTANCES", 20)
        ledger = Ledger(None)
        instances = [ledger.instance("analog-input", name) for name in names]
    assert len(set(instances)) == len(names)
    assert all(0 <= instance < 20 for instance in instances)


def test_who_lost_a_collision_stays_where_it_is_when_the_winner_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "preferred_instance", lambda name: 7)
    ledger = Ledger(tmp_path / "ledger")
    assert ledger.instance("analog-input", "winner") == 7
    assert ledger.instance("analog-input", "loser") == 8
    ledger.close()
    again = Ledger(tmp_path / "ledger")
    assert again.instance("analog-input", "loser") == 8
    assert again.instance("analog-input", "winner") == 7


def test_the_users_own_choice_goes_before_all_else_and_can_change() -> None:
    ledger = Ledger(None)
    ledger.instance("analog-input", "heat-1.energy")
    assert ledger.instance("analog-input", "heat-1.energy", 5) == 5
    assert ledger.instance("analog-input", "heat-1.energy") == 5
    assert ledger.instance("analog-input", "heat-1.energy", 6) == 6
    assert ledger.instance("analog-input", "heat-2.energy", 5) == 5


def test_an_instance_that_belongs_to_another_point_is_refused_by_name() -> None:
    ledger = Ledger(None)
    ledger.instance("analog-input", "heat-1.energy", 5)
    with pytest.raises(
        InstanceTakenError, match=r"analog-input 5, which belongs to heat-1\.energy"
    ):
        ledger.instance("analog-input", "heat-2.energy", 5)


def test_a_configuration_may_exchange_two_instances() -> None:
    ledger = Ledger(None)
    ledger.reserve({("analog-input", "a"): 1, ("analog-input", "b"): 2}, ["a", "b"])
    ledger.reserve({("analog-input", "a"): 2, ("analog-input", "b"): 1}, ["a", "b"])
    assert ledger.instance("analog-input", "a") == 2
    assert ledger.instance("analog-input", "b") == 1


def test_a_point_that_is_gone_gives_way_to_the_users_choice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.reserve({("analog-input", "old-name"): 7}, ["old-name"])
    ledger.reserve({("analog-input", "new-name"): 7}, ["new-name"])
    ledger.close()
    assert Ledger(tmp_path / "ledger").instance("analog-input", "new-name") == 7


def test_a_point_that_is_there_gives_way_to_nobody() -> None:
    ledger = Ledger(None)
    instance = ledger.instance("analog-input", "heat-1.energy")
    with pytest.raises(InstanceTakenError, match=r"belongs to heat-1\.energy"):
        ledger.reserve({("analog-input", "other"): instance}, ["other", "heat-1.energy"])
    assert ledger.instance("analog-input", "heat-1.energy") == instance


def test_two_choices_of_one_instance_are_refused() -> None:
    with pytest.raises(InstanceTakenError):
        Ledger(None).reserve({("analog-input", "a"): 1, ("analog-input", "b"): 1})


def test_a_copy_is_read_without_the_right_to_write_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    instance = ledger.instance("analog-input", "heat-1.energy", 5)
    copies = [Ledger.copy_of(path)]
    ledger.close()
    copies.append(Ledger.copy_of(path))
    for copy in copies:
        assert copy.instance("analog-input", "heat-1.energy") == instance
        copy.instance("analog-input", "new", 6)
    assert Ledger.copy_of(path).instance("analog-input", "other", 6) == 6
    assert Ledger.copy_of(tmp_path / "missing").instance("analog-input", "x", 1) == 1


def test_the_wildcard_instance_is_never_given() -> None:
    assert INSTANCES == 4_194_303
    assert max(preferred_instance(str(n)) for n in range(10_000)) < INSTANCES


def test_what_was_handed_out_is_on_the_disk_even_when_the_caller_fails(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")

    def hand_out_and_fail() -> None:
        with ledger.transaction():
            ledger.instance("analog-input", "heat-1.energy", 5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        hand_out_and_fail()
    row = sqlite3.connect(tmp_path / "ledger").execute("SELECT instance FROM objects").fetchone()
    assert row == (5,)


def test_found_points_are_remembered_in_the_order_they_were_found(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.remember("heat-1", "volume", "{}")
    ledger.remember("heat-1", "energy", "{}")
    ledger.remember("heat-2", "energy", "{}")
    ledger.close()
    assert list(Ledger(tmp_path / "ledger").remembered("heat-1")) == ["volume", "energy"]


def test_a_file_that_is_no_ledger_is_set_aside_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"not a database, though long enough to be one" * 100)
    ledger = Ledger(path)
    assert ledger.instance("analog-input", "heat-1.energy") == 171181
    ledger.close()
    (aside,) = tmp_path.glob("ledger.damaged-*")
    assert aside.read_bytes().startswith(b"not a database")
    (record,) = caplog.records
    assert f"set aside as {aside.name}" in record.getMessage()
    assert "0 identifiers could still be read" in record.getMessage()
    assert Ledger(path).instance("analog-input", "heat-1.energy") == 171181


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


def test_identifiers_are_taken_out_of_a_damaged_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    ledger.remember("heat-1", "energy", "{}")
    ledger.close()
    damage(path, "found")
    again = Ledger(path)
    assert again.instance("analog-input", "heat-1.energy") == 5
    assert again.remembered("heat-1") == {}
    assert "1 identifiers could still be read" in caplog.text


def test_a_ledger_that_turns_out_to_be_damaged_while_in_use_is_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    damage(path, "found")
    with ledger.transaction():
        ledger.remember("heat-1", "energy", "{}")
        ledger.instance("analog-input", "heat-1.power", 6)
    ledger.close()
    again = Ledger(path)
    assert again.remembered("heat-1") == {"energy": "{}"}
    assert again.instance("analog-input", "heat-1.energy") == 5
    assert again.instance("analog-input", "heat-1.power") == 6
    assert len(caplog.records) == 1


def test_a_ledger_without_rights_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    Ledger(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LedgerError, match="another process is writing it"):
            Ledger(path)
    assert sorted(each.name for each in tmp_path.glob("*damaged*")) == []


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="the right to write it"):
        Ledger(tmp_path / "missing" / "ledger")


def test_what_feeds_a_point_and_what_a_meter_sends_is_there_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.feed("heat-1", "energy", Feed("{}", "0C06", 1))
    ledger.feed("heat-1", "energy", Feed("{}", "02FD48#2", 2, ("0406", "0C07")))
    ledger.feed("heat-2", "energy", Feed("{}", "0C06", 1))
    ledger.keep_sent("heat-1", "[]")
    ledger.keep_sent("heat-1", "[1]")
    ledger.close()
    again = Ledger(tmp_path / "ledger")
    assert again.feeds("heat-1") == {"energy": Feed("{}", "02FD48#2", 2, ("0406", "0C07"))}
    assert (again.sent("heat-1"), again.sent("heat-2")) == ("[1]", None)


def make_version_0(path: Path) -> None:
    """A ledger as it was before it kept what feeds a point."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(
        "CREATE TABLE objects ("
        " object_type TEXT NOT NULL, instance INTEGER NOT NULL, name TEXT NOT NULL,"
        " PRIMARY KEY (object_type, instance), UNIQUE (object_type, name)) STRICT"
    )
    connection.execute(
        "CREATE TABLE found ("
        " meter TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL,"
        " PRIMARY KEY (meter, name)) STRICT"
    )
    connection.execute("INSERT INTO objects VALUES ('analog-input', 5, 'heat-1.energy')")
    connection.execute("INSERT INTO found VALUES ('heat-1', 'energy', '{}')")
    connection.close()


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    make_version_0(path)
    before = path.read_bytes()
    copy = Ledger.copy_of(path)
    assert (copy.feeds("heat-1"), copy.remembered("heat-1")) == ({}, {"energy": "{}"})
    assert path.read_bytes() == before, "check writes nothing"
    ledger = Ledger(path)
    assert ledger.instance("analog-input", "heat-1.energy") == 5
    ledger.feed("heat-1", "energy", Feed("{}", "0C06", 1))
    ledger.close()
    again = Ledger(path)
    assert again.feeds("heat-1") == {"energy": Feed("{}", "0C06", 1)}
    assert again.remembered("heat-1") == {"energy": "{}"}


def test_a_ledger_of_version_1_learns_by_which_address_a_meter_answers(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.keep_sent("heat-1", "[1]")
    ledger.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE answered")
        connection.execute("PRAGMA user_version = 1")
    copy = Ledger.copy_of(path)
    assert (copy.sent("heat-1"), copy.identity("heat-1")) == ("[1]", None)
    ledger = Ledger(path)
    ledger.keep_identity("heat-1", "12345678-KAM-1B-04")
    ledger.close()
    again = Ledger(path)
    assert (again.sent("heat-1"), again.identity("heat-1")) == ("[1]", "12345678-KAM-1B-04")


def test_a_ledger_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerError, match="a later version of this program wrote"):
        Ledger(path)
    with pytest.raises(LedgerError, match="a later version of this program wrote"):
        Ledger.copy_of(path)


# A disk that fails


def spoil(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA writable_schema = ON")
        file.execute(statement)
        file.commit()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE objects SET name = CAST(x'b1' AS TEXT) WHERE instance = 6",
        "UPDATE objects SET instance = -3 WHERE instance = 6",
        "UPDATE found SET definition = CAST(x'b1' AS TEXT)",
        "UPDATE fed SET beside = CAST(x'b1' AS TEXT)",
        "UPDATE sqlite_schema SET sql = replace(sql, 'selector', CAST(x'b1' AS TEXT))",
        "UPDATE sqlite_schema SET sql = replace(sql, 'instance', 'instbnce')",
        "UPDATE sqlite_schema SET name = 'objectz', tbl_name = 'objectz' WHERE name = 'objects'",
    ],
)
def test_whatever_is_damaged_the_ledger_opens_and_gives_numbers(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    ledger.instance("analog-input", "heat-1.power", 6)
    ledger.remember("heat-1", "energy", "{}")
    ledger.feed("heat-1", "energy", Feed("{}", "0C06", 1, ("0C07",)))
    ledger.close()
    spoil(path, statement)
    copy = Ledger.copy_of(path) if "schema" not in statement else None
    again = Ledger(path)
    for each in (again, copy) if copy is not None else (again,):
        for table in (each.remembered, each.feeds, each.sent, each.identity):
            table("heat-1")
        each.instance("analog-input", "heat-1.power", 6)
        assert each.instance("analog-input", "heat-1.power") == 6
        each.keep_sent("heat-1", "x")
        each.close()


def test_an_index_that_differs_from_its_table_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    ledger.instance("analog-input", "heat-2.energy", 6)
    ledger.close()
    data = path.read_bytes()
    first = data.index(b"heat-2.energy")
    path.write_bytes(data[:first] + b"heat-3" + data[first + 6 :])
    again = Ledger(path)
    assert again.instance("analog-input", "heat-1.energy") == 5
    again.instance("analog-input", "heat-2.energy", 7)
    again.instance("analog-input", "heat-3.energy", 8)
    again.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def make_unwritable(folder: Path, trouble: str) -> None:
    if trouble == "full":
        with suppress(OSError):
            (folder / "filler").write_bytes(b"x" * 1_000_000)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def make_writable(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    (folder / "filler").unlink(missing_ok=True)


@pytest.mark.parametrize("log_is", ["merged", "there", "there without its index"])
@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_a_disk_that_cannot_be_written_at_the_start_moves_nothing(
    small_disk: Path,
    trouble: str,
    log_is: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(ledger_module, "TRY_AGAIN", 0.0)
    path = small_disk / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    if log_is != "merged":
        ends = ("", "-wal", "-shm") if log_is == "there" else ("", "-wal")
        saved = {end: Path(f"{path}{end}").read_bytes() for end in ends}
        ledger.close()
        for end, data in saved.items():
            Path(f"{path}{end}").write_bytes(data)
    else:
        ledger.close()
    make_unwritable(small_disk, trouble)
    copy = Ledger.copy_of(path)
    assert copy.instance("analog-input", "heat-1.energy") == 5
    copy.close()
    again = Ledger(path)
    assert again.instance("analog-input", "heat-1.energy") == 5
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()
    assert "a restart before that would lose them" in record.getMessage()
    with again.transaction():
        again.instance("analog-input", "heat-1.power", 6)
    assert not again.try_to_return()
    again.sync()
    make_writable(small_disk)
    assert again.try_to_return()
    again.instance("analog-input", "heat-1.volume", 7)
    again.sync()
    again.close()
    third = Ledger(path)
    for name, instance in (("energy", 5), ("power", 6), ("volume", 7)):
        assert third.instance("analog-input", f"heat-1.{name}") == instance
    third.close()
    assert len(caplog.records) == 2


def test_a_disk_that_is_full_while_it_runs_loses_nothing_that_was_given(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "TRY_AGAIN", 0.0)
    path = small_disk / "ledger"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    make_unwritable(small_disk, "full")
    with ledger.transaction():
        for number in range(500):
            ledger.remember("heat-1", f"point-{number}", "x" * 100)
    assert len(ledger.remembered("heat-1")) == 500
    make_writable(small_disk)
    ledger.close()  # tries once more
    assert len(Ledger(path).remembered("heat-1")) == 500


def test_a_ledger_that_is_not_there_and_cannot_be_made_is_an_error(small_disk: Path) -> None:
    make_unwritable(small_disk, "read-only")
    with pytest.raises(LedgerError, match="the right to write it"):
        Ledger(small_disk / "ledger")
    make_writable(small_disk)


def test_what_is_lost_with_a_disk_that_stays_full_is_said_at_the_end(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = small_disk / "ledger"
    Ledger(path).close()
    make_unwritable(small_disk, "read-only")
    ledger = Ledger(path)
    with ledger.transaction():
        pass
    ledger.close()
    assert len(caplog.records) == 1, "nothing was new"
    ledger = Ledger(path)
    ledger.instance("analog-input", "heat-1.energy", 5)
    ledger.close()
    assert "points that were new since then are lost" in caplog.records[-1].getMessage()
    make_writable(small_disk)


def test_a_ledger_that_somebody_removes_is_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "ledger.sqlite"
    path.parent.mkdir()
    ledger = Ledger(path)
    first = ledger.instance("analog-input", "heat.energy")
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    assert ledger.try_to_return()
    assert "somebody removed the file" in caplog.text
    second = ledger.instance("analog-input", "heat.power")
    ledger.close()
    again = Ledger(path)
    assert again.instance("analog-input", "heat.energy") == first
    assert again.instance("analog-input", "heat.power") == second
    again.close()
