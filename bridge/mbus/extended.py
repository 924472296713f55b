"""The extended link layer: what radio puts between the frame and the telegram (EN 13757-4).

On the wire nobody needs it. It comes through converters that pass on what they heard by radio, and
is skipped: the telegram is behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from bridge.mbus.crc import checksum
from bridge.mbus.errors import TelegramError

# Communication control and access number come first. The long forms name the other end of the radio
# link (8E, 8F); the secured ones have a session number and a checksum (8D, 8F), at the end.
LENGTHS = {0x8C: 2, 0x8D: 8, 0x8E: 10, 0x8F: 16}
_SECURED = (0x8D, 0x8F)
_SESSION_AND_CHECKSUM = 6

# The three highest bits of the session number; the others of the eight are reserved.
_METHODS = {0: "none", 1: "AES-128-CTR"}


class Extended(NamedTuple):
    """The extended link layer of a frame.

    ``encryption`` is "none", or the method. ``intact`` is whether the checksum, where there is one,
    fits the content; of an encrypted content nobody knows. ``content`` is all that follows, CI
    field first.
    """

    encryption: str
    intact: bool
    content: bytes


def decode_extended(ci: int, data: bytes) -> Extended:
    """The extended link layer after CI 8C to 8F, and what it carries.

    Raises:
        TelegramError: the frame ends within it.
    """
    length = LENGTHS[ci]
    content = data[length:]
    if not content:
        raise TelegramError("the frame ends within its extended link layer")
    if ci not in _SECURED:
        return Extended("none", True, content)
    session, sent = data[length - _SESSION_AND_CHECKSUM : length - 2], data[length - 2 : length]
    method = session[3] >> 5
    if method:
        return Extended(_METHODS.get(method, f"reserved method {method}"), True, content)
    return Extended("none", checksum(content) == int.from_bytes(sent, "little"), content)
