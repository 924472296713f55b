from __future__ import annotations

import asyncio
import time

import pytest
from bacpypes3.apdu import ReadPropertyACK, ReadPropertyRequest
from bacpypes3.primitivedata import ObjectIdentifier, Unsigned

from bridge.bacnet.answers import (
    SLICE,
    Answer,
    AnswerTooLongError,
    Turns,
    application_octets,
    closing,
    context_identifier,
    context_unsigned,
    error_octets,
    opening,
)


def request(octets: str) -> ReadPropertyRequest:
    """A request whose header has these two octets: PDU type and flags, and what is accepted."""
    flags, accepted = bytes.fromhex(octets)
    made = ReadPropertyRequest()
    made.apduSA = bool(flags & 0x02)
    made.apduMaxSegs, made.apduMaxResp = accepted >> 4, accepted & 0x0F
    return made


@pytest.mark.parametrize("number", [0, 1, 85, 255, 256, 512, 65_535, 4_194_303, 2**32 - 1])
def test_tags_are_those_of_the_library(number: int) -> None:
    ours = (
        context_identifier(0, ObjectIdentifier(("accumulator", min(number, 4_194_302))))
        + context_unsigned(1, min(number, 4_194_303))
        + context_unsigned(2, number)
        + opening(3)
        + application_octets(Unsigned(number))
        + closing(3)
    )
    theirs = ReadPropertyACK(
        objectIdentifier=f"accumulator,{min(number, 4_194_302)}",
        propertyIdentifier=min(number, 4_194_303),
        propertyArrayIndex=number,
        propertyValue=Unsigned(number),
    )
    assert ours == bytes(theirs.encode().pduData)


def test_an_error_is_its_class_and_its_code() -> None:
    assert error_octets("property", "unknownProperty") == bytes.fromhex("91 02 91 20")
    assert error_octets("device", "operationalProblem") == bytes.fromhex("91 00 91 19")


@pytest.mark.parametrize(
    ("header", "room", "reason"),
    [
        ("00 00", 50 - 3, "segmentation-not-supported"),
        ("00 05", 1444 - 3, "segmentation-not-supported"),
        ("02 13", 2 * (480 - 5), "apdu-too-long"),
        ("02 65", 64 * (1444 - 5), "apdu-too-long"),
        ("02 75", 262_144, "buffer-overflow"),
        ("02 05", 262_144, "buffer-overflow"),
    ],
)
def test_an_answer_is_as_long_as_the_client_can_take_and_no_octet_longer(
    header: str, room: int, reason: str
) -> None:
    answer = Answer(request(header))
    answer.add(bytes(room))
    with pytest.raises(AnswerTooLongError) as caught:
        answer.add(b"\x00")
    assert str(caught.value.abortReason) == reason
    answer.cut(room - 1)
    answer.add(b"\x00")
    assert len(answer) == room


def keep_busy() -> None:
    end = time.monotonic() + SLICE
    while time.monotonic() < end:
        pass


async def test_of_many_long_pieces_of_work_one_has_its_slice_in_each_turn_of_the_loop() -> None:
    turns = Turns()
    done = 0

    async def long() -> None:
        nonlocal done
        async with turns.work() as work:
            for _ in range(5):
                keep_busy()
                await work.breathe()
        done += 1

    pieces = [asyncio.create_task(long()) for _ in range(20)]
    await asyncio.sleep(0)  # each has its first slice
    longest = 0.0
    while not all(each.done() for each in pieces):
        began = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - began)
    await asyncio.gather(*pieces)
    assert done == 20
    assert longest < 10 * SLICE


async def test_work_that_is_cancelled_or_fails_gives_its_turn_on() -> None:
    turns = Turns()

    async def endless() -> None:
        async with turns.work() as work:
            while True:
                keep_busy()
                await work.breathe()

    async def failing() -> None:
        async with turns.work() as work:
            keep_busy()
            await work.breathe()
            raise ValueError("it fails")

    ends = [asyncio.create_task(endless()) for _ in range(3)]
    fails = asyncio.create_task(failing())
    with pytest.raises(ValueError, match="it fails"):
        await fails
    for each in ends:
        each.cancel()
    await asyncio.gather(*ends, return_exceptions=True)
    assert not turns.lock.locked()
