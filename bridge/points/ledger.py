"""What must not move: which instance number belongs to which point, and which points were found.

A number follows from the point's name, by its SHA-256, so that the same configuration gives the
same numbers on every machine, with or without this file. Where two names come to the same number,
the later one takes the next free; the ledger remembers that, so that nothing moves when a point is
added, removed or renamed beside it. Numbers of points that are gone stay theirs: a BMS may still
hold them, and the meter may come back.

Points that nobody wrote down are made from a meter's first answer. They are remembered too, so that
a meter which is silent when the bridge starts again is a meter in fault, not one without objects.
Beside them stands which record feeds each point, which records each meter sent when they last
changed, for `check`, and by which address each meter answered, to tell another in its place.

A damaged file is set aside and a new one begun, with all identifiers that could still be read. The
rest comes again: numbers from names, all else from the meters' next answers.

A file that can be read but not written, because its disk is full or was made read-only, is copied
into memory, so that the bridge serves what it always served. What is new then is written when the
file can be.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bridge.errors import BridgeError
from bridge.points.database import (
    connect_to_read,
    connect_to_rescue,
    is_damage,
    is_unwritable,
    lenient,
    quick_check,
    reading_what_may_be_damaged,
    remedy,
    set_aside,
    sync_file,
)

log = logging.getLogger(__name__)

# ASHRAE 135, 12.1.1: 22 bits, of which the highest is the wildcard.
INSTANCES = 4_194_303


# The log is merged into the file when it has so many bytes.
LOG_SIZE = 1_000_000

# How long to wait for another process that writes, in seconds. The event loop waits, too.
BUSY_TIMEOUT = 0.2

# A file that could not be written is tried again after so many seconds.
TRY_AGAIN = 60.0

# The file's PRAGMA user_version. 0 is a file without the tables `fed` and `sent`, 1 is one without
# `answered`.
VERSION = 2

_TABLES = (
    "CREATE TABLE IF NOT EXISTS objects ("
    " object_type TEXT NOT NULL, instance INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY (object_type, instance), UNIQUE (object_type, name)) STRICT",
    "CREATE TABLE IF NOT EXISTS found ("
    " meter TEXT NOT NULL, name TEXT NOT NULL, definition TEXT NOT NULL,"
    " PRIMARY KEY (meter, name)) STRICT",
    "CREATE TABLE IF NOT EXISTS fed ("
    " meter TEXT NOT NULL, name TEXT NOT NULL, selector TEXT NOT NULL, record TEXT NOT NULL,"
    " equals INTEGER NOT NULL, beside TEXT NOT NULL,"
    " PRIMARY KEY (meter, name)) STRICT",
    "CREATE TABLE IF NOT EXISTS sent ("
    " meter TEXT PRIMARY KEY NOT NULL, records TEXT NOT NULL) STRICT",
    "CREATE TABLE IF NOT EXISTS answered ("
    " meter TEXT PRIMARY KEY NOT NULL, address TEXT NOT NULL) STRICT",
)
# Version 0 counted equal records there; a key counts its own.
_FROM_VERSION_0 = "DELETE FROM found WHERE meter LIKE '%:counts'"


# What a transaction begins and ends with writes nothing by itself.
_BOUNDS = ("BEGIN IMMEDIATE", "COMMIT")


class LedgerError(BridgeError):
    """The ledger cannot be read or written, or contradicts the configuration."""


class InstanceTakenError(LedgerError):
    """The user's own choice of an instance number belongs to another point."""

    def __init__(self, object_type: str, instance: int, name: str, owner: str) -> None:
        super().__init__(
            f"{name} asks for {object_type} {instance}, which belongs to {owner}; choose another "
            "instance for one of the two"
        )
        self.object_type = object_type
        self.instance = instance
        self.name = name
        self.owner = owner


class Feed(NamedTuple):
    """Which record feeds a point.

    ``selector`` is what the point asked for when that was settled, as text; ``record`` the key of
    the record, ``equals`` how many records with its DIB and VIB the meter sends, ``beside`` the
    keys of others that would fit as well.
    """

    selector: str
    record: str
    equals: int
    beside: tuple[str, ...] = ()


def preferred_instance(name: str) -> int:
    """The instance number that a name asks for: 0 to 4194302."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:3], "big") % INSTANCES


class Ledger:
    """The table of (object type, point name) to instance, in an SQLite file or in memory."""

    def __init__(self, path: Path | None) -> None:
        """Open the ledger; ``path`` None keeps it in memory, which suits a demonstration.

        A damaged file is set aside, and a new one begun. One that is there, and can be read but
        not written, is copied into memory; see `try_to_return`.

        Raises:
            LedgerError: the file cannot be opened, or a later version of this program wrote it.
        """
        self._path = path
        self._unwritable: sqlite3.Error | None = None  # why the file is copied into memory
        self._is_new = False  # something is in that copy which the file has not
        self._try_at = 0.0
        # What the present transaction has written, to be written again where the file fails.
        self._transaction: list[tuple[str, tuple[object, ...]]] = []
        self._instances: dict[tuple[str, str], int] = {}
        self._owners: dict[tuple[str, int], str] = {}
        self._unsynced = False  # something was written that the disk may not have
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            if path is None or not self._copy_into_memory(path, error):
                raise _explain(path, error) from error
            return
        try:
            self._open()
        except sqlite3.Error as error:
            if path is not None and self._copy_into_memory(path, error):
                return
            self._begin_anew(error)
        except BaseException:
            self._connection.close()
            raise

    def _copy_into_memory(self, path: Path, error: sqlite3.Error) -> bool:
        """Go on with a copy of what cannot be written; False where it cannot be read, either."""
        if not is_unwritable(error) or not path.is_file():
            return False
        copy = _copied(path)
        if copy is None:
            return False
        self._go_on_with(copy, path, error)
        with reading_what_may_be_damaged(None):
            self._bring_up_to_date()
            self._load()
        return True

    def _go_on_with(self, copy: sqlite3.Connection, path: Path, error: sqlite3.Error) -> None:
        with suppress(AttributeError):  # it could not even be opened
            self._connection.close()
        self._connection, self._unwritable = copy, error
        log.error(
            "%s: the ledger of object identifiers cannot be written (%s); %s. It is served as it "
            "is. Identifiers and points that are new from now on are in memory alone until it can "
            "be written again: a restart before that would lose them",
            path,
            error,
            remedy(error, "check the disk"),
        )

    def try_to_return(self) -> bool:
        """Where the file could not be written, write it as soon as it can be.

        It belongs into the event loop, as often as `sync`: it tries once a minute, and costs
        nothing where there is no need.

        Returns:
            Whether all that was written is in the file.
        """
        path = self._path
        if path is not None and self._unwritable is None and not path.exists():
            self._save(path)
        if self._unwritable is None or path is None:
            return True
        now = time.monotonic()
        if self._connection.in_transaction or now < self._try_at:
            return False
        self._try_at = now + TRY_AGAIN
        try:
            with closing(_connect(path)) as file:
                # All or nothing: a copy is one transaction of the file.
                self._connection.backup(file)
            memory, self._connection = self._connection, _connect(path)
        except sqlite3.Error as error:
            log.debug("%s: still not written: %s", path, error)
            return False
        try:
            self._open()
        except (sqlite3.Error, LedgerError) as error:
            log.debug("%s: still not written: %s", path, error)
            self._connection.close()
            self._connection = memory
            return False
        memory.close()
        self._unwritable, self._unsynced, self._is_new = None, True, False
        log.warning("%s: the ledger of object identifiers is written again; nothing is lost", path)
        return True

    def _save(self, path: Path) -> None:
        """Somebody removed the file under us: what is still open is all that there is of it."""
        copy = _connect(None)
        try:
            self._connection.backup(copy)
            path.parent.mkdir(parents=True, exist_ok=True)
        except (sqlite3.Error, OSError) as error:
            log.debug("%s: was removed, and is not written again yet: %s", path, error)
            copy.close()
            return
        self._go_on_with(copy, path, sqlite3.OperationalError("somebody removed the file"))
        self._try_at = 0.0

    def _open(self) -> None:
        with reading_what_may_be_damaged(self._path):
            self._open_and_load()

    def _open_and_load(self) -> None:
        self._connection.execute("PRAGMA journal_mode=WAL")
        # The event loop waits for the kernel, which has what is written whatever ends the process,
        # and not for the disk: that is for `sync`, in a thread.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint=0")
        self._bring_up_to_date()
        self._load()
        if self._path is not None:
            quick_check(self._connection, self._path)
            # Whether it can be written shall be known now, not when a meter answers.
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
            self._connection.execute("COMMIT")

    def _begin_anew(self, error: sqlite3.Error) -> None:
        """Set a damaged file aside, and begin a new one with what can be had of the identifiers.

        Raises:
            LedgerError: it is not damaged, or cannot be moved away, or no new one can be made.
        """
        path = self._path
        if path is None or not is_damage(error):
            self._connection.close()
            raise _explain(path, error) from error
        # What cannot be read is lost; what follows from the name comes to the same number again.
        with suppress(sqlite3.Error), reading_what_may_be_damaged(None):
            self._load()
        self._connection.close()
        try:
            aside = set_aside(path)
        except OSError as refused:
            raise _explain(path, error) from refused
        kept = dict(self._owners)
        try:
            self._connection = _connect(path)
            self._open()
            self._connection.execute("BEGIN IMMEDIATE")
            self._insert(kept)
            self._connection.execute("COMMIT")
            self._load()
        except sqlite3.Error as again:
            raise _explain(path, again) from again
        log.error(
            "%s: the ledger of object identifiers is damaged (%s). It was set aside as %s, and a "
            "new one begun: %d identifiers could still be read. Identifiers that are not among "
            "them follow from the points' names as before, but for those few that had given way to "
            "another of the same number, or were the user's own choice once: compare with `browse` "
            "what the BMS knows. Points that the file does not name are offered when their meters "
            "answer",
            path,
            error,
            aside.name,
            len(kept),
        )

    @classmethod
    def copy_of(cls, path: Path | None) -> Ledger:
        """The ledger as it is, in memory: what is done to the copy reaches no disk.

        A file that is not there yet is an empty ledger.

        Raises:
            LedgerError: the file cannot be read, or is no ledger.
        """
        copy = cls(None)
        if path is None or not path.exists():
            return copy
        try:
            with reading_what_may_be_damaged(path):
                try:
                    with closing(connect_to_read(path)) as file:
                        file.backup(copy._connection)
                except sqlite3.OperationalError as error:
                    made = _copied(path) if is_unwritable(error) else None
                    if made is None:
                        raise
                    copy._connection.close()
                    copy._connection = made
                copy._bring_up_to_date()
                copy._load()
        except sqlite3.Error as error:
            raise _explain(path, error) from error
        return copy

    @property
    def path(self) -> Path | None:
        """The file; None where it is kept in memory."""
        return self._path

    def sync(self) -> None:
        """Bring what was written to the disk, and merge the log when it has grown.

        Nothing where the file cannot be written; see `try_to_return`.

        It may wait for the disk, and may run in any thread, but once at a time. Errors are said by
        the next write, and not here.
        """
        path = self._path
        if path is None or not self._unsynced or self._unwritable is not None:
            return
        self._unsynced = False
        log_path = Path(f"{path}-wal")
        try:
            sync_file(log_path)
            if log_path.stat().st_size < LOG_SIZE:
                return
            with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT)) as tidier:
                tidier.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except (OSError, sqlite3.Error) as error:
            log.debug("%s: not brought to the disk: %s", path, error)
            self._unsynced = True

    def close(self) -> None:
        """Close the file; where it could not be written, try once more before."""
        self._try_at = 0.0
        if self._is_new and not self.try_to_return():
            log.error(
                "%s: the ledger of object identifiers still cannot be written: identifiers and "
                "points that were new since then are lost. Identifiers follow from the points' "
                "names again, and points are offered when their meters answer",
                self._path,
            )
        self._connection.close()

    def instance(self, object_type: str, name: str, wanted: int | None = None) -> int:
        """The instance of a point's object, the same at every call.

        Args:
            object_type: BACnet's name for it, as ``analog-input``.
            name: the point's name.
            wanted: the user's own choice, which goes before all else.

        Raises:
            InstanceTakenError: ``wanted`` belongs to another point.
            LedgerError: the file cannot be written.
        """
        known = self._instances.get((object_type, name))
        if known is not None and wanted in (None, known):
            return known
        if wanted is not None:
            owner = self._owners.get((object_type, wanted))
            if owner is not None:
                raise InstanceTakenError(object_type, wanted, name, owner)
            instance = wanted
        else:
            instance = preferred_instance(name)
            while (object_type, instance) in self._owners:
                instance = (instance + 1) % INSTANCES
        self._write(
            "INSERT INTO objects (object_type, instance, name) VALUES (?, ?, ?)"
            " ON CONFLICT (object_type, name) DO UPDATE SET instance = excluded.instance",
            (object_type, instance, name),
        )
        if known is not None:
            del self._owners[object_type, known]
        self._instances[object_type, name] = instance
        self._owners[object_type, instance] = name
        return instance

    def reserve(self, wanted: Mapping[tuple[str, str], int], present: Collection[str] = ()) -> None:
        """Give the user's own choices of instances, all of one configuration at once.

        They go before what was given by hash, and before what names hold that are gone.

        Args:
            wanted: instance by object type and point name.
            present: names of all points of the configuration.

        Raises:
            InstanceTakenError: two of them clash, or one belongs to another point that is there.
            LedgerError: the file cannot be written.
        """
        chosen: dict[tuple[str, int], str] = {}
        for (object_type, name), instance in wanted.items():
            owner = chosen.setdefault((object_type, instance), name)
            if owner == name:
                owner = self._owners.get((object_type, instance), name)
                if owner not in present or (object_type, owner) in wanted:
                    continue
            if owner != name:
                raise InstanceTakenError(object_type, instance, name, owner)
        with self.transaction():
            for (object_type, name), instance in wanted.items():
                if self._instances.get((object_type, name)) != instance:
                    self._free(object_type, name)
                owner = self._owners.get((object_type, instance), name)
                if owner != name:
                    self._free(object_type, owner)
            for (object_type, name), instance in wanted.items():
                self.instance(object_type, name, instance)

    def _free(self, object_type: str, name: str) -> None:
        instance = self._instances.pop((object_type, name), None)
        if instance is not None:
            self._write(
                "DELETE FROM objects WHERE object_type = ? AND instance = ?",
                (object_type, instance),
            )
            del self._owners[object_type, instance]

    def remember(self, meter: str, name: str, definition: str) -> None:
        """Keep what is needed to offer a found point again after a restart.

        Raises:
            LedgerError: the file cannot be written.
        """
        self._write(
            "INSERT INTO found (meter, name, definition) VALUES (?, ?, ?)"
            " ON CONFLICT (meter, name) DO UPDATE SET definition = excluded.definition",
            (meter, name, definition),
        )

    def remembered(self, meter: str) -> dict[str, str]:
        """The definitions of a meter's found points, by name, in the order they were found."""
        return dict(
            self._rows("SELECT name, definition FROM found WHERE meter = ? ORDER BY rowid", meter)
        )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that is written inside at once: the disk is waited for once, not each time.

        Raises:
            LedgerError: the file cannot be written.
        """
        if self._connection.in_transaction:
            yield  # the outer one commits
            return
        self._write("BEGIN IMMEDIATE", ())
        try:
            yield
        finally:
            # What was handed out is in use already, so it is kept whatever came after.
            try:
                self._write("COMMIT", ())
            except LedgerError:
                self._connection.rollback()
                self._transaction.clear()
                raise

    def feed(self, meter: str, name: str, feed: Feed) -> None:
        """Keep which record feeds a point.

        Raises:
            LedgerError: the file cannot be written.
        """
        self._write(
            "INSERT OR REPLACE INTO fed (meter, name, selector, record, equals, beside)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (meter, name, feed.selector, feed.record, feed.equals, " ".join(feed.beside)),
        )

    def feeds(self, meter: str) -> dict[str, Feed]:
        """What feeds each of a meter's points, as far as it is settled, by name."""
        rows = self._rows(
            "SELECT name, selector, record, equals, beside FROM fed WHERE meter = ?", meter
        )
        return {
            name: Feed(selector, record, equals, tuple(beside.split()))
            for name, selector, record, equals, beside in rows
        }

    def keep_sent(self, meter: str, records: str) -> None:
        """Keep which records a meter sends.

        Raises:
            LedgerError: the file cannot be written.
        """
        self._write("INSERT OR REPLACE INTO sent (meter, records) VALUES (?, ?)", (meter, records))

    def sent(self, meter: str) -> str | None:
        """What `keep_sent` last kept of a meter, or None."""
        rows = self._rows("SELECT records FROM sent WHERE meter = ?", meter)
        return str(rows[0][0]) if rows else None

    def keep_identity(self, meter: str, address: str) -> None:
        """Keep the secondary address by which a meter answers.

        Raises:
            LedgerError: the file cannot be written.
        """
        self._write(
            "INSERT OR REPLACE INTO answered (meter, address) VALUES (?, ?)", (meter, address)
        )

    def identity(self, meter: str) -> str | None:
        """What `keep_identity` last kept of a meter, or None."""
        rows = self._rows("SELECT address FROM answered WHERE meter = ?", meter)
        return str(rows[0][0]) if rows else None

    def _bring_up_to_date(self) -> None:
        """Give a new file its tables, and an old one those that it lacks, all or nothing."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise LedgerError(
                f"{self._path}: a later version of this program wrote the ledger of object "
                "identifiers; run that one, or restore the ledger from before"
            )
        if version == VERSION:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in (*_TABLES, _FROM_VERSION_0, f"PRAGMA user_version = {VERSION}"):
                self._connection.execute(statement)
        except sqlite3.Error:
            self._connection.rollback()
            raise
        self._connection.execute("COMMIT")

    def _load(self) -> None:
        rows = self._connection.execute("SELECT object_type, instance, name FROM objects")
        for object_type, instance, name in rows:
            if not _is_sound(object_type, instance, name):
                continue  # a fault of the disk; its name says the number again
            self._instances[object_type, name] = instance
            self._owners[object_type, instance] = name

    def _rows(self, statement: str, meter: str) -> list[Any]:
        """What a meter has in a table.

        Raises:
            LedgerError: the file cannot be read.
        """
        try:
            rows = self._connection.execute(statement, (meter,)).fetchall()
        except sqlite3.Error as error:
            self._replace(error)
            return []
        # No column of ours may be empty; where one is, the disk has failed.
        return [row for row in rows if None not in row]

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        is_within = self._connection.in_transaction
        self._unsynced = True
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error as error:
            self._replace(error)
            try:
                if is_within:
                    self._connection.execute("BEGIN IMMEDIATE")
                    for written in self._transaction:
                        self._connection.execute(*written)
                        self._is_new = True
                self._connection.execute(statement, values)
            except sqlite3.Error as again:
                raise _explain(self._path, again) from again
        self._is_new = self._unwritable is not None and (self._is_new or statement not in _BOUNDS)
        if not self._connection.in_transaction:
            self._transaction.clear()
        elif is_within:
            self._transaction.append((statement, values))

    def _replace(self, error: sqlite3.Error) -> None:
        """Begin a new file where this one turns out to be damaged while it is in use.

        Where it turns out that it cannot be written, go on in memory.

        Raises:
            LedgerError: neither is so, or no new one can be made.
        """
        if self._path is not None and self._unwritable is None and is_unwritable(error):
            copy = _connect(None)
            try:
                self._connection.rollback()
                self._connection.backup(copy)
            except sqlite3.Error:
                copy.close()
            else:
                self._go_on_with(copy, self._path, error)
                return
        if not is_damage(error):
            raise _explain(self._path, error) from error
        if self._path is None or self._unwritable is not None:
            self._begin_anew_in_memory()
        else:
            self._begin_anew(error)

    def _begin_anew_in_memory(self) -> None:
        """Leave a copy of what was damaged, with the identifiers."""
        self._connection.close()
        self._connection = _connect(None)
        self._bring_up_to_date()
        self._insert(self._owners)

    def _insert(self, owners: Mapping[tuple[str, int], str]) -> None:
        self._connection.executemany(
            "INSERT OR IGNORE INTO objects (object_type, instance, name) VALUES (?, ?, ?)",
            [(kind, instance, name) for (kind, instance), name in owners.items()],
        )


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(path or ":memory:", timeout=BUSY_TIMEOUT, isolation_level=None)
    connection.text_factory = lenient
    return connection


def _copied(path: Path) -> sqlite3.Connection | None:
    """What stands in a file that cannot be written, in memory; None where it cannot be read."""
    for connect in (connect_to_read, connect_to_rescue):
        copy = _connect(None)
        try:
            with closing(connect(path)) as file:
                file.backup(copy)
                copy.execute("SELECT count(*) FROM objects").fetchone()
        except sqlite3.Error as error:
            log.debug("%s: cannot be read: %s", path, error)
            copy.close()
        else:
            return copy
    return None


def _is_sound(object_type: object, instance: object, name: object) -> bool:
    """Whether a row of ``objects`` is as we write them: a fault of the disk leaves any bytes."""
    return (
        isinstance(object_type, str)
        and isinstance(name, str)
        and "\ufffd" not in object_type + name
        and type(instance) is int
        and 0 <= instance < INSTANCES
    )


def _explain(path: Path | None, error: sqlite3.Error) -> LedgerError:
    """An error of the database in words, with what to do about it."""
    words = remedy(error, "restore it from a backup, or move it away to begin a new one")
    return LedgerError(
        f"{path}: the ledger of object identifiers cannot be used ({error}); {words}"
    )
