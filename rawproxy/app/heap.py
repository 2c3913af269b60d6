"""Python's memory, in a process that is ours alone.

Layer: app. Programs that embed the proxy keep their own settings.
"""

import ctypes
import gc
import math
from collections.abc import Callable
from contextlib import suppress

import trio

__all__ = ["AGAIN_SECONDS", "LOOK_SECONDS", "WORTH", "give_back", "settle", "tidy"]

COLLECTED_AFTER = (50_000, 20, 20)
"""New objects after which the youngest are looked at, and how many such looks make one at older ones."""

LOOK_SECONDS = 5.0
"""How often it is seen whether a crowd has left."""

AGAIN_SECONDS = 75.0
"""After a crowd has left its upstream connections wait for a minute; then there is more to give back."""

WORTH = 1000
"""Exchanges that make a crowd."""


def settle() -> None:
    """Have the garbage collector leave alone what the start has made, and look less often at the rest.

    Modules and tables are there to the end: with them each full collection took 30 ms of everybody's time.
    What an exchange leaves goes by itself; what only the collector finds is rare, so it may wait until there is
    more of it.
    """
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
    gc.enable()


def give_back() -> None:
    """Give the system the memory that nothing is in."""
    gc.collect()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


async def tidy(
    activity: Callable[[], tuple[int, int]], give: Callable[[], None] = give_back
) -> None:
    """Give memory back when a crowd has left, until cancelled: nobody is there then to wait for it.

    Args:
        activity: returns how many exchanges are running, and how many have ended so far.
        give: gives it back.
    """
    seen, again = 0, math.inf
    while True:
        await trio.sleep(LOOK_SECONDS)
        running, ended = activity()
        if running:
            continue
        if ended - seen >= WORTH:
            seen, again = ended, trio.current_time() + AGAIN_SECONDS
            give()
        elif trio.current_time() >= again:
            again = math.inf
            give()
