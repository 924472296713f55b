"""config/example.yaml and config/everything.yaml are right, and everything is in the latter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from bridge.config.base import Model
from bridge.config.billing import Billing
from bridge.config.errors import Problem
from bridge.config.load import Loaded, load_text_with_warnings, load_with_warnings
from bridge.config.model import Bacnet, Bus, Device, Foreign, History, Key, Meter, Point, Site
from bridge.config.values import format_duration, format_size
from bridge.config.ways import WakeUp

CONFIG = Path(__file__).parents[2] / "config"
EVERYTHING = CONFIG / "everything.yaml"

MODELS: tuple[type[Model], ...] = (
    *(Site, Device, Bacnet, Foreign, History, Bus, WakeUp, Billing, Meter, Key, Point),
)

# Where the keys of a model stand: how far they are indented, between which lines.
SECTIONS: dict[type[Model], str] = {
    Site: r"^",
    Device: r"^device:\n(?:^ .*\n)*?^  ",
    Bacnet: r"^bacnet:\n(?:^ .*\n)*?^  ",
    Foreign: r"^  foreign:.*\n(?:^    .*\n)*?^    ",
    History: r"^history:.*\n(?:^ .*\n)*?^  ",
    WakeUp: r"^    wake_up:.*\n(?:^      .*\n)*?^      ",
    Billing: r"^    billing:.*\n(?:^      .*\n)*?^      ",
    Bus: r"^  basement:\n(?:^ .*\n)*?^    ",
    Meter: r"^    meters:.*\n(?:^ .*\n|^\n)*?^        (?:#: )?",
    Key: r"^        #: key: \{",
    Point: r"^        points:\n(?:^ .*\n)*?^            ",
}


def doubts(loaded: Loaded) -> list[Problem]:
    """All warnings but those of limits: they are read, and said to do nothing yet."""
    limits = ("low_limit", "high_limit")
    return [warning for warning in loaded.warnings if not warning.key.endswith(limits)]


@pytest.mark.parametrize("name", ["example.yaml", "everything.yaml"])
def test_it_loads_without_a_doubt(name: str) -> None:
    assert doubts(load_with_warnings(CONFIG / name)) == []


def test_the_smallest_example_is_small() -> None:
    lines = (CONFIG / "example.yaml").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) <= 7


def every_key() -> Iterator[tuple[type[Model], str, FieldInfo]]:
    for model in MODELS:
        for key, name in model.names_by_key().items():
            yield model, key, model.model_fields[name]


def in_words(value: object, key: str) -> str:
    """A default as the file says it."""
    if isinstance(value, float):
        return format_duration(value)
    if key == "max_size":
        assert isinstance(value, int)
        return format_size(value)
    if key == "byte":
        return f"{value:02X}"
    if value == ():
        return "[]"
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


@pytest.mark.parametrize(
    ("model", "key", "info"), [*every_key()], ids=[f"{m.__name__}.{k}" for m, k, _ in every_key()]
)
def test_everything_shows_every_key_with_its_default(
    model: type[Model], key: str, info: FieldInfo
) -> None:
    text = EVERYTHING.read_text(encoding="utf-8")
    found = re.search(
        rf"{SECTIONS[model]}{key}:(?P<value>[^#\n]*)(?:#(?P<comment>.*))?$", text, re.MULTILINE
    )
    assert found is not None, f"{key} of a {model.__name__} is missing in everything.yaml"
    comment = found["comment"] or ""
    said = re.search(r"default: ([^;\n]*)", comment)
    if model in (Site, Key) and key != "state":
        return  # groups, and the two places of a key, say it themselves
    if info.is_required():
        assert comment.strip().startswith("required"), key
    elif info.default_factory is not None or info.default in (None, ""):
        # No value of its own: the comment says what holds instead.
        assert said is not None or "this or " in comment, key
        if info.default == "":
            assert said is not None
            assert said[1] in ("none", "what is known of the record"), key
    else:
        assert said is not None, key
        assert said[1].strip() == in_words(info.default, key), key


def test_everything_names_no_key_that_there_is_not() -> None:
    text = EVERYTHING.read_text(encoding="utf-8")
    known = {key for model in MODELS for key in model.names_by_key()}
    names = {
        "basement",
        "main-water",
        "heat-1",
        "gas-17",
        "volume",
        "flow",
        "input-state",
        "pulses",
    }
    written = set(re.findall(r"^\s*(?:#: )?([\w-]+):(?: |$)", text, re.MULTILINE))
    assert written - known == names


def test_the_alternatives_are_right_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").mkdir()
    key = tmp_path / "keys" / "gas-17"
    key.write_text("00112233445566778899AABBCCDDEEFF")
    key.chmod(0o600)
    monkeypatch.setenv("GAS_17_KEY", "00112233445566778899AABBCCDDEEFF")
    lines = EVERYTHING.read_text(encoding="utf-8").splitlines()
    alternatives = [n for n, line in enumerate(lines) if line.lstrip().startswith("#:")]
    assert len(alternatives) == 11
    for number in alternatives:
        changed = [*lines]
        changed[number] = changed[number].replace("#: ", "")
        name = changed[number].split(":")[0]
        above = [n for n in range(max(0, number - 5), number) if changed[n].startswith(f"{name}:")]
        for n in above:
            changed[n] = ""
        loaded = load_text_with_warnings("\n".join(changed), tmp_path / "site.yaml")
        assert doubts(loaded) == [], changed[number]
