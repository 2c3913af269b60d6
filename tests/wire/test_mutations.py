"""Broken requests: rawproxy, a second reader and h11 never take the same bytes for different things.

What rawproxy accepts, the strict reader accepts with the same meaning and the same end, and refuses
where rawproxy refuses; and h11, which is laxer, reads the bytes of each accepted one as we do.
"""

import random
import re
from collections import Counter

import h11
import pytest

from rawproxy.errors import HttpError
from rawproxy.wire.http1 import Limits, RequestReader
from tests.wire.mutations import meaning, streams
from tests.wire.strict import Request, read_requests

TRAILERS = re.compile(rb"(\r\n0+(?:;[^\r\n]*)?\r\n)(?:[^\r\n:]+:[^\r\n]*\r\n)+\r\n\Z")
QUICK, THOROUGH = 3000, 100_000


def read(reads: list[bytes]) -> tuple[list[Request], str]:
    """All requests of a connection as rawproxy reads them, and how it goes on."""
    reader = RequestReader(Limits())
    found: list[Request] = []
    fed = 0
    events = []
    try:
        for data in reads:
            fed += len(data)
            events += reader.feed(data)
            while request := meaning(reader, events, fed - reader.buffered):
                found.append(request)
                if not request.keep:
                    return found, "closed"
                events = reader.next()
    except HttpError:
        return found, "bad"
    if events:
        return found, "short"
    return found, "idle" if reader.idle else "short"


def as_h11_reads(data: bytes) -> tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes, int]:
    """One request, and how many bytes h11 leaves."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    head, body = connection.next_event(), b""
    assert isinstance(head, h11.Request), head
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data), event
        body += event.data
    fields = [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in head.headers
    ]
    return head.method, head.target, fields, body, len(connection.trailing_data[0])


def check_with_h11(raw: bytes, request: Request) -> None:
    """Three liberties are ours, which RFC 9112 asks for: empty lines in front (2.2), absolute-form
    (3.2.2), and trailers of any name that change nothing (7.1.2)."""
    bare = TRAILERS.sub(rb"\1\r\n", raw.lstrip(b"\r\n")) if request.is_chunked else raw
    method, target, fields, body, left = as_h11_reads(bare.lstrip(b"\r\n"))
    ours = [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in request.fields
    ]
    assert (method, body, left) == (request.method, request.body, 0)
    if target[:1] in b"/*":
        assert (target, fields) == (request.target, ours)
    else:
        assert sorted(one for one in fields if one[0] != b"host") == sorted(
            one for one in ours if one[0] != b"host"
        )


def compare(seed: int, count: int) -> Counter[str]:
    """The totals; raises at the first disagreement."""
    totals: Counter[str] = Counter()
    rng = random.Random(seed)
    for stream in streams(seed, count):
        ours, end = read([stream])
        theirs, their_end = read_requests(stream)
        assert ours == theirs, stream
        # What is not whole yet may be told to be bad sooner by the one or the other.
        assert end == their_end or {end, their_end} == {"bad", "short"}, stream
        cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.choice([1, 2, 5])))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert read(pieces) == (ours, end), (stream, cuts)
        start = 0
        for request in ours:
            check_with_h11(stream[start : request.end], request)
            start = request.end
        totals["accepted"] += len(ours)
        totals[end] += 1
    return totals


def run(seed: int, count: int) -> None:
    totals = compare(seed, count)
    print(f"mutations: {count} streams, {dict(totals)}, disagreements 0")  # noqa: T201
    assert totals["accepted"] > count // 3
    assert totals["bad"] > count // 3
    assert min(totals["short"], totals["closed"], totals["idle"]) > count // 100


def test_three_thousand() -> None:
    run(1, QUICK)


@pytest.mark.slow
def test_a_hundred_thousand() -> None:
    run(2, THOROUGH)


def test_the_same_seed_gives_the_same_streams() -> None:
    assert list(streams(5, 50)) == list(streams(5, 50))
    assert list(streams(5, 50)) != list(streams(6, 50))
