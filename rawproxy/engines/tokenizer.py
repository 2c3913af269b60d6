"""Text to tokens and back: words and marks that a corpus taught, and bytes for everything else.

Layer: engines. Knows text. Knows no calls and no events.

A text is first cut into pieces: a word with the space before it, a mark with the space before it,
or one character of white space. A piece that was seen in the corpus is one token. Any other is
spelled with the longest tokens that fit, and where none fits, with the bytes of its UTF-8. Those
are all tokens, so every text can be encoded, and decodes to itself.
"""

import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["BYTES", "Tokenizer", "pieces"]

BYTES = 256
"""The first tokens are the bytes themselves."""

_PIECE = re.compile(r" ?\w+| ?[^\w\s]|\s")

_PARTS = (4, 3, 2)
"""Characters of the word parts that are tokens too, the longest first. With these, a technical text
in English has 1.8 tokens a piece and 2.2 characters a token."""


def pieces(text: str) -> list[str]:
    """Return `text` cut into pieces, which join to `text`."""
    return _PIECE.findall(text)


class Tokenizer:
    """Encodes text as small integers. Tokens from `BYTES` up to `size` stand for pieces.

    Args:
        corpus: a text; its pieces become tokens, and so do the parts of its words.
    """

    def __init__(self, corpus: str) -> None:
        words = dict.fromkeys(pieces(corpus))
        parts = dict.fromkeys(
            word[start : start + size]
            for word in words
            for size in _PARTS
            for start in range(len(word) - size + 1)
        )
        self._spellings = list(words | parts)
        self._tokens = {text: BYTES + at for at, text in enumerate(self._spellings)}

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return BYTES + len(self._spellings)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text`. A lone surrogate has bytes too."""
        return [token for piece in pieces(text) for token in self._spell(piece)]

    def count(self, text: str) -> int:
        """Return how many tokens `text` has, without making them."""
        # Texts repeat their words, and a Counter counts without running Python code for each.
        return sum(
            count if piece in self._tokens else count * len(self._spell(piece))
            for piece, count in Counter(pieces(text)).items()
        )

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text of `tokens`.

        Raises:
            UnicodeDecodeError: bytes among them are no UTF-8; those of `encode` always are.
        """
        return b"".join(map(self._bytes, tokens)).decode("utf-8", "surrogatepass")

    def _bytes(self, token: int) -> bytes:
        return bytes([token]) if token < BYTES else self._spellings[token - BYTES].encode()

    def _spell(self, piece: str) -> list[int]:
        known = self._tokens.get(piece)
        if known is not None:
            return [known]
        tokens: list[int] = []
        at = 0
        while at < len(piece):
            for size in _PARTS:
                part = piece[at : at + size]
                if part in self._tokens:
                    tokens.append(self._tokens[part])
                    break
            else:
                part = piece[at]
                tokens += part.encode("utf-8", "surrogatepass")
            at += len(part)
        return tokens
