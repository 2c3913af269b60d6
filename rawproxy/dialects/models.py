"""What each model takes: the differences inside one dialect that a writer has to know.

Layer: dialects. Data, and one look-up. The first row whose globs match wins.

Sources: the vendors' model pages and migration guides as of 2026-11. Newer Claude models refuse
sampling parameters, thinking budgets and prefill; newer OpenAI models refuse sampling and stop
sequences.
"""

from fnmatch import fnmatchcase
from typing import Literal

import msgspec

__all__ = ["DEFAULT_LIMIT", "Takes", "takes"]

DEFAULT_LIMIT = 8192
"""Tokens asked for where the dialect demands a number and the client said none: every model allows
as many."""


class Takes(msgspec.Struct, frozen=True):
    """What a model accepts.

    Attributes:
        sampling: temperature, top_p, top_k and their like.
        stop: stop sequences.
        prefill: a last assistant turn to be continued.
        middle_system: system turns between the others.
        reasoning: how depth is asked for: not at all, an effort word, a token budget, or adaptive
            with an effort word.
        limit_field: (chat) which field holds the most output tokens.
        limit: output tokens to ask for where the client did not say and the dialect demands it.
        developer: (chat) system turns are called developer.
        reasoning_text: (chat) `reasoning_content` on assistant messages is read, not refused.
        schema: replies can be held to a JSON schema.
        breakpoints: cache breakpoints on parts.
        freeform: tools with free text as input.
    """

    sampling: bool = True
    stop: bool = True
    prefill: bool = True
    middle_system: bool = False
    reasoning: Literal["none", "effort", "budget", "adaptive"] = "none"
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    limit: int = DEFAULT_LIMIT
    developer: bool = False
    reasoning_text: bool = False
    schema: bool = True
    breakpoints: bool = False
    freeform: bool = False


_CLAUDE_NEW = Takes(
    sampling=False, prefill=False, middle_system=True, reasoning="adaptive", limit=64000,
    breakpoints=True,
)  # fmt: skip
_CLAUDE_47 = msgspec.structs.replace(_CLAUDE_NEW, middle_system=False)
_CLAUDE_46 = msgspec.structs.replace(_CLAUDE_47, sampling=True)
_CLAUDE_4 = Takes(reasoning="budget", limit=32000, breakpoints=True)
_CLAUDE_3 = Takes(limit=4096, schema=False, breakpoints=True)
_OPENAI_REASONING = Takes(
    sampling=False, stop=False, prefill=False, middle_system=True, reasoning="effort",
    limit_field="max_completion_tokens", developer=True, freeform=True,
)  # fmt: skip
_OPENAI = Takes(
    prefill=False, middle_system=True, limit_field="max_completion_tokens", freeform=True
)
_COMPATIBLE = Takes(middle_system=True, reasoning="effort", reasoning_text=True)

_ROWS: tuple[tuple[str, str, Takes], ...] = (
    # dialect, glob on the model's name without any vendor prefix, what it takes
    ("anthropic_messages", "claude-3-7-*", _CLAUDE_4),
    ("anthropic_messages", "claude-3*", _CLAUDE_3),
    ("anthropic_messages", "claude-2*", _CLAUDE_3),
    ("anthropic_messages", "claude-*-4-[89]*", _CLAUDE_NEW),
    ("anthropic_messages", "claude-*-4-7*", _CLAUDE_47),
    ("anthropic_messages", "claude-*-4-6*", _CLAUDE_46),
    ("anthropic_messages", "claude-*-4*", _CLAUDE_4),
    ("anthropic_messages", "*", _CLAUDE_NEW),
    ("openai_chat", "gpt-5*", msgspec.structs.replace(_OPENAI_REASONING, breakpoints=True)),
    ("openai_chat", "gpt-[6789]*", msgspec.structs.replace(_OPENAI_REASONING, breakpoints=True)),
    ("openai_chat", "o[1-9]*", _OPENAI_REASONING),
    ("openai_chat", "gpt-*", _OPENAI),
    ("openai_chat", "chatgpt-*", _OPENAI),
    ("openai_chat", "*", _COMPATIBLE),
)


def takes(dialect: str, model: str, *, compatible: bool = False) -> Takes:
    """Return what `model` accepts when it is asked in `dialect`.

    Args:
        dialect: a dialect's name; one without rows takes everything (`Takes()`).
        model: the upstream's name for it; `vendor/model` counts as `model`.
        compatible: the upstream is another vendor's server that speaks this dialect, whatever
            its models are called.
    """
    name = model.rpartition("/")[2]
    if compatible and dialect == "openai_chat":
        return _COMPATIBLE
    for row_dialect, glob, row in _ROWS:
        if row_dialect == dialect and fnmatchcase(name, glob):
            return row
    return Takes()
