"""What a user gets wrong, and what help there is: for every command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

import bridge

if TYPE_CHECKING:
    from tests.cli.conftest import Done, Program

COMMANDS = ("run", "check", "read", "decode", "browse", "history", "simulate", "schema")

# Each is wrong as it stands, so nothing is done and the status is 2; the words say what is right.
WRONG: dict[str, tuple[str, ...]] = {
    "scann": ("No such command 'scann'",),
    "run": ("name the site's file, or say --demo",),
    "run --demo site.yaml": ("name the site's file, or say --demo",),
    "run --demo --address 127.0.0.1": ("--address", "127.0.0.1/24"),
    "check": ("Missing argument 'CONFIG'",),
    "check missing.yaml": ("missing.yaml", "there is no such file"),
    "read COM1 1": ("'COM1' is no port", "/dev/ttyUSB0", "tcp://host:port"),
    "read /dev/ttyUSB0 251": ("251", "0 to 250", "12345678-KAM-1B-04"),
    "read /dev/ttyUSB0 1 --baudrate 1000": ("1000 is no M-Bus baud rate", "2400"),
    "read /dev/ttyUSB0 1 --parity odd": ("--parity", "even", "none"),
    "read /dev/ttyUSB0 1 --key missing": ("the key file missing cannot be read",),
    "decode telegrm.hex": ("'telegrm.hex' is neither hex digits nor a file",),
    "decode 68 1G": ("'1G'", "give hex digits or files"),
    "read /dev/ttyUSB0 1 --timeout soon": ("'soon' is no duration", "5s, 500ms or 2"),
    "read /dev/ttyUSB0 1 --timeout 5m": ("5m is too long", "10ms to 1m"),
    "decode E5 --format yaml": ("--format", "text", "json", "csv", "xml"),
    "browse nonsense": ("'nonsense' is no address of a device", "192.168.1.10"),
    "browse --address nonsense": ("'nonsense' is no IPv4 address", "192.168.1.10/24"),
    "simulate --port 0 --fault silense": ("'silense' is no kind of fault", "silence"),
    "simulate --port 0 --fault silence:nobody": ("nobody",),
    "simulate --port 65536": ("--port", "65535"),
}


@pytest.fixture(scope="module")
def wrong(program: Program) -> Iterator[dict[str, Future[Done]]]:
    """All of them begun, to use both cores."""
    begun = {line: program.begin(*line.split()) for line in WRONG}
    yield begun
    for each in begun.values():
        each.cancel()


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_status_2_and_says_what_is_right(
    wrong: dict[str, Future[Done]], line: str
) -> None:
    done = wrong[line].result()
    assert done.status == 2
    assert done.out == ""
    for words in WRONG[line]:
        assert words in done.err


@pytest.fixture(scope="module")
def helps(program: Program) -> dict[str, Future[Done]]:
    return {command: program.begin(command, "-h") for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    helps: dict[str, Future[Done]], command: str
) -> None:
    done = helps[command].result()
    assert done.status == 0
    assert done.err == ""
    assert done.out.startswith(f"Usage: mbus-bacnet {command} ")
    # On a line of its own, so that it can be copied.
    assert re.search(rf"^    mbus-bacnet {command}\b", done.out, re.MULTILINE)
    assert "<" not in done.out.replace("<=x<=", "").replace("x>=", ""), "no type of Python"
    assert max(map(len, done.out.splitlines())) <= 80


def test_the_program_lists_its_commands(program: Program) -> None:
    begun = program.begin()
    asked, bare = program.run("--help"), begun.result()
    assert asked.status == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z].*\.$", asked.out, re.MULTILINE), command
    assert bare.status == 2
    assert asked.out.strip() in bare.out + bare.err


def test_the_version_is_the_packages(program: Program) -> None:
    done = program.run("--version")
    assert (done.status, done.out, done.err) == (0, f"mbus-bacnet {bridge.__version__}\n", "")


@pytest.mark.parametrize("line", ["schema", "decode {frames}"])
def test_a_reader_that_has_seen_enough_is_no_error_to_show(program: Program, line: str) -> None:
    # More than a pipe holds, so that the writer meets its end.
    frames = program.folder / "many.hex"
    frames.write_text("68 03 03 68 08 05 78 85 16\n" * 3000)
    done = program.shell(f"mbus-bacnet {line.format(frames=frames)} | head -1")
    assert len(done.out.splitlines()) == 1
    assert done.err == ""
