"""What a request is for: a dialect's call, or something answered here.

Layer: gateway. Knows the client paths; knows no sockets.
"""

import math
import re
from typing import Literal
from urllib.parse import unquote

import msgspec

from rawproxy.dialects.base import NOTHING_GIVEN, Given
from rawproxy.dialects.reading import encode
from rawproxy.errors import ClientError, NotFound, RawproxyError
from rawproxy.gateway.exchange import Answer
from rawproxy.gateway.face import FACES, GEMINI_ARRAY, INVOKE_FACE, VERTEX_FACE, Face
from rawproxy.gateway.route import Router
from rawproxy.gateway.verdict import client_fail
from rawproxy.wire.fields import get
from rawproxy.wire.http import Fields, RequestHead

__all__ = ["METHOD_NOT_ALLOWED", "Errand", "errand", "error_answer", "local_answer", "nearest"]

FIRST_INCREMENTAL = "2023-06-01"
"""The version of Anthropic's legacy API from which its streams are incremental."""

CUMULATIVE = "2023-01-01"
"""The version that clients mean who name none there."""

OLLAMA_VERSION = "0.6.3"
"""The version of Ollama whose API this is; its clients ask for it."""


class Errand(msgspec.Struct, frozen=True):
    """What a request is for.

    Attributes:
        what: a `call` or `count` in the dialect of `face`, or something we answer ourselves.
        face: the dialect that it is in, or whose shape the answer has.
        given: what path and header say of a call.
        name: the model, of `model`.
    """

    what: Literal["call", "count", "models", "model", "version", "health", "hello"]
    face: Face
    given: Given = NOTHING_GIVEN
    name: str = ""


_CALLS: dict[str, tuple[Literal["call", "count"], str, str]] = {
    # path without its version: what, dialect, variant
    "/chat/completions": ("call", "openai_chat", ""),
    "/completions": ("call", "openai_completions", ""),
    "/responses": ("call", "openai_responses", ""),
    "/responses/input_tokens": ("count", "openai_responses", ""),
    "/messages": ("call", "anthropic_messages", ""),
    "/messages/count_tokens": ("count", "anthropic_messages", ""),
    "/complete": ("call", "anthropic_complete", ""),
    "/api/chat": ("call", "ollama_chat", ""),
    "/api/generate": ("call", "ollama_chat", "generate"),
}

_GEMINI = re.compile(
    r"(?:/v1|/v1beta|/v1beta1)?(?:/projects/[^/]+/locations/[^/]+/publishers/google)?/models/(?P<model>.+):"
    r"(?P<verb>generateContent|streamGenerateContent|countTokens)"
)
_BEDROCK = re.compile(
    r"/model/(?P<model>.+)/"
    r"(?P<verb>invoke|invoke-with-response-stream|converse|converse-stream|count-tokens)"
)
_VERTEX = re.compile(
    r"(?:/v1|/v1beta1)?/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>.+):"
    r"(?P<verb>rawPredict|streamRawPredict)"
)

METHOD_NOT_ALLOWED = 405
UPGRADE_REQUIRED = 426


class _NotAllowed(ClientError):
    status = METHOD_NOT_ALLOWED


class _NoWebSocket(ClientError):
    """Codex asks for one, and goes on without when it gets this."""

    status = UPGRADE_REQUIRED


def nearest(path: str, fields: Fields) -> Face:
    """Return the dialect in whose words an error about `path` is told."""
    bare = path.removeprefix("/v1")
    if _GEMINI.fullmatch(path) or get(fields, b"x-goog-api-key") is not None:
        return FACES["gemini"]
    if path.startswith(("/model/", "/inference-profiles")):
        return INVOKE_FACE if "/invoke" in path else FACES["bedrock_converse"]
    if path.startswith("/api/"):
        return FACES["ollama_chat"]
    if bare.startswith("/complete") and not bare.startswith("/completions"):
        return FACES["anthropic_complete"]
    if bare.startswith("/messages") or get(fields, b"anthropic-version") is not None:
        return FACES["anthropic_messages"]
    return FACES["openai_responses" if bare.startswith("/responses") else "openai_chat"]


def errand(head: RequestHead) -> Errand:
    """Return what a request is for. A path without its `/v1` is as if it had it.

    Raises:
        NotFound: no such path; the message names it.
        ClientError: 405 for a method that the path does not take, 426 for a WebSocket.
    """
    path = head.path.decode("latin-1")
    bare = path.removeprefix("/v1") or "/"
    if found := _call(head, path, bare):
        _only(head, b"POST")
        return found
    near = nearest(path, head.fields)
    if head.method in (b"GET", b"HEAD"):
        local = "/models" if path in ("/api/tags", "/v1beta/models") else bare
        if local == "/models":
            return Errand("models", near)
        if local.startswith("/models/"):
            return Errand("model", near, name=unquote(local.removeprefix("/models/")))
        if path in ("/api/version", "/healthz", "/"):
            return Errand(_LOCAL[path], near)
    raise NotFound(f"there is nothing at {head.method.decode('latin-1')} {path[:200]}")


_LOCAL: dict[str, Literal["version", "health", "hello"]] = {
    "/api/version": "version", "/healthz": "health", "/": "hello",
}  # fmt: skip


def _call(head: RequestHead, path: str, bare: str) -> Errand | None:
    """Return the call that a path stands for; None where it stands for none."""
    key = path if path.startswith("/api/") else bare
    if known := _CALLS.get(key):
        what, name, variant = known
        if name == "openai_responses" and get(head.fields, b"upgrade") is not None:
            raise _NoWebSocket("there is no WebSocket here: send a POST")
        if name == "anthropic_complete":
            variant = (get(head.fields, b"anthropic-version") or b"").decode("latin-1")
            variant = variant if variant >= FIRST_INCREMENTAL else CUMULATIVE
        return Errand(what, FACES[name], Given(variant=variant))
    if match := _GEMINI.fullmatch(path):
        verb = match["verb"]
        streams = verb == "streamGenerateContent"
        array = streams and b"alt=sse" not in head.query.split(b"&")
        what = "count" if verb == "countTokens" else "call"
        face = GEMINI_ARRAY if array else FACES["gemini"]
        return Errand(what, face, Given(unquote(match["model"]), streams))
    if match := _VERTEX.fullmatch(path):
        given = Given(unquote(match["model"]), match["verb"] == "streamRawPredict")
        return Errand("call", VERTEX_FACE, given)
    if match := _BEDROCK.fullmatch(path):
        verb = match["verb"]
        given = Given(unquote(match["model"]), verb.endswith("-stream"))
        if verb.startswith("invoke"):
            return Errand("call", INVOKE_FACE, given)
        what = "count" if verb == "count-tokens" else "call"
        return Errand(what, FACES["bedrock_converse"], given)
    return None


def _only(head: RequestHead, method: bytes) -> None:
    if head.method != method:
        raise _NotAllowed(f"{head.path.decode('latin-1')[:200]} takes {method.decode()} only")


def error_answer(error: RawproxyError, face: Face) -> Answer:
    """Return an error of ours in the words of a dialect."""
    fail = client_fail(error)
    said = face.errors(fail)
    fields = [(b"content-type", b"application/json"), *said.fields]
    if fail.retry_after is not None:
        fields.append((b"retry-after", str(math.ceil(fail.retry_after)).encode()))
    return Answer(error.status, fields, said.body)


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
        case "version":
            return _json({"version": OLLAMA_VERSION})
        case "model":
            name = errand.name.removeprefix("models/")
            router.find(name)
            return _json(_model(errand, name, now))
        case _:
            models = [_model(errand, name, now) for name in router.names() if "*" not in name]
            return _json(_listed(errand.face.dialect.NAME, models))


def _listed(dialect: str, models: list[dict[str, object]]) -> dict[str, object]:
    match dialect:
        case "anthropic_messages":
            ids = [model["id"] for model in models] or [None]
            return {"data": models, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}
        case "gemini" | "ollama_chat":
            return {"models": models}
    return {"object": "list", "data": models}


def _model(errand: Errand, name: str, now: int) -> dict[str, object]:
    match errand.face.dialect.NAME:
        case "anthropic_messages":
            return {
                "type": "model", "id": name, "display_name": name,
                "created_at": "1970-01-01T00:00:00Z",
            }  # fmt: skip
        case "gemini":
            verbs = ["generateContent", "streamGenerateContent", "countTokens"]
            return {
                "name": f"models/{name}", "displayName": name, "supportedGenerationMethods": verbs,
            }  # fmt: skip
        case "ollama_chat":
            return {
                "name": name, "model": name, "modified_at": "1970-01-01T00:00:00Z", "size": 0,
                "digest": "", "details": {},
            }  # fmt: skip
    return {"id": name, "object": "model", "created": now, "owned_by": "rawproxy"}


def _json(value: object) -> Answer:
    return Answer(200, [(b"content-type", b"application/json")], encode(value))
