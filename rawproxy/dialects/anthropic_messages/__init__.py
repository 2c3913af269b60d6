"""Anthropic Messages, and the servers that speak it.

Layer: dialects. Knows every field of the API as the `anthropic` package 2.10.0 types it (version
2026-10-21), the sampling parameters of 2023-06-01, and what its betas add.
Spec: https://platform.claude.com/docs/en/api/messages

A call's options and tools are in `call_reader` and `call_writer`, its conversation in
`turn_reader` and `turn_writer`; replies are in `reader` and `writer`, the rules of a stream in
`grammar`.
"""

from rawproxy.dialects.anthropic_messages.call_reader import CallReader
from rawproxy.dialects.anthropic_messages.call_writer import write_call
from rawproxy.dialects.anthropic_messages.grammar import ReplyGrammar
from rawproxy.dialects.anthropic_messages.reader import MESSAGES, ReplyReader, read_plain
from rawproxy.dialects.anthropic_messages.writer import ReplyWriter, write_body
from rawproxy.dialects.anthropic_shared import read_error, write_error
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.glance import glance
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance", "grammar", "is_usage_only",
    "read_call", "read_count", "read_error", "read_reply", "stream_reader", "stream_writer",
    "write_call", "write_count", "write_error", "write_reply",
]  # fmt: skip

NAME = MESSAGES
FRAMING: Framing = sse
MODEL_FIELD = "model"
KEEPALIVE_BEGINS = False
REPLY_MODEL: tuple[str, ...] = ("model", "message.model")
STREAM_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
MARKS: Marking = Marks(
    rb'type"\s*:\s*"(?:message_(?:start|delta|stop)|error)"|error"\s*:',
    rb"^event: ?(?:message_(?:start|delta|stop)|error)",
    quiet=b"event: content_block_delta\ndata: {",
)


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:  # noqa: ARG001 (all of it stands in the body)
    """Read a request."""
    fields = Fields.of(body)
    if not fields.has("max_tokens"):
        raise ClientError("max_tokens: Field required", param="max_tokens")
    return CallReader(fields, vault).read()


def read_count(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:  # noqa: ARG001
    """Read a question for the tokens of a call (`count_tokens`): a request without `max_tokens`."""
    return CallReader(Fields.of(body), vault).read()


def write_count(tokens: int) -> bytes:
    """Return the answer to `count_tokens`."""
    return b'{"input_tokens":%d}' % tokens


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: each block is read as one that is complete when it starts."""
    plain = read_plain(body)
    return ReplyReader(back).read_body(body) if plain is None else plain


# The API puts no time into a reply: `now` is there because other dialects do.
def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,
    now: int,  # noqa: ARG001
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id)


def stream_reader(back: Back) -> ReplyReader:
    """Return a reader for one stream."""
    return ReplyReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> ReplyWriter:  # noqa: ARG001
    """Return a writer for one stream."""
    return ReplyWriter(call, reply_id)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: every stream tells its usage without being asked."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no frame is there for usage alone."""
    return False


def grammar() -> ReplyGrammar:
    """Return a checker for one stream."""
    return ReplyGrammar()
