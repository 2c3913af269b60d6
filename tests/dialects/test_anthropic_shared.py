"""rawproxy.dialects.anthropic_shared: their statuses, types and wordings, both ways."""

import json
from pathlib import Path

import pytest
from msgspec import Raw

from rawproxy.dialects.anthropic_shared import (
    error_of,
    read_error,
    read_failure,
    write_error,
)
from rawproxy.dialects.events import Fail, FailKind, Overflow

TYPES: dict[FailKind, tuple[int, str]] = {
    "invalid": (400, "invalid_request_error"),
    "authentication": (401, "authentication_error"),
    "billing": (402, "billing_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "rate_limit": (429, "rate_limit_error"),
    "server": (500, "api_error"),
    "timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
}


def body(**error: object) -> bytes:
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


def said(fail: Fail) -> tuple[int, str, str]:
    status, written, _ = write_error(fail)
    found = json.loads(written)
    assert found.keys() == {"type", "error"}
    assert found["type"] == "error"
    return status, found["error"]["type"], found["error"]["message"]


@pytest.mark.parametrize(("kind", "words"), TYPES.items())
def test_every_kind_has_its_status_and_type(kind: FailKind, words: tuple[int, str]) -> None:
    status, word = words
    assert said(Fail(kind, "no")) == (status, word, "no")
    assert read_error(status, body(type=word, message="no")) == Fail(kind, "no", status=status)


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (503, "api_error", "overloaded"),
        (504, "api_error", "timeout"),
        (500, "api_error", "server"),
        (409, "conflict_error", "invalid"),
        (429, "something_new", "rate_limit"),
        (400, "rate_limit_error", "rate_limit"),
        (418, None, "invalid"),
    ],
)
def test_the_type_says_more_than_the_status(status: int, word: str | None, kind: str) -> None:
    assert read_error(status, body(type=word, message="no")).kind == kind


@pytest.mark.parametrize(
    ("fail", "status", "word"),
    [
        (Fail("invalid", "no", status=409), 409, "conflict_error"),
        (Fail("invalid", "no", status=422), 422, "invalid_request_error"),
        (Fail("invalid", "no", status=500), 400, "invalid_request_error"),
        (Fail("server", "no", status=502), 502, "api_error"),
        (Fail("rate_limit", "no", status=400), 429, "rate_limit_error"),
    ],
)
def test_the_upstream_s_status_stays_where_it_says_the_same(
    fail: Fail, status: int, word: str
) -> None:
    assert said(fail)[:2] == (status, word)


@pytest.mark.parametrize(
    "content",
    [b"<html>gone</html>", b"[]", b"", b'{"error": null}', b'{"error": {}}', b'{"error": 5}'],
)
def test_other_bodies_give_the_status_alone(content: bytes) -> None:
    assert read_error(502, content) == Fail("server", "the upstream answered 502", status=502)


@pytest.mark.parametrize("content", [b'{"error": "no"}', b'{"message": "no"}'])
def test_a_message_is_found_in_other_places(content: bytes) -> None:
    assert read_error(403, content) == Fail("permission", "no", status=403)


@pytest.mark.parametrize(
    ("details", "code"),
    [({"error_code": "expired"}, "expired"), ({}, None), (["x"], None), (None, None)],
)
def test_the_code_in_the_details(details: object, code: str | None) -> None:
    assert read_error(404, body(type="not_found_error", message="no", details=details)).code == code


def test_the_code_is_written_into_the_details() -> None:
    found = error_of(Fail("not_found", "no", code="expired"))
    assert found["error"] == {
        "type": "not_found_error",
        "message": "no",
        "details": {"error_code": "expired"},
    }


@pytest.mark.parametrize(
    ("message", "overflow"),
    [
        ("prompt is too long: 205429 tokens > 200000 maximum", Overflow(205429, 200000)),
        (
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again",
            Overflow(188240, 200000, 21333),
        ),
        ("prompt is too long", None),
    ],
)
def test_a_call_that_is_too_long(message: str, overflow: Overflow | None) -> None:
    fail = read_error(400, body(type="invalid_request_error", message=message))
    assert fail == Fail("overflow", message, status=400, overflow=overflow)
    assert said(fail) == (400, "invalid_request_error", message)


@pytest.mark.parametrize(
    ("fail", "message"),
    [
        (Fail("overflow", "context full"), "prompt is too long: context full"),
        (Fail("overflow", "x", overflow=Overflow(9, 8, 1)), "prompt is too long: 9 tokens > 8 maximum"),
        (Fail("overflow", "Prompt is too long!"), "Prompt is too long!"),
    ],
)  # fmt: skip
def test_the_wordings_that_agents_know(fail: Fail, message: str) -> None:
    assert said(fail)[2] == message


@pytest.mark.parametrize(
    ("error", "fail"),
    [
        (b'{"type":"overloaded_error","message":"busy"}', Fail("overloaded", "busy")),
        (b'{"type":"api_error","message":"oh"}', Fail("server", "oh")),
        (b"null", Fail("server", "the upstream failed")),
        (b"", Fail("server", "the upstream failed")),
    ],
)
def test_errors_inside_a_stream(error: bytes, fail: Fail) -> None:
    assert read_failure(Raw(error)) == fail


def test_long_messages_are_cut() -> None:
    assert len(read_error(400, body(type="x", message="y" * 5000)).message) == 2000


def test_a_recorded_error(recorded: Path) -> None:
    raw = (recorded / "anthropic_messages/non_stream_error/reply.http").read_bytes()
    content = raw.partition(b"\n\n")[2].strip()
    fail = read_error(400, content)
    assert fail.kind == "overflow"
    assert fail.overflow == Overflow(205429, 200000)
