"""OpenAI Chat Completions, and the servers that speak it.

Layer: dialects. Knows every field of the API as the `openai` package 3.51.0 types it, and the
unofficial ones that clients and servers share: `reasoning_content`, `reasoning_details`,
`thinking_blocks`, `top_k`, `min_p`, `thinking`, `cache_control`.
Spec: https://platform.openai.com/docs/api-reference/chat

Options and tools are read and written here; `openai_chat.messages` has the messages, `openai_chat.reader` and
`openai_chat.writer` the replies, `openai_chat.grammar` the rules of a stream.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Marking, Target, Written
from rawproxy.dialects.call import (
    Cache,
    CacheUse,
    Call,
    Effort,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)  # fmt: skip
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.events import Event
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.glance import glance
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import said
from rawproxy.dialects.marks import Marks
from rawproxy.dialects.narrowing import Naming, effort_of, short_user
from rawproxy.dialects.openai_chat.grammar import ChunkGrammar
from rawproxy.dialects.openai_chat.messages import (
    Item,
    MessageReader,
    MessageWriter,
    inner_object,
    whole_object,
)
from rawproxy.dialects.openai_chat.reader import ChunkReader, read_plain
from rawproxy.dialects.openai_chat.writer import ChunkWriter, write_body
from rawproxy.dialects.openai_shared import read_error, write_error
from rawproxy.dialects.reading import Fields, encode
from rawproxy.dialects.usage_chunk import ask_usage, is_usage_only
from rawproxy.errors import ClientError, Untranslatable
from rawproxy.wire import sse
from rawproxy.wire.frame import Framing

__all__ = ["FRAMING", "KEEPALIVE_BEGINS", "MARKS", "MODEL_FIELD", "NAME", "REPLY_MODEL", "STREAM_END", "ask_usage", "glance", "grammar", "is_usage_only", "read_call", "read_error", "read_reply", "stream_reader", "stream_writer", "write_call", "write_error", "write_reply"]  # fmt: skip

NAME = "openai_chat"
FRAMING: Framing = sse
MODEL_FIELD = "model"
KEEPALIVE_BEGINS = False
REPLY_MODEL: tuple[str, ...] = ("model",)
STREAM_END = b"data: [DONE]\n\n"
MARKS: Marking = Marks(
    rb'(?:finish_reason|usage|error)"(?!\s*:\s*null)', rb"\[DONE\]|^event: ?error"
)

LONGEST_ID = 40
"""Characters of a tool id."""

LONGEST_NAME = 64
"""Characters of a tool name."""

LONGEST_STOP = 4
"""Stop sequences; the reply is cut off here at those that are more."""

LONGEST_USER = 128
"""Characters of an end-user id."""

_NOTHING: Why = "no such thing there"

_FIELDS = (
    # attribute of the call, field here; where a client sends several, the later row wins
    ("limit", "max_tokens"), ("limit", "max_completion_tokens"), ("temperature", "temperature"),
    ("top_p", "top_p"), ("top_k", "top_k"), ("min_p", "min_p"), ("seed", "seed"),
    ("frequency_penalty", "frequency_penalty"), ("presence_penalty", "presence_penalty"),
    ("logit_bias", "logit_bias"), ("stop", "stop"), ("tools", "functions"), ("tools", "tools"),
    ("tool_choice", "function_call"), ("tool_choice", "tool_choice"),
    ("parallel_tools", "parallel_tool_calls"), ("reasoning", "reasoning_effort"),
    ("reasoning", "reasoning"), ("reasoning", "thinking"), ("format", "response_format"),
    ("verbosity", "verbosity"), ("n", "n"), ("logprobs", "logprobs"),
    ("top_logprobs", "top_logprobs"), ("cache.key", "prompt_cache_key"),
    ("cache.retention", "prompt_cache_retention"), ("identity.user", "user"),
    ("identity.safety", "safety_identifier"), ("identity.metadata", "metadata"),
    ("tier", "service_tier"),
)  # fmt: skip

_CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto", "none": "none", "required": "required", "any": "required",
}  # fmt: skip
_EFFORTS: dict[str, Effort] = {
    "none": "none", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high",
    "xhigh": "xhigh", "max": "max",
}  # fmt: skip
_COMPATIBLE_EFFORTS: dict[str, Effort] = {"minimal": "low", "xhigh": "high", "max": "high"}
_MODES: dict[str, Literal["off", "on", "adaptive"]] = {
    "disabled": "off", "enabled": "on", "adaptive": "adaptive",
}  # fmt: skip
_MODE_WORDS: dict[str | None, str] = {mode: word for word, mode in _MODES.items()}
_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
_TIERS = {"standard_only": "default"}

_DRAWN_ANYHOW, _CACHED_ANYHOW, _NOBODY = Sampling(), CacheUse(), Identity()


def _switch(fields: Fields, name: str) -> bool:
    if not fields.is_text(name):
        return bool(fields.flag(name))
    word = fields.needed(name)  # some clients send "true"
    if word not in ("true", "false"):
        raise ClientError(f"{fields.at(name)}: expected true or false", param=fields.at(name))
    return word == "true"


def read_call(body: bytes, vault: Vault, given: Given = NOTHING_GIVEN) -> Call:  # noqa: ARG001 (all of it stands in the body)
    """Read a request: `functions` become tools, each `tool` message a result in a user turn."""
    fields = Fields.of(body)
    if not fields.has("messages"):
        raise ClientError("messages: field required", param="messages")
    return _CallReader(fields, vault).read()


class _CallReader:
    """Reads one request; keeps what no part of a Call has a place for."""

    def __init__(self, body: Fields, vault: Vault) -> None:
        self._body = body
        self._vault = vault
        self._names = body.named(_FIELDS)
        self._messages = MessageReader(NAME, self._names, vault)
        self._extra = self._messages.extra
        self._keep = self._messages.keep

    def read(self) -> Call:
        body = self._body
        turns = tuple(self._messages.turn(message) for message in body.objects("messages"))
        old_limit, limit = body.whole("max_tokens"), body.whole("max_completion_tokens")
        call = Call(
            NAME, body.needed("model"), turns, stream=_switch(body, "stream"),
            prefill=bool(turns) and turns[-1].role == "assistant"
            and not any(isinstance(part, ToolCall) for part in turns[-1].parts),
            tools=self._tools(), tool_choice=self._tool_choice(), parallel_tools=self._parallel(),
            limit=old_limit if limit is None else limit,
            sampling=Sampling(
                body.number("temperature"), body.number("top_p"), body.whole("top_k"),
                body.number("min_p"), body.whole("seed"), body.number("frequency_penalty"),
                body.number("presence_penalty"), body.raw("logit_bias"),
            ),
            stop=self._stop(), reasoning=self._reasoning(), format=self._format(),
            verbosity=body.text("verbosity"), n=body.whole("n") or 1,
            logprobs=bool(body.flag("logprobs")), top_logprobs=body.whole("top_logprobs"),
            cache=CacheUse(body.text("prompt_cache_key"), body.text("prompt_cache_retention")),
            identity=Identity(
                body.text("user"), body.text("safety_identifier"), body.raw("metadata")
            ),
            tier=body.text("service_tier"), wants_usage=self._wants_usage(), vault=self._vault,
        )  # fmt: skip
        if (modalities := body.raw("modalities")) and bytes(modalities) != b'["text"]':
            self._extra["modalities"] = bytes(modalities)
        self._keep(body)
        call.extra, call.names = self._extra, self._names
        call.unopened = tuple(self._messages.unopened)
        return call

    def _tools(self) -> tuple[Tool, ...]:
        body = self._body
        legacy = tuple(
            self._function(inner, inner.path, None) for inner in body.objects("functions")
        )
        return legacy + tuple(self._tool(tool) for tool in body.objects("tools"))

    def _tool(self, tool: Fields) -> Tool:
        kind = tool.text("type") or "function"
        if kind not in ("function", "custom"):
            raw = whole_object(kind, tool)
            return Tool(
                kind, tool.path, kind=f"native:{kind}", runs="vendor", dialect=NAME, raw=raw
            )
        cache = self._messages.cache(tool)
        inner = inner_object(tool, kind)
        self._keep(tool)
        if kind == "function":
            return self._function(inner, tool.path, cache)
        name, description = inner.needed("name"), inner.text("description")
        grammar = Raw()
        if form := inner.object("format"):
            form.raw("type")
            grammar = form.raw_object("grammar")
            self._keep(form)
        self._keep(inner)
        return Tool(name, tool.path, description, kind="freeform", grammar=grammar, cache=cache)

    def _function(self, inner: Fields, path: str, cache: Cache | None) -> Tool:
        found = Tool(
            inner.needed("name"), path, inner.text("description"), inner.raw("parameters"),
            strict=inner.flag("strict"), cache=cache or self._messages.cache(inner),
        )  # fmt: skip
        self._keep(inner)
        return found

    def _tool_choice(self) -> ToolChoice | None:
        body = self._body
        name = self._names.get("tool_choice", "tool_choice")
        if body.is_text(name):
            mode = _CHOICES.get(body.needed(name))
            if mode is None:
                raise ClientError(f"{name}: unknown word", param=name)
            return ToolChoice(mode)
        choice = body.object(name)
        if choice is None:
            return None
        if name == "function_call":
            return ToolChoice("one", (choice.needed("name"),))
        kind = choice.text("type") or "function"
        if kind != "allowed_tools":
            return ToolChoice("one", (self._chosen(choice, kind),))
        allowed = inner_object(choice, "allowed_tools")
        tools = allowed.objects("tools")
        names = tuple(self._chosen(tool, tool.text("type") or "function") for tool in tools)
        return ToolChoice("allowed", names, must=allowed.text("mode") == "required")

    def _chosen(self, choice: Fields, kind: str) -> str:
        inner = choice.object(kind)
        self._keep(choice)
        return inner.needed("name") if inner else kind

    def _parallel(self) -> bool | None:
        # Whoever still sends `functions` can take one call at a time only.
        said = self._body.flag("parallel_tool_calls")
        return False if said is None and self._names.get("tools") == "functions" else said

    def _stop(self) -> tuple[str, ...]:
        if self._body.is_text("stop"):
            return (self._body.needed("stop"),)
        return tuple(self._body.texts("stop") or ())

    def _wants_usage(self) -> bool:
        options = self._body.object("stream_options")
        if options is None:
            return False
        wanted = bool(options.flag("include_usage"))
        if wanted:
            self._names["wants_usage"] = "stream_options.include_usage"
        self._keep(options)
        return wanted

    def _reasoning(self) -> Reasoning:
        effort = self._effort(self._body, "reasoning_effort")
        mode = budget = show = None
        if asked := self._body.object("reasoning"):
            effort = effort or self._effort(asked, "effort")
            budget, enabled = asked.whole("max_tokens"), asked.flag("enabled")
            mode = None if enabled is None else _MODES["enabled" if enabled else "disabled"]
            show = "none" if asked.flag("exclude") else None
            self._keep(asked)
        if thinking := self._body.object("thinking"):
            word = thinking.text("type") or ""
            if word in _MODES:
                mode, budget = _MODES[word], thinking.whole("budget_tokens") or budget
                self._keep(thinking)
            else:
                self._extra["thinking"] = bytes(whole_object(word, thinking))
        return Reasoning(mode, effort, budget, "none" if show else None)

    def _effort(self, fields: Fields, name: str) -> Effort | None:
        word = fields.text(name)
        effort = _EFFORTS.get(word or "")
        if word and effort is None:
            self._extra[fields.at(name)] = encode(word)
        return effort

    def _format(self) -> Format | None:
        given = self._body.object("response_format")
        if given is None:
            return None
        kind = given.needed("type")
        if kind not in ("text", "json_object", "json_schema"):
            self._extra["response_format"] = bytes(whole_object(kind, given))
            return None
        found = Format("json") if kind == "json_object" else None
        if kind == "json_schema":
            inner = inner_object(given, kind)
            found = Format(
                "schema", inner.text("name"), inner.text("description"), inner.schema("schema"),
                inner.flag("strict"),
            )  # fmt: skip
            self._keep(inner)
        self._keep(given)
        return found


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    writer = _CallWriter(call, target)
    body = encode(writer.body())
    kept = () if call.dialect == NAME else call.stop[LONGEST_STOP * target.takes.stop :]
    back = Back(target.origin, writer.naming.tools, writer.naming.ids, stops=kept)
    return Written(body, [Loss(path, why) for path, why in writer.losses.items()], back)


class _CallWriter:
    """Writes the options and tools of one request; the messages have their own writer."""

    def __init__(self, call: Call, target: Target) -> None:
        self._call = call
        self._target = target
        self._own = call.dialect == NAME
        # Servers of others that speak this dialect: they know reasoning text, top_k and min_p,
        # and little of what OpenAI added lately.
        self._compatible = target.takes.reasoning_text
        self.naming = Naming(exact=self._own, longest_id=LONGEST_ID, longest_name=LONGEST_NAME)
        self._messages = MessageWriter(call, target, own=self._own, naming=self.naming)
        self.losses = self._messages.losses
        self._lose = self._messages.lose

    def body(self) -> dict[str, object]:
        call, takes = self._call, self._target.takes
        if call.prefill and not (self._own or takes.prefill):
            message = "the upstream of this model cannot continue an assistant turn"
            raise Untranslatable(message, param=call.turns[-1].path)
        body: dict[str, object] = {"model": self._target.model}
        body["messages"] = self._messages.messages()
        if call.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if call.limit is not None:
            body[self._name("limit") if self._own else takes.limit_field] = call.limit
        body |= self._tools() | self._reasoning() | self._format()
        for attribute, name, value, taken, why in self._options():
            if value is not None and (self._own or taken):
                body[name] = value
            elif value is not None and value != _NEUTRAL.get(attribute):
                self._lose(self._name(attribute), why)
        for path, raw in call.extra.items():
            if self._own and not {".", "["} & set(path):
                body[path] = Raw(raw)
            else:
                self._lose(path)
        return body

    def _options(self) -> Iterator[tuple[str, str, object, bool, Why]]:
        """Yield the simple fields: attribute, field, value, whether it is taken, why not."""
        call, takes, own = self._call, self._target.takes, self._own
        openai = not self._compatible
        if (drawn := call.sampling) != _DRAWN_ANYHOW:  # most calls say nothing of a whole group
            for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty"):
                yield name, name, getattr(drawn, name), takes.sampling, "not this model"
            bias = drawn.logit_bias or None
            yield "logit_bias", "logit_bias", bias, takes.sampling, "not this model"
            yield "seed", "seed", drawn.seed, True, _NOTHING
            yield "top_k", "top_k", drawn.top_k, not openai, _NOTHING
            yield "min_p", "min_p", drawn.min_p, not openai, _NOTHING
        told = call.stop if own else call.stop[: LONGEST_STOP * takes.stop]
        yield "stop", "stop", list(told) or None, True, _NOTHING
        yield "verbosity", "verbosity", call.verbosity, takes.developer, "not this model"
        yield "n", "n", call.n if call.n > 1 else None, True, _NOTHING
        yield "logprobs", "logprobs", call.logprobs or None, True, _NOTHING
        yield "top_logprobs", "top_logprobs", call.top_logprobs, True, _NOTHING
        if (cache := call.cache) != _CACHED_ANYHOW:
            yield "cache.key", "prompt_cache_key", cache.key, openai, _NOTHING
            yield "cache.retention", "prompt_cache_retention", cache.retention, False, _NOTHING
            # OpenAI caches without being asked; of other servers nobody knows.
            yield "cache.automatic", "", None if openai else cache.automatic, False, _NOTHING
        if (identity := call.identity) != _NOBODY:
            user = identity.user
            short = user if own or user is None else short_user(user, LONGEST_USER)
            yield "identity.user", "user", short, True, _NOTHING
            yield "identity.safety", "safety_identifier", identity.safety, openai, _NOTHING
            yield "identity.metadata", "metadata", identity.metadata or None, False, _NOTHING
        tier = call.tier if own else _TIERS.get(call.tier or "", call.tier)
        yield "tier", "service_tier", tier, openai, _NOTHING

    def _name(self, attribute: str) -> str:
        return self._call.names.get(attribute, attribute)

    def _tools(self) -> Item:
        call = self._call
        written: list[object] = []
        chosen: dict[str, Item] = {}  # by the client's name: how a tool choice names it here
        choice, allowed = call.tool_choice, None
        if choice and choice.mode == "allowed" and self._compatible and not self._own:
            allowed = choice.names  # they know no such list: only those tools are sent
        for tool in call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                if self._own:
                    written.append(tool.raw)
                    chosen[tool.name] = {"type": tool.kind.removeprefix("native:")}
                else:
                    self._lose(tool.path)
            elif allowed is None or tool.name in allowed:
                item, chosen[tool.name] = self._tool(tool)
                written.append(item)
        fields: Item = {"tools": written} if written else {}
        if written and call.parallel_tools is not None:
            fields["parallel_tool_calls"] = call.parallel_tools
        if choice is not None:
            fields |= self._choice(choice, chosen, listed=allowed is None)
        return fields

    def _tool(self, tool: Tool) -> tuple[Item, Item]:
        """Return the tool's declaration, and how a tool choice names it."""
        freeform = tool.kind == "freeform"
        custom = freeform and (self._own or self._target.takes.freeform)
        name = self.naming.tool_name(
            tool.name, tool.namespace, tool.kind, unlike=freeform and not custom
        )
        inner: Item = {"name": name}
        description = tool.description
        if freeform and not custom and tool.grammar:
            self._lose(f"{tool.path}.format", "narrower there")
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        if description is not None:
            inner["description"] = description
        if custom and tool.grammar:
            inner["format"] = {"type": "grammar", "grammar": tool.grammar}
        elif not custom:
            schema = Raw(SCHEMA) if freeform else tool.schema
            inner |= ({"parameters": schema} if schema else {}) | said(strict=tool.strict)
        kind = "custom" if custom else "function"
        item = self._messages.marked({"type": kind, kind: inner}, tool, here=False)
        return item, {"type": kind, kind: {"name": name}}

    def _choice(self, choice: ToolChoice, chosen: dict[str, Item], *, listed: bool) -> Item:
        missing = [name for name in choice.names if name not in chosen]
        must = choice.mode in ("required", "one") or choice.must
        if must and not self._own and (missing or not chosen):
            name = self._name("tool_choice")
            raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
        if not chosen and not self._own:
            return {}
        if choice.mode == "one":
            other = {"type": "function", "function": {"name": choice.names[0]}}
            return {"tool_choice": chosen.get(choice.names[0], other)}
        if choice.mode != "allowed":
            return {"tool_choice": choice.mode}
        mode = "required" if choice.must else "auto"
        if not listed:
            return {"tool_choice": mode}
        tools = [chosen[name] for name in choice.names if name in chosen]
        return {"tool_choice": {
            "type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools},
        }}  # fmt: skip

    def _reasoning(self) -> Item:
        asked, takes = self._call.reasoning, self._target.takes
        name = self._name("reasoning")
        if self._own:
            return _own_reasoning(asked, self._call.names.get("reasoning"))
        effort = effort_of(asked)
        if (asked.show in ("summary", "full") or asked.sealed) and not self._compatible:
            self._lose(name, "narrower there")
        if asked.mode == "off" and effort is None:
            if takes.reasoning != "none":
                self._lose(name, "narrower there")  # not every such model can be told not to think
            return {}
        if takes.reasoning == "none":
            if effort is not None:
                self._lose(name, "not this model")
            return {}
        known = _COMPATIBLE_EFFORTS.get(effort or "", effort) if self._compatible else effort
        if known != effort:
            self._lose(name, "narrower there")
        return said(reasoning_effort=known)

    def _format(self) -> Item:
        form = self._call.format
        if form is None:
            return {}
        if form.kind == "json" or not (self._own or self._target.takes.schema):
            if form.kind == "schema":
                self._lose(self._name("format"), "narrower there")
            return {"response_format": {"type": "json_object"}}
        # A schema elsewhere is a promise; here it is one only when it is called strict.
        strict = True if form.strict is None and not self._own else form.strict
        schema = said(
            name=form.name if self._own else form.name or "output", description=form.description,
            schema=form.schema or None, strict=strict,
        )  # fmt: skip
        return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _own_reasoning(asked: Reasoning, name: str | None) -> Item:
    """Return the fields as the client spelled them."""
    if name == "reasoning":
        enabled = None if asked.mode is None else asked.mode == "on"
        exclude = True if asked.show == "none" else None
        return {name: said(
            effort=asked.effort, max_tokens=asked.budget, enabled=enabled, exclude=exclude
        )}  # fmt: skip
    fields = said(reasoning_effort=asked.effort)
    if name == "thinking":
        fields[name] = said(type=_MODE_WORDS.get(asked.mode), budget_tokens=asked.budget)
    return fields


def read_reply(body: bytes, back: Back) -> list[Event]:
    """Read a whole reply: each message is read as one big delta."""
    plain = read_plain(body)
    return ChunkReader(back).read_body(body) if plain is None else plain


def write_reply(
    events: list[Event], call: Call, reply_id: str, now: int
) -> tuple[bytes, list[Loss]]:
    """Write a whole reply."""
    return write_body(events, call, reply_id, now)


def stream_reader(back: Back) -> ChunkReader:
    """Return a reader for one stream of chunks."""
    return ChunkReader(back)


def stream_writer(call: Call, reply_id: str, now: int) -> ChunkWriter:
    """Return a writer for one stream of chunks."""
    return ChunkWriter(call, reply_id, now)


def grammar() -> ChunkGrammar:
    """Return a checker for one stream of chunks."""
    return ChunkGrammar()
