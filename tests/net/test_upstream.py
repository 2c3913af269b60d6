"""The pool of upstream connections: when one is used again, and when it is not."""

import pytest
import trio
from trio.testing import MockClock

from rawproxy.net import upstream as pool
from tests.net.fakes import LAST_CHUNK, Seen, ask, chunk, head, plays, streams, whole
from tests.net.world import CHAT, PATH, call, reply_body, reply_stream, world

BODY = reply_body(CHAT, "fine")
STREAM = reply_stream(CHAT, "fine")


@pytest.mark.parametrize(
    ("writes", "connections"),
    [
        ([whole(200, BODY)], 1),
        ([whole(200, BODY, "application/json", "connection: close")], 2),
        ([whole(200, BODY) + b"surplus"], 2),
        ([head(200, "application/json"), chunk(BODY), LAST_CHUNK], 1),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + whole(200, BODY)], 1),
        ([whole(500, b"{}")], 1),
    ],
)
async def test_when_a_connection_is_used_again(writes: list[bytes], connections: int) -> None:
    async with world(plays(*writes), CHAT) as here:
        for _ in range(2):
            await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        assert here.upstreams["up"].accepted == connections


async def test_a_body_that_ends_with_its_connection() -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + BODY)
        await wire.aclose()

    async with world(script, CHAT) as here:
        got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        assert (got.status, got.body) == (200, BODY)


@pytest.mark.parametrize("seconds", [pool.IDLE_SECONDS - 1, pool.IDLE_SECONDS + 1])
async def test_idle_connections_are_not_kept_for_ever(
    seconds: float, autojump_clock: MockClock
) -> None:
    async with world(plays(whole(200, BODY)), CHAT) as here:
        for _ in range(2):
            await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
            await trio.sleep(seconds)  # virtual
        assert here.upstreams["up"].accepted == (2 if seconds > pool.IDLE_SECONDS else 1)


async def test_a_connection_that_was_closed_meanwhile_is_found_before_its_use() -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(whole(200, BODY))
        await wire.aclose()

    async with world(script, CHAT) as here:
        for _ in range(2):
            got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
            assert got.status == 200
            await trio.testing.wait_all_tasks_blocked()
        assert here.upstreams["up"].accepted == 2


async def test_concurrent_calls_have_connections_of_their_own_and_leave_few() -> None:
    async with world(streams(STREAM), CHAT) as here, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask, here.url, PATH[CHAT], call(CHAT))
        await here.kept(20)
        assert 1 <= here.upstreams["up"].accepted <= 20
