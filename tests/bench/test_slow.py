"""Slow readers: that they have everything in the end, and tell when they have not."""

import threading

import pytest

from bench.rig import Rig
from bench.slow import SlowReader, content_of, digest, reading_slowly

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_a_body_is_what_its_chunks_hold() -> None:
    assert content_of(WHOLE) == b"abcde"


@pytest.mark.parametrize("missing", range(1, len(WHOLE)))
def test_a_body_that_is_cut_is_none(missing: int) -> None:
    with pytest.raises(ValueError, match=r"ends|no good response"):
        content_of(WHOLE[:-missing])


def test_another_status_is_no_body() -> None:
    with pytest.raises(ValueError, match="502"):
        content_of(WHOLE.replace(b"200 OK", b"502 Bad"))


def test_the_hash_leaves_out_when_an_event_was_written_and_nothing_else() -> None:
    first = b'data: {"content":"@0000000000000001@"}\n\n'
    assert digest(first) == digest(first.replace(b"1@", b"2@"))
    assert digest(first) != digest(first.replace(b"content", b"context"))
    assert digest(first) != digest(first + first)


@pytest.mark.slow
def test_every_reader_gets_the_same_bytes(rig: Rig) -> None:
    model = "mock-e3000-d0"
    with reading_slowly(rig.mock.port, model, 3) as readers:
        read = [len(one.got) for one in readers]
        assert max(read) < 3000 * 200
    direct = SlowReader(rig.mock.port, model)
    for one in (*readers, direct):
        one.finish()
    assert len({digest(content_of(one.got)) for one in (*readers, direct)}) == 1
    assert content_of(direct.got).count(b"@") == 2 * 3000


@pytest.mark.slow
def test_no_thread_is_left(rig: Rig) -> None:
    before = threading.active_count()
    with reading_slowly(rig.mock.port, "mock-e10-d0", 1) as readers:
        assert threading.active_count() == before + 1
    readers[0].close()
    assert threading.active_count() == before
