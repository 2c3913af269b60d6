"""Which frames of a passed stream have to be read: those with usage, a stop, the end, an error.

Layer: dialects. Every frame of every passed stream is searched, and nearly none holds anything. So the
search is made of two: one that begins with a quote, which the regex engine looks for with memchr (0.4 us
in 330 bytes); and one for what stands outside of JSON, which it has to try at every byte (3 us), and
which a frame that is one JSON object on one line cannot match. Of a read that is nothing but such frames
none is looked at by itself.
"""

import re

__all__ = ["Marks"]

_ONE_OBJECT_ENDS = b"}\n\n"


class Marks:
    """Finds marks in the bytes of a frame of server-sent events.

    Args:
        members: matches a JSON member behind its first quote.
        lines: matches what else marks a frame: an `event` line, a terminator.
        quiet: how a frame begins, its JSON's first byte included, that none of `lines` can match if
            the rest is one line.
    """

    __slots__ = ("_line_ends", "_lines", "_members", "_quiet", "_seam")

    def __init__(self, members: bytes, lines: bytes, quiet: bytes = b"data: {") -> None:
        self._members = re.compile(b'"(?:%b)' % members)
        self._lines = re.compile(lines, re.MULTILINE)
        self._quiet = quiet
        self._seam = _ONE_OBJECT_ENDS + quiet
        self._line_ends = self._seam.count(b"\n")

    def search(self, frame: bytes, /) -> re.Match[bytes] | None:
        """Return where the frame is marked; None where it is not."""
        if self.passes(frame):
            return None
        return self._members.search(frame) or self._lines.search(frame)

    def passes(self, data: bytes) -> int:
        """Return of how many whole frames `data` is made, and none is marked; 0 where that takes a longer look."""
        quiet, frames = self._quiet, 1
        if not (data.startswith(quiet) and data.endswith(_ONE_OBJECT_ENDS)):
            return 0
        if data.find(b"\n", len(quiet)) != len(data) - 2:
            # As many line ends as have to stand where frames meet, begin and end: there are no others.
            frames, over = divmod(data.count(b"\n"), self._line_ends)
            if over or data.count(self._seam) != frames - 1:
                return 0
        # A CR ends a line as well: there might be more frames.
        unmarked = data.find(b"\r") < 0 and self._members.search(data) is None
        return frames if unmarked else 0
