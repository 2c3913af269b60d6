"""What streamGenerateContent promises of a stream, as a checker.

Layer: dialects. The part of `gemini` behind `rawproxy.validate`; no reply passes through it.
Source: https://ai.google.dev/api/generate-content#GenerateContentResponse, and what `google-genai`
3.3.0 demands. Members that are not known here are let through.
"""

from typing import TypeGuard

from rawproxy.dialects.gemini.reader import NO_REASON, REASONS
from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["ChunkGrammar"]

Json = dict[str, object]

_CONSTANT = ("responseId", "modelVersion")
_TEXTS = ("text", "thoughtSignature")


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


class ChunkGrammar:
    """Checks one stream, chunk by chunk."""

    def __init__(self) -> None:
        self._known: dict[str, object] = {}  # what stays the same in every chunk
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._counts: dict[str, int | float] = {}
        self._over = ""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        lines = [line for line in frame.raw.splitlines() if line]
        if not lines:
            return []
        if len(lines) > 1 or not lines[0].startswith(b"data: "):
            return ["framing: a frame is one line that begins with `data: `"]
        if self._over:
            return [f"end: a chunk after {self._over}"]
        try:
            chunk = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the chunk is not a JSON object"]
        if "error" in chunk:
            return self._check_error(chunk)
        return [
            *self._check_head(chunk),
            *self._check_candidates(chunk),
            *self._check_usage(chunk.get("usageMetadata", {})),
        ]

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        if self._over:
            return []
        broken = []
        if not self._seen or self._seen - self._finished:
            broken.append("end: a candidate has no finishReason")
        if self._seen != set(range(len(self._seen))):
            broken.append("index: candidates are not counted from 0")
        return broken

    def _check_error(self, chunk: Json) -> list[str]:
        self._over = "an error"
        error = chunk["error"]
        if next(iter(chunk)) != "error":
            return ["error: clients look for it at the beginning of the chunk"]
        if not _is_object(error) or not isinstance(error.get("message"), str):
            return ["error: it has no message"]
        code = error.get("code")
        return [] if isinstance(code, int) and code >= 400 else ["error: it has no code"]

    def _check_head(self, chunk: Json) -> list[str]:
        broken = []
        for name in _CONSTANT:
            value = chunk.get(name)
            if value is not None and self._known.setdefault(name, value) != value:
                broken.append(f"head: {name} changed")
        feedback = chunk.get("promptFeedback")
        if _is_object(feedback) and feedback.get("blockReason"):
            self._over = "a refused prompt"
        return broken

    def _check_candidates(self, chunk: Json) -> list[str]:
        candidates = chunk.get("candidates", [])
        if not isinstance(candidates, list):
            return ["candidates: not a list"]
        broken = []
        for at, candidate in enumerate(candidates):
            if _is_object(candidate):
                broken += self._check_candidate(candidate, at)
            else:
                broken.append("candidates: one is not an object")
        return broken

    def _check_candidate(self, candidate: Json, at: int) -> list[str]:
        index = candidate.get("index", at)
        if not isinstance(index, int):
            return ["index: not a number"]
        if index in self._finished:
            return [f"order: candidate {index} goes on after its finishReason"]
        self._seen.add(index)
        broken = _check_content(candidate.get("content"))
        word = candidate.get("finishReason")
        if word is not None and word not in NO_REASON:
            self._finished.add(index)
            if not isinstance(word, str) or word not in REASONS:
                broken.append(f"finish: {word} is no finishReason")
        return broken

    def _check_usage(self, usage: object) -> list[str]:
        if not _is_object(usage):
            return ["usage: not an object"]
        broken = []
        for name, count in usage.items():
            if not name.endswith("Count"):
                continue
            if not isinstance(count, (int, float)) or isinstance(count, bool):
                broken.append(f"usage: {name} is no number")
            elif count < self._counts.setdefault(name, count):
                broken.append(f"usage: {name} went down")
            else:
                self._counts[name] = count
        return broken


def _check_content(content: object) -> list[str]:
    if content is None:
        return []
    if not _is_object(content):
        return ["content: not an object"]
    broken = [] if content.get("role") == "model" else ["content: the role is not model"]
    parts = content.get("parts", [])
    if not isinstance(parts, list):
        return [*broken, "content: parts are not a list"]
    return broken + [rule for part in parts for rule in _check_part(part)]


def _check_part(part: object) -> list[str]:
    if not _is_object(part) or not part:
        return ["part: not an object, or empty"]
    broken = [
        f"part: {name} is no string"
        for name in _TEXTS
        if name in part and not isinstance(part[name], str)
    ]
    if "functionCall" not in part:
        return broken
    call = part["functionCall"]
    if not _is_object(call):
        return [*broken, "tool: not an object"]
    if "willContinue" in call or "partialArgs" in call or not call:
        return broken  # it comes in pieces
    if not call.get("name") or not _is_object(call.get("args", {})):
        broken.append("tool: a call without a name, or whose arguments are no object")
    return broken
