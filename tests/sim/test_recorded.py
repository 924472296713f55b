"""Meters that play recorded telegrams."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from bridge.mbus.frame import encode_frame, take_frame
from bridge.sim.bus import SimulatedBus
from bridge.sim.errors import SimError
from bridge.sim.recorded import parse_recording, recorded_meter, recorded_meters

SHARED = Path(__file__).parents[2].parent / "shared" / "vectors" / "telegrams"
NOON = dt.datetime(2026, 3, 9, 12, 0)


def frame(address: int, *, more: bool = False) -> str:
    body = (
        bytes((0x08, address, 0x72))
        + bytes.fromhex("45 23 01 99 74 52 01 07 05 00 00 00 0C 13 78 56 34 12")
        + (b"\x1f" if more else b"\x2f")
    )
    return (bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) & 0xFF, 0x16))).hex(
        " "
    )


def answers(meter_bus: SimulatedBus, request: str, now: float) -> bytes:
    meter_bus.receive(bytes.fromhex(request), now)
    return meter_bus.take(now + 30.0)


def test_a_recording_answers_exactly_its_bytes() -> None:
    meter = recorded_meter("water", parse_recording(frame(2)))
    bus = SimulatedBus([meter])
    assert answers(bus, "10 7B 02 7D 16", 0.0) == bytes.fromhex(frame(2))
    assert answers(bus, "10 5B 02 5D 16", 60.0) == bytes.fromhex(frame(2))
    assert str(meter.secondary) == "99012345-TST-01-07"
    assert meter.notes == ()


def test_several_frames_are_the_telegrams_of_one_answer() -> None:
    meter = recorded_meter("water", parse_recording(frame(2, more=True) + "\n" + frame(2)))
    bus = SimulatedBus([meter])
    assert answers(bus, "10 7B 02 7D 16", 0.0) == bytes.fromhex(frame(2, more=True))
    assert answers(bus, "10 5B 02 5D 16", 60.0) == bytes.fromhex(frame(2))


def test_a_recording_can_be_selected_by_its_secondary_address() -> None:
    bus = SimulatedBus([recorded_meter("water", parse_recording(frame(2)))])
    select = "68 0B 0B 68 53 FD 52 45 23 01 99 FF FF FF FF A0 16"
    assert answers(bus, select, 0.0) == b"\xe5"
    assert answers(bus, "10 7B FD 78 16", 60.0) == bytes.fromhex(frame(2))


def test_the_fixed_structure_can_be_selected_by_its_number() -> None:
    fixed = "68 13 13 68 08 05 73 78 56 34 12 0A 00 E9 7E 01 00 00 00 35 01 00 00 3C 16"
    bus = SimulatedBus([recorded_meter("old", parse_recording(fixed))])
    select = "68 0B 0B 68 53 FD 52 78 56 34 12 FF FF FF FF B2 16"
    assert answers(bus, select, 0.0) == b"\xe5"
    assert answers(bus, "10 7B FD 78 16", 60.0) == bytes.fromhex(fixed)


def test_meters_that_share_an_address_get_one_each_and_say_so(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.hex").write_text(frame(1))
    meters = recorded_meters(sorted(tmp_path.glob("*.hex")))
    assert [(meter.name, meter.primary) for meter in meters] == [("a", 1), ("b", 2), ("c", 3)]
    assert meters[1].notes == ("recorded at address 1, plays at 2",)
    # Only the A field and the checksum differ.
    first, second = meters[0].telegram(NOON), meters[1].telegram(NOON)
    different = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    assert different == [5, len(first) - 2]
    assert take_frame(bytearray(second)) is not None


def test_meters_can_share_an_address_as_unconfigured_ones_do(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.hex").write_text(frame(0))
    meters = recorded_meters(sorted(tmp_path.glob("*.hex")), unique=False)
    assert [meter.primary for meter in meters] == [0, 0]


def test_address_253_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "oms.hex").write_text(frame(253))
    (meter,) = recorded_meters([tmp_path / "oms.hex"])
    assert meter.primary == 1
    with pytest.raises(SimError, match="address 253 is not a meter's own"):
        recorded_meter("oms", parse_recording(frame(253)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing in it"),
        ("68 1B xx", "hexadecimal"),
        ("68 1B 1B 68 08", "frame 1 is not whole: 5 bytes"),
        ("10 40 01 41 16", "frame 1 is no telegram"),
        (frame(1)[:-5] + "00 16", "frame 1 is damaged: checksum"),
        (frame(1) + "E5", "frame 2 is no telegram"),
    ],
)
def test_what_cannot_be_played_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.hex"
    path.write_text(text)
    with pytest.raises(SimError, match=f"broken.hex: .*{message}"):
        recorded_meters([path])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SimError, match=r"gone.hex cannot be read"):
        recorded_meters([tmp_path / "gone.hex"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded telegrams are not beside the project")
def test_all_shared_recordings_play_back_on_one_bus() -> None:
    paths = sorted(SHARED.glob("*.hex"))
    meters = recorded_meters(paths)
    bus = SimulatedBus(meters)
    assert len({meter.primary for meter in meters}) == len(paths)
    for index, (path, meter) in enumerate(zip(paths, meters, strict=True)):
        (recorded,) = parse_recording(path.read_text())
        control = bytes((0x10, 0x7B, meter.primary, 0x7B + meter.primary & 0xFF, 0x16))
        heard = answers(bus, control.hex(), 100.0 * index)
        if meter.notes:
            assert heard[6:-2] == encode_frame(recorded)[6:-2], path.name
        else:
            assert heard == bytes.fromhex(path.read_text()), path.name
