"""The company behind a manufacturer's three letters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from bridge.mbus.address import manufacturer_name
from bridge.mbus.makers.files import check_code, check_name, check_source, read, take_sources

_FILE = "manufacturers.toml"


def maker_name(code: str) -> str | None:
    """The company of three letters as ``KAM``; None for one that is not known.

    Four hexadecimal digits are taken too: they stand for an address that is not unique in the
    world (bit 15 of the word, EN 13757-7, 7.5.2), or for a word that spells no letters.
    """
    return _names().get(manufacturer_name(code))


@cache
def _names() -> dict[str, str]:
    return take_names(read(_FILE))


def take_names(data: Mapping[str, Any]) -> dict[str, str]:
    """The content of the file to names by code.

    Raises:
        ValueError: a code of another form, one that stands twice, an empty name, or a table of
            names whose source is not described.
    """
    sources = take_sources(data, _FILE)
    names: dict[str, str] = {}
    for source, entries in data["names"].items():
        check_source(source, sources, _FILE)
        for code, name in entries.items():
            check_code(code, _FILE)
            if code in names:
                raise ValueError(f"{_FILE}: {code} stands in two tables")
            names[code] = check_name(name, f"{_FILE}: {code}")
    return names
