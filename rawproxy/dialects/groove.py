"""The stretch of a stream in which nothing changes but a text, carried without reading it as JSON.

Layer: dialects. Most frames of a reply are one frame over and over, with another piece of text in it.
Where two in a row were read as text of one block and differ in nothing else, the next one that fits is
known by its bytes: what stands before its text, and what stands behind.

    data: {"id":"x","choices":[{"delta":{"content":"   Once   "},"index":0}]}\\n\\n
    |------------------ before ------------------| text |------ after -------|

Members that count or stamp frames (`sequence_number`, `created_at`) may differ, each in one place before
and one behind the text. A text that is spelled in another way than ours (`\\u0041`, `\\/`), or that is not
UTF-8, does not fit: it is read like every other frame.
"""

import re
from collections.abc import Callable
from functools import partial

from rawproxy.dialects.base import Carry
from rawproxy.dialects.events import Delta, Event
from rawproxy.dialects.reading import decode, encode
from rawproxy.wire.frame import Frame

__all__ = ["Groove", "around", "unescaped"]

# One literal first: the regex engine looks for it with memchr.
_VARIES = re.compile(
    rb'"(?:((?:sequence_number|created)"\s?:\s?)[0-9]++(?=[,}])|'
    rb'((?:created_at|obfuscation|p)"\s?:\s?")[^"\\]*)'
)
# What the next one may be, so that the frame is JSON still: a number that is read as one, a string.
_NUMBER = re.compile(rb"(?:0|[1-9][0-9]{0,17})")
_STRING = re.compile(rb"[0-9A-Za-z:.+_-]*+")
# A text in JSON as every encoder here spells it: the short escapes and no other ones.
_PLAIN = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\bfnrt])++')
_LINE_ENDS = (
    b"\xe2\x80\xa8",
    b"\xe2\x80\xa9",
    b"\xc2\x85",
)  # some clients' readers end a line there

TRIES = 64
"""Frames in a row that are looked at in vain before the stream is taken for one without a groove."""

Span = Callable[[bytes, int], tuple[int, int, int] | None]
"""Where the data is of the frame that stands at a place, if it is framed like others: its start, its end,
the frame's end."""

_Sides = tuple[int, bytes, bytes]
"""The block of a text, and what stands before and behind it."""

Part = tuple[bytes, re.Pattern[bytes] | None, bytes]
"""Fixed bytes; and, where a member varies, what its value may be, and the fixed bytes that follow it."""


class Groove:
    """Learns from frames that were read; then says what frames hold without reading them.

    Args:
        alike: from a frame, what tells where the data is in frames like it, in a framing that has
            more around it than text; None where the bytes of a frame are looked at as they are.
    """

    __slots__ = ("_after", "_alike", "_before", "_once", "_sides", "_span", "_tries", "block")

    def __init__(self, alike: Callable[[bytes], Span] | None = None) -> None:
        self._alike = alike
        self._span: Span | None = None
        self.block = -1
        """The block whose text is known to follow; -1 while none is."""
        self._once: tuple[int, Part, Part] | None = None  # the last frame that was learnt from
        self._sides: _Sides | None = None  # of that one
        self._tries = 0
        self._before: Part = b"", None, b""
        self._after: Part = b"", None, b""

    def learn(self, frame: Frame, events: list[Event]) -> None:
        """Learn what one frame was read as."""
        if self.block >= 0:
            delta = _text_of(events)
            if delta is None or delta.block != self.block:
                self.block, self._once = -1, None
            elif self._once is not None and self._sides_of(frame, events) not in (
                None,
                self._sides,
            ):
                _, self._before, self._after = self._once  # a member that may vary has begun to
            return
        if self._tries >= TRIES:
            return
        self._tries += 1
        sides = self._sides_of(frame, events)
        found = None if sides is None else _parts(*sides)
        if found is not None and found == self._once:
            self.block, self._before, self._after = found
            if sides is not None and sides == self._sides:  # nothing varies yet
                self._before, self._after = (sides[1], None, b""), (sides[2], None, b"")
            self._span = self._alike(frame.raw) if self._alike else None
            self._tries = 0
        self._once, self._sides = found, sides

    def _sides_of(self, frame: Frame, events: list[Event]) -> _Sides | None:
        return _sides(frame.raw if self._alike is None else frame.data, events)

    def texts(self, data: bytes) -> tuple[list[bytes], int]:
        """Return the text of each frame that `data` begins with and that fits, and where they end.

        A text is as JSON has it, without quotes.
        """
        if self._span is not None:
            return self._framed(self._span, data)
        found: list[bytes] = []
        end = self._text(data, 0, found)
        if end == len(data) or end < 0:
            return found, max(end, 0)
        end = self._many(data, end, found)
        while end < len(data) and (after := self._text(data, end, found)) >= 0:
            end = after
        return found, end

    def _many(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Add the texts of all frames from `at` on where no member varies and no text is odd.

        Return where they end: `at` itself where there are none, or something is odd.
        """
        (before, opens, _), (after, closes, _) = self._before, self._after
        if opens is not None or closes is not None or not data.startswith(before, at):
            return at
        # Each but the last one ends where the next one begins.
        texts = data[at + len(before) :].split(after + before)
        last, ended, rest = texts.pop().partition(after)
        if ended:
            texts.append(last)
        text = b" ".join(texts)  # no escape goes on behind a space
        if not all(texts) or not _PLAIN.fullmatch(text) or not (text.isascii() or _is_text(text)):
            return at
        found += texts
        return len(data) - len(rest if ended else before + last)

    def _framed(self, frame: Span, data: bytes) -> tuple[list[bytes], int]:
        """Return what `texts` does where frames have more around their data than text."""
        found: list[bytes] = []
        at = 0
        while at < len(data) and (span := frame(data, at)) is not None:
            start, end, after = span
            if (reached := self._text(data, start, found)) != end:
                if reached >= 0:
                    found.pop()  # its frame is longer
                break
            at = after
        return found, at

    def _text(self, data: bytes, at: int, found: list[bytes]) -> int:
        """Add the text of the frame that begins at `at`; return where it ends, -1 if it does not fit."""
        fixed, value, rest = self._before
        if not data.startswith(fixed, at):
            return -1
        at += len(fixed)
        if value is not None and (at := _pass(data, at, value, rest)) < 0:
            return -1
        if (plain := _PLAIN.match(data, at)) is None:
            return -1
        text = plain[0]
        fixed, value, rest = self._after
        at += len(text)
        if not data.startswith(fixed, at):
            return -1
        at += len(fixed)
        if value is not None and (at := _pass(data, at, value, rest)) < 0:
            return -1
        if not (text.isascii() or _is_text(text)):
            return -1
        found.append(text)
        return at


def around(frame: bytes) -> Carry:
    """Return what writes frames like `frame` with other texts where it has a NUL."""
    before, _, after = frame.partition(b"\0")
    return partial(_around, before, after + before, after)


def _around(before: bytes, between: bytes, after: bytes, texts: list[bytes]) -> bytes:
    return before + between.join(texts) + after


def unescaped(text: bytes) -> str:
    """Return the text that a piece of JSON text spells."""
    return decode(b'"%b"' % text, str) if b"\\" in text else text.decode()


def _pass(data: bytes, at: int, value: re.Pattern[bytes], rest: bytes) -> int:
    """Return where `data` goes on behind the `value` that begins at `at`, and `rest`; -1 without them."""
    found = value.match(data, at)
    if found is None:
        return -1
    at = found.end()
    return at + len(rest) if data.startswith(rest, at) else -1


def _is_text(text: bytes) -> bool:
    if any(end in text for end in _LINE_ENDS):
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_of(events: list[Event]) -> Delta | None:
    """Return the only event, where it is a piece of a block and nothing else."""
    if len(events) != 1:
        return None
    (delta,) = events
    return delta if isinstance(delta, Delta) and not delta.logprobs else None


def _sides(raw: bytes, events: list[Event]) -> _Sides | None:
    """Return what is around the text of a frame that holds only text."""
    delta = _text_of(events)
    if delta is None:
        return None
    text = encode(delta.text)
    if raw.count(text) != 1 or not _PLAIN.fullmatch(text[1:-1]):
        return None
    before, _, after = raw.partition(text)
    return delta.block, before + b'"', b'"' + after


def _parts(block: int, before: bytes, after: bytes) -> tuple[int, Part, Part] | None:
    """Return the same with the members that may vary; None where it is more than one on a side."""
    parts = _part(before), _part(after)
    return None if None in parts else (block, *parts)  # type: ignore[return-value]


def _part(text: bytes) -> Part | None:
    """Return the fixed bytes of one side; None where more than one member varies."""
    found = list(_VARIES.finditer(text))
    if len(found) > 1:
        return None
    if not found:
        return text, None, b""
    (match,) = found
    fixed = text[: match.end(match.lastindex or 0)]
    return fixed, _NUMBER if match.lastindex == 1 else _STRING, text[match.end() :]
