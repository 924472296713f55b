"""The commands, and the words of ``mbus-bacnet --help``."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from bridge import __version__
from bridge.cli import browse, check, decode, read, run, schema, simulate
from bridge.cli.output import write

app = typer.Typer(
    help="A bridge from M-Bus (EN 13757) to BACnet/IP: meters become objects of a BACnet device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        write(f"mbus-bacnet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every reading, not only what changes.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    logging.getLogger("bridge").setLevel(logging.DEBUG if verbose else logging.INFO)


app.command("run")(run.run)
app.command("check")(check.check)
app.command("read")(read.read)
app.command("decode")(decode.decode)
app.command("browse")(browse.browse)
app.command("simulate")(simulate.simulate)
app.command("schema")(schema.schema)
