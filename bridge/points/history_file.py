"""The file of the history, as the one who writes it sees it: SQL, and no thread, queue or clock.

Two connections: the writer's is for the event loop, which must never wait for the disk; the
tidier's is for the thread that looks after the file. Who calls what ``commits`` holds the lock of
`bridge.points.history.History`; all else may be called while the other one writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from bridge.points.database import (
    DamagedError,
    lenient,
    quick_check,
    reading_what_may_be_damaged,
    sync_file,
)
from bridge.points.records import (
    APPLICATION_ID,
    TABLES,
    VERSION,
    Key,
    compact,
    is_time,
    last_written,
    numbered,
    object_of,
)

# How long either connection waits for another process that writes, in seconds. There is none, but
# for somebody who makes a copy.
BUSY_TIMEOUT = 0.02

# A commit writes whole pages into the log, the answer's own and one of the index at the least. Of
# 20 points, measured: 6.3 kB for each answer, and 10.6 with SQLite's own 4096, for the same file in
# the end. With 1024 it would be 4.4, and the file larger by a fifth.
PAGE_SIZE = 2048

# Where nobody knows any more which answers are kept apart, so many are looked through again.
LOOK_BACK = 10_000

_INSERT = "INSERT INTO answers (meter, at, body) VALUES (?, ?, ?)"


Written = str | bool | list[str | bool]  # a value as JSON has it, see `encode_reading`


class Answer(NamedTuple):
    """Values of one answer that are kept: each with its point, as written, and its resolution."""

    meter: str
    at: float
    values: tuple[tuple[Key, Written, Decimal | None], ...]


class LastValue(NamedTuple):
    """The last value of a point: when, as written, and its resolution."""

    at: float
    written: object
    resolution: Decimal | None


class Apart(NamedTuple):
    """What `HistoryFile.keep_apart` is to write: bodies by meter, the last answer, how many."""

    last: list[tuple[int, str]]
    upto: int
    answers: int


class HistoryFile:
    """The connections to one file, and the numbers of its meters and points."""

    def __init__(self, path: Path) -> None:
        """Open the file; make it, and its folder, where they are missing.

        Raises:
            sqlite3.Error: it cannot be used; `bridge.points.database.is_damage` tells why.
        """
        self._path = path
        self._log = Path(f"{path}-wal")
        self._meters: dict[str, int] = {}
        self._points: dict[Key, int] = {}
        self._resolutions: dict[Key, Decimal | None] = {}
        self._unsynced = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise sqlite3.OperationalError(
                f"its folder cannot be made: {error.strerror}"
            ) from error
        with reading_what_may_be_damaged(path):
            self._writer = _connect(path)
            try:
                self._prepare()
                self._tidier = _connect(path)
                found = path.stat()
            except OSError as error:
                self._writer.close()
                raise sqlite3.OperationalError(str(error)) from error
            except BaseException:
                self._writer.close()
                raise
        self._inode = found.st_dev, found.st_ino

    def _prepare(self) -> None:
        writer = self._writer
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        if not pages:
            # Only a file without tables can still be given these.
            writer.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
        writer.execute("PRAGMA journal_mode = WAL")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        (application,) = writer.execute("PRAGMA application_id").fetchone()
        (tables,) = writer.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if not version and not application and not tables:
            self._commit(
                writer,
                [
                    *((statement, [()]) for statement in TABLES),
                    (f"PRAGMA application_id = {APPLICATION_ID}", [()]),
                    (f"PRAGMA user_version = {VERSION}", [()]),
                ],
            )
        elif application != APPLICATION_ID:
            raise DamagedError("it is a database of another program")
        elif version > VERSION:
            raise DamagedError("a later version of this program wrote it")

    def load(self, last: dict[Key, LastValue], counters: dict[str, dict[str, int]]) -> None:
        """Learn the numbers, and put what is kept into ``last`` and ``counters``.

        What stands there already is newer. Where the file turns out to be damaged, what could be
        read stands there all the same.

        Raises:
            sqlite3.Error: the file cannot be read, or is damaged.
        """
        with reading_what_may_be_damaged(self._path):
            self._mend_upto()
            found = load(self._writer, last, counters)
            self._meters, self._points, self._resolutions = found
            quick_check(self._writer, self._path)

    def _mend_upto(self) -> None:
        """What a fault of the disk left there must not hide every answer from now on."""
        (newest,) = self._writer.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()
        upto = self._writer.execute("SELECT value FROM meta WHERE name = 'upto'").fetchone()
        # The newest answer that is kept apart always stays, so that its number is not given again.
        if upto is not None and type(upto[0]) is int and 0 <= upto[0] <= newest:
            return
        if type(newest) is not int:
            raise DamagedError("an answer has no number")
        again = max(0, newest - LOOK_BACK)
        self._commit(self._writer, [("INSERT OR REPLACE INTO meta VALUES ('upto', ?)", [(again,)])])

    def close(self) -> None:
        """Close the file. The last one who has it open merges the log."""
        for connection in (self._tidier, self._writer):
            with suppress(sqlite3.Error):
                connection.close()

    def is_removed(self) -> bool:
        """Whether the file is no longer where it was, or another stands there."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return (found.st_dev, found.st_ino) != self._inode

    def save_to(self, path: Path) -> None:
        """Write all that is in the file into another: what was removed can still be read.

        Raises:
            OSError: the folder cannot be made.
            sqlite3.Error: the other file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        other = sqlite3.connect(path)
        try:
            self._tidier.backup(other)
        finally:
            other.close()

    # Commits of the event loop

    def write(self, answers: Collection[Answer]) -> None:
        """Commit answers, all or none.

        Raises:
            sqlite3.Error: none of them is written.
        """
        if len(answers) == 1:
            (answer,) = answers
            if (row := self._known_row(answer)) is not None:
                self._writer.execute(_INSERT, row)
                self._unsynced = True
                return
        self._commit_numbered(
            lambda: self._writer.executemany(_INSERT, [self._row(each) for each in answers])
        )

    def _known_row(self, answer: Answer) -> tuple[int, float, str] | None:
        """An answer as a row; None where there is something new in it."""
        points, resolutions = self._points, self._resolutions
        values: dict[int, Written] = {}
        try:
            meter = self._meters[answer.meter]
            for key, written, resolution in answer.values:
                if resolutions[key] != resolution:
                    return None
                values[points[key]] = written
        except KeyError:
            return None
        return meter, answer.at, compact(values)

    def _row(self, answer: Answer) -> tuple[int, float, str]:
        meter = self._meter(answer.meter)
        values = {
            self._point(meter, key, resolution): written
            for key, written, resolution in answer.values
        }
        return meter, answer.at, compact(values)

    def write_last(
        self,
        last: Mapping[Key, LastValue],
        meters: Mapping[Key, str],
        counters: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Commit what the memory has: a new file begins with it.

        Args:
            last: the last value of each point.
            meters: whose point it is; by its name, where that is missing.
            counters: by name.

        Raises:
            sqlite3.Error: nothing of it is written.
        """

        def write() -> None:
            by_meter: dict[int, dict[int, tuple[float, object]]] = {}
            for key, (at, written, resolution) in last.items():
                meter = self._meter(meters.get(key, key.name.rpartition(".")[0]))
                number = self._point(meter, key, resolution)
                by_meter.setdefault(meter, {})[number] = at, written
            self._writer.executemany(
                "INSERT OR REPLACE INTO last (meter, body) VALUES (?, ?)",
                [(meter, compact(values)) for meter, values in by_meter.items()],
            )
            self._writer.executemany(
                "INSERT OR REPLACE INTO counters (name, body) VALUES (?, ?)",
                [(name, compact(dict(counts))) for name, counts in counters.items()],
            )

        self._commit_numbered(write)

    def _commit_numbered(self, write: Callable[[], object]) -> None:
        """Commit, and forget the numbers that were given on the way where that fails."""
        numbers = dict(self._meters), dict(self._points), dict(self._resolutions)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            write()
            self._writer.execute("COMMIT")
        except BaseException:
            self._meters, self._points, self._resolutions = numbers
            with suppress(sqlite3.Error):
                self._writer.rollback()
            raise
        self._unsynced = True

    def _meter(self, name: str) -> int:
        number = self._meters.get(name)
        if number is None:
            made = self._writer.execute("INSERT INTO meters (name) VALUES (?)", (name,))
            number = self._meters[name] = _number_of(made)
        return number

    def _point(self, meter: int, key: Key, resolution: Decimal | None) -> int:
        step = None if resolution is None else str(resolution)
        number = self._points.get(key)
        if number is None:
            made = self._writer.execute(
                "INSERT INTO points (name, kind, unit, origin, meter, resolution)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*key, meter, step),
            )
            number = self._points[key] = _number_of(made)
        elif self._resolutions[key] != resolution:
            self._writer.execute("UPDATE points SET resolution = ? WHERE id = ?", (step, number))
        self._resolutions[key] = resolution
        return number

    # Commits of the thread

    def touch(self) -> None:
        """Commit a change that changes nothing: to see whether that is possible.

        Raises:
            sqlite3.Error: it is not.
        """
        self._commit(self._tidier, [("UPDATE meta SET value = value WHERE name = 'upto'", [()])])

    def write_counters(self, counters: Mapping[str, Mapping[str, int]]) -> None:
        """Commit counters by name.

        Raises:
            sqlite3.Error: none of them is written.
        """
        rows = [(name, compact(dict(counts))) for name, counts in counters.items()]
        self._commit(
            self._tidier,
            [("INSERT OR REPLACE INTO counters (name, body) VALUES (?, ?)", rows)],
        )

    def keep_apart(self, apart: Apart) -> None:
        """Commit what `look_for_last` found.

        Raises:
            sqlite3.Error: nothing of it is written.
        """
        self._commit(
            self._tidier,
            [
                ("INSERT OR REPLACE INTO last (meter, body) VALUES (?, ?)", apart.last),
                ("UPDATE meta SET value = ? WHERE name = 'upto'", [(apart.upto,)]),
            ],
        )

    def delete(self, numbers: Iterable[int]) -> None:
        """Commit that these answers are gone.

        Raises:
            sqlite3.Error: none of them is.
        """
        rows = [(number,) for number in numbers]
        self._commit(self._tidier, [("DELETE FROM answers WHERE id = ?", rows)])

    def give_back(self, pages: int) -> None:
        """Make the file smaller, by so many of its free pages.

        Raises:
            sqlite3.Error: it is as it was.
        """
        # Each step of this statement frees one page, and `execute` would take one step.
        self._tidier.executescript(f"PRAGMA incremental_vacuum({pages})")
        self._unsynced = True

    def empty_log(self) -> None:
        """Merge the rest of the log, and begin it anew; later, where somebody reads just now.

        Raises:
            sqlite3.Error: the log is as it was.
        """
        (busy, _, _) = self._tidier.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            # The first to write into an empty log waits for the disk: better here.
            self.touch()

    def _commit(
        self, connection: sqlite3.Connection, statements: Iterable[tuple[str, Iterable[Any]]]
    ) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in statements:
                for row in rows:
                    connection.execute(statement, row)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.rollback()
            raise
        self._unsynced = True

    # What the thread does while the event loop goes on

    def sync(self) -> None:
        """Bring the log to the disk.

        Raises:
            OSError: that cannot be done.
        """
        if not self._unsynced:
            return
        self._unsynced = False
        sync_file(self._log)

    def look_for_last(self, most: int) -> Apart | None:
        """What the next answers make of the last values; None where nothing came since.

        Args:
            most: answers to look at.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        rows = self._tidier.execute(
            "SELECT id, meter, at, body FROM answers"
            " WHERE id > (SELECT value FROM meta WHERE name = 'upto') ORDER BY id LIMIT ?",
            (most,),
        ).fetchall()
        if not rows:
            return None
        by_meter: dict[int, dict[int, Any]] = {}
        for _, meter, at, body in rows:
            if type(meter) is not int or not is_time(at):
                continue  # a fault of the disk
            if meter not in by_meter:
                found = self._tidier.execute(
                    "SELECT body FROM last WHERE meter = ?", (meter,)
                ).fetchone()
                by_meter[meter] = numbered(found[0]) if found else {}
            for number, written in numbered(body).items():
                by_meter[meter][number] = at, written
        last = [(meter, compact(values)) for meter, values in by_meter.items()]
        return Apart(last, rows[-1][0], len(rows))

    def oldest(self, most: int) -> list[int]:
        """So many of the answers that were written first.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        # What is not kept apart yet must stay, and one more: a number is not given twice.
        return self._numbers(
            "SELECT id FROM answers WHERE id < (SELECT value FROM meta WHERE name = 'upto')"
            " ORDER BY id LIMIT ?",
            (most,),
        )

    def older_than(self, limit: float, most: int) -> list[int]:
        """So many of the answers before ``limit``, seconds since 1970, wherever they stand.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        return self._numbers(
            "SELECT answers.id FROM meters CROSS JOIN answers"
            " ON answers.meter = meters.id AND answers.at < ?"
            " WHERE answers.id < (SELECT value FROM meta WHERE name = 'upto') LIMIT ?",
            (limit, most),
        )

    def has_between(self, since: float, until: float) -> bool:
        """Whether there is an answer of that time, seconds since 1970.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        return bool(
            self._numbers(
                "SELECT answers.id FROM meters CROSS JOIN answers"
                " ON answers.meter = meters.id AND answers.at >= ? AND answers.at < ? LIMIT 1",
                (since, until),
            )
        )

    def _numbers(self, statement: str, values: tuple[object, ...]) -> list[int]:
        return [number for (number,) in self._tidier.execute(statement, values).fetchall()]

    def used(self) -> int:
        """Bytes of the file that are in use.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def free_pages(self) -> tuple[int, int]:
        """How many pages of the file are free, and how many there are.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        return self._pragma("freelist_count"), self._pragma("page_count")

    def log_size(self) -> int:
        """Bytes of the log."""
        try:
            return self._log.stat().st_size
        except FileNotFoundError:
            return 0

    def merge_log(self) -> None:
        """Merge the log into the file, as far as nobody else uses it; this waits for the disk.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        self._tidier.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _pragma(self, name: str) -> int:
        (value,) = self._tidier.execute(f"PRAGMA {name}").fetchone()
        return int(value)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = lenient
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


class Numbers(NamedTuple):
    """What a file calls its meters and points, and the points' resolutions."""

    meters: dict[str, int]
    points: dict[Key, int]
    resolutions: dict[Key, Decimal | None]


def load(
    connection: sqlite3.Connection,
    last: dict[Key, LastValue],
    counters: dict[str, dict[str, int]],
) -> Numbers:
    """Learn the numbers, and put what is kept into ``last`` and ``counters``.

    As `HistoryFile.load`.

    Raises:
        sqlite3.Error: the file cannot be read, or is damaged.
    """
    execute = connection.execute
    meters: dict[str, int] = {
        name: number
        for name, number in execute("SELECT name, id FROM meters")
        if isinstance(name, str)
    }
    points: dict[Key, int] = {}
    resolutions: dict[Key, Decimal | None] = {}
    keys: dict[int, Key] = {}
    for number, *names, step in execute(
        "SELECT id, name, kind, unit, origin, resolution FROM points"
    ):
        if not all(isinstance(each, str) for each in names):
            continue  # a fault of the disk: it gets another number
        key = keys[number] = Key(*names)
        points[key] = number
        resolutions[key] = _decimal_or_none(step)
    newer = dict(last)
    try:
        for at, number, written in last_written(execute):
            if (found := keys.get(number)) is not None:
                last[found] = LastValue(at, written, resolutions[found])
    finally:
        last.update(newer)
    for name, body in execute("SELECT name, body FROM counters"):
        counts = {each: n for each, n in object_of(body).items() if type(n) is int and n >= 0}
        counters.setdefault(name, counts)
    return Numbers(meters, points, resolutions)


def _number_of(made: sqlite3.Cursor) -> int:
    assert made.lastrowid is not None
    return made.lastrowid


def _decimal_or_none(text: object) -> Decimal | None:
    try:
        step = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        return None
    return step if step is not None and step.is_finite() else None
