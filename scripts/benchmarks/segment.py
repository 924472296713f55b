"""Recorded telegrams on a simulated bus, the bridge between, a BACnet reader at the other end."""

from __future__ import annotations

import asyncio
import datetime
import re
import socket
import statistics
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from bridge.bacnet.client import Browser, ObjectValue
from bridge.units import OFFERED, convert
from scripts.benchmarks.bus import Order
from scripts.benchmarks.expected import (
    NAMING,
    Expectation,
    Expected,
    Recording,
    difference,
    expectation,
    fault_difference,
    loses_digits,
    own_differences,
    recordings,
    unexpected,
)
from scripts.benchmarks.process import cpu_seconds, free_port, memory
from scripts.benchmarks.running import BUS, running_bridge, running_bus, site_text

_READ = re.compile(r" (\S+): read, \d+ records$", re.MULTILINE)
_FAILED = re.compile(rf"(?:WARNING|DEBUG) +{BUS}: (\S+): (.+)$", re.MULTILINE)
_WORSE = re.compile(r"^\S+ \S+ (?:ERROR|CRITICAL).*$", re.MULTILINE)


@dataclass
class Result:
    """What was found; times in seconds, sizes in bytes."""

    port: str
    baudrate: int
    meters: int
    latency: float = 0.0  # in each direction
    seconds: float = 0.0
    cycles: int = 0
    readings: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    failure_reasons: dict[str, int] = field(default_factory=dict)
    log_errors: list[str] = field(default_factory=list)
    # The wire, by the simulator's count, from the first request to the last one:
    window: float = 0.0
    wire: float = 0.0
    wire_share: float = 0.0
    travel: float = 0.0  # what the latency takes of the window
    wire_of: dict[str, float] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    free: dict[str, float] = field(default_factory=dict)
    # When the simulator's process was not run in time, and by how much: the machine's share.
    stalls: list[tuple[float, float]] = field(default_factory=list)
    # The five longest times that the line was free: when (from the first request on), how long.
    longest_free: list[tuple[float, float]] = field(default_factory=list)
    # The bridge:
    cpu_start: float = 0.0  # until its first request
    cpu: float = 0.0  # from then on, the looks included
    memory: int = 0
    memory_peak: int = 0
    # What a BMS reads:
    looks: int = 0
    objects_read: int = 0
    wrong_during: list[str] = field(default_factory=list)
    look_seconds: list[float] = field(default_factory=list)
    records: int = 0
    record_errors: list[str] = field(default_factory=list)
    objects: int = 0  # records that are objects
    right: int = 0
    in_fault: list[str] = field(default_factory=list)  # objects that rightly show no value
    own_objects: int = 0
    unseen: list[str] = field(default_factory=list)  # records that are no object
    differences: list[str] = field(default_factory=list)
    digits_lost: list[str] = field(default_factory=list)
    second_opinion: dict[str, int] = field(default_factory=dict)
    second_opinion_differences: list[str] = field(default_factory=list)
    second_opinion_known: list[str] = field(default_factory=list)

    @property
    def unavoidable(self) -> float:
        """The share of the wall time that no master can avoid: the wire, the meters, the way."""
        return (self.wire + self.travel) / self.window

    @property
    def is_right(self) -> bool:
        """Whether nothing differs anywhere."""
        return not (
            self.differences
            or self.wrong_during
            or self.second_opinion_differences
            or self.log_errors
            or sum(self.failures.values())
        )


async def measure(
    paths: Sequence[Path],
    *,
    baudrate: int,
    seconds: float,
    pty: bool,
    looks: int,
    latency: float = 0.0,
) -> Result:
    """One run; ``latency`` is that of each direction, in seconds, and for TCP only.

    Raises:
        BenchError: something did not start or end as it should.
    """
    meters = recordings(paths)
    wanted = [expectation(each) for each in meters]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "log"
        order = Order(tuple(map(str, paths)), baudrate, pty=pty, latency=latency)
        async with running_bus(order) as bus:
            ports = (await bus.event("ready"))["ports"]
            udp_port = free_port(socket.SOCK_DGRAM)
            site = Path(folder) / "site.yaml"
            site.write_text(site_text(ports, udp_port, baudrate, [each.name for each in meters]))
            result = Result(
                "pseudo terminal" if pty else "TCP", baudrate, len(meters), latency=latency
            )
            began = datetime.datetime.now()
            async with running_bridge(site, log) as bridge:
                await bus.event("first-request")
                result.cpu_start = cpu_seconds(bridge.pid)
                spans = await _look(result, wanted, udp_port, seconds, looks, began, bridge)
            told = await bus.finish()
        _count_readings(result, log.read_text(), meters)
        _count_wire(result, told, spans)
    return result


async def _look(
    result: Result,
    wanted: Sequence[Expectation],
    udp_port: int,
    seconds: float,
    looks: int,
    began: datetime.datetime,
    bridge: Process,
) -> list[tuple[float, float]]:
    """Read everything now and then, and at the end; when that was."""
    spans: list[tuple[float, float]] = []
    complete: set[str] = set()
    first = time.monotonic()
    async with Browser("127.0.0.1", port=udp_port, timeout=3.0) as browser:
        device = await browser.find(f"127.0.0.1:{udp_port}")
        for number in range(1, looks + 1):
            await asyncio.sleep(max(0.0, first + number * seconds / (looks + 1) - time.monotonic()))
            start = time.monotonic()
            seen = {value.name: value async for value in browser.read_objects(device)}
            spans.append((start, time.monotonic()))
            result.objects_read += len(seen)
            result.wrong_during += [
                f"look {number}: {problem}" for problem in _wrong_now(wanted, seen, complete)
            ]
        await asyncio.sleep(max(0.0, first + seconds - time.monotonic()))
        result.seconds = time.monotonic() - first
        result.cpu = cpu_seconds(bridge.pid) - result.cpu_start
        result.memory, result.memory_peak = memory(bridge.pid)
        start = time.monotonic()
        seen = {value.name: value async for value in browser.read_objects(device)}
        spans.append((start, time.monotonic()))
    result.objects_read += len(seen)
    result.looks = len(spans)
    result.look_seconds = [stop - start for start, stop in spans]
    _judge(result, wanted, seen, began)
    return spans


def _wrong_now(
    wanted: Sequence[Expectation], seen: dict[str, ObjectValue], complete: set[str]
) -> list[str]:
    """What is wrong during a run: an object that is there is right, from its first moment on.

    ``complete`` are the meters that had answered in an earlier look; none of their objects may be
    missing. Those that answer now are added: a look takes its time, and begins with the list.
    """
    wrong: list[str] = []
    for each in wanted:
        meter = each.recording.name
        for expected in each.objects:
            if meter in complete or expected.name in seen:
                problem = difference(expected, seen.get(expected.name))
                if problem:
                    wrong.append(f"{expected.name}: {problem}")
        answering = seen.get(f"{meter}.answering")
        if answering is not None and answering.reliability == "no-fault-detected":
            complete.add(meter)
    return wrong


def _judge(
    result: Result,
    wanted: Sequence[Expectation],
    seen: dict[str, ObjectValue],
    began: datetime.datetime,
) -> None:
    opinions: Counter[str] = Counter()
    for each in wanted:
        result.records += each.count
        result.record_errors += [
            f"{each.recording.name}: {error}"
            for telegram in each.recording.telegrams
            for error in telegram.errors
        ]
        result.unseen += [
            f"{left.meter} record {left.number}: "
            f"{(left.record.dib + left.record.vib).hex(' ').upper()} = "
            f"{left.record.data.hex(' ').upper() or '(no data)'}, "
            f"{left.record.quantity}: {left.reason}"
            for left in each.left
            if left.name not in seen
        ]
        for left in each.left:
            problem = fault_difference(left, seen.get(left.name))
            if problem:
                result.differences.append(f"{left.name}: {problem}")
            elif left.name in seen:
                result.objects += 1
                result.in_fault.append(f"{left.name}: {seen[left.name].reliability}: {left.reason}")
        for expected in each.objects:
            value = seen.get(expected.name)
            result.objects += value is not None
            problem = difference(expected, value)
            if problem:
                result.differences.append(f"{expected.name}: {problem}")
            else:
                result.right += 1
            if loses_digits(expected):
                result.digits_lost.append(
                    f"{expected.name}: {expected.value} {expected.units}, "
                    f"REAL shows {value.value if value else None}"
                )
        own = own_differences(each.recording, seen, began)
        result.own_objects += 3
        result.differences += own
        _compare_with_second_opinion(result, each, seen, opinions)
    result.second_opinion = dict(opinions)
    result.differences += [
        f"{name}: an object that no record accounts for" for name in unexpected(wanted, seen)
    ]


def _compare_with_second_opinion(
    result: Result, each: Expectation, seen: dict[str, ObjectValue], opinions: Counter[str]
) -> None:
    """What libmbus says of the same telegram, where a file of its words lies beside it."""
    from tests.mbus.test_second_opinion import KNOWN  # needs pytest, which a bridge does not

    paths = each.recording.paths
    if len(paths) != 1 or not (path := paths[0].with_suffix(".xml")).exists():
        return
    said = [
        {child.tag: child.text or "" for child in element}
        for element in ElementTree.parse(path).getroot().iter("DataRecord")
        if element.findtext("Function") not in ("Manufacturer specific", "More records follow")
    ]
    if len(said) != each.count:
        result.second_opinion_differences.append(
            f"{path.stem}: libmbus finds {len(said)} records, the codec {each.count}"
        )
        return
    for expected in each.objects:
        value = seen.get(expected.name)
        opinions["compared"] += 1
        agrees = value is not None and _agrees(expected, value, said[expected.number])
        opinions["agree"] += agrees
        shown = f"{value.value} {value.units}" if value is not None else "missing"
        line = f"{expected.name}: object {shown}, libmbus {said[expected.number]}"
        reason = KNOWN.get((path.stem, expected.number))
        if reason is not None:
            result.second_opinion_known.append(f"{line}: {reason}")
        elif not agrees:
            result.second_opinion_differences.append(line)
    for left in each.left:
        opinions["no object"] += 1
        reason = KNOWN.get((path.stem, left.number))
        if reason is not None:
            result.second_opinion_known.append(
                f"{path.stem} record {left.number}, no object: {reason}"
            )


def _agrees(expected: Expected, seen: ObjectValue, said: dict[str, str]) -> bool:
    from tests.mbus.test_second_opinion import UNITS

    text = said.get("Value", "")
    value = seen.value
    if isinstance(value, Decimal):
        unit, factor = UNITS.get(said["Unit"], (expected.record.unit, Decimal(1)))
        if unit is not expected.record.unit:
            return False
        if seen.units not in OFFERED:
            return False
        wanted = convert(Decimal(text) * factor, unit, seen.units)
        # It prints six digits behind the point; REAL has 24 bits.
        coarse = convert(Decimal("5e-7") * factor, unit, seen.units)
        return abs(wanted - value) <= coarse + abs(wanted) * Decimal(2) ** -24
    if isinstance(value, datetime.datetime):
        return value.isoformat() == text.removesuffix("Z")
    if expected.record.quantity in NAMING and isinstance(expected.record.value, Decimal):
        return Decimal(str(value)) == Decimal(text)  # it prints a fraction behind each number
    return str(value) in (text, text.replace(" ", ""))


def _count_readings(result: Result, log: str, meters: Sequence[Recording]) -> None:
    names = [each.name for each in meters]
    read = Counter(_READ.findall(log))
    failed = Counter(name for name, _ in _FAILED.findall(log) if name in names)
    reasons = Counter(reason for name, reason in _FAILED.findall(log) if name in names)
    result.readings = {name: read[name] for name in names}
    result.failures = {name: failed[name] for name in names}
    result.failure_reasons = dict(reasons)
    result.cycles = min(result.readings.values())
    result.log_errors = _WORSE.findall(log)


def _count_wire(result: Result, end: dict[str, Any], spans: list[tuple[float, float]]) -> None:
    (told,) = end["segments"]
    result.window = told["last_at"] - told["first_at"]
    result.wire = told["busy"]
    result.wire_share = result.wire / result.window
    # Each request but the first waits for the last byte to come to the master, and travels back.
    result.travel = 2 * result.latency * len(told["gaps"])
    result.requests = told["requests"]
    result.wire_of = told["busy_by_kind"]
    result.repeated = told["repeated"]
    gaps = told["gaps"]
    free = [gap for _, gap, _, _ in gaps]
    reaction = [gap - late for _, gap, late, _ in gaps]
    during = [gap for at, gap, _, _ in gaps if any(start <= at <= stop for start, stop in spans)]
    longest = sorted(gaps, key=lambda row: row[1], reverse=True)[:5]
    result.longest_free = [(at - told["first_at"], gap) for at, gap, _, _ in longest]
    result.stalls = [(at - told["first_at"], late) for at, late in end["stalls"]]
    result.free = {
        "total": sum(free),
        "by the simulator": sum(late for _, _, late, _ in gaps),
        "mean": statistics.fmean(free),
        "median": statistics.median(free),
        "95 of 100 below": statistics.quantiles(free, n=20)[-1],
        "longest": max(free),
        "from the last byte handed out, mean": statistics.fmean(reaction),
        "from the last byte handed out, median": statistics.median(reaction),
        "while the reader read, mean": statistics.fmean(during) if during else 0.0,
        "while the reader read, longest": max(during, default=0.0),
        "while the reader read, total": sum(during),
        "longer than 5 ms": float(sum(gap > 0.005 for gap in free)),
    }


def report(result: Result) -> str:
    """The figures for people."""
    r = result
    lines = [
        f"{r.meters} meters at {r.baudrate} baud over {r.port}, {r.seconds:.1f} s",
        "",
        "Polling",
        f"  cycles complete         {r.cycles}"
        + (f", {r.window / r.cycles:.3f} s each" if r.cycles else ""),
        f"  readings, failures      {sum(r.readings.values())}, {sum(r.failures.values())}",
        "  of each meter           "
        + ", ".join(f"{name} {n}/{r.failures[name]}" for name, n in r.readings.items()),
        f"  requests                {_list(r.requests)}; repeated {r.repeated}",
        *(f"  failure                 {why}: {n}" for why, n in r.failure_reasons.items()),
        *(f"  in the log              {line}" for line in r.log_errors),
        "",
        "The wire, by the simulator's count",
        f"  share of wire time      {r.wire_share:.4%} ({r.wire:.3f} s of {r.window:.3f} s)",
        *(
            [f"  with {2 * r.latency * 1000:g} ms of way        {r.unavoidable:.4%}"]
            if r.latency
            else []
        ),
        "  of it                   "
        + ", ".join(f"{kind} {seconds:.3f} s" for kind, seconds in r.wire_of.items()),
        f"  line free               {r.free['total'] * 1000:.1f} ms in all, of it "
        f"{r.free['by the simulator'] * 1000:.1f} ms before the simulator handed out the last byte",
        *(
            f"    {key:<40}{value * 1000:8.3f} ms"
            for key, value in r.free.items()
            if key not in ("total", "by the simulator", "longer than 5 ms")
        ),
        "    the longest at                          " + _times(r.longest_free),
        f"    longer than 5 ms                        {r.free['longer than 5 ms']:8.0f}",
        f"  the machine stalled     {_times(r.stalls) or 'never for more than 5 ms'}",
        "",
        "The bridge's process",
        f"  CPU                     {r.cpu_start:.2f} s to its first request, then {r.cpu:.2f} s "
        f"({r.cpu / r.seconds:.2%} of one core)",
        f"  memory                  {r.memory / 2**20:.1f} MiB, peak {r.memory_peak / 2**20:.1f}",
        "",
        "What a BMS reads",
        f"  looks                   {r.looks}, {r.objects_read} objects read, wrong "
        f"{len(r.wrong_during)}; a look takes {statistics.fmean(r.look_seconds):.2f} s",
        f"  records known           {r.records} (in {r.meters} meters; unreadable: "
        f"{len(r.record_errors)})",
        f"  of them objects         {r.objects}, {r.right} with the right value and unit, "
        f"{len(r.in_fault)} rightly in fault",
        f"  no object               {len(r.unseen)}",
        f"  meters' own objects     {r.own_objects}",
        f"  REAL loses digits       {len(r.digits_lost)}",
        f"  second opinion          {_list(r.second_opinion) or 'none here'}",
    ]
    for title, problems in (
        ("Records that are no object", r.unseen),
        ("Objects that rightly show no value", r.in_fault),
        ("Bytes that are no record", r.record_errors),
        ("Numbers with more digits than REAL holds", r.digits_lost),
        ("The second opinion differs, as known", r.second_opinion_known),
        ("Objects that differ", r.differences),
        ("Wrong during the run", r.wrong_during),
        ("Objects that differ from the second opinion", r.second_opinion_differences),
    ):
        if problems:
            lines += ["", title, *(f"  {problem}" for problem in problems)]
    lines += ["", "Everything is right." if r.is_right else "Something differs."]
    return "\n".join(lines)


def _times(rows: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{at:.1f} s: {seconds * 1000:.1f} ms" for at, seconds in rows)


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {count}" for key, count in counts.items())
