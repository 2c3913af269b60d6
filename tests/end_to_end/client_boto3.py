"""Drives Bedrock's Converse by the official boto3; see normal.py for what it prints.

Usage: client_boto3.py BASE_URL stream|blocking SCENARIO...
"""

import base64
import json

import boto3
import normal
from botocore.config import Config
from botocore.exceptions import ClientError

STOPS = {
    "end_turn": "end", "stop_sequence": "end", "max_tokens": "length", "tool_use": "tools",
    "content_filtered": "filter", "guardrail_intervened": "filter",
}  # fmt: skip
TOOLS = [
    {"toolSpec": {"name": name, "description": told, "inputSchema": {"json": schema}}}
    for name, told, schema in normal.TOOLS
]
MODEL = "anthropic.claude-asked-v1:0"


class Converse:
    failures = (ClientError,)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {}
        config = Config(
            retries={"total_max_attempts": 1}, read_timeout=normal.SECONDS,
            connect_timeout=normal.SECONDS, proxies={},
        )  # fmt: skip
        self.sdk = boto3.client(
            "bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config,
            aws_access_key_id="AKIAFAKE", aws_secret_access_key="fake",
        )  # fmt: skip

    def ask(self, turns, *, tools=False, thinks=False):
        arguments = {
            "modelId": MODEL, "messages": turns, "system": [{"text": normal.SYSTEM}],
            "inferenceConfig": {"maxTokens": 4096},
        }  # fmt: skip
        if tools:
            arguments["toolConfig"] = {"tools": TOOLS}
        if thinks:
            on = {"type": "enabled", "budget_tokens": 2048}
            arguments["additionalModelRequestFields"] = {"thinking": on}
        if self.stream:
            return put_together(self.sdk.converse_stream(**arguments)["stream"])
        reply = self.sdk.converse(**arguments)
        content = reply["output"]["message"]["content"]
        return {"content": content, "stop": reply["stopReason"], "usage": reply["usage"]}

    def seen(self, reply):
        blocks, usage = reply["content"], reply["usage"] or {}
        cached = usage.get("cacheReadInputTokens")
        beside = (cached or 0) + (usage.get("cacheWriteInputTokens") or 0)
        thoughts = [block.get("reasoningContent", {}) for block in blocks]
        return normal.seen(
            "".join(block.get("text", "") for block in blocks),
            thinking="".join(one.get("reasoningText", {}).get("text", "") for one in thoughts),
            tools=[(call["name"], call["input"]) for call in self._calls(reply)],
            stop=STOPS.get(reply["stop"]),
            usage=(
                usage["inputTokens"] + beside if usage else None,
                cached,
                usage.get("outputTokens"),
            ),
        )

    def user(self, text):
        return [{"role": "user", "content": [{"text": text}]}]

    def picture(self, text):
        source = {"bytes": base64.b64decode(normal.PIXEL)}
        image = {"image": {"format": "png", "source": source}}
        return [{"role": "user", "content": [image, {"text": text}]}]

    def returned(self, reply):
        return [{"role": "assistant", "content": reply["content"]}]

    def results(self, reply):
        results = [
            {
                "toolResult": {
                    "toolUseId": call["toolUseId"],
                    "content": [{"text": "result of " + call["name"]}],
                }
            }
            for call in self._calls(reply)
        ]
        return [{"role": "user", "content": results}]

    def ids(self, reply):
        return [call["toolUseId"] for call in self._calls(reply)]

    def _calls(self, reply):
        return [block["toolUse"] for block in reply["content"] if "toolUse" in block]

    def error(self, failure):
        told = failure.response
        return [told["ResponseMetadata"]["HTTPStatusCode"], told["Error"]["Message"]]

    def count(self):
        asked = {"converse": {"messages": self.user("how many?")}}
        return self.sdk.count_tokens(modelId=MODEL, input=asked)["inputTokens"]


def put_together(events):
    """The blocks that a stream's events make, as an application sends them back."""
    blocks, written, stop, usage = {}, {}, None, None
    for event in events:
        [(kind, told)] = event.items()
        if kind == "contentBlockStart":
            blocks[told["contentBlockIndex"]] = {"toolUse": dict(told["start"]["toolUse"])}
        elif kind == "contentBlockDelta":
            at, delta = told["contentBlockIndex"], told["delta"]
            if "toolUse" in delta:
                written[at] = written.get(at, "") + delta["toolUse"]["input"]
            elif "reasoningContent" in delta:
                think(blocks.setdefault(at, {}), delta["reasoningContent"])
            else:
                block = blocks.setdefault(at, {"text": ""})
                block["text"] += delta["text"]
        elif kind == "contentBlockStop":
            at = told["contentBlockIndex"]
            if "toolUse" in blocks.get(at, {}):
                blocks[at]["toolUse"]["input"] = json.loads(written.get(at) or "{}")
        elif kind == "messageStop":
            stop = told["stopReason"]
        elif kind == "metadata":
            usage = told["usage"]
    return {"content": [blocks[at] for at in sorted(blocks)], "stop": stop, "usage": usage}


def think(block, delta):
    thought = block.setdefault("reasoningContent", {})
    if "redactedContent" in delta:
        thought["redactedContent"] = thought.get("redactedContent", b"") + delta["redactedContent"]
        return
    text = thought.setdefault("reasoningText", {"text": ""})
    text["text"] += delta.get("text", "")
    if "signature" in delta:
        text["signature"] = text.get("signature", "") + delta["signature"]


if __name__ == "__main__":
    normal.main(Converse)
