"""Exchanges that are made of plain calls: when no task is woken for them, and what is handed to one.

The tests of all other files go this way, too, but with the plugin `tasks.py`.
"""

import errno
import itertools
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from rawproxy.gateway.exchange import Exchange
from rawproxy.net.conn import Conn
from rawproxy.net.downstream import PIPELINED_BYTES
from tests.net.fakes import LAST_CHUNK, Client, Seen, chunk, whole
from tests.net.plain import BLOCKING, Woken, answers, slowly, wakes_nobody, warm
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    World,
    call,
    delta,
    end,
    reply_body,
    stop,
    text,
    world,
)

PLACES = ["start", "on_head", "on_data", "on_end", "_commit"]
FAULTS = [*itertools.product(PLACES, [False, True]), ("_finish", True)]

pytestmark = pytest.mark.usefixtures("with_the_pump")


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_task_is_woken(client: str, stream: bool) -> None:
    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        await wakes_nobody(here, link, client, Woken(), stream=stream)
        assert here.upstreams["up"].accepted == 1
        await link.aclose()


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
async def test_none_is_woken_for_a_connection_to_this_machine(client: str) -> None:
    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        woken = Woken()
        trio.lowlevel.add_instrument(woken)
        await link.send("POST", PATH[client], call(client))
        assert text(client, (await link.response()).body) == "fine"
        trio.lowlevel.remove_instrument(woken)
        assert woken.times == 0
        assert here.upstreams["up"].accepted == here.pooled == 1
        await link.aclose()


async def test_one_that_is_not_there_at_once_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, int]] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: tuple[str, int]) -> None:
        if tried:
            return real(self, address)
        tried.append(address)
        raise BlockingIOError(errno.EINPROGRESS, "not yet")

    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        monkeypatch.setattr(socket.socket, "connect", connect)
        await link.send("POST", PATH[CHAT], BLOCKING)
        assert (await link.response()).status == 200
        assert len(tried) == here.upstreams["up"].accepted == 1
        await link.aclose()


async def test_a_refusal_wakes_none_either() -> None:
    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        woken = Woken()
        trio.lowlevel.add_instrument(woken)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=False, user="refuse"))
        assert (await link.response()).status == 400
        trio.lowlevel.remove_instrument(woken)
        assert woken.times == 0
        assert here.records[1].outcome == "refused"
        await link.aclose()


@pytest.mark.parametrize(("where", "stream"), FAULTS)
async def test_a_fault_of_ours_costs_one_exchange(
    where: str, stream: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = getattr(Exchange, where)
    planted = False

    def fails(self: Exchange, *rest: object, **more: object) -> object:
        nonlocal planted
        if self.ask.model == "planted" or b"planted" in self.ask.body:
            planted = True
            raise RuntimeError("planted")
        return real(self, *rest, **more)

    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        monkeypatch.setattr(Exchange, where, fails)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=stream, model="planted"))
        got = await link.response()
        await here.kept(2)
        assert planted
        assert here.records[1].outcome == "internal"
        begun = stream and where in ("on_end", "_finish")
        assert got.status == (200 if begun else 500)
        assert begun or b"internal error" in got.body
        assert here.running == 0
        assert here.held == 0
        await link.aclose()
        other = await Client.connect(here.url)
        await other.send("POST", PATH[CHAT], BLOCKING)
        assert (await other.response()).status == 200
        await other.aclose()
    assert [record.message[:8] for record in caplog.records if record.exc_info] == ["exchange"]


@pytest.mark.parametrize("size", [100, PIPELINED_BYTES])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_client_sends_ahead_is_served_next(size: int, stream: bool) -> None:
    """So much of it that it is not all read at first, too; and nothing of the reply is lost to that."""
    asked, go_on = trio.Event(), trio.Event()

    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        asked.set()
        await go_on.wait()
        if stream:
            await wire.send_all(chunk(delta(CHAT, "two") + stop(CHAT) + end(CHAT)) + LAST_CHUNK)
        else:
            await wire.send_all(whole(200, reply_body(CHAT, "one two")))

    async with world(slowly(goes_on, stream=stream), CHAT) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=stream, user="slowly"))
        await asked.wait()
        body = call(CHAT, stream=False, user="x" * size)
        ahead = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.stream.send_all, ahead % (PATH[CHAT].encode(), len(body), body))
            await trio.testing.wait_all_tasks_blocked(0.01)
            go_on.set()
            got = await link.response()
        assert text(CHAT, got.body) == "one two" if stream else b'"one two"' in got.body
        await here.kept(3)
        assert here.upstreams["up"].seen[2].body == body
        assert [record.outcome for record in here.records] == ["ok"] * 3
        await link.aclose()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_it(stream: bool) -> None:
    left = trio.Event()

    async def goes_on(seen: Seen, wire: trio.SocketStream) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await link.aclose()
        assert await wire.receive_some(1) == b""
        left.set()

    async with world(slowly(goes_on, stream=stream), CHAT) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=stream, user="slowly"))
        await left.wait()
        await here.kept(2)
        assert here.records[1].outcome == "client_gone"
        assert (here.running, here.held) == (0, 0)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_requests_per_connection(over: int) -> None:
    """The third one is the last, and says so."""
    async with world(answers, CHAT, limits={"requests_per_connection": 3}) as here:
        link = await Client.connect(here.url)
        closes = ""
        for _ in range(3 + min(over, 0)):
            await link.send("POST", PATH[CHAT], BLOCKING)
            closes = (await link.response()).fields.get("connection", "")
        assert closes == ("close" if over >= 0 else "")
        if over >= 0:
            assert await link.stream.receive_some(1) == b""
        await link.aclose()


async def test_an_idle_connection_is_closed_after_its_last_reply(
    autojump_clock: MockClock,
) -> None:
    """And not while one is under way, however long that takes."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if b"slowly" in seen.body:
            await trio.sleep(70)
        await wire.send_all(whole(200, reply_body(CHAT, "fine")))

    async with world(script, CHAT, limits={"idle_seconds": 20}) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        await trio.sleep(15)
        await link.send("POST", PATH[CHAT], call(CHAT, stream=False, user="slowly"))
        assert (await link.response()).status == 200
        before = trio.current_time()
        assert await link.stream.receive_some(1) == b""
        assert 20 <= trio.current_time() - before < 21
        await link.aclose()


async def test_a_stale_connection_is_replaced() -> None:
    """And all others that stand may be as stale: none of them is tried."""
    at_once = trio.Event()
    count = 0

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        nonlocal count
        count += 1
        if count <= 2:
            if count == 2:
                at_once.set()
            await at_once.wait()
            await wire.send_all(whole(200, reply_body(CHAT, "fine")))
        elif count == 3:  # it came in the moment in which we closed
            await trio.aclose_forcefully(wire)
        else:
            await wire.send_all(whole(200, reply_body(CHAT, "anew")))

    async with world(script, CHAT) as here:
        links = [await Client.connect(here.url) for _ in range(2)]
        for link in links:
            await link.send("POST", PATH[CHAT], BLOCKING)
        for link in links:
            assert (await link.response()).status == 200
        await here.kept(2)
        await links[0].send("POST", PATH[CHAT], BLOCKING)
        assert b'"anew"' in (await links[0].response()).body
        assert here.upstreams["up"].accepted == 3
        for link in links:
            await link.aclose()


@dataclass
class Meeting:
    """Calls whose upstream requests are all there, and whose replies are not."""

    here: World
    links: list[Client]
    wires: list[trio.SocketStream]

    def reply(self) -> None:
        """Have all replies come at a time: nobody else has a turn between them."""
        for wire in self.wires:
            os.write(wire.socket.fileno(), whole(200, reply_body(CHAT, "fine")))


@asynccontextmanager
async def meeting(count: int) -> AsyncIterator[Meeting]:
    wires: list[trio.SocketStream] = []

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        wires.append(wire)

    async with world(script, CHAT) as here:
        links = [await Client.connect(here.url) for _ in range(count)]
        meet = Meeting(here, links, wires)
        for warmed in (False, True):
            wires.clear()
            for link in links:
                await link.send("POST", PATH[CHAT], BLOCKING)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert len(wires) == count
            if not warmed:
                meet.reply()
                for link in links:
                    assert (await link.response()).status == 200
                await here.kept(count)
        yield meet
        for link in links:
            await link.aclose()


async def test_what_is_ready_together_is_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sleeps is woken once, not between two that are read."""
    order: list[str] = []
    reads, sends = Conn.receive_now, Conn.send_now

    def receive_now(self: Conn) -> bytes | None:
        data = reads(self)
        order.append("read")
        return data

    def send_now(self: Conn, data: bytes) -> bool:
        order.append("sent")
        return sends(self, data)

    async with meeting(3) as meet:
        monkeypatch.setattr(Conn, "receive_now", receive_now)
        monkeypatch.setattr(Conn, "send_now", send_now)
        meet.reply()
        for link in meet.links:
            assert (await link.response()).status == 200
        assert order == ["read"] * 3 + ["sent"] * 3
        await meet.here.kept(6)
        assert [record.outcome for record in meet.here.records] == ["ok"] * 6


async def test_a_client_that_leaves_as_its_reply_comes() -> None:
    """It is seen before the reply was sent: nobody has got that."""
    async with meeting(1) as meet:
        meet.reply()
        meet.links[0].stream.socket.shutdown(socket.SHUT_WR)
        await meet.here.kept(2)
        assert meet.here.records[1].outcome == "client_gone"
        assert meet.here.running == meet.here.held == 0


async def test_a_connection_that_ends_as_its_reply_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with meeting(1) as meet:

        def send(self: socket.socket, data: bytes) -> int:
            monkeypatch.undo()
            raise ConnectionResetError(errno.ECONNRESET, "reset")

        monkeypatch.setattr(socket.socket, "send", send)
        meet.reply()
        await meet.here.kept(2)
        assert meet.here.records[1].outcome == "client_gone"
        assert meet.here.running == meet.here.held == 0


@pytest.mark.parametrize("taken", [0, 1, 100])
@pytest.mark.parametrize("at", ["request", "reply"])
async def test_what_the_kernel_does_not_take_is_left_to_a_task(
    at: str, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket.send
    sends = 0

    def send(self: socket.socket, data: bytes) -> int:
        nonlocal sends
        sends += 1
        if sends > (at == "reply"):
            monkeypatch.undo()
            if not taken:
                raise BlockingIOError(errno.EAGAIN, "not now")
            data = data[:taken]
        return real(self, data)

    async with world(answers, CHAT) as here:
        link = await Client.connect(here.url)
        await warm(here, link)
        for woken_times in (1, 0):
            woken = Woken()
            trio.lowlevel.add_instrument(woken)
            os.write(link.stream.socket.fileno(), link.request("POST", PATH[CHAT], BLOCKING))
            if woken_times:
                monkeypatch.setattr(socket.socket, "send", send)
            assert b'"fine"' in (await link.response()).body
            await here.kept(2 + (not woken_times))
            trio.lowlevel.remove_instrument(woken)
            assert (woken.times > 0) == bool(woken_times)
        assert [record.outcome for record in here.records] == ["ok"] * 3
        assert here.upstreams["up"].seen[1].body == BLOCKING
        assert here.running == here.held == 0
        await link.aclose()
