"""What all framings share: a frame is a value, and every splitter is used in the same way."""

import dataclasses

import pytest

from rawproxy.errors import FrameTooLong
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, PlainFrame, Splitter

# A frame of each framing that carries `{}`, and one with nothing in it.
FRAMINGS = {"sse": (sse.Splitter, b"data: {}\n\n", b": ping\n\n")}


def splitter_of(framing: str) -> tuple[Splitter, bytes, bytes]:
    make, full, empty = FRAMINGS[framing]
    return make(len(full)), full, empty


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_splitter_loses_nothing(framing: str) -> None:
    splitter, full, empty = splitter_of(framing)
    frames = splitter.feed(full + empty + full[:-3])
    assert [frame.raw for frame in frames] == [full, empty]
    assert [frame.data for frame in frames] == [b"{}", b""]
    assert [frame.has_data for frame in frames] == [True, False]
    assert [frame.whole for frame in frames] == [True, True]
    assert splitter.close() == full[:-3]
    assert splitter.close() == b""


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_splitter_gets_past_a_frame_that_is_too_long(framing: str) -> None:
    splitter, full, _ = splitter_of(framing)
    long = full.replace(b"{}", b"{%b}" % (b" " * len(full)))
    with pytest.raises(FrameTooLong):
        splitter.feed(long[:-3])
    assert b"".join(frame.raw for frame in splitter.skip()) == long[:-3]
    states = [splitter.mid_frame]
    *pieces, last = splitter.feed(long[-3:] + full)
    assert b"".join(frame.raw for frame in pieces) == long[-3:]
    assert [*states, splitter.mid_frame] == [True, False]
    assert (last.raw, last.whole) == (full, True)


def test_a_plain_frame_is_what_it_was_given() -> None:
    frame: Frame = PlainFrame(b"raw", name=b"name", data=b"data", has_data=True)
    assert (frame.raw, frame.name, frame.data, frame.has_data) == (b"raw", b"name", b"data", True)
    assert frame.whole


def test_a_plain_frame_of_bytes_alone_carries_nothing() -> None:
    frame = PlainFrame(b"raw")
    assert (frame.name, frame.data, frame.has_data) == (b"", b"", False)


def test_a_plain_frame_never_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PlainFrame(b"raw").raw = b"other"  # type: ignore[misc]
