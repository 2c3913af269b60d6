"""The corpus through the running proxy, on real sockets, to an upstream that keeps every byte.

Each case has its verdict there too: one reply, its status, and whether the connection stays. An
accepted call is one request at the upstream, with the same body; nothing else ever comes to it.
"""

import random
from collections.abc import Callable

import pytest

from tests.net.recorder import Link, linked, recorded
from tests.wire.corpus.case import BODY, CALL, Accept, Case, Refuse, Short, head
from tests.wire.corpus.framing import FRAMING
from tests.wire.corpus.lines import LINES
from tests.wire.strict import Reply

CASES = [case for case in LINES + FRAMING if not case.h1_only]
PROBE = head(b"GET /healthz HTTP/1.1", b"Host: localhost", b"Connection: close")

Cut = Callable[[bytes], list[bytes]]


def whole(raw: bytes) -> list[bytes]:
    return [raw]


def halves(raw: bytes) -> list[bytes]:
    """In three pieces, somewhere else for every case, and always the same."""
    rng = random.Random(len(raw))
    one, two = sorted(rng.randrange(1, len(raw)) for _ in range(2))
    return [piece for piece in (raw[:one], raw[one:two], raw[two:]) if piece]


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def closes(reply: Reply) -> bool:
    return (b"connection", b"close") in reply.fields


async def check_accepted(link: Link, verdict: Accept) -> None:
    reply = await link.reply(verdict.method)
    assert reply is not None
    assert closes(reply) is not verdict.keep
    if verdict.is_call:
        assert (reply.status, b"fine" in reply.body) == (200, True)
    if verdict.keep:
        await link.send(PROBE)
        probe = await link.reply()
        assert probe is not None
        assert probe.status == 200
    assert await link.end() == b""


async def check(link: Link, case: Case, cut: Cut) -> None:
    verdict = case.verdict
    if isinstance(verdict, Accept):
        await link.send(*cut(case.raw))
        await check_accepted(link, verdict)
        return
    if isinstance(verdict, Short):
        await link.send(*cut(case.raw))
        await link.send_eof()
        verdict = Refuse()
    else:
        await link.send(*cut(case.raw + PROBE))  # it must not be answered
    reply = await link.reply()
    assert reply is not None
    assert (reply.status, closes(reply)) == (verdict.status, True)
    assert await link.end() == b""


async def run(cases: list[Case], cut: Cut) -> None:
    wrong = []
    async with recorded() as (url, recorder):
        for case in cases:
            async with linked(url) as link:
                try:
                    await check(link, case, cut)
                    assert not link.reset
                except AssertionError as error:
                    wrong.append((case.name, str(error)))
        came = recorder.requests()
    calls = [case for case in cases if isinstance(case.verdict, Accept) and case.verdict.is_call]
    count = f"{len(cases)} requests, {len(calls)} calls, {len(came)} upstream"
    print(f"corpus: {count}, wrong {len(wrong)}")  # noqa: T201
    assert wrong == []
    assert len(came) == len(calls)
    for request in came:
        assert (request.method, request.target, request.body) == (b"POST", CALL, BODY)
        names = [name for name, _ in request.fields]
        assert len(names) == len(set(names))
        assert not {b"transfer-encoding", b"connection", b"upgrade", b"te", b"expect"} & set(names)


async def test_whole() -> None:
    await run(CASES, whole)


async def test_in_pieces() -> None:
    await run(CASES, halves)


@pytest.mark.slow
async def test_byte_by_byte() -> None:
    await run([case for case in CASES if len(case.raw) < 600], bytewise)
