"""The client's own name for a model, put into replies that name it as the upstream does.

Layer: dialects. A splice: every other byte stays as it is. What cannot be read goes through as it is.
"""

from rawproxy.dialects.base import Dialect
from rawproxy.dialects.reading import encode
from rawproxy.errors import WireError
from rawproxy.wire import splice
from rawproxy.wire.frame import Frame, Framing

__all__ = ["Rename"]


class Rename:
    """Edits frames and bodies of one dialect.

    Args:
        dialect: says where replies name the model.
        framing: of the frames.
        model: the name to put there.
    """

    def __init__(self, dialect: Dialect, framing: Framing, model: str) -> None:
        self._paths = dialect.REPLY_MODEL
        # The last key of each path, as it is spelled: most frames that lack it are left at once.
        self._marks = {b'"%b"' % path.rpartition(".")[2].encode() for path in self._paths}
        self._framing = framing
        self._model = encode(model)

    def frame(self, frame: Frame) -> bytes:
        """Return the frame's bytes with the name in them."""
        data = frame.data
        edited = self.body(data)
        if edited is data:
            return frame.raw
        before, found, after = frame.raw.partition(data)
        if found:
            return before + edited + after
        return self._framing.write(edited, name=frame.name)

    def body(self, body: bytes) -> bytes:
        """Return a body with the name in it; the same object where it names no model."""
        if not any(mark in body for mark in self._marks):
            return body
        edited = body
        for path in self._paths:
            try:
                edited = splice.put(edited, path, self._model)
            except WireError:
                continue  # `message` of an error is a text, and has no model in it
        return edited
