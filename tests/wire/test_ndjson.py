"""The NDJSON splitter: where lines end and what they carry, however the bytes arrive."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.errors import FrameTooLong
from rawproxy.wire import ndjson
from rawproxy.wire.frame import Frame, Framing
from rawproxy.wire.ndjson import LineFrame, Splitter, mend, read_tail, splitter, write

FRAMING: Framing = ndjson

# name -> (stream, data of each line, None where a line has none)
STREAMS: dict[str, tuple[bytes, list[bytes | None]]] = {
    "LF": (b'{"a":1}\n{}\n', [b'{"a":1}', b"{}"]),
    "CRLF": (b"{}\r\n[]\r\n", [b"{}", b"[]"]),
    "both": (b"{}\r\n[]\n", [b"{}", b"[]"]),
    "blank lines": (b"\n{}\n\r\n \t\n", [None, b"{}", None, None]),
    "white space around": (b" {} \t\r\n", [b"{}"]),
    "a CR inside": (b"{}\r{}\n", [b"{}\r{}"]),
    "other line ends of Unicode": ('"\u2028\x85"\n'.encode(), ['"\u2028\x85"'.encode()]),
    "no JSON": (b"oops\n\xff\x00\n", [b"oops", b"\xff\x00"]),
}
PARTS = st.lists(st.sampled_from([b"\n", b"\r\n", b"{}", b" ", b'"x"', b"\xff"]), max_size=20)
CUTS = st.lists(st.integers(0, 60), max_size=10)


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return (stream[start:end] for start, end in itertools.pairwise(bounds))


def every_cut(stream: bytes) -> list[list[int]]:
    return [[], list(range(len(stream))), *([cut] for cut in range(len(stream)))]


def split(stream: bytes, cuts: list[int]) -> tuple[list[Frame], bytes]:
    """Feed `stream` in pieces; check that no byte is lost; return the frames, and the tail."""
    splitter = Splitter()
    frames = [frame for data in pieces(stream, cuts) for frame in splitter.feed(data)]
    tail = splitter.close()
    assert b"".join(frame.raw for frame in frames) + tail == stream
    return frames, tail


def says(frame: Frame) -> bytes | None:
    assert (frame.name, frame.whole) == (b"", True)
    assert frame.has_data or frame.data == b""
    return frame.data if frame.has_data else None


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS)
def test_a_stream_reads_the_same_at_every_cut(stream: bytes, expected: list[bytes | None]) -> None:
    for cuts in every_cut(stream):
        frames, tail = split(stream, cuts)
        assert [says(frame) for frame in frames] == expected, cuts
        assert tail == b""


@given(stream=PARTS.map(b"".join), cuts=CUTS)
def test_any_bytes_are_cut_behind_every_lf(stream: bytes, cuts: list[int]) -> None:
    frames, tail = split(stream, cuts)
    assert [frame.raw for frame in frames] + [tail] == [
        *(line + b"\n" for line in stream.split(b"\n")[:-1]),
        stream.split(b"\n")[-1],
    ]


def test_a_large_line_in_small_reads_is_whole() -> None:
    line = b'"%b"\n' % (b"x" * 2**17)
    frames, _ = split(line * 2, list(range(len(line))))
    assert [frame.raw for frame in frames] == [line, line]


def test_an_empty_read_changes_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == []
    assert splitter.feed(b"{}") == []
    assert splitter.feed(b"") == []
    assert [frame.raw for frame in splitter.feed(b"\n")] == [b"{}\n"]


def test_a_line_shows_its_bytes() -> None:
    assert repr(LineFrame(b"{}\n")) == "LineFrame(b'{}\\n')"


# --- lines that are too long ----------------------------------------------------------------------

LIMIT = 20
LONG = b'"%b"' % (b"x" * (LIMIT - 1))  # one byte more than LIMIT, without its line end


def collect(stream: bytes, cuts: list[int]) -> list[Frame]:
    """Split as a pass-through does: what is too long goes on in pieces."""
    splitter = Splitter(max_frame=LIMIT)
    frames: list[Frame] = []
    for data in pieces(stream, cuts):
        try:
            frames += splitter.feed(data)
        except FrameTooLong:
            frames += splitter.skip()
    assert b"".join(frame.raw for frame in frames) + splitter.close() == stream
    return frames


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_the_limit_counts_the_bytes_before_the_lf(line_end: bytes, over: int) -> None:
    line = b"x" * (LIMIT + over + 1 - len(line_end)) + line_end
    for cuts in every_cut(line):
        wholes = [frame.whole for frame in collect(line, cuts)]
        assert (wholes == [True]) is (over <= 0), cuts
        assert all(wholes) is (over <= 0)


def test_lines_around_those_that_are_too_long_are_frames() -> None:
    splitter = Splitter(max_frame=LIMIT)
    long = LONG + b"\n"
    with pytest.raises(FrameTooLong, match="20 bytes"):
        splitter.feed(b"{}\n" + long + long + b"[]\n")
    with pytest.raises(FrameTooLong):  # nobody has called skip
        splitter.feed(b" ")
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [
        (b"{}\n", True),
        (long, False),
        (long, False),
        (b"[]\n", True),
    ]
    assert splitter.skip() == []
    assert splitter.close() == b" "


def test_an_unfinished_line_that_is_too_long_goes_on_in_pieces() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong):
        splitter.feed(LONG)
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [(LONG, False)]
    assert splitter.mid_frame
    assert [frame.raw for frame in splitter.feed(LONG)] == [LONG]
    assert splitter.mid_frame
    piece, frame = splitter.feed(b'"\n{}\n')
    assert (piece.raw, piece.whole, piece.has_data) == (b'"\n', False, False)
    assert (frame.data, frame.whole) == (b"{}", True)
    assert not splitter.mid_frame


def test_what_was_too_long_is_given_back_at_close() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong):
        splitter.feed(LONG)
    assert splitter.close() == LONG


@given(
    parts=st.lists(st.sampled_from([b"{}\n", LONG + b"\n", b"\n", LONG, b'["x"]\r\n']), max_size=6),
    cuts=st.lists(st.integers(0, 100), max_size=10),
)
def test_cuts_never_change_what_is_read_around_a_long_line(
    parts: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(parts)
    assert [frame.raw for frame in collect(stream, cuts) if frame.whole] == [
        line + b"\n" for line in stream.split(b"\n")[:-1] if len(line) <= LIMIT
    ]


# --- the end of a stream --------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [b'{"a":[1]}', b" {} ", b"{}\r", b"[]", b'"x"', b"true", b"null"])
def test_a_tail_that_is_a_whole_document_is_a_line(tail: bytes) -> None:
    frame = read_tail(tail)
    assert frame is not None
    assert (frame.raw, frame.data, frame.has_data, frame.whole) == (tail, tail.strip(), True, True)
    assert says(Splitter().feed(tail + mend(tail))[0]) == frame.data


@pytest.mark.parametrize(
    "tail",
    [b"", b" ", b"\r", b'{"a":', b'{"a":1', b"12", b"1.5", b"tru", b'"x', b"{}}", b'"\xff"',
     b"[" * 200_000],
)  # fmt: skip
def test_a_tail_that_may_go_on_is_no_line(tail: bytes) -> None:
    assert read_tail(tail) is None


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"{}", b"{}\n"), (b'{\n"a":\r\n1}', b'{ "a":  1}\n'), (b"[\r]", b"[ ]\n")],
)
def test_a_document_is_one_line(data: bytes, expected: bytes) -> None:
    assert write(data, name=b"x") == expected


def test_a_stream_is_its_lines() -> None:
    stream = FRAMING.OPEN + FRAMING.BETWEEN.join([write(b"{}"), write(b"[]")]) + FRAMING.CLOSE
    assert [frame.data for frame in splitter(10).feed(stream)] == [b"{}", b"[]"]
    assert FRAMING.TYPE == b"application/x-ndjson"
