"""rawproxy.dialects.ollama_chat.call_writer: options and tools, of this dialect and of others."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import NOTHING_GIVEN, Back, Given, Target, ToolName
from rawproxy.dialects.call import (
    Cache,
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
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.models import Takes
from rawproxy.dialects.ollama_chat.call_reader import CallReader
from rawproxy.dialects.ollama_chat.call_writer import write_call
from rawproxy.dialects.reading import Fields
from rawproxy.errors import Untranslatable

NO: Why = "no such thing there"
NARROWER: Why = "narrower there"
NOT_THIS: Why = "not this model"
THINKS = Takes(reasoning="effort")
F, G = Tool("f", "tools[0]"), Tool("g", "tools[1]")
NONE = {"type": "object", "properties": {}}
CHAT: dict[str, Any] = {
    "model": "m", "stream": True,
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "developer", "content": "d", "x": 1},
        {"role": "user", "content": "u", "images": ["Qk0=", "https://x/y"]},
        {"role": "assistant", "content": "", "thinking": "t", "tool_calls": [
            {"function": {"name": "f", "arguments": {"a": 1.50}, "y": 2}, "z": 3},
            {"id": "c", "function": {"name": "g h", "arguments": {}}},
        ]},
        {"role": "tool", "content": "r", "tool_name": "f", "w": 4},
        {"role": "tool", "content": "q", "images": ["Qk0="], "tool_call_id": "c"},
    ],
    "tools": [
        {"type": "function", "v": 5, "function": {
            "name": "g h", "description": "d", "parameters": {"type": "object"}, "strict": True,
            "u": 6,
        }},
    ],
    "format": {"type": "object"}, "think": True, "logprobs": True, "top_logprobs": 2,
    "options": {
        "num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7,
        "stop": ["a"], "frequency_penalty": 0.1, "presence_penalty": 0.2, "num_ctx": 8192,
    },
    "keep_alive": -1, "t": 7,
}  # fmt: skip
PROMPT: dict[str, Any] = {
    "model": "m", "stream": False, "prompt": "p", "system": "s", "images": ["Qk0="], "suffix": "x",
    "template": "t", "context": [1], "raw": True, "think": "low", "format": "json",
    "options": {"num_predict": -1},
}  # fmt: skip


def read(body: Any, given: Given = NOTHING_GIVEN) -> Call:
    return CallReader(Fields.of(json.dumps(body).encode()), Vault(), given).read()


def write(call: Call, takes: Takes = THINKS) -> tuple[Any, list[Loss], Back]:
    written = write_call(call, Target("m", takes))
    return json.loads(written.body), written.losses, written.back


def other(**more: Any) -> tuple[Any, list[Loss], Back]:
    takes = more.pop("takes", THINKS)
    call = Call("other", "asked", (Turn("user", (Text("Hi"),)),), **more)
    body, losses, back = write(call, takes)
    assert body.pop("messages") == [{"role": "user", "content": "Hi"}]
    assert (body.pop("model"), body.pop("stream")) == ("m", call.stream)
    return body, losses, back


@pytest.mark.parametrize(
    ("body", "variant"),
    [
        (CHAT, ""),
        (PROMPT, "generate"),
        ({"model": "m", "messages": [], "stream": True}, ""),
        ({"model": "m", "stream": True}, "generate"),
        ({"model": "m", "messages": [], "stream": True, "think": False, "format": "json"}, ""),
    ],
)
def test_into_its_own_dialect_a_call_goes_back_as_it_came(body: Any, variant: str) -> None:
    call = read(body, Given(variant=variant))
    written, losses, back = write(call, Takes(sampling=False, stop=False, schema=False))
    assert written == body
    assert losses == []
    assert back == Back()


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({"options": {"num_predict": -2, "stop": "x"}, "tools": []},
         {"options": {"num_predict": -1, "stop": ["x"]}}),
        ({"think": "none", "format": "", "options": {}}, {"think": False}),
        ({"stream": None}, {}),
    ],
)  # fmt: skip
def test_what_means_the_same_may_be_said_in_one_way(said: Any, written: Any) -> None:
    base = {"model": "m", "messages": [], "stream": True}
    assert write(read(base | said))[:2] == (base | written, [])


def test_what_another_dialect_loses_of_a_call_of_this_one() -> None:
    call = read(PROMPT | {"keep_alive": 5}, Given(variant="generate"))
    call.dialect = "other"
    _, losses, _ = write(call)
    assert [loss.path for loss in losses] == ["raw", "suffix", "template", "context", "keep_alive"]


def test_options() -> None:
    sampling = Sampling(0.5, 1, 40, 0.05, 0, 0.1, 0.2)
    body, losses, back = other(
        limit=9, sampling=sampling, stop=("a",), logprobs=True, top_logprobs=2, stream=True
    )
    assert body == {
        "logprobs": True, "top_logprobs": 2,
        "options": {
            "num_predict": 9, "temperature": 0.5, "top_p": 1, "top_k": 40, "min_p": 0.05, "seed": 0,
            "stop": ["a"], "frequency_penalty": 0.1, "presence_penalty": 0.2,
        },
    }  # fmt: skip
    assert (losses, back) == ([], Back())


def test_a_model_that_takes_less() -> None:
    takes = Takes(sampling=False, stop=False, schema=False)
    form = Format("schema", schema=Raw(b'{"type":"object"}'))
    body, losses, back = other(takes=takes, sampling=Sampling(1), stop=("a",), limit=9, format=form)
    assert body == {"format": "json", "options": {"num_predict": 9}}
    assert losses == [Loss("format", NARROWER), Loss("temperature", NOT_THIS)]
    assert back == Back(stops=("a",))


@pytest.mark.parametrize(
    ("form", "written", "losses"),
    [
        (None, None, []),
        (Format("json"), "json", []),
        (Format("schema", "n", schema=Raw(b'{"x":1}'), strict=True), {"x": 1}, []),
        (Format("schema", description="d", schema=Raw(b"{}")), {}, [Loss("format", NARROWER)]),
        (Format("schema"), "json", []),
    ],
)
def test_formats(form: Format | None, written: object, losses: list[Loss]) -> None:
    body, lost, _ = other(format=form)
    assert (body.get("format"), lost) == (written, losses)


@pytest.mark.parametrize(
    ("asked", "takes", "think", "why"),
    [
        (Reasoning(), "effort", None, None),
        (Reasoning(show="none"), "effort", None, None),
        (Reasoning("off", "high"), "none", False, None),
        (Reasoning(effort="none"), "effort", False, None),
        (Reasoning("on", show="summary"), "effort", True, None),
        (Reasoning("adaptive"), "adaptive", True, None),
        (Reasoning("adaptive", "medium"), "effort", "medium", None),
        (Reasoning(effort="high"), "effort", "high", None),
        (Reasoning(effort="minimal"), "effort", "low", NARROWER),
        (Reasoning(effort="max"), "effort", "high", NARROWER),
        (Reasoning("on", budget=4000), "effort", "medium", NARROWER),
        (Reasoning(effort="low"), "adaptive", True, NARROWER),
        (Reasoning("on", budget=4000), "adaptive", True, NARROWER),
        (Reasoning("on"), "none", None, NOT_THIS),
    ],
)
def test_thinking(asked: Reasoning, takes: Any, think: object, why: Why | None) -> None:
    body, losses, _ = other(reasoning=asked, takes=Takes(reasoning=takes))
    assert body.get("think") == think
    assert losses == ([Loss("reasoning", why)] if why else [])


@pytest.mark.parametrize(
    ("choice", "names", "losses"),
    [
        (None, ["f", "g"], []),
        (ToolChoice("auto"), ["f", "g"], []),
        (ToolChoice("none"), [], []),
        (ToolChoice("required"), ["f", "g"], [Loss("tool_choice", NO)]),
        (ToolChoice("one", ("g",)), ["g"], [Loss("tool_choice", NARROWER)]),
        (ToolChoice("allowed", ("g", "?")), ["g"], []),
        (ToolChoice("allowed", ("f",), must=True), ["f"], [Loss("tool_choice", NARROWER)]),
    ],
)
def test_a_choice_of_tools(choice: ToolChoice | None, names: list[str], losses: list[Loss]) -> None:
    body, lost, _ = other(tools=(F, G), tool_choice=choice)
    assert [tool["function"]["name"] for tool in body.get("tools", ())] == names
    assert lost == losses


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("one", ("f",))])
def test_a_tool_that_has_to_be_used_has_to_be_there(choice: ToolChoice) -> None:
    search = Tool("search", "tools[0]", kind="native:search", runs="vendor")
    with pytest.raises(Untranslatable):
        other(tools=(search,), tool_choice=choice)


def test_tools() -> None:
    grammar = Raw(b'{"syntax":"lark"}')
    tools = (
        Tool("f", "tools[0]", "d", Raw(b'{"type":"object","x":1.50}'), strict=True),
        Tool("g", "tools[1]", namespace="ns", cache=Cache()),
        Tool("h", "tools[2]", "d", kind="freeform", grammar=grammar),
        Tool("i", "tools[3]", kind="freeform", grammar=grammar),
        Tool("bash", "tools[4]", kind="native:bash_1"),
    )
    body, losses, back = other(tools=tools, parallel_tools=False)
    said = [tool["function"] for tool in body["tools"]]
    assert said[0] == {"name": "f", "description": "d", "parameters": {"type": "object", "x": 1.5}}
    assert said[1] == {"name": "ns__g", "parameters": NONE}
    rules = 'The input must follow this grammar: {"syntax":"lark"}'
    assert [one.get("description") for one in said[2:]] == [f"d\n\n{rules}", rules]
    assert said[3]["parameters"]["required"] == ["input"]
    assert losses == [
        Loss("tools[0].strict", NO), Loss("tools[1].cache_control", NO),
        Loss("tools[2].format", NARROWER), Loss("tools[3].format", NARROWER), Loss("tools[4]", NO),
        Loss("parallel_tools", NO),
    ]  # fmt: skip
    assert back.tools == {
        "ns__g": ToolName("g", "ns"), "h": ToolName("h", kind="freeform"),
        "i": ToolName("i", kind="freeform"),
    }  # fmt: skip


def test_what_has_no_field_is_lost_by_the_client_s_name_for_it() -> None:
    _, losses, _ = other(
        sampling=Sampling(logit_bias=Raw(b"{}")), verbosity="low", n=2,
        cache=CacheUse("k", "24h", Cache()), identity=Identity("u", "s", Raw(b"{}")), tier="flex",
        names={"identity.user": "user", "tier": "service_tier"}, parallel_tools=False,
    )  # fmt: skip
    assert losses == [Loss(path, NO) for path in (
        "logit_bias", "verbosity", "n", "cache.key", "cache.retention", "cache.automatic", "user",
        "identity.safety", "identity.metadata", "service_tier",
    )]  # fmt: skip


def test_whose_seals_the_reply_brings() -> None:
    written = write_call(Call("other", "m"), Target("m", Takes(), Origin("here")))
    assert written.back.origin == Origin("here")
