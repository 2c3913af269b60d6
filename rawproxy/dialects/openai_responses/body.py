"""Replies of the Responses API, written as one body.

Layer: dialects. The part of `openai_responses` that speaks to clients that do not stream.
Spec: https://platform.openai.com/docs/api-reference/responses/object
"""

from rawproxy.dialects.call import Call
from rawproxy.dialects.events import Event, Stop, Whole
from rawproxy.dialects.fold import Block, fold
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_responses.failures import malformed, write_failed
from rawproxy.dialects.openai_responses.items import (
    Head,
    Item,
    Losses,
    annotation,
    incomplete,
    message,
    part,
    read_logprobs,
    reasoning,
    tool_call,
    write_usage,
)
from rawproxy.dialects.openai_responses.reasoning import REASONING, RESPONSES
from rawproxy.dialects.reading import encode

__all__ = ["write_body"]


def write_body(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Args:
        events: the reply.
        call: what was asked.
        reply_id: used where the upstream gave none.
        now: Unix seconds, used likewise.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    created = now if reply.start.created is None else reply.start.created
    head = Head.of(call, reply.start.id or reply_id, created, reply.start.model)
    choice = reply.choice(0)
    stop = choice.stop or Stop("end")
    output = _Output(head)
    if len(reply.choices) > 1:
        output.losses.add("choices")
    is_cut = incomplete(stop, refused=True) is not None
    for item in choice.items:
        output.add(item, cut=is_cut and item is choice.items[-1])
    if stop.reason == "refusal" and stop.detail and not output.refused:
        output.add_part("refusal", part("refusal", stop.detail), None)
    reason = incomplete(stop, refused=output.refused)
    usage = write_usage(reply.usage)
    if stop.reason == "malformed":
        error = write_failed(malformed(stop))[1]
        body = head.response("failed", output.items, usage=usage, tier=reply.tier, error=error)
    else:
        status = "completed" if reason is None else output.cut()
        body = head.response(status, output.items, usage=usage, tier=reply.tier, reason=reason)
    return encode(body), output.losses.found


class _Output:
    """The items of a response, as they are put together.

    Attributes:
        items: the items so far.
        refused: a refusal is among their parts.
    """

    def __init__(self, head: Head) -> None:
        self.items: list[object] = []
        self.losses = Losses()
        self.refused = False
        self._head = head
        self._vault = head.call.vault
        self._parts: list[Item] | None = None  # of the last item, a message
        self._phase: str | None = None

    def add(self, item: Block | Whole, *, cut: bool) -> None:
        """Add a block or a vendor-run item; `cut`: the reply broke off in it."""
        if isinstance(item, Whole):
            if item.dialect == RESPONSES:
                self._add_item(item.raw)
            else:
                self.losses.add(item.shows)
        elif item.opened.runs == "vendor":
            self.losses.add(item.opened.name)
        else:
            self._add_block(item, cut=cut)

    def add_part(self, kind: str, said: Item, phase: str | None) -> None:
        """Add a part to the message that is the last item, or to a new one."""
        self.refused = self.refused or kind == "refusal"
        if self._parts is None or self._phase != phase:
            parts: list[Item] = []
            self._add_item(message(self._item_id("message"), "completed", parts, phase))
            self._parts, self._phase = parts, phase
        self._parts.append(said)

    def cut(self) -> str:
        """Mark the last item as cut off; return the status that says so."""
        last = self.items[-1] if self.items else None
        if isinstance(last, dict) and "status" in last:
            last["status"] = "incomplete"
        return "incomplete"

    def _add_item(self, item: object) -> None:
        self.items.append(item)
        self._parts = None

    def _item_id(self, kind: str) -> str:
        return self._head.item_id(kind, len(self.items))

    def _add_block(self, block: Block, *, cut: bool) -> None:
        opened, text = block.opened, block.text
        if opened.seal is not None:
            item_id = self._item_id(REASONING)
            self._add_item(reasoning(item_id, seal=opened.seal, vault=self._vault))
        match opened.kind:
            case "tool":
                freeform = opened.tool == "freeform"
                kind = "custom_tool_call" if freeform else "function_call"
                said = text if text or freeform or cut else "{}"
                self._add_item(tool_call(opened, self._item_id(kind), "completed", said))
            case "thinking" if text or block.seal:
                item_id = self._item_id(REASONING)
                native = self._head.native_reasoning(item_id, text, block.seal)
                self._add_item(native or reasoning(item_id, text, block.seal, self._vault))
            case "text" | "refusal":
                self._add_text(block)

    def _add_text(self, block: Block) -> None:
        kind = block.opened.kind
        notes: list[object] = []
        logprobs = []
        for note in block.notes:
            cited = annotation(note, len(block.text)) if kind == "text" else None
            if cited is None:
                self.losses.add("citations")
            else:
                notes.append(cited)
        for raw in block.logprobs:
            found = read_logprobs(raw) if kind == "text" else None
            if found is None:
                self.losses.add("logprobs")
            logprobs += found or []
        if block.text or notes or block.logprobs:
            self.add_part(kind, part(kind, block.text, notes, logprobs), block.opened.phase)
