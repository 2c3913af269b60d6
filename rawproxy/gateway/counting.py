"""Dialects in which a client can ask how many tokens a call has.

Layer: gateway. One table.
"""

from typing import Protocol

from rawproxy.dialects import anthropic_messages, bedrock_converse, gemini, openai_responses
from rawproxy.dialects.base import Given
from rawproxy.dialects.call import Call
from rawproxy.dialects.envelope import Vault

__all__ = ["COUNTERS", "Counter"]


class Counter(Protocol):
    """What a dialect has to offer for that, beside everything else."""

    def read_count(self, body: bytes, vault: Vault, given: Given) -> Call:
        """Read such a question. ClientError names what is wrong with it."""
        ...

    def write_count(self, tokens: int) -> bytes:
        """Return the body of the answer."""
        ...


_ALL: tuple[tuple[str, Counter], ...] = (
    (anthropic_messages.NAME, anthropic_messages),
    (bedrock_converse.NAME, bedrock_converse),
    (gemini.NAME, gemini),
    (openai_responses.NAME, openai_responses),
)
COUNTERS: dict[str, Counter] = dict(_ALL)
"""Them, by name."""
