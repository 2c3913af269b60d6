"""HTTP/2, both sides: bytes to events of many streams, and events to bytes.

Layer: wire. Knows the roles: whose requests there are, and who may open a stream. Knows neither
sockets nor clocks; the time is an argument (seconds, any steady clock).
Spec:  https://www.rfc-editor.org/rfc/rfc9113

    events = side.feed(data, now)     then  send(side.take())
    side.head(...), body, end, ...    then  send(side.take())

Nothing waits here: `body` takes what the windows allow, and the caller comes again with the rest
after the next `feed`. What comes in is acknowledged when the caller has used it (`acknowledge`):
that is the backpressure.
"""

from h2.errors import ErrorCodes
from h2.stream import StreamInputs

from rawproxy.errors import HttpError
from rawproxy.wire.h2 import frames
from rawproxy.wire.h2.events import Events, Http2Error, Refused
from rawproxy.wire.h2.frames import LAST_STREAM, Frame
from rawproxy.wire.h2.heads import (
    Malformed,
    RequestHeads,
    read_response,
    write_request,
    write_response,
)
from rawproxy.wire.h2.side import Side
from rawproxy.wire.h2.stream import MAX_STREAMS, Stream
from rawproxy.wire.http import Alike, Fields, RequestHead
from rawproxy.wire.http1 import MAX_INTERIM, Limits
from rawproxy.wire.terms import BODILESS, FIRST_FINAL, SWITCHING_PROTOCOLS, Terms

__all__ = ["Http2Client", "Http2Error", "Http2Server", "Refused"]

STREAMS_BEFORE_SETTINGS = 100
"""Requests at once on a connection whose server has not said how many it takes: RFC 9113 6.5.2
asks servers for no less."""

_CONTINUE = 100
_STREAM_STEP = 2


class Http2Server(Side):
    """The server's side of one connection.

    Args:
        limits: of each request.
        streams: requests at once. One more is refused: RST_STREAM with REFUSED_STREAM.
        requests: in all, before the connection drains itself.
        now: seconds.

    Attributes:
        draining: the client was told to open no more streams.
    """

    def __init__(self, limits: Limits, *, streams: int, requests: int, now: float) -> None:
        super().__init__(limits, client_side=False, streams=streams, now=now)
        self.draining = False
        self._most_streams = streams
        self._requests = requests
        self._heads = RequestHeads(limits)
        self._taken = 0  # the highest stream that was not refused
        self._last: int | None = None  # what the final GOAWAY has said
        self._drain_ping = b""

    @property
    def done(self) -> bool:
        """Whether the connection can be closed: it is gone, or drained, and no stream is open."""
        return self.gone or (self._last is not None and not self._streams)

    def head(self, stream: int, status: int, fields: Fields, *, end: bool = False) -> None:
        """Send a response's head; harmless when the stream is gone.

        Args:
            stream: of the request.
            status: 100 to 999, but not 101. After one below 200 another head follows.
            fields: names in lower case. What is about an HTTP/1.1 connection is left out.
            end: there is no body.

        Raises:
            HttpError: 500, a part would not be read as what it is; nothing was sent.
        """
        lines = write_response(status, fields)
        one = self._streams.get(stream)
        if one is None or one.ended:
            return
        assert not one.began, "a response has one final head"
        one.began = status >= FIRST_FINAL
        self._say_head(one, lines, end=end)
        if end:
            self._end_ours(one)

    def alike(self, stream: int) -> Alike:
        """Return what a request's head has in common with those before it; a new one where its stream is gone."""
        one = self._streams.get(stream)
        return (one and one.alike) or Alike()

    def drain(self, now: float) -> None:
        """Tell the client to open no more streams; those that are open go on.

        The first GOAWAY names no last stream, for the client may just be opening some. When it has
        answered the PING behind it, or when this is called again, the second one does.

        Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.8
        """
        if self._failure is not None or self._last is not None:
            return
        if self.draining:
            self._finish_drain()
            return
        self.draining = True
        self._requests = self._floods.streams + self._most_streams
        self._say_goaway(LAST_STREAM, ErrorCodes.NO_ERROR)
        self._drain_ping = self._ping(now)

    def _finish_drain(self) -> None:
        self._last = self._taken
        self._say_goaway(self._last, ErrorCodes.NO_ERROR)

    def _on_pong(self, payload: bytes) -> None:
        if payload == self._drain_ping and self._last is None:
            self._finish_drain()

    def _on_goaway(self, frame: Frame, events: Events) -> None:  # noqa: ARG002
        """The client opens no more streams, and answers to those that are open are still read."""
        self._floods.control(self._now)
        self.goaway = _read_goaway(frame.payload)

    def _on_new_head(self, frame: Frame, fields: Fields, events: Events) -> None:
        if self._is_idle(frame.stream) and frame.stream % 2:
            self._open(frame, fields, events)
            return
        reset = self._h2.was_reset(frame.stream)
        if reset is None:
            raise Http2Error("a stream that a client cannot open, or not any more")
        if not reset:
            raise Http2Error("a head for a stream that had ended", ErrorCodes.STREAM_CLOSED)
        self._say_reset(frame.stream, ErrorCodes.STREAM_CLOSED)
        self._floods.reset(self._now)

    def _open(self, frame: Frame, fields: Fields, events: Events) -> None:
        number = frame.stream
        self._floods.streams += 1
        stream = self._streams[number] = Stream(number, self._h2.open(number))
        if self._last is not None or len(self._streams) > self._most_streams:
            self._break_stream(stream, ErrorCodes.REFUSED_STREAM, events)
            return
        self._taken = number
        self._read_request(stream, frame, fields, events)
        if self._floods.streams >= self._requests:
            self.drain(self._now)

    def _read_request(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        ends = bool(frame.flags & frames.END_STREAM)
        try:
            if frame.depends_on == frame.stream:
                raise Malformed("a stream that depends on itself")
            head, terms = self._heads.read(fields)
            if ends and terms.length:
                raise Malformed("a request ends before its length")
        except Malformed:
            self._break_stream(stream, ErrorCodes.PROTOCOL_ERROR, events)
            return
        except HttpError as error:
            self._refuse(stream, error, events)
        else:
            self._take_request(stream, head, terms, events)
            if terms.expects_continue and not ends and not stream.quiet:
                self._say_head(stream, write_response(_CONTINUE, []), end=False)
        if ends:
            self._end_theirs(stream, events)

    def _take_request(
        self, stream: Stream, head: RequestHead, terms: Terms, events: Events
    ) -> None:
        most = self._limits.body_bytes
        stream.given = True
        stream.alike = self._heads.alike
        stream.length = terms.length
        stream.most = most
        events.append((stream.id, head))
        if terms.refusal is not None:
            self._refuse(stream, terms.refusal, events)
        elif terms.length is not None and terms.length > most:
            too_large = HttpError(f"the body has more than {most} bytes", status=413)
            self._refuse(stream, too_large, events)

    def _on_next_head(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        self._on_trailers(stream, frame, fields, events)

    def _note_reset(self, stream: Stream) -> None:
        if not stream.began:
            self._floods.reset(self._now)

    def _is_idle(self, stream: int) -> bool:
        return stream % 2 == 0 or stream > self._h2.highest_inbound_stream_id

    def _is_waiting(self, stream: Stream) -> bool:
        return stream.given and not stream.quiet

    def _end_ours(self, stream: Stream) -> None:
        stream.ended = True
        if stream.peer_ended:
            self._forget(stream)
        else:
            # RFC 9113 8.1: the answer is whole, and the client need not send the rest.
            self._give_up(stream, ErrorCodes.NO_ERROR)

    def _last_taken(self) -> int:
        return self._taken if self._last is None else self._last


class Http2Client(Side):
    """The client's side of one connection.

    Args:
        limits: of each response; `body_bytes` is not looked at.
        now: seconds.
    """

    def __init__(self, limits: Limits, *, now: float) -> None:
        super().__init__(limits, client_side=True, streams=MAX_STREAMS, now=now)
        self._next = 1

    @property
    def usable(self) -> bool:
        """Whether requests may still be opened, now or when others have ended."""
        return self._failure is None and self.goaway is None and self._next <= LAST_STREAM

    @property
    def settled(self) -> bool:
        """Whether the peer's SETTINGS came, which say how many requests it takes at once."""
        return self._settled

    @property
    def room(self) -> int:
        """How many more requests may be opened now; never negative."""
        if not self.usable:
            return 0
        most = STREAMS_BEFORE_SETTINGS
        if self._settled:
            most = min(MAX_STREAMS, self._h2.remote_settings.max_concurrent_streams)
        left = (LAST_STREAM - self._next) // _STREAM_STEP + 1
        return max(0, min(most - len(self._streams), left))

    def request(self, head: RequestHead, scheme: bytes, *, end: bool) -> int:
        """Open a stream with a request; there has to be `room`.

        Args:
            head: its `host` becomes `:authority`. What is about an HTTP/1.1 connection is left out.
            scheme: `http` or `https`.
            end: there is no body.

        Returns:
            The stream's id.

        Raises:
            HttpError: 500, a part would not be read as what it is; nothing was sent.
        """
        assert self.room, "no stream can be opened now"
        lines = write_request(head, scheme)
        number = self._next
        self._next += _STREAM_STEP
        stream = self._streams[number] = Stream(number, self._h2.open(number))
        self._say_head(stream, lines, end=end)
        stream.ended = end
        stream.bodiless = head.method == b"HEAD"
        self._floods.streams += 1
        return number

    def _on_goaway(self, frame: Frame, events: Events) -> None:
        """Streams above the last one were not processed, and can be sent again elsewhere."""
        self._floods.control(self._now)
        self.goaway = _read_goaway(frame.payload)
        last, _ = self.goaway
        for stream in [one for one in self._streams.values() if one.id > last]:
            stream.tell(StreamInputs.SEND_RST_STREAM)  # nobody else: the server has no such stream
            self._forget(stream)
            self._tell_reset(stream, ErrorCodes.REFUSED_STREAM, events)

    def _on_new_head(self, frame: Frame, fields: Fields, events: Events) -> None:  # noqa: ARG002
        if self._is_idle(frame.stream):
            raise Http2Error("a response to no request")
        raise Http2Error("a head for a stream that had ended", ErrorCodes.STREAM_CLOSED)

    def _on_next_head(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        if stream.began:
            self._on_trailers(stream, frame, fields, events)
            return
        try:
            self._read_response(stream, frame, fields, events)
        except Malformed:
            self._break_stream(stream, ErrorCodes.PROTOCOL_ERROR, events)
        except HttpError as error:
            too_much = error.status == 431
            code = ErrorCodes.ENHANCE_YOUR_CALM if too_much else ErrorCodes.PROTOCOL_ERROR
            self._break_stream(stream, code, events)

    def _read_response(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        ends = frame.flags & frames.END_STREAM
        head, length = read_response(fields, self._limits)
        if head.status < FIRST_FINAL:
            stream.interim += 1
            if ends or head.status == SWITCHING_PROTOCOLS or stream.interim > MAX_INTERIM:
                raise Malformed("an interim response that was not asked for")
            return
        stream.began = stream.given = True
        stream.length = 0 if stream.bodiless or head.status in BODILESS else length
        events.append((stream.id, head))
        if ends:
            self._end_theirs(stream, events)

    def _is_idle(self, stream: int) -> bool:
        return stream % 2 == 0 or stream >= self._next

    def _is_waiting(self, stream: Stream) -> bool:
        return not stream.peer_ended

    def _end_ours(self, stream: Stream) -> None:
        stream.ended = True
        if stream.peer_ended:
            self._forget(stream)

    def _last_taken(self) -> int:
        return 0  # servers open no streams


def _read_goaway(payload: bytes) -> tuple[int, int]:
    last = int.from_bytes(payload[:4], "big") & LAST_STREAM
    return last, int.from_bytes(payload[4:8], "big")
