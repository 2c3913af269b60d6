"""What every framing cuts a stream into.

Layer: wire. Declarations: `Frame`, the `Splitter` that makes them, and `Framing`. One module beside
this one knows each framing (`sse`, `ndjson`, `eventstream`, `jsonarray`).

A splitter loses nothing: the `raw` bytes of its frames, in order, and what `close` returns are
together exactly the bytes it was fed.
"""

from typing import Protocol

import msgspec

__all__ = ["MAX_FRAME", "Frame", "Framing", "PlainFrame", "Splitter"]


MAX_FRAME = 16 * 2**20
"""Bytes a frame may have. The largest seen carry a whole image in base64: a few MiB."""


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


class PlainFrame(msgspec.Struct, frozen=True):
    """A frame whose name and data were known when it was cut."""

    raw: bytes
    name: bytes = b""
    data: bytes = b""
    has_data: bool = False
    whole: bool = True


class Splitter(Protocol):
    """Cuts a stream into frames, whatever the sizes of the reads."""

    @property
    def mid_frame(self) -> bool:
        """True while a frame is unfinished of which some bytes have been handed out as pieces."""
        ...

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes, oldest first.

        Raises:
            FrameTooLong: a frame has passed the splitter's limit.
            WireError: a frame breaks the framing. Each further call raises either again, until
                `skip` is called.
        """
        ...

    def skip(self) -> list[Frame]:
        """Go on after an error, and lose nothing.

        Returns:
            The frames that came before the bad one in the same read, the bad one as pieces, and
            the frames behind it. If it has no end yet, `feed` returns the rest of it in pieces.
        """
        ...

    def unread(self) -> bytes:
        """Return the bytes of an unfinished frame, and be as if they had never come.

        Not while `mid_frame`, nor after an error.
        """
        ...

    def close(self) -> bytes:
        """Return the bytes of an unfinished last frame; `b""` when there is none."""
        ...


class Framing(Protocol):
    """A way to put frames on the wire. A framing is a module: mypy checks it against this."""

    TYPE: bytes
    """Its media type, lower case, without parameters."""

    OPEN: bytes
    """What stands before the first frame, e.g. `[`; `b""` nearly everywhere."""

    BETWEEN: bytes
    """What stands between two frames that `write` gave."""

    CLOSE: bytes
    """What stands after the last frame."""

    def splitter(self, max_frame: int) -> Splitter:
        """Return a splitter for one stream; `max_frame` is bytes."""
        ...

    def read_tail(self, tail: bytes) -> Frame | None:
        """Return the frame that `tail` is, if only what ends a frame is missing; else None.

        Args:
            tail: what `Splitter.close` returned.
        """
        ...

    def mend(self, tail: bytes) -> bytes:
        """Return what has to follow `tail`, in which `read_tail` found a frame, to end that frame."""
        ...

    def write(self, data: bytes, *, name: bytes = b"") -> bytes:
        """Return one frame's bytes. A framing without names leaves `name` out."""
        ...
