"""Drives Messages of the official anthropic SDK; see normal.py for what it prints.

Usage: client_anthropic_normal.py BASE_URL stream|accumulate|blocking SCENARIO...
"""

import json
from types import SimpleNamespace

import anthropic
import normal

STOPS = {
    "end_turn": "end", "stop_sequence": "end", "max_tokens": "length", "tool_use": "tools",
    "refusal": "filter",
}  # fmt: skip
TOOLS = [
    {"name": name, "description": told, "input_schema": schema}
    for name, told, schema in normal.TOOLS
]


class Messages:
    """Asks by any client of the SDK: Anthropic's own, or one for a cloud that hosts Claude."""

    failures = (anthropic.APIStatusError,)

    def __init__(self, sdk, mode, model="claude-asked"):
        self.sdk, self.mode, self.model = sdk, mode, model
        self.extra = {}

    def ask(self, turns, *, tools=False, thinks=False):
        arguments = {
            "model": self.model, "max_tokens": 4096, "messages": turns, "system": normal.SYSTEM,
        }  # fmt: skip
        if tools:
            arguments["tools"] = TOOLS
        if thinks:
            arguments["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        if self.mode == "blocking":
            return self.sdk.messages.create(**arguments)
        if self.mode == "stream":
            return put_together(self.sdk.messages.create(**arguments, stream=True))
        with self.sdk.messages.stream(**arguments) as events:
            return events.get_final_message()

    def seen(self, reply):
        blocks, usage = reply.content, reply.usage
        cached = usage.cache_read_input_tokens
        written = usage.cache_creation_input_tokens
        return normal.seen(
            "".join(block.text for block in blocks if block.type == "text"),
            thinking="".join(block.thinking for block in blocks if block.type == "thinking"),
            tools=[(block.name, block.input) for block in blocks if block.type == "tool_use"],
            stop=STOPS.get(reply.stop_reason),
            usage=(
                usage.input_tokens + (cached or 0) + (written or 0),
                cached,
                usage.output_tokens,
            ),
        )

    def user(self, text):
        return [{"role": "user", "content": text}]

    def picture(self, text):
        source = {"type": "base64", "media_type": "image/png", "data": normal.PIXEL}
        parts = [{"type": "image", "source": source}, {"type": "text", "text": text}]
        return [{"role": "user", "content": parts}]

    def returned(self, reply):
        content = [
            block.model_dump(exclude_none=True) if hasattr(block, "model_dump") else vars(block)
            for block in reply.content
        ]
        return [{"role": "assistant", "content": content}]

    def results(self, reply):
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": "result of " + block.name}
            for block in reply.content
            if block.type == "tool_use"
        ]
        return [{"role": "user", "content": results}]

    def ids(self, reply):
        return [block.id for block in reply.content if block.type == "tool_use"]

    def error(self, failure):
        body = failure.body
        return [failure.status_code, body.get("error", body)["message"]]

    def count(self):
        asked = self.user("how many?")
        return self.sdk.messages.count_tokens(model=self.model, messages=asked).input_tokens


def put_together(events):
    """The message that a stream's events make."""
    blocks, reply, written = [], None, {}
    for event in events:
        if event.type == "message_start":
            reply = event.message
        elif event.type == "content_block_start":
            assert event.index == len(blocks), "indexes count up from 0"
            block = event.content_block.model_dump(exclude_none=True)
            blocks.append(SimpleNamespace(**block))
        elif event.type == "content_block_delta":
            block, delta = blocks[event.index], event.delta
            if delta.type == "text_delta":
                block.text += delta.text
            elif delta.type == "thinking_delta":
                block.thinking += delta.thinking
            elif delta.type == "signature_delta":
                block.signature = delta.signature
            elif delta.type == "input_json_delta":
                written[event.index] = written.get(event.index, "") + delta.partial_json
        elif event.type == "content_block_stop" and written.get(event.index):
            blocks[event.index].input = json.loads(written[event.index])
        elif event.type == "message_delta":
            reply.stop_reason = event.delta.stop_reason
            for name, value in event.usage.model_dump(exclude_none=True).items():
                setattr(reply.usage, name, value)
    reply.content = blocks
    return reply


def make(url, mode):
    sdk = anthropic.Anthropic(
        base_url=url, api_key="client-key", max_retries=0, timeout=normal.SECONDS
    )
    return Messages(sdk, mode)


if __name__ == "__main__":
    normal.main(make)
