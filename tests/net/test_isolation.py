"""An exception out of any await of a connection costs that connection, and nobody else.

Each scenario is one client, the victim, beside a stream that goes on all the time, the bystander. The
victim comes again and again, and each time one more of its waits fails. After each time nothing of it
may be left, and at the end the bystander has every byte.
"""

import errno
import gc
import itertools
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from rawproxy.app.serve import open_proxy
from rawproxy.gateway.exchange import Exchange, Step
from rawproxy.net import conn, listen
from rawproxy.net import upstream as net_upstream
from rawproxy.net.drive import Run
from tests.net.fakes import LAST_CHUNK, Client, FakeUpstream, Script, Seen, ask, chunk, head
from tests.net.fakes_http2 import Http2Upstream
from tests.net.injection import PACKAGE, Injector, Place, awaits
from tests.net.tls import authority, context_for, tls_upstream
from tests.net.victims import SCENARIOS, Scenario, doors
from tests.net.world import CHAT, PATH, World, call, delta, end, is_whole, preamble, stop, upstream

SECONDS = 20.0
"""Nothing here takes so long: what hangs fails."""

ERRORS: dict[str, Callable[[], Exception]] = {
    "RuntimeError": lambda: RuntimeError("injected"),
    "OSError": lambda: OSError(5, "injected"),
    "MemoryError": lambda: MemoryError("injected"),
    "ExceptionGroup": lambda: ExceptionGroup("injected", [KeyError("one"), ValueError("two")]),
}

NET = PACKAGE / "net"
MUCH_BYTES = 20000
"""The kernel takes none of a write of more at once, nor any on the unix socket: each has to wait."""

HANDSHAKE = b"\x16"
"""How what TLS says before it stands begins (RFC 8446 5.1): that has to wait, too."""

CONNECTION = ("Connections._run",)
BELOW = ("Resolver._ask", "Upstreams._read", "Http2Link._write")
"""Tasks that work for a connection, and are not below its task."""


class Counted(set[Run]):
    """The running exchanges; `added`: how many there ever were."""

    added = 0

    def add(self, run: Run) -> None:
        self.added += 1
        super().add(run)


class Bystander:
    """A stream that says a word whenever it is told to."""

    def __init__(self) -> None:
        self.words = 0
        self._got = b""
        self._send, self._receive = trio.open_memory_channel[bytes](0)

    async def script(self, seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(head())
        async for data in self._receive:
            await wire.send_all(chunk(data))
        await wire.send_all(LAST_CHUNK)

    async def begin(self, here: World) -> None:
        self._link = await Client.connect(here.proxy.urls[1])
        await self._link.send("POST", PATH[CHAT], call(CHAT, model="bystander"))
        await self._send.send(preamble(CHAT))
        await self._link.head()
        await self._hear()

    async def word(self) -> None:
        """Say one more word, and hear it."""
        await self._send.send(delta(CHAT, f"word {self.words}"))
        self.words += 1
        await self._hear()

    async def _hear(self) -> None:
        said = b"".join(delta(CHAT, f"word {number}") for number in range(self.words))
        while len(self._got) < len(preamble(CHAT) + said):
            data = await self._link.read()
            assert data, "the bystander's stream has ended"
            self._got += data
        assert self._got == preamble(CHAT) + said

    async def finish(self) -> None:
        """Check that every byte came, and that the connection is good for more."""
        await self._send.send(stop(CHAT) + end(CHAT))
        await self._send.aclose()
        rest = b""
        while data := await self._link.read():
            rest += data
        assert rest == stop(CHAT) + end(CHAT)
        await self._link.send("GET", "/healthz")
        assert (await self._link.response()).status == 200
        await self._link.aclose()


LOCAL = {"provider": "engine", "tokens_per_second": 1e6, "first_token_seconds": 0}


@asynccontextmanager
async def prepared(scenario: Scenario, bystander: Bystander, folder: Path) -> AsyncIterator[World]:
    """A proxy with the victim's upstreams and the bystander's, and with no clock that could strike."""
    async with AsyncExitStack() as stack:
        upstreams: dict[str, Any] = {"local": LOCAL}
        for name, script in scenario.scripts.items():
            upstreams[name] = await stack.enter_async_context(
                behind_tls(script, scenario.dialect, folder)
                if scenario.tls
                else fake(script, scenario)
            )
        if scenario.far is not None:
            far = await stack.enter_async_context(Http2Upstream(scenario.far).running())
            upstreams["far"] = upstream(far.url, CHAT, http2="prior_knowledge")
        beside = await stack.enter_async_context(FakeUpstream(bystander.script).running())
        upstreams["by"] = upstream(beside.url, CHAT)
        own = [f"{name}/m" for name in upstreams if name not in ("local", "by")]
        server: dict[str, Any] = {
            "listen": ["127.0.0.1:0", f"unix:{folder / 's'}"], "origins": ["https://page.example"],
        }  # fmt: skip
        config = {
            "server": server | (doors(folder) if scenario.doors else {}),
            "admin": {"listen": "127.0.0.1:0"},
            "stream": {"keepalive_seconds": 0} | scenario.stream, "upstreams": upstreams,
            "routes": [
                {"model": "bystander", "to": ["by/*"]},
                {"model": "*", "to": list(scenario.to) or own or ["by/m"]},
            ],
        }  # fmt: skip
        made: list[World] = []
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("RAWPROXY_PUMP", "on" if scenario.pump else "off")
        proxy = await stack.enter_async_context(
            open_proxy(config, keep=lambda record: made[0].keep(record))
        )
        made.append(World(proxy, {}))
        yield made[0]


@asynccontextmanager
async def fake(script: Script, scenario: Scenario) -> AsyncIterator[dict[str, Any]]:
    """An upstream; yields its configuration."""
    async with FakeUpstream(script).running() as made:
        url = made.url.replace("127.0.0.1", "localhost") if scenario.named else made.url
        yield upstream(url, scenario.dialect)


@asynccontextmanager
async def behind_tls(script: Script, dialect: str, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """The same under TLS."""
    ca = trustme.CA()
    async with tls_upstream(script, context_for(ca, "localhost")) as (url, _):
        yield upstream("", dialect, ca_file=authority(ca, folder)) | {"base_url": url}


def standing(here: World) -> tuple[int, int, int, int, int]:
    """What stands now: descriptors, tasks, connections, exchanges, bytes of bodies."""
    proxy = here.proxy
    assert proxy._admin_listening is not None
    return (
        len(os.listdir("/proc/self/fd")),
        trio.lowlevel.current_statistics().tasks_living,
        len(proxy._connections) + len(proxy._admin_listening.connections),
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


@pytest.fixture(scope="module", autouse=True)
def young() -> Iterator[None]:
    """Let collections look at what is made here only: there are ten thousands of tests beside these."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Faults of ours in two models' exchanges; little room to upstreams, and less on the unix socket."""
    caplog.set_level(logging.CRITICAL)
    real_head, real_end = Exchange.on_head, Exchange.on_end
    real_tune, real_send_now, real_flush = conn.tune, conn.Conn.send_now, conn.Conn.flush_some
    flushing: list[conn.Conn] = []

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

    def tune_accepted(sock: socket.socket, *more: float) -> None:
        (tune if sock.family == socket.AF_UNIX else real_tune)(sock, *more)

    def send_now(self: conn.Conn, data: bytes) -> bool:
        shakes_hands = self._tls is None and data[:1] == HANDSHAKE
        size = 0 if self in flushing else len(data) or self.pending
        if size and (self._sock.family == socket.AF_UNIX or size > MUCH_BYTES or shakes_hands):
            self.hold(data)  # as if the kernel took nothing now
            return False
        return real_send_now(self, data)

    async def flush_some(self: conn.Conn) -> bool:
        flushing.append(self)
        try:
            return await real_flush(self)
        finally:
            flushing.remove(self)

    def connect_now(self: net_upstream.Upstreams, place: net_upstream.Place) -> None:
        """What is failed are waits: they are to be had wherever they can be."""

    monkeypatch.setattr(net_upstream.Upstreams, "_connect_now", connect_now)
    monkeypatch.setattr(conn.Conn, "send_now", send_now)
    monkeypatch.setattr(conn.Conn, "flush_some", flush_some)
    monkeypatch.setattr(listen, "tune", tune_accepted)
    monkeypatch.setattr(Exchange, "on_head", on_head)
    monkeypatch.setattr(Exchange, "on_end", on_end)
    monkeypatch.setattr(conn, "tune", tune)


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
        await trio.testing.wait_all_tasks_blocked(0.01)
        gc.collect()  # what other tests left
        before, missed = standing(here), 0
        for at in itertools.count(1):
            pool._resolver._cache.clear()
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
            places.update(fired)
            missed = 0 if fired else missed + 1
            if missed == 3:  # not every time needs as many waits
                break
        await bystander.finish()
        trio.lowlevel.remove_instrument(injector)
    return at - missed, places


@pytest.mark.parametrize(
    "kind",
    [
        "OSError",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("MemoryError", "ExceptionGroup")),
    ],
)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_others_are_unharmed(name: str, kind: str, tmp_path: Path) -> None:
    count, _ = await endure(SCENARIOS[name], ERRORS[kind], tmp_path)
    assert count > 0


NOT_OF_A_CONNECTION = {
    ("listen.py", "open_tcp"): "before anybody can connect",
    ("standby.py", "find_epoll"): "before anybody can connect",
    ("connections.py", "Connections.drain"): "at the end of everything",
    ("connections.py", "Connections.run"): "waits for a cancel, and for nothing else",
    ("listen.py", "Listening.close"): "at the end of everything",
    ("upstream.py", "Upstreams.run"): "waits for a cancel, and for nothing else",
}


@pytest.mark.slow
async def test_every_await_was_failed(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each `await` of the layer: an exception came out of it, or of what it waits for."""
    monkeypatch.delenv("RAWPROXY_PUMP", raising=False)  # some are only with it, some without
    failed: set[Place] = set()
    for turn, (name, scenario) in itertools.product(range(4), SCENARIOS.items()):
        if turn and not missed_of(failed, besides=ALONE_ONLY):
            break  # which waits there are is a matter of luck: most often once is enough
        folder = tmp_path / f"{turn}{list(SCENARIOS).index(name)}"
        folder.mkdir()
        failed |= (await endure(scenario, ERRORS["RuntimeError"], folder))[1]
    request.getfixturevalue("scarce")
    failed |= await endure_alone(ERRORS["RuntimeError"])
    # The wait of the task that looks where the pump cannot wait itself.
    monkeypatch.setenv("RAWPROXY_PUMP", "off")
    failed |= await endure_alone(ERRORS["RuntimeError"])
    missed = missed_of(failed)
    assert not missed, "\n".join(missed)


ALONE_ONLY = {
    ("listen.py", "accept"), ("listen.py", "_accept"), ("sweep.py", "Sweeper.sweep"),
    ("pump.py", "Pump._look"), ("pump.py", "Pump._expire"), ("pump.py", "Pump._on_and_on"),
    ("standby.py", "Standby.run"),
}  # fmt: skip
"""Awaits of the tasks that nobody owns."""


def missed_of(failed: set[Place], besides: Collection[tuple[str, str]] = ()) -> list[str]:
    """Which awaits of the layer no exception came out of."""
    return [
        f"{path.name}:{min(lines)[1]} {function}"
        for path in sorted(NET.glob("*.py"))
        for function, lines in awaits(f"net/{path.name}")
        if not lines & failed
        and (path.name, function) not in NOT_OF_A_CONNECTION
        and (path.name, function) not in besides
    ]


ALONE = {"Listening._accept": 5, "Sweeper.sweep": 5, "Pump.run": 6, "Pump.expire": 2}
"""Tasks that serve everybody, and how many of their waits are failed one after the other."""


@pytest.fixture
def scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no descriptor for every other connection, at first."""
    real = socket.socket.accept
    turns = itertools.cycle([True, False])

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        if next(turns):
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)


async def leave(url: str) -> None:
    """A client that leaves in the middle of its reply."""
    link = await Client.connect(url)
    await link.send("POST", PATH[CHAT], call(CHAT, model="local/ngram", max_tokens=1000))
    await link.head()
    await link.aclose()


async def idles(url: str) -> None:
    """A client that keeps its connection until that is closed."""
    link = await Client.connect(url)
    await link.send("GET", "/healthz")
    assert (await link.response()).status == 200
    assert await link.stream.receive_some(1) == b""
    await link.aclose()


async def endure_alone(error: Callable[[], Exception]) -> set[Place]:
    """Fail the waits of the tasks that nobody owns: whoever comes is served all the same."""
    places: set[Place] = set()
    config = {
        "server": {"listen": ["127.0.0.1:0"], "limits": {"idle_seconds": 0.2}},
        "admin": {"listen": ""},
        "upstreams": {"local": LOCAL}, "stream": {"keepalive_seconds": 0.01},
    }  # fmt: skip
    for name, at in [(name, at) for name, most in ALONE.items() for at in range(1, most + 1)]:
        injector = Injector((), (name,))
        async with open_proxy(config) as proxy:
            trio.lowlevel.add_instrument(injector)
            injector.arm(at, error(), times=2)
            with trio.fail_after(SECONDS):
                for _ in range(5):
                    await leave(proxy.urls[0])
                    if name == "Pump.expire":
                        await idles(proxy.urls[0])
                    got = await ask(
                        proxy.urls[0], PATH[CHAT], call(CHAT, model="local/ngram", max_tokens=3)
                    )
                    assert is_whole(CHAT, got.body)
                    await trio.sleep(0.005)
            places.update(injector.disarm())
            trio.lowlevel.remove_instrument(injector)
    return places


@pytest.mark.slow
@pytest.mark.parametrize("kind", ERRORS)
async def test_tasks_that_serve_everybody_go_on(kind: str, scarce: None) -> None:
    assert await endure_alone(ERRORS[kind])
