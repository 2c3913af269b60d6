"""Keeps the order that every reader promises, whatever the upstream sends.

Layer: dialects. A reader says what it saw (`text`, `tool`, `stop`, ...), the scribe returns the
events: blocks numbered densely, names and ids that the client knows, everything closed at Stop,
reasons that agree with what was opened, one Start, one End.
"""

from typing import Literal

import msgspec

from rawproxy.dialects.base import Back, ToolName
from rawproxy.dialects.envelope import Seal
from rawproxy.dialects.events import (
    UNSAID,
    BlockKind,
    Close,
    Delta,
    End,
    Event,
    Fail,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.freeform import Unwrapper
from rawproxy.dialects.reading import decode
from rawproxy.dialects.tally import NO_CHOICES, with_choice
from rawproxy.errors import UpstreamCut

__all__ = ["Scribe", "one_text"]


def one_text(
    start: Start, text: str, stop: Stop, usage: Usage | None, tier: str | None
) -> list[Event]:
    """Return the events of a reply that is one text, as a scribe would that is told the same.

    Args:
        start, text, stop: what it says; the text is not empty.
        usage: None where nothing was said of it.
        tier: the service tier.
    """
    counts = [] if usage is None or usage == UNSAID else [usage]
    return [start, Open(0, "text"), Delta(0, text), Close(0), stop, *counts, End(tier)]


class _Tool:
    """One tool call in the making.

    Attributes:
        block: -1 for the forced tool, whose arguments are the reply's text.
        is_json: the upstream sends JSON, whose end can be told; freeform input has none.
        arguments: the JSON so far.
    """

    __slots__ = ("arguments", "block", "choice", "is_json", "key", "unwrap")

    def __init__(
        self, key: object, block: int, choice: int, *, is_json: bool, unwrap: Unwrapper | None
    ) -> None:
        self.key = key
        self.block = block
        self.choice = choice
        self.is_json = is_json
        self.unwrap = unwrap
        self.arguments: list[str] = []


class Scribe:
    """The events of one reply, in the order of `events.py`.

    What an upstream says of a choice after its Stop, or of anything after the end, gives no events.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self._back = back
        self._blocks = 0
        # Frozen: an empty set of its own would take 216 bytes in each open stream.
        self._ids: frozenset[str] = frozenset()
        self._started = False
        self._running: dict[int, tuple[BlockKind, int]] = {}  # choice -> open text-like block
        self._tools: dict[tuple[int, object], _Tool] = {}  # open ones
        self._used_tools = NO_CHOICES  # choices that opened a tool
        self._choices = NO_CHOICES
        self._stopped = NO_CHOICES
        self._usage = Usage()
        self.ended = False

    @property
    def started(self) -> bool:
        """Whether a Start was given."""
        return self._started

    @property
    def whole(self) -> bool:
        """Whether every choice that began has stopped, the first among them."""
        return 0 in self._stopped and self._choices <= self._stopped

    def start(
        self, reply_id: str | None = None, model: str | None = None, created: int | None = None
    ) -> list[Event]:
        """Return Start, the first time."""
        if self._started or self.ended:
            return []
        self._started = True
        return [Start(reply_id or None, model or None, created)]

    def text(
        self, kind: BlockKind, text: str, choice: int = 0, logprobs: msgspec.Raw | None = None
    ) -> list[Event]:
        """Return the events of more text of `kind`, in the open block or in a new one."""
        if (not text and not logprobs) or self._is_over(choice):
            return []
        events = self.block(kind, choice)
        block = self._running[choice][1]
        events.append(Delta(block, text, logprobs) if logprobs else Delta(block, text))
        return events

    def block(self, kind: BlockKind, choice: int = 0, *, fresh: bool = False) -> list[Event]:
        """Return the events that make a `kind` block the running one; `fresh`: a new one anyway."""
        running = self._running.get(choice)
        if self._is_over(choice) or (running is not None and running[0] == kind and not fresh):
            return []
        events = self.start()
        if running is not None:
            events += self.close_text(choice)
        if self._tools:
            events += self._close_whole_tools(choice)
        self._running[choice] = (kind, self._blocks)
        self._choices = with_choice(self._choices, choice)
        events.append(Open(self._next(), kind, choice))
        return events

    def running(self, choice: int = 0) -> int | None:
        """Return the number of the open text-like block; None when none is open."""
        running = self._running.get(choice)
        return None if running is None else running[1]

    def seal(self, seal: Seal, choice: int = 0) -> list[Event]:
        """Return the events that seal and close the running thinking block, or else a new one."""
        if self._is_over(choice):
            return []
        events = [] if self._is_thinking(choice) else self.block("thinking", choice, fresh=True)
        return [*events, Sealed(self._running[choice][1], seal), *self.close_text(choice)]

    def close_text(self, choice: int = 0) -> list[Event]:
        """Return the end of the running text-like block, if there is one."""
        running = self._running.pop(choice, None)
        return [] if running is None or self.ended else [Close(running[1])]

    def item(self, item: Whole) -> list[Event]:
        """Return an item that comes whole, behind the end of the running text-like block."""
        if self._is_over(item.choice):
            return []
        self._choices = with_choice(self._choices, item.choice)
        return [*self.start(), *self.close_text(item.choice), item]

    def tool(
        self, key: object, name: str, tool_id: str | None = None, choice: int = 0, *,
        kind: str = "function", namespace: str | None = None,
        runs: Literal["client", "vendor"] = "client", seal: Seal | None = None,
    ) -> list[Event]:  # fmt: skip
        """Return the events that open a tool call; `key` names it among those open in its choice.

        The name, kind and id become the client's own; a missing or repeated id is made. A key that
        is open already is another call: the earlier one is closed.
        """
        if self._is_over(choice):
            return []
        self._choices = with_choice(self._choices, choice)
        before = [*self.start(), *self.close_tool(key, choice)]
        if name == self._back.forced_tool:
            self._tools[choice, key] = _Tool(key, -1, choice, is_json=False, unwrap=None)
            return before
        known = self._back.tools.get(name)
        unwrap = Unwrapper() if known and known.kind == "freeform" != kind else None
        known = known or ToolName(name, namespace, kind)
        self._used_tools = with_choice(self._used_tools, choice)
        before += [*self.close_text(choice), *self._close_whole_tools(choice)]
        block = self._next()
        is_json = kind != "freeform"
        self._tools[choice, key] = _Tool(key, block, choice, is_json=is_json, unwrap=unwrap)
        opened = Open(
            block, "tool", choice, self._tool_id(tool_id, block), known.name, tool=known.kind,
            namespace=known.namespace, runs=runs, seal=seal,
        )  # fmt: skip
        return [*before, opened]

    def has_tool(self, key: object, choice: int = 0) -> bool:
        """Return whether the tool call `key` is open."""
        return (choice, key) in self._tools

    def is_whole(self, key: object, choice: int = 0) -> bool:
        """Return whether nothing can follow in the tool call `key`: its arguments are complete."""
        tool = self._tools.get((choice, key))
        return tool is None or _complete("".join(tool.arguments))

    def arguments(self, key: object, piece: str, choice: int = 0) -> list[Event]:
        """Return more arguments of the tool call `key`; nothing when it is not open."""
        tool = self._tools.get((choice, key))
        if tool is None or self.ended:
            return []
        if tool.block < 0:
            return self.text("text", piece, choice)
        if tool.is_json:
            tool.arguments.append(piece)
        text = tool.unwrap.feed(piece) if tool.unwrap else piece
        return [Delta(tool.block, text)] if text else []

    def close_tool(self, key: object, choice: int = 0) -> list[Event]:
        """Return the end of the tool call `key`, if it is open."""
        tool = self._tools.pop((choice, key), None)
        if tool is None or tool.block < 0 or self.ended:
            return []
        left = tool.unwrap.close() if tool.unwrap else ""
        return [*([Delta(tool.block, left)] if left else []), Close(tool.block)]

    def usage(self, usage: Usage) -> list[Event]:
        """Return the counts, merged with those said before; nothing when nothing is new."""
        merged = self._usage.merged(usage)
        if merged == self._usage or self.ended:
            return []
        self._usage = merged
        return [merged] if self._started else [*self.start(), merged]

    def stop(
        self, reason: Reason, choice: int = 0, *, sequence: str | None = None,
        detail: str | None = None, category: str | None = None, word: str | None = None,
    ) -> list[Event]:  # fmt: skip
        """Return the events that end a choice: what is open is closed, the reason agrees with it.

        `end` becomes `tools` when the choice opened a tool, `tools` without one becomes `end`. A
        second Stop of a choice is not said.
        """
        if self._is_over(choice):
            return []
        self._choices = with_choice(self._choices, choice)
        self._stopped = with_choice(self._stopped, choice)
        events = self.start() + self.close_text(choice)
        if self._tools:
            for tool in [tool for tool in self._tools.values() if tool.choice == choice]:
                events += self.close_tool(tool.key, choice)
        if reason in ("end", "tools") and not self._back.partial:
            reason = "tools" if choice in self._used_tools else "end"
        events.append(Stop(reason, choice, sequence, detail, category, word))
        return events

    def fail(self, fail: Fail) -> list[Event]:
        """Return the failure, unless the reply is over already."""
        if self.ended:
            return []
        self.ended = True
        return [fail]

    def end(self, tier: str | None = None) -> list[Event]:
        """Return End, the first time. The caller has stopped every choice, or calls `close`."""
        if self.ended:
            return []
        self.ended = True
        return [End(tier)]

    def close(self, tier: str | None = None) -> list[Event]:
        """Return what the end of the bytes means: End once every choice has stopped.

        Raises:
            UpstreamCut: a choice has not stopped.
        """
        if self.ended or self.whole:
            return self.end(tier)
        raise UpstreamCut("the upstream's reply ended before it was whole")

    def _next(self) -> int:
        self._blocks += 1
        return self._blocks - 1

    def _is_over(self, choice: int) -> bool:
        return self.ended or choice in self._stopped

    def _is_thinking(self, choice: int) -> bool:
        running = self._running.get(choice)
        return running is not None and running[0] == "thinking"

    def _tool_id(self, tool_id: str | None, block: int) -> str:
        known = self._back.ids.get(tool_id or "", tool_id)
        if not known or known in self._ids:
            known = f"call_{self._back.seed}{block}"
            while known in self._ids:  # the upstream counts its calls in the same way
                known += "_"
        self._ids |= {known}
        return known

    def _close_whole_tools(self, choice: int) -> list[Event]:
        """Close tools whose arguments are one complete JSON value: nothing can follow it."""
        events: list[Event] = []
        for tool in [tool for tool in self._tools.values() if tool.choice == choice]:
            if _complete("".join(tool.arguments)):
                events += self.close_tool(tool.key, choice)
        return events


def _complete(arguments: str) -> bool:
    if not arguments.rstrip().endswith("}"):
        return False
    try:
        decode(arguments.encode("utf-8", "replace"), msgspec.Raw)
    except ValueError:
        return False
    return True
