"""What the line brings, up to the frames in it, and the characters that came broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bridge.mbus.errors import ChecksumError, FrameError, LengthError, StartError, StopError
from bridge.mbus.frame import (
    LONG_START,
    OVERHEAD,
    SHORT_LENGTH,
    SHORT_START,
    SINGLE,
    Frame,
    take_frame,
)
from bridge.mbus.outcome import Damage

_HEAD = 4  # of a long frame: 68 L L 68


class Fragment(NamedTuple):
    """Characters that are no frame.

    ``ends`` says that they fill a frame to its stop character, and that nothing came behind it: no
    more is due.
    """

    kind: Damage
    ends: bool = False


class Incoming:
    """The characters that came and that no frame was made of yet.

    A character that came with a wrong parity or stop bit is part of no sound frame (EN 13757-2, 5:
    format FT 1.2 of IEC 60870-5-1). What it says serves only to find where the frame ends that it
    damages.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken: list[int] = []  # places in the buffer, in their order

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def missing(self) -> int:
        """Characters still to come of the long frame whose head is there; else 0."""
        buffer = self._buffer
        if len(buffer) < _HEAD or buffer[0] != LONG_START:
            return 0
        # The head is sound: `take` would have dropped its first byte otherwise.
        return buffer[1] + OVERHEAD - len(buffer)

    def add(self, data: bytes, broken: Sequence[int] = ()) -> None:
        """More came; ``broken`` are places in ``data``, in their order."""
        if broken:
            begin = len(self._buffer)
            self._broken += [begin + place for place in broken]
        self._buffer += data

    def clear(self) -> None:
        """Forget it all."""
        self._buffer.clear()
        self._broken.clear()

    def drop(self) -> None:
        """Forget the first character: no frame begins there."""
        del self._buffer[0]
        self._removed(1)

    def take(self) -> Frame | Fragment | None:
        """Take what comes first: a sound frame, or what is none; None where more must come."""
        buffer = self._buffer
        length = len(buffer)
        whole = self._announced() if length else 0
        try:
            frame = take_frame(buffer)
        except FrameError as error:
            fragment = Fragment(
                self._kind(error, whole), isinstance(error, ChecksumError) and length == whole
            )
            self._removed(length - len(buffer))
            return fragment
        if frame is None:
            return None
        if self._broken:
            taken = length - len(buffer)
            hit = self._broken[0] < taken
            self._removed(taken)
            if hit:
                return Fragment(Damage.PARITY, ends=taken > 1 and not buffer)
        return frame

    def _announced(self) -> int:
        """The length of the frame at the front, as its head says."""
        start = self._buffer[0]
        if start == LONG_START:
            return self._buffer[1] + OVERHEAD if len(self._buffer) > 1 else 0
        return {SHORT_START: SHORT_LENGTH, SINGLE: 1}.get(start, 0)

    def _kind(self, error: FrameError, whole: int) -> Damage:
        if isinstance(error, ChecksumError):
            kind, seen = Damage.CHECKSUM, whole
        elif isinstance(error, StopError):
            kind, seen = Damage.STOP, whole
        elif isinstance(error, LengthError):
            # Only what it took to see it: the rest may not have come yet.
            kind, seen = Damage.LENGTH, 2 if error.second is None else 3
        else:
            # A character that begins no frame is noise, broken or not.
            kind = Damage.NOISE
            seen = _HEAD if isinstance(error, StartError) and error.is_second else 0
        return Damage.PARITY if self._broken and self._broken[0] < seen else kind

    def _removed(self, count: int) -> None:
        if self._broken:
            self._broken = [place - count for place in self._broken if place >= count]
