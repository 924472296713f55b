"""``history``: what the meters said, for billing."""

from __future__ import annotations

import csv
import datetime
import io
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import simplejson
import typer

from bridge.cli.errors import UsageError
from bridge.cli.names import counted
from bridge.cli.output import say, write
from bridge.config.errors import ConfigError
from bridge.config.load import load
from bridge.config.model import Bus
from bridge.config.values import choose, parse_duration
from bridge.mbus.report import PlainDecimal
from bridge.points.history import HISTORY_FILE, History
from bridge.points.reading import Value
from bridge.points.records import HistoryError, Records, Row
from bridge.units import NO_UNITS

COLUMNS = ("time", "meter", "point", "value", "unit", "fault")

# How many rows are made into text at a time: few enough to be soon there, many enough to be quick.
_AT_A_TIME = 500


class HistoryFormat(StrEnum):
    """How readings are shown."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"


def _when(text: str) -> float:
    """``2026-11-01``, ``2026-11-01 00:00`` by the clock of this machine; ``30d`` ago."""
    ago = parse_duration(text)
    if ago is not None:
        return time.time() - ago
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-11-01, '2026-11-01 00:00', or 30d for 30 days ago."
        ) from None


def history(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|STATE",
            help="The site's YAML file; or its state folder, which does without.",
        ),
    ],
    meter: Annotated[
        list[str] | None,
        typer.Option("--meter", "-m", metavar="NAME", help="Of this meter only; may be repeated."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            "-p",
            metavar="NAME",
            help="Of this point only, as energy, or heat-1.energy; may be repeated.",
        ),
    ] = None,
    since: Annotated[
        float | None,
        typer.Option(
            "--from",
            metavar="WHEN",
            parser=_when,
            help="Read then or later: 2026-11-01, '2026-11-01 06:00', or 30d for 30 days ago.",
        ),
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            "--to",
            metavar="WHEN",
            parser=_when,
            help="Read before then: 2026-12-01 ends with the last reading of November.",
        ),
    ] = None,
    last: Annotated[
        bool, typer.Option("--last", help="The last reading of each point, and no others.")
    ] = False,
    format: Annotated[
        HistoryFormat,
        typer.Option("--format", "-f", metavar="text|csv|json", help="What stdout shows."),
    ] = HistoryFormat.TEXT,
) -> None:
    """Show what the bridge has read, with the time of each reading.

    Every good reading is kept, as long as history: in the site's file says. Values have all their
    digits, and the unit that they were read in. With those that a meter sent while it reported a
    permanent error of its own, the fault is shown. The bridge may be running.

    Examples:

      mbus-bacnet history site.yaml --last
      mbus-bacnet history site.yaml --meter heat-1 --from 2d
      mbus-bacnet history site.yaml --point energy --last --format json
      mbus-bacnet history site.yaml --from 2026-11-01 --to 2026-12-01 -f csv
      mbus-bacnet history site.state --last
    """
    if last and (since is not None or until is not None):
        raise UsageError("--last goes without --from and --to: it shows each point's last reading")
    if since is not None and until is not None and since >= until:
        raise UsageError("--from is not before --to, so no reading can lie between them")
    path, buses, is_kept = _found(config)
    with History.open_to_read(path) as records:
        known = records.points()
        _check_meters(buses, meter, {each.meter for each in known})
        names = [(each.meter, each.key.name) for each in known]
        points = _wanted_points(buses, point, meter, names)
        rows: Iterable[Row]
        if last:
            rows = records.last(meter or None, points)
        else:
            rows = records.readings(meter or None, points, since, until)
        widths = (
            max((len(name) for name, _ in names), default=0),
            max((len(_short(name, of)) for of, name in names), default=0),
        )
        if not _SHOW[format](rows, widths):
            say(_nothing(records, last=last, is_kept=is_kept))
        if records.skipped:
            say(
                f"{path}: {counted(records.skipped, 'reading')} could not be read, and "
                f"{'is' if records.skipped == 1 else 'are'} left out: a fault of the disk has "
                "damaged the file there. The disk may be failing: make a copy of what is there",
                logging.WARNING,
            )


def _found(config: Path) -> tuple[Path, Mapping[str, Bus], bool]:
    """Where the history stands, the buses of the site, and whether readings are kept.

    Without the site's file nothing is known of its buses.
    """
    if config.is_dir():
        return config / HISTORY_FILE, {}, True
    if config.name == HISTORY_FILE:
        return config, {}, True
    try:
        site = load(config)
    except ConfigError:
        usual = config.with_name(f"{config.stem}.state")
        say(
            "What was read can be shown without the site's file; name its state folder: history "
            f"{usual if usual.is_dir() else 'FOLDER'}",
            logging.WARNING,
        )
        raise
    if site.state is None:
        raise HistoryError("without a folder for its state, a bridge keeps no history")
    return site.state / HISTORY_FILE, site.buses, site.history.keep > 0


def _known_meters(buses: Mapping[str, Bus], others: Collection[str]) -> dict[str, None]:
    """Those of the file first, in its order."""
    here = [name for bus in buses.values() for name in bus.meters]
    return dict.fromkeys(chain(here, sorted(others)))


def _check_meters(
    buses: Mapping[str, Bus], wanted: list[str] | None, others: Collection[str]
) -> None:
    known = _known_meters(buses, others)
    for name in wanted or ():
        if name not in known:
            raise UsageError(
                f"there is no meter {name}, neither in the file nor in its history; "
                f"{choose(name, known)}"
            )


def _wanted_points(
    buses: Mapping[str, Bus],
    wanted: list[str] | None,
    meters: list[str] | None,
    names: list[tuple[str, str]],
) -> set[str] | None:
    """The full names of the points that are wanted; None where all are."""
    if not wanted:
        return None
    full = {name: of for of, name in names}
    for bus in buses.values():
        for name, meter in bus.meters.items():
            if not isinstance(meter.points, str):
                full |= {f"{name}.{point}": name for point in meter.points or ()}
    full = {name: of for name, of in full.items() if not meters or of in meters}
    found: set[str] = set()
    for point in wanted:
        meant = {name for name, of in full.items() if point in (name, _short(name, of))}
        if not meant:
            short = dict.fromkeys(_short(name, of) for name, of in full.items())
            known = list(full) if "." in point else list(short)
            where = f" of {' or '.join(meters)}" if meters else ""
            raise UsageError(
                f"there is no point {point}{where}, neither in the file nor in its history; "
                + (choose(point, known) if known else "nothing was read yet")
            )
        found |= meant
    return found


def _nothing(records: Records, *, last: bool, is_kept: bool) -> str:
    if not is_kept and not last:
        return "No readings: history: {keep: 0s} keeps the last ones only, which --last shows."
    count = len(records.points())
    if not count:
        return "No readings: the bridge has read nothing yet."
    return f"No readings fit; {counted(count, 'point')} of other meters, names or times are there."


def _short(name: str, meter: str) -> str:
    """A point's name within its meter: the meter stands beside it."""
    return name.removeprefix(f"{meter}.")


@lru_cache(maxsize=64)  # the values of an answer, which follow each other, have one time
def _time(at: float) -> str:
    """Local time with its offset from UTC, ISO 8601: 2026-11-01T00:00:00+01:00."""
    return datetime.datetime.fromtimestamp(at).astimezone().isoformat(timespec="seconds")


def _text_of(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return format(value, "f") if isinstance(value, Decimal) else value


def _cells(row: Row) -> tuple[str, ...]:
    unit = "" if row.unit == NO_UNITS else row.unit
    return (
        _time(row.at),
        row.meter,
        _short(row.point, row.meter),
        _text_of(row.value),
        unit,
        "" if row.fault is None else str(row.fault),
    )


def _show_text(rows: Iterable[Row], widths: tuple[int, int]) -> int:
    meters, points = widths

    def line(row: Row) -> str:
        when, meter, point, value, unit, fault = _cells(row)
        # A meter may send any character as text, an escape too.
        clean = "".join(each if each.isprintable() else "\ufffd" for each in value)
        text = f"{when}  {meter:{meters}}  {point:{points}}  {clean} {unit}".rstrip()
        return f"{text}  ({fault})" if fault else text

    return _write_lots(rows, lambda lot: "".join(f"{line(row)}\n" for row in lot))


def _show_csv(rows: Iterable[Row], _: tuple[int, int]) -> int:
    write(_csv([COLUMNS]))
    return _write_lots(rows, lambda lot: _csv(map(_cells, lot)))


def _csv(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _show_json(rows: Iterable[Row], _: tuple[int, int]) -> int:
    """One array, with a row on each line."""
    beginning = "[\n"

    def lines(lot: Iterable[Row]) -> str:
        nonlocal beginning
        text = ",\n".join(
            simplejson.dumps(_object(row), use_decimal=True, ensure_ascii=False) for row in lot
        )
        text, beginning = beginning + text, ","
        return text

    # `write` ends each lot with the end of a line, so the comma begins the next one's.
    count = _write_lots(rows, lines)
    write("]" if count else "[]")
    return count


def _object(row: Row) -> dict[str, Any]:
    value: Any = row.value
    if isinstance(value, Decimal):
        value = PlainDecimal(value)
    elif isinstance(value, datetime.date | datetime.time):
        value = value.isoformat()
    return {
        "time": _time(row.at),
        "meter": row.meter,
        "point": _short(row.point, row.meter),
        "value": value,
        "unit": row.unit,
        "fault": None if row.fault is None else str(row.fault),
    }


def _write_lots(rows: Iterable[Row], text_of: Callable[[Iterable[Row]], str]) -> int:
    """Write as the rows come, so that a year of them needs no more memory than an hour."""
    count = 0
    rows = iter(rows)
    while lot := list(islice(rows, _AT_A_TIME)):
        count += len(lot)
        write(text_of(lot))
    return count


_SHOW = {
    HistoryFormat.TEXT: _show_text,
    HistoryFormat.CSV: _show_csv,
    HistoryFormat.JSON: _show_json,
}
