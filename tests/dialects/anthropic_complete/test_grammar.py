"""rawproxy.dialects.anthropic_complete.grammar: what is wrong with a stream of either form is found."""

import json
from typing import Any

import pytest

from rawproxy.dialects.anthropic_complete.grammar import CompletionGrammar
from rawproxy.wire import sse

PING = b"event: ping\ndata: {}\n\n"
DONE = b"data: [DONE]\n\n"
ERROR = sse.write(b'{"type":"error","error":{"type":"api_error","message":"m"}}', name=b"error")


def named(text: object, stop: str | None = None, **members: Any) -> bytes:
    said = {"type": "completion", "completion": text, "stop_reason": stop, "model": "m"}
    return sse.write(json.dumps(said | members).encode(), name=b"completion")


def bare(text: object, stop: str | None = None, **members: Any) -> bytes:
    said = {"completion": text, "stop_reason": stop, "model": "m", "exception": None}
    return sse.write(json.dumps(said | members).encode())


def rules(*frames: bytes) -> list[str]:
    """The short names of the broken rules, those of the end last."""
    grammar = CompletionGrammar()
    cut = sse.Splitter().feed(b"".join(frames))
    found = [rule for frame in cut for rule in grammar.check(frame)]
    return [rule.partition(":")[0] for rule in [*found, *grammar.close()]]


@pytest.mark.parametrize(
    "frames",
    [
        (PING, named(" a"), PING, named("b"), named("", "stop_sequence")),
        (b": fine\n\n", named("", "max_tokens")),
        (named(" a"), ERROR),
        (ERROR,),
        (PING, bare(" a"), bare(" ab"), PING, bare(" ab", "stop_sequence"), DONE),
        (bare(" a"), bare(" a", exception="no")),
        (bare(" a", "max_tokens"), bare("", exception="no")),
        (bare("", exception="no"),),
    ],
)
def test_good_streams(frames: tuple[bytes, ...]) -> None:
    assert rules(*frames) == []


STOP, LAST = named("", "stop_sequence"), bare(" a", "stop_sequence")


@pytest.mark.parametrize(
    ("frames", "broken"),
    [
        ((), ["end"]),
        ((named("a"),), ["end"]),
        ((LAST,), ["end"]),
        ((STOP, named("a")), ["end"]),
        ((LAST, DONE, PING), ["end"]),
        ((bare(" a"), DONE), ["stop"]),
        ((DONE,), ["form"]),
        ((named("a"), DONE), ["form"]),
        ((bare(" a"), STOP), ["form"]),
        ((named("a"), LAST, DONE), ["form"]),
        ((bare(" a"), ERROR), ["form"]),
        ((b": no\n\n", bare(" a"), b": no\n\n", LAST, DONE), ["comment"]),
        ((b"data: oops\n\n", STOP), ["json"]),
        ((sse.write(b"{}", name=b"message_stop"), STOP), ["name"]),
        ((sse.write(b"{}", name=b"error"),), ["error"]),
        ((sse.write(b'{"type":"error","error":{}}', name=b"error"),), ["error"]),
        ((named(None), STOP), ["completion"]),
        ((bare(" b"), LAST, DONE), ["completion"]),
        ((named("a", model=None), STOP), ["model"]),
        ((named("a", model="n"), STOP), ["model"]),
        ((named("", "end_turn"),), ["stop"]),
        ((LAST, LAST, DONE), ["stop"]),
        ((named("a", type="message"), STOP), ["type"]),
        ((bare(" a", type="completion"), LAST, DONE), ["type"]),
    ],
)
def test_broken_rules(frames: tuple[bytes, ...], broken: list[str]) -> None:
    assert rules(*frames) == broken
