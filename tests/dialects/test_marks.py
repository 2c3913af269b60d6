"""rawproxy.dialects.marks: the search in two gives what one pattern for all of it gives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.marks import Marks

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
