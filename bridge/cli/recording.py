"""What a recording holds: hex digits or bytes; frames, damaged frames, and what is none of them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge.cli.names import counted
from bridge.mbus.control import DIRECTION, FCB, REQ_UD1, REQ_UD2, SND_NKE
from bridge.mbus.errors import ChecksumError, FrameError, LengthError, StopError
from bridge.mbus.frame import (
    LONG_START,
    OVERHEAD,
    SHORT_LENGTH,
    SHORT_START,
    SINGLE,
    STOP,
    Ack,
    Frame,
    take_frame,
)

_LONGEST = 255 + OVERHEAD  # bytes of a frame
_HEAD = 4  # bytes: 68 L L 68
_SHORTEST_LENGTH = 3  # C, A and CI field
_SHOWN = 32  # bytes of noise
_COMMANDS = (SND_NKE, REQ_UD1, REQ_UD2)  # in short frames, but for the FCB


class Problem(NamedTuple):
    """What is wrong with a place that telegrams come from, or with a frame in it.

    ``offset`` counts bytes from the beginning of the place, and is None where the whole place is
    meant. ``data`` are the bytes of the frame. ``kind`` is what it has in common with others, for
    who counts them.
    """

    reason: str
    offset: int | None = None
    data: bytes = b""
    kind: str = ""

    def __str__(self) -> str:
        if self.offset is None:
            return self.reason
        return f"byte {self.offset}: {self.reason}: {self.data.hex(' ').upper()}"

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        data = None if self.offset is None else self.data.hex().upper()
        return {"offset": self.offset, "reason": self.reason, "data": data}


class Whole(NamedTuple):
    """A frame and its bytes; acknowledgements in a row are one, with so many bytes."""

    offset: int
    data: bytes
    frame: Frame


class Noise(NamedTuple):
    """``size`` bytes of no frame, which begin with ``head``."""

    size: int
    head: bytes
    reason: str

    def __str__(self) -> str:
        rest = self.size - len(self.head)
        more = f" and {rest} more" if rest else ""
        head = self.head.hex(" ").upper()
        return f"{counted(self.size, 'byte')} of no frame ({self.reason}): {head}{more}"


Piece = Whole | Problem | Noise

_START = re.compile(rb"[\x10\x68]")
_START_OR_ACK = re.compile(rb"[\x10\x68\xE5]")
_ACKS = re.compile(rb"\xE5+")


def pieces(data: bytes) -> Iterator[Piece]:
    """All of a recording, in its order.

    A frame is damaged where its beginning is right and its checksum or its end is not; where one
    byte of its beginning is wrong, its end must be right. What else is no frame is noise.
    """
    noise = at = 0  # where the noise begins; where to look
    while (found := (_START if at > noise else _START_OR_ACK).search(data, at)) is not None:
        at = found.start()
        # E5 among noise is a byte like any other.
        if not _may_begin(data, at) or (data[at] == SINGLE and at > noise):
            at += 1
            continue
        taken = _take(data, at)
        if isinstance(taken, Whole):
            end = at + len(taken.data)
        elif reach := _reach(data, at, alone=at == noise):
            end = _next_start(data, at + 1, at + reach)
        else:
            at += 1
            continue
        if at > noise:
            yield _noise(data, noise, at)
        yield taken if isinstance(taken, Whole) else _damaged(taken, at, data[at:end])
        noise = at = end
    if noise < len(data):
        yield _noise(data, noise, len(data))


def _may_begin(data: bytes, at: int) -> bool:
    """Whether a frame, whole or damaged, may begin here; in noise, few starts do."""
    head = data[at : at + SHORT_LENGTH]
    if len(head) < SHORT_LENGTH or head[0] == SINGLE:
        return True
    if head[0] == SHORT_START:
        return head[4] == STOP or head[3] == head[1] + head[2] & 0xFF
    return head[1] == head[2] or head[3] == LONG_START


def _take(data: bytes, at: int) -> Whole | FrameError | None:
    """The frame that begins here, or why there is none; None where it ends too early."""
    if acks := _ACKS.match(data, at):
        return Whole(at, acks.group(), Ack())
    window = bytearray(data[at : at + _LONGEST])
    size = len(window)
    try:
        frame = take_frame(window)
    except FrameError as error:
        return error
    return None if frame is None else Whole(at, data[at : at + size - len(window)], frame)


def _reach(data: bytes, at: int, *, alone: bool) -> int:
    """How many bytes a damaged frame has that begins here; 0 where none can have begun.

    Args:
        data: the recording.
        at: where 68 or 10 is.
        alone: whether there is no noise before it. A beginning that is cut off is noise there.
    """
    left = len(data) - at
    if data[at] == SHORT_START:
        frame = data[at : at + SHORT_LENGTH]
        if left < SHORT_LENGTH:
            return left if alone and (left == 1 or frame[1] & DIRECTION) else 0
        # In much noise there is everything. What a master says there is of few kinds.
        is_command = frame[1] & DIRECTION if alone else frame[1] & ~FCB in _COMMANDS
        return SHORT_LENGTH if is_command else 0
    head = data[at : at + _HEAD]
    if left < _HEAD:
        said = head[1:3]
        return left if alone and len(set(said)) < 2 and all(n > 2 for n in said) else 0
    lengths = [length for length in head[1:3] if length >= _SHORTEST_LENGTH]
    if head[1] == head[2] and head[3] == LONG_START:
        return min(left, head[1] + OVERHEAD) if lengths else 0
    if head[1] == head[2] or head[3] == LONG_START:
        for length in lengths:
            if data[at + length + OVERHEAD - 1 : at + length + OVERHEAD] == bytes((STOP,)):
                return length + OVERHEAD
    return 0


def _next_start(data: bytes, first: int, last: int) -> int:
    """Where the next frame begins whose end is where it should be: no later than ``last``."""
    for found in _START.finditer(data, first, last):
        at = found.start()
        if data[at] == SHORT_START:
            size = SHORT_LENGTH
        elif data[at + 1 : at + 2] == data[at + 2 : at + 3] and data[at + 3 : at + 4] == b"\x68":
            size = data[at + 1] + OVERHEAD
        else:
            continue
        if data[at + size - 1 : at + size] == bytes((STOP,)) and (
            data[at] == LONG_START or isinstance(_take(data, at), Whole)
        ):
            return at
    return last


_KINDS = {
    ChecksumError: "wrong checksum",
    StopError: "wrong stop character",
    LengthError: "lengths that differ",
}


def _damaged(error: FrameError | None, at: int, frame: bytes) -> Problem:
    if error is None:
        return Problem(_too_early(frame), at, frame, "damaged frame: ends too early")
    kind = _KINDS.get(type(error), "wrong second start character")
    return Problem(f"damaged frame, {error}", at, frame, f"damaged frame: {kind}")


def _noise(data: bytes, begin: int, end: int) -> Noise:
    taken = _take(data, begin)
    reason = str(taken) if isinstance(taken, FrameError) else _too_early(data[begin:end])
    return Noise(end - begin, data[begin : min(end, begin + _SHOWN)], reason)


def _too_early(begun: bytes) -> str:
    if begun[0] == SHORT_START:
        whole = SHORT_LENGTH
    elif len(begun) > 1:
        whole = begun[1] + OVERHEAD
    else:
        return "a frame that ends too early, after its first byte"
    return f"a frame that ends too early, with {len(begun)} of {whole} bytes"


# Every frame but E5 ends with 16, which is in no text.
_CONTROLS = "[\x00-\x08\x0e-\x1f\x7f]"
_CONTROL, _CONTROL_BYTE = re.compile(_CONTROLS), re.compile(_CONTROLS.encode())
_NO_DIGIT = re.compile(r"[^0-9A-Fa-f]")
_COMMENT = re.compile(r"#.*")


def text_of(data: bytes) -> str | None:
    """A recording as a text, or None where it is none, but the bytes themselves.

    A text is UTF-8, with a byte order mark or without; UTF-16 with one, as PowerShell writes it;
    or ISO 8859-1, if nothing but comments is beyond ASCII.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError:
            return None
        # Bytes that happen to begin so make characters of far away.
        return text if text[:1].isascii() and not _CONTROL.search(text) else None
    if _CONTROL_BYTE.search(data):
        return None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("iso-8859-1")
        return text if _COMMENT.sub("", text).isascii() else None


def digits_of(text: str) -> str:
    """Hex digits without what people put between them; a line's rest after # is a comment."""
    text = re.sub(r"0[xX]|[,;:]", "", _COMMENT.sub("", text))
    return "".join(text.split())


def odd_character(digits: str) -> str | None:
    """The first character that is no hex digit."""
    found = _NO_DIGIT.search(digits)
    return None if found is None else found.group()


# 68 L L 68 with one of the last three wrong, perhaps; a short frame; acknowledgements alone.
_RECORDED = re.compile(
    rb"\x68(?:..\x68|([\x03-\xff])\1.)|\x10...\x16|\A\xE5+\Z",
    re.DOTALL,
)


def is_recording(text: str) -> bool:
    """Whether hex digits, and frames among them: a year is hex digits too."""
    digits = digits_of(text)
    if odd_character(digits) is not None:
        return False
    return _RECORDED.search(bytes.fromhex(digits[: len(digits) // 2 * 2])) is not None
