"""rawproxy.dialects.openai_completions.call_writer: any call as one prompt."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from rawproxy.dialects.base import Target, Written
from rawproxy.dialects.call import (
    CacheUse,
    Call,
    Format,
    Identity,
    Image,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolChoice,
    Turn,
    Url,
)
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.losses import Loss
from rawproxy.dialects.models import Takes
from rawproxy.dialects.openai_completions.call_reader import CallReader
from rawproxy.dialects.openai_completions.call_writer import write_call
from rawproxy.dialects.reading import Fields
from rawproxy.errors import Untranslatable

TARGET = Target("up", Takes(limit=99), Origin("openai"))
HI = Turn("user", (Text("Hi", "messages[0].content"),), "messages[0]")


def write(target: Target = TARGET, **members: Any) -> tuple[dict[str, Any], Written]:
    written = write_call(Call("openai_chat", "m", **({"turns": (HI,)} | members)), target)
    return json.loads(written.body), written


def lost(**members: Any) -> list[str]:
    return [loss.path for loss in write(**members)[1].losses]


def test_the_least_of_calls() -> None:
    """Without a number, the API would cut every answer at 16 tokens."""
    body, written = write()
    assert body == {"model": "up", "prompt": "Hi", "max_tokens": 99}
    assert (written.losses, written.back.origin) == ([], Origin("openai"))


def test_a_conversation_is_one_text() -> None:
    system = Turn("system", (Text("Be brief."),))
    answer = Turn("assistant", (Text("Hello."),))
    body, _ = write(turns=(system, HI, answer, HI))
    assert body["prompt"] == (
        "Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: Hi\n\nAssistant:"
    )


def test_a_prompt_of_the_client_s_goes_as_it_is() -> None:
    body, _ = write(raw_prompt="\n\nHuman: Hi\n\nAssistant:")
    assert body["prompt"] == "\n\nHuman: Hi\n\nAssistant:"


def test_all_that_can_be_said() -> None:
    drawn = Sampling(0.5, 1, seed=7, frequency_penalty=1, presence_penalty=2, logit_bias=Raw(b"{}"))
    body, written = write(
        stream=True, limit=5, sampling=drawn, stop=("a",), n=2, logprobs=True, top_logprobs=3,
        identity=Identity("u"),
    )  # fmt: skip
    assert body == {
        "model": "up", "prompt": "Hi", "stream": True, "stream_options": {"include_usage": True},
        "max_tokens": 5, "temperature": 0.5, "top_p": 1, "seed": 7, "frequency_penalty": 1,
        "presence_penalty": 2, "logit_bias": {}, "stop": ["a"], "n": 2, "logprobs": 3, "user": "u",
    }  # fmt: skip
    assert written.losses == []


def test_stop_sequences_beyond_four_are_kept_here() -> None:
    body, written = write(stop=("a", "b", "c", "d", "e"))
    assert (body["stop"], written.back.stops) == (["a", "b", "c", "d"], ("e",))
    body, written = write(Target("up", Takes(stop=False)), stop=("a",))
    assert ("stop" in body, written.back.stops, written.losses) == (False, ("a",), [])


@pytest.mark.parametrize(("asked", "written", "paths"), [(None, 0, []), (20, 5, ["top_logprobs"])])
def test_probabilities(asked: int | None, written: int, paths: list[str]) -> None:
    body, made = write(logprobs=True, top_logprobs=asked)
    assert (body["logprobs"], made.losses) == (
        written,
        [Loss(path, "narrower there") for path in paths],
    )


def test_a_long_user_is_shortened() -> None:
    assert len(write(identity=Identity("u" * 200))[0]["user"]) == 64


def test_a_model_that_is_not_to_be_drawn_from() -> None:
    target = Target("up", Takes(sampling=False))
    body, written = write(target, sampling=Sampling(0.5, 1, seed=7))
    assert not body.keys() & {"temperature", "top_p", "seed"}
    assert written.losses == [Loss("temperature", "not this model"), Loss("seed", "not this model")]


@pytest.mark.parametrize(
    ("members", "paths"),
    [
        ({"tools": (Tool("f", "tools[0]"),)}, ["tools[0]"]),
        ({"tool_choice": ToolChoice("required")}, ["tool_choice"]),
        ({"tool_choice": ToolChoice("auto")}, []),
        ({"reasoning": Reasoning("on")}, ["reasoning"]),
        ({"reasoning": Reasoning(effort="low")}, ["reasoning"]),
        ({"reasoning": Reasoning(budget=7)}, ["reasoning"]),
        ({"reasoning": Reasoning("off", budget=7)}, []),
        ({"reasoning": Reasoning(effort="none")}, []),
        ({"sampling": Sampling(top_k=1, min_p=0.1)}, ["top_k", "min_p"]),
        ({"format": Format("json"), "names": {"format": "response_format"}}, ["response_format"]),
        ({"verbosity": "low", "tier": "flex"}, ["verbosity", "tier"]),
        ({"cache": CacheUse("k", "1h")}, ["cache.key", "cache.retention"]),
        (
            {"identity": Identity(safety="s", metadata=Raw(b"{}"))},
            ["identity.safety", "identity.metadata"],
        ),
        ({"extra": {"store": b"true"}}, ["store"]),
        ({"turns": (Turn("user", (Image(Url("u"), "p.image"),)),)}, ["p.image"]),
        ({"unopened": ("p.signature",)}, ["p.signature"]),
        ({"parallel_tools": False, "wants_usage": True}, []),
    ],
)
def test_what_has_no_words(members: dict[str, Any], paths: list[str]) -> None:
    assert lost(**members) == paths


def test_an_answer_that_the_client_began() -> None:
    begun = Turn("assistant", (Text("He"),), "messages[1]")
    body, _ = write(turns=(HI, begun), prefill=True)
    assert body["prompt"] == "User: Hi\n\nAssistant: He"
    with pytest.raises(Untranslatable) as caught:
        write(Target("up", Takes(prefill=False)), turns=(HI, begun), prefill=True)
    assert caught.value.param == "messages[1]"


@pytest.mark.parametrize(
    "members",
    [
        {"prompt": "Hi"},
        {"prompt": None},
        {"prompt": ["a", "b"], "n": 2},
        {"prompt": [1, 2]},
        {"prompt": [[1], [2]]},
        {"prompt": "Hi", "suffix": "!", "echo": True, "best_of": 3, "logprobs": 0},
        {"prompt": "Hi", "stop": ["a"] * 5, "top_k": 1, "min_p": 0.50, "logit_bias": {"7": 1}},
        {"prompt": "Hi", "stream_options": {"include_obfuscation": False}, "new": [1.50]},
    ],
)
def test_its_own_calls_go_back_as_they_came(members: dict[str, object]) -> None:
    body = json.dumps({"model": "m"} | members).encode()
    written = write_call(CallReader(Fields.of(body), Vault()).read(), TARGET)
    assert json.loads(written.body) == {"model": "up"} | members
    assert written.losses == []


def test_a_stream_of_its_own_asks_for_usage() -> None:
    body = b'{"model":"m","prompt":"a","stream":true,"stream_options":{"include_obfuscation":true}}'
    call = CallReader(Fields.of(body), Vault()).read()
    assert json.loads(write_call(call, TARGET).body)["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": True,
    }
    plain = replace(call, extra={})
    assert json.loads(write_call(plain, TARGET).body)["stream_options"] == {"include_usage": True}
