"""A fake of OpenAI's Responses API.

Source: https://platform.openai.com/docs/api-reference/responses and .../responses-streaming
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    COUNTED,
    MIDWAY,
    REASONING,
    RESPONSES_SIGNATURE,
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


def _items(said: Answer, sealed: bool) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if said.thinking:
        summary = {"type": "summary_text", "text": said.thinking}
        item = {"id": "rs_fake", "type": "reasoning", "summary": [summary]}
        items.append(item | ({"encrypted_content": RESPONSES_SIGNATURE} if sealed else {}))
    part: dict[str, Any] = {
        "type": "output_text", "text": said.text, "annotations": [], "logprobs": [],
    }  # fmt: skip
    if said.stop == "refusal":
        part = {"type": "refusal", "refusal": said.text}
    cut = "incomplete" if said.stop in ("length", "filter") else "completed"
    items.append(
        {"id": "msg_fake", "type": "message", "status": cut, "role": "assistant", "content": [part]}
    )
    items += [
        {
            "id": f"fc_{name}", "type": "function_call", "status": "completed", "name": name,
            "call_id": f"call_{name}", "arguments": written,
        }
        for name, written in said.tools
    ]  # fmt: skip
    return items


def _usage(said: Answer) -> dict[str, Any]:
    total, cached, output = USAGE
    return {
        "input_tokens": total,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": REASONING if said.thinking else 0},
        "total_tokens": total + output,
    }


def _response(status: str, output: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_fake", "object": "response", "created_at": 1_760_000_000, "status": status,
        "background": False, "error": None, "incomplete_details": None, "instructions": None,
        "max_output_tokens": None, "model": "fake-responses", "output": output,
        "parallel_tool_calls": True, "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None}, "service_tier": "default", "store": False,
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
        "tools": [], "top_p": 1.0, "truncation": "disabled", "usage": None, "metadata": {},
    } | more  # fmt: skip


def _last(said: Answer, items: list[dict[str, Any]]) -> dict[str, Any]:
    """The response when it is over."""
    reason = {"length": "max_output_tokens", "filter": "content_filter"}.get(said.stop)
    if reason:
        details = {"reason": reason}
        return _response("incomplete", items, usage=_usage(said), incomplete_details=details)
    return _response("completed", items, usage=_usage(said))


class _Stream:
    """Writes the events of one stream, numbered."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def say(self, kind: str, **data: Any) -> None:
        name = f"response.{kind}"
        self.frames.append(sse({"type": name, "sequence_number": len(self.frames)} | data, name))

    def text(self, at: int, item: dict[str, Any]) -> None:
        """A message of one part."""
        [part] = item["content"]
        kind, field = part["type"], "refusal" if part["type"] == "refusal" else "text"
        blank: dict[str, Any] = part | {field: ""}
        place = {"item_id": item["id"], "output_index": at, "content_index": 0}
        logprobs: dict[str, Any] = {} if kind == "refusal" else {"logprobs": []}
        opened = item | {"content": [], "status": "in_progress"}
        self.say("output_item.added", output_index=at, item=opened)
        self.say("content_part.added", **place, part=blank)
        for piece in pieces(part[field]):
            self.say(f"{kind}.delta", **place, **logprobs, delta=piece)
        self.say(f"{kind}.done", **place, **logprobs, **{field: part[field]})
        self.say("content_part.done", **place, part=part)
        self.say("output_item.done", output_index=at, item=item)

    def reasoning(self, at: int, item: dict[str, Any]) -> None:
        """A reasoning item. What it is sealed with at first is not what it is sealed with at last."""
        [part] = item["summary"]
        place = {"item_id": item["id"], "output_index": at, "summary_index": 0}
        opened = item | {"summary": []}
        if "encrypted_content" in opened:
            opened["encrypted_content"] = "gAAAAABnot-yet"
        self.say("output_item.added", output_index=at, item=opened)
        self.say("reasoning_summary_part.added", **place, part=part | {"text": ""})
        for piece in pieces(part["text"]):
            self.say("reasoning_summary_text.delta", **place, delta=piece)
        self.say("reasoning_summary_text.done", **place, text=part["text"])
        self.say("reasoning_summary_part.done", **place, part=part)
        self.say("output_item.done", output_index=at, item=item)

    def tools(self, first: int, items: list[dict[str, Any]]) -> None:
        """Parallel calls, which come interleaved."""
        for at, item in enumerate(items, first):
            opened = item | {"arguments": "", "status": "in_progress"}
            self.say("output_item.added", output_index=at, item=opened)
        written = [pieces(item["arguments"]) for item in items]
        for turn in range(max(map(len, written), default=0)):
            for at, item in enumerate(items, first):
                for piece in written[at - first][turn : turn + 1]:
                    place = {"item_id": item["id"], "output_index": at}
                    self.say("function_call_arguments.delta", **place, delta=piece)
        for at, item in enumerate(items, first):
            place = {"item_id": item["id"], "output_index": at}
            whole = {"arguments": item["arguments"], "name": item["name"]}
            self.say("function_call_arguments.done", **place, **whole)
            self.say("output_item.done", output_index=at, item=item)


def _frames(said: Answer, items: list[dict[str, Any]]) -> list[bytes]:
    out = _Stream()
    out.say("created", response=_response("in_progress", []))
    out.say("in_progress", response=_response("in_progress", []))
    calls = [item for item in items if item["type"] == "function_call"]
    others = [item for item in items if item not in calls]
    for at, item in enumerate(others):
        (out.reasoning if item["type"] == "reasoning" else out.text)(at, item)
    out.tools(len(others), calls)
    last = _last(said, items)
    out.say(last["status"], response=last)
    return out.frames


def _failure() -> bytes:
    _, message, _, code = MIDWAY
    told = {"type": "error", "code": code, "message": message, "param": None, "sequence_number": 90}
    error = {"code": code, "message": message}
    failed = {
        "type": "response.failed", "sequence_number": 91,
        "response": _response("failed", [], error=error),
    }  # fmt: skip
    return sse(told, "error") + sse(failed, "response.failed")


def _last_text(given: Any) -> tuple[str, bool]:
    if isinstance(given, str):
        return given, False
    word = ""
    for item in given:
        if item.get("role") != "user":
            continue
        parts = item["content"]
        parts = [{"type": "input_text", "text": parts}] if isinstance(parts, str) else parts
        texts = [part["text"] for part in parts if part["type"] == "input_text"]
        word = texts[-1] if texts else word
    return word, any(item.get("type") == "function_call_output" for item in given)


async def responses_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Responses does."""
    request = json.loads(seen.body)
    if path_of(seen).endswith("/input_tokens"):
        await reply(wire, "", {"object": "response.input_tokens", "input_tokens": COUNTED})
        return
    word, second = _last_text(request["input"])
    streamed = bool(request.get("stream"))
    if error := error_of(word, stream=streamed):
        status, message, _, kind = error
        body = {"message": message, "type": kind, "param": None, "code": kind}
        await refuse(wire, status, {"error": body})
        return
    said = answer(word, second=second)
    items = _items(said, "reasoning.encrypted_content" in (request.get("include") or ()))
    if streamed:
        await stream(wire, word, _frames(said, items), _failure())
    else:
        await reply(wire, word, _last(said, items))
