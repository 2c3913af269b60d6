"""Turns read from the `messages` of Ollama's chat API.

Layer: dialects. The part of `ollama_chat` that reads what was said in a call.
Source: the `ollama` package 0.6.3 (`_types.Message`);
https://github.com/ollama/ollama/blob/main/docs/api.md

Tool calls have no ids here, so they get some by their order, and each result finds its call by the
tool's name, or else is the answer to the first call that has none. Ids that newer servers make are
kept.
"""

import re

from rawproxy.dialects.call import (
    Base64,
    Image,
    Part,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
    Url,
)
from rawproxy.dialects.media import read_url
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

__all__ = ["MADE_ID", "TurnReader"]

MADE_ID = re.compile(r"call_\d+")
"""Ids of tool calls that came without one."""

_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant",
    "tool": "user",
}  # fmt: skip
_MIMES = (
    # how the base64 of a picture begins, and what it is: the API does not say
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)


class TurnReader:
    """Reads the messages of one call; keeps what no part has a place for in `extra`."""

    def __init__(self) -> None:
        self.extra: dict[str, bytes] = {}
        self._made = 0  # ids
        self._open: list[tuple[str, str]] = []  # id and name of calls without a result

    def keep(self, fields: Fields) -> None:
        """Keep every field that nobody took."""
        self.extra |= fields.rest()

    def turn(self, message: Fields) -> Turn:
        """Read a message. ClientError names what is wrong with it."""
        word = message.needed("role")
        role = _ROLES.get(word)
        if role is None:
            raise ClientError(f"{message.at('role')}: unknown role", param=message.at("role"))
        parts = self.said(message, "content")
        if word == "tool":
            parts = (self._result(message, parts),)
        elif word == "assistant":
            thoughts, path = message.text("thinking"), message.at("thinking")
            calls = self._calls(message)
            parts = (*((Thinking(thoughts, path),) if thoughts else ()), *parts, *calls)
        self.keep(message)
        return Turn(role, parts, message.path)

    def said(self, fields: Fields, name: str) -> tuple[Part, ...]:
        """Take the pictures and the text of the field `name`: a model sees them in this order."""
        pictures = fields.texts("images") or ()
        parts: list[Part] = [
            _picture(data, f"{fields.at('images')}[{at}]") for at, data in enumerate(pictures)
        ]
        if text := fields.text(name):
            parts.append(Text(text, fields.at(name)))
        return tuple(parts)

    def _calls(self, message: Fields) -> list[ToolCall]:
        calls = [self._call(call) for call in message.objects("tool_calls")]
        if calls:
            self._open = [(call.id, call.name) for call in calls]
        return calls

    def _call(self, call: Fields) -> ToolCall:
        function = call.object("function")
        if function is None:
            raise ClientError(f"{call.at('function')}: field required", param=call.at("function"))
        call.raw("type"), function.raw("index")
        if function.is_text("arguments"):  # as chat completions have them
            arguments = function.needed("arguments")
        else:
            arguments = bytes(function.raw("arguments")).decode("utf-8", "replace") or "{}"
        found = ToolCall(
            call.text("id") or self._id(), function.needed("name"), arguments, call.path
        )
        self.keep(function)
        self.keep(call)
        return found

    def _result(self, message: Fields, parts: tuple[Part, ...]) -> ToolResult:
        name = message.text("tool_name") or message.text("name")
        tool_id = message.text("tool_call_id")
        found = next(
            (
                call
                for call in self._open
                if tool_id == call[0] or (not tool_id and name == call[1])
            ),
            self._open[0] if self._open and not tool_id else None,
        )
        if found is not None:
            self._open.remove(found)
            tool_id = found[0]
        return ToolResult(tool_id or self._id(), parts, message.path, name)

    def _id(self) -> str:
        self._made += 1
        return f"call_{self._made - 1}"


def _picture(data: str, path: str) -> Image:
    if data.startswith("data:"):  # which is more than the API wants
        source, mime = read_url(data)
        return Image(source, path, mime)
    if "://" in data[:16]:
        return Image(Url(data), path)
    mime = next((mime for start, mime in _MIMES if data.startswith(start)), None)
    return Image(Base64(data), path, mime)
