"""The log for people, and the log for programs."""

from __future__ import annotations

import datetime
import json
import logging
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING

from bridge.cli.logs import JsonFormatter

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Ports, Program

LEVELS = {"debug", "info", "warning", "error", "critical"}


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("bridge.polling.engine")
    return logger.makeRecord(
        logger.name, logging.WARNING, "engine.py", 1, message, arguments, None, extra=extra
    )


def test_a_line_is_one_object_with_time_level_logger_and_message() -> None:
    made = record("%s: %s\nis not there", "cellar", "Wärme")
    line = JsonFormatter().format(made)
    assert "\n" not in line
    seen = json.loads(line)
    time = datetime.datetime.fromisoformat(seen.pop("time"))
    assert time.tzinfo is not None, "with its offset"
    assert abs(time.timestamp() - made.created) < 0.001
    assert seen == {
        "level": "warning",
        "logger": "bridge.polling.engine",
        "message": "cellar: Wärme\nis not there",
    }


def test_what_a_record_is_about_stands_by_itself() -> None:
    made = record(
        "silent", segment="cellar", meter="heat-1", kind="no-answer", value=Decimal("1.10")
    )
    seen = json.loads(JsonFormatter().format(made))
    assert (seen["segment"], seen["meter"], seen["kind"]) == ("cellar", "heat-1", "no-answer")
    assert seen["value"] == "1.10", "exact"


def test_nothing_that_a_record_carries_takes_the_place_of_what_all_have() -> None:
    seen = json.loads(JsonFormatter().format(record("true", time="noon", level="none", logger="x")))
    assert (seen["level"], seen["logger"]) == ("warning", "bridge.polling.engine")
    assert seen["time"] != "noon"


def test_an_exception_is_in_the_line() -> None:
    made = record("tripped")
    try:
        raise ValueError("odd")
    except ValueError:
        made.exc_info = sys.exc_info()
    line = JsonFormatter().format(made)
    assert "\n" not in line
    seen = json.loads(line)
    assert seen["exception"].startswith("Traceback")
    assert seen["exception"].endswith("ValueError: odd")


def write_site(folder: Path, udp: int) -> None:
    (folder / "site.yaml").write_text(
        f"""
device: {{instance: 260004}}
bacnet: {{address: 127.0.0.1/8, port: {udp}}}
buses: {{cellar: {{port: /dev/ttyMISSING, every: 1s, meters: {{water: {{address: 1}}}}}}}}
"""
    )


def test_all_that_a_bridge_says_is_json_where_that_is_wished(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    write_site(tmp_path, ports.udp())
    running = program.start("--log-format", "json", "run", "site.yaml", cwd=tmp_path)
    running.wait_for("Without an answer")
    done = running.end()
    assert (done.status, done.out) == (0, "")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    assert {line["level"] for line in lines} <= LEVELS
    (missing,) = [line for line in lines if "/dev/ttyMISSING: " in line["message"]]
    assert (missing["level"], missing["segment"]) == ("warning", "cellar")
    assert lines[-1]["message"] == "stopped"


def test_an_error_at_the_start_is_json_too(program: Program, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("device: {instance: 1}\nbuses: {}\n")
    done = program.run("--log-format", "json", "check", "site.yaml", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["level"] for line in lines] == ["error", "error"]
    assert lines[0]["message"].startswith("site.yaml:1:1: bacnet: bacnet is missing")


def test_the_log_for_people_is_a_line_with_time_and_level(
    program: Program, ports: Ports, tmp_path: Path
) -> None:
    write_site(tmp_path, ports.udp())
    running = program.start("run", "site.yaml", cwd=tmp_path)
    found = running.wait_for(r"^.*/dev/ttyMISSING: .*$")[0]
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING +cellar: ", found)
    assert running.end().status == 0


def test_another_format_is_wrong_usage(program: Program) -> None:
    done = program.run("--log-format", "xml", "schema")
    assert done.status == 2
    assert "--log-format" in done.err
