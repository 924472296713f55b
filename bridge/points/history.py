"""Every good reading, in an SQLite file: written at once, kept for as long as the user wants.

So are the values that a meter sent while it reported an error of its own, and that with them.

What must not wait is done in the event loop: one answer of a meter is one row, committed before
anybody hears of it. A commit goes into the write-ahead log and so to the kernel, which has it
whatever ends the process. Nothing there waits for the disk.

What may wait is done by a thread with a connection of its own: every few seconds it has the log
brought to the disk, so that a power cut takes these seconds at most, and damages nothing; it merges
the log into the file when it has grown, keeps the last value of each point apart, deletes what is
too old, and writes what the event loop could not. Whoever of the two writes holds a lock, for a few
milliseconds; an answer that cannot have it in time waits in memory for the thread.

That is also where answers wait while the disk is full, or the folder cannot be written: up to
`QUEUE` of them, until there is room again. If that is so when the bridge starts, last values are
read all the same.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path

from bridge.points.database import (
    DamagedError,
    connect_to_read,
    connect_to_rescue,
    is_damage,
    is_of_a_later_version,
    is_read_only,
    is_unwritable,
    reading_what_may_be_damaged,
    remedy,
    set_aside,
)
from bridge.points.history_file import Answer, HistoryFile, LastValue, Written, load
from bridge.points.reading import KEPT_FAULTS, Point, Reading
from bridge.points.records import Key, Records, Row, decode_reading, encode_reading

log = logging.getLogger(__name__)

HISTORY_FILE = "history.sqlite"

DAY = 86_400.0
KEEP = 400 * DAY
MAX_SIZE = 1_000_000_000

# Answers that wait in memory where they cannot be written: some 20 MB of 20 points each.
QUEUE = 10_000

# How long the event loop waits for the thread to have written its lot, in seconds. Usual is less
# than 0.01; more is needed while the log is emptied on a slow disk, once in some thousand answers.
PATIENCE = 0.1

# How often the thread looks, in seconds: what a power cut takes at most.
PASS = 3.0

# The log is merged into the file when it has so many bytes: SQLite's own measure, 1000 pages. Each
# page that many answers have changed is then written once.
LOG_SIZE = 4_000_000

# The last values are kept apart after so many answers. A start looks through so many at most.
APART = 2_000

# Rows that the thread writes or deletes at a time; after each lot the event loop has its turn.
LOT = 200
TURN = 0.005  # seconds
LOTS = 50  # in one pass

# Free pages are given back where they are more than this part of the file; others are used again.
FREE_PART = 4

# Nothing is deleted for its age before the clock has gone evenly for so long, in seconds: a clock
# that was set wrong for a moment must not take the history with it.
EVEN = DAY
STEP = 60.0

# Readings so old at most, and EVEN at least, prove it as well. Where there are none, nobody
# knows whether the bridge was off for so long, or whether the clock is wrong since it started.
PROVEN = 2 * DAY


class History:
    """The keeper of all readings; see `bridge.points.store.Keeper`.

    Belongs to the event loop that makes it; its thread is its own affair. Errors of the disk are
    logged, once for each kind, and never raised.
    """

    def __init__(self, path: Path | None, *, keep: float = KEEP, max_size: int = MAX_SIZE) -> None:
        """Open the history.

        A damaged file is set aside, and a new one begun. One that cannot be opened for another
        reason is tried again, and what is read meanwhile waits in memory.

        Args:
            path: the file; None has last values in memory, and no more.
            keep: how long readings are kept, in seconds; 0 keeps the last values only.
            max_size: bytes that the file may have; beyond them the oldest readings go.
        """
        self._path = path
        self._keep = keep
        self._max_size = max_size
        self._keys: dict[str, Key] = {}
        self._last: dict[Key, LastValue] = {}
        self._meters: dict[Key, str] = {}
        self._counters: dict[str, dict[str, int]] = {}
        self._new_counters: set[str] = set()
        self._writing = threading.Lock()  # held by whoever commits
        self._file: HistoryFile | None = None
        self._is_loaded = False  # from here on the memory knows better than any file
        self._not_apart = 0  # answers since the last values were kept apart
        self._queue: deque[Answer] = deque()
        self._in_hand = 0  # answers of it that the thread is writing
        self._error: sqlite3.Error | None = None  # why nothing can be written now
        self._said = ""  # about that, in the log
        self._waited = 0  # answers that had to wait for its end
        self._lost = 0  # and those for which there was no place
        self.lost = 0  # answers for which there was no place, since the start
        self._clock = time.time() - time.monotonic()
        self._even_since = time.monotonic()
        self._closing = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        if path is not None:
            with self._writing:
                self._open(path)
            self._thread = threading.Thread(
                target=self._look_after, args=(path,), name="history", daemon=True
            )
            self._thread.start()

    @classmethod
    def open_to_read(cls, path: Path) -> Records:
        """The history in a file, to be read while a bridge may be writing it.

        Raises:
            HistoryError: it is not there, cannot be read, or is no history.
        """
        return Records(path)

    @property
    def waiting(self) -> int:
        """Answers that are in memory alone, because they cannot be written now."""
        return len(self._queue) + self._in_hand

    def last(self, point: Point) -> Reading | None:
        """The last reading that was kept of a point, of this run or an earlier one, exactly.

        None where there is none, or its kind, unit or origin was another.
        """
        key = Key(point.name, point.kind.value, point.unit, point.origin)
        self._keys[point.name] = key
        self._meters[key] = point.meter
        last = self._last.get(key)
        if last is None:
            return None
        try:
            value, fault = decode_reading(key.kind, last.written)
        except ValueError as error:
            log.warning("%s: its last value cannot be used: %s", point.name, error)
            return None
        return Reading(value, last.at, fault, last.resolution)

    def keep(self, meter: str, readings: Mapping[str, Reading]) -> None:
        """Write down the readings of one answer; those with a fault are passed over.

        But for the faults of `KEPT_FAULTS`, which are written down with them.

        Args:
            meter: its name.
            readings: by the full names of points, for all of which `last` was asked.
        """
        by_time: dict[float, list[tuple[Key, Written, Decimal | None]]] = {}
        for name, reading in readings.items():
            value, at, resolution = reading.value, reading.read_at, reading.resolution
            fault = reading.fault
            if value is None or at is None or not (fault is None or fault in KEPT_FAULTS):
                continue
            key = self._keys[name]
            written = encode_reading(value, fault)
            self._last[key] = LastValue(at, written, resolution)
            by_time.setdefault(at, []).append((key, written, resolution))
        if self._path is not None:
            for at, values in by_time.items():
                self._take(Answer(meter, at, tuple(values)))

    def keep_counters(self, name: str, counters: Mapping[str, int]) -> None:
        """Keep counts across restarts; they are on record within seconds, and after `close`.

        Args:
            name: whose counts these are.
            counters: all of them; what was kept under this name is replaced.
        """
        self._counters[name] = dict(counters)
        self._new_counters.add(name)

    def counters(self, name: str) -> dict[str, int]:
        """What `keep_counters` last kept under a name; empty where it never did."""
        return dict(self._counters.get(name, {}))

    def readings(
        self,
        meter: str | Collection[str] | None = None,
        point: str | Collection[str] | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> Iterator[Row]:
        """What is on record, in the order of time; see `Records.readings`.

        Raises:
            HistoryError: the file cannot be read.
        """
        if self._path is None:
            return
        with Records(self._path) as records:
            yield from records.readings(meter, point, since, until)

    def set_limits(self, *, keep: float, max_size: int) -> None:
        """Keep readings for longer, or not so long, from now on; as at the start."""
        self._keep = keep
        self._max_size = max_size

    def close(self) -> None:
        """Write what is left, merge the log, close the file."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._path is not None:
            self._try_to_pass(self._path)
        with self._writing:
            if self._file is not None:
                self._file.close()
                self._file = None
        if self._queue:
            self._lose(len(self._queue))
            self._queue.clear()

    # In the event loop

    def _take(self, answer: Answer) -> None:
        # What waits goes first: the thread writes it in the order in which it came.
        if self._queue or self._error is not None or not self._writing.acquire(timeout=PATIENCE):
            self._let_wait(answer)
            return
        try:
            # While this waited for the lock, the thread may have met an error.
            if self._file is None or self._error is not None:
                self._let_wait(answer)
                return
            self._file.write((answer,))
            self._not_apart += 1
        except sqlite3.Error as error:
            self._fail(error)
            self._let_wait(answer)
            self._wake.set()
        finally:
            self._writing.release()

    def _let_wait(self, answer: Answer) -> None:
        self._queue.append(answer)
        self._waited += 1
        if len(self._queue) > QUEUE:
            with suppress(IndexError):  # the thread may have been the faster
                self._queue.popleft()
                self._lose(1)
        if self._error is None:
            self._wake.set()

    def _lose(self, count: int) -> None:
        if not self._lost:
            log.error(
                "%s: answers waited to be written, and there is no place for more: %d are lost, "
                "the oldest first%s",
                self._path,
                count,
                "" if self._closing else ", and so on until it can be written again",
            )
        self._lost += count
        self.lost += count

    # While holding the lock

    def _fail(self, error: sqlite3.Error) -> None:
        """Nothing can be written now: say so once, and leave the rest to the thread."""
        self._error = error
        if not is_damage(error):
            self._say_once(
                f"readings cannot be written down ({error}); "
                f"{remedy(error, 'check the disk, and move the file away to begin a new one')}. "
                f"They are served all the same, and up to {QUEUE} answers wait in memory until it "
                "can be written again"
            )

    def _say_once(self, words: str) -> None:
        if words != self._said:
            self._said = words
            log.error("%s: %s", self._path, words)

    def _is_over(self) -> None:
        """It can be written again."""
        if self._error is not None and not is_damage(self._error):
            log.warning(
                "%s: readings can be written down again; %d answers had to wait%s",
                self._path,
                self._waited,
                f", and {self._lost} of them are lost" if self._lost else ", and none is lost",
            )
        self._error = None
        self._said = ""
        self._waited = self._lost = 0

    def _open(self, path: Path) -> None:
        try:
            self._file = self._opened(path)
        except sqlite3.Error as error:
            if is_damage(error):
                self._begin_anew(path, error)
                return
            if not self._is_loaded and is_unwritable(error):
                self._load_what_is_there(path)
            self._fail(error)

    def _load_what_is_there(self, path: Path) -> None:
        """The last values of a file that cannot be written now; none where there is no file."""
        if not path.is_file():
            return
        for connect in (connect_to_read, connect_to_rescue):
            last, counters = dict(self._last), dict(self._counters)
            try:
                with reading_what_may_be_damaged(path), closing(connect(path)) as connection:
                    load(connection, last, counters)
            except sqlite3.Error as error:
                # Whoever opens the file to write says the reason.
                log.debug("%s: last values cannot be read: %s", path, error)
                continue
            self._last.update(last)
            self._counters.update(counters)
            return

    def _opened(self, path: Path) -> HistoryFile:
        file = HistoryFile(path)
        try:
            if self._is_loaded:
                file.load({}, {})
                # Copies, since the event loop goes on.
                file.write_last(dict(self._last), dict(self._meters), dict(self._counters))
            else:
                file.load(self._last, self._counters)
                self._is_loaded = True
                # What is there was written by an earlier run, and may be much.
                self._not_apart = APART
        except BaseException:
            file.close()
            raise
        return file

    def _begin_anew(self, path: Path, error: sqlite3.Error) -> None:
        """Set a damaged file aside, and begin a new one with what the memory has."""
        self._is_loaded = True
        self._error = error
        try:
            aside = set_aside(path)
        except OSError as refused:
            self._say_once(
                f"the history is damaged ({error}), and cannot be moved away "
                f"({refused.strerror}); move it away yourself. Up to {QUEUE} answers wait in memory"
            )
            return
        log.error(
            "%s: the history cannot be used (%s). It was set aside as %s, and a new one begun: "
            "what was read before is missing in `history`, and %s",
            path,
            error,
            aside.name,
            f"{len(self._last)} last values could be kept"
            if self._last
            else "points have no last value until their meters are read",
        )
        try:
            self._file = self._opened(path)
        except sqlite3.Error as again:
            self._fail(again)
        else:
            self._is_over()

    # In the thread

    def _look_after(self, path: Path) -> None:
        while not self._closing:
            self._wake.wait(PASS)
            self._wake.clear()
            self._try_to_pass(path)

    def _try_to_pass(self, path: Path) -> None:
        try:
            self._pass(path)
        except sqlite3.Error as error:
            with self._writing:
                self._fail(error)
        except OSError as error:
            with self._writing:
                self._fail(sqlite3.OperationalError(str(error.strerror or error)))
        except Exception:
            # What comes next may go well, and nobody else would do it.
            log.exception("%s: an error in the bridge, looking after the history", path)

    def _pass(self, path: Path) -> None:
        with self._writing:
            self._make_usable(path)
        file = self._file
        if file is None or self._error is not None:
            return
        while self._queue:
            with self._writing:
                self._write_waiting(file, LOT)
            time.sleep(TURN)
        self._write_counters(file)
        file.sync()
        if self._not_apart >= APART:
            self._keep_apart(file)
        self._delete(file)
        if file.log_size() >= LOG_SIZE:
            file.merge_log()  # most of it, while the event loop goes on writing
            with self._writing:
                file.empty_log()

    def _make_usable(self, path: Path) -> None:
        """Open what could not be opened, set aside what is damaged, make good what was removed."""
        file, error = self._file, self._error
        if file is not None and error is not None and is_read_only(error):
            # SQLite does not try again to open for writing what was read-only once.
            file.close()
            self._file = file = None
            if is_of_a_later_version(path):
                error = self._error = DamagedError("its header is damaged")
        if error is not None and is_damage(error):
            self._file = None
            if file is not None:
                file.close()
            self._begin_anew(path, error)
            return
        if file is not None and file.is_removed():
            self._make_good(path, file)
        elif file is None:
            self._open(path)
        if self._error is not None and self._file is not None:
            if self._queue:
                self._write_waiting(self._file, 1)
            else:
                self._file.touch()
            self._file.sync()
            self._is_over()

    def _make_good(self, path: Path, file: HistoryFile) -> None:
        """Somebody removed the file: write it again, from what is still open."""
        # Says to the event loop not to wait.
        self._error = sqlite3.OperationalError("the file was removed")
        saved = False
        if not path.exists():
            try:
                file.save_to(path)
                saved = True
            except (sqlite3.Error, OSError) as error:
                log.error("%s: the history was removed, and cannot be saved (%s)", path, error)
        log.error(
            "%s: somebody removed the history while the bridge was writing it; %s",
            path,
            "it was written again" if saved else "what was read before is lost",
        )
        file.close()
        self._file = None
        self._open(path)

    def _write_waiting(self, file: HistoryFile, most: int) -> None:
        lot: list[Answer] = []
        self._in_hand = min(most, len(self._queue))
        with suppress(IndexError):
            while len(lot) < most:
                lot.append(self._queue.popleft())
        try:
            file.write(lot)
        except BaseException:
            self._queue.extendleft(reversed(lot))
            raise
        finally:
            self._in_hand = 0
        self._not_apart += len(lot)

    def _write_counters(self, file: HistoryFile) -> None:
        names = list(self._new_counters)
        if not names:
            return
        self._new_counters.difference_update(names)
        try:
            with self._writing:
                file.write_counters({name: self._counters[name] for name in names})
        except sqlite3.Error:
            self._new_counters.update(names)
            raise

    def _keep_apart(self, file: HistoryFile) -> None:
        while not self._closing:
            apart = file.look_for_last(LOT)
            if apart is not None:
                with self._writing:
                    file.keep_apart(apart)
                    self._not_apart = max(0, self._not_apart - apart.answers)
            if apart is None or apart.answers < LOT:
                return  # the few that came meanwhile can wait
            time.sleep(TURN)

    def _delete(self, file: HistoryFile) -> None:
        """Take away what is too old, or too much, and give back what the file does not need."""
        for _ in range(LOTS):
            if self._closing:
                return
            is_too_large = file.used() > self._max_size
            if is_too_large or self._keep == 0:
                numbers = file.oldest(LOT)
            else:
                now = time.time()
                numbers = file.older_than(now - self._keep, LOT)
                if numbers and not self._is_proven(now, file):
                    break
            if not numbers:
                if is_too_large and self._not_apart:
                    self._keep_apart(file)  # what is not kept apart may not go
                break
            with self._writing:
                file.delete(numbers)
            time.sleep(TURN)
        self._give_back(file)

    def _is_proven(self, now: float, file: HistoryFile) -> bool:
        """Whether the clock has shown for a day what it shows now, give or take that day.

        It has where it went evenly so long in this run, or where readings of that time stand in the
        file: a bridge that starts anew every night shall tidy up, too.
        """
        monotonic = time.monotonic()
        if abs(now - monotonic - self._clock) > STEP:
            self._clock, self._even_since = now - monotonic, monotonic
        if monotonic - self._even_since >= EVEN:
            return True
        return file.has_between(now - PROVEN, now - EVEN)

    def _give_back(self, file: HistoryFile) -> None:
        for _ in range(LOTS):
            free, pages = file.free_pages()
            if free <= max(LOT, pages // FREE_PART) or self._closing:
                return
            with self._writing:
                file.give_back(LOT)
            time.sleep(TURN)
