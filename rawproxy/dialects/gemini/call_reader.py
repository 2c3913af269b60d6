"""Options and tools read from a Gemini request.

Layer: dialects. The part of `gemini` that makes a Call; `turn_reader` has the conversation.
Source: https://ai.google.dev/api/generate-content, and `google-genai` 3.3.0.
"""

from typing import Literal

from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import (
    Call,
    Effort,
    Format,
    Reasoning,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.gemini.schemas import json_schema
from rawproxy.dialects.gemini.spelling import GEMINI, Object
from rawproxy.dialects.gemini.turn_reader import TurnReader
from rawproxy.dialects.reading import encode

__all__ = ["CHOICE", "CONFIG", "JSON", "OPTIONS", "THINKING", "CallReader", "Shape"]

CONFIG = "generationConfig"
THINKING = "generationConfig.thinkingConfig"
CHOICE = "toolConfig.functionCallingConfig"
JSON = "application/json"

OPTIONS = (
    # attribute of the call, member of `generationConfig`
    ("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK"), ("n", "candidateCount"),
    ("limit", "maxOutputTokens"), ("stop", "stopSequences"), ("seed", "seed"),
    ("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty"),
    ("logprobs", "responseLogprobs"), ("top_logprobs", "logprobs"),
    ("format", "responseMimeType"), ("reasoning", "thinkingConfig"),
)  # fmt: skip
"""What the API calls its options."""

_BODY = (("tools", "tools"), ("tier", "serviceTier"))
_SCHEMAS = ("responseJsonSchema", "responseSchema")
_EFFORTS: dict[str, Effort] = {
    "MINIMAL": "minimal", "LOW": "low", "MEDIUM": "medium", "HIGH": "high", "XHIGH": "xhigh",
}  # fmt: skip
_SHOWS: dict[bool | None, Literal["none", "summary"] | None] = {
    None: None, True: "summary", False: "none",
}  # fmt: skip
_UNSAID = ("", "MODE_UNSPECIFIED", "THINKING_LEVEL_UNSPECIFIED")


class Shape(Format, frozen=True):
    """What the reply must be; `field` holds the schema as the client wrote it, in `native`."""

    field: str = ""
    native: Raw = Raw()


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request.
        vault: the caller's.
        given: what the path says: the model, and whether the reply streams.
    """

    def __init__(self, body: Object, vault: Vault, given: Given = NOTHING_GIVEN) -> None:
        self._body = body
        self._vault = vault
        self._given = given
        self._names = body.named(_BODY)
        self._turns = TurnReader(vault)
        self._keep = self._turns.keep
        self._extra = self._turns.extra

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body, given = self._body, self._given
        model = (body.text("model") or "").removeprefix("models/")
        turns = (*self._turns.system(body), *self._turns.turns(body))
        tier = body.text("serviceTier")
        call = Call(
            GEMINI, given.model or model, turns, stream=bool(given.stream), variant=given.variant,
            prefill=bool(turns) and turns[-1].role == "assistant"
            and not any(isinstance(part, ToolCall) for part in turns[-1].parts),
            tools=self._tools(), tool_choice=self._tool_choice(),
            tier=None if tier is None else tier.lower(),
            wants_usage=True, vault=self._vault,
        )  # fmt: skip
        if call.tier == "unspecified":
            call.tier = None
        config = body.object(CONFIG)
        if config is not None:
            self._options(call, config)
        self._keep(body)
        call.extra, call.names = self._extra, self._names
        call.unopened = tuple(self._turns.unopened)
        return call

    def _options(self, call: Call, config: Object) -> None:
        self._names |= config.named(OPTIONS)
        call.sampling = Sampling(
            config.number("temperature"), config.number("topP"), config.whole("topK"), None,
            config.whole("seed"), config.number("frequencyPenalty"),
            config.number("presencePenalty"),
        )  # fmt: skip
        call.limit = config.whole("maxOutputTokens")
        call.stop = tuple(config.texts("stopSequences") or ())
        call.n = config.whole("candidateCount") or 1
        call.logprobs = bool(config.flag("responseLogprobs"))
        call.top_logprobs = config.whole("logprobs")
        call.reasoning = self._reasoning(config)
        call.format = self._format(config)
        path, kinds = config.at("responseModalities"), config.texts("responseModalities") or []
        if [kind.upper() for kind in kinds] not in ([], ["TEXT"]):
            self._extra[path] = encode(kinds)
        self._keep(config)

    def _reasoning(self, config: Object) -> Reasoning:
        thinking = config.object("thinkingConfig")
        if thinking is None:
            return Reasoning()
        shown, budget = thinking.flag("includeThoughts"), thinking.whole("thinkingBudget")
        if budget is not None:
            self._names["budget"] = thinking.at("thinkingBudget")
        path, level = thinking.at("thinkingLevel"), thinking.word("thinkingLevel") or ""
        if level not in _EFFORTS and level not in _UNSAID:
            self._extra[path] = encode(level)
        self._keep(thinking)
        effort = _EFFORTS.get(level)
        show = _SHOWS[shown]
        if budget == 0:
            return Reasoning("off", effort, show=show)
        if budget is not None and budget > 0:
            return Reasoning("on", effort, budget, show)
        # Models think as much as they see fit where nobody says how much: so does who asks to see.
        fitting = budget is not None or (shown and effort is None)
        return Reasoning("adaptive" if fitting else None, effort, show=show)

    def _format(self, config: Object) -> Format | None:
        path, mime = config.at("responseMimeType"), config.text("responseMimeType")
        field = next((name for name in _SCHEMAS if config.has(name)), "")
        if mime not in (None, "text/plain", JSON):
            self._extra[path] = encode(mime)
            return None
        if not field:
            return Format("json") if mime == JSON else None
        self._names["format"] = config.at(field)
        raw = config.schema(field)
        schema = json_schema(raw) if field == "responseSchema" else raw
        return Shape("schema", schema=schema, field=field, native=raw)

    def _tools(self) -> tuple[Tool, ...]:
        found: list[Tool] = []
        for group in self._body.several("tools"):
            for path, raw in group.raws("functionDeclarations"):
                found.append(self._declaration(raw, path))
            found += [_vendor_run(name, group.at(name), raw) for name, raw in group.left().items()]
        return tuple(found)

    def _declaration(self, raw: Raw, path: str) -> Tool:
        fields = Object.of(raw, path)
        schema = fields.raw("parametersJsonSchema")
        if not schema and (native := fields.raw("parameters")):
            schema = json_schema(native)
        tool = Tool(
            fields.needed("name"), path, fields.text("description"), schema, dialect=GEMINI,
            raw=raw,
        )  # fmt: skip
        self._keep(fields)
        return tool

    def _tool_choice(self) -> ToolChoice | None:
        config = self._body.object("toolConfig")
        calling = None if config is None else config.object("functionCallingConfig")
        if config is None or calling is None:
            if config is not None:
                self._keep(config)
            return None
        self._names["tool_choice"] = calling.path
        path, mode = calling.at("mode"), calling.word("mode") or ""
        names = tuple(calling.texts("allowedFunctionNames") or ())
        self._keep(calling)
        self._keep(config)
        match mode:
            case "NONE":
                return ToolChoice("none")
            case "ANY" if len(names) == 1:
                return ToolChoice("one", names)
            case "ANY":
                return ToolChoice("allowed", names, must=True) if names else ToolChoice("required")
            case "AUTO" | "":
                pass
            case _ if mode not in _UNSAID:
                self._extra[path] = encode(mode)
        return ToolChoice("allowed", names) if names else ToolChoice("auto")


def _vendor_run(name: str, path: str, raw: bytes) -> Tool:
    """Return a tool that the vendor runs itself, as a search: its settings are all there is to it."""
    kind = f"native:{name}"
    return Tool(name, path, kind=kind, runs="vendor", dialect=GEMINI, raw=Raw(raw))
