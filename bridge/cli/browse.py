"""``browse``: what a BMS sees."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import simplejson
import typer

from bridge.cli.errors import UsageError
from bridge.cli.names import counted, short_object
from bridge.cli.options import Format, FormatOption
from bridge.cli.output import Rows, out, say, write
from bridge.config.values import BACNET_PORT
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from bridge.bacnet.client import BrowsedValue, Browser, DeviceFound, ObjectValue

LOOPBACK_TIMEOUT = 0.5  # seconds


class NobodyError(BridgeError):
    """No device answered."""


def browse(
    device: Annotated[
        str | None,
        typer.Argument(
            metavar="DEVICE",
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
    port: Annotated[
        int,
        typer.Option(metavar="NUMBER", min=1, max=65535, help="UDP port of the devices."),
    ] = BACNET_PORT,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=60, help="How long to wait for answers."),
    ] = 2.0,
    format: FormatOption = Format.TEXT,
) -> None:
    """Look at BACnet devices as a BMS does.

    Who-Is, the object list, and every value with its unit and reliability.

    Examples:

      mbus-bacnet browse
      mbus-bacnet browse 260001 --address 192.168.1.20/24
      mbus-bacnet browse 192.168.1.10 --format json
    """
    from bridge.bacnet.errors import AddressError

    try:
        asyncio.run(_browse(device, address, port, timeout, format))
    except AddressError as error:
        raise UsageError(str(error)) from error


async def _browse(
    device: str | None, address: str, port: int, timeout: float, format: Format
) -> None:
    from bridge.bacnet.client import Browser

    async with Browser(address, port=port, timeout=timeout) as browser:
        # On this machine an answer takes no time: who is there has answered.
        wait = min(timeout, LOOPBACK_TIMEOUT) if address.startswith("127.") else timeout
        if device is None:
            found = await browser.discover(timeout=wait)
        elif device.isdecimal():
            found = [await browser.find(device, timeout=wait)]
        else:
            complete = ":" in device or port == BACNET_PORT
            found = [await browser.find(device if complete else f"{device}:{port}")]
        if not found:
            raise NobodyError(
                f"no BACnet device answers Who-Is in the network of {address}; name another "
                "address of this machine (--address 192.168.1.20/24), or the device's (browse "
                "192.168.1.10)"
            )
        for each in found:
            await _show(browser, each, format)


async def _show(browser: Browser, device: DeviceFound, format: Format) -> None:
    from bridge.bacnet.units import symbol

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
    rows = Rows("object", "name", "value", "unit", "reliability")
    for value in _by_meter(values):
        faulty = value.error or (value.status_flags is not None and value.status_flags.fault)
        reliability = "" if value.reliability == "no-fault-detected" else value.reliability
        rows.add(
            short_object(*value.identifier.split(",")),
            value.name,
            _text(value.value),
            "" if value.units == "no-units" else symbol(value.units),
            value.error or reliability,
            style="red" if faulty else None,
        )
    rows.show()
    failing = sum(1 for value in values if value.status_flags and value.status_flags.fault)
    say(f"{counted(len(values), 'object')}, {failing} in fault")


def _by_meter(values: list[ObjectValue]) -> list[ObjectValue]:
    """Objects whose names share what is before the dot stand together, as they came first."""
    groups: dict[str, list[ObjectValue]] = {}
    for value in values:
        groups.setdefault(value.name.rpartition(".")[0], []).append(value)
    return [value for group in groups.values() for value in group]


def _text(value: BrowsedValue) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "active" if value else "inactive"
        case Decimal():
            return format(value, "f")
        case datetime.datetime():
            return value.isoformat(sep=" ", timespec="seconds")
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
