"""Requests of text completions, read.

Layer: dialects. The part of `anthropic_complete` that makes a Call.
Source: https://platform.claude.com/docs/en/api/complete
"""

from rawproxy.dialects.anthropic_complete.transcript import HUMAN, read_prompt
from rawproxy.dialects.base import Given
from rawproxy.dialects.call import Call, Identity, Sampling
from rawproxy.dialects.envelope import Vault
from rawproxy.dialects.reading import Fields
from rawproxy.errors import ClientError

__all__ = ["COMPLETE", "IMPLIED", "CallReader"]

COMPLETE = "anthropic_complete"
"""The dialect's name."""

IMPLIED = "stop.implied"
"""The entry of `Call.names` for the stop sequence that holds whether it is asked for or not: it is
no part of `Call.stop`, since nobody else needs it, and goes back only to this dialect."""

_FIELDS = (
    # attribute of the call, field here
    ("limit", "max_tokens_to_sample"), ("temperature", "temperature"), ("top_p", "top_p"),
    ("top_k", "top_k"), ("stop", "stop_sequences"),
)  # fmt: skip


class CallReader:
    """Reads one request; keeps what no part of a Call has a place for.

    Args:
        body: the request.
        vault: the caller's.
        given: what the header says: the version, which is the form of the reply.
    """

    def __init__(self, body: Fields, vault: Vault, given: Given) -> None:
        self._body = body
        self._vault = vault
        self._given = given
        self._names = body.named(_FIELDS)

    def read(self) -> Call:
        """Return the call. ClientError names what is wrong with it."""
        body = self._body
        prompt = body.needed("prompt")
        turns, prefill = read_prompt(prompt, "prompt")
        limit = body.whole("max_tokens_to_sample")
        if limit is None:
            path = "max_tokens_to_sample"
            raise ClientError(f"{path}: Field required", param=path)
        metadata = body.object("metadata")
        user = metadata.text("user_id") if metadata else None
        if user is not None:
            self._names["identity.user"] = "metadata.user_id"
        stops = body.texts("stop_sequences") or []
        if HUMAN in stops:
            self._names[IMPLIED] = "stop_sequences"
        call = Call(
            COMPLETE, body.needed("model"), turns, stream=bool(body.flag("stream")),
            variant=self._given.variant, prefill=prefill, raw_prompt=prompt, limit=limit,
            sampling=Sampling(
                body.number("temperature"), body.number("top_p"), body.whole("top_k")
            ),
            stop=tuple(stop for stop in stops if stop != HUMAN), identity=Identity(user),
            vault=self._vault,
        )  # fmt: skip
        call.extra = (metadata.rest() if metadata else {}) | body.rest()
        call.names = self._names
        return call
