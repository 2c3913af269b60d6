"""Rows 26 to 31: the machine runs short, its clock is set, the proxy is told to end."""

import contextlib
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from tests.faults.answering import LIMITED, TWO, first
from tests.faults.story import (
    WHOLE,
    Case,
    Fault,
    Row,
    Scene,
    asks,
    breaks,
    good,
    hang,
    refused,
)
from tests.net.fakes import LAST_CHUNK, Got, Link, Script, Seen, chunk, head, whole
from tests.net.world import World, reply_body, reply_stream

HOUR = 3600.0
DRAIN = "server.drain_seconds"
DRAINED = "the proxy is shutting down"
RESUMES = 0.2
"""Seconds after which connections are accepted again once there are descriptors."""


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """This process may open so many more."""
    spare = [os.dup(0) for _ in range(count + 1)]
    lowest = max(spare)
    for one in spare:
        os.close(one)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def well(scene: Scene) -> Script:
    return good(scene.upstream)


async def comes_when_there_are_none(scene: Scene, here: World) -> Got | None:
    """Its own socket is the last one; a while later there is room again."""
    with descriptors_left(1):
        link = await scene.link(here)
        await scene.send(link)
        await trio.sleep(1)
        assert here.running == 0
    before = trio.current_time()
    got = await link.response()
    assert trio.current_time() - before <= RESUMES
    await link.aclose()
    return got


async def asks_when_there_are_none(scene: Scene, here: World) -> Got | None:
    """The connection stands; one to the upstream cannot be made."""
    link = await scene.link(here)
    await link.send("GET", "/healthz")
    assert (await link.response()).status == 200
    with descriptors_left(0):
        await scene.send(link)
        got = await link.response()
    await link.aclose()
    return got


# -- row 28


class Wall:
    """The machine's clock, which can be set."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._real = time.time  # noqa: TID251 - it is what is led astray

    def now(self) -> float:
        return self._real() + self.ahead


def set_clock(make: Callable[[Scene], Script]) -> Fault:
    """A machine whose clock can be set: every `time.time()` of the process is led astray."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        wall = scene.notes["wall"] = Wall()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.time", wall.now)
            async with first(make, **TWO)(scene) as here:
                yield here

    return fault


def in_halves(scene: Scene) -> Script:
    """The second half of a reply comes when it is told to."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if scene.stream:
            body = head() + chunk(reply_stream(scene.upstream, "fine")) + LAST_CHUNK
        else:
            body = whole(200, reply_body(scene.upstream, "fine"))
        middle = len(body) // 2
        await wire.send_all(body[:middle])
        scene.asked.set()
        await scene.go.wait()
        await wire.send_all(body[middle:])

    return script


async def is_set(by: float, scene: Scene, here: World) -> Got | None:
    """In the middle of a reply; then another exchange."""
    link = await scene.link(here)
    await scene.send(link)
    await scene.asked.wait()
    scene.notes["wall"].ahead = by
    await trio.sleep(12)
    scene.go.set()
    await link.response()
    await link.aclose()
    return await asks(scene, here)


async def is_set_while_a_key_rests(by: float, scene: Scene, here: World) -> Got | None:
    await asks(scene, here)
    scene.notes["wall"].ahead = by
    return await asks(scene, here)


def ordered(by: float, scene: Scene, here: World) -> None:
    """Stamps may go back; the order is told by numbers, durations by a clock that nobody sets."""
    one, two = here.records
    assert (one.sequence, two.sequence) == (1, 2)
    assert abs(two.started - one.started - by) < 60
    assert one.outcome == "ok"
    assert 12_000 <= one.duration_ms < 12_500
    assert 0 <= two.duration_ms < 500


def clock_set(words: str, by: float) -> list[Case]:
    return [
        Case(
            f"{words}, in the middle of a reply", set_clock(in_halves), WHOLE, WHOLE,
            attempts=("ok",), keys=("ready", "ready"), exchanges=2, seconds=12,
            acts=partial(is_set, by), also=partial(ordered, by),
        ),
        Case(
            f"{words}, while a key rests", set_clock(LIMITED), WHOLE, WHOLE, attempts=("ok",),
            keys=("resting", "ready"), exchanges=2, acts=partial(is_set_while_a_key_rests, by),
        ),
    ]  # fmt: skip


# -- row 30


def draining(make: Callable[[Scene], Script]) -> Fault:
    return first(make, server={"drain_seconds": 5})


def goes_on(*, begins: bool, ends: bool) -> Callable[[Scene], Script]:
    """Half of a reply (or nothing); the rest comes, or never."""

    def make(scene: Scene) -> Script:
        if ends:
            return in_halves(scene)

        async def script(seen: Seen, wire: trio.SocketStream) -> None:
            if begins:
                await wire.send_all(scene.half)
            scene.asked.set()
            await hang(wire)

        return script

    return make


async def is_told_to_end(scene: Scene, here: World) -> Got | None:
    """SIGTERM, as far as an exchange knows it."""
    got: list[Got] = []

    async def reads(link: Link) -> None:
        got.append(await link.response())

    async def drains() -> None:
        await here.proxy.drain()

    link = await scene.link(here)
    await scene.send(link)
    await scene.asked.wait()
    await trio.testing.wait_all_tasks_blocked()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reads, link)
        nursery.start_soon(drains)
        if scene.case.seconds == 0:
            await trio.testing.wait_all_tasks_blocked()
            scene.go.set()
    await link.aclose()
    return got[0]


FULL = refused(503, "the proxy is out of descriptors or memory", retry_after="1")

ROWS = (
    Row(27, "the disk is full, or broken, under the log of records", later="the log of records"),
    Row(29, "a worker is killed", later="workers"),
    Row(31, "a tool server hangs", later="tools"),
    Row(
        26, "no descriptor is left", "RLIMIT_NOFILE",
        (
            Case(
                "on accept", first(well), WHOLE, WHOLE, attempts=("ok",), seconds=1,
                acts=comes_when_there_are_none,
            ),
            Case(
                "on connect", first(well), FULL, FULL, attempts=("overloaded",),
                acts=asks_when_there_are_none,
            ),
        ),
        notes="Connections wait in the kernel's queue, and are accepted within 0.2 s once there is room.",
    ),
    Row(
        28, "the machine's clock is set", "every reading of the wall clock is led astray by an hour",
        (*clock_set("an hour ahead", HOUR), *clock_set("an hour back", -HOUR)),
        notes="No time-out runs by the wall clock. Its stamps may go back; `sequence` orders the records.",
    ),
    Row(
        30, "the proxy is told to end", "a drain with `server.drain_seconds = 5`",
        (
            Case(
                "the reply ends in time", draining(goes_on(begins=True, ends=True)), WHOLE, WHOLE,
                attempts=("ok",), limit=DRAIN, acts=is_told_to_end,
            ),
            Case(
                "before the answer's head", draining(goes_on(begins=False, ends=False)),
                refused(502, DRAINED), refused(502, DRAINED), limit=DRAIN, seconds=5,
                acts=is_told_to_end,
            ),
            Case(
                "in the middle of a reply", draining(goes_on(begins=True, ends=False)),
                breaks(DRAINED), None, attempts=("ok",), limit=DRAIN, seconds=5, acts=is_told_to_end,
            ),
            Case(
                "in the middle of a reply", draining(goes_on(begins=True, ends=False)), None,
                refused(502, DRAINED), limit=DRAIN, seconds=5, acts=is_told_to_end,
            ),
        ),
    ),
)  # fmt: skip
