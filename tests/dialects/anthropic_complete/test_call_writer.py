"""rawproxy.dialects.anthropic_complete.call_writer: any call as a transcript with options."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.anthropic_complete.call_reader import CallReader
from rawproxy.dialects.anthropic_complete.call_writer import write_call
from rawproxy.dialects.base import NOTHING_GIVEN, Target, Written
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
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import Takes
from rawproxy.dialects.reading import Fields
from rawproxy.errors import Untranslatable

TARGET = Target("up", Takes(limit=99), Origin("anthropic"))
HI = Turn("user", (Text("Hi", "messages[0].content"),), "messages[0]")
PROMPT = "\n\nHuman: Hi\n\nAssistant:"


def write(target: Target = TARGET, **members: Any) -> tuple[dict[str, Any], Written]:
    written = write_call(Call("openai_chat", "m", **({"turns": (HI,)} | members)), target)
    return json.loads(written.body), written


def test_the_least_of_calls() -> None:
    body, written = write()
    assert body == {"model": "up", "prompt": PROMPT, "max_tokens_to_sample": 99}
    assert (written.losses, written.back.origin) == ([], Origin("anthropic"))


def test_all_that_can_be_said() -> None:
    body, written = write(
        stream=True, limit=5, sampling=Sampling(0.5, 0.9, 40), stop=("a",), identity=Identity("u"),
    )  # fmt: skip
    assert body == {
        "model": "up", "prompt": PROMPT, "stream": True, "max_tokens_to_sample": 5,
        "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["a"],
        "metadata": {"user_id": "u"},
    }  # fmt: skip
    assert written.losses == []


def test_a_prompt_without_marks_is_the_human_s() -> None:
    turn = Turn("user", (Text("Once upon", "prompt"),), "prompt")
    call = Call("openai_completions", "m", (turn,), raw_prompt="Once upon")
    assert json.loads(write_call(call, TARGET).body)["prompt"] == (
        "\n\nHuman: Once upon\n\nAssistant:"
    )


def test_stop_sequences_that_the_api_refuses_are_kept_here() -> None:
    body, written = write(stop=("a", "\n", "\n\nHuman:"))
    assert (body["stop_sequences"], written.back.stops) == (["a"], ("\n",))
    body, written = write(Target("up", Takes(stop=False)), stop=("a",))
    assert ("stop_sequences" in body, written.back.stops, written.losses) == (False, ("a",), [])


def test_a_temperature_above_one_is_one() -> None:
    body, written = write(sampling=Sampling(1.5))
    assert body["temperature"] == 1
    assert written.losses == [Loss("temperature", "narrower there")]


def test_a_model_that_is_not_to_be_drawn_from() -> None:
    body, written = write(Target("up", Takes(sampling=False)), sampling=Sampling(0.5, 1, 40))
    assert not body.keys() & {"temperature", "top_p", "top_k"}
    assert written.losses == [
        Loss("temperature", "not this model"),
        Loss("top_k", "not this model"),
    ]


@pytest.mark.parametrize(
    ("identity", "user", "paths"),
    [
        (Identity("u" * 300), 64, []),
        (Identity(safety="s"), 1, []),
        (Identity("u", "s"), 1, ["identity.safety"]),
    ],
)
def test_whose_call_it_is(identity: Identity, user: int, paths: list[str]) -> None:
    body, written = write(identity=identity)
    assert len(body["metadata"]["user_id"]) == user
    assert [loss.path for loss in written.losses] == paths


@pytest.mark.parametrize(
    ("members", "paths"),
    [
        ({"tools": (Tool("f", "tools[0]"),)}, ["tools[0]"]),
        ({"tool_choice": ToolChoice("one", ("f",))}, ["tool_choice"]),
        ({"tool_choice": ToolChoice("none")}, []),
        ({"reasoning": Reasoning("adaptive")}, ["reasoning"]),
        ({"reasoning": Reasoning(effort="low")}, ["reasoning"]),
        ({"reasoning": Reasoning("off", budget=7)}, []),
        ({"sampling": Sampling(min_p=0.1, seed=7)}, ["min_p", "seed"]),
        ({"sampling": Sampling(frequency_penalty=0, presence_penalty=1)}, ["presence_penalty"]),
        ({"sampling": Sampling(logit_bias=Raw(b"{}"))}, ["logit_bias"]),
        ({"format": Format("json"), "names": {"format": "response_format"}}, ["response_format"]),
        ({"n": 2, "logprobs": True, "top_logprobs": 0}, ["n", "logprobs", "top_logprobs"]),
        ({"verbosity": "low", "tier": "flex"}, ["verbosity", "tier"]),
        ({"cache": CacheUse("k", "1h")}, ["cache.key", "cache.retention"]),
        ({"identity": Identity(metadata=Raw(b"{}"))}, ["identity.metadata"]),
        ({"extra": {"store": b"true"}}, ["store"]),
        ({"unopened": ("p.signature",)}, ["p.signature"]),
        ({"parallel_tools": False, "wants_usage": True}, []),
    ],
)
def test_what_has_no_words(members: dict[str, Any], paths: list[str]) -> None:
    assert [loss.path for loss in write(**members)[1].losses] == paths


def test_an_answer_that_the_client_began() -> None:
    begun = Turn("assistant", (Text("He"),), "messages[1]")
    assert write(turns=(HI, begun), prefill=True)[0]["prompt"] == PROMPT + " He"
    with pytest.raises(Untranslatable) as caught:
        write(Target("up", Takes(prefill=False)), turns=(HI, begun), prefill=True)
    assert caught.value.param == "messages[1]"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"prompt": "no marks "},
        {"stream": True, "temperature": 1.50, "top_k": 5, "top_p": 0.7},
        {"stop_sequences": ["\n\nHuman:", "a", "\n"]},
        {"stop_sequences": ["a"], "new": [1.50]},
        {"metadata": {"user_id": "u" * 400, "team": {"x": 1}}},
        {"metadata": {"team": 7}},
    ],
)
def test_its_own_calls_go_back_as_they_came(members: dict[str, object]) -> None:
    least = {"model": "m", "prompt": PROMPT, "max_tokens_to_sample": 9}
    fields = Fields.of(json.dumps(least | members).encode())
    written = write_call(CallReader(fields, Vault(), NOTHING_GIVEN).read(), TARGET)
    assert json.loads(written.body) == least | members | {"model": "up"}
    assert written.losses == []
