"""One HTTP/2 stream: its windows, and how far both sides are with it.

Layer: wire. Numbers and flags only; `h2.side` moves them.
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-5
"""

from h2.stream import H2Stream, StreamInputs

from rawproxy.wire.http import Alike

__all__ = ["MAX_CONNECTION_WINDOW", "MAX_STREAMS", "STREAM_WINDOW", "Stream"]

STREAM_WINDOW = 65536
"""Bytes of a body that a peer may send before any of it is acknowledged."""

MAX_CONNECTION_WINDOW = 2**24
"""Bytes of all bodies together that a peer may send before any of it is acknowledged."""

MAX_STREAMS = MAX_CONNECTION_WINDOW // STREAM_WINDOW
"""Streams at once that cannot starve one another."""

_NO_LIMIT = 2**64


class Stream:
    """One stream that is open for either side.

    Attributes:
        id: its number.
        alike: of its request's head (server), once that was given out.
        h2: what h2 knows of it; the window for what we send is its.
        window: bytes that the peer may still send.
        unused: bytes given out and not acknowledged.
        credit: bytes acknowledged for which no WINDOW_UPDATE has been sent.
        length: bytes that the body is said to have; None: not said.
        size: bytes that the body had so far.
        most: bytes that the body may have.
        given: the head was given out, so the caller knows of the stream.
        quiet: nothing more is given out of it.
        began: the final head has gone out (server), or come in (client).
        ended: we have ended it.
        peer_ended: the peer has ended it.
        interim: interim responses so far.
    """

    __slots__ = (
        "alike", "began", "bodiless", "credit", "ended", "given", "h2", "id", "interim", "length", "most",
        "peer_ended", "quiet", "size", "unused", "window",
    )  # fmt: skip

    def __init__(self, number: int, h2: H2Stream) -> None:
        self.id = number
        self.h2 = h2
        self.window = STREAM_WINDOW
        self.unused = self.credit = self.size = self.interim = 0
        self.length: int | None = None
        self.most = _NO_LIMIT
        self.given = self.quiet = self.began = self.ended = self.peer_ended = False
        self.bodiless = False
        self.alike: Alike | None = None

    def tell(self, what: StreamInputs) -> None:
        """Tell h2 what has happened to the stream."""
        self.h2.state_machine.process_input(what)
