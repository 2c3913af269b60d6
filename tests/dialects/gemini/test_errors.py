"""rawproxy.dialects.gemini.errors: what errors say."""

import json
from typing import Any, get_args

import pytest

from rawproxy.dialects.events import Fail, FailKind, Overflow
from rawproxy.dialects.gemini.errors import failure_of, read_error, read_failure, write_error

TOO_LONG = "The input token count (1178945) exceeds the maximum number of tokens allowed (1048576)."


def said(**error: Any) -> bytes:
    return json.dumps({"error": error}).encode()


@pytest.mark.parametrize(
    ("status", "body", "fail"),
    [
        (400, said(code=400, message="m", status="INVALID_ARGUMENT"), Fail("invalid", "m", status=400)),
        (429, said(message="m", status="RESOURCE_EXHAUSTED",
                   details=[1, {"@type": "x"}, {"retryDelay": "34.5s"}]),
         Fail("rate_limit", "m", status=429, retry_after=34.5)),
        (429, said(message="m", details=[{"retryDelay": "soon"}]), Fail("rate_limit", "m", status=429)),
        (400, said(message="m", status="INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]),
         Fail("authentication", "m", status=400)),
        (400, said(message="m", status="FAILED_PRECONDITION"), Fail("permission", "m", status=400)),
        (413, said(message="m", status="INVALID_ARGUMENT"), Fail("too_large", "m", status=413)),
        (503, b"<html>", Fail("overloaded", "the upstream answered 503", status=503)),
        (500, b"[" + said(message="m", status="UNAVAILABLE") + b"]", Fail("overloaded", "m", status=500)),
        (500, b"[]", Fail("server", "the upstream answered 500", status=500)),
        (404, b'{"message":"gone","status":5}', Fail("not_found", "gone", status=404)),
        (400, said(message=TOO_LONG, status="INVALID_ARGUMENT"),
         Fail("overflow", TOO_LONG, status=400, overflow=Overflow(1178945, 1048576))),
        (400, said(message="The input token count is 9 but model only supports up to 8."),
         Fail("overflow", "The input token count is 9 but model only supports up to 8.", status=400,
              overflow=Overflow(9, 8))),
        (400, said(message="token limit reached", status="INVALID_ARGUMENT"),
         Fail("overflow", "token limit reached", status=400)),
        (400, said(message="prompt is too long: 9 tokens > 8 maximum"),
         Fail("overflow", "prompt is too long: 9 tokens > 8 maximum", status=400,
              overflow=Overflow(9, 8))),
    ],
)  # fmt: skip
def test_an_error_response(status: int, body: bytes, fail: Fail) -> None:
    assert read_error(status, body) == fail


@pytest.mark.parametrize(
    ("error", "fail"),
    [
        (b'{"code":503,"message":"m"}', Fail("overloaded", "m", status=503)),
        (b'{"code":"odd","message":"m","status":"DEADLINE_EXCEEDED"}', Fail("timeout", "m")),
        (b'"words"', Fail("server", "words")),
        (b"{", Fail("server", "the upstream failed")),
    ],
)
def test_an_error_in_a_stream(error: bytes, fail: Fail) -> None:
    assert read_failure(error) == fail


@pytest.mark.parametrize("kind", get_args(FailKind))
def test_each_kind_is_written_and_most_are_read_again(kind: FailKind) -> None:
    reply = write_error(Fail(kind, "m", retry_after=2.5))
    error = json.loads(reply.body)["error"]
    assert (error["code"], error["message"]) == (reply.status, "m")
    again = read_error(reply.status, reply.body)
    assert again.retry_after == 2.5
    assert again.kind == {"overflow": "invalid", "billing": "permission"}.get(kind, kind)


@pytest.mark.parametrize(
    ("fail", "status"),
    [
        (Fail("invalid", "m", status=409), 409),
        (Fail("invalid", "m", status=404), 400),
        (Fail("server", "m", status=502), 502),
        (Fail("rate_limit", "m", status=503), 429),
    ],
)
def test_the_upstream_s_own_status(fail: Fail, status: int) -> None:
    reply = write_error(fail)
    assert reply.status == json.loads(reply.body)["error"]["code"] == status


@pytest.mark.parametrize("over", [Overflow(9, 8), Overflow(5, 8, 4)])
def test_how_far_a_call_was_over_is_told_and_read_again(over: Overflow) -> None:
    fail = Fail("overflow", "somebody else's words", overflow=over)
    assert read_error(400, write_error(fail).body).overflow == over
    assert "details" not in failure_of(fail)
