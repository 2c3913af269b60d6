"""rawproxy.dialects.marks: the search in two gives what one pattern for all of it gives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.marks import Marks
from rawproxy.wire.sse import Splitter

MEMBERS = rb'(?:usage|error)"(?!\s*:\s*null)'
LINES = rb"\[DONE\]|^event: ?error"
MARKS = Marks(MEMBERS, LINES)
WHOLE = re.compile(rb'"%b|%b' % (MEMBERS, LINES), re.MULTILINE)

PIECES = [
    b"data: {", b"data:{", b"data: ", b"event: error", b"event: x", b"[DONE]", b'"usage":null',
    b'"usage":{}', b'"error" : "oh"', b'\\"error\\":', b"}", b"\n", b"\r\n", b": ", b"\xe2\x80\xa8",
]  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "marked"),
    [
        (b'data: {"text":" word","usage":null}\n\n', False),
        (b'data: {"text":" word","usage":{"input":1}}\n\n', True),
        (b'data: {"text":"[DONE]"}\n\n', False),
        (b"data: [DONE]\n\n", True),
        (b'data: {"text":""}[DONE]\n\n', True),
        (b'data: {"text":""}\nevent: error\n\n', True),
        (b"event: error\ndata: {}\n\n", True),
        (b'{"text":""}', False),
    ],
)
def test_a_frame_is_marked_or_not(frame: bytes, marked: bool) -> None:
    assert bool(MARKS.search(frame)) is marked


@given(st.lists(st.sampled_from(PIECES), max_size=8).map(b"".join))
def test_nothing_but_a_terminator_inside_of_one_object_is_passed_over(frame: bytes) -> None:
    frame += b"\n\n"
    found, whole = MARKS.search(frame), WHOLE.search(frame)
    if found is None and whole is not None:
        assert whole[0] == b"[DONE]"
        assert frame.startswith(b"data: {")
        assert frame.endswith(b"}\n\n")
    else:
        assert (found is None) == (whole is None)


SEAMS = [b"}\n\ndata: {", b"}\n\nevent: delta\ndata: {", b"}\n\n", b"\n\n", b"\n", b"\r"]


@pytest.mark.parametrize("quiet", [b"data: {", b"event: delta\ndata: {"])
@given(st.lists(st.sampled_from([*PIECES, *SEAMS]), max_size=8).map(b"".join))
def test_what_passes_is_whole_frames_none_of_which_is_marked(quiet: bytes, data: bytes) -> None:
    marks = Marks(MEMBERS, LINES, quiet)
    data = quiet + data + b"}\n\n"
    frames = [frame.raw for frame in Splitter().feed(data)]
    if passed := marks.passes(data):
        assert len(frames) == passed
        assert b"".join(frames) == data
        assert not any(marks.search(frame) for frame in frames)
    else:
        assert any(
            not frame.startswith(quiet)
            or not frame.endswith(b"}\n\n")
            or b"\n" in frame[len(quiet) : -2]
            or b"\r" in frame
            or marks.search(frame)
            for frame in frames
        )


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
def test_a_read_of_many_frames_may_pass(frames: int) -> None:
    data = b'data: {"text":" word","usage":null}\n\n' * frames
    assert MARKS.passes(data) == frames
    assert not MARKS.passes(data + data.replace(b"null", b"{}"))
    assert not MARKS.passes(data + b": still here\n\n" + data)
    assert not MARKS.passes(data[:-1])


def test_a_frame_with_its_name_in_front_may_pass() -> None:
    named = Marks(MEMBERS, LINES, b"event: delta\ndata: {")
    assert named.passes(b'event: delta\ndata: {"text":" word"}\n\n')
    assert not named.passes(b'event: other\ndata: {"text":" word"}\n\n')
    assert named.passes(b'event: delta\ndata: {"text":" word"}\n\nevent: delta\ndata: {}\n\n') == 2
    assert not named.passes(b'event: delta\ndata: {"text":" word"}\n\nevent: other\ndata: {}\n\n')
    assert not named.passes(b'event: delta\ndata: {"text":" word"}\n')
