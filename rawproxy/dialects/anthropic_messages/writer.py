"""Replies of the Messages API, written: events of a stream, and whole bodies.

Layer: dialects. The part of `anthropic_messages` that speaks to its clients.
Spec: https://platform.claude.com/docs/en/build-with-claude/streaming

Blocks are open one at a time and counted from 0: clients index their list of blocks by it. Usage
that an upstream tells late is in `message_delta`, so that one waits for the end.
"""

from collections.abc import Iterator
from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.anthropic_messages.reader import MESSAGES
from rawproxy.dialects.anthropic_messages.turn_writer import THINKING, Item, json_object, said
from rawproxy.dialects.anthropic_shared import error_of
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
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.groove import around
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import decode, encode, flat
from rawproxy.dialects.sequence import Sequencer
from rawproxy.wire import sse

__all__ = ["ReplyWriter", "write_body"]

ID_PREFIX = "msg_"

_WORDS: dict[Reason, str] = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "tools": "tool_use",
    "pause": "pause_turn",
    "refusal": "refusal",
    "filter": "refusal",
    "context": "model_context_window_exceeded",
    "malformed": "end_turn",
    "compaction": "compaction",
}
_TIERS = {"standard": "standard", "priority": "priority", "batch": "batch", "default": "standard"}

_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
)
_START = (
    b"event: content_block_start\ndata: "
    b'{"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_TEXT_OPENS = b'{"type":"text","text":""}'
_PIECES = {
    # kind of block -> a piece of it
    "text": b'{"type":"text_delta","text":%b}',
    "refusal": b'{"type":"text_delta","text":%b}',
    "thinking": b'{"type":"thinking_delta","thinking":%b}',
    "tool": b'{"type":"input_json_delta","partial_json":%b}',
}


def _frame(name: str, **members: object) -> bytes:
    return sse.write(encode({"type": name} | members), name=name.encode())


def _reply_id(given: str | None, made: str) -> str:
    known = given or made
    return known if known.startswith(ID_PREFIX) else ID_PREFIX + known


_GROWING_INPUTS = (b"server_tool_use", b"mcp_tool_use")
"""Vendor-run blocks whose input comes in deltas; every other block is whole when it starts."""


def _tool_use(opened: Open) -> Item:
    name = opened.name or ""
    name = f"{opened.namespace}__{name}" if opened.namespace else name
    return {"type": "tool_use", "id": opened.id, "name": name, "input": {}}


def _native(seal: Seal, form: str, member: str) -> Raw | None:
    """Return what the vendor had in `member` of its own block; None for a seal of another form."""
    if seal.form != form:
        return None
    return decode(seal.raw.encode(), dict[str, Raw]).get(member)


def _signature(seal: Seal, vault: Vault) -> object:
    return _native(seal, "thinking", "signature") or vault.pack(seal)


def _usage(usage: Usage | None, tier: str | None) -> Item:
    """Return the counts; input is what was neither read from the cache nor written to it."""
    usage = usage or Usage()
    cached = (usage.cache_read or 0) + (usage.cache_write or 0)
    lasting = said(
        ephemeral_5m_input_tokens=usage.cache_write_5m,
        ephemeral_1h_input_tokens=usage.cache_write_1h,
    )
    details = said(thinking_tokens=usage.reasoning)
    return {"input_tokens": max(0, (usage.input or 0) - cached)} | said(
        cache_creation_input_tokens=usage.cache_write,
        cache_read_input_tokens=usage.cache_read,
        cache_creation=lasting or None,
        output_tokens=usage.output or 0,
        output_tokens_details=details or None,
        server_tool_use=usage.server_tools or None,
        service_tier=_TIERS.get(tier or ""),
    )


def _stopped(stop: Stop | None) -> Item:
    """Return why the reply stopped. A refusal has details, if only empty ones."""
    stop = stop or Stop("end")
    word = _WORDS[stop.reason]
    item: Item = {"stop_reason": word, "stop_sequence": stop.sequence}
    if word == "refusal":
        details = {"category": stop.category, "explanation": stop.detail}
        item["stop_details"] = {"type": "refusal"} | details
    return item


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
        reply_id: used where the upstream gave none.
    """

    def __init__(self, call: Call, reply_id: str) -> None:
        self._call = call
        self._reply_id = reply_id
        self._losses = _Losses()
        self.losses = self._losses.found
        self._sequencer = Sequencer()
        self._open: set[int] = set()  # numbers of the upstream's blocks
        self._begun = False
        self._over = False
        self._index = 0
        self._live: _Live | None = None
        self._wholes: list[Whole] = []
        self._usage: Usage | None = None
        self._stop: Stop | None = None

    def joined(self) -> None:
        """Learn that the stream has begun without us; see `StreamWriter`."""
        self._begun = True

    def keepalive(self) -> bytes:
        """Return a ping; before `message_start`, where clients expect none, a comment."""
        if self._over:
            return b""
        return _PING if self._begun else sse.comment(b"keepalive")

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of the live text."""
        live = self._live
        if live is None or self._sequencer.live != block or not live.written:
            return None
        if self._over or live.opened.kind != "text":
            return None
        frame = _DELTA % (self._index, _PIECES["text"] % b'"\0"')
        return around(frame)

    def write(self, event: Event) -> bytes:
        """Return an event's bytes; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Start():
                return self._start(event)
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
                if event.choice == 0:
                    self._stop = event
            case End():
                return self._end(event)
            case Fail():
                self._over = True
                return sse.write(encode(error_of(event)), name=b"error")
            case _:
                assert_never(event)
        return b""

    def _start(self, start: Start) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        message: Item = {
            "id": _reply_id(start.id, self._reply_id),
            "type": "message",
            "role": "assistant",
            "model": start.model or self._call.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 1},  # what nobody knows yet
        }
        return _frame("message_start", message=message)

    def _admit(self, opened: Open) -> bytes:
        if opened.choice or opened.runs == "vendor":
            self._losses.add("choices" if opened.choice else opened.name)
            return b""
        self._open.add(opened.block)
        return self._start(Start()) + self._write_blocks(opened)

    def _write_blocks(self, event: Event) -> bytes:
        return b"".join([self._write_block(ready) for ready in self._sequencer.feed(event)])

    def _write_block(self, event: Event) -> bytes:
        if isinstance(event, Open):
            self._live = _Live(event)
            carrier = self._carrier(event.seal)
            return carrier + (self._open_live(self._live) if event.kind == "tool" else b"")
        live = self._live
        assert live is not None
        match event:
            case Delta(text=text):
                return self._piece(live, event, text)
            case Note():
                return self._note(live, event)
            case Sealed(seal=seal):
                return self._sealed(live, seal)
        self._live = None
        return self._close(live)

    def _block(self, item: bytes) -> bytes:
        """Return a block that is complete when it starts."""
        index = self._index
        self._index += 1
        return _START % (index, item) + _STOP % index

    def _carrier(self, seal: Seal | None) -> bytes:
        """Return a block of nothing but the seal that belongs to what follows."""
        if seal is None:
            return b""
        index = self._index
        self._index += 1
        signed = encode({"type": "signature_delta", "signature": self._call.vault.pack(seal)})
        opening = b'{"type":"thinking","thinking":"","signature":""}'
        return _START % (index, opening) + _DELTA % (index, signed) + _STOP % index

    def _open_live(self, live: _Live) -> bytes:
        if live.written:
            return b""
        live.written = True
        match live.opened.kind:
            case "tool":
                opening = encode(_tool_use(live.opened))
            case "thinking":
                opening = b'{"type":"thinking","thinking":"","signature":""}'
            case _:
                opening = _TEXT_OPENS
        return _START % (self._index, opening)

    def _piece(self, live: _Live, delta: Delta, text: str) -> bytes:
        if delta.logprobs:
            self._losses.add("logprobs")
        if not text:
            return b""
        if live.opened.tool == "freeform":
            live.held.append(text)
            return b""
        piece = _PIECES[live.opened.kind] % encode(text)
        return self._open_live(live) + _DELTA % (self._index, piece)

    def _note(self, live: _Live, note: Note) -> bytes:
        if note.dialect != MESSAGES or live.opened.kind != "text":
            self._losses.add("citations")
            return b""
        cited = b'{"type":"citations_delta","citation":%b}' % flat(bytes(note.raw))
        return self._open_live(live) + _DELTA % (self._index, cited)

    def _sealed(self, live: _Live, seal: Seal) -> bytes:
        # The client keeps the last signature it is sent, so it is sent once, at the end.
        live.seal = seal
        redacted = not live.written and _native(seal, "redacted_thinking", "data")
        return b"" if redacted else self._open_live(live)

    def _close(self, live: _Live) -> bytes:
        parts = []
        seal = live.seal
        if seal is not None and not live.written:
            return self._block(encode(_redacted(seal)))
        if not live.written:
            return b""  # its only pieces were log probabilities
        if seal is not None:
            signed = {"type": "signature_delta", "signature": _signature(seal, self._call.vault)}
            parts.append(_DELTA % (self._index, encode(signed)))
        if live.opened.tool == "freeform":
            piece = _PIECES["tool"] % encode(wrap("".join(live.held)))
            parts.append(_DELTA % (self._index, piece))
        parts.append(_STOP % self._index)
        self._index += 1
        return b"".join(parts)

    def _write_wholes(self) -> bytes:
        """Return the vendor-run items that came so far, unless a block is open."""
        if self._open:
            return b""
        wholes, self._wholes = self._wholes, []
        parts = []
        for whole in wholes:
            if whole.choice or whole.dialect != MESSAGES:
                self._losses.add(whole.shows)
            else:
                parts.append(self._start(Start()) + self._whole(whole))
        return b"".join(parts)

    def _whole(self, whole: Whole) -> bytes:
        members = decode(whole.raw, dict[str, Raw])
        given = bytes(members.get("input", b""))
        kind = bytes(members.get("type", b"")).strip(b'"')
        if given in (b"", b"{}") or kind not in _GROWING_INPUTS:
            return self._block(flat(bytes(whole.raw)))
        # Clients put the input together from its deltas, and take none with the start.
        index = self._index
        self._index += 1
        piece = _PIECES["tool"] % encode(given.decode("utf-8", "replace"))
        opening = flat(encode(members | {"input": {}}))
        return _START % (index, opening) + _DELTA % (index, piece) + _STOP % index

    def _end(self, end: End) -> bytes:
        self._over = True
        data = self._start(Start())
        if not self._index:
            data += self._block(_TEXT_OPENS)
        usage = _usage(self._usage, end.tier)
        delta = _frame("message_delta", delta=_stopped(self._stop), usage=usage)
        return data + delta + _frame("message_stop")


def _redacted(seal: Seal) -> Item:
    return {"type": "redacted_thinking", "data": _native(seal, "redacted_thinking", "data")}


def write_body(events: list[Event], call: Call, reply_id: str) -> tuple[bytes, list[Loss]]:
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
        "id": _reply_id(reply.start.id, reply_id),
        "type": "message",
        "role": "assistant",
        "model": reply.start.model or call.model,
        "content": content or [Raw(_TEXT_OPENS)],
        **_stopped(choice.stop),
        "usage": _usage(reply.usage, reply.tier),
    }
    return encode(body), losses.found


def _content(choice: Choice, vault: Vault, losses: _Losses) -> Iterator[Item | Raw]:
    for item in choice.items:
        if isinstance(item, Whole):
            if item.dialect == MESSAGES:
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
        yield {"type": "thinking", "thinking": "", "signature": vault.pack(opened.seal)}
    if block.logprobs:
        losses.add("logprobs")
    if opened.kind == "tool":
        yield _tool_use(opened) | {"input": _input(opened, text, losses)}
    elif opened.kind == "thinking" and block.seal is not None:
        if not text and block.seal.form == THINKING[1]:
            yield _redacted(block.seal)
        else:
            signature = _signature(block.seal, vault)
            yield {"type": "thinking", "thinking": text, "signature": signature}
    elif text and opened.kind == "thinking":
        yield {"type": "thinking", "thinking": text, "signature": ""}
    elif opened.kind != "thinking":
        cited = [note.raw for note in block.notes if note.dialect == MESSAGES]
        if len(cited) < len(block.notes):
            losses.add("citations")
        if text or cited:
            yield {"type": "text", "text": text} | said(citations=cited or None)


def _input(opened: Open, text: str, losses: _Losses) -> Item | Raw:
    found = json_object(wrap(text) if opened.tool == "freeform" else text)
    if found is None:
        losses.add("input")
        return {"_raw": text}
    return found
