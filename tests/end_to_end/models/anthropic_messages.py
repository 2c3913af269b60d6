"""A fake of Anthropic's Messages API; its hosts, Bedrock and Vertex, say the same in frames of theirs.

Source: https://platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    COUNTED,
    HALF,
    MIDWAY,
    REASONING,
    SIGNATURE,
    USAGE,
    error_of,
    path_of,
    pieces,
    refuse,
    sse,
)
from tests.end_to_end.models.last_text import last_text
from tests.net.fakes import Seen, streams, whole

Event = dict[str, Any]


def content_of(word: str, *, second: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the blocks that answer `word`, and the stop reason."""
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
    if word in ("stop:refusal", "stop:blocked"):
        return [text], "refusal"
    return [text], "end_turn"


def _usage(content: list[dict[str, Any]]) -> dict[str, Any]:
    total, cached, output = USAGE
    thought = any(block["type"] == "thinking" for block in content)
    return {
        "input_tokens": total - cached, "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0, "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": REASONING if thought else 0},
    }  # fmt: skip


def events_of(content: list[dict[str, Any]], stop_reason: str) -> list[Event]:
    """Return the events that stream `content`."""
    usage = _usage(content)
    first = {name: usage[name] for name in usage if name != "output_tokens_details"}
    message = _message([], None, first | {"output_tokens": 1})
    events: list[Event] = [{"type": "message_start", "message": message}, {"type": "ping"}]
    for index, block in enumerate(content):
        opened, deltas = _streamed(block)
        at = {"index": index}
        events.append({"type": "content_block_start"} | at | {"content_block": opened})
        events += [{"type": "content_block_delta"} | at | {"delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop"} | at)
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    last = {name: usage[name] for name in ("output_tokens", "output_tokens_details")}
    events.append({"type": "message_delta", "delta": delta, "usage": last})
    return [*events, {"type": "message_stop"}]


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it opens, and its deltas."""
    match block["type"]:
        case "text":
            texts = pieces(block["text"])
            return block | {"text": ""}, [{"type": "text_delta", "text": one} for one in texts]
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": one} for one in pieces(block["thinking"])
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return block | {"thinking": "", "signature": ""}, deltas
        case "tool_use":
            written = json.dumps(block["input"]) if block["input"] else ""
            return block | {"input": {}}, [
                {"type": "input_json_delta", "partial_json": one} for one in ["", *pieces(written)]
            ]
    return block, []


def _message(content: list[Any], stop_reason: str | None, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_fake", "type": "message", "role": "assistant", "model": "claude-fake",
        "content": content, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def message_of(word: str, *, second: bool) -> dict[str, Any]:
    """Return the whole message that answers `word`."""
    content, stop_reason = content_of(word, second=second)
    return _message(content, stop_reason, _usage(content))


def error_body(message: str, kind: str) -> dict[str, Any]:
    """Return an error, as a body or as an event."""
    return {"type": "error", "error": {"type": kind, "message": message}}


def streamed_body(word: str, *, second: bool) -> bytes:
    """Return a stream in server-sent events; it breaks off or fails within its first block."""
    frames = [sse(event, event["type"]) for event in events_of(*content_of(word, second=second))]
    ends = next(at for at, frame in enumerate(frames) if b"event: content_block_stop" in frame)
    if word == "break":
        frames = frames[:ends]
    elif word == "fail-in-stream":
        _, message, kind, _ = MIDWAY
        frames = [*frames[:ends], sse(error_body(message, kind), "error")]
    return b"".join(frames)


async def speak(
    seen: Seen, wire: trio.SocketStream, word: str, *, second: bool, stream: bool
) -> None:
    """Answer `word`."""
    if error := error_of(word, stream=stream):
        status, message, kind, _ = error
        await refuse(wire, status, error_body(message, kind))
    elif stream:
        await streams(streamed_body(word, second=second), piece=41)(seen, wire)
    else:
        written = json.dumps(message_of(word, second=second)).encode()
        await wire.send_all(whole(200, HALF if word == "break" else written))


async def messages_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Messages does."""
    request = json.loads(seen.body)
    word, second = last_text(request["messages"])
    if path_of(seen).endswith("/count_tokens"):
        await wire.send_all(whole(200, json.dumps({"input_tokens": COUNTED}).encode()))
        return
    await speak(seen, wire, word, second=second, stream=bool(request.get("stream")))
