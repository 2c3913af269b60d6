"""Anthropic's legacy text completions (`/v1/complete`): one transcript in, its continuation out.

Layer: dialects. Knows every field of the API as the `anthropic` package 0.125.0 types it. A stream
has two forms, by the `anthropic-version` of the client:

    2023-06-01    named events, each with the text that is new; the one with `stop_reason` is last
    2023-01-01    (or none) data only, each with all of the text so far; then `data: [DONE]`

Both are read, whichever comes. A client gets the form of its version (`Call.variant`); the first
SDKs (`anthropic` 0.2) know no events but pings.
Spec: https://platform.claude.com/docs/en/api/complete

A prompt is taken apart and put together in `transcript`, the rest of a call in `call_reader` and
`call_writer`; replies are in `reader` and `writer`, the rules of a stream in `grammar`.
"""

from rawproxy.dialects.anthropic_complete.call_reader import COMPLETE, CallReader
from rawproxy.dialects.anthropic_complete.call_writer import write_call
from rawproxy.dialects.anthropic_complete.grammar import CompletionGrammar
from rawproxy.dialects.anthropic_complete.reader import CompletionReader
from rawproxy.dialects.anthropic_complete.writer import CompletionWriter, write_body
from rawproxy.dialects.anthropic_shared import read_error, write_error
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.glance import glance as glance_at
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.reading import Fields
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, Framing

__all__ = ["FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_error", "read_reply", "stream_reader", "stream_writer", "write_call", "write_error", "write_reply"]  # fmt: skip

NAME = COMPLETE
FRAMING: Framing = sse
MODEL_FIELD = "model"
KEEPALIVE_BEGINS = False
REPLY_MODEL: tuple[str, ...] = ("model",)
# 2023-06-01 has no terminator, and the clients of 2023-01-01 skip theirs.
STREAM_END = b""
MARKS: Marking = Marks(
    rb'(?:stop_reason|exception|error)"(?!\s*:\s*null)', rb"\[DONE\]|^event: ?error",
    quiet=b"event: completion\ndata: {",
)  # fmt: skip


def glance(body: bytes, given: Given) -> Glance:
    """Return the model, and whether a stream is asked for. There is always one answer."""
    return glance_at(body, given, n="")


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a request; `given.variant` is the client's `anthropic-version`."""
    return CallReader(Fields.of(body), vault, given).read()


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply."""
    return CompletionReader(back).read_body(body)


# The API puts no time into a reply: `now` is there because other dialects do.
def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,
    now: int,  # noqa: ARG001
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id)


def stream_reader(back: Back) -> CompletionReader:
    """Return a reader for one stream of either form."""
    return CompletionReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> CompletionWriter:  # noqa: ARG001
    """Return a writer for one stream of the form that the client knows."""
    return CompletionWriter(call, reply_id)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: this API never tells its usage."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no frame is there for usage alone."""
    return False


def grammar() -> CompletionGrammar:
    """Return a checker for one stream of either form."""
    return CompletionGrammar()
