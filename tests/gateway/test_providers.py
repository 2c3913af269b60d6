"""Providers: addresses, paths, credentials, and which header fields go there and back."""

import pytest

from rawproxy.gateway.keys import Secret
from rawproxy.gateway.providers import Upstream, kept_of_reply, kept_of_request
from rawproxy.wire.http import Fields

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
BOTH = (CHAT, MESSAGES)


def made(provider: str, base_url: str = "", **more: object) -> Upstream:
    return Upstream("up", provider, base_url, dialects=BOTH, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("provider", "base_url", "dialect", "suffix", "target"),
    [
        ("openai", "https://api.openai.com/v1", CHAT, "", "/v1/chat/completions"),
        ("openai", "https://gate.example/openai/v1/", CHAT, "", "/openai/v1/chat/completions"),
        ("anthropic", "https://api.anthropic.com", MESSAGES, "", "/v1/messages"),
        ("anthropic", "https://gate.example/a/", MESSAGES, "/count_tokens", "/a/v1/messages/count_tokens"),
        ("compatible", "http://localhost:1234/v1", CHAT, "", "/v1/chat/completions"),
        ("compatible", "http://localhost:1234/v1", MESSAGES, "", "/v1/messages"),
    ],
)  # fmt: skip
def test_paths(provider: str, base_url: str, dialect: str, suffix: str, target: str) -> None:
    assert made(provider, base_url).path(dialect, suffix) == target


@pytest.mark.parametrize(
    ("dialect", "key", "fields"),
    [
        (CHAT, "k", [(b"authorization", b"Bearer k")]),
        (MESSAGES, "k", [(b"x-api-key", b"k")]),
        (CHAT, "", []),
        (MESSAGES, "", []),
    ],
)
def test_how_a_key_is_shown(dialect: str, key: str, fields: Fields) -> None:
    assert made("compatible").credentials(dialect, Secret(key)) == fields


def test_fields_of_a_request() -> None:
    upstream = made("anthropic", "https://api.anthropic.com", headers={"X-Team": "blue"})
    fields = dict(upstream.fields(MESSAGES, Secret("k"), [(b"x-app", b"cli")], stream=True))
    assert fields == {
        b"host": b"api.anthropic.com",
        b"content-type": b"application/json",
        b"accept": b"text/event-stream",
        b"accept-encoding": b"identity",
        b"anthropic-version": b"2023-06-01",
        b"x-app": b"cli",
        b"x-api-key": b"k",
        b"x-team": b"blue",
    }


def test_the_clients_version_is_kept_and_the_operators_fields_win() -> None:
    upstream = made("anthropic", "https://x:8443", headers={"anthropic-beta": "operator"})
    kept = [(b"anthropic-version", b"2026-10-21"), (b"anthropic-beta", b"client")]
    fields = dict(upstream.fields(MESSAGES, Secret(), kept, stream=False))
    assert fields[b"anthropic-version"] == b"2026-10-21"
    assert fields[b"anthropic-beta"] == b"operator"
    assert fields[b"accept"] == b"application/json"
    assert fields[b"host"] == b"x:8443"
    assert b"x-api-key" not in fields


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


@pytest.mark.parametrize(
    ("provider", "issuer"), [("openai", "openai"), ("anthropic", "anthropic"), ("compatible", "up")]
)
def test_whose_seals(provider: str, issuer: str) -> None:
    upstream = made(provider, scope="org")
    origin = upstream.target(CHAT, "m").origin
    assert (origin.issuer, origin.scope, origin.model) == (issuer, "org", "m")


def test_a_client_is_asked_in_its_own_dialect_where_that_is_spoken() -> None:
    upstream = Upstream("up", "compatible", dialects=(CHAT, MESSAGES))
    assert [upstream.dialect_for(one) for one in (CHAT, MESSAGES, "gemini")] == [
        CHAT,
        MESSAGES,
        CHAT,
    ]
    assert upstream.serves == ()


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
