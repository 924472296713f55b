"""What the command line itself finds wrong."""

from __future__ import annotations

from bridge.errors import BridgeError


class UsageError(BridgeError):
    """The command line cannot be meant as it stands."""
