"""Drives legacy completions of the official openai SDK; see normal.py for what it prints.

Usage: client_openai_completions.py BASE_URL stream|blocking SCENARIO...
"""

from types import SimpleNamespace

import normal
import openai

STOPS = {"stop": "end", "length": "length", "content_filter": "filter"}


class Completions:
    failures = (openai.APIStatusError,)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {}
        self.sdk = openai.OpenAI(
            base_url=url + "/v1", api_key="client-key", max_retries=0, timeout=normal.SECONDS
        )

    def ask(self, turns, *, tools=False, thinks=False):
        [prompt] = turns
        arguments = {"model": "gpt-asked", "prompt": prompt, "max_tokens": 64}
        if not self.stream:
            completion = self.sdk.completions.create(**arguments)
            [choice] = completion.choices
            finish = choice.finish_reason
            return SimpleNamespace(text=choice.text, finish=finish, usage=completion.usage)
        reply = SimpleNamespace(text="", finish=None, usage=None)
        options = {"include_usage": True}
        chunks = self.sdk.completions.create(**arguments, stream=True, stream_options=options)
        for chunk in chunks:
            reply.usage = chunk.usage or reply.usage
            for choice in chunk.choices:
                reply.text += choice.text
                reply.finish = choice.finish_reason or reply.finish
        return reply

    def seen(self, reply):
        usage = reply.usage
        details = usage and usage.prompt_tokens_details
        counts = (
            usage and usage.prompt_tokens,
            details and details.cached_tokens,
            usage and usage.completion_tokens,
        )
        return normal.seen(reply.text, stop=STOPS.get(reply.finish), usage=counts)

    def user(self, text):
        return [text]

    def error(self, failure):
        return [failure.status_code, failure.body["message"]]


if __name__ == "__main__":
    normal.main(Completions)
