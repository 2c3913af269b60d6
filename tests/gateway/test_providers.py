"""Providers: addresses, paths, credentials, and what a request looks like there."""

import json

import pytest

from rawproxy.dialects.models import Row
from rawproxy.errors import Untranslatable
from rawproxy.gateway.face import FACES, INVOKE_FACE, VERTEX_FACE
from rawproxy.gateway.keys import Secret
from rawproxy.gateway.providers import PROVIDERS, Upstream, Wanted
from rawproxy.wire import ndjson
from rawproxy.wire.http import Fields

CHAT, MESSAGES = "openai_chat", "anthropic_messages"
RESPONSES, COMPLETE, CONVERSE = "openai_responses", "anthropic_complete", "bedrock_converse"
BOTH = (CHAT, MESSAGES)
NOW = 1_800_000_000.0


def made(provider: str, base_url: str = "", **more: object) -> Upstream:
    dialects = PROVIDERS[provider].dialects or BOTH
    return Upstream("up", provider, base_url, dialects=dialects, **more)  # type: ignore[arg-type]


def placed(provider: str) -> Upstream:
    """An upstream with a region, a project and no path of its own."""
    return made(provider, "https://host.example", region="eu-1", project="p")


@pytest.mark.parametrize(
    ("provider", "base_url", "wanted", "target"),
    [
        ("openai", "https://api.openai.com/v1", Wanted(CHAT, "m"), "/v1/chat/completions"),
        ("openai", "https://gate.example/openai/v1/", Wanted(CHAT, "m"), "/openai/v1/chat/completions"),
        ("openai", "https://x/v1", Wanted(RESPONSES, "m"), "/v1/responses"),
        ("openai", "https://x/v1", Wanted(RESPONSES, "m", counts=True), "/v1/responses/input_tokens"),
        ("openai", "https://x/v1", Wanted("openai_completions", "m"), "/v1/completions"),
        ("anthropic", "https://api.anthropic.com", Wanted(MESSAGES, "m"), "/v1/messages"),
        ("anthropic", "https://x", Wanted(COMPLETE, "m"), "/v1/complete"),
        ("anthropic", "https://gate.example/a/", Wanted(MESSAGES, "m", counts=True),
         "/a/v1/messages/count_tokens"),
        ("compatible", "http://localhost:1234/v1", Wanted(CHAT, "m"), "/v1/chat/completions"),
        ("compatible", "http://localhost:1234/v1", Wanted(MESSAGES, "m"), "/v1/messages"),
        ("compatible", "http://localhost:1234/say", Wanted("plain_text", "m"), "/say"),
        ("ollama", "http://localhost:11434", Wanted("ollama_chat", "m"), "/api/chat"),
        ("ollama", "http://localhost", Wanted("ollama_chat", "m", variant="generate"), "/api/generate"),
        ("gemini", "https://g", Wanted("gemini", "a/b"), "/v1beta/models/a%2Fb:generateContent"),
        ("gemini", "https://g", Wanted("gemini", "m", stream=True),
         "/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("gemini", "https://g", Wanted("gemini", "m", stream=True, array=True),
         "/v1beta/models/m:streamGenerateContent"),
        ("gemini", "https://g", Wanted("gemini", "m", counts=True), "/v1beta/models/m:countTokens"),
        ("bedrock", "https://b", Wanted(CONVERSE, "c:0"), "/model/c%3A0/converse"),
        ("bedrock", "https://b", Wanted(CONVERSE, "c", stream=True), "/model/c/converse-stream"),
        ("bedrock", "https://b", Wanted(CONVERSE, "c", counts=True), "/model/c/count-tokens"),
        ("bedrock", "https://b", Wanted(MESSAGES, "c"), "/model/c/invoke"),
        ("bedrock", "https://b", Wanted(MESSAGES, "c", stream=True),
         "/model/c/invoke-with-response-stream"),
    ],
)  # fmt: skip
def test_paths(provider: str, base_url: str, wanted: Wanted, target: str) -> None:
    assert made(provider, base_url).path(wanted) == target


@pytest.mark.parametrize(
    ("wanted", "rest"),
    [
        (Wanted("gemini", "g", stream=True), "google/models/g:streamGenerateContent?alt=sse"),
        (Wanted("gemini", "g"), "google/models/g:generateContent"),
        (Wanted("gemini", "g", counts=True), "google/models/g:countTokens"),
        (Wanted(MESSAGES, "c@1", stream=True), "anthropic/models/c%401:streamRawPredict"),
        (Wanted(MESSAGES, "c@1"), "anthropic/models/c%401:rawPredict"),
    ],
)
def test_paths_of_vertex(wanted: Wanted, rest: str) -> None:
    assert placed("vertex").path(wanted) == f"/v1/projects/p/locations/eu-1/publishers/{rest}"


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (
            Wanted(CHAT, "my gpt"),
            "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        ),
        (Wanted(RESPONSES, "d"), "/openai/responses?api-version=2024-10-21"),
    ],
)
def test_paths_of_azures_older_api(wanted: Wanted, target: str) -> None:
    upstream = made("azure", "https://r.openai.azure.com", api_version="2024-10-21")
    assert upstream.path(wanted) == target
    v1 = made("azure", "https://r.openai.azure.com/openai/v1")
    assert v1.path(Wanted(CHAT, "d")) == "/openai/v1/chat/completions"


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-1", "https://eu-1-aiplatform.googleapis.com"),
        ("global", "https://aiplatform.googleapis.com"),
    ],
)
def test_addresses_with_a_region(region: str, url: str) -> None:
    assert PROVIDERS["vertex"].url(region) == url


def test_what_is_spoken_where_nothing_is_configured() -> None:
    assert PROVIDERS["compatible"].usual == (CHAT,)
    assert PROVIDERS["openai"].usual == (CHAT, RESPONSES, "openai_completions")


@pytest.mark.parametrize(
    ("provider", "dialect", "key", "fields"),
    [
        ("compatible", CHAT, "k", [(b"authorization", b"Bearer k")]),
        ("compatible", MESSAGES, "k", [(b"x-api-key", b"k")]),
        ("anthropic", COMPLETE, "k", [(b"x-api-key", b"k")]),
        ("gemini", "gemini", "k", [(b"x-goog-api-key", b"k")]),
        ("vertex", "gemini", "k", [(b"authorization", b"Bearer k")]),
        ("vertex", MESSAGES, "k", [(b"authorization", b"Bearer k")]),
        ("azure", CHAT, "k", [(b"api-key", b"k")]),
        ("bedrock", MESSAGES, "k", [(b"authorization", b"Bearer k")]),
        ("bedrock", CONVERSE, "k", [(b"authorization", b"Bearer k")]),
        ("ollama", "ollama_chat", "k", [(b"authorization", b"Bearer k")]),
        ("compatible", CHAT, "", []),
        ("compatible", MESSAGES, "", []),
    ],
)
def test_how_a_key_is_shown(provider: str, dialect: str, key: str, fields: Fields) -> None:
    assert made(provider).credentials(dialect, Secret(key)) == fields


def header(upstream: Upstream, wanted: Wanted, key: str, kept: Fields) -> dict[bytes, bytes]:
    return dict(upstream.request(wanted, b'{"model":"m"}', kept, Secret(key), NOW).fields)


def test_fields_of_a_request() -> None:
    upstream = made("anthropic", "https://api.anthropic.com", headers={"X-Team": "blue"})
    assert header(upstream, Wanted(MESSAGES, "m", stream=True), "k", [(b"x-app", b"cli")]) == {
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
    fields = header(upstream, Wanted(MESSAGES, "m"), "", kept)
    assert fields[b"anthropic-version"] == b"2026-10-21"
    assert fields[b"anthropic-beta"] == b"operator"
    assert fields[b"accept"] == b"application/json"
    assert fields[b"host"] == b"x:8443"
    assert b"x-api-key" not in fields


def test_a_request_to_bedrock_is_signed() -> None:
    upstream = made("bedrock", "https://b.example", region="eu-1", headers={"x-team": "blue"})
    fields = header(upstream, Wanted(CONVERSE, "c:0"), "AKIA:secret:token", [])
    assert fields[b"authorization"].startswith(
        b"AWS4-HMAC-SHA256 Credential=AKIA/20270115/eu-1/bedrock/"
    )
    assert fields[b"x-amz-security-token"] == b"token"
    assert b"x-team" in fields[b"authorization"]
    assert not any(b"secret" in value for value in fields.values())
    fields = header(upstream, Wanted(CONVERSE, "c:0"), "AKIA:secret", [])
    assert b"x-amz-security-token" not in fields


def test_bedrock_takes_an_api_key_too() -> None:
    upstream = made("bedrock", "https://b.example", region="eu-1")
    assert header(upstream, Wanted(CONVERSE, "c"), "abc", [])[b"authorization"] == b"Bearer abc"


@pytest.mark.parametrize(
    ("provider", "body", "kept", "sent"),
    [
        ("bedrock", {"model": "m", "stream": True, "max_tokens": 1},
         [(b"anthropic-beta", b"a, b"), (b"anthropic-version", b"2023-06-01")],
         {"max_tokens": 1, "anthropic_version": "bedrock-2023-05-31", "anthropic_beta": ["a", "b"]}),
        ("bedrock", {"model": "m"}, [(b"anthropic-version", b"2026-10-21")],
         {"anthropic_version": "2026-10-21"}),
        ("vertex", {"model": "m", "stream": True}, [],
         {"stream": True, "anthropic_version": "vertex-2023-10-16"}),
    ],
)  # fmt: skip
def test_hosts_of_messages(
    provider: str, body: dict[str, object], kept: Fields, sent: dict[str, object]
) -> None:
    request = placed(provider).request(
        Wanted(MESSAGES, "m", stream=True), json.dumps(body).encode(), kept, Secret("k"), NOW
    )
    assert json.loads(request.body) == sent
    assert not any(name.startswith(b"anthropic-") for name, _ in request.fields)


@pytest.mark.parametrize(
    ("provider", "dialect", "issuer"),
    [
        ("openai", CHAT, "openai"), ("azure", CHAT, "openai"), ("anthropic", MESSAGES, "anthropic"),
        ("compatible", CHAT, "up"), ("bedrock", CONVERSE, "anthropic"), ("gemini", "gemini", "gemini"),
        ("vertex", MESSAGES, "anthropic"), ("vertex", "gemini", "gemini"), ("ollama", "ollama_chat", "up"),
    ],
)  # fmt: skip
def test_whose_seals(provider: str, dialect: str, issuer: str) -> None:
    origin = made(provider, scope="org").target(dialect, "m").origin
    assert (origin.issuer, origin.scope, origin.model) == (issuer, "org", "m")


def test_what_the_operator_says_of_a_model_wins() -> None:
    upstream = made("openai", rows=(Row(CHAT, "gpt-new*", {"sampling": False, "limit": 7}),))
    takes = upstream.target(CHAT, "gpt-new-1").takes
    assert (takes.sampling, takes.limit, takes.limit_field) == (False, 7, "max_completion_tokens")


@pytest.mark.parametrize(
    ("provider", "client", "model", "dialect"),
    [
        ("compatible", MESSAGES, "m", MESSAGES),
        ("openai", RESPONSES, "m", RESPONSES),
        ("openai", "gemini", "m", CHAT),
        ("bedrock", MESSAGES, "us.anthropic.claude-x", MESSAGES),
        ("bedrock", MESSAGES, "amazon.nova", CONVERSE),
        ("bedrock", CHAT, "us.anthropic.claude-x", CONVERSE),
        ("vertex", CHAT, "claude-x", MESSAGES),
        ("vertex", MESSAGES, "gemini-3", "gemini"),
    ],
)
def test_a_client_is_asked_in_its_own_dialect_where_that_is_spoken(
    provider: str, client: str, model: str, dialect: str
) -> None:
    upstream = made(provider)
    assert upstream.dialect_for(client, model) == dialect
    assert upstream.serves == ()


def test_faces() -> None:
    assert made("anthropic").face(MESSAGES) is FACES[MESSAGES]
    assert made("bedrock").face(MESSAGES) is INVOKE_FACE
    assert made("vertex").face(MESSAGES) is VERTEX_FACE
    assert made("vertex").face("gemini") is FACES["gemini"]
    assert made("compatible").face("plain_text") is FACES["plain_text"]
    assert made("compatible", text_field="a.b").face("plain_text").framing is ndjson
    assert made("compatible", text_field="a.b").target("plain_text", "m").text_field == "a.b"


def test_who_can_count() -> None:
    assert made("anthropic").counts(MESSAGES)
    assert made("bedrock").counts(CONVERSE)
    assert not made("bedrock").counts(MESSAGES)
    assert not made("vertex").counts(MESSAGES)


@pytest.mark.parametrize("model", [".", ".."])
@pytest.mark.parametrize(
    ("provider", "dialect", "version"),
    [
        ("bedrock", "bedrock_converse", ""),
        ("bedrock", MESSAGES, ""),
        ("azure", "openai_chat", "2024-10-21"),
    ],
)
def test_a_model_is_never_another_path(
    provider: str, dialect: str, version: str, model: str
) -> None:
    """The client chooses it; as a dot segment it would change whom our key is shown to (RFC 3986 5.2.4)."""
    upstream = made(provider, "https://host", api_version=version)
    with pytest.raises(Untranslatable):
        upstream.path(Wanted(dialect, model))
    escaped = upstream.path(Wanted(dialect, "../a?b#c d\r\nx: y\u2028"))
    assert "/..%2Fa%3Fb%23c%20d%0D%0Ax%3A%20y%E2%80%A8/" in escaped
