"""Drives chat completions of the official openai SDK; see normal.py for what it prints.

Usage: client_openai_normal.py BASE_URL stream|accumulate|blocking SCENARIO...
"""

import json
from types import SimpleNamespace

import normal
import openai

STOPS = {"stop": "end", "length": "length", "tool_calls": "tools", "content_filter": "filter"}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": told, "parameters": schema}}
    for name, told, schema in normal.TOOLS
]


class Chat:
    failures = (openai.APIStatusError,)

    def __init__(self, url, mode):
        self.mode = mode
        self.extra = {}
        self.sdk = openai.OpenAI(
            base_url=url + "/v1", api_key="client-key", max_retries=0, timeout=normal.SECONDS
        )

    def ask(self, turns, *, tools=False, thinks=False):
        messages = [{"role": "system", "content": normal.SYSTEM}, *turns]
        arguments = {"model": "gpt-asked", "messages": messages}
        if tools:
            arguments["tools"] = TOOLS
        if thinks:
            arguments["reasoning_effort"] = "low"
        if self.mode == "blocking":
            return whole(self.sdk.chat.completions.create(**arguments))
        arguments["stream_options"] = {"include_usage": True}
        if self.mode == "stream":
            return put_together(self.sdk.chat.completions.create(**arguments, stream=True))
        try:
            with self.sdk.chat.completions.stream(**arguments) as events:
                for _ in events:
                    pass
                return whole(events.get_final_completion())
        except openai.LengthFinishReasonError as error:  # the SDK's own way to say it in a stream
            return whole(error.completion)
        except openai.ContentFilterFinishReasonError:
            return SimpleNamespace(message={}, finish="content_filter", usage=None)

    def seen(self, reply):
        message, usage = reply.message, reply.usage
        calls = [call["function"] for call in message.get("tool_calls") or []]
        details = usage and usage.prompt_tokens_details
        return normal.seen(
            (message.get("content") or "") + (message.get("refusal") or ""),
            thinking=message.get("reasoning_content"),
            tools=[(call["name"], json.loads(call["arguments"])) for call in calls],
            stop=STOPS.get(reply.finish),
            usage=(
                usage and usage.prompt_tokens,
                details and details.cached_tokens,
                usage and usage.completion_tokens,
            ),
        )

    def user(self, text):
        return [{"role": "user", "content": text}]

    def picture(self, text):
        url = {"url": "data:image/png;base64," + normal.PIXEL}
        parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": text}]
        return [{"role": "user", "content": parts}]

    def returned(self, reply):
        return [reply.message]

    def results(self, reply):
        return [
            {
                "role": "tool",
                "tool_call_id": call["id"],
                "content": "result of " + call["function"]["name"],
            }
            for call in reply.message["tool_calls"]
        ]

    def ids(self, reply):
        return [call["id"] for call in reply.message["tool_calls"]]

    def error(self, failure):
        return [failure.status_code, failure.body["message"]]

    def count(self):
        raise NotImplementedError("chat has no way to count")


def whole(completion):
    """A reply: the message as an application sends it back (the SDK's object, dumped), and the rest."""
    choice = completion.choices[0]
    message = choice.message.model_dump(exclude_none=True)
    # The object that `.stream()` gives has parsed arguments in it, which no request takes.
    message.pop("parsed", None)
    for call in message.get("tool_calls") or []:
        call.pop("index", None)
        call["function"].pop("parsed_arguments", None)
    return SimpleNamespace(message=message, finish=choice.finish_reason, usage=completion.usage)


def put_together(chunks):
    """The same of a stream, as an application does it: each index in its place, strings joined."""
    message, finish, usage = {"role": "assistant", "content": ""}, None, None
    for chunk in chunks:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            delta = choice.delta.model_dump(exclude_none=True)
            delta.pop("role", None)
            merge(message, delta)
    message["content"] = message["content"] or None
    for call in message.get("tool_calls", []) + message.get("reasoning_details", []):
        call.pop("index", None)
    return SimpleNamespace(message=message, finish=finish, usage=usage)


def merge(into, delta):
    for key, value in delta.items():
        if isinstance(value, list):
            held = into.setdefault(key, [])
            for part in value:
                place = next((one for one in held if one["index"] == part["index"]), None)
                if place is None:
                    held.append(dict(part))
                else:
                    merge(place, part)
        elif isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        elif isinstance(value, str) and key not in ("type", "id", "name", "format"):
            into[key] = into.get(key, "") + value
        else:
            into[key] = value


if __name__ == "__main__":
    normal.main(Chat)
