from __future__ import annotations

import pytest

from bridge.mbus.control import (
    ACD,
    DFC,
    DIRECTION,
    FCB,
    FCV,
    REQ_UD1,
    REQ_UD2,
    RSP_UD,
    SND_NKE,
    SND_UD,
    CiRow,
    Content,
    HeaderKind,
    ci_row,
    spread,
)


@pytest.mark.parametrize(
    ("control", "byte"),
    [
        (SND_NKE, 0x40),
        (SND_UD | FCB, 0x73),
        (REQ_UD2 | FCB, 0x7B),
        (REQ_UD1 | FCB, 0x7A),
        (RSP_UD | ACD | DFC, 0x38),
    ],
)
def test_control_fields_are_put_together_from_their_bits(control: int, byte: int) -> None:
    assert control == byte


def test_requests_with_a_valid_fcb_say_so_and_come_from_the_master() -> None:
    for control in (SND_UD, REQ_UD1, REQ_UD2):
        assert control & FCV
        assert control & DIRECTION
    assert not SND_NKE & FCV
    assert not RSP_UD & DIRECTION


@pytest.mark.parametrize(
    ("ci", "header", "content"),
    [
        (0x72, HeaderKind.LONG, Content.RECORDS),
        (0x78, HeaderKind.NONE, Content.RECORDS),
        (0x7A, HeaderKind.SHORT, Content.RECORDS),
        (0x70, HeaderKind.NONE, Content.APPLICATION_ERROR),
        (0x6E, HeaderKind.SHORT, Content.APPLICATION_ERROR),
        (0x6F, HeaderKind.LONG, Content.APPLICATION_ERROR),
        (0x71, HeaderKind.NONE, Content.ALARM),
        (0x74, HeaderKind.SHORT, Content.ALARM),
        (0x75, HeaderKind.LONG, Content.ALARM),
        (0x51, HeaderKind.NONE, Content.OTHER),
        (0xBB, HeaderKind.NONE, Content.OTHER),
        (0x69, HeaderKind.NONE, Content.FORMAT),
        (0x6A, HeaderKind.SHORT, Content.FORMAT),
        (0x6B, HeaderKind.LONG, Content.FORMAT),
        (0x79, HeaderKind.NONE, Content.COMPACT),
        (0x7B, HeaderKind.SHORT, Content.COMPACT),
        (0x73, HeaderKind.LONG, Content.COMPACT),
        (0x76, HeaderKind.NONE, Content.REVERSED),
        (0x8F, HeaderKind.NONE, Content.EXTENDED_LINK),
        (0x8B, HeaderKind.LONG, Content.OTHER),
    ],
)
def test_a_ci_field_announces_header_and_content(
    ci: int, header: HeaderKind, content: Content
) -> None:
    row = ci_row(ci)
    assert (row.header, row.content) == (header, content)


def test_every_ci_field_has_a_name() -> None:
    assert all(ci_row(ci).name for ci in range(256))
    assert ci_row(0xFF).name == "reserved"


def test_a_table_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="CI 51 stands in two rows"):
        spread((CiRow(0x50, 0x52, "one"), CiRow(0x51, 0x51, "two")))
