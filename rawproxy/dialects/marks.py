"""Which frames of a passed stream have to be read: those with usage, a stop, the end, an error.

Layer: dialects. Every frame of every passed stream is searched, and nearly none holds anything. So the
search is made of two: one that begins with a quote, which the regex engine looks for with memchr (0.4 us
in 330 bytes); and one for what stands outside of JSON, which it has to try at every byte (3 us), and
which a frame that is one JSON object on one line cannot match.
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

    __slots__ = ("_lines", "_members", "_quiet")

    def __init__(self, members: bytes, lines: bytes, quiet: bytes = b"data: {") -> None:
        self._members = re.compile(b'"(?:%b)' % members)
        self._lines = re.compile(lines, re.MULTILINE)
        self._quiet = quiet

    def search(self, frame: bytes, /) -> re.Match[bytes] | None:
        """Return where the frame is marked; None where it is not."""
        found = self._members.search(frame)
        return self._lines.search(frame) if found is None and not self._is_object(frame) else found

    def passes(self, data: bytes) -> bool:
        """Return whether `data` is one whole frame, and not marked; False where that takes a longer look."""
        # A CR ends a line as well: it might be two frames.
        return self._is_object(data) and data.find(b"\r") < 0 and self._members.search(data) is None

    def _is_object(self, frame: bytes) -> bool:
        """Return whether none of `lines` can be in it: it begins as expected, and the rest is one line."""
        quiet = self._quiet
        return (
            frame.startswith(quiet)
            and frame.endswith(_ONE_OBJECT_ENDS)
            and frame.find(b"\n", len(quiet)) == len(frame) - 2
        )
