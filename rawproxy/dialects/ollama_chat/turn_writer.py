"""Turns written as the `messages` of Ollama's chat API.

Layer: dialects. The part of `ollama_chat` that writes what was said in a call.
Source: the `ollama` package 0.6.3 (`_types.Message`).

Written for a call of another dialect, system turns stay where they were; tool results come as
messages of their own, named after their tool, right behind the assistant's; pictures in them are
shown by a user message after those. A call of this very dialect goes back turn by turn, with every
field that it came with.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from msgspec import Raw

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
    SearchResult,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.losses import Why
from rawproxy.dialects.making import Item, json_object, said
from rawproxy.dialects.narrowing import BILLING, Naming, document_text, search_text
from rawproxy.dialects.ollama_chat.turn_reader import MADE_ID
from rawproxy.dialects.prompt import joined
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["Item", "TurnWriter", "json_object", "said"]


class _Said:
    """What a message says: its text and pictures as they come together."""

    def __init__(self) -> None:
        self.pieces: list[tuple[object, str]] = []
        self.images: list[str] = []

    def item(self, role: str) -> Item:
        """Return the message."""
        content = joined(self.pieces)
        return {"role": role, "content": content} | said(images=self.images or None)


class TurnWriter:
    """Writes the turns of one call.

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
        self._called: dict[str, str] = {}  # id of a tool call -> the tool's name there
        self.losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")
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

    def close(self) -> None:
        """Note what was not written of the fields that no part of a Call holds."""
        for parent, fields in self._extras.items():
            for name in fields:
                self.lose(f"{parent}.{name}" if parent else name)

    def lose_cache(self, part: Part | Tool) -> None:
        """Note that a cache breakpoint has no place."""
        if not isinstance(part, (Thinking, Refusal, Opaque)) and part.cache is not None:
            self.lose(f"{part.path}.{self._call.names.get('cache', 'cache_control')}")

    def prompt(self) -> Item:
        """Return what generate has for messages, of a call that came so."""
        fields: Item = {}
        for turn in self._call.turns:
            message = self._said(turn.parts).item("")
            name = "system" if turn.role == "system" else "prompt"
            fields |= {name: message["content"]} | said(images=message.get("images"))
        return fields

    def messages(self) -> list[Item]:
        """Return the messages.

        Raises:
            Untranslatable: the last turn is to be continued, which the model cannot.
        """
        turns = self._call.turns
        if self._own:
            return [self.whole(self._own_message(turn), turn.path) for turn in turns]
        if self._call.prefill and not self._target.takes.prefill:
            why = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(why, param=turns[-1].path)
        groups = ((role, list(group)) for role, group in groupby(turns, key=_role))
        return [message for role, group in groups for message in self._group(role, group)]

    def _own_message(self, turn: Turn) -> Item:
        for part in turn.parts:
            if isinstance(part, ToolResult):
                sent = None if MADE_ID.fullmatch(part.id) else part.id
                named = said(tool_name=part.name, tool_call_id=sent)
                return self._said(part.parts).item("tool") | named
        return self._message(turn.role, turn.parts)

    def _group(self, role: str, turns: list[Turn]) -> Iterator[Item]:
        """Yield the messages of adjacent turns of one role; those that say nothing are left out."""
        for turn in turns:
            if turn.name:
                self.lose(f"{turn.path}.name")
        if role == "assistant":
            yield self._message(role, [part for turn in turns for part in turn.parts])
            return
        results = [part for turn in turns for part in turn.parts if isinstance(part, ToolResult)]
        shown = _Said()
        for result in results:
            yield self._result(result, shown)
        if shown.images:
            yield shown.item("user")
        for turn in turns:
            parts = [part for part in turn.parts if not isinstance(part, ToolResult)]
            message = self._said(parts, apart=role == "system").item(role)
            if message["content"] or len(message) > 2:
                yield message

    def _message(self, role: str, parts: Sequence[Part]) -> Item:
        """Return the message of an assistant, or any other in this dialect."""
        thoughts = "".join(self._think(part) for part in parts if isinstance(part, Thinking))
        calls = [self._tool_call(part) for part in parts if isinstance(part, ToolCall)]
        rest = [part for part in parts if not isinstance(part, (Thinking, ToolCall))]
        extra = said(thinking=thoughts or None, tool_calls=calls or None)
        return self._said(rest).item(role) | extra

    def _think(self, part: Thinking) -> str:
        # A seal around nothing only says whose words these are.
        if part.seal is not None and part.seal.raw != "{}":
            self.lose(part.path, "owned elsewhere")
        return part.text

    def _tool_call(self, part: ToolCall) -> Item:
        freeform = part.kind == "freeform"
        name = self._naming.tool_name(part.name, part.namespace, part.kind, unlike=freeform)
        self._called[part.id] = name
        self.lose_cache(part)
        if part.seal is not None:
            self.lose(part.path, "owned elsewhere")
        arguments = json_object(wrap(part.arguments) if freeform else part.arguments, one_line=True)
        if arguments is None:
            self.lose(part.path, "narrower there")
            arguments = Raw(encode({"_raw": part.arguments}))
        function = self.whole({"name": name, "arguments": arguments}, f"{part.path}.function")
        sent = part.id if self._own and not MADE_ID.fullmatch(part.id) else None
        return self.whole(said(id=sent) | {"function": function}, part.path)

    def _result(self, part: ToolResult, shown: _Said) -> Item:
        """Return the tool message; what of the result only a user can show goes to `shown`."""
        self.lose_cache(part)
        name = self._called.get(part.id) or part.name
        found, images = _Said(), list[str]()
        for inner in part.parts:
            one = self._said([inner])
            found.pieces += one.pieces
            if one.images:
                self.lose(inner.path, "narrower there")
                found.pieces.append((object(), "[image: shown in the next message]"))
                images += one.images
        if images:
            shown.pieces.append((object(), f"From the result of {name or 'the tool'}:"))
            shown.images += images
        item = found.item("tool") | said(tool_name=name)
        if part.is_error:
            self.lose(f"{part.path}.is_error", "narrower there")
            item["content"] = f"Error: {item['content']}"
        return item

    def _said(self, parts: Sequence[Part], *, apart: bool = False) -> _Said:
        """Return the texts and pictures of `parts`; `apart`: with blank lines between the texts."""
        found = _Said()
        for part in parts:
            self.lose_cache(part)
            for mark, text in self._texts(part, found.images):
                found.pieces.append((object() if apart else mark, text))
        return found

    def _texts(self, part: Part, images: list[str]) -> Iterator[tuple[object, str]]:
        """Yield the texts of a part with what they belong to; pictures go to `images`."""
        match part:
            case Text():
                if part.citations:
                    self.lose(f"{part.path}.citations")
                if part.seal is not None:
                    self.lose(part.path, "owned elsewhere")
                if self._own or not part.text.startswith(BILLING):
                    yield part.phase, part.text
            case Refusal():
                yield None, part.text
            case Image():
                images += self._picture(part)
            case SearchResult():
                self._lose_citations(part)
                yield object(), search_text(part)
            case Document(source=Inline() as source):
                self._lose_citations(part)
                yield object(), document_text(part)
                for inner in source.parts:
                    yield from self._texts(inner, images)
            case Document(source=source) | Video(source=source):
                owned = isinstance(source, File)
                self.lose(part.path, "owned elsewhere" if owned else "no such thing there")
            case Audio():
                self.lose(f"{part.path}.input_audio")
            case _:
                self.lose(part.path)

    def _lose_citations(self, part: Document | SearchResult) -> None:
        if part.citations is not None:
            self.lose(f"{part.path}.citations")

    def _picture(self, part: Image) -> list[str]:
        match part.source:
            case Base64(data=data):
                return [data]
            case Url(url=url) if self._own:
                return [url]
            case File():
                self.lose(part.path, "owned elsewhere")
            case _:
                self.lose(part.path)
        return []


def _role(turn: Turn) -> str:
    return "system" if turn.role == "developer" else turn.role
