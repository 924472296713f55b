from __future__ import annotations

from pathlib import Path

import pytest

from bridge.app.bridge import Bridge, StateError
from bridge.config.load import load_text
from bridge.config.model import Site
from bridge.points.ledger import LedgerError

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
    (state / "ledger.sqlite").write_bytes(b"no ledger at all" * 500)
    with pytest.raises(LedgerError):
        Bridge(site, state=state)
    (state / "ledger.sqlite").unlink()
    await Bridge(site, state=state).stop()
