"""Turns written as the `instructions` and the `input` items of the Responses API.

Layer: dialects. The part of `openai_responses` that writes what was said in a call.
Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

The items of this API are free in their order, so a conversation of another dialect keeps its own:
a system turn stays where it stood. A leading one that had a field of its own becomes
`instructions`, which is such a field. A call of this very dialect goes back item by item.
"""

from collections.abc import Sequence

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Call,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    Role,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.digest import sha256
from rawproxy.dialects.envelope import fits
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.media import data_url
from rawproxy.dialects.narrowing import BILLING, Naming, document_text, search_text
from rawproxy.dialects.openai_responses.item_reader import (
    CACHE,
    CALLS,
    INPUT_TEXT,
    MORE_TOOLS,
    OUTPUT_TEXT,
    text_type,
)
from rawproxy.dialects.openai_responses.ledger import Item, Ledger, said
from rawproxy.dialects.openai_responses.reasoning import (
    REASONING,
    plain_summary,
    write_reasoning,
)
from rawproxy.dialects.openai_responses.tool_writer import ToolWriter
from rawproxy.dialects.reading import decode, encode

__all__ = ["ItemWriter"]

Cacheable = Text | Image | Document | Audio | SearchResult | ToolCall | ToolResult

PDF = "application/pdf"

_CALL_TYPES = {kind: (name, field) for name, (kind, field) in CALLS.items()}
_BREAKPOINT_TTL = {"5m": "30m", "1h": "12h"}
_SPOKEN = (Text, Refusal, SearchResult, Document)


class ItemWriter:
    """Writes the turns of one call.

    Args:
        call: what is asked.
        target: whom.
        ledger: notes what is lost.
        naming: names and ids, shared with the tools.
        tools: writes the tools that stand among the items.
    """

    def __init__(
        self, call: Call, target: Target, ledger: Ledger, *, naming: Naming, tools: ToolWriter
    ) -> None:
        self._call = call
        self._target = target
        self._ledger = ledger
        self._own = ledger.own
        self._naming = naming
        self._tools = tools
        self._kinds = {part.id: part.kind for part in call.parts() if isinstance(part, ToolCall)}

    def fields(self) -> Item:
        """Return `instructions` and `input`."""
        turns = self._call.turns
        instructions: str | None = None
        if turns and self._has_own_field(turns[0]):
            instructions, turns = self._prompt(turns[0]), turns[1:]
        fields = said(instructions=instructions)
        if self._own and [turn.path for turn in turns] == ["input"]:
            return fields | {
                "input": "".join(p.text for p in turns[0].parts if isinstance(p, Text))
            }
        items = [item for turn in turns for item in self._turn(turn)]
        return fields | {"input": items} if items or not self._own else fields

    def _has_own_field(self, turn: Turn) -> bool:
        if self._own:
            return turn.path == "instructions"
        plain = all(isinstance(part, Text) and not self._marks(part) for part in turn.parts)
        return turn.role == "system" and "[" not in turn.path and plain

    def _prompt(self, turn: Turn) -> str | None:
        """Return what a turn of nothing but text says; None when that is nothing."""
        texts = [part for part in turn.parts if isinstance(part, Text)]
        if self._own:
            return "\n\n".join(part.text for part in texts)
        texts = [part for part in texts if not part.text.startswith(BILLING)]
        for part in texts:
            self._lose_mark(part)
        return "\n\n".join(part.text for part in texts) or None

    def _marks(self, part: Cacheable) -> bool:
        return part.cache is not None and (self._own or self._target.takes.breakpoints)

    def _turn(self, turn: Turn) -> list[Item]:
        if turn.name:
            self._ledger.lose(f"{turn.path}.name")
        if self._own and not turn.parts:
            return [self._empty(turn)]
        items: list[Item] = []
        spoken: list[Part] = []
        for part in turn.parts:
            if spoken and (_is_item(part) or _changes_phase(spoken[-1], part)):
                items += self._message(turn, spoken)
                spoken = []
            match part:
                case ToolCall():
                    items.append(self._tool_call(part))
                case ToolResult():
                    items.append(self._result(part))
                case Thinking():
                    items += self._think(part)
                case Opaque() if _is_item(part):
                    items += self._opaque(part)
                case _:
                    spoken.append(part)
        return items + self._message(turn, spoken)

    def _empty(self, turn: Turn) -> Item:
        """Return an item without parts: a message that says nothing, or a declaration of tools."""
        item = self._ledger.whole({"role": turn.role}, turn.path)
        if item.get("type") == Raw(f'"{MORE_TOOLS}"'.encode()):
            return item | {"tools": self._tools.own(turn.path)}
        return item | {"content": []}

    def _message(self, turn: Turn, parts: Sequence[Part]) -> list[Item]:
        role = turn.role
        if not self._own and role in ("system", "developer"):
            role = "developer" if self._target.takes.developer else "system"
            parts = [p for p in parts if not (isinstance(p, Text) and p.text.startswith(BILLING))]
        content = [item for part in parts for item in self._part(part, role)]
        if not content:
            return []
        phase = next((p.phase for p in parts if isinstance(p, Text) and p.phase), None)
        item: Item = {"role": role, "content": content} | said(phase=phase)
        if not self._own:
            return [{"type": "message"} | (_output(item) if role == "assistant" else item)]
        text = parts[0]
        if isinstance(text, Text) and text.path == f"{turn.path}.content":
            item["content"] = text.text
        return [self._ledger.whole(item, turn.path)]

    def _opaque(self, part: Opaque) -> list[Item]:
        if self._own:
            return [_members(part.raw)]
        self._ledger.lose(part.path)
        return []

    def _tool_call(self, part: ToolCall) -> Item:
        ledger = self._ledger
        freeform = part.kind == "freeform"
        custom = freeform and (self._own or self._target.takes.freeform)
        name = self._naming.tool_name(
            part.name, part.namespace, part.kind, unlike=freeform and not custom
        )
        if part.seal is not None:
            ledger.lose(part.path, "owned elsewhere")
        self._lose_mark(part)
        kind, field = _CALL_TYPES["freeform" if custom else "function"]
        given = wrap(part.arguments) if freeform and not custom else part.arguments
        item: Item = {
            "type": kind, "call_id": self._naming.tool_id(part.id), "name": name,
            field: given if custom or self._own else given or "{}",
        }  # fmt: skip
        space = part.namespace if self._own else None
        return ledger.whole(item | said(namespace=space), part.path)

    def _result(self, part: ToolResult) -> Item:
        custom = self._kinds.get(part.id) == "freeform"
        custom = custom and (self._own or self._target.takes.freeform)
        kind = _CALL_TYPES["freeform" if custom else "function"][0]
        item: Item = {
            "type": f"{kind}_output", "call_id": self._naming.tool_id(part.id),
            "output": self._output(part),
        }  # fmt: skip
        name = part.name if self._own else None
        return self._ledger.whole(item | said(name=name), part.path)

    def _output(self, part: ToolResult) -> object:
        parts = part.parts
        if self._own:
            text = parts[0] if parts else Text("", f"{part.path}.output")
            if isinstance(text, Text) and text.path == f"{part.path}.output":
                return text.text
            return [item for inner in parts for item in self._part(inner, "user")]
        last = parts[-1] if parts else None
        if isinstance(last, (Text, Image, Document, SearchResult)) and self._marks(part):
            parts = (*parts[:-1], replace(last, cache=last.cache or part.cache))
        else:
            self._lose_mark(part)
        items = [item for inner in parts for item in self._part(inner, "user")]
        if part.is_error:
            self._ledger.lose(f"{part.path}.is_error", "narrower there")
            first = items.pop(0) if items and items[0]["type"] == INPUT_TEXT else _text("")
            items.insert(0, first | {"text": f"Error: {first['text']}"})
        if not items:
            return ""
        alone = len(items) == 1 and items[0].keys() == {"type", "text"}
        return items[0]["text"] if alone else items

    def _think(self, part: Thinking) -> list[Item]:
        sealed = part.seal
        if sealed is None:
            return [] if part.path in self._call.unopened else self._unsealed(part)
        fitting = sealed.form == REASONING and fits(sealed.origin, self._target.origin)
        if fitting and sealed.covers(part.text):
            return [dict(write_reasoning(sealed, part.text))]
        self._ledger.lose(part.path, "owned elsewhere")
        return []

    def _unsealed(self, part: Thinking) -> list[Item]:
        item: Item = {"type": REASONING, "summary": plain_summary(part.text)}
        if self._own:
            return [self._ledger.whole(item, part.path)]
        if part.text and self._target.takes.reasoning_text:
            content = [{"type": "reasoning_text", "text": part.text}]
            return [item | {"id": _made_id("rs", content), "summary": [], "content": content}]
        if part.text:
            self._ledger.lose(part.path)
        return []

    def _part(self, part: Part, role: Role) -> list[Item]:
        if role == "assistant" and not (self._own or isinstance(part, _SPOKEN)):
            self._ledger.lose(part.path)
            return []
        match part:
            case Text():
                return [self._say(part, role)] if part.text or self._own else []
            case Refusal():
                return [self._ledger.whole({"type": "refusal", "refusal": part.text}, part.path)]
            case Image():
                return self._image(part)
            case Document():
                return self._document(part, role)
            case SearchResult():
                if part.citations is not None:
                    self._ledger.lose(f"{part.path}.citations")
                return [self._marked(_text(search_text(part), role), part)]
            case Audio() if self._own:
                sound = {"data": part.data, "format": part.format}
                sound_item = self._ledger.whole(dict(sound), f"{part.path}.input_audio")
                return [self._marked({"type": "input_audio", "input_audio": sound_item}, part)]
            case Audio():
                self._ledger.lose(f"{part.path}.input_audio")
                return []
            case Opaque() if self._own:
                return [_members(part.raw)]
        self._ledger.lose(part.path)
        return []

    def _say(self, part: Text, role: Role) -> Item:
        if part.seal is not None:
            self._ledger.lose(part.path, "owned elsewhere")
        item = _text(part.text, role)
        if part.citations and self._own:
            item["annotations"] = part.citations
        elif part.citations:
            self._ledger.lose(f"{part.path}.citations")
        return self._marked(item, part)

    def _image(self, part: Image) -> list[Item]:
        detail = part.detail if self._own else part.detail or "auto"  # typed as required
        item: Item = {"type": "input_image"} | said(detail=detail)
        match part.source:
            case Base64(data=data):
                item["image_url"] = data_url(part.mime or "image/png", data)
            case Url(url=url):
                item["image_url"] = url
            case File(id=file_id, owner=owner) if self._fits(owner):
                item["file_id"] = file_id
            case _:
                self._ledger.lose(part.path, "owned elsewhere")
                return []
        return [self._marked(item, part)]

    def _document(self, part: Document, role: Role) -> list[Item]:
        if part.citations is not None:
            self._ledger.lose(f"{part.path}.citations")
        if isinstance(part.source, Inline):
            text = document_text(part)
            pieces = [_text(text, role)] if text else []
            pieces += [item for inner in part.source.parts for item in self._part(inner, role)]
            return [*pieces[:-1], self._marked(pieces[-1], part)] if pieces else []
        item = self._file(part)
        if item is None or role == "assistant":
            owned = isinstance(part.source, File)
            self._ledger.lose(part.path, "owned elsewhere" if owned else "no such thing there")
            return []
        if part.context:
            self._ledger.lose(f"{part.path}.context")
        return [self._marked({"type": "input_file"} | item, part)]

    def _file(self, part: Document) -> Item | None:
        name = part.filename or part.title
        match part.source:
            case File(id=file_id, owner=owner) if self._fits(owner):
                return said(file_id=file_id, filename=name if self._own else None)
            case Url(url=url):
                return said(file_url=url, filename=name if self._own else None)
            case Base64(data=data) if self._own:
                whole = data if part.mime is None else data_url(part.mime, data)
                return said(filename=name, file_data=whole)
            case Base64(data=data):
                mime = part.mime or PDF
                # The API wants a name beside the data.
                return {
                    "filename": name or ("document.pdf" if mime == PDF else "document.txt"),
                    "file_data": data_url(mime, data),
                }
        return None

    def _fits(self, owner: str) -> bool:
        return self._own or owner == self._target.origin.issuer

    def _marked(self, item: Item, part: Cacheable) -> Item:
        """Return `item`, complete, with the cache breakpoint of `part`."""
        if part.cache is not None and not self._marks(part):
            self._lose_mark(part)
        elif part.cache is not None:
            ttl = part.cache.ttl
            known = ttl if self._own else _BREAKPOINT_TTL.get(ttl or "", ttl)
            mark: Item = {"mode": "explicit"} | said(ttl=known)
            item = item | {CACHE: self._ledger.whole(mark, f"{part.path}.{CACHE}")}
        return self._ledger.whole(item, part.path)

    def _lose_mark(self, part: Cacheable) -> None:
        if part.cache is not None:
            self._ledger.lose(f"{part.path}.{self._call.names.get('cache', CACHE)}")


def _is_item(part: Part) -> bool:
    """Whether `part` is an item of its own, not a part of a message."""
    if isinstance(part, Opaque):
        return not part.path.endswith("]")
    return isinstance(part, (ToolCall, ToolResult, Thinking))


def _changes_phase(before: Part, after: Part) -> bool:
    return isinstance(before, Text) and isinstance(after, Text) and before.phase != after.phase


def _output(message: Item) -> Item:
    """Return a message of the assistant in one of the two shapes that every server takes.

    What is nothing but text is a string; a part of another type has to be in a complete output item.
    """
    content = message["content"]
    assert isinstance(content, list)
    if all(part["type"] == OUTPUT_TEXT for part in content):
        return message | {"content": "".join(part["text"] for part in content)}
    parts = [{"annotations": []} | part if "text" in part else part for part in content]
    made: Item = {"id": _made_id("msg", parts), "status": "completed", "content": parts}
    return message | made


def _made_id(prefix: str, content: object) -> str:
    """Return an id for an item that never had one: the same one in every call."""
    return f"{prefix}_{sha256(encode(content))[:24]}"


def _members(raw: Raw) -> Item:
    return dict(decode(raw, dict[str, Raw]))


def _text(text: str, role: Role = "user") -> Item:
    return {"type": text_type(role), "text": text}
