"""Where words go: results to stdout, messages to stderr."""

from __future__ import annotations

import sys

from rich.console import Console

# Width and colour follow the terminal; a pipe gets plain text that is never cut.
out = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def write(text: str) -> None:
    """Print machine-readable text as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the user something, on stderr."""
    err.print(text, markup=False)
