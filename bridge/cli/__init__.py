"""The command ``mbus-bacnet``: one module for each command, and here what they share at the end.

Exit status: 0 done, 1 the job failed, 2 wrong usage or configuration.
"""

from __future__ import annotations

import logging
import os
import sys

from bridge.cli.commands import app
from bridge.cli.errors import UsageError
from bridge.cli.output import say
from bridge.config import ConfigError
from bridge.config.keys import KeyTextError
from bridge.errors import BridgeError
from bridge.mbus.errors import AddressError
from bridge.transport import PortError

__all__ = ["main"]


# What the user wrote and nothing was done with yet.
_WRONG_USAGE = (UsageError, AddressError, KeyTextError, PortError)


def main() -> None:
    """Run the command line. Ours to explain: an error of ours never shows a traceback."""
    try:
        app(prog_name="mbus-bacnet")
    except ConfigError as error:
        say(str(error), logging.ERROR)
        sys.exit(2)
    except BridgeError as error:
        say(f"mbus-bacnet: {error}", logging.ERROR)
        sys.exit(2 if isinstance(error, _WRONG_USAGE) else 1)
    except BrokenPipeError:
        # `mbus-bacnet ... | head` has seen enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
