"""Looking at a request without reading it whole."""

import json

import pytest

from rawproxy.dialects.base import Given
from rawproxy.errors import ClientError
from rawproxy.gateway.face import INVOKE_FACE
from tests.gateway.stories import asked
from tests.net.world import CHAT, MESSAGES, call


def test_what_is_looked_at() -> None:
    ask = asked(body=b'{"model":"m","stream":true,"n":3}')
    ask.look()
    assert (ask.model, ask.stream, ask.choices) == ("m", True, 3)


def test_a_hosted_call_is_looked_at_as_its_dialect_has_it() -> None:
    ask = asked(MESSAGES, b'{"anthropic_version":"v","max_tokens":1,"messages":[]}')
    ask.face, ask.given = INVOKE_FACE, Given("claude", stream=True)
    ask.look()
    assert (ask.model, ask.stream, ask.dialect.NAME) == ("claude", True, MESSAGES)
    assert ask.call.limit == 1


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


@pytest.mark.parametrize(
    ("share", "sampled"), [(0.0, False), (0.4, False), (0.5, True), (1.0, True)]
)
def test_a_share_of_all_is_watched(share: float, sampled: bool) -> None:
    ask = asked()
    ask.id = "rp_00000000007000"
    assert ask.sampled(share) is sampled
