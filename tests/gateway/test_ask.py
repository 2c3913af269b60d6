"""Looking at a request without reading it whole."""

import json

import pytest

from rawproxy.errors import ClientError
from rawproxy.gateway.ask import LONGEST_MODEL
from tests.gateway.stories import asked
from tests.net.world import CHAT, MESSAGES, call


@pytest.mark.parametrize(
    ("body", "model", "stream", "choices"),
    [
        ({"model": "m"}, "m", False, 1),
        ({"model": "m", "stream": False}, "m", False, 1),
        ({"model": "m", "stream": True}, "m", True, 1),
        ({"model": "m", "stream": "true", "n": 3}, "m", True, 3),
        ({"model": "m", "n": None}, "m", False, 1),
        ({"model": "m", "n": "x"}, "m", False, 1),
        ({"model": "m", "n": 99999}, "m", False, 1),
        ({"model": "ü\n", "messages": [{"model": "other", "stream": True}]}, "ü\n", False, 1),
    ],
)
def test_what_is_looked_at(body: dict[str, object], model: str, stream: bool, choices: int) -> None:
    ask = asked(body=json.dumps(body).encode())
    ask.look()
    assert (ask.model, ask.stream, ask.choices) == (model, stream, choices)


def test_a_count_is_no_stream() -> None:
    ask = asked(MESSAGES, call(MESSAGES, stream=True), counts=True)
    ask.look()
    assert not ask.stream


def test_the_call_is_read_once() -> None:
    ask = asked()
    assert ask.call is ask.call
    assert ask.call.dialect == CHAT


def test_a_count_needs_no_limit() -> None:
    body = json.dumps({"model": "m", "messages": []}).encode()
    assert asked(MESSAGES, body, counts=True).call.limit is None
    with pytest.raises(ClientError, match="max_tokens"):
        _ = asked(MESSAGES, body).call


@pytest.mark.parametrize(("value", "strict"), [(b"1", True), (b"0", False), (b"true", False)])
def test_strict(value: bytes, strict: bool) -> None:
    assert asked(fields=[(b"x-rawproxy-strict", value)]).strict is strict
    assert asked().strict is False


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_models_name_has_a_limit(over: int) -> None:
    ask = asked(body=json.dumps({"model": "m" * (LONGEST_MODEL + over)}).encode())
    if over > 0:
        with pytest.raises(ClientError, match=f"longer than {LONGEST_MODEL}"):
            ask.look()
    else:
        ask.look()
        assert len(ask.model) == LONGEST_MODEL + over
