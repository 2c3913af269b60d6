"""LLM API dialects: how each API spells requests, replies, streams and errors.

To add one, write its module and name it in the tuple below.
"""

from rawproxy.dialects import anthropic_messages, openai_chat
from rawproxy.dialects.base import Dialect

__all__ = ["DIALECTS"]

_ALL: tuple[Dialect, ...] = (openai_chat, anthropic_messages)
DIALECTS: dict[str, Dialect] = {dialect.NAME: dialect for dialect in _ALL}
"""Every dialect by its name."""
