"""The `messages` of Chat Completions: turns read from them, and written as them.

Layer: dialects. The part of `openai_chat` that deals with what was said; options and tools are
read and written there.
Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages

Written for a call of another dialect, three things have no place and are moved: tool results come
as messages of their own, right behind the assistant's; what they hold besides text is shown by a
user message after them; the leading system turns become one message. A call of this very dialect
goes back turn by turn, untouched.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from msgspec import Raw
from msgspec.structs import replace

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
    Role,
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
from rawproxy.dialects.envelope import PREFIX, UNKNOWN, Seal, Vault, fits
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.losses import Why
from rawproxy.dialects.making import Item
from rawproxy.dialects.media import data_url, read_url
from rawproxy.dialects.narrowing import BILLING, Naming, document_text, search_text
from rawproxy.dialects.openai_chat.reasoning_details import BLOCKS, DETAILS, Entry, join, rebuild
from rawproxy.dialects.reading import Fields, decode, encode
from rawproxy.errors import ClientError

__all__ = [
    "PLAIN",
    "Item",
    "MessageReader",
    "MessageWriter",
    "inner_object",
    "joined",
    "whole_object",
]


PLAIN = "reasoning_content"
"""The form of the seals of reasoning that came as nothing but text."""

Cacheable = Text | Image | Document | Audio | Video | SearchResult | ToolCall | ToolResult | Tool

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant",
    "tool": "user", "function": "user",
}  # fmt: skip
_TEXT_ALONE = {"type", "text"}
_REASONING_TEXTS = ("reasoning_content", "reasoning")
_BREAKPOINT_TTL = {"5m": "30m", "1h": "12h"}


def joined(texts: Iterable[tuple[str | None, str]]) -> str:
    """Return texts, given with their phases, as one: a change of phase gives a blank line."""
    said = ""
    before: str | None = None
    for phase, text in texts:
        said += f"\n\n{text}" if said and text and phase != before else text
        before = phase
    return said


def inner_object(fields: Fields, name: str) -> Fields:
    """Return the object in the field `name`. ClientError when it is not there."""
    found = fields.object(name)
    if found is None:
        raise ClientError(f"{fields.at(name)}: field required", param=fields.at(name))
    return found


def whole_object(kind: str, fields: Fields) -> Raw:
    """Return the rest of an object that only this dialect has, its `type` first."""
    prefix = len(fields.path) + 1
    members = {path[prefix:]: Raw(value) for path, value in fields.rest().items()}
    return Raw(encode({"type": kind, **members}))


class MessageReader:
    """Reads messages; keeps what no part of a Call has a place for in `extra`.

    Args:
        dialect: the dialect's name, for parts that only it has.
        names: what the client called its fields; the spelling of cache breakpoints is added.
        vault: opens the caller's envelopes; the paths of those it cannot are in `unopened`.
    """

    def __init__(self, dialect: str, names: dict[str, str], vault: Vault) -> None:
        self.names = names
        self.extra: dict[str, bytes] = {}
        self.unopened: list[str] = []
        self._dialect = dialect
        self._vault = vault
        self._called = "call_"  # a `function_call` has no id, and its result names none

    def keep(self, fields: Fields) -> None:
        """Keep every field that nobody took."""
        self.extra |= fields.rest()

    def turn(self, message: Fields) -> Turn:
        """Read a message. ClientError names what is wrong with it."""
        word = message.needed("role")
        role = _ROLES.get(word)
        if role is None:
            raise ClientError(f"{message.at('role')}: unknown role", param=message.at("role"))
        name = message.text("name")
        parts: tuple[Part, ...]
        if word in ("tool", "function"):
            tool_id = message.needed("tool_call_id") if word == "tool" else self._called
            content = self._content(message)
            mark = self.cache(message)
            parts = (ToolResult(tool_id, content, message.path, name, cache=mark),)
            name = None
        else:
            parts = self._assistant(message) if word == "assistant" else self._content(message)
        self.keep(message)
        return Turn(role, parts, message.path, name)

    def _content(self, message: Fields) -> tuple[Part, ...]:
        if message.is_text("content"):
            text = message.needed("content")
            return (Text(text, message.at("content")),) if text else ()
        return tuple(self._part(part) for part in message.objects("content"))

    def cache(self, fields: Fields) -> Cache | None:
        """Take a cache breakpoint, in either spelling, and remember which it was."""
        for name in ("prompt_cache_breakpoint", "cache_control"):
            if mark := fields.object(name):
                self.names["cache"] = name
                mark.raw("mode"), mark.raw("type")
                cache = Cache(mark.text("ttl"))
                self.keep(mark)
                return cache
        return None

    def _part(self, part: Fields) -> Part:
        kind = part.needed("type")
        if kind not in ("text", "refusal", "image_url", "video_url", "input_audio", "file"):
            return Opaque(self._dialect, whole_object(kind, part), kind, part.path)
        cache = self.cache(part)
        found: Part
        if kind == "text":
            found = Text(part.needed("text"), part.path, cache)
        elif kind == "refusal":
            found = Refusal(part.needed("refusal"), part.path)
        elif kind == "input_audio":
            sound = inner_object(part, kind)
            found = Audio(sound.needed("data"), sound.needed("format"), part.path, cache)
            self.keep(sound)
        elif kind == "file":
            found = self._file(inner_object(part, kind), part.path, cache)
        else:
            found = self._picture(kind, part, cache)
        self.keep(part)
        return found

    def _file(self, file: Fields, path: str, cache: Cache | None) -> Part:
        name, file_id = file.text("filename"), file.text("file_id")
        source: Source
        mime: str | None = None
        if file_id is not None:
            source = File(file_id, "openai")
        else:
            source, mime = read_url(file.needed("file_data"))
            if isinstance(source, Url) and "://" not in source.url[:16]:
                source, mime = Base64(source.url), "application/pdf"  # the base64 without a header
        self.keep(file)
        return Document(source, path, mime, name, cache=cache)

    def _picture(self, kind: str, part: Fields, cache: Cache | None) -> Part:
        detail = None
        if part.is_text(kind):  # "image_url": "https://...", as some clients have it
            url = part.needed(kind)
        else:
            picture = inner_object(part, kind)
            url, detail = picture.needed("url"), picture.text("detail")
            self.keep(picture)
        source, mime = read_url(url)
        if kind == "video_url":
            return Video(source, part.path, mime, cache)
        return Image(source, part.path, mime, detail, cache)

    def _assistant(self, message: Fields) -> tuple[Part, ...]:
        parts: list[Part] = [*self._thoughts(message), *self._content(message)]
        if refusal := message.text("refusal"):
            parts.append(Refusal(refusal, message.at("refusal")))
        for call in message.objects("tool_calls"):
            custom = call.text("type") == "custom"
            call.raw("index")  # of the stream that the client put together
            inner = inner_object(call, "custom" if custom else "function")
            parts.append(ToolCall(
                call.needed("id"), inner.needed("name"),
                inner.text("input" if custom else "arguments") or "", call.path,
                "freeform" if custom else "function", cache=self.cache(call),
            ))  # fmt: skip
            self.keep(inner)
            self.keep(call)
        if legacy := message.object("function_call"):
            self._called = f"call_{''.join(filter(str.isdigit, message.path))}"
            name, arguments = legacy.needed("name"), legacy.text("arguments") or ""
            parts.append(ToolCall(self._called, name, arguments, legacy.path))
            self.keep(legacy)
        return tuple(parts)

    def _thoughts(self, message: Fields) -> list[Thinking]:
        details = message.take("reasoning_details", list[dict[str, Raw]], "a list of objects")
        blocks = message.take("thinking_blocks", list[dict[str, Raw]], "a list of objects")
        where = message.at("reasoning_details" if details else "thinking_blocks")
        entries = [(f"{where}[{at}]", item) for at, item in enumerate(details or blocks or ())]
        thoughts = [self._thought(entry) for entry in join(entries)]
        said = [(n, message.needed(n)) for n in _REASONING_TEXTS if message.is_text(n)]
        plain = next((Thinking(text, message.at(name)) for name, text in said if text), None)
        if plain and not any(thought.text for thought in thoughts):
            thoughts.insert(0, plain)
        return thoughts

    def _thought(self, thought: Entry) -> Thinking:
        if not thought.carrier.startswith(PREFIX):
            return Thinking(thought.text, thought.path, thought.seal(UNKNOWN))
        opened = self._vault.open(thought.carrier)
        if opened is None:
            self.unopened.append(thought.path)
        return Thinking(thought.text, thought.path, opened)


class MessageWriter:
    """Writes the messages of one call, and marks what is to be cached.

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
        self._freeform = own or target.takes.freeform
        self.losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")

    def lose(self, path: str, why: Why = "no such thing there") -> None:
        """Note that `path` is not said; the first reason given stays."""
        self.losses.setdefault(path, why)

    def messages(self) -> list[Item]:
        """Return the messages."""
        turns, lead = self._call.turns, len(self._call.leading_system())
        if self._own:
            groups = [[turn] for turn in turns]
        else:  # adjacent turns of a role mean one turn
            rest = (list(group) for _, group in groupby(turns[lead:], key=lambda turn: turn.role))
            groups = [list(turns[:lead]), *rest]
        return [message for group in groups if group for message in self._group(group)]

    def marked(self, item: Item, part: Cacheable, *, here: bool = True) -> Item:
        """Return `item` with the cache breakpoint of `part`; `here`: there is room for one."""
        if part.cache is None:
            return item
        name = self._call.names.get("cache", "cache_control")
        ttl = part.cache.ttl
        if self._own:
            kind = {"type": "ephemeral"} if name == "cache_control" else {"mode": "explicit"}
            return item | {name: kind | ({"ttl": ttl} if ttl else {})}
        if here and self._target.takes.breakpoints:
            lasts = {"ttl": _BREAKPOINT_TTL.get(ttl, ttl)} if ttl else {}
            return item | {"prompt_cache_breakpoint": {"mode": "explicit"} | lasts}
        self.lose(f"{part.path}.{name}")
        return item

    def _group(self, turns: list[Turn]) -> list[Item]:
        role = turns[0].role
        parts = [part for turn in turns for part in turn.parts]
        match role:
            case "user":
                messages = self._user(parts)
            case "assistant":
                messages = [self._assistant(parts)]
            case _:
                messages = self._system(parts, role)
        for turn in turns:
            if turn.name and self._own:
                messages = [message | {"name": turn.name} for message in messages]
            elif turn.name:
                self.lose(f"{turn.path}.name")
        return messages

    def _system(self, parts: list[Part], role: Role) -> list[Item]:
        if not self._own:
            role = "developer" if self._target.takes.developer else "system"
            parts = [p for p in parts if not (isinstance(p, Text) and p.text.startswith(BILLING))]
        content = self._content(parts, "\n\n")
        return [{"role": role, "content": content}] if content or self._own else []

    def _user(self, parts: list[Part]) -> list[Item]:
        messages: list[Item] = []
        shown: list[Item] = []
        results = [part for part in parts if isinstance(part, ToolResult)]
        for result in results:
            message, media = self._result(result)
            messages.append(message)
            shown += media
        if shown:
            messages.append({"role": "user", "content": shown})
        content = self._content([part for part in parts if not isinstance(part, ToolResult)])
        if content or (self._own and not results):
            messages.append({"role": "user", "content": content})
        return messages

    def _result(self, result: ToolResult) -> tuple[Item, list[Item]]:
        """Return the tool message, and what of the result only a user message can show."""
        wire_id = self._naming.tool_id(result.id)
        message: Item = {"role": "tool", "tool_call_id": wire_id}
        if self._own:
            named = message | ({"name": result.name} if result.name else {})
            return self.marked(named | {"content": self._content(result.parts, "\n")}, result), []
        texts: list[str] = []
        media: list[Item] = []
        mark = result.cache
        for part in result.parts:
            if isinstance(part, (Text, Image, Document, Audio, Video, SearchResult)):
                mark, part = part.cache or mark, replace(part, cache=None)
            for item in self._part(part):
                if item["type"] == "text":
                    texts.append(str(item["text"]))
                    continue
                self.lose(part.path, "narrower there")
                texts.append(f"[{item['type']}: shown in the next message]")
                media.append(item)
        text = "\n".join(texts)
        if result.is_error:
            self.lose(f"{result.path}.is_error", "narrower there")
            text = f"Error: {text}"
        item = self.marked(_text(text), Text(text, result.path, mark))
        if media:
            media.insert(0, _text(f"From the result of tool call {wire_id}:"))
        return message | {"content": text if len(item) == len(_text(text)) else [item]}, media

    def _assistant(self, parts: list[Part]) -> Item:
        message: Item = {"role": "assistant", "content": None}
        said: list[Part] = []
        calls: list[Item] = []
        for part in parts:
            match part:
                case Thinking():
                    self._think(part, message)
                case ToolCall():
                    calls.append(self._tool_call(part))
                case Refusal() if not (self._own and part.path.endswith("]")):
                    message["refusal"] = str(message.get("refusal", "")) + part.text
                case Text():
                    said.append(part)
                    if part.cache and not self._own:
                        self.marked({}, part, here=False)
                        said[-1] = replace(part, cache=None)
                case _ if self._own:
                    said.append(part)
                case _:
                    self.lose(part.path)
        content = self._content(said, "")
        if isinstance(content, str):
            content = joined((part.phase, part.text) for part in said if isinstance(part, Text))
        message["content"] = content or None
        if calls:
            message["tool_calls"] = calls
        if len(message) == 2 and message["content"] is None:
            message["content"] = ""  # null needs a tool call beside it
        return message

    def _tool_call(self, call: ToolCall) -> Item:
        freeform = call.kind == "freeform"
        custom = freeform and self._freeform
        name = self._naming.tool_name(
            call.name, call.namespace, call.kind, unlike=freeform and not custom
        )
        arguments = wrap(call.arguments) if freeform else call.arguments or "{}"
        if call.seal is not None:
            self.lose(call.path, "owned elsewhere")
        kind = "custom" if custom else "function"
        inner = {"input": call.arguments} if custom else {"arguments": arguments}
        item: Item = {"id": self._naming.tool_id(call.id), "type": kind}
        return self.marked(item | {kind: {"name": name} | inner}, call, here=False)

    def _think(self, part: Thinking, message: Item) -> None:
        sealed = part.seal
        if sealed is None:
            if not part.text or part.path in self._call.unopened:
                return
            if self._own or self._target.takes.reasoning_text:
                name = part.path.rpartition(".")[2] if self._own else PLAIN
                message[name] = str(message.get(name, "")) + part.text
            else:
                self.lose(part.path)
        elif not (fits(sealed.origin, self._target.origin) and sealed.covers(part.text)):
            self.lose(part.path, "owned elsewhere")
        elif sealed.form == PLAIN:
            message[PLAIN] = str(message.get(PLAIN, "")) + part.text
        elif sealed.form == DETAILS or self._has_blocks(sealed):
            name = "thinking_blocks" if sealed.form in BLOCKS else "reasoning_details"
            entries = message.setdefault(name, [])
            assert isinstance(entries, list)
            entries.append(rebuild(sealed, part.text))
        else:
            self.lose(part.path, "owned elsewhere")

    def _has_blocks(self, sealed: Seal) -> bool:
        # Blocks read raw from a Messages client have no issuer: this upstream did not make them.
        return sealed.form in BLOCKS and (self._own or bool(sealed.origin.issuer))

    def _content(self, parts: Sequence[Part], joiner: str | None = None) -> object:
        """Return `content`: a string where one will do (`joiner` None: for one text only)."""
        items = [item for part in parts for item in self._part(part)]
        as_sent = self._own and any(part.path.endswith("]") for part in parts)
        texts = [str(item["text"]) for item in items if item.keys() == _TEXT_ALONE]
        if as_sent or len(texts) < len(items) or (joiner is None and len(items) > 1):
            return items
        return (joiner or "").join(texts)

    def _part(self, part: Part) -> list[Item]:
        match part:
            case Text():
                if part.citations:
                    self.lose(f"{part.path}.citations")
                if part.seal is not None:
                    self.lose(part.path, "owned elsewhere")
                return [self.marked(_text(part.text), part)]
            case SearchResult():
                if part.citations is not None:
                    self.lose(f"{part.path}.citations")
                return [self.marked(_text(search_text(part)), part)]
            case Image() | Video():
                return self._picture(part)
            case Document():
                return self._document(part)
            case Audio():
                sound = {"data": part.data, "format": part.format}
                return [self.marked({"type": "input_audio", "input_audio": sound}, part)]
            case Refusal():
                return [{"type": "refusal", "refusal": part.text}]
            case Opaque() if self._own:
                return [dict(decode(part.raw, dict[str, Raw]))]
        self.lose(part.path)
        return []

    def _picture(self, part: Image | Video) -> list[Item]:
        kind = "image_url" if isinstance(part, Image) else "video_url"
        url = _address(part)
        if url is None or (kind == "video_url" and not self._own):
            self.lose(part.path)
            return []
        detail = part.detail if isinstance(part, Image) else None
        picture = {"url": url} | ({"detail": detail} if detail else {})
        return [self.marked({"type": kind, kind: picture}, part)]

    def _document(self, part: Document) -> list[Item]:
        if part.citations is not None:
            self.lose(f"{part.path}.citations")
        if isinstance(part.source, Inline):
            pieces = [_text(document_text(part))] if document_text(part) else []
            pieces += [item for inner in part.source.parts for item in self._part(inner)]
            return [*pieces[:-1], self.marked(pieces[-1], part)] if pieces else []
        file = self._file(part)
        if file is None:
            owned = isinstance(part.source, File)
            self.lose(part.path, "owned elsewhere" if owned else "no such thing there")
            return []
        if part.context:
            self.lose(f"{part.path}.context")
        return [self.marked({"type": "file", "file": file}, part)]

    def _file(self, part: Document) -> Item | None:
        name = part.filename or part.title
        named: Item = {"filename": name} if name else {}
        match part.source:
            case File(id=file_id, owner=owner) if self._own or owner == self._target.origin.issuer:
                return named | {"file_id": file_id}
            case Url(url=url) if self._own:
                return named | {"file_data": url}
            case Base64(data=data):
                if not (named or self._own):
                    named = {"filename": "document.pdf"}  # the API wants one beside the data
                return named | {"file_data": data_url(part.mime or "application/pdf", data)}
        return None


def _address(part: Image | Video) -> str | None:
    match part.source:
        case Base64(data=data):
            other = "image/png" if isinstance(part, Image) else "video/mp4"
            return data_url(part.mime or other, data)
        case Url(url=url):
            return url
    return None


def _text(text: str) -> Item:
    return {"type": "text", "text": text}
