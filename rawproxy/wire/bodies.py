"""The bodies of HTTP/1.1 messages: take the framing off.

Layer: wire. Knows lengths and the chunked coding. Knows no heads, but for the trailers' grammar.
Spec:  https://www.rfc-editor.org/rfc/rfc9112#section-6 and #section-7

What a read holds of a body is handed out at once, as slices of the read: nothing is gathered, and
a chunk that is still coming is not waited for.
"""

import re
from typing import Protocol

from rawproxy.errors import HttpError
from rawproxy.wire.heads import FIELD_LINES, Section

__all__ = ["MAX_EXTENSION", "SPARE_EXTENSIONS", "BodyReader", "Chunked", "Length", "UntilClose"]

MAX_EXTENSION = 256
"""Bytes. Nobody sends chunk extensions but to make a server read for nothing."""

SPARE_EXTENSIONS = 16384
"""Bytes. All extensions of a body together may not be longer than its data and this."""

KNOWN_SIZES = 2048
"""Size lines of chunks that are remembered, for all connections: a look-up costs a third of reading one."""

_MAX_KNOWN = 6  # bytes of such a line: four digits
_KNOWN_SIZES: dict[bytes, int] = {}  # the length that it says

_CRLF = b"\r\n"
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED = rb"\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+\""

# The CRLF in front ends the chunk before. Sixteen digits are 2^64 bytes, so `int` stays cheap.
# Blanks are allowed inside an extension, where the grammar has them, but not in front of one:
# there they would follow the size, which RFC 9112 does not allow and some readers do.
_SIZE_LINE = rb"([0-9A-Fa-f]{1,16}+)((?:;[\t ]*+%b(?:[\t ]*+=[\t ]*+(?:%b|%b))?+)*+)\r\n" % (
    _TOKEN, _TOKEN, _QUOTED,
)  # fmt: skip
_CHUNK = re.compile(_CRLF + _SIZE_LINE)
# Whatever may still become one.
_CHUNK_BEGUN = re.compile(
    rb"(?:\r(?:\n(?:[0-9A-Fa-f]{1,16}+(?:;[\t -~\x80-\xff]{0,%d}+)?\r?)?)?)?" % (MAX_EXTENSION - 1)
)


class BodyReader(Protocol):
    """Reads one body."""

    def take(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return what `data` holds of the body, and the bytes that follow it.

        All that a read holds becomes one: of fifty small chunks, joining costs 0.4 us, fifty events 1.7 us
        and then as much again wherever they go through.

        Returns:
            The body's bytes, perhaps none; and what stands behind its end, None before that.

        Raises:
            HttpError: the framing is broken, or a limit was passed.
        """
        ...


class Length:
    """A body of `length` bytes."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def take(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See `BodyReader`."""
        left = self._left
        self._left = max(0, left - len(data))
        return data[:left], None if self._left else data[left:]


class UntilClose:
    """A response body that the end of the connection ends."""

    __slots__ = ()

    def take(self, data: bytes) -> tuple[bytes, None]:
        """See `BodyReader`."""
        return data, None


class Chunked:
    """A body in the chunked coding. Extensions and trailers are checked and dropped.

    Args:
        max_bytes: of the body.
        max_trailers: bytes of the trailer section.
    """

    __slots__ = (
        "_extensions",
        "_held",
        "_left",
        "_max_bytes",
        "_max_trailers",
        "_size",
        "_trailers",
    )

    def __init__(self, *, max_bytes: int, max_trailers: int) -> None:
        self._max_bytes = max_bytes
        self._max_trailers = max_trailers
        self._held = _CRLF  # of an unfinished size line; the first one follows the head's CRLF
        self._left = 0  # bytes of the current chunk that are still to come
        self._size = 0  # bytes of all chunks so far, the current one included
        self._extensions = 0  # bytes
        self._trailers: Section | None = None

    def take(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See `BodyReader`."""
        if self._trailers:
            return b"", self._end(self._trailers, data)
        if self._held:
            # A read mostly ends with a chunk: then the CRLF is held that begins the next size line.
            if self._held == _CRLF:
                start = data.find(b"\n", 0, _MAX_KNOWN) + 1
                length = _KNOWN_SIZES.get(data[:start], 0)
                if (
                    0 < length == len(data) - start - 2
                    and length <= self._max_bytes - self._size
                    and data.endswith(_CRLF)
                ):  # all of it is one chunk, as long as another one was
                    self._size += length
                    return data[start:-2], None
            data, self._held = self._held + data, b""
        return self._chunks(data)

    def _chunks(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Do as `take` does with what goes on in the current chunk, or begins with a size line."""
        at, end = self._left, len(data)
        parts = [data[:at]] if at else []
        line, length = b"", 0  # of the chunk before
        while at < end:
            if line and data.startswith(line, at):  # many are as long as the one before
                start = at + len(line)
            elif (match := _CHUNK.match(data, at)) is None:
                self._hold(data[at:])
                at = end
                break
            else:
                line, length, start = self._read(match)
            if length > self._max_bytes - self._size:
                raise HttpError(f"the body has more than {self._max_bytes} bytes", status=413)
            if not length:
                # The CRLF of the last size line goes in front, so that a blank line ends the
                # section even when it is empty.
                self._trailers = Section(self._max_trailers + 2)
                return b"".join(parts), self._end(self._trailers, data[start - 2 :])
            self._size += length
            at = start + length
            parts.append(data[start:at])
        self._left = at - end
        return b"".join(parts), None

    def _hold(self, line: bytes) -> None:
        if line != _CRLF and not _CHUNK_BEGUN.fullmatch(line):
            raise HttpError("the chunked coding is malformed")
        self._held = line

    def _read(self, match: re.Match[bytes]) -> tuple[bytes, int, int]:
        """Return a size line, empty where another one may not be like it; its length; and where it ends."""
        digits, extension = match.groups()
        length = int(digits, 16)
        if extension:
            self._check(length, extension)
            return b"", length, match.end()
        line = match[0]
        if len(line) <= _MAX_KNOWN + 2 and len(_KNOWN_SIZES) < KNOWN_SIZES:
            _KNOWN_SIZES[line[2:]] = length
        return line, length, match.end()

    def _check(self, length: int, extension: bytes) -> None:
        """Refuse an extension that passes a limit."""
        self._extensions += len(extension)
        if len(extension) > MAX_EXTENSION:
            raise HttpError(f"a chunk extension has more than {MAX_EXTENSION} bytes")
        if self._extensions > self._size + length + SPARE_EXTENSIONS:
            raise HttpError("the chunk extensions outweigh the body")

    def _end(self, trailers: Section, data: bytes) -> bytes | None:
        found = trailers.feed(data)
        if found is None:
            return None
        lines, rest = found
        if not FIELD_LINES.fullmatch(lines):
            raise HttpError("a trailer line is malformed")
        return rest
