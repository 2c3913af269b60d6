"""Broken requests through the running proxy: the upstream sees what was accepted, and nothing more.

What is accepted the strict reader says, from the same bytes. Each accepted request gets one reply, in
order; then the connection stays, or ends with one refusal.
"""

import re
from collections import Counter

import pytest

from tests.net.recorder import Link, linked, recorded
from tests.wire.corpus.case import CALL, head
from tests.wire.mutations import streams
from tests.wire.strict import Reply, Request, read_requests

PROBE = head(b"GET /healthz HTTP/1.1", b"Host: localhost", b"Connection: close")
INTACT = re.compile(
    rb'{"model":"m","messages":\[{"role":"user","content":"x*"}\],"user":"[0-9a-f]{12}"}'
)
OWN = {b"host", b"content-type", b"accept", b"accept-encoding", b"content-length"}


def is_call(request: Request) -> bool:
    path = request.target.partition(b"?")[0]
    return (request.method, path) == (b"POST", CALL) and bool(INTACT.fullmatch(request.body))


def went_up(reply: Reply) -> bool:
    return any(name == b"x-rawproxy-upstream" for name, _ in reply.fields)


async def ended(link: Link, end: str) -> None:
    """The connection ends as the strict reader says."""
    if end == "idle":
        await link.send(PROBE)
        assert (await link.last()).status == 200
    elif end == "closed":
        assert await link.end() == b""
    else:
        await link.send_eof()
        assert (await link.last()).status >= 400


def check_upstream(came: Request, asked: Request) -> None:
    """Nothing came but what was asked for, and what the proxy says itself."""
    assert (came.method, came.body) == (b"POST", asked.body)
    assert came.target == asked.target
    given: dict[bytes, bytes] = {}
    for name, value in asked.fields:
        given[name] = b", ".join(filter(None, [given.get(name, b""), value]))
    for name, value in came.fields:
        assert name in OWN or given[name] == value
    assert len({name for name, _ in came.fields}) == len(came.fields)


async def run(seed: int, count: int) -> None:
    totals: Counter[str] = Counter()
    sent_up: list[Request] = []
    async with recorded() as (url, recorder):
        for stream in streams(seed, count):
            accepted, end = read_requests(stream)
            async with linked(url) as link:
                await link.send(stream)
                for request in accepted:
                    reply = await link.reply(request.method)
                    assert reply is not None, stream
                    # A Host that is not ours is well-formed HTTP, and is turned away all the same.
                    assert went_up(reply) or reply.status == 403 or not is_call(request), stream
                    if went_up(reply):
                        sent_up.append(request)
                await ended(link, end)
            totals["accepted"] += len(accepted)
            totals["refused"] += end in ("bad", "short")
        came = recorder.requests()
    totals["upstream"] = len(came)
    assert len(came) == len(sent_up)
    for one, asked in zip(came, sent_up, strict=True):
        check_upstream(one, asked)
    print(f"mutations: {count} connections, {dict(totals)}, disagreements 0")  # noqa: T201
    assert totals["upstream"] > count // 5
    assert totals["refused"] > count // 5


async def test_three_hundred() -> None:
    await run(3, 300)


@pytest.mark.slow
async def test_ten_thousand() -> None:
    await run(4, 10_000)
