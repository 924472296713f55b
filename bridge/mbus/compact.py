"""Compact and format frames: data without their DIBs and VIBs, and these without data.

EN 13757-3, annex G. A meter whose answers differ in nothing but the data may say DIB and VIB of its
records once, in a full frame or in a format frame, and then send compact frames: a signature that
tells which DIBs and VIBs are meant, a checksum over the whole frame as it would be in full, and
the data. Who has not seen the format knows nothing of a compact frame; who has, gets the full frame
back, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bridge.mbus.crc import checksum
from bridge.mbus.dif import (
    FILLER,
    LENGTHS,
    MANUFACTURER_DATA,
    MORE_RECORDS_FOLLOW,
    DataField,
)
from bridge.mbus.errors import EncodeError, TelegramError
from bridge.mbus.record import Records
from bridge.mbus.values import variable_length
from bridge.mbus.walk import head_end

_LONGEST_LIST = 253  # a length byte counts it, and the two of the signature


class CompactError(TelegramError):
    """A compact or format frame that does not tell what it should; the message says why."""


class Format(NamedTuple):
    """The records of a frame without their data.

    ``heads`` are DIB and VIB of each record, in their order. The last one may be a DIF 0F or 1F
    alone, behind which all data are the manufacturer's. ``signature`` is the checksum over them
    all.
    """

    signature: int
    heads: tuple[bytes, ...]

    def __str__(self) -> str:
        return f"{self.signature:04X}"


class Formats:
    """The formats that a meter has told of, up to ``most``; then the one not used for longest goes.

    A format is no more than two bytes of checksum apart from another meter's, so each meter wants a
    memory of its own.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._formats: dict[int, Format] = {}
        self._learnt: dict[tuple[bytes, ...], None] = {}

    def __len__(self) -> int:
        """How many formats are known."""
        return len(self._formats)

    def find(self, signature: int) -> Format | None:
        """The format with this signature, if it is known."""
        known = self._formats.pop(signature, None)
        if known is not None:
            self._formats[signature] = known
        return known

    def learn(self, told: Format) -> None:
        """Remember a format."""
        self._formats.pop(told.signature, None)
        self._formats[told.signature] = told
        if len(self._formats) > self._most:
            del self._formats[next(iter(self._formats))]

    def learn_from(self, found: Records) -> None:
        """Remember the format of a full frame, unless it has errors: then nobody knows it all."""
        heads = heads_of(found)
        if found.errors or not found.records or heads in self._learnt:
            return
        self._learnt[heads] = None
        if len(self._learnt) > self._most:
            del self._learnt[next(iter(self._learnt))]
        self.learn(_format_of(heads))
        if found.manufacturer_data is not None:
            # Whether DIF 0F or 1F and what follows are part of it, the standard's example does not
            # show. The checksum over the whole frame tells, once there is one.
            self.learn(_format_of(heads[:-1]))


def heads_of(found: Records) -> tuple[bytes, ...]:
    """DIB and VIB of each record, and DIF 0F or 1F where there is one."""
    heads = tuple([header.dib + header.vib for header in found.records.headers])
    if found.manufacturer_data is None:
        return heads
    last = MORE_RECORDS_FOLLOW if found.more_records_follow else MANUFACTURER_DATA
    return (*heads, bytes((last,)))


def _format_of(heads: tuple[bytes, ...]) -> Format:
    return Format(checksum(b"".join(heads)), heads)


def decode_format(data: bytes) -> Format:
    """The content of a format frame: length, signature, and the list of DIBs and VIBs.

    Fillers 2F may follow it.

    Raises:
        CompactError: the list is not what length and signature say, or is no list of DIBs and VIBs.
    """
    if len(data) < 3 or data[0] < 2 or len(data) <= data[0]:
        raise CompactError(f"a format frame of {len(data)} bytes ends before its list does")
    end = data[0] + 1
    if data[end:].strip(bytes((FILLER,))):
        raise CompactError(f"{len(data) - end} bytes behind the list of a format frame")
    signature, block = int.from_bytes(data[1:3], "little"), data[3:end]
    counted = checksum(block)
    if counted != signature:
        raise CompactError(f"format frame of format {signature:04X}, but its list is {counted:04X}")
    # The text of a plain-text VIF stands before its VIFEs or behind them, as in a full frame.
    for text_first in (True, False):
        heads = _split(block, text_first=text_first)
        if heads is not None:
            return Format(signature, heads)
    raise CompactError("a format frame whose list is none of DIBs and VIBs")


def _split(block: bytes, *, text_first: bool) -> tuple[bytes, ...] | None:
    heads: list[bytes] = []
    offset = 0
    while offset < len(block):
        dif = block[offset]
        end: int | None
        if dif & 0x0F != DataField.SPECIAL:
            end = head_end(block, offset, text_first=text_first)
        elif dif in (MANUFACTURER_DATA, MORE_RECORDS_FOLLOW) and offset + 1 == len(block):
            end = offset + 1
        else:
            end = None
        if end is None:
            return None
        heads.append(block[offset:end])
        offset = end
    return tuple(heads)


_ANNOUNCEMENT = 4  # bytes before the data: signature and checksum


def expand(data: bytes, formats: Formats | None) -> bytes:
    """The content of a compact frame, as a full frame has it.

    Args:
        data: signature, checksum, and the data of each record. Fillers 2F may follow.
        formats: those that this meter has told.

    Raises:
        CompactError: its format is not known, or the full frame is not the one that the meter
            took its checksum of. Then no value of it can be trusted.
    """
    if len(data) < _ANNOUNCEMENT:
        raise CompactError(f"a compact frame of {len(data)} bytes, where 4 stand before the data")
    signature = int.from_bytes(data[:2], "little")
    known = None if formats is None else formats.find(signature)
    if known is None:
        raise CompactError(
            f"compact frame of format {signature:04X}, which is not known yet: "
            "no full frame and no format frame has told it"
        )
    sent = int.from_bytes(data[2:_ANNOUNCEMENT], "little")
    content = data[_ANNOUNCEMENT:]
    standard = _interleave(known.heads, content, doubled=False)
    if standard is not None and checksum(standard) == sent:
        return standard
    # Some meters count the bytes of BCD digits of variable length in another way.
    other = _interleave(known.heads, content, doubled=True)
    if other is not None and checksum(other) == sent:
        return other
    if standard is None:
        raise CompactError(f"compact frame of format {known}, which its data do not fit")
    raise CompactError(
        f"compact frame of format {known}: "
        f"checksum {sent:04X}, but the full frame gives {checksum(standard):04X}"
    )


def _interleave(heads: Iterable[bytes], data: bytes, *, doubled: bool) -> bytes | None:
    parts: list[bytes] = []
    offset = 0
    for head in heads:
        data_field = head[0] & 0x0F
        end = offset + LENGTHS[data_field]
        if data_field == DataField.SPECIAL:
            end = len(data)
        elif data_field == DataField.VARIABLE:
            length = None if end >= len(data) else variable_length(data[end], doubled=doubled)
            if length is None:
                return None
            end += 1 + length
        if end > len(data):
            return None
        parts += (head, data[offset:end])
        offset = end
    return None if data[offset:].strip(bytes((FILLER,))) else b"".join(parts)


def encode_format(found: Records) -> bytes:
    """The content of a format frame for these records.

    Raises:
        EncodeError: they were not read without errors, or their list has more than 253 bytes.
    """
    block = b"".join(_encodable(found))
    if len(block) > _LONGEST_LIST:
        raise EncodeError(f"DIBs and VIBs of {len(block)} bytes, where 253 can be told")
    return bytes((len(block) + 2,)) + checksum(block).to_bytes(2, "little") + block


def encode_compact(found: Records) -> bytes:
    """The content of a compact frame for these records.

    Raises:
        EncodeError: they were not read without errors.
    """
    heads = _encodable(found)
    data = [record.data for record in found.records]
    if found.manufacturer_data is not None:
        data.append(found.manufacturer_data)
    full = b"".join(head + content for head, content in zip(heads, data, strict=True))
    signature = checksum(b"".join(heads)).to_bytes(2, "little")
    return signature + checksum(full).to_bytes(2, "little") + b"".join(data)


def _encodable(found: Records) -> tuple[bytes, ...]:
    if found.errors:
        raise EncodeError(f"records with an error have no format: {found.errors[0]}")
    return heads_of(found)
