"""Options and tools written as a request of the Messages API.

Layer: dialects. The part of `anthropic_messages` that writes a Call; `turn_writer` has the
conversation.
Source: https://platform.claude.com/docs/en/api/messages/create
"""

import re
from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.anthropic_messages.call_reader import CHOICES, MODES, SHOWS
from rawproxy.dialects.anthropic_messages.reader import MESSAGES
from rawproxy.dialects.anthropic_messages.turn_writer import THINKING, Item, TurnWriter, said
from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call, Effort, Tool, ToolChoice
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import closed, object_schema
from rawproxy.dialects.narrowing import Naming, effort_of, short_user
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_ID = 64
"""Characters of a tool id."""

LONGEST_NAME = 128
"""Characters of a tool name."""

LONGEST_USER = 256
"""Characters of an end-user id."""

LEAST_BUDGET = 1024
"""Thinking tokens that the API takes at least. As many are left for the answer."""

BUDGETS: dict[Effort | None, int] = {
    "minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 32000,
}  # fmt: skip
"""Thinking tokens for an effort, on models that want a number."""

JSON_HINT = "Reply with one JSON object, and with nothing else."

FORCED_TOOL = "reply_json"
"""The tool whose arguments are the reply, on models that cannot be held to a schema otherwise."""

_NOTHING: Why = "no such thing there"
_NARROWER: Why = "narrower there"
_NOT_THIS: Why = "not this model"

_CHOICE_WORDS: dict[str, str] = {mode: word for word, mode in CHOICES.items()}
_MODE_WORDS: dict[str | None, str] = {mode: word for word, mode in MODES.items()}
_DISPLAYS: dict[str | None, str] = {show: word for word, show in SHOWS.items()} | {
    "full": "summarized"
}
_TIERS = {"auto": "auto", "default": "standard_only", "priority": "auto", "flex": "standard_only"}
_NEUTRAL = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0}
"""Keywords of JSON Schema whose values are no schemas."""

# An end-user id must not say who the user is: no e-mail addresses, no phone numbers.
_PERSONAL = re.compile(r"\S@\S|^\+?[\d\s().-]{7,}$")


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    own = call.dialect == MESSAGES
    naming = Naming(exact=own, longest_id=LONGEST_ID, longest_name=LONGEST_NAME)
    turns = TurnWriter(call, target, own=own, naming=naming)
    forced: str | None = None
    kept: tuple[str, ...] = ()
    if own:
        body = _own_body(call, target, turns)
    else:
        writer = _CallWriter(call, target, turns, naming)
        body, forced, kept = writer.body(), writer.forced, writer.kept
    turns.close(automatic=call.cache.automatic is not None)
    losses = [Loss(path, why) for path, why in turns.losses.items()]
    return Written(
        encode(body), losses, Back(target.origin, naming.tools, naming.ids, forced, kept)
    )


def _own_body(call: Call, target: Target, turns: TurnWriter) -> Item:
    """Return the body with every field as the client gave it."""
    drawn, asked, mark = call.sampling, call.reasoning, call.cache.automatic
    name, form = call.names.get("format", ""), None
    if call.format is not None:
        form = turns.whole(said(type="json_schema", schema=call.format.schema or None), name)
    old = name == "output_format"
    config = said(effort=asked.effort, format=None if old else form)
    thinking = said(
        type=_MODE_WORDS.get(asked.mode), budget_tokens=asked.budget,
        display=_DISPLAYS.get(asked.show),
    )  # fmt: skip
    body = said(
        model=target.model, max_tokens=call.limit, system=turns.system() or None,
        messages=turns.messages(), stream=call.stream or None,
        tools=[_own_tool(tool, turns) for tool in call.tools] or None,
        tool_choice=_own_choice(call, turns), temperature=drawn.temperature, top_p=drawn.top_p,
        top_k=drawn.top_k, stop_sequences=list(call.stop) or None,
        thinking=turns.whole(thinking, "thinking") or None,
        output_config=turns.whole(config, "output_config") or None,
        output_format=form if old else None,
        metadata=turns.whole(said(user_id=call.identity.user), "metadata") or None,
        service_tier=call.tier, cache_control=mark and turns.mark(mark, "cache_control"),
    )  # fmt: skip
    return turns.whole(body, "")


def _own_tool(tool: Tool, turns: TurnWriter) -> object:
    if tool.kind != "function":
        return tool.raw
    item = said(
        name=tool.name, description=tool.description, input_schema=tool.schema or None,
        strict=tool.strict,
    )  # fmt: skip
    return turns.marked(item, tool)


def _own_choice(call: Call, turns: TurnWriter) -> Item | None:
    choice = call.tool_choice
    if choice is None:
        return None
    alone = None if call.parallel_tools is None else not call.parallel_tools
    item = said(
        type=_CHOICE_WORDS.get(choice.mode, "tool"), name=next(iter(choice.names), None),
        disable_parallel_tool_use=alone,
    )  # fmt: skip
    return turns.whole(item, "tool_choice")


class _CallWriter:
    """Writes the options and tools of a call of another dialect."""

    def __init__(self, call: Call, target: Target, turns: TurnWriter, naming: Naming) -> None:
        self._call = call
        self._model = target.model
        self._takes = target.takes
        self._turns = turns
        self._naming = naming
        self._known: dict[str, str] = {}  # the client's name of a tool -> the name it goes by
        self.kept: tuple[str, ...] = ()
        """Stop sequences that the model does not take."""
        self.forced: str | None = None
        """The tool whose arguments will be the reply's text."""

    def body(self) -> Item:
        """Return the body."""
        call = self._call
        tools = self._tools()  # first, as the API counts cache breakpoints
        form = self._format(tools)
        system = [*self._turns.system(), *self._hint()]
        messages = self._turns.messages()
        limit = self._takes.limit if call.limit is None else call.limit
        thinking, effort, limit = self._reasoning(messages, limit)
        thinks = thinking is not None and thinking["type"] != "disabled"
        mark = call.cache.automatic
        body = said(
            model=self._model, max_tokens=limit, system=system or None, messages=messages,
            stream=call.stream or None, tools=tools or None,
            tool_choice=self._choice(tools, thinks=thinks), stop_sequences=self._stop() or None,
            thinking=thinking, output_config=said(effort=effort, format=form) or None,
            metadata=self._metadata(), service_tier=self._tier(),
            cache_control=mark and self._turns.mark(mark, self._name("cache.automatic")),
        )  # fmt: skip
        for attribute, value in self._unsayable():
            if value is not None and value != _NEUTRAL.get(attribute):
                self._lose(attribute, _NOTHING)
        return body | self._sampling(thinks=thinks)

    def _name(self, attribute: str) -> str:
        return self._call.names.get(attribute, attribute)

    def _lose(self, attribute: str, why: Why) -> None:
        self._turns.lose(self._name(attribute), why)

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, drawn, identity = self._call, self._call.sampling, self._call.identity
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
        yield "identity.metadata", identity.metadata or None
        yield "identity.safety", identity.safety if identity.user else None

    def _tools(self) -> list[Item]:
        choice = self._call.tool_choice
        allowed = choice.names if choice and choice.mode == "allowed" else None
        written = []
        for tool in self._call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                self._turns.lose(tool.path)
            elif allowed is None or tool.name in allowed:
                written.append(self._tool(tool))
        return written

    def _tool(self, tool: Tool) -> Item:
        freeform = tool.kind == "freeform"
        name = self._naming.tool_name(tool.name, tool.namespace, tool.kind, unlike=freeform)
        self._known[tool.name] = name
        description, strict = tool.description, tool.strict
        if tool.grammar:
            self._turns.lose(f"{tool.path}.format", _NARROWER)
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        if strict and not self._takes.schema:
            self._turns.lose(f"{tool.path}.strict", _NOT_THIS)
            strict = None
        schema = Raw(SCHEMA) if freeform else object_schema(tool.schema)
        item = said(
            name=name, description=description,
            input_schema=closed(schema) if strict else schema, strict=strict,
        )  # fmt: skip
        return self._turns.marked(item, tool)

    def _hint(self) -> list[Item]:
        form = self._call.format
        if form is None or form.kind != "json":
            return []
        self._lose("format", _NARROWER)
        return [{"type": "text", "text": JSON_HINT}]

    def _format(self, tools: list[Item]) -> Item | None:
        """Return the schema of the reply; a model without the like gets a tool that has it."""
        form = self._call.format
        if form is None or form.kind == "json":
            return None
        schema = object_schema(form.schema)
        if self._takes.schema:
            if form.description:
                self._lose("format", _NARROWER)
            return {"type": "json_schema", "schema": closed(schema)}
        self._lose("format", _NARROWER)
        self.forced = FORCED_TOOL
        while self.forced in self._known.values():
            self.forced += "_"
        tools.append(
            said(name=self.forced, description=form.description, input_schema=schema)
        )  # fmt: skip
        return None

    def _choice(self, tools: list[Item], *, thinks: bool) -> Item | None:
        choice = self._call.tool_choice or ToolChoice("auto")
        missing = [name for name in choice.names if name not in self._known]
        must = choice.must or choice.mode in ("required", "one")
        if must and (missing or not self._known):
            name = self._name("tool_choice")
            raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
        if not tools:
            return None
        named = self._known[choice.names[0]] if choice.mode == "one" else None
        if self.forced and named is None:
            must = True
            named = self.forced if len(tools) == 1 or choice.mode == "none" else None
        kind = "tool" if named else "any" if must else _CHOICE_WORDS.get(choice.mode, "auto")
        if thinks and must:
            self._lose("tool_choice", _NARROWER)
            kind, named = "auto", None
        alone = True if self._call.parallel_tools is False and kind != "none" else None
        if self._call.tool_choice is None and kind == "auto" and not alone:
            return None
        return said(type=kind, name=named, disable_parallel_tool_use=alone)

    def _stop(self) -> list[str]:
        """Return the sequences that the model takes; the reply is cut off here at the others."""
        # The API takes none that is blank.
        stops = [stop for stop in self._call.stop if stop.strip() and self._takes.stop]
        self.kept = tuple(stop for stop in self._call.stop if stop not in stops)
        return stops

    def _reasoning(
        self, messages: list[Item], limit: int
    ) -> tuple[Item | None, Effort | None, int]:
        """Return how to think, how hard, and the most output tokens, which include thinking."""
        asked, takes = self._call.reasoning, self._takes
        effort = effort_of(asked)
        off = asked.mode == "off" or effort == "none"
        wanted = not off and (asked.mode, asked.budget, effort) != (None, None, None)
        if not wanted or takes.reasoning == "none":
            if wanted or (asked.show and not off):
                self._lose("reasoning", _NOT_THIS if takes.reasoning == "none" else _NARROWER)
            silenced = off and takes.reasoning != "none"
            return {"type": "disabled"} if silenced else None, None, limit
        display = _DISPLAYS.get(asked.show)
        if takes.reasoning != "budget":
            if asked.budget is not None and asked.effort is None:
                self._lose("reasoning", _NARROWER)
            known = "low" if effort == "minimal" else effort
            return said(type="adaptive", display=display), known, limit
        if not _begins_with_thinking(messages):
            self._lose("reasoning", _NARROWER)
            return {"type": "disabled"}, None, limit
        most = max(takes.limit, limit)
        budget = asked.budget or BUDGETS.get(effort, BUDGETS["medium"])
        budget = max(LEAST_BUDGET, min(budget, most - LEAST_BUDGET))
        if budget >= limit:
            limit = max(min(budget + limit, most), budget + 1)
            self._lose("limit", _NARROWER)
        return said(type="enabled", budget_tokens=budget, display=display), None, limit

    def _sampling(self, *, thinks: bool) -> Item:
        drawn = self._call.sampling
        values = said(temperature=drawn.temperature, top_p=drawn.top_p, top_k=drawn.top_k)
        changed = [name for name, value in values.items() if value != _NEUTRAL.get(name)]
        if not self._takes.sampling or thinks:
            for name in changed:
                self._lose(name, _NARROWER if self._takes.sampling else _NOT_THIS)
            return {}
        if drawn.temperature is not None and drawn.temperature > 1:
            self._lose("temperature", _NARROWER)
            values["temperature"] = 1
        if "temperature" in values and "top_p" in values:
            # Claude 4.1 and later take only one of the two.
            if "temperature" in changed and "top_p" in changed:
                self._lose("top_p", _NARROWER)
            del values["top_p" if "temperature" in changed else "temperature"]
        return values

    def _metadata(self) -> Item | None:
        user = self._call.identity.user or self._call.identity.safety
        if not user:
            return None
        return {"user_id": short_user(user, 0 if _PERSONAL.search(user) else LONGEST_USER)}

    def _tier(self) -> str | None:
        tier = self._call.tier
        if tier is not None and (tier not in _TIERS or tier == "flex"):
            self._lose("tier", _NARROWER)
        return _TIERS.get(tier or "")


def _begins_with_thinking(messages: list[Item]) -> bool:
    """Whether the turn that goes on, if one does, begins with thinking: older models want it."""
    last = next((m for m in reversed(messages) if m["role"] == "assistant"), None)
    if last is None:
        return True
    after = messages[messages.index(last) + 1 :]
    if after and not any(block["type"] == "tool_result" for block in _blocks(after[0])):
        return True
    return _blocks(last)[0]["type"] in THINKING


def _blocks(message: Item) -> list[Item]:
    blocks = message["content"]
    assert isinstance(blocks, list)
    return blocks
