"""Drives the pure conversations of `bridge.mbus` over a transport, with the clock of the loop."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Protocol, TypeVar

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.link import Effort, Link, Outcome
from bridge.mbus.readout import MAXIMUM_TELEGRAMS, Complete, Failed, Memory, Readout
from bridge.mbus.telegram import decode_telegram
from bridge.transport import PortKind, Transport, TransportLostError, parse_port

ResultT_co = TypeVar("ResultT_co", covariant=True)


# What the way to a bus usually adds, in seconds. A USB adapter hands bytes on every 1 to 16 ms. A
# gateway adds its network, and may collect a telegram before it passes it on.
_USUAL_LATENCY = {PortKind.SERIAL: 0.02, PortKind.TCP: 0.5, PortKind.RFC2217: 0.5}


def usual_latency(port: str) -> float:
    """The latency in seconds to expect of a port where the user says none.

    Raises:
        PortError: ``port`` names none.
    """
    return _USUAL_LATENCY[parse_port(port).kind]


class BrokenOffError(TransportLostError):
    """The port was lost in a conversation, which had cost ``effort`` up to then."""

    def __init__(self, lost: TransportLostError, effort: Effort) -> None:
        super().__init__(lost.port, lost.problem)
        self.effort = effort


class Conversation(Protocol[ResultT_co]):
    """What `drive` can drive: a `Link` with an exchange begun, or a `Readout` that was started."""

    @property
    def deadline(self) -> float | None: ...

    def to_send(self) -> bytes: ...

    def receive(self, data: bytes, now: float) -> ResultT_co | None: ...

    def wake(self, now: float) -> ResultT_co | None: ...

    def abandon(self, now: float) -> Effort: ...


async def drive(conversation: Conversation[ResultT_co], transport: Transport) -> ResultT_co:
    """Write, read and wait until the conversation has come to something.

    Raises:
        BrokenOffError: the port is gone.
    """
    loop = asyncio.get_running_loop()
    result: ResultT_co | None = None
    try:
        while result is None:
            outgoing = conversation.to_send()
            if outgoing:
                await transport.write(outgoing)
            try:
                async with asyncio.timeout_at(conversation.deadline):
                    data = await transport.read()
            except TimeoutError:
                # Both may happen at once in a loop that was held up: bytes count, if there are any.
                data = transport.discard_input()
            now = loop.time()
            result = conversation.receive(data, now)
            if result is None:
                result = conversation.wake(now)
    except TransportLostError as error:
        raise BrokenOffError(error, conversation.abandon(loop.time())) from None
    finally:
        conversation.abandon(loop.time())  # also where it was cancelled; once over, it is no more
    return result


def hear_leftovers(transport: Transport, link: Link) -> None:
    """Show the link what came while nobody asked, so that no answer is made of it."""
    link.receive(transport.discard_input(), asyncio.get_running_loop().time())


async def exchange(transport: Transport, link: Link) -> Outcome:
    """Drive the one exchange that was begun on ``link`` to its end.

    Begin it after `hear_leftovers`, and without an ``await`` in between.

    Raises:
        BrokenOffError: the port is gone.
    """
    return await drive(link, transport)


async def read_meter(
    transport: Transport,
    link: Link,
    address: int | SecondaryAddress,
    *,
    key: bytes | None = None,
    memory: Memory | None = None,
    probe: bool = False,
    maximum: int = MAXIMUM_TELEGRAMS,
) -> Complete | Failed:
    """One conversation with one meter: all its telegrams, or why there are none.

    Args:
        transport: open.
        link: of the same bus; it keeps the FCB from one conversation to the next.
        address: primary (0 to 250, 254) or secondary, also with wildcards.
        key: AES-128 key of the meter, 16 bytes.
        memory: what earlier conversations left; None for first contact.
        probe: give up after one try that nobody answers.
        maximum: telegrams, at most.

    Raises:
        BrokenOffError: the port is gone.
        KeyLengthError: the key has not 16 bytes.
    """
    hear_leftovers(transport, link)
    meter = address if isinstance(address, SecondaryAddress) and not address.is_wildcard else None
    memory = Memory() if memory is None else memory
    decode = partial(decode_telegram, key=key, meter=meter, formats=memory.formats)
    readout = Readout(link, address, decode, memory=memory, probe=probe, maximum=maximum)
    readout.start(asyncio.get_running_loop().time())
    return await drive(readout, transport)
