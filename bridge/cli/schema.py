"""``schema``: the JSON Schema of the configuration."""

from __future__ import annotations

import json

from bridge.cli.output import write
from bridge.config.schema import schema as make_schema


def schema() -> None:
    """Print the JSON Schema of the configuration, for an editor.

    With it an editor completes and checks the keys of your file.

    Example:

      mbus-bacnet schema > mbus-bacnet.schema.json

    Then, as the first line of your file:

      # yaml-language-server: $schema=mbus-bacnet.schema.json
    """
    write(json.dumps(make_schema(), indent=2))
