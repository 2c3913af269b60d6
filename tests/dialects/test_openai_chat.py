"""rawproxy.dialects.openai_chat: the request's options and tools, and the dialect as a whole."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects import openai_chat
from rawproxy.dialects.base import Back, Target, ToolName, Written
from rawproxy.dialects.call import Cache as Mark
from rawproxy.dialects.call import (
    CacheUse,
    Call,
    Effort,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    Turn,
)
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.fold import fold
from rawproxy.dialects.models import Takes, takes
from rawproxy.errors import ClientError, Untranslatable

VAULT = Vault(b"key", "me")
HI: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]
COMPATIBLE = Takes(reasoning="effort", reasoning_text=True)
OPENAI = Takes(
    reasoning="effort", limit_field="max_completion_tokens", developer=True, freeform=True,
    prefill=False,
)  # fmt: skip
REASONING = takes("openai_chat", "o3")
SCHEMA = Raw(b'{"type": "object"}')


def read(**body: object) -> Call:
    return openai_chat.read_call(json.dumps({"model": "m", "messages": HI} | body).encode(), VAULT)


def write(call: Call, taken: Takes = COMPATIBLE) -> tuple[dict[str, Any], dict[str, str]]:
    written = written_for(call, taken)
    return json.loads(written.body), {loss.path: loss.why for loss in written.losses}


def written_for(call: Call, taken: Takes) -> Written:
    return openai_chat.write_call(call, Target("to", taken, Origin("here")))


def foreign(**call: Any) -> Call:
    turns = (Turn("user", (Text("Hi", "m[0].content"),), "m[0]"),)
    return Call("anthropic_messages", "m", turns, **call)


FUNCTION = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"x": 1}, "strict": True},
}
CUSTOM = {
    "type": "custom",
    "custom": {
        "name": "c",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
    },
}
ROUND_TRIPS: list[dict[str, object]] = [
    {"max_tokens": 5},
    {"max_completion_tokens": 5},
    {"temperature": 0.5, "top_p": 0.1, "top_k": 3, "min_p": 0.2, "seed": 7},
    {"frequency_penalty": -1.5, "presence_penalty": 0.5, "logit_bias": {"50256": -100}},
    {"temperature": 0.0, "seed": 0},
    {"stop": ["a", "b", "c", "d", "e"]},
    {"tools": [FUNCTION, CUSTOM, {"type": "web_search", "x": 1}], "parallel_tool_calls": False},
    {
        "tools": [
            {"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}
        ]
    },
    {"tools": [{"type": "custom", "custom": {"name": "c", "description": "d"}}]},
    {"tools": [FUNCTION], "tool_choice": "none"},
    {"tools": [FUNCTION], "tool_choice": "required"},
    {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "c"}}},
    {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
    {"tool_choice": {"type": "function", "function": {"name": "gone"}}},
    {
        "tools": [FUNCTION, CUSTOM],
        "tool_choice": {
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [
                    {"type": "function", "function": {"name": "f"}},
                    {"type": "custom", "custom": {"name": "c"}},
                ],
            },
        },
    },
    {"reasoning_effort": "minimal"},
    {"reasoning": {"effort": "high", "max_tokens": 100, "enabled": True, "exclude": True}},
    {"reasoning": {"enabled": False}},
    {"thinking": {"type": "enabled", "budget_tokens": 1024}, "reasoning_effort": "low"},
    {"thinking": {"type": "disabled"}},
    {"thinking": {"type": "deep", "x": 1}},
    {"reasoning_effort": "default"},
    {"response_format": {"type": "json_object"}},
    {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "description": "d", "schema": {"x": 1}, "strict": False},
        }
    },
    {"response_format": {"type": "grammar", "grammar": "x"}},
    {"verbosity": "low", "n": 2, "logprobs": True, "top_logprobs": 3},
    {
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "prompt_cache_options": {"mode": "explicit"},
    },
    {"user": "u" * 200, "safety_identifier": "s", "metadata": {"a": "b"}, "service_tier": "flex"},
    {"stream": True, "stream_options": {"include_usage": True}},
    {
        "modalities": ["text", "audio"],
        "audio": {"voice": "x"},
        "store": True,
        "prediction": {"type": "content"},
    },
]


@pytest.mark.parametrize("fields", ROUND_TRIPS, ids=lambda fields: next(iter(fields)))
def test_a_call_goes_back_into_its_own_dialect_as_it_came(fields: dict[str, object]) -> None:
    for taken in (COMPATIBLE, REASONING):
        body, losses = write(read(**fields), taken)
        assert body == {"model": "to", "messages": HI} | fields
        assert losses == {}


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"n": 1, "logprobs": False, "response_format": {"type": "text"}}, {}),
        ({"modalities": ["text"], "stream": False, "stop": None}, {}),
        ({"stream": "true"}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": "false"}, {}),
        (
            {"tool_choice": "any", "tools": [FUNCTION]},
            {"tool_choice": "required", "tools": [FUNCTION]},
        ),
        (
            {"tools": [{"function": {"name": "f"}}]},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
        (
            {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}},
            {
                "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
            },
        ),
    ],
)
def test_spellings_that_mean_the_same(fields: dict[str, object], written: object) -> None:
    body, losses = write(read(**fields))
    assert {
        name: value for name, value in body.items() if name not in ("model", "messages")
    } == written
    assert losses == {}


def test_the_client_s_names_are_remembered() -> None:
    call = read(
        max_tokens=1, thinking={"type": "enabled"}, functions=[{"name": "f"}], user="u",
        stream=True, stream_options={"include_usage": True, "include_obfuscation": False},
    )  # fmt: skip
    assert call.names == {
        "limit": "max_tokens", "reasoning": "thinking", "tools": "functions",
        "identity.user": "user", "wants_usage": "stream_options.include_usage",
    }  # fmt: skip
    assert call.wants_usage
    assert call.extra == {"stream_options.include_obfuscation": b"false"}


def test_nobody_asked_for_usage() -> None:
    assert not read(stream=True, stream_options={"include_usage": False}).wants_usage


def test_nested_fields_that_nobody_knows_are_told() -> None:
    tool = {"type": "function", "function": {"name": "f", "x": 1}}
    _, losses = write(read(tools=[tool]))
    assert losses == {"tools[0].function.x": "no such thing there"}


@pytest.mark.parametrize(
    ("messages", "prefill"),
    [
        (HI, False),
        ([], False),
        ([*HI, {"role": "assistant", "content": "{"}], True),
        (
            [*HI, {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}],
            False,
        ),
    ],
)
def test_a_last_assistant_turn_is_to_be_continued(messages: list[object], prefill: bool) -> None:
    call = read(messages=messages)
    assert call.prefill is prefill
    assert write(call, OPENAI)[0]["model"] == "to"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"[]", None),
        (b"{}", "messages"),
        (b'{"messages":[]}', "model"),
        (b'{"messages":{},"model":"m"}', "messages"),
        (b'{"messages":[],"model":"m","stream":"yes"}', "stream"),
        (b'{"messages":[],"model":"m","temperature":"hot"}', "temperature"),
        (b'{"messages":[],"model":"m","stop":[1]}', "stop"),
        (b'{"messages":[],"model":"m","tool_choice":"maybe"}', "tool_choice"),
        (
            b'{"messages":[],"model":"m","tool_choice":{"type":"function","function":{}}}',
            "tool_choice.function.name",
        ),
        (b'{"messages":[],"model":"m","tools":[{"type":"custom"}]}', "tools[0].custom"),
        (b'{"messages":[],"model":"m","functions":[{}]}', "functions[0].name"),
        (b'{"messages":[],"model":"m","response_format":{}}', "response_format.type"),
        (
            b'{"messages":[],"model":"m","response_format":{"type":"json_schema"}}',
            "response_format.json_schema",
        ),
    ],
)
def test_errors_name_the_field(body: bytes, path: str | None) -> None:
    with pytest.raises(ClientError) as caught:
        openai_chat.read_call(body, VAULT)
    assert caught.value.param == path


DRAWN = Sampling(0.5, 0.5, 5, 0.1, 7, 0.5, 0.5, Raw(b'{"1":2}'))


@pytest.mark.parametrize(
    ("call", "taken", "written", "losses"),
    [
        (
            foreign(sampling=DRAWN),
            COMPATIBLE,
            {
                "temperature": 0.5,
                "top_p": 0.5,
                "top_k": 5,
                "min_p": 0.1,
                "seed": 7,
                "frequency_penalty": 0.5,
                "presence_penalty": 0.5,
                "logit_bias": {"1": 2},
            },
            set(),
        ),
        (
            foreign(sampling=DRAWN, names={"top_k": "topK"}),
            REASONING,
            {"seed": 7},
            {
                "temperature",
                "top_p",
                "topK",
                "min_p",
                "frequency_penalty",
                "presence_penalty",
                "logit_bias",
            },
        ),
        (foreign(sampling=Sampling(1.0, 1.0)), REASONING, {}, set()),
        (foreign(limit=9), COMPATIBLE, {"max_tokens": 9}, set()),
        (
            foreign(limit=9, names={"limit": "maxTokens"}),
            OPENAI,
            {"max_completion_tokens": 9},
            set(),
        ),
        (
            foreign(stop=("a", "b"), names={"stop": "stop_sequences"}),
            REASONING,
            {},
            set(),
        ),
        (foreign(stop=tuple("abcde")), OPENAI, {"stop": ["a", "b", "c", "d"]}, set()),
        (foreign(verbosity="low"), OPENAI, {"verbosity": "low"}, set()),
        (foreign(verbosity="low"), COMPATIBLE, {}, {"verbosity"}),
        (
            foreign(n=2, logprobs=True, top_logprobs=1),
            COMPATIBLE,
            {"n": 2, "logprobs": True, "top_logprobs": 1},
            set(),
        ),
        (
            foreign(cache=CacheUse("k", "24h", Mark())),
            OPENAI,
            {"prompt_cache_key": "k"},
            {"cache.retention"},
        ),
        (
            foreign(cache=CacheUse("k", None, Mark())),
            COMPATIBLE,
            {},
            {"cache.key", "cache.automatic"},
        ),
        (
            foreign(identity=Identity("u", "s", Raw(b"{}"))),
            OPENAI,
            {"user": "u", "safety_identifier": "s"},
            {"identity.metadata"},
        ),
        (foreign(identity=Identity("u", "s")), COMPATIBLE, {"user": "u"}, {"identity.safety"}),
        (foreign(tier="standard_only"), OPENAI, {"service_tier": "default"}, set()),
        (foreign(tier="auto", names={"tier": "service_tier"}), COMPATIBLE, {}, {"service_tier"}),
        (foreign(extra={"speed": b'"fast"', "a.b": b"1"}), OPENAI, {}, {"speed", "a.b"}),
        (foreign(unopened=("messages[1]",)), OPENAI, {}, {"messages[1]"}),
    ],
)
def test_options_of_other_dialects(
    call: Call, taken: Takes, written: dict[str, object], losses: set[str]
) -> None:
    body, lost = write(call, taken)
    assert body == {"model": "to", "messages": HI} | written
    assert set(lost) == losses


@pytest.mark.parametrize(
    ("count", "taken", "kept"),
    [(3, OPENAI, ""), (4, OPENAI, ""), (5, OPENAI, "e"), (2, REASONING, "ab")],
)
def test_stop_sequences_beyond_those_taken_are_cut_off_here(
    count: int, taken: Takes, kept: str
) -> None:
    stops = tuple("abcdefgh"[:count])
    written = openai_chat.write_call(foreign(stop=stops), Target("to", taken))
    assert written.back.stops == tuple(kept)
    own = openai_chat.read_call(
        json.dumps({"model": "m", "messages": HI, "stop": list(stops)}).encode(), VAULT
    )
    assert openai_chat.write_call(own, Target("to", taken)).back.stops == ()


def test_long_user_ids_are_hashed() -> None:
    body, losses = write(foreign(identity=Identity("u" * 170)))
    assert (len(body["user"]), losses) == (64, {})


@pytest.mark.parametrize(
    ("asked", "taken", "effort", "losses"),
    [
        (Reasoning(effort="xhigh"), OPENAI, "xhigh", set()),
        (Reasoning(effort="xhigh"), COMPATIBLE, "high", {"reasoning"}),
        (Reasoning("on", budget=5000), OPENAI, "medium", set()),
        (Reasoning("adaptive"), OPENAI, None, set()),
        (Reasoning("off"), OPENAI, None, {"reasoning"}),
        (Reasoning("off"), Takes(), None, set()),
        (Reasoning(effort="low"), Takes(), None, {"reasoning"}),
        (Reasoning("on"), Takes(), None, set()),
        (Reasoning(show="summary"), OPENAI, None, {"reasoning"}),
        (Reasoning(sealed=True), OPENAI, None, {"reasoning"}),
        (Reasoning(show="full", sealed=True), COMPATIBLE, None, set()),
        (Reasoning(show="none"), OPENAI, None, set()),
    ],
)
def test_how_hard_to_think(
    asked: Reasoning, taken: Takes, effort: Effort | None, losses: set[str]
) -> None:
    body, lost = write(foreign(reasoning=asked), taken)
    assert (body.get("reasoning_effort"), set(lost)) == (effort, losses)


@pytest.mark.parametrize(
    ("form", "taken", "written", "losses"),
    [
        (Format("json"), OPENAI, {"type": "json_object"}, {}),
        (
            Format("schema", schema=SCHEMA),
            OPENAI,
            {
                "type": "json_schema",
                "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
            },
            {},
        ),
        (
            Format("schema", "n", strict=False),
            OPENAI,
            {"type": "json_schema", "json_schema": {"name": "n", "strict": False}},
            {},
        ),
        (
            Format("schema", schema=SCHEMA),
            Takes(schema=False),
            {"type": "json_object"},
            {"output_config.format": "narrower there"},
        ),
    ],
)
def test_formats(form: Format, taken: Takes, written: object, losses: dict[str, str]) -> None:
    body, lost = write(foreign(format=form, names={"format": "output_config.format"}), taken)
    assert (body["response_format"], lost) == (written, losses)


def test_tools_of_other_dialects() -> None:
    tools = (
        Tool("read", "tools[0]", "Reads.", SCHEMA, namespace="fs", cache=Mark()),
        Tool("patch", "tools[1]", kind="freeform", grammar=Raw(b'{"syntax":"lark"}')),
        Tool("bash", "tools[2]", kind="native:bash_20250124", dialect="anthropic_messages"),
        Tool("x" * 70, "tools[3]", strict=True),
        Tool("sh", "tools[4]", "Runs.", kind="freeform", grammar=Raw(b"{}")),
        Tool("plain", "tools[5]", kind="freeform"),
    )
    written = written_for(foreign(tools=tools, parallel_tools=True), COMPATIBLE)
    body = json.loads(written.body)
    read_tool, patch, long, shell, plain = (tool["function"] for tool in body["tools"])
    assert read_tool == {
        "name": "fs__read",
        "description": "Reads.",
        "parameters": {"type": "object"},
    }
    assert patch["description"] == 'The input must follow this grammar: {"syntax":"lark"}'
    assert patch["parameters"]["required"] == ["input"]
    assert (len(long["name"]), long["strict"]) == (64, True)
    assert shell["description"] == "Runs.\n\nThe input must follow this grammar: {}"
    assert "description" not in plain
    assert body["parallel_tool_calls"] is True
    assert [loss.path for loss in written.losses] == [
        "tools[0].cache_control", "tools[1].format", "tools[2]", "tools[4].format",
    ]  # fmt: skip
    assert written.back == Back(
        Origin("here"),
        {
            "fs__read": ToolName("read", "fs"),
            "patch": ToolName("patch", None, "freeform"),
            long["name"]: ToolName("x" * 70),
            "sh": ToolName("sh", None, "freeform"),
            "plain": ToolName("plain", None, "freeform"),
        },
    )
    body = json.loads(written_for(foreign(tools=tools), OPENAI).body)
    assert body["tools"][1]["custom"]["format"]["grammar"] == {"syntax": "lark"}


NATIVE = Tool("web_search", "tools[0]", kind="native:web_search_20250305", runs="vendor")
PLAIN = Tool("f", "tools[1]", schema=SCHEMA)
OTHER = Tool("g", "tools[2]", kind="freeform")


@pytest.mark.parametrize(
    ("choice", "taken", "written"),
    [
        (ToolChoice("auto"), OPENAI, "auto"),
        (ToolChoice("none"), OPENAI, "none"),
        (ToolChoice("required"), OPENAI, "required"),
        (ToolChoice("one", ("f",)), OPENAI, {"type": "function", "function": {"name": "f"}}),
        (ToolChoice("one", ("g",)), OPENAI, {"type": "custom", "custom": {"name": "g"}}),
        (ToolChoice("one", ("g",)), COMPATIBLE, {"type": "function", "function": {"name": "g"}}),
        (
            ToolChoice("allowed", ("f", "web_search")),
            OPENAI,
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
        ),
        (ToolChoice("allowed", ("f",), must=True), COMPATIBLE, "required"),
    ],
)
def test_tool_choices_of_other_dialects(choice: ToolChoice, taken: Takes, written: object) -> None:
    body, losses = write(foreign(tools=(NATIVE, PLAIN, OTHER), tool_choice=choice), taken)
    assert body["tool_choice"] == written
    assert set(losses) == {"tools[0]"}
    only = choice.mode == "allowed" and taken is COMPATIBLE
    assert len(body["tools"]) == (1 if only else 2)


def test_a_choice_among_no_tools_is_not_said() -> None:
    call = foreign(tools=(NATIVE,), tool_choice=ToolChoice("auto"), parallel_tools=False)
    assert write(call)[0].keys() == {"model", "messages"}


@pytest.mark.parametrize(
    "choice",
    [
        ToolChoice("one", ("web_search",)),
        ToolChoice("required"),
        ToolChoice("allowed", ("web_search",), must=True),
    ],
)
def test_a_forced_tool_that_is_not_there_is_refused(choice: ToolChoice) -> None:
    with pytest.raises(Untranslatable) as caught:
        write(foreign(tools=(NATIVE,), tool_choice=choice))
    assert caught.value.param == "tool_choice"


def test_a_turn_to_be_continued_is_refused_where_that_cannot_be() -> None:
    call = foreign(prefill=True)
    assert write(call, COMPATIBLE)[1] == {}
    with pytest.raises(Untranslatable) as caught:
        write(call, OPENAI)
    assert caught.value.param == "m[0]"


def test_shortened_ids_and_names_are_undone_by_the_reply() -> None:
    call = foreign(tools=(Tool("n" * 70, "tools[0]"),))
    call.turns = (
        *call.turns,
        Turn("assistant", (ToolCall("i" * 50, "n" * 70, "{}", "m[1]"),), "m[1]"),
    )
    written = written_for(call, COMPATIBLE)
    sent = json.loads(written.body)["messages"][1]["tool_calls"][0]
    reply = {"choices": [{"message": {"tool_calls": [sent]}}]}
    events = openai_chat.read_reply(json.dumps(reply).encode(), written.back)
    (block,) = fold(events).choice(0).blocks("tool")
    assert (block.opened.id, block.opened.name) == ("i" * 50, "n" * 70)


MARKED = [
    (b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', True),
    (b'data: {"choices":[{"delta":{},"finish_reason" : "stop"}]}\n\n', True),
    (b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', True),
    (b'data: {"error":{"message":"m"}}\n\n', True),
    (b'event: error\ndata: {"message":"m"}\n\n', True),
    (b"data: [DONE]\n\n", True),
    (b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}\n\n', False),
    (b'data: {"choices":[{"finish_reason" : null}],"usage":\nnull,"error": null}\n\n', False),
    (b'data: {"choices":[{"delta":{"content":"\\"error\\":1 \\"usage\\":{}"}}]}\n\n', False),
]


@pytest.mark.parametrize(("frame", "marked"), MARKED)
def test_marks(frame: bytes, marked: bool) -> None:
    assert bool(openai_chat.MARKS.search(frame)) is marked


def test_errors_are_openai_s() -> None:
    fail = openai_chat.read_error(404, b'{"error":{"message":"no","code":"model_not_found"}}')
    assert openai_chat.write_error(fail)[0] == 404
