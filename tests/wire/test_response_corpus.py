"""Responses of upstreams through the reader: whole, in pieces, and with the end of the connection.

A verdict is about bytes, not about reads. What is odd in a response, or behind it, ends the use of its
connection: so no upstream can answer a request that was never its own. `pytest -s` prints the count.
"""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, HttpEvent, ResponseHead
from rawproxy.wire.http1 import Limits, ResponseReader
from tests.wire.corpus.responses import (
    FIELD_LIMIT,
    HEAD_LIMIT,
    RESPONSES,
    SECOND,
    Answer,
    Broken,
    Cut,
    Got,
)
from tests.wire.strict import Bad, Unfinished, read_reply
from tests.wire.test_corpus import pieces

LIMITS = Limits(head_bytes=HEAD_LIMIT, head_fields=FIELD_LIMIT)

by_name = pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)


def reader_of(case: Answer) -> ResponseReader:
    return ResponseReader(LIMITS, head_request=case.to == b"HEAD")


def verdict(case: Answer, reads: list[bytes]) -> Got | Broken | Cut:
    """What becomes of the response; the connection ends behind it."""
    reader = reader_of(case)
    events: list[HttpEvent] = []
    try:
        for data in reads:
            events += reader.feed(data)
    except HttpError:
        assert not reader.reusable
        return Broken()
    reusable = reader.reusable
    try:
        events += reader.close()
    except HttpError:
        assert not reusable
        return Cut()
    assert not reader.reusable
    head = events[0]
    assert isinstance(head, ResponseHead)
    assert isinstance(events[-1], End)
    body = b"".join([event.data for event in events if isinstance(event, Body)])
    return Got(head.status, head.fields, body, reusable)


def test_there_are_enough_of_them_and_none_twice() -> None:
    names = Counter(case.name for case in RESPONSES)
    assert [name for name, count in names.items() if count > 1] == []
    assert len({(case.raw, case.to) for case in RESPONSES}) == len(RESPONSES) >= 150


@by_name
def test_whole(case: Answer) -> None:
    assert verdict(case, [case.raw]) == case.verdict


@by_name
def test_byte_by_byte(case: Answer) -> None:
    assert verdict(case, [case.raw[at : at + 1] for at in range(len(case.raw))]) == case.verdict


@given(case=st.sampled_from(RESPONSES), data=st.data())
@settings(max_examples=1000)
def test_in_pieces(case: Answer, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, min(len(case.raw), 600)), max_size=6))
    assert verdict(case, pieces(case.raw, cuts)) == case.verdict


@by_name
def test_a_second_response_is_never_read(case: Answer) -> None:
    """Whatever comes behind makes the connection unfit, and is no part of the response."""
    if isinstance(case.verdict, Cut) or b"Smuggled" in case.raw:
        return  # it would be the rest of it; or there is one already
    if case.verdict == Broken():
        assert verdict(case, [case.raw, SECOND]) == Broken()
        return
    assert isinstance(case.verdict, Got)
    found = verdict(case, [case.raw, SECOND])
    assert isinstance(found, Got)
    assert not found.reusable
    if _has_end(case.verdict):
        assert found == case.verdict._replace(reusable=False)


def _has_end(got: Got) -> bool:
    """Whether the response ends before its connection does."""
    framing = {b"content-length", b"transfer-encoding"} & {name for name, _ in got.fields}
    return bool(framing) or got.status in (204, 304)


@by_name
def test_after_an_error_nothing_is_read(case: Answer) -> None:
    if not isinstance(case.verdict, Broken):
        return
    reader = reader_of(case)
    with pytest.raises(HttpError):
        reader.feed(case.raw)
    for _ in range(2):
        with pytest.raises(HttpError):
            reader.feed(SECOND)
    with pytest.raises(HttpError):
        reader.close()


@by_name
def test_the_strict_reader_agrees(case: Answer) -> None:
    """It knows no limits of heads."""
    try:
        found = read_reply(case.raw, to=case.to, closed=True)
    except Bad:
        assert isinstance(case.verdict, Broken)
    except Unfinished:
        assert isinstance(case.verdict, Cut | Broken)
    else:
        if case.verdict == Broken():
            assert len(case.raw) > HEAD_LIMIT or case.name in (
                "201 fields",
                "nine of them in front",
            )
            return
        reusable = found.reusable and found.end == len(case.raw)
        assert case.verdict == Got(found.status, found.fields, found.body, reusable)


def test_figures() -> None:
    """Shown by `pytest -s`: what is taken and should not be would answer somebody else's request."""
    kinds = Counter(type(case.verdict).__name__.lower() for case in RESPONSES)
    found = {case.name: verdict(case, [case.raw]) for case in RESPONSES}
    wrong = [case.name for case in RESPONSES if found[case.name] != case.verdict]
    taken = [name for name in wrong if isinstance(found[name], Got)]
    count = f"{len(RESPONSES)} responses, {dict(kinds)}"
    print(f"corpus: {count}; MUST {len(wrong)}, smuggling {len(taken)}")  # noqa: T201
    assert (wrong, taken) == ([], [])
