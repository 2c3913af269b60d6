"""What a request is for: a dialect's call, or something answered here.

Layer: gateway. Knows the client paths; knows no sockets.
"""

from typing import Literal

import msgspec

from rawproxy.dialects import DIALECTS
from rawproxy.dialects.base import Dialect
from rawproxy.dialects.reading import encode
from rawproxy.errors import ClientError, NotFound, RawproxyError
from rawproxy.gateway.exchange import Answer, client_fail
from rawproxy.gateway.route import Router
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields, RequestHead

__all__ = ["METHOD_NOT_ALLOWED", "Errand", "errand", "error_answer", "local_answer", "nearest"]


class Errand(msgspec.Struct, frozen=True):
    """What a request is for.

    Attributes:
        what: a `call` or `count` in `dialect`, or something we answer: `models`, `model`, `health`, `hello`.
        name: the model, of `model`.
    """

    what: Literal["call", "count", "models", "model", "health", "hello"]
    dialect: Dialect
    name: str = ""


_CALLS: dict[str, tuple[Literal["call", "count"], str]] = {
    "/chat/completions": ("call", "openai_chat"),
    "/messages": ("call", "anthropic_messages"),
    "/messages/count_tokens": ("count", "anthropic_messages"),
}

METHOD_NOT_ALLOWED = 405


class _NotAllowed(ClientError):
    status = METHOD_NOT_ALLOWED


def nearest(path: str, fields: Fields) -> Dialect:
    """Return the dialect in whose words an error about `path` is told."""
    bare = path.removeprefix("/v1")
    if bare.startswith("/messages") or get(fields, b"anthropic-version") is not None:
        return DIALECTS["anthropic_messages"]
    return DIALECTS["openai_chat"]


def errand(head: RequestHead) -> Errand:
    """Return what a request is for. A path without its `/v1` is as if it had it.

    Raises:
        NotFound: no such path; the message names it.
        ClientError: 405 for a method that the path does not take.
    """
    path = head.path.decode("latin-1")
    bare = path.removeprefix("/v1") or "/"
    near = nearest(path, head.fields)
    if found := _CALLS.get(bare):
        what, name = found
        _only(head, b"POST")
        return Errand(what, DIALECTS[name])
    reading = head.method in (b"GET", b"HEAD")
    if reading and bare == "/models":
        return Errand("models", near)
    if reading and bare.startswith("/models/"):
        return Errand("model", near, bare.removeprefix("/models/"))
    if reading and path == "/healthz":
        return Errand("health", near)
    if reading and path == "/":
        return Errand("hello", near)
    raise NotFound(f"there is nothing at {head.method.decode('latin-1')} {path[:200]}")


def _only(head: RequestHead, method: bytes) -> None:
    if head.method != method:
        raise _NotAllowed(f"{head.path.decode('latin-1')[:200]} takes {method.decode()} only")


def error_answer(error: RawproxyError, dialect: Dialect) -> Answer:
    """Return an error of ours in the words of `dialect`."""
    _, body = dialect.write_error(client_fail(error))
    return Answer(error.status, [(b"content-type", b"application/json")], body)


def local_answer(errand: Errand, router: Router, now: int) -> Answer:
    """Return what we answer ourselves.

    Raises:
        NotFound: there is no such model.
    """
    match errand.what:
        case "health":
            return _json({"status": "ok"})
        case "hello":
            return _json({"name": "rawproxy"})
        case "model":
            router.find(errand.name)
            return _json(_model(errand, errand.name, now))
        case _:
            models = [_model(errand, name, now) for name in router.names() if "*" not in name]
            if errand.dialect.NAME == "anthropic_messages":
                ids = [model["id"] for model in models] or [None]
                return _json({
                    "data": models, "has_more": False, "first_id": ids[0], "last_id": ids[-1],
                })  # fmt: skip
            return _json({"object": "list", "data": models})


def _model(errand: Errand, name: str, now: int) -> dict[str, object]:
    if errand.dialect.NAME == "anthropic_messages":
        return {
            "type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z",
        }  # fmt: skip
    return {"id": name, "object": "model", "created": now, "owned_by": "rawproxy"}


def _json(value: object) -> Answer:
    return Answer(200, [(b"content-type", b"application/json")], encode(value))
