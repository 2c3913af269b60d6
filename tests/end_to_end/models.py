"""Fake models behind real sockets, one for each dialect, written by hand from the vendors' pages.

What they answer depends on the last user text: "say hello", "weather ...", "think", "stop:...", ...
"""

import json
from typing import Any

import trio

from tests.net.fakes import Script, Seen, plays, streams, whole

SIGNATURE = "EqQBCgIYAhIkY2FuYXJ5LXNpZ25hdHVyZS0wMTIzNDU2Nzg5YWJjZGVmKysvLz09"
CHAT_SIGNATURE = "sig+/=chat-0123456789"
USAGE = (120, 20, 34)
"""Input tokens, those of them that were cached, output tokens."""

ERRORS = {
    "error:429": (429, "slow down", "rate_limit_error", "rate_limit_exceeded"),
    "error:500": (500, "it crashed", "api_error", "server_error"),
    "error:400": (400, "no such thing", "invalid_request_error", "invalid_request_error"),
}
HEAD_TYPE = "application/json"


def _chat_reply(word: str, second: bool) -> dict[str, Any]:
    """The message of a chat completion, and its finish reason."""
    message: dict[str, Any] = {"role": "assistant", "content": "Hello there!"}
    finish = "stop"
    if word.startswith("weather") and not second:
        finish = "tool_calls"
        message = {"role": "assistant", "content": None, "tool_calls": [
            _chat_tool("call_w1", "weather", '{"city": "Oslo", "exact": 1.50}'),
            _chat_tool("call_c2", "clock", "{}"),
        ]}  # fmt: skip
    elif word == "think":
        detail = {"type": "reasoning.text", "text": "Let me see.", "signature": CHAT_SIGNATURE}
        message |= {"reasoning_content": "Let me see.", "reasoning_details": [detail]}
    elif word == "stop:length":
        finish = "length"
    elif word == "stop:filter":
        finish = "content_filter"
    return {"message": message, "finish_reason": finish, "index": 0, "logprobs": None}


def _chat_tool(tool_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": tool_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_usage() -> dict[str, Any]:
    total, cached, output = USAGE
    return {
        "prompt_tokens": total, "completion_tokens": output, "total_tokens": total + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip


def _chat_chunks(choice: dict[str, Any]) -> bytes:
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
        _chat_chunk([{"index": 0, "delta": delta, "finish_reason": None}]) for delta in deltas
    )
    body += _chat_chunk([{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}])
    return body + _chat_chunk([], usage=_chat_usage()) + b"data: [DONE]\n\n"


def _chat_chunk(choices: list[Any], **more: Any) -> bytes:
    chunk = {
        "id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": 1_760_000_000,
        "model": "fake-chat", "choices": choices, "usage": None,
    } | more  # fmt: skip
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


async def chat_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Chat Completions does."""
    request = json.loads(seen.body)
    word, second = last_text(request["messages"])
    if word in ERRORS:
        status, message, _, kind = ERRORS[word]
        error = {"message": message, "type": kind, "param": None, "code": kind}
        await wire.send_all(whole(status, json.dumps({"error": error}).encode()))
        return
    choice = _chat_reply(word, second)
    if word == "break":
        await _broken(
            seen, wire, bool(request.get("stream")), _chat_chunks(choice), b'"finish_reason": "'
        )
        return
    if request.get("stream"):
        await streams(_chat_chunks(choice), piece=37)(seen, wire)
        return
    reply = {
        "id": "chatcmpl-fake", "object": "chat.completion", "created": 1_760_000_000,
        "model": "fake-chat", "choices": [choice], "usage": _chat_usage(),
    }  # fmt: skip
    await wire.send_all(whole(200, json.dumps(reply).encode()))


def _messages_reply(word: str, second: bool) -> tuple[list[dict[str, Any]], str]:
    text = {"type": "text", "text": "Hello there!"}
    if word.startswith("weather") and not second:
        return [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_w1", "name": "weather", "input": {"city": "Oslo", "exact": 1.5}},
            {"type": "tool_use", "id": "toolu_c2", "name": "clock", "input": {}},
        ], "tool_use"  # fmt: skip
    if word == "think":
        thinking = {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}
        return [thinking, {"type": "redacted_thinking", "data": SIGNATURE[::-1]}, text], "end_turn"
    if word == "stop:length":
        return [text], "max_tokens"
    if word == "stop:refusal":
        return [text], "refusal"
    return [text], "end_turn"


def _messages_usage() -> dict[str, int]:
    total, cached, output = USAGE
    return {
        "input_tokens": total - cached, "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0, "output_tokens": output,
    }  # fmt: skip


def _named(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name} | data)}\n\n".encode()


def _messages_events(content: list[dict[str, Any]], stop_reason: str) -> bytes:
    message = _message([], None, _messages_usage() | {"output_tokens": 1})
    body = _named("message_start", message=message) + _named("ping")
    for index, block in enumerate(content):
        pieces: list[dict[str, Any]] = []
        opened = dict(block)
        match block["type"]:
            case "text":
                opened["text"] = ""
                pieces = [{"type": "text_delta", "text": one} for one in _pieces(block["text"])]
            case "thinking":
                opened |= {"thinking": "", "signature": ""}
                pieces = [
                    {"type": "thinking_delta", "thinking": one}
                    for one in _pieces(block["thinking"])
                ]
                pieces.append({"type": "signature_delta", "signature": block["signature"]})
            case "tool_use":
                opened["input"] = {}
                written = json.dumps(block["input"]) if block["input"] else ""
                pieces = [
                    {"type": "input_json_delta", "partial_json": one}
                    for one in ["", *_pieces(written)]
                ]
        body += _named("content_block_start", index=index, content_block=opened)
        body += b"".join(
            _named("content_block_delta", index=index, delta=piece) for piece in pieces
        )
        body += _named("content_block_stop", index=index)
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    body += _named("message_delta", delta=delta, usage={"output_tokens": USAGE[2]})
    return body + _named("message_stop")


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def _message(content: list[Any], stop_reason: str | None, usage: dict[str, int]) -> dict[str, Any]:
    return {
        "id": "msg_fake", "type": "message", "role": "assistant", "model": "claude-fake",
        "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


async def messages_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Messages does."""
    request = json.loads(seen.body)
    word, second = last_text(request["messages"])
    if seen.target.endswith(b"/count_tokens"):
        await wire.send_all(whole(200, b'{"input_tokens": 77}'))
        return
    if word in ERRORS:
        status, message, kind, _ = ERRORS[word]
        body = {"type": "error", "error": {"type": kind, "message": message}}
        await wire.send_all(whole(status, json.dumps(body).encode()))
        return
    content, stop_reason = _messages_reply(word, second)
    if word == "break":
        events = _messages_events(content, stop_reason)
        await _broken(seen, wire, bool(request.get("stream")), events, b"event: content_block_stop")
        return
    if request.get("stream"):
        await streams(_messages_events(content, stop_reason), piece=41)(seen, wire)
        return
    reply = _message(content, stop_reason, _messages_usage())
    await wire.send_all(whole(200, json.dumps(reply).encode()))


async def _broken(
    seen: Seen, wire: trio.SocketStream, stream: bool, body: bytes, before: bytes
) -> None:
    """A reply that ends before its Stop, with a clean end of the body."""
    if stream:
        await streams(body[: body.index(before)])(seen, wire)
    else:
        await plays(whole(200, b'{"id": "half a bo'))(seen, wire)


def last_text(messages: list[Any]) -> tuple[str, bool]:
    """The last text a user said, and whether tool results follow the first turn."""
    results = any(message["role"] == "tool" for message in messages)
    word = ""
    for message in messages:
        if message["role"] != "user":
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        results = results or any(part["type"] == "tool_result" for part in parts)
        texts = [part["text"] for part in parts if part["type"] == "text"]
        word = texts[-1] if texts else word
    return word, results


MODELS: dict[str, Script] = {"openai_chat": chat_model, "anthropic_messages": messages_model}
