"""LLM API dialects: how each API spells requests, replies, streams and errors.

To add one, write its module and name it in the tuple below.
"""

from rawproxy.dialects import (
    anthropic_complete,
    anthropic_messages,
    bedrock_converse,
    gemini,
    ollama_chat,
    openai_chat,
    openai_completions,
    openai_responses,
    plain_text,
)
from rawproxy.dialects.base import Dialect

__all__ = ["DIALECTS"]

_ALL: tuple[Dialect, ...] = (
    openai_chat, openai_responses, openai_completions, anthropic_messages, anthropic_complete,
    gemini, bedrock_converse, ollama_chat, plain_text,
)  # fmt: skip
DIALECTS: dict[str, Dialect] = {dialect.NAME: dialect for dialect in _ALL}
"""Every dialect by its name."""
