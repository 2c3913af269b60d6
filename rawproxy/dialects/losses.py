"""What a writer could not say in its dialect, and what is to be done about it.

Layer: dialects. Source of the policy: the mapping tables of the dialects; map, else tell, else
refuse.

A loss names the field as the client wrote it. Its policy is *tell* by default (header, Record,
metric); *refuse* where leaving it out would corrupt the answer; *silent* where it means nothing to
a model.
"""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from rawproxy.errors import Untranslatable

__all__ = ["HEADER_BYTES", "Loss", "Why", "header", "policy", "refuse", "told"]

Why = Literal["no such thing there", "narrower there", "not this model", "owned elsewhere"]

HEADER_BYTES = 2048
"""Bytes the `x-rawproxy-loss` field may take; what does not fit is in the Record."""

_ONE_ANSWER = "there would be one answer where several were asked for"
_SOUND = "the model would not hear what it is asked about"
_STATE = "what it refers to is kept elsewhere: the model would not see it"

REFUSED: dict[str, str] = {
    "n": _ONE_ANSWER,
    "generationConfig.candidateCount": _ONE_ANSWER,
    "generation_config.candidate_count": _ONE_ANSWER,
    "audio": "the answer would be text where sound was asked for",
    "modalities": "the answer would be of another kind than asked for",
    "messages[].content[].input_audio": _SOUND,
    "input[].content[].input_audio": _SOUND,
    "mcp_servers": "the model would be without its tools",
    "previous_response_id": _STATE,
    "conversation": _STATE,
    "prompt": "the template, the tokens or the further prompts would not be answered",
    "background": "the answer is fetched later, and nobody would keep it",
    "input[].item_reference": _STATE,
    "input[].compaction": _STATE,
    "input[].compaction_trigger": "the conversation would not be compacted",
    "generationConfig.responseModalities": "the answer would be of another kind than asked for",
    "generation_config.response_modalities": "the answer would be of another kind than asked for",
    "cachedContent": _STATE,
    "cached_content": _STATE,
    "continuationToken": _STATE,
    "continuation_token": _STATE,
    "suffix": "the text would not lead up to what follows it",
    "echo": "the answer would not begin with the prompt",
}
"""Fields whose absence would corrupt the answer, and how: the call is refused, a 400 names them."""

_SHAPE = "says only what kind of object it is"
_NEUTRAL = "changes nothing about the answer"

SILENT: dict[str, str] = {
    "stream_options.include_obfuscation": _NEUTRAL,
    "store": "nothing is kept here",
    "messages[].name": _NEUTRAL,
    "messages[].content[].image_url.detail": "every model looks as closely as it can",
    "tools[].type": _SHAPE,
    "tools[].eager_input_streaming": "arguments stream as they come anyway",
    "diagnostics": _NEUTRAL,
    "response_format.json_schema.name": "a label",
    "response_format.json_schema.strict": "replies are held to the schema where that can be done",
    "input[].id": "a label",
    "input[].type": _SHAPE,
    "input[].status": _NEUTRAL,
    "input[].summary": "empty",
    "input[].content": "empty",
    "input[].content[].type": _SHAPE,
    "input[].content[].annotations": "empty",
    "input[].content[].logprobs": _NEUTRAL,
    "input[].output[].type": _SHAPE,
    "include": "what was asked for comes where there is any",
    "truncation": "a call that is too long is told as an error",
    "client_metadata": _NEUTRAL,
    "reasoning.context": _NEUTRAL,
    "additionalModelResponseFieldPaths": "the stop sequence is told where it is known",
    "keep_alive": "whoever serves the model decides how long it stays loaded",
}
"""Fields that change nothing about the answer, and why: left out without a word."""

FIELD_LENGTH = 200
"""Characters of one field's name in the header: a client may invent names of any length."""

_INDEX = re.compile(r"\[\d+\]")
_UNPRINTABLE = re.compile(r"[^!-~]|,")


class Loss(msgspec.Struct, frozen=True, order=True):
    """One field that could not be said. `path` is the client's own, e.g. `messages[3].name`."""

    path: str
    why: Why

    @property
    def field(self) -> str:
        """The path with every index left out: `messages[].name`."""
        return _INDEX.sub("[]", self.path)


def policy(loss: Loss) -> Literal["tell", "refuse", "silent"]:
    """Return what is done about `loss`."""
    if loss.field in REFUSED:
        return "refuse"
    return "silent" if loss.field in SILENT else "tell"


def told(losses: Iterable[Loss]) -> list[Loss]:
    """Return those of `losses` that somebody has to hear of, each once, in order."""
    return [loss for loss in dict.fromkeys(losses) if policy(loss) != "silent"]


def refuse(losses: Iterable[Loss]) -> None:
    """Raise Untranslatable, naming every field, when one of `losses` would corrupt the answer."""
    fields = list(dict.fromkeys(loss.field for loss in losses if policy(loss) == "refuse"))
    if fields:
        listed = ", ".join(fields)
        raise Untranslatable(
            f"the upstream of this model cannot do: {listed}", param=fields[0], code="unsupported"
        )


def header(losses: Iterable[Loss]) -> bytes:
    """Return the value of `x-rawproxy-loss`: fields without indexes, comma-separated, ASCII.

    b"" when nothing was lost. What passes HEADER_BYTES is cut at a comma.
    """
    fields = dict.fromkeys(_printable(loss.field) for loss in told(losses))
    value = ",".join(fields).encode()
    return value if len(value) <= HEADER_BYTES else value[: value.rindex(b",", 0, HEADER_BYTES + 1)]


def _printable(field: str) -> str:
    # A client's own field names may hold anything; a comma or a control would break the header.
    return _UNPRINTABLE.sub("?", field[:FIELD_LENGTH])
