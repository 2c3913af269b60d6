"""Turns read from the `system` and `messages` of the Messages API.

Layer: dialects. The part of `anthropic_messages` that reads what was said in a call.
Source: https://platform.claude.com/docs/en/api/messages/create
"""

from msgspec import Raw

from rawproxy.dialects.anthropic_messages.reader import MESSAGES
from rawproxy.dialects.call import (
    Base64,
    Cache,
    Document,
    File,
    Image,
    Inline,
    Opaque,
    Part,
    Role,
    SearchResult,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.envelope import PREFIX, UNKNOWN, Seal, Vault, seal
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError

__all__ = ["CACHE", "ISSUER", "PLAIN", "TurnReader", "missing"]

CACHE = "cache_control"

ISSUER = "anthropic"
"""Whose files a `file` source names."""

PLAIN = "text/plain"
"""The media type of a document whose text is in the open."""

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_CACHEABLE = {"text", "image", "document", "search_result", "tool_use", "tool_result"}


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
        return (Turn("system", self._content(body, "system"), "system"),)

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

    def cache(self, fields: Fields) -> Cache | None:
        """Take a cache breakpoint."""
        mark = fields.object(CACHE)
        if mark is None:
            return None
        self._names["cache"] = CACHE
        mark.raw("type")
        found = Cache(mark.text("ttl"))
        self.keep(mark)
        return found

    def _content(self, fields: Fields, name: str) -> tuple[Part, ...]:
        path = fields.at(name)
        if fields.is_text(name):
            return (Text(fields.needed(name), path),)
        blocks = fields.take(name, list[Raw], "a string or a list of blocks") or ()
        return tuple(self._part(raw, f"{path}[{at}]") for at, raw in enumerate(blocks))

    def _part(self, raw: Raw, path: str) -> Part:
        block = Fields.of(raw, path)
        kind = block.needed("type")
        cache = self.cache(block) if kind in _CACHEABLE else None
        found: Part | None
        match kind:
            case "text":
                found = Text(block.needed("text"), path, cache, _citations(block))
            case "image":
                source, mime = self._source(block)
                found = Image(source, path, mime, cache=cache) if source else None
            case "document":
                found = self._document(block, path, cache)
            case "search_result":
                found = self._search_result(block, path, cache)
            case "thinking":
                found = self._thinking(block, path)
            case "redacted_thinking":
                data = block.needed("data")
                native = encode({"type": kind, "data": data}).decode()
                found = Thinking("", path, self._sealed(data, kind, native, "", path))
            case "tool_use":
                arguments = bytes(block.raw("input")).decode("utf-8", "replace")
                found = ToolCall(
                    block.needed("id"), block.needed("name"), arguments, path, cache=cache
                )
            case "tool_result":
                found = ToolResult(
                    block.needed("tool_use_id"), self._content(block, "content"), path,
                    is_error=block.flag("is_error"), cache=cache,
                )  # fmt: skip
            case _:
                found = None
        if found is None:
            return Opaque(MESSAGES, raw, kind, path)
        self.keep(block)
        return found

    def _source(self, block: Fields) -> tuple[Source | None, str | None]:
        """Take a `source` and its media type; (None, None) for one of a kind that no part has."""
        source = block.object("source")
        if source is None:
            raise missing(block.at("source"))
        kind, mime = source.needed("type"), source.text("media_type")
        found: Source
        match kind:
            case "base64":
                found = Base64(source.needed("data"))
            case "url":
                found = Url(source.needed("url"))
            case "file":
                found = File(source.needed("file_id"), ISSUER)
            case "text":
                found, mime = Inline(source.needed("data")), mime or PLAIN
            case "content" if source.is_text("content"):
                found = Inline(source.needed("content"))
            case "content":
                found = Inline(parts=self._content(source, "content"))
            case _:
                return None, None
        self.keep(source)
        return found, mime

    def _document(self, block: Fields, path: str, cache: Cache | None) -> Document | None:
        source, mime = self._source(block)
        if source is None:
            return None
        return Document(
            source, path, mime, title=block.text("title"), context=block.text("context"),
            citations=self._enabled(block), cache=cache,
        )  # fmt: skip

    def _search_result(self, block: Fields, path: str, cache: Cache | None) -> SearchResult:
        texts = []
        for piece in block.objects("content"):
            piece.raw("type")
            texts.append(piece.needed("text"))
            self.keep(piece)
        return SearchResult(
            block.needed("source"), block.needed("title"), tuple(texts), path,
            self._enabled(block), cache,
        )  # fmt: skip

    def _enabled(self, block: Fields) -> bool | None:
        config = block.object("citations")
        if config is None:
            return None
        enabled = config.flag("enabled")
        self.keep(config)
        return enabled

    def _thinking(self, block: Fields, path: str) -> Thinking:
        text, signature = block.needed("thinking"), block.text("signature")
        if not signature:
            return Thinking(text, path)
        native = encode({"type": "thinking", "signature": signature}).decode()
        return Thinking(text, path, self._sealed(signature, "thinking", native, text, path))

    def _sealed(self, carrier: str, form: str, native: str, text: str, path: str) -> Seal | None:
        """Return the seal in `carrier`: of an envelope, or of the vendor's own (`native`) item."""
        if not carrier.startswith(PREFIX):
            return seal(UNKNOWN, form, native, [text] if text else ())
        opened = self._vault.open(carrier)
        if opened is None:
            self.unopened.append(path)
        return opened


def _citations(block: Fields) -> Raw:
    raw = block.raw("citations")
    return Raw() if bytes(raw) == b"[]" else raw
