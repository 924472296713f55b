"""The checksum of compact frames and of the extended link layer: CRC-16/EN-13757.

EN 13757-3, annex G, and EN 13757-4 use the same one. A frame on the wire has another, a sum of its
bytes (`bridge.mbus.frame`).
"""

from __future__ import annotations

_POLYNOMIAL = 0x3D65


def _table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (_POLYNOMIAL if crc & 0x8000 else 0)
        table.append(crc & 0xFFFF)
    return tuple(table)


_TABLE = _table()


def checksum(data: bytes) -> int:
    """CRC-16/EN-13757: most significant bit first, from 0, complemented at the end."""
    crc = 0
    for byte in data:
        crc = crc << 8 & 0xFF00 ^ _TABLE[crc >> 8 ^ byte]
    return crc ^ 0xFFFF
