"""Events to one whole reply: what a body without streaming holds.

Layer: dialects. Every dialect's `write_reply` starts from a `Reply`.
"""

from typing import assert_never

import msgspec

from rawproxy.dialects.envelope import Seal
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.errors import UpstreamNonsense

__all__ = ["Block", "Choice", "Reply", "fold"]


class Block(msgspec.Struct):
    """One finished block: how it opened, its text (or tool arguments), what was attached to it."""

    opened: Open
    text: str = ""
    seal: Seal | None = None
    notes: list[Note] = []
    logprobs: list[bytes] = []
    closed: bool = False


class Choice(msgspec.Struct):
    """One of n answers: its blocks and vendor-run items in order, and why it stopped."""

    items: list[Block | Whole] = []
    stop: Stop | None = None

    def blocks(self, kind: str) -> list[Block]:
        """Return the blocks of one kind, in order."""
        return [item for item in self.items if isinstance(item, Block) and item.opened.kind == kind]

    def text(self, kind: str) -> str:
        """Return the joined text of the blocks of one kind."""
        return "".join(block.text for block in self.blocks(kind))


class Reply(msgspec.Struct):
    """A whole reply."""

    start: Start = Start()
    choices: dict[int, Choice] = {}
    usage: Usage | None = None
    tier: str | None = None

    def choice(self, number: int) -> Choice:
        """Return a choice, made when it is new."""
        return self.choices.setdefault(number, Choice())


def fold(events: list[Event]) -> Reply:
    """Return the reply that `events` say. Text that came in pieces is joined once.

    Raises:
        UpstreamNonsense: the reply failed; the caller looks for a Fail first.
    """
    reply = Reply()
    blocks: dict[int, Block] = {}
    pieces: dict[int, list[str]] = {}
    for event in events:
        if type(event) is Delta:
            pieces[event.block].append(event.text)
            if event.logprobs:
                blocks[event.block].logprobs.append(bytes(event.logprobs))
        elif type(event) is Start:
            reply.start = event
        elif type(event) is Open:
            blocks[event.block] = opened = Block(event)
            pieces[event.block] = []
            reply.choice(event.choice).items.append(opened)
        elif type(event) is Close:
            blocks[event.block].closed = True
        elif type(event) is Usage:
            reply.usage = event if reply.usage is None else reply.usage.merged(event)
        elif type(event) is Stop:
            reply.choice(event.choice).stop = event
        elif type(event) is End:
            reply.tier = event.tier
        elif type(event) is Note:
            blocks[event.block].notes.append(event)
        elif type(event) is Sealed:
            blocks[event.block].seal = event.seal
        elif type(event) is Whole:
            reply.choice(event.choice).items.append(event)
        elif type(event) is Fail:
            raise UpstreamNonsense("the reply failed before it was whole")
        else:
            assert_never(event)
    for number, block in blocks.items():
        block.text = "".join(pieces[number])
    return reply
