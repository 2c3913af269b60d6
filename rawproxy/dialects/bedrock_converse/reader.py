"""Converse replies, read: messages of a stream, and whole bodies.

Layer: dialects. The part of `bedrock_converse` that understands its upstream. A body's blocks are
read as blocks that are complete when they start, so one reader reads both. Only tools and pictures
begin with a message of their own; other blocks are there when their first piece is.
Spec: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html

The counts come behind `messageStop`, in `metadata`, which ends the reply. `inputTokens` leaves out
what was read from the cache or written to it.
"""

import base64
import binascii
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.bedrock_converse.errors import read_failure
from rawproxy.dialects.envelope import seal
from rawproxy.dialects.events import Event, Note, Reason, Usage, Whole
from rawproxy.dialects.reading import decode, encode, whole_count
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.eventstream import EventFrame
from rawproxy.wire.frame import Frame

__all__ = ["CONVERSE", "REASONS", "REDACTED", "SIGNED", "ReplyReader"]

CONVERSE = "bedrock_converse"
"""The dialect's name, in what only it has."""

SIGNED = "thinking"
"""The form of a seal that is a signature: Claude's own, so that one from Messages is taken too."""

REDACTED = "redactedContent"
"""The form of a seal that holds the thinking itself: only this dialect can take it back."""

REASONS: dict[str, Reason] = {
    "end_turn": "end",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tools",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
    "malformed_model_output": "malformed",
    "malformed_tool_use": "malformed",
    "model_context_window_exceeded": "context",
}
"""Words of `stopReason`. The first word for a reason is the one to write."""

Count = int | float | None
"""Tokens; some servers count in floats."""


class _CacheDetail(msgspec.Struct, rename="camel"):
    ttl: str | None = None
    input_tokens: Count = None


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_write_input_tokens: Count = None
    cache_details: list[_CacheDetail] | None = None


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    type: str | None = None


class _Start(msgspec.Struct, rename="camel"):
    tool_use: _ToolUse | None = None


class _ReasoningText(msgspec.Struct):
    text: str | None = None
    signature: str | None = None


class _Reasoning(msgspec.Struct, rename="camel"):
    """Of a delta: one of its members. Of a body's block: `reasoningText`, or redacted."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None
    reasoning_text: _ReasoningText | None = None


class _Delta(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citation: Raw = Raw()


class _Tier(msgspec.Struct):
    type: str | None = None


class _Message(msgspec.Struct, rename="camel"):
    """The payload of a stream's message: the members of all of them."""

    content_block_index: int | float | None = None
    delta: Raw = Raw()
    start: Raw = Raw()
    stop_reason: object = None
    additional_model_response_fields: Raw = Raw()
    usage: Raw = Raw()
    service_tier: Raw = Raw()


class _Said(msgspec.Struct):
    content: list[Raw] | None = None


class _Output(msgspec.Struct):
    message: _Said | None = None


class _Body(_Message, rename="camel"):
    output: _Output | None = None


class _Texts(msgspec.Struct):
    text: str | None = None


class _Cited(msgspec.Struct):
    content: list[_Texts] | None = None
    citations: list[Raw] | None = None


class _Block(msgspec.Struct, rename="camel"):
    """A block of a body."""

    text: str | None = None
    tool_use: _ToolUse | None = None
    reasoning_content: _Reasoning | None = None
    citations_content: _Cited | None = None


class _Web(msgspec.Struct):
    url: str | None = None


class _Location(msgspec.Struct):
    web: _Web | None = None


class _Citation(msgspec.Struct, rename="camel"):
    title: str | None = None
    source: str | None = None
    source_content: list[_Texts] | None = None
    location: _Location | None = None


class _Stopped(msgspec.Struct):
    """What was asked for of the model's own reply; only the stop sequence is of use."""

    stop_sequence: str | None = None
    delta: "_Stopped | None" = None


class _Growing:
    """A block that has begun.

    Attributes:
        kind: text, thinking, tool; else the member that a vendor-run item is in.
        number: of the text block's Open, for its citations.
        pieces: of thinking, or what the deltas of a vendor-run item say.
    """

    __slots__ = ("kind", "members", "number", "pieces", "redacted", "signature")

    def __init__(self, kind: str, members: dict[str, Raw] | None = None) -> None:
        self.kind = kind
        self.members = members or {}
        self.number = -1
        self.pieces: list[str] = []
        self.signature: list[str] = []
        self.redacted: list[str] = []


class ReplyReader:
    """Reads one reply, from a stream's messages or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._origin = back.origin
        self._scribe = Scribe(back)
        self._growing: dict[int, _Growing] = {}
        self._tier: str | None = None

    def read(self, frame: Frame) -> list[Event]:
        """Return what a message says; see `StreamReader`."""
        name = frame.name.decode("utf-8", "replace")
        if (isinstance(frame, EventFrame) and frame.kind != b"event") or _is_exception(name):
            return self._scribe.fail(read_failure(name, frame.data))
        if not frame.has_data:
            return []
        try:
            message = decode(frame.data, _Message)
        except ValueError:
            return self._odd(frame.data)
        index = int(message.content_block_index or 0)
        match name:
            case "contentBlockDelta":
                return self._grow(index, message.delta)
            case "contentBlockStart":
                return self._start_block(index, message.start)
            case "contentBlockStop":
                return self._stop_block(index)
            case "messageStart":
                return self._scribe.start()
            case "messageStop":
                return self._stop(message)
            case "metadata":
                counted = self._count(message)
                done = self._scribe.end(self._tier) if self._scribe.whole else []
                return [*counted, *done]
        self.unknown += 1
        return []

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close(self._tier)

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. A missing stopReason is the end: the body is complete.

        Raises:
            UpstreamNonsense: it is no reply of Converse.
        """
        try:
            said = decode(body, _Body)
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a Converse reply") from None
        if said.output is None:
            raise UpstreamNonsense("the upstream's reply has no output")
        events = self._scribe.start()
        message = said.output.message or _Said()
        for index, item in enumerate(message.content or ()):
            events += self._read_block(index, item)
        return [*events, *self._stop(said), *self._count(said), *self._scribe.end(self._tier)]

    def _odd(self, data: bytes) -> list[Event]:
        """Count a payload with members of other types. UpstreamNonsense where it is no object."""
        try:
            decode(data, dict[str, Raw])
        except ValueError:
            raise UpstreamNonsense("a message of the upstream's stream is not JSON") from None
        self.unknown += 1
        return []

    def _read_block(self, index: int, item: Raw) -> list[Event]:
        """Read a block of a body as the deltas that it would have come in."""
        try:
            block = decode(item, _Block)
        except ValueError:
            self.unknown += 1
            return []
        thought, tool, cited = block.reasoning_content, block.tool_use, block.citations_content
        if block.text is not None:
            events = self._say("text", index, block.text)
        elif thought is not None:
            events = self._think(index, thought)
            if thought.reasoning_text is not None:
                whole = thought.reasoning_text
                events += self._think(index, _Reasoning(whole.text, whole.signature))
        elif tool is not None and tool.type is None:
            events = self._start_tool(index, tool)
            arguments = bytes(tool.input).decode("utf-8", "replace")
            events += self._scribe.arguments(index, arguments if arguments != "null" else "")
        elif cited is not None:
            texts = [one.text or "" for one in cited.content or ()]
            events = self._say("text", index, "".join(texts))
            for citation in cited.citations or ():
                events += self._note(index, citation)
        else:
            return self._vendor_run(item)
        return [*events, *self._stop_block(index)]

    def _stop(self, message: _Message) -> list[Event]:
        events = [event for index in list(self._growing) for event in self._stop_block(index)]
        word = message.stop_reason if isinstance(message.stop_reason, str) else None
        sequence = _sequence(message.additional_model_response_fields)
        reason = REASONS.get(word or "", "end")
        return [*events, *self._scribe.stop(reason, sequence=sequence, word=word)]

    def _count(self, message: _Message) -> list[Event]:
        try:
            if _given(message.service_tier):
                self._tier = decode(message.service_tier, _Tier).type
            usage = decode(message.usage, _Usage) if _given(message.usage) else _Usage()
        except ValueError:
            self.unknown += 1
            return []
        return self._scribe.usage(_read_usage(usage))

    def _start_block(self, index: int, raw: Raw) -> list[Event]:
        try:
            members = decode(raw, dict[str, dict[str, Raw]])
            tool = decode(raw, _Start).tool_use
        except ValueError:
            self.unknown += 1
            return []
        events = self._stop_block(index)
        if tool is not None and tool.type is None:
            return [*events, *self._start_tool(index, tool)]
        for kind, item in members.items():
            self._growing[index] = _Growing(kind, item)
        return events

    def _start_tool(self, index: int, tool: _ToolUse) -> list[Event]:
        if not tool.name:
            self.unknown += 1  # nobody could run it
            return []
        events = self._stop_texts()
        self._growing[index] = _Growing("tool")
        return [*events, *self._scribe.tool(index, tool.name, tool.tool_use_id)]

    def _grow(self, index: int, raw: Raw) -> list[Event]:
        growing = self._growing.get(index)
        try:
            if growing is not None and growing.kind not in _KINDS:
                _merge(growing, decode(raw, dict[str, Raw]))
                return []
            delta = decode(raw, _Delta)
        except ValueError:
            self.unknown += 1
            return []
        if delta.text is not None:
            return self._say("text", index, delta.text)
        if delta.tool_use is not None and growing is not None and growing.kind == "tool":
            return self._scribe.arguments(index, _piece(delta.tool_use.input))
        if delta.reasoning_content is not None:
            return self._think(index, delta.reasoning_content)
        if _given(delta.citation):
            return self._note(index, delta.citation)
        self.unknown += 1
        return []

    def _live(self, kind: str, index: int) -> tuple[_Growing, list[Event]]:
        """Return the block `index`, begun if it is not there or is of another kind."""
        growing = self._growing.get(index)
        if growing is not None and growing.kind == kind:
            return growing, []
        events = [*self._stop_block(index), *self._stop_texts()]
        growing = self._growing[index] = _Growing(kind)
        return growing, events

    def _say(self, kind: str, index: int, text: str) -> list[Event]:
        growing, events = self._live(kind, index)
        if not text:
            return events
        if growing.number < 0:
            events += self._scribe.block("text" if kind == "text" else "thinking", fresh=True)
            growing.number = -1 if (number := self._scribe.running()) is None else number
        if kind == "thinking":
            growing.pieces.append(text)
            return [*events, *self._scribe.text("thinking", text)]
        return [*events, *self._scribe.text("text", text)]

    def _think(self, index: int, said: _Reasoning) -> list[Event]:
        events = self._say("thinking", index, said.text or "")
        growing = self._growing[index]
        if said.signature:
            growing.signature.append(said.signature)
        if said.redacted_content:
            growing.redacted.append(said.redacted_content)
        return events

    def _note(self, index: int, raw: Raw) -> list[Event]:
        try:
            cited = decode(raw, _Citation)
        except ValueError:
            self.unknown += 1
            return []
        growing, events = self._live("text", index)
        if growing.number < 0:
            events += self._scribe.block("text", fresh=True)
            if (number := self._scribe.running()) is None:
                return events
            growing.number = number
        place = cited.location or _Location()
        url = place.web.url if place.web else None
        url = url or (cited.source if "://" in (cited.source or "") else None)
        quote = "".join(piece.text or "" for piece in cited.source_content or ())
        note = Note(growing.number, url, cited.title, quote or None, dialect=CONVERSE, raw=raw)
        return [*events, note]

    def _stop_texts(self) -> list[Event]:
        """End texts and thinking whose end was left out."""
        texts = [index for index, one in self._growing.items() if one.kind in _TEXTS]
        return [event for index in texts for event in self._stop_block(index)]

    def _stop_block(self, index: int) -> list[Event]:
        growing = self._growing.pop(index, None)
        if growing is None:
            return []
        match growing.kind:
            case "text":
                return self._scribe.close_text()
            case "thinking":
                return self._seal(growing)
            case "tool":
                return self._scribe.close_tool(index)
        return self._vendor_run(Raw(encode({growing.kind: _finished(growing)})))

    def _seal(self, growing: _Growing) -> list[Event]:
        events: list[Event] = []
        if growing.signature:
            signature = "".join(growing.signature)
            native = encode({"type": SIGNED, "signature": signature}).decode()
            sealed = seal(self._origin, SIGNED, native, ["".join(growing.pieces)])
            events = self._scribe.seal(sealed)
        if growing.redacted:
            native = encode({REDACTED: _joined(growing.redacted)}).decode()
            events += self._scribe.seal(seal(self._origin, REDACTED, native))
        return events or self._scribe.close_text()

    def _vendor_run(self, item: Raw) -> list[Event]:
        """Return an item that the vendor made itself: a picture, a tool that it ran."""
        try:
            kind = next(iter(decode(item, dict[str, dict[str, Raw]])), "")
        except ValueError:
            kind = ""
        self.unknown += kind not in _VENDOR_RUN
        if not kind:
            return []
        return [*self._stop_texts(), *self._scribe.item(Whole(CONVERSE, item, kind))]


_KINDS = ("text", "thinking", "tool")
_TEXTS = ("text", "thinking")
_VENDOR_RUN = ("toolUse", "toolResult", "image", "video", "audio")


def _is_exception(name: str) -> bool:
    return name.lower().endswith("exception")


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def _piece(raw: Raw) -> str:
    """Return a piece of a tool's input: a string, or the whole of it from servers that hurry."""
    if not _given(raw):
        return ""
    try:
        return decode(raw, str)
    except ValueError:
        return bytes(raw).decode("utf-8", "replace")


def _merge(growing: _Growing, delta: dict[str, Raw]) -> None:
    """Add to a vendor-run item what a delta says of it."""
    raw = delta.get(growing.kind, Raw(b"{}"))
    if growing.kind == "toolUse":
        growing.pieces.append(_piece(decode(raw, _ToolUse).input))
    elif growing.kind == "toolResult":
        growing.pieces += [bytes(one).decode("utf-8", "replace") for one in decode(raw, list[Raw])]
    else:
        growing.members |= decode(raw, dict[str, Raw])


def _finished(growing: _Growing) -> dict[str, Raw]:
    """Return a vendor-run item with what its deltas added."""
    if growing.kind == "toolUse":
        text = "".join(growing.pieces).encode("utf-8", "replace") or b"{}"
        try:
            decode(text, Raw)
        except ValueError:
            text = encode(text.decode())
        return growing.members | {"input": Raw(text)}
    if growing.kind == "toolResult":
        pieces = ",".join(growing.pieces).encode("utf-8", "replace")
        return growing.members | {"content": Raw(b"[%b]" % pieces)}
    return growing.members


def _joined(pieces: Sequence[str]) -> str:
    """Return base64 that came in pieces as one; each piece is base64 of its own."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        data = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except (binascii.Error, ValueError):
        return "".join(pieces)
    return base64.b64encode(data).decode()


def _sequence(raw: Raw) -> str | None:
    """Return the stop sequence in `additionalModelResponseFields`, where it was asked for."""
    try:
        said = decode(raw, _Stopped) if _given(raw) else _Stopped()
    except ValueError:
        return None
    return said.stop_sequence or (said.delta.stop_sequence if said.delta else None) or None


def _read_usage(said: _Usage) -> Usage:
    """Return the counts; `input` is the sum of what was read anew, from the cache, and into it."""
    parts = (said.input_tokens, said.cache_read_input_tokens, said.cache_write_input_tokens)
    total = sum(count or 0 for count in parts) if said.input_tokens is not None else None
    kept = {one.ttl: one.input_tokens for one in said.cache_details or ()}
    return Usage(
        input=whole_count(total),
        output=whole_count(said.output_tokens),
        cache_read=whole_count(said.cache_read_input_tokens),
        cache_write=whole_count(said.cache_write_input_tokens),
        cache_write_5m=whole_count(kept.get("5m")),
        cache_write_1h=whole_count(kept.get("1h")),
    )
