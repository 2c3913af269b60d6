"""Google's Gemini API: generateContent, streamGenerateContent and countTokens.

Layer: dialects. Knows every field of the API as `google-genai` 3.3.0 types it, for Gemini's own
API and for Vertex AI.
Spec: https://ai.google.dev/api/generate-content

The path names the model, and says whether the reply streams. A call's options and tools are in
`call_reader` and `call_writer`, with `schemas`; its conversation in `turn_reader`, `turn_writer`
and `part_writer`; `spelling` has the names of fields, `ledger` what is lost, `signatures` what
seals a part. Replies are in `reader` and `writer`, with `partial_args`, `grounding` and
`logprobs`; errors in `errors`, the rules of a stream in `grammar`.
"""

import re

from rawproxy.dialects import glance as glances
from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.gemini.call_reader import CallReader
from rawproxy.dialects.gemini.call_writer import write_call
from rawproxy.dialects.gemini.errors import read_error, write_error
from rawproxy.dialects.gemini.grammar import ChunkGrammar
from rawproxy.dialects.gemini.reader import ChunkReader
from rawproxy.dialects.gemini.spelling import GEMINI, Object
from rawproxy.dialects.gemini.writer import ChunkWriter, write_body
from rawproxy.dialects.losses import Loss
from rawproxy.errors import ClientError, WireError
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END",
    "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_count", "read_error",
    "read_reply", "stream_reader", "stream_writer", "write_call", "write_count", "write_error",
    "write_reply",
]  # fmt: skip

NAME = GEMINI
FRAMING: Framing = sse
MODEL_FIELD = ""
REPLY_MODEL: tuple[str, ...] = ("modelVersion",)
STREAM_END = b""
KEEPALIVE_BEGINS = False
MARKS: Marking = re.compile(rb'"(?:finishReason|blockReason|usageMetadata|error)"\s*:')

_CONFIGS = ("generationConfig", "generation_config")
_CHOICES = ("candidateCount", "candidate_count")


def glance(body: bytes, given: Given) -> Glance:
    """Return the model and whether the reply streams, which the path says, and how many answers."""
    said = Given(given.model, bool(given.stream), given.variant)
    seen = glances.glance(body, said, model="", n="")
    try:
        configs = glances.values(body, _CONFIGS).values()
        counts = [
            found
            for config in configs
            if config.startswith(b"{")
            for found in glances.values(config, _CHOICES).values()
        ]
    except WireError as error:
        raise ClientError(f"the body cannot be read: {error}") from error
    if len(configs) > 1 or len(counts) > 1:
        raise ClientError("generationConfig: it is there in two spellings")
    many = counts[0] if counts else b""
    return Glance(seen.model, seen.stream, int(many) if many.isdigit() and len(many) < 4 else 1)


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a request."""
    return CallReader(Object.of(body), vault, given).read()


def read_count(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a question for the tokens of a call, or of its contents (`countTokens`)."""
    asked = Object.of(body)
    return CallReader(asked.object("generateContentRequest") or asked, vault, given).read()


def write_count(tokens: int) -> bytes:
    """Return the answer to `countTokens`."""
    return b'{"totalTokens":%d}' % tokens


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: a stream of one chunk."""
    return ChunkReader(back).read_body(body)


# The API puts no date into a reply: `now` is there because other dialects do.
def write_reply(
    events: list[Event],
    call: Call,
    reply_id: str,
    now: int,  # noqa: ARG001
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id)


def stream_reader(back: Back) -> ChunkReader:
    """Return a reader for one stream."""
    return ChunkReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> ChunkWriter:  # noqa: ARG001
    """Return a writer for one stream."""
    return ChunkWriter(call, reply_id)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: every stream tells its usage without being asked."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no chunk is there for usage alone."""
    return False


def grammar() -> ChunkGrammar:
    """Return a checker for one stream."""
    return ChunkGrammar()
