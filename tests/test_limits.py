"""Every limit of the configuration has a test on either side of it; those that had none are here."""

import importlib
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Timing
from tests.net.fakes import Client, Seen, plays, whole
from tests.net.world import CHAT, PATH, call, reply_body, world

COVERED = {
    "server.limits": {
        "connections": ("net.test_downstream", "test_connections"),
        "handshake_seconds": ("test_limits", "test_handshake_seconds"),
        "streams_per_connection": ("net.test_downstream_http2", "test_streams_per_connection"),
        "requests_per_connection": ("test_limits", "test_requests_per_connection"),
        "head_bytes": ("net.test_downstream", "test_head_bytes"),
        "head_fields": ("net.test_downstream", "test_head_fields"),
        "head_seconds": ("test_limits", "test_head_seconds"),
        "body_bytes": ("net.test_downstream", "test_body_bytes"),
        "bodies_bytes": ("net.test_body", "test_bodies_of_several_share_the_room"),
        "body_seconds": ("net.test_body", "test_body_seconds"),
        "body_rate": ("net.test_body", "test_body_rate"),
        "idle_seconds": ("test_limits", "test_idle_seconds"),
        "write_seconds": ("gateway.test_liveness", "test_each_clock_strikes_at_its_limit"),
        "attempts": ("test_limits", "test_attempts"),
    },
    "stream": {
        "keepalive_seconds": (
            "gateway.test_liveness",
            "test_keepalives_count_downstream_silence_whatever_the_upstream_does",
        ),
        "connect_seconds": ("gateway.test_liveness", "test_each_clock_strikes_at_its_limit"),
        "first_event_seconds": ("gateway.test_liveness", "test_each_clock_strikes_at_its_limit"),
        "silence_seconds": ("gateway.test_liveness", "test_each_clock_strikes_at_its_limit"),
        "total_seconds": (
            "gateway.test_liveness",
            "test_the_total_wins_over_all_but_the_write_clock",
        ),
        "frame_bytes": ("faults.test_rows", "test_a_scene"),
        "finish_seconds": ("faults.test_client", "test_reading_on_has_a_limit"),
    },
}
"""Where the test of each key is: a module of `tests`, and its name."""

NO_LIMITS = {"ask_usage", "on_client_gone", "grammar_sample"}


@pytest.mark.parametrize(("section", "kind"), [("server.limits", Limits), ("stream", Timing)])
def test_every_limit_is_tested(section: str, kind: Any) -> None:
    assert set(COVERED[section]) == set(kind.__struct_fields__) - NO_LIMITS
    for module, name in COVERED[section].values():
        assert callable(getattr(importlib.import_module(f"tests.{module}"), name))


GOOD = plays(whole(200, reply_body(CHAT, "fine")))
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer_after(link: Client, seconds: float, data: bytes) -> bytes:
    """Send this after so long, and return the first of what comes back."""
    await trio.sleep(seconds)
    try:
        await link.stream.send_all(data)
        return bytes(await link.stream.receive_some(65536))
    except trio.BrokenResourceError:
        return b""
    finally:
        await link.aclose()


@pytest.mark.parametrize("seconds", [9.9, 10.1])
async def test_handshake_seconds(seconds: float, autojump_clock: MockClock) -> None:
    async with world(GOOD, server={"proxy_protocol": ["127.0.0.1/32"]}) as here:
        link = await Client.connect(here.url)
        got = await answer_after(link, seconds, b"PROXY UNKNOWN\r\n" + REQUEST)
        assert got.startswith(b"HTTP/1.1 200") is (seconds < 10)


@pytest.mark.parametrize("seconds", [9.9, 10.1])
async def test_head_seconds(seconds: float, autojump_clock: MockClock) -> None:
    async with world(GOOD) as here:
        link = await Client.connect(here.url)
        await link.stream.send_all(REQUEST[:10])
        got = await answer_after(link, seconds, REQUEST[10:])
        assert got.startswith(b"HTTP/1.1 200" if seconds < 10 else b"HTTP/1.1 408")


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("seconds", [149.9, 150.1])
async def test_idle_seconds(seconds: float, first: bool, autojump_clock: MockClock) -> None:
    async with world(GOOD) as here:
        link = await Client.connect(here.url)
        if not first:
            await link.stream.send_all(REQUEST)
            assert await link.stream.receive_some(65536)
        got = await answer_after(link, seconds, REQUEST)
        assert got.startswith(b"HTTP/1.1 200") is (seconds < 150)


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_requests_per_connection(count: int) -> None:
    """The last one says that it is."""
    async with world(GOOD, limits={"requests_per_connection": 3}) as here:
        link = await Client.connect(here.url)
        await link.stream.send_all(REQUEST * count)
        got = b""
        while got.count(b"HTTP/1.1 200") < min(count, 3):
            got += await link.stream.receive_some(65536)
        assert (b"connection: close" in got.lower()) is (count >= 3)
        if count == 3:
            assert await link.stream.receive_some(65536) == b""
        await link.aclose()


@pytest.mark.parametrize("failures", [3, 4, 5])
async def test_attempts(failures: int) -> None:
    """Four tries, all candidates together."""

    async def fails(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(whole(500, b"{}"))

    scripts = {f"up{number}": fails for number in range(failures)} | {"last": GOOD}
    async with world(scripts) as here:
        link = await Client.connect(here.url)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=False))
        got = await link.response()
        assert (got.status == 200) is (failures < 4)
        assert sum(len(one.seen) for one in here.upstreams.values()) == 4
        await link.aclose()
