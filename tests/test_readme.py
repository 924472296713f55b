"""README.md is run: every command and every sample of a configuration in it.

Networks and hardware that only the reader has are replaced by a simulated bus, addresses of
loopback and free ports. A command that nobody here knows fails, so that none goes untried.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.config.base import Model
from bridge.config.billing import Billing
from bridge.config.load import load_text, load_text_with_warnings
from bridge.config.model import Bus, Meter, Point, Site
from bridge.config.ways import Ways

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METERS = (ROOT / "docs" / "meters.md").read_text(encoding="utf-8")

# Where a key may stand, the first that knows it; and a site around it.
BUS = "port: /dev/ttyUSB0"
AROUND: dict[type[Model], str] = {
    Meter: f"buses: {{b: {{{BUS}, meters: {{m: {{secondary: 12345678, HERE}}}}}}}}",
    Bus: f"buses: {{b: {{{BUS}, HERE}}}}",
    Billing: f"buses: {{b: {{{BUS}, billing: {{at: daily 00:00, HERE}}}}}}",
    Point: f"buses: {{b: {{{BUS}, meters: {{m: {{address: 1, points: {{p: {{HERE}}}}}}}}}}}}",
    Site: f"buses: {{b: {{{BUS}}}}}\nHERE",
}

PATIENCE = 30.0  # seconds, on a machine with much else to do

# Not run here, each for its reason.
NOT_RUN = {
    "scripts/run": "makes an environment from the package index, and runs until it is told to end",
    "scripts/test": "runs this very test",
    "docker build -t mbus-bacnet .": "wants a Docker daemon and a network",
}


def fenced(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands in the order of the page, without their comments."""
    lines = "".join(fenced("sh")).replace("\\\n", " ").splitlines()
    return [line for each in lines if (line := re.sub(r"\s+# .*", "", each).strip())]


def kind(command: str) -> str:
    """The word that tells what a command is: ``read``, ``scripts/run``."""
    program, *rest = shlex.split(command)
    return rest[0] if program.endswith("mbus-bacnet") else program


FRAME = "68 13 13 68 08 05 73 78 56 34 12 0A 00 E9 7E 01 00 00 00 35 01 00 00 3C 16"

KILL = "kill -HUP \"$(pgrep -f 'mbus-bacnet run site.yaml')\""

# What each command must say on stdout; and on stderr, for those that run until they are told.
EXPECTED = {
    ".venv/bin/mbus-bacnet browse": "heat-1.energy",
    "mbus-bacnet read /dev/ttyUSB0 1": "20414711-ACW-14-16, address 1",
    "mbus-bacnet read tcp://10.0.0.7:10001 54020671": "54020671-ELV-32-1B, address 0",
    "mbus-bacnet schema > mbus-bacnet.schema.json": "",
    "mbus-bacnet check site.yaml": "heat-1.energy",
    "mbus-bacnet run site.yaml": "3 of 3 meters answered",
    "mbus-bacnet history site.yaml --from 2026-01-01 --format csv > readings.csv": "",
    KILL: "reloaded site.yaml: nothing has changed",
    "mbus-bacnet browse 260001 --address 192.168.1.20/24": "office.rh",
    "mbus-bacnet browse 192.168.1.10": "main-water.volume",
    "mbus-bacnet simulate --fault silence:heat-1 --fault checksum:0.1": "for one client at a time",
    "mbus-bacnet simulate --pty --baudrate 9600 telegram.hex": "A pseudo terminal has no parity",
    f"mbus-bacnet decode {FRAME}": "0.135 m³",
    "mbus-bacnet decode telegram.hex --format json": '"value": 28504.27',
    "mbus-bacnet decode recordings/ --format csv > records.csv": "",
}


@dataclass
class Reader:
    """Somebody who follows the page, on a machine with a bus, in a folder of their own."""

    folder: Path
    udp_port: int
    gateway: str = ""
    serial: str = ""
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: dict[int, Path] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """A text of the page, for this machine."""
        for theirs, ours in {
            "tcp://10.0.0.7:10001": self.gateway,
            "/dev/ttyUSB0": self.serial,
            "192.168.1.10/24": "127.0.0.10/8",
            "192.168.1.20/24": "127.0.0.20/8",
            "192.168.1.10": "127.0.0.10",
            ".venv/bin/mbus-bacnet": "mbus-bacnet",
        }.items():
            text = text.replace(theirs, ours)
        return text

    def arguments(self, command: str) -> list[str]:
        """A command of the page, for this machine: the options that it needs beside."""
        more = {
            "read": "--baudrate 38400" + (" --parity none" if "/dev/" in command else ""),
            "browse": f"--port {self.udp_port}",
            "run": f"--port {self.udp_port}",
            "simulate": "" if "--pty" in command else "--port 0",
        }.get(kind(command), "")
        program, *rest = shlex.split(f"{self.here(command)} {more}")
        assert program == "mbus-bacnet"
        return rest

    def start(self, arguments: list[str], says: str) -> tuple[subprocess.Popen[bytes], str]:
        """Start what runs until it is told to end, and wait until it says something."""
        log = self.folder / f"{len(self.logs)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments],
                cwd=self.folder,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=stream,
            )
        self.running.append(process)
        self.logs[process.pid] = log
        self.wait_for(process, says)
        return process, log.read_text(encoding="utf-8")

    def wait_for(self, process: subprocess.Popen[bytes], says: str) -> None:
        """Wait until what was started says something on stderr."""
        deadline = time.monotonic() + PATIENCE
        while says not in (said := self.logs[process.pid].read_text(encoding="utf-8")):
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        self.running.remove(process)


def environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


def sample() -> str:
    (text,) = fenced("yaml")
    return text


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        made = Reader(folder, probe.getsockname()[1])
    (folder / "telegram.hex").write_bytes((ROOT / "tests/vectors/gas.hex").read_bytes())
    (folder / "recordings").mkdir()
    for path in (ROOT / "tests/vectors").glob("heat-*.hex"):
        (folder / "recordings" / path.name).write_bytes(path.read_bytes())
    try:
        simulate = ["simulate", "--baudrate", "38400"]
        _, said = made.start([*simulate, "--port", "0"], "Ctrl-C ends it.")
        made.gateway = found(r"(tcp://[\d.]+:\d+)", said)
        _, said = made.start([*simulate, "--pty"], "Ctrl-C ends it.")
        made.serial = found(r"The bus is at (\S+),", said)
        # At 2400 baud, so that the site's file stays as it is on the page.
        _, said = made.start(["simulate", "--port", "0"], "Ctrl-C ends it.")
        url = found(r"(tcp://[\d.]+:\d+)", said)
        text = made.here(sample().replace("tcp://10.0.0.7:10001", url))
        (folder / "site.yaml").write_text(text, encoding="utf-8")
        yield made
    finally:
        for process in made.running:
            process.terminate()
        for process in made.running:
            process.wait(PATIENCE)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


@pytest.fixture(scope="module")
def bridge(reader: Reader) -> Iterator[subprocess.Popen[bytes]]:
    """``mbus-bacnet run site.yaml``, which the page has running while it browses."""
    command = "mbus-bacnet run site.yaml"
    process, _ = reader.start(reader.arguments(command), EXPECTED[command])
    yield process
    reader.end(process)


def test_every_command_of_the_page_is_known_here() -> None:
    page = set(commands())
    assert page - NOT_RUN.keys() == EXPECTED.keys()
    assert NOT_RUN.keys() - page == {"docker build -t mbus-bacnet ."}, "that one is in a sentence"
    assert all(f"`{each}`" in README or each in page for each in NOT_RUN)
    # In tests below.
    tried = {"read", "check", "decode", "browse", "run", "simulate", "schema", "history", "kill"}
    assert {kind(each) for each in EXPECTED} == tried


@pytest.mark.parametrize("script", sorted(each for each in NOT_RUN if each.startswith("scripts/")))
def test_the_scripts_are_there_and_are_bash(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=PATIENCE)


@pytest.mark.parametrize(
    "command",
    [
        each
        for each in EXPECTED
        if kind(each) in ("read", "check", "decode", "browse") and " > " not in each
    ],
)
def test_a_command_of_the_page_does_what_it_says(
    reader: Reader, bridge: subprocess.Popen[bytes], command: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *reader.arguments(command)],
        cwd=reader.folder,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    assert EXPECTED[command] in done.stdout.decode()
    assert "Traceback" not in said


@pytest.mark.parametrize("command", [each for each in EXPECTED if kind(each) == "simulate"])
def test_a_simulation_of_the_page_runs(reader: Reader, command: str) -> None:
    process, said = reader.start(reader.arguments(command), EXPECTED[command])
    assert "Traceback" not in said
    reader.end(process)


@pytest.mark.parametrize(
    ("command", "file", "holds"),
    [
        ("schema", "mbus-bacnet.schema.json", '"$schema"'),
        ("decode", "records.csv", "recordings/heat-cooling.hex,1,3,"),
        ("history", "readings.csv", "heat-1"),
    ],
)
def test_a_file_is_written_that_the_page_names(
    reader: Reader, bridge: subprocess.Popen[bytes], command: str, file: str, holds: str
) -> None:
    (line,) = [each for each in EXPECTED if kind(each) == command and each.endswith(f"> {file}")]
    shell = f'mbus-bacnet() {{ "{sys.executable}" -m bridge "$@"; }}; {line}'
    subprocess.run(
        ["bash", "-c", shell],
        cwd=reader.folder,
        env=environment(),
        timeout=PATIENCE,
        check=True,
    )
    assert holds in (reader.folder / file).read_text(encoding="utf-8")


def test_a_running_bridge_reads_its_file_again(
    reader: Reader, bridge: subprocess.Popen[bytes]
) -> None:
    # The page finds the process by its name, of which this machine may have several.
    shell = re.sub(r'"\$\(pgrep .*\)"', str(bridge.pid), KILL)
    subprocess.run(["bash", "-c", shell], timeout=PATIENCE, check=True)
    reader.wait_for(bridge, EXPECTED[KILL])
    assert bridge.poll() is None


def test_the_sample_is_a_site_as_it_stands(tmp_path: Path) -> None:
    """Unchanged: real addresses, which ``check`` does not touch."""
    assert len(fenced("yaml")) == 1
    (tmp_path / "site.yaml").write_text(sample(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "check", "site.yaml"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode() == "site.yaml: no errors, 0 warnings\n"
    for name in ("main-water.answering", "heat-1.energy", "heat-1.power", "office.last-read"):
        assert name in done.stdout.decode()


def test_every_yaml_in_a_sentence_is_right() -> None:
    """`every: 15m` and the like, wherever they stand in the page and in docs/meters.md."""
    found = sorted(set(re.findall(r"`([a-z_]+: [^`]+)`", README + METERS)))
    assert len(found) > 20
    for each in found:
        key = each.partition(":")[0]
        model = next((model for model in AROUND if key in model.names_by_key()), None)
        assert model is not None, each
        words = f"{each}, quantity: volume" if model is Point and key != "record" else each
        network = "device: {instance: 1}\nbacnet: {address: 192.168.1.10/24}\n"
        load_text(network + AROUND[model].replace("HERE", words), Path("site.yaml"))


def test_the_sample_of_odd_meters_is_a_site_as_it_stands() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", METERS, re.MULTILINE | re.DOTALL)
    loaded = load_text_with_warnings(text, Path("site.yaml"))
    assert [str(warning) for warning in loaded.warnings] == []


def test_every_way_of_a_meter_is_in_the_table() -> None:
    for key in ("min_gap", "fabrication", "priority", "baudrate", *Ways.names_by_key()):
        assert f"`{key}" in METERS, key


def test_every_file_that_the_page_links_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_language_of_a_fenced_block_is_run_here() -> None:
    assert set(re.findall(r"^```(\w+)$", README, re.MULTILINE)) == {"sh", "yaml"}
