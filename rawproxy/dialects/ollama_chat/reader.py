"""Replies of Ollama, read: the lines of a stream, and whole bodies.

Layer: dialects. The part of `ollama_chat` that understands its upstream. A whole body is a stream of
one line, and generate has the members of a message beside the others, so one reader reads all.
Source: the `ollama` package 0.6.3 (`_types.ChatResponse`, `_types.GenerateResponse`).
"""

from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from rawproxy.dialects.base import Back
from rawproxy.dialects.events import Event, Reason, Usage
from rawproxy.dialects.ollama_chat.errors import read_failure
from rawproxy.dialects.reading import decode, whole_count
from rawproxy.dialects.scribe import Scribe
from rawproxy.errors import UpstreamNonsense
from rawproxy.wire.frame import Frame

__all__ = ["LineReader"]

T = TypeVar("T", bound=msgspec.Struct)

Count = int | float | None

_REASONS: dict[str, Reason] = {"length": "length"}
"""Why a reply stopped, where it is not simply at its end (`stop`, `load`, `unload`)."""


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: Raw = Raw()


class _ToolCall(msgspec.Struct):
    """A tool call; newer servers give it an id."""

    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Raw] | None = None


class _Line(msgspec.Struct):
    """A line, or a whole body."""

    model: str | None = None
    created_at: str | None = None
    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Count = None
    eval_count: Count = None
    logprobs: Raw = Raw()
    error: Raw = Raw()


class LineReader:
    """Reads one reply, from lines or from a body.

    Args:
        back: what `write_call` did that has to be undone.
    """

    def __init__(self, back: Back) -> None:
        self.unknown = 0
        self._scribe = Scribe(back)
        self._calls = 0

    def read(self, frame: Frame) -> list[Event]:
        """Return what a line says; see `StreamReader`."""
        return self._read(self._line(frame.data)) if frame.data.strip() else []

    def close(self) -> list[Event]:
        """Return what the end of the bytes says; see `StreamReader`."""
        return self._scribe.close()

    def read_body(self, body: bytes) -> list[Event]:
        """Read a whole body, which is done whether it says so or not.

        Raises:
            UpstreamNonsense: it is no reply of this API.
        """
        line = self._line(body)
        if not (line.message or _given(line.error) or line.done):
            raise UpstreamNonsense("the upstream's body is not a reply of Ollama")
        line.done = True
        return self._read(line)

    def _line(self, data: bytes) -> _Line:
        try:
            line = decode(data, _Line)
        except ValueError:
            line = self._loose(data, _Line)
        if line.message is None and (line.response is not None or line.thinking is not None):
            line.message = _Message(line.response, line.thinking)
        return line

    def _loose(self, data: bytes | Raw, kind: type[T]) -> T:
        """Return the members that have the type they should have.

        Raises:
            UpstreamNonsense: it is no JSON object.
        """
        try:
            members = decode(data, dict[str, Raw])
        except ValueError:
            raise UpstreamNonsense("a line of the upstream's stream is no JSON object") from None
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            raw = members.get(field.name)
            if raw is None:
                continue
            try:
                found[field.name] = decode(raw, field.type)
            except ValueError:
                self.unknown += 1
                if field.name == "message" and bytes(raw).startswith(b"{"):
                    found[field.name] = self._loose(raw, _Message)
        return kind(**found)

    def _read(self, line: _Line) -> list[Event]:
        scribe = self._scribe
        if error := _given(line.error):
            return scribe.fail(read_failure(error))
        if scribe.ended or not (line.message or line.done):
            self.unknown += 1
            return []
        events: list[Event] = []
        if not scribe.started:
            events += scribe.start(None, line.model, _seconds(line.created_at))
        if line.message is not None:
            events += self._message(line.message, line.logprobs)
        if line.done:
            word = line.done_reason
            events += scribe.stop(_REASONS.get(word or "", "end"), word=word)
            usage = Usage(whole_count(line.prompt_eval_count), whole_count(line.eval_count))
            events += [*scribe.usage(usage), *scribe.end()]
        return events

    def _message(self, message: _Message, logprobs: Raw) -> list[Event]:
        events = self._scribe.text("thinking", message.thinking or "")
        if message.content:
            known = Raw(b'{"content":%b}' % logprobs) if bytes(logprobs).startswith(b"[") else None
            events += self._scribe.text("text", message.content, logprobs=known)
        for raw in message.tool_calls or ():
            events += self._call(raw)
        return events

    def _call(self, raw: Raw) -> list[Event]:
        """Return a tool call: it comes whole."""
        try:
            call = decode(raw, _ToolCall)
        except ValueError:
            call = _ToolCall()
        if call.function is None or not call.function.name:
            self.unknown += 1
            return []
        key, self._calls = self._calls, self._calls + 1
        return [
            *self._scribe.tool(key, call.function.name, call.id),
            *self._scribe.arguments(key, _arguments(call.function.arguments)),
            *self._scribe.close_tool(key),
        ]


def _arguments(raw: Raw) -> str:
    """Return arguments as the JSON text that they are, or that they hold as a string."""
    try:
        return decode(raw, str)
    except ValueError:
        text = bytes(raw).decode("utf-8", "replace")
        return "{}" if text in ("", "null") else text


def _given(raw: Raw) -> Raw | None:
    return raw if raw and bytes(raw) not in (b"null", b'""') else None


def _seconds(time: str | None) -> int | None:
    """Return an RFC 3339 time as Unix seconds; None for anything else."""
    try:
        found = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return None if found.tzinfo is None else int(found.timestamp())
