"""The history as it stands in its file: how values are written, and reading them back.

One row of the table ``answers`` is one answer of a meter: when, and a JSON object from the number
of each point to its value, as text with all its digits; with a fault that the meter reported
beside it, both are in a list. ``points`` says what the numbers mean. A point whose kind, unit or
origin (meter, record, factor) changes gets another number, so that old values keep theirs. ``last``
has the last value of each point as it was after the answer ``upto`` (in ``meta``); what came later
stands in ``answers``.

What a fault of the disk left is passed over, one answer or one value at a time, and counted.
"""

from __future__ import annotations

import datetime
import heapq
import json
import math
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple, Self

from bridge.errors import BridgeError
from bridge.points.database import (
    connect_to_read,
    connect_to_rescue,
    is_damage,
    is_unwritable,
    reading_what_may_be_damaged,
    remedy,
)
from bridge.points.reading import KEPT_FAULTS, Fault, Kind, Value

# The file's PRAGMA user_version, and its application_id: "MBbh".
VERSION = 1
APPLICATION_ID = 0x4D426268

TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT",
    "CREATE TABLE meters (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE points ("
    " id INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL,"
    " origin TEXT NOT NULL, meter INTEGER NOT NULL REFERENCES meters (id), resolution TEXT,"
    " UNIQUE (name, kind, unit, origin)) STRICT",
    "CREATE TABLE answers ("
    " id INTEGER PRIMARY KEY, meter INTEGER NOT NULL REFERENCES meters (id), at REAL NOT NULL,"
    " body TEXT NOT NULL) STRICT",
    "CREATE INDEX answers_of_meter ON answers (meter, at)",
    "CREATE TABLE last ("
    " meter INTEGER PRIMARY KEY REFERENCES meters (id), body TEXT NOT NULL) STRICT",
    "CREATE TABLE counters (name TEXT PRIMARY KEY NOT NULL, body TEXT NOT NULL) STRICT",
    "INSERT INTO meta VALUES ('upto', 0)",
)

# How many answers are held in memory at a time, over all meters, while a history is read. Between
# two lots the file is free for the bridge to tidy up.
_LOT = 10_000
_SMALLEST_LOT = 8

# Times of a year from 2 to 9998, in seconds since 1970: `datetime` can say them in every zone.
_EARLIEST, _LATEST = -62_000_000_000.0, 253_300_000_000.0


_ANSWERS = (
    "SELECT at, id, meter, body FROM answers {}"
    " WHERE meter = ? AND (at, id) > (?, ?) AND at < ? ORDER BY at, id LIMIT ?"
)


class HistoryError(BridgeError):
    """The history cannot be read."""


class DamagedHistoryError(HistoryError):
    """A fault of the disk keeps the history from being read."""


class Row(NamedTuple):
    """One value of the history; ``at`` is seconds since 1970, ``point`` the full name.

    ``fault`` is what the meter reported about itself in the same answer.
    """

    at: float
    meter: str
    point: str
    value: Value
    unit: str
    fault: Fault | None = None


class Key(NamedTuple):
    """What a number in an answer stands for."""

    name: str
    kind: str
    unit: str
    origin: str = ""


def encode_value(value: Value) -> str | bool:
    """A value for JSON, with all that it says."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return value.isoformat()


def decode_value(kind: str, written: object) -> Value:
    """The value again, exactly.

    Raises:
        ValueError: this is no value of that kind.
    """
    if kind == Kind.BOOLEAN:
        if isinstance(written, bool):
            return written
        raise ValueError(f"{written!r} is no {kind}")
    if not isinstance(written, str):
        raise ValueError(f"{written!r} is no {kind}")
    decode = _DECODERS.get(kind)
    if decode is None:
        raise ValueError(f"there is no kind {kind!r}")
    return decode(written)


def encode_reading(value: Value, fault: Fault | None) -> str | bool | list[str | bool]:
    """A value for JSON, with the fault that came with it, one of `KEPT_FAULTS`."""
    written = encode_value(value)
    return written if fault is None else [written, fault.name]


def decode_reading(kind: str, written: object) -> tuple[Value, Fault | None]:
    """The value again, exactly, and the fault that came with it.

    Raises:
        ValueError: this is no value of that kind, or no such fault.
    """
    if not isinstance(written, list):
        return decode_value(kind, written), None
    if len(written) != 2:
        raise ValueError(f"{written!r} is no value with its fault")
    fault = next((each for each in KEPT_FAULTS if each.name == written[1]), None)
    if fault is None:
        raise ValueError(f"{written[1]!r} is no fault that is kept")
    return decode_value(kind, written[0]), fault


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is no number") from None


_DECODERS: dict[str, Callable[[str], Value]] = {
    Kind.NUMBER: _number,
    Kind.TEXT: str,
    Kind.DATE: datetime.date.fromisoformat,
    Kind.TIME: datetime.time.fromisoformat,
    Kind.DATE_TIME: datetime.datetime.fromisoformat,
}


def compact(what: object) -> str:
    """A JSON object for the file, with its checksum: SQLite has none, and a digit is soon another.

    Args:
        what: an object, whose names `json.dumps` can write.
    """
    text = json.dumps(what, separators=(",", ":"))
    if text == "{}":
        return text
    return f'{text[:-1]}{_SEAL}{zlib.crc32(text.encode()):08x}"}}'


_SEAL = ',"crc":"'
_SEAL_SIZE = len(_SEAL) + 10


def object_of(text: object) -> dict[str, Any]:
    """A JSON object from the file; empty where a fault of the disk left something else."""
    # All that is ever written is ASCII.
    if not isinstance(text, str) or not text.isascii():
        return {}
    body, seal = text[:-_SEAL_SIZE], text[-_SEAL_SIZE:]
    if seal.startswith(_SEAL):  # not so in what an earlier version wrote
        text = f"{body}}}"
        if seal != f'{_SEAL}{zlib.crc32(text.encode()):08x}"}}':
            return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def numbered(body: object) -> dict[int, Any]:
    """An object whose names are numbers of points."""
    return {
        int(number): value
        for number, value in object_of(body).items()
        if number.isdecimal() and len(number) < 19
    }


def is_time(at: object) -> bool:
    """Whether this is a time that `datetime` can say."""
    return isinstance(at, float | int) and not isinstance(at, bool) and _EARLIEST < at < _LATEST


class Known(NamedTuple):
    """A point as the history knows it."""

    meter: str
    key: Key


class Records:
    """A history's file, open to be read while a bridge writes it."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            HistoryError: it is not there, cannot be read, or is no history.
        """
        self._path = path
        self._log = Path(f"{path}-wal")
        self.skipped = 0  # answers and values that a fault of the disk made unreadable, so far
        if not path.exists():
            raise HistoryError(f"{path}: there is no history yet; the bridge writes it as it reads")
        self._open()

    def _open(self) -> None:
        self._merged = not self._log.exists()
        try:
            with reading_what_may_be_damaged(None):
                try:
                    version, application = self._connect(connect_to_read)
                except sqlite3.OperationalError as error:
                    # Nothing can be made beside it: the folder is read-only, or the disk is full.
                    # A bridge that has it open has made it.
                    if not is_unwritable(error) or Path(f"{self._path}-shm").exists():
                        raise
                    version, application = self._connect(connect_to_rescue)
        except sqlite3.Error as error:
            raise self._explain(error) from error
        if application != APPLICATION_ID or version > VERSION:
            self.close()
            raise HistoryError(
                f"{self._path}: "
                + (
                    "a later version of this program wrote the history; read it with that one"
                    if application == APPLICATION_ID
                    else "this is no history of a bridge"
                )
            )

    def _connect(self, connect: Callable[[Path], sqlite3.Connection]) -> tuple[int, int]:
        self._connection = connect(self._path)
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            self._connection.close()
            raise
        return version, application

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def points(self) -> list[Known]:
        """All points that have a value, each with its meter, in the order of their names."""
        return sorted(self._points().values())

    def meters(self) -> list[str]:
        """All meters that have ever answered, in the order of their names."""
        return sorted(str(name) for (name,) in self._rows("SELECT name FROM meters"))

    def readings(
        self,
        meter: str | Collection[str] | None = None,
        point: str | Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Row]:
        """Values in the order of time, taken from the file little by little.

        What cannot be read among them is counted in ``skipped``.

        Args:
            meter: of these meters only.
            point: of these points only, by their full names.
            since: not earlier than that, seconds since 1970.
            until: earlier than that.

        Raises:
            HistoryError: the file cannot be read.
        """
        meters = {
            int(number): str(name)
            for number, name in self._rows("SELECT id, name FROM meters")
            if _is_wanted(str(name), meter)
        }
        wanted = {
            number: known.key
            for number, known in self._points().items()
            if _is_wanted(known.key.name, point)
        }
        if point is not None:
            of_point = {
                known.meter for known in self._points().values() if known.key in wanted.values()
            }
            meters = {number: name for number, name in meters.items() if name in of_point}
        since = -math.inf if since is None else since
        until = math.inf if until is None else until
        lot = max(_SMALLEST_LOT, _LOT // max(1, len(meters)))
        answers = heapq.merge(
            *(self._answers(number, since, until, lot) for number in meters),
            key=lambda answer: answer[:2],
        )
        for at, _, number, body in answers:
            values = numbered(body)
            if not values:
                self.skipped += 1
            for point_number, written in values.items():
                key = wanted.get(point_number)
                if key is None:
                    if point_number in self._known:
                        continue
                    # It came while this was being read.
                    known = self._points().get(point_number)
                    if known is None or not _is_wanted(known.key.name, point):
                        continue
                    key = wanted[point_number] = known.key
                try:
                    value, fault = decode_reading(key.kind, written)
                except ValueError:
                    self.skipped += 1  # which leaves the others as they are
                    continue
                yield Row(at, meters[number], key.name, value, key.unit, fault)

    def last(
        self, meter: str | Collection[str] | None = None, point: str | Collection[str] | None = None
    ) -> list[Row]:
        """The last value of each point, in the order of meters and points.

        Raises:
            HistoryError: the file cannot be read.
        """
        found: dict[int, tuple[float, object]] = {}
        # The bridge may keep last values apart between one statement and the next.
        with self._one_view():
            points = self._points()
            for at, number, written in self.last_written():
                found[number] = at, written
        rows: dict[str, Row] = {}
        for number, (at, written) in found.items():
            known = points.get(number)
            if known is None:
                continue
            if not _is_wanted(known.meter, meter) or not _is_wanted(known.key.name, point):
                continue
            try:
                value, fault = decode_reading(known.key.kind, written)
            except ValueError:
                self.skipped += 1
                continue
            row = Row(at, known.meter, known.key.name, value, known.key.unit, fault)
            # In two units, one is of before the configuration was changed.
            if row.point not in rows or rows[row.point].at < at:
                rows[row.point] = row
        return sorted(rows.values(), key=lambda row: (row.meter, row.point))

    def last_written(self) -> Iterator[tuple[float, int, object]]:
        """Time, number of the point, value as written; the last of each may come after others."""
        yield from last_written(self._rows)

    def _points(self) -> dict[int, Known]:
        rows = self._rows(
            "SELECT points.id, meters.name, points.name, kind, unit, origin"
            " FROM points JOIN meters ON meters.id = points.meter"
        )
        self._known = {
            number: Known(meter, Key(name, kind, unit, origin))
            for number, meter, name, kind, unit, origin in rows
            if all(isinstance(each, str) for each in (meter, name, kind, unit, origin))
        }
        return self._known

    def _answers(
        self, meter: int, since: float, until: float, lot: int
    ) -> Iterator[tuple[float, int, int, str]]:
        at, number = since, -1
        how = ""
        while True:
            values = meter, at, number, until, lot
            try:
                rows = self._rows(_ANSWERS.format(how), values)
            except DamagedHistoryError:
                if how:
                    raise
                # It may be the index alone. Each lot takes a look at every row from now on.
                how = "NOT INDEXED"
                rows = self._rows(_ANSWERS.format(how), values)
            for row in rows:
                if is_time(row[0]) and row[2] == meter:
                    yield row
                else:
                    self.skipped += 1
            if len(rows) < lot:
                return
            at, number, _, _ = rows[-1]

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        if self._merged and self._log.exists() and not self._connection.in_transaction:
            # A bridge has begun to write what nobody wrote when this was opened.
            self.close()
            self._open()
        try:
            with reading_what_may_be_damaged(None):
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    @contextmanager
    def _one_view(self) -> Iterator[None]:
        """All that is read inside is of one moment."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                self._connection.rollback()

    def _explain(self, error: sqlite3.Error) -> HistoryError:
        what = f"{self._path}: the history cannot be read ({error})"
        if is_damage(error):
            return DamagedHistoryError(f"{what}; the bridge sets it aside when it comes upon that")
        words = remedy(error, "check the file").replace(
            "the user that runs the bridge the right to write", "yourself the right to read"
        )
        return HistoryError(f"{what}; {words}")


def last_written(
    rows: Callable[[str, tuple[object, ...]], Any],
) -> Iterator[tuple[float, int, object]]:
    """The last value of each point: what is kept as such, then what was written since.

    Args:
        rows: executes a statement.
    """
    for (body,) in rows("SELECT body FROM last", ()):
        for number, pair in numbered(body).items():
            if isinstance(pair, list) and len(pair) == 2 and is_time(pair[0]):
                yield float(pair[0]), number, pair[1]
    for at, body in rows(
        "SELECT at, body FROM answers"
        " WHERE id > (SELECT value FROM meta WHERE name = 'upto') ORDER BY id",
        (),
    ):
        if is_time(at):
            for number, written in numbered(body).items():
                yield at, number, written


def _is_wanted(name: str, wanted: str | Collection[str] | None) -> bool:
    if wanted is None:
        return True
    return name == wanted if isinstance(wanted, str) else name in wanted
