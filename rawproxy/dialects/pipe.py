"""Bytes in, bytes out: carries one reply from the upstream's dialect to the client's.

Layer: dialects. No I/O, no policy. A pipe is a feeder:

    PassPipe        both ends speak one dialect: bytes untouched, frames looked at; with an edit,
                    each frame is changed or dropped by it
    PassBody        the same for a body that is no stream
    RawPipe         nobody looks: a coded body
    TranslatePipe   a source of events (stream, body, engine) and a sink for them (stream, body)

`close` is the end of the upstream's bytes. It completes a reply that is whole, and raises
UpstreamCut for one that is not: a cut reply never looks like success.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from msgspec import Raw

from rawproxy.dialects.base import Back, Dialect, StreamReader, StreamWriter
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import End, Event, Fail
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import decode
from rawproxy.dialects.tally import Tally
from rawproxy.errors import FrameTooLong, UpstreamCut, UpstreamNonsense
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame

__all__ = [
    "BodySink",
    "BodySource",
    "Edit",
    "EngineSource",
    "PassBody",
    "PassPipe",
    "Pipe",
    "RawPipe",
    "Sink",
    "Source",
    "StreamSink",
    "StreamSource",
    "TranslatePipe",
]

Edit = Callable[[Frame], bytes]
"""What goes out for a whole frame: its raw bytes, other bytes, or b"" to drop it."""


class Pipe(Protocol):
    """Feed it what the upstream says; send what it returns."""

    tally: Tally

    @property
    def broken(self) -> bool:
        """Whether the reply is over by a failure: nothing that the upstream says can follow."""
        ...

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words in the client's dialect."""
        ...

    def feed(self, data: bytes) -> list[bytes]:
        """Return what goes downstream for `data`: whole frames. UpstreamNonsense."""
        ...

    def close(self) -> list[bytes]:
        """Return what completes the reply. UpstreamCut when it is not whole."""
        ...

    def fail(self, fail: Fail) -> list[bytes]:
        """Return the client's words for a reply that broke off; [] where its end was told."""
        ...

    def keepalive(self) -> bytes:
        """Return a frame that means nothing and may stand here; b"" where none may."""
        ...


class _Watcher:
    """Cuts a passed stream into frames and notes what the reader makes of them.

    Every frame is read until output was seen, later only those that the dialect marks. Of a frame
    that is too long nothing is read: it goes through in pieces.
    """

    def __init__(self, dialect: Dialect, tally: Tally, frame_bytes: int) -> None:
        self._marks = dialect.MARKS
        self._reader = dialect.stream_reader(Back(partial=True))
        self._splitter = sse.Splitter(frame_bytes)
        self._tally = tally

    @property
    def mid_frame(self) -> bool:
        """Whether part of an unfinished frame has been handed out."""
        return self._splitter.mid_frame

    def feed(self, data: bytes) -> list[Frame]:
        try:
            frames = self._splitter.feed(data)
        except FrameTooLong:
            self._tally.unknown += 1
            frames = self._splitter.skip()
        for frame in frames:
            if not frame.whole:
                continue
            if not self._tally.bearing or self._marks.search(frame.raw):
                self._note(frame)
            else:
                self._tally.deltas += 1
        return frames

    def close(self) -> Frame | None:
        """Return the unfinished last frame if it lacks only its blank line and says the end."""
        tail = sse.read_tail(self._splitter.close())
        if tail is None:
            return None
        before = self._ends()
        self._note(tail)
        return tail if self._ends() != before else None

    def _ends(self) -> tuple[bool, bool, bool]:
        return self._tally.whole, self._tally.ended, self._tally.failure is not None

    def _note(self, frame: Frame) -> None:
        if not frame.has_data:
            return
        try:
            self._tally.note(self._reader.read(frame))
        except UpstreamNonsense:
            self._tally.unknown += 1


class PassPipe:
    """Both ends speak one dialect: whole frames go through, an unfinished one waits.

    Args:
        dialect: the one both speak.
        writer: the client's voice, for keepalives and for the terminal error.
        frame_bytes: a longer frame goes through unobserved.
        choices: how many answers were asked for.
        edit: what goes out for a frame; without one its own bytes do.
    """

    def __init__(
        self,
        dialect: Dialect,
        writer: StreamWriter,
        *,
        frame_bytes: int,
        choices: int = 1,
        edit: Edit | None = None,
    ) -> None:
        self._edit = edit
        self.tally = Tally(choices)
        self._watcher = _Watcher(dialect, self.tally, frame_bytes)
        self._writer = writer
        self._end = dialect.STREAM_END
        self._begun = False

    broken = False  # an error that the upstream tells is passed like anything else

    @property
    def losses(self) -> list[Loss]:
        """Nothing: every byte goes through."""
        return []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes."""
        frames = self._watcher.feed(data)
        if frames and not self._begun:
            self._begun = True
            self._writer.joined()
        if self._edit is None:
            if len(frames) == 1:
                return [frames[0].raw]
            return [b"".join([frame.raw for frame in frames])] if frames else []
        return [part for frame in frames if (part := self._edited(frame, self._edit))]

    def close(self) -> list[bytes]:
        """Return what the upstream left out: a blank line, the terminator."""
        tail = self._watcher.close()
        parts = self._mended()
        if tail is not None:
            parts = [tail.raw, b"\n" if tail.raw.endswith(b"\n") else b"\n\n"]
        if self.tally.failure is None and not self.tally.ended:
            if not self.tally.whole:
                raise UpstreamCut("the upstream's reply ended before it was whole")
            self.tally.ended = True
            parts.append(self._end)
        self.tally.repaired = bool(parts)
        return parts

    def fail(self, fail: Fail) -> list[bytes]:
        """Return the dialect's terminal error, unless the upstream has told its end itself."""
        if self.tally.failure is not None or self.tally.ended:
            return []
        self.tally.failure = fail
        return [*self._mended(), self._writer.write(fail)]

    def keepalive(self) -> bytes:
        """Return the dialect's keepalive; nothing may stand inside a frame."""
        return b"" if self._watcher.mid_frame else self._writer.keepalive()

    def _edited(self, frame: Frame, edit: Edit) -> bytes:
        return edit(frame) if frame.whole else frame.raw

    def _mended(self) -> list[bytes]:
        """Return what ends a frame of which only pieces went out."""
        return [b"\n\n"] if self._watcher.mid_frame else []


class PassBody:
    """Both ends speak one dialect and no stream: the body is held until it is whole, and looked at.

    Args:
        dialect: the one both speak; None for a body that is no reply.
        limit: bytes; a longer body is passed on as it comes, unobserved.
        framed: the body's length is told by its framing. Else its end may be a break.
    """

    def __init__(self, dialect: Dialect | None, *, limit: int, framed: bool = True) -> None:
        self.tally = Tally()
        self._framed = framed
        self._dialect = dialect
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0

    broken = False

    @property
    def losses(self) -> list[Loss]:
        """Nothing: every byte goes through."""
        return []

    def feed(self, data: bytes) -> list[bytes]:
        """Return nothing, or everything held once it is too much to hold."""
        self._held.append(data)
        self._size += len(data)
        if self._size <= self._limit:
            return []
        self.tally.bearing = True
        held, self._held = self._held, []
        return held

    def close(self) -> list[bytes]:
        """Return the body.

        Raises:
            UpstreamNonsense: it is not JSON.
        """
        if self._size > self._limit:
            _check_framed(self._framed)
            return []
        body = b"".join(self._held)
        _check_json(body)
        if self._dialect is not None:
            try:
                self.tally.note(self._dialect.read_reply(body, Back()))
            except UpstreamNonsense:
                self.tally.unknown += 1
        self.tally.bearing = self.tally.bearing or self.tally.failure is None
        return [body]

    def fail(self, fail: Fail) -> list[bytes]:
        """Return nothing: half a body has no words for it; the connection is broken off instead."""
        self.tally.failure = fail
        return []

    def keepalive(self) -> bytes:
        """Return nothing."""
        return b""


class RawPipe:
    """Nobody looks: a coded reply, whose framing alone tells whether it is whole.

    Args:
        framed: it has such a framing. Else its end may be a break, and is taken for one.
    """

    def __init__(self, *, framed: bool = True) -> None:
        self.tally = Tally()
        self._framed = framed

    broken = False

    @property
    def losses(self) -> list[Loss]:
        """Nothing: every byte goes through."""
        return []

    def feed(self, data: bytes) -> list[bytes]:
        """Return `data`."""
        self.tally.bearing = True
        return [data]

    def close(self) -> list[bytes]:
        """Return nothing."""
        _check_framed(self._framed)
        return []

    def fail(self, fail: Fail) -> list[bytes]:
        """Return nothing: there are no words inside a coded body."""
        self.tally.failure = fail
        return []

    def keepalive(self) -> bytes:
        """Return nothing."""
        return b""


class Source(Protocol):
    """Turns what the upstream says into events."""

    repairs: bool
    """Whether events that only `close` brings are a repair."""

    def feed(self, data: bytes) -> list[Event]: ...
    def close(self) -> list[Event]: ...


class StreamSource:
    """A stream of frames."""

    repairs = True

    def __init__(self, reader: StreamReader, frame_bytes: int) -> None:
        self._reader = reader
        self._splitter = sse.Splitter(frame_bytes)

    def feed(self, data: bytes) -> list[Event]:
        """Return what the frames completed by `data` say."""
        try:
            frames = self._splitter.feed(data)
        except FrameTooLong as error:
            raise UpstreamNonsense(str(error)) from error
        events: list[Event] = []
        for frame in frames:
            if frame.has_data:
                try:
                    events += self._reader.read(frame)
                except UpstreamNonsense as error:
                    if not events:
                        raise
                    # What stood before it in the same read is as good as in a read of its own.
                    events.append(Fail("server", str(error), status=error.status))
            if events and isinstance(events[-1], End | Fail):
                break  # whatever stands behind the end has no meaning
        return events

    def close(self) -> list[Event]:
        """Return the end; a last frame counts without its blank line, too, if it can be read."""
        tail = sse.read_tail(self._splitter.close())
        last: list[Event] = []
        if tail is not None:
            with suppress(UpstreamNonsense):
                last = self._reader.read(tail)
        return [*last, *self._reader.close()]


class BodySource:
    """A body that is no stream: its events come all at once, at its end."""

    repairs = False

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

    def close(self) -> list[Event]:
        """Return what the body says."""
        return self._read_reply(b"".join(self._held), self._back)


class EngineSource:
    """An engine in this process: its events come by `TranslatePipe.say`, never as bytes."""

    repairs = False

    def feed(self, data: bytes) -> list[Event]:
        """Never called."""
        raise AssertionError(f"an engine has no bytes, and {len(data)} came")

    def close(self) -> list[Event]:
        """Say that End was missing."""
        raise UpstreamCut("the engine stopped before its reply was whole")


class Sink(Protocol):
    """Turns events into what the client reads."""

    @property
    def losses(self) -> list[Loss]: ...
    def write(self, event: Event) -> bytes: ...
    def close(self) -> bytes: ...
    def keepalive(self) -> bytes: ...


class StreamSink:
    """A stream, written event by event."""

    def __init__(self, writer: StreamWriter) -> None:
        self._writer = writer
        self.write = writer.write
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

    def keepalive(self) -> bytes:
        """Return nothing: a body has no room for it."""
        return b""


class TranslatePipe:
    """A source of events and a sink for them."""

    def __init__(self, source: Source, sink: Sink, *, choices: int = 1) -> None:
        self.tally = Tally(choices)
        self._source = source
        self._sink = sink

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words."""
        return self._sink.losses

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's spelling of every event that `data` completes."""
        return [] if self._over else self.say(self._source.feed(data))

    def say(self, events: list[Event]) -> list[bytes]:
        """Return the client's spelling of `events`: an engine has no bytes to be fed."""
        if self._over:
            return []
        self.tally.note(events)
        return [part for event in events if (part := self._sink.write(event))]

    def close(self) -> list[bytes]:
        """Return what completes the reply."""
        parts: list[bytes] = []
        if not self._over:
            parts = self.say(self._source.close())
            self.tally.repaired = self._source.repairs
        if self.tally.failure is None and (body := self._sink.close()):
            parts.append(body)
        return parts

    def fail(self, fail: Fail) -> list[bytes]:
        """Return the client's terminal error, unless the end was told already."""
        if self._over:
            return []
        self.tally.failure = fail
        part = self._sink.write(fail)
        return [part] if part else []

    def keepalive(self) -> bytes:
        """Return the client's keepalive."""
        return self._sink.keepalive()

    @property
    def broken(self) -> bool:
        """Whether the failure was told."""
        return self.tally.failure is not None

    @property
    def _over(self) -> bool:
        """Whether End or Fail was said: nothing follows."""
        return self.tally.ended or self.tally.failure is not None


def _check_framed(framed: bool) -> None:
    if not framed:
        raise UpstreamCut("the upstream's body ended with its connection: it may not be whole")


def _check_json(body: bytes) -> None:
    try:
        decode(body, Raw)
    except ValueError:
        raise UpstreamNonsense("the upstream's body is not JSON") from None
