"""Where words go: results to stdout, messages to stderr."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.table import Table

# Width and colour follow the terminal; in a pipe or a file a row is one line, however long.
out = Console(
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000, highlight=False
)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def table(*titles: str) -> Table:
    """A table as all commands show it: no lines, as narrow as its content."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        # Where the terminal is narrow, words fold, and numbers never: half a number misleads.
        folds = title in ("name", "quantity", "reliability", "from", "bytes")
        made.add_column(
            title,
            no_wrap=not folds,
            overflow="fold",
            justify="right" if title == "value" else "left",
        )
    return made


def write(text: str) -> None:
    """Print machine-readable text as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell the user something, on stderr."""
    err.print(text, markup=False)
