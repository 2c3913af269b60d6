"""Row 24, beyond its scenes: replies that are read on for their usage, clients that sent ahead."""

import contextlib

import pytest
import trio
from trio.testing import MockClock

from tests.net.fakes import LAST_CHUNK, Client, Script, Seen, chunk, head
from tests.net.world import (
    CHAT,
    PATH,
    call,
    delta,
    end,
    preamble,
    stop,
    world,
)


def hangs(*writes: bytes) -> tuple[Script, trio.Event, trio.Event]:
    """A script that writes these and then waits for its peer to leave; events: asked, and left."""
    asked, left = trio.Event(), trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        for data in writes:
            await wire.send_all(data)
        asked.set()
        with contextlib.suppress(trio.BrokenResourceError):
            assert await wire.receive_some(1) == b""
        left.set()

    return script, asked, left


async def test_a_gone_client_may_be_read_on_for_its_usage(autojump_clock: MockClock) -> None:
    """`on_client_gone = "finish"`: the reply is read to its end, and counted."""
    go_on = trio.Event()
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
        await go_on.wait()
        await wire.send_all(chunk(stop(CHAT) + usage + end(CHAT)) + LAST_CHUNK)

    async with world(script, CHAT, stream={"on_client_gone": "finish"}) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        while b"half" not in await link.read():
            pass
        await link.aclose()
        await trio.testing.wait_all_tasks_blocked()
        go_on.set()
        await here.kept()
        assert here.record.outcome == "client_gone"
        await here.kept()
        assert (here.record.input_tokens, here.record.output_tokens) == (7, 9)


async def test_reading_on_has_a_limit(autojump_clock: MockClock) -> None:
    """`finish_seconds`."""
    script, _, left = hangs(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
    async with world(
        script, CHAT, stream={"on_client_gone": "finish", "finish_seconds": 20}
    ) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        while b"half" not in await link.read():
            pass
        before = trio.current_time()
        await link.aclose()
        await left.wait()
        assert 20 <= trio.current_time() - before <= 21


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_sent_too_much_ahead_and_leaves(
    stream: bool, autojump_clock: MockClock
) -> None:
    """Row 24: its socket is not read any more, and its leaving is seen all the same."""
    script, asked, left = hangs()
    async with world(script, CHAT) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=stream))
        await asked.wait()
        await link.stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.current_time()
        await link.aclose()
        await left.wait()
        assert trio.current_time() - before < 1
        await here.kept()
        assert here.record.outcome == "client_gone"
