"""Replies of the Responses API, written as a stream of events.

Layer: dialects. The part of `openai_responses` that speaks to streaming clients.
Spec: https://platform.openai.com/docs/api-reference/responses-streaming

What clients demand decides how it is written. Codex takes its content from `output_item.done`; the
accumulators of the `openai` packages want every item and part added before its deltas, and the ids
of the response and of each item never to change. Items may interleave, so blocks that are open at
once need no order.

How a reply ends is told by its Stop. So the end of a block waits for what comes next: an item that
the end of the tokens cut says `incomplete`, and annotations that come late still find their text.
"""

from functools import partial
from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.base import Carry
from rawproxy.dialects.call import Call
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
from rawproxy.dialects.groove import unescaped
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
from rawproxy.dialects.reading import encode, flat
from rawproxy.wire import sse

__all__ = ["ResponseWriter"]

_TAIL = b',"sequence_number":%d}\n\n'
_TEXT_TAIL = b',"logprobs":[]' + _TAIL

_DELTAS = {
    # what is said -> its event, and where it stands in its item
    "text": ("response.output_text", "content_index"),
    "refusal": ("response.refusal", "content_index"),
    "thinking": ("response.reasoning_summary_text", "summary_index"),
    "function": ("response.function_call_arguments", ""),
    "freeform": ("response.custom_tool_call_input", ""),
}


class _Message:
    """A message item: its parts so far, and the block that is its last one, until that has ended."""

    __slots__ = ("block", "id", "index", "parts", "phase")

    def __init__(self, item_id: str, index: int, phase: str | None) -> None:
        self.id = item_id
        self.index = index
        self.phase = phase
        self.parts: list[Item] = []
        self.block: _Block | None = None


class _Block:
    """A block that is being written.

    Attributes:
        head: its delta's frame up to the text; b"" until the block has a place.
        place: the members that say which item, and which part of it, an event is about.
        index: of its item in the output.
        message: the item that it is a part of, for texts and refusals.
    """

    __slots__ = (
        "head", "id", "index", "length", "logprobs", "message", "notes", "opened", "pieces",
        "place", "seal", "tail",
    )  # fmt: skip

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.id = ""
        self.index = -1
        self.head = b""
        self.tail = _TEXT_TAIL if opened.kind == "text" else _TAIL
        self.place: Item = {}
        self.pieces: list[str] = []
        self.length = 0
        self.logprobs: list[Raw] = []
        self.notes: list[object] = []
        self.seal: Seal | None = None
        self.message: _Message | None = None


class ResponseWriter:
    """Writes one reply as a stream.

    Args:
        call: what was asked.
        reply_id: used where the upstream gave none.
        now: Unix seconds, used likewise.
    """

    def __init__(self, call: Call, reply_id: str, now: int) -> None:
        self._losses = Losses()
        self._call = call
        self._head = Head.of(call, reply_id, now)
        self._begun = False
        self._over = False
        self._sequence = 0
        self._output: list[object | None] = []  # None: not complete yet
        self._blocks: dict[int, _Block] = {}
        self._ending: list[_Block] = []  # closed, not yet written so
        self._message: _Message | None = None  # it takes more parts
        self._refused = False
        self._stop: Stop | None = None
        self._usage: Usage | None = None

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words here."""
        return self._losses.found

    def joined(self) -> None:
        """Learn that the stream has begun without us: it is not begun again."""
        self._begun = True

    def keepalive(self) -> bytes:
        """Return a keepalive event; clients take none before the stream has begun, so it begins."""
        return b"" if self._over else self._begin() + self._frame("keepalive")

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of an open text; see `StreamWriter`."""
        writing = self._blocks.get(block)
        if self._over or self._ending or writing is None or not writing.head:
            return None
        if writing.opened.kind != "text":
            return None
        form = writing.head.replace(b"%", b"%%") + b'"%b"' + writing.tail
        return partial(self._carried, writing, form)

    def write(self, event: Event) -> bytes:
        """Return an event's bytes; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._delta(event)
            case Start():
                return self._start(event)
            case Open():
                return self._open(event)
            case Note():
                return self._note(event)
            case Sealed(block=number, seal=seal):
                if number in self._blocks:
                    self._blocks[number].seal = seal
            case Close(block=number):
                self._close(number)
            case Whole():
                return self._whole(event)
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop():
                return self._stopped(event)
            case End(tier=tier):
                return self._end(tier)
            case Fail():
                return self._fail(event)
            case _:
                assert_never(event)
        return b""

    def _frame(self, kind: str, **members: object) -> bytes:
        data = encode({"type": kind} | members | {"sequence_number": self._sequence})
        self._sequence += 1
        return sse.write(data, name=kind.encode())

    def _start(self, start: Start) -> bytes:
        if self._begun:
            return b""
        created = self._head.created if start.created is None else start.created
        self._head = Head.of(self._call, start.id or self._head.id, created, start.model)
        return self._begin()

    def _begin(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        response = self._head.response("in_progress")
        return self._frame("response.created", response=response) + self._frame(
            "response.in_progress", response=response
        )

    def _item(self, kind: str) -> tuple[int, str]:
        """Return the index and the id of a new item."""
        index = len(self._output)
        self._output.append(None)
        return index, self._head.item_id(kind, index)

    def _item_added(self, index: int, item: object) -> bytes:
        return self._frame("response.output_item.added", output_index=index, item=item)

    def _item_done(self, index: int, item: object) -> bytes:
        self._output[index] = item
        return self._frame("response.output_item.done", output_index=index, item=item)

    def _open(self, opened: Open) -> bytes:
        if opened.choice or opened.runs == "vendor":
            self._losses.add("choices" if opened.choice else opened.name)
            return b""
        block = self._blocks[opened.block] = _Block(opened)
        data = self._begin() + self._settle()
        if opened.seal is not None:
            data += self._end_message() + self._carrier(opened.seal)
        return data + (self._open_tool(block) if opened.kind == "tool" else b"")

    def _carrier(self, seal: Seal) -> bytes:
        """Return an item of nothing but the seal that belongs to what follows."""
        index, item_id = self._item(REASONING)
        item = reasoning(item_id, seal=seal, vault=self._call.vault)
        return self._item_added(index, reasoning(item_id)) + self._item_done(index, item)

    def _open_tool(self, block: _Block) -> bytes:
        opened = block.opened
        kind = "custom_tool_call" if opened.tool == "freeform" else "function_call"
        data = self._end_message()
        block.index, block.id = self._item(kind)
        self._place(block, _said(opened))
        item = tool_call(opened, block.id, "in_progress", "")
        return data + self._item_added(block.index, item)

    def _place(self, block: _Block, said: str, at: int = 0) -> None:
        """Give a block its place, and its deltas the bytes that all of them begin with."""
        name, where = _DELTAS[said]
        block.place = {"item_id": block.id, "output_index": block.index}
        if where:
            block.place[where] = at
        event = f"{name}.delta"
        members = encode({"type": event} | block.place)[:-1]
        block.head = b'event: %b\ndata: %b,"delta":' % (event.encode(), members)

    def _open_text(self, block: _Block) -> bytes:
        """Return what stands before the first piece of a text, a refusal or thinking."""
        if block.opened.kind == "thinking":
            return self._open_thinking(block)
        phase, last = block.opened.phase, self._message
        data = b""
        if (
            last is None
            or last.block is not None
            or last.phase != phase
            or last.index != len(self._output) - 1
        ):
            data = self._end_message()
            index, item_id = self._item("message")
            last = self._message = _Message(item_id, index, phase)
            data += self._item_added(index, message(item_id, "in_progress", [], phase))
        last.block, block.message = block, last
        block.id, block.index = last.id, last.index
        kind = block.opened.kind
        self._refused = self._refused or kind == "refusal"
        self._place(block, kind, len(last.parts))
        return data + self._frame("response.content_part.added", **block.place, part=part(kind))

    def _open_thinking(self, block: _Block) -> bytes:
        data = self._end_message()
        block.index, block.id = self._item(REASONING)
        self._place(block, "thinking")
        return (
            data
            + self._item_added(block.index, reasoning(block.id))
            + self._frame(
                "response.reasoning_summary_part.added", **block.place, part=_summary_part("")
            )
        )

    def _delta(self, delta: Delta) -> bytes:
        block = self._blocks.get(delta.block)
        if block is None:
            return b""
        data = self._settle() if self._ending else b""
        if not block.head:
            data += self._open_text(block)
        tail = block.tail
        if delta.logprobs:
            found = read_logprobs(delta.logprobs) if block.opened.kind == "text" else None
            if found is None:
                self._losses.add("logprobs")
            else:
                block.logprobs += found
                # A template: what stands in it must not be taken for a place to fill.
                tail = b',"logprobs":' + flat(encode(found)).replace(b"%", b"%%") + _TAIL
        return data + self._piece(block, delta.text, encode(delta.text), tail)

    def _piece(self, block: _Block, text: str, said: bytes, tail: bytes) -> bytes:
        """Return one more piece of a block: `text`, and how JSON says it."""
        block.pieces.append(text)
        block.length += len(text)
        sequence = self._sequence
        self._sequence += 1
        return block.head + said + tail % sequence

    def _carried(self, block: _Block, form: bytes, texts: list[bytes]) -> bytes:
        data = b""
        for text in texts:
            said = unescaped(text)
            block.pieces.append(said)
            block.length += len(said)
            data += form % (text, self._sequence)
            self._sequence += 1
        return data

    def _note(self, note: Note) -> bytes:
        block = self._blocks.get(note.block)
        cited = None if block is None else annotation(note, block.length)
        if block is None or cited is None or block.opened.kind != "text":
            self._losses.add("citations")
            return b""
        data = b"" if block.head else self._open_text(block)
        block.notes.append(cited)
        return data + self._frame(
            "response.output_text.annotation.added", **block.place,
            annotation_index=len(block.notes) - 1, annotation=cited,
        )  # fmt: skip

    def _close(self, number: int) -> None:
        block = self._blocks.get(number)
        if block is not None and (block.head or block.seal):
            self._ending.append(block)
        elif block is not None:
            del self._blocks[number]  # nothing was said in it

    def _settle(self, status: str = "completed") -> bytes:
        """Return the ends of the blocks that were closed."""
        ending, self._ending = self._ending, []
        parts = []
        for block in ending:
            del self._blocks[block.opened.block]
            match block.opened.kind:
                case "tool":
                    parts.append(self._end_tool(block, status))
                case "thinking":
                    parts.append(self._end_thinking(block))
                case _:
                    parts.append(self._end_text(block, status))
        return b"".join(parts)

    def _end_tool(self, block: _Block, status: str) -> bytes:
        opened, text = block.opened, "".join(block.pieces)
        data = b""
        if not text and opened.tool != "freeform" and status == "completed":
            text = "{}"  # clients parse what they got
            data = self._piece(block, text, b'"{}"', block.tail)
        name = _DELTAS[_said(opened)][0]
        said = {name.rpartition("_")[2]: text}
        data += self._frame(f"{name}.done", **block.place, **said)
        return data + self._item_done(block.index, tool_call(opened, block.id, status, text))

    def _end_thinking(self, block: _Block) -> bytes:
        vault, text = self._call.vault, "".join(block.pieces)
        if not block.head:
            data = self._end_message()
            index, item_id = self._item(REASONING)
            native = self._head.native_reasoning(item_id, "", block.seal)
            if native is not None:
                begins = {"id": native["id"], "type": REASONING, "summary": []}
                return data + self._item_added(index, begins) + self._item_done(index, native)
            item = reasoning(item_id, seal=block.seal, vault=vault)
            added = self._item_added(index, reasoning(item_id))
            return data + added + self._item_done(index, item)
        # Encrypted content opens under its own id, and this item has one of ours since its text
        # began: what is native travels in an envelope, too.
        item = reasoning(block.id, text, block.seal, vault)
        summary = "response.reasoning_summary"
        return (
            self._frame(f"{summary}_text.done", **block.place, text=text)
            + self._frame(f"{summary}_part.done", **block.place, part=_summary_part(text))
            + self._item_done(block.index, item)
        )

    def _end_text(self, block: _Block, status: str) -> bytes:
        kind, text = block.opened.kind, "".join(block.pieces)
        item = part(kind, text, block.notes, block.logprobs)
        if kind == "refusal":
            data = self._frame("response.refusal.done", **block.place, refusal=text)
        else:
            data = self._frame(
                "response.output_text.done", **block.place, text=text, logprobs=block.logprobs
            )
        data += self._frame("response.content_part.done", **block.place, part=item)
        last = block.message
        assert last is not None
        last.parts.append(item)
        last.block = None
        return data if last is self._message else data + self._message_done(last, status)

    def _end_message(self, status: str = "completed") -> bytes:
        """Return the end of the message that took parts; a part that still runs ends it later."""
        last, self._message = self._message, None
        return b"" if last is None or last.block else self._message_done(last, status)

    def _message_done(self, last: _Message, status: str) -> bytes:
        return self._item_done(last.index, message(last.id, status, last.parts, last.phase))

    def _whole(self, whole: Whole) -> bytes:
        if whole.choice or whole.dialect != RESPONSES:
            self._losses.add("choices" if whole.choice else whole.shows)
            return b""
        data = self._begin() + self._settle() + self._end_message()
        index = len(self._output)
        self._output.append(whole.raw)
        return data + self._item_added(index, whole.raw) + self._item_done(index, whole.raw)

    def _stopped(self, stop: Stop) -> bytes:
        if stop.choice:
            return b""
        self._stop = stop
        data = self._begin()
        if stop.reason == "refusal" and stop.detail and not self._refused:
            data += self._settle()
            refusal = self._blocks[-1] = _Block(Open(-1, "refusal"))
            data += self._delta(Delta(-1, stop.detail))
            self._ending.append(refusal)
        cut = incomplete(stop, refused=self._refused)
        status = "completed" if cut is None else "incomplete"
        return data + self._settle(status) + self._end_message(status)

    def _end(self, tier: str | None) -> bytes:
        stop = self._stop or Stop("end")
        if stop.reason == "malformed":
            return self._fail(malformed(stop))
        self._over = True
        reason = incomplete(stop, refused=self._refused)
        status = "completed" if reason is None else "incomplete"
        data = self._begin()
        response = self._head.response(
            status, self._finished(), usage=write_usage(self._usage), tier=tier, reason=reason
        )
        return data + self._frame(f"response.{status}", response=response)

    def _fail(self, fail: Fail) -> bytes:
        """Return both of a failure's frames: some clients know the one only, some the other."""
        data = self._begin() + self._settle() + self._end_message()
        self._over = True
        event, error = write_failed(fail)
        said = {name: event[name] for name in ("code", "message", "param")}
        usage = None if self._usage is None else write_usage(self._usage)
        response = self._head.response("failed", self._finished(), usage=usage, error=error)
        return (
            data
            + self._frame("error", **said, error=event)
            + self._frame("response.failed", response=response)
        )

    def _finished(self) -> list[object]:
        return [item for item in self._output if item is not None]


def _said(opened: Open) -> str:
    """Return which deltas say a tool's input."""
    return "freeform" if opened.tool == "freeform" else "function"


def _summary_part(text: str) -> Item:
    return {"type": "summary_text", "text": text}
