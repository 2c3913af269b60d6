"""Converse replies, written: messages of a stream, and whole bodies.

Layer: dialects. The part of `bedrock_converse` that speaks to its clients.
Spec: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html

Blocks are open one at a time and counted from 0. Text and thinking begin with their first piece.
`messageStop` is told as soon as it is known; the counts follow in `metadata`, which is the end.
"""

from collections.abc import Iterator
from functools import partial
from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.base import Carry
from rawproxy.dialects.bedrock_converse.blocks import Item, json_object, said
from rawproxy.dialects.bedrock_converse.call_reader import FIELD_PATHS
from rawproxy.dialects.bedrock_converse.errors import write_failure
from rawproxy.dialects.bedrock_converse.reader import CONVERSE, REASONS, REDACTED, SIGNED
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
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import decode, encode
from rawproxy.dialects.sequence import Sequencer
from rawproxy.wire import eventstream

__all__ = ["ReplyWriter", "write_body"]

_WORDS: dict[Reason, str] = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tools": "tool_use",
    "pause": "end_turn",
    "refusal": "content_filtered",
    "filter": "content_filtered",
    "context": "model_context_window_exceeded",
    "malformed": "malformed_model_output",
    "compaction": "end_turn",
}
_TIERS = {
    "priority": "priority", "default": "default", "flex": "flex", "reserved": "reserved",
    "standard": "default",
}  # fmt: skip
_SEQUENCE_PATHS: dict[str, tuple[str, ...]] = {
    # what a client asks for -> where it looks for the stop sequence that matched
    "/stop_sequence": ("stop_sequence",),
    "/delta/stop_sequence": ("delta", "stop_sequence"),
}

_DELTA = b'{"contentBlockIndex":%d,"delta":%b}'
_START = b'{"contentBlockIndex":%d,"start":%b}'
_STOP = b'{"contentBlockIndex":%d}'
_PIECES = {
    # kind of block -> a piece of it
    "text": b'{"text":%b}',
    "refusal": b'{"text":%b}',
    "thinking": b'{"reasoningContent":{"text":%b}}',
    "tool": b'{"toolUse":{"input":%b}}',
}
_STREAMED = ("toolUse", "toolResult", "image")
"""Vendor-run items that a stream has messages for."""


def _frame(name: bytes, data: bytes) -> bytes:
    return eventstream.write(data, name=name)


_write_delta = eventstream.writing(b"contentBlockDelta")


def _carry(before: bytes, after: bytes, texts: list[bytes]) -> bytes:
    return b"".join([_write_delta(before + text + after) for text in texts])


def _tool_use(opened: Open) -> Item:
    name = opened.name or ""
    name = f"{opened.namespace}__{name}" if opened.namespace else name
    return {"toolUseId": opened.id, "name": name}


def _native(seal: Seal, form: str, member: str) -> object:
    """Return what the vendor had in `member` of its own item; None for a seal of another form."""
    if seal.form != form:
        return None
    return decode(seal.raw.encode(), dict[str, object]).get(member)


def _signature(seal: Seal, vault: Vault) -> object:
    return _native(seal, SIGNED, "signature") or vault.pack(seal)


def _usage(usage: Usage | None) -> Item:
    """Return the counts; input is what was neither read from the cache nor written to it."""
    usage = usage or Usage()
    given, made = usage.input or 0, usage.output or 0
    cached = (usage.cache_read or 0) + (usage.cache_write or 0)
    kept = (("1h", usage.cache_write_1h), ("5m", usage.cache_write_5m))
    details = [{"ttl": ttl, "inputTokens": count} for ttl, count in kept if count]
    return {
        "inputTokens": max(0, given - cached),
        "outputTokens": made,
        "totalTokens": given + made,
    } | said(
        cacheReadInputTokens=usage.cache_read,
        cacheWriteInputTokens=usage.cache_write,
        cacheDetails=details or None,
    )


def _counted(usage: Usage | None, tier: str | None) -> Item:
    """Return the counts with what stands beside them. There is no clock here: no time was taken."""
    word = _TIERS.get(tier or "")
    item: Item = {"usage": _usage(usage), "metrics": {"latencyMs": 0}}
    return item | ({"serviceTier": {"type": word}} if word else {})


def _stopped(stop: Stop | None, call: Call) -> Item:
    """Return why the reply stopped, and which stop sequence it was, where the client asked."""
    stop = stop or Stop("end")
    own = stop.word is not None and REASONS.get(stop.word) == stop.reason
    item: Item = {"stopReason": stop.word if own else _WORDS[stop.reason]}
    fields: Item = {}
    for asked in _asked(call) if stop.sequence is not None else ():
        steps = _SEQUENCE_PATHS.get(asked)
        if steps is not None:
            fields |= {steps[0]: {steps[1]: stop.sequence} if len(steps) > 1 else stop.sequence}
    return item | ({"additionalModelResponseFields": fields} if fields else {})


def _asked(call: Call) -> list[str]:
    try:
        return decode(call.extra.get(FIELD_PATHS, b"[]"), list[str])
    except ValueError:
        return []


def _citation(note: Note) -> Item | Raw | None:
    """Return a citation: the vendor's own, or one of what is known of it; None for nothing."""
    if note.dialect == CONVERSE:
        return note.raw
    return said(
        title=note.title,
        sourceContent=[{"text": note.quote}] if note.quote else None,
        location={"web": {"url": note.url}} if note.url else None,
    ) or None  # fmt: skip


class _Losses:
    """What of a reply had no words here, each thing once."""

    def __init__(self) -> None:
        self.found: list[Loss] = []

    def add(self, what: str | None) -> None:
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.found:
            self.found.append(loss)


class _Live:
    """The block that is being written."""

    __slots__ = ("held", "opened", "seal", "written")

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.written = False
        self.seal: Seal | None = None
        self.held: list[str] = []  # freeform input: it becomes JSON when it is complete


class ReplyWriter:
    """Writes one reply as a stream.

    Args:
        call: what was asked.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._losses = _Losses()
        self.losses = self._losses.found
        self._sequencer = Sequencer()
        self._open: set[int] = set()  # numbers of the upstream's blocks
        self._begun = False
        self._stopped = False
        self._over = False
        self._index = 0
        self._live: _Live | None = None
        self._wholes: list[Whole] = []
        self._usage: Usage | None = None

    def joined(self) -> None:
        """Learn that the stream has begun without us; see `StreamWriter`."""
        self._begun = True

    def keepalive(self) -> bytes:
        """Return nothing: every message means something."""
        return b""

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of the live text."""
        live = self._live
        if self._over or live is None or self._sequencer.live != block or not live.written:
            return None
        if live.opened.kind != "text":
            return None
        data = _DELTA % (self._index, _PIECES["text"] % b'"\0"')
        before, _, after = data.partition(b"\0")
        return partial(_carry, before, after)

    def write(self, event: Event) -> bytes:
        """Return an event's bytes; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Start():
                return self._start()
            case Open():
                return self._admit(event)
            case Delta(block=block) | Sealed(block=block) | Note(block=block):
                if block not in self._open:
                    if isinstance(event, Note):
                        self._losses.add("citations")
                    return b""
                return self._write_blocks(event)
            case Close(block=block):
                if block not in self._open:
                    return b""
                self._open.discard(block)
                return self._write_blocks(event) + self._write_wholes()
            case Whole():
                self._wholes.append(event)
                return self._write_wholes()
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop():
                return b"" if event.choice else self._stop(event)
            case End():
                return self._end(event)
            case Fail():
                self._over = True
                word, data = write_failure(event)
                return eventstream.write_exception(data, word.encode())
            case _:
                assert_never(event)
        return b""

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return _frame(b"messageStart", b'{"role":"assistant"}')

    def _admit(self, opened: Open) -> bytes:
        if opened.choice or opened.runs == "vendor":
            self._losses.add("choices" if opened.choice else opened.name)
            return b""
        self._open.add(opened.block)
        return self._start() + self._write_blocks(opened)

    def _write_blocks(self, event: Event) -> bytes:
        return b"".join([self._write_block(ready) for ready in self._sequencer.feed(event)])

    def _write_block(self, event: Event) -> bytes:
        if isinstance(event, Open):
            self._live = _Live(event)
            return self._carrier(event.seal) + self._open_tool(self._live)
        live = self._live
        assert live is not None
        match event:
            case Delta(text=text):
                return self._piece(live, event, text)
            case Note():
                return self._note(live, event)
            case Sealed(seal=seal):
                # Clients put the pieces of a signature together, so it is sent once, at the end.
                live.seal = seal
                return b""
        self._live = None
        return self._close(live)

    def _open_tool(self, live: _Live) -> bytes:
        if live.opened.kind != "tool":
            return b""
        start = encode({"toolUse": _tool_use(live.opened)})
        return _frame(b"contentBlockStart", _START % (self._index, start))

    def _delta(self, delta: bytes) -> bytes:
        return _frame(b"contentBlockDelta", _DELTA % (self._index, delta))

    def _end_block(self) -> bytes:
        self._index += 1
        return _frame(b"contentBlockStop", _STOP % (self._index - 1))

    def _carrier(self, seal: Seal | None) -> bytes:
        """Return a block of nothing but the seal that belongs to what follows."""
        return b"" if seal is None else self._sealed(seal) + self._end_block()

    def _sealed(self, seal: Seal, *, written: bool = False) -> bytes:
        """Return a seal as a piece of thinking; `written`: there is text before it.

        What clients send back needs a text, if only an empty one.
        """
        redacted = _native(seal, REDACTED, REDACTED)
        if redacted and not written:
            return self._delta(encode({"reasoningContent": {REDACTED: redacted}}))
        text = b"" if written else self._delta(_PIECES["thinking"] % b'""')
        signed = {"signature": _signature(seal, self._call.vault)}
        return text + self._delta(encode({"reasoningContent": signed}))

    def _piece(self, live: _Live, delta: Delta, text: str) -> bytes:
        if delta.logprobs:
            self._losses.add("logprobs")
        if not text:
            return b""
        if live.opened.tool == "freeform":
            live.held.append(text)
            return b""
        live.written = True
        return self._delta(_PIECES[live.opened.kind] % encode(text))

    def _note(self, live: _Live, note: Note) -> bytes:
        citation = _citation(note)
        if citation is None or live.opened.kind not in ("text", "refusal"):
            self._losses.add("citations")
            return b""
        live.written = True
        return self._delta(encode({"citation": citation}))

    def _close(self, live: _Live) -> bytes:
        data = b""
        if live.seal is not None:
            data = self._sealed(live.seal, written=live.written)
        elif live.opened.kind == "tool" and not live.written:
            text = wrap("".join(live.held)) if live.opened.tool == "freeform" else "{}"
            data = self._delta(_PIECES["tool"] % encode(text))
        elif not live.written:
            return b""  # its only pieces were log probabilities
        return data + self._end_block()

    def _write_wholes(self) -> bytes:
        """Return the vendor-run items that came so far, unless a block is open."""
        if self._open:
            return b""
        wholes, self._wholes = self._wholes, []
        parts = []
        for whole in wholes:
            if whole.choice or whole.dialect != CONVERSE or whole.shows not in _STREAMED:
                self._losses.add(whole.shows)
            else:
                parts.append(self._start() + self._whole(whole))
        return b"".join(parts)

    def _whole(self, whole: Whole) -> bytes:
        """Return an item in the messages that it comes in: its start, one delta, its end."""
        members = decode(whole.raw, dict[str, dict[str, Raw]])[whole.shows]
        delta: object
        match whole.shows:
            case "toolUse":
                delta = {"input": bytes(members.pop("input", b"{}")).decode("utf-8", "replace")}
            case "toolResult":
                delta = members.pop("content", Raw(b"[]"))
            case _:
                delta = said(source=members.pop("source", None), error=members.pop("error", None))
        start = _START % (self._index, encode({whole.shows: members}))
        piece = self._delta(encode({whole.shows: delta}))
        return _frame(b"contentBlockStart", start) + piece + self._end_block()

    def _stop(self, stop: Stop | None) -> bytes:
        if self._stopped:
            return b""
        self._stopped = True
        return self._start() + _frame(b"messageStop", encode(_stopped(stop, self._call)))

    def _end(self, end: End) -> bytes:
        stopped = self._stop(None)
        self._over = True
        return stopped + _frame(b"metadata", encode(_counted(self._usage, end.tier)))


def write_body(events: list[Event], call: Call) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    losses = _Losses()
    choice = reply.choice(0)
    if len(reply.choices) > 1:
        losses.add("choices")
    content = list(_content(choice, call.vault, losses))
    body: Item = {
        "output": {"message": {"role": "assistant", "content": content}},
        **_stopped(choice.stop, call),
        **_counted(reply.usage, reply.tier),
    }
    return encode(body), losses.found


def _content(choice: Choice, vault: Vault, losses: _Losses) -> Iterator[Item | Raw]:
    for item in choice.items:
        if isinstance(item, Whole):
            if item.dialect == CONVERSE:
                yield item.raw
            else:
                losses.add(item.shows)
        elif item.opened.runs == "vendor":
            losses.add(item.opened.name)
        else:
            yield from _body_blocks(item, vault, losses)


def _body_blocks(block: Block, vault: Vault, losses: _Losses) -> Iterator[Item]:
    opened, text = block.opened, block.text
    if opened.seal is not None:
        yield _reasoning(opened.seal, "", vault)
    if block.logprobs:
        losses.add("logprobs")
    if opened.kind == "tool":
        yield {"toolUse": _tool_use(opened) | {"input": _input(opened, text, losses)}}
    elif opened.kind == "thinking":
        if block.seal is not None:
            yield _reasoning(block.seal, text, vault)
        elif text:
            yield {"reasoningContent": {"reasoningText": {"text": text}}}
    else:
        cited = [found for note in block.notes if (found := _citation(note)) is not None]
        if len(cited) < len(block.notes):
            losses.add("citations")
        if cited:
            yield {"citationsContent": {"content": [{"text": text}], "citations": cited}}
        elif text:
            yield {"text": text}


def _reasoning(seal: Seal, text: str, vault: Vault) -> Item:
    redacted = _native(seal, REDACTED, REDACTED)
    if redacted and not text:
        return {"reasoningContent": {REDACTED: redacted}}
    signed: Item = {"text": text, "signature": _signature(seal, vault)}
    return {"reasoningContent": {"reasoningText": signed}}


def _input(opened: Open, text: str, losses: _Losses) -> Item | Raw:
    found = json_object(wrap(text) if opened.tool == "freeform" else text)
    if found is None:
        losses.add("input")
        return {"_raw": text}
    return found
