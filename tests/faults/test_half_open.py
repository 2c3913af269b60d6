"""Row 16: an upstream that is gone without a word is found by the kernel, in the kernel's own time."""

import socket

import pytest
import trio

from rawproxy.net.conn import (
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    UNSENT_BYTES,
)
from tests.faults.story import Scene, tell
from tests.faults.streaming import FOUND, SO_ATTACH_FILTER, deaf
from tests.faults.table import ROWS
from tests.net.fakes import ask, plays, whole
from tests.net.world import CHAT, PATH, call, reply_body, world

SCENES = [scene for row in ROWS for case in row.cases if case.real for scene in case.scenes()]


def filters_work() -> bool:
    """Whether this kernel lets a socket drop what comes to it."""
    with socket.socket() as sock:
        try:
            deaf(sock)  # type: ignore[arg-type]
        except OSError:
            return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(
    not filters_work(), reason=f"the kernel has no socket option {SO_ATTACH_FILTER}"
)
async def test_every_scene_at_the_same_time() -> None:
    """About 40 seconds: all of them wait for the kernel together."""
    async with trio.open_nursery() as nursery:
        for scene in SCENES:
            nursery.start_soon(named, scene)


async def named(scene: Scene) -> None:
    """Tell it; a failure says which one it was."""
    try:
        await tell(scene)
    except Exception as error:
        error.add_note(f"in the scene {scene}")
        raise


async def test_upstream_sockets_are_tuned() -> None:
    """Found within a minute: by probes where we wait, by what is not acknowledged where we sent."""
    script = plays(whole(200, reply_body(CHAT, "fine")))
    async with world(script, CHAT) as here:
        await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        [[link]] = [home.idle for home in here.proxy._server.upstreams._homes.values()]
        sock = link.conn._sock

        def option(name: str) -> int:
            return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert option("TCP_KEEPIDLE") == KEEPALIVE_IDLE
        assert option("TCP_KEEPINTVL") == KEEPALIVE_INTERVAL
        assert option("TCP_KEEPCNT") == KEEPALIVE_COUNT
        assert KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_COUNT <= FOUND
        assert option("TCP_USER_TIMEOUT") <= FOUND * 1000
        assert option("TCP_NOTSENT_LOWAT") == UNSENT_BYTES
