"""One HTTP/2 connection's bytes, shared by its streams: what came is handed out, what waits goes round.

Layer: net. `wire.http2` decides, this file moves. A `Lane` is one stream as its exchange sees it: a body
that comes and an `Out` that takes. Backpressure is the windows: what came is acknowledged only when
its reader comes back for more, and what the peer has no window for waits in its lane, where the
exchange waits for it.
"""

import math
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import trio

from rawproxy.errors import HttpError
from rawproxy.net.conn import Conn, joined, rest_of
from rawproxy.net.pump import Taker
from rawproxy.wire.http import Body, End, HttpEvent, RequestHead, Reset, ResponseHead
from rawproxy.wire.http2 import Http2Client, Http2Server, Refused

__all__ = [
    "CANCEL",
    "INTERNAL_ERROR",
    "LOST",
    "NO_ERROR",
    "REFUSED_STREAM",
    "Lane",
    "LaneReset",
    "Mux",
]

QUEUED_BYTES = 65536
"""Bytes of all streams that may wait for the kernel. More would only wait there and not in their lanes,
where each stream is held to its own clock."""

SLICE_BYTES = 4096
"""Bytes of one read that are looked at before others have their turn: hundreds of frames at worst."""

TURN_BYTES = 16384
"""Bytes of one stream that go out before it is the next one's turn: a frame."""

# RFC 9113 section 7.
NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0x0, 0x2, 0x7, 0x8

LOST = -1
"""In place of a code: it was the connection that ended."""


class LaneReset(Exception):
    """The peer gave the stream up, or the connection ended before it was whole.

    Attributes:
        code: what the peer said (RFC 9113 section 7), or LOST.
    """

    def __init__(self, code: int) -> None:
        super().__init__(f"reset with code {code}")
        self.code = code


def _wake(lot: trio.lowlevel.ParkingLot) -> None:
    """Wake who waits there. To wake nobody takes eight times as long as to look."""
    if lot:
        lot.unpark_all()


class Lane:
    """One stream of a connection.

    Attributes:
        number: the stream's identifier.
        head: of the response, once it has come.
        whole: the peer has ended its side.
        code: why the stream is no more; None as long as it is.
        on_lost: is called when the stream is no more.
        on_news: is called each time that something came, and when the stream is no more.
        queued: it waits for its turn.
        refusal: what the wire found wrong with the request; nothing more comes of it.
    """

    __slots__ = (
        "_arrived", "_ended", "_ending", "_moved", "_mux", "_news", "_unacknowledged", "_waits", "code",
        "head", "number", "on_lost", "on_news", "queued", "refusal", "whole",
    )  # fmt: skip

    def __init__(self, mux: "Mux", number: int) -> None:
        self._mux = mux
        self.number = number
        self._waits: bytes | memoryview = b""
        self._ending = False  # our END_STREAM follows what waits
        self._ended = False  # ... and has followed
        self._arrived: list[bytes] = []
        self._unacknowledged = 0
        self._news = trio.lowlevel.ParkingLot()
        self._moved = trio.lowlevel.ParkingLot()
        self.head: ResponseHead | None = None
        self.on_lost: Callable[[], None] | None = None
        self.on_news: Taker | None = None
        self.queued = False
        self.whole = False
        self.code: int | None = None
        self.refusal: HttpError | None = None

    # -- what comes

    async def receive(self, until: float = math.inf) -> bytes:
        """Return the bytes of the body that came; b"" at its end.

        To ask again is to have used what was returned before: only then the peer may send as much anew.

        Raises:
            LaneReset: it will not become whole.
            HttpError: the wire refused the request.
            trio.TooSlowError: nothing came until then.
        """
        self.used()
        while (data := self.receive_now()) is None:
            with trio.fail_at(until):
                await self._news.park()
        return data

    def receive_now(self) -> bytes | None:
        """Return the bytes of the body that came; None where nothing did. Else as `receive`."""
        if self._arrived:
            data = b"".join(self._arrived)
            self._arrived.clear()
            self._unacknowledged += len(data)
            return data
        if self.refusal is not None:
            raise self.refusal
        if self.whole:
            return b""
        if self.code is not None:
            raise LaneReset(self.code)
        return None

    def used(self) -> None:
        """Let the peer send as much anew as was returned."""
        if self._unacknowledged:
            self._mux.acknowledge(self.number, self._unacknowledged)
            self._unacknowledged = 0

    @property
    def at_end(self) -> bool:
        """Whether all of the body was received."""
        return self.whole and not self._arrived

    async def news(self) -> None:
        """Return when something came, or the stream is no more."""
        await self._news.park()

    def on(self, event: HttpEvent | Refused) -> None:
        """Take what came."""
        match event:
            case Body(data=data):
                self._arrived.append(data)
            case End():
                self.whole = True
            case Reset(code=code):
                self.lose(code)
            case Refused(error=error):
                self.refusal = error
            case ResponseHead():
                self.head = event
            case RequestHead():
                raise AssertionError("a request has a lane of its own")
        self._tell()

    def _tell(self) -> None:
        _wake(self._news)
        if self.on_news is not None and (then := self.on_news()) is not None:
            then(self._mux.heard_at)

    def lose(self, code: int) -> None:
        """Learn that the stream is no more."""
        if self.code is None:
            self.code = code
            if self.on_lost is not None:
                self.on_lost()
        self._waits = b""
        self._tell()
        _wake(self._moved)

    # -- what goes

    @property
    def pending(self) -> int:
        """Bytes for which there was no window, or no room; our end counts as one of them."""
        return len(self._waits) + (self._ending and not self._ended and self.code is None)

    @property
    def finished(self) -> bool:
        """Whether our side has ended."""
        return self._ended

    def finish(self) -> None:
        """End our side after what waits, with the next `send_now`."""
        self._ending = True

    def send_now(self, data: bytes) -> bool:
        """Send `data` as far as windows and kernel take it now; False when some of it waits.

        Raises:
            OSError: the stream is no more.
        """
        if self.code is not None:
            raise BrokenPipeError("the stream was reset")
        self._waits = joined(self._waits, data)
        self._mux.push(self)
        return not self.pending

    def hold(self, data: bytes) -> None:
        """Let `data` wait for the next `send_now`."""
        self._waits = joined(self._waits, data)

    async def flush_some(self) -> bool:
        """Wait until some of what waits has gone; False when some still waits. OSError."""
        if self.pending:
            await self._moved.park()
        if self.code is not None:
            raise BrokenPipeError("the stream was reset")
        return not self.pending

    def abort(self) -> None:
        """Give the stream up: what was sent must not look whole."""
        self._mux.reset(self, INTERNAL_ERROR)

    def turn(self, wire: Http2Client | Http2Server) -> int:
        """Give one turn's bytes to `wire`, and the end after the last; return how many it took."""
        took = wire.body(self.number, bytes(self._waits[:TURN_BYTES])) if self._waits else 0
        if took:
            self._waits = rest_of(self._waits, took)
        if self._ending and not self._waits and not self._ended:
            self._ended = True
            wire.end(self.number)
        if took or self._ended:
            _wake(self._moved)
        return took


class Mux:
    """One HTTP/2 connection and its lanes.

    Args:
        conn: the connection, after its TLS handshake.
        wire: our side's HTTP/2.
        begin: takes what begins a stream: a request's head, or what is wrong with it.
        write_seconds: how long the peer may take none of what waits for it.

    Attributes:
        lanes: by stream identifier; whoever opened one forgets it.
        heard_at: when something came last.
    """

    def __init__(
        self,
        conn: Conn,
        wire: Http2Client | Http2Server,
        begin: Callable[[int, RequestHead | Refused], None],
        write_seconds: float,
    ) -> None:
        self.conn = conn
        self._wire = wire
        self._begin = begin
        self._write_seconds = write_seconds
        self.lanes: dict[int, Lane] = {}
        self._queue: deque[Lane] = deque()  # lanes that have something to send, in turn
        self._blocked: list[Lane] = []  # lanes for whose bytes there is no window
        self._stuck = trio.lowlevel.ParkingLot()
        self._put_off = False  # what the wire has to say is sent with what else is ready now
        self._unsent = 0  # bytes of bodies in that
        self.heard_at = trio.current_time()

    def open(self, number: int) -> Lane:
        """Return a new lane for a stream."""
        lane = self.lanes[number] = Lane(self, number)
        return lane

    def forget(self, lane: Lane, code: int) -> None:
        """Let go of a lane; a stream that is not over on both sides is reset with `code`."""
        self.lanes.pop(lane.number, None)
        if lane.code is None and not (lane.whole and lane.finished):
            self._wire.reset(lane.number, code)
            self.flush()
        lane.lose(code)

    def lose(self) -> None:
        """Learn that the connection has ended."""
        for lane in tuple(self.lanes.values()):
            lane.lose(LOST)

    async def read(self, until: float = math.inf) -> bool:
        """Read once and hand out what came; False at the end of the bytes.

        Raises:
            OSError, WireError: the connection broke; what the peer should know has been sent.
            trio.TooSlowError: nothing came until then.
        """
        data = await self.conn.receive(until)
        if not data:
            return False
        self.heard_at = trio.current_time()
        for at in range(0, len(data), SLICE_BYTES):
            if at:
                await trio.lowlevel.checkpoint()
            self._take_in(data[at : at + SLICE_BYTES])
        return True

    def _take_in(self, data: bytes) -> None:
        with self.conn.together():
            try:
                for number, event in self._wire.feed(data, self.heard_at):
                    self._hand_out(number, event)
            finally:
                self._queue.extend(self._blocked)
                self._blocked.clear()
                self.go_round()

    def _hand_out(self, number: int, event: HttpEvent | Refused) -> None:
        lane = self.lanes.get(number)
        if lane is not None:
            lane.on(event)
        elif isinstance(event, RequestHead | Refused):
            self._begin(number, event)
        elif isinstance(event, Body):
            self._wire.acknowledge(number, len(event.data))  # nobody is there to read it

    async def write(self) -> None:
        """Hand the kernel what it did not take at once, until cancelled.

        Raises:
            OSError: the connection broke, or its peer took nothing for `write_seconds`.
        """
        while True:
            while not self.conn.pending:
                await self._stuck.park()
            before = self.conn.pending
            with trio.move_on_after(self._write_seconds) as scope:
                await self.conn.flush_some()
            if scope.cancelled_caught and self.conn.pending >= before:
                raise TimeoutError("the peer reads nothing")
            self.go_round()

    def push(self, lane: Lane) -> None:
        """Let a lane send what it has, after those that wait already."""
        if lane.pending and not lane.queued:
            lane.queued = True
            self._queue.append(lane)
        self.go_round()

    def go_round(self) -> None:
        """Let the lanes send in turn, until they have nothing more, or no window, or the kernel is full."""
        while self._queue and (room := QUEUED_BYTES - self.conn.pending - self._unsent) > 0:
            while self._queue and room > 0:
                lane = self._queue.popleft()
                took = lane.turn(self._wire)
                room -= took
                self._unsent += took
                lane.queued = lane.pending > 0
                if lane.queued:
                    (self._queue if took else self._blocked).append(lane)
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Send what the wire has to say: in one write with what all others say who are ready now."""
        if not self._put_off:
            self._put_off = self.conn.later(self._flush_late)
        if not self._put_off:
            self._send()

    def _flush_late(self, _: float) -> None:
        self._put_off = False
        self._send()
        if self._queue:
            self.go_round()

    def _send(self) -> None:
        self._unsent = 0
        if data := self._wire.take():
            with suppress(OSError):  # the reading side finds out
                self.conn.send_now(data)
            if self.conn.pending:
                self._stuck.unpark_all()

    def acknowledge(self, number: int, size: int) -> None:
        """Tell the peer that `size` bytes of a stream were used."""
        self._wire.acknowledge(number, size)
        self.flush()

    def reset(self, lane: Lane, code: int) -> None:
        """Give a stream up."""
        if lane.code is None:
            self._wire.reset(lane.number, code)
            self.flush()
            lane.lose(code)
