"""What a reply says, in no dialect. A reply is a list of these events, streamed or not.

Layer: dialects. Declarations only.

The order that readers keep and writers rely on:

    Start  precedes all but a lone Fail
    Open   numbers blocks densely in order of opening; several may be open at once
    Delta, Note, Seal   belong to an open block (a Note may also follow its Close, until Stop)
    Close  ends a block
    Usage  any number of times, totals: the last one wins, field by field; may precede Fail
    Stop   once for each choice, as soon as it is known; nothing of that choice is open after it
    End    once, last. Or Fail, after which nothing follows and nobody closes what was open:
           a made-up Close would show the client a finished tool call, which it may run.

An event's kind is its type, and nothing inherits from it: where each event passes, `type(event) is
Delta` stands for `isinstance`, which costs twice as much where it does not fit.
"""

from typing import Literal, final

import msgspec

from rawproxy.dialects.envelope import Seal

__all__ = [
    "NO_JSON",
    "UNSAID",
    "Close",
    "Delta",
    "End",
    "Event",
    "Fail",
    "FailKind",
    "Note",
    "Open",
    "Overflow",
    "Reason",
    "Sealed",
    "Start",
    "Stop",
    "Usage",
    "UsageSource",
    "Whole",
]

BlockKind = Literal["text", "thinking", "tool", "refusal"]
Reason = Literal[
    "end", "length", "tools", "stop_sequence", "refusal", "filter", "pause", "context", "malformed",
    "compaction",
]  # fmt: skip
UsageSource = Literal["reported", "derived", "estimated"]
FailKind = Literal[
    "invalid", "overflow", "authentication", "billing", "permission", "not_found", "too_large",
    "rate_limit", "server", "timeout", "overloaded",
]  # fmt: skip
"""The rows of the error table: what went wrong, in no dialect."""


@final
class Start(msgspec.Struct, frozen=True, gc=False, tag="start", omit_defaults=True):
    """The model has begun to answer. `created` is Unix seconds."""

    id: str | None = None
    model: str | None = None
    created: int | None = None


@final
class Open(msgspec.Struct, frozen=True, tag="open", omit_defaults=True):
    """A block begins. `block` counts densely from 0 over the whole reply, all choices together.

    For a tool: its id, name, what its input is (`function` for JSON arguments, `freeform` for
    text), its namespace, and who runs it. A `seal` here belongs to the tool call or text itself.
    """

    block: int
    kind: BlockKind
    choice: int = 0
    id: str | None = None
    name: str | None = None
    tool: str = "function"
    namespace: str | None = None
    runs: Literal["client", "vendor"] = "client"
    phase: str | None = None
    seal: Seal | None = None


@final
class Delta(msgspec.Struct, frozen=True, gc=False, tag="delta", omit_defaults=True):
    """More of a block: text, or a piece of tool arguments as JSON text (freeform: as input text).

    `text` is empty only where `logprobs` (the vendor's JSON, as it stands) is given.
    """

    block: int
    text: str
    logprobs: msgspec.Raw = msgspec.Raw()


@final
class Note(msgspec.Struct, frozen=True, tag="note", omit_defaults=True):
    """A citation or annotation of a text block; `start` and `end` are code points of its text."""

    block: int
    url: str | None = None
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None
    dialect: str = ""
    raw: msgspec.Raw = msgspec.Raw()


@final
class Sealed(msgspec.Struct, frozen=True, tag="seal"):
    """The open thinking block `block` is sealed; at most once a block."""

    block: int
    seal: Seal


@final
class Close(msgspec.Struct, frozen=True, gc=False, tag="close"):
    """The block is complete."""

    block: int


@final
class Whole(msgspec.Struct, frozen=True, tag="whole", omit_defaults=True):
    """An item that the vendor made and ran itself, complete: a search and its results, for example.

    Written whole into its own dialect, and a loss elsewhere. `shows` names its type.
    """

    dialect: str
    raw: msgspec.Raw
    shows: str
    choice: int = 0


NO_JSON = msgspec.Raw()
"""No JSON at all. As the default itself it is left out where it is encoded; another empty one is not."""


@final
class Usage(msgspec.Struct, frozen=True, tag="usage", omit_defaults=True):
    """Tokens counted so far. Totals, never increments. None is "not said", zero is said.

    `input` holds `cache_read` and `cache_write` inside it, `output` holds `reasoning`: the way
    OpenTelemetry's GenAI attributes count. `server_tools` is the vendor's JSON, as it stands.
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    prediction_accepted: int | None = None
    prediction_rejected: int | None = None
    server_tools: msgspec.Raw = NO_JSON
    source: UsageSource = "reported"

    def merged(self, later: "Usage") -> "Usage":
        """Return both counts as one: what `later` says wins, what it leaves out stays."""
        if self == UNSAID and (later.server_tools or later.server_tools is NO_JSON):
            return later
        said = {
            name: value
            for name in self.__struct_fields__
            if (value := getattr(later, name)) is not None and value != NO_JSON
        }
        return msgspec.structs.replace(self, **said)


UNSAID = Usage()
"""Nothing was counted."""


@final
class Stop(msgspec.Struct, frozen=True, tag="stop", omit_defaults=True):
    """A choice is complete, and why. `sequence` is the stop sequence that matched, where that is told.

    `detail` explains a refusal (`category` names its kind); `word` is the upstream's own spelling.
    """

    reason: Reason
    choice: int = 0
    sequence: str | None = None
    detail: str | None = None
    category: str | None = None
    word: str | None = None


@final
class End(msgspec.Struct, frozen=True, gc=False, tag="end", omit_defaults=True):
    """Nothing follows. `tier` is the service tier that was used."""

    tier: str | None = None


class Overflow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How far a call was over the model's context: tokens of input, of output asked for, the limit."""

    input: int
    limit: int
    output: int | None = None


@final
class Fail(msgspec.Struct, frozen=True, tag="fail", omit_defaults=True):
    """The reply ends here, broken. `retry_after` is seconds; `status` is HTTP's, where one was told."""

    kind: FailKind
    message: str
    code: str | None = None
    param: str | None = None
    status: int | None = None
    retry_after: float | None = None
    overflow: Overflow | None = None


Event = Start | Open | Delta | Note | Sealed | Close | Whole | Usage | Stop | End | Fail
