"""AES-128 keys: kept outside the configuration, and never in a message."""

from __future__ import annotations

import os
import re

from bridge.config.model import Key
from bridge.errors import BridgeError


class KeyTextError(BridgeError):
    """A key cannot be read; the message says why, and holds nothing of the key."""


def parse_key(text: str) -> bytes:
    """The 16 bytes of 32 hex digits; blanks and colons between bytes do not count.

    Raises:
        KeyTextError: it is something else.
    """
    digits = re.sub(r"[\s:]", "", text)
    if not digits:
        raise KeyTextError("there is no key in it")
    if not re.fullmatch("[0-9A-Fa-f]*", digits):
        raise KeyTextError("what is in it is not all hex digits")
    if len(digits) != 32:
        raise KeyTextError(f"the key in it has {len(digits)} digits")
    return bytes.fromhex(digits)


def read_key(key: Key) -> bytes:
    """Fetch a key from its file or environment variable: 16 bytes.

    Raises:
        KeyTextError: there is none, or it is no key.
    """
    if key.file is not None:
        try:
            text = key.file.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it holds no text"
            raise KeyTextError(f"the key file {key.file} cannot be read: {why}") from None
        return parse_key(text)
    text_or_none = os.environ.get(key.env or "")
    if text_or_none is None:
        raise KeyTextError(f"the environment variable {key.env} is not set")
    return parse_key(text_or_none)
