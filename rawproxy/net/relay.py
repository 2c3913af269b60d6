"""The loop a reply's bytes go round.

Layer: net. No queue and no second task on the path: backpressure is "the next read waits for the last
write", so a slow client slows its upstream instead of filling memory. Where a source can be read by
the pump, its exchange's task sleeps, or there is none, and only what has to wait wakes it; else the task
reads itself. Both do the same with each read: through the pipe, and `Flow._on_all_read`.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import outcome
import trio
from trio.lowlevel import Abort

from rawproxy.dialects.pipe import Pipe
from rawproxy.gateway.liveness import Clocks
from rawproxy.net.pump import Taker, Then

__all__ = ["Flow", "Sink", "Source", "relay"]


class Source(Protocol):
    """An upstream reply's body.

    Attributes:
        ended: it was read to its end, which may have come together with its last bytes.
    """

    ended: bool

    @property
    def pumped(self) -> bool:
        """Whether `take` calls back."""
        ...

    def take(self, taker: Taker | None) -> None:
        """Call `taker` each time that `receive_now` may have something; None: nobody any more."""
        ...

    def held(self) -> bytes | None:
        """Return what came already: None where more has to be waited for, b"" at the end. UpstreamError.

        To ask is to have `used` what was received before.
        """
        ...

    def receive_now(self) -> bytes | None:
        """Return what one read gives: None where nothing came, b"" at the end. UpstreamError."""
        ...

    def used(self) -> None:
        """Learn that what was received last has gone on: its sender may send as much anew."""
        ...

    async def receive(self) -> bytes:
        """Return the bytes of one read; b"" at the end. UpstreamError."""
        ...


class Sink(Protocol):
    """A client response's body."""

    @property
    def framed(self) -> Callable[[list[bytes]], bytes]:
        """Returns the bytes that `push` takes for more of the body."""
        ...

    def push(self, data: bytes, now: float) -> bool:
        """Hand all of `data` to the kernel; False when some of it waits there for `flush`."""
        ...

    async def flush(self) -> None:
        """Return when the kernel has taken everything."""
        ...


async def relay(source: Source, pipe: Pipe, sink: Sink, clocks: Clocks) -> None:
    """Push a reply body through `pipe` until the upstream ends it.

    Returns when the last read has been handed to the kernel. What the end of the bytes means is
    for the exchange to say: the pipe is not closed here.
    """
    flow = Flow(source, pipe, sink, clocks)
    carry = flow.pumped if source.pumped else flow.alone
    goes_on = flow.goes_on(trio.current_time())  # not where its Stop came with the first output
    while goes_on and await carry():
        await sink.flush()
        source.used()
        goes_on = flow.goes_on(trio.current_time())


_NOTHING: list[bytes] = []


class Flow:
    """One reply on its way.

    Args:
        source, pipe, sink, clocks: as `relay` has them.

    Attributes:
        blocked: the sink is full: `flush` has to come before anything else.
    """

    __slots__ = ("_clocks", "_over", "_parts", "_pipe", "_sink", "_source", "blocked")

    def __init__(self, source: Source, pipe: Pipe, sink: Sink, clocks: Clocks) -> None:
        self._source = source
        self._pipe = pipe
        self._sink = sink
        self._clocks = clocks
        self._over: Callable[[outcome.Outcome[None]], None] | None = None
        self._parts = _NOTHING  # what the pipe made of a read, until it goes to the sink
        self.blocked = False

    def goes_on(self, now: float) -> bool:
        """Return whether there is more of the upstream, and it is wanted; after Stop only for a while."""
        pipe = self._pipe
        if pipe.broken:
            return False
        if pipe.tally.whole:
            self._clocks.whole(now)
        return not self._source.ended

    async def alone(self) -> bool:
        """Carry in the task itself until the reply is over, or the sink full: True then."""
        self.blocked = False
        while data := await self._source.receive():
            if not self._go(data):
                break
        return self.blocked

    async def pumped(self) -> bool:
        """Have the pump carry until the reply is over, or the sink full: True then."""
        if self.start(partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())):
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        return self.blocked

    def start(self, over: Callable[[outcome.Outcome[None]], None]) -> bool:
        """Have the pump carry; return whether it does: False where the reply is over, or the sink full.

        Args:
            over: is called with what came of it when that is so later.

        Raises:
            UpstreamError: as `receive_now`.
        """
        self.blocked = False
        data = self._source.held()
        carries = data is None or (bool(data) and self._go(data))
        if carries:
            self._over = over
            self._source.take(self._on_ready)
        return carries

    def stop(self) -> list[bytes]:
        """Carry no more; return what was read and has not gone to the sink."""
        if self._over is not None:
            self._source.take(None)
        self._over = None
        parts, self._parts = self._parts, _NOTHING
        return parts

    def _go(self, data: bytes) -> bool:
        """Do with one read what `pumped` does; return whether the next one may be read. Raises as the parts do."""
        ends: list[outcome.Outcome[None]] = []
        self._parts, self._over = self._pipe.feed(data), ends.append
        self._on_all_read(trio.current_time())
        self._over = None
        for end in ends:
            end.unwrap()
        return not ends

    def _on_ready(self) -> Then | None:
        try:
            data = self._source.receive_now()
            if data is None:
                return None
            if data:
                self._parts = self._pipe.feed(data)
                return self._on_all_read
        except Exception as error:
            self._end(outcome.Error(error))
        else:
            self._end(outcome.Value(None))
        return None

    def _on_all_read(self, now: float) -> None:
        if self._over is None:  # it was stopped by one who was ready at the same time
            return
        parts, self._parts = self._parts, _NOTHING
        self._clocks.heard_at = now
        sink = self._sink
        try:
            if parts and not sink.push(sink.framed(parts), now):
                self.blocked = True
            else:
                self._source.used()
                if self.goes_on(now):
                    return
        except Exception as error:
            self._end(outcome.Error(error))
        else:
            self._end(outcome.Value(None))

    def _end(self, result: outcome.Outcome[None]) -> None:
        over, self._over = self._over, None
        self._source.take(None)
        assert over is not None
        over(result)

    def _abort(self, _: object) -> Abort:
        self.stop()
        return Abort.SUCCEEDED
