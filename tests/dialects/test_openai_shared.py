"""rawproxy.dialects.openai_shared: errors and usage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rawproxy.dialects.events import Fail, FailKind, Overflow, Usage
from rawproxy.dialects.failures import MESSAGE_LENGTH
from rawproxy.dialects.openai_shared import (
    TokenUsage,
    error_of,
    read_error,
    read_failure,
    read_usage,
    write_error,
    write_usage,
)
from rawproxy.dialects.reading import decode


def usage_of(text: str) -> Usage:
    return read_usage(decode(text.encode(), TokenUsage))


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("{}", Usage()),
        ('{"prompt_tokens":3,"completion_tokens":2}', Usage(input=3, output=2)),
        ('{"prompt_tokens":3.0,"completion_tokens":-1}', Usage(input=3)),
        (
            (
                '{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,'
                '"prompt_tokens_details":'
                '{"cached_tokens":0,"cache_write_tokens":2,"audio_tokens":1},'
                '"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":1,'
                '"accepted_prediction_tokens":1,"rejected_prediction_tokens":0}}'
            ),
            Usage(
                input=9,
                output=5,
                cache_read=0,
                cache_write=2,
                reasoning=4,
                audio_input=1,
                audio_output=1,
                prediction_accepted=1,
                prediction_rejected=0,
            ),
        ),
        # DeepSeek
        ('{"prompt_tokens":9,"prompt_cache_hit_tokens":8}', Usage(input=9, cache_read=8)),
        # xAI counts reasoning beside the completion: the total shows it
        (
            (
                '{"prompt_tokens":9,"completion_tokens":5,"total_tokens":18,'
                '"completion_tokens_details":{"reasoning_tokens":4}}'
            ),
            Usage(input=9, output=9, reasoning=4),
        ),
    ],
)
def test_usage_is_read(text: str, usage: Usage) -> None:
    assert usage_of(text) == usage


@given(
    st.builds(
        Usage,
        input=st.integers(0, 10**6),
        output=st.integers(0, 10**6),
        cache_read=st.none() | st.integers(0, 10**6),
        cache_write=st.none() | st.integers(0, 10**6),
        reasoning=st.none() | st.just(0),
        prediction_accepted=st.none() | st.integers(0, 9),
    )
)
def test_written_usage_reads_back(usage: Usage) -> None:
    assert usage_of(json.dumps(write_usage(usage))) == usage


OVERFLOWS = [
    (
        (
            "This model's maximum context length is 8192 tokens. However, you requested 10000 "
            "tokens (9000 in the messages, 1000 in the completion). Please shorten it."
        ),
        Overflow(9000, 8192, 1000),
    ),
    ("prompt is too long: 210000 tokens > 200000 maximum", Overflow(210000, 200000)),
]


@pytest.mark.parametrize(("message", "overflow"), OVERFLOWS)
def test_overflow_wordings(message: str, overflow: Overflow) -> None:
    body = json.dumps({"error": {"message": message, "type": "invalid_request_error"}})
    fail = read_error(400, body.encode())
    assert (fail.kind, fail.overflow, fail.message) == ("overflow", overflow, message)


@pytest.mark.parametrize("overflow", [overflow for _, overflow in OVERFLOWS])
def test_what_we_say_of_an_overflow_reads_back(overflow: Overflow) -> None:
    status, body, _ = write_error(Fail("overflow", "too long", overflow=overflow))
    assert (status, json.loads(body)["error"]["code"]) == (400, "context_length_exceeded")
    assert read_error(status, body).overflow == overflow


def error(message: str = "m", **members: object) -> bytes:
    return json.dumps({"error": {"message": message, **members}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error(), "invalid"),
        (422, error(), "invalid"),
        (400, error(code="context_length_exceeded"), "overflow"),
        (400, error("Your input exceeds the context window of this model."), "overflow"),
        (400, error(type="exceed_context_size_error"), "overflow"),
        (401, error(type="invalid_request_error", code="invalid_api_key"), "authentication"),
        (402, error(), "billing"),
        (403, error(), "permission"),
        (404, error(code="model_not_found"), "not_found"),
        (413, error(), "too_large"),
        (429, error(code="rate_limit_exceeded"), "rate_limit"),
        (429, error(type="insufficient_quota"), "billing"),
        (500, error(type="server_error"), "server"),
        (502, b"<html>Bad Gateway</html>", "server"),
        (503, b"", "overloaded"),
        (504, b"null", "timeout"),
        (529, b"[]", "overloaded"),
        (429, b'[{"error":{"code":429,"message":"m"}}]', "rate_limit"),
        (400, b'{"object":"error","message":"m","type":"BadRequestError","code":400}', "invalid"),
        (422, b'{"detail":"m"}', "invalid"),
    ],
)
def test_error_responses(status: int, body: bytes, kind: FailKind) -> None:
    fail = read_error(status, body)
    assert (fail.kind, fail.status) == (kind, status)


@pytest.mark.parametrize(
    ("raw", "kind", "message"),
    [
        (b'{"message":"m","type":"server_error"}', "server", "m"),
        (b'{"message":"m","type":"invalid_request_error"}', "invalid", "m"),
        (b'{"message":"m","code":429}', "rate_limit", "m"),
        (b'{"message":"m","code":1}', "server", "m"),
        (b'{"message":"m","type":"requests"}', "rate_limit", "m"),
        (b'"m"', "server", "m"),
        (b"{}", "server", "the upstream failed"),
        (b"oops", "server", "the upstream failed"),
    ],
)
def test_errors_in_a_stream(raw: bytes, kind: FailKind, message: str) -> None:
    fail = read_failure(raw)
    assert (fail.kind, fail.message) == (kind, message)


def test_a_body_that_is_no_error_is_never_quoted() -> None:
    assert read_error(502, b"<html>sk-secret</html>").message == "the upstream answered 502"


def test_code_and_param_are_kept_and_long_messages_cut() -> None:
    fail = read_error(400, error("x" * 3000, code="unsupported_value", param="temperature"))
    assert (fail.code, fail.param, len(fail.message)) == (
        "unsupported_value", "temperature", MESSAGE_LENGTH,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fail", "status", "code"),
    [
        (Fail("invalid", "m"), 400, None),
        (Fail("invalid", "m", status=422), 422, None),
        (Fail("invalid", "m", code="unsupported"), 400, "unsupported"),
        (Fail("invalid", "m", status=500), 400, None),
        (Fail("overflow", "m"), 400, "context_length_exceeded"),
        (Fail("authentication", "m"), 401, "invalid_api_key"),
        (Fail("billing", "m", status=402), 429, "insufficient_quota"),
        (Fail("permission", "m"), 403, None),
        (Fail("not_found", "m"), 404, "model_not_found"),
        (Fail("too_large", "m"), 413, "request_too_large"),
        (Fail("rate_limit", "m"), 429, "rate_limit_exceeded"),
        (Fail("server", "m"), 500, None),
        (Fail("server", "m", status=502), 502, None),
        (Fail("timeout", "m"), 504, "timeout"),
        (Fail("overloaded", "m", status=529), 503, "overloaded"),
    ],
)
def test_errors_are_written(fail: Fail, status: int, code: str | None) -> None:
    found, body, _ = write_error(fail)
    written = json.loads(body)["error"]
    assert (found, written["code"], written["message"]) == (status, code, "m")
    assert written.keys() == {"message", "type", "param", "code"}
    assert read_error(found, body).kind == fail.kind
    assert error_of(fail) == written
