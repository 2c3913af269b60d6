"""Ollama's chat and generate APIs, and the servers that speak them.

Layer: dialects. Knows every field of `/api/chat` and `/api/generate` as the `ollama` package 0.6.3
types it. A call of generate has the variant `generate`: it is answered so, and asked as a chat in
every other dialect.
Spec: https://github.com/ollama/ollama/blob/main/docs/api.md

A call's options and tools are in `call_reader` and `call_writer`, its messages in `turn_reader` and
`turn_writer`; replies are in `reader` and `writer`, errors in `errors`, the rules of a stream in
`grammar`.
"""

import re

from rawproxy.dialects import glance as glancing
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.ollama_chat.call_reader import OLLAMA, CallReader
from rawproxy.dialects.ollama_chat.call_writer import write_call
from rawproxy.dialects.ollama_chat.errors import read_error, write_error
from rawproxy.dialects.ollama_chat.grammar import LineGrammar
from rawproxy.dialects.ollama_chat.reader import LineReader
from rawproxy.dialects.ollama_chat.writer import LineWriter, write_body
from rawproxy.dialects.reading import Fields
from rawproxy.wire import ndjson
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END",
    "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_error", "read_reply", "stream_reader",
    "stream_writer", "write_call", "write_error", "write_reply",
]  # fmt: skip

NAME = OLLAMA
FRAMING: Framing = ndjson
MODEL_FIELD = "model"
REPLY_MODEL: tuple[str, ...] = ("model",)
STREAM_END = b""
KEEPALIVE_BEGINS = False
MARKS: Marking = re.compile(
    rb'"(?:done"\s*:\s*true|error"\s*:)'
)  # one literal first: found with memchr


def glance(body: bytes, given: Given) -> Glance:
    """Return the model, and whether a stream is asked for: by default one is."""
    return glancing.glance(body, given, n="", streams=True)


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a request."""
    return CallReader(Fields.of(body), vault, given).read()


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: a stream of one line."""
    return LineReader(back).read_body(body)


# The API puts no id into a reply: `reply_id` is there because other dialects do.
def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,  # noqa: ARG001
    now: int,
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, now)


def stream_reader(back: Back) -> LineReader:
    """Return a reader for one stream."""
    return LineReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> LineWriter:  # noqa: ARG001
    """Return a writer for one stream."""
    return LineWriter(call, now)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: every stream tells its usage without being asked."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no line is there for usage alone."""
    return False


def grammar() -> LineGrammar:
    """Return a checker for one stream."""
    return LineGrammar()
