"""The commands, and the words of ``mbus-bacnet --help``.

The BACnet stack takes longer to import than all the rest together. Commands that need it import it
when they run, so that ``read`` and ``decode`` do not wait for it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from bridge import __version__
from bridge.cli import browse, check, decode, history, read, run, schema, simulate
from bridge.cli.help import Command
from bridge.cli.logs import set_up
from bridge.cli.options import LogFormat, LogFormatOption, Verbose
from bridge.cli.output import write

app = typer.Typer(
    help="A bridge from M-Bus (EN 13757) to BACnet/IP: meters become objects of a BACnet device."
    "\n\nCOMMAND --help explains each command, with examples.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # in a box, an error or an example cannot be copied
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        write(f"mbus-bacnet {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Verbose = False,
    log_format: LogFormatOption = LogFormat.TEXT,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    set_up(verbose=verbose, format=log_format)


app.command("run", cls=Command)(run.run)
app.command("check", cls=Command)(check.check)
app.command("read", cls=Command)(read.read)
app.command("decode", cls=Command)(decode.decode)
app.command("browse", cls=Command)(browse.browse)
app.command("history", cls=Command)(history.history)
app.command("simulate", cls=Command)(simulate.simulate)
app.command("schema", cls=Command)(schema.schema)
