"""Drives the official openai SDK, of whatever version runs this file; prints what it saw as JSON.

Usage: client_openai.py BASE_URL stream|blocking SCENARIO...
"""

import json
import sys

import openai

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    },
    {"type": "function", "function": {"name": "clock", "description": "The time."}},
]  # fmt: skip
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def main(base_url: str, mode: str, scenarios: list) -> None:
    client = openai.OpenAI(base_url=base_url + "/v1", api_key="client-key", max_retries=0)
    print(json.dumps({name: SCENARIOS[name](client, mode == "stream") for name in scenarios}))


def ask(client, stream, messages, **more):
    arguments = {"model": "gpt-asked", "messages": messages, **more}
    if not stream:
        return client.chat.completions.create(**arguments)
    options = {"include_usage": True}
    with client.chat.completions.stream(**arguments, stream_options=options) as events:
        for _ in events:
            pass
        return events.get_final_completion()


def seen(completion):
    choice = completion.choices[0]
    message = choice.message
    usage = completion.usage
    details = usage and usage.prompt_tokens_details
    return {
        "text": message.content,
        "refusal": message.refusal,
        "tools": [
            [call.id, call.function.name, call.function.arguments] for call in message.tool_calls or []
        ],
        "reasoning": getattr(message, "reasoning_content", None),
        "details": getattr(message, "reasoning_details", None),
        "finish": choice.finish_reason,
        "input": usage and usage.prompt_tokens,
        "cached": details and details.cached_tokens,
        "output": usage and usage.completion_tokens,
    }  # fmt: skip


def user(content):
    return {"role": "user", "content": content}


def returned(completion):
    """The message as an application sends it back: the SDK's object, dumped."""
    return completion.choices[0].message.model_dump(exclude_none=True)


def text(client, stream):
    return seen(ask(client, stream, [{"role": "system", "content": "be brief"}, user("say hello")]))


def tools(client, stream):
    messages = [user("weather in Oslo, and the time?")]
    first = ask(client, stream, messages, tools=TOOLS)
    messages.append(returned(first))
    for call in first.choices[0].message.tool_calls:
        content = "result of " + call.function.name
        messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
    second = ask(client, stream, messages, tools=TOOLS)
    return {"first": seen(first), "second": seen(second)}


def thinking(client, stream):
    messages = [user("think")]
    first = ask(client, stream, messages, reasoning_effort="low")
    messages += [returned(first), user("go on")]
    second = ask(client, stream, messages, reasoning_effort="low")
    return {"first": seen(first), "second": seen(second)}


def image(client, stream):
    url = {"url": "data:image/png;base64," + PIXEL}
    parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "what is it?"}]
    return seen(ask(client, stream, [user(parts)]))


def stops(client, stream):
    return [finish(client, stream, word) for word in ("stop:end", "stop:length", "stop:refusal")]


def finish(client, stream, word):
    try:
        return seen(ask(client, stream, [user(word)]))["finish"]
    except openai.LengthFinishReasonError:  # the SDK's own way to say it in a stream
        return "length"
    except openai.ContentFilterFinishReasonError:
        return "content_filter"


def failure(client, stream):
    found = {}
    for word in ("error:429", "error:500", "error:400"):
        try:
            ask(client, stream, [user(word)])
        except openai.APIStatusError as error:
            found[word] = [type(error).__name__, error.status_code, error.body["message"]]
    return found


def broken(client, stream):
    try:
        ask(client, stream, [user("break")])
    except openai.APIError as error:
        return str(error)
    return "no error"


def plain(client, stream):
    """What a recorded reply reads as; nothing is asked of the words."""
    return seen(ask(client, stream, [user("play")], tools=TOOLS))


SCENARIOS = {
    "text": text, "tools": tools, "thinking": thinking, "image": image, "stops": stops,
    "failure": failure, "broken": broken, "plain": plain,
}  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
