"""The clocks of an exchange: how long each thing may take, and when to say "still here".

Layer: gateway. Time is an argument (`now`, seconds on any steady clock).

Four clocks end an attempt or an exchange, each with its own name in the configuration and the Record:

    connect       from the start of an attempt until the connection stands
    first event   from the request's last byte until the reply's first
    silence       between two reads of a reply
    write         while the client takes none of the bytes that wait for it

A fifth, total, bounds the whole exchange (off by default). Keepalives count *downstream* silence, from
the request on, whatever the upstream does.
"""

import enum
from typing import Literal

import msgspec

__all__ = ["Clocks", "Due", "Timing"]


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section `[stream]` of the configuration. Seconds; 0 switches a clock off.

    Attributes:
        keepalive_seconds: downstream silence after which a keepalive is sent.
        connect_seconds: look-up, TCP and TLS together.
        first_event_seconds: until the first byte of a reply.
        silence_seconds: between two reads of a reply.
        total_seconds: the whole exchange.
        frame_bytes: the longest frame, and the longest body held; larger: passed through unobserved,
            and where it would have to be translated the reply breaks.
        ask_usage: ask for usage in passed chat calls too, and drop the extra chunk.
        on_client_gone: stop the upstream at once, or read on for its usage.
        finish_seconds: how long it may be read on.
        grammar_sample: share of translated streams that are held against their dialect's grammar.
    """

    keepalive_seconds: float = 10.0
    connect_seconds: float = 5.0
    first_event_seconds: float = 590.0
    silence_seconds: float = 180.0
    total_seconds: float = 0.0
    frame_bytes: int = 16777216
    ask_usage: bool = False
    on_client_gone: Literal["cancel", "finish"] = "cancel"
    finish_seconds: float = 120.0
    grammar_sample: float = 0.01


TAIL_SECONDS = 2.0
"""Seconds that a reply may take after its Stop to bring usage and terminator."""


class Due(enum.Enum):
    """What is due. The value is the clock's name in the Record."""

    KEEPALIVE = "keepalive"
    CONNECT = "connect"
    FIRST_EVENT = "first_event"
    SILENCE = "silence"
    TAIL = "tail"
    TOTAL = "total"
    WRITE = "write"


# Looking a member up takes Python 3.11 as long as the rest of what happens to it here.
_CONNECT, _FIRST_EVENT, _SILENCE, _TAIL = Due.CONNECT, Due.FIRST_EVENT, Due.SILENCE, Due.TAIL


class Clocks:
    """The clocks of one exchange, from the moment its request was whole.

    Args:
        timing: the limits.
        write_seconds: `server.limits.write_seconds`.
        now: seconds.
    """

    __slots__ = (
        "_attempt_clock", "_attempt_since", "_started", "_timing", "_write_seconds",
        "blocked_since", "downstream_at", "heard_at", "streams",
    )  # fmt: skip

    def __init__(self, timing: Timing, write_seconds: float, now: float) -> None:
        self._timing = timing
        self._write_seconds = write_seconds
        self._started = now
        self._attempt_clock: Due | None = None
        self._attempt_since = now
        self.heard_at = now
        """When bytes of the reply came last; `heard` has told of the first of them."""
        self.blocked_since: float | None = None
        """When bytes began to wait for the client, or it took some of them; None where none wait."""
        self.downstream_at = now
        """When the client took bytes last."""
        self.streams = False
        """Whether the client has asked for a stream: only there a keepalive has a form."""

    def connecting(self, now: float) -> None:
        """An attempt has begun."""
        self._attempt_clock, self._attempt_since = _CONNECT, now

    def waiting(self, now: float) -> None:
        """The request has gone out; the reply's first byte is next."""
        self._attempt_clock, self._attempt_since = _FIRST_EVENT, now

    def heard(self, now: float) -> None:
        """Bytes of the reply came. For each event a call would be dear: from then on set `heard_at`."""
        self.heard_at = now
        if self._attempt_clock is not _TAIL:
            self._attempt_clock = _SILENCE

    def whole(self, now: float) -> None:
        """Every Stop was seen: the rest has TAIL_SECONDS."""
        if self._attempt_clock is not _TAIL:
            self._attempt_clock, self._attempt_since = _TAIL, now

    def idle(self) -> None:
        """No attempt is under way."""
        self._attempt_clock = None

    def spoke(self, now: float) -> None:
        """A keepalive was due and is dealt with, whether or not anything could be said."""
        self.downstream_at = now

    def progressed(self, now: float, *, left: bool) -> None:
        """The client took some bytes at `now` (or none yet, the first time); `left`: more wait."""
        self.blocked_since = now if left else None
        self.downstream_at = now

    def due(self, now: float) -> Due | None:
        """Return what is due at `now`, the most final first; None when nothing is."""
        if self.blocked_since is not None and self._passed(
            self.blocked_since, self._write_seconds, now
        ):
            return Due.WRITE
        if self._passed(self._started, self._timing.total_seconds, now):
            return Due.TOTAL
        if self.blocked_since is not None:
            return None  # backpressure: neither the upstream's silence nor ours
        clock = self._attempt_clock
        since = self.heard_at if clock is _SILENCE else self._attempt_since
        if clock is not None and self._passed(since, self._limit(clock), now):
            return clock
        if self.streams and self._passed(self.downstream_at, self._timing.keepalive_seconds, now):
            return Due.KEEPALIVE
        return None

    def _limit(self, clock: Due) -> float:
        match clock:
            case Due.CONNECT:
                return self._timing.connect_seconds
            case Due.FIRST_EVENT:
                return self._timing.first_event_seconds
            case Due.SILENCE:
                return self._timing.silence_seconds
            case _:
                return TAIL_SECONDS

    @staticmethod
    def _passed(since: float, limit: float, now: float) -> bool:
        return limit > 0 and now - since >= limit
