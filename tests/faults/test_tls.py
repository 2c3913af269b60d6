"""TLS to an upstream, beyond rows 5 and 6: one that is who it should be, and one that is cut."""

import trio

from tests.faults.connecting import FOLDER, tls_upstream, trusted
from tests.net.fakes import Seen, ask, streams
from tests.net.world import CHAT, PATH, call, reply_stream, text, world

GOOD = streams(reply_stream(CHAT, "fine"), piece=50)


async def test_a_reply_through_tls() -> None:
    """Verified, streamed, and the connection used again."""
    async with tls_upstream(GOOD) as (url, fake):
        options = {
            "up": {
                "base_url": url,
                "ca_file": trusted(FOLDER.name, stranger=False),
                "keys": ["secret"],
            }
        }
        async with world(GOOD, CHAT, options=options) as here:
            for _ in range(2):
                got = await ask(here.url, PATH[CHAT], call(CHAT))
                assert (got.status, text(CHAT, got.body)) == (200, "fine")
        assert len(fake.seen) == 2
        assert fake.seen[0].get(b"authorization") == b"Bearer secret"


async def test_a_reply_cut_without_close_notify_is_not_whole() -> None:
    """A close-delimited body over TLS: only close_notify says that it was all."""

    async def script(seen: Seen, stream: trio.SocketStream) -> None:
        await stream.send_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{"
        )
        raise trio.BrokenResourceError  # the connection is closed forcefully

    async with tls_upstream(script) as (url, _):
        options = {"up": {"base_url": url, "ca_file": trusted(FOLDER.name, stranger=False)}}
        async with world(GOOD, CHAT, options=options) as here:
            got = await ask(here.url, PATH[CHAT], call(CHAT, stream=False))
            assert got.status == 502
