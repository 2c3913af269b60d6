"""Turns read from the `instructions` and the `input` items of the Responses API.

Layer: dialects. The part of `openai_responses` that reads what was said in a call.
Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-input

Every item is a turn of its own. An item without `type` is a message (or, with nothing but an id, a
reference). Items that only this API has are opaque parts; their path names their type, for
`input[4]` alone would tell nobody what was lost.
"""

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Cache,
    Document,
    File,
    Image,
    Opaque,
    Part,
    Refusal,
    Role,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.envelope import PREFIX, UNKNOWN, Vault
from rawproxy.dialects.media import read_url
from rawproxy.dialects.openai_responses.reasoning import (
    REASONING,
    RESPONSES,
    plain_summary,
    read_reasoning,
)
from rawproxy.dialects.openai_responses.tool_reader import ToolReader
from rawproxy.dialects.reading import Fields, decode, encode
from rawproxy.errors import ClientError

__all__ = [
    "CACHE",
    "CALLS",
    "INPUT_TEXT",
    "ISSUER",
    "MORE_TOOLS",
    "OUTPUT_TEXT",
    "ItemReader",
    "text_type",
]

CACHE = "prompt_cache_breakpoint"

ISSUER = "openai"
"""Whose files a `file_id` names."""

INPUT_TEXT, OUTPUT_TEXT = "input_text", "output_text"

MORE_TOOLS = "additional_tools"
"""The type of an item that declares tools in the middle of the input."""

CALLS = {"function_call": ("function", "arguments"), "custom_tool_call": ("freeform", "input")}
"""Type of an item that calls a tool -> the tool's kind, and the field with its input."""

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant",
}  # fmt: skip
_TEXTS = {INPUT_TEXT, OUTPUT_TEXT, "text"}
_OUTPUT = "_output"
_REFERENCE = "item_reference"


def text_type(role: Role) -> str:
    """Return the type that a text part usually has in a message of `role`."""
    return OUTPUT_TEXT if role == "assistant" else INPUT_TEXT


def _missing(path: str) -> ClientError:
    return ClientError(f"{path}: field required", param=path)


class ItemReader:
    """Reads items; keeps what no part of a Call has a place for in `extra`.

    Args:
        names: what the client called its fields; that of cache breakpoints is added.
        vault: opens the caller's envelopes; the paths of those it cannot are in `unopened`.
        tools: reads the tools that stand among the items; they are in `more_tools`.
    """

    def __init__(self, names: dict[str, str], vault: Vault, tools: ToolReader) -> None:
        self.unopened: list[str] = []
        self.more_tools: list[Tool] = []
        self._names = names
        self._vault = vault
        self._tools = tools
        self._extra = tools.extra
        self._keep = tools.keep

    def turns(self, body: Fields) -> tuple[Turn, ...]:
        """Take `instructions` and `input`. ClientError names what is wrong with them."""
        found: list[Turn] = []
        if body.has("instructions"):
            text = Text(body.needed("instructions"), "instructions")
            found.append(Turn("system", (text,), text.path))
        if body.is_text("input"):
            found.append(Turn("user", (Text(body.needed("input"), "input"),), "input"))
        else:
            items = body.take("input", list[Raw], "a string or a list of items") or ()
            found += [self._turn(raw, f"input[{at}]") for at, raw in enumerate(items)]
        return tuple(found)

    def _turn(self, raw: Raw, path: str) -> Turn:
        item = Fields.of(raw, path)
        given = item.text("type")
        kind = given or ("message" if item.has("role") or not item.has("id") else _REFERENCE)
        if kind == REASONING:
            return Turn("assistant", (self._thinking(raw, item),), path)
        turn = self._known(item, kind)
        if turn is None:
            answers = kind.endswith((_OUTPUT, "_response"))
            opaque = Opaque(RESPONSES, raw, kind, f"{path}.{kind}")
            return Turn("user" if answers else "assistant", (opaque,), path)
        if given and kind not in CALLS:
            self._extra[item.at("type")] = encode(given)
        self._keep(item)
        return turn

    def _known(self, item: Fields, kind: str) -> Turn | None:
        if kind == "message":
            return self._message(item)
        if kind == MORE_TOOLS:
            self.more_tools += self._tools.tools(item)
            return Turn(_ROLES.get(item.text("role") or "", "developer"), (), item.path)
        if kind in CALLS:
            return Turn("assistant", (self._call(item, *CALLS[kind]),), item.path)
        if kind.removesuffix(_OUTPUT) in CALLS and item.has("call_id"):
            return Turn("user", (self._result(item),), item.path)
        return None

    def _message(self, item: Fields) -> Turn:
        role = _ROLES.get(item.needed("role"))
        if role is None:
            raise ClientError(f"{item.at('role')}: unknown role", param=item.at("role"))
        if not item.has("content"):
            raise _missing(item.at("content"))
        parts = self._content(item, "content", text_type(role))
        phase = item.text("phase")
        if phase and any(isinstance(part, Text) for part in parts):
            parts = tuple(
                replace(part, phase=phase) if isinstance(part, Text) else part for part in parts
            )
        elif phase:
            self._extra[item.at("phase")] = encode(phase)
        return Turn(role, parts, item.path)

    def _call(self, item: Fields, kind: str, field: str) -> ToolCall:
        return ToolCall(
            item.needed("call_id"), item.needed("name"), item.text(field) or "", item.path, kind,
            item.text("namespace"),
        )  # fmt: skip

    def _result(self, item: Fields) -> ToolResult:
        parts = self._content(item, "output", INPUT_TEXT)
        return ToolResult(item.needed("call_id"), parts, item.path, item.text("name"))

    def _thinking(self, raw: Raw, item: Fields) -> Thinking:
        carrier = item.text("encrypted_content") or ""
        members = decode(raw, dict[str, Raw])
        text, native = read_reasoning(members, UNKNOWN)
        if carrier.startswith(PREFIX):
            opened = self._vault.open(carrier)
            if opened is None:
                self.unopened.append(item.path)
            return Thinking(text, item.path, opened)
        if native is not None:
            return Thinking(text, item.path, native)
        # Nothing that only its issuer can read: it is text, of whatever model.
        if decode(members.get("summary", Raw(b"null")), object) == plain_summary(text):
            item.raw("summary")
        item.raw("type")
        self._keep(item)
        return Thinking(text, item.path)

    def _content(self, fields: Fields, name: str, usual: str) -> tuple[Part, ...]:
        """Take a string or a list of parts; `usual` is the type of a text part there."""
        path = fields.at(name)
        if fields.is_text(name):
            return (Text(fields.needed(name), path),)
        parts = fields.take(name, list[Raw], "a string or a list of parts") or ()
        return tuple(self._part(raw, f"{path}[{at}]", usual) for at, raw in enumerate(parts))

    def _part(self, raw: Raw, path: str, usual: str) -> Part:
        part = Fields.of(raw, path)
        kind = part.needed("type")
        found: Part
        if kind in _TEXTS:
            if kind != usual:
                self._extra[part.at("type")] = encode(kind)
            found = Text(
                part.needed("text"), path, self._cache(part), self._annotations(part)
            )  # fmt: skip
        elif kind == "refusal":
            found = Refusal(part.needed("refusal"), path)
        elif kind == "input_image":
            found = self._image(part)
        elif kind == "input_file":
            found = self._file(part)
        elif kind == "input_audio":
            found = self._audio(part)
        else:
            return Opaque(RESPONSES, raw, kind, path)
        self._keep(part)
        return found

    def _cache(self, part: Fields) -> Cache | None:
        mark = part.object(CACHE)
        if mark is None:
            return None
        self._names["cache"] = CACHE
        mark.raw("mode")
        found = Cache(mark.text("ttl"))
        self._keep(mark)
        return found

    def _annotations(self, part: Fields) -> Raw:
        raw = part.raw("annotations")
        if bytes(raw) != b"[]":
            return raw
        self._extra[part.at("annotations")] = bytes(raw)
        return Raw()

    def _image(self, part: Fields) -> Image:
        file_id, mime = part.text("file_id"), None
        source: Source
        if file_id is not None:
            source = File(file_id, ISSUER)
        else:
            source, mime = read_url(part.needed("image_url"))
        return Image(source, part.path, mime, part.text("detail"), self._cache(part))

    def _file(self, part: Fields) -> Document:
        name, mime = part.text("filename"), None
        source: Source
        if part.has("file_id"):
            source = File(part.needed("file_id"), ISSUER)
        elif part.has("file_url"):
            source = Url(part.needed("file_url"))
        else:
            data = part.needed("file_data")
            source, mime = read_url(data)
            if isinstance(source, Url):
                source = Base64(data)  # without the header of a data URL
        return Document(source, part.path, mime, name, cache=self._cache(part))

    def _audio(self, part: Fields) -> Audio:
        sound = part.object("input_audio")
        if sound is None:
            raise _missing(part.at("input_audio"))
        found = Audio(sound.needed("data"), sound.needed("format"), part.path, self._cache(part))
        self._keep(sound)
        return found
