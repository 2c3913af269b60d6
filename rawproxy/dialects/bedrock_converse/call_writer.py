"""Options and tools written as a Converse request.

Layer: dialects. The part of `bedrock_converse` that writes a Call; `turn_writer` has the
conversation.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

What only the model's own API knows goes into `additionalModelRequestFields`, in the words of
Claude: `thinking`, `top_k`.
"""

import re
from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.bedrock_converse.blocks import BlockWriter, Item, is_claude, said
from rawproxy.dialects.bedrock_converse.call_reader import (
    FIELD_PATHS,
    MODEL_FIELDS,
    MODES,
    SHOWS,
)
from rawproxy.dialects.bedrock_converse.reader import CONVERSE
from rawproxy.dialects.bedrock_converse.turn_reader import CACHE
from rawproxy.dialects.bedrock_converse.turn_writer import TurnWriter
from rawproxy.dialects.call import Call, Effort, Format, Tool, ToolCall, ToolChoice, ToolResult
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import NO_SCHEMA, closed, object_schema
from rawproxy.dialects.narrowing import Naming, effort_of
from rawproxy.dialects.reading import decode, encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_ID = 64
"""Characters of a tool id."""

LONGEST_NAME = 64
"""Characters of a tool name."""

LEAST_BUDGET = 1024
"""Thinking tokens that Claude takes at least. As many are left for the answer."""

BUDGETS: dict[Effort | None, int] = {
    "minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 32000,
}  # fmt: skip
"""Thinking tokens for an effort, on models that want a number."""

JSON_HINT = "Reply with one JSON object, and with nothing else."

FORCED_TOOL = "reply_json"
"""The tool whose arguments are the reply, on models that cannot be held to a schema otherwise."""

SCHEMA_NAME = "reply"
"""What a schema is called that has no name."""

_NOTHING: Why = "no such thing there"
_NARROWER: Why = "narrower there"
_NOT_THIS: Why = "not this model"

_MODE_WORDS: dict[str | None, str] = {mode: word for word, mode in MODES.items()}
_DISPLAYS: dict[str | None, str] = {show: word for word, show in SHOWS.items()} | {
    "full": "summarized"
}
_TIERS = {
    "priority": "priority", "default": "default", "flex": "flex", "reserved": "reserved",
    "standard_only": "default",
}  # fmt: skip
_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
"""Keywords of JSON Schema whose values are no schemas."""

_MOST_METADATA = 16
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
"""What a key and a value of `requestMetadata` may be."""


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    own = call.dialect == CONVERSE
    naming = Naming(exact=own, longest_id=LONGEST_ID, longest_name=LONGEST_NAME)
    blocks = BlockWriter(call, target, own=own, naming=naming)
    turns = TurnWriter(call, target, blocks)
    forced: str | None = None
    stops: tuple[str, ...] = ()
    if own:
        body = _own_body(call, turns, blocks)
    else:
        writer = _CallWriter(call, target, turns, blocks, naming)
        body, forced, stops = writer.body(), writer.forced, writer.stops
    blocks.close()
    losses = [Loss(path, why) for path, why in blocks.losses.items()]
    back = Back(target.origin, naming.tools, naming.ids, forced, stops)
    return Written(encode(body), losses, back)


def _own_body(call: Call, turns: TurnWriter, blocks: BlockWriter) -> Item:
    """Return the body with every field as the client gave it."""
    drawn, asked, whole = call.sampling, call.reasoning, blocks.whole
    thinking = said(
        type=_MODE_WORDS.get(asked.mode), budget_tokens=asked.budget,
        display=_DISPLAYS.get(asked.show),
    )  # fmt: skip
    named = call.names.get("reasoning", "").rpartition(".")[2]
    thinking_field = named if named == "reasoning_config" else "thinking"
    fields = said(**{thinking_field: thinking or None}, top_k=drawn.top_k)
    inference = said(
        maxTokens=call.limit, temperature=drawn.temperature, topP=drawn.top_p,
        stopSequences=list(call.stop) or None,
    )  # fmt: skip
    output = said(
        textFormat=None if call.format is None else _text_format(call.format, call.format.schema),
        effort=asked.effort,
    )  # fmt: skip
    tools = said(
        tools=[item for tool in call.tools for item in _own_tool(tool, blocks)] or None,
        toolChoice=_own_choice(call, blocks),
    )
    tier = None if call.tier is None else whole({"type": call.tier}, "serviceTier")
    body = said(
        messages=turns.own_messages() or None, system=turns.own_system() or None,
        inferenceConfig=whole(inference, "inferenceConfig") or None,
        toolConfig=whole(tools, "toolConfig") or None,
        outputConfig=whole(output, "outputConfig") or None,
        requestMetadata=call.identity.metadata or None, serviceTier=tier,
    )  # fmt: skip
    return whole(body | said(**{MODEL_FIELDS: whole(fields, MODEL_FIELDS) or None}), "")


def _own_tool(tool: Tool, blocks: BlockWriter) -> list[Item | Raw]:
    if tool.kind != "function":
        return [tool.raw, *blocks.mark(tool)]
    schema = said(json=tool.schema or None)
    spec = said(
        name=tool.name, description=tool.description,
        inputSchema=blocks.whole(schema, f"{tool.path}.inputSchema") or None, strict=tool.strict,
    )  # fmt: skip
    item: Item = {"toolSpec": blocks.whole(spec, tool.path)}
    return [blocks.whole(item, tool.path.removesuffix(".toolSpec")), *blocks.mark(tool)]


def _own_choice(call: Call, blocks: BlockWriter) -> Item | None:
    path = call.names.get("tool_choice")
    if path is None:
        return None
    item: Item = {}
    match call.tool_choice:
        case ToolChoice(mode="one", names=(name,)):
            item = {"tool": blocks.whole({"name": name}, f"{path}.tool")}
        case ToolChoice(mode="required"):
            item = {"any": {}}
        case ToolChoice():
            item = {"auto": {}}
    return blocks.whole(item, path)


def _text_format(form: Format, schema: Raw) -> Item:
    text = bytes(schema).decode()
    inner = {"schema": text} | said(name=form.name, description=form.description)
    return {"type": "json_schema", "structure": {"jsonSchema": inner}}


class _CallWriter:
    """Writes the options and tools of a call of another dialect."""

    def __init__(
        self, call: Call, target: Target, turns: TurnWriter, blocks: BlockWriter, naming: Naming
    ) -> None:
        self._call = call
        self._takes = target.takes
        self._claude = is_claude(target)
        self._turns = turns
        self._blocks = blocks
        self._naming = naming
        self._known: dict[str, str] = {}  # the client's name of a tool -> the name it goes by
        self.forced: str | None = None
        """The tool whose arguments will be the reply's text."""
        self.stops: tuple[str, ...] = ()
        """Stop sequences that the upstream is not told."""

    def body(self) -> Item:
        """Return the body."""
        call = self._call
        tools = self._tools()  # first, as cache points are counted
        form = self._format(tools)
        system = [*self._turns.system(), *self._hint()]
        messages = self._turns.messages()
        self._cache_all(messages)
        thinking, effort, limit = self._reasoning(messages)
        thinks = thinking is not None and thinking["type"] != "disabled"
        sent = [stop for stop in call.stop if stop.strip() and self._takes.stop]
        self.stops = tuple(stop for stop in call.stop if stop not in sent)
        drawn = self._sampling(thinks=thinks)
        inference = said(maxTokens=limit, stopSequences=sent or None) | drawn
        for attribute, value in self._unsayable():
            if value is not None and value != _NEUTRAL.get(attribute):
                self._lose(attribute, _NOTHING)
        tier = self._tier()
        place = "/delta/stop_sequence" if call.stream else "/stop_sequence"
        return said(
            messages=messages, system=system or None, inferenceConfig=inference or None,
            toolConfig=self._config(tools, thinks=thinks),
            outputConfig=said(textFormat=form, effort=effort) or None,
            requestMetadata=self._metadata(), serviceTier=tier and {"type": tier},
            **{
                MODEL_FIELDS: said(thinking=thinking, top_k=self._top_k(thinks=thinks)) or None,
                FIELD_PATHS: [place] if sent else None,
            },
        )  # fmt: skip

    def _name(self, attribute: str) -> str:
        return self._call.names.get(attribute, attribute)

    def _lose(self, attribute: str, why: Why) -> None:
        self._blocks.lose(self._name(attribute), why)

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, drawn = self._call, self._call.sampling
        yield "min_p", drawn.min_p
        yield "seed", drawn.seed
        yield "frequency_penalty", drawn.frequency_penalty
        yield "presence_penalty", drawn.presence_penalty
        yield "logit_bias", drawn.logit_bias or None
        yield "verbosity", call.verbosity
        yield "n", call.n if call.n > 1 else None
        yield "logprobs", call.logprobs or None
        yield "top_logprobs", call.top_logprobs
        yield "cache.key", call.cache.key
        yield "cache.retention", call.cache.retention
        yield "identity.user", call.identity.user
        yield "identity.safety", call.identity.safety
        yield "parallel_tools", False if call.parallel_tools is False and call.tools else None

    def _cache_all(self, messages: list[Item]) -> None:
        """Mark the end of the conversation, where the client asked for a mark without a place."""
        if self._call.cache.automatic is None:
            return
        content = messages[-1]["content"]
        assert isinstance(content, list)
        if not self._takes.breakpoints:
            self._lose("cache.automatic", _NOTHING)
        elif CACHE not in content[-1] and "reasoningContent" not in content[-1]:
            content.append({CACHE: {"type": "default"}})

    def _tools(self) -> list[Item]:
        choice = self._call.tool_choice
        allowed = choice.names if choice and choice.mode == "allowed" else None
        written = []
        for tool in self._call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                self._blocks.lose(tool.path)
            elif allowed is None or tool.name in allowed:
                written += self._tool(tool)
        return written

    def _tool(self, tool: Tool) -> list[Item]:
        freeform = tool.kind == "freeform"
        name = self._naming.tool_name(tool.name, tool.namespace, tool.kind, unlike=freeform)
        self._known[tool.name] = name
        description, strict = tool.description, tool.strict
        if tool.grammar:
            self._blocks.lose(f"{tool.path}.format", _NARROWER)
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        if strict and not self._takes.schema:
            self._blocks.lose(f"{tool.path}.strict", _NOT_THIS)
        strict = True if strict and self._takes.schema else None
        schema = Raw(SCHEMA) if freeform else object_schema(tool.schema)
        schema = closed(schema) if strict else schema
        return [_spec(name, description or None, schema, strict), *self._blocks.mark(tool)]

    def _hint(self) -> list[Item]:
        form = self._call.format
        if form is None or form.kind != "json":
            return []
        self._lose("format", _NARROWER)
        return [{"text": JSON_HINT}]

    def _format(self, tools: list[Item]) -> Item | None:
        """Return the schema of the reply; a model without the like gets a tool that has it."""
        form = self._call.format
        if form is None or form.kind == "json":
            return None
        schema = object_schema(form.schema)
        if self._takes.schema:
            named = form if form.name else Format("schema", SCHEMA_NAME, form.description)
            return _text_format(named, closed(schema))
        self._lose("format", _NARROWER)
        self.forced = FORCED_TOOL
        while self.forced in self._known.values():
            self.forced += "_"
        tools.append(_spec(self.forced, form.description, schema, None))
        return None

    def _config(self, tools: list[Item], *, thinks: bool) -> Item | None:
        """Return the tools. A conversation that shows tools needs some, also where none is wanted."""
        choice = self._choice(tools, thinks=thinks)
        asked = self._call.tool_choice
        used = [part for part in self._call.parts() if isinstance(part, ToolCall)]
        shown = used or any(isinstance(part, ToolResult) for part in self._call.parts())
        if asked is not None and asked.mode == "none" and self.forced is None:
            if not shown:
                return None
            if tools:
                self._lose("tool_choice", _NARROWER)
        if not tools:
            names = dict.fromkeys(self._wire_name(part) for part in used)
            tools = [_spec(name, None, Raw(NO_SCHEMA), None) for name in names]
        return said(tools=tools, toolChoice=choice) if tools else None

    def _wire_name(self, part: ToolCall) -> str:
        freeform = part.kind == "freeform"
        return self._naming.tool_name(part.name, part.namespace, part.kind, unlike=freeform)

    def _choice(self, tools: list[Item], *, thinks: bool) -> Item | None:
        choice = self._call.tool_choice or ToolChoice("auto")
        missing = [name for name in choice.names if name not in self._known]
        must = choice.must or choice.mode in ("required", "one")
        if must and (missing or not self._known):
            name = self._name("tool_choice")
            raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
        named = self._known[choice.names[0]] if choice.mode == "one" else None
        if self.forced and named is None:
            must = True
            alone = choice.mode == "none" or sum("toolSpec" in tool for tool in tools) == 1
            named = self.forced if alone else None
        if must and thinks:
            self._lose("tool_choice", _NARROWER)
            must = False
        if not must:
            return None  # the model decides
        return {"tool": {"name": named}} if named else {"any": {}}

    def _reasoning(self, messages: list[Item]) -> tuple[Item | None, Effort | None, int | None]:
        """Return how to think, how hard, and the most output tokens, which include thinking."""
        asked, takes, limit = self._call.reasoning, self._takes, self._call.limit
        effort = effort_of(asked)
        off = asked.mode == "off" or effort == "none"
        wanted = not off and (asked.mode, asked.budget, effort) != (None, None, None)
        if not wanted or takes.reasoning == "none":
            return self._quiet(wanted=wanted, off=off), None, limit
        display = _DISPLAYS.get(asked.show)
        if takes.reasoning == "budget":
            thinking, limit = self._budget(messages, effort, display)
            return thinking, None, limit
        if asked.budget is not None and asked.effort is None:
            self._lose("reasoning", _NARROWER)
        known: Effort | None = "low" if effort == "minimal" else effort
        if takes.reasoning == "effort":
            return None, known, limit
        return said(type="adaptive", display=display), known, limit

    def _quiet(self, *, wanted: bool, off: bool) -> Item | None:
        """Return what says that there is to be no thinking, where that has to be said."""
        depth = self._takes.reasoning
        if wanted or (self._call.reasoning.show and not off):
            self._lose("reasoning", _NOT_THIS if depth == "none" else _NARROWER)
        if off and depth == "effort":
            self._lose("reasoning", _NARROWER)
        return {"type": "disabled"} if off and depth in ("budget", "adaptive") else None

    def _budget(
        self, messages: list[Item], effort: Effort | None, display: str | None
    ) -> tuple[Item, int | None]:
        """Return how many tokens to think, and the most output tokens, which are more."""
        limit = self._call.limit
        if not _begins_with_thinking(messages):
            self._lose("reasoning", _NARROWER)
            return {"type": "disabled"}, limit
        most = max(self._takes.limit, limit or 0)
        budget = self._call.reasoning.budget or BUDGETS.get(effort, BUDGETS["medium"])
        budget = max(LEAST_BUDGET, min(budget, most - LEAST_BUDGET))
        if limit is not None and budget >= limit:
            limit = max(min(budget + limit, most), budget + 1)
            self._lose("limit", _NARROWER)
        return said(type="enabled", budget_tokens=budget, display=display), limit

    def _sampling(self, *, thinks: bool) -> Item:
        drawn = self._call.sampling
        values = said(temperature=drawn.temperature, top_p=drawn.top_p)
        changed = [name for name, value in values.items() if value != _NEUTRAL[name]]
        if not self._takes.sampling or thinks:
            for name in changed:
                self._lose(name, _NARROWER if self._takes.sampling else _NOT_THIS)
            return {}
        if drawn.temperature is not None and drawn.temperature > 1:
            self._lose("temperature", _NARROWER)
            values["temperature"] = 1
        if self._claude and len(values) > 1:
            # Claude 4.1 and later take only one of the two.
            if len(changed) > 1:
                self._lose("top_p", _NARROWER)
            del values["top_p" if "temperature" in changed else "temperature"]
        return said(temperature=values.get("temperature"), topP=values.get("top_p"))

    def _top_k(self, *, thinks: bool) -> int | None:
        top_k = self._call.sampling.top_k
        if top_k is None or (self._claude and self._takes.sampling and not thinks):
            return top_k
        self._lose("top_k", _NARROWER if thinks else _NOT_THIS)
        return None

    def _metadata(self) -> dict[str, str] | None:
        raw = self._call.identity.metadata
        try:
            given = decode(raw, dict[str, str]) if raw else {}
        except ValueError:
            self._lose("identity.metadata", _NARROWER)
            return None
        fitting = [
            (key, text)
            for key, text in given.items()
            if key and _METADATA.fullmatch(key) and _METADATA.fullmatch(text)
        ][:_MOST_METADATA]
        if len(fitting) < len(given):
            self._lose("identity.metadata", _NARROWER)
        return dict(fitting) or None

    def _tier(self) -> str | None:
        tier = self._call.tier
        if tier not in (None, "auto", *_TIERS):
            self._lose("tier", _NARROWER)
        return _TIERS.get(tier or "")


def _spec(name: str, description: str | None, schema: Raw, strict: bool | None) -> Item:
    spec = said(
        name=name, description=description, inputSchema={"json": schema}, strict=strict
    )  # fmt: skip
    return {"toolSpec": spec}


def _begins_with_thinking(messages: list[Item]) -> bool:
    """Whether the turn that goes on, if one does, begins with thinking: older models want it."""
    last = next((m for m in reversed(messages) if m["role"] == "assistant"), None)
    if last is None:
        return True
    after = messages[messages.index(last) + 1 :]
    if after and not any("toolResult" in block for block in _blocks(after[0])):
        return True
    return "reasoningContent" in _blocks(last)[0]


def _blocks(message: Item) -> list[Item]:
    blocks = message["content"]
    assert isinstance(blocks, list)
    return blocks
