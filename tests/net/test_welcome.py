"""What a connection has to pass before its first request: PROXY header, TLS handshake, their limit."""

import logging
import socket
import ssl
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock

from rawproxy.app.config import from_mapping
from rawproxy.app.serve import Proxy, open_proxy
from rawproxy.errors import ConfigError
from rawproxy.net.welcome import Entrance
from tests.net.fakes import Client, ask, head, plays, streams
from tests.net.tls import authority, client, client_context, dial, files, names_shown, port_of
from tests.net.world import CHAT, PATH, call, delta, preamble, reply_stream, text, world

GOOD = streams(reply_stream(CHAT, "fine"), piece=50)
HEADER = b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 443\r\n"
HEADER_2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 12)
    + bytes([203, 0, 113, 7, 10, 0, 0, 1]) + bytes(4)
)  # fmt: skip


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(ca: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    return files(ca, tmp_path, "localhost")


def engine(**server: Any) -> dict[str, Any]:
    """A configuration with nothing but the engine."""
    return {
        "server": {"listen": ["127.0.0.1:0"], **server}, "admin": {"listen": ""},
        "upstreams": {"local": {"provider": "engine"}},
    }  # fmt: skip


def refused(proxy: Proxy, why: str) -> float:
    """How many connections came to nothing for that reason."""
    found = proxy.metrics.registry.get_sample_value(
        "rawproxy_refused_connections_total", {"why": why}
    )
    return found or 0.0


async def healthy(proxy: Proxy, context: ssl.SSLContext) -> bool:
    link = await client(proxy.urls[0], context)
    await link.send("GET", "/healthz")
    got = await link.response()
    await link.aclose()
    return got.status == 200


async def ends(stream: trio.abc.ReceiveStream) -> bytes:
    """What comes until the end, however that looks; our own side is closed then, too."""
    got = b""
    with suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(4096):
            got += data
    await trio.aclose_forcefully(stream)
    return got


# --- TLS ------------------------------------------------------------------------------------------


async def test_a_stream_over_tls(ca: trustme.CA, tls: dict[str, Any]) -> None:
    """Two requests on one connection; the client learns that it was all."""
    async with world(GOOD, CHAT, server={"listen": ["127.0.0.1:0"], "tls": tls}) as here:
        assert here.url.startswith("https://127.0.0.1:")
        link = await client(here.url, client_context(ca))
        for _ in range(2):
            await link.send("POST", PATH[CHAT], call(CHAT))
            got = await link.response()
            assert (got.status, text(CHAT, got.body), got.clean) == (200, "fine", True)
        await link.send("GET", "/healthz", fields={"connection": "close"})
        assert (await link.response()).status == 200
        assert await link.stream.receive_some(10) == b""
        await link.aclose()
        await here.kept(2)
        assert here.records[0].client == "127.0.0.1"


async def test_goodbye_is_said(ca: trustme.CA, tls: dict[str, Any]) -> None:
    """A client that insists on close_notify gets it."""
    async with open_proxy(engine(tls=tls)) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        stream = trio.SSLStream(plain, client_context(ca), server_hostname="localhost")
        await stream.send_all(
            b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )
        assert (await ends(stream)).startswith(b"HTTP/1.1 200")


async def test_a_request_in_one_piece_with_the_handshake(
    ca: trustme.CA, tls: dict[str, Any]
) -> None:
    """TLS 1.3: the client's last flight and its request may come in one read."""
    async with open_proxy(engine(tls=tls)) as proxy:
        context = client_context(ca)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0])) as plain:
            with pytest.raises(ssl.SSLWantReadError):
                side.do_handshake()
            await plain.send_all(outgoing.read())
            while True:
                incoming.write(await plain.receive_some(65536))
                try:
                    side.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    pass
            side.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await plain.send_all(outgoing.read())
            got = b""
            while b"200" not in got:
                incoming.write(await plain.receive_some(65536))
                with suppress(ssl.SSLWantReadError):
                    got += side.read()


@pytest.mark.parametrize(
    ("asked", "first"),
    [("localhost", "localhost"), ("second.example", "second.example"), ("a.wild.example", "*.wild.example"),
     ("else.example", "localhost"), (None, "localhost")],
)  # fmt: skip
async def test_the_name_chooses_the_certificate(
    ca: trustme.CA, tls: dict[str, Any], tmp_path: Path, asked: str | None, first: str
) -> None:
    more = [files(ca, tmp_path, "second.example"), files(ca, tmp_path, "*.wild.example")]
    context = client_context(ca)
    context.check_hostname = False
    async with open_proxy(engine(tls=tls | {"more": more})) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        stream = trio.SSLStream(plain, context, server_hostname=asked, https_compatible=True)
        await stream.do_handshake()
        assert names_shown(stream) == [first]
        await trio.aclose_forcefully(stream)


async def test_a_client_without_a_certificate_gets_no_further(
    ca: trustme.CA, tls: dict[str, Any], tmp_path: Path
) -> None:
    config = engine(tls=tls | {"client_ca": authority(ca, tmp_path)})
    async with open_proxy(config) as proxy:
        assert await healthy(proxy, client_context(ca, ca.issue_cert("client.example")))
        for own in (None, trustme.CA().issue_cert("client.example")):
            stream: Any = None
            # In TLS 1.3 the client is done before the server has seen its certificate.
            with suppress(trio.BrokenResourceError):
                stream = await dial(proxy.urls[0], client_context(ca, own))
                assert await ends(stream) == b""
        assert refused(proxy, "tls") == 2


@pytest.mark.parametrize(
    "said",
    [b"GET /secret-path HTTP/1.1\r\nhost: x\r\nauthorization: secret\r\n\r\n", b"\x16\x03\x01\x00\x05secre",
     b"\x80\x2e\x01\x00\x02secret-secret-secret", b""],
    ids=["http", "a broken record", "SSL 2", "nothing"],
)  # fmt: skip
@pytest.mark.parametrize("several", [True, False])
async def test_what_is_no_tls_is_closed_and_hurts_nobody(
    ca: trustme.CA, tls: dict[str, Any], tmp_path: Path, said: bytes, several: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    more = [files(ca, tmp_path, "second.example")] if several else []
    with caplog.at_level(logging.INFO, "rawproxy"):
        async with open_proxy(engine(tls=tls | {"more": more})) as proxy:
            plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
            if said:
                await plain.send_all(said)
            await plain.send_eof()
            assert b"HTTP" not in await ends(plain)
            assert refused(proxy, "tls") == 1
            assert await healthy(proxy, client_context(ca))
    assert "a connection from 127.0.0.1 came to nothing: " in caplog.text
    assert "secre" not in caplog.text
    assert not [one for one in caplog.records if one.levelno > logging.WARNING]


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("sends", [0, 1, 100])
async def test_a_slow_handshake_is_cut_at_the_limit(
    ca: trustme.CA, tls: dict[str, Any], tmp_path: Path, several: bool, sends: int,
    autojump_clock: MockClock,
) -> None:  # fmt: skip
    more = [files(ca, tmp_path, "second.example")] if several else []
    config = engine(tls=tls | {"more": more}, limits={"handshake_seconds": 4})
    async with open_proxy(config) as proxy:
        context = client_context(ca)
        outgoing = ssl.MemoryBIO()
        side = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            side.do_handshake()
        hello = outgoing.read()
        async with await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0])) as plain:
            began = trio.current_time()
            for at in range(sends):  # a byte at a time, and never all of it
                await trio.sleep(0.01)
                await plain.send_all(hello[at : at + 1])
            assert await ends(plain) == b""
            assert 4 <= trio.current_time() - began < 4.1
        assert refused(proxy, "late") == 1


async def test_a_handshake_within_the_limit(
    ca: trustme.CA, tls: dict[str, Any], autojump_clock: MockClock
) -> None:
    """The limit is for the handshake: what follows has its own ones."""
    async with (
        open_proxy(engine(tls=tls, limits={"handshake_seconds": 4})) as proxy,
        await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0])) as plain,
    ):
        await trio.sleep(3.9)
        stream: Any = trio.SSLStream(
            plain, client_context(ca), server_hostname="localhost", https_compatible=True
        )
        await stream.do_handshake()
        await trio.sleep(100)
        link = Client(stream)
        await link.send("GET", "/healthz")
        assert (await link.response()).status == 200


async def test_a_client_that_is_cut_off_has_left(ca: trustme.CA, tls: dict[str, Any]) -> None:
    """No close_notify: the upstream is cancelled all the same, and it is no fault of ours."""
    script = plays(head(), b"5\r\ndata:\r\n")
    async with world(script, CHAT, server={"listen": ["127.0.0.1:0"], "tls": tls}) as here:
        link = await client(here.url, client_context(ca))
        await link.send("POST", PATH[CHAT], call(CHAT))
        while not here.upstreams["up"].seen:
            await trio.testing.wait_all_tasks_blocked()
        stream: Any = link.stream
        await trio.aclose_forcefully(stream.transport_stream)
        await here.kept()
        assert here.record.outcome == "client_gone"


async def test_a_drain_does_not_wait_for_a_handshake(tls: dict[str, Any]) -> None:
    async with open_proxy(engine(tls=tls)) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        while not len(proxy._connections):
            await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            await proxy.drain()
        assert await ends(plain) == b""


async def test_unix_sockets_and_admin_stay_plain(tls: dict[str, Any], tmp_path: Path) -> None:
    config = engine(tls=tls) | {"admin": {"listen": "127.0.0.1:0"}}
    config["server"]["listen"] = [f"unix:{tmp_path / 'p.sock'}"]
    async with open_proxy(config) as proxy:
        for url in (proxy.urls[0], proxy.admin_url):
            assert not url.startswith("https")
            link = await Client.connect(url)
            await link.send("GET", "/healthz")
            assert (await link.response()).status == 200
            await link.aclose()


async def test_new_certificates_are_for_new_connections(
    ca: trustme.CA, tls: dict[str, Any], tmp_path: Path
) -> None:
    """A stream over the old one goes on; a bad file changes nothing."""
    going = trio.Event()

    async def script(seen: object, stream: trio.SocketStream) -> None:
        begun = preamble(CHAT) + delta(CHAT, "one ")
        await stream.send_all(head() + b"%x\r\n%s\r\n" % (len(begun), begun))
        await going.wait()
        rest = reply_stream(CHAT, "two")[len(preamble(CHAT)) :]
        await stream.send_all(b"%x\r\n%s\r\n0\r\n\r\n" % (len(rest), rest))

    server = {"listen": ["127.0.0.1:0"], "tls": tls}
    async with world(script, CHAT, server=server) as here:
        link = await client(here.url, client_context(ca))
        await link.send("POST", PATH[CHAT], call(CHAT))
        assert (await link.head()).status_code == 200
        newer = trustme.CA()
        files(newer, tmp_path, "localhost")  # at the same paths
        here.proxy.reload(here.proxy.config)
        assert await healthy(here.proxy, client_context(newer))
        with pytest.raises(trio.BrokenResourceError):
            await dial(here.url, client_context(ca))
        await trio.Path(tls["key"]).write_text("no key")
        with pytest.raises(ConfigError, match=r"localhost\.key holds no private key"):
            here.proxy.reload(here.proxy.config)
        assert await healthy(here.proxy, client_context(newer))
        going.set()
        body = b""
        while data := await link.read():
            body += data
        assert text(CHAT, body) == "one two"
        await link.aclose()


# --- the PROXY protocol ---------------------------------------------------------------------------


@pytest.mark.parametrize("header", [HEADER, HEADER_2], ids=["v1", "v2"])
@pytest.mark.parametrize("cut", [0, 1, 6, 13, 20])
@pytest.mark.parametrize("secure", [True, False])
async def test_a_load_balancer_says_who_it_is(
    ca: trustme.CA, tls: dict[str, Any], header: bytes, cut: int, secure: bool
) -> None:
    server: dict[str, Any] = {"listen": ["127.0.0.1:0"], "proxy_protocol": ["127.0.0.0/8", "::1"]}
    server |= {"tls": tls} if secure else {}
    async with world(GOOD, CHAT, server=server) as here:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(here.url))
        await plain.send_all(header[:cut])
        await trio.testing.wait_all_tasks_blocked()
        await plain.send_all(header[cut:])
        link = Client(plain)
        if secure:
            stream: Any = trio.SSLStream(
                plain, client_context(ca), server_hostname="localhost", https_compatible=True
            )
            link = Client(stream)
        await link.send("POST", PATH[CHAT], call(CHAT))
        got = await link.response()
        assert (got.status, text(CHAT, got.body)) == (200, "fine")
        await link.aclose()
        await here.kept()
        assert here.record.client == "203.0.113.7"


async def test_header_and_request_in_one_piece() -> None:
    server = {"listen": ["127.0.0.1:0"], "proxy_protocol": ["127.0.0.1"]}
    async with world(GOOD, CHAT, server=server) as here:
        body = call(CHAT)
        request = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (
            PATH[CHAT].encode(), len(body),
        )  # fmt: skip
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(here.url))
        await plain.send_all(b"PROXY UNKNOWN\r\n" + request + body)
        await here.kept()
        assert here.record.outcome == "ok"
        assert here.record.client == "127.0.0.1", "who does not tell is the load balancer itself"
        await plain.aclose()


@pytest.mark.parametrize("said", [b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n", HEADER[:9], b""])
async def test_without_its_header_a_load_balancer_is_not_heard(said: bytes) -> None:
    async with open_proxy(engine(proxy_protocol=["127.0.0.1"])) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        if said:
            await plain.send_all(said)
        await plain.send_eof()
        assert await ends(plain) == b""
        assert refused(proxy, "proxy_header") == 1


async def test_a_header_has_the_limit_of_the_handshake(autojump_clock: MockClock) -> None:
    async with open_proxy(engine(proxy_protocol=["127.0.0.1"])) as proxy:
        async with await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0])) as plain:
            began = trio.current_time()
            await plain.send_all(HEADER[:9])
            assert await ends(plain) == b""
            assert 10 <= trio.current_time() - began < 10.1
        assert refused(proxy, "late") == 1


async def test_from_anybody_else_a_header_is_none() -> None:
    async with open_proxy(engine(proxy_protocol=["10.0.0.0/8", "2001:db8::/32"])) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        await plain.send_all(HEADER + b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert (await ends(plain)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("fe80::1", False),
     ("unix", False), ("", False)],
)  # fmt: skip
def test_who_has_to_send_a_header(peer: str, expected: bool) -> None:
    config = from_mapping(engine(proxy_protocol=["10.0.0.0/8", "fd00::/8"]))
    from rawproxy.app.build import entrances_of

    entrance, unix = entrances_of(config.server)
    assert entrance.expects_header(peer) is expected
    assert not unix.expects_header(peer)
    assert not Entrance().expects_header(peer)


# --- caps -----------------------------------------------------------------------------------------


async def test_one_connection_too_many_is_closed_at_once(
    ca: trustme.CA, tls: dict[str, Any]
) -> None:
    """Those that have not shaken hands count, too."""
    async with (
        open_proxy(engine(tls=tls, limits={"connections": 2})) as proxy,
        await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0])),
    ):
        link = await client(proxy.urls[0], client_context(ca))
        third = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        assert await ends(third) == b""
        assert refused(proxy, "full") == 1
        await link.send("GET", "/healthz")
        assert (await link.response()).status == 200
        await link.aclose()


async def test_a_client_that_resets_during_the_handshake(tls: dict[str, Any]) -> None:
    async with open_proxy(engine(tls=tls)) as proxy:
        plain = await trio.open_tcp_stream("127.0.0.1", port_of(proxy.urls[0]))
        while not len(proxy._connections):
            await trio.testing.wait_all_tasks_blocked()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.socket.close()
        while len(proxy._connections):
            await trio.testing.wait_all_tasks_blocked()
        assert refused(proxy, "tls") == 1


async def test_plain_listeners_ask_nothing() -> None:
    async with world(GOOD, CHAT) as here:
        assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 200
        await here.kept()
        assert here.record.client == "127.0.0.1"
