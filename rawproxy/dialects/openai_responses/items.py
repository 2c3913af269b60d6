"""Output items of the Responses API, and the response object around them.

Layer: dialects. What the reader, the stream's writer and the body's writer of `openai_responses`
share: the types of items, how each is spelled, usage.
Source: https://platform.openai.com/docs/api-reference/responses/object, and the types of the
`openai` package 3.51.0.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
from msgspec import Raw

from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Seal, Vault
from rawproxy.dialects.events import Note, Open, Reason, Stop, Usage
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.making import Item
from rawproxy.dialects.openai_responses.item_reader import CALLS
from rawproxy.dialects.openai_responses.reasoning import (
    REASONING,
    RESPONSES,
    plain_summary,
    write_reasoning,
)
from rawproxy.dialects.reading import decode, encode, whole_count

__all__ = [
    "ASIDE",
    "HOSTED",
    "Head",
    "Item",
    "Losses",
    "annotation",
    "incomplete",
    "member",
    "message",
    "part",
    "read_logprobs",
    "read_usage",
    "reasoning",
    "tool_call",
    "wrap_logprobs",
    "write_usage",
]

T = TypeVar("T")

HOSTED = frozenset({
    "additional_tools", "apply_patch_call", "apply_patch_call_output", "code_interpreter_call",
    "compaction", "computer_call", "computer_call_output", "custom_tool_call_output",
    "file_search_call", "function_call_output", "image_generation_call", "local_shell_call",
    "local_shell_call_output", "mcp_approval_request", "mcp_approval_response", "mcp_call",
    "mcp_list_tools", "program", "program_output", "shell_call", "shell_call_output",
    "tool_search_call", "tool_search_output", "web_search_call",
})  # fmt: skip
"""Types of the items that only this API has: each travels whole."""

ASIDE = re.compile(
    r"keepalive|response\.(?:(?:web_search|file_search|code_interpreter|image_generation|mcp|shell"
    r"|apply_patch)_call.*|(?:mcp_list_tools|audio|compaction|steer)\..+)"
)
"""Events beside the items: keepalives, and the vendor's own tools at work."""

_RESPONSE_ID = "resp_"
_STEM_LENGTH = 48
"""Characters of the response's id in those of its items: the API takes back ids of up to 64."""

_UNFIT = re.compile(r"[^A-Za-z0-9_-]")
_PREFIXES = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", REASONING: "rs"}

_INCOMPLETE: dict[Reason, str] = {
    "length": "max_output_tokens",
    "context": "max_output_tokens",
    "filter": "content_filter",
}
_TIERS = {"standard": "default", "batch": "default"}
"""Other vendors' words for the tier that this API calls by its own."""

Count = int | float | None
"""Tokens; some servers count in floats."""


class _InputDetails(msgspec.Struct):
    cached_tokens: Count = None
    cache_write_tokens: Count = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count = None


class _Usage(msgspec.Struct):
    input_tokens: Count = None
    input_tokens_details: _InputDetails | None = None
    output_tokens: Count = None
    output_tokens_details: _OutputDetails | None = None


class _Logprobs(msgspec.Struct):
    """How Chat Completions wraps the list: the form that a `Delta` carries."""

    content: list[Raw] | None = None


def member(members: Mapping[str, Raw], name: str, kind: type[T]) -> T | None:
    """Return a member decoded as `kind`; None when it is absent, null, or of another type."""
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return decode(raw, kind)
    except ValueError:
        return None


class Losses:
    """What of a reply had no words here, each thing once."""

    def __init__(self) -> None:
        self.found: list[Loss] = []

    def add(self, what: str | None) -> None:
        """Note that `what` of the reply was left out."""
        loss = Loss(f"reply.{what}", "no such thing there")
        if loss not in self.found:
            self.found.append(loss)


class Head(msgspec.Struct):
    """What a response says of itself from its first frame to its last.

    Its id is the upstream's where that is one of this API. The ids of items come from it, so that
    no two items of a conversation have the same.
    """

    call: Call
    id: str
    model: str
    created: int
    natives: set[str] = set()
    """Ids of the vendor's own reasoning items among the output."""

    @classmethod
    def of(cls, call: Call, reply_id: str, now: int, model: str | None = None) -> "Head":
        """Return the head of the reply `reply_id`, begun at `now` (Unix seconds)."""
        known = reply_id if reply_id.startswith(_RESPONSE_ID) else _RESPONSE_ID + reply_id
        return cls(call, known, model or call.model, now)

    def item_id(self, kind: str, index: int) -> str:
        """Return the id of the item of type `kind` at `index`: safe inside JSON as it stands."""
        stem = _UNFIT.sub("_", self.id.removeprefix(_RESPONSE_ID))[-_STEM_LENGTH:]
        return f"{_PREFIXES[kind]}_{stem}_{index}"

    def native_reasoning(self, item_id: str, text: str, seal: Seal | None) -> dict[str, Raw] | None:
        """Return the very item that was sealed; None when `seal` is of another form or text.

        Its encrypted content opens under its own id only: `item_id` is for an item that had none.
        None also for an id that the output has already: clients take no two of one.
        """
        if seal is None or seal.form != REASONING or not seal.covers(text):
            return None
        item = {"id": Raw(encode(item_id))} | write_reasoning(seal, text)
        own = member(item, "id", str)
        if not own:  # "", or no string
            own, item["id"] = item_id, Raw(encode(item_id))
        if own in self.natives:
            return None
        self.natives.add(own)
        return item

    def response(
        self,
        status: str,
        output: Sequence[object] = (),
        *,
        usage: Item | None = None,
        tier: str | None = None,
        reason: str | None = None,
        error: Item | None = None,
    ) -> Item:
        """Return the response object.

        Of what was asked it repeats what is short; a long list of tools in three frames helps
        nobody.

        Args:
            status: `in_progress`, `completed`, `incomplete` or `failed`.
            output: its items.
            usage: as `write_usage` makes it.
            tier: the service tier that was used.
            reason: why it is incomplete.
            error: why it failed.
        """
        call = self.call
        said: Item = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": error,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": None,
            "max_output_tokens": call.limit,
            "metadata": call.identity.metadata or {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": call.parallel_tools is not False,
            "previous_response_id": None,
            "store": False,
            "temperature": call.sampling.temperature,
            "tool_choice": "auto",
            "tools": [],
            "top_p": call.sampling.top_p,
            "truncation": "disabled",
            "usage": usage,
        }
        if tier is not None:
            said["service_tier"] = _TIERS.get(tier, tier)
        return said


def incomplete(stop: Stop, *, refused: bool) -> str | None:
    """Return why a reply that stopped so is incomplete; None when it is complete.

    Args:
        stop: why it stopped.
        refused: a refusal is among its parts: then the reply is a complete refusal.
    """
    if stop.reason == "refusal" and not refused:
        return "content_filter"
    return _INCOMPLETE.get(stop.reason)


def message(item_id: str, status: str, parts: Sequence[object], phase: str | None) -> Item:
    """Return a message item."""
    item: Item = {"id": item_id, "type": "message", "status": status, "role": "assistant"}
    item["content"] = parts
    return item if phase is None else item | {"phase": phase}


def part(
    kind: str, text: str = "", annotations: Sequence[object] = (), logprobs: Sequence[Raw] = ()
) -> Item:
    """Return a part of a message, of a block of `kind` text or refusal."""
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    said = {"type": "output_text", "text": text}
    return said | {"annotations": annotations, "logprobs": logprobs}


def tool_call(opened: Open, item_id: str, status: str, text: str) -> Item:
    """Return the item that calls a tool with the arguments or input `text`."""
    kind = "custom_tool_call" if opened.tool == "freeform" else "function_call"
    item: Item = {"id": item_id, "type": kind, "status": status, "call_id": opened.id}
    item |= {"name": opened.name, CALLS[kind][1]: text}
    return item if opened.namespace is None else item | {"namespace": opened.namespace}


def reasoning(
    item_id: str, text: str = "", seal: Seal | None = None, vault: Vault | None = None
) -> Item:
    """Return a reasoning item: a summary of one part, and the seal in an envelope."""
    item: Item = {"id": item_id, "type": REASONING, "summary": plain_summary(text)}
    if seal is not None and vault is not None:
        item["encrypted_content"] = vault.pack(seal)
    return item


def annotation(note: Note, length: int) -> Raw | Item | None:
    """Return `note` as an annotation of a text; None when it has no form here.

    Args:
        note: its span counts from the start of its text.
        length: code points of the text so far: what a note without a span is about.
    """
    if note.dialect == RESPONSES:
        return note.raw
    if note.url is None:
        return None
    return {
        "type": "url_citation",
        "url": note.url,
        "title": note.title or "",
        "start_index": note.start or 0,
        "end_index": length if note.end is None else note.end,
    }


def wrap_logprobs(raw: Raw) -> Raw | None:
    """Return a list of log probabilities as a `Delta` carries it; None when there are none."""
    try:
        found = decode(raw, list[Raw]) if raw else []
    except ValueError:
        return None
    return Raw(encode({"content": found})) if found else None


def read_logprobs(raw: Raw | bytes) -> list[Raw] | None:
    """Return the list in the log probabilities of a `Delta`; None when they are of another form."""
    try:
        return decode(raw, _Logprobs).content or []
    except ValueError:
        return None


def read_usage(raw: Raw) -> Usage | None:
    """Return the counts of a `usage` object; None when it is none."""
    try:
        said = decode(raw, _Usage)
    except ValueError:
        return None
    given = said.input_tokens_details or _InputDetails()
    made = said.output_tokens_details or _OutputDetails()
    return Usage(
        input=whole_count(said.input_tokens),
        output=whole_count(said.output_tokens),
        cache_read=whole_count(given.cached_tokens),
        cache_write=whole_count(given.cache_write_tokens),
        reasoning=whole_count(made.reasoning_tokens),
    )


def write_usage(usage: Usage | None) -> Item:
    """Return the counts as a `usage` object.

    The API always tells every one of them, and clients reject a last frame that does not: what
    nobody counted is 0 here.
    """
    usage = usage or Usage()
    given, made = usage.input or 0, usage.output or 0
    return {
        "input_tokens": given,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read or 0,
            "cache_write_tokens": usage.cache_write or 0,
        },
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": given + made,
    }
