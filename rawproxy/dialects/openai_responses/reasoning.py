"""A `reasoning` item of the Responses API: its texts in the open, and the rest as a seal.

Layer: dialects. The part of `openai_responses` that calls and replies share.
Source: https://platform.openai.com/docs/guides/reasoning#encrypted-reasoning-items

One item is one thinking block. Its texts (every part of `summary`, then every part of `content`)
make one text, with SEPARATOR between two parts. The separator counts to the part before it: so the
seal covers exactly the text that was shown, and its cuts lead back to the parts. In the seal's raw
item each text stands as "", where it is put back.
"""

from collections.abc import Iterator, Mapping

from msgspec import Raw

from rawproxy.dialects.envelope import Origin, Seal, seal
from rawproxy.dialects.reading import decode, encode

__all__ = [
    "REASONING",
    "RESPONSES",
    "SEPARATOR",
    "plain_summary",
    "read_reasoning",
    "write_reasoning",
]

RESPONSES = "openai_responses"
"""The dialect's name."""

REASONING = "reasoning"
"""The item's type, and the form of its seals."""

SEPARATOR = "\n\n"
"""What stands between two parts of an item's text."""

_LISTS = ("summary", "content")
_CUT = Raw(b'""')


def read_reasoning(item: Mapping[str, Raw], origin: Origin) -> tuple[str, Seal | None]:
    """Return the text of a `reasoning` item, and its seal. Never raises, however odd the item is.

    An item without `encrypted_content` has no seal: it holds nothing that only its issuer reads.

    Args:
        item: the item's members. A text that is no string stays in the seal.
        origin: who issued it.
    """
    rest = dict(item)
    texts: list[str] = []
    for name in _LISTS:
        parts = _parts(rest.get(name))
        for part in parts:
            text = _string(part.get("text"))
            if text is not None:
                texts.append(text)
                part["text"] = _CUT
        if parts:
            rest[name] = Raw(encode(parts))
    pieces = [text + SEPARATOR for text in texts[:-1]] + texts[-1:]
    sealed = _string(rest.get("encrypted_content"))
    native = seal(origin, REASONING, encode(rest).decode(), pieces) if sealed else None
    return "".join(pieces), native


def write_reasoning(sealed: Seal, text: str) -> dict[str, Raw]:
    """Return the item that `sealed` was made of, every other value byte for byte.

    Args:
        sealed: a seal of form REASONING.
        text: what it covers.
    """
    item = decode(sealed.raw.encode(), dict[str, Raw])
    pieces = _pieces(sealed, text)
    for name in _LISTS:
        parts = _parts(item.get(name))
        for part in parts:
            if _string(part.get("text")) is not None:
                part["text"] = Raw(encode(next(pieces, "")))
        if parts:
            item[name] = Raw(encode(parts))
    return item


def plain_summary(text: str) -> list[dict[str, str]]:
    """Return the `summary` of an item that is nothing but text."""
    return [{"type": "summary_text", "text": text}] if text else []


def _pieces(sealed: Seal, text: str) -> Iterator[str]:
    data = text.encode("utf-8", "surrogatepass")
    start, last = 0, len(sealed.cuts) - 1
    for at, length in enumerate(sealed.cuts):
        piece = data[start : start + length].decode("utf-8", "replace")
        yield piece if at == last else piece.removesuffix(SEPARATOR)
        start += length


def _parts(raw: Raw | None) -> list[dict[str, Raw]]:
    """Return the parts in a list; [] for anything else, which is left as it is."""
    try:
        return decode(raw or Raw(b"[]"), list[dict[str, Raw]])
    except ValueError:
        return []


def _string(raw: Raw | None) -> str | None:
    try:
        return decode(raw or Raw(b"null"), str)
    except ValueError:
        return None
