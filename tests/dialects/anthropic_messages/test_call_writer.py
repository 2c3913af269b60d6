"""rawproxy.dialects.anthropic_messages.call_writer: options and tools, of any dialect."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects import anthropic_messages
from rawproxy.dialects.anthropic_messages.call_writer import JSON_HINT
from rawproxy.dialects.base import Target, ToolName, Written
from rawproxy.dialects.call import (
    Cache,
    CacheUse,
    Call,
    Format,
    Identity,
    Part,
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
from rawproxy.dialects.envelope import UNKNOWN, Origin, Vault, seal
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import Takes, takes
from rawproxy.errors import Untranslatable

VAULT = Vault(b"key", "me")
HI: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]
OLD = Takes()
BUDGET = Takes(reasoning="budget", limit=32000)
NEW = takes("anthropic_messages", "claude-opus-4-8")
NOTHING, NARROWER, NOT_THIS = "no such thing there", "narrower there", "not this model"


def written(call: Call, taken: Takes = OLD) -> Written:
    return anthropic_messages.write_call(call, Target("to", taken, Origin("anthropic")))


def write(taken: Takes = OLD, **call: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the fields beside model, messages and the limit, and the losses."""
    turns = call.pop("turns", (Turn("user", (Text("Hi"),)),))
    found = written(Call("openai_chat", "m", turns, limit=call.pop("limit", 100), **call), taken)
    body = json.loads(found.body)
    assert body.pop("model") == "to"
    del body["messages"]
    if body["max_tokens"] == 100:
        del body["max_tokens"]
    return body, {loss.path: loss.why for loss in found.losses}


# -- its own calls


TOOL = {"name": "f", "description": "d", "input_schema": {"x": 1.0}, "strict": True}
EPHEMERAL = {"type": "ephemeral", "ttl": "1h"}
SCHEMA = {"type": "json_schema", "schema": {"x": 1.0}}
LINE = {"type": "text", "text": "a"}
OWN: list[dict[str, object]] = [
    {},
    {"max_tokens": 0, "stream": True, "temperature": 0.0, "top_p": 1, "top_k": 3},
    {"stop_sequences": ["a", " "], "service_tier": "standard_only"},
    {"metadata": {"user_id": "u", "x": 1}},
    {"system": "S"},
    {"system": [LINE | {"cache_control": EPHEMERAL}, LINE]},
    {"cache_control": EPHEMERAL | {"x": 1}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}},
    {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max", "task_budget": {"x": 1}}},
    {"thinking": {"type": "between_tools"}},
    {"thinking": {"type": "disabled"}},
    {"output_config": {"format": SCHEMA | {"x": 1}}},
    {"output_format": SCHEMA},
    {"output_config": {"format": {"type": "yaml"}}},
    {"tools": [TOOL | {"type": "custom", "defer_loading": True, "cache_control": EPHEMERAL}]},
    {"tools": [{"type": "bash_20250124", "name": "bash", "cache_control": EPHEMERAL}]},
    {"tools": [TOOL], "tool_choice": {"type": "auto"}},
    {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": False}},
    {"tools": [TOOL], "tool_choice": {"type": "none", "x": 1}},
    {"container": "c", "mcp_servers": [{"type": "url"}], "speed": "fast", "context_management": {"edits": []}},
]  # fmt: skip


@pytest.mark.parametrize("fields", OWN, ids=lambda fields: next(iter(fields), "none"))
@pytest.mark.parametrize("taken", [OLD, NEW], ids=["old", "new"])
def test_a_call_goes_back_into_its_own_dialect_as_it_came(
    fields: dict[str, object], taken: Takes
) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": HI} | fields
    found = written(anthropic_messages.read_call(json.dumps(body).encode(), VAULT), taken)
    assert json.loads(found.body) == body | {"model": "to"}
    assert found.losses == []


def own(*content: object, role: str = "assistant") -> tuple[list[Any], list[Loss]]:
    messages = [*HI, {"role": role, "content": list(content)}]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode()
    found = written(anthropic_messages.read_call(body, VAULT), NEW)
    content_back: list[Any] = json.loads(found.body)["messages"][1]["content"]
    return content_back, found.losses


BLOCKS: list[dict[str, object]] = [
    {"type": "text", "text": "", "citations": [{"type": "char_location"}], "x": 1},
    {"type": "image", "source": {"type": "url", "url": "https://a", "x": 1}, "transformations": {}},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x", "y": 1}},
    {"type": "document", "source": {"type": "content", "content": "x"}, "citations": {"enabled": True, "x": 1}},
    {"type": "document", "source": {"type": "content", "content": [LINE | {"x": 1}]}},
    {"type": "document", "source": {"type": "base64", "media_type": "text/odd", "data": "!"}, "title": "t"},
    {"type": "search_result", "source": "s", "title": "t", "content": [LINE | {"cache_control": EPHEMERAL}]},
    {"type": "thinking", "thinking": "Hm", "signature": "s", "x": 1},
    {"type": "thinking", "thinking": "Hm", "signature": ""},
    {"type": "redacted_thinking", "data": "d"},
    {"type": "tool_use", "id": "a b", "name": "f.g", "input": {"x": 1}, "caller": {"type": "direct"}},
    {"type": "tool_result", "tool_use_id": "t", "content": "ok", "toolset_name": "x"},
    {"type": "tool_result", "tool_use_id": "t", "content": ""},
    {"type": "tool_result", "tool_use_id": "t", "content": [LINE], "is_error": False, "cache_control": EPHEMERAL | {"x": 1}},
    {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "f"}]},
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1.0}},
    {"type": "compaction", "content": None},
]  # fmt: skip


def test_blocks_go_back_into_their_own_dialect_as_they_came() -> None:
    assert own(*BLOCKS) == (BLOCKS, [])


def test_messages_go_back_as_they_came() -> None:
    messages = [
        {"role": "user", "content": "a", "x": 1},
        {"role": "user", "content": ""},
        {"role": "system", "content": [LINE]},
        {"role": "assistant", "content": [LINE, LINE | {"cache_control": EPHEMERAL}] * 5},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": messages}
    found = written(anthropic_messages.read_call(json.dumps(body).encode(), VAULT), NEW)
    assert json.loads(found.body) == body | {"model": "to"}
    assert found.losses == []


def test_what_belongs_to_others_does_not_go_back() -> None:
    def thinking(vault: Vault, origin: Origin) -> dict[str, object]:
        sealed = seal(origin, "thinking", '{"signature":"native"}', ["Hm"])
        return {"type": "thinking", "thinking": "Hm", "signature": vault.pack(sealed)}

    found, losses = own(
        thinking(VAULT, Origin("anthropic")),
        thinking(VAULT, Origin("openai")),
        thinking(Vault(b"key", "you"), Origin("anthropic")),
    )
    assert found == [{"type": "thinking", "thinking": "Hm", "signature": "native"}]
    assert losses == [
        Loss("messages[1].content[2]", "owned elsewhere"),
        Loss("messages[1].content[1]", "owned elsewhere"),
    ]


# -- calls of other dialects


def test_the_smallest_call() -> None:
    found = written(Call("openai_chat", "m", (Turn("user", (Text("Hi"),)),)), NEW)
    assert json.loads(found.body) == {
        "model": "to",
        "max_tokens": 64000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    }
    assert found.losses == []
    assert found.back.origin == Origin("anthropic")
    assert (found.back.tools, found.back.ids, found.back.forced_tool) == ({}, {}, None)


CASES: list[tuple[Takes, dict[str, Any], dict[str, Any], dict[str, str]]] = [
    (OLD, {"stream": True, "limit": 7}, {"stream": True, "max_tokens": 7}, {}),
    (OLD, {"sampling": Sampling(0.5, None, 3)}, {"temperature": 0.5, "top_k": 3}, {}),
    (OLD, {"sampling": Sampling(1.5)}, {"temperature": 1}, {"temperature": NARROWER}),
    (OLD, {"sampling": Sampling(0.5, 1)}, {"temperature": 0.5}, {}),
    (OLD, {"sampling": Sampling(1, 0.5)}, {"top_p": 0.5}, {}),
    (OLD, {"sampling": Sampling(1, 1)}, {"top_p": 1}, {}),
    (OLD, {"sampling": Sampling(0.5, 0.5)}, {"temperature": 0.5}, {"top_p": NARROWER}),
    (NEW, {"sampling": Sampling(1, 1.0)}, {}, {}),
    (NEW, {"sampling": Sampling(0, 0.5, 3)}, {}, {"temperature": NOT_THIS, "top_p": NOT_THIS, "top_k": NOT_THIS}),
    (
        OLD,
        {"sampling": Sampling(min_p=0.1, seed=1, frequency_penalty=1, presence_penalty=0, logit_bias=Raw(b"{}"))},
        {},
        dict.fromkeys(["min_p", "seed", "frequency_penalty", "logit_bias"], NOTHING),
    ),
    (
        OLD,
        {"n": 2, "logprobs": True, "top_logprobs": 3, "verbosity": "low", "cache": CacheUse("k", "24h")},
        {},
        dict.fromkeys(["n", "logprobs", "top_logprobs", "verbosity", "cache.key", "cache.retention"], NOTHING),
    ),
    (OLD, {"stop": ("a", " ", "")}, {"stop_sequences": ["a"]}, {}),
    (OLD, {"stop": ("a",)}, {"stop_sequences": ["a"]}, {}),
    (Takes(stop=False), {"stop": ("a",)}, {}, {}),
    (Takes(stop=False), {}, {}, {}),
    (OLD, {"identity": Identity("u")}, {"metadata": {"user_id": "u"}}, {}),
    (OLD, {"identity": Identity(None, "s")}, {"metadata": {"user_id": "s"}}, {}),
    (
        OLD,
        {"identity": Identity("u", "s", Raw(b"{}"))},
        {"metadata": {"user_id": "u"}},
        {"identity.safety": NOTHING, "identity.metadata": NOTHING},
    ),
    (OLD, {"tier": "default"}, {"service_tier": "standard_only"}, {}),
    (OLD, {"tier": "priority"}, {"service_tier": "auto"}, {}),
    (OLD, {"tier": "flex"}, {"service_tier": "standard_only"}, {"tier": NARROWER}),
    (OLD, {"tier": "scale"}, {}, {"tier": NARROWER}),
    (NEW, {"cache": CacheUse(automatic=Cache("1h"))}, {"cache_control": EPHEMERAL}, {}),
    (OLD, {"cache": CacheUse(automatic=Cache())}, {}, {"cache.automatic": NOTHING}),
    (OLD, {"extra": {"store": b"true"}}, {}, {"store": NOTHING}),
]  # fmt: skip


@pytest.mark.parametrize(("taken", "call", "body", "lost"), CASES)
def test_options(
    taken: Takes, call: dict[str, Any], body: dict[str, Any], lost: dict[str, str]
) -> None:
    assert write(taken, **call) == (body, lost)


@pytest.mark.parametrize(("taken", "kept"), [(OLD, (" ", "")), (Takes(stop=False), ("a", " ", ""))])
def test_stop_sequences_that_are_not_taken_are_cut_off_here(
    taken: Takes, kept: tuple[str, ...]
) -> None:
    call = Call("other", "m", stop=("a", " ", ""))
    assert anthropic_messages.write_call(call, Target("to", taken)).back.stops == kept


def test_losses_have_the_client_s_names() -> None:
    names = {"n": "best_of", "reasoning": "reasoning_effort"}
    call = {"n": 2, "reasoning": Reasoning(effort="low"), "names": names}
    assert write(OLD, **call)[1].keys() == {"best_of", "reasoning_effort"}


@pytest.mark.parametrize(
    "user", ["jo@example.com", "Jo <jo@example.com>", "+49 170 1234567", "x" * 300]
)
def test_users_are_not_named(user: str) -> None:
    body, _ = write(OLD, identity=Identity(user))
    assert len(body["metadata"]["user_id"]) == 64


REASONING: list[tuple[Takes, Reasoning, dict[str, Any], str | None]] = [
    (OLD, Reasoning(), {}, None),
    (OLD, Reasoning(effort="none"), {}, None),
    (OLD, Reasoning("off"), {}, None),
    (OLD, Reasoning(effort="low"), {}, NOT_THIS),
    (OLD, Reasoning("on", budget=2000), {}, NOT_THIS),
    (NEW, Reasoning(), {}, None),
    (NEW, Reasoning(show="summary"), {}, NARROWER),
    (NEW, Reasoning("off", show="none"), {"thinking": {"type": "disabled"}}, None),
    (NEW, Reasoning(effort="none"), {"thinking": {"type": "disabled"}}, None),
    (NEW, Reasoning(effort="minimal"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, None),
    (NEW, Reasoning(effort="xhigh", show="full"), {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "xhigh"}}, None),
    (NEW, Reasoning("on", show="none"), {"thinking": {"type": "adaptive", "display": "omitted"}}, None),
    (NEW, Reasoning("on", budget=5000), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, NARROWER),
    (NEW, Reasoning("on", "high", 5000), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, None),
    (BUDGET, Reasoning("off"), {"thinking": {"type": "disabled"}}, None),
    (BUDGET, Reasoning(effort="low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}, None),
    (BUDGET, Reasoning("adaptive"), {"thinking": {"type": "enabled", "budget_tokens": 8192}}, None),
    (BUDGET, Reasoning(budget=5, show="summary"), {"thinking": {"type": "enabled", "budget_tokens": 1024, "display": "summarized"}}, None),
    (BUDGET, Reasoning(effort="max"), {"thinking": {"type": "enabled", "budget_tokens": 30976}}, None),
]  # fmt: skip


@pytest.mark.parametrize(("taken", "asked", "body", "lost"), REASONING)
def test_reasoning(taken: Takes, asked: Reasoning, body: dict[str, Any], lost: str | None) -> None:
    found, losses = write(taken, reasoning=asked, limit=None)
    del found["max_tokens"]
    assert (found, losses) == (body, {"reasoning": lost} if lost else {})


@pytest.mark.parametrize(
    ("limit", "effort", "budget", "wanted"),
    [
        (20000, "low", 2048, 20000),
        (100, "low", 2048, 2148),
        (20000, "max", 30976, 32000),
        (50000, "max", 32000, 50000),
    ],
)
def test_thinking_is_part_of_the_limit(limit: int, effort: Any, budget: int, wanted: int) -> None:
    body, losses = write(BUDGET, limit=limit, reasoning=Reasoning(effort=effort))
    assert body["thinking"]["budget_tokens"] == budget
    assert body["max_tokens"] == wanted
    assert losses == ({} if wanted == limit else {"limit": NARROWER})


def test_the_least_budget_wins_over_a_small_limit() -> None:
    body, _ = write(Takes(reasoning="budget", limit=1000), limit=10, reasoning=Reasoning("on"))
    assert (body["thinking"]["budget_tokens"], body["max_tokens"]) == (1024, 1025)


def test_sampling_is_not_for_thinking() -> None:
    drawn = Sampling(0.5, 1, 3)
    body, losses = write(BUDGET, reasoning=Reasoning(effort="low"), sampling=drawn, limit=None)
    assert body.keys() == {"max_tokens", "thinking"}
    assert losses == {"temperature": NARROWER, "top_k": NARROWER}
    body, _ = write(BUDGET, reasoning=Reasoning("off"), sampling=drawn)
    assert body.keys() == {"thinking", "temperature", "top_k"}


THOUGHT = Thinking("Hm", "p", seal(UNKNOWN, "thinking", '{"signature":"s"}', ["Hm"]))
CALLED = ToolCall("t", "f", "{}")
RESULT = Turn("user", (ToolResult("t", ()),))


@pytest.mark.parametrize(
    ("turns", "thinks"),
    [
        ([("assistant", THOUGHT, CALLED), RESULT], True),
        ([("assistant", CALLED), RESULT], False),
        (
            [("assistant", CALLED), RESULT, ("assistant", Text("a")), Turn("user", (Text("b"),))],
            True,
        ),
        ([("assistant", Text("a"))], False),
    ],
)
def test_older_models_think_only_where_the_turn_that_goes_on_began_so(
    turns: list[Any],
    thinks: bool,
) -> None:
    said = [t if isinstance(t, Turn) else Turn(t[0], t[1:]) for t in turns]
    hi = Turn("user", (Text("Hi"),))
    body, losses = write(BUDGET, turns=(hi, *said), reasoning=Reasoning(effort="low"))
    assert body["thinking"]["type"] == ("enabled" if thinks else "disabled")
    assert ("reasoning" in losses) is not thinks
    assert write(NEW, turns=(hi, *said), reasoning=Reasoning(effort="low"))[1] == {}


def function(name: str = "f", **members: Any) -> Tool:
    return Tool(name, f"tools.{name}", **members)


EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        (b"", EMPTY),
        (b"{}", EMPTY),
        (b"true", EMPTY),
        (b'{"properties":{"x":{}}}', {"type": "object", "properties": {"x": {}}}),
        (b'{"type":"object","x":1.0}', {"type": "object", "x": 1.0}),
    ],
)
def test_schemas_are_those_of_objects(schema: bytes, written: object) -> None:
    body, losses = write(tools=(function(description="d", schema=Raw(schema)),))
    assert body == {"tools": [{"name": "f", "description": "d", "input_schema": written}]}
    assert losses == {}


def test_strict_schemas_are_closed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [{"type": "object"}]},
            "list": {
                "anyOf": [{"type": "object"}, {"type": "object", "additionalProperties": True}]
            },
        },
    }
    tool = function(schema=Raw(json.dumps(schema).encode()), strict=True)
    (found,) = write(tools=(tool,))[0]["tools"]
    assert found["strict"] is True
    assert found["input_schema"] == {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": [{"type": "object"}]},
            "list": {
                "anyOf": [
                    {"type": "object", "additionalProperties": False},
                    {"type": "object", "additionalProperties": True},
                ]
            },
        },
        "additionalProperties": False,
    }


def test_schemas_that_are_closed_keep_their_spelling() -> None:
    schema = b'{"type" : "object","additionalProperties":false,"x":1e2}'
    tools = (function(schema=Raw(schema), strict=True),)
    body = written(Call("openai_chat", "m", tools=tools)).body
    assert schema in body


def test_strict_is_not_for_old_models() -> None:
    body, losses = write(
        Takes(schema=False), tools=(function(strict=True), function("g", strict=False))
    )
    assert [tool.get("strict") for tool in body["tools"]] == [None, False]
    assert losses == {"tools.f.strict": NOT_THIS}


def test_freeform_tools_become_functions_of_one_text() -> None:
    grammar = Raw(b'{"syntax":"lark"}')
    tools = (
        function(kind="freeform", grammar=grammar, description="d"),
        function("g", kind="freeform", grammar=grammar),
        function("h", kind="freeform", namespace="ns"),
    )
    found = written(Call("openai_chat", "m", tools=tools))
    rules = 'The input must follow this grammar: {"syntax":"lark"}'
    body = json.loads(found.body)
    assert [tool.get("description") for tool in body["tools"]] == [f"d\n\n{rules}", rules, None]
    assert body["tools"][0]["input_schema"]["required"] == ["input"]
    assert found.losses == [
        Loss("tools.f.format", "narrower there"),
        Loss("tools.g.format", "narrower there"),
    ]
    assert found.back.tools == {
        "f": ToolName("f", None, "freeform"),
        "g": ToolName("g", None, "freeform"),
        "ns__h": ToolName("h", "ns", "freeform"),
    }


def test_tools_of_another_vendor_are_lost_and_marks_are_kept() -> None:
    tools = (
        function("search", kind="native:search", runs="vendor"),
        function("shell", kind="native:shell"),
        function(cache=Cache()),
    )
    body, losses = write(NEW, tools=tools)
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral"}
    assert losses == {"tools.search": NOTHING, "tools.shell": NOTHING}


TWO = (function("f"), function("g.h"))


@pytest.mark.parametrize(
    ("call", "choice", "names"),
    [
        ({}, None, 2),
        ({"tool_choice": ToolChoice("auto")}, {"type": "auto"}, 2),
        ({"tool_choice": ToolChoice("none")}, {"type": "none"}, 2),
        ({"tool_choice": ToolChoice("required")}, {"type": "any"}, 2),
        ({"tool_choice": ToolChoice("one", ("f",))}, {"type": "tool", "name": "f"}, 2),
        ({"tool_choice": ToolChoice("allowed", ("f",))}, {"type": "auto"}, 1),
        ({"tool_choice": ToolChoice("allowed", ("f",), must=True)}, {"type": "any"}, 1),
        ({"parallel_tools": True}, None, 2),
        ({"parallel_tools": False}, {"type": "auto", "disable_parallel_tool_use": True}, 2),
        (
            {"parallel_tools": False, "tool_choice": ToolChoice("required")},
            {"type": "any", "disable_parallel_tool_use": True},
            2,
        ),
        ({"parallel_tools": False, "tool_choice": ToolChoice("none")}, {"type": "none"}, 2),
    ],
)
def test_tool_choice(call: dict[str, Any], choice: object, names: int) -> None:
    body, losses = write(tools=TWO, **call)
    assert (body.get("tool_choice"), len(body["tools"])) == (choice, names)
    assert losses == {}


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("one", ("f",))])
def test_nothing_can_be_forced_while_thinking(choice: ToolChoice) -> None:
    body, losses = write(NEW, tools=TWO, tool_choice=choice, reasoning=Reasoning(effort="low"))
    assert body["tool_choice"] == {"type": "auto"}
    assert losses == {"tool_choice": NARROWER}


def test_a_name_that_had_to_change_is_chosen_by_its_new_one() -> None:
    body, _ = write(tools=TWO, tool_choice=ToolChoice("one", ("g.h",)))
    assert body["tool_choice"]["name"] == body["tools"][1]["name"] != "g.h"


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        ((), ToolChoice("required")),
        ((), ToolChoice("one", ("f",))),
        (TWO, ToolChoice("one", ("x",))),
        (TWO, ToolChoice("allowed", ("f", "x"), must=True)),
    ],
)
def test_tools_that_are_not_there_cannot_be_forced(tools: Any, choice: ToolChoice) -> None:
    with pytest.raises(Untranslatable) as caught:
        write(tools=tools, tool_choice=choice, names={"tool_choice": "function_call"})
    assert caught.value.param == "function_call"


@pytest.mark.parametrize(
    "choice", [ToolChoice("auto"), ToolChoice("none"), ToolChoice("allowed", ("x",))]
)
def test_no_tools_no_choice(choice: ToolChoice) -> None:
    assert write(tool_choice=choice, parallel_tools=False) == ({}, {})


FORM = Format("schema", "answer", None, Raw(b'{"type":"object"}'))
CLOSED = {"type": "object", "additionalProperties": False}


def test_a_schema_for_the_reply() -> None:
    body, losses = write(format=FORM)
    assert body == {"output_config": {"format": {"type": "json_schema", "schema": CLOSED}}}
    assert losses == {}
    described = Format("schema", "answer", "d", Raw(b"{}"))
    body, losses = write(NEW, format=described, reasoning=Reasoning(effort="high"))
    assert body["output_config"].keys() == {"effort", "format"}
    assert losses == {"format": NARROWER}


@pytest.mark.parametrize(
    ("call", "choice"),
    [
        ({}, {"type": "tool", "name": "reply_json"}),
        ({"tools": TWO}, {"type": "any"}),
        ({"tools": TWO, "tool_choice": ToolChoice("none")}, {"type": "tool", "name": "reply_json"}),
        ({"tools": TWO, "tool_choice": ToolChoice("one", ("f",))}, {"type": "tool", "name": "f"}),
        (
            {"tools": (function("reply_json"),), "tool_choice": ToolChoice("none")},
            {"type": "tool", "name": "reply_json_"},
        ),
    ],
)
def test_a_schema_on_models_without_is_a_tool(call: dict[str, Any], choice: Any) -> None:
    taken = Takes(schema=False)
    form = Format("schema", "answer", "d", Raw(b'{"type":"object"}'))
    body, losses = write(taken, format=form, **call)
    tool = body["tools"][-1]
    assert (tool["description"], tool["input_schema"]) == ("d", {"type": "object"})
    assert body["tool_choice"] == choice
    assert losses == {"format": NARROWER}
    found = written(Call("openai_chat", "m", format=form, **call), taken)
    assert found.back.forced_tool == tool["name"]


def test_any_json_is_a_hint() -> None:
    turns = (Turn("system", (Text("S"),)), Turn("user", (Text("Hi"),)))
    body, losses = write(format=Format("json"), turns=turns)
    assert body["system"] == [{"type": "text", "text": "S"}, {"type": "text", "text": JSON_HINT}]
    assert losses == {"format": NARROWER}


def test_ids_that_were_shortened_can_be_undone() -> None:
    parts: tuple[Part, ...] = (ToolCall("x" * 99, "f", "{}"),)
    turns = (Turn("user", (Text("Hi"),)), Turn("assistant", parts))
    ids = written(Call("openai_chat", "m", turns)).back.ids
    assert list(ids.values()) == ["x" * 99]
    assert all(len(known) <= 64 for known in ids)
