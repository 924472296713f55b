"""What the files of state have in common: errors in words, damage, and reading beside a writer."""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_RIGHTS = (
    "give the user that runs the bridge the right to write it, and its folder, and see that its "
    "file system is not mounted read-only"
)
_OTHER = "another process is writing it: is a second bridge running with this state?"

_REMEDIES = {
    "SQLITE_READONLY": _RIGHTS,
    "SQLITE_CANTOPEN": _RIGHTS,
    "SQLITE_PERM": _RIGHTS,
    "SQLITE_FULL": "make room on the disk",
    "SQLITE_IOERR": "check the disk and its free space",
    "SQLITE_BUSY": _OTHER,
    "SQLITE_LOCKED": _OTHER,
}

# What says that the bytes of the file are wrong, rather than its place, its rights or its disk.
# Our own statements break no constraint: where one is broken, an index and its table differ.
_DAMAGE = (
    "SQLITE_CORRUPT",
    "SQLITE_NOTADB",
    "SQLITE_FORMAT",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_TOOBIG",
)
# And what it says where a table or a column has another name than we gave it.
_DAMAGED_SCHEMA = ("no such ", "malformed ", "has no column named")

# What keeps a file from being written, though it may be read: rights, a full disk, a bad one.
_UNWRITABLE = (
    "SQLITE_READONLY",
    "SQLITE_FULL",
    "SQLITE_CANTOPEN",
    "SQLITE_IOERR",
    "SQLITE_PERM",
)

# A file up to this size, in bytes, is looked through when it is opened: 0.1 s on a small gateway.
CHECKED_SIZE = 16_000_000

# SQLite keeps these beside a file in WAL mode. The log goes first when they are moved: left alone
# with a new file of the old name, it would be taken for that one's.
BESIDE = ("-wal", "-shm", "")


class DamagedError(sqlite3.DatabaseError):
    """`PRAGMA quick_check` found something, or what stands in the file is none of ours."""


def sync_file(path: Path) -> None:
    """Wait until the disk has what the kernel has of a file; one that is not there has nothing.

    SQLite's locks of a database in WAL mode are not on its log: closing that one here ends none.

    Raises:
        OSError: the disk fails.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def remedy(error: sqlite3.Error, otherwise: str) -> str:
    """What to do about an error of the database, in words."""
    code = getattr(error, "sqlite_errorname", "")
    return next((words for start, words in _REMEDIES.items() if code.startswith(start)), otherwise)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged; not so where rights, locks or a full disk fail it."""
    code = getattr(error, "sqlite_errorname", None) or ""
    if code == "SQLITE_ERROR":
        return any(words in str(error) for words in _DAMAGED_SCHEMA)
    return isinstance(error, DamagedError) or code.startswith(_DAMAGE)


def is_unwritable(error: sqlite3.Error) -> bool:
    """Whether the file cannot be written because of its rights, its folder or its disk."""
    code = getattr(error, "sqlite_errorname", None) or ""
    return code.startswith(_UNWRITABLE)


def is_read_only(error: sqlite3.Error) -> bool:
    """Whether the file was opened without the right to write it."""
    return (getattr(error, "sqlite_errorname", None) or "").startswith("SQLITE_READONLY")


def lenient(text: bytes) -> str:
    """Text of a file that may be damaged: what is no UTF-8 is no reason to lose the rest."""
    return text.decode(errors="replace")


@contextmanager
def reading_what_may_be_damaged(path: Path | None) -> Iterator[None]:
    """While a file is opened, or all of it is read: what only damage can bring about is said so.

    Raises:
        DamagedError: the schema is no text, or names what is not there, or holds other types than
            it says, or the header asks for a later version of SQLite.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DamagedError("its schema is no text") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedError(f"it holds what was never written: {error}") from error
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorname", None) or ""
        if code == "SQLITE_ERROR":
            raise DamagedError(str(error)) from error
        if code == "SQLITE_READONLY" and path is not None and is_of_a_later_version(path):
            raise DamagedError("its header is damaged") from error
        raise


def is_of_a_later_version(path: Path) -> bool:
    """Whether the file's header asks for a later SQLite: it is then taken for read-only.

    That is https://sqlite.org/fileformat2.html, 1.3.3. To be asked while no connection of this
    process has the file open, since closing it here ends the locks of all.
    """
    try:
        with path.open("rb") as file:
            header = file.read(20)
    except OSError:
        return False
    return len(header) == 20 and (header[18] > 2 or header[19] > 2)


def quick_check(connection: sqlite3.Connection, path: Path) -> None:
    """Look through a small file.

    Raises:
        sqlite3.DatabaseError: it is damaged; see `is_damage`.
    """
    if path.stat().st_size > CHECKED_SIZE:
        return
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise DamagedError(str(said))


def set_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it; its new name.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while any(Path(f"{aside}{end}").exists() for end in BESIDE):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for end in BESIDE:
        with suppress(FileNotFoundError):
            Path(f"{path}{end}").rename(f"{aside}{end}")
    return aside


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that somebody else may be writing, with no more than the right to read it.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    # Without a write-ahead log nothing is left to merge, and reading needs no right to write.
    how = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    return _connect(path, how)


def connect_to_rescue(path: Path) -> sqlite3.Connection:
    """Open a file that nobody can write just now, with its log: no file is made beside it.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    # The index of the log, which is a file where it is shared, is then in memory. There is none to
    # share it with: who could not write the file calls this, and holds the lock of the folder.
    connection = _connect(path, "mode=ro&vfs=unix-none")
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, timeout=5.0
    )
    connection.text_factory = lenient
    return connection
