"""HTTP/2 frames: cut a byte stream into them, and refuse what is wrong with one by itself.

Layer: wire. Knows frame headers, lengths and padding, and which frame may follow which. Knows no
streams, no HPACK, and no HTTP.
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-4 and #section-6

`Guard` stands before everything else: it looks at each frame's nine bytes before the frame is
buffered, so a connection never makes us hold more than one frame (16 KiB) and one header block. It
takes off what is only of the wire: padding, CONTINUATION and the priority in HEADERS.
"""

from collections.abc import Iterator
from struct import Struct

import msgspec
from h2.errors import ErrorCodes

from rawproxy.wire.h2.events import Http2Error
from rawproxy.wire.h2.floods import EMPTIES

__all__ = [
    "ACK", "CONTINUATION", "DATA", "END_HEADERS", "END_STREAM", "GOAWAY", "HEADERS", "LAST_STREAM",
    "MAX_CONTINUATIONS", "MAX_FRAME", "PADDED", "PING", "PREFACE", "PRIORITY", "PRIORITY_BYTES",
    "PRIORITY_FLAG", "PUSH_PROMISE", "RST_STREAM", "SETTINGS", "UNKNOWN", "WINDOW_UPDATE", "Frame", "Guard",
    "frame_header", "write_frame", "write_head",
]  # fmt: skip

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

MAX_FRAME = 16384
"""Bytes of a frame's payload: what everybody has to take, and the most we take and send."""

MAX_CONTINUATIONS = 64
"""CONTINUATION frames of one header block (CVE-2024-27316 and its kin). Clients send none or one."""

LAST_STREAM = 2**31 - 1
"""The highest stream id."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
CONTINUATION = 9
UNKNOWN = 10
"""Stands for every type that RFC 9113 does not have: they are to be ignored."""

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

_HEADER = Struct(">HBBBL")
_HEADER_BYTES = _HEADER.size
_pack = _HEADER.pack
_unpack = _HEADER.unpack_from
PRIORITY_BYTES = 5
"""Bytes that say what a stream depends on."""

# Bytes of the payload, where there is one answer.
_SIZES = {RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_THE_CONNECTION = frozenset({SETTINGS, PING, GOAWAY})
_OF_A_STREAM = frozenset({DATA, HEADERS, PRIORITY, RST_STREAM})
_GOAWAY_BYTES = 8
_SETTING_BYTES = 6


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame.

    Attributes:
        kind: DATA to WINDOW_UPDATE; UNKNOWN for any other.
        flags: as they came.
        stream: the stream's id; 0 for the connection.
        payload: without padding and priority; of HEADERS, the whole header block.
        size: bytes that count for flow control: padding included.
        depends_on: the stream on which a HEADERS frame says that its own depends.
    """

    kind: int
    flags: int
    stream: int
    payload: bytes
    size: int = 0
    depends_on: int = 0


class Guard:
    """Cuts frames, of one direction of one connection.

    Args:
        max_block: bytes of a header block, compressed.
        preface: what has to come before the first frame: PREFACE for a server.
    """

    def __init__(self, max_block: int, preface: bytes = b"") -> None:
        self._max_block = max_block
        self._preface = preface
        self._held = bytearray()
        self._wanted = 1  # bytes that have to be held for another look
        self._opened = False  # the first SETTINGS has come
        self._first: Frame | None = None  # the HEADERS whose block is not whole
        self._block: list[bytes] = []
        self._size = 0  # bytes of the block
        self._empties = 0  # frames in a row that brought nothing of the block
        self._whole = 0  # frames and header blocks so far

    @property
    def unfinished(self) -> int | None:
        """Which frame, header block or preface has begun and is not whole, by its place; None: none."""
        return self._whole if self._held or self._first is not None else None

    def cut(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes. It has to be drained before the next call.

        Raises:
            Http2Error: the connection is broken; nothing can be cut any more.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return
            data = bytes(self._held)
            self._held.clear()
        self._wanted = _HEADER_BYTES
        at = self._skip_preface(data) if self._preface else 0
        end = len(data)
        while end - at >= _HEADER_BYTES and not self._preface:
            high, low, kind, flags, stream = _unpack(data, at)
            length = high << 8 | low
            stream &= LAST_STREAM
            self._check(kind, flags, stream, length)
            start = at + _HEADER_BYTES
            if end - start < length:
                self._wanted = _HEADER_BYTES + length
                break
            at = start + length
            frame = self._read(kind, flags, stream, data[start:at])
            if frame is not None:
                self._whole += 1
                yield frame
        self._held += data[at:]

    def _skip_preface(self, data: bytes) -> int:
        """Return where the frames begin: behind the preface, once it is whole."""
        size = len(self._preface)
        if data[:size] != self._preface[: len(data)]:
            raise Http2Error("the connection does not begin with the preface")
        if len(data) < size:
            self._wanted = 1
            return 0
        self._preface = b""
        return size

    def _check(self, kind: int, flags: int, stream: int, length: int) -> None:
        """Refuse a frame for its nine bytes, before anything is kept of it."""
        if length > MAX_FRAME:
            raise Http2Error(
                f"a frame has more than {MAX_FRAME} bytes", ErrorCodes.FRAME_SIZE_ERROR
            )
        if kind == DATA and stream and self._opened and self._first is None:
            return
        if not self._opened and (kind != SETTINGS or flags & ACK):
            raise Http2Error("the first frame is not SETTINGS")
        if (self._first is None) == (kind == CONTINUATION) or (
            self._first is not None and stream != self._first.stream
        ):
            raise Http2Error("a header block is interrupted, or goes on without a beginning")
        if kind == PUSH_PROMISE:
            raise Http2Error("a push that was not allowed")
        if kind in (_OF_THE_CONNECTION if stream else _OF_A_STREAM):
            raise Http2Error("a frame on a stream where it has no meaning")
        if kind in (HEADERS, CONTINUATION) and length > self._max_block - self._size:
            raise Http2Error(
                f"a header block has more than {self._max_block} bytes",
                ErrorCodes.ENHANCE_YOUR_CALM,
            )
        if not _has_room(kind, flags, length):
            raise Http2Error("a frame whose length is wrong", ErrorCodes.FRAME_SIZE_ERROR)

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame | None:
        """Return the frame; None for a part of a header block that is not the last."""
        self._opened = True
        size = len(payload)
        if kind in (DATA, HEADERS) and flags & PADDED:
            payload = _without_padding(payload)
        if kind == HEADERS:
            depends_on = 0
            if flags & PRIORITY_FLAG:
                if len(payload) < PRIORITY_BYTES:
                    raise Http2Error("padding has no room in its frame")
                depends_on = int.from_bytes(payload[:4], "big") & LAST_STREAM
                payload = payload[PRIORITY_BYTES:]
            head = Frame(kind, flags, stream, payload, size, depends_on)
            return head if flags & END_HEADERS else self._gather(head, payload, flags)
        if self._first is not None:
            return self._gather(self._first, payload, flags)
        return Frame(min(kind, UNKNOWN), flags, stream, payload, size)

    def _gather(self, head: Frame, part: bytes, flags: int) -> Frame | None:
        """Add to the header block that `head` began; return it once it is whole."""
        self._first = head
        self._block.append(part)
        self._size += len(part)
        if flags & END_HEADERS:
            block = b"".join(self._block)
            self._first = None
            self._block.clear()
            self._size = self._empties = 0
            return msgspec.structs.replace(head, payload=block)
        self._empties = 0 if part else self._empties + 1
        if len(self._block) > MAX_CONTINUATIONS or self._empties > EMPTIES:
            raise Http2Error("a header block in too many parts", ErrorCodes.ENHANCE_YOUR_CALM)
        return None


def frame_header(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Return the nine bytes before a payload of `length` bytes."""
    return _pack(length >> 8, length & 0xFF, kind, flags, stream)


def write_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return frame_header(kind, flags, stream, len(payload)) + payload


def write_head(stream: int, block: bytes, *, end: bool) -> bytes:
    """Return a header block as HEADERS, and as many CONTINUATION frames as it takes."""
    part, rest = block[:MAX_FRAME], block[MAX_FRAME:]
    flags = END_STREAM * end | END_HEADERS * (not rest)
    out = write_frame(HEADERS, flags, stream, part)
    while rest:
        part, rest = rest[:MAX_FRAME], rest[MAX_FRAME:]
        out += write_frame(CONTINUATION, END_HEADERS * (not rest), stream, part)
    return out


def _has_room(kind: int, flags: int, length: int) -> bool:
    """Whether a frame of this length can hold what its kind has to hold, and no more."""
    if kind in _SIZES:
        return length == _SIZES[kind]
    if kind == SETTINGS:
        return length == 0 if flags & ACK else length % _SETTING_BYTES == 0
    if kind == GOAWAY:
        return length >= _GOAWAY_BYTES
    if kind == HEADERS:
        return length >= bool(flags & PADDED) + PRIORITY_BYTES * bool(flags & PRIORITY_FLAG)
    return True


def _without_padding(payload: bytes) -> bytes:
    """Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.1"""
    if not payload:
        raise Http2Error("a frame whose length is wrong", ErrorCodes.FRAME_SIZE_ERROR)
    if payload[0] >= len(payload):
        raise Http2Error("padding has no room in its frame")
    return payload[1 : len(payload) - payload[0]]
