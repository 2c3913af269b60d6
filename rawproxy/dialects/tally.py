"""What has been learnt of a reply so far: the one thing that gateway reads of its events.

Layer: dialects.
"""

from collections.abc import Iterable

from rawproxy.dialects.events import (
    Delta,
    End,
    Event,
    Fail,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)

__all__ = ["NO_CHOICES", "Tally", "with_choice"]

NO_CHOICES: frozenset[int] = frozenset()

_FIRST = frozenset({0})


def with_choice(choices: frozenset[int], choice: int) -> frozenset[int]:
    """Return `choices` and `choice`.

    A set takes 216 bytes, and each open stream has some: nearly all of them share one of these two.
    """
    if choice in choices:
        return choices
    return choices | {choice} if choices or choice else _FIRST


class Tally:
    """Counts and states of one reply, fed with its events.

    Args:
        choices: how many answers were asked for (n); each has to stop before the reply is whole.
    """

    __slots__ = (
        "_asked", "_opened", "_stopped", "bearing", "deltas", "ended", "failure", "model",
        "repaired", "stop", "unknown", "usage", "whole",
    )  # fmt: skip

    def __init__(self, choices: int = 1) -> None:
        self._asked = choices
        self._opened = NO_CHOICES
        self._stopped = NO_CHOICES
        self.bearing = False
        """Output was seen: once such went downstream, no other upstream is tried."""
        self.ended = False
        """The dialect's own terminator was seen."""
        self.whole = False
        """The reply is complete: every choice has stopped, or the terminator came."""
        self.repaired = False
        """We wrote something that the upstream left out."""
        self.deltas = 0
        self.unknown = 0
        """Frames that no table knows."""
        self.usage: Usage | None = None
        self.stop: Stop | None = None
        self.failure: Fail | None = None
        self.model: str | None = None

    def note(self, events: Iterable[Event]) -> None:
        """Learn from `events`, in order."""
        # Where it is none, `isinstance` asks a struct's metaclass: all of this would take three times as long.
        for event in events:
            if type(event) is Delta:
                self.deltas += 1
                self.bearing = True
            elif type(event) is Start:
                self.model = event.model or self.model
            elif type(event) is Open:
                self._opened = with_choice(self._opened, event.choice)
                self.bearing = self.bearing or event.kind == "tool"
            elif type(event) is Usage:
                self.usage = event if self.usage is None else self.usage.merged(event)
            elif type(event) is Stop:
                self._stopped = with_choice(self._stopped, event.choice)
                self.stop = event
            elif type(event) is End:
                self.ended = True
            elif type(event) is Fail:
                self.failure = event
            elif type(event) is Sealed or type(event) is Whole:
                self.bearing = True
        stopped = self._stopped
        self.whole = self.ended or (len(stopped) >= self._asked and self._opened <= stopped)
