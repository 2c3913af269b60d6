"""Log probabilities: as the Gemini API spells them, and as events carry them.

Layer: dialects. Used by the reader and the writer of `gemini`. Events carry them as Chat Completions
has them: `{"content": [{token, logprob, bytes, top_logprobs}]}`. Numbers keep their spelling.
Source: https://ai.google.dev/api/generate-content#LogprobsResult
"""

from collections.abc import Sequence
from itertools import chain, repeat

import msgspec
from msgspec import Raw

from rawproxy.dialects.gemini.spelling import Item
from rawproxy.dialects.reading import decode, encode

__all__ = ["read_logprobs", "write_logprobs"]

_NULL = Raw(b"null")


class _Candidate(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: Raw = _NULL


class _Step(msgspec.Struct):
    candidates: list[_Candidate] | None = None


class _Result(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Candidate] | None = None
    top_candidates: list[_Step] | None = None


class _Token(msgspec.Struct):
    token: str = ""
    logprob: Raw = _NULL
    top_logprobs: "list[_Token] | None" = None


class _Content(msgspec.Struct):
    content: list[_Token] | None = None


def read_logprobs(raw: Raw) -> Raw | None:
    """Return a `logprobsResult` as events carry it; None where it says nothing.

    Raises:
        ValueError: it is of another shape.
    """
    found = decode(raw, _Result) if raw and bytes(raw) != b"null" else _Result()
    if not found.chosen_candidates:
        return None
    steps = chain(found.top_candidates or (), repeat(_Step()))
    content = [
        _entry(chosen) | {"top_logprobs": [_entry(one) for one in step.candidates or ()]}
        for chosen, step in zip(found.chosen_candidates, steps, strict=False)
    ]
    return Raw(encode({"content": content}))


def _entry(found: _Candidate) -> Item:
    return {"token": found.token, "logprob": found.log_probability, "bytes": None}


def write_logprobs(pieces: Sequence[bytes | Raw]) -> Item | None:
    """Return the `logprobsResult` of what events carried; None where that cannot be read."""
    try:
        tokens = [one for piece in pieces for one in decode(piece, _Content).content or ()]
    except ValueError:
        return None
    result: Item = {"chosenCandidates": [_candidate(one) for one in tokens]}
    if any(one.top_logprobs for one in tokens):
        result["topCandidates"] = [
            {"candidates": [_candidate(other) for other in one.top_logprobs or ()]}
            for one in tokens
        ]
    return result if tokens else None


def _candidate(token: _Token) -> Item:
    return {"token": token.token, "logProbability": token.logprob}
