"""What an engine must offer: a model that runs in this process.

Layer: gateway. Declarations only; `app` puts an engine where an upstream would stand.
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from rawproxy.dialects.call import Call
from rawproxy.dialects.events import Event

__all__ = ["Engine"]


class Engine(Protocol):
    """A Call in, events out. It names its own models and never pretends to be a vendor's."""

    models: tuple[str, ...]
    """Names that may be asked for."""

    def count_tokens(self, call: Call) -> int:
        """Return the input tokens of `call`, by the engine's own tokenizer."""
        ...

    def generate(self, call: Call, model: str) -> AsyncGenerator[Event, None]:
        """Yield the reply, in the order of `dialects/events.py`, End or Fail last.

        Cancelled by the scope it runs in: nothing keeps running after that.
        """
        ...
