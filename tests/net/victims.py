"""Clients and upstreams for `test_isolation`: what a connection may be doing when something fails."""

import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.exceptions
import h11
import trio
import trustme
from h2.settings import SettingCodes

from tests.net import fakes_http2
from tests.net.fakes import LAST_CHUNK, Client, Got, Script, Seen, chunk, head, streams, whole
from tests.net.fakes_http2 import Http2Client, StreamReset
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
)

GONE = (h11.RemoteProtocolError, h2.exceptions.ProtocolError, trio.BrokenResourceError)
"""What a client gets from a connection that was closed without a word."""

# -- what clients do: each returns when its connection has ended, in whatever way


def request(target: str, body: bytes, *fields: str, last: bool = True) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *fields]
    if last:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


Victim = Callable[[World], Awaitable[object]]


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


Link = Client | Http2Client
Connect = Callable[[World], Awaitable[Link]]


async def plain(here: World) -> Link:
    return await Client.connect(here.url)


async def http2(here: World) -> Link:
    return await Http2Client.connect(here.url)


def under_tls(name: str, *, header: bool = False) -> Connect:
    """Connections that ask for a name, after a PROXY header if that is wanted."""

    async def connect(here: World) -> Link:
        host, _, port = here.url.removeprefix("https://").rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        if header:
            await stream.send_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        secure = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
        return Client(secure)  # type: ignore[arg-type]

    return connect


def asks(dialect: str, *, stream: bool = True, via: Connect = plain, **more: Any) -> Victim:
    """One request; what comes back as whole is whole, or says that it is not."""

    async def victim(here: World) -> None:
        link = await via(here)
        try:
            body = call(dialect, stream=stream, **more)
            fields = {"connection": "close"} if isinstance(link, Client) else None
            await link.send("POST", PATH[dialect], body, fields)
            check(dialect, await link.response(), stream)
        except GONE:
            return
        finally:
            await link.aclose()

    return victim


def check(dialect: str, got: Got, stream: bool) -> None:
    """What came is whole, or says that it is not."""
    if not got.clean:
        return
    if got.status == 200 and stream:
        assert is_whole(dialect, got.body) is not bool(errors(dialect, got.body)), got.body
    else:
        assert ("error" in json.loads(got.body)) is (got.status != 200)
        assert got.status in (200, 500, 502, 504)


async def asks_twice(here: World) -> None:
    """Two requests at the same time, on one connection."""
    link = await Http2Client.connect(here.url)
    try:
        numbers = [await link.begin("POST", PATH[CHAT]) for _ in range(2)]
        await trio.testing.wait_all_tasks_blocked()
        for number in numbers:
            body = call(CHAT, user="x" * 5000)  # more than is looked at in one go
            link.state.send_data(number, body, end_stream=True)
        await link.flush()
        for number in numbers:
            with contextlib.suppress(StreamReset):
                check(CHAT, await link.response(number), True)
    except GONE:
        return
    finally:
        await link.aclose()


async def asks_and_reads_late(here: World) -> None:
    """Let windows and sockets fill up first."""
    link = Http2Client((await Client.connect(here.proxy.urls[1])).stream)
    try:
        await link.flush()
        await link.send("POST", PATH[CHAT], call(CHAT))
        await trio.testing.wait_all_tasks_blocked()
        await link.response()
    except GONE:
        return
    finally:
        await link.aclose()


async def resets(here: World) -> None:
    """Read the first words, and give the request up."""
    link = await Http2Client.connect(here.url)
    try:
        await link.send("POST", PATH[CHAT], call(CHAT))
        await link.head()
        await link.read()
        await link.reset(link.number)
        await trio.testing.wait_all_tasks_blocked()
    except GONE:
        return
    finally:
        await link.aclose()


def waits_for_a_window(path: str, fields: dict[str, str], *, ends: bool, status: int) -> Victim:
    """A request on HTTP/2 that we answer ourselves, with no window for the answer at first."""

    async def victim(here: World) -> None:
        link = Http2Client((await Client.connect(here.url)).stream)
        link.state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
        try:
            number = await link.begin("POST", path, fields, ends=ends)
            await trio.testing.wait_all_tasks_blocked()
            link.state.increment_flow_control_window(1000, number)
            await link.flush()
            assert (await link.response(number)).status in (status, 500)
        except GONE:
            return
        finally:
            await link.aclose()

    return victim


async def comes_in_pieces(here: World) -> None:
    """Two requests on one connection, the first one piece by piece after a 100 (Continue)."""
    body = call(CHAT)
    first = request(PATH[CHAT], body, "Expect: 100-continue", last=False)
    second = request(PATH[CHAT], body)
    await says(here, first[:20], first[20:-80], first[-80:-40], first[-40:] + second)


async def reads_late(here: World) -> None:
    """Let everything fill up first."""
    link = await Client.connect(here.proxy.urls[1])
    with contextlib.suppress(trio.BrokenResourceError):
        await link.stream.send_all(request(PATH[CHAT], call(CHAT)))
        await trio.testing.wait_all_tasks_blocked()
        while await link.stream.receive_some(65536):
            pass
    await link.aclose()


def late(*pieces: bytes) -> Victim:
    """Requests on the unix socket, one after the other: whatever is written there has to wait."""

    async def victim(here: World) -> None:
        link = await Client.connect(here.proxy.urls[1])
        with contextlib.suppress(trio.BrokenResourceError):
            for data in (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", *pieces):
                await link.stream.send_all(data)
                await trio.testing.wait_all_tasks_blocked()
            while await link.stream.receive_some(65536):
                pass
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


async def says_nothing(seen: Seen, wire: trio.SocketStream) -> None:
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


async def over_http2(stream: fakes_http2.Stream) -> None:
    await stream.head()
    for data in (preamble(CHAT), delta(CHAT, "a"), stop(CHAT) + end(CHAT)):
        await trio.testing.wait_all_tasks_blocked()
        await stream.data(data)
    await stream.data(b"", ends=True)


async def breaks_off(seen: Seen, wire: trio.SocketStream) -> None:
    await wire.send_all(head() + chunk(preamble(CHAT) + delta(CHAT, "half")))
    await trio.testing.wait_all_tasks_blocked()
    await trio.aclose_forcefully(wire)


LONG = streams(preamble(CHAT) + delta(CHAT, "x" * 6000) * 80 + stop(CHAT) + end(CHAT))
AT_ONCE = head() + chunk(reply_stream(CHAT, "fine")) + LAST_CHUNK
BLOCKING = {name: whole(200, reply_body(name, "fine")) for name in (CHAT, MESSAGES)}


def says_whole(data: bytes) -> Script:
    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await wire.send_all(data)

    return script


@dataclass
class Scenario:
    """A victim, and its upstreams by name.

    Attributes:
        scripts: of upstreams on HTTP/1.1; `far`: of one on HTTP/2.
        fresh: its upstream connections are all closed before it comes again.
        named: its upstreams have a name, which is looked up; `tls`: they speak TLS.
        to: where its model goes; its scripts in their order where that is not said.
        doors: the listener speaks TLS, with two certificates and after a PROXY header.
        pump: replies are relayed in the pump.
    """

    victim: Victim
    scripts: dict[str, Script] = field(default_factory=dict)
    dialect: str = CHAT
    far: fakes_http2.Script | None = None
    fresh: bool = True
    named: bool = False
    tls: bool = False
    to: tuple[str, ...] = ()
    stream: dict[str, Any] = field(default_factory=dict)
    doors: bool = False
    pump: bool = True


def doors(folder: Path) -> dict[str, Any]:
    """What a listener needs to speak TLS for two names, behind a load balancer."""
    ca = trustme.CA()
    pairs: list[dict[str, str]] = []
    for name in ("one.example", "two.example"):
        made = ca.issue_cert(name)
        made.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        made.private_key_pem.write_to_path(folder / f"{name}.key")
        pairs.append(
            {"certificate": str(folder / f"{name}.crt"), "key": str(folder / f"{name}.key")}
        )
    return {"tls": pairs[0] | {"more": [pairs[1]]}, "proxy_protocol": ["127.0.0.1/32"]}


REFUSES = says_whole(whole(500, error_body(CHAT, "server_error", "no")))
MUCH: dict[str, Any] = {"messages": [{"role": "user", "content": "x" * 600_000}]}

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
    "next candidate, by the clock": Scenario(
        asks(CHAT), {"a": says_nothing, "b": in_pieces(CHAT)}, stream={"first_event_seconds": 0.5}
    ),
    "without the pump": Scenario(asks(CHAT), {"up": in_pieces(CHAT)}, pump=False),
    "without the pump, late": Scenario(late_call(CHAT), {"up": in_pieces(CHAT)}, pump=False),
    "a name": Scenario(asks(CHAT), {"up": in_pieces(CHAT)}, named=True),
    "TLS": Scenario(asks(CHAT), {"up": streams(reply_stream(CHAT, "fine"), piece=50)}, tls=True),
    "much": Scenario(
        asks(CHAT, stream=False, **MUCH), {"up": says_whole(BLOCKING[CHAT])},
        # A request that was cut short for no reason of the connection's: the clock finds out.
        stream={"first_event_seconds": 0.5},
    ),
    "much, pooled": Scenario(
        asks(CHAT, stream=False, **MUCH), {"up": says_whole(BLOCKING[CHAT])}, fresh=False,
        stream={"first_event_seconds": 0.5},
    ),
    "in pieces": Scenario(comes_in_pieces, {"up": in_pieces(CHAT)}),
    "reads late": Scenario(reads_late, {"up": LONG}),
    "late, passed": Scenario(late_call(CHAT), {"up": in_pieces(CHAT)}),
    "late, blocking": Scenario(late_call(CHAT, stream=False), {"up": says_whole(BLOCKING[CHAT])}),
    "late, translated": Scenario(late_call(CHAT), {"up": in_pieces(MESSAGES)}, MESSAGES),
    "late, translated, blocking": Scenario(
        late_call(MESSAGES, stream=False), {"up": says_whole(BLOCKING[CHAT])}
    ),
    "late, pooled": Scenario(late_call(CHAT), {"up": in_pieces(CHAT)}, fresh=False),
    "late, pooled, blocking": Scenario(
        late_call(CHAT, stream=False), {"up": says_whole(BLOCKING[CHAT])}, fresh=False
    ),
    "late, at once": Scenario(late_call(MESSAGES), {"up": says_whole(AT_ONCE)}),
    "late, no words": Scenario(
        late_call(CHAT), {"a": streams(preamble(CHAT) + stop(CHAT) + end(CHAT)), "b": REFUSES}
    ),
    "late, engine": Scenario(late_call(CHAT, max_tokens=5), to=("local/ngram",)),
    "late, engine, blocking": Scenario(
        late_call(MESSAGES, stream=False, max_tokens=5), to=("local/ngram",)
    ),
    "late, refused": Scenario(late_call(CHAT), {"up": REFUSES}),
    "late, broken off": Scenario(late_call(CHAT), {"up": breaks_off}),
    "late, crashed": Scenario(late_call(CHAT, model="planted"), {"up": in_pieces(CHAT)}),
    "late, crashed midway": Scenario(
        late_call(CHAT, model="planted later"),
        {"up": streams(preamble(CHAT) + delta(CHAT, "half"))},
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
    "behind doors": Scenario(
        asks(CHAT, via=under_tls("two.example", header=True), max_tokens=5),
        to=("local/ngram",), doors=True,
    ),
    "no header": Scenario(asks(CHAT, via=under_tls("two.example")), {"up": LONG}, doors=True),
    "HTTP/2, passed": Scenario(asks(CHAT, via=http2), {"up": in_pieces(CHAT)}),
    "HTTP/2, blocking": Scenario(
        asks(CHAT, stream=False, via=http2), {"up": says_whole(BLOCKING[CHAT])}
    ),
    "HTTP/2, translated": Scenario(asks(CHAT, via=http2), {"up": in_pieces(MESSAGES)}, MESSAGES),
    "HTTP/2, engine": Scenario(asks(CHAT, via=http2, max_tokens=5), to=("local/ngram",)),
    "HTTP/2, two": Scenario(asks_twice, {"up": in_pieces(CHAT)}),
    "HTTP/2, reads late": Scenario(asks_and_reads_late, {"up": LONG}),
    "HTTP/2, resets": Scenario(resets, {"up": falls_silent}),
    "HTTP/2, refused": Scenario(
        waits_for_a_window(PATH[CHAT], {"content-length": "99999999"}, ends=False, status=413)
    ),
    "HTTP/2, no such path": Scenario(waits_for_a_window("/nowhere", {}, ends=True, status=404)),
    "far": Scenario(asks(CHAT), far=over_http2),
    "far, much": Scenario(asks(CHAT, user="x" * 60_000), far=over_http2),
    "far, two": Scenario(asks_twice, far=over_http2),
}  # fmt: skip
