"""Turns written as the `system` and `messages` of the Messages API.

Layer: dialects. The part of `anthropic_messages` that writes what was said in a call.
Source: https://platform.claude.com/docs/en/api/messages/create

Written for a call of another dialect, a conversation is put into the order that the API demands:
leading system turns in `system`, user and assistant in turn with a user first, tool results first
in their message and one for each call, system turns between the others where the model takes them.
A call of this very dialect goes back block by block, with every field that it came with.
"""

import base64
import binascii
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import assert_never

import msgspec
from msgspec import Raw

from rawproxy.dialects.anthropic_messages.turn_reader import CACHE, ISSUER, PLAIN
from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Call,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import Seal, fits
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.losses import Why
from rawproxy.dialects.making import Item, json_object, said
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.reading import decode, encode
from rawproxy.errors import Untranslatable

__all__ = ["THINKING", "Item", "TurnWriter", "json_object", "said"]


Cacheable = Text | Image | Document | SearchResult | ToolCall | ToolResult | Tool

OPENING = "(continue)"
"""What the user says where the assistant begins a conversation: the API wants a user first."""

MOST_BREAKPOINTS = 4
"""Cache breakpoints in one call; with more the API refuses it."""

THINKING = ("thinking", "redacted_thinking")
"""The types of the blocks that hold seals, and the forms of those."""

_TTL = {"1h": "1h", "12h": "1h", "24h": "1h"}  # what is shorter is the default, five minutes
_PDF = "application/pdf"


class _Message(msgspec.Struct):
    """A message in the making, and the turns it is made of."""

    role: str
    turns: list[Turn]
    blocks: list[Item]


class TurnWriter:
    """Writes the turns of one call, and marks what is to be cached.

    Args:
        call: what is asked.
        target: whom.
        own: the call was read from this dialect.
        naming: names and ids, shared with the tools.
    """

    def __init__(self, call: Call, target: Target, *, own: bool, naming: Naming) -> None:
        self._call = call
        self._target = target
        self._own = own
        self._naming = naming
        self.losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")
        self._marks: list[tuple[Item, str]] = []
        self._extras: dict[str, Item] = {}  # path of an object -> its fields that no part holds
        for path, raw in call.extra.items():
            parent, _, name = path.rpartition(".")
            self._extras.setdefault(parent, {})[name] = Raw(raw)

    def lose(self, path: str, why: Why = "no such thing there") -> None:
        """Note that `path` is not said; the first reason given stays."""
        self.losses.setdefault(path, why)

    def whole(self, item: Item, path: str) -> Item:
        """Return `item` with the fields that the client had there and no part of a Call holds."""
        return item | self._extras.pop(path, {}) if self._own else item

    def marked(self, item: Item, part: Cacheable) -> Item:
        """Return `item`, complete, with the cache breakpoint of `part`."""
        item = self.whole(item, part.path)
        if part.cache is None:
            return item
        path = f"{part.path}.{self._call.names.get('cache', CACHE)}"
        mark = self.mark(part.cache, path)
        if mark is not None:
            item[CACHE] = mark
            self._marks.append((item, path))
        return item

    def mark(self, cache: Cache, path: str) -> Item | None:
        """Return the cache breakpoint that the client has at `path`; None where none is taken."""
        if self._own:
            return self.whole(_mark(cache.ttl), path)
        if not self._target.takes.breakpoints:
            self.lose(path)
            return None
        return _mark(_TTL.get(cache.ttl or ""))

    def close(self, *, automatic: bool) -> None:
        """Take away what is too much, and note what was not written.

        The last breakpoints stay: they cover the most. `automatic`: the API sets one of its own.
        """
        for item, path in () if self._own else self._marks[: automatic - MOST_BREAKPOINTS]:
            del item[CACHE]
            self.lose(path, "narrower there")
        for parent, fields in self._extras.items():
            for name in fields:
                self.lose(f"{parent}.{name}" if parent else name)

    def system(self) -> str | list[Item]:
        """Return the `system` field; empty when there is nothing to say."""
        if self._own:
            turns = [turn for turn in self._call.turns if turn.path == "system"]
            return self._content(turns[0].parts, "system") if turns else []
        return [block for turn in self._call.leading_system() for block in self._texts(turn)]

    def messages(self) -> list[Item]:
        """Return the `messages` field.

        Raises:
            Untranslatable: the last turn is to be continued, which the model cannot.
        """
        turns = self._call.turns
        if self._own:
            return [self._own_message(turn) for turn in turns if turn.path != "system"]
        if self._call.prefill and not self._target.takes.prefill:
            why = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(why, param=turns[-1].path)
        written = self._placed(_joined(self._drafts()))
        if not written or written[0].role != "user":
            written.insert(0, _Message("user", [], [_text(OPENING)]))
        if written[-1].role == "assistant":
            _trim(written[-1].blocks)
        return [{"role": message.role, "content": message.blocks} for message in written]

    def _own_message(self, turn: Turn) -> Item:
        content = self._content(turn.parts, f"{turn.path}.content")
        return self.whole({"role": turn.role, "content": content}, turn.path)

    def _content(self, parts: Sequence[Part], path: str) -> str | list[Item]:
        """Return a field at `path` in the shape that the client gave it: a string, or blocks."""
        if len(parts) == 1 and isinstance(parts[0], Text) and parts[0].path == path:
            return parts[0].text
        return [block for part in parts for block in self._part(part)]

    def _drafts(self) -> Iterable[_Message]:
        rest = self._call.turns[len(self._call.leading_system()) :]
        for role, group in groupby(rest, key=_role):
            turns = list(group)
            if role == "system":
                blocks = [block for turn in turns for block in self._texts(turn)]
            else:
                blocks = self._blocks(turns)
            yield _Message(role, turns, blocks)

    def _blocks(self, turns: list[Turn]) -> list[Item]:
        """Return the blocks of one message: tool results first, one for each call."""
        results: list[Item] = []
        others: list[Item] = []
        answered: set[str] = set()
        for turn in turns:
            self._lose_name(turn)
            for part in turn.parts:
                if not isinstance(part, ToolResult):
                    others += self._part(part)
                elif part.id in answered:
                    self.lose(part.path, "narrower there")
                else:
                    answered.add(part.id)
                    results.append(self._result(part))
        return results + others

    def _texts(self, turn: Turn) -> list[Item]:
        self._lose_name(turn)
        blocks = []
        for part in turn.parts:
            if isinstance(part, Text):
                blocks += self._part(part)
            else:
                self.lose(part.path)
        return blocks

    def _lose_name(self, turn: Turn) -> None:
        if turn.name:
            self.lose(f"{turn.path}.name")

    def _placed(self, drafts: list[_Message]) -> list[_Message]:
        """Return the messages with system turns where they may be."""
        written: list[_Message] = []
        for at, draft in enumerate(drafts):
            before = written[-1].role if written else ""
            after = drafts[at + 1].role if at + 1 < len(drafts) else "assistant"
            if draft.role == "system":
                fitting = self._target.takes.middle_system and before == "user"
                if fitting and after == "assistant":
                    written.append(draft)
                    continue
                draft = self._reminder(draft)
            if before == draft.role:
                written[-1].blocks += draft.blocks
            else:
                written.append(draft)
        for message in written:
            message.blocks.sort(key=lambda block: block["type"] != "tool_result")
        return written

    def _reminder(self, draft: _Message) -> _Message:
        for turn in draft.turns:
            self.lose(turn.path, "narrower there")
        for block in draft.blocks:
            block["text"] = f"<system-reminder>\n{block['text']}\n</system-reminder>"
        return _Message("user", draft.turns, draft.blocks)

    def _part(self, part: Part) -> list[Item]:
        match part:
            case Text():
                return self._say(part)
            case Image():
                return self._image(part)
            case Document():
                return self._document(part)
            case SearchResult():
                return [self._found(part)]
            case Thinking():
                return self._think(part)
            case ToolCall():
                return [self._call_tool(part)]
            case ToolResult():
                return [self._result(part)]
            case Refusal():
                self.lose(part.path, "narrower there")
                return [_text(part.text)] if part.text.strip() else []
            case Opaque() if self._own:
                return [dict(decode(part.raw, dict[str, Raw]))]
            case Audio():
                self.lose(f"{part.path}.input_audio")
            case Video() | Opaque():
                self.lose(part.path)
            case _:
                assert_never(part)
        return []

    def _say(self, part: Text) -> list[Item]:
        if part.seal is not None:
            self.lose(part.path, "owned elsewhere")
        if not (self._own or part.text.strip()):
            return []  # the API refuses a block of nothing but white space
        item = _text(part.text)
        if part.citations and self._own:
            item["citations"] = part.citations
        elif part.citations:
            self.lose(f"{part.path}.citations")
        return [self.marked(item, part)]

    def _image(self, part: Image) -> list[Item]:
        source = self._source(part.source, part.mime or "image/png", part.path)
        if source is None:
            return []
        source = self.whole(source, f"{part.path}.source")
        return [self.marked({"type": "image", "source": source}, part)]

    def _document(self, part: Document) -> list[Item]:
        mime = part.mime or _PDF
        source: Item | None
        if isinstance(part.source, Inline):
            source = self._inline(part.source, part.mime)
        elif isinstance(part.source, Base64) and mime != _PDF and not self._own:
            source = _plain_text(part.source.data) if mime.startswith("text/") else None
            if source is None:
                self.lose(part.path)
        else:
            source = self._source(part.source, mime, part.path)
        if source is None:
            return []
        item: Item = {"type": "document", "source": self.whole(source, f"{part.path}.source")}
        title = part.title or part.filename
        item |= said(title=title, context=part.context, citations=self._enabled(part))
        return [self.marked(item, part)]

    def _inline(self, source: Inline, mime: str | None) -> Item:
        if source.text is not None and (mime or not self._own):
            return {"type": "text", "media_type": PLAIN, "data": source.text}
        if source.text is not None:
            return {"type": "content", "content": source.text}
        blocks = [block for part in source.parts for block in self._part(part)]
        return {"type": "content", "content": blocks}

    def _source(self, source: Source, mime: str, path: str) -> Item | None:
        match source:
            case Base64(data=data):
                return {"type": "base64", "media_type": mime, "data": data}
            case Url(url=url):
                return {"type": "url", "url": url}
            case File(id=file_id, owner=owner) if owner == ISSUER:
                return {"type": "file", "file_id": file_id}
        self.lose(path, "owned elsewhere")
        return None

    def _enabled(self, part: Document | SearchResult) -> Item | None:
        if part.citations is None:
            return None
        return self.whole({"enabled": part.citations}, f"{part.path}.citations")

    def _found(self, part: SearchResult) -> Item:
        texts = [
            self.whole(_text(text), f"{part.path}.content[{at}]")
            for at, text in enumerate(part.texts)
        ]
        item: Item = {"type": "search_result", "source": part.source, "title": part.title}
        return self.marked(item | {"content": texts} | said(citations=self._enabled(part)), part)

    def _think(self, part: Thinking) -> list[Item]:
        sealed = part.seal
        if sealed is None and self._own and part.path not in self._call.unopened:
            unsigned: Item = {"type": "thinking", "thinking": part.text, "signature": ""}
            return [self.whole(unsigned, part.path)]
        if (
            sealed is not None
            and sealed.form in THINKING
            and fits(sealed.origin, self._target.origin)
            and sealed.covers(part.text)
        ):
            return [self.whole(_rebuilt(sealed, part.text), part.path)]
        self.lose(part.path, "owned elsewhere")
        return []

    def _call_tool(self, part: ToolCall) -> Item:
        freeform = part.kind == "freeform"
        if part.seal is not None:
            self.lose(part.path, "owned elsewhere")
        arguments = json_object(wrap(part.arguments) if freeform else part.arguments)
        if arguments is None:
            self.lose(part.path, "narrower there")
            arguments = Raw(encode({"_raw": part.arguments}))
        name = self._naming.tool_name(part.name, part.namespace, part.kind, unlike=freeform)
        wire_id = self._naming.tool_id(part.id)
        item: Item = {"type": "tool_use", "id": wire_id, "name": name, "input": arguments}
        return self.marked(item, part)

    def _result(self, part: ToolResult) -> Item:
        item: Item = {"type": "tool_result", "tool_use_id": self._naming.tool_id(part.id)}
        content = self._content(part.parts, f"{part.path}.content")
        blank = not content or (isinstance(content, str) and content.isspace())
        if part.parts if self._own else not blank:
            item["content"] = content
        return self.marked(item | said(is_error=part.is_error), part)


def _text(text: str) -> Item:
    return {"type": "text", "text": text}


def _mark(ttl: str | None) -> Item:
    return {"type": "ephemeral"} | said(ttl=ttl)


def _role(turn: Turn) -> str:
    return "system" if turn.role == "developer" else turn.role


def _joined(drafts: Iterable[_Message]) -> list[_Message]:
    """Return the messages that say something, adjacent ones of a role as one."""
    written: list[_Message] = []
    for draft in drafts:
        if draft.blocks and written and written[-1].role == draft.role:
            written[-1].blocks += draft.blocks
            written[-1].turns += draft.turns
        elif draft.blocks:
            written.append(draft)
    return written


def _trim(blocks: list[Item]) -> None:
    """Take the white space off the end of a turn that is to be continued: the API refuses it."""
    last = blocks[-1]
    if last["type"] == "text":
        last["text"] = str(last["text"]).rstrip()


def _rebuilt(sealed: Seal, text: str) -> Item:
    """Return the block that was sealed: the signed or encrypted member byte for byte."""
    members = decode(sealed.raw.encode(), dict[str, Raw])
    if sealed.form == "thinking":
        return {"type": "thinking", "thinking": text, "signature": members.get("signature", "")}
    return {"type": "redacted_thinking", "data": members.get("data", "")}


def _plain_text(data: str) -> Item | None:
    """Return base64 text as a source of plain text; None when it is no UTF-8."""
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return {"type": "text", "media_type": PLAIN, "data": text}
