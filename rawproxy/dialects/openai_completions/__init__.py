"""OpenAI's legacy Completions, and the servers that speak it: a prompt in, its continuation out.

Layer: dialects. Knows every field of the API as the `openai` package 3.51.0 types it, and two that
servers share: `top_k` and `min_p`.
Spec: https://platform.openai.com/docs/api-reference/completions

A call is read in `call_reader` and written in `call_writer`; replies are in `reader` and `writer`,
their log probabilities in `logprobs`, the rules of a stream in `grammar`.
"""

from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.glance import glance as glance_once
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.openai_completions.call_reader import COMPLETIONS, CallReader, count_prompts
from rawproxy.dialects.openai_completions.call_writer import write_call
from rawproxy.dialects.openai_completions.grammar import CompletionGrammar
from rawproxy.dialects.openai_completions.reader import CompletionReader
from rawproxy.dialects.openai_completions.writer import CompletionWriter, write_body
from rawproxy.dialects.openai_shared import read_error, write_error
from rawproxy.dialects.reading import Fields
from rawproxy.dialects.usage_chunk import ask_usage, is_usage_only
from rawproxy.wire import sse
from rawproxy.wire.frame import Framing

__all__ = ["FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_error", "read_reply", "stream_reader", "stream_writer", "write_call", "write_error", "write_reply"]  # fmt: skip

NAME = COMPLETIONS
FRAMING: Framing = sse
MODEL_FIELD = "model"
KEEPALIVE_BEGINS = False
REPLY_MODEL: tuple[str, ...] = ("model",)
STREAM_END = b"data: [DONE]\n\n"
MARKS: Marking = Marks(
    rb'(?:finish_reason|usage|error)"(?!\s*:\s*null)', rb"\[DONE\]|^event: ?error"
)


def glance(body: bytes, given: Given) -> Glance:
    """Return the model, whether a stream is asked for, and how many answers: n for each prompt."""
    found = glance_once(body, given)
    return Glance(found.model, found.stream, found.choices * count_prompts(body))


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:  # noqa: ARG001 (all of it stands in the body)
    """Read a request. The prompt is kept as it is, and is one user turn for other dialects."""
    return CallReader(Fields.of(body), vault).read()


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: it has the form of a chunk."""
    return CompletionReader(back).read_body(body)


def write_reply(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id, now)


def stream_reader(back: Back) -> CompletionReader:
    """Return a reader for one stream of chunks."""
    return CompletionReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> CompletionWriter:
    """Return a writer for one stream of chunks."""
    return CompletionWriter(call, reply_id, now)


def grammar() -> CompletionGrammar:
    """Return a checker for one stream of chunks."""
    return CompletionGrammar()
