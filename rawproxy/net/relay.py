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

    async def send(self, parts: list[bytes]) -> None:
        """Return when the kernel has taken all of `parts`."""
        ...


async def relay(source: Source, pipe: Pipe, sink: Sink, clocks: Clocks) -> None:
    """Push a reply body through `pipe` until the upstream ends it.

    Returns when the last read has been handed to the kernel. What the end of the bytes means is
    for the exchange to say: the pipe is not closed here.
    """
    tally = pipe.tally
    if tally.whole:  # its Stop came with the first output
        clocks.whole(trio.current_time())
    elif pipe.broken:
        return
    while data := await source.receive():
        clocks.heard(trio.current_time())
        if parts := pipe.feed(data):
            await sink.send(parts)
        if tally.whole:
            clocks.whole(trio.current_time())
        elif pipe.broken:
            return
