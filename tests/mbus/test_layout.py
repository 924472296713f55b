"""A remembered layout says what a fresh walk says, whatever the data are."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.mbus.frame import LongFrame, take_frame
from bridge.mbus.layout import Layout, Layouts, read_records
from bridge.mbus.walk import decode_records

VECTORS = sorted((Path(__file__).parent.parent / "vectors").glob("*.hex"))


def content_of(path: Path) -> bytes:
    frame = take_frame(bytearray.fromhex(path.read_text()))
    assert isinstance(frame, LongFrame)
    return frame.data[12:]


def remembering(data: bytes) -> Layouts:
    layouts = Layouts()
    layouts.read(data)
    layouts.read(data)
    return layouts


def data_of(content: bytes) -> list[int]:
    """The offsets of all bytes that are data: changing one must not change the layout."""
    (layout,) = remembering(content)._made.values()
    return [n for n, byte in enumerate(layout.mask.to_bytes(len(content))) if not byte]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_layout_is_made_at_the_second_sight_and_says_the_same(path: Path) -> None:
    content = content_of(path)
    layouts = Layouts()
    for seen, made in ((1, 0), (2, 1), (3, 1), (4, 1)):
        assert layouts.read(content) == decode_records(content), f"sight {seen}"
        assert len(layouts) == made


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_every_byte_of_data_may_have_every_value(path: Path) -> None:
    content = content_of(path)
    layouts = remembering(content)
    for place in data_of(content):
        for byte in (0x00, 0x01, 0x0F, 0x35, 0x7F, 0x80, 0x9A, 0xF0, 0xFF):
            changed = content[:place] + bytes((byte,)) + content[place + 1 :]
            assert layouts.read(changed) == decode_records(changed)
    assert len(layouts) == 1


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
@pytest.mark.parametrize("byte", [0x00, 0x11, 0x80, 0xFF])
def test_data_that_are_all_alike_are_read_alike(path: Path, byte: int) -> None:
    content = bytearray(content_of(path))
    layouts = remembering(bytes(content))
    for place in data_of(bytes(content)):
        content[place] = byte
    assert layouts.read(bytes(content)) == decode_records(bytes(content))


@settings(max_examples=300)
@given(st.data())
def test_random_data_are_read_as_a_fresh_walk_reads_them(data: st.DataObject) -> None:
    content = bytearray(content_of(data.draw(st.sampled_from(VECTORS))))
    layouts = remembering(bytes(content))
    places = data_of(bytes(content))
    for place, byte in zip(
        places, data.draw(st.binary(min_size=len(places), max_size=len(places))), strict=True
    ):
        content[place] = byte
    assert layouts.read(bytes(content)) == decode_records(bytes(content))
    assert len(layouts) == 1


@settings(max_examples=500)
@given(st.binary(min_size=1, max_size=60), st.integers(0, 4))
def test_random_bytes_are_read_as_a_fresh_walk_reads_them(data: bytes, offset: int) -> None:
    layouts = Layouts()
    for _ in range(3):
        assert layouts.read(data, offset) == decode_records(data, offset)


def test_a_changed_byte_of_a_dib_or_vib_is_another_layout() -> None:
    layouts = remembering(bytes.fromhex("04 13 01 00 00 00 02 5A C8 00"))
    other = bytes.fromhex("04 14 01 00 00 00 02 5A C8 00")
    assert layouts.read(other) == decode_records(other)
    assert layouts.read(other).records[0].value == Decimal("0.01")


def test_the_lvar_byte_belongs_to_the_layout() -> None:
    layouts = remembering(bytes.fromhex("0D 13 C3 56 34 12 01 74 20"))
    other = bytes.fromhex("0D 13 C2 34 12 01 74 01 74 20")
    assert layouts.read(other) == decode_records(other)
    negative = bytes.fromhex("0D 13 D3 56 34 12 01 74 20")
    assert layouts.read(negative).records[0].value == Decimal("-123.456")


def test_manufacturer_data_are_data_and_their_beginning_is_not() -> None:
    layouts = remembering(bytes.fromhex("01 74 20 0F 01 02 03"))
    assert layouts.read(bytes.fromhex("01 74 21 0F 04 05 06")).manufacturer_data == b"\x04\x05\x06"
    assert len(layouts) == 1
    more = layouts.read(bytes.fromhex("01 74 20 1F 01 02 03"))
    assert more.more_records_follow
    assert not layouts.read(bytes.fromhex("01 74 20 0F 01 02 03")).more_records_follow


def test_fillers_stay_between_records() -> None:
    content = bytes.fromhex("2F 2F 04 13 2F 2F 2F 2F 2F 01 74 2F 2F 2F")
    layouts = remembering(content)
    assert layouts.read(content) == decode_records(content)
    assert [record.value for record in layouts.read(content).records] == [
        Decimal("791621.423"),
        Decimal(47),
    ]


def test_records_with_an_error_make_no_layout() -> None:
    layouts = remembering(bytes.fromhex("01 74 20 04 13 01"))
    assert len(layouts) == 0
    assert layouts.read(bytes.fromhex("01 74 20 04 13 01")).errors


def test_what_is_only_readable_in_another_way_makes_no_layout() -> None:
    doubled = bytes.fromhex("0D 13 C2 78 12 56 34 01 74 20")  # C2 counts four bytes, as of old
    layouts = remembering(doubled)
    assert layouts.read(doubled) == decode_records(doubled)
    assert layouts.read(doubled).errors == ()
    assert len(layouts) == 0


def test_only_so_many_layouts_are_remembered_and_the_oldest_is_forgotten() -> None:
    layouts = Layouts(most=3)
    contents = [bytes((0x01, vif, 0x05)) for vif in range(0x20, 0x28)]
    for content in contents:
        layouts.read(content)
        layouts.read(content)
        assert len(layouts) <= 3
    for content in contents:
        assert layouts.read(content) == decode_records(content)
    assert len(layouts) == 3


def test_noise_fills_no_memory() -> None:
    layouts = Layouts(most=50)
    for number in range(5000):
        layouts.read(b"\x04\x13\x01\x00\x00\x00\x0d\x78\x04" + number.to_bytes(4))
        layouts.read(b"\x01" + bytes((number % 128,)) + b"\x00\x0d\x78" + number.to_bytes(3))
    assert len(layouts) <= 50
    assert len(layouts._seen) <= 50


def test_the_headers_of_a_layout_are_the_very_same_at_each_reading() -> None:
    content = bytes.fromhex("04 13 01 00 00 00 02 5A C8 00")
    first, second = read_records(content), read_records(content)
    for one, other in zip(first.records, second.records, strict=True):
        assert one.header is other.header


def test_a_layout_can_have_one_record_or_the_same_one_twice() -> None:
    for text in ("01 74 20", "01 74 20 01 74 21", "00 93 15", "0A 5A EE EE", "05 2B 00 00 C0 7F"):
        content = bytes.fromhex(text)
        layout = Layout(decode_records(content), content)
        assert layout.read(content) == decode_records(content)


def test_a_record_whose_end_data_had_a_say_in_makes_no_layout() -> None:
    # The text of a plain-text VIF behind its VIFEs; whether it could stand in front of them, eight
    # bytes long, is only told by what are data then.
    data = bytes.fromhex("0D FC 08 01 6B 08 31 31 41 20 20 85 FF FF")
    other = bytes.fromhex("0D FC 08 01 6B 08 FF 13 41 41 20 41 FF 02")
    layouts = remembering(data)
    assert len(layouts) == 0
    assert layouts.read(other) == decode_records(other)
