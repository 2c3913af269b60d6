"""HTTP/2, both sides.

Whatever comes: nothing but Http2Error, after which the connection says GOAWAY and nothing else; reads
of any size mean the same, and are answered by the same bytes; what is held stays below the limits, and
so does what is sent for what comes; events keep their order on every stream; our frames keep the rules
of their streams. A request that was accepted and is sent on, over HTTP/1.1 or HTTP/2, is that request.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hpack import Decoder

from fuzz.base import held, pick, pieces, reads, timed
from fuzz.frames import parse
from fuzz.http1 import FRAMING, LIMITS, NO_LIMITS, check_rewritten
from rawproxy.errors import HttpError
from rawproxy.wire.h2 import frames as h2frames
from rawproxy.wire.h2.blocks import BLOCK_FACTOR
from rawproxy.wire.h2.events import Events, Http2Error, Refused
from rawproxy.wire.http import Body, End, RequestHead, Reset, ResponseHead
from rawproxy.wire.http1 import Limits
from rawproxy.wire.http2 import Http2Client, Http2Server

__all__ = ["run_client", "run_server"]

STREAMS = 8
REQUESTS = 40
"""Requests on a connection until it drains itself: few, so that inputs get there."""

CANCEL = 8

HEADER_SLACK = 1024
"""Bytes that a side may hold or send beside what an input pays for: a frame's header, SETTINGS."""

ANSWER = b"a" * 20000
"""More than one frame takes, and less than the first window."""

SENT = [
    RequestHead(b"GET", b"/", [(b"host", b"a")]),
    RequestHead(b"HEAD", b"/", [(b"host", b"a")]),
    RequestHead(b"POST", b"/v1/x", [(b"host", b"a"), (b"content-length", b"30000")]),
]
"""What our client asks for; the server's answers are the input."""

Side = Http2Server | Http2Client


@dataclass
class Exchange:
    """What was given out of one stream."""

    head: RequestHead | ResponseHead | None = None
    body: bytes = b""
    ended: bool = False
    reset: bool = False
    refused: int | None = None


@dataclass
class Story:
    """What was read of a connection, and what was answered; `broken` is the code that ended it."""

    streams: dict[int, Exchange] = field(default_factory=dict)
    sent: bytes = b""
    broken: int | None = None

    def note(self, events: Events, limits: Limits, *, server: bool) -> None:
        """Add the events of one read; they keep their order."""
        for number, event in events:
            one = self.streams.setdefault(number, Exchange())
            assert not one.reset, "something came after a Reset"
            assert isinstance(event, Reset) or one.refused is None, "something came after a refusal"
            assert isinstance(event, Reset) or not one.ended, "something came after the End"
            match event:
                case RequestHead() | ResponseHead():
                    assert one.head is None
                    assert isinstance(event, RequestHead) == server
                    assert len(event.fields) <= limits.head_fields + 1  # `:authority` is no field
                    one.head = event
                case Body(data):
                    assert data, "an empty Body"
                    one.body += data
                    assert one.head is not None
                    assert not server or len(one.body) <= limits.body_bytes
                case End():
                    assert one.head is not None
                    one.ended = True
                case Refused(error):
                    assert server
                    one.refused = error.status
                case Reset():
                    one.reset = True


def run_server(data: bytes) -> None:
    """See the module."""
    limits = pick(data, LIMITS)
    streams = pick(data, (1, STREAMS, STREAMS), 2)

    def side() -> Http2Server:
        return Http2Server(limits, streams=streams, requests=REQUESTS, now=0.0)

    whole = _listen(side(), reads(data), limits, server=True)
    cut = _listen(side(), pieces(data), limits, server=True)
    _same(whole, cut, data)
    assert list(whole.streams) == sorted(whole.streams)
    for one in whole.streams.values():
        if one.ended and isinstance(one.head, RequestHead):
            _check_forwarded(one.head, one.body)
    _serve(side(), pieces(data, 1), limits, data)


def run_client(data: bytes) -> None:
    """See the module."""
    limits = pick(data, LIMITS)

    def side() -> Http2Client:
        client = Http2Client(limits, now=0.0)
        for head in SENT:
            client.request(head, b"https", end=head.method != b"POST")
        return client

    whole = _listen(side(), reads(data), limits, server=False)
    cut = _listen(side(), pieces(data), limits, server=False)
    _same(whole, cut, data)
    for one in whole.streams.values():
        if one.ended:
            assert isinstance(one.head, ResponseHead)
            assert 200 <= one.head.status <= 999
    _ask(side(), pieces(data, 1), limits, data)


def _listen(side: Side, parts: Sequence[bytes], limits: Limits, *, server: bool) -> Story:
    """Feed a side that nobody answers for: then what it says depends on the input alone."""
    story = Story()
    story.sent += side.take()
    for part in parts:
        _feed(side, part, 0.0, story, limits, server=server)
        if story.broken is not None:
            break
    return story


def _feed(
    side: Side, part: bytes, now: float, story: Story, limits: Limits, *, server: bool
) -> Events:
    try:
        events = timed(side.feed, part, now)
    except Http2Error as error:
        events, story.broken = error.events, error.code
    story.note(events, limits, server=server)
    story.sent += side.take()
    most = BLOCK_FACTOR * limits.head_bytes + h2frames.MAX_FRAME
    assert held(side) <= most + len(part) + HEADER_SLACK
    if story.broken is not None:
        _check_broken(side, now)
    return events


def _check_broken(side: Side, now: float) -> None:
    """After an error no byte is read any more, nothing is sent, and late answers are harmless."""
    try:
        side.feed(b"\0" * 9, now)
    except Http2Error as error:
        assert not error.events
    else:
        raise AssertionError("an error did not end the connection")
    assert side.gone
    assert not side.open
    for stream in (1, 2, 3, 99):
        if isinstance(side, Http2Server):
            side.head(stream, 200, [])
        assert side.body(stream, b"x") == 1
        side.acknowledge(stream, 1)
        side.reset(stream, CANCEL)
        side.end(stream)
    if isinstance(side, Http2Server):
        side.drain(now)
        assert side.done
    else:
        assert not side.room
    assert side.take() == b""


def _same(whole: Story, cut: Story, data: bytes) -> None:
    assert whole.broken == cut.broken
    assert whole.streams == cut.streams
    assert whole.sent == cut.sent
    assert len(whole.sent) <= 2 * len(data) + HEADER_SLACK, (
        "a peer is answered with more than it sent"
    )
    _check_sent(whole.sent, broken=whole.broken is not None)


# -- with answers


class _Answers:
    """Bodies that wait for room."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._left: dict[int, bytes] = {}

    def begin(self, stream: int, body: bytes) -> None:
        self._left.setdefault(stream, body)

    def send(self) -> None:
        """Send what there is room for; end what is whole."""
        for stream, body in list(self._left.items()):
            taken = timed(self._side.body, stream, body)
            assert 0 <= taken <= len(body)
            self._left[stream] = body[taken:]
            if taken == len(body):
                del self._left[stream]
                self._side.end(stream)


def _serve(side: Http2Server, parts: Sequence[bytes], limits: Limits, data: bytes) -> None:
    """Answer as a server does, in one of its ways."""
    early, gives_up = pick(data, (True, False), 3), pick(data, (True, False, False), 4)
    drains_at = pick(data, (0, 1, 5, 1000), 5)
    answers, story = _Answers(side), Story(sent=side.take())
    began = set[int]()

    def act(number: int, event: object) -> None:
        if isinstance(event, Body):
            side.acknowledge(number, len(event.data))
        elif (isinstance(event, Refused) and number in began) or (
            gives_up and isinstance(event, RequestHead) and number % 4 == 3
        ):
            side.reset(number, CANCEL)
        elif isinstance(event, Refused):
            side.head(number, event.error.status, [(b"x", b"y")], end=True)
        elif isinstance(event, RequestHead) if early else isinstance(event, End):
            began.add(number)
            side.head(number, 103, [])
            side.head(number, 200, [(b"content-type", b"text/plain"), (b"set-cookie", b"a=b")])
            answers.begin(number, ANSWER)

    _talk(side, parts, limits, story, answers, act, drains_at)


def _ask(side: Http2Client, parts: Sequence[bytes], limits: Limits, data: bytes) -> None:
    """Use the answers as a client does, and ask for more where there is room."""
    gives_up = pick(data, (True, False, False), 4)
    answers, story = _Answers(side), Story(sent=side.take())
    answers.begin(2 * len(SENT) - 1, b"b" * 30000)

    def act(number: int, event: object) -> None:
        if isinstance(event, Body):
            side.acknowledge(number, len(event.data))
            if gives_up:
                side.reset(number, CANCEL)
        elif isinstance(event, End | Reset) and side.room:
            side.request(SENT[0], b"https", end=True)

    _talk(side, parts, limits, story, answers, act, None)


def _talk(
    side: Side, parts: Sequence[bytes], limits: Limits, story: Story, answers: _Answers,
    act: Callable[[int, object], None], drains_at: int | None,
) -> None:  # fmt: skip
    server = isinstance(side, Http2Server)
    for at, part in enumerate(parts):
        now = at / 10
        for number, event in _feed(side, part, now, story, limits, server=server):
            act(number, event)
        if story.broken is not None:
            break
        if at == drains_at and isinstance(side, Http2Server):
            side.drain(now)
        if at % 10 == 9:
            side.ping(now)
        answers.send()
        assert side.open <= STREAMS or not server
        story.sent += side.take()
    story.sent += side.take()
    _check_sent(story.sent, broken=story.broken is not None)


# -- what we send


def _check_sent(sent: bytes, *, broken: bool) -> None:
    """Our frames are whole, come in an order that is allowed, and can be read by anybody."""
    frames, rest = parse(sent.removeprefix(h2frames.PREFACE))
    assert rest == b""
    assert frames[0][0] == h2frames.SETTINGS
    decoder, over, began = Decoder(), set[int](), set[int]()
    last = h2frames.LAST_STREAM
    for kind, flags, stream, payload in frames:
        assert len(payload) <= h2frames.MAX_FRAME
        if kind in (h2frames.HEADERS, h2frames.DATA):
            assert stream not in over, "a frame on a stream that we have ended"
            assert kind == h2frames.HEADERS or stream in began, "DATA before a head"
            began.add(stream)
            if kind == h2frames.HEADERS:
                assert flags & h2frames.END_HEADERS
                decoder.decode(payload, raw=True)
            if flags & h2frames.END_STREAM:
                over.add(stream)
        elif kind == h2frames.RST_STREAM:
            over.add(stream)
        elif kind == h2frames.WINDOW_UPDATE:
            assert 0 < int.from_bytes(payload) <= h2frames.LAST_STREAM
        elif kind == h2frames.GOAWAY:
            told = int.from_bytes(payload[:4])
            assert told <= last, "a stream that was given up is taken after all"
            last = told
    assert not broken or frames[-1][0] == h2frames.GOAWAY


def _check_forwarded(head: RequestHead, body: bytes) -> None:
    """A request that was accepted goes on as itself."""
    if not any(name == b"host" for name, _ in head.fields):
        return
    check_rewritten(head, body)
    client, server = (
        Http2Client(NO_LIMITS, now=0.0),
        Http2Server(NO_LIMITS, streams=1, requests=9, now=0.0),
    )
    try:
        number = client.request(head, b"https", end=True)
    except HttpError as error:
        raise AssertionError("a request that was accepted cannot be sent on") from error
    if any(name in FRAMING for name, _ in head.fields) and body:
        return  # the body that was announced is not sent here
    events = server.feed(client.take(), 0.0)
    assert [event for one, event in events if one == number and isinstance(event, RequestHead)]
    read = events[0][1]
    assert isinstance(read, RequestHead)
    assert (read.method, read.target) == (head.method, head.target)
    assert sorted(read.fields) == sorted(one for one in head.fields if one[0] != b"te")
