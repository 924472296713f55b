"""``simulate``: a bus to read from, on a TCP port or a pseudo terminal."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Program

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_the_bus_is_and_ends_cleanly(
    program: Program, number: signal.Signals
) -> None:
    running = program.start("simulate", "--port", "0")
    said = running.wait_for(r"The bus is at (tcp://127\.0\.0\.1:\d+), 2400 baud")
    running.wait_for(r"Ctrl-C ends it\.")
    # What it tells to type can be typed.
    assert f"-m bridge read {said[1]} 1\n" in running.err
    done = running.end(number)
    assert done.status == 0
    assert done.err.endswith("The line was busy for 0.0 s: 0 requests, 0 answers, 0 bytes.\n")
    titles, *rows = done.out.splitlines()
    assert titles.split() == ["NAME", "PRIMARY", "SECONDARY", "MAKE", "MEDIUM", "MODEL"]
    assert len(rows) == 11


def test_json_lists_the_meters(program: Program) -> None:
    running = program.start("simulate", "--port", "0", "--format", "json")
    running.wait_for(r"Ctrl-C ends it\.")
    meters = json.loads(running.end().out)
    assert [meter["name"] for meter in meters][:2] == ["cold-water", "warm-water"]
    assert meters[0]["secondary"] == "20414711-ACW-14-16"


def test_a_recording_is_played_on_a_pseudo_terminal(program: Program) -> None:
    recording = VECTORS / "gas.hex"
    running = program.start("simulate", "--pty", "--baudrate", "9600", str(recording))
    said = running.wait_for(r"-m bridge read (\S+) (\d+) --parity none")
    begun = program.begin("decode", str(recording))
    done = program.run("read", said[1], said[2], "--parity", "none", "--baudrate", "9600")
    assert done.status == 0
    assert done.out == begun.result().out, "the same telegram, byte for byte"
    assert running.end().status == 0
    assert not Path(said[1]).exists()


def test_a_fault_happens_on_the_wire(program: Program) -> None:
    running = program.start(
        *("simulate", "--port", "0", "--baudrate", "38400", "--fault", "checksum:gas"),
    )
    url = running.wait_for(r"tcp://[\d.]+:\d+")[0]
    done = program.run("read", url, "3", "--baudrate", "38400", "--latency", "0.05")
    assert done.status == 1
    assert "checksum" in done.err
    assert "--parity" in done.err
    assert running.end().status == 0


def test_a_port_that_is_taken_says_what_to_do(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = program.run("simulate", "--port", str(port))
    assert done.status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert "0 for a free one" in done.err


def test_a_recording_that_is_none_names_the_file(program: Program, tmp_path: Path) -> None:
    (tmp_path / "half.hex").write_text("68 13 13 68 08 05")
    begun = program.begin("simulate", "--port", "0", str(tmp_path / "missing.hex"))
    done = program.run("simulate", "--port", "0", str(tmp_path / "half.hex"))
    assert done.status == 1
    assert "half.hex: frame 1 is not whole" in done.err
    missing = begun.result()
    assert missing.status == 1
    assert "missing.hex cannot be read" in missing.err
