"""The step loop: what it does at the clocks' bidding, and in what order. Faults are in tests/faults."""

import pytest
import trio
from trio.testing import MockClock

from rawproxy.gateway.exchange import Exchange, Step
from rawproxy.gateway.liveness import Timing
from tests.net.fakes import Client, Seen, ask, chunk, head
from tests.net.fakes_http2 import Http2Client
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    call,
    delta,
    errors,
    frames,
    is_whole,
    message_of,
    preamble,
    reply_stream,
    text,
    world,
)


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
async def test_keepalives_count_downstream_silence(client: str, autojump_clock: MockClock) -> None:
    """An upstream that sends only what the client never sees starves nobody."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head())
        for _ in range(5):
            await trio.sleep(8)
            await wire.send_all(chunk(b": upstream ping\n\n"))
        await wire.send_all(chunk(reply_stream(CHAT, "late")) + b"0\r\n\r\n")

    upstream = CHAT
    async with world(script, upstream) as here:
        began = trio.current_time()
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], call(client))
        await link.head()
        assert trio.current_time() - began == pytest.approx(
            10 if client != upstream else 8, abs=0.5
        )
        body = b""
        while data := await link.read():
            body += data
        await link.aclose()
        assert text(client, body) == "late"
        assert is_whole(client, body)


async def test_keepalives_can_be_switched_off(autojump_clock: MockClock) -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.sleep(100)
        await wire.send_all(head() + chunk(reply_stream(CHAT, "late")) + b"0\r\n\r\n")

    async with world(script, CHAT, stream={"keepalive_seconds": 0}) as here:
        got = await ask(here.url, PATH[CHAT], call(CHAT))
        assert got.body == reply_stream(CHAT, "late")


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
async def test_a_total_ends_everything(client: str, autojump_clock: MockClock) -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(client)))
        while True:
            await wire.send_all(chunk(delta(client, "x")))
            await trio.sleep(1)

    async with world({"a": script, "b": script}, client, stream={"total_seconds": 30}) as here:
        began = trio.current_time()
        got = await ask(here.url, PATH[client], call(client))
        assert 30 <= trio.current_time() - began < 31
        assert errors(client, got.body) == ["the exchange took longer than it may"]
        assert here.upstreams["b"].seen == []


async def test_head_and_first_output_leave_in_one_write() -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT)))
        await trio.testing.wait_all_tasks_blocked()
        await wire.send_all(chunk(delta(CHAT, "first")))
        await trio.sleep_forever()

    async with world({"a": script, "b": script}, CHAT) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        read = await link.stream.receive_some(65536)
        assert read.startswith(b"HTTP/1.1 200")
        assert b"first" in read
        await link.aclose()


async def test_frames_of_one_read_leave_together() -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(reply_stream(CHAT, *"abc")) + b"0\r\n\r\n")

    async with world(script, CHAT) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        assert len(frames(await link.read())) == 6
        await link.aclose()


@pytest.mark.parametrize("version", [Client, Http2Client])
async def test_no_keepalive_goes_before_what_a_task_is_to_say(
    version: type[Client] | type[Http2Client],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault of ours, after a silence: the clocks are looked at before the task runs that tells of it."""
    asked, go = trio.Event(), trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        asked.set()
        await go.wait()
        await wire.send_all(head())

    def broken(*_: object) -> Step:
        raise RuntimeError("ours")

    monkeypatch.setattr(Exchange, "on_head", broken)
    async with world(script, CHAT) as here:
        link = await version.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await asked.wait()
        [run] = here.proxy._sweeper.runs
        if (wake := run._wake) is not None:  # plain calls go on with it

            def wakes() -> None:
                wake()
                run.tick(trio.current_time() + Timing().keepalive_seconds)

            run._wake = wakes
        go.set()
        got = await link.response()
        assert got.status == 500
        assert message_of(got.body) == "internal error"
        await link.aclose()
    assert "exchange" in caplog.text
