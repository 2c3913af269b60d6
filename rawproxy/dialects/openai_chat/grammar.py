"""What Chat Completions promises of a stream, as a checker.

Layer: dialects. The part of `openai_chat` behind `rawproxy.validate`; no reply passes through it.
Spec: https://platform.openai.com/docs/api-reference/chat-streaming, and what the accumulators of
the `openai` packages demand.
"""

from typing import TypeGuard

from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["ChunkGrammar"]

Json = dict[str, object]

_FINISHES = ("stop", "length", "tool_calls", "content_filter", "function_call")


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _objects(value: object) -> list[Json]:
    return [item for item in value if _is_object(item)] if isinstance(value, list) else []


class _Choice:
    def __init__(self) -> None:
        self.tools = 0
        self.finished = False


class ChunkGrammar:
    """Checks one stream, frame by frame. Comments are fine anywhere, also after the end."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._choices: dict[int, _Choice] = {}
        self._over = ""
        self._counted = False

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        if not frame.has_data:
            return []
        if self._over:
            return [f"end: a frame after {self._over}"]
        if frame.data == b"[DONE]":
            self._over = "[DONE]"
            return self._unfinished()
        try:
            chunk = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the data is not a JSON object"]
        if chunk.get("error") is not None:
            self._over = "an error"
            return self._check_error(chunk["error"])
        return self._check_chunk(chunk)

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        return [] if self._over else ["end: neither [DONE] nor an error came"]

    def _unfinished(self) -> list[str]:
        if not self._choices:
            return ["order: [DONE] before any choice"]
        return [
            f"finish: choice {number} has no finish_reason"
            for number, choice in self._choices.items()
            if not choice.finished
        ]

    def _check_error(self, error: object) -> list[str]:
        if _is_object(error) and isinstance(error.get("message"), str):
            return []
        return ["error: it has no message"]

    def _check_chunk(self, chunk: Json) -> list[str]:
        choices = _objects(chunk.get("choices"))
        counted = chunk.get("usage") is not None
        if not (choices or counted or chunk.get("id")):
            return []  # Azure's first chunk, which holds what its filter thinks of the prompt
        broken = self._check_head(chunk)
        if not isinstance(chunk.get("choices"), list):
            broken.append("choices: not a list")
        if self._counted:
            broken.append("usage: a chunk after the one with usage")
        self._counted = counted and not choices
        for choice in choices:
            broken += self._check_choice(choice)
        return broken

    def _check_head(self, chunk: Json) -> list[str]:
        broken = []
        if chunk.get("object") != "chat.completion.chunk":
            broken.append("object: not chat.completion.chunk")
        for name in ("id", "created", "model"):
            value = chunk.get(name)
            if value is None:
                broken.append(f"{name}: missing")
            elif self._head.setdefault(name, value) != value:
                broken.append(f"{name}: it changed")
        return broken

    def _check_choice(self, choice: Json) -> list[str]:
        number, delta = choice.get("index"), choice.get("delta")
        if not isinstance(number, int) or not _is_object(delta):
            return ["choice: no index, or no delta"]
        broken = []
        known = self._choices.get(number)
        if known is None:
            if not self._choices and number:
                broken.append("order: the first chunk is not of choice 0")
            known = self._choices[number] = _Choice()
            if delta.get("role") != "assistant":
                broken.append(f"role: choice {number} begins without one")
        elif delta.get("role") is not None:
            broken.append(f"role: choice {number} says it twice")
        if known.finished and (delta.keys() - {"audio"}):
            broken.append(f"finish: choice {number} goes on after finish_reason")
        broken += self._check_tools(known, delta)
        for entry in _objects(delta.get("reasoning_details")):
            if not isinstance(entry.get("index"), int):
                broken.append("index: an entry of reasoning_details has none")
        return broken + self._check_finish(known, choice)

    def _check_finish(self, known: _Choice, choice: Json) -> list[str]:
        word = choice.get("finish_reason")
        if word is None:
            return []
        again, known.finished = known.finished, True
        broken = [f"finish: choice {choice['index']} finishes twice"] if again else []
        return broken if word in _FINISHES else [*broken, f"finish: {word} is no finish_reason"]

    def _check_tools(self, known: _Choice, delta: Json) -> list[str]:
        broken = []
        for call in _objects(delta.get("tool_calls")):
            index = call.get("index")
            if index == known.tools:
                known.tools += 1
                kind = str(call.get("type"))
                inner = call.get(kind)
                if not (_is_object(inner) and inner.get("name") and call.get("id")):
                    broken.append(f"tool: call {index} begins without its id, type or name")
            elif not isinstance(index, int) or not 0 <= index < known.tools:
                broken.append(f"index: tool call {index} where {known.tools} comes next")
            elif call.keys() & {"id", "type"}:
                broken.append(f"tool: call {index} says its id or type twice")
        return broken
