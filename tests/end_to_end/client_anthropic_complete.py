"""Drives legacy Text Completions of the official anthropic SDK; see normal.py for what it prints.

With 0.125 by `client.completions` (version 2023-06-01), with 0.2 by `Client.completion` and
`Client.completion_stream` (version 2023-01-01, where a stream repeats all that was said).

Usage: client_anthropic_complete.py BASE_URL stream|blocking SCENARIO...
"""

import re

import anthropic
import normal

STOPS = {"stop_sequence": "end", "max_tokens": "length"}
PROMPT = "\n\nHuman: {}\n\nAssistant:"


class Failed(Exception):
    """A frame of a 2023-01-01 stream told an exception, which the SDK hands over as it is."""


class New:
    failures = (getattr(anthropic, "APIStatusError", Exception),)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {}
        self.sdk = anthropic.Anthropic(
            base_url=url, api_key="client-key", max_retries=0, timeout=normal.SECONDS
        )

    def ask(self, turns, *, tools=False, thinks=False):
        [prompt] = turns
        arguments = {"model": "claude-asked", "prompt": prompt, "max_tokens_to_sample": 64}
        if not self.stream:
            reply = self.sdk.completions.create(**arguments)
            return reply.completion, reply.stop_reason
        text, reason = "", None
        for event in self.sdk.completions.create(**arguments, stream=True):
            text += event.completion
            reason = event.stop_reason or reason
        return text, reason

    def seen(self, reply):
        text, reason = reply
        # A completion begins with the space that the prompt must not end with.
        return normal.seen(text.removeprefix(" "), stop=STOPS.get(reason))

    def user(self, text):
        return [PROMPT.format(text)]

    def error(self, failure):
        return [failure.status_code, failure.body["error"]["message"]]


class Old(New):
    failures = (getattr(anthropic, "ApiException", Exception),)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {}
        self.sdk = anthropic.Client(
            "client-key", api_url=url, default_request_timeout=normal.SECONDS
        )

    def ask(self, turns, *, tools=False, thinks=False):
        [prompt] = turns
        arguments = {"model": "claude-asked", "prompt": prompt, "max_tokens_to_sample": 64}
        if not self.stream:
            reply = self.sdk.completion(**arguments)
            return reply["completion"], reply["stop_reason"]
        text, reason = "", None
        for event in self.sdk.completion_stream(**arguments):
            if event.get("exception"):
                raise Failed(str(event["exception"]))
            assert event["completion"].startswith(text), "each frame repeats the text so far"
            text, reason = event["completion"], event["stop_reason"]
        return text, reason

    def error(self, failure):
        told, body = failure.args
        return [int(re.search(r"\d{3}", told).group()), body["error"]["message"]]


if __name__ == "__main__":
    normal.main(New if hasattr(anthropic, "Anthropic") else Old)
