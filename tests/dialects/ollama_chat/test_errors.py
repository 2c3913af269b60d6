"""rawproxy.dialects.ollama_chat.errors: one text, and what it means."""

import pytest
from msgspec import Raw

from rawproxy.dialects.events import Fail, FailKind, Overflow
from rawproxy.dialects.ollama_chat.errors import error_line, read_error, read_failure, write_error


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b'{"error":"model \'x\' not found"}', "not_found", "model 'x' not found"),
        (400, b'{"error":"\\"x\\" does not support tools"}', "invalid", '"x" does not support tools'),
        (503, b'{"error":"server busy"}', "overloaded", "server busy"),
        (500, b'{"error":"the input length exceeds the context length"}', "overflow",
         "the input length exceeds the context length"),
        (401, b'{"error":"unauthorized"}', "authentication", "unauthorized"),
        (502, b"<html>", "server", "the upstream answered 502"),
        (500, b'{"error":null}', "server", "the upstream answered 500"),
    ],
)  # fmt: skip
def test_a_response(status: int, body: bytes, kind: FailKind, message: str) -> None:
    fail = read_error(status, body)
    assert (fail.kind, fail.message, fail.status) == (kind, message, status)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (b'"model \\"x\\" not found, try pulling it first"', "not_found"),
        (b'"llama3 does not support thinking"', "invalid"),
        (b'"server busy, please try again"', "overloaded"),
        (b'"input exceeds maximum context length"', "overflow"),
        (b'"an error was encountered while running the model"', "server"),
        (b'{"message":"m","type":"rate_limit_error"}', "rate_limit"),
        (b"[]", "server"),
    ],
)
def test_a_line(error: bytes, kind: FailKind) -> None:
    assert read_failure(Raw(error)).kind == kind


@pytest.mark.parametrize(
    ("fail", "status"),
    [
        (Fail("invalid", "m"), 400),
        (Fail("invalid", "m", status=422), 422),
        (Fail("invalid", "m", status=503), 400),
        (Fail("overflow", "m", status=413), 400),
        (Fail("authentication", "m"), 401),
        (Fail("billing", "m"), 429),
        (Fail("permission", "m"), 403),
        (Fail("not_found", "m"), 404),
        (Fail("too_large", "m"), 413),
        (Fail("rate_limit", "m"), 429),
        (Fail("server", "m"), 500),
        (Fail("server", "m", status=502), 502),
        (Fail("timeout", "m"), 504),
        (Fail("overloaded", "m"), 503),
    ],
)
def test_what_is_written(fail: Fail, status: int) -> None:
    assert write_error(fail) == (status, b'{"error":"m"}', ())


def test_an_overflow_in_the_words_that_agents_know() -> None:
    assert b"maximum context length is 10 tokens" in error_line(
        Fail("overflow", "m", overflow=Overflow(12, 10))
    )
