"""What each model takes: the differences inside one dialect that a writer has to know.

Layer: dialects. Data, and one look-up. The first row whose globs match wins.

Sources: the vendors' model pages and migration guides as of 2026-11. Newer Claude models refuse
sampling parameters, thinking budgets and prefill; newer OpenAI models refuse sampling and stop
sequences.
"""

from fnmatch import fnmatchcase
from typing import Literal

import msgspec

__all__ = ["DEFAULT_LIMIT", "Row", "Takes", "takes"]

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
        most: output tokens that may be asked for; 0 for not known.
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
    most: int = 0
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
_RESPONSES_REASONING = msgspec.structs.replace(_OPENAI_REASONING, stop=False)
_RESPONSES = msgspec.structs.replace(_OPENAI, stop=False)
_LOCAL_THINKING = Takes(middle_system=True, reasoning="adaptive", reasoning_text=True)
_COMPATIBLE = Takes(middle_system=True, reasoning="effort", reasoning_text=True)


class Row(msgspec.Struct, frozen=True):
    """What the models of one glob accept, asked in one dialect ("" for every one).

    The glob is on the model's name without any vendor prefix. `takes` holds members of `Takes`,
    those that differ from what our own table says of the model.
    """

    dialect: str
    glob: str
    takes: dict[str, object]


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
    ("openai_responses", "gpt-5*", msgspec.structs.replace(_RESPONSES_REASONING, breakpoints=True)),
    (
        "openai_responses",
        "gpt-[6789]*",
        msgspec.structs.replace(_RESPONSES_REASONING, breakpoints=True),
    ),
    ("openai_responses", "o[1-9]*", _RESPONSES_REASONING),
    ("openai_responses", "gpt-[34]*", _RESPONSES),
    ("openai_responses", "chatgpt-*", _RESPONSES),
    ("openai_responses", "*", _RESPONSES_REASONING),
    ("openai_completions", "*", Takes(limit=2048)),
    ("anthropic_complete", "*", _CLAUDE_3),
    ("gemini", "gemini-2.5*", Takes(prefill=False, reasoning="budget")),
    ("gemini", "*", Takes(prefill=False, reasoning="effort")),
    ("bedrock_converse", "claude-3-7*", _CLAUDE_4),
    ("bedrock_converse", "claude-3*", _CLAUDE_3),
    ("bedrock_converse", "claude-*-4-[89]*", _CLAUDE_NEW),
    ("bedrock_converse", "claude-*-4-7*", _CLAUDE_47),
    ("bedrock_converse", "claude-*-4-6*", _CLAUDE_46),
    ("bedrock_converse", "claude-*-4*", _CLAUDE_4),
    ("bedrock_converse", "claude*", _CLAUDE_NEW),
    ("bedrock_converse", "*", Takes(prefill=False)),
    # Ollama answers 400 to `think` where a model cannot, and takes levels from one family only.
    ("ollama_chat", "gpt-oss*", Takes(middle_system=True, reasoning="effort", reasoning_text=True)),
    ("ollama_chat", "qwen3*", _LOCAL_THINKING),
    ("ollama_chat", "deepseek-r*", _LOCAL_THINKING),
    ("ollama_chat", "deepseek-v3.1*", _LOCAL_THINKING),
    ("ollama_chat", "magistral*", _LOCAL_THINKING),
    ("ollama_chat", "*", Takes(middle_system=True)),
)


def takes(
    dialect: str, model: str, *, compatible: bool = False, rows: tuple[Row, ...] = ()
) -> Takes:
    """Return what `model` accepts when it is asked in `dialect`.

    Args:
        dialect: a dialect's name; one without rows takes everything (`Takes()`).
        model: the upstream's name for it; `vendor/model` counts as `model`.
        compatible: the upstream is another vendor's server that speaks this dialect, whatever
            its models are called.
        rows: what the operator knows better; of those that match, each says its part.
    """
    name = model.rpartition("/")[2]
    if "claude" in name:  # hosts put their own words before it: `us.anthropic.claude-...`
        name = name[name.index("claude") :]
    found = _known(dialect, name, compatible=compatible)
    for row in rows:
        if row.dialect in ("", dialect) and fnmatchcase(name, row.glob):
            found = msgspec.convert(msgspec.to_builtins(found) | row.takes, Takes)
    return found


def _known(dialect: str, name: str, *, compatible: bool) -> Takes:
    if compatible and dialect == "openai_chat":
        return _COMPATIBLE
    for row_dialect, glob, row in _ROWS:
        if row_dialect == dialect and fnmatchcase(name, glob):
            return row
    return Takes()
