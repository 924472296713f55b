"""Calls that may hang, each in a thread of its own.

The threads of an event loop's executor are few, shared, and joined at the end: a few names that
no server resolves would keep every other port from being opened, and the bridge from stopping.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


def in_thread(
    call: Callable[[], ResultT], *, unwanted: Callable[[ResultT], None] | None = None
) -> asyncio.Future[ResultT]:
    """Run ``call`` in a daemon thread; what it returns or raises is the future's.

    Nothing can stop the call, but nobody has to wait for it: neither who cancels the future, nor
    the end of the program. ``unwanted`` gets a result that comes after that.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ResultT] = loop.create_future()

    def drop(result: ResultT) -> None:
        if unwanted is not None:
            unwanted(result)

    def hand_over(result: ResultT) -> None:
        if future.done():
            drop(result)
        else:
            future.set_result(result)

    def fail(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            _tell(loop, fail, error)
            return
        if not _tell(loop, hand_over, result):
            drop(result)

    threading.Thread(target=run, daemon=True).start()
    return future


ValueT = TypeVar("ValueT")


def _tell(
    loop: asyncio.AbstractEventLoop, callback: Callable[[ValueT], None], value: ValueT
) -> bool:
    """Call back in the loop; False where it has ended meanwhile."""
    try:
        loop.call_soon_threadsafe(callback, value)
    except RuntimeError:  # what asyncio raises for a closed loop, and nothing else
        return False
    return True
