"""A writer that is watched: what it writes is held against its dialect's grammar.

Layer: dialects. For a sample of streams in production, and for tests.
"""

from rawproxy.dialects.base import Carry, Dialect, StreamWriter
from rawproxy.dialects.events import End, Event, Fail
from rawproxy.dialects.losses import Loss
from rawproxy.wire.frame import MAX_FRAME

__all__ = ["Checked"]


class Checked:
    """Writes what `writer` writes, and counts the rules that it breaks.

    Args:
        writer: the dialect's own.
        dialect: it.
    """

    def __init__(self, writer: StreamWriter, dialect: Dialect) -> None:
        self._writer = writer
        self._grammar = dialect.grammar()
        self._splitter = dialect.FRAMING.splitter(MAX_FRAME)
        self.joined = writer.joined
        self.violations: dict[str, int] = {}
        """Rule -> how often it was broken."""

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words."""
        return self._writer.losses

    def write(self, event: Event) -> bytes:
        """Return the event's bytes."""
        data = self._writer.write(event)
        self._check(data)
        if data and isinstance(event, (End, Fail)):
            self._note(self._grammar.close())
        return data

    def carry(self, block: int) -> Carry | None:  # noqa: ARG002
        """Return None: every frame is looked at."""
        return None

    def keepalive(self) -> bytes:
        """Return a frame that means nothing."""
        data = self._writer.keepalive()
        self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            self._note(self._grammar.check(frame))

    def _note(self, broken: list[str]) -> None:
        for text in broken:
            rule = text.partition(":")[0]
            self.violations[rule] = self.violations.get(rule, 0) + 1
