"""Tools and the choice among them, read from a request of the Responses API.

Layer: dialects. The part of `openai_responses` that reads `tools`, of the body and of the
`additional_tools` items among the input, and `tool_choice`.
Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools

The tools of a `namespace` stand beside the others, each with its namespace's name. A tool that only
this API has is kept whole.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Raw

from rawproxy.dialects.call import Tool, ToolChoice
from rawproxy.dialects.openai_responses.ledger import Item
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.reading import Fields, decode, encode
from rawproxy.errors import ClientError

__all__ = ["ToolReader", "choice_item", "chosen"]

_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "auto": "auto", "none": "none", "required": "required",
}  # fmt: skip
_CLIENT_RUN = {"apply_patch", "local_shell", "shell", "computer", "computer_use_preview"}
_NAMED = {"function", "custom"}


def chosen(name: str, tools: Sequence[Tool]) -> Item:
    """Return how a tool choice names one of the client's own `tools`."""
    kind = next((tool.kind for tool in tools if tool.name == name), "function")
    kind = kind.removeprefix("native:")
    if kind == "mcp":
        return {"type": kind, "server_label": name}
    if kind in ("function", "freeform"):
        return {"type": "custom" if kind == "freeform" else kind, "name": name}
    return {"type": kind}


def choice_item(choice: ToolChoice, named: Callable[[str], Item]) -> object:
    """Return a tool choice as the API has it; `named` says how it names one tool."""
    match choice.mode:
        case "one":
            return named(choice.names[0])
        case "allowed":
            mode = "required" if choice.must else "auto"
            tools = [named(name) for name in choice.names]
            return {"type": "allowed_tools", "mode": mode, "tools": tools}
    return choice.mode


class ToolReader:
    """Reads tools; keeps what no part of a Call has a place for in `extra`."""

    def __init__(self) -> None:
        self.extra: dict[str, bytes] = {}

    def keep(self, fields: Fields) -> None:
        """Keep every field that nobody took."""
        self.extra |= fields.rest()

    def tools(self, fields: Fields, namespace: str | None = None) -> list[Tool]:
        """Take the `tools` of the body, of an item or of a namespace."""
        tools = fields.take("tools", list[Raw], "a list of objects") or ()
        path = fields.at("tools")
        return [
            tool
            for at, raw in enumerate(tools)
            for tool in self._tool(raw, f"{path}[{at}]", namespace)
        ]

    def choice(self, body: Fields, tools: Sequence[Tool]) -> ToolChoice | None:
        """Take the `tool_choice`. What it says beyond a Call's choice keeps all of it."""
        if body.is_text("tool_choice"):
            mode = _MODES.get(body.needed("tool_choice"))
            if mode is None:
                raise ClientError("tool_choice: unknown word", param="tool_choice")
            return ToolChoice(mode)
        raw = body.raw("tool_choice")
        if not raw:
            return None
        choice = Fields.of(raw, "tool_choice")
        kind = choice.needed("type")
        if kind == "allowed_tools":
            names = tuple(_name(tool, tool.needed("type")) for tool in choice.objects("tools"))
            found = ToolChoice("allowed", names, must=choice.text("mode") == "required")
        else:
            found = ToolChoice("one", (_name(choice, kind),))
        if decode(raw, object) != choice_item(found, lambda name: chosen(name, tools)):
            self.extra["tool_choice"] = bytes(raw)
        return found

    def _tool(self, raw: Raw, path: str, namespace: str | None) -> list[Tool]:
        tool = Fields.of(raw, path)
        kind = tool.text("type") or "function"
        if kind == "namespace":
            inner = self.tools(tool, tool.needed("name"))
            if inner:
                self.keep(tool)
                return inner
        found = {"function": self._function, "custom": self._custom}.get(kind)
        if found is not None:
            return [found(tool, namespace)]
        name = tool.text("name") or tool.text("server_label") or kind
        mine = kind in _CLIENT_RUN or (kind == "tool_search" and tool.text("execution") == "client")
        return [Tool(
            name, path, kind=f"native:{kind}", namespace=namespace, dialect=RESPONSES, raw=raw,
            runs="client" if mine else "vendor",
        )]  # fmt: skip

    def _function(self, tool: Fields, namespace: str | None) -> Tool:
        found = Tool(
            tool.needed("name"), tool.path, tool.text("description"), tool.raw("parameters"),
            strict=tool.flag("strict"), namespace=namespace,
        )  # fmt: skip
        self.keep(tool)
        return found

    def _custom(self, tool: Fields, namespace: str | None) -> Tool:
        name, description, grammar = tool.needed("name"), tool.text("description"), Raw()
        if form := tool.object("format"):
            kind = form.needed("type")
            if kind == "grammar":
                rules = {part: form.needed(part) for part in ("syntax", "definition")}
                grammar = Raw(encode(rules))
            elif kind != "text":
                self.extra[form.at("type")] = encode(kind)
            self.keep(form)
        self.keep(tool)
        return Tool(
            name, tool.path, description, kind="freeform", grammar=grammar, namespace=namespace
        )


def _name(choice: Fields, kind: str) -> str:
    """Return the name that the tool of a choice has in a Call."""
    field = "name" if kind in _NAMED else "server_label"
    return choice.needed(field) if kind in {*_NAMED, "mcp"} else kind
