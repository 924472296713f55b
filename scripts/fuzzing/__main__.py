"""``scripts/fuzz``: exit status 0 all right, 1 something does not hold."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scripts.fuzzing.runs import fuzz_all, replay

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def fuzz(
    telegrams: Annotated[int, typer.Option(min=10, help="In all processes together.")] = 100_000,
    processes: Annotated[int, typer.Option(min=1, max=64, help="How many at once.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same telegrams.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where findings are written.")] = Path(),
    replay_file: Annotated[
        Path | None, typer.Option("--replay", help="A file that an earlier run has written.")
    ] = None,
) -> None:
    """Mutated telegrams in number: no exception but the codec's own, no hang, no growth."""
    if replay_file is not None:
        failure = replay(replay_file)
        _say(failure or "Everything holds.")
        raise typer.Exit(1 if failure else 0)
    problems = fuzz_all(telegrams, processes, seed, folder)
    for problem in problems:
        _say(problem)
    if problems:
        raise typer.Exit(1)
    _say("Everything holds.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    app(prog_name="scripts/fuzz")
