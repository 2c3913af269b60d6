"""The fault matrix, client side: clients that leave, that stop reading, that send too slowly."""

import contextlib

import pytest
import trio
from trio.testing import MockClock

from tests.net.fakes import LAST_CHUNK, Client, Script, Seen, ask, chunk, head, nobody_accepts
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    call,
    delta,
    end,
    preamble,
    stop,
    world,
)

PAIRS = [(client, upstream) for client in (CHAT, MESSAGES) for upstream in (CHAT, MESSAGES)]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)


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


@pairs
@pytest.mark.parametrize("phase", ["before the head", "mid-stream", "blocking"])
async def test_a_client_that_leaves_cancels_the_upstream(
    client: str, upstream: str, phase: str, autojump_clock: MockClock
) -> None:
    """Row 24: the upstream's socket closes at once, in every phase."""
    begun = head() + chunk(preamble(upstream) + delta(upstream, "half"))
    script, asked, left = hangs(*([begun] if phase == "mid-stream" else []))
    async with world(script, upstream) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], call(client, stream=phase != "blocking"))
        await asked.wait()
        if phase == "mid-stream":
            await link.head()
            while b"half" not in await link.read():
                pass
        before = trio.current_time()
        await link.aclose()
        await left.wait()
        assert trio.current_time() - before < 0.1
        await here.kept()
        assert here.record.outcome == "client_gone"


@pairs
async def test_a_client_that_leaves_while_we_connect(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """Row 24: a listener whose queue is full accepts nobody."""
    script, _, _ = hangs()
    async with nobody_accepts() as url:
        options = {"up": {"base_url": f"{url}/v1"}}
        async with world(script, upstream, options=options) as here:
            link = await Client.connect(here.url)
            await link.send("POST", PATH[client], call(client))
            await trio.testing.wait_all_tasks_blocked()
            assert here.records == []
            await link.aclose()
            await here.kept()
            assert here.record.outcome == "client_gone"


@pairs
async def test_connecting_has_a_limit(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """Row 2 on loopback: 504 at `connect_seconds`."""
    script, _, _ = hangs()
    async with nobody_accepts() as url:
        options = {"up": {"base_url": f"{url}/v1"}}
        async with world(script, upstream, options=options) as here:
            before = trio.current_time()
            got = await ask(here.url, PATH[client], call(client))
            assert got.status == 504
            assert 5 <= trio.current_time() - before < 6


@pairs
async def test_a_client_that_stops_reading(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """Row 25: its upstream is paused, we hold little, and after `write_seconds` it is cut."""
    sent = 0
    piece = chunk(delta(upstream, "x" * 4000))

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        nonlocal sent
        await wire.send_all(head() + chunk(preamble(upstream)))
        while True:
            await wire.send_all(piece)
            sent += len(piece)

    async with world(script, upstream) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], call(client))
        before = trio.current_time()
        await here.kept()
        assert here.record.outcome == "client_stalled"
        assert 30 <= trio.current_time() - before <= 31
        # What was sent sits in the kernel's buffers of four sockets; without backpressure this
        # loop would never have ended.
        assert sent < 64 * 2**20
        await link.aclose()


@pairs
async def test_a_client_that_reads_slowly_is_served(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """Row 25: progress, however slow, is no stall."""
    words = "x" * 3_000_000
    body = preamble(upstream) + delta(upstream, words) + stop(upstream) + end(upstream)

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(body) + LAST_CHUNK)

    async with world(script, upstream) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], call(client))
        await link.head()
        size = 0
        while data := await link.read():
            size += len(data)
            await trio.sleep(0.2)  # virtual: this is what makes it slow
        assert size > len(words)
        await link.aclose()


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


async def test_a_client_that_leaves_at_the_terminator_had_everything(
    autojump_clock: MockClock,
) -> None:
    """SDKs close at `[DONE]`; the upstream's last chunk may still be on its way."""
    body = preamble(CHAT) + delta(CHAT, "all") + stop(CHAT) + end(CHAT)
    script, _, left = hangs(head() + chunk(body))
    async with world(script, CHAT) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        assert (await link.read()).endswith(b"[DONE]\n\n")
        await link.aclose()
        await left.wait()
        await here.kept()
        assert here.record.outcome == "ok"
