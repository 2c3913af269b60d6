"""Newline-delimited JSON: cut a byte stream into lines, and write lines.

Layer: wire. Knows line ends and blank lines. Knows no LLM API.
Spec:  https://github.com/ndjson/ndjson-spec

A line ends with LF; a CR before it is white space, as anywhere in JSON. A blank line is a frame
without data, so a server may send one to show that it lives.
"""

import json

from rawproxy.errors import FrameTooLong
from rawproxy.wire.frame import Frame, PlainFrame

__all__ = [
    "BETWEEN", "CLOSE", "MAX_FRAME", "OPEN", "TYPE", "LineFrame", "Splitter", "mend", "read_tail",
    "splitter", "write",
]  # fmt: skip

TYPE = b"application/x-ndjson"
OPEN = BETWEEN = CLOSE = b""

MAX_FRAME = 16 * 2**20
"""Bytes. As for server-sent events: a whole image in base64 has room."""


class LineFrame:
    """One line as it came off the wire, line end included. A line has no name."""

    __slots__ = ("raw",)

    name = b""
    whole = True

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @property
    def data(self) -> bytes:
        """The document, without white space around it; `b""` on a blank line."""
        return self.raw.strip()

    @property
    def has_data(self) -> bool:
        """False for a blank line."""
        return not self.raw.isspace()

    def __repr__(self) -> str:
        return f"LineFrame({self.raw!r})"


class Splitter:
    """Cuts lines: feed it reads of any size.

    Args:
        max_frame: bytes a line may have before its LF. At most that and one read are held.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.mid_frame = False
        self._max_frame = max_frame
        self._held = bytearray()  # the unfinished line; or a long one, and all that came after it
        self._before: list[Frame] = []  # came in one read with the line that is too long

    def feed(self, data: bytes) -> list[Frame]:
        """Return the lines that `data` completes; see `rawproxy.wire.frame.Splitter`."""
        frames = self._cut(data)
        if len(self._held) > self._max_frame:
            self._before += frames
            raise FrameTooLong(f"a line has passed {self._max_frame} bytes")
        return frames

    def skip(self) -> list[Frame]:
        """Hand out the line that is too long in pieces; see `rawproxy.wire.frame.Splitter`."""
        frames, self._before = self._before, []
        while len(self._held) > self._max_frame:
            self.mid_frame = True
            frames += self._cut(self.close())
        return frames

    def unread(self) -> bytes:
        """Return an unfinished frame, as if it had not come; see `rawproxy.wire.frame.Splitter`."""
        return self.close()

    def close(self) -> bytes:
        """Return the bytes of an unfinished last line; `b""` when there is none."""
        held = bytes(self._held)
        self._held.clear()
        return held

    def _cut(self, data: bytes) -> list[Frame]:
        """Return the lines that end in `data`; hold the rest, and from a long line on all."""
        frames: list[Frame] = []
        start = self._go_on(data, frames) if self._held or self.mid_frame else 0
        while end := data.find(b"\n", start) + 1:
            if end - 1 - start > self._max_frame:
                break
            frames.append(LineFrame(data[start:end]))
            start = end
        self._held += data[start:]
        return frames

    def _go_on(self, data: bytes, frames: list[Frame]) -> int:
        """Take what `data` holds of the line begun before it; return how many bytes that is."""
        end = data.find(b"\n") + 1
        if self.mid_frame:
            self.mid_frame = not end
            frames.append(PlainFrame(data[:end] if end else data, whole=False))
        elif end and len(self._held) + end - 1 <= self._max_frame:
            frames.append(LineFrame(self.close() + data[:end]))
        else:
            self._held += data
            return len(data)
        return end or len(data)


def splitter(max_frame: int) -> Splitter:
    """Return a splitter for one stream."""
    return Splitter(max_frame)


def read_tail(tail: bytes) -> Frame | None:
    """Return the line that `tail` would be if a line end followed it; None if it may go on.

    A whole JSON document cannot go on. A number can, so it is none.

    Args:
        tail: what `Splitter.close` returned.
    """
    data = tail.strip()
    if data[-1:].isdigit():
        return None
    try:
        json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
    return PlainFrame(tail, data=data, has_data=True)


def mend(tail: bytes) -> bytes:  # noqa: ARG001
    """Return a line end."""
    return b"\n"


def write(data: bytes, *, name: bytes = b"") -> bytes:  # noqa: ARG001
    """Return one line.

    Args:
        data: a JSON document; line ends in it can only be white space, and become spaces.
        name: left out: a line has no name.
    """
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    return data + b"\n"
