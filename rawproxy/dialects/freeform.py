"""Freeform tool input through a dialect that knows only JSON arguments, and back.

Layer: dialects. Used by readers (unwrap `{"input": "..."}`, as it streams) and writers (wrap).
"""

import re
from typing import Literal

from rawproxy.dialects.reading import encode

__all__ = ["FIELD", "SCHEMA", "Unwrapper", "wrap"]

FIELD = "input"
SCHEMA = b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}'
"""The JSON Schema that stands in for a freeform tool."""

LONGEST_OPENING = 256
"""Characters in which `{"input": "` has to have come, white space included. Models write 11;
arguments of another shape are not searched again with every piece."""

_OPENING = re.compile(r'\s*+\{\s*+"input"\s*+:\s*+"')
# Whole characters and whole escapes. Models make mistakes: an escape that JSON has not is text.
_READY = re.compile(
    r'(?:[^"\\]++|\\[^u]|\\u(?:[0-9a-fA-F]{4}|(?=[0-9a-fA-F]{0,3}[^0-9a-fA-F])))*+', re.DOTALL
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


def wrap(text: str) -> str:
    """Return freeform input as the JSON text of arguments."""
    return encode({FIELD: text}).decode()


class Unwrapper:
    """Feed it pieces of `{"input": "..."}`; it returns the input's text, unescaped, as it comes.

    Anything that is not of that shape comes out as it is, when `close` shows it.

        before  --`{"input": "`------------>  inside
        before  --anything else, too long-->  other
        inside  --`"`---------------------->  after
    """

    __slots__ = ("_half", "_held", "_pieces", "_state")

    def __init__(self) -> None:
        self._state: Literal["before", "inside", "after", "other"] = "before"
        self._held = ""  # before: all so far; inside: an unfinished escape
        self._half = ""  # a high surrogate that waits for its low one
        self._pieces: list[str] = []  # of another shape

    def feed(self, piece: str) -> str:
        """Return the text that `piece` completes; "" when it completes none."""
        match self._state:
            case "before":
                self._held += piece
                return self._before()
            case "inside":
                self._held += piece
                return self._inside()
            case "other":
                self._pieces.append(piece)
        return ""

    def close(self) -> str:
        """Return what was held back: all of it where the shape was another one."""
        if self._state == "inside":
            return "\ufffd" if self._half else ""  # an escape that was cut off is no text
        return self._held + "".join(self._pieces)

    def _before(self) -> str:
        opening = _OPENING.match(self._held, 0, LONGEST_OPENING)
        if opening:
            self._held = self._held[opening.end() :]
            self._state = "inside"
            return self._inside()
        if len(self._held) >= LONGEST_OPENING:
            self._state = "other"
        return ""

    def _inside(self) -> str:
        ready = _READY.match(self._held)
        assert ready is not None  # it matches nothing at all, too
        text = self._half + _ESCAPE.sub(_character, ready[0])
        self._half = ""
        self._held = self._held[ready.end() :]
        if self._held.startswith('"'):
            self._state, self._held = "after", ""
        elif "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _character(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else _ESCAPED.get(letter, match[0])
