"""The client's own name for a model, put into replies that name it as the upstream does.

Layer: dialects. A splice: every other byte stays as it is. What cannot be read goes through as it is.

Frames of a stream mostly begin alike, up to the name and further. One that begins as the last one did
needs no look at its JSON (1 us; 10 with it), unless it may name the model a second time.
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
        self._head = self._renamed = b""  # how the last frame began, name included; what went out

    def frame(self, frame: Frame) -> bytes:
        """Return the frame's bytes with the name in them."""
        raw, head = frame.raw, self._head
        if head and raw.startswith(head) and not self._names_more(raw, len(head)):
            return self._renamed + raw[len(head) :]
        data = frame.data
        edits = self._edits(data)
        if not edits:
            return raw
        before, found, after = raw.partition(data)
        if not found:
            return self._framing.write(splice.edit(data, edits), name=frame.name)
        if len(edits) == 1:
            start, end, name = edits[0]
            self._head = before + data[:end]
            self._renamed = before + data[:start] + name
        return before + splice.edit(data, edits) + after

    def body(self, body: bytes) -> bytes:
        """Return a body with the name in it; the same object where it names no model."""
        edits = self._edits(body)
        return splice.edit(body, edits) if edits else body

    def _names_more(self, raw: bytes, at: int) -> bool:
        """Return whether a key of ours may stand behind `at`: as it is, or with letters escaped."""
        return raw.find(b"\\u00", at) >= 0 or any(raw.find(mark, at) >= 0 for mark in self._marks)

    def _edits(self, body: bytes) -> list[splice.Edit]:
        edits: list[splice.Edit] = []
        if not any(mark in body for mark in self._marks):
            return edits
        for path in self._paths:
            try:
                span = splice.find(body, path)
            except WireError:
                continue  # `message` of an error is a text, and has no model in it
            if span is not None:
                edits.append((*span, self._model))
        return edits
