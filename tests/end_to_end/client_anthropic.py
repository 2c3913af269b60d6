"""Drives the official anthropic SDK, of whatever version runs this file; prints what it saw as JSON.

Usage: client_anthropic.py BASE_URL stream|blocking SCENARIO...
"""

import json
import sys

import anthropic

TOOLS = [
    {
        "name": "weather",
        "description": "The weather in a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {"name": "clock", "description": "The time.", "input_schema": {"type": "object", "properties": {}}},
]  # fmt: skip
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def main(base_url: str, mode: str, scenarios: list) -> None:
    client = anthropic.Anthropic(base_url=base_url, api_key="client-key", max_retries=0)
    print(json.dumps({name: SCENARIOS[name](client, mode == "stream") for name in scenarios}))


def ask(client, stream, messages, **more):
    arguments = {"model": "claude-asked", "max_tokens": 512, "messages": messages, **more}
    if not stream:
        return client.messages.create(**arguments)
    with client.messages.stream(**arguments) as events:
        return events.get_final_message()


def seen(message):
    blocks = []
    for block in message.content:
        kept = ("type", "text", "id", "name", "input", "thinking", "signature", "data")
        blocks.append(
            {name: getattr(block, name) for name in kept if getattr(block, name, None) is not None}
        )
    usage = message.usage
    return {
        "content": blocks,
        "stop_reason": message.stop_reason,
        "stop_sequence": message.stop_sequence,
        "input": usage.input_tokens,
        "cache_read": usage.cache_read_input_tokens,
        "output": usage.output_tokens,
    }  # fmt: skip


def user(content):
    return {"role": "user", "content": content}


def text(client, stream):
    return seen(ask(client, stream, [user("say hello")], system="be brief"))


def tools(client, stream):
    messages = [user("weather in Oslo, and the time?")]
    first = ask(client, stream, messages, tools=TOOLS)
    messages.append(
        {"role": "assistant", "content": [block.model_dump() for block in first.content]}
    )
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "result of " + block.name}
        for block in first.content
        if block.type == "tool_use"
    ]
    messages.append(user(results))
    second = ask(client, stream, messages, tools=TOOLS)
    return {"first": seen(first), "second": seen(second)}


def thinking(client, stream):
    on = {"type": "enabled", "budget_tokens": 2048}
    messages = [user("think")]
    first = ask(client, stream, messages, max_tokens=4096, thinking=on)
    messages.append(
        {"role": "assistant", "content": [block.model_dump() for block in first.content]}
    )
    messages.append(user("go on"))
    second = ask(client, stream, messages, max_tokens=4096, thinking=on)
    return {"first": seen(first), "second": seen(second)}


def image(client, stream):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "what is it?"}]
    return seen(ask(client, stream, [user(parts)]))


def stops(client, stream):
    return [
        seen(ask(client, stream, [user(word)]))["stop_reason"]
        for word in ("stop:end", "stop:length", "stop:filter")
    ]


def failure(client, stream):
    found = {}
    for word in ("error:429", "error:500", "error:400"):
        try:
            ask(client, stream, [user(word)])
        except anthropic.APIStatusError as error:
            found[word] = [type(error).__name__, error.status_code, error.body["error"]["message"]]
    return found


def broken(client, stream):
    try:
        ask(client, stream, [user("break")])
    except anthropic.APIError as error:
        return str(error)
    return "no error"


def count(client, stream):
    return client.messages.count_tokens(
        model="claude-asked", messages=[user("how many?")]
    ).input_tokens


def plain(client, stream):
    """What a recorded reply reads as; nothing is asked of the words."""
    return seen(ask(client, stream, [user("play")], tools=TOOLS))


SCENARIOS = {
    "text": text, "tools": tools, "thinking": thinking, "image": image, "stops": stops,
    "failure": failure, "broken": broken, "count": count, "plain": plain,
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
