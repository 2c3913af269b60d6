"""Turns read from the `contents` and the system instruction of a Gemini request.

Layer: dialects. The part of `gemini` that reads what was said in a call.
Source: https://ai.google.dev/api/caching#Content, and `google-genai` 3.3.0 (`types.Part`).

A part is a union: one member says what it is, others are about it. Clients often give tool calls no
ids, so they get some by their order, and each result finds its call by the id or else by the name.
Clients that keep a stream as it came send every piece as a content of its own; an envelope seals
the thoughts of all pieces before it.
"""

import re

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Role,
    Source,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    Video,
)
from rawproxy.dialects.envelope import UNKNOWN, Seal, Vault
from rawproxy.dialects.gemini.signatures import SIGNATURE, envelope_of, native, standard
from rawproxy.dialects.gemini.spelling import GEMINI, Object, missing
from rawproxy.dialects.reading import decode, encode
from rawproxy.errors import ClientError

__all__ = ["MADE_ID", "Answer", "Sound", "TurnReader"]

MADE_ID = re.compile(r"call_\d+")
"""Ids of tool calls that came without one."""

_ROLES: dict[str | None, Role] = {
    None: "user", "": "user", "user": "user", "function": "user", "tool": "user",
    "model": "assistant",
}  # fmt: skip
_KINDS = ("functionCall", "functionResponse", "inlineData", "fileData", "text")
_OUTPUTS = ("output", "result", "error")
_OWNED = re.compile(r"gs://|https://generativelanguage\.googleapis\.com/")
"""Addresses that only the vendor's own models can read."""

_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}


class Answer(ToolResult, frozen=True):
    """A tool's result. `response` is the object as it stands; the parts hold what is in it."""

    response: Raw = Raw()


class Sound(Audio, frozen=True):
    """Sound, with its type as the client spelled it."""

    mime: str = ""


class TurnReader:
    """Reads turns; keeps what no part of a Call has a place for in `extra`.

    Args:
        vault: opens the caller's envelopes; the paths of those it cannot are in `unopened`.
    """

    def __init__(self, vault: Vault) -> None:
        self.extra: dict[str, bytes] = {}
        self.unopened: list[str] = []
        self._vault = vault
        self._made = 0  # ids
        self._open: list[tuple[str, str]] = []  # id and name of calls without a result
        self._answering = False

    def keep(self, fields: Object) -> None:
        """Keep every field that nobody took."""
        self.extra |= fields.rest()

    def system(self, body: Object) -> tuple[Turn, ...]:
        """Read the system instruction as a turn; none when it is absent."""
        path = body.at("systemInstruction")
        if body.is_text("systemInstruction"):
            return (Turn("system", (Text(body.needed("systemInstruction"), path),), path),)
        content = body.object("systemInstruction")
        if content is None:
            return ()
        content.raw("role")  # whatever it is, it changes nothing
        return (self._turn(content, "system"),)

    def turns(self, body: Object) -> tuple[Turn, ...]:
        """Read the conversation. ClientError names what is wrong with it."""
        found = [self._content(content) for content in body.several("contents")]
        # The last piece of a stream is often an empty text: it says nothing.
        return tuple(turn for turn in _joined(found) if turn.parts or turn.role != "assistant")

    def _content(self, content: Object) -> Turn:
        word = content.text("role")
        role = _ROLES.get(word)
        if role is None:
            raise ClientError(f"{content.at('role')}: unknown role", param=content.at("role"))
        return self._turn(content, role)

    def _turn(self, content: Object, role: Role) -> Turn:
        parts = [self._part(raw, path) for path, raw in content.raws("parts")]
        if role == "assistant":
            parts = [part for part in parts if not _says_nothing(part)]
        self.keep(content)
        return Turn(role, tuple(parts), content.path)

    def _part(self, raw: Raw, path: str) -> Part:
        part = Object.of(raw, path)
        kind = next((one for one in _KINDS if part.has(one)), "")
        found: Part | None
        match kind:
            case "text":
                found = self._text(part)
            case "functionCall":
                found = self._call(part)
            case "functionResponse":
                found = self._result(part)
            case "inlineData" | "fileData":
                found = self._media(part, kind)
            case _:
                found = None
        if found is None:
            return Opaque(GEMINI, raw, kind or _first(part), path)
        self.keep(part)
        return found

    def _text(self, part: Object) -> Part:
        text, path, thought = part.needed("text"), part.path, bool(part.flag("thought"))
        sealed = self._seal(part, text if thought else None)
        if thought or (sealed is not None and not text):
            return Thinking(text, path, sealed)
        return Text(text, path, seal=sealed)

    def _seal(self, part: Object, thought: str | None = None) -> Seal | None:
        """Take a part's signature: an envelope, or the vendor's own."""
        signature = part.text(SIGNATURE)
        if not signature:
            return None
        envelope = envelope_of(signature)
        if envelope is None:
            return native(UNKNOWN, signature, text=thought)
        opened = self._vault.open(envelope)
        if opened is None:
            self.unopened.append(part.path)
        return opened

    def _call(self, part: Object) -> ToolCall:
        inner = part.object("functionCall")
        assert inner is not None
        if self._answering:
            self._open.clear()
            self._answering = False
        arguments = bytes(inner.raw("args")).decode("utf-8", "replace") or "{}"
        name = inner.needed("name")
        tool_id = inner.text("id") or self._id()
        self._open.append((tool_id, name))
        self.keep(inner)
        return ToolCall(tool_id, name, arguments, part.path, seal=self._seal(part))

    def _result(self, part: Object) -> ToolResult:
        inner = part.object("functionResponse")
        assert inner is not None
        self._answering = True
        wanted, name = inner.text("id"), inner.text("name")
        found = next(
            (
                call
                for call in self._open
                if wanted == call[0] or (not wanted and name in (call[1], None))
            ),
            None,
        )
        if found is not None:
            self._open.remove(found)
            wanted, name = found[0], name or found[1]
        path = inner.at("response")
        response = inner.raw("response")
        said, is_error = _response(response, path)
        shown = [self._part(raw, inner_path) for inner_path, raw in inner.raws("parts")]
        self.keep(inner)
        return Answer(
            wanted or self._id(), (*said, *shown), part.path, name, is_error, response=response
        )

    def _id(self) -> str:
        self._made += 1
        return f"call_{self._made - 1}"

    def _media(self, part: Object, kind: str) -> Part | None:
        inner = part.object(kind)
        assert inner is not None
        mime = inner.text("mimeType") or ""
        if kind == "inlineData":
            if not inner.has("data"):
                raise missing(inner.at("data"))
            source: Source = Base64(standard(inner.needed("data")))
        else:
            uri = inner.needed("fileUri")
            source = File(uri, GEMINI) if _OWNED.match(uri) else Url(uri)
        label = inner.text("displayName")
        found = _medium(source, mime, part.path, label)
        if found is not None:
            if label and not isinstance(found, Document):
                self.extra[inner.at("displayName")] = encode(label)
            self.keep(inner)
        return found


def _medium(source: Source, mime: str, path: str, label: str | None) -> Part | None:
    family, _, form = mime.partition("/")
    match family:
        case "image":
            return Image(source, path, mime)
        case "video":
            return Video(source, path, mime)
        case "audio":
            if not isinstance(source, Base64):
                return None
            form = form.partition(";")[0]
            return Sound(source.data, _FORMATS.get(form, form), path, mime=mime)
    return Document(source, path, mime or None, label)


def _response(response: Raw, path: str) -> tuple[list[Part], bool | None]:
    """Return what a tool answered, and whether that was an error."""
    if not response:
        return [], None
    try:
        members = decode(response, dict[str, Raw])
    except ValueError:
        raise ClientError(f"{path}: expected an object", param=path) from None
    name, inner = next(iter(members.items()), ("", response))
    if len(members) != 1 or name not in _OUTPUTS:
        return [Text(_spelled(response), path)], None
    try:
        text = decode(inner, str)
    except ValueError:
        text = _spelled(inner)
    return [Text(text, f"{path}.{name}")], name == "error" or None


def _spelled(raw: Raw) -> str:
    return bytes(raw).decode("utf-8", "replace")


def _says_nothing(part: Part) -> bool:
    return isinstance(part, (Text, Thinking)) and not part.text and part.seal is None


def _first(part: Object) -> str:
    """Return the name of a part's first member."""
    for name in part.left():
        return name
    raise ClientError(f"{part.path}: the part has no content", param=part.path)


def _joined(turns: list[Turn]) -> list[Turn]:
    """Return the turns with thoughts as one where an envelope seals several, also of several turns."""
    said = [list(turn.parts) for turn in turns]
    run: list[tuple[list[Part], Thinking]] = []  # thoughts so far that nobody sealed
    for turn, parts in zip(turns, said, strict=True):
        run = run if turn.role == "assistant" else []
        for part in turn.parts:
            if not isinstance(part, Thinking):
                run = []
            elif part.seal is None:
                run.append((parts, part))
            else:
                text = "".join(one.text for _, one in run) + part.text
                if not part.seal.covers(part.text) and part.seal.covers(text):
                    for home, one in run:
                        home.remove(one)
                    parts[parts.index(part)] = replace(part, text=text)
                run = []
    return [replace(turn, parts=tuple(parts)) for turn, parts in zip(turns, said, strict=True)]
