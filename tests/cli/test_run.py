"""``run``: it starts or says why not, goes on whatever the bus does, and ends when told to."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import simplejson

if TYPE_CHECKING:
    from tests.cli.conftest import Done, Ports, Program, Running

# How long it may take to end, in seconds.
END_WITHIN = 2.0


def write_site(
    folder: Path, *, port: int, address: str = "127.0.0.1/8", bus: str, more: str = ""
) -> None:
    (folder / "site.yaml").write_text(
        f"""
device: {{instance: 260004, name: Under test}}
bacnet: {{address: {address}, port: {port}}}
{more}
buses:
  cellar:
    port: {bus}
    parity: none
    every: 1s
    meters:
      water: {{address: 1, points: {{volume: {{quantity: volume}}}}}}
"""
    )


@pytest.fixture
def running(program: Program, ports: Ports, tmp_path: Path) -> Running:
    """A bridge whose serial port is missing."""
    write_site(tmp_path, port=ports.udp(), bus="/dev/ttyMISSING")
    begun = program.start("run", "site.yaml", cwd=tmp_path)
    begun.wait_for("First round complete: 0 of 1 meter answered")
    return begun


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_soon_and_with_status_0(running: Running, number: signal.Signals) -> None:
    told = time.monotonic()
    done = running.end(number)
    assert time.monotonic() - told < END_WITHIN
    assert done.status == 0
    assert done.out == ""
    assert done.err.endswith("stopped\n")


def test_while_a_telegram_is_coming_in_it_ends_as_soon(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    bus = program.start("simulate", "--port", "0", "--baudrate", "300")
    write_site(tmp_path, port=ports.udp(), bus=bus.wait_for(r"tcp://[\d.]+:\d+")[0])
    running = program.start("run", "site.yaml", cwd=tmp_path)
    running.wait_for("connected to tcp://")
    told = time.monotonic()
    done = running.end()
    assert time.monotonic() - told < END_WITHIN
    assert done.status == 0
    assert bus.end().status == 0


def test_a_missing_serial_port_is_said_and_its_meters_are_in_fault(
    running: Running, program: Program, tmp_path: Path
) -> None:
    assert "/dev/ttyMISSING: there is no such port" in running.err
    running.wait_for(r"Without an answer: water\.")
    said = running.wait_for(r"answers at ([\d.]+), UDP port (\d+)")
    done = program.run("browse", f"{said[1]}:{said[2]}", "--format", "json")
    assert done.status == 0
    objects = simplejson.loads(done.out)["objects"]
    assert {each["name"] for each in objects} >= {"water.volume", "water.answering"}
    for each in objects:
        assert each["reliability"] == "communication-failure", each
        assert each["status_flags"]["fault"] is True, each
    assert running.process.poll() is None
    # What must survive a restart is beside the file.
    assert (tmp_path / "site.state" / "ledger.sqlite").is_file()
    assert running.end().status == 0


def test_what_is_in_fault_is_said_with_its_reason(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    bus = program.start("simulate", "--port", "0", "--baudrate", "38400")
    port = bus.wait_for(r"tcp://[\d.]+:\d+")[0]
    points = "{volume: {quantity: volume}, current: {quantity: current}}"
    (tmp_path / "site.yaml").write_text(
        f"""
device: {{instance: 260004}}
bacnet: {{address: 127.0.0.1/8, port: {ports.udp()}}}
buses:
  cellar:
    port: "{port}"
    baudrate: 38400
    meters: {{m: {{address: 1, points: {points}}}}}
"""
    )
    running = program.start("run", "site.yaml", "-v", cwd=tmp_path)
    running.wait_for(r"WARNING m\.current: names no record of this meter; .*; ")
    running.wait_for(r"^1 point in fault: 1 \(the meter sends no such record\)\.$")
    assert " DEBUG " in running.err
    assert running.end().status == 0
    assert bus.end().status == 0


def test_a_hangup_does_not_end_it(running: Running) -> None:
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("reloaded site.yaml: nothing has changed")
    assert running.process.poll() is None


def objects_of(program: Program, running: Running) -> dict[str, Any]:
    """What a BMS reads, by object name."""
    said = running.wait_for(r"answers at ([\d.]+), UDP port (\d+)")
    done = program.run("browse", f"{said[1]}:{said[2]}", "--format", "json")
    assert done.status == 0
    return {each["name"]: each for each in simplejson.loads(done.out)["objects"]}


def test_a_changed_file_is_applied_on_a_hangup_and_disturbs_nothing_else(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    bus = program.start("simulate", "--port", "0", "--baudrate", "38400")
    port = ports.udp()
    write_site(tmp_path, port=port, bus=bus.wait_for(r"tcp://[\d.]+:\d+")[0])
    file = tmp_path / "site.yaml"
    running = program.start("run", "site.yaml", cwd=tmp_path)
    running.wait_for("First round complete: 1 of 1 meter")
    before = objects_of(program, running)["water.volume"]

    good = file.read_text()
    file.write_text(good + "      gas: {adress: 3}\n")
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("not reloaded: the configuration from before goes on")
    assert "adress" in running.err

    file.write_text(
        good + "      gas: {address: 3, points: {volume: {quantity: volume, storage: 1}}}\n"
    )
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("reloaded site.yaml: meter gas added; bus cellar changed")
    deadline = time.monotonic() + 20.0
    while (now := objects_of(program, running))["gas.volume"]["status_flags"]["fault"]:
        assert time.monotonic() < deadline, now
        time.sleep(0.2)
    for key in ("object", "status_flags", "units"):
        assert now["water.volume"][key] == before[key]

    file.write_text(good.replace("water:", "main-water:"))
    running.process.send_signal(signal.SIGHUP)
    running.wait_for("meter water removed; meter gas removed; meter main-water added")
    names = set(objects_of(program, running))
    assert "main-water.volume" in names
    assert not {name for name in names if name.startswith(("water.", "gas."))}
    assert running.end().status == 0


def test_after_a_sudden_end_the_last_values_are_served_with_their_age(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    bus = program.start("simulate", "--port", "0", "--baudrate", "38400")
    write_site(tmp_path, port=ports.udp(), bus=bus.wait_for(r"tcp://[\d.]+:\d+")[0])
    file = tmp_path / "site.yaml"
    # It is read once, and not again before the end of this test.
    file.write_text(
        file.read_text().replace("{address: 1,", "{address: 1, min_gap: 1h, every: 1h,")
    )
    first = program.start("run", "site.yaml", cwd=tmp_path)
    first.wait_for("First round complete: 1 of 1 meter")
    before = objects_of(program, first)
    first.process.kill()
    first.process.wait()

    second = program.start("run", "site.yaml", cwd=tmp_path)
    second.wait_for("connected to tcp://")
    after = objects_of(program, second)
    for name in ("water.volume", "water.last-read"):
        assert after[name]["value"] == before[name]["value"]
        assert after[name]["object"] == before[name]["object"]
        assert after[name]["status_flags"]["fault"] is False
    assert second.end().status == 0
    history = program.run("history", "site.yaml", "--format", "csv", cwd=tmp_path)
    assert history.status == 0
    assert ",water,volume," in history.out


@pytest.fixture(scope="module")
def refused(
    program: Program, ports: Ports, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Done]]]:
    """Sites that cannot start, all begun, to use both cores."""

    def begin(
        name: str, *, port: int | None = None, address: str = "127.0.0.1/8", more: str = ""
    ) -> Future[Done]:
        folder = tmp_path_factory.mktemp(name)
        free = ports.udp() if port is None else port
        write_site(folder, port=free, bus="/dev/ttyMISSING", address=address, more=more)
        (folder / "locked").mkdir(mode=0o500)
        return program.begin("run", "site.yaml", cwd=folder, rights=False)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.3", 0))
        begun = {
            "port": begin("port", address="127.0.0.3/8", port=other.getsockname()[1]),
            # TEST-NET-1 (RFC 5737): nobody's.
            "address": begin("address", address="192.0.2.1/24"),
            "no folder": begin("state", more="state: locked/state"),
            "folder": begin("ledger", more="state: locked"),
        }
        yield begun
        for each in begun.values():
            each.result()


def test_an_occupied_udp_port_says_what_to_do(refused: dict[str, Future[Done]]) -> None:
    done = refused["port"].result()
    assert done.status == 1
    taken = re.search(r"UDP port (\d+) of 127\.0\.0\.3 is taken by another program", done.err)
    assert taken is not None, done
    assert f"ss -lunp sport = :{taken[1]}" in done.err
    assert "answers at" not in done.err


def test_an_address_that_is_not_this_machines(refused: dict[str, Future[Done]]) -> None:
    done = refused["address"].result()
    assert done.status == 1
    assert "no interface of this machine has the address 192.0.2.1" in done.err
    assert "'ip -4 address'" in done.err


def test_a_state_folder_that_may_not_be_made(refused: dict[str, Future[Done]]) -> None:
    done = refused["no folder"].result()
    assert done.status == 1
    assert re.search(r"locked/state: .*Permission denied.*state:", done.err), done


def test_a_state_folder_that_may_not_be_written(refused: dict[str, Future[Done]]) -> None:
    done = refused["folder"].result()
    assert done.status == 1
    assert re.search(r"locked\b.* the right to write there.*state:", done.err), done


def test_the_demonstration_says_what_it_serves_and_what_to_try(
    program: Program, ports: Ports
) -> None:
    port = ports.udp()
    running = program.start("run", "--demo", "--port", str(port), "--address", "127.0.0.2/8")
    running.wait_for(rf"answers at 127\.0\.0\.2, UDP port {port}\.")
    running.wait_for(r"Ctrl-C ends it\.")
    for command in (f"browse 127.0.0.2:{port}", "simulate", "--help"):
        assert f"-m bridge {command}\n" in running.err
    assert running.end().status == 0
