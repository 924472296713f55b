"""Encrypted telegrams: security modes 5 and 7 (EN 13757-7, 7 and 9; OMS Specification Vol. 2, 9).

Mode 5: AES-128-CBC with the meter's own key, initialised from the header. Mode 7: AES-128-CBC with
a key derived for each message, authenticated by the layer (AFL) around the telegram. A key never
appears in a message or a log.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from hmac import compare_digest
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

from bridge.mbus.control import HeaderKind
from bridge.mbus.errors import EncodeError, KeyLengthError, TelegramError

KEY_LENGTH = 16
BLOCK = 16
_NO_KEY = "encrypted, and there is no key"
_CHECK = b"\x2f\x2f"  # every plaintext begins with two idle fillers

# The configuration field (EN 13757-7, 7.5.8).
_MODE_5 = 5
_MODE_7 = 7
# Methods that have a name (EN 13757-7, 7.5.8), and no support here.
_METHODS = {
    1: "the manufacturer's own",
    2: "DES-CBC",
    3: "DES-CBC with the header as vector",
    4: "AES-128-CBC without a vector",
    8: "AES-128-CTR",
    9: "AES-128-GCM",
    10: "AES-128-CCM",
    13: "TLS",
    15: "specific usage",
}
_COUNTER_PRESENT = 0x2000  # mode 7, bit Z
_FIRST_UNDEFINED_MODE = 16  # below it, every mode is defined or reserved

# The configuration field extension of mode 7.
_KEY_VERSION_PRESENT = 0x40
_KDF = 0x30
_KDF_A = 0x10

# Constants of the key derivation, from the meter.
_DERIVE_ENCRYPTION = b"\x00"
_DERIVE_AUTHENTICATION = b"\x01"

# The fragmentation control field of the AFL, and its message control field.
_MORE_FRAGMENTS = 0x4000
_MCL_PRESENT = 0x2000
_ML_PRESENT = 0x1000
_MCR_PRESENT = 0x0800
_MAC_PRESENT = 0x0400
_KI_PRESENT = 0x0200
_MAC_LENGTHS = {3: 2, 4: 4, 5: 8, 6: 12, 7: 16}  # AES-CMAC; 8 and 9 are GMAC


class Security(Enum):
    """What became of a telegram's encryption."""

    PLAIN = "not encrypted"
    DECRYPTED = "decrypted"
    NO_KEY = "encrypted, and there is no key"
    WRONG_KEY = "the key does not fit"
    DAMAGED = "decrypted, but what comes out is no telegram"
    NOT_AUTHENTIC = "the authentication code does not fit"
    NO_ADDRESS = "encrypted with the meter's address, which the telegram does not tell"
    TRUNCATED = "fewer encrypted bytes than the telegram says"
    UNSUPPORTED = "a method that is not supported"


class Doubt(Enum):
    """How far the configuration field can be believed. Old meters call it signature, and fill it
    with anything."""

    NONE = "it means what it says"
    SOME = "it could mean encryption"
    GRAVE = "it cannot mean encryption"


class Opened(NamedTuple):
    """A payload, or why there is none.

    ``data`` is the plaintext, from ``offset`` on, with all before it in its place; None where it
    cannot be read, and then ``reason`` says why. With a ``doubt`` the data may not be encrypted at
    all.
    """

    security: Security
    encryption: str = "none"
    data: bytes | None = None
    offset: int = 0
    reason: str = ""
    doubt: Doubt = Doubt.NONE
    counter: bytes | None = None  # of mode 7, or of the AFL whose code was checked
    authentic: bool = False  # the authentication code was checked, and fits
    end: int = 0  # behind the last decrypted byte


class Afl(NamedTuple):
    """The authentication and fragmentation layer (EN 13757-7, 6).

    ``authenticated`` are its own fields that the code covers, ``mac`` the code, None where there is
    none, ``mac_length`` how long it should be, None for another method than AES-CMAC. ``content``
    is all that follows, CI field first. ``counter`` are the 4 bytes of the message counter.
    """

    fragmented: bool
    counter: bytes | None
    mac: bytes | None
    mac_length: int | None
    authenticated: bytes
    content: bytes


def decode_afl(data: bytes) -> Afl:
    """The AFL after CI 90, and what it carries.

    Raises:
        TelegramError: the bytes end within it, or its length contradicts its fields.
    """
    if not data or len(data) < 2 + data[0]:
        raise TelegramError("the frame ends within its AFL")
    fields, content = data[1 : 1 + data[0]], data[1 + data[0] :]
    control = int.from_bytes(fields[:2], "little")
    position = 2
    parts: list[bytes] = []
    for bit, length in ((_MCL_PRESENT, 1), (_KI_PRESENT, 2), (_MCR_PRESENT, 4)):
        end = position + (length if control & bit else 0)
        parts.append(fields[position:end])
        position = end
    # Behind them stand the code, which takes what is left, and the message length.
    code_end = len(fields) - (2 if control & _ML_PRESENT else 0)
    if code_end < position:
        raise TelegramError(f"an AFL of {len(fields)} bytes cannot hold all that it announces")
    mcl, ki, counter = parts
    return Afl(
        bool(control & _MORE_FRAGMENTS),
        counter or None,
        fields[position:code_end] if control & _MAC_PRESENT else None,
        _MAC_LENGTHS.get(mcl[0] & 0x0F) if mcl else None,
        mcl + ki + counter + fields[code_end:],
        content,
    )


def open_payload(
    data: bytes,
    offset: int,
    configuration: int,
    key: bytes | None = None,
    address: bytes | None = None,
    afl: Afl | None = None,
) -> Opened:
    """Decrypt what follows the header, if it is encrypted.

    Args:
        data: the user data, header first.
        offset: how long the header is: 4 or 12 bytes.
        configuration: its configuration field.
        key: the meter's own key.
        address: the 8 bytes of the meter's address, where the header has none.
        afl: the layer around the telegram, if it came in one.

    Raises:
        KeyLengthError: the key has not 16 bytes.
    """
    if key is not None and len(key) != KEY_LENGTH:
        raise KeyLengthError(len(key))
    if offset == HeaderKind.LONG.value:
        address = data[:8]
    mode = configuration >> 8 & 0x1F
    blocks = configuration >> 4 & 0x0F
    if mode == _MODE_5 and blocks:
        return _open_mode_5(data, offset, blocks, key, address, access_number=data[offset - 4])
    if mode == _MODE_7:
        has_counter = bool(configuration & _COUNTER_PRESENT)
        opened = _open_mode_7(data, offset, blocks, has_counter, key, address, afl)
        return _authenticated(opened, key, address, afl)
    if mode in (0, _MODE_5):
        plain = Opened(Security.PLAIN, data=data, offset=offset)
        return plain if mode else _authenticated(plain, key, address, afl)
    return _unsupported(mode)


@lru_cache(maxsize=32)  # as many as there are modes
def _unsupported(mode: int) -> Opened:
    name = f"mode {mode}"
    method = f" ({_METHODS[mode]})" if mode in _METHODS else ""
    reason = f"security {name}{method} is not supported"
    doubt = Doubt.SOME if mode < _FIRST_UNDEFINED_MODE else Doubt.GRAVE
    return Opened(Security.UNSUPPORTED, name, reason=reason, doubt=doubt)


def _open_mode_5(
    data: bytes,
    offset: int,
    blocks: int,
    key: bytes | None,
    address: bytes | None,
    *,
    access_number: int,
) -> Opened:
    name, end = "mode 5", offset + blocks * BLOCK
    if end > len(data):
        reason = f"{blocks} encrypted blocks, but only {len(data) - offset} bytes"
        return Opened(Security.TRUNCATED, name, reason=reason, doubt=Doubt.SOME)
    # An adapter may have decrypted it and left the header as it was. By chance one ciphertext in
    # 65536 begins like this, and its records hardly make sense.
    doubt = Doubt.GRAVE if data.startswith(_CHECK, offset) else Doubt.NONE
    if key is None:
        return Opened(Security.NO_KEY, name, reason=_NO_KEY, doubt=doubt)
    if address is None:
        return Opened(Security.NO_ADDRESS, name, reason=Security.NO_ADDRESS.value)
    plain = _decrypt(key, initial_vector(address, access_number), data[offset:end])
    return _checked(name, data, offset, end, plain)._replace(doubt=doubt)


def initial_vector(address: bytes, access_number: int) -> bytes:
    """Mode 5: manufacturer, identification, version, device type, 8 times the access number.

    ``address`` has the 8 bytes in the order of a long header, identification first.
    """
    return address[4:6] + address[:4] + address[6:8] + bytes((access_number,)) * 8


def _open_mode_7(
    data: bytes,
    offset: int,
    blocks: int,
    has_counter: bool,
    key: bytes | None,
    address: bytes | None,
    afl: Afl | None,
) -> Opened:
    name = "mode 7"
    extension = data[offset] if offset < len(data) else 0
    start = offset + 1
    counter = afl.counter if afl is not None else None
    if has_counter:
        counter = counter or data[start : start + 4]
        start += 4
    if extension & _KEY_VERSION_PRESENT:
        start += 1
    end = start + blocks * BLOCK
    if end > len(data):
        reason = f"{blocks} encrypted blocks, but only {max(0, len(data) - start)} bytes"
        return Opened(Security.TRUNCATED, name, reason=reason, doubt=Doubt.SOME)
    if blocks == 0:
        return Opened(Security.PLAIN, data=data, offset=start, counter=counter)
    if key is None:
        return Opened(Security.NO_KEY, name, reason=_NO_KEY)
    if address is None:
        return Opened(Security.NO_ADDRESS, name, reason=Security.NO_ADDRESS.value)
    if extension & _KDF != _KDF_A or counter is None:
        missing = "the message counter is missing"
        reason = missing if counter is None else "another key derivation than KDF-A"
        return Opened(Security.UNSUPPORTED, name, reason=reason)
    derived = derive_key(key, _DERIVE_ENCRYPTION, counter, address[:4])
    plain = _decrypt(derived, bytes(BLOCK), data[start:end])
    return _checked(name, data, start, end, plain)._replace(counter=counter)


def _authenticated(
    opened: Opened, key: bytes | None, address: bytes | None, afl: Afl | None
) -> Opened:
    """The same where its authentication code fits, or there is none, or nothing to check it by."""
    if opened.data is None or key is None or afl is None or afl.mac is None:
        return opened
    counter = afl.counter or opened.counter
    if counter is None or address is None:
        return opened
    name = opened.encryption
    if afl.mac_length is None:
        reason = "another authentication than AES-CMAC"
        return Opened(Security.UNSUPPORTED, name, reason=reason)
    derived = derive_key(key, _DERIVE_AUTHENTICATION, counter, address[:4])
    code = _cmac(derived, afl.authenticated + afl.content)[: afl.mac_length]
    if not compare_digest(code, afl.mac):
        reason = "the authentication code does not fit"
        return Opened(Security.NOT_AUTHENTIC, name, reason=reason)
    return opened._replace(counter=counter, authentic=True)


def derive_key(key: bytes, purpose: bytes, counter: bytes, identification: bytes) -> bytes:
    """KDF-A: a key for one message and one purpose (EN 13757-7, 9.6)."""
    return _cmac(key, purpose + counter + identification + b"\x07" * 7)


def _cmac(key: bytes, message: bytes) -> bytes:
    cmac = CMAC(AES128(key))
    cmac.update(message)
    return cmac.finalize()


def _decrypt(key: bytes, vector: bytes, data: bytes) -> bytes:
    decryptor = Cipher(AES128(key), CBC(vector)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _checked(name: str, data: bytes, start: int, end: int, plain: bytes) -> Opened:
    if not plain.startswith(_CHECK):
        return Opened(Security.WRONG_KEY, name, reason="the key does not fit")
    return Opened(Security.DECRYPTED, name, data[:start] + plain + data[end:], start, end=end)


def encrypt_mode_5(plain: bytes, key: bytes, address: bytes, access_number: int) -> bytes:
    """Records as a meter encrypts them: fillers in front, and behind to fill the last block.

    Args:
        plain: the data records, up to 238 bytes.
        key: 16 bytes.
        address: the 8 bytes of the long header.
        access_number: that of the header.

    Returns:
        N blocks; the header's configuration field has to be `configuration_mode_5` of them.

    Raises:
        KeyLengthError: the key has not 16 bytes.
        EncodeError: more than 15 blocks.
    """
    if len(key) != KEY_LENGTH:
        raise KeyLengthError(len(key))
    padded = _CHECK + plain
    padded += b"\x2f" * (-len(padded) % BLOCK)
    if len(padded) > 15 * BLOCK:
        raise EncodeError(f"{len(plain)} bytes, where 15 blocks hold 238")
    encryptor = Cipher(AES128(key), CBC(initial_vector(address, access_number))).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def configuration_mode_5(encrypted: bytes) -> int:
    """The configuration field that announces these blocks."""
    return _MODE_5 << 8 | len(encrypted) // BLOCK << 4
