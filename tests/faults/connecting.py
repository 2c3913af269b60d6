"""Rows 1 to 6: no connection to the upstream comes about."""

import functools
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio
import trustme

from rawproxy.net.resolve import Address
from tests.faults.story import WHOLE, Act, Case, Fault, Row, Scene, asks, good, refused
from tests.net.fakes import Got, nobody_accepts
from tests.net.tls import tls_upstream
from tests.net.world import World, world

CONNECT = "stream.connect_seconds"
LATE = "the upstream did not accept a connection in time"
LOOPBACK: Address = (socket.AF_INET, "127.0.0.1")


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@asynccontextmanager
async def at(scene: Scene, url: str, spare: bool, **more: Any) -> AsyncIterator[World]:
    """A route to an upstream at `url`; `spare`: and another one that is well."""
    names = ["bad", "up"] if spare else ["bad"]
    scripts = dict.fromkeys(names, good(scene.upstream))
    options = {"bad": {"base_url": url, "keys": ["canary"]} | more.pop("options", {})}
    async with world(scripts, scene.upstream, options=options, **more) as here:
        yield here


def nobody_listens(*, spare: bool = False) -> Fault:
    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        with closed_port() as port:
            async with at(scene, f"http://127.0.0.1:{port}/v1", spare) as here:
                yield here

    return fault


def black_hole(*, spare: bool = False) -> Fault:
    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        async with nobody_accepts() as url, at(scene, f"{url}/v1", spare) as here:
            yield here

    return fault


def names(scene: Scene, known: Mapping[str, list[Address]]) -> Any:
    """A name server: one that it does not know, and `hangs`, which it never answers."""
    scene.notes["asked"] = asked = []

    async def lookup(host: str, limiter: trio.CapacityLimiter) -> list[Address]:
        await trio.lowlevel.checkpoint()
        asked.append(host)
        if host == "hangs.example":
            await trio.sleep_forever()
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return known[host]

    return lookup


def named(host: str, *, spare: bool = False, routes: Any = None) -> Fault:
    """An upstream whose name is `host`."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        sections = {"routes": routes} if routes else {}
        lookup = names(scene, {})
        async with at(scene, f"http://{host}:9/v1", spare, lookup=lookup, **sections) as here:
            yield here

    return fault


async def asks_again_and_again(scene: Scene, here: World) -> Got | None:
    """At 0, just before 5 and after 5 seconds."""
    await asks(scene, here)
    await trio.sleep(4.9)
    await asks(scene, here)
    assert scene.notes["asked"] == ["nowhere.example"]
    await trio.sleep(0.2)
    return await asks(scene, here)


def asked_twice(scene: Scene, here: World) -> None:
    assert scene.notes["asked"] == ["nowhere.example"] * 2


async def asks_another_host(scene: Scene, here: World) -> Got | None:
    """While five clients wait for a name that hangs."""
    links = [await scene.link(here) for _ in range(5)]
    for link in links:
        await scene.send(link, model="hangs")
    while not scene.notes["asked"]:
        await trio.lowlevel.checkpoint()
    before = trio.current_time()
    got = await asks(scene, here)
    assert trio.current_time() - before < 1
    for link in links:
        await link.aclose()
    await here.kept(6)
    here.records.sort(key=lambda record: record.outcome == "ok")
    assert [record.outcome for record in here.records[:5]] == ["client_gone"] * 5
    return got


def one_look_up(scene: Scene, here: World) -> None:
    assert scene.notes["asked"] == ["hangs.example"]


def no_key_was_sent(scene: Scene, here: World) -> None:
    assert scene.notes["fake"].seen == []


# -- TLS


@functools.cache
def authority() -> trustme.CA:
    return trustme.CA()


@functools.cache
def certificate(name: str, *, expired: bool) -> trustme.LeafCert:
    return authority().issue_cert(
        name, not_after=datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    )


@functools.cache
def trusted(folder: str, *, stranger: bool) -> str:
    """A file with the authority that is trusted."""
    path = str(Path(folder) / f"{stranger}.pem")
    (trustme.CA() if stranger else authority()).cert_pem.write_to_path(path)
    return path


FOLDER = tempfile.TemporaryDirectory(prefix="rawproxy-ca-")


def context(name: str, *, expired: bool = False) -> ssl.SSLContext:
    """What an upstream with a certificate for `name` greets with."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate(name, expired=expired).configure_cert(made)
    return made


def certified(
    name: str = "localhost", *, expired: bool = False, stranger: bool = False, spare: bool = False
) -> Fault:
    """An upstream whose certificate does not hold."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        script = good(scene.upstream)
        async with tls_upstream(script, context(name, expired=expired)) as (
            url,
            scene.notes["fake"],
        ):
            options = {"ca_file": trusted(FOLDER.name, stranger=stranger)}
            lookup = names(scene, {"localhost": [LOOPBACK]})
            async with at(scene, url, spare, options=options, lookup=lookup) as here:
                yield here

    return fault


def mute(*, spare: bool = False) -> Fault:
    """A listener that never says a word."""

    @asynccontextmanager
    async def fault(scene: Scene) -> AsyncIterator[World]:
        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                while await stream.receive_some(65536):
                    pass

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, serve, 0)
            url = f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
            options = {"ca_file": trusted(FOLDER.name, stranger=False)}
            async with at(scene, url, spare, options=options) as here:
                yield here
            nursery.cancel_scope.cancel()

    return fault


def bad_certificate(when: str, fault: Fault) -> Case:
    seen = refused(502, "certificate verify failed")
    return Case(when, fault, seen, seen, also=no_key_was_sent)


def late(fault: Fault, **more: Any) -> Case:
    seen = refused(504, LATE)
    return Case(
        "one candidate", fault, seen, seen, attempts=("timeout",), limit=CONNECT, seconds=5, **more
    )


def spare(fault: Fault, ended: str = "server", **more: Any) -> Case:
    """The route has another candidate."""
    return Case("another candidate", fault, WHOLE, WHOLE, attempts=(ended, "ok"), **more)


CANNOT = refused(502, "the upstream cannot be reached")
NO_ADDRESS = refused(502, "the upstream's name has no address")
BESIDE: Act = asks_another_host
ROUTES = [{"model": "hangs", "to": ["bad/m"]}, {"model": "*", "to": ["up/m", "bad/m"]}]

ROWS = (
    Row(
        1, "the upstream refuses the connection", "a port that nobody listens on",
        (
            Case("one candidate", nobody_listens(), CANNOT, CANNOT),
            spare(nobody_listens(spare=True)),
        ),
    ),
    Row(
        2, "nobody answers a connection", "a listener whose queue is full",
        (late(black_hole()), spare(black_hole(spare=True), "timeout", limit=CONNECT, seconds=5)),
    ),
    Row(
        3, "the upstream's name does not exist", "a name server that does not know it",
        (
            Case("one candidate", named("nowhere.example"), NO_ADDRESS, NO_ADDRESS),
            spare(named("nowhere.example", spare=True)),
            Case(
                "asked again: remembered for 5 seconds", named("nowhere.example"), NO_ADDRESS,
                NO_ADDRESS, exchanges=3, acts=asks_again_and_again, also=asked_twice,
            ),
        ),
    ),
    Row(
        4, "the name server hangs", "a name server that never answers",
        (
            late(named("hangs.example")),
            spare(named("hangs.example", spare=True), "timeout", limit=CONNECT, seconds=5),
            Case(
                "another host meanwhile", named("hangs.example", spare=True, routes=ROUTES), WHOLE,
                WHOLE, attempts=("ok",), exchanges=6, acts=BESIDE, also=one_look_up,
            ),
        ),
        notes="Look-ups have threads of their own: nothing else that needs one waits "
        "(`tests/faults/test_threads.py`).",
    ),
    Row(
        5, "the upstream's certificate does not hold", "an authority of the tests' own",
        (
            bad_certificate("another name", certified("elsewhere.example")),
            bad_certificate("expired", certified(expired=True)),
            bad_certificate("an authority that is not trusted", certified(stranger=True)),
            spare(certified(stranger=True, spare=True), also=no_key_was_sent),
        ),
        notes="The key is not sent.",
    ),
    Row(
        6, "the TLS handshake stalls", "a listener that never says a word",
        (late(mute()), spare(mute(spare=True), "timeout", limit=CONNECT, seconds=5)),
    ),
)  # fmt: skip
