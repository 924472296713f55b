"""How ``read`` and ``decode`` show telegrams."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.cli.options import Format
from bridge.cli.output import Rows, out, say, write
from bridge.mbus.address import manufacturer_name
from bridge.mbus.report import device_type_name, to_json, to_rows
from bridge.mbus.security import Security
from bridge.mbus.telegram import Telegram


def show(telegrams: Iterable[Telegram], format: Format) -> None:
    """Print each telegram: a table, or one JSON object a line."""
    shown = tuple(telegrams)
    for number, telegram in enumerate(shown):
        if format is Format.JSON:
            write(to_json(telegram))
            continue
        if number:
            out.print()
        _show_text(telegram)
    if any(telegram.security is Security.NO_KEY for telegram in shown):
        say("This meter encrypts: name the file with its key, --key FILE.")


def _show_text(telegram: Telegram) -> None:
    out.print(_headline(telegram))
    if telegram.application_error is not None:
        out.print(f"  application error: {telegram.application_error}")
    if telegram.alarm is not None:
        out.print(f"  alarm flags: {telegram.alarm.hex(' ').upper()}")
    if telegram.records:
        rows = Rows("function", "st/ta/su", "quantity", "value", "bytes")
        for row in to_rows(telegram):
            rows.add(*row)
        rows.show()
    if telegram.manufacturer_data:
        out.print(f"manufacturer data: {telegram.manufacturer_data.hex(' ').upper()}")
    if telegram.more_records_follow:
        out.print("more records follow in the next telegram")
    for note in telegram.notes:
        out.print(f"note: {note}")
    for error in telegram.errors:
        out.print(f"not decoded: {error}", style="red")


def _headline(telegram: Telegram) -> str:
    words = [f"address {telegram.address}", f"CI {telegram.ci:02X}"]
    header = telegram.header
    if header is not None:
        if (meter := header.address) is not None:
            words.insert(0, str(meter))
            if meter.manufacturer is not None:
                words.append(manufacturer_name(meter.manufacturer))
            if meter.device_type is not None:
                words.append(device_type_name(meter.device_type))
        words.append(f"access number {header.access_number}")
        words.append(f"status {header.status:02X}")
        if telegram.encryption != "none":
            words.append(f"encryption: {telegram.encryption}, {telegram.security.value}")
    return ", ".join(words)
