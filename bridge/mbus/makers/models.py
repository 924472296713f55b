"""What a meter is called, by manufacturer, version and device type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
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
    take_numbers,
    take_scope,
    take_sources,
)

_FILE = "models.toml"
_LIBMBUS = "libmbus"  # a source, whose wording other tools compare
_ROW = ("versions", "device_types", "identification", "name", "sure", "media")


class Model(NamedTuple):
    """One row: the meters it is about, their name, and whether no other model is like them.

    ``media`` are the device types that the model is made for, None where the row does not say.
    """

    scope: Scope
    name: str
    source: str
    sure: bool
    media: frozenset[int] | None = None

    def is_sure_of(self, device_type: int | None) -> bool:
        """Whether a meter within the scope, of this device type, is the model beyond doubt."""
        return self.sure and (self.media is None or device_type in self.media)


def model_name(address: SecondaryAddress) -> str | None:
    """The model of a meter with this address; None where it is not known, or not sure."""
    models = _models_of(address)
    return next((each.name for each in models if each.is_sure_of(address.device_type)), None)


def product_name(address: SecondaryAddress) -> str | None:
    """What the C library libmbus calls a meter with this address, right or wrong; else None."""
    return next((model.name for model in _models_of(address) if model.source == _LIBMBUS), None)


def _models_of(address: SecondaryAddress) -> Iterator[Model]:
    return about(address, _models())


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
                check_keys(row, _ROW, where)
                name, sure = check_name(row.get("name"), where), row.get("sure", True)
                media = take_numbers(row, "media", where)
                model = Model(take_scope(row, where), name, source, sure, media)
                found.setdefault(code, []).append(model)
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
