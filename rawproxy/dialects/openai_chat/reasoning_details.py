"""Reasoning in chat messages: OpenRouter's `reasoning_details`, LiteLLM's `thinking_blocks`.

Layer: dialects. Used wherever OpenAI-like messages are read or written. An entry holds a text and
what its issuer wants back with it (signature, encrypted data, id, format); in streams it comes in
pieces, which belong together by `index`.
Source: https://openrouter.ai/docs/use-cases/reasoning-tokens
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw

from rawproxy.dialects.envelope import Origin, Seal, seal
from rawproxy.dialects.reading import decode, encode

__all__ = ["BLOCKS", "DETAILS", "TEXTS", "Entry", "join", "rebuild"]

DETAILS = "reasoning_details"
"""The form of the seals of `reasoning_details` entries."""

BLOCKS = ("thinking", "redacted_thinking")
"""The types, and the forms, of `thinking_blocks` entries: Anthropic's own blocks."""

TEXTS = ("text", "summary", "thinking")
"""Where an entry may have its text."""

_SIGNED = {"signature", "data"}


class Entry:
    """One entry, as its pieces come in.

    Args:
        item: its first piece.
        path: where that stands in the client's request.
    """

    def __init__(self, item: Mapping[str, Raw], path: str = "") -> None:
        self.path = path
        self.type = _text(item, "type")
        self._fields: dict[str, Raw] = {}
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    @property
    def carrier(self) -> str:
        """What was signed or encrypted: the place where an envelope of ours would be."""
        return _text(self._fields, "signature") or _text(self._fields, "data")

    def goes_on(self, item: Mapping[str, Raw]) -> bool:
        """Return whether `item` is more of this entry: of the same index, and not signed again."""
        alike = all(
            item.get(key, Raw()) == self._fields.get(key, Raw()) for key in ("type", "index")
        )
        signed_again = bool(self._fields.keys() & item.keys() & _SIGNED)
        return alike and not signed_again and ("index" in item or self.type == "thinking")

    def add(self, item: Mapping[str, Raw]) -> str:
        """Take in a piece; return its text."""
        said = {key: value for key, value in item.items() if bytes(value) != b"null"}
        pieces = [_text(said, key) for key in TEXTS if key in said]
        self._texts += pieces
        self._fields |= {key: value for key, value in said.items() if key not in TEXTS}
        return "".join(pieces)

    def seal(self, origin: Origin) -> Seal | None:
        """Return the entry without its text; None when it holds nothing else."""
        if self._fields.keys() <= {"type", "index"}:
            return None
        form = self.type if self.type in BLOCKS else DETAILS
        texts = [self.text] if self._texts else []
        return seal(origin, form, encode(dict(sorted(self._fields.items()))).decode(), texts)


def join(items: Iterable[tuple[str, Mapping[str, Raw]]]) -> list[Entry]:
    """Return whole entries from `items`, pairs of path and piece: some clients keep the pieces."""
    entries: list[Entry] = []
    for path, item in items:
        if not (entries and entries[-1].goes_on(item)):
            entries.append(Entry(item, path))
        entries[-1].add(item)
    return entries


def rebuild(sealed: Seal, text: str) -> dict[str, Raw]:
    """Return the entry that was sealed, with its text, every other value byte for byte."""
    entry = decode(sealed.raw.encode(), dict[str, Raw])
    if sealed.cuts:
        key = {"reasoning.summary": "summary", "thinking": "thinking"}.get(_text(entry, "type"))
        entry[key or "text"] = Raw(encode(text))
    return entry


def _text(item: Mapping[str, Raw], key: str) -> str:
    try:
        return decode(item[key], str) if key in item else ""
    except ValueError:
        return ""
