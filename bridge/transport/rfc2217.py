"""A serial port of another machine, with its settings: Telnet and RFC 2217.

pyserial has a client for this too, but it blocks and lives in threads; on an event loop the
protocol is small. Telnet: RFC 854 and 855; binary transmission: RFC 856.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bridge.transport.base import (
    Line,
    Parity,
    TransportLineError,
    TransportLostError,
    TransportOpenError,
)
from bridge.transport.tcp import CONNECT_TIMEOUT, Connection, NetworkTransport

# Telnet commands (RFC 854).
IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240

# Telnet options.
BINARY = 0  # RFC 856
SUPPRESS_GO_AHEAD = 3  # RFC 858
COM_PORT = 44  # RFC 2217

# RFC 2217, 3: what the client sends; the server answers with 100 more.
SET_BAUDRATE = 1  # 4 bytes
SET_DATASIZE = 2
SET_PARITY = 3
SET_STOPSIZE = 4
SET_CONTROL = 5
NOTIFY_LINESTATE = 6  # the server's alone
SET_LINESTATE_MASK = 10
SET_MODEMSTATE_MASK = 11
PURGE_DATA = 12
_ANSWER = 100

_LONGEST_COMMAND = 1024  # bytes; those of RFC 2217 have about ten, a greeting may have more

_PARITY: dict[Parity, int] = {"none": 1, "even": 3}
# Bits of NOTIFY-LINESTATE (RFC 2217, 3): break, framing, parity and overrun error.
_LINE_ERRORS = 0x10 | 0x08 | 0x04 | 0x02
_NO_FLOW_CONTROL, _DTR_ON, _RTS_ON = 1, 8, 11
_PURGE_BOTH = 3

_WE_WANT_TO = frozenset({BINARY, SUPPRESS_GO_AHEAD, COM_PORT})
_NEEDED = frozenset({BINARY, COM_PORT})
_THEY_SHALL = frozenset({BINARY, SUPPRESS_GO_AHEAD})
_THEY_MAY = _THEY_SHALL | {COM_PORT}  # a few servers offer what is the client's to offer


@dataclass(slots=True)
class Telnet:
    """The client's half of Telnet: bytes of the network in, bytes of the bus and answers out.

    ``agreed`` are our options that the server has accepted, ``refused`` those it has not;
    ``settings`` are the server's answers to what was set, by what was set; ``line_errors`` counts
    how often it has told of an error on the wire.
    """

    agreed: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    settings: dict[int, bytes] = field(default_factory=dict)
    line_errors: int = 0
    _outgoing: bytearray = field(default_factory=bytearray)
    _said: set[tuple[int, int]] = field(default_factory=set)
    _pending: bytearray = field(default_factory=bytearray)  # an unfinished command

    def start(self) -> None:
        for option in sorted(_WE_WANT_TO):
            self._say(WILL, option)
        for option in sorted(_THEY_SHALL):
            self._say(DO, option)

    def to_send(self) -> bytes:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the network; return those of the bus that were among them."""
        self._pending += data
        found = bytearray()
        while self._pending:
            start = self._pending.find(IAC)
            if start != 0:
                end = len(self._pending) if start < 0 else start
                found += self._pending[:end]
                del self._pending[:end]
                continue
            length = self._command_length()
            if length is None:
                if len(self._pending) > _LONGEST_COMMAND:
                    del self._pending[0]  # no command is that long: this was none
                    continue
                break
            command = bytes(self._pending[:length])
            del self._pending[:length]
            if command[1] == IAC:
                found.append(IAC)
            elif command[1] == SB:
                self._subnegotiated(command[2:-2].replace(bytes((IAC, IAC)), bytes((IAC,))))
            elif length == 3:
                self._negotiated(command[1], command[2])
        return bytes(found)

    def set(self, what: int, value: bytes) -> None:
        """Set something of the serial port; the answer will stand in ``settings``."""
        self.settings.pop(what, None)
        body = bytes((COM_PORT, what)) + escape(value)
        self._outgoing += bytes((IAC, SB)) + body + bytes((IAC, SE))

    def _command_length(self) -> int | None:
        """How long the command at the front is; None where more bytes must come."""
        pending = self._pending
        if len(pending) < 2:
            return None
        if pending[1] in (WILL, WONT, DO, DONT):
            return 3 if len(pending) >= 3 else None
        if pending[1] != SB:
            return 2
        position = 2
        while (position := pending.find(IAC, position)) >= 0 and position + 1 < len(pending):
            if pending[position + 1] == SE:
                return position + 2
            position += 2
        return None

    def _negotiated(self, verb: int, option: int) -> None:
        if verb == DO:
            if option in _WE_WANT_TO:
                self.agreed.add(option)
            self._say(WILL if option in _WE_WANT_TO else WONT, option)
        elif verb == DONT:
            self.agreed.discard(option)
            self.refused.add(option)
            self._say(WONT, option)
        elif verb == WILL:
            self._say(DO if option in _THEY_MAY else DONT, option)
        else:
            self._say(DONT, option)

    def _say(self, verb: int, option: int) -> None:
        # Each thing once: two parties that answer each other's answers never end (RFC 1143).
        if (verb, option) not in self._said:
            self._said.add((verb, option))
            self._outgoing += bytes((IAC, verb, option))

    def _subnegotiated(self, body: bytes) -> None:
        if len(body) < 2 or body[0] != COM_PORT or body[1] < _ANSWER:
            return
        if body[1] == NOTIFY_LINESTATE + _ANSWER:
            self.line_errors += len(body) > 2 and bool(body[2] & _LINE_ERRORS)
        else:
            self.settings[body[1] - _ANSWER] = body[2:]


def escape(data: bytes) -> bytes:
    """Bytes of the bus as they go over Telnet."""
    return data.replace(bytes((IAC,)), bytes((IAC, IAC)))


class Rfc2217Transport(NetworkTransport):
    """The serial port behind ``host:port``, set to 8 data bits and 1 stop bit.

    The server is asked to tell of errors on the wire. It can tell that there was one, but not
    where, and a little late; so what waits is broken then, and what comes until the next request.
    Servers need not tell, and many do not: this guards no parity.

    Args:
        name: the port as the user wrote it.
        host: name or address of the server.
        port: TCP port, 1 to 65535.
        baudrate: 300 to 38400.
        parity: as for a serial port.
        connect_timeout: seconds for the lookup of a name, once more for the connection, and once
            more for the settings.
    """

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        baudrate: int = 2400,
        parity: Parity = "even",
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self._bus_line = Line(baudrate, parity)
        super().__init__(name, host, port, self._bus_line, connect_timeout=connect_timeout)
        self._telnet = Telnet()
        self._told = asyncio.Event()  # the server said something, or left
        self._errors_known = 0  # of the server's line errors
        self._spoilt = False  # one was told since the last request

    @property
    def guards_parity(self) -> bool:
        return False

    async def open(self) -> None:
        self._telnet = Telnet()
        self._line = self._bus_line
        self._errors_known, self._spoilt = 0, False
        try:
            connection = await self._connect()
            async with asyncio.timeout(self._connect_timeout):
                await self._negotiate(connection)
        except TimeoutError:
            await self.close()
            raise TransportOpenError(
                self._name,
                f"{self._host} accepts the connection, but does not answer as RFC 2217 demands",
                f"Is it a plain TCP gateway? Then write tcp://{self._host}:{self._port}",
            ) from None
        except TransportLostError as error:
            await self.close()
            raise TransportOpenError(
                self._name,
                f"{self._host} hangs up while the port is being set ({error.problem})",
                "Most servers take one client at a time: is another one connected?",
            ) from None
        except BaseException:
            await self.close()
            raise
        self._inbox.take()

    async def _negotiate(self, connection: Connection) -> None:
        telnet = self._telnet
        telnet.start()
        connection.write(telnet.to_send())
        await self._until(lambda: bool(telnet.refused & _NEEDED) or telnet.agreed >= _NEEDED)
        if telnet.refused & _NEEDED:
            raise TransportOpenError(
                self._name,
                f"{self._host} speaks Telnet, but not RFC 2217",
                f"Switch RFC 2217 on there, or write tcp://{self._host}:{self._port} and set "
                "the baud rate on the gateway's own page",
            )
        wanted = _settings(self._line) | {SET_DATASIZE: bytes((8,)), SET_STOPSIZE: bytes((1,))}
        for what, value in wanted.items():
            telnet.set(what, value)
        # Asked for, but not insisted on: some converters live on DTR and RTS.
        for control in (_NO_FLOW_CONTROL, _DTR_ON, _RTS_ON):
            telnet.set(SET_CONTROL, bytes((control,)))
        telnet.set(SET_LINESTATE_MASK, bytes((_LINE_ERRORS,)))
        telnet.set(SET_MODEMSTATE_MASK, bytes((0,)))
        telnet.set(PURGE_DATA, bytes((_PURGE_BOTH,)))
        connection.write(telnet.to_send())
        refused = await self._refused(wanted)
        if refused:
            raise TransportOpenError(
                self._name,
                f"{self._host} refuses {refused}",
                "Its serial port may be fixed on the server's side: change it there",
            )

    async def set_line(self, *, baudrate: int, parity: Parity) -> None:
        connection = self._connected()
        line, before = Line(baudrate, parity), self._line
        if line == before:
            return
        wanted = _settings(line)
        self._line = line  # also where this is cancelled: then the server may have done it
        self._set(connection, line)
        try:
            async with asyncio.timeout(self._connect_timeout):
                refused = await self._refused(wanted)
                if refused:
                    self._set(connection, before)
                    await self._refused(_settings(before))
        except TimeoutError:
            self._set(connection, before)
            raise TransportLineError(
                self._name,
                f"{self._host} does not confirm {baudrate} baud, parity {parity}",
                "It may be able to change its serial port only between two connections: give "
                "all meters of this bus one baud rate",
            ) from None
        if refused:
            raise TransportLineError(
                self._name,
                f"{self._host} refuses {refused}",
                "Its serial port may be fixed on the server's side: change it there",
            )

    def _set(self, connection: Connection, line: Line) -> None:
        for what, value in _settings(line).items():
            self._telnet.set(what, value)
        connection.write(self._telnet.to_send())
        self._line = line

    async def _refused(self, wanted: dict[int, bytes]) -> str:
        """Wait for the server's answers; what of it it has not done, in words."""
        telnet = self._telnet
        await self._until(lambda: wanted.keys() <= telnet.settings.keys())
        names = {
            SET_BAUDRATE: f"{self._line.baudrate} baud",
            SET_DATASIZE: "8 data bits",
            SET_PARITY: f"parity {self._line.parity}",
            SET_STOPSIZE: "1 stop bit",
        }
        return " and ".join(
            names[what]
            for what in names
            if what in wanted and telnet.settings[what] != wanted[what]
        )

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._inbox.check()
            self._told.clear()
            await self._told.wait()

    def _received(self, data: bytes) -> None:
        payload = self._telnet.receive(data)
        if self._telnet.line_errors != self._errors_known:
            self._errors_known = self._telnet.line_errors
            self._spoilt = True
            self._inbox.spoil()
        if payload:
            self._inbox.put(payload, range(len(payload)) if self._spoilt else ())
        # Without a connection, `open` has not got it back yet, and will send this itself.
        if self._connection is not None and (answer := self._telnet.to_send()):
            self._connection.write(answer)
        self._told.set()

    def _lost(self, problem: str) -> None:
        super()._lost(problem)
        self._told.set()

    async def write(self, data: bytes) -> None:
        self._spoilt = False
        await super().write(escape(data))


def _settings(line: Line) -> dict[int, bytes]:
    """What says so in RFC 2217."""
    return {
        SET_BAUDRATE: line.baudrate.to_bytes(4, "big"),
        SET_PARITY: bytes((_PARITY[line.parity],)),
    }
