"""Meters that play recorded telegrams: exactly the bytes that a real one sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from pathlib import Path

from bridge.mbus.address import SecondaryAddress, decode_secondary
from bridge.mbus.control import CI_FIXED, CI_RESPONSE_LONG, DIRECTION, LAST_ADDRESS
from bridge.mbus.errors import FrameError
from bridge.mbus.frame import LongFrame, encode_frame, take_frame
from bridge.sim.errors import SimError
from bridge.sim.meter import Content, Quirks, SimulatedMeter


class RecordedReadout:
    """Says the same telegrams for ever."""

    def __init__(self, frames: Sequence[LongFrame]) -> None:
        self._frames = tuple(frames)

    def telegrams(self, when: dt.datetime) -> Sequence[Content]:  # noqa: ARG002
        """The recorded frames, in their order."""
        return self._frames


def parse_recording(text: str) -> tuple[LongFrame, ...]:
    """The answers in a text of hexadecimal bytes, with or without spaces.

    Raises:
        SimError: it is no hexadecimal, or not a row of valid answers of a meter.
    """
    try:
        left = bytearray(bytes.fromhex("".join(text.split())))
    except ValueError:
        raise SimError("a recording is hexadecimal bytes, as 68 1B 1B 68 08 ...") from None
    frames: list[LongFrame] = []
    while left:
        try:
            frame = take_frame(left)
        except FrameError as error:
            raise SimError(f"frame {len(frames) + 1} is damaged: {error}") from error
        if frame is None:
            raise SimError(f"frame {len(frames) + 1} is not whole: {len(left)} bytes")
        if not isinstance(frame, LongFrame) or frame.control & DIRECTION:
            raise SimError(
                f"frame {len(frames) + 1} is no telegram of a meter, but a "
                f"master's or an acknowledgement: {encode_frame(frame).hex(' ').upper()}"
            )
        frames.append(frame)
    if not frames:
        raise SimError("there is nothing in it")
    return tuple(frames)


def recorded_address(frame: LongFrame) -> SecondaryAddress | None:
    """The secondary address that a telegram tells; None where its structure tells none.

    The fixed structure (EN 13757-3, annex on CI 73) has the identification number only.
    """
    if frame.ci == CI_RESPONSE_LONG and len(frame.data) >= 12:
        return decode_secondary(frame.data[:8])
    if frame.ci == CI_FIXED and len(frame.data) == 16:
        return SecondaryAddress(frame.data[3::-1].hex().upper())
    return None


def recorded_meter(
    name: str,
    frames: Sequence[LongFrame],
    *,
    primary: int | None = None,
    baudrate: int = 2400,
    answer_delay: float | None = None,
    quirks: Quirks | None = None,
    seed: int = 0,
) -> SimulatedMeter:
    """A meter that answers with these frames, one after the other as its FCB toggles.

    Args:
        name: its name.
        frames: one for each telegram, the first first.
        primary: its primary address; None for the one in the first frame. With another one, the A
            field and the checksum of the frames change, and nothing else; ``notes`` says so.
        baudrate, answer_delay, quirks, seed: as for `SimulatedMeter`.

    Raises:
        SimError: no frame, or no address from 0 to 250 to put it at.
    """
    if not frames:
        raise SimError(f"{name}: a recording without a frame")
    recorded = frames[0].address
    if primary is None and recorded > LAST_ADDRESS:
        raise SimError(f"{name}: address {recorded} is not a meter's own; give it a primary one")
    meter = SimulatedMeter(
        name,
        RecordedReadout(frames),
        primary=recorded if primary is None else primary,
        secondary=recorded_address(frames[0]),
        model="recorded",
        baudrate=baudrate,
        answer_delay=answer_delay,
        quirks=quirks,
        seed=seed,
    )
    if meter.primary != recorded:
        meter.notes = (f"recorded at address {recorded}, plays at {meter.primary}",)
    return meter


def recorded_meters(
    paths: Iterable[Path], *, baudrate: int = 2400, unique: bool = True, seed: int = 0
) -> list[SimulatedMeter]:
    """One meter for each file, named after it.

    Args:
        paths: files of hexadecimal bytes, one telegram in each, or several of one meter.
        baudrate: of all of them.
        unique: give each its own primary address: the first with an address keeps it, others get
            the lowest free one from 1 on. Else they share, as unconfigured meters do.
        seed: for their delays.

    Raises:
        SimError: a file cannot be read or played (it is named), or there are more than addresses.
    """
    recordings: list[tuple[str, tuple[LongFrame, ...]]] = []
    for path in paths:
        try:
            frames = parse_recording(path.read_text("ascii"))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it holds no text"
            raise SimError(f"{path} cannot be read: {why}") from error
        except SimError as error:
            raise SimError(f"{path}: {error}") from error
        recordings.append((path.stem.replace(":", "-"), frames))
    addresses = _places([frames[0].address for _, frames in recordings], unique=unique)
    return [
        recorded_meter(name, frames, primary=address, baudrate=baudrate, seed=seed)
        for (name, frames), address in zip(recordings, addresses, strict=True)
    ]


def _places(recorded: Sequence[int], *, unique: bool) -> list[int]:
    own = {address for address in recorded if address <= LAST_ADDRESS}
    free = iter(address for address in range(1, LAST_ADDRESS + 1) if address not in own)
    places: list[int] = []
    for address in recorded:
        if address <= LAST_ADDRESS and (not unique or address not in places):
            places.append(address)
            continue
        place = next(free, None)
        if place is None:
            raise SimError(f"{len(recorded)} meters are more than there are primary addresses")
        places.append(place)
    return places
