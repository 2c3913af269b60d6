"""Arguments of a tool call that come in pieces, each for one place in them.

Layer: dialects. Used by `gemini.reader`; hosts send them so where a client asks for it
(`streamFunctionCallArguments`).
Source: https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#PartialArg
"""

import re

import msgspec
from msgspec import Raw

from rawproxy.dialects.reading import encode

__all__ = ["PartialArg", "PartialArgs"]

MOST_ITEMS = 10_000
"""Elements a list may have before the one that a path names: more is nonsense, and costs memory."""

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[['\"]([^\]]*)['\"]\]")

Step = str | int


class PartialArg(msgspec.Struct, rename="camel"):
    """One piece: a value, or more of a string, and where it goes."""

    json_path: str = ""
    string_value: str | None = None
    number_value: Raw = Raw()
    bool_value: bool | None = None
    null_value: Raw = Raw()
    will_continue: bool | None = None


class _Text:
    """A string as its pieces come."""

    def __init__(self) -> None:
        self.pieces: list[str] = []


class PartialArgs:
    """The arguments of one call as they come together."""

    def __init__(self) -> None:
        self._root: object = {}
        self._strings: dict[tuple[Step, ...], _Text] = {}

    def add(self, piece: PartialArg) -> bool:
        """Take a piece; return whether its path could be followed."""
        steps = _steps(piece.json_path)
        if not steps:
            return False
        if piece.string_value is None:
            value: object = None
            if piece.bool_value is not None:
                value = piece.bool_value
            elif piece.number_value:
                value = piece.number_value
            return self._put(steps, value)
        text = self._strings.setdefault(steps, _Text())
        text.pieces.append(piece.string_value)
        return self._put(steps, text)

    def text(self) -> str:
        """Return the arguments as JSON text."""
        return encode(_finished(self._root)).decode()

    def _put(self, steps: tuple[Step, ...], value: object) -> bool:
        """Set `value` at a place; what leads there is made."""
        holder = self._root
        for at, step in enumerate(steps):
            last = at + 1 == len(steps)
            made: object = value if last else [] if isinstance(steps[at + 1], int) else {}
            if isinstance(holder, dict) and isinstance(step, str):
                if last or not isinstance(holder.get(step), (dict, list)):
                    holder[step] = made
            elif isinstance(holder, list) and isinstance(step, int) and step < MOST_ITEMS:
                holder.extend([None] * (step + 1 - len(holder)))
                if last or not isinstance(holder[step], (dict, list)):
                    holder[step] = made
            else:
                return False
            holder = holder[step]  # type: ignore[index]
        return True


def _steps(path: str) -> tuple[Step, ...]:
    """Return the steps of a JSON path; () for one that is more than a place."""
    if not path.startswith("$"):
        return ()
    steps: list[Step] = []
    at = 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return ()
        name, index, quoted = match.groups()
        steps.append(int(index) if index else name or quoted or "")
        at = match.end()
    return tuple(steps)


def _finished(value: object) -> object:
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {key: _finished(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finished(one) for one in value]
    return value
