"""How ``read`` and ``decode`` show telegrams."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import simplejson

from bridge.cli.options import TelegramFormat
from bridge.cli.output import Rows, out, say, write
from bridge.cli.recording import Problem
from bridge.cli.summary import Summary
from bridge.mbus.address import SecondaryAddress, manufacturer_name
from bridge.mbus.answers import to_answers
from bridge.mbus.makers import maker_name, model_name, status_bits
from bridge.mbus.normalized import to_xml
from bridge.mbus.profile import Profile, unfold
from bridge.mbus.report import CsvRow, to_csv_rows, to_dict
from bridge.mbus.security import Security
from bridge.mbus.table import TextRow, to_rows
from bridge.mbus.telegram import Telegram
from bridge.mbus.words import command_of, device_type_name, format_text, is_fixed, status_words


class Recording(NamedTuple):
    """Telegrams that came from one place; ``problems`` are those of the place itself.

    ``file`` is its name, empty where it needs none. ``is_answer`` says that the telegrams are known
    to be one answer; else they are several as they look.
    """

    telegrams: Sequence[Telegram]
    file: str = ""
    problems: Sequence[Problem] = ()
    is_answer: bool = False


class _Part(NamedTuple):
    """A telegram, and its place in the answer: ``number`` 1 to ``total``.

    ``profiles`` are those of the whole answer.
    """

    telegram: Telegram
    number: int
    total: int
    profiles: Sequence[Profile]


def show(
    recordings: Sequence[Recording], format: TelegramFormat, summary: Summary | None = None
) -> None:
    """Print telegrams, and at the end the summary.

    Text is a table for each telegram. JSON is one object a line for each telegram, and one for the
    problems of a file that has any; or one for each file where there is a summary. CSV and XML are
    one file and one document of all.
    """
    telegrams = [telegram for each in recordings for telegram in each.telegrams]
    files = [(each, list(_parts(each))) for each in recordings]
    match format:
        case TelegramFormat.TEXT:
            _show_text(files, summary)
        case TelegramFormat.JSON:
            _show_json(files, summary)
        case TelegramFormat.CSV:
            _show_csv(files)
        case TelegramFormat.XML:
            _show_xml(files)
            for recording, parts in files:
                _say_beside(recording, parts, _not_in_xml)
    if summary is not None and format in (TelegramFormat.CSV, TelegramFormat.XML):
        for line in summary.to_lines(out.width):
            say(line)
    if any(telegram.security is Security.NO_KEY for telegram in telegrams):
        say("This meter encrypts: name the file with its key, --key FILE.")
    if any(telegram.security is Security.NO_ADDRESS for telegram in telegrams):
        say("Whose telegram it is belongs to the key here: name the meter, --meter ADDRESS.")
    if any(telegram.security is Security.WRONG_KEY for telegram in telegrams):
        say("Is it the key of this meter? Compare it with the supplier's list.")


def is_decoded(telegram: Telegram) -> bool:
    """Whether all of it was read. An application error and an alarm are what the meter says."""
    return (
        not telegram.errors
        or telegram.application_error is not None
        or telegram.alarm is not None
        or command_of(telegram) is not None
    )


def with_note_of_key(telegram: Telegram) -> Telegram:
    """The telegram, with a note where the user gave a key for it and it wants none."""
    if telegram.security is not Security.PLAIN or telegram.from_master:
        return telegram
    note = "a key was given, but the telegram is not encrypted"
    return telegram._replace(notes=(*telegram.notes, note))


def _parts(recording: Recording) -> Iterator[_Part]:
    telegrams = recording.telegrams
    for answer in [telegrams] if recording.is_answer else to_answers(telegrams):
        profiles = unfold([record for telegram in answer for record in telegram.records])
        for number, telegram in enumerate(answer, 1):
            yield _Part(telegram, number, len(answer), profiles)


_Files = Sequence[tuple[Recording, Sequence[_Part]]]


def _show_text(files: _Files, summary: Summary | None) -> None:
    begun = False
    for recording, parts in files:
        for n, part in enumerate(parts):
            if begun:
                out.print()
            begun = True
            if recording.file and not n:
                out.print(f"{recording.file}:", style="bold")
            _show_table(part)
    if summary is not None:
        if begun:
            out.print()
        for line in summary.to_lines(out.width):
            out.print(line)


def _show_json(files: _Files, summary: Summary | None) -> None:
    for recording, parts in files:
        reports = [_part_as_json(part) for part in parts]
        problems = [problem.to_dict() for problem in recording.problems]
        if summary is not None:
            _write_json({"file": recording.file, "telegrams": reports, "problems": problems})
            continue
        if problems:
            reports.append({"problems": problems})
        for report in reports:
            _write_json({"file": recording.file, **report} if recording.file else report)
    if summary is not None:
        _write_json({"summary": summary.to_dict()})


def _part_as_json(part: _Part) -> dict[str, Any]:
    report = to_dict(part.telegram, part.profiles)
    if part.total > 1:
        report |= {"telegram": part.number, "telegrams": part.total}
    return report


def _write_json(report: dict[str, Any]) -> None:
    write(simplejson.dumps(report, use_decimal=True, ensure_ascii=False))


def _show_csv(files: _Files) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CsvRow._fields)
    for recording, parts in files:
        for number, part in enumerate(parts, 1):
            writer.writerows(to_csv_rows(part.telegram, number, recording.file, part.profiles))
        _say_beside(recording, parts, _not_in_csv)
    write(text.getvalue())


def _say_beside(
    recording: Recording, parts: Sequence[_Part], lines_of: Callable[[_Part], Iterable[str]]
) -> None:
    """Tell on stderr what stdout has no place for."""
    place = f"{recording.file}: " if recording.file else ""
    for number, part in enumerate(parts, 1):
        for line in lines_of(part):
            say(f"{place}telegram {number}: {line}")


def _not_in_csv(part: _Part) -> Iterator[str]:
    telegram = part.telegram
    yield from _beside_the_table(telegram)
    if telegram.more_records_follow and (missing := _whether_here(part)):
        yield f"more records follow in the next telegram{missing}"
    yield from _not_in_xml(part)
    yield from _not_in_the_table(telegram)


def _not_in_xml(part: _Part) -> Iterator[str]:
    return (f"note: {note}" for note in part.telegram.notes)


def _show_xml(files: _Files) -> None:
    named = any(recording.file for recording, _ in files)
    answers: list[list[Telegram]] = []
    names: list[str] = []
    for recording, parts in files:
        for part in parts:
            if part.number == 1:
                answers.append([])
                names.append(recording.file)
            answers[-1].append(part.telegram)
    if answers or named:
        write(to_xml(answers, names if named else ()))


def _show_table(part: _Part) -> None:
    telegram = part.telegram
    place = f", telegram {part.number} of {part.total}" if part.total > 1 else ""
    out.print(_headline(telegram) + place)
    if telegram.records:
        rows = Rows(*("bytes" if name == "data" else name for name in TextRow._fields))
        for row in to_rows(telegram, part.profiles):
            rows.add(*row)
        rows.show()
    for line in _beside_the_table(telegram):
        out.print(line)
    if telegram.more_records_follow:
        out.print(f"more records follow in the next telegram{_whether_here(part)}")
    for note in telegram.notes:
        out.print(f"note: {note}")
    style = None if command_of(telegram) is not None else "red"
    for line in _not_in_the_table(telegram):
        out.print(line, style=style)


def _whether_here(part: _Part) -> str:
    return "" if part.number < part.total else ", which is not here"


def _beside_the_table(telegram: Telegram) -> Iterator[str]:
    """What a telegram holds beside its records."""
    if telegram.format is not None:
        yield f"format {format_text(telegram.format)}"
    if telegram.manufacturer_data:
        yield f"manufacturer data: {telegram.manufacturer_data.hex(' ').upper()}"


def _not_in_the_table(telegram: Telegram) -> list[str]:
    """What a telegram says instead of records, and what of it could not be read."""
    if telegram.application_error is not None:
        data = telegram.application_error.data.hex(" ").upper()
        return [f"{telegram.application_error}{', with ' if data else ''}{data}"]
    if telegram.alarm is not None:
        return [f"alarm flags: {telegram.alarm.hex(' ').upper()}"]
    if (command := command_of(telegram)) is not None:
        return [str(command)]
    return [f"not decoded: {error}" for error in telegram.errors]


def _headline(telegram: Telegram) -> str:
    words = [f"address {telegram.address}", f"CI {telegram.ci:02X}"]
    if telegram.from_master:
        words.append("from a master")
    if telegram.access_demand:
        words.append("ACD (class 1 data wait)")
    if telegram.data_flow_control:
        words.append("DFC (takes no more data)")
    header = telegram.header
    if header is not None:
        if header.address is not None:
            words = [str(header.address), *words, *_meter(header.address)]
        words.append(f"access number {header.access_number}")
        own = status_bits(header.address)
        says = status_words(header.status, own, fixed=is_fixed(telegram))
        words.append(f"status {header.status:02X}" + (f" ({', '.join(says)})" if says else ""))
        if telegram.encryption != "none":
            words.append(f"encryption: {telegram.encryption}, {telegram.security.value}")
    return ", ".join(words)


def _meter(address: SecondaryAddress) -> Iterator[str]:
    """Who made it, which model it is where that is known, and what it measures."""
    if address.manufacturer is not None:
        code = manufacturer_name(address.manufacturer)
        yield maker_name(code) or code
    if (model := model_name(address)) is not None:
        yield model
    if address.device_type is not None:
        yield device_type_name(address.device_type)
