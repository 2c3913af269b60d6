"""Stop sequences that the upstream cannot take: the reply ends here before the first of them.

Layer: dialects. Sits between a reader's events and a writer, in the order of `events.py`.
"""

from collections.abc import Iterable

from rawproxy.dialects.events import Close, Delta, End, Event, Note, Open, Sealed, Stop, Whole
from rawproxy.dialects.stop import StopFilter

__all__ = ["Cutoff"]


class Cutoff:
    """Feed it events of a reply; it returns them up to the first stop sequence in a text.

    Only text counts, each choice for itself. A tool call that is under way where a text is cut goes
    on to its end: half of one is worth nothing. When every choice that began has stopped, End
    follows: what the upstream still says is of no use.

    Args:
        stops: the sequences.
    """

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._open: dict[int, Open] = {}
        self._gone: set[int] = set()  # blocks that are not there downstream, or not any more
        self._filters: dict[int, StopFilter] = {}  # of an open text block
        self._cut: dict[int, str] = {}  # choice -> the sequence that matched in it
        self._choices: set[int] = set()
        self._stopped: set[int] = set()
        self.over = False
        """The reply was ended here: nothing that the upstream says can follow."""

    def feed(self, events: Iterable[Event]) -> list[Event]:
        """Return what of `events` goes on, and the end where a sequence matched."""
        said: list[Event] = []
        for event in events:
            if not self.over:
                said += self._one(event)
        return said

    def _one(self, event: Event) -> list[Event]:
        match event:
            case Open(block=block, choice=choice):
                self._choices.add(choice)
                if choice in self._cut:
                    self._gone.add(block)
                    return []
                self._open[block] = event
                if event.kind == "text":
                    self._filters[block] = StopFilter(self._stops)
            case Delta(block=block) if block in self._filters:
                return self._text(event, self._filters[block])
            case Delta(block=block) | Note(block=block) | Sealed(block=block):
                return [] if block in self._gone else [event]
            case Close(block=block):
                return self._close(event)
            case Stop(choice=choice):
                if choice in self._stopped:
                    return []
                self._stopped.add(choice)
            case Whole(choice=choice) if choice in self._cut:
                return []
        return [event]

    def _text(self, delta: Delta, search: StopFilter) -> list[Event]:
        text = search.feed(delta.text)
        said: list[Event] = []
        if text or (delta.logprobs and search.hit is None):
            said.append(Delta(delta.block, text, delta.logprobs))
        if search.hit is None:
            return said
        choice = self._open[delta.block].choice
        self._cut[choice] = search.hit
        # Texts of a choice come one after another: no other one is open.
        self._leave(delta.block)
        return [*said, Close(delta.block), *self._stop(choice)]

    def _close(self, close: Close) -> list[Event]:
        if close.block in self._gone:
            return []
        opened = self._open.pop(close.block)
        search = self._filters.pop(close.block, None)
        held = search.close() if search else ""
        said: list[Event] = [Delta(close.block, held)] if held else []
        return [*said, close, *self._stop(opened.choice)]

    def _leave(self, block: int) -> None:
        del self._open[block], self._filters[block]
        self._gone.add(block)

    def _stop(self, choice: int) -> list[Event]:
        """Return the end of a choice that was cut, once nothing of it is open; and of the reply."""
        if choice not in self._cut or any(one.choice == choice for one in self._open.values()):
            return []
        self._stopped.add(choice)
        said: list[Event] = [Stop("stop_sequence", choice, self._cut[choice])]
        if self._choices <= self._stopped:
            self.over = True
            said.append(End())
        return said
