"""A fake of Gemini's generateContent.

Source: https://ai.google.dev/api/generate-content and .../docs/thought-signatures
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    COUNTED,
    GEMINI_SIGNATURE,
    JSON,
    MIDWAY,
    REASONING,
    USAGE,
    Answer,
    answer,
    error_of,
    path_of,
    pieces,
    refuse,
    reply,
    sse,
    stream,
)
from tests.net.fakes import Seen

_FINISH = {"length": "MAX_TOKENS", "filter": "SAFETY", "refusal": "PROHIBITED_CONTENT"}
_STATUS = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 400: "INVALID_ARGUMENT"}


def _calls(said: Answer, ids: bool) -> list[dict[str, Any]]:
    """The calls, of which the first carries the signature. Only Gemini 3 gives them ids."""
    parts: list[dict[str, Any]] = []
    for name, written in said.tools:
        call: dict[str, Any] = {"name": name, "args": json.loads(written)}
        part: dict[str, Any] = {"functionCall": call | ({"id": f"fc-{name}"} if ids else {})}
        parts.append(part if parts else part | {"thoughtSignature": GEMINI_SIGNATURE})
    return parts


def _usage(said: Answer) -> dict[str, Any]:
    total, cached, output = USAGE
    thoughts = REASONING if said.thinking else 0
    counts = {
        "promptTokenCount": total, "cachedContentTokenCount": cached,
        "candidatesTokenCount": output - thoughts, "totalTokenCount": total + output,
    }  # fmt: skip
    return counts | ({"thoughtsTokenCount": thoughts} if thoughts else {})


def _chunk(parts: list[dict[str, Any]], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    found = {"candidates": [candidate], "modelVersion": "gemini-fake", "responseId": "resp-fake"}
    return found | more


def _whole(said: Answer, ids: bool) -> dict[str, Any]:
    text: dict[str, Any] = {"text": said.text}
    parts = [text, *_calls(said, ids)]
    if said.thinking:
        text["thoughtSignature"] = GEMINI_SIGNATURE
        parts.insert(0, {"text": said.thinking, "thought": True})
    return _chunk(parts, _FINISH.get(said.stop, "STOP"), usageMetadata=_usage(said))


def _chunks(said: Answer, ids: bool) -> list[dict[str, Any]]:
    """A stream's documents. The signature of a text comes last, on a part without text."""
    parts = [{"text": one, "thought": True} for one in pieces(said.thinking)]
    parts += [{"text": one} for one in pieces(said.text)]
    last: list[dict[str, Any]] = [{"text": ""}]
    if said.thinking:
        last = [{"text": "", "thoughtSignature": GEMINI_SIGNATURE}]
    if said.tools:
        last = _calls(said, ids)
    finish = _FINISH.get(said.stop, "STOP")
    return [
        *(_chunk([part]) for part in parts),
        _chunk(last, finish, usageMetadata=_usage(said)),
    ]


def _last_text(contents: list[Any]) -> tuple[str, bool]:
    word, second = "", False
    for content in contents:
        if content.get("role", "user") != "user":
            continue
        texts = [part["text"] for part in content["parts"] if "text" in part]
        word = texts[-1] if texts else word
        second = second or any("functionResponse" in part for part in content["parts"])
    return word, second


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": _STATUS[status]}}


async def gemini_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as generateContent, streamGenerateContent (SSE, or a JSON array) and countTokens do."""
    request = json.loads(seen.body)
    path = path_of(seen)
    if path.endswith(":countTokens"):
        await reply(wire, "", {"totalTokens": COUNTED})
        return
    word, second = _last_text(request["contents"])
    streamed = path.endswith(":streamGenerateContent")
    if error := error_of(word, stream=streamed):
        status, message, _, _ = error
        await refuse(wire, status, _error(status, message))
        return
    said = answer(word, second=second)
    ids = "gemini-3" in path
    failure = _error(*MIDWAY[:2])
    if not streamed:
        await reply(wire, word, _whole(said, ids))
    elif b"alt=sse" in seen.target:
        frames = [sse(one, end="\r\n") for one in _chunks(said, ids)]
        await stream(wire, word, frames, sse(failure, end="\r\n"))
    else:
        documents = [json.dumps(one, indent=2).encode() for one in _chunks(said, ids)]
        array = [b"[" + documents[0], *(b"\n,\n" + one for one in documents[1:]), b"\n]\n"]
        broken = b"\n,\n" + json.dumps(failure, indent=2).encode() + b"\n]\n"
        await stream(wire, word, array, broken, JSON)
