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
from typing import Protocol

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Back, Carry, Dialect, StreamWriter
from rawproxy.dialects.cutoff import Cutoff
from rawproxy.dialects.ends import Sink, Source, broken_off
from rawproxy.dialects.events import Delta, End, Event, Fail, Start
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.reading import decode
from rawproxy.dialects.reframe import Reframer
from rawproxy.dialects.tally import Tally
from rawproxy.errors import UpstreamCut, UpstreamError, UpstreamNonsense, WireError
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, Framing, PlainFrame

__all__ = ["Edit", "PassBody", "PassPipe", "Pipe", "RawPipe", "TranslatePipe"]

Edit = Callable[[Frame], bytes]
"""What goes out for a whole frame: its raw bytes, other bytes, or b"" to drop it."""


GLANCE_BYTES = 1024
"""Bytes of a read that are read as JSON before it is asked whether the rest has to be; then twice as many."""

_LOOK, _GLIMPSE = Back(), Back(partial=True)
"""A reply that is passed has nothing to be undone."""


class Pipe(Protocol):
    """Feed it what the upstream says; send what it returns."""

    tally: Tally

    @property
    def broken(self) -> bool:
        """Whether the reply is over before its end: nothing that the upstream says can follow."""
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


class PassPipe:
    """Both ends speak one dialect: whole frames go through, an unfinished one waits.

    Every frame is read until output was seen, later only those that the dialect marks. Of a frame
    that is too long nothing is read: it goes through in pieces.

    Args:
        dialect: the one both speak.
        writer: the client's voice, for keepalives and for the terminal error.
        frame_bytes: a longer frame goes through unobserved.
        choices: how many answers were asked for.
        edit: what goes out for a frame; without one its own bytes do.
        framing: the upstream's; None for the dialect's own.
        reframe: puts the frames into the client's framing, where that is another one.
    """

    __slots__ = (
        "_begun", "_edit", "_end", "_framing", "_marks", "_native", "_reader", "_reframe",
        "_smooth", "_splitter", "_writer", "tally",
    )  # fmt: skip

    def __init__(
        self,
        dialect: Dialect,
        writer: StreamWriter,
        *,
        frame_bytes: int,
        choices: int = 1,
        edit: Edit | None = None,
        framing: Framing | None = None,
        reframe: Reframer | None = None,
    ) -> None:
        self._edit = edit
        self._native = dialect.FRAMING
        self._framing = framing or self._native
        self._reframe = reframe
        self.tally = Tally(choices)
        self._marks = dialect.MARKS
        self._reader = dialect.stream_reader(_GLIMPSE)
        self._splitter = self._framing.splitter(frame_bytes)
        self._writer = writer
        self._end = dialect.STREAM_END
        self._begun = False
        marks, splitter = self._marks, self._splitter
        untouched = edit is None and reframe is None
        self._smooth: tuple[Marks, sse.Splitter] | None = None  # where a frame may go on unread
        if untouched and isinstance(marks, Marks) and isinstance(splitter, sse.Splitter):
            self._smooth = marks, splitter

    broken = False  # an error that the upstream tells is passed like anything else

    @property
    def losses(self) -> list[Loss]:
        """Nothing: every byte goes through."""
        return []

    def feed(self, data: bytes) -> list[bytes]:
        """Return the frames that `data` completes."""
        tally = self.tally
        if tally.bearing and self._smooth is not None:
            marks, splitter = self._smooth
            if (passed := marks.passes(data)) and splitter.take(data):
                tally.deltas += passed
                return [data]
        try:
            frames = self._splitter.feed(data)
        except WireError:  # too long, or broken: pieces of it go through
            tally.unknown += 1
            frames = self._splitter.skip()
        for frame in frames:
            if not frame.whole:
                continue
            seen = frame.raw if self._framing is self._native else frame.data
            if not tally.bearing or self._marks.search(seen):
                self._note(frame)
            else:
                tally.deltas += 1
        if frames and not self._begun:
            self._begun = True
            self._writer.joined()
        if self._edit is None and self._reframe is None:
            if len(frames) == 1:
                return [frames[0].raw]
            return [b"".join([frame.raw for frame in frames])] if frames else []
        return [part for frame in frames if (part := self._edited(frame))]

    def close(self) -> list[bytes]:
        """Return what the upstream left out: what ends the last frame, the terminator."""
        left = self._splitter.close()
        tail = self._framing.read_tail(left) if left else None
        parts = self._mended()
        if tail is not None and self._ends_with(tail):
            raw = tail.raw + self._framing.mend(tail.raw)
            parts = [self._edited(PlainFrame(raw, tail.name, tail.data, has_data=True))]
        if self.tally.failure is None and not self.tally.ended:
            if not self.tally.whole:
                raise UpstreamCut("the upstream's reply ended before it was whole")
            self.tally.note([End()])
            if self._end:
                parts.append(self._put(self._end, self._native))
        self.tally.repaired = bool(parts)
        if self._reframe and (last := self._reframe.close()):
            parts.append(last)
        return parts

    def fail(self, fail: Fail) -> list[bytes]:
        """Return the dialect's terminal error, unless the upstream has told its end itself.

        Nothing can be told where pieces of a frame went out that no bytes can end.
        """
        if self.tally.failure is not None or self.tally.ended:
            return []
        self.tally.failure = fail
        mended = self._mended()
        if self._torn and not mended:
            return []
        return [*mended, self._writer.write(fail)]

    def keepalive(self) -> bytes:
        """Return the dialect's keepalive; nothing may stand inside a frame, or behind the end."""
        over = self._torn or self.tally.ended or self.tally.failure is not None
        return b"" if over else self._writer.keepalive()

    def _note(self, frame: Frame) -> None:
        if not frame.has_data:
            return
        try:
            self.tally.note(self._reader.read(frame))
        except UpstreamNonsense:
            self.tally.unknown += 1

    def _ends_with(self, tail: Frame) -> bool:
        """Return whether a last frame that lacks only what ends it says the end; it is noted."""
        before = self._ends()
        self._note(tail)
        return self._ends() != before

    def _ends(self) -> tuple[bool, bool, bool]:
        return self.tally.whole, self.tally.ended, self.tally.failure is not None

    def _edited(self, frame: Frame) -> bytes:
        if not frame.whole:
            return frame.raw if self._reframe is None else b""
        if self._edit is not None:
            edited = self._edit(frame)
            return self._put(edited, self._framing)
        return self._reframe.frame(frame) if self._reframe else frame.raw

    def _put(self, data: bytes, framing: Framing) -> bytes:
        """Return frames of `framing` as the client has them."""
        return self._reframe.frames(data, framing) if self._reframe else data

    @property
    def _torn(self) -> bool:
        """Whether pieces of an unfinished frame went out; none do where frames are reframed."""
        return self._splitter.mid_frame and self._reframe is None

    def _mended(self) -> list[bytes]:
        """Return what ends a frame of which only pieces went out."""
        end = self._framing.mend(b"") if self._torn else b""
        return [end] if end else []


class PassBody:
    """Both ends speak one dialect and no stream: the body is held until it is whole, and looked at.

    Args:
        dialect: the one both speak; None for a body that is no reply.
        limit: bytes; a longer body is passed on as it comes, unobserved.
        framed: the body's length is told by its framing. Else its end may be a break.
        edit: what goes out for a body that is not too long.
    """

    def __init__(
        self,
        dialect: Dialect | None,
        *,
        limit: int,
        framed: bool = True,
        edit: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self.tally = Tally()
        self._edit = edit
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
        body = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        try:
            if self._dialect is not None:
                self.tally.note(self._dialect.read_reply(body, _LOOK))
            else:
                _check_json(body)
        except UpstreamError:  # no reply of the dialect's; what is one is JSON
            _check_json(body)
            self.tally.unknown += 1
        self.tally.bearing = self.tally.bearing or self.tally.failure is None
        return [body if self._edit is None else self._edit(body)]

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


class TranslatePipe:
    """A source of events and a sink for them.

    Args:
        source: turns what the upstream says into events.
        sink: turns them into what the client reads.
        choices: how many answers were asked for.
        stops: stop sequences that the upstream was not told: the reply ends here at the first one.
        asked: the model's name as the client has it, where a route gave it another one.
    """

    __slots__ = ("_asked", "_carry", "_cutoff", "_sink", "_source", "tally")

    def __init__(
        self,
        source: Source,
        sink: Sink,
        *,
        choices: int = 1,
        stops: tuple[str, ...] = (),
        asked: str = "",
    ) -> None:
        self.tally = Tally(choices)
        self._source = source
        self._sink = sink
        self._cutoff = Cutoff(stops) if stops else None
        self._asked = asked
        self._carry: Carry | None = None  # while nothing but the text of one block is said

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words."""
        return self._sink.losses

    def feed(self, data: bytes) -> list[bytes]:
        """Return the client's spelling of every event that `data` completes."""
        parts: list[bytes] = []
        size = GLANCE_BYTES
        while data and not self._over:
            if self._carry is not None:
                texts, data = self._source.texts(data)
                if texts:
                    self.tally.deltas += len(texts)
                    parts.append(self._carry(texts))
            if data:
                self._read(data[:size], parts)
                data = data[size:]
                size *= 2
        return parts

    def _read(self, data: bytes, parts: list[bytes]) -> None:
        """Append to `parts` what `data` says that has to be read."""
        try:
            events = self._source.feed(data)
        except UpstreamNonsense as error:
            if not parts:
                raise
            events = [broken_off(error)]
        if events:
            parts += self.say(events)
        if self._source.steady < 0 or self._cutoff is not None:
            self._carry = None
        elif self._carry is None or not all(type(event) is Delta for event in events):
            self._carry = self._sink.carry(self._source.steady)

    def say(self, events: list[Event]) -> list[bytes]:
        """Return the client's spelling of `events`: an engine has no bytes to be fed."""
        if self._over:
            return []
        if self._cutoff is not None:
            events = self._cutoff.feed(events)
        self.tally.note(events)
        if self._asked:
            events = [
                replace(event, model=self._asked) if isinstance(event, Start) else event
                for event in events
            ]
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
        self._carry = None
        part = self._sink.write(fail)
        return [part] if part else []

    def keepalive(self) -> bytes:
        """Return the client's keepalive; nothing may stand behind the end."""
        return b"" if self._over else self._sink.keepalive()

    @property
    def broken(self) -> bool:
        """Whether the failure was told, or a stop sequence ended the reply before its upstream did."""
        cut = self._cutoff is not None and self._cutoff.over
        return cut or self.tally.failure is not None

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
