"""AWS event streams: cut a byte stream into messages, and write messages.

Layer: wire. Knows preludes, headers and checksums. Knows no LLM API.
Spec:  https://smithy.io/2.0/aws/amazon-eventstream.html

A message is binary, numbers are big-endian:

    total length u32 | length of the headers u32 | CRC-32 of these eight bytes
    headers: length u8, name, type u8, value | payload | CRC-32 of everything before

Two things go wrong. A message whose checksum or headers are wrong has a length that can be
believed: `skip` hands it out as a piece, and goes on behind it. Where a prelude is wrong, nobody
knows where the next message begins: `skip` hands out as pieces all that still comes.
"""

import json
import zlib
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache, partial
from struct import Struct
from typing import NamedTuple

import msgspec

from rawproxy.errors import FrameTooLong, WireError
from rawproxy.wire.frame import Frame, PlainFrame

__all__ = [
    "BETWEEN", "CLOSE", "MAX_HEADERS", "MAX_MESSAGE", "OPEN", "TYPE", "EventFrame", "Header",
    "HeaderType", "Splitter", "alike", "encode", "mend", "read_headers", "read_tail", "splitter", "write",
    "write_exception", "writing",
]  # fmt: skip

TYPE = b"application/vnd.amazon.eventstream"
OPEN = BETWEEN = CLOSE = b""

MAX_MESSAGE = 24 * 2**20
"""Bytes of a message that AWS's own library takes (AWS_EVENT_STREAM_MAX_MESSAGE_SIZE)."""

MAX_HEADERS = 128 * 2**10
"""Bytes of one message's headers (AWS_EVENT_STREAM_MAX_HEADERS_SIZE)."""

_MAX_NAME = 2**8 - 1
_MAX_VALUE = 2**15 - 1

_PRELUDE = Struct(">III")
_LENGTHS = Struct(">II")
_CHECKSUM = Struct(">I")
_unpack = _PRELUDE.unpack_from
_SMALLEST = _PRELUDE.size + _CHECKSUM.size


class HeaderType(IntEnum):
    """What a header's value is, and with which number the wire says so."""

    TRUE = 0
    FALSE = 1
    BYTE = 2
    SHORT = 3
    INT = 4
    LONG = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


_TYPES = tuple(HeaderType)

# Bytes of a value; for those with a length before it, -1.
_SIZES = (0, 0, 1, 2, 4, 8, -1, -1, 8, 16)

Value = bool | int | bytes


class Header(NamedTuple):
    """One header of a message.

    The value of a `STRING` is its UTF-8 bytes, of a `UUID` its 16 bytes, of a `TIMESTAMP` its
    milliseconds since 1970.
    """

    name: bytes
    type: HeaderType
    value: Value


class EventFrame(msgspec.Struct):
    """One message.

    An exception and an error always have data: they say something by their mere name.
    """

    raw: bytes

    name: bytes = b""
    """The `:event-type`; the `:exception-type` of an exception; `error` for an error."""

    data: bytes = b""
    """The payload; of an error, which has none, a JSON object with its `code` and `message`."""

    has_data: bool = False
    whole: bool = True

    headers: dict[bytes, Value] = {}
    """All headers: the value by the name."""

    kind: bytes = b"event"
    """The `:message-type`: `event`, `exception` or `error`."""


class Splitter:
    """Cuts messages: feed it reads of any size.

    Besides FrameTooLong, `feed` raises a plain WireError where a message breaks the format; what
    to do is the same. A message that is too long is known by its first bytes.

    Args:
        max_frame: bytes a message may have, at most MAX_MESSAGE. At most that and one read are
            held.
    """

    def __init__(self, max_frame: int = MAX_MESSAGE) -> None:
        self.mid_frame = False
        self._max_frame = min(max_frame, MAX_MESSAGE)
        self._held = bytearray()  # the unfinished message; or a bad one, and all that came after it
        self._wanted = _PRELUDE.size  # bytes of it that have to be there for another look
        self._fault: WireError | None = None  # what is wrong with the first of what is held
        self._left: int | None = 0  # bytes to be handed out in pieces; None: all there will be
        self._before: list[Frame] = []  # came in one read with the message that is bad

    def feed(self, data: bytes) -> list[Frame]:
        """Return the messages that `data` completes; see `rawproxy.wire.frame.Splitter`.

        Raises:
            FrameTooLong: as every splitter does.
            WireError: a message breaks the format. As with FrameTooLong, each further call raises
                it again, until `skip` is called.
        """
        frames = self._cut(data)
        if (fault := self._fault) is None:
            return frames
        self._before += frames
        raise fault.with_traceback(None)

    def skip(self) -> list[Frame]:
        """Hand out in pieces what `feed` refused; see `rawproxy.wire.frame.Splitter`."""
        frames, self._before = self._before, []
        while self._fault is not None:
            self._fault = None
            self.mid_frame = True
            frames += self._cut(self.close())
        return frames

    def unread(self) -> bytes:
        """Return an unfinished frame, as if it had not come; see `rawproxy.wire.frame.Splitter`."""
        return self.close()

    def close(self) -> bytes:
        """Return the bytes of an unfinished last message; `b""` when there is none."""
        held = bytes(self._held)
        self._held.clear()
        return held

    def _cut(self, data: bytes) -> list[Frame]:
        """Return the messages that end in `data`; hold the rest, and from a bad one on all."""
        frames: list[Frame] = []
        start = self._hand_out(data, frames) if self.mid_frame else 0
        if self._held:
            self._held += data
            if self._fault is not None or len(self._held) < self._wanted:
                return frames
            data = self.close()
        try:
            while (size := self._size(data, start)) <= len(data) - start:
                frames.append(_read_message(data[start : start + size]))
                start += size
            self._wanted = size
        except WireError as error:
            self._fault = error
        self._held += data[start:]
        return frames

    def _size(self, data: bytes, start: int) -> int:
        """Return how many bytes the message at `start` has, or only its prelude where it is cut."""
        if len(data) - start < _PRELUDE.size:
            return _PRELUDE.size
        self._left = None  # unless all is well, no length can be believed
        total, headers, checksum = _PRELUDE.unpack_from(data, start)
        if zlib.crc32(data[start : start + _PRELUDE.size - _CHECKSUM.size]) != checksum:
            raise WireError("a message's prelude does not match its checksum")
        if headers > MAX_HEADERS or total < _SMALLEST + headers:
            raise WireError("a message's lengths contradict one another")
        self._left = total
        if total > self._max_frame:
            raise FrameTooLong(f"a message has more than {self._max_frame} bytes")
        return int(total)

    def _hand_out(self, data: bytes, frames: list[Frame]) -> int:
        """Make a piece of what `data` holds of the bad message; return how many bytes that is."""
        piece = data[: self._left]
        if piece:
            frames.append(PlainFrame(piece, whole=False))
        if self._left is not None:
            self._left -= len(piece)
            self.mid_frame = self._left > 0
        return len(piece)


def splitter(max_frame: int) -> Splitter:
    """Return a splitter for one stream."""
    return Splitter(max_frame)


def read_tail(tail: bytes) -> Frame | None:  # noqa: ARG001
    """Return None: a message without its checksum is not to be believed."""
    return None


def mend(tail: bytes) -> bytes:  # noqa: ARG001
    """Return nothing: no bytes end a message but its own."""
    return b""


def write(data: bytes, *, name: bytes = b"") -> bytes:
    """Return one event whose payload is the JSON in `data`; see `encode` for what it raises.

    Args:
        data: the payload.
        name: the `:event-type`, left out when empty.
    """
    return _message(_block(b":event-type", name, _EVENT), data)


def writing(name: bytes) -> Callable[[bytes], bytes]:
    """Return what does the same as `write` for one name."""
    return partial(_message, _block(b":event-type", name, _EVENT))


def write_exception(data: bytes, name: bytes) -> bytes:
    """Return one exception whose payload is the JSON in `data`; see `encode` for what it raises.

    Args:
        data: the payload, mostly a `message` in an object.
        name: the `:exception-type`, such as `throttlingException`.
    """
    return _message(_block(b":exception-type", name, _EXCEPTION), data)


def encode(headers: Iterable[Header], payload: bytes) -> bytes:
    """Return one message.

    Raises:
        FrameTooLong: it, or its headers, would be larger than anybody reads.
        ValueError: a header's name or value has no room in its type.
    """
    return _message(b"".join(map(_write_header, headers)), payload)


def _message(block: bytes, payload: bytes) -> bytes:
    message = _prelude(_SMALLEST + len(block) + len(payload), len(block)) + block + payload
    return message + zlib.crc32(message).to_bytes(4, "big")


@lru_cache(1024)
def _prelude(total: int, headers: int) -> bytes:
    """Return what a message of this size begins with: one stream has a hundred of them at most."""
    if total > MAX_MESSAGE or headers > MAX_HEADERS:
        raise FrameTooLong(f"a message would have {total} bytes, {headers} of them headers")
    lengths = _LENGTHS.pack(total, headers)
    return lengths + zlib.crc32(lengths).to_bytes(4, "big")


@lru_cache(256)
def _block(header: bytes, name: bytes, kind: Header) -> bytes:
    """Return the headers of a message of JSON: one stream has a handful of them, over and over."""
    return b"".join(map(_write_header, [*_texts(header, name), _JSON, kind]))


Span = Callable[[bytes, int], tuple[int, int, int] | None]
"""Where in bytes the payload is of the message of one kind that stands at a place: its start, its end,
the message's end. None where there is something else."""


def alike(message: bytes) -> Span:
    """Return what tells where the payload is in messages with the headers of this one.

    Each is checked by its checksum, which covers that of its prelude. None for everything else: a
    message that is cut, or broken, or has other headers.
    """
    block = message[_PRELUDE.size : _PRELUDE.size + int.from_bytes(message[4:8])]
    size = len(block)

    def span(data: bytes, at: int) -> tuple[int, int, int] | None:
        payload = at + 12
        if not data.startswith(block, payload):
            return None
        payload += size
        total, headers, _ = _unpack(data, at)
        after = at + total
        end = after - 4
        if headers != size or end < payload:
            return None
        # Where the message is cut, there are no four bytes that could be its checksum.
        if data[end:after] != zlib.crc32(data[at:end]).to_bytes(4, "big"):
            return None
        return payload, end, after

    return span


def read_headers(block: bytes) -> list[Header]:
    """Return the headers in `block`, the part of a message between its prelude and its payload.

    Raises:
        WireError: a header breaks off, has an unknown type, or comes twice.
    """
    headers: list[Header] = []
    at = 0
    try:
        while at < len(block):
            end = at + 1 + block[at]
            name, type_ = block[at + 1 : end], _TYPES[block[end]]
            at = end + 1
            size = _SIZES[type_]
            if size < 0:
                size = block[at] << 8 | block[at + 1]
                at += 2
            headers.append(Header(name, type_, _read_value(type_, block[at : at + size])))
            at += size
    except IndexError:
        raise WireError("a header breaks off, or has an unknown type") from None
    if at > len(block):
        raise WireError("a header breaks off")
    if len({header.name for header in headers}) < len(headers):
        raise WireError("a header comes twice")
    return headers


def _read_value(type_: HeaderType, value: bytes) -> Value:
    match type_:
        case HeaderType.STRING | HeaderType.BYTES | HeaderType.UUID:
            return value
        case HeaderType.TRUE | HeaderType.FALSE:
            return type_ is HeaderType.TRUE
        case _:
            return int.from_bytes(value, signed=True)


def _write_header(header: Header) -> bytes:
    name, type_, value = header
    if not 0 < len(name) <= _MAX_NAME:
        raise ValueError(f"a header's name has {len(name)} bytes")
    start = b"%c%b%c" % (len(name), name, type_)
    size = _SIZES[type_]
    match type_:
        case HeaderType.TRUE | HeaderType.FALSE:
            return start
        case HeaderType.STRING | HeaderType.BYTES | HeaderType.UUID:
            assert isinstance(value, bytes)
            if len(value) > _MAX_VALUE or (size > 0 and len(value) != size):
                raise ValueError(f"{name!r} has a value of {len(value)} bytes")
            length = b"" if size > 0 else len(value).to_bytes(2)
            return b"%b%b%b" % (start, length, value)
        case _:
            assert isinstance(value, int)
            try:
                return start + value.to_bytes(size, signed=True)
            except OverflowError:
                raise ValueError(f"{name!r} has a value of more than {size} bytes") from None


def _texts(name: bytes, value: bytes) -> list[Header]:
    return [Header(name, HeaderType.STRING, value)] if value else []


_JSON = Header(b":content-type", HeaderType.STRING, b"application/json")
_EVENT = Header(b":message-type", HeaderType.STRING, b"event")
_EXCEPTION = Header(b":message-type", HeaderType.STRING, b"exception")


def _read_message(raw: bytes) -> EventFrame:
    """Return the message that `raw` is, whose prelude has been checked."""
    end = len(raw) - _CHECKSUM.size
    if zlib.crc32(memoryview(raw)[:end]) != _CHECKSUM.unpack_from(raw, end)[0]:
        raise WireError("a message does not match its checksum")
    split = _PRELUDE.size + int.from_bytes(raw[4:8])
    kind, name, headers = _headed(raw[_PRELUDE.size : split])
    payload = raw[split:end]
    match kind:
        case b"exception":
            return EventFrame(raw, name, payload or b"{}", True, True, headers, kind)
        case b"error":
            return EventFrame(raw, name, _error(headers), True, True, headers, kind)
        case _:
            return EventFrame(raw, name, payload, bool(payload), True, headers, kind)


@lru_cache(256)
def _headed(block: bytes) -> tuple[bytes, bytes, dict[bytes, Value]]:
    """Return the message type, the name and all headers of a message with these headers."""
    headers = {header.name: header.value for header in read_headers(block)}
    kind = _text(headers, b":message-type") or b"event"
    if kind == b"error":
        return kind, b"error", headers
    named = b":exception-type" if kind == b"exception" else b":event-type"
    return kind, _text(headers, named), headers


def _text(headers: dict[bytes, Value], name: bytes) -> bytes:
    value = headers.get(name)
    return value if isinstance(value, bytes) else b""


def _error(headers: dict[bytes, Value]) -> bytes:
    """Return what an error's headers say, as readers of payloads expect it."""
    said = {"code": b":error-code", "message": b":error-message"}
    texts = {key: _text(headers, name).decode(errors="replace") for key, name in said.items()}
    return json.dumps(texts, separators=(",", ":")).encode()
