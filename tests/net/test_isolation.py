"""An exception out of any await of a connection costs that connection, and nobody else.

Each scenario is one client, the victim, beside a stream that goes on all the time, the bystander. The
victim comes again and again, and each time one more of its waits fails. After each time nothing of it
may be left, and at the end the bystander has every byte.
"""

import contextlib
import itertools
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
import trustme

from rawproxy.app.serve import open_proxy
from rawproxy.gateway.exchange import Exchange, Step
from rawproxy.net import conn
from rawproxy.net import upstream as net_upstream
from rawproxy.net.drive import Run
from tests.faults.test_tls import tls_upstream, trusted
from tests.net.fakes import (
    LAST_CHUNK,
    Client,
    FakeUpstream,
    Script,
    Seen,
    ask,
    chunk,
    head,
    streams,
    whole,
)
from tests.net.injection import PACKAGE, Injector, Place, awaits
from tests.net.world import (
    CHAT,
    MESSAGES,
    PATH,
    World,
    call,
    delta,
    end,
    error_body,
    errors,
    is_whole,
    preamble,
    reply_body,
    reply_stream,
    stop,
    upstream,
)

SECONDS = 20.0
"""Nothing here takes so long: what hangs fails."""

ERRORS: dict[str, Callable[[], Exception]] = {
    "RuntimeError": lambda: RuntimeError("injected"),
    "OSError": lambda: OSError(5, "injected"),
    "MemoryError": lambda: MemoryError("injected"),
    "ExceptionGroup": lambda: ExceptionGroup("injected", [KeyError("one"), ValueError("two")]),
}

NET = PACKAGE / "net"
CONNECTION = ("Connections.serve",)
BELOW = ("Resolver._ask",)
"""Tasks that work for a connection, and are not below its task."""


class Counted(set[Run]):
    """The running exchanges; `added`: how many there ever were."""

    added = 0

    def add(self, run: Run) -> None:
        self.added += 1
        super().add(run)


# -- what victims do: each returns when its connection has ended, in whatever way


def request(target: str, body: bytes, *fields: str, last: bool = True) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def says(here: World, *pieces: bytes, url: str = "") -> bytes:
    """Send these, one after the other, and read to the end of the connection."""
    link = await Client.connect(url or here.url)
    got = b""
    try:
        for data in pieces:
            await link.stream.send_all(data)
            if data is not pieces[-1]:
                await trio.testing.wait_all_tasks_blocked()
        while more := await link.stream.receive_some(65536):
            got += more
    except trio.BrokenResourceError:
        pass
    finally:
        await link.aclose()
    return got


Victim = Callable[[World], Awaitable[object]]


def asks(dialect: str, *, stream: bool = True, **more: Any) -> Victim:
    """One request; what comes back as whole is whole, or says that it is not."""

    async def victim(here: World) -> None:
        link = await Client.connect(here.url)
        try:
            body = call(dialect, stream=stream, **more)
            await link.send("POST", PATH[dialect], body, {"connection": "close"})
            got = await link.response()
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            return  # closed without a word
        finally:
            await link.aclose()
        if not got.clean:
            return
        if got.status == 200 and stream:
            assert is_whole(dialect, got.body) is not bool(errors(dialect, got.body)), got.body
        else:
            assert ("error" in json.loads(got.body)) is (got.status != 200)
            assert got.status in (200, 500, 502)

    return victim


async def comes_in_pieces(here: World) -> None:
    """Two requests on one connection, the first one piece by piece after a 100 (Continue)."""
    body = call(CHAT)
    first = request(PATH[CHAT], body, "Expect: 100-continue", last=False)
    pieces = [first[:20], first[20:-80], first[-80:-40], first[-40:]]
    await says(here, *pieces, request(PATH[CHAT], body))


async def narrow(here: World) -> Client:
    """A connection that holds little on its way to the client."""
    link = await Client.connect(here.proxy.urls[1])
    await trio.testing.wait_all_tasks_blocked()
    for downstream in here.proxy._connections._open:
        if downstream.conn._sock.family == socket.AF_UNIX:
            downstream.conn._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return link


async def reads_late(here: World) -> None:
    """Let everything fill up first."""
    link = await narrow(here)
    with contextlib.suppress(trio.BrokenResourceError):
        await link.stream.send_all(request(PATH[CHAT], call(CHAT)))
        await trio.testing.wait_all_tasks_blocked()
        while await link.stream.receive_some(65536):
            pass
    await link.aclose()


FILLER = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 16
"""More answers than a narrow connection holds."""


def late(*pieces: bytes) -> Victim:
    """Ask for much before this, and read the answers in sips: so each of them has to wait."""

    async def victim(here: World) -> None:
        link = await narrow(here)
        with contextlib.suppress(trio.BrokenResourceError):
            for data in (FILLER, *pieces):
                await link.stream.send_all(data)
            await trio.testing.wait_all_tasks_blocked()
            while await link.stream.receive_some(300):
                await trio.testing.wait_all_tasks_blocked()
        await link.aclose()

    return victim


def late_call(dialect: str, **more: Any) -> Victim:
    return late(request(PATH[dialect], call(dialect, **more)))


async def leaves(here: World) -> None:
    """Read the first words, and go."""
    link = await Client.connect(here.url)
    await link.stream.send_all(request(PATH[CHAT], call(CHAT)))
    with contextlib.suppress(trio.BrokenResourceError):
        got = b""
        while b"half" not in got and (more := await link.stream.receive_some(65536)):
            got += more
    await link.aclose()


async def sends_ahead(here: World) -> None:
    """Send more ahead than is read, and leave."""
    link = await Client.connect(here.url)
    with contextlib.suppress(trio.BrokenResourceError):
        await link.stream.send_all(request(PATH[CHAT], call(CHAT), last=False))
        await link.stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3000)
        await trio.testing.wait_all_tasks_blocked()
    await link.aclose()


async def breaks_the_rules(here: World) -> None:
    await says(here, b"GET / HTTP/1.1\r\n\r\n")


async def reads_the_metrics(here: World) -> None:
    asking = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    await says(here, asking, url=here.proxy.admin_url)


# -- what upstreams do


async def falls_silent(seen: Seen, wire: trio.SocketStream) -> None:
    await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
    with contextlib.suppress(trio.BrokenResourceError):
        await wire.receive_some(1)


async def finishes_late(seen: Seen, wire: trio.SocketStream) -> None:
    await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
    await trio.sleep(0.005)
    with contextlib.suppress(trio.BrokenResourceError):
        await wire.send_all(chunk(stop(CHAT) + end(CHAT)) + LAST_CHUNK)


def in_pieces(dialect: str) -> Script:
    """Says each frame after everybody has heard the one before."""

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        pieces = [preamble(dialect), *(delta(dialect, word) for word in "abc")]
        await wire.send_all(head())
        for data in [*pieces, stop(dialect) + end(dialect)]:
            await trio.testing.wait_all_tasks_blocked()
            await wire.send_all(chunk(data))
        await wire.send_all(LAST_CHUNK)

    return script


def hangs_up_at_the_second() -> Script:
    """Answers one request of each connection, and closes it when another one comes."""
    answered: set[trio.SocketStream] = set()

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        if wire in answered:
            await trio.aclose_forcefully(wire)
        else:
            answered.add(wire)
            await wire.send_all(whole(200, reply_body(CHAT, "fine")))

    return script


async def breaks_off(seen: Seen, wire: trio.SocketStream) -> None:
    await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
    await trio.testing.wait_all_tasks_blocked()
    await trio.aclose_forcefully(wire)


LONG = streams(preamble(CHAT) + delta(CHAT, "x" * 6000) * 80 + stop(CHAT) + end(CHAT))
BLOCKING = {name: whole(200, reply_body(name, "fine")) for name in (CHAT, MESSAGES)}


def says_whole(data: bytes) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(data)

    return script


@dataclass
class Scenario:
    """A victim, and its upstreams by name.

    Attributes:
        fresh: its upstream connections are all closed before it comes again.
        to: where its model goes; its scripts in their order where that is not said.
    """

    victim: Victim
    scripts: dict[str, Script] = field(default_factory=dict)
    dialect: str = CHAT
    fresh: bool = True
    named: bool = False
    tls: bool = False
    to: tuple[str, ...] = ()
    stream: dict[str, Any] = field(default_factory=dict)


REFUSES = says_whole(whole(500, error_body(CHAT, "server_error", "no")))
MUCH = {"messages": [{"role": "user", "content": "x" * 600_000}]}

SCENARIOS = {
    "passed": Scenario(asks(CHAT), {"up": in_pieces(CHAT)}),
    "passed, blocking": Scenario(asks(CHAT, stream=False), {"up": says_whole(BLOCKING[CHAT])}),
    "translated": Scenario(asks(CHAT), {"up": in_pieces(MESSAGES)}, MESSAGES),
    "translated, blocking": Scenario(
        asks(MESSAGES, stream=False), {"up": says_whole(BLOCKING[CHAT])}
    ),
    "engine": Scenario(asks(CHAT, max_tokens=5), to=("local/ngram",)),
    "engine, blocking": Scenario(asks(MESSAGES, stream=False, max_tokens=5), to=("local/ngram",)),
    "pooled": Scenario(asks(CHAT), {"up": in_pieces(CHAT)}, fresh=False),
    "stale": Scenario(asks(CHAT, stream=False), {"up": hangs_up_at_the_second()}, fresh=False),
    "next candidate": Scenario(asks(CHAT), {"a": REFUSES, "b": in_pieces(CHAT)}),
    "a name": Scenario(asks(CHAT), {"up": in_pieces(CHAT)}, named=True),
    "TLS": Scenario(asks(CHAT), {"up": streams(reply_stream(CHAT, "fine"), piece=50)}, tls=True),
    "much": Scenario(
        asks(CHAT, stream=False, **MUCH), {"up": says_whole(BLOCKING[CHAT])}
    ),
    "in pieces": Scenario(comes_in_pieces, {"up": in_pieces(CHAT)}),
    "reads late": Scenario(reads_late, {"up": LONG}),
    "late, passed": Scenario(late_call(CHAT), {"up": in_pieces(CHAT)}),
    "late, blocking": Scenario(late_call(CHAT, stream=False), {"up": says_whole(BLOCKING[CHAT])}),
    "late, translated": Scenario(late_call(CHAT), {"up": in_pieces(MESSAGES)}, MESSAGES),
    "late, translated, blocking": Scenario(
        late_call(MESSAGES, stream=False), {"up": says_whole(BLOCKING[CHAT])}
    ),
    "late, at once": Scenario(late_call(MESSAGES), {"up": streams(reply_stream(CHAT, "fine"))}),
    "late, engine": Scenario(late_call(CHAT, max_tokens=5), to=("local/ngram",)),
    "late, engine, blocking": Scenario(
        late_call(MESSAGES, stream=False, max_tokens=5), to=("local/ngram",)
    ),
    "late, refused": Scenario(late_call(CHAT), {"up": REFUSES}),
    "late, broken off": Scenario(late_call(CHAT), {"up": breaks_off}),
    "late, crashed": Scenario(late_call(CHAT, model="planted"), {"up": in_pieces(CHAT)}),
    "late, crashed midway": Scenario(
        late_call(CHAT, model="planted later"), {"up": in_pieces(CHAT)}
    ),
    "late, no such path": Scenario(late(request("/nowhere", b""))),
    "late, a page": Scenario(
        late(
            b"OPTIONS /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Origin: https://page.example\r\n\r\n"
        )
    ),
    "late, no HTTP": Scenario(late(b"nonsense\r\n\r\n")),
    "late, continue": Scenario(
        late(request(PATH[CHAT], b"x" * 100, "Expect: 100-continue")[:-100], b"x" * 100)
    ),
    "leaves": Scenario(leaves, {"up": falls_silent}),
    "leaves, read on": Scenario(
        leaves, {"up": finishes_late}, stream={"on_client_gone": "finish"}
    ),
    "sends ahead": Scenario(sends_ahead, {"up": falls_silent}),
    "breaks the rules": Scenario(breaks_the_rules),
    "metrics": Scenario(reads_the_metrics),
}  # fmt: skip


class Bystander:
    """A stream that says a word whenever it is told to."""

    def __init__(self) -> None:
        self.words = 0
        self._send, self._receive = trio.open_memory_channel[bytes](0)

    async def script(self, seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head())
        async for data in self._receive:
            await wire.send_all(chunk(data))
        await wire.send_all(LAST_CHUNK)

    async def begin(self, here: World) -> None:
        self._link = await Client.connect(here.url)
        await self._link.send("POST", PATH[CHAT], call(CHAT, model="bystander"))
        await self._send.send(preamble(CHAT))
        await self._link.head()

    async def word(self) -> None:
        """Say one more word, and hear it."""
        await self._send.send(delta(CHAT, f"word {self.words}"))
        self.words += 1

    async def finish(self) -> None:
        """Check that every byte came, and that the connection is good for more."""
        await self._send.send(stop(CHAT) + end(CHAT))
        await self._send.aclose()
        got = b""
        while data := await self._link.read():
            got += data
        said = b"".join(delta(CHAT, f"word {number}") for number in range(self.words))
        assert got == preamble(CHAT) + said + stop(CHAT) + end(CHAT)
        await self._link.send("GET", "/healthz")
        assert (await self._link.response()).status == 200
        await self._link.aclose()


LOCAL = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}


@asynccontextmanager
async def prepared(scenario: Scenario, bystander: Bystander, folder: Path) -> AsyncIterator[World]:
    """A proxy with the victim's upstreams and the bystander's, and with no clock that could strike."""
    async with AsyncExitStack() as stack:
        fakes: dict[str, FakeUpstream] = {}
        upstreams: dict[str, Any] = {"local": LOCAL}
        for name, script in scenario.scripts.items():
            if scenario.tls:
                ca = trustme.CA()
                behind = tls_upstream(script, ca, "localhost")
                url, fake = await stack.enter_async_context(behind)
                upstreams[name] = upstream("", scenario.dialect, ca_file=trusted(ca, folder))
                upstreams[name]["base_url"] = url
            else:
                fake = await stack.enter_async_context(FakeUpstream(script).running())
                url = fake.url.replace("127.0.0.1", "localhost") if scenario.named else fake.url
                upstreams[name] = upstream(url, scenario.dialect)
            fakes[name] = fake
        beside = await stack.enter_async_context(FakeUpstream(bystander.script).running())
        upstreams["by"] = upstream(beside.url, CHAT)
        to = list(scenario.to) or [f"{name}/m" for name in scenario.scripts] or ["by/m"]
        config = {
            "server": {
                "listen": ["127.0.0.1:0", f"unix:{folder / 's'}"],
                "origins": ["https://page.example"],
            },
            "admin": {"listen": "127.0.0.1:0"},
            "stream": {"keepalive_seconds": 0} | scenario.stream, "upstreams": upstreams,
            "routes": [{"model": "bystander", "to": ["by/*"]}, {"model": "*", "to": to}],
        }  # fmt: skip
        made: list[World] = []
        proxy = await stack.enter_async_context(
            open_proxy(config, keep=lambda record: made[0].keep(record))
        )
        made.append(World(proxy, fakes))
        yield made[0]


def standing(here: World) -> tuple[int, int, int, int, int]:
    """What stands now: descriptors, tasks, connections, exchanges, bytes of bodies."""
    proxy = here.proxy
    return (
        len(os.listdir("/proc/self/fd")),
        trio.lowlevel.current_statistics().tasks_living,
        len(proxy._connections) + len(proxy._admin_connections),
        len(proxy._sweeper.runs),
        proxy._room.taken,
    )  # fmt: skip


async def settles(here: World, before: tuple[int, ...]) -> None:
    """Return when as much stands as before."""
    with trio.move_on_after(SECONDS / 4):
        here.proxy._server.upstreams.close()
        while standing(here) != before:
            here.proxy._server.upstreams.close()  # a reply may have been read on until now
            await trio.testing.wait_all_tasks_blocked(0.0005)
    assert standing(here) == before


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Faults of ours in two models' exchanges; connections to upstreams that hold little."""
    caplog.set_level(logging.CRITICAL)
    real_head, real_end, real_tune = Exchange.on_head, Exchange.on_end, conn.tune

    def on_head(self: Exchange, *arguments: Any) -> Step:
        if self.ask.model == "planted":
            raise ZeroDivisionError
        return real_head(self, *arguments)

    def on_end(self: Exchange, *arguments: Any) -> Step:
        if self.ask.model == "planted later":
            raise ZeroDivisionError
        return real_end(self, *arguments)

    def tune(sock: socket.socket, *more: float) -> None:
        real_tune(sock, *more)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr(Exchange, "on_head", on_head)
    monkeypatch.setattr(Exchange, "on_end", on_end)
    monkeypatch.setattr(net_upstream, "tune", tune)


async def endure(
    scenario: Scenario, error: Callable[[], Exception], folder: Path
) -> tuple[int, set[Place]]:
    """Let the victim come until no wait is left to fail; return how many there were, and where."""
    injector = Injector(CONNECTION, BELOW)
    bystander = Bystander()
    places: set[Place] = set()
    async with prepared(scenario, bystander, folder) as here:
        counted = here.proxy._sweeper.runs = Counted()
        pool = here.proxy._server.upstreams
        trio.lowlevel.add_instrument(injector)
        await bystander.begin(here)
        for at in itertools.count(1):
            pool.close()
            pool._resolver._cache.clear()
            await trio.testing.wait_all_tasks_blocked()
            before = standing(here)
            if not scenario.fresh:
                await scenario.victim(here)
                await trio.testing.wait_all_tasks_blocked()
            records, added = len(here.records), counted.added
            injector.arm(at, error())
            with trio.fail_after(SECONDS):
                await scenario.victim(here)
                await trio.testing.wait_all_tasks_blocked()
                while len(counted) > 1:  # noqa: ASYNC110 - it is a set
                    await trio.sleep(0.001)
            fired = injector.disarm()
            with trio.fail_after(SECONDS):
                await settles(here, before)
                await bystander.word()
            assert len(here.records) - records == counted.added - added, fired
            if not fired:
                break
            places.update(fired)
        await bystander.finish()
        trio.lowlevel.remove_instrument(injector)
    return at - 1, places


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind != "RuntimeError"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_others_are_unharmed(name: str, kind: str, tmp_path: Path) -> None:
    count, _ = await endure(SCENARIOS[name], ERRORS[kind], tmp_path)
    assert count > 0


NOT_OF_A_CONNECTION = {
    ("listen.py", "open_tcp"): "before anybody can connect",
    ("listen.py", "Connections.drain"): "at the end of everything",
}


async def test_every_await_was_failed(tmp_path: Path) -> None:
    """Each `await` of the layer: an exception came out of it, or of what it waits for."""
    failed: set[Place] = set()
    for number, scenario in enumerate(SCENARIOS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, places = await endure(scenario, ERRORS["RuntimeError"], folder)
        failed |= places
    failed |= await endure_alone(ERRORS["RuntimeError"])
    missed = [
        f"{path.name}:{min(lines)[1]} {function}"
        for path in sorted(NET.glob("*.py"))
        for function, lines in awaits(f"net/{path.name}")
        if not lines & failed and (path.name, function) not in NOT_OF_A_CONNECTION
    ]
    assert missed == []


ALONE = ("accepting", "Sweeper.sweep")
"""Tasks that serve everybody."""


async def endure_alone(error: Callable[[], Exception]) -> set[Place]:
    """Fail the waits of the tasks that nobody owns: whoever comes is served all the same."""
    places: set[Place] = set()
    config = {
        "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
        "upstreams": {"local": LOCAL}, "stream": {"keepalive_seconds": 0.01},
    }  # fmt: skip
    for name, at in itertools.product(ALONE, range(1, 6)):
        injector = Injector((), (name,))
        async with open_proxy(config) as proxy:
            trio.lowlevel.add_instrument(injector)
            injector.arm(at, error())
            with trio.fail_after(SECONDS):
                for _ in range(5):
                    got = await ask(
                        proxy.urls[0], PATH[CHAT], call(CHAT, model="local/ngram", max_tokens=3)
                    )
                    assert is_whole(CHAT, got.body)
                    await trio.sleep(0.005)
            places.update(injector.disarm())
            trio.lowlevel.remove_instrument(injector)
    return places


@pytest.mark.parametrize("kind", ERRORS)
async def test_tasks_that_serve_everybody_go_on(kind: str) -> None:
    assert await endure_alone(ERRORS[kind])
