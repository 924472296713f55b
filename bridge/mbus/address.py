"""Primary addresses are numbers, 0 to 250; secondary addresses name the meter itself.

EN 13757-2, 5.8 and EN 13757-7, 8.4 (secondary addressing). In a selection, a nibble F of the
identification number, FFFF as manufacturer, and FF as version or device type fit every meter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from bridge.mbus.control import FIRST_ADDRESS, LAST_ADDRESS
from bridge.mbus.errors import AddressError

_ANY_MANUFACTURER = 0xFFFF
_ANY_BYTE = 0xFF
_FABRICATION_NUMBER = bytes.fromhex("0C78")  # DIB and VIB: eight digits of BCD, fabrication number

_IDENTIFICATION = re.compile(r"[0-9A-F]{8}")
_MANUFACTURER = re.compile(r"[A-Z]{3}|[0-9A-F]{4}")
_HEX_BYTE = re.compile(r"[0-9A-F]{2}")
_FORMS = (
    "a primary address is a number from 0 to 250; a secondary address is 12345678 or "
    "12345678-KAM-1B-04 (identification, manufacturer, version, device type; F is any digit)"
)


@dataclass(frozen=True, slots=True)
class SecondaryAddress:
    """A meter's own address, or, with wildcards, a mask for such addresses.

    Args:
        identification: 8 hexadecimal digits in upper case; a meter's own are decimal, and ``F``
            fits any digit in a selection.
        manufacturer: 3 letters; or 4 hexadecimal digits where the word spells no letters;
            or None for any.
        version: 0 to 254, or None for any.
        device_type: 0 to 254, or None for any.

    Raises:
        AddressError: a part has another form.
    """

    identification: str
    manufacturer: str | None = None
    version: int | None = None
    device_type: int | None = None

    def __post_init__(self) -> None:
        if not _IDENTIFICATION.fullmatch(self.identification):
            raise AddressError(
                f"{self.identification!r} is no identification number: it has 8 digits, "
                "F for any digit"
            )
        if self.manufacturer is not None and not _MANUFACTURER.fullmatch(self.manufacturer):
            raise AddressError(
                f"{self.manufacturer!r} is no manufacturer: it has 3 capital letters, as KAM, or "
                "4 hex digits"
            )
        for name, value in (("version", self.version), ("device type", self.device_type)):
            if value is not None and not 0 <= value < _ANY_BYTE:
                raise AddressError(f"{value} is no {name}: it goes from 0 to 254")

    @property
    def is_wildcard(self) -> bool:
        """Whether more than one meter can have this address."""
        return (
            "F" in self.identification
            or self.manufacturer is None
            or self.version is None
            or self.device_type is None
        )

    def matches(self, other: SecondaryAddress) -> bool:
        """Whether a meter with the address ``other`` is meant by this one, the mask."""
        return (
            all(
                mask in ("F", digit)
                for mask, digit in zip(self.identification, other.identification, strict=True)
            )
            and self.manufacturer in (None, other.manufacturer)
            and self.version in (None, other.version)
            and self.device_type in (None, other.device_type)
        )

    def __str__(self) -> str:
        if self.manufacturer is None and self.version is None and self.device_type is None:
            return self.identification
        version = _ANY_BYTE if self.version is None else self.version
        device_type = _ANY_BYTE if self.device_type is None else self.device_type
        return f"{self.identification}-{self.manufacturer or 'FFF'}-{version:02X}-{device_type:02X}"


def encode_manufacturer(manufacturer: str) -> int:
    """Three letters, or four hexadecimal digits, to the word in the header (EN 13757-7, 7.5.2).

    Raises:
        AddressError: another form.
    """
    if not _MANUFACTURER.fullmatch(manufacturer):
        raise AddressError(
            f"{manufacturer!r} is no manufacturer: 3 capital letters, or 4 hex digits"
        )
    if len(manufacturer) == 4:
        return int(manufacturer, 16)
    first, second, third = (ord(letter) - 64 for letter in manufacturer)
    return first << 10 | second << 5 | third


def decode_manufacturer(word: int) -> str:
    """The word in the header to three letters.

    A word that spells no letters stays four hexadecimal digits, and so does one with bit 15 set
    (an address that is not unique in the world): a selection must send the very same word.
    `manufacturer_name` names the latter too.
    """
    letters = tuple(word >> shift & 0x1F for shift in (10, 5, 0))
    if word > 0x7FFF or not all(1 <= letter <= 26 for letter in letters):
        return f"{word:04X}"
    return "".join(chr(64 + letter) for letter in letters)


def manufacturer_name(manufacturer: str) -> str:
    """The three letters of a manufacturer, also where bit 15 marks a not unique address.

    A word that spells no letters stays as it is.
    """
    if len(manufacturer) == 4:
        letters = decode_manufacturer(int(manufacturer, 16) & 0x7FFF)
        return letters if len(letters) == 3 else manufacturer
    return manufacturer


def encode_secondary(address: SecondaryAddress) -> bytes:
    """The 8 bytes of a selection and of a long header: identification, manufacturer, and so on."""
    manufacturer = (
        _ANY_MANUFACTURER
        if address.manufacturer is None
        else encode_manufacturer(address.manufacturer)
    )
    return (
        bytes.fromhex(address.identification)[::-1]
        + manufacturer.to_bytes(2, "little")
        + bytes(
            _ANY_BYTE if part is None else part for part in (address.version, address.device_type)
        )
    )


def encode_selection(mask: SecondaryAddress, fabrication: str | None = None) -> bytes:
    """The user data of a selection, 8 bytes, or 14 with the enhanced selection.

    Args:
        mask: the address, with wildcards or without.
        fabrication: fabrication number, 8 digits, F for any digit; it goes as the data record
            ``0C 78`` (EN 13757-3, 11.4).

    Raises:
        AddressError: the fabrication number has another form.
    """
    selection = encode_secondary(mask)
    if fabrication is None:
        return selection
    if not _IDENTIFICATION.fullmatch(fabrication):
        raise AddressError(
            f"{fabrication!r} is no fabrication number: it has 8 digits, F for any digit"
        )
    return selection + _FABRICATION_NUMBER + bytes.fromhex(fabrication)[::-1]


@lru_cache(maxsize=8192)  # the same meters again and again
def decode_secondary(data: bytes) -> SecondaryAddress:
    """The 8 bytes of a selection or of a long header to an address; all ones become None.

    Raises:
        AddressError: fewer or more than 8 bytes.
    """
    if len(data) != 8:
        raise AddressError(f"a secondary address has 8 bytes, not {len(data)}")
    word = data[4] | data[5] << 8
    return SecondaryAddress(
        identification=data[3::-1].hex().upper(),
        manufacturer=None if word == _ANY_MANUFACTURER else decode_manufacturer(word),
        version=None if data[6] == _ANY_BYTE else data[6],
        device_type=None if data[7] == _ANY_BYTE else data[7],
    )


def parse_secondary(text: str) -> SecondaryAddress:
    """``12345678`` or ``12345678-KAM-1B-04`` to an address; F, FFF and FF fit everything.

    Raises:
        AddressError: the text is neither; the message shows the right forms.
    """
    identification, *rest = text.strip().upper().split("-")
    if len(rest) not in (0, 3) or not _IDENTIFICATION.fullmatch(identification):
        raise AddressError(f"{text!r} is no secondary address: {_FORMS}")
    if not rest:
        return SecondaryAddress(identification)
    manufacturer, version, device_type = rest
    if not (
        _MANUFACTURER.fullmatch(manufacturer)
        and _HEX_BYTE.fullmatch(version)
        and _HEX_BYTE.fullmatch(device_type)
    ):
        raise AddressError(f"{text!r} is no secondary address: {_FORMS}")
    return SecondaryAddress(
        identification,
        None if manufacturer in ("FFF", "FFFF") else manufacturer,
        None if version == "FF" else int(version, 16),
        None if device_type == "FF" else int(device_type, 16),
    )


def parse_address(text: str) -> int | SecondaryAddress:
    """A primary address (0 to 250) or a secondary one; eight digits are always a secondary one.

    Raises:
        AddressError: the text is neither; the message shows the right forms.
    """
    stripped = text.strip()
    if stripped.isascii() and stripped.isdigit() and len(stripped) <= 3:
        number = int(stripped)
        if FIRST_ADDRESS <= number <= LAST_ADDRESS:
            return number
        raise AddressError(f"{number} is no primary address: {_FORMS}")
    return parse_secondary(text)
