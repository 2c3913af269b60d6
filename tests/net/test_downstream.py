"""One client connection: framing, limits at their edges, pipelining, and what slow clients get."""

import json

import pytest
import trio
from trio.testing import MockClock

from tests.net.fakes import Client, Seen, ask, plays, streams, whole
from tests.net.world import CHAT, MESSAGES, PATH, call, message_of, reply_body, reply_stream, world

GOOD = plays(whole(200, reply_body(CHAT, "fine")))


async def raw(url: str, data: bytes) -> bytes:
    """Send bytes as they are; return everything that comes back."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        await stream.send_all(data)
        got = b""
        while more := await stream.receive_some(65536):
            got += more
        return got


def request(body: bytes, *fields: str, target: str = "/v1/chat/completions") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


BODY = call(CHAT, stream=False)


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_body_bytes(over: int) -> None:
    limit = 1000
    body = call(CHAT, stream=False, user="")
    body = call(CHAT, stream=False, user="x" * (limit - len(body) + over))
    assert len(body) == limit + over
    async with world(GOOD, CHAT, limits={"body_bytes": limit}) as here:
        got = await ask(here.url, PATH[CHAT], body)
        assert got.status == (413 if over > 0 else 200)


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_bytes(over: int, client: str, chunked: bool) -> None:
    """What is held for a request that is still read, and for one that is served, counts."""
    asked, go_on = trio.Event(), trio.Event()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        asked.set()
        await go_on.wait()
        await wire.send_all(whole(200, reply_body(client, "fine")))

    body = call(client, stream=False)
    limits = {"body_bytes": 1000, "bodies_bytes": 1000}
    async with world(script, client, limits=limits) as here, trio.open_nursery() as nursery:
        nursery.start_soon(ask, here.url, PATH[client], body)
        await asked.wait()
        arriving = await Client.connect(here.url)
        await arriving.stream.send_all(request(b"x" * 900)[:-800])
        await trio.testing.wait_all_tasks_blocked()
        assert here.proxy._room.taken == len(body) + 100
        left = 1000 - len(body) - 100
        body = call(client, stream=False, user="")
        body = call(client, stream=False, user="x" * (left - len(body) + over))
        fields = {"transfer-encoding": "chunked"} if chunked else {}
        link = await Client.connect(here.url)
        await link.send("POST", PATH[client], body, fields)
        await trio.testing.wait_all_tasks_blocked()
        if over <= 0:
            assert here.proxy._room.taken == 1000 + over
        go_on.set()
        got = await link.response()
        assert got.status == (503 if over > 0 else 200)
        if over > 0:
            assert got.fields["retry-after"] == "1"
            assert "1000 bytes together" in message_of(got.body)
            if client == MESSAGES:
                assert json.loads(got.body)["error"]["type"] == "overloaded_error"
        for one in (arriving, link):
            await one.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert here.proxy._room.taken == 0


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_head_fields(over: int) -> None:
    limit = 20
    fields = {f"x-{n}": "v" for n in range(limit + over - 2)}  # host and content-length make two
    async with world(GOOD, CHAT, limits={"head_fields": limit}) as here:
        got = await ask(here.url, PATH[CHAT], BODY, fields)
        assert got.status == (431 if over > 0 else 200)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_head_bytes(over: int) -> None:
    limit = 2000
    bare = request(BODY, "Connection: close", "x: ")
    size = bare.index(b"\r\n\r\n") + 4
    filled = request(BODY, "Connection: close", "x: " + "y" * (limit - size + over))
    assert filled.index(b"\r\n\r\n") + 4 == limit + over
    async with world(GOOD, CHAT, limits={"head_bytes": limit}) as here:
        assert status_of(await raw(here.url, filled)) == (431 if over > 0 else 200)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_connections(over: int) -> None:
    limit = 3
    async with world(GOOD, CHAT, limits={"connections": limit}) as here:
        others = [await Client.connect(here.url) for _ in range(limit + over - 1)]
        await trio.testing.wait_all_tasks_blocked()
        last = await Client.connect(here.url)
        try:
            await last.send("GET", "/healthz")
            served = (await last.response()).status == 200
        except (trio.BrokenResourceError, Exception):
            served = False
        assert served is (over <= 0)
        for one in [*others, last]:
            await one.aclose()


async def test_a_slow_head_is_cut(autojump_clock: MockClock) -> None:
    async with world(GOOD, CHAT, limits={"head_seconds": 10}) as here:
        before = trio.current_time()
        assert status_of(await raw(here.url, b"POST /v1/chat")) == 408
        assert 10 <= trio.current_time() - before < 11


async def test_a_gap_in_a_body_is_cut(autojump_clock: MockClock) -> None:
    async with world(GOOD, CHAT, limits={"body_seconds": 7}) as here:
        before = trio.current_time()
        assert status_of(await raw(here.url, request(BODY)[:-5])) == 408
        assert 7 <= trio.current_time() - before < 8


async def test_a_dripping_body_is_cut(autojump_clock: MockClock) -> None:
    """Never a gap, never done: the average counts after the first `body_seconds`."""
    async with world(GOOD, CHAT, limits={"body_rate": 1000, "body_seconds": 10}) as here:
        link = await Client.connect(here.url)
        await link.stream.send_all(request(b"x" * 100_000)[:-100_000])
        before = trio.current_time()

        async def drip() -> None:
            while True:
                await link.stream.send_all(b"x" * 100)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            got = b""
            while b"\r\n\r\n" not in got:
                got += await link.stream.receive_some(4096)
            nursery.cancel_scope.cancel()
        assert status_of(got) == 408
        assert trio.current_time() - before < 15
        await link.aclose()


async def test_an_idle_connection_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    async with world(GOOD, CHAT, limits={"idle_seconds": 20}) as here:
        before = trio.current_time()
        assert await raw(here.url, b"") == b""
        assert 20 <= trio.current_time() - before < 21


async def test_keep_alive_and_pipelining() -> None:
    """Three requests in one write: three replies, in order."""
    count = 0

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        nonlocal count
        count += 1
        await wire.send_all(whole(200, reply_body(CHAT, f"reply {count}")))

    async with world(script, CHAT) as here:
        got = await raw(here.url, request(BODY) * 2 + request(BODY, "Connection: close"))
        assert [got.index(f"reply {n}".encode()) for n in (1, 2, 3)] == sorted(
            got.index(f"reply {n}".encode()) for n in (1, 2, 3)
        )
        assert got.count(b"HTTP/1.1 200") == 3
        assert got.lower().count(b"connection: close") == 1


async def test_a_pipelined_request_that_is_broken_is_answered_in_its_turn() -> None:
    async with world(GOOD, CHAT) as here:
        got = await raw(here.url, request(BODY) + b"nonsense\r\n\r\n")
        assert got.count(b"HTTP/1.1 200") == 1
        assert got.count(b"HTTP/1.1 400") == 1


async def test_a_body_over_the_limit_is_refused_in_the_callers_dialect() -> None:
    async with world(GOOD, CHAT, limits={"body_bytes": 10}) as here:
        got = await ask(here.url, "/v1/messages", BODY)
        assert json.loads(got.body)["error"]["type"] == "request_too_large"


async def test_http_1_0_gets_no_chunks() -> None:
    async with world(streams(reply_stream(CHAT, "fine")), CHAT) as here:
        body = call(CHAT)
        head = (
            f"POST {PATH[CHAT]} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        got = await raw(here.url, head.encode() + body)
        assert b"transfer-encoding" not in got.lower()
        assert got.endswith(reply_stream(CHAT, "fine"))


async def test_expect_continue_is_answered_once_the_head_is_accepted() -> None:
    async with world(GOOD, CHAT) as here:
        whole_request = request(BODY, "Expect: 100-continue", "Connection: close")
        head, body = whole_request[: -len(BODY)], BODY
        link = await Client.connect(here.url)
        await link.stream.send_all(head)
        assert (await link.stream.receive_some(100)).startswith(b"HTTP/1.1 100")
        await link.stream.send_all(body)
        got = b""
        while more := await link.stream.receive_some(65536):
            got += more
        assert status_of(got) == 200
        await link.aclose()
        refused = request(b"x" * 10, "Expect: 100-continue")[:-10].replace(
            b"Length: 10\r", b"Length: 99999999\r"
        )
        assert status_of(await raw(here.url, refused)) == 413


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"nonsense canary-sk-123\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary-sk-123\x00\r\n\r\n", 400),
    ],
)
async def test_broken_requests_are_answered_once_and_closed(data: bytes, status: int) -> None:
    async with world(GOOD, CHAT) as here:
        got = await raw(here.url, data)
        assert status_of(got) == status
        assert b"canary" not in got
        assert b"connection: close" in got.lower()
        assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["message"]


async def test_a_client_that_goes_on_sending_still_reads_why_it_was_refused() -> None:
    """Closing a socket with unread bytes resets it, and takes away the reply (RFC 9112 9.6)."""
    async with world(GOOD, CHAT, limits={"body_bytes": 1000}) as here:
        got = await raw(here.url, request(b"x" * 1_000_000))
    assert status_of(got) == 413
    assert b"connection: close" in got.lower()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("POST", "/v1/nowhere", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/messages", 405),
        ("GET", "/healthz", 200),
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/v1/models", 200),
    ],
)
async def test_paths(method: str, target: str, status: int) -> None:
    async with world(GOOD, CHAT) as here:
        link = await Client.connect(here.url)
        await link.send(method, target)
        got = await link.head()
        assert got.status_code == status
        await link.aclose()


async def test_a_path_without_its_version() -> None:
    async with world(GOOD, CHAT) as here:
        assert (await ask(here.url, "/chat/completions", BODY)).status == 200


async def test_an_unknown_path_is_named_in_the_nearest_dialect() -> None:
    async with world(GOOD, CHAT) as here:
        got = await ask(here.url, "/v1/messages/odd", BODY)
        assert json.loads(got.body)["type"] == "error"
        assert "/v1/messages/odd" in message_of(got.body)
        got = await ask(here.url, "/v1/odd", BODY)
        assert json.loads(got.body)["error"]["type"] == "invalid_request_error"
