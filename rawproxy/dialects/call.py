"""What a client asks of a model, in no dialect.

Layer: dialects. Declarations, and a few questions that every writer asks.

Order and boundaries are the client's: turns and parts stay where they were, nothing is merged,
hoisted or split here. JSON that has no meaning to us (tool schemas, arguments) keeps its spelling.
Every turn, part and tool knows its `path` in the client's request, so that a loss can name it.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Raw

from rawproxy.dialects.envelope import Seal, Vault

__all__ = [
    "Audio",
    "Base64",
    "Call",
    "Document",
    "File",
    "Format",
    "Image",
    "Inline",
    "Opaque",
    "Part",
    "Reasoning",
    "Refusal",
    "Sampling",
    "SearchResult",
    "Source",
    "Text",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
    "Turn",
    "Url",
    "Video",
]

Role = Literal["system", "developer", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Base64(msgspec.Struct, frozen=True, tag="base64"):
    """Bytes in base64, as the client spelled them."""

    data: str


class Url(msgspec.Struct, frozen=True, tag="url"):
    """An address. It is handed on as it is and never fetched by us."""

    url: str


class File(msgspec.Struct, frozen=True, tag="file"):
    """A file that `owner` (an issuer) keeps under this id."""

    id: str
    owner: str


class Inline(msgspec.Struct, frozen=True, tag="inline"):
    """Content in the open: plain text, or parts."""

    text: str | None = None
    parts: tuple["Part", ...] = ()


Source = Base64 | Url | File | Inline


class Cache(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cache breakpoint after this part or tool; `ttl` as the client spelled it, e.g. `5m`."""

    ttl: str | None = None


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    """Text. `citations` is the vendor's JSON array, as it stands."""

    text: str
    path: str = ""
    cache: Cache | None = None
    citations: Raw = Raw()
    phase: str | None = None
    seal: Seal | None = None


class Image(msgspec.Struct, frozen=True, tag="image", omit_defaults=True):
    """A picture; `mime` as in `image/png`, `detail` as OpenAI has it."""

    source: Source
    path: str = ""
    mime: str | None = None
    detail: str | None = None
    cache: Cache | None = None


class Document(msgspec.Struct, frozen=True, tag="document", omit_defaults=True):
    """A document: PDF, plain text or parts. `citations`: answers shall cite it."""

    source: Source
    path: str = ""
    mime: str | None = None
    filename: str | None = None
    title: str | None = None
    context: str | None = None
    citations: bool | None = None
    cache: Cache | None = None


class Audio(msgspec.Struct, frozen=True, tag="audio", omit_defaults=True):
    """Sound in base64; `format` as in `wav`."""

    data: str
    format: str
    path: str = ""
    cache: Cache | None = None


class Video(msgspec.Struct, frozen=True, tag="video", omit_defaults=True):
    """Moving pictures."""

    source: Source
    path: str = ""
    mime: str | None = None
    cache: Cache | None = None


class SearchResult(msgspec.Struct, frozen=True, tag="search_result", omit_defaults=True):
    """One hit of a search that the client ran: its `source` (an address or name), title and texts."""

    source: str
    title: str
    texts: tuple[str, ...]
    path: str = ""
    citations: bool | None = None
    cache: Cache | None = None


class Thinking(msgspec.Struct, frozen=True, tag="thinking", omit_defaults=True):
    """What the model thought. Redacted: no text, and a seal that holds it."""

    text: str
    path: str = ""
    seal: Seal | None = None


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True):
    """A tool that the model asked for. `arguments` is JSON text (freeform: the input text itself)."""

    id: str
    name: str
    arguments: str
    path: str = ""
    kind: str = "function"
    namespace: str | None = None
    cache: Cache | None = None
    seal: Seal | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", omit_defaults=True):
    """What a tool answered: parts in order. `id` is the ToolCall's."""

    id: str
    parts: tuple["Part", ...]
    path: str = ""
    name: str | None = None
    is_error: bool | None = None
    cache: Cache | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal", omit_defaults=True):
    """The model's words for declining, in an earlier turn."""

    text: str
    path: str = ""


class Opaque(msgspec.Struct, frozen=True, tag="opaque", omit_defaults=True):
    """A part that only its own dialect has. `raw` is its JSON, `shows` its type."""

    dialect: str
    raw: Raw
    shows: str
    path: str = ""


Part = (
    Text | Image | Document | Audio | Video | SearchResult | Thinking | ToolCall | ToolResult
    | Refusal | Opaque
)  # fmt: skip


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One speaker's say. Tool results are parts of user turns. Adjacent turns of a role mean one turn."""

    role: Role
    parts: tuple[Part, ...]
    path: str = ""
    name: str | None = None


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool that the model may ask for.

    Attributes:
        schema: JSON Schema of its arguments, as it stands; empty for freeform and native tools.
        kind: `function`, `freeform` (one text as input), or `native:<vendor's type>`.
        grammar: the vendor-neutral JSON of a freeform tool's grammar: {"syntax", "definition"}.
        raw: the whole declaration of a native tool in its own `dialect`.
        runs: the client, or the vendor itself (a hosted search).
    """

    name: str
    path: str = ""
    description: str | None = None
    schema: Raw = Raw()
    kind: str = "function"
    grammar: Raw = Raw()
    strict: bool | None = None
    namespace: str | None = None
    cache: Cache | None = None
    runs: Literal["client", "vendor"] = "client"
    dialect: str = ""
    raw: Raw = Raw()


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which tools may be used: `one` names it, `allowed` lists them (then `must` says one has to be)."""

    mode: Literal["auto", "none", "required", "one", "allowed"]
    names: tuple[str, ...] = ()
    must: bool = False


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the next token is drawn. Numbers keep the client's spelling as JSON."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Raw = Raw()


class Reasoning(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much to think. Several may be said at once; `budget` is tokens.

    `show` is how much of it the client wants to see; `sealed` asks for it encrypted as well.
    """

    mode: Literal["off", "on", "adaptive"] | None = None
    effort: Effort | None = None
    budget: int | None = None
    show: Literal["none", "summary", "full"] | None = None
    sealed: bool = False


class Format(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the text of the reply must be: any JSON, or JSON of a schema."""

    kind: Literal["json", "schema"]
    name: str | None = None
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class CacheUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prompt caching beyond breakpoints: a routing key, how long to keep, or "mark it for me"."""

    key: str | None = None
    retention: str | None = None
    automatic: Cache | None = None


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose request it is, as the client's operator says. `metadata` is a JSON object, as it stands."""

    user: str | None = None
    safety: str | None = None
    metadata: Raw = Raw()


class Call(msgspec.Struct):
    """One request to a model.

    Attributes:
        dialect: the dialect it was read from.
        extra: fields that no part of this vocabulary holds: path -> raw JSON. They are written
            only into `dialect`; elsewhere each is a loss.
        names: what the client called a field: our attribute -> its own field, for those it sent.
        unopened: paths of envelopes that are not of this caller, or were tampered with.
        vault: opens and packs the envelopes of this caller.
    """

    dialect: str
    model: str
    turns: tuple[Turn, ...] = ()
    stream: bool = False
    variant: str = ""
    prefill: bool = False
    raw_prompt: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    limit: int | None = None
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    reasoning: Reasoning = Reasoning()
    format: Format | None = None
    verbosity: str | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    cache: CacheUse = CacheUse()
    identity: Identity = Identity()
    tier: str | None = None
    wants_usage: bool = False
    extra: dict[str, bytes] = {}
    names: dict[str, str] = {}
    unopened: tuple[str, ...] = ()
    vault: Vault = Vault()

    def leading_system(self) -> tuple[Turn, ...]:
        """Return the system and developer turns before the first other one."""
        for at, turn in enumerate(self.turns):
            if turn.role not in ("system", "developer"):
                return self.turns[:at]
        return self.turns

    def parts(self) -> Iterator[Part]:
        """Yield every part of every turn, in order; results' own parts are not entered."""
        for turn in self.turns:
            yield from turn.parts
