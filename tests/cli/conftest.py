"""``mbus-bacnet`` in processes of its own, as a user runs it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]

# Long enough for a machine that has much else to do. Nothing here waits for so long where all goes
# well: every wait ends with what it waits for.
PATIENCE = 30.0


# Root may open every file. Without these two capabilities it is a user like any other, and what is
# started so cannot get them back (capabilities(7): CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH).
WITHOUT_ROOTS_RIGHTS = """
import ctypes, os, sys
PR_CAPBSET_DROP = 24
for capability in (1, 2):
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
        sys.exit("this root cannot give up its rights")
os.execv(sys.executable, [sys.executable, "-m", "bridge", *sys.argv[1:]])
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit status, and what it said."""

    status: int
    out: str
    err: str


def checked(done: Done) -> Done:
    """No traceback ever, and no complaint of asyncio about what was left behind."""
    for sign in ("Traceback", "never retrieved", "was never awaited", "Exception ignored"):
        assert sign not in done.out + done.err, done
    return done


def environment(**more: str) -> dict[str, str]:
    """Nothing of the terminal that the tests run in: no colour, no width."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


class Running:
    """A command that runs until it is told to end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._said = {"out": bytearray(), "err": bytearray()}
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, name), daemon=True)
            for stream, name in ((process.stdout, "out"), (process.stderr, "err"))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[bytes], name: str) -> None:
        while data := os.read(stream.fileno(), 65536):
            with self._news:
                self._said[name] += data
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def out(self) -> str:
        return self._said["out"].decode()

    @property
    def err(self) -> str:
        return self._said["err"].decode()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until it says something on stderr."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while (found := re.search(pattern, self.err, re.MULTILINE)) is None:
                left = deadline - time.monotonic()
                if left <= 0 or not any(reader.is_alive() for reader in self._readers):
                    pytest.fail(f"it never said {pattern!r}; stdout {self.out!r}, err {self.err!r}")
                self._news.wait(left)
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> Done:
        """Send a signal, and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for reader in self._readers:
                reader.join()
            for stream in (self.process.stdout, self.process.stderr, self.process.stdin):
                if stream is not None:
                    stream.close()
        return checked(Done(status, self.out, self.err))


class Program:
    """Runs the command line; two at a time where a test table is begun early."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(2)
        self._running: list[Running] = []

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        cwd: Path | None = None,
        rights: bool = True,
        columns: int | None = None,
    ) -> Done:
        """Run a command to its end; without ``rights`` not even root may open what is not its."""
        how = ["-m", "bridge"] if rights else ["-c", WITHOUT_ROOTS_RIGHTS]
        ended = subprocess.run(
            [sys.executable, *how, *arguments],
            input=stdin,
            capture_output=True,
            cwd=cwd or self.folder,
            env=environment(**({} if columns is None else {"COLUMNS": str(columns)})),
            timeout=PATIENCE,
            check=False,
        )
        return checked(Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode()))

    def begin(
        self,
        *arguments: str,
        cwd: Path | None = None,
        rights: bool = True,
        columns: int | None = None,
    ) -> Future[Done]:
        """As `run`, while the test goes on: it uses the other core."""
        return self._pool.submit(self.run, *arguments, cwd=cwd, rights=rights, columns=columns)

    def start(self, *arguments: str, cwd: Path | None = None) -> Running:
        running = Running(
            subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd or self.folder,
                env=environment(),
            )
        )
        self._running.append(running)
        return running

    def shell(self, script: str) -> Done:
        """A line of bash with ``mbus-bacnet`` in it; its status is that of what failed first."""
        name = f'"{sys.executable}" -m bridge'
        ended = subprocess.run(
            ["bash", "-c", f'set -o pipefail; mbus-bacnet() {{ {name} "$@"; }}; {script}'],
            capture_output=True,
            cwd=self.folder,
            env=environment(),
            timeout=PATIENCE,
            check=False,
        )
        return checked(Done(ended.returncode, ended.stdout.decode(), ended.stderr.decode()))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for running in self._running:
            with contextlib.suppress(AssertionError):
                running.end()


class Ports:
    """Free ports of this machine."""

    def udp(self) -> int:
        return self._free(socket.SOCK_DGRAM)

    def tcp(self) -> int:
        return self._free(socket.SOCK_STREAM)

    def _free(self, kind: socket.SocketKind) -> int:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    made = Program(tmp_path_factory.mktemp("user"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="session")
def bus(program: Program) -> Iterator[str]:
    """A simulated bus at 38400 baud, for one client at a time: its port."""
    running = program.start("simulate", "--port", "0", "--baudrate", "38400")
    yield running.wait_for(r"tcp://[\d.:]+")[0].rstrip(",")
    assert running.end().status == 0


@dataclass(frozen=True)
class Site:
    """A bridge at work, on a bus of its own."""

    instance: int
    host: str
    port: int
    running: Running

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@pytest.fixture(scope="session")
def site(program: Program, ports: Ports) -> Iterator[Site]:
    """Three meters, one of which is not there."""
    bus = program.start("simulate", "--port", "0", "--baudrate", "38400")
    url = bus.wait_for(r"tcp://[\d.]+:\d+")[0]
    port = ports.udp()
    folder = program.folder / "site"
    folder.mkdir()
    (folder / "site.yaml").write_text(
        f"""
device: {{instance: 260003, name: Under test}}
bacnet: {{address: 127.0.0.1/8, port: {port}}}
buses:
  cellar:
    port: {url}
    baudrate: 38400
    every: 2s
    meters:
      heat-1: {{address: 4, points: {{energy: {{quantity: energy, unit: megawatt-hours}}}}}}
      office: {{secondary: 54020671}}
      nobody: {{address: 99, points: {{volume: {{quantity: volume}}}}}}
"""
    )
    running = program.start("run", "site.yaml", cwd=folder)
    running.wait_for("First round complete: 2 of 3 meters answered, 21 objects")
    yield Site(260003, "127.0.0.1", port, running)
    assert running.end().status == 0
    assert bus.end().status == 0
