"""How ``mbus-bacnet COMMAND --help`` looks: plain text, and examples as one types them."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand


class Command(TyperCommand):
    """A command whose help keeps indented lines as they are, and names arguments alone.

    typer joins the lines of an example to a paragraph, and shows Python's types (``<list[Path]>``).
    Context, formatter and parameters are click's, which typer carries in itself or not, depending
    on its version; so they have no type here.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[OPTIONS]", *(_in_usage(each) for each in _arguments(self, ctx))]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for paragraph in inspect.cleandoc(self.help or "").split("\n\n"):
            formatter.write_paragraph()
            if paragraph.startswith(" "):
                formatter.write("".join(f"  {line}\n" for line in paragraph.splitlines()))
            else:
                with formatter.indentation():
                    formatter.write_text(paragraph)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        arguments = [(each.metavar, each.help) for each in _arguments(self, ctx)]
        if arguments:
            with formatter.section("Arguments"):
                formatter.write_dl(arguments)
        with formatter.section("Options"):
            formatter.write_dl(
                [
                    each.get_help_record(ctx)
                    for each in self.get_params(ctx)
                    if each.param_type_name == "option"
                ]
            )


def _arguments(command: Command, ctx: Any) -> list[Any]:
    return [each for each in command.get_params(ctx) if each.param_type_name == "argument"]


def _in_usage(argument: Any) -> str:
    name = argument.metavar + ("..." if argument.nargs != 1 else "")
    return name if argument.required else f"[{name}]"
