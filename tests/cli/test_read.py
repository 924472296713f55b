"""``read``: one meter of a simulated bus, over real sockets."""

from __future__ import annotations

import csv
import os
import signal
import socket
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import simplejson

if TYPE_CHECKING:
    from tests.cli.conftest import Done, Ports, Program


@pytest.fixture
def read(program: Program, bus: str) -> Reader:
    return Reader(program, bus)


class Reader:
    def __init__(self, program: Program, bus: str) -> None:
        self._program = program
        self.bus = bus

    def __call__(self, address: str, *options: str) -> Done:
        return self._program.run(
            *("read", self.bus, address, "--baudrate", "38400", "--latency", "0.1"), *options
        )


def test_a_meter_by_its_primary_address(read: Reader) -> None:
    done = read("3")
    assert done.status == 0
    assert done.err == ""
    headline, titles, *rows = done.out.splitlines()
    assert headline.startswith("12407719-LGB-40-03, address 3, CI 72, Landis+Gyr, ")
    assert ", gas, access number " in headline
    assert titles.split()[:2] == ["bytes", "function"]
    assert titles.split()[-1] == "value"
    (volume,) = [row for row in rows if "  volume " in row]
    assert volume.split()[-1] == "m³"
    assert Decimal(volume.split()[-2]) > 0


@pytest.mark.parametrize(
    "address", ["54020671", "54020671-ELV-32-1B", "5402FFFF", "FFFFFFFF-ELV-FF-FF"]
)
def test_a_meter_by_its_secondary_address_with_wildcards_too(read: Reader, address: str) -> None:
    done = read(address)
    assert done.status == 0
    assert done.err == ""
    assert done.out.startswith("54020671-ELV-32-1B, address ")
    assert "%RH" in done.out


def test_every_telegram_of_an_answer_is_one_json_object(read: Reader) -> None:
    done = read("4", "--format", "json")
    assert done.status == 0
    assert done.err == ""
    first, second = (simplejson.loads(line, use_decimal=True) for line in done.out.splitlines())
    assert first["more_records_follow"] is True
    assert second["more_records_follow"] is False
    for telegram in (first, second):
        assert telegram["header"]["identification"] == "01117342"
    (energy,) = [each for each in first["records"] if each["quantity"] == "energy"]
    assert energy["unit"] == "Wh"
    assert energy["dib"] + energy["vib"] == "0406"
    assert isinstance(energy["value"], int | Decimal)
    assert energy["value"] % 1000 == 0, "the meter counts kWh"
    dates = [each["value"] for each in second["records"] if each["quantity"] == "date"]
    assert dates[0] == "2025-12-31"


def test_a_key_for_a_meter_that_does_not_encrypt_is_noted(read: Reader, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("00112233445566778899AABBCCDDEEFF")
    done = read("3", "--key", str(tmp_path / "key"))
    assert done.status == 0
    assert done.out.endswith("note: a key was given, but the telegram is not encrypted\n")


def test_a_silent_meter_is_status_1_and_says_what_to_check(read: Reader) -> None:
    done = read("99")
    assert done.status == 1
    assert done.out == ""
    assert done.err.startswith(f"mbus-bacnet: 99 on {read.bus}: no answer to 3 tries; check ")
    for remedy in ("its address", "--timeout", "--latency"):
        assert remedy in done.err
    assert "the baud rate and the parity that the gateway itself is set to" in done.err


def test_on_a_serial_port_the_options_are_what_to_check(program: Program) -> None:
    ours, theirs = os.openpty()
    try:
        options = ("--parity", "none", "--baudrate", "38400", "--timeout", "20ms")
        done = program.run("read", os.ttyname(theirs), "99", *options)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.status == 1
    assert "check its address, the baud rate (--baudrate) and the parity (--parity)" in done.err


def test_a_pseudo_terminal_wants_an_option_and_no_key_of_a_file(program: Program) -> None:
    ours, theirs = os.openpty()
    try:
        done = program.run("read", os.ttyname(theirs), "99")
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.status == 1
    assert "the port refuses even parity" in done.err
    assert "say --parity none" in done.err
    assert "parity: none" not in done.err


@pytest.mark.parametrize("timeout", ["500ms", "0.5s", "0.5"])
def test_times_are_written_as_everywhere(read: Reader, timeout: str) -> None:
    done = read("3", "--timeout", timeout)
    assert done.status == 0
    assert done.err == ""


def test_csv_and_xml_hold_the_whole_answer(read: Reader) -> None:
    rows = list(csv.DictReader(read("4", "--format", "csv").out.splitlines()))
    assert {row["telegram"] for row in rows} == {"1", "2"}
    assert {row["meter"][:8] for row in rows} == {"01117342"}
    root = ElementTree.fromstring(read("4", "--format", "xml").out)
    assert root.tag == "MBusData"
    assert {each.get("frame") for each in root.iter("DataRecord")} == {"0", "1"}


def test_a_gateway_that_refuses_says_so(program: Program, ports: Ports) -> None:
    port = ports.tcp()
    done = program.run("read", f"tcp://127.0.0.1:{port}", "1")
    assert done.status == 1
    assert f"127.0.0.1 refuses connections to port {port}" in done.err
    assert "Most gateways take one at a time" in done.err


def test_a_gateway_that_serves_another_client_says_so(read: Reader) -> None:
    url = urlsplit(read.bus)
    with socket.create_connection((str(url.hostname), url.port)):
        done = read("1")
    assert done.status == 1
    assert "does another program use the bus, a bridge perhaps?" in done.err


def test_a_serial_port_that_is_not_there(program: Program) -> None:
    done = program.run("read", "/dev/ttyMISSING", "1")
    assert done.status == 1
    assert done.err.startswith("mbus-bacnet: /dev/ttyMISSING: there is no such port. ")


def test_a_serial_port_without_permission_says_who_may(program: Program) -> None:
    ours, theirs = os.openpty()
    try:
        path = os.ttyname(theirs)
        os.chmod(path, 0o000)
        done = program.run("read", path, "1", "--parity", "none", rights=False)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.status == 1
    assert done.err.startswith(f"mbus-bacnet: {path}: this user may not open the port. ")
    assert f"`ls -l {path}`" in done.err


def test_what_is_no_serial_port(program: Program) -> None:
    done = program.run("read", "/dev/null", "1")
    assert done.status == 1
    assert "/dev/null: this is no serial port" in done.err


def test_ctrl_c_ends_it_at_once(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        running = program.start("read", f"tcp://127.0.0.1:{port}", "1", "--timeout", "60")
        with silent.accept()[0] as connection:
            assert connection.recv(5) == bytes.fromhex("10 40 01 41 16")
            done = running.end(signal.SIGINT)
    assert done.status == 130
    assert done.out == ""
