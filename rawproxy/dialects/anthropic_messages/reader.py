"""Replies of the Messages API, read: events of a stream, and whole bodies.

Layer: dialects. The part of `anthropic_messages` that understands its upstream. A body's blocks are
read as blocks that are complete when they start, so one reader reads both. Servers that copy this
API leave things out (the `event:` line, starts and ends of blocks, signatures): what can be
understood is.
Spec: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from rawproxy.dialects.anthropic_shared import read_failure
from rawproxy.dialects.base import Back
from rawproxy.dialects.envelope import seal
from rawproxy.dialects.events import NO_JSON, Event, Note, Reason, Start, Stop, Usage, Whole
from rawproxy.dialects.reading import decode, decode_fitting, documents, encode, whole_count
from rawproxy.dialects.scribe import Scribe, one_text
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["MESSAGES", "ReplyReader", "read_plain"]

MESSAGES = "anthropic_messages"
"""The dialect's name, in what only it has."""

_REASONS: dict[str, Reason] = {
    "end_turn": "end",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tools",
    "pause_turn": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context",
    "compaction": "compaction",
}
_VENDOR_RUN = {
    "server_tool_use", "mcp_tool_use", "container_upload", "compaction", "fallback",
}  # fmt: skip
_RESULT = "_result"
"""How the types of what the vendor's own tools found end."""

Count = int | float | None
"""Tokens; some servers count in floats."""


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count = None
    ephemeral_1h_input_tokens: Count = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: Count = None


class _Usage(msgspec.Struct):
    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation: _CacheCreation | None = None
    output_tokens: Count = None
    output_tokens_details: _OutputDetails | None = None
    server_tool_use: Raw = Raw()
    service_tier: str | None = None


class _StopDetails(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _Delta(msgspec.Struct):
    """The `delta` of a block or of the message."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Raw = Raw()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None
    error: Raw = Raw()


class _PlainBlock(msgspec.Struct):
    type: Literal["text"]
    text: Annotated[str, Meta(min_length=1)]
    citations: Annotated[list[Raw], Meta(max_length=0)] | None = None


class _PlainMessage(msgspec.Struct):
    """A whole body with one text, and nothing else: most of them."""

    content: Annotated[list[_PlainBlock], Meta(min_length=1, max_length=1)]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence"]
    id: str | None = None
    model: str | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    usage: _Usage | None = None
    error: None = None


class _Event(msgspec.Struct):
    type: str | None = None
    index: int | float | None = None
    delta: _Delta | None = None
    content_block: Raw = Raw()
    message: Raw = Raw()
    usage: _Usage | None = None
    error: Raw = Raw()


class _Block(msgspec.Struct):
    """A content block, and what its deltas added to it."""

    type: str | None = None
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Raw = Raw()
    citations: list[Raw] | None = None


class _Citation(msgspec.Struct):
    url: str | None = None
    source: str | None = None
    title: str | None = None
    document_title: str | None = None
    cited_text: str | None = None


class _Growing:
    """A block that has begun: its texts so far."""

    __slots__ = ("block", "item", "kind", "number", "pieces")

    def __init__(self, kind: str, block: _Block, item: Raw) -> None:
        self.kind = kind
        self.block = block
        self.item = item
        self.number = -1  # of the text block's Open, for its citations
        self.pieces: list[str] = []  # of thinking, or of a tool's input


class ReplyReader:
    """Reads one reply, from a stream's events or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._origin = back.origin
        self._scribe = Scribe(back)
        self._growing: dict[int, _Growing] = {}
        self._live: int | None = None  # the index of the text or thinking that runs
        self._counts = _Usage()

    def read(self, frame: Frame) -> list[Event]:
        """Return what a frame says; see `StreamReader`."""
        data = frame.data.strip()
        if not data or data == b"[DONE]":
            return []
        try:
            event = decode(data, _Event)
        except ValueError:
            return self._read_odd(data)
        if event.type is None:
            event.type = frame.name.decode("utf-8", "replace") or None
        return self._read_event(event, data)

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close(self._counts.service_tier)

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. A missing stop_reason is the end: the body is complete.

        Raises:
            UpstreamNonsense: it is no message.
        """
        try:
            message = decode(body, _Message)
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a message") from None
        if _given(message.error):
            return self._scribe.fail(read_failure(message.error))
        if message.content is None:
            raise UpstreamNonsense("the upstream's reply has no content")
        events = self._scribe.start(message.id, message.model)
        for index, item in enumerate(message.content):
            events += self._start_block(index, item)
            events += self._stop_block(index)
        return [
            *events,
            *self._stop(message.stop_reason, message.stop_sequence, message.stop_details),
            *self._count(message.usage),
            *self._scribe.end(self._counts.service_tier),
        ]

    def _read_odd(self, data: bytes) -> list[Event]:
        """Read data that is not one event: several documents in a row, or JSON of another shape."""
        try:
            found = documents(data)
        except ValueError:
            raise UpstreamNonsense("a frame of the upstream's stream is not JSON") from None
        events: list[Event] = []
        for one in found:
            try:
                event = decode(one, _Event)
            except ValueError:
                self.unknown += 1
            else:
                events += self._read_event(event, one)
        return events

    def _read_event(self, event: _Event, data: bytes) -> list[Event]:
        index = int(event.index or 0)
        match event.type:
            case "content_block_delta" if event.delta is not None:
                return self._grow(index, event.delta, data)
            case "content_block_start":
                return self._start_block(index, event.content_block)
            case "content_block_stop":
                return self._stop_block(index)
            case "message_start":
                return self._start(event.message)
            case "message_delta":
                said = event.delta or _Delta()
                stopped: list[Event] = []
                if said.stop_reason:
                    stopped = self._stop(said.stop_reason, said.stop_sequence, said.stop_details)
                return [*stopped, *self._count(event.usage)]
            case "message_stop":
                return self._end()
            case "ping":
                return []
        if event.type == "error" or _given(event.error):
            return self._scribe.fail(read_failure(event.error))
        self.unknown += 1
        return []

    def _start(self, raw: Raw) -> list[Event]:
        try:
            message = decode(raw, _Message)
        except ValueError:
            message = _Message()
            self.unknown += 1
        return [*self._scribe.start(message.id, message.model), *self._count(message.usage)]

    def _end(self) -> list[Event]:
        """The terminator: a reply whose stop_reason never came has ended all the same."""
        if not self._scribe.started and not self._scribe.ended:
            raise UpstreamNonsense("the upstream's stream ended before it said anything")
        events = [] if self._scribe.whole else self._stop(None, None, None)
        return [*events, *self._scribe.end(self._counts.service_tier)]

    def _stop(
        self, word: str | None, sequence: str | None, details: _StopDetails | None
    ) -> list[Event]:
        events = [event for index in list(self._growing) for event in self._stop_block(index)]
        details = details or _StopDetails()
        return [
            *events,
            *self._scribe.stop(
                _REASONS.get(word or "", "end"), sequence=sequence or None,
                detail=details.explanation, category=details.category, word=word,
            ),
        ]  # fmt: skip

    def _count(self, usage: _Usage | None) -> list[Event]:
        """Merge the fields that are said, as they are; only then do they become counts of ours."""
        if usage is None:
            return []
        for name in usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None and (not isinstance(value, Raw) or _given(value)):
                setattr(self._counts, name, value)
        return self._scribe.usage(_read_usage(self._counts))

    def _start_block(self, index: int, item: Raw) -> list[Event]:
        try:
            block = decode(item, _Block)
        except ValueError:
            self.unknown += 1
            return []
        events = self._stop_block(index)
        if self._live is not None:  # its end was left out
            events += self._stop_block(self._live)
        kind = block.type or "text"
        growing = self._growing[index] = _Growing(kind, block, item)
        match kind:
            case "text" | "thinking":
                self._live = index
                events += self._scribe.block("text" if kind == "text" else "thinking", fresh=True)
                growing.number = -1 if (number := self._scribe.running()) is None else number
                events += self._add(growing, block.text or block.thinking or "")
                for citation in block.citations or ():
                    events += self._note(growing, citation)
            case "redacted_thinking":
                native = encode({"type": kind, "data": block.data}).decode()
                events += self._scribe.seal(seal(self._origin, kind, native))
            case "tool_use" if block.name:
                events += self._scribe.tool(index, block.name, block.id)
            case "tool_use":
                self.unknown += 1  # nobody could run it
            case _:
                self.unknown += kind not in _VENDOR_RUN and not kind.endswith(_RESULT)
        return events

    def _grow(self, index: int, delta: _Delta, data: bytes) -> list[Event]:
        growing = self._growing.get(index)
        events: list[Event] = []
        wanted = _kind_of(delta)
        if growing is None or (wanted and growing.kind in _TEXTS and growing.kind != wanted):
            if not wanted:
                self.unknown += 1
                return []
            events = self._start_block(index, Raw(b'{"type":"%b"}' % wanted.encode()))
            growing = self._growing[index]
        if growing.kind in _TEXTS:
            return [*events, *self._grow_text(growing, delta)]
        if delta.partial_json is not None:
            growing.pieces.append(delta.partial_json)
            if delta.partial_json and growing.kind == "tool_use":
                return self._scribe.arguments(index, delta.partial_json)
        elif growing.kind in ("tool_use", "redacted_thinking"):
            self.unknown += 1
        else:
            _merge(growing, data)
        return []

    def _grow_text(self, growing: _Growing, delta: _Delta) -> list[Event]:
        if delta.signature is not None:
            growing.block.signature = delta.signature  # the last one is the whole one
        elif _given(delta.citation):
            return self._note(growing, delta.citation)
        elif delta.text is None and delta.thinking is None:
            self.unknown += 1
        return self._add(growing, delta.text or delta.thinking or "")

    def _add(self, growing: _Growing, text: str) -> list[Event]:
        if growing.kind == "text":
            return self._scribe.text("text", text)
        growing.pieces.append(text)
        return self._scribe.text("thinking", text)

    def _note(self, growing: _Growing, raw: Raw) -> list[Event]:
        try:
            cited = decode(raw, _Citation)
        except ValueError:
            cited = None
        if cited is None or growing.number < 0:
            self.unknown += 1
            return []
        url = cited.url or (cited.source if "://" in (cited.source or "") else None)
        title = cited.title or cited.document_title
        return [Note(growing.number, url, title, cited.cited_text, dialect=MESSAGES, raw=raw)]

    def _stop_block(self, index: int) -> list[Event]:
        growing = self._growing.pop(index, None)
        if growing is None:
            return []
        if index == self._live:
            self._live = None
        block = growing.block
        match growing.kind:
            case "text":
                return self._scribe.close_text()
            case "thinking":
                if not block.signature:
                    return self._scribe.close_text()
                native = encode({"type": "thinking", "signature": block.signature}).decode()
                texts = ["".join(growing.pieces)]
                return self._scribe.seal(seal(self._origin, "thinking", native, texts))
            case "redacted_thinking":
                return []
            case "tool_use":
                # Some servers say the input at once, with the start of the block.
                at_once = not any(growing.pieces) and bytes(block.input) not in _NO_INPUT
                said = bytes(block.input).decode() if at_once else ""
                return [
                    *(self._scribe.arguments(index, said) if said else ()),
                    *self._scribe.close_tool(index),
                ]
        return self._whole(growing)

    def _whole(self, growing: _Growing) -> list[Event]:
        item = growing.item
        if any(growing.pieces):
            members = decode(item, dict[str, Raw])
            said = "".join(growing.pieces).encode("utf-8", "replace")
            try:
                decode(said, Raw)
            except ValueError:
                self.unknown += 1
            else:
                item = Raw(encode(members | {"input": Raw(said)}))
        return self._scribe.item(Whole(MESSAGES, item, growing.kind))


def read_plain(body: bytes) -> list[Event] | None:
    """Return what `ReplyReader.read_body` does, at two fifths of its cost; None where more than a text was said."""
    plain = decode_fitting(body, _PlainMessage)
    if plain is None or (plain.usage is not None and plain.usage.server_tool_use):
        return None
    word, counts = plain.stop_reason, plain.usage
    return one_text(
        Start(plain.id or None, plain.model or None),
        plain.content[0].text,
        Stop(_REASONS[word], sequence=plain.stop_sequence or None, word=word),
        _read_usage(counts) if counts is not None else None,
        counts.service_tier if counts is not None else None,
    )


class _RawDelta(msgspec.Struct):
    delta: dict[str, Raw]


_TEXTS = ("text", "thinking")
_NO_INPUT = (b"", b"null", b"{}")


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def _kind_of(delta: _Delta) -> str:
    """Return the kind of block that a delta is about; "" when it does not tell."""
    if delta.text is not None or _given(delta.citation):
        return "text"
    return "thinking" if delta.thinking is not None or delta.signature is not None else ""


def _merge(growing: _Growing, data: bytes) -> None:
    """Add to a vendor-run item what a delta of another type says, such as `compaction_delta`."""
    said = decode(data, _RawDelta).delta
    said.pop("type", None)
    growing.item = Raw(encode(decode(growing.item, dict[str, Raw]) | said))


def _read_usage(said: _Usage) -> Usage:
    """Return the counts; `input` is the sum of what was read anew, from the cache, and into it."""
    made = said.cache_creation or _CacheCreation()
    kept = (made.ephemeral_5m_input_tokens, made.ephemeral_1h_input_tokens)
    written = said.cache_creation_input_tokens
    if written is None and kept != (None, None):
        written = sum(count or 0 for count in kept)
    elif written == 0:
        kept = (kept[0] and 0, kept[1] and 0)  # a total that was corrected goes for its parts too
    parts = (said.input_tokens, said.cache_read_input_tokens, written)
    total = sum(count or 0 for count in parts) if said.input_tokens is not None else None
    details = said.output_tokens_details or _OutputDetails()
    return Usage(
        input=whole_count(total),
        output=whole_count(said.output_tokens),
        cache_read=whole_count(said.cache_read_input_tokens),
        cache_write=whole_count(written),
        cache_write_5m=whole_count(kept[0]),
        cache_write_1h=whole_count(kept[1]),
        reasoning=whole_count(details.thinking_tokens),
        server_tools=said.server_tool_use or NO_JSON,
    )
