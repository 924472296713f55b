"""Calls in threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import threading

import pytest

from bridge.transport.thread import in_thread


async def test_what_the_call_returns_or_raises_is_the_futures() -> None:
    def fail() -> int:
        raise OSError(5, "a mistake")

    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(OSError, match="a mistake"):
        await in_thread(fail)


async def test_a_result_that_nobody_waits_for_any_more_is_unwanted() -> None:
    go, dropped = threading.Event(), asyncio.Event()
    future = in_thread(go.wait, unwanted=lambda result: dropped.set())
    future.cancel()
    go.set()
    async with asyncio.timeout(1.0):
        await dropped.wait()


async def test_an_error_that_nobody_waits_for_any_more_is_dropped() -> None:
    go, ended = threading.Event(), threading.Event()

    def fail() -> None:
        go.wait()
        ended.set()
        raise OSError(5, "a mistake")

    future = in_thread(fail)
    future.cancel()
    go.set()
    await asyncio.to_thread(ended.wait)
    await asyncio.sleep(0.01)
    assert future.cancelled()


def test_a_result_that_comes_after_the_loops_end_is_unwanted_too() -> None:
    go, dropped = threading.Event(), threading.Event()

    async def main() -> None:
        in_thread(go.wait, unwanted=lambda result: dropped.set())

    asyncio.run(main())
    go.set()
    assert dropped.wait(1.0)
