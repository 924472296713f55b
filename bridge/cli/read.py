"""``read``: one meter, decoded."""

from __future__ import annotations

import asyncio

import typer

from bridge.cli.options import (
    Address,
    Baudrate,
    KeyFile,
    Latency,
    ParityOption,
    Port,
    TelegramFormat,
    TelegramFormatOption,
    Timeout,
    key_of,
)
from bridge.cli.telegrams import Recording, is_decoded, show, with_note_of_key
from bridge.config.values import Parity
from bridge.errors import BridgeError
from bridge.mbus.address import SecondaryAddress, parse_address
from bridge.mbus.link import Link, Timing
from bridge.mbus.readout import Complete, Failed, Trouble
from bridge.polling.session import read_meter, usual_latency
from bridge.transport import Transport, TransportLostError, TransportOpenError, make_transport


class ReadError(BridgeError):
    """The meter was not read."""


_REMEDIES = {
    Trouble.NO_ANSWER: "check its address, {line}, and that it is connected; slow meters need "
    "--timeout, slow gateways --latency",
    Trouble.DAMAGED: "check {line}, the wiring, and whether two meters share this address",
    Trouble.FOREIGN_METER: "the meter asked for was exchanged, or is "
    "not alone at this address: read each by its own secondary address",
    Trouble.BUSY: "try again later: battery meters answer only so often",
    Trouble.APPLICATION_ERROR: "try again; if it stays so, the meter may need to be reset",
}

_LINE = "the baud rate (--baudrate) and the parity (--parity)"
# A transparent gateway is told neither: to us the rate is how long an answer takes.
_LINE_OF_A_GATEWAY = (
    "the baud rate and the parity that the gateway itself is set to (--baudrate and --parity do "
    "not reach it)"
)


def read(
    port: Port,
    address: Address,
    baudrate: Baudrate = 2400,
    parity: ParityOption = Parity.EVEN,
    timeout: Timeout = None,
    latency: Latency = None,
    key: KeyFile = None,
    format: TelegramFormatOption = TelegramFormat.TEXT,
) -> None:
    """Read one meter and show every telegram of its answer.

    Ends with status 1 where nobody answers, or something in the answer cannot be decoded.

    Examples:

      mbus-bacnet read /dev/ttyUSB0 1
      mbus-bacnet read /dev/ttyUSB0 12345678-KAM-1B-04 --baudrate 300
      mbus-bacnet read tcp://10.0.0.7:10001 12345678 --format json
    """
    meter = parse_address(address)
    transport = make_transport(port, baudrate=baudrate, parity=parity.value)
    timing = Timing(baudrate, timeout, usual_latency(port) if latency is None else latency)
    meter_key = key_of(key)
    try:
        end = asyncio.run(_read(transport, Link(timing), meter, meter_key))
    except TransportOpenError as error:
        remedy = error.remedy.replace("write `parity: none`", "say --parity none")
        raise ReadError(f"{error.port}: {error.problem}. {remedy}") from error
    except TransportLostError as error:
        raise ReadError(
            f"{error}; does another program use the bus, a bridge perhaps? Most gateways take one "
            "client at a time"
        ) from error
    if isinstance(end, Failed):
        line = _LINE_OF_A_GATEWAY if port.startswith("tcp://") else _LINE
        remedy = _REMEDIES[end.trouble].format(line=line)
        if isinstance(meter, SecondaryAddress) and meter.is_wildcard:
            remedy = f"if several meters fit this address, write more of its digits; {remedy}"
        raise ReadError(f"{address} on {transport.name}: {end.detail}; {remedy}")
    telegrams = end.telegrams
    if meter_key is not None:
        telegrams = tuple(map(with_note_of_key, telegrams))
    show([Recording(telegrams, is_answer=True)], format)
    if not all(map(is_decoded, telegrams)):
        raise typer.Exit(1)


async def _read(
    transport: Transport, link: Link, address: int | SecondaryAddress, key: bytes | None
) -> Complete | Failed:
    await transport.open()
    try:
        return await read_meter(transport, link, address, key=key)
    finally:
        await transport.close()
