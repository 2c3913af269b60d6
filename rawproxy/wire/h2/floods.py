"""What a peer may make us do for nothing: the counters that end an HTTP/2 flood.

Layer: wire. Knows how often each cheap frame may come. Time is an argument (seconds, steady clock).
Spec:  https://www.rfc-editor.org/rfc/rfc9113#section-10.5

HTTP/2 has frames that cost their sender nothing and us something. None of them is wrong by itself,
so each kind has an allowance that no honest peer comes near, and that is spent within 2,000 frames:

    what                                          allowance                        known as
    requests reset before they were answered      RESETS, RESETS_PER_SECOND        CVE-2023-44487
    streams we reset because the peer broke them  the same                         CVE-2025-8671
    PING, SETTINGS, GOAWAY, unknown frames, RST   CONTROLS, CONTROLS_PER_SECOND    CVE-2019-9512, -9515
      on streams that are gone
    frames without content                        EMPTIES in a row                 CVE-2019-9518
    PRIORITY                                      PRIORITIES x (1 + streams)       CVE-2019-9513
    WINDOW_UPDATE                                 see `window_update`              CVE-2019-9511
"""

from h2.errors import ErrorCodes

from rawproxy.wire.h2.events import Http2Error

__all__ = [
    "CONTROLS",
    "CONTROLS_PER_SECOND",
    "EMPTIES",
    "PRIORITIES",
    "RESETS",
    "RESETS_PER_SECOND",
    "Bucket",
    "Floods",
]

RESETS = 100
"""Streams that may be torn down at once: what one page, or one client that gives up, has open."""

RESETS_PER_SECOND = 20.0
"""Streams that may be torn down in the long run; each may have started work upstream."""

CONTROLS = 1000
"""Frames at once that only want an answer or nothing at all. Their answers take 17 KB."""

CONTROLS_PER_SECOND = 100.0
"""Such frames in the long run. Peers that measure round trips send one a round trip."""

EMPTIES = 10
"""Frames in a row that bring neither bytes nor an end. Nobody has a reason to send two."""

PRIORITIES = 100
"""PRIORITY frames for each stream. Browsers used to send a handful of each before the first."""

_SPARE_UPDATES = 5
_UPDATES_PER_STREAM = 2
_STREAMS_PER_DATA = 10


class Bucket:
    """An allowance that is spent one by one, and comes back with time.

    Args:
        size: how much there is when it is full, as it is at first.
        rate: how much comes back in a second.
        now: seconds.
    """

    __slots__ = ("_at", "_left", "_rate", "_size")

    def __init__(self, size: int, rate: float, now: float) -> None:
        self._size = self._left = float(size)
        self._rate = rate
        self._at = now

    def take(self, now: float) -> bool:
        """Spend one; False when there is none."""
        self._left = min(self._size, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Floods:
    """Counts the frames of one connection.

    Every method raises Http2Error with ENHANCE_YOUR_CALM when an allowance is spent.

    Attributes:
        streams: requests on this connection so far.
        data_sent: DATA frames we have sent.
    """

    __slots__ = (
        "_controls", "_empties", "_priorities", "_resets", "_updates", "data_sent", "streams",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.streams = 0
        self.data_sent = 0
        self._resets = Bucket(RESETS, RESETS_PER_SECOND, now)
        self._controls = Bucket(CONTROLS, CONTROLS_PER_SECOND, now)
        self._empties = self._priorities = self._updates = 0

    def reset(self, now: float) -> None:
        """A stream was torn down that cost the peer nothing, by it or because of its faults."""
        if not self._resets.take(now):
            raise _calm("streams are torn down too fast")

    def control(self, now: float) -> None:
        """A frame came that only wants an answer, or nothing at all."""
        if not self._controls.take(now):
            raise _calm("control frames come too fast")

    def filled(self) -> None:
        """A frame came that has content."""
        self._empties = 0

    def empty(self) -> None:
        """A frame came that has none, and ends nothing."""
        self._empties += 1
        if self._empties > EMPTIES:
            raise _calm(f"more than {EMPTIES} empty frames in a row")

    def priority(self) -> None:
        """A PRIORITY frame came. It is obsolete, and nothing is done with it."""
        self._priorities += 1
        if self._priorities > PRIORITIES * (1 + self.streams):
            raise _calm("too many PRIORITY frames")

    def window_update(self) -> None:
        """A WINDOW_UPDATE came: one for each end of each DATA frame would be much, ten are too many."""
        self._updates += 1
        earned = self.streams + _STREAMS_PER_DATA * self.data_sent
        if self._updates > _SPARE_UPDATES + _UPDATES_PER_STREAM * earned:
            raise _calm("too many WINDOW_UPDATE frames")


def _calm(message: str) -> Http2Error:
    return Http2Error(message, ErrorCodes.ENHANCE_YOUR_CALM)
