"""rawproxy.dialects.gemini.call_writer: a Call to options and tools."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Given, Target, ToolName, Written
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
from rawproxy.dialects.gemini.call_reader import CallReader
from rawproxy.dialects.gemini.call_writer import write_call
from rawproxy.dialects.gemini.spelling import Object
from rawproxy.dialects.models import Takes, takes
from rawproxy.errors import Untranslatable

ASKED = (Turn("user", (Text("hi"),), "messages[0]"),)
NOTHING, NARROWER, NOT_THIS = "no such thing there", "narrower there", "not this model"
F = Tool("f", "tools[0]", "d", Raw(b'{"type" : "object"}'))
G = Tool("g", "tools[1]")


def target(model: str = "gemini-3-flash", known: Takes | None = None) -> Target:
    return Target(model, known or takes("gemini", model), Origin("gemini"))


def write(to: Target | None = None, **asked: Any) -> tuple[Any, dict[str, str], Written]:
    written = write_call(Call("x", "m", ASKED, **asked), to or target())
    body = json.loads(written.body)
    assert body.pop("contents") == [{"role": "user", "parts": [{"text": "hi"}]}]
    return body, {loss.path: loss.why for loss in written.losses}, written


def test_a_call_that_says_nothing_more() -> None:
    body, losses, written = write()
    assert (body, losses) == ({}, {})
    assert written.back.origin == Origin("gemini")


def test_options() -> None:
    body, losses, _ = write(
        sampling=Sampling(0.5, 0.9, 40, None, 7, 0.1, 0.2), limit=100, stop=("a", ""), n=2,
        logprobs=True, top_logprobs=3, tier="default",
    )  # fmt: skip
    assert body == {
        "generationConfig": {
            "temperature": 0.5, "topP": 0.9, "topK": 40, "seed": 7, "frequencyPenalty": 0.1,
            "presencePenalty": 0.2, "candidateCount": 2, "maxOutputTokens": 100,
            "stopSequences": ["a"], "responseLogprobs": True, "logprobs": 3,
        },
        "serviceTier": "standard",
    }  # fmt: skip
    assert losses == {}
    assert write(top_logprobs=3)[0] == {}


def test_stops_that_are_too_many_are_kept_here() -> None:
    body, losses, written = write(stop=tuple("abcdefg"))
    assert body["generationConfig"]["stopSequences"] == list("abcde")
    assert (written.back.stops, losses) == (("f", "g"), {})
    _, _, written = write(target(known=Takes(stop=False)), stop=("a",))
    assert written.back.stops == ("a",)


@pytest.mark.parametrize(
    ("sampling", "known", "config", "losses"),
    [
        (Sampling(3), Takes(), {"temperature": 2}, {"temperature": NARROWER}),
        (Sampling(3), Takes(sampling=False), None, {"temperature": NOT_THIS}),
        (Sampling(1, top_k=2), Takes(sampling=False), None, {"top_k": NOT_THIS}),
        (Sampling(min_p=0.1, logit_bias=Raw(b"{}")), Takes(), None,
         {"min_p": NOTHING, "logit_bias": NOTHING}),
    ],
)  # fmt: skip
def test_sampling(sampling: Sampling, known: Takes, config: Any, losses: Any) -> None:
    body, lost, _ = write(target(known=known), sampling=sampling)
    assert (body.get("generationConfig"), lost) == (config, losses)


def test_what_has_no_field() -> None:
    _, losses, _ = write(
        verbosity="low", cache=CacheUse("k", "24h", Cache()), parallel_tools=False, tools=(F,),
        identity=Identity("u", "s", Raw(b"{}")), tier="turbo", extra={"odd": b"1"},
        names={"verbosity": "text.verbosity"},
    )  # fmt: skip
    told = [
        "text.verbosity", "cache.key", "cache.retention", "cache.automatic", "identity.user",
        "identity.safety", "identity.metadata", "parallel_tools", "odd",
    ]  # fmt: skip
    assert losses == dict.fromkeys(told, NOTHING) | {"tier": NARROWER}
    assert write(parallel_tools=False, tier="auto")[1] == {}


@pytest.mark.parametrize(
    ("form", "config", "losses"),
    [
        (Format("json"), {"responseMimeType": "application/json"}, {}),
        (Format("schema", "n", schema=Raw(b'{"a":1}'), strict=True),
         {"responseMimeType": "application/json", "responseJsonSchema": {"a": 1}}, {}),
        (Format("schema", description="d"), {"responseMimeType": "application/json"},
         {"format": NARROWER}),
    ],
)  # fmt: skip
def test_formats(form: Format, config: Any, losses: Any) -> None:
    body, lost, _ = write(format=form)
    assert (body["generationConfig"], lost) == (config, losses)


def test_a_model_that_cannot_be_held_to_a_schema() -> None:
    form = Format("schema", schema=Raw(b'{"a":1}'))
    body, losses, _ = write(target(known=Takes(schema=False)), format=form)
    assert body["generationConfig"] == {"responseMimeType": "application/json"}
    assert losses == {"format": NARROWER}


FLASH, PRO = "gemini-3-flash", "gemini-3-pro"
FLASH_25, PRO_25 = "gemini-2.5-flash", "gemini-2.5-pro"


@pytest.mark.parametrize(
    ("model", "asked", "thinking", "lost"),
    [
        (FLASH, Reasoning(), None, None),
        (FLASH, Reasoning(show="none"), None, None),
        (FLASH, Reasoning(show="summary"), {"includeThoughts": True}, None),
        (FLASH, Reasoning("adaptive"), {"includeThoughts": True}, None),
        (FLASH, Reasoning("on", show="none"), None, None),
        (FLASH, Reasoning(effort="low"), {"includeThoughts": True, "thinkingLevel": "LOW"}, None),
        (FLASH, Reasoning(effort="minimal", show="none"), {"thinkingLevel": "MINIMAL"}, None),
        (PRO, Reasoning(effort="minimal", show="none"), {"thinkingLevel": "LOW"}, NARROWER),
        (FLASH, Reasoning(effort="max", show="none"), {"thinkingLevel": "HIGH"}, NARROWER),
        (FLASH, Reasoning("on", budget=4096), {"includeThoughts": True, "thinkingLevel": "MEDIUM"},
         NARROWER),
        (FLASH, Reasoning("off"), {"thinkingLevel": "MINIMAL"}, NARROWER),
        (PRO, Reasoning(effort="none"), {"thinkingLevel": "LOW"}, NARROWER),
        (FLASH_25, Reasoning("off"), {"thinkingBudget": 0}, None),
        (PRO_25, Reasoning("off"), {"thinkingBudget": 128}, NARROWER),
        (FLASH_25, Reasoning("on", budget=4096), {"includeThoughts": True, "thinkingBudget": 4096},
         None),
        (FLASH_25, Reasoning(budget=99999, show="none"), {"thinkingBudget": 24576}, NARROWER),
        (PRO_25, Reasoning(budget=30000, show="none"), {"thinkingBudget": 30000}, None),
        (FLASH_25, Reasoning(effort="high", show="none"), {"thinkingBudget": 16384}, None),
        (FLASH_25, Reasoning("adaptive", show="none"), {"thinkingBudget": -1}, None),
    ],
)  # fmt: skip
def test_reasoning(model: str, asked: Reasoning, thinking: Any, lost: str | None) -> None:
    body, losses, _ = write(target(model), reasoning=asked)
    assert body.get("generationConfig", {}).get("thinkingConfig") == thinking
    assert losses == ({"reasoning": lost} if lost else {})


@pytest.mark.parametrize(
    ("asked", "losses"), [(Reasoning("off"), {}), (Reasoning("on"), {"reasoning": NOT_THIS})]
)
def test_a_model_that_does_not_think(asked: Reasoning, losses: Any) -> None:
    body, lost, _ = write(target(known=Takes()), reasoning=asked)
    assert (body, lost) == ({}, losses)


def test_tools() -> None:
    free = Tool("free", "tools[2]", "d", kind="freeform", grammar=Raw(b'{"syntax":"lark"}'))
    bare = Tool("bare", "tools[3]", kind="freeform", grammar=Raw(b"{}"), cache=Cache())
    spaced = Tool("s", "tools[4]", schema=Raw(b"{}"), namespace="n", strict=True)
    hosted = Tool("web", "tools[5]", kind="native:web", runs="vendor")
    body, losses, written = write(tools=(F, G, free, bare, spaced, hosted))
    (group,) = body["tools"]
    f, g, free_item, bare_item, spaced_item = group["functionDeclarations"]
    assert f == {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}
    assert (g, spaced_item) == ({"name": "g"}, {"name": "n__s"})
    assert free_item["parametersJsonSchema"]["required"] == ["input"]
    assert free_item["description"].startswith("d\n\nThe input must follow this grammar")
    assert bare_item["description"].startswith("The input")
    assert written.back.tools == {
        "free": ToolName("free", kind="freeform"), "bare": ToolName("bare", kind="freeform"),
        "n__s": ToolName("s", "n"),
    }  # fmt: skip
    assert losses == {
        "tools[2].format": NARROWER, "tools[3].format": NARROWER,
        "tools[3].cache_control": NOTHING, "tools[4].strict": NOTHING, "tools[5]": NOTHING,
    }  # fmt: skip
    odd = Tool("o", "tools[0]", schema=Raw(b"[1]"))
    assert write(tools=(odd,))[0]["tools"] == [{"functionDeclarations": [{"name": "o"}]}]


@pytest.mark.parametrize(
    ("choice", "calling"),
    [
        (None, None),
        (ToolChoice("auto"), None),
        (ToolChoice("none"), {"mode": "NONE"}),
        (ToolChoice("required"), {"mode": "ANY"}),
        (ToolChoice("one", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("allowed", ("f", "g"), must=True),
         {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}),
        (ToolChoice("allowed", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
        (ToolChoice("allowed", ("x",)), {"mode": "NONE"}),
    ],
)  # fmt: skip
def test_tool_choices(choice: ToolChoice | None, calling: Any) -> None:
    body, losses, _ = write(tools=(F, G), tool_choice=choice)
    assert body.get("toolConfig") == (calling and {"functionCallingConfig": calling})
    assert losses == {}


@pytest.mark.parametrize(
    ("tools", "choice"), [((F,), ToolChoice("one", ("x",))), ((), ToolChoice("required"))]
)
def test_a_tool_that_has_to_be_used_has_to_be_there(tools: Any, choice: ToolChoice) -> None:
    with pytest.raises(Untranslatable, match="tool_choice: the upstream has no such tool"):
        write(tools=tools, tool_choice=choice)


def test_a_choice_without_tools_is_none() -> None:
    assert write(tool_choice=ToolChoice("none"))[0] == {}


@pytest.mark.parametrize(
    "body",
    [
        {"generationConfig": {
            "temperature": 3, "topK": 2, "candidateCount": 1, "stopSequences": list("abcdefg"),
            "responseMimeType": "application/json", "logprobs": 2, "speechConfig": {"x": 1},
            "thinkingConfig": {"includeThoughts": False, "thinkingLevel": "LOW"},
        }},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": -1}}},
        {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
        {"generationConfig": {"thinkingConfig": {"thinkingBudget": 700, "x": 1}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}, "retrievalConfig": {}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}}},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}}},
        {"toolConfig": {"functionCallingConfig": {
            "mode": "AUTO", "allowedFunctionNames": ["f"], "streamFunctionCallArguments": True}}},
        {"tools": [{"functionDeclarations": [{"name": "f", "response": {"type": "STRING"}}],
                    "googleSearch": {}}, {"urlContext": {}}]},
        {"serviceTier": "flex", "cachedContent": "c"},
        {"systemInstruction": {"parts": [{"text": "a"}]}, "contents": [{"role": "user", "parts": []}]},
    ],
)  # fmt: skip
def test_a_call_of_its_own_dialect_goes_back_as_it_came(body: Any) -> None:
    call = CallReader(Object.of(json.dumps(body).encode()), Vault(), Given("m")).read()
    written = write_call(call, target())
    assert json.loads(written.body) == body
    assert written.losses == []


def test_what_was_added_to_a_call_of_its_own_dialect_is_written() -> None:
    body = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}
    call = CallReader(Object.of(json.dumps(body).encode()), Vault(), Given("m")).read()
    call.tools = (*call.tools, Tool("g", schema=Raw(b'{"type":"object"}')))
    call.format = Format("schema", schema=Raw(b'{"a":1}'))
    written = json.loads(write_call(call, target()).body)
    assert written["tools"][1]["functionDeclarations"] == [
        {"name": "g", "parametersJsonSchema": {"type": "object"}}
    ]
    assert written["generationConfig"]["responseJsonSchema"] == {"a": 1}
    call.format = Format("json")
    assert json.loads(write_call(call, target()).body)["generationConfig"] == {
        "responseMimeType": "application/json"
    }
