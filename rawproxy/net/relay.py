"""The loop a reply's bytes go round.

Layer: net. One task a stream. No queue and no second task on the path: backpressure is "the next
read waits for the last write", so a slow client slows its upstream instead of filling memory.
"""

from typing import Protocol

import trio

from rawproxy.dialects.pipe import Pipe
from rawproxy.gateway.liveness import Clocks

__all__ = ["Sink", "Source", "relay"]


class Source(Protocol):
    """An upstream reply's body."""

    async def receive(self) -> bytes:
        """Return the bytes of one read; b"" at the end. UpstreamError."""
        ...


class Sink(Protocol):
    """A client response's body."""

    def push(self, parts: list[bytes]) -> bool:
        """Hand all of `parts` to the kernel; False when some of it waits there for `flush`."""
        ...

    async def flush(self) -> None:
        """Return when the kernel has taken everything."""
        ...


async def relay(source: Source, pipe: Pipe, sink: Sink, clocks: Clocks) -> None:
    """Push a reply body through `pipe` until the upstream ends it.

    Returns when the last read has been handed to the kernel. What the end of the bytes means is
    for the exchange to say: the pipe is not closed here.
    """
    if not _goes_on(pipe, clocks):  # its Stop came with the first output
        return
    while data := await source.receive():
        clocks.heard(trio.current_time())
        parts = pipe.feed(data)
        done = not parts or sink.push(parts)
        # A client that stops reading costs what it was sent once, not each form of it.
        del data, parts
        if not done:
            await sink.flush()
        if not _goes_on(pipe, clocks):
            return


def _goes_on(pipe: Pipe, clocks: Clocks) -> bool:
    """Return whether more of the upstream is wanted; after Stop only for a while."""
    if pipe.broken:
        return False
    if pipe.tally.whole:
        clocks.whole(trio.current_time())
    return True
