"""LLM API dialects: how each API spells requests, replies, streams and errors.

To add one, write its module and name it below. A module is loaded when somebody first asks for it:
who translates between two dialects does not pay for the others.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Final, cast

from rawproxy.dialects.base import Dialect

__all__ = ["DIALECTS"]

_NAMES = (
    "openai_chat", "openai_responses", "openai_completions", "anthropic_messages", "anthropic_complete",
    "gemini", "bedrock_converse", "ollama_chat", "plain_text",
)  # fmt: skip


class _Dialects(Mapping[str, Dialect]):
    def __getitem__(self, name: str) -> Dialect:
        if name not in _NAMES:
            raise KeyError(name)
        # Each is held against the protocol where all are listed: tests/dialects/test_dialects.py.
        return cast(Dialect, import_module(f"{__name__}.{name}"))

    def __contains__(self, name: object) -> bool:
        return name in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


DIALECTS: Final = _Dialects()
"""Every dialect by its name; its module is loaded by the look-up."""
