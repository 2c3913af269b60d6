"""Inputs that are HTTP/2: where they begin, and what is done to them, frame by frame.

A frame that is changed is framed well again in most cases; a header block is most often a new one, of
fields that are nearly right.
"""

from collections.abc import Sequence
from functools import partial
from random import Random

from hpack import Encoder

from fuzz.base import MAX_INPUT, Mutate
from fuzz.mutate import change_bytes
from rawproxy.wire.h2 import frames as h2frames
from rawproxy.wire.h2.frames import write_frame

__all__ = ["CLIENT_SEEDS", "SERVER_SEEDS", "of_http2", "parse"]

HEADER_BYTES = 9

Piece = tuple[int, int, int, bytes]
"""A frame: its kind, flags, stream and payload."""

_WHOLE, _LAST = h2frames.END_HEADERS, h2frames.END_HEADERS | h2frames.END_STREAM
_SETTINGS: Piece = (h2frames.SETTINGS, 0, 0, b"")
_SETTINGS_ACK: Piece = (h2frames.SETTINGS, h2frames.ACK, 0, b"")

_REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"a.example"),
    (b":path", b"/v1/x?y"),
]
_GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b"host", b"a")]

_FIELDS = [
    *_REQUEST, *_GET, (b":method", b"CONNECT"), (b":method", b"OPTIONS"), (b":path", b"*"), (b":path", b""), (b":path", b"x"),
    (b":path", b"/#"), (b":path", b"/\x7f"), (b":path", b"/ HTTP/1.1\r\nX: y"), (b":scheme", b"ftp"), (b":authority", b""),
    (b":authority", b"a@b"), (b":authority", b"[::1"), (b":protocol", b"websocket"), (b":status", b"200"), (b":status", b"100"),
    (b":status", b"101"), (b":status", b"204"), (b":status", b"304"), (b":status", b"099"), (b":status", b"1000"), (b":x", b"y"),
    (b"host", b"b"), (b"host", b""), (b"content-length", b"5"), (b"content-length", b"0"), (b"content-length", b"05"),
    (b"content-length", b"-1"), (b"content-length", b"5, 5"), (b"content-length", b"9" * 30), (b"content-length", b"99999999"),
    (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"upgrade", b"x"), (b"te", b"trailers"), (b"te", b"gzip"),
    (b"expect", b"100-continue"), (b"expect", b"x"), (b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"content-encoding", b"gzip"),
    (b"X-Upper", b"y"), (b"x y", b"z"), (b"", b"x"), (b"x", b""), (b"x", b" y"), (b"x", b"y\t"), (b"x", b"a\r\nb: c"), (b"x", b"\0"),
    (b"x", b"\x01"), (b"x", b"\x7f"), (b"x", b"\xc3\xbc"), (b"x", b"y" * 900), (b"x" * 900, b"y"), (b"authorization", b"Bearer x"),
]  # fmt: skip

_BLOCKS = [
    b"\x82", b"\x82" * 400, b"\xc0", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x3f" + b"\x80" * 300, b"\x20\x20\x20", b"\x3f\xe1\x1f",
    b"\x3f\xe1\x7f", b"\0\x7f\xff\xff\xff\x7f", b"\0\x81\xff\0", b"\0\x84\xff\xff\xff\xff\0", b"\x40\x01x\x7f\x00" + b"y" * 127 + b"\xbe" * 500,
]  # fmt: skip
"""Header blocks that an encoder does not write."""

_NUMBERS = [
    0,
    1,
    2,
    100,
    16383,
    16384,
    16385,
    65535,
    65536,
    2**24 - 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
]

_PAYLOADS = [
    b"",
    b"\0",
    b"x" * 8,
    b"\0" * 8,
    b"\0\0\0\0\0\0\0\1",
    b"\xff" * 8,
    b"\0" * 5,
    b"hello",
    b"x" * 1000,
    b"x" * 16384,
    b"x" * 16385,
]


def block(fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a header block that does not lean on any before it."""
    encoder = Encoder()
    encoder.header_table_size = 0
    written: bytes = encoder.encode(list(fields), huffman=False)
    return written


def parse(data: bytes) -> tuple[list[Piece], bytes]:
    """Cut `data`, whose preface has been taken off, into frames; return them and what is left."""
    pieces: list[Piece] = []
    at = 0
    while len(data) - at >= HEADER_BYTES:
        size = int.from_bytes(data[at : at + 3])
        end = at + HEADER_BYTES + size
        if end > len(data):
            break
        stream = int.from_bytes(data[at + 5 : at + HEADER_BYTES])
        pieces.append((data[at + 3], data[at + 4], stream, data[at + HEADER_BYTES : end]))
        at = end
    return pieces, data[at:]


def join(pieces: Sequence[Piece]) -> bytes:
    """Return frames as bytes."""
    return b"".join(write_frame(*piece) for piece in pieces)


def of_http2(preface: bytes) -> Mutate:
    """Return what changes inputs that are one direction of a connection, which `preface` begins."""
    return partial(_http2, preface)


def _http2(preface: bytes, rng: Random, data: bytes, pool: Sequence[bytes]) -> bytes:
    begins = data.startswith(preface)
    if not begins or rng.random() < 0.08:
        return change_bytes(rng, data, [preface, *_PAYLOADS])
    pieces, tail = parse(data.removeprefix(preface))
    for _ in range(rng.choice((1, 1, 2, 4))):
        pieces = _change(rng, pieces, parse(rng.choice(pool).removeprefix(preface))[0])
    if rng.random() < 0.95:
        tail = b""
    return b"".join([preface, join(pieces), tail])[:MAX_INPUT]


def _change(rng: Random, pieces: list[Piece], others: list[Piece]) -> list[Piece]:
    """Return frames with one change; `others` are of another connection."""
    at = rng.randrange(len(pieces) + 1)
    piece = pieces[at] if at < len(pieces) else _new(rng, pieces)
    match rng.randrange(9):
        case 0:
            new: list[Piece] = []
        case 1:
            new = [piece] * rng.choice((2, 2, 3, 12, 120, 1200))
        case 2:
            new = [piece, *others[:1], _new(rng, pieces)]
        case 3:
            return pieces[:at] + others[rng.randrange(len(others) + 1) :]
        case 4:
            rest = pieces[:at] + pieces[at + 1 :]
            to = rng.randrange(len(rest) + 1)
            return [*rest[:to], piece, *rest[to:]]
        case 5:
            new = _many(rng, pieces, piece)
        case 6:
            new = _parted(rng, piece)
        case _:
            new = [_altered(rng, pieces, piece)]
    return pieces[:at] + new + pieces[at + 1 :]


def _stream(rng: Random, pieces: list[Piece]) -> int:
    known = [stream for _, _, stream, _ in pieces] or [1]
    latest = max(known)
    return rng.choice([rng.choice(known), latest, latest + 2, 0, 1, 2, 3, 2**31 - 1]) & 2**32 - 1


def _new(rng: Random, pieces: list[Piece]) -> Piece:
    """Return a frame of any kind whose payload is of the size that its kind has."""
    kind, stream = rng.choice((*range(10), 10, 200)), _stream(rng, pieces)
    number = rng.choice(_NUMBERS).to_bytes(4)
    flags = rng.choice((0, 0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF))
    match kind:
        case h2frames.HEADERS | h2frames.CONTINUATION:
            return kind, rng.choice((flags, _WHOLE, _LAST)), stream, _block(rng)
        case h2frames.SETTINGS:
            pairs = [
                rng.randrange(10).to_bytes(2) + rng.choice(_NUMBERS).to_bytes(4)
                for _ in range(rng.choice((0, 1, 3)))
            ]
            return kind, 0, 0, b"".join(pairs)
        case h2frames.RST_STREAM | h2frames.WINDOW_UPDATE:
            return kind, flags, stream, number
        case h2frames.PRIORITY:
            return kind, flags, stream, rng.choice((number, stream.to_bytes(4))) + b"\x10"
        case h2frames.PING:
            return kind, flags & 1, 0, rng.choice(_PAYLOADS[2:5])
        case h2frames.GOAWAY:
            return kind, 0, 0, number + rng.choice((b"\0\0\0\0", b"\0\0\0\x0b", b"\0\0\0\x01why"))
    return kind, flags & ~h2frames.PADDED, stream, rng.choice(_PAYLOADS)


def _block(rng: Random) -> bytes:
    """Return a header block: nearly right in most cases."""
    if rng.random() < 0.1:
        return rng.choice(_BLOCKS)
    fields = list(rng.choice((_REQUEST, _GET, [(b":status", b"200")], [(b":status", b"103")], [])))
    for _ in range(rng.choice((0, 1, 1, 2, 40))):
        match rng.randrange(4):
            case 0 if fields:
                del fields[rng.randrange(len(fields))]
            case 1 if fields:
                fields.insert(rng.randrange(len(fields)), rng.choice(_FIELDS))
            case _:
                fields.append(rng.choice(_FIELDS))
    if rng.random() < 0.3:
        written: bytes = Encoder().encode(fields)
        return written
    return block(fields)


def _many(rng: Random, pieces: list[Piece], piece: Piece) -> list[Piece]:
    """Return the same frame on streams of its own each: what floods are made of."""
    kind, flags, stream, payload = piece
    resets = rng.random() < 0.5
    found: list[Piece] = []
    first = max([one[2] for one in pieces] or [1]) + 2 & 2**30 - 1 | 1
    for number in range(first, first + 2 * rng.choice((3, 20, 150)), 2):
        found.append((kind, flags, number, payload))
        if resets:
            found.append((h2frames.RST_STREAM, 0, number, b"\0\0\0\x08"))
    return [piece, *found] if stream else [piece]


def _parted(rng: Random, piece: Piece) -> list[Piece]:
    """Return a frame as more than one, which mean the same if it is DATA or HEADERS."""
    kind, flags, stream, payload = piece
    size = rng.choice((1, 7, 100))
    parts = [payload[at : at + size] for at in range(0, min(len(payload), 100 * size), size)] or [
        b""
    ]
    if kind == h2frames.HEADERS and not flags & (h2frames.PADDED | h2frames.PRIORITY_FLAG):
        more: list[Piece] = [(h2frames.CONTINUATION, 0, stream, part) for part in parts[1:]]
        made = [(kind, flags & ~h2frames.END_HEADERS, stream, parts[0]), *more]
        last = made[-1]
        return [*made[:-1], (last[0], last[1] | h2frames.END_HEADERS, stream, last[3])]
    return [*((kind, flags & ~1, stream, part) for part in parts), (kind, flags, stream, b"")]


def _altered(rng: Random, pieces: list[Piece], piece: Piece) -> Piece:
    kind, flags, stream, payload = piece
    match rng.randrange(7):
        case 0:
            kind = rng.choice((*range(10), 10, 255))
        case 1:
            flags ^= rng.choice((1, 4, 8, 0x20, 0xFF))
        case 2:
            stream = _stream(rng, pieces)
        case 3:
            flags |= h2frames.PADDED
            padding = rng.choice((0, 1, len(payload) & 0xFF, 255))
            payload = bytes([padding]) + payload + b"\0" * rng.choice((0, padding))
        case 4 | 5 if kind == h2frames.HEADERS:
            payload = _block(rng)
        case _:
            payload = change_bytes(rng, payload, _PAYLOADS)
    return kind, flags, stream, payload


# -- where they begin


def _request(
    stream: int, fields: Sequence[tuple[bytes, bytes]], body: bytes | None = None
) -> list[Piece]:
    if body is None:
        return [(h2frames.HEADERS, _LAST, stream, block(fields))]
    return [(h2frames.HEADERS, _WHOLE, stream, block(fields)), (h2frames.DATA, 1, stream, body)]


def _number(value: int) -> bytes:
    return value.to_bytes(4)


_TRAILERS = (h2frames.HEADERS, _LAST, 1, block([(b"x-sum", b"y")]))
_OPENING = [_SETTINGS, (h2frames.WINDOW_UPDATE, 0, 0, _number(1000)), _SETTINGS_ACK]

_SERVER: list[list[Piece]] = [
    [_SETTINGS, *_request(1, _GET)],
    [*_OPENING, *_request(1, [*_REQUEST, (b"content-length", b"5")], b"hello"), *_request(3, _GET)],
    [*_OPENING, *_request(1, [*_REQUEST, (b"expect", b"100-continue")], b"x" * 300), *_request(3, _REQUEST, b"")],
    [_SETTINGS, (h2frames.HEADERS, _WHOLE, 1, block(_REQUEST)), (h2frames.DATA, 0, 1, b"abc"), _TRAILERS],
    [_SETTINGS, (h2frames.HEADERS, _WHOLE, 1, block(_REQUEST)), (h2frames.DATA, 9, 1, b"\x03abc\0\0\0"), (h2frames.PING, 0, 0, b"12345678")],
    [_SETTINGS, (h2frames.HEADERS, _LAST | 0x28, 1, b"\x02\0\0\0\0\x10" + block(_GET) + b"\0\0"), (h2frames.PRIORITY, 0, 3, b"\0\0\0\1\x10")],
    [_SETTINGS, (h2frames.HEADERS, 1, 1, block(_GET)[:9]), (h2frames.CONTINUATION, 4, 1, block(_GET)[9:]), *_request(3, _GET)],
    [_SETTINGS, *_request(1, _REQUEST), (h2frames.RST_STREAM, 0, 1, _number(8)), *_request(3, _GET), (h2frames.GOAWAY, 0, 0, b"\0" * 8)],
    [(h2frames.SETTINGS, 0, 0, b"\0\4\0\0\0\5\0\1\0\0\0\0\0\5\0\0\x40\0"), *_request(1, _GET), (h2frames.WINDOW_UPDATE, 0, 1, _number(9000))],
    [_SETTINGS, (h2frames.HEADERS, _LAST, 1, Encoder().encode(_REQUEST)), (200, 3, 0, b"unknown"), *_request(3, [*_GET, (b"cookie", b"a"), (b"cookie", b"b")])],
    [_SETTINGS, *_request(1, _REQUEST, b"x" * 16384), *_request(3, _REQUEST, b"y" * 5000), (h2frames.WINDOW_UPDATE, 0, 3, _number(1))],
    [_SETTINGS, *(piece for stream in range(1, 31, 2) for piece in _request(stream, _GET))],
    [_SETTINGS, (h2frames.PING, 1, 0, _number(0) + _number(1)), *_request(1, _GET), (h2frames.PING, 1, 0, _number(0) + _number(2))],
]  # fmt: skip

_OK = [(b":status", b"200"), (b"content-type", b"text/event-stream")]

_CLIENT: list[list[Piece]] = [
    [_SETTINGS, *_request(1, _OK), *_request(3, _OK), *_request(5, _OK)],
    [*_OPENING, *_request(1, [*_OK, (b"content-length", b"5")], b"hello"), *_request(5, _OK, b"x" * 3000)],
    [_SETTINGS, (h2frames.HEADERS, _WHOLE, 1, block([(b":status", b"103")])), *_request(1, [(b":status", b"429")], b"no")],
    [_SETTINGS, (h2frames.HEADERS, _WHOLE, 1, block(_OK)), (h2frames.DATA, 0, 1, b"abc"), _TRAILERS, *_request(3, [*_OK, (b"content-length", b"7")])],
    [(h2frames.SETTINGS, 0, 0, b"\0\3\0\0\0\2\0\4\0\0\0\x10"), (h2frames.RST_STREAM, 0, 1, _number(7)), *_request(3, [(b":status", b"304")])],
    [_SETTINGS, (h2frames.GOAWAY, 0, 0, _number(3) + _number(0)), *_request(1, _OK), (h2frames.PING, 0, 0, b"12345678")],
    [_SETTINGS, *_request(5, [(b":status", b"413")]), (h2frames.RST_STREAM, 0, 5, _number(0)), (h2frames.WINDOW_UPDATE, 0, 0, _number(70000))],
    [_SETTINGS, (h2frames.HEADERS, _WHOLE, 1, Encoder().encode(_OK)), (h2frames.DATA, 9, 1, b"\x03abc\0\0\0"), (h2frames.SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff")],
    [_SETTINGS, *([(h2frames.HEADERS, _WHOLE, 1, block([(b":status", b"100")]))] * 9), *_request(1, _OK)],
    [_SETTINGS, *_request(1, _OK, b"x" * 16384), (h2frames.DATA, 0, 5, b"early"), (h2frames.PUSH_PROMISE, 4, 1, _number(2))],
]  # fmt: skip

SERVER_SEEDS = [h2frames.PREFACE + join(pieces) for pieces in _SERVER]
"""What clients send."""

CLIENT_SEEDS = [join(pieces) for pieces in _CLIENT]
"""What servers send to a client with three requests."""
