"""The command ``mbus-bacnet``: one module for each command, and here what they share at the end.

Exit status: 0 done, 1 the job failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import os
import sys

from bridge.cli.commands import app
from bridge.config import ConfigError
from bridge.errors import BridgeError

__all__ = ["main"]


def main() -> None:
    """Run the command line. Ours to explain: an error of ours never shows a traceback."""
    try:
        app(prog_name="mbus-bacnet")
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BridgeError as error:
        print(f"mbus-bacnet: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except BrokenPipeError:
        # `mbus-bacnet ... | head` has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
