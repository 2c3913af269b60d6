"""Options written as a request of the Responses API.

Layer: dialects. The part of `openai_responses` that writes a Call; `item_writer` has the
conversation, `tool_writer` the tools.
Source: https://platform.openai.com/docs/api-reference/responses/create

A call of another dialect is always asked with `store: false`: its client keeps the conversation
itself, and gets the reasoning sealed to give it back.
"""

from collections.abc import Iterator

from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call
from rawproxy.dialects.losses import Why
from rawproxy.dialects.narrowing import Naming, effort_of, short_user
from rawproxy.dialects.openai_responses.call_reader import LOGPROBS, SEALED
from rawproxy.dialects.openai_responses.item_writer import ItemWriter
from rawproxy.dialects.openai_responses.ledger import Item, Ledger, said
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.tool_writer import ToolWriter
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_ID = 64
"""Characters of a tool call's id."""

LONGEST_NAME = 64
"""Characters of a tool name."""

LONGEST_USER = 64
"""Characters of an end-user id."""

LEAST_LIMIT = 16
"""Output tokens: the API refuses to be asked for fewer."""

_NOTHING: Why = "no such thing there"
_NARROWER: Why = "narrower there"
_NOT_THIS: Why = "not this model"

_WORDS: dict[str | None, str] = {"summary": "auto", "full": "detailed"}
_RETENTIONS = {"in_memory", "24h"}
_TIERS = {"standard_only": "default"}
_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    own = call.dialect == RESPONSES
    ledger = Ledger(call, own=own)
    naming = Naming(exact=own, longest_id=LONGEST_ID, longest_name=LONGEST_NAME)
    tools = ToolWriter(call, target, ledger, naming)
    items = ItemWriter(call, target, ledger, naming=naming, tools=tools)
    if own:
        body = _own_body(call, target, ledger, items=items, tools=tools)
    else:
        body = _CallWriter(call, target, ledger).body(items, tools)
    stops = () if own else call.stop
    back = Back(target.origin, naming.tools, naming.ids, stops=stops)
    return Written(encode(body), ledger.close(), back)


def _own_body(
    call: Call, target: Target, ledger: Ledger, *, items: ItemWriter, tools: ToolWriter
) -> Item:
    """Return the body with every field as the client gave it."""
    asked, identity = call.reasoning, call.identity
    # Where the client said more than a word of ours can hold, its own is among the extra fields.
    word = None if "reasoning.generate_summary" in call.extra else _WORDS.get(asked.show)
    reasoning = ledger.whole(said(effort=asked.effort, summary=word), "reasoning")
    text = said(format=_own_format(call, ledger), verbosity=call.verbosity)
    body: Item = {"model": target.model} | items.fields()
    body |= said(
        stream=call.stream or None, tools=tools.own() or None, tool_choice=tools.own_choice(),
        parallel_tool_calls=call.parallel_tools, max_output_tokens=call.limit,
        temperature=call.sampling.temperature, top_p=call.sampling.top_p,
        reasoning=reasoning or None, text=ledger.whole(text, "text") or None,
        include=_include(call) or None, top_logprobs=call.top_logprobs,
        prompt_cache_key=call.cache.key, prompt_cache_retention=call.cache.retention,
        user=identity.user, safety_identifier=identity.safety,
        metadata=identity.metadata or None, service_tier=call.tier,
        stream_options=ledger.whole({}, "stream_options") or None,
    )  # fmt: skip
    return ledger.body(body)


def _own_format(call: Call, ledger: Ledger) -> Item | None:
    form = call.format
    if form is None:
        return None
    kind = "json_object" if form.kind == "json" else "json_schema"
    item = {"type": kind} | said(
        name=form.name, description=form.description, schema=form.schema or None,
        strict=form.strict,
    )  # fmt: skip
    return ledger.whole(item, call.names.get("format", ""))


def _include(call: Call) -> list[str]:
    return [SEALED] * call.reasoning.sealed + [LOGPROBS] * call.logprobs


class _CallWriter:
    """Writes the options of a call of another dialect."""

    def __init__(self, call: Call, target: Target, ledger: Ledger) -> None:
        self._call = call
        self._model = target.model
        self._takes = target.takes
        self._ledger = ledger
        # Servers of others that speak this dialect: they know little of what OpenAI added lately.
        self._openai = not target.takes.reasoning_text

    def body(self, items: ItemWriter, tools: ToolWriter) -> Item:
        """Return the body.

        Raises:
            Untranslatable: the last turn is to be continued, which the API cannot.
        """
        call = self._call
        if call.prefill and not self._takes.prefill:
            why = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(why, param=call.turns[-1].path)
        sealed = [SEALED] if self._takes.reasoning != "none" else []
        body = {"model": self._model} | items.fields() | tools.fields()
        body |= said(
            stream=call.stream or None, store=False, max_output_tokens=self._limit(),
            reasoning=self._reasoning() or None, text=self._text() or None,
            include=sealed + [LOGPROBS] * call.logprobs or None,
        )  # fmt: skip
        for attribute, name, value, taken, why in self._options():
            if value is not None and taken:
                body[name] = value
            elif value is not None and value != _NEUTRAL.get(attribute):
                self._lose(attribute, why)
        return body

    def _lose(self, attribute: str, why: Why) -> None:
        self._ledger.lose(self._call.names.get(attribute, attribute), why)

    def _options(self) -> Iterator[tuple[str, str, object, bool, Why]]:
        """Yield the simple fields: attribute, field, value, whether it is taken, why not."""
        call, takes, openai = self._call, self._takes, self._openai
        drawn, identity = call.sampling, call.identity
        for name in ("temperature", "top_p"):
            yield name, name, getattr(drawn, name), takes.sampling, _NOT_THIS
        for name in ("top_k", "min_p", "seed", "frequency_penalty", "presence_penalty"):
            yield name, name, getattr(drawn, name), False, _NOTHING
        yield "logit_bias", "", drawn.logit_bias or None, False, _NOTHING
        yield "n", "", call.n if call.n > 1 else None, False, _NOTHING
        yield "top_logprobs", "top_logprobs", call.top_logprobs, True, _NOTHING
        yield "cache.key", "prompt_cache_key", call.cache.key, openai, _NOTHING
        kept = call.cache.retention
        yield "cache.retention", "prompt_cache_retention", kept, kept in _RETENTIONS, _NOTHING
        # OpenAI caches without being asked; of other servers nobody knows.
        yield "cache.automatic", "", None if openai else call.cache.automatic, False, _NOTHING
        user = identity.user and short_user(identity.user, LONGEST_USER)
        yield "identity.user", "user", user, True, _NOTHING
        yield "identity.safety", "safety_identifier", identity.safety, openai, _NOTHING
        yield "identity.metadata", "metadata", identity.metadata or None, openai, _NOTHING
        tier = _TIERS.get(call.tier or "", call.tier)
        yield "tier", "service_tier", tier, openai, _NOTHING

    def _limit(self) -> int | None:
        limit = self._call.limit
        if limit is None or limit >= LEAST_LIMIT:
            return limit
        self._lose("limit", _NARROWER)
        return LEAST_LIMIT

    def _reasoning(self) -> Item:
        asked = self._call.reasoning
        effort = effort_of(asked)
        wanted = effort not in (None, "none") or asked.mode in ("on", "adaptive")
        if self._takes.reasoning == "none":
            if wanted or asked.show in _WORDS:
                self._lose("reasoning", _NOT_THIS)
            return {}
        if asked.mode == "off" and effort is None:
            self._lose("reasoning", _NARROWER)  # not every such model can be told not to think
            return {}
        shown = _WORDS.get(asked.show)
        if asked.show is None and asked.mode in ("on", "adaptive"):
            shown = "auto"  # who turns thinking on sees it, elsewhere
        return said(effort=effort, summary=shown)

    def _text(self) -> Item:
        verbosity = self._call.verbosity
        if verbosity is not None and not self._takes.developer:
            self._lose("verbosity", _NOT_THIS)
            verbosity = None
        return said(format=self._format(), verbosity=verbosity)

    def _format(self) -> Item | None:
        form = self._call.format
        if form is None:
            return None
        if form.kind == "json" or not self._takes.schema:
            if form.kind == "schema":
                self._lose("format", _NARROWER)
            return {"type": "json_object"}
        # A schema elsewhere is a promise; here it is one only when it is called strict.
        strict = True if form.strict is None else form.strict
        return {"type": "json_schema"} | said(
            name=form.name or "output", description=form.description, schema=form.schema or None,
            strict=strict,
        )  # fmt: skip
