"""What a terminal driver writes between the bytes where it marks errors: PARMRK of POSIX.

POSIX.1-2024, 11.2.2 (General Terminal Interface, Input Modes): with INPCK and PARMRK set, and
BRKINT, IGNBRK, IGNPAR and ISTRIP not set, a character with a parity or framing error is read as
FF 00 and the character, a break as FF 00 00, and a sound FF as FF FF. Pure.
"""

from __future__ import annotations

from bridge.transport.base import Received

_ESCAPE = 0xFF
_MARK = 0x00


class MarkedStream:
    """Takes the marks out again, wherever the driver's bytes were split."""

    def __init__(self) -> None:
        self._pending = b""  # of an unfinished mark: FF, or FF 00

    def reset(self) -> None:
        """The stream begins anew, as after a change of the line."""
        self._pending = b""

    def decode(self, raw: bytes) -> Received:
        """Take what was read; return the bytes of the wire in it, and which of them are broken.

        A break counts as one broken 00. An FF with anything else behind it is no driver's mark:
        both bytes are taken as they are, and as broken.
        """
        if not self._pending and _ESCAPE not in raw:
            return Received(raw)
        raw = self._pending + raw
        data = bytearray()
        broken: list[int] = []
        position = 0
        while (escape := raw.find(_ESCAPE, position)) >= 0:
            data += raw[position:escape]
            kind = raw[escape + 1 : escape + 2]
            if kind == bytes((_ESCAPE,)):
                data.append(_ESCAPE)
                position = escape + 2
            elif kind == bytes((_MARK,)):
                if len(raw) < escape + 3:
                    position = escape
                    break
                broken.append(len(data))
                data.append(raw[escape + 2])
                position = escape + 3
            elif kind:
                broken += [len(data), len(data) + 1]
                data += raw[escape : escape + 2]
                position = escape + 2
            else:
                position = escape
                break
        else:
            data += raw[position:]
            position = len(raw)
        self._pending = raw[position:]
        return Received(bytes(data), tuple(broken))
