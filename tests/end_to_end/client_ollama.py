"""Drives the official ollama SDK; see normal.py for what it prints.

One scenario more: generate, the text of /api/generate.

Usage: client_ollama.py BASE_URL stream|blocking SCENARIO...
"""

from types import SimpleNamespace

import normal
import ollama

STOPS = {"stop": "end", "length": "length"}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": told, "parameters": schema}}
    for name, told, schema in normal.TOOLS
]
MODEL = "llama-asked"


class Ollama:
    failures = (ollama.ResponseError,)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {"generate": self.generate}
        self.sdk = ollama.Client(host=url, timeout=normal.SECONDS)

    def ask(self, turns, *, tools=False, thinks=False):
        messages = [{"role": "system", "content": normal.SYSTEM}, *turns]
        arguments = {"model": MODEL, "messages": messages, "stream": self.stream}
        if tools:
            arguments["tools"] = TOOLS
        if thinks:
            arguments["think"] = True
        found = self.sdk.chat(**arguments)
        lines = found if self.stream else [found]
        reply = blank()
        for line in lines:
            said = line.message
            reply.text += said.content or ""
            reply.thinking += said.thinking or ""
            reply.calls += said.tool_calls or []
            if line.done:
                reply.last = line
        return reply

    def generate(self):
        found = self.sdk.generate(
            model=MODEL, prompt="say hello", system=normal.SYSTEM, stream=self.stream
        )
        reply = blank()
        for line in found if self.stream else [found]:
            reply.text += line.response or ""
            if line.done:
                reply.last = line
        return self.seen(reply)

    def seen(self, reply):
        last = reply.last
        stop = STOPS.get(last.done_reason) if last else None
        return normal.seen(
            reply.text,
            thinking=reply.thinking,
            tools=[(call.function.name, dict(call.function.arguments)) for call in reply.calls],
            stop="tools" if reply.calls and stop == "end" else stop,
            usage=(last and last.prompt_eval_count, None, last and last.eval_count),
        )

    def user(self, text):
        return [{"role": "user", "content": text}]

    def picture(self, text):
        return [{"role": "user", "content": text, "images": [normal.PIXEL]}]

    def returned(self, reply):
        return [
            ollama.Message(
                role="assistant", content=reply.text, thinking=reply.thinking or None,
                tool_calls=reply.calls or None,
            )
        ]  # fmt: skip

    def results(self, reply):
        return [
            {
                "role": "tool",
                "tool_name": call.function.name,
                "content": "result of " + call.function.name,
            }
            for call in reply.calls
        ]

    def ids(self, reply):
        return [None for _ in reply.calls]

    def error(self, failure):
        return [failure.status_code, failure.error]


def blank():
    return SimpleNamespace(text="", thinking="", calls=[], last=None)


if __name__ == "__main__":
    normal.main(Ollama)
