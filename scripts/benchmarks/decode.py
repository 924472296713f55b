"""Telegrams a second with all values as exact decimals, beside two other decoders.

What is measured, and how:

- A decoder gets the bytes of a frame and has to give every record's value. Ours takes the frame
  out of a buffer and decodes the telegram; its values are all there then, exact decimals in a
  column beside the headers that say what they are. An object for each record it makes only for
  those who ask for one: a second ratio is of that, each record asked for and its value too.
  pyMeterBus makes its records' values when they are asked for: ``interpreted`` is asked for,
  where it says unit, storage number and function too, as our records do. The line "values only"
  asks it for ``value`` and nothing else. pymbusparser gives everything at once, values as text.
- No telegram comes twice. Each recorded one is written anew with other values in all its records
  (see `scripts.benchmarks.variants`), anew in each round, so a decoder can remember how a meter
  builds its telegrams, and not what it said. All decoders get the very same telegrams, those of
  the meters in turn, as on a bus.
- One process. In a round the decoders take turns of 20 variants, another one first in each: what
  slows the machine down for a while hits them all. A ratio is taken of the times of a whole round,
  and the median and the spread of the rounds are shown.
- The clock is the processor time of this process: what other processes take from the machine
  makes nobody slower. Nothing here has a thread of its own.
- The garbage collector stays on, as where these decoders work, and is run before each measured
  pass, so that nobody pays for another's garbage. What was prepared is frozen, so that nobody is
  charged for looking through it. A first round is run and thrown away.
- A decoder that raises an exception on a telegram, or on one of 200 variants, is spared it: the
  ratio is of those telegrams that both read. One that stops in the middle without an exception is
  not spared, and may be the faster for it; a second ratio is of the telegrams in which it finds
  at least as many records as ours.
- The values are checked: each of a sample of telegrams must say what was written into it.

The first sight of a layout and what is held in memory are measured in processes of their own, a
fresh one for each decoder and run.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.record import DataRecords
from bridge.mbus.telegram import decode_telegram
from scripts.benchmarks.process import BenchError, memory
from scripts.benchmarks.variants import ROOT, Recording, difference, recordings, variant

Decode = Callable[[bytes], Sequence[object]]

OURS = "bridge"
OUR_OBJECTS = "bridge, an object each"
METERBUS = "pyMeterBus"
METERBUS_VALUES = "pyMeterBus, values only"
MBUSPARSER = "pymbusparser"
GOALS = {METERBUS: 30.0, MBUSPARSER: 5.0}

_TURN = 20  # variants of all telegrams that a decoder reads before it is another one's turn
_EACH = 25  # variants of one telegram in a row, for the figures of each telegram
_SIGHTS = 3  # fresh processes for each decoder
_TRIED = 200  # variants of each telegram on which a decoder must not raise anything
_CHECKED = 4  # variants of each telegram whose values are checked, in each round


@dataclass
class Comparison:
    """Ours against another decoder, on the telegrams that both read; times in seconds."""

    other: str
    version: str
    goal: float | None
    telegrams: int
    refused: dict[str, str]  # by telegram, what it raised
    records: int  # that it finds in the telegrams as they came
    our_records: int
    ratio: float  # the median of the rounds
    object_ratio: float  # the same, where ours makes an object for each record
    seconds: list[float] = field(default_factory=list)  # for each round
    our_seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    whole: int = 0  # telegrams in which it finds as many records as ours, or more
    whole_ratios: list[float] = field(default_factory=list)  # of these alone
    each: dict[str, float] = field(default_factory=dict)  # the ratio for each telegram


@dataclass
class Sight:
    """A decoder in fresh processes: seconds for a telegram, bytes of memory; medians."""

    decoder: str
    first: float  # of a layout never seen before
    second: float
    third: float
    memory_first: int  # grown by, after the first of each
    memory_all: int  # and after all of them
    telegrams: int  # how many these are


@dataclass
class Result:
    """What was found. ``rates`` are telegrams a second, over all that the decoder reads."""

    folder: str
    telegrams: int
    variants: int
    rounds: int
    checked: int
    unchanged: list[str]  # telegrams in whose records nothing could be written anew
    missing: list[str]
    rates: dict[str, float] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    microseconds: dict[str, dict[str, float]] = field(default_factory=dict)  # by telegram, decoder
    sights: list[Sight] = field(default_factory=list)


class _Decoder(NamedTuple):
    name: str
    version: str
    decode: Decode
    refused: dict[str, str]
    records: list[int]  # by telegram


class _Group(NamedTuple):
    """Telegrams are measured in groups: those that the same decoders refuse, or cut short."""

    refusing: frozenset[str]
    short: frozenset[str]


_Times = dict[_Group, float]


def ours(data: bytes) -> Sequence[object]:
    """Every value of a telegram, in their column."""
    return _records(data).values


def our_objects(data: bytes) -> Sequence[object]:
    """Every value, out of an object for each record."""
    return [record.value for record in _records(data)]


def _records(data: bytes) -> DataRecords:
    frame = take_frame(bytearray(data))
    if not isinstance(frame, LongFrame):
        raise BenchError(f"not a long frame: {data.hex()}")
    return decode_telegram(frame).records


def _meterbus() -> Decode:
    load = importlib.import_module("meterbus").load
    return lambda data: [record.interpreted for record in load(data).records]


def _meterbus_values() -> Decode:
    load = importlib.import_module("meterbus").load
    return lambda data: [record.value for record in load(data).records]


def _mbusparser() -> Decode:
    parse = importlib.import_module("pymbusparser").parse
    return lambda data: [record["value"] for record in parse(data)["records"]]


_DECODERS: dict[str, tuple[str, Callable[[], Decode]]] = {
    OURS: ("mbus-bacnet", lambda: ours),
    OUR_OBJECTS: ("mbus-bacnet", lambda: our_objects),
    METERBUS: ("pyMeterBus", _meterbus),
    METERBUS_VALUES: ("pyMeterBus", _meterbus_values),
    MBUSPARSER: ("pymbusparser", _mbusparser),
}


def measure(
    paths: Sequence[Path], *, variants: int = 100, rounds: int = 9, seed: int = 1
) -> Result:
    """The whole comparison.

    Raises:
        BenchError: a telegram cannot be decoded, or does not say what was written into it.
    """
    telegrams = recordings(paths)
    random = Random(seed)
    result = Result(
        folder=str(paths[0].parent),
        telegrams=len(telegrams),
        variants=variants,
        rounds=rounds,
        checked=0,
        unchanged=[each.name for each in telegrams if not each.places],
        missing=[],
    )
    made = _make(telegrams, max(variants, _TRIED), random, result)
    decoders = _decoders(telegrams, made, result)
    groups = _groups(telegrams, decoders)
    taken: dict[str, list[_Times]] = {each.name: [] for each in decoders}
    for number in range(rounds + 1):
        if number:  # the first one was only to warm up
            made = _make(telegrams, variants, random, result)
        times = _round(decoders, groups, made)
        if number:
            for name, each in times.items():
                taken[name].append(each)
    _compare(result, decoders, groups, taken)
    _measure_each(result, decoders, telegrams, random)
    for decoder in decoders:
        result.sights.append(_sight(decoder, telegrams, variants, random))
    return result


def _round(
    decoders: Sequence[_Decoder], groups: dict[_Group, list[int]], made: list[list[bytes]]
) -> dict[str, _Times]:
    """Seconds of each decoder for all variants, taken in turns of a few variants each."""
    taken: dict[str, _Times] = {decoder.name: dict.fromkeys(groups, 0.0) for decoder in decoders}
    for turn, first in enumerate(range(0, len(made), _TURN)):
        rows = made[first : first + _TURN]
        order = [decoders[(turn + n) % len(decoders)] for n in range(len(decoders))]
        for decoder in order:
            for group, members in groups.items():
                if decoder.name not in group.refusing:
                    telegrams = [row[n] for row in rows for n in members]
                    taken[decoder.name][group] += _timed(decoder.decode, telegrams)
    return taken


def _make(
    telegrams: Sequence[Recording], variants: int, random: Random, result: Result
) -> list[list[bytes]]:
    """A row for each variant, with each telegram once; a sample of them is checked."""
    rows: list[list[bytes]] = []
    for number in range(variants):
        row: list[bytes] = []
        for each in telegrams:
            made = variant(each, random, number)
            if number < _CHECKED:
                problem = difference(ours(made.data), made)
                if problem:
                    raise BenchError(f"{each.name}: {problem}: {made.data.hex().upper()}")
                result.checked += 1
            row.append(made.data)
        rows.append(row)
    return rows


def _decoders(
    telegrams: Sequence[Recording], made: list[list[bytes]], result: Result
) -> list[_Decoder]:
    """Those that are installed, and what they refuse."""
    found: list[_Decoder] = []
    for name, (package, load) in _DECODERS.items():
        try:
            decode = load()
        except ModuleNotFoundError:
            result.missing.append(name)
            continue
        refused: dict[str, str] = {}
        records = [0] * len(telegrams)
        for number, each in enumerate(telegrams):
            try:
                records[number] = len(decode(each.data))
                for row in made:
                    decode(row[number])
            except Exception as error:  # noqa: BLE001 - strangers raise whatever happens to them
                refused[each.name] = f"{type(error).__name__}: {error}"
        if name in (OURS, OUR_OBJECTS) and refused:
            raise BenchError(f"refused by ours: {refused}")
        found.append(_Decoder(name, importlib.metadata.version(package), decode, refused, records))
    return found


def _groups(
    telegrams: Sequence[Recording], decoders: Sequence[_Decoder]
) -> dict[_Group, list[int]]:
    groups: dict[_Group, list[int]] = {}
    for number, each in enumerate(telegrams):
        group = _Group(
            frozenset(decoder.name for decoder in decoders if each.name in decoder.refused),
            frozenset(
                decoder.name for decoder in decoders if decoder.records[number] < len(each.values)
            ),
        )
        groups.setdefault(group, []).append(number)
    return groups


def _timed(decode: Decode, telegrams: Sequence[bytes]) -> float:
    """Processor seconds for all of them.

    A stranger that raises here has misread a telegram in such a way that only some values show it;
    its telegrams are not taken out once the measurement goes on, and it is the faster for it.
    """
    strangers = () if decode in (ours, our_objects) else (Exception,)
    gc.collect()
    gc.freeze()
    start = time.process_time()
    for data in telegrams:
        try:
            decode(data)
        except strangers:
            continue
    seconds = time.process_time() - start
    gc.unfreeze()
    return seconds


def _compare(
    result: Result,
    decoders: Sequence[_Decoder],
    groups: dict[_Group, list[int]],
    taken: dict[str, list[_Times]],
) -> None:
    our_records = sum(decoders[0].records)
    for decoder in decoders:
        name = decoder.name
        read = [group for group in groups if name not in group.refusing]
        whole = [group for group in read if name not in group.short]
        theirs, own = taken[name], taken[OURS]
        seconds = [sum(times.values()) for times in theirs]
        count = sum(len(groups[group]) for group in read)
        result.rates[name] = count * result.variants / statistics.median(seconds)
        if name not in (OURS, OUR_OBJECTS):
            ratios = _ratios(theirs, own, read)
            comparison = Comparison(
                other=name,
                version=decoder.version,
                goal=GOALS.get(name),
                telegrams=count,
                refused=decoder.refused,
                records=sum(decoder.records),
                our_records=our_records,
                seconds=seconds,
                our_seconds=[sum(times[group] for group in read) for times in own],
                ratio=statistics.median(ratios),
                ratios=ratios,
                object_ratio=statistics.median(_ratios(theirs, taken[OUR_OBJECTS], read)),
                whole=sum(len(groups[group]) for group in whole),
                whole_ratios=_ratios(theirs, own, whole) if whole else [],
            )
            result.comparisons.append(comparison)


def _ratios(
    theirs: Sequence[_Times], own: Sequence[_Times], groups: Sequence[_Group]
) -> list[float]:
    return [
        sum(their_times[group] for group in groups) / sum(our_times[group] for group in groups)
        for their_times, our_times in zip(theirs, own, strict=True)
    ]


def _measure_each(
    result: Result, decoders: Sequence[_Decoder], telegrams: Sequence[Recording], random: Random
) -> None:
    """Each telegram alone, a few variants in a row: less like a bus, and says where time goes."""
    for each in telegrams:
        made = [variant(each, random, number).data for number in range(_EACH)]
        times = {
            decoder.name: _timed(decoder.decode, made) / _EACH
            for decoder in decoders
            if each.name not in decoder.refused
        }
        result.microseconds[each.name] = {name: time * 1e6 for name, time in times.items()}
        for comparison in result.comparisons:
            if comparison.other in times:
                comparison.each[each.name] = times[comparison.other] / times[OURS]


def _sight(
    decoder: _Decoder, telegrams: Sequence[Recording], variants: int, random: Random
) -> Sight:
    """What fresh processes say; telegrams go in as lines of hex."""
    read = [each for each in telegrams if each.name not in decoder.refused]
    runs: list[dict[str, float]] = []
    for _ in range(_SIGHTS):
        lines = [
            variant(each, random, number).data.hex() for number in range(variants) for each in read
        ]
        command = [sys.executable, "-m", "scripts.benchmarks.decode", decoder.name, str(len(read))]
        done = subprocess.run(
            command,
            input="\n".join(lines),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{decoder.name} in a process of its own: {done.stderr}")
        runs.append(json.loads(done.stdout))
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return Sight(
        decoder.name,
        median["first"],
        median["second"],
        median["third"],
        int(median["memory_first"]),
        int(median["memory_all"]),
        len(read) * variants,
    )


def see(name: str, layouts: int, telegrams: Sequence[bytes]) -> dict[str, float]:
    """In a fresh process: the first ``layouts`` telegrams differ in layout, later ones repeat."""
    decode = _DECODERS[name][1]()
    gc.collect()
    before = memory(os.getpid()).resident
    first = _timed(decode, telegrams[:layouts])
    held = memory(os.getpid()).resident
    second = _timed(decode, telegrams[layouts : 2 * layouts])
    third = _timed(decode, telegrams[2 * layouts : 3 * layouts])
    _timed(decode, telegrams[3 * layouts :])
    gc.collect()
    return {
        "first": first / layouts,
        "second": second / layouts,
        "third": third / layouts,
        "memory_first": held - before,
        "memory_all": memory(os.getpid()).resident - before,
    }


def report(result: Result, *, each: bool = False) -> str:
    """The figures for people."""
    r = result
    lines = [
        f"{r.telegrams} telegrams of {r.folder}, {r.variants} variants of each with other values, "
        f"{r.rounds} rounds",
        f"values checked in {r.checked} of them: all as they were written",
    ]
    if r.unchanged:
        lines.append(f"no record to write anew, only the access number: {', '.join(r.unchanged)}")
    lines += [f"not installed, so not compared: {name}" for name in r.missing]
    lines += ["", "Telegrams a second, of those that it reads"]
    lines += [f"  {name:<26}{rate:>9.0f}   {1e6 / rate:7.1f} µs" for name, rate in r.rates.items()]
    for c in r.comparisons:
        goal = "" if c.goal is None else f" (goal: {c.goal:g})"
        lines += [
            "",
            f"Beside {c.other} {c.version}: {c.ratio:.2f} times as many{goal}",
            f"  rounds                  {min(c.ratios):.2f} to {max(c.ratios):.2f}: "
            + " ".join(f"{ratio:.2f}" for ratio in c.ratios),
            f"  an object each          {c.object_ratio:.2f} times as many",
            f"  telegrams               {c.telegrams} that both read; of one alone "
            f"{min(c.each.values()):.1f} to {max(c.each.values()):.1f} times, median "
            f"{statistics.median(c.each.values()):.1f}",
            f"  read to the end         {c.whole}"
            + (f", and of these {statistics.median(c.whole_ratios):.2f}" if c.whole else "")
            + f"; {c.records} records found, {c.our_records} by ours in all telegrams",
            *(f"  it refuses              {name}: {why}" for name, why in c.refused.items()),
        ]
    lines += ["", "In a fresh process, for each telegram; and what memory grew by"]
    lines += [
        f"  {s.decoder:<26}first sight {s.first * 1e6:6.1f} µs, second {s.second * 1e6:6.1f}, "
        f"third {s.third * 1e6:6.1f}; "
        f"{s.memory_first / 2**20:6.2f} MiB after the first ones, {s.memory_all / 2**20:6.2f} MiB "
        f"after {s.telegrams}"
        for s in r.sights
    ]
    if each:
        lines += ["", "Each telegram alone, in µs: " + "; ".join(r.rates)]
        lines += [
            f"  {name:<36}"
            + " ".join(f"{times[key]:9.1f}" if key in times else f"{'-':>9}" for key in r.rates)
            for name, times in r.microseconds.items()
        ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """What `_sight` starts: the decoder's name, how many layouts; telegrams from stdin."""
    name, layouts = arguments
    telegrams = [bytes.fromhex(line) for line in sys.stdin]
    sys.stdout.write(json.dumps(see(name, int(layouts), telegrams)))


if __name__ == "__main__":
    main(sys.argv[1:])
