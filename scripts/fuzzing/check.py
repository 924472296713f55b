"""What holds for every telegram, whatever its bytes."""

from __future__ import annotations

import datetime
import json
import math
import signal
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from random import Random
from types import FrameType

from bridge.mbus.compact import Formats, encode_compact, encode_format
from bridge.mbus.control import Content, ci_row
from bridge.mbus.dif import FILLER, MANUFACTURER_DATA, MORE_RECORDS_FOLLOW, DataField
from bridge.mbus.errors import EncodeError, FrameError, MBusError
from bridge.mbus.frame import Frame, LongFrame, take_frame
from bridge.mbus.layout import read_records
from bridge.mbus.normalized import to_xml
from bridge.mbus.own import without_false_values
from bridge.mbus.record import DataRecord, RecordError, Records
from bridge.mbus.report import to_json
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.values import PartialDate
from bridge.mbus.vif import PLAIN_TEXT
from bridge.mbus.walk import decode_records
from scripts.fuzzing.mutate import KEY, Mutant

_VALUES = (Decimal, str, bytes, datetime.date, datetime.time, datetime.datetime, PartialDate)
_WRONG_KEY = bytes(16)


class FuzzError(Exception):
    """Something does not hold; the message says what."""


class HangError(FuzzError):
    """A telegram took longer than it may."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `HangError` where what is within takes more processor time; main thread only.

    Not the time of the wall: on a busy machine every process waits now and then.
    """

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"not done after {seconds:g} s of processor time")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


class Checker:
    """Puts telegrams through the codec and counts what came of them.

    Args:
        seed: of the choice what is looked at on a share of the telegrams only.
    """

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._formats = Formats()
        self._random = Random(seed)

    def check(self, mutant: Mutant) -> None:
        """Everything that holds for these bytes.

        Raises:
            FuzzError: something does not. Any other exception is none of the codec's own.
        """
        self.counts["telegrams"] += 1
        frames = self._take(mutant)
        for frame in frames:
            if isinstance(frame, LongFrame):
                self._check_frame(frame)

    def _take(self, mutant: Mutant) -> list[Frame]:
        buffer = bytearray(mutant.data)
        frames: list[Frame] = []
        first = True
        while buffer:
            left = len(buffer)
            try:
                frame = take_frame(buffer)
            except FrameError:
                if len(buffer) != left - 1:
                    raise FuzzError("an error of a frame does not cost one byte") from None
                frame = None
                self.counts["frame errors"] += 1
            else:
                if frame is None:
                    if len(buffer) != left:
                        raise FuzzError("bytes are gone, and there is no frame")
                    self.counts["more bytes must come"] += 1
                    break
                if len(buffer) >= left:
                    raise FuzzError("a frame, and all bytes are still there")
                frames.append(frame)
            if first:
                self._check_first(mutant, frame)
                first = False
        return frames

    def _check_first(self, mutant: Mutant, frame: Frame | None) -> None:
        """Damage must be seen; a checksum of 8 bits sees all damage to one byte, and most other."""
        if mutant.whole:
            if not isinstance(frame, LongFrame):
                raise FuzzError("a whole frame is not read")
        elif mutant.touched:
            self.counts["damaged in place"] += 1
            if isinstance(frame, LongFrame):
                self.counts["damaged in place, and read"] += 1
                if mutant.touched == 1:
                    raise FuzzError("a frame with one wrong byte is read")

    def _check_frame(self, frame: LongFrame) -> None:
        random = self._random
        key = random.choice((None, None, KEY, _WRONG_KEY))
        formats = random.choice((None, self._formats))
        try:
            telegram = decode_telegram(frame, key, formats=formats)
        except MBusError as error:
            self.counts[f"refused: {type(error).__name__}"] += 1
            return
        self.counts[f"security: {telegram.security.name.lower()}"] += 1
        self.counts["records"] += len(telegram.records)
        self.counts["record errors"] += len(telegram.errors)
        for record in telegram.records:
            check_record(record)
        for lost in telegram.errors:
            if not lost.reason:
                raise FuzzError(f"no reason for {lost}")
        if random.random() < 0.5:
            again = decode_telegram(frame, key, formats=formats)
            same(telegram, again, "the same telegram once more")
        row = ci_row(frame.ci)
        if row.content is Content.RECORDS and telegram.security is Security.PLAIN:
            self._check_plain(frame.data, row.header.value, telegram)
        if random.random() < 0.02:
            self._check_words(telegram)

    def _check_words(self, telegram: Telegram) -> None:
        """What people and programs get of it."""
        self.counts["written as JSON, XML, profiles"] += 1
        json.loads(to_json(telegram), parse_constant=_no_constant)
        ElementTree.fromstring(to_xml([[telegram]]))
        for profile in telegram.profiles:
            for entry in profile.entries:
                self.counts["entries of profiles"] += 1
                if (entry.value is None) == (entry.invalid is None):
                    raise FuzzError(f"an entry of a profile has both, or nothing: {entry!r}")

    def _check_plain(self, data: bytes, offset: int, telegram: Telegram) -> None:
        found = Records(
            telegram.records,
            telegram.errors,
            telegram.manufacturer_data,
            telegram.more_records_follow,
            any(header.own_codes for header in telegram.records.headers),
        )
        if telegram.from_master:  # named, and kept as it came
            if [error.data for error in telegram.errors] != [data]:
                raise FuzzError(f"bytes of a master are nowhere: {telegram.errors}")
            return
        # Other security modes have bytes of their own before the records, encrypted or not.
        mode = 0 if telegram.header is None else telegram.header.configuration >> 8 & 0x1F
        if telegram.ci in _PLAIN_CIS and mode in (0, 5):
            check_nothing_lost(data, offset, found)
            address = None if telegram.header is None else telegram.header.address
            fresh = without_false_values(decode_records(data, offset), address)
            same_records(found, fresh, "without memory")
            if self._random.random() < 0.1:
                self._check_memory(data, offset, found)
            if self._random.random() < 0.05 and not found.errors and found.records:
                self._check_compact(found)

    def _check_memory(self, data: bytes, offset: int, found: Records) -> None:
        """The third sight of a layout is read with what was remembered; with other data, too."""
        for _ in range(2):
            same_records(read_records(data, offset), decode_records(data, offset), "remembered")
        self.counts["layouts with other data"] += 1
        changed = other_data(data, offset, found, self._random)
        same_records(
            read_records(changed, offset),
            decode_records(changed, offset),
            f"other data {changed.hex()} in a remembered layout",
        )

    def _check_compact(self, found: Records) -> None:
        """The same records in a compact frame, whose format a full or a format frame has told."""
        content = b"".join(map(_block, found.records))
        # Without the fillers a text may be read in another way.
        if decode_records(content).records != found.records:
            return
        formats = Formats()
        try:
            compact = LongFrame(0x08, 1, 0x79, encode_compact(found))
            if by_format := self._random.random() < 0.5:
                decode_telegram(LongFrame(0x08, 1, 0x69, encode_format(found)), formats=formats)
            else:
                decode_telegram(_full(found), formats=formats)
        except EncodeError:
            self.counts["no compact frame for it"] += 1
            return
        telegram = decode_telegram(compact, formats=formats)
        # In a format frame there is nothing but a list of bytes, and with a plain-text VIF it can
        # be read in several ways. Then there may be no records, but never wrong ones.
        if by_format and telegram.unreadable and _has_text(found):
            self.counts["compact frames not read"] += 1
            return
        self.counts["compact frames"] += 1
        if list(map(_written, telegram.records)) != list(map(_written, found.records)):
            raise FuzzError(f"in a compact frame: {telegram!r}, not {found!r}")


# Those whose user data are the records as they stand, behind the header.
_PLAIN_CIS = (0x72, 0x78, 0x7A)


def check_record(record: DataRecord) -> None:
    """A value of a known type, or none and a reason."""
    value = record.value
    if (value is None) == (record.invalid is None) or record.invalid == "":
        raise FuzzError(f"value {value!r} and reason {record.invalid!r}")
    if value is None:
        return
    if not isinstance(value, _VALUES):
        raise FuzzError(f"a value of type {type(value).__name__}")
    if isinstance(value, Decimal) and not value.is_finite():
        raise FuzzError(f"a value of {value}")
    if isinstance(record.step, float) or (record.step is not None and record.step <= 0):
        raise FuzzError(f"a step of {record.step!r}")


def check_nothing_lost(data: bytes, offset: int, found: Records) -> None:
    """Every byte is in a record, in an error, a filler, or the manufacturer's; and in their order.

    Raises:
        FuzzError: one is not.
    """
    for kind, first, last in spans(data, offset, found):
        if kind == "lost":
            raise FuzzError(f"bytes {first} to {last} are nowhere: {data[first:last].hex()}")


def spans(data: bytes, offset: int, found: Records) -> Iterator[tuple[str, int, int]]:
    """What each part of a walk is, from which offset, to which.

    ``head`` and ``data`` of each record (an LVAR byte belongs to the head), ``error``,
    ``filler``, ``own`` data of the manufacturer; ``lost`` where nothing fits, and there it ends.
    """
    records = iter(found.records)
    errors: dict[int, RecordError] = {error.offset: error for error in found.errors}
    count = 0
    position = offset
    while position < len(data):
        dif = data[position]
        if position in errors:
            error = errors.pop(position)
            if not error.data or not data.startswith(error.data, position):
                break
            yield "error", position, position + len(error.data)
            position += len(error.data)
        elif dif == FILLER:
            yield "filler", position, position + 1
            position += 1
        elif dif in (MANUFACTURER_DATA, MORE_RECORDS_FOLLOW):
            own = data[position + 1 :]
            more = dif == MORE_RECORDS_FOLLOW
            if found.manufacturer_data != own or found.more_records_follow != more:
                break
            yield "own", position + 1, len(data)
            position = len(data)
        else:
            record = next(records, None)
            if record is None:
                break
            count += 1
            block = _block(record)
            if not data.startswith(block, position):
                break
            end = position + len(block)
            first = end - len(record.data)
            first += record.dib[0] & 0x0F == DataField.VARIABLE
            yield "head", position, first
            yield "data", first, end
            position = end
    if position != len(data) or count != len(found.records) or errors:
        yield "lost", position, len(data)


def other_data(data: bytes, offset: int, found: Records, random: Random) -> bytes:
    """The same layout with other data in some of its records, digits more often than chance has."""
    changed = bytearray(data)
    for kind, first, last in spans(data, offset, found):
        if kind in ("data", "own") and random.random() < 0.7:
            length = last - first
            changed[first:last] = random.choice(
                (
                    random.randbytes(length),
                    bytes.fromhex("".join(random.choices("0123456789", k=2 * length))),
                    bytes.fromhex("".join(random.choices("0123456789ABCDEF", k=2 * length))),
                    b"\xff" * length,
                    bytes(max(0, length - 1)) + b"\x80" * min(1, length),
                )
            )
    return bytes(changed)


def same(first: Telegram, second: Telegram, what: str) -> None:
    """Two readings of one telegram are the same.

    Raises:
        FuzzError: they are not.
    """
    if first != second or repr(first) != repr(second):
        raise FuzzError(f"{what}: {first!r}, and then {second!r}")


def same_records(first: Records, second: Records, what: str) -> None:
    """Two walks over the same data have found the same, to the last zero of a number.

    Raises:
        FuzzError: they have not.
    """
    if first != second or list(map(_written, first.records)) != list(map(_written, second.records)):
        raise FuzzError(f"{what}: {first!r}, not {second!r}")


def _full(found: Records) -> LongFrame:
    own = found.manufacturer_data
    last = MORE_RECORDS_FOLLOW if found.more_records_follow else MANUFACTURER_DATA
    end = b"" if own is None else bytes((last,)) + own
    return LongFrame(0x08, 1, 0x78, b"".join(map(_block, found.records)) + end)


def _has_text(found: Records) -> bool:
    return any(record.vib[0] & 0x7F == PLAIN_TEXT for record in found.records)


def _block(record: DataRecord) -> bytes:
    return record.dib + record.vib + record.data


def _written(record: DataRecord) -> str:
    return str(record.value)


def _no_constant(text: str) -> float:
    raise FuzzError(f"{text} in JSON, which has no such thing")


def odds_of_a_checksum(damaged: int) -> float:
    """How many of so many frames with random damage may be read, at most; six deviations."""
    expected = damaged / 256
    return expected + 6 * math.sqrt(expected) + 1
