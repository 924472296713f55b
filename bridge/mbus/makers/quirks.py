"""What a maker's meters say in codes of their own: VIFs, VIFEs and status bits.

The standard leaves VIF 7F/FF, everything behind VIFE 7F/FF, and bits 5 to 7 of the status byte to
the maker (EN 13757-3, 6.4.4, table 9). Without an entry here such a value stays what it is: a
number that nobody can name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.makers.files import (
    Scope,
    about,
    check_code,
    check_keys,
    check_name,
    check_source,
    read,
    take_scope,
    take_sources,
)
from bridge.mbus.vife import CODE, LAST_RECORD_ERROR, MANUFACTURER_SPECIFIC
from bridge.units import Unit

_FILE = "quirks.toml"
_FIRST_STATUS_BIT, _LAST_STATUS_BIT = 5, 7


class OwnVif(NamedTuple):
    """What a manufacturer's own VIF means.

    ``name`` is English and in lower case. The value is the number times ten to the ``exponent``,
    in ``unit``; both are None where the source does not say. ``modifiers`` are what the maker's
    VIFEs behind it add, such as ``L1``. ``error`` is the record error that the last of them is
    (EN 13757-3, 6.4.8), None where there is none: with an error the value is no value. ``bits``
    names the bits of a flag word, the lowest first; empty where one has no name.
    """

    name: str
    unit: Unit | None
    exponent: int | None
    source: str
    modifiers: tuple[str, ...] = ()
    error: int | None = None
    bits: tuple[str, ...] = ()


class OwnVifes(NamedTuple):
    """What the maker's VIFEs behind a standard VIF mean; ``error`` as in `OwnVif`."""

    modifiers: tuple[str, ...]
    error: int | None
    source: str


class Quirk(NamedTuple):
    """What is known of one kind of meters."""

    scope: Scope
    source: str
    record_errors: bool
    vifs: Mapping[bytes, OwnVif]
    vifes: Mapping[int, str]
    status: Mapping[int, str]


@lru_cache(maxsize=4096)  # the same meters and records again and again
def own_vif(address: SecondaryAddress | None, vib: bytes) -> OwnVif | None:
    """What the VIB of a manufacturer's own VIF means; None where it is not known.

    An unknown code with a record error behind it is named by its bytes, for the sake of the error.

    Args:
        address: the meter's own, None where a telegram does not say it.
        vib: VIF and VIFEs as they came, extension bits and all; the VIF is 7F or FF.
    """
    if not vib or vib[0] & CODE != MANUFACTURER_SPECIFIC:
        return None
    quirk = _quirk_of(address)
    if quirk is None:
        return None
    codes, error = _part(quirk, vib[1:])
    code, _, rest = codes.partition(bytes((MANUFACTURER_SPECIFIC,)))
    own = quirk.vifs.get(code)
    if own is None and error is not None:
        own = OwnVif(f"manufacturer VIF {code.hex(' ').upper()}", None, None, quirk.source)
    if own is None:
        return None
    return own._replace(modifiers=_modifiers(quirk, rest), error=error)


@lru_cache(maxsize=4096)  # the same meters and records again and again
def own_vifes(address: SecondaryAddress | None, vifes: bytes) -> OwnVifes | None:
    """What a maker's VIFEs behind a standard VIF mean; None where none of them is known.

    Args:
        address: the meter's own, None where a telegram does not say it.
        vifes: the VIFEs behind VIFE 7F or FF, as they came.
    """
    quirk = _quirk_of(address)
    if quirk is None or not vifes:
        return None
    codes, error = _part(quirk, vifes)
    if error is None and not any(code in quirk.vifes for code in codes):
        return None
    return OwnVifes(_modifiers(quirk, codes), error, quirk.source)


@lru_cache(maxsize=8192)
def has_record_errors(address: SecondaryAddress | None) -> bool:
    """Whether behind this meter's own codes stands a record error, or 00 for none."""
    quirk = _quirk_of(address)
    return quirk is not None and quirk.record_errors


def status_bits(address: SecondaryAddress | None) -> Mapping[int, str]:
    """What bits 5 to 7 of the header's status byte mean, by number; empty where not known."""
    quirk = _quirk_of(address)
    return {} if quirk is None else quirk.status


def _part(quirk: Quirk, vifes: bytes) -> tuple[bytes, int | None]:
    """The codes without extension bits, and the record error behind them."""
    codes = bytes(vife & CODE for vife in vifes)
    if quirk.record_errors and len(codes) > 1 and codes[-1] <= LAST_RECORD_ERROR:
        return codes[:-1], codes[-1] or None
    return codes, None


def _modifiers(quirk: Quirk, codes: bytes) -> tuple[str, ...]:
    return tuple(quirk.vifes.get(code, f"manufacturer VIFE {code:02X}") for code in codes)


def _quirk_of(address: SecondaryAddress | None) -> Quirk | None:
    return None if address is None else next(about(address, _quirks()), None)


@cache
def _quirks() -> dict[str, tuple[Quirk, ...]]:
    return take_quirks(read(_FILE))


def take_quirks(data: Mapping[str, Any]) -> dict[str, tuple[Quirk, ...]]:
    """The content of the file to quirks by manufacturer.

    Raises:
        ValueError: a malformed entry, a code that stands twice, a source that is not described,
            or two quirks that are about the same meter.
    """
    sources = take_sources(data, _FILE)
    found: dict[str, list[Quirk]] = {}
    for entry in data["quirk"]:
        code = check_code(entry.get("manufacturer"), _FILE)
        where = f"{_FILE}: {code}"
        check_keys(
            entry,
            (
                *("manufacturer", "versions", "device_types", "identification", "source"),
                *("record_errors", "vif", "vife", "status"),
            ),
            where,
        )
        quirk = _take_quirk(entry, sources, where)
        if any(quirk.scope.meets(other.scope) for other in found.get(code, ())):
            raise ValueError(f"{where}: two quirks are about the same meter")
        found.setdefault(code, []).append(quirk)
    return {code: tuple(quirks) for code, quirks in found.items()}


def _take_quirk(entry: Mapping[str, Any], sources: frozenset[str], where: str) -> Quirk:
    source = check_source(entry.get("source"), sources, where)
    vifs: dict[bytes, OwnVif] = {}
    for row in entry.get("vif", ()):
        code = _codes(row.get("code"), where)
        if code in vifs:
            raise ValueError(f"{where}: VIF {row['code']} stands twice")
        vifs[code] = _take_vif(row, source, sources, f"{where}: VIF {row['code']}")
    vifes: dict[int, str] = {}
    for row in entry.get("vife", ()):
        check_keys(row, ("code", "name"), where)
        codes = _codes(row.get("code"), where)
        if len(codes) != 1 or codes[0] in vifes:
            raise ValueError(f"{where}: VIFE {row['code']} is not one byte, or stands twice")
        vifes[codes[0]] = check_name(row.get("name"), where)
    status: dict[int, str] = {}
    for row in entry.get("status", ()):
        check_keys(row, ("bit", "name"), where)
        bit = row.get("bit")
        if bit in status or bit not in range(_FIRST_STATUS_BIT, _LAST_STATUS_BIT + 1):
            raise ValueError(f"{where}: status bit {bit} is not the maker's, or stands twice")
        status[bit] = check_name(row.get("name"), where)
    if not (vifs or vifes or status):
        raise ValueError(f"{where}: says nothing")
    scope, record_errors = take_scope(entry, where), entry.get("record_errors", False)
    return Quirk(scope, source, record_errors, vifs, vifes, status)


def _take_vif(row: Mapping[str, Any], source: str, sources: frozenset[str], where: str) -> OwnVif:
    check_keys(row, ("code", "name", "unit", "exponent", "source", "bits"), where)
    unit, exponent = row.get("unit"), row.get("exponent")
    if (unit is None) != (exponent is None):
        raise ValueError(f"{where}: unit and exponent go together")
    bits = tuple(name and check_name(name, where) for name in row.get("bits", ()))
    return OwnVif(
        check_name(row.get("name"), where),
        None if unit is None else Unit(unit),
        exponent,
        check_source(row.get("source", source), sources, where),
        bits=bits,
    )


def _codes(text: object, where: str) -> bytes:
    if not isinstance(text, str) or not text:
        raise ValueError(f"{where}: {text!r} is no code in hexadecimal")
    codes = bytes.fromhex(text)
    if any(code > CODE for code in codes):
        raise ValueError(f"{where}: code {text} has an extension bit")
    return codes
