"""What Ollama promises of a stream, as a checker.

Layer: dialects. The part of `ollama_chat` behind `rawproxy.validate`; no reply passes through it.
Source: https://github.com/ollama/ollama/blob/main/docs/api.md, and what the `ollama` package 0.6.3
demands.
"""

from typing import TypeGuard

from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["LineGrammar"]

Json = dict[str, object]


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


class LineGrammar:
    """Checks one stream, line by line."""

    def __init__(self) -> None:
        self._over = ""
        self._model: object = None
        self._form = ""  # `message` or `response`

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        if not frame.has_data:
            return []
        if self._over:
            return [f"end: a line after {self._over}"]
        try:
            line = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the line is not a JSON object"]
        if "error" in line:
            self._over = "an error"
            return [] if isinstance(line["error"], str) else ["error: it is no text"]
        if line.get("done") is True:
            self._over = "the line that is done"
        return [*self._check_head(line), *self._check_form(line)]

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        return [] if self._over else ["end: neither a line that is done nor an error came"]

    def _check_head(self, line: Json) -> list[str]:
        broken = []
        model = line.get("model")
        if not isinstance(model, str):
            broken.append("model: missing")
        elif self._model is not None and self._model != model:
            broken.append("model: it changed")
        self._model = model or self._model
        if not isinstance(line.get("created_at"), str):
            broken.append("created_at: missing")
        if not isinstance(line.get("done"), bool):
            broken.append("done: missing")
        return broken

    def _check_form(self, line: Json) -> list[str]:
        form = next((name for name in ("message", "response") if name in line), "")
        if not form:
            return ["message: missing"]
        broken = []
        if self._form and form != self._form:
            broken.append(f"message: it is called {form} now")
        self._form = form
        if form == "response":
            return broken if isinstance(line[form], str) else [*broken, "response: no text"]
        return broken + self._check_message(line[form])

    def _check_message(self, message: object) -> list[str]:
        if not _is_object(message):
            return ["message: not an object"]
        broken = []
        if message.get("role") != "assistant":
            broken.append("role: not assistant")
        broken += [
            f"{name}: no text"
            for name in ("content", "thinking")
            if name in message and not isinstance(message[name], str)
        ]
        calls = message.get("tool_calls", [])
        if not isinstance(calls, list):
            return [*broken, "tool: not a list"]
        return broken + [
            "tool: a call without a name, or whose arguments are no object"
            for call in calls
            if not _is_whole(call)
        ]


def _is_whole(call: object) -> bool:
    function = call.get("function") if _is_object(call) else None
    return (
        _is_object(function)
        and bool(function.get("name"))
        and _is_object(function.get("arguments"))
    )
