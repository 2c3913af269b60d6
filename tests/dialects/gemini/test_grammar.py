"""rawproxy.dialects.gemini.grammar: what a stream promises."""

import json
from typing import Any

import pytest

from rawproxy.dialects.gemini.grammar import ChunkGrammar
from rawproxy.wire import sse

PART: Any = {"text": "x"}


def candidate(*parts: Any, finish: str | None = None, **more: Any) -> Any:
    return {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish} | more


def chunk(*candidates: Any, **more: Any) -> Any:
    return {"candidates": list(candidates)} | more


LAST = chunk(candidate(PART, finish="STOP"))


def broken(*chunks: Any) -> list[str]:
    lines = [
        one if isinstance(one, bytes) else b"data: " + json.dumps(one).encode() for one in chunks
    ]
    grammar = ChunkGrammar()
    frames = sse.splitter(99999).feed(b"".join(line + b"\r\n\r\n" for line in lines))
    found = [rule for frame in frames for rule in grammar.check(frame)]
    return [rule.partition(":")[0] for rule in [*found, *grammar.close()]]


def test_a_stream_that_keeps_every_rule() -> None:
    assert (
        broken(
            b"",
            chunk(
                candidate(PART),
                responseId="r",
                modelVersion="m",
                usageMetadata={"promptTokenCount": 1},
            ),
            chunk(candidate({"functionCall": {"name": "f", "args": {}}})),
            chunk(candidate({"functionCall": {"name": "f", "willContinue": True}})),
            chunk(candidate({"functionCall": {}}), candidate({"x": 1}, index=1)),
            chunk(
                candidate(finish="STOP"), candidate(finish="MAX_TOKENS", index=1), responseId="r"
            ),
            {"usageMetadata": {"promptTokenCount": 2, "promptTokensDetails": []}},
        )
        == []
    )
    assert broken({"promptFeedback": {"blockReason": "SAFETY"}}) == []
    assert broken(chunk({"finishReason": "SAFETY"})) == []
    assert broken(chunk(candidate(PART)), {"error": {"code": 500, "message": "m"}}) == []


@pytest.mark.parametrize(
    ("chunks", "rules"),
    [
        ([b": comment", LAST], ["framing"]),
        ([b"event: x\r\ndata: {}", LAST], ["framing"]),
        ([b"data:{}", LAST], ["framing"]),
        ([LAST, b"data: [DONE]"], ["json"]),
        ([{"error": {"code": 500, "message": "m"}}, LAST], ["end"]),
        ([{"x": 1, "error": {"code": 500, "message": "m"}}], ["error"]),
        ([{"error": "m"}], ["error"]),
        ([{"error": {"code": 500}}], ["error"]),
        ([{"error": {"code": 200, "message": "m"}}], ["error"]),
        ([chunk(responseId="a"), chunk(responseId="b"), LAST], ["head"]),
        ([{"promptFeedback": {"blockReason": "X"}}, LAST], ["end"]),
        ([{"candidates": 1}, LAST], ["candidates"]),
        ([chunk(1), LAST], ["candidates"]),
        ([chunk(candidate(PART, index="0")), LAST], ["index"]),
        ([LAST, LAST], ["order"]),
        ([chunk(candidate(finish="DONE"))], ["finish"]),
        ([{"usageMetadata": 1}, LAST], ["usage"]),
        ([{"usageMetadata": {"aCount": "1"}}, LAST], ["usage"]),
        ([{"usageMetadata": {"aCount": 2}}, {"usageMetadata": {"aCount": 1}}, LAST], ["usage"]),
        ([chunk({"content": 1}), LAST], ["content"]),
        ([chunk({"content": {"parts": 1}}), LAST], ["content", "content"]),
        ([chunk(candidate({})), LAST], ["part"]),
        ([chunk(candidate(1)), LAST], ["part"]),
        ([chunk(candidate({"text": 1})), LAST], ["part"]),
        ([chunk(candidate({"functionCall": 1})), LAST], ["tool"]),
        ([chunk(candidate({"functionCall": {"name": "f", "args": []}})), LAST], ["tool"]),
        ([chunk(candidate({"functionCall": {"args": {}}})), LAST], ["tool"]),
        ([], ["end"]),
        ([chunk(candidate(PART, finish="FINISH_REASON_UNSPECIFIED"))], ["end"]),
        ([chunk(candidate(PART, finish="STOP", index=1))], ["index"]),
    ],
)
def test_each_broken_rule_is_told(chunks: list[Any], rules: list[str]) -> None:
    assert broken(*chunks) == rules
