"""Kinds of value that name a data record by its bytes, or by what they add to its quantity."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from bridge.config.errors import quoted
from bridge.config.values import free_text, name_of, text_of, wrong


def _modifiers(value: object) -> object:
    if isinstance(value, str):
        raise wrong(f"{quoted(value)} is no list", f"write [{quoted(value)}]")
    if not isinstance(value, list | tuple):
        raise wrong(f"{name_of(value)} stands where a list belongs", "write [backward], say")
    words = tuple(free_text(word) for word in value)
    if any(not word for word in words):
        raise wrong("a modifier is empty", "write the words that `read` shows for the record")
    return words


# EN 13757-3, 6.3 and 6.4: one byte and ten more; a VIB with a text in it has up to 256.
def _hex_bytes(most: int, what: str) -> Callable[[object], bytes]:
    def read(value: object) -> bytes:
        if isinstance(value, bytes):
            return value
        text = text_of(value, f"the bytes of {what}").replace(" ", "")
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
    text = text_of(value, "the key of a record").strip()
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
