"""What a bus and its meters are told before they are polled."""

from __future__ import annotations

from dataclasses import dataclass, field

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.link import Timing
from bridge.mbus.way import Way
from bridge.polling.billing import Billing
from bridge.polling.schedule import Plan, Window
from bridge.polling.session import usual_latency
from bridge.transport import Parity


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """A meter to be read.

    Args:
        name: unique on its bus, and in what the listener hears.
        address: primary (0 to 250) or secondary.
        every: seconds between two readouts; 0 means as often as the bus allows.
        window: the part of the day, in local time, in which the meter may be read.
        key: its AES-128 key, 16 bytes; never shown.
        way: how it wants to be read, where that is not as the standard has it.
        minimum_gap: seconds between two readouts at least, whoever asks for them.
        priority: whether its turns go before those of meters without.
    """

    name: str
    address: int | SecondaryAddress
    every: float = 900.0
    window: Window | None = None
    key: bytes | None = field(default=None, repr=False)
    way: Way = field(default_factory=Way)
    minimum_gap: float = 0.0
    priority: bool = False

    @property
    def plan(self) -> Plan:
        """When it wants its turns."""
        return Plan(self.name, self.every, self.window, self.minimum_gap, self.priority)


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """A bus.

    Args:
        name: for the listener and the log.
        port: as `bridge.transport.parse_port` takes it.
        baudrate: 300 to 38400.
        parity: ``even``, or ``none``.
        timeout: seconds to the first byte of an answer, where the standard's 330 bit times and
            50 ms are too short for a meter; else None.
        latency: seconds that the way to the bus and back adds; None for what is usual at first, and
            then what the answers show.
        tries: how often to ask before a meter counts as silent.
        release: whether the port is closed while no meter has a turn, for a gateway that takes one
            client and has several.
        billing: when all meters are read at one set time; None for never.
    """

    name: str
    port: str
    baudrate: int = 2400
    parity: Parity = "even"
    timeout: float | None = None
    latency: float | None = None
    tries: int = 3
    release: bool = False
    billing: Billing | None = None

    @property
    def timing(self) -> Timing:
        latency = usual_latency(self.port) if self.latency is None else self.latency
        return Timing(self.baudrate, self.timeout, latency, self.tries)

    @property
    def line(self) -> tuple[str, int, Parity]:
        """What the port must be opened anew for, where it changes."""
        return self.port, self.baudrate, self.parity
