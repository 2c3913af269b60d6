"""What all framings share: a frame is a value, and every splitter is used in the same way."""

import pytest

from rawproxy.errors import FrameTooLong
from rawproxy.wire import eventstream, jsonarray, ndjson, sse, text
from rawproxy.wire.frame import Frame, Framing, PlainFrame, Splitter

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


STREAMS: list[tuple[Framing, bytes]] = [
    (sse, b'data: {"a":1}\r\n\r\ndata: {"a":2}\r\r\n\n\ndata: {"a":3}\n\n'),
    (ndjson, b'{"a":1}\n{"a":"2"}\r\n\n3\n'),
    (eventstream, eventstream.write(b'{"a":1}', name=b"x") + eventstream.write(b"{}")),
    (jsonarray, b' [[{"a":"\\""}],\r\n "x\\"y" ,{"b":[2]}]\n'),
    (text, "aéb€c".encode()),
]


@pytest.mark.parametrize(("framing", "stream"), STREAMS)
def test_what_is_unread_and_read_again_makes_no_difference(framing: Framing, stream: bytes) -> None:
    whole = framing.splitter(999)
    expected = [(frame.raw, frame.data) for frame in whole.feed(stream)], whole.close()
    for first in range(len(stream) + 1):
        for more in range(len(stream) - first + 1):
            splitter = framing.splitter(999)
            frames = splitter.feed(stream[:first])
            frames += splitter.feed(stream[first : first + more])
            held = splitter.unread()
            frames += splitter.feed(held + stream[first + more :])
            found = b"".join(frame.raw for frame in frames), splitter.close()
            if framing is text:
                assert found == (stream, b"")
            else:
                # The LF of a CRLF may be a piece of its own: then it tells where it was cut.
                frames = [frame for frame in frames if frame.whole]
                assert [frame.data for frame in frames] == [data for _, data in expected[0]]
                assert found == (b"".join(raw for raw, _ in expected[0]), expected[1])


def test_a_plain_frame_is_what_it_was_given() -> None:
    frame: Frame = PlainFrame(b"raw", name=b"name", data=b"data", has_data=True)
    assert (frame.raw, frame.name, frame.data, frame.has_data) == (b"raw", b"name", b"data", True)
    assert frame.whole


def test_a_plain_frame_of_bytes_alone_carries_nothing() -> None:
    frame = PlainFrame(b"raw")
    assert (frame.name, frame.data, frame.has_data) == (b"", b"", False)


def test_a_plain_frame_never_changes() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        PlainFrame(b"raw").raw = b"other"  # type: ignore[misc]
