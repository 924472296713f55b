"""What many telegrams come to, all in all."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import Any

from bridge.cli.names import counted
from bridge.cli.recording import Problem
from bridge.mbus.address import manufacturer_name
from bridge.mbus.record import DataRecord
from bridge.mbus.telegram import Telegram
from bridge.mbus.words import command_of, device_type_name, readable_reason
from bridge.units import Quantity

_LABEL = 16  # columns


class Summary:
    """Counts over the files of folders; ``passed_over`` are those that are no recordings."""

    def __init__(self) -> None:
        self.passed_over = 0
        self._files = 0
        self._empty = 0
        self._telegrams = 0
        self._records = 0
        self._manufacturers: Counter[str] = Counter()
        self._device_types: Counter[str] = Counter()
        self._without_value: Counter[str] = Counter()
        self._not_understood: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._commands: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def add(self, telegrams: Iterable[Telegram], problems: Iterable[Problem] = ()) -> None:
        """Count what a file holds."""
        before = self._telegrams
        self._files += 1
        self._errors.update(problem.kind or problem.reason for problem in problems)
        for telegram in telegrams:
            self._telegrams += 1
            self._records += len(telegram.records)
            self._count_meter(telegram)
            if telegram.application_error is not None:
                self._told[telegram.application_error.text] += 1
            elif telegram.alarm is not None:
                self._told["alarm"] += 1
            elif (command := command_of(telegram)) is not None:
                self._commands[command.name] += 1
            else:
                self._errors.update(error.reason for error in telegram.errors)
            for record in telegram.records:
                if record.value is None:
                    self._without_value[_kind_of_reason(record.invalid or "")] += 1
                if is_not_understood(record):
                    self._not_understood[f"VIB {record.vib.hex().upper()}"] += 1
        self._empty += self._telegrams == before

    def _count_meter(self, telegram: Telegram) -> None:
        address = None if telegram.header is None else telegram.header.address
        if address is None:
            return
        if address.manufacturer is not None:
            self._manufacturers[manufacturer_name(address.manufacturer)] += 1
        if address.device_type is not None:
            self._device_types[device_type_name(address.device_type)] += 1

    def to_dict(self) -> dict[str, Any]:
        """For programs; each count of many things with the most frequent first."""
        return {
            "files": self._files,
            "files_without_telegram": self._empty,
            "files_passed_over": self.passed_over,
            "telegrams": self._telegrams,
            "records": self._records,
            "manufacturers": dict(_sorted(self._manufacturers)),
            "device_types": dict(_sorted(self._device_types)),
            "without_value": dict(_sorted(self._without_value)),
            "not_understood": dict(_sorted(self._not_understood)),
            "application_errors": dict(_sorted(self._told)),
            "commands": dict(_sorted(self._commands)),
            "errors": dict(_sorted(self._errors)),
        }

    def to_lines(self, width: int) -> list[str]:
        """For people, in lines of at most ``width`` columns."""
        files = counted(self._files, "file")
        if self._empty:
            files += f", {self._empty} without a telegram"
        if self.passed_over:
            files += f"; {counted(self.passed_over, 'other file')} passed over"
        lines = [f"{files}; {counted(self._telegrams, 'telegram')}; "]
        lines[0] += counted(self._records, "record")
        for label, counts in (
            ("manufacturers", self._manufacturers),
            ("device types", self._device_types),
            ("without value", self._without_value),
            ("not understood", self._not_understood),
            ("meters report", self._told),
            ("commands", self._commands),
            ("errors", self._errors),
        ):
            if counts:
                text = "; ".join(f"{name}: {number}" for name, number in _sorted(counts))
                lines += textwrap.wrap(
                    text,
                    width,
                    initial_indent=label.ljust(_LABEL),
                    subsequent_indent=" " * _LABEL,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
        return lines


def is_not_understood(record: DataRecord) -> bool:
    """Whether a VIF or VIFE is in no table, and not the manufacturer's own either."""
    return record.quantity is Quantity.UNKNOWN or any(
        modifier.startswith("reserved") for modifier in record.modifiers
    )


def _kind_of_reason(reason: str) -> str:
    """A reason without the very digits: ``BCD DDDD`` and ``BCD EEEE`` are of one kind."""
    if readable_reason(reason) != reason:
        return "BCD digits above 9"
    return re.sub(r"^(no date|no time): .*", r"\1", reason)


def _sorted(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
