"""``browse``: a bridge in one process, and a client that reads it from another."""

from __future__ import annotations

import re
from concurrent.futures import Future
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import simplejson

if TYPE_CHECKING:
    from tests.cli.conftest import Done, Ports, Program, Site


WAYS: dict[str, list[str]] = {"all": [], "by its number": ["260003"], "by its host": ["127.0.0.1"]}


@pytest.fixture(scope="module")
def browsed(program: Program, site: Site) -> dict[str, Future[Done]]:
    """All of them begun, to use both cores."""
    port = str(site.port)
    begun = {way: program.begin("browse", *named, "--port", port) for way, named in WAYS.items()}
    begun["narrow"] = program.begin("browse", site.address, columns=80)
    begun["json"] = program.begin("browse", site.address, "--format", "json")
    begun["piped"] = program.begin("browse", site.address)
    return begun


def test_in_a_pipe_every_object_is_one_line(browsed: dict[str, Future[Done]], site: Site) -> None:
    done = browsed["piped"].result()
    assert done.status == 0
    device, titles, *rows = done.out.splitlines()
    assert device == f"device {site.instance} at {site.address}"
    assert titles.split() == ["object", "name", "value", "unit", "reliability"]
    assert len(rows) == 21
    assert done.err == "21 objects, 3 in fault\n"
    (energy,) = [row for row in rows if "heat-1.energy" in row]
    assert re.fullmatch(r"AI \d+ +heat-1\.energy +\d+\.\d+  MWh", energy)
    (nobody,) = [row for row in rows if "nobody.volume" in row]
    assert nobody.split()[-3:] == ["-", "m³", "communication-failure"]


def test_in_a_terminal_it_fits(browsed: dict[str, Future[Done]]) -> None:
    done = browsed["narrow"].result()
    assert done.status == 0
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    first = next(i for i, line in enumerate(lines) if "nobody.volume" in line)
    assert lines[first].endswith("  communication-")
    assert lines[first + 1].split() == ["failure"]


def test_json_is_one_object_a_device(browsed: dict[str, Future[Done]], site: Site) -> None:
    done = browsed["json"].result()
    assert done.status == 0
    assert done.err == ""
    device = simplejson.loads(done.out, use_decimal=True)
    assert device["device"] == site.instance
    assert device["address"] == site.address
    objects = {each["name"]: each for each in device["objects"]}
    energy = objects["heat-1.energy"]
    assert energy["object"].startswith("analog-input,")
    assert isinstance(energy["value"], Decimal)
    assert energy["units"] == "megawatt-hours"
    assert energy["reliability"] == "no-fault-detected"
    assert objects["heat-1.answering"]["value"] is True
    assert objects["nobody.answering"]["value"] is False
    assert objects["nobody.volume"]["value"] is None
    assert objects["nobody.volume"]["status_flags"]["fault"] is True


@pytest.mark.parametrize("way", WAYS)
def test_a_port_of_its_own_is_asked_for_all_and_for_one(
    browsed: dict[str, Future[Done]], site: Site, way: str
) -> None:
    done = browsed[way].result()
    assert done.status == 0
    assert done.out.startswith(f"device {site.instance} at {site.address}\n")


def test_nobody_there_is_status_1_and_says_what_to_check(program: Program, ports: Ports) -> None:
    port = str(ports.udp())
    all_of_them = program.begin("browse", "--port", port, "--timeout", "0.2")
    by_number = program.begin("browse", "4711", "--port", port, "--timeout", "0.2")
    by_address = program.run("browse", f"127.0.0.1:{port}", "--timeout", "0.2")
    for done in (all_of_them.result(), by_number.result(), by_address):
        assert done.status == 1
        assert done.out == ""
        assert done.err.startswith("mbus-bacnet: no BACnet device ")
        assert "--address" in done.err


def test_an_address_that_is_not_this_machines(program: Program) -> None:
    done = program.run("browse", "--address", "192.0.2.1/24")
    assert done.status == 1
    assert "no interface of this machine has the address 192.0.2.1" in done.err


def test_a_reader_that_has_seen_enough(program: Program, site: Site) -> None:
    done = program.shell(f"mbus-bacnet browse {site.address} | head -1")
    assert done.out == f"device {site.instance} at {site.address}\n"
    assert "Broken" not in done.err
