"""A fake of OpenAI's Chat Completions, and of what compatible servers add for reasoning.

Source: https://platform.openai.com/docs/api-reference/chat
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    CHAT_SIGNATURE,
    MIDWAY,
    REASONING,
    USAGE,
    error_of,
    refuse,
    reply,
    sse,
)
from tests.end_to_end.models.last_text import last_text
from tests.net.fakes import Seen, streams


def _reply(word: str, second: bool) -> dict[str, Any]:
    """The message of a chat completion, and its finish reason."""
    message: dict[str, Any] = {"role": "assistant", "content": "Hello there!"}
    finish = "stop"
    if word.startswith("weather") and not second:
        finish = "tool_calls"
        message = {"role": "assistant", "content": None, "tool_calls": [
            _tool("call_w1", "weather", '{"city": "Oslo", "exact": 1.50}'),
            _tool("call_c2", "clock", "{}"),
        ]}  # fmt: skip
    elif word == "think":
        detail = {"type": "reasoning.text", "text": "Let me see.", "signature": CHAT_SIGNATURE}
        message |= {"reasoning_content": "Let me see.", "reasoning_details": [detail]}
    elif word == "stop:length":
        finish = "length"
    elif word in ("stop:filter", "stop:blocked"):
        finish = "content_filter"
    return {"message": message, "finish_reason": finish, "index": 0, "logprobs": None}


def _tool(tool_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(choice: dict[str, Any]) -> dict[str, Any]:
    total, cached, output = USAGE
    thought = "reasoning_content" in choice["message"]
    return {
        "prompt_tokens": total, "completion_tokens": output, "total_tokens": total + output,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": REASONING if thought else 0},
    }  # fmt: skip


def _chunks(choice: dict[str, Any]) -> bytes:
    message = choice["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for detail in message.get("reasoning_details", []):
        for piece in ("Let me ", "see."):
            part = {"index": 0, "type": "reasoning.text", "text": piece}
            deltas.append({"reasoning_content": piece, "reasoning_details": [part]})
        last = {"index": 0, "type": "reasoning.text", "signature": detail["signature"]}
        deltas.append({"reasoning_details": [last]})
    text = message["content"] or ""
    deltas += [{"content": text[at : at + 4]} for at in range(0, len(text), 4)]
    calls = message.get("tool_calls", [])
    for index, call in enumerate(calls):
        opener = {"name": call["function"]["name"], "arguments": ""}
        deltas.append(
            {
                "tool_calls": [
                    {"index": index, "id": call["id"], "type": "function", "function": opener}
                ]
            }
        )
    # Parallel calls whose arguments come interleaved, as some servers send them.
    longest = max((len(call["function"]["arguments"]) for call in calls), default=0)
    for at in range(0, longest, 5):
        for index, call in enumerate(calls):
            if piece := call["function"]["arguments"][at : at + 5]:
                deltas.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    body = b"".join(
        _chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas
    )
    body += _chunk([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    return body + _chunk([], usage=_usage(choice)) + b"data: [DONE]\n\n"


def _chunk(choices: list[Any], **more: Any) -> bytes:
    return sse({
        "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_760_000_000,
        "model": "fake-chat", "choices": choices, "usage": None,
    } | more)  # fmt: skip


def _streamed(word: str, choice: dict[str, Any]) -> bytes:
    """The body of a stream; one that breaks off does so in the middle of a frame."""
    body = _chunks(choice)
    if word == "break":
        return body[: body.index(b'"finish_reason": "')]
    if word == "fail-in-stream":
        _, message, _, kind = MIDWAY
        error = {"message": message, "type": kind, "param": None, "code": None}
        stop = body.index(b'"finish_reason": "')
        return body[: body.rindex(b"\n\n", 0, stop) + 2] + sse({"error": error})
    return body


async def chat_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Chat Completions does."""
    request = json.loads(seen.body)
    word, second = last_text(request["messages"])
    streamed = bool(request.get("stream"))
    if error := error_of(word, stream=streamed):
        status, message, _, kind = error
        body = {"message": message, "type": kind, "param": None, "code": kind}
        await refuse(wire, status, {"error": body})
        return
    choice = _reply(word, second)
    if streamed:
        await streams(_streamed(word, choice), piece=0 if word == "break" else 37)(seen, wire)
        return
    await reply(wire, word, {
        "id": "chatcmpl-fake", "object": "chat.completion", "created": 1_760_000_000,
        "model": "fake-chat", "choices": [choice], "usage": _usage(choice),
    })  # fmt: skip
