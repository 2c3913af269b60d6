"""Exchanges whose two ends show one dialect differently: another framing, host, or model's name."""

import base64
import json
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from rawproxy.dialects.base import Given
from rawproxy.dialects.call import Call
from rawproxy.dialects.events import Close, Delta, End, Event, Open, Start, Stop
from rawproxy.dialects.grammar import validate
from rawproxy.dialects.models import Row
from rawproxy.errors import UpstreamCut
from rawproxy.gateway.ask import Ask
from rawproxy.gateway.attempt import Attempt
from rawproxy.gateway.exchange import Answer, Break, Commit, Exchange, Finish, Preview
from rawproxy.gateway.face import FACES, GEMINI_ARRAY, INVOKE_FACE, VERTEX_FACE, Face
from rawproxy.gateway.invoke import INVOKE
from rawproxy.gateway.keys import Key, KeyPool, Secret
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.providers import Upstream
from rawproxy.wire import eventstream, sse
from rawproxy.wire.http import Fields
from tests.gateway.stories import JSON, STREAM, asked, site, up
from tests.net.world import (
    CHAT,
    MESSAGES,
    call,
    delta,
    end,
    error_frame,
    preamble,
    reply_body,
    reply_stream,
    stop,
)

AWS: Fields = [(b"content-type", eventstream.TYPE)]
RESPONSES = "openai_responses"
BODY = b'{"max_tokens":64,"messages":[{"role":"user","content":"hi"}],"anthropic_version":"bedrock-2023-05-31"}'


def hosted(provider: str, dialect: str = MESSAGES) -> Upstream:
    pool = KeyPool([Key(Secret("a:b"))])
    return Upstream(
        "host", provider, "https://host.example", pool, (dialect,), region="eu-1", project="p"
    )


def started(ask: Ask, *upstreams: Upstream, **more: Any) -> tuple[Exchange, Attempt]:
    made = Exchange(site(*upstreams, **more), ask, 0.0)
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    return made, step


def at_face(face: Face, body: bytes = BODY, *, stream: bool = True, model: str = "m") -> Ask:
    ask = asked(face.dialect.NAME, body)
    ask.face, ask.given = face, Given(model, stream)
    return ask


def carried(made: Exchange, fields: Fields, reads: list[bytes]) -> bytes:
    """What a client gets of a reply."""
    made.on_head(200, fields, 1.0)
    body, pipe = b"", None
    for data in reads:
        if pipe is not None:
            body += b"".join(pipe.feed(data))
            continue
        step = made.on_data(data, 1.0)
        if isinstance(step, Commit):
            body, pipe = b"".join(step.parts), step.pipe
    step = made.on_end(2.0)
    assert isinstance(step, Finish | Break | Commit), step
    return body + b"".join(step.parts)


def as_chunks(stream: bytes) -> Iterator[bytes]:
    for frame in sse.Splitter().feed(stream):
        yield INVOKE.write(frame.data, name=frame.name)


def events(body: bytes) -> list[tuple[bytes, Any]]:
    frames = INVOKE.splitter(10_000).feed(body)
    return [(frame.name, json.loads(frame.data)) for frame in frames]


# -- another name


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES])
def test_the_asked_for_name_is_put_back_and_nothing_else_changes(dialect: str) -> None:
    ask = asked(dialect)
    ask.body = ask.body.replace(b'"m"', b'"alias"')
    made, step = started(ask, up("u", dialect))
    assert b'"m"' in step.body
    stream = reply_stream(dialect, "one", "two")
    body = carried(made, STREAM, [stream[:100], stream[100:]])
    assert body == stream.replace(b'"model": "m"', b'"model": "alias"')
    assert b"alias" in body


@pytest.mark.parametrize(("client", "upstream"), [(CHAT, CHAT), (CHAT, MESSAGES), (MESSAGES, CHAT)])
def test_a_body_has_the_asked_for_name(client: str, upstream: str) -> None:
    ask = asked(client, stream=False)
    ask.body = ask.body.replace(b'"m"', b'"alias"')
    made, _ = started(ask, up("u", upstream))
    body = carried(made, JSON, [reply_body(upstream, "words")])
    assert json.loads(body)["model"] == "alias"


def test_usage_that_nobody_asked_for_is_dropped_where_the_name_is_put_back() -> None:
    ask = asked(CHAT)
    ask.body = ask.body.replace(b'"m"', b'"alias"')
    made, step = started(ask, up("u", CHAT), timing=Timing(ask_usage=True))
    assert b"include_usage" in step.body
    usage = b'data: {"model": "m", "choices": [], "usage": {"prompt_tokens": 1}}\n\n'
    stream = preamble(CHAT) + delta(CHAT, "a") + stop(CHAT) + usage + end(CHAT)
    body = carried(made, STREAM, [stream])
    assert b"usage" not in body
    assert body.count(b"alias") == 3


# -- hosts of Messages


def test_a_client_of_bedrock_on_anthropic_itself() -> None:
    made, step = started(at_face(INVOKE_FACE), up("u", MESSAGES))
    assert json.loads(step.body) == {
        "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}], "model": "m", "stream": True,
    }  # fmt: skip
    body = carried(made, STREAM, [reply_stream(MESSAGES, "a", "b")])
    got = events(body)
    assert (got[0][0], got[-1][0]) == (b"message_start", b"message_stop")
    assert [data["delta"]["text"] for name, data in got if name == b"content_block_delta"] == [
        "a",
        "b",
    ]


def test_a_break_is_an_exception_to_a_client_of_bedrock() -> None:
    made, _ = started(at_face(INVOKE_FACE), up("u", MESSAGES))
    got = events(carried(made, STREAM, [preamble(MESSAGES) + delta(MESSAGES, "a")]))
    assert got[-1][0] == b"error"
    made, _ = started(at_face(INVOKE_FACE), up("u", CHAT))
    got = events(carried(made, STREAM, [preamble(CHAT) + delta(CHAT, "a"), error_frame(CHAT)]))
    assert [name for name, _ in got].count(b"error") == 1


def test_a_terminator_that_is_missing_is_written_in_the_clients_framing() -> None:
    made, _ = started(at_face(INVOKE_FACE), up("u", MESSAGES))
    stream = preamble(MESSAGES) + delta(MESSAGES, "a") + stop(MESSAGES)
    assert events(carried(made, STREAM, [stream]))[-1][0] == b"message_stop"


def test_a_client_of_anthropic_on_bedrock() -> None:
    ask = asked(MESSAGES, fields=[(b"anthropic-beta", b"x"), (b"anthropic-version", b"2023-06-01")])
    made, step = started(ask, hosted("bedrock"))
    assert step.target == b"/model/m/invoke-with-response-stream"
    sent = json.loads(step.body)
    assert (sent["anthropic_version"], sent["anthropic_beta"]) == ("bedrock-2023-05-31", ["x"])
    assert not {"model", "stream"} & sent.keys()
    stream = reply_stream(MESSAGES, "a", "b")
    body = carried(made, AWS, list(as_chunks(stream)))
    expected = b"".join(sse.write(one.data, name=one.name) for one in sse.Splitter().feed(stream))
    assert body == expected


def test_an_exception_of_bedrock_is_an_error_to_a_client_of_anthropic() -> None:
    made, _ = started(asked(MESSAGES), hosted("bedrock"))
    started_with = b"".join(as_chunks(preamble(MESSAGES) + delta(MESSAGES, "a")))
    failing = eventstream.write_exception(b'{"message":"boom"}', b"throttlingException")
    body = carried(made, AWS, [started_with, failing])
    assert b"event: error" in body
    assert b"rate_limit_error" in body


def test_both_ends_on_bedrock_pass_every_byte() -> None:
    made, _ = started(at_face(INVOKE_FACE), hosted("bedrock"))
    stream = b"".join(as_chunks(reply_stream(MESSAGES, "a", "b")))
    metrics = base64.b64encode(b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{}}')
    stream += eventstream.write(b'{"bytes":"%b","p":"xyz"}' % metrics, name=b"chunk")
    assert carried(made, AWS, [stream[:70], stream[70:]]) == stream


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_of_vertex(stream: bool) -> None:
    body = BODY.replace(b"bedrock-2023-05-31", b"vertex-2023-10-16")
    _, step = started(at_face(VERTEX_FACE, body, stream=stream), hosted("vertex"))
    verb = b"streamRawPredict" if stream else b"rawPredict"
    assert step.target.endswith(b"/publishers/anthropic/models/m:" + verb)
    assert json.loads(step.body)["anthropic_version"] == "vertex-2023-10-16"


def test_tokens_are_counted_here_where_the_host_cannot() -> None:
    ask = asked(MESSAGES, counts=True)
    step = Exchange(site(hosted("bedrock")), ask, 0.0).start(0.0)
    assert isinstance(step, Answer)
    assert json.loads(step.body)["input_tokens"] > 0
    assert isinstance(
        Exchange(site(up("u", MESSAGES)), asked(MESSAGES, counts=True), 0.0).start(0.0), Attempt
    )


def test_a_hosted_body_that_cannot_be_read_is_refused_in_the_hosts_words() -> None:
    step = Exchange(site(up("u", MESSAGES)), at_face(INVOKE_FACE, b"[]"), 0.0).start(0.0)
    assert isinstance(step, Answer)
    assert (step.status, dict(step.fields)[b"x-amzn-errortype"]) == (400, b"ValidationException")


# -- Gemini's arrays

GEMINI_BODY = b'{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
ARRAY = b'[{"candidates":[{"content":{"parts":[{"text":"hi"}],"role":"model"},"finishReason":"STOP"}]}\n]'


def test_an_array_passes_as_it_comes() -> None:
    made, step = started(at_face(GEMINI_ARRAY, GEMINI_BODY), hosted("gemini", "gemini"))
    assert step.target.endswith(b":streamGenerateContent")
    assert carried(made, JSON, [ARRAY[:20], ARRAY[20:]]) == ARRAY


def test_an_array_that_breaks_off_is_still_one() -> None:
    made, _ = started(at_face(GEMINI_ARRAY, GEMINI_BODY), hosted("gemini", "gemini"))
    cut = ARRAY.replace(b',"finishReason":"STOP"', b"")[:-2]
    got = json.loads(carried(made, JSON, [cut]))
    assert [list(one) for one in got] == [["candidates"], ["error"]]


def test_another_upstreams_reply_becomes_an_array() -> None:
    made, _ = started(at_face(GEMINI_ARRAY, GEMINI_BODY), up("u", CHAT))
    got = json.loads(carried(made, STREAM, [reply_stream(CHAT, "a", "b")]))
    texts = [
        part.get("text", "")
        for one in got
        for part in one["candidates"][0]["content"].get("parts", [])
    ]
    assert "".join(texts) == "ab"


# -- a stream that our own keepalive began

CREATED = {
    "type": "response.created",
    "sequence_number": 0,
    "response": {"id": "resp_up", "model": "m", "output": []},
}
RUNNING = {
    "type": "response.in_progress",
    "sequence_number": 1,
    "response": {"id": "resp_up", "model": "m", "output": []},
}


def named(*values: dict[str, Any]) -> bytes:
    return b"".join(
        sse.write(json.dumps(one).encode(), name=one["type"].encode()) for one in values
    )


def whole_response() -> bytes:
    dialect = FACES[RESPONSES].dialect

    writer = dialect.stream_writer(Call(RESPONSES, "m", stream=True), "upstream", 7)

    said: list[Event] = [
        Start("resp_up", "m"),
        Open(0, "text"),
        Delta(0, "hi"),
        Close(0),
        Stop("end"),
        End(),
    ]
    return b"".join(writer.write(event) for event in said)


def responses(*upstreams: Upstream) -> Exchange:
    made, _ = started(asked(RESPONSES, b'{"model":"m","input":"hi","stream":true}'), *upstreams)
    return made


def quiet(made: Exchange) -> bytes:
    step = made.on_quiet(1.0)
    return step if isinstance(step, bytes) else b"".join(step.parts)


def finished(made: Exchange, fields: Fields, *reads: bytes) -> bytes:
    return carried(made, fields, list(reads))


def ids(body: bytes) -> set[str]:
    found = [json.loads(frame.data) for frame in sse.Splitter().feed(body)]
    return {one["response"]["id"] for one in found if "response" in one}


@pytest.mark.parametrize("upstream", [RESPONSES, CHAT])
@pytest.mark.parametrize("times", [1, 3])
def test_a_reply_goes_on_from_the_keepalive_that_began_it(upstream: str, times: int) -> None:
    """Clients know one beginning, one id, and numbers without gaps."""
    made = responses(up("u", upstream))
    body = b"".join(quiet(made) for _ in range(times))
    body += finished(
        made, STREAM, whole_response() if upstream == RESPONSES else reply_stream(CHAT, "hi")
    )
    assert [str(one) for one in validate(RESPONSES, body)] == []
    assert len(ids(body)) == 1
    assert body.count(b"event: keepalive") == times


def test_a_keepalive_between_head_and_first_frame() -> None:
    made = responses(up("u", RESPONSES))
    assert made.on_head(200, STREAM, 0.5) == Preview()
    body = quiet(made)
    step = made.on_data(whole_response(), 2.0)
    assert isinstance(step, Commit)
    body += b"".join(step.parts)
    last = made.on_end(3.0)
    assert isinstance(last, Finish)
    body += b"".join(last.parts)
    assert [str(one) for one in validate(RESPONSES, body)] == []


def test_no_keepalive_inside_the_first_frame() -> None:
    made = responses(up("u", RESPONSES))
    made.on_head(200, STREAM, 0.5)
    made.on_data(whole_response()[:30], 0.6)
    assert quiet(made) == b""


def test_what_the_upstream_began_goes_out_with_a_keepalive_and_stays() -> None:
    made = responses(up("one", RESPONSES), up("two", RESPONSES))
    made.on_head(200, STREAM, 0.5)
    stream = whole_response()
    first = stream.index(b"event: response.output_item.added")
    assert made.on_data(stream[:first], 0.6) == Preview()
    body = quiet(made)
    assert body.startswith(stream[:first])
    assert quiet(made).count(b"event: keepalive") == 1  # and so does every later one
    step = made.on_failed(UpstreamCut("gone"), 2.0)
    assert isinstance(step, Break)
    body += b"".join(step.parts)
    assert body.count(b"event: response.failed") == 1
    record = made.on_sent(3.0).record
    assert record.outcome == "broken"
    assert [note.ended for note in record.attempts] == ["server"]


def test_an_error_after_that_is_told_and_not_mended() -> None:
    made = responses(up("one", RESPONSES), up("two", RESPONSES))
    made.on_head(200, STREAM, 0.5)
    made.on_data(named(CREATED, RUNNING), 0.6)
    body = quiet(made)
    failed = {
        "type": "response.failed",
        "sequence_number": 2,
        "response": {"id": "resp_up", "error": {"message": "boom"}},
    }
    step = made.on_data(named(failed), 1.0)
    assert isinstance(step, Commit)
    assert b"boom" in body + b"".join(step.parts)


def test_a_crash_after_that_ends_in_one_error() -> None:
    made = responses(up("one", RESPONSES), up("two", RESPONSES))
    made.on_head(200, STREAM, 0.5)
    made.on_data(named(CREATED, RUNNING), 0.6)
    quiet(made)
    step = made.on_crash()
    assert isinstance(step, Break)
    assert b"internal error" in b"".join(step.parts)


# -- what a model gives at most


@pytest.mark.parametrize(
    ("most", "sent", "lost"), [(0, 64, False), (63, 63, True), (64, 64, False), (65, 64, False)]
)
def test_no_more_is_asked_for_than_a_model_gives(most: int, sent: int, lost: bool) -> None:
    upstream = up("u", CHAT, rows=(Row("", "m", {"most": most}),))
    _, step = started(asked(MESSAGES), upstream)
    assert json.loads(step.body)["max_tokens"] == sent
    assert [loss.path for loss in step.losses] == (["max_tokens"] if lost else [])


# -- streams that are watched


def test_a_watched_stream_that_keeps_the_rules() -> None:
    made, _ = started(asked(MESSAGES), up("u", CHAT), timing=Timing(grammar_sample=1.0))
    carried(made, STREAM, [reply_stream(CHAT, "a", "b")])
    assert made.on_sent(3.0).record.violations == {}
    assert made._made().checked is not None


# -- an engine


class Parrot:
    """An engine that says one word."""

    models: tuple[str, ...] = ("parrot",)

    def count_tokens(self, call: Call) -> int:
        return len(call.turns)

    async def generate(self, call: Call, model: str) -> AsyncGenerator[Event, None]:
        yield Delta(0, f"{call.model} {model}")


def parrot() -> Upstream:
    return Upstream("local", "engine", pool=KeyPool([Key(Secret())]), engine=Parrot())


def test_an_engine_is_known_by_the_asked_for_name() -> None:
    made, _ = started(asked(CHAT, call(CHAT).replace(b'"m"', b'"alias"')), parrot())
    said = made.on_engine().say([Start("id", "m"), Open(0, "text"), Delta(0, "hi")])
    assert b'"model":"alias"' in b"".join(said)


def test_what_no_engine_can_say_is_told_or_refused() -> None:
    _, step = started(asked(CHAT, call(CHAT, prediction={"type": "content"})), parrot())
    assert [loss.path for loss in step.losses] == ["prediction"]
    refused = asked("openai_completions", b'{"model":"m","prompt":[1,2,3]}')
    answer = Exchange(site(parrot()), refused, 0.0).start(0.0)
    assert isinstance(answer, Answer)
    assert answer.status == 400


def test_a_count_is_json() -> None:
    step = Exchange(site(parrot()), asked(MESSAGES, counts=True), 0.0).start(0.0)
    assert isinstance(step, Answer)
    assert dict(step.fields)[b"content-type"] == b"application/json"
    assert json.loads(step.body) == {"input_tokens": 1}
