"""Options and tools written as a Gemini request.

Layer: dialects. The part of `gemini` that writes a Call; `turn_writer` has the conversation.
Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thinking
"""

from collections.abc import Iterator

from msgspec import Raw

from rawproxy.dialects.base import Back, Target, Written
from rawproxy.dialects.call import Call, Effort, Tool, ToolChoice
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.gemini.call_reader import CHOICE, CONFIG, JSON, OPTIONS, THINKING, Shape
from rawproxy.dialects.gemini.ledger import Ledger
from rawproxy.dialects.gemini.part_writer import PartWriter
from rawproxy.dialects.gemini.spelling import GEMINI, Item, said
from rawproxy.dialects.gemini.turn_writer import TurnWriter
from rawproxy.dialects.losses import Why
from rawproxy.dialects.narrowing import Naming, effort_of
from rawproxy.dialects.reading import decode, encode
from rawproxy.errors import Untranslatable

__all__ = ["write_call"]

LONGEST_NAME = 64
"""Characters of a tool name: what every host of the API takes."""

MOST_STOPS = 5
"""Stop sequences of a call; we keep the others ourselves."""

HOTTEST = 2
"""The highest temperature."""

BUDGETS: dict[Effort | None, int] = {
    "minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 24576,
}  # fmt: skip
"""Thinking tokens for an effort, on models that want a number."""

_LEAST_BUDGET, _MOST_BUDGET = 512, 24576
_LEAST_OF_PRO, _MOST_OF_PRO = 128, 32768
_AS_IT_LIKES = -1
"""A budget that the model chooses."""

_LEVELS: dict[Effort, str] = {
    "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "HIGH",
    "max": "HIGH",
}  # fmt: skip
_TIERS = {
    "standard": "standard", "default": "standard", "standard_only": "standard", "flex": "flex",
    "priority": "priority",
}  # fmt: skip
_NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0, "temperature": 1, "top_p": 1}
_DRAWN = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")

_NOTHING: Why = "no such thing there"
_NARROWER: Why = "narrower there"
_NOT_THIS: Why = "not this model"


def write_call(call: Call, target: Target) -> Written:
    """Write a request. Into its own dialect a call goes back as it came, field by field."""
    own = call.dialect == GEMINI
    ledger = Ledger(call, own=own)
    naming = Naming(exact=own, longest_id=LONGEST_NAME, longest_name=LONGEST_NAME)
    turns = TurnWriter(call, target, ledger, PartWriter(call, target, ledger, naming))
    stops: tuple[str, ...] = ()
    if own:
        body = _OwnWriter(call, ledger).body(turns)
    else:
        writer = _CallWriter(call, target, ledger, naming)
        body, stops = writer.body(turns), writer.stops
    return Written(encode(body), ledger.close(), Back(target.origin, naming.tools, stops=stops))


class _OwnWriter:
    """Writes the options and tools of a call of this dialect."""

    def __init__(self, call: Call, ledger: Ledger) -> None:
        self._call = call
        self._ledger = ledger

    def body(self, turns: TurnWriter) -> Item:
        """Return the body with every field as the client gave it."""
        call, whole = self._call, self._ledger.whole
        config = whole(self._config(), CONFIG)
        tools = whole(said(functionCallingConfig=self._choice()), "toolConfig")
        body = said(
            contents=turns.own_contents() or None, systemInstruction=turns.own_system(),
            tools=self._tools() or None, toolConfig=tools or None, generationConfig=config or None,
            serviceTier=call.tier,
        )  # fmt: skip
        return whole(body, "")

    def _config(self) -> Item:
        call = self._call
        values: dict[str, object] = {name: getattr(call.sampling, name) for name in _DRAWN}
        values |= {
            "limit": call.limit, "stop": list(call.stop) or None,
            "n": call.n if "n" in call.names else None, "top_logprobs": call.top_logprobs,
            "logprobs": call.logprobs or None, "reasoning": self._thinking(),
        }  # fmt: skip
        config = said(**{word: values.get(name) for name, word in OPTIONS})
        if (form := call.format) is not None:
            config["responseMimeType"] = JSON
            if isinstance(form, Shape):
                config[form.field] = form.native
            elif form.schema:
                config["responseJsonSchema"] = form.schema
        return config

    def _thinking(self) -> Item | None:
        asked = self._call.reasoning
        budget = 0 if asked.mode == "off" else asked.budget
        if asked.mode == "adaptive" and "budget" in self._call.names:
            budget = _AS_IT_LIKES
        level = asked.effort and asked.effort.upper()
        shown = None if asked.show is None else asked.show != "none"
        item = said(includeThoughts=shown, thinkingBudget=budget, thinkingLevel=level)
        return self._ledger.whole(item, THINKING) or None

    def _tools(self) -> list[Item]:
        groups: dict[str, Item] = {}
        for tool in self._call.tools:
            group = groups.setdefault(tool.path.partition(".")[0], {})
            if tool.kind != "function":
                group[tool.name] = tool.raw
                continue
            declared = group.setdefault("functionDeclarations", [])
            assert isinstance(declared, list)
            declared.append(tool.raw or _declaration(tool, tool.name, tool.schema))
            self._ledger.whole({}, tool.path)  # its unknown fields are in `raw`
        return list(groups.values())

    def _choice(self) -> Item | None:
        choice = self._call.tool_choice
        if choice is None:
            return None
        mode = {"none": "NONE", "auto": "AUTO"}.get(choice.mode, "ANY")
        if choice.mode == "allowed" and not choice.must:
            mode = "AUTO"
        item = {"mode": mode} | said(allowedFunctionNames=list(choice.names) or None)
        return self._ledger.whole(item, CHOICE)


def _declaration(tool: Tool, name: str, schema: Raw, description: str | None = None) -> Item:
    return said(
        name=name, description=description or tool.description or None,
        parametersJsonSchema=schema if schema and not _is_empty(schema) else None,
    )  # fmt: skip


def _is_empty(schema: Raw) -> bool:
    """Return whether a schema is an object without members, which the API refuses."""
    try:
        return not decode(schema, dict[str, Raw])
    except ValueError:
        return True


class _CallWriter:
    """Writes the options and tools of a call of another dialect."""

    def __init__(self, call: Call, target: Target, ledger: Ledger, naming: Naming) -> None:
        self._call = call
        self._takes = target.takes
        self._is_pro = "pro" in target.model
        self._ledger = ledger
        self._naming = naming
        self._known: dict[str, str] = {}  # the client's name of a tool -> the name it goes by
        self.stops: tuple[str, ...] = ()
        """Stop sequences that the upstream is not told."""

    def body(self, turns: TurnWriter) -> Item:
        """Return the body."""
        system, contents = turns.system(), turns.contents()
        tools = self._tools()
        choice = self._choice()
        for attribute, value in self._unsayable():
            if value is not None:
                self._lose(attribute, _NOTHING)
        config = self._sampling() | self._output() | said(thinkingConfig=self._thinking())
        return said(
            contents=contents, systemInstruction=system,
            tools=[{"functionDeclarations": tools}] if tools else None,
            toolConfig={"functionCallingConfig": choice} if choice else None,
            generationConfig=config or None, serviceTier=self._tier(),
        )  # fmt: skip

    def _lose(self, attribute: str, why: Why) -> None:
        self._ledger.lose(self._call.names.get(attribute, attribute), why)

    def _unsayable(self) -> Iterator[tuple[str, object]]:
        """Yield what this dialect has no field for: attribute, value."""
        call, identity = self._call, self._call.identity
        yield "min_p", call.sampling.min_p
        yield "logit_bias", call.sampling.logit_bias or None
        yield "verbosity", call.verbosity
        yield "cache.key", call.cache.key
        yield "cache.retention", call.cache.retention
        yield "cache.automatic", call.cache.automatic
        yield "identity.user", identity.user
        yield "identity.safety", identity.safety
        yield "identity.metadata", identity.metadata or None
        yield "parallel_tools", False if call.parallel_tools is False and call.tools else None

    def _sampling(self) -> Item:
        drawn = {name: getattr(self._call.sampling, name) for name in _DRAWN}
        if not self._takes.sampling:
            for name, value in drawn.items():
                if value is not None and value != _NEUTRAL.get(name):
                    self._lose(name, _NOT_THIS)
            return {}
        if (drawn["temperature"] or 0) > HOTTEST:
            self._lose("temperature", _NARROWER)
            drawn["temperature"] = HOTTEST
        return said(**{word: drawn.get(name) for name, word in OPTIONS})

    def _output(self) -> Item:
        """Return what the reply is to be: how long, how many, in which form."""
        call = self._call
        stops = [stop for stop in call.stop if stop]
        sent = stops[:MOST_STOPS] if self._takes.stop else []
        self.stops = tuple(stops[len(sent) :])
        config = said(
            candidateCount=call.n if call.n > 1 else None, maxOutputTokens=call.limit,
            stopSequences=sent or None, responseLogprobs=call.logprobs or None,
            logprobs=(call.top_logprobs or None) if call.logprobs else None,
        )  # fmt: skip
        form = call.format
        if form is None:
            return config
        if form.description:
            self._lose("format", _NARROWER)
        if form.kind == "schema" and not self._takes.schema:
            self._lose("format", _NARROWER)
        elif form.kind == "schema" and form.schema:
            config["responseJsonSchema"] = form.schema
        return config | {"responseMimeType": JSON}

    def _thinking(self) -> Item | None:
        """Return how to think, and whether to show it."""
        asked, takes = self._call.reasoning, self._takes
        effort = effort_of(asked)
        off = asked.mode == "off" or effort == "none"
        wanted = not off and (asked.mode, asked.budget, effort) != (None, None, None)
        shows = asked.show not in (None, "none")
        if not (off or wanted or shows):
            return None
        if takes.reasoning == "none":
            if not off:
                self._lose("reasoning", _NOT_THIS)
            return None
        if off:
            return self._quiet()
        shown = True if shows or (wanted and asked.show is None) else None
        if takes.reasoning == "budget":
            return said(includeThoughts=shown, thinkingBudget=self._budget(effort)) or None
        if asked.budget is not None and asked.effort is None:
            self._lose("reasoning", _NARROWER)
        level = None if effort is None else self._level(effort)
        return said(includeThoughts=shown, thinkingLevel=level) or None

    def _quiet(self) -> Item:
        """Return what comes nearest to no thinking: not every model can do without."""
        if self._takes.reasoning == "budget" and not self._is_pro:
            return {"thinkingBudget": 0}
        self._lose("reasoning", _NARROWER)
        if self._takes.reasoning == "budget":
            return {"thinkingBudget": _LEAST_OF_PRO}
        return {"thinkingLevel": "LOW" if self._is_pro else "MINIMAL"}

    def _level(self, effort: Effort) -> str:
        level = _LEVELS[effort]
        if level == "MINIMAL" and self._is_pro:
            level = "LOW"
        if level != effort.upper():
            self._lose("reasoning", _NARROWER)
        return level

    def _budget(self, effort: Effort | None) -> int:
        asked = self._call.reasoning
        if asked.budget is None:
            return BUDGETS.get(effort, _AS_IT_LIKES)
        least = _LEAST_OF_PRO if self._is_pro else _LEAST_BUDGET
        most = _MOST_OF_PRO if self._is_pro else _MOST_BUDGET
        budget = max(least, min(asked.budget, most))
        if budget != asked.budget:
            self._lose("reasoning", _NARROWER)
        return budget

    def _tools(self) -> list[Item]:
        written = []
        for tool in self._call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                self._ledger.lose(tool.path)
            else:
                written.append(self._tool(tool))
        return written

    def _tool(self, tool: Tool) -> Item:
        freeform = tool.kind == "freeform"
        name = self._naming.tool_name(tool.name, tool.namespace, tool.kind, unlike=freeform)
        self._known[tool.name] = name
        self._ledger.lose_cache(tool)
        description = tool.description
        if tool.grammar:
            self._ledger.lose(f"{tool.path}.format", _NARROWER)
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        if tool.strict:
            self._ledger.lose(f"{tool.path}.strict", _NOTHING)
        return _declaration(tool, name, Raw(SCHEMA) if freeform else tool.schema, description)

    def _choice(self) -> Item | None:
        """Return which tools may be used; None where the model decides."""
        choice = self._call.tool_choice or ToolChoice("auto")
        names = [self._known[name] for name in choice.names if name in self._known]
        must = choice.must or choice.mode in ("required", "one")
        if must and (len(names) < len(choice.names) or not self._known):
            name = self._call.names.get("tool_choice", "tool_choice")
            raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
        if not self._known or choice.mode == "auto":
            return None
        if choice.mode == "none" or (choice.mode == "allowed" and not names):
            return {"mode": "NONE"}
        mode = "ANY" if must else "VALIDATED"
        return {"mode": mode} | said(allowedFunctionNames=names or None)

    def _tier(self) -> str | None:
        tier = self._call.tier
        if tier not in (None, "auto", *_TIERS):
            self._lose("tier", _NARROWER)
        return _TIERS.get(tier or "")
