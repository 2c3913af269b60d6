"""What ConverseStream promises of a stream, as a checker.

Layer: dialects. The part of `bedrock_converse` behind `rawproxy.validate`; no reply passes it.
Spec: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, and
botocore's model of it, 1.44.5. Events, blocks and deltas that are not known here are let through.
"""

from typing import TypeGuard

from rawproxy.dialects.bedrock_converse.errors import EXCEPTIONS
from rawproxy.dialects.bedrock_converse.reader import REASONS
from rawproxy.dialects.reading import decode
from rawproxy.wire.eventstream import EventFrame
from rawproxy.wire.frame import Frame

__all__ = ["ReplyGrammar"]

Json = dict[str, object]

_STARTED = ("toolUse", "toolResult", "image")
"""Blocks that begin with a message of their own."""

_DELTAS = {
    # member of a delta -> the kind of block it is for
    "text": "text", "citation": "text", "reasoningContent": "reasoningContent",
    "toolUse": "toolUse", "toolResult": "toolResult", "image": "image",
}  # fmt: skip
_COUNTS = ("inputTokens", "outputTokens", "totalTokens")


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class ReplyGrammar:
    """Checks one stream, message by message."""

    def __init__(self) -> None:
        self._started = False
        self._blocks = 0
        self._open = ""  # the kind of the open block
        self._pieces: set[str] = set()  # members of reasoningContent so far
        self._input: list[str] = []
        self._tools = 0
        self._broken_input = False
        self._stopped = False
        self._over = ""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        name = frame.name.decode("utf-8", "replace")
        if self._over:
            return [f"end: {name} after {self._over}"]
        try:
            said = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the payload is not a JSON object"]
        if isinstance(frame, EventFrame) and frame.kind != b"event":
            self._over = "an exception"
            return _check_exception(name, said)
        broken = []
        if not self._started and name != "messageStart":
            broken.append(f"order: {name} before messageStart")
        if self._stopped and name != "metadata":
            broken.append(f"order: {name} after messageStop")
        match name:
            case "messageStart":
                return broken + self._check_start(said)
            case "contentBlockStart":
                return broken + self._check_block(said)
            case "contentBlockDelta":
                return broken + self._check_delta(said)
            case "contentBlockStop":
                return broken + self._check_block_stop(said)
            case "messageStop":
                return broken + self._check_stop(said)
            case "metadata":
                return broken + self._check_metadata(said)
        return broken

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        return [] if self._over else ["end: neither metadata nor an exception came"]

    def _check_start(self, said: Json) -> list[str]:
        broken = ["order: a second messageStart"] if self._started else []
        self._started = True
        if said.get("role") != "assistant":
            broken.append("start: the role is not assistant")
        return broken

    def _check_block(self, said: Json) -> list[str]:
        start = said.get("start")
        if not _is_object(start) or len(start) != 1:
            return ["block: contentBlockStart does not say what begins"]
        ((kind, item),) = start.items()
        broken = self._begin(said, kind)
        if kind == "toolUse":
            self._tools += 1
            if not (_is_object(item) and item.get("toolUseId") and item.get("name")):
                broken.append("block: toolUse without its id, or its name")
        return broken

    def _begin(self, said: Json, kind: str) -> list[str]:
        broken = []
        index = said.get("contentBlockIndex")
        if self._open:
            broken.append(f"order: a block begins while block {self._blocks - 1} is open")
        if index != self._blocks:
            broken.append(f"index: block {index} where {self._blocks} comes next")
        self._blocks += 1
        self._open, self._pieces, self._input = kind, set(), []
        return broken

    def _check_delta(self, said: Json) -> list[str]:
        delta = said.get("delta")
        if not _is_object(delta) or len(delta) != 1:
            return ["delta: it does not say of what"]
        ((member, piece),) = delta.items()
        kind = _DELTAS.get(member, self._open or member)
        index = said.get("contentBlockIndex")
        broken = []
        if not self._open or index != self._blocks - 1:
            if kind in _STARTED:
                return [f"index: {kind} for block {index}, which is not open"]
            broken = self._begin(said, kind)
        if self._open != kind:
            return [*broken, f"delta: {member} in a block of {self._open}"]
        return broken + self._check_piece(member, piece)

    def _check_piece(self, member: str, piece: object) -> list[str]:
        if member == "text":
            return [] if isinstance(piece, str) else ["delta: text is no string"]
        if member == "toolUse":
            text = piece.get("input") if _is_object(piece) else None
            self._input.append(str(text))
            return [] if isinstance(text, str) else ["delta: toolUse without input"]
        if member != "reasoningContent":
            return []
        if not _is_object(piece) or not all(isinstance(one, str) for one in piece.values()):
            return ["delta: reasoningContent is no union of strings"]
        late = "signature" in self._pieces
        self._pieces |= piece.keys()
        return ["order: the signature is not the last of its block"] if late else []

    def _check_block_stop(self, said: Json) -> list[str]:
        index = said.get("contentBlockIndex")
        if not self._open or index != self._blocks - 1:
            return [f"index: contentBlockStop for block {index}, which is not open"]
        if self._open == "toolUse":
            try:
                decode("".join(self._input).encode("utf-8", "replace"), dict[str, object])
            except ValueError:
                self._broken_input = True
        self._open = ""
        return []

    def _check_stop(self, said: Json) -> list[str]:
        broken = [f"order: messageStop while block {self._blocks - 1} is open"] * bool(self._open)
        self._stopped = True
        word = said.get("stopReason")
        if not isinstance(word, str) or word not in REASONS:
            broken.append(f"stop: {word} is no stopReason")
        if word == "tool_use" and not self._tools:
            broken.append("stop: tool_use without a toolUse block")
        if word == "tool_use" and self._broken_input:
            broken.append("json: the input of a tool is not a JSON object")
        return broken

    def _check_metadata(self, said: Json) -> list[str]:
        broken = [] if self._stopped else ["order: metadata before messageStop"]
        self._over = "metadata"
        usage, metrics = said.get("usage"), said.get("metrics")
        if not _is_object(usage):
            broken.append("usage: missing")
        else:
            wrong = [name for name in _COUNTS if not _is_count(usage.get(name))]
            broken += [f"usage: {name} is no number" for name in wrong]
        if not (_is_object(metrics) and _is_count(metrics.get("latencyMs"))):
            broken.append("metrics: there is no latencyMs")
        return broken


def _check_exception(name: str, said: Json) -> list[str]:
    broken = [] if name in EXCEPTIONS else [f"error: a stream has no {name}"]
    if not isinstance(said.get("message"), str):
        broken.append("error: it has no message")
    return broken
