"""The corpus through the reader: whole, in pieces, behind a good request and in front of one.

A verdict is about bytes, not about reads: however they are cut, it stays. `pytest -s` prints the count.
"""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, HttpEvent, RequestHead
from rawproxy.wire.http1 import Limits, RequestReader
from tests.wire.corpus.case import Accept, Case, Refuse, Short
from tests.wire.corpus.framing import FRAMING
from tests.wire.corpus.lines import GET, LINES
from tests.wire.strict import Bad, Unfinished, read_request

CASES = LINES + FRAMING
Verdict = Accept | Refuse | Short
GOOD = [RequestHead(b"GET", b"/", [(b"host", b"localhost")]), End()]

by_name = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes, cut at these places."""
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def read(reader: RequestReader, reads: list[bytes], *, begin: bool = False) -> Verdict:
    """What becomes of the next request; `begin`: the reader has its first bytes already."""
    events: list[HttpEvent] = []
    try:
        if begin:
            events += reader.next()
        for data in reads:
            events += reader.feed(data)
    except HttpError as error:
        return Refuse(error.status)
    if not events or not isinstance(events[-1], End):
        with pytest.raises(HttpError):
            reader.close()
        return Short()
    head = events[0]
    assert isinstance(head, RequestHead)
    body = b"".join([event.data for event in events if isinstance(event, Body)])
    return Accept(head.method, head.target, head.fields, body, reader.keep_alive)


def verdict(reads: list[bytes]) -> Verdict:
    return read(RequestReader(Limits()), reads)


def test_there_are_enough_of_them_and_none_twice() -> None:
    names = Counter(case.name for case in CASES)
    assert [name for name, count in names.items() if count > 1] == []
    raws = Counter(case.raw for case in CASES)
    assert len(raws) >= 600
    assert sum(isinstance(case.verdict, Accept) and case.verdict.is_call for case in CASES) >= 50


@by_name
def test_whole(case: Case) -> None:
    assert verdict([case.raw]) == case.verdict


@by_name
def test_byte_by_byte(case: Case) -> None:
    assert verdict([case.raw[at : at + 1] for at in range(len(case.raw))]) == case.verdict


@given(case=st.sampled_from(CASES), data=st.data())
@settings(max_examples=1000)
def test_in_pieces(case: Case, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, min(len(case.raw), 600)), max_size=6))
    assert verdict(pieces(case.raw, cuts)) == case.verdict


@by_name
def test_behind_a_good_request(case: Case) -> None:
    reader = RequestReader(Limits())
    assert reader.feed(GET + case.raw) == GOOD
    assert read(reader, [], begin=True) == case.verdict


@by_name
def test_in_front_of_a_good_request(case: Case) -> None:
    """The good one is read where the connection stays, and never where it does not."""
    if isinstance(case.verdict, Short):
        return  # the good one is the rest of it
    reader = RequestReader(Limits())
    assert read(reader, [case.raw + GET]) == case.verdict
    if isinstance(case.verdict, Accept):
        assert reader.buffered == len(GET)
        assert reader.next() == GOOD
    else:
        for _ in range(2):
            with pytest.raises(HttpError):
                reader.feed(GET)
        assert not reader.keep_alive


@by_name
def test_the_strict_reader_agrees(case: Case) -> None:
    """It has few limits, and waits longer for what can never become a request."""
    try:
        found = read_request(case.raw)
    except Bad:
        assert isinstance(case.verdict, Refuse)
    except Unfinished:
        assert not isinstance(case.verdict, Accept)
    else:
        if case.verdict == Refuse(431) or "outweigh" in case.name:
            return
        assert case.verdict == Accept(
            found.method, found.target, found.fields, found.body, found.keep
        )
        assert found.end == len(case.raw)


def test_figures() -> None:
    """Shown by `pytest -s`: a case that is read wrongly breaks a MUST; if it is taken, it smuggles."""
    kinds = Counter(type(case.verdict).__name__.lower() for case in CASES)
    wrong = [case.name for case in CASES if verdict([case.raw]) != case.verdict]
    taken = [
        case.name
        for case in CASES
        if case.name in wrong and isinstance(verdict([case.raw]), Accept)
    ]
    count = f"{len(CASES)} requests, {dict(kinds)}"
    print(f"corpus: {count}; MUST {len(wrong)}, smuggling {len(taken)}")  # noqa: T201
    assert (wrong, taken) == ([], [])
