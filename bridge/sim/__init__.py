"""Meters that do not exist, on a bus that takes as long as a real one."""

from __future__ import annotations

from bridge.sim.bus import BusStatistics, SimulatedBus
from bridge.sim.clock import SimulatedClock
from bridge.sim.errors import SimError
from bridge.sim.faults import Fault, FaultKind, parse_fault
from bridge.sim.meter import Quirks, SimulatedMeter
from bridge.sim.recorded import recorded_meter, recorded_meters
from bridge.sim.server import PtyServer, TcpServer, serve_pty, serve_tcp
from bridge.sim.site import demo_meters, describe, description, make_meter

__all__ = [
    "BusStatistics",
    "Fault",
    "FaultKind",
    "PtyServer",
    "Quirks",
    "SimError",
    "SimulatedBus",
    "SimulatedClock",
    "SimulatedMeter",
    "TcpServer",
    "demo_meters",
    "describe",
    "description",
    "make_meter",
    "parse_fault",
    "recorded_meter",
    "recorded_meters",
    "serve_pty",
    "serve_tcp",
]
