"""Options and tools read from a Converse request.

Layer: dialects. The part of `bedrock_converse` that makes a Call; `turn_reader` has the
conversation.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from typing import Literal

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.bedrock_converse.reader import CONVERSE
from rawproxy.dialects.bedrock_converse.turn_reader import TurnReader, missing
from rawproxy.dialects.call import (
    Call,
    Effort,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Tool,
    ToolCall,
    ToolChoice,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import Fields, decode, encode

__all__ = ["FIELD_PATHS", "MODEL_FIELDS", "MODES", "SHOWS", "CallReader"]

MODEL_FIELDS = "additionalModelRequestFields"
"""What the model's own API takes beside the fields that all have."""

FIELD_PATHS = "additionalModelResponseFieldPaths"
"""What the client wants to have of the model's own reply."""

MODES: dict[str, Literal["off", "on", "adaptive"]] = {
    "disabled": "off", "enabled": "on", "adaptive": "adaptive",
}  # fmt: skip
"""Types of Claude's `thinking`."""

SHOWS: dict[str, Literal["none", "summary"]] = {"omitted": "none", "summarized": "summary"}
"""Values of its `display`."""

_EFFORTS: dict[str, Effort] = {
    "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max",
}  # fmt: skip
_INFERENCE = (
    # attribute of the call, member of `inferenceConfig`
    ("limit", "maxTokens"), ("temperature", "temperature"), ("top_p", "topP"),
    ("stop", "stopSequences"),
)  # fmt: skip
_PROMPT = ":prompt/"
"""What the name of a stored prompt holds: such a call may come without messages."""


class _Thinking(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: Literal["omitted", "summarized"] | None = None


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request.
        vault: opens the caller's envelopes.
        given: what stands in the path: the model, and whether the reply streams.
    """

    def __init__(self, body: Fields, vault: Vault, given: Given = NOTHING_GIVEN) -> None:
        self._body = body
        self._vault = vault
        self._given = given
        self._names: dict[str, str] = {}
        self._turns = TurnReader(self._names, vault)
        self._keep = self._turns.keep
        self._extra = self._turns.extra

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body, model = self._body, self._given.model or ""
        if not body.has("messages") and _PROMPT not in model:
            raise missing(body.at("messages"))
        turns = self._turns.system(body)
        turns += tuple(self._turns.turn(message) for message in body.objects("messages"))
        last = turns[-1] if turns else None
        tools, choice = self._tools()
        effort, format_ = self._output()
        call = Call(
            CONVERSE, model, turns, stream=bool(self._given.stream),
            prefill=last is not None and last.role == "assistant"
            and not any(isinstance(part, ToolCall) for part in last.parts),
            tools=tools, tool_choice=choice, format=format_, tier=self._tier(),
            identity=Identity(metadata=self._named("identity.metadata", body, "requestMetadata")),
            wants_usage=True, vault=self._vault,
        )  # fmt: skip
        self._inference(call)
        self._model_fields(call, effort)
        self._keep(body)
        call.extra, call.names = self._extra, self._names
        call.unopened = tuple(self._turns.unopened)
        return call

    def _named(self, attribute: str, fields: Fields, name: str) -> Raw:
        """Take a field as it stands, and note what the client called it."""
        if fields.has(name):
            self._names[attribute] = fields.at(name)
        return fields.raw(name)

    def _inference(self, call: Call) -> None:
        config = self._body.object("inferenceConfig")
        if config is None:
            return
        self._names |= config.named(_INFERENCE)
        call.limit = config.whole("maxTokens")
        call.sampling = Sampling(config.number("temperature"), config.number("topP"))
        call.stop = tuple(config.texts("stopSequences") or ())
        self._keep(config)

    def _model_fields(self, call: Call, effort: Effort | None) -> None:
        """Read what of the model's own fields is in the words of Claude; the rest is kept."""
        call.reasoning = Reasoning(effort=effort)
        fields = self._body.object(MODEL_FIELDS)
        if fields is None:
            return
        raw = self._named("top_k", fields, "top_k")
        try:
            top_k = decode(raw, int) if raw else None
            call.sampling = msgspec.structs.replace(call.sampling, top_k=top_k)
        except ValueError:
            self._extra[fields.at("top_k")] = bytes(raw)
        for name in ("thinking", "reasoning_config"):
            raw = fields.raw(name)
            thinking = None if call.reasoning.mode else _thinking(raw)
            if thinking is not None:
                self._names["reasoning"] = fields.at(name)
                call.reasoning = msgspec.structs.replace(thinking, effort=effort)
            elif raw:
                self._extra[fields.at(name)] = bytes(raw)
        self._keep(fields)

    def _tools(self) -> tuple[tuple[Tool, ...], ToolChoice | None]:
        config = self._body.object("toolConfig")
        if config is None:
            return (), None
        if config.has("tools"):
            self._names["tools"] = config.at("tools")
        tools: list[Tool] = []
        for at, raw in enumerate(config.take("tools", list[Raw], "a list of objects") or ()):
            item = Fields.of(raw, f"{config.at('tools')}[{at}]")
            follows = bool(tools) and tools[-1].cache is None
            cache = self._turns.cache(item) if follows else None
            if cache is None:
                tools.append(self._tool(raw, item.path))
            else:
                tools[-1] = msgspec.structs.replace(tools[-1], cache=cache)
        choice = self._choice(config)
        self._keep(config)
        return tuple(tools), choice

    def _tool(self, raw: Raw, path: str) -> Tool:
        item = Fields.of(raw, path)
        spec = item.object("toolSpec")
        if spec is None:  # the vendor's own tool; a cache point that belongs to none
            kind = next(iter(item.rest()), path).removeprefix(f"{path}.")
            return Tool(kind, path, kind=f"native:{kind}", dialect=CONVERSE, raw=raw, runs="vendor")
        schema = spec.object("inputSchema")
        found = Tool(
            spec.needed("name"), spec.path, spec.text("description"),
            schema.raw("json") if schema else Raw(), strict=spec.flag("strict"),
        )  # fmt: skip
        if schema is not None:
            self._keep(schema)
        self._keep(spec)
        self._keep(item)
        return found

    def _choice(self, config: Fields) -> ToolChoice | None:
        choice = config.object("toolChoice")
        if choice is None:
            return None
        self._names["tool_choice"] = choice.path
        found: ToolChoice | None = None
        if tool := choice.object("tool"):
            found = ToolChoice("one", (tool.needed("name"),))
            self._keep(tool)
        elif choice.raw("any"):
            found = ToolChoice("required")
        elif choice.raw("auto"):
            found = ToolChoice("auto")
        self._keep(choice)
        return found

    def _output(self) -> tuple[Effort | None, Format | None]:
        config = self._body.object("outputConfig")
        if config is None:
            return None, None
        word = config.text("effort")
        effort = _EFFORTS.get(word or "")
        if effort is not None:
            self._names["reasoning"] = config.at("effort")
        elif word is not None:
            self._extra[config.at("effort")] = encode(word)
        raw = config.raw("textFormat")
        format_ = _format(raw) if raw else None
        if format_ is not None:
            self._names["format"] = config.at("textFormat")
        elif raw:
            self._extra[config.at("textFormat")] = bytes(raw)
        self._keep(config)
        return effort, format_

    def _tier(self) -> str | None:
        tier = self._body.object("serviceTier")
        if tier is None:
            return None
        self._names["tier"] = tier.path
        found = tier.text("type")
        self._keep(tier)
        return found


def _thinking(raw: Raw) -> Reasoning | None:
    """Return what Claude's `thinking` says; None where it is of another shape."""
    try:
        said = decode(raw, _Thinking)
    except ValueError:
        return None
    return Reasoning(
        MODES[said.type], budget=said.budget_tokens, show=SHOWS.get(said.display or "")
    )


class _Schema(msgspec.Struct, forbid_unknown_fields=True):
    schema: str
    name: str | None = None
    description: str | None = None


class _Structure(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    json_schema: _Schema


class _TextFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    structure: _Structure


def _format(raw: Raw) -> Format | None:
    """Return the schema that the reply is held to, which is JSON in a string."""
    try:
        said = decode(raw, _TextFormat).structure.json_schema
        schema = said.schema.encode()
        decode(schema, dict[str, Raw])
    except ValueError:
        return None
    return Format("schema", said.name, said.description, Raw(schema))
