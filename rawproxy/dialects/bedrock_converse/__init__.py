"""Converse and ConverseStream of Amazon Bedrock.

Layer: dialects. Knows every field of the API as botocore 1.44.5 models it (`bedrock-runtime`,
2023-09-30), and those fields of Claude's own API that travel inside it.
Spec: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

The path names the model, and says whether the reply streams. A call's options and tools are in
`call_reader` and `call_writer`, its conversation in `turn_reader`, `turn_writer` and `blocks`;
replies are in `reader` and `writer`, errors in `errors`, the rules of a stream in `grammar`.
"""

import re

from rawproxy.dialects import glance as glances
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.bedrock_converse.call_reader import CallReader
from rawproxy.dialects.bedrock_converse.call_writer import write_call
from rawproxy.dialects.bedrock_converse.errors import read_error, write_error
from rawproxy.dialects.bedrock_converse.grammar import ReplyGrammar
from rawproxy.dialects.bedrock_converse.reader import CONVERSE, ReplyReader
from rawproxy.dialects.bedrock_converse.writer import ReplyWriter, write_body
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError
from rawproxy.wire import eventstream
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance",
    "grammar", "is_usage_only", "read_call", "read_count", "read_error", "read_reply",
    "stream_reader", "stream_writer", "write_call", "write_count", "write_error", "write_reply",
]  # fmt: skip

NAME = CONVERSE
FRAMING: Framing = eventstream
MODEL_FIELD = ""
KEEPALIVE_BEGINS = False
REPLY_MODEL: tuple[str, ...] = ()
STREAM_END = b""
MARKS: Marking = re.compile(
    rb":event-type\x07..(?:messageStop|metadata)|:message-type\x07..(?:exception|error)", re.DOTALL
)


def glance(body: bytes, given: Given) -> Glance:
    """Return the model and whether the reply streams, which the path says; the body must be JSON."""
    said = Given(given.model, bool(given.stream), given.variant)
    return glances.glance(body, said, model="", n="")


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a request."""
    return CallReader(Fields.of(body), vault, given).read()


def read_count(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a question for the tokens of a call (`count-tokens`)."""
    asked = Fields.of(body).object("input")
    call = None if asked is None else asked.object("converse")
    if asked is not None and asked.has("invokeModel"):
        path = asked.at("invokeModel")
        raise ClientError(f"{path}: only the tokens of `converse` can be counted here", param=path)
    if call is None:
        raise ClientError("input.converse: field required", param="input.converse")
    return CallReader(call, vault, given).read()


def write_count(tokens: int) -> bytes:
    """Return the answer to `count-tokens`."""
    return b'{"inputTokens":%d}' % tokens


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: each block is read as one that is complete when it starts."""
    return ReplyReader(back).read_body(body)


# The API puts no id and no date into a reply: both are there because other dialects have them.
def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,  # noqa: ARG001
    now: int,  # noqa: ARG001
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call)


def stream_reader(back: Back) -> ReplyReader:
    """Return a reader for one stream."""
    return ReplyReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> ReplyWriter:  # noqa: ARG001
    """Return a writer for one stream."""
    return ReplyWriter(call)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: every stream tells its usage without being asked."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no message is there for usage alone."""
    return False


def grammar() -> ReplyGrammar:
    """Return a checker for one stream."""
    return ReplyGrammar()
