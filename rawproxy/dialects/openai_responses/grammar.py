"""What the Responses API promises of a stream, as a checker.

Layer: dialects. The part of `openai_responses` behind `rawproxy.validate`; no reply passes it.
Spec: https://platform.openai.com/docs/api-reference/responses-streaming, and what the accumulators
of the `openai` packages and Codex demand. Items and parts of types that are not known here are let
through, and so are the events of the vendor's own tools.
"""

from typing import TypeGuard

from rawproxy.dialects.openai_responses.item_reader import CALLS
from rawproxy.dialects.openai_responses.items import ASIDE
from rawproxy.dialects.reading import decode
from rawproxy.wire.frame import Frame

__all__ = ["ResponseGrammar"]

Json = dict[str, object]

_ENDS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}
_KINDS = {
    # family of events -> type of its item, index of the part, the member with the whole text
    "response.output_text": ("message", "content_index", "text"),
    "response.refusal": ("message", "content_index", "refusal"),
    "response.reasoning_text": ("reasoning", "content_index", "text"),
    "response.reasoning_summary_text": ("reasoning", "summary_index", "text"),
    "response.function_call_arguments": ("function_call", "", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "", "input"),
}
_PARTS = {
    "response.content_part": "content_index",
    "response.reasoning_summary_part": "summary_index",
}
_BEGINS: dict[str, Json] = {
    # type of item -> members that begin so
    "message": {"role": "assistant", "content": []},
    "reasoning": {"summary": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
}
_SAME = ("id", "type", "call_id")
_COUNTS = ("input_tokens", "output_tokens", "total_tokens")


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class _Item:
    """An item that was added: its members then, its parts, the pieces of its texts."""

    def __init__(self, begun: Json) -> None:
        self.begun = begun
        self.type = str(begun.get("type"))
        self.texts: dict[tuple[str, int], list[str]] = {}
        self.said: dict[tuple[str, int], str] = {}  # whole texts, once they are done
        self.open: set[tuple[str, int]] = set()
        self.parts: dict[str, int] = {}  # which index -> how many
        self.done = False


class ResponseGrammar:
    """Checks one stream, frame by frame."""

    def __init__(self) -> None:
        self._sequence = 0
        self._id: object = None
        self._begun = False
        self._items: list[_Item] = []
        self._error = False
        self._over = ""

    def check(self, frame: Frame) -> list[str]:
        """Return the rules that `frame` breaks; see `Grammar`."""
        if not frame.has_data or (self._over and frame.data == b"[DONE]"):
            return []
        if self._over:
            return [f"end: a frame after {self._over}"]
        try:
            event = decode(frame.data, dict[str, object])
        except ValueError:
            return ["json: the data is not a JSON object"]
        kind = str(event.get("type"))
        broken = []
        if frame.name not in (b"", kind.encode()):
            named = frame.name.decode("utf-8", "replace")
            broken.append(f"event: the data is of type {kind}, the event line says {named!r}")
        number = event.get("sequence_number")
        if number != self._sequence:
            broken.append(f"sequence: {number} where {self._sequence} is due")
        self._sequence = (number if isinstance(number, int) else self._sequence) + 1
        if self._begun is (kind == "response.created"):
            broken.append(f"order: {kind} " + ("again" if self._begun else "first"))
        if self._error and kind != "response.failed":
            broken.append(f"end: {kind} after an error")
        return broken + self._check_event(kind, event)

    def close(self) -> list[str]:
        """Return what the end of the stream breaks; see `Grammar`."""
        if self._over:
            return []
        return ["end: an error without response.failed" if self._error else "end: it never came"]

    def _check_event(self, kind: str, event: Json) -> list[str]:
        family, _, phase = kind.rpartition(".")
        match kind:
            case "response.created" | "response.in_progress" | "response.queued":
                return self._check_begin(event.get("response"))
            case "response.output_item.added":
                return self._check_added(event)
            case "response.output_item.done":
                return self._check_done(event)
            case "response.output_text.annotation.added":
                return self._check_note(event)
            case "error":
                self._error = True
                told = isinstance(event.get("message"), str) and _is_object(event.get("error"))
                return [] if told else ["error: it has no message, or no error object"]
        if kind in _ENDS:
            return self._check_end(kind, event.get("response"))
        if family in _KINDS and phase in ("delta", "done"):
            return self._check_text(family, phase, event)
        if family in _PARTS and phase in ("added", "done"):
            return self._check_part(family, phase, event)
        return [] if ASIDE.fullmatch(kind) else [f"type: {kind} is none of the API's"]

    def _check_begin(self, response: object) -> list[str]:
        first, self._begun = not self._begun, True
        if not _is_object(response):
            return ["response: there is none"]
        if first:
            self._id = response.get("id")
        broken = self._check_response(response)
        if response.get("status") not in ("in_progress", "queued"):
            broken.append(f"response: it begins as {response.get('status')}")
        return broken

    def _check_response(self, response: Json) -> list[str]:
        broken = [
            f"response: it has no {name}"
            for name in ("id", "model", "created_at")
            if not response.get(name) and response.get(name) != 0
        ]
        if response.get("id") != self._id:
            broken.append("id: the response has another one than before")
        if not isinstance(response.get("output"), list):
            broken.append("response: its output is no list")
        return broken

    def _check_added(self, event: Json) -> list[str]:
        item, index = event.get("item"), event.get("output_index")
        if not _is_object(item) or not isinstance(item.get("type"), str):
            return ["item: it has no type"]
        broken = []
        if index != len(self._items):
            broken.append(f"index: item {index} where {len(self._items)} comes next")
        found = _Item(item)
        if found.type in _BEGINS:
            named = ("id", "call_id", "name") if found.type in CALLS else ("id",)
            broken += [f"item: {found.type} without {name}" for name in named if not item.get(name)]
            broken += [
                f"item: {name} of {found.type} does not begin as {value!r}"
                for name, value in _BEGINS[found.type].items()
                if item.get(name) != value
            ]
        for name in ("id", "call_id"):
            value = item.get(name)
            if value is not None and value in [one.begun.get(name) for one in self._items]:
                broken.append(f"id: two items have one {name}")
        if found.type in CALLS:
            found.open.add(("", 0))
        self._items.append(found)
        return broken

    def _item(self, event: Json) -> _Item | str:
        """Return the item that an event is about, or what is wrong with it."""
        index = event.get("output_index")
        if not isinstance(index, int) or not 0 <= index < len(self._items):
            return f"index: {event['type']} for item {index}, which was not added"
        item = self._items[index]
        if item.done:
            return f"order: {event['type']} for item {index}, which is done"
        if event.get("item_id", item.begun.get("id")) != item.begun.get("id"):
            return f"id: {event['type']} names another item than the one at its index"
        return item

    def _check_part(self, family: str, phase: str, event: Json) -> list[str]:
        item, where = self._item(event), _PARTS[family]
        if isinstance(item, str):
            return [item]
        at = event.get(where)
        part = event.get("part")
        if not isinstance(at, int) or not _is_object(part):
            return ["part: there is none, or no index of it"]
        if phase == "added":
            if at != (count := item.parts.get(where, 0)):
                return [f"index: part {at} where {count} comes next"]
            item.parts[where] = count + 1
            item.open.add((where, at))
            return []
        if (where, at) not in item.open:
            return [f"order: part {at} is done before it was added, or twice"]
        item.open.discard((where, at))
        text = part.get("refusal" if part.get("type") == "refusal" else "text")
        if text != item.said.get((where, at), ""):
            return ["text: the part is not what its text was"]
        return []

    def _check_text(self, family: str, phase: str, event: Json) -> list[str]:
        item = self._item(event)
        if isinstance(item, str):
            return [item]
        kind, where, member = _KINDS[family]
        at = event.get(where) if where else 0
        if item.type != kind:
            return [f"item: {event['type']} for an item of type {item.type}"]
        if not isinstance(at, int) or (where, at) not in item.open:
            return [f"order: {event['type']} for part {at}, which is not open"]
        piece = event.get("delta" if phase == "delta" else member)
        if not isinstance(piece, str):
            return [f"text: {event['type']} without it"]
        pieces = item.texts.setdefault((where, at), [])
        if phase == "delta":
            pieces.append(piece)
            late = (where, at) in item.said
            return [f"order: {event['type']} after the text was done"] if late else []
        item.said[where, at] = piece
        if not where:
            item.open.discard((where, at))
        return [] if piece == "".join(pieces) else ["text: it is not what its deltas were"]

    def _check_note(self, event: Json) -> list[str]:
        item = self._item(event)
        if isinstance(item, str):
            return [item]
        at = event.get("content_index")
        if not isinstance(at, int) or ("content_index", at) not in item.open:
            return [f"order: an annotation of part {at}, which is not open"]
        return [] if _is_object(event.get("annotation")) else ["annotation: there is none"]

    def _check_done(self, event: Json) -> list[str]:
        item, final = self._item(event), event.get("item")
        if isinstance(item, str):
            return [item]
        if not _is_object(final):
            return ["item: there is none"]
        item.done = True
        broken = [
            f"id: the {name} of an item changed"
            for name in _SAME
            if final.get(name) != item.begun.get(name)
        ]
        if item.open:
            broken.append("order: an item is done before its parts are")
        return broken + _check_texts(item, final)

    def _check_end(self, kind: str, response: object) -> list[str]:
        self._over = kind
        if not _is_object(response):
            return ["response: there is none"]
        broken = self._check_response(response)
        status = response.get("status")
        if status != _ENDS[kind]:
            broken.append(f"response: {kind} with status {status}")
        if kind == "response.failed":
            error = response.get("error")
            told = _is_object(error) and error.get("code") and error.get("message")
            return broken if told else [*broken, "error: it has no code, or no message"]
        if not all(item.done for item in self._items):
            broken.append(f"order: {kind} before every item is done")
        ids = [item.begun.get("id") for item in self._items]
        if _ids(response.get("output")) != ids:
            broken.append("output: it is not the items of the stream")
        details = response.get("incomplete_details")
        if status == "incomplete" and not (_is_object(details) and details.get("reason")):
            broken.append("response: it is incomplete, and does not say why")
        usage = response.get("usage")
        counts = usage if _is_object(usage) else {}
        return broken + [
            f"usage: {name} is no number" for name in _COUNTS if not _is_count(counts.get(name))
        ]


def _ids(output: object) -> list[object]:
    items = output if isinstance(output, list) else []
    return [item.get("id") if _is_object(item) else None for item in items]


def _check_texts(item: _Item, final: Json) -> list[str]:
    """Return whether the item that is done says something else than its events did."""
    if item.type in CALLS:
        said = item.said.get(("", 0))
        return [] if final.get(CALLS[item.type][1]) == said else ["text: not what its deltas were"]
    if item.type != "message":
        return []  # a reasoning item may come whole
    parts = final.get("content")
    texts = [
        part.get("refusal" if part.get("type") == "refusal" else "text")
        for part in (parts if isinstance(parts, list) else [])
        if _is_object(part)
    ]
    said_texts = [item.said.get(key) for key in sorted(item.texts.keys() | item.said.keys())]
    return [] if texts == said_texts else ["text: the message is not what its parts were"]
