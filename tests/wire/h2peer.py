"""An HTTP/2 peer that writes each frame by hand, right or wrong, and reads what it is sent.

It shares no code with what it tests: frames are struct's, header blocks are hpack's. Blocks are
independent of one another (HPACK counts table entries from the newest), so they can be put
together in any order, and a table of cases can hold them as bytes.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import hpack
from h2.errors import ErrorCodes

from rawproxy.wire.h2.events import Events
from rawproxy.wire.h2.side import Side
from rawproxy.wire.http import Body, End, RequestHead, Reset, ResponseHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.http2 import Http2Client, Http2Error, Http2Server, Refused

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
KINDS = [
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
    "WINDOW_UPDATE", "CONTINUATION",
]  # fmt: skip
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
TABLE, PUSH, STREAMS, WINDOW, FRAME, LIST, CONNECT = 1, 2, 3, 4, 5, 6, 8

Pairs = Iterable[tuple[str | bytes, str | bytes]]

GET = [(":method", "GET"), (":scheme", "https"), (":path", "/v1/models"), (":authority", "h")]
POST = [(":method", "POST"), (":scheme", "https"), (":path", "/v1/chat"), (":authority", "h")]
OK = [(":status", "200")]


def frame(kind: int | str, flags: int, stream: int, payload: bytes = b"") -> bytes:
    number = KINDS.index(kind) if isinstance(kind, str) else kind
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", number, flags, stream) + payload
    )


def block(fields: Pairs) -> bytes:
    return bytes(hpack.Encoder().encode(list(fields), huffman=False))


def padded(payload: bytes, pad: int) -> bytes:
    return bytes([pad]) + payload + bytes(pad)


def headers(stream: int, fields: Pairs, flags: int = END_HEADERS, *, end: bool = False) -> bytes:
    return frame("HEADERS", flags | (END_STREAM if end else 0), stream, block(fields))


def get(stream: int = 1, *more: tuple[str, str], end: bool = True) -> bytes:
    return headers(stream, [*GET, *more], end=end)


def post(stream: int = 1, *more: tuple[str, str]) -> bytes:
    return headers(stream, [*POST, *more])


def ok(stream: int = 1, *more: tuple[str, str], end: bool = False) -> bytes:
    return headers(stream, [*OK, *more], end=end)


def parts(stream: int, fields: Pairs, count: int, *, end: bool = True) -> list[bytes]:
    """Return one header block as a HEADERS and `count` CONTINUATION frames."""
    whole = block(fields)
    step = max(1, len(whole) // (count + 1))
    pieces = [whole[at * step : (at + 1) * step] for at in range(count)] + [whole[count * step :]]
    first = frame("HEADERS", END_STREAM if end else 0, stream, pieces[0])
    rest = [frame("CONTINUATION", 0, stream, piece) for piece in pieces[1:-1]]
    return [first, *rest, frame("CONTINUATION", END_HEADERS, stream, pieces[-1])]


def data(stream: int, payload: bytes = b"", *, end: bool = False) -> bytes:
    return frame("DATA", END_STREAM if end else 0, stream, payload)


def rst(stream: int, code: int = ErrorCodes.CANCEL) -> bytes:
    return frame("RST_STREAM", 0, stream, struct.pack(">I", code))


def setting(*pairs: tuple[int, int], flags: int = 0, stream: int = 0) -> bytes:
    return frame("SETTINGS", flags, stream, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def ping(payload: bytes = b"12345678", flags: int = 0, stream: int = 0) -> bytes:
    return frame("PING", flags, stream, payload)


def goaway(last: int = 0, code: int = 0, more: bytes = b"", stream: int = 0) -> bytes:
    return frame("GOAWAY", 0, stream, struct.pack(">II", last, code) + more)


def window(stream: int, size: int) -> bytes:
    return frame("WINDOW_UPDATE", 0, stream, struct.pack(">I", size))


def priority(stream: int, on: int = 0) -> bytes:
    return frame("PRIORITY", 0, stream, struct.pack(">IB", on, 15))


@dataclass(frozen=True)
class Seen:
    """One frame that was sent to the peer."""

    kind: str
    flags: int
    stream: int
    payload: bytes

    @property
    def ends(self) -> bool:
        return self.kind in ("DATA", "HEADERS") and bool(self.flags & END_STREAM)

    @property
    def number(self) -> int:
        """The first four bytes: of a WINDOW_UPDATE, an RST_STREAM, or GOAWAY's last stream."""
        return int.from_bytes(self.payload[:4], "big")

    @property
    def code(self) -> str:
        """The error code's name."""
        at = 4 if self.kind == "GOAWAY" else 0
        return ErrorCodes(int.from_bytes(self.payload[at : at + 4], "big")).name


def cut(sent: bytes) -> list[Seen]:
    """Return the frames of what was sent, which has to be whole frames."""
    found = []
    while sent:
        size, kind, flags, stream = (
            struct.unpack(">I", b"\0" + sent[:3])[0],
            *struct.unpack(">BBI", sent[3:9]),
        )
        assert len(sent) >= 9 + size
        found.append(Seen(KINDS[kind], flags, stream, sent[9 : 9 + size]))
        sent = sent[9 + size :]
    return found


class Peer:
    """The other end of one side.

    Attributes:
        side: what is tested.
        seen: all frames that it has sent.
        opened: those of them that it sent first.
        now: the time.
    """

    def __init__(self, side: Side, *, settings: bytes | None = None) -> None:
        self.side = side
        self.seen: list[Seen] = []
        self.now = 0.0
        self.decoder = hpack.Decoder()
        self.server = isinstance(side, Http2Client)
        self.opening = (b"" if self.server else PREFACE) + (
            setting() if settings is None else settings
        )
        first = side.take()
        assert first.startswith(PREFACE) == self.server
        self.opened = cut(first.removeprefix(PREFACE))
        self.seen += self.opened

    def send(self, *frames: bytes, step: int = 0) -> list[str]:
        """Feed frames, in pieces of `step` bytes; return what came of them: see `words`."""
        sent, self.opening = self.opening + b"".join(frames), b""
        events: Events = []
        try:
            for at in range(0, len(sent), step or max(1, len(sent))):
                events += self.side.feed(sent[at : at + (step or len(sent))], self.now)
        except Http2Error as error:
            return [*words(events + error.events), f"broken {ErrorCodes(error.code).name}"]
        return words(events)

    def read(self, kind: str = "") -> list[Seen]:
        """Return the frames (of one kind) that were sent since the last time."""
        new = cut(self.side.take())
        self.seen += new
        return [one for one in new if not kind or one.kind == kind]

    def fields(self, seen: Seen) -> list[tuple[bytes, bytes]]:
        """Return the fields of a HEADERS frame. Each has to be decoded once, in order."""
        return [
            (bytes(name), bytes(value))
            for name, value in self.decoder.decode(seen.payload, raw=True)
        ]

    def outcome(self, frames: Sequence[bytes], *, step: int = 0) -> str:
        """Return in words what frames do: events, then resets and the GOAWAY that go out."""
        told = self.send(*frames, step=step)
        for one in self.read():
            if one.kind == "RST_STREAM":
                told.append(f"RST {one.stream} {one.code}")
            if one.kind == "GOAWAY":
                told.append(f"GOAWAY {one.number} {one.code}")
        return ", ".join(told)


def words(events: Iterable[tuple[int, object]]) -> list[str]:
    """Return events in words, neighbouring pieces of a body as one."""
    told: list[str] = []
    sizes: dict[int, int] = {}
    last = 0
    for stream, event in events:
        if isinstance(event, Body):
            if told and last == stream:
                told.pop()
            last = stream
            sizes[stream] = sizes.get(stream, 0) + len(event.data)
        else:
            last = 0
        told.append(f"{stream} {_word(event, sizes.get(stream, 0))}")
    return told


def _word(event: object, size: int) -> str:
    match event:
        case RequestHead():
            return event.method.decode()
        case ResponseHead():
            return str(event.status)
        case Body():
            return f"body {size}"
        case End():
            return "end"
        case Reset():
            return f"reset {ErrorCodes(event.code).name}"
        case Refused():
            return f"refused {event.error.status}"
    raise AssertionError(event)


def server(
    *,
    limits: Limits | None = None,
    streams: int = 100,
    requests: int = 10_000,
    settings: bytes | None = None,
) -> Peer:
    """Return a client of our server."""
    made = Http2Server(limits or Limits(), streams=streams, requests=requests, now=0.0)
    return Peer(made, settings=settings)


def client(*, limits: Limits | None = None, settings: bytes | None = None) -> Peer:
    """Return a server of our client."""
    return Peer(Http2Client(limits or Limits(), now=0.0), settings=settings)


def asked(
    count: int = 1, *, method: bytes = b"POST", end: bool = False, settings: bytes | None = None
) -> Peer:
    """Return a server of our client, which has asked `count` requests on streams 1, 3, ..."""
    peer = client(settings=settings)
    peer.send()
    assert isinstance(peer.side, Http2Client)
    for _ in range(count):
        peer.side.request(
            RequestHead(method, b"/v1/chat", [(b"host", b"h")], b"2"), b"https", end=end
        )
    peer.read()
    return peer
