"""One side of an HTTP/2 connection: what a server and a client have in common.

Layer: wire. Knows frames, streams and windows, and when a stream or the connection is broken.
Knows neither sockets nor clocks. `http2` makes a server and a client of it.
Spec:  https://www.rfc-editor.org/rfc/rfc9113

h2 keeps the states of streams and the settings. It is never shown anything that it would answer
with the end of the whole connection where RFC 9113 asks for less, or that it would keep without
limit, so a frame goes one of three ways:

    SETTINGS                       checked here, then h2: of those only that exist
    HEADERS, RST_STREAM, and       checked and read here; h2 is told what it means for the stream
      what ends a stream
    DATA, WINDOW_UPDATE, PING,     here: they are most of all frames, and need nothing but numbers
      GOAWAY, PRIORITY, unknown

A stream that is gone is one of three things, and what still comes for it is treated accordingly:
idle (never opened: an error of the connection), reset by us (the peer may not know yet: dropped),
or ended by the peer itself (an error of the connection).

Windows: a stream takes STREAM_WINDOW bytes that were not acknowledged, and a connection that many
for each stream it may have, but never more than MAX_CONNECTION_WINDOW: so up to 256 streams whose
readers stand still cannot starve another one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.stream import StreamInputs

from rawproxy.errors import HttpError
from rawproxy.wire.h2 import frames
from rawproxy.wire.h2.blocks import BLOCK_FACTOR, BlockDecoder, write_block
from rawproxy.wire.h2.events import Events, Http2Error, Refused
from rawproxy.wire.h2.floods import Floods
from rawproxy.wire.h2.frames import (
    MAX_FRAME,
    Frame,
    Guard,
    frame_header,
    write_frame,
    write_head,
)
from rawproxy.wire.h2.heads import Malformed, check_trailers
from rawproxy.wire.h2.machine import Machine, known_settings
from rawproxy.wire.h2.stream import MAX_CONNECTION_WINDOW, STREAM_WINDOW, Stream
from rawproxy.wire.http import Body, End, Fields, Reset
from rawproxy.wire.http1 import Limits

__all__ = ["Side"]

_DEFAULT_WINDOW = 65535
_MAX_WINDOW = 2**31 - 1

_STRAYS = 1024
"""Streams reset by us that are remembered. A peer that has not heard of so many is not listening."""

_SMALL = 64
"""Bytes: DATA below it for such a stream is a control frame, too. Its window bounds larger ones."""

_ALL_READ = End()


class Side(ABC):
    """One side of a connection; see `Http2Server` and `Http2Client`.

    Args:
        limits: of each message.
        client_side: whether requests are sent here, or come.
        streams: at once, 1 or more; they size the window of the connection.
        now: seconds, on any steady clock.

    Attributes:
        goaway: the last stream that the peer has taken, and its reason, once it has said GOAWAY.
    """

    def __init__(self, limits: Limits, *, client_side: bool, streams: int, now: float) -> None:
        self.goaway: tuple[int, int] | None = None
        self._limits = limits
        self._now = now
        self._floods = Floods(now)
        preface = b"" if client_side else frames.PREFACE
        self._guard = Guard(BLOCK_FACTOR * limits.head_bytes, preface)
        self._decoder = BlockDecoder(limits.head_bytes)
        self._streams: dict[int, Stream] = {}
        self._strays: dict[int, int] = {}  # bytes that may still come for streams reset by us
        self._settled = False  # the peer's first SETTINGS has come
        self._pings: dict[bytes, float] = {}
        self._pinged = 0
        self._failure: Http2Error | None = None
        self._out: list[bytes] = []
        self._most = min(streams * STREAM_WINDOW, MAX_CONNECTION_WINDOW)
        self._window = self._most  # bytes that the peer may still send
        self._credit = 0  # bytes acknowledged for which no WINDOW_UPDATE has been sent
        self._h2 = Machine(limits, client_side=client_side, streams=streams)
        self._sync()
        self._open_window(0, self._most - _DEFAULT_WINDOW)
        self._handlers: dict[int, Callable[[Frame, Events], None]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_reset,
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.UNKNOWN: self._on_unknown,
        }

    @property
    def open(self) -> int:
        """How many streams are open for either side."""
        return len(self._streams)

    @property
    def gone(self) -> bool:
        """Whether nothing more can come: it broke, or the peer said GOAWAY and all streams ended."""
        return self._failure is not None or (self.goaway is not None and not self._streams)

    @property
    def unfinished(self) -> int | None:
        """Which frame or header block has begun and is not whole, by its place: the peer is in debt."""
        return self._guard.unfinished

    @property
    def waiting_for_pong(self) -> float | None:
        """When the oldest PING was sent that was not answered; None when there is none."""
        return next(iter(self._pings.values()), None)

    def feed(self, data: bytes, now: float) -> Events:
        """Return what `data` completes. Something may have to be sent after it: see `take`.

        Raises:
            Http2Error: the connection is broken, and every stream with it. Its `events` came before
                that. Each further call raises it too, without events.
        """
        if self._failure is not None:
            raise Http2Error(self._failure.reason, self._failure.code)
        self._now = now
        events: Events = []
        try:
            for frame in self._guard.cut(data):
                self._handlers[frame.kind](frame, events)
        except Http2Error as error:
            self._break(error)
            error.events = events
            raise
        except ProtocolError as error:
            # h2's own words may quote a field. What it has written is a GOAWAY that may name
            # streams which were refused after a drain: ours goes out instead.
            self._h2.clear_outbound_data_buffer()
            broken = Http2Error(f"a rule was broken ({type(error).__name__})", error.error_code)
            self._break(broken)
            broken.events = events
            raise broken from None
        return events

    def take(self) -> bytes:
        """Return what has to be sent now; b"" for nothing. Ask after every other call."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def body(self, stream: int, data: bytes) -> int:
        """Send as much of `data` as the windows allow, in frames of at most 16 KiB.

        Returns:
            The bytes taken: 0 when there is no room, until the peer makes some. A stream that is
            gone takes everything, and nobody will see it.
        """
        one = self._streams.get(stream)
        if one is None or one.ended:
            return len(data)
        room = min(
            len(data), one.h2.outbound_flow_control_window, self._h2.outbound_flow_control_window
        )
        if room <= 0:
            return 0
        out = self._out
        for start in range(0, room, MAX_FRAME):
            piece = data[start : min(start + MAX_FRAME, room)]
            out += (frame_header(frames.DATA, 0, stream, len(piece)), piece)
            self._floods.data_sent += 1
        # h2 would take ten times as long to come to the same.
        one.h2.outbound_flow_control_window -= room
        self._h2.outbound_flow_control_window -= room
        return room

    def end(self, stream: int) -> None:
        """End what we send on a stream; harmless when it is gone or has ended."""
        one = self._streams.get(stream)
        if one is None or one.ended:
            return
        one.tell(StreamInputs.SEND_END_STREAM)
        self._out.append(frame_header(frames.DATA, frames.END_STREAM, stream, 0))
        self._end_ours(one)

    def reset(self, stream: int, code: int) -> None:
        """Give a stream up, with an error code of RFC 9113 7; harmless when it is gone."""
        one = self._streams.get(stream)
        if one is not None:
            self._give_up(one, code)

    def acknowledge(self, stream: int, size: int) -> None:
        """Say that `size` bytes of a body were used, so that the peer may send as many more."""
        one = self._streams.get(stream)
        if one is None:
            return  # when it went, all of its bytes were acknowledged
        size = min(size, one.unused)
        one.unused -= size
        self._restore(one, size)

    def ping(self, now: float) -> None:
        """Ask the peer for a sign of life; see `waiting_for_pong`."""
        self._ping(now)

    # What the two sides do differently.

    @abstractmethod
    def _on_new_head(self, frame: Frame, fields: Fields, events: Events) -> None:
        """Take a head for a stream that is not open."""

    @abstractmethod
    def _on_next_head(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        """Take a head for a stream that is open."""

    @abstractmethod
    def _on_goaway(self, frame: Frame, events: Events) -> None:
        """Learn that the peer takes no more streams."""

    @abstractmethod
    def _is_idle(self, stream: int) -> bool:
        """Whether a stream was never opened."""

    @abstractmethod
    def _end_ours(self, stream: Stream) -> None:
        """Note that all was sent on a stream."""

    @abstractmethod
    def _is_waiting(self, stream: Stream) -> bool:
        """Whether the caller has to be told when this stream is reset."""

    @abstractmethod
    def _last_taken(self) -> int:
        """Return the highest stream of the peer's that we took up."""

    def _note_reset(self, stream: Stream) -> None:  # noqa: B027
        """Learn that the peer has given up a stream."""

    def _on_pong(self, payload: bytes) -> None:  # noqa: B027
        """Learn that a PING of ours was answered."""

    # Frames.

    def _on_data(self, frame: Frame, events: Events) -> None:
        size, data = frame.size, frame.payload
        self._window -= size
        if self._window < 0:
            raise Http2Error("the connection's window was overrun", ErrorCodes.FLOW_CONTROL_ERROR)
        stream = self._streams.get(frame.stream)
        if stream is None:
            self._drop_data(frame)
            return
        stream.window -= size
        ends = frame.flags & frames.END_STREAM
        if data or ends:
            self._floods.filled()
        else:
            self._floods.empty()
        code = self._fault_of_data(stream, len(data))
        if code is not None:
            self._restore_connection(size)
            self._break_stream(stream, code, events)
            return
        if size > len(data):
            self._restore(stream, size - len(data))
        if stream.quiet:
            self._restore_connection(len(data))
        elif data:
            self._take_data(stream, data, events)
        if ends:
            self._end_theirs(stream, events)

    def _fault_of_data(self, stream: Stream, size: int) -> ErrorCodes | None:
        if stream.peer_ended:
            return ErrorCodes.STREAM_CLOSED
        if stream.window < 0:
            return ErrorCodes.FLOW_CONTROL_ERROR
        if not stream.given or (stream.length is not None and stream.size + size > stream.length):
            return None if stream.quiet else ErrorCodes.PROTOCOL_ERROR
        return None

    def _take_data(self, stream: Stream, data: bytes, events: Events) -> None:
        stream.size += len(data)
        stream.unused += len(data)
        if stream.size > stream.most:
            too_large = HttpError(f"the body has more than {stream.most} bytes", status=413)
            self._refuse(stream, too_large, events)
        else:
            events.append((stream.id, Body(data)))

    def _drop_data(self, frame: Frame) -> None:
        """Take DATA for a stream that is gone."""
        if self._is_idle(frame.stream):
            raise Http2Error("DATA for a stream that was never opened")
        left = self._strays.get(frame.stream)
        if left is None:
            raise Http2Error("DATA for a stream that had ended", ErrorCodes.STREAM_CLOSED)
        if frame.size < _SMALL:
            self._floods.control(self._now)
        left -= frame.size
        if left < 0:
            raise Http2Error("too much DATA after a reset", ErrorCodes.ENHANCE_YOUR_CALM)
        self._strays[frame.stream] = left
        self._restore_connection(frame.size)

    def _on_headers(self, frame: Frame, events: Events) -> None:
        fields = self._decoder.decode(frame.payload)
        stream = self._streams.get(frame.stream)
        if stream is None:
            if frame.stream in self._strays:
                self._floods.control(self._now)
            else:
                self._on_new_head(frame, fields, events)
        elif stream.peer_ended:
            self._break_stream(stream, ErrorCodes.STREAM_CLOSED, events)
        elif frame.depends_on == frame.stream:
            self._break_stream(stream, ErrorCodes.PROTOCOL_ERROR, events)
        else:
            self._on_next_head(stream, frame, fields, events)

    def _on_trailers(self, stream: Stream, frame: Frame, fields: Fields, events: Events) -> None:
        try:
            check_trailers(fields, self._limits)
            if not frame.flags & frames.END_STREAM:
                raise Malformed("trailers that do not end the stream")
        except (Malformed, HttpError):
            self._break_stream(stream, ErrorCodes.PROTOCOL_ERROR, events)
        else:
            self._end_theirs(stream, events)

    def _on_priority(self, frame: Frame, events: Events) -> None:
        self._floods.priority()
        if len(frame.payload) != frames.PRIORITY_BYTES:
            self._blame(frame.stream, ErrorCodes.FRAME_SIZE_ERROR, events)
        elif _number(frame.payload[:4]) == frame.stream:
            self._blame(frame.stream, ErrorCodes.PROTOCOL_ERROR, events)

    def _on_reset(self, frame: Frame, events: Events) -> None:
        stream = self._streams.get(frame.stream)
        if stream is None:
            if self._is_idle(frame.stream):
                raise Http2Error("RST_STREAM for a stream that was never opened")
            self._floods.control(self._now)
            return
        self._note_reset(stream)
        stream.tell(StreamInputs.RECV_RST_STREAM)
        self._forget(stream)
        self._tell_reset(stream, int.from_bytes(frame.payload, "big"), events)

    def _on_settings(self, frame: Frame, events: Events) -> None:  # noqa: ARG002
        self._floods.control(self._now)
        if not frame.flags & frames.ACK:
            payload = known_settings(frame.payload)
            self._h2.receive_data(write_frame(frames.SETTINGS, 0, 0, payload))
            self._sync()
            self._settled = True

    def _on_ping(self, frame: Frame, events: Events) -> None:  # noqa: ARG002
        self._floods.control(self._now)
        if frame.flags & frames.ACK:
            if self._pings.pop(frame.payload, None) is not None:
                self._on_pong(frame.payload)
        else:
            self._out.append(write_frame(frames.PING, frames.ACK, 0, frame.payload))

    def _on_window_update(self, frame: Frame, events: Events) -> None:
        self._floods.window_update()
        increment = _number(frame.payload)
        stream = self._streams.get(frame.stream)
        if not frame.stream:
            window = self._h2.outbound_flow_control_window + increment
            if window > _MAX_WINDOW:
                raise Http2Error("a window is too large", ErrorCodes.FLOW_CONTROL_ERROR)
            if not increment:
                raise Http2Error("a window that grows by nothing")
            self._h2.outbound_flow_control_window = window
        elif stream is None or not increment:
            if self._is_idle(frame.stream) or not increment:
                self._blame(frame.stream, ErrorCodes.PROTOCOL_ERROR, events)
        else:
            window = stream.h2.outbound_flow_control_window + increment
            if window > _MAX_WINDOW:
                self._break_stream(stream, ErrorCodes.FLOW_CONTROL_ERROR, events)
            else:
                stream.h2.outbound_flow_control_window = window

    def _on_unknown(self, frame: Frame, events: Events) -> None:  # noqa: ARG002
        self._floods.control(self._now)

    # Streams.

    def _end_theirs(self, stream: Stream, events: Events) -> None:
        """Take END_STREAM."""
        if not stream.quiet and stream.length is not None and stream.size != stream.length:
            self._break_stream(stream, ErrorCodes.PROTOCOL_ERROR, events)
            return
        stream.tell(StreamInputs.RECV_END_STREAM)
        stream.peer_ended = True
        if not stream.quiet:
            events.append((stream.id, _ALL_READ))
        if stream.ended:
            self._forget(stream)

    def _refuse(self, stream: Stream, error: HttpError, events: Events) -> None:
        """Give out that a request is refused; what else comes of it is dropped."""
        stream.quiet = True
        self._restore_connection(stream.unused)
        stream.unused = 0
        events.append((stream.id, Refused(error)))

    def _blame(self, stream: int, code: ErrorCodes, events: Events) -> None:
        """End a stream because of a frame that is wrong by itself; one that is gone is no matter.

        Nothing can be said on a stream that was never opened, so there it is the connection.
        """
        one = self._streams.get(stream)
        if one is not None:
            self._break_stream(one, code, events)
        elif self._is_idle(stream):
            raise Http2Error("a wrong frame for a stream that was never opened", code)
        else:
            self._floods.control(self._now)

    def _break_stream(self, stream: Stream, code: ErrorCodes, events: Events) -> None:
        """Reset a stream because the peer broke a rule on it."""
        self._floods.reset(self._now)
        self._give_up(stream, code)
        self._tell_reset(stream, code, events)

    def _give_up(self, stream: Stream, code: int) -> None:
        stream.tell(StreamInputs.SEND_RST_STREAM)
        self._say_reset(stream.id, code)
        self._forget(stream)
        if not stream.peer_ended:
            self._strays[stream.id] = max(0, stream.window)
            if len(self._strays) > _STRAYS:
                del self._strays[next(iter(self._strays))]

    def _tell_reset(self, stream: Stream, code: int, events: Events) -> None:
        if self._is_waiting(stream):
            events.append((stream.id, Reset(int(code))))

    def _forget(self, stream: Stream) -> None:
        del self._streams[stream.id]
        self._h2.forget(stream.id)
        self._restore_connection(stream.unused)

    # The connection.

    def _break(self, error: Http2Error) -> None:
        self._failure = error
        self._streams.clear()
        self._say_goaway(self._last_taken(), error.code)

    def _say_goaway(self, last: int, code: int) -> None:
        # h2's close_connection() would end every stream with it: after it h2 sends nothing more.
        payload = last.to_bytes(4, "big") + code.to_bytes(4, "big")
        self._out.append(write_frame(frames.GOAWAY, 0, 0, payload))

    def _ping(self, now: float) -> bytes:
        self._pinged += 1
        payload = self._pinged.to_bytes(8, "big")
        self._pings[payload] = now
        self._out.append(write_frame(frames.PING, 0, 0, payload))
        return payload

    def _restore(self, stream: Stream, size: int) -> None:
        """Open both windows by `size` bytes, once it is half of a window."""
        self._restore_connection(size)
        if stream.peer_ended:
            return
        stream.credit += size
        if stream.credit >= STREAM_WINDOW // 2:
            self._open_window(stream.id, stream.credit)
            stream.window += stream.credit
            stream.credit = 0

    def _restore_connection(self, size: int) -> None:
        self._credit += size
        if self._credit >= self._most // 2:
            self._open_window(0, self._credit)
            self._window += self._credit
            self._credit = 0

    def _open_window(self, stream: int, size: int) -> None:
        self._out.append(write_frame(frames.WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big")))

    def _say_head(self, stream: Stream, fields: Fields, *, end: bool) -> None:
        if end:
            stream.tell(StreamInputs.SEND_END_STREAM)
        # h2's encoder has one thing to say: that the peer wants a smaller table than it had.
        block = self._h2.encoder.encode([]) + write_block(fields)
        self._out.append(write_head(stream.id, block, end=end))

    def _say_reset(self, stream: int, code: int) -> None:
        self._out.append(write_frame(frames.RST_STREAM, 0, stream, code.to_bytes(4, "big")))

    def _sync(self) -> None:
        """Take over what h2 has written. After every call of h2's that writes, so that the order is kept."""
        self._out.append(self._h2.data_to_send())


def _number(payload: bytes) -> int:
    """Return the 31 bits of a window's increment or a stream's id."""
    return int.from_bytes(payload, "big") & _MAX_WINDOW
