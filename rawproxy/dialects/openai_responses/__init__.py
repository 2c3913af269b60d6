"""OpenAI Responses, and the servers that speak it.

Layer: dialects. Knows every field of the API as the `openai` package 3.51.0 types it, and what
Codex adds: `client_metadata`, tools among the input items.
Spec: https://platform.openai.com/docs/api-reference/responses

A call's options are in `call_reader` and `call_writer`, its conversation in `item_reader` and
`item_writer`, its tools in `tool_reader` and `tool_writer`, `ledger` has what is lost on the way;
replies are in `reader`, `writer` (streams) and `body`, with `items` and `failures` for their parts,
the rules of a stream in `grammar`. `reasoning` is what calls and replies share.
"""

from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Glance, Marking
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.glance import glance as look
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.openai_responses.body import write_body
from rawproxy.dialects.openai_responses.call_reader import CallReader
from rawproxy.dialects.openai_responses.call_writer import write_call
from rawproxy.dialects.openai_responses.grammar import ResponseGrammar
from rawproxy.dialects.openai_responses.reader import ResponseReader
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.writer import ResponseWriter
from rawproxy.dialects.openai_shared import read_error, write_error
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError
from rawproxy.wire import sse
from rawproxy.wire.frame import Frame, Framing

__all__ = [
    "FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance", "grammar", "is_usage_only",
    "read_call", "read_count", "read_error", "read_reply", "stream_reader", "stream_writer",
    "write_call", "write_count", "write_error", "write_reply",
]  # fmt: skip

NAME = RESPONSES
FRAMING: Framing = sse
MODEL_FIELD = "model"
REPLY_MODEL: tuple[str, ...] = ("model", "response.model")
STREAM_END = b""
KEEPALIVE_BEGINS = True
"""Its clients take no frame before `response.created`."""
MARKS: Marking = Marks(
    rb'type"\s*:\s*"(?:response\.(?:completed|incomplete|failed|cancelled)|error)"|error"\s*:\s*\{',
    rb"^event: ?(?:response\.(?:completed|incomplete|failed|cancelled)|error)",
    quiet=b"event: response.output_text.delta\ndata: {",
)

_INPUTS = ("input", "previous_response_id", "conversation", "prompt")


def glance(body: bytes, given: Given) -> Glance:
    """Return the model and whether a stream is asked for. There is one answer, always."""
    return look(body, given, n="")


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a request."""
    fields = Fields.of(body)
    if not (given.model or fields.has("model") or fields.has("prompt")):
        raise ClientError("model: field required", param="model")
    if not any(fields.has(name) for name in _INPUTS):
        raise ClientError(f"one of {', '.join(_INPUTS)} is required", param="input")
    return CallReader(fields, vault, given).read()


def read_count(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:
    """Read a question for the tokens of a call (`input_tokens`): a request of which any field may lack."""
    return CallReader(Fields.of(body), vault, given).read()


def write_count(tokens: int) -> bytes:
    """Return the answer to `input_tokens`."""
    return b'{"object":"response.input_tokens","input_tokens":%d}' % tokens


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: each item is read as one that is complete when it starts."""
    return ResponseReader(back).read_body(body)


def write_reply(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id, now)


def stream_reader(back: Back) -> ResponseReader:
    """Return a reader for one stream."""
    return ResponseReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> ResponseWriter:
    """Return a writer for one stream."""
    return ResponseWriter(call, reply_id, now)


def ask_usage(body: bytes) -> bytes | None:  # noqa: ARG001
    """Return None: every stream tells its usage without being asked."""
    return None


def is_usage_only(frame: Frame) -> bool:  # noqa: ARG001
    """Return False: no frame is there for usage alone."""
    return False


def grammar() -> ResponseGrammar:
    """Return a checker for one stream."""
    return ResponseGrammar()
