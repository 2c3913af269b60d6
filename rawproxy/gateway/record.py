"""What is kept of an exchange: who asked, who answered, usage, timing, outcome.

Layer: gateway. For now a record is one structured log line; it holds no secret and no body.
"""

from typing import Literal

import msgspec

from rawproxy.dialects.events import Usage

__all__ = ["AttemptNote", "Outcome", "Record", "estimated"]

Outcome = Literal[
    "ok",  # the reply went out whole
    "repaired",  # whole, and we wrote something that the upstream had left out
    "refused",  # the client's own fault: answered with an error, perhaps by the upstream
    "failed",  # no upstream gave an answer: answered with an error
    "broken",  # the reply broke off after output had gone out
    "client_gone",  # the client left
    "client_stalled",  # the client stopped reading
    "internal",  # a fault of ours
]


class AttemptNote(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try: where, and how it ended (`ok`, or the kind of failure and its clock or status)."""

    upstream: str
    ended: str
    status: int | None = None


class Record(msgspec.Struct):
    """One exchange. Times in seconds unless the name says ms.

    `started` is Unix time, by a clock that may be set back; `sequence` counts the requests of this process
    in the order in which they came. `client` is the address that it comes from (behind a load balancer
    the one in its PROXY header), or `unix`.
    """

    exchange: str
    started: float
    sequence: int = 0
    caller: str = ""
    client: str = ""
    client_dialect: str = ""
    model_asked: str = ""
    upstream: str = ""
    upstream_dialect: str = ""
    model_used: str = ""
    stream: bool = False
    status: int = 0
    outcome: Outcome = "internal"
    why: str = ""
    attempts: list[AttemptNote] = []
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_from: str = "none"
    losses: list[str] = []
    violations: dict[str, int] = {}
    stop: str = ""
    unknown_frames: int = 0
    ttft_ms: float | None = None
    duration_ms: float = 0.0

    def use(self, usage: Usage | None) -> None:
        """Note the tokens that the reply counted."""
        if usage is None:
            return
        self.input_tokens = usage.input
        self.cached_tokens = usage.cache_read
        self.output_tokens = usage.output
        self.reasoning_tokens = usage.reasoning
        self.usage_from = usage.source

    def line(self) -> bytes:
        """Return it as one line of JSON."""
        return msgspec.json.encode(self)


BYTES_PER_TOKEN = 4
"""Of a JSON request body; a rule of thumb for records where nobody counted."""


def estimated(body_bytes: int, deltas: int) -> Usage:
    """Return a guess at the usage of a passed reply: its body's bytes, its output frames."""
    return Usage(input=max(1, body_bytes // BYTES_PER_TOKEN), output=deltas, source="estimated")
