"""Clients on HTTP/2, with prior knowledge, on real sockets."""

import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rawproxy.net.mux import INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from rawproxy.net.server import Server
from tests.net.fakes import LAST_CHUNK, Got, Script, Seen, ask, chunk, head, streams, whole
from tests.net.fakes_http2 import Http2Client, StreamReset
from tests.net.plain import Woken, answers, slowly, wakes_nobody
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    call,
    delta,
    end,
    errors,
    is_whole,
    message_of,
    preamble,
    reply_body,
    reply_stream,
    stop,
    text,
    world,
)


def good(words: str = "fine") -> Script:
    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        if b'"stream":true' in seen.body.replace(b" ", b""):
            await streams(reply_stream(CHAT, words))(seen, stream)
        else:
            await stream.send_all(whole(200, reply_body(CHAT, words)))

    return script


def begun() -> tuple[Script, trio.Event, trio.Event]:
    """A script that begins a stream and ends it when the second event is set; the first says it began."""
    started, go_on = trio.Event(), trio.Event()

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        await stream.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "one ")))
        started.set()
        await go_on.wait()
        await stream.send_all(chunk(delta(CHAT, "two") + stop(CHAT) + end(CHAT)) + LAST_CHUNK)

    return script, started, go_on


async def gathered(*tasks: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async with trio.open_nursery() as nursery:
        for task in tasks:
            nursery.start_soon(task)


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_reply_is_what_http_1_1_gets(client: str, stream: bool) -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[client], call(client, stream=stream))
        got = await link.response()
        other = await ask(here.url, PATH[client], call(client, stream=stream))
        assert (got.status, got.clean) == (200, True)
        # Ids are random in a translated reply, and the rest is not.
        assert got.body == other.body or client == MESSAGES
        assert len(got.body) == len(other.body)
        ours = {name for name in other.fields if name not in ("connection", "transfer-encoding")}
        assert set(got.fields) == ours
        await link.aclose()


@pytest.mark.usefixtures("with_the_pump")
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_that_comes_at_once_has_no_task(client: str, stream: bool) -> None:
    async with world(answers, CHAT) as here:
        link = await Http2Client.connect(here.url)
        woken = Woken("Http2Downstream._serve")
        await wakes_nobody(here, link, client, woken, stream=stream)
        assert not link.codes
        await link.aclose()


@pytest.mark.parametrize("stream", [True, False])
async def test_one_that_is_given_up_while_no_task_has_it(stream: bool) -> None:
    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await link.reset(link.number)
        assert await wire.receive_some(1) == b""

    async with world(slowly(goes_on, stream=stream), CHAT) as here:
        link = await Http2Client.connect(here.url)
        await link.send_at_once("POST", PATH[CHAT], call(CHAT, stream=stream, user="slowly"))
        await here.kept()
        await link.send_at_once("POST", PATH[CHAT], call(CHAT, stream=stream))
        assert (await link.response()).clean
        await here.kept(2)
        assert [record.outcome for record in here.records] == ["client_gone", "ok"]
        assert (here.running, here.held, here.proxy._room.taken) == (0, 0, 0)
        await link.aclose()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_connection_that_ends_while_no_task_serves_it(stream: bool) -> None:
    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await link.aclose()
        assert await wire.receive_some(1) == b""

    async with world(slowly(goes_on, stream=stream), CHAT) as here:
        link = await Http2Client.connect(here.url)
        await link.send_at_once("POST", PATH[CHAT], call(CHAT, stream=stream, user="slowly"))
        await here.kept()
        assert here.record.outcome == "client_gone"
        assert (here.running, here.held, here.proxy._room.taken) == (0, 0, 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_no_task_serves_is_kept_when_all_is_cancelled(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked = trio.Event()

    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        asked.set()
        await trio.sleep_forever()

    async with world(slowly(goes_on, stream=stream), CHAT) as here:
        link = await Http2Client.connect(here.url)
        await link.send_at_once("POST", PATH[CHAT], call(CHAT, stream=stream, user="slowly"))
        await asked.wait()
    assert here.record.outcome == "failed"
    assert (here.running, here.proxy._room.taken) == (0, 0)
    assert await link.stream.receive_some() != b""  # what was said before
    with contextlib.suppress(trio.BrokenResourceError):
        while await link.stream.receive_some():
            pass
    await link.aclose()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("at_once", [True, False])
async def test_bodies_bytes(over: int, at_once: bool) -> None:
    """What is held for one that is served counts, whatever serves it."""
    asked, go_on = trio.Event(), trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        asked.set()
        await go_on.wait()
        await wire.send_all(whole(200, reply_body(CHAT, "fine")))

    held = call(CHAT, stream=False)
    room = 1000 - len(held) - len(call(CHAT, stream=False, user=""))
    body = call(CHAT, stream=False, user="x" * (room + over))
    async with world(script, limits={"body_bytes": 1000, "bodies_bytes": 1000}) as here:
        link = await Http2Client.connect(here.url)
        send = link.send_at_once if at_once else link.send
        await send("POST", PATH[CHAT], held)
        first = link.number
        await asked.wait()
        assert here.proxy._room.taken == len(held)
        await send("POST", PATH[CHAT], body)
        if over > 0:
            got = await link.response()
            assert (got.status, got.fields["retry-after"]) == (503, "1")
        go_on.set()
        if over <= 0:
            assert (await link.response()).status == 200
        assert (await link.response(first)).status == 200
        assert here.proxy._room.taken == 0
        await link.aclose()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_fault_of_ours_costs_one_stream(
    at_once: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("planted")

    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        send = link.send_at_once if at_once else link.send
        with monkeypatch.context() as planted:
            planted.setattr(Server, "beginner", fails)
            planted.setattr(Server, "handle", fails)
            await send("POST", PATH[CHAT], call(CHAT))
            with pytest.raises(StreamReset) as found:
                await link.response()
        assert found.value.code == INTERNAL_ERROR
        await send("POST", PATH[CHAT], call(CHAT))
        assert is_whole(CHAT, (await link.response()).body)
        assert here.proxy._room.taken == 0
        await link.aclose()
    faults = [record.message for record in caplog.records if record.exc_info]
    assert faults == ["a stream ended by a fault of ours"]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/", 200),
        ("GET", "/v1/models", 200),
        ("POST", "/no", 404),
    ],
)
async def test_what_we_answer_ourselves(method: str, target: str, status: int) -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        await link.send(method, target)
        got = await link.response()
        assert (got.status, got.clean) == (status, True)
        assert bool(got.body) == (method != "HEAD")
        await link.aclose()


async def test_many_streams_share_a_connection() -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        numbers = []
        for _ in range(100):
            await link.send("POST", PATH[CHAT], call(CHAT))
            numbers.append(link.number)
        for number in reversed(numbers):
            got = await link.response(number)
            assert got.body == reply_stream(CHAT, "fine")
        assert len(here.proxy._connections) == 1
        await link.aclose()


async def test_a_large_body_comes_through_the_windows() -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        words = "x" * 3_000_000
        body = call(CHAT, messages=[{"role": "user", "content": words}])
        await link.send("POST", PATH[CHAT], body)
        assert (await link.response()).status == 200
        assert here.upstreams["up"].seen[0].body == body
        await link.aclose()


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_streams_per_connection(over: int) -> None:
    script, _, go_on = begun()
    async with world(script, limits={"streams_per_connection": 3}) as here:
        link = await Http2Client.connect(here.url)
        await link.head_of_settings()
        assert link.state.remote_settings.max_concurrent_streams == 3
        link.state.remote_settings.max_concurrent_streams = 100  # a client that does not care
        link.state.remote_settings.acknowledge()
        numbers = []
        for _ in range(3 + over):
            await link.send("POST", PATH[CHAT], call(CHAT))
            numbers.append(link.number)
        if over > 0:
            with pytest.raises(StreamReset) as refused:
                await link.head(numbers.pop())
            assert refused.value.code == REFUSED_STREAM
        go_on.set()
        for number in numbers:
            assert is_whole(CHAT, (await link.response(number)).body)
        await link.aclose()


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_requests_per_connection(over: int) -> None:
    async with world(good(), limits={"requests_per_connection": 3}) as here:
        link = await Http2Client.connect(here.url)
        for _ in range(min(3, 3 + over)):
            await link.send("POST", PATH[CHAT], call(CHAT))
            assert (await link.response()).clean
        if over < 0:
            assert link.gone is None
        else:
            await link.drained()
            assert link.gone == (NO_ERROR, 5)
        await link.aclose()


@pytest.mark.parametrize("over", [0, 1])
async def test_body_bytes(over: int) -> None:
    body = call(CHAT)
    async with world(good(), limits={"body_bytes": len(body) - over}) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], body)
        got = await link.response()
        assert got.status == (413 if over else 200)
        assert "body" in message_of(got.body) if over else is_whole(CHAT, got.body)
        # The connection is as good as before.
        await link.send("GET", "/healthz")
        assert (await link.response()).status == 200
        await link.aclose()


async def test_a_broken_request_costs_its_stream_only() -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        await link.send("GET", "no-slash")
        assert (await link.response()).status == 400
        await link.send("POST", PATH[CHAT], call(CHAT))
        assert (await link.response()).clean
        await link.aclose()


async def test_a_request_that_is_given_up_cancels_its_upstream() -> None:
    script, started, go_on = begun()
    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        first = link.number
        await started.wait()
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.reset(first)
        await here.kept()
        assert here.record.outcome == "client_gone"
        go_on.set()
        assert text(CHAT, (await link.response()).body) == "one two"
        await here.kept(2)
        assert here.records[1].outcome == "ok"
        await link.aclose()


async def test_a_client_that_leaves_gives_up_all_it_asked() -> None:
    script, started, _ = begun()
    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        for _ in range(5):
            await link.send("POST", PATH[CHAT], call(CHAT))
        await started.wait()
        await link.aclose()
        await here.kept(5)
        assert {record.outcome for record in here.records} == {"client_gone"}


async def test_a_client_that_stops_reading_a_stream(autojump_clock: MockClock) -> None:
    """Its window stays shut: the upstream is paused, and after `write_seconds` it is cut; others go on."""
    sent = 0

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        nonlocal sent
        if b"little" in seen.body:
            await streams(reply_stream(CHAT, "fine"))(seen, wire)
            return
        await wire.send_all(head() + chunk(preamble(CHAT)))
        while True:
            await wire.send_all(chunk(delta(CHAT, "x" * 4000)))
            sent += 4000

    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        stalled = link.number
        await link.head(stalled)
        link.state.increment_flow_control_window(2**20)  # of the connection, not of the stream
        await link.flush()
        before = trio.current_time()
        for _ in range(3):
            await link.send("POST", PATH[CHAT], call(CHAT, user="little"))
            assert is_whole(CHAT, (await link.response()).body)
        await here.kept(4)
        assert here.records[-1].outcome == "client_stalled"
        assert 30 <= trio.current_time() - before <= 31
        assert sent < 16 * 2**20
        assert not (await link.rest(stalled))[1]
        assert link.codes[stalled] == INTERNAL_ERROR
        await link.aclose()


async def test_a_client_that_takes_nothing_at_all(autojump_clock: MockClock) -> None:
    """The kernel's buffers fill up: nobody's bytes go out, and the connection ends."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(CHAT)))
        while True:
            await wire.send_all(chunk(delta(CHAT, "x" * 4000)))

    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        link.state.increment_flow_control_window(2**30)
        await link.send("POST", PATH[CHAT], call(CHAT))
        link.state.increment_flow_control_window(2**30, link.number)
        await link.flush()
        await here.kept()
        assert here.record.outcome in ("client_stalled", "client_gone")
        with trio.fail_after(100):
            while len(here.proxy._connections):  # noqa: ASYNC110 - virtual
                await trio.sleep(1)
        await link.aclose()


async def test_a_slow_body_is_cut(autojump_clock: MockClock) -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        number = await link.begin("POST", PATH[CHAT])
        before = trio.current_time()
        got = await link.response(number)
        assert got.status == 408
        assert 10 <= trio.current_time() - before < 11
        await link.aclose()


async def test_a_long_body_is_not_cut_for_ending_inside_frames(autojump_clock: MockClock) -> None:
    """Reads of one that is sent without a pause hardly ever end between two frames."""
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        number = await link.begin("POST", PATH[CHAT])
        body = call(CHAT, padding="x" * 20000)
        for at in range(0, len(body), 1000):
            link.state.send_data(number, body[at : at + 1000])
        link.state.end_stream(number)
        sent = link.state.data_to_send()
        await link.stream.send_all(sent[:500])
        for at in range(500, len(sent), 1009):  # a frame's size: each write ends inside of one
            await trio.sleep(1)
            await link.stream.send_all(sent[at : at + 1009])
        got = await link.response(number)
        assert got.status == 200
        await link.aclose()


async def test_a_slow_head_is_cut(autojump_clock: MockClock) -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        await link.head_of_settings()
        await link.stream.send_all(
            b"\0\0\x05\x01\x04\0\0\0\x01ab"
        )  # HEADERS of five bytes, of which two
        before = trio.current_time()
        await link.drained()
        assert 10 <= trio.current_time() - before < 11
        await link.aclose()


async def test_an_idle_connection_is_told_goodbye(autojump_clock: MockClock) -> None:
    async with world(good()) as here:
        link = await Http2Client.connect(here.url)
        await link.send("GET", "/healthz")
        await link.response()
        before = trio.current_time()
        await link.drained()
        assert 150 <= trio.current_time() - before < 151
        assert link.gone == (NO_ERROR, 1)
        await link.aclose()


async def test_a_drain_lets_streams_end() -> None:
    script, started, go_on = begun()
    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await started.wait()
        got: list[Got] = []

        async def client() -> None:
            got.append(await link.response())
            await link.drained()

        async def drain() -> None:
            await here.proxy.drain()

        async def end_it() -> None:
            await here.draining()
            go_on.set()

        await gathered(client, drain, end_it)
        assert text(CHAT, got[0].body) == "one two"
        assert got[0].clean
        assert link.gone == (NO_ERROR, 1)
        await link.aclose()


async def test_a_drain_that_takes_too_long_tells_so(autojump_clock: MockClock) -> None:
    script, started, _ = begun()
    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT))
        await started.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.proxy.drain)
            got = await link.response()
        assert len(errors(CHAT, got.body)) == 1
        assert got.clean
        await link.aclose()


async def test_what_breaks_without_words_is_reset() -> None:
    """Inside a coded reply there are no words for an error: it must not look whole."""

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
        await stream.send_all(head + b"content-length: 100\r\n\r\n" + bytes(50))
        await stream.send_eof()

    async with world(script) as here:
        link = await Http2Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=False))
        got = await link.response()
        assert (got.status, got.clean) == (200, False)
        assert link.codes == {1: INTERNAL_ERROR}
        await link.aclose()


async def test_a_body_that_nobody_waits_for_is_not_wanted() -> None:
    """We have answered: the client is told to stop sending (RFC 9113 8.1)."""
    async with world(good(), limits={"body_bytes": 10}) as here:
        link = await Http2Client.connect(here.url)
        number = await link.begin("POST", PATH[CHAT], {"content-length": "1000"})
        assert (await link.head(number)).status_code == 413
        assert (await link.rest(number))[1]
        await link.settle(number)
        assert link.codes == {number: NO_ERROR}
        await link.aclose()
