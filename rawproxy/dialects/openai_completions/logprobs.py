"""Log probabilities: as Completions spells them, and as events carry them.

Layer: dialects, part of `openai_completions`. Events carry them as Chat Completions has them, the
newest of OpenAI's three forms: `{"content": [{token, logprob, bytes, top_logprobs}]}`. Completions
has lists side by side. Numbers keep their spelling.
Source: https://platform.openai.com/docs/api-reference/completions/object
"""

from itertools import chain, repeat

import msgspec
from msgspec import Raw

from rawproxy.dialects.reading import decode, encode

__all__ = ["Probabilities", "read_logprobs"]

_NULL = Raw(b"null")


class _Lists(msgspec.Struct):
    """`logprobs` here; `content` is what llama.cpp writes instead, as it does for chat."""

    tokens: list[str] | None = None
    token_logprobs: list[Raw] | None = None
    top_logprobs: list[dict[str, Raw] | None] | None = None
    content: list[Raw] | None = None


class _Likely(msgspec.Struct):
    token: str = ""
    logprob: Raw = _NULL


class _Token(msgspec.Struct):
    token: str = ""
    logprob: Raw = _NULL
    top_logprobs: list[_Likely] | None = None


class _Content(msgspec.Struct):
    content: list[_Token] | None = None


def read_logprobs(raw: Raw) -> Raw | None:
    """Return `logprobs` of a choice as events carry them; None where they say nothing."""
    try:
        lists = decode(raw, _Lists) if raw else _Lists()
    except ValueError:
        return None
    if lists.content:
        return Raw(encode({"content": lists.content}))
    if not lists.tokens:
        return None
    logprobs = chain(lists.token_logprobs or (), repeat(_NULL))
    likeliest = chain(lists.top_logprobs or (), repeat(None))
    content = [
        {
            "token": token,
            "logprob": logprob,
            "bytes": None,
            "top_logprobs": [
                {"token": other, "logprob": of_other, "bytes": None}
                for other, of_other in (likely or {}).items()
            ],
        }
        for token, logprob, likely in zip(lists.tokens, logprobs, likeliest, strict=False)
    ]
    return Raw(encode({"content": content}))


class Probabilities:
    """Those of one choice, as they are written: told piece by piece, or all at once."""

    def __init__(self) -> None:
        self._tokens: list[_Token] = []
        self._offset = 0  # code points of the tokens told before

    def add(self, raw: bytes | Raw) -> bool:
        """Take what an event carries; return whether it could be read."""
        try:
            self._tokens += decode(raw, _Content).content or ()
        except ValueError:
            return False
        return True

    def told(self) -> bytes:
        """Return what was taken since the last time as a `logprobs` object; `null` for nothing."""
        tokens, self._tokens = self._tokens, []
        if not tokens:
            return b"null"
        offsets = []
        for one in tokens:
            offsets.append(self._offset)
            self._offset += len(one.token)
        likely = [
            {other.token: other.logprob for other in one.top_logprobs or ()} for one in tokens
        ]
        return encode({
            "text_offset": offsets,
            "token_logprobs": [one.logprob for one in tokens],
            "tokens": [one.token for one in tokens],
            "top_logprobs": likely if any(likely) else None,
        })  # fmt: skip
