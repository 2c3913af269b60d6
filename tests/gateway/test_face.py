"""How a dialect shows itself at one door."""

import json

import pytest

from rawproxy.dialects import anthropic_messages
from rawproxy.dialects.base import Given
from rawproxy.dialects.call import Call
from rawproxy.dialects.reframe import Reframed, Reframer
from rawproxy.errors import ClientError
from rawproxy.gateway.face import FACES, GEMINI_ARRAY, INVOKE_FACE, VERTEX_FACE, Face, hosted
from rawproxy.wire import jsonarray

MESSAGES = FACES["anthropic_messages"]


def test_a_body_at_its_own_door_is_not_touched() -> None:
    body = b'{"model" : "m"}'
    assert MESSAGES.arrived(body, Given("x", stream=True), []) == (body, [])


def test_a_hosted_call_gets_what_the_path_says() -> None:
    body = b'{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a","b"],"max_tokens":1.0}'
    made, fields = INVOKE_FACE.arrived(body, Given("claude", stream=True), [(b"x", b"y")])
    assert json.loads(made) == {"max_tokens": 1, "model": "claude", "stream": True}
    assert b"1.0" in made
    assert fields == [(b"x", b"y"), (b"anthropic-beta", b"a,b")]


def test_a_newer_version_goes_into_the_header() -> None:
    body = b'{"anthropic_version":"2026-10-21","stream":true}'
    made, fields = VERTEX_FACE.arrived(body, Given("c", stream=False), [])
    assert fields == [(b"anthropic-version", b"2026-10-21")]
    assert json.loads(made) == {"stream": False, "model": "c"}


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"model":"a","model":"b"}', b'{"anthropic_beta":"x"}', b'{"anthropic_beta":[1]}'],
)
def test_what_cannot_be_hosted(body: bytes) -> None:
    with pytest.raises(ClientError):
        INVOKE_FACE.arrived(body, Given("m", stream=False), [])


def test_there_and_back_nothing_else_changes() -> None:
    body = b'{"max_tokens": 5,"x":[1.50],"anthropic_version":"v"}'
    direct, fields = INVOKE_FACE.arrived(body, Given("m", stream=True), [])
    back, kept = hosted(direct, fields, "v", streams=False)
    assert (json.loads(back), kept) == (json.loads(body), [])
    assert b"[1.50]" in back


@pytest.mark.parametrize(
    ("face", "media_type", "asked", "streams"),
    [
        (MESSAGES, b"text/event-stream; charset=utf-8", False, True),
        (MESSAGES, b"application/json", True, False),
        (MESSAGES, None, True, False),
        (INVOKE_FACE, b"application/vnd.amazon.eventstream", True, True),
        (GEMINI_ARRAY, b"application/json", True, True),
        (GEMINI_ARRAY, b"application/json", False, False),
        (FACES["plain_text"], b"application/octet-stream", True, True),
        (FACES["ollama_chat"], b"application/x-ndjson", True, True),
    ],
)
def test_what_is_a_stream(face: Face, media_type: bytes | None, asked: bool, streams: bool) -> None:
    assert face.streams(media_type, asked=asked) is streams


def test_what_replies_are() -> None:
    assert MESSAGES.kind(stream=True) == [(b"content-type", b"text/event-stream")]
    assert MESSAGES.kind(stream=False) == [(b"content-type", b"application/json")]
    assert INVOKE_FACE.kind(stream=True) == [
        (b"content-type", b"application/vnd.amazon.eventstream"),
        (b"x-amzn-bedrock-content-type", b"application/json"),
    ]


def test_a_voice_in_another_framing() -> None:
    writer = anthropic_messages.stream_writer(Call("anthropic_messages", "m"), "id", 0)
    assert MESSAGES.voiced(writer) is writer
    assert isinstance(INVOKE_FACE.voiced(writer), Reframed)
    assert isinstance(GEMINI_ARRAY.voiced(writer, Reframer(jsonarray)), Reframed)
