"""Options and tools read from a request of the Messages API.

Layer: dialects. The part of `anthropic_messages` that makes a Call; `turn_reader` has the
conversation.
Source: https://platform.claude.com/docs/en/api/messages/create
"""

import re
from typing import Literal

from msgspec import Raw

from rawproxy.dialects.anthropic_messages.reader import MESSAGES
from rawproxy.dialects.anthropic_messages.turn_reader import TurnReader, missing
from rawproxy.dialects.call import (
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
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError

__all__ = ["CHOICES", "MODES", "SHOWS", "CallReader"]

CHOICES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto", "none": "none", "any": "required",
}  # fmt: skip
"""Types of `tool_choice`, without the one that names a tool."""

MODES: dict[str, Literal["off", "on", "adaptive"]] = {
    "disabled": "off", "enabled": "on", "adaptive": "adaptive",
}  # fmt: skip
"""Types of `thinking`."""

SHOWS: dict[str, Literal["none", "summary"]] = {"omitted": "none", "summarized": "summary"}
"""Values of `thinking.display`."""

_FIELDS = (
    # attribute of the call, field here
    ("limit", "max_tokens"), ("temperature", "temperature"), ("top_p", "top_p"),
    ("top_k", "top_k"), ("stop", "stop_sequences"), ("tools", "tools"),
    ("tool_choice", "tool_choice"), ("reasoning", "thinking"), ("tier", "service_tier"),
    ("cache.automatic", "cache_control"),
)  # fmt: skip
_EFFORTS: dict[str, Effort] = {
    "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max",
}  # fmt: skip
_CLIENT_RUN = re.compile(r"bash_|text_editor_|computer_|memory_|browser_")


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request; a question for its tokens has no `max_tokens`.
        vault: opens the caller's envelopes.
    """

    def __init__(self, body: Fields, vault: Vault) -> None:
        self._body = body
        self._vault = vault
        self._names = body.named(_FIELDS)
        self._turns = TurnReader(self._names, vault)
        self._keep = self._turns.keep
        self._extra = self._turns.extra

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body = self._body
        if not body.has("messages"):
            raise missing("messages")
        turns = self._turns.system(body)
        turns += tuple(self._turns.turn(message) for message in body.objects("messages"))
        last = turns[-1] if turns else None
        choice, parallel = self._tool_choice()
        reasoning, format_ = self._output()
        call = Call(
            MESSAGES, body.needed("model"), turns, stream=bool(body.flag("stream")),
            prefill=last is not None and last.role == "assistant"
            and not any(isinstance(part, ToolCall) for part in last.parts),
            tools=self._tools(), tool_choice=choice, parallel_tools=parallel,
            limit=body.whole("max_tokens"),
            sampling=Sampling(
                body.number("temperature"), body.number("top_p"), body.whole("top_k")
            ),
            stop=tuple(body.texts("stop_sequences") or ()), reasoning=reasoning, format=format_,
            cache=CacheUse(automatic=self._turns.cache(body)), identity=self._identity(),
            tier=body.text("service_tier"), wants_usage=True, vault=self._vault,
        )  # fmt: skip
        self._keep(body)
        call.extra, call.names = self._extra, self._names
        call.unopened = tuple(self._turns.unopened)
        return call

    def _tools(self) -> tuple[Tool, ...]:
        tools = self._body.take("tools", list[Raw], "a list of objects") or ()
        return tuple(self._tool(raw, f"tools[{at}]") for at, raw in enumerate(tools))

    def _tool(self, raw: Raw, path: str) -> Tool:
        tool = Fields.of(raw, path)
        given = tool.text("type")
        kind = given or "custom"
        if kind != "custom":
            return Tool(
                tool.text("name") or kind, path, kind=f"native:{kind}", dialect=MESSAGES, raw=raw,
                runs="client" if _CLIENT_RUN.match(kind) else "vendor",
            )  # fmt: skip
        if given is not None:
            self._extra[tool.at("type")] = encode(given)
        found = Tool(
            tool.needed("name"), path, tool.text("description"), tool.raw("input_schema"),
            strict=tool.flag("strict"), cache=self._turns.cache(tool),
        )  # fmt: skip
        self._keep(tool)
        return found

    def _tool_choice(self) -> tuple[ToolChoice | None, bool | None]:
        choice = self._body.object("tool_choice")
        if choice is None:
            return None, None
        kind = choice.needed("type")
        mode = CHOICES.get(kind)
        if mode is None and kind != "tool":
            raise ClientError("tool_choice.type: unknown word", param="tool_choice.type")
        found = ToolChoice(mode) if mode else ToolChoice("one", (choice.needed("name"),))
        alone = choice.flag("disable_parallel_tool_use")
        if alone is not None:
            self._names["parallel_tools"] = "tool_choice.disable_parallel_tool_use"
        self._keep(choice)
        return found, None if alone is None else not alone

    def _output(self) -> tuple[Reasoning, Format | None]:
        effort, format_ = None, self._format(self._body, "output_format")
        if config := self._body.object("output_config"):
            word = config.text("effort")
            effort = _EFFORTS.get(word or "")
            if effort is not None:
                self._names.setdefault("reasoning", "output_config.effort")
            elif word is not None:
                self._extra["output_config.effort"] = encode(word)
            format_ = self._format(config, "format") or format_
            self._keep(config)
        return self._reasoning(effort), format_

    def _reasoning(self, effort: Effort | None) -> Reasoning:
        thinking = self._body.object("thinking")
        if thinking is None:
            return Reasoning(effort=effort)
        word = thinking.text("type") or ""
        mode = MODES.get(word)
        if mode is None:  # `between_tools`, and what is still to come
            self._extra["thinking.type"] = encode(word)
        shown = thinking.text("display")
        if shown is not None and shown not in SHOWS:
            self._extra["thinking.display"] = encode(shown)
        found = Reasoning(
            mode, effort, thinking.whole("budget_tokens"), SHOWS.get(shown or "")
        )  # fmt: skip
        self._keep(thinking)
        return found

    def _format(self, fields: Fields, name: str) -> Format | None:
        raw = fields.raw(name)
        if not raw:
            return None
        given = Fields.of(raw, fields.at(name))
        if given.text("type") != "json_schema":
            self._extra[given.path] = bytes(raw)
            return None
        self._names["format"] = given.path
        found = Format("schema", schema=given.schema("schema"))
        self._keep(given)
        return found

    def _identity(self) -> Identity:
        metadata = self._body.object("metadata")
        if metadata is None:
            return Identity()
        user = metadata.text("user_id")
        if user is not None:
            self._names["identity.user"] = "metadata.user_id"
        self._keep(metadata)
        return Identity(user)
