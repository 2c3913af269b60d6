"""rawproxy.dialects.ollama_chat.grammar: planted faults are found."""

import json
from typing import Any

import pytest

from rawproxy.dialects.ollama_chat.grammar import LineGrammar
from rawproxy.wire import ndjson

HEAD = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
HI = {"role": "assistant", "content": "Hi"}


def line(*, done: object = False, **members: Any) -> str:
    return json.dumps(HEAD | {"done": done} | members) + "\n"


def call(**function: Any) -> Any:
    return HI | {"tool_calls": [{"function": function}]}


LAST = line(message=HI, done=True)


def broken(*lines: str) -> list[str]:
    grammar = LineGrammar()
    frames = ndjson.splitter(9999).feed("".join(lines).encode())
    return [*(rule for frame in frames for rule in grammar.check(frame)), *grammar.close()]


@pytest.mark.parametrize(
    "lines",
    [
        [line(message=HI), "\n", LAST],
        [line(message=HI | {"thinking": "Hm."}), line(message=call(name="f", arguments={})), LAST],
        [line(response="a"), line(response="", done=True, context=[1])],
        [line(message=HI), '{"error":"m"}\n'],
        ['{"error":"m"}\n'],
    ],
)
def test_good_streams(lines: list[str]) -> None:
    assert broken(*lines) == []


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        ([line(message=HI)], "end: neither a line that is done nor an error came"),
        ([LAST, LAST], "end: a line after the line that is done"),
        (['{"error":"m"}\n', LAST], "end: a line after an error"),
        (["[1]\n", LAST], "json: the line is not a JSON object"),
        (['{"error":{}}\n'], "error: it is no text"),
        ([line(message=HI, model=None), LAST], "model: missing"),
        ([line(message=HI), line(message=HI, model="x", done=True)], "model: it changed"),
        ([line(message=HI, created_at=1), LAST], "created_at: missing"),
        ([line(message=HI, done="no"), LAST], "done: missing"),
        ([line(), LAST], "message: missing"),
        ([line(response="a"), LAST], "message: it is called message now"),
        ([line(response=1), line(response="", done=True)], "response: no text"),
        ([line(message="a"), LAST], "message: not an object"),
        ([line(message={"role": "user"}), LAST], "role: not assistant"),
        ([line(message=HI | {"content": 1}), LAST], "content: no text"),
        ([line(message=HI | {"thinking": 1}), LAST], "thinking: no text"),
        ([line(message=HI | {"tool_calls": {}}), LAST], "tool: not a list"),
        ([line(message=HI | {"tool_calls": [1]}), LAST],
         "tool: a call without a name, or whose arguments are no object"),
        ([line(message=call(name="", arguments={})), LAST],
         "tool: a call without a name, or whose arguments are no object"),
        ([line(message=call(name="f", arguments="{}")), LAST],
         "tool: a call without a name, or whose arguments are no object"),
    ],
)  # fmt: skip
def test_planted_faults_are_found(lines: list[str], rule: str) -> None:
    assert broken(*lines) == [rule]
