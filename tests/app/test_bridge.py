from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from bridge.app import readings as readings_module
from bridge.app.bridge import Bridge, ReloadError, StateError
from bridge.cli.run import _say_first_round
from bridge.config.load import elsewhere, load_text
from bridge.config.model import Site
from bridge.mbus.address import parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import LedgerError
from bridge.points.reading import NEVER_READ, Fault, Point, Reading
from bridge.polling.engine import Failure, FailureKind

SITE = """
device: {instance: 5}
bacnet: {address: 127.0.0.1/8}
buses:
  cellar: {port: "tcp://127.0.0.1:9", meters: {water: {address: 1}}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return load_text(SITE, tmp_path / "site.yaml")


async def test_two_bridges_never_share_a_state(site: Site, tmp_path: Path) -> None:
    first = Bridge(site, state=tmp_path / "state")
    with pytest.raises(StateError, match="another bridge runs with this state"):
        Bridge(site, state=tmp_path / "state")
    await first.stop()
    await Bridge(site, state=tmp_path / "state").stop()


async def test_a_file_where_the_state_belongs_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("mine")
    with pytest.raises(StateError, match="there is a file where the folder"):
        Bridge(site, state=tmp_path / "state")
    assert (tmp_path / "state").read_text() == "mine"


async def test_a_bridge_that_cannot_begin_leaves_nothing_locked(site: Site, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with closing(sqlite3.connect(state / "ledger.sqlite")) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="a later version"):
        Bridge(site, state=state)
    (state / "ledger.sqlite").unlink()
    await Bridge(site, state=state).stop()


TWICE = """
device: {instance: 5}
bacnet: {address: 127.0.0.1/8}
buses:
  cellar:
    port: "tcp://127.0.0.1:9"
    meters:
      heat: {address: 5, points: {energy: {quantity: energy}}}
      again: {secondary: 12345678, points: {energy: {quantity: energy}}}
      cold: {address: 6, points: {energy: {quantity: energy}, volume: {quantity: volume}}}
  roof:
    port: "tcp://127.0.0.2:9"
    meters: {other: {address: 5}}
"""


def answer(address: str) -> tuple[Telegram, ...]:
    data = encode_header(parse_secondary(address), 5) + bytes.fromhex("0C 06 78 56 34 12")
    return (decode_telegram(LongFrame(0x08, 5, 0x72, data)),)


def read_twice(bridge: Bridge, meter: str, address: str, at: float = 0.0) -> None:
    """As a meter is on first contact, where no parity guards its line."""
    for second in range(2):
        bridge.readings.meter_answered(meter, answer(address), at + second)


@pytest.fixture
async def twice(tmp_path: Path) -> AsyncIterator[Bridge]:
    bridge = Bridge(load_text(TWICE, tmp_path / "site.yaml"), state=None)
    yield bridge
    await bridge.stop()


async def test_a_meter_that_is_in_the_file_twice_is_said_once(
    twice: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(3):
        twice.readings.meter_answered("heat", answer("12345678-KAM-1B-04"), float(n))
        twice.readings.meter_answered("cold", answer("87654321-KAM-1B-04"), float(n))
        twice.readings.meter_answered("again", answer("12345678-KAM-1B-04"), float(n))
        # On another bus it is another one, whatever its number.
        twice.readings.meter_answered("other", answer("12345678-KAM-1B-04"), float(n))
    said = [record.getMessage() for record in caplog.records if "one and the same" in record.msg]
    assert said == [
        "heat (5) and again (12345678) answer as one and the same meter, 12345678-KAM-1B-04; "
        "remove one of the two from the file, or, if these are two meters, give one of them "
        "another secondary address"
    ]


async def test_faults_are_counted_by_their_reason(twice: Bridge) -> None:
    read_twice(twice, "cold", "87654321-KAM-1B-04")
    twice.readings.meter_failed("heat", Failure(FailureKind.NO_ANSWER, "silence"), 0.0)
    assert twice.faults() == {
        Fault.RECORD_MISSING: 1,  # of cold's volume
        Fault.NO_ANSWER: 1,
        Fault.NEVER_READ: 1,
    }


async def test_a_meter_that_answers_without_data_is_not_said_to_be_without_an_answer(
    twice: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    twice.on_first_round = lambda first: _say_first_round(twice, first)
    read_twice(twice, "cold", "87654321-KAM-1B-04")
    twice.readings.meter_failed("heat", Failure(FailureKind.APPLICATION_ERROR, "busy"), 0.0)
    twice.readings.meter_failed("again", Failure(FailureKind.BUSY, "busy"), 0.0)
    twice.readings.meter_failed("other", Failure(FailureKind.NO_ANSWER, "silence"), 0.0)
    said = capsys.readouterr().err
    assert "First round complete: 3 of 4 meters answered, " in said
    assert "\nAnswered without data: heat, again.\nWithout an answer: other.\n" in said


async def test_a_connection_that_is_taken_and_lost_at_once_has_its_usual_cause_named_once(
    twice: Bridge, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        twice.readings.segment_changed("cellar", True, "connected to tcp://127.0.0.1:9")
        twice.readings.segment_changed("cellar", False, "closed by the other side")
    (hint,) = [record.getMessage() for record in caplog.records]
    assert hint == (
        "cellar: the connection was lost at once (closed by the other side); does another program "
        "use the bus, another bridge perhaps? Most gateways take one client at a time"
    )
    caplog.clear()
    # One that somebody has answered on, or that lasted, is nobody else's.
    twice.readings.segment_changed("cellar", True, "connected to tcp://127.0.0.1:9")
    twice.readings.meter_answered("heat", answer("12345678-KAM-1B-04"), 0.0)
    twice.readings.segment_changed("cellar", False, "closed by the other side")
    monkeypatch.setattr(readings_module, "HELD_BY_ANOTHER", -1.0)
    twice.readings.segment_changed("cellar", True, "connected to tcp://127.0.0.1:9")
    twice.readings.segment_changed("cellar", False, "closed by the other side")
    assert "another program" not in caplog.text


ONE_POINT = """
device: {{instance: 5}}
bacnet: {{address: 127.0.0.1/8}}
buses:
  cellar:
    port: "tcp://127.0.0.1:9"
    meters:
      heat: {{{meter}, points: {{energy: {{quantity: energy, {point}}}}}}}
"""


def one_point(folder: Path, *, meter: str = "address: 5", point: str = "storage: 0") -> Site:
    return load_text(ONE_POINT.format(meter=meter, point=point), folder / "site.yaml")


async def test_last_values_are_served_after_a_restart(tmp_path: Path) -> None:
    first = Bridge(one_point(tmp_path), state=tmp_path / "state")
    read_twice(first, "heat", "12345678-KAM-1B-04", time.time() - 60)
    await first.stop()
    second = Bridge(one_point(tmp_path), state=tmp_path / "state")
    reading = second.store.reading("heat.energy")
    assert (reading.value, reading.fault) == (Decimal(12345678), None)
    assert reading.read_at == pytest.approx(time.time() - 60, abs=5)
    assert second.readings.read_ago("heat") == pytest.approx(60, abs=5)
    await second.stop()


@pytest.mark.parametrize(
    "change",
    [{"point": "scale: 0.1"}, {"point": "storage: 1"}, {"meter": "address: 6"},
     {"point": "unit: joules"}],
)  # fmt: skip
async def test_values_of_another_meter_record_or_factor_are_not_served(
    change: dict[str, str], tmp_path: Path
) -> None:
    first = Bridge(one_point(tmp_path), state=tmp_path / "state")
    read_twice(first, "heat", "12345678-KAM-1B-04", time.time() - 60)
    await first.stop()
    second = Bridge(one_point(tmp_path, **change), state=tmp_path / "state")
    assert second.store.reading("heat.energy") == NEVER_READ
    await second.stop()


class Watching:
    """Notes which points come and go."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def point_added(self, point: Point, reading: Reading) -> None:
        self.events.append(f"+{point.name}")

    def point_removed(self, point: Point) -> None:
        self.events.append(f"-{point.name}")

    def reading_changed(self, point: Point, reading: Reading) -> None: ...


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[Bridge, Path]]:
    site = load_text(TWICE, tmp_path / "site.yaml")
    bridge = Bridge(elsewhere(site, address=None, port=free_port()), state=None)
    await bridge.start()
    yield bridge, tmp_path
    await bridge.stop()


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def changed(bridge: Bridge, folder: Path, *changes: tuple[str, str]) -> Site:
    text = TWICE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    site = load_text(text, folder / "site.yaml")
    return elsewhere(site, address=None, port=bridge.site.bacnet.port)


async def test_a_reload_touches_what_has_changed_and_nothing_else(
    running: tuple[Bridge, Path],
) -> None:
    bridge, folder = running
    watching = Watching()
    bridge.store.watch(watching)
    watching.events.clear()
    said = await bridge.reload(
        changed(
            bridge,
            folder,
            (
                "cold: {address: 6, points: {",
                "cold: {address: 6, points: {power: {quantity: power}, ",
            ),
            ("      again: {secondary: 12345678, points: {energy: {quantity: energy}}}\n", ""),
        )
    )
    assert said == ["meter again removed", "meter cold changed", "bus cellar changed"]
    assert watching.events == [
        "+cold.power",
        "-again.answering",
        "-again.last-read",
        "-again.secondary-address",
        "-again.energy",
    ]
    assert await bridge.reload(bridge.site) == []


async def test_buses_come_and_go_with_their_meters(running: tuple[Bridge, Path]) -> None:
    bridge, folder = running
    said = await bridge.reload(changed(bridge, folder, ("roof:", "attic:")))
    assert said == ["bus roof removed", "meter other changed", "bus attic added"]
    assert bridge.readings.place_of("other") == ("attic", "5")
    assert {task.get_name() for task in asyncio.all_tasks()} >= {"bus cellar", "bus attic"}
    assert "bus roof" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_a_meter_may_move_to_another_bus(running: tuple[Bridge, Path]) -> None:
    bridge, folder = running
    said = await bridge.reload(
        changed(
            bridge,
            folder,
            ("      heat: {address: 5, points: {energy: {quantity: energy}}}\n", ""),
            (
                "{other: {address: 5}}",
                "{other: {address: 5}, heat: {address: 7, points: {energy: {quantity: energy}}}}",
            ),
        )
    )
    assert said == ["meter heat changed", "bus cellar changed", "bus roof changed"]
    assert bridge.readings.place_of("heat") == ("roof", "7")


async def test_what_cannot_be_applied_changes_nothing(running: tuple[Bridge, Path]) -> None:
    bridge, folder = running
    before = list(bridge.store.points)
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", 0))
    site = changed(bridge, folder, ("heat: {address: 5,", "heating: {address: 5,"))
    site = elsewhere(site, address=None, port=taken.getsockname()[1])
    with pytest.raises(ReloadError, match="the BACnet device cannot be changed"):
        await bridge.reload(site)
    taken.close()
    assert list(bridge.store.points) == before
    assert bridge.device.address[1] == bridge.site.bacnet.port


async def test_the_device_may_change_its_name_and_port(running: tuple[Bridge, Path]) -> None:
    bridge, folder = running
    port = free_port()
    site = changed(bridge, folder, ("{instance: 5}", "{instance: 6, name: Other}"))
    (said,) = await bridge.reload(elsewhere(site, address=None, port=port))
    assert said == "BACnet device changed; who had subscribed must do so again"
    assert bridge.device.address == ("127.0.0.1", port)
