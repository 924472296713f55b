from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from bridge.app import readings as readings_module
from bridge.app.bridge import Bridge, StateError
from bridge.cli.run import _say_first_round
from bridge.config.load import load_text
from bridge.config.model import Site
from bridge.mbus.address import parse_secondary
from bridge.mbus.frame import LongFrame
from bridge.mbus.header import encode_header
from bridge.mbus.telegram import Telegram, decode_telegram
from bridge.points.ledger import LedgerError
from bridge.points.reading import Fault
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
    twice.readings.meter_answered("cold", answer("87654321-KAM-1B-04"), 0.0)
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
    twice.readings.meter_answered("cold", answer("87654321-KAM-1B-04"), 0.0)
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
