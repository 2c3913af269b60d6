"""Parts of a call written as the parts of a Gemini content.

Layer: dialects. The part of `gemini` that writes one part at a time; `turn_writer` puts them into
contents.
Source: https://ai.google.dev/api/caching#Part
"""

import re
from collections.abc import Sequence
from typing import assert_never

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
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from rawproxy.dialects.envelope import Seal, fits
from rawproxy.dialects.freeform import wrap
from rawproxy.dialects.gemini.ledger import Ledger
from rawproxy.dialects.gemini.signatures import SIGNATURE, carrier, is_thought
from rawproxy.dialects.gemini.spelling import GEMINI, Item, said
from rawproxy.dialects.gemini.turn_reader import MADE_ID, Answer, Sound
from rawproxy.dialects.making import json_object
from rawproxy.dialects.narrowing import BILLING, Naming, document_text, search_text
from rawproxy.dialects.prompt import joined
from rawproxy.dialects.reading import encode

__all__ = ["PartWriter", "json_object"]

UNNAMED = "tool"
"""The name of a tool whose result came without its call: the API wants one."""

_EXTENSION = re.compile(r"\.(\w{1,5})(?:[?#].*)?$", re.DOTALL)
_MIMES = {
    # extension of an address -> what lies there: the API wants to be told
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "gif": "image/gif", "heic": "image/heic", "pdf": "application/pdf", "txt": "text/plain",
    "md": "text/markdown", "html": "text/html", "csv": "text/csv", "mp4": "video/mp4",
    "mov": "video/mov", "webm": "video/webm", "mpeg": "video/mpeg", "mp3": "audio/mp3",
    "wav": "audio/wav",
}  # fmt: skip
_SOUNDS = {"pcm16": "audio/pcm", "m4a": "audio/mp4"}

_Medium = Image | Document | Audio | Video


class PartWriter:
    """Writes parts.

    Args:
        call: what is asked.
        target: whom.
        ledger: keeps the losses.
        naming: names of tools, shared with their declarations.
    """

    def __init__(self, call: Call, target: Target, ledger: Ledger, naming: Naming) -> None:
        self._call = call
        self._target = target
        self._ledger = ledger
        self._own = ledger.own
        self._naming = naming
        self._called: dict[str, str] = {}  # id of a tool call -> the tool's name there

    def fits(self, seal: Seal) -> bool:
        """Return whether the upstream takes a seal."""
        return seal.form == SIGNATURE and fits(seal.origin, self._target.origin)

    def signed(self, item: Item, seal: Seal | None, path: str) -> Item:
        """Return `item` with the seal of its own, if it has one that the upstream takes."""
        if seal is None:
            return item
        if self.fits(seal):
            return item | {SIGNATURE: carrier(seal, self._call.vault)}
        self._ledger.lose(path, "owned elsewhere")
        return item

    def parts(self, part: Part) -> list[Item | Raw]:
        """Return what a part becomes; for a tool's result `result` is to be asked."""
        self._ledger.lose_cache(part)
        match part:
            case Text():
                return self._say(part)
            case Image() | Audio() | Video():
                return self._show(part)
            case Document():
                return self._document(part)
            case SearchResult():
                self._ledger.lose(part.path, "narrower there")
                return [{"text": search_text(part)}]
            case Thinking():
                return self._think(part)
            case ToolCall():
                return [self._call_tool(part)]
            case ToolResult():
                return [self.result(part, [])]
            case Refusal():
                self._ledger.lose(part.path, "narrower there")
                return [{"text": part.text}] if part.text else []
            case Opaque() if self._own:
                return [part.raw]
            case Opaque():
                self._ledger.lose(part.path)
                return []
            case _:
                assert_never(part)

    def _say(self, part: Text) -> list[Item | Raw]:
        if part.citations:
            self._ledger.lose(f"{part.path}.citations")
        if not self._own and part.text.startswith(BILLING):
            return []
        item = self.signed({"text": part.text}, part.seal, part.path)
        if not part.text and not (self._own or SIGNATURE in item):
            return []  # the API refuses a part of nothing
        return [self._ledger.whole(item, part.path)]

    def _think(self, part: Thinking) -> list[Item | Raw]:
        seal, item = part.seal, {"text": part.text, "thought": True}
        if seal is None and self._own and part.path not in self._call.unopened:
            return [self._ledger.whole(item, part.path)]
        if seal is None or not self.fits(seal) or not seal.covers(part.text):
            self._ledger.lose(part.path, "owned elsewhere")
            return []
        if not is_thought(seal):
            del item["thought"]
        return [self._ledger.whole(self.signed(item, seal, part.path), part.path)]

    def _call_tool(self, part: ToolCall) -> Item:
        freeform = part.kind == "freeform"
        arguments = json_object(wrap(part.arguments) if freeform else part.arguments)
        if arguments is None:
            self._ledger.lose(part.path, "narrower there")
            arguments = Raw(encode({"_raw": part.arguments}))
        name = self._naming.tool_name(part.name, part.namespace, part.kind, unlike=freeform)
        self._called[part.id] = name
        inner = said(id=self._id(part.id), name=name, args=arguments)
        inner = self._ledger.whole(inner, f"{part.path}.functionCall")
        item = self.signed({"functionCall": inner}, part.seal, part.path)
        return self._ledger.whole(item, part.path)

    def _id(self, wanted: str) -> str | None:
        """Return a tool id; None for one that the client did not give."""
        return None if self._own and MADE_ID.fullmatch(wanted) else wanted

    def result(self, part: ToolResult, after: list[Item | Raw]) -> Item:
        """Return a tool's result; what it cannot hold goes to `after`, to be said behind it."""
        name = self._called.get(part.id) or part.name or UNNAMED
        if isinstance(part, Answer) and self._own:
            return self._own_result(part)
        texts: list[tuple[object, str]] = []
        shown: list[Item | Raw] = []
        for one in part.parts:
            for item in self.parts(one):
                if isinstance(item, dict) and "text" in item:
                    mark = None if isinstance(one, Text) else object()
                    texts.append((mark, str(item["text"])))
                else:
                    shown.append(item)
        if shown and self._target.takes.reasoning == "budget":
            # Models before Gemini 3 see nothing but text in a result.
            self._ledger.lose(part.path, "narrower there")
            after += [{"text": f"From the result of {name}:"}, *shown]
            shown = []
        response = {"error" if part.is_error else "output": joined(texts)}
        inner = said(id=self._id(part.id), name=name, response=response, parts=shown or None)
        return {"functionResponse": inner}

    def _own_result(self, part: Answer) -> Item:
        media = [one for one in part.parts if not isinstance(one, Text)]
        shown = [item for one in media for item in self.parts(one)]
        inner = said(
            id=self._id(part.id), name=part.name, response=part.response or None,
            parts=shown or None,
        )  # fmt: skip
        inner = self._ledger.whole(inner, f"{part.path}.functionResponse")
        return self._ledger.whole({"functionResponse": inner}, part.path)

    def _show(self, part: Image | Audio | Video) -> list[Item | Raw]:
        if isinstance(part, Audio):
            mime = _SOUNDS.get(part.format, f"audio/{part.format}")
            source: Source = Base64(part.data)
            return self._medium(part, source, part.mime if isinstance(part, Sound) else mime)
        return self._medium(part, part.source, part.mime)

    def _medium(
        self, part: _Medium, source: Source, mime: str | None, label: str | None = None
    ) -> list[Item | Raw]:
        match source:
            case Base64(data=data):
                known = mime or _DEFAULTS[type(part).__name__]
                inner: Item = {"mimeType": known, "data": data}
                kind = "inlineData"
            case Url(url=uri) if self._own or uri.startswith(("https://", "http://")):
                inner = said(mimeType=mime or _guessed(uri), fileUri=uri)
                kind = "fileData"
            case File(id=uri, owner=owner) if owner == GEMINI:
                inner = said(mimeType=mime, fileUri=uri)
                kind = "fileData"
            case _:
                owned = isinstance(source, File)
                self._ledger.lose(part.path, "owned elsewhere" if owned else "no such thing there")
                return []
        if self._own:
            inner |= said(displayName=label)
        inner = self._ledger.whole(inner, f"{part.path}.{kind}")
        return [self._ledger.whole({kind: inner}, part.path)]

    def _document(self, part: Document) -> list[Item | Raw]:
        if part.citations is not None:
            self._ledger.lose(f"{part.path}.citations")
        source = part.source
        if isinstance(source, Inline):
            text = document_text(part)
            found: list[Item | Raw] = [{"text": text}] if text else []
            return found + self.all_parts(source.parts)
        if part.context:
            self._ledger.lose(f"{part.path}.context")
        return self._medium(part, source, part.mime, part.filename)

    def all_parts(self, parts: Sequence[Part]) -> list[Item | Raw]:
        """Return what several parts become."""
        return [item for part in parts for item in self.parts(part)]


_DEFAULTS = {"Image": "image/png", "Document": "application/pdf", "Video": "video/mp4"}


def _guessed(uri: str) -> str | None:
    match = _EXTENSION.search(uri)
    return _MIMES.get(match[1].lower()) if match else None
