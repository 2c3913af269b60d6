"""What every framing cuts a stream into.

Layer: wire. Declarations: `Frame`, and the `Splitter` that makes them. One file beside this one
knows each framing (`sse`, ...).

A splitter loses nothing: the `raw` bytes of its frames, in order, and what `close` returns are
together exactly the bytes it was fed.
"""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Frame", "PlainFrame", "Splitter"]


class Frame(Protocol):
    """One unit cut from a stream, with its exact bytes. A value: nothing changes it."""

    @property
    def raw(self) -> bytes:
        """The bytes as they came off the wire, with whatever ends the frame."""
        ...

    @property
    def name(self) -> bytes:
        """What the framing calls the frame (the `event:` of SSE); `b""` when it has no name."""
        ...

    @property
    def data(self) -> bytes:
        """What the frame carries; `b""` also when it carries nothing."""
        ...

    @property
    def has_data(self) -> bool:
        """False when the frame carries nothing at all, such as an SSE comment."""
        ...

    @property
    def whole(self) -> bool:
        """False for a piece: bytes to be passed on, in which there is nothing to read."""
        ...


@dataclass(frozen=True, slots=True)
class PlainFrame:
    """A frame whose name and data were known when it was cut."""

    raw: bytes
    name: bytes = b""
    data: bytes = b""
    has_data: bool = False
    whole: bool = True


class Splitter(Protocol):
    """Cuts a stream into frames, whatever the sizes of the reads."""

    mid_frame: bool
    """True while a frame is unfinished of which some bytes have been handed out as pieces."""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, oldest first.

        Raises:
            FrameTooLong: a frame has passed the splitter's limit. Each further call raises it
                again, until `skip` is called.
        """
        ...

    def skip(self) -> list[Frame]:
        """Go on after FrameTooLong, and lose nothing.

        Returns:
            The frames that came before the long one in the same read, the long one as pieces, and
            the frames behind it. If it has no end yet, `feed` returns the rest of it in pieces.
        """
        ...

    def close(self) -> bytes:
        """Return the bytes of an unfinished last frame; `b""` when there is none."""
        ...
