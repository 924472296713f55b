"""What can be wrong with a simulation that somebody asked for."""

from __future__ import annotations

from bridge.errors import BridgeError


class SimError(BridgeError):
    """The simulation asked for cannot be; the message says why, and what could."""
