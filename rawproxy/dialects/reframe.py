"""Frames of one framing as frames of another: for hosts that carry a dialect in a framing of their own.

Layer: dialects. What a frame says is not touched: only what is around it changes.
"""

from rawproxy.dialects.base import Carry, StreamWriter
from rawproxy.dialects.events import End, Event, Fail
from rawproxy.dialects.losses import Loss
from rawproxy.wire.frame import Frame, Framing

__all__ = ["Reframed", "Reframer"]


class Reframer:
    """Puts whole frames of one stream into the framing `target`; those that carry nothing are left out."""

    def __init__(self, target: Framing) -> None:
        self._target = target
        self._begun = False
        self._closed = False

    def frame(self, frame: Frame) -> bytes:
        """Return one frame in the other framing."""
        if not frame.has_data or self._closed:
            return b""
        before = self._target.BETWEEN if self._begun else self._target.OPEN
        self._begun = True
        return before + self._target.write(frame.data, name=frame.name)

    def frames(self, data: bytes, source: Framing) -> bytes:
        """Return whole frames of the framing `source` in the other framing."""
        splitter = source.splitter(len(data) + 1)
        return b"".join(map(self.frame, splitter.feed(data)))

    def joined(self) -> None:
        """Learn that frames of the other framing went out already."""
        self._begun = True

    def close(self) -> bytes:
        """Return what ends the stream, once; nothing where no frame was written."""
        if self._closed or not self._begun:
            return b""
        self._closed = True
        return self._target.CLOSE


class Reframed:
    """A writer of a dialect whose frames go into another framing.

    There is no keepalive: a frame that means nothing is a thing of the dialect's own framing.

    Args:
        writer: the dialect's own.
        native: the dialect's framing.
        reframer: writes the client's; shared with whoever else writes into the same stream.
    """

    def __init__(self, writer: StreamWriter, native: Framing, reframer: Reframer) -> None:
        self._writer = writer
        self._native = native
        self._reframer = reframer

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words."""
        return self._writer.losses

    def write(self, event: Event) -> bytes:
        """Return the event's frames in the other framing; after the last one what ends the stream."""
        data = self._reframer.frames(self._writer.write(event), self._native)
        return data + self._reframer.close() if isinstance(event, (End, Fail)) else data

    def carry(self, block: int) -> Carry | None:  # noqa: ARG002
        """Return None: every frame is put into the other framing."""
        return None

    def keepalive(self) -> bytes:
        """Return nothing."""
        return b""

    def joined(self) -> None:
        """Learn that frames of the upstream itself went out."""
        self._writer.joined()
        self._reframer.joined()
