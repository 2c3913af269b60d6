"""Options and tools read from a request of Ollama's chat or generate API.

Layer: dialects. The part of `ollama_chat` that makes a Call; `turn_reader` has the messages.
Source: the `ollama` package 0.6.3 (`_types.ChatRequest`, `_types.GenerateRequest`, `_types.Options`).
"""

from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import (
    Call,
    Effort,
    Format,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    Turn,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.ollama_chat.turn_reader import TurnReader
from rawproxy.dialects.reading import Fields, decode, encode
from rawproxy.errors import ClientError

__all__ = ["GENERATE", "OLLAMA", "OPTIONS", "CallReader"]

OLLAMA = "ollama_chat"
"""The dialect's name."""

GENERATE = "generate"
"""The variant that is one prompt and one answer, without messages."""

OPTIONS = (
    # attribute of the call, member of `options`
    ("limit", "num_predict"), ("temperature", "temperature"), ("top_p", "top_p"),
    ("top_k", "top_k"), ("min_p", "min_p"), ("seed", "seed"), ("stop", "stop"),
    ("frequency_penalty", "frequency_penalty"), ("presence_penalty", "presence_penalty"),
)  # fmt: skip
"""What Ollama calls its options."""

_FIELDS = (
    ("tools", "tools"), ("reasoning", "think"), ("format", "format"), ("logprobs", "logprobs"),
    ("top_logprobs", "top_logprobs"),
)  # fmt: skip
_EFFORTS: dict[str, Effort] = {
    "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh",
    "max": "max",
}  # fmt: skip
_NOTHING_SAID = (b'""', b"[]", b"{}", b"false")
"""Values of fields of generate that mean the same as no field."""


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request.
        vault: the caller's.
        given: what the path says: `variant` is GENERATE or empty.
    """

    def __init__(self, body: Fields, vault: Vault, given: Given = NOTHING_GIVEN) -> None:
        self._body = body
        self._vault = vault
        self._given = given
        self._names = body.named(_FIELDS)
        self._turns = TurnReader()
        self._keep = self._turns.keep
        self._extra = self._turns.extra

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body, given = self._body, self._given
        raw_prompt = None
        if given.variant == GENERATE:
            turns, raw_prompt = self._prompt()
        else:
            turns = tuple(self._turns.turn(message) for message in body.objects("messages"))
        model = body.text("model") if given.model else body.needed("model")
        streams = body.flag("stream") is not False
        call = Call(
            OLLAMA, given.model or model or "", turns,
            stream=streams if given.stream is None else given.stream, variant=given.variant,
            prefill=bool(turns) and turns[-1].role == "assistant"
            and not any(isinstance(part, ToolCall) for part in turns[-1].parts),
            raw_prompt=raw_prompt, tools=tuple(self._tool(tool) for tool in body.objects("tools")),
            reasoning=self._reasoning(), format=self._format(),
            logprobs=bool(body.flag("logprobs")), top_logprobs=body.whole("top_logprobs"),
            wants_usage=True, vault=self._vault,
        )  # fmt: skip
        self._options(call)
        self._keep(body)
        call.extra, call.names = self._extra, self._names
        return call

    def _prompt(self) -> tuple[tuple[Turn, ...], str | None]:
        """Read what generate has for messages; the prompt itself where no template is to change it."""
        body = self._body
        turns: list[Turn] = []
        if system := body.text("system"):
            turns.append(Turn("system", (Text(system, "system"),), "system"))
        if asked := self._turns.said(body, "prompt"):
            turns.append(Turn("user", asked, "prompt"))
        prompt = "".join(part.text for part in asked if isinstance(part, Text))
        as_it_is = body.has("raw") and bool(body.flag("raw"))
        if as_it_is:
            self._extra["raw"] = b"true"
        for name in ("suffix", "template", "context"):
            raw = bytes(body.raw(name))
            if raw and raw not in _NOTHING_SAID:
                self._extra[name] = raw
        return tuple(turns), prompt if as_it_is else None

    def _options(self, call: Call) -> None:
        options = self._body.object("options")
        if options is None:
            return
        self._names |= options.named(OPTIONS)
        most = options.whole("num_predict")
        call.limit = most if most and most > 0 else None  # -1: as many as it likes
        call.sampling = Sampling(
            options.number("temperature"), options.number("top_p"), options.whole("top_k"),
            options.number("min_p"), options.whole("seed"), options.number("frequency_penalty"),
            options.number("presence_penalty"),
        )  # fmt: skip
        if options.is_text("stop"):
            call.stop = (options.needed("stop"),)
        else:
            call.stop = tuple(options.texts("stop") or ())
        self._keep(options)

    def _tool(self, tool: Fields) -> Tool:
        function = tool.object("function")
        if function is None:
            raise ClientError(f"{tool.at('function')}: field required", param=tool.at("function"))
        tool.raw("type")
        found = Tool(
            function.needed("name"), tool.path, function.text("description"),
            function.raw("parameters"), strict=function.flag("strict"),
        )  # fmt: skip
        self._keep(function)
        self._keep(tool)
        return found

    def _reasoning(self) -> Reasoning:
        body = self._body
        if not body.is_text("think"):
            thinks = body.flag("think")
            if thinks is None:
                return Reasoning()
            return Reasoning("on", show="full") if thinks else Reasoning("off")
        word = body.needed("think")
        if word == "none":
            return Reasoning("off")
        if word in _EFFORTS:
            return Reasoning(effort=_EFFORTS[word], show="full")
        if word:
            self._extra["think"] = encode(word)
        return Reasoning()

    def _format(self) -> Format | None:
        if not self._body.is_text("format"):
            schema = self._body.raw("format")
            return Format("schema", schema=_object(schema)) if schema else None
        word = self._body.needed("format")
        if word not in ("", "json"):
            raise ClientError('format: expected "json" or a JSON schema', param="format")
        return Format("json") if word else None


def _object(schema: Raw) -> Raw:
    try:
        decode(schema, dict[str, Raw])
    except ValueError:
        raise ClientError('format: expected "json" or a JSON schema', param="format") from None
    return schema
