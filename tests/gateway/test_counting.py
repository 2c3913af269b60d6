"""Dialects that can be asked for the tokens of a call."""

import json

import pytest

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Given
from rawproxy.dialects.envelope import Vault
from rawproxy.gateway.counting import COUNTERS

QUESTIONS = {
    "anthropic_messages": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai_responses": {"model": "m", "input": "hi"},
    "gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
    "bedrock_converse": {"input": {"converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}},
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTERS)
def test_a_question_and_its_answer(name: str) -> None:
    given = Given(None if DIALECTS[name].MODEL_FIELD else "m")
    call = COUNTERS[name].read_count(json.dumps(QUESTIONS[name]).encode(), Vault(), given)
    assert (call.dialect, call.model) == (name, "m")
    assert [part.text for turn in call.turns for part in turn.parts] == ["hi"]  # type: ignore[union-attr]
    assert 7 in json.loads(COUNTERS[name].write_count(7)).values()
