"""The JSON Schema of the configuration, for completion and hints in an editor."""

from __future__ import annotations

from typing import Any

from bridge.config.model import Site
from bridge.config.templates import names
from bridge.config.values import format_duration, format_size

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DURATION_KEYS = frozenset(
    {"every", "timeout", "latency", "max_age", "min_gap", "for", "pause", "keep"}
)


def schema() -> dict[str, Any]:
    """The schema of a site (draft 2020-12), written out: no references, no titles.

    Point an editor at it with a first line ``# yaml-language-server: $schema=site.schema.json``.
    """
    raw = Site.model_json_schema(mode="validation")
    definitions = raw.pop("$defs", {})
    site = _plain(raw, definitions)
    bus = site["properties"]["buses"]["additionalProperties"]
    meter = bus["properties"]["meters"]["additionalProperties"]
    meter["oneOf"] = [{"required": ["address"]}, {"required": ["secondary"]}]
    model = meter["properties"]["model"]
    meter["properties"]["model"] = {
        "type": "string", "enum": list(names()), "description": model["description"]
    }  # fmt: skip
    key = meter["properties"]["key"]
    key["oneOf"] = [{"required": ["file"]}, {"required": ["env"]}]
    site["properties"]["buses"]["minProperties"] = 1
    # Pydantic writes a Decimal as a text.
    point = meter["properties"]["points"]["anyOf"][1]["additionalProperties"]
    point["properties"]["scale"]["default"] = 1
    meter["dependentRequired"] = {"fabrication": ["secondary"]}
    _say_defaults(site)
    return {
        "$schema": _DIALECT,
        "title": "mbus-bacnet site",
        "description": "The configuration of an M-Bus to BACnet/IP bridge.",
        **{key: value for key, value in site.items() if key != "description"},
    }


def _say_defaults(node: Any) -> None:
    """Write defaults as the file would say them: durations, sizes and bytes are numbers here."""
    if isinstance(node, list):
        for each in node:
            _say_defaults(each)
    if not isinstance(node, dict):
        return
    for name, inner in node.get("properties", {}).items():
        default = inner.get("default")
        if isinstance(default, int | float) and not isinstance(default, bool):
            if name in _DURATION_KEYS:
                inner["default"] = format_duration(default)
            elif name == "max_size":
                inner["default"] = format_size(int(default))
            elif name == "byte":
                inner["default"] = f"{default:02X}"
    for inner in node.values():
        _say_defaults(inner)


def _plain(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, titles and nulls. Our models do not contain themselves."""
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _plain({**target, **rest}, definitions)
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option.get("type") != "null"]
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        if len(options) == 1:
            return _plain({**options[0], **rest}, definitions)
        node = {"anyOf": options, **rest}
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            plain[key] = {name: _plain(inner, definitions) for name, inner in value.items()}
        elif key == "patternProperties":
            # Editors complete what stands under a name better this way.
            ((pattern, inner),) = value.items()
            plain.setdefault("propertyNames", {})["pattern"] = pattern
            plain["additionalProperties"] = _plain(inner, definitions)
        elif key == "propertyNames":
            plain.setdefault(key, {}).update(value)
        elif key in ("title", "examples") or (key == "default" and value in (None, "", {})):
            continue
        else:
            plain[key] = value if key in ("enum", "const") else _plain(value, definitions)
    return plain
