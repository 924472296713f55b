"""``browse``: what a BMS sees."""

from __future__ import annotations

import asyncio
import datetime
from decimal import Decimal
from typing import Annotated, Any

import simplejson
import typer

from bridge.bacnet.client import BrowsedValue, Browser, DeviceFound, ObjectValue
from bridge.bacnet.units import symbol
from bridge.cli.options import Format, FormatOption
from bridge.cli.output import out, say, table, write
from bridge.errors import BridgeError

_ABBREVIATIONS = {
    "accumulator": "ACC",
    "analog-input": "AI",
    "analog-output": "AO",
    "analog-value": "AV",
    "binary-input": "BI",
    "binary-output": "BO",
    "binary-value": "BV",
    "characterstring-value": "CSV",
    "date-value": "DV",
    "datetime-value": "DTV",
    "large-analog-value": "LAV",
    "multi-state-input": "MSI",
    "multi-state-output": "MSO",
    "multi-state-value": "MSV",
    "positive-integer-value": "PIV",
    "time-value": "TV",
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
    rows = table("object", "name", "value", "unit", "reliability")
    for value in _by_meter(values):
        faulty = value.error or (value.status_flags is not None and value.status_flags.fault)
        reliability = "" if value.reliability == "no-fault-detected" else value.reliability
        rows.add_row(
            _short(value.identifier),
            value.name,
            _text(value.value),
            "" if value.units == "no-units" else symbol(value.units),
            value.error or reliability,
            style="red" if faulty else None,
        )
    out.print(rows)
    failing = sum(1 for value in values if value.status_flags and value.status_flags.fault)
    say(f"{len(values)} objects, {failing} in fault")


def _by_meter(values: list[ObjectValue]) -> list[ObjectValue]:
    """Objects whose names share what is before the dot stand together, as they came first."""
    groups: dict[str, list[ObjectValue]] = {}
    for value in values:
        groups.setdefault(value.name.rpartition(".")[0], []).append(value)
    return [value for group in groups.values() for value in group]


def _short(identifier: str) -> str:
    """analog-input,5 as AI 5, the way it is spoken of."""
    object_type, _, instance = identifier.partition(",")
    return f"{_ABBREVIATIONS.get(object_type, object_type)} {instance}"


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
