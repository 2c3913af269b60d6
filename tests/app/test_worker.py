"""A worker, with the test as its first process."""

import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from rawproxy.app.channel import (
    Ask,
    Begin,
    Channel,
    Configure,
    Drain,
    Ended,
    Failed,
    Hello,
    Ready,
    Told,
)
from rawproxy.app.config import from_mapping
from rawproxy.app.sockets import Place
from rawproxy.app.worker import Worker
from tests.net.fakes import Client, ask
from tests.net.world import CHAT, PATH, call

ENGINE = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}


def configure(count: int = 1, upstreams: Mapping[str, object] | None = None) -> Configure:
    listen = ["127.0.0.1:0"] * count
    config = from_mapping({
        "server": {"listen": listen}, "admin": {"listen": ""},
        "upstreams": upstreams or {"local": ENGINE},
    })  # fmt: skip
    return Configure(config, [Place("clients", text, turn) for turn, text in enumerate(listen)])


@asynccontextmanager
async def working() -> AsyncIterator[tuple[Channel, trio.Event]]:
    """A worker that has said hello: our end, and what is set when it has ended."""
    ours, theirs = socket.socketpair()
    channel, ended = Channel(ours), trio.Event()

    async def run() -> None:
        await Worker(Channel(theirs)).run()
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        assert await channel.receive() == Hello()
        await channel.send(Begin("info"))
        yield channel, ended
        nursery.cancel_scope.cancel()
    channel.close()


def listener() -> tuple[socket.socket, str]:
    sock = socket.create_server(("127.0.0.1", 0))
    return sock, f"http://127.0.0.1:{sock.getsockname()[1]}"


async def chat(url: str, model: str = "local/ngram") -> int:
    return (await ask(url, PATH[CHAT], call(CHAT, model=model, stream=False, max_tokens=3))).status


async def test_it_serves_what_it_is_given_and_tells_of_it() -> None:
    sock, url = listener()
    async with working() as (channel, ended):
        await channel.send(configure(), [sock])
        assert await channel.receive() == Ready()
        assert await chat(url) == 200
        await channel.send(Ask())
        told = await channel.receive()
        assert isinstance(told, Told)
        [sample] = [
            one for one in told.families["rawproxy_exchanges"].samples if one[0].endswith("_total")
        ]
        assert sample[2] == 1
        sock.close()
        await channel.send(Drain())
        assert isinstance(await channel.receive(), Told)
        assert await channel.receive() == Ended(0, 0)
        await ended.wait()
        with pytest.raises(OSError, match="all attempts"):
            await Client.connect(url)


async def test_the_same_listener_again_is_the_same_socket() -> None:
    """A reload hands over all listeners: one that stays must not be closed for a moment."""
    sock, url = listener()
    other, elsewhere = listener()
    async with working() as (channel, _):
        await channel.send(configure(), [sock])
        assert await channel.receive() == Ready()
        for number in range(3):
            await channel.send(configure(2, {f"new{number}": ENGINE}), [sock, other])
            assert await channel.receive() == Ready()
            assert await chat(url, f"new{number}/ngram") == 200
            assert await chat(elsewhere, f"new{number}/ngram") == 200
    sock.close()
    other.close()


async def test_what_it_cannot_use_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sock, url = listener()
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    bad = configure(1, {"b": {"provider": "bedrock", "region": "eu-1", "keys": ["aws:"]}})
    async with working() as (channel, _):
        await channel.send(configure(), [sock])
        assert await channel.receive() == Ready()
        await channel.send(bad, [sock])
        failed = await channel.receive()
        assert isinstance(failed, Failed)
        assert "needs an extra" in failed.why
        assert await chat(url) == 200
    sock.close()


async def test_it_drains_when_its_first_process_is_gone(autojump_clock: MockClock) -> None:
    sock, url = listener()
    async with working() as (channel, ended):
        await channel.send(configure(), [sock])
        assert await channel.receive() == Ready()
        sock.close()
        link = await Client.connect(url)
        await link.send("POST", PATH[CHAT], call(CHAT, model="local/ngram", max_tokens=50))
        await link.head()
        channel.close()
        body = b""
        while data := await link.read():
            body += data
        assert body.endswith(b"data: [DONE]\n\n")
        await ended.wait()
        await link.aclose()


async def test_it_ends_when_nobody_tells_it_anything() -> None:
    async with working() as (channel, ended):
        channel.close()
        await ended.wait()
