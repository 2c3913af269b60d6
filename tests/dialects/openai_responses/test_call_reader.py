"""rawproxy.dialects.openai_responses.call_reader: options of a request."""

from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import (
    CacheUse,
    Call,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    Turn,
)
from rawproxy.dialects.envelope import UNKNOWN, Vault, seal
from rawproxy.dialects.openai_responses.call_reader import CallReader
from rawproxy.dialects.openai_responses.reasoning import RESPONSES
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")


def read(given: Given = NOTHING_GIVEN, **body: object) -> Call:
    whole = {"model": "m", "input": "Hi"} | body
    return CallReader(Fields.of(encode(whole)), VAULT, given).read()


def test_every_option_has_its_place() -> None:
    call = read(
        stream=True, max_output_tokens=9, temperature=0.5, top_p=1, user="u",
        safety_identifier="s", metadata={"a": "b"}, service_tier="flex", prompt_cache_key="k",
        prompt_cache_retention="24h", parallel_tool_calls=False, tools=[{"type": "function", "name": "f"}],
        tool_choice={"type": "function", "name": "f"}, include=["message.output_text.logprobs"],
        top_logprobs=2,
    )  # fmt: skip
    assert call == Call(
        RESPONSES, "m", (Turn("user", (Text("Hi", "input"),), "input"),), stream=True, limit=9,
        sampling=Sampling(0.5, 1), identity=Identity("u", "s", Raw(b'{"a":"b"}')), tier="flex",
        cache=CacheUse("k", "24h"), parallel_tools=False, tools=(Tool("f", "tools[0]"),),
        tool_choice=ToolChoice("one", ("f",)), logprobs=True, top_logprobs=2, wants_usage=True,
        vault=VAULT, names=call.names,
    )  # fmt: skip
    assert call.names == {
        "limit": "max_output_tokens", "temperature": "temperature", "top_p": "top_p",
        "tools": "tools", "tool_choice": "tool_choice", "parallel_tools": "parallel_tool_calls",
        "top_logprobs": "top_logprobs", "cache.key": "prompt_cache_key",
        "cache.retention": "prompt_cache_retention", "identity.user": "user",
        "identity.safety": "safety_identifier", "identity.metadata": "metadata",
        "tier": "service_tier", "logprobs": "include",
    }  # fmt: skip


def test_what_stands_outside_the_body_wins() -> None:
    call = read(Given("other", stream=True), stream=False)
    assert (call.model, call.stream) == ("other", True)


@pytest.mark.parametrize(
    ("items", "prefill"),
    [
        ([{"role": "assistant", "content": "So"}], True),
        ([{"role": "user", "content": "So"}], False),
        ([{"type": "reasoning", "summary": []}], False),
        ([], False),
    ],
)
def test_text_of_the_assistant_at_the_end_is_to_be_continued(items: object, prefill: bool) -> None:
    assert read(input=items).prefill is prefill


@pytest.mark.parametrize(
    ("asked", "reasoning", "extra"),
    [
        ({}, Reasoning(), {}),
        ({"effort": "xhigh", "summary": "auto"}, Reasoning(effort="xhigh", show="summary"), {}),
        ({"summary": "detailed"}, Reasoning(show="full"), {}),
        ({"summary": "concise"}, Reasoning(show="summary"), {"summary": b'"concise"'}),
        ({"summary": "new"}, Reasoning(), {"summary": b'"new"'}),
        ({"generate_summary": "auto"}, Reasoning(show="summary"), {"generate_summary": b'"auto"'}),
        (
            {"generate_summary": "auto", "summary": "detailed"},
            Reasoning(show="full"),
            {"generate_summary": b'"auto"', "summary": b'"detailed"'},
        ),
        ({"effort": "wild"}, Reasoning(), {"effort": b'"wild"'}),
        (
            {"mode": "pro", "context": "all_turns"},
            Reasoning(),
            {"mode": b'"pro"', "context": b'"all_turns"'},
        ),
    ],
)
def test_reasoning(asked: object, reasoning: Reasoning, extra: dict[str, bytes]) -> None:
    call = read(reasoning=asked)
    assert call.reasoning == reasoning
    assert call.extra == {f"reasoning.{name}": value for name, value in extra.items()}


def test_sealed_reasoning_is_asked_for_by_include() -> None:
    call = read(include=["reasoning.encrypted_content"])
    assert call.reasoning == Reasoning(sealed=True)
    assert call.extra == {}
    assert read(reasoning={"effort": "low"}, include=["reasoning.encrypted_content"]).reasoning == (
        Reasoning(effort="low", sealed=True)
    )


def test_other_words_in_include_keep_all_of_it() -> None:
    words = ["web_search_call.action.sources", "reasoning.encrypted_content"]
    call = read(include=words)
    assert call.reasoning.sealed
    assert call.extra == {"include": encode(words)}


@pytest.mark.parametrize(
    ("text", "form", "verbosity", "extra"),
    [
        ({}, None, None, {}),
        ({"verbosity": "low"}, None, "low", {}),
        ({"format": {"type": "text"}}, None, None, {}),
        ({"format": {"type": "json_object"}}, Format("json"), None, {}),
        (
            {"format": {"type": "json_schema", "name": "n", "schema": {"x": 1}, "strict": True, "y": 2}},
            Format("schema", "n", schema=Raw(b'{"x":1}'), strict=True),
            None,
            {"text.format.y": b"2"},
        ),
        ({"format": {"type": "lark"}, "x": 1}, None, None, {"text.format": b'{"type":"lark"}', "text.x": b"1"}),
    ],
)  # fmt: skip
def test_text(text: object, form: object, verbosity: object, extra: dict[str, bytes]) -> None:
    call = read(text=text)
    assert (call.format, call.verbosity, call.extra) == (form, verbosity, extra)
    assert call.names.get("format") == (form and "text.format")
    assert call.names.get("verbosity") == (verbosity and "text.verbosity")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"), ("conversation", {"id": "conv_1"}),
        ("prompt", {"id": "pmpt_1"}), ("background", True), ("store", False),
        ("client_metadata", {"a": "b"}), ("context_management", [{"type": "compaction"}]),
        ("truncation", "auto"), ("max_tool_calls", 3), ("new", 1), ("top_logprobs", 3),
    ],
)  # fmt: skip
def test_what_no_part_holds_is_kept(field: str, value: Any) -> None:
    assert read(**{field: value}).extra == {field: encode(value)}


@pytest.mark.parametrize("said", [{"background": False}, {"top_logprobs": 0}, {"store": None}])
def test_defaults_are_not_kept(said: dict[str, Any]) -> None:
    assert read(**said).extra == {}


def test_options_of_the_stream_are_kept() -> None:
    call = read(stream_options={"include_obfuscation": False})
    assert call.extra == {"stream_options.include_obfuscation": b"false"}


def test_tools_of_the_body_come_before_those_among_the_items() -> None:
    more = {"type": "additional_tools", "tools": [{"type": "custom", "name": "c"}]}
    call = read(input=[more], tools=[{"type": "function", "name": "f"}])
    assert [tool.name for tool in call.tools] == ["f", "c"]


def test_envelopes_of_others_are_told() -> None:
    shut = Vault(b"other").pack
    item = {"type": "reasoning", "encrypted_content": shut(seal(UNKNOWN, "thinking", "{}"))}
    assert read(input=[item]).unopened == ("input[0]",)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"reasoning": "high"}, "reasoning"),
        ({"include": "all"}, "include"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_errors_name_the_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(**body)
    assert caught.value.param == param
