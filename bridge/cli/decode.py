"""``decode``: what bytes say."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from bridge.cli.errors import UsageError
from bridge.cli.options import KeyFile, TelegramFormat, TelegramFormatOption, key_of
from bridge.cli.output import say
from bridge.cli.recording import (
    Noise,
    Problem,
    Whole,
    digits_of,
    is_recording,
    odd_character,
    pieces,
    text_of,
)
from bridge.cli.summary import Summary
from bridge.cli.telegrams import Recording, is_decoded, show, with_note_of_key
from bridge.errors import BridgeError
from bridge.mbus.address import SecondaryAddress, encode_secondary, parse_address
from bridge.mbus.compact import Formats
from bridge.mbus.control import Content, HeaderKind, ci_row
from bridge.mbus.errors import MBusError
from bridge.mbus.frame import LongFrame, ShortFrame
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.mbus.words import service_of

_STDIN = "-"
# A file of a folder that may hold telegrams by its name; another may by its content, if it is no
# larger than many days of a bus are in hex.
_SUFFIXES = (".hex", ".bin")
_LARGEST = 4_000_000  # bytes


class InputError(BridgeError):
    """What was given is no telegram."""


class HexError(InputError, UsageError):
    """What stands on the command line is neither hex digits nor a file."""


class Source(NamedTuple):
    """Where bytes come from: the command line (``text``), a file, or else stdin.

    ``folder`` is the one of the command line that the file was found in, ``trouble`` why it cannot
    be looked at.
    """

    name: str
    path: Path | None = None
    text: str | None = None
    folder: str = ""
    trouble: str = ""


def decode(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="HEX|FILE|FOLDER",
            help="Frames as hex digits; files with such, or with the bytes; folders of files "
            "(those named .hex or .bin, and others that hold frames in hex digits), and the "
            "folders in them; - for stdin.",
        ),
    ],
    key: KeyFile = None,
    meter: Annotated[
        str | None,
        typer.Option(
            "--meter",
            metavar="ADDRESS",
            help="Whose telegrams they are, 12345678-KAM-1B-04 in full: an encrypted one with a "
            "short header does not tell.",
        ),
    ] = None,
    format: TelegramFormatOption = TelegramFormat.TEXT,
) -> None:
    """Decode telegrams from bytes: every record, with exact values.

    Telegrams of one answer are numbered; an answer is in one file. After a folder comes a summary.
    Bytes between frames that belong to none are told, and do no harm. The exit status is 0 if all
    was decoded; 1 if a frame is damaged or ends too early, a file holds no whole frame, a folder no
    recording, or a telegram has something that could not be decoded; 2 if a file is not there.

    Examples:

      mbus-bacnet decode telegram.hex --format json
      mbus-bacnet decode 68131368080573785634120A00E97E01000000350100003C16
      mbus-bacnet decode recordings/ --format csv > records.csv
      cat telegrams.hex | mbus-bacnet decode -
    """
    decoder = _Decoder(key_of(key), _meter(meter))
    folders = [each for each in what if os.path.isdir(each)]
    summary = Summary()
    sources = list(_sources(what, summary))
    named = len(sources) > 1 or bool(folders)
    recordings: list[Recording] = []
    status = 0
    for source in sources:
        telegrams: list[Telegram] = []
        problems: list[Problem] = []
        prefix = f"{source.name}: " if named else ""
        try:
            decoder.decode(source, prefix, telegrams, problems)
        except InputError as error:
            if isinstance(error, HexError):
                if not named:
                    raise
                status = 2
            problems.append(Problem(str(error)))
        for problem in problems:
            say(f"mbus-bacnet: {'' if source.name in problem.reason else prefix}{problem}")
        recordings.append(Recording(telegrams, source.name if named else "", problems))
    decoder.decode_again()
    for recording in recordings:
        if recording.problems or not all(map(is_decoded, recording.telegrams)):
            status = max(status, 1)
        summary.add(recording.telegrams, recording.problems)
    for folder in folders:
        if not any(source.folder == folder for source in sources):
            say(f"mbus-bacnet: {_printable(folder)}: there is no recording in this folder")
            status = max(status, 1)
    show(recordings, format, summary if folders else None)
    if status:
        raise typer.Exit(status)


def _meter(text: str | None) -> SecondaryAddress | None:
    if text is None:
        return None
    address = parse_address(text)
    if not isinstance(address, SecondaryAddress) or address.is_wildcard:
        raise HexError(
            f"--meter {text}: the whole secondary address is needed, like 12345678-KAM-1B-04"
        )
    return address


def _sources(what: list[str], summary: Summary) -> Iterator[Source]:
    """What the command line names; the files of a folder each, in their order."""
    if not all(each.strip() for each in what):
        raise HexError(
            "an argument is empty; give hex digits, files or folders, or - for standard input"
        )
    # A long row of hex digits is no name of a file to os.path, where Path would complain.
    paths = [each for each in what if not _is_hex(each) or os.path.exists(each)]
    if not paths or (len(what) > 1 and all(_is_hex(each) for each in what)):
        yield Source("", text=" ".join(what))
        return
    if len(paths) < len(what):
        odd = next(each for each in what if not _is_hex(each))
        raise HexError(f"{odd!r} stands among hex digits and is none; give hex digits or files")
    for each in paths:
        path = Path(each)
        if each == _STDIN:
            yield Source("stdin")
        elif path.is_dir():
            yield from _files_of(each, summary)
        else:
            yield Source(_printable(each), path)


def _printable(path: str) -> str:
    """The name of a file as text, whatever bytes it has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _files_of(folder: str, summary: Summary) -> Iterator[Source]:
    failures: list[OSError] = []
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=failures.append):
        found += (Path(place, name) for name in names)
        # A link to a folder may lead back, and is not followed.
        summary.passed_over += sum(Path(place, name).is_symlink() for name in folders)
    for failure in failures:
        name = _printable(failure.filename)
        trouble = f"{name} cannot be read: {failure.strerror}"
        yield Source(name, folder=folder, trouble=trouble)
    for path in sorted(found):
        if path.is_file() and (path.suffix.lower() in _SUFFIXES or _holds_frames(path)):
            yield Source(_printable(str(path)), path, folder=folder)
        else:
            summary.passed_over += 1


def _holds_frames(path: Path) -> bool:
    try:
        if path.stat().st_size > _LARGEST:
            return False
        text = text_of(path.read_bytes())
    except OSError:
        return False
    return text is not None and is_recording(text)


class _Place(NamedTuple):
    """What is known of the meters of one source, by their primary addresses.

    ``formats`` are those told by telegrams that do not say whose they are; ``meters`` are the
    secondary addresses seen.
    """

    formats: dict[int, Formats]
    meters: dict[int, set[bytes]]


class _Unread(NamedTuple):
    """A compact frame whose format nobody has told yet; ``number`` is its place."""

    frame: LongFrame
    place: _Place
    telegrams: list[Telegram]
    number: int


class _Decoder:
    """Decodes sources one after the other.

    What a meter told of its formats is remembered: in all sources where its telegrams say which
    meter it is, else in one source.
    """

    def __init__(self, key: bytes | None, meter: SecondaryAddress | None) -> None:
        self._key = key
        self._meter = meter
        self._formats: dict[bytes, Formats] = {}
        self._unread: list[_Unread] = []

    def decode(
        self, source: Source, prefix: str, telegrams: list[Telegram], problems: list[Problem]
    ) -> None:
        """Add the telegrams of a source, and what is wrong with it; tell the rest on stderr.

        Raises:
            InputError: there is not one frame in it, or it cannot be read.
        """
        place = _Place({}, {})
        frames = 0
        for piece in pieces(_bytes_of(source)):
            match piece:
                case Noise():
                    say(f"{prefix}{piece}")
                case Problem():
                    problems.append(piece)
                case Whole(frame=LongFrame() as frame):
                    frames += 1
                    try:
                        telegram = self._decode(frame, place)
                    except MBusError as error:
                        reason = str(error)
                        problems.append(Problem(reason, piece.offset, piece.data, reason))
                        continue
                    if telegram.unreadable:
                        self._unread.append(_Unread(frame, place, telegrams, len(telegrams)))
                    telegrams.append(telegram)
                case Whole(frame=ShortFrame(control=control, address=address)):
                    frames += 1
                    service = service_of(control)
                    name = "" if service is None else f"{service}, "
                    say(f"{prefix}short frame: {name}C {control:02X}, address {address}")
                case Whole():
                    frames += 1
                    count = len(piece.data)
                    times = f", {count} times" if count > 1 else ""
                    say(f"{prefix}acknowledgement: E5{times}")
        if not frames:
            raise InputError("there is no whole frame in these bytes")

    def decode_again(self) -> None:
        """Decode what could not be read before its format was told, in place."""
        for unread in self._unread:
            unread.telegrams[unread.number] = self._decode(unread.frame, unread.place)
        self._unread.clear()

    def _decode(self, frame: LongFrame, place: _Place) -> Telegram:
        own, *others = self._memories(frame, place)
        telegram = decode_telegram(frame, self._key, meter=self._meter, formats=own)
        for formats in others:
            if not telegram.unreadable:
                break
            telegram = decode_telegram(frame, self._key, meter=self._meter, formats=formats)
        return telegram if self._key is None else with_note_of_key(telegram)

    def _memories(self, frame: LongFrame, place: _Place) -> list[Formats]:
        """Where to keep what this telegram tells; and behind it, where else to look."""
        nobodys = place.formats.setdefault(frame.address, Formats())
        meters = place.meters.setdefault(frame.address, set())
        meter = self._secondary(frame)
        if meter is not None:
            meters.add(meter)
            return [self._formats.setdefault(meter, Formats()), nobodys]
        # At one primary address there may have been several meters, of which it could be any.
        return [nobodys, *(self._formats[each] for each in meters if len(meters) == 1)]

    def _secondary(self, frame: LongFrame) -> bytes | None:
        """The secondary address as it is in the long header, or else the one that was named."""
        row = ci_row(frame.ci)
        if row.header is HeaderKind.LONG and row.content in _OF_FORMATS:
            return frame.data[:8]
        return None if self._meter is None else encode_secondary(self._meter)


_OF_FORMATS = (Content.RECORDS, Content.COMPACT, Content.FORMAT)


def _bytes_of(source: Source) -> bytes:
    if source.trouble:
        raise HexError(source.trouble)
    if source.text is not None:
        return _bytes(source.text)
    data = sys.stdin.buffer.read() if source.path is None else _read(source.path)
    text = text_of(data)
    return data if text is None else _bytes(text)


def _is_hex(text: str) -> bool:
    return odd_character(digits_of(text)) is None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise HexError(
            f"{str(path)!r} is neither hex digits nor a file that is there; give bytes as "
            "68 1F 1F 68 ... 16, or the path of a file with such"
        ) from None
    except OSError as error:
        raise HexError(f"{_printable(str(path))} cannot be read: {error.strerror}") from error


def _bytes(text: str) -> bytes:
    digits = digits_of(text)
    odd = odd_character(digits)
    if odd is not None:
        raise InputError(f"{odd!r} is no hex digit; bytes read 68 1F 1F 68 ... 16")
    if len(digits) % 2:
        raise InputError(f"{len(digits)} hex digits make no whole bytes: one is missing")
    return bytes.fromhex(digits)
