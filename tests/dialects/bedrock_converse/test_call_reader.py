"""rawproxy.dialects.bedrock_converse.call_reader: options and tools."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Given
from rawproxy.dialects.bedrock_converse.call_reader import CallReader
from rawproxy.dialects.call import Cache, Call, Reasoning, Sampling, Tool, ToolChoice
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

HI = [{"role": "user", "content": [{"text": "Hi"}]}]
FIELDS = "additionalModelRequestFields"


M = Given("m")


def read(given: Given = M, **body: Any) -> Call:
    said = {"messages": HI} | body
    return CallReader(Fields.of(json.dumps(said).encode()), Vault(), given).read()


def test_the_path_says_the_model_and_whether_it_streams() -> None:
    assert (read(Given("m", True)).model, read(Given("m", True)).stream) == ("m", True)
    assert (read(Given()).model, read(Given()).stream) == ("", False)
    assert read().wants_usage


def test_inference() -> None:
    call = read(inferenceConfig={"maxTokens": 9.0, "temperature": 0.5, "topP": 1, "stopSequences": ["x"], "new": 1})  # fmt: skip
    assert (call.limit, call.sampling, call.stop) == (9, Sampling(0.5, 1), ("x",))
    assert call.names == {
        "limit": "inferenceConfig.maxTokens", "temperature": "inferenceConfig.temperature",
        "top_p": "inferenceConfig.topP", "stop": "inferenceConfig.stopSequences",
    }  # fmt: skip
    assert call.extra == {"inferenceConfig.new": b"1"}


@pytest.mark.parametrize(
    ("fields", "reasoning", "top_k", "extra"),
    [
        ({"top_k": 5}, Reasoning(), 5, {}),
        ({"top_k": "5"}, Reasoning(), None, {"top_k": b'"5"'}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Reasoning("on", budget=2000), None, {}),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Reasoning("adaptive", show="none"), None, {}),
        ({"reasoning_config": {"type": "disabled"}}, Reasoning("off"), None, {}),
        ({"thinking": {"type": "new"}}, Reasoning(), None, {"thinking": b'{"type": "new"}'}),
        ({"thinking": {"type": "enabled", "new": 1}}, Reasoning(), None, {"thinking": b'{"type": "enabled", "new": 1}'}),
        (
            {"thinking": {"type": "enabled"}, "reasoning_config": {"type": "enabled"}},
            Reasoning("on"), None, {"reasoning_config": b'{"type": "enabled"}'},
        ),
        ({"anthropic_beta": ["b"], "inferenceConfig": {"topK": 3}}, Reasoning(), None, {"anthropic_beta": b'["b"]', "inferenceConfig": b'{"topK": 3}'}),
    ],
)  # fmt: skip
def test_fields_of_the_model(
    fields: object, reasoning: Reasoning, top_k: int | None, extra: dict[str, bytes]
) -> None:
    call = read(additionalModelRequestFields=fields)
    assert (call.reasoning, call.sampling.top_k) == (reasoning, top_k)
    assert call.extra == {f"{FIELDS}.{name}": raw for name, raw in extra.items()}


def test_what_the_client_called_how_to_think() -> None:
    effort = {"effort": "high"}
    assert read(outputConfig=effort).names == {"reasoning": "outputConfig.effort"}
    call = read(
        outputConfig=effort, additionalModelRequestFields={"thinking": {"type": "adaptive"}}
    )
    assert call.reasoning == Reasoning("adaptive", "high")
    assert call.names == {"reasoning": f"{FIELDS}.thinking"}


SCHEMA = {"schema": '{"type": "object"}', "name": "n", "description": "d"}


def text_format(schema: object, kind: str = "json_schema") -> dict[str, object]:
    return {"type": kind, "structure": {"jsonSchema": schema}}


def test_a_schema_is_json_in_a_string() -> None:
    form = read(outputConfig={"textFormat": text_format(SCHEMA)}).format
    assert form is not None
    assert (form.kind, form.name, form.description) == ("schema", "n", "d")
    assert bytes(form.schema) == b'{"type": "object"}'


@pytest.mark.parametrize(
    "form",
    [
        text_format(SCHEMA, "grammar"), text_format(SCHEMA | {"new": 1}), text_format({"schema": "?"}),
        text_format({"schema": "[]"}), text_format({}), 5,
    ],
)  # fmt: skip
def test_other_formats_are_kept(form: object) -> None:
    call = read(outputConfig={"textFormat": form, "effort": "utmost", "new": 1})
    assert call.format is None
    assert json.loads(call.extra.pop("outputConfig.textFormat")) == form
    assert call.extra == {"outputConfig.effort": b'"utmost"', "outputConfig.new": b"1"}


def test_tools() -> None:
    tools = [
        {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {}, "new": 1}, "strict": True, "new": 1}, "new": 1},
        {"cachePoint": {"type": "default", "ttl": "1h"}},
        {"systemTool": {"name": "search"}},
        {"toolSpec": {"name": "g"}},
    ]  # fmt: skip
    call = read(toolConfig={"tools": tools, "new": 1})
    first, second, third = call.tools
    path = "toolConfig.tools[0].toolSpec"
    assert first == Tool("f", path, "d", first.schema, strict=True, cache=Cache("1h"))
    assert bytes(first.schema) == b"{}"
    assert second == Tool(
        "systemTool", "toolConfig.tools[2]", kind="native:systemTool", runs="vendor",
        dialect="bedrock_converse", raw=second.raw,
    )  # fmt: skip
    assert third == Tool("g", "toolConfig.tools[3].toolSpec", schema=Raw())
    assert sorted(call.extra) == [
        "toolConfig.new", "toolConfig.tools[0].new", f"{path}.inputSchema.new", f"{path}.new",
    ]  # fmt: skip
    assert call.names == {"tools": "toolConfig.tools", "cache": "cachePoint"}


@pytest.mark.parametrize("first", [True, False])
def test_cache_points_that_belong_to_no_tool(*, first: bool) -> None:
    point = {"cachePoint": {"type": "default"}}
    before = [] if first else [{"toolSpec": {"name": "f"}}, point]
    last = read(toolConfig={"tools": [*before, point]}).tools[-1]
    assert (last.kind, last.name) == ("native:cachePoint", "cachePoint")


def test_a_tool_of_nothing() -> None:
    (tool,) = read(toolConfig={"tools": [{}]}).tools
    assert tool.runs == "vendor"


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"auto": {}}, ToolChoice("auto")),
        ({"any": {}}, ToolChoice("required")),
        ({"tool": {"name": "f"}}, ToolChoice("one", ("f",))),
        ({}, None),
    ],
)
def test_tool_choice(choice: object, found: ToolChoice | None) -> None:
    call = read(toolConfig={"toolChoice": choice})
    assert call.tool_choice == found
    assert call.names == {"tool_choice": "toolConfig.toolChoice"}
    assert call.extra == {}


def test_a_choice_that_is_not_known_is_kept() -> None:
    call = read(toolConfig={"toolChoice": {"new": 1}})
    assert (call.tool_choice, call.extra) == (None, {"toolConfig.toolChoice.new": b"1"})


def test_what_is_around_a_call() -> None:
    call = read(
        serviceTier={"type": "flex", "new": 1}, requestMetadata={"a": "b"},
        guardrailConfig={"guardrailIdentifier": "g"}, system=[{"text": "S"}],
    )  # fmt: skip
    assert call.tier == "flex"
    assert json.loads(bytes(call.identity.metadata)) == {"a": "b"}
    assert [turn.path for turn in call.turns] == ["system", "messages[0]"]
    assert sorted(call.extra) == ["guardrailConfig", "serviceTier.new"]
    assert call.names == {"tier": "serviceTier", "identity.metadata": "requestMetadata"}


@pytest.mark.parametrize(
    ("content", "prefill"),
    [([{"text": "a"}], True), ([{"toolUse": {"toolUseId": "t", "name": "f"}}], False)],
)
def test_a_turn_to_be_continued(content: object, *, prefill: bool) -> None:
    messages = [*HI, {"role": "assistant", "content": content}]
    assert read(messages=messages).prefill is prefill


def test_a_stored_prompt_comes_without_messages() -> None:
    given = Given("arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1")
    call = read(given, messages=None, promptVariables={"a": {"text": "b"}})
    assert (call.turns, call.prefill) == ((), False)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"inferenceConfig": {"maxTokens": "9"}}, "inferenceConfig.maxTokens"),
        ({FIELDS: []}, FIELDS),
        ({"toolConfig": {"tools": [5]}}, "toolConfig.tools[0]"),
        ({"toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec.name"),
        ({"toolConfig": {"toolChoice": {"tool": {}}}}, "toolConfig.toolChoice.tool.name"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as error:
        read(**body)
    assert error.value.param == param
