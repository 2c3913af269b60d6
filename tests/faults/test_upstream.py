"""The fault matrix, upstream side: what the client sees of each way an upstream can fail.

Rows of the matrix are named in each test. Every pair of client and upstream dialect, streaming or
blocking, on real sockets, in virtual time.
"""

import json

import pytest
import trio
from trio.testing import MockClock

from tests.net.fakes import (
    LAST_CHUNK,
    Client,
    Got,
    Script,
    Seen,
    ask,
    chunk,
    head,
    plays,
    reset,
    streams,
    whole,
)
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    World,
    call,
    delta,
    end,
    error_body,
    error_frame,
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

PAIRS = [(client, upstream) for client in (CHAT, MESSAGES) for upstream in (CHAT, MESSAGES)]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)
blocking_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "blocking"])


async def post(here: World, client: str, *, stream: bool = True) -> Got:
    return await ask(here.url, PATH[client], call(client, stream=stream))


def good(upstream: str, words: str = "fine") -> Script:
    """Answers whatever is asked, streaming or not."""

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        if b'"stream":true' in seen.body.replace(b" ", b""):
            await streams(reply_stream(upstream, words))(seen, stream)
        else:
            await stream.send_all(whole(200, reply_body(upstream, words)))

    return script


async def resets(seen: Seen, stream: trio.SocketStream) -> None:
    reset(stream)


async def silent(seen: Seen, stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


def reply_words(client: str, stream: bool, body: bytes) -> str:
    if stream:
        return text(client, body)
    reply = json.loads(body)
    if client == CHAT:
        return str(reply["choices"][0]["message"]["content"])
    return str(reply["content"][0]["text"])


async def closed_port() -> int:
    """A port that nobody listens on."""
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = int(listener[0].socket.getsockname()[1])
    await listener[0].aclose()
    return port


# -- row 1


@pairs
@blocking_or_not
async def test_refused_connection_is_502(client: str, upstream: str, stream: bool) -> None:
    """Row 1: nobody listens."""
    url = f"http://127.0.0.1:{await closed_port()}/v1"
    async with world(good(upstream), upstream, options={"up": {"base_url": url}}) as here:
        got = await post(here, client, stream=stream)
        assert got.status == 502
        assert "cannot be reached" in message_of(got.body)
        await here.kept()
        assert here.record.outcome == "failed"


@pairs
@blocking_or_not
async def test_refused_connection_moves_on(client: str, upstream: str, stream: bool) -> None:
    """Row 1: the route has another candidate."""
    url = f"http://127.0.0.1:{await closed_port()}/v1"
    scripts = {"down": good(upstream), "up": good(upstream)}
    async with world(scripts, upstream, options={"down": {"base_url": url}}) as here:
        got = await post(here, client, stream=stream)
        assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")
        await here.kept()
        assert [note.ended for note in here.record.attempts] == ["server", "ok"]


# -- rows 7, 8, 9


@pairs
@blocking_or_not
async def test_429_rests_the_key_and_the_next_is_used(
    client: str, upstream: str, stream: bool
) -> None:
    """Row 7: the pool has another key; the first one rests for as long as it was told."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        key = (seen.get(b"authorization") or seen.get(b"x-api-key") or b"").removeprefix(b"Bearer ")
        if key == b"first":
            body = error_body(upstream, "rate_limit_error", "slow down")
            await wire.send_all(whole(429, body, "application/json", "retry-after: 30"))
        else:
            await good(upstream)(seen, wire)

    options = {"up": {"keys": ["first", "second"]}}
    async with world(script, upstream, options=options) as here:
        for _ in range(2):
            got = await post(here, client, stream=stream)
            assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")
        # The second exchange did not touch the resting key.
        await here.kept(2)
        assert [len(record.attempts) for record in here.records] == [2, 1]


@pairs
@blocking_or_not
async def test_429_everywhere_is_told_with_its_retry_after(
    client: str, upstream: str, stream: bool
) -> None:
    """Row 7: no other key."""
    body = error_body(upstream, "rate_limit_error", "slow down")
    script = plays(whole(429, body, "application/json", "retry-after: 30"))
    async with world(script, upstream, options={"up": {"keys": ["only"]}}) as here:
        got = await post(here, client, stream=stream)
        assert (got.status, got.fields["retry-after"]) == (429, "30")
        assert message_of(got.body) == "slow down"
        again = await post(here, client, stream=stream)
        assert again.status == 429
        assert 0 < int(again.fields["retry-after"]) <= 30
        assert len(here.upstreams["up"].seen) == 1  # the resting key was not asked again


@pairs
@blocking_or_not
async def test_401_buries_the_key(client: str, upstream: str, stream: bool) -> None:
    """Row 8: no key left is a bad gateway, without the upstream's words, which quote the key."""
    body = error_body(upstream, "authentication_error", "bad key sk-canary-123")
    script = plays(whole(401, body))
    async with world(script, upstream, options={"up": {"keys": ["sk-canary-123"]}}) as here:
        for _ in range(2):
            got = await post(here, client, stream=stream)
            assert got.status == 502
            assert b"canary" not in got.body
        assert len(here.upstreams["up"].seen) == 1


@pairs
async def test_403_rests_the_key_for_that_model(client: str, upstream: str) -> None:
    """Row 8."""
    script = plays(whole(403, error_body(upstream, "permission_error", "not for org-7")))
    async with world(script, upstream, options={"up": {"keys": ["k"]}}) as here:
        got = await post(here, client)
        assert got.status == 502
        assert b"org-7" not in got.body


@pairs
@pytest.mark.parametrize("status", [401, 403])
async def test_in_mode_forward_401_and_403_reach_the_client(
    client: str, upstream: str, status: int
) -> None:
    """Row 8: the credential is the client's own, and so is the trouble with it."""
    kind = "authentication_error" if status == 401 else "permission_error"
    script = plays(whole(status, error_body(upstream, kind, "not you")))
    options = {"up": {"forward": True}}
    async with world(script, upstream, options=options, access={"mode": "forward"}) as here:
        got = await ask(
            here.url, PATH[client], call(client), {"authorization": "Bearer my-own-key"}
        )
        assert (got.status, message_of(got.body)) == (status, "not you")
        seen = here.upstreams["up"].seen[0]
        sent = seen.get(b"authorization") or seen.get(b"x-api-key")
        assert sent is not None
        assert sent.endswith(b"my-own-key")


@pairs
@blocking_or_not
@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_5xx_moves_on(client: str, upstream: str, stream: bool, status: int) -> None:
    """Row 9: to the next candidate."""
    bad = plays(whole(status, error_body(upstream, "api_error", "down")))
    async with world({"bad": bad, "up": good(upstream)}, upstream) as here:
        got = await post(here, client, stream=stream)
        assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")
        assert got.fields["x-rawproxy-upstream"] == "up/m"


@pairs
@pytest.mark.parametrize("status", [500, 503, 529])
async def test_5xx_is_told_in_the_clients_dialect(client: str, upstream: str, status: int) -> None:
    """Row 9: nobody else to ask."""
    script = plays(whole(status, error_body(upstream, "api_error", "down")))
    async with world(script, upstream) as here:
        got = await post(here, client)
        assert got.status >= 500
        assert message_of(got.body) == "down"
        if client == upstream:
            assert got.status == status
            assert got.body == error_body(upstream, "api_error", "down")


@pairs
async def test_400_is_the_clients_own_and_nobody_else_is_asked(client: str, upstream: str) -> None:
    bad = plays(whole(400, error_body(upstream, "invalid_request_error", "messages: too odd")))
    async with world({"bad": bad, "up": good(upstream)}, upstream) as here:
        got = await post(here, client)
        assert (got.status, message_of(got.body)) == (400, "messages: too odd")
        assert here.upstreams["up"].seen == []
        await here.kept()
        assert here.record.outcome == "refused"


# -- rows 10 to 12


@pairs
@blocking_or_not
async def test_no_response_head(
    client: str, upstream: str, stream: bool, autojump_clock: MockClock
) -> None:
    """Row 10: a blocking call gets 504; a stream that was kept alive gets the one terminal error."""
    async with world(silent, upstream, stream={"first_event_seconds": 25}) as here:
        got = await post(here, client, stream=stream)
        if stream:
            assert got.status == 200
            assert errors(client, got.body) == ["the upstream did not begin to answer in time"]
            assert not is_whole(client, got.body)
            assert got.body.count(b": keepalive") == 2  # keepalives at 10 and 20 s
            assert got.clean
        else:
            assert got.status == 504
        await here.kept()
        assert here.record.outcome == "failed"


@pairs
async def test_no_response_head_before_any_keepalive(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """Row 10: before the first keepalive there is a status."""
    async with world(silent, upstream, stream={"first_event_seconds": 5}) as here:
        got = await post(here, client)
        assert got.status == 504


@pairs
async def test_a_keepalive_does_not_end_failover(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """The head went with a keepalive; the next candidate's output follows it."""
    scripts = {"bad": silent, "up": good(upstream)}
    async with world(scripts, upstream, stream={"first_event_seconds": 25}) as here:
        got = await post(here, client)
        assert (got.status, text(client, got.body)) == (200, "fine")
        assert is_whole(client, got.body)
        assert errors(client, got.body) == []


@pairs
@blocking_or_not
async def test_reset_before_the_head_on_a_fresh_connection(
    client: str, upstream: str, stream: bool
) -> None:
    """Row 11: it may have been processed, so the same upstream is not asked again."""
    async with world(resets, upstream) as here:
        got = await post(here, client, stream=stream)
        assert got.status == 502
        assert len(here.upstreams["up"].seen) == 1
    async with world({"bad": resets, "up": good(upstream)}, upstream) as here:
        got = await post(here, client, stream=stream)
        assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")


@pairs
@blocking_or_not
async def test_a_stale_pooled_connection_is_replaced_without_a_word(
    client: str, upstream: str, stream: bool
) -> None:
    """Row 12: the upstream closed it after our request was on its way."""
    answered = 0

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        nonlocal answered
        answered += 1
        if answered == 2:
            reset(wire)
        else:
            await good(upstream)(seen, wire)

    async with world(script, upstream) as here:
        for _ in range(2):
            got = await post(here, client, stream=stream)
            assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")
        assert here.upstreams["up"].accepted == 2
        await here.kept(2)
        assert [len(record.attempts) for record in here.records] == [1, 1]


# -- rows 13 to 15


@pairs
async def test_reset_mid_stream(client: str, upstream: str) -> None:
    """Row 13: exactly one error, and the body ends cleanly."""
    half_is_there = trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(upstream) + delta(upstream, "half")))
        await half_is_there.wait()
        reset(wire)

    async with world(script, upstream) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], call(client))
        assert (await link.head()).status_code == 200
        body = b""
        while b"half" not in body:
            body += await link.read()
        half_is_there.set()
        while data := await link.read():
            body += data
        assert len(errors(client, body)) == 1
        assert not is_whole(client, body)
        await link.aclose()
        await here.kept()
        assert here.record.outcome == "broken"


@pairs
@blocking_or_not
async def test_end_before_stop(client: str, upstream: str, stream: bool) -> None:
    """Row 14: the body ended cleanly, the reply did not."""
    half = preamble(upstream) + delta(upstream, "half")
    async with world(streams(half), upstream) as here:
        got = await post(here, client, stream=stream)
        if stream:
            assert text(client, got.body) == "half"
            assert len(errors(client, got.body)) == 1
            assert not is_whole(client, got.body)
            await here.kept()
            assert here.record.outcome == "broken"
        else:
            assert got.status == 502


@pairs
@pytest.mark.parametrize("last_chunk", [True, False])
async def test_end_after_stop_is_whole(client: str, upstream: str, last_chunk: bool) -> None:
    """Row 14: after Stop the reply is whole; what is missing is written, and the record says so."""
    body = preamble(upstream) + delta(upstream, "all") + stop(upstream)

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(body) + (LAST_CHUNK if last_chunk else b""))
        if not last_chunk:
            await wire.aclose()

    async with world(script, upstream) as here:
        got = await post(here, client)
        assert text(client, got.body) == "all"
        assert is_whole(client, got.body)
        assert errors(client, got.body) == []
        await here.kept()
        assert here.record.outcome == "repaired"


@pairs
async def test_silence_after_stop_is_not_waited_for(
    client: str, upstream: str, autojump_clock: MockClock
) -> None:
    """After Stop usage and terminator have two seconds."""
    body = preamble(upstream) + delta(upstream, "all") + stop(upstream)

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(body))
        await trio.sleep_forever()

    async with world(script, upstream) as here:
        before = trio.current_time()
        got = await post(here, client)
        assert is_whole(client, got.body)
        await here.kept()
        assert here.record.outcome == "repaired"
        assert 2 <= trio.current_time() - before <= 3


@pairs
async def test_silence_mid_stream(client: str, upstream: str, autojump_clock: MockClock) -> None:
    """Row 15: keepalives meanwhile, then one error."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(upstream) + delta(upstream, "half")))
        await trio.sleep_forever()

    async with world(script, upstream, stream={"silence_seconds": 35}) as here:
        got = await post(here, client)
        assert errors(client, got.body) == ["the upstream fell silent"]
        keepalive = b": keepalive" if client == CHAT else b"event: ping"
        assert got.body.count(keepalive) == 3
        assert got.clean
        await here.kept()
        assert here.record.outcome == "broken"


# -- errors inside a 200


@pairs
@blocking_or_not
@pytest.mark.parametrize("before", [b"", b"preamble"])
async def test_an_error_inside_a_200_before_output_moves_on(
    client: str, upstream: str, stream: bool, before: bytes
) -> None:
    start = preamble(upstream) if before else b""
    bad = streams(start + error_frame(upstream, "overloaded_error"))
    async with world({"bad": bad, "up": good(upstream)}, upstream) as here:
        got = await post(here, client, stream=stream)
        assert (got.status, reply_words(client, stream, got.body)) == (200, "fine")
        await here.kept()
        assert [note.ended for note in here.record.attempts][-1] == "ok"


@pairs
async def test_an_error_after_output_is_told_and_nothing_is_retried(
    client: str, upstream: str
) -> None:
    bad = streams(preamble(upstream) + delta(upstream, "half") + error_frame(upstream))
    async with world({"bad": bad, "up": good(upstream)}, upstream) as here:
        got = await post(here, client)
        assert text(client, got.body) == "half"
        assert errors(client, got.body) == ["it broke"]
        assert here.upstreams["up"].seen == []
        await here.kept()
        assert here.record.outcome == "broken"


@pairs
async def test_a_first_frame_error_has_a_status(client: str, upstream: str) -> None:
    async with world(streams(error_frame(upstream)), upstream) as here:
        got = await post(here, client)
        assert got.status >= 500
        assert message_of(got.body) == "it broke"


# -- rows 20, 21, 23


@pairs
async def test_garbage_in_a_stream(client: str, upstream: str) -> None:
    """Row 20: translated, the reply breaks and the bytes are not echoed; passed, they are relayed."""
    garbage = b"data: {canary garbage\n\n"
    body = preamble(upstream) + delta(upstream, "a") + garbage + delta(upstream, "b")
    body += stop(upstream) + end(upstream)
    async with world(streams(body), upstream) as here:
        got = await post(here, client)
        if client == upstream:
            assert got.body == body
            await here.kept()
            assert here.record.outcome == "ok"
        else:
            assert len(errors(client, got.body)) == 1
            assert b"canary" not in got.body
            await here.kept()
            assert here.record.outcome == "broken"


@pairs
@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_frame_at_the_limit(client: str, upstream: str, over: int) -> None:
    """Row 21: a frame over `stream.frame_bytes` goes through unobserved, or breaks a translation."""
    limit = 5000
    short = len(delta(upstream, "")) - 1  # the second of two line ends does not count
    long = delta(upstream, "x" * (limit - short + over))
    body = preamble(upstream) + delta(upstream, "a") + long + stop(upstream) + end(upstream)
    async with world(streams(body, piece=700), upstream, stream={"frame_bytes": limit}) as here:
        got = await post(here, client)
        if client == upstream:
            assert got.body == body
            await here.kept()
            assert (here.record.unknown_frames > 0) is (over > 0)
        elif over > 0:
            assert len(errors(client, got.body)) == 1
        else:
            assert is_whole(client, got.body)


@pairs
@pytest.mark.parametrize("size", [60_000, 70_000])
async def test_a_response_head_at_the_limit(client: str, upstream: str, size: int) -> None:
    """Row 21: 64 KiB."""
    script = plays(
        head(200, "text/event-stream", "x-long: " + "y" * size),
        chunk(reply_stream(upstream, "fine")),
        LAST_CHUNK,
    )
    async with world(script, upstream) as here:
        got = await post(here, client)
        assert got.status == (200 if size < 65536 else 502)


@pytest.mark.slow
@pairs
async def test_a_hundred_thousand_tiny_events(client: str, upstream: str) -> None:
    """Row 21."""
    body = preamble(upstream) + delta(upstream, "x") * 100_000 + stop(upstream) + end(upstream)
    async with world(streams(body, piece=65536), upstream) as here:
        got = await post(here, client)
        assert text(client, got.body) == "x" * 100_000
        assert is_whole(client, got.body)


@pairs
async def test_an_upstreams_header_injects_nothing(client: str, upstream: str) -> None:
    """Row 23: cookies, hop-by-hop fields and our own names stay behind."""
    fields = (
        "set-cookie: a=b",
        "connection: x-private",
        "x-private: 1",
        "keep-alive: timeout=5",
        "x-rawproxy-upstream: evil",
        "openai-organization: org-1",
        "x-request-id: req_7",
        "x-ratelimit-remaining-requests: 9",
    )
    script = plays(
        head(200, "text/event-stream", *fields), chunk(reply_stream(upstream, "fine")), LAST_CHUNK
    )
    async with world(script, upstream) as here:
        got = await post(here, client)
        assert got.fields["x-rawproxy-upstream"] == "up/m"
        assert got.fields["x-request-id"] == "req_7"
        assert got.fields["x-ratelimit-remaining-requests"] == "9"
        for name in ("set-cookie", "x-private", "keep-alive", "openai-organization"):
            assert name not in got.fields


@pairs
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n folded: x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
    ],
)
async def test_broken_http_is_a_bad_gateway(client: str, upstream: str, raw: bytes) -> None:
    """Row 23: nothing of it is echoed."""
    async with world(plays(raw), upstream) as here:
        got = await post(here, client)
        assert got.status == 502
        assert b"SSH" not in got.body


@pairs
@blocking_or_not
async def test_a_coded_reply(client: str, upstream: str, stream: bool) -> None:
    """Row 22: we asked for identity and decode nothing: passed as it is, else a bad gateway."""
    script = plays(whole(200, b"\x1f\x8bnot really", "text/event-stream", "content-encoding: gzip"))
    async with world(script, upstream) as here:
        got = await post(here, client, stream=stream)
        if client == upstream:
            assert (got.body, got.fields["content-encoding"]) == (b"\x1f\x8bnot really", "gzip")
        else:
            assert got.status == 502
        assert here.upstreams["up"].seen[0].get(b"accept-encoding") == b"identity"


@pairs
async def test_a_redirect_is_never_followed(client: str, upstream: str) -> None:
    script = plays(whole(307, b"", "text/plain", "location: http://127.0.0.1:1/"))
    async with world(script, upstream) as here:
        got = await post(here, client)
        assert got.status == 502
        assert "location" not in got.fields
