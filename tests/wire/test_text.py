"""rawproxy.wire.text: every read is a frame, and no character is torn apart."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.wire import text
from rawproxy.wire.frame import Framing

FRAMING: Framing = text


def cut(data: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    bounds = sorted({0, len(data), *(at for at in cuts if at < len(data))})
    splitter = FRAMING.splitter(1)
    frames = [
        frame
        for start, end in itertools.pairwise(bounds)
        for frame in splitter.feed(data[start:end])
    ]
    assert all(f.whole and f.has_data and f.data == f.raw and f.name == b"" for f in frames)
    return [frame.data for frame in frames], splitter.close()


@given(said=st.text(), cuts=st.lists(st.integers(0, 40)))
def test_cuts_never_change_the_text(said: str, cuts: list[int]) -> None:
    data = said.encode("utf-8", "replace")
    frames, tail = cut(data, cuts)
    assert b"".join(frames) == data
    assert tail == b""
    assert all(frame.decode() for frame in frames)


@given(data=st.binary(max_size=40), cuts=st.lists(st.integers(0, 40)))
def test_nothing_is_lost_of_what_is_no_text(data: bytes, cuts: list[int]) -> None:
    frames, tail = cut(data, cuts)
    assert b"".join(frames) + tail == data
    assert len(tail) < 4


@pytest.mark.parametrize(
    ("data", "waits"),
    [
        (b"a\xc3", b"\xc3"),
        (b"a\xe2\x80", b"\xe2\x80"),
        (b"\xf0\x9f\x91", b"\xf0\x9f\x91"),
        (b"\xe2\xe2\x80", b"\xe2\x80"),
        (b"a\xc3\xa9", b""),
        (b"a\xf8", b""),
        (b"\x80\x80\x80\x80", b""),
        (b"a\x80", b""),
        (b"", b""),
    ],
)
def test_only_the_beginning_of_a_character_waits(data: bytes, waits: bytes) -> None:
    splitter = text.Splitter()
    splitter.feed(data)
    assert splitter.close() == waits
    assert splitter.close() == b""


def test_a_framing_without_frames() -> None:
    assert text.write(b"a\n", name=b"x") == b"a\n"
    assert text.read_tail(b"\xc3") is None
    assert text.mend(b"\xc3") == b""
    assert text.Splitter().skip() == []
    assert not text.Splitter().mid_frame
    assert (text.TYPE, text.OPEN + text.BETWEEN + text.CLOSE) == (b"text/plain", b"")
