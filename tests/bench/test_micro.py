"""The microbenches: that what they measure is the work they name. Nothing here is about speed."""

import h11
import hpack
import pytest

from bench.micro import (
    BODY,
    CASES,
    CHUNKS,
    EVENTS,
    HPACK_FIELDS,
    LIMITS,
    UNITS,
    _blocks,
    _request,
    _response,
    main,
)
from rawproxy.wire import sse
from rawproxy.wire.bodies import Chunked
from rawproxy.wire.frame import MAX_FRAME
from rawproxy.wire.h2.blocks import BlockDecoder, write_block
from rawproxy.wire.http import Body, End
from rawproxy.wire.http1 import RequestReader, ResponseReader


def test_the_messages_are_whole_for_us_and_for_h11() -> None:
    for reader in (RequestReader(LIMITS), ResponseReader(LIMITS)):
        data = _request() if isinstance(reader, RequestReader) else _response()
        _, body, end = reader.feed(data)
        assert body == Body(BODY)
        assert isinstance(end, End)
    server = h11.Connection(h11.SERVER)
    server.receive_data(_request())
    assert isinstance(server.next_event(), h11.Request)


def test_a_read_is_one_chunk_and_one_event() -> None:
    chunked, splitter = Chunked(max_bytes=2**64, max_trailers=100), sse.splitter(MAX_FRAME)
    frames = splitter.feed(b"".join(chunked.take(chunk)[0] for chunk in CHUNKS))
    assert [frame.data for frame in frames] == EVENTS
    assert len(set(EVENTS)) == UNITS


def test_blocks_are_whole_for_us_and_for_hpack() -> None:
    first, *others = _blocks()
    assert {len(block) for block in others} == {len(HPACK_FIELDS)}  # a byte for each field
    for blocks in ([first, *others], [first] * UNITS, [write_block(HPACK_FIELDS)] * UNITS):
        ours, theirs = BlockDecoder(LIMITS.head_bytes), hpack.Decoder()
        for block in blocks:
            assert ours.decode(block) == theirs.decode(block, raw=True) == HPACK_FIELDS


def test_every_case_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[0].lstrip("| ") for row in rows] == [case.name for case in CASES]
