"""The bridge as a process of its own: started, watched, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from pathlib import Path
from typing import NamedTuple

COMMAND = Path(sys.executable).with_name("mbus-bacnet")

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The measurement could not be made."""


class Memory(NamedTuple):
    """In bytes: what a process holds now, and the most that it ever held."""

    resident: int
    peak: int


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors, its kernel's part too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> Memory:
    """What a process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {key: rest for key, _, rest in (line.partition(":") for line in lines)}
    resident, peak = (int(sizes[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    return Memory(resident, peak)


def free_port(kind: socket.SocketKind) -> int:
    """A port of 127.0.0.1 that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def end(process: Process, seconds: float = 10.0) -> int:
    """SIGTERM, and wait.

    Raises:
        BenchError: it did not end in that time, and was killed.
    """
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise BenchError(f"process {process.pid} did not end within {seconds:g} s") from None
