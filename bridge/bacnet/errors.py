"""What can go wrong on the BACnet floor, said so that the reader knows what to do."""

from __future__ import annotations

from bridge.errors import BridgeError


class BacnetError(BridgeError):
    """Something on the BACnet side cannot be done."""


class AddressError(BacnetError):
    """A text that should be an IPv4 address of this machine is not."""


class PortTakenError(BacnetError):
    """Another program, or another bridge, listens at our address and UDP port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"UDP port {port} of {host} is taken by another program; end that program (as root, "
            f"'ss -lunp sport = :{port}' names it), or choose another port or address"
        )
        self.host = host
        self.port = port


class NotOurAddressError(BacnetError):
    """The address does not belong to an interface of this machine."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"no interface of this machine has the address {host}; 'ip -4 address' lists the "
            "addresses there are, and an interface that is down or waits for DHCP has none"
        )
        self.host = host


class PointRefusedError(BacnetError):
    """A point asks for something that no BACnet object here can do."""

    def __init__(self, point: str, reason: str) -> None:
        super().__init__(f"{point}: {reason}")
        self.point = point


class BrowseError(BacnetError):
    """A device cannot be read: it does not answer, or it refuses."""
