"""Which header fields go there and back."""

import pytest

from rawproxy.gateway.headers import kept_of_reply, kept_of_request

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
BOTH = (CHAT, MESSAGES)

NEVER = [
    b"authorization", b"x-api-key", b"x-goog-api-key", b"cookie", b"forwarded", b"x-forwarded-for",
    b"x-rawproxy-strict", b"connection", b"transfer-encoding", b"te", b"upgrade", b"host", b"origin",
    b"referer", b"x-hop", b"content-length", b"accept-encoding", b"x-real-ip", b"sec-fetch-mode",
    b"proxy-authorization", b"expect",
]  # fmt: skip
CANARY = b"canary"


@pytest.mark.parametrize("name", NEVER)
def test_never_sent_upstream(name: bytes) -> None:
    fields = [(b"connection", b"x-hop"), (name, CANARY)]
    for upstream in BOTH:
        assert CANARY not in dict(kept_of_request(fields, CHAT, upstream)).values()


@pytest.mark.parametrize(
    ("name", "client", "upstream", "kept"),
    [
        (b"anthropic-beta", MESSAGES, MESSAGES, True),
        (b"anthropic-beta", MESSAGES, CHAT, False),
        (b"anthropic-beta", CHAT, CHAT, False),
        (b"openai-beta", CHAT, CHAT, True),
        (b"openai-beta", MESSAGES, MESSAGES, False),
        (b"x-stainless-lang", CHAT, CHAT, True),
        (b"user-agent", CHAT, CHAT, True),
        (b"x-custom", MESSAGES, MESSAGES, True),
        (b"x-custom", MESSAGES, CHAT, False),
    ],
)
def test_a_vendors_own_fields_go_to_its_own_dialect(
    name: bytes, client: str, upstream: str, kept: bool
) -> None:
    assert bool(kept_of_request([(name, b"v")], client, upstream)) is kept


@pytest.mark.parametrize(
    ("name", "passed", "translated"),
    [
        (b"request-id", True, True),
        (b"x-request-id", True, True),
        (b"x-ratelimit-limit-tokens", True, True),
        (b"anthropic-ratelimit-tokens-reset", True, True),
        (b"retry-after", True, True),
        (b"x-should-retry", True, True),
        (b"openai-processing-ms", True, False),
        (b"content-type", True, False),
        (b"content-encoding", True, False),
        (b"set-cookie", False, False),
        (b"anthropic-organization-id", False, False),
        (b"openai-organization", False, False),
        (b"connection", False, False),
        (b"x-hop", False, False),
        (b"content-length", False, False),
        (b"x-rawproxy-upstream", False, False),
        (b"access-control-allow-origin", False, False),
    ],
)
def test_what_of_a_reply_goes_on(name: bytes, passed: bool, translated: bool) -> None:
    fields = [(b"connection", b"x-hop"), (name, b"v")]
    for flag, kept in ((False, passed), (True, translated)):
        assert ((name, b"v") in kept_of_reply(fields, translated=flag)) is kept


@pytest.mark.parametrize("name", [b"openai-organization", b"openai-project"])
def test_account_fields_go_with_the_clients_own_credential_only(name: bytes) -> None:
    """With our key they are refused, and the key would be blamed for it."""
    assert kept_of_request([(name, b"org-1")], CHAT, CHAT) == []
    assert kept_of_request([(name, b"org-1")], CHAT, CHAT, own_credential=True) == [
        (name, b"org-1")
    ]


def test_a_field_that_came_twice_is_one() -> None:
    fields = [(b"anthropic-beta", b"a"), (b"x", b"1"), (b"anthropic-beta", b"b")]
    assert kept_of_request(fields, MESSAGES, MESSAGES) == [
        (b"anthropic-beta", b"a, b"),
        (b"x", b"1"),
    ]


def test_a_field_that_came_several_times_is_one_without_empty_values() -> None:
    several = [(b"x-a", b""), (b"x-a", b"1"), (b"x-b", b""), (b"x-a", b""), (b"x-a", b"2")]
    assert kept_of_request(several, CHAT, CHAT) == [(b"x-a", b"1, 2"), (b"x-b", b"")]
