"""rawproxy.dialects.ollama_chat.call_reader: options and tools, of chat and of generate."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.call import (
    Base64,
    Call,
    Format,
    Image,
    Reasoning,
    Sampling,
    Text,
    Tool,
    Turn,
)
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.ollama_chat.call_reader import CallReader
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

GENERATE = Given(variant="generate")


def read(given: Given = NOTHING_GIVEN, **body: Any) -> Call:
    data = json.dumps({"model": "m"} | body, separators=(",", ":")).encode()
    return CallReader(Fields.of(data), Vault(), given).read()


def test_every_option_has_its_place() -> None:
    options = {
        "num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40.0, "min_p": 0.05,
        "seed": 7, "stop": ["a", "b"], "frequency_penalty": 0.1, "presence_penalty": 0.2,
        "num_ctx": 8192, "repeat_penalty": None,
    }  # fmt: skip
    call = read(options=options, messages=[], keep_alive="5m", logprobs=True, top_logprobs=2)
    assert call.limit == 9
    assert call.stop == ("a", "b")
    assert call.sampling == Sampling(0.5, 0.9, 40, 0.05, 7, 0.1, 0.2)
    assert (call.logprobs, call.top_logprobs) == (True, 2)
    assert call.extra == {"options.num_ctx": b"8192", "keep_alive": b'"5m"'}
    assert call.names["limit"] == "options.num_predict"
    assert call.names["top_logprobs"] == "top_logprobs"


@pytest.mark.parametrize(
    ("said", "limit"), [(-1, None), (-2, None), (0, None), (3, 3), (None, None)]
)
def test_no_limit(said: int | None, limit: int | None) -> None:
    assert read(options={"num_predict": said, "stop": "x"}).limit == limit


@pytest.mark.parametrize(
    ("said", "given", "stream"),
    [
        ({}, Given(), True),
        ({"stream": None}, Given(), True),
        ({"stream": True}, Given(), True),
        ({"stream": False}, Given(), False),
        ({"stream": False}, Given(stream=True), True),
    ],
)
def test_a_stream_is_the_default(said: Any, given: Given, stream: bool) -> None:
    assert read(given, **said).stream is stream


def test_the_model_may_be_given() -> None:
    assert read(Given("other")).model == "other"
    assert CallReader(Fields.of(b"{}"), Vault(), Given("other")).read().model == "other"
    with pytest.raises(ClientError, match="model: field required"):
        CallReader(Fields.of(b"{}"), Vault()).read()


@pytest.mark.parametrize(
    ("think", "reasoning"),
    [
        (None, Reasoning()),
        ("", Reasoning()),
        (True, Reasoning("on", show="full")),
        (False, Reasoning("off")),
        ("none", Reasoning("off")),
        ("low", Reasoning(effort="low", show="full")),
        ("max", Reasoning(effort="max", show="full")),
    ],
)
def test_thinking(think: object, reasoning: Reasoning) -> None:
    call = read(think=think)
    assert (call.reasoning, call.extra) == (reasoning, {})


def test_a_level_that_nobody_knows_is_kept() -> None:
    assert read(think="deep").extra == {"think": b'"deep"'}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("", None),
        ("json", Format("json")),
        ({"type": "object"}, Format("schema", schema=Raw(b'{"type":"object"}'))),
    ],
)
def test_formats(said: object, expected: Format | None) -> None:
    assert read(format=said).format == expected


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"format": "xml"}, "format"),
        ({"format": 3}, "format"),
        ({"tools": [{}]}, "tools[0].function"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name"),
        ({"options": []}, "options"),
        ({"options": {"top_k": "x"}}, "options.top_k"),
        ({"messages": {}}, "messages"),
        ({"think": 3}, "think"),
    ],
)
def test_what_is_wrong_is_named(body: Any, param: str) -> None:
    with pytest.raises(ClientError) as caught:
        read(**body)
    assert caught.value.param == param


def test_tools() -> None:
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}, "x": 1}
    call = read(
        tools=[{"type": "function", "function": function, "y": 2}, {"function": {"name": "g"}}]
    )
    assert call.tools == (
        Tool("f", "tools[0]", "d", Raw(b'{"type":"object"}')),
        Tool("g", "tools[1]"),
    )
    assert call.extra == {"tools[0].function.x": b"1", "tools[0].y": b"2"}
    assert read(tools=[]).tools == ()


@pytest.mark.parametrize(
    ("messages", "prefill"),
    [
        ([], False),
        ([{"role": "user", "content": "a"}], False),
        ([{"role": "assistant", "content": "a"}], True),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], False),
    ],
)
def test_a_last_turn_to_be_continued(messages: Any, prefill: bool) -> None:
    assert read(messages=messages).prefill is prefill


def test_generate() -> None:
    call = read(
        GENERATE, prompt="p", system="s", images=["Qk0="], think=True, format="json",
        options={"seed": 1}, suffix="", template="", context=[], raw=False,
    )  # fmt: skip
    assert call.turns == (
        Turn("system", (Text("s", "system"),), "system"),
        Turn("user", (Image(Base64("Qk0="), "images[0]"), Text("p", "prompt")), "prompt"),
    )
    assert (call.variant, call.raw_prompt, call.extra) == ("generate", None, {})
    assert (call.sampling.seed, call.reasoning.mode, call.format) == (1, "on", Format("json"))


def test_what_only_generate_has() -> None:
    call = read(GENERATE, prompt="p", suffix="x", template="t", context=[1], raw=True, width=5)
    assert call.raw_prompt == "p"
    assert call.extra == {
        "raw": b"true", "suffix": b'"x"', "template": b'"t"', "context": b"[1]", "width": b"5",
    }  # fmt: skip


def test_a_call_that_only_loads_the_model() -> None:
    assert read(GENERATE).turns == read().turns == ()
    assert read(GENERATE, raw=True).raw_prompt == ""
