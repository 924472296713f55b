"""What people call things: BACnet objects in short, and counted things."""

from __future__ import annotations

_ABBREVIATIONS = {
    "accumulator": "ACC",
    "analog-input": "AI",
    "analog-output": "AO",
    "analog-value": "AV",
    "binary-input": "BI",
    "binary-output": "BO",
    "binary-value": "BV",
    "characterstring-value": "CSV",
    "date-value": "DV",
    "datetime-value": "DTV",
    "large-analog-value": "LAV",
    "multi-state-input": "MSI",
    "multi-state-output": "MSO",
    "multi-state-value": "MSV",
    "positive-integer-value": "PIV",
    "time-value": "TV",
}


def short_object(object_type: str, instance: int | str) -> str:
    """analog-input and 5 as ``AI 5``, the way it is spoken of."""
    return f"{_ABBREVIATIONS.get(object_type, object_type)} {instance}"


def counted(number: int, thing: str) -> str:
    """``1 meter``, ``2 meters``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
