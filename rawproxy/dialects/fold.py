"""Events to one whole reply: what a body without streaming holds.

Layer: dialects. Every dialect's `write_reply` starts from a `Reply`.
"""

from dataclasses import dataclass, field
from typing import assert_never

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


@dataclass(slots=True)
class Block:
    """One finished block: how it opened, its text (or tool arguments), what was attached to it."""

    opened: Open
    text: str = ""
    seal: Seal | None = None
    notes: list[Note] = field(default_factory=list)
    logprobs: list[bytes] = field(default_factory=list)
    closed: bool = False


@dataclass(slots=True)
class Choice:
    """One of n answers: its blocks and vendor-run items in order, and why it stopped."""

    items: list[Block | Whole] = field(default_factory=list)
    stop: Stop | None = None

    def blocks(self, kind: str) -> list[Block]:
        """Return the blocks of one kind, in order."""
        return [item for item in self.items if isinstance(item, Block) and item.opened.kind == kind]

    def text(self, kind: str) -> str:
        """Return the joined text of the blocks of one kind."""
        return "".join(block.text for block in self.blocks(kind))


@dataclass(slots=True)
class Reply:
    """A whole reply."""

    start: Start = field(default_factory=Start)
    choices: dict[int, Choice] = field(default_factory=dict)
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
        match event:
            case Start():
                reply.start = event
            case Open(block=number, choice=choice):
                blocks[number] = Block(event)
                pieces[number] = []
                reply.choice(choice).items.append(blocks[number])
            case Delta(block=number, text=text, logprobs=logprobs):
                pieces[number].append(text)
                if logprobs:
                    blocks[number].logprobs.append(bytes(logprobs))
            case Note(block=number):
                blocks[number].notes.append(event)
            case Sealed(block=number, seal=seal):
                blocks[number].seal = seal
            case Close(block=number):
                blocks[number].closed = True
            case Whole(choice=choice):
                reply.choice(choice).items.append(event)
            case Usage():
                reply.usage = event if reply.usage is None else reply.usage.merged(event)
            case Stop(choice=choice):
                reply.choice(choice).stop = event
            case End(tier=tier):
                reply.tier = tier
            case Fail():
                raise UpstreamNonsense("the reply failed before it was whole")
            case _:
                assert_never(event)
    for number, block in blocks.items():
        block.text = "".join(pieces[number])
    return reply
