"""The kinds of value that a configuration has, each with its reader and its JSON Schema.

A reader takes the text as it stands in the file, or the value itself where Python code makes a
model. What it refuses, it says in two halves: what is wrong, and what would be right.
"""

from __future__ import annotations

import datetime
import difflib
import ipaddress
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


def _text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | Decimal | Path):
        raise wrong(f"{_name_of(value)} stands where {what} belongs", f"write {what}")
    return str(value)


def _name_of(value: object) -> str:
    if isinstance(value, Mapping):
        return "a group of keys"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


# --- numbers ---------------------------------------------------------------------------------


def whole_number(lowest: int, highest: int, what: str) -> Callable[[object], int]:
    """A reader of whole numbers in a range, both ends included."""

    def read(value: object) -> int:
        text = _text(value, "a whole number")
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


def _whole(lowest: int, highest: int, what: str) -> tuple[BeforeValidator, WithJsonSchema]:
    return (
        BeforeValidator(whole_number(lowest, highest, what)),
        WithJsonSchema({"type": "integer", "minimum": lowest, "maximum": highest}),
    )


def decimal_number(value: object) -> Decimal:
    text = _text(value, "a number")
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
    text = _text(value, "a baud rate")
    if text not in map(str, BAUDRATES):
        choice = ", ".join(map(str, BAUDRATES[:-1]))
        raise wrong(f"{quoted(text)} is no M-Bus baud rate", f"choose {choice} or {BAUDRATES[-1]}")
    return int(text)


_NUMBER = {"type": "number"}

Instance = Annotated[int, *_whole(0, HIGHEST_INSTANCE, "an instance number")]
UdpPort = Annotated[int, *_whole(1, 65535, "a UDP port")]
Tries = Annotated[int, *_whole(1, 10, "the number of tries")]
# EN 13757-3, 6.3: what ten DIFEs can say.
Storage = Annotated[int, *_whole(0, 2**41 - 1, "a storage number")]
Tariff = Annotated[int, *_whole(0, 2**20 - 1, "a tariff")]
Subunit = Annotated[int, *_whole(0, 2**10 - 1, "a subunit")]
Ordinal = Annotated[int, *_whole(1, 1000, "which of several records")]
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


def _duration(lowest: str, highest: str, *, continuous: bool = False) -> Callable[[object], float]:
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
            text = _text(value, "a duration").strip()
            if continuous and text == "continuous":
                return CONTINUOUS
            seconds = parse_duration(text)
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


def _duration_schema(*, continuous: bool = False) -> WithJsonSchema:
    pattern = f"^{_DURATION}$"
    if continuous:
        pattern = f"^(?:continuous|{_DURATION})$"
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _window(value: object) -> object:
    if isinstance(value, tuple):
        return value
    text = _text(value, 'a window like "02:00-04:00"').strip()
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
    BeforeValidator(_duration("1s", "366d", continuous=True)),
    _duration_schema(continuous=True),
]
Age = Annotated[float, BeforeValidator(_duration("1s", "3660d")), _duration_schema()]
Timeout = Annotated[float, BeforeValidator(_duration("10ms", "60s")), _duration_schema()]
Latency = Annotated[float, BeforeValidator(_duration("0s", "60s")), _duration_schema()]
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

# --- words -----------------------------------------------------------------------------------


def _free_text(value: object) -> str:
    text = unicodedata.normalize("NFC", _text(value, "a text")).strip()
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
    text = _free_text(value)
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
    text = unicodedata.normalize("NFC", _text(value, "a name"))
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


def _member(words: type[E], what: str) -> tuple[BeforeValidator, WithJsonSchema]:
    known = [word.value for word in words]

    def read(value: object) -> E:
        text = _text(value, what)
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
    text = _text(value, "a unit")
    if text in OFFERED:
        return text
    british = text.casefold().replace("_", "-").replace("metre", "meter").replace("litre", "liter")
    meant = _UNIT_SIGNS.get(text.casefold()) or (british if british in OFFERED else None)
    remedy = f"write {meant}" if meant else choose(text, OFFERED)
    raise wrong(f"{quoted(text)} is no unit that BACnet has a name for", remedy)


def _modifiers(value: object) -> object:
    if isinstance(value, str):
        raise wrong(f"{quoted(value)} is no list", f"write [{quoted(value)}]")
    if not isinstance(value, list | tuple):
        raise wrong(f"{_name_of(value)} stands where a list belongs", "write [backward], say")
    words = tuple(_free_text(word) for word in value)
    if any(not word for word in words):
        raise wrong("a modifier is empty", "write the words that `read` shows for the record")
    return words


# EN 13757-3, 6.3 and 6.4: one byte and ten more; a VIB with a text in it has up to 256.
def _hex_bytes(most: int, what: str) -> Callable[[object], bytes]:
    def read(value: object) -> bytes:
        if isinstance(value, bytes):
            return value
        text = _text(value, f"the bytes of {what}").replace(" ", "")
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text):
            raise wrong(
                f"{quoted(text)} is no row of bytes",
                "write two hex digits a byte, like 8C10, in quotes",
            )
        data = bytes.fromhex(text)
        if len(data) > most:
            raise wrong(f"{what} has {len(data)} bytes", f"it has at most {most}")
        return data

    return read


_RECORD = r"([0-9A-Fa-f]{2} ?)+(/1)?(#[1-9][0-9]{0,2})?"
_EXTENSION = 0x80
_PLAIN_TEXT_VIF = 0x7C


def _record_key(value: object) -> str:
    """DIB and VIB in hex, and an ordinal among equals where it is not the first.

    A counter of the fixed structure has one byte of type and unit in their place, and /1 behind it
    where it is a stored one.
    """
    text = _text(value, "the key of a record").strip()
    if not re.fullmatch(_RECORD, text):
        raise wrong(
            f"{quoted(text)} is no key of a record",
            "write its DIF and VIF bytes as `read` shows them, like 0C06, or 0C06#2 for the second "
            "of two equal ones",
        )
    block, _, ordinal = text.replace(" ", "").upper().partition("#")
    digits, _, storage = block.partition("/")
    data = bytes.fromhex(digits)
    key = block if ordinal in ("", "1") else f"{block}#{ordinal}"
    if len(data) == 1:
        return key
    if storage:
        raise wrong(
            f"{quoted(text, 40)} has a storage number behind its bytes",
            "write the bytes alone, which tell it already: only a key of one byte, like E9/1, "
            "has it there",
        )
    dib = _end_of_chain(data, 0)
    if dib is None or dib > 12 or dib == len(data):
        raise wrong(
            f"{quoted(text)} has no VIF",
            "write the DIF with its DIFEs, then the VIF with its VIFEs: 0C06, 8C1006, 04933C",
        )
    if data[0] & 0x0F == 0x0F:
        raise wrong(
            f"{digits[:2]} begins no data record, but is a DIF of its own",
            "write the DIF and VIF bytes of a record as `read` shows them",
        )
    if data[dib] & ~_EXTENSION == _PLAIN_TEXT_VIF:
        vib: int | None = len(data)  # a text has any length; the meter's answer shows the rest
    else:
        vib = _end_of_chain(data, dib)
    if vib is None:
        raise wrong(
            f"{quoted(text)} ends within its VIF: the last byte says that another one follows",
            "write all of its VIFEs, as `read` shows them",
        )
    if vib != len(data):
        raise wrong(
            f"{quoted(text, 40)} goes on behind its VIF",
            f"write {data[:vib].hex().upper()} alone: a key has no data in it",
        )
    return key


def _end_of_chain(data: bytes, start: int) -> int | None:
    """Behind the first byte from ``start`` on without extension bit (EN 13757-3, 6.3 and 6.4)."""
    for place in range(start, len(data)):
        if not data[place] & _EXTENSION:
            return place + 1
    return None


# Unquoted, digits alone are a number to other YAML readers, and 1E03 is 1000.
_HEX_SCHEMA = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "pattern": "^([0-9A-Fa-f]{2} ?)+$"},
            {"type": "number", "minimum": 0},
        ]
    }
)

Text = Annotated[
    str, BeforeValidator(_free_text), WithJsonSchema({"type": "string", "maxLength": 255})
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
ParityWord = Annotated[Parity, *_member(Parity, "parity")]
FunctionWord = Annotated[Function, *_member(Function, "function")]
ObjectWord = Annotated[ObjectType, *_member(ObjectType, "object type for a number")]
QuantityWord = Annotated[Quantity, *_member(Quantity, "quantity")]
UnitWord = Annotated[
    str, BeforeValidator(_unit), WithJsonSchema({"type": "string", "enum": list(OFFERED)})
]
Modifiers = Annotated[
    tuple[str, ...],
    BeforeValidator(_modifiers),
    WithJsonSchema({"type": "array", "items": {"type": "string", "minLength": 1}}),
]
Dif = Annotated[bytes, BeforeValidator(_hex_bytes(11, "a DIB")), _HEX_SCHEMA]
Vif = Annotated[bytes, BeforeValidator(_hex_bytes(268, "a VIB")), _HEX_SCHEMA]
RecordKey = Annotated[
    str,
    BeforeValidator(_record_key),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": f"^{_RECORD}$"}, {"type": "number", "minimum": 0}]}
    ),
]

# --- addresses -------------------------------------------------------------------------------


def _primary(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{8}(-.*)?", value):
        raise wrong(f"{quoted(value)} is a secondary address", f"write secondary: {quoted(value)}")
    number = whole_number(0, 255, "a primary address")(value)
    if number > 250:
        reserved = {
            253: "253 stands for the meter that was selected by its secondary address",
            254: "every meter answers to 254, all at once",
            255: "no meter answers to 255, which means all of them",
        }
        raise wrong(
            reserved.get(number, f"{number} is reserved"), "a meter's own address is 0 to 250"
        )
    return number


_SECONDARY = r"[0-9A-F]{8}(?:-(?:[A-Z]{3}|[0-9A-F]{4})-[0-9A-F]{2}-[0-9A-F]{2})?"


def _secondary(value: object) -> str:
    text = _text(value, "a secondary address").strip().upper()
    if re.fullmatch(_SECONDARY, text):
        return text
    form = "write the eight digits on the meter, 12345678, or 12345678-KAM-1B-04 in full"
    if re.fullmatch(r"[0-9]{1,7}", text):
        raise wrong(
            f"{quoted(text)} has {len(text)} digits",
            f"an identification number has eight; with its leading zeros: {text:0>8}",
        )
    raise wrong(f"{quoted(text)} is no secondary address", form)


def _interface(value: object) -> str:
    text = _text(value, "an address with its subnet").strip()
    if text.count(":") > 1:
        raise wrong(f"{quoted(text)} is an IPv6 address", "BACnet/IP needs IPv4: 192.168.1.10/24")
    if "/" not in text:
        raise wrong(
            f"{quoted(text)} does not say how large the subnet is",
            f"write the prefix length too: {text if _is_ipv4(text) else '192.168.1.10'}/24",
        )
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        raise wrong(
            f"{quoted(text)} is no IPv4 address with its subnet", "write it like 192.168.1.10/24"
        ) from None
    network = interface.network
    address = f"{interface.ip}/{network.prefixlen}"
    if network.prefixlen > 30 or network.prefixlen < 1:
        raise wrong(
            f"{address} leaves no room for a broadcast",
            "write the prefix length of your subnet, like /24",
        )
    if interface.ip in (ipaddress.IPv4Address("255.255.255.255"), network.broadcast_address):
        raise wrong(
            f"{interface.ip} is a broadcast address", "write the address of this machine's own port"
        )
    if interface.ip == network.network_address or interface.ip.is_unspecified:
        raise wrong(
            f"{interface.ip} names the whole subnet", "write the address of this machine's own port"
        )
    if interface.ip.is_multicast:
        raise wrong(
            f"{interface.ip} is a multicast address", "write the address of this machine's own port"
        )
    return address


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _bbmd(value: object) -> str:
    text = _text(value, "the address of a BBMD").strip()
    host, _, port = text.partition(":")
    if not _is_ipv4(host) or (port and not re.fullmatch("[1-9][0-9]{0,4}", port)):
        raise wrong(
            f"{quoted(text)} is no IPv4 address", "write it like 10.1.0.5 or 10.1.0.5:47808"
        )
    if port and int(port) > 65535:
        raise wrong(f"{port} is no UDP port", "write 1 to 65535, or leave it out for 47808")
    return f"{host}:{port or BACNET_PORT}"


_URL = r"(tcp|rfc2217)://(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})"


def _bus_port(value: object) -> str:
    text = _text(value, "a port").strip()
    forms = "write /dev/ttyUSB0, tcp://host:port or rfc2217://host:port"
    if text.startswith("/"):
        if not text.isprintable() or text.endswith("/"):
            raise wrong(f"{quoted(text)} is no serial port", forms)
        return text
    match = re.fullmatch(_URL, text)
    if match is not None:
        if not 0 < int(match[3]) < 65536:
            raise wrong(f"{match[3]} is no TCP port", "write 1 to 65535")
        return text
    if re.fullmatch(r"(tcp|rfc2217)://[\w.-]+/?", text):
        raise wrong(f"{quoted(text)} lacks the TCP port", f"write {text.rstrip('/')}:10001, say")
    if re.fullmatch(r"tty\w+", text):
        raise wrong(f"{quoted(text)} lacks its folder", f"write /dev/{text}")
    if re.fullmatch(r"[\w.-]+:[0-9]{1,5}", text):
        raise wrong(f"{quoted(text)} does not say how to reach it", f"write tcp://{text}")
    raise wrong(f"{quoted(text)} is no port", forms)


def _key_file(value: object) -> object:
    if isinstance(value, Path):
        return value
    text = _text(value, "the name of a file")
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2}[ :]?){16}", text.strip()):
        # Not a word of what it is: problems end in logs.
        raise wrong(
            "this looks like the key itself",
            "write it into a file of its own, readable by the bridge alone, and name the file here",
        )
    return _path(text)


def _path(value: object) -> object:
    if isinstance(value, Path):
        return value
    text = _text(value, "a path")
    if not text or not text.isprintable():
        raise wrong(f"{quoted(text)} is no path", "write one relative to this file, or absolute")
    return Path(text)


def _variable(value: object) -> str:
    text = _text(value, "the name of an environment variable")
    if re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        raise wrong(
            "this looks like the key itself",
            "put it into an environment variable, and name the variable here",
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise wrong(
            f"{quoted(text)} is no name of an environment variable",
            "write one of letters, digits and _, like GAS_17_KEY",
        )
    return text


Primary = Annotated[
    int,
    BeforeValidator(_primary),
    WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 250}),
]
Secondary = Annotated[
    str,
    BeforeValidator(_secondary),
    # Unquoted, eight digits are a number to other YAML readers.
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{_SECONDARY}$"},
                {"type": "integer", "minimum": 0, "maximum": 99999999},
            ]
        }
    ),
]
Interface = Annotated[
    str,
    BeforeValidator(_interface),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"}),
]
Bbmd = Annotated[
    str,
    BeforeValidator(_bbmd),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?$"}),
]
BusPort = Annotated[
    str,
    BeforeValidator(_bus_port),
    WithJsonSchema({"type": "string", "pattern": f"^(/.+[^/]|{_URL})$"}),
]
FilePath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]
KeyPath = Annotated[Path, BeforeValidator(_key_file), WithJsonSchema({"type": "string"})]
Variable = Annotated[
    str,
    BeforeValidator(_variable),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
]

# --- groups ----------------------------------------------------------------------------------


def _freeze(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


# A frozen model must not hold a dictionary that anybody can change.
Frozen = (AfterValidator(_freeze), PlainSerializer(dict))
