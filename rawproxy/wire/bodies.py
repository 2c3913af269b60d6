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

_SHORT_LINE = 8
_KNOWN_SIZES: dict[bytes, int] = {}  # what was read of a size line

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
_CHUNK_AFTER_CRLF = re.compile(_SIZE_LINE)
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
        match = None
        if self._held:
            # A read mostly ends with a chunk: then the CRLF is held that begins the next size line.
            if self._held == _CRLF:
                start = data.find(b"\n", 0, _SHORT_LINE) + 1
                length = _KNOWN_SIZES.get(data[:start], 0)
                if (
                    0 < length == len(data) - start - 2
                    and length <= self._max_bytes - self._size
                    and data.endswith(_CRLF)
                ):  # mostly a read is one chunk, as long as another one was
                    self._size += length
                    return data[start:-2], None
                match = _CHUNK_AFTER_CRLF.match(data)
            if match is None:
                data = self._held + data
            self._held = b""
        end = len(data)
        at = self._left
        body = data[:at]
        parts: list[bytes] | None = None  # once there are two
        line, length, extension = b"", 0, b""  # of the last chunk
        while at < end:
            if line and data.startswith(line, at):  # many are as long as the one before
                start = at + len(line)
            else:
                match = match or _CHUNK.match(data, at)
                if match is None:
                    self._hold(data[at:])
                    at = end
                    break
                digits, extension = match.groups()
                length = int(digits, 16)
                line = b"" if extension else b"\r\n%b\r\n" % digits
                if line and len(line) < _SHORT_LINE and len(_KNOWN_SIZES) < KNOWN_SIZES:
                    _KNOWN_SIZES[line[2:]] = length
                start = match.end()
                match = None
            if extension or length > self._max_bytes - self._size:
                self._check(length, extension)
            if not length:
                # The CRLF of the last size line goes in front, so that a blank line ends the
                # section even when it is empty.
                self._trailers = Section(self._max_trailers + 2)
                rest = self._end(self._trailers, data[start - 2 :])
                return body if parts is None else b"".join(parts), rest
            self._size += length
            at = start + length
            if parts is not None:
                parts.append(data[start:at])
            elif body:
                parts = [body, data[start:at]]
            else:
                body = data[start:at]
            if end - at == 2 and data.endswith(_CRLF):  # what is mostly left, without a search
                self._held = _CRLF
                at = end
                break
        self._left = at - end
        return body if parts is None else b"".join(parts), None

    def _hold(self, line: bytes) -> None:
        if line != _CRLF and not _CHUNK_BEGUN.fullmatch(line):
            raise HttpError("the chunked coding is malformed")
        self._held = line

    def _check(self, length: int, extension: bytes) -> None:
        """Refuse a chunk that passes a limit."""
        self._extensions += len(extension)
        if len(extension) > MAX_EXTENSION:
            raise HttpError(f"a chunk extension has more than {MAX_EXTENSION} bytes")
        if self._extensions > self._size + length + SPARE_EXTENSIONS:
            raise HttpError("the chunk extensions outweigh the body")
        if length > self._max_bytes - self._size:
            raise HttpError(f"the body has more than {self._max_bytes} bytes", status=413)

    def _end(self, trailers: Section, data: bytes) -> bytes | None:
        found = trailers.feed(data)
        if found is None:
            return None
        lines, rest = found
        if not FIELD_LINES.fullmatch(lines):
            raise HttpError("a trailer line is malformed")
        return rest
