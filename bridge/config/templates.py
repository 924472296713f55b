"""Meter templates: the points of a meter type, each with the telegram that proves it, and how such
a meter wants to be read.

They are YAML files in ``bridge/config/meters``, inside the package, so that an installed wheel has
them too. ``model: itron-cyble`` names the file ``itron-cyble.yaml``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from typing import Annotated

from pydantic import BeforeValidator, Field

from bridge.config.base import Model
from bridge.config.errors import ConfigError
from bridge.config.fill import fill
from bridge.config.model import Point
from bridge.config.tree import Mapping as MappingNode
from bridge.config.tree import Problems, Source, read_tree
from bridge.config.values import Frozen, Name, Text, wrong
from bridge.config.ways import Ways


def _words(pattern_length: int, what: str) -> BeforeValidator:
    def read(value: object) -> object:
        if not isinstance(value, list | tuple) or not value:
            raise wrong(f"{what} must be a list", f"write [{'A' * pattern_length}]")
        return tuple(str(word).upper() for word in value)

    return BeforeValidator(read)


def _telegram(value: object) -> object:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(str(value))
    except ValueError:
        raise wrong("the telegram is no row of bytes", "write two hex digits a byte") from None


class Proof(Model):
    """A telegram of such a meter, and what the template's points make of it.

    ``values`` are in the unit that each point is offered in.
    """

    telegram: Annotated[bytes, BeforeValidator(_telegram)] = Field(
        description="One whole frame in hex, from the start to the stop character."
    )
    values: Annotated[Mapping[Name, Text], *Frozen] = Field(
        description="What each point says of this telegram: a number in the unit that it is "
        "offered in, a text, or a date by ISO 8601."
    )


class Template(Ways):
    """What is known of a meter type before any meter is asked.

    The ways that it sets are those of each meter that names it and does not say otherwise.
    """

    name: Text = Field(description="The meter type in words.")
    manufacturer: Annotated[tuple[str, ...], _words(3, "manufacturer")] = Field(
        description="The three letters in the meter's secondary address; several where the type "
        "was sold under several."
    )
    device_types: Annotated[tuple[str, ...], _words(2, "device_types")] = Field(
        description="Device types of its secondary address, in two hex digits."
    )
    points: Annotated[Mapping[Name, Point], *Frozen] = Field(description="Its values, by name.")
    proof: Proof = Field(description="A telegram, and what the points make of it.")


@functools.cache
def names() -> tuple[str, ...]:
    """The templates that come with the package, in alphabetical order."""
    files = (resources.files("bridge.config") / "meters").iterdir()
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    )


@functools.cache
def template(name: str) -> Template:
    """Read a template by its name.

    Raises:
        KeyError: there is none of this name.
        ConfigError: it contradicts itself.
    """
    if name not in names():
        raise KeyError(name)
    file = resources.files("bridge.config") / "meters" / f"{name}.yaml"
    problems = Problems(f"{name}.yaml")
    root = read_tree(file.read_text(encoding="utf-8"), problems)
    if not isinstance(root, MappingNode):
        problems.add(0, 0, (), "this is no template", "write name, points and proof")
        raise ConfigError(problems.in_order())
    filled = fill(Template, root, (), Source(root, problems))
    if problems.errors:
        raise ConfigError(problems.in_order())
    return filled
