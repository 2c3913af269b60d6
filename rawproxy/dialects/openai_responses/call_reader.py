"""Options read from a request of the Responses API.

Layer: dialects. The part of `openai_responses` that makes a Call; `item_reader` has the
conversation, `tool_reader` the tools.
Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from typing import Literal

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import (
    CacheUse,
    Call,
    Effort,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.openai_responses.item_reader import ItemReader
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.tool_reader import ToolReader
from rawproxy.dialects.reading import Fields, encode

__all__ = ["LOGPROBS", "SEALED", "CallReader"]

SEALED = "reasoning.encrypted_content"
"""The word in `include` that asks for reasoning to be sealed."""

LOGPROBS = "message.output_text.logprobs"
"""The word in `include` that asks for logprobs."""

_FIELDS = (
    # attribute of the call, field here
    ("limit", "max_output_tokens"), ("temperature", "temperature"), ("top_p", "top_p"),
    ("tools", "tools"), ("tool_choice", "tool_choice"), ("parallel_tools", "parallel_tool_calls"),
    ("reasoning", "reasoning"), ("top_logprobs", "top_logprobs"),
    ("cache.key", "prompt_cache_key"), ("cache.retention", "prompt_cache_retention"),
    ("identity.user", "user"), ("identity.safety", "safety_identifier"),
    ("identity.metadata", "metadata"), ("tier", "service_tier"),
)  # fmt: skip
_EFFORTS: dict[str, Effort] = {
    "none": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high",
    "xhigh": "xhigh", "max": "max",
}  # fmt: skip
_SHOWS: dict[str, Literal["summary", "full"]] = {
    "auto": "summary", "concise": "summary", "detailed": "full",
}  # fmt: skip


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request; a question for its tokens need not name a model.
        vault: opens the caller's envelopes.
        given: what stands outside of the body.
    """

    def __init__(self, body: Fields, vault: Vault, given: Given = NOTHING_GIVEN) -> None:
        self._body = body
        self._vault = vault
        self._given = given
        self._names = body.named(_FIELDS)
        self._tools = ToolReader()
        self._items = ItemReader(self._names, vault, self._tools)
        self._extra = self._tools.extra
        self._keep = self._tools.keep

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body, given = self._body, self._given
        turns = self._items.turns(body)
        tools = (*self._tools.tools(body), *self._items.more_tools)
        last = turns[-1] if turns else None
        stream = bool(body.flag("stream"))
        form, verbosity = self._text()
        logprobs, sealed = self._include()
        call = Call(
            RESPONSES, given.model or body.text("model") or "", turns,
            stream=stream if given.stream is None else given.stream,
            prefill=last is not None and last.role == "assistant"
            and any(isinstance(part, Text) for part in last.parts),
            tools=tools, tool_choice=self._tools.choice(body, tools),
            parallel_tools=body.flag("parallel_tool_calls"),
            limit=body.whole("max_output_tokens"),
            sampling=Sampling(body.number("temperature"), body.number("top_p")),
            reasoning=self._reasoning(sealed=sealed), format=form, verbosity=verbosity,
            logprobs=logprobs, top_logprobs=body.whole("top_logprobs") if logprobs else None,
            cache=CacheUse(body.text("prompt_cache_key"), body.text("prompt_cache_retention")),
            identity=Identity(
                body.text("user"), body.text("safety_identifier"), body.raw("metadata")
            ),
            tier=body.text("service_tier"), wants_usage=True, vault=self._vault,
        )  # fmt: skip
        self._rest()
        call.extra, call.names = self._extra, self._names
        call.unopened = tuple(self._items.unopened)
        return call

    def _rest(self) -> None:
        body = self._body
        body.raw("model")
        if options := body.object("stream_options"):
            self._keep(options)
        # Said, but nothing but the default: no other dialect loses it.
        for name, default in (("background", b"false"), ("top_logprobs", b"0")):
            raw = body.raw(name)
            if raw and bytes(raw) != default:
                self._extra[name] = bytes(raw)
        self._keep(body)

    def _reasoning(self, *, sealed: bool) -> Reasoning:
        asked = self._body.object("reasoning")
        if asked is None:
            return Reasoning(sealed=sealed)
        word = asked.text("effort")
        effort = _EFFORTS.get(word or "")
        if word and effort is None:
            self._extra[asked.at("effort")] = encode(word)
        old, word = asked.text("generate_summary"), asked.text("summary")
        if old:
            self._extra[asked.at("generate_summary")] = encode(old)
        if word and (old or word == "concise" or word not in _SHOWS):
            self._extra[asked.at("summary")] = encode(word)
        show = _SHOWS.get(word or old or "")
        self._keep(asked)
        return Reasoning(effort=effort, show=show, sealed=sealed)

    def _text(self) -> tuple[Format | None, str | None]:
        text = self._body.object("text")
        if text is None:
            return None, None
        verbosity = text.text("verbosity")
        if verbosity is not None:
            self._names["verbosity"] = text.at("verbosity")
        raw, found = text.raw("format"), None
        if raw:
            form = Fields.of(raw, text.at("format"))
            kind = form.needed("type")
            found = self._format(form, kind)
            if found is None and kind != "text":
                self._extra[form.path] = bytes(raw)
            else:
                self._keep(form)
        self._keep(text)
        return found, verbosity

    def _format(self, form: Fields, kind: str) -> Format | None:
        if kind not in ("json_object", "json_schema"):
            return None
        self._names["format"] = form.path
        if kind == "json_object":
            return Format("json")
        return Format(
            "schema", form.text("name"), form.text("description"), form.schema("schema"),
            form.flag("strict"),
        )  # fmt: skip

    def _include(self) -> tuple[bool, bool]:
        """Take `include`; return whether it asks for logprobs, and for sealed reasoning."""
        words = self._body.texts("include") or []
        if set(words) - {LOGPROBS, SEALED}:
            self._extra["include"] = encode(words)
        if LOGPROBS in words:
            self._names["logprobs"] = "include"
        return LOGPROBS in words, SEALED in words
