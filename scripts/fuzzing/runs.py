"""Many telegrams in several processes, and what came of them."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import pkgutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

import bridge.mbus
from bridge.mbus.layout import Layouts
from scripts.benchmarks.process import memory
from scripts.fuzzing.check import Checker, FuzzError, odds_of_a_checksum, time_limit
from scripts.fuzzing.mutate import Mutant, Mutator, seeds

SECONDS_EACH = 1.0
# What may be added between a tenth of a run and its end, for a run of some length: caches are full
# by then, and what is left is the allocator's own.
_GROWTH = 16 * 2**20
_LONG_RUN = 1_000_000  # telegrams of one process
_BATCH = 250


@dataclass
class Progress:
    """What a process tells now and then; memory in bytes."""

    process: int
    done: int
    counts: Counter[str]
    resident: int
    early: int = 0  # after a tenth of the telegrams
    caches: dict[str, tuple[int, int]] = field(default_factory=dict)
    slowest: float = 0.0  # seconds of processor time, of a batch, for each telegram
    failure: str = ""
    finished: bool = False


class Line(Protocol):
    """The way to whoever listens."""

    def send(self, progress: Progress, /) -> None:
        """Tell how far it is."""


def caches() -> dict[str, tuple[int, int]]:
    """What `bridge.mbus` remembers, and how much at most.

    Raises:
        FuzzError: something is remembered without end.
    """
    found: dict[str, tuple[int, int]] = {}
    for each in pkgutil.walk_packages(bridge.mbus.__path__, "bridge.mbus."):
        module = importlib.import_module(each.name)
        for name, what in vars(module).items():
            if isinstance(what, Layouts):
                found[f"{each.name.removeprefix('bridge.mbus.')}.{name}"] = (len(what), what._most)
            if hasattr(what, "cache_info") and what.__module__ == each.name:
                if not inspect.signature(what).parameters:
                    continue  # one thing to remember, read from a file
                info = what.cache_info()
                if info.maxsize is None or info.currsize > info.maxsize:
                    raise FuzzError(f"{each.name}.{name} remembers without end: {info}")
                found[f"{each.name.removeprefix('bridge.mbus.')}.{name}"] = (
                    info.currsize,
                    info.maxsize,
                )
    return found


def run(process: int, telegrams: int, seed: int, line: Line) -> None:
    """One process: so many telegrams, and word of them down the line."""
    mutator, checker = Mutator(seeds(), seed), Checker(seed)
    progress = Progress(process, 0, checker.counts, memory(os.getpid()).resident)
    told = time.monotonic()
    while progress.done < telegrams:
        batch = min(_BATCH, telegrams - progress.done)
        before = time.process_time()
        for _ in range(batch):
            mutant = mutator.mutant()
            failure = check(checker, mutant)
            if failure:
                progress.failure = reproducer(mutant, failure, seed, progress.done)
                line.send(progress)
                return
            progress.done += 1
        slow = (time.process_time() - before) / batch
        progress.slowest = max(progress.slowest, slow)
        if not progress.early and progress.done >= telegrams / 10:
            progress.early = memory(os.getpid()).resident
        if time.monotonic() - told > 1:
            told = time.monotonic()
            progress.resident = memory(os.getpid()).resident
            line.send(progress)
    progress.resident = memory(os.getpid()).resident
    try:
        progress.caches = caches()
    except FuzzError as error:
        progress.failure = str(error)
    progress.finished = True
    line.send(progress)


def check(checker: Checker, mutant: Mutant) -> str:
    """What does not hold; empty where all does."""
    try:
        with time_limit(SECONDS_EACH):
            checker.check(mutant)
    except Exception:  # noqa: BLE001 - any exception is a finding, and goes into the report
        return traceback.format_exc()
    return ""


def reproducer(mutant: Mutant, failure: str, seed: int, number: int) -> str:
    """A text that says what happened, and that ``--replay`` reads."""
    return (
        f"# telegram {number} of seed {seed}; again: scripts/fuzz --replay THIS_FILE\n"
        f"{mutant.data.hex(' ').upper()}\n"
        f"whole {int(mutant.whole)}\n"
        f"touched {'-' if mutant.touched is None else mutant.touched}\n\n{failure}"
    )


def replay(path: Path) -> str:
    """What does not hold for an earlier finding, tried a hundred times; empty where all does."""
    lines = path.read_text().splitlines()
    data = bytes.fromhex(lines[1])
    touched = lines[3].split()[1]
    mutant = Mutant(data, lines[2] == "whole 1", None if touched == "-" else int(touched))
    # What is looked at on a share of the telegrams is looked at in one of these.
    for seed in range(100):
        failure = check(Checker(seed), mutant)
        if failure:
            return failure
    return ""


def fuzz_all(telegrams: int, processes: int, seed: int, folder: Path) -> list[str]:
    """The whole run; what does not hold is returned, and findings are written to files."""
    started = time.monotonic()
    context = multiprocessing.get_context("spawn")
    lines: dict[Connection, int] = {}
    workers = []
    for number in range(processes):
        share = telegrams // processes + (number < telegrams % processes)
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(
            target=run, args=(number, share, seed + number * 1_000_003, theirs)
        )
        worker.start()
        theirs.close()
        lines[ours] = number
        workers.append(worker)
    latest: dict[int, Progress] = {}
    problems: list[str] = []
    shown = started
    while lines and not problems:
        for line in wait(list(lines), timeout=1):
            if not isinstance(line, Connection):
                continue
            try:
                progress: Progress = line.recv()
            except EOFError:
                number = lines.pop(line)
                if not (number in latest and latest[number].finished):
                    problems.append(f"process {number} has ended in the middle of its work")
                continue
            latest[progress.process] = progress
            if progress.failure:
                path = folder / f"fuzz-{seed}-{progress.process}.txt"
                path.write_text(progress.failure)
                problems.append(f"{progress.failure}\nWritten to {path}.")
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            done = sum(each.done for each in latest.values())
            rate = done / (shown - started)
            left = (telegrams - done) / rate if rate else 0.0
            sys.stderr.write(
                f"{done} of {telegrams}, {rate:.0f} a second, about {left:.0f} s to go; "
                f"{_mebibytes(sum(each.resident for each in latest.values()))} MiB\n"
            )
    for worker in workers:
        if problems:
            worker.terminate()
        worker.join()
    results = list(latest.values())
    sys.stdout.write(summary(results, time.monotonic() - started) + "\n")
    return problems + judge(results)


def judge(results: Sequence[Progress]) -> list[str]:
    """What does not hold for a run as a whole."""
    problems: list[str] = []
    counts = sum((each.counts for each in results), Counter[str]())
    damaged, read = counts["damaged in place"], counts["damaged in place, and read"]
    if read > odds_of_a_checksum(damaged):
        problems.append(f"{read} of {damaged} damaged frames were read: more than by chance")
    for each in results:
        if each.done >= _LONG_RUN and each.resident - each.early > _GROWTH:
            problems.append(
                f"process {each.process} has grown from {_mebibytes(each.early)} MiB after a tenth "
                f"of its telegrams to {_mebibytes(each.resident)} MiB"
            )
    return problems


def summary(results: Sequence[Progress], seconds: float) -> str:
    """The figures for people."""
    counts = sum((each.counts for each in results), Counter[str]())
    done = sum(each.done for each in results)
    lines = [
        f"{done} telegrams in {len(results)} processes, {seconds:.1f} s: {done / seconds:.0f} a "
        "second",
        *(f"  {name:<40}{count:>12}" for name, count in sorted(counts.items())),
    ]
    for each in sorted(results, key=lambda each: each.process):
        remembered = ", ".join(
            f"{name} {size} of {most}" for name, (size, most) in each.caches.items()
        )
        lines += [
            f"process {each.process}",
            f"  memory                  {_mebibytes(each.early)} MiB after a tenth, "
            f"{_mebibytes(each.resident)} at the end",
            f"  slowest batch           {each.slowest * 1e6:.0f} µs a telegram",
            f"  remembered              {remembered}",
        ]
    return "\n".join(lines)


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f}"
