"""A conversation as one plain text, for models and servers that take nothing else.

Layer: dialects. Pure renderings; what they cost is told beside them.

    You are brief.

    User: Hi

    Assistant: Hello.

    User: And in French?

    Assistant:

A question alone, without instructions or earlier turns, stays as it is: the prompt of a model that
completes text. A prompt that the client wrote itself goes as the client wrote it.
"""

from collections.abc import Iterable
from itertools import groupby

from rawproxy.dialects.call import (
    Audio,
    Cache,
    Call,
    Document,
    File,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from rawproxy.dialects.losses import Loss, Why
from rawproxy.dialects.narrowing import BILLING, document_text, search_text

__all__ = ["joined", "render_plain", "render_turns"]

_LABELS = {"system": "System", "user": "User", "assistant": "Assistant"}

Marked = tuple[object, str]
"""A text, and what it belongs to: texts of one mark go on from one another."""


def joined(texts: Iterable[Marked]) -> str:
    """Return texts as one. Those of one mark join with nothing, a change of mark gives a blank line."""
    pieces: list[str] = []
    before: object = None
    for mark, text in texts:
        if text:
            if pieces and mark != before:
                pieces.append("\n\n")
            pieces.append(text)
            before = mark
    return "".join(pieces)


def _paragraphs(texts: list[str]) -> str:
    return "\n\n".join([text for text in texts if text])


def render_plain(call: Call) -> tuple[str, list[Loss]]:
    """Return a call's conversation as one text, and what of it is lost."""
    if call.raw_prompt is not None and not call.unopened and all(map(_is_text, call.turns)):
        return call.raw_prompt, []
    opening, said, losses = render_turns(call)
    if call.raw_prompt is not None:
        return call.raw_prompt, losses  # of pictures beside it, for example
    if not opening and [role for role, _ in said] == ["user"]:
        return said[0][1], losses
    lines = [f"{_LABELS[role]}: {text}" for role, text in said]
    if not (call.prefill and said and said[-1][0] == "assistant"):
        lines.append("Assistant:")
    return "\n\n".join([opening, *lines] if opening else lines), losses


def render_turns(call: Call) -> tuple[str, list[tuple[str, str]], list[Loss]]:
    """Return the opening instructions, then each role and what it said, and what is lost.

    Roles are system, user and assistant. Adjacent turns of a role are one; empty ones are left out.
    """
    renderer = _Renderer(call)
    opening, said = renderer.turns()
    return opening, said, [Loss(path, why) for path, why in renderer.losses.items()]


class _Renderer:
    """Renders one conversation.

    Args:
        call: whose turns.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._called: dict[str, str] = {}  # id of a tool call -> the tool's name
        self.losses: dict[str, Why] = dict.fromkeys(call.unopened, "owned elsewhere")

    def turns(self) -> tuple[str, list[tuple[str, str]]]:
        lead = self._call.leading_system()
        opening = _paragraphs([self._turn(turn, apart=True) for turn in lead])
        return opening, [
            (role, said)
            for role, group in groupby(self._call.turns[len(lead) :], key=_role)
            if (said := _paragraphs([self._turn(turn) for turn in group]))
        ]

    def _lose(self, path: str, why: Why = "no such thing there") -> None:
        self.losses.setdefault(path, why)

    def _turn(self, turn: Turn, *, apart: bool = False) -> str:
        """Return what a turn says; `apart`: none of its texts goes on from another one."""
        if turn.name:
            self._lose(f"{turn.path}.name")
        texts = [text for part in turn.parts for text in self._part(part)]
        if len(texts) == 1:
            return texts[0][1]
        return _paragraphs([text for _, text in texts]) if apart else joined(texts)

    def _part(self, part: Part) -> list[Marked]:
        """Return the texts of a part."""
        if isinstance(part, Text) or not isinstance(part, (Thinking, Refusal, Opaque)):
            self._lose_cache(part.cache, part.path)
        match part:
            case Text():
                return self._say(part)
            case Refusal():
                return [(None, part.text)]
            case SearchResult():
                self._lose_citations(part)
                return [(object(), search_text(part))]
            case Document():
                return self._document(part)
            case ToolCall():
                return [(object(), self._tool_call(part))]
            case ToolResult():
                return [(object(), self._tool_result(part))]
            case Thinking():
                if part.text or part.seal is not None:
                    self._lose(part.path)
            case Audio():
                self._lose(f"{part.path}.input_audio")
            case _:
                self._lose(part.path)
        return []

    def _say(self, part: Text) -> list[Marked]:
        if part.citations:
            self._lose(f"{part.path}.citations")
        if part.seal is not None:
            self._lose(part.path, "owned elsewhere")
        return [] if part.text.startswith(BILLING) else [(part.phase, part.text)]

    def _lose_cache(self, cache: Cache | None, path: str) -> None:
        if cache is not None:
            self._lose(f"{path}.{self._call.names.get('cache', 'cache_control')}")

    def _lose_citations(self, part: Document | SearchResult) -> None:
        if part.citations is not None:
            self._lose(f"{part.path}.citations")

    def _document(self, part: Document) -> list[Marked]:
        self._lose_citations(part)
        if isinstance(part.source, Inline):
            inside = [text for inner in part.source.parts for text in self._part(inner)]
            return [(object(), document_text(part)), *inside]
        owned = isinstance(part.source, File)
        self._lose(part.path, "owned elsewhere" if owned else "no such thing there")
        return []

    def _tool_call(self, part: ToolCall) -> str:
        self._lose(part.path, "narrower there")
        self._called[part.id] = part.name
        return f"[{part.name} is called with {part.arguments or '{}'}]"

    def _tool_result(self, part: ToolResult) -> str:
        self._lose(part.path, "narrower there")
        name = self._called.get(part.id) or part.name or "the tool"
        text = joined(piece for inner in part.parts for piece in self._part(inner))
        return f"[{name} {'failed' if part.is_error else 'returned'}]\n{text}"


def _is_text(turn: Turn) -> bool:
    """Return whether a turn is text and nothing that could be lost."""
    return not turn.name and all(
        isinstance(part, Text) and not (part.cache or part.citations or part.seal)
        for part in turn.parts
    )


def _role(turn: Turn) -> str:
    return "system" if turn.role == "developer" else turn.role
