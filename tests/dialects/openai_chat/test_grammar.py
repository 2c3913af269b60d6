"""rawproxy.dialects.openai_chat.grammar: what a stream of chunks may not do."""

import json

import pytest

from rawproxy.dialects.openai_chat.grammar import ChunkGrammar
from rawproxy.wire import sse

ROLE = {"role": "assistant", "content": ""}
OPENER = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}


def chunk(*choices: object, **members: object) -> bytes:
    head = {"id": "i", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps(head | {"choices": choices} | members).encode()


def choice(delta: object, finish: str | None = None, index: int = 0) -> dict[str, object]:
    return {"index": index, "delta": delta, "finish_reason": finish}


STOP = chunk(choice({}, "stop"))
DONE = b"[DONE]"
BEGIN = chunk(choice(ROLE))


def check(*data: bytes) -> list[str]:
    grammar = ChunkGrammar()
    stream = b"".join(sse.write(one) for one in data)
    broken = [rule for frame in sse.Splitter().feed(stream) for rule in grammar.check(frame)]
    return [rule.partition(":")[0] for rule in [*broken, *grammar.close()]]


def tool(**members: object) -> bytes:
    return chunk(choice({"tool_calls": [members]}))


@pytest.mark.parametrize(
    "data",
    [
        (BEGIN, chunk(choice({"content": "a"})), STOP, DONE),
        (BEGIN, STOP, chunk(usage={"prompt_tokens": 1}), DONE),
        (BEGIN, chunk(choice({"content": "a"}), usage={"prompt_tokens": 1}), STOP, DONE),
        # both in one, and the second choice begins later
        (
            chunk(choice(ROLE), choice(ROLE, index=1)),
            chunk(choice({}, "stop"), choice({}, "length", 1)),
            DONE,
        ),
        (BEGIN, tool(**OPENER), tool(index=0, function={"arguments": "{}"}), STOP, DONE),
        # Azure's first chunk
        (b'{"id":"","object":"","choices":[],"prompt_filter_results":[]}', BEGIN, STOP, DONE),
        # the last chunk of an audio answer
        (BEGIN, STOP, chunk(choice({"audio": {"expires_at": 1}})), DONE),
        (BEGIN, b'{"error":{"message":"m"}}'),
        (b'{"error":{"message":"m"}}',),
        (chunk(choice(ROLE | {"reasoning_details": [{"index": 0}]})), STOP, DONE),
    ],
)
def test_good_streams(data: tuple[bytes, ...]) -> None:
    assert check(*data) == []


@pytest.mark.parametrize(
    ("data", "rules"),
    [
        ((), ["end"]),
        ((BEGIN, STOP), ["end"]),
        ((DONE,), ["order"]),
        ((BEGIN, DONE), ["finish"]),
        ((BEGIN, STOP, DONE, STOP), ["end"]),
        ((b'{"error":{"message":"m"}}', DONE), ["end"]),
        ((b'{"error":{}}',), ["error"]),
        ((b'{"error":"m"}',), ["error"]),
        ((BEGIN, b"[]", STOP, DONE), ["json"]),
        ((BEGIN, chunk(choice({}), object="x"), STOP, DONE), ["object"]),
        ((BEGIN, chunk(choice({}), id="j"), STOP, DONE), ["id"]),
        ((BEGIN, chunk(choice({}), created=None), STOP, DONE), ["created"]),
        ((BEGIN, chunk(choice({}), model="n"), STOP, DONE), ["model"]),
        ((BEGIN, chunk(choices=None), STOP, DONE), ["choices"]),
        ((BEGIN, STOP, chunk(usage={}), chunk(usage={}), DONE), ["usage"]),
        ((BEGIN, chunk({"index": 0}), STOP, DONE), ["choice"]),
        ((BEGIN, chunk({"delta": {}}), STOP, DONE), ["choice"]),
        ((chunk(choice(ROLE, index=1)), chunk(choice({}, "stop", 1)), DONE), ["order"]),
        ((chunk(choice({"content": "a"})), STOP, DONE), ["role"]),
        ((BEGIN, BEGIN, STOP, DONE), ["role"]),
        ((BEGIN, STOP, chunk(choice({"content": "a"})), DONE), ["finish"]),
        ((BEGIN, STOP, STOP, DONE), ["finish"]),
        ((BEGIN, chunk(choice({}, "end_turn")), DONE), ["finish"]),
        ((BEGIN, tool(**OPENER | {"index": 1}), STOP, DONE), ["index"]),
        ((BEGIN, tool(index=None), STOP, DONE), ["index"]),
        ((BEGIN, tool(index=0, id="c"), STOP, DONE), ["tool"]),
        ((BEGIN, tool(**OPENER), tool(**OPENER), STOP, DONE), ["tool"]),
        ((chunk(choice(ROLE | {"reasoning_details": [{}]})), STOP, DONE), ["index"]),
    ],
)
def test_broken_rules(data: tuple[bytes, ...], rules: list[str]) -> None:
    assert check(*data) == rules


def test_comments_may_stand_anywhere() -> None:
    grammar = ChunkGrammar()
    frames = sse.Splitter().feed(
        sse.comment(b"k") + sse.write(b'{"error":{"message":"m"}}') + sse.comment(b"k")
    )
    assert [grammar.check(frame) for frame in frames] == [[], [], []]
