"""The responses of the corpus from an upstream, through the proxy and its pool, on real sockets.

After each of them another client asks. It gets its own answer, whatever came before: on the same
connection only where the first response was read to its end and nothing was odd about it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeGuard

import pytest
import trio

from rawproxy.app.serve import open_proxy
from tests.net.fakes import whole
from tests.net.recorder import linked
from tests.net.world import CHAT, reply_body, upstream
from tests.wire.corpus.case import BODY, CALL, LENGTH, head
from tests.wire.corpus.responses import REPLY, RESPONSES, Answer, Broken, Cut, Got
from tests.wire.strict import Reply, Unfinished, read_request

CASES = [case for case in RESPONSES if case.to == b"POST"]
ASKED = head(b"POST %b HTTP/1.1" % CALL, b"Host: localhost", LENGTH, b"Connection: close") + BODY
FINE = whole(200, reply_body(CHAT, "fine"))


def ends_with_connection(verdict: Got | Broken | Cut) -> bool:
    """Whether the proxy has to wait for the end; else nothing but the bytes may tell it enough."""
    if isinstance(verdict, Got):
        framing = {b"content-length", b"transfer-encoding"} & {name for name, _ in verdict.fields}
        return not framing and verdict.status not in (204, 304)
    return isinstance(verdict, Cut)


def is_taken(verdict: Got | Broken | Cut) -> TypeGuard[Got]:
    """Whether it is read on; what can be no reply of an LLM is let go of, and its connection with it."""
    return isinstance(verdict, Got) and verdict.status not in (204, 205, 304)


class Liar:
    """An upstream that answers the first request of a case with its bytes, and the second one well."""

    def __init__(self, case: Answer, cut: bool) -> None:
        self.case = case
        self._cut = cut
        self.asked_on: list[int] = []
        self._connections = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        number = self._connections
        self._connections += 1
        got = b""
        async with stream:
            while data := await self._read(stream):
                got += data
                try:
                    got = got[read_request(got).end :]
                except Unfinished:
                    continue
                self.asked_on.append(number)
                if len(self.asked_on) > 1:
                    await stream.send_all(FINE)
                    continue
                with suppress(trio.BrokenResourceError, OSError):  # the proxy may have had enough
                    await self._lie(stream)

    async def _read(self, stream: trio.SocketStream) -> bytes:
        try:
            return bytes(await stream.receive_some(65536))
        except trio.BrokenResourceError:  # closed with bytes of ours unread
            return b""

    async def _lie(self, stream: trio.SocketStream) -> None:
        raw = self.case.raw
        pieces = [raw[: len(raw) // 2], raw[len(raw) // 2 :]] if self._cut else [raw]
        for piece in filter(None, pieces):
            await stream.send_all(piece)
            if self._cut:
                await trio.testing.wait_all_tasks_blocked()
        if ends_with_connection(self.case.verdict):
            await stream.send_eof()


@asynccontextmanager
async def lying(case: Answer, *, cut: bool) -> AsyncIterator[tuple[str, Liar]]:
    liar = Liar(case, cut)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, host="127.0.0.1"), liar.serve, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        config = {
            "server": {"listen": ["127.0.0.1:0"]}, "admin": {"listen": ""},
            "upstreams": {"up": upstream(url, CHAT)}, "routes": [{"model": "*", "to": ["up/*"]}],
        }  # fmt: skip
        async with open_proxy(config) as proxy:
            yield proxy.urls[0], liar
        nursery.cancel_scope.cancel()


async def ask(url: str) -> Reply:
    async with linked(url) as link:
        await link.send(ASKED)
        return await link.last()


async def check(case: Answer, *, cut: bool) -> None:
    async with lying(case, cut=cut) as (url, liar):
        first = await ask(url)
        second = await ask(url)
    assert (second.status, b"fine" in second.body) == (200, True)
    verdict = case.verdict
    assert liar.asked_on == [0, int(not (is_taken(verdict) and verdict.reusable))]
    if is_taken(verdict) and verdict.body == REPLY:
        assert (first.status, b"first" in first.body) == (verdict.status, True)
    else:
        assert first.status >= 400
    for reply in (first, second):
        names = [name for name, _ in reply.fields]
        assert b"x-smuggled" not in names
        assert b"set-cookie" not in names
        assert len(names) == len(set(names)) or "twice" in case.name


async def run(cases: list[Answer], *, cut: bool) -> None:
    wrong = []
    for case in cases:
        try:
            with trio.fail_after(10):
                await check(case, cut=cut)
        except (AssertionError, trio.TooSlowError) as error:
            wrong.append((case.name, repr(error)[:160]))
    reused = sum(isinstance(case.verdict, Got) and case.verdict.reusable for case in cases)
    print(f"corpus: {len(cases)} responses, {reused} connections kept, wrong {len(wrong)}")  # noqa: T201
    assert wrong == []


async def test_whole() -> None:
    await run(CASES, cut=False)


@pytest.mark.slow
async def test_in_pieces() -> None:
    await run(CASES, cut=True)
