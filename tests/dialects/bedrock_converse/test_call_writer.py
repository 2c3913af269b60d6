"""rawproxy.dialects.bedrock_converse.call_writer: options and tools of a call."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Given, Target, ToolName
from rawproxy.dialects.bedrock_converse.call_reader import CallReader
from rawproxy.dialects.bedrock_converse.call_writer import FORCED_TOOL, JSON_HINT, write_call
from rawproxy.dialects.call import (
    Cache,
    CacheUse,
    Call,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.dialects.models import Takes, takes
from rawproxy.dialects.reading import Fields
from rawproxy.errors import Untranslatable

HI = Turn("user", (Text("Hi", "t"),), "m")
NEW = takes("bedrock_converse", "us.anthropic.claude-opus-4-8-v1:0")
BUDGET = Takes(reasoning="budget", limit=32000, breakpoints=True)
EFFORT = Takes(reasoning="effort")
NOTHING, NARROWER, NOT_THIS = "no such thing there", "narrower there", "not this model"


def target(taken: Takes, *, claude: bool = True) -> Target:
    return Target(
        "claude" if claude else "nova", taken, Origin("anthropic" if claude else "amazon")
    )


def write(
    taken: Takes = BUDGET, *, claude: bool = True, turns: tuple[Turn, ...] = (HI,), **call: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    written = write_call(Call("openai_chat", "m", turns, **call), target(taken, claude=claude))
    body = json.loads(written.body)
    assert body.pop("messages")
    return body, {loss.path: loss.why for loss in written.losses}


def test_a_plain_call_has_messages_only() -> None:
    assert write() == ({}, {})


@pytest.mark.parametrize(
    ("call", "body", "losses"),
    [
        ({"limit": 9}, {"inferenceConfig": {"maxTokens": 9}}, {}),
        ({"sampling": Sampling(temperature=0.5)}, {"inferenceConfig": {"temperature": 0.5}}, {}),
        ({"sampling": Sampling(temperature=1.5)}, {"inferenceConfig": {"temperature": 1}}, {"temperature": NARROWER}),
        ({"sampling": Sampling(temperature=1, top_p=0.5)}, {"inferenceConfig": {"topP": 0.5}}, {}),
        ({"sampling": Sampling(temperature=0.5, top_p=0.5)}, {"inferenceConfig": {"temperature": 0.5}}, {"top_p": NARROWER}),
        ({"sampling": Sampling(top_k=5)}, {"additionalModelRequestFields": {"top_k": 5}}, {}),
        ({"sampling": Sampling(seed=1, min_p=0.1)}, {}, {"seed": NOTHING, "min_p": NOTHING}),
        ({"sampling": Sampling(frequency_penalty=0, presence_penalty=1)}, {}, {"presence_penalty": NOTHING}),
        ({"n": 2, "logprobs": True, "top_logprobs": 3, "verbosity": "low"}, {}, {"n": NOTHING, "logprobs": NOTHING, "top_logprobs": NOTHING, "verbosity": NOTHING}),
        ({"identity": Identity("u", "s")}, {}, {"identity.user": NOTHING, "identity.safety": NOTHING}),
        ({"cache": CacheUse("k", "24h")}, {}, {"cache.key": NOTHING, "cache.retention": NOTHING}),
        ({"tier": "flex"}, {"serviceTier": {"type": "flex"}}, {}),
        ({"tier": "auto"}, {}, {}),
        ({"tier": "standard_only"}, {"serviceTier": {"type": "default"}}, {}),
        ({"tier": "scale"}, {}, {"tier": NARROWER}),
        ({"identity": Identity(metadata=Raw(b'{"a":"b"}'))}, {"requestMetadata": {"a": "b"}}, {}),
        ({"identity": Identity(metadata=Raw(b'{"a":"b","":"c","d":"\xc3\xa4"}'))}, {"requestMetadata": {"a": "b"}}, {"identity.metadata": NARROWER}),
        ({"identity": Identity(metadata=Raw(b'{"a":1}'))}, {}, {"identity.metadata": NARROWER}),
        ({"format": Format("json")}, {"system": [{"text": JSON_HINT}]}, {"format": NARROWER}),
        ({"extra": {"odd": b"1"}, "names": {"n": "choices"}, "n": 3}, {}, {"choices": NOTHING, "odd": NOTHING}),
    ],
)  # fmt: skip
def test_options(call: dict[str, Any], body: object, losses: object) -> None:
    assert write(**call) == (body, losses)


def test_models_that_take_no_sampling() -> None:
    drawn = Sampling(temperature=0.5, top_p=1, top_k=3)
    assert write(NEW, sampling=drawn) == ({}, {"temperature": NOT_THIS, "top_k": NOT_THIS})


def test_models_of_others() -> None:
    drawn = Sampling(temperature=0.5, top_p=0.5, top_k=3)
    body, losses = write(EFFORT, claude=False, sampling=drawn)
    assert body == {"inferenceConfig": {"temperature": 0.5, "topP": 0.5}}
    assert losses == {"top_k": NOT_THIS}


@pytest.mark.parametrize(
    ("stream", "path"), [(True, "/delta/stop_sequence"), (False, "/stop_sequence")]
)
def test_stop_sequences_and_which_one_it_was(*, stream: bool, path: str) -> None:
    written = write_call(Call("x", "m", (HI,), stream=stream, stop=("a", " ")), target(BUDGET))
    body = json.loads(written.body)
    assert body["inferenceConfig"] == {"stopSequences": ["a"]}
    assert body["additionalModelResponseFieldPaths"] == [path]
    assert written.back.stops == (" ",)


def test_stop_sequences_that_the_model_does_not_take_are_ours_to_find() -> None:
    written = write_call(Call("x", "m", (HI,), stop=("a",)), target(Takes(stop=False)))
    assert (written.back.stops, written.losses) == (("a",), [])
    assert list(json.loads(written.body)) == ["messages"]


THINKING = "additionalModelRequestFields"


@pytest.mark.parametrize(
    ("taken", "asked", "body", "losses"),
    [
        (BUDGET, Reasoning("on", budget=4000), {THINKING: {"thinking": {"type": "enabled", "budget_tokens": 4000}}}, {}),
        (BUDGET, Reasoning(effort="high"), {THINKING: {"thinking": {"type": "enabled", "budget_tokens": 16384}}}, {}),
        (BUDGET, Reasoning("on", show="none"), {THINKING: {"thinking": {"type": "enabled", "budget_tokens": 8192, "display": "omitted"}}}, {}),
        (BUDGET, Reasoning(budget=90000), {THINKING: {"thinking": {"type": "enabled", "budget_tokens": 30976}}}, {}),
        (BUDGET, Reasoning("off"), {THINKING: {"thinking": {"type": "disabled"}}}, {}),
        (BUDGET, Reasoning(show="summary"), {}, {"reasoning": NARROWER}),
        (NEW, Reasoning("adaptive", show="full"), {THINKING: {"thinking": {"type": "adaptive", "display": "summarized"}}}, {}),
        (NEW, Reasoning(effort="minimal"), {THINKING: {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "low"}}, {}),
        (NEW, Reasoning(budget=9000), {THINKING: {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "high"}}, {"reasoning": NARROWER}),
        (NEW, Reasoning(effort="none"), {THINKING: {"thinking": {"type": "disabled"}}}, {}),
        (EFFORT, Reasoning(effort="medium"), {"outputConfig": {"effort": "medium"}}, {}),
        (EFFORT, Reasoning("off"), {}, {"reasoning": NARROWER}),
        (Takes(), Reasoning(effort="low"), {}, {"reasoning": NOT_THIS}),
        (Takes(), Reasoning("off"), {}, {}),
    ],
)  # fmt: skip
def test_reasoning(taken: Takes, asked: Reasoning, body: object, losses: object) -> None:
    assert write(taken, reasoning=asked) == (body, losses)


def test_thinking_needs_room_and_takes_no_sampling() -> None:
    drawn = Sampling(temperature=0.5, top_k=3)
    body, losses = write(limit=2000, reasoning=Reasoning(budget=2000), sampling=drawn)
    assert body == {
        "inferenceConfig": {"maxTokens": 4000},
        THINKING: {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    }
    assert losses == {"limit": NARROWER, "temperature": NARROWER, "top_k": NARROWER}


SEALED = seal(Origin("anthropic"), "thinking", '{"signature":"s"}', ["Hm"])
CALLED = ToolCall("c", "f", "{}", "call")
ANSWER = Turn("user", (ToolResult("c", (), "result"),), "r")


@pytest.mark.parametrize(
    ("turns", "kind"),
    [
        ((HI, Turn("assistant", (Thinking("Hm", "th", SEALED), CALLED)), ANSWER), "enabled"),
        ((HI, Turn("assistant", (CALLED,)), ANSWER), "disabled"),
        ((HI, Turn("assistant", (Text("a"),))), "disabled"),
        (
            (HI, Turn("assistant", (CALLED,)), ANSWER, Turn("assistant", (Text("a"),)), HI),
            "enabled",
        ),
    ],
)
def test_a_turn_that_goes_on_begins_with_thinking_or_does_without(
    turns: tuple[Turn, ...], kind: str
) -> None:
    body, losses = write(turns=turns, reasoning=Reasoning("on"))
    assert body[THINKING]["thinking"]["type"] == kind
    assert losses == ({} if kind == "enabled" else {"reasoning": NARROWER})


F = Tool("f", "tools[0]", "d", Raw(b'{"type":"object","properties":{"a":{"type":"object"}}}'))
G = Tool("g", "tools[1]")


def spec(name: str, schema: object, **more: object) -> dict[str, Any]:
    return {"toolSpec": {"name": name} | more | {"inputSchema": {"json": schema}}}


EMPTY = {"type": "object", "properties": {}}
F_SPEC = spec("f", {"type": "object", "properties": {"a": {"type": "object"}}}, description="d")


@pytest.mark.parametrize(
    ("tool", "found", "losses"),
    [
        (F, [F_SPEC], {}),
        (G, [spec("g", EMPTY)], {}),
        (replace(G, schema=Raw(b"{}"), description=""), [spec("g", EMPTY)], {}),
        (replace(G, schema=Raw(b'{"properties":{}}')), [spec("g", EMPTY)], {}),
        (replace(G, cache=Cache()), [spec("g", EMPTY), {"cachePoint": {"type": "default"}}], {}),
        (replace(G, kind="native:bash", runs="client"), None, {"tools[1]": NOTHING}),
        (replace(G, runs="vendor"), None, {"tools[1]": NOTHING}),
        (
            replace(G, kind="freeform", grammar=Raw(b'{"x":1}')),
            [spec("g", {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
                  description='The input must follow this grammar: {"x":1}')],
            {"tools[1].format": NARROWER},
        ),
        (
            replace(G, kind="freeform", description="d", grammar=Raw(b"{}")),
            [spec("g", {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]},
                  description="d\n\nThe input must follow this grammar: {}")],
            {"tools[1].format": NARROWER},
        ),
    ],
)  # fmt: skip
def test_tools(tool: Tool, found: object, losses: object) -> None:
    body, lost = write(tools=(tool,))
    assert body.get("toolConfig", {}).get("tools") == found
    assert lost == losses


def test_strict_tools_are_closed() -> None:
    nested = {
        "type": "array",
        "items": [{"type": "object", "properties": {}}],
        "enum": [{"type": "object"}],
    }
    schema = Raw(json.dumps({"type": "object", "properties": {"a": nested}}).encode())
    body, losses = write(tools=(replace(F, schema=schema, strict=True),))
    found = body["toolConfig"]["tools"][0]["toolSpec"]
    assert (found["strict"], losses) == (True, {})
    closed = found["inputSchema"]["json"]
    assert closed["additionalProperties"] is False
    assert closed["properties"]["a"]["items"][0]["additionalProperties"] is False
    assert closed["properties"]["a"]["enum"] == [{"type": "object"}]


def test_models_that_know_no_strictness() -> None:
    body, losses = write(Takes(schema=False), tools=(replace(G, strict=True),))
    assert "strict" not in body["toolConfig"]["tools"][0]["toolSpec"]
    assert losses == {"tools[1].strict": NOT_THIS}


def test_names_that_the_api_does_not_take() -> None:
    tool = Tool("look.up", "tools[0]", namespace="ns")
    written = write_call(Call("x", "m", (HI,), tools=(tool,)), target(BUDGET))
    (name,) = written.back.tools
    assert written.back.tools[name] == ToolName("look.up", "ns")
    assert len(name) <= 64


@pytest.mark.parametrize(
    ("choice", "found", "names"),
    [
        (ToolChoice("auto"), None, ["f", "g"]),
        (ToolChoice("required"), {"any": {}}, ["f", "g"]),
        (ToolChoice("one", ("g",)), {"tool": {"name": "g"}}, ["f", "g"]),
        (ToolChoice("allowed", ("g",)), None, ["g"]),
        (ToolChoice("allowed", ("g",), must=True), {"any": {}}, ["g"]),
    ],
)
def test_tool_choice(choice: ToolChoice, found: object, names: list[str]) -> None:
    body, losses = write(tools=(F, G), tool_choice=choice)
    config = body["toolConfig"]
    assert config.get("toolChoice") == found
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == names
    assert losses == {}


SHOWN = (HI, Turn("assistant", (CALLED,)), ANSWER)


def test_no_tool_is_wanted() -> None:
    none = ToolChoice("none")
    assert write(tools=(F,), tool_choice=none) == ({}, {})
    body, losses = write(turns=SHOWN, tools=(F,), tool_choice=none)
    assert (body["toolConfig"], losses) == ({"tools": [F_SPEC]}, {"tool_choice": NARROWER})
    body, losses = write(turns=SHOWN, tool_choice=none)
    assert (body["toolConfig"], losses) == ({"tools": [spec("f", EMPTY)]}, {})


def test_a_conversation_that_shows_tools_needs_some() -> None:
    body, losses = write(turns=SHOWN)
    assert (body, losses) == ({"toolConfig": {"tools": [spec("f", EMPTY)]}}, {})
    assert write(turns=(HI, ANSWER)) == ({}, {})


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("one", ("x",))])
def test_a_choice_of_what_is_not_there(choice: ToolChoice) -> None:
    with pytest.raises(Untranslatable):
        write(tools=(replace(F, runs="vendor"),), tool_choice=choice)


def test_thinking_leaves_the_choice_to_the_model() -> None:
    body, losses = write(tools=(F,), tool_choice=ToolChoice("required"), reasoning=Reasoning("on"))
    assert "toolChoice" not in body["toolConfig"]
    assert losses == {"tool_choice": NARROWER}


def test_one_tool_at_a_time_cannot_be_asked_for() -> None:
    assert write(tools=(F,), parallel_tools=False)[1] == {"parallel_tools": NOTHING}
    assert write(parallel_tools=False)[1] == {}
    assert write(tools=(F,), parallel_tools=True)[1] == {}


FORM = Format("schema", "n", "d", Raw(b'{"type":"object","properties":{}}'))


@pytest.mark.parametrize(("name", "said"), [("n", "n"), (None, "reply")])
def test_a_schema_for_the_reply(name: str | None, said: str) -> None:
    body, losses = write(format=replace(FORM, name=name))
    form = body["outputConfig"]["textFormat"]
    found = form["structure"]["jsonSchema"]
    assert (form["type"], found["name"], found["description"]) == ("json_schema", said, "d")
    assert json.loads(found["schema"]) == EMPTY | {"additionalProperties": False}
    assert losses == {}


def test_a_schema_that_is_closed_keeps_its_spelling() -> None:
    schema = '{"type": "object", "additionalProperties": true}'
    body, _ = write(format=replace(FORM, schema=Raw(schema.encode())))
    assert body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"] == schema


@pytest.mark.parametrize(
    ("tools", "choice", "name", "found"),
    [
        ((), None, FORCED_TOOL, {"tool": {"name": FORCED_TOOL}}),
        ((replace(F, cache=Cache()),), None, FORCED_TOOL, {"any": {}}),
        ((F,), ToolChoice("none"), FORCED_TOOL, {"tool": {"name": FORCED_TOOL}}),
        ((F,), ToolChoice("one", ("f",)), FORCED_TOOL, {"tool": {"name": "f"}}),
        ((Tool(FORCED_TOOL, "t"),), None, f"{FORCED_TOOL}_", {"any": {}}),
    ],
)
def test_older_models_get_a_tool_for_the_schema(
    tools: tuple[Tool, ...], choice: ToolChoice | None, name: str, found: object
) -> None:
    call = Call("x", "m", (HI,), tools=tools, tool_choice=choice, format=FORM)
    written = write_call(call, target(Takes(schema=False, breakpoints=True)))
    config = json.loads(written.body)["toolConfig"]
    assert config["tools"][-1]["toolSpec"]["name"] == name
    assert (config["toolChoice"], written.back.forced_tool) == (found, name)
    assert [loss.path for loss in written.losses] == ["format"]


def test_a_mark_without_a_place_goes_to_the_end() -> None:
    def last(taken: Takes, *turns: Turn) -> tuple[list[str], dict[str, str]]:
        cache = CacheUse(automatic=Cache())
        written = write_call(Call("x", "m", turns, cache=cache), target(taken))
        content = json.loads(written.body)["messages"][-1]["content"]
        return [next(iter(block)) for block in content], {
            one.path: one.why for one in written.losses
        }

    assert last(BUDGET, HI) == (["text", "cachePoint"], {})
    assert last(Takes(), HI) == (["text"], {"cache.automatic": NOTHING})
    marked = Turn("user", (Text("a", "t", Cache()),))
    assert last(BUDGET, marked) == (["text", "cachePoint"], {})
    thought = Turn("assistant", (Thinking("Hm", "t", SEALED),))
    assert last(BUDGET, HI, thought) == (["reasoningContent"], {})


BODIES: list[dict[str, Any]] = [
    {
        "system": [{"text": "S"}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "topP": 1, "stopSequences": [" "], "new": 1},
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "f", "description": "", "inputSchema": {"json": {}, "new": 1}, "strict": False, "new": 1}, "new": 1},
                {"cachePoint": {"type": "default", "ttl": "5m"}},
                {"systemTool": {"name": "s"}},
                {"cachePoint": {"type": "default"}},
                {"cachePoint": {"type": "default"}},
                {"toolSpec": {"name": "g"}},
            ],
            "toolChoice": {"tool": {"name": "f", "new": 1}},
            "new": 1,
        },
        "additionalModelRequestFields": {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 9, "display": "omitted"}, "x": [1.50]},
        "additionalModelResponseFieldPaths": ["/delta/stop_sequence"],
        "outputConfig": {"effort": "max", "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{ "a": 1.50}', "name": "n", "description": "d"}}}},
        "guardrailConfig": {"guardrailIdentifier": "g"}, "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex", "new": 1}, "requestMetadata": {"a": "b"},
    },
    {"additionalModelRequestFields": {"reasoning_config": {"type": "disabled"}}, "toolConfig": {"toolChoice": {"any": {}}}},
    {"toolConfig": {"toolChoice": {"auto": {}}}, "promptVariables": {"a": {"text": "b"}}, "modelId": "x"},
    {"toolConfig": {"toolChoice": {"new": 1}}, "outputConfig": {"textFormat": {"type": "new"}, "effort": "new"}},
    {"additionalModelRequestFields": {"thinking": {"type": "new"}, "top_k": "x"}},
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
def test_its_own_calls_go_back_as_they_came(body: dict[str, Any]) -> None:
    whole = {"messages": [{"role": "user", "content": [{"text": " "}], "new": 1}]} | body
    data = json.dumps(whole).encode()
    call = CallReader(Fields.of(data), Vault(), Given("m", True)).read()
    written = write_call(call, target(NEW))
    assert json.loads(written.body) == whole
    assert written.losses == []


def test_a_stored_prompt_goes_back_without_messages() -> None:
    given = Given("arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ")
    call = CallReader(Fields.of(b'{"promptVariables":{}}'), Vault(), given).read()
    assert json.loads(write_call(call, target(NEW)).body) == {"promptVariables": {}}
