from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bridge.config.schema import schema
from bridge.config.templates import names

CONFIG = Path(__file__).parents[2] / "config"


def errors_of(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return sorted(error.json_path for error in validator.iter_errors(yaml.safe_load(text)))


def meter(keys: str) -> str:
    return (
        "device: {instance: 1}\nbacnet: {address: 192.168.1.10/24}\n"
        f"buses: {{b: {{port: /dev/ttyUSB0, meters: {{m: {keys}}}}}}}\n"
    )


def test_it_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("name", ["example.yaml", "everything.yaml"])
def test_the_examples_follow_the_schema(name: str) -> None:
    assert errors_of((CONFIG / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "keys",
    [
        "{address: 1}",
        "{secondary: 12345678, every: continuous}",
        "{secondary: '01234567', between: '22:00-02:00', model: itron-cyble}",
        "{address: 1, points: all, key: {file: keys/m}}",
        "{address: 1, points: {v: {quantity: volume, scale: 0.1, dif: '04'}}}",
        "{address: 1, nke: always, pause: 500ms, telegrams: [1, 3], min_gap: 15m}",
        "{address: 1, telegrams: all, wake_up: none, priority: high, on_exchange: hold}",
        "{address: 1, wake_up: {byte: 55, for: 2.2s, parity: none, pause: 50ms}}",
        "{address: 1, wake_up: {byte: FE}, nominal_flow: 2.5, nominal_power: 100}",
        "{address: 1, before: [application-reset, select 50, data 0813, raw 10 7B 01 7C 16]}",
        "{secondary: 12345678, fabrication: '01234567', baudrate: 300, tries: 5, timeout: 2s}",
        "{address: 1, points: {v: {quantity: power, min_value: -5, max_value: 5}}}",
        "{address: 1, points: {v: {record: 0C06}, w: {record: 0406}, x: {record: 02FD48#2}, "
        "y: {record: E9/1}}}",
    ],
)
def test_what_is_right_follows_the_schema(keys: str) -> None:
    assert errors_of(meter(keys)) == []


@pytest.mark.parametrize(
    "keys",
    [
        "{}",
        "{address: 1, secondary: 12345678}",
        "{address: 251}",
        "{address: 1, every: 15}",
        "{address: 1, fabrication: '12345678'}",
        "{address: 1, telegrams: []}",
        "{address: 1, telegrams: [17]}",
        "{address: 1, before: [select]}",
        "{address: 1, before: application-reset}",
        "{address: 1, wake_up: {duration: 2s}}",
        "{address: 1, nominal_flow: 0}",
        "{address: 1, nke: sometimes}",
        "{address: 1, evry: 15m}",
        "{address: 1, key: {file: a, env: B}}",
        "{address: 1, model: nobody-knows}",
        "{address: 1, points: some}",
        "{address: 1, points: {v: {quantity: volumes}}}",
        "{address: 1, points: {v: {unit: kWh}}}",
        "{address: 1, points: {a b: {quantity: volume}}}",
        "{address: 1, points: {v: {scale: 0}}}",
        "{address: 1, points: {v: {record: energy}}}",
    ],
)
def test_what_is_wrong_does_not_follow_the_schema(keys: str) -> None:
    assert errors_of(meter(keys))


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_it_reads_as_if_written_by_hand() -> None:
    text = json.dumps(schema())
    assert "$ref" not in text
    assert "$defs" not in text
    assert "null" not in text
    assert [node["title"] for node in nodes(schema()) if "title" in node] == ["mbus-bacnet site"]


def test_every_key_has_a_description_and_durations_have_theirs_as_text() -> None:
    for node in nodes(schema()):
        for key, value in node.get("properties", {}).items():
            assert value["description"], key
    bus = schema()["properties"]["buses"]["additionalProperties"]["properties"]
    assert bus["every"]["default"] == "15m"
    assert re.fullmatch(bus["every"]["pattern"], "1h30m")
    assert "default" not in bus["latency"]
    assert bus["min_gap"]["default"] == "0s"
    wake_up = bus["wake_up"]["anyOf"][0]["properties"]
    assert {key: each["default"] for key, each in wake_up.items()} == {
        "byte": "55", "for": "2.2s", "parity": "none", "pause": "50ms"
    }  # fmt: skip
    history = schema()["properties"]["history"]["properties"]
    assert (history["keep"]["default"], history["max_size"]["default"]) == ("400d", "1GB")


@pytest.mark.parametrize(
    ("billing", "right"),
    [
        ("{at: monthly 1 00:00}", True),
        ("{at: hourly 00, freeze: none}", True),
        ("{at: yearly 12-31 23:59, freeze: 48FE0B}", True),
        ("{at: weekly mon 6:00, freeze: standard}", True),
        ("{freeze: none}", False),
        ("{at: hourly 60}", False),
        ("{at: never}", False),
        ("{at: daily 24:00}", False),
        ("{at: daily 00:00, freeze: 48FE0}", False),
    ],
)
def test_a_time_of_billing_follows_the_schema(billing: str, right: bool) -> None:
    text = meter("{address: 1}").replace("meters:", f"billing: {billing}, meters:")
    assert (errors_of(text) == []) is right


def test_a_meter_names_the_templates_that_there_are() -> None:
    bus = schema()["properties"]["buses"]["additionalProperties"]["properties"]
    assert bus["meters"]["additionalProperties"]["properties"]["model"]["enum"] == list(names())
