"""What we read of spoiled messages, h11 reads the same way; what it refuses, we refuse.

The other direction does not hold: we refuse much that h11 takes (`test_heads`, `test_bodies`).
"""

import itertools

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from rawproxy.errors import HttpError
from rawproxy.wire.http import Body, End, Fields, HttpEvent, RequestHead, ResponseHead
from rawproxy.wire.http1 import Limits, RequestReader, ResponseReader

CHUNKS = b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\nX: y\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
REQUEST_SEEDS = [
    POST,
    POST.replace(b"POST", b"PATCH"),
    POST.replace(b"Content-Length: 5", b"Expect: 100-continue\r\nContent-Length: 5"),
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    b"GET /v1/models?a=b HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x\r\n\r\n",
    b"POST /x HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
]
OK = b"HTTP/1.1 200 OK\r\n"
RESPONSE_SEEDS = [
    OK + b"Content-Length: 5\r\n\r\nhello",
    OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + CHUNKS,
    OK + b"Server: upstream\r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"\r\n",
]
SPICE = [
    b"\r", b"\n", b"\r\n", b"\r\n ", b"\x00", b"\x01", b"\x7f", b"\xff", b" ", b"\t", b":", b";", b",", b"#", b"*",
    b"0", b"1", b"5", b"a", b"_", b"+", b"-", b"\r\n\r\n", b"chunked", b"Content-Length: 3\r\n", b"Host: a\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"HTTP/1.0", b"http://", b"5\r\n", b";a=b",
]  # fmt: skip


def joined(events: list[HttpEvent]) -> list[HttpEvent]:
    """Return the events with neighbouring Body events made one."""
    out: list[HttpEvent] = []
    for event in events:
        if isinstance(event, Body) and out and isinstance(out[-1], Body):
            out[-1] = Body(out[-1].data + event.data)
        else:
            out.append(event)
    return out


def reads(stream: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(bounds)]


@st.composite
def spoiled(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A message with up to three bytes or pieces replaced, put in or left out."""
    message = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(message)))
        piece = draw(st.sampled_from([b"", *SPICE]) | st.binary(max_size=2))
        message = message[:at] + piece + message[at + draw(st.integers(0, 2)) :]
    return message


def h11_events(connection: h11.Connection, stream: bytes, *, eof: bool) -> list[h11.Event]:
    connection.receive_data(stream)
    if eof:
        connection.receive_data(b"")
    events: list[h11.Event] = []
    while not isinstance(event := connection.next_event(), type):
        events.append(event)
        if isinstance(event, h11.EndOfMessage):
            break
    return events


def meaning(event: h11.Event) -> HttpEvent:
    match event:
        case h11.Request():
            return RequestHead(event.method, event.target, list(event.headers), event.http_version)
        case h11.Response():
            return ResponseHead(event.status_code, list(event.headers), event.http_version)
        case h11.Data():
            return Body(bytes(event.data))
        case _:
            return End()


def as_h11_spells(head: RequestHead | ResponseHead) -> Fields:
    """h11 folds the name of the coding."""
    return [
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in head.fields
    ]


@given(stream=spoiled(REQUEST_SEEDS))
@settings(max_examples=400)
def test_h11_reads_every_request_we_read_as_we_do(stream: bytes) -> None:
    reader = RequestReader(Limits())
    try:
        events = reader.feed(stream)
    except HttpError:
        return
    if not events:
        return
    head = events[0]
    assert isinstance(head, RequestHead)
    server = h11.Connection(h11.SERVER)
    # Two liberties we take that h11 does not: RFC 9112 2.2 (empty lines) and 3.2.2 (absolute-form).
    theirs = [meaning(event) for event in h11_events(server, stream.lstrip(b"\r\n"), eof=False)]
    if isinstance(theirs[0], RequestHead) and theirs[0].target.startswith((b"http", b"HTTP")):
        return
    ours = [RequestHead(head.method, head.target, as_h11_spells(head), head.version), *events[1:]]
    assert joined(theirs) == joined(ours)
    if theirs[-1] == End():
        assert reader.keep_alive is (server.their_state is h11.DONE)
        assert server.trailing_data[0] == stream[len(stream) - reader.buffered :]


@given(stream=spoiled(RESPONSE_SEEDS), eof=st.booleans())
@settings(max_examples=400)
def test_h11_reads_every_response_we_read_as_we_do(stream: bytes, *, eof: bool) -> None:
    reader = ResponseReader(Limits())
    try:
        events = reader.feed(stream)
        if eof:
            events += reader.close()
    except HttpError:
        return
    if not events:
        return
    head = events[0]
    assert isinstance(head, ResponseHead)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    found = h11_events(client, stream, eof=eof)
    theirs = [meaning(event) for event in found if not isinstance(event, h11.InformationalResponse)]
    ours = [ResponseHead(head.status, as_h11_spells(head), head.version), *events[1:]]
    assert joined(theirs) == joined(ours)
    if reader.reusable:
        assert client.their_state is h11.DONE


@given(stream=spoiled(REQUEST_SEEDS), cuts=st.lists(st.integers(0, 200), max_size=4))
@settings(max_examples=200)
def test_cuts_never_change_what_is_refused(stream: bytes, cuts: list[int]) -> None:
    def outcome(parts: list[bytes]) -> list[HttpEvent] | None:
        reader = RequestReader(Limits())
        try:
            return joined([event for part in parts for event in reader.feed(part)])
        except HttpError:
            return None

    assert outcome([stream]) == outcome(reads(stream, cuts))
