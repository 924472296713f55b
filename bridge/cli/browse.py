"""``browse``: what a BMS sees."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import Annotated, Any

import simplejson
import typer
from rich.table import Table

from bridge.bacnet.client import BrowsedValue, Browser, DeviceFound, ObjectValue
from bridge.cli.options import Format, FormatOption
from bridge.cli.output import out, say, write
from bridge.errors import BridgeError

_SYMBOLS = {
    "watt-hours": "Wh",
    "kilowatt-hours": "kWh",
    "megawatt-hours": "MWh",
    "megajoules": "MJ",
    "gigajoules": "GJ",
    "cubic-meters": "m³",
    "liters": "l",
    "cubic-meters-per-hour": "m³/h",
    "liters-per-hour": "l/h",
    "watts": "W",
    "kilowatts": "kW",
    "kilograms": "kg",
    "degrees-celsius": "°C",
    "delta-degrees-kelvin": "K",
    "bars": "bar",
    "volts": "V",
    "amperes": "A",
    "hertz": "Hz",
    "hours": "h",
    "percent": "%",
    "percent-relative-humidity": "%RH",
    "kilovolt-ampere-hours-reactive": "kvarh",
    "kilovolt-amperes-reactive": "kvar",
    "no-units": "",
}


class NobodyError(BridgeError):
    """No device answered."""


def browse(
    device: Annotated[
        str | None,
        typer.Argument(
            metavar="[DEVICE]",
            help="A device's instance number, or its address: host or host:port. All that answer, "
            "if none is named.",
        ),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS/PREFIX",
            help="This machine's address on the network to ask in: 192.168.1.20/24. The usual one "
            "asks this machine alone.",
        ),
    ] = "127.0.0.1/8",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=60, help="Seconds to wait for answers.")
    ] = 2.0,
    format: FormatOption = Format.TEXT,
) -> None:
    """Look at BACnet devices as a BMS does: Who-Is, object list, every value.

    Examples: mbus-bacnet browse, mbus-bacnet browse 260001 --address 192.168.1.20/24, or
    mbus-bacnet browse 192.168.1.10
    """
    asyncio.run(_browse(device, address, timeout, format))


async def _browse(device: str | None, address: str, timeout: float, format: Format) -> None:
    async with Browser(address, timeout=timeout) as browser:
        if device is None:
            # On this machine an answer takes no time: who is there has answered.
            alone = address.startswith("127.")
            found = await browser.discover(timeout=min(timeout, 0.5) if alone else timeout)
        else:
            found = [await browser.find(device)]
        if not found:
            raise NobodyError(
                f"no BACnet device answers Who-Is in the network of {address}; name another "
                "address of this machine (--address 192.168.1.20/24), or the device's (browse "
                "192.168.1.10)"
            )
        for each in found:
            await _show(browser, each, format)


async def _show(browser: Browser, device: DeviceFound, format: Format) -> None:
    values = [value async for value in browser.read_objects(device)]
    if format is Format.JSON:
        write(
            simplejson.dumps(
                {
                    "device": device.instance,
                    "address": device.address,
                    "vendor": device.vendor,
                    "objects": [_as_json(value) for value in values],
                },
                use_decimal=True,
                ensure_ascii=False,
            )
        )
        return
    out.print(f"device {device.instance} at {device.address}", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("object", overflow="fold")
    table.add_column("name", overflow="fold")
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("unit")
    table.add_column("reliability", overflow="fold")
    for value in values:
        faulty = value.error or (value.status_flags is not None and value.status_flags.fault)
        reliability = "" if value.reliability == "no-fault-detected" else value.reliability
        table.add_row(
            value.identifier,
            value.name,
            _text(value.value),
            _SYMBOLS.get(value.units, value.units),
            value.error or reliability,
            style="red" if faulty else None,
        )
    out.print(table)
    failing = sum(1 for value in values if value.status_flags and value.status_flags.fault)
    say(f"{len(values)} objects, {failing} in fault")


def _text(value: BrowsedValue) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "active" if value else "inactive"
        case Decimal():
            return format(value, "f")
        case datetime.datetime():
            return value.isoformat(sep=" ")
        case _:
            return str(value)


def _as_json(value: ObjectValue) -> dict[str, Any]:
    seen = value.value
    if isinstance(seen, datetime.date | datetime.time):
        seen_json: object = seen.isoformat()
    else:
        seen_json = seen
    flags = value.status_flags
    return {
        "object": value.identifier,
        "name": value.name,
        "value": seen_json,
        "units": value.units,
        "reliability": value.reliability,
        "status_flags": None if flags is None else flags._asdict(),
        "description": value.description,
        "error": value.error or None,
    }
