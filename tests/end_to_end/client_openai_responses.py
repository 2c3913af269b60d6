"""Drives the Responses API of the official openai SDK; see normal.py for what it prints.

Usage: client_openai_responses.py BASE_URL stream|accumulate|blocking SCENARIO...
"""

import json
from types import SimpleNamespace

import normal
import openai

TOOLS = [
    {"type": "function", "name": name, "description": told, "parameters": schema, "strict": False}
    for name, told, schema in normal.TOOLS
]
CUT = {"max_output_tokens": "length", "content_filter": "filter"}


class Failed(Exception):
    """The stream ended with `response.failed`, which the SDK hands over as an event."""


class Responses:
    failures = (openai.APIStatusError,)

    def __init__(self, url, mode):
        self.mode = mode
        self.extra = {}
        self.sdk = openai.OpenAI(
            base_url=url + "/v1", api_key="client-key", max_retries=0, timeout=normal.SECONDS
        )

    def ask(self, turns, *, tools=False, thinks=False):
        arguments = {
            "model": "gpt-asked", "input": turns, "instructions": normal.SYSTEM, "store": False,
            "include": ["reasoning.encrypted_content"],
        }  # fmt: skip
        if tools:
            arguments["tools"] = TOOLS
        if thinks:
            arguments["reasoning"] = {"effort": "low", "summary": "auto"}
        if self.mode == "blocking":
            response = self.sdk.responses.create(**arguments)
            return SimpleNamespace(items=response.output, response=response)
        if self.mode == "stream":
            return put_together(self.sdk.responses.create(**arguments, stream=True))
        with self.sdk.responses.stream(**arguments) as events:
            return put_together(events)

    def seen(self, reply):
        items, response = reply.items, reply.response
        parts = [part for item in items if item.type == "message" for part in item.content]
        thoughts = [part for item in items if item.type == "reasoning" for part in item.summary]
        calls = [item for item in items if item.type == "function_call"]
        refused = any(part.type == "refusal" for part in parts)
        usage, stop = response and response.usage, None
        if response:
            details = response.incomplete_details
            stop = CUT[details.reason] if details else "tools" if calls else "end"
        return normal.seen(
            "".join(part.refusal if part.type == "refusal" else part.text for part in parts),
            thinking="".join(part.text for part in thoughts),
            tools=[(call.name, json.loads(call.arguments)) for call in calls],
            stop="filter" if stop == "end" and refused else stop,
            usage=(
                usage and usage.input_tokens,
                usage and usage.input_tokens_details.cached_tokens,
                usage and usage.output_tokens,
            ),
        )

    def user(self, text):
        return [{"role": "user", "content": text}]

    def picture(self, text):
        image = {"type": "input_image", "image_url": "data:image/png;base64," + normal.PIXEL}
        parts = [image | {"detail": "auto"}, {"type": "input_text", "text": text}]
        return [{"role": "user", "content": parts}]

    def returned(self, reply):
        return [item.model_dump(exclude_none=True) for item in reply.items]

    def results(self, reply):
        return [
            {
                "type": "function_call_output",
                "call_id": item.call_id,
                "output": "result of " + item.name,
            }
            for item in reply.items
            if item.type == "function_call"
        ]

    def ids(self, reply):
        return [item.call_id for item in reply.items if item.type == "function_call"]

    def error(self, failure):
        return [failure.status_code, failure.body["message"]]

    def count(self):
        asked = self.user("how many?")
        return self.sdk.responses.input_tokens.count(model="gpt-asked", input=asked).input_tokens


def put_together(events):
    """The items that were done, and the response that ended it. Deltas must say what the items say."""
    items, response, texts = {}, None, {}
    for event in events:
        if event.type == "response.output_item.done":
            items[event.output_index] = event.item
        elif event.type in (
            "response.output_text.delta",
            "response.refusal.delta",
            "response.function_call_arguments.delta",
            "response.reasoning_summary_text.delta",
        ):
            held = texts.get(event.output_index, "")
            texts[event.output_index] = held + event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            response = event.response
        elif event.type == "response.failed":
            raise Failed(event.response.error.message)
    if response is None:
        return SimpleNamespace(items=[], response=None)
    done = [plain(items[index]) for index in sorted(items)]
    assert done == [plain(item) for item in response.output], "the end says something else"
    for index, item in items.items():
        assert texts.get(index, "") == whole_text(item), "the deltas say something else"
    return SimpleNamespace(items=response.output, response=response)


def plain(item):
    """An item without what only `.stream()` adds."""
    found = item.model_dump(exclude_none=True)
    found.pop("parsed_arguments", None)
    for part in found.get("content") or []:
        part.pop("parsed", None)
    return found


def whole_text(item):
    if item.type == "function_call":
        return item.arguments
    parts = item.summary if item.type == "reasoning" else item.content
    return "".join(part.refusal if part.type == "refusal" else part.text for part in parts)


if __name__ == "__main__":
    normal.main(Responses)
