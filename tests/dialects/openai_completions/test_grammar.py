"""rawproxy.dialects.openai_completions.grammar: what is wrong with a stream is found."""

import json
from typing import Any

import pytest

from rawproxy.dialects.openai_completions.grammar import CompletionGrammar
from rawproxy.wire import sse

HEAD: dict[str, Any] = {
    "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m",
}  # fmt: skip
DONE = "[DONE]"


def chunk(text: object = "", finish: str | None = None, **members: Any) -> dict[str, Any]:
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return HEAD | {"choices": [choice]} | members


def rules(*frames: object) -> list[str]:
    """The short names of the broken rules, those of the end last."""
    data = b"".join(
        sse.write(one.encode() if isinstance(one, str) else json.dumps(one).encode())
        for one in frames
    )
    grammar = CompletionGrammar()
    found = [rule for frame in sse.Splitter().feed(data) for rule in grammar.check(frame)]
    return [rule.partition(":")[0] for rule in [*found, *grammar.close()]]


STOP = chunk(finish="stop")
COUNTED = HEAD | {"choices": [], "usage": {"prompt_tokens": 1}}
ERROR = {"error": {"message": "m"}}


@pytest.mark.parametrize(
    "frames",
    [
        (chunk("a"), STOP, DONE),
        (chunk("a", "length"), DONE),
        (chunk("a"), STOP, COUNTED, DONE),
        (chunk("a"), chunk("b", usage=None), ERROR),
        (ERROR,),
        (
            {"id": "", "object": "", "choices": [], "prompt_filter_results": []},
            STOP,
            DONE,
        ),
    ],
)
def test_good_streams(frames: tuple[object, ...]) -> None:
    assert rules(*frames) == []


@pytest.mark.parametrize(
    ("frames", "broken"),
    [
        ((), ["end"]),
        ((chunk("a"), STOP), ["end"]),
        ((DONE,), ["order"]),
        ((chunk("a"), DONE), ["finish"]),
        ((STOP, DONE, STOP), ["end"]),
        (("oops", STOP, DONE), ["json"]),
        (({"error": {}},), ["error"]),
        (({"error": "m"},), ["error"]),
        ((STOP, COUNTED, COUNTED, DONE), ["usage"]),
        ((HEAD | {"choices": {}}, STOP, DONE), ["choices"]),
        ((STOP | {"object": "chat.completion.chunk"}, DONE), ["object"]),
        ((STOP | {"model": None}, DONE), ["model"]),
        ((chunk("a"), STOP | {"id": "other"}, DONE), ["id"]),
        ((HEAD | {"choices": [7]}, STOP, DONE), ["choice"]),
        ((chunk(None), STOP, DONE), ["choice"]),
        ((STOP, chunk("a"), DONE), ["finish"]),
        ((chunk("a", "eos"), DONE), ["finish"]),
    ],
)
def test_broken_rules(frames: tuple[object, ...], broken: list[str]) -> None:
    assert rules(*frames) == broken


def test_comments_are_fine_anywhere() -> None:
    grammar = CompletionGrammar()
    frames = sse.Splitter().feed(b": a\n\ndata: " + json.dumps(STOP).encode() + b"\n\n")
    frames += sse.Splitter().feed(b"data: [DONE]\n\n: b\n\n")
    assert [rule for frame in frames for rule in grammar.check(frame)] == []
