"""Options and tools written as a request of Ollama's chat API, or of generate where it came so.

Layer: dialects. The part of `ollama_chat` that writes a Call; `turn_writer` has the messages.
Source: the `ollama` package 0.6.3 (`_types.ChatRequest`, `_types.GenerateRequest`, `_types.Options`).
"""

from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call, Effort, Tool
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.making import NO_SCHEMA
from rawproxy.dialects.narrowing import Naming, effort_of
from rawproxy.dialects.ollama_chat.call_reader import GENERATE, OLLAMA, OPTIONS
from rawproxy.dialects.ollama_chat.turn_writer import Item, TurnWriter, said
from rawproxy.dialects.reading import encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_NAME = 64
"""Characters of a tool name."""

UNLIMITED = -1
"""The limit of a client that wants none."""

_NOTHING: Why = "no such thing there"
_NARROWER: Why = "narrower there"
_NOT_THIS: Why = "not this model"

_LEVELS: dict[Effort | None, str] = {
    "minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high",
    "max": "high",
}  # fmt: skip
_DRAWN = tuple(name for name, _ in OPTIONS if name not in ("limit", "stop"))


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    writer = _CallWriter(call, target)
    body = encode(writer.body())
    losses = [Loss(path, why) for path, why in writer.turns.losses.items()]
    back = Back(target.origin, writer.naming.tools, stops=writer.stops)
    return Written(body, losses, back)


class _CallWriter:
    """Writes the options and tools of one request."""

    def __init__(self, call: Call, target: Target) -> None:
        self._call = call
        self._target = target
        self._own = call.dialect == OLLAMA
        self.naming = Naming(exact=self._own, longest_id=LONGEST_NAME, longest_name=LONGEST_NAME)
        self.turns = TurnWriter(call, target, own=self._own, naming=self.naming)
        self.stops = () if self._own or target.takes.stop else call.stop

    def body(self) -> Item:
        """Return the body."""
        call, turns = self._call, self.turns
        body: Item = {"model": self._target.model}
        if self._own and call.variant == GENERATE:
            body |= turns.prompt()
        else:
            body["messages"] = turns.messages()
        body |= said(
            tools=self._tools() or None, format=self._format(), think=self._think(),
            options=self._options() or None, logprobs=call.logprobs or None,
            top_logprobs=call.top_logprobs,
        )  # fmt: skip
        body["stream"] = call.stream
        for attribute, value in self._unsayable():
            if value is not None:
                self._lose(attribute, _NOTHING)
        body = turns.whole(body, "")
        turns.close()
        return body

    def _name(self, attribute: str) -> str:
        return self._call.names.get(attribute, attribute)

    def _lose(self, attribute: str, why: Why) -> None:
        self.turns.lose(self._name(attribute), why)

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, identity = self._call, self._call.identity
        yield "logit_bias", call.sampling.logit_bias or None
        yield "verbosity", call.verbosity
        yield "n", call.n if call.n > 1 else None
        yield "cache.key", call.cache.key
        yield "cache.retention", call.cache.retention
        yield "cache.automatic", call.cache.automatic
        yield "identity.user", identity.user
        yield "identity.safety", identity.safety
        yield "identity.metadata", identity.metadata or None
        yield "tier", call.tier

    def _options(self) -> Item:
        call = self._call
        values = {name: getattr(call.sampling, name) for name in _DRAWN}
        if not (self._own or self._target.takes.sampling):
            for name in [name for name, value in values.items() if value is not None]:
                self._lose(name, _NOT_THIS)
                values[name] = None
        values["limit"] = call.limit
        if call.limit is None and self._own and "limit" in call.names:
            values["limit"] = UNLIMITED
        values["stop"] = None if self.stops else list(call.stop) or None
        options = said(**{word: values[name] for name, word in OPTIONS})
        return self.turns.whole(options, "options")

    def _format(self) -> object:
        form = self._call.format
        if form is None:
            return None
        if form.kind == "json" or not form.schema:
            return "json"
        if not (self._own or self._target.takes.schema):
            self._lose("format", _NARROWER)
            return "json"
        if form.description:
            self._lose("format", _NARROWER)
        return form.schema

    def _think(self) -> bool | str | None:
        """Return whether to think, or how hard."""
        asked, takes = self._call.reasoning, self._target.takes
        if asked.mode == "off" or asked.effort == "none":
            return False
        effort = effort_of(asked)
        if asked.mode is None and effort is None:
            return None
        if self._own:
            return effort or True
        if takes.reasoning == "none":
            self._lose("reasoning", _NOT_THIS)
            return None
        if asked.budget is not None and asked.effort is None:
            self._lose("reasoning", _NARROWER)
        if takes.reasoning != "effort" or effort is None:
            if asked.effort is not None:
                self._lose("reasoning", _NARROWER)
            return True
        if _LEVELS[effort] != effort:
            self._lose("reasoning", _NARROWER)
        return _LEVELS[effort]

    def _tools(self) -> list[Item]:
        """Return the tools. Those that the choice rules out are not there: it has no other words."""
        call = self._call
        if self._own:
            return [self._own_tool(tool) for tool in call.tools]
        choice = call.tool_choice
        mode = choice.mode if choice else "auto"
        only = choice.names if choice and mode in ("one", "allowed") else None
        written = []
        for tool in call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                self.turns.lose(tool.path)
            elif mode != "none" and (only is None or tool.name in only):
                written.append(self._tool(tool))
        if choice and (choice.must or mode in ("required", "one")):
            if not written:
                name = self._name("tool_choice")
                raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
            self._lose("tool_choice", _NARROWER if only else _NOTHING)
        if written and call.parallel_tools is False:
            self._lose("parallel_tools", _NOTHING)
        return written

    def _own_tool(self, tool: Tool) -> Item:
        function = said(
            name=tool.name, description=tool.description, parameters=tool.schema or None,
            strict=tool.strict,
        )  # fmt: skip
        inner = self.turns.whole(function, f"{tool.path}.function")
        return self.turns.whole({"type": "function", "function": inner}, tool.path)

    def _tool(self, tool: Tool) -> Item:
        freeform = tool.kind == "freeform"
        name = self.naming.tool_name(tool.name, tool.namespace, tool.kind, unlike=freeform)
        self.turns.lose_cache(tool)
        description = tool.description
        if tool.grammar:
            self.turns.lose(f"{tool.path}.format", _NARROWER)
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        if tool.strict:
            self.turns.lose(f"{tool.path}.strict", _NOTHING)
        schema = Raw(SCHEMA) if freeform else tool.schema or Raw(NO_SCHEMA)
        inner = said(name=name, description=description, parameters=schema)
        return {"type": "function", "function": inner}
