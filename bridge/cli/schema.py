"""``schema``: the JSON Schema of the configuration."""

from __future__ import annotations

import json

from bridge.cli.output import write
from bridge.config.schema import schema as make_schema


def schema() -> None:
    """Print the JSON Schema of the configuration, for completion in an editor.

    Example: mbus-bacnet schema > schema.json, and as the first line of your site's file:
    # yaml-language-server: $schema=schema.json
    """
    write(json.dumps(make_schema(), indent=2))
