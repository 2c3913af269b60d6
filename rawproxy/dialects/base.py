"""What a module must offer to be a dialect, and what its functions pass around.

Layer: dialects. Declarations only: mypy checks each dialect *module* against `Dialect` (PEP 544).
"""

import re
from typing import Protocol

import msgspec

from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault
from rawproxy.dialects.events import Event, Fail
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import Takes
from rawproxy.wire.frame import Frame

__all__ = [
    "Back",
    "Dialect",
    "Grammar",
    "StreamReader",
    "StreamWriter",
    "Target",
    "ToolName",
    "Written",
]


class Target(msgspec.Struct, frozen=True):
    """Whom a call is written for: the model's name there, what it takes, whose seals it opens."""

    model: str
    takes: Takes
    origin: Origin = UNKNOWN


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
        partial: the reader is shown some frames only, so that what it did not see proves nothing.
        seed: makes ids that the upstream left out unique in the conversation; the exchange's id.
    """

    origin: Origin = UNKNOWN
    tools: dict[str, ToolName] = {}
    ids: dict[str, str] = {}
    forced_tool: str | None = None
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

    losses: list[Loss]
    """What of the reply had no words here."""

    def write(self, event: Event) -> bytes:
        """Return the event's bytes: whole frames or nothing. Fail gives the one terminal error."""
        ...

    def keepalive(self) -> bytes:
        """Return a frame that means nothing and may stand here."""
        ...

    def joined(self) -> None:
        """Learn that frames of the upstream itself went out: the stream has begun without us."""
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
    STREAM_TYPE: bytes
    """Content-Type of its streams."""

    MARKS: re.Pattern[bytes]
    """Matches in every frame that a pass-through has to note: usage, stop, end, error."""

    STREAM_END: bytes
    """The terminator, written where the upstream left it out after its Stop."""

    def read_call(self, body: bytes, vault: Vault) -> Call:
        """Read a request. ClientError names what is wrong with it."""
        ...

    def write_call(self, call: Call, target: Target) -> Written:
        """Write a request for `target`. Untranslatable where the answer would be corrupted."""
        ...

    def read_reply(self, body: bytes, back: Back) -> list[Event]:
        """Read a whole reply as the events a stream of it would have made. UpstreamNonsense."""
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

    def write_error(self, fail: Fail) -> tuple[int, bytes]:
        """Return the HTTP status and body that say `fail`."""
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
