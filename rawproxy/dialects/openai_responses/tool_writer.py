"""Tools and the choice among them, written for the Responses API.

Layer: dialects. The part of `openai_responses` that writes `tools`, of the body and of the
`additional_tools` items among the input, and `tool_choice`.
Source: https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

from collections.abc import Iterable
from itertools import groupby

from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import Call, Tool
from rawproxy.dialects.freeform import SCHEMA
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.openai_responses.ledger import Item, Ledger, said
from rawproxy.dialects.openai_responses.tool_reader import choice_item, chosen
from rawproxy.dialects.reading import decode
from rawproxy.errors import Untranslatable

__all__ = ["ToolWriter"]

NO_SCHEMA = b'{"type":"object","properties":{}}'
"""The schema of a tool without arguments: here every function has one."""

_TOOLS = ".tools["


class ToolWriter:
    """Writes the tools of one call.

    Args:
        call: what is asked.
        target: whom.
        ledger: notes what is lost.
        naming: names and ids, shared with the turns.
    """

    def __init__(self, call: Call, target: Target, ledger: Ledger, naming: Naming) -> None:
        self._call = call
        self._freeform = ledger.own or target.takes.freeform
        self._ledger = ledger
        self._naming = naming
        self._chosen: dict[str, Item] = {}  # the client's name -> how a tool choice names it here

    def own(self, path: str = "") -> list[object]:
        """Return the tools as the client declared them: those of the item at `path`, or the body."""
        here = [tool for tool in self._call.tools if _item_of(tool) == path]
        return [entry for inner in _namespaces(here) for entry in self._own(*inner)]

    def own_choice(self) -> object:
        """Return the tool choice as it came."""
        choice, tools = self._call.tool_choice, self._call.tools
        return choice and choice_item(choice, lambda name: chosen(name, tools))

    def fields(self) -> Item:
        """Return `tools`, `tool_choice` and `parallel_tool_calls` for a call of another dialect.

        Raises:
            Untranslatable: a tool has to be used that cannot be declared here.
        """
        call = self._call
        written: list[object] = []
        for tool in call.tools:
            if tool.runs == "vendor" or tool.kind.startswith("native:"):
                self._ledger.lose(tool.path)
            else:
                written.append(self._tool(tool))
        fields: Item = {"tools": written} if written else {}
        if written and call.parallel_tools is not None:
            fields["parallel_tool_calls"] = call.parallel_tools
        return fields | said(tool_choice=self._choice())

    def _choice(self) -> object:
        choice, named = self._call.tool_choice, self._chosen
        if choice is None:
            return None
        names = tuple(name for name in choice.names if name in named)
        must = choice.must or choice.mode in ("required", "one")
        if must and (len(names) < len(choice.names) or not named):
            name = self._call.names.get("tool_choice", "tool_choice")
            raise Untranslatable(f"{name}: the upstream has no such tool", param=name)
        if not named:
            return None
        if choice.mode == "allowed" and not names:
            return "none"
        return choice_item(replace(choice, names=names), named.__getitem__)

    def _tool(self, tool: Tool) -> Item:
        freeform = tool.kind == "freeform"
        custom = freeform and self._freeform
        name = self._naming.tool_name(
            tool.name, tool.namespace, tool.kind, unlike=freeform and not custom
        )
        kind = "custom" if custom else "function"
        self._chosen[tool.name] = {"type": kind, "name": name}
        if tool.cache is not None:
            self._ledger.lose(f"{tool.path}.{self._call.names.get('cache', 'cache')}")
        description = tool.description
        if freeform and not custom and tool.grammar:
            self._ledger.lose(f"{tool.path}.format", "narrower there")
            rules = f"The input must follow this grammar: {bytes(tool.grammar).decode()}"
            description = f"{description}\n\n{rules}" if description else rules
        item: Item = {"type": kind, "name": name} | said(description=description)
        if custom:
            return item | said(format=_grammar(tool))
        schema = Raw(SCHEMA) if freeform else tool.schema or Raw(NO_SCHEMA)
        # Unsaid, it would be true here, and a schema that is not made for that would be refused.
        return item | {"parameters": schema, "strict": bool(tool.strict)}

    def _own(self, parent: str, tools: list[Tool]) -> list[object]:
        entries = [self._own_tool(tool) for tool in tools]
        space = tools[0].namespace
        if space is None:
            return entries
        item: Item = {"type": "namespace", "name": space, "tools": entries}
        return [self._ledger.whole(item, parent)]

    def _own_tool(self, tool: Tool) -> object:
        if tool.raw:
            return tool.raw
        item: Item = {"name": tool.name} | said(description=tool.description)
        if tool.kind == "freeform":
            form = self._ledger.whole(_grammar(tool) or {}, f"{tool.path}.format") or None
            item |= {"type": "custom"} | said(format=form)
        else:
            item |= {"type": "function"}
            item |= said(parameters=tool.schema or None, strict=tool.strict)
        return self._ledger.whole(item, tool.path)


def _grammar(tool: Tool) -> Item | None:
    if not tool.grammar:
        return None
    return {"type": "grammar"} | decode(tool.grammar, dict[str, object])


def _item_of(tool: Tool) -> str:
    """Return the path of the input item that declares `tool`; "" when the body does."""
    return tool.path.partition(_TOOLS)[0] if tool.path.startswith("input[") else ""


def _namespaces(tools: Iterable[Tool]) -> list[tuple[str, list[Tool]]]:
    """Return runs of tools of one namespace, each with the namespace's path."""

    def space(tool: Tool) -> tuple[str, str | None]:
        parent = tool.path.rpartition(_TOOLS)[0] if tool.namespace is not None else ""
        return parent, tool.namespace

    return [(key[0], list(group)) for key, group in groupby(tools, key=space)]
