"""The SSE splitter: where frames end and what they say, however the bytes arrive."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import FrameTooLong
from rawproxy.wire.frame import Frame
from rawproxy.wire.sse import Splitter, SseFrame, comment, read_tail, write

SHARED = Path(os.environ.get("RAWPROXY_SHARED", Path(__file__).parents[3] / "shared"))
STANDARD = SHARED / "conformance" / "wpt_eventsource_format.json"

# name -> (stream, (name, data) of each frame, None where a frame has no data)
STREAMS: dict[str, tuple[bytes, list[tuple[bytes, bytes | None]]]] = {
    "LF": (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
    "all three": (b"event: x\rdata: a\r\ndata: b\n\r\ndata: c\n\r", [(b"x", b"a\nb"), (b"", b"c")]),
    "comment": (b": ping\n\n", [(b"", None)]),
    "name without data": (b"event: x\n\n", [(b"x", None)]),
    "data without value": (b"data\n\n", [(b"", b"")]),
    "two data fields": (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
    "two names": (b"event: x\nevent: y\ndata: a\n\n", [(b"y", b"a")]),
    "name taken back": (b"event: x\nevent\ndata: a\n\n", [(b"", b"a")]),
    "no space": (b"event:x\ndata:a\n\n", [(b"x", b"a")]),
    "two spaces": (b"data:  a\n\n", [(b"", b" a")]),
    "id and retry": (b"id: 1\nretry: 2\ndata: a\n\n", [(b"", b"a")]),
    "unknown fields": (b"Data: x\n data: y\ndatax: z\ndata: a\n\n", [(b"", b"a")]),
    "colon in the data": (b"data: a: b\n\n", [(b"", b"a: b")]),
    "NUL and other controls": (b"data: \x00\x0b\x0c\x1c\x85\n\n", [(b"", b"\x00\x0b\x0c\x1c\x85")]),
    "not UTF-8": (b"data: \xff\xc3\n\n", [(b"", b"\xff\xc3")]),
    "BOM": (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [(b"", b"a"), (b"", None)]),
    "BOM before a name": (b"\xef\xbb\xbfevent: x\ndata: a\n\n", [(b"x", b"a")]),
    "blank line before": (b"\ndata: a\n\n", [(b"", b"a")]),
    "three blank lines": (b"data: a\n\n\n\ndata: b\n\n", [(b"", b"a"), (b"", None), (b"", b"b")]),
    "blank line of CRLF after LF": (b"data: a\n\r\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
}
LINES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"data", b"event", b"id", b":", b" ", b"x", b"\xef\xbb\xbf", b"\x00"]
)
STREAM = st.lists(LINES, max_size=24).map(b"".join)


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return (stream[start:end] for start, end in itertools.pairwise(bounds))


def split(stream: bytes, cuts: list[int], splitter: Splitter) -> tuple[list[Frame], bytes]:
    """Feed `stream` in pieces; check that no byte is lost; return the whole frames, and the tail."""
    frames = [frame for data in pieces(stream, cuts) for frame in splitter.feed(data)]
    tail = splitter.close()
    assert b"".join(frame.raw for frame in frames) + tail == stream
    assert not any(frame.has_data for frame in frames if not frame.whole)
    return [frame for frame in frames if frame.whole], tail


def says(frame: Frame) -> tuple[bytes, bytes | None]:
    return frame.name, frame.data if frame.has_data else None


def slow_reading(stream: bytes) -> list[tuple[bytes, bytes | None]]:
    """What the standard's own words say, line by line."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, _unfinished = text.split(b"\n")
    read: list[tuple[bytes, bytes | None]] = []
    name, data, size = b"", b"", 0
    for line in lines:
        if not line and size:
            read.append((name, data[:-1] if data else None))
            name, data, size = b"", b"", 0
            continue
        size += 1
        field, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if field == b"event":
            name = value
        elif field == b"data":
            data += value + b"\n"
    return read


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS)
def test_a_stream_reads_the_same_at_every_cut(
    stream: bytes, expected: list[tuple[bytes, bytes | None]]
) -> None:
    assert slow_reading(stream) == expected
    for cuts in ([], list(range(len(stream))), *([cut] for cut in range(len(stream)))):
        frames, tail = split(stream, cuts, Splitter())
        assert [says(frame) for frame in frames] == expected, cuts
        assert tail == b""


@settings(max_examples=300)
@given(stream=STREAM, cuts=st.lists(st.integers(0, 60), max_size=12))
def test_any_bytes_read_as_the_standard_says(stream: bytes, cuts: list[int]) -> None:
    frames, _ = split(stream, cuts, Splitter())
    assert [says(frame) for frame in frames] == slow_reading(stream)


@pytest.mark.skipif(not STANDARD.exists(), reason=f"no conformance data at {STANDARD}")
def test_the_standards_own_cases_at_every_cut() -> None:
    cases: list[dict[str, Any]] = json.loads(STANDARD.read_text())["cases"]
    assert cases
    for case in cases:
        stream = case["stream_latin1"].encode("latin-1")
        expected = [(event["event"], event["data"]) for event in case["events"]]
        for cuts in ([], list(range(len(stream))), *([cut] for cut in range(len(stream)))):
            got = [
                (frame.name.decode() or "message", frame.data.decode())
                for frame in split(stream, cuts, Splitter())[0]
                if frame.has_data
            ]
            assert got == expected, (case["name"], cuts)


def test_a_frame_of_bare_crs_comes_out_at_once() -> None:
    assert [frame.raw for frame in Splitter().feed(b"data: a\r\r")] == [b"data: a\r\r"]


def test_the_lf_of_a_crlf_cut_in_two_is_a_piece() -> None:
    splitter = Splitter()
    assert [frame.raw for frame in splitter.feed(b"data: a\r\n\r")] == [b"data: a\r\n\r"]
    piece, frame = splitter.feed(b"\ndata: b\r\n\r\n")
    assert (piece.raw, piece.whole, piece.has_data) == (b"\n", False, False)
    assert (frame.raw, frame.data) == (b"data: b\r\n\r\n", b"b")


def test_an_empty_read_changes_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == []
    splitter.feed(b"data: a\r\r")
    assert splitter.feed(b"") == []
    assert [frame.raw for frame in splitter.feed(b"\n")] == [b"\n"]


def test_a_large_frame_in_small_reads_is_whole() -> None:
    frame = b"data: " + b"x" * 2**17 + b"\n\n"
    frames, _ = split(frame * 2, list(range(len(frame))), Splitter())
    assert [one.raw for one in frames] == [frame, frame]


def test_the_fields_of_a_frame_are_read_once() -> None:
    frame = SseFrame(b"event: x\ndata: a\n\n")
    assert frame.data is frame.data
    assert repr(frame) == "SseFrame(b'event: x\\ndata: a\\n\\n')"


# --- frames that are too long ---------------------------------------------------------------------

LIMIT = 20
LONG = b"data: " + b"x" * (LIMIT - 6)  # LIMIT bytes, and then its line end


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


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_limit_counts_the_bytes_before_the_blank_line(line_end: bytes, over: int) -> None:
    frame = b"data: ".ljust(LIMIT + over - len(line_end), b"x") + line_end + line_end
    for cuts in ([], list(range(len(frame))), *([cut] for cut in range(len(frame)))):
        if over > 0:
            with pytest.raises(FrameTooLong, match="20 bytes"):
                split(frame, cuts, Splitter(max_frame=LIMIT))
        else:
            assert len(split(frame, cuts, Splitter(max_frame=LIMIT))[0]) == 1


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_the_limit_is_the_same_for_a_frame_that_is_all_of_a_read(size: int) -> None:
    splitter = Splitter(max_frame=LIMIT)
    assert len(splitter.feed(b": first\n\n")) == 1
    frame = b"x" * size + b"\n\n"
    assert splitter.take(frame) is (size < LIMIT)
    if size < LIMIT:
        assert [one.raw for one in splitter.feed(frame)] == [frame]
    else:
        with pytest.raises(FrameTooLong):
            splitter.feed(frame)


@pytest.mark.parametrize(
    ("before", "taken"),
    [
        (b"", False),  # a mark of byte order might stand there
        (b": x\n\n", True),
        (b": x\r\r", True),
        (b"data: x", False),
        (b"data: x\n", False),
    ],
)
def test_a_read_is_taken_for_a_frame_where_one_may_begin(before: bytes, *, taken: bool) -> None:
    splitter = Splitter()
    splitter.feed(before)
    assert splitter.take(b"data: y\n\n") is taken
    # It goes on as if it had been fed, or as if nothing had been.
    rest = b"\n" if taken else b"data: y\n\n"
    fed = Splitter()
    fed.feed(before + b"data: y\n\n" * taken)
    assert splitter.feed(rest) == fed.feed(rest)
    assert splitter.close() == fed.close()


@pytest.mark.parametrize(
    "before", [b": x\n\n", b": x\r\r", b": x\r\n\r\n", b"data: x", b"data: x\n", b"x\r"]
)
@pytest.mark.parametrize(
    "read", [b"data: y\n\n", b"\n\n", b"y\r\n\n", b"y\r\r\n\n", b"\n", b"y\n\n\n\n"]
)
def test_a_read_of_one_frame_reads_as_its_bytes_one_by_one(before: bytes, read: bytes) -> None:
    whole, bytewise = Splitter(), Splitter()
    frames = whole.feed(before) + whole.feed(read)
    singly = [frame for byte in before + read for frame in bytewise.feed(bytes([byte]))]
    assert b"".join(frame.raw for frame in frames) == b"".join(frame.raw for frame in singly)
    read_of = [
        [(frame.name, frame.data) for frame in each if frame.has_data] for each in (frames, singly)
    ]
    assert read_of[0] == read_of[1]
    assert whole.close() == bytewise.close()


def test_frames_around_those_that_are_too_long_are_frames() -> None:
    splitter = Splitter(max_frame=LIMIT)
    short, long = b"data: a\n\n", LONG + b"\n\n"
    with pytest.raises(FrameTooLong):
        splitter.feed(short + long + long + short)
    with pytest.raises(FrameTooLong):  # nobody has called skip
        splitter.feed(b": ")
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [
        (short, True),
        (long, False),
        (long, False),
        (short, True),
    ]
    assert splitter.skip() == []
    assert splitter.close() == b": "


def test_an_unfinished_frame_that_is_too_long_goes_on_in_pieces() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong):
        splitter.feed(LONG + b"y")
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [(LONG + b"y", False)]
    assert splitter.mid_frame
    assert [frame.raw for frame in splitter.feed(LONG + b"\n")] == [LONG + b"\n"]
    assert splitter.mid_frame
    piece, frame = splitter.feed(b"\ndata: a\n\n")
    assert (piece.raw, piece.whole, piece.has_data) == (b"\n", False, False)
    assert (frame.data, frame.whole) == (b"a", True)
    assert not splitter.mid_frame


def test_what_was_too_long_is_given_back_at_close() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong):
        splitter.feed(LONG + b"y")
    assert splitter.close() == LONG + b"y"


def test_a_first_frame_in_pieces_is_not_read_for_its_byte_order_mark() -> None:
    frames = collect(b"\xef\xbb\xbf" + LONG + b"\n\n", [])
    assert [(frame.whole, frame.has_data) for frame in frames] == [(False, False)]


@given(
    parts=st.lists(
        st.sampled_from([b"data: a\n\n", LONG + b"\n\n", LONG + b"\r\n\r\n", b": c\r\r", LONG]),
        max_size=5,
    ),
    cuts=st.lists(st.integers(0, 100), max_size=10),
)
def test_cuts_never_change_what_is_read_around_a_long_frame(
    parts: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(parts)
    frames = collect(stream, cuts)
    assert [says(frame) for frame in frames if frame.whole] == [
        says(frame) for frame in split(stream, [], Splitter())[0] if len(frame.raw) < LIMIT
    ]


# --- the end of a stream --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail", [b"event: x\ndata: a", b"data: a\nevent: x\n", b"event:x\rdata:a\r"]
)
def test_a_tail_reads_as_if_its_blank_line_were_there(tail: bytes) -> None:
    frame = read_tail(tail)
    assert frame is not None
    assert (frame.raw, frame.name, frame.data, frame.has_data) == (tail, b"x", b"a", True)


@pytest.mark.parametrize("tail", [b"", b"\n", b"event: x", b": ping", b"dat"])
def test_a_tail_without_data_is_no_frame(tail: bytes) -> None:
    assert read_tail(tail) is None


# --- writing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"a", b"", b"data: a\n\n"),
        (b"a", b"x", b"event: x\ndata: a\n\n"),
        (b"", b"", b"data: \n\n"),
        (b"a\nb\r\nc\rd", b"x", b"event: x\ndata: a\ndata: b\ndata: c\ndata: d\n\n"),
        (b"a", b"x\r\ndata: y", b"event: x  data: y\ndata: a\n\n"),
    ],
)
def test_an_event_is_written(data: bytes, name: bytes, expected: bytes) -> None:
    assert write(data, name=name) == expected


@given(data=st.lists(LINES, max_size=12).map(b"".join), name=st.sampled_from([b"", b"x", b" y"]))
def test_what_is_written_reads_back(data: bytes, name: bytes) -> None:
    [frame] = Splitter().feed(write(data, name=name))
    assert frame.name == name
    assert frame.data == data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


@pytest.mark.parametrize("text", [b"", b"ping", b"a\nb", b"a\r\ndata: b"])
def test_a_comment_carries_no_data(text: bytes) -> None:
    [frame] = Splitter().feed(comment(text))
    assert frame.raw.startswith(b": ")
    assert not frame.has_data
