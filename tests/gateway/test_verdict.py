"""The one table: what a failure means for the key, the next try, and the client."""

from typing import get_args

import pytest

from rawproxy.dialects.events import Fail, FailKind
from rawproxy.errors import Exhausted, UpstreamCut, UpstreamError, UpstreamStall
from rawproxy.gateway.keys import Outcome
from rawproxy.gateway.verdict import fail_of, retry_after, shown, verdict, with_retry_after
from rawproxy.wire.http import Fields


@pytest.mark.parametrize(
    ("kind", "key", "then", "hidden"),
    [
        ("invalid", Outcome.NOT_THE_KEY, "answer", False),
        ("overflow", Outcome.NOT_THE_KEY, "answer", False),
        ("too_large", Outcome.NOT_THE_KEY, "answer", False),
        ("not_found", Outcome.NOT_THE_KEY, "candidate", False),
        ("authentication", Outcome.DENIED, "key", True),
        ("permission", Outcome.FORBIDDEN, "key", True),
        ("billing", Outcome.FORBIDDEN, "key", True),
        ("rate_limit", Outcome.LIMITED, "key", False),
        ("server", Outcome.NOT_THE_KEY, "candidate", False),
        ("timeout", Outcome.NOT_THE_KEY, "candidate", False),
        ("overloaded", Outcome.NOT_THE_KEY, "candidate", False),
    ],
)
def test_every_kind_has_a_row(kind: FailKind, key: Outcome, then: str, hidden: bool) -> None:
    found = verdict(Fail(kind, "words"))
    assert (found.key, found.then, found.hidden) == (key, then, hidden)


def test_the_table_above_is_complete() -> None:
    assert all(verdict(Fail(kind, "")) for kind in get_args(FailKind))


@pytest.mark.parametrize(
    ("kind", "then"),
    [("authentication", "answer"), ("permission", "answer"), ("billing", "answer"),
     ("rate_limit", "candidate"), ("server", "candidate"), ("invalid", "answer")],
)  # fmt: skip
def test_with_the_clients_own_credential_nothing_is_hidden(kind: FailKind, then: str) -> None:
    found = verdict(Fail(kind, "words"), own_credential=True)
    assert (found.key, found.then, found.hidden) == (Outcome.NOT_THE_KEY, then, False)


@pytest.mark.parametrize("kind", ["authentication", "permission", "billing"])
def test_trouble_with_our_credentials_is_a_bad_gateway(kind: FailKind) -> None:
    fail = Fail(kind, "Incorrect API key provided: sk-canary", status=401)
    told = shown(fail, verdict(fail))
    assert (told.kind, told.status) == ("server", 502)
    assert "sk-canary" not in told.message


def test_other_words_are_passed_on() -> None:
    fail = Fail("invalid", "tools[0].name: too long")
    assert shown(fail, verdict(fail)) is fail


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [(UpstreamStall("x"), "timeout", 504), (UpstreamCut("x"), "server", 502),
     (UpstreamError("x"), "server", 502)],
)  # fmt: skip
def test_errors_of_ours(error: UpstreamError, kind: FailKind, status: int) -> None:
    assert fail_of(error) == Fail(kind, "x", status=status)


def test_out_of_descriptors_is_worth_another_try() -> None:
    assert fail_of(Exhausted("x")) == Fail("overloaded", "x", status=503, retry_after=1.0)


def test_the_header_tells_how_long_to_wait_where_the_body_does_not() -> None:
    assert with_retry_after(Fail("rate_limit", "x"), 3.0).retry_after == 3.0
    assert with_retry_after(Fail("rate_limit", "x", retry_after=1.0), 3.0).retry_after == 1.0
    assert with_retry_after(Fail("rate_limit", "x"), None).retry_after is None


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"retry-after", b"Thu, 01 Jan 1970 00:01:40 GMT")], 40.0),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"250")], 0.25),
        ([(b"retry-after", b"7"), (b"retry-after-ms", b"soon")], 7.0),
    ],
)
def test_the_time_that_a_header_names(fields: Fields, seconds: float | None) -> None:
    assert retry_after(fields, 60.0) == seconds
