"""Replies of Chat Completions, written: chunks of a stream, whole bodies; and the rules for chunks.

Layer: dialects. The part of `openai_chat` that speaks to its clients.
Spec: https://platform.openai.com/docs/api-reference/chat-streaming

What clients' accumulators demand of a stream decides how it is written: a chunk says only what is
new (Python joins repeated ids and names), tool calls are numbered densely, every entry of a list
has an `index`, usage comes last in a chunk without choices.
"""

from functools import partial
from typing import assert_never

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import Carry
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Seal, Vault
from rawproxy.dialects.events import (
    Close,
    Delta,
    End,
    Event,
    Fail,
    Note,
    Open,
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Choice, fold
from rawproxy.dialects.groove import around, unescaped
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.openai_chat.messages import PLAIN, Item, joined
from rawproxy.dialects.openai_chat.reasoning_details import DETAILS, rebuild
from rawproxy.dialects.openai_shared import error_of, write_usage
from rawproxy.dialects.reading import decode, encode
from rawproxy.wire import sse

__all__ = ["ChunkWriter", "write_body"]

ID_PREFIX = "chatcmpl-"

_FINISH: dict[Reason, str] = {
    "end": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "compaction": "stop",
    "malformed": "stop",
    "length": "length",
    "context": "length",
    "tools": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
}


def _reply_id(given: str | None, made: str) -> str:
    known = given or made
    return known if known.startswith(ID_PREFIX) else ID_PREFIX + known


def _wants_functions(call: Call) -> bool:
    """Whether the client still speaks the deprecated `functions`: it looks for `function_call`."""
    return call.names.get("tools") == "functions"


def _finish(stop: Stop, *, refused: bool, functions: bool) -> Item:
    """Return `finish_reason`, and the matched stop sequence, which the API itself never tells.

    A refusal in words (`refused`) ends with `stop`, as OpenAI's own do.
    """
    word = _FINISH[stop.reason]
    if stop.reason == "refusal" and refused:
        word = "stop"
    elif word == "tool_calls" and functions:
        word = "function_call"
    finish: Item = {"finish_reason": word}
    if stop.sequence is not None:
        finish["stop_sequence"] = stop.sequence
    return finish


def _sealed_entry(seal: Seal, vault: Vault, *, shown: bool) -> Item | None:
    """Return what a `reasoning_details` entry adds for `seal`; None when nothing has to be added.

    `shown`: the entry has a text, which was written already.
    """
    if seal.form == PLAIN:
        return None
    if seal.form == DETAILS:
        members = decode(seal.raw.encode(), dict[str, Raw])
        return {name: value for name, value in members.items() if name != "index"}
    if shown:
        return {"type": "reasoning.text", "signature": vault.pack(seal)}
    return {"type": "reasoning.encrypted", "data": vault.pack(seal)}


def _citation(note: Note, offset: int, length: int) -> Item | None:
    """Return `note` as an annotation; None when it cites no address.

    Args:
        note: its span counts from the start of its block.
        offset: code points of content before that block.
        length: code points of the block so far: what a note without a span is about.
    """
    if note.url is None:
        return None
    start, end = note.start or 0, length if note.end is None else note.end
    cited: Item = {
        "start_index": offset + start,
        "end_index": offset + end,
        "title": note.title or "",
        "url": note.url,
    }
    return {"type": "url_citation", "url_citation": cited}


def _tool_name(opened: Open) -> str:
    name = opened.name or ""
    return f"{opened.namespace}__{name}" if opened.namespace else name


_TIERS = {"standard": "default", "batch": "default"}
"""Other vendors' words for the tier that this API calls by its own."""


class _Block(msgspec.Struct):
    """A block that is being written: its place in the message."""

    opened: Open
    index: int = 0
    offset: int = 0
    length: int = 0
    written: bool = False


class _Choice(msgspec.Struct):
    """What has been written of one choice."""

    tools: int = 0
    details: int = 0
    length: int = 0
    phase: str | None = None
    refused: bool = False
    notes: list[Item] = []


def _carry(block: _Block, choice: _Choice, write: Carry, texts: list[bytes]) -> bytes:
    text = texts[0] if len(texts) == 1 else b"".join(texts)
    length = len(text) if text.isascii() and b"\\" not in text else len(unescaped(text))
    choice.length += length
    block.length += length
    return write(texts)


class ChunkWriter:
    """Writes one reply as a stream of chunks.

    Tool calls may interleave with anything. The other blocks of a choice come one after another,
    as every reader makes them: content has no marks to tell two texts apart.

    Args:
        call: what the client asked.
        reply_id: used where the upstream gave none.
        now: Unix seconds, used likewise.
    """

    def __init__(self, call: Call, reply_id: str, now: int) -> None:
        self.losses: list[Loss] = []
        self._call = call
        self._reply_id = reply_id
        self._now = now
        self._functions = _wants_functions(call)
        self._blocks: dict[int, _Block] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._head = b""
        self._tail = b',"usage":null}' if call.wants_usage else b"}"
        self._over = False

    def write(self, event: Event) -> bytes:
        """Return the event's chunks; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._delta(event)
            case Start():
                return self._start(event)
            case Open():
                return self._open(event)
            case Sealed():
                return self._sealed(event)
            case Close(block=number):
                return self._close(self._blocks[number])
            case Note():
                self._note(event)
            case Whole(shows=shows):
                self._lose(shows)
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop():
                return self._stop(event)
            case End():
                return self._end(event)
            case Fail():
                self._over = True
                return sse.write(encode({"error": error_of(event)}))
            case _:
                assert_never(event)
        return b""

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of an open text."""
        writing = self._blocks.get(block)
        if self._over or writing is None or writing.opened.kind != "text" or not writing.written:
            return None
        choice = self._choices[writing.opened.choice]
        frame = self._chunk(writing.opened.choice, b'{"content":"\0"}')
        return partial(_carry, writing, choice, around(frame))

    def keepalive(self) -> bytes:
        """Return a comment: every client skips it."""
        return sse.comment(b"keepalive")

    def joined(self) -> None:
        """Learn nothing: an error frame is the same at any time."""

    def _lose(self, what: str | None) -> None:
        self.losses.append(Loss(f"reply.{what}", "no such thing there"))

    def _start(self, start: Start) -> bytes:
        head = {
            "id": _reply_id(start.id, self._reply_id),
            "object": "chat.completion.chunk",
            "created": self._now if start.created is None else start.created,
            "model": start.model or self._call.model,
        }
        self._head = encode(head)[:-1] + b',"choices":['
        return self._begin(0)

    def _begin(self, choice: int) -> bytes:
        """Return the first chunk of a choice, unless it was written: the role, once."""
        if choice in self._choices:
            return b""
        self._choices[choice] = _Choice()
        return self._chunk(choice, b'{"role":"assistant","content":"","refusal":null}')

    def _chunk(
        self,
        choice: int,
        delta: bytes,
        finish: bytes = b'"finish_reason":null',
        logprobs: bytes = b"",
    ) -> bytes:
        return sse.write(
            b'%s{"index":%d,"delta":%s,"logprobs":%s,%s}]%s'
            % (self._head, choice, delta, logprobs or b"null", finish, self._tail)
        )

    def _open(self, opened: Open) -> bytes:
        data = self._begin(opened.choice)
        choice = self._choices[opened.choice]
        block = self._blocks[opened.block] = _Block(opened)
        if opened.seal is not None:
            entry = _sealed_entry(opened.seal, self._call.vault, shown=False)
            data += self._entry(opened.choice, choice.details, entry)
            choice.details += 1
        if opened.kind == "tool":
            data += self._open_tool(block, choice)
        return data

    def _open_tool(self, block: _Block, choice: _Choice) -> bytes:
        opened = block.opened
        block.index = choice.tools
        if opened.runs == "vendor" or (self._functions and choice.tools):
            block.index = -1  # it has no place here
            self._lose(opened.name)
            return b""
        choice.tools += 1
        name = _tool_name(opened)
        if self._functions:
            delta: Item = {"function_call": {"name": name, "arguments": ""}}
        else:
            custom = opened.tool == "freeform"
            inner = {"name": name, "input" if custom else "arguments": ""}
            kind = "custom" if custom else "function"
            call = {"index": block.index, "id": opened.id, "type": kind, kind: inner}
            delta = {"tool_calls": [call]}
        return self._chunk(opened.choice, encode(delta))

    def _delta(self, delta: Delta) -> bytes:
        block = self._blocks[delta.block]
        number = block.opened.choice
        choice = self._choices[number]
        kind = block.opened.kind
        text = encode(delta.text)
        if kind == "text":
            if not block.written:
                text = self._open_text(block, choice, delta.text)
            choice.length += len(delta.text)
            block.length += len(delta.text)
            return self._chunk(number, b'{"content":%s}' % text, logprobs=bytes(delta.logprobs))
        if kind == "tool":
            return self._arguments(block, text)
        if kind == "refusal":
            choice.refused = True
            said = b'{"refusal":%s}' % text
            return self._chunk(number, said, logprobs=bytes(delta.logprobs))
        if not block.written:
            block.index = choice.details
            choice.details += 1
            block.written = True
        entry = b'{"index":%d,"type":"reasoning.text","text":%s}' % (block.index, text)
        return self._chunk(
            number, b'{"reasoning_content":%s,"reasoning_details":[%s]}' % (text, entry)
        )

    def _open_text(self, block: _Block, choice: _Choice, text: str) -> bytes:
        """Return the first piece of a text block; a change of phase puts a blank line before it."""
        block.written = True
        if choice.length and block.opened.phase != choice.phase:
            text = f"\n\n{text}"
            choice.length += 2
        choice.phase = block.opened.phase
        block.offset = choice.length
        return encode(text)

    def _arguments(self, block: _Block, text: bytes) -> bytes:
        if block.index < 0:
            return b""
        block.written = True
        if self._functions:
            delta = b'{"function_call":{"arguments":%s}}' % text
        elif block.opened.tool == "freeform":
            delta = b'{"tool_calls":[{"index":%d,"custom":{"input":%s}}]}' % (block.index, text)
        else:
            delta = b'{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}' % (
                block.index, text,
            )  # fmt: skip
        return self._chunk(block.opened.choice, delta)

    def _sealed(self, event: Sealed) -> bytes:
        block = self._blocks[event.block]
        number = block.opened.choice
        choice = self._choices[number]
        entry = _sealed_entry(event.seal, self._call.vault, shown=block.written)
        if not block.written and entry is not None:
            block.index = choice.details
            choice.details += 1
        return self._entry(number, block.index, entry)

    def _entry(self, choice: int, index: int, entry: Item | None) -> bytes:
        if entry is None:
            return b""
        return self._chunk(choice, encode({"reasoning_details": [{"index": index} | entry]}))

    def _close(self, block: _Block) -> bytes:
        opened = block.opened
        if opened.kind == "tool" and opened.tool != "freeform" and not block.written:
            return self._arguments(block, b'"{}"')  # clients parse what they got
        return b""

    def _note(self, note: Note) -> None:
        block = self._blocks[note.block]
        cited = _citation(note, block.offset, block.length)
        if cited is None:
            self._lose("citations")
        else:
            self._choices[block.opened.choice].notes.append(cited)

    def _stop(self, stop: Stop) -> bytes:
        data = self._begin(stop.choice)
        choice = self._choices[stop.choice]
        delta: Item = {}
        if stop.detail and not choice.refused and stop.reason == "refusal":
            delta["refusal"] = stop.detail
        if choice.notes:
            # All of them in one delta: Python's accumulator cannot join lists without indexes.
            delta["annotations"] = choice.notes
        finish = encode(_finish(stop, refused=choice.refused, functions=self._functions))
        return data + self._chunk(stop.choice, encode(delta), finish[1:-1])

    def _end(self, end: End) -> bytes:
        self._over = True
        data = b""
        if self._call.wants_usage and self._usage is not None:
            tier = {} if end.tier is None else {"service_tier": _TIERS.get(end.tier, end.tier)}
            said = encode({"usage": write_usage(self._usage)} | tier)
            data = sse.write(self._head + b"]," + said[1:])
        return data + sse.write(b"[DONE]")


def write_body(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    reply.choice(0)
    losses: list[Loss] = []
    body: Item = {
        "id": _reply_id(reply.start.id, reply_id),
        "object": "chat.completion",
        "created": now if reply.start.created is None else reply.start.created,
        "model": reply.start.model or call.model,
        "choices": [
            _BodyChoice(call, losses).write(number, choice)
            for number, choice in sorted(reply.choices.items())
        ],
    }
    if reply.usage is not None:
        body["usage"] = write_usage(reply.usage)
    if reply.tier is not None:
        body["service_tier"] = _TIERS.get(reply.tier, reply.tier)
    return encode(body), losses


class _BodyChoice:
    """Writes one choice of a body."""

    def __init__(self, call: Call, losses: list[Loss]) -> None:
        self._call = call
        self._losses = losses
        self._functions = _wants_functions(call)
        self._details: list[Item] = []
        self._calls: list[Item] = []
        self._texts: list[Block] = []

    def write(self, number: int, choice: Choice) -> Item:
        """Return the choice."""
        for item in choice.items:
            if isinstance(item, Whole):
                self._lose(item.shows)
            else:
                self._block(item)
        content, notes = self._content()
        thought, refusal = choice.text("thinking"), choice.text("refusal")
        stop = choice.stop or Stop("end")
        finish = _finish(stop, refused=bool(refusal), functions=self._functions)
        if not refusal and stop.reason == "refusal":
            refusal = stop.detail or ""
        message: Item = {"role": "assistant", "content": content, "refusal": refusal or None}
        if thought:
            message["reasoning_content"] = thought
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls and self._functions:
            message["function_call"] = self._calls[0]["function"]
        elif self._calls:
            message["tool_calls"] = self._calls
        message["annotations"] = notes
        return {"index": number, "message": message, "logprobs": _logprobs(choice)} | finish

    def _lose(self, what: str | None) -> None:
        self._losses.append(Loss(f"reply.{what}", "no such thing there"))

    def _block(self, block: Block) -> None:
        opened = block.opened
        if opened.seal is not None:
            self._add_entry(_sealed_entry(opened.seal, self._call.vault, shown=False))
        match opened.kind:
            case "text":
                if block.text:
                    self._texts.append(block)
            case "tool":
                if opened.runs == "vendor" or (self._functions and self._calls):
                    self._lose(opened.name)
                else:
                    self._calls.append(_tool_call(opened, block.text))
            case "thinking":
                self._thought(block)

    def _thought(self, block: Block) -> None:
        shown: Item = {"type": "reasoning.text", "text": block.text} if block.text else {}
        sealed = None
        if block.seal is not None and block.seal.form == DETAILS:
            shown = {**rebuild(block.seal, block.text)}
        elif block.seal is not None:
            sealed = _sealed_entry(block.seal, self._call.vault, shown=bool(shown))
        self._add_entry(shown | (sealed or {}))

    def _add_entry(self, entry: Item | None) -> None:
        if entry:
            self._details.append(entry | {"index": len(self._details)})

    def _content(self) -> tuple[str | None, list[Item]]:
        """Return the content, None without any, and its annotations."""
        said: list[tuple[str | None, str]] = []
        notes: list[Item] = []
        for block in self._texts:
            said.append((block.opened.phase, block.text))
            offset = len(joined(said)) - len(block.text)
            for note in block.notes:
                cited = _citation(note, offset, len(block.text))
                if cited is None:
                    self._lose("citations")
                else:
                    notes.append(cited)
        return joined(said) if said else None, notes


def _tool_call(opened: Open, text: str) -> Item:
    name = _tool_name(opened)
    if opened.tool == "freeform":
        return {"id": opened.id, "type": "custom", "custom": {"name": name, "input": text}}
    function = {"name": name, "arguments": text or "{}"}
    return {"id": opened.id, "type": "function", "function": function}


def _logprobs(choice: Choice) -> Item | None:
    """Return the log probabilities of all pieces as one object; None when there are none."""
    merged: dict[str, list[Raw]] = {}
    for item in choice.items:
        for piece in item.logprobs if isinstance(item, Block) else ():
            try:
                lists = decode(piece, dict[str, list[Raw] | None])
            except ValueError:  # of a form that is nobody's
                continue
            for name, tokens in lists.items():
                merged.setdefault(name, []).extend(tokens or ())
    return dict(merged) or None
