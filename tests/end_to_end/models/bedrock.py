"""A fake of Amazon's Bedrock runtime: Converse, and Claude's Messages at InvokeModel.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html,
.../API_runtime_InvokeModelWithResponseStream.html, .../API_runtime_CountTokens.html; the frames:
https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import base64
import json
import struct
import zlib
from typing import Any

import trio

from tests.end_to_end.models.anthropic_messages import content_of, events_of, message_of
from tests.end_to_end.models.common import (
    COUNTED,
    MIDWAY,
    SIGNATURE,
    USAGE,
    Answer,
    answer,
    error_of,
    path_of,
    pieces,
    refuse,
    reply,
    stream,
)
from tests.end_to_end.models.last_text import last_text
from tests.net.fakes import Seen

EVENTSTREAM = "application/vnd.amazon.eventstream"
_STRING = 7
"""The type of a header whose value is a string."""
_EXCEPTIONS = {
    429: "ThrottlingException",
    500: "InternalServerException",
    400: "ValidationException",
}
_STOPS = {
    "end": "end_turn", "length": "max_tokens", "filter": "content_filtered",
    "refusal": "guardrail_intervened", "tools": "tool_use",
}  # fmt: skip


def message(payload: Any, **headers: str) -> bytes:
    """Return one frame: lengths, their sum, headers, JSON, the sum of it all."""
    packed = b""
    for name, value in ({"content_type": "application/json"} | headers).items():
        key, text = f":{name.replace('_', '-')}".encode(), value.encode()
        packed += struct.pack("!B", len(key)) + key
        packed += struct.pack("!BH", _STRING, len(text)) + text
    body = json.dumps(payload).encode()
    start = struct.pack("!II", len(packed) + len(body) + 16, len(packed))
    start += struct.pack("!I", zlib.crc32(start))
    rest = start + packed + body
    return rest + struct.pack("!I", zlib.crc32(rest))


def _event(name: str, payload: Any) -> bytes:
    return message(payload, event_type=name, message_type="event")


def _failure() -> bytes:
    """The exception of a stream that fails."""
    told = {"message": MIDWAY[1], "originalStatusCode": 500, "originalMessage": MIDWAY[1]}
    return message(told, exception_type="modelStreamErrorException", message_type="exception")


def _usage() -> dict[str, int]:
    total, cached, output = USAGE
    return {
        "inputTokens": total - cached, "outputTokens": output, "totalTokens": total + output,
        "cacheReadInputTokens": cached, "cacheWriteInputTokens": 0,
    }  # fmt: skip


def _redacted() -> str:
    return base64.b64encode(SIGNATURE[::-1].encode()).decode()


def _content(said: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thinking:
        text = {"text": said.thinking, "signature": SIGNATURE}
        blocks.append({"reasoningContent": {"reasoningText": text}})
        blocks.append({"reasoningContent": {"redactedContent": _redacted()}})
    blocks.append({"text": said.text})
    blocks += [
        {"toolUse": {"toolUseId": f"tooluse_{name}", "name": name, "input": json.loads(written)}}
        for name, written in said.tools
    ]
    return blocks


def _converse_frames(said: Answer) -> list[bytes]:
    """A stream of Converse. Blocks of text and of reasoning have no start."""
    frames = [_event("messageStart", {"role": "assistant", "p": "abc"})]
    for at, block in enumerate(_content(said)):
        place = {"contentBlockIndex": at}
        deltas: list[dict[str, Any]] = []
        if call := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
            frames.append(_event("contentBlockStart", {"start": start, **place}))
            written = json.dumps(call["input"]) if call["input"] else ""
            deltas = [{"toolUse": {"input": one}} for one in pieces(written)]
        elif thought := block.get("reasoningContent"):
            parts = [{"redactedContent": thought.get("redactedContent")}]
            if text := thought.get("reasoningText"):
                parts = [{"text": one} for one in pieces(text["text"])]
                parts.append({"signature": text["signature"]})
            deltas = [{"reasoningContent": part} for part in parts]
        else:
            deltas = [{"text": one} for one in pieces(block["text"])]
        frames += [_event("contentBlockDelta", {"delta": one, **place}) for one in deltas]
        frames.append(_event("contentBlockStop", place))
    frames.append(_event("messageStop", {"stopReason": _STOPS[said.stop]}))
    # The usage comes after the stop.
    return [*frames, _event("metadata", {"usage": _usage(), "metrics": {"latencyMs": 321}})]


def _invoke_frames(word: str, second: bool) -> list[bytes]:
    """Events of Messages in chunks; the last one tells Amazon's own measures too."""
    events = events_of(*content_of(word, second=second))
    events[-1]["amazon-bedrock-invocationMetrics"] = {
        "inputTokenCount": USAGE[0] - USAGE[1], "outputTokenCount": USAGE[2],
        "invocationLatency": 321, "firstByteLatency": 123, "cacheReadInputTokenCount": USAGE[1],
    }  # fmt: skip
    return [
        _event(
            "chunk",
            {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcdefgh"},
        )
        for event in events
    ]


def _last_text(messages: list[Any]) -> tuple[str, bool]:
    word, second = "", False
    for one in messages:
        if one["role"] != "user":
            continue
        texts = [block["text"] for block in one["content"] if "text" in block]
        word = texts[-1] if texts else word
        second = second or any("toolResult" in block for block in one["content"])
    return word, second


async def bedrock_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Bedrock's runtime does, at its five paths."""
    request = json.loads(seen.body)
    verb = path_of(seen).rpartition("/")[2]
    if verb == "count-tokens":
        await reply(wire, "", {"inputTokens": COUNTED})
        return
    invokes = verb.startswith("invoke")
    if invokes and ("model" in request or "stream" in request):
        await _refuse(wire, 400, "model: Extra inputs are not permitted")
        return
    word, second = (last_text if invokes else _last_text)(request["messages"])
    streamed = verb in ("converse-stream", "invoke-with-response-stream")
    if error := error_of(word, stream=streamed):
        await _refuse(wire, error[0], error[1])
        return
    if streamed:
        said = answer(word, second=second)
        frames = _invoke_frames(word, second) if invokes else _converse_frames(said)
        await stream(wire, word, frames, _failure(), EVENTSTREAM)
        return
    await reply(wire, word, message_of(word, second=second) if invokes else _whole(word, second))


def _whole(word: str, second: bool) -> dict[str, Any]:
    said = answer(word, second=second)
    return {
        "output": {"message": {"role": "assistant", "content": _content(said)}},
        "stopReason": _STOPS[said.stop], "usage": _usage(), "metrics": {"latencyMs": 321},
    }  # fmt: skip


async def _refuse(wire: trio.SocketStream, status: int, told: str) -> None:
    name = _EXCEPTIONS[status]
    await refuse(wire, status, {"message": told}, f"x-amzn-ErrorType: {name}")
