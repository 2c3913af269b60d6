"""What a request is for: a table of paths, and what we answer ourselves."""

import json

import pytest

from rawproxy.errors import ClientError, HttpError, NotFound
from rawproxy.gateway.front import Errand, errand, error_answer, local_answer, nearest
from rawproxy.gateway.route import Route, Router
from rawproxy.wire.http import Fields, RequestHead
from tests.gateway.stories import up
from tests.net.world import CHAT, MESSAGES

VERSION: Fields = [(b"anthropic-version", b"2023-06-01")]


@pytest.mark.parametrize(
    ("method", "target", "what", "dialect", "name"),
    [
        ("POST", "/v1/chat/completions", "call", CHAT, ""),
        ("POST", "/chat/completions?x=1", "call", CHAT, ""),
        ("POST", "/v1/messages?beta=true", "call", MESSAGES, ""),
        ("POST", "/messages", "call", MESSAGES, ""),
        ("POST", "/v1/messages/count_tokens", "count", MESSAGES, ""),
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
    assert (found.what, found.dialect.NAME, found.name) == (what, dialect, name)


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
        ("/x", [], CHAT),
    ],
)
def test_the_nearest_dialect(path: str, fields: Fields, dialect: str) -> None:
    assert dialect == nearest(path, fields).NAME


ROUTER = Router(
    (Route("claude-*", ("a/*",)), Route("fast", ("a/*",))), {"a": up("a", models={"b": "c"})}
)


def ask(what: str, dialect: str, name: str = "", router: Router = ROUTER) -> tuple[int, object]:
    from rawproxy.dialects import DIALECTS

    answer = local_answer(Errand(what, DIALECTS[dialect], name), router, 7)  # type: ignore[arg-type]
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
    from rawproxy.dialects import DIALECTS

    answer = error_answer(HttpError("no", status=431), DIALECTS[MESSAGES])
    assert answer.status == 431
    assert json.loads(answer.body)["type"] == "error"
