"""The pool of upstream connections: when one is used again, and when it is not."""

import errno
import os
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.config import from_mapping
from rawproxy.net import upstream as pool
from rawproxy.net.resolve import Address, Resolver
from tests.net.fakes import LAST_CHUNK, Client, Seen, ask, chunk, head, plays, streams, whole
from tests.net.world import CHAT, PATH, call, error_body, reply_body, reply_stream, upstream, world

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


async def test_idle_connections_are_swept_and_so_are_closed_ones(autojump_clock: MockClock) -> None:
    async with world(plays(whole(200, BODY)), CHAT) as here:
        await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        upstreams = here.proxy._server.upstreams
        assert upstreams.open == 1
        await trio.sleep(pool.IDLE_SECONDS + 1)
        assert upstreams.open == 0
        assert here.upstreams["up"].closed == 1


async def test_a_connection_that_its_upstream_closed_does_not_stay(
    autojump_clock: MockClock,
) -> None:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(whole(200, BODY))
        await wire.aclose()

    async with world(script, CHAT) as here:
        await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        await trio.sleep(1)
        assert here.proxy._server.upstreams.open == 0


@pytest.mark.parametrize("status", [413, 200])
async def test_an_upstream_that_answers_before_it_has_read_all(status: int) -> None:
    """It answers at the head and reads no more of eight megabytes."""

    async def early(wire: trio.SocketStream) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await wire.receive_some(1000)
        kind = "application/json"
        body = BODY if status == 200 else error_body(CHAT, "invalid_request_error", "too much")
        await wire.send_all(whole(status, body, kind, "connection: close"))
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, early, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        async with world(plays(b""), CHAT, options={"up": {"base_url": url}}) as here:
            messages = [{"role": "user", "content": "x" * 8_000_000}]
            body = call(CHAT, stream=False, messages=messages)
            with trio.fail_after(20):  # real time: a body of this size is read in a thread
                got = await ask(here.url, PATH[CHAT], body)
            assert got.status == status
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("number", "status", "after"),
    [(errno.EMFILE, 503, "1"), (errno.ENFILE, 503, "1"), (errno.ENOBUFS, 503, "1"),
     (errno.ENOMEM, 503, "1"), (errno.ECONNREFUSED, 502, None)],
)  # fmt: skip
async def test_no_descriptor_left_is_told_apart_from_a_bad_gateway(
    number: int, status: int, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is nobody's fault, and passes: worth another try soon."""
    async with world({"a": plays(whole(200, BODY)), "b": plays(whole(200, BODY))}, CHAT) as here:

        async def none_left(*arguments: object) -> None:
            await trio.lowlevel.checkpoint()
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(pool, "connected", none_left)
        monkeypatch.setattr(pool, "connected_now", lambda *_: None)
        got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
        await here.kept()
        assert (got.status, got.fields.get("retry-after")) == (status, after)
        kind = "overloaded" if status == 503 else "server"
        assert [note.ended for note in here.record.attempts] == [kind, kind]


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Take every descriptor that this process may still have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 10, hard))
        with suppress(OSError):
            while True:
                held.append(os.dup(held[0]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in held:
            os.close(one)


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer needs descriptors of its own")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_all_descriptors_taken(scheme: str, host: str) -> None:
    """For real: 503 at the look-up, the certificates or the connection; the next call is fine."""
    async with world(plays(whole(200, BODY)), CHAT) as good:
        port = good.upstreams["up"].url.rpartition(":")[2]
        options = {"up": {"base_url": f"{scheme}://{host}:{port}/v1"}}
        async with world(plays(b""), CHAT, options=options) as here:
            link = await Client.connect(here.url)
            with no_descriptors():
                await link.send("POST", PATH[CHAT], call(CHAT, stream=False))
                got = await link.response()
            assert (got.status, got.fields.get("retry-after")) == (503, "1")
            if scheme == "http":
                await link.send("POST", PATH[CHAT], call(CHAT, stream=False))
                assert (await link.response()).status == 200
            await link.aclose()


async def test_a_dead_address_gives_way_to_the_next(autojump_clock: MockClock) -> None:
    """One address whose queue is full accepts nobody; the name has another one."""
    with trio.socket.socket() as full:
        async with world(plays(whole(200, BODY)), CHAT) as good:
            port = int(good.upstreams["up"].url.rpartition(":")[2])
            await full.bind(("127.0.0.9", port))
            full.listen(0)
            fillers = [trio.socket.socket() for _ in range(4)]
            async with trio.open_nursery() as nursery:
                for filler in fillers:
                    nursery.start_soon(filler.connect, full.getsockname())

                async def both(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
                    await trio.lowlevel.checkpoint()
                    return [(socket.AF_INET, "127.0.0.9"), (socket.AF_INET, "127.0.0.1")]

                good.proxy._server.upstreams._resolver = Resolver(both)
                good.proxy.reload(
                    from_mapping({
                        "server": {"listen": ["127.0.0.1:0"]},
                        "upstreams": {"up": upstream(f"http://two.example:{port}", CHAT)},
                        "routes": [{"model": "*", "to": ["up/m"]}],
                    })
                )  # fmt: skip
                before = trio.current_time()
                got = await ask(good.url, PATH[CHAT], call(CHAT, stream=False))
                assert got.status == 200
                assert trio.current_time() - before == pytest.approx(pool.ADDRESS_SECONDS, abs=0.5)
                nursery.cancel_scope.cancel()
            for filler in fillers:
                filler.close()
