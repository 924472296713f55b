"""The C, CI and A fields, by the names of the standards.

EN 13757-2, 5.7 (C field) and 5.8 (A field); EN 13757-7, table 2 (CI field).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

# C field: function codes of the master, without FCB.
SND_NKE = 0x40
SND_UD = 0x53
REQ_UD1 = 0x5A
REQ_UD2 = 0x5B
REQ_SKE = 0x49
# C field: function code of the slave, without ACD and DFC.
RSP_UD = 0x08

# C field: bits. 0x20 and 0x10 mean one thing from the master and another from the slave.
DIRECTION = 0x40  # 1: from the master
FCB = 0x20  # from the master: frame count bit
FCV = 0x10  # from the master: FCB is valid
ACD = 0x20  # from the slave: class 1 (alarm) data wait
DFC = 0x10  # from the slave: no more user data, please
FUNCTION = 0x0F  # the function code itself

# A field.
FIRST_ADDRESS = 0
LAST_ADDRESS = 250
NETWORK_LAYER = 253  # the slave that a secondary address selected
TEST = 254  # every slave answers
BROADCAST = 255  # every slave listens, none answers

# CI field, master to slave.
CI_APPLICATION_RESET = 0x50
CI_DATA_SEND = 0x51
CI_SELECT = 0x52
# CI field, slave to master.
CI_ALARM_NONE = 0x71
CI_RESPONSE_LONG = 0x72
CI_COMPACT_LONG = 0x73
CI_FIXED = 0x73  # with 16 bytes after it; else a compact frame
CI_REVERSED = 0x76  # most significant byte first
CI_REVERSED_FIXED = 0x77

# CI fields that set the baud rate of a slave.
CI_BAUDRATES = {
    300: 0xB8,
    600: 0xB9,
    1200: 0xBA,
    2400: 0xBB,
    4800: 0xBC,
    9600: 0xBD,
    19200: 0xBE,
    38400: 0xBF,
}


class HeaderKind(Enum):
    """The header between the CI field and the data records (EN 13757-7, 5)."""

    NONE = 0
    SHORT = 4
    LONG = 12


class Content(Enum):
    """What a CI field announces."""

    RECORDS = "records"
    APPLICATION_ERROR = "application error"
    ALARM = "alarm"
    COMPACT = "data without their DIBs and VIBs"
    FORMAT = "DIBs and VIBs without data"
    REVERSED = "records, most significant byte first"
    EXTENDED_LINK = "extended link layer"
    AUTHENTICATION = "authentication and fragmentation layer"
    OTHER = "other"


class CiRow(NamedTuple):
    """A row of the table of CI fields: ``first`` to ``last`` mean the same."""

    first: int
    last: int
    name: str
    header: HeaderKind = HeaderKind.NONE
    content: Content = Content.OTHER


_N, _S, _L = HeaderKind.NONE, HeaderKind.SHORT, HeaderKind.LONG

# EN 13757-7:2018, table 2, with the wired network layer's own 52.
CI_FIELDS = (
    CiRow(0x50, 0x50, "application reset", _N),
    CiRow(0x51, 0x51, "data send", _N),
    CiRow(0x52, 0x52, "selection of slave", _N),
    CiRow(0x53, 0x53, "application reset", _L),
    CiRow(0x54, 0x54, "request of the selected application", _N),
    CiRow(0x55, 0x55, "request of the selected application", _L),
    CiRow(0x5A, 0x5A, "command", _S),
    CiRow(0x5B, 0x5B, "command", _L),
    CiRow(0x5C, 0x5C, "synchronise action", _N),
    CiRow(0x5F, 0x5F, "specific usage", _L),
    CiRow(0x60, 0x60, "DLMS command", _L),
    CiRow(0x61, 0x61, "DLMS command", _S),
    CiRow(0x64, 0x64, "OBIS descriptors", _L),
    CiRow(0x65, 0x65, "OBIS descriptors", _S),
    CiRow(0x66, 0x66, "response of the selected application", _N),
    CiRow(0x67, 0x67, "response of the selected application", _S),
    CiRow(0x68, 0x68, "response of the selected application", _L),
    CiRow(0x69, 0x69, "format frame", _N, Content.FORMAT),
    CiRow(0x6A, 0x6A, "format frame", _S, Content.FORMAT),
    CiRow(0x6B, 0x6B, "format frame", _L, Content.FORMAT),
    CiRow(0x6C, 0x6C, "time synchronisation", _L),
    CiRow(0x6D, 0x6D, "time adjustment", _L),
    CiRow(0x6E, 0x6E, "application error", _S, Content.APPLICATION_ERROR),
    CiRow(0x6F, 0x6F, "application error", _L, Content.APPLICATION_ERROR),
    CiRow(0x70, 0x70, "application error", _N, Content.APPLICATION_ERROR),
    CiRow(0x71, 0x71, "alarm", _N, Content.ALARM),
    CiRow(0x72, 0x72, "response", _L, Content.RECORDS),
    CiRow(0x73, 0x73, "compact frame", _L, Content.COMPACT),
    CiRow(0x74, 0x74, "alarm", _S, Content.ALARM),
    CiRow(0x75, 0x75, "alarm", _L, Content.ALARM),
    # Withdrawn. Their headers are not laid out like the others, so none is told here.
    CiRow(0x76, 0x76, "response, most significant byte first", _N, Content.REVERSED),
    CiRow(0x77, 0x77, "fixed data structure, most significant byte first", _N),
    CiRow(0x78, 0x78, "response", _N, Content.RECORDS),
    CiRow(0x79, 0x79, "compact frame", _N, Content.COMPACT),
    CiRow(0x7A, 0x7A, "response", _S, Content.RECORDS),
    CiRow(0x7B, 0x7B, "compact frame", _S, Content.COMPACT),
    CiRow(0x7C, 0x7C, "DLMS response", _L),
    CiRow(0x7D, 0x7D, "DLMS response", _S),
    CiRow(0x7E, 0x7E, "OBIS response", _L),
    CiRow(0x7F, 0x7F, "OBIS response", _S),
    CiRow(0x80, 0x80, "transport layer without application", _L),
    CiRow(0x81, 0x83, "network layer", _N),
    CiRow(0x84, 0x85, "transport layer, compact or format frame expected", _N),
    CiRow(0x86, 0x86, "extended link layer with variable fields", _N),
    CiRow(0x87, 0x89, "network layer", _N),
    CiRow(0x8A, 0x8A, "transport layer without application", _S),
    CiRow(0x8B, 0x8B, "transport layer without application", _L),
    CiRow(0x8C, 0x8F, "extended link layer", _N, Content.EXTENDED_LINK),
    CiRow(0x90, 0x90, "authentication and fragmentation layer", _N, Content.AUTHENTICATION),
    CiRow(0x9E, 0x9E, "specific usage", _S),
    CiRow(0x9F, 0x9F, "specific usage", _L),
    CiRow(0xA0, 0xB7, "manufacturer specific", _N),
    CiRow(0xB8, 0xBF, "set baud rate", _N),
    CiRow(0xC0, 0xC0, "image transfer command", _L),
    CiRow(0xC1, 0xC1, "image transfer response", _S),
    CiRow(0xC2, 0xC2, "image transfer response", _L),
    CiRow(0xC3, 0xC3, "security information", _L),
    CiRow(0xC4, 0xC4, "security information", _S),
    CiRow(0xC5, 0xC5, "security information", _L),
)


def spread(rows: tuple[CiRow, ...]) -> dict[int, CiRow]:
    """Give every code its own row. Two rows that claim one code are a bug."""
    table: dict[int, CiRow] = {}
    for row in rows:
        for code in range(row.first, row.last + 1):
            if code in table:
                raise ValueError(f"CI {code:02X} stands in two rows")
            table[code] = row
    return table


_CI = spread(CI_FIELDS)


def ci_row(ci: int) -> CiRow:
    """What the CI field 0 to 255 announces; codes without a row are ``reserved``."""
    return _CI.get(ci) or CiRow(ci, ci, "reserved")
