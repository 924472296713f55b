"""The data files: reading one, and the checks that all of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from bridge.mbus.address import SecondaryAddress, manufacturer_name

_CODE = re.compile(r"[A-Z]{3}")
_LARGEST = 0xFE  # FF is the wildcard of a selection, and no meter's own


def read(name: str) -> dict[str, Any]:
    """The content of the data file ``name``, such as ``models.toml``."""
    # Only here: most runs name no maker, and these cost more than all the files.
    import tomllib
    from importlib.resources import files

    return tomllib.loads((files(__package__) / name).read_text(encoding="utf-8"))


class Scope(NamedTuple):
    """Which meters of a maker an entry is about; None stands for every one.

    ``identification`` is the two leading digits of the identification number.
    """

    versions: frozenset[int] | None = None
    device_types: frozenset[int] | None = None
    identification: str | None = None

    def covers(self, version: int | None, device_type: int | None, identification: str) -> bool:
        """Whether a meter with this version, device type and identification number is meant."""
        return (
            (self.versions is None or version in self.versions)
            and (self.device_types is None or device_type in self.device_types)
            and (self.identification is None or identification.startswith(self.identification))
        )

    def meets(self, other: Scope) -> bool:
        """Whether some meter falls under both."""
        return (
            _share(self.versions, other.versions)
            and _share(self.device_types, other.device_types)
            and (
                None in (self.identification, other.identification)
                or self.identification == other.identification
            )
        )

    @property
    def demands(self) -> int:
        """How many properties of a meter it asks for: the more, the closer it describes it."""
        return sum(part is not None for part in self)


class _Scoped(Protocol):
    @property
    def scope(self) -> Scope: ...


_Entry = TypeVar("_Entry", bound=_Scoped)


def about(address: SecondaryAddress, entries: Mapping[str, tuple[_Entry, ...]]) -> Iterator[_Entry]:
    """Those of a file's entries, by manufacturer, that are about the meter with this address."""
    if address.manufacturer is None:
        return
    for entry in entries.get(manufacturer_name(address.manufacturer), ()):
        if entry.scope.covers(address.version, address.device_type, address.identification):
            yield entry


def _share(left: frozenset[int] | None, right: frozenset[int] | None) -> bool:
    return left is None or right is None or not left.isdisjoint(right)


def take_sources(data: Mapping[str, Any], where: str) -> frozenset[str]:
    """The short names of a file's sources, each of which must say title, address and date.

    Raises:
        ValueError: one of the three is missing or empty, or there is no source at all.
    """
    sources = data.get("sources", {})
    if not sources:
        raise ValueError(f"{where}: no sources")
    for short, source in sources.items():
        for part in ("title", "address", "date"):
            if not source.get(part):
                raise ValueError(f"{where}: source {short!r} has no {part}")
    return frozenset(sources)


def check_source(source: object, sources: frozenset[str], where: str) -> str:
    """A source that an entry names.

    Raises:
        ValueError: the file has no such source.
    """
    if not isinstance(source, str) or source not in sources:
        raise ValueError(f"{where}: no source {source!r} in the file")
    return source


def check_code(code: object, where: str) -> str:
    """A manufacturer's three capital letters.

    Raises:
        ValueError: something else.
    """
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ValueError(f"{where}: {code!r} is no manufacturer, which has three capital letters")
    return code


def check_name(name: object, where: str) -> str:
    """A name: a text that is not empty, without blanks around it.

    Raises:
        ValueError: something else.
    """
    if not isinstance(name, str) or not name or name != name.strip():
        raise ValueError(f"{where}: {name!r} is no name")
    return name


def check_keys(entry: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """That an entry has no key that nobody reads.

    Raises:
        ValueError: it has one.
    """
    unknown = sorted(entry.keys() - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}")


def take_scope(entry: Mapping[str, Any], where: str) -> Scope:
    """The keys ``versions``, ``device_types`` and ``identification`` of an entry.

    Raises:
        ValueError: a number that no meter has, an empty list, or other digits than two.
    """
    identification = entry.get("identification")
    if identification is not None and not re.fullmatch("[0-9A-F]{2}", identification):
        raise ValueError(f"{where}: identification {identification!r} is not two digits")
    return Scope(
        take_numbers(entry, "versions", where),
        take_numbers(entry, "device_types", where),
        identification,
    )


def take_numbers(entry: Mapping[str, Any], key: str, where: str) -> frozenset[int] | None:
    """A key of an entry that holds single numbers and [first, last], spread; None without it.

    Raises:
        ValueError: a number that no meter has, or an empty list.
    """
    items: list[int | list[int]] | None = entry.get(key)
    if items is None:
        return None
    spread: set[int] = set()
    for item in items:
        first, last = (item, item) if isinstance(item, int) else item
        if not 0 <= first <= last <= _LARGEST:
            raise ValueError(f"{where}: {key}: {item} is not within 0 to {_LARGEST}")
        spread.update(range(first, last + 1))
    if not spread:
        raise ValueError(f"{where}: {key}: empty")
    return frozenset(spread)
