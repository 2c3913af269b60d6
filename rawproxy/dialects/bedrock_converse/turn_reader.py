"""Turns read from the `system` and `messages` of a Converse request.

Layer: dialects. The part of `bedrock_converse` that reads what was said in a call.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html

A block is a union: an object with one member, which says what it is. Where two kinds of block
become one kind of part, the part's path says which it was: `.json`, `.citationsContent`,
`.guardContent.text`, `.guardContent.image`. A cache point is a block of its own; it belongs to the
part before it.
"""

import msgspec
from msgspec import Raw

from rawproxy.dialects.bedrock_converse.formats import mime_of
from rawproxy.dialects.bedrock_converse.reader import CONVERSE, REDACTED, SIGNED
from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Document,
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
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import PREFIX, UNKNOWN, Seal, Vault, seal
from rawproxy.dialects.reading import Fields, decode, encode
from rawproxy.errors import ClientError

__all__ = ["CACHE", "CITED", "GUARDED", "JSON", "STATUSES", "TurnReader", "missing"]

CACHE = "cachePoint"
CITED = ".citationsContent"
GUARDED = ".guardContent"
JSON = ".json"

STATUSES: dict[str, bool] = {"success": False, "error": True}
"""Values of a tool result's `status`: is it an error?"""

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_KINDS = (
    "text", "toolUse", "toolResult", "reasoningContent", "image", "document", "video", "audio",
    "searchResult", "citationsContent", "guardContent", "json",
)  # fmt: skip


def missing(path: str) -> ClientError:
    """Return the error that says that the field at `path` has to be there."""
    return ClientError(f"{path}: field required", param=path)


class TurnReader:
    """Reads turns; keeps what no part of a Call has a place for in `extra`.

    Args:
        names: what the client called its fields; that of cache breakpoints is added.
        vault: opens the caller's envelopes; the paths of those it cannot are in `unopened`.
    """

    def __init__(self, names: dict[str, str], vault: Vault) -> None:
        self.extra: dict[str, bytes] = {}
        self.unopened: list[str] = []
        self._names = names
        self._vault = vault

    def keep(self, fields: Fields) -> None:
        """Keep every field that nobody took."""
        self.extra |= fields.rest()

    def system(self, body: Fields) -> tuple[Turn, ...]:
        """Read the body's `system` as a turn; none when it is absent."""
        if not body.has("system"):
            return ()
        path = body.at("system")
        return (Turn("system", self._content(body, "system"), path),)

    def turn(self, message: Fields) -> Turn:
        """Read a message. ClientError names what is wrong with it."""
        role = _ROLES.get(message.needed("role"))
        if role is None:
            raise ClientError(f"{message.at('role')}: unknown role", param=message.at("role"))
        if not message.has("content"):
            raise missing(message.at("content"))
        found = Turn(role, self._content(message, "content"), message.path)
        self.keep(message)
        return found

    def cache(self, block: Fields) -> Cache | None:
        """Take the cache point that `block` is; None where it is of a type that is not known."""
        mark = block.object(CACHE)
        if mark is None or mark.text("type") != "default":
            return None
        self._names["cache"] = CACHE
        found = Cache(mark.text("ttl"))
        self.keep(mark)
        self.keep(block)
        return found

    def _content(self, fields: Fields, name: str) -> tuple[Part, ...]:
        path = fields.at(name)
        parts: list[Part] = []
        for at, raw in enumerate(fields.take(name, list[Raw], "a list of blocks") or ()):
            block = Fields.of(raw, f"{path}[{at}]")
            if not (parts and block.has(CACHE)):
                parts.append(self._part(raw, block))
            elif (marked := self._marked(parts[-1], block)) is not None:
                parts[-1] = marked
            else:
                parts.append(self._part(raw, Fields.of(raw, block.path)))
        return tuple(parts)

    def _marked(self, last: Part, block: Fields) -> Part | None:
        """Return `last` with the cache point in `block`; None when it has one, or takes none."""
        if isinstance(last, (Thinking, Opaque, Refusal)) or last.cache is not None:
            return None
        cache = self.cache(block)
        return None if cache is None else msgspec.structs.replace(last, cache=cache)

    def _part(self, raw: Raw, block: Fields) -> Part:
        path = block.path
        kind = next((one for one in _KINDS if block.has(one)), "")
        found: Part | None
        match kind:
            case "text":
                found = Text(block.needed("text"), path)
            case "json":
                found = Text(_spelled(block.raw("json")), path + JSON)
            case "image" | "video":
                found = self._media(block, kind, path)
            case "document" | "audio" | "toolUse" | "toolResult" | "searchResult":
                found = self._object(block, kind, path)
            case "reasoningContent":
                found = self._thinking(block, path)
            case "citationsContent":
                found = self._cited(block, path)
            case "guardContent":
                found = self._guarded(block, path)
            case _:
                found = None
        if found is None:
            # Sound that lies in S3 is named as all sound is: no call may go on without it.
            at = f"{path}.input_audio" if kind == "audio" else path
            return Opaque(CONVERSE, raw, kind or _first(Fields.of(raw, path)), at)
        self.keep(block)
        return found

    def _object(self, block: Fields, kind: str, path: str) -> Part | None:
        inner = block.object(kind)
        assert inner is not None
        match kind:
            case "document":
                found: Part | None = self._document(inner, path)
            case "audio":
                found = self._audio(inner, path)
            case "toolUse":
                found = _tool_use(inner, path)
            case "toolResult":
                found = self._tool_result(inner, path)
            case _:
                found = self._search_result(inner, path)
        if found is not None:
            self.keep(inner)
        return found

    def _media(self, block: Fields, kind: str, path: str, at: str | None = None) -> Part | None:
        inner = block.object(kind)
        source = None if inner is None else self._source(inner)
        if inner is None or source is None:
            return None
        word, at = inner.text("format"), at or path
        self.keep(inner)
        if kind == "video":
            return Video(source, at, mime_of("video", word))
        return Image(source, at, mime_of("image", word))

    def _source(self, inner: Fields) -> Source | None:
        """Take a `source`; None for one of a kind that no part has."""
        source = inner.object("source")
        if source is None:
            raise missing(inner.at("source"))
        found: Source
        if source.has("bytes"):
            found = Base64(source.needed("bytes"))
        elif place := source.object("s3Location"):
            found = Url(place.needed("uri"))
            self.keep(place)
        elif source.has("text"):
            found = Inline(source.needed("text"))
        elif source.has("content"):
            found = Inline(parts=self._content(source, "content"))
        else:
            return None
        self.keep(source)
        return found

    def _document(self, inner: Fields, path: str) -> Part | None:
        source = self._source(inner)
        if source is None:
            return None
        return Document(
            source, path, mime_of("document", inner.text("format")), inner.text("name"),
            context=inner.text("context"), citations=self._enabled(inner),
        )  # fmt: skip

    def _audio(self, inner: Fields, path: str) -> Part | None:
        source = self._source(inner)
        if not isinstance(source, Base64):
            return None
        return Audio(source.data, inner.needed("format"), path)

    def _tool_result(self, inner: Fields, path: str) -> Part | None:
        if inner.has("type"):  # of a tool that the vendor ran
            return None
        wanted, word = inner.needed("toolUseId"), inner.text("status")
        if word is not None and word not in STATUSES:
            self.extra[inner.at("status")] = encode(word)
        parts = self._content(inner, "content")
        return ToolResult(wanted, parts, path, is_error=STATUSES.get(word or ""))

    def _search_result(self, inner: Fields, path: str) -> SearchResult:
        texts = []
        for piece in inner.objects("content"):
            texts.append(piece.needed("text"))
            self.keep(piece)
        return SearchResult(
            inner.needed("source"), inner.needed("title"), tuple(texts), path, self._enabled(inner)
        )

    def _enabled(self, inner: Fields) -> bool | None:
        config = inner.object("citations")
        if config is None:
            return None
        enabled = config.flag("enabled")
        self.keep(config)
        return enabled

    def _thinking(self, block: Fields, path: str) -> Part | None:
        inner = block.object("reasoningContent")
        assert inner is not None
        if inner.has("redactedContent"):
            data = inner.needed("redactedContent")
            self.keep(inner)
            native = encode({REDACTED: data}).decode()
            return Thinking("", path, seal(UNKNOWN, REDACTED, native))
        said = inner.object("reasoningText")
        if said is None:
            return None
        text, signature = said.text("text") or "", said.text("signature")
        self.keep(said)
        self.keep(inner)
        return Thinking(text, path, self._sealed(signature, text, path) if signature else None)

    def _sealed(self, signature: str, text: str, path: str) -> Seal | None:
        """Return the seal in `signature`: of an envelope, or of the vendor's own item."""
        if not signature.startswith(PREFIX):
            native = encode({"type": SIGNED, "signature": signature}).decode()
            return seal(UNKNOWN, SIGNED, native, [text] if text else ())
        opened = self._vault.open(signature)
        if opened is None:
            self.unopened.append(path)
        return opened

    def _cited(self, block: Fields, path: str) -> Part | None:
        inner = block.object("citationsContent")
        assert inner is not None
        raw = inner.raw("content")
        try:
            texts = [one["text"] for one in decode(raw, list[dict[str, str]])]
        except (ValueError, KeyError):
            return None
        if len(texts) != 1:  # where one text ends and the next begins, only this dialect says
            self.extra[inner.at("content")] = bytes(raw)
        citations = inner.raw("citations")
        self.keep(inner)
        said = Raw() if bytes(citations) == b"[]" else citations
        return Text("".join(texts), path + CITED, citations=said)

    def _guarded(self, block: Fields, path: str) -> Part | None:
        inner = block.object("guardContent")
        assert inner is not None
        found: Part | None
        if inner.has("text"):
            said = inner.object("text")
            assert said is not None
            found = Text(said.needed("text"), f"{path}{GUARDED}.text")
            self.keep(said)
        else:
            found = self._media(inner, "image", path, f"{path}{GUARDED}.image")
        if found is not None:
            self.keep(inner)
        return found


def _tool_use(inner: Fields, path: str) -> Part | None:
    if inner.has("type"):  # of a tool that the vendor ran
        return None
    arguments = _spelled(inner.raw("input"))
    return ToolCall(inner.needed("toolUseId"), inner.needed("name"), arguments, path)


def _spelled(raw: Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _first(block: Fields) -> str:
    """Return the name of a block's first member."""
    for path in block.rest():
        return path.removeprefix(f"{block.path}.")
    raise ClientError(f"{block.path}: the block has no content", param=block.path)
