"""Gemini replies, written: chunks of a stream, and whole bodies.

Layer: dialects. The part of `gemini` that speaks to its clients.
Source: https://ai.google.dev/api/generate-content#GenerateContentResponse, and what `google-genai`
3.3.0 and the AI SDK make of it.

Every chunk is a reply in small, with role, id and model. Clients keep each chunk's content for the
next call, so none is without role or parts. A tool call is written whole, when its arguments are.
`finishReason` waits for the end: it comes with the counts. Clients cut the stream into lines as
Unicode does, so line ends inside of strings are escaped; a comment, an event's name or `[DONE]`
would break them.
"""

import re
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
    Reason,
    Sealed,
    Start,
    Stop,
    Usage,
    Whole,
)
from rawproxy.dialects.fold import Block, Choice, fold
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.gemini.errors import failure_of
from rawproxy.dialects.gemini.grounding import TextMap, write_grounding
from rawproxy.dialects.gemini.logprobs import write_logprobs
from rawproxy.dialects.gemini.part_writer import json_object
from rawproxy.dialects.gemini.reader import REASONS
from rawproxy.dialects.gemini.signatures import SIGNATURE, carrier, is_thought
from rawproxy.dialects.gemini.spelling import GEMINI, Item, said
from rawproxy.dialects.groove import around, unescaped
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import encode, flat

__all__ = ["ChunkWriter", "write_body"]

_WORDS: dict[Reason, str] = {
    "end": "STOP",
    "tools": "STOP",
    "stop_sequence": "STOP",
    "pause": "STOP",
    "compaction": "STOP",
    "length": "MAX_TOKENS",
    "context": "MAX_TOKENS",
    "refusal": "SAFETY",
    "filter": "SAFETY",
    "malformed": "MALFORMED_FUNCTION_CALL",
}
_UNSTOPPED = Stop("filter", word="OTHER")
"""Why a choice ended of which nothing came."""

_LINE_END = re.compile(rb"\xe2\x80[\xa8\xa9]|\xc2\x85")
_ESCAPED = {
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
    b"\xc2\x85": b"\\u0085",
}
_UNSAID = ("pause", "compaction")
"""Reasons that nothing here tells from a plain end."""

_REFUSAL = "refusal"
"""What words of refusal belong to, as texts do to their phase."""


def _escaped(data: bytes) -> bytes:
    """Return JSON on one line, whatever a reader takes for the end of one."""
    return _LINE_END.sub(lambda match: _ESCAPED[match[0]], flat(data))


def _frame(data: bytes) -> bytes:
    return b"data: %b\r\n\r\n" % _escaped(data)


def _carry(text_map: TextMap, block: int, write: Carry, texts: list[bytes]) -> bytes:
    text = b"".join(texts)
    text_map.add(block, unescaped(text))
    return write(texts if text.isascii() else [_escaped(one) for one in texts])


def _usage(usage: Usage) -> Item:
    """Return the counts: thoughts stand beside the candidates' tokens."""
    thoughts = usage.reasoning
    output = None if usage.output is None else max(0, usage.output - (thoughts or 0))
    return said(
        promptTokenCount=usage.input, candidatesTokenCount=output,
        totalTokenCount=(usage.input or 0) + (usage.output or 0),
        cachedContentTokenCount=usage.cache_read, thoughtsTokenCount=thoughts,
        promptTokensDetails=_audio(usage.audio_input),
        candidatesTokensDetails=_audio(usage.audio_output),
    )  # fmt: skip


def _audio(count: int | None) -> list[Item] | None:
    return None if count is None else [{"modality": "AUDIO", "tokenCount": count}]


def _finish(stop: Stop) -> Item:
    known = REASONS.get(stop.word or "")
    own = known == ("end" if stop.reason == "tools" else stop.reason)
    word = stop.word if own else _WORDS[stop.reason]
    return {"finishReason": word} | said(finishMessage=stop.detail)


class _Choice:
    """What has been written of one choice.

    Attributes:
        text: its text so far, block by block.
        told: whether any text of it was written, and to what the last one belonged.
    """

    def __init__(self) -> None:
        self.text = TextMap()
        self.notes: list[Note] = []
        self.stop: Stop | None = None
        self._told: tuple[object, ...] = ()

    def say(self, opened: Open, text: str) -> str:
        """Take text; return it with a blank line before it where it does not go on from the last."""
        mark = (_REFUSAL if opened.kind == "refusal" else opened.phase,)
        told, self._told = self._told, mark
        gap = "\n\n" if told not in ((), mark) else ""
        if gap:
            self.text.gap(gap)
        self.text.add(opened.block, text)
        return gap + text


class _Scribbler:
    """Turns blocks into parts, and notes what of them has no words here.

    Args:
        call: what was asked.
    """

    def __init__(self, call: Call) -> None:
        self.losses: list[Loss] = []
        self._vault = call.vault

    def lose(self, what: str | None) -> None:
        """Note a loss, once."""
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.losses:
            self.losses.append(loss)

    def signed(self, item: Item, seal: Seal | None) -> Item:
        """Return a part with its signature."""
        return item if seal is None else item | {SIGNATURE: carrier(seal, self._vault)}

    def seal_of(self, seal: Seal | None) -> Seal | None:
        """Return a seal, unless it is around nothing: that only says whose words these are."""
        return None if seal is None or seal.raw == "{}" else seal

    def thought(self, text: str, seal: Seal | None = None) -> Item:
        """Return a thought; one that is only a signature may be that of a text."""
        item: Item = {"text": text, "thought": True}
        if seal is not None and not text and not is_thought(seal):
            del item["thought"]
        return self.signed(item, seal)

    def tool(self, opened: Open, text: str) -> Item:
        """Return a tool call."""
        name = opened.name or ""
        name = f"{opened.namespace}__{name}" if opened.namespace else name
        arguments: object = json_object(wrap(text) if opened.tool == "freeform" else text)
        if arguments is None:
            self.lose("input")
            arguments = {"_raw": text}
        call = said(id=opened.id, name=name, args=arguments)
        return self.signed({"functionCall": call}, self.seal_of(opened.seal))

    def whole(self, whole: Whole) -> Raw | None:
        """Return a vendor-run item; None for one of another vendor."""
        if whole.dialect == GEMINI:
            return whole.raw
        self.lose(whole.shows)
        return None

    def ending(self, choice: _Choice) -> Item:
        """Return why a choice stopped, and what it rests on."""
        stop = choice.stop or _UNSTOPPED
        if stop.reason in _UNSAID:
            self.lose("stop_reason")
        named = [note for note in choice.notes if note.url is not None]
        if len(named) < len(choice.notes):
            self.lose("citations")
        grounding = {"groundingMetadata": write_grounding(named, choice.text)} if named else {}
        return _finish(stop) | grounding


class _Live:
    """A block that is open."""

    __slots__ = ("closed", "held", "opened", "pieces", "written")

    def __init__(self, opened: Open) -> None:
        self.opened = opened
        self.written = False
        self.closed = False
        self.held: str | None = None  # the last piece of thinking: the signature comes with it
        self.pieces: list[str] = []  # of a tool's arguments


class ChunkWriter:
    """Writes one reply as a stream.

    Args:
        call: what was asked.
        reply_id: used where the upstream gave none.
    """

    def __init__(self, call: Call, reply_id: str) -> None:
        self._call = call
        self._reply_id = reply_id
        self._parts = _Scribbler(call)
        self.losses = self._parts.losses
        self._blocks: dict[int, _Live] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._tail = b""
        self._over = False

    def write(self, event: Event) -> bytes:
        """Return an event's bytes; see `StreamWriter`."""
        if self._over:
            return b""
        match event:
            case Delta():
                return self._delta(event)
            case Start():
                self._tail = _tail(event, self._call, self._reply_id)
            case Open():
                self._open(event)
            case Sealed(block=number, seal=seal):
                return self._seal(self._blocks[number], self._parts.seal_of(seal))
            case Close(block=number):
                return self._close(number)
            case Note(block=number):
                self._note(event)
            case Whole(choice=number):
                raw = self._parts.whole(event)
                self._choice(number)
                return b"" if raw is None else self._part(number, bytes(raw))
            case Usage():
                self._usage = event if self._usage is None else self._usage.merged(event)
            case Stop(choice=number):
                self._choice(number).stop = event
            case End():
                return self._end()
            case Fail():
                self._over = True
                return _frame(encode({"error": failure_of(event)}))
            case _:
                assert_never(event)
        return b""

    def carry(self, block: int) -> Carry | None:
        """Return what writes one more piece of an open text."""
        live = self._blocks.get(block)
        if self._over or live is None or not live.written or live.opened.kind != "text":
            return None
        number = live.opened.choice
        write = around(self._part(number, b'{"text":"\0"}'))
        return partial(_carry, self._choice(number).text, block, write)

    def keepalive(self) -> bytes:
        """Return a blank line: a comment would break clients."""
        return b"\r\n"

    def joined(self) -> None:
        """Learn nothing: every chunk has its whole head."""

    def _choice(self, number: int) -> _Choice:
        return self._choices.setdefault(number, _Choice())

    def _part(self, choice: int, part: bytes, beside: bytes = b"") -> bytes:
        """Return a chunk of one part; `beside` goes on to further members of the candidate."""
        return _frame(
            b'{"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d%b}]%b'
            % (part, choice, beside, self._tail)
        )

    def _open(self, opened: Open) -> None:
        self._choice(opened.choice)
        if opened.kind == "tool" and opened.runs == "vendor":
            self._parts.lose(opened.name)
        else:
            self._blocks[opened.block] = _Live(opened)

    def _delta(self, delta: Delta) -> bytes:
        live = self._blocks.get(delta.block)
        if live is None:
            return b""
        opened = live.opened
        if opened.kind == "tool":
            live.pieces.append(delta.text)
            return b""
        if opened.kind == "thinking":
            held, live.held = live.held, delta.text
            return b"" if held is None else self._say(opened.choice, self._parts.thought(held))
        choice = self._choice(opened.choice)
        text = choice.say(opened, delta.text) if delta.text else ""
        beside = b""
        if delta.logprobs:
            result = write_logprobs([delta.logprobs])
            if result is None:
                self._parts.lose("logprobs")
            else:
                beside = b',"logprobsResult":%b' % encode(result)
        seal = None if live.written else self._parts.seal_of(opened.seal)
        live.written = True
        part = encode(self._parts.signed({"text": text}, seal))
        return self._part(opened.choice, part, beside)

    def _say(self, choice: int, part: Item) -> bytes:
        return self._part(choice, encode(part))

    def _seal(self, live: _Live, seal: Seal | None) -> bytes:
        held, live.held = live.held, None
        if seal is None and held is None:
            return b""
        return self._say(live.opened.choice, self._parts.thought(held or "", seal))

    def _close(self, number: int) -> bytes:
        live = self._blocks.get(number)
        if live is None:
            return b""
        opened = live.opened
        if opened.kind == "tool":
            live.closed = True
            return self._tools(opened.choice)
        del self._blocks[number]
        if opened.kind == "thinking":
            return self._seal(live, None)
        seal = self._parts.seal_of(opened.seal)
        if seal is None or live.written:
            return b""
        return self._say(opened.choice, self._parts.signed({"text": ""}, seal))

    def _tools(self, choice: int) -> bytes:
        """Return the calls that are complete, in the order in which they began."""
        data = []
        for number, live in list(self._blocks.items()):
            opened = live.opened
            if opened.kind != "tool" or opened.choice != choice:
                continue
            if not live.closed:
                break
            del self._blocks[number]
            data.append(self._say(choice, self._parts.tool(opened, "".join(live.pieces))))
        return b"".join(data)

    def _note(self, note: Note) -> None:
        for choice in self._choices.values():
            if choice.text.has(note.block):
                choice.notes.append(note)
                return
        self._parts.lose("citations")

    def _end(self) -> bytes:
        """Return the last chunk of each choice, and with the last of them the counts."""
        self._over = True
        numbers = range(max(self._choices, default=0) + 1)
        data = []
        for number in numbers:
            choice = self._choice(number)
            last = self._parts.ending(choice)
            if number == numbers[-1] and self._usage is not None:
                self._tail = b',"usageMetadata":%b%b' % (encode(_usage(self._usage)), self._tail)
            data.append(self._part(number, b'{"text":""}', b"," + encode(last)[1:-1]))
        return b"".join(data)


def _tail(start: Start, call: Call, reply_id: str) -> bytes:
    """Return how each chunk ends."""
    return b"," + encode(_head(start, call, reply_id))[1:]


def _head(start: Start, call: Call, reply_id: str) -> Item:
    return {"modelVersion": start.model or call.model, "responseId": start.id or reply_id}


def write_body(events: list[Event], call: Call, reply_id: str) -> tuple[bytes, list[Loss]]:
    """Write a whole reply as one body.

    Raises:
        UpstreamNonsense: the reply failed.
    """
    reply = fold(events)
    parts = _Scribbler(call)
    numbers = range(max(reply.choices, default=0) + 1)
    body: Item = {"candidates": [_candidate(at, reply.choice(at), parts) for at in numbers]}
    if reply.usage is not None:
        body["usageMetadata"] = _usage(reply.usage)
    return _escaped(encode(body | _head(reply.start, call, reply_id))), parts.losses


def _candidate(number: int, choice: Choice, parts: _Scribbler) -> Item:
    told = _Choice()
    told.stop = choice.stop
    written: list[Item | Raw] = []
    likely: list[bytes] = []
    for item in choice.items:
        if isinstance(item, Whole):
            raw = parts.whole(item)
            written += [] if raw is None else [raw]
        elif item.opened.kind == "tool" and item.opened.runs == "vendor":
            parts.lose(item.opened.name)
        else:
            written += _block(item, told, parts)
            told.notes += item.notes
            likely += item.logprobs
    probabilities = write_logprobs(likely)
    if likely and probabilities is None:
        parts.lose("logprobs")
    content: Item = {"parts": written or [{"text": ""}], "role": "model"}
    candidate: Item = {"content": content, "index": number}
    return candidate | said(logprobsResult=probabilities) | parts.ending(told)


def _block(block: Block, told: _Choice, parts: _Scribbler) -> list[Item]:
    opened, text = block.opened, block.text
    if opened.kind == "tool":
        return [parts.tool(opened, text)]
    if opened.kind == "thinking":
        seal = parts.seal_of(block.seal)
        return [parts.thought(text, seal)] if text or seal else []
    if text:
        text = told.say(opened, text)
    seal = parts.seal_of(opened.seal)
    return [parts.signed({"text": text}, seal)] if text or seal else []
