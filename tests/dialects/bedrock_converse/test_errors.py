"""rawproxy.dialects.bedrock_converse.errors: what went wrong, read and written."""

import json

import pytest

from rawproxy.dialects.bedrock_converse.errors import (
    EXCEPTIONS,
    read_error,
    read_failure,
    write_error,
    write_failure,
)
from rawproxy.dialects.events import Fail, FailKind, Overflow

KINDS: list[FailKind] = [
    "invalid", "overflow", "authentication", "billing", "permission", "not_found", "too_large",
    "rate_limit", "server", "timeout", "overloaded",
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (429, {"message": "slow"}, "rate_limit", "slow"),
        (400, {"Message": "bad"}, "invalid", "bad"),
        (400, {"__type": "com.amazon.coral.service#ThrottlingException", "message": "m"}, "rate_limit", "m"),
        (400, {"__type": "ServiceQuotaExceededException:http://x/", "message": "m"}, "rate_limit", "m"),
        (403, {"message": "no"}, "permission", "no"),
        (403, {"__type": "UnrecognizedClientException", "message": "who?"}, "authentication", "who?"),
        (404, {"message": "m"}, "not_found", "m"),
        (408, {"message": "m"}, "timeout", "m"),
        (424, {"message": "m"}, "server", "m"),
        (424, {"message": "m", "originalStatusCode": 429}, "rate_limit", "m"),
        (424, {"message": "m", "originalStatusCode": "429"}, "server", "m"),
        (429, {"__type": "ModelNotReadyException", "message": "m"}, "overloaded", "m"),
        (500, {"message": None, "__type": 5}, "server", "the upstream answered 500"),
        (503, {}, "overloaded", "the upstream answered 503"),
        (502, [1], "server", "the upstream answered 502"),
        (413, {"message": "Input is too long for requested model."}, "overflow", "Input is too long for requested model."),
    ],
)  # fmt: skip
def test_error_responses(status: int, body: object, kind: str, message: str) -> None:
    assert read_error(status, json.dumps(body).encode()) == Fail(kind, message, status=status)  # type: ignore[arg-type]


def test_a_body_that_is_no_json() -> None:
    assert read_error(502, b"<html>") == Fail("server", "the upstream answered 502", status=502)


@pytest.mark.parametrize(
    ("message", "overflow"),
    [
        ("prompt is too long: 9 tokens > 8 maximum", Overflow(9, 8)),
        ("Input Tokens Exceeded: Number of input tokens exceeds maximum length.", None),
        ("the maximum context length was passed", None),
    ],
)
def test_a_call_that_is_too_long(message: str, overflow: Overflow | None) -> None:
    fail = read_error(400, json.dumps({"message": message}).encode())
    assert (fail.kind, fail.overflow) == ("overflow", overflow)


def test_too_many_tokens_a_minute_is_no_overflow() -> None:
    body = json.dumps({"message": "Too many input tokens, please wait."}).encode()
    assert read_error(429, body).kind == "rate_limit"


@pytest.mark.parametrize(
    ("word", "data", "kind", "message"),
    [
        ("throttlingException", {"message": "slow"}, "rate_limit", "slow"),
        ("validationException", {"message": "bad"}, "invalid", "bad"),
        ("validationException", {"message": "prompt is too long"}, "overflow", "prompt is too long"),
        ("internalServerException", {"message": "oh"}, "server", "oh"),
        ("serviceUnavailableException", {"message": "oh"}, "overloaded", "oh"),
        ("modelTimeoutException", {"message": "oh"}, "timeout", "oh"),
        ("modelStreamErrorException", {"message": "oh"}, "server", "oh"),
        ("modelStreamErrorException", {"message": "m", "originalStatusCode": 529, "originalMessage": "full"}, "overloaded", "full"),
        ("newException", {}, "server", "the upstream failed"),
        ("error", {"code": "ThrottlingException", "message": "slow"}, "rate_limit", "slow"),
        ("error", {"code": 5, "message": "slow"}, "server", "slow"),
    ],
)  # fmt: skip
def test_exceptions_of_a_stream(word: str, data: object, kind: str, message: str) -> None:
    assert read_failure(word, json.dumps(data).encode()) == Fail(kind, message)  # type: ignore[arg-type]


def test_an_exception_that_is_no_json() -> None:
    assert read_failure("validationException", b"?") == Fail("invalid", "the upstream failed")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_words(kind: FailKind) -> None:
    reply = write_error(Fail(kind, "oh"))
    ((name, word),) = reply.fields
    assert name == b"x-amzn-errortype"
    typed = json.dumps(json.loads(reply.body) | {"__type": word.decode()}).encode()
    expected = {"billing": "permission", "too_large": "invalid"}.get(kind, kind)
    assert read_error(reply.status, typed).kind == expected
    word_, data = write_failure(Fail(kind, "oh"))
    assert word_ in EXCEPTIONS
    mended = {"authentication": "invalid", "permission": "invalid", "not_found": "invalid"}
    mended |= {"billing": "invalid", "too_large": "invalid"}
    assert read_failure(word_, data).kind == mended.get(kind, kind)


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (Fail("overflow", "no room"), "Input is too long for requested model. no room"),
        (Fail("overflow", "prompt is too long"), "prompt is too long"),
        (Fail("overflow", "x", overflow=Overflow(9, 8)), "prompt is too long: 9 tokens > 8 maximum"),
        (
            Fail("overflow", "x", overflow=Overflow(7, 8, 2)),
            "input length and `max_tokens` exceed context limit: 7 + 2 > 8, decrease input length or `max_tokens` and try again",
        ),
        (Fail("overflow", "x", overflow=Overflow(9, 8, 2)), "prompt is too long: 9 tokens > 8 maximum"),
    ],
)  # fmt: skip
def test_wordings_that_clients_know(fail: Fail, message: str) -> None:
    assert json.loads(write_error(fail).body) == {"message": message}
