"""The two ends of a translation: where a reply's events come from, and what becomes of them.

Layer: dialects. Sources turn an upstream's bytes into events: a stream, a body, an engine. Sinks turn
events into what the client reads: a stream, a body. `pipe.TranslatePipe` joins any two.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import takewhile
from typing import Protocol

from rawproxy.dialects.base import Back, Carry, Dialect, StreamReader, StreamWriter
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import End, Event, Fail
from rawproxy.dialects.groove import Groove
from rawproxy.dialects.losses import Loss
from rawproxy.errors import UpstreamCut, UpstreamNonsense, WireError
from rawproxy.wire import eventstream
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "BodySink", "BodySource", "EngineSource", "Sink", "Source", "StreamSink", "StreamSource",
    "broken_off",
]  # fmt: skip


class Source(Protocol):
    """Turns what the upstream says into events."""

    repairs: bool
    """Whether events that only `close` brings are a repair."""

    steady: int
    """The block that is under way, of which `texts` may be asked for; -1 while there is none."""

    def feed(self, data: bytes) -> list[Event]: ...
    def texts(self, data: bytes) -> tuple[list[bytes], bytes]: ...
    def close(self) -> list[Event]: ...


class StreamSource:
    """A stream of frames."""

    repairs = True
    steady = -1

    def __init__(self, reader: StreamReader, framing: Framing, frame_bytes: int) -> None:
        self._reader = reader
        self._framing = framing
        self._splitter = framing.splitter(frame_bytes)
        self._frame_bytes = frame_bytes
        self._groove = Groove(eventstream.alike if framing is eventstream else None)
        self._torn = False  # the splitter may hold the beginning of a frame

    def texts(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the JSON text of each Delta of the steady block that comes first, and what to feed then.

        To be called while `steady` names a block, before each `feed`.
        """
        if self._torn:
            data = self._splitter.unread() + data
            self._torn = False
        # No frame is longer than what it came in; else the splitter has to see it.
        texts, end = self._groove.texts(data) if len(data) <= self._frame_bytes else ([], 0)
        if not texts:
            self.steady = -1
        return texts, data[end:]

    def feed(self, data: bytes) -> list[Event]:
        """Return what the frames completed by `data` say."""
        broken: UpstreamNonsense | None = None
        try:
            frames = self._splitter.feed(data)
        except WireError as error:
            broken = UpstreamNonsense(str(error))
            # What stood before it in the same read is as good as in a read of its own.
            # So is the end of a line that the read before had begun.
            frames = list(takewhile(_is_before, self._splitter.skip()))
        events: list[Event] = []
        for frame in frames:
            if frame.has_data:
                try:
                    said = self._reader.read(frame)
                except UpstreamNonsense as error:
                    broken = error
                    break
                self._groove.learn(frame, said)
                events += said
            if events and isinstance(events[-1], (End, Fail)):
                return events  # whatever stands behind the end has no meaning
        if frames:
            self.steady = self._groove.block
        self._torn = not frames or frames[-1].raw is not data
        if broken is not None and not events:
            raise broken
        if broken is not None:
            events.append(broken_off(broken))
        return events

    def close(self) -> list[Event]:
        """Return the end; a last frame counts without what ends it, too, if it can be read."""
        tail = self._framing.read_tail(self._splitter.close())
        last: list[Event] = []
        if tail is not None:
            with suppress(UpstreamNonsense):
                last = self._reader.read(tail)
        return [*last, *self._reader.close()]


def broken_off(error: UpstreamNonsense) -> Fail:
    """Return what is said of an upstream's nonsense behind words that were good."""
    return Fail("server", str(error), status=error.status)


def _is_before(frame: Frame) -> bool:
    """Whether a frame that was skipped stands before the one that is too long."""
    return frame.whole or frame.raw == b"\n"


class BodySource:
    """A body that is no stream: its events come all at once, at its end."""

    repairs = False
    steady = -1

    def __init__(
        self, read_reply: Callable[[bytes, Back], list[Event]], back: Back, limit: int
    ) -> None:
        self._read_reply = read_reply
        self._back = back
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Event]:
        """Hold `data`."""
        self._size += len(data)
        if self._size > self._limit:
            raise UpstreamNonsense(f"the upstream's body passed {self._limit} bytes")
        self._held.append(data)
        return []

    def texts(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return no text: nothing is said before the end."""
        return [], data

    def close(self) -> list[Event]:
        """Return what the body says."""
        return self._read_reply(b"".join(self._held), self._back)


class EngineSource:
    """An engine in this process: its events come by `TranslatePipe.say`, never as bytes."""

    repairs = False
    steady = -1

    def feed(self, data: bytes) -> list[Event]:
        """Never called."""
        raise AssertionError(f"an engine has no bytes, and {len(data)} came")

    def texts(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return no text: an engine has no bytes."""
        return [], data

    def close(self) -> list[Event]:
        """Say that End was missing."""
        raise UpstreamCut("the engine stopped before its reply was whole")


class Sink(Protocol):
    """Turns events into what the client reads."""

    @property
    def losses(self) -> list[Loss]: ...
    def write(self, event: Event) -> bytes: ...
    def carry(self, block: int) -> Carry | None: ...
    def close(self) -> bytes: ...
    def keepalive(self) -> bytes: ...


class StreamSink:
    """A stream, written event by event."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self.write = writer.write
        self.carry = writer.carry
        self.keepalive = writer.keepalive

    @property
    def losses(self) -> list[Loss]:
        """What the writer had no words for."""
        return self._writer.losses

    def close(self) -> bytes:
        """Return nothing: End was written."""
        return b""


class BodySink:
    """One body, written when every event is there."""

    def __init__(self, dialect: Dialect, call: Call, reply_id: str, now: int) -> None:
        self._dialect = dialect
        self._call = call
        self._id = reply_id
        self._now = now
        self._events: list[Event] = []
        self.losses: list[Loss] = []

    def write(self, event: Event) -> bytes:
        """Hold `event`."""
        self._events.append(event)
        return b""

    def close(self) -> bytes:
        """Return the body."""
        body, self.losses = self._dialect.write_reply(self._events, self._call, self._id, self._now)
        return body

    def carry(self, block: int) -> Carry | None:  # noqa: ARG002
        """Return None: events are kept."""
        return None

    def keepalive(self) -> bytes:
        """Return nothing: a body has no room for it."""
        return b""
