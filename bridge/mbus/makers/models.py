"""What a meter is called, by manufacturer, version and device type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple

from bridge.mbus.address import SecondaryAddress, manufacturer_name
from bridge.mbus.makers.files import (
    Scope,
    check_code,
    check_keys,
    check_name,
    check_source,
    read,
    take_scope,
    take_sources,
)

_FILE = "models.toml"


class Model(NamedTuple):
    """One row: the meters it is about, and their name."""

    scope: Scope
    name: str


def model_name(address: SecondaryAddress) -> str | None:
    """The model of a meter with this address; None where it is not known, or not sure."""
    if address.manufacturer is None:
        return None
    for scope, name in _models().get(manufacturer_name(address.manufacturer), ()):
        if scope.covers(address.version, address.device_type, address.identification):
            return name
    return None


@cache
def _models() -> dict[str, tuple[Model, ...]]:
    return take_models(read(_FILE))


def take_models(data: Mapping[str, Any]) -> dict[str, tuple[Model, ...]]:
    """The content of the file to models by manufacturer, the closest description first.

    Raises:
        ValueError: a malformed entry, a source that is not described, or two rows that are about
            the same meter and neither of which asks for more than the other.
    """
    sources = take_sources(data, _FILE)
    found: dict[str, list[Model]] = {}
    for source, makers in data["models"].items():
        check_source(source, sources, _FILE)
        for maker in makers:
            code = check_code(maker.get("manufacturer"), f"{_FILE}: models.{source}")
            where = f"{_FILE}: {code} of {source}"
            check_keys(maker, ("manufacturer", "names"), where)
            for row in maker["names"]:
                check_keys(row, ("versions", "device_types", "identification", "name"), where)
                name = check_name(row.get("name"), where)
                found.setdefault(code, []).append(Model(take_scope(row, where), name))
    for code, models in found.items():
        for one, other in combinations(models, 2):
            if one.scope.demands == other.scope.demands and one.scope.meets(other.scope):
                raise ValueError(
                    f"{_FILE}: {code}: {one.name!r} and {other.name!r} are about the same meter"
                )
    return {
        code: tuple(sorted(models, key=lambda model: -model.scope.demands))
        for code, models in found.items()
    }
