"""What every fake model says, whatever API it says it in, and how its bytes go out."""

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

import trio

from tests.net.fakes import LAST_CHUNK, Seen, chunk, head, whole

USAGE = (120, 20, 34)
"""Input tokens, those of them that were cached, output tokens."""
REASONING = 14
"""Output tokens that went into thinking, where something was thought."""
COUNTED = 77
"""What a request to count tokens is answered with."""

SIGNATURE = "EqQBCgIYAhIkY2FuYXJ5LXNpZ25hdHVyZS0wMTIzNDU2Nzg5YWJjZGVmKysvLz09"
CHAT_SIGNATURE = "sig+/=chat-0123456789"
RESPONSES_SIGNATURE = "gAAAAABfake+encrypted/reasoning-0123456789=="
GEMINI_SIGNATURE = base64.b64encode(bytes(range(200, 256))).decode()
"""Standard base64 with `+` and `/` in it, as the API writes it."""

ERRORS = {
    "error:429": (429, "slow down", "rate_limit_error", "rate_limit_exceeded"),
    "error:500": (500, "it crashed", "api_error", "server_error"),
    "error:400": (400, "no such thing", "invalid_request_error", "invalid_request_error"),
}
"""Word -> status, message, kind as Anthropic names it, kind as OpenAI names it."""
BREAK, FAIL = "break", "fail-in-stream"
MIDWAY = (500, "it broke midway", "api_error", "server_error")
"""The error of `fail-in-stream`: inside a stream after some output, or the whole of a blocking reply."""
HALF = b'{"id": "half a bo'

TOOLS = (
    ("weather", '{"city": "Oslo", "exact": 1.50}'),
    ("clock", "{}"),
)
SSE, JSON = "text/event-stream", "application/json"


@dataclass(frozen=True)
class Answer:
    """What is answered. `tools`: names, and arguments as JSON text."""

    text: str = "Hello there!"
    thinking: str = ""
    tools: tuple[tuple[str, str], ...] = ()
    stop: Literal["end", "length", "filter", "refusal", "tools"] = "end"


def answer(word: str, *, second: bool = False) -> Answer:
    """Return the answer to `word`; `second`: results of tools have come."""
    if word.startswith("weather") and not second:
        return Answer("I look.", tools=TOOLS, stop="tools")
    match word:
        case "think":
            return Answer(thinking="Let me see.")
        case "stop:length":
            return Answer(stop="length")
        case "stop:filter" | "stop:blocked":
            return Answer(stop="filter")
        case "stop:refusal":
            return Answer(stop="refusal")
    return Answer()


def error_of(word: str, *, stream: bool) -> tuple[int, str, str, str] | None:
    """Return the error that `word` is answered with by its status."""
    return MIDWAY if word == FAIL and not stream else ERRORS.get(word)


def pieces(text: str) -> list[str]:
    """Return `text` as a model makes it: bit by bit."""
    return [text[at : at + 4] for at in range(0, len(text), 4)]


def sse(data: Any, name: str = "", end: str = "\n") -> bytes:
    """Return one frame of server-sent events."""
    line = f"event: {name}{end}" if name else ""
    return f"{line}data: {json.dumps(data)}{end}{end}".encode()


def path_of(seen: Seen) -> str:
    """Return the path that was asked, without its query."""
    return seen.target.decode().partition("?")[0]


def last_prompt(prompt: str) -> str:
    """Return the last thing a person said in a prompt that is one text."""
    for label in ("Human:", "User:"):
        prompt = prompt.rpartition(label)[2]
    return prompt.partition("Assistant:")[0].strip()


async def refuse(
    wire: trio.SocketStream, status: int, body: Any, *fields: str, kind: str = JSON
) -> None:
    """Answer with an HTTP error."""
    await wire.send_all(whole(status, json.dumps(body).encode(), kind, *fields))


async def reply(wire: trio.SocketStream, word: str, body: Any) -> None:
    """Answer with a whole reply; with half of one to `break`."""
    written = HALF if word == BREAK else json.dumps(body).encode()
    await wire.send_all(whole(200, written))


async def stream(
    wire: trio.SocketStream, word: str, frames: list[bytes], failure: bytes, kind: str = SSE
) -> None:
    """Answer with a stream, in reads that know nothing of frames.

    The first half of `frames` has some output and no end: to `break` that is all that comes, though
    the body ends cleanly; to `fail-in-stream` a `failure` follows it.
    """
    half = frames[: len(frames) // 2]
    if word == BREAK:
        frames = half
    elif word == FAIL:
        frames = [*half, failure]
    body = b"".join(frames)
    await wire.send_all(head(200, kind))
    for at in range(0, len(body), 37):
        await wire.send_all(chunk(body[at : at + 37]))
    await wire.send_all(LAST_CHUNK)
