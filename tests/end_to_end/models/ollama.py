"""A fake of Ollama's API.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    MIDWAY,
    USAGE,
    Answer,
    answer,
    error_of,
    last_prompt,
    path_of,
    pieces,
    refuse,
    reply,
    stream,
)
from tests.net.fakes import Seen


def _line(generates: bool, text: str, **more: Any) -> dict[str, Any]:
    """One object. /api/generate has no message: what it says stands at the top."""
    said: dict[str, Any] = {"response": text} | more
    if not generates:
        said = {"message": {"role": "assistant", "content": text} | more}
    return {
        "model": "fake-ollama", "created_at": "2026-11-20T10:00:00.123456789Z", **said,
        "done": False,
    }  # fmt: skip


def _end(said: Answer) -> dict[str, Any]:
    """What the last object says; times are in nanoseconds."""
    total, _, output = USAGE
    return {
        "done": True, "done_reason": "length" if said.stop == "length" else "stop",
        "total_duration": 4_883_583_458, "load_duration": 1_334_875,
        "prompt_eval_count": total, "prompt_eval_duration": 342_546_000,
        "eval_count": output, "eval_duration": 4_535_599_000,
    }  # fmt: skip


def _calls(said: Answer) -> dict[str, Any]:
    calls = [
        {"function": {"name": name, "arguments": json.loads(written)}}
        for name, written in said.tools
    ]
    return {"tool_calls": calls} if calls else {}


def _frames(generates: bool, said: Answer) -> list[bytes]:
    lines = [_line(generates, "", thinking=one) for one in pieces(said.thinking)]
    lines += [_line(generates, one) for one in pieces(said.text)]
    lines += [_line(generates, "", tool_calls=[one]) for one in _calls(said).get("tool_calls", [])]
    lines.append(_line(generates, "") | _end(said))
    return [json.dumps(line).encode() + b"\n" for line in lines]


def _last_text(request: dict[str, Any]) -> tuple[str, bool]:
    if "prompt" in request:
        return last_prompt(request["prompt"]), True
    messages = request["messages"]
    words = [message["content"] for message in messages if message["role"] == "user"]
    return (words or [""])[-1], any(message["role"] == "tool" for message in messages)


async def ollama_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as /api/chat and /api/generate do: a stream unless it is asked not to."""
    request = json.loads(seen.body)
    generates = path_of(seen).endswith("/api/generate")
    word, second = _last_text(request)
    streamed = request.get("stream", True)
    if error := error_of(word, stream=streamed):
        await refuse(wire, error[0], {"error": error[1]})
        return
    said = answer(word, second=second)
    if streamed:
        failure = json.dumps({"error": MIDWAY[1]}).encode() + b"\n"
        await stream(wire, word, _frames(generates, said), failure, "application/x-ndjson")
        return
    more = ({"thinking": said.thinking} if said.thinking else {}) | _calls(said)
    await reply(wire, word, _line(generates, said.text, **more) | _end(said))
