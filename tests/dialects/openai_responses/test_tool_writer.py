"""rawproxy.dialects.openai_responses.tool_writer: tools as they came, and those of other dialects."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Target, ToolName
from rawproxy.dialects.call import Cache, Call, Tool, ToolChoice
from rawproxy.dialects.models import Takes
from rawproxy.dialects.narrowing import Naming
from rawproxy.dialects.openai_responses.ledger import Ledger
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.openai_responses.tool_reader import ToolReader
from rawproxy.dialects.openai_responses.tool_writer import ToolWriter
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import Untranslatable

FREEFORM = Takes(freeform=True)
GRAMMAR = Raw(b'{"definition":"x","syntax":"lark"}')
F = {"type": "function", "name": "f"}


def writer_for(call: Call, taken: Takes = FREEFORM) -> tuple[ToolWriter, Ledger, Naming]:
    own = call.dialect == RESPONSES
    ledger = Ledger(call, own=own)
    naming = Naming(exact=own, longest_id=64, longest_name=64)
    return ToolWriter(call, Target("m", taken), ledger, naming), ledger, naming


def again(*tools: object) -> Any:
    reader = ToolReader()
    read = reader.tools(Fields.of(encode({"tools": tools})))
    writer, ledger, _ = writer_for(Call(RESPONSES, "m", tools=tuple(read), extra=reader.extra))
    written = writer.own()
    assert ledger.close() == []
    return json.loads(encode(written))


@pytest.mark.parametrize(
    "tools",
    [
        [F | {"description": "d", "parameters": {"x": 1.0}, "strict": True, "defer_loading": True}],
        [{"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "regex", "definition": "x"}}],
        [{"type": "custom", "name": "c", "format": {"type": "new", "x": 1}}],
        [{"type": "web_search", "filters": None}, {"type": "mcp", "server_label": "wiki"}],
        [
            F,
            {"type": "namespace", "name": "a", "description": "d", "tools": [F, {"type": "shell"}]},
            {"type": "namespace", "name": "a", "tools": [F]},
            {"type": "namespace", "name": "b", "tools": []},
            F,
        ],
    ],
)  # fmt: skip
def test_tools_go_back_as_they_came(tools: list[object]) -> None:
    assert again(*tools) == tools


def test_tools_among_the_items_are_written_there() -> None:
    call = Call(RESPONSES, "m", tools=(
        Tool("f", "tools[0]"), Tool("g", "input[1].tools[0]"),
        Tool("h", "input[1].tools[1].tools[0]", namespace="ns"), Tool("mine", ""),
        Tool("his", "", namespace="ns"),
    ), extra={"input[1].tools[1].description": b'"d"', "new": b"1"})  # fmt: skip
    writer, _, _ = writer_for(call)
    assert [one["name"] for one in json.loads(encode(writer.own()))] == ["f", "mine", "ns"]
    space = {"type": "namespace", "name": "ns", "tools": [{"name": "h", "type": "function"}], "description": "d"}  # fmt: skip
    written = json.loads(encode(writer.own("input[1]")))
    assert written == [{"name": "g", "type": "function"}, space]


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, None),
        (ToolChoice("auto"), "auto"),
        (ToolChoice("one", ("c",)), {"type": "custom", "name": "c"}),
    ],
)
def test_a_choice_goes_back_as_it_came(choice: ToolChoice | None, written: object) -> None:
    call = Call(RESPONSES, "m", tools=(Tool("c", kind="freeform"),), tool_choice=choice)
    assert writer_for(call)[0].own_choice() == written


def write(*tools: Tool, taken: Takes = FREEFORM, **call: Any) -> tuple[Any, dict[str, str], Naming]:
    writer, ledger, naming = writer_for(Call("openai_chat", "m", tools=tools, **call), taken)
    fields = json.loads(encode(writer.fields()))
    return fields, {loss.path: loss.why for loss in ledger.close()}, naming


def test_a_function_says_whether_it_is_strict() -> None:
    fields, lost, _ = write(Tool("f", "t[0]", "d", Raw(b'{"x":1}'), strict=True), Tool("g", "t[1]"))
    assert fields == {"tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {"x": 1}, "strict": True},
        {
            "type": "function", "name": "g", "strict": False,
            "parameters": {"type": "object", "properties": {}},
        },
    ]}  # fmt: skip
    assert lost == {}


def test_a_freeform_tool_is_custom_with_a_flat_grammar() -> None:
    tools = (
        Tool("c", "t[0]", "d", kind="freeform", grammar=GRAMMAR),
        Tool("b", "t[1]", kind="freeform"),
    )
    fields, lost, naming = write(*tools)
    form = {"type": "grammar", "definition": "x", "syntax": "lark"}
    assert fields["tools"] == [
        {"type": "custom", "name": "c", "description": "d", "format": form},
        {"type": "custom", "name": "b"},
    ]
    assert (lost, naming.tools) == ({}, {})


@pytest.mark.parametrize(("description", "begins"), [("d", "d\n\nThe input"), (None, "The input")])
def test_where_none_is_known_it_is_a_function_with_one_text(
    description: str | None, begins: str
) -> None:
    tool = Tool("c", "t[0]", description, kind="freeform", grammar=GRAMMAR)
    fields, lost, naming = write(tool, taken=Takes())
    (written,) = fields["tools"]
    assert written["type"] == "function"
    assert written["parameters"]["properties"] == {"input": {"type": "string"}}
    assert written["description"].startswith(begins)
    assert lost == {"t[0].format": "narrower there"}
    assert naming.tools == {"c": ToolName("c", kind="freeform")}


def test_names_are_flattened_and_native_tools_lost() -> None:
    fields, lost, naming = write(
        Tool("f", "t[0]", namespace="ns", cache=Cache()),
        Tool("bash", "t[1]", kind="native:bash_20250124"),
        Tool("search", "t[2]", kind="native:web_search", runs="vendor"),
        names={"cache": "cache_control"},
    )
    assert [tool["name"] for tool in fields["tools"]] == ["ns__f"]
    assert lost == {
        "t[0].cache_control": "no such thing there",
        "t[1]": "no such thing there",
        "t[2]": "no such thing there",
    }
    assert naming.tools == {"ns__f": ToolName("f", "ns")}


FUNCTIONS = (Tool("f", "t[0]"), Tool("c", "t[1]", kind="freeform"), Tool("g", "t[2]", namespace="ns"))  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (ToolChoice("required"), "required"),
        (ToolChoice("one", ("g",)), {"type": "function", "name": "ns__g"}),
        (ToolChoice("one", ("c",)), {"type": "custom", "name": "c"}),
        (
            ToolChoice("allowed", ("f", "c"), must=True),
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [F, {"type": "custom", "name": "c"}],
            },
        ),
        (
            ToolChoice("allowed", ("f", "gone")),
            {"type": "allowed_tools", "mode": "auto", "tools": [F]},
        ),
        (ToolChoice("allowed", ("gone",)), "none"),
    ],
)
def test_a_choice_names_the_tools_as_they_are_called_here(
    choice: ToolChoice, written: object
) -> None:
    fields, lost, _ = write(*FUNCTIONS, tool_choice=choice, parallel_tools=False)
    assert fields["tool_choice"] == written
    assert fields["parallel_tool_calls"] is False
    assert lost == {}


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        (FUNCTIONS, ToolChoice("one", ("gone",))),
        (FUNCTIONS, ToolChoice("allowed", ("f", "gone"), must=True)),
        ((), ToolChoice("required")),
    ],
)
def test_a_tool_that_must_be_there_and_is_not(tools: tuple[Tool, ...], choice: ToolChoice) -> None:
    with pytest.raises(Untranslatable, match="no such tool"):
        write(*tools, tool_choice=choice)


def test_without_tools_nothing_is_said_of_them() -> None:
    assert write(tool_choice=ToolChoice("none"), parallel_tools=True)[0] == {}
