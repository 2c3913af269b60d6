"""rawproxy.dialects.openai_completions.call_reader: prompts, options, and what nobody has a place for."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.call import Call, Identity, Sampling, Text, Turn
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.openai_completions.call_reader import CallReader
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")


def read(**body: Any) -> Call:
    return CallReader(Fields.of(json.dumps({"model": "m"} | body).encode()), VAULT).read()


def said(prompt: str, path: str = "prompt") -> Turn:
    return Turn("user", (Text(prompt, path),), path)


def test_the_least_of_calls() -> None:
    call = read(prompt="Hi")
    assert call == Call(
        "openai_completions", "m", (said("Hi"),), raw_prompt="Hi", vault=VAULT
    )  # fmt: skip


def test_every_field() -> None:
    call = read(
        prompt="Hi", best_of=2, echo=True, frequency_penalty=0.5, logit_bias={"7": -100},
        logprobs=2, max_tokens=9, n=2, presence_penalty=-1, seed=7, stop=["a", "b"], stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False}, suffix="!",
        temperature=1, top_p=0.5, user="u", top_k=40, min_p=0.1, new={"x": 1},
    )  # fmt: skip
    assert call.sampling == Sampling(1, 0.5, 40, 0.1, 7, 0.5, -1, Raw(b'{"7": -100}'))
    assert (call.stream, call.limit, call.n, call.stop) == (True, 9, 2, ("a", "b"))
    assert (call.logprobs, call.top_logprobs, call.wants_usage) == (True, 2, True)
    assert call.identity == Identity("u")
    assert call.extra == {
        "best_of": b"2", "echo": b"true", "suffix": b'"!"', "new": b'{"x": 1}',
        "stream_options.include_obfuscation": b"false",
    }  # fmt: skip
    assert call.names["limit"] == "max_tokens"
    assert call.names["top_logprobs"] == "logprobs"
    assert call.names["wants_usage"] == "stream_options.include_usage"


def test_neutral_values_say_nothing() -> None:
    call = read(prompt="", echo=False, best_of=1, suffix="", stop=None, stream_options={})
    assert (call.extra, call.stop, call.wants_usage, call.logprobs) == ({}, (), False, False)


def test_no_probabilities_but_those_of_the_tokens() -> None:
    call = read(prompt="", logprobs=0)
    assert (call.logprobs, call.top_logprobs) == (True, 0)


@pytest.mark.parametrize("stop", ["a", ["a"]])
def test_one_stop_sequence(stop: object) -> None:
    assert read(prompt="", stop=stop).stop == ("a",)


@pytest.mark.parametrize(
    ("prompt", "raw_prompt", "turns", "extra"),
    [
        (None, None, (), None),
        (["a"], "a", (said("a", "prompt[0]"),), None),
        (["a", "b"], None, (said("a", "prompt[0]"), said("b", "prompt[1]")), b'["a", "b"]'),
        ([], None, (), b"[]"),
        ([1, 2], None, (), b"[1, 2]"),
        ([[1], [2]], None, (), b"[[1], [2]]"),
        (["a", [1]], None, (), b'["a", [1]]'),
    ],
)
def test_prompts(
    prompt: object, raw_prompt: str | None, turns: tuple[Turn, ...], extra: bytes | None
) -> None:
    """Several prompts and token ids are one's own affair: `extra` keeps them as they are."""
    call = read(prompt=prompt)
    assert (call.raw_prompt, call.turns, call.extra.get("prompt")) == (raw_prompt, turns, extra)


@pytest.mark.parametrize("prompt", [7, {}, [True], [None], [["a"]]])
def test_what_is_no_prompt(prompt: object) -> None:
    with pytest.raises(ClientError, match=r"^prompt: expected a string, strings or token ids$"):
        read(prompt=prompt)


@pytest.mark.parametrize(
    ("field", "value"), [("max_tokens", "x"), ("logprobs", True), ("stop", 7), ("stream", 1)]
)
def test_errors_name_the_field(field: str, value: object) -> None:
    with pytest.raises(ClientError) as caught:
        read(prompt="", **{field: value})
    assert caught.value.param == field
