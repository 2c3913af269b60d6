"""rawproxy.dialects.anthropic_messages.call_reader: options and tools of a request."""

import json
from typing import Literal

import pytest
from msgspec import Raw

from rawproxy.dialects import anthropic_messages
from rawproxy.dialects.call import (
    Cache,
    CacheUse,
    Call,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Tool,
    ToolChoice,
)
from rawproxy.dialects.envelope import Origin, Vault, seal
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
HI: list[dict[str, object]] = [{"role": "user", "content": "Hi"}]


def read(**body: object) -> Call:
    data = json.dumps({"model": "m", "max_tokens": 5, "messages": HI} | body).encode()
    return anthropic_messages.read_call(data, VAULT)


def test_the_smallest_call() -> None:
    call = read()
    assert (call.dialect, call.model, call.limit) == ("anthropic_messages", "m", 5)
    assert (call.stream, call.prefill, call.wants_usage) == (False, False, True)
    assert (call.extra, call.unopened, call.vault) == ({}, (), VAULT)
    assert call.names == {"limit": "max_tokens"}


def test_plain_options() -> None:
    call = read(
        stream=True, temperature=0.5, top_p=1, top_k=3, stop_sequences=["a"], service_tier="auto",
        metadata={"user_id": "u"}, cache_control={"type": "ephemeral", "ttl": "5m"},
    )  # fmt: skip
    assert call.stream
    assert call.sampling == Sampling(0.5, 1, 3)
    assert (call.stop, call.tier, call.identity) == (("a",), "auto", Identity("u"))
    assert call.cache == CacheUse(automatic=Cache("5m"))
    assert call.extra == {}
    assert call.names == {
        "limit": "max_tokens", "temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
        "stop": "stop_sequences", "tier": "service_tier", "identity.user": "metadata.user_id",
        "cache.automatic": "cache_control", "cache": "cache_control",
    }  # fmt: skip


def test_tools() -> None:
    call = read(
        tools=[
            {"name": "f", "description": "d", "input_schema": {"x": 1}, "strict": True},
            {"type": "custom", "name": "g", "cache_control": {"type": "ephemeral"}},
        ]
    )
    assert call.tools == (
        Tool("f", "tools[0]", "d", Raw(b'{"x": 1}'), strict=True),
        Tool("g", "tools[1]", cache=Cache()),
    )


@pytest.mark.parametrize(
    ("tool", "name", "runs"),
    [
        ({"type": "bash_20250124", "name": "bash"}, "bash", "client"),
        ({"type": "computer_toolset_20260801"}, "computer_toolset_20260801", "client"),
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search", "vendor"),
        ({"type": "mcp_toolset", "mcp_server_name": "s"}, "mcp_toolset", "vendor"),
    ],
)
def test_tools_of_the_vendor_s_own_making(
    tool: dict[str, str], name: str, runs: Literal["client", "vendor"]
) -> None:
    raw = Raw(json.dumps(tool).encode())
    kind = f"native:{tool['type']}"
    assert read(tools=[tool]).tools == (
        Tool(name, "tools[0]", kind=kind, runs=runs, dialect="anthropic_messages", raw=raw),
    )


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "none"}, ToolChoice("none"), None),
        (
            {"type": "tool", "name": "f", "disable_parallel_tool_use": False},
            ToolChoice("one", ("f",)),
            True,
        ),
    ],
)
def test_tool_choice(choice: object, expected: ToolChoice, parallel: bool | None) -> None:
    call = read(tool_choice=choice)
    assert (call.tool_choice, call.parallel_tools) == (expected, parallel)
    assert ("parallel_tools" in call.names) is (parallel is not None)


@pytest.mark.parametrize(
    ("body", "expected", "name"),
    [
        ({}, Reasoning(), None),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            Reasoning("on", None, 2048),
            "thinking",
        ),
        (
            {"thinking": {"type": "adaptive", "display": "summarized"}},
            Reasoning("adaptive", show="summary"),
            "thinking",
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            Reasoning("adaptive", show="none"),
            "thinking",
        ),
        ({"thinking": {"type": "disabled"}}, Reasoning("off"), "thinking"),
        (
            {"output_config": {"effort": "xhigh"}},
            Reasoning(effort="xhigh"),
            "output_config.effort",
        ),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            Reasoning("adaptive", "low"),
            "thinking",
        ),
    ],
)
def test_reasoning(body: dict[str, object], expected: Reasoning, name: str | None) -> None:
    call = read(**body)
    assert call.reasoning == expected
    assert call.names.get("reasoning") == name
    assert call.extra == {}


SCHEMA = {"type": "json_schema", "schema": {"x": 1}}


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"output_config": {"format": SCHEMA}}, "output_config.format"),
        ({"output_format": SCHEMA}, "output_format"),
    ],
)
def test_format(body: dict[str, object], name: str) -> None:
    call = read(**body)
    assert call.format == Format("schema", schema=Raw(b'{"x": 1}'))
    assert call.names["format"] == name


@pytest.mark.parametrize(
    ("body", "extra"),
    [
        ({"thinking": {"type": "between_tools"}}, {"thinking.type": b'"between_tools"'}),
        (
            {"thinking": {"type": "adaptive", "display": "x", "y": 1}},
            {"thinking.display": b'"x"', "thinking.y": b"1"},
        ),
        (
            {"output_config": {"effort": "huge", "task_budget": {"a": 1}}},
            {"output_config.effort": b'"huge"', "output_config.task_budget": b'{"a": 1}'},
        ),
        (
            {"output_config": {"format": {"type": "yaml"}}},
            {"output_config.format": b'{"type": "yaml"}'},
        ),
        ({"tool_choice": {"type": "auto", "x": 1}}, {"tool_choice.x": b"1"}),
        (
            {"tools": [{"name": "f", "defer_loading": True}]},
            {"tools[0].defer_loading": b"true"},
        ),
        ({"metadata": {"x": 1}}, {"metadata.x": b"1"}),
        (
            {"container": "c", "mcp_servers": [], "speed": "fast", "betas": None},
            {"container": b'"c"', "mcp_servers": b"[]", "speed": b'"fast"'},
        ),
    ],
)
def test_fields_that_nobody_knows_are_kept(
    body: dict[str, object], extra: dict[str, bytes]
) -> None:
    assert read(**body).extra == extra


TOOL_USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("messages", "prefill"),
    [
        ([], False),
        (HI, False),
        ([*HI, {"role": "assistant", "content": "I"}], True),
        ([*HI, {"role": "assistant", "content": [TOOL_USE]}], False),
    ],
)
def test_a_last_assistant_turn_is_to_be_continued(messages: object, prefill: bool) -> None:
    assert read(messages=messages).prefill is prefill


def test_envelopes_of_others_are_told() -> None:
    other = Vault(b"key", "you").pack(seal(Origin("x"), "y", "{}"))
    block = {"type": "redacted_thinking", "data": other}
    call = read(messages=[*HI, {"role": "assistant", "content": [block]}])
    assert call.unopened == ("messages[1].content[0]",)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": None}, "messages: field required"),
        ({"model": None}, "model: field required"),
        ({"max_tokens": "5"}, "max_tokens: expected a whole number"),
        ({"tools": {}}, "tools: expected a list of objects"),
        ({"tools": [5]}, "tools[0] is not a JSON object"),
        ({"tools": [{}]}, "tools[0].name: field required"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type: unknown word"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name: field required"),
    ],
)
def test_errors_name_the_path(body: dict[str, object], message: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(**body)
    assert str(caught.value) == message


def test_a_question_for_tokens_needs_no_limit() -> None:
    body = json.dumps({"model": "m", "messages": HI}).encode()
    assert anthropic_messages.read_count(body, VAULT).limit is None
    with pytest.raises(ClientError):
        anthropic_messages.read_call(body, VAULT)
    assert json.loads(anthropic_messages.write_count(7)) == {"input_tokens": 7}
