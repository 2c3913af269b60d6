"""rawproxy.dialects.anthropic_complete.call_reader: options, and what nobody has a place for."""

import json
from typing import Any

import pytest

from rawproxy.dialects.anthropic_complete.call_reader import IMPLIED, CallReader
from rawproxy.dialects.base import Given
from rawproxy.dialects.call import Call, Identity, Sampling, Text, Turn
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

VAULT = Vault(b"key", "me")
PROMPT = "\n\nHuman: Hi\n\nAssistant:"
LEAST: dict[str, object] = {"model": "m", "prompt": PROMPT, "max_tokens_to_sample": 9}


def read(variant: str = "", **body: Any) -> Call:
    fields = Fields.of(json.dumps(LEAST | body).encode())
    return CallReader(fields, VAULT, Given(variant=variant)).read()


def test_the_least_of_calls() -> None:
    assert read("2023-06-01") == Call(
        "anthropic_complete", "m", (Turn("user", (Text("Hi", "prompt"),), "prompt"),),
        variant="2023-06-01", raw_prompt=PROMPT, limit=9, names={"limit": "max_tokens_to_sample"},
        vault=VAULT,
    )  # fmt: skip


def test_every_field() -> None:
    call = read(
        stream=True, temperature=0.5, top_k=40, top_p=1, stop_sequences=["a", "\n\nHuman:"],
        metadata={"user_id": "u", "team": 7}, new=1.50,
    )  # fmt: skip
    assert (call.stream, call.sampling, call.stop) == (True, Sampling(0.5, 1, 40), ("a",))
    assert call.identity == Identity("u")
    assert call.extra == {"metadata.team": b"7", "new": b"1.5"}
    assert call.names == {
        "limit": "max_tokens_to_sample", "temperature": "temperature", "top_p": "top_p",
        "top_k": "top_k", "stop": "stop_sequences", IMPLIED: "stop_sequences",
        "identity.user": "metadata.user_id",
    }  # fmt: skip


def test_the_beginning_of_an_answer() -> None:
    call = read(prompt=PROMPT + " He")
    assert (call.prefill, call.turns[-1].role, call.raw_prompt) == (
        True,
        "assistant",
        PROMPT + " He",
    )


@pytest.mark.parametrize("metadata", [None, {}, {"user_id": None}])
def test_nobody_in_particular(metadata: object) -> None:
    call = read(metadata=metadata)
    assert (call.identity, call.extra) == (Identity(), {})
    assert "identity.user" not in call.names


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("prompt", None),
        ("prompt", ["a"]),
        ("max_tokens_to_sample", None),
        ("max_tokens_to_sample", "x"),
        ("stop_sequences", "a"),
    ],
)
def test_errors_name_the_field(field: str, value: Any) -> None:
    with pytest.raises(ClientError) as caught:
        read("", **{field: value})
    assert caught.value.param == field
