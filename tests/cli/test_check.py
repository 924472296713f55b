"""``check``: all that is wrong at once, or all that will be; and nothing is touched."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import simplejson

from bridge.mbus.walk import decode_records
from bridge.points.known import known_records, to_json
from bridge.points.ledger import Ledger

if TYPE_CHECKING:
    from tests.cli.conftest import Program

GOOD = """\
device: {instance: 260001, name: Metering Building A}
bacnet: {address: 192.168.1.10/24}
buses:
  basement:
    port: tcp://10.0.0.7:10001
    meters:
      main-water: {address: 1}
      heat-1:
        address: 5
        every: 5m
        points:
          energy: {quantity: energy, unit: megawatt-hours}
          power:  {quantity: power, cov_increment: 0.5}
"""

# Ten mistakes; the comment says what is meant.
TEN_MISTAKES = """\
device: {instance: 4194303, name: Metering}
bacnet: {address: 192.168.1.300/24, port: 0}
buses:
  basement:
    prot: tcp://10.0.0.7:10001
    baudrate: 1000
    every: 15
    meters:
      water: {address: 251}
      heat: {address: 1}
      cold: {address: 1}
      room:
        secondary: 5402067
        points:
          energy: {quantity: enrgy}
"""
LINES_OF_MISTAKES = [1, 2, 2, 5, 6, 7, 9, 11, 13, 15]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(GOOD)
    return path


def test_a_good_file_shows_every_object_and_every_bus(program: Program, site: Path) -> None:
    done = program.run("check", "site.yaml", cwd=site.parent)
    assert done.status == 0
    titles, *rows = done.out.splitlines()
    assert titles.split() == ["object", "name", "unit", "from"]
    (energy,) = [row.split() for row in rows if "heat-1.energy" in row]
    assert energy[0] == "AI"
    assert energy[2:] == ["heat-1.energy", "megawatt-hours", "energy"]
    assert rows[-2:] == [
        "points found in the first answer: main-water",
        "bus basement: 2 meters, 2 unit loads, about 1.2 s a cycle at 2400 baud, "
        "busy less than 1 % of the time",
    ]
    assert done.err == "site.yaml: no errors, 0 warnings\n"
    assert [path.name for path in site.parent.iterdir()] == ["site.yaml"], "no state is touched"


def test_json_has_what_a_program_asks_for(program: Program, site: Path) -> None:
    done = program.run("check", str(site), "--format", "json")
    assert done.status == 0
    assert done.err == ""
    seen = simplejson.loads(done.out)
    assert seen["warnings"] == []
    (bus,) = seen["buses"]
    assert (bus["name"], bus["port"], bus["meters"]) == ("basement", "tcp://10.0.0.7:10001", 2)
    one = bus["cycle_seconds"] / 2
    assert bus["load"] == pytest.approx(one / 900 + one / 300, abs=1e-4)
    objects = {each["name"]: each for each in seen["objects"]}
    assert objects["heat-1.energy"]["object"].startswith("analog-input,")
    assert objects["heat-1.energy"]["unit"] == "megawatt-hours"
    assert objects["main-water.answering"]["object"].startswith("binary-input,")


def test_ten_mistakes_are_ten_lines_each_with_its_place(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(TEN_MISTAKES)
    running = program.begin("run", "site.yaml", cwd=tmp_path)
    done = program.run("check", "site.yaml", cwd=tmp_path)
    assert done.status == 2
    assert done.out == ""
    places = [line.split(":")[:3] for line in done.err.splitlines() if "warning:" not in line]
    assert {name for name, _, _ in places} == {"site.yaml"}
    assert [int(line) for _, line, _ in places] == LINES_OF_MISTAKES, done.err
    assert all(int(column) > 0 for _, _, column in places)
    assert "port" in done.err.splitlines()[3], "what is right is said too"
    # `run` finds the same, and does not start.
    assert running.result() == done
    assert [each.name for each in tmp_path.iterdir()] == ["site.yaml"]


def test_a_meter_that_answered_without_any_record_is_not_waited_for(
    program: Program, site: Path
) -> None:
    (site.parent / "site.state").mkdir()
    ledger = Ledger(site.parent / "site.state" / "ledger.sqlite")
    ledger.keep_sent("main-water", to_json([]))
    ledger.close()
    done = program.run("check", "site.yaml", cwd=site.parent)
    assert "points found in the first answer" not in done.out
    assert "\nno points found in the answers: main-water\n" in done.out


def test_what_a_meter_sent_before_shows_the_record_of_each_point(
    program: Program, site: Path
) -> None:
    energies = "0C 06 78 56 34 12   04 06 01 00 00 00   0C 2B 01 00 00 00"
    (site.parent / "site.state").mkdir()
    ledger = Ledger(site.parent / "site.state" / "ledger.sqlite")
    ledger.keep_sent(
        "heat-1", to_json(known_records(decode_records(bytes.fromhex(energies)).records))
    )
    ledger.close()
    done = program.run("check", "site.yaml", cwd=site.parent)
    assert done.status == 0
    titles, *rows = done.out.splitlines()
    assert titles.split() == ["object", "name", "unit", "record", "from"]
    (power,) = [row.split() for row in rows if "heat-1.power" in row]
    assert power[2:] == ["heat-1.power", "kilowatts", "0C2B", "power"]
    warning, verdict = done.err.splitlines()
    assert warning == (
        "site.yaml:12:11: warning: buses.basement.meters.heat-1.points.energy: names 2 records of "
        "this meter: 0C06 (energy, in Wh), 0406 (energy, in Wh), which differ in nothing but their "
        "bytes; write record: 0C06 or record: 0406 in place of quantity"
    )
    assert verdict == "site.yaml: no errors, 1 warning"


def test_a_warning_is_no_error(program: Program, site: Path) -> None:
    site.write_text(GOOD.replace("192.168.1.10/24", "127.0.0.1/8"))
    done = program.run("check", "site.yaml", cwd=site.parent)
    assert done.status == 0
    warning, verdict = done.err.splitlines()
    assert warning.startswith("site.yaml:2:10: warning: bacnet.address: ")
    assert verdict == "site.yaml: no errors, 1 warning"


def test_a_bus_that_is_read_all_the_time_is_busy_all_the_time(program: Program, site: Path) -> None:
    site.write_text(GOOD.replace("every: 5m", "every: continuous"))
    done = program.run("check", "site.yaml", cwd=site.parent)
    assert done.out.splitlines()[-1].endswith(", busy 100 % of the time")
