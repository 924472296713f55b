"""Drives the pure conversations of `bridge.mbus` over a transport, with the clock of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

from bridge.mbus.address import SecondaryAddress
from bridge.mbus.control import BROADCAST
from bridge.mbus.frame import LONG_START
from bridge.mbus.link import Link
from bridge.mbus.outcome import Effort, Outcome
from bridge.mbus.readout import Complete, Failed, Memory, Readout
from bridge.mbus.telegram import decode_telegram
from bridge.mbus.timing import BITS, timing_of
from bridge.mbus.way import WakeUp, Way
from bridge.transport import (
    Line,
    PortKind,
    Received,
    Transport,
    TransportLineError,
    TransportLostError,
    parse_port,
)

ResultT_co = TypeVar("ResultT_co", covariant=True)

_USUAL_WAY = Way()

# A long frame begins with 68 L L 68 (EN 13757-2, 5.3), and its head says what else is to come.
_START = bytes((LONG_START,))
_REST_OF_HEAD = 3


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

    @property
    def missing(self) -> int: ...

    def to_send(self) -> bytes: ...

    def receive(self, data: bytes, now: float, broken: Sequence[int]) -> ResultT_co | None: ...

    def wake(self, now: float) -> ResultT_co | None: ...

    def abandon(self, now: float) -> Effort: ...


async def drive(conversation: Conversation[ResultT_co], transport: Transport) -> ResultT_co:
    """Write, read and wait until the conversation has come to something.

    While a frame comes, nobody looks until it can be complete (`bridge.transport.pace`).

    Raises:
        BrokenOffError: the port is gone.
    """
    loop = asyncio.get_running_loop()
    pace, character = transport.pace, BITS / transport.line.baudrate
    next_look: float | None = None
    result: ResultT_co | None = None
    try:
        while result is None:
            outgoing = conversation.to_send()
            if outgoing:
                pace.forget()
                next_look = None
                await transport.write(outgoing)
            deadline = conversation.deadline
            if deadline is not None and next_look is not None:
                # Nobody has looked since the last lot, so the line has not fallen silent either.
                deadline = max(deadline, next_look)
            try:
                async with asyncio.timeout_at(deadline):
                    received = await transport.read(not_before=next_look)
            except TimeoutError:
                # Both may happen at once in a loop that was held up: bytes count, if there are any.
                received = transport.discard_input()
            now = loop.time()
            result = conversation.receive(received.data, now, received.broken)
            next_look = pace.next_look(_at_least_missing(conversation, received), now, character)
            if result is None:
                result = conversation.wake(now)
    except TransportLostError as error:
        raise BrokenOffError(error, conversation.abandon(loop.time())) from None
    finally:
        conversation.abandon(loop.time())  # also where it was cancelled; once over, it is no more
    return result


def _at_least_missing(conversation: Conversation[object], received: Received) -> int:
    """Characters that must come before anything can be made of those that have."""
    if not conversation.missing and received.data[-1:] == _START:
        return _REST_OF_HEAD
    return conversation.missing


def hear_leftovers(transport: Transport, link: Link) -> None:
    """Show the link what came while nobody asked, so that no answer is made of it."""
    received = transport.discard_input()
    link.receive(received.data, asyncio.get_running_loop().time(), received.broken)


async def exchange(transport: Transport, link: Link) -> Outcome:
    """Drive the one exchange that was begun on ``link`` to its end.

    Begin it after `hear_leftovers`, and without an ``await`` in between.

    Raises:
        BrokenOffError: the port is gone.
    """
    return await drive(link, transport)


async def broadcast(transport: Transport, link: Link, ci: int, data: bytes) -> None:
    """SND_UD to all meters of the bus (address 255). Nobody answers it (EN 13757-2, 5.7.5).

    The line rests for one answer window, so that meters can do what they were told. A meter that
    keeps one FCB for all has taken this one's: whoever keeps a `Memory` of meters on the bus lets
    go of ``in_step``, so that SND_NKE comes first and no old answer is repeated.

    Raises:
        BrokenOffError: the port is gone.
        LengthError: ``data`` has more than 252 bytes.
    """
    hear_leftovers(transport, link)
    link.send_data(BROADCAST, ci, data, asyncio.get_running_loop().time(), tries=1)
    await drive(link, transport)


async def read_meter(
    transport: Transport,
    link: Link,
    address: int | SecondaryAddress,
    *,
    way: Way = _USUAL_WAY,
    key: bytes | None = None,
    memory: Memory | None = None,
    probe: bool = False,
) -> Complete | Failed:
    """One conversation with one meter: all its telegrams, or why there are none.

    Where the meter's way has a line of its own, the port and ``link`` are switched to it, and back
    before this returns or raises.

    Args:
        transport: open.
        link: of the same bus; it keeps the FCB from one conversation to the next.
        address: primary (0 to 250, 254) or secondary, also with wildcards.
        way: how the meter wants to be read.
        key: AES-128 key of the meter, 16 bytes.
        memory: what earlier conversations left; None for first contact.
        probe: give up after one try that nobody answers.

    Raises:
        BrokenOffError: the port is gone.
        TransportLineError: the port cannot be switched to the meter's line; nothing was sent.
        KeyLengthError: the key has not 16 bytes.
    """
    hear_leftovers(transport, link)
    meter = address if isinstance(address, SecondaryAddress) and not address.is_wildcard else None
    memory = Memory() if memory is None else memory
    decode = partial(decode_telegram, key=key, meter=meter, formats=memory.formats)
    readout = Readout(link, address, decode, way=way, memory=memory, probe=probe)
    if way.baudrate is None and way.timeout is None and way.wake_up is None:
        readout.start(asyncio.get_running_loop().time())
        return await drive(readout, transport)
    async with _spoken_to(transport, link, way):
        if way.wake_up is not None:
            await _wake_up(transport, link, way.wake_up)
        readout.start(asyncio.get_running_loop().time())
        return await drive(readout, transport)


@asynccontextmanager
async def _spoken_to(transport: Transport, link: Link, way: Way) -> AsyncIterator[None]:
    """The port and the link as the meter wants them, and as they were again afterwards.

    Raises:
        BrokenOffError: the port is gone, or cannot be switched back.
        TransportLineError: the port cannot be switched.
    """
    timing = link.timing
    own_line = Line(way.baudrate or transport.line.baudrate, transport.line.parity)
    try:
        async with _line(transport, own_line):
            link.set_timing(timing_of(timing, way))
            yield
    except BrokenOffError:
        raise
    except TransportLostError as error:
        raise BrokenOffError(error, Effort()) from None
    finally:
        link.set_timing(timing)


@asynccontextmanager
async def _line(transport: Transport, line: Line) -> AsyncIterator[None]:
    """The port's line for a while, and the one it had again afterwards, also when cancelled.

    Raises:
        TransportLostError: the port is gone. One that cannot be switched back is lost to its bus,
            and closed.
        TransportLineError: the port cannot be switched.
    """
    before = transport.line
    try:
        if line != before:
            await transport.set_line(baudrate=line.baudrate, parity=line.parity)
        yield
    except TransportLostError:
        raise  # once it is opened again, its line is the bus's
    except BaseException:
        await _set_back(transport, before)
        raise
    else:
        await _set_back(transport, before)


async def _set_back(transport: Transport, line: Line) -> None:
    if transport.line == line:
        return
    try:
        await transport.set_line(baudrate=line.baudrate, parity=line.parity)
    except TransportLineError as error:
        await transport.close()
        raise TransportLostError(error.port, f"not switched back: {error.problem}") from None


async def _wake_up(transport: Transport, link: Link, wake_up: WakeUp) -> None:
    """Send the characters that wake a meter, and drop what they bring.

    Raises:
        TransportLostError: the port is gone.
        TransportLineError: the port cannot send with such a parity.
    """
    loop = asyncio.get_running_loop()
    baudrate = transport.line.baudrate
    bits = BITS if wake_up.parity == "even" else BITS - 1
    count = max(1, round(wake_up.duration * baudrate / bits))
    async with _line(transport, Line(baudrate, wake_up.parity)):
        end = loop.time() + count * bits / baudrate
        await transport.write(bytes((wake_up.byte,)) * count)
        # What is written behind a network arrives later, by half of what the way adds.
        await asyncio.sleep(end - loop.time() + link.timing.latency / 2)
    await asyncio.sleep(wake_up.pause)
    transport.discard_input()
