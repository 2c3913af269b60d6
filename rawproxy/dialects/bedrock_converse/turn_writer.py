"""Turns written as the `system` and `messages` of a Converse request.

Layer: dialects. The part of `bedrock_converse` that writes what was said in a call; `blocks` has
the parts.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

Written for a call of another dialect, a conversation is put into the order that the API demands:
leading system turns in `system`, user and assistant in turn with a user first, tool results first
in their message and one for each call, system turns between the others where the model takes them.
A call of this very dialect goes back block by block, with every field that it came with.
"""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from rawproxy.dialects.base import Target
from rawproxy.dialects.bedrock_converse.blocks import BlockWriter, Item
from rawproxy.dialects.bedrock_converse.turn_reader import CACHE
from rawproxy.dialects.call import (
    Call,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from rawproxy.dialects.narrowing import BILLING
from rawproxy.errors import Untranslatable

__all__ = ["TurnWriter"]

OPENING = "(continue)"
"""What the user says where the assistant begins a conversation: the API wants a user first."""

ATTACHED = "(see the document)"
"""The text beside a document that came without one: the API wants both."""

_OF_ASSISTANT = Text | Thinking | ToolCall | Refusal | Opaque
"""What an assistant's turn may hold."""


class _Message(msgspec.Struct):
    """A message in the making, and the turns it is made of."""

    role: str
    turns: list[Turn]
    blocks: list[Item]


class TurnWriter:
    """Writes the turns of one call.

    Args:
        call: what is asked.
        target: whom.
        blocks: writes the parts.
    """

    def __init__(self, call: Call, target: Target, blocks: BlockWriter) -> None:
        self._call = call
        self._target = target
        self._blocks = blocks

    def own_system(self) -> list[Item]:
        """Return the `system` field of a call of this dialect."""
        return [
            block
            for turn in self._call.turns
            if _is_field(turn)
            for block in self._blocks.content(turn.parts)
        ]

    def own_messages(self) -> list[Item]:
        """Return the `messages` field of a call of this dialect."""
        return [
            self._blocks.whole(
                {"role": turn.role, "content": self._blocks.content(turn.parts)}, turn.path
            )
            for turn in self._call.turns
            if not _is_field(turn)
        ]

    def system(self) -> list[Item]:
        """Return the `system` field; empty when there is nothing to say."""
        return [block for turn in self._call.leading_system() for block in self._texts(turn)]

    def messages(self) -> list[Item]:
        """Return the `messages` field.

        Raises:
            Untranslatable: the last turn is to be continued, which the model cannot.
        """
        if self._call.prefill and not self._target.takes.prefill:
            why = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(why, param=self._call.turns[-1].path)
        written = self._placed(_joined(self._drafts()))
        if not written or written[0].role != "user":
            written.insert(0, _Message("user", [], [{"text": OPENING}]))
        for message in written:
            kinds = {kind for block in message.blocks for kind in block}
            if "document" in kinds and "text" not in kinds:
                message.blocks.append({"text": ATTACHED})
        if written[-1].role == "assistant":
            _trim(written[-1].blocks)
        return [{"role": message.role, "content": message.blocks} for message in written]

    def _drafts(self) -> Iterable[_Message]:
        rest = self._call.turns[len(self._call.leading_system()) :]
        for role, group in groupby(rest, key=_role):
            turns = list(group)
            if role == "system":
                blocks = [block for turn in turns for block in self._texts(turn)]
            else:
                blocks = self._said(turns)
            yield _Message(role, turns, blocks)

    def _said(self, turns: list[Turn]) -> list[Item]:
        """Return the blocks of one message: tool results first, one for each call."""
        results: list[Item] = []
        others: list[Item] = []
        answered: set[str] = set()
        for turn in turns:
            self._lose_name(turn)
            for part in turn.parts:
                if not isinstance(part, ToolResult):
                    others += self._part(part, turn)
                elif part.id in answered:
                    self._blocks.lose(part.path, "narrower there")
                else:
                    answered.add(part.id)
                    results += self._blocks.blocks(part)
        return results + others

    def _part(self, part: Part, turn: Turn) -> list[Item]:
        if turn.role != "assistant" or isinstance(part, _OF_ASSISTANT):
            return self._blocks.blocks(part)
        self._blocks.lose(part.path)
        return []

    def _texts(self, turn: Turn) -> list[Item]:
        self._lose_name(turn)
        blocks: list[Item] = []
        for part in turn.parts:
            if not isinstance(part, Text):
                self._blocks.lose(part.path)
            elif not part.text.startswith(BILLING):
                blocks += self._blocks.blocks(part)
        return blocks

    def _lose_name(self, turn: Turn) -> None:
        if turn.name:
            self._blocks.lose(f"{turn.path}.name")

    def _placed(self, drafts: list[_Message]) -> list[_Message]:
        """Return the messages with system turns where they may be."""
        written: list[_Message] = []
        for at, draft in enumerate(drafts):
            before = written[-1].role if written else ""
            after = drafts[at + 1].role if at + 1 < len(drafts) else "assistant"
            if draft.role == "system":
                fitting = self._target.takes.middle_system and before == "user"
                if fitting and after == "assistant":
                    written.append(draft)
                    continue
                draft = self._reminder(draft)
            if before == draft.role:
                written[-1].blocks += draft.blocks
            else:
                written.append(draft)
        for message in written:
            message.blocks = _results_first(message.blocks)
        return written

    def _reminder(self, draft: _Message) -> _Message:
        for turn in draft.turns:
            self._blocks.lose(turn.path, "narrower there")
        for block in draft.blocks:
            if "text" in block:
                block["text"] = f"<system-reminder>\n{block['text']}\n</system-reminder>"
        return _Message("user", draft.turns, draft.blocks)


def _is_field(turn: Turn) -> bool:
    """Return whether a turn stands in the `system` field, not among the messages."""
    return turn.role == "system" and not turn.path.endswith("]")


def _role(turn: Turn) -> str:
    return "system" if turn.role == "developer" else turn.role


def _joined(drafts: Iterable[_Message]) -> list[_Message]:
    """Return the messages that say something, adjacent ones of a role as one."""
    written: list[_Message] = []
    for draft in drafts:
        if draft.blocks and written and written[-1].role == draft.role:
            written[-1].blocks += draft.blocks
            written[-1].turns += draft.turns
        elif draft.blocks:
            written.append(draft)
    return written


def _results_first(blocks: list[Item]) -> list[Item]:
    """Return the blocks with tool results first; a cache point stays behind its block."""
    results: list[Item] = []
    others: list[Item] = []
    place = others
    for block in blocks:
        if CACHE not in block:
            place = results if "toolResult" in block else others
        place.append(block)
    return results + others


def _trim(blocks: list[Item]) -> None:
    """Take the white space off the end of a turn that is to be continued: the API refuses it."""
    last = blocks[-1]
    if "text" in last:
        last["text"] = str(last["text"]).rstrip()
