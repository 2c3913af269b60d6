"""A fake of OpenAI's legacy Completions API.

Source: https://platform.openai.com/docs/api-reference/completions
"""

import json
from typing import Any

import trio

from tests.end_to_end.models.common import (
    MIDWAY,
    USAGE,
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

_FINISH = {"end": "stop", "length": "length", "filter": "content_filter", "refusal": "stop"}


def _completion(choices: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "cmpl-fake", "object": "text_completion", "created": 1_760_000_000,
        "model": "fake-completions", "choices": choices,
    } | more  # fmt: skip


def _choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}


def _usage() -> dict[str, Any]:
    total, cached, output = USAGE
    return {
        "prompt_tokens": total, "completion_tokens": output, "total_tokens": total + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip


async def completions_model(seen: Seen, wire: trio.SocketStream) -> None:
    """Answers as Completions does: one text for one prompt, no tools, no thinking."""
    request = json.loads(seen.body)
    prompt = request["prompt"]
    word = last_prompt(prompt if isinstance(prompt, str) else prompt[0])
    streamed = bool(request.get("stream"))
    if error := error_of(word, stream=streamed):
        status, message, _, kind = error
        body = {"message": message, "type": kind, "param": None, "code": kind}
        await refuse(wire, status, {"error": body})
        return
    said = answer(word, second=True)
    finish = _FINISH[said.stop]
    if not streamed:
        await reply(wire, word, _completion([_choice(said.text, finish)], usage=_usage()))
        return
    frames = [sse(_completion([_choice(one, None)])) for one in pieces(said.text)]
    frames.append(sse(_completion([_choice("", finish)])))
    if (request.get("stream_options") or {}).get("include_usage"):
        frames.append(sse(_completion([], usage=_usage())))
    _, message, _, kind = MIDWAY
    failure = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    await stream(wire, word, [*frames, b"data: [DONE]\n\n"], sse(failure))
