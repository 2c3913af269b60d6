"""Parts of a call written as the content blocks of Converse.

Layer: dialects. The part of `bedrock_converse` that writes one part at a time; `turn_writer` puts
the blocks into messages.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html
"""

import re
from collections.abc import Sequence
from typing import assert_never

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import Target
from rawproxy.dialects.bedrock_converse.formats import AUDIO, KNOWN, Family, format_of
from rawproxy.dialects.bedrock_converse.reader import REDACTED, SIGNED
from rawproxy.dialects.bedrock_converse.turn_reader import CACHE, CITED, GUARDED, JSON
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
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from rawproxy.dialects.envelope import Seal, fits
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.losses import Why
from rawproxy.dialects.making import Item, json_object, said
from rawproxy.dialects.narrowing import Naming, search_text
from rawproxy.dialects.reading import decode, encode

__all__ = ["MOST_BREAKPOINTS", "BlockWriter", "Item", "is_claude", "json_object", "said"]


MOST_BREAKPOINTS = 4
"""Cache points in one call; with more it is refused."""

LONGEST_DOCUMENT_NAME = 200
"""Characters."""

_Cacheable = Text | Image | Document | SearchResult | ToolCall | ToolResult | Audio | Video | Tool
_Inner = Text | Image | Document | Video | SearchResult
"""What a tool result may hold."""

_NOTHING: Why = "no such thing there"
_S3 = "s3://"
_TTL = {"1h": "1h", "12h": "1h", "24h": "1h"}  # what is shorter is the default, five minutes
_MIMES: dict[Family, str] = {
    "image": "image/png", "document": "application/pdf", "video": "video/mp4",
}  # fmt: skip
_UNNAMED = "document"
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_LAST_INDEX = re.compile(r"(.*)\[(\d+)\][^\[]*")


def is_claude(target: Target) -> bool:
    """Return whether the model is one of Anthropic's; the name of a profile does not always tell."""
    name = target.model
    return "claude" in name or "anthropic." in name or target.origin.issuer == "anthropic"


class BlockWriter:
    """Writes parts, and marks what is to be cached.

    Args:
        call: what is asked.
        target: whom.
        own: the call was read from this dialect: it goes back as it came.
        naming: names and ids, shared with the tools.
    """

    def __init__(self, call: Call, target: Target, *, own: bool, naming: Naming) -> None:
        self.losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")
        self._call = call
        self._target = target
        self._own = own
        self._naming = naming
        self._claude = is_claude(target)
        self._documents: set[str] = set()  # names that are taken
        marked: list[Part | Tool] = [*call.tools, *call.parts()]
        marks = sum(getattr(one, "cache", None) is not None for one in marked)
        automatic = call.cache.automatic is not None
        self._too_many = marks + automatic - MOST_BREAKPOINTS
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
        """Note what the client said and nobody wrote."""
        for parent, fields in self._extras.items():
            for name in fields:
                self.lose(f"{parent}.{name}" if parent else name)

    def mark(self, part: _Cacheable) -> list[Item]:
        """Return the cache point that follows `part`, if one does.

        Of too many, the last ones stay: they cover the most. So this is called in their order.
        """
        if part.cache is None:
            return []
        if self._own:
            path = _next(part.path)
            point = _point(part.cache.ttl)
            return [self.whole({CACHE: self.whole(point, f"{path}.{CACHE}")}, path)]
        path = f"{part.path}.{self._call.names.get('cache', CACHE)}"
        if not self._target.takes.breakpoints:
            self.lose(path)
        elif self._too_many > 0:
            self._too_many -= 1
            self.lose(path, "narrower there")
        else:
            return [{CACHE: _point(_TTL.get(part.cache.ttl or ""))}]
        return []

    def content(self, parts: Sequence[Part]) -> list[Item]:
        """Return the blocks of `parts`."""
        return [block for part in parts for block in self.blocks(part)]

    def blocks(self, part: Part) -> list[Item]:
        """Return the blocks of a part: itself, and its cache point."""
        match part:
            case Text():
                return self._say(part)
            case Image() | Video():
                return self._media("image" if isinstance(part, Image) else "video", part)
            case Document():
                return self._document(part)
            case SearchResult():
                return self._found(part)
            case Thinking():
                return self._think(part)
            case ToolCall():
                return self._call_tool(part)
            case ToolResult():
                return self._result(part)
            case Audio():
                return self._audio(part)
            case Refusal():
                self.lose(part.path, "narrower there")
                return [{"text": part.text}] if part.text.strip() else []
            case Opaque() if self._own:
                return [dict(decode(part.raw, dict[str, Raw]))]
            case Opaque():
                self.lose(part.path)
                return []
            case _:
                assert_never(part)

    def _block(self, kind: str, inner: Item, part: _Cacheable) -> list[Item]:
        inner = self.whole(inner, f"{part.path}.{kind}")
        return [self.whole({kind: inner}, part.path), *self.mark(part)]

    def _say(self, part: Text) -> list[Item]:
        if self._own:
            return [self._own_text(part), *self.mark(part)]
        if part.seal is not None:
            self.lose(part.path, "owned elsewhere")
        if part.citations:
            self.lose(f"{part.path}.citations")
        if not part.text.strip():
            return []  # the API refuses a block of nothing but white space
        return [{"text": part.text}, *self.mark(part)]

    def _own_text(self, part: Text) -> Item:
        path = part.path
        if path.endswith(JSON):
            return self.whole({"json": Raw(part.text.encode())}, path.removesuffix(JSON))
        if path.endswith(CITED):
            inner: Item = {"content": [{"text": part.text}]} | said(
                citations=part.citations or None
            )
            return self.whole({CITED[1:]: self.whole(inner, path)}, path.removesuffix(CITED))
        if path.endswith(f"{GUARDED}.text"):
            return self._guarded("text", {"text": part.text}, path)
        return self.whole({"text": part.text}, path)

    def _guarded(self, kind: str, inner: Item, path: str) -> Item:
        """Return what a guardrail is to look at; `path` is that of what is inside."""
        outer = path.removesuffix(f".{kind}")
        guarded = self.whole({kind: self.whole(inner, path)}, outer)
        return self.whole({GUARDED[1:]: guarded}, outer.removesuffix(GUARDED))

    def _media(self, family: Family, part: Image | Video) -> list[Item]:
        guarded = self._own and part.path.endswith(f"{GUARDED}.image")
        path = part.path if guarded else f"{part.path}.{family}"
        word = self._format(family, part.mime, part.path)
        source = self._source(part.source, path, part.path)
        if source is None or (word is None and not self._own):
            return []
        inner = said(format=word, source=source)
        if guarded:
            return [self._guarded("image", inner, path), *self.mark(part)]
        return self._block(family, inner, part)

    def _format(self, family: Family, mime: str | None, path: str) -> str | None:
        if self._own:
            return format_of(family, mime)
        word = format_of(family, mime or _MIMES[family])
        if word in KNOWN[family]:
            return word
        self.lose(path)
        return None

    def _source(self, source: Source, inner: str, path: str) -> Item | None:
        """Return a `source`; `inner` is the path of the object that it stands in."""
        match source:
            case Base64(data=data):
                found: Item = {"bytes": data}
            case Url(url=url) if self._own or url.startswith(_S3):
                place = self.whole({"uri": url}, f"{inner}.source.s3Location")
                found = {"s3Location": place}
            case Inline(text=str(text)):
                found = {"text": text}
            case Inline(parts=parts):
                found = {"content": [one for part in parts for one in self._piece(part)]}
            case _:
                self.lose(path, "owned elsewhere" if isinstance(source, File) else _NOTHING)
                return None
        return self.whole(found, f"{inner}.source")

    def _piece(self, part: Part) -> list[Item]:
        """Return a piece of a document: the API has texts only."""
        if isinstance(part, Text) or self._own:
            return self.blocks(part)
        self.lose(part.path)
        return []

    def _document(self, part: Document) -> list[Item]:
        plain = "text/plain" if isinstance(part.source, Inline) else None
        mime = part.mime if self._own else part.mime or plain
        word = self._format("document", mime, part.path)
        source = self._source(part.source, f"{part.path}.document", part.path)
        if source is None or (word is None and not self._own):
            return []
        inner = said(
            format=word, name=part.filename if self._own else self._document_name(part),
            source=source, context=part.context,
            citations=self._enabled(part, f"{part.path}.document.citations"),
        )  # fmt: skip
        return self._block("document", inner, part)

    def _document_name(self, part: Document) -> str:
        """Return a name as the API takes one: of few characters, and no two alike."""
        plain = _EXTENSION.sub("", part.title or part.filename or "")
        plain = _UNNAMEABLE.sub(" ", plain).strip()[: LONGEST_DOCUMENT_NAME - 5].strip()
        wanted = name = plain or _UNNAMED
        number = 1
        while name in self._documents:
            number += 1
            name = f"{wanted} {number}"
        self._documents.add(name)
        return name

    def _enabled(self, part: Document | SearchResult, path: str) -> Item | None:
        return None if part.citations is None else self.whole({"enabled": part.citations}, path)

    def _found(self, part: SearchResult) -> list[Item]:
        if not (self._own or self._claude):
            self.lose(part.path, "narrower there")
            return [{"text": search_text(part)}, *self.mark(part)]
        path = f"{part.path}.searchResult"
        texts = [
            self.whole({"text": text}, f"{path}.content[{at}]")
            for at, text in enumerate(part.texts)
        ]
        inner: Item = {"source": part.source, "title": part.title, "content": texts}
        inner |= said(citations=self._enabled(part, f"{path}.citations"))
        return self._block("searchResult", inner, part)

    def _audio(self, part: Audio) -> list[Item]:
        if part.format not in AUDIO and not self._own:
            self.lose(f"{part.path}.input_audio")
            return []
        source = self.whole({"bytes": part.data}, f"{part.path}.audio.source")
        return self._block("audio", {"format": part.format, "source": source}, part)

    def _think(self, part: Thinking) -> list[Item]:
        sealed, path = part.seal, f"{part.path}.reasoningContent"
        if sealed is None and self._own and part.path not in self._call.unopened:
            return [self._reasoning({"text": part.text}, path)]
        if (
            sealed is not None
            and sealed.form in (SIGNED, REDACTED)
            and (self._own or self._claude)
            and fits(sealed.origin, self._target.origin)
            and sealed.covers(part.text)
        ):
            return [self._rebuilt(sealed, part.text, path)]
        self.lose(part.path, "owned elsewhere")
        return []

    def _rebuilt(self, sealed: Seal, text: str, path: str) -> Item:
        """Return the block that was sealed: the signed or encrypted member byte for byte."""
        members = decode(sealed.raw.encode(), dict[str, Raw])
        if sealed.form == SIGNED:
            return self._reasoning({"text": text, "signature": members.get("signature", "")}, path)
        inner = self.whole({REDACTED: members.get(REDACTED, "")}, path)
        return self.whole({"reasoningContent": inner}, path.removesuffix(".reasoningContent"))

    def _reasoning(self, inner: Item, path: str) -> Item:
        said = self.whole({"reasoningText": self.whole(inner, f"{path}.reasoningText")}, path)
        return self.whole({"reasoningContent": said}, path.removesuffix(".reasoningContent"))

    def _call_tool(self, part: ToolCall) -> list[Item]:
        freeform = part.kind == "freeform"
        if part.seal is not None:
            self.lose(part.path, "owned elsewhere")
        arguments = json_object(wrap(part.arguments) if freeform else part.arguments)
        if arguments is None and self._own:
            arguments = Raw(part.arguments.encode())
        elif arguments is None:
            self.lose(part.path, "narrower there")
            arguments = Raw(encode({"_raw": part.arguments}))
        name = self._naming.tool_name(part.name, part.namespace, part.kind, unlike=freeform)
        inner: Item = {
            "toolUseId": self._naming.tool_id(part.id), "name": name, "input": arguments,
        }  # fmt: skip
        return self._block("toolUse", inner, part)

    def _result(self, part: ToolResult) -> list[Item]:
        content = [block for inner in part.parts for block in self._inside(inner)]
        item: Item = {"toolUseId": self._naming.tool_id(part.id), "content": content}
        if part.is_error:
            item["status"] = "error"
        elif self._own and part.is_error is not None:
            item["status"] = "success"
        return self._block("toolResult", item, part)

    def _inside(self, part: Part) -> list[Item]:
        """Return the blocks of a part of a tool result, where no cache point may stand."""
        if self._own:
            return self.blocks(part)
        if not isinstance(part, _Inner):
            self.lose(part.path)
            return []
        if part.cache is not None:
            self.lose(f"{part.path}.{self._call.names.get('cache', CACHE)}", "narrower there")
        return self.blocks(msgspec.structs.replace(part, cache=None))


def _point(ttl: str | None) -> Item:
    return {"type": "default"} | said(ttl=ttl)


def _next(path: str) -> str:
    """Return the path of the element after the one that `path` is in."""
    found = _LAST_INDEX.fullmatch(path)
    assert found is not None  # parts and tools are elements of arrays
    return f"{found[1]}[{int(found[2]) + 1}]"
