"""One upstream connection on HTTP/2, shared by the exchanges that run at the same time.

Layer: net. Spec: https://www.rfc-editor.org/rfc/rfc9113. A task of its own reads it; PINGs find out
whether an upstream that is silent is still there.
"""

import logging
from collections.abc import Callable
from contextlib import suppress

import trio

from rawproxy.errors import (
    HttpError,
    NotProcessed,
    UpstreamCut,
    UpstreamError,
    UpstreamNonsense,
    WireError,
)
from rawproxy.net.conn import UNACKNOWLEDGED_SECONDS, Conn
from rawproxy.net.mux import CANCEL, LOST, REFUSED_STREAM, Lane, LaneReset, Mux
from rawproxy.net.pump import Taker
from rawproxy.wire.http import Fields, RequestHead
from rawproxy.wire.http1 import Limits, RequestStart
from rawproxy.wire.http2 import Http2Client, Refused

__all__ = ["PING_AFTER_SECONDS", "PONG_SECONDS", "Http2Link", "Http2Reply", "Http2Sent"]

_log = logging.getLogger("rawproxy")

PING_AFTER_SECONDS = 15.0
"""Silence of a connection with requests on it, after which it is asked whether it is still there."""

PONG_SECONDS = 15.0
"""How long the answer to a PING may take. Both together are well below the minute that a dead peer may cost."""


class Http2Reply:
    """A response whose head has come. `receive` gives its body.

    Attributes:
        status, fields: of its head.
        ended: its body was read to its end.
    """

    def __init__(self, link: "Http2Link", lane: Lane) -> None:
        assert lane.head is not None
        self._link = link
        self._lane = lane
        self.status = lane.head.status
        self.fields: Fields = lane.head.fields
        self.ended = False

    @property
    def pumped(self) -> bool:
        """Whether `take` calls back."""
        return self._link.pumped

    def take(self, taker: Taker | None) -> None:
        """Call `taker` each time that `receive_now` may have something; None: nobody any more."""
        self._lane.on_news = taker

    def held(self) -> bytes | None:
        """Return the body bytes that came already; None where more has to be waited for. As `receive`."""
        self._lane.used()
        return self.receive_now()

    def receive_now(self) -> bytes | None:
        """Return the body bytes that are there; None where nothing came. Else as `receive`."""
        try:
            data = self._lane.receive_now()
        except (LaneReset, HttpError) as error:
            raise _as_upstream_error(error, begun=True) from error
        self.ended = self._lane.at_end
        return data

    def used(self) -> None:
        """Learn that what was received last has gone on: the upstream may send as much anew."""
        self._lane.used()

    async def receive(self) -> bytes:
        """Return the body bytes that came; b"" at its end.

        Raises:
            UpstreamCut: the stream was reset, or the connection ended.
            UpstreamNonsense: its framing is broken.
        """
        try:
            data = await self._lane.receive()
        except (LaneReset, HttpError) as error:
            raise _as_upstream_error(error, begun=True) from error
        self.ended = not data
        return data

    def release(self) -> None:
        """Let go of it; what it has not sent yet is not wanted any more."""
        self._link.forget(self._lane)


class Http2Sent:
    """A request on its way: see `Sent`.

    Args:
        link: where it is sent.
        lane: its stream.
        asked: when it was sent on a connection that was used before, whose peer may be gone; else None.
    """

    def __init__(self, link: "Http2Link", lane: Lane, asked: float | None) -> None:
        self._link = link
        self._lane = lane
        self._asked = asked

    def take(self, taker: Taker | None) -> None:
        """Call `taker` each time that `reply_now` may have something; None: nobody any more."""
        self._lane.on_news = taker

    def send_now(self) -> bool:
        """Return True: nobody has to wait for what there is no window for."""
        return True

    async def reply(self) -> Http2Reply:
        """Return the response, once its head has come.

        Raises:
            NotProcessed: it may be sent again elsewhere.
            UpstreamError: anything else that went wrong.
        """
        try:
            while (reply := self.reply_now()) is None:
                await self._lane.news()
        except BaseException:
            self.release(ended=False)
            raise
        return reply

    def reply_now(self) -> Http2Reply | None:
        """Do as `reply`, with what has come; None where that is not the head."""
        lane, link = self._lane, self._link
        if lane.head is not None:
            return Http2Reply(link, lane)
        if lane.refusal is not None:
            raise _as_upstream_error(lane.refusal)
        if lane.code is not None:
            unseen = self._asked is not None and link.unseen_since(self._asked)
            stale = lane.code == LOST and unseen
            raise _as_upstream_error(LaneReset(REFUSED_STREAM if stale else lane.code))
        return None

    def release(self, *, ended: bool) -> None:  # noqa: ARG002 - a stream is for one request
        """Let go of it."""
        self._link.forget(self._lane)


class Http2Link:
    """A connection to an upstream.

    Args:
        conn: the connection, after its TLS handshake.
        scheme: `http` or `https`.
        limits: of responses.
        settled: is called once it is known how many requests it takes at once, or that it has ended.

    Attributes:
        used: a request was sent on it before.
        idle_since: when its last request ended.
    """

    def __init__(
        self, conn: Conn, scheme: bytes, limits: Limits, settled: Callable[[], None]
    ) -> None:
        now = trio.current_time()
        self._scheme = scheme
        self._settled = settled
        self._told = False
        self._wire = Http2Client(limits, now=now)
        self._mux = Mux(conn, self._wire, self._never, UNACKNOWLEDGED_SECONDS)
        self._scope = trio.CancelScope()
        self._retired = False
        self.used = False
        self.idle_since = now

    @staticmethod
    def _never(number: int, event: RequestHead | Refused) -> None:
        """Nothing that begins with the upstream is wanted: pushes are switched off."""

    @property
    def pumped(self) -> bool:
        """Whether a reply on it is relayed without a task."""
        return self._mux.conn.pumped

    @property
    def has_room(self) -> bool:
        """Whether one more request may be sent on it now."""
        known = self._wire.settled or self.idle
        return known and self._usable and self._wire.room > 0 and not self._mux.conn.closed

    @property
    def _usable(self) -> bool:
        return self._wire.usable and not self._retired

    @property
    def idle(self) -> bool:
        """Whether no request is on it."""
        return not self._mux.lanes

    async def run(self) -> None:
        """Read it until it ends. Whatever goes wrong ends here: the exchanges on it learn of it."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    self._mux.flush()
                    with suppress(OSError, WireError):
                        while await self._mux.read():
                            if self._wire.settled:
                                self._tell_settled()
                    nursery.cancel_scope.cancel()
        except Exception:
            _log.exception("an upstream's HTTP/2 connection ended by a fault of ours")
        finally:
            self._mux.lose()
            self._mux.conn.close()
            self._tell_settled()

    def _tell_settled(self) -> None:
        if not self._told:
            self._told = True
            self._settled()

    def close(self) -> None:
        """End it: what runs on it breaks."""
        self._scope.cancel()
        self._mux.lose()
        self._mux.conn.close()

    def retire(self) -> None:
        """Take no further request, and end with the last one that is on it."""
        self._retired = True

    def tick(self, now: float, idle_seconds: float) -> None:
        """Ask for a sign of life where one is due, give up where none came, close what nobody used."""
        asked = self._wire.waiting_for_pong
        if asked is not None:
            if now - asked >= PONG_SECONDS and self._mux.heard_at < asked:
                self.close()
        elif self._mux.lanes and now - self._mux.heard_at >= PING_AFTER_SECONDS:
            self._wire.ping(now)
            self._mux.flush()
        elif self.idle and (not self._usable or now - self.idle_since >= idle_seconds):
            self.close()

    async def ask(self, start: RequestStart, body: bytes) -> Http2Reply:
        """Send a request; return its response once the head has come. Raises as `Http2Sent.reply`."""
        return await self.begin(start, body).reply()

    def begin(self, start: RequestStart, body: bytes) -> "Http2Sent":
        """Send a request: what there is no window for goes when there is one."""
        now = trio.current_time()
        used, self.used = self.used, True
        fields = [*start.fields, (b"content-length", b"%d" % len(body))]
        head = RequestHead(start.method, start.target, fields, b"2")
        lane = self._mux.open(self._wire.request(head, self._scheme, end=False))
        lane.finish()
        lane.send_now(body)
        return Http2Sent(self, lane, now if used else None)

    def unseen_since(self, when: float) -> bool:
        """Whether nothing came on it since then."""
        return self._mux.heard_at <= when

    def forget(self, lane: Lane) -> None:
        """Let go of a request."""
        self._mux.forget(lane, CANCEL)
        self.idle_since = trio.current_time()

    async def _write(self) -> None:
        try:
            await self._mux.write()
        except OSError:
            self._scope.cancel()


def _as_upstream_error(error: LaneReset | HttpError, *, begun: bool = False) -> UpstreamError:
    """Return what it is to an exchange. `begun`: an answer was there, so the request was processed."""
    if isinstance(error, HttpError):
        return UpstreamNonsense(f"the upstream's HTTP is broken: {error}")
    if error.code == REFUSED_STREAM and not begun:
        return NotProcessed("the upstream did not process the request")
    if error.code == LOST:
        return UpstreamCut("the upstream closed the connection before its reply was whole")
    return UpstreamCut("the upstream reset the stream before its reply was whole")
