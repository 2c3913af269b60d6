"""Calls, replies, streams and errors from any dialect to any other; the same input gives the same output."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects import DIALECTS, translate
from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Fail
from rawproxy.dialects.failures import kind_of_status
from rawproxy.dialects.fold import fold
from rawproxy.dialects.grammar import validate
from rawproxy.errors import ClientError, Untranslatable, UpstreamCut, UpstreamNonsense
from rawproxy.wire import sse
from tests.dialects.replies import read
from tests.dialects.test_golden import ASKED, GOLDEN, name, reply_file, stream_bytes

CHAT, MESSAGES = "openai_chat", "anthropic_messages"

CALLS: dict[str, dict[str, Any]] = {
    CHAT: {
        "model": "m", "max_completion_tokens": 9,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi?"}],
    },
    MESSAGES: {
        "model": "m", "max_tokens": 9, "system": "Be kind.",
        "messages": [{"role": "user", "content": "Hi?"}],
    },
}  # fmt: skip
REPLIES: dict[str, dict[str, Any]] = {
    CHAT: {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {
                "index": 0, "finish_reason": "stop", "logprobs": None,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    },
    MESSAGES: {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 5},
    },
}  # fmt: skip
CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[%b],'
    b'"usage":%b}\n\n'
)
START = (
    b'{%b,"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],'
    b'"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
)
STOP = b'{%b,"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}'
STREAMS = {
    CHAT: [
        CHUNK % (b'{"index":0,"delta":{"role":"assistant","content":"Hel"}}', b"null"),
        CHUNK % (b'{"index":0,"delta":{"content":"lo"}}', b"null"),
        CHUNK % (b'{"index":0,"delta":{},"finish_reason":"stop"}', b"null"),
        CHUNK % (b"", b'{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}'),
        b"data: [DONE]\n\n",
    ],
    MESSAGES: [
        sse.write(data % (b'"type":"%b"' % name), name=name)
        for name, data in (
            (b"message_start", START),
            (b"content_block_start", b'{%b,"index":0,"content_block":{"type":"text","text":""}}'),
            (b"ping", b"{%b}"),
            (
                b"content_block_delta",
                b'{%b,"index":0,"delta":{"type":"text_delta","text":"Hello"}}',
            ),
            (b"content_block_stop", b'{%b,"index":0}'),
            (b"message_delta", STOP),
            (b"message_stop", b"{%b}"),
        )
    ],
}
ERRORS: dict[str, dict[str, Any]] = {
    CHAT: {
        "error": {
            "message": "Slow down.", "type": "rate_limit_exceeded", "param": None,
            "code": "rate_limit_exceeded",
        }
    },
    MESSAGES: {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}},
}  # fmt: skip
STREAM_ERRORS = {
    CHAT: b"data: " + json.dumps(ERRORS[CHAT]).encode() + b"\n\n",
    MESSAGES: b"event: error\ndata: " + json.dumps(ERRORS[MESSAGES]).encode() + b"\n\n",
}
PAIRS = list(itertools.product((CHAT, MESSAGES), repeat=2))


def data(value: object) -> bytes:
    return json.dumps(value).encode()


def text_of(dialect: str, body: bytes) -> str:
    """Return the text of a whole reply."""
    reply = json.loads(body)
    if dialect == CHAT:
        return str(reply["choices"][0]["message"]["content"])
    return "".join(block["text"] for block in reply["content"])


def output_tokens(dialect: str, body: bytes) -> int:
    usage = json.loads(body)["usage"]
    return int(usage["completion_tokens" if dialect == CHAT else "output_tokens"])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_calls(source: str, target: str) -> None:
    written = translate.call(data(CALLS[source]), source, target, model="other")
    body = json.loads(written.body)
    assert body["model"] == "other"
    assert "Be kind." in written.body.decode()
    assert body["messages"][-1]["role"] == "user"
    assert written.losses == []


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_call_keeps_its_model_unless_told(source: str, target: str) -> None:
    assert json.loads(translate.call(data(CALLS[source]), source, target).body)["model"] == "m"


def test_a_call_tells_its_losses() -> None:
    call = data({**CALLS[CHAT], "logprobs": True})
    assert [loss.path for loss in translate.call(call, CHAT, MESSAGES).losses] == ["logprobs"]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_replies(source: str, target: str) -> None:
    body, losses = translate.reply(data(REPLIES[source]), source, target)
    assert (text_of(target, body), output_tokens(target, body), losses) == ("Hello", 5, [])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_streams(source: str, target: str) -> None:
    stream = b"".join(STREAMS[source])
    said, losses = translate.stream(stream, source, target)
    assert (list(validate(target, said)), losses) == ([], [])
    folded, _ = translate.fold(said, target, target)
    assert (text_of(target, folded), output_tokens(target, folded)) == ("Hello", 5)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_unfolding_and_folding_undo_each_other(source: str, target: str) -> None:
    stream, _ = translate.unfold(data(REPLIES[source]), source, target)
    assert list(validate(target, stream)) == []
    direct = translate.reply(data(REPLIES[source]), source, target)
    assert translate.fold(stream, target, target) == direct


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(cuts=st.lists(st.integers(0, 300)))
def test_cuts_never_change_a_stream(source: str, target: str, cuts: list[int]) -> None:
    stream = b"".join(STREAMS[source])
    bounds = sorted({0, len(stream), *cuts})
    translation = translate.Stream(source, target)
    said = [translation.feed(stream[start:end]) for start, end in itertools.pairwise(bounds)]
    said.append(translation.close())
    assert b"".join(said) == translate.stream(stream, source, target)[0]
    assert translation.broken is None


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_that_is_cut_ends_in_the_terminal_error(source: str, target: str) -> None:
    translation = translate.Stream(source, target)
    said = translation.feed(b"".join(STREAMS[source][:-3])) + translation.close()
    assert isinstance(translation.broken, UpstreamCut)
    assert b'"error"' in said
    assert list(validate(target, said)) == []
    assert translation.feed(STREAMS[source][3]) + translation.close() == b""


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_stream_of_something_else_breaks_at_once(source: str, target: str) -> None:
    translation = translate.Stream(source, target)
    said = translation.feed(b"data: this is no JSON\n\n") + translation.close()
    assert isinstance(translation.broken, UpstreamNonsense)
    assert b'"error"' in said
    assert b"no JSON" not in said


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_an_error_told_in_a_stream_is_told_on(source: str, target: str) -> None:
    stream = b"".join([*STREAMS[source][:-3], STREAM_ERRORS[source]])
    translation = translate.Stream(source, target)
    said = translation.feed(stream) + translation.close()
    assert translation.broken is None
    assert b"Slow down." in said
    with pytest.raises(UpstreamCut, match=r"kind rate_limit"):
        translate.fold(stream, source, target)


@pytest.mark.parametrize("status", [None, 429])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_errors(source: str, target: str, status: int | None) -> None:
    said, body, _ = translate.error(data(ERRORS[source]), source, target, status=status)
    assert said == 429
    assert json.loads(body)["error"]["message"] == "Slow down."
    assert json.loads(body)["error"]["type"] == ERRORS[target]["error"]["type"]


def test_an_error_without_words_for_its_kind_is_the_server_s() -> None:
    assert translate.error(b"{}", CHAT, MESSAGES)[0] == 500


@pytest.mark.parametrize("source", [CHAT, MESSAGES])
@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'"text"'])
def test_input_that_is_not_of_the_dialect(source: str, body: bytes) -> None:
    with pytest.raises(ClientError):
        translate.call(body, source, CHAT)
    for carry in (translate.reply, translate.unfold, translate.error):
        with pytest.raises(UpstreamNonsense):
            carry(body, source, CHAT)
    with pytest.raises(UpstreamCut):
        translate.fold(body, source, CHAT)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_the_input_does_not_say_is_made_the_same_each_time(source: str, target: str) -> None:
    reply = {
        key: value
        for key, value in REPLIES[source].items()
        if key not in ("id", "created", "model")
    }
    first, _ = translate.reply(data(reply), source, target, model="mine")
    again, _ = translate.reply(data(reply), source, target, model="mine")
    assert first == again
    assert translate.REPLY_ID in json.loads(first)["id"]
    assert json.loads(first)["model"] == "mine"


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_recorded_streams_become_streams_of_the_other_dialect(
    recorded: Path, source: str, target: str
) -> None:
    streams = [path.read_bytes() for path in sorted((recorded / source).glob("*/stream.sse"))]
    assert streams
    for stream in streams:
        said, _ = translate.stream(stream, source, target)
        assert list(validate(source, stream)) + list(validate(target, said)) == []


def test_wrong_names_list_the_right_ones() -> None:
    for source, target in (("openai", CHAT), (CHAT, "openai")):
        for carry in (translate.call, translate.reply, translate.stream, translate.error):
            with pytest.raises(ValueError, match=r"must be one of: "):
                carry(b"{}", source, target)


def test_a_model_that_stands_in_the_path_has_to_be_given() -> None:
    body = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
    with pytest.raises(ClientError, match="names no model"):
        translate.call(body, "gemini", "openai_chat")
    assert json.loads(translate.call(body, "gemini", "openai_chat", model="m").body)["model"] == "m"


def test_another_form_of_a_dialect() -> None:
    body = b'{"model":"m","prompt":"hi"}'
    written = translate.call(body, "ollama_chat", "openai_chat", variant="generate")
    assert json.loads(written.body)["messages"] == [{"role": "user", "content": "hi"}]


# -- every pair


EVERY = [(source, target) for source in DIALECTS for target in DIALECTS if target != "plain_text"]


def text_case(dialect: str) -> Path:
    return GOLDEN / dialect / "text"


@pytest.mark.parametrize(("source", "target"), EVERY)
def test_replies_and_streams_of_every_pair(source: str, target: str) -> None:
    """A body, a stream, a stream folded and a body unfolded say the same."""
    body, stream = reply_file(text_case(source)).read_bytes(), stream_bytes(text_case(source))
    said = fold(DIALECTS[source].read_reply(body, Back())).choice(0).text("text")
    dialect = DIALECTS[target]
    for written, _ in (translate.reply(body, source, target, model="m"),
                       translate.fold(stream, source, target, model="m")):  # fmt: skip
        assert (
            fold(dialect.read_reply(written, Back())).choice(0).text("text").strip() == said.strip()
        )
    for written, _ in (translate.stream(stream, source, target, model="m"),
                       translate.unfold(body, source, target, model="m")):  # fmt: skip
        assert [str(one) for one in validate(target, written)] == []
        assert read(target, written)


@pytest.mark.parametrize(("source", "target"), [pair for pair in EVERY if pair[0] != "plain_text"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 504])
def test_errors_of_every_pair_keep_their_kind(source: str, target: str, status: int) -> None:
    kind = kind_of_status(status)
    told = DIALECTS[source].write_error(Fail(kind, "because"))
    fail = DIALECTS[source].read_error(told.status, told.body)
    assert fail.message == "because"
    there = translate.error(told.body, source, target, status=told.status)
    back = DIALECTS[target].read_error(there.status, there.body)
    assert back.message == "because"
    assert (
        (back.kind == fail.kind)
        or there.status == told.status
        or kind in ("billing", "too_large", "authentication")
    )


@pytest.mark.parametrize("case", ASKED, ids=name)
def test_calls_of_every_pair(case: Path) -> None:
    """What the proxy would do: a body and its losses, or a reason to refuse."""
    body = (case / "call.json").read_bytes()
    for other in DIALECTS:
        with contextlib.suppress(Untranslatable):
            assert json.loads(translate.call(body, case.parent.name, other, model="m").body)
