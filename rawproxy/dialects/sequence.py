"""One block after another: for dialects whose streams have no room for two open blocks.

Layer: dialects. Used by writers (Messages). The block that opened first streams live; what comes
for others waits until it closes. Blocks that turn out empty are never opened, numbers are dense
again.
"""

from msgspec.structs import replace

from rawproxy.dialects.events import Close, Delta, Event, Fail, Note, Open, Sealed

__all__ = ["Sequencer"]


class _Block:
    """A block not yet closed downstream: its Open, what waits, its number (None: not said yet)."""

    __slots__ = ("number", "opened", "waiting")

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.number: int | None = None
        self.waiting: list[Delta | Note | Sealed | Close] = []


class Sequencer:
    """Feed it events of a reply; it returns them with at most one block open at a time.

    Events that belong to no block pass at once. Fail drops what waits: nobody closes what broke.
    """

    __slots__ = ("_blocks", "_next")

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}  # in order of opening; the first one is live
        self._next = 0

    @property
    def live(self) -> int | None:
        """The block that streams now, by the number it was fed with; None without one."""
        return next(iter(self._blocks), None)

    def feed(self, event: Event) -> list[Event]:
        """Return what may be said now."""
        match event:
            case Open(block=block):
                self._blocks[block] = _Block(event)
                return self._advance()
            case Delta(block=block) | Note(block=block) | Sealed(block=block) | Close(block=block):
                held = self._blocks.get(block)
                if held is None:
                    return []  # a Note after its Close: the stream has moved on
                held.waiting.append(event)
                return self._advance()
            case Fail():
                self._blocks.clear()
        return [event]

    def _advance(self) -> list[Event]:
        said: list[Event] = []
        while self._blocks:
            key, live = next(iter(self._blocks.items()))
            closed = False
            if live.opened.kind == "tool":
                self._say_open(live, said)
            for event in live.waiting:
                if isinstance(event, Close):
                    closed = True
                else:
                    self._say_open(live, said)
                    number = live.number
                    assert number is not None
                    said.append(event if number == key else replace(event, block=number))
            live.waiting.clear()
            if not closed:
                break
            if live.number is not None:
                said.append(Close(live.number))
            del self._blocks[key]
        return said

    def _say_open(self, live: _Block, said: list[Event]) -> None:
        if live.number is None:
            live.number = self._next
            self._next += 1
            opened, number = live.opened, live.number
            said.append(opened if number == opened.block else replace(opened, block=number))
