"""rawproxy.dialects.openai_responses.tool_reader: tools and the choice among them."""

from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.call import Tool, ToolChoice
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.tool_reader import ToolReader, choice_item, chosen
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError

F = {"type": "function", "name": "f"}


def read(*tools: object) -> tuple[list[Tool], dict[str, bytes]]:
    reader = ToolReader()
    return reader.tools(Fields.of(encode({"tools": tools}))), reader.extra


def test_a_function_is_flat() -> None:
    function = F | {
        "description": "d",
        "parameters": {"x": 1},
        "strict": False,
        "defer_loading": True,
    }
    assert read(function) == (
        [Tool("f", "tools[0]", "d", Raw(b'{"x":1}'), strict=False)],
        {"tools[0].defer_loading": b"true"},
    )


def test_strict_is_none_where_it_is_not_said() -> None:
    assert read({"name": "f", "strict": None})[0] == [Tool("f", "tools[0]")]


@pytest.mark.parametrize(
    ("form", "grammar", "extra"),
    [
        (None, Raw(), {}),
        ({"type": "text"}, Raw(), {}),
        (
            {"type": "grammar", "definition": "d", "syntax": "lark"},
            Raw(b'{"syntax":"lark","definition":"d"}'),
            {},
        ),
        ({"type": "new", "x": 1}, Raw(), {"type": b'"new"', "x": b"1"}),
    ],
)
def test_a_custom_tool_has_a_grammar(form: object, grammar: Raw, extra: dict[str, bytes]) -> None:
    tools, kept = read({"type": "custom", "name": "c", "description": "d", "format": form})
    assert tools == [Tool("c", "tools[0]", "d", kind="freeform", grammar=grammar)]
    assert kept == {f"tools[0].format.{name}": value for name, value in extra.items()}


def test_the_tools_of_a_namespace_stand_beside_the_others() -> None:
    space = {
        "type": "namespace", "name": "ns", "description": "d",
        "tools": [F, {"type": "custom", "name": "c"}, {"type": "web_search"}],
    }  # fmt: skip
    tools, extra = read(F, space)
    assert [(tool.name, tool.path, tool.namespace) for tool in tools] == [
        ("f", "tools[0]", None),
        ("f", "tools[1].tools[0]", "ns"),
        ("c", "tools[1].tools[1]", "ns"),
        ("web_search", "tools[1].tools[2]", "ns"),
    ]
    assert extra == {"tools[1].description": b'"d"'}


def test_an_empty_namespace_is_kept_whole() -> None:
    (tool,), extra = read({"type": "namespace", "name": "ns", "tools": []})
    assert (tool.kind, bytes(tool.raw)) == ("native:namespace", b'{"type":"namespace","name":"ns","tools":[]}')  # fmt: skip
    assert extra == {}


@pytest.mark.parametrize(
    ("tool", "name", "runs"),
    [
        ({"type": "web_search", "external_web_access": True}, "web_search", "vendor"),
        ({"type": "mcp", "server_label": "wiki"}, "wiki", "vendor"),
        ({"type": "apply_patch"}, "apply_patch", "client"),
        ({"type": "local_shell"}, "local_shell", "client"),
        ({"type": "shell", "name": "sh"}, "sh", "client"),
        ({"type": "tool_search", "execution": "client"}, "tool_search", "client"),
        ({"type": "tool_search"}, "tool_search", "vendor"),
    ],
)
def test_native_tools_are_kept_whole(tool: dict[str, Any], name: str, runs: Any) -> None:
    raw = Raw(encode(tool))
    expected = Tool(
        name, "tools[0]", kind=f"native:{tool['type']}", runs=runs, dialect=RESPONSES, raw=raw
    )
    assert read(tool) == ([expected], {})


TOOLS = [
    Tool("f"), Tool("c", kind="freeform"), Tool("wiki", kind="native:mcp"),
    Tool("web_search", kind="native:web_search"),
]  # fmt: skip
ALLOWED = {
    "type": "allowed_tools", "mode": "required",
    "tools": [F, {"type": "mcp", "server_label": "wiki"}, {"type": "web_search"}],
}  # fmt: skip
CHOICES: list[tuple[object, ToolChoice]] = [
    ("auto", ToolChoice("auto")),
    ("none", ToolChoice("none")),
    ("required", ToolChoice("required")),
    (F, ToolChoice("one", ("f",))),
    ({"type": "function", "name": "other"}, ToolChoice("one", ("other",))),
    ({"type": "custom", "name": "c"}, ToolChoice("one", ("c",))),
    ({"type": "mcp", "server_label": "wiki"}, ToolChoice("one", ("wiki",))),
    ({"type": "web_search"}, ToolChoice("one", ("web_search",))),
    (ALLOWED, ToolChoice("allowed", ("f", "wiki", "web_search"), must=True)),
    (ALLOWED | {"mode": "auto"}, ToolChoice("allowed", ("f", "wiki", "web_search"))),
]


@pytest.mark.parametrize(("given", "choice"), CHOICES)
def test_a_choice_is_read_and_written(given: object, choice: ToolChoice) -> None:
    reader = ToolReader()
    assert reader.choice(Fields.of(encode({"tool_choice": given})), TOOLS) == choice
    assert choice_item(choice, lambda name: chosen(name, TOOLS)) == given
    assert reader.extra == {}


@pytest.mark.parametrize(
    ("given", "choice"),
    [
        ({"type": "mcp", "server_label": "wiki", "name": "ask"}, ToolChoice("one", ("wiki",))),
        ({"type": "computer_use"}, ToolChoice("one", ("computer_use",))),
        (F | {"namespace": "ns"}, ToolChoice("one", ("f",))),
        (ALLOWED | {"mode": "new"}, ToolChoice("allowed", ("f", "wiki", "web_search"))),
    ],
)
def test_a_choice_that_says_more_is_kept_whole(given: object, choice: ToolChoice) -> None:
    reader = ToolReader()
    assert reader.choice(Fields.of(encode({"tool_choice": given})), TOOLS) == choice
    assert reader.extra == {"tool_choice": encode(given)}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": 3}, "tool_choice"),
        ({"tool_choice": {"name": "f"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tools": {}}, "tools"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name"),
        ({"tools": [{"type": "custom", "name": "c", "format": {"type": "grammar"}}]}, "tools[0].format.syntax"),
    ],
)  # fmt: skip
def test_errors_name_the_field(body: object, param: str) -> None:
    reader, fields = ToolReader(), Fields.of(encode(body))
    with pytest.raises(ClientError) as caught:
        reader.choice(fields, reader.tools(fields))
    assert caught.value.param == param


def test_nothing_said_is_no_choice() -> None:
    assert ToolReader().choice(Fields.of(b'{"tool_choice":null}'), []) is None
