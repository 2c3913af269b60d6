"""The array splitter: where elements end, however the bytes arrive and whatever is in the strings."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import FrameTooLong
from rawproxy.wire import jsonarray
from rawproxy.wire.frame import Frame, Framing
from rawproxy.wire.jsonarray import Splitter, mend, read_tail, splitter, write

FRAMING: Framing = jsonarray

# name -> (stream, (raw, data) of each frame, None where a frame has no data, what is left)
STREAMS: dict[str, tuple[bytes, list[tuple[bytes, bytes | None]], bytes]] = {
    "as Gemini sends it": (
        b'[{\n  "a": 1\n}\n,\r\n{\n  "a": 2\n}\n]\n',
        [(b'[{\n  "a": 1\n}', b'{\n  "a": 1\n}'), (b'\n,\r\n{\n  "a": 2\n}', b'{\n  "a": 2\n}'),
         (b"\n]", None), (b"\n", None)],
        b"",
    ),
    "nothing": (b"", [], b""),
    "empty": (b"[]", [(b"[]", None)], b""),
    "empty, with space": (b" [ \n ] ", [(b" [ \n ]", None), (b" ", None)], b""),
    "one": (b"[{}]", [(b"[{}", b"{}"), (b"]", None)], b""),
    "no closing bracket": (b"[{},{}\n", [(b"[{}", b"{}"), (b",{}", b"{}")], b"\n"),
    "cut": (b'[{},{"a":', [(b"[{}", b"{}")], b',{"a":'),
    "nested": (
        b'[{"a":[[{}],{"b":{}}]},[[1],[]]]',
        [(b'[{"a":[[{}],{"b":{}}]}', b'{"a":[[{}],{"b":{}}]}'), (b",[[1],[]]", b"[[1],[]]"),
         (b"]", None)],
        b"",
    ),
    "brackets in strings": (
        b'[{"]}":"[{"},"]"]',
        [(b'[{"]}":"[{"}', b'{"]}":"[{"}'), (b',"]"', b'"]"'), (b"]", None)],
        b"",
    ),
    "escapes": (
        rb'[{"a":"\"}\\"},{"\\\\":"\\\"]"},"\\"]',
        [(rb'[{"a":"\"}\\"}', rb'{"a":"\"}\\"}'), (rb',{"\\\\":"\\\"]"}', rb'{"\\\\":"\\\"]"}'),
         (rb',"\\"', rb'"\\"'), (b"]", None)],
        b"",
    ),
    "line ends in strings": (b'["\\\n","\n"]', [(b'["\\\n"', b'"\\\n"'), (b',"\n"', b'"\n"'), (b"]", None)], b""),
    "plain elements": (
        b"[1,-2.5e3 ,true\n,null]",
        [(b"[1", b"1"), (b",-2.5e3", b"-2.5e3"), (b" ,true", b"true"), (b"\n,null", b"null"),
         (b"]", None)],
        b"",
    ),
    "a plain element may go on": (b"[12", [], b"[12"),
    "no opening bracket": (b'{"error":{}}\n', [(b'{"error":{}}', b'{"error":{}}')], b"\n"),
    "arrays after an object without bracket": (
        b"{}[1][", [(b"{}", b"{}"), (b"[1]", b"[1]")], b"[",
    ),
    "no commas": (b'[{}{}"a""b"]', [(b"[{}", b"{}"), (b"{}", b"{}"), (b'"a"', b'"a"'), (b'"b"', b'"b"'), (b"]", None)], b""),
    "no JSON": (b"<html>\n", [(b"<html>", b"<html>")], b"\n"),
    "brackets of the other kind": (b"[{]}]", [(b"[{]", b"{]"), (b"}", b"}"), (b"]", None)], b""),
    "not UTF-8": (b'["\xff\xc3"]', [(b'["\xff\xc3"', b'"\xff\xc3"'), (b"]", None)], b""),
}  # fmt: skip
CUTS = st.lists(st.integers(0, 80), max_size=12)
BYTES = st.lists(
    st.sampled_from([b"[", b"]", b"{", b"}", b'"', b"\\", b",", b" ", b"x", b"\n", b"\xff"]),
    max_size=30,
).map(b"".join)
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],\n', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\{', max_size=3), inner)
    ),
    max_leaves=8,
)


def pieces(stream: bytes, cuts: list[int]) -> Iterator[bytes]:
    bounds = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return (stream[start:end] for start, end in itertools.pairwise(bounds))


def every_cut(stream: bytes) -> list[list[int]]:
    return [[], list(range(len(stream))), *([cut] for cut in range(len(stream)))]


def split(stream: bytes, cuts: list[int], splitter: Splitter) -> tuple[list[Frame], bytes]:
    """Feed `stream` in pieces; check that no byte is lost; return the frames, and the tail."""
    frames = [frame for data in pieces(stream, cuts) for frame in splitter.feed(data)]
    tail = splitter.close()
    assert b"".join(frame.raw for frame in frames) + tail == stream
    assert all(frame.whole and not frame.name for frame in frames)
    return frames, tail


def says(frame: Frame) -> bytes | None:
    return frame.data if frame.has_data else None


def slow_reading(stream: bytes) -> list[bytes]:
    """The elements, byte by byte."""
    elements: list[bytes] = []
    element, depth, quoted, escaped, begun = b"", 0, False, False, False
    for byte in (stream[at : at + 1] for at in range(len(stream))):
        if not element and byte in b" \r\n,":
            continue
        if not element and byte == b"[" and not begun:
            begun = True
            continue
        if element and not depth and not quoted and byte in b' \r\n,[]{"':  # behind a plain one
            elements.append(element)
            element = b""
            if byte in b" \r\n,":
                continue
        if not element and byte == b"]":
            return elements
        begun = True
        element += byte
        if quoted:
            quoted = escaped or byte != b'"'
            escaped = byte == b"\\" and not escaped
            ended = not quoted and not depth
        else:
            quoted = byte == b'"' and (depth > 0 or element == b'"')
            depth += (byte in b"[{") - (byte in b"]}" and depth > 0)
            ended = byte in b"]}" and not depth and element[:1] in b"[{"
        if ended:
            elements.append(element)
            element = b""
    return elements


@pytest.mark.parametrize(("stream", "expected", "left"), STREAMS.values(), ids=STREAMS)
def test_a_stream_reads_the_same_at_every_cut(
    stream: bytes, expected: list[tuple[bytes, bytes | None]], left: bytes
) -> None:
    assert slow_reading(stream) == [data for _, data in expected if data is not None]
    for cuts in every_cut(stream):
        splitter = Splitter()
        frames, tail = split(stream, cuts, splitter)
        # A plain element comes out with the byte behind it, and what follows the `]` as it comes.
        whole = [(frame.raw, says(frame)) for frame in frames]
        assert [pair for pair in whole if pair[1] is not None] == [
            pair for pair in expected if pair[1] is not None
        ], cuts
        assert tail == left
        assert splitter.closed is any(b"]" in raw for raw, data in expected if data is None)
        if not cuts:
            joined = b"".join(raw for raw, data in expected if data is None)
            assert b"".join(raw for raw, data in whole if data is None) == joined


@settings(max_examples=300)
@given(stream=BYTES, cuts=CUTS)
def test_any_bytes_read_as_byte_by_byte(stream: bytes, cuts: list[int]) -> None:
    frames, _ = split(stream, cuts, Splitter())
    assert [frame.data for frame in frames if frame.has_data] == slow_reading(stream)


@settings(max_examples=200)
@given(values=st.lists(VALUE, max_size=4), indent=st.sampled_from([None, 0, 2]), cuts=CUTS)
def test_any_array_is_its_elements(values: list[Any], indent: int | None, cuts: list[int]) -> None:
    stream = json.dumps(values, indent=indent).encode()
    splitter = Splitter()
    frames, tail = split(stream, cuts, splitter)
    assert [json.loads(frame.data) for frame in frames if frame.has_data] == values
    assert splitter.closed
    assert tail == b""


@pytest.mark.parametrize("element", [b'{"a":[1]}', b'"a"', b"[[]]"])
def test_an_element_comes_out_with_its_last_byte(element: bytes) -> None:
    splitter = Splitter()
    assert splitter.feed(b"[" + element[:-1]) == []
    assert [frame.data for frame in splitter.feed(element[-1:])] == [element]
    assert not splitter.closed


def test_what_stands_behind_the_array_goes_out_as_it_comes() -> None:
    splitter = Splitter()
    assert [says(frame) for frame in splitter.feed(b"[{}]")] == [b"{}", None]
    for data in (b"\n", b"[{}]"):
        assert [(frame.raw, says(frame)) for frame in splitter.feed(data)] == [(data, None)]


def test_a_large_element_in_small_reads_is_whole() -> None:
    element = b'{"a":"%b"}' % (b"x\\n" * 2**15)
    frames, _ = split(b"[" + element + b"," + element, list(range(len(element))), Splitter())
    assert [frame.data for frame in frames] == [element, element]


@pytest.mark.parametrize(
    "inside", [b'"' + b"\\n" * 2**20, b"[" * 2**21, b'"":"",' * 2**19, b"[]," * 2**19]
)
def test_a_large_element_is_looked_at_once(inside: bytes) -> None:
    """Each takes some hundredths of a second; a second look at all of it at each read, minutes."""
    splitter = Splitter()
    for start in range(0, len(inside), 512):
        assert splitter.feed((b"[{" if not start else b"") + inside[start : start + 512]) == []
    assert splitter.close() == b"[{" + inside


def test_an_empty_read_changes_nothing() -> None:
    splitter = Splitter()
    assert splitter.feed(b"") == splitter.feed(b'["\\') == splitter.feed(b"") == []
    assert [frame.data for frame in splitter.feed(b'""')] == [b'"\\""']


# --- elements that are too long -------------------------------------------------------------------

LIMIT = 20
LONG = b'{"a":"%b"}' % (b"]" * (LIMIT - 7))  # one byte more than LIMIT


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
    assert not any(frame.has_data or not frame.raw for frame in frames if not frame.whole)
    return frames


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize(
    ("before", "begin", "end"),
    [(b"[", b'"', b'"'), (b"[", b"{", b"}"), (b"[ ", b"", b""), (b"\n[", b"[", b"]")],
)
def test_the_limit_counts_the_element_and_what_stands_before_it(
    before: bytes, begin: bytes, end: bytes, over: int
) -> None:
    size = LIMIT - len(before + begin + end) + over
    stream = before + begin + b"x" * size + end + b",{}]"
    for cuts in every_cut(stream):
        frames = collect(stream, cuts)
        assert all(frame.whole for frame in frames) is (over <= 0), cuts
        expected = [begin + b"x" * size + end, b"{}"] if over <= 0 else [b"{}"]
        assert [frame.data for frame in frames if frame.has_data] == expected


def test_elements_around_those_that_are_too_long_are_frames() -> None:
    splitter = Splitter(max_frame=LIMIT)
    with pytest.raises(FrameTooLong, match="20 bytes"):
        splitter.feed(b"[{}," + LONG + b"," + LONG + b",[]")
    with pytest.raises(FrameTooLong):  # nobody has called skip
        splitter.feed(b",")
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [
        (b"[{}", True),
        (b"," + LONG, False),
        (b"," + LONG, False),
        (b",[]", True),
    ]
    assert splitter.skip() == []
    assert not splitter.mid_frame
    assert splitter.close() == b","


def test_an_unfinished_element_that_is_too_long_goes_on_in_pieces() -> None:
    splitter = Splitter(max_frame=LIMIT)
    start = b"[" + LONG[:-1]
    with pytest.raises(FrameTooLong):
        splitter.feed(start)
    assert [(frame.raw, frame.whole) for frame in splitter.skip()] == [(start, False)]
    for data in (b',"b":"]}', b'\\"'):
        assert splitter.mid_frame
        assert [(frame.raw, frame.whole) for frame in splitter.feed(data)] == [(data, False)]
    piece, frame = splitter.feed(b'"},{}')
    assert (piece.raw, piece.whole) == (b'"}', False)
    assert (frame.raw, frame.data, frame.whole) == (b",{}", b"{}", True)
    assert not splitter.mid_frame


def test_what_was_too_long_is_given_back_at_close() -> None:
    splitter = Splitter(max_frame=LIMIT)
    for data in (LONG + b",", b"{}"):
        with pytest.raises(FrameTooLong):
            splitter.feed(data)
    assert splitter.close() == LONG + b",{}"


@settings(max_examples=200)
@given(
    elements=st.lists(
        st.sampled_from([b"{}", b"1", b'"\\""', LONG, b"x" * 30, b'"%b"' % (b"\\\\" * 15)]),
        max_size=6,
    ),
    between=st.sampled_from([b",", b"\n,\r\n"]),
    cuts=st.lists(st.integers(0, 150), max_size=12),
)
def test_cuts_never_change_what_is_read_around_a_long_element(
    elements: list[bytes], between: bytes, cuts: list[int]
) -> None:
    frames = collect(b"[" + between.join(elements) + b"]", cuts)
    assert [frame.data for frame in frames if frame.has_data] == [
        element for element in elements if len(element) < LIMIT
    ]


# --- the end of a stream, and writing -------------------------------------------------------------


@pytest.mark.parametrize("tail", [b"", b"[", b",", b'[{"a":1', b"[12", b"\n"])
def test_a_tail_is_no_element(tail: bytes) -> None:
    assert read_tail(tail) is None
    assert mend(tail) == b""


def test_a_stream_is_an_array() -> None:
    parts = [write(b"{}", name=b"x"), write(b"[1]"), write(b'"a"')]
    stream = FRAMING.OPEN + FRAMING.BETWEEN.join(parts) + FRAMING.CLOSE
    assert stream == b'[{},\r\n[1],\r\n"a"]'
    frames = splitter(100).feed(stream)
    assert [says(frame) for frame in frames] == [b"{}", b"[1]", b'"a"', None]
    assert FRAMING.TYPE == b"application/json"
