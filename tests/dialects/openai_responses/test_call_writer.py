"""rawproxy.dialects.openai_responses.call_writer: options as they came, and those of other dialects."""

import json
from typing import Any

import pytest
from msgspec import Raw

from rawproxy.dialects.base import Target
from rawproxy.dialects.call import (
    Cache,
    CacheUse,
    Call,
    Format,
    Identity,
    Reasoning,
    Sampling,
    Text,
    Turn,
)
from rawproxy.dialects.envelope import Origin, Vault
from rawproxy.dialects.models import Takes
from rawproxy.dialects.openai_responses.call_reader import CallReader
from rawproxy.dialects.openai_responses.call_writer import write_call
from rawproxy.dialects.reading import Fields, encode
from rawproxy.errors import Untranslatable

OPENAI = Origin("openai")
PLAIN = Takes(prefill=False)
THINKS = Takes(sampling=False, stop=False, prefill=False, reasoning="effort", developer=True)
LOCAL = Takes(prefill=False, reasoning="effort", reasoning_text=True)
HI = (Turn("user", (Text("Hi", "m[0].content"),), "m[0]"),)
INPUT = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"stream": True, "max_output_tokens": 3, "temperature": 0.30, "top_p": 1, "store": True},
        {"reasoning": {"effort": "low", "summary": "auto", "context": "auto"}},
        {"reasoning": {"effort": "wild", "summary": "concise"}},
        {"reasoning": {"generate_summary": "auto"}},
        {"reasoning": {"generate_summary": "auto", "summary": "detailed"}},
        {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 2},
        {"include": ["computer_call_output.output.image_url", "message.output_text.logprobs"]},
        {"text": {"verbosity": "low", "format": {"type": "json_object", "x": 1}, "y": 1}},
        {"text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {}, "strict": True}}},
        {"text": {"format": {"type": "new", "x": 1}}},
        {"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "service_tier": "flex"},
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "prompt_cache_options": {"ttl": "30m"}},
        {"stream_options": {"include_obfuscation": False}, "parallel_tool_calls": True},
        {"tool_choice": {"type": "mcp", "server_label": "w", "name": "n"}, "tools": [{"type": "mcp", "server_label": "w"}]},
        {"previous_response_id": "resp_1", "background": True, "new": [1.50]},
    ],
)  # fmt: skip
def test_options_go_back_as_they_came(body: dict[str, object]) -> None:
    whole = {"model": "m", "input": "Hi"} | body
    call = CallReader(Fields.of(encode(whole)), Vault()).read()
    written = write_call(call, Target("other", PLAIN, OPENAI))
    assert json.loads(written.body) == whole | {"model": "other"}
    assert written.losses == []
    assert written.back.stops == ()
    assert written.back.origin == OPENAI


def write(taken: Takes = PLAIN, **call: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what is said beyond the fields that every call has, and the losses."""
    made = Call("other", "m", HI, **call)
    written = write_call(made, Target("to", taken, OPENAI))
    body = json.loads(written.body)
    assert (body.pop("model"), body.pop("store"), body.pop("input")) == ("to", False, INPUT)
    if taken.reasoning != "none":
        assert body["include"].pop(0) == "reasoning.encrypted_content"
    return {name: value for name, value in body.items() if value != []}, {
        loss.path: loss.why for loss in written.losses
    }


NOTHING, NARROWER, NOT_THIS = "no such thing there", "narrower there", "not this model"


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ({}, {}),
        ({"stream": True}, {"stream": True}),
        ({"limit": 16}, {"max_output_tokens": 16}),
        ({"sampling": Sampling(0.3, 0.9)}, {"temperature": 0.3, "top_p": 0.9}),
        ({"sampling": Sampling(frequency_penalty=0, presence_penalty=0)}, {}),
        ({"logprobs": True, "top_logprobs": 2}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}),
        ({"cache": CacheUse("k", "24h", Cache())}, {"prompt_cache_key": "k", "prompt_cache_retention": "24h"}),
        ({"identity": Identity("u", "s", Raw(b'{"a":"b"}'))}, {"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}}),
        ({"tier": "flex"}, {"service_tier": "flex"}),
        ({"tier": "standard_only"}, {"service_tier": "default"}),
        ({"format": Format("json")}, {"text": {"format": {"type": "json_object"}}}),
        (
            {"format": Format("schema", schema=Raw(b"{}"))},
            {"text": {"format": {"type": "json_schema", "name": "output", "schema": {}, "strict": True}}},
        ),
        (
            {"format": Format("schema", "n", "d", Raw(b"{}"), strict=False)},
            {"text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {}, "strict": False}}},
        ),
        ({"reasoning": Reasoning("off", "none", sealed=True)}, {}),
    ],
)  # fmt: skip
def test_options_of_other_dialects(call: dict[str, Any], body: object) -> None:
    assert write(**call) == (body, {})


@pytest.mark.parametrize(
    ("taken", "call", "body", "lost"),
    [
        (PLAIN, {"limit": 1}, {"max_output_tokens": 16}, {"limit": NARROWER}),
        (PLAIN, {"n": 2}, {}, {"n": NOTHING}),
        (PLAIN, {"verbosity": "low"}, {}, {"verbosity": NOT_THIS}),
        (PLAIN, {"cache": CacheUse(retention="1h")}, {}, {"cache.retention": NOTHING}),
        (PLAIN, {"reasoning": Reasoning(effort="low")}, {}, {"reasoning": NOT_THIS}),
        (PLAIN, {"reasoning": Reasoning(show="full")}, {}, {"reasoning": NOT_THIS}),
        (
            PLAIN,
            {"sampling": Sampling(None, None, 3, 0.1, 7, 0.5, 1, Raw(b"{}"))},
            {},
            dict.fromkeys(
                ("top_k", "min_p", "seed", "frequency_penalty", "presence_penalty", "logit_bias"),
                NOTHING,
            ),
        ),
        (THINKS, {"sampling": Sampling(1, 1)}, {}, {}),
        (THINKS, {"sampling": Sampling(0, 0.5)}, {}, {"temperature": NOT_THIS, "top_p": NOT_THIS}),
        (THINKS, {"verbosity": "low"}, {"text": {"verbosity": "low"}}, {}),
        (THINKS, {"logprobs": True}, {"include": ["message.output_text.logprobs"]}, {}),
        (
            Takes(schema=False),
            {"format": Format("schema", schema=Raw(b"{}"))},
            {"text": {"format": {"type": "json_object"}}},
            {"format": NARROWER},
        ),
        (
            LOCAL,
            {
                "cache": CacheUse("k", None, Cache()), "tier": "auto",
                "identity": Identity("u", "s", Raw(b"{}")),
            },
            {"user": "u"},
            {
                "cache.key": NOTHING, "cache.automatic": NOTHING, "tier": NOTHING,
                "identity.safety": NOTHING, "identity.metadata": NOTHING,
            },
        ),
    ],
)  # fmt: skip
def test_what_has_no_place_is_told(
    taken: Takes, call: dict[str, Any], body: object, lost: object
) -> None:
    assert write(taken, **call) == (body, lost)


@pytest.mark.parametrize(
    ("asked", "written", "lost"),
    [
        (Reasoning(), None, {}),
        (Reasoning(effort="high"), {"effort": "high"}, {}),
        (Reasoning(effort="none"), {"effort": "none"}, {}),
        (Reasoning("on", budget=2000), {"effort": "low", "summary": "auto"}, {}),
        (Reasoning("adaptive"), {"summary": "auto"}, {}),
        (Reasoning("adaptive", "max", show="none"), {"effort": "max"}, {}),
        (Reasoning(show="summary"), {"summary": "auto"}, {}),
        (Reasoning(show="full"), {"summary": "detailed"}, {}),
        (Reasoning("off"), None, {"reasoning": NARROWER}),
    ],
)
def test_how_much_to_think(asked: Reasoning, written: object, lost: object) -> None:
    body, told = write(THINKS, reasoning=asked)
    assert (body.get("reasoning"), told) == (written, lost)


def test_a_loss_is_called_as_the_client_calls_it() -> None:
    assert write(n=2, names={"n": "candidateCount"})[1] == {"candidateCount": NOTHING}


def test_stop_sequences_are_kept_by_us() -> None:
    written = write_call(Call("other", "m", HI, stop=("END",)), Target("to", PLAIN))
    assert written.back.stops == ("END",)
    assert written.losses == []


def test_a_long_user_is_shortened() -> None:
    body, lost = write(identity=Identity("u" * 65))
    assert len(body["user"]) == 64
    assert lost == {}


def test_extra_fields_are_losses() -> None:
    assert write(extra={"logit_lens": b"1", "m[0].x": b"2"})[1] == {
        "logit_lens": NOTHING,
        "m[0].x": NOTHING,
    }


def test_an_assistant_turn_cannot_be_continued() -> None:
    call = Call("other", "m", (*HI, Turn("assistant", (Text("So"),), "m[1]")), prefill=True)
    with pytest.raises(Untranslatable) as caught:
        write_call(call, Target("to", PLAIN))
    assert caught.value.param == "m[1]"
    assert b"So" in write_call(call, Target("to", Takes())).body
