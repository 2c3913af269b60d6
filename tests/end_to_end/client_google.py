"""Drives the official google-genai SDK; see normal.py for what it prints.

Usage: client_google.py BASE_URL stream|blocking SCENARIO...
"""

import base64
from types import SimpleNamespace

import normal
from google import genai
from google.genai import errors, types

STOPS = {"STOP": "end", "MAX_TOKENS": "length", "SAFETY": "filter", "PROHIBITED_CONTENT": "filter"}
TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name=name, description=told, parameters_json_schema=schema)
        for name, told, schema in normal.TOOLS
    ]
)
MODEL = "gemini-asked"


class Gemini:
    failures = (errors.APIError,)

    def __init__(self, url, mode):
        self.stream = mode == "stream"
        self.extra = {}
        options = types.HttpOptions(
            base_url=url,
            timeout=int(normal.SECONDS * 1000),
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self.sdk = genai.Client(api_key="client-key", http_options=options)

    def ask(self, turns, *, tools=False, thinks=False):
        off = types.AutomaticFunctionCallingConfig(disable=True)
        config = types.GenerateContentConfig(
            system_instruction=normal.SYSTEM,
            tools=[TOOL] if tools else None,
            automatic_function_calling=off,
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
            if thinks
            else None,
        )
        arguments = {"model": MODEL, "contents": turns, "config": config}
        if self.stream:
            return put_together(self.sdk.models.generate_content_stream(**arguments))
        return put_together([self.sdk.models.generate_content(**arguments)])

    def seen(self, reply):
        calls = [part.function_call for part in reply.parts if part.function_call]
        texts = [part for part in reply.parts if part.text]
        usage, finish = reply.usage, reply.finish and reply.finish.value
        stop = STOPS.get(finish)
        return normal.seen(
            "".join(part.text for part in texts if not part.thought),
            thinking="".join(part.text for part in texts if part.thought),
            tools=[(call.name, call.args or {}) for call in calls],
            stop="tools" if calls and stop == "end" else stop,
            usage=(
                usage and usage.prompt_token_count,
                usage and usage.cached_content_token_count,
                usage and (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            ),
        )

    def user(self, text):
        return [types.Content(role="user", parts=[types.Part.from_text(text=text)])]

    def picture(self, text):
        data = base64.b64decode(normal.PIXEL)
        image = types.Part.from_bytes(data=data, mime_type="image/png")
        return [types.Content(role="user", parts=[image, types.Part.from_text(text=text)])]

    def returned(self, reply):
        return [types.Content(role="model", parts=reply.parts)]

    def results(self, reply):
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"result": "result of " + call.name}
                )
            )
            for call in self._calls(reply)
        ]
        return [types.Content(role="user", parts=parts)]

    def ids(self, reply):
        return [call.id for call in self._calls(reply)]

    def _calls(self, reply):
        return [part.function_call for part in reply.parts if part.function_call]

    def error(self, failure):
        return [failure.code, failure.message]

    def count(self):
        asked = self.user("how many?")
        return self.sdk.models.count_tokens(model=MODEL, contents=asked).total_tokens


def put_together(chunks):
    """All parts, each as it came: a signature belongs to the part that carries it."""
    reply = SimpleNamespace(parts=[], finish=None, usage=None)
    for chunk in chunks:
        reply.usage = chunk.usage_metadata or reply.usage
        for candidate in chunk.candidates or []:
            reply.finish = candidate.finish_reason or reply.finish
            if candidate.content:
                reply.parts += candidate.content.parts or []
    return reply


if __name__ == "__main__":
    normal.main(Gemini)
