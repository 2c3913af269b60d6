"""Upstreams on HTTP/2, with prior knowledge, on real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from rawproxy.net.mux import CANCEL, INTERNAL_ERROR, REFUSED_STREAM
from rawproxy.net.upstream_http2 import PING_AFTER_SECONDS, PONG_SECONDS, Http2Link
from rawproxy.wire.h2.stream import STREAM_WINDOW
from tests.net.fakes import Client, Got, ask, plays
from tests.net.fakes_http2 import Http2Upstream, Script, Stream
from tests.net.plain import Woken, wakes_nobody
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    World,
    call,
    delta,
    end,
    errors,
    is_whole,
    preamble,
    reply_body,
    reply_stream,
    stop,
    text,
    world,
)

_stands = False


@pytest.fixture(autouse=True, params=[False, True], ids=["opened", "standing"])
def stands(request: pytest.FixtureRequest) -> None:
    """Each test is made twice: its first request opens a connection, with a task, or finds one, and has none."""
    global _stands
    _stands = request.param


async def stand(here: World) -> None:
    """Have a connection to the upstream stand."""
    upstreams = here.proxy._server.upstreams
    found = here.proxy._server.setup.site.router.find("m")
    link = await upstreams._link(upstreams._place(found[0].upstream))
    assert isinstance(link, Http2Link)
    while not link.has_room:
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def far(
    script: Script, most: int = 100, **more: Any
) -> AsyncIterator[tuple[World, Http2Upstream]]:
    """A proxy whose only upstream speaks HTTP/2."""
    async with Http2Upstream(script, most).running() as there:
        options = {"up": {"base_url": f"{there.url}/v1", "http2": "prior_knowledge"}}
        async with world(plays(), options=options, **more) as here:
            if _stands:
                await stand(here)
            yield here, there


async def good(stream: Stream) -> None:
    if b'"stream":true' in stream.seen.body.replace(b" ", b""):
        await stream.head()
        await stream.data(reply_stream(CHAT, "fine"), ends=True)
    else:
        await stream.head(kind="application/json")
        await stream.data(reply_body(CHAT, "fine"), ends=True)


async def post(here: World, client: str = CHAT, *, stream: bool = True) -> Got:
    return await ask(here.url, PATH[client], call(client, stream=stream))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
async def test_replies_come_over_one_connection(client: str, stream: bool) -> None:
    async with far(good) as (here, there):
        for _ in range(3):
            got = await post(here, client, stream=stream)
            assert got.status == 200
            assert got.clean
            if client == CHAT and stream:
                assert got.body == reply_stream(CHAT, "fine")
        assert there.accepted == 1
        seen = there.seen[0]
        assert seen.get(b":authority") == there.url.removeprefix("http://").encode()
        assert seen.get(b"content-length") == str(len(seen.body)).encode()
        assert seen.get(b"host") is None


@pytest.mark.usefixtures("with_the_pump")
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
async def test_no_task_is_woken(client: str, stream: bool) -> None:
    async with far(good) as (here, there):
        link = await Client.connect(here.url)
        await wakes_nobody(here, link, client, Woken(), stream=stream)
        assert (here.held, there.accepted) == (0, 1)
        await link.aclose()


@pytest.mark.parametrize("most", [100, 10])
async def test_requests_at_the_same_time_share_connections(most: int) -> None:
    waiting = 0
    all_there = trio.Event()

    async def script(stream: Stream) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 40:
            all_there.set()
        await all_there.wait()
        await good(stream)

    async with far(script, most) as (here, there):
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(post, here)
        assert there.accepted == 40 // most + bool(40 % most)
        assert {record.outcome for record in here.records} == {"ok"}


async def test_a_reset_in_the_middle_is_told() -> None:
    async def script(stream: Stream) -> None:
        await stream.head()
        await stream.data(preamble(CHAT) + delta(CHAT, "one"))
        await stream.reset(INTERNAL_ERROR)

    async with far(script) as (here, _):
        got = await post(here)
        assert text(CHAT, got.body) == "one"
        assert len(errors(CHAT, got.body)) == 1
        assert here.record.outcome == "broken"


@pytest.mark.parametrize("code", [REFUSED_STREAM, INTERNAL_ERROR])
async def test_a_refused_stream_is_sent_again(code: int) -> None:
    """Row 18: nothing was done with it. Any other code may have been said after it was processed."""
    refused = 0

    async def script(stream: Stream) -> None:
        nonlocal refused
        if not refused:
            refused += 1
            await stream.reset(code)
        else:
            await good(stream)

    async with far(script) as (here, _):
        got = await post(here)
        if code == REFUSED_STREAM:
            assert text(CHAT, got.body) == "fine"
        else:
            assert got.status == 502
        assert len(here.records) == 1


async def test_goaway_lets_what_it_took_end() -> None:
    """Row 17: our stream is not above the last; new requests go elsewhere."""
    gone = trio.Event()

    async def script(stream: Stream) -> None:
        if stream.peer.pings == -1 or gone.is_set():
            await good(stream)
            return
        await stream.head()
        await stream.data(preamble(CHAT) + delta(CHAT, "one "))
        await stream.peer.goaway(stream.number)
        gone.set()
        await stream.data(delta(CHAT, "two") + stop(CHAT) + end(CHAT), ends=True)

    async with far(script) as (here, there):
        assert text(CHAT, (await post(here)).body) == "one two"
        assert text(CHAT, (await post(here)).body) == "fine"
        assert there.accepted == 2


async def test_goaway_before_ours_is_sent_again() -> None:
    """Row 18: our stream is above the last that the upstream took."""

    async def script(stream: Stream) -> None:
        if not stream.peer.pings and len(there.peers) == 1:
            await stream.peer.goaway(0)
        else:
            await good(stream)

    async with far(script) as (here, there):
        assert text(CHAT, (await post(here)).body) == "fine"
        assert there.accepted == 2
        assert len(here.records) == 1


async def test_a_connection_that_ends_breaks_its_replies() -> None:
    async def script(stream: Stream) -> None:
        await stream.head()
        await stream.data(preamble(CHAT) + delta(CHAT, "one"))
        await stream.peer.stream.aclose()

    async with far(script) as (here, _):
        got = await post(here)
        assert len(errors(CHAT, got.body)) == 1
        assert not is_whole(CHAT, got.body)


async def test_an_idle_connection_that_was_closed_is_replaced() -> None:
    async with far(good) as (here, there):
        await post(here)
        await there.peers[0].stream.aclose()
        assert text(CHAT, (await post(here)).body) == "fine"
        assert there.accepted == 2


async def test_a_silent_upstream_that_answers_pings_is_waited_for(
    autojump_clock: MockClock,
) -> None:
    async def script(stream: Stream) -> None:
        await trio.sleep(100)
        await good(stream)

    async with far(script) as (here, there):
        assert text(CHAT, (await post(here)).body) == "fine"
        assert there.peers[0].pings >= 3


async def test_a_dead_upstream_is_found_by_its_pings(autojump_clock: MockClock) -> None:
    """Row 16: nothing comes any more, not even an answer to a PING."""
    dead = trio.Event()

    async def script(stream: Stream) -> None:
        await stream.head()
        await stream.data(preamble(CHAT) + delta(CHAT, "one"))
        stream.peer.deaf = True
        dead.set()

    async with far(script) as (here, _):
        before = trio.current_time()
        got = await post(here)
        assert len(errors(CHAT, got.body)) == 1
        passed = trio.current_time() - before
        assert PING_AFTER_SECONDS + PONG_SECONDS <= passed < PING_AFTER_SECONDS + PONG_SECONDS + 2


async def test_a_client_that_leaves_cancels_its_stream_only() -> None:
    other = trio.Event()

    async def script(stream: Stream) -> None:
        await stream.head()
        await stream.data(preamble(CHAT) + delta(CHAT, "one "))
        if b"stays" in stream.seen.body:
            await other.wait()
            await stream.data(delta(CHAT, "two") + stop(CHAT) + end(CHAT), ends=True)

    async with far(script) as (here, there):
        leaves, stays = await Client.connect(here.url), await Client.connect(here.url)
        await leaves.send("POST", PATH[CHAT], call(CHAT))
        await stays.send("POST", PATH[CHAT], call(CHAT, user="stays"))
        await leaves.head()
        await leaves.aclose()
        await here.kept()
        while not there.resets:
            await trio.lowlevel.checkpoint()
        assert there.resets == [CANCEL]
        other.set()
        assert text(CHAT, (await stays.response()).body) == "one two"
        await stays.aclose()
        assert there.accepted == 1


async def test_a_client_that_stops_reading_pauses_its_stream_only(
    autojump_clock: MockClock,
) -> None:
    sent = 0

    async def script(stream: Stream) -> None:
        nonlocal sent
        if b"little" in stream.seen.body:
            await good(stream)
            return
        await stream.head()
        await stream.data(preamble(CHAT))
        while True:
            await stream.data(delta(CHAT, "x" * 4000))
            sent += 4000

    async with far(script) as (here, there):
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        for _ in range(3):
            got = await ask(here.url, PATH[CHAT], call(CHAT, user="little"))
            assert is_whole(CHAT, got.body)
        await here.kept(4)
        assert here.records[-1].outcome == "client_stalled"
        assert sent < 16 * 2**20
        assert there.accepted == 1
        await link.aclose()


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_reply_comes_through_the_windows(client: str, stream: bool) -> None:
    """What was read is acknowledged: also what is held until a reply is whole, or let through."""
    words = "x" * 20 * STREAM_WINDOW

    async def script(asked: Stream) -> None:
        if stream:
            await asked.head()
            await asked.data(reply_stream(CHAT, words), ends=True)
        else:
            await asked.head(kind="application/json")
            await asked.data(reply_body(CHAT, words), ends=True)

    async with far(script) as (here, _):
        for _ in range(2):
            got = await post(here, client, stream=stream)
            assert got.clean
            assert text(client, got.body) == words if stream else words.encode() in got.body
        assert {record.outcome for record in here.records} == {"ok"}


async def test_a_long_request_goes_through_the_windows() -> None:
    async with far(good) as (here, there):
        body = call(CHAT, messages=[{"role": "user", "content": "x" * 20 * STREAM_WINDOW}])
        for _ in range(2):
            assert text(CHAT, (await ask(here.url, PATH[CHAT], body)).body) == "fine"
        assert [seen.body for seen in there.seen] == [body] * 2


async def test_a_connection_that_nobody_uses_is_closed(autojump_clock: MockClock) -> None:
    async with far(good) as (here, there):
        await post(here)
        await trio.sleep(61)
        assert there.closed == 1
        assert here.proxy._server.upstreams.open == 0


async def test_broken_http_2_is_a_bad_gateway() -> None:
    async def script(stream: Stream) -> None:
        await stream.peer.raw(b"\0\0\x04\x08\0\0\0\0\x01\0\0\0\0")  # WINDOW_UPDATE of nothing

    async with far(script) as (here, _):
        assert (await post(here)).status == 502
