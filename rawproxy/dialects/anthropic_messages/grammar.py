"""What the Messages API promises of a stream, as a checker.

Layer: dialects. The part of `anthropic_messages` behind `rawproxy.validate`; no reply passes it.
Spec: https://platform.claude.com/docs/en/build-with-claude/streaming, and what the accumulators of
the `anthropic` packages demand. Events, blocks and deltas that are not known here are let through:
the API says that there will be new ones.
"""

from typing import TypeGuard

from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["ReplyGrammar"]

Json = dict[str, object]

_STOP_REASONS = (
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal",
    "model_context_window_exceeded", "compaction",
)  # fmt: skip
_BEGINS = {
    # type of block -> its member that begins empty
    "text": ("text", ""), "thinking": ("thinking", ""), "tool_use": ("input", {}),
}  # fmt: skip
_DELTAS = {
    # type of delta -> the types of block it may be for, its member
    "text_delta": (("text",), "text"),
    "citations_delta": (("text",), "citation"),
    "thinking_delta": (("thinking",), "thinking"),
    "signature_delta": (("thinking",), "signature"),
    "input_json_delta": (("tool_use", "server_tool_use", "mcp_tool_use"), "partial_json"),
}


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class ReplyGrammar:
    """Checks one stream, frame by frame. Comments are fine anywhere, also after the end."""

    def __init__(self) -> None:
        self._started = False
        self._blocks = 0
        self._open = ""  # the type of the open block
        self._signed = False
        self._input: list[str] = []
        self._tools = 0
        self._broken_input = False
        self._stopped = False
        self._over = ""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        if not frame.has_data:
            return []
        if self._over:
            return [f"end: a frame after {self._over}"]
        try:
            event = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the data is not a JSON object"]
        kind = str(event.get("type"))
        broken = []
        if frame.name != kind.encode():
            named = frame.name.decode("utf-8", "replace")
            broken.append(f"event: the data is of type {kind}, the event line says {named!r}")
        if not (self._started or kind in ("message_start", "error")):
            broken.append(f"order: {kind} before message_start")
        match kind:
            case "message_start":
                return broken + self._check_start(event.get("message"))
            case "content_block_start":
                return broken + self._check_block(event)
            case "content_block_delta":
                return broken + self._check_delta(event)
            case "content_block_stop":
                return broken + self._check_block_stop(event)
            case "message_delta":
                return broken + self._check_stop(event)
            case "message_stop":
                return broken + self._check_end()
            case "error":
                self._over = "an error"
                return broken + _check_error(event.get("error"))
        return broken

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        return [] if self._over else ["end: neither message_stop nor an error came"]

    def _check_start(self, message: object) -> list[str]:
        broken = ["order: a second message_start"] if self._started else []
        self._started = True
        if not _is_object(message):
            return [*broken, "start: there is no message"]
        if not (message.get("id") and message.get("model")):
            broken.append("start: the message has no id, or no model")
        wanted: Json = {"type": "message", "role": "assistant", "content": [], "stop_reason": None}
        broken += [
            f"start: {name} is not {value!r}"
            for name, value in wanted.items()
            if message.get(name) != value
        ]
        return broken + _check_usage(message.get("usage"), "input_tokens", "output_tokens")

    def _check_block(self, event: Json) -> list[str]:
        broken = self._check_place("a block")
        if self._open:
            broken.append(f"order: a block begins while block {self._blocks - 1} is open")
        if event.get("index") != self._blocks:
            broken.append(f"index: block {event.get('index')} where {self._blocks} comes next")
        block = event.get("content_block")
        if not _is_object(block) or not isinstance(block.get("type"), str):
            block = {"type": "unknown"}
            broken.append("block: it has no type")
        self._blocks += 1
        self._open, self._signed, self._input = str(block["type"]), False, []
        member, empty = _BEGINS.get(self._open, ("type", self._open))
        if block.get(member) != empty:
            broken.append(f"block: {self._open} does not begin with {member} {empty!r}")
        if self._open == "tool_use":
            self._tools += 1
            if not (block.get("id") and block.get("name")):
                broken.append("block: tool_use without its id, or its name")
        return broken

    def _check_delta(self, event: Json) -> list[str]:
        if broken := self._check_index(event, "content_block_delta"):
            return broken
        delta = event.get("delta")
        if not _is_object(delta):
            return ["delta: there is none"]
        kind = str(delta.get("type"))
        blocks, member = _DELTAS.get(kind, ((self._open,), "type"))
        if self._open not in blocks:
            return [f"delta: {kind} in a block of type {self._open}"]
        piece = delta.get(member)
        if not (_is_object(piece) if member == "citation" else isinstance(piece, str)):
            return [f"delta: {kind} without {member}"]
        if kind == "input_json_delta":
            self._input.append(str(piece))
        if kind != "signature_delta":
            return ["order: the signature is not the last of its block"] if self._signed else []
        again, self._signed = self._signed, True
        return ["signature: a second one replaces the first"] if again else []

    def _check_block_stop(self, event: Json) -> list[str]:
        if broken := self._check_index(event, "content_block_stop"):
            return broken
        text = "".join(self._input)
        if self._open == "tool_use" and text:
            try:
                decode(text.encode("utf-8", "replace"), dict[str, object])
            except ValueError:
                self._broken_input = True
        self._open = ""
        return []

    def _check_index(self, event: Json, kind: str) -> list[str]:
        index = event.get("index")
        if self._open and index == self._blocks - 1:
            return []
        return [f"index: {kind} for block {index}, which is not open"]

    def _check_place(self, what: str) -> list[str]:
        return [f"order: {what} after the stop_reason"] if self._stopped else []

    def _check_stop(self, event: Json) -> list[str]:
        broken = [f"order: message_delta while block {self._blocks - 1} is open"] * bool(self._open)
        broken += _check_usage(event.get("usage"), "output_tokens")
        delta = event.get("delta")
        if not _is_object(delta):
            return [*broken, "delta: there is none"]
        word = delta.get("stop_reason")
        if word is None:
            return broken
        self._stopped = True
        if word not in _STOP_REASONS:
            broken.append(f"stop: {word} is no stop_reason")
        if word == "tool_use" and not self._tools:
            broken.append("stop: tool_use without a tool_use block")
        if word == "tool_use" and self._broken_input:
            broken.append("json: the input of a tool is not a JSON object")
        if word == "stop_sequence" and not isinstance(delta.get("stop_sequence"), str):
            broken.append("stop: stop_sequence does not say which")
        return broken

    def _check_end(self) -> list[str]:
        self._over = "message_stop"
        return [] if self._stopped else ["stop: message_stop without a stop_reason before it"]


def _check_usage(usage: object, *counts: str) -> list[str]:
    if not _is_object(usage):
        return ["usage: missing"]
    return [f"usage: {name} is no number" for name in counts if not _is_count(usage.get(name))]


def _check_error(error: object) -> list[str]:
    if _is_object(error) and all(isinstance(error.get(name), str) for name in ("type", "message")):
        return []
    return ["error: it has no type, or no message"]
