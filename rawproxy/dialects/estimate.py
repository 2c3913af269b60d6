"""How many input tokens a call comes to, where nobody can be asked.

Layer: dialects. An estimate, and called one wherever it is shown: not every model's tokenizer is
public. It counts characters by their kind; equal calls give equal numbers.
"""

import re
from collections.abc import Iterator
from typing import assert_never

from msgspec import Raw

from rawproxy.dialects.call import (
    Audio,
    Base64,
    Call,
    Document,
    Image,
    Inline,
    Opaque,
    Part,
    Refusal,
    SearchResult,
    Source,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Video,
)
from rawproxy.dialects.narrowing import search_text

__all__ = ["estimate_text", "estimate_tokens"]

IMAGE_TOKENS = 1600
"""A picture of 1.15 megapixels, to which Claude scales down larger ones; its size is not read."""

PDF_PAGE_BYTES = 50_000
"""Bytes of a PDF for each page: pages of text are smaller, scans larger."""

PDF_PAGE_TOKENS = 2500
"""Tokens of a page: its text, and its picture."""

AUDIO_BYTES_PER_TOKEN = 1000
"""Sound is counted by its duration; this is what a compressed second comes to."""

UNSEEN_TOKENS = 1000
"""Content that is only an address or a file id to us."""

TURN_TOKENS = 4
"""What marks a turn's beginning, its end and its role."""

TOOL_TOKENS = 12
"""What is put around a tool's declaration."""

# Kinds of characters, and what one of them comes to in fortieths of a token: 4 letters make a
# token, or 2.5 digits, 1.6 letters of other alphabets, one of Chinese, Japanese and Korean or an
# emoji, 2 of everything else.
_KINDS = (
    (re.compile(r"[A-Za-z ]+"), 10),
    (re.compile(r"[0-9]+"), 16),
    (re.compile(r"[\u0080-\u2e7f\ua000-\uabff\ud7b0-\uf8ff\ufb00-\ufeff]+"), 25),
    (re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\U0010ffff]+"), 40),
    (re.compile(r"[\x00-\x1f!-/:-@\[-`{-\x7f]+"), 20),
)
_WHOLE = 40


def estimate_text(text: str) -> int:
    """Return the tokens of `text`; 0 only for none."""
    parts = sum(
        weight * sum(map(len, kind.findall(text))) for kind, weight in _KINDS
    )  # fmt: skip
    return -(-parts // _WHOLE)


def estimate_tokens(call: Call) -> int:
    """Return the input tokens of `call`: its turns, its tools, the schema of its reply. Never 0."""
    tokens = sum(map(_tool, call.tools)) + len(call.turns) * TURN_TOKENS
    tokens += sum(map(_part, call.parts()))
    if call.format is not None:
        tokens += _json(call.format.schema)
    return max(1, tokens)


def _json(raw: Raw) -> int:
    return estimate_text(bytes(raw).decode("utf-8", "replace"))


def _tool(tool: Tool) -> int:
    texts = (tool.name, tool.description or "")
    described = sum(map(estimate_text, texts)) + _json(tool.schema) + _json(tool.grammar)
    return TOOL_TOKENS + described + _json(tool.raw)


def _part(part: Part) -> int:
    match part:
        case Text(text=text) | Refusal(text=text) | Thinking(text=text):
            return estimate_text(text)
        case ToolCall(name=name, arguments=arguments):
            return TOOL_TOKENS + estimate_text(name) + estimate_text(arguments)
        case ToolResult(parts=parts):
            return TOOL_TOKENS + sum(map(_part, parts))
        case Image():
            return IMAGE_TOKENS
        case Document():
            return sum(_document(part))
        case SearchResult():
            return estimate_text(search_text(part))
        case Audio(data=data):
            return 1 + len(data) * 3 // 4 // AUDIO_BYTES_PER_TOKEN
        case Video():
            return UNSEEN_TOKENS
        case Opaque(raw=raw):
            return _json(raw)
        case _:
            assert_never(part)


def _document(part: Document) -> Iterator[int]:
    yield from map(estimate_text, (part.title or "", part.context or ""))
    yield _content(part.source, part.mime)


def _content(source: Source, mime: str | None) -> int:
    match source:
        case Inline(text=text, parts=parts):
            return estimate_text(text or "") + sum(map(_part, parts))
        case Base64(data=data) if mime and mime.startswith("text/"):
            return 1 + len(data) * 3 // 4 // 4
        case Base64(data=data):
            pages = 1 + len(data) * 3 // 4 // PDF_PAGE_BYTES
            return pages * PDF_PAGE_TOKENS
    return UNSEEN_TOKENS
