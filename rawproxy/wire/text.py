"""Bare text: a stream without frames.

Layer: wire. Knows UTF-8 and nothing else.

Whatever a read brings is a frame, so nothing waits. Only a character that two reads tore apart is
held back until it is whole.
"""

from rawproxy.wire.frame import Frame, PlainFrame

__all__ = [
    "BETWEEN", "CLOSE", "OPEN", "TYPE", "Splitter", "mend", "read_tail", "splitter", "write",
]  # fmt: skip

TYPE = b"text/plain"
OPEN = BETWEEN = CLOSE = b""

_LONGEST = 4
"""Bytes of a character."""


class Splitter:
    """Gives out each read as a frame, in whole characters. A frame has a read's size, so no limit."""

    mid_frame = False

    def __init__(self) -> None:
        self._held = b""  # the beginning of a character

    def feed(self, data: bytes) -> list[Frame]:
        """Return the text that has come, if any; see `rawproxy.wire.frame.Splitter`."""
        data = self._held + data
        whole = len(data) - _torn(data)
        self._held = data[whole:]
        return [PlainFrame(data[:whole], data=data[:whole], has_data=True)] if whole else []

    def skip(self) -> list[Frame]:
        """Return nothing: no frame is ever too long."""
        return []

    def unread(self) -> bytes:
        """Return an unfinished frame, as if it had not come; see `rawproxy.wire.frame.Splitter`."""
        return self.close()

    def close(self) -> bytes:
        """Return the beginning of a character whose rest never came; `b""` when there is none."""
        held, self._held = self._held, b""
        return held


def splitter(max_frame: int) -> Splitter:  # noqa: ARG001
    """Return a splitter for one stream."""
    return Splitter()


def read_tail(tail: bytes) -> Frame | None:  # noqa: ARG001
    """Return None: what is left over is no whole character."""
    return None


def mend(tail: bytes) -> bytes:  # noqa: ARG001
    """Return nothing: text has no frames to end."""
    return b""


def write(data: bytes, *, name: bytes = b"") -> bytes:  # noqa: ARG001
    """Return `data` as it is; text has no names."""
    return data


def _torn(data: bytes) -> int:
    """Return how many bytes at the end of `data` begin a character that is not whole."""
    for back in range(1, min(_LONGEST, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if byte < 0xF8 and back < length else 0
        if byte < 0x80:
            return 0
    return 0
