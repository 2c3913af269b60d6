"""Turns written as the `contents` and the system instruction of a Gemini request.

Layer: dialects. The part of `gemini` that writes what was said in a call; `part_writer` has the
parts.
Source: https://ai.google.dev/api/generate-content

Written for a call of another dialect, a conversation is put into the order that the API demands:
leading system turns in the system instruction, user and model in turn with a user first, tool
results first in their content. A call of this very dialect goes back part by part, with every field
that it came with.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Raw

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import Call, Part, Text, Thinking, ToolCall, ToolResult, Turn
from rawproxy.dialects.envelope import Seal
from rawproxy.dialects.gemini.ledger import Ledger
from rawproxy.dialects.gemini.part_writer import PartWriter
from rawproxy.dialects.gemini.signatures import SIGNATURE
from rawproxy.dialects.gemini.spelling import Item
from rawproxy.dialects.unseal import UNSIGNED
from rawproxy.errors import Untranslatable

__all__ = ["TurnWriter"]

OPENING = "(continue)"
"""What the user says where the model begins a conversation: the API wants a user first."""

NEXT = "next"
"""What a seal is about that belongs to the part behind it."""

_Items = list[Item | Raw]


class TurnWriter:
    """Writes the turns of one call.

    Args:
        call: what is asked.
        target: whom.
        ledger: keeps the losses.
        parts: writes the parts.
    """

    def __init__(self, call: Call, target: Target, ledger: Ledger, parts: PartWriter) -> None:
        self._call = call
        self._target = target
        self._ledger = ledger
        self._parts = parts

    def own_system(self) -> Item | None:
        """Return the system instruction of a call of this dialect."""
        for turn in self._call.leading_system():
            return self._ledger.whole({"parts": self._parts.all_parts(turn.parts)}, turn.path)
        return None

    def own_contents(self) -> list[Item]:
        """Return the contents of a call of this dialect."""
        turns = self._call.turns[len(self._call.leading_system()) :]
        return [
            self._ledger.whole(_content(turn.role, self._parts.all_parts(turn.parts)), turn.path)
            for turn in turns
        ]

    def system(self) -> Item | None:
        """Return the system instruction; None when there is nothing to say."""
        items = [item for turn in self._call.leading_system() for item in self._texts(turn)]
        return {"parts": items} if items else None

    def contents(self) -> list[Item]:
        """Return the contents.

        Raises:
            Untranslatable: the last turn is to be continued, which the model cannot.
        """
        call = self._call
        if call.prefill and not self._target.takes.prefill:
            why = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(why, param=call.turns[-1].path)
        written: list[tuple[str, _Items]] = []
        for role, items in self._drafts():
            if items and written and written[-1][0] == role:
                written[-1][1].extend(items)
            elif items:
                written.append((role, items))
        if not written or written[0][0] != "user":
            written.insert(0, ("user", [{"text": OPENING}]))
        for role, items in written:
            if role == "user":
                items.sort(key=_is_no_result)
            elif self._target.takes.reasoning == "effort":
                _sign_first(items)
        return [_content(role, items) for role, items in written]

    def _drafts(self) -> Iterator[tuple[str, _Items]]:
        """Yield the role and the parts of adjacent turns of a role."""
        rest = self._call.turns[len(self._call.leading_system()) :]
        for role, group in groupby(rest, key=_role):
            turns = list(group)
            for turn in turns:
                if turn.name:
                    self._ledger.lose(f"{turn.path}.name")
            parts = [part for turn in turns for part in turn.parts]
            if role == "system":
                yield "user", [item for turn in turns for item in self._reminder(turn)]
            elif role == "user":
                yield "user", self._asked(parts)
            else:
                yield "assistant", self._answered(parts)

    def _asked(self, parts: Sequence[Part]) -> _Items:
        after: _Items = []
        results: _Items = []
        others: _Items = []
        for part in parts:
            if isinstance(part, ToolResult):
                self._ledger.lose_cache(part)
                results.append(self._parts.result(part, after))
            else:
                others += self._parts.parts(part)
        return results + after + others

    def _answered(self, parts: Sequence[Part]) -> _Items:
        """Return what the model said. Seals that travelled on their own go back to their parts."""
        sealed = [part for part in parts if isinstance(part, Thinking) and _about(part)]
        seals = {_about(part): part for part in sealed if _about(part) != NEXT}
        items: _Items = []
        waiting: Thinking | None = None
        for part in parts:
            if part in sealed:
                waiting = part if _about(part) == NEXT else waiting
                continue
            found = self._parts.parts(part)
            if isinstance(part, (Text, ToolCall)) and part.seal is None and found:
                own = seals.pop(part.id, None) if isinstance(part, ToolCall) else None
                if own is None and waiting is not None:
                    own, waiting = waiting, None
                if own is not None:
                    found = self._signed(found, own)
            items += found
        for left in (*seals.values(), *([waiting] if waiting else [])):
            self._ledger.lose(left.path)
        return items

    def _signed(self, items: _Items, carried: Thinking) -> _Items:
        item, seal = items[0], carried.seal
        assert isinstance(item, dict)
        return [self._parts.signed(item, seal, carried.path)]

    def _texts(self, turn: Turn) -> _Items:
        if turn.name:
            self._ledger.lose(f"{turn.path}.name")
        items: _Items = []
        for part in turn.parts:
            if isinstance(part, Text):
                items += self._parts.parts(part)
            else:
                self._ledger.lose(part.path)
        return items

    def _reminder(self, turn: Turn) -> _Items:
        """Return a system turn that stands between the others, as a text of the user."""
        self._ledger.lose(turn.path, "narrower there")
        return [
            {"text": f"<system-reminder>\n{item['text']}\n</system-reminder>"}
            for item in self._texts(turn)
            if isinstance(item, dict)
        ]


def _role(turn: Turn) -> str:
    return "system" if turn.role == "developer" else turn.role


def _content(role: str, items: Sequence[Item | Raw]) -> Item:
    return {"role": "model" if role == "assistant" else "user", "parts": items}


def _about(part: Thinking) -> str | None:
    """Return what the seal of a thought without text belongs to, if not to the thought."""
    seal: Seal | None = part.seal
    return seal.about if seal is not None and seal.form == SIGNATURE and not part.text else None


def _is_no_result(item: Item | Raw) -> bool:
    return not (isinstance(item, dict) and "functionResponse" in item)


def _sign_first(items: _Items) -> None:
    """Mark a turn's first tool call, where no signature is known: newer models refuse it bare."""
    for item in items:
        if isinstance(item, dict) and "functionCall" in item:
            item.setdefault(SIGNATURE, UNSIGNED)
            return
