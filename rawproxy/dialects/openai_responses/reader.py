"""Replies of the Responses API, read: events of a stream, and whole bodies.

Layer: dialects. The part of `openai_responses` that understands its upstream. A body's items are
read as items that are complete when they come, so one reader reads both.
Spec: https://platform.openai.com/docs/api-reference/responses-streaming

Items may interleave: an event says which one it is about. While a message or a reasoning item
speaks, what is said of others waits for its end, so that each stays one run of blocks and a seal
covers one text. Calls of tools interleave freely. What comes whole with the end of an item, or of the
response, is said only where nothing of it streamed: this reader may not have been shown all of that.
"""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Back
from rawproxy.dialects.events import BlockKind, Event, Fail, Note, Open, Reason, Whole
from rawproxy.dialects.openai_responses.failures import read_failed
from rawproxy.dialects.openai_responses.item_reader import CALLS
from rawproxy.dialects.openai_responses.items import (
    ASIDE,
    HOSTED,
    member,
    read_usage,
    wrap_logprobs,
)
from rawproxy.dialects.openai_responses.reasoning import (
    REASONING,
    RESPONSES,
    SEPARATOR,
    read_reasoning,
)
from rawproxy.dialects.reading import decode, documents, encode, whole_count
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["ResponseReader"]

_ADDED, _DONE = "response.output_item.added", "response.output_item.done"
_TEXT, _REFUSAL = "response.output_text.delta", "response.refusal.delta"
_SUMMARY = "response.reasoning_summary_text.delta"
_SUMMARY_PART, _PART = "response.reasoning_summary_part.added", "response.content_part.added"
_NOTE = "response.output_text.annotation.added"

_ABOUT: dict[str, str] = {
    # event about an item -> the type of item; "" where the event says it, or it does not matter
    _ADDED: "", _DONE: "", _PART: "",
    _TEXT: "message", _REFUSAL: "message", _NOTE: "message",
    _SUMMARY: REASONING, _SUMMARY_PART: REASONING, "response.reasoning_text.delta": REASONING,
    "response.function_call_arguments.delta": "function_call",
    "response.custom_tool_call_input.delta": "custom_tool_call",
}  # fmt: skip

# The end of an item says it again.
_ENDS = re.compile(
    r"response\.(?:output_text|refusal|reasoning_text|reasoning_summary_text|content_part"
    r"|reasoning_summary_part|function_call_arguments|custom_tool_call_input)\.done"
)
_REASONS: dict[str | None, Reason] = {
    "max_output_tokens": "length", "content_filter": "filter",
}  # fmt: skip

Key = int | str
"""An item's output index; its id where the server leaves the index out."""


class _Event(msgspec.Struct):
    type: str | None = None
    output_index: int | float | None = None
    content_index: int | float | None = None
    summary_index: int | float | None = None
    item_id: str | None = None
    delta: str | dict[str, Raw] | None = None
    item: Raw = Raw()
    annotation: Raw = Raw()
    logprobs: Raw = Raw()
    response: Raw = Raw()
    error: Raw = Raw()


class _Item:
    """An item as its events come in.

    Attributes:
        number: names it among the items of this reply.
        said: what streamed: content index and kind; thinking is all under 0.
        at: the one of them that runs.
        arguments: those of a call that has no name yet.
        parts: the parts of a reasoning item, in the order in which they came.
        breaks: separators that were put between those.
        blocks: content index -> the number of its text block, for its annotations.
        notes: content index -> annotations that were said.
        held: events that wait for the end of another item.
    """

    __slots__ = (
        "arguments", "at", "blocks", "breaks", "done", "held", "id", "kind", "notes", "number", "opened",
        "parts", "phase", "said",
    )  # fmt: skip

    def __init__(self, number: int, kind: str, phase: str | None) -> None:
        self.number = number
        self.kind = kind
        self.phase = phase
        self.id: str | None = None
        self.said: set[tuple[int, str]] = set()
        self.arguments: list[str] = []
        self.at: tuple[int, str] | None = None
        self.parts: list[tuple[str, int]] = []
        self.breaks = 0
        self.blocks: dict[int, int] = {}
        self.notes: dict[int, int] = {}
        self.held: list[_Event] = []
        self.opened = False
        self.done = False


class ResponseReader:
    """Reads one reply, from a stream's events or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._partial = back.partial
        self._origin = back.origin
        self._scribe = Scribe(back)
        self._made = 0
        self._items: dict[Key, _Item] = {}
        self._keys: dict[str, Key] = {}  # item id -> its key
        self._live: _Item | None = None  # the message or reasoning that speaks
        self._waiting: dict[int, _Item] = {}  # those with held events, by number
        self._refusal: list[str] = []
        self._tier: str | None = None

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
        return self._scribe.close(self._tier)

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body. One without a status is complete.

        Raises:
            UpstreamNonsense: it is no response, or one that still runs.
        """
        try:
            members = decode(body, dict[str, Raw])
        except ValueError:
            raise UpstreamNonsense("the upstream's body is not a response") from None
        status = member(members, "status", str) or "completed"
        error = member(members, "error", dict[str, Raw])
        if error is not None or status in ("failed", "cancelled"):
            return self._fail(members)
        if member(members, "output", list) is None:
            raise UpstreamNonsense("the upstream's reply has no output")
        if status in ("queued", "in_progress"):
            raise UpstreamNonsense("the upstream's response is not complete yet")
        return self._finish(members, status)

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
        kind = event.type or ""
        if self._scribe.ended:
            return []
        if kind in _ABOUT:
            return self._on_item(event)
        match kind:
            case "response.created" | "response.in_progress" | "response.queued":
                return self._start(self._members(event.response))
            case "response.completed" | "response.incomplete":
                return self._finish(self._members(event.response), kind.removeprefix("response."))
            case "response.failed" | "response.cancelled":
                return self._fail(self._members(event.response))
        if kind == "error" or _given(event.error):
            return self._scribe.fail(read_failed(event.error if _given(event.error) else data))
        self.unknown += not (_ENDS.fullmatch(kind) or ASIDE.fullmatch(kind))
        return []

    def _members(self, raw: Raw) -> dict[str, Raw]:
        """Return an object's members; {}, and it is counted, for what is none."""
        members = _object(raw)
        self.unknown += not members
        return members

    def _start(self, members: Mapping[str, Raw]) -> list[Event]:
        self._tier = member(members, "service_tier", str) or self._tier
        created = member(members, "created_at", float)
        return self._scribe.start(
            member(members, "id", str), member(members, "model", str),
            whole_count(created),
        )  # fmt: skip

    def _count(self, members: Mapping[str, Raw]) -> list[Event]:
        usage = read_usage(members.get("usage", Raw(b"null")))
        return [] if usage is None else self._scribe.usage(usage)

    def _fail(self, members: Mapping[str, Raw]) -> list[Event]:
        fail = read_failed(members.get("error", Raw(b"null")))
        if member(members, "status", str) == "cancelled":
            fail = Fail("server", "the upstream cancelled the response")
        return [*self._start(members), *self._count(members), *self._scribe.fail(fail)]

    def _finish(self, members: Mapping[str, Raw], status: str) -> list[Event]:
        """The response is whole: say what its output adds, then why it stopped."""
        events = self._start(members)
        output = member(members, "output", list[Raw]) or []
        calls = False
        if self._partial and self._items:
            # Most of it went by unseen. It is not to be said, only looked at.
            calls = any(member(_object(raw), "type", str) in CALLS for raw in output)
        else:
            known = list(self._items.values())
            for at, raw in enumerate(output):
                events += self._complete(at, raw, known)
        while self._live is not None:
            events += self._leave()
            events += self._advance()
        self.unknown += sum(
            item.kind in CALLS and not (item.opened or item.done) for item in self._items.values()
        )
        refusal = "".join(self._refusal) or None
        reason: Reason = "refusal" if refusal else "tools" if calls else "end"
        word = status
        if status == "incomplete":
            details = member(members, "incomplete_details", dict[str, Raw]) or {}
            word = member(details, "reason", str) or status
            reason = _REASONS.get(word, "length")
        return [
            *events,
            *self._scribe.stop(reason, detail=refusal, word=word),
            *self._count(members),
            *self._scribe.end(self._tier),
        ]

    def _complete(self, at: int, raw: Raw, known: list[_Item]) -> list[Event]:
        """Return what an item of the whole output adds: `known` by its id, else by its place."""
        members = _object(raw)
        kind = member(members, "type", str) or ""
        key = self._keys.get(member(members, "id", str) or "", at)
        item = self._items.get(key) or (known[at] if at < len(known) else None)
        if item is None or item.kind != kind:
            item = self._new(f"output {at}", members, kind)
        return self._on_item(_Event(_DONE, item=raw), item)

    def _on_item(self, event: _Event, item: _Item | None = None) -> list[Event]:
        events: list[Event] = []
        if item is None:
            item, events = self._find(event)
        if event.type == _DONE:
            if item.done:
                return events
            item.done = True
        if self._live not in (None, item):
            item.held.append(event)
            self._waiting[item.number] = item
            return events
        return [*events, *self._grow(item, event), *self._advance()]

    def _find(self, event: _Event) -> tuple[_Item, list[Event]]:
        """Return the item that an event is about, and the end of one whose place it takes."""
        begins = event.type in (_ADDED, _DONE)
        members = _object(event.item) if begins else {}
        item_id = member(members, "id", str) or event.item_id
        key: Key = item_id or 0
        if event.output_index is not None:
            key = int(event.output_index)
        elif item_id is not None:
            key = self._keys.get(item_id, item_id)
        item = self._items.get(key)
        another = item is not None and item_id is not None and item.id not in (None, item_id)
        if item is not None and not (another and event.type == _ADDED):
            item.id = item.id or item_id
            return item, []
        left = self._leave() if item is not None and item is self._live else []
        kind = member(members, "type", str) or _ABOUT[event.type or ""]
        item = self._new(key, members, kind)
        item.id = item_id
        if item_id is not None:
            self._keys[item_id] = key
        return item, left

    def _new(self, key: Key, members: Mapping[str, Raw], kind: str) -> _Item:
        item = self._items[key] = _Item(self._made, kind, member(members, "phase", str))
        self._made += 1
        return item

    def _advance(self) -> list[Event]:
        """Return what waited, item by item, until one of them speaks on."""
        events: list[Event] = []
        while self._live is None and self._waiting:
            item = self._waiting.pop(next(iter(self._waiting)))
            held, item.held = item.held, []
            for event in held:
                events += self._grow(item, event)
        return events

    def _leave(self) -> list[Event]:
        """Return the end of the item that speaks."""
        assert self._live is not None
        self._live.at = None
        self._live = None
        return self._scribe.close_text()

    def _grow(self, item: _Item, event: _Event) -> list[Event]:
        kind = event.type or ""
        at = int(event.content_index or 0)
        wanted = _ABOUT[kind]
        item.kind = item.kind or wanted
        if wanted not in ("", item.kind):
            self.unknown += 1
            return []
        match kind:
            case "response.output_item.added":
                return self._call(item, self._members(event.item))
            case "response.output_item.done":
                return self._done(item, event.item)
            case "response.output_text.annotation.added":
                return self._note(item, at, event.annotation)
            case "response.content_part.added" | "response.reasoning_summary_part.added":
                item.parts += _new_part(item, event)
                return []
        piece = event.delta
        if not isinstance(piece, str):
            self.unknown += 1
            return []
        if item.kind in CALLS:
            return self._arguments(item, piece)
        if item.kind == REASONING:
            item.parts += _new_part(item, event)
            return self._think(item, piece)
        block: BlockKind = "text" if kind == _TEXT else "refusal"
        return self._say(item, block, at, piece, wrap_logprobs(event.logprobs))

    def _say(
        self, item: _Item, kind: BlockKind, at: int, text: str, logprobs: Raw | None = None
    ) -> list[Event]:
        if not text and logprobs is None:
            return []
        events = self._open(item, kind, at)
        item.said.add((at, kind))
        if kind == "refusal":
            self._refusal.append(text)
        return [*events, *self._scribe.text(kind, text, logprobs=logprobs)]

    def _open(self, item: _Item, kind: BlockKind, at: int) -> list[Event]:
        """Return the events that make a part of a message, or a reasoning item, the one that runs."""
        if item.at == (at, kind):
            return []
        item.at = (at, kind)
        self._live = item
        events = self._scribe.block(kind, fresh=True)
        number = self._scribe.running()
        assert number is not None
        item.blocks[at] = number
        if item.phase is None:
            return events
        return [
            replace(event, phase=item.phase) if isinstance(event, Open) else event
            for event in events
        ]

    def _think(self, item: _Item, text: str) -> list[Event]:
        """Return more of a reasoning item; a separator stands before each part but the first."""
        if text:
            missing = len(item.parts) - 1 - item.breaks
            item.breaks += missing
            text = SEPARATOR * missing + text
        return self._say(item, "thinking", 0, text)

    def _call(self, item: _Item, members: Mapping[str, Raw]) -> list[Event]:
        """Return the events that open a tool call, as soon as its name is known."""
        name = member(members, "name", str)
        if item.kind not in CALLS or item.opened or not name:
            return []
        item.opened = True
        events = self._scribe.tool(
            item.number, name, member(members, "call_id", str), kind=CALLS[item.kind][0],
            namespace=member(members, "namespace", str) or None,
        )  # fmt: skip
        before = "".join(item.arguments)
        return [*events, *(self._scribe.arguments(item.number, before) if before else ())]

    def _arguments(self, item: _Item, piece: str) -> list[Event]:
        if not piece:
            return []
        item.said.add(_INPUT)
        if item.opened:
            return self._scribe.arguments(item.number, piece)
        item.arguments.append(piece)
        return []

    def _note(self, item: _Item, at: int, raw: Raw) -> list[Event]:
        try:
            cited = decode(raw, dict[str, Raw])
        except ValueError:
            self.unknown += 1
            return []
        events = [] if at in item.blocks else self._open(item, "text", at)
        item.notes[at] = item.notes.get(at, 0) + 1
        return [*events, Note(
            item.blocks[at], member(cited, "url", str), member(cited, "title", str), None,
            member(cited, "start_index", int), member(cited, "end_index", int), RESPONSES, raw,
        )]  # fmt: skip

    def _done(self, item: _Item, raw: Raw) -> list[Event]:
        members = self._members(raw)
        kind = member(members, "type", str)
        if members and item.kind and not kind:  # it was said when the item was added
            members["type"] = Raw(encode(item.kind))
            raw = Raw(encode(members))
        item.kind = kind or item.kind
        events: list[Event] = []
        match item.kind if members else "":
            case "":
                self.unknown += bool(members)
            case "message":
                item.phase = member(members, "phase", str) or item.phase
                events = self._done_message(item, members)
            case "reasoning":
                events = self._done_reasoning(item, members)
            case "function_call" | "custom_tool_call":
                events = self._done_call(item, members)
            case _:
                events = self._whole(item, raw)
        return [*events, *(self._leave() if self._live is item else ())]

    def _done_message(self, item: _Item, members: Mapping[str, Raw]) -> list[Event]:
        events: list[Event] = []
        for at, part in enumerate(member(members, "content", list[dict[str, Raw]]) or ()):
            match member(part, "type", str):
                case "output_text":
                    if (at, "text") not in item.said:
                        logprobs = wrap_logprobs(part.get("logprobs", Raw()))
                        text = member(part, "text", str) or ""
                        events += self._say(item, "text", at, text, logprobs)
                    notes = member(part, "annotations", list[Raw]) or []
                    for note in notes[item.notes.get(at, 0) :]:
                        events += self._note(item, at, note)
                case "refusal":
                    if (at, "refusal") not in item.said:
                        text = member(part, "refusal", str) or ""
                        events += self._say(item, "refusal", at, text)
                case _:
                    self.unknown += 1
        return events

    def _done_reasoning(self, item: _Item, members: Mapping[str, Raw]) -> list[Event]:
        text, sealed = read_reasoning(members, self._origin)
        events: list[Event] = []
        if (0, "thinking") not in item.said:
            events += self._say(item, "thinking", 0, text)
        if sealed is not None:
            events += self._scribe.seal(sealed)
        return events

    def _done_call(self, item: _Item, members: Mapping[str, Raw]) -> list[Event]:
        events = self._call(item, members)
        if not item.opened:
            self.unknown += 1  # nobody could run it
            return []
        name = CALLS[item.kind][1]
        text = member(members, name, str) or ""
        if member(members, name, dict[str, Raw]) is not None:  # some servers send an object
            text = encode(members[name]).decode()
        if text and _INPUT not in item.said:
            events += self._scribe.arguments(item.number, text)
        return [*events, *self._scribe.close_tool(item.number)]

    def _whole(self, item: _Item, raw: Raw) -> list[Event]:
        self.unknown += item.kind not in HOSTED
        return self._scribe.item(Whole(RESPONSES, raw, item.kind))


_INPUT = (0, "tool")


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return decode(raw, dict[str, Raw])
    except ValueError:
        return {}


def _given(raw: Raw) -> bool:
    return bool(raw) and bytes(raw) != b"null"


def _new_part(item: _Item, event: _Event) -> list[tuple[str, int]]:
    """Return the part of a reasoning item that an event is about, if nothing was said of it yet."""
    if event.summary_index is not None or event.type in (_SUMMARY, _SUMMARY_PART):
        part = ("summary", int(event.summary_index or 0))
    else:
        part = ("content", int(event.content_index or 0))
    return [] if part in item.parts else [part]
