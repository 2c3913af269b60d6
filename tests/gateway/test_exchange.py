"""The exchange as stories of steps: no socket, no clock, no task."""

import json
from typing import Any

import pytest

from rawproxy.dialects.events import Close, Delta, End, Event, Fail, Open, Start, Stop
from rawproxy.errors import UpstreamConnectError, UpstreamCut, UpstreamStall
from rawproxy.gateway.access import Caller
from rawproxy.gateway.attempt import Attempt
from rawproxy.gateway.exchange import (
    ERROR_BYTES,
    HELD_BYTES,
    Answer,
    Break,
    Commit,
    Done,
    Exchange,
    Finish,
    Preview,
    Site,
)
from rawproxy.gateway.limits import Limits
from rawproxy.gateway.liveness import Timing
from rawproxy.gateway.route import Route, Router
from tests.gateway.stories import JSON, STREAM, asked, exchange, site, up
from tests.net.world import (
    CHAT,
    MESSAGES,
    call,
    delta,
    end,
    error_body,
    error_frame,
    errors,
    is_whole,
    message_of,
    preamble,
    reply_body,
    reply_stream,
    stop,
    text,
)

PAIRS = [(client, upstream) for client in (CHAT, MESSAGES) for upstream in (CHAT, MESSAGES)]
pairs = pytest.mark.parametrize(("client", "upstream"), PAIRS)


def begun(client: str, *upstreams: Any, stream: bool = True, **more: Any) -> Exchange:
    """An exchange whose first attempt is under way."""
    made = exchange(site(*upstreams, **more), asked(client, stream=stream))
    assert isinstance(made.start(0.0), Attempt)
    return made


def fields_of(step: Answer | Commit) -> dict[bytes, bytes]:
    return dict(step.fields)


# -- the straight way


@pairs
def test_a_stream_from_head_to_finish(client: str, upstream: str) -> None:
    made = begun(client, up("u", upstream))
    assert made.on_head(200, STREAM, 1.0) == Preview()
    first = made.on_data(preamble(upstream) + delta(upstream, "a"), 2.0)
    assert isinstance(first, Commit)
    assert first.status == 200
    assert not first.last
    assert first.pipe is not None
    told = fields_of(first)
    assert told[b"x-rawproxy-upstream"] == b"u/m"
    assert told[b"x-rawproxy-exchange"] == b"rp_0123456789"
    assert told[b"content-type"].startswith(b"text/event-stream")
    body = b"".join(first.parts)
    body += b"".join(first.pipe.feed(delta(upstream, "b") + stop(upstream) + end(upstream)))
    last = made.on_end(3.0)
    assert isinstance(last, Finish)
    body += b"".join(last.parts)
    assert text(client, body) == "ab"
    assert is_whole(client, body)
    done = made.on_sent(4.0)
    assert isinstance(done, Done)
    record = done.record
    assert (record.outcome, record.status, record.stop) == ("ok", 200, "end")
    assert (record.ttft_ms, record.duration_ms) == (2000.0, 4000.0)


@pairs
def test_a_blocking_reply_goes_out_whole(client: str, upstream: str) -> None:
    made = begun(client, up("u", upstream), stream=False)
    made.on_head(200, JSON, 1.0)
    assert made.on_data(reply_body(upstream, "words"), 1.0) == Preview()
    step = made.on_end(1.0)
    assert isinstance(step, Commit)
    assert step.last
    assert b"words" in b"".join(step.parts)
    record = made.on_sent(2.0).record
    assert (record.outcome, record.input_tokens, record.output_tokens) == ("ok", 3, 2)


@pairs
def test_a_stream_for_a_blocking_client_is_folded(client: str, upstream: str) -> None:
    made = begun(client, up("u", upstream), stream=False)
    made.on_head(200, STREAM, 1.0)
    assert made.on_data(reply_stream(upstream, "a", "b"), 1.0) == Preview()
    step = made.on_end(1.0)
    assert isinstance(step, Commit)
    assert b'"ab"' in b"".join(step.parts)


@pairs
def test_a_body_for_a_streaming_client_is_unfolded(client: str, upstream: str) -> None:
    made = begun(client, up("u", upstream))
    made.on_head(200, JSON, 1.0)
    assert made.on_data(reply_body(upstream, "words"), 1.0) == Preview()
    step = made.on_end(1.0)
    assert isinstance(step, Commit)
    body = b"".join(step.parts)
    assert text(client, body) == "words"
    assert is_whole(client, body)


# -- the commit point


def test_preamble_is_held_while_there_is_somebody_else() -> None:
    made = begun(CHAT, up("one"), up("two"))
    made.on_head(200, STREAM, 1.0)
    assert made.on_data(preamble(CHAT), 1.0) == Preview()
    second = made.on_data(error_frame(CHAT), 1.0)
    assert isinstance(second, Attempt)
    assert second.candidate.name == "two/m"


def test_preamble_goes_out_at_once_when_there_is_nobody_else() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(200, STREAM, 1.0)
    step = made.on_data(preamble(CHAT), 1.0)
    assert isinstance(step, Commit)
    assert step.parts == [preamble(CHAT)]


def test_another_key_is_somebody_else() -> None:
    made = begun(CHAT, up("one", keys=("a", "b")))
    made.on_head(200, STREAM, 1.0)
    assert made.on_data(preamble(CHAT), 1.0) == Preview()


def test_the_last_try_has_nobody_else() -> None:
    made = begun(CHAT, up("one"), up("two"), attempts=1)
    made.on_head(200, STREAM, 1.0)
    assert isinstance(made.on_data(preamble(CHAT), 1.0), Commit)


def test_preamble_is_not_held_for_ever() -> None:
    made = begun(CHAT, up("one"), up("two"))
    made.on_head(200, STREAM, 1.0)
    comment = b": " + b"x" * 1021 + b"\n"
    frame = comment[:-1] + b"\n\n"
    steps = [made.on_data(frame, 1.0) for _ in range(HELD_BYTES // len(frame) + 1)]
    assert steps[0] == Preview()
    assert isinstance(steps[-1], Commit)


def test_after_output_nothing_is_retried() -> None:
    made = begun(CHAT, up("one"), up("two"))
    made.on_head(200, STREAM, 1.0)
    assert isinstance(made.on_data(preamble(CHAT) + delta(CHAT, "a"), 1.0), Commit)
    step = made.on_failed(UpstreamCut("the upstream's connection broke"), 2.0)
    assert isinstance(step, Break)
    assert errors(CHAT, b"".join(step.parts)) == ["the upstream's connection broke"]
    record = made.on_sent(3.0).record
    assert (record.outcome, record.why) == ("broken", "server")


def test_an_error_told_by_the_upstream_itself_is_not_told_twice() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(200, STREAM, 1.0)
    step = made.on_data(preamble(CHAT) + delta(CHAT, "a") + error_frame(CHAT), 1.0)
    assert isinstance(step, Commit)
    assert made.on_end(2.0) == Finish([])
    assert made.on_sent(3.0).record.outcome == "broken"


# -- failover


@pairs
def test_every_failure_moves_on_and_the_last_is_told(client: str, upstream: str) -> None:
    made = begun(client, up("one", upstream), up("two", upstream), up("three", upstream))
    assert isinstance(
        made.on_failed(UpstreamConnectError("the upstream cannot be reached"), 1.0), Attempt
    )
    made.on_head(500, JSON, 1.0)
    made.on_data(error_body(upstream, "api_error", "down"), 1.0)
    assert isinstance(made.on_end(1.0), Attempt)
    step = made.on_failed(UpstreamStall("the upstream did not begin to answer in time"), 1.0)
    assert isinstance(step, Answer)
    assert step.status == 504
    assert "in time" in message_of(step.body)
    record = made.on_sent(2.0).record
    assert record.outcome == "failed"
    assert [note.ended for note in record.attempts] == ["server", "server", "timeout"]


def test_attempts_are_bounded() -> None:
    made = begun(CHAT, *(up(f"u{n}") for n in range(9)), attempts=3)
    steps = [made.on_failed(UpstreamCut("cut"), 1.0) for _ in range(3)]
    assert [type(step) for step in steps] == [Attempt, Attempt, Answer]


def test_a_failure_without_time_for_another_try_is_final() -> None:
    made = begun(CHAT, up("one"), up("two"))
    assert isinstance(made.on_failed(UpstreamStall("too long"), 1.0, final=True), Answer)


def test_a_limited_key_gives_way_to_the_next_one_and_then_to_the_next_candidate() -> None:
    made = exchange(site(up("one", keys=("a", "b")), up("two", keys=("c",))), asked())
    used = []
    step = made.start(0.0)
    while isinstance(step, Attempt):
        used.append((step.candidate.upstream.name, step.key.secret.encode()))
        made.on_head(429, [*JSON, (b"retry-after-ms", b"1500"), (b"retry-after", b"60")], 1.0)
        made.on_data(error_body(CHAT, "rate_limit_exceeded", "slow"), 1.0)
        step = made.on_end(1.0)
    assert used == [("one", b"a"), ("one", b"b"), ("two", b"c")]
    assert isinstance(step, Answer)
    assert step.status == 429
    again = exchange(made._site, asked())
    step = again.start(2.0)
    assert isinstance(step, Answer)
    assert (step.status, fields_of(step)[b"retry-after"]) == (429, b"1")
    assert isinstance(exchange(made._site, asked()).start(2.5), Attempt)


@pytest.mark.parametrize(
    ("value", "rests_until"), [(b"7", 8.0), (b"Thu, 01 Jan 1970 00:00:00 GMT", 1.0), (b"soon", 6.0)]
)
def test_retry_after_is_believed(value: bytes, rests_until: float) -> None:
    where = site(up("one", keys=("a",)))
    made = exchange(where, asked())
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    made.on_head(429, [*JSON, (b"retry-after-ms", b"odd"), (b"retry-after", value)], 1.0)
    made.on_end(1.0)
    assert step.key.rest_until == rests_until


def test_dead_keys_are_a_bad_gateway() -> None:
    where = site(up("one", keys=("a",)))
    for _ in range(2):
        made = exchange(where, asked())
        step = made.start(0.0)
        if isinstance(step, Attempt):
            made.on_head(401, JSON, 1.0)
            made.on_data(error_body(CHAT, "invalid_api_key", "bad key a"), 1.0)
            step = made.on_end(1.0)
        assert isinstance(step, Answer)
        assert step.status == 502
        assert b"bad key" not in step.body


def test_an_upstream_without_keys_never_dies() -> None:
    where = site(up("one"))
    for _ in range(2):
        made = exchange(where, asked())
        assert isinstance(made.start(0.0), Attempt)
        made.on_head(401, JSON, 1.0)
        assert isinstance(made.on_end(1.0), Answer)


# -- errors


@pairs
def test_an_upstreams_400_reaches_the_client_in_its_words(client: str, upstream: str) -> None:
    made = begun(client, up("one", upstream), up("two", upstream))
    made.on_head(400, [*JSON, (b"x-request-id", b"r1")], 1.0)
    made.on_data(error_body(upstream, "invalid_request_error", "messages: no"), 1.0)
    step = made.on_end(1.0)
    assert isinstance(step, Answer)
    assert (step.status, message_of(step.body)) == (400, "messages: no")
    assert fields_of(step)[b"x-request-id"] == b"r1"
    assert made.on_sent(2.0).record.outcome == "refused"


def test_an_error_body_is_read_up_to_a_limit() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(400, [(b"content-type", b"text/html")], 1.0)
    assert made.on_data(b"x" * ERROR_BYTES, 1.0) == Preview()
    step = made.on_data(b"x", 1.0)
    assert isinstance(step, Answer)  # not waited for any longer, and not passed on cut
    assert b"xxx" not in step.body
    assert step.status == 400


def test_an_error_whose_body_is_cut_is_decided_by_its_status() -> None:
    where = site(up("one", keys=("a",)))
    made = exchange(where, asked())
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    made.on_head(429, [*JSON, (b"retry-after", b"9")], 1.0)
    made.on_data(b'{"error": {"mess', 1.0)
    answer = made.on_failed(UpstreamCut("cut"), 1.0)
    assert isinstance(answer, Answer)
    assert answer.status == 429
    assert step.key.rest_until == 10.0


def test_another_model_behind_the_same_keys_is_another_candidate() -> None:
    one = up("one", keys=("a",))
    where = Site(Router((Route("*", ("one/x", "one/y")),), {"one": one}), Timing(), Limits())
    made = exchange(where, asked())
    first = made.start(0.0)
    assert isinstance(first, Attempt)
    second = made.on_failed(UpstreamCut("cut"), 1.0)
    assert isinstance(second, Attempt)
    assert (first.candidate.model, second.candidate.model) == ("x", "y")


def test_a_reply_that_nobody_can_translate_is_an_error_not_a_crash() -> None:
    body = call(CHAT, messages=[{"role": "martian", "content": "hi"}])
    made = exchange(site(up("one")), asked(body=body))
    assert isinstance(made.start(0.0), Attempt)
    step = made.on_head(200, JSON, 1.0)  # a body where a stream was asked for
    assert isinstance(step, Answer)
    assert step.status == 400


def test_a_coded_reply_cannot_follow_a_keepalive() -> None:
    made = begun(CHAT, up("one"))
    made.on_quiet(10.0)
    step = made.on_head(200, [*STREAM, (b"content-encoding", b"br")], 11.0)
    assert isinstance(step, Break)
    assert len(errors(CHAT, b"".join(step.parts))) == 1


def test_what_may_be_a_break_is_no_end() -> None:
    """A coded body, or a count, whose end is the end of its connection."""
    made = begun(CHAT, up("one"))
    made.on_head(200, [*STREAM, (b"content-encoding", b"br")], 1.0)
    assert isinstance(made.on_data(b"\x1f\x8b", 1.0), Commit)
    assert made.on_end(1.0) == Break([])
    made = exchange(site(up("one", MESSAGES)), asked(MESSAGES, counts=True))
    made.start(0.0)
    made.on_head(200, JSON, 1.0)
    assert made.on_data(b'{"input_tok', 1.0) == Preview()
    step = made.on_end(1.0)
    assert isinstance(step, Answer)
    assert step.status == 502


@pairs
def test_an_error_in_the_body_of_a_200_moves_on(client: str, upstream: str) -> None:
    made = begun(client, up("one", upstream), up("two", upstream), stream=False)
    made.on_head(200, JSON, 1.0)
    made.on_data(error_body(upstream, "overloaded_error", "busy"), 1.0)
    assert isinstance(made.on_end(1.0), Attempt)


def test_a_coded_error_is_told_in_our_words() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(400, [*JSON, (b"content-encoding", b"gzip")], 1.0)
    made.on_data(b"\x1f\x8b...", 1.0)
    step = made.on_end(1.0)
    assert isinstance(step, Answer)
    assert b"\x1f" not in step.body
    assert step.status == 400


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [204, 205])
def test_a_status_that_has_no_body_never_reaches_a_client(status: int, stream: bool) -> None:
    """Over HTTP/2 a body may come with it; in HTTP/1.1 that would read as the next response."""
    step = begun(CHAT, up("one"), stream=stream).on_head(status, STREAM if stream else JSON, 1.0)
    assert isinstance(step, Answer)
    assert (step.status, str(status).encode() in step.body) == (502, True)


def test_redirects_and_nonsense() -> None:
    assert isinstance(begun(CHAT, up("one")).on_head(302, [], 1.0), Answer)
    made = begun(CHAT, up("one", MESSAGES))
    coded = made.on_head(200, [*STREAM, (b"content-encoding", b"br")], 1.0)
    assert isinstance(coded, Answer)
    assert coded.status == 502
    made = begun(CHAT, up("one", MESSAGES))
    made.on_head(200, STREAM, 1.0)
    garbage = made.on_data(b"data: {nonsense\n\n", 1.0)
    assert isinstance(garbage, Answer)
    assert garbage.status == 502
    made = begun(CHAT, up("one"), stream=False)
    made.on_head(200, JSON, 1.0)
    made.on_data(b"<html>", 1.0)
    assert isinstance(made.on_end(1.0), Answer)


def test_a_passed_coded_reply_is_not_looked_at() -> None:
    made = begun(CHAT, up("one"))
    head = [*STREAM, (b"content-encoding", b"br"), (b"transfer-encoding", b"chunked")]
    made.on_head(200, head, 1.0)
    step = made.on_data(b"\x1f\x8b", 1.0)
    assert isinstance(step, Commit)
    assert fields_of(step)[b"content-encoding"] == b"br"
    assert made.on_end(1.0) == Finish([])
    assert isinstance(made.on_failed(UpstreamCut("cut"), 1.0), Break)


# -- keepalives


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_a_keepalive_sends_the_head_and_failover_goes_on(client: str) -> None:
    made = begun(client, up("one"), up("two"), up("three"))
    first = made.on_quiet(10.0)
    assert isinstance(first, Commit)
    assert (first.status, b"".join(first.parts)[:1]) == (200, b":")
    again = made.on_quiet(20.0)
    assert isinstance(again, bytes)
    assert again.startswith(b":")
    assert isinstance(made.on_failed(UpstreamCut("cut"), 21.0), Attempt)
    made.on_head(200, STREAM, 22.0)
    step = made.on_data(preamble(CHAT) + delta(CHAT, "a"), 22.0)
    assert isinstance(step, Commit)
    assert made.on_quiet(30.0)
    assert isinstance(made.on_failed(UpstreamCut("cut"), 31.0), Break)


def test_after_a_keepalive_there_is_no_status_left() -> None:
    made = begun(CHAT, up("one"))
    made.on_quiet(10.0)
    step = made.on_failed(UpstreamStall("too slow"), 21.0)
    assert isinstance(step, Break)
    assert errors(CHAT, b"".join(step.parts)) == ["too slow"]
    record = made.on_sent(22.0).record
    assert (record.status, record.outcome) == (200, "failed")


# -- requests that have no attempt


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "cannot be read"),
        (b"[]", 400, "cannot be read"),
        (b"{", 400, "model: expected a string"),
        (b"{}", 400, "model: expected a string"),
        (b'{"model":7}', 400, "model: expected a string"),
        (b'{"model":"m","model":"n"}', 400, "duplicate"),
        (b'{"model":"m","stream":true,"stream":false}', 400, "duplicate"),
    ],
)
@pytest.mark.parametrize("client", [CHAT, MESSAGES])
def test_bodies_that_cannot_be_routed(client: str, body: bytes, status: int, words: str) -> None:
    step = exchange(site(up("one")), asked(client, body)).start(0.0)
    assert isinstance(step, Answer)
    assert step.status == status
    assert words in message_of(step.body)


def test_an_unknown_model_is_404() -> None:
    where = site()
    step = exchange(where, asked()).start(0.0)
    assert isinstance(step, Answer)
    assert step.status == 404
    assert json.loads(step.body)["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("models", "status"), [(("asked", "m"), 0), (("asked",), 403), (("m",), 403)]
)
def test_a_callers_models_match_both_names(models: tuple[str, ...], status: int) -> None:
    caller = Caller("team", models=models)
    body = call(CHAT).replace(b'"model": "m"', b'"model": "asked"')
    step = exchange(site(up("one")), asked(body=body, caller=caller)).start(0.0)
    assert isinstance(step, Attempt if status == 0 else Answer)
    assert getattr(step, "status", 0) == status


def test_a_forwarded_credential_goes_to_upstreams_that_may_have_it() -> None:
    where = site(up("closed", keys=("ours",)), up("open", keys=("ours",), forward=True))
    step = exchange(where, asked(credential="theirs")).start(0.0)
    assert isinstance(step, Attempt)
    assert step.candidate.name == "open/m"
    assert (b"authorization", b"Bearer theirs") in step.start.fields
    only_closed = exchange(site(up("closed")), asked(credential="theirs")).start(0.0)
    assert isinstance(only_closed, Answer)
    assert only_closed.status == 403


def test_a_forwarded_credential_has_one_try_at_each_candidate() -> None:
    where = site(up("one", forward=True), up("two", forward=True))
    made = exchange(where, asked(credential="theirs"))
    assert isinstance(made.start(0.0), Attempt)
    made.on_head(200, STREAM, 1.0)
    assert made.on_data(preamble(CHAT), 1.0) == Preview()
    second = made.on_data(error_frame(CHAT, "rate_limit_exceeded"), 1.0)
    assert isinstance(second, Attempt)
    assert second.candidate.name == "two/m"
    made.on_head(200, STREAM, 1.0)
    assert isinstance(made.on_data(preamble(CHAT), 1.0), Commit)


# -- losses


def test_losses_are_told() -> None:
    body = call(MESSAGES, top_k=7, metadata={"user_id": "u"})
    made = exchange(site(up("one", CHAT)), asked(MESSAGES, body))
    assert isinstance(made.start(0.0), Attempt)
    body = call(CHAT, logit_bias={"5": 1})
    made = exchange(site(up("one", MESSAGES)), asked(CHAT, body))
    assert isinstance(made.start(0.0), Attempt)
    made.on_head(200, STREAM, 1.0)
    step = made.on_data(preamble(MESSAGES) + delta(MESSAGES, "a"), 1.0)
    assert isinstance(step, Commit)
    assert fields_of(step)[b"x-rawproxy-loss"] == b"logit_bias"
    assert "logit_bias" in made.on_sent(1.0).record.losses


def test_a_strict_client_skips_candidates_that_would_lose() -> None:
    body = call(CHAT, logit_bias={"5": 1})
    strict = [(b"x-rawproxy-strict", b"1")]
    step = exchange(
        site(up("lossy", MESSAGES), up("exact", CHAT)), asked(CHAT, body, fields=strict)
    ).start(0.0)
    assert isinstance(step, Attempt)
    assert step.candidate.name == "exact/m"
    step = exchange(site(up("lossy", MESSAGES)), asked(CHAT, body, fields=strict)).start(0.0)
    assert isinstance(step, Answer)
    assert step.status == 400
    assert "logit_bias" in message_of(step.body)


def test_what_would_corrupt_the_answer_is_refused() -> None:
    step = exchange(site(up("one", MESSAGES)), asked(CHAT, call(CHAT, n=2))).start(0.0)
    assert isinstance(step, Answer)
    assert (step.status, json.loads(step.body)["error"]["param"]) == (400, "n")


# -- usage


def test_a_pass_does_not_doubt_a_stop_whose_tool_it_did_not_look_at() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(200, STREAM, 1.0)
    made.on_data(preamble(CHAT) + delta(CHAT, "I look."), 1.0)
    tool = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [tool]}}]}
    made.on_data(f"data: {json.dumps(chunk)}\n\n".encode(), 1.0)
    made.on_data(stop(CHAT).replace(b'"stop"', b'"tool_calls"') + end(CHAT), 1.0)
    made.on_end(1.0)
    assert made.on_sent(1.0).record.stop == "tools"


def test_usage_that_nobody_told_is_estimated() -> None:
    made = begun(CHAT, up("one"))
    made.on_head(200, STREAM, 1.0)
    made.on_data(reply_stream(CHAT, *"abcdef"), 1.0)
    made.on_end(1.0)
    record = made.on_sent(1.0).record
    assert record.usage_from == "estimated"
    assert record.output_tokens is not None
    assert record.output_tokens >= 6


def test_usage_may_be_asked_for_and_its_chunk_is_dropped() -> None:
    where = site(up("one"), timing=Timing(ask_usage=True))
    made = exchange(where, asked())
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    assert json.loads(step.body)["stream_options"] == {"include_usage": True}
    made.on_head(200, STREAM, 1.0)
    chunk = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n'
    commit = made.on_data(preamble(CHAT) + delta(CHAT, "a") + stop(CHAT) + chunk + end(CHAT), 1.0)
    assert isinstance(commit, Commit)
    assert b"usage" not in b"".join(commit.parts)
    assert b"[DONE]" in b"".join(commit.parts)
    record = made.on_sent(1.0).record
    assert (record.input_tokens, record.output_tokens, record.usage_from) == (7, 9, "reported")


@pytest.mark.parametrize("asks", [{"stream_options": {"include_usage": True}}, {"stream": False}])
def test_a_client_that_asks_itself_gets_the_chunk(asks: dict[str, Any]) -> None:
    where = site(up("one"), timing=Timing(ask_usage=True))
    body = call(CHAT, **asks) if "stream" not in asks else call(CHAT, stream=False)
    step = exchange(where, asked(body=body)).start(0.0)
    assert isinstance(step, Attempt)
    assert not step.drops_usage


# -- counting tokens


def test_a_count_goes_to_an_upstream_that_can() -> None:
    made = exchange(site(up("one", MESSAGES)), asked(MESSAGES, counts=True))
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    assert step.target == b"/v1/messages/count_tokens"
    made.on_head(200, JSON, 1.0)
    assert made.on_data(b'{"input_tokens":5}', 1.0) == Preview()
    commit = made.on_end(1.0)
    assert isinstance(commit, Commit)
    assert commit.parts == [b'{"input_tokens":5}']


def test_a_count_is_estimated_elsewhere_and_says_so() -> None:
    step = exchange(site(up("one", CHAT)), asked(MESSAGES, counts=True)).start(0.0)
    assert isinstance(step, Answer)
    assert json.loads(step.body)["input_tokens"] > 0
    assert fields_of(step)[b"x-rawproxy-usage"] == b"estimated"


# -- faults of ours


def test_a_fault_of_ours_is_500_or_the_terminal_error() -> None:
    made = begun(CHAT, up("one"))
    step = made.on_crash()
    assert isinstance(step, Answer)
    assert step.status == 500
    made = begun(CHAT, up("one"))
    made.on_quiet(1.0)
    step = made.on_crash()
    assert isinstance(step, Break)
    assert errors(CHAT, b"".join(step.parts)) == ["internal error"]
    made = begun(CHAT, up("one"))
    made.on_head(200, STREAM, 1.0)
    made.on_data(preamble(CHAT) + delta(CHAT, "a"), 1.0)
    step = made.on_crash()
    assert isinstance(step, Break)
    assert step.parts


def test_a_client_that_left_is_an_outcome() -> None:
    assert begun(CHAT, up("one")).on_sent(1.0, "client_gone").record.outcome == "client_gone"


# -- engines


class _Engine:
    models = ("ngram",)

    def count_tokens(self, call: object) -> int:
        return 42

    def generate(self, call: object, model: str) -> Any:
        raise AssertionError("gateway never runs it")


@pytest.mark.parametrize("client", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_serves_every_dialect_by_its_events(client: str, stream: bool) -> None:
    engine = up("local", engine=_Engine())
    made = exchange(site(engine), asked(client, stream=stream))
    step = made.start(0.0)
    assert isinstance(step, Attempt)
    assert step.call is not None
    pipe = made.on_engine()
    events: list[Event] = [
        Start(model="ngram"),
        Open(0, "text"),
        Delta(0, "a"),
        Close(0),
        Stop("end"),
        End(),
    ]
    parts: list[bytes] = []
    for event in events:
        said = pipe.say([event])
        if made.output_sent:
            parts += said
        elif isinstance(seen := made.on_parts(said, 1.0), Commit):
            parts += seen.parts
    last = made.on_end(2.0)
    if stream:
        assert isinstance(last, Commit | Finish)
        assert text(client, b"".join(parts)) == "a"
    else:
        assert isinstance(last, Commit)
        assert b'"a"' in b"".join(last.parts)
    record = made.on_sent(3.0).record
    assert (record.model_used, record.upstream) == ("m", "local")


def test_an_engine_that_fails_first_has_a_status() -> None:
    made = exchange(site(up("local", engine=_Engine())), asked())
    made.start(0.0)
    pipe = made.on_engine()
    step = made.on_parts(pipe.say([Fail("invalid", "no tools here")]), 1.0)
    assert isinstance(step, Answer)
    assert step.status == 400


def test_an_engine_counts_its_own_tokens() -> None:
    made = exchange(site(up("local", engine=_Engine())), asked(MESSAGES, counts=True))
    step = made.start(0.0)
    assert isinstance(step, Answer)
    assert json.loads(step.body) == {"input_tokens": 42}
    assert fields_of(step)[b"x-rawproxy-usage"] == b"reported"
