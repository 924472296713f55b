"""Readings of all meters of a bus at one set time, as the file says it."""

from __future__ import annotations

import datetime
import re
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema

from bridge.config.base import Model
from bridge.config.errors import quoted
from bridge.config.values import HEX, choose, suggestion, text_of, wrong

# EN 13757-2: a long frame has room for 252 bytes behind its CI field.
_MOST_USER_DATA = 252


class Period(StrEnum):
    """How often an occasion comes again."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


class Occasion(NamedTuple):
    """A time that comes again and again, in local time.

    ``day`` is of the month, 1 to 31, ``weekday`` 0 for Monday, ``month`` 1 to 12; each counts
    where its period needs it. Of an hourly one only the minute of ``at`` counts.
    """

    period: Period
    at: datetime.time = datetime.time()
    day: int = 1
    weekday: int = 0
    month: int = 1


_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# How each period is written.
_FORMS = {
    Period.HOURLY: "hourly 00",
    Period.DAILY: "daily 00:00",
    Period.WEEKLY: "weekly mon 00:00",
    Period.MONTHLY: "monthly 1 00:00",
    Period.YEARLY: "yearly 01-01 00:00",
}


def _occasion(value: object) -> Occasion:
    if isinstance(value, Occasion):
        return value
    text = text_of(value, "a time of billing").strip()
    word, *rest = text.split() or [""]
    if word not in _FORMS:
        if suggestion(word, _FORMS) is None:
            forms = [f'"{form}"' for form in _FORMS.values()]
            remedy = f"write {', '.join(forms[:-1])} or {forms[-1]}"
        else:
            remedy = choose(word, _FORMS)
        raise wrong(f"{quoted(text)} is no time of billing", remedy)
    period = Period(word)
    form = f'write it like "{_FORMS[period]}"'
    if len(rest) != _FORMS[period].count(" "):
        raise wrong(f"{quoted(text)} is no complete time of billing", form)
    clock = _clock(rest[-1], period, form)
    if period is Period.WEEKLY:
        return Occasion(period, clock, weekday=_weekday(rest[0], form))
    if period is Period.MONTHLY:
        return Occasion(period, clock, day=_day_of_month(rest[0], form))
    if period is Period.YEARLY:
        month, day = _day_of_year(rest[0], form)
        return Occasion(period, clock, day=day, month=month)
    return Occasion(period, clock)


def _clock(text: str, period: Period, form: str) -> datetime.time:
    pattern = ":?([0-9]{2})" if period is Period.HOURLY else "([0-9]{1,2}):([0-9]{2})"
    match = re.fullmatch(pattern, text)
    if match is None:
        what = "minute" if period is Period.HOURLY else "time of day"
        raise wrong(f"{quoted(text)} is no {what}", form)
    hour, minute = (0, int(match[1])) if match.lastindex == 1 else (int(match[1]), int(match[2]))
    if hour > 23 or minute > 59:
        raise wrong(
            f"{quoted(text)} is a time that no clock shows",
            "write 00 to 59" if period is Period.HOURLY else "write 00:00 to 23:59",
        )
    return datetime.time(hour, minute)


def _weekday(text: str, form: str) -> int:
    for number, name in enumerate(_WEEKDAYS):
        if text.casefold() in (name, name[:3]):
            return number
    short = [name[:3] for name in _WEEKDAYS]
    raise wrong(f"{quoted(text)} is no day of the week", f"{choose(text, short)}; {form}")


def _day_of_month(text: str, form: str) -> int:
    if text.casefold() == "last":
        raise wrong("last is no number of a day", "write 31: a shorter month has its last day")
    if not re.fullmatch("[0-9]{1,2}", text) or not 1 <= int(text) <= 31:
        raise wrong(f"{quoted(text)} is no day of the month", f"write 1 to 31; {form}")
    return int(text)


def _day_of_year(text: str, form: str) -> tuple[int, int]:
    match = re.fullmatch("([0-9]{1,2})-([0-9]{1,2})", text)
    if match is None:
        raise wrong(f"{quoted(text)} is no day of the year", f"write month and day; {form}")
    month, day = int(match[1]), int(match[2])
    try:
        datetime.date(2000, month, day)  # a leap year
    except ValueError:
        turned = month > 12 and 1 <= day <= 12
        raise wrong(
            f"{quoted(text)} is no day of the year",
            f"the month goes first: {day:02}-{month:02}" if turned else form,
        ) from None
    return month, day


def _freeze(value: object) -> object:
    if isinstance(value, bytes):
        return value
    text = text_of(value, "what is broadcast")
    if text in ("standard", "none"):
        return text
    digits = text.replace(" ", "")
    if not re.fullmatch("(?:[0-9A-Fa-f]{2})+", digits):
        raise wrong(
            f"{quoted(text)} is nothing that can be broadcast",
            'write standard, none, or the bytes of a record in hex: "48FE0B"',
        )
    data = bytes.fromhex(digits)
    if len(data) > _MOST_USER_DATA:
        raise wrong(f"{len(data)} bytes do not fit a telegram", f"write {_MOST_USER_DATA} at most")
    return data


When = Annotated[
    Occasion,
    BeforeValidator(_occasion),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(hourly :?[0-5]\d|(daily|weekly [A-Za-z]+|monthly \d{1,2}|"
            r"yearly \d{1,2}-\d{1,2}) ([01]?\d|2[0-3]):[0-5]\d)$",
        }
    ),
]
Freeze = Annotated[
    Literal["standard", "none"] | bytes,
    BeforeValidator(_freeze),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^(standard|none|{HEX})$"},
                {"type": "number", "minimum": 0},
            ]
        }
    ),
]


class Billing(Model):
    """Readings of all meters of a bus at one set time."""

    at: When = Field(
        examples=["monthly 1 00:00"],
        description="When, in local time: hourly 00, daily 00:00, weekly mon 00:00, monthly 1 "
        "00:00 (31 is the last day of every month) or yearly 01-01 00:00.",
    )
    freeze: Freeze = Field(
        default="standard",
        description="What all meters are told at that time, before they are read: standard has "
        "them keep their counters under storage 1, none where they do so by themselves, or the "
        "bytes of the maker's own record in hex.",
    )
