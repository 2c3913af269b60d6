"""Framings: streams cut into frames.

Whatever comes: nothing but WireError, and `skip` goes on after it; no byte is lost; reads of any size
give the same frames; a frame below the limit at most is held; what is written is read again.
"""

from collections.abc import Callable
from functools import partial

from fuzz.base import held, pick, pieces, reads, timed
from rawproxy.errors import WireError
from rawproxy.wire import eventstream, jsonarray, ndjson, sse, text
from rawproxy.wire.frame import Frame, Framing

__all__ = ["FRAMINGS", "runner"]

FRAMINGS: dict[str, Framing] = {
    "sse": sse, "eventstream": eventstream, "ndjson": ndjson, "jsonarray": jsonarray, "text": text,
}  # fmt: skip

LIMITS = [64, 400, 2**20]
"""Bytes a frame may have; an input picks one of them."""

SLACK = 256
"""Bytes that a splitter may hold beside a frame and a read: of its own words."""

REWRITTEN = 3
"""Frames of one input that are written again."""


def runner(name: str) -> Callable[[bytes], None]:
    """Return what feeds the framing `name`."""
    return partial(_run, FRAMINGS[name])


def _run(framing: Framing, data: bytes) -> None:
    limit = pick(data, LIMITS)
    whole, tail = _split(framing, reads(data), limit)
    cut, cut_tail = _split(framing, pieces(data), limit)
    if framing is text:
        assert b"".join(frame.data for frame in whole) == b"".join(frame.data for frame in cut)
    else:
        assert _said(whole) == _said(cut)
    assert tail == cut_tail
    _check_tail(framing, tail)
    if framing is text:
        return
    for frame in [frame for frame in whole if frame.whole and frame.has_data][:REWRITTEN]:
        _check_written(framing, frame)


def _split(framing: Framing, parts: list[bytes], limit: int) -> tuple[list[Frame], bytes]:
    splitter = framing.splitter(limit)
    frames: list[Frame] = []
    for part in parts:
        try:
            frames += timed(splitter.feed, part)
        except WireError:
            frames += _skip(splitter.feed, splitter.skip)
        # A framing without limit gives everything out at once.
        assert held(splitter) <= limit + len(part) + SLACK
    tail = splitter.close()
    assert b"".join([*(frame.raw for frame in frames), tail]) == b"".join(parts), "bytes were lost"
    return frames, tail


def _skip(feed: Callable[[bytes], list[Frame]], skip: Callable[[], list[Frame]]) -> list[Frame]:
    try:
        feed(b"")
    except WireError:
        return timed(skip)
    raise AssertionError("an error was not raised again")


def _said(frames: list[Frame]) -> list[tuple[bytes, bytes]]:
    return [(frame.name, frame.data) for frame in frames if frame.whole and frame.has_data]


def _check_tail(framing: Framing, tail: bytes) -> None:
    """What `mend` adds to a tail that says something makes the frame of it that was read."""
    found = framing.read_tail(tail)
    if found is None:
        return
    frames, rest = _split(framing, [tail + framing.mend(tail)], len(tail) + SLACK)
    assert _said(frames) == [(found.name, found.data)]
    assert rest == b""


def _check_written(framing: Framing, frame: Frame) -> None:
    """A frame that is written says the same."""
    written = framing.write(frame.data, name=frame.name)
    stream = b"".join([framing.OPEN, written, framing.BETWEEN, written, framing.CLOSE])
    frames, rest = _split(framing, [stream], len(stream) + SLACK)
    assert rest == b""
    data = frame.data.replace(b"\r", b" ") if framing is ndjson else frame.data
    assert _said(frames) == [(frame.name, data)] * 2
