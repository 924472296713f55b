"""The kinds of value that a configuration has, each with its reader and its JSON Schema.

A reader takes the text as it stands in the file, or the value itself where Python code makes a
model. What it refuses, it says in two halves: what is wrong, and what would be right.
"""

from __future__ import annotations

import datetime
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from bridge.config.errors import quoted
from bridge.units import OFFERED, Quantity

# EN 13757-2: the rates a meter can have.
BAUDRATES = (300, 600, 1200, 2400, 4800, 9600, 19200, 38400)

# ASHRAE 135, 12.11: 22 bits, of which the highest is the wildcard.
HIGHEST_INSTANCE = 4_194_302

CONTINUOUS = 0.0

# ASHRAE 135, annex J: BAC0 in hexadecimal.
BACNET_PORT = 47808


def wrong(message: str, remedy: str) -> PydanticCustomError:
    """An error for a reader to raise: what is wrong; what would be right."""
    return PydanticCustomError(
        "configuration", "{message}; {remedy}", {"message": message, "remedy": remedy}
    )


def suggestion(text: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    words = {word.casefold(): word for word in known}
    meant = text[:64].casefold().replace("_", "-").replace(" ", "-")
    if meant in words:
        return words[meant]
    near = difflib.get_close_matches(text[:64].casefold(), words, n=1, cutoff=0.6)
    if not near:
        near = difflib.get_close_matches(meant, words, n=1, cutoff=0.6)
    return words[near[0]] if near else None


def text_of(value: object, what: str) -> str:
    """The text that the user wrote where ``what`` belongs ("a number"); a group or list is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal | Path):
        raise wrong(f"{name_of(value)} stands where {what} belongs", f"write {what}")
    return str(value)


def name_of(value: object) -> str:
    """What sort of thing a value is, for a message."""
    if isinstance(value, Mapping):
        return "a group of keys"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


# --- numbers ---------------------------------------------------------------------------------


def whole_number(lowest: int, highest: int, what: str) -> Callable[[object], int]:
    """A reader of whole numbers in a range, both ends included."""

    def read(value: object) -> int:
        text = text_of(value, "a whole number")
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise wrong(
                f"{quoted(text)} is no whole number", f"{what} is {lowest} to {highest}, in digits"
            )
        number = int(text)
        if text.lstrip("+-") != str(abs(number)):
            # YAML 1.1 reads 010 as 8, YAML 1.2 as 10.
            raise wrong(
                f"{quoted(text)} begins with a zero, which some programs take for octal",
                f"write {number}",
            )
        if not lowest <= number <= highest:
            raise wrong(f"{number} is out of range", f"{what} is {lowest} to {highest}")
        return number

    return read


def whole(lowest: int, highest: int, what: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """A kind of whole number in a range, both ends included."""
    return (
        BeforeValidator(whole_number(lowest, highest, what)),
        WithJsonSchema({"type": "integer", "minimum": lowest, "maximum": highest}),
    )


def decimal_number(value: object) -> Decimal:
    text = text_of(value, "a number")
    if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text):
        raise wrong(
            f"{quoted(text)} has a decimal comma", f"write a point: {text.replace(',', '.')}"
        )
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text):
        raise wrong(f"{quoted(text)} is no number", "write it like 0.1, 25 or 1e-3")
    number = Decimal(text)
    if len(number.as_tuple().digits) > 15 or (number and abs(number.adjusted()) > 30):
        raise wrong(
            f"{quoted(text)} has too many digits or is too large or small",
            "15 digits and powers of ten from -30 to 30 can be worked with",
        )
    return number


def _non_zero(value: Decimal) -> Decimal:
    if not value:
        raise wrong("a scale of 0 would make every value 0", "remove it, or write another factor")
    return value


def _not_negative(value: Decimal) -> Decimal:
    if value < 0:
        raise wrong(
            f"{value} is negative",
            "write by how much a value changes before it is told; 0 tells every change",
        )
    return value


def _baudrate(value: object) -> int:
    text = text_of(value, "a baud rate")
    if text not in map(str, BAUDRATES):
        choice = ", ".join(map(str, BAUDRATES[:-1]))
        raise wrong(f"{quoted(text)} is no M-Bus baud rate", f"choose {choice} or {BAUDRATES[-1]}")
    return int(text)


_NUMBER = {"type": "number"}

Instance = Annotated[int, *whole(0, HIGHEST_INSTANCE, "an instance number")]
UdpPort = Annotated[int, *whole(1, 65535, "a UDP port")]
Tries = Annotated[int, *whole(1, 10, "the number of tries")]
# EN 13757-3, 6.3: what ten DIFEs can say.
Storage = Annotated[int, *whole(0, 2**41 - 1, "a storage number")]
Tariff = Annotated[int, *whole(0, 2**20 - 1, "a tariff")]
Subunit = Annotated[int, *whole(0, 2**10 - 1, "a subunit")]
Ordinal = Annotated[int, *whole(1, 1000, "which of several records")]
Baudrate = Annotated[int, BeforeValidator(_baudrate), WithJsonSchema({"enum": list(BAUDRATES)})]
Number = Annotated[Decimal, BeforeValidator(decimal_number), WithJsonSchema(_NUMBER)]
Scale = Annotated[
    Decimal,
    BeforeValidator(decimal_number),
    AfterValidator(_non_zero),
    WithJsonSchema({**_NUMBER, "not": {"const": 0}}),
]
Increment = Annotated[
    Decimal,
    BeforeValidator(decimal_number),
    AfterValidator(_not_negative),
    WithJsonSchema({**_NUMBER, "minimum": 0}),
]

# --- times -----------------------------------------------------------------------------------

_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
    "w": Decimal(604800),
}
_PART = r"[0-9]{1,9}(?:\.[0-9]{1,3})?(?:ms|s|m|h|d|w)"
_DURATION = rf"(?:{_PART})+"


def parse_duration(text: str) -> float | None:
    """``15m``, ``24h``, ``1h30m``, ``250ms`` in seconds; None where it is no duration."""
    if not re.fullmatch(_DURATION, text):
        return None
    parts = re.findall(r"([0-9.]+)(ms|[smhdw])", text)
    return float(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Seconds as a configuration would say them, in the largest unit that leaves no rest."""
    if seconds == CONTINUOUS:
        return "0s"
    milliseconds = round(seconds * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    return f"{milliseconds // 1000}.{milliseconds % 1000:03d}".rstrip("0") + "s"


def duration(lowest: str, highest: str, *, continuous: bool = False) -> Callable[[object], float]:
    """A reader of durations in a range, both ends included, to seconds.

    ``continuous`` allows this word, for 0. Where 0 is in the range it needs no unit.
    """
    least, most = parse_duration(lowest), parse_duration(highest)
    assert least is not None
    assert most is not None
    examples = "write a number and a unit, like 90s, 15m, 24h or 1d"
    if continuous:
        examples += ", or the word continuous"

    def read(value: object) -> float:
        seconds: float | None
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(value)
            text = format_duration(seconds)
        else:
            text = text_of(value, "a duration").strip()
            if continuous and text == "continuous":
                return CONTINUOUS
            seconds = parse_duration(text)
        if seconds is None and text == "0" and least == 0:
            return 0.0
        if seconds is None:
            if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
                raise wrong(
                    f"{text} has no unit", f"write {text}s for seconds or {text}m for minutes"
                )
            close = re.sub(r"[\s_]", "", text.casefold())
            close = re.sub(r"(seconds?|secs?)$", "s", close)
            close = re.sub(r"(minutes?|mins?)$", "m", close)
            close = re.sub(r"(hours?|hrs?)$", "h", close)
            close = re.sub(r"days?$", "d", close)
            if parse_duration(close) is not None:
                raise wrong(f"{quoted(text)} is no duration", f"write {close}")
            raise wrong(f"{quoted(text)} is no duration", examples)
        if continuous and seconds == CONTINUOUS and not isinstance(value, str):
            return CONTINUOUS
        if not least <= seconds <= most:
            word = " (or write continuous)" if continuous and seconds < least else ""
            raise wrong(
                f"{quoted(text)} is too {'short' if seconds < least else 'long'}",
                f"choose {lowest} to {highest}{word}",
            )
        return seconds

    return read


def duration_schema(*, continuous: bool = False) -> WithJsonSchema:
    """What an editor takes for a duration."""
    pattern = f"^{_DURATION}$"
    if continuous:
        pattern = f"^(?:continuous|{_DURATION})$"
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _window(value: object) -> object:
    if isinstance(value, tuple):
        return value
    text = text_of(value, 'a window like "02:00-04:00"').strip()
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})\s*[-–]\s*([0-9]{1,2}):([0-9]{2})", text)
    if match is None:
        raise wrong(f"{quoted(text)} is no window of the day", 'write it like "02:00-04:00"')
    first, last = match[1], match[3]
    if last == "24" and match[4] == "00":
        last = "00"
    if int(first) > 23 or int(last) > 23 or int(match[2]) > 59 or int(match[4]) > 59:
        raise wrong(f"{quoted(text)} holds a time that no clock shows", "write 00:00 to 23:59")
    start = datetime.time(int(first), int(match[2]))
    end = datetime.time(int(last), int(match[4]))
    if start == end:
        raise wrong(f"{quoted(text)} begins when it ends", "remove it if the whole day is meant")
    return start, end


Interval = Annotated[
    float,
    BeforeValidator(duration("1s", "366d", continuous=True)),
    duration_schema(continuous=True),
]
Age = Annotated[float, BeforeValidator(duration("1s", "3660d")), duration_schema()]
Keep = Annotated[float, BeforeValidator(duration("0s", "36600d")), duration_schema()]
Timeout = Annotated[float, BeforeValidator(duration("10ms", "60s")), duration_schema()]
Latency = Annotated[float, BeforeValidator(duration("0s", "60s")), duration_schema()]
Window = Annotated[
    tuple[datetime.time, datetime.time],
    BeforeValidator(_window),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^([01]?\d|2[0-3]):[0-5]\d\s*[-–]\s*(([01]?\d|2[0-3]):[0-5]\d|24:00)$",
        }
    ),
]


def _ttl(value: object) -> int:
    if isinstance(value, str) and (seconds := parse_duration(value.strip())) is not None:
        value = str(int(seconds)) if seconds == int(seconds) else value
    return whole_number(10, 65535, "the time to live in seconds")(value)


# ASHRAE 135, J.5.2.1: 16 bits of seconds.
TimeToLive = Annotated[
    int,
    BeforeValidator(_ttl),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 10, "maximum": 65535},
                {"type": "string", "pattern": f"^{_DURATION}$"},
            ]
        }
    ),
]

# --- sizes -----------------------------------------------------------------------------------

_SIZES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = rf"([0-9]{{1,9}}(?:\.[0-9]{{1,3}})?)\s?({'|'.join(_SIZES)})"
_SMALLEST, _LARGEST = 10 * 10**6, 10**12


def parse_size(text: str) -> int | None:
    """``500MB``, ``1.5GB`` in bytes, by powers of ten; None where it is no size."""
    match = re.fullmatch(_SIZE, text)
    return None if match is None else int(Decimal(match[1]) * _SIZES[match[2]])


def format_size(size: int) -> str:
    """Bytes as a configuration would say them, in the largest unit that leaves no rest."""
    for unit, bytes_of_unit in reversed(_SIZES.items()):
        if size % bytes_of_unit == 0:
            return f"{size // bytes_of_unit}{unit}"
    return f"{size} bytes"


def _file_size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        size: int | None = value
        text = format_size(value)
    else:
        text = text_of(value, "a size").strip()
        size = parse_size(text)
    if size is None:
        if re.fullmatch("[0-9]{1,15}", text):
            raise wrong(f"{text} has no unit", f"write {text}MB or {text}GB")
        units = {unit.casefold()[0]: unit for unit in _SIZES}
        match = re.fullmatch(r"([0-9.]+)\s*([kmgt])(?:i?b)?", text.casefold())
        close = f"{match[1]}{units[match[2]]}" if match else ""
        right = close if parse_size(close) is not None else "a number and a unit, like 500MB or 1GB"
        raise wrong(f"{quoted(text)} is no size", f"write {right}")
    if not _SMALLEST <= size <= _LARGEST:
        raise wrong(
            f"{quoted(text)} is too {'small' if size < _SMALLEST else 'large'}",
            f"choose {format_size(_SMALLEST)} to {format_size(_LARGEST)}",
        )
    return size


FileSize = Annotated[
    int,
    BeforeValidator(_file_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE}$"}),
]

# Bytes, two digits each; blanks may stand between them.
HEX = "(?:[0-9A-Fa-f]{2} ?)+"

# --- words -----------------------------------------------------------------------------------


def free_text(value: object) -> str:
    """One line of printable characters, at most 255."""
    text = unicodedata.normalize("NFC", text_of(value, "a text")).strip()
    for c in text:
        if not c.isprintable():
            raise wrong(
                f"the text holds the control character U+{ord(c):04X}",
                "keep it to one line of printable characters",
            )
    if len(text) > 255:
        raise wrong(f"the text has {len(text)} characters", "keep it to 255")
    return text


def _device_name(value: object) -> str:
    text = free_text(value)
    if not text:
        raise wrong("the name is empty", "give the device a name that no other device has")
    if len(text) > 64:
        raise wrong(f"the name has {len(text)} characters", "keep it to 64")
    return text


# Names become parts of BACnet object names, joined by dots, and of file names.
_NAME = r"[^\W_](?:[\w-]*[^\W_])?"
# The same for other dialects of regular expressions, in which \w is ASCII alone: no control
# character, blank or ASCII punctuation but - and _ in the middle.
_NAME_SCHEMA = r"^[^\x00-/:-@\[-`{-\x7f](?:[^\x00-,./:-@\[-^`{-\x7f]*[^\x00-/:-@\[-`{-\x7f])?$"


def _name(value: object) -> str:
    text = unicodedata.normalize("NFC", text_of(value, "a name"))
    if re.fullmatch(_NAME, text) and len(text) <= 48:
        return text
    if len(text) > 48:
        raise wrong(f"the name has {len(text)} characters", "keep it to 48")
    better = re.sub(r"[^\w]+", "-", text).strip("-_")
    raise wrong(
        f"{quoted(text)} cannot be a name",
        "names are of letters, digits, - and _, and begin and end with a letter or digit"
        + (f": {better}" if better else ""),
    )


E = TypeVar("E", bound=StrEnum)


def member(words: type[E], what: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """A kind of word that is one of an enumeration's."""
    known = [word.value for word in words]

    def read(value: object) -> E:
        text = text_of(value, what)
        if text in known:
            return words(text)
        raise wrong(f"{quoted(text)} is no {what}", choose(text, known))

    return BeforeValidator(read), WithJsonSchema({"enum": known})


def choose(text: str, known: Iterable[str]) -> str:
    """A remedy for a word that is not among those known."""
    known = list(known)
    meant = suggestion(text, known)
    if meant is not None:
        return f"did you mean {meant}?"
    if len(known) > 12:
        return f"choose one of {', '.join(known[:6])} … ({len(known)} in all; schema lists them)"
    if len(known) == 1:
        return f"write {known[0]}"
    return f"choose {', '.join(known[:-1])} or {known[-1]}"


class Parity(StrEnum):
    EVEN = "even"
    NONE = "none"


class Function(StrEnum):
    """What a data record's value is (EN 13757-3, 6.3.4)."""

    INSTANTANEOUS = "instantaneous"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    ERROR = "error"


class ObjectType(StrEnum):
    """BACnet objects that can carry a number."""

    ANALOG_INPUT = "analog-input"
    LARGE_ANALOG_VALUE = "large-analog-value"
    ACCUMULATOR = "accumulator"


# Units as people write them, by the name that BACnet has for them.
_UNIT_SIGNS = {
    "wh": "watt-hours",
    "kwh": "kilowatt-hours",
    "mwh": "megawatt-hours",
    "mj": "megajoules",
    "gj": "gigajoules",
    "m3": "cubic-meters",
    "m³": "cubic-meters",
    "l": "liters",
    "litres": "liters",
    "kg": "kilograms",
    "w": "watts",
    "kw": "kilowatts",
    "mw": "megawatts",
    "m3/h": "cubic-meters-per-hour",
    "m³/h": "cubic-meters-per-hour",
    "l/h": "liters-per-hour",
    "°c": "degrees-celsius",
    "c": "degrees-celsius",
    "celsius": "degrees-celsius",
    "k": "delta-degrees-kelvin",
    "bar": "bars",
    "v": "volts",
    "a": "amperes",
    "hz": "hertz",
    "kvarh": "kilovolt-ampere-hours-reactive",
    "%": "percent",
    "%rh": "percent-relative-humidity",
}


def _unit(value: object) -> str:
    text = text_of(value, "a unit")
    if text in OFFERED:
        return text
    british = text.casefold().replace("_", "-").replace("metre", "meter").replace("litre", "liter")
    meant = _UNIT_SIGNS.get(text.casefold()) or (british if british in OFFERED else None)
    remedy = f"write {meant}" if meant else choose(text, OFFERED)
    raise wrong(f"{quoted(text)} is no unit that BACnet has a name for", remedy)


Text = Annotated[
    str, BeforeValidator(free_text), WithJsonSchema({"type": "string", "maxLength": 255})
]
DeviceName = Annotated[
    str,
    BeforeValidator(_device_name),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 64}),
]
Name = Annotated[
    str,
    BeforeValidator(_name),
    WithJsonSchema({"type": "string", "pattern": _NAME_SCHEMA, "maxLength": 48}),
]
ParityWord = Annotated[Parity, *member(Parity, "parity")]
FunctionWord = Annotated[Function, *member(Function, "function")]
ObjectWord = Annotated[ObjectType, *member(ObjectType, "object type for a number")]
QuantityWord = Annotated[Quantity, *member(Quantity, "quantity")]
UnitWord = Annotated[
    str, BeforeValidator(_unit), WithJsonSchema({"type": "string", "enum": list(OFFERED)})
]
# --- groups ----------------------------------------------------------------------------------


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


# A frozen model must not hold a dictionary that anybody can change.
Frozen = (AfterValidator(_freeze), PlainSerializer(dict))
