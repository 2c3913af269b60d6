"""rawproxy.dialects.openai_responses.failures: what broke, read and written."""

import json

import pytest

from rawproxy.dialects.events import Fail, FailKind, Overflow, Stop
from rawproxy.dialects.openai_responses.failures import malformed, read_failed, write_failed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", "server"), ("rate_limit_exceeded", "rate_limit"),
        ("context_length_exceeded", "overflow"), ("invalid_prompt", "invalid"),
        ("bio_policy", "permission"), ("vector_store_timeout", "timeout"),
        ("image_too_large", "invalid"), ("failed_to_download_image", "invalid"),
        ("server_is_overloaded", "overloaded"), (None, "server"),
    ],
)  # fmt: skip
def test_codes(code: str | None, kind: FailKind) -> None:
    error = json.dumps({"code": code, "message": "m"}).encode()
    assert read_failed(error) == Fail(kind, "m", code=code)


def test_an_error_that_says_nothing() -> None:
    assert read_failed(b"null") == Fail("server", "the upstream failed")


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (Fail("server", "m"), "server_error"),
        (Fail("invalid", "m"), "invalid_prompt"),
        (Fail("permission", "m"), "invalid_prompt"),
        (Fail("server", "m", code="own"), "own"),
        (Fail("overflow", "m", overflow=Overflow(9, 8)), "context_length_exceeded"),
    ],
)
def test_a_failed_response_always_has_a_code(fail: Fail, code: str) -> None:
    event, error = write_failed(fail)
    assert error == {"code": code, "message": event["message"]}


def test_how_long_to_wait_is_in_the_message() -> None:
    said = [
        Fail("rate_limit", "slow.", retry_after=1.5),
        Fail("rate_limit", "try again in 3s", retry_after=3.0),
        Fail("rate_limit", "slow."),
    ]
    assert [write_failed(fail)[0]["message"] for fail in said] == [
        "slow. Please try again in 1.5s.", "try again in 3s", "slow.",
    ]  # fmt: skip


def test_what_cannot_be_read() -> None:
    assert malformed(Stop("malformed", detail="bad call")) == Fail("server", "bad call")
    assert malformed(Stop("malformed")).message == "the model's output cannot be read"
