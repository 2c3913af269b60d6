"""TLS to an upstream, beyond rows 5 and 6: both sides' certificates, one that is cut."""

import ssl
import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trustme

from tests.net.fakes import Seen, ask, streams
from tests.net.tls import authority, context_for, files, tls_upstream
from tests.net.world import CHAT, PATH, call, reply_stream, text, world


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


GOOD = streams(reply_stream(CHAT, "fine"), piece=50)


async def test_a_reply_through_tls(ca: trustme.CA, tmp_path: Path) -> None:
    """Verified, streamed, and the connection used again."""
    async with tls_upstream(GOOD, context_for(ca, "localhost")) as (url, fake):
        options = {"up": {"base_url": url, "ca_file": authority(ca, tmp_path), "keys": ["secret"]}}
        async with world(GOOD, CHAT, options=options) as here:
            for _ in range(2):
                got = await ask(here.url, PATH[CHAT], call(CHAT))
                assert (got.status, text(CHAT, got.body)) == (200, "fine")
        assert len(fake.seen) == 2
        assert fake.seen[0].get(b"authorization") == b"Bearer secret"


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("knows", ["ours", "another", "none"])
async def test_a_connection_takes_up_the_session_of_the_one_before(
    version: ssl.TLSVersion, knows: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """Where the upstream knows it; where it does not, or has chosen new keys, it is a handshake as ever."""
    contexts = [context_for(ca, "localhost")] * 3
    if knows != "ours":
        contexts = [context_for(ca, "localhost") for _ in contexts]
    for context in contexts:
        context.maximum_version = version
        if knows == "none":
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
    reused: list[bool] = []

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        reused.append(cast("Any", wire).session_reused)
        await GOOD(seen, wire)
        await wire.aclose()

    async with tls_upstream(script, contexts) as (url, _):
        options = {"up": {"base_url": url, "ca_file": authority(ca, tmp_path)}}
        async with world(GOOD, CHAT, options=options) as here:
            for _ in range(3):
                got = await ask(here.url, PATH[CHAT], call(CHAT))
                assert (got.status, text(CHAT, got.body)) == (200, "fine")
            here.proxy._server.upstreams.renew()  # another trust, perhaps: what was proven does not count
            assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 200
    assert reused == [False, *[knows == "ours"] * 2, False]


async def test_a_session_that_the_upstream_breaks_off_at_costs_no_call(
    ca: trustme.CA, tmp_path: Path
) -> None:
    """Some servers do: it is tried once more, with a handshake as ever."""
    handshakes = 0

    async def script(seen: Seen, wire: trio.SocketStream) -> None:
        await GOOD(seen, wire)
        await wire.aclose()

    def greet(plain: trio.SocketStream) -> bool:
        nonlocal handshakes
        handshakes += 1
        return handshakes != 2

    context = context_for(ca, "localhost")
    async with tls_upstream(script, [context], greet) as (url, fake):
        options = {"up": {"base_url": url, "ca_file": authority(ca, tmp_path)}}
        async with world(GOOD, CHAT, options=options) as here:
            for _ in range(2):
                assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 200
            assert [len(record.attempts) for record in here.records] == [1, 1]
    assert handshakes == 3
    assert len(fake.seen) == 2


async def test_an_upstream_before_tls_1_2_is_refused(ca: trustme.CA, tmp_path: Path) -> None:
    """Row 5: 502, and no key was sent."""
    context = context_for(ca, "localhost")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what is deprecated is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with tls_upstream(GOOD, context) as (url, fake):
        options = {"up": {"base_url": url, "ca_file": authority(ca, tmp_path), "keys": ["canary"]}}
        async with world(GOOD, CHAT, options=options) as here:
            got = await ask(here.url, PATH[CHAT], call(CHAT))
            assert got.status == 502
            assert b"canary" not in got.body
        assert fake.seen == []


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("shows", ["the right one", "another authority's", "none"])
async def test_an_upstream_that_wants_a_certificate(
    version: ssl.TLSVersion, shows: str, ca: trustme.CA, tmp_path: Path
) -> None:
    """In TLS 1.3 the refusal comes after our side of the handshake is done."""
    context = context_for(ca, "localhost")
    context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    signer = ca if shows == "the right one" else trustme.CA()
    own = files(signer, tmp_path, "rawproxy.example")
    shown = {"client_certificate": own["certificate"], "client_key": own["key"]}
    async with tls_upstream(GOOD, context) as (url, fake):
        up = {"base_url": url, "ca_file": authority(ca, tmp_path), "keys": ["canary"]}
        options = {"up": up | (shown if shows != "none" else {})}
        async with world(GOOD, CHAT, options=options) as here:
            got = await ask(here.url, PATH[CHAT], call(CHAT))
        if shows == "the right one":
            assert (got.status, text(CHAT, got.body)) == (200, "fine")
        else:
            assert got.status == 502
            assert b"canary" not in got.body
            assert fake.seen == []


async def test_certificates_for_upstreams_are_read_again(ca: trustme.CA, tmp_path: Path) -> None:
    """A reload takes what is in the files now, also where a pooled connection stood."""
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    async with tls_upstream(GOOD, context_for(ca, "localhost")) as (url, _):
        options = {"up": {"base_url": url, "ca_file": str(path)}}
        async with world(GOOD, CHAT, options=options) as here:
            assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 502
            authority(ca, tmp_path)  # at the same path
            assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 502
            here.proxy.reload(here.proxy.config)
            assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 200
            trustme.CA().cert_pem.write_to_path(str(path))
            here.proxy.reload(here.proxy.config)
            assert (await ask(here.url, PATH[CHAT], call(CHAT))).status == 502


async def test_a_reply_cut_without_close_notify_is_not_whole(
    ca: trustme.CA, tmp_path: Path
) -> None:
    """A close-delimited body over TLS: only close_notify says that it was all."""

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{"
        )
        raise trio.BrokenResourceError  # the connection is closed forcefully

    async with tls_upstream(script, context_for(ca, "localhost")) as (url, _):
        options = {"up": {"base_url": url, "ca_file": authority(ca, tmp_path)}}
        async with world(GOOD, CHAT, options=options) as here:
            got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
            assert got.status == 502
