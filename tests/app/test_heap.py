"""When memory is given back, and that a collection finds what was left."""

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.heap import AGAIN_SECONDS, LOOK_SECONDS, WORTH, give_back, settle, tidy


def test_the_collector_leaves_what_the_start_has_made() -> None:
    before = gc.get_threshold()
    gc.disable()
    try:
        settle()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
        gc.enable()


def test_what_only_the_collector_finds_goes() -> None:
    class Ring:
        """Refers to itself."""

        def __init__(self) -> None:
            self.ring = self

    left = weakref.ref(Ring())
    give_back()
    assert left() is None


@pytest.mark.parametrize("ended", [WORTH - 1, WORTH, WORTH + 1])
async def test_a_crowd_that_has_left(ended: int, autojump_clock: MockClock) -> None:
    given: list[float] = []
    now = [0, 0]
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            tidy, lambda: (now[0], now[1]), lambda: given.append(trio.current_time() - began)
        )
        now[:] = [1, ended]
        await trio.sleep(3 * LOOK_SECONDS)
        assert not given  # somebody is still there
        now[0] = 0
        await trio.sleep(10 * AGAIN_SECONDS)
        nursery.cancel_scope.cancel()
    assert len(given) == (2 if ended >= WORTH else 0)
    if given:
        assert given[1] - given[0] == AGAIN_SECONDS


async def test_each_crowd_counts_by_itself(autojump_clock: MockClock) -> None:
    given: list[int] = []
    now = [0, 0]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tidy, lambda: (now[0], now[1]), lambda: given.append(now[1]))
        for total in (WORTH, 2 * WORTH - 1, 2 * WORTH):
            now[1] = total
            await trio.sleep(2 * LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    assert given == [WORTH, 2 * WORTH]
