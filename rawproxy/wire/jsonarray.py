"""A JSON array that is sent as a stream: cut it into its elements, and write elements.

Layer: wire. Knows brackets, strings and commas. Reads no JSON values, and knows no LLM API.
Spec:  https://www.rfc-editor.org/rfc/rfc8259#section-5

A frame is one element with what stands before it: the `[`, a comma, white space. It is whole with
the last byte of the element, so nobody waits for the comma. The `]`, and whatever follows it, is a
frame without data.

Nothing is checked that is not needed to find where an element ends: the reader of the elements
will see it. Of the two kinds of brackets each ends the other; an element without quotes and
brackets ends where a comma, a bracket or white space stands; a missing `[` is not missed.
"""

import re
from enum import Enum, auto

from rawproxy.errors import FrameTooLong
from rawproxy.wire.frame import Frame, PlainFrame

__all__ = [
    "BETWEEN", "CLOSE", "MAX_FRAME", "OPEN", "TYPE", "Splitter", "mend", "read_tail", "splitter",
    "write",
]  # fmt: skip

TYPE = b"application/json"
OPEN = b"["
BETWEEN = b",\r\n"
CLOSE = b"]"

MAX_FRAME = 16 * 2**20
"""Bytes. As for server-sent events: a whole image in base64 has room."""

_GAP = re.compile(rb"[ \t\r\n,]*+")
_PLAIN = re.compile(rb'[^ \t\r\n,\[\]{"]*+')

# The inside of a string; then its quote, or the end of the bytes, where half an escape may stand.
_INSIDE = rb'(?:[^"\\]++|\\.)*+'
_STRING = re.compile(rb'%b(?:(")|(\\?)\Z)' % _INSIDE, re.DOTALL)

# All up to a run of opening or of closing brackets, strings and all; or up to the end of the bytes,
# where an unfinished string may stand. One match for a run, not for a byte.
_BRACKETS = re.compile(
    rb'(?:[^"{}\[\]]++|"%b")*+(?:([{\[]++)|([}\]]++)|(?:(")%b(\\?))?\Z)' % (_INSIDE, _INSIDE),
    re.DOTALL,
)


class _At(Enum):
    """Where in the array the next byte stands."""

    GAP = auto()
    PLAIN = auto()
    STRING = auto()
    NESTED = auto()
    BEHIND = auto()


class Splitter:
    """Cuts an array into its elements: feed it reads of any size. Each byte is looked at once.

    Args:
        max_frame: bytes a frame may have, with what stands before its element. At most that and
            one read are held.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self.mid_frame = False
        self._max_frame = max_frame
        self._held = bytearray()  # the unfinished frame, or a long one: bytes that were looked at
        self._later = bytearray()  # what came behind a long one: bytes that were not
        self._too_long = False
        self._ends = False  # the long one does
        self._before: list[Frame] = []  # came in one read with the frame that is too long
        self._at = _At.GAP
        self._begun = False  # the `[` was there
        self._first = True  # no frame has ended yet
        self._start: int | None = None  # where in its frame the element starts; None without one
        self._depth = 0  # brackets that are open in the element
        self._quoted = False  # inside a string of a nested element
        self._escaped = False  # the last byte was the backslash of an escape

    @property
    def closed(self) -> bool:
        """Whether the array's `]` was there."""
        return self._at is _At.BEHIND

    def feed(self, data: bytes) -> list[Frame]:
        """Return the elements that `data` completes; see `rawproxy.wire.frame.Splitter`."""
        frames = self._cut(data)
        if self._too_long:
            self._before += frames
            raise FrameTooLong(f"an element has passed {self._max_frame} bytes")
        return frames

    def skip(self) -> list[Frame]:
        """Hand out the element that is too long in pieces; see `rawproxy.wire.frame.Splitter`."""
        frames, self._before = self._before, []
        while self._too_long:
            self._too_long, self.mid_frame = False, not self._ends
            later = bytes(self._later)
            self._later.clear()
            frames.append(PlainFrame(self.close(), whole=False))
            frames += self._cut(later)
        return frames

    def unread(self) -> bytes:
        """Return an unfinished frame, as if it had not come; see `rawproxy.wire.frame.Splitter`."""
        if self._at is not _At.BEHIND:
            self._at = _At.GAP
        self._begun = not self._first
        self._depth, self._quoted, self._escaped = 0, False, False
        return self.close()

    def close(self) -> bytes:
        """Return the bytes of an unfinished last element; `b""` when there is none."""
        held = bytes(self._held + self._later)
        self._held.clear()
        self._later.clear()
        return held

    def _cut(self, data: bytes) -> list[Frame]:
        """Return the frames that end in `data`; hold the rest, and from a long one on all."""
        frames: list[Frame] = []
        start = 0
        while start < len(data):
            if self._too_long:
                self._later += data[start:]
                break
            end = self._end(data, start)
            self._take(data[start:end], frames, ends=end is not None)
            start = len(data) if end is None else end
        return frames

    def _take(self, data: bytes, frames: list[Frame], *, ends: bool) -> None:
        """Add `data` to the frame that is being built."""
        if self.mid_frame:
            if data:
                frames.append(PlainFrame(data, whole=False))
            self.mid_frame = not ends
            return
        self._held += data
        if len(self._held) > self._max_frame:
            self._too_long, self._ends = True, ends
        elif ends:
            raw = self.close()
            self._first = False
            if self._start is None:
                frames.append(PlainFrame(raw))
            else:
                frames.append(PlainFrame(raw, data=raw[self._start :], has_data=True))

    def _end(self, data: bytes, at: int) -> int | None:
        """Return where the frame ends that goes on or begins at `at`; None where `data` has no end.

        The element is then looked at up to the end of `data`.
        """
        if self._at is _At.BEHIND:
            return len(data)
        if self._at is _At.GAP:
            begin = at - len(self._held)
            found, at = self._enter(data, at)
            if found is None:
                return None
            self._at = found
            if found is _At.BEHIND:
                self._start = None
                return at + 1
            self._start = at - begin
            at += found is _At.STRING
        end = self._element_end(data, at)
        if end is not None:
            self._at = _At.GAP
        return end

    def _enter(self, data: bytes, at: int) -> tuple[_At | None, int]:
        """Return what follows the gap at `at`, and where; None where `data` ends in the gap."""
        at = _match(_GAP, data, at).end()
        if not self._begun and data.startswith(b"[", at):
            self._begun = True
            at = _match(_GAP, data, at + 1).end()
        if at == len(data):
            return None, at
        self._begun = True
        return _FIRST.get(data[at : at + 1], _At.PLAIN), at

    def _element_end(self, data: bytes, at: int) -> int | None:
        if self._at is _At.PLAIN:
            end = _match(_PLAIN, data, at).end()
            return end if end < len(data) else None
        if self._at is _At.STRING or self._quoted:
            match = _match(_STRING, data, at + self._escaped)
            self._quoted, self._escaped = match[1] is None, bool(match[2])
            if self._quoted:
                return None
            at = match.end()
            if self._at is _At.STRING:
                return at
        return self._nested_end(data, at)

    def _nested_end(self, data: bytes, at: int) -> int | None:
        runs = _BRACKETS.finditer(data, at)
        while True:
            match = next(runs)  # the end of the bytes fits as well, and is the last
            match match.lastindex:
                case 1:
                    self._depth += match.end() - match.start(1)
                case 2:
                    self._depth -= match.end() - match.start(2)
                    if self._depth <= 0:
                        end = match.end() + self._depth
                        self._depth = 0
                        return end
                case found:
                    self._quoted, self._escaped = found is not None, bool(match[4])
                    return None


_FIRST = {b"]": _At.BEHIND, b'"': _At.STRING, b"{": _At.NESTED, b"[": _At.NESTED}


def splitter(max_frame: int) -> Splitter:
    """Return a splitter for one stream."""
    return Splitter(max_frame)


def read_tail(tail: bytes) -> Frame | None:  # noqa: ARG001
    """Return None: an element is a frame with its last byte, so an unfinished one is cut."""
    return None


def mend(tail: bytes) -> bytes:  # noqa: ARG001
    """Return nothing: what ends a cut element nobody knows."""
    return b""


def write(data: bytes, *, name: bytes = b"") -> bytes:  # noqa: ARG001
    """Return one element: `data`, a JSON document. An element has no name."""
    return data


def _match(pattern: re.Pattern[bytes], data: bytes, at: int) -> re.Match[bytes]:
    match = pattern.match(data, at)
    assert match is not None, "each of the patterns fits any bytes"
    return match
