"""Many clients at once: a thousand that read, some that stop reading, two hundred that leave together."""

import shutil
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from bench.processes import plan_cores, raise_file_limit
from bench.rig import Load, find_faults, open_rig
from tests.conftest import ROOT
from tests.net.fakes import Client, Script, Seen, chunk, head
from tests.net.world import CHAT, MESSAGES, PATH, World, call, delta, preamble, world

pytestmark = pytest.mark.slow

PAIRS = [(client, upstream) for client in (CHAT, MESSAGES) for upstream in (CHAT, MESSAGES)]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)

STREAMS, EVENTS, GAP_MICROSECONDS = 1000, 100, 50_000
STALLED = 20
STALLED_BYTES = 256 * 1024
"""What a client that stops reading may cost us."""
QUIET_SECONDS = 0.1
"""Nobody had anything to do for so long: less than between two looks at the clocks."""
LEAVING = 200


@pytest.mark.parametrize(
    ("kind", "model"), [("chat", "mock"), ("messages", "mock")], ids=["passed", "translated"]
)
def test_a_thousand_streams_at_twenty_events_a_second(kind: str, model: str) -> None:
    """One worker, real processes. Each client asks once; its stream lasts five seconds."""
    if not shutil.which("cc"):
        pytest.skip("the mock and the clients need a C compiler")
    raise_file_limit()
    load = Load(
        kind, f"{model}-e{EVENTS}-d{GAP_MICROSECONDS}", stream=True, connections=STREAMS,
        expect=EVENTS, gap_us=GAP_MICROSECONDS, ramp_ms=500,
    )  # fmt: skip
    with open_rig(plan_cores()) as rig, rig.proxy() as proxy:
        report = rig.measure(load, seconds=2, proxy=proxy).report
    assert find_faults(report, load) == []
    assert (report["ok"], report["events"]) == (STREAMS, STREAMS * EVENTS)


class Endless:
    """An upstream that never stops talking. `sent`: bytes that the kernel took of it."""

    def __init__(self, dialect: str, words: str) -> None:
        self._begin = head() + chunk(preamble(dialect))
        frame = chunk(delta(dialect, words))
        self._piece = frame * (16384 // len(frame))
        self.sent = 0

    async def script(self, seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(self._begin)
        while True:
            await wire.send_all(self._piece)
            self.sent += len(self._piece)


@asynccontextmanager
async def asked(
    here: World, dialect: str, count: int, *, buffer_bytes: int = 0
) -> AsyncIterator[list[Client]]:
    """Clients that have asked for a stream, and have read its head.

    With `buffer_bytes` the kernel keeps about that much between us and each client: by itself it
    would take megabytes of a reply before it lets us wait.
    """
    clients = [await Client.connect(here.url) for _ in range(count)]
    for client in clients:  # whose side of ours begins with its first request
        await client.send("GET", "/healthz")
        assert (await client.response()).status == 200
    ours = [downstream.conn._sock for downstream in here.proxy._connections._open]
    assert len(ours) == count
    try:
        if buffer_bytes:
            for sock in ours:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            for client in clients:
                client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        for client in clients:
            await client.send("POST", PATH[dialect], call(dialect))
        for client in clients:
            assert (await client.head()).status_code == 200
        yield clients
    finally:
        for client in clients:
            await client.aclose()


@contextmanager
def traced() -> Iterator[None]:
    """Note what Python allocates."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def allocated() -> int:
    """Bytes that the proxy's own code has allocated and still holds, since `traced` began."""
    ours = [tracemalloc.Filter(True, str(ROOT / "rawproxy" / "*"))]
    return sum(one.size for one in tracemalloc.take_snapshot().filter_traces(ours).traces)


@pairs
@pytest.mark.parametrize("words", ["x", "x" * 4000], ids=["short frames", "long frames"])
async def test_clients_that_stop_reading_cost_little(
    client: str, upstream: str, words: str
) -> None:
    """Their upstreams are paused, and what we hold for them is bounded."""
    talker = Endless(upstream, words)
    async with world(talker.script, upstream) as here:
        with traced():
            async with asked(here, client, STALLED, buffer_bytes=16384):
                await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)
                sent = talker.sent
                await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)
                assert talker.sent == sent > 0
                pending = [one.conn.pending for one in here.proxy._connections._open]
                assert len(pending) == STALLED
                assert 0 < max(pending) <= STALLED_BYTES
                assert allocated() <= STALLED * STALLED_BYTES
        await here.kept(STALLED)


def talks_on(dialect: str) -> Script:
    """Sends an event every few milliseconds until its peer is gone."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(dialect) + delta(dialect, "first")))
        while True:
            await wire.send_all(chunk(delta(dialect, "more")))
            await trio.sleep(0.02)

    return script


def falls_silent(dialect: str) -> Script:
    """Begins, and waits for its peer to go."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head() + chunk(preamble(dialect) + delta(dialect, "first")))
        assert await wire.receive_some(1) == b""

    return script


TALKS = {"talking": talks_on, "silent": falls_silent}


@pairs
@pytest.mark.parametrize("talks", TALKS)
async def test_clients_that_leave_at_once_leave_nothing(
    client: str, upstream: str, talks: str
) -> None:
    """Mid-stream, all in one moment: no connection, no upstream socket and no task stays."""
    async with world(TALKS[talks](upstream), upstream) as here:
        proxy, fake = here.proxy, here.upstreams["up"]
        await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)
        before = trio.lowlevel.current_statistics().tasks_living
        async with asked(here, client, LEAVING) as clients:
            assert (len(proxy._connections), proxy._server.upstreams.open) == (LEAVING, LEAVING)
            for one in clients:
                one.stream.socket.close()
        await here.kept(LEAVING)
        await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)
        assert {record.outcome for record in here.records} == {"client_gone"}
        assert (len(proxy._connections), proxy._server.upstreams.open) == (0, 0)
        assert proxy._sweeper.runs == set()
        assert (fake.accepted, fake.closed) == (LEAVING, LEAVING)
        assert trio.lowlevel.current_statistics().tasks_living == before
