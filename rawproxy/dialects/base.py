"""What a module must offer to be a dialect, and what its functions pass around.

Layer: dialects. Declarations only: mypy checks each dialect *module* against `Dialect` (PEP 544).
"""

import re
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import Takes
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "Back",
    "Carry",
    "Dialect",
    "ErrorReply",
    "Given",
    "Glance",
    "Grammar",
    "Marking",
    "StreamReader",
    "StreamWriter",
    "Target",
    "ToolName",
    "Written",
]


Carry = Callable[[list[bytes]], bytes]
"""Writes more pieces of a text, at least one, each given as JSON text without quotes."""


class Given(msgspec.Struct, frozen=True):
    """What a request says outside of its body, in its path and header: None where it does not.

    `variant` is the dialect's own, e.g. `2023-01-01` of Anthropic's legacy API.
    """

    model: str | None = None
    stream: bool | None = None
    variant: str = ""


NOTHING_GIVEN = Given()


class Glance(msgspec.Struct, frozen=True):
    """The little of a call that a decision needs: the model, whether it streams, how many answers."""

    model: str
    stream: bool
    choices: int = 1


class ErrorReply(NamedTuple):
    """An error response: its status, its body, and header fields beside Content-Type."""

    status: int
    body: bytes
    fields: tuple[tuple[bytes, bytes], ...] = ()


class Target(msgspec.Struct, frozen=True):
    """Whom a call is written for: the model's name there, what it takes, whose seals it opens.

    `text_field` is plain text's own: the field of each line that holds the text; "" for bare text.
    """

    model: str
    takes: Takes
    origin: Origin = UNKNOWN
    text_field: str = ""


class ToolName(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tool was called by the client, where the upstream knows it by another name or kind."""

    name: str
    namespace: str | None = None
    kind: str = "function"


class Back(msgspec.Struct, frozen=True):
    """What a reply must undo of what `write_call` did, and whose seals it brings.

    Attributes:
        tools: the upstream's tool name -> the client's.
        ids: the upstream's tool id -> the client's, where an id had to be shortened.
        forced_tool: the tool whose arguments are the reply's text (a schema forced on old models).
        continues: the reply goes on with a text of the client's (prefill).
        text_field: as in `Target`.
        partial: the reader is shown some frames only, so that what it did not see proves nothing.
        stops: stop sequences that the upstream cannot take: the reply is cut there by us.
        seed: makes ids that the upstream left out unique in the conversation; the exchange's id.
    """

    origin: Origin = UNKNOWN
    tools: dict[str, ToolName] = {}
    ids: dict[str, str] = {}
    forced_tool: str | None = None
    stops: tuple[str, ...] = ()
    continues: bool = False
    text_field: str = ""
    seed: str = ""
    partial: bool = False


class Written(msgspec.Struct, frozen=True):
    """A call in a dialect: the body to send, what it could not say, what the reply has to undo."""

    body: bytes
    losses: list[Loss]
    back: Back


class StreamReader(Protocol):
    """Upstream frames to events. Holds whatever state the API's grammar needs.

    It may be fed only some of the frames (a pass-through shows it those that match `MARKS`).
    """

    unknown: int
    """Frames and blocks that no table knows. Counted, never an error."""

    def read(self, frame: Frame) -> list[Event]:
        """Return what the frame says. UpstreamNonsense when it is not of the dialect at all."""
        ...

    def close(self) -> list[Event]:
        """Return what the end of the bytes says: End after every Stop; UpstreamCut before."""
        ...


class StreamWriter(Protocol):
    """Events to the bytes a client of this dialect expects."""

    @property
    def losses(self) -> list[Loss]:
        """What of the reply had no words here."""
        ...

    def write(self, event: Event) -> bytes:
        """Return the event's bytes: whole frames or nothing. Fail gives the one terminal error."""
        ...

    def carry(self, block: int) -> Carry | None:
        """Return what writes more Deltas of an open text block, and nothing else.

        It is given the texts as `encode` has them, without quotes, and stays good while nothing but
        Deltas of this block and keepalives is written. None where a Delta of this block takes more
        than that; and for every other kind of block, whose text readers have to know: it is sealed,
        or has to be JSON.
        """
        ...

    def keepalive(self) -> bytes:
        """Return a frame that means nothing and may stand here."""
        ...

    def joined(self) -> None:
        """Learn that frames of the upstream itself went out: the stream has begun without us."""
        ...


class Marking(Protocol):
    """Finds the frames that a pass-through has to note: a pattern, or two in one (`marks.Marks`)."""

    def search(self, frame: bytes, /) -> re.Match[bytes] | None:
        """Return where the frame is marked; None where it is not."""
        ...


class Grammar(Protocol):
    """Checks a stream, frame by frame, against what the API promises its clients."""

    def check(self, frame: Frame) -> list[str]:
        """Return each rule the frame breaks as `rule: what is wrong`."""
        ...

    def close(self) -> list[str]:
        """Return what the end of the stream breaks."""
        ...


class Dialect(Protocol):
    """A dialect is a module. Bodies and frames are bytes; the clock and ids are arguments."""

    NAME: str
    FRAMING: Framing
    """How its streams are framed."""

    MODEL_FIELD: str
    """The body's field that names the model; "" where the path does."""

    REPLY_MODEL: tuple[str, ...]
    """Where replies and their frames name the model, as dotted paths, e.g. `message.model`."""

    MARKS: Marking
    """Matches in every frame that a pass-through has to note: usage, stop, end, error."""

    STREAM_END: bytes
    """The terminator, written where the upstream left it out after its Stop; `b""` without one."""

    KEEPALIVE_BEGINS: bool
    """Whether a keepalive that stands before the reply's first frame begins the reply itself."""

    def glance(self, body: bytes, given: Given) -> Glance:
        """Return what can be told of a request without reading all of it. ClientError."""
        ...

    def read_call(self, body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
        """Read a request. ClientError names what is wrong with it."""
        ...

    def write_call(self, call: Call, target: Target) -> Written:
        """Write a request for `target`. Untranslatable where the answer would be corrupted."""
        ...

    def read_reply(self, body: bytes, back: Back) -> list[Event]:
        """Read a whole reply as the events a stream of it would have made.

        UpstreamNonsense when it is none; UpstreamCut when it is a list of chunks without an end.
        """
        ...

    def write_reply(
        self, events: list[Event], call: Call, reply_id: str, now: int
    ) -> tuple[bytes, list[Loss]]:
        """Write whole events as a reply body. `reply_id` is used where the upstream gave none."""
        ...

    def stream_reader(self, back: Back) -> StreamReader:
        """Return a reader for one reply stream."""
        ...

    def stream_writer(self, call: Call, reply_id: str, now: int) -> StreamWriter:
        """Return a writer for one reply stream; `now` is Unix seconds."""
        ...

    def read_error(self, status: int, body: bytes) -> Fail:
        """Read an error response, of whatever shape; never raises."""
        ...

    def write_error(self, fail: Fail) -> ErrorReply:
        """Return the HTTP response that says `fail`."""
        ...

    def ask_usage(self, body: bytes) -> bytes | None:
        """Return a passed call that asks for usage in its stream; None where that needs no asking."""
        ...

    def is_usage_only(self, frame: Frame) -> bool:
        """Return whether a frame is there only because `ask_usage` asked for it."""
        ...

    def grammar(self) -> Grammar:
        """Return a checker for one stream."""
        ...
