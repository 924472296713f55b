"""Answers to ReadProperty and ReadPropertyMultiple in octets, never longer than can be taken.

bacpypes3 builds an object for each part of an answer and learns last of all that the client cannot
take it: a request of one datagram may ask for an object list of ten thousand objects 700 times.
"""

# mypy: allow-subclassing-any
# (bacpypes3 ships no types, so that its classes are Any to mypy.)

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

from bacpypes3.apdu import (
    AbortReason,
    decode_max_apdu_length_accepted,
    decode_max_segments_accepted,
)
from bacpypes3.basetypes import ErrorType
from bacpypes3.errors import AbortException

from bridge.bacnet.stack import ACK_HEADER, MAX_APDU_SENT, SEGMENT_HEADER

# For clients that take segments without number. The object list of 50 000 objects fits.
LARGEST_ANSWER: Final = 1 << 18
# Seconds of work after which others have their turn.
SLICE: Final = 0.003


class AnswerTooLongError(AbortException):
    """An answer became longer than the client, or we, can take."""

    def __init__(self, reason: int) -> None:
        self.abortReason = AbortReason(reason)
        super().__init__()


class Answer:
    """The octets of one answer, as they come together."""

    def __init__(self, request: Any) -> None:
        """``request`` is the APDU that is answered; its header says what the client can take."""
        self.octets = bytearray()
        apdu = min(decode_max_apdu_length_accepted(request.apduMaxResp), MAX_APDU_SENT)
        whole = apdu - ACK_HEADER
        if not request.apduSA:
            self._room, self._reason = whole, AbortReason.segmentationNotSupported
            return
        segments = decode_max_segments_accepted(request.apduMaxSegs)
        self._room, self._reason = LARGEST_ANSWER, AbortReason.bufferOverflow
        if segments is not None:
            self._room = max(whole, segments * (apdu - SEGMENT_HEADER))
            self._reason = AbortReason.apduTooLong

    def __len__(self) -> int:
        return len(self.octets)

    def add(self, octets: bytes) -> None:
        """Append to the answer.

        Raises:
            AnswerTooLongError: the client could not take it.
        """
        if len(self.octets) + len(octets) > self._room:
            raise AnswerTooLongError(self._reason)
        self.octets += octets

    def cut(self, length: int) -> None:
        """Take back all that was added since the answer had this length."""
        del self.octets[length:]


class Turns:
    """Shares the event loop among pieces of work that may be long.

    A piece works without a break for a slice of time. What is longer goes on slice by slice, and
    of all that do, one has its slice in each turn of the loop.
    """

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    def work(self) -> Work:
        """A piece of work that begins now. Use it with ``async with``."""
        return Work(self.lock)


class Work:
    """A piece of work that is ready to be interrupted at each `breathe`."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._until = time.monotonic() + SLICE
        self._has_lock = False

    async def breathe(self) -> None:
        """Go on at once, or, after a slice, when it is one's turn again."""
        if time.monotonic() < self._until:
            return
        await asyncio.sleep(0)
        # Not before: whoever got the lock in this turn of the loop would work in it, too.
        self._release()
        await self._lock.acquire()
        self._has_lock = True
        self._until = time.monotonic() + SLICE

    def _release(self) -> None:
        if self._has_lock:
            self._has_lock = False
            self._lock.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._release()


# Tags (ASHRAE 135, 20.2.1). Nothing here has a tag number above 14 or more than four octets.


def opening(tag: int) -> bytes:
    """An opening tag."""
    return bytes((tag << 4 | 0x0E,))


def closing(tag: int) -> bytes:
    """A closing tag."""
    return bytes((tag << 4 | 0x0F,))


def context_unsigned(tag: int, value: int) -> bytes:
    """An Unsigned or Enumerated with a context tag; ``value`` 0 to 2^32 - 1."""
    length = max(1, (value.bit_length() + 7) // 8)
    return bytes((tag << 4 | 0x08 | length,)) + value.to_bytes(length, "big")


def context_identifier(tag: int, identifier: Any) -> bytes:
    """An object identifier with a context tag."""
    return bytes((tag << 4 | 0x0C,)) + _packed(identifier)


def application_identifier(identifier: Any) -> bytes:
    """An object identifier with its application tag."""
    return b"\xc4" + _packed(identifier)


def _packed(identifier: Any) -> bytes:
    object_type, instance = int(identifier[0]), int(identifier[1])
    return (object_type << 22 | instance).to_bytes(4, "big")


def application_octets(value: Any) -> bytes:
    """A value of one of bacpypes3's types, with its own tags."""
    return b"".join([bytes(tag.encode().pduData) for tag in value.encode()])


@lru_cache(maxsize=100)
def error_octets(error_class: str, error_code: str) -> bytes:
    """Error class and error code (ASHRAE 135, clause 21, Error)."""
    return application_octets(ErrorType(errorClass=error_class, errorCode=error_code))
