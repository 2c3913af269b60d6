"""What Completions promises of a stream, as a checker.

Layer: dialects. The part of `openai_completions` behind `rawproxy.validate`; no reply passes
through it.
Spec: https://platform.openai.com/docs/api-reference/completions/object
"""

from typing import TypeGuard

from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["CompletionGrammar"]

Json = dict[str, object]

_FINISHES = ("stop", "length", "content_filter")


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


class CompletionGrammar:
    """Checks one stream, frame by frame. Comments are fine anywhere, also after the end."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._finished: dict[int, bool] = {}  # choices that were seen
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
            error = chunk["error"]
            told = _is_object(error) and isinstance(error.get("message"), str)
            return [] if told else ["error: it has no message"]
        return self._check_chunk(chunk)

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        return [] if self._over else ["end: neither [DONE] nor an error came"]

    def _unfinished(self) -> list[str]:
        if not self._finished:
            return ["order: [DONE] before any choice"]
        return [
            f"finish: choice {number} has no finish_reason"
            for number, finished in self._finished.items()
            if not finished
        ]

    def _check_chunk(self, chunk: Json) -> list[str]:
        choices = chunk.get("choices")
        counted = chunk.get("usage") is not None
        if not (choices or counted or chunk.get("id")):
            return []  # Azure's first chunk, which holds what its filter thinks of the prompt
        broken = self._check_head(chunk)
        if self._counted:
            broken.append("usage: a chunk after the one with usage")
        self._counted = counted and not choices
        if not isinstance(choices, list):
            return [*broken, "choices: not a list"]
        for choice in choices:
            broken += self._check_choice(choice)
        return broken

    def _check_head(self, chunk: Json) -> list[str]:
        broken = []
        if chunk.get("object") != "text_completion":
            broken.append("object: not text_completion")
        for name in ("id", "created", "model"):
            value = chunk.get(name)
            if value is None:
                broken.append(f"{name}: missing")
            elif self._head.setdefault(name, value) != value:
                broken.append(f"{name}: it changed")
        return broken

    def _check_choice(self, choice: object) -> list[str]:
        if not _is_object(choice):
            return ["choice: not an object"]
        number, text, word = choice.get("index"), choice.get("text"), choice.get("finish_reason")
        if not isinstance(number, int) or not isinstance(text, str):
            return ["choice: no index, or no text"]
        broken = []
        if self._finished.get(number):
            broken.append(f"finish: choice {number} goes on after finish_reason")
        self._finished[number] = self._finished.get(number, False) or word is not None
        if word is not None and word not in _FINISHES:
            broken.append(f"finish: {word} is no finish_reason")
        return broken
