"""What a request is for: a table of paths, and what we answer ourselves."""

import json

import pytest

from rawproxy.dialects.base import Given
from rawproxy.errors import ClientError, HttpError, NotFound
from rawproxy.gateway.face import FACES, GEMINI_ARRAY, INVOKE_FACE, VERTEX_FACE, Face
from rawproxy.gateway.front import Errand, errand, error_answer, local_answer, nearest
from rawproxy.gateway.route import Route, Router
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields, RequestHead
from tests.gateway.stories import up
from tests.net.world import CHAT, MESSAGES

VERSION: Fields = [(b"anthropic-version", b"2023-06-01")]


@pytest.mark.parametrize(
    ("method", "target", "what", "dialect", "name"),
    [
        ("POST", "/v1/chat/completions", "call", CHAT, ""),
        ("POST", "/chat/completions?x=1", "call", CHAT, ""),
        ("POST", "/v1/completions", "call", "openai_completions", ""),
        ("POST", "/completions", "call", "openai_completions", ""),
        ("POST", "/v1/responses", "call", "openai_responses", ""),
        ("POST", "/responses/input_tokens", "count", "openai_responses", ""),
        ("POST", "/v1/messages?beta=true", "call", MESSAGES, ""),
        ("POST", "/messages", "call", MESSAGES, ""),
        ("POST", "/v1/messages/count_tokens", "count", MESSAGES, ""),
        ("POST", "/v1/complete", "call", "anthropic_complete", ""),
        ("POST", "/api/chat", "call", "ollama_chat", ""),
        ("GET", "/api/tags", "models", "ollama_chat", ""),
        ("GET", "/api/version", "version", "ollama_chat", ""),
        ("GET", "/v1/models", "models", CHAT, ""),
        ("GET", "/models", "models", CHAT, ""),
        ("GET", "/v1/models/a/b", "model", CHAT, "a/b"),
        ("GET", "/healthz", "health", CHAT, ""),
        ("HEAD", "/", "hello", CHAT, ""),
        ("GET", "/", "hello", CHAT, ""),
    ],
)
def test_paths(method: str, target: str, what: str, dialect: str, name: str) -> None:
    found = errand(RequestHead(method.encode(), target.encode(), []))
    assert (found.what, found.face, found.name) == (what, FACES[dialect], name)


@pytest.mark.parametrize(
    ("target", "what", "face", "given"),
    [
        ("/v1/models/g:generateContent", "call", FACES["gemini"], Given("g", stream=False)),
        ("/v1beta/models/a%2Fb:streamGenerateContent?alt=sse&key=k", "call", FACES["gemini"],
         Given("a/b", stream=True)),
        ("/models/g:streamGenerateContent", "call", GEMINI_ARRAY, Given("g", stream=True)),
        ("/v1/models/g:countTokens", "count", FACES["gemini"], Given("g", stream=False)),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", "call",
         FACES["gemini"], Given("g", stream=False)),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/c@1:rawPredict", "call",
         VERTEX_FACE, Given("c@1", stream=False)),
        ("/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict", "call",
         VERTEX_FACE, Given("c", stream=True)),
        ("/model/us.anthropic.claude-1:0/invoke", "call", INVOKE_FACE,
         Given("us.anthropic.claude-1:0", stream=False)),
        ("/model/c%3A0/invoke-with-response-stream", "call", INVOKE_FACE, Given("c:0", stream=True)),
        ("/model/arn%3Aaws%3Ab%3Ax%2Fy/converse", "call", FACES["bedrock_converse"],
         Given("arn:aws:b:x/y", stream=False)),
        ("/model/m/converse-stream", "call", FACES["bedrock_converse"], Given("m", stream=True)),
        ("/model/m/count-tokens", "count", FACES["bedrock_converse"], Given("m", stream=False)),
        ("/api/generate", "call", FACES["ollama_chat"], Given(variant="generate")),
    ],
)  # fmt: skip
def test_paths_that_say_more(target: str, what: str, face: Face, given: Given) -> None:
    found = errand(RequestHead(b"POST", target.encode(), []))
    assert (found.what, found.face, found.given) == (what, face, given)


@pytest.mark.parametrize(
    ("fields", "variant"),
    [
        ([], "2023-01-01"),
        ([(b"anthropic-version", b"2023-01-01")], "2023-01-01"),
        ([(b"anthropic-version", b"2023-06-01")], "2023-06-01"),
        ([(b"anthropic-version", b"2026-10-21")], "2026-10-21"),
    ],
)
def test_the_version_of_the_legacy_api(fields: Fields, variant: str) -> None:
    assert errand(RequestHead(b"POST", b"/v1/complete", fields)).given == Given(variant=variant)


def test_a_websocket_is_refused_so_that_its_client_goes_on_without() -> None:
    head = RequestHead(b"GET", b"/v1/responses", [(b"upgrade", b"websocket")])
    with pytest.raises(ClientError, match="WebSocket") as caught:
        errand(head)
    assert caught.value.status == 426


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/v2/messages"), ("POST", "/v1/models"), ("GET", "/v1"), ("PUT", "/")],
)
def test_unknown_paths_are_named(method: str, target: str) -> None:
    with pytest.raises(NotFound, match=target):
        errand(RequestHead(method.encode(), target.encode(), []))


def test_a_wrong_method_is_405() -> None:
    with pytest.raises(ClientError, match="takes POST only") as caught:
        errand(RequestHead(b"GET", b"/v1/messages", []))
    assert caught.value.status == 405


@pytest.mark.parametrize(
    ("path", "fields", "dialect"),
    [
        ("/v1/messages/x", [], MESSAGES),
        ("/messages", [], MESSAGES),
        ("/x", VERSION, MESSAGES),
        ("/x", [(b"x-goog-api-key", b"k")], "gemini"),
        ("/v1beta/models/m:countTokens", [], "gemini"),
        ("/inference-profiles", [], "bedrock_converse"),
        ("/model/m/converse", [], "bedrock_converse"),
        ("/model/m/invoke", [], MESSAGES),
        ("/api/embed", [], "ollama_chat"),
        ("/v1/complete", [], "anthropic_complete"),
        ("/v1/completions", [], CHAT),
        ("/v1/responses/resp_1", [], "openai_responses"),
        ("/x", [], CHAT),
    ],
)
def test_the_nearest_dialect(path: str, fields: Fields, dialect: str) -> None:
    assert dialect == nearest(path, fields).dialect.NAME


ROUTER = Router(
    (Route("claude-*", ("a/*",)), Route("fast", ("a/*",))), {"a": up("a", models={"b": "c"})}
)


def ask(what: str, dialect: str, name: str = "", router: Router = ROUTER) -> tuple[int, object]:
    answer = local_answer(Errand(what, FACES[dialect], name=name), router, 7)  # type: ignore[arg-type]
    return answer.status, json.loads(answer.body)


def test_models_in_the_shape_of_the_client() -> None:
    _, chat = ask("models", CHAT)
    assert chat == {
        "object": "list",
        "data": [
            {"id": name, "object": "model", "created": 7, "owned_by": "rawproxy"}
            for name in ("fast", "a/b")
        ],
    }
    _, messages = ask("models", MESSAGES)
    assert isinstance(messages, dict)
    assert [model["id"] for model in messages["data"]] == ["fast", "a/b"]
    assert (messages["first_id"], messages["last_id"], messages["has_more"]) == (
        "fast",
        "a/b",
        False,
    )
    _, none = ask("models", MESSAGES, router=Router((), {}))
    assert isinstance(none, dict)
    assert (none["data"], none["first_id"], none["last_id"]) == ([], None, None)


def test_models_of_gemini_and_ollama() -> None:
    _, gemini = ask("models", "gemini")
    assert isinstance(gemini, dict)
    assert [model["name"] for model in gemini["models"]] == ["models/fast", "models/a/b"]
    _, ollama = ask("models", "ollama_chat")
    assert isinstance(ollama, dict)
    assert [model["model"] for model in ollama["models"]] == ["fast", "a/b"]
    assert ask("model", "gemini", "models/fast")[0] == 200
    assert ask("version", "ollama_chat")[0] == 200


def test_one_model() -> None:
    status, model = ask("model", CHAT, "claude-9")
    assert status == 200
    assert isinstance(model, dict)
    assert model["id"] == "claude-9"
    with pytest.raises(NotFound):
        ask("model", CHAT, "nope")


def test_health_and_hello() -> None:
    assert ask("health", CHAT) == (200, {"status": "ok"})
    assert ask("hello", CHAT)[0] == 200


def test_an_error_of_ours_in_either_dialect() -> None:
    answer = error_answer(HttpError("no", status=431), FACES[MESSAGES])
    assert answer.status == 431
    assert json.loads(answer.body)["type"] == "error"


def test_an_error_of_bedrock_is_named_in_its_header() -> None:
    answer = error_answer(NotFound("no"), INVOKE_FACE)
    assert (b"x-amzn-errortype", b"ResourceNotFoundException") in answer.fields
    assert json.loads(answer.body)["message"] == "no"


@pytest.mark.parametrize(("seconds", "told"), [(None, None), (1.0, b"1"), (1.2, b"2")])
def test_an_error_says_when_to_try_again(seconds: float | None, told: bytes | None) -> None:
    error = HttpError("there is no room", status=503, retry_after=seconds)
    answer = error_answer(error, FACES[MESSAGES])
    assert (answer.status, get(answer.fields, b"retry-after")) == (503, told)
    assert b"overloaded_error" in answer.body
