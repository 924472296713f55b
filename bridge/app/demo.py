"""The demonstration: a simulated bus in this process, and the site that bridges it."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from bridge.config.load import load_text
from bridge.config.model import Site
from bridge.sim.bus import SimulatedBus
from bridge.sim.meter import SimulatedMeter
from bridge.sim.server import TcpServer, serve_tcp
from bridge.sim.site import demo_meters, medium

INSTANCE = 260001
BUS = "basement"


def demo_text(port: str) -> str:
    """The configuration of the demonstration, as a user would write it."""
    return "\n".join(
        [
            f"device: {{instance: {INSTANCE}, name: Demonstration, location: Simulated cellar}}",
            # Simulated meters have no business on a live network.
            "bacnet: {address: 127.0.0.1/8}",
            "buses:",
            f"  {BUS}:",
            f"    port: {port}",
            "    baudrate: 2400",
            "    every: 15s",
            "    meters:",
            *(f"      {_meter(meter)}" for meter in demo_meters()),
            "",
        ]
    )


def _meter(meter: SimulatedMeter) -> str:
    # At 0 it is as it came from the factory; a secondary address finds it all the same.
    where = f"address: {meter.primary}" if meter.primary else f"secondary: {meter.secondary}"
    # This gas meter tells the volume of the last full hour, and calls it storage number 1.
    points = ", points: all" if meter.name == "gas" else ""
    about = f"{medium(meter).capitalize()}, {meter.model}"
    return f'{meter.name}: {{{where}{points}, description: "{about}"}}'


class Demo:
    """The simulated bus at work. Make it with `start`."""

    def __init__(self, bus: SimulatedBus, server: TcpServer) -> None:
        self.bus = bus
        self._server = server
        self.site: Site = load_text(demo_text(server.url), Path("demonstration.yaml"))

    @classmethod
    async def start(cls) -> Self:
        """Serve the simulated bus on a free TCP port of this machine."""
        bus = SimulatedBus(demo_meters())
        return cls(bus, await serve_tcp(bus))

    async def stop(self) -> None:
        await self._server.close()
