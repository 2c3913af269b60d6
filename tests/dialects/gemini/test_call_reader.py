"""rawproxy.dialects.gemini.call_reader: options and tools to a Call."""

import json
from typing import Any

import pytest

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import Call, Format, Reasoning, Sampling, Tool, ToolChoice
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.gemini.call_reader import CallReader, Shape
from rawproxy.dialects.gemini.spelling import Object
from rawproxy.errors import ClientError


def read(given: Given = NOTHING_GIVEN, **body: Any) -> Call:
    return CallReader(Object.of(json.dumps(body).encode()), Vault(), given).read()


def config(**members: Any) -> Call:
    return read(generationConfig=members)


def test_the_path_names_the_model_and_says_whether_it_streams() -> None:
    assert read(Given("m", stream=True)).model == "m"
    assert read(Given("m", stream=True)).stream
    assert not read(Given("m")).stream
    assert read(model="models/x").model == "x"
    assert read(Given("m"), model="models/x").model == "m"
    assert read().model == ""


@pytest.mark.parametrize("snake", [False, True])
def test_options_are_read_in_both_spellings(*, snake: bool) -> None:
    call = (
        read(generation_config={
            "temperature": 1, "top_p": 0.5, "top_k": 40.0, "candidate_count": 2, "seed": 3,
            "max_output_tokens": 9, "stop_sequences": ["a"], "presence_penalty": 0.1,
            "frequency_penalty": 0.2, "response_logprobs": True, "logprobs": 4, "odd_one": 1,
        }) if snake else config(
            temperature=1, topP=0.5, topK=40.0, candidateCount=2, seed=3, maxOutputTokens=9,
            stopSequences=["a"], presencePenalty=0.1, frequencyPenalty=0.2, responseLogprobs=True,
            logprobs=4, odd_one=1,
        )
    )  # fmt: skip
    assert call.sampling == Sampling(1, 0.5, 40, None, 3, 0.2, 0.1)
    assert (call.n, call.limit, call.stop, call.logprobs, call.top_logprobs) == (
        2,
        9,
        ("a",),
        True,
        4,
    )
    name = "generation_config.top_p" if snake else "generationConfig.topP"
    assert call.names["top_p"] == name
    assert list(call.extra) == [f"{name.partition('.')[0]}.odd_one"]


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({}, Reasoning()),
        ({"include_thoughts": True}, Reasoning("adaptive", show="summary")),
        ({"includeThoughts": False}, Reasoning(show="none")),
        (
            {"includeThoughts": True, "thinkingLevel": "low"},
            Reasoning(effort="low", show="summary"),
        ),
        ({"thinkingLevel": "XHIGH"}, Reasoning(effort="xhigh")),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, Reasoning()),
        ({"thinkingBudget": 0}, Reasoning("off")),
        ({"thinkingBudget": -1}, Reasoning("adaptive")),
        ({"thinkingBudget": 512}, Reasoning("on", budget=512)),
    ],
)
def test_reasoning(thinking: Any, reasoning: Reasoning) -> None:
    call = config(thinkingConfig=thinking)
    assert call.reasoning == reasoning
    assert call.extra == {}


def test_a_level_that_is_new_is_kept() -> None:
    assert config(thinkingConfig={"thinkingLevel": "huge"}).extra == {
        "generationConfig.thinkingConfig.thinkingLevel": b'"HUGE"'
    }


def test_formats() -> None:
    assert config().format is None
    assert config(responseMimeType="text/plain").format is None
    assert config(responseMimeType="application/json").format == Format("json")
    plain = config(response_json_schema={"type": "string"})
    assert isinstance(plain.format, Shape)
    assert bytes(plain.format.schema) == b'{"type": "string"}'
    assert plain.names["format"] == "generationConfig.response_json_schema"
    own = config(responseMimeType="application/json", responseSchema={"type": "STRING"}).format
    assert isinstance(own, Shape)
    assert bytes(own.schema) == b'{"type":"string"}'
    assert (own.field, bytes(own.native)) == ("responseSchema", b'{"type": "STRING"}')
    enum = config(responseMimeType="text/x.enum", responseSchema={"type": "STRING"})
    assert enum.format is None
    assert enum.extra.keys() == {
        "generationConfig.responseMimeType",
        "generationConfig.responseSchema",
    }


@pytest.mark.parametrize(
    ("kinds", "kept"),
    [(["TEXT"], False), (["text"], False), ([], False), (["TEXT", "IMAGE"], True)],
)
def test_modalities(kinds: list[str], kept: bool) -> None:
    assert ("generationConfig.responseModalities" in config(responseModalities=kinds).extra) is kept


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({}, ToolChoice("auto")),
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "MODE_UNSPECIFIED"}, ToolChoice("auto")),
        ({"mode": "none"}, ToolChoice("none")),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "ANY", "allowed_function_names": ["f"]}, ToolChoice("one", ("f",))),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
         ToolChoice("allowed", ("f", "g"), must=True)),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["f"]}, ToolChoice("allowed", ("f",))),
        ({"mode": "VALIDATED"}, ToolChoice("auto")),
    ],
)  # fmt: skip
def test_tool_choices(calling: Any, choice: ToolChoice) -> None:
    call = read(tool_config={"functionCallingConfig": calling, "x": 1})
    assert call.tool_choice == choice
    assert call.names["tool_choice"] == "tool_config.functionCallingConfig"
    mode = (
        {"tool_config.functionCallingConfig.mode"} if calling.get("mode") == "VALIDATED" else set()
    )
    assert call.extra.keys() == {"tool_config.x"} | mode


def test_no_tool_choice() -> None:
    assert read().tool_choice is None
    call = read(toolConfig={"retrievalConfig": {}})
    assert call.tool_choice is None
    assert call.extra.keys() == {"toolConfig.retrievalConfig"}


def test_tools() -> None:
    call = read(tools=[
        {"functionDeclarations": [
            {"name": "f", "description": "d", "parameters": {"type": "OBJECT"}, "behavior": "BLOCKING"},
            {"name": "g", "parameters_json_schema": {"type": "object"}},
            {"name": "h"},
        ]},
        {"google_search": {}, "code_execution": {}},
    ])  # fmt: skip
    f, g, h, search, code = call.tools
    assert (f.name, f.description, bytes(f.schema)) == ("f", "d", b'{"type":"object"}')
    assert (bytes(g.schema), bytes(h.schema)) == (b'{"type": "object"}', b"")
    assert h.path == "tools[0].functionDeclarations[2]"
    assert search == Tool(
        "googleSearch", "tools[1].google_search", kind="native:googleSearch", runs="vendor",
        dialect="gemini", raw=search.raw,
    )  # fmt: skip
    assert code.name == "codeExecution"
    assert call.extra == {"tools[0].functionDeclarations[0].behavior": b'"BLOCKING"'}


def test_the_rest_of_the_body() -> None:
    call = read(serviceTier="FLEX", safety_settings=[], cachedContent="c")
    assert call.tier == "flex"
    assert call.extra == {"safety_settings": b"[]", "cachedContent": b'"c"'}
    assert read(serviceTier="unspecified").tier is None
    assert call.wants_usage


def test_a_model_s_last_turn_is_to_be_continued() -> None:
    def said(part: Any) -> Any:
        return {"role": "model", "parts": [part]}

    assert read(contents=[said({"text": "a"})]).prefill
    assert not read(contents=[said({"functionCall": {"name": "f"}})]).prefill
    assert not read(contents=[]).prefill


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"generationConfig": 1}, "generationConfig is not a JSON object"),
        (
            {"generation_config": {"top_k": 1.5}},
            r"generation_config.top_k: expected a whole number",
        ),
        (
            {"tools": [{"functionDeclarations": [{}]}]},
            r"functionDeclarations\[0\].name: field required",
        ),
    ],
)
def test_bad_fields_are_named(body: Any, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        read(**body)
