"""A fake of Anthropic's legacy Text Completions API, in both of its versions.

Source: https://docs.anthropic.com/en/api/complete, .../versioning and .../streaming (legacy)

2023-06-01 streams what is new, in events with names; 2023-01-01 (or no version at all) streams all
that was said so far, without names, and ends with [DONE].
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    MIDWAY,
    answer,
    error_of,
    last_prompt,
    pieces,
    refuse,
    reply,
    sse,
    stream,
)
from tests.net.fakes import Seen

OLD, NEW = b"2023-01-01", b"2023-06-01"


def _whole(version: bytes, text: str, reason: str | None) -> dict[str, Any]:
    """One object: a whole reply, or one frame of a stream."""
    stop = "\n\nHuman:" if reason == "stop_sequence" else None
    found = {
        "completion": text, "stop_reason": reason, "model": "claude-fake-1", "stop": stop,
        "log_id": "compl_fake",
    }  # fmt: skip
    if version == OLD:
        return found | {"truncated": False, "exception": None}
    return found | {"type": "completion", "id": "compl_fake"}


def _frames(version: bytes, text: str, reason: str) -> list[bytes]:
    if version != OLD:
        deltas = [sse(_whole(version, one, None), "completion") for one in pieces(text)]
        return [
            *deltas[:1], sse({"type": "ping"}, "ping"), *deltas[1:],
            sse(_whole(version, "", reason), "completion"),
        ]  # fmt: skip
    said = [text[: at + 4] for at in range(0, len(text), 4)]
    frames = [sse(_whole(version, one, None)) for one in said]
    last = [sse(_whole(version, text, reason)), b"data: [DONE]\n\n"]
    return [sse({}, "ping"), *frames, *last]


def _failure(version: bytes) -> bytes:
    _, message, kind, _ = MIDWAY
    if version == OLD:
        return sse(_whole(version, "Hello", None) | {"exception": message})
    return sse({"type": "error", "error": {"type": kind, "message": message}}, "error")


async def complete_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Text Completions does: one text for one prompt, and no usage."""
    request = json.loads(seen.body)
    version = seen.get(b"anthropic-version") or OLD
    word = last_prompt(request["prompt"])
    streamed = bool(request.get("stream"))
    if error := error_of(word, stream=streamed):
        status, message, kind, _ = error
        body = {"type": "error", "error": {"type": kind, "message": message}}
        await refuse(wire, status, body)
        return
    said = answer(word, second=True)
    reason = "max_tokens" if said.stop == "length" else "stop_sequence"
    text = " " + said.text  # completions begin with the space that the prompt must not end with
    if streamed:
        await stream(wire, word, _frames(version, text, reason), _failure(version))
    else:
        await reply(wire, word, _whole(version, text, reason))
